-- A paused run is given what it waits for, once, and queued again.
-- KEYS: run log outputs tombstone deadlines dead
-- ARGV: id position results pickup_ms data order
local run, log, tombstone = KEYS[1], KEYS[2], KEYS[4]
local id, results, pickup = ARGV[1], ARGV[3], tonumber(ARGV[4])

local r = redis.call('HMGET', run, 'state', 'attempt', 'seq', 'retention', 'max_entries', 'max_age', 'continuation', 'step_index',
  'request', 'dispatch', 'order')
local state = r[1]
if not state then
  return {redis.call('EXISTS', tombstone) == 1 and 'expired' or 'unknown'}
end
-- The same order again: its first answer was lost on the way.
if r[11] == ARGV[6] then
  return {'queued', r[9], r[10]}
end
-- The position tells this pause from another one of the same run.
if state ~= 'paused' or r[3] ~= ARGV[2] then
  return {'refused', state}
end
local seq = tonumber(r[3]) + 1
write(id, log, seq, '"run.resumed"', r[2], ARGV[5], r[5])
redis.call('HSET', run, 'seq', int(seq), 'order', ARGV[6], 'reply', '{"continuation":' .. r[7] .. ',"results":' .. results .. '}', 'reply_at', r[8])
requeue(id, tonumber(r[4]), tonumber(r[6]), pickup)
return {'queued', r[9], r[10]}
