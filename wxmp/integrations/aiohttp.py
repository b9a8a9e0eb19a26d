"""aiohttp: a client that lives as long as the application, under a typed key, and handlers for webhooks and payments.

::

    app.cleanup_ctx.append(client_context())
    add_webhook(app, "/wx", hook)
    add_pay_notifications(app, "/pay", notifications)


    async def show_user(request: web.Request) -> web.Response:
        client = request.config_dict[CLIENT]

``config_dict`` looks into the parents of a sub-application too; ``request.app`` does not. Needs the extra ``aiohttp``.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from wxmp._log import log_fields
from wxmp.client import Client
from wxmp.errors import ConfigError

try:
    from aiohttp import web
except ModuleNotFoundError as _error:
    if _error.name is None or _error.name.partition(".")[0] != "aiohttp":
        raise
    _message = 'wxmp.integrations.aiohttp needs aiohttp: pip install "wxmp-sdk[aiohttp]"'
    raise ModuleNotFoundError(_message, name=_error.name) from None

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wxmp.events import EventHook
    from wxmp.pay.notifications import Notifications
    from wxmp.webhook.app import Webhook, WebhookAnswer

__all__ = ["CLIENT", "add_pay_notifications", "add_webhook", "client_context"]

logger: logging.Logger = logging.getLogger("wxmp.integrations")

#: Where the application keeps its client.
CLIENT: Final[web.AppKey[Client]] = web.AppKey("wxmp_client", Client)


def client_context(
    make_client: Callable[[], Client] | None = None,
    *,
    key: web.AppKey[Client] = CLIENT,
    on_event: EventHook | None = None,
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context that makes the client at the start and closes it at the end.

    Args:
        make_client: Makes the client; :meth:`Client.from_env <wxmp.Client.from_env>` if absent.
        key: Where it is kept. For several accounts give each a key of its own:
            ``NEWS = web.AppKey("news", Client)``.
        on_event: For the client that is made here, see :class:`~wxmp.Client`. Not together with ``make_client``: what
            that makes gets its hook there.

    Raises:
        ConfigError: ``on_event`` has no client to go to. When the application starts: the client cannot be made, or the
            key is in use.
    """
    if make_client is not None and on_event is not None:
        raise ConfigError("pass on_event to the client that make_client makes", field="on_event")
    make = make_client or partial(Client.from_env, on_event=on_event)

    async def context(app: web.Application) -> AsyncIterator[None]:
        if key in app:
            raise ConfigError("the application has a client under this key: pass key=web.AppKey(...)", field="key")
        async with make() as client:
            app[key] = client
            logger.info("opened %r", client, extra=log_fields("client_opened", appid=client.appid))
            yield
        logger.info("closed %r", client, extra=log_fields("client_closed", appid=client.appid))

    return context


def add_webhook(app: web.Application, path: str, hook: Webhook, *, key: web.AppKey[Client] = CLIENT) -> None:
    """Let a webhook answer at a path, and close it when the application ends.

    It is closed before the contexts of the application and of its parents end, in whatever order they were added:
    handlers that still run may end, with all that they use in place.

    Args:
        app: The application, or a sub-application.
        path: The path of the address in the account's server settings (服务器地址). Each account has its own.
        hook: Who answers.
        key: Which client its handlers get. If there is none, the webhook's own.
    """

    async def handle(request: web.Request) -> web.Response:
        # Before anything of the body is touched: aiohttp would decompress it.
        answer = hook.refuse_unread(
            request.method,
            content_length=request.headers.get("Content-Length"),
            encoding=request.headers.get("Content-Encoding"),
        )
        if answer is None:
            try:
                body = await _read(request, hook.max_body)
            except (ConnectionError, web.RequestPayloadError):
                # Whoever sends it has gone away, or sends chunks that are none; aiohttp would log a traceback.
                raise web.HTTPBadRequest(text="refused\n") from None
            # As received: aiohttp has decoded it so.
            query = request.rel_url.raw_query_string.encode("utf-8", "surrogateescape")
            answer = await hook.answer(request.method, query, body, client=request.config_dict.get(key))
        return _response(answer)

    async def close(_: web.Application) -> None:
        await hook.aclose()

    app.router.add_route("GET", path, handle)
    app.router.add_route("POST", path, handle)
    # At this signal no new request comes in, those under way are still answered, and no cleanup context has ended.
    app.on_shutdown.append(close)


def add_pay_notifications(app: web.Application, path: str, notifications: Notifications) -> None:
    """Let the notices of WeChat Pay (支付通知) be answered at a path, and close them when the application ends.

    They are closed before the contexts of the application and of its parents end, as :func:`add_webhook` does it.

    Args:
        app: The application, or a sub-application.
        path: The path of the ``notify_url``. Each merchant has its own.
        notifications: Who answers.
    """

    async def handle(request: web.Request) -> web.Response:
        # Before anything of the body is touched: aiohttp would decompress it.
        answer = notifications.refuse_unread(
            request.method,
            content_length=request.headers.get("Content-Length"),
            encoding=request.headers.get("Content-Encoding"),
        )
        if answer is None:
            try:
                body = await _read(request, notifications.max_body)
            except (ConnectionError, web.RequestPayloadError):
                raise web.HTTPBadRequest(text="refused\n") from None
            answer = await notifications.answer(list(request.headers.items()), body)
        headers = {"X-Content-Type-Options": "nosniff"}
        if answer.body:
            headers["Content-Type"] = answer.content_type
        return web.Response(status=answer.status, body=answer.body or None, headers=headers)

    async def close(_: web.Application) -> None:
        await notifications.aclose()

    app.router.add_route("POST", path, handle)
    app.on_shutdown.append(close)


async def _read(request: web.Request, limit: int) -> bytes:
    """Return the body, or ``limit`` + 1 bytes of it; ``client_max_size`` has no say, and no answer, in this."""
    body = bytearray()
    while len(body) <= limit:
        part = await request.content.read(limit + 1 - len(body))
        if not part:
            break
        body += part
    return bytes(body)


def _response(answer: WebhookAnswer) -> web.Response:
    headers = {"Content-Type": answer.content_type, "X-Content-Type-Options": "nosniff"}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
