-- Writes a member, and tells who else is there, if they are not too many.
-- KEYS[1]  the members
-- ARGV     the member, what it says of itself, milliseconds to keep them, how many are told of, the field that
--          says since when there are members (Redis' time in milliseconds)
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' then
  redis.call('UNLINK', KEYS[1])
end
-- A deletion first lets the rest in though the memory is full.
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
-- Who is missing has not renewed since then.
if not tonumber(redis.call('HGET', KEYS[1], ARGV[5]) or '') then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], ARGV[5], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then
  return {}
end
return redis.call('HGETALL', KEYS[1])
