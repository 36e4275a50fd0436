-- Shared by the scripts of a gate, which decides when runs that use a credential may begin. Placed after the prelude.
-- A gate has limits, a pause that the service asked for, and permits; and a waiting room for each kind of worker. In a room
-- tenants take turns, and each tenant's runs keep their order. A run that is called out of it is `sent` until a worker has it.
-- KEYS: gate held ring waiting sent places
-- ARGV begins: ttl_ms concurrency rate; the limits of a caller who knows them, 0 for none, or ''
local gate, held, ring, waiting, sent, places = unpack(KEYS)

-- Messages of one room that are on their way. Each that arrives calls the next one; few enough for a newcomer's turn to come soon.
local WINDOW = 8
-- A rate may be used up to so many ms in advance: runs begin in small groups, and no second has many more than the rate.
local SLACK = 50
-- After a pause: so many in the first second, then twice as many in each, for so many ms.
local FIRST, RAMP = 2, 8000
-- A message that nobody picks up is sent again after ever longer pauses, at last of so many ms.
local LONGEST = 600000

local function keep(...)
  for _, key in ipairs({...}) do
    outlive(key, tonumber(ARGV[1]))
  end
end

local g = redis.call('HMGET', gate, 'concurrency', 'rate', 'until', 'next')
local concurrency, rate, pause = g[1] or '0', g[2] or '0', tonumber(g[3] or 0)
if ARGV[2] ~= '' and (ARGV[2] ~= concurrency or ARGV[3] ~= rate) then
  concurrency, rate = ARGV[2], ARGV[3]
  redis.call('HSET', gate, 'concurrency', concurrency, 'rate', rate)
  keep(gate)
end
concurrency = concurrency ~= '0' and tonumber(concurrency)
rate = rate ~= '0' and tonumber(rate)
local paused = pause > now
local ramping = not paused and now - pause < RAMP
if ramping then
  local slow = FIRST * 2 ^ ((now - pause) / 1000)
  if rate and rate <= slow then ramping = false else rate = slow end
end

-- How many may begin now as far as the rate goes, and how long (ms) until one may. (The generic cell rate algorithm.)
local function allowance()
  if not rate then
    return math.huge, 0
  end
  local spare = now + (ramping and 0 or SLACK) - math.max(tonumber(g[4] or 0), now)
  if spare < 0 then
    return 0, -spare
  end
  return math.floor(spare * rate / 1000) + 1, 0
end

local function permits()
  if not concurrency then
    return math.huge
  end
  redis.call('ZREMRANGEBYSCORE', held, '-inf', int(now))
  return concurrency - redis.call('ZCARD', held)
end

local function begin(run, lease)
  if rate then
    redis.call('HSET', gate, 'next', string.format('%.3f', math.max(tonumber(g[4] or 0), now) + 1000 / rate))
    keep(gate)
  end
  if concurrency then
    redis.call('ZADD', held, int(now + lease), run)
    keep(held)
  end
end

-- A run's place: nothing, its member of `waiting`, or when it was called.
local function place_of(run)
  local place = redis.call('HGET', places, run)
  local waits = place and string.find(place, '\n', 1, true) ~= nil
  return place, waits
end

local function leave(run)
  local place, waits = place_of(run)
  if place then
    redis.call('HDEL', places, run)
    if waits then redis.call('ZREM', waiting, place) else redis.call('ZREM', sent, run) end
  end
end

-- To the end of its tenant's line; `again` for a run that has been out before: it goes before those that have not.
local function enter(run, tenant, again)
  local place, waits = place_of(run)
  if waits then
    return
  end
  if place then
    redis.call('ZREM', sent, run)
  end
  local n = redis.call('HINCRBY', gate, 'turns', 1)
  local member = tenant .. '\n' .. (again and '0' or '1') .. string.format('%015d', n) .. run
  redis.call('ZADD', waiting, 0, member)
  redis.call('HSET', places, run, member)
  redis.call('ZADD', ring, 'NX', n, tenant)
  keep(gate, waiting, places, ring)
end

local function line_of(tenant)
  return '[' .. tenant .. '\n', '(' .. tenant .. '\11'
end

-- The first run of the tenant whose turn it is; the tenant goes to the end of the ring.
local function call_next(pickup)
  while true do
    local tenant = redis.call('ZRANGE', ring, 0, 0)[1]
    if not tenant then
      return nil
    end
    local from, to = line_of(tenant)
    local first = redis.call('ZRANGEBYLEX', waiting, from, to, 'LIMIT', 0, 2)
    if first[2] then
      redis.call('ZADD', ring, redis.call('HINCRBY', gate, 'turns', 1), tenant)
    else
      redis.call('ZREM', ring, tenant)
    end
    if first[1] then
      local run = string.sub(first[1], #tenant + 18)
      redis.call('ZREM', waiting, first[1])
      redis.call('HSET', places, run, int(now))
      redis.call('ZADD', sent, int(now + pickup), run)
      keep(sent)
      return run
    end
  end
end

-- How many more may be on their way.
local function room_for()
  if paused then
    return 0
  end
  return math.min(WINDOW, permits(), (allowance())) - redis.call('ZCARD', sent)
end

local function release(limit, pickup)
  local called = {}
  for _ = 1, math.min(limit, room_for()) do
    local run = call_next(pickup)
    if not run then
      break
    end
    called[#called + 1] = run
  end
  return called
end
