"""Notices over HTTP: those of the running simulator under a real server, and requests of all makes without one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from tests.pay.conftest import pay_settings
from tests.pay.notices import NEWS, SHOP, TRANSACTION
from wxmp.errors import ConfigError
from wxmp.pay import PayClient
from wxmp.pay.notifications import Notifications
from wxmp.pay.notify_asgi import NotifyASGI
from wxmp.pay.notify_records import NotifyEvent, PaymentSucceeded, RefundSucceeded, TransferFinished
from wxmp.simulator.pay import ledger
from wxmp.simulator.pay.notices import idle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wxmp.simulator import Simulator
    from wxmp.simulator.pay.records import Merchant

REFUSED = b'{"code":"FAIL","message":"refused"}'
JSON_HEADERS = {"content-type": "application/json", "x-content-type-options": "nosniff"}


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an application on loopback; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="on"))
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


class Shop:
    """A merchant's server at work: it orders, hears of payments, and the test acts as the payer."""

    def __init__(self, sim: Simulator, client: PayClient, notifications: Notifications, url: str) -> None:
        self.sim = sim
        self.world = sim.world
        self.client = client
        self.notifications = notifications
        self.url = url
        self.events: list[Any] = []
        self.fail = 0
        notifications.on(NotifyEvent)(self.heard)

    async def heard(self, event: NotifyEvent) -> None:
        self.events.append(event)
        if self.fail:
            self.fail -= 1
            raise RuntimeError("not now")

    async def sell(self, number: str = "order-0001", total: int = 100) -> str:
        """Order, and let alice pay; return the platform's number of the payment."""
        alice = self.world.user("alice")
        reply = await self.client.request(
            "POST",
            "/v3/pay/transactions/jsapi",
            json={
                "appid": self.client.appid,
                "mchid": self.client.mchid,
                "description": "一杯咖啡",
                "out_trade_no": number,
                "notify_url": f"{self.url}/pay",
                "amount": {"total": total, "currency": "CNY"},
                "payer": {"openid": alice.openid},
            },
        )
        result = alice.pay(self.client.jsapi_params(reply["prepay_id"]))
        await self.settled()
        return str(result.transaction_id)

    async def settled(self) -> None:
        assert await asyncio.to_thread(self.sim.wait_for, idle, 10.0)

    def verdicts(self) -> list[str]:
        return [attempt.verdict for attempt in ledger.notice_attempts(self.world)]


@asynccontextmanager
async def open_shop(sim: Simulator, merchant: Merchant, **changes: Any) -> AsyncIterator[Shop]:
    async with PayClient(**pay_settings(sim, merchant, **changes)) as client:
        notifications = Notifications(client)
        async with serving(notifications.asgi()) as url:
            yield Shop(sim, client, notifications, url)


@pytest.fixture
async def shop(pay_sim: Simulator, merchant: Merchant) -> AsyncIterator[Shop]:
    async with open_shop(pay_sim, merchant) as running:
        yield running


class TestSimulator:
    """The simulator signs and enciphers for itself: nothing of the SDK is in its notices."""

    async def test_payment(self, shop: Shop) -> None:
        """A payment is heard of once, compares with the order, and is acknowledged."""
        transaction_id = await shop.sell(total=1234)
        (event,) = shop.events
        assert type(event) is PaymentSucceeded
        assert event.resource.transaction_id == transaction_id
        event.check(appid=shop.client.appid, mchid=shop.client.mchid, out_trade_no="order-0001", total_fen=1234)
        assert shop.verdicts() == ["delivered"]

    async def test_repetition_after_a_failure(self, shop: Shop) -> None:
        """A handler that fails hears of it again, under the same id."""
        shop.fail = 1
        await shop.sell()
        assert shop.verdicts() == ["refused"]
        shop.world.advance(15)
        await shop.settled()
        assert shop.verdicts() == ["refused", "delivered"]
        assert len({event.id for event in shop.events}) == 1
        assert len(shop.events) == 2

    async def test_delivered_twice(self, shop: Shop) -> None:
        """The same notice twice: both are acknowledged, one handler runs."""
        shop.world.fault("pay_twice")
        await shop.sell()
        assert set(shop.verdicts()) == {"delivered"}
        assert len(shop.verdicts()) == 2
        assert len(shop.events) == 1

    async def test_probe(self, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        """A probe is refused without an alarm in the log, and the good one that follows is handled."""
        caplog.set_level("INFO")
        shop.world.fault("pay_forged")
        await shop.sell()
        assert len(shop.events) == 1
        assert "delivered" in shop.verdicts()
        said = [record for record in caplog.records if "probe" in record.getMessage()]
        assert said
        assert all(record.levelname == "INFO" for record in said)

    async def test_refund(self, shop: Shop) -> None:
        """The end of a refund is heard of."""
        transaction_id = await shop.sell()
        await shop.client.request(
            "POST",
            "/v3/refund/domestic/refunds",
            json={
                "transaction_id": transaction_id,
                "out_refund_no": "refund-1",
                "notify_url": f"{shop.url}/pay",
                "amount": {"refund": 40, "total": 100, "currency": "CNY"},
            },
        )
        shop.world.advance(10)
        await shop.settled()
        event = shop.events[-1]
        assert type(event) is RefundSucceeded
        event.check(out_trade_no="order-0001", out_refund_no="refund-1", refund_fen=40, total_fen=100)

    async def test_certificates_rotate(self, pay_sim: Simulator, merchant: Merchant) -> None:
        """A notice signed by a certificate that nobody has seen makes the client fetch the list, once, and is heard."""
        merchant.public_key_id, kept = "", merchant.public_key_id
        assert kept
        async with open_shop(pay_sim, merchant, public_key=None, public_key_id=None, certificates="auto") as shop:
            await shop.sell("order-0001")
            shop.world.fault("pay_rotated_key")
            # The list was fetched a moment ago, and is not fetched again within a minute.
            store = shop.client.keys.store
            assert store is not None
            store._not_before = 0.0
            before = {key.serial for key in store.keys}
            await shop.sell("order-0002")
            assert [event.resource.out_trade_no for event in shop.events] == ["order-0001", "order-0002"]
            assert {key.serial for key in store.keys} > before
            assert set(shop.verdicts()) == {"delivered"}

    async def test_transfer(self, shop: Shop) -> None:
        """The end of a transfer is heard of."""
        alice = shop.world.user("alice")
        reply = await shop.client.request(
            "POST",
            "/v3/fund-app/mch-transfer/transfer-bills",
            json={
                "appid": shop.client.appid,
                "out_bill_no": "bill0001",
                "transfer_scene_id": "1000",
                "openid": alice.openid,
                "transfer_amount": 100,
                "transfer_remark": "新会员有礼",
                "notify_url": f"{shop.url}/pay",
                "transfer_scene_report_infos": [
                    {"info_type": "活动名称", "info_content": "新会员有礼"},
                    {"info_type": "奖励说明", "info_content": "注册会员抽奖一等奖"},
                ],
            },
        )
        alice.pay({"mchId": shop.client.mchid, "appId": shop.client.appid, "package": reply["package_info"]})
        shop.world.advance(10)
        await shop.settled()
        event = shop.events[-1]
        assert type(event) is TransferFinished
        assert event.resource.final
        event.check(appid=shop.client.appid or "", out_bill_no="bill0001", transfer_fen=100)


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def quiet_shop() -> Notifications:
    shop = SHOP.notifications(max_body=10_000)

    @shop.default
    async def take(event: NotifyEvent) -> None: ...

    return shop


class TestRequests:
    """What HTTP can bring."""

    async def test_success_has_no_body(self) -> None:
        """204, and nothing else."""
        notice = SHOP.notice()
        async with client_of(quiet_shop().asgi()) as http:
            answer = await http.post("/anywhere", content=notice.body, headers=notice.headers)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-length" not in answer.headers

    async def test_refusal_says_nothing(self) -> None:
        """Every refusal has the same body, in the documented form."""
        notice = SHOP.notice()
        async with client_of(quiet_shop().asgi()) as http:
            answer = await http.post("/", content=notice.body + b" ", headers=notice.headers)
        assert (answer.status_code, answer.content) == (401, REFUSED)
        assert answer.headers.items() >= JSON_HEADERS.items()
        assert answer.json() == {"code": "FAIL", "message": "refused"}

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
    async def test_other_methods(self, method: str) -> None:
        """The platform uses POST."""
        async with client_of(quiet_shop().asgi()) as http:
            assert (await http.request(method, "/")).status_code == 405

    async def test_endless_body(self) -> None:
        """A body that never ends is refused as soon as it is too large."""
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 1000
                yield b"x" * 1000

        async with asyncio.timeout(5), client_of(quiet_shop().asgi()) as http:
            answer = await http.post("/", content=endless())
        assert (answer.status_code, answer.content) == (400, REFUSED)
        assert sent <= 12_000

    @pytest.mark.parametrize("length", ["10001", "9" * 5000])
    async def test_announced_size(self, length: str) -> None:
        """A Content-Length over the limit is refused unread."""
        read = False

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            read = True
            yield b"x"

        async with client_of(quiet_shop().asgi()) as http:
            answer = await http.post("/", content=body(), headers={"Content-Length": length})
        assert (answer.status_code, read) == (400, False)

    async def test_compressed_body(self) -> None:
        """What is signed are the bytes as sent; the platform compresses nothing."""
        notice = SHOP.notice()
        async with client_of(quiet_shop().asgi()) as http:
            answer = await http.post("/", content=notice.body, headers=[*notice.headers, ("Content-Encoding", "gzip")])
        assert answer.status_code == 400

    async def test_body_in_pieces(self) -> None:
        """A body may come in any pieces."""
        notice = SHOP.notice()

        async def pieces() -> AsyncIterator[bytes]:
            for index in range(0, len(notice.body), 100):
                yield notice.body[index : index + 100]

        async with client_of(quiet_shop().asgi()) as http:
            assert (await http.post("/", content=pieces(), headers=notice.headers)).status_code == 204

    async def test_sender_goes_away(self) -> None:
        """A connection that ends in the middle of a body is answered nothing."""
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        await quiet_shop().asgi()(scope, receive, send)
        assert sent == []


class TestTenants:
    """Several merchants by path."""

    async def test_each_has_its_path(self) -> None:
        """A merchant's notice is good at that merchant's path only; another path is nobody's."""
        shop, news = quiet_shop(), NEWS.notifications()

        @news.default
        async def take(event: NotifyEvent) -> None: ...

        app = NotifyASGI({"/pay/shop": shop, "/pay/news": news})
        of_shop = SHOP.notice()
        of_news = NEWS.notice({**TRANSACTION, "mchid": NEWS.mchid})
        async with client_of(app) as http:
            found = [
                (await http.post(path, content=notice.body, headers=notice.headers)).status_code
                for path in ("/pay/shop", "/pay/news", "/pay/shop/", "/pay")
                for notice in (of_shop, of_news)
            ]
        assert found == [204, 401, 401, 204, 404, 404, 404, 404]

    async def test_under_a_root_path(self) -> None:
        """Mounted below a prefix, the paths are those after it."""
        notice = SHOP.notice()
        transport = httpx.ASGITransport(NotifyASGI({"/pay": quiet_shop()}), root_path="/api")
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            answer = await http.post("/api/pay", content=notice.body, headers=notice.headers)
        assert answer.status_code == 204

    @pytest.mark.parametrize("paths", [{}, {"pay": None}])
    def test_path_that_cannot_be_reached(self, paths: dict[str, Any]) -> None:
        """No merchant at all, or a path without its slash, is a mistake."""
        with pytest.raises(ConfigError):
            NotifyASGI(paths)
