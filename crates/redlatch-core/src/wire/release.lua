-- KEYS: n lock keys, and their n queues if they can have any.
-- ARGV: token, which is 32 digits of nonce and 8 of attempt; n; and, from a waiter that goes on waiting,
-- since when, in ms. Deletes what this attempt left, and what earlier ones with its nonce did. Then a
-- waiter takes its place in the queues, and anybody else leaves them. Each free key is kept for the first
-- in its queue who listens, and is called (R18). Returns {1}: deleted, or queued if that was asked; or {0}.
local nonce, n, since = string.sub(ARGV[1], 1, 32), tonumber(ARGV[2]), ARGV[3]
local done = 0
for i = 1, n do
  local held = redis.call('GET', KEYS[i])
  local queue = KEYS[n + i]
  if held and #held == 40 and string.sub(held, 1, 32) == nonce
      and tonumber(string.sub(held, 33), 16) <= tonumber(string.sub(ARGV[1], 33), 16) then
    done, held = redis.call('DEL', KEYS[i]), false
  end
  if since then
    redis.call('ZADD', queue, since, nonce)
    redis.call('PEXPIRE', queue, 60000)
    done = 1
  elseif queue then
    redis.call('ZREM', queue, nonce)
  end
  while queue and not held do
    local heir = redis.call('ZPOPMIN', queue)[1]
    if not heir then break end
    local heard = redis.pcall('PUBLISH', 'redlatch:call:' .. string.sub(heir, 1, 16), heir)
    if (tonumber(heard) or 0) > 0 then
      held = redis.call('SET', KEYS[i], heir .. '00000000', 'PX', 200)
    end
  end
end
return {done}
