-- Makes claims, each by itself. A key holds "c", fingerprint, token, attempt and holder of a claim, or "d", fingerprint,
-- token and what was produced of a mark, parted by spaces.
-- KEYS: keys. ARGV, for each: the claim, its fingerprint, holder, attempt, lease in ms.
-- Returns for each: "s" started, "b" busy, "m" another payload, or "d" and what was produced.
local answers = {}
for i, key in ipairs(KEYS) do
  local a = (i - 1) * 5
  local claim, print, holder, attempt = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4])
  local v = redis.call('GET', key)
  local answer = 's'
  if v and v ~= claim then
    local sort, other, _, rest = string.match(v, '^([cd])(%S*) (%S+) (.*)$')
    if not sort then return redis.error_reply('WRONGTYPE key ' .. key .. ' holds something else than a claim or a mark') end
    if other ~= print and other ~= '' and print ~= '' then answer = 'm'
    elseif sort == 'd' then answer = 'd' .. rest
    else
      local n, by = string.match(rest, '^(%d+) (.*)$')
      if holder == '' or by ~= holder or tonumber(n) > attempt then answer = 'b' end
    end
  end
  if answer == 's' then redis.call('SET', key, claim, 'PX', ARGV[a + 5]) end
  answers[i] = answer
end
return answers
