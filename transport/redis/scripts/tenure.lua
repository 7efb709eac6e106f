-- One look of an exclusive consumer at its topics: it renews the ones it has, gives up those it is told to, and takes
-- free ones unless another living consumer has fewer.
-- KEYS: of each topic: stream, retry stream, delay zset, members. ARGV: group, consumer, lease in ms, how many topics it has
-- beyond these, and of each topic: "give up", "leaving" (it will be given up and does not count any more) or "".
-- Members is a hash: of each consumer "expires topics", and under the empty name, of the owner, "expires consumer".
-- Returns of each topic: whose it is (0: another's or nobody's, 1: still ours, 2: ours from now on), how many topics the
-- member with the fewest has, how many all have, how many members there are, ms until the next retry is due (-1: none),
-- and 1 if something is pending that nobody has kept alive for a lease.
local group, me, lease, total = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local expires = string.format('%.0f', now + lease)
local topics = #KEYS / 4
local state, others = {}, {}

for i = 1, topics do
  local key = KEYS[i * 4]
  others[i] = {}
  local all = redis.call('HGETALL', key)
  for n = 1, #all, 2 do
    local name, until_, what = all[n], string.match(all[n + 1], '^(%d+) (.*)$')
    if not until_ or tonumber(until_) <= now then
      redis.call('HDEL', key, name)
    elseif name == '' then
      state[i] = what == me and 'ours' or 'theirs'
    elseif name ~= me then
      others[i][#others[i] + 1] = tonumber(what) or 0
    end
  end
  if state[i] == 'ours' and ARGV[4 + i] == 'give up' then
    redis.call('HDEL', key, '')
    state[i] = 'given up'
  elseif state[i] == 'ours' then
    redis.call('HSET', key, '', expires .. ' ' .. me)
    if ARGV[4 + i] == '' then total = total + 1 end
  end
end

for i = 1, topics do
  if not state[i] and ARGV[4 + i] == '' then
    local fewer = false
    for _, n in ipairs(others[i]) do fewer = fewer or n < total end
    if not fewer then
      redis.call('HSET', KEYS[i * 4], '', expires .. ' ' .. me)
      state[i] = 'taken'
      total = total + 1
    end
  end
end

local function stale(key)
  local p = redis.pcall('XPENDING', key, group, 'IDLE', lease, '-', '+', 1)
  return not p.err and #p > 0
end

local reply = {}
for i = 1, topics do
  local key = KEYS[i * 4 - 3]
  redis.call('HSET', KEYS[i * 4], me, expires .. ' ' .. total)
  local lowest, sum = total, total
  for _, n in ipairs(others[i]) do
    lowest, sum = math.min(lowest, n), sum + n
  end
  local ours, due, old = 0, -1, 0
  if state[i] == 'ours' or state[i] == 'taken' then
    ours = state[i] == 'ours' and 1 or 2
    local next = redis.pcall('ZRANGE', KEYS[i * 4 - 1], 0, 0, 'WITHSCORES')
    if next.err then
      due = 0 -- Who looks closer gets the error, and the other topics go on.
    elseif #next > 0 then due = math.max(0, math.ceil(tonumber(next[2]) - now)) end
    if stale(key) or stale(KEYS[i * 4 - 2]) then old = 1 end
  end
  reply[i] = {ours, lowest, sum, #others[i] + 1, due, old}
end
return reply
