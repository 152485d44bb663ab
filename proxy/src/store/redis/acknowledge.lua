-- Counts what a member has applied of a purge.
-- KEYS[1]  the acknowledgements of that purge
-- ARGV     the member, how much more it has applied, milliseconds to keep that
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then
  redis.call('UNLINK', KEYS[1])
end
local count = redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return count
