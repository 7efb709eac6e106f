-- KEYS: key. ARGV: token, time to keep the mark in ms.
local v = redis.call('GET', KEYS[1])
if v and v ~= 'done' and v ~= 'claim:' .. ARGV[1] then return 'busy' end
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
return 'ok'
