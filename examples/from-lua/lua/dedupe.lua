-- Whether a message is seen for the first time: KEYS marker of the message, ARGV ttl in seconds.
if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then
  return 1
end
return 0
