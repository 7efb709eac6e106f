-- Takes a turn by the generic cell rate algorithm: the key holds when, in
-- microseconds of the server's clock, all turns taken so far are paid for.
-- KEYS: the rate's. ARGV: microseconds a turn costs, turns of a burst,
-- microseconds within which the turn must come.
-- Returns whether it is taken, and the microseconds until it comes.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, burst, within = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local paid = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + cost
local wait = math.max(math.ceil(paid - burst * cost - now), 0)
if wait > within then
	return {0, wait}
end
redis.call('SET', KEYS[1], string.format('%.3f', paid), 'PX', math.ceil((paid - now) / 1000) + 1)
return {1, wait}
