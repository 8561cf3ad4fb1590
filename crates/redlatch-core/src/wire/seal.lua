-- KEYS: n lock keys, their n fence numbers. ARGV: token, fence, n, retention of fence numbers in ms.
-- Returns {1, fence} or {0}.
local top, n = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 1, n do
  if redis.call('GET', KEYS[i]) ~= ARGV[1] then return {0} end
  top = math.max(top, tonumber(redis.call('GET', KEYS[n + i]) or '0'))
end
for i = 1, n do
  redis.call('SET', KEYS[n + i], string.format('%.0f', top), 'PX', ARGV[4])
end
return {1, top}
