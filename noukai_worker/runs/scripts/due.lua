-- Which runs are overdue, how long (ms) until the next one is, and whether silence may be believed.
-- KEYS: deadlines sweep
-- ARGV: limit lease_ms
-- While no sweeper got through, no worker did either. For a lease's time after such a gap, workers get the chance to be heard.
local lease = tonumber(ARGV[2])
local r = redis.call('HMGET', KEYS[2], 'at', 'patient')
local patient = tonumber(r[2] or 0)
if r[1] and now - tonumber(r[1]) > lease / 2 then
  patient = now + lease
end
redis.call('HSET', KEYS[2], 'at', int(now), 'patient', int(patient))
redis.call('PEXPIRE', KEYS[2], 86400000)

local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', 0, ARGV[1])
local nearest = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {ids, nearest[2] and math.max(tonumber(nearest[2]) - now, 0) or -1, patient > now and 1 or 0}
