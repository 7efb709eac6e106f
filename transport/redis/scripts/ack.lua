-- Acks those of the entries that are still ours. Returns how many were.
-- KEYS: stream. ARGV: group, consumer, delete entries ("1"), ids...
local n = 0
for i = 4, #ARGV do
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if #p == 1 then
    n = n + redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    if ARGV[3] == '1' then redis.call('XDEL', KEYS[1], ARGV[i]) end
  end
end
return n
