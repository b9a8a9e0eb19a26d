"""The plain ASGI that the webhook and the notices of WeChat Pay share: bodies in, answers out, the server's life."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from wxmp._log import log_fields

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence

    Message: TypeAlias = MutableMapping[str, Any]
    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

__all__ = [
    "NOSNIFF",
    "Closable",
    "close_all",
    "find_by_path",
    "live",
    "measure",
    "read_body",
    "send_answer",
]

T = TypeVar("T")

NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


class Closable(Protocol):
    """What drains before a server goes, and is closed then."""

    async def drain(self) -> None:
        """Let what runs end."""
        ...

    async def aclose(self) -> None:
        """Release everything."""
        ...


def measure(scope: Scope) -> tuple[str | None, str | None]:
    """Return what a request says of its body: ``Content-Length`` and ``Content-Encoding``."""
    length = encoding = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = value.decode("latin-1")
        elif name == b"content-encoding":
            encoding = value.decode("latin-1")
    return length, encoding


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """Return the body, or a little more than ``limit`` bytes of it; ``None`` when the other side has gone away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        if not more and not parts:
            return body
        if body:  # endless pieces of nothing must not pile up
            parts.append(body)
            size += len(body)
        if not more or size > limit:
            return b"".join(parts)


async def send_answer(
    send: Send,
    status: int,
    content_type: str | None,
    body: bytes,
    logger: logging.Logger,
    *,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Send an answer; without a content type it has neither a body nor a length (204)."""
    headers = [NOSNIFF, *more]
    if content_type is not None:
        headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ]
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except OSError:
        # The platform has hung up meanwhile, and this server says so. It will come again.
        logger.debug("the connection was gone before its answer", extra=log_fields("connection_gone"))


def find_by_path(by_path: Mapping[str, T], scope: Scope) -> T | None:
    """Return what answers on the path of a request, seen from where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return by_path.get(path.removeprefix(root) if root else path)


async def live(
    receive: Receive, send: Send, close: Callable[[], Awaitable[None]], *, start: Callable[[], None] | None = None
) -> None:
    """Follow the life of a server: start with it, and close when it goes."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if start is not None:
                start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await close()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def close_all(things: Sequence[Closable], logger: logging.Logger) -> None:
    """Drain all, then close each; one that fails is logged and keeps nobody else from closing."""
    # All at once, for the server does not wait for long. Some may share a store: it goes when nobody needs it.
    await asyncio.gather(*(thing.drain() for thing in things))
    for thing in things:
        try:
            await thing.aclose()
        except Exception as error:
            logger.exception(
                "%r could not be closed", thing, extra=log_fields("close_failed", error=type(error).__name__)
            )
