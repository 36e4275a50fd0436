-- A sweeper looks at one run whose deadline has passed, and does what its state asks for (law 5).
-- KEYS: run log outputs deadlines tombstone
-- ARGV: id pickup_ms
-- Answers 'publish' with the request, or what was done instead.
local run, log, outputs, deadlines, tombstone = unpack(KEYS)
local id, pickup = ARGV[1], tonumber(ARGV[2])

local r = redis.call('HMGET', run, 'state', 'deadline', 'attempt', 'seq', 'retention', 'max_entries', 'sendings', 'counted', 'max_attempts',
  'max_age', 'begins', 'mode', 'request', 'dispatch', 'worker')
local state, deadline = r[1], tonumber(r[2])
if not state then
  redis.call('ZREM', deadlines, id)
  return {'gone'}
end
if FINAL[state] then
  redis.call('ZREM', deadlines, id)
  return {'corrected'}
end
local retention = tonumber(r[5])
if deadline > now then
  due(deadlines, id, deadline, retention)
  return {'corrected'}
end

local attempt, seq = r[3], tonumber(r[4])
local function close(to, kind, data)
  assert(legal(state, to), 'illegal transition')
  seq = seq + 1
  write(id, log, seq, kind, attempt, data, r[6])
  redis.call('HSET', run, 'state', to, 'seq', int(seq), 'updated', int(now))
end
local function fail(code, message)
  close('failed', '"run.failed"', '{"code":"' .. code .. '","message":"' .. message .. '","attempts":' .. attempt .. '}')
  redis.call('HSET', run, 'deadline', 0, 'expires', int(now + retention))
  redis.call('ZREM', deadlines, id)
  redis.call('DEL', outputs)
  redis.call('PEXPIRE', run, int(retention))
  redis.call('PEXPIRE', log, int(retention))
  redis.call('PEXPIRE', tombstone, int(2 * retention))
  return {'failed', code, message, tonumber(attempt), r[12], r[14]}
end

if state == 'paused' then
  return fail('pause_expired', 'the tool results did not come in time')
end
if now - tonumber(r[11]) > tonumber(r[10]) then
  return fail('too_old', 'the run was not finished within its age limit')
end
local sendings = tonumber(r[7])
if state == 'running' then
  if r[12] == 'execute' and not string.find(r[13], '"on_unknown_outcome":"retry"', 1, true) then
    return fail('outcome_unknown', 'the worker was lost during a paid call, and nobody can tell whether it was carried out')
  end
  if tonumber(r[8]) >= tonumber(r[9]) then
    return fail('attempts_exhausted', 'the last worker was lost, and no attempt is left')
  end
  close('queued', '"run.retrying"', '{"code":"worker_lost","message":"the worker was not heard of for the length of its lease","attempt":'
    .. attempt .. ',"delay":0,"worker":' .. r[15] .. '}')
  sendings = 0
elseif state == 'retrying' then
  redis.call('HSET', run, 'state', 'queued', 'updated', int(now))
  sendings = 0
end

-- Sent again with growing pauses: a long queue is not a lost message, and a second message is harmless.
deadline = now + math.min(pickup * 2 ^ sendings, 600000)
local ttl = deadline - now + retention
redis.call('HSET', run, 'deadline', int(deadline), 'due', int(now), 'sendings', sendings + 1, 'expires', int(now + ttl))
redis.call('PEXPIRE', run, int(ttl))
redis.call('PEXPIRE', log, int(ttl))
redis.call('PEXPIRE', outputs, int(ttl))
redis.call('PEXPIRE', tombstone, int(2 * ttl))
due(deadlines, id, deadline, retention)
return {'publish', r[12], r[13], r[14]}
