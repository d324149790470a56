-- The key-value store's functions. Keys and records are described in mod.rs.

-- The change log keeps at least this many changes, and is trimmed when it holds SLACK more.
local KEPT = 100000
local SLACK = 1024
-- Commits whose ids are remembered, so that one that is sent twice happens once.
local REMEMBERED = 10000

-- Lua numbers are exact up to 2^53; microseconds since 1970 reach that in the year 2255.
local function decimal(number)
  return string.format('%.0f', number)
end

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function next_revision(state)
  local last = tonumber(redis.call('HGET', state, 'revision') or '0')
  return math.max(last + 1, now())
end

-- Answers the key of the first check that fails, and the position behind the checks.
local function failed_check(entries, args, position)
  local checks = tonumber(args[position])
  position = position + 1
  for _ = 1, checks do
    local key, wanted = args[position], args[position + 1]
    local record = redis.call('HGET', entries, key)
    local version = record and string.match(record, '^%d+') or ''
    if version ~= wanted then
      return key, position
    end
    position = position + 2
  end
  return nil, position
end

-- Applies one write; false when there was nothing to delete.
local function write(entries, index, revision, operation, key, value)
  if operation == 'P' then
    redis.call('HSET', entries, key, revision .. ':' .. value)
    redis.call('ZADD', index, 0, key)
    return true
  end
  redis.call('ZREM', index, key)
  return redis.call('HDEL', entries, key) == 1
end

-- Cursors below the floor may have missed changes. Only whole revisions count as kept.
local function trim(changes, state)
  if redis.call('XLEN', changes) <= KEPT + SLACK then
    return
  end
  redis.call('XTRIM', changes, 'MAXLEN', KEPT)
  local first = redis.call('XRANGE', changes, '-', '+', 'COUNT', 1)[1][1]
  redis.call('HSET', state, 'floor', string.match(first, '^%d+'))
end

local function remember(commits, id, revision)
  redis.call('ZADD', commits, revision, id)
  redis.call('ZREMRANGEBYRANK', commits, 0, -(REMEMBERED + 1))
end

-- KEYS entries, index, changes, state, commits
-- ARGS id, before (a time or nothing), checks, (key, version)…, writes, (operation, key, value)…
local function commit(keys, args)
  local entries, index, changes, state, commits = unpack(keys)
  local before = redis.call('ZSCORE', commits, args[1])
  if before then
    return { 1, decimal(tonumber(before)) }
  end
  if args[2] ~= '' and tonumber(args[2]) <= now() then
    return { 2, '' }
  end
  local conflict, position = failed_check(entries, args, 3)
  if conflict then
    return { 0, conflict }
  end
  local revision = decimal(next_revision(state))
  local ordinal = 0
  local writes = tonumber(args[position])
  for at = position + 1, position + writes * 3, 3 do
    local operation, key = args[at], args[at + 1]
    if write(entries, index, revision, operation, key, args[at + 2]) then
      ordinal = ordinal + 1
      local deleted = operation == 'D' and '1' or '0'
      redis.call('XADD', changes, revision .. '-' .. ordinal, 'k', key, 'd', deleted)
    end
  end
  if ordinal == 0 then
    return { 1, redis.call('HGET', state, 'revision') or '0' }
  end
  redis.call('HSET', state, 'revision', revision)
  remember(commits, args[1], revision)
  trim(changes, state)
  return { 1, revision }
end

-- KEYS entries, index; ARGS lower, upper, order, limit, bytes of values ('' for any number)
local function range(keys, args)
  local lower, upper, order, limit = unpack(args)
  local left = tonumber(args[5]) or math.huge
  local found
  if order == 'descending' then
    found = redis.call('ZRANGE', keys[2], upper, lower, 'BYLEX', 'REV', 'LIMIT', 0, limit)
  else
    found = redis.call('ZRANGE', keys[2], lower, upper, 'BYLEX', 'LIMIT', 0, limit)
  end
  local page = {}
  for at = 1, #found do
    local record = redis.call('HGET', keys[1], found[at])
    page[#page + 1] = found[at]
    page[#page + 1] = record
    if record then
      left = left - (#record - (string.find(record, ':', 1, true) or 0))
    end
    if left <= 0 then
      break
    end
  end
  return page
end

-- KEYS state, changes; ARGS from (a place in the stream), limit. All from one moment.
local function changes(keys, args)
  local facts = redis.call('HMGET', keys[1], 'revision', 'floor')
  return { facts, redis.call('XRANGE', keys[2], args[1], '+', 'COUNT', args[2]) }
end

redis.register_function('@LIB@_commit', commit)
redis.register_function { function_name = '@LIB@_range', callback = range, flags = { 'no-writes' } }
redis.register_function { function_name = '@LIB@_changes', callback = changes, flags = { 'no-writes' } }
