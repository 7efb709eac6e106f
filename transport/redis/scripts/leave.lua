-- Deletes a consumer that has nothing pending: what is pending would be lost with it.
-- KEYS: stream. ARGV: group, consumer
local p = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #p > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
