-- The message of a queued run could not be sent: the broker is away, which is not the queue being long.
-- KEYS: run log outputs tombstone deadlines dead
-- ARGV: id pickup_ms
local run, deadlines = KEYS[1], KEYS[5]
local r = redis.call('HMGET', run, 'state', 'sendings', 'deadline', 'retention')
if r[1] == 'queued' and tonumber(r[3]) > now + tonumber(ARGV[2]) then
  local deadline = now + tonumber(ARGV[2])
  redis.call('HSET', run, 'sendings', int(math.max(tonumber(r[2]) - 1, 0)), 'deadline', int(deadline))
  due(deadlines, ARGV[1], deadline, tonumber(r[4]))
end
return 1
