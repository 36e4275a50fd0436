-- Records a run as queued, before its message is sent; a run that exists already is told, not made again.
-- KEYS: run log tombstone deadlines index
-- ARGV: id token request digest flow mode dispatch retention_ms delay_ms pickup_ms spared max_attempts max_age_ms max_entries data failed_retention_ms
local run, log, tombstone, deadlines, index = unpack(KEYS)
local id, token, request, digest, flow, mode, dispatch = unpack(ARGV, 1, 7)
local retention, delay, pickup = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local found = redis.call('HMGET', run, 'digest', 'token', 'seq', 'state')
if found[1] then
  return {found[1] == digest and 'existing' or 'conflict', found[2], tonumber(found[3]), found[4]}
end
if redis.call('EXISTS', tombstone) == 1 then
  return {'expired'}
end

-- A delayed run has no message: the sweeper sends it when it is due.
local deadline = now + delay
if delay == 0 then
  deadline = now + pickup
end
local ttl = lifetime(retention, deadline, now + delay, tonumber(ARGV[13]))
redis.call('HSET', run, 'id', id, 'state', 'queued', 'attempt', 0, 'counted', 0, 'seq', 1, 'token', token, 'request', request,
  'digest', digest, 'flow', flow, 'mode', mode, 'dispatch', dispatch, 'retention', retention, 'created', int(now),
  'updated', int(now), 'due', int(now + delay), 'begins', int(now + delay), 'deadline', int(deadline), 'expires', int(now + ttl), 'sendings', delay == 0 and 1 or 0,
  'spared', ARGV[11], 'max_attempts', ARGV[12], 'max_age', ARGV[13], 'max_entries', ARGV[14], 'failed_retention', ARGV[16],
  'step_index', 0, 'unsettled', 0, 'life', 0)
write(id, log, 1, '"run.queued"', 0, ARGV[15], ARGV[14])
live(ttl, run, log)
redis.call('SET', tombstone, 1, 'PX', int(2 * ttl))
due(deadlines, id, deadline, ttl)
enlist(index, id, ttl)
return {'created', token, 1, 'queued'}
