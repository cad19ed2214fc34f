-- Takes jobs from a queue under a lease: KEYS pending, taken, ARGV now and lease in ms, most.
local jobs = {}
for i = 1, tonumber(ARGV[3]) do
  local job = redis.call('LPOP', KEYS[1])
  if not job then
    break
  end
  redis.call('ZADD', KEYS[2], tonumber(ARGV[1]) + tonumber(ARGV[2]), job)
  jobs[i] = job
end
return jobs
