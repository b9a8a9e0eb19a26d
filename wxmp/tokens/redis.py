"""Tokens of a whole fleet in Redis (or Valkey).

``redis`` is imported with the first store that is made, not with this module.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._redact import Secret
from wxmp._redis import REPEATED, WRITE_HASH, RedisScripts, Row, Script
from wxmp.errors import TokenStoreError
from wxmp.tokens.memory import (
    BEIJING_MS,
    CODE_MAX,
    DAY_MS,
    LEASE_MAX,
    MS,
    NUMBER_MAX,
    TEXT_MAX,
    LeaseRequest,
    error_code,
    milliseconds,
    short_text,
    token_value,
    whole,
)
from wxmp.tokens.store import (
    FORCED_GAP,
    FORCED_PER_DAY,
    LIFE_MAX,
    FailureState,
    Lease,
    LeaseReason,
    LeaseStatus,
    ReplacementBudget,
    StoredToken,
    TokenCodec,
    TokenKey,
    TokenRecord,
    TokenStore,
    check_token_value,
)

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool, Redis, RedisCluster

__all__ = ["RedisTokenStore"]

#: How long a record outlives everything that is in it, in seconds: leases, errors and generations survive a dead token.
KEEP: Final = 600.0
#: An answer names a token that no key opens; the script is asked again as if it were not there. Each turn can only be
#: needed once per commit of somebody else, so a handful is plenty.
UNREADABLE_TURNS: Final = 4
#: Longest text (ciphertext) that is read back.
STORED_MAX: Final = 8192

# The script is a constant: values come in through KEYS and ARGV only. It reads the whole record, checks every field,
# decides and writes. What it cannot read counts as absent; what reaches Python from a record is plain ASCII.
_LUA: Final = """
local key, verb = KEYS[1], ARGV[1]
-- repeated: this very call was sent before on a connection that broke; void: generation the caller cannot read
local repeated, void = ARGV[2] == '1', tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local row = redis.pcall('HMGET', key, 'v', 'gen', 'life', 'exp', 'lo', 'lu', 'lf', 'fence',
                        'ec', 'eu', 'ef', 'es', 'rb', 'rt', 'fa', 'fn')
local foreign = false
if row.err then
  if not string.find(row.err, 'WRONGTYPE', 1, true) then return row end
  foreign, row = true, {}
end

local function number(i, least, most)
  local text = row[i]
  if not text or #text > 16 or not string.match(text, '^%-?%d+$') then return nil end
  local value = tonumber(text)
  if value < least or value > most then return nil end
  return value
end
local function text(i, most)
  local value = row[i]
  if not value or #value > most or not string.match(value, '^[ -~]+$') then return nil end
  return value
end
-- a point in time: nothing in a record lies further ahead than a day
local function moment(i, ahead)
  local value = number(i, 0, @NUMBER_MAX@)
  if value and value - now > ahead then return nil end
  return value
end

local gen = number(2, 1, @NUMBER_MAX@) or 0
local v, life, exp = text(1, @STORED_MAX@), number(3, 0, @LIFE_MAX@), moment(4, @LIFE_MAX@)
if gen == 0 or gen == void or not life or not exp then v = nil end
local left = v and math.min(exp - now, life) or 0
local live = left > 0

local lo, lu, lf = row[5] or '', moment(6, @LEASE_MAX@), number(7, 1, @NUMBER_MAX@)
if lo == '' or not lu or not lf then lo, lu, lf = '', 0, 0 end
local fence = number(8, 0, @NUMBER_MAX@) or 0

local ec, eu, ef, es = number(9, -@CODE_MAX@, @CODE_MAX@), moment(10, @LIFE_MAX@), number(11, 0, 1000000), row[12] or ''
if not ec or not eu or not ef or #es > @TEXT_BYTES@ then ec, eu, ef, es = 0, 0, 0, '' end
local cool = math.max(eu - now, 0)

local function other(credential)
  return es ~= '' and credential ~= '' and es ~= credential
end

local function reply(status, wait, code, count)
  local fields = {status, string.format('%.0f', fence), wait, '', 0, 0, 0, code, count, cool, math.max(lu - now, 0)}
  if live then fields[4], fields[5], fields[6], fields[7] = v, string.format('%.0f', gen), life, left end
  return fields
end

@WRITE@
local function keep(last)
  local want = last - now + @KEEP@
  if redis.call('PTTL', key) < want then redis.call('PEXPIRE', key, want) end
end

if verb == 'read' then return reply('read', 0, ec, ef) end

if verb == 'lease' then
  local owner, ttl, expect, hint = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local reason, credential, burst, refill = ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
  if live and gen ~= expect then return reply('changed', 0, 0, 0) end
  local count = other(credential) and 0 or ef
  if repeated and lo == owner and lu - now > ttl - 2000 and lu > now then
    fence = lf  -- granted a moment ago, only the answer was lost
    return reply('held', 0, ec, count)
  end
  local held_off = ec == 0 and ef == 0
  local own = lu > now and lo == owner
  if cool > 0 and not own and reason ~= 'operator' and not other(credential) and not (held_off and reason ~= 'due') then
    return reply('cooling', cool, ec, ef)
  end
  if lu > now and lo ~= owner then return reply('busy', lu - now, 0, 0) end

  local last = now + ttl
  if reason == 'dead' and burst > 0 then
    local level, counted = number(13, 0, 1000000), moment(14, @LIFE_MAX@)
    if not level or not counted then level, counted = burst, now end
    counted = math.min(counted, now)  -- a clock that stepped back must not stop the refill
    local gained = math.floor((now - counted) / refill)
    level, counted = level + gained, counted + gained * refill
    if level >= burst then level, counted = burst, now end
    if level < 1 then
      write('rb', level, 'rt', counted)
      return reply('limited', refill - (now - counted), 0, 0)
    end
    write('rb', level - 1, 'rt', counted)
    last = math.max(last, counted + burst * refill)
  elseif reason == 'forced' then
    local today = math.floor((now + @BEIJING@) / @DAY@)
    local midnight = (today + 1) * @DAY@ - @BEIJING@
    local at, made, wait = moment(15, @LIFE_MAX@), number(16, 0, 1000000) or 0, 0
    if at then
      if at > now then at = now; write('fa', at) end
      wait = math.max(@FORCED_GAP@ - (now - at), 0)
      if math.floor((at + @BEIJING@) / @DAY@) ~= today then made = 0 end
    else
      made = 0
    end
    if made >= @FORCED_PER_DAY@ then wait = math.max(wait, midnight - now) end
    if wait > 0 then return reply('limited', wait, 0, 0) end
    write('fa', now, 'fn', made + 1)
    last = math.max(last, midnight)
  end
  fence = math.max(fence + 1, gen + 1, now, hint + 1)
  lo, lu, lf = owner, now + ttl, fence
  write('lo', lo, 'lu', lu, 'lf', lf, 'fence', fence)
  keep(last)
  return reply('held', 0, ec, count)
end

if verb == 'commit' then
  local mine, value, lives, pause = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
  if mine <= gen then return reply((repeated and mine == gen) and '1' or '0', 0, 0, 0) end
  write('v', value, 'gen', mine, 'life', lives, 'exp', now + lives, 'fence', math.max(fence, mine))
  redis.call('HDEL', key, 'ec', 'eu', 'ef', 'es')
  if pause > 0 then write('ec', 0, 'ef', 0, 'es', '', 'eu', now + pause) end
  if lf == mine then redis.call('HDEL', key, 'lo', 'lu', 'lf') end
  keep(math.max(now + math.max(lives, pause), lu))
  return reply('1', 0, 0, 0)
end

if verb == 'fail' then
  local owner, mine, code = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
  local pause, credential = tonumber(ARGV[7]), ARGV[8]
  if lo ~= owner or lf ~= mine then return reply('0', 0, 0, 0) end
  redis.call('HDEL', key, 'lo', 'lu', 'lf')
  if pause > 0 then
    local count = other(credential) and 0 or ef
    write('ec', code, 'ef', count + 1, 'es', credential, 'eu', now + pause)
    keep(now + pause)
  end
  return reply('1', 0, 0, 0)
end

if verb == 'seed' then
  local mine, value, lives, rest = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
  if v and gen >= mine then return reply((repeated and mine == gen) and '1' or '0', 0, 0, 0) end
  write('v', value, 'gen', mine, 'life', lives, 'exp', now + math.min(lives, rest),
        'fence', math.max(fence, mine))
  keep(now + lives)
  return reply('1', 0, 0, 0)
end
return redis.error_reply('ERR wxmp: unknown verb')
"""


_SCRIPT: Final = Script.of(
    _LUA,
    WRITE=WRITE_HASH,
    NUMBER_MAX=NUMBER_MAX,
    STORED_MAX=STORED_MAX,
    LIFE_MAX=round(LIFE_MAX * MS),
    LEASE_MAX=round(LEASE_MAX * MS),
    CODE_MAX=CODE_MAX,
    TEXT_BYTES=TEXT_MAX * 4,
    KEEP=round(KEEP * MS),
    BEIJING=BEIJING_MS,
    DAY=DAY_MS,
    FORCED_GAP=round(FORCED_GAP * MS),
    FORCED_PER_DAY=FORCED_PER_DAY,
)


@attrs.frozen
class _Answer:
    """What the script said, as far as Python needs it."""

    status: str
    fence: int
    wait: float
    token: StoredToken | None
    #: Generation of a token that is there but that the codec does not open; 0 if there is none.
    unreadable: int
    code: int
    count: int
    cool: float
    lease_left: float

    @property
    def failure(self) -> FailureState:
        return FailureState(code=self.code, count=self.count, cool_down=self.cool)


class RedisTokenStore(TokenStore):
    """Tokens of a whole fleet in Redis 5 or newer, or Valkey (中控服务器).

    Every verb is one Lua script on ONE hash, so it is atomic, works in a cluster and goes by the server's clock. The
    key is ``prefix:{appid}:channel:1``. Its fields, for people and for programs in other languages (times are
    milliseconds since 1970 on the server's clock):

    =============== =============================================================================================
    ``v``           the token (or the text of the codec)
    ``gen``         its generation; a higher one is newer
    ``life exp``    promised life in ms; its end
    ``lo lu lf``    lease: owner, until, fence
    ``fence``       last fence handed out
    ``ec eu ef es`` last error: code, cool-down until, failures in a row, fingerprint of the credential
    ``rb rt``       replacement budget: left, counted at
    ``fa fn``       last forced refresh; how many on its day (Beijing time)
    =============== =============================================================================================

    The minimal rule for an ACL user, with the default prefix::

        ACL SETUSER wxmp on >password resetkeys ~wxmp:* nocommands
            +eval +evalsha +hmget +hset +hdel +pexpire +pttl +time

    Give each environment its own prefix: two AppSecrets under one key would fight. Use ``rediss://`` outside of a
    private network; the certificate and its host name are checked.

    A store may be used from several event loops and threads, after a fork, and again after :meth:`aclose`.
    """

    name = "redis"

    def __init__(
        self,
        source: str | Redis | ConnectionPool | RedisCluster,
        *,
        prefix: str = "wxmp",
        timeout: float = 1.0,
        codec: TokenCodec | None = None,
    ) -> None:
        """Connect with the first operation, not here.

        Args:
            source: A ``redis://``, ``rediss://`` or ``unix://`` URL, or a ``redis.asyncio`` client or pool. Of a
                client or pool the settings are used: the store opens connections of its own, one set per event loop,
                and closes only those. A ``RedisCluster`` client is used itself, in the event loop it belongs to.
            prefix: First part of the key: 1 to 64 letters, digits, ``_`` and ``-``.
            timeout: Seconds for one operation, connecting and everything else included.
            codec: Encrypts tokens at rest, see ``wxmp.tokens.encryption``.

        Raises:
            ConfigError: The URL, the prefix or the timeout cannot work.
        """
        self._redis = RedisScripts(
            source,
            prefix=prefix,
            timeout=timeout,
            owner="RedisTokenStore",
            fails=partial(TokenStoreError, store=self.name),
        )
        self._codec = codec

    def __repr__(self) -> str:
        return f"RedisTokenStore({self._redis.where!r}, prefix={self._redis.prefix!r})"

    async def read(self, key: TokenKey) -> TokenRecord:
        """See :meth:`TokenStore.read`."""
        answer = await self._ask(key, "read")
        return TokenRecord(
            token=answer.token,
            failure=answer.failure if answer.cool > 0 else None,
            lease_left=answer.lease_left,
        )

    async def lease(
        self,
        key: TokenKey,
        *,
        owner: str,
        ttl: float,
        expect: int,
        hint: int = 0,
        reason: LeaseReason = LeaseReason.DUE,
        credential: str = "",
        budget: ReplacementBudget | None = None,
    ) -> Lease:
        """See :meth:`TokenStore.lease`."""
        request = LeaseRequest.of(
            owner=owner, ttl=ttl, expect=expect, hint=hint, reason=reason, credential=credential, budget=budget
        )
        arguments = [str(value) for value in attrs.astuple(request)]
        void = 0
        for _ in range(UNREADABLE_TURNS):
            answer = await self._ask(key, "lease", *arguments, void=void)
            if answer.status != LeaseStatus.CHANGED or not answer.unreadable:
                return self._lease(answer)
            void = answer.unreadable
        raise TokenStoreError("the record changes faster than it can be read", store=self.name)

    def _lease(self, answer: _Answer) -> Lease:
        status = LeaseStatus(answer.status)
        held = status is LeaseStatus.HELD
        failed = status is LeaseStatus.COOLING or (held and answer.count > 0)
        return Lease(
            status,
            fence=answer.fence if held else 0,
            wait=answer.wait,
            token=answer.token,
            failure=answer.failure if failed else None,
        )

    async def commit(self, key: TokenKey, *, fence: int, value: str, life: float, hold_off: float = 0.0) -> bool:
        """See :meth:`TokenStore.commit`."""
        whole(fence, field="fence", least=1)
        text = self._seal(key, fence, value)
        del value  # tools that report errors print the local variables of every frame
        lives, pause = milliseconds(life, field="life"), milliseconds(hold_off, field="hold_off")
        answer = await self._ask(key, "commit", str(fence), text, str(lives), str(pause))
        return answer.status == "1"

    async def fail(
        self, key: TokenKey, *, owner: str, fence: int, code: int = 0, cool_down: float = 0.0, credential: str = ""
    ) -> None:
        """See :meth:`TokenStore.fail`."""
        short_text(owner, field="owner")
        short_text(credential, field="credential")
        error_code(code)
        pause = milliseconds(cool_down, field="cool_down")
        await self._ask(key, "fail", owner, str(fence), str(code), str(pause), credential)

    async def seed(self, key: TokenKey, *, value: str, generation: int, life: float, left: float) -> bool:
        """See :meth:`TokenStore.seed`."""
        whole(generation, field="generation", least=1)
        text = self._seal(key, generation, value)
        del value
        lives, rest = milliseconds(life, field="life"), milliseconds(left, field="left")
        if rest <= 0:
            return False
        void = 0
        for _ in range(UNREADABLE_TURNS):
            answer = await self._ask(key, "seed", str(generation), text, str(lives), str(rest), void=void)
            if answer.status == "1" or not answer.unreadable:
                return answer.status == "1"
            void = answer.unreadable
        return False

    async def aclose(self) -> None:
        """Close the connections that the store opened. It may be used again afterwards."""
        await self._redis.aclose()

    # --- how a verb gets to the server -------------------------------------------------------------------------

    def _seal(self, key: TokenKey, generation: int, value: str) -> Secret:
        token_value(value)
        if self._codec is None:
            return Secret(value)
        return Secret(self._codec.encrypt(value, context=_context(key, generation)))

    async def _ask(self, key: TokenKey, verb: str, *arguments: str | Secret, void: int = 0) -> _Answer:
        """Run the script. Arguments that must not be seen are handed down as ``Secret``, up to the last frame."""
        return await self._redis.run(
            _SCRIPT,
            [f"{self._redis.prefix}:{{{key.appid}}}:{key.channel}:1"],
            [verb, REPEATED, str(void), *arguments],
            read=partial(self._understand, key),
        )

    def _understand(self, key: TokenKey, row: Row) -> _Answer:
        """Turn the script's answer into a record; the token in it is as untrusted as the hash it comes from."""
        status, text = row.text(0), row.text(3)
        fence, wait, generation, life, left, code, count, cool, lease = (
            row.number(place) for place in (1, 2, 4, 5, 6, 7, 8, 9, 10)
        )
        value = self._open(key, generation, text) if generation else None
        token = None
        if value is not None:
            token = StoredToken(value=value, generation=generation, life=life / MS, left=left / MS)
        return _Answer(
            status=status,
            fence=fence,
            wait=wait / MS,
            token=token,
            unreadable=generation if value is None else 0,
            code=code,
            count=count,
            cool=cool / MS,
            lease_left=lease / MS,
        )

    def _open(self, key: TokenKey, generation: int, text: str) -> str | None:
        value: str | None = text
        if self._codec is not None:
            value = self._codec.decrypt(text, context=_context(key, generation))
        return value if check_token_value(value) else None


def _context(key: TokenKey, generation: int) -> str:
    return f"{key.appid}:{key.channel}:{generation}"
