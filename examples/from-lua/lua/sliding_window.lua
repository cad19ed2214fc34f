-- At most so many calls in any window: KEYS sorted set, ARGV now and window in ms, limit, call id.
local now = tonumber(ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
local left = tonumber(ARGV[3]) - redis.call('ZCARD', KEYS[1])
if left <= 0 then
  return {0, 0}
end
redis.call('ZADD', KEYS[1], now, ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, left - 1}
