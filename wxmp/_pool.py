"""Connections to one host, handed out in constant time.

httpx's own pool looks at every connection for every request, which costs more than the request itself once a hundred
of them run. This one is a last-in-first-out list over httpcore's public connection objects: HTTP/1.1 and TLS stay
httpcore's, h11's and asyncio's work. The network stream below is ours for three reasons: closing it needs no ``await``
(so a cancelled call can never leave a socket behind), it knows whether a byte of the request went out (so "the
platform certainly did not act" is a fact and not a guess), and it bounds what an answer may send.
"""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
import ssl
import sys
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpcore

from wxmp._proxy import HEAD_MAX, without_interim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wxmp._proxy import Proxy

__all__ = ["KEEPALIVE", "Link", "NetStream", "Pool", "PoolClosed", "ReplyTooLarge", "Tunnel"]

#: A connection that was idle longer is not used again. Seconds; shorter than what the servers in front of the platform
#: commonly allow, because a request that crosses the server's goodbye has an unknown outcome.
KEEPALIVE: Final = 20.0
#: Seconds before the next address of a host is tried beside the one that does not answer (RFC 8305).
HAPPY_EYEBALLS_DELAY: Final = 0.25
#: Unread bytes at which a stream stops reading from its socket, and at which it goes on.
HIGH_WATER: Final = 256 * 1024
LOW_WATER: Final = 64 * 1024


class PoolClosed(Exception):  # noqa: N818 - a state, mapped before anyone outside sees it
    """The pool was closed while a call waited for a connection."""


class ReplyTooLarge(Exception):  # noqa: N818
    """The answer sent more bytes than the call allows."""


class NetStream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A TCP or TLS stream in the shape httpcore wants, closable without ``await``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._ended = False
        self._failure: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._writing_paused = False
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        #: Bytes that may still be read; beyond it :class:`ReplyTooLarge`.
        self.budget = sys.maxsize
        #: Whether a byte of the current request was handed to the system.
        self.wrote = False
        #: Credentials of the current request. A server can echo them in a header (a redirect repeats the whole query),
        #: and httpcore logs headers at DEBUG; so they are overwritten before anyone reads them.
        self.marks: tuple[bytes, ...] = ()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, unless the stream was given up while it connected."""
        self._transport = transport  # type: ignore[assignment]
        if self._ended:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Keep what came in and wake the reader."""
        self._chunks.append(data)
        self._unread += len(data)
        if self._unread > HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> None:
        """Note the end; the transport then closes itself, so a connection the server left keeps no socket."""
        self._ended = True
        self._wake_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end and its reason, and let nobody wait any longer."""
        self._ended = True
        self._failure = exc
        self._wake_reader()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The system's buffer is full."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._writing_paused = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # What httpcore calls

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return what has arrived, at least one byte, or ``b""`` at the end."""
        if not self._chunks and not self._ended:
            self._reader = self._loop.create_future()
            try:
                if timeout is None:
                    await self._reader
                else:
                    async with asyncio.timeout(timeout):
                        await self._reader
            except TimeoutError:
                raise httpcore.ReadTimeout("no data in time") from None
            finally:
                self._reader = None
        if self._chunks:
            data = self._chunks.popleft()
            if len(data) > max_bytes:
                self._chunks.appendleft(data[max_bytes:])
                data = data[:max_bytes]
            size = len(data)
            self._unread -= size
            if self._reading_paused and self._unread <= LOW_WATER and self._transport is not None:
                self._reading_paused = False
                self._transport.resume_reading()
            self.budget -= size
            if self.budget < 0:
                raise ReplyTooLarge
            return self._overwrite(data) if self.marks else data
        if self._failure is not None:
            raise httpcore.ReadError(str(self._failure))
        return b""

    def _overwrite(self, data: bytes) -> bytes:
        head, blank, body = data.partition(b"\r\n\r\n")
        for mark in self.marks:
            if mark in head:
                head = head.replace(mark, b"*" * len(mark))
        if blank:
            self.marks = ()
        return head + blank + body

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send ``buffer``; waits only while the system's buffer is full."""
        if not buffer:
            return
        transport = self._writable()
        self.wrote = True
        transport.write(buffer)
        if self._writing_paused:
            self._writer = self._loop.create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._writer
            except TimeoutError:
                raise httpcore.WriteTimeout("the other side does not read") from None
            finally:
                self._writer = None

    def _writable(self) -> asyncio.Transport:
        transport = self._transport
        if transport is None or self._ended or transport.is_closing():
            raise httpcore.WriteError("the connection is closed")
        return transport

    async def aclose(self) -> None:
        """Close at once."""
        self.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands and go on encrypted."""
        if self._transport is None:
            raise httpcore.ConnectError("the connection is closed")
        if self._chunks:  # it would be read later as if it had come encrypted, and anybody on the way can send it
            self.abort()
            raise httpcore.ConnectError("the other side spoke before the TLS handshake")
        try:
            async with asyncio.timeout(timeout):
                upgraded = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError:
            self.abort()
            raise httpcore.ConnectTimeout("no TLS handshake in time") from None
        except (OSError, ssl.SSLError) as error:
            self.abort()
            raise httpcore.ConnectError(str(error) or "the server broke off the TLS handshake") from None
        except BaseException:
            self.abort()
            raise
        if upgraded is None:  # the connection ended in the same moment as the handshake
            self.abort()
            raise httpcore.ConnectError("the server broke off the TLS handshake")
        self._transport = upgraded
        return self

    def get_extra_info(self, info: str) -> Any:
        """Answer httpcore's questions about the socket and TLS."""
        if info == "is_readable":
            return self.is_stale()
        if self._transport is None:
            return None
        name = {"client_addr": "sockname", "server_addr": "peername"}.get(info, info)
        return self._transport.get_extra_info(name)

    # What the pool calls

    async def ask(self, question: bytes, limit: int) -> bytes:
        """Send what is no part of a request, and return the head of the answer; all in all ``limit`` bytes are read."""
        self._writable().write(question)
        head = b""
        while b"\r\n\r\n" not in head and limit > 0:
            piece = await self.read(limit)
            if not piece:
                break
            limit -= len(piece)
            head = without_interim(head + piece)
        return head

    def is_stale(self) -> bool:
        """Tell whether an idle stream has ended, or was sent something nobody asked for."""
        transport = self._transport
        if transport is None or self._ended or self._chunks or transport.is_closing():
            return True
        # The event loop may not have seen the server's goodbye yet, so the system is asked too. One poll object per
        # stream: making it costs more than asking it.
        if self._poll is None:
            self._poll = _poller(transport)
        return bool(self._poll(0))

    def abort(self) -> None:
        """Close at once, without a goodbye. May be called at any time and more than once."""
        self._ended = True
        self._wake_reader()
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()


def _poller(transport: asyncio.Transport) -> Callable[[int], list[tuple[int, int]]]:
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return lambda _: []  # Windows: what the event loop noticed must do
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return poll.poll


async def _connect(loop: asyncio.AbstractEventLoop, host: str, port: int) -> NetStream:
    """Connect to the first address of ``host`` that answers.

    Not ``create_connection(happy_eyeballs_delay=...)``: uvloop does not know it, and when it is cancelled, asyncio's
    leaves sockets open.
    """
    addresses = await _addresses(loop, host, port)
    if len(addresses) == 1:
        return await _attempt(NetStream(loop), addresses[0], port)
    streams: list[NetStream] = []
    running: set[asyncio.Task[NetStream]] = set()
    failures: list[str] = []
    try:
        while addresses or running:
            if addresses:
                streams.append(NetStream(loop))
                running.add(loop.create_task(_attempt(streams[-1], addresses.pop(0), port)))
            patience = HAPPY_EYEBALLS_DELAY if addresses else None
            done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    streams.remove(task.result())
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                failures.append(str(error))
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_forget)
        for stream in streams:
            stream.abort()
    raise OSError("; ".join(dict.fromkeys(failures)))


async def _addresses(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


async def _attempt(stream: NetStream, address: str, port: int) -> NetStream:
    try:
        await asyncio.get_running_loop().create_connection(lambda: stream, address, port)
    except BaseException:
        stream.abort()
        raise
    return stream


def _forget(task: asyncio.Task[NetStream]) -> None:
    """Take note of the error of an attempt nobody waits for, or asyncio would log it."""
    if not task.cancelled():
        task.exception()


class Tunnel(NamedTuple):
    """A proxy on the way, and what proves that it is the right one (``None``: it is spoken to in the clear)."""

    proxy: Proxy
    ssl_context: ssl.SSLContext | None


class Link(httpcore.AsyncNetworkBackend):
    """One connection of a pool: httpcore's object, and the stream below it."""

    def __init__(
        self, origin: httpcore.Origin, ssl_context: ssl.SSLContext | None, tunnel: Tunnel | None = None
    ) -> None:
        #: What carries requests. Its class is the one that respx patches.
        self.http = httpcore.AsyncHTTPConnection(origin, ssl_context=ssl_context, network_backend=self)
        self.stream: NetStream | None = None
        self.idle_since = 0.0
        self._tunnel = tunnel
        self._budget = sys.maxsize
        self._marks: tuple[bytes, ...] = ()
        self._dialled = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect; httpcore calls this for the first request."""
        self._dialled = True
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                if self._tunnel is None:
                    stream = await _connect(loop, host, port)
                else:
                    stream = await self._dig(loop, self._tunnel, host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("no connection in time") from None
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from None
        stream.budget = self._budget
        stream.marks = self._marks
        self._marks = ()
        self.stream = stream
        return stream

    async def _dig(self, loop: asyncio.AbstractEventLoop, tunnel: Tunnel, host: str, port: int) -> NetStream:
        """Connect to a proxy, and through it to the host: what comes after goes there."""
        proxy = tunnel.proxy
        try:
            # Kept at once: whatever happens from here on, giving up the link closes it.
            stream = self.stream = await _connect(loop, proxy.host, proxy.port)
            if tunnel.ssl_context is not None:
                await stream.start_tls(tunnel.ssl_context, proxy.host)
            head = await stream.ask(proxy.request(host, port), HEAD_MAX)
        except (OSError, httpcore.NetworkError) as error:
            raise httpcore.ProxyError(f"the proxy {proxy.place}: {error}") from None
        trouble = proxy.refusal(head, host, port)
        if trouble:
            raise httpcore.ProxyError(trouble)
        return stream

    def begin(self, budget: int, marks: tuple[bytes, ...] = ()) -> None:
        """Start a request whose answer may have ``budget`` bytes, headers included; ``marks`` are blotted out there."""
        if self.stream is None:
            self._budget = budget
            self._marks = marks
        else:
            self.stream.wrote = False
            self.stream.budget = budget
            self.stream.marks = marks

    def may_have_sent(self) -> bool:
        """Tell whether a byte of the request may have gone out. Only false when that is certain."""
        if self.stream is not None:
            return self.stream.wrote
        return not self._dialled

    def is_clean(self) -> bool:
        """Tell whether the last answer was read to its end and the connection can carry another request."""
        return self.stream is not None and self.http.is_idle()

    def is_fresh(self, now: float, keepalive: float) -> bool:
        """Tell whether this idle connection can be trusted."""
        return self.stream is not None and now - self.idle_since <= keepalive and not self.stream.is_stale()

    def abort(self) -> None:
        """Close at once."""
        if self.stream is not None:
            self.stream.abort()


class Pool:
    """The connections of one event loop to one origin. Nothing here is thread-safe; nothing here awaits but `wait`.

    Whoever takes a link gives it back exactly once, by :meth:`release` or :meth:`discard`. While somebody waits there
    is no idle link and the limit is reached, so those who come later cannot overtake.
    """

    def __init__(
        self,
        origin: httpcore.Origin,
        *,
        limit: int,
        ssl_context: ssl.SSLContext | None = None,
        tunnel: Tunnel | None = None,
        keepalive: float = KEEPALIVE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.origin = origin
        self._ssl_context = ssl_context
        self._tunnel = tunnel
        #: The proxy on the way, as messages name it.
        self.via = "" if tunnel is None else tunnel.proxy.place
        self._limit = limit
        self._keepalive = keepalive
        self._clock = clock
        self._idle: deque[Link] = deque()
        self._waiting: OrderedDict[asyncio.Future[Link], None] = OrderedDict()
        self._closed = False
        #: Links in use and idle.
        self.open = 0
        #: Links ever made.
        self.made = 0

    @property
    def idle(self) -> int:
        """How many links wait for work."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many calls wait for a link."""
        return len(self._waiting)

    def take(self) -> Link | None:
        """Return the link used last, or a new one; ``None`` when the limit is reached and the caller has to wait."""
        if self._closed:
            raise PoolClosed
        idle = self._idle
        if idle:
            now = self._clock()
            while idle:
                link = idle.pop()
                if link.is_fresh(now, self._keepalive):
                    return link
                link.abort()
                self.open -= 1
        if self.open >= self._limit:
            return None
        return self._make()

    async def wait(self) -> Link:
        """Wait in line for a link (first come, first served)."""
        turn: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            return await turn
        except BaseException:
            self._waiting.pop(turn, None)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._hand_on(turn.result())  # the turn came in the same moment as the cancellation
            raise

    def release(self, link: Link) -> None:
        """Give back a link after the answer was read to its end."""
        if self._closed or not link.is_clean():
            self.discard(link)
            return
        link.idle_since = self._clock()
        self._hand_on(link)
        # The oldest ones sit at the other end; looking at one of them per call is enough to let all of them go.
        idle = self._idle
        if idle and link.idle_since - idle[0].idle_since > self._keepalive:
            idle.popleft().abort()
            self.open -= 1

    def discard(self, link: Link) -> None:
        """Give back a link that must not be used again."""
        link.abort()
        self.open -= 1
        while self._waiting and not self._closed and self.open < self._limit:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(self._make())

    def close(self) -> None:
        """Close what is idle and send away who waits. Links in use close when they are given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()
            self.open -= 1
        while self._waiting:
            turn, _ = self._waiting.popitem()
            if not turn.done():
                turn.set_exception(PoolClosed())

    def _make(self) -> Link:
        self.open += 1
        self.made += 1
        return Link(self.origin, self._ssl_context, self._tunnel)

    def _hand_on(self, link: Link) -> None:
        if self._closed:
            self.discard(link)
            return
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(link)
                return
        if link.stream is None:  # made for somebody who then gave up: there is nothing in it to keep
            self.discard(link)
            return
        self._idle.append(link)
