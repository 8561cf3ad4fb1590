-- KEYS: n lock keys, and their n fence numbers if they can have any. ARGV: n.
-- Returns {value of the first key that is there or false, ms until all are free (-1: never), fence}.
local n, held, left, top = tonumber(ARGV[1]), false, 0, 0
for i = 1, n do
  local value = redis.call('GET', KEYS[i])
  if value then
    held = held or value
    local pttl = redis.call('PTTL', KEYS[i])
    if pttl < 0 or left < 0 then left = -1 else left = math.max(left, pttl) end
  end
  if #KEYS > n then
    top = math.max(top, tonumber(redis.call('GET', KEYS[n + i]) or '0'))
  end
end
return {held, left, top}
