-- The queue inside Redis: every verb of the store, atomic, on Redis's own clock.
--
-- Keys, all under one prefix KEYS[1] that holds the hash tag:
--   t  HASH  id -> record, written once          s  HASH  id -> status, once it changes
--   w  ZSET  id by due time                      l  ZSET  id by end of lease
--   r:<queue> ZSET id by order key               f  ZSET  ended id by time of its end
--   a  ZSET  every kept id, by id                o  HASH  id -> result
--   k  HASH  idempotency key -> id and body      c:<queue> HASH state -> count
--   q  SET   queues                              e  STREAM events, one entry for each call
--   n  last token    i  last id    v  number of the last event    g  end of the last outage
-- A queue is named <namespace> NUL <name>. Ids are 16 bytes, tokens 8, so that numbers stay exact.
-- Every loop is bounded: nothing here grows with the backlog.

local WAITING, READY, LEASED, COMPLETED, DEAD = 1, 2, 3, 4, 5
local FAILED, RELEASED, EXPIRED, DONE = 1, 2, 3, 4
local STATUS = '<BHdddc8ddc8BHc0Hc0Hc0'
local RECORD = '<HddddddBBc0Hc0'
local STEP = 64
local REPLY = 2097152
local NONE = '\0\0\0\0\0\0\0\0'

local function pack_number(value)
  return struct.pack('>I4I4', math.floor(value / 4294967296), value % 4294967296)
end

local function unpack_number(bytes)
  local high, low = struct.unpack('>I4I4', bytes)
  return high * 4294967296 + low
end

local function pack_status(s)
  return struct.pack(STATUS, s.state, s.attempts, s.updated, s.ready, s.expires, s.token, s.duration,
    s.deadline, s.settled, s.ending, #s.worker, s.worker, #s.reason, s.reason, #s.message, s.message)
end

local function unpack_record(bytes)
  local r = {}
  r.max, r.initial, r.factor, r.most, r.timeout, r.created, r.ready, r.priority, r.key, r.queue, r.body =
    struct.unpack(RECORD, bytes)
  return r
end

local function unpack_status(bytes, record)
  local s = {}
  if bytes then
    s.state, s.attempts, s.updated, s.ready, s.expires, s.token, s.duration, s.deadline, s.settled, s.ending,
      s.worker, s.reason, s.message = struct.unpack(STATUS, bytes)
    return s
  end
  local state = READY
  if record.ready > record.created then state = WAITING end
  return { state = state, attempts = 0, updated = record.created, ready = record.ready, expires = 0,
    token = NONE, duration = 0, deadline = 0, settled = NONE, ending = 0, worker = '', reason = '', message = '' }
end

-- The record without its payload.
local function bare(bytes, record)
  local length = struct.unpack('<I4', bytes, record.body)
  return string.sub(bytes, 1, record.body + 3 + length)
end

local function count(c, queue, state, by)
  local counts = c.counts[queue]
  if not counts then
    counts = {}
    c.counts[queue] = counts
  end
  counts[state] = (counts[state] or 0) + by
end

-- Notes that a task came from one state (or none) into the one that its status names.
local function note(c, id, record, from, s, packed)
  if from then count(c, record.queue, from, -1) end
  count(c, record.queue, s.state, 1)
  if s.state == READY then c.woken[record.queue] = true end
  c.events[#c.events + 1] = id .. struct.pack('<I4', #packed) .. packed
end

local function save(c, id, record, from, s)
  s.updated = c.now
  local packed = pack_status(s)
  redis.call('HSET', c.p .. 's', id, packed)
  note(c, id, record, from, s, packed)
end

local function make_ready(c, id, record, s)
  local order = s.ready + c.step * (9 - record.priority)
  redis.call('ZADD', c.p .. 'r:' .. record.queue, order, id)
end

local function load(c, id)
  local bytes = redis.call('HGET', c.p .. 't', id)
  if not bytes then return nil end
  local record = unpack_record(bytes)
  return record, unpack_status(redis.call('HGET', c.p .. 's', id), record), bytes
end

local function drop_hold(s, ending)
  s.settled, s.ending = s.token, ending
  s.token, s.expires, s.duration, s.deadline, s.worker = NONE, 0, 0, 0, ''
end

local function finish(c, id, record, s, state, ending)
  drop_hold(s, ending)
  s.state = state
  save(c, id, record, LEASED, s)
  redis.call('ZADD', c.p .. 'f', c.now, id)
end

-- Ends an attempt that failed or expired: again after a rest, or dead.
local function end_attempt(c, id, record, s, permanent, after, jitter, ending)
  if permanent or s.attempts >= record.max then return finish(c, id, record, s, DEAD, ending) end
  local rest = after
  if rest < 0 then
    rest = math.min(record.initial * record.factor ^ (s.attempts - 1), record.most) * (1 - 0.2 * jitter)
  end
  drop_hold(s, ending)
  s.state = WAITING
  s.ready = c.now + math.floor(rest)
  save(c, id, record, LEASED, s)
  redis.call('ZADD', c.p .. 'w', s.ready, id)
end

local function promote(c)
  local due = redis.call('ZRANGE', c.p .. 'w', '-inf', c.now, 'BYSCORE', 'LIMIT', 0, STEP)
  for _, id in ipairs(due) do
    redis.call('ZREM', c.p .. 'w', id)
    local record, s = load(c, id)
    if record and s.state == WAITING then
      s.state = READY
      save(c, id, record, WAITING, s)
      make_ready(c, id, record, s)
    end
  end
end

local function reclaim_one(c, id)
  redis.call('ZREM', c.p .. 'l', id)
  local record, s = load(c, id)
  if not record or s.state ~= LEASED then return end
  -- A lease given before an outage ended has a grace of its own length from then.
  if unpack_number(s.token) < c.grace and s.expires < c.grace + s.duration and c.grace + s.duration > c.now then
    s.expires = c.grace + s.duration
    redis.call('HSET', c.p .. 's', id, pack_status(s))
    redis.call('ZADD', c.p .. 'l', s.expires, id)
    return
  end
  s.reason, s.message = 'LEASE_EXPIRED', 'the lease ended before the worker settled it'
  if s.deadline > 0 and s.deadline <= c.now then
    s.reason, s.message = 'ATTEMPT_TIMEOUT', 'the attempt took longer than its timeout'
  end
  end_attempt(c, id, record, s, false, -1, (c.now % 1000) / 1000, EXPIRED)
end

local function reclaim(c)
  local late = redis.call('ZRANGE', c.p .. 'l', '-inf', c.now, 'BYSCORE', 'LIMIT', 0, STEP)
  for _, id in ipairs(late) do reclaim_one(c, id) end
end

local function forget(c)
  local over = redis.call('ZCARD', c.p .. 'f') - c.keep
  local old = redis.call('ZRANGE', c.p .. 'f', '-inf', c.now - c.keep_for, 'BYSCORE', 'LIMIT', 0, STEP)
  if #old == 0 and over > 0 then
    old = redis.call('ZRANGE', c.p .. 'f', 0, math.min(over, STEP) - 1)
  end
  for _, id in ipairs(old) do
    local record, s = load(c, id)
    if record then
      count(c, record.queue, s.state, -1)
      if #record.key > 0 then redis.call('HDEL', c.p .. 'k', record.key) end
    end
    redis.call('ZREM', c.p .. 'f', id)
    redis.call('ZREM', c.p .. 'a', id)
    redis.call('HDEL', c.p .. 't', id)
    redis.call('HDEL', c.p .. 's', id)
    redis.call('HDEL', c.p .. 'o', id)
  end
end

local function new_id(c, sequence)
  local millis = math.floor(c.now / 1000)
  return struct.pack('>I2I4I2I4I4', math.floor(millis / 4294967296), millis % 4294967296,
    28672 + (c.now % 1000) * 4, 2147483648 + math.floor(sequence / 4294967296), sequence % 4294967296)
end

-- What speaks against storing these tasks; nothing is stored before.
local function refusal(c, args, at, n)
  local live = redis.call('HLEN', c.p .. 't') - redis.call('ZCARD', c.p .. 'f')
  if live + n > c.max_tasks then return { '!full', tostring(live) } end
  local within = {}
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
    if redis.call('SISMEMBER', c.p .. 'q', queue) == 0 then
      if redis.call('SCARD', c.p .. 'q') >= c.max_queues then return { '!queues' } end
      redis.call('SADD', c.p .. 'q', queue)
    end
  end
  return nil
end

local function enqueue_one(c, args, at)
  local queue, key, body = args[at], args[at + 1], args[at + 2]
  if #key > 0 then
    local known = redis.call('HGET', c.p .. 'k', key)
    if known then return string.sub(known, 1, 16) .. '\1' end
  end
  local id = new_id(c, redis.call('INCR', c.p .. 'i'))
  local priority, ready = tonumber(args[at + 3]), c.now + tonumber(args[at + 4])
  local tail = struct.pack('<ddBBc0Hc0', c.now, ready, priority, #key, key, #queue, queue)
  local record = { created = c.now, ready = ready, priority = priority, queue = queue }
  redis.call('HSET', c.p .. 't', id, args[at + 5] .. tail .. args[at + 6])
  redis.call('ZADD', c.p .. 'a', 0, id)
  if #key > 0 then redis.call('HSET', c.p .. 'k', key, id .. body) end
  local s = unpack_status(nil, record)
  note(c, id, record, nil, s, pack_status(s))
  if s.state == READY then make_ready(c, id, record, s) else redis.call('ZADD', c.p .. 'w', ready, id) end
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
  redis.call('ZADD', c.p .. 'l', s.expires, id)
  return pack_status(s)
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
      redis.call('HSET', c.p .. 's', id, pack_status(s))
      redis.call('ZADD', c.p .. 'l', s.expires, id)
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
  redis.call('ZREM', c.p .. 'l', id)
  if kind == 'C' then
    redis.call('HSET', c.p .. 'o', id, args[at + 3])
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
  for i = 0, n - 1 do settled[i + 1] = settle_one(c, namespace, args, at + 2 + i * 6) end
  return settled, at + 2 + n * 6
end

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

local function flush(c, token_before)
  for queue, counts in pairs(c.counts) do
    for state, by in pairs(counts) do
      if by ~= 0 then redis.call('HINCRBY', c.p .. 'c:' .. queue, state, by) end
    end
  end
  if c.token ~= token_before then redis.call('SET', c.p .. 'n', string.format('%.0f', c.token)) end
  if #c.events == 0 then return end
  local woken = {}
  for queue in pairs(c.woken) do woken[#woken + 1] = struct.pack('<Hc0', #queue, queue) end
  local number = redis.call('INCR', c.p .. 'v')
  redis.call('XADD', c.p .. 'e', 'MAXLEN', c.keep_events, string.format('%.0f-0', number),
    'x', table.concat(c.events), 'q', table.concat(woken))
end

-- ARGV: step, keep, keep_for, keep_events, max_tasks, max_queues, then verbs with their arguments.
local function batch(keys, args)
  local time = redis.call('TIME')
  local token = tonumber(redis.call('GET', keys[1] .. 'n') or '0')
  local c = { p = keys[1], now = time[1] * 1000000 + time[2], step = tonumber(args[1]), keep = tonumber(args[2]),
    keep_for = tonumber(args[3]), keep_events = args[4], max_tasks = tonumber(args[5]),
    max_queues = tonumber(args[6]), token = token, counts = {}, events = {}, woken = {},
    grace = tonumber(redis.call('GET', keys[1] .. 'g') or '0') }
  local replies, at = {}, 7
  if args[7] == 'Z' then verbs.Z(c, args, 8) end
  reclaim(c)
  promote(c)
  while at <= #args do
    replies[#replies + 1], at = verbs[args[at]](c, args, at + 1)
  end
  forget(c)
  flush(c, token)
  return replies
end

redis.register_function('@LIB@_batch', batch)
