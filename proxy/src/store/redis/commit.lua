-- Stores one variant of a resource, whole or not at all, for the holder of a lease, which it ends.
-- KEYS[1]  the resource
-- KEYS[2]  its leases
-- ARGV     nominated names, the variant's field, the entry, milliseconds to keep it, most variants,
--          the length of its body if it has an entity tag, else nothing; the field of the lease, its
--          token, for how many milliseconds nobody waits for the next one; the entry's epoch, in 16
--          hexadecimal digits; by how many of its first bytes an entry tells what its body is that is
--          apart, zero if it is not; that body, or nothing: then the one that is there is kept if it is
--          the same, and else nothing is stored (-1)
local key, names, field, entry = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local keep, most, tagged = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- It may have been broken, because what was fetched is obsolete, or have lapsed; or another one was granted beside
-- it, which ends with it.
local leases, unshared = KEYS[2], tonumber(ARGV[9])
local lease = redis.call('TYPE', leases).ok == 'hash' and redis.call('HGET', leases, ARGV[7])
local holder, expiry, beside = string.match(lease or '', '^(%x+) (%d+) %a ?(%x*)$')
if holder ~= ARGV[8] and beside ~= ARGV[8] or tonumber(expiry) <= now then
  return 0
end
-- So it has by a purge that was sent again, if it is of before that.
if (redis.call('HGET', leases, 'p') or '') > ARGV[10] then
  if holder == ARGV[8] then
    redis.call('HDEL', leases, ARGV[7])
  end
  return 0
end

local present = {}
local kind = redis.call('TYPE', key).ok
if kind == 'hash' then
  for _, name in ipairs(redis.call('HKEYS', key)) do
    present[name] = true
  end
elseif kind ~= 'none' then
  redis.call('UNLINK', key)
end

-- What was stored tells what body is stored with it.
local function apart(name)
  return 'V' .. string.sub(name, 2)
end
local epoch, telling, body = ARGV[10], tonumber(ARGV[11]), ARGV[12]
if telling > 0 and not body then
  local there = present[apart(field)] and redis.call('HGET', key, field)
  if not there or string.sub(there, 1, telling) ~= string.sub(entry, 1, telling) then
    return -1
  end
end

-- The other variants that stay, the oldest first: none if other fields are nominated now.
local kept, stays = {}, { m = true, i = true, e = true, s = true, [field] = true, [apart(field)] = telling > 0 }
if present.m and redis.call('HGET', key, 'm') == names then
  for length, name, expiry in string.gmatch(redis.call('HGET', key, 'i') or '', '(%d*) ?(v%x+) (%d+)\n') do
    if present[name] and not stays[name] and tonumber(expiry) > now then
      stays[name], stays[apart(name)] = true, true
      kept[#kept + 1] = { name, tonumber(expiry), length }
    end
  end
end
while #kept >= most do
  local oldest = table.remove(kept, 1)[1]
  stays[oldest], stays[apart(oldest)] = nil, nil
end
if #kept > 0 then
  local earliest = redis.call('HGET', key, 'e') or ''
  if earliest < epoch then epoch = earliest end
end
kept[#kept + 1] = { field, now + keep, tagged }

local lines, last = {}, 0
for place, variant in ipairs(kept) do
  local length = variant[3] ~= '' and variant[3] .. ' ' or ''
  lines[place] = string.format('%s%s %.0f\n', length, variant[1], variant[2])
  last = math.max(last, variant[2])
end
-- The first write, because only the first is refused when the memory is full: what was stored then
-- stays as it was. A deletion before it, even of nothing, would force us in beyond the limit.
local fields = { 'm', names, 'i', table.concat(lines), 'e', epoch, field, entry }
if body then
  fields[9], fields[10] = apart(field), body
end
redis.call('HSET', key, unpack(fields))
for name in pairs(present) do
  if not stays[name] then
    redis.call('HDEL', key, name)
  end
end
if unshared > 0 then
  redis.call('HSET', key, 'u', string.format('%.0f u', now + unshared))
end
redis.call('HDEL', leases, ARGV[7])
redis.call('PEXPIRE', key, string.format('%.0f', last - now))
return #kept
