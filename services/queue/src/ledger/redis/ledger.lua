-- The ledger of the queue in Redis. KEYS[1] is its HASH of facts:
--   epoch    grows whenever the owner changes; a write names the epoch that it belongs to. Tokens of an owner begin
--            above it, so that those of different owners never meet
--   token    greatest token that was given
--   commit   number of the last commit; a write names the one that it follows
--   owner    instance that owns the ledger      url  where it serves      host  whose addresses that speaks of
--   until    when its claim ends, microseconds of Redis's clock

local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function whole(number)
  return string.format('%.0f', number)
end

-- Replicas that follow, and may be promoted.
local function replicas()
  local _, online = string.gsub(redis.call('INFO', 'replication'), 'state=online', '')
  return whole(online)
end

-- ARGV: instance, URL, length of the claim, epoch whose owner is known to be gone, greatest token that the claimant
-- knows of, how many tokens may be given and lost, host.
-- Answers { '1', epoch, commit, now, replicas } or, while somebody else owns it,
-- { '0', epoch, URL, microseconds left, greatest token, host }.
local function claim(keys, args)
  local facts = redis.call('HMGET', keys[1], 'epoch', 'commit', 'owner', 'until', 'url', 'token', 'host')
  local now, epoch = micros(), tonumber(facts[1] or '0')
  local greatest = math.max(epoch, tonumber(facts[6] or '0'))
  local left = tonumber(facts[4] or '0') - now
  if facts[3] and facts[3] ~= args[1] and left > 0 and facts[1] ~= args[4] then
    return { '0', facts[1], facts[5], whole(left), whole(greatest), facts[7] or '' }
  end
  epoch = math.max(math.max(greatest, tonumber(args[5])) + args[6], now)
  redis.call('HSET', keys[1], 'epoch', whole(epoch), 'owner', args[1], 'url', args[2],
    'host', args[7], 'until', whole(now + args[3]))
  return { '1', whole(epoch), facts[2] or '0', whole(now), replicas() }
end

-- ARGV: epoch, commit before, commit, length of the claim, greatest token, then commands: how many words, the words.
-- The answer says what became of it; nothing is done unless it is DONE. A repeated call is told so again.
local function write(keys, args)
  local facts = redis.call('HMGET', keys[1], 'epoch', 'commit')
  if facts[1] ~= args[1] then return 'DEPOSED' end
  local last = facts[2] or '0'
  if last ~= args[2] then return last == args[3] and 'DONE' or 'LOST' end
  local at = 6
  while at <= #args do
    local words = tonumber(args[at])
    redis.call(unpack(args, at + 1, at + words))
    at = at + words + 1
  end
  redis.call('HSET', keys[1], 'commit', args[3], 'until', whole(micros() + args[4]), 'token', args[5])
  return 'DONE'
end

-- ARGV: epoch. Lets the next owner in without a wait.
local function resign(keys, args)
  if redis.call('HGET', keys[1], 'epoch') == args[1] then redis.call('HDEL', keys[1], 'owner', 'until') end
  return 'DONE'
end

-- A packed number: bytes with their high bit set, and one without.
local NUMBER = '[\128-\255]*[%z\1-\127]'

-- Rows that are looked at together.
local TOGETHER = 16

-- Bytes of a row that is read whole, since cutting it would gain nothing.
local SHORT = 512

-- More bytes than all that attempts may have said.
local SAID = 65536

-- What is read of a packed row (see `rows.rs`) in place of all of it.
local head = {
  -- Id, two times, and what the producer said, after its length; behind it comes the payload.
  task = function(packed)
    local at, after = string.match(packed, '^' .. NUMBER .. NUMBER .. '()' .. NUMBER .. '()', 17)
    if not at then return packed end
    local length, scale = 0, 1
    for place = at, after - 1 do
      length = length + string.byte(packed, place) % 128 * scale
      scale = scale * 128
    end
    return string.sub(packed, 1, after - 1 + length)
  end,
  -- Id, state, four numbers and flags, of which the first alone says that a result follows; others, that what attempts
  -- have said stands before it.
  ending = function(packed)
    local at = string.match(packed, '^.' .. string.rep(NUMBER, 4) .. '()', 17)
    local silent = at and (string.byte(packed, at) or 0) < 2
    return string.sub(packed, 1, silent and at or SAID)
  end,
}

-- KEYS: a HASH of rows. ARGV: 'task' or 'ending', most bytes to look at, rows. Answers length and head of each row in
-- turn, '' of those that are not there, for as many rows as the bytes allow, and for some at least.
local function heads(keys, args)
  local cut, left, found = head[args[1]], tonumber(args[2]), {}
  for first = 3, #args, TOGETHER do
    if left <= 0 then break end
    local last = math.min(first + TOGETHER - 1, #args)
    for _, packed in ipairs(redis.call('HMGET', keys[1], unpack(args, first, last))) do
      packed = packed or ''
      left = left - #packed
      table.insert(found, #packed)
      table.insert(found, #packed > SHORT and cut(packed) or packed)
    end
  end
  return found
end

-- KEYS: the STREAM of the journal. ARGV: where to begin, most bytes. Answers entries from there, oldest first: as many as
-- the bytes allow, and some at least; none when there are no more.
local function journal(keys, args)
  local from, left, found = args[1], tonumber(args[2]), {}
  while left > 0 do
    local entries = redis.call('XRANGE', keys[1], from, '+', 'COUNT', TOGETHER)
    for _, entry in ipairs(entries) do
      for _, word in ipairs(entry[2]) do left = left - #word end
      table.insert(found, entry)
    end
    if #entries < TOGETHER then break end
    from = '(' .. entries[#entries][1]
  end
  return found
end

redis.register_function('@LIB@_claim', claim)
redis.register_function('@LIB@_write', write)
redis.register_function('@LIB@_resign', resign)
redis.register_function{ function_name = '@LIB@_heads', callback = heads, flags = { 'no-writes' } }
redis.register_function{ function_name = '@LIB@_journal', callback = journal, flags = { 'no-writes' } }
