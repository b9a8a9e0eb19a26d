"""Notices of WeChat Pay: real ones of the simulator, what they become, and what happens with them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest

from tests.pay import notices
from tests.pay.notices import APPID, COMBINED, NEWS, NUMBER, PARTNER, REFUND, SHOP, TRANSACTION, TRANSFER, Notice
from tests.redis_server import RedisServer
from tests.tokens.virtual_time import virtual
from wxmp.errors import ConfigError, PayDecryptError, PayMismatchError, PaySignatureError, WebhookStoreError
from wxmp.pay import notify_records as records
from wxmp.pay._certificates import CertificateStore
from wxmp.pay._keys import PlatformKey, read_certificate
from wxmp.pay.notify_records import (
    CombinedPaymentSucceeded,
    NotifyEvent,
    PartnerPaymentSucceeded,
    PaymentEvent,
    PaymentSucceeded,
    RefundEvent,
    RefundSucceeded,
    TransferFinished,
    UnknownNotification,
)
from wxmp.pay.records import RefundStatus, TradeState, TransferState
from wxmp.webhook.dedupe import DedupeStore, MemoryDedupe
from wxmp.webhook.dedupe_redis import RedisDedupe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.pay.notifications import Notifications


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


REFUSED = b'{"code":"FAIL","message":"refused"}'


async def receive(notice: Notice, **settings: Any) -> Any:
    return await SHOP.notifications(**settings).receive(notice.headers, notice.body)


async def answer(notifications: Notifications, notice: Notice) -> int:
    """The status; the body is the same for every refusal."""
    async with asyncio.timeout(10):
        found = await notifications.answer(notice.headers, notice.body)
    assert found.body == (b"" if found.status == 204 else REFUSED)
    return found.status


class TestKinds:
    """What becomes of what was decrypted."""

    async def test_payment(self) -> None:
        """A payment is a typed record; unknown fields are kept, and the whole is in ``plain``."""
        event = await receive(SHOP.notice(id="n1"))
        assert type(event) is PaymentSucceeded
        assert (event.id, event.event_type, event.original_type) == ("n1", "TRANSACTION.SUCCESS", "transaction")
        assert event.create_time.isoformat() == "2026-11-21T02:34:56+00:00"
        order = event.resource
        assert (order.out_trade_no, order.trade_state, order.amount.total_fen) == (NUMBER, TradeState.SUCCESS, 100)
        assert order.extra == {"a_new_member": {"of": "tomorrow"}}
        assert event.plain == TRANSACTION
        assert event.mchid == SHOP.mchid

    async def test_combined_payment(self) -> None:
        """A combined order comes under the same name and has its own class."""
        event = await receive(SHOP.notice(COMBINED))
        assert type(event) is CombinedPaymentSucceeded
        assert [(o.out_trade_no, o.amount.total_amount_fen) for o in event.resource.sub_orders] == [
            ("part-0001", 10),
            ("part-0002", 20),
        ]

    async def test_partner_payment(self) -> None:
        """So has an order of a service provider."""
        event = await receive(SHOP.notice(PARTNER))
        assert type(event) is PartnerPaymentSucceeded
        assert (event.resource.sp_mchid, event.resource.sub_mchid) == (SHOP.mchid, "1900000109")

    @pytest.mark.parametrize(
        ("kind", "cls"),
        [
            ("REFUND.SUCCESS", records.RefundSucceeded),
            ("REFUND.ABNORMAL", records.RefundAbnormal),
            ("REFUND.CLOSED", records.RefundClosed),
        ],
    )
    async def test_refund(self, kind: str, cls: type[NotifyEvent]) -> None:
        """Each end of a refund has its class."""
        event = await receive(SHOP.notice({**REFUND, "refund_status": kind[7:]}, kind))
        assert type(event) is cls
        assert event.resource.status == RefundStatus(kind[7:])
        assert (event.resource.amount.refund_fen, event.resource.amount.total_fen) == (40, 100)

    @pytest.mark.parametrize("spelling", ["mchid", "mch_id"])
    async def test_transfer(self, spelling: str) -> None:
        """The end of a transfer is a typed record, under either name of the merchant's number."""
        plain = {spelling if name == "mch_id" else name: value for name, value in TRANSFER.items()}
        event = await receive(SHOP.notice(plain, "MCHTRANSFER.BILL.FINISHED"))
        assert type(event) is TransferFinished
        assert (event.resource.state, event.resource.transfer_amount_fen) == (TransferState.SUCCESS, 500)
        event.check(appid=APPID, out_bill_no="bill0001", transfer_fen=500)

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("MCHTRANSFER.AUTHORIZATION.CONFIRMED", "TransferAuthorizationConfirmed"),
            ("MCHTRANSFER.BATCH.FINISHED", "TransferBatchFinished"),
            ("MCHTRANSFER.BATCH.CLOSED", "TransferBatchClosed"),
            ("PROFITSHARING.SUCCESS", "SharingSucceeded"),
            ("PROFITSHARING", "SharingSucceeded"),
            ("PROFITSHARING.RETURN", "SharingReturned"),
            ("PROFITSHARING_RETURN", "SharingReturned"),
            ("COMPLAINT.CREATE", "ComplaintCreated"),
            ("COMPLAINT.STATE_CHANGE", "ComplaintStateChanged"),
            ("COUPON.USE", "CouponUsed"),
            ("PAYSCORE.USER_CONFIRM", "PayscoreConfirmed"),
            ("PAYSCORE.USER_PAID", "PayscorePaid"),
            ("PAPAY.SIGN", "UnknownNotification"),
        ],
    )
    async def test_open_kinds(self, kind: str, name: str) -> None:
        """The other documented kinds have their classes, an unknown one is kept whole."""
        plain = {"mchid": SHOP.mchid, "anything": [1, {"else": None}]}
        event = await receive(SHOP.notice(plain, kind))
        assert type(event).__name__ == name
        assert event.event_type == kind
        assert event.resource == event.plain == plain

    async def test_share_names_two_merchants(self) -> None:
        """A share goes to its receiver and names whoever shares, too."""
        plain = {"mchid": "1900000777", "receiver": {"type": "MERCHANT_ID", "account": SHOP.mchid, "amount": 1}}
        assert (await receive(SHOP.notice(plain, "PROFITSHARING.SUCCESS"))).resource == plain

    async def test_repr_shows_no_contents(self) -> None:
        """An event may stand in a log: no openid, no amount, no attach."""
        shown = repr(await receive(SHOP.notice()))
        assert "PaymentSucceeded" in shown
        for text in ("o6_bmjrPTlm6", "table 5", NUMBER, "total"):
            assert text not in shown

    @pytest.mark.parametrize("associated", ["", None])
    async def test_no_associated_data(self, associated: str | None) -> None:
        """Empty, null and absent associated data open alike."""
        sealed = SHOP.seal(json.dumps(TRANSACTION).encode(), "")
        for resource in (
            {**sealed, "associated_data": associated},
            {name: value for name, value in sealed.items() if name != "associated_data"},
        ):
            assert type(await receive(SHOP.notice(resource=resource))) is PaymentSucceeded

    async def test_previous_key_opens(self) -> None:
        """A notice that was queued under the APIv3 key before the change still opens."""
        old = attrs.evolve(SHOP, api_v3_key="b" * 32).notice()
        with pytest.raises(PayDecryptError):
            await receive(old)
        event = await receive(old, keys=SHOP.keys(previous_api_v3_key="b" * 32))
        assert type(event) is PaymentSucceeded

    async def test_certificate_signs(self) -> None:
        """Public key and certificates may sign at once; each is found by its serial number, however it is written."""
        serial, pem = notices.certificate("certificate")
        keys = SHOP.keys(certificates=[pem])
        notice = SHOP.notice()
        by_certificate = SHOP.sign(notice.body, key="certificate")
        for spelling in (serial, serial.lower()):
            await receive(by_certificate.changed(serial=spelling), keys=keys)
        await receive(notice, keys=keys)

    async def test_headers_as_frameworks_have_them(self) -> None:
        """A mapping, pairs of texts, pairs of bytes, in any case."""
        notice = SHOP.notice()
        raw = [(name.lower().encode(), value.encode()) for name, value in notice.headers]
        shop = SHOP.notifications()
        for headers in (dict(notice.headers), notice.headers, raw, iter(raw)):
            assert (await shop.receive(headers, notice.body)).event_type == "TRANSACTION.SUCCESS"


class TestCheck:
    """Comparing a notice with one's own record."""

    RIGHT: ClassVar[dict[str, Any]] = {"appid": APPID, "mchid": SHOP.mchid, "out_trade_no": NUMBER, "total_fen": 100}

    async def test_same(self) -> None:
        """What is the same passes; what the payer paid is not what is compared."""
        event = await receive(SHOP.notice())
        event.check(**self.RIGHT, currency="CNY")
        event.check(appid=APPID, out_trade_no=NUMBER, total_fen=100)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("appid", "wx1111111111111111"),
            ("mchid", NEWS.mchid),
            ("out_trade_no", "order-0002"),
            ("total_fen", 90),
            ("total_fen", 10000),
            ("currency", "HKD"),
        ],
    )
    async def test_different(self, field: str, value: object) -> None:
        """What differs is named, and no value is told."""
        event = await receive(SHOP.notice())
        with pytest.raises(PayMismatchError) as caught:
            event.check(**{**self.RIGHT, field: value})
        assert caught.value.field == field
        assert str(value) not in str(caught.value)

    @pytest.mark.parametrize("total", [True, 100.0, "100", None])
    async def test_amount_of_another_make(self, total: object) -> None:
        """An amount that only looks equal is a mistake of the caller's."""
        event = await receive(SHOP.notice())
        with pytest.raises(ConfigError, match="total_fen"):
            event.check(**{**self.RIGHT, "total_fen": total})

    @pytest.mark.parametrize("field", ["appid", "out_trade_no", "currency"])
    async def test_nothing_to_compare_with(self, field: str) -> None:
        """An order that was not found has empty fields: they must not equal what a notice does not say."""
        plain = {**TRANSACTION, "amount": {"total": 100}, "appid": "", "out_trade_no": ""}
        event = await receive(SHOP.notice(plain))
        with pytest.raises(ConfigError, match=field):
            event.check(**{**self.RIGHT, "currency": "CNY", field: ""})

    @pytest.mark.parametrize("state", ["NOTPAY", "CLOSED", "PAYERROR", "", "NEW_STATE"])
    async def test_not_paid(self, state: str) -> None:
        """A payment notice about an order that is not paid does not pass."""
        event = await receive(SHOP.notice({**TRANSACTION, "trade_state": state}))
        with pytest.raises(PayMismatchError) as caught:
            event.check(**self.RIGHT)
        assert caught.value.field == "trade_state"

    async def test_absent_amount(self) -> None:
        """An amount that is missing differs from every other."""
        event = await receive(SHOP.notice({name: value for name, value in TRANSACTION.items() if name != "amount"}))
        with pytest.raises(PayMismatchError):
            event.check(**{**self.RIGHT, "total_fen": 0})

    async def test_refund(self) -> None:
        """A refund is compared by both numbers and both amounts."""
        event = await receive(SHOP.notice(REFUND, "REFUND.SUCCESS"))
        right: dict[str, Any] = {
            "out_trade_no": NUMBER,
            "out_refund_no": "refund-1",
            "refund_fen": 40,
            "total_fen": 100,
        }
        event.check(**right)
        for field, value in (("out_trade_no", "x"), ("out_refund_no", "x"), ("refund_fen", 36), ("total_fen", 90)):
            with pytest.raises(PayMismatchError) as caught:
                event.check(**{**right, field: value})
            assert caught.value.field == field

    async def test_combined(self) -> None:
        """Every order of a combined one is compared, and there may be no other."""
        event = await receive(SHOP.notice(COMBINED))
        right: dict[str, Any] = {
            "combine_appid": APPID,
            "combine_out_trade_no": "combined-1",
            "sub_orders": {"part-0001": 10, "part-0002": 20},
        }
        event.check(**right)
        for orders in ({"part-0001": 10}, {"part-0001": 10, "part-0002": 21}, {"part-0001": 10, "part-0003": 20}):
            with pytest.raises(PayMismatchError):
                event.check(**{**right, "sub_orders": orders})

    async def test_partner(self) -> None:
        """A provider compares the sub merchant too."""
        event = await receive(SHOP.notice(PARTNER))
        right: dict[str, Any] = {
            "sp_appid": APPID,
            "sub_mchid": "1900000109",
            "out_trade_no": NUMBER,
            "total_fen": 100,
        }
        event.check(**right)
        with pytest.raises(PayMismatchError) as caught:
            event.check(**{**right, "sub_mchid": "1900000110"})
        assert caught.value.field == "sub_mchid"


class TestHandlers:
    """Which handler runs, and what the platform hears."""

    async def test_nearest_class(self) -> None:
        """A handler takes its class, and what is below it without one of its own; the rest goes to the default."""
        shop = SHOP.notifications()
        ran: list[str] = []

        @shop.on(PaymentSucceeded)
        async def paid(event: PaymentSucceeded) -> None:
            ran.append("paid")

        @shop.on(PaymentEvent, RefundEvent)
        async def money(event: NotifyEvent) -> None:
            ran.append("money")

        @shop.default
        async def rest(event: NotifyEvent) -> None:
            ran.append(type(event).__name__)

        for notice in (
            SHOP.notice(),
            SHOP.notice(COMBINED),
            SHOP.notice(REFUND, "REFUND.SUCCESS"),
            SHOP.notice({"mchid": SHOP.mchid}, "SOMETHING.NEW"),
        ):
            assert await answer(shop, notice) == 204
        assert ran == ["paid", "money", "money", "UnknownNotification"]

    async def test_no_handler_for_a_kind(self, caplog: pytest.LogCaptureFixture) -> None:
        """What nobody wants is acknowledged, so that it does not come 15 times, with a warning."""
        shop = SHOP.notifications()

        @shop.on(RefundSucceeded)
        async def refunded(event: RefundSucceeded) -> None: ...

        assert await answer(shop, SHOP.notice()) == 204
        assert "no handler for PaymentSucceeded" in caplog.text

    async def test_no_handler_at_all(self, caplog: pytest.LogCaptureFixture) -> None:
        """Without a single handler something is wrong with the program: the notice shall come again."""
        assert await answer(SHOP.notifications(), SHOP.notice()) == 500
        assert "no handler at all" in caplog.text

    def test_handler_that_cannot_work(self) -> None:
        """A handler that blocks, a second one, and what is no class of notices are refused at once."""
        shop = SHOP.notifications()

        async def handler(event: NotifyEvent) -> None: ...

        with pytest.raises(ConfigError, match="not asynchronous"):
            shop.on(PaymentSucceeded)(lambda event: None)  # type: ignore[arg-type,return-value]
        shop.on(PaymentSucceeded)(handler)
        with pytest.raises(ConfigError, match="already"):
            shop.on(RefundSucceeded, PaymentSucceeded)(handler)
        with pytest.raises(ConfigError, match="classes of notices"):
            shop.on(str)(handler)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="needs a class"):
            shop.on()
        assert repr(shop) == "Notifications(mchid='1900000001', handlers=1)"

    @pytest.mark.parametrize(
        "settings",
        [
            {"window": 0},
            {"window": 301},
            {"window": True},
            {"deadline": 5},
            {"deadline": 0},
            {"max_body": 0},
            {"handler_timeout": -1},
        ],
        ids=str,
    )
    def test_settings_that_cannot_work(self, settings: dict[str, Any]) -> None:
        """A window can be smaller than 300 s and not larger; the deadline is before the platform hangs up."""
        with pytest.raises(ConfigError):
            SHOP.notifications(**settings)


class Counter:
    """A handler that says how often it ran and how many of it at a time, and does what the test wants."""

    def __init__(self, shop: Notifications) -> None:
        self.started = self.ended = self.most = self.running = 0
        self.fail = 0
        self.go_on: asyncio.Event | None = None
        self.begun = asyncio.Event()
        shop.on(NotifyEvent)(self)

    async def __call__(self, event: NotifyEvent) -> None:
        self.started += 1
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.set()
        try:
            if self.go_on is not None:
                await self.go_on.wait()
            if self.fail:
                self.fail -= 1
                raise RuntimeError("the database is gone")
            self.ended += 1
        finally:
            self.running -= 1


def again(notice: Notice) -> Notice:
    """The same notice, delivered once more: a new timestamp, nonce and signature."""
    return SHOP.sign(notice.body)


class TestOnce:
    """A notice is handled once, whatever is delivered how often."""

    async def test_repetition(self) -> None:
        """What was handled is acknowledged without running the handler."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        notice = SHOP.notice()
        assert [await answer(shop, n) for n in (notice, again(notice), again(notice))] == [204] * 3
        assert handler.started == 1

    async def test_other_notices_are_others(self) -> None:
        """Each id is handled."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        assert [await answer(shop, SHOP.notice()) for _ in range(3)] == [204] * 3
        assert handler.started == 3

    async def test_twice_at_once(self) -> None:
        """Two deliveries at the same time run one handler, and both hear of its success."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        notice = SHOP.notice()
        both = [asyncio.create_task(answer(shop, again(notice))) for _ in range(2)]
        await handler.begun.wait()
        await asyncio.sleep(0)
        handler.go_on.set()
        assert await asyncio.gather(*both) == [204, 204]
        assert (handler.started, handler.most) == (1, 1)

    async def test_failure_comes_again(self, caplog: pytest.LogCaptureFixture) -> None:
        """A handler that raises is answered 500, and the repetition runs it again."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        handler.fail = 2
        notice = SHOP.notice()
        assert [await answer(shop, again(notice)) for _ in range(4)] == [500, 500, 204, 204]
        assert (handler.started, handler.ended) == (3, 1)
        assert "the database is gone" in caplog.text

    async def test_mismatch_in_the_handler_is_no_success(self) -> None:
        """A check that fails inside of a handler is answered 500."""
        shop = SHOP.notifications()

        @shop.on(PaymentSucceeded)
        async def paid(event: PaymentSucceeded) -> None:
            event.check(appid=APPID, out_trade_no=NUMBER, total_fen=1)

        assert await answer(shop, SHOP.notice()) == 500

    @virtual
    async def test_slow_handler_goes_on(self) -> None:
        """Past the deadline the answer is 503, the handler goes on alone, and a repetition finds it done."""
        shop = SHOP.notifications(deadline=0.1)
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        notice = SHOP.notice()
        assert await answer(shop, notice) == 503
        assert await answer(shop, again(notice)) == 503
        handler.go_on.set()
        assert await answer(shop, again(notice)) == 204
        assert (handler.started, handler.ended, handler.most) == (1, 1, 1)

    @virtual
    async def test_slow_handler_that_fails_runs_again(self) -> None:
        """A handler that fails after its answer went out is run by the next repetition, after it has ended."""
        shop = SHOP.notifications(deadline=0.1)
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        handler.fail = 1
        notice = SHOP.notice()
        assert await answer(shop, notice) == 503
        handler.go_on.set()
        while handler.running:
            await asyncio.sleep(0)
        assert await answer(shop, again(notice)) == 204
        assert (handler.started, handler.ended, handler.most) == (2, 1, 1)

    @virtual
    async def test_handler_that_never_ends_is_stopped(self) -> None:
        """After ``handler_timeout`` a handler is stopped, and its notice is free for the next repetition."""
        shop = SHOP.notifications(deadline=0.1, handler_timeout=0.2)
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        notice = SHOP.notice()
        assert await answer(shop, notice) == 503
        await asyncio.sleep(1)
        assert not handler.running
        handler.go_on.set()
        assert await answer(shop, again(notice)) == 204
        assert (handler.started, handler.ended, handler.most) == (2, 1, 1)

    async def test_connection_that_is_cut(self) -> None:
        """When the platform hangs up the handler goes on."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        notice = SHOP.notice()
        first = asyncio.create_task(answer(shop, notice))
        await handler.begun.wait()
        first.cancel()
        await asyncio.wait([first])
        handler.go_on.set()
        assert await answer(shop, again(notice)) == 204
        assert (handler.started, handler.ended) == (1, 1)

    async def test_shutdown_lets_handlers_end(self) -> None:
        """``aclose`` waits for handlers, and what comes meanwhile is left to the next repetition."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        first = asyncio.create_task(answer(shop, SHOP.notice()))
        await handler.begun.wait()
        closing = asyncio.create_task(shop.aclose())
        await asyncio.sleep(0)
        assert await answer(shop, SHOP.notice()) == 503
        handler.go_on.set()
        await closing
        await shop.aclose()
        assert await first == 204

    async def test_full(self) -> None:
        """More handlers than allowed are not begun: 503 at once."""
        shop = SHOP.notifications(max_running=1)
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        first = asyncio.create_task(answer(shop, SHOP.notice()))
        await handler.begun.wait()
        assert await answer(shop, SHOP.notice()) == 503
        handler.go_on.set()
        assert await first == 204


class TestReplay:
    """The very same request once more: somebody has copied it."""

    async def test_of_what_was_handled(self) -> None:
        """It is a success: the notice was handled."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        notice = SHOP.notice()
        assert [await answer(shop, notice), await answer(shop, notice)] == [204, 204]
        assert handler.started == 1

    @virtual
    async def test_of_what_failed(self) -> None:
        """It runs nothing, 401; a genuine repetition does."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        handler.fail = 1
        notice = SHOP.notice()
        assert await answer(shop, notice) == 500
        assert await answer(shop, notice) == 401
        assert handler.started == 1
        async with asyncio.timeout(1):  # the copy has not taken the notice away for a while
            assert await answer(shop, again(notice)) == 204

    async def test_of_what_is_running(self) -> None:
        """It runs nothing and disturbs nobody."""
        shop = SHOP.notifications()
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        notice = SHOP.notice()
        first = asyncio.create_task(answer(shop, notice))
        await handler.begun.wait()
        assert await answer(shop, notice) == 503
        handler.go_on.set()
        assert await first == 204
        assert handler.started == 1

    async def test_of_what_runs_without_its_lease(self) -> None:
        """A busy process may have missed to renew its lease: a copied request must not take the notice from it."""
        now = 0.0
        shop = SHOP.notifications(dedupe=MemoryDedupe(clock=lambda: now))
        handler = Counter(shop)
        handler.go_on = asyncio.Event()
        notice = SHOP.notice()
        first = asyncio.create_task(answer(shop, notice))
        await handler.begun.wait()
        now = 30.0
        assert await answer(shop, notice) == 503
        handler.go_on.set()
        assert await first == 204
        assert (handler.started, handler.ended) == (1, 1)

    async def test_in_other_clothes(self) -> None:
        """What is not signed makes no new request of it: header case, spaces, the spelling of the serial number."""
        serial, pem = notices.certificate("certificate")
        shop = SHOP.notifications(keys=SHOP.keys(certificates=[pem]))
        handler = Counter(shop)
        handler.fail = 1
        notice = SHOP.sign(SHOP.notice().body, key="certificate").changed(serial=serial)
        assert await answer(shop, notice) == 500
        other = notice.changed(serial=serial.lower(), signature_type=None)
        signature = dict(notice.headers)["Wechatpay-Signature"]
        assert await answer(shop, other.changed(signature=f" {signature} ")) == 401
        assert handler.started == 1


class BrokenDedupe(DedupeStore):
    """A store that is down."""

    async def begin(self, key: str, **_: Any) -> Any:
        raise WebhookStoreError("gone", store="broken")

    extend = finish = claim_late = forget = begin

    async def aclose(self) -> None: ...


class TestFleet:
    """Several workers with one store."""

    @virtual
    async def test_store_is_down(self) -> None:
        """Without the store nothing runs: 503, and the notice comes again."""
        shop = SHOP.notifications(dedupe=BrokenDedupe(), deadline=0.1)
        handler = Counter(shop)
        assert await answer(shop, SHOP.notice()) == 503
        assert handler.started == 0

    async def test_once_in_a_fleet(self, redis: RedisServer) -> None:
        """Two workers get the same notice at once, and again: one handler, success for all."""
        workers = [SHOP.notifications(dedupe=RedisDedupe(redis.url, prefix="once", timeout=10)) for _ in range(2)]
        handlers = [Counter(worker) for worker in workers]
        go_on = asyncio.Event()
        for handler in handlers:
            handler.go_on = go_on
        notice = SHOP.notice()
        both = [asyncio.create_task(answer(worker, again(notice))) for worker in workers]
        async with asyncio.timeout(30):
            await asyncio.wait(
                [asyncio.ensure_future(handler.begun.wait()) for handler in handlers],
                return_when=asyncio.FIRST_COMPLETED,
            )
        go_on.set()
        assert await asyncio.gather(*both) == [204, 204]
        assert sorted(handler.started for handler in handlers) == [0, 1]
        for worker in workers:
            assert await answer(worker, again(notice)) == 204
            await worker.aclose()
        assert sum(handler.started for handler in handlers) == 1

    async def test_failure_moves_on(self, redis: RedisServer) -> None:
        """What failed with one worker is run by the other."""
        workers = [SHOP.notifications(dedupe=RedisDedupe(redis.url, prefix="moves", timeout=10)) for _ in range(2)]
        handlers = [Counter(worker) for worker in workers]
        handlers[0].fail = 1
        notice = SHOP.notice()
        assert await answer(workers[0], notice) == 500
        assert await answer(workers[1], notice) == 401
        assert await answer(workers[1], again(notice)) == 204
        assert [handler.started for handler in handlers] == [1, 1]
        for worker in workers:
            await worker.aclose()


async def test_storm(redis: RedisServer) -> None:
    """Many notices, each four times at once, two workers, handlers that fail first: each is handled once, alone."""
    workers = [SHOP.notifications(dedupe=RedisDedupe(redis.url, prefix="storm", timeout=10)) for _ in range(2)]
    running: dict[str, int] = {}
    ended: dict[str, int] = {}
    failed: set[str] = set()
    overlaps = 0

    async def handle(event: NotifyEvent) -> None:
        nonlocal overlaps
        running[event.id] = running.get(event.id, 0) + 1
        overlaps += running[event.id] > 1
        await asyncio.sleep(0.002)
        running[event.id] -= 1
        if event.id.endswith("0") and event.id not in failed:
            failed.add(event.id)
            raise RuntimeError("first time unlucky")
        ended[event.id] = ended.get(event.id, 0) + 1

    for worker in workers:
        worker.default(handle)
    storm = [SHOP.notice(id=f"storm-{index % 3}-{index}-{index % 3}") for index in range(30)]
    rounds: list[set[int]] = []
    while len(rounds) < 2 or 503 in rounds[-1] | rounds[-2]:  # the machine was too slow for the time of a delivery
        requests = [answer(worker, again(notice)) for notice in storm for worker in (*workers, *workers)]
        rounds.append(set(await asyncio.gather(*requests)))
    assert rounds[0] <= {204, 500, 503}
    assert rounds[-1] == {204}
    assert len(failed) == 10
    assert ended == dict.fromkeys((f"storm-{index % 3}-{index}-{index % 3}" for index in range(30)), 1)
    assert overlaps == 0
    for worker in workers:
        await worker.aclose()


async def test_secrets_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever happens, at DEBUG, nothing of the keys and nothing of the payer is logged."""
    caplog.set_level(logging.DEBUG)
    shop = SHOP.notifications()
    handler = Counter(shop)
    handler.fail = 1
    notice = SHOP.notice()
    bad = attrs.evolve(SHOP, api_v3_key="b" * 32).notice()
    for request in (
        notice,
        again(notice),
        bad,
        notice.changed(signature="AAAA"),
        NEWS.notice(),
        notice.changed(nonce=None),
    ):
        await answer(shop, request)
    assert len(caplog.records) >= 5
    for secret in (SHOP.api_v3_key, "b" * 32, "o6_bmjrPTlm6", "table 5", notice.header("signature")):
        assert secret not in caplog.text


async def test_refusals_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Of many refusals of one kind one is logged in a while."""
    shop = SHOP.notifications()
    Counter(shop)
    for _ in range(50):
        assert await answer(shop, SHOP.notice().changed(signature="AAAA")) == 401
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


@virtual
async def test_certificates_that_do_not_come() -> None:
    """While certificates are fetched nobody waits longer than half of the deadline; the fetch goes on."""
    go_on, ended = asyncio.Event(), asyncio.Event()
    _, pem = notices.certificate("certificate")

    async def fetch() -> list[PlatformKey]:
        await go_on.wait()
        ended.set()
        return [read_certificate(pem)]

    keys = SHOP.keys()
    keys.store = CertificateStore(fetch, report=lambda *_: None)
    shop = SHOP.notifications(keys=keys, deadline=0.2)
    Counter(shop)
    unknown = SHOP.notice().changed(serial="5157F09EFDC096DE15EBE81A47057A7232F1B8E1")
    assert await asyncio.gather(*(answer(shop, unknown) for _ in range(5))) == [503] * 5
    go_on.set()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_another_tenant() -> None:
    """A notice for one merchant is nothing at the address of another."""
    shop = SHOP.notifications()
    Counter(shop)
    assert await answer(shop, NEWS.notice({**TRANSACTION, "mchid": NEWS.mchid})) == 401
    with pytest.raises(PaySignatureError) as caught:
        await shop.receive(NEWS.notice().headers, NEWS.notice().body)
    assert caught.value.reason == "serial"


def test_unknown_is_an_event() -> None:
    """A handler of everything takes unknown kinds."""
    assert issubclass(UnknownNotification, NotifyEvent)
