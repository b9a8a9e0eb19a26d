"""Orders: placed, paid, closed against a platform that verifies every signature; what it lacks, against a recorder."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pay.recorded import APPID, MCHID, FakeGateway, VirtualTime
from wxmp.errors import ConfigError, PayAPIError, PayMismatchError, ReplyError, TimedOutError, TransportError
from wxmp.pay.orders import OrderAPI
from wxmp.pay.records import (
    GoodsDetail,
    H5Info,
    OrderDetail,
    PayerIdentity,
    SceneInfo,
    StoreInfo,
    TradeState,
    TradeType,
)

if TYPE_CHECKING:
    from wxmp.pay import PayClient
    from wxmp.simulator import Phone, Simulator
    from wxmp.simulator.pay.records import Merchant

ORDER = {"description": "一杯咖啡", "total_fen": 100}
CLOSE_PATH = "/v3/pay/transactions/out-trade-no/*/close"
BEIJING = timezone(timedelta(hours=8))


@pytest.fixture
def buyer(pay_sim: Simulator) -> Phone:
    """A follower's phone."""
    return pay_sim.world.phone(pay_sim.world.create_followers(1)[0])


def fake(*answers: Any, **changes: Any) -> tuple[OrderAPI, FakeGateway]:
    gateway = FakeGateway(*answers)
    for name, value in changes.items():
        setattr(gateway, name, value)
    return OrderAPI(gateway), gateway  # type: ignore[arg-type]


def refused(code: str, verdict: Any = "never", status: int = 400) -> PayAPIError:
    return PayAPIError(code=code, message="no", status=status, verdict=verdict)


# ---- placing


async def test_a_page_can_pay_with_the_parameters_of_an_order(pay: PayClient, buyer: Phone) -> None:
    """The parameters carry a signature that the payer's phone accepts."""
    order = await pay.order.jsapi("order-0001", openid=buyer.openid, attach="table 5", **ORDER)
    result = buyer.pay(order.params())
    assert result.ok
    found = await pay.order.get(out_trade_no="order-0001")
    assert (found.trade_state, found.trade_type, found.attach) == (TradeState.SUCCESS, TradeType.JSAPI, "table 5")
    assert found.paid
    assert found.settled


async def test_each_call_of_params_signs_anew(pay: PayClient, buyer: Phone) -> None:
    """A signature is made on demand and not stored."""
    order = await pay.order.jsapi("order-0001", openid=buyer.openid, **ORDER)
    one, two = order.params(), order.params()
    assert list(one) == ["appId", "timeStamp", "nonceStr", "package", "signType", "paySign"]
    assert one["nonceStr"] != two["nonceStr"]
    assert one["paySign"] not in repr(order)


async def test_an_app_can_pay_with_the_parameters_of_an_order(pay: PayClient, buyer: Phone) -> None:
    """The parameters of an app carry a signature that the payer's phone accepts."""
    order = await pay.order.app("order-0001", **ORDER)
    assert buyer.pay(order.params()).ok


async def test_a_native_order_can_be_scanned(pay: PayClient, buyer: Phone) -> None:
    """The text of the QR code leads to the order."""
    order = await pay.order.native("order-0001", **ORDER)
    assert order.code_url.startswith("weixin://")
    assert buyer.pay(order.code_url).ok


async def test_an_h5_order_can_be_opened(pay: PayClient, buyer: Phone) -> None:
    """The address leads to the order."""
    order = await pay.order.h5("order-0001", client_ip="203.0.113.7", h5_type="iOS", **ORDER)
    assert buyer.pay(order.h5_url).ok


def test_the_way_back_is_encoded_once() -> None:
    """The page to return to stays inside its own parameter."""
    from wxmp.pay.orders import H5Order

    address = H5Order("https://wx.tenpay.com/x?prepay_id=1").returning_to("https://shop.example.com/?a=1&b=2")
    assert address.endswith("&redirect_url=https%3A%2F%2Fshop.example.com%2F%3Fa%3D1%26b%3D2")


async def test_a_repeated_order_is_the_same_order(pay: PayClient, merchant: Merchant) -> None:
    """The same number with the same content makes no second order."""
    await pay.order.native("order-0001", **ORDER)
    await pay.order.native("order-0001", **ORDER)
    assert list(merchant.orders) == ["order-0001"]


async def test_a_lost_answer_places_one_order(pay: PayClient, pay_sim: Simulator, merchant: Merchant) -> None:
    """After a broken connection the client sends the identical order again by itself."""
    pay_sim.fault("reset_after", "/v3/pay/transactions/native", first=2)
    order = await pay.order.native("order-0001", **ORDER)
    assert order.code_url
    assert list(merchant.orders) == ["order-0001"]
    assert pay_sim.calls("/v3/pay/transactions/native") == 3


async def test_other_content_under_a_used_number_is_refused(pay: PayClient) -> None:
    """The same number with another price is an error, not another order."""
    await pay.order.native("order-0001", **ORDER)
    with pytest.raises(PayAPIError) as caught:
        await pay.order.native("order-0001", description="一杯咖啡", total_fen=101)
    assert caught.value.code == "INVALID_REQUEST"


async def test_everything_an_order_may_say_is_understood(pay: PayClient, merchant: Merchant, buyer: Phone) -> None:
    """The platform, which refuses unknown members and wrong kinds, takes an order with all of them."""
    await pay.order.jsapi(
        "A|b*c_-1",
        description="茶" * 127,
        total_fen=1,
        openid=buyer.openid,
        identity=PayerIdentity("IDCARD", "11010519491231002X", "张三"),
        attach="字" * 128,
        time_expire=datetime.now(BEIJING) + timedelta(minutes=30),
        goods_tag="WXG",
        limit_pay=["no_credit"],
        support_fapiao=True,
        notify_url="https://shop.example.com/other",
        detail=OrderDetail(200, "inv-1", (GoodsDetail("sku_1", 1, 100, "1001", "茶杯"),)),
        scene_info=SceneInfo("2001:db8::1", "013467007045764", StoreInfo("0001", "店", "440305", "广东省深圳市")),
        profit_sharing=True,
        subsidy_detail=[{"merchant_goods_id": "sku_1"}],
    )
    placed = merchant.orders["A|b*c_-1"]
    assert (placed.total, placed.notify_url, placed.device_id) == (
        1,
        "https://shop.example.com/other",
        "013467007045764",
    )


async def test_an_order_goes_out_as_documented() -> None:
    """Method, path and body of a JSAPI order; absent members are left out, the identity is enciphered."""
    api, gateway = fake({"prepay_id": "wx01"})
    order = await api.jsapi("order-0001", openid="o1", identity=PayerIdentity("IDCARD", "110", "张三"), **ORDER)
    assert gateway.last.line == "POST /v3/pay/transactions/jsapi"
    assert gateway.last.endpoint.repeat == "by_key"
    assert gateway.last.body == {
        "appid": APPID,
        "mchid": MCHID,
        "description": "一杯咖啡",
        "out_trade_no": "order-0001",
        "notify_url": "https://shop.example.com/pay",
        "amount": {"total": 100, "currency": "CNY"},
        "payer": {"openid": "o1", "identity": {"type": "IDCARD", "number": "enc(110)", "name": "enc(张三)"}},
    }
    assert order.prepay_id == "wx01"


async def test_the_deadline_is_written_with_its_offset() -> None:
    """RFC 3339, whole seconds, the offset that was given."""
    api, gateway = fake({"code_url": "weixin://x"})
    moment = datetime(2026, 6, 8, 10, 34, 56, 789, tzinfo=BEIJING)
    await api.native("order-0001", time_expire=moment, **ORDER)
    assert gateway.last.body["time_expire"] == "2026-06-08T10:34:56+08:00"


async def test_an_h5_order_names_the_payers_address() -> None:
    """The scene holds the payer's address and what kind of page it is."""
    api, gateway = fake({"h5_url": "https://wx.tenpay.com/x"})
    info = H5Info("iOS", "店", "https://shop.example.com", "com.example.shop", "com.example")
    await api.h5("order-0001", client_ip="203.0.113.7", h5_type=info, **ORDER)
    assert gateway.last.body["scene_info"] == {
        "payer_client_ip": "203.0.113.7",
        "h5_info": {
            "type": "iOS",
            "app_name": "店",
            "app_url": "https://shop.example.com",
            "bundle_id": "com.example.shop",
            "package_name": "com.example",
        },
    }


@pytest.mark.parametrize("reply", [{}, {"prepay_id": ""}, {"prepay_id": 5}])
async def test_an_answer_without_its_one_member_is_an_error(reply: Any) -> None:
    """An order without a prepay_id is none; the error says that the platform may have acted."""
    api, _ = fake(reply)
    with pytest.raises(ReplyError, match="prepay_id") as caught:
        await api.app("order-0001", **ORDER)
    assert caught.value.maybe_acted


# ---- arguments


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("out_trade_no", {"out_trade_no": "short"}),
        ("out_trade_no", {"out_trade_no": "x" * 33}),
        ("out_trade_no", {"out_trade_no": "order/0001"}),
        ("out_trade_no", {"out_trade_no": "order-0001\n"}),
        ("out_trade_no", {"out_trade_no": 20260101}),
        ("description", {"description": ""}),
        ("description", {"description": "茶" * 128}),
        ("description", {"description": "party 🎉"}),
        ("description", {"description": "half \ud83c"}),
        ("total_fen", {"total_fen": 0}),
        ("total_fen", {"total_fen": -1}),
        ("total_fen", {"total_fen": True}),
        ("total_fen", {"total_fen": 1.0}),
        ("total_fen", {"total_fen": Decimal(1)}),
        ("total_fen", {"total_fen": "100"}),
        ("currency", {"currency": "USD"}),
        ("attach", {"attach": "x" * 129}),
        ("attach", {"attach": ""}),
        ("goods_tag", {"goods_tag": "x" * 33}),
        ("time_expire", {"time_expire": datetime(2026, 1, 1)}),  # noqa: DTZ001
        ("time_expire", {"time_expire": "2026-01-01T00:00:00+08:00"}),
        ("limit_pay", {"limit_pay": "no_credit"}),
        ("limit_pay", {"limit_pay": ["no_cash"]}),
        ("support_fapiao", {"support_fapiao": 1}),
        ("profit_sharing", {"profit_sharing": "Y"}),
        ("notify_url", {"notify_url": "http://shop.example.com/pay"}),
        ("notify_url", {"notify_url": "https://shop.example.com/pay?x=1"}),
        ("notify_url", {"notify_url": "https://shop.example.com/pay?"}),
        ("notify_url", {"notify_url": "https://shop.example.com/pay#x"}),
        ("notify_url", {"notify_url": "https://me:pw@shop.example.com/pay"}),
        ("notify_url", {"notify_url": "https:///pay"}),
        ("notify_url", {"notify_url": "https://shop.example.com:x/pay"}),
        ("notify_url", {"notify_url": "https://shop.example.com/a b"}),
        ("notify_url", {"notify_url": "shop.example.com/pay"}),
        ("notify_url", {"notify_url": "https://shop.example.com/" + "x" * 255}),
        ("detail", {"detail": {"cost_price": 1}}),
        (
            "detail",
            {"detail": OrderDetail(None, None, tuple(GoodsDetail("a", 1, 1, None, "茶" * 250) for _ in "x" * 9))},
        ),
        ("detail.cost_price_fen", {"detail": OrderDetail(1.5)}),  # type: ignore[arg-type]
        ("detail.goods_detail[0].quantity", {"detail": OrderDetail(None, None, (GoodsDetail("a", 0, 1),))}),
        ("detail.goods_detail[0].unit_price_fen", {"detail": OrderDetail(None, None, (GoodsDetail("a", 1, -1),))}),
        ("detail.goods_detail[0].merchant_goods_id", {"detail": OrderDetail(None, None, (GoodsDetail("茶", 1, 1),))}),
        ("scene_info", {"scene_info": {"payer_client_ip": "203.0.113.7"}}),
        ("scene_info.payer_client_ip", {"scene_info": SceneInfo("not an address")}),
        ("scene_info.store_info.id", {"scene_info": SceneInfo("203.0.113.7", None, StoreInfo(""))}),
    ],
)
async def test_an_order_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """What the platform would refuse is found before anything is sent, and the error names the argument."""
    api, gateway = fake({"code_url": "weixin://x"})
    arguments: dict[str, Any] = {"out_trade_no": "order-0001", **ORDER, **changes}
    with pytest.raises(ConfigError) as caught:
        await api.native(arguments.pop("out_trade_no"), **arguments)
    assert caught.value.field == field
    assert gateway.asked == []


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/pay", "http://localhost/pay", "http://[::1]:9/pay", "https://shop.example.com:8443/p"],
)
async def test_a_local_address_may_do_without_tls(url: str) -> None:
    """A simulator on this machine can be told to call back without a certificate."""
    api, gateway = fake({"code_url": "weixin://x"})
    await api.native("order-0001", notify_url=url, **ORDER)
    assert gateway.last.body["notify_url"] == url


@pytest.mark.parametrize(("field", "changes"), [("appid", {"appid": None}), ("notify_url", {"notify_url": None})])
async def test_what_neither_client_nor_order_says_is_asked_for(field: str, changes: dict[str, Any]) -> None:
    """Without a default the argument is needed, and the error says where it can stand."""
    api, _ = fake(**changes)
    with pytest.raises(ConfigError, match="to the client") as caught:
        await api.native("order-0001", **ORDER)
    assert caught.value.field == field


async def test_an_unknown_argument_is_a_type_error() -> None:
    """A misspelt option does not disappear."""
    api, _ = fake()
    with pytest.raises(TypeError, match="time_expires"):
        await api.native("order-0001", time_expires=datetime.now(UTC), **ORDER)  # type: ignore[call-arg]


async def test_errors_do_not_repeat_what_was_given() -> None:
    """Openids and addresses of people stay out of messages."""
    api, _ = fake()
    with pytest.raises(ConfigError) as caught:
        await api.h5("order-0001", client_ip="203.0.113.777", **ORDER)
    assert "203.0.113.777" not in str(caught.value)


@given(number=st.from_regex(r"[0-9A-Za-z_\-|*]{6,32}", fullmatch=True), fen=st.integers(1, 10**12))
async def test_every_documented_number_and_amount_arrives_unchanged(number: str, fen: int) -> None:
    """Numbers and money go out as they are."""
    api, gateway = fake({"code_url": "weixin://x"})
    await api.native(number, description="茶", total_fen=fen)
    assert (gateway.last.body["out_trade_no"], gateway.last.body["amount"]["total"]) == (number, fen)
    await api.close(number)
    assert gateway.last.line.count("/") == 7 - 1  # whatever the number holds, it stays one part of the path


@given(number=st.text(max_size=40).filter(lambda text: not re.fullmatch(r"[0-9A-Za-z_\-|*]{6,32}", text)))
async def test_no_other_number_is_sent(number: str) -> None:
    """What the documents do not allow never reaches the wire."""
    api, gateway = fake()
    with pytest.raises(ConfigError):
        await api.native(number, **ORDER)
    if not re.fullmatch(r"[0-9A-Za-z_\-|*@]{1,32}", number):
        with pytest.raises(ConfigError):
            await api.get(out_trade_no=number)
    assert gateway.asked == []


async def test_an_order_of_the_older_interface_is_reached() -> None:
    """V2 took shorter numbers, and the @: such an order can be queried and closed, but not placed here."""
    api, gateway = fake({"out_trade_no": "a@1", "trade_state": "NOTPAY"})
    await api.get(out_trade_no="a@1")
    await api.close("a@1")
    assert [asked.line.partition("?")[0] for asked in gateway.asked] == [
        "GET /v3/pay/transactions/out-trade-no/a%401",
        "POST /v3/pay/transactions/out-trade-no/a%401/close",
    ]
    with pytest.raises(ConfigError):
        await api.native("a@1", **ORDER)


@given(
    amount=st.one_of(
        st.booleans(), st.floats(), st.decimals(), st.integers(max_value=0), st.text(), st.none(), st.complex_numbers()
    )
)
async def test_no_other_money_is_sent(amount: Any) -> None:
    """Only a whole number above zero is an amount."""
    api, gateway = fake()
    with pytest.raises(ConfigError) as caught:
        await api.native("order-0001", description="茶", total_fen=amount)
    assert caught.value.field == "total_fen"
    assert gateway.asked == []


# ---- looking


async def test_an_order_is_found_by_either_number(pay: PayClient, buyer: Phone) -> None:
    """The platform's number leads to the same order as ours."""
    order = await pay.order.native("order-0001", **ORDER)
    before = await pay.order.get(out_trade_no="order-0001")
    assert (before.trade_state, before.transaction_id, before.paid) == (TradeState.NOTPAY, None, False)
    buyer.pay(order.code_url)
    one = await pay.order.get(out_trade_no="order-0001")
    assert one.transaction_id is not None
    assert await pay.order.get(transaction_id=one.transaction_id) == one
    assert one.success_time is not None
    assert one.success_time.utcoffset() == timedelta(0)
    assert one.amount.total_fen == one.amount.payer_total_fen == 100
    assert one.payer.openid not in repr(one)


@pytest.mark.parametrize("numbers", [{}, {"out_trade_no": "order-0001", "transaction_id": "42"}])
async def test_a_query_names_exactly_one_number(numbers: dict[str, str]) -> None:
    """None and two are both refused."""
    api, _ = fake()
    with pytest.raises(ConfigError, match="exactly one of out_trade_no, transaction_id"):
        await api.get(**numbers)


@pytest.mark.parametrize("name", ["out_trade_no", "transaction_id"])
async def test_an_answer_about_another_order_is_not_believed(name: str) -> None:
    """The signature of an answer does not say to which question it belongs."""
    api, _ = fake({"trade_state": "SUCCESS", name: "another-1"})
    with pytest.raises(PayMismatchError) as caught:
        await api.get(**{name: "order0001"})
    assert caught.value.field == name


# ---- closing


async def test_an_order_is_closed_once_and_again(pay: PayClient, merchant: Merchant) -> None:
    """Closing a closed order is harmless."""
    await pay.order.native("order-0001", **ORDER)
    await pay.order.close("order-0001")
    await pay.order.close("order-0001")
    assert merchant.orders["order-0001"].state == "CLOSED"


async def test_a_paid_order_does_not_close(pay: PayClient, buyer: Phone) -> None:
    """ORDER_PAID says to deliver."""
    buyer.pay((await pay.order.native("order-0001", **ORDER)).code_url)
    with pytest.raises(PayAPIError) as caught:
        await pay.order.close("order-0001")
    assert caught.value.code == "ORDER_PAID"


async def test_ensure_closed_closes(pay: PayClient) -> None:
    """An unpaid order ends closed, in one request each for closing and looking."""
    await pay.order.native("order-0001", **ORDER)
    assert (await pay.order.ensure_closed("order-0001")).trade_state is TradeState.CLOSED


async def test_ensure_closed_finds_a_payment(pay: PayClient, buyer: Phone) -> None:
    """An order that was paid in the meantime comes back paid."""
    buyer.pay((await pay.order.native("order-0001", **ORDER)).code_url)
    assert (await pay.order.ensure_closed("order-0001")).paid


async def test_ensure_closed_waits_for_the_password(pay: PayClient, pay_sim: Simulator, buyer: Phone) -> None:
    """A payer at the password is waited for; here the payment then succeeds."""
    clock = VirtualTime(pay_sim.advance)
    buyer.pay((await pay.order.native("order-0001", **ORDER)).code_url, how="slow")
    api = OrderAPI(pay.gateway, sleep=clock.sleep, clock=clock)
    assert (await api.ensure_closed("order-0001")).paid
    assert 0 < clock.now <= 60


@pytest.mark.parametrize("effect", ["reset_before", "reset_after", "truncated", "empty", "status", "not_json"])
@pytest.mark.parametrize("path", [CLOSE_PATH, "/v3/pay/transactions/out-trade-no/order-0001", "/v3/pay/transactions/*"])
async def test_ensure_closed_survives_lost_answers(
    pay: PayClient, pay_sim: Simulator, merchant: Merchant, effect: Any, path: str
) -> None:
    """Whatever is lost, of the close or of the look, the order ends closed and is reported as such."""
    await pay.order.native("order-0001", **ORDER)
    pay_sim.fault(effect, path, first=6)
    clock = VirtualTime()
    api = OrderAPI(pay.gateway, sleep=clock.sleep, clock=clock)
    assert (await api.ensure_closed("order-0001")).trade_state is TradeState.CLOSED
    assert merchant.orders["order-0001"].state == "CLOSED"


async def test_ensure_closed_does_not_believe_at_once_that_there_is_no_order() -> None:
    """An order whose answer was lost may be on its way: the platform is asked for some seconds."""
    clock = VirtualTime()
    api = OrderAPI(FakeGateway(refused("ORDER_NOT_EXIST", status=404)), sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]
    with pytest.raises(PayAPIError) as caught:
        await api.ensure_closed("order-0001")
    assert caught.value.code == "ORDER_NOT_EXIST"
    assert 5 <= clock.now <= 10


async def test_ensure_closed_finds_an_order_that_arrives_late() -> None:
    """An order that is not there, and then is, is closed like any other."""
    clock = VirtualTime()
    missing = refused("ORDER_NOT_EXIST", status=404)
    gateway = FakeGateway(missing, missing, {}, {"trade_state": "CLOSED"})
    api = OrderAPI(gateway, sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]
    assert (await api.ensure_closed("order-0001")).trade_state is TradeState.CLOSED


@pytest.mark.parametrize("code", ["NO_AUTH", "SIGN_ERROR", "MCH_NOT_EXISTS", "INVALID_REQUEST", "RULE_LIMIT"])
async def test_ensure_closed_gives_up_where_nothing_can_change(code: str) -> None:
    """A refusal for good escapes at once when the order is still open."""
    clock = VirtualTime()
    gateway = FakeGateway(refused(code, "later" if code == "RULE_LIMIT" else "never"), {"trade_state": "NOTPAY"})
    api = OrderAPI(gateway, sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]
    with pytest.raises(PayAPIError) as caught:
        await api.ensure_closed("order-0001")
    assert caught.value.code == code
    assert clock.now == 0


async def test_ensure_closed_looks_before_it_believes_a_refusal() -> None:
    """The order decides: what is paid comes back paid, whatever the close was told."""
    gateway = FakeGateway(refused("TRADE_ERROR"), {"trade_state": "SUCCESS"})
    assert (await OrderAPI(gateway).ensure_closed("order-0001")).paid  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "obstacle",
    [refused("USERPAYING", "poll", 202), TransportError("gone"), ReplyError("half"), refused("X", "same", 500)],
)
async def test_ensure_closed_is_bounded(obstacle: Exception) -> None:
    """An order that never ends is given up in time, and the error keeps what was in the way."""
    clock = VirtualTime()
    api = OrderAPI(FakeGateway(obstacle), sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]
    with pytest.raises(TimedOutError, match="call again") as caught:
        await api.ensure_closed("order-0001", total_time=20)
    assert clock.now <= 20
    assert caught.value.__cause__ is obstacle
    assert caught.value.maybe_acted


# ---- code payments

SHOP = SceneInfo("203.0.113.7", None, StoreInfo("0001"))


async def test_a_code_payment_goes_out_as_documented() -> None:
    """Method, path, body; no address for notices, and never repeated."""
    api, gateway = fake({"trade_state": "SUCCESS", "transaction_id": "42"})
    found = await api.codepay("order-0001", auth_code="130061098828009406", scene_info=SHOP, **ORDER)
    assert gateway.last.line == "POST /v3/pay/transactions/codepay"
    assert gateway.last.endpoint.repeat == "no"
    assert gateway.last.body == {
        "appid": APPID,
        "mchid": MCHID,
        "description": "一杯咖啡",
        "out_trade_no": "order-0001",
        "amount": {"total": 100, "currency": "CNY"},
        "scene_info": {"payer_client_ip": "203.0.113.7", "store_info": {"id": "0001"}},
        "payer": {"auth_code": "130061098828009406"},
    }
    assert found.paid


async def test_a_payer_at_the_password_is_no_error() -> None:
    """USERPAYING is a state of the order: query until it settles."""
    api, _ = fake(refused("USERPAYING", "poll", 202))
    found = await api.codepay("order-0001", auth_code="130061098828009406", scene_info=SHOP, **ORDER)
    assert (found.trade_state, found.out_trade_no, found.settled) == (TradeState.USERPAYING, "order-0001", False)


async def test_another_refusal_of_a_code_payment_is_one() -> None:
    """An expired code is an error."""
    api, _ = fake(refused("AUTH_CODE_EXPIRE", status=403))
    with pytest.raises(PayAPIError) as caught:
        await api.codepay("order-0001", auth_code="130061098828009406", scene_info=SHOP, **ORDER)
    assert caught.value.code == "AUTH_CODE_EXPIRE"


async def test_a_code_payment_is_never_repeated(pay: PayClient, pay_sim: Simulator) -> None:
    """After a broken connection it went out once: nobody pays twice."""
    pay_sim.fault("reset_after", "/v3/pay/transactions/codepay")
    with pytest.raises(TransportError) as caught:
        await pay.order.codepay("order-0001", auth_code="130061098828009406", scene_info=SHOP, **ORDER)
    assert caught.value.maybe_acted
    assert pay_sim.calls("/v3/pay/transactions/codepay") == 1


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("auth_code", {"auth_code": "160061098828009406"}),
        ("auth_code", {"auth_code": "13006109882800940"}),
        ("auth_code", {"auth_code": "１30061098828009406"}),
        ("scene_info.store_info", {"scene_info": SceneInfo("203.0.113.7")}),
        ("notify_url", {"notify_url": "https://shop.example.com/pay"}),
    ],
)
async def test_a_code_payment_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """What the platform would refuse is found before anything is sent."""
    api, gateway = fake()
    arguments: dict[str, Any] = {"auth_code": "130061098828009406", "scene_info": SHOP, **ORDER, **changes}
    with pytest.raises(ConfigError) as caught:
        await api.codepay("order-0001", **arguments)
    assert caught.value.field == field
    assert gateway.asked == []


async def test_a_reversal_goes_out_as_documented() -> None:
    """Method, path and body of a reversal."""
    api, gateway = fake()
    await api.reverse("order|0001")
    assert gateway.last.line == "POST /v3/pay/transactions/out-trade-no/order%7C0001/reverse"
    assert gateway.last.body == {"appid": APPID, "mchid": MCHID}
    assert gateway.last.endpoint.repeat == "yes"
