-- Counts what a member has applied of a purge.
-- KEYS[1]  the acknowledgements of that purge
-- ARGV     the member, how much more it has applied, milliseconds to keep that
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then
  redis.call('UNLINK', KEYS[1])
end
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '') or 0
-- A deletion first, even of nothing, lets the rest in though the memory is full: a purge waits for this.
redis.call('HDEL', KEYS[1], ARGV[1])
local count = before + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', count))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return count
