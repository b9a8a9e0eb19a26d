"""FastAPI: a client that lives as long as the application, a dependency that hands it out, and routes for webhooks.

::

    app = FastAPI(lifespan=wxmp_lifespan())


    @app.get("/users/{openid}")
    async def show_user(openid: str, client: ClientDep) -> dict[str, object]: ...

The client lives in the lifespan state of the application, not in a global: each worker process makes its own, and two
applications in one process do not share one. Needs the extra ``fastapi``.

What WeChat pushes comes in by a route of its own, which Starlette takes as well::

    app = FastAPI(routes=[webhook_route("/wx", hook)], lifespan=wxmp_lifespan(webhooks=hook))

So do the notices of WeChat Pay: ``pay_route("/pay", notifications)``, and ``webhooks=[hook, notifications]``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from wxmp._log import log_fields
from wxmp.client import Client
from wxmp.errors import ConfigError

try:
    from fastapi import Depends
    from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads the annotations of dependencies
    from starlette.routing import Route
except ModuleNotFoundError as _error:
    if _error.name is None or _error.name.partition(".")[0] not in ("fastapi", "starlette"):
        raise
    _message = 'wxmp.integrations.fastapi needs FastAPI: pip install "wxmp-sdk[fastapi]"'
    raise ModuleNotFoundError(_message, name=_error.name) from None

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from wxmp.events import EventHook
    from wxmp.pay.notifications import Notifications
    from wxmp.webhook.app import Webhook

__all__ = [
    "ClientDep",
    "ClientFactory",
    "Lifespan",
    "client_named",
    "get_client",
    "pay_route",
    "webhook_route",
    "wxmp_lifespan",
]

logger: logging.Logger = logging.getLogger("wxmp.integrations")

#: Makes a client; called once in each worker process, when the application starts.
ClientFactory: TypeAlias = Callable[[], Client]
#: What FastAPI and Starlette take as ``lifespan=``.
Lifespan: TypeAlias = Callable[
    ["FastAPI"], "AbstractAsyncContextManager[None] | AbstractAsyncContextManager[Mapping[str, Any]]"
]

STATE: Final = "wxmp_client"


def wxmp_lifespan(
    make_client: ClientFactory | Mapping[str, ClientFactory] | None = None,
    *,
    lifespan: Lifespan | None = None,
    webhooks: Webhook | Notifications | Sequence[Webhook | Notifications] = (),
    on_event: EventHook | None = None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """Return a lifespan that makes the client at the start and closes it at the end.

    A lifespan of your own can enter it instead, when it needs the client itself: ``async with wxmp_lifespan()(app) as
    state`` gives ``state["wxmp_client"]``; yield what you add together with ``state``.

    Args:
        make_client: Makes the client; :meth:`Client.from_env <wxmp.Client.from_env>` if absent. A mapping makes
            several, for several accounts: :func:`client_named` hands them out. An empty one makes none.
        lifespan: The application's own lifespan. It runs inside, so that it can end while the clients still work.
        webhooks: Webhooks and payment notifications. They are closed first: handlers that still run may end, with all
            that they use in place.
        on_event: For the client that is made here, see :class:`~wxmp.Client`. Not together with ``make_client``: what
            that makes gets its hook there.

    Raises:
        ConfigError: ``on_event`` has no client to go to. When the application starts: a client cannot be made, or two
            lifespans claim the same name.
    """
    if make_client is not None and on_event is not None:
        raise ConfigError("pass on_event to the client that make_client makes", field="on_event")
    if make_client is None or callable(make_client):
        factories: dict[str, ClientFactory] = {"": make_client or partial(Client.from_env, on_event=on_event)}
    else:
        factories = dict(make_client)
    hooks = tuple(webhooks) if isinstance(webhooks, Sequence) else (webhooks,)

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for name, make in factories.items():
                client = make()
                stack.callback(logger.info, "closed %r", client, extra=log_fields("client_closed", appid=client.appid))
                state[_state_key(name)] = await stack.enter_async_context(client)
                logger.info("opened %r", client, extra=log_fields("client_opened", appid=client.appid))
            own = None if lifespan is None else await stack.enter_async_context(lifespan(app))
            twice = sorted(state.keys() & (own or {}).keys())
            if twice:
                raise ConfigError(f"two lifespans set {', '.join(twice)}: give the clients names", field="make_client")
            for hook in hooks:
                stack.push_async_callback(hook.aclose)
            yield {**(own or {}), **state}

    return run


def get_client(connection: HTTPConnection) -> Client:
    """Return the application's client; a dependency for HTTP and WebSocket routes. :data:`ClientDep` is shorter.

    Raises:
        ConfigError: The application was made without :func:`wxmp_lifespan`, or its lifespan did not run.
    """
    return _find(connection, "")


def client_named(name: str) -> Callable[[HTTPConnection], Client]:
    """Return a dependency for one of several clients.

    ::

        app = FastAPI(lifespan=wxmp_lifespan({"shop": make_shop, "news": make_news}))
        NewsClient = Annotated[Client, Depends(client_named("news"))]

    Args:
        name: Its key in the mapping that :func:`wxmp_lifespan` was given.
    """

    def get_named_client(connection: HTTPConnection) -> Client:
        return _find(connection, name)

    return get_named_client


#: The application's client as an argument of a route: ``async def route(client: ClientDep)``.
ClientDep: TypeAlias = Annotated[Client, Depends(get_client)]


class _WebhookEndpoint:
    """The ASGI application behind a route."""

    def __init__(self, hook: Webhook, client: str) -> None:
        from wxmp.webhook.asgi import serve

        self._serve = serve
        self._hook = hook
        self._key = _state_key(client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("state", {}).get(self._key)
        await self._serve(self._hook, scope, receive, send, client=client)


def webhook_route(path: str, hook: Webhook, *, client: str = "") -> Route:
    """Return the route of a webhook, for ``FastAPI(routes=[...])`` or ``app.router.routes.append(...)``.

    It is a route and no mounted application: ``app.mount("/wx", ...)`` answers a POST to ``/wx`` with a redirect, and
    the platform follows none. Pass the webhook to :func:`wxmp_lifespan` too, which closes it.

    Args:
        path: The path of the address in the account's server settings (服务器地址). Each account has its own.
        hook: Who answers.
        client: Which client of :func:`wxmp_lifespan` its handlers get, by its key in the mapping. If there is none,
            the webhook's own.
    """
    return Route(path, _WebhookEndpoint(hook, client), methods=["GET", "POST"], name=f"wxmp_webhook:{path}")


class _PayEndpoint:
    """The ASGI application behind a route for notices."""

    def __init__(self, notifications: Notifications) -> None:
        from wxmp.pay.notify_asgi import serve

        self._serve = serve
        self._notifications = notifications

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(self._notifications, scope, receive, send)


def pay_route(path: str, notifications: Notifications) -> Route:
    """Return the route of the notices of WeChat Pay (支付通知), for ``FastAPI(routes=[...])`` or Starlette.

    It is a route and no mounted application, for the reason that :func:`webhook_route` gives. Pass the notifications to
    :func:`wxmp_lifespan` too (``webhooks=``), which closes them. A middleware that reads the body and hands on another
    one, or that demands a login or a CSRF token, must leave this path alone.

    Args:
        path: The path of the ``notify_url``. Each merchant has its own.
        notifications: Who answers.
    """
    return Route(path, _PayEndpoint(notifications), methods=["POST"], name=f"wxmp_pay:{path}")


def _state_key(name: str) -> str:
    return f"{STATE}_{name}" if name else STATE


def _find(connection: HTTPConnection, name: str) -> Client:
    client = getattr(connection.state, _state_key(name), None)
    if not isinstance(client, Client):
        wanted = f"client named {name!r}" if name else "client"
        raise ConfigError(
            f"the application has no {wanted}: make it with lifespan=wxmp_lifespan(...), and let the server run it",
            field="lifespan",
        )
    return client
