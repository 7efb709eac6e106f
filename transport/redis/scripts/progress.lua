-- Of an entry that carries many messages, a hash has what is settled, by the entry's id: a bit for each message, the
-- lowest one of the first byte for the first. It is gone when the entry is acked.

-- Marks messages as settled: bits, from a byte on (the first one is 0). When all n are, acks the entry.
local function mark(key, progress, group, id, n, from, bits)
  local all = string.rep('\255', math.floor(n / 8))
  if n % 8 > 0 then all = all .. string.char(2 ^ (n % 8) - 1) end
  local old = redis.call('HGET', progress, id) or ''
  old = string.sub(old .. string.rep('\0', #all - #old), 1, #all)
  local both = {}
  for i = 1, #bits do both[i] = string.char(bit.bor(old:byte(from + i) or 0, bits:byte(i))) end
  local new = old:sub(1, from) .. table.concat(both) .. old:sub(from + #bits + 1)
  if new == all then
    redis.call('XACK', key, group, id)
    redis.call('HDEL', progress, id)
  elseif redis.call('HSET', progress, id, new) == 1 then
    -- A new one, so look whether an old one is of no use: its entry was acked by hand, or by one who knew no better.
    local other = redis.call('HRANDFIELD', progress)
    if #redis.call('XPENDING', key, group, other, other, 1) == 0 then redis.call('HDEL', progress, other) end
  end
end

-- What it is of an entry: "0" all, "1" all and to be deleted, "0/100" the first of a hundred messages.
local function item_of(what)
  local item, n = string.match(what, '^(%d+)/(%d+)$')
  return tonumber(item), tonumber(n)
end

local function is_settled(progress, id, what)
  local item = item_of(what)
  if not item then return false end
  local byte = string.byte(redis.call('HGET', progress, id) or '', math.floor(item / 8) + 1) or 0
  return bit.band(byte, 2 ^ (item % 8)) ~= 0
end

local function settle(key, progress, group, id, what, pending)
  local item, n = item_of(what)
  if item then
    if pending then mark(key, progress, group, id, n, math.floor(item / 8), string.char(2 ^ (item % 8))) end
    return
  end
  redis.call('XACK', key, group, id)
  if what == '1' then redis.call('XDEL', key, id) end
end

