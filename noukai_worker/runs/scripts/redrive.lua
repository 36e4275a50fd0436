-- A failed run is tried once more, under its id, from its checkpoint: it has not ended after all.
-- KEYS: run log outputs tombstone deadlines dead
-- ARGV: id pickup_ms order
local run, log, tombstone, dead = KEYS[1], KEYS[2], KEYS[4], KEYS[6]
local id, pickup = ARGV[1], tonumber(ARGV[2])

local r = redis.call('HMGET', run, 'state', 'attempt', 'seq', 'retention', 'max_entries', 'max_age', 'request', 'dispatch', 'unsettled',
  'life', 'mode', 'order')
local state, attempt, seq = r[1], r[2], r[3]
if not state then
  return {redis.call('EXISTS', tombstone) == 1 and 'expired' or 'unknown'}
end
-- The same order again: its first answer was lost on the way.
if r[12] == ARGV[3] then
  return {'queued', r[7], r[8]}
end
if state ~= 'failed' then
  return {'refused', state}
end
-- The log must not have an end in its middle (law 2): `run.retrying` takes the place of `run.failed`, number and reason included.
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local entry = last[2][2]
local _, at = string.find(entry, '"data":{', 1, true)
local data = '{"attempt":' .. attempt .. ',"delay":0,"redriven":true,' .. string.sub(entry, at + 1, -2)
redis.call('XDEL', log, last[1])
write(id, log, tonumber(seq), '"run.retrying"', attempt, data, r[5], '1')
unbury(dead, id)
-- Executions of a life that is over do not count for the next one; one of which nobody knows yet does.
if r[9] == '0' then
  redis.call('HINCRBY', run, 'life', 1)
  if r[11] ~= 'stream' then
    redis.call('HDEL', run, 'execution_id', 'reply')
  end
end
redis.call('HSET', run, 'order', ARGV[3])
requeue(id, tonumber(r[4]), tonumber(r[6]), pickup)
return {'queued', r[7], r[8]}
