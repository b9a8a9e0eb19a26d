"""Activity of a whole fleet in Redis or Valkey (用户互动记录): every verb is one script, one round trip."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from wxmp._redis import OddAnswerError, RedisScripts, Row, Script
from wxmp.errors import ConfigError, WebhookStoreError
from wxmp.webhook.activity import (
    ALLOWANCES_2023,
    CLOSED,
    DAY,
    MAX_MENU_KEYS,
    MENU_TTL,
    MOMENTS,
    OPENID_MAX,
    OUTCOMES,
    PAID,
    USER_TTL,
    ActivityLog,
    check_allowances,
    check_count,
    check_outcome,
    check_seconds,
    menu_activity,
    menu_key,
    moments_of,
    most_kept,
    most_tapped_first,
    tidy_key,
    user_activity,
    window_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import ConnectionPool, Redis, RedisCluster

    from wxmp.webhook.activity import (
        ActivityPush,
        Allowance,
        CustomWindow,
        MenuKeyActivity,
        Moment,
        Outcome,
        Trigger,
        UserActivity,
    )

__all__ = ["RedisActivityLog"]

MS: Final = 1000
#: A stored time that lies further ahead than this many seconds is none of ours.
AHEAD_MAX: Final = DAY
#: Longest list of sent messages that is read back: 14 characters for each.
SENT_TEXT_MAX: Final = 16_384
#: Buttons that one tap removes at most, when there are too many or some have expired.
SWEEP: Final = 16

_APPID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")
_BUTTON: Final = re.compile(rb"[0-9]{1,15}(?: [0-9]{1,15}){%d}" % (len(OUTCOMES) + 1))

# The scripts are constants: values come in through KEYS and ARGV only. What they cannot read counts as absent, and
# something else under one of our names is removed.
_SHARED: Final = """
local time = redis.call('TIME')
local now, micros = tonumber(time[1]), tonumber(time[2])

local function tidy(key, kind)
  local found = redis.call('TYPE', key)
  found = type(found) == 'table' and found.ok or found
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
local function whole(text)
  if not text or #text > 15 or not string.match(text, '^%d+$') then return 0 end
  return tonumber(text)
end
-- a point in time, seconds: nothing of ours lies far ahead
local function moment(text)
  local at = whole(text)
  if at - now > @AHEAD@ then return 0 end
  return at
end
local function believed(at)
  at = tonumber(at)
  if at < 1 or at > now then return now end
  return at
end
local function touch(key, moments, at, ttl)
  tidy(key, 'hash')
  for name in string.gmatch(moments, '%a+') do
    if moment(redis.call('HGET', key, name)) < at then redis.call('HSET', key, name, string.format('%.0f', at)) end
  end
  redis.call('PEXPIRE', key, ttl)
end

-- Buttons stand in a hash: key -> 'taps last ok error no_handler late'; the sorted set knows which was touched last.
local function numbers(text)
  local found = {}
  if text and #text <= 128 and string.match(text, '^[%d ]+$') then
    for one in string.gmatch(text, '%d+') do found[#found + 1] = whole(one) end
  end
  if #found ~= @FIELDS@ or found[2] - now > @AHEAD@ then
    found = {}
    for i = 1, @FIELDS@ do found[i] = 0 end
  end
  return found
end
local function drop(hash, seen, names)
  if #names == 0 then return end
  redis.call('HDEL', hash, unpack(names))
  redis.call('ZREM', seen, unpack(names))
end
local function tap(hash, seen, name, at, place, ttl, most)
  tidy(hash, 'hash')
  tidy(seen, 'zset')
  local mark = now * 1000000 + micros
  local row = numbers(redis.call('HGET', hash, name))
  if at - row[2] >= ttl / 1000 then
    for i = 1, #row do row[i] = 0 end
  end
  row[2] = math.max(row[2], at)
  row[place] = row[place] + 1
  for i = 1, #row do row[i] = string.format('%.0f', row[i]) end
  redis.call('HSET', hash, name, table.concat(row, ' '))
  redis.call('ZADD', seen, string.format('%.0f', mark), name)
  if redis.call('HLEN', hash) ~= redis.call('ZCARD', seen) then
    -- a server short of memory has dropped one of the two, or somebody was here: build the set anew
    redis.call('DEL', seen)
    local all = redis.call('HGETALL', hash)
    for i = 1, #all, 2 do
      local last = all[i] == name and mark or numbers(all[i + 1])[2] * 1000000
      redis.call('ZADD', seen, string.format('%.0f', last), all[i])
    end
  end
  drop(hash, seen, redis.call('ZRANGEBYSCORE', seen, '-inf', string.format('%.0f', mark - ttl * 1000),
                              'LIMIT', 0, @SWEEP@))
  local over = math.min(redis.call('ZCARD', seen) - most, @SWEEP@)
  if over > 0 then drop(hash, seen, redis.call('ZRANGE', seen, 0, over - 1)) end
  redis.call('PEXPIRE', hash, ttl)
  redis.call('PEXPIRE', seen, ttl)
end
"""

_NUMBERS: Final = {"AHEAD": round(AHEAD_MAX), "FIELDS": len(OUTCOMES) + 2, "SWEEP": SWEEP}

# KEYS: user, buttons, when touched. ARGV: moments, time, ttl of users, button, ttl of buttons, number of buttons
_RECORD: Final = Script.of(
    _SHARED
    + """
local at = believed(ARGV[2])
touch(KEYS[1], ARGV[1], at, tonumber(ARGV[3]))
if ARGV[4] ~= '' then tap(KEYS[2], KEYS[3], ARGV[4], at, 1, tonumber(ARGV[5]), tonumber(ARGV[6])) end
return 1
""",
    **_NUMBERS,
)

# KEYS: buttons, when touched. ARGV: button, time, place of the outcome, ttl of buttons, number of buttons
_OUTCOME: Final = Script.of(
    _SHARED
    + """
tap(KEYS[1], KEYS[2], ARGV[1], believed(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
return 1
""",
    **_NUMBERS,
)

# KEYS: user. ARGV: count, how many to keep, ttl. The times of sent messages are milliseconds.
_SENT: Final = Script.of(
    _SHARED
    + """
tidy(KEYS[1], 'hash')
local text, kept, sent = redis.call('HGET', KEYS[1], 'sent'), tonumber(ARGV[2]), {}
if text and #text <= @SENT@ then
  for one in string.gmatch(text, '%d+') do
    if #one <= 15 and moment(string.format('%.0f', math.floor(tonumber(one) / 1000))) > 0 then sent[#sent + 1] = one end
  end
end
local instant = string.format('%.0f', now * 1000 + math.floor(micros / 1000))
for _ = 1, tonumber(ARGV[1]) do sent[#sent + 1] = instant end
redis.call('HSET', KEYS[1], 'sent', table.concat(sent, ' ', math.max(#sent - kept + 1, 1)))
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[3])) end
return 1
""",
    SENT=SENT_TEXT_MAX,
    **_NUMBERS,
)

# The readers answer: seconds, microseconds, and the fields as they are; Python judges them.
# KEYS: user. ARGV: fields
_USER: Final = Script.of(
    """
local time = redis.call('TIME')
local row = redis.pcall('HMGET', KEYS[1], unpack(ARGV))
if row.err then
  if not string.find(row.err, 'WRONGTYPE', 1, true) then return row end
  row = {}
end
for i = 1, #ARGV do
  if not row[i] or #row[i] > @SENT@ then row[i] = '' end
end
return {time[1], time[2], unpack(row, 1, #ARGV)}
""",
    SENT=SENT_TEXT_MAX,
)

# KEYS: buttons. ARGV: nothing for all, else one button
_MENUS: Final = Script.of("""
local time = redis.call('TIME')
local row
if #ARGV == 0 then
  row = redis.pcall('HGETALL', KEYS[1])
else
  local value = redis.pcall('HGET', KEYS[1], ARGV[1])
  row = type(value) == 'table' and value or (value and {ARGV[1], value} or {})
end
if row.err then
  if not string.find(row.err, 'WRONGTYPE', 1, true) then return row end
  row = {}
end
return {time[1], time[2], row}
""")

# One user.
_FORGET: Final = Script.of("return redis.call('DEL', KEYS[1])")

_FIELDS: Final = (*MOMENTS, "sent")


class RedisActivityLog(ActivityLog):
    """Activity of a whole fleet in Redis 5 or newer, or Valkey (用户互动记录).

    The keys of an account stand in one slot of a cluster, and every one of them expires:

    ============================== ================================================================================
    ``prefix:act:{appid}:u:…``     hash, one for each user, named by a digest: an openid is in no key name. Times in
                                   seconds (``wrote did followed left``, and what opens windows: ``message menu scan
                                   pay``); ``sent``: the latest sent messages, milliseconds
    ``prefix:act:{appid}:menu``    hash, button -> ``taps last ok error no_handler late``
    ``prefix:act:{appid}:seen``    sorted set, button -> when it was touched, microseconds
    ============================== ================================================================================

    All times are the server's. The minimal rule for an ACL user, with the default prefix::

        ACL SETUSER wxmp on >password resetkeys ~wxmp:* nocommands
            +eval +evalsha +time +type +del +hget +hset +hmget +hgetall +hdel +hlen
            +zadd +zcard +zrem +zrange +zrangebyscore +pexpire +pttl

    A call that is repeated on a new connection, because the old one had died, can count one tap or one sent message
    twice.
    """

    def __init__(
        self,
        source: str | Redis | ConnectionPool | RedisCluster,
        *,
        appid: str,
        prefix: str = "wxmp",
        ttl: float = USER_TTL,
        menu_ttl: float = MENU_TTL,
        max_menu_keys: int = MAX_MENU_KEYS,
        allowances: Mapping[Trigger, Allowance] = ALLOWANCES_2023,
        timeout: float = 0.5,
    ) -> None:
        """Connect with the first operation, not here.

        Args:
            source: A ``redis://``, ``rediss://`` or ``unix://`` URL, or a ``redis.asyncio`` client or pool, as for
                ``RedisTokenStore``.
            appid: The account. Openids of different accounts have nothing to do with each other.
            prefix: First part of the keys: 1 to 64 letters, digits, ``_`` and ``-``.
            ttl: Seconds after the last push until a user is forgotten; longer than the longest allowance.
            menu_ttl: Seconds after the last tap until a button is forgotten.
            max_menu_keys: Buttons that are remembered. A link counts as one for each URL, and there may be many.
            allowances: The rules of the platform; an act that is missing allows nothing.
            timeout: Seconds for one operation, connecting and everything else included.

        Raises:
            ConfigError: An argument cannot work.
        """
        if not _is_name(appid):
            raise ConfigError("appid must be 1 to 64 letters, digits, '_' or '-'", field="appid")
        self._ttl = _milliseconds(ttl, field="ttl")
        self._menu_ttl = _milliseconds(menu_ttl, field="menu_ttl")
        self._max_menu_keys = check_count(max_menu_keys, field="max_menu_keys")
        self._allowances = check_allowances(allowances)
        self._kept = most_kept(self._allowances)
        self._redis = RedisScripts(
            source,
            prefix=prefix,
            timeout=timeout,
            owner="RedisActivityLog",
            fails=lambda message: WebhookStoreError(message, store="redis"),
        )
        self._appid = appid
        self._room = f"{prefix}:act:{{{appid}}}"
        self._menus = [f"{self._room}:menu", f"{self._room}:seen"]

    def __repr__(self) -> str:
        return f"RedisActivityLog({self._redis.where!r}, appid={self._appid!r}, prefix={self._redis.prefix!r})"

    async def record(self, push: ActivityPush) -> None:
        """See :meth:`ActivityLog.record`."""
        moments = moments_of(push)
        if moments:
            await self._record(push.from_user_name, moments, push.create_time, menu_key(push))

    async def record_outcome(self, push: ActivityPush, outcome: Outcome) -> None:
        """See :meth:`ActivityLog.record_outcome`."""
        place = check_outcome(outcome) + 3  # behind the taps and the last one; Lua counts from 1
        key = menu_key(push)
        if not key:
            return
        args = (key.encode(), _written(push.create_time), place, self._menu_ttl, self._max_menu_keys)
        await self._redis.run(_OUTCOME, self._menus, args, read=_nothing)

    async def record_sent(self, openid: str, count: int = 1) -> None:
        """See :meth:`ActivityLog.record_sent`."""
        check_count(count, field="count")
        if self._kept and openid and len(openid) <= OPENID_MAX:
            args = (min(count, self._kept), self._kept, self._ttl)
            await self._redis.run(_SENT, [self._name(openid)], args, read=_nothing)

    async def record_paid(self, openid: str) -> None:
        """See :meth:`ActivityLog.record_paid`."""
        if openid and len(openid) <= OPENID_MAX:
            await self._record(openid, PAID, 0, "")

    async def get(self, openid: str) -> UserActivity | None:
        """See :meth:`ActivityLog.get`."""
        moments, _, _ = await self._user(openid)
        return user_activity(openid, moments) if any(moments) else None

    async def window(self, openid: str) -> CustomWindow:
        """See :meth:`ActivityLog.window`."""
        moments, sent, now = await self._user(openid)
        return window_of(moments, sent, now, self._allowances) if any(moments) else CLOSED

    async def menu(self, key: str) -> MenuKeyActivity | None:
        """See :meth:`ActivityLog.menu`."""
        found = await self._redis.run(_MENUS, self._menus[:1], [tidy_key(key).encode()], read=self._buttons)
        return found[0] if found else None

    async def menus(self) -> list[MenuKeyActivity]:
        """See :meth:`ActivityLog.menus`."""
        return most_tapped_first(await self._redis.run(_MENUS, self._menus[:1], read=self._buttons))

    async def forget(self, openid: str) -> None:
        """See :meth:`ActivityLog.forget`."""
        await self._redis.run(_FORGET, [self._name(openid)], read=_nothing)

    async def aclose(self) -> None:
        """Close the connections that the log opened. It may be used again afterwards."""
        await self._redis.aclose()

    def _name(self, openid: str) -> str:
        digest = hashlib.sha256(openid.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self._room}:u:{digest[:32]}"

    async def _record(self, openid: str, moments: tuple[Moment, ...], at: int, key: str) -> None:
        args = (" ".join(moments), _written(at), self._ttl, key.encode(), self._menu_ttl, self._max_menu_keys)
        await self._redis.run(_RECORD, [self._name(openid), *self._menus], args, read=_nothing)

    async def _user(self, openid: str) -> tuple[list[int], list[float], float]:
        return await self._redis.run(_USER, [self._name(openid)], _FIELDS, read=_read_user)

    def _buttons(self, row: Row) -> list[MenuKeyActivity]:
        now, pairs = _now(row), row.row(2)
        found = []
        for place in range(0, len(pairs) - 1, 2):
            value = pairs.data(place + 1)
            if _BUTTON.fullmatch(value) is None:
                continue
            taps, last, *outcomes = (int(one) for one in value.split())
            try:
                key = pairs.text(place)
            except OddAnswerError:
                continue
            if _moment(last, now) and now - last < self._menu_ttl / MS:
                found.append(menu_activity(key, taps, last, outcomes))
        return found


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _APPID.fullmatch(value) is not None


def _milliseconds(value: float, *, field: str) -> int:
    milliseconds = round(check_seconds(value, field=field) * MS)
    return check_count(milliseconds, field=field, most=10**13)  # the server refuses what overflows its clock


def _written(at: int) -> int:
    """Return a time that Lua can count with; one that makes no sense is 0, which counts as now."""
    return at if 0 < at < 10**15 else 0


def _nothing(_: Row) -> None:
    """Nobody needs the answer."""


def _now(row: Row) -> float:
    return row.number(0) + row.number(1) / 1_000_000


def _moment(at: int, now: float) -> int:
    return at if at - now <= AHEAD_MAX else 0


def _read_user(row: Row) -> tuple[list[int], list[float], float]:
    """Take times of user's acts, times of sent messages and the server's time out of an answer."""
    now = _now(row)
    values: Sequence[bytes] = [row.data(place) for place in range(2, 2 + len(_FIELDS))]
    moments = [_moment(int(value), now) if _DIGITS.fullmatch(value) else 0 for value in values[:-1]]
    sent = [int(one) / MS for one in values[-1].split() if _DIGITS.fullmatch(one)]
    return moments, sent, now
