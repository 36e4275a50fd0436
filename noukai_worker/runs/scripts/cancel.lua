-- Anybody ends a run that has not ended. Its worker learns of it from its next write, which is refused.
-- KEYS: run log outputs tombstone deadlines dead
-- ARGV: id data
local run, log, tombstone = KEYS[1], KEYS[2], KEYS[4]
local id = ARGV[1]

local r = redis.call('HMGET', run, 'state', 'attempt', 'seq', 'retention', 'max_entries', 'mode', 'dispatch')
local state = r[1]
if not state then
  return {redis.call('EXISTS', tombstone) == 1 and 'expired' or 'unknown'}
end
if not legal(state, 'cancelled') then
  return {'finished', state, r[6], r[7]}
end
local seq, retention = tonumber(r[3]) + 1, tonumber(r[4])
write(id, log, seq, '"run.cancelled"', r[2], ARGV[2], r[5])
redis.call('HSET', run, 'state', 'cancelled', 'seq', int(seq), 'updated', int(now))
ended(id, 'cancelled', retention)
return {'cancelled', state, r[6], r[7]}
