"""Handlers for the notices of WeChat Pay in aiohttp, over loopback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.pay.notices import NEWS, SHOP, TRANSACTION, Notice
from wxmp.integrations.aiohttp import add_pay_notifications
from wxmp.pay.notify_records import PaymentSucceeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

    from wxmp.pay.notifications import Notifications

REFUSED = b'{"code":"FAIL","message":"refused"}'
Http = TestClient[web.Request, web.Application]


def listening() -> tuple[Notifications, list[PaymentSucceeded]]:
    notifications = SHOP.notifications(max_body=10_000)
    heard: list[PaymentSucceeded] = []

    @notifications.on(PaymentSucceeded)
    async def paid(event: PaymentSucceeded) -> None:
        heard.append(event)

    return notifications, heard


def serving(notifications: Notifications, **settings: int) -> Http:
    app = web.Application(**settings)  # type: ignore[arg-type]
    add_pay_notifications(app, "/pay", notifications)
    return TestClient(TestServer(app))


async def post(http: Http, notice: Notice, path: str = "/pay") -> ClientResponse:
    return await http.post(path, data=notice.body, headers=notice.headers, allow_redirects=False)


async def test_notice_is_answered() -> None:
    """204 without a body, and the handler has run."""
    notifications, heard = listening()
    async with serving(notifications, client_max_size=100) as http:
        answer = await post(http, SHOP.notice())
        assert (answer.status, await answer.read()) == (204, b"")
    assert len(heard) == 1


async def test_refusals() -> None:
    """Forged, doubled, of somebody else: 401 and a body that tells nothing."""
    notifications, heard = listening()
    notice = SHOP.notice()
    async with serving(notifications) as http:
        for bad in (
            Notice(notice.headers, notice.body + b" "),
            Notice([*notice.headers, ("Wechatpay-Serial", SHOP.public_key_id)], notice.body),
            NEWS.notice({**TRANSACTION, "mchid": NEWS.mchid}),
        ):
            answer = await post(http, bad)
            assert (answer.status, await answer.read()) == (401, REFUSED)
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert heard == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_other_methods_are_refused(method: str) -> None:
    """The platform uses POST."""
    async with serving(listening()[0]) as http:
        assert (await http.request(method, "/pay")).status == 405


async def test_too_large() -> None:
    """A body over the limit is refused, announced or in chunks."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async with serving(listening()[0]) as http:
        assert (await http.post("/pay", data=b"x" * 10_001)).status == 400
        assert (await http.post("/pay", data=chunks())).status == 400


async def test_compressed_body_is_refused_unread() -> None:
    """What aiohttp reads it decompresses, so nothing of such a body is read."""
    async with serving(listening()[0]) as http:
        answer = await http.post("/pay", data=b"no gzip at all", headers={"Content-Encoding": "gzip"})
        assert answer.status == 400


async def test_handlers_end_before_everything_they_use() -> None:
    """At shutdown a handler may end, and is answered, before the contexts of the application end."""
    notifications = SHOP.notifications()
    order: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    @notifications.on(PaymentSucceeded)
    async def slow(event: PaymentSucceeded) -> None:
        begun.set()
        await go_on.wait()
        order.append("handler")

    async def database(app: web.Application) -> AsyncIterator[None]:
        yield
        order.append("database")

    app = web.Application()
    add_pay_notifications(app, "/pay", notifications)
    app.cleanup_ctx.append(database)
    http: Http = TestClient(TestServer(app))
    async with asyncio.timeout(10):
        await http.start_server()
        request = asyncio.create_task(post(http, SHOP.notice()))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await http.server.close()
        assert (await request).status == 204
        await http.close()
    assert order == ["handler", "database"]
