-- Changes records of requests if all that are required are there. KEYS: the hash of those that wait, and that of
-- those that were given up. ARGV: the number of required records, for each the number of its hash and its name;
-- the number of names that must be free, for each the same; the number of changes, for each the number of its hash,
-- the name, and 'set' and a value, or 'del'. Replies with 1, 0 if a record is not there, or -1 if a name is taken.
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function hash() return KEYS[tonumber(take())] end

for _ = 1, tonumber(take()) do
  if redis.call('HEXISTS', hash(), take()) == 0 then return 0 end
end
for _ = 1, tonumber(take()) do
  if redis.call('HEXISTS', hash(), take()) == 1 then return -1 end
end
for _ = 1, tonumber(take()) do
  local key, name = hash(), take()
  if take() == 'set' then
    redis.call('HSET', key, name, take())
  else
    redis.call('HDEL', key, name)
  end
end
return 1
