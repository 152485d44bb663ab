-- Notes that a tag was purged, and says so to all.
-- KEYS[1]  the record of the tag: the epochs of its latest hard and soft purge
-- KEYS[2]  the announcement
-- ARGV     both epochs, in 16 hexadecimal digits each; milliseconds to keep the record if it is new,
--          and the announcement; "again" if this may have been done before: where nothing is left to do
--          nothing is said
local hard, soft, again = ARGV[1], ARGV[2], ARGV[5] == 'again'
local kept = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) or ''
if #kept == 32 then
  local before = kept
  if string.sub(kept, 1, 16) > hard then hard = string.sub(kept, 1, 16) end
  if string.sub(kept, 17) > soft then soft = string.sub(kept, 17) end
  if again and hard .. soft == before then return 1 end
elseif again then
  -- What carries the tag is not valid without a record; one as of then would make it so again.
  return 1
elseif soft > hard then
  -- The one that was lost may have told of a hard purge.
  hard = soft
end
local left = redis.call('PTTL', KEYS[1])
local keep = tonumber(ARGV[3])
if left > keep then keep = left end
-- A deletion first, even of nothing, lets the rest in though the memory is full.
redis.call('UNLINK', KEYS[2])
redis.call('SET', KEYS[1], hard .. soft, 'PX', string.format('%.0f', keep))
redis.call('SET', KEYS[2], '', 'PX', ARGV[4])
return 1
