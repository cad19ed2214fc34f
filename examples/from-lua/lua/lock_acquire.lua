-- Takes a lock and gives a fencing token: KEYS lock, fence counter, ARGV owner, ttl in ms.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return redis.call('INCR', KEYS[2])
end
return false
