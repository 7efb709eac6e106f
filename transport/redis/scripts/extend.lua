-- Renews the lease of those of the entries that are still ours. Returns the ids that are not, and after each
-- the consumer that has it, or '' if it is not pending.
-- KEYS: stream. ARGV: group, consumer, ids...
local lost, ours = {}, {}
for i = 3, #ARGV do
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  local owner = p[1] and p[1][2] or ''
  if owner == ARGV[2] then
    ours[#ours + 1] = ARGV[i]
  else
    lost[#lost + 1] = ARGV[i]
    lost[#lost + 1] = owner
  end
end
if #ours > 0 then ours[#ours + 1] = 'JUSTID'; redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(ours)) end
return lost
