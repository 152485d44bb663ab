-- Strikes a member off the roll, unless it has renewed its membership since.
-- KEYS[1]  the members
-- ARGV     the member, what it wrote last
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])
