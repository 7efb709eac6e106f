-- KEYS: key. ARGV: token, unused.
if redis.call('GET', KEYS[1]) == 'claim:' .. ARGV[1] then redis.call('DEL', KEYS[1]) end
return 'ok'
