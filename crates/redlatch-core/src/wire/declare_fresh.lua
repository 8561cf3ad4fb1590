-- KEYS: marker. Tells a node that was never seen before that it cannot have forgotten anything.
-- Returns {1} or, if it has a marker already, {0}.
if redis.call('GET', KEYS[1]) then return {0} end
redis.call('SET', KEYS[1], string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'))
return {1}
