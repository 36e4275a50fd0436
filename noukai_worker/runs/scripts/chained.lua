-- Two scripts in one act: the second is carried out if the first's answer begins with 1 or ok. Each sees its own KEYS and ARGV.
-- ARGV begins: how many keys and how many arguments are the first's
local function first(KEYS, ARGV)
-- FIRST
end

local function second(KEYS, ARGV)
-- SECOND
end

local function part(list, from, to)
  local own = {}
  for n = from, to do
    own[#own + 1] = list[n]
  end
  return own
end

local keys, words = tonumber(ARGV[1]), tonumber(ARGV[2]) + 2
local answer = first(part(KEYS, 1, keys), part(ARGV, 3, words))
if answer[1] ~= 1 and answer[1] ~= 'ok' then
  return {answer}
end
return {answer, second(part(KEYS, keys + 1, #KEYS), part(ARGV, words + 1, #ARGV))}
