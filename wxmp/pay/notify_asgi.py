"""Plain ASGI for notices (支付通知): reads a request, asks, sends the answer. Nothing is decided here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from wxmp.pay.notifications import Notifications, NotifyAnswer

    Message: TypeAlias = MutableMapping[str, Any]
    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

__all__ = ["NotifyASGI", "serve"]

logger = logging.getLogger("wxmp.pay")

NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
NOT_FOUND: Final = b"not found\n"


async def serve(notifications: Notifications, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request of an ASGI server.

    Args:
        notifications: Who answers.
        scope: As ASGI gives it; its type is ``"http"``.
        receive: As ASGI gives it.
        send: As ASGI gives it.
    """
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    length = encoding = None
    for name, value in headers:
        if name == b"content-length":
            length = value.decode("latin-1")
        elif name == b"content-encoding":
            encoding = value.decode("latin-1")
    answer = notifications.refuse_unread(scope["method"], content_length=length, encoding=encoding)
    if answer is None:
        body = await _read(receive, notifications.max_body)
        if body is None:
            return
        answer = await notifications.answer(headers, body)
    await _send(send, answer)


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the body, or a little more than ``limit`` bytes of it; ``None`` when the other side has gone away."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limit or not message.get("more_body", False):
            return bytes(body)


async def _send(send: Send, answer: NotifyAnswer) -> None:
    headers = [NOSNIFF]
    if answer.body:  # 204 has neither a body nor a length
        headers += [
            (b"content-type", answer.content_type.encode("latin-1")),
            (b"content-length", b"%d" % len(answer.body)),
        ]
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
    except OSError:
        # The platform has hung up meanwhile, and this server says so. It will tell again.
        logger.debug("the connection was gone before its answer")


class NotifyASGI:
    """The notices for one merchant, or for several, as an ASGI application. It drains at the server's shutdown.

    ``NotifyASGI({"/pay/shop": shop, "/pay/news": news})`` tells merchants apart by the path of their ``notify_url``,
    never by what a notice says. With one merchant it answers on every path.
    """

    def __init__(self, notifications: Notifications | Mapping[str, Notifications]) -> None:
        """Take the merchants.

        Args:
            notifications: One, or several by path. Each path begins with ``/``.

        Raises:
            ConfigError: No merchant, or a path that cannot be reached.
        """
        self._one: Notifications | None = None
        self._by_path: dict[str, Notifications] = {}
        if isinstance(notifications, Mapping):
            if not notifications or not all(path.startswith("/") for path in notifications):
                raise ConfigError(
                    "notifications must map paths that begin with '/' to Notifications", field="notifications"
                )
            self._by_path = dict(notifications)
        else:
            self._one = notifications
        self._all = tuple(dict.fromkeys(self._by_path.values() if self._one is None else (self._one,)))

    def __repr__(self) -> str:
        return f"NotifyASGI({', '.join(map(repr, self._all))})"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            found = self._one or self._find(scope)
            if found is None:
                await _not_found(send)
            else:
                await serve(found, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def _find(self, scope: Scope) -> Notifications | None:
        path: str = scope["path"]
        root: str = scope.get("root_path", "").rstrip("/")
        return self._by_path.get(path.removeprefix(root) if root else path)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _close(self) -> None:
        # All at once, for the server does not wait for long. Some may share a store: it goes when nobody needs it.
        await asyncio.gather(*(one.drain() for one in self._all))
        for one in self._all:
            try:
                await one.aclose()
            except Exception:
                logger.exception("%r could not be closed", one)


async def _not_found(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(NOT_FOUND)), NOSNIFF]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": NOT_FOUND})
