-- Removes the oldest entries that are over a limit and that no group has still to read or to settle: one page of them.
-- KEYS: stream. ARGV: most entries to keep (-1: any number), greatest age in ms (-1: any), entries of a page, ms after which
-- a group that nobody works for is stale, stale groups hold nothing back ("1"), groups that hold back everything while
-- they do not exist...
-- Returns how many entries were removed, how many are left, the group that keeps others that are over a limit ('': none),
-- and in turn each stale group, the ms since its consumers last did anything (-1: it has none), the oldest entry it holds.
local key, maxLen, maxAge, page, staleAfter = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lowest, highest = '0-1', '18446744073709551615-18446744073709551615'

local function parts(id) return string.match(id, '^(%d+)-(%d+)$') end

-- As text: the numbers may be larger than those of Lua.
local function less(a, b)
  local a1, a2 = parts(a)
  local b1, b2 = parts(b)
  if a1 == b1 then a1, b1 = a2, b2 end
  if #a1 ~= #b1 then return #a1 < #b1 end
  return a1 < b1
end

-- The id that follows; where that cannot be counted, the id itself, which keeps one entry more.
local function after(id)
  local ms, seq = parts(id)
  if #seq > 15 then return id end
  return ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
end

local function map(flat)
  local m = {}
  for i = 1, #flat, 2 do m[flat[i]] = flat[i + 1] end
  return m
end

local t = redis.call('TIME')
local function ago(ms) return string.format('%.0f-0', math.max(t[1] * 1000 + math.floor(t[2] / 1000) - ms, 1)) end

local groups = redis.pcall('XINFO', 'GROUPS', key)
if groups.err then
  if string.find(groups.err, 'no such key', 1, true) then return {0, 0, '', {}} end
  return groups
end

-- If a group is stale: the ms since its consumers last did anything, and the oldest entry that it holds. from is the
-- lowest id that it may hold.
local function stale(group, from)
  local old = ago(staleAfter)
  if not less(from, old) then return end
  local first = redis.call('XRANGE', key, from, '+', 'COUNT', 1)[1]
  if not first or not less(first[1], old) then return end
  local idle = -1
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', key, group.name)) do
    c = map(c)
    if idle < 0 or c.idle < idle then idle = c.idle end
  end
  if idle < 0 and group['last-delivered-id'] == '0-0' then return end -- It may have been created just now.
  if idle < 0 or idle >= staleAfter then return idle, first[1] end
end

local floor, holder = highest, '' -- The lowest id that must stay, and whose it is.
local exists, reports = {}, {}
for _, group in ipairs(groups) do
  group = map(group)
  exists[group.name] = true
  local from = after(group['last-delivered-id'])
  if group.pending > 0 then
    local oldest = redis.call('XPENDING', key, group.name, '-', '+', 1)[1]
    if oldest and less(oldest[1], from) then from = oldest[1] end
  end
  local idle, oldest = stale(group, from)
  if idle then
    for _, v in ipairs({group.name, idle, oldest}) do reports[#reports + 1] = v end
  end
  if less(from, floor) and not (idle and ARGV[5] == '1') then floor, holder = from, group.name end
end
for i = 6, #ARGV do
  if not exists[ARGV[i]] then floor, holder = lowest, ARGV[i] end
end

-- Removes up to most entries with ids below an id: whole nodes of the stream first, which costs next to nothing, then
-- entries of the first node. (Redis does not touch a node of more than LIMIT entries.)
local function remove(below, most)
  if most < 1 then return end
  local n = redis.call('XTRIM', key, 'MINID', '~', below, 'LIMIT', most)
  while n < most do
    local entries = redis.call('XRANGE', key, '-', '(' .. below, 'COUNT', math.min(most - n, 100))
    if #entries == 0 then return end
    local removed = redis.call('XTRIM', key, 'MINID', '=', after(entries[#entries][1]))
    if removed == 0 then return end
    n = n + removed
  end
end

local before = redis.call('XLEN', key)
local oldest = lowest
if maxAge >= 0 then
  oldest = ago(maxAge)
  remove(less(oldest, floor) and oldest or floor, page)
end
local length = redis.call('XLEN', key)
if maxLen >= 0 then
  remove(floor, math.min(page - (before - length), length - maxLen))
  length = redis.call('XLEN', key)
end

local held = maxLen >= 0 and length > maxLen
if not held and less(floor, oldest) then held = #redis.call('XRANGE', key, floor, '(' .. oldest, 'COUNT', 1) > 0 end
if before - length == page then held = false end -- There may be more to remove.
return {before - length, length, held and holder or '', reports}
