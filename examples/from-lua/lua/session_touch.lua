-- Reads a session and keeps it alive: KEYS hash, ARGV ttl in seconds, now in ms.
local user = redis.call('HGET', KEYS[1], 'user')
if not user then
  return false
end
redis.call('HSET', KEYS[1], 'seen', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {user, redis.call('HINCRBY', KEYS[1], 'hits', 1)}
