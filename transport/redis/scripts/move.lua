-- Adds an entry to another stream and acks it, if it is still ours. If the group is gone (flushed, deleted) the
-- entry is nobody's, and only added: this is the last that there is of it.
-- KEYS: stream, target stream, progress. ARGV: group, consumer, id, delete entry ("1") or which message of an entry of how
-- many it is ("0/100"), add it even if it is not pending, because the group was gone since it was read ("1"), fields and
-- values...
local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if p.err then
  if not string.find(p.err, 'NOGROUP', 1, true) then return p end
  redis.call('XADD', KEYS[2], '*', unpack(ARGV, 6))
  return 1
end
if #p == 0 and ARGV[5] ~= '1' then return 0 end
if #p == 1 and p[1][2] ~= ARGV[2] then return 0 end
if #p == 1 and is_settled(KEYS[3], ARGV[3], ARGV[4]) then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 6))
settle(KEYS[1], KEYS[3], ARGV[1], ARGV[3], ARGV[4], #p == 1)
return 1
