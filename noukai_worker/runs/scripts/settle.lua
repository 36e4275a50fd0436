-- On a cluster, after a run's script: what the run has become, for those who look for runs.
-- KEYS: deadlines dead index
-- ARGV: id foretold deadline ttl_ms failed new
-- `foretold` is what `foretell` answered, or '' if there was no need to: only the next deadline of a lease that is kept.
local deadlines, dead, index = unpack(KEYS)
local id, foretold, deadline, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local known = redis.call('ZSCORE', deadlines, id)
-- Has somebody foretold since? What he does with the run may be newer, and it is he, or a sweeper, who settles it: until then an
-- entry may only become an earlier one.
local alone = foretold == '' or not known or tonumber(known) == tonumber(foretold)
if deadline > 0 and (alone or deadline < tonumber(known)) then
  due(deadlines, id, deadline, ttl)
elseif deadline == 0 and alone then
  undue(deadlines, id)
end
if ARGV[5] == '0' then
  unbury(dead, id)
elseif not redis.call('ZSCORE', dead, id) then
  bury(dead, id, ttl)
end
if ARGV[6] == '1' and deadline > 0 and not redis.call('ZSCORE', index, id) then
  enlist(index, id, ttl)
end
return 1
