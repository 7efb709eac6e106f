-- Counts the entries after an id.
-- KEYS: stream. ARGV: id, most entries to count, bytes of them after which counting ends.
-- Returns how many were counted, and 1 if these are all.
local from, most, mostBytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local n, bytes, step = 0, 0, 1 -- Pages begin small: it is not known how large entries are.
while n <= most and bytes < mostBytes do
  local entries = redis.call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', step)
  n = n + #entries
  if #entries < step then return {n, 1} end
  for _, entry in ipairs(entries) do
    for _, v in ipairs(entry[2]) do bytes = bytes + #v end
  end
  from = entries[#entries][1]
  step = math.max(math.min(step * 2, 100, most + 1 - n), 1)
end
if n <= most and #redis.call('XRANGE', KEYS[1], '(' .. from, '+', 'COUNT', 1) == 0 then return {n, 1} end
return {math.min(n, most), 0}
