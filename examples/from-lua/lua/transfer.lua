-- Moves an amount between two balances: KEYS from, to, ARGV amount.
local amount = tonumber(ARGV[1])
local balance = tonumber(redis.call('GET', KEYS[1]) or '0')
if amount <= 0 then
  return redis.error_reply('BADAMOUNT an amount is more than 0')
end
if balance < amount then
  return redis.error_reply('INSUFFICIENT the balance is ' .. balance)
end
return {redis.call('DECRBY', KEYS[1], amount), redis.call('INCRBY', KEYS[2], amount)}
