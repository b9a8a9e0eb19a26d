"""What the webhook and the notices of WeChat Pay share of a server: bodies in, refusals, answers out, its life."""

from __future__ import annotations

import asyncio
import re
import time
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
    "Seldom",
    "announces_more",
    "close_all",
    "find_by_path",
    "is_compressed",
    "live",
    "measure",
    "read_body",
    "send_answer",
]

T = TypeVar("T")

NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
#: Digits of a ``Content-Length`` that can be a number of bytes at all; Python does not read thousands of them.
LENGTH_DIGITS: Final = 18
#: A refusal of one kind is logged once in this many seconds, and so many kinds are told apart.
LOG_EVERY: Final = 10.0
LOG_KINDS: Final = 100
_NUMBERS: Final = re.compile(r"\d+")


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


def is_compressed(encoding: str | None) -> bool:
    """Tell whether a body is said to be compressed: the platform sends none that is."""
    return encoding is not None and encoding.strip().lower() not in ("", "identity")


def announces_more(length: str | None, limit: int) -> bool:
    """Tell whether a ``Content-Length`` is above ``limit``. One that is no number says nothing: bodies are counted."""
    digits = (length or "").strip()
    return digits.isdecimal() and (len(digits) > LENGTH_DIGITS or int(digits) > limit)


class Seldom:
    """Lets one line of each kind into the log in a while: whoever sends nonsense must not fill the disk."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def lets(self, kind: str) -> bool:
        """Tell whether a line is due. Numbers (ages, sizes, places in a body) make no kind of their own."""
        kind = _NUMBERS.sub("0", kind)
        now = time.monotonic()
        if now - self._last.get(kind, -LOG_EVERY) < LOG_EVERY:
            return False
        if len(self._last) > LOG_KINDS:  # names of unknown things are in some of the texts
            self._last.clear()
        self._last[kind] = now
        return True


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
