"""What breaks between a merchant and WeChat Pay, told truly: nothing happens twice, and no unknown outcome is lost."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.pay.conftest import pay_settings
from tests.pay.notices import SHOP
from tests.pay.test_gateway import ANY, ASK, KEY_ID, ONCE, Script, answer, client_for, refusal, reset, sign
from tests.pay.test_transfers import TERMS
from tests.raw_server import Exchange, RawServer
from tests.tokens.virtual_time import now, virtual
from wxmp._transport import Transport
from wxmp.errors import PayAPIError, PayError, PaySignatureError, TimedOutError, TransportError, WxmpError
from wxmp.pay import PayClient, PayEvent
from wxmp.pay._certificates import CertificateStore
from wxmp.pay.v2 import PayV2APIError, PayV2Client
from wxmp.retry import RetryPolicy
from wxmp.simulator.pay import ledger
from wxmp.webhook.dedupe import Claim, DedupeStore, MemoryDedupe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wxmp import Event
    from wxmp.pay._keys import PlatformKey
    from wxmp.pay.notify_records import NotifyEvent
    from wxmp.simulator import Simulator
    from wxmp.simulator.pay.records import Merchant

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer(answer) as running:
        yield running


# ---- an unknown outcome stays unknown


@pytest.mark.parametrize(
    "later",
    [
        refusal("429 x", "FREQUENCY_LIMITED"),
        refusal("401 x", "SIGN_ERROR"),
        refusal("403 x", "NOT_ENOUGH"),
        refusal("404 x", "RESOURCE_NOT_EXISTS"),
    ],
)
async def test_a_refusal_does_not_undo_the_attempt_before(server: RawServer, later: Any) -> None:
    """After a connection that broke, no refusal of the repeat proves that nothing happened."""
    server.answer = Script(reset, later)
    async with client_for(server) as client:
        with pytest.raises(PayAPIError) as caught:
            await client.gateway(ANY, json={"n": 1})
        assert caught.value.maybe_acted
        assert caught.value.fresh().maybe_acted
        with pytest.raises(PayAPIError) as caught:
            await client.gateway(ANY, json={"n": 2})
        assert not caught.value.maybe_acted or caught.value.code == "SYSTEM_ERROR"


async def test_a_refused_connection_does_not_undo_the_attempt_before(server: RawServer) -> None:
    """The first host breaks off, the second one cannot be reached: the outcome is unknown."""
    server.answer = reset
    policy = RetryPolicy(attempts=2, initial_wait=0.001, max_wait=0.002)
    async with client_for(server, backup_url="http://127.0.0.1:9", retry=policy) as client:
        with pytest.raises(TransportError, match="connect") as caught:
            await client.gateway(ANY, json={"n": 1})
    assert len(server.exchanges) == 1
    assert caught.value.maybe_acted


async def test_a_query_has_no_outcome(server: RawServer) -> None:
    """A query that broke does nothing, whatever the next one is told."""
    server.answer = Script(reset, refusal("404 x", "ORDER_NOT_EXIST"))
    async with client_for(server) as client:
        with pytest.raises(PayAPIError) as caught:
            await client.gateway(ASK)
    assert not caught.value.maybe_acted


async def test_error_without_a_meaning_is_unknown(server: RawServer) -> None:
    """ERROR with 500 is final, and says nothing about the money: it is not repeated, and to be queried."""
    server.answer = refusal("500 x", "ERROR")
    async with client_for(server) as client:
        with pytest.raises(PayAPIError) as caught:
            await client.gateway(ANY, json={})
    assert caught.value.maybe_acted
    assert len(server.exchanges) == 1


V2 = {"mchid": "1900000109", "api_v2_key": "k" * 32, "appid": "wx1", "sign_type": "MD5"}
BUSY_V2 = b"<xml><return_code>FAIL</return_code><return_msg>FREQUENCY_LIMITED</return_msg></xml>"


async def order_v2(client: PayV2Client) -> None:
    await client.order(
        "number1",
        trade_type="NATIVE",
        body="tea",
        total_fen=1,
        spbill_create_ip="127.0.0.1",
        notify_url="https://shop.example.com/pay",
        product_id="1",
    )


@pytest.mark.parametrize("second", ["answers", "is gone"])
async def test_v2_a_refusal_does_not_undo_the_attempt_before(server: RawServer, second: str) -> None:
    """The same on the older interface, whose other host is asked within one attempt."""
    server.answer = reset
    async with RawServer(lambda exchange: exchange.reply(BUSY_V2)) as other:
        backup = other.url if second == "answers" else "http://127.0.0.1:9"
        policy = RetryPolicy(attempts=1)
        async with PayV2Client(**V2, base_url=server.url, backup_url=backup, retry=policy) as client:  # type: ignore[arg-type]
            with pytest.raises((PayV2APIError, TransportError)) as caught:
                await order_v2(client)
    assert caught.value.maybe_acted  # type: ignore[attr-defined]


async def test_v2_ends_in_its_time(server: RawServer) -> None:
    """The other host gets what is left of the call's time, and nothing when that is over."""
    server.answer = lambda exchange: exchange.hang()
    async with RawServer(lambda exchange: exchange.hang()) as other:
        policy = RetryPolicy(attempts=9, total_time=2.5, initial_wait=0.001, max_wait=0.002)
        settings: Any = {**V2, "base_url": server.url, "backup_url": other.url, "timeout": 1.5}
        async with PayV2Client(**settings, retry=policy) as client:
            began = time.monotonic()
            with pytest.raises(TimedOutError) as caught:
                await order_v2(client)
            assert time.monotonic() - began < 10  # nine attempts would take 13 s
        assert caught.value.maybe_acted
        assert (len(server.exchanges), len(other.exchanges)) == (1, 1)
        policy = RetryPolicy(total_time=0)
        async with PayV2Client(**settings | {"timeout": 1.0}, retry=policy) as client:
            with pytest.raises(TimedOutError):
                await order_v2(client)
        assert (len(server.exchanges), len(other.exchanges)) == (2, 1)


# ---- closing


async def test_closing_leaves_the_outcome_unknown(server: RawServer) -> None:
    """A call that is broken off by aclose() may have acted, and says so; it is not repeated."""
    server.answer = lambda exchange: exchange.hang()
    events: list[Event] = []
    client = client_for(server, on_event=events.append)
    calls = [asyncio.create_task(client.gateway(ANY, json={"n": n})) for n in range(5)]
    while len(server.exchanges) < 5:
        await asyncio.sleep(0.001)
    await client.aclose()
    for call in calls:
        with pytest.raises(TransportError, match="closed") as caught:
            await call
        assert caught.value.maybe_acted
    assert len(server.exchanges) == 5
    assert [event for event in events if isinstance(event, PayEvent)] == []


async def test_closing_between_two_attempts(server: RawServer) -> None:
    """So does one that is closed while it waits for its next attempt."""
    server.answer = reset
    client: PayClient

    async def close_meanwhile(_: float) -> None:
        await client.aclose()

    client = client_for(server, retry=RetryPolicy(sleep=close_meanwhile))
    with pytest.raises(TransportError, match="closed") as caught:
        await client.gateway(ANY, json={})
    assert caught.value.maybe_acted
    assert len(server.exchanges) == 1


async def test_v2_closing_leaves_the_outcome_unknown(server: RawServer) -> None:
    """The same on the older interface."""
    server.answer = reset
    client: PayV2Client

    async def close_meanwhile(_: float) -> None:
        await client.aclose()

    client = PayV2Client(**V2, base_url=server.url, retry=RetryPolicy(sleep=close_meanwhile))  # type: ignore[arg-type]
    with pytest.raises(TransportError, match="closed") as caught:
        await order_v2(client)
    assert caught.value.maybe_acted


# ---- hosts


async def test_our_own_crowd_is_no_fault_of_the_host(server: RawServer) -> None:
    """Who waits in vain for a free connection has learnt nothing about the host: it stays the first choice."""

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)
        await answer(exchange)

    server.answer = slow
    events: list[Event] = []
    async with RawServer(answer) as other:
        client = client_for(server, backup_url=other.url, on_event=events.append, retry=RetryPolicy(attempts=1))
        async with client:
            gateway: Any = client.gateway
            gateway._transport = Transport(base_url=server.url, max_connections=1, allowed_origins=(other.url,))
            first = asyncio.create_task(gateway(ANY, json={}))
            while not server.exchanges:
                await asyncio.sleep(0.001)
            with pytest.raises(TimedOutError) as caught:
                await gateway(ONCE, json={}, timeout=0.05)
            assert caught.value.stage == "waiting for a free connection"
            assert not caught.value.maybe_acted
            assert await first == {"ok": 1}
            await gateway(ANY, json={})
            await gateway._transport.aclose()
        assert (len(server.exchanges), len(other.exchanges)) == (2, 0)
    assert [event for event in events if isinstance(event, PayEvent)] == []


# ---- the same number again and again


async def order(client: PayClient, number: str = "A1234567") -> Any:
    return await client.order.native(number, description="tea", total_fen=100)


async def test_fifty_at_once(pay_sim: Simulator, merchant: Merchant) -> None:
    """Fifty tasks order the same number at once, over connections that break: one order."""
    for effect in ("reset_after", "reset_before", "truncated"):
        pay_sim.fault(effect, "/v3/pay/transactions/native", times=5)
    async with PayClient(**pay_settings(pay_sim, merchant)) as client:
        outcomes = await asyncio.gather(*(order(client) for _ in range(50)), return_exceptions=True)
    assert set(merchant.orders) == {"A1234567"}
    bad = [found for found in outcomes if isinstance(found, BaseException)]
    assert len(bad) <= 5
    assert all(isinstance(found, WxmpError) and found.maybe_acted for found in bad)  # type: ignore[attr-defined]


@pytest.mark.parametrize("effect", ["reset_after", "reset_before", "truncated", "hang", "not_json", "huge"])
async def test_money_leaves_once(pay_sim: Simulator, merchant: Merchant, effect: Any) -> None:
    """Two clients refund and transfer under the same numbers at once, over broken connections: each happens once."""
    phone = pay_sim.world.phone(pay_sim.world.create_followers(1)[0])
    settings = pay_settings(pay_sim, merchant, timeout=0.5)
    async with PayClient(**settings) as one, PayClient(**settings) as two:
        paid = await one.order.native("A1234567", description="tea", total_fen=1000)
        assert phone.pay(paid.code_url).ok
        before = merchant.balance
        pay_sim.fault(effect, "*", times=6)

        async def refund(client: PayClient) -> object:
            return await client.refund.create("r1", out_trade_no="A1234567", refund_fen=10, total_fen=1000)

        async def transfer(client: PayClient) -> object:
            # The name is enciphered by each client anew: the same content, other bytes.
            return await client.transfer.create("bill1", openid=phone.openid, user_name="张三", **TERMS)

        calls = [call(client) for call in (refund, transfer) for client in (one, two) for _ in range(5)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert (len(merchant.refunds), len(merchant.transfers)) == (1, 1)
    assert before - merchant.balance == 10 + TERMS["transfer_amount_fen"]
    bad = [found for found in outcomes if isinstance(found, BaseException)]
    assert all(isinstance(found, WxmpError) and found.maybe_acted for found in bad)  # type: ignore[attr-defined]


async def test_cancelled_at_every_await(pay_sim: Simulator, merchant: Merchant) -> None:
    """Wherever an order is cancelled, the same again finds one order, and the client goes on working."""
    async with PayClient(**pay_settings(pay_sim, merchant)) as client:
        for turns in range(0, 60, 2):
            task = asyncio.create_task(order(client, f"A12345{turns:02}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert (await order(client, f"A12345{turns:02}")).code_url
    assert len(merchant.orders) == 30


@pytest.mark.parametrize("off", [301, -301])
async def test_a_clock_that_is_wrong(pay_sim: Simulator, merchant: Merchant, off: int) -> None:
    """Five minutes off in either direction: refused by one side or the other, never believed, never twice."""
    async with PayClient(**pay_settings(pay_sim, merchant, clock=lambda: time.time() + off)) as client:
        with pytest.raises(PayError) as caught:
            await order(client)
    assert isinstance(caught.value, PayAPIError | PaySignatureError)
    assert merchant.orders == {} or caught.value.maybe_acted


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": "AAAA"},
        {"signature": "WECHATPAY/SIGNTEST/x"},
        {"serial": KEY_ID + "0"},
        {"serial": KEY_ID.lower()},
        {"serial": "0" + KEY_ID},
        {"nonce": "other"},
        {"timestamp": "+1"},
        {"timestamp": "1e9"},
        {"timestamp": str(int(time.time()) - 301)},
    ],
)
async def test_a_forged_answer_is_not_repeated_into_a_second_payment(
    server: RawServer, changes: dict[str, str]
) -> None:
    """A call that may happen once is sent once, whoever answers what; and its outcome is unknown."""
    server.answer = lambda exchange: answer(exchange, b"{}", **changes)
    async with client_for(server) as client:
        with pytest.raises(PaySignatureError) as caught:
            await client.gateway(ONCE, json={})
    assert caught.value.maybe_acted
    assert len(server.exchanges) == 1


async def test_a_doubled_header_in_an_answer(server: RawServer) -> None:
    """Two values of one header are none, also on the wire."""

    async def twice(exchange: Exchange) -> None:
        now = str(int(time.time()))
        good = sign(f"{now}\nn\n".encode() + b"{}\n")
        line = f"Wechatpay-Timestamp: {now}\r\nWechatpay-Nonce: n\r\nWechatpay-Serial: {KEY_ID}\r\n"
        await exchange.reply(b"{}", headers=f"{line}Wechatpay-Signature: {good}\r\nwechatpay-signature: {good}\r\n")

    server.answer = twice
    async with client_for(server) as client:
        with pytest.raises(PaySignatureError) as caught:
            await client.gateway(ONCE, json={})
    assert caught.value.reason == "doubled"


# ---- certificates


async def test_a_fetch_that_is_cancelled_is_made_good_at_once() -> None:
    """When its event loop ends in the middle of a fetch, the next one need not wait for a minute."""
    fetches = 0

    async def fetch() -> list[PlatformKey]:
        nonlocal fetches
        fetches += 1
        await asyncio.sleep(60)
        return []

    store = CertificateStore(fetch, report=lambda *_: None)
    for count in (1, 2):
        waiting = asyncio.create_task(store.refresh())
        await asyncio.sleep(0.01)
        assert fetches == count
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await store.aclose()


async def test_closing_during_the_first_fetch(server: RawServer) -> None:
    """Whoever waits for certificates is told that it was broken off, and nothing about the clock."""
    server.answer = lambda exchange: exchange.hang()
    client = client_for(server, public_key=None, public_key_id=None, certificates="auto")
    calls = [asyncio.create_task(client.gateway(ANY, json={})) for _ in range(5)]
    while not server.exchanges:
        await asyncio.sleep(0.001)
    await client.aclose()
    for call in calls:
        with pytest.raises(PayError, match="broken off"):
            await call
    assert server.lines == ["GET /v3/certificates HTTP/1.1"]


def test_first_calls_in_several_event_loops(pay_sim: Simulator) -> None:
    """One client, first used by several threads at once: each gets its answer, and none an error about the clock."""
    settings = pay_settings(pay_sim, ledger.default_merchant(pay_sim.world), public_key=None, public_key_id=None)
    client = PayClient(**settings)
    ready = threading.Barrier(4)

    async def call() -> str:
        ready.wait(10)
        with pytest.raises(PayAPIError) as caught:
            await client.order.get(out_trade_no="A1234567")
        return caught.value.code

    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(lambda: asyncio.run(call())) for _ in range(4)]
        assert [found.result(20) for found in calls] == ["ORDER_NOT_EXIST"] * 4
    asyncio.run(client.aclose())


# ---- notices


@virtual
async def test_a_notice_is_answered_in_time_whatever_is_slow() -> None:
    """Certificates that take their time leave less for the handler: the sum is what the platform waits for."""
    keys = SHOP.keys()
    verify = keys.verify

    async def slow(*args: Any, **kwargs: Any) -> str:
        await asyncio.sleep(0.2)
        return await verify(*args, **kwargs)

    keys.verify = slow  # type: ignore[method-assign]
    shop = SHOP.notifications(keys=keys, deadline=0.5)

    @shop.default
    async def handle(_: NotifyEvent) -> None:
        await asyncio.sleep(1)

    began = now()
    notice = SHOP.notice()
    found = await shop.answer(notice.headers, notice.body)
    assert found.status == 503
    assert now() - began < 0.65
    await shop.aclose()


class HangingDedupe(MemoryDedupe):
    """A store that does not answer."""

    async def begin(self, *_: Any, **__: Any) -> Claim:
        await asyncio.sleep(60)
        raise AssertionError

    async def finish(self, *_: Any, **__: Any) -> bool:
        await asyncio.sleep(60)
        raise AssertionError


def hanging() -> DedupeStore:
    return HangingDedupe()


@virtual
async def test_a_store_that_hangs_does_not_keep_the_answer() -> None:
    """A store without a time limit of its own is not waited for until the platform hangs up."""
    shop = SHOP.notifications(dedupe=hanging(), deadline=0.1)
    shop.default(_never)
    notice = SHOP.notice()
    async with asyncio.timeout(3):
        assert (await shop.answer(notice.headers, notice.body)).status == 503


async def _never(_: NotifyEvent) -> None:
    raise AssertionError


async def test_the_log_of_notices_is_that_of_payments(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that fails stands in the log of wxmp.pay."""
    shop = SHOP.notifications()
    shop.default(_never)
    notice = SHOP.notice()
    assert (await shop.answer(notice.headers, notice.body)).status == 500
    assert {record.name for record in caplog.records} == {"wxmp.pay"}


@pytest.mark.parametrize("kind", ["serial", "probe", "signature"])
async def test_a_stranger_does_not_fill_the_log(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """Serial numbers that somebody makes up are one kind of line, and so are probes."""
    caplog.set_level(logging.DEBUG)
    shop = SHOP.notifications()
    shop.default(_never)
    notice = SHOP.notice()
    for index in range(300):
        letters = "".join(chr(65 + int(digit)) for digit in f"{index:03}")
        changes = {
            "serial": {"serial": f"DEAD{letters}"},
            "probe": {"signature": f"WECHATPAY/SIGNTEST/{letters}"},
            "signature": {"nonce": letters},
        }[kind]
        bad = notice.changed(**changes)
        assert (await shop.answer(bad.headers, bad.body)).status == 401
    assert len([record for record in caplog.records if record.name.startswith("wxmp")]) == 1


@pytest.mark.parametrize("nonce", ["n\nx", "n x", "n\r\n", "\xa0n", "n\x85", "n" * 129, "茶"])
async def test_what_is_no_nonce_is_not_signed(nonce: str) -> None:
    """A line feed would move the border to the body, also with a good signature; nothing odd is trimmed away."""
    notice = SHOP.sign(b"{}", nonce=nonce)
    with pytest.raises(PaySignatureError) as caught:
        await SHOP.keys().verify(notice.headers, notice.body)
    assert caught.value.reason == "signature"


@pytest.mark.parametrize("timestamp", ["+{}", "\xa0{}", "{}\n", "{}.0", "\u200b{}", "{}_0", "-{}", "0x{}"])
async def test_what_is_no_timestamp(timestamp: str) -> None:
    """Digits of ASCII, and nothing that int() would forgive."""
    bad = SHOP.notice().changed(timestamp=timestamp.format(int(time.time())))
    with pytest.raises(PaySignatureError) as caught:
        await SHOP.keys().verify(bad.headers, bad.body)
    assert caught.value.reason == "timestamp"


async def test_a_thousand_notices_at_once() -> None:
    """All are handled once, and all in time."""
    shop = SHOP.notifications()
    seen: list[str] = []

    @shop.default
    async def handle(event: NotifyEvent) -> None:
        await asyncio.sleep(0)
        seen.append(event.id)

    storm = [SHOP.notice() for _ in range(200)]
    answers = await asyncio.gather(*(shop.answer(one.headers, one.body) for one in storm * 5))
    assert {found.status for found in answers} <= {204, 503}
    assert len(seen) == len(set(seen)) == 200
