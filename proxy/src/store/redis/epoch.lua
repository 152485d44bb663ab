-- The last epoch, or the next one; and the one before it.
-- KEYS[1]  the last epoch
-- ARGV     an epoch that has been; "next" for a new one, else the last one;
--          milliseconds to keep it
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- One of another type is lost; it goes with the next one.
local kept = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1])
local last = tonumber(kept or '')
local seen = tonumber(ARGV[1])
if last and last >= seen and ARGV[2] ~= 'next' then
  return { string.format('%.0f', last), string.format('%.0f', last) }
end
-- A last one that has been lost may have been any up to now. Where the clock has not moved on, there is room left
-- for those that a process gives its purges until they have got one here: they are for itself, and what it fetches
-- with one of them was fetched before this.
local next = math.max(now, math.max(last or 0, seen) + 1000)
-- A deletion first lets the rest in though the memory is full: a purge must get through.
redis.call('UNLINK', KEYS[1])
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', ARGV[3])
-- What was before is any but this one, where nobody knows.
return { string.format('%.0f', next), string.format('%.0f', last or next - 1) }
