-- A worker takes a queued run: counts an attempt, starts the lease, hands out request and checkpoint.
-- KEYS: run log outputs tombstone deadlines dead
-- ARGV: id claim lease_ms worker(JSON)
local run, log, outputs, tombstone, deadlines = unpack(KEYS)
local id, claim, lease, worker = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local r = redis.call('HMGET', run, 'state', 'attempt', 'seq', 'request', 'execution_id', 'step_index', 'retention', 'due', 'claim',
  'max_entries', 'counted', 'step_count', 'last_step', 'dispatch', 'begins', 'max_age', 'mode', 'unsettled', 'life', 'reply', 'reply_at')
local state, attempt, seq = r[1], tonumber(r[2]), tonumber(r[3])
if not state then
  return {redis.call('EXISTS', tombstone) == 1 and 'expired' or 'unknown'}
end
-- The same claim again: its first answer was lost on the way.
local counted = tonumber(r[11])
local again = state == 'running' and r[9] == claim
if not again then
  if not legal(state, 'running') or tonumber(r[8]) > now then
    return {'refused', state}
  end
  local begins, max_age = tonumber(r[15]), tonumber(r[16])
  if now - begins > max_age then
    due(deadlines, id, now, tonumber(r[7])) -- the sweeper says so
    redis.call('HSET', run, 'deadline', int(now))
    return {'refused', state}
  end
  attempt, seq, counted = attempt + 1, seq + 1, counted + 1
  local deadline, retention = now + lease, tonumber(r[7])
  local ttl = lifetime(retention, deadline, begins, max_age)
  redis.call('HSET', run, 'state', 'running', 'attempt', int(attempt), 'counted', int(counted), 'missed', 0, 'seq', int(seq), 'claim', claim,
    'worker', worker, 'updated', int(now), 'deadline', int(deadline), 'expires', int(now + ttl))
  local data = '{"attempt":' .. int(attempt) .. ',"resumed_at_step":' .. r[6] .. ',"worker":' .. worker .. '}'
  write(id, log, seq, '"run.started"', attempt, data, r[10])
  live(ttl, run, log, outputs)
  live(2 * ttl, tombstone)
  due(deadlines, id, deadline, ttl)
  -- From here on its paid call may have been made: the first attempt of which nobody knows is remembered.
  if r[17] ~= 'stream' and r[18] == '0' then
    redis.call('HSET', run, 'unsettled', int(attempt))
  end
else
  redis.call('HSET', run, 'deadline', int(now + lease))
  due(deadlines, id, now + lease, lifetime(tonumber(r[7]), now + lease, tonumber(r[15]), tonumber(r[16])))
end
return {'claimed', attempt, seq, r[4], r[5] or '', tonumber(r[6]), redis.call('HGETALL', outputs), counted,
  r[14], r[12] or '', r[13] or '', (r[18] ~= '0' and tonumber(r[18]) < attempt) and 1 or 0, tonumber(r[19]),
  r[21] == r[6] and r[20] or ''}
