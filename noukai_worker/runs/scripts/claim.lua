-- A worker takes a queued run: counts an attempt, starts the lease, hands out request and checkpoint.
-- KEYS: run log outputs deadlines tombstone
-- ARGV: id claim lease_ms worker(JSON)
local run, log, outputs, deadlines, tombstone = unpack(KEYS)
local id, claim, lease, worker = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local r = redis.call('HMGET', run, 'state', 'attempt', 'seq', 'request', 'execution_id', 'step_index', 'retention', 'due', 'claim',
  'max_entries', 'counted', 'step_count', 'last_step', 'dispatch')
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
  attempt, seq, counted = attempt + 1, seq + 1, counted + 1
  local deadline, retention = now + lease, tonumber(r[7])
  local ttl = lease + retention
  redis.call('HSET', run, 'state', 'running', 'attempt', int(attempt), 'counted', int(counted), 'seq', int(seq), 'claim', claim,
    'worker', worker, 'updated', int(now), 'deadline', int(deadline), 'expires', int(now + ttl))
  local data = '{"attempt":' .. int(attempt) .. ',"resumed_at_step":' .. r[6] .. ',"worker":' .. worker .. '}'
  write(id, log, seq, '"run.started"', attempt, data, r[10])
  redis.call('PEXPIRE', run, int(ttl))
  redis.call('PEXPIRE', log, int(ttl))
  redis.call('PEXPIRE', outputs, int(ttl))
  redis.call('PEXPIRE', tombstone, int(2 * ttl))
  due(deadlines, id, deadline, retention)
end
return {'claimed', attempt, seq, r[4], r[5] or '', tonumber(r[6]), redis.call('HGETALL', outputs), counted,
  r[14], r[12] or '', r[13] or ''}
