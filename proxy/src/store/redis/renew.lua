-- Makes a lease last on, if it has neither lapsed nor been broken.
-- KEYS[1]  the leases of a resource
-- ARGV     the variant's field, the token, milliseconds of a lease, what comes of the fetch (f: something, s: nothing
--          for too long)
local leases, field, token, length, comes = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('TYPE', leases).ok == 'hash' and redis.call('HGET', leases, field)
local holder, expiry, who, beside = string.match(lease or '', '^(%x+) (%d+) (%a)( ?%x*)$')
if not holder or tonumber(expiry) <= now then
  return 0
end
-- One that another was granted beside lasts as long as that.
if beside == ' ' .. token then
  return 1
end
if holder ~= token then
  return 0
end
-- One alone gives way in any case. Beside one of whose fetch nothing comes there is only one more.
if who ~= 'a' and beside == '' then
  who = comes
end
redis.call('HSET', leases, field, string.format('%s %.0f %s%s', token, now + length, who, beside))
redis.call('PEXPIRE', leases, length)
return 1
