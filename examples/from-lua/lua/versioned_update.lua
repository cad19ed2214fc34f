-- Updates a record that nobody has changed since: KEYS hash, ARGV version read, field, value, ...
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if version ~= tonumber(ARGV[1]) then
  return {0, version}
end
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return {1, redis.call('HINCRBY', KEYS[1], 'version', 1)}
