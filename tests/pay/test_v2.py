"""The older interface against the simulated WeChat Pay: real signatures, real notices, real answers."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import hmac
import pickle
import re
import ssl
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.simulator.developer import Developer
from wxmp import _transport
from wxmp.errors import (
    BadStatusError,
    ConfigError,
    PayMismatchError,
    PaySignatureError,
    ReplyError,
    TransportError,
    WxmpError,
)
from wxmp.pay.records import TradeState, TradeType
from wxmp.pay.v2 import (
    NOTICE_ACCEPTED,
    NOTICE_REFUSED,
    PayV2APIError,
    PayV2Client,
    V2RefundStatus,
    V2Transaction,
)
from wxmp.retry import RetryPolicy
from wxmp.simulator import Clock, Policy, Simulator, World
from wxmp.simulator.pay import ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from wxmp.simulator import Phone
    from wxmp.simulator.pay.records import Merchant

KEY = "k" * 32


class Waits:
    """A clock that a policy's waits move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waited: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def policy(self, **changes: Any) -> RetryPolicy:
        return RetryPolicy(**{"sleep": self.sleep, "clock": lambda: self.now} | changes)


@pytest.fixture
def waits() -> Waits:
    """What a call would have waited."""
    return Waits()


@pytest.fixture
def world() -> World:
    """A world at noon whose clock only moves when told."""
    return World(Policy(), Clock.frozen(), seed=7)


@pytest.fixture
def simulator(world: World) -> Iterator[Simulator]:
    """That world on a port."""
    with Simulator(world=world) as running:
        yield running


@pytest.fixture
def merchant(world: World) -> Merchant:
    """The merchant whose keys the client has."""
    return ledger.default_merchant(world)


@pytest.fixture
def buyer(world: World) -> Phone:
    """A follower's phone."""
    return world.phone(world.create_followers(1)[0])


@pytest.fixture
def developer() -> Iterator[Developer]:
    """The merchant's server."""
    running = Developer()
    yield running
    running.stop()


def client_for(merchant: Merchant, url: str, **changes: Any) -> PayV2Client:
    """Make a client with the merchant's keys."""
    given: dict[str, Any] = {
        "mchid": merchant.mchid,
        "api_v2_key": merchant.api_v2_key,
        "appid": merchant.appids[0],
        "base_url": url,
    }
    return PayV2Client(**given | changes)


@pytest.fixture(params=["HMAC-SHA256", "MD5"])
async def client(
    request: pytest.FixtureRequest, merchant: Merchant, simulator: Simulator, waits: Waits
) -> AsyncIterator[PayV2Client]:
    """A client of the simulated gateway, with either way to sign."""
    made = client_for(merchant, f"{simulator.url}/mch", sign_type=request.param, retry=waits.policy())
    async with made as running:
        yield running


async def order(client: PayV2Client, buyer: Phone | None, number: str = "v2-order|1", **changes: Any) -> Any:
    """Place an order."""
    given: dict[str, Any] = {
        "trade_type": "JSAPI",
        "body": "一杯咖啡 & <糖> ]]>",
        "total_fen": 100,
        "spbill_create_ip": "127.0.0.1",
        "notify_url": "https://shop.example.com/pay",
        "openid": buyer.openid if buyer is not None else None,
    }
    return await client.order(number, **given | changes)


async def pay(client: PayV2Client, buyer: Phone, number: str = "v2-order|1", **changes: Any) -> str:
    """Place an order and pay it; return WeChat Pay's number."""
    placed = await order(client, buyer, number, **changes)
    result = buyer.pay(client.jsapi_params(placed.prepay_id))
    assert result.outcome == "paid", result.why
    return result.transaction_id


class TestOrders:
    """Place, ask, close."""

    async def test_order_is_placed_and_paid(self, client: PayV2Client, buyer: Phone) -> None:
        """An order gives a prepay_id, and what is signed for the page is accepted by the phone."""
        placed = await order(client, buyer, attach="桌 5 ]]> & <b>")
        assert placed.trade_type is TradeType.JSAPI
        assert placed.prepay_id.startswith("wx")
        assert buyer.pay(client.jsapi_params(placed.prepay_id)).outcome == "paid"

    async def test_open_order(self, client: PayV2Client, buyer: Phone) -> None:
        """An order that nobody has paid says so, and little else."""
        await order(client, buyer)
        found = await client.get(out_trade_no="v2-order|1")
        assert (found.trade_state, found.paid) == (TradeState.NOTPAY, False)
        assert (found.transaction_id, found.total_fen, found.time_end) == (None, None, None)

    async def test_paid_order(self, client: PayV2Client, merchant: Merchant, buyer: Phone) -> None:
        """A paid order tells who paid what and when, by either number, with amounts in fen and an aware time."""
        number = await pay(client, buyer, attach="附加 ]]> <&>")
        found = await client.get(transaction_id=number)
        assert found == await client.get(out_trade_no="v2-order|1")
        assert (found.trade_state, found.paid, found.total_fen, found.cash_fen) == (TradeState.SUCCESS, True, 100, 100)
        assert (found.mchid, found.appid, found.openid) == (merchant.mchid, merchant.appids[0], buyer.openid)
        assert found.attach == "附加 ]]> <&>"
        assert found.time_end is not None
        assert found.time_end.utcoffset() == timedelta(0)
        assert found.extra == {}

    @pytest.mark.parametrize(
        ("trade_type", "more", "address"),
        [
            ("NATIVE", {"product_id": "p1"}, "code_url"),
            ("MWEB", {"scene_info": {"h5_info": {"type": "Wap"}}}, "mweb_url"),
        ],
    )
    async def test_orders_with_an_address(
        self, client: PayV2Client, trade_type: str, more: dict[str, Any], address: str
    ) -> None:
        """A NATIVE order has the text of a code, a MWEB order the address of a page."""
        placed = await order(client, None, trade_type=trade_type, **more)
        assert getattr(placed, address)

    async def test_app_parameters(self, client: PayV2Client, buyer: Phone) -> None:
        """What is signed for an app is accepted by the phone."""
        placed = await order(client, None, trade_type="APP")
        assert buyer.pay(client.app_params(placed.prepay_id)).outcome == "paid"

    async def test_same_number_other_content(self, client: PayV2Client, buyer: Phone) -> None:
        """The same order again is answered; another one under its number is refused for good."""
        await order(client, buyer)
        await order(client, buyer)
        with pytest.raises(PayV2APIError) as caught:
            await order(client, buyer, total_fen=101)
        assert (caught.value.code, caught.value.verdict) == ("INVALID_REQUEST", "never")
        assert not caught.value.maybe_acted

    async def test_codes_are_folded(self, client: PayV2Client) -> None:
        """``ORDERNOTEXIST`` is what v3 calls ``ORDER_NOT_EXIST``."""
        with pytest.raises(PayV2APIError) as caught:
            await client.get(out_trade_no="nothing")
        assert caught.value.code == "ORDER_NOT_EXIST"
        assert caught.value.endpoint == "POST /pay/orderquery"
        assert caught.value.advice

    async def test_close(self, client: PayV2Client, buyer: Phone, simulator: Simulator) -> None:
        """An order is closed; to close it again is no error."""
        await order(client, buyer)
        simulator.world.advance(301)
        await client.close("v2-order|1")
        await client.close("v2-order|1")
        assert (await client.get(out_trade_no="v2-order|1")).trade_state is TradeState.CLOSED

    async def test_close_of_a_paid_order(self, client: PayV2Client, buyer: Phone) -> None:
        """An order that was paid meanwhile is not closed."""
        await pay(client, buyer)
        with pytest.raises(PayV2APIError, match="ORDER_PAID"):
            await client.close("v2-order|1")

    async def test_time_expire_is_beijing_time(self, client: PayV2Client, buyer: Phone, simulator: Simulator) -> None:
        """An aware time of any zone is written in Beijing time: the order ends when it should."""
        now = simulator.world.now()
        await order(client, buyer, time_expire=datetime.fromtimestamp(now + 600, UTC))
        (found,) = ledger.default_merchant(simulator.world).orders.values()
        assert found.expires_at == int(now + 600)

    async def test_wrong_key_is_told_apart(self, merchant: Merchant, simulator: Simulator) -> None:
        """The gateway's unsigned refusal of the sign becomes SIGN_ERROR and is not repeated."""
        async with client_for(merchant, f"{simulator.url}/mch", api_v2_key=KEY) as client:
            with pytest.raises(PayV2APIError) as caught:
                await client.get(out_trade_no="v2-order|1")
        assert (caught.value.code, caught.value.verdict) == ("SIGN_ERROR", "never")

    async def test_any_other_interface(self, client: PayV2Client, buyer: Phone) -> None:
        """``request`` signs and verifies what has no method of its own."""
        await order(client, buyer)
        found = await client.request("/pay/orderquery", {"out_trade_no": "v2-order|1"})
        assert found["trade_state"] == "NOTPAY"
        with pytest.raises(PayV2APIError):
            await client.request("/pay/micropay", {"auth_code": "1"})


class TestRefunds:
    """Money that goes back."""

    async def test_refund_and_its_state(self, client: PayV2Client, buyer: Phone, simulator: Simulator) -> None:
        """A refund is accepted, then processed, then done; the order says that something went back."""
        number = await pay(client, buyer)
        receipt = await client.refund("r@1", transaction_id=number, refund_fen=40, total_fen=100, refund_desc="凉了")
        assert (receipt.refund_fen, receipt.total_fen, receipt.transaction_id) == (40, 100, number)
        page = await client.refund_get(out_refund_no="r@1")
        assert [entry.refund_status for entry in page.refunds] == [V2RefundStatus.PROCESSING]
        assert (receipt.extra, page.extra) == ({}, {})
        simulator.world.advance(3)
        (entry,) = (await client.refund_get(refund_id=receipt.refund_id)).refunds
        assert (entry.refund_status, entry.refund_fen, entry.out_refund_no) == (V2RefundStatus.SUCCESS, 40, "r@1")
        assert entry.refund_success_time is not None
        assert entry.refund_recv_account == "支付用户零钱"
        assert (await client.get(transaction_id=number)).trade_state is TradeState.REFUND

    async def test_same_refund_again(self, client: PayV2Client, buyer: Phone) -> None:
        """The same refund once more is the same refund."""
        number = await pay(client, buyer)
        one = await client.refund("r1", transaction_id=number, refund_fen=40, total_fen=100)
        two = await client.refund("r1", transaction_id=number, refund_fen=40, total_fen=100)
        assert one.refund_id == two.refund_id
        assert len((await client.refund_get(transaction_id=number)).refunds) == 1

    async def test_all_refunds_of_an_order(self, client: PayV2Client, buyer: Phone, simulator: Simulator) -> None:
        """More refunds than one answer carries come page by page, each once."""
        await pay(client, buyer)
        for number in range(12):
            await client.refund(f"r{number}", out_trade_no="v2-order|1", refund_fen=1, total_fen=100)
            simulator.world.advance(60)  # the platform counts refunds per minute
        page = await client.refund_get(out_trade_no="v2-order|1")
        assert (len(page.refunds), page.total_refund_count) == (10, 12)
        found = [entry.out_refund_no async for entry in client.iter_refunds(out_trade_no="v2-order|1")]
        assert found == [f"r{number}" for number in range(12)]

    async def test_another_refund_in_the_list(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """A list without the refund that was asked for is refused."""
        row = {"out_refund_no_0": "r1", "refund_id_0": "i", "refund_fee_0": "5", "refund_status_0": "SUCCESS"}
        gateway.answers = [signed({**ENVELOPE, **row, "transaction_id": "t", "out_trade_no": "n1", "total_fee": "9"})]
        assert (await stubborn.refund_get(out_refund_no="r1")).refunds[0].refund_fen == 5
        with pytest.raises(PayMismatchError) as caught:
            await stubborn.refund_get(out_refund_no="r2")
        assert caught.value.field == "out_refund_no"

    async def test_no_refund(self, client: PayV2Client, buyer: Phone) -> None:
        """A refund that does not exist is told in the spelling of v3."""
        await order(client, buyer)
        with pytest.raises(PayV2APIError) as caught:
            await client.refund_get(out_refund_no="nothing")
        assert caught.value.code == "REFUND_NOT_EXISTS"

    async def test_another_refund_in_the_answer(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """An answer about another refund, or another amount, is not taken for the one that was asked for."""
        gateway.answers = [RECEIPT]
        for number, amount, field in (("r2", 1, "out_refund_no"), ("r1", 2, "refund_fee")):
            with pytest.raises(PayMismatchError) as caught:
                await stubborn.refund(number, out_trade_no="n1", refund_fen=amount, total_fen=9)
            assert caught.value.field == field

    async def test_more_than_was_paid(self, client: PayV2Client) -> None:
        """A refund of more than the order's total is not even sent."""
        with pytest.raises(ConfigError) as caught:
            await client.refund("r1", out_trade_no="v2-order|1", refund_fen=101, total_fen=100)
        assert caught.value.field == "refund_fen"

    async def test_without_the_certificate(self, merchant: Merchant) -> None:
        """Over https a refund without the merchant's certificate is refused before anything is sent."""
        async with client_for(merchant, "https://127.0.0.1:1") as client:
            with pytest.raises(ConfigError) as caught:
                await client.refund("r1", out_trade_no="v2-order|1", refund_fen=1, total_fen=100)
        assert caught.value.field == "client_certificate"


class TestBills:
    """The trades of one day."""

    async def test_bill(self, client: PayV2Client, buyer: Phone, simulator: Simulator) -> None:
        """A bill comes as CSV, unpacked, with the order in it."""
        number = await pay(client, buyer)
        day = (datetime.fromtimestamp(simulator.world.now(), UTC) + timedelta(hours=8)).date()
        simulator.world.advance(86_400)
        text = (await client.bill(day)).decode("utf-8-sig")
        assert text.startswith("交易时间")
        assert number in text

    async def test_no_bill(self, client: PayV2Client, simulator: Simulator) -> None:
        """The unsigned XML instead of a bill is an error with a code, whatever its capitals."""
        day = (datetime.fromtimestamp(simulator.world.now(), UTC) + timedelta(hours=8)).date()
        simulator.world.advance(86_400)
        with pytest.raises(PayV2APIError) as caught:
            await client.bill(day)
        assert caught.value.code == "NO_STATEMENT_EXIST"

    async def test_bill_that_is_not_ready(self, client: PayV2Client, simulator: Simulator) -> None:
        """Yesterday's bill before ten o'clock is being made: to be asked for later."""
        now = datetime.fromtimestamp(simulator.world.now(), UTC) + timedelta(hours=8)
        simulator.world.advance((24 + 5 - now.hour) * 3600)
        with pytest.raises(PayV2APIError) as caught:
            await client.bill(now.date())
        assert (caught.value.code, caught.value.verdict) == ("STATEMENT_CREATING", "later")


class TestNotices:
    """What WeChat tells the merchant's server."""

    async def test_payment_notice(
        self, client: PayV2Client, buyer: Phone, developer: Developer, simulator: Simulator
    ) -> None:
        """A genuine notice says what a query says."""
        seen: list[V2Transaction] = []

        def answer(hit: Any) -> bytes:
            seen.append(client.parse_payment(hit.body))
            return NOTICE_ACCEPTED

        developer.answer = answer
        await pay(client, buyer, notify_url=developer.url, attach="桌 5")
        assert await asyncio.to_thread(simulator.wait_for, lambda world: world.settled)
        asked = await client.get(out_trade_no="v2-order|1")
        assert seen == [attrs.evolve(asked, trade_state_desc=None)]
        assert [attempt.verdict for attempt in ledger.notice_attempts(simulator.world)] == ["delivered"]

    async def test_probes_are_refused(
        self, client: PayV2Client, buyer: Phone, developer: Developer, simulator: Simulator
    ) -> None:
        """A sign of another key and a right sign over a DOCTYPE are both refused; the good notice is taken."""
        simulator.world.fault("pay_forged")
        refused: list[str] = []

        def answer(hit: Any) -> bytes:
            try:
                client.parse_payment(hit.body)
            except WxmpError as error:
                refused.append(type(error).__name__)
                return NOTICE_REFUSED
            return NOTICE_ACCEPTED

        developer.answer = answer
        await pay(client, buyer, notify_url=developer.url)
        assert await asyncio.to_thread(simulator.wait_for, lambda world: world.settled)
        verdicts = [attempt.verdict for attempt in ledger.notice_attempts(simulator.world)]
        assert verdicts == ["refused", "refused", "delivered"]
        assert refused == ["PaySignatureError", "MalformedError"]

    async def test_refund_notice(
        self, client: PayV2Client, buyer: Phone, developer: Developer, simulator: Simulator, merchant: Merchant
    ) -> None:
        """The notice of a refund opens with the APIv2 key; one of another key is refused."""
        number = await pay(client, buyer)
        simulator.world.fault("pay_forged", event="REFUND.*")
        seen: list[Any] = []

        def answer(hit: Any) -> bytes:
            try:
                seen.append(client.parse_refund(hit.body))
            except WxmpError as error:
                seen.append(type(error).__name__)
                return NOTICE_REFUSED
            return NOTICE_ACCEPTED

        developer.answer = answer
        await client.refund("r1", transaction_id=number, refund_fen=40, total_fen=100, notify_url=developer.url)
        simulator.world.advance(3)
        assert await asyncio.to_thread(simulator.wait_for, lambda world: world.settled)
        forged, notice = seen
        assert forged == "PayDecryptError"
        assert (notice.refund_status, notice.refund_fen, notice.total_fen) == (V2RefundStatus.SUCCESS, 40, 100)
        assert (notice.mchid, notice.out_refund_no, notice.transaction_id) == (merchant.mchid, "r1", number)
        assert notice.success_time is not None

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"out_trade_no": "other"}, "out_trade_no"),
            ({"total_fen": 101}, "total_fen"),
            ({"appid": "wxother"}, "appid"),
            ({"mchid": "1"}, "mchid"),
            ({"currency": "USD"}, "currency"),
        ],
    )
    def test_another_order_is_told_apart(self, change: dict[str, Any], field: str) -> None:
        """What a genuine notice is about must be your order: the first difference is named, without its value."""
        notice = V2Transaction(
            appid="wx1", mchid="1900000109", out_trade_no="n1", trade_state=TradeState.SUCCESS, total_fen=100
        )
        good: dict[str, Any] = {"out_trade_no": "n1", "total_fen": 100, "appid": "wx1", "mchid": "1900000109"}
        notice.check(**good)
        with pytest.raises(PayMismatchError) as caught:
            notice.check(**good | change)
        assert caught.value.field == field

    def test_open_order_is_no_payment(self) -> None:
        """The check of an order that is not paid fails, though everything else agrees."""
        open_order = V2Transaction(
            appid="wx1", mchid="1900000109", out_trade_no="n1", trade_state=TradeState.NOTPAY, total_fen=100
        )
        with pytest.raises(PayMismatchError) as caught:
            open_order.check(out_trade_no="n1", total_fen=100)
        assert caught.value.field == "trade_state"


def make_certificate(folder: Path, name: str, subject: str) -> None:
    """Write a certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def signed(fields: dict[str, str], key: str = KEY, sign_type: str = "MD5") -> bytes:
    """Write a signed message, from the documents alone."""
    text = "&".join(f"{k}={fields[k]}" for k in sorted(fields) if fields[k] != "" and k != "sign") + f"&key={key}"
    if sign_type == "MD5":
        digest = hashlib.md5(text.encode()).hexdigest()
    else:
        digest = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    whole = {**fields, "sign": digest.upper()}
    return ("<xml>" + "".join(f"<{k}><![CDATA[{v}]]></{k}>" for k, v in whole.items()) + "</xml>").encode()


ENVELOPE = {
    "return_code": "SUCCESS",
    "result_code": "SUCCESS",
    "appid": "wx1",
    "mch_id": "1900000109",
    "nonce_str": "n",
}


class Gateway:
    """A gateway whose answers a test decides."""

    def __init__(self, developer: Developer) -> None:
        self.developer = developer
        self.answers: list[Any] = []
        developer.answer = lambda hit: self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def bodies(self) -> list[bytes]:
        return [hit.body for hit in self.developer.hits]


@pytest.fixture
def gateway(developer: Developer) -> Gateway:
    """That gateway."""
    return Gateway(developer)


@pytest.fixture
async def stubborn(gateway: Gateway, waits: Waits) -> AsyncIterator[PayV2Client]:
    """A client of that gateway."""
    async with PayV2Client(
        mchid="1900000109",
        api_v2_key=KEY,
        appid="wx1",
        sign_type="MD5",
        base_url=gateway.developer.url,
        retry=waits.policy(),
    ) as client:
        yield client


QUERY = {**ENVELOPE, "out_trade_no": "n1", "trade_state": "NOTPAY"}


class TestAnswers:
    """What is believed of an answer."""

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (signed(QUERY, key="x" * 32), "signature"),
            (signed(QUERY).replace(b"NOTPAY", b"SUCCESS"), "signature"),
            (signed(QUERY).replace(b"</xml>", b"<more>1</more></xml>"), "signature"),
            (signed(QUERY).partition(b"<sign>")[0] + b"</xml>", "missing"),
            (signed(QUERY).partition(b"<sign>")[0] + b"<sign></sign></xml>", "missing"),
            (signed(QUERY, sign_type="HMAC-SHA256"), "signature"),
            (signed({**QUERY, "sign_type": "HMAC-SHA256"}), "type"),
        ],
    )
    async def test_bad_sign(self, stubborn: PayV2Client, gateway: Gateway, answer: bytes, reason: str) -> None:
        """An answer whose sign is missing, another's, or does not cover every field is never believed."""
        gateway.answers = [answer]
        with pytest.raises(PaySignatureError) as caught:
            await stubborn.request("/pay/orderquery", {"out_trade_no": "n1"})
        assert (caught.value.reason, caught.value.maybe_acted) == (reason, True)

    async def test_unknown_fields_take_part(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """A field that no record knows is signed with the others, and kept."""
        gateway.answers = [signed({**QUERY, "brand_new": "1", "empty": "", "coupon_fee_x": "0"})]
        found = await stubborn.get(out_trade_no="n1")
        assert found.extra == {"brand_new": "1", "coupon_fee_x": "0"}

    @pytest.mark.parametrize(
        ("change", "field"),
        [({"mch_id": "1900000110"}, "mchid"), ({"appid": "wx2"}, "appid"), ({"out_trade_no": "n2"}, "out_trade_no")],
    )
    async def test_answer_about_something_else(
        self, stubborn: PayV2Client, gateway: Gateway, change: dict[str, str], field: str
    ) -> None:
        """A well-signed answer for another merchant, AppID or order is refused."""
        gateway.answers = [signed({**QUERY, **change})]
        with pytest.raises(PayMismatchError) as caught:
            await stubborn.get(out_trade_no="n1")
        assert caught.value.field in (field, "out_trade_no")

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"<html>busy</html>",
            b"<xml></xml>",
            b"<!DOCTYPE xml><xml></xml>",
            signed(QUERY).replace(b"</xml>", b"<out_trade_no>n2</out_trade_no></xml>"),
            signed({name: value for name, value in QUERY.items() if name != "result_code"}),
            signed({name: value for name, value in QUERY.items() if name != "nonce_str"}),
        ],
    )
    async def test_no_usable_answer(self, stubborn: PayV2Client, gateway: Gateway, answer: bytes) -> None:
        """An answer that is no message of the gateway's is a ReplyError: the outcome is unknown."""
        gateway.answers = [answer]
        with pytest.raises(ReplyError) as caught:
            await stubborn.request("/pay/orderquery", {"out_trade_no": "n1"})
        assert caught.value.maybe_acted

    async def test_coupons(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """Numbered fields become coupons, in order."""
        more = {
            "coupon_id_1": "b",
            "coupon_fee_1": "2",
            "coupon_id_0": "a",
            "coupon_fee_0": "1",
            "coupon_type_0": "CASH",
        }
        gateway.answers = [signed({**QUERY, **more, "coupon_fee": "3", "coupon_count": "2"})]
        found = await stubborn.get(out_trade_no="n1")
        assert [(coupon.coupon_id, coupon.coupon_fen) for coupon in found.coupons] == [("a", 1), ("b", 2)]
        assert (found.coupon_fen, found.coupon_count, found.extra) == (3, 2, {})

    async def test_coupons_of_refunds(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """Twice numbered fields become the coupons of each refund."""
        row = {"out_refund_no": "r", "refund_id": "i", "refund_fee": "5", "refund_status": "CHANGE"}
        fields = {**ENVELOPE, "transaction_id": "t", "out_trade_no": "n1", "total_fee": "9", "refund_count": "2"}
        for number in (0, 1):
            fields |= {f"{name}_{number}": value for name, value in row.items()}
        fields |= {"coupon_refund_fee_1": "3", "coupon_refund_fee_1_0": "1", "coupon_refund_fee_1_1": "2"}
        fields |= {"coupon_refund_id_1_0": "a", "coupon_refund_id_1_1": "b"}
        gateway.answers = [signed(fields)]
        first, second = (await stubborn.refund_get(out_trade_no="n1")).refunds
        assert (first.coupons, first.refund_status) == ((), V2RefundStatus.CHANGE)
        assert second.coupon_refund_fen == 3
        assert [(item.coupon_refund_id, item.coupon_refund_fen) for item in second.coupons] == [("a", 1), ("b", 2)]

    @pytest.mark.parametrize("amount", ["1.0", "-1", " 1", "1e2", "１"])
    async def test_odd_amounts(self, stubborn: PayV2Client, gateway: Gateway, amount: str) -> None:
        """An amount is digits and nothing else."""
        gateway.answers = [signed({**QUERY, "total_fee": amount})]
        with pytest.raises(ReplyError, match="total_fee"):
            await stubborn.get(out_trade_no="n1")

    async def test_state_of_tomorrow(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """A state that this version does not know is kept as text, and is no payment."""
        gateway.answers = [signed({**QUERY, "trade_state": "DREAMT"})]
        found = await stubborn.get(out_trade_no="n1")
        assert (found.trade_state, found.paid) == ("DREAMT", False)


FAIL = {**ENVELOPE, "result_code": "FAIL"}
BUSY = signed({**FAIL, "err_code": "SYSTEMERROR", "err_code_des": "系统异常"})
NUMBERS = {"out_refund_no": "r1", "refund_id": "i", "transaction_id": "t", "out_trade_no": "n1"}
RECEIPT = signed({**ENVELOPE, **NUMBERS, "refund_fee": "1", "total_fee": "9"})


class TestRepeats:
    """When a call is repeated."""

    async def test_same_message_again(self, stubborn: PayV2Client, gateway: Gateway, waits: Waits) -> None:
        """After SYSTEMERROR a refund is repeated, byte for byte."""
        gateway.answers = [BUSY, BUSY, RECEIPT]
        assert (await stubborn.refund("r1", out_trade_no="n1", refund_fen=1, total_fen=9)).refund_id == "i"
        assert len(gateway.bodies) == 3
        assert len(set(gateway.bodies)) == 1
        assert len(waits.waited) == 2

    @pytest.mark.parametrize("answer", [BUSY, (None, b""), (502, b""), b"<html>"])
    async def test_unknown_outcome_of_an_unsafe_call(
        self, stubborn: PayV2Client, gateway: Gateway, answer: Any
    ) -> None:
        """A call that is not marked repeatable is sent once when its outcome is unknown, and says so."""
        gateway.answers = [answer]
        with pytest.raises((PayV2APIError, TransportError, ReplyError)) as caught:
            await stubborn.request("/pay/micropay", {"auth_code": "1"})
        assert caught.value.maybe_acted
        assert len(gateway.bodies) == 1

    async def test_unknown_outcome_of_a_safe_call(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """A query is repeated after a broken connection, a 502 and an answer that is none."""
        gateway.answers = [(None, b""), (502, b""), b"<html>", signed(QUERY)]
        assert (await stubborn.get(out_trade_no="n1")).trade_state is TradeState.NOTPAY

    async def test_final_codes(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """What a person must change is not repeated."""
        gateway.answers = [signed({**FAIL, "err_code": "NOTENOUGH", "err_code_des": "余额不足"})]
        with pytest.raises(PayV2APIError) as caught:
            await stubborn.refund("r1", out_trade_no="n1", refund_fen=1, total_fen=9)
        assert (caught.value.code, caught.value.message) == ("NOT_ENOUGH", "余额不足")
        assert len(gateway.bodies) == 1

    async def test_too_many_failing_refunds(self, stubborn: PayV2Client, gateway: Gateway, waits: Waits) -> None:
        """INVALID_REQ_TOO_MUCH wants a minute: that does not fit, so the error comes at once."""
        gateway.answers = [signed({**FAIL, "err_code": "INVALID_REQ_TOO_MUCH"})]
        with pytest.raises(PayV2APIError) as caught:
            await stubborn.refund("r1", out_trade_no="n1", refund_fen=1, total_fen=9)
        assert (caught.value.verdict, waits.waited) == ("slow", [])

    async def test_outer_fault_of_the_system(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """A first layer that names a fault of the system is repeated like that fault."""
        gateway.answers = [b"<xml><return_code>FAIL</return_code><return_msg>SYSTEMERROR</return_msg></xml>", RECEIPT]
        assert (await stubborn.refund("r1", out_trade_no="n1", refund_fen=1, total_fen=9)).refund_id == "i"
        assert len(set(gateway.bodies)) == 1

    async def test_outer_failure_is_final(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """return_code FAIL is an error with its text, and is not repeated: nothing of it is signed."""
        gateway.answers = ["<xml><return_code>FAIL</return_code><return_msg>参数错误</return_msg></xml>".encode()]
        with pytest.raises(PayV2APIError, match="参数错误") as caught:
            await stubborn.refund("r1", out_trade_no="n1", refund_fen=1, total_fen=9)
        assert (caught.value.code, caught.value.verdict) == ("", "never")
        assert len(gateway.bodies) == 1

    async def test_attempts_are_bounded(self, merchant: Merchant, gateway: Gateway, waits: Waits) -> None:
        """Not more attempts than the policy has."""
        gateway.answers = [BUSY]
        async with PayV2Client(
            mchid="1900000109",
            api_v2_key=KEY,
            appid="wx1",
            sign_type="MD5",
            base_url=gateway.developer.url,
            retry=waits.policy(attempts=2),
        ) as client:
            with pytest.raises(PayV2APIError) as caught:
                await client.get(out_trade_no="n1")
        assert caught.value.maybe_acted
        assert len(gateway.bodies) == 2


class TestHosts:
    """The two sites."""

    def client(self, first: str, second: str | None, waits: Waits, **changes: Any) -> PayV2Client:
        """A client of two sites."""
        given: dict[str, Any] = {"mchid": "1900000109", "api_v2_key": KEY, "appid": "wx1", "sign_type": "MD5"}
        return PayV2Client(**given, base_url=first, backup_url=second, retry=waits.policy(attempts=1), **changes)

    async def test_other_site(self, gateway: Gateway, waits: Waits) -> None:
        """When the first site cannot be reached, the other answers, and is asked first for a while."""
        gateway.answers = [signed(QUERY)]
        async with self.client("http://127.0.0.1:9", gateway.developer.url.removesuffix("/wx"), waits) as client:
            for _ in range(2):
                assert (await client.get(out_trade_no="n1")).trade_state is TradeState.NOTPAY
        assert len(gateway.bodies) == 2
        assert waits.waited == []

    async def test_unsafe_calls_stay(self, gateway: Gateway, waits: Waits) -> None:
        """A call that is not marked repeatable goes to one site only, unless certainly nothing was sent."""
        other = Developer()
        other.answer = lambda hit: (None, b"")
        try:
            gateway.answers = [signed(QUERY)]
            async with self.client(other.url, gateway.developer.url.removesuffix("/wx"), waits) as client:
                with pytest.raises(TransportError):
                    await client.request("/pay/micropay", {"auth_code": "1"})
            assert gateway.bodies == []
        finally:
            other.stop()

    async def test_simulator_never_reaches_the_platform(self, waits: Waits) -> None:
        """With another base_url the default backup is off: what fails here does not go to the real site."""
        client = PayV2Client(
            mchid="1900000109",
            api_v2_key=KEY,
            appid="wx1",
            base_url="http://127.0.0.1:9",
            retry=waits.policy(attempts=1),
        )
        async with client:
            with pytest.raises(TransportError, match="connect"):
                await client.get(out_trade_no="n1")

    async def test_other_statuses(self, gateway: Gateway, waits: Waits) -> None:
        """A status that is no 2xx comes from something in front of the gateway."""
        gateway.answers = [(404, signed(QUERY))]
        async with self.client(gateway.developer.url, None, waits) as client:
            with pytest.raises(BadStatusError) as caught:
                await client.get(out_trade_no="n1")
        assert caught.value.status == 404


class TestBillBytes:
    """A bill has no signature: what is not a whole bill is none."""

    @pytest.mark.parametrize(
        "answer", [b"", b"oops", b"\x1f\x8b\x08broken", b"<html></html>", signed(QUERY)], ids=range(5)
    )
    async def test_no_bill(self, stubborn: PayV2Client, gateway: Gateway, answer: bytes) -> None:
        """Neither an empty answer, nor half an archive, nor another document passes for one."""
        gateway.answers = [answer]
        with pytest.raises((ReplyError, PayMismatchError)):
            await stubborn.bill(date(2026, 3, 1))

    async def test_half_an_archive(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """An archive that breaks off is noticed."""
        import gzip

        gateway.answers = [gzip.compress("交易时间,\r\n".encode() * 100)[:-9]]
        with pytest.raises(ReplyError, match="incomplete"):
            await stubborn.bill("2026-03-01")

    async def test_plain_bill(self, stubborn: PayV2Client, gateway: Gateway) -> None:
        """A bill that comes uncompressed all the same is taken."""
        gateway.answers = ["\ufeff交易时间,金额\r\n".encode()]
        assert (await stubborn.bill("2026-03-01")).decode("utf-8-sig") == "交易时间,金额\r\n"


class TestArguments:
    """What is refused before anything is sent."""

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"mchid": "1"}, "mchid"),
            ({"mchid": 1900000109}, "mchid"),
            ({"api_v2_key": "short"}, "api_v2_key"),
            ({"api_v2_key": "ä" * 32}, "api_v2_key"),
            ({"appid": ""}, "appid"),
            ({"sign_type": "md5"}, "sign_type"),
            ({"base_url": "http://example.com"}, "base_url"),
            ({"backup_url": "http://example.com"}, "allowed_origins"),
            ({"client_certificate": ("a.crt", "a.key"), "http_client": object()}, "client_certificate"),
        ],
    )
    def test_client(self, change: dict[str, Any], field: str) -> None:
        """A client that cannot work is not made; the error names the argument and shows no key."""
        given: dict[str, Any] = {"mchid": "1900000109", "api_v2_key": KEY, "appid": "wx1"}
        with pytest.raises(ConfigError) as caught:
            PayV2Client(**given | change)
        assert caught.value.field == field
        assert "short" not in str(caught.value)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"total_fen": 1.0}, "total_fen"),
            ({"total_fen": True}, "total_fen"),
            ({"total_fen": 0}, "total_fen"),
            ({"body": ""}, "body"),
            ({"body": "a" * 129}, "body"),
            ({"body": "a\x01"}, "body"),
            ({"attach": "a\r\nb"}, "attach"),
            ({"attach": "\ud800"}, "attach"),
            ({"notify_url": "https://shop.example.com/pay?a=1"}, "notify_url"),
            ({"openid": None}, "openid"),
            ({"trade_type": "NATIVE"}, "product_id"),
            ({"trade_type": "MWEB"}, "scene_info"),
            ({"trade_type": "MICROPAY"}, "trade_type"),
            ({"spbill_create_ip": "nowhere"}, "spbill_create_ip"),
            ({"time_expire": datetime(2026, 1, 1)}, "time_expire"),  # noqa: DTZ001
        ],
    )
    async def test_order(self, gateway: Gateway, stubborn: PayV2Client, change: dict[str, Any], field: str) -> None:
        """An order that cannot work is not sent; the error names the argument."""
        given: dict[str, Any] = {
            "trade_type": "JSAPI",
            "body": "b",
            "total_fen": 1,
            "spbill_create_ip": "127.0.0.1",
            "notify_url": "https://shop.example.com/pay",
            "openid": "o1",
        }
        with pytest.raises(ConfigError) as caught:
            await stubborn.order("n1", **given | change)
        assert caught.value.field == field
        assert gateway.bodies == []

    @pytest.mark.parametrize("number", ["", "a" * 33, "a b", "ä", "a/b", 1])
    async def test_numbers(self, stubborn: PayV2Client, gateway: Gateway, number: Any) -> None:
        """A number has the documented form."""
        with pytest.raises(ConfigError) as caught:
            await stubborn.close(number)
        assert caught.value.field == "out_trade_no"
        assert gateway.bodies == []

    async def test_exactly_one_number(self, stubborn: PayV2Client) -> None:
        """A query wants one number, not two and not none."""
        with pytest.raises(ConfigError):
            await stubborn.get()
        with pytest.raises(ConfigError):
            await stubborn.get(out_trade_no="n1", transaction_id="t1")

    @pytest.mark.parametrize("fields", [{"sign": "x"}, {"mch_id": "1"}, {"sign_type": "MD5"}, {"a b": "1"}])
    async def test_own_fields(self, stubborn: PayV2Client, gateway: Gateway, fields: dict[str, str]) -> None:
        """What the client sets cannot be given, and a name must be one."""
        with pytest.raises(ConfigError):
            await stubborn.request("/pay/micropay", fields)
        assert gateway.bodies == []

    @pytest.mark.parametrize("path", ["pay", "//evil.example.com/", "/pay/../x", "/pay?x=1", "/Pay", ""])
    async def test_paths(self, stubborn: PayV2Client, path: str) -> None:
        """A path is a plain one."""
        with pytest.raises(ConfigError) as caught:
            await stubborn.request(path, {})
        assert caught.value.field == "path"


class TestCertificate:
    """What the merchant's certificate is shown to."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Certificates of a server and of a merchant, the server's trusted by everybody in this test."""
        make_certificate(tmp_path, "server", "127.0.0.1")
        make_certificate(tmp_path, "merchant", "1900000109")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.crt"))
        _transport._ssl_context.cache_clear()
        yield tmp_path
        _transport._ssl_context.cache_clear()

    async def test_only_refunds_show_it(self, folder: Path, waits: Waits) -> None:
        """A refund shows the certificate in its handshake; a query, over a connection of its own, does not."""
        shown: list[tuple[str, bool]] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        context.load_verify_locations(folder / "merchant.crt")
        context.verify_mode = ssl.CERT_OPTIONAL

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(re.findall(r"(?i)content-length: (\d+)", head)[0]))
            shown.append((head.split()[1], bool(writer.get_extra_info("ssl_object").getpeercert())))
            body = RECEIPT if "refund" in head else signed(QUERY)
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        async with server:
            client = PayV2Client(
                mchid="1900000109",
                api_v2_key=KEY,
                appid="wx1",
                sign_type="MD5",
                client_certificate=(str(folder / "merchant.crt"), str(folder / "merchant.key")),
                base_url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
                retry=waits.policy(attempts=1),
            )
            async with client:
                await client.refund("r1", out_trade_no="n1", refund_fen=1, total_fen=9)
                await client.get(out_trade_no="n1")
        assert shown == [("/secapi/pay/refund", True), ("/pay/orderquery", False)]

    @pytest.mark.parametrize("broken", ["missing", "mixed"])
    def test_unusable_certificate(self, folder: Path, broken: str) -> None:
        """Files that cannot be read, or do not belong together, are found when the client is made."""
        key = "server.key" if broken == "mixed" else "nothing.key"
        with pytest.raises(ConfigError) as caught:
            PayV2Client(
                mchid="1900000109",
                api_v2_key=KEY,
                appid="wx1",
                client_certificate=(str(folder / "merchant.crt"), str(folder / key)),
            )
        assert caught.value.field == "client_certificate"


class TestSecrecy:
    """What nobody sees."""

    async def test_key_is_in_no_text(
        self, stubborn: PayV2Client, gateway: Gateway, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither the repr nor a log line nor an error holds the key or a sign."""
        caplog.set_level("DEBUG")
        gateway.answers = [BUSY]
        with pytest.raises(PayV2APIError) as caught:
            await stubborn.get(out_trade_no="n1")
        sign = gateway.developer.hits[0].fields["sign"]
        shown = f"{stubborn!r} {caught.value!r} {caught.value} {caplog.text}"
        assert KEY not in shown
        assert sign not in shown
        assert "1900000109" in repr(stubborn)

    def test_errors_travel(self) -> None:
        """The error survives pickle and copy with its verdict."""
        error = PayV2APIError(code="SYSTEM_ERROR", message="m", status=200, endpoint="e", verdict="same")
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(other), other.code, other.verdict, other.maybe_acted) == (
                PayV2APIError,
                "SYSTEM_ERROR",
                "same",
                True,
            )

    async def test_closed_client(self, stubborn: PayV2Client) -> None:
        """A closed client sends nothing; closing twice is fine."""
        await stubborn.aclose()
        await stubborn.aclose()
        with pytest.raises(ConfigError):
            await stubborn.get(out_trade_no="n1")
