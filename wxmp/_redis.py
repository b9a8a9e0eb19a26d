"""The way to a Redis server: Lua scripts on connections that survive event loops, threads, forks and restarts.

Whoever keeps something in Redis owns one :class:`RedisScripts` and knows no redis-py: it names keys, hands over
arguments and reads a :class:`Row`. ``redis`` is imported with the first object that is made, not with this module.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import os
import re
import threading
import weakref
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from wxmp._redact import Secret, scrub
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from typing import Self

    from redis.asyncio import ConnectionPool, Redis, RedisCluster

    from wxmp.errors import WxmpError

__all__ = ["CONNECTIONS", "REPEATED", "WRITE_HASH", "Argument", "OddAnswerError", "RedisScripts", "Row", "Script"]

#: Lua for scripts that keep a record in the hash ``key``: ``write(name, value, ...)``. It goes by their locals ``key``
#: and ``foreign``, which says that something else stands there.
WRITE_HASH: Final = """local function write(...)
  -- something else under our name; PEXPIRE with no time left removes it, and is in the ACL rule anyway
  if foreign then redis.call('PEXPIRE', key, -1); foreign = false end
  local fields = {...}
  for i = 1, #fields do
    if type(fields[i]) == 'number' then fields[i] = string.format('%.0f', fields[i]) end
  end
  redis.call('HSET', key, unpack(fields))
end"""

#: Connections of one process and event loop. One is enough for the token keeper; more only spare waiting in a crowd.
CONNECTIONS: Final = 4

_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,19}")

T = TypeVar("T")


class _Mark(enum.Enum):
    REPEATED = enum.auto()


#: Stands among the arguments of a script. The script gets ``"0"``, or ``"1"`` when this very call was sent before on a
#: connection that broke: that first try may have been carried out.
REPEATED: Final = _Mark.REPEATED

#: What a script takes. A ``Secret`` is revealed to the wire only; a ``Secret`` and ``bytes`` show in no error.
Argument: TypeAlias = "str | bytes | int | Secret | Literal[_Mark.REPEATED]"


@attrs.frozen
class Script:
    """A Lua script. Its text is a constant of ours: values reach it through ``KEYS`` and ``ARGV`` only."""

    text: str = attrs.field(repr=False)
    sha: str

    @classmethod
    def of(cls, text: str, **parts: int | str) -> Self:
        """Make a script; ``@NAME@`` in its text stands for one of ``parts``: a number, or Lua such as `WRITE_HASH`."""
        for name, value in parts.items():
            text = text.replace(f"@{name}@", str(value))
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class OddAnswerError(Exception):
    """The server's answer is not one of our script."""


class Row:
    """What a script returned, field by field. A field of another kind raises :class:`OddAnswerError`."""

    __slots__ = ("_fields",)

    def __init__(self, answer: object) -> None:
        self._fields: Sequence[object]
        self._fields = cast("Sequence[object]", answer) if isinstance(answer, list | tuple) else (answer,)

    def __len__(self) -> int:
        return len(self._fields)

    def _at(self, place: int) -> object:
        if place >= len(self._fields):
            raise OddAnswerError
        return self._fields[place]

    def data(self, place: int) -> bytes:
        """Return a field as the bytes that it is."""
        value = self._at(place)
        if isinstance(value, str):  # a client of the user's that decodes
            return value.encode("utf-8", "surrogateescape")
        if not isinstance(value, bytes):
            raise OddAnswerError
        return value

    def text(self, place: int) -> str:
        """Return a field as text (UTF-8)."""
        try:
            return self.data(place).decode()
        except UnicodeDecodeError:
            raise OddAnswerError from None

    def number(self, place: int) -> int:
        """Return a whole number, however it came: scripts send large ones as text."""
        value = self._at(place)
        if isinstance(value, int):
            return value
        text = self.text(place)
        if _NUMBER.fullmatch(text) is None:
            raise OddAnswerError
        return int(text)

    def row(self, place: int) -> Row:
        """Return a list within the list."""
        value = self._at(place)
        if not isinstance(value, list | tuple):
            raise OddAnswerError
        return Row(cast("Sequence[object]", value))


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

    async def execute_command(self, *args: object, **options: object) -> object: ...


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

    async def run(self, command: Sequence[str | bytes | int]) -> object:
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
                await self._put_away(connection)
                if isinstance(error, RuntimeError):  # how uvloop says that the other side has closed
                    error = redis.exceptions.ConnectionError(str(error))
                if used_before and not isinstance(error, redis.exceptions.AuthenticationError | TimeoutError):
                    raise _StaleError from error
                raise error from None
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
        from redis.asyncio import RedisCluster
        from redis.client import NEVER_DECODE

        self._commands = commands
        # an answer may be any bytes, whatever the client does for its owner
        cluster = isinstance(cast("object", commands), RedisCluster)
        self._options: dict[str, object] = {NEVER_DECODE: True} if cluster else {}

    async def run(self, command: Sequence[str | bytes | int]) -> object:
        return await self._commands.execute_command(*command, **self._options)

    async def close(self) -> None:
        """Nothing here was opened by us."""


class _StaleError(Exception):
    """A kept connection turned out to be dead. The call may still have been carried out."""


class RedisScripts:
    """Runs scripts on one server or cluster: one round trip each, within a time limit.

    May be used from several event loops and threads, after a fork, and again after :meth:`aclose`. The first call
    connects.

    Attributes:
        prefix: First part of every key of the owner.
        timeout: Seconds for one call, connecting and everything else included.
        where: How to name the server in messages; shows no password.
    """

    def __init__(
        self,
        source: str | Redis | ConnectionPool | RedisCluster,
        *,
        prefix: str,
        timeout: float,
        owner: str,
        fails: Callable[[str], WxmpError],
    ) -> None:
        """Connect with the first call, not here.

        Args:
            source: A ``redis://``, ``rediss://`` or ``unix://`` URL, or a ``redis.asyncio`` client or pool. Of a
                client or pool the settings are used, for connections of our own, one set per event loop. A
                ``RedisCluster`` client is used itself, in the event loop it belongs to.
            prefix: 1 to 64 letters, digits, ``_`` and ``-``.
            timeout: Seconds for one call.
            owner: Name of the class that the user made, for messages.
            fails: Makes the error that the owner promises its callers. It is raised with the cleaned error of redis-py
                or of the operating system as its cause.

        Raises:
            ConfigError: The URL, the prefix or the timeout cannot work.
        """
        # Now rather than with the first call: it takes a tenth of a second of CPU, more on a busy machine, which would
        # stop the event loop and use up the time limit of that call.
        import redis.asyncio  # noqa: F401

        if not 0 < timeout < float("inf"):
            raise ConfigError("timeout must be a positive number of seconds", field="timeout")
        self.prefix = _check_prefix(prefix)
        self.timeout = timeout
        self._owner = owner
        self._fails = fails
        self._url: Secret | None = None
        self._given: ConnectionPool | None = None
        self._commands: _Commands | None = None
        self._secrets: tuple[Secret, ...] = ()
        if isinstance(source, str):
            self._url = Secret(source)
            self.where, self._secrets = _look_at(source)
            if not _is_usable(self._url):
                raise ConfigError("source has an option behind the '?' that redis-py does not take", field="source")
        else:
            self.where = "the given client"
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
        _ALL.add(self)

    def __repr__(self) -> str:
        return f"RedisScripts({self.where!r}, prefix={self.prefix!r})"

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = (), *, read: Callable[[Row], T]
    ) -> T:
        """Run ``script`` and return what ``read`` makes of its answer.

        A kept connection that turns out to be dead is replaced once, so a script may be carried out twice: see
        ``REPEATED``. (A cluster client repeats calls on its own and says nothing: an id of the call among the arguments
        is the way to notice that.) A script that the server does not know is sent with its text, a second round trip.

        Args:
            script: What to run.
            keys: All keys that it touches; in a cluster, of one slot.
            args: ``Secret`` for what nobody may see, up to the last frame.
            read: Turns the answer into a record. It raises :class:`OddAnswerError` for what no script of ours says.

        Raises:
            WxmpError: What the owner's ``fails`` makes: no answer in time, a refusal, an odd answer.
        """
        import redis.exceptions

        problem: BaseException
        try:
            async with asyncio.timeout(self.timeout):
                answer = await self._send(script, keys, args)
            return read(Row(answer))
        except _StaleError as error:
            problem = error.__cause__ or error
        except TimeoutError as error:  # also an OSError: the operating system's own timeout
            problem = error
        except (OddAnswerError, UnicodeDecodeError):
            problem = redis.exceptions.InvalidResponse("this is not an answer of our script")
        except (redis.exceptions.RedisError, OSError) as error:
            problem = error
        # Raised out here so that no __context__ drags the frames of redis-py along, with our arguments in them.
        hidden = [secret.reveal() for secret in (*self._secrets, *args) if isinstance(secret, Secret)]
        hidden += [content.decode("utf-8", "replace") for content in args if isinstance(content, bytes)]
        text = _clean(problem, hidden)
        del hidden
        if not text:
            text = f"no answer within {self.timeout:g} s"
        raise self._fails(f"{self.where}: {text}") from problem

    async def aclose(self) -> None:
        """Close the connections that were opened here. Calls may follow."""
        loop = asyncio.get_running_loop()
        with self._lock:
            lines = dict(self._lines)
            self._lines.clear()
        for owner, line in lines.items():
            if owner is loop:
                await line.close()
            elif not owner.is_closed():
                owner.call_soon_threadsafe(_close_soon, line)

    async def _send(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> object:
        from redis.exceptions import NoScriptError

        line = self._line()
        call: tuple[str, str] = ("EVALSHA", script.sha)
        repeated = "0"
        while True:
            plain = [_plain(argument, repeated) for argument in args]
            try:
                return await line.run((*call, str(len(keys)), *keys, *plain))
            except NoScriptError:
                if call[0] == "EVAL":
                    raise
                call = ("EVAL", script.text)
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
                raise self._fails(
                    f"{self.where} belongs to another event loop or process; give {self._owner} a URL instead"
                )
            return _Direct(self._commands)
        if self._given is not None:
            return _Line(self._given, self.timeout)
        from redis.asyncio import ConnectionPool

        if self._url is None:
            raise ConfigError("source is neither a URL, a client nor a pool", field="source")
        return _Line(ConnectionPool.from_url(self._url.reveal(), **_tamed(self._url)), self.timeout)

    def _after_fork(self) -> None:
        # The sockets are the parent's. Closing them through their loop would stir its epoll set, which parent and
        # child share: so they are put aside, never touched again.
        _PARENTS.append(dict(self._lines))
        self._lock = threading.Lock()
        self._lines = weakref.WeakKeyDictionary()
        self._forked = True


def _check_prefix(value: object) -> str:
    if not isinstance(value, str) or _PREFIX.fullmatch(value) is None:
        raise ConfigError("prefix must be 1 to 64 letters, digits, '_' or '-'", field="prefix")
    return value


def _plain(argument: Argument, repeated: str) -> str | bytes | int:
    if isinstance(argument, Secret):
        return argument.reveal()
    return repeated if isinstance(argument, _Mark) else argument


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


def _is_usable(url: Secret) -> bool:
    """Tell whether redis-py makes connections of a URL; each call would fail, and with an error that is not ours."""
    from redis.asyncio import ConnectionPool
    from redis.exceptions import RedisError

    try:
        pool = ConnectionPool.from_url(url.reveal(), **_tamed(url))
        cast("Callable[[], object]", pool.make_connection)()  # it connects to nobody yet
    except (ValueError, TypeError, RedisError):  # not shown, nor kept as a cause: it repeats what stands there
        return False
    return True


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


_ALL: Final[weakref.WeakSet[RedisScripts]] = weakref.WeakSet()
_CLOSING: Final[set[asyncio.Future[None]]] = set()
_PARENTS: Final[list[object]] = []


def _after_fork() -> None:
    for scripts in list(_ALL):
        scripts._after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
