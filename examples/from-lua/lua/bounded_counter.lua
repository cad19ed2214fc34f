-- Adds to a counter within bounds: KEYS counter, ARGV delta, least, most.
local current = tonumber(redis.call('GET', KEYS[1]) or '0')
local sum = current + tonumber(ARGV[1])
if sum < tonumber(ARGV[2]) or sum > tonumber(ARGV[3]) then
  return {0, current}
end
redis.call('SET', KEYS[1], sum)
return {1, sum}
