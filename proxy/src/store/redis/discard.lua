-- Deletes what was read and is not fit to be served, unless it has been replaced since, with its body.
-- KEYS[1]  the resource
-- ARGV     the field, the bytes that were read in it
local key, field, seen = KEYS[1], ARGV[1], ARGV[2]
if redis.call('TYPE', key).ok ~= 'hash' then
  return redis.call('UNLINK', key)
end
if redis.call('HGET', key, field) ~= seen then
  return 0
end
local index = string.gsub(redis.call('HGET', key, 'i') or '', '%d* ?' .. field .. ' %d+\n', '')
if field == 'm' or index == '' then
  return redis.call('UNLINK', key)
end
redis.call('HDEL', key, field, 'V' .. string.sub(field, 2))
return redis.call('HSET', key, 'i', index)
