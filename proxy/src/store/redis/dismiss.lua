-- Strikes a member off the roll, unless it has renewed its membership since: it is noted as one that has left,
-- and that note goes when it is struck off in turn.
-- KEYS[1]  the members
-- ARGV     the member, what it wrote last, what one writes that leaves
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return 0
end
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[2] ~= ARGV[3] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
