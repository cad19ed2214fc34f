-- A bucket that refills steadily: KEYS hash, ARGV capacity, tokens a second, now in ms, cost.
-- Counts thousandths of a token, so that all of it stays in integers.
local full = tonumber(ARGV[1]) * 1000
local rate = tonumber(ARGV[2])
local now = tonumber(ARGV[3])
local cost = tonumber(ARGV[4]) * 1000
local tokens = tonumber(redis.call('HGET', KEYS[1], 'tokens') or full)
local at = tonumber(redis.call('HGET', KEYS[1], 'at') or now)
tokens = math.min(full, tokens + math.max(0, now - at) * rate)
if tokens < cost then
  return {0, math.ceil((cost - tokens) / rate)}
end
tokens = tokens - cost
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil((full - tokens) / rate) + 1000)
return {1, 0}
