-- The one function: runs the verbs of many callers in one go. One chunk with reads.lua, which comes before.

local function flush(c, token_before)
  for queue, counts in pairs(c.counts) do
    redis.call('SADD', c.p .. 'q', queue)
    for state, by in pairs(counts) do
      if by ~= 0 then redis.call('HINCRBY', c.p .. 'c:' .. queue, state, by) end
    end
  end
  if c.token ~= token_before then redis.call('SET', c.p .. 'n', string.format('%.0f', c.token)) end
  if c.sequence then redis.call('SET', c.p .. 'i', string.format('%.0f', c.sequence)) end
  if #c.events == 0 then return end
  local woken = {}
  for queue in pairs(c.woken) do woken[#woken + 1] = struct.pack('<Hc0', #queue, queue) end
  local number = redis.call('INCR', c.p .. 'v')
  redis.call('XADD', c.p .. 'e', 'MAXLEN', c.keep_events, string.format('%.0f-0', number),
    'x', table.concat(c.events), 'q', table.concat(woken))
end

-- Verbs that read what others wrote.
local READS = { G = true, I = true, Q = true, V = true, T = true }

-- Notes that the queue is in use; a gap is an outage of Redis or of every daemon, after which leases get a grace.
local function note_outage(c)
  local seen = tonumber(redis.call('GET', c.p .. 'p') or '0')
  if c.now - seen > OUTAGE then verbs.Z(c) end
  if c.now - seen > OUTAGE / 4 then redis.call('SET', c.p .. 'p', string.format('%.0f', c.now)) end
end

-- ARGV: step, keep, keep_for, keep_events, max_tasks, max_queues, then verbs with their arguments.
local function batch(keys, args)
  local time = redis.call('TIME')
  local token = tonumber(redis.call('GET', keys[1] .. 'n') or '0')
  local c = { p = keys[1], now = time[1] * 1000000 + time[2], step = tonumber(args[1]), keep = tonumber(args[2]),
    keep_for = tonumber(args[3]), keep_events = args[4], max_tasks = tonumber(args[5]),
    max_queues = tonumber(args[6]), token = token, counts = {}, events = {}, woken = {}, ended = 0, stored = 0,
    later = {}, ends = {}, dirty = {}, s = {}, t = {},
    held = redis.call('HLEN', keys[1] .. 't') - redis.call('ZCARD', keys[1] .. 'f'),
    grace = tonumber(redis.call('GET', keys[1] .. 'g') or '0') }
  local replies, at = {}, 7
  note_outage(c)
  if args[7] == 'Z' then verbs.Z(c) end
  reclaim(c)
  promote(c)
  while at <= #args do
    if READS[args[at]] then settle(c) end
    replies[#replies + 1], at = verbs[args[at]](c, args, at + 1)
  end
  settle(c)
  forget(c)
  settle(c)
  flush(c, token)
  return replies
end

redis.register_function('@LIB@_batch', batch)
