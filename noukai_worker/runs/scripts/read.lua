-- A page of a run's log after a position; says so when the log cannot serve it whole (law 7).
-- KEYS: run log tombstone
-- ARGV: after limit
local after = tonumber(ARGV[1])
local r = redis.call('HMGET', KEYS[1], 'state', 'seq')
if not r[1] then
  return {redis.call('EXISTS', KEYS[3]) == 1 and 'expired' or 'unknown'}
end
local last = tonumber(r[2])
if after > last then
  return {'ahead', last}
end
local page = redis.call('XRANGE', KEYS[2], int(after + 1) .. '-0', '+', 'COUNT', ARGV[2])
if after < last then
  local first = page[1] and tonumber(string.match(page[1][1], '^%d+')) or last + 1
  if first > after + 1 then
    return {'trimmed', first}
  end
end
local entries = {}
for i, item in ipairs(page) do
  entries[i] = item[2][2]
end
return {'ok', r[1], last, entries}
