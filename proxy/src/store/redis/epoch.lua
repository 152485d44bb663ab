-- The last epoch, or the next one; and the one before it.
-- KEYS[1]  the last epoch; an odd one was ahead of the clock when it was taken
-- ARGV     the latest that is known to have been taken; for a new one, the latest that the asker has given its own
--          purges, else "last"; milliseconds to keep it
local ROOM = 1000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- One of another type is lost; it goes with the next one.
local kept = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1])
local last, told, own = tonumber(kept or ''), tonumber(ARGV[1]), tonumber(ARGV[2])
local lost = not last or last < told
if not lost and not own then
  return { string.format('%.0f', last), string.format('%.0f', last) }
end
-- Until a purge has got its epoch here, its process counts on from the latest that it knows, and what it fetches
-- bears that number: the next epoch that anybody gets must be later. Where epochs are the clock's, it is, since no
-- process makes a purge in less than a microsecond. Where the last one is ahead of the clock, as it may be after a
-- failover, or was when it was taken, the clock proves nothing, and there is room for so many purges; of one that
-- was lost nobody knows. Only there: with room after each of them, epochs would run ahead of the clock when there
-- are more than a thousand purges in a second.
local before = math.max(last or 0, told, own or 0)
local room = (lost or last % 2 == 1) and ROOM or 0
local next = now + now % 2
if now <= before + room then
  next = before + ROOM
  next = next + 1 - next % 2
end
-- A deletion first lets the rest in though the memory is full: a purge must get through.
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', ARGV[3])
-- What was before is any but this one, where nobody knows.
return { string.format('%.0f', next), string.format('%.0f', last or next - 1) }
