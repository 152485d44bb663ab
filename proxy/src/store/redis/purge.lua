-- Makes obsolete what is stored of a resource, and says so to all.
-- KEYS[1]  the resource
-- KEYS[2]  its leases: what is being fetched with one of them is not stored
-- KEYS[3]  the announcement
-- ARGV     the epoch, in 16 hexadecimal digits, if it is only to be marked, else nothing;
--          milliseconds to keep the announcement
local marked = ARGV[1]
if marked == '' then
  redis.call('UNLINK', KEYS[1])
elseif redis.call('TYPE', KEYS[1]).ok == 'hash' and (redis.call('HGET', KEYS[1], 's') or '') < marked then
  redis.call('HSET', KEYS[1], 's', marked)
end
redis.call('UNLINK', KEYS[2])
redis.call('SET', KEYS[3], '', 'PX', ARGV[2])
return 1
