-- Stores one variant of a resource, whole or not at all.
-- KEYS[1]  the resource
-- ARGV     nominated names, the variant's field, the entry, milliseconds to keep it, most variants
local key, names, field, entry = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local keep, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The variants that this entry leaves selectable. If there are none, if the key is of another type,
-- or if it holds what the index does not list, it is begun anew.
local listed = {}
if redis.call('TYPE', key).ok == 'hash' and redis.call('HGET', key, 'm') == names then
  for name, expiry in string.gmatch(redis.call('HGET', key, 'i') or '', '(v%x+) (%d+)\n') do
    listed[#listed + 1] = { name, tonumber(expiry) }
  end
end
if #listed == 0 or redis.call('HLEN', key) ~= #listed + 2 then
  redis.call('UNLINK', key)
  listed = {}
end

local kept, dropped = {}, {}
for _, variant in ipairs(listed) do
  if variant[2] <= now and variant[1] ~= field then
    dropped[#dropped + 1] = variant[1]
  elseif variant[1] ~= field then
    kept[#kept + 1] = variant
  end
end
while #kept >= most do
  dropped[#dropped + 1] = table.remove(kept, 1)[1]
end
kept[#kept + 1] = { field, now + keep }

-- Written first: if there is no memory for it, what was stored stays as it was.
local lines, last = {}, 0
for place, variant in ipairs(kept) do
  lines[place] = string.format('%s %.0f\n', variant[1], variant[2])
  last = math.max(last, variant[2])
end
redis.call('HSET', key, 'm', names, 'i', table.concat(lines), field, entry)
if #dropped > 0 then
  redis.call('HDEL', key, unpack(dropped))
end
redis.call('PEXPIRE', key, string.format('%.0f', last - now))
return #kept
