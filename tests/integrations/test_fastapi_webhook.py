"""Webhook routes in FastAPI and Starlette, without a server: requests, refusals, clients, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.testclient import TestClient

from wxmp.integrations.fastapi import webhook_route, wxmp_lifespan
from wxmp.webhook.messages import TextMessage

from .platform import NEWS, SHOP, echo_hook, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wxmp import Client
    from wxmp.webhook.app import Webhook

SAFE_HEADERS = {"x-content-type-options": "nosniff"}


def fastapi_app(hook: Webhook) -> FastAPI:
    app = FastAPI()
    app.router.routes.append(webhook_route("/wx", hook))
    return app


def starlette_app(hook: Webhook) -> Starlette:
    return Starlette(routes=[webhook_route("/wx", hook)])


def fastapi_app_by_argument(hook: Webhook) -> FastAPI:
    return FastAPI(routes=[webhook_route("/wx", hook)], lifespan=wxmp_lifespan(make, webhooks=hook))


MakeApp = Callable[["Webhook"], Starlette]
APPS: list[MakeApp] = [fastapi_app, fastapi_app_by_argument, starlette_app]


@pytest.mark.parametrize("make_app", APPS)
def test_address_is_verified(make_app: MakeApp) -> None:
    """The platform's GET gets its echostr back, as plain text."""
    with TestClient(make_app(echo_hook())) as http:
        answer = http.get(f"/wx?{SHOP.check('1234567').query}")
    assert (answer.status_code, answer.content) == (200, b"1234567")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers.items() >= SAFE_HEADERS.items()


@pytest.mark.parametrize("make_app", APPS)
def test_push_is_answered_where_it_arrives(make_app: MakeApp) -> None:
    """POST to the very path gives 200 and the encrypted reply, and no redirect: the platform follows none."""
    request = SHOP.say("你好")
    with TestClient(make_app(echo_hook()), follow_redirects=False) as http:
        answer = http.post(f"/wx?{request.query}", content=request.body)
    assert answer.status_code == 200
    assert SHOP.read(answer.content) == "你好"


def test_mounted_application_would_redirect() -> None:
    """Why there is a route: mounted at /wx, the same webhook answers a POST to /wx with a redirect."""
    app = FastAPI()
    app.mount("/wx", echo_hook().asgi())
    request = SHOP.say("你好")
    with TestClient(app, follow_redirects=False) as http:
        assert http.post(f"/wx?{request.query}", content=request.body).status_code == 307


def test_forgery_is_refused() -> None:
    """A wrong signature is 403, and the body tells nothing."""
    request = SHOP.say("你好")
    with TestClient(fastapi_app(echo_hook())) as http:
        answer = http.post(f"/wx?{request.query[:-1]}", content=request.body)
    assert (answer.status_code, answer.text) == (403, "refused\n")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_are_refused(method: str) -> None:
    """The platform uses GET and POST; everything else is 405."""
    with TestClient(fastapi_app(echo_hook())) as http:
        assert http.request(method, "/wx").status_code == 405


def test_route_is_not_in_the_documentation() -> None:
    """The address is between WeChat and the service: it is no part of the API that OpenAPI shows."""
    assert "/wx" not in fastapi_app(echo_hook()).openapi()["paths"]


async def test_endless_body_is_refused_after_the_limit() -> None:
    """A body that never ends is answered 413 as soon as it is larger than ``max_body``."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b"x" * 1000

    app = fastapi_app(echo_hook(max_body=10_000))
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
    async with asyncio.timeout(5), http:
        answer = await http.post(f"/wx?{SHOP.say('').query}", content=endless())
    assert (answer.status_code, answer.text) == (413, "refused\n")
    assert sent <= 12_000


async def test_announced_size_is_refused_unread() -> None:
    """A Content-Length over the limit is 413 without reading anything."""
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"x"

    app = fastapi_app(echo_hook(max_body=10_000))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        answer = await http.post("/wx", content=body(), headers={"Content-Length": "10001"})
    assert answer.status_code == 413
    assert not read


def test_several_accounts_by_path() -> None:
    """Each path has its account, whatever a push says: one account's push is a forgery at the other's path."""
    hooks = {"/wx/shop": echo_hook(SHOP), "/wx/news": echo_hook(NEWS)}
    app = FastAPI(routes=[webhook_route(path, hook) for path, hook in hooks.items()])
    with TestClient(app) as http:
        for path, account, other in (("/wx/shop", SHOP, NEWS), ("/wx/news", NEWS, SHOP)):
            request = account.say(path)
            assert account.read(http.post(f"{path}?{request.query}", content=request.body).content) == path
            request = other.say(path)
            assert http.post(f"{path}?{request.query}", content=request.body).status_code == 403


def test_handlers_get_the_client_of_the_lifespan() -> None:
    """A handler that asks for the client gets the one the application made."""
    made = make()
    hook = SHOP.hook()
    seen: list[Client] = []

    @hook.on(TextMessage)
    async def remember(message: TextMessage, client: Client) -> None:
        seen.append(client)

    app = FastAPI(routes=[webhook_route("/wx", hook)], lifespan=wxmp_lifespan(lambda: made, webhooks=hook))
    request = SHOP.say("hi")
    with TestClient(app) as http:
        answer = http.post(f"/wx?{request.query}", content=request.body)
    assert answer.content == b"success"
    assert seen == [made]


def test_each_account_gets_its_own_client() -> None:
    """With several clients the route names the one it hands over."""
    clients = {"shop": make(SHOP.appid), "news": make(NEWS.appid)}
    accounts = {"shop": SHOP, "news": NEWS}
    hooks = {name: account.hook() for name, account in accounts.items()}
    for hook in hooks.values():

        @hook.on(TextMessage)
        async def tell(message: TextMessage, client: Client) -> str:
            return client.token_status().appid

    app = FastAPI(
        routes=[webhook_route(f"/wx/{name}", hook, client=name) for name, hook in hooks.items()],
        lifespan=wxmp_lifespan(
            {"shop": lambda: clients["shop"], "news": lambda: clients["news"]}, webhooks=list(hooks.values())
        ),
    )
    with TestClient(app) as http:
        for name, account in accounts.items():
            request = account.say("who?")
            answer = http.post(f"/wx/{name}?{request.query}", content=request.body)
            assert account.read(answer.content) == account.appid


def test_without_a_lifespan_the_webhook_has_its_own_client() -> None:
    """A client given to the webhook is used where the application has none."""
    own = make()
    hook = SHOP.hook(client=own)
    seen: list[Client] = []

    @hook.on(TextMessage)
    async def remember(message: TextMessage, client: Client) -> None:
        seen.append(client)

    request = SHOP.say("hi")
    with TestClient(fastapi_app(hook)) as http:
        http.post(f"/wx?{request.query}", content=request.body)
    assert seen == [own]


async def test_handlers_end_before_everything_they_use() -> None:
    """At shutdown a handler still runs: it may end, then the own lifespan ends, then the client is closed."""
    client = make()
    hook = SHOP.hook()
    order: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    @hook.on(TextMessage)
    async def slow(message: TextMessage) -> None:
        begun.set()
        await go_on.wait()
        order.append(f"handler ends, client closed {client.closed} times")

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[None]:
        yield
        order.append(f"own lifespan ends, client closed {client.closed} times")

    app = FastAPI(routes=[webhook_route("/wx", hook)])
    request = SHOP.say("hi")
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
    async with asyncio.timeout(10), http:
        async with wxmp_lifespan(lambda: client, lifespan=own, webhooks=hook)(app):
            push = asyncio.create_task(http.post(f"/wx?{request.query}", content=request.body))
            await begun.wait()
            asyncio.get_running_loop().call_later(0.05, go_on.set)
        answer = await push
    assert order == ["handler ends, client closed 0 times", "own lifespan ends, client closed 0 times"]
    assert client.closed == 1
    assert answer.content == b"success"


def test_webhooks_without_any_client() -> None:
    """An empty mapping makes no client: a service that only answers needs no secret."""
    hook = echo_hook()
    app = FastAPI(routes=[webhook_route("/wx", hook)], lifespan=wxmp_lifespan({}, webhooks=[hook]))
    request = SHOP.say("hi")
    with TestClient(app) as http:
        assert SHOP.read(http.post(f"/wx?{request.query}", content=request.body).content) == "hi"
