"""Webhook handlers in aiohttp over loopback: requests, refusals, clients, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from wxmp import Client
from wxmp.integrations.aiohttp import CLIENT, add_webhook, client_context
from wxmp.webhook.messages import TextMessage

from .platform import NEWS, SHOP, Request, echo_hook, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

    from wxmp.webhook.app import Webhook

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NEWS_CLIENT = web.AppKey("news", Client)


def app_of(hook: Webhook, **settings: int) -> web.Application:
    app = web.Application(**settings)  # type: ignore[arg-type]
    add_webhook(app, "/wx", hook)
    return app


def serving(app: web.Application) -> TestClient[web.Request, web.Application]:
    return TestClient(TestServer(app))


async def post(http: TestClient[web.Request, web.Application], path: str, request: Request) -> ClientResponse:
    return await http.post(URL(f"{path}?{request.query}", encoded=True), data=request.body, allow_redirects=False)


async def test_address_is_verified() -> None:
    """The platform's GET gets its echostr back, as plain text."""
    async with serving(app_of(echo_hook())) as http:
        answer = await http.get(URL(f"/wx?{SHOP.check('1234567').query}", encoded=True))
        assert (answer.status, await answer.read()) == (200, b"1234567")
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_push_is_answered() -> None:
    """POST gives 200 and the encrypted reply."""
    async with serving(app_of(echo_hook())) as http:
        answer = await post(http, "/wx", SHOP.say("你好"))
        assert answer.status == 200
        assert SHOP.read(await answer.read()) == "你好"
        assert answer.headers["Content-Type"] == "application/xml; charset=utf-8"


async def test_forgery_is_refused() -> None:
    """A wrong signature is 403, and the body tells nothing."""
    request = SHOP.say("你好")
    async with serving(app_of(echo_hook())) as http:
        answer = await post(http, "/wx", Request(request.query[:-1], request.body))
        assert (answer.status, await answer.text()) == (403, "refused\n")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
async def test_other_methods_are_refused(method: str) -> None:
    """The platform uses GET and POST; everything else is 405."""
    async with serving(app_of(echo_hook())) as http:
        assert (await http.request(method, "/wx")).status == 405


@pytest.mark.parametrize("query", ["%zz", "signature=%ff%fe&timestamp=1&nonce=2", "a=1&a=2", "%e4%bd%a0=%2B+%26"])
async def test_query_arrives_as_it_was_sent(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is signed is the text of the query: aiohttp may not tidy it up on the way."""
    hook = echo_hook()
    seen: list[bytes] = []
    answer = hook.answer

    async def listening(method: str, query: bytes, body: bytes = b"", *, client: Client | None = None) -> object:
        seen.append(query)
        return await answer(method, query, body, client=client)

    monkeypatch.setattr(hook, "answer", listening)
    async with serving(app_of(hook)) as http:
        reply = await raw(http, f"GET /wx?{query} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
    assert reply.startswith(b"HTTP/1.1 403 ")
    assert seen == [query.encode()]


async def raw(http: TestClient[web.Request, web.Application], *parts: bytes) -> bytes:
    """Send bytes as they are and read until the headers and the body of one answer are there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    try:
        for part in parts:
            writer.write(part)
        async with asyncio.timeout(5):
            return await reader.readuntil(b"refused\n")
    finally:
        writer.close()


async def test_push_larger_than_the_application_takes() -> None:
    """``client_max_size`` is about the application's forms: it does not cut a push that ``max_body`` allows."""
    content = "长" * 600
    async with serving(app_of(echo_hook(), client_max_size=500)) as http:
        answer = await post(http, "/wx", SHOP.say(content))
        assert SHOP.read(await answer.read()) == content


async def test_endless_body_is_refused_after_the_limit() -> None:
    """A chunked body that never ends is answered 413 as soon as it is larger than ``max_body``."""
    head = f"POST /wx?{SHOP.say('').query} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    async with serving(app_of(echo_hook(max_body=10_000))) as http:
        answer = await raw(http, head, chunk * 11)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_announced_size_is_refused_unread() -> None:
    """A Content-Length over the limit is 413 before a byte of the body has come."""
    async with serving(app_of(echo_hook(max_body=10_000))) as http:
        answer = await raw(http, b"POST /wx HTTP/1.1\r\nHost: test\r\nContent-Length: 10001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_compressed_body_is_refused_unread() -> None:
    """What aiohttp reads it decompresses, so nothing of such a body is read: a bomb never goes off."""
    head = b"POST /wx HTTP/1.1\r\nHost: test\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n"
    async with serving(app_of(echo_hook())) as http:
        answer = await raw(http, head)
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_sender_that_goes_away_is_no_error(framing: str, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that ends in the middle of a body leaves no traceback in the log, and no handler behind."""
    hook = echo_hook()
    head = f"POST /wx?{SHOP.say('').query} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode()
    reading, gone = asyncio.Event(), asyncio.Event()

    @web.middleware
    async def watch(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        asyncio.get_running_loop().call_soon(reading.set)
        try:
            return await handler(request)
        finally:
            gone.set()

    app = app_of(hook)
    app.middlewares.append(watch)
    async with asyncio.timeout(5), serving(app) as http:
        _, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(head)
        await reading.wait()
        writer.close()
        await gone.wait()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_several_accounts_by_path() -> None:
    """Each path has its account, whatever a push says: one account's push is a forgery at the other's path."""
    app = web.Application()
    add_webhook(app, "/wx/shop", echo_hook(SHOP))
    add_webhook(app, "/wx/news", echo_hook(NEWS))
    async with serving(app) as http:
        for path, account, other in (("/wx/shop", SHOP, NEWS), ("/wx/news", NEWS, SHOP)):
            answer = await post(http, path, account.say(path))
            assert account.read(await answer.read()) == path
            assert (await post(http, path, other.say(path))).status == 403


def add_client_first(app: web.Application, hook: Webhook, client: Client) -> None:
    app.cleanup_ctx.append(client_context(lambda: client))
    add_webhook(app, "/wx", hook)


def add_hook_first(app: web.Application, hook: Webhook, client: Client) -> None:
    add_webhook(app, "/wx", hook)
    app.cleanup_ctx.append(client_context(lambda: client))


def add_hook_to_a_part(app: web.Application, hook: Webhook, client: Client) -> None:
    part = web.Application()
    add_webhook(part, "/", hook)
    app.cleanup_ctx.append(client_context(lambda: client))
    app.add_subapp("/wx", part)


Adding = Callable[[web.Application, "Webhook", Client], None]
ORDERS: list[tuple[Adding, str]] = [(add_client_first, "/wx"), (add_hook_first, "/wx"), (add_hook_to_a_part, "/wx/")]


@pytest.mark.parametrize(("add", "path"), ORDERS)
async def test_handlers_get_the_client_of_the_application(add: Adding, path: str) -> None:
    """A handler that asks for the client gets the one under the key, of a parent too."""
    client = make()
    hook = SHOP.hook()
    seen: list[Client] = []

    @hook.on(TextMessage)
    async def remember(message: TextMessage, client: Client) -> None:
        seen.append(client)

    app = web.Application()
    add(app, hook, client)
    async with serving(app) as http:
        answer = await post(http, path, SHOP.say("hi"))
        assert await answer.read() == b"success"
    assert seen == [client]


async def test_each_account_gets_its_own_client() -> None:
    """With several clients each webhook names the key of its own."""
    app = web.Application()
    app.cleanup_ctx.append(client_context(make))
    app.cleanup_ctx.append(client_context(lambda: make(NEWS.appid), key=NEWS_CLIENT))
    for path, account, key in (("/wx/shop", SHOP, CLIENT), ("/wx/news", NEWS, NEWS_CLIENT)):
        hook = account.hook()

        @hook.on(TextMessage)
        async def tell(message: TextMessage, client: Client) -> str:
            return client.token_status().appid

        add_webhook(app, path, hook, key=key)
    async with serving(app) as http:
        for path, account in (("/wx/shop", SHOP), ("/wx/news", NEWS)):
            answer = await post(http, path, account.say("who?"))
            assert account.read(await answer.read()) == account.appid


async def test_without_a_client_the_webhook_has_its_own() -> None:
    """A client given to the webhook is used where the application has none."""
    own = make()
    hook = SHOP.hook(client=own)
    seen: list[Client] = []

    @hook.on(TextMessage)
    async def remember(message: TextMessage, client: Client) -> None:
        seen.append(client)

    async with serving(app_of(hook)) as http:
        await post(http, "/wx", SHOP.say("hi"))
    assert seen == [own]
    await own.aclose()


@pytest.mark.parametrize("hangs_up", [True, False])
@pytest.mark.parametrize(("add", "path"), ORDERS)
async def test_handlers_end_before_everything_they_use(add: Adding, path: str, hangs_up: bool) -> None:
    """At shutdown a handler still runs: it may end and is answered, then the contexts end and the client is closed.

    The platform has hung up, and nobody but the webhook knows of the handler; or it is still on the line.
    """
    client = make()
    hook = SHOP.hook()
    order: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    @hook.on(TextMessage)
    async def slow(message: TextMessage) -> str | None:
        begun.set()
        await go_on.wait()
        order.append(f"handler ends, client closed {client.closed} times")
        return None if hangs_up else "done"

    async def database(app: web.Application) -> AsyncIterator[None]:
        yield
        order.append(f"database ends, client closed {client.closed} times")

    app = web.Application()
    add(app, hook, client)
    app.cleanup_ctx.append(database)
    async with asyncio.timeout(10), connected(app) as http:
        push = asyncio.create_task(post(http, path, SHOP.say("hi")))
        await begun.wait()
        if hangs_up:
            push.cancel()
            await asyncio.wait([push])
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await http.server.close()
        if not hangs_up:
            assert SHOP.read(await (await push).read()) == "done"
    assert order == ["handler ends, client closed 0 times", "database ends, client closed 0 times"]
    assert client.closed == 1


@asynccontextmanager
async def connected(app: web.Application) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A client that may outlive its server."""
    http = serving(app)
    await http.start_server()
    try:
        yield http
    finally:
        await http.close()
