-- Ids of the newest runs, newest first.
-- KEYS: index
-- ARGV: offset limit
return redis.call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
