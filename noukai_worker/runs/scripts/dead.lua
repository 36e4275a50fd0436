-- Ids of failed runs, those that failed last first, each with the moment.
-- KEYS: dead
-- ARGV: offset limit since_ms
return redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', ARGV[3], 'WITHSCORES', 'LIMIT', ARGV[1], ARGV[2])
