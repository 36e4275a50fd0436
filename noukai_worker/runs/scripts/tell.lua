-- What Celery is to know of a run that has ended well, as its Redis backend writes it; only if this attempt has ended it.
-- KEYS: result run
-- ARGV: value lifetime_s attempt
-- Answers whether it is told.
local run = redis.call('HMGET', KEYS[2], 'state', 'closed')
if run[1] == 'completed' and run[2] == ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  redis.call(PUBLISH, KEYS[1], ARGV[1])
  return 1
end
return 0
