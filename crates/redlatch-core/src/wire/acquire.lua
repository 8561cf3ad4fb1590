-- KEYS: n lock keys; their n fence numbers, if a fence is wanted; marker, quarantine, if guarded.
-- ARGV: token, ttl, n, proposal (0: no fence), retention of fence numbers, ttl_max (0: no guard).
-- Times are in ms. Returns {1, fence}, {0, ms until free (-1: never), fence} or {2, ms of quarantine}.
local token, ttl, n = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local proposal, ttl_max = tonumber(ARGV[4]), tonumber(ARGV[6])
if ttl_max > 0 then
  if ttl > ttl_max then
    return redis.error_reply('REDLATCH the ttl is longer than the restart guard')
  end
  local marker, quarantine = KEYS[#KEYS - 1], KEYS[#KEYS]
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  if redis.call('GET', marker) ~= run_id then
    redis.call('SET', quarantine, '1', 'PX', ttl_max)
    redis.call('SET', marker, run_id)
  end
  local left = redis.call('PTTL', quarantine)
  if left ~= -2 then return {2, left} end
end
local mine, taken, left, top = 0, false, 0, 0
-- A key that is kept for this waiter is free to it (R18).
local heir = string.sub(ARGV[1], 1, 32) .. '00000000'
for i = 1, n do
  local held = redis.call('GET', KEYS[i])
  if held == token then
    mine = mine + 1
  elseif held and held ~= heir then
    taken = true
    local pttl = redis.call('PTTL', KEYS[i])
    if pttl < 0 or left < 0 then left = -1 else left = math.max(left, pttl) end
  end
  if proposal > 0 then
    top = math.max(top, tonumber(redis.call('GET', KEYS[n + i]) or '0'))
  end
end
if taken or (mine > 0 and mine < n) then return {0, left, top} end
if proposal > 0 then
  if mine == 0 then top = top + 1 end
  top = math.max(top, proposal)
  for i = 1, n do
    redis.call('SET', KEYS[n + i], string.format('%.0f', top), 'PX', ARGV[5])
  end
end
if mine == 0 then
  for i = 1, n do redis.call('SET', KEYS[i], token, 'PX', ARGV[2]) end
end
return {1, top}
