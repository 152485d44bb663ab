-- The record of a tag, kept for at least as long as what will carry the tag.
-- KEYS[1]  the record: the epochs of its latest hard and soft purge, in 16 hexadecimal digits each
-- ARGV     milliseconds that it must last, and to keep it where it does not;
--          what it says if it is missing: nothing, to leave it so
local kept = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) or ''
if #kept ~= 32 then
  -- One of another type, or of another form, is none: it is replaced.
  if ARGV[3] == '' then return { '', 0 } end
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
  return { ARGV[3], tonumber(ARGV[2]) }
end
local left = redis.call('PTTL', KEYS[1])
if left < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
return { kept, left }
