-- Writes if everything is as it was read. KEYS: all keys, then, if there is a mark, those of the leases
-- and of the marks. ARGV: the mark (see below), 1 if the connection wants to be told when the keys that are
-- written change again, what was read of each key, the commands, and the words of the command that adds requests
-- to database 0, which are followed by the number of the connection's database.
-- Replies with {1} if it wrote, {0, n} if the n-th key has changed, {-1} if it was given up before, {-2}
-- if another call holds a key that it writes. With the mark 'void', it gives up a commit that may have
-- arrived before: {1} if it has, {0, 0} if it never will.
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function number() return tonumber(take()) end

-- The mark: none, or 'first', 'again' or 'void', a field of the hash of marks, the number of this commit, the
-- milliseconds to keep the hash, and the name under which the call holds keys. The field holds the last
-- number that was committed there, or that was given up, negative.
local mark = take()
local marker, lane, sequence, keep, token, leases
if mark ~= 'none' then
  marker, lane, sequence, keep, token = KEYS[#KEYS], take(), number(), take(), take()
  if redis.call('EXISTS', KEYS[#KEYS - 1]) == 1 then leases = KEYS[#KEYS - 1] end
  local last = tonumber(redis.call('HGET', marker, lane) or 0)
  if last == sequence then return { 1 } end
  if math.abs(last) >= sequence then return { -1 } end
end
local tracks = take() == '1'

local function leave(outcome)
  if marker and (redis.call('HSET', marker, lane, outcome) == 1 or sequence % 64 == 0) then
    redis.call('PEXPIRE', marker, keep)
  end
end

if mark == 'void' then
  leave(-sequence)
  return { 0, 0 }
end

local known_time
local function now()
  if not known_time then
    local time = redis.call('TIME')
    known_time = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return known_time
end

local function deadline_stands(key, expected)
  local known = redis.pcall('PEXPIRETIME', key)
  if type(known) == 'number' then return string.format('%.0f', known) == expected end
  local ttl = redis.call('PTTL', key)
  if ttl < 0 then return tostring(ttl) == expected end
  return math.abs(now() + ttl - tonumber(expected)) <= 1
end

local lengths = { string = 'STRLEN', list = 'LLEN', hash = 'HLEN', set = 'SCARD', zset = 'ZCARD' }
local proofs = {
  none = function(key) return redis.call('EXISTS', key) == 0 end,
  string = function(key) return redis.pcall('GET', key) == take() end,
  digest = function(key)
    local value = redis.pcall('GET', key)
    return type(value) == 'string' and redis.sha1hex(value) == take()
  end,
  dump = function(key)
    local payload = redis.call('DUMP', key)
    return payload and redis.sha1hex(payload) == take()
  end,
  fields = function(key)
    if redis.call('TYPE', key).ok ~= 'hash' then return false end
    for _ = 1, number() do
      local value, kind = redis.call('HGET', key, take()), take()
      if kind == 'none' then
        if value then return false end
      elseif not value or (kind == 'digest' and redis.sha1hex(value) or value) ~= take() then
        return false
      end
    end
    return true
  end,
  opaque = function(key)
    local kind, len = take(), take()
    if redis.call('TYPE', key).ok ~= kind then return false end
    return not lengths[kind] or tostring(redis.call(lengths[kind], key)) == len
  end,
}
for index = 1, number() do
  local key, kind = KEYS[index], take()
  local stands = kind == 'none' or kind == 'blind' or deadline_stands(key, take())
  if not stands or (kind ~= 'blind' and not proofs[kind](key)) then
    if mark == 'again' then leave(-sequence) end
    return { 0, index }
  end
end

local commands = {}
for index = 1, number() do
  local words = {}
  for word = 1, number() do words[word] = take() end
  commands[index] = words
  -- Asked before anything is written, because a script that fails takes nothing back.
  if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(words)) then
    return redis.error_reply('NOPERM this user may not run ' .. words[1] .. ' on a key that the function writes')
  end
end
local requests, database = {}, nil
for word = 1, number() do requests[word] = take() end
if #requests > 0 then
  database = take()
  if redis.acl_check_cmd and not redis.acl_check_cmd(unpack(requests)) then
    return redis.error_reply('NOPERM this user may not run HSET on the key of requests')
  end
  -- Another server has given a request the same number at the same time; the call gives its own another one.
  for at = 3, #requests, 2 do
    if redis.call('HEXISTS', requests[2], requests[at]) == 1 then
      if mark == 'again' then leave(-sequence) end
      return { 0, 0 }
    end
  end
end
if leases then
  for _, words in ipairs(commands) do
    local holder, ends = string.match(redis.call('HGET', leases, words[2]) or '', '^(%S+) (%d+)$')
    if holder and holder ~= token and tonumber(ends) > now() then return { -2 } end
  end
end
-- First, because it alone can fail, for what the key holds.
if database then
  if database ~= '0' then redis.call('SELECT', '0') end
  redis.call(unpack(requests))
  if database ~= '0' then redis.call('SELECT', database) end
end
for _, words in ipairs(commands) do redis.call(unpack(words)) end
if leases and token ~= '' then
  for index = 1, #KEYS - 2 do
    local lease = redis.call('HGET', leases, KEYS[index])
    if lease and string.match(lease, '^(%S+)') == token then redis.call('HDEL', leases, KEYS[index]) end
  end
end
leave(sequence)
if tracks then
  -- The engine tells only of keys that were read since they changed last.
  -- An error here must not hide what was written.
  local last
  for _, words in ipairs(commands) do
    if words[2] ~= last then
      last = words[2]
      redis.pcall('TYPE', last)
    end
  end
end
return { 1 }
