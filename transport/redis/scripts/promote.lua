-- Moves what is due from the delay store to the retry stream of the group. What cannot be read stays in the hash.
-- KEYS: delay zset, delayed hash, retry stream. ARGV: at most.
-- Returns how many moved, ms until the next is due (-1: none), and how many could not be read.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))
local bad = 0

local function readable(fields)
  if type(fields) ~= 'table' or #fields == 0 or #fields % 2 == 1 or #fields > 1000 then return false end
  for i = 1, #fields do
    if type(fields[i]) ~= 'string' then return false end
  end
  return true
end

for _, member in ipairs(due) do
  local packed = redis.call('HGET', KEYS[2], member)
  local ok, fields = pcall(cmsgpack.unpack, packed or '')
  if packed and ok and readable(fields) then
    redis.call('XADD', KEYS[3], '*', unpack(fields))
    redis.call('HDEL', KEYS[2], member)
  else
    bad = bad + 1
  end
  redis.call('ZREM', KEYS[1], member)
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #next == 0 then return {#due - bad, -1, bad} end
return {#due - bad, math.max(0, math.ceil(tonumber(next[2]) - now)), bad}
