-- Looks at a stream and its groups.
-- KEYS: stream. ARGV: most entries, and most bytes of entries, to count of what a group has not read.
-- Returns how many entries there are, the ids of the first and the last ('': none), and of each group its name, the number
-- of its consumers, the id last delivered, its lag as the server has it (-1: unknown), how many entries it has not read,
-- whether that is all of them (1), how many are pending, and of the oldest of them id, consumer, ms since it was last
-- delivered or claimed, and deliveries. Fails if there is no such stream.
local key, most, mostBytes = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

local function map(flat)
  local m = {}
  for i = 1, #flat, 2 do m[flat[i]] = flat[i + 1] end
  return m
end

local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]

-- Pages begin small, because it is not known how large entries are.
local function unread(from)
  local n, bytes, step = 0, 0, 1
  if not last or from == last[1] then return 0, 1 end
  while n < most and bytes < mostBytes do
    step = math.min(step, most - n)
    local entries = redis.call('XRANGE', key, '(' .. from, '+', 'COUNT', step)
    for _, entry in ipairs(entries) do
      for _, v in ipairs(entry[2]) do bytes = bytes + #v end
    end
    n = n + #entries
    if #entries < step then return n, 1 end
    from = entries[#entries][1]
    step = math.min(step * 2, 100)
  end
  return n, from == last[1] and 1 or 0
end

local groups = {}
for i, g in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  g = map(g)
  local n, all = unread(g['last-delivered-id'])
  local oldest = g.pending > 0 and redis.call('XPENDING', key, g.name, '-', '+', 1)[1] or {}
  groups[i] = {g.name, g.consumers, g['last-delivered-id'], g.lag or -1, n, all, g.pending, unpack(oldest)}
end
return {redis.call('XLEN', key), first and first[1] or '', last and last[1] or '', groups}
