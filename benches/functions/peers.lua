#!lua name=bench
-- The same functions as those in WebAssembly beside this file, for a server that runs Lua.

redis.register_function('noop', function(keys, args)
  return 1
end)

redis.register_function('get_set', function(keys, args)
  local old = redis.call('GET', keys[1])
  redis.call('SET', keys[1], args[1])
  return old
end)

redis.register_function('rate_limit', function(keys, args)
  local current = tonumber(redis.call('GET', keys[1]) or '0')
  if current >= tonumber(args[1]) then
    return false
  end
  redis.call('INCR', keys[1])
  if current == 0 then
    redis.call('EXPIRE', keys[1], args[2])
  end
  return true
end)

redis.register_function('sum', function(keys, args)
  local sum = 0
  for count = tonumber(args[1]), 1, -1 do
    sum = sum + count
  end
  return sum
end)
