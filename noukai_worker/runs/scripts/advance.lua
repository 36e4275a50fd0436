-- The holder of a lease writes: entries, checkpoint, lease and the end of the attempt are one act (laws 3, 4, 6).
-- KEYS: run log outputs tombstone deadlines dead
-- ARGV: id attempt seq lease_ms to wait_ms counted execution_id step_index step_count last_step settled reply output_count
--       entry_count [step_id output]… [type data]…
-- `to` is '' (goes on running) or the next state; `wait_ms` says when it is due; `counted` is 0 when the attempt is given back,
-- `settled` is 0 when its paid call may have been carried out and nobody knows; `reply` is what a paused flow goes on with.
local run, log, outputs, tombstone, deadlines = unpack(KEYS)
local id, attempt, seq, lease, to, wait = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local output_count, entry_count = tonumber(ARGV[14]), tonumber(ARGV[15])

local r = redis.call('HMGET', run, 'state', 'attempt', 'seq', 'deadline', 'expires', 'retention', 'max_entries', 'closed', 'counted',
  'begins', 'max_age', 'missed', 'failed_retention', 'step_index', 'unsettled')
local state, last = r[1], tonumber(r[3])
if not state then
  return {'gone'}
end
if r[2] ~= attempt then
  return {'fenced', state, last}
end
-- The same write again: its first answer was lost on the way.
local applied = (to == '' and state == 'running') or (to ~= '' and r[8] == attempt)
if applied and entry_count > 0 and last == seq + entry_count then
  if to == '' then
    redis.call('HSET', run, 'deadline', int(now + lease))
    due(deadlines, id, now + lease, lifetime(tonumber(r[6]), now + lease, tonumber(r[10]), tonumber(r[11])))
  end
  return {'ok', last}
end
if state ~= 'running' or last ~= seq then
  return {'fenced', state, last}
end
if to ~= '' and not legal(state, to) then
  return redis.error_reply('ILLEGAL transition from ' .. state .. ' to ' .. to)
end

local cursor = 16
for _ = 1, output_count do
  redis.call('HSET', outputs, ARGV[cursor], ARGV[cursor + 1])
  cursor = cursor + 2
end
for _ = 1, entry_count do
  seq = seq + 1
  write(id, log, seq, ARGV[cursor], attempt, ARGV[cursor + 1], r[7])
  cursor = cursor + 2
end

local changes = {'seq', int(seq), 'updated', int(now)}
local function change(name, value)
  changes[#changes + 1] = name
  changes[#changes + 1] = value
end
if ARGV[8] ~= '' then change('execution_id', ARGV[8]) end
if ARGV[9] ~= '' then change('step_index', ARGV[9]) end
if ARGV[10] ~= '' then change('step_count', ARGV[10]) end
if ARGV[11] ~= '' then change('last_step', ARGV[11]) end
if ARGV[13] ~= '' then
  change('reply', ARGV[13])
  change('reply_at', ARGV[9] ~= '' and ARGV[9] or r[14])
end

-- The worker is heard again: grace is for one silence, not for all of an attempt's together.
if r[12] and r[12] ~= '0' then change('missed', 0) end
if to ~= '' then
  if ARGV[7] == '0' then change('counted', tonumber(r[9]) - 1) end
  if ARGV[12] == '1' and r[15] ~= '0' then change('unsettled', 0) end
  if to == 'paused' then change('continuation', ARGV[cursor - 1]) end
end
redis.call('HSET', run, unpack(changes))

local retention, deadline = tonumber(r[6]), now + lease
if to ~= '' then
  deadline = now + wait
  redis.call('HSET', run, 'state', to, 'closed', attempt, 'due', int(to == 'queued' and now or deadline), 'sendings', 0)
  if FINAL[to] then
    ended(id, to, retention, tonumber(r[13]))
    return {'ok', seq}
  end
end
local ttl = lifetime(retention, deadline, tonumber(r[10]), tonumber(r[11]))
-- A lease that was renewed a moment ago is left alone: most writes then touch neither deadline nor times to live.
if to ~= '' or deadline - tonumber(r[4]) > lease / 8 then
  redis.call('HSET', run, 'deadline', int(deadline))
  due(deadlines, id, deadline, ttl)
end
if to ~= '' or output_count > 0 or now + ttl - tonumber(r[5]) > retention / 16 then
  redis.call('HSET', run, 'expires', int(now + ttl))
  live(ttl, run, log, outputs)
  live(2 * ttl, tombstone)
end
return {'ok', seq}
