-- Makes claims, each by itself. A key holds "c", fingerprint, token, attempt and (in short) holder of a claim, or "d", fingerprint,
-- token and what was produced of a mark, parted by spaces.
-- KEYS: keys. ARGV: lease in ms, the claim of each key.
-- Returns for each: "s" started, "b" busy, "m" another payload, or "d" and what was produced.
local function parts(value) return string.match(value, '^([cd])(%S*) (%S+) (.*)$') end

-- What is said to a claim where there is another value.
local function answer(key, value, claim)
  local sort, print, _, rest = parts(value)
  if not sort then return redis.error_reply('WRONGTYPE key ' .. key .. ' holds something else than a claim or a mark') end
  local _, ours, _, whose = parts(claim)
  if print ~= ours and print ~= '' and ours ~= '' then return 'm' end
  if sort == 'd' then return 'd' .. rest end
  local n, holder = string.match(rest, '^(%d+) (.*)$')
  local attempt, by = string.match(whose, '^(%d+) (.*)$')
  if by == '' or by ~= holder or tonumber(n) > tonumber(attempt) then return 'b' end
  return 's'
end

local answers = {}
for i, key in ipairs(KEYS) do
  local claim, a = ARGV[i + 1], 's'
  if not redis.call('SET', key, claim, 'NX', 'PX', ARGV[1]) then -- one command for what is new
    local value = redis.call('GET', key)
    if value and value ~= claim then a = answer(key, value, claim) end
    if type(a) == 'table' then return a end
    if a == 's' then redis.call('SET', key, claim, 'PX', ARGV[1]) end
  end
  answers[i] = a
end
return answers
