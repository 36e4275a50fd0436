-- On a cluster, before a run's script: somebody must look at this run no later than in `ahead_ms`, whatever happens next.
-- KEYS: deadlines
-- ARGV: id ahead_ms
-- Always earlier than what was there, so that who settles a deadline later can tell whether anybody has come in between.
local WEEK = 604800000
local at = now + tonumber(ARGV[2])
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if known and tonumber(known) <= at then
  at = tonumber(known) - 1
end
due(KEYS[1], ARGV[1], at, WEEK)
return int(at)
