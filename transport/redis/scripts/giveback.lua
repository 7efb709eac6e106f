-- Gives entries that are still ours back, for the next owner of the topic: pending still, of a consumer that nobody is.
-- KEYS: stream. ARGV: group, consumer, that other consumer, lease in ms, and of each entry id and deliveries so far.
local n = 0
for i = 5, #ARGV, 2 do
  local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if p.err then
    if string.find(p.err, 'NOGROUP', 1, true) then return n end
    return p
  end
  if #p == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[i], 'IDLE', ARGV[4], 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
    n = n + 1
  end
end
return n
