-- A run whose message is to be sent: does it go to the waiting room, or is it there already? Calls those whose turn it is.
-- KEYS: gate held ring waiting sent places
-- ARGV: ttl_ms concurrency rate run tenant again must limit pickup_ms
-- A run without a tenant (`must` is 0) does not go there now; it may only be there, and then its message is not needed.
local run, tenant, again, must = ARGV[4], ARGV[5], ARGV[6] == '1', ARGV[7] == '1'
if not place_of(run) then
  if not must then
    return {'send'}
  end
  enter(run, tenant, again)
end
return {'waits', release(tonumber(ARGV[8]), tonumber(ARGV[9]))}
