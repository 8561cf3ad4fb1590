-- KEYS: n lock keys, and their n fence numbers if the lock has a fence.
-- ARGV: token, ttl, n, retention of fence numbers; times in ms. Returns {1} or {0}.
local ttl, n = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 1, n do
  if redis.call('GET', KEYS[i]) ~= ARGV[1] then return {0} end
end
for i = 1, n do
  local left = redis.call('PTTL', KEYS[i])
  if left >= 0 and left < ttl then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
end
for i = n + 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
return {1}
