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

local ACTIONS = { login = true, read = true, write = true, delete = true }
local ROLES = {
  admin = { login = true, read = true, write = true, delete = true },
  editor = { login = true, read = true, write = true },
  viewer = { login = true, read = true },
}

local function verdict(allowed, reason)
  return { 'allowed', allowed and 1 or 0, 'reason', reason }
end

redis.register_function('validate_user', function(keys, args)
  local action = cjson.decode(args[1]).action
  if not ACTIONS[action] then
    return redis.error_reply('BADACTION ' .. action .. ' is none of login, read, write, delete')
  end
  local flat = redis.call('HGETALL', keys[1])
  local user = {}
  for index = 1, #flat, 2 do
    user[flat[index]] = flat[index + 1]
  end
  if not user.status then
    return verdict(false, 'unknown user')
  end
  if user.status ~= 'active' then
    return verdict(false, 'account is ' .. user.status)
  end
  local role = user.role or 'viewer'
  if not (ROLES[role] or ROLES.viewer)[action] then
    return verdict(false, 'role ' .. role .. ' may not ' .. action)
  end
  if action == 'login' then
    redis.call('HINCRBY', keys[1], 'logins', 1)
    local time = redis.call('TIME')
    redis.call('HSET', keys[1], 'last_login', time[1] .. string.format('%03d', math.floor(time[2] / 1000)))
  end
  return verdict(true, 'ok')
end)
