-- A run that cannot be looked after now (its record is damaged) makes room for the others.
-- KEYS: deadlines
-- ARGV: id pause_ms
return redis.call('ZADD', KEYS[1], 'XX', int(now + tonumber(ARGV[2])), ARGV[1])
