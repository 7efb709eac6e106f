-- Acks those of the entries that are still ours. Returns how many were. If the group is gone there is nothing to ack.
-- KEYS: stream. ARGV: group, consumer, delete entries ("1"), ids...
local n = 0
for i = 4, #ARGV do
  local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if p.err then
    if string.find(p.err, 'NOGROUP', 1, true) then return 0 end
    return p
  end
  if #p == 1 then
    n = n + redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    if ARGV[3] == '1' then redis.call('XDEL', KEYS[1], ARGV[i]) end
  end
end
return n
