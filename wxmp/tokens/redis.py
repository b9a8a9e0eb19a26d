"""Tokens of a whole fleet in Redis (or Valkey).

``redis`` is imported with the first store that is made, not with this module.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from wxmp._redact import Secret, scrub
from wxmp.errors import ConfigError, TokenStoreError
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
    check_name,
    check_token_value,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from redis.asyncio import ConnectionPool, Redis, RedisCluster

__all__ = ["RedisTokenStore"]

#: Connections of one process and event loop. One is enough for the keeper; more only spare waiting in a crowd.
CONNECTIONS: Final = 4
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

local function write(...)
  -- something else under our name; PEXPIRE with no time left removes it, and is in the ACL rule anyway
  if foreign then redis.call('PEXPIRE', key, -1); foreign = false end
  local fields = {...}
  for i = 1, #fields do
    if type(fields[i]) == 'number' then fields[i] = string.format('%.0f', fields[i]) end
  end
  redis.call('HSET', key, unpack(fields))
end
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


def _script() -> str:
    text = _LUA
    for name, value in {
        "NUMBER_MAX": NUMBER_MAX,
        "STORED_MAX": STORED_MAX,
        "LIFE_MAX": round(LIFE_MAX * MS),
        "LEASE_MAX": round(LEASE_MAX * MS),
        "CODE_MAX": CODE_MAX,
        "TEXT_BYTES": TEXT_MAX * 4,
        "KEEP": round(KEEP * MS),
        "BEIJING": BEIJING_MS,
        "DAY": DAY_MS,
        "FORCED_GAP": round(FORCED_GAP * MS),
        "FORCED_PER_DAY": FORCED_PER_DAY,
    }.items():
        text = text.replace(f"@{name}@", str(value))
    return text


class _Connection(Protocol):
    """The public part of ``redis.asyncio.Connection`` that is used here; the same in redis-py 5 to 8."""

    socket_timeout: float | None
    socket_connect_timeout: float | None
    retry: object

    @property
    def is_connected(self) -> bool: ...
    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = False) -> None: ...
    async def send_command(self, *args: object) -> None: ...
    async def read_response(self, disable_decoding: bool = False) -> object: ...


class _Commands(Protocol):
    """A client without a pool of its own kind, such as ``redis.asyncio.RedisCluster``."""

    async def execute_command(self, *args: object) -> object: ...


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


class _Line:
    """The connections of one event loop: a last-in-first-out list that is only touched between awaits.

    redis-py's own pools are not used. They take a lock to give a connection back, and a call that is cancelled there
    loses it for good; and their retries make a black hole last for a minute.
    """

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout
        self._idle: list[_Connection] = []
        self._turn = asyncio.Semaphore(CONNECTIONS)
        self._end = self._close_with_loop()
        self._watched = False
        self._closed = False

    async def run(self, command: Sequence[str]) -> object:
        """Send one command. Raises what redis-py raises; :class:`_StaleError` for a connection that had died idle."""
        import redis.exceptions

        if not self._watched:
            self._watched = True
            await anext(self._end)
        async with self._turn:
            connection = self._idle.pop() if self._idle else self._open()
            used_before = connection.is_connected
            try:
                if not used_before:
                    await connection.connect()
                await connection.send_command(*command)
                answer = await connection.read_response(disable_decoding=True)
            except (redis.exceptions.ConnectionError, OSError, RuntimeError) as error:
                # RuntimeError is how uvloop says that the other side has closed
                await self._put_away(connection)
                if used_before and not isinstance(error, redis.exceptions.AuthenticationError | TimeoutError):
                    raise _StaleError from error
                raise
            except redis.exceptions.ResponseError:
                await self._keep(connection)  # an answer like any other: the connection is in order
                raise
            except BaseException:
                await self._put_away(connection)
                raise
            await self._keep(connection)
            return answer

    def _open(self) -> _Connection:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        make = cast("Callable[[], _Connection]", self._pool.make_connection)
        connection = make()
        connection.retry = Retry(NoBackoff(), 0)
        connection.socket_timeout = connection.socket_connect_timeout = self._timeout
        return connection

    async def _keep(self, connection: _Connection) -> None:
        if self._closed:  # while the call was under way
            await self._put_away(connection)
        else:
            self._idle.append(connection)

    async def _put_away(self, connection: _Connection) -> None:
        if connection.is_connected:
            await connection.disconnect(nowait=True)

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        # asyncio.run() closes the asynchronous generators of its loop at the end. This one closes the connections,
        # which could not be closed any more once their loop is gone.
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().disconnect()


class _Direct:
    """A client of the user's that has no pool to take settings from (a cluster client): used as it is."""

    def __init__(self, commands: _Commands) -> None:
        self._commands = commands

    async def run(self, command: Sequence[str]) -> object:
        return await self._commands.execute_command(*command)

    async def close(self) -> None:
        """Nothing here was opened by the store."""


class _StaleError(Exception):
    """A kept connection turned out to be dead. The call may still have been carried out."""


class RedisTokenStore(TokenStore):
    """Tokens of a whole fleet in Redis 5 or newer, or Valkey (中控服务器).

    Every verb is one Lua script on ONE hash, so it is atomic, works in a cluster and goes by the server's clock. The
    key is ``prefix:{appid}:channel:1``. Its fields, for people and for programs in other languages (times are
    milliseconds since 1970 on the server's clock):

    ============== =============================================================================================
    ``v``          the token (or the text of the codec)
    ``gen``        its generation; a higher one is newer
    ``life exp``   promised life in ms; its end
    ``lo lu lf``   lease: owner, until, fence
    ``fence``      last fence handed out
    ``ec eu ef es`` last error: code, cool-down until, failures in a row, fingerprint of the credential
    ``rb rt``      replacement budget: left, counted at
    ``fa fn``      last forced refresh; how many on its day (Beijing time)
    ============== =============================================================================================

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
        # Now rather than with the first operation: it takes a tenth of a second of CPU, more on a busy machine, which
        # would stop the event loop and use up the time limit of that operation.
        import redis.asyncio  # noqa: F401

        if not 0 < timeout < float("inf"):
            raise ConfigError("timeout must be a positive number of seconds", field="timeout")
        self._prefix = check_name(prefix, field="prefix")
        self._timeout = timeout
        self._codec = codec
        self._url: Secret | None = None
        self._given: ConnectionPool | None = None
        self._commands: _Commands | None = None
        self._secrets: tuple[Secret, ...] = ()
        if isinstance(source, str):
            self._url = Secret(source)
            self._where, self._secrets = _look_at(source)
        else:
            self._where = "the given client"
            pool = getattr(source, "connection_pool", source)
            if hasattr(pool, "make_connection") and hasattr(pool, "connection_kwargs"):
                self._given = cast("ConnectionPool", pool)
                password = self._given.connection_kwargs.get("password")
                self._secrets = (Secret(str(password)),) if password else ()
            elif hasattr(source, "execute_command"):
                self._commands = cast("_Commands", source)
            else:
                raise ConfigError("source must be a Redis URL, a redis.asyncio client or a pool", field="source")
        self._forked = False
        self._lock = threading.Lock()
        self._lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Line | _Direct] = weakref.WeakKeyDictionary()
        _STORES.add(self)

    def __repr__(self) -> str:
        return f"RedisTokenStore({self._where!r}, prefix={self._prefix!r})"

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
        loop = asyncio.get_running_loop()
        with self._lock:
            lines = dict(self._lines)
            self._lines.clear()
        for owner, line in lines.items():
            if owner is loop:
                await line.close()
            elif not owner.is_closed():
                owner.call_soon_threadsafe(_close_soon, line)

    # --- how a verb gets to the server -------------------------------------------------------------------------

    def _seal(self, key: TokenKey, generation: int, value: str) -> Secret:
        token_value(value)
        if self._codec is None:
            return Secret(value)
        return Secret(self._codec.encrypt(value, context=_context(key, generation)))

    async def _ask(self, key: TokenKey, verb: str, *arguments: str | Secret, void: int = 0) -> _Answer:
        """Run the script. Arguments that must not be seen are handed down as ``Secret``, up to the last frame."""
        import redis.exceptions

        problem: BaseException
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._send(key, verb, arguments, void)
            return self._understand(key, answer)
        except _StaleError as error:
            problem = error.__cause__ or error
        except TimeoutError as error:  # also an OSError: the operating system's own timeout
            problem = error
        except (redis.exceptions.RedisError, OSError) as error:
            problem = error
        # Raised out here so that no __context__ drags the frames of redis-py along, with our arguments in them.
        hidden = [secret.reveal() for secret in (*self._secrets, *arguments) if isinstance(secret, Secret)]
        text = _clean(problem, hidden)
        del hidden
        if not text:
            text = f"no answer within {self._timeout:g} s"
        raise TokenStoreError(f"{self._where}: {text}", store=self.name) from problem

    async def _send(self, key: TokenKey, verb: str, arguments: Sequence[str | Secret], void: int) -> object:
        from redis.exceptions import NoScriptError

        line = self._line()
        name = f"{self._prefix}:{{{key.appid}}}:{key.channel}:1"
        plain = [argument.reveal() if isinstance(argument, Secret) else argument for argument in arguments]
        script: tuple[str, str] = ("EVALSHA", _SHA)
        repeated = "0"
        while True:
            try:
                return await line.run((*script, "1", name, verb, repeated, str(void), *plain))
            except NoScriptError:
                if script[0] == "EVAL":
                    raise
                script = ("EVAL", _SCRIPT)
            except _StaleError:
                if repeated == "1":
                    raise
                repeated = "1"  # the script then knows its own first try, should that have been carried out

    def _line(self) -> _Line | _Direct:
        loop = asyncio.get_running_loop()
        with self._lock:
            line = self._lines.get(loop)
            if line is None:
                for old in [other for other in self._lines if other.is_closed()]:
                    del self._lines[old]  # a line knows its loop: nobody else would ever drop the two
                line = self._lines[loop] = self._new_line()
            return line

    def _new_line(self) -> _Line | _Direct:
        if self._commands is not None:
            if self._lines or self._forked:
                raise TokenStoreError(
                    f"{self._where} belongs to another event loop or process; give RedisTokenStore a URL instead",
                    store=self.name,
                )
            return _Direct(self._commands)
        if self._given is not None:
            return _Line(self._given, self._timeout)
        from redis.asyncio import ConnectionPool

        if self._url is None:
            raise ConfigError("source is neither a URL, a client nor a pool", field="source")
        return _Line(ConnectionPool.from_url(self._url.reveal(), **_tamed(self._url)), self._timeout)

    def _understand(self, key: TokenKey, answer: object) -> _Answer:
        """Turn the script's answer into a record; the token in it is as untrusted as the hash it comes from."""
        from redis.exceptions import InvalidResponse

        try:
            fields = [
                field.decode() if isinstance(field, bytes) else field for field in cast("Sequence[object]", answer)
            ]
            status, text = str(fields[0]), str(fields[3])
            fence, wait, generation, life, left, code, count, cool, lease = (
                int(str(fields[place])) for place in (1, 2, 4, 5, 6, 7, 8, 9, 10)
            )
        except (ValueError, TypeError, IndexError):
            raise InvalidResponse("this is not an answer of our script") from None
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

    def _after_fork(self) -> None:
        # The sockets are the parent's. Closing them through their loop would stir its epoll set, which parent and
        # child share: so they are put aside, never touched again.
        _PARENTS.append(dict(self._lines))
        self._lock = threading.Lock()
        self._lines = weakref.WeakKeyDictionary()
        self._forked = True


def _context(key: TokenKey, generation: int) -> str:
    return f"{key.appid}:{key.channel}:{generation}"


def _tamed(url: Secret) -> dict[str, object]:
    """Return settings for the connections of a URL; what its query names wins over them."""
    settings: dict[str, object] = {"protocol": 2}  # the answers are lists and numbers; saves a HELLO per connection
    if url.reveal().startswith("rediss:"):
        settings["ssl_check_hostname"] = True  # redis-py 5 leaves it off
    return settings


def _look_at(url: str) -> tuple[str, tuple[Secret, ...]]:
    """Return how to name the server of ``url`` in messages, and the passwords that must not appear there."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"redis", "rediss", "unix"} or parts.fragment or "@" in parts.path + parts.query:
        # The address itself is not shown: what cannot be taken apart cannot be masked.
        raise ConfigError(
            "source must be a redis://, rediss:// or unix:// URL; percent-encode the password ('@', '/', '#', '?')",
            field="source",
        )
    secrets = [parts.password or ""]
    secrets += [value for name, value in parse_qsl(parts.query) if "password" in name]
    secrets += [unquote(secret) for secret in secrets]
    place = parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{port or 6379}{parts.path}"
    return f"{parts.scheme}://{place}", tuple(Secret(secret) for secret in dict.fromkeys(secrets) if secret)


def _clean(problem: BaseException, hidden: Sequence[str]) -> str:
    """Strip frames and secrets from ``problem``, so that it may be shown as a cause; return one line about it."""
    problem.__traceback__ = problem.__cause__ = problem.__context__ = None
    text = scrub(str(problem), hidden)
    text = text.partition(", with args beginning with")[0]  # the server repeats arguments to whom it does not know
    if text != str(problem):
        problem.args = (text,)
    return " ".join(text.split())[:200]


def _close_soon(line: _Line | _Direct) -> None:
    task = asyncio.ensure_future(line.close())
    _CLOSING.add(task)
    task.add_done_callback(_CLOSING.discard)


_SCRIPT: Final = _script()
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_STORES: Final[weakref.WeakSet[RedisTokenStore]] = weakref.WeakSet()
_CLOSING: Final[set[asyncio.Future[None]]] = set()
_PARENTS: Final[list[object]] = []


def _after_fork() -> None:
    for store in list(_STORES):
        store._after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
