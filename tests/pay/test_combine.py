"""Combined orders: method, path, body, result of each call."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from tests.pay.recorded import APPID, MCHID, FakeGateway
from wxmp.errors import ConfigError, PayAPIError
from wxmp.pay.combine import CombineAPI, CombinedOrder, CombineScene, CombineSubOrder
from wxmp.pay.records import H5Info, TradeState

PATH = "/v3/combine-transactions"
BEIJING = timezone(timedelta(hours=8))
ONE = CombineSubOrder("1900000109", "sub-0001", "茶", 10, "table 5")
TWO = CombineSubOrder(
    "1900000209",
    "sub-0002",
    "杯",
    20,
    "table 5",
    detail="两只",
    goods_tag="WXG",
    profit_sharing=True,
    subsidy_amount_fen=0,
    sub_mchid="1900000309",
    sub_appid="wxsub",
)
WIRED_ONE = {
    "mchid": "1900000109",
    "out_trade_no": "sub-0001",
    "attach": "table 5",
    "amount": {"total_amount": 10, "currency": "CNY"},
    "description": "茶",
}
WIRED = {
    "combine_appid": APPID,
    "combine_mchid": MCHID,
    "combine_out_trade_no": "whole-0001",
    "sub_orders": [
        WIRED_ONE,
        {
            "mchid": "1900000209",
            "out_trade_no": "sub-0002",
            "sub_mchid": "1900000309",
            "sub_appid": "wxsub",
            "attach": "table 5",
            "amount": {"total_amount": 20, "currency": "CNY"},
            "description": "杯",
            "detail": "两只",
            "goods_tag": "WXG",
            "settle_info": {"profit_sharing": True, "subsidy_amount": 0},
        },
    ],
    "notify_url": "https://shop.example.com/pay",
}


def fake(*answers: Any) -> tuple[CombineAPI, FakeGateway]:
    gateway = FakeGateway(*answers)
    return CombineAPI(gateway), gateway  # type: ignore[arg-type]


async def test_a_page_gets_its_parameters() -> None:
    """The JSAPI order goes out as documented and ends in parameters for the page."""
    api, gateway = fake({"prepay_id": "wx01"})
    order = await api.jsapi("whole-0001", sub_orders=[ONE, TWO], openid="o1", sub_openid="o2")
    assert gateway.last.line == f"POST {PATH}/jsapi"
    assert gateway.last.endpoint.repeat == "by_key"
    assert gateway.last.body == {**WIRED, "combine_payer_info": {"openid": "o1", "sub_openid": "o2"}}
    assert order.params()["package"] == "prepay_id=wx01"


async def test_a_native_order_says_everything() -> None:
    """Scene, times and limits go out as documented."""
    api, gateway = fake({"code_url": "weixin://x"})
    start = datetime(2026, 11, 21, 10, 0, tzinfo=BEIJING)
    order = await api.native(
        "whole-0001",
        sub_orders=(ONE, TWO),
        scene_info=CombineScene("203.0.113.7", "pos1"),
        time_start=start,
        time_expire=start + timedelta(hours=1),
        limit_pay=["no_credit"],
        notify_url="https://shop.example.com/other",
    )
    assert gateway.last.line == f"POST {PATH}/native"
    assert gateway.last.body == {
        **WIRED,
        "scene_info": {"payer_client_ip": "203.0.113.7", "device_id": "pos1"},
        "time_start": "2026-11-21T10:00:00+08:00",
        "time_expire": "2026-11-21T11:00:00+08:00",
        "limit_pay": ["no_credit"],
        "notify_url": "https://shop.example.com/other",
    }
    assert order.code_url == "weixin://x"


async def test_an_h5_order_names_the_payers_address() -> None:
    """The scene holds the payer's address and what kind of page it is."""
    api, gateway = fake({"h5_url": "https://wx.tenpay.com/x"})
    await api.h5("whole-0001", sub_orders=[ONE, TWO], client_ip="203.0.113.7", h5_type=H5Info("iOS", "店"))
    assert gateway.last.line == f"POST {PATH}/h5"
    assert gateway.last.body["scene_info"] == {
        "payer_client_ip": "203.0.113.7",
        "h5_info": {"type": "iOS", "app_name": "店"},
    }
    with pytest.raises(ConfigError, match="one address"):
        await api.h5(
            "whole-0001", sub_orders=[ONE, TWO], client_ip="203.0.113.8", scene_info=CombineScene("203.0.113.7")
        )


async def test_an_app_gets_its_parameters() -> None:
    """The APP order goes out as documented and ends in parameters for the app."""
    api, gateway = fake({"prepay_id": "wx01"})
    order = await api.app("whole-0001", sub_orders=[ONE, TWO], openid="o1", combine_appid="wxapp")
    assert gateway.last.line == f"POST {PATH}/app"
    assert gateway.last.body == {**WIRED, "combine_appid": "wxapp", "combine_payer_info": {"openid": "o1"}}
    assert order.params() == {"appid": "wxapp", "prepayid": "wx01"}


async def test_a_combined_order_is_looked_at() -> None:
    """Every order in it has its own state; it is paid when all are."""
    sub = {"mchid": "1", "out_trade_no": "sub-0001", "trade_state": "SUCCESS", "transaction_id": "42", "new": 1}
    sub |= {"amount": {"total_amount": 10, "payer_amount": 8}, "success_time": "2026-11-21T10:34:56+08:00"}
    reply = {"combine_out_trade_no": "whole|0001", "combine_payer_info": {"openid": "o1"}, "sub_orders": [sub, sub]}
    api, gateway = fake(reply)
    found = await api.get("whole|0001")
    assert gateway.last.line == f"GET {PATH}/out-trade-no/whole%7C0001"
    assert found.paid
    first = found.sub_orders[0]
    assert (first.trade_state, first.amount.total_amount_fen, first.amount.payer_amount_fen) == (
        TradeState.SUCCESS,
        10,
        8,
    )
    assert first.extra == {"new": 1}
    assert "o1" not in repr(found)
    assert not attrs.evolve(found, sub_orders=(first, attrs.evolve(first, trade_state="NOTPAY"))).paid
    assert not CombinedOrder().paid


async def test_a_combined_order_is_closed_by_its_parts() -> None:
    """The orders are named as they were placed, or as a query shows them."""
    api, gateway = fake({"sub_orders": [{"mchid": "1900000109", "out_trade_no": "sub-0001"}]})
    found = await api.get("whole-0001")
    await api.close("whole-0001", sub_orders=[*found.sub_orders, TWO])
    assert gateway.last.line == f"POST {PATH}/out-trade-no/whole-0001/close"
    assert gateway.last.body == {
        "combine_appid": APPID,
        "sub_orders": [
            {"mchid": "1900000109", "out_trade_no": "sub-0001"},
            {
                "mchid": "1900000209",
                "out_trade_no": "sub-0002",
                "sub_mchid": "1900000309",
                "sub_appid": "wxsub",
            },
        ],
    }


async def test_an_error_of_the_platform_escapes() -> None:
    """ORDER_PAID says to deliver."""
    api, _ = fake(PayAPIError(code="ORDER_PAID", status=400))
    with pytest.raises(PayAPIError) as caught:
        await api.close("whole-0001", sub_orders=[ONE, TWO])
    assert caught.value.code == "ORDER_PAID"


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("combine_out_trade_no", {"combine_out_trade_no": "a/b"}),
        ("sub_orders", {"sub_orders": [ONE]}),
        ("sub_orders", {"sub_orders": [ONE] * 11}),
        ("sub_orders", {"sub_orders": [TWO] * 51}),
        ("sub_orders", {"sub_orders": ONE}),
        ("sub_orders[1]", {"sub_orders": [ONE, {"mchid": "1"}]}),
        ("sub_orders[1].total_fen", {"sub_orders": [ONE, attrs.evolve(ONE, total_fen=1.0)]}),
        ("sub_orders[1].attach", {"sub_orders": [ONE, attrs.evolve(ONE, attach="")]}),
        ("sub_orders[0].subsidy_amount_fen", {"sub_orders": [attrs.evolve(ONE, subsidy_amount_fen=-1), ONE]}),
        ("scene_info", {"scene_info": "203.0.113.7"}),
        ("scene_info.device_id", {"scene_info": CombineScene("203.0.113.7", "x" * 17)}),
        ("time_start", {"time_start": datetime(2026, 1, 1)}),  # noqa: DTZ001
        ("notify_url", {"notify_url": "http://shop.example.com"}),
        ("limit_pay", {"limit_pay": ["x"]}),
    ],
)
async def test_an_order_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """What the platform would refuse is found before anything is sent, and the error names the argument."""
    api, gateway = fake()
    arguments = {"combine_out_trade_no": "whole-0001", "sub_orders": [ONE, TWO], **changes}
    with pytest.raises(ConfigError) as caught:
        await api.native(arguments.pop("combine_out_trade_no"), **arguments)
    assert caught.value.field == field
    assert gateway.asked == []


async def test_an_unknown_argument_is_a_type_error() -> None:
    """A misspelt option does not disappear."""
    api, _ = fake()
    with pytest.raises(TypeError, match="expire"):
        await api.native("whole-0001", sub_orders=[ONE, TWO], expire=1)  # type: ignore[call-arg]


async def test_a_close_needs_the_orders() -> None:
    """The platform wants exactly the orders of the whole."""
    api, _ = fake()
    with pytest.raises(ConfigError, match="exactly the orders"):
        await api.close("whole-0001", sub_orders=[])
