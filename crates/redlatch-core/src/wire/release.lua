-- KEYS: lock keys. ARGV: token, which is 32 digits of nonce and 8 of attempt.
-- Deletes what this attempt left, and what earlier ones with its nonce did. Returns {1} or {0}.
local nonce = string.sub(ARGV[1], 1, 32)
local deleted = 0
for i = 1, #KEYS do
  local held = redis.call('GET', KEYS[i])
  if held and #held == 40 and string.sub(held, 1, 32) == nonce
      and tonumber(string.sub(held, 33), 16) <= tonumber(string.sub(ARGV[1], 33), 16) then
    deleted = redis.call('DEL', KEYS[i])
  end
end
return {deleted}
