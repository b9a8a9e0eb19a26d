"""The journal of a fleet in Redis (or Valkey): one bulk send on many machines.

``redis`` is imported with the first journal that is made, not with this module.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import secrets
import zlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from wxmp._beijing import AHEAD, DAY
from wxmp._log import log_fields
from wxmp._redis import RedisScripts, Script
from wxmp.broadcast.journal import EVENT_EARLY, EVENT_LIFE, Allowance, Claim, Doubt, Journal, batch
from wxmp.broadcast.records import Outcome, Result
from wxmp.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from redis.asyncio import ConnectionPool, Redis, RedisCluster

    from wxmp._redis import Argument, Row
    from wxmp.broadcast.records import RunKey

__all__ = ["RedisJournal"]

logger: logging.Logger = logging.getLogger("wxmp.broadcast")

T = TypeVar("T")

#: Hashes over which the recipients of a run are spread. Up to 512 short fields Redis packs a hash: half the memory.
BUCKETS: Final = 8192
#: Names in one question; keys in one call that keeps them alive.
NAMES: Final = 500
#: Recipients that one answer of :meth:`RedisJournal.results` should have, at least and at most.
ROWS: Final = (500, 2000)
#: Most hashes that one such answer looks into.
BUCKETS_AT_ONCE: Final = 512
#: A run is forgotten this many seconds after it was last worked on.
KEEP: Final = 30 * 86_400.0
KEEP_MIN: Final = 86_400.0
KEEP_MAX: Final = 3650 * 86_400.0
#: What belongs to a run outlives the run itself by this, in milliseconds: a run that is there is there as a whole.
SLACK: Final = 86_400_000
#: Events of a message are looked for in the runs that were worked on in this many milliseconds.
ACTIVE: Final = 2 * 86_400_000
#: Different error texts of one run, and the characters of each.
TEXTS: Final = 1000
TEXT_CHARS: Final = 200
#: Events that are kept for one recipient in flight.
EVENTS: Final = 8
#: Shortest wait that is recommended, in milliseconds.
WAIT_MIN: Final = 1
#: Longest number of a message, as text.
MSG_CHARS: Final = 20
#: Longest lease, in seconds.
LEASE_MAX: Final = 86_400.0

#: No braces: they mark what decides about the slot in a cluster.
_APPID: Final = re.compile(r"[!-z|~]{1,64}")
_OWNER: Final = re.compile(r"[!-~]{1,64}")

_LETTERS: Final = {
    Outcome.ACCEPTED: "a",
    Outcome.DELIVERED: "d",
    Outcome.BLOCKED: "b",
    Outcome.FAILED: "f",
    Outcome.REFUSED: "r",
    Outcome.SKIPPED: "s",
    Outcome.UNKNOWN: "u",
    Outcome.PLANNED: "p",
}
_OUTCOMES: Final = {letter: outcome for outcome, letter in _LETTERS.items()}

# The scripts are constants: values come in through KEYS and ARGV only. Every key that is touched is among KEYS.

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# A run whose data was lost, and was begun anew by somebody else, is another run.
_GUARD: Final = """
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'gone'} end
"""

# Nothing may fail once something was written: a key of another type is found out before.
_WRITES: Final = """
for i = 2, #KEYS do
  if i ~= @INDEX@ then redis.call('HLEN', KEYS[i]) end
end
local left = redis.call('PTTL', KEYS[1])
local keep = tonumber(ARGV[2])
if left < 0 then left = keep; redis.call('PEXPIRE', KEYS[1], keep) end
local function freshen(key)
  if redis.call('PTTL', key) < left + @SLACK@ / 2 then redis.call('PEXPIRE', key, math.max(keep, left) + @SLACK@) end
end
local function whole(value) return string.format('%.0f', value) end
"""

# KEYS: run, index; then perhaps what is in flight. ARGV: new id, what, keep, name; then the id that this belongs to.
_BEGIN: Final = Script.of(
    _NOW
    + """
local keep = tonumber(ARGV[3])
redis.call('ZCARD', KEYS[2])
local row = redis.call('HMGET', KEYS[1], 'id', 'what')
local empty = KEYS[3] and row[1] == ARGV[5] and redis.call('HLEN', KEYS[3]) == 0
if row[1] and row[2] ~= ARGV[2] and empty then
  local flat = redis.call('HGETALL', KEYS[1])
  for i = 1, #flat, 2 do
    if string.sub(flat[i], 1, 2) == 'n:' and flat[i + 1] ~= '0' then empty = false end
  end
  -- nobody was sent to: it becomes another run, and whoever began it before finds it gone
  if empty then row = {} end
end
if row[1] then
  return {row[2] == ARGV[2] and 'ok' or 'other', row[1], redis.call('PTTL', KEYS[1]) < keep * 0.9 and 1 or 0}
end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'what', ARGV[2], 'name', ARGV[4], 'at', math.floor(now / 1000))
redis.call('PEXPIRE', KEYS[1], keep)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - keep)
return {'ok', ARGV[1], 0}
"""
)

_FIND: Final = Script.of("return {redis.call('HGET', KEYS[1], 'id') or ''}")

# KEYS: run, then any. ARGV: id, milliseconds; milliseconds of the run itself, or 0.
_EXTEND: Final = Script.of(
    _GUARD
    + """
for i = 2, #KEYS do
  if redis.call('PTTL', KEYS[i]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
end
if ARGV[3] ~= '0' and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {'ok'}
"""
)

# KEYS: run, in flight, then the bucket of each recipient. ARGV: id, recipients. One text is read faster than numbers.
_KNOWN: Final = Script.of(
    _GUARD
    + """
local flying, states = {}, {}
for _, openid in ipairs(redis.call('HKEYS', KEYS[2])) do flying[openid] = '1' end
for i = 2, #ARGV do
  states[i - 1] = redis.call('HEXISTS', KEYS[i + 1], ARGV[i]) == 1 and '2' or flying[ARGV[i]] or '0'
end
return {'ok', table.concat(states)}
"""
)

# KEYS: run, in flight, owners, events, texts, index, buckets.
_EXCHANGE: Final = Script.of(
    _NOW
    + _GUARD
    + _WRITES
    + """
local flight, owners, events, texts, index = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local owner, lease, call, member = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local results, releases, claims = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
redis.call('ZCARD', index)
local place, change = 10, {}
local function count(letter, by) change[letter] = (change[letter] or 0) + by end

if lease > 0 then
  redis.call('HSET', owners, owner, whole(now + lease) .. ' ' .. whole(lease))
  freshen(owners)
else
  -- its farewell: whoever is not there was dead for long
  redis.call('HDEL', owners, owner)
end
redis.call('ZADD', index, now, member)
freshen(index)

local function number_of(text)
  if text == '' then return '0' end
  local number = redis.call('HGET', texts, text)
  if number then return number end
  number = redis.call('HLEN', texts) + 1
  if number > @TEXTS@ then return '0' end
  redis.call('HSET', texts, text, number)
  freshen(texts)
  return whole(number)
end

for _ = 1, results do
  local bucket, openid, letter, msg = KEYS[tonumber(ARGV[place])], ARGV[place + 1], ARGV[place + 2], ARGV[place + 3]
  local code, text = ARGV[place + 4], ARGV[place + 5]
  place = place + 6
  local old, row = redis.call('HGET', bucket, openid), redis.call('HGET', flight, openid)
  local was = old and string.sub(old, 1, 1)
  if not old or (letter == 'a' and (was == 'u' or was == 'r' or was == 's')) then
    local first, at = row and tonumber(string.match(row, '^%S+ (%d+)')) or now, math.floor(now / 1000)
    local kept = row and redis.call('HGET', events, openid)
    if kept then
      for told, ended, when in string.gmatch(kept, '(%S+) (%l) (%d+);') do
        local ms = when * 1000
        if letter == 'a' and told == msg or
           letter == 'u' and ms >= first - @EARLY@ and ms < first + @LIFE@ then
          letter, at, msg = ended, tonumber(when), told
          break
        end
      end
      redis.call('HDEL', events, openid)
    end
    local value = letter .. ' ' .. msg .. ' ' .. whole(at)
    if letter == 'u' then value = value .. ' ' .. code .. ' ' .. number_of(text) .. ' ' .. whole(first)
    elseif code ~= '0' or text ~= '' then value = value .. ' ' .. code .. ' ' .. number_of(text) end
    redis.call('HSET', bucket, openid, value)
    freshen(bucket)
    if row then redis.call('HDEL', flight, openid) end
    if was then count(was, -1) end
    count(letter, 1)
  end
end

for i = place, place + releases - 1 do
  local row = redis.call('HGET', flight, ARGV[i])
  if row and string.match(row, '^(%S+) ') == owner then
    redis.call('HDEL', flight, ARGV[i])
    redis.call('HDEL', events, ARGV[i])
  end
end
place = place + releases

local answer, seen = {'ok', left < keep * 0.9 and 1 or 0}, {}
for i = place, place + 2 * claims - 2, 2 do
  local bucket, openid, mine = KEYS[tonumber(ARGV[i])], ARGV[i + 1], 0
  if not seen[openid] and redis.call('HEXISTS', bucket, openid) == 0 then
    local row = redis.call('HGET', flight, openid)
    if not row then
      redis.call('HSET', flight, openid, owner .. ' ' .. whole(now) .. ' ' .. call)
      mine = 1
    elseif string.match(row, ' (%x+)$') == call then
      mine = 1  -- this very call was carried out before, only its answer was lost
    end
  end
  seen[openid] = true
  answer[#answer + 1] = mine
end
freshen(flight)
for letter, by in pairs(change) do
  if by ~= 0 then redis.call('HINCRBY', KEYS[1], 'n:' .. letter, by) end
end
return answer
""",
    INDEX=6,
    SLACK=SLACK,
    TEXTS=TEXTS,
    EARLY=round(EVENT_EARLY * 1000),
    LIFE=round(EVENT_LIFE * 1000),
)

# KEYS: run, in flight, owners.
_TAKE_OVER: Final = Script.of(
    _NOW
    + _GUARD
    + _WRITES
    + """
local flight, owners = KEYS[2], KEYS[3]
local owner, lease, call, limit, named = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'
redis.call('HSET', owners, owner, whole(now + lease) .. ' ' .. whole(lease))
freshen(owners)

local flat, dead = redis.call('HGETALL', owners), {}
for i = 1, #flat, 2 do
  local ends, length = string.match(flat[i + 1], '^(%d+) (%d+)$')
  local rest = ends and ends - now or 0
  if ends and rest > tonumber(length) then
    -- the clock stepped back; from here on the lease runs as long as it was given for
    rest = tonumber(length)
    redis.call('HSET', owners, flat[i], whole(now + rest) .. ' ' .. length)
  end
  dead[flat[i]] = rest <= 0
end

local answer, busy = {'ok'}, {}
local function look(openid, row)
  local of, first, by = string.match(row, '^(%S+) (%d+) (%x+)$')
  if #answer > 2 * limit or not (by == call or of ~= owner and dead[of] ~= false) then
    busy[of or ''] = true
    return
  end
  redis.call('HSET', flight, openid, owner .. ' ' .. (first or '0') .. ' ' .. call)
  local age = now - (first or 0)
  answer[#answer + 1] = openid
  answer[#answer + 1] = age < 0 and -1 or whole(age)
end
if named then
  for i = 8, #ARGV do
    local row = redis.call('HGET', flight, ARGV[i])
    if row then look(ARGV[i], row) end
  end
else
  local rows = redis.call('HGETALL', flight)
  for i = 1, #rows, 2 do look(rows[i], rows[i + 1]) end
  for name, ended in pairs(dead) do
    if ended and not busy[name] then redis.call('HDEL', owners, name) end
  end
end
return answer
""",
    INDEX=0,
    SLACK=SLACK,
)

# KEYS: run, in flight, owners. An owner that is not there was dead for long.
_OTHERS: Final = Script.of(
    _NOW
    + _GUARD
    + """
local least = nil
for _, row in ipairs(redis.call('HVALS', KEYS[2])) do
  local of = string.match(row, '^(%S+) ') or ''
  if of ~= ARGV[2] then
    local ends, length = string.match(redis.call('HGET', KEYS[3], of) or '', '^(%d+) (%d+)$')
    local rest = ends and math.max(math.min(ends - now, tonumber(length)), 0) or 0
    if not least or rest < least then least = rest end
  end
end
return {'ok', least or -1}
"""
)

# KEYS: the allowance. ARGV: wanted; per second or ''; the batch; per day or ''.
_ALLOW: Final = Script.of(
    """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local row = redis.call('HMGET', KEYS[1], 'level', 'at', 'day', 'used')
local function number(i)
  local value = tonumber(row[i] or '')
  if value and value >= 0 and value < 1e15 then return value end
end
local level, at, day, used = number(1) or 1, number(2) or now, number(3) or 0, number(4) or 0
local today = math.floor((now + @BEIJING@) / @DAY@)
-- tomorrow: the clock was set back over midnight, and the day goes on
if day ~= today and day ~= today + 1 then day, used = today, 0 end
local wanted, rate, most, per_day = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local granted, wait, over = wanted, 0, 0
if rate then
  level, at = math.min(level + math.max(now - at, 0) * rate, most), now
  granted = math.min(granted, math.floor(level + 1e-6))
  if granted < 1 then
    local worth = math.max(1, math.min(wanted, math.floor(most)))
    wait = math.max(math.ceil((worth - level) / rate * 1000), @WAIT_MIN@)
  end
end
if per_day and used + granted > per_day then
  granted = math.max(per_day - used, 0)
  if granted < 1 then
    over, wait = 1, math.ceil(((today + 1) * @DAY@ - @BEIJING@ - now) * 1000)
  end
end
if rate then level = math.max(level - granted, 0) end
redis.call('HSET', KEYS[1], 'level', string.format('%.9f', level), 'at', string.format('%.6f', at),
           'day', string.format('%.0f', day), 'used', string.format('%.0f', used + granted))
redis.call('PEXPIRE', KEYS[1], 3 * @DAY@ * 1000)
return {granted, wait, over}
""",
    DAY=DAY,
    BEIJING=AHEAD,
    WAIT_MIN=WAIT_MIN,
)

# KEYS: index, then for each run: itself, in flight, events, the recipient's bucket. ARGV: keep; openid; number; letter;
# at; then for each run: its name in the index.
_SETTLE: Final = Script.of(
    _NOW
    + """
local openid, msg, letter, at = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local place, runs = {}, {}
for i = 6, #ARGV do place[ARGV[i]] = 2 + 4 * (i - 6) end
local active = redis.call('ZRANGEBYSCORE', KEYS[1], now - @ACTIVE@, '+inf')
for _, member in ipairs(active) do
  local i = place[member]
  if not i then
    table.insert(active, 1, 'runs')
    return active
  end
  if redis.call('HGET', KEYS[i], 'id') == string.match(member, '%.(%x+)$') then
    runs[#runs + 1] = {KEYS[i], KEYS[i + 1], KEYS[i + 2], KEYS[i + 3], redis.call('HGET', KEYS[i + 3], openid)}
  end
end
local function settle(run)
  local was, code, text = string.match(run[5], '^(%l) %S+ %d+ (%-?%d+) (%d+)')
  was = was or string.sub(run[5], 1, 1)
  local value = letter .. ' ' .. msg .. ' ' .. ARGV[5]
  if code then value = value .. ' ' .. code .. ' ' .. text end
  redis.call('HSET', run[4], openid, value)
  if was ~= letter then
    redis.call('HINCRBY', run[1], 'n:' .. was, -1)
    redis.call('HINCRBY', run[1], 'n:' .. letter, 1)
  end
  return {'yes'}
end

local lost, latest = nil, -1
for _, run in ipairs(runs) do
  if run[5] then
    if msg ~= '-' and string.match(run[5], '^%l (%S+) ') == msg then return settle(run) end
    local first = tonumber(string.match(run[5], '^u %S+ %d+ %-?%d+ %d+ (%d+)$'))
    if first and first <= at * 1000 + @EARLY@ and first > at * 1000 - @LIFE@ and first > latest then
      lost, latest = run, first
    end
  end
end
local kept = false
for _, run in ipairs(runs) do
  if redis.call('HEXISTS', run[2], openid) == 1 then
    kept = true
    local events = redis.call('HGET', run[3], openid) or ''
    local entry = msg .. ' ' .. letter .. ' ' .. ARGV[5] .. ';'
    local _, entries = string.gsub(events, ';', '')
    if entries < @EVENTS@ and not string.find(';' .. events, ';' .. msg .. ' ', 1, true) then
      redis.call('HSET', run[3], openid, events .. entry)
      local left = redis.call('PTTL', run[1]) + @SLACK@
      if redis.call('PTTL', run[3]) < left then redis.call('PEXPIRE', run[3], left) end
    end
  end
end
if kept then return {'yes'} end
if lost then return settle(lost) end
return {'no'}
""",
    ACTIVE=ACTIVE,
    EVENTS=EVENTS,
    SLACK=SLACK,
    EARLY=round(EVENT_EARLY * 1000),
    LIFE=round(EVENT_LIFE * 1000),
)

_COUNTS: Final = Script.of(
    _GUARD
    + """
return {'ok', redis.call('HLEN', KEYS[2]), redis.call('HGETALL', KEYS[1])}
"""
)

_TEXTS: Final = Script.of(_GUARD + "return {'ok', redis.call('HGETALL', KEYS[2])}")

# KEYS: run, buckets. ARGV: id, letter or ''.
_RESULTS: Final = Script.of(
    _GUARD
    + """
local answer, letter = {'ok'}, ARGV[2]
for i = 2, #KEYS do
  local flat = redis.call('HGETALL', KEYS[i])
  for j = 1, #flat, 2 do
    if letter == '' or string.sub(flat[j + 1], 1, 1) == letter then
      answer[#answer + 1] = flat[j]
      answer[#answer + 1] = flat[j + 1]
    end
  end
end
return answer
"""
)


class RedisJournal(Journal):
    """A journal in Redis 5 or newer, or Valkey (发送记录): one bulk send on many machines.

    Every verb is one Lua script in one round trip, so it is atomic, works in a cluster (all keys of an AppID are in one
    slot) and goes by the server's clock. (:meth:`results` asks page by page; a run that is worked on has its keys kept
    alive by 17 more calls every few days; ``known`` asks for 500 at a time.)

    Keys, for people and for programs in other languages. ``RUN`` is a digest of the run's name, ``ID`` tells apart what
    was begun anew after data was lost. Times are milliseconds since 1970 on the server's clock, in recipients seconds:

    ================================ ===================================================================================
    ``prefix:send:{appid}:RUN``      the run: ``id``, ``name``, ``what`` it sends, when it began, ``n:…`` how many ended
                                     how
    ``…:RUN.ID:0`` to ``8191``       settled recipients by openid: outcome (its first letter), number, time; error code,
                                     number of the error text; for ``unknown`` the time of the first claim
    ``…:RUN.ID:flight``              recipients in flight by openid: owner, first claim, random id of the claiming call
    ``…:RUN.ID:owners``              ends of the leases and their lengths
    ``…:RUN.ID:events``              events that came before their results, by openid
    ``…:RUN.ID:texts``               error texts and their numbers
    ``prefix:send:{appid}:runs``     when each run was last worked on
    ``prefix:send:{appid}:pace``     token bucket, and messages of the day
    ================================ ===================================================================================

    Fields hold openids, for that is what a journal is about; names of keys, logs and errors hold none. No token and no
    content of a message is in it. A recipient takes about 70 bytes (measured: 66 MB for 1,000,000), beyond
    4,000,000 in one run about twice as much.

    A run is forgotten ``keep`` after it was last worked on, as a whole. The server has to keep what it is told:
    ``maxmemory-policy noeviction`` (an evicted recipient is sent to again), and ``appendonly yes``, or a crash of the
    server takes the last claims and results with it; within ten minutes the platform's own de-duplication still holds.
    A run whose data is gone fails with ``JournalError``; it does not begin anew by itself.

    The minimal rule for an ACL user, with the default prefix::

        ACL SETUSER wxmp on >password resetkeys ~wxmp:send:* nocommands
            +eval +evalsha +time +hget +hset +hdel +hmget +hlen +hexists +hkeys +hvals +hgetall +hincrby +pexpire +pttl
            +zadd +zcard +zrangebyscore +zremrangebyscore

    A journal may be used from several event loops and threads, after a fork, and again after :meth:`aclose`.
    """

    name = "redis"

    def __init__(
        self,
        source: str | Redis | ConnectionPool | RedisCluster,
        *,
        prefix: str = "wxmp",
        keep: float = KEEP,
        timeout: float = 5.0,
    ) -> None:
        """Connect with the first verb, not here.

        Args:
            source: A ``redis://``, ``rediss://`` or ``unix://`` URL, or a ``redis.asyncio`` client or pool. Of a
                client or pool the settings are used: the journal opens connections of its own, one set per event loop,
                and closes only those. A ``RedisCluster`` client is used itself, in the event loop it belongs to.
            prefix: First part of the keys: 1 to 64 letters, digits, ``_`` and ``-``.
            keep: Seconds after its last piece of work at which a run is forgotten: a day to ten years.
            timeout: Seconds for one round trip, connecting and everything else included.

        Raises:
            ConfigError: The URL, the prefix, the time to keep or the timeout cannot work.
        """
        if not KEEP_MIN <= keep <= KEEP_MAX:
            raise ConfigError("keep must be a day (86,400 seconds) to ten years", field="keep")
        self._keep = round(keep * 1000)
        self._redis = RedisScripts(
            source,
            prefix=prefix,
            timeout=timeout,
            owner="RedisJournal",
            fails=partial(JournalError, journal=self.name),
        )
        #: The runs that were begun here. Whoever sends must not slip into one that somebody else began anew.
        self._begun: dict[RunKey, str] = {}
        #: The runs of an AppID that were last known to be active.
        self._active: dict[str, tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"RedisJournal({self._redis.where!r}, prefix={self._redis.prefix!r})"

    async def aclose(self) -> None:
        """Close the connections that the journal opened. It may be used again afterwards."""
        await self._redis.aclose()

    # ---- the verbs

    async def begin(self, run: RunKey, *, fingerprint: str) -> None:
        """See :meth:`Journal.begin`."""
        keys = [self._run(run), self._account(run.appid, "runs")]
        args: list[Argument] = [secrets.token_hex(4), _bytes(fingerprint), self._keep, _bytes(run.name)]
        read: Callable[[Row], tuple[str, str, int]] = lambda row: (row.text(0), row.text(1), row.number(2))  # noqa: E731
        state, number, old = await self._redis.run(_BEGIN, keys, args, read=read)
        if state != "ok":  # perhaps it was sent to nobody
            keys.append(f"{keys[0]}.{number}:flight")
            state, number, old = await self._redis.run(_BEGIN, keys, [*args, number], read=read)
        if state != "ok":
            raise ConfigError("name belongs to a run that sends something else; choose another one", field="name")
        if old:
            await self._extend(run, number)
        self._begun[run] = number

    async def known(self, run: RunKey, openids: Sequence[str]) -> Mapping[str, bool]:
        """See :meth:`Journal.known`."""
        found: dict[str, bool] = {}
        for start in range(0, len(openids), NAMES):
            part = openids[start : start + NAMES]
            keys = _Keys("flight", *(str(_bucket(openid)) for openid in part))
            states = await self._ask(_KNOWN, run, keys, list(map(_bytes, part)), read=lambda row: row.text(1))
            if states is None:
                return {}
            if len(states) != len(part):
                raise self._gone()
            found |= {openid: state == "2" for openid, state in zip(part, states, strict=True) if state != "0"}
        return found

    async def exchange(
        self,
        run: RunKey,
        *,
        owner: str,
        lease: float,
        claims: Sequence[str] = (),
        results: Sequence[Result] = (),
        releases: Sequence[str] = (),
    ) -> tuple[Claim, ...]:
        """See :meth:`Journal.exchange`."""
        keys = _Keys("flight", "owners", "events", "texts")
        keys.add_account(self._account(run.appid, "runs"))
        rows: list[Argument] = []
        for result in results:
            rows += [
                *(keys.place(result.openid), _bytes(result.openid), _LETTERS[result.outcome], _msg(result.msg_id)),
                *(str(result.errcode), _bytes(result.errmsg[:TEXT_CHARS], lossy=True)),
            ]
        rows += [_bytes(openid) for openid in releases]
        for openid in claims:
            rows += [keys.place(openid), _bytes(openid)]
        number = self._number(run)
        args: list[Argument] = [
            *(self._keep, _owner(owner), _milliseconds(lease), secrets.token_hex(8), f"{_digest(run)}.{number}"),
            *(len(results), len(releases), len(claims), *rows),
        ]
        answer = await self._ask(_EXCHANGE, run, keys, args, read=_numbers)
        if answer is None or len(answer) != 1 + len(claims):
            raise self._gone()
        if answer[0]:
            try:
                await self._extend(run, number)
            except JournalError as error:  # the exchange itself was done; the next one tries again
                logger.warning(
                    "%s: its keys could not be kept for longer: %s",
                    run.name,
                    error,
                    extra=log_fields("journal_failed", appid=run.appid, run=run.name, error=type(error).__name__),
                )
        return tuple(Claim(openid, mine=mine == 1) for openid, mine in zip(claims, answer[1:], strict=True))

    async def take_over(
        self, run: RunKey, *, owner: str, lease: float, openids: Sequence[str] | None, limit: int
    ) -> tuple[Doubt, ...]:
        """See :meth:`Journal.take_over`."""
        self._number(run)
        args: list[Argument] = [
            *(self._keep, _owner(owner), _milliseconds(lease), secrets.token_hex(8), max(limit, 0)),
            "0" if openids is None else "1",
            *(_bytes(openid) for openid in dict.fromkeys(openids or ())),
        ]
        doubts = await self._ask(_TAKE_OVER, run, _Keys("flight", "owners"), args, read=_doubts)
        if doubts is None:
            raise self._gone()
        return doubts

    async def others(self, run: RunKey, *, owner: str) -> float | None:
        """See :meth:`Journal.others`."""
        keys = _Keys("flight", "owners")
        wait = await self._ask(_OTHERS, run, keys, [_owner(owner)], read=lambda row: row.number(1))
        return None if wait is None or wait < 0 else wait / 1000

    async def allow(self, appid: str, *, wanted: int, per_second: float | None, per_day: int | None) -> Allowance:
        """See :meth:`Journal.allow`."""
        args: list[Argument] = [
            max(wanted, 0),
            *(("", "") if per_second is None else (repr(float(per_second)), repr(batch(per_second)))),
            "" if per_day is None else str(per_day),
        ]
        return await self._redis.run(_ALLOW, [self._account(appid, "pace")], args, read=_allowance)

    async def settle(self, appid: str, *, openid: str, msg_id: int | None, outcome: Outcome, at: float) -> bool:
        """See :meth:`Journal.settle`."""
        index = self._account(appid, "runs")
        account = index.removesuffix("runs")
        told: list[Argument] = [self._keep, _bytes(openid), _msg(msg_id), _LETTERS[outcome], str(int(at))]
        while True:
            members = self._active.get(appid, ())
            keys = [index]
            for member in members:
                place = f"{account}{member}"
                keys += [f"{account}{member.partition('.')[0]}", f"{place}:flight", f"{place}:events"]
                keys.append(f"{place}:{_bucket(openid)}")
            answer = await self._redis.run(_SETTLE, keys, [*told, *members], read=_texts)
            if answer[0] != "runs":
                return answer[0] == "yes"
            self._active[appid] = answer[1:]

    async def counts(self, run: RunKey) -> Mapping[Outcome | None, int]:
        """See :meth:`Journal.counts`."""
        return await self._ask(_COUNTS, run, _Keys("flight"), [], read=_counts) or {}

    async def results(self, run: RunKey, *, outcome: Outcome | None = None) -> AsyncIterator[Result]:
        """Iterate in no particular order; see :meth:`Journal.results`."""
        letter = "" if outcome is None else _LETTERS[outcome]
        texts: dict[int, str] = {}
        first, width = 0, 8
        while first < BUCKETS:
            keys = _Keys()
            for bucket in range(first, min(first + width, BUCKETS)):
                keys.add_bucket(bucket)
            rows = await self._ask(_RESULTS, run, keys, [letter], read=_settled)
            if rows is None:
                return
            first += width
            least, most = ROWS
            if len(rows) < least:
                width = min(2 * width, BUCKETS_AT_ONCE)
            elif len(rows) > most:
                width = max(width // 2, 1)
            for openid, value in rows:
                result, text = self._read(run, openid, value)
                if text and text not in texts:
                    texts = {text: ""} | (await self._ask(_TEXTS, run, _Keys("texts"), [], read=_by_number) or {})
                yield attrs.evolve(result, errmsg=texts[text]) if text else result

    # ---- how a verb gets to the server

    async def _ask(
        self, script: Script, run: RunKey, keys: _Keys, args: Sequence[Argument], *, read: Callable[[Row], T]
    ) -> T | None:
        """Run a script on a run; ``None``: there is none, and it was not begun here."""
        begun = number = self._begun.get(run)
        if number is None:
            number = await self._redis.run(_FIND, [self._run(run)], read=lambda row: row.text(0))
            if not number:
                return None
        answer = await self._redis.run(
            script, keys.of(self._run(run), number), [number, *args], read=partial(_unless_gone, read)
        )
        if answer is None and begun is not None:
            raise self._gone()
        return None if answer is None else answer[0]

    async def _extend(self, run: RunKey, number: str) -> None:
        """Let everything that belongs to a run live for the full time again; the run itself last."""
        base = f"{self._run(run)}.{number}"
        names = ["flight", "owners", "events", "texts", *map(str, range(BUCKETS))]
        for start in range(0, len(names), NAMES):
            keys = [self._run(run), *(f"{base}:{name}" for name in names[start : start + NAMES])]
            last = self._keep if start + NAMES >= len(names) else 0
            await self._redis.run(_EXTEND, keys, [number, self._keep + SLACK, str(last)], read=_texts)

    def _number(self, run: RunKey) -> str:
        number = self._begun.get(run)
        if number is None:
            raise JournalError("this run was not begun", journal=self.name)
        return number

    def _gone(self) -> JournalError:
        return JournalError(
            f"{self._redis.where}: the run is not there any more: the server has lost its data, or it was forgotten",
            journal=self.name,
        )

    def _account(self, appid: str, name: str) -> str:
        if _APPID.fullmatch(appid) is None:
            raise ConfigError("appid must be 1 to 64 printable ASCII characters without braces", field="appid")
        return f"{self._redis.prefix}:send:{{{appid}}}:{name}"

    def _run(self, run: RunKey) -> str:
        return self._account(run.appid, _digest(run))

    def _read(self, run: RunKey, openid: str, value: str) -> tuple[Result, int]:
        """Return what stands in a bucket, and the number of its error text."""
        try:
            letter, msg, at, *rest = value.split(" ")
            code, text, *_ = (*map(int, rest), 0, 0)
            result = Result(
                openid,
                _OUTCOMES[letter],
                None if msg == "-" else int(msg),
                run.client_msg_id(openid),
                code,
                "",
                datetime.fromtimestamp(int(at), UTC),
            )
        except (ValueError, KeyError, OverflowError, OSError):
            raise JournalError(f"{self._redis.where}: a recipient's record is broken", journal=self.name) from None
        return result, text


class _Keys:
    """The keys of one call, each named once: the run, its parts, and the buckets of recipients."""

    def __init__(self, *parts: str) -> None:
        self._parts = list(parts)
        self._buckets: dict[int, int] = {}
        #: A key of the account that stands behind the parts named first.
        self._account: tuple[int, str] | None = None

    def add_account(self, key: str) -> None:
        self._account = (len(self._parts), key)
        self._parts.append("")

    def add_bucket(self, bucket: int) -> int:
        """Return where the key stands among the script's KEYS."""
        place = self._buckets.get(bucket)
        if place is None:
            self._parts.append(str(bucket))
            place = self._buckets[bucket] = len(self._parts) + 1
        return place

    def place(self, openid: str) -> int:
        return self.add_bucket(_bucket(openid))

    def of(self, run: str, number: str) -> list[str]:
        keys = [run, *(f"{run}.{number}:{part}" for part in self._parts)]
        if self._account is not None:
            keys[1 + self._account[0]] = self._account[1]
        return keys


def _digest(run: RunKey) -> str:
    return hashlib.sha256(_bytes(run.name)).hexdigest()[:16]


def _bucket(openid: str) -> int:
    return zlib.crc32(_bytes(openid)) % BUCKETS


def _bytes(text: str, *, lossy: bool = False) -> bytes:
    """Return ``text`` as what shows in no error."""
    try:
        return text.encode("utf-8", "replace" if lossy else "strict")
    except UnicodeEncodeError:
        pass
    raise ConfigError("an openid is not text that can be written down", field="openid")


def _msg(msg_id: int | None) -> str:
    text = "-" if msg_id is None else str(msg_id)
    return text if len(text) <= MSG_CHARS else "-"


def _owner(owner: str) -> str:
    if _OWNER.fullmatch(owner) is None:
        raise ConfigError("owner must be 1 to 64 printable ASCII characters without spaces", field="owner")
    return owner


def _milliseconds(lease: float) -> int:
    if not 0 <= lease <= LEASE_MAX:
        raise ConfigError(f"lease must be 0 to {LEASE_MAX:g} seconds", field="lease")
    return math.ceil(lease * 1000)


def _unless_gone(read: Callable[[Row], T], row: Row) -> tuple[T] | None:
    return None if row.text(0) == "gone" else (read(row),)


def _numbers(row: Row) -> tuple[int, ...]:
    return tuple(row.number(place) for place in range(1, len(row)))


def _texts(row: Row) -> tuple[str, ...]:
    return tuple(row.text(place) for place in range(len(row)))


def _doubts(row: Row) -> tuple[Doubt, ...]:
    ages = [(row.text(place), row.number(place + 1)) for place in range(1, len(row), 2)]
    return tuple(Doubt(openid, age / 1000 if age >= 0 else math.inf) for openid, age in ages)


def _allowance(row: Row) -> Allowance:
    return Allowance(row.number(0), row.number(1) / 1000, day_is_over=row.number(2) == 1)


def _settled(row: Row) -> list[tuple[str, str]]:
    return [(row.text(place), row.text(place + 1)) for place in range(1, len(row), 2)]


def _counts(row: Row) -> dict[Outcome | None, int]:
    counts: dict[Outcome | None, int] = {None: row.number(1)}
    fields = row.row(2)
    for place in range(0, len(fields), 2):
        kind, _, letter = fields.text(place).partition(":")
        if kind == "n" and letter in _OUTCOMES:
            counts[_OUTCOMES[letter]] = fields.number(place + 1)
    return {outcome: count for outcome, count in counts.items() if count}


def _by_number(row: Row) -> dict[int, str]:
    fields = row.row(1)
    return {fields.number(place + 1): fields.text(place) for place in range(0, len(fields), 2)}
