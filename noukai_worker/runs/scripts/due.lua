-- Which runs are overdue, and how long (ms) until the next one is.
-- KEYS: deadlines
-- ARGV: limit
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now), 'LIMIT', 0, ARGV[1])
local nearest = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {ids, nearest[2] and math.max(tonumber(nearest[2]) - now, 0) or -1}
