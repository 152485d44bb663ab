-- Makes a lease last on, if it has neither lapsed nor been broken.
-- KEYS[1]  the leases of a resource
-- ARGV     the variant's field, the token, milliseconds of a lease
local leases, field, token, length = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('TYPE', leases).ok == 'hash' and redis.call('HGET', leases, field)
local holder, expiry, who = string.match(lease or '', '^(%x+) (%d+) (%a)$')
if holder ~= token or tonumber(expiry) <= now then
  return 0
end
redis.call('HSET', leases, field, string.format('%s %.0f %s', token, now + length, who))
redis.call('PEXPIRE', leases, length)
return 1
