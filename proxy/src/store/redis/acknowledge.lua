-- Counts what a member has applied of a purge.
-- KEYS[1]  the acknowledgements of that purge
-- ARGV     the member, milliseconds to keep them
local count = redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return count
