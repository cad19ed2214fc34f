-- Adds up a cart that comes as JSON: KEYS prices, ARGV [{"sku": ..., "count": ...}, ...].
local total = 0
for _, item in ipairs(cjson.decode(ARGV[1])) do
  local price = redis.call('HGET', KEYS[1], item.sku)
  if not price then
    return redis.error_reply('NOPRICE ' .. item.sku .. ' has no price')
  end
  total = total + price * item.count
end
return total
