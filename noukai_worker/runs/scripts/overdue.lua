-- A sweeper looks at one run whose deadline has passed, and does what its state asks for (law 5).
-- KEYS: run log outputs tombstone deadlines dead
-- ARGV: id pickup_ms lease_ms patient
-- Answers 'publish' with the request, or what was done instead.
local run, log, outputs, tombstone, deadlines = unpack(KEYS)
local id, pickup, lease, patient = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'

local r = redis.call('HMGET', run, 'state', 'deadline', 'attempt', 'seq', 'retention', 'max_entries', 'sendings', 'counted', 'max_attempts',
  'max_age', 'begins', 'mode', 'request', 'dispatch', 'worker', 'spared', 'missed', 'failed_retention', 'unsettled')
local state, deadline = r[1], tonumber(r[2])
if not state then
  undue(deadlines, id)
  return {'gone'}
end
if FINAL[state] then
  undue(deadlines, id)
  return {'corrected'}
end
local retention, begins, max_age = tonumber(r[5]), tonumber(r[11]), tonumber(r[10])
local function postpone(to)
  local ttl = lifetime(retention, to, begins, max_age)
  redis.call('HSET', run, 'deadline', int(to), 'expires', int(now + ttl))
  live(ttl, run, log, outputs)
  live(2 * ttl, tombstone)
  due(deadlines, id, to, ttl)
end
if deadline > now then
  postpone(deadline)
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
  ended(id, 'failed', retention, tonumber(r[18]))
  return {'failed', code, message, tonumber(attempt), r[12], r[14]}
end

if state == 'paused' then
  return fail('pause_expired', 'the tool results did not come in time')
end
if state ~= 'running' and now - begins > max_age then
  return fail('too_old', 'the run was not finished within its age limit')
end
local sendings = tonumber(r[7])
if state == 'running' then
  -- A call of which nobody else may find out what became of it is left to its worker for longer.
  local missed = (tonumber(r[17]) or 0) + 1
  if missed <= math.max(tonumber(r[16]), patient and 1 or 0) then
    redis.call('HSET', run, 'missed', int(missed))
    postpone(now + lease)
    return {'spared'}
  end
  -- Whether a paid call was carried out is found out by another attempt, even if none is left to make the call again.
  if tonumber(r[8]) >= tonumber(r[9]) + (r[19] ~= '0' and FINDERS or 0) then
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
redis.call('HSET', run, 'due', int(now), 'sendings', sendings + 1)
postpone(now + math.min(pickup * 2 ^ sendings, 600000))
return {'publish', r[12], r[13], r[14]}
