-- Holds keys for one call, whose commit no other server's commit may precede. KEYS: the leases. ARGV: who
-- asks, for how many milliseconds, the keys. Replies with 1, or 0 if another call holds one of them.
local leases, token, duration = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for index = 3, #ARGV do
  local lease = redis.call('HGET', leases, ARGV[index])
  if lease then
    local holder, ends = string.match(lease, '^(%S+) (%d+)$')
    if holder ~= token and tonumber(ends) > now then return 0 end
  end
end
local lease = token .. ' ' .. string.format('%.0f', now + duration)
for index = 3, #ARGV do redis.call('HSET', leases, ARGV[index], lease) end
-- Each lease lasts no longer than this after the last one was taken.
redis.call('PEXPIRE', leases, duration)
return 1
