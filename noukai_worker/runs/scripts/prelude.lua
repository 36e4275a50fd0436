-- Shared by all scripts: the server's clock, whole numbers as text, the transition table, the log, times to live.
-- Placed before each script; TRANSITIONS is rendered from runs/model.py, PUBLISH by scripts/__init__.py.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Lua would write 1.8e+12.
local function int(n)
  return string.format('%.0f', n)
end

-- RFC 3339 from Unix ms: the civil-calendar arithmetic of days since 1970-01-01, years beginning in March.
local function rfc3339(ms)
  local seconds = math.floor(ms / 1000)
  local days = math.floor(seconds / 86400)
  local rest = seconds - days * 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60, ms - seconds * 1000)
end

local function legal(from, to)
  return TRANSITIONS[from] ~= nil and TRANSITIONS[from][to] == true
end

-- One entry: numbered, logged, published. `type` and `data` are JSON texts. The only place that writes to a log (law 3).
local at = nil
-- `place` is '0', or '1' for an entry that takes the place of one with the same number.
local function write(id, log, seq, kind, attempt, data, max_entries, place)
  at = at or rfc3339(now)
  local entry = '{"run_id":"' .. id .. '","seq":' .. int(seq) .. ',"type":' .. kind .. ',"at":"' .. at
    .. '","attempt":' .. int(attempt) .. ',"data":' .. data .. '}'
  redis.call('XADD', log, 'MAXLEN', '~', max_entries, int(seq) .. '-' .. (place or '0'), 'entry', entry)
  redis.call(PUBLISH, 'noukai:{' .. id .. '}:events', entry)
end

-- How long the keys of an unfinished run live: the retention after the last moment at which anything may be due. Longer than all
-- workers may be away, so that what was accepted always comes to an end that can be read.
local function lifetime(retention, deadline, begins, max_age)
  return retention + math.max(deadline - now, begins + max_age - now, 0)
end

-- A key shared by many runs lives at least as long as the longest-lived of them (law 8).
local function outlive(key, ttl)
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, int(ttl))
  end
end

local function due(deadlines, id, deadline, ttl)
  redis.call('ZADD', deadlines, int(deadline), id)
  outlive(deadlines, ttl)
end

local function undue(deadlines, id)
  redis.call('ZREM', deadlines, id)
end

-- The failed runs, until they have expired.
local function bury(dead, id, ttl)
  redis.call('ZADD', dead, int(now), id)
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', int(now - 2 * ttl))
  outlive(dead, ttl)
end

local function unbury(dead, id)
  redis.call('ZREM', dead, id)
end

-- All runs, the newest first, until they have expired.
local function enlist(index, id, ttl)
  redis.call('ZADD', index, int(now), id)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', int(now - 2 * ttl))
  outlive(index, 2 * ttl)
end

local function live(ttl, ...)
  for _, key in ipairs({...}) do
    redis.call('PEXPIRE', key, int(ttl))
  end
end

-- A run has ended: nobody looks after it any more, and its keys expire. One that failed keeps its checkpoint, and is listed.
local function ended(id, state, retention, failed_retention)
  local run, log, outputs, tombstone, deadlines, dead = unpack(KEYS)
  local ttl = state == 'failed' and failed_retention or retention
  redis.call('HSET', run, 'deadline', 0, 'expires', int(now + ttl))
  undue(deadlines, id)
  if state == 'failed' then
    bury(dead, id, ttl)
    live(ttl, outputs)
  else
    redis.call('DEL', outputs)
  end
  live(ttl, run, log)
  live(2 * ttl, tombstone)
end

-- A run that waited for somebody goes on: its message is on the way, its attempts and its age begin anew.
local function requeue(id, retention, max_age, pickup)
  local run, log, outputs, tombstone, deadlines = unpack(KEYS)
  local deadline = now + pickup
  local ttl = lifetime(retention, deadline, now, max_age)
  redis.call('HSET', run, 'state', 'queued', 'updated', int(now), 'begins', int(now), 'counted', 0, 'missed', 0, 'sendings', 1,
    'due', int(now), 'deadline', int(deadline), 'expires', int(now + ttl))
  due(deadlines, id, deadline, ttl)
  live(ttl, run, log, outputs)
  live(2 * ttl, tombstone)
end
