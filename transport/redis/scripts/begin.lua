-- KEYS: key. ARGV: token, lease in ms. The value is "done", or "claim:" and the token that holds it.
local v = redis.call('GET', KEYS[1])
if v == 'done' then return 'done' end
if v and v ~= 'claim:' .. ARGV[1] then return 'busy' end
redis.call('SET', KEYS[1], 'claim:' .. ARGV[1], 'PX', ARGV[2])
return 'started'
