-- Moves an entry into the delay store of its group and acks it, if it is still ours or if the group is gone.
-- KEYS: stream, delay zset, delayed hash, progress. ARGV: group, consumer, id, delete entry ("1") or which message of an
-- entry of how many it is ("0/100"), store it even if it is not pending, because the group was gone since it was read
-- ("1"), due (ms from now), member, packed entry
local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
local gone = p.err and string.find(p.err, 'NOGROUP', 1, true)
if p.err and not gone then return p end
if not gone and #p == 0 and ARGV[5] ~= '1' then return 0 end
if not gone and #p == 1 and p[1][2] ~= ARGV[2] then return 0 end
if not gone and #p == 1 and is_settled(KEYS[4], ARGV[3], ARGV[4]) then return 0 end
local t = redis.call('TIME')
local due = t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[6])
redis.call('HSET', KEYS[3], ARGV[7], ARGV[8])
redis.call('ZADD', KEYS[2], due, ARGV[7])
if gone then return 1 end
settle(KEYS[1], KEYS[4], ARGV[1], ARGV[3], ARGV[4], #p == 1)
return 1
