-- Deletes all keys that match: KEYS pattern. (As a script, it breaks the rule to declare its keys.)
local deleted = 0
for _, key in ipairs(redis.call('KEYS', KEYS[1])) do
  deleted = deleted + redis.call('DEL', key)
end
return deleted
