-- Ends a lease, and says why nobody need wait for the next one.
-- KEYS[1]  the resource
-- KEYS[2]  its leases
-- ARGV     the variant's field, the token, a marker (u: what came is not for others, f: nothing came; or
--          nothing), for how many milliseconds it holds, whether what is stored goes (1)
local resource, leases, field, token = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local marker, length, goes = ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = redis.call('TYPE', leases).ok == 'hash' and redis.call('HGET', leases, field)
local holder, expiry, who, beside = string.match(lease or '', '^(%x+) (%d+) (%a) ?(%x*)$')
-- One that another was granted beside: that is by itself now.
if beside == token then
  redis.call('HSET', leases, field, string.format('%s %s %s', holder, expiry, who))
  return 0
end
if holder ~= token then
  return 0
end
local has_lapsed = tonumber(expiry) <= now
if beside ~= '' and not goes and not has_lapsed then
  -- One of whose fetch nothing comes, and which this one was granted beside, may store yet.
  redis.call('HSET', leases, field, string.format('%s %s s', beside, expiry))
else
  redis.call('HDEL', leases, field)
end
if has_lapsed then
  return 0
end
local kind = redis.call('TYPE', resource).ok
if goes or kind ~= 'hash' and kind ~= 'none' then
  redis.call('UNLINK', resource)
end
if marker == '' then
  return 1
end
-- One that is new enough stays: each write is told to all who watch the resource, and nobody who came
-- since waits. But one of before the clock was set back is none.
local until_then, why = string.match(redis.call('HGET', resource, 'u') or '', '^(%d+) (%a)$')
local left = tonumber(until_then or now) - now
if why == marker and left > length / 2 and left <= length + 1000 then
  return 1
end
redis.call('HSET', resource, 'u', string.format('%.0f %s', now + length, marker))
if redis.call('PTTL', resource) < length then
  redis.call('PEXPIRE', resource, length)
end
return 1
