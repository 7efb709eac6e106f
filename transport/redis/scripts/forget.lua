-- Empties a group's progress: what a group of this name had settled before does not count.
-- KEYS: progress.
repeat
  local ids = redis.call('HRANDFIELD', KEYS[1], 1000)
  if #ids > 0 then redis.call('HDEL', KEYS[1], unpack(ids)) end
until #ids == 0
return 0
