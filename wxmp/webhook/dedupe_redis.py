"""Exactly once across a fleet (消息排重): the deliveries of a push meet in Redis (or Valkey).

``redis`` is imported with the first store that is made, not with this module.
"""

from __future__ import annotations

import math
import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from wxmp._redis import WRITE_HASH, OddAnswerError, RedisScripts, Script
from wxmp.errors import ConfigError, WebhookStoreError
from wxmp.webhook.dedupe import LATE_KEEP, Claim, DedupeStore

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool, Redis, RedisCluster

    from wxmp._redis import Argument, Row
    from wxmp.webhook.dedupe import ClaimStatus

__all__ = ["RedisDedupe"]

#: Longest lease, in seconds. A longer one in a record is a broken record.
LEASE_MAX: Final = 86_400.0
#: Longest time that anything is remembered, in seconds.
KEEP_MAX: Final = 30 * 86_400.0
#: Longest answer, in bytes: many times what the platform takes.
ANSWER_MAX: Final = 262_144
#: Length of the id of a call, in hexadecimal digits.
CALL_DIGITS: Final = 24
#: Largest number that goes through Lua unchanged, halved: fences are microseconds since 1970, good until 2112.
NUMBER_MAX: Final = 2**52 - 1

#: No braces: they mark what decides about the slot in a cluster.
_KEY: Final = re.compile(r"[!-z|~]{1,256}")

# The script is a constant: values come in through KEYS and ARGV only. It reads the whole record, checks every field,
# decides and writes. What it cannot read counts as absent.
_LUA: Final = """
local key, verb, call = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local row = redis.pcall('HMGET', key, 's', 'f', 'u', 'w', 'n', 'a', 'c')
local foreign = false
if row.err then
  if not string.find(row.err, 'WRONGTYPE', 1, true) then return row end
  foreign, row = true, {}
end

local function number(i, least, most)
  local text = row[i]
  if not text or #text > 16 or not string.match(text, '^%d+$') then return nil end
  local value = tonumber(text)
  if value < least or value > most then return nil end
  return value
end

local state, fence, n, answer = row[1], number(2, 1, @NUMBER_MAX@), number(5, 0, 1000000) or 0, row[6]
if state == 'done' or state == 'taken' then
  if not answer or #answer > @ANSWER_MAX@ then state = nil end
elseif state ~= 'running' and state ~= 'late' then
  state = nil
end
local known = fence ~= nil
if not known then state, fence = nil, 0 end
local mine = row[7] == call  -- this very call was carried out before, only its answer was lost

@WRITE@
local function keep(want)
  if redis.call('PTTL', key) < want then redis.call('PEXPIRE', key, want) end
end

if verb == 'begin' then
  local lease, kept, replay = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  if KEYS[2] then
    local seen = false
    if replay > 0 then
      seen = redis.pcall('GET', KEYS[2])
      if type(seen) == 'table' then
        if not string.find(seen.err, 'WRONGTYPE', 1, true) then return seen end
        seen = false
      end
      if seen and (#seen ~= @CALL_DIGITS@ or not string.match(seen, '^%x+$')) then seen = false end
      if seen and seen ~= call then return {'replayed', '0', 0, '', 0} end
      redis.call('SET', KEYS[2], call, 'PX', replay)
    end
    if not seen or n == 0 then
      n = math.min(n + 1, 1000000)
      write('n', n)
    end
  end
  local status, text, left = state, '', 0
  if state == 'running' then
    local ends, length = number(3, 0, @NUMBER_MAX@), number(4, 1, @LEASE_MAX@)
    left = ends and length and ends - now or 0
    if left > 0 and left > length then
      left = length  -- the clock stepped back; from here on the lease runs as long as it was given for
      write('u', now + left)
    end
  end
  if state == 'done' then
    write('s', 'taken')
    text = answer
  elseif state == 'taken' then
    status, text = 'done', answer
  elseif state == 'running' and left > 0 then
    if mine then status, left = 'new', 0 end
  elseif state ~= 'late' then
    status, left = 'new', 0
    -- the time makes it the highest even after the record was lost
    fence = math.max(fence < @NUMBER_MAX@ and fence + 1 or 0, time[1] * 1000000 + time[2])
    write('s', 'running', 'f', fence, 'u', now + lease, 'w', lease, 'c', call)
    kept = math.max(kept, lease)
  end
  keep(kept)
  return {status, string.format('%.0f', fence), n, text, left}
end

local given = tonumber(ARGV[3])
local owned = fence == given
if not known and given >= 1 and given <= @NUMBER_MAX@ then
  -- the record was lost: the word of its owner counts, and makes it known again
  owned, state = true, verb == 'late' and 'done' or 'running'
end

if verb == 'extend' then
  if not (owned and state == 'running') then return {0} end
  local lease = tonumber(ARGV[4])
  write('s', 'running', 'f', given, 'u', now + lease, 'w', lease)
  keep(lease)
  return {1}
end

if verb == 'finish' then
  if owned and mine and (state == 'done' or state == 'taken') then return {1} end
  if not (owned and state == 'running') then return {0} end
  write('s', ARGV[6], 'f', given, 'a', ARGV[5], 'c', call)
  redis.call('HDEL', key, 'u', 'w')
  redis.call('PEXPIRE', key, ARGV[4])
  return {1}
end

if verb == 'late' then
  if owned and mine and state == 'late' then return {1} end
  if not (owned and state == 'done') then return {0} end
  write('s', 'late', 'f', given, 'c', call)
  redis.call('HDEL', key, 'a')
  if not known then keep(@LATE_KEEP@) end
  return {1}
end

if verb == 'forget' then
  if known and owned and state == 'running' then redis.call('HDEL', key, 's', 'u', 'w', 'c', 'a') end
  return {1}
end
return redis.error_reply('ERR wxmp: unknown verb')
"""

_SCRIPT: Final = Script.of(
    _LUA,
    WRITE=WRITE_HASH,
    NUMBER_MAX=NUMBER_MAX,
    ANSWER_MAX=ANSWER_MAX,
    LEASE_MAX=round(LEASE_MAX * 1000),
    LATE_KEEP=round(LATE_KEEP * 1000),
    CALL_DIGITS=CALL_DIGITS,
)


class RedisDedupe(DedupeStore):
    """Deduplication of a whole fleet in Redis 5 or newer, or Valkey (消息排重).

    Every verb is one Lua script in one round trip, so it is atomic, works in a cluster and goes by the server's clock.

    A push is a hash, ``prefix:hook:{appid}:digest``. Its fields, for people and for programs in other languages (times
    are milliseconds since 1970 on the server's clock):

    ======== =================================================================================================
    ``s``    ``running``, ``done`` (nobody has the answer yet), ``taken`` (a connection has it), ``late`` (it was
             sent as a customer-service message); absent: free for the next delivery
    ``f``    fence of the last owner: microseconds since 1970, or higher
    ``u w``  lease of a running one: until; how long it was given for
    ``n``    deliveries so far
    ``a``    the rendered reply of a finished one, in plain text
    ``c``    random id of the call that last changed ``s``: a call whose answer was lost knows itself again
    ======== =================================================================================================

    A request that was seen is a string, ``prefix:hookr:{appid}:digest``: the random id of the call that brought it.
    Every key expires. A fence stays above those of before, as it is never below the server's clock. The names hold
    digests, no secret and no openid; ``a`` holds what the user is told.

    The minimal rule for an ACL user, with the default prefix::

        ACL SETUSER wxmp on >password resetkeys ~wxmp:hook:* ~wxmp:hookr:* nocommands
            +eval +evalsha +hmget +hset +hdel +get +set +pexpire +pttl +time

    A store may be used from several event loops and threads, after a fork, and again after :meth:`aclose`. Whatever
    fails is a :class:`~wxmp.errors.WebhookStoreError`, within the time limit.
    """

    def __init__(
        self, source: str | Redis | ConnectionPool | RedisCluster, *, prefix: str = "wxmp", timeout: float = 0.5
    ) -> None:
        """Connect with the first delivery, not here.

        Args:
            source: A ``redis://``, ``rediss://`` or ``unix://`` URL, or a ``redis.asyncio`` client or pool. Of a
                client or pool the settings are used: the store opens connections of its own, one set per event loop,
                and closes only those. A ``RedisCluster`` client is used itself, in the event loop it belongs to.
            prefix: First part of the keys: 1 to 64 letters, digits, ``_`` and ``-``.
            timeout: Seconds for one operation, connecting and everything else included. The platform waits 5 s.

        Raises:
            ConfigError: The URL, the prefix or the timeout cannot work.
        """
        self._redis = RedisScripts(
            source,
            prefix=prefix,
            timeout=timeout,
            owner="RedisDedupe",
            fails=partial(WebhookStoreError, store="redis"),
        )

    def __repr__(self) -> str:
        return f"RedisDedupe({self._redis.where!r}, prefix={self._redis.prefix!r})"

    async def begin(self, key: str, *, replay: str = "", replay_for: float = 0.0, lease: float, keep: float) -> Claim:
        """See :meth:`DedupeStore.begin`."""
        keys = self._names(key, replay)
        remembered = _milliseconds(replay_for, field="replay_for", most=KEEP_MAX) if replay_for > 0 else 0
        return await self._redis.run(
            _SCRIPT,
            keys,
            [
                "begin",
                secrets.token_hex(CALL_DIGITS // 2),
                _milliseconds(lease, field="lease", most=LEASE_MAX),
                _milliseconds(keep, field="keep", most=KEEP_MAX),
                remembered,
            ],
            read=_claim,
        )

    async def extend(self, key: str, *, fence: int, lease: float) -> bool:
        """See :meth:`DedupeStore.extend`."""
        return await self._ask(key, "extend", fence, _milliseconds(lease, field="lease", most=LEASE_MAX))

    async def finish(self, key: str, *, fence: int, answer: bytes, keep: float, taken: bool) -> bool:
        """See :meth:`DedupeStore.finish`."""
        if len(answer) > ANSWER_MAX:
            raise ConfigError(f"answer must not be longer than {ANSWER_MAX} bytes", field="answer")
        kept = _milliseconds(keep, field="keep", most=KEEP_MAX)
        return await self._ask(key, "finish", fence, kept, answer, "taken" if taken else "done")

    async def claim_late(self, key: str, *, fence: int) -> bool:
        """See :meth:`DedupeStore.claim_late`."""
        return await self._ask(key, "late", fence)

    async def forget(self, key: str, *, fence: int) -> None:
        """See :meth:`DedupeStore.forget`."""
        await self._ask(key, "forget", fence)

    async def aclose(self) -> None:
        """Close the connections that the store opened. It may be used again afterwards."""
        await self._redis.aclose()

    async def _ask(self, key: str, verb: str, fence: int, *arguments: Argument) -> bool:
        call = secrets.token_hex(CALL_DIGITS // 2)
        return await self._redis.run(_SCRIPT, self._names(key), [verb, call, fence, *arguments], read=_yes)

    def _names(self, key: str, replay: str = "") -> list[str]:
        """Return the keys of a push and of a request, in one slot: the AppID of the push decides about both."""
        for field, value in (("key", key), ("replay", replay or "-")):
            if _KEY.fullmatch(value) is None:
                raise ConfigError(f"{field} must be 1 to 256 printable ASCII characters without braces", field=field)
        appid, _, digest = key.partition(":") if ":" in key else ("", "", key)
        slot = f"{{{appid or 'hook'}}}"
        names = [f"{self._redis.prefix}:hook:{slot}:{digest}"]
        if replay:
            names.append(f"{self._redis.prefix}:hookr:{slot}:{replay.removeprefix(f'{appid}:')}")
        return names


def _milliseconds(seconds: float, *, field: str, most: float) -> int:
    if not 0 < seconds <= most:
        raise ConfigError(f"{field} must be more than 0 and at most {most:g} seconds", field=field)
    return math.ceil(seconds * 1000)


def _claim(row: Row) -> Claim:
    status = row.text(0)
    if status not in {"new", "running", "done", "late", "replayed"}:
        raise OddAnswerError
    return Claim(
        cast("ClaimStatus", status),
        fence=row.number(1),
        delivery=row.number(2),
        answer=row.data(3),
        wait=row.number(4) / 1000,
    )


def _yes(row: Row) -> bool:
    return row.number(0) == 1
