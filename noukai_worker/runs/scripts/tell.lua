-- What Celery is to know of a run that has ended well, as its Redis backend writes it.
-- KEYS: result
-- ARGV: value lifetime_s
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return {'ok'}
