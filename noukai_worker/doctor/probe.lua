-- Tries commands, and says of each what the server says against it. Everything is gone again when this returns.
-- KEYS: a string, a hash, a stream, a sorted set, none of which exists
-- ARGV: a JSON array of commands; in their words, "$1" … "$4" stands for a key. SET … PX, PEXPIRE and DEL must be
-- the first three.
local answers = {}
for n, words in ipairs(cjson.decode(ARGV[1])) do
  for i, word in ipairs(words) do
    words[i] = KEYS[tonumber(string.match(word, '^%$(%d)$'))] or word
  end
  local answer = redis.pcall(unpack(words))
  answers[n] = type(answer) == 'table' and answer.err or ''
  -- Nothing is written that could not be removed, or would not expire (law 8). And after its first write a script is not stopped by
  -- a full memory any more, so that is one that needs memory.
  if n <= 3 and answers[n] ~= '' then
    return answers
  end
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, 10000)
  redis.call('DEL', key)
end
return answers
