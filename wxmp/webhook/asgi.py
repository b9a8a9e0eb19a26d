"""Plain ASGI: reads a request, asks the webhook, sends its answer. Nothing is decided here."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from wxmp.client import Client
    from wxmp.webhook.app import Webhook

    Message: TypeAlias = MutableMapping[str, Any]
    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

__all__ = ["WebhookASGI", "WebhooksASGI", "serve"]

logger = logging.getLogger("wxmp.webhook")

NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
TEXT: Final = "text/plain; charset=utf-8"


async def serve(hook: Webhook, scope: Scope, receive: Receive, send: Send, *, client: Client | None = None) -> None:
    """Answer one HTTP request of an ASGI server.

    Args:
        hook: Who answers.
        scope: As ASGI gives it; its type is ``"http"``.
        receive: As ASGI gives it.
        send: As ASGI gives it.
        client: Instead of the webhook's own.
    """
    length = encoding = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = value.decode("latin-1")
        elif name == b"content-encoding":
            encoding = value.decode("latin-1")
    method: str = scope["method"]
    answer = hook.refuse_unread(method, content_length=length, encoding=encoding)
    if answer is None:
        body = b""
        if method == "POST":
            read = await _read(receive, hook.max_body)
            if read is None:
                return
            body = read
        answer = await hook.answer(method, scope["query_string"], body, client=client)
    await _send(send, answer.status, answer.content_type, answer.body)


async def _read(receive: Receive, limit: int) -> bytes | None:
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
        parts.append(body)
        size += len(body)
        if not more or size > limit:
            return b"".join(parts)


async def _send(send: Send, status: int, content_type: str, body: bytes) -> None:
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"content-length", b"%d" % len(body)),
        NOSNIFF,
    ]
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except OSError:
        # The platform has hung up meanwhile, and this server says so. It will deliver again.
        logger.debug("the connection was gone before its answer")


class WebhookASGI:
    """One account as an ASGI application. It answers on every path, and drains at the server's shutdown."""

    def __init__(self, hook: Webhook) -> None:
        self._hooks: tuple[Webhook, ...] = (hook,)
        self._hook = hook

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._hooks))})"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            hook = self._find(scope)
            if hook is None:
                await _send(send, 404, TEXT, b"not found\n")
            else:
                await serve(hook, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def _find(self, scope: Scope) -> Webhook | None:
        return self._hook

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
        await asyncio.gather(*(hook.drain() for hook in self._hooks))
        for hook in self._hooks:
            try:
                await hook.aclose()
            except Exception:
                logger.exception("%r could not be closed", hook)


class WebhooksASGI(WebhookASGI):
    """Several accounts on one service, told apart by their path.

    ``WebhooksASGI({"/wx/shop": shop, "/wx/news": news})``. The account is never taken from what a push says.
    """

    def __init__(self, hooks: Mapping[str, Webhook]) -> None:
        """Take the accounts by path.

        Args:
            hooks: Each path begins with ``/``.

        Raises:
            ConfigError: No account, or a path that cannot be reached.
        """
        if not hooks or not all(path.startswith("/") for path in hooks):
            raise ConfigError("hooks must map paths that begin with '/' to webhooks", field="hooks")
        self._by_path = dict(hooks)
        self._hooks = tuple(dict.fromkeys(self._by_path.values()))

    def _find(self, scope: Scope) -> Webhook | None:
        path: str = scope["path"]
        root: str = scope.get("root_path", "").rstrip("/")
        return self._by_path.get(path.removeprefix(root) if root else path)
