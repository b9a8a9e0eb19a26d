"""The way to the network and back, and the only file that imports httpx.

A :class:`~wxmp._request.WireRequest` goes in, a :class:`~wxmp._request.WireReply` comes out, and every failure in
between is one of our own errors that carries no credential. Three rules hold for both kinds of client, ours and the
user's:

* **What is secret is added last**, below the client: see :mod:`wxmp._cargo`. The client sees neither query nor body.
* **Every call ends.** One deadline covers waiting for a connection, connecting, sending and reading.
* **Nothing is left behind.** A connection goes back to the pool only after its answer was read to the end.

What is around it: :mod:`wxmp._body` makes bodies, :mod:`wxmp._answer` reads answers, :mod:`wxmp._loop_pools` and
:mod:`wxmp._pool` keep connections, :mod:`wxmp._user_client` uses a client that was handed to us, :mod:`wxmp._failure`
says what an error means.

A private attribute of httpx this file relies on, with a test that names it: ``AsyncHTTPTransport._pool``. Our pools
take its place, so that instrumentation of that public class still sees our calls.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import attrs
import httpcore
import httpx

from wxmp._answer import Decoder, header_map
from wxmp._cargo import EXTENSION, IN_LINE, Cargo
from wxmp._failure import explain, strip
from wxmp._hosts import is_loopback
from wxmp._log import log_fields
from wxmp._loop_pools import LoopPools
from wxmp._pool import Link, Pool, Tunnel
from wxmp._request import WireReply, WireRequest
from wxmp._user_client import UserClient
from wxmp.errors import ConfigError, TransportError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
    from types import TracebackType

    from wxmp._proxy import Proxy
    from wxmp._redact import Secret

__all__ = ["Transport", "WireStream"]

logger: logging.Logger = logging.getLogger("wxmp.transport")

T = TypeVar("T")

#: Seconds for one whole request, and for making a connection (DNS and TLS included).
TIMEOUT: Final = 10.0
CONNECT_TIMEOUT: Final = 3.0
#: Connections to one host.
MAX_CONNECTIONS: Final = 100
#: Bytes of an answer, decoded.
MAX_BODY: Final = 10 * 2**20
#: Seconds :meth:`Transport.aclose` waits for the calls it has broken off.
CLOSE_WAIT: Final = 1.0

#: Wire bytes beyond the body that an answer may have: headers, chunk sizes.
_OVERHEAD: Final = 128 * 1024
_ADDRESSES: Final = 1024
_PORTS: Final = 65536

_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_QUERY: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")


# Addresses


@attrs.frozen(eq=False)
class _Address:
    """What a request can know before it is made."""

    #: What the client above sees: no query.
    url: httpx.URL
    key: tuple[bytes, bytes, int]
    #: The path as it goes over the wire.
    path: str
    #: Whether credentials may go there.
    allowed: bool


def _site_url(text: str, *, allow_insecure: bool, field: str) -> httpx.URL:
    if not isinstance(text, str):
        raise ConfigError(f"{field} must be a text such as 'https://api.weixin.qq.com'", field=field)
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError):
        raise ConfigError(f"{field} is not a URL", field=field) from None
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 443) < _PORTS:
        raise ConfigError(f"{field} must start with https:// and name a host (and a port that exists)", field=field)
    if url.userinfo or url.query or url.fragment or "?" in text or "#" in text:
        raise ConfigError(f"{field} must hold no user name, query or fragment", field=field)
    if url.scheme == "http" and not allow_insecure and not is_loopback(url.host):
        raise ConfigError(
            f"{field} must use https: tokens would cross the network in the clear. "
            "Plain http is for this machine only, or with allow_insecure=True",
            field=field,
        )
    return url


def _key(url: httpx.URL) -> tuple[bytes, bytes, int]:
    """Return scheme, host and port: what tells connections apart."""
    return url.raw_scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80)


def _address(site: httpx.URL, path: str, *, allowed: bool) -> _Address:
    if _PATH.fullmatch(path) is None or "/../" in f"{path}/" or "/./" in f"{path}/":
        raise ConfigError(
            "path must be a plain path such as '/cgi-bin/user/info'; parameters go into params", field="path"
        )
    whole = site.raw_path.decode("ascii").rstrip("/") + path
    return _Address(site.copy_with(raw_path=whole.encode("ascii")), _key(site), whole, allowed)


# Our own client: httpx over our pools


@lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    """One context for the whole process: making one reads a few hundred certificates (about 10 ms)."""
    return httpx.create_ssl_context()


def _mutual_context(certificate: tuple[str, str]) -> ssl.SSLContext:
    """Return a context of its own that shows a certificate; nobody else's connections may do that."""
    context = httpx.create_ssl_context()
    try:
        # A key with a password must not end in a question on the terminal.
        context.load_cert_chain(*certificate, password="")
    except (OSError, ValueError, TypeError):  # the errors of TLS are OSErrors
        problem = "client_certificate: the two files cannot be read, or do not belong together, or have a password"
    else:
        return context
    raise ConfigError(problem, field="client_certificate")


def _make_pool(key: tuple[bytes, bytes, int], limit: int, mutual: ssl.SSLContext | None, proxy: Proxy | None) -> Pool:
    context = (mutual or _ssl_context()) if key[0] == b"https" else None
    tunnel = None
    if proxy is not None and not is_loopback(key[1].decode("ascii")):  # no proxy has a way to this machine
        tunnel = Tunnel(proxy, _ssl_context() if proxy.secure else None)
    return Pool(httpcore.Origin(*key), limit=limit, ssl_context=context, tunnel=tunnel)


class _TrueURL(httpcore.URL):
    """The address with its query, for httpcore; it prints without."""

    def __init__(self, origin: httpcore.Origin, target: Secret) -> None:
        self.scheme = origin.scheme
        self.host = origin.host
        self.port = origin.port
        self.target = target.reveal().encode("ascii")
        self._origin = origin

    @property
    def origin(self) -> httpcore.Origin:
        """The origin, made once per pool instead of twice per request."""
        return self._origin

    def __repr__(self) -> str:
        return f"<URL of {self._origin}>"


class _Nothing:
    """The body of a request that has none."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


_NOTHING: Final = _Nothing()


class _Exchange:
    """Stands where httpx keeps its own pool: sends what the cargo holds and reads the answer."""

    def __init__(self, pools: LoopPools) -> None:
        self._pools = pools

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request of ours and, unless it streams, read the whole answer."""
        cargo: Cargo = request.extensions[EXTENSION]
        pool = self._pools.current(cargo.key) or self._pools.open(cargo.key)
        body = cargo.body()
        headers = request.headers
        own = cargo.headers()
        if own:
            replaced = {name.lower() for name, _ in own}
            headers = [line for line in headers if line[0].lower() not in replaced] + own
        if body is not None:
            headers = headers + body.headers()
        elif request.method == b"POST":
            headers = [*headers, (b"Content-Length", b"0")]
        true = httpcore.Request(
            request.method,
            _TrueURL(pool.origin, cargo.target()),
            headers=headers,
            content=_NOTHING if body is None else body,
            extensions={"timeout": request.extensions["timeout"]},
        )
        cargo.sent = False
        cargo.stage = IN_LINE
        link = pool.take() or await pool.wait()
        cargo.stage = "connecting"
        cargo.via = pool.via
        link.begin(2 * cargo.limit + _OVERHEAD, cargo.marks)
        try:
            response = await link.http.handle_async_request(true)
            if cargo.streaming:
                cargo.sent = True
                return _outer(response, _Lease(response, pool, link))
            reply_headers = header_map(response.headers)
            decoder = Decoder(reply_headers, cargo.limit)
            chunks = [chunk async for chunk in response.stream]  # type: ignore[union-attr]
            await response.aclose()
        except BaseException:
            cargo.sent = link.may_have_sent()
            pool.discard(link)
            raise
        finally:
            if body is not None:
                await body.aclose()
        cargo.sent = True
        pool.release(link)
        cargo.reply = WireReply(response.status, reply_headers, decoder.whole(chunks))
        return _outer(response, b"")


def _outer(response: httpcore.Response, content: Any) -> httpcore.Response:
    """What the client above gets to see of an answer."""
    extensions = {
        name: response.extensions[name] for name in ("http_version", "reason_phrase") if name in response.extensions
    }
    return httpcore.Response(response.status, headers=response.headers, content=content, extensions=extensions)


class _Lease:
    """The body of a streamed answer. The connection goes back to the pool when it was read to its end."""

    def __init__(self, response: httpcore.Response, pool: Pool, link: Link) -> None:
        self._response = response
        self._pool = pool
        self._link: Link | None = link

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.stream:  # type: ignore[union-attr]
                yield chunk
            await self._response.aclose()
        except BaseException:
            await self.aclose()
            raise
        link, self._link = self._link, None
        if link is not None:
            self._pool.release(link)

    async def aclose(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._pool.discard(link)


class _PoolTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over our pools.

    It is a subclass so that whoever instruments ``httpx.AsyncHTTPTransport`` sees our calls; it sees them without
    query and body.
    """

    def __init__(self, exchange: _Exchange) -> None:
        # Not super().__init__(): it would make a pool and an SSL context that nobody uses.
        self._pool = exchange  # type: ignore[assignment]


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none."""


class _ForgetfulClient(httpx.AsyncClient):
    """httpx's client without a memory: cookies of one account must not reach another."""

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise AttributeError("this client keeps no cookies")


_NO_COOKIES: Final = _NoCookies()
_NO_AUTH: Final = httpx.Auth()
_NO_CONTENT: Final = httpx.ByteStream(b"")


class _OwnClient:
    """Sends calls through our own client; what :class:`~wxmp._user_client.UserClient` is for the user's."""

    def __init__(self, pools: LoopPools, timeouts: Mapping[str, float | None]) -> None:
        self._client = _ForgetfulClient(transport=_PoolTransport(_Exchange(pools)), trust_env=False, timeout=None)
        self._timeouts = timeouts
        self._headers: dict[tuple[bytes, bytes, int], httpx.Headers] = {}

    async def exchange(self, cargo: Cargo, url: httpx.URL) -> WireReply:
        """Send and read the whole answer."""
        response = await self.send(cargo, url)
        await response.aclose()
        if cargo.reply is None:
            raise TransportError("httpx answered without sending the request", maybe_acted=False)
        return cargo.reply

    async def send(self, cargo: Cargo, url: httpx.URL) -> httpx.Response:
        """Send and return httpx's response, its body unread if the cargo streams; ``url`` has no query."""
        headers = self._headers.get(cargo.key)
        if headers is None:
            headers = self._headers[cargo.key] = httpx.Headers(
                [
                    (b"Host", url.netloc),
                    (b"Accept", b"*/*"),
                    (b"Accept-Encoding", b"identity"),
                    (b"User-Agent", b"wxmp-sdk"),
                ]
            )
        outer = httpx.Request(
            cargo.request.method,
            url,
            headers=headers,
            stream=_NO_CONTENT,
            extensions={EXTENSION: cargo, "timeout": self._timeouts},
        )
        return await self._client.send(outer, stream=True, auth=_NO_AUTH)


# The transport


class Transport:
    """Sends requests to the platform. May be used from several event loops and threads; connections are per loop.

    Args:
        base_url: Scheme and host, perhaps with a path before every path: ``"https://api.weixin.qq.com"``.
        timeout: Seconds for one whole request.
        connect_timeout: Seconds for making a connection.
        max_connections: Connections to one host in one event loop; further calls wait in line.
        http_client: An ``AsyncClient`` of httpx, httpx2 or the same shape, instead of ours. It is used with its
            transports, headers, hooks and proxies, is not changed and not closed.
        proxy: Through which connections are made, all but those to this machine. It sees which host is meant, and
            with https nothing else.
        max_body: Bytes an answer may have, decoded.
        allow_insecure: Permit plain http to other machines. Everybody on the way can then read the token.
        allowed_origins: Further hosts that may be sent credentials.
        client_certificate: Files of a certificate and its private key, shown in every TLS handshake of this transport.

    Raises:
        ConfigError: An argument cannot work; ``field`` names it.
    """

    def __init__(
        self,
        *,
        base_url: str,
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_connections: int = MAX_CONNECTIONS,
        http_client: object | None = None,
        proxy: Proxy | None = None,
        max_body: int = MAX_BODY,
        allow_insecure: bool = False,
        allowed_origins: Sequence[str] = (),
        client_certificate: tuple[str, str] | None = None,
    ) -> None:
        numbers: dict[str, object] = {
            "timeout": timeout,
            "connect_timeout": connect_timeout,
            "max_connections": max_connections,
            "max_body": max_body,
        }
        for field, value in numbers.items():
            # Not infinity either: every call ends.
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
                raise ConfigError(f"{field} must be a number above 0", field=field)
        self._url = partial(_site_url, allow_insecure=allow_insecure)
        self._base = self._url(base_url, field="base_url")
        self._allowed = {origin: self._url(origin, field="allowed_origins") for origin in allowed_origins}
        self._addresses: dict[tuple[str | None, str], _Address] = {}
        self._timeout = timeout
        self._max_body = max_body
        self._running: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False
        if client_certificate is not None and http_client is not None:
            raise ConfigError("give the certificate to the http_client", field="client_certificate")
        if proxy is not None and http_client is not None:
            raise ConfigError("give the proxy to the http_client: httpx.AsyncClient(proxy=...)", field="proxy")
        mutual = None if client_certificate is None else _mutual_context(client_certificate)
        self._pools = LoopPools(partial(_make_pool, limit=max_connections, mutual=mutual, proxy=proxy))
        timeouts = {"connect": connect_timeout, "read": None, "write": None, "pool": None}
        self._client = _OwnClient(self._pools, timeouts) if http_client is None else UserClient(http_client, timeouts)

    @property
    def closed(self) -> bool:
        """Whether :meth:`aclose` was called."""
        return self._closed

    def __repr__(self) -> str:
        return f"<Transport to {self._base}>"

    async def send(self, request: WireRequest) -> WireReply:
        """Send ``request`` and return the whole answer, whatever its status; redirects are not followed.

        Raises:
            TimedOutError: The time ran out.
            TransportError: No usable answer; ``maybe_acted`` is false only if certainly nothing was sent.
            ReplyError: The answer is too large or damaged.
            ConfigError: The request cannot work, or the transport is closed. Nothing was sent.
        """
        address, cargo = self._load(request, self._max_body, streaming=False)
        try:
            reply = await self._bounded(self._client.exchange(cargo, address.url), cargo, request)
        finally:
            cargo.unload()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "%s: HTTP %d, %d bytes",
                request.label,
                reply.status,
                len(reply.content),
                extra=log_fields("http_answered", endpoint=request.label, status=reply.status, size=len(reply.content)),
            )
        return reply

    def stream(self, request: WireRequest, *, max_body: int | None = None) -> WireStream:
        """Return an asynchronous context manager that sends ``request`` and reads the answer piece by piece.

        Args:
            request: The request. Its ``timeout`` covers everything up to the last byte.
            max_body: Bytes the answer may have, decoded; the transport's limit if absent.
        """
        return WireStream(self, request, self._max_body if max_body is None else max_body)

    async def aclose(self) -> None:
        """Break off what runs and close the connections. May be called twice and from any event loop."""
        self._closed = True
        here = asyncio.get_running_loop()
        for scope, loop in list(self._running.items()):
            if loop is here:
                _expire(scope, loop)
            else:
                with suppress(RuntimeError):  # that loop has ended
                    loop.call_soon_threadsafe(_expire, scope, loop)
        if any(loop is here for loop in list(self._running.values())):
            self._emptied = here.create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WAIT):
                    await self._emptied
        self._pools.close()
        await asyncio.sleep(0)  # asyncio closes a socket one turn after it was told to

    # One call

    def _load(self, request: WireRequest, limit: int, *, streaming: bool) -> tuple[_Address, Cargo]:
        if self._closed:
            raise ConfigError("this client is closed", field="client")
        address = self._addresses.get((request.origin, request.path)) or self._make_address(request)
        if _METHOD.fullmatch(request.method) is None:
            raise ConfigError("method must be an HTTP method in capital letters", field="method")
        if request.query and (request.params or _QUERY.fullmatch(request.query) is None):
            raise ConfigError("query must be encoded already, and comes instead of params", field="query")
        credentials = request.credentials
        if credentials is not None:
            if not address.allowed:
                raise ConfigError("credentials are not sent to this host", field="origin")
            if request.params and not credentials.params.keys().isdisjoint(request.params):
                raise ConfigError("params names a parameter that the credentials set", field="params")
        seconds = self._timeout if request.timeout is None else request.timeout
        return address, Cargo(
            request,
            address.key,
            address.path,
            limit=limit,
            seconds=seconds,
            deadline=asyncio.get_running_loop().time() + seconds,
            streaming=streaming,
        )

    def _make_address(self, request: WireRequest) -> _Address:
        site, allowed = self._base, True
        if request.origin in self._allowed:
            site = self._allowed[request.origin]
        elif request.origin is not None:
            site = self._url(request.origin, field="origin")
            allowed = _key(site) == _key(self._base)
        if len(self._addresses) >= _ADDRESSES:
            self._addresses.clear()  # paths are constants; only somebody who makes them up gets here
        address = self._addresses[request.origin, request.path] = _address(site, request.path, allowed=allowed)
        return address

    async def _bounded(self, work: Awaitable[T], cargo: Cargo, request: WireRequest) -> T:
        """Await ``work`` until the deadline, or until the transport is closed, and make its failure one of ours."""
        scope = asyncio.timeout_at(cargo.deadline)
        self._running[scope] = asyncio.get_running_loop()
        try:
            async with scope:
                return await work
        except Exception as error:  # noqa: BLE001 - judged below; what is not ours to judge leaves as it came
            failure = explain(error, cargo, request, expired=scope.expired(), closed=self._closed)
        except BaseException as error:
            strip(error)
            raise
        finally:
            del self._running[scope]
            if self._emptied is not None:
                self._leave(self._emptied)
        raise failure

    def _leave(self, emptied: asyncio.Future[None]) -> None:
        loop = emptied.get_loop()
        if not any(other is loop for other in list(self._running.values())):
            with suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(_settle, emptied)


def _expire(scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> None:
    with suppress(RuntimeError):  # it has just ended
        scope.reschedule(loop.time())


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class WireStream:
    """An answer that is read piece by piece: ``async with transport.stream(request) as reply``."""

    def __init__(self, transport: Transport, request: WireRequest, limit: int) -> None:
        self._transport = transport
        self._request = request
        self._limit = limit
        self._cargo: Cargo | None = None
        self._response: Any = None
        self._pieces: AsyncIterator[bytes] | None = None
        #: HTTP status.
        self.status: int = 0
        #: Headers, lower-case names.
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        address, cargo = self._transport._load(self._request, self._limit, streaming=True)  # noqa: SLF001 - other half
        self._cargo = cargo
        try:
            self._response = await self._step(self._transport._client.send(cargo, address.url), cargo)  # noqa: SLF001
        except BaseException:
            cargo.unload()
            raise
        self.status = self._response.status_code
        self.headers = header_map(self._response.headers.raw)
        self._pieces = self._read(self._response.stream)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        response, self._response = self._response, None
        self._pieces = None
        if self._cargo is not None:
            self._cargo.unload()
        if response is not None:
            await response.aclose()

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the decoded body, once. The deadline goes on running between the pieces, and the size is limited."""
        pieces, self._pieces = self._pieces, None
        if pieces is None or self._cargo is None:
            raise ConfigError("the stream is not open, or was read already", field="stream")
        while (piece := await self._step(anext(pieces, None), self._cargo)) is not None:
            yield piece

    async def _read(self, stream: Any) -> AsyncIterator[bytes]:
        decoder = Decoder(self.headers, self._limit)
        async for chunk in stream:
            for piece in filter(None, decoder.feed(chunk)):
                yield piece
        for piece in filter(None, decoder.finish()):
            yield piece

    def _step(self, work: Awaitable[T], cargo: Cargo) -> Awaitable[T]:
        return self._transport._bounded(work, cargo, self._request)  # noqa: SLF001
