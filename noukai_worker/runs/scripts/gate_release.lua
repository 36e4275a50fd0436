-- Permits come back, runs leave that have no business here any more, and those whose turn it is are called: their messages are the
-- caller's to send.
-- KEYS: gate held ring waiting sent places
-- ARGV: ttl_ms concurrency rate limit pickup_ms permit_count run… run…
-- Answers: runs to be sent; how long (ms) until there is something to do again, -1 for never, 0 for at once.
local limit, pickup, back = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
for n = 7, #ARGV do
  if n < 7 + back then redis.call('ZREM', held, ARGV[n]) else leave(ARGV[n]) end
end

local called = {}
if not paused then
  -- Whoever called them has died, or their messages were lost.
  for _, run in ipairs(redis.call('ZRANGEBYSCORE', sent, '-inf', int(now), 'LIMIT', 0, limit)) do
    local age = now - tonumber(redis.call('HGET', places, run) or now)
    redis.call('ZADD', sent, int(now + math.min(math.max(age, pickup), LONGEST)), run)
    called[#called + 1] = run
  end
  for _, run in ipairs(release(limit - #called, pickup)) do
    called[#called + 1] = run
  end
end
if #called >= limit then
  return {called, 0}
end

local soonest = math.huge
local function look_again(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  soonest = math.min(soonest, first[2] and math.max(tonumber(first[2]) - now, 1) or math.huge)
end
local waits = redis.call('ZCARD', ring) > 0
if paused then
  soonest = (waits or redis.call('ZCARD', sent) > 0) and pause - now or math.huge
else
  look_again(sent)
  if waits then
    local _, wait = allowance()
    if wait > 0 then soonest = math.min(soonest, math.ceil(wait)) end
    if concurrency then look_again(held) end
  end
end
return {called, soonest < math.huge and soonest or -1}
