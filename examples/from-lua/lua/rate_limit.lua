-- At most so many calls in a fixed window: KEYS counter, ARGV limit, window in seconds.
local current = tonumber(redis.call('GET', KEYS[1]) or '0')
if current >= tonumber(ARGV[1]) then
  return 0
end
redis.call('INCR', KEYS[1])
if current == 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 1
