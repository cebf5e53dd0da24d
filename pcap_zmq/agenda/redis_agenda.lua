-- What a dispatcher asks of Redis: each call is one step that nobody sees half done.
--
-- Specification: docs/redis.md. Redis 5 or newer.
--
-- ARGV: what is before every key, the name of the input list, this dispatcher's name,
-- how long its lease is (ms), which step, and what the step takes. Of a file that a
-- dispatcher has, its list holds "KEY STATE PATH"; STATE is "w", nobody has said yet, or
-- what was: "a" allow, "d" deny, "s" skip. Whatever can fail for the type of a key comes
-- before what cannot be undone.

local prefix, me, lease_ms = ARGV[1], ARGV[3], ARGV[4]

local function key_of(name)
    return prefix .. 'PCAPDJ_' .. name
end

local QUEUE = prefix .. ARGV[2]
local NEXT, AUTH, STATE = key_of('NEXT'), key_of('AUTH'), key_of('STATE')
local DENY, SKIP, SUSPEND = key_of('DENY'), key_of('SKIP'), key_of('SUSPEND')
local INSTANCES = key_of('INSTANCES')

-- Of each queue, what has been said of files that are in it once more: by path "KEY STATE".
local function requeued_of(queue)
    return key_of('REQUEUED:') .. queue
end

local REQUEUED = requeued_of(ARGV[2])

local function held_by(instance)
    return key_of('PROCESSING:') .. instance
end

local function lease_of(instance)
    return key_of('LEASE:') .. instance
end

local function is_type(key, wanted)
    return redis.call('TYPE', key).ok == wanted
end

-- "KEY STATE PATH" apart; a path may hold blanks.
local function split(entry)
    return string.match(entry, '^(%S+) (%a) (.*)$')
end

local function entry_with(instance, wanted)
    for index, entry in ipairs(redis.call('LRANGE', held_by(instance), 0, -1)) do
        if split(entry) == wanted then
            return entry, index - 1
        end
    end
    return nil
end

local function others()
    local found = {}
    for _, instance in ipairs(redis.call('HKEYS', INSTANCES)) do
        if instance ~= me then
            found[#found + 1] = instance
        end
    end
    return found
end

-- Of a dispatcher, whether it is "here" or "missed", and its queue.
local function known_of(instance)
    local known = redis.call('HGET', INSTANCES, instance) or ''
    local how, queue = string.match(known, '^(%a+) (.*)$')
    return how or 'here', queue or ARGV[2]
end

-- Puts a file back where it came from; what was said of it is kept.
local function requeue(entry, queue)
    local key, state, path = split(entry)
    redis.call('LPUSH', prefix .. queue, path)
    redis.call('HSET', requeued_of(queue), path, key .. ' ' .. state)
    if state == 'w' then
        redis.call('LREM', NEXT, 1, path)
    end
    return path
end

-- Nothing is left of it. Gives the paths of its files, which are in front of its queue.
local function requeue_all(instance)
    local held, paths = redis.call('LRANGE', held_by(instance), 0, -1), {}
    local _, queue = known_of(instance)
    for index = #held, 1, -1 do
        table.insert(paths, 1, requeue(held[index], queue))
    end
    redis.call('DEL', held_by(instance), lease_of(instance))
    redis.call('HDEL', INSTANCES, instance)
    return paths
end

local step = {}

-- Names every key that has another type than docs/redis.md says: "KEY TYPE WANTED" each.
function step.join()
    local wrong = {}
    local types = {
        { QUEUE, 'list' }, { NEXT, 'list' }, { key_of('PROCESSED'), 'list' },
        { key_of('REFUSED'), 'list' }, { key_of('BROKEN'), 'list' },
        { DENY, 'set' }, { SKIP, 'set' }, { INSTANCES, 'hash' }, { REQUEUED, 'hash' },
        { SUSPEND, 'string' },
    }
    for _, wanted in ipairs(types) do
        local found = redis.call('TYPE', wanted[1]).ok
        if found ~= 'none' and found ~= wanted[2] then
            wrong[#wrong + 1] = wanted[1] .. ' ' .. found .. ' ' .. wanted[2]
        end
    end
    if #wrong > 0 then
        return wrong
    end
    -- Of an earlier run.
    redis.call('DEL', STATE)
    -- What was requeued is in front. Whatever somebody has taken out since, and queues
    -- anew one day, is to be asked for like any other.
    local queued = {}
    for _, path in ipairs(redis.call('LRANGE', QUEUE, 0, 999)) do
        queued[path] = true
    end
    for _, path in ipairs(redis.call('HKEYS', REQUEUED)) do
        if not queued[path] then
            redis.call('HDEL', REQUEUED, path)
        end
    end
    return wrong
end

-- A server that has lost its last second has what we took from the queue there again, in
-- front.
local function forget_queued(path)
    for _, queued in ipairs(redis.call('LRANGE', QUEUE, 0, 15)) do
        if queued == path then
            redis.call('LREM', QUEUE, 1, path)
            return
        end
    end
end

-- ARGV: a number that was not there before, then KEY STATE PATH of each file that we
-- have. Renews the lease. Gives of each what became of it meanwhile: "" nothing, "back"
-- we had lost it, "told" the server had, or "lost NAME".
function step.hold()
    redis.call('SET', lease_of(me), ARGV[6], 'PX', lease_ms)
    redis.call('HSET', INSTANCES, me, 'here ' .. ARGV[2])
    local become = {}
    for at = 7, #ARGV, 3 do
        local key, state, path = ARGV[at], ARGV[at + 1], ARGV[at + 2]
        local outcome = ''
        if not entry_with(me, key) then
            local was = redis.call('HGET', REQUEUED, path)
            outcome = 'told'
            if was and string.match(was, '^%S+') == key then
                redis.call('LREM', QUEUE, 1, path)
                redis.call('HDEL', REQUEUED, path)
                outcome = 'back'
            else
                for _, instance in ipairs(others()) do
                    if entry_with(instance, key) then
                        outcome = 'lost ' .. instance
                    end
                end
            end
            if outcome == 'told' then
                forget_queued(path)
            end
            if string.sub(outcome, 1, 4) ~= 'lost' then
                redis.call('RPUSH', held_by(me), key .. ' ' .. state .. ' ' .. path)
                if state == 'w' then
                    redis.call('LREM', NEXT, 1, path)
                    redis.call('RPUSH', NEXT, path)
                end
            end
        end
        become[#become + 1] = outcome
    end
    return become
end

-- Gives of each other dispatcher its name, its lease ("": it has none), how many files it
-- has, and its queue.
function step.others()
    local found = {}
    for _, instance in ipairs(others()) do
        found[#found + 1] = instance
        found[#found + 1] = redis.call('GET', lease_of(instance)) or ''
        found[#found + 1] = tostring(redis.call('LLEN', held_by(instance)))
        local _, queue = known_of(instance)
        found[#found + 1] = queue
    end
    return found
end

-- ARGV: a key for what is new, then the keys that we know of. Gives the entry of a file,
-- or "".
function step.claim()
    local known = {}
    for at = 7, #ARGV do
        known[ARGV[at]] = true
    end
    for _, entry in ipairs(redis.call('LRANGE', held_by(me), 0, -1)) do
        local key = split(entry)
        if not known[key] then
            -- The answer was lost on its way to us.
            return entry
        end
    end
    local path = redis.call('LINDEX', QUEUE, 0)
    if not path then
        redis.call('DEL', REQUEUED)
        return ''
    end
    -- It may have been said meanwhile, by another that had nothing left.
    redis.call('DEL', STATE)
    local key, state = ARGV[6], 'w'
    local was = redis.call('HGET', REQUEUED, path)
    if was then
        key, state = string.match(was, '^(%S+) (%a)$')
    end
    if state == 'w' then
        redis.call('RPUSH', NEXT, path)
    end
    local entry = key .. ' ' .. state .. ' ' .. path
    redis.call('RPUSH', held_by(me), entry)
    redis.call('LPOP', QUEUE)
    redis.call('HDEL', REQUEUED, path)
    return entry
end

-- Whether the string in AUTH is for another dispatcher, which will find it.
local function is_for_another(path)
    for _, instance in ipairs(others()) do
        for _, entry in ipairs(redis.call('LRANGE', held_by(instance), 0, -1)) do
            local _, state, waiting = split(entry)
            if state == 'w' and waiting == path then
                return true
            end
        end
    end
    return false
end

-- Every word is used up by one file: there is no moment between looking and taking.
local function new_word_on(state, path, form)
    if state == 'w' and redis.call('SREM', DENY, path) == 1 then
        return 'deny'
    end
    if redis.call('SREM', SKIP, path) == 1 then
        return 'skip'
    end
    if state ~= 'w' or not is_type(AUTH, form) then
        return ''
    end
    if form == 'set' and redis.call('SREM', AUTH, path) == 1 then
        return 'allow'
    end
    if form == 'string' and redis.call('GET', AUTH) == path then
        redis.call('DEL', AUTH)
        return 'allow'
    end
    return ''
end

local word_of = { a = 'allow', d = 'deny', s = 'skip' }

local function word_on(key, state, path, form)
    local entry, index = entry_with(me, key)
    if not entry then
        return ''
    end
    local _, known = split(entry)
    if known ~= state then
        -- The answer was lost on its way to us.
        return word_of[known] or ''
    end
    local word = new_word_on(state, path, form)
    if word ~= '' then
        local entry_after = key .. ' ' .. string.sub(word, 1, 1) .. ' ' .. path
        redis.call('LSET', held_by(me), index, entry_after)
    end
    return word
end

-- ARGV: "set" or "string", our process id, then KEY STATE PATH of each. Gives of each the
-- word or ""; before them how many files are queued, "1" where we are suspended, what
-- type AUTH has, and the wrong authorisation that was taken away, if it is a string.
function step.look()
    local form, pid = ARGV[6], ARGV[7]
    local found, waits = {}, false
    for at = 8, #ARGV, 3 do
        local key, state, path = ARGV[at], ARGV[at + 1], ARGV[at + 2]
        local word = word_on(key, state, path, form)
        waits = waits or (state == 'w' and word == '')
        found[#found + 1] = word
    end
    local wrong = ''
    if waits and form == 'string' and is_type(AUTH, 'string') then
        local value = redis.call('GET', AUTH)
        if not is_for_another(value) then
            redis.call('DEL', AUTH)
            wrong = value
        end
    end
    local suspended = redis.call('GET', SUSPEND)
    local is_suspended = suspended and (suspended == pid or suspended == me)
    local type_of_auth = redis.call('TYPE', AUTH).ok
    local queued = tostring(redis.call('LLEN', QUEUE))
    local head = { queued, is_suspended and '1' or '', type_of_auth, wrong }
    for _, word in ipairs(found) do
        head[#head + 1] = word
    end
    return head
end

-- ARGV: how many at most. Gives what AUTH, DENY and SKIP say of files that are neither
-- queued nor anybody's, each after the name of its key. Where there is more of anything
-- than somebody writes by hand nothing is looked at: it would keep the server busy.
function step.stray()
    local limit, known, strays = tonumber(ARGV[6]), {}, {}
    local sets = {}
    for _, set in ipairs({ AUTH, DENY, SKIP }) do
        if is_type(set, 'set') and redis.call('SCARD', set) <= 1000 then
            sets[#sets + 1] = set
        end
    end
    if #sets == 0 or redis.call('LLEN', QUEUE) > 10000 then
        return strays
    end
    for _, path in ipairs(redis.call('LRANGE', QUEUE, 0, -1)) do
        known[path] = true
    end
    local instances = others()
    instances[#instances + 1] = me
    for _, instance in ipairs(instances) do
        for _, entry in ipairs(redis.call('LRANGE', held_by(instance), 0, -1)) do
            local _, _, path = split(entry)
            known[path] = true
        end
    end
    for _, set in ipairs(sets) do
        for _, path in ipairs(redis.call('SMEMBERS', set)) do
            if not known[path] and #strays < 2 * limit then
                strays[#strays + 1] = set
                strays[#strays + 1] = path
            end
        end
    end
    return strays
end

-- ARGV: KEY, then the lists that the path goes to; none: back to the queue. Gives "" or
-- "lost".
function step.done()
    local entry = entry_with(me, ARGV[6])
    if not entry then
        return 'lost'
    end
    local _, _, path = split(entry)
    if #ARGV == 6 then
        requeue(entry, ARGV[2])
    end
    for at = 7, #ARGV do
        redis.call('RPUSH', key_of(ARGV[at]), path)
    end
    redis.call('LREM', held_by(me), 1, entry)
    if ARGV[7] == 'REFUSED' then
        -- Nobody shall allow it any more.
        redis.call('LREM', NEXT, 1, path)
    end
    return ''
end

-- ARGV: names of those who are known to be gone. Their files go back to the queue, and
-- those of whoever has no lease any more: first it is missed, and whoever is well, and
-- only could not reach the server for a while, has as long again to come back. Gives name
-- and path of each.
function step.sweep()
    local swept, is_gone = {}, {}
    for at = 6, #ARGV do
        is_gone[ARGV[at]] = true
    end
    for _, instance in ipairs(others()) do
        local has_lease = redis.call('EXISTS', lease_of(instance)) == 1
        if is_gone[instance] or not has_lease then
            local how, queue = known_of(instance)
            if is_gone[instance] or how == 'missed' then
                for _, path in ipairs(requeue_all(instance)) do
                    swept[#swept + 1] = instance
                    swept[#swept + 1] = path
                end
            else
                redis.call('SET', lease_of(instance), '', 'PX', lease_ms)
                redis.call('HSET', INSTANCES, instance, 'missed ' .. queue)
            end
        end
    end
    return swept
end

-- Who leaves an empty queue says so, as pcapdj does, unless another still has a file.
-- Gives what was put back.
function step.leave()
    local paths = requeue_all(me)
    local left = redis.call('LLEN', QUEUE)
    for _, instance in ipairs(others()) do
        left = left + redis.call('LLEN', held_by(instance))
    end
    if left == 0 then
        redis.call('SET', STATE, 'DONE')
        redis.call('DEL', NEXT)
    end
    return paths
end

return step[ARGV[5]]()
