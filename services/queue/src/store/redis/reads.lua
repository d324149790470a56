-- The verbs that read, and those of the follower. One chunk with verbs.lua, which comes before.

function verbs.G(c, args, at)
  local record, s, bytes = load(c, args[at + 1])
  if not record or not within(record, args[at]) then return {}, at + 2 end
  return { args[at + 1], pack_status(s), bytes, redis.call('HGET', c.p .. 'o', args[at + 1]) or '' }, at + 2
end

-- Looks at up to 1,000 ids before one, newest first; the first of the reply is where to go on, if anywhere.
function verbs.I(c, args, at)
  local namespace, queue, states, before, limit = args[at], args[at + 1], args[at + 2], args[at + 3], tonumber(args[at + 4])
  local from = '+'
  if #before > 0 then from = '(' .. before end
  local ids = redis.call('ZRANGE', c.p .. 'a', from, '-', 'BYLEX', 'REV', 'LIMIT', 0, 1000)
  local page, last = { '' }, ''
  for _, id in ipairs(ids) do
    local record, s, bytes = load(c, id)
    local fits = record and within(record, namespace)
    if fits and #queue > 0 then fits = record.queue == namespace .. '\0' .. queue end
    if fits and #states > 0 then fits = string.find(states, tostring(s.state), 1, true) end
    if fits then
      if (#page - 1) / 3 >= limit then
        page[1] = last
        return page, at + 5
      end
      page[#page + 1], page[#page + 2], page[#page + 3] = id, pack_status(s), bare(bytes, record)
    end
    last = id
  end
  if #ids == 1000 then page[1] = last end
  return page, at + 5
end

function verbs.Q(c, args, at)
  local rows, namespace = {}, args[at]
  for _, queue in ipairs(redis.call('SMEMBERS', c.p .. 'q')) do
    if within({ queue = queue }, namespace) then
      rows[#rows + 1] = string.sub(queue, #namespace + 2)
      local counts = redis.call('HMGET', c.p .. 'c:' .. queue, 1, 2, 3, 4, 5)
      local head, oldest = redis.call('ZRANGE', c.p .. 'r:' .. queue, 0, 0), 0
      if head[1] then
        local record, s = load(c, head[1])
        if record then oldest = s.ready end
      end
      rows[#rows + 1] = struct.pack('<dddddd', counts[1] or 0, counts[2] or 0, counts[3] or 0, counts[4] or 0,
        counts[5] or 0, oldest)
    end
  end
  return rows, at + 1
end

local function event_rows(c, number, packed, skip, rows)
  local position, index = 1, 0
  while position <= #packed do
    index = index + 1
    local id = string.sub(packed, position, position + 15)
    local length = struct.unpack('<I4', packed, position + 16)
    if index > skip then
      local bytes = redis.call('HGET', c.p .. 't', id)
      if not bytes then return false end
      local status = string.sub(packed, position + 20, position + 19 + length)
      local result = ''
      if string.byte(status) == COMPLETED then result = redis.call('HGET', c.p .. 'o', id) or '' end
      rows[#rows + 1] = struct.pack('<dd', number, index)
      rows[#rows + 1], rows[#rows + 2] = id, status
      rows[#rows + 1], rows[#rows + 2] = bare(bytes, unpack_record(bytes)), result
    end
    position = position + 20 + length
  end
  return true
end

-- Events after the place <entry, index>, from whole entries, until there are enough.
function verbs.V(c, args, at)
  local after, skip, limit = tonumber(args[at]), tonumber(args[at + 1]), tonumber(args[at + 2])
  local last = tonumber(redis.call('GET', c.p .. 'v') or '0')
  local oldest = redis.call('XRANGE', c.p .. 'e', '-', '+', 'COUNT', 1)
  local first = last + 1
  if oldest[1] then first = tonumber(string.match(oldest[1][1], '^(%d+)')) end
  if after > last or after + 1 < first then return { '!expired' }, at + 3 end
  local start = string.format('%.0f-0', math.max(after, 1))
  local entries = redis.call('XRANGE', c.p .. 'e', start, '+', 'COUNT', STEP)
  local rows = {}
  for _, entry in ipairs(entries) do
    local number = tonumber(string.match(entry[1], '^(%d+)'))
    local passed = 0
    if number == after then passed = skip end
    if not event_rows(c, number, entry[2][2], passed, rows) then return { '!expired' }, at + 3 end
    if #rows / 5 >= limit then break end
  end
  return rows, at + 3
end

function verbs.D(c, args, at)
  return { redis.call('GET', c.p .. 'v') or '0' }, at
end

-- A daemon came up, perhaps after an outage: leases given before now get a grace.
function verbs.Z(c, args, at)
  c.grace = c.now
  redis.call('SET', c.p .. 'g', string.format('%.0f', c.now))
  return {}, at
end

-- How long until something falls due, in microseconds; -1 when nothing will.
function verbs.T(c, args, at)
  local wait = -1
  for _, key in ipairs({ 'w', 'l' }) do
    local head = redis.call('ZRANGE', c.p .. key, 0, 0, 'WITHSCORES')
    if head[1] then
      local left = math.max(tonumber(head[2]) - c.now, 0)
      if wait < 0 or left < wait then wait = left end
    end
  end
  return { string.format('%.0f', wait) }, at
end
