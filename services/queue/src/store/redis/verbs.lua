-- The verbs that change tasks. One chunk with state.lua, which comes before.

local function new_id(c, sequence)
  local millis = math.floor(c.now / 1000)
  return struct.pack('>I2I4I2I4I4', math.floor(millis / 4294967296), millis % 4294967296,
    28672 + (c.now % 1000) * 4, 2147483648 + math.floor(sequence / 4294967296), sequence % 4294967296)
end

-- What speaks against storing these tasks; nothing is stored before.
local function refusal(c, args, at, n)
  local live = c.held + c.stored - c.ended
  if live + n > c.max_tasks then return { '!full', tostring(live) } end
  local within, new, queues = {}, {}, redis.call('SCARD', c.p .. 'q')
  for task = 0, n - 1 do
    local queue, key, body = args[at + task * 7], args[at + task * 7 + 1], args[at + task * 7 + 2]
    if #key > 0 then
      local known = redis.call('HGET', c.p .. 'k', key)
      local before = known and string.sub(known, 17) or within[key]
      if before and before ~= body then
        return { '!mismatch', tostring(task), known and string.sub(known, 1, 16) or string.rep('\0', 16) }
      end
      within[key] = body
    end
    if not new[queue] and not c.counts[queue] and redis.call('SISMEMBER', c.p .. 'q', queue) == 0 then
      new[queue] = true
      queues = queues + 1
      if queues > c.max_queues then return { '!queues' } end
    end
  end
  return nil
end

local function next_sequence(c)
  c.sequence = (c.sequence or tonumber(redis.call('GET', c.p .. 'i') or '0')) + 1
  return c.sequence
end

local function enqueue_one(c, args, at)
  local queue, key, body = args[at], args[at + 1], args[at + 2]
  if #key > 0 then
    local known = redis.call('HGET', c.p .. 'k', key)
    if known then return string.sub(known, 1, 16) .. '\1' end
  end
  local id = new_id(c, next_sequence(c))
  local priority, ready = tonumber(args[at + 3]), c.now + tonumber(args[at + 4])
  local tail = struct.pack('<ddBBc0Hc0', c.now, ready, priority, #key, key, #queue, queue)
  local record = { created = c.now, ready = ready, priority = priority, queue = queue }
  later(c, 'HSET', 't', id, args[at + 5] .. tail .. args[at + 6])
  later(c, 'ZADD', 'a', 0, id)
  if #key > 0 then redis.call('HSET', c.p .. 'k', key, id .. body) end
  local s = unpack_status(nil, record)
  note(c, id, record, nil, s, pack_status(s))
  if s.state == READY then make_ready(c, id, record, s) else later(c, 'ZADD', 'w', ready, id) end
  c.stored = c.stored + 1
  return id .. '\0'
end

local verbs = {}

function verbs.E(c, args, at)
  local n = tonumber(args[at])
  local next = at + 1 + n * 7
  local refused = refusal(c, args, at + 1, n)
  if refused then return refused, next end
  local receipts = {}
  for task = 0, n - 1 do receipts[task + 1] = enqueue_one(c, args, at + 1 + task * 7) end
  return receipts, next
end

local function lease_one(c, id, bytes, old, ask)
  local record = unpack_record(bytes)
  local s = unpack_status(old, record)
  c.token = math.max(c.token + 1, c.now)
  s.state, s.attempts, s.token, s.worker, s.duration = LEASED, s.attempts + 1, pack_number(c.token), ask.worker, ask.duration
  s.expires, s.deadline = c.now + ask.duration, 0
  if record.timeout > 0 then
    s.deadline = c.now + record.timeout
    s.expires = math.min(s.expires, s.deadline)
  end
  save(c, id, record, READY, s)
  expire_at(c, id, s.expires)
  return c.s[id]
end

local function lease_chunk(c, queue, ask, leases)
  local want = math.min(ask.max - #leases / 3, STEP)
  local popped = redis.call('ZPOPMIN', c.p .. 'r:' .. queue, want)
  if #popped == 0 then return false end
  local ids = {}
  for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
  local records = redis.call('HMGET', c.p .. 't', unpack(ids))
  local statuses = redis.call('HMGET', c.p .. 's', unpack(ids))
  for i, id in ipairs(ids) do
    if ask.bytes >= REPLY then
      redis.call('ZADD', c.p .. 'r:' .. queue, popped[i * 2], id)
    elseif records[i] then
      ask.bytes = ask.bytes + #records[i]
      leases[#leases + 1] = id
      leases[#leases + 1] = lease_one(c, id, records[i], statuses[i], ask)
      leases[#leases + 1] = records[i]
    end
  end
  return #ids == want
end

function verbs.L(c, args, at)
  local ask = { max = tonumber(args[at]), duration = tonumber(args[at + 1]), worker = args[at + 2], bytes = 0 }
  local n, leases = tonumber(args[at + 3]), {}
  settle(c)
  for i = 1, n do
    local more = true
    while more and #leases / 3 < ask.max and ask.bytes < REPLY do
      more = lease_chunk(c, args[at + 3 + i], ask, leases)
    end
  end
  return leases, at + 4 + n
end

local function within(record, namespace)
  return string.sub(record.queue, 1, #namespace + 1) == namespace .. '\0'
end

local function held(c, namespace, id, token)
  local record, s = load(c, id)
  if not record or not within(record, namespace) then return nil end
  return record, s, s.state == LEASED and s.token == token
end

function verbs.H(c, args, at)
  local namespace, duration, n, ends = args[at], tonumber(args[at + 1]), tonumber(args[at + 2]), {}
  for i = 0, n - 1 do
    local id, token = args[at + 3 + i * 2], args[at + 4 + i * 2]
    local record, s, mine = held(c, namespace, id, token)
    ends[i + 1] = struct.pack('<d', 0)
    if mine then
      local stop = c.now + duration
      if s.deadline > 0 then stop = math.min(stop, s.deadline) end
      s.expires, s.duration = math.max(s.expires, stop), math.max(s.duration, duration)
      keep_status(c, id, pack_status(s))
      expire_at(c, id, s.expires)
      ends[i + 1] = struct.pack('<d', s.expires)
    end
  end
  return ends, at + 3 + n * 2
end

local ENDINGS = { C = DONE, F = FAILED, R = RELEASED }

local function settle_one(c, namespace, args, at)
  local id, token, kind = args[at], args[at + 1], args[at + 2]
  local record, s, mine = held(c, namespace, id, token)
  if not record then return struct.pack('<Bd', 0, 0) end
  if not mine then
    if s.settled ~= token or s.ending ~= ENDINGS[kind] then return struct.pack('<Bd', 0, 0) end
    -- A repeated settlement of a task that lives on is told what the first was.
    local state = s.state
    if state < COMPLETED and kind == 'F' then state = WAITING end
    if state < COMPLETED and kind == 'R' then state = READY end
    return struct.pack('<Bd', state, s.ready)
  end
  expire_at(c, id, false)
  if kind == 'C' then
    later(c, 'HSET', 'o', id, args[at + 3])
    finish(c, id, record, s, COMPLETED, DONE)
  elseif kind == 'R' then
    drop_hold(s, RELEASED)
    s.state, s.attempts = READY, s.attempts - 1
    save(c, id, record, LEASED, s)
    make_ready(c, id, record, s)
  else
    local permanent, after, jitter = struct.unpack('<Bdd', args[at + 5])
    s.reason, s.message = args[at + 3], args[at + 4]
    end_attempt(c, id, record, s, permanent == 1, after, jitter, FAILED)
  end
  return struct.pack('<Bd', s.state, s.ready)
end

function verbs.S(c, args, at)
  local namespace, n, settled = args[at], tonumber(args[at + 1]), {}
  local ids = {}
  for i = 0, n - 1 do ids[i + 1] = args[at + 2 + i * 6] end
  if n > 1 then fetch(c, ids) end
  for i = 0, n - 1 do settled[i + 1] = settle_one(c, namespace, args, at + 2 + i * 6) end
  return settled, at + 2 + n * 6
end
