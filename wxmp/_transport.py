"""The way to the network and back, and the only file that imports httpx.

A :class:`WireRequest` goes in, a :class:`WireReply` comes out, and every failure in between is one of our own errors
that carries no credential. Three rules hold for every client below, ours or the user's:

* **What is secret is added last.** The platform wants tokens in the query string, and every tool that prints a URL
  would print them. So the request that httpx, its log line, its event hooks and tracing tools see has neither query nor
  body; both wait in a :class:`_Cargo` and are put in place below the client, where bytes are made. After the call the
  cargo is emptied.
* **Every call ends.** One deadline covers waiting for a connection, connecting, sending and reading.
* **Nothing is left behind.** A connection goes back to the pool only after its answer was read to the end.

Private attributes of httpx this file relies on, each with a test that names it: ``AsyncHTTPTransport._pool`` (our pool
takes its place, so that instrumentation of that public class still sees our calls), ``AsyncClient._transport`` and
``AsyncClient._mounts`` (a copy of the user's client gets them wrapped; the client itself stays as it is).
"""

from __future__ import annotations

import asyncio
import copy
import ipaddress
import json
import logging
import os
import re
import secrets as random_source
import threading
import weakref
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote, unquote

import attrs
import httpcore
import httpx

from wxmp._pool import Link, Pool, PoolClosed, ReplyTooLarge
from wxmp._redact import MASK, Secret, scrub
from wxmp.errors import ConfigError, ReplyError, TimedOutError, TransportError, WxmpError

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

__all__ = ["Credentials", "FilePart", "Transport", "WireReply", "WireRequest", "WireStream"]

logger = logging.getLogger("wxmp.transport")

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
_FILE_CHUNK: Final = 256 * 1024
_INFLATE_CHUNK: Final = 64 * 1024
_ADDRESSES: Final = 1024
_MARK_LENGTH: Final = 12
_PORTS: Final = 65536
#: The request extension under which the cargo travels through a client.
_CARGO: Final = "wxmp.cargo"

_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_SAFE: Final = re.compile(r"[A-Za-z0-9._~-]*")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")
_URL_IN_TEXT: Final = re.compile(r"(https?://[^\s?#'\"]*)[?#][^\s'\"]*")


# Requests and replies


class Credentials:
    """What authorises a request; it is added below the client's logging.

    Args:
        params: Query parameters, for example ``{"access_token": Secret(...)}``.
        json: Fields merged into the JSON body; a ``Secret`` anywhere inside is revealed there.
    """

    __slots__ = ("json", "marks", "params", "query")

    def __init__(self, params: Mapping[str, Secret] | None = None, json: Mapping[str, object] | None = None) -> None:
        self.params: Mapping[str, Secret] = {} if params is None else params
        self.json = json
        #: The parameters as they go into the URL, encoded once.
        self.query = Secret("&".join([f"{name}={_quote(value.reveal())}" for name, value in self.params.items()]))

        #: What an answer's headers must not repeat. Short values (an AppID's part, a flag) are no secrets.
        self.marks = tuple(
            _quote(value.reveal()).encode() for value in self.params.values() if len(value.reveal()) >= _MARK_LENGTH
        )

    def __repr__(self) -> str:
        names = ", ".join([*self.params, *(self.json or ())])
        return f"<Credentials {names}>"

    def values(self) -> list[str]:
        """Return every secret text inside, for scrubbing messages."""
        found: list[str] = []
        for value in self.params.values():
            found += (value.reveal(), _quote(value.reveal()))
        pending: list[object] = list((self.json or {}).values())
        while pending:
            item = pending.pop()
            if isinstance(item, Secret):
                found.append(item.reveal())
            elif isinstance(item, Mapping):
                pending += item.values()
            elif isinstance(item, list | tuple):
                pending += item
        return found


@attrs.frozen(repr=False, eq=False)
class FilePart:
    """One file of a multipart upload; read piece by piece, never as a whole.

    Args:
        name: The form field, for example ``"media"``.
        filename: What the platform is told; sent as raw UTF-8, because it ignores the ``filename*`` form.
        content: Bytes, a path, or an asynchronous iterator of bytes. An iterator can be sent once.
        content_type: Its MIME type.
        size: Bytes an iterator will give. Without it the request has no Content-Length and is sent in chunks.

    Raises:
        ConfigError: A name holds a control character.
    """

    name: str
    filename: str
    content: bytes | Path | AsyncIterator[bytes]
    content_type: str = "application/octet-stream"
    size: int | None = None

    def __attrs_post_init__(self) -> None:
        _refuse_control("name", self.name)
        _refuse_control("filename", self.filename)
        _refuse_control("content_type", self.content_type)

    @property
    def replayable(self) -> bool:
        """Whether the content can be sent a second time."""
        return isinstance(self.content, bytes | Path)

    def __repr__(self) -> str:
        return f"<FilePart {self.name}>"


@attrs.frozen(repr=False, eq=False)
class WireRequest:
    """One HTTP request to the platform.

    Args:
        method: ``"GET"`` or ``"POST"``.
        path: A constant path such as ``"/cgi-bin/user/info"``; never a URL, never with a query.
        params: Query parameters. ``None`` values are left out, ``bool`` becomes ``true``/``false``.
        content: A JSON body, encoded already.
        files: Parts of a multipart upload, instead of ``content``.
        form: Plain fields of a multipart upload.
        credentials: What authorises the request.
        origin: Another host than the transport's base URL, for example ``"https://mp.weixin.qq.com"``. Credentials go
            there only if it is one of the transport's ``allowed_origins``.
        endpoint: For errors and logs; method and path if empty.
        timeout: Seconds for the whole request, instead of the transport's.
    """

    method: str
    path: str
    params: Mapping[str, str | int | bool | None] | None = None
    content: bytes | None = None
    files: Sequence[FilePart] | None = None
    form: Mapping[str, str] | None = None
    credentials: Credentials | None = None
    origin: str | None = None
    endpoint: str = ""
    timeout: float | None = None

    @property
    def replayable(self) -> bool:
        """Whether this request can be sent a second time."""
        return not self.files or all(part.replayable for part in self.files)

    def __repr__(self) -> str:
        return f"<WireRequest {self.endpoint or f'{self.method} {self.path}'}>"


@attrs.frozen(repr=False, eq=False)
class WireReply:
    """An answer: status, headers (lower-case names), decoded body. Its ``repr`` shows no content: it can be a token."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def __repr__(self) -> str:
        return f"<WireReply {self.status}, {len(self.content)} bytes>"


class _Cargo:
    """What waits below the client: the request as it is meant, and where it has got to."""

    __slots__ = ("address", "limit", "reply", "request", "sent", "source_error", "stage", "streaming", "used")

    def __init__(self, request: WireRequest, address: _Address, limit: int, *, streaming: bool) -> None:
        self.request: WireRequest | None = request
        self.address = address
        self.limit = limit
        self.streaming = streaming
        self.reply: WireReply | None = None
        #: Whether a byte went out; ``None`` when only the user's client knows.
        self.sent: bool | None = None
        self.stage = "waiting for the http_client"
        #: What the user's iterator raised while it was sent.
        self.source_error: Exception | None = None
        self.used = False

    def load(self) -> WireRequest:
        if self.request is None:
            raise TransportError("the request was sent again after its call had ended", maybe_acted=False)
        self.used = True
        return self.request

    def marks(self) -> tuple[bytes, ...]:
        credentials = self.load().credentials
        return () if credentials is None else credentials.marks

    def unload(self) -> None:
        """Let nobody who kept the request find a credential."""
        self.request = None
        self.reply = None

    def __repr__(self) -> str:
        return "<cargo>"


# Addresses


class _Site:
    """A host that requests go to."""

    __slots__ = ("allowed", "base", "host_header", "key", "origin", "prefix", "url")

    def __init__(self, text: str, *, allow_insecure: bool, field: str, allowed: bool = True) -> None:
        self.url = _site_url(text, allow_insecure=allow_insecure, field=field)
        #: Whether credentials may go there.
        self.allowed = allowed
        self.prefix = self.url.raw_path.decode("ascii").rstrip("/")
        port = self.url.port or (443 if self.url.scheme == "https" else 80)
        self.origin = httpcore.Origin(self.url.raw_scheme, self.url.raw_host, port)
        self.key = (self.origin.scheme, self.origin.host, port)
        self.host_header = self.url.netloc


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
    if url.scheme == "http" and not allow_insecure and not _is_loopback(url.host):
        raise ConfigError(
            f"{field} must use https: tokens would cross the network in the clear. "
            "Plain http is for this machine only, or with allow_insecure=True",
            field=field,
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Address:
    """A site and a path: what a request can know before it is made."""

    __slots__ = ("site", "target", "url")

    def __init__(self, site: _Site, path: str) -> None:
        if _PATH.fullmatch(path) is None or "/../" in f"{path}/" or "/./" in f"{path}/":
            raise ConfigError(
                "path must be a plain path such as '/cgi-bin/user/info'; parameters go into params", field="path"
            )
        self.site = site
        #: The path as it goes over the wire, without a query.
        self.target = site.prefix + path
        self.url = site.url.copy_with(raw_path=self.target.encode("ascii"))


# Where bytes are made. Frames of these functions hold secrets in the clear, so they are small, call nothing that waits
# and do not appear in the traceback of any error that leaves this file.


def _quote(value: str) -> str:
    return value if _SAFE.fullmatch(value) else quote(value, safe="")


def _refuse_control(field: str, value: object) -> None:
    if not isinstance(value, str) or _UNPRINTABLE.search(value):
        raise ConfigError(f"{field} must be a text without control characters", field=field)


def _query(request: WireRequest) -> str:
    """Return the query string without credentials."""
    if not request.params:
        return ""
    pairs = []
    for name, value in request.params.items():
        if value is None:
            continue
        if value is True or value is False:
            text = "true" if value else "false"
        elif isinstance(value, str):
            try:
                text = _quote(value)
            except UnicodeEncodeError:
                raise ConfigError(f"{name} holds half a surrogate pair, which has no UTF-8 form", field=name) from None
        elif isinstance(value, int):
            text = str(int(value))
        else:
            raise ConfigError(f"{name} must be str, int, bool or None, not {type(value).__name__}", field=name)
        pairs.append(f"{_quote(name)}={text}")
    return "&".join(pairs)


def _target(cargo: _Cargo) -> Secret:
    """Return path and query as they go over the wire."""
    request = cargo.load()
    parts = [_query(request)]
    if request.credentials is not None:
        parts.insert(0, request.credentials.query.reveal())
    query = "&".join([part for part in parts if part])
    return Secret(f"{cargo.address.target}?{query}" if query else cargo.address.target)


def _reveal(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} has no JSON form")


_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_reveal)


class _Body:
    """Bytes that are sent in one piece."""

    __slots__ = ("_content", "content_type", "length")

    def __init__(self, content: bytes, content_type: str | None) -> None:
        self._content = content
        self.content_type = content_type
        self.length: int | None = len(content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._content:
            yield self._content

    async def aclose(self) -> None:
        """Nothing to close."""

    def __repr__(self) -> str:
        return f"<body of {self.length} bytes>"


class _Multipart:
    """A multipart body that is made while it is sent."""

    def __init__(self, cargo: _Cargo, files: Sequence[FilePart], form: Mapping[str, str]) -> None:
        boundary = random_source.token_hex(16)
        self._cargo = cargo
        self._pieces: list[bytes | FilePart] = []
        self.content_type = f"multipart/form-data; boundary={boundary}"
        length: int | None = 0
        for name, value in form.items():
            _refuse_control("form", name)
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_field(name)}"\r\n\r\n{value}\r\n'
            self._pieces.append(head.encode())
        for part in files:
            head = (
                f'--{boundary}\r\nContent-Disposition: form-data; name="{_field(part.name)}"; '
                f'filename="{_field(part.filename)}"\r\nContent-Type: {part.content_type}\r\n\r\n'
            )
            self._pieces += (head.encode(), part, b"\r\n")
        self._pieces.append(f"--{boundary}--\r\n".encode())
        for piece in self._pieces:
            size = len(piece) if isinstance(piece, bytes) else _size(piece)
            length = None if length is None or size is None else length + size
        self.length = length
        self._source = self._run()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._source

    async def aclose(self) -> None:
        """Close the file that is being read, if any."""
        await self._source.aclose()

    async def _run(self) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            try:
                async with aclosing(_read(piece)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except Exception as error:  # noqa: BLE001 - the user's iterator can raise anything
                # It must not pass for a failure of the network on its way up through httpx.
                self._cargo.source_error = error
                raise _SourceFailedError from None

    def __repr__(self) -> str:
        return "<multipart body>"


class _SourceFailedError(Exception):
    """The content of an upload could not be read."""


def _field(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "%22")


def _size(part: FilePart) -> int | None:
    if isinstance(part.content, bytes):
        return len(part.content)
    if isinstance(part.content, Path):
        try:
            return part.content.stat().st_size
        except OSError as error:
            raise ConfigError(f"cannot read the file: {error.strerror}", field=part.name) from None
    return part.size


async def _read(part: FilePart) -> AsyncGenerator[bytes, None]:
    """Yield the content of a part, exactly as many bytes as were announced."""
    if isinstance(part.content, bytes):
        yield part.content
        return
    left = _size(part)
    async with aclosing(_chunks(part.content)) as chunks:
        async for chunk in chunks:
            if left is not None:
                left -= len(chunk)
                if left < 0:
                    break
            yield chunk
    if left:
        raise ConfigError("the content has not the size that was announced; nothing usable was sent", field=part.name)


async def _chunks(source: Path | AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if not isinstance(source, Path):
        async for chunk in source:
            yield chunk
        return
    # Opening waits for no network, and a file opened in a thread would be lost if the call is cancelled meanwhile.
    with source.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _FILE_CHUNK):
            yield chunk


def _body(cargo: _Cargo) -> _Body | _Multipart | None:
    """Make the body; its credentials are merged in here."""
    request = cargo.load()
    credentials = request.credentials
    if request.files or request.form:
        if request.content is not None or (credentials is not None and credentials.json):
            raise ConfigError("a request has either a JSON body or files", field="files")
        return _Multipart(cargo, request.files or (), request.form or {})
    if credentials is not None and credentials.json:
        fields = json.loads(request.content) if request.content else {}
        if not isinstance(fields, dict):
            raise ConfigError("credentials can only be merged into a JSON object", field="content")
        return _Body(_JSON.encode({**fields, **credentials.json}).encode(), "application/json")
    if request.content is not None:
        return _Body(request.content, "application/json")
    return None


class _TrueURL(httpcore.URL):
    """The address with its query, for httpcore; it prints without."""

    def __init__(self, site: _Site, target: Secret) -> None:
        self.scheme = site.origin.scheme
        self.host = site.origin.host
        self.port = site.url.port
        self.target = target.reveal().encode("ascii")
        self._origin = site.origin

    @property
    def origin(self) -> httpcore.Origin:
        """The origin, made once per site instead of twice per request."""
        return self._origin

    def __repr__(self) -> str:
        return f"<URL of {self._origin}>"


class _Nothing:
    """The body of a request that has none."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nothing to close."""


_NOTHING: Final = _Nothing()


# Answers


def _header_map(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


class _Decoder:
    """Counts the bytes of an answer and undoes its compression, never holding more than allowed.

    We ask for no compression: the answers are small and a local copy of one costs less than unpacking it. A proxy may
    compress all the same.
    """

    def __init__(self, headers: Mapping[str, str], limit: int, endpoint: str) -> None:
        encoding = headers.get("content-encoding", "").strip().lower()
        self._left = limit
        self._limit = limit
        self._endpoint = endpoint
        self._inflate: Any = None
        if encoding in ("gzip", "x-gzip", "deflate"):
            # 32: gzip or zlib, whichever the data says.
            self._inflate = zlib.decompressobj(32 + zlib.MAX_WBITS)
        elif encoding not in ("", "identity"):
            raise ReplyError("the answer is compressed in a way nobody asked for", endpoint=endpoint)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise self._too_large()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return what ``chunk`` holds."""
        if self._inflate is None:
            self._count(chunk)
            return [chunk]
        pieces = []
        try:
            while chunk:
                piece = self._inflate.decompress(chunk, _INFLATE_CHUNK)
                self._count(piece)
                pieces.append(piece)
                chunk = self._inflate.unconsumed_tail
        except zlib.error:
            raise ReplyError("the compressed answer is damaged", endpoint=self._endpoint) from None
        return pieces

    def finish(self) -> list[bytes]:
        """Return the rest; the answer is complete."""
        if self._inflate is None:
            return []
        try:
            rest = self._inflate.flush()
        except zlib.error:
            rest = b""
        self._count(rest)
        if not self._inflate.eof:
            raise ReplyError("the compressed answer is damaged", endpoint=self._endpoint)
        return [rest]

    def whole(self, chunks: Sequence[bytes]) -> bytes:
        """Return the body that ``chunks`` hold."""
        if self._inflate is None and len(chunks) == 1:  # nearly every answer
            self._count(chunks[0])
            return chunks[0]
        pieces = [piece for chunk in chunks for piece in self.feed(chunk)]
        return b"".join([*pieces, *self.finish()])

    def _count(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise self._too_large()

    def _too_large(self) -> ReplyError:
        return ReplyError(f"the answer is larger than {self._limit} bytes", endpoint=self._endpoint)


def _endpoint(request: WireRequest) -> str:
    return request.endpoint or f"{request.method} {request.path}"


# Our own client: httpx over our pool


@lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    """One context for the whole process: making one reads a few hundred certificates (about 10 ms)."""
    return httpx.create_ssl_context()


class _Here:
    """The pools of one event loop."""

    def __init__(self) -> None:
        self.pools: dict[tuple[bytes, bytes, int], Pool] = {}
        self.guard: AsyncGenerator[None, None] | None = None

    def close(self) -> None:
        for pool in self.pools.values():
            pool.close()
        self.pools.clear()


async def _until_loop_ends(here: _Here) -> AsyncGenerator[None, None]:
    """Close the connections of a loop that ends.

    ``asyncio.run`` closes the asynchronous generators that are still open, and nothing else that could remind us. A
    loop has to turn once more before its sockets are closed.
    """
    try:
        yield
    finally:
        here.close()
        await asyncio.sleep(0)


#: Pools that came through a fork. They belong to the parent: closing or collecting them here would disturb its sockets.
_INHERITED: Final[list[object]] = []


class _Pools:
    """Stands where httpx keeps its own pool: finds or makes the connection for a request and reads the answer."""

    _alive: Final[weakref.WeakSet[_Pools]] = weakref.WeakSet()

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = weakref.WeakKeyDictionary()
        self._closed = False
        _watch_forks()
        self._alive.add(self)

    async def __aenter__(self) -> None:
        """Nothing to open."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close; :meth:`close` does."""

    def current(self, site: _Site) -> Pool | None:
        """Return the pool of this event loop for ``site``, if there is one."""
        here = self._by_loop.get(asyncio.get_running_loop())
        return None if here is None else here.pools.get(site.key)

    async def _open(self, site: _Site) -> Pool:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise PoolClosed
            for other in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[other]
            here = self._by_loop.get(loop)
            new = here is None
            if here is None:
                here = self._by_loop[loop] = _Here()
            pool = here.pools.get(site.key)
            if pool is None:
                context = _ssl_context() if site.url.scheme == "https" else None
                pool = here.pools[site.key] = Pool(site.origin, limit=self._limit, ssl_context=context)
        if new:
            here.guard = guard = _until_loop_ends(here)
            await anext(guard)  # does not wait: it only makes the loop notice the generator
        return pool

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request of ours and, unless it streams, read the whole answer."""
        cargo: _Cargo = request.extensions[_CARGO]
        site = cargo.address.site
        body: _Body | _Multipart | _Nothing = _body(cargo) or _NOTHING
        headers = request.headers
        if body is not _NOTHING:
            headers = _with_body_headers(headers, body)
        elif request.method == b"POST":
            headers = [*headers, (b"Content-Length", b"0")]
        true = httpcore.Request(
            request.method,
            _TrueURL(site, _target(cargo)),
            headers=headers,
            content=body,
            extensions={"timeout": request.extensions["timeout"]},
        )
        pool = self.current(site)
        if pool is None:
            pool = await self._open(site)
        cargo.sent = False
        cargo.stage = "waiting for a free connection"
        link = pool.take() or await pool.wait()
        cargo.stage = "connecting"
        link.begin(2 * cargo.limit + _OVERHEAD, cargo.marks())
        try:
            response = await link.http.handle_async_request(true)
            if cargo.streaming:
                cargo.sent = True
                return _outer(response, _Lease(response, pool, link))
            reply_headers = _header_map(response.headers)
            decoder = _Decoder(reply_headers, cargo.limit, "")
            chunks = [chunk async for chunk in response.stream]  # type: ignore[union-attr]
            await response.aclose()
        except BaseException:
            cargo.sent = link.may_have_sent()
            pool.discard(link)
            raise
        finally:
            await body.aclose()
        cargo.sent = True
        pool.release(link)
        content = decoder.whole(chunks)
        cargo.reply = WireReply(response.status, reply_headers, content)
        return _outer(response, b"")

    def close(self) -> None:
        """Close every pool, each in its own event loop."""
        with self._lock:
            self._closed = True
            everything = list(self._by_loop.items())
            self._by_loop.clear()
        try:
            current = asyncio.get_running_loop()
        except RuntimeError:
            current = None
        for loop, here in everything:
            if loop is current or not loop.is_running():
                here.close()
            else:
                with suppress(RuntimeError):  # it has ended in this moment, and closed its connections itself
                    loop.call_soon_threadsafe(here.close)

    def forget(self) -> None:
        """Start anew in a forked child."""
        self._lock = threading.Lock()
        _INHERITED.append(self._by_loop)
        self._by_loop = weakref.WeakKeyDictionary()

    async def aclose(self) -> None:
        """Close everything (httpx calls it when its client is closed)."""
        self.close()


@lru_cache(maxsize=1)
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for pools in list(_Pools._alive):  # noqa: SLF001 - its own module
        pools.forget()


def _with_body_headers(
    headers: list[tuple[bytes, bytes]], body: _Body | _Multipart | _Nothing
) -> list[tuple[bytes, bytes]]:
    extra = []
    if isinstance(body, _Body | _Multipart):
        if body.content_type is not None:
            extra.append((b"Content-Type", body.content_type.encode("ascii")))
        if body.length is None:
            extra.append((b"Transfer-Encoding", b"chunked"))
        else:
            extra.append((b"Content-Length", b"%d" % body.length))
    return headers + extra


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
            self._discard()
            raise
        link, self._link = self._link, None
        if link is not None:
            self._pool.release(link)

    async def aclose(self) -> None:
        self._discard()

    def _discard(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._pool.discard(link)


class _PoolTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over our pool.

    It is a subclass so that whoever instruments ``httpx.AsyncHTTPTransport`` sees our calls; it sees them without
    query and body.
    """

    def __init__(self, pools: _Pools) -> None:
        # Not super().__init__(): it would make a pool and an SSL context that nobody uses.
        self._pool = pools  # type: ignore[assignment]


class _Client(httpx.AsyncClient):
    """httpx's client without a memory: cookies of one account must not reach another."""

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise AttributeError("this client keeps no cookies")


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none."""


_NO_COOKIES: Final = _NoCookies()
_NO_AUTH: Final = httpx.Auth()
_NO_CONTENT: Final = httpx.ByteStream(b"")


# The user's client: a copy with wrapped transports


class _UserClient(Protocol):
    """What httpx.AsyncClient and its descendants have in common, as far as we need it."""

    _transport: Any
    _mounts: dict[Any, Any]
    is_closed: bool
    timeout: Any

    def build_request(self, method: str, url: str, **kwargs: Any) -> Any: ...
    async def send(self, request: Any, **kwargs: Any) -> Any: ...


#: Transport classes that take the address from ``str(request.url)`` and so never see the query (httpx-aiohttp does).
_TEXT_READERS: Final[weakref.WeakSet[type]] = weakref.WeakSet()
#: Libraries whose transports are known to read the parts of the address.
_PART_READERS: Final = frozenset({"httpx", "httpx2", "respx", "opentelemetry"})


@lru_cache(maxsize=8)
def _sealed_class(plain: Any) -> Any:
    """Make a URL class that prints without its query and still tells transports the truth.

    Transports read ``raw_path`` (or ``query``) of the address; loggers and tracing tools print it. Copies made of it
    are plain and hold no query.
    """

    class SealedURL(plain):  # type: ignore[misc]
        def __init__(self, clean: Any, target: Secret) -> None:
            self.__dict__.update(clean.__dict__)
            self._target: Secret | None = target
            self._clean = clean
            self.was_read = False
            self.was_printed = False

        def _true(self) -> bytes:
            self.was_read = True
            return bytes(self._clean.raw_path) if self._target is None else self._target.reveal().encode("ascii")

        @property
        def raw_path(self) -> bytes:
            return self._true()

        @property
        def query(self) -> bytes:
            return self._true().partition(b"?")[2]

        @property
        def params(self) -> Any:
            return type(self._clean.params)(self.query.decode("ascii"))

        def __str__(self) -> str:
            self.was_printed = True
            return str(self._clean)

        def __repr__(self) -> str:
            return repr(self._clean)

        def seal(self) -> None:
            self._target = None

    return SealedURL


@lru_cache(maxsize=32)
def _forgetful_class(plain: Any) -> Any:
    """Make a stream class that lets go of the stream below when it is closed.

    That one knows httpcore's request, and a response can be kept by a hook long after the call.
    """
    base: Any = next((kind for kind in plain.__mro__ if kind.__name__ == "AsyncByteStream"), object)

    class ForgetfulStream(base):  # type: ignore[misc]
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        async def __aiter__(self) -> AsyncIterator[bytes]:
            if self._inner is not None:
                async for chunk in self._inner:
                    yield chunk

        async def aclose(self) -> None:
            inner, self._inner = self._inner, None
            if inner is not None:
                await inner.aclose()

    return ForgetfulStream


class _Wrapped:
    """A transport of the user's client; requests of ours get their query and body just above it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def handle_async_request(self, request: Any) -> Any:
        cargo = request.extensions.get(_CARGO)
        if not isinstance(cargo, _Cargo):
            return await self._inner.handle_async_request(request)  # somebody else's, an auth flow's for example
        response = await self._send(request, cargo)
        for mark in cargo.marks():
            for name, value in list(response.headers.items()):
                if mark.decode() in value:  # a redirect repeats the whole query
                    response.headers[name] = value.replace(mark.decode(), MASK)
        plain: Any = type(response.stream)
        response.stream = _forgetful_class(plain)(response.stream)
        return response

    async def _send(self, request: Any, cargo: _Cargo) -> Any:
        kind = type(self._inner)
        if kind in _TEXT_READERS:
            return await self._send_plain(request, cargo)
        inner, body = self._dress(request, cargo)
        plain: Any = type(inner.url)
        sealed = inner.url = _sealed_class(plain)(inner.url, _target(cargo))
        try:
            response = await self._inner.handle_async_request(inner)
        finally:
            blind = sealed.was_printed and not sealed.was_read and sealed.query != b""
            sealed.seal()
            if isinstance(body, _Multipart):
                await body.aclose()
            if blind and kind.__module__.partition(".")[0] not in _PART_READERS:
                _TEXT_READERS.add(kind)
        if kind not in _TEXT_READERS:
            return response
        # It went out without query, so the platform has refused it: no token. Once per class of transport.
        await response.aclose()
        if not cargo.load().replayable:
            raise TransportError("the http_client cannot send this upload; another attempt can", maybe_acted=False)
        return await self._send_plain(request, cargo)

    async def _send_plain(self, request: Any, cargo: _Cargo) -> Any:
        inner, body = self._dress(request, cargo)
        clean = inner.url
        inner.url = clean.copy_with(raw_path=_target(cargo).reveal().encode("ascii"))
        try:
            # The method of the class: what instrumentation has put on the object would see this address.
            return await type(self._inner).handle_async_request(self._inner, inner)
        finally:
            inner.url = clean
            if isinstance(body, _Multipart):
                await body.aclose()

    def _dress(self, request: Any, cargo: _Cargo) -> tuple[Any, _Body | _Multipart | None]:
        site = cargo.address.site
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if (url.raw_scheme, url.raw_host, port) != site.key:
            raise ConfigError("the http_client changed the host of the request; nothing was sent", field="http_client")
        headers = request.headers.copy()
        for name in ("content-length", "transfer-encoding", "content-type"):
            headers.pop(name, None)
        body = _body(cargo)
        extensions = {name: value for name, value in request.extensions.items() if name != _CARGO}
        if body is not None:
            headers.update(
                {name.decode(): value.decode() for name, value in _with_body_headers([], body)},
            )
        # A body is handed over as a stream: a request keeps its bytes for ever, a stream only until it is sent.
        return type(request)(
            request.method,
            url,
            headers=headers,
            content=None if body is None else body.__aiter__(),
            extensions=extensions,
        ), body

    async def aclose(self) -> None:
        """Not ours to close."""


def _twin(client: _UserClient) -> _UserClient:
    """Copy the user's client as it is now, with wrapped transports; the original keeps its own."""
    twin = copy.copy(client)
    twin._transport = _Wrapped(client._transport)  # noqa: SLF001
    twin._mounts = {  # noqa: SLF001
        pattern: None if transport is None else _Wrapped(transport)
        for pattern, transport in client._mounts.items()  # noqa: SLF001
    }
    return twin


# Failures

_LIBRARIES: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "h11", "anyio", "aiohttp"})
#: Names of errors (the same in httpx, httpx2 and httpcore) after which certainly nothing was sent.
_NOT_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "InvalidURL"}
)


def _strip(error: BaseException) -> None:
    """Take away the frames below us: their locals hold the request as bytes, and error trackers print locals."""
    error.__traceback__ = None
    error.__context__ = None
    error.__cause__ = None


def _clean_text(error: BaseException, request: WireRequest) -> str:
    text = _URL_IN_TEXT.sub(rf"\1?{MASK}", str(error).strip())
    if request.credentials is not None:
        text = scrub(text, request.credentials.values())
    return text[:300] or type(error).__name__


def _shows_secret(error: BaseException, request: WireRequest) -> bool:
    if request.credentials is None:
        return False
    text = f"{error!s} {error!r}"
    return any(value in text or value in unquote(text) for value in request.credentials.values() if value)


def _expire(scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> None:
    with suppress(RuntimeError):  # it has just ended
        scope.reschedule(loop.time())


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Transport:
    """Sends requests to the platform. May be used from several event loops and threads; connections are per loop.

    Args:
        base_url: Scheme and host, perhaps with a path before every path: ``"https://api.weixin.qq.com"``.
        timeout: Seconds for one whole request.
        connect_timeout: Seconds for making a connection.
        max_connections: Connections to one host in one event loop; further calls wait in line.
        http_client: An ``AsyncClient`` of httpx, httpx2 or the same shape, instead of ours. It is used with its
            transports, headers, hooks and proxies, is not changed and not closed.
        max_body: Bytes an answer may have, decoded.
        allow_insecure: Permit plain http to other machines. Everybody on the way can then read the token.
        allowed_origins: Further hosts that may be sent credentials.

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
        max_body: int = MAX_BODY,
        allow_insecure: bool = False,
        allowed_origins: Sequence[str] = (),
    ) -> None:
        numbers: dict[str, object] = {
            "timeout": timeout,
            "connect_timeout": connect_timeout,
            "max_connections": max_connections,
            "max_body": max_body,
        }
        for field, value in numbers.items():
            if not isinstance(value, int | float) or not value > 0:
                raise ConfigError(f"{field} must be a number greater than 0", field=field)
        self._allow_insecure = allow_insecure
        self._site = _Site(base_url, allow_insecure=allow_insecure, field="base_url")
        self._sites = {
            origin: _Site(origin, allow_insecure=allow_insecure, field="allowed_origins") for origin in allowed_origins
        }
        self._addresses: dict[tuple[str | None, str], _Address] = {}
        self._timeout = timeout
        self._max_body = max_body
        self._connect_timeout = connect_timeout
        self._timeouts = {"connect": connect_timeout, "read": None, "write": None, "pool": None}
        self._running: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False
        self._user = None if http_client is None else _checked_client(http_client)
        self._pools = _Pools(max_connections)
        self._client = _Client(transport=_PoolTransport(self._pools), trust_env=False, timeout=None)
        self._headers: dict[_Site, httpx.Headers] = {}

    @property
    def closed(self) -> bool:
        """Whether :meth:`aclose` was called."""
        return self._closed

    def __repr__(self) -> str:
        return f"<Transport to {self._site.origin}>"

    async def send(self, request: WireRequest) -> WireReply:
        """Send ``request`` and return the whole answer, whatever its status; redirects are not followed.

        Raises:
            TimedOutError: The time ran out.
            TransportError: No usable answer; ``maybe_acted`` is false only if certainly nothing was sent.
            ReplyError: The answer is too large or damaged.
            ConfigError: The request cannot work, or the transport is closed. Nothing was sent.
        """
        cargo = self._load(request, self._max_body, streaming=False)
        seconds = self._timeout if request.timeout is None else request.timeout
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            exchange = self._exchange(cargo) if self._user is None else self._exchange_by(self._user, cargo)
            reply = await self._bounded(exchange, cargo, request, deadline, seconds)
        finally:
            cargo.unload()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: HTTP %d, %d bytes", _endpoint(request), reply.status, len(reply.content))
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

    def _load(self, request: WireRequest, limit: int, *, streaming: bool) -> _Cargo:
        if self._closed:
            raise ConfigError("this client is closed", field="client")
        address = self._addresses.get((request.origin, request.path))
        if address is None:
            address = self._make_address(request)
        if _METHOD.fullmatch(request.method) is None:
            raise ConfigError("method must be an HTTP method in capital letters", field="method")
        credentials = request.credentials
        if credentials is not None:
            if not address.site.allowed:
                raise ConfigError("credentials are not sent to this host", field="origin")
            if request.params and not credentials.params.keys().isdisjoint(request.params):
                raise ConfigError("params names a parameter that the credentials set", field="params")
        return _Cargo(request, address, limit, streaming=streaming)

    def _make_address(self, request: WireRequest) -> _Address:
        site = self._site
        if request.origin is not None:
            known = self._sites.get(request.origin)
            site = known or _Site(request.origin, allow_insecure=self._allow_insecure, field="origin", allowed=False)
            if known is None and site.key == self._site.key:
                site.allowed = True
        if len(self._addresses) >= _ADDRESSES:
            self._addresses.clear()  # paths are constants; only somebody who makes them up gets here
        address = self._addresses[request.origin, request.path] = _Address(site, request.path)
        return address

    async def _bounded(
        self, work: Coroutine[Any, Any, T], cargo: _Cargo, request: WireRequest, deadline: float, seconds: float
    ) -> T:
        """Await ``work`` until the deadline, or until the transport is closed, and make its failure one of ours."""
        scope = asyncio.timeout_at(deadline)
        self._running[scope] = asyncio.get_running_loop()
        try:
            async with scope:
                return await work
        except Exception as error:  # noqa: BLE001 - judged below; what is not ours to judge leaves as it came
            failure = self._explain(error, cargo, request, seconds, expired=scope.expired())
        except BaseException as error:
            _strip(error)
            raise
        finally:
            del self._running[scope]
            if self._emptied is not None:
                self._leave()
        raise failure

    def _leave(self) -> None:
        emptied = self._emptied
        if emptied is None or emptied.done():
            return
        loop = emptied.get_loop()
        if not any(other is loop for other in list(self._running.values())):
            with suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(_settle, emptied)

    async def _exchange(self, cargo: _Cargo) -> WireReply:
        response = await self._send_own(cargo)
        await response.aclose()
        if cargo.reply is None:
            raise TransportError("httpx answered without sending the request", maybe_acted=False)
        return cargo.reply

    async def _send_own(self, cargo: _Cargo) -> httpx.Response:
        request = cargo.load()
        site = cargo.address.site
        headers = self._headers.get(site)
        if headers is None:
            headers = self._headers[site] = httpx.Headers(
                [
                    (b"Host", site.host_header),
                    (b"Accept", b"*/*"),
                    (b"Accept-Encoding", b"identity"),
                    (b"User-Agent", b"wxmp-sdk"),
                ]
            )
        outer = httpx.Request(
            request.method,
            cargo.address.url,
            headers=headers,
            stream=_NO_CONTENT,
            extensions={_CARGO: cargo, "timeout": self._timeouts},
        )
        return await self._client.send(outer, stream=True, auth=_NO_AUTH)

    async def _exchange_by(self, client: _UserClient, cargo: _Cargo) -> WireReply:
        response = await self._send_by(client, cargo)
        try:
            decoder = _Decoder(response.headers, cargo.limit, "")
            # The stream itself: its bytes are not decoded yet, however large that would make them.
            pieces = [piece async for chunk in response.stream for piece in decoder.feed(chunk)]
            content = b"".join([*pieces, *decoder.finish()])
        finally:
            await response.aclose()
        return WireReply(response.status_code, _header_map(response.headers.raw), content)

    async def _send_by(self, client: _UserClient, cargo: _Cargo) -> Any:
        request = cargo.load()
        if client.is_closed:
            raise ConfigError("the http_client is closed", field="http_client")
        outer = client.build_request(
            request.method,
            str(cargo.address.url),
            headers={"Accept-Encoding": "identity"},
            # Our deadline rules; how long to wait for the pool of that client is its own business.
            extensions={_CARGO: cargo, "timeout": {**self._timeouts, "pool": getattr(client.timeout, "pool", None)}},
        )
        response = await _twin(client).send(outer, stream=True, follow_redirects=False)
        if not cargo.used:
            await response.aclose()
            raise ConfigError("the http_client bypasses its own transports", field="http_client")
        return response

    def _explain(
        self, error: Exception, cargo: _Cargo, request: WireRequest, seconds: float, *, expired: bool
    ) -> Exception:
        """Return the error to raise, without frames, request or credential."""
        endpoint = _endpoint(request)
        may_have_sent = cargo.sent is not False
        if cargo.source_error is not None:
            return cargo.source_error
        if isinstance(error, WxmpError):
            failure = error.fresh()
            if isinstance(failure, TransportError | ReplyError):
                failure.endpoint = endpoint
            return failure
        if isinstance(error, ReplyTooLarge):
            return ReplyError(f"the answer is larger than {cargo.limit} bytes", endpoint=endpoint)
        if isinstance(error, PoolClosed) or (expired and self._closed):
            return TransportError("the client was closed", endpoint=endpoint, maybe_acted=may_have_sent)
        if expired:
            stage = "waiting for the answer" if may_have_sent else cargo.stage
            return TimedOutError(
                f"no answer within {seconds:g} s ({stage})", endpoint=endpoint, maybe_acted=may_have_sent
            )
        kinds = type(error).__mro__
        if not isinstance(error, OSError) and not any(
            kind.__module__.partition(".")[0] in _LIBRARIES for kind in kinds
        ):
            if not _shows_secret(error, request):
                return error  # a mistake in somebody's code, which is best seen as it is
            return TransportError(f"{type(error).__name__} in the http_client", endpoint=endpoint)
        names = {kind.__name__ for kind in kinds}
        acted = may_have_sent and names.isdisjoint(_NOT_SENT)
        text = _clean_text(error, request)
        if isinstance(error, TimeoutError) or "TimeoutException" in names:
            return TimedOutError(f"timed out: {text}", endpoint=endpoint, maybe_acted=acted)
        what = "the connection broke" if acted else "cannot connect"
        return TransportError(f"{what}: {text}", endpoint=endpoint, maybe_acted=acted)


def _checked_client(client: object) -> _UserClient:
    needed = ("build_request", "send", "aclose", "is_closed", "_transport", "_mounts")
    missing = [name for name in needed if not hasattr(client, name)]
    if missing:
        raise ConfigError(
            f"http_client must be an AsyncClient of httpx or httpx2; it has no {', '.join(missing)}",
            field="http_client",
        )
    return client  # type: ignore[return-value]


class WireStream:
    """An answer that is read piece by piece: ``async with transport.stream(request) as reply``."""

    def __init__(self, transport: Transport, request: WireRequest, limit: int) -> None:
        self._transport = transport
        self._request = request
        self._limit = limit
        self._response: Any = None
        self._cargo: _Cargo | None = None
        self._deadline = 0.0
        self._seconds = 0.0
        #: HTTP status.
        self.status = 0
        #: Headers, lower-case names.
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        transport = self._transport
        request = self._request
        cargo = self._cargo = transport._load(request, self._limit, streaming=True)  # noqa: SLF001 - its other half
        self._seconds = transport._timeout if request.timeout is None else request.timeout  # noqa: SLF001
        self._deadline = asyncio.get_running_loop().time() + self._seconds
        user = transport._user  # noqa: SLF001
        try:
            sending = transport._send_own(cargo) if user is None else transport._send_by(user, cargo)  # noqa: SLF001
            self._response = await self._step(sending)
        except BaseException:
            cargo.unload()
            raise
        self.status = self._response.status_code
        self.headers = _header_map(self._response.headers.raw)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        response, self._response = self._response, None
        if self._cargo is not None:
            self._cargo.unload()
        if response is not None:
            await response.aclose()

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the decoded body. The deadline goes on running between the pieces, and the size is limited."""
        decoder = await self._step(self._decoder())
        chunks = self._response.stream.__aiter__()
        while True:
            chunk = await self._step(_next(chunks))
            for piece in decoder.finish() if chunk is None else decoder.feed(chunk):
                if piece:
                    yield piece
            if chunk is None:
                return

    async def _decoder(self) -> _Decoder:
        return _Decoder(self.headers, self._limit, _endpoint(self._request))

    def _step(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        if self._cargo is None:
            raise ConfigError("the stream is not open", field="stream")
        return self._transport._bounded(work, self._cargo, self._request, self._deadline, self._seconds)  # noqa: SLF001


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)
