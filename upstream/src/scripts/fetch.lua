-- Reads keys as of one moment. KEYS: the keys. ARGV: the most bytes of a value, of all values, the
-- most elements of a collection, the most fields of a hash that is read as a whole without being
-- asked for; then for each key the number of fields and the fields, or -1 for the whole value.
-- Replies with the time, and for each key: type, deadline, what it holds.
local at = 4
local bytes_max, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local elements_max, fields_max = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lengths = { list = 'LLEN', hash = 'HLEN', set = 'SCARD', zset = 'ZCARD' }

local function deadline(key)
  local known = redis.pcall('PEXPIRETIME', key)
  if type(known) == 'number' then return known end
  local ttl = redis.call('PTTL', key)
  if ttl < 0 then return ttl end
  return now + ttl
end

local function take(payload)
  left = left - #payload
  return payload
end

local out = { now }
for index, key in ipairs(KEYS) do
  at = at + 1
  local count = tonumber(ARGV[at])
  local first = at + 1
  if count > 0 then at = at + count end
  local kind = redis.call('TYPE', key).ok
  local held
  if kind == 'none' then
    held = { kind, -2 }
  elseif kind == 'string' then
    local len = redis.call('STRLEN', key)
    if len > bytes_max or len > left then
      held = { 'large', deadline(key), kind, len }
    else
      held = { kind, deadline(key), take(redis.call('GET', key)) }
    end
  elseif not lengths[kind] then
    held = { 'foreign', deadline(key), kind, 0 }
  else
    local len = redis.call(lengths[kind], key)
    if kind == 'hash' and count >= 0 and len > fields_max then
      local fields = {}
      -- Some at a time, because Lua's stack has a bound.
      for from = first, first + count - 1, 1000 do
        local last = math.min(from + 999, first + count - 1)
        for _, value in ipairs(redis.call('HMGET', key, unpack(ARGV, from, last))) do
          fields[#fields + 1] = value
          if value then left = left - #value end
        end
      end
      held = { 'fields', deadline(key), fields }
    else
      local size = redis.pcall('MEMORY', 'USAGE', key)
      if type(size) ~= 'number' then size = 0 end
      if len > elements_max or size > 4 * bytes_max or size > 4 * left then
        held = { 'large', deadline(key), kind, len }
      else
        held = { 'dump', deadline(key), take(redis.call('DUMP', key)) }
      end
    end
  end
  out[index + 1] = held
end
return out
