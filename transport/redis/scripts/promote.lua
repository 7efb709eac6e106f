-- Moves what is due from the delay store to the retry stream of the group.
-- KEYS: delay zset, delayed hash, retry stream. ARGV: at most. Returns how many moved, and ms until the next is due (-1: none).
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))
for _, member in ipairs(due) do
  local packed = redis.call('HGET', KEYS[2], member)
  if packed then
    redis.call('XADD', KEYS[3], '*', unpack(cmsgpack.unpack(packed)))
  end
  redis.call('HDEL', KEYS[2], member)
  redis.call('ZREM', KEYS[1], member)
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #next == 0 then return {#due, -1} end
return {#due, math.max(0, math.ceil(tonumber(next[2]) - now))}
