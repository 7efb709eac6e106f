-- Acks entries whose events were claimed: each together with its mark and what its handler has produced, or not at all.
-- That the claim is still ours, or has expired and is nobody's, is what says that we may.
-- KEYS: stream, progress, keys of claims and topics. ARGV: group; for each entry the index of its claim's key, id, delete it
-- ("1") or which message of an entry of how many it is ("0/100"), the claim, how its mark begins, ms to keep the mark, number
-- of messages; for each of these the index of its topic, number of fields and values, these.
-- Returns for each entry: "ok", "busy" if another token holds its claim, or why a message could not be added.
local answers, acked, deleted, at = {}, {}, {}, 2
while at <= #ARGV do
  local key, id, what, claim, done, keep, messages = KEYS[tonumber(ARGV[at])], unpack(ARGV, at + 1, at + 6)
  at, messages = at + 7, tonumber(messages)
  local v = redis.call('GET', key)
  local ours = not v or v == claim
  local answer = (ours or string.sub(v, 1, 1) == 'd') and 'ok' or 'busy'
  for _ = 1, messages do
    local values = tonumber(ARGV[at + 1])
    if ours and answer == 'ok' then
      local added = redis.pcall('XADD', KEYS[tonumber(ARGV[at])], '*', unpack(ARGV, at + 2, at + 1 + values))
      if type(added) == 'table' and added.err then answer = added.err end
    end
    at = at + 2 + values
  end
  if answer == 'ok' then
    if ours then redis.call('SET', key, done, 'PX', keep) end
    if item_of(what) then
      local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
      settle(KEYS[1], KEYS[2], ARGV[1], id, what, not pending.err and #pending == 1)
    else
      acked[#acked + 1] = id
      if what == '1' then deleted[#deleted + 1] = id end
    end
  end
  answers[#answers + 1] = answer
end
if #acked > 0 then redis.call('XACK', KEYS[1], ARGV[1], unpack(acked)) end
if #deleted > 0 then redis.call('XDEL', KEYS[1], unpack(deleted)) end
return answers
