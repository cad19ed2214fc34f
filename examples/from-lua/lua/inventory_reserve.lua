-- Reserves all items of an order or none: KEYS stock, order, ARGV item, count, ...
for i = 1, #ARGV, 2 do
  local left = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0')
  if left < tonumber(ARGV[i + 1]) then
    return redis.error_reply('OUTOFSTOCK ' .. ARGV[i] .. ' has ' .. left .. ' left')
  end
end
local total = 0
for i = 1, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], -ARGV[i + 1])
  redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1])
  total = total + ARGV[i + 1]
end
return total
