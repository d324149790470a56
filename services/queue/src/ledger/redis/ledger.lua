-- The ledger of the queue in Redis. KEYS[1] is its HASH of facts:
--   epoch    grows whenever the owner changes; a write names the epoch that it belongs to. Tokens of an owner begin
--            above it, so that those of different owners never meet
--   token    greatest token that was given
--   commit   number of the last commit; a write names the one that it follows
--   owner    instance that owns the ledger      url  where it serves
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
-- knows of, how many tokens may be given and lost.
-- Answers { '1', epoch, commit, now, replicas } or, while somebody else owns it,
-- { '0', epoch, URL, microseconds left, greatest token }.
local function claim(keys, args)
  local facts = redis.call('HMGET', keys[1], 'epoch', 'commit', 'owner', 'until', 'url', 'token')
  local now, epoch = micros(), tonumber(facts[1] or '0')
  local greatest = math.max(epoch, tonumber(facts[6] or '0'))
  local left = tonumber(facts[4] or '0') - now
  if facts[3] and facts[3] ~= args[1] and left > 0 and facts[1] ~= args[4] then
    return { '0', facts[1], facts[5], whole(left), whole(greatest) }
  end
  epoch = math.max(math.max(greatest, tonumber(args[5])) + args[6], now)
  redis.call('HSET', keys[1], 'epoch', whole(epoch), 'owner', args[1], 'url', args[2],
    'until', whole(now + args[3]))
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

redis.register_function('@LIB@_claim', claim)
redis.register_function('@LIB@_write', write)
redis.register_function('@LIB@_resign', resign)
