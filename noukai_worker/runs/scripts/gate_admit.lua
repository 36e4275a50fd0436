-- May this run's attempt begin now? If not, the run waits in its room.
-- KEYS: gate held ring waiting sent places
-- ARGV: ttl_ms concurrency rate run tenant again lease_ms
-- Answers: whether it may; whether it holds a permit, and whether that is a new one; whether somebody waits.
local run, tenant, again, lease = ARGV[4], ARGV[5], ARGV[6] == '1', tonumber(ARGV[7])
local place, waits = place_of(run)
local called = place and not waits
local others = redis.call('ZCARD', ring) > 0
local free = permits()
local permit = concurrency and redis.call('ZSCORE', held, run)

local may
if paused then
  may = false
elseif not concurrency and not rate and tenant == '' then
  may = true
elseif not called and not permit and others then
  may = false -- not before those who wait
else
  local promised = called and 0 or redis.call('ZCARD', sent)
  may = (permit or free > promised) and (allowance()) > promised
end
if not may then
  enter(run, tenant, again or called or permit)
  return {0, 0, 0, 1}
end
leave(run)
begin(run, lease)
return {1, concurrency and 1 or 0, permit and 0 or 1, others and 1 or 0}
