"""Routes for the notices of WeChat Pay in FastAPI and Starlette."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.pay.notices import NEWS, SHOP, TRANSACTION, Merchant
from wxmp.integrations.fastapi import pay_route, wxmp_lifespan
from wxmp.pay.notify_records import PaymentSucceeded

from .platform import make

if TYPE_CHECKING:
    from wxmp.pay.notifications import Notifications

REFUSED = b'{"code":"FAIL","message":"refused"}'


def listening(merchant: Merchant = SHOP) -> tuple[Notifications, list[PaymentSucceeded]]:
    notifications = merchant.notifications()
    heard: list[PaymentSucceeded] = []

    @notifications.on(PaymentSucceeded)
    async def paid(event: PaymentSucceeded) -> None:
        heard.append(event)

    return notifications, heard


@pytest.mark.parametrize("make_app", [FastAPI, Starlette])
def test_notice_is_answered_where_it_arrives(make_app: type[Starlette]) -> None:
    """POST to the very path gives 204 and no redirect: the platform follows none."""
    notifications, heard = listening()
    notice = SHOP.notice()
    with TestClient(make_app(routes=[pay_route("/pay", notifications)]), follow_redirects=False) as http:
        answer = http.post("/pay", content=notice.body, headers=dict(notice.headers))
    assert (answer.status_code, answer.content) == (204, b"")
    assert len(heard) == 1


def test_forgery_is_refused() -> None:
    """A changed byte is 401, and the body tells nothing."""
    notifications, heard = listening()
    notice = SHOP.notice()
    with TestClient(FastAPI(routes=[pay_route("/pay", notifications)])) as http:
        answer = http.post("/pay", content=notice.body[:-1] + b" }", headers=dict(notice.headers))
    assert (answer.status_code, answer.content) == (401, REFUSED)
    assert heard == []


def test_doubled_header_is_refused() -> None:
    """Starlette keeps both of a doubled header, and so it is seen."""
    notifications, heard = listening()
    notice = SHOP.notice()
    doubled = [*notice.headers, ("Wechatpay-Nonce", notice.header("nonce"))]
    with TestClient(FastAPI(routes=[pay_route("/pay", notifications)])) as http:
        assert http.post("/pay", content=notice.body, headers=doubled).status_code == 401
    assert heard == []


def test_several_merchants_by_path() -> None:
    """Each path has its merchant."""
    shop, news = listening(SHOP)[0], listening(NEWS)[0]
    app = FastAPI(routes=[pay_route("/pay/shop", shop), pay_route("/pay/news", news)])
    notice = NEWS.notice({**TRANSACTION, "mchid": NEWS.mchid})
    with TestClient(app) as http:
        found = [
            http.post(path, content=notice.body, headers=dict(notice.headers)).status_code
            for path in ("/pay/shop", "/pay/news")
        ]
    assert found == [401, 204]


def test_route_is_not_in_the_documentation() -> None:
    """The address is between WeChat Pay and the service."""
    assert "/pay" not in FastAPI(routes=[pay_route("/pay", listening()[0])]).openapi()["paths"]


async def test_handlers_end_before_the_client_is_closed() -> None:
    """``wxmp_lifespan(webhooks=…)`` takes notifications: their handlers may end while everything is still there."""
    client = make()
    notifications = SHOP.notifications()
    begun, go_on = asyncio.Event(), asyncio.Event()
    closed_at_end: list[int] = []

    @notifications.on(PaymentSucceeded)
    async def slow(event: PaymentSucceeded) -> None:
        begun.set()
        await go_on.wait()
        closed_at_end.append(client.closed)

    app = FastAPI(routes=[pay_route("/pay", notifications)])
    notice = SHOP.notice()
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
    async with asyncio.timeout(10), http:
        async with wxmp_lifespan(lambda: client, webhooks=[notifications])(app):
            request = asyncio.create_task(http.post("/pay", content=notice.body, headers=notice.headers))
            await begun.wait()
            asyncio.get_running_loop().call_later(0.05, go_on.set)
        answer = await request
    assert (answer.status_code, closed_at_end, client.closed) == (204, [0], 1)
