-- Tells whether there is something to do for topics of a group, in one command however many they are.
-- KEYS: for each topic its delay zset, its stream, its retry stream. ARGV: group.
-- Returns for each topic ms until the next retry is due (-1: none), and how many entries are pending in the two streams.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function pending(key)
  local summary = redis.pcall('XPENDING', key, ARGV[1])
  if summary.err then return 0 end -- No such group, which reading notices.
  return summary[1]
end

local found = {}
for i = 1, #KEYS, 3 do
  local next = redis.pcall('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  local due = -1
  if next.err then
    due = 0 -- Who looks closer gets the error, and the other topics go on.
  elseif #next > 0 then due = math.max(0, math.ceil(tonumber(next[2]) - now)) end
  for _, v in ipairs({due, pending(KEYS[i + 1]), pending(KEYS[i + 2])}) do found[#found + 1] = v end
end
return found
