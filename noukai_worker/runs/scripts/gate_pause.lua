-- The service asks for a pause: nothing that uses the credential begins before it is over, and then slowly. 0 ends a pause.
-- KEYS: gate held ring waiting sent places
-- ARGV: ttl_ms concurrency rate pause_ms
local asked = tonumber(ARGV[4])
if asked == 0 then
  redis.call('HDEL', gate, 'until', 'next')
elseif now + asked > pause then
  redis.call('HSET', gate, 'until', int(now + asked), 'next', int(now + asked))
  outlive(gate, tonumber(ARGV[1]) + asked)
end
return 1
