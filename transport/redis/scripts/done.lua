-- KEYS: key. ARGV: the claim, how its mark begins, ms to keep the mark, what was produced.
-- Returns "ok", "busy" if another token holds a claim, "done" if another one has set the mark.
local v = redis.call('GET', KEYS[1])
if v and v ~= ARGV[1] then
  if string.sub(v, 1, #ARGV[2]) == ARGV[2] then return 'ok' end
  return string.sub(v, 1, 1) == 'd' and 'done' or 'busy'
end
redis.call('SET', KEYS[1], ARGV[2] .. ARGV[4], 'PX', ARGV[3])
return 'ok'
