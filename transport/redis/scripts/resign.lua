-- Ends a consumer's membership, and its ownership if it has it.
-- KEYS: members. ARGV: consumer.
local owner = redis.call('HGET', KEYS[1], '')
if owner and string.match(owner, '^%d+ (.*)$') == ARGV[1] then redis.call('HDEL', KEYS[1], '') end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
