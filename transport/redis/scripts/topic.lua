-- Looks at a stream and its groups.
-- KEYS: stream.
-- Returns how many entries there are, the ids of the first and the last ('': none), and of each group its name, the number
-- of its consumers, the id last delivered, its lag as the server has it (-1: unknown), how many entries are pending, and of
-- the oldest of them id, consumer, ms since it was last delivered or claimed, and deliveries. Fails if there is no such stream.
local key = KEYS[1]
local groups = {}
for i, flat in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local g = {}
  for n = 1, #flat, 2 do g[flat[n]] = flat[n + 1] end
  local oldest = g.pending > 0 and redis.call('XPENDING', key, g.name, '-', '+', 1)[1] or {}
  groups[i] = {g.name, g.consumers, g['last-delivered-id'], g.lag or -1, g.pending, unpack(oldest)}
end
local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
return {redis.call('XLEN', key), first and first[1] or '', last and last[1] or '', groups}
