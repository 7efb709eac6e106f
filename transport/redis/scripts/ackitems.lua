-- Marks messages as settled, of those of the entries that are still ours. If the group is gone there is nothing to ack.
-- KEYS: stream, progress. ARGV: group, consumer, and of each entry its id, how many messages it has, and bits from a byte on.
for i = 3, #ARGV, 4 do
  local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if p.err then
    if string.find(p.err, 'NOGROUP', 1, true) then return 0 end
    return p
  end
  if #p == 1 then mark(KEYS[1], KEYS[2], ARGV[1], ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]) end
end
return 1
