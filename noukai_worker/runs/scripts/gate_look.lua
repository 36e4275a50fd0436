-- A gate and one of its rooms as they stand.
-- KEYS: gate held ring waiting sent places
-- ARGV: ttl_ms concurrency rate
local tenants = {}
for _, tenant in ipairs(redis.call('ZRANGE', ring, 0, -1)) do
  tenants[#tenants + 1] = tenant
  tenants[#tenants + 1] = redis.call('ZLEXCOUNT', waiting, line_of(tenant))
end
return {g[1] or '0', g[2] or '0', int(paused and pause or 0), redis.call('ZCOUNT', held, '(' .. int(now), '+inf'),
  redis.call('ZCARD', sent), tenants}
