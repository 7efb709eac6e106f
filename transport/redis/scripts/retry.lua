-- Moves an entry into the delay store of its group and acks it, if it is still ours.
-- KEYS: stream, delay zset, delayed hash. ARGV: group, consumer, id, due (ms from now), member, packed entry, delete entry ("1")
local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #p == 0 or p[1][2] ~= ARGV[2] then return 0 end
local t = redis.call('TIME')
local due = t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[4])
redis.call('HSET', KEYS[3], ARGV[5], ARGV[6])
redis.call('ZADD', KEYS[2], due, ARGV[5])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
if ARGV[7] == '1' then redis.call('XDEL', KEYS[1], ARGV[3]) end
return 1
