-- Grants the lease of one variant of a resource, unless somebody has it.
-- KEYS[1]  the resource
-- KEYS[2]  its leases
-- ARGV     the variant's field, a token, who claims it (f: one for whom others wait, a: one alone),
--          milliseconds of a lease, when the answer is of no use any more, most leases of a resource, milliseconds
--          of each marker (u: what came is not for others, f: nothing came)
local resource, leases = KEYS[1], KEYS[2]
local field, token, claimant = ARGV[1], ARGV[2], ARGV[3]
local length, latest, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local lengths = { u = tonumber(ARGV[7]), f = tonumber(ARGV[8]) }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > latest then
  return 'late'
end

-- What ends later than it can last is of before the clock was set back, by more than the clocks of two masters
-- differ: a holder who is there renews it soon.
local function lasts(expiry, longest)
  return expiry and longest and tonumber(expiry) > now and tonumber(expiry) <= now + longest + 1000
end

-- Who has it (f and a as above, s: an f of whose fetch nothing comes), and his token: nobody, if it has lapsed.
local function holder(lease)
  local token, expiry, who = string.match(lease or '', '^(%x+) (%d+) (%a) ?%x*$')
  if lasts(expiry, length) then
    return who, token
  end
end

local kind = redis.call('TYPE', leases).ok
if kind ~= 'hash' and kind ~= 'none' then
  redis.call('UNLINK', leases)
end
local held, his = holder(redis.call('HGET', leases, field))
if not held and redis.call('HLEN', leases) >= most then
  for _, other in ipairs(redis.call('HKEYS', leases)) do
    if other ~= 'p' and not holder(redis.call('HGET', leases, other)) then
      redis.call('HDEL', leases, other)
    end
  end
  if redis.call('HLEN', leases) >= most then
    return 'full'
  end
end

-- Why nobody need wait, if there is a reason.
local marker = redis.call('TYPE', resource).ok == 'hash' and redis.call('HGET', resource, 'u')
local until_then, why = string.match(marker or '', '^(%d+) (%a)$')
why = lasts(until_then, lengths[why]) and ' ' .. why or ''
-- What one alone fetches, nobody waits for: who fetches it for others goes before.
if held == 'f' or held and claimant == 'a' then
  return 'held' .. why
end
-- Beside the new one, the one of whose fetch nothing comes may store too: what is there first ends both.
local beside = held == 's' and ' ' .. his or ''
redis.call('HSET', leases, field, string.format('%s %.0f %s%s', token, now + length, claimant, beside))
redis.call('PEXPIRE', leases, length)
return 'granted' .. why
