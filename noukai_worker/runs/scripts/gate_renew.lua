-- A process still works on these runs: their permits are good for another lease.
-- KEYS: gate held ring waiting sent places
-- ARGV: ttl_ms concurrency rate lease_ms run…
for n = 5, #ARGV do
  redis.call('ZADD', held, int(now + tonumber(ARGV[4])), ARGV[n])
end
keep(held)
return 1
