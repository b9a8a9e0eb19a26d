"""Whatever a merchant sends under a good signature, the gateway answers: no request may break the simulator."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.simulator.pay.merchant import flat
from wxmp.simulator import Policy

HOSTILE: list[Any] = [
    *(None, True, 0, -1, 2**70, -(2**70), 1.5, "", "x", "\x00", "\ud800", "9" * 30, "²", "http://[", "字" * 3000, "🔨"),
    *([], {}, [[]], [{}], [None], {"x": []}, {"value": {}}, [1], ["x", 1]),
]
ORDER = {
    "appid": "<appid>",
    "mchid": "<mchid>",
    "description": "d",
    "out_trade_no": "order-0001",
    "time_expire": "2026-01-02T12:00:00+08:00",
    "attach": "a",
    "notify_url": "http://localhost/x",
    "goods_tag": "g",
    "limit_pay": ["no_credit"],
    "support_fapiao": True,
    "amount": {"total": 1, "currency": "CNY"},
    "payer": {"openid": "<user>", "identity": {"type": "IDCARD", "number": "n", "name": "n"}},
    "detail": {"cost_price": 1, "goods_detail": [{"merchant_goods_id": "a", "quantity": 1, "unit_price": 1}]},
    "scene_info": {"payer_client_ip": "::1", "store_info": {"id": "1"}, "h5_info": {"type": "Wap"}},
    "settle_info": {"profit_sharing": False},
    "subsidy_info": {"subsidy_detail": []},
}
REFUND = {
    "transaction_id": "1",
    "out_trade_no": "order-0001",
    "out_refund_no": "r",
    "reason": "r",
    "notify_url": "http://localhost/x",
    "amount": {"refund": 1, "total": 1, "currency": "CNY", "from": [{"account": "AVAILABLE", "amount": 1}]},
    "goods_detail": [{"merchant_goods_id": "a", "unit_price": 1, "refund_amount": 1, "refund_quantity": 1}],
}
TRANSFER = {
    "appid": "<appid>",
    "out_bill_no": "b",
    "transfer_scene_id": "1000",
    "openid": "<user>",
    "user_name": "n",
    "transfer_amount": 100,
    "transfer_remark": "r",
    "notify_url": "http://localhost/x",
    "transfer_scene_report_infos": [{"info_type": "t", "info_content": "c"}],
    "user_recv_style": {"type": "CONFIRM_PAGE"},
}
ABNORMAL = {"out_refund_no": "r", "type": "USER_BANK_CARD", "bank_type": "b", "bank_account": "a", "real_name": "n"}
BODIES: dict[str, dict[str, Any]] = {
    **{f"/v3/pay/transactions/{kind}": ORDER for kind in ("jsapi", "native", "h5", "app")},
    "/v3/pay/transactions/out-trade-no/order-0001/close": {"mchid": "<mchid>"},
    "/v3/refund/domestic/refunds": REFUND,
    "/v3/refund/domestic/refunds/1/apply-abnormal-refund": ABNORMAL,
    "/v3/fund-app/mch-transfer/transfer-bills": TRANSFER,
    "/v3/fund-app/mch-transfer/transfer-bills/out-bill-no/b/cancel": {"x": 1},
}
V2_FIELDS = {
    "/pay/unifiedorder": ["body", "out_trade_no", "total_fee", "notify_url", "trade_type", "time_expire", "openid"],
    "/pay/orderquery": ["transaction_id", "out_trade_no"],
    "/pay/closeorder": ["out_trade_no"],
    "/secapi/pay/refund": ["transaction_id", "out_refund_no", "total_fee", "refund_fee", "refund_account"],
    "/pay/refundquery": ["refund_id", "out_refund_no", "offset", "transaction_id"],
    "/pay/downloadbill": ["bill_date", "bill_type", "tar_type"],
}
ALLOWED = {200, 204, 400, 403, 404, 429, 500}


def filled(value: Any, names: dict[str, str]) -> Any:
    """Put the real numbers in."""
    if isinstance(value, dict):
        return {key: filled(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def spoilt(value: Any) -> Any:
    """Return every copy of a body in which one value is hostile."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in parts:
        for hostile in HOSTILE:
            changed = copy.copy(value)
            changed[key] = hostile
            yield changed
        if isinstance(item, dict | list):
            for inner in spoilt(item):
                changed = copy.copy(value)
                changed[key] = inner
                yield changed


@pytest.mark.parametrize("path", BODIES)
def test_every_member_may_be_hostile(path, shop, buyer):
    """Each value of each body is replaced by each hostile one: the answer is well-formed, signed or a refusal."""
    # Members of another way to pay are read past, so that the rest is looked at.
    shop.world.policy = Policy(pay_unknown_members="ignore", pay_refund_gap=0.0)
    names = {"<appid>": shop.appid, "<mchid>": shop.mchid, "<user>": buyer.openid}
    statuses: set[int] = set()
    merchant = shop.world.state.pay.merchants[shop.mchid]
    for body in spoilt(filled(BODIES[path], names)):
        # Each is the first of its number.
        merchant.orders.clear()
        merchant.transfers.clear()
        reply = shop.send("POST", path, body)
        statuses.add(reply.status)
        assert reply.status in ALLOWED, (body, reply.why)
        found = json.loads(reply.body) if reply.body else {}
        if reply.status == 500:
            assert found["code"] in {"OPENID_MISMATCH", "INVALID_TRANSACTIONID"}, reply.why
    assert (200 in statuses) == (BODIES[path] in (ORDER, TRANSFER))


@pytest.mark.parametrize("path", V2_FIELDS)
def test_every_field_may_be_hostile(path, shop, buyer):
    """The same for v2: XML comes back whatever a field holds."""
    good = shop.v2_order(buyer.openid) if path == "/pay/unifiedorder" else {"out_trade_no": "v2order01"}
    for name in V2_FIELDS[path]:
        for value in ("", "0", "-1", "1.5", "9" * 30, "²", "x", "http://[", "字" * 3000, "🔨", "20260230", "&lt;"):
            assert flat(shop.v2_raw(path, good | {name: value}).body)["return_code"] in {"SUCCESS", "FAIL"}


@pytest.mark.parametrize("number", ["x" * 5000, "²", "%00", "a%2Fb", "..", "🔨"])
def test_numbers_in_paths_may_be_hostile(number, shop):
    """A number in a path can be anything and is then not found."""
    for path in (
        f"/v3/pay/transactions/out-trade-no/{number}?mchid={shop.mchid}",
        f"/v3/pay/transactions/id/{number}?mchid={shop.mchid}",
        f"/v3/refund/domestic/refunds/{number}",
        f"/v3/fund-app/mch-transfer/transfer-bills/out-bill-no/{number}",
    ):
        assert shop.send("GET", path).status in {401, 404, 500}
