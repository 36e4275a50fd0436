-- The state that a run is in.
-- KEYS: run log tombstone
return redis.call('HGET', KEYS[1], 'state')
