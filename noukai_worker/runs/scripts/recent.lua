-- Ids of the newest runs, newest first, each with the moment.
-- KEYS: index
-- ARGV: offset limit
return redis.call('ZREVRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1, 'WITHSCORES')
