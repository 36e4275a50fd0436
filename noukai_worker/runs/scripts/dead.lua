-- Ids of failed runs, those that failed last first.
-- KEYS: dead
-- ARGV: since_ms offset limit
return redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', ARGV[1], 'LIMIT', ARGV[2], ARGV[3])
