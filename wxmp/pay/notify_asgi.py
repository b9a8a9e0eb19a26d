"""Plain ASGI for notices (支付通知): reads a request, asks, sends the answer. Nothing is decided here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from wxmp._asgi import close_all, find_by_path, live, measure, read_body, send_answer
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from wxmp._asgi import Receive, Scope, Send
    from wxmp.pay.notifications import Notifications

__all__ = ["NotifyASGI", "serve"]

logger: logging.Logger = logging.getLogger("wxmp.pay")

TEXT: Final = "text/plain; charset=utf-8"
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
    length, encoding = measure(scope)
    answer = notifications.refuse_unread(scope["method"], content_length=length, encoding=encoding)
    if answer is None:
        body = await read_body(receive, notifications.max_body)
        if body is None:
            return
        answer = await notifications.answer(headers, body)
    await send_answer(send, answer.status, answer.content_type if answer.body else None, answer.body, logger)


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
                await send_answer(send, 404, TEXT, NOT_FOUND, logger)
            else:
                await serve(found, scope, receive, send)
        elif scope["type"] == "lifespan":
            await live(receive, send, self._close)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def _find(self, scope: Scope) -> Notifications | None:
        return find_by_path(self._by_path, scope)

    async def _close(self) -> None:
        await close_all(self._all, logger)
