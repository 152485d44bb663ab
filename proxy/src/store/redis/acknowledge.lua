-- Counts what a member has applied of a purge.
-- KEYS[1]  the acknowledgements of that purge
-- ARGV     the member, how much more it has applied, milliseconds to keep that
local count = redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return count
