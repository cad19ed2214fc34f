-- A page of a board with the players' names: KEYS board, names, ARGV page from 1, size.
local size = tonumber(ARGV[2])
local first = (tonumber(ARGV[1]) - 1) * size
local found = redis.call('ZREVRANGE', KEYS[1], first, first + size - 1, 'WITHSCORES')
local page = {}
for i = 1, #found, 2 do
  local name = redis.call('HGET', KEYS[2], found[i]) or found[i]
  page[#page + 1] = {first + #page + 1, name, found[i + 1]}
end
return page
