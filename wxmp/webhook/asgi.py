"""Plain ASGI: reads a request, asks the webhook, sends its answer. Nothing is decided here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from wxmp._asgi import close_all, find_by_path, live, measure, read_body, send_answer
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp._asgi import Receive, Scope, Send
    from wxmp.client import Client
    from wxmp.webhook.app import Webhook

__all__ = ["WebhookASGI", "WebhooksASGI", "serve"]

logger: logging.Logger = logging.getLogger("wxmp.webhook")

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
    length, encoding = measure(scope)
    method: str = scope["method"]
    answer = hook.refuse_unread(method, content_length=length, encoding=encoding)
    if answer is None:
        body = b""
        if method == "POST":
            read = await read_body(receive, hook.max_body)
            if read is None:
                return
            body = read
        answer = await hook.answer(method, scope["query_string"], body, client=client)
    await send_answer(send, answer.status, answer.content_type, answer.body, logger)


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
                await send_answer(send, 404, TEXT, b"not found\n", logger)
            else:
                await serve(hook, scope, receive, send)
        elif scope["type"] == "lifespan":
            await live(receive, send, self._close)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def _find(self, scope: Scope) -> Webhook | None:
        return self._hook

    async def _close(self) -> None:
        await close_all(self._hooks, logger)


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
        return find_by_path(self._by_path, scope)
