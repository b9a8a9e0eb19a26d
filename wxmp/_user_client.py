"""The user's own client: httpx, httpx2 or one of that shape, used as it is and not changed.

A copy of the client is made for each call, with its transports wrapped: query and body are put in place just above
them, below everything of the client that logs or traces. Nothing here imports an HTTP library; it goes by shape.

Private attributes it relies on, each with a test that names it: ``AsyncClient._transport``, ``AsyncClient._mounts``.
"""

from __future__ import annotations

import copy
import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from wxmp._answer import Decoder, header_map
from wxmp._cargo import EXTENSION, Cargo
from wxmp._redact import MASK
from wxmp._request import WireReply
from wxmp.errors import ConfigError, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from wxmp._body import Body
    from wxmp._redact import Secret

__all__ = ["UserClient"]

#: Transport classes that take the address from ``str(request.url)`` and so never see the query (httpx-aiohttp does).
_TEXT_READERS: Final[weakref.WeakSet[type]] = weakref.WeakSet()
#: Libraries whose transports are known to read the parts of the address.
_PART_READERS: Final = frozenset({"httpx", "httpx2", "respx", "opentelemetry"})


class _Client(Protocol):
    """What httpx.AsyncClient and its descendants have in common, as far as we need it."""

    _transport: Any
    _mounts: dict[Any, Any]
    is_closed: bool
    timeout: Any

    def build_request(self, method: str, url: str, **kwargs: Any) -> Any: ...
    async def send(self, request: Any, **kwargs: Any) -> Any: ...


class UserClient:
    """Sends calls through the user's client.

    Args:
        client: The client.
        timeouts: Seconds for connecting, and ``None`` for what our own deadline covers.

    Raises:
        ConfigError: It is no asynchronous client of that shape.
    """

    def __init__(self, client: object, timeouts: Mapping[str, float | None]) -> None:
        needed = ("build_request", "send", "aclose", "is_closed", "_transport", "_mounts")
        missing = [name for name in needed if not hasattr(client, name)]
        if missing:
            raise ConfigError(
                f"http_client must be an AsyncClient of httpx or httpx2; it has no {', '.join(missing)}",
                field="http_client",
            )
        self._client: _Client = client  # type: ignore[assignment]
        self._timeouts = timeouts

    async def exchange(self, cargo: Cargo, url: object) -> WireReply:
        """Send and read the whole answer."""
        response = await self.send(cargo, url)
        try:
            decoder = Decoder(response.headers, cargo.limit)
            # The stream itself: its bytes are not decoded yet, however large that would make them.
            pieces = [piece async for chunk in response.stream for piece in decoder.feed(chunk)]
            content = b"".join([*pieces, *decoder.finish()])
        finally:
            await response.aclose()
        return WireReply(response.status_code, header_map(response.headers.raw), content)

    async def send(self, cargo: Cargo, url: object) -> Any:
        """Send and return the client's response, its body unread; ``url`` has no query."""
        client = self._client
        if client.is_closed:
            raise ConfigError("the http_client is closed", field="http_client")
        outer = client.build_request(
            cargo.request.method,
            str(url),
            headers={"Accept-Encoding": "identity"},
            # Our deadline rules; how long to wait for the pool of that client is its own business.
            extensions={EXTENSION: cargo, "timeout": {**self._timeouts, "pool": getattr(client.timeout, "pool", None)}},
        )
        response = await _twin(client).send(outer, stream=True, follow_redirects=False)
        if not cargo.used:
            await response.aclose()
            raise ConfigError("the http_client bypasses its own transports", field="http_client")
        return response


def _twin(client: _Client) -> _Client:
    """Copy the user's client as it is now, with wrapped transports; the original keeps its own."""
    twin = copy.copy(client)
    twin._transport = _Wrapped(client._transport)  # noqa: SLF001
    twin._mounts = {  # noqa: SLF001
        pattern: None if transport is None else _Wrapped(transport)
        for pattern, transport in client._mounts.items()  # noqa: SLF001
    }
    return twin


class _Wrapped:
    """A transport of the user's client; requests of ours get their query and body just above it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def handle_async_request(self, request: Any) -> Any:
        cargo = request.extensions.get(EXTENSION)
        if not isinstance(cargo, Cargo):
            return await self._inner.handle_async_request(request)  # somebody else's, an auth flow's for example
        response = await self._send(request, cargo)
        for mark in cargo.marks:
            for name, value in list(response.headers.items()):
                if mark.decode() in value:  # a redirect repeats the whole query
                    response.headers[name] = value.replace(mark.decode(), MASK)
        plain: Any = type(response.stream)
        response.stream = _forgetful_class(plain)(response.stream)
        return response

    async def _send(self, request: Any, cargo: Cargo) -> Any:
        kind = type(self._inner)
        if kind in _TEXT_READERS:
            return await self._send_plain(request, cargo)
        inner, body = _dress(request, cargo)
        plain: Any = type(inner.url)
        sealed = inner.url = _sealed_class(plain)(inner.url, cargo.target())
        try:
            response = await self._inner.handle_async_request(inner)
        finally:
            blind = sealed.was_printed and not sealed.was_read and sealed.query != b""
            sealed.seal()
            if body is not None:
                await body.aclose()
            if blind and kind.__module__.partition(".")[0] not in _PART_READERS:
                _TEXT_READERS.add(kind)
        if kind not in _TEXT_READERS:
            return response
        # It went out without query, so the platform has refused it: no token. Once per class of transport.
        await response.aclose()
        if not cargo.request.replayable:
            raise TransportError("the http_client cannot send this upload; another attempt can", maybe_acted=False)
        return await self._send_plain(request, cargo)

    async def _send_plain(self, request: Any, cargo: Cargo) -> Any:
        inner, body = _dress(request, cargo)
        clean = inner.url
        inner.url = clean.copy_with(raw_path=cargo.target().reveal().encode("ascii"))
        try:
            # The method of the class: what instrumentation has put on the object would see this address.
            return await type(self._inner).handle_async_request(self._inner, inner)
        finally:
            inner.url = clean
            if body is not None:
                await body.aclose()


def _dress(request: Any, cargo: Cargo) -> tuple[Any, Body | None]:
    """Make the request that the transport below gets, with its body; the address is still without query."""
    url = request.url
    port = url.port or (443 if url.scheme == "https" else 80)
    if (url.raw_scheme, url.raw_host, port) != cargo.key:
        raise ConfigError("the http_client changed the host of the request; nothing was sent", field="http_client")
    headers = request.headers.copy()
    for name in ("content-length", "transfer-encoding", "content-type"):
        headers.pop(name, None)
    body = cargo.body()
    headers.update({name.decode(): value.decode() for name, value in cargo.headers()})
    if body is not None:
        headers.update({name.decode(): value.decode() for name, value in body.headers()})
    inner = type(request)(
        request.method,
        url,
        headers=headers,
        # A body is handed over as a stream: a request keeps its bytes for ever, a stream only until it is sent.
        content=None if body is None else aiter(body),
        extensions={name: value for name, value in request.extensions.items() if name != EXTENSION},
    )
    return inner, body


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
