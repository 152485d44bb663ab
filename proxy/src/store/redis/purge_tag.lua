-- Notes that a tag was purged, and says so to all.
-- KEYS[1]  the record of the tag: the epochs of its latest hard and soft purge
-- KEYS[2]  the announcement
-- ARGV     both epochs, in 16 hexadecimal digits each; milliseconds to keep the record if it is new,
--          and the announcement
local hard, soft = ARGV[1], ARGV[2]
local kept = redis.call('GET', KEYS[1]) or ''
if #kept == 32 then
  if string.sub(kept, 1, 16) > hard then hard = string.sub(kept, 1, 16) end
  if string.sub(kept, 17) > soft then soft = string.sub(kept, 17) end
end
local left = redis.call('PTTL', KEYS[1])
local keep = tonumber(ARGV[3])
if left > keep then keep = left end
-- A deletion first, even of nothing, lets the rest in though the memory is full.
redis.call('UNLINK', KEYS[2])
redis.call('SET', KEYS[1], hard .. soft, 'PX', string.format('%.0f', keep))
redis.call('SET', KEYS[2], '', 'PX', ARGV[4])
return 1
