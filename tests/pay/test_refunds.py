"""Refunds: money goes back once, whatever is lost on the way."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pay.conftest import pay_settings
from tests.pay.cutting import Cutter, points
from tests.pay.recorded import MCHID, FakeGateway, VirtualTime
from wxmp.errors import (
    ConfigError,
    PayAPIError,
    PayError,
    PayMismatchError,
    PaySignatureError,
    ReplyError,
    TransportError,
)
from wxmp.pay import PayClient
from wxmp.pay.records import RefundFrom, RefundGoods, RefundStatus
from wxmp.pay.refunds import RefundAPI
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    from wxmp.simulator import Phone, Simulator
    from wxmp.simulator.pay.records import Merchant

REFUNDS = "/v3/refund/domestic/refunds"
LOST = (PayError, TransportError, ReplyError)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def buyer(pay_sim: Simulator) -> Phone:
    """A follower's phone."""
    return pay_sim.world.phone(pay_sim.world.create_followers(1)[0])


async def paid(pay: PayClient, buyer: Phone, number: str = "order-0001", total_fen: int = 100) -> str:
    """Place an order and have it paid; return the platform's number."""
    order = await pay.order.native(number, description="茶", total_fen=total_fen)
    assert buyer.pay(order.code_url).ok
    return str((await pay.order.get(out_trade_no=number)).transaction_id)


def fake(*answers: Any) -> tuple[RefundAPI, FakeGateway, VirtualTime]:
    gateway, clock = FakeGateway(*answers), VirtualTime()
    return RefundAPI(gateway, sleep=clock.sleep), gateway, clock  # type: ignore[arg-type]


def refused(code: str, status: int = 404) -> PayAPIError:
    return PayAPIError(code=code, message="no", status=status)


# ---- the life of a refund


@pytest.mark.parametrize("by", ["transaction_id", "out_trade_no"])
async def test_an_order_is_refunded_by_either_number(
    pay: PayClient, pay_sim: Simulator, buyer: Phone, merchant: Merchant, by: str
) -> None:
    """Accepted first, done later; the money has left the merchant once."""
    number = await paid(pay, buyer)
    order = {"transaction_id": number} if by == "transaction_id" else {"out_trade_no": "order-0001"}
    before = merchant.balance
    refund = await pay.refund.create("refund-1", refund_fen=40, total_fen=100, reason="退货", **order)
    assert (refund.status, refund.amount.refund_fen, refund.amount.total_fen) == (RefundStatus.PROCESSING, 40, 100)
    assert refund.transaction_id == number
    pay_sim.advance(10)
    found = await pay.refund.get("refund-1")
    assert found.status is RefundStatus.SUCCESS
    assert found.success_time is not None
    assert before - merchant.balance == 40
    assert (await pay.order.get(out_trade_no="order-0001")).paid


async def test_everything_a_refund_may_say_is_understood(pay: PayClient, buyer: Phone, merchant: Merchant) -> None:
    """The platform, which refuses unknown members and wrong kinds, takes a refund with all of them."""
    number = await paid(pay, buyer)
    await pay.refund.create(
        "A|b*c_-@1",
        transaction_id=number,
        refund_fen=100,
        total_fen=100,
        reason="字" * 80,
        notify_url="https://shop.example.com/refunds",
        funds_account="AVAILABLE",
        sources=[RefundFrom("AVAILABLE", 60), RefundFrom("UNAVAILABLE", 40)],
        goods_detail=[RefundGoods("sku_1", 100, 100, 1, "1001", "茶")],
    )
    assert merchant.refunds["A|b*c_-@1"].reason == "字" * 80
    assert (await pay.refund.get("A|b*c_-@1")).out_refund_no == "A|b*c_-@1"


async def test_an_abnormal_refund_goes_to_another_card(pay: PayClient, pay_sim: Simulator, buyer: Phone) -> None:
    """Card and owner are enciphered by themselves: the platform opens them."""
    number = await paid(pay, buyer)
    pay_sim.world.policy = attrs.evolve(pay_sim.world.policy, pay_refund_outcome="ABNORMAL")
    await pay.refund.create("refund-1", transaction_id=number, refund_fen=100, total_fen=100)
    pay_sim.advance(10)
    abnormal = await pay.refund.get("refund-1")
    assert abnormal.status is RefundStatus.ABNORMAL
    again = await pay.refund.apply_abnormal(
        abnormal.refund_id,
        out_refund_no="refund-1",
        type="USER_BANK_CARD",
        bank_type="ICBC_DEBIT",
        bank_account="6222020200112233445",
        real_name="张三",
    )
    assert again.status is RefundStatus.PROCESSING


async def test_card_and_owner_never_go_out_in_clear() -> None:
    """What is declared as enciphered leaves as such."""
    api, gateway, _ = fake()
    card = {"bank_type": "ICBC_DEBIT", "bank_account": "6222", "real_name": "张三"}
    await api.apply_abnormal("503", out_refund_no="refund-1", type="USER_BANK_CARD", sub_mchid="19", **card)
    assert gateway.last.line == f"POST {REFUNDS}/503/apply-abnormal-refund"
    assert gateway.last.body == {
        "out_refund_no": "refund-1",
        "type": "USER_BANK_CARD",
        "sub_mchid": "19",
        "bank_type": "ICBC_DEBIT",
        "bank_account": "enc(6222)",
        "real_name": "enc(张三)",
    }


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("type", {"type": "CASH"}),
        ("bank_type", {"type": "USER_BANK_CARD"}),
        ("bank_account", {"type": "USER_BANK_CARD", "bank_type": "ICBC_DEBIT"}),
        ("real_name", {"type": "USER_BANK_CARD", "bank_type": "ICBC_DEBIT", "bank_account": "1"}),
        ("real_name", {"type": "USER_BANK_CARD", "bank_type": "I", "bank_account": "1", "real_name": "茶" * 72}),
        ("bank_account", {"type": "MERCHANT_BANK_CARD", "bank_account": "6222"}),
    ],
)
async def test_an_abnormal_refund_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """A card needs its three members, the merchant's account none; 214 bytes fit into an enciphered one."""
    api, gateway, _ = fake()
    with pytest.raises(ConfigError) as caught:
        await api.apply_abnormal("503", out_refund_no="refund-1", **changes)
    assert caught.value.field == field
    assert gateway.asked == []


# ---- once


@pytest.mark.parametrize("effect", ["reset_before", "reset_after", "status"])
async def test_a_lost_answer_refunds_once(
    pay: PayClient, pay_sim: Simulator, buyer: Phone, merchant: Merchant, effect: Any
) -> None:
    """The client repeats the identical request by itself; the money goes back once."""
    number = await paid(pay, buyer)
    before = merchant.balance
    pay_sim.fault(effect, REFUNDS, first=2)
    refund = await pay.refund.create("refund-1", transaction_id=number, refund_fen=100, total_fen=100)
    assert refund.status is RefundStatus.PROCESSING
    assert pay_sim.calls(REFUNDS) == 3
    assert (list(merchant.refunds), before - merchant.balance) == (["refund-1"], 100)


@pytest.mark.parametrize("effect", ["truncated", "empty", "not_json"])
async def test_a_spoilt_answer_says_that_the_refund_may_exist(
    pay: PayClient, pay_sim: Simulator, buyer: Phone, merchant: Merchant, effect: Any
) -> None:
    """An answer that cannot be believed leaves the outcome open; the same number again tells it, and pays once."""
    number = await paid(pay, buyer)
    before = merchant.balance
    pay_sim.fault(effect, REFUNDS, first=1)
    with pytest.raises(PaySignatureError) as caught:
        await pay.refund.create("refund-1", transaction_id=number, refund_fen=100, total_fen=100)
    assert caught.value.maybe_acted
    await pay.refund.create("refund-1", transaction_id=number, refund_fen=100, total_fen=100)
    assert before - merchant.balance == 100


async def test_a_connection_killed_anywhere_refunds_once(
    pay_sim: Simulator, pay: PayClient, buyer: Phone, merchant: Merchant
) -> None:
    """Whatever byte of request or answer is the last: the same number again tells the state, and money moved once."""
    async with Cutter(pay_sim.port) as wire:
        settings = pay_settings(pay_sim, merchant, base_url=wire.url, retry=ONCE)
        number = await paid(pay, buyer, "order-uncut")
        async with PayClient(**settings) as client:
            await client.refund.create("uncut", transaction_id=number, refund_fen=1, total_fen=100)
        cuts = [("up", after) for after in points(wire.passed["up"], 8)]
        cuts += [("down", after) for after in points(wire.passed["down"], 8)]
        lost = 0
        for place, (direction, after) in enumerate(cuts):
            number = await paid(pay, buyer, f"order-{place:04}")
            before = merchant.balance
            wire.cut(direction, after)  # type: ignore[arg-type]
            order = {"transaction_id": number, "refund_fen": 100, "total_fen": 100}
            async with PayClient(**settings) as client:
                try:
                    await client.refund.create(f"refund-{place}", **order)
                except LOST:
                    lost += 1
            async with PayClient(**settings) as client:
                refund = await client.refund.create(f"refund-{place}", **order)
            assert refund.status is RefundStatus.PROCESSING
            assert before - merchant.balance == 100, (direction, after)
        assert lost >= len(cuts) - 2  # all but those behind the last byte
        assert len(merchant.refunds) == len(cuts) + 1


async def test_other_content_under_a_used_number_is_refused(pay: PayClient, buyer: Phone, merchant: Merchant) -> None:
    """The same number with another amount moves nothing."""
    number = await paid(pay, buyer)
    await pay.refund.create("refund-1", transaction_id=number, refund_fen=40, total_fen=100)
    before = merchant.balance
    with pytest.raises(PayAPIError) as caught:
        await pay.refund.create("refund-1", transaction_id=number, refund_fen=50, total_fen=100)
    assert caught.value.code == "INVALID_REQUEST"
    assert merchant.balance == before


# ---- "no such order" for an order that is paid

MISSING = refused("RESOURCE_NOT_EXISTS")
PAID = {"trade_state": "SUCCESS"}
GOOD = {"out_refund_no": "refund-1", "status": "PROCESSING"}


async def test_a_paid_order_that_is_not_found_is_asked_for_again() -> None:
    """A query shows the order paid, so the identical refund goes out again."""
    api, gateway, clock = fake(MISSING, PAID, MISSING, PAID, GOOD)
    refund = await api.create("refund-1", out_trade_no="order-0001", refund_fen=1, total_fen=1)
    assert refund.status is RefundStatus.PROCESSING
    query = f"GET /v3/pay/transactions/out-trade-no/order-0001?mchid={MCHID}"
    assert [asked.line for asked in gateway.asked] == [
        f"POST {REFUNDS}",
        query,
        f"POST {REFUNDS}",
        query,
        f"POST {REFUNDS}",
    ]
    assert gateway.asked[0].body == gateway.asked[2].body == gateway.asked[4].body
    assert 0 < sum(clock.slept) <= 5


async def test_the_third_time_it_is_believed() -> None:
    """Twice repeated is enough."""
    api, gateway, _ = fake(MISSING, PAID, MISSING, PAID, MISSING)
    with pytest.raises(PayAPIError) as caught:
        await api.create("refund-1", transaction_id="42", refund_fen=1, total_fen=1)
    assert caught.value.code == "RESOURCE_NOT_EXISTS"
    assert len(gateway.asked) == 5


@pytest.mark.parametrize(
    "answer", [{"trade_state": "NOTPAY"}, {"trade_state": "CLOSED"}, refused("ORDER_NOT_EXIST"), TransportError("gone")]
)
async def test_without_a_payment_the_refusal_stands(answer: Any) -> None:
    """An order that no query shows paid is not refunded again; the error is the refund's own."""
    api, gateway, clock = fake(MISSING, answer)
    with pytest.raises(PayAPIError) as caught:
        await api.create("refund-1", transaction_id="42", refund_fen=1, total_fen=1)
    assert caught.value.code == "RESOURCE_NOT_EXISTS"
    assert (len(gateway.asked), clock.slept) == (2, [])


async def test_another_refusal_is_not_looked_into() -> None:
    """Only "no such order" leads to a query."""
    api, gateway, _ = fake(refused("NOT_ENOUGH", 403))
    with pytest.raises(PayAPIError):
        await api.create("refund-1", transaction_id="42", refund_fen=1, total_fen=1)
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    ("order", "line"),
    [
        ({"transaction_id": "42"}, "GET /v3/pay/partner/transactions/id/42"),
        ({"out_trade_no": "order-0001"}, "GET /v3/pay/partner/transactions/out-trade-no/order-0001"),
    ],
)
async def test_a_service_provider_looks_at_its_own_orders(order: dict[str, str], line: str) -> None:
    """With a sub merchant the query is the service provider's, and every call names it."""
    api, gateway, _ = fake(MISSING, PAID, GOOD)
    await api.create("refund-1", refund_fen=1, total_fen=1, sub_mchid="1900000109", **order)
    assert gateway.asked[1].line == f"{line}?sp_mchid={MCHID}&sub_mchid=1900000109"
    assert gateway.asked[2].body["sub_mchid"] == "1900000109"


async def test_a_query_names_the_sub_merchant() -> None:
    """The number of a refund is one part of the path, whatever it holds."""
    api, gateway, _ = fake({"status": "SUCCESS"})
    await api.get("a|b@c*", sub_mchid="1900000109")
    assert gateway.last.line == f"GET {REFUNDS}/a%7Cb%40c%2A?sub_mchid=1900000109"


async def test_an_answer_about_another_refund_is_not_believed() -> None:
    """The signature of an answer does not say to which question it belongs."""
    api, _, _ = fake({**GOOD, "out_refund_no": "refund-2"})
    with pytest.raises(PayMismatchError) as caught:
        await api.create("refund-1", transaction_id="42", refund_fen=1, total_fen=1)
    assert caught.value.field == "out_refund_no"
    with pytest.raises(PayMismatchError):
        await api.get("refund-1")


# ---- arguments

ARGUMENTS: dict[str, Any] = {"transaction_id": "42", "refund_fen": 40, "total_fen": 100}


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("out_refund_no", {"out_refund_no": ""}),
        ("out_refund_no", {"out_refund_no": "x" * 65}),
        ("out_refund_no", {"out_refund_no": "a/b"}),
        ("transaction_id", {"transaction_id": None}),
        ("transaction_id", {"out_trade_no": "order-0001"}),
        ("transaction_id", {"transaction_id": 42}),
        ("refund_fen", {"refund_fen": 0}),
        ("refund_fen", {"refund_fen": 40.0}),
        ("refund_fen", {"refund_fen": True}),
        ("refund_fen", {"refund_fen": 101}),
        ("total_fen", {"total_fen": Decimal(100)}),
        ("reason", {"reason": "字" * 81}),
        ("reason", {"reason": "😀"}),
        ("notify_url", {"notify_url": "http://shop.example.com/"}),
        ("funds_account", {"funds_account": "BASIC"}),
        ("currency", {"currency": "HKD"}),
        ("sources", {"sources": [RefundFrom("AVAILABLE", 39)]}),
        ("sources", {"sources": RefundFrom("AVAILABLE", 40)}),
        ("sources[0].account", {"sources": [RefundFrom("BASIC", 40)]}),
        ("sources[0]", {"sources": [{"account": "AVAILABLE", "amount": 40}]}),
        ("goods_detail[0].refund_quantity", {"goods_detail": [RefundGoods("a", 1, 1, 0)]}),
        ("goods_detail[0].refund_amount_fen", {"goods_detail": [RefundGoods("a", 1, 1.5, 1)]}),  # type: ignore[arg-type]
        ("sub_mchid", {"sub_mchid": ""}),
    ],
)
async def test_a_refund_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """What the platform would refuse is found before anything is sent, and the error names the argument."""
    api, gateway, _ = fake()
    arguments = {"out_refund_no": "refund-1", **ARGUMENTS, **changes}
    with pytest.raises(ConfigError) as caught:
        await api.create(arguments.pop("out_refund_no"), **arguments)
    assert caught.value.field == field
    assert gateway.asked == []


@given(
    number=st.from_regex(r"[0-9A-Za-z_\-|*@]{1,64}", fullmatch=True),
    total=st.integers(1, 10**12),
    part=st.floats(0, 1),
)
async def test_every_documented_refund_arrives_unchanged(number: str, total: int, part: float) -> None:
    """Numbers and money go out as they are."""
    api, gateway, _ = fake({**GOOD, "out_refund_no": number})
    amount = max(1, int(total * part))
    await api.create(number, transaction_id="42", refund_fen=amount, total_fen=total)
    assert gateway.last.body == {
        "transaction_id": "42",
        "out_refund_no": number,
        "amount": {"refund": amount, "total": total, "currency": "CNY"},
    }
