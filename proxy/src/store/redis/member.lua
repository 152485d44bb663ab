-- Writes a member, and tells who else is there, if they are not too many.
-- KEYS[1]  the members
-- ARGV     the member, what it says of itself, milliseconds to keep them, how many are told of, the field that
--          says since when there are members and when one wrote last (Redis' time in milliseconds), after how many
--          milliseconds in which none has written this is not what was written then
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' then
  redis.call('UNLINK', KEYS[1])
end
-- A deletion first lets the rest in though the memory is full.
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
-- Who is missing has not renewed since then. After a gap this may be an older copy, which others are missing from.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local made, last = string.match(redis.call('HGET', KEYS[1], ARGV[5]) or '', '^(%d+) (%d+)$')
made, last = tonumber(made), tonumber(last)
if not made or now < last or now > last + tonumber(ARGV[6]) then
  made = now
end
redis.call('HSET', KEYS[1], ARGV[5], string.format('%.0f %.0f', made, now))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[4]) then
  return {}
end
return redis.call('HGETALL', KEYS[1])
