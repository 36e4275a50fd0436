-- It is a run's turn: its message is sent now, unless it has ended or somebody works on it.
-- KEYS: run log outputs tombstone deadlines dead
-- ARGV: id pickup_ms
local run, deadlines, id = KEYS[1], KEYS[5], ARGV[1]
local r = redis.call('HMGET', run, 'state', 'retention', 'begins', 'max_age', 'request', 'dispatch')
if r[1] ~= 'queued' then
  return {'not'}
end
local deadline = now + tonumber(ARGV[2])
redis.call('HSET', run, 'deadline', int(deadline), 'sendings', 1)
due(deadlines, id, deadline, lifetime(tonumber(r[2]), deadline, tonumber(r[3]), tonumber(r[4])))
return {'publish', r[5], r[6]}
