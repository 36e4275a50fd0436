-- On a cluster: what all runs share is in other slots. The script leaves it alone, and its answer carries what the run has become,
-- for mirror.py to write there. Placed around each script that writes to a run.
local function nothing() end
due, undue, bury, unbury, enlist = nothing, nothing, nothing, nothing, nothing
local before = redis.call('HGET', KEYS[1], 'deadline') or '0'

local function act()
-- SCRIPT
end

local answer = act()
if type(answer) == 'table' and answer.err then
  return answer
end
local r = redis.call('HMGET', KEYS[1], 'deadline', 'expires', 'state')
return {answer, before, r[1] or '0', int(math.max((tonumber(r[2]) or now) - now, 0)), r[3] == 'failed' and 1 or 0}
