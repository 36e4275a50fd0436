-- A run and its newest entry, as one picture.
-- KEYS: run log tombstone
local run = redis.call('HGETALL', KEYS[1])
if #run == 0 then
  return {redis.call('EXISTS', KEYS[3]) == 1 and 'expired' or 'unknown'}
end
return {'found', run, redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1][2][2]}
