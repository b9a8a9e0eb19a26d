"""Service providers: the same orders under other names; method, path, body, result of each call."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pay.recorded import APPID, MCHID, FakeGateway, VirtualTime
from wxmp.errors import ConfigError, PayAPIError, TimedOutError
from wxmp.pay.partner import PartnerAPI
from wxmp.pay.records import PayerIdentity, SceneInfo, StoreInfo, TradeState

PATH = "/v3/pay/partner/transactions"
SUB = "1900000109"
ORDER: dict[str, Any] = {"sub_mchid": SUB, "description": "茶", "total_fen": 100}
WIRED = {
    "sp_appid": APPID,
    "sp_mchid": MCHID,
    "sub_mchid": SUB,
    "description": "茶",
    "out_trade_no": "order-0001",
    "notify_url": "https://shop.example.com/pay",
    "amount": {"total": 100, "currency": "CNY"},
}


def fake(*answers: Any) -> tuple[PartnerAPI, FakeGateway]:
    gateway, clock = FakeGateway(*answers), VirtualTime()
    return PartnerAPI(gateway, sleep=clock.sleep, clock=clock), gateway  # type: ignore[arg-type]


async def test_a_page_gets_parameters_of_the_provider() -> None:
    """With an openid of the provider's AppID the page is signed for that AppID."""
    api, gateway = fake({"prepay_id": "wx01"})
    identity = PayerIdentity("IDCARD", "110")
    order = await api.jsapi(
        "order-0001", sp_openid="o1", identity=identity, subsidy_fen=5, profit_sharing=True, **ORDER
    )
    assert gateway.last.line == f"POST {PATH}/jsapi"
    assert gateway.last.endpoint.repeat == "by_key"
    assert gateway.last.body == {
        **WIRED,
        "settle_info": {"profit_sharing": True, "subsidy_amount": 5},
        "payer": {"sp_openid": "o1", "identity": {"type": "IDCARD", "number": "enc(110)"}},
    }
    assert order.params()["appId"] == APPID


async def test_a_page_gets_parameters_of_the_sub_merchant() -> None:
    """With an openid of the sub merchant's AppID the page is signed for that one."""
    api, gateway = fake({"prepay_id": "wx01"})
    order = await api.jsapi("order-0001", sub_openid="o2", sub_appid="wxsub", sp_appid="wxsp", **ORDER)
    assert gateway.last.body == {**WIRED, "sp_appid": "wxsp", "sub_appid": "wxsub", "payer": {"sub_openid": "o2"}}
    assert order.params()["appId"] == "wxsub"


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("sp_openid", {}),
        ("sp_openid", {"sp_openid": "o1", "sub_openid": "o2"}),
        ("sub_appid", {"sub_openid": "o2"}),
        ("sub_mchid", {"sp_openid": "o1", "sub_mchid": ""}),
        ("total_fen", {"sp_openid": "o1", "total_fen": 1.0}),
        ("subsidy_fen", {"sp_openid": "o1", "subsidy_fen": -1}),
        ("identity", {"sp_openid": "o1", "identity": "张三"}),
    ],
)
async def test_an_order_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """What the platform would refuse is found before anything is sent, and the error names the argument."""
    api, gateway = fake()
    with pytest.raises(ConfigError) as caught:
        await api.jsapi("order-0001", **{**ORDER, **changes})
    assert caught.value.field == field
    assert gateway.asked == []


async def test_the_other_ways_to_order_go_out_as_documented() -> None:
    """Native, H5 and APP: paths, bodies and what comes back."""
    api, gateway = fake({"code_url": "weixin://x"}, {"h5_url": "https://x"}, {"prepay_id": "wx01"})
    assert (await api.native("order-0001", **ORDER)).code_url == "weixin://x"
    assert (await api.h5("order-0001", client_ip="203.0.113.7", **ORDER)).h5_url == "https://x"
    app = await api.app("order-0001", sub_appid="wxsub", **ORDER)
    assert [asked.line for asked in gateway.asked] == [f"POST {PATH}/native", f"POST {PATH}/h5", f"POST {PATH}/app"]
    assert gateway.asked[0].body == WIRED
    assert gateway.asked[1].body == {
        **WIRED,
        "scene_info": {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}},
    }
    assert gateway.asked[2].body == {**WIRED, "sub_appid": "wxsub"}
    assert app.params() == {"appid": "wxsub", "prepayid": "wx01"}


async def test_a_code_payment_goes_out_as_documented() -> None:
    """No address for notices, never repeated, and a payer at the password is no error."""
    scene = SceneInfo("203.0.113.7", None, StoreInfo("0001"))
    waiting = PayAPIError(code="USERPAYING", message="输入密码中", status=202, verdict="poll")
    api, gateway = fake({"trade_state": "SUCCESS", "payer": {"sp_openid": "o1"}}, waiting)
    terms = {"auth_code": "130061098828009406", "scene_info": scene, "sub_appid": "wxsub", **ORDER}
    found = await api.codepay("order-0001", **terms)
    assert gateway.last.line == f"POST {PATH}/codepay"
    assert gateway.last.endpoint.repeat == "no"
    body = {name: value for name, value in WIRED.items() if name != "notify_url"}
    assert gateway.last.body == {
        **body,
        "sub_appid": "wxsub",
        "scene_info": {"payer_client_ip": "203.0.113.7", "store_info": {"id": "0001"}},
        "payer": {"auth_code": "130061098828009406"},
    }
    assert (found.paid, found.payer.sp_openid) == (True, "o1")
    still = await api.codepay("order-0001", **terms)
    assert (still.trade_state, still.sub_mchid, still.sub_appid) == (TradeState.USERPAYING, SUB, "wxsub")


async def test_a_reversal_goes_out_as_documented() -> None:
    """Method, path and body of a reversal."""
    api, gateway = fake()
    await api.reverse("order-0001", sub_mchid=SUB, sub_appid="wxsub")
    assert gateway.last.line == f"POST {PATH}/out-trade-no/order-0001/reverse"
    assert gateway.last.body == {"sp_appid": APPID, "sp_mchid": MCHID, "sub_mchid": SUB, "sub_appid": "wxsub"}


async def test_an_order_is_looked_at_and_closed() -> None:
    """Both numbers lead to the order, and every call names both merchants."""
    reply = {"sp_mchid": MCHID, "sub_mchid": SUB, "trade_state": "SUCCESS", "amount": {"total": 100}, "new": 1}
    api, gateway = fake(reply)
    found = await api.get(sub_mchid=SUB, out_trade_no="order|0001")
    await api.get(sub_mchid=SUB, transaction_id="42")
    await api.close("order-0001", sub_mchid=SUB)
    query = f"?sp_mchid={MCHID}&sub_mchid={SUB}"
    assert [asked.line for asked in gateway.asked] == [
        f"GET {PATH}/out-trade-no/order%7C0001{query}",
        f"GET {PATH}/id/42{query}",
        f"POST {PATH}/out-trade-no/order-0001/close",
    ]
    assert gateway.last.body == {"sp_mchid": MCHID, "sub_mchid": SUB}
    assert (found.paid, found.settled, found.amount.total_fen, found.extra) == (True, True, 100, {"new": 1})


async def test_ensure_closed_ends_in_a_final_state() -> None:
    """A payer at the password is waited for, and a payment is found."""
    paying = PayAPIError(code="USERPAYING", message="", status=202, verdict="poll")
    api, _ = fake(paying, {"trade_state": "USERPAYING"}, paying, {"trade_state": "SUCCESS"})
    assert (await api.ensure_closed("order-0001", sub_mchid=SUB)).paid
    api, _ = fake({"trade_state": "NOTPAY"})
    with pytest.raises(TimedOutError, match="NOTPAY"):
        await api.ensure_closed("order-0001", sub_mchid=SUB, total_time=10)
