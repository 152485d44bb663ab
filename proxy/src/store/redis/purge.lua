-- Makes obsolete what is stored of a resource, and says so to all.
-- KEYS[1]  the resource
-- KEYS[2]  its leases: what is being fetched with one of them is not stored, and where this may have been done
--          before, not what began before it (p: the latest of those purges)
-- KEYS[3]  the announcement
-- ARGV     the epoch, in 16 hexadecimal digits; "soft" if it is only to be marked; milliseconds to keep the
--          announcement; "again" if this may have been done before: then what came later stays, and where
--          nothing was left to do nothing is said
local epoch, soft, again = ARGV[1], ARGV[2] == 'soft', ARGV[4] == 'again'
local kind = redis.call('TYPE', KEYS[1]).ok
local function field(name)
  return kind == 'hash' and redis.call('HGET', KEYS[1], name)
end

-- A deletion first, even of nothing, lets the rest in though the memory is full.
if again and redis.call('TYPE', KEYS[2]).ok == 'hash' then
  redis.call('HDEL', KEYS[2], '')
  if (redis.call('HGET', KEYS[2], 'p') or '') < epoch then
    redis.call('HSET', KEYS[2], 'p', epoch)
  end
else
  redis.call('UNLINK', KEYS[2])
end
local is_left = not again or field('m') and (field('e') or '') < epoch
if soft then
  local is_marked = (field('s') or '') >= epoch
  is_left = is_left and not (again and is_marked)
  if is_left and kind == 'hash' and not is_marked then
    redis.call('HSET', KEYS[1], 's', epoch)
  end
elseif is_left then
  redis.call('UNLINK', KEYS[1])
end
if is_left then
  redis.call('SET', KEYS[3], '', 'PX', ARGV[3])
end
return 1
