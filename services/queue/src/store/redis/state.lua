-- The queue inside Redis: every verb of the store, atomic, on Redis's own clock.
--
-- Keys, all under one prefix KEYS[1] that holds the hash tag:
--   t  HASH  id -> record, written once          s  HASH  id -> status, once it changes
--   w  ZSET  id by due time                      l  ZSET  id by end of lease
--   r:<queue> ZSET id by order key               f  ZSET  ended id by time of its end
--   a  ZSET  every kept id, by id                o  HASH  id -> result
--   k  HASH  idempotency key -> id and body      c:<queue> HASH state -> count
--   q  SET   queues                              e  STREAM events, one entry for each call
--   n  last token    i  last id    v  number of the last event    g  end of the last outage    p  last use
-- A queue is named <namespace> NUL <name>. Ids are 16 bytes, tokens 8, so that numbers stay exact.
-- Every loop is bounded: nothing here grows with the backlog.

local WAITING, READY, LEASED, COMPLETED, DEAD = 1, 2, 3, 4, 5
local FAILED, RELEASED, EXPIRED, DONE = 1, 2, 3, 4
local STATUS = '<BHdddc8ddc8BHc0Hc0Hc0'
local RECORD = '<HddddddBBc0Hc0'
local STEP = 64
local MANY = 2000
local OUTAGE = 2000000
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

local function run(list)
  redis.call(unpack(list))
end

-- Writes that go down together, one command for each key, at the next settle(c).
local function later(c, command, key, first, second)
  local name = command .. key
  local list = c.later[name]
  if not list then
    list = { command, c.p .. key }
    c.later[name] = list
  end
  list[#list + 1] = first
  list[#list + 1] = second
  if #list > MANY then
    run(list)
    c.later[name] = nil
  end
end

-- The end of a task's lease; false takes it out of the lease table.
local function expire_at(c, id, score)
  c.ends[id] = score
end

-- Writes all that waits, so that reads see it.
local function settle(c)
  for id in pairs(c.dirty) do later(c, 'HSET', 's', id, c.s[id]) end
  for id, score in pairs(c.ends) do
    if score then later(c, 'ZADD', 'l', score, id) else later(c, 'ZREM', 'l', id) end
  end
  c.dirty, c.ends = {}, {}
  for _, list in pairs(c.later) do run(list) end
  c.later = {}
end

local function keep_status(c, id, packed)
  c.s[id] = packed
  c.dirty[id] = true
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
  keep_status(c, id, packed)
  note(c, id, record, from, s, packed)
end

local function make_ready(c, id, record, s)
  local order = s.ready + c.step * (9 - record.priority)
  later(c, 'ZADD', 'r:' .. record.queue, order, id)
end

local function load(c, id)
  local bytes = c.t[id]
  if bytes == nil then bytes = redis.call('HGET', c.p .. 't', id) end
  if not bytes then return nil end
  local record, status = unpack_record(bytes), c.s[id]
  if status == nil then status = redis.call('HGET', c.p .. 's', id) end
  return record, unpack_status(status, record), bytes
end

local function drop_hold(s, ending)
  s.settled, s.ending = s.token, ending
  s.token, s.expires, s.duration, s.deadline, s.worker = NONE, 0, 0, 0, ''
end

local function finish(c, id, record, s, state, ending)
  drop_hold(s, ending)
  s.state = state
  save(c, id, record, LEASED, s)
  later(c, 'ZADD', 'f', c.now, id)
  c.ended = c.ended + 1
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
  later(c, 'ZADD', 'w', s.ready, id)
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
    keep_status(c, id, pack_status(s))
    expire_at(c, id, s.expires)
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

-- Reads the records and statuses of many tasks at once, for load(c, id).
local function fetch(c, ids)
  for first = 1, #ids, MANY do
    local some = { unpack(ids, first, math.min(first + MANY - 1, #ids)) }
    local records = redis.call('HMGET', c.p .. 't', unpack(some))
    local statuses = redis.call('HMGET', c.p .. 's', unpack(some))
    for i, id in ipairs(some) do
      c.t[id] = records[i]
      if c.s[id] == nil then c.s[id] = statuses[i] end
    end
  end
end

local function forget(c)
  -- More than this call ended, so that what is kept does not grow.
  local most = STEP + c.ended
  local over = redis.call('ZCARD', c.p .. 'f') - c.keep
  local old = redis.call('ZRANGE', c.p .. 'f', '-inf', c.now - c.keep_for, 'BYSCORE', 'LIMIT', 0, most)
  if #old == 0 and over > 0 then
    old = redis.call('ZRANGE', c.p .. 'f', 0, math.min(over, most) - 1)
  end
  fetch(c, old)
  for _, id in ipairs(old) do
    local record, s = load(c, id)
    if record then
      count(c, record.queue, s.state, -1)
      if #record.key > 0 then redis.call('HDEL', c.p .. 'k', record.key) end
    end
    later(c, 'ZREM', 'f', id)
    later(c, 'ZREM', 'a', id)
    later(c, 'HDEL', 't', id)
    later(c, 'HDEL', 's', id)
    later(c, 'HDEL', 'o', id)
  end
end
