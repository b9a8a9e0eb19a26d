"""Every call of WeChat Pay against a list of its own: method, path, what is sent, when it is repeated, what is read.

The list here is short and was written apart from the code, so that a slip in either is seen. Where the reference of the
project is at hand (``WXMP_REFERENCE`` names its folder), the list itself is compared with it, too.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import yaml

import wxmp
from tests.pay.notices import APPID, COMBINED, PARTNER, REFUND, SHOP, TRANSACTION, TRANSFER
from tests.pay.recorded import MCHID, FakeGateway
from wxmp.errors import ConfigError, PayAPIError, PayMismatchError
from wxmp.pay import notify_records
from wxmp.pay._certificates import CertificateAPI
from wxmp.pay._gateway import CERTIFICATES, PayEndpoint
from wxmp.pay._v2_sign import read_message
from wxmp.pay.bills import BillAPI
from wxmp.pay.combine import CombineAPI, CombinedOrder, CombineSubOrder
from wxmp.pay.orders import OrderAPI
from wxmp.pay.partner import PartnerAPI
from wxmp.pay.records import (
    BillLink,
    PartnerTransaction,
    PayerIdentity,
    Refund,
    SceneInfo,
    StoreInfo,
    Transaction,
    TransferBill,
)
from wxmp.pay.refunds import RefundAPI
from wxmp.pay.sharing import SharingAPI, SharingReceiver
from wxmp.pay.transfers import AuthorizationInfo, TransferAPI, TransferReport
from wxmp.pay.v2 import PayV2Client, V2Transaction, _failure

if TYPE_CHECKING:
    from wxmp.pay import PayClient
    from wxmp.pay._v2_line import V2Endpoint
    from wxmp.simulator import Simulator

FOLDER = Path(os.environ.get("WXMP_REFERENCE", Path(wxmp.__file__).parents[2] / "shared" / "reference"))
FILE = FOLDER / "pay.yaml"
REFERENCE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
with_reference = pytest.mark.skipif(not REFERENCE, reason="no pay.yaml: set WXMP_REFERENCE to its folder")

# ---- the numbers and arguments of all calls

NO = {
    "out_trade_no": "order-0001",
    "combine_out_trade_no": "whole-0001",
    "transaction_id": "4200000000202611210000000001",
    "out_refund_no": "refund-1",
    "refund_id": "50000000000000001",
    "out_bill_no": "bill1",
    "transfer_bill_no": "1330000000001",
    "out_authorization_no": "agreed-1",
    "out_order_no": "share-1",
    "out_return_no": "return-1",
    "sub_mchid": "1900000109",
    "token": "t",
}
ORDER: dict[str, Any] = {"description": "茶", "total_fen": 1}
SHOP_SCENE = SceneInfo("203.0.113.7", None, StoreInfo("0001"))
CODE: dict[str, Any] = {**ORDER, "auth_code": "130000000000000000", "scene_info": SHOP_SCENE}
SUB: dict[str, Any] = {"sub_mchid": NO["sub_mchid"]}
PARTS = [CombineSubOrder("1900000109", f"part-000{index}", "茶", 1, "a") for index in (1, 2)]
PAYEE: dict[str, Any] = {
    "transfer_amount_fen": 500,
    "transfer_remark": "奖",
    "transfer_scene_id": "1000",
    "report_infos": [TransferReport("活动名称", "新会员")],
}
SHARE = SharingReceiver("MERCHANT_ID", "1900000109", 1, "分")
LINK = "https://api.mch.weixin.qq.com/v3/billdownload/file?token=t"
EMPTY_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"


@attrs.frozen
class Families:
    """All families over one gateway."""

    gateway: FakeGateway

    def __getattr__(self, name: str) -> Any:
        classes = {
            "order": OrderAPI,
            "refund": RefundAPI,
            "bill": BillAPI,
            "transfer": TransferAPI,
            "combine": CombineAPI,
            "sharing": SharingAPI,
            "partner": PartnerAPI,
        }
        return classes[name](self.gateway)


@attrs.frozen
class Row:
    """One call: what it is in the list, what a call without options sends, and how to make it."""

    name: str
    line: str
    repeat: str
    sent: str
    make: Callable[[Families], Awaitable[Any]]
    encrypted: bool = False

    @property
    def names(self) -> set[str]:
        return set(self.sent.split())


OWN = "appid mchid"
BASE = "description out_trade_no notify_url amount.total amount.currency"
SP = "sp_appid sp_mchid sub_mchid"
CODED = "description out_trade_no amount.total amount.currency payer.auth_code scene_info.payer_client_ip "
CODED += "scene_info.store_info.id"
H5 = "scene_info.payer_client_ip scene_info.h5_info.type"
PART = ("mchid", "attach", "amount.total_amount", "amount.currency", "out_trade_no", "description")
WHOLE = "combine_appid combine_mchid combine_out_trade_no notify_url "
WHOLE += " ".join(f"sub_orders[].{name}" for name in PART)
BILL_SENT = (
    "out_bill_no transfer_scene_id transfer_amount transfer_remark appid "
    "transfer_scene_report_infos[].info_type transfer_scene_report_infos[].info_content"
)
V3 = "/v3/pay/transactions"
PV3 = "/v3/pay/partner/transactions"
BILLS = "/v3/fund-app/mch-transfer/transfer-bills"
SIGNED = "/v3/fund-app/mch-transfer/elecsign"
AGREED = "/v3/fund-app/mch-transfer/user-confirm-authorization"
SHARES = "/v3/profitsharing"
WHOLES = "/v3/combine-transactions"
REFUNDS = "/v3/refund/domestic/refunds"
T, P, R = NO["transaction_id"], NO["out_trade_no"], NO["out_refund_no"]
W, B, A, S, X = NO["combine_out_trade_no"], NO["out_bill_no"], NO["out_authorization_no"], "share-1", "return-1"
N = NO["transfer_bill_no"]

ROWS = [
    # orders
    Row("pay.jsapi", f"POST {V3}/jsapi", "by_key", f"{OWN} {BASE} payer.openid",
        lambda api: api.order.jsapi(P, openid="o1", **ORDER), True),
    Row("pay.native", f"POST {V3}/native", "by_key", f"{OWN} {BASE}", lambda api: api.order.native(P, **ORDER)),
    Row("pay.h5", f"POST {V3}/h5", "by_key", f"{OWN} {BASE} {H5}",
        lambda api: api.order.h5(P, client_ip="203.0.113.7", **ORDER)),
    Row("pay.app", f"POST {V3}/app", "by_key", f"{OWN} {BASE}", lambda api: api.order.app(P, **ORDER)),
    Row("pay.codepay", f"POST {V3}/codepay", "no", f"{OWN} {CODED}", lambda api: api.order.codepay(P, **CODE)),
    Row("pay.reverse", f"POST {V3}/out-trade-no/{{out_trade_no}}/reverse", "yes", OWN,
        lambda api: api.order.reverse(P)),
    Row("order.query_by_transaction_id", f"GET {V3}/id/{{transaction_id}}", "yes", "mchid",
        lambda api: api.order.get(transaction_id=T)),
    Row("order.query_by_out_trade_no", f"GET {V3}/out-trade-no/{{out_trade_no}}", "yes", "mchid",
        lambda api: api.order.get(out_trade_no=P)),
    Row("order.close", f"POST {V3}/out-trade-no/{{out_trade_no}}/close", "yes", "mchid",
        lambda api: api.order.close(P)),
    # refunds
    Row("refund.create", f"POST {REFUNDS}", "by_key",
        "transaction_id out_refund_no amount.refund amount.total amount.currency",
        lambda api: api.refund.create(R, transaction_id=T, refund_fen=1, total_fen=1)),
    Row("refund.query", f"GET {REFUNDS}/{{out_refund_no}}", "yes", "", lambda api: api.refund.get(R)),
    Row("refund.apply_abnormal", f"POST {REFUNDS}/{{refund_id}}/apply-abnormal-refund", "by_key",
        "out_refund_no type bank_type bank_account real_name",
        lambda api: api.refund.apply_abnormal(NO["refund_id"], out_refund_no=R, type="USER_BANK_CARD",
                                              bank_type="ICBC_DEBIT", bank_account="6222", real_name="张三"), True),
    # bills
    Row("bill.trade", "GET /v3/bill/tradebill", "yes", "bill_date bill_type", lambda api: api.bill.trade("2026-11-20")),
    Row("bill.fund_flow", "GET /v3/bill/fundflowbill", "yes", "bill_date account_type",
        lambda api: api.bill.fund_flow("2026-11-20")),
    Row("bill.download", "GET /v3/billdownload/file", "yes", "token",
        lambda api: api.bill.download(BillLink(LINK, EMPTY_SHA1))),
    Row("bill.sub_merchant_fund_flow", "GET /v3/bill/sub-merchant-fundflowbill", "yes",
        "sub_mchid bill_date account_type algorithm",
        lambda api: api.bill.sub_merchant_fund_flow("2026-11-20", **SUB)),
    # transfers
    Row("transfer.create", f"POST {BILLS}", "by_key", f"{BILL_SENT} openid",
        lambda api: api.transfer.create(B, openid="o1", **PAYEE), True),
    Row("transfer.query_by_out_bill_no", f"GET {BILLS}/out-bill-no/{{out_bill_no}}", "yes", "",
        lambda api: api.transfer.get(out_bill_no=B)),
    Row("transfer.query_by_transfer_bill_no", f"GET {BILLS}/transfer-bill-no/{{transfer_bill_no}}", "yes", "",
        lambda api: api.transfer.get(transfer_bill_no=N)),
    Row("transfer.cancel", f"POST {BILLS}/out-bill-no/{{out_bill_no}}/cancel", "yes", "",
        lambda api: api.transfer.cancel(B)),
    Row("transfer.receipt_apply_by_out_bill_no", f"POST {SIGNED}/out-bill-no", "yes", "out_bill_no",
        lambda api: api.transfer.apply_receipt(out_bill_no=B)),
    Row("transfer.receipt_apply_by_transfer_bill_no", f"POST {SIGNED}/transfer-bill-no", "yes", "transfer_bill_no",
        lambda api: api.transfer.apply_receipt(transfer_bill_no=N)),
    Row("transfer.receipt_query_by_out_bill_no", f"GET {SIGNED}/out-bill-no/{{out_bill_no}}", "yes", "",
        lambda api: api.transfer.get_receipt(out_bill_no=B)),
    Row("transfer.receipt_query_by_transfer_bill_no", f"GET {SIGNED}/transfer-bill-no/{{transfer_bill_no}}", "yes", "",
        lambda api: api.transfer.get_receipt(transfer_bill_no=N)),
    Row("transfer.create_with_authorization", f"POST {BILLS}/transfer", "by_key", f"{BILL_SENT} authorization_id",
        lambda api: api.transfer.create_authorized(B, authorization_id="7", **PAYEE), True),
    Row("transfer.create_and_authorize", f"POST {BILLS}/pre-transfer-with-authorization", "by_key",
        f"{BILL_SENT} openid authorization_info.user_display_name authorization_info.out_authorization_no "
        "authorization_info.authorization_notify_url",
        lambda api: api.transfer.create_and_authorize(
            B, openid="o1", authorization_info=AuthorizationInfo("a", A, "https://shop.example.com/a"), **PAYEE), True),
    Row("transfer.authorization_create", f"POST {AGREED}", "by_key",
        "out_authorization_no appid openid transfer_scene_id user_display_name authorization_notify_url",
        lambda api: api.transfer.authorize(A, openid="o1", transfer_scene_id="1000", user_display_name="a",
                                           authorization_notify_url="https://shop.example.com/a")),
    Row("transfer.authorization_query", f"GET {AGREED}/out-authorization-no/{{out_authorization_no}}", "yes", "",
        lambda api: api.transfer.get_authorization(A)),
    Row("transfer.authorization_close", f"POST {AGREED}/out-authorization-no/{{out_authorization_no}}/close", "yes", "",
        lambda api: api.transfer.close_authorization(A)),
    # sharing
    Row("sharing.create", f"POST {SHARES}/orders", "by_key",
        "appid transaction_id out_order_no unfreeze_unsplit receivers[].type receivers[].account receivers[].amount "
        "receivers[].description",
        lambda api: api.sharing.create(S, transaction_id=T, receivers=[SHARE], unfreeze_unsplit=False), True),
    Row("sharing.query", f"GET {SHARES}/orders/{{out_order_no}}", "yes", "transaction_id",
        lambda api: api.sharing.get(S, transaction_id=T)),
    Row("sharing.unfreeze", f"POST {SHARES}/orders/unfreeze", "by_key", "transaction_id out_order_no description",
        lambda api: api.sharing.unfreeze(S, transaction_id=T, description="完")),
    Row("sharing.return_create", f"POST {SHARES}/return-orders", "by_key",
        "order_id out_return_no return_mchid amount description",
        lambda api: api.sharing.create_return(X, order_id="3", return_mchid="19", amount_fen=1, description="退")),
    Row("sharing.return_query", f"GET {SHARES}/return-orders/{{out_return_no}}", "yes", "out_order_no",
        lambda api: api.sharing.get_return(X, out_order_no=S)),
    Row("sharing.remaining", f"GET {SHARES}/transactions/{{transaction_id}}/amounts", "yes", "",
        lambda api: api.sharing.remaining(T)),
    Row("sharing.receiver_add", f"POST {SHARES}/receivers/add", "yes", "appid type account name relation_type",
        lambda api: api.sharing.add_receiver("19", type="MERCHANT_ID", relation_type="STORE", name="店"), True),
    Row("sharing.receiver_delete", f"POST {SHARES}/receivers/delete", "yes", "appid type account",
        lambda api: api.sharing.delete_receiver("19", type="MERCHANT_ID")),
    Row("sharing.bill", f"GET {SHARES}/bills", "yes", "bill_date", lambda api: api.sharing.bill("2026-11-20")),
    Row("sharing.merchant_config", f"GET {SHARES}/merchant-configs/{{sub_mchid}}", "yes", "",
        lambda api: api.sharing.merchant_config(NO["sub_mchid"])),
    # combined orders
    Row("combine.jsapi", f"POST {WHOLES}/jsapi", "by_key", f"{WHOLE} combine_payer_info.openid",
        lambda api: api.combine.jsapi(W, sub_orders=PARTS, openid="o1")),
    Row("combine.native", f"POST {WHOLES}/native", "by_key", WHOLE,
        lambda api: api.combine.native(W, sub_orders=PARTS)),
    Row("combine.h5", f"POST {WHOLES}/h5", "by_key", f"{WHOLE} {H5}",
        lambda api: api.combine.h5(W, sub_orders=PARTS, client_ip="203.0.113.7")),
    Row("combine.app", f"POST {WHOLES}/app", "by_key", WHOLE, lambda api: api.combine.app(W, sub_orders=PARTS)),
    Row("combine.query", f"GET {WHOLES}/out-trade-no/{{combine_out_trade_no}}", "yes", "",
        lambda api: api.combine.get(W)),
    Row("combine.close", f"POST {WHOLES}/out-trade-no/{{combine_out_trade_no}}/close", "yes",
        "combine_appid sub_orders[].mchid sub_orders[].out_trade_no",
        lambda api: api.combine.close(W, sub_orders=PARTS)),
    # service providers
    Row("partner.jsapi", f"POST {PV3}/jsapi", "by_key", f"{SP} {BASE} payer.sp_openid",
        lambda api: api.partner.jsapi(P, sp_openid="o1", **ORDER, **SUB), True),
    Row("partner.native", f"POST {PV3}/native", "by_key", f"{SP} {BASE}",
        lambda api: api.partner.native(P, **ORDER, **SUB)),
    Row("partner.h5", f"POST {PV3}/h5", "by_key", f"{SP} {BASE} {H5}",
        lambda api: api.partner.h5(P, client_ip="203.0.113.7", **ORDER, **SUB)),
    Row("partner.app", f"POST {PV3}/app", "by_key", f"{SP} {BASE}", lambda api: api.partner.app(P, **ORDER, **SUB)),
    Row("partner.codepay", f"POST {PV3}/codepay", "no", f"{SP} {CODED}",
        lambda api: api.partner.codepay(P, **CODE, **SUB)),
    Row("partner.reverse", f"POST {PV3}/out-trade-no/{{out_trade_no}}/reverse", "yes", SP,
        lambda api: api.partner.reverse(P, **SUB)),
    Row("partner.query_by_transaction_id", f"GET {PV3}/id/{{transaction_id}}", "yes", "sp_mchid sub_mchid",
        lambda api: api.partner.get(transaction_id=T, **SUB)),
    Row("partner.query_by_out_trade_no", f"GET {PV3}/out-trade-no/{{out_trade_no}}", "yes", "sp_mchid sub_mchid",
        lambda api: api.partner.get(out_trade_no=P, **SUB)),
    Row("partner.close", f"POST {PV3}/out-trade-no/{{out_trade_no}}/close", "yes", "sp_mchid sub_mchid",
        lambda api: api.partner.close(P, **SUB)),
]  # fmt: skip
BY_NAME = {row.name: row for row in ROWS}
#: What serves every answer: whatever a call must find in one, and numbers that are those asked for.
ANSWER: dict[str, Any] = {
    **{name: value for name, value in NO.items() if name != "token"},
    "prepay_id": "wx01",
    "code_url": "weixin://x",
    "h5_url": "https://wx.tenpay.com/x",
    "download_url": LINK,
    "hash_value": EMPTY_SHA1,
    "download_bill_count": 0,
    "unsplit_amount": 1,
    "max_ratio": 1,
}


def paths(value: Any, place: str = "") -> Iterator[str]:
    """The dotted names of all values."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from paths(item, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for item in value:
            yield from paths(item, f"{place}[]")
    else:
        yield place


async def made(row: Row, answer: Any = None) -> tuple[FakeGateway, Any]:
    gateway = FakeGateway(ANSWER if answer is None else answer)
    return gateway, await row.make(Families(gateway))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_call_without_options_is_the_one_of_the_list(row: Row) -> None:
    """Method, path, repeat rule and all that is sent are those of the list: nothing is missing, nothing added."""
    gateway, _ = await made(row)
    (asked,) = gateway.asked
    endpoint = asked.endpoint
    assert (f"{endpoint.method} {endpoint.path}", endpoint.repeat) == (row.line, row.repeat)
    assert endpoint.encrypted == row.encrypted
    target, _, query = asked.line.removeprefix("GET https://api.mch.weixin.qq.com").partition("?")
    assert target.removeprefix("GET ") == row.line.format(**NO).removeprefix("GET ")
    in_query = {item.partition("=")[0] for item in query.split("&") if item}
    assert in_query | set(paths(asked.body) if asked.body is not None else ()) == row.names
    assert not (in_query and asked.body)


def test_the_list_has_every_endpoint_of_the_library() -> None:
    """A call that stands in no row would be a call that nobody has compared."""
    known = {row.line: row.repeat for row in ROWS}
    for family in ("bills", "combine", "orders", "partner", "refunds", "sharing", "transfers"):
        module = importlib.import_module(f"wxmp.pay.{family}")
        found = [value for value in vars(module).values() if isinstance(value, PayEndpoint)]
        assert found
        for endpoint in found:
            assert endpoint.repeat == known[f"{endpoint.method} {endpoint.path}"]


def test_the_certificates_are_asked_for_as_listed() -> None:
    """The client does it by itself; there is a call as well."""
    assert (CERTIFICATES.method, CERTIFICATES.path, CERTIFICATES.repeat) == ("GET", "/v3/certificates", "yes")
    assert callable(CertificateAPI.refresh)


# ---- limits: the longest text goes out, one character more does not

LIMITS: list[tuple[str, int, Callable[[Families, str], Awaitable[Any]]]] = [
    ("description", 127, lambda api, text: api.order.native(P, description=text, total_fen=1)),
    ("attach", 128, lambda api, text: api.order.native(P, attach=text, **ORDER)),
    ("goods_tag", 32, lambda api, text: api.order.native(P, goods_tag=text, **ORDER)),
    ("appid", 32, lambda api, text: api.order.native(P, appid=text, **ORDER)),
    ("openid", 128, lambda api, text: api.order.jsapi(P, openid=text, **ORDER)),
    ("out_trade_no", 32, lambda api, text: api.order.native(text, **ORDER)),
    ("scene_info.device_id", 32, lambda api, text: api.order.native(P, scene_info=SceneInfo("::1", text), **ORDER)),
    ("identity.number", 214, lambda api, text: api.order.jsapi(
        P, openid="o", identity=PayerIdentity("IDCARD", text), **ORDER)),
    ("reason", 80, lambda api, text: api.refund.create(R, transaction_id=T, refund_fen=1, total_fen=1, reason=text)),
    ("out_refund_no", 64, lambda api, text: api.refund.create(text, transaction_id=T, refund_fen=1, total_fen=1)),
    ("sub_mchid", 32, lambda api, text: api.refund.get(R, sub_mchid=text)),
    ("refund_id", 32, lambda api, text: api.refund.apply_abnormal(text, out_refund_no=R, type="MERCHANT_BANK_CARD")),
    ("out_bill_no", 32, lambda api, text: api.transfer.create(text, openid="o", **PAYEE)),
    ("openid", 64, lambda api, text: api.transfer.create(B, openid=text, **PAYEE)),
    ("transfer_remark", 32, lambda api, text: api.transfer.create(
        B, openid="o", **{**PAYEE, "transfer_remark": text})),
    ("transfer_scene_id", 36, lambda api, text: api.transfer.create(
        B, openid="o", **{**PAYEE, "transfer_scene_id": text})),
    ("report_infos[0].info_type", 15, lambda api, text: api.transfer.create(
        B, openid="o", **{**PAYEE, "report_infos": [TransferReport(text, "b")]})),
    ("report_infos[0].info_content", 32, lambda api, text: api.transfer.create(
        B, openid="o", **{**PAYEE, "report_infos": [TransferReport("a", text)]})),
    ("transfer_bill_no", 64, lambda api, text: api.transfer.apply_receipt(transfer_bill_no=text)),
    ("out_order_no", 64, lambda api, text: api.sharing.unfreeze(text, transaction_id=T, description="d")),
    ("description", 80, lambda api, text: api.sharing.unfreeze(S, transaction_id=T, description=text)),
    ("out_return_no", 64, lambda api, text: api.sharing.get_return(text, out_order_no=S)),
    ("account", 64, lambda api, text: api.sharing.delete_receiver(text, type="PERSONAL_OPENID")),
    ("custom_relation", 10, lambda api, text: api.sharing.add_receiver(
        "o", type="PERSONAL_OPENID", relation_type="CUSTOM", custom_relation=text)),
    ("combine_out_trade_no", 32, lambda api, text: api.combine.native(text, sub_orders=PARTS)),
    ("sub_orders[0].attach", 128, lambda api, text: api.combine.native(
        W, sub_orders=[attrs.evolve(PARTS[0], attach=text), PARTS[1]])),
    ("sub_orders[0].detail", 6000, lambda api, text: api.combine.native(
        W, sub_orders=[attrs.evolve(PARTS[0], detail=text), PARTS[1]])),
]  # fmt: skip


@pytest.mark.parametrize(("field", "most", "make"), LIMITS)
async def test_a_text_may_be_as_long_as_the_list_says(
    field: str, most: int, make: Callable[[Families, str], Awaitable[Any]]
) -> None:
    """The limit itself is taken; one character more is refused before anything is sent."""
    gateway = FakeGateway(
        {name: value for name, value in ANSWER.items() if name not in NO}  # an answer that names no number
    )
    await make(Families(gateway), "a" * most)
    assert len(gateway.asked) == 1
    with pytest.raises(ConfigError) as caught:
        await make(Families(gateway), "a" * (most + 1))
    assert caught.value.field == field
    assert len(gateway.asked) == 1


# ---- answers that are about something else


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("order.query_by_out_trade_no", "out_trade_no"),
        ("order.query_by_transaction_id", "transaction_id"),
        ("partner.query_by_out_trade_no", "out_trade_no"),
        ("combine.query", "combine_out_trade_no"),
        ("refund.create", "out_refund_no"),
        ("refund.query", "out_refund_no"),
        ("refund.apply_abnormal", "refund_id"),
        ("transfer.create", "out_bill_no"),
        ("transfer.query_by_out_bill_no", "out_bill_no"),
        ("transfer.query_by_transfer_bill_no", "transfer_bill_no"),
        ("transfer.cancel", "out_bill_no"),
        ("transfer.create_with_authorization", "out_bill_no"),
        ("transfer.create_and_authorize", "out_bill_no"),
        ("transfer.authorization_create", "out_authorization_no"),
        ("transfer.authorization_query", "out_authorization_no"),
        ("transfer.authorization_close", "out_authorization_no"),
        ("sharing.create", "out_order_no"),
        ("sharing.query", "out_order_no"),
        ("sharing.unfreeze", "out_order_no"),
        ("sharing.return_create", "out_return_no"),
        ("sharing.return_query", "out_return_no"),
    ],
)
async def test_an_answer_about_another_number_is_refused(name: str, field: str) -> None:
    """The signature of an answer does not say which question it belongs to; the number in it does."""
    with pytest.raises(PayMismatchError) as caught:
        await made(BY_NAME[name], {**ANSWER, field: "somebody-elses"})
    assert caught.value.field == field


# ---- notices

KINDS: list[tuple[str, dict[str, Any], str, type]] = [
    ("TRANSACTION.SUCCESS", TRANSACTION, "PaymentSucceeded", Transaction),
    ("TRANSACTION.FAIL", TRANSACTION, "PaymentFailed", Transaction),
    ("REFUND.SUCCESS", REFUND, "RefundSucceeded", notify_records.RefundNotice),
    ("REFUND.ABNORMAL", REFUND, "RefundAbnormal", notify_records.RefundNotice),
    ("REFUND.CLOSED", REFUND, "RefundClosed", notify_records.RefundNotice),
    ("MCHTRANSFER.BILL.FINISHED", TRANSFER, "TransferFinished", TransferBill),
    ("MCHTRANSFER.AUTHORIZATION.CONFIRMED", {"state": "TAKING_EFFECT"}, "TransferAuthorizationConfirmed", dict),
    ("MCHTRANSFER.BATCH.FINISHED", {"batch_id": "1"}, "TransferBatchFinished", dict),
    ("MCHTRANSFER.BATCH.CLOSED", {"batch_id": "1"}, "TransferBatchClosed", dict),
    ("PROFITSHARING.SUCCESS", {"mchid": MCHID}, "SharingSucceeded", dict),
    ("PROFITSHARING.RETURN", {"mchid": MCHID}, "SharingReturned", dict),
    ("COMPLAINT.CREATE", {"complaint_id": "1"}, "ComplaintCreated", dict),
    ("COMPLAINT.STATE_CHANGE", {"complaint_id": "1"}, "ComplaintStateChanged", dict),
    ("COUPON.USE", {"coupon_id": "1"}, "CouponUsed", dict),
    ("PAYSCORE.USER_CONFIRM", {"mchid": MCHID}, "PayscoreConfirmed", dict),
    ("PAYSCORE.USER_PAID", {"mchid": MCHID}, "PayscorePaid", dict),
]
VARIANTS: list[tuple[str, dict[str, Any], str, type]] = [
    ("TRANSACTION.SUCCESS", PARTNER, "PartnerPaymentSucceeded", PartnerTransaction),
    ("TRANSACTION.SUCCESS", COMBINED, "CombinedPaymentSucceeded", CombinedOrder),
    ("TRANSACTION.FAIL", PARTNER, "PaymentFailed", PartnerTransaction),
    ("TRANSACTION.FAIL", {"mchid": MCHID, "contract_id": "c", "trade_state": "PAYERROR"}, "PaymentFailed", Transaction),
    ("PROFITSHARING", {"mchid": MCHID}, "SharingSucceeded", dict),
    ("PROFITSHARING_RETURN", {"mchid": MCHID}, "SharingReturned", dict),
    ("SETTLEMENT.SUCCESS", {"mchid": MCHID}, "UnknownNotification", dict),
]


@pytest.mark.parametrize(("kind", "plain", "name", "resource"), [*KINDS, *VARIANTS])
async def test_a_kind_of_notice_has_its_class(kind: str, plain: dict[str, Any], name: str, resource: type) -> None:
    """Each of the sixteen documented kinds is a class of its own, with the resource that the list says."""
    notice = SHOP.notice(plain, kind)
    event = await SHOP.notifications().receive(notice.headers, notice.body)
    assert (type(event).__name__, type(event.resource)) == (name, resource)
    assert event.plain == plain


async def test_a_failed_deduction_keeps_what_no_record_knows() -> None:
    """The products that send it have members of their own; another merchant's is refused all the same."""
    notice = SHOP.notice({"mchid": MCHID, "contract_id": "c-1", "trade_state": "PAYERROR"}, "TRANSACTION.FAIL")
    event = await SHOP.notifications().receive(notice.headers, notice.body)
    assert isinstance(event, notify_records.PaymentFailed)
    assert event.resource.extra == {"contract_id": "c-1"}
    notice = SHOP.notice({"mchid": "1900000999"}, "TRANSACTION.FAIL")
    with pytest.raises(PayMismatchError):
        await SHOP.notifications().receive(notice.headers, notice.body)


# ---- the older interface

V2_ALWAYS = "appid mch_id nonce_str sign sign_type "
V2_ORDER: dict[str, Any] = {
    "body": "茶",
    "total_fen": 1,
    "spbill_create_ip": "203.0.113.7",
    "notify_url": "https://shop.example.com/pay",
}
V2_BASE = "body out_trade_no total_fee spbill_create_ip notify_url trade_type "
V2_ROWS: list[tuple[str, str, bool, str, str, Callable[[PayV2Client], Awaitable[Any]]]] = [
    ("v2.unifiedorder", "/pay/unifiedorder", False, "by_key", V2_BASE + "openid",
     lambda api: api.order(P, trade_type="JSAPI", openid="o1", **V2_ORDER)),
    ("v2.unifiedorder", "/pay/unifiedorder", False, "by_key", V2_BASE + "product_id",
     lambda api: api.order(P, trade_type="NATIVE", product_id="1", **V2_ORDER)),
    ("v2.unifiedorder", "/pay/unifiedorder", False, "by_key", V2_BASE + "scene_info",
     lambda api: api.order(P, trade_type="MWEB", scene_info={"h5_info": {"type": "Wap"}}, **V2_ORDER)),
    ("v2.unifiedorder", "/pay/unifiedorder", False, "by_key", V2_BASE,
     lambda api: api.order(P, trade_type="APP", **V2_ORDER)),
    ("v2.orderquery", "/pay/orderquery", False, "yes", "out_trade_no", lambda api: api.get(out_trade_no=P)),
    ("v2.closeorder", "/pay/closeorder", False, "yes", "out_trade_no", lambda api: api.close(P)),
    ("v2.refund", "/secapi/pay/refund", True, "by_key", "transaction_id out_refund_no total_fee refund_fee",
     lambda api: api.refund(R, transaction_id=T, refund_fen=1, total_fen=1)),
    ("v2.refundquery", "/pay/refundquery", False, "yes", "refund_id",
     lambda api: api.refund_get(refund_id=NO["refund_id"])),
    ("v2.downloadbill", "/pay/downloadbill", False, "yes", "bill_date bill_type tar_type",
     lambda api: api.bill("2026-11-20")),
]  # fmt: skip


class _SeenError(Exception):
    """The message was written; nothing is sent."""


class SeenLine:
    """A line that goes nowhere."""

    def __init__(self) -> None:
        self.seen: list[tuple[V2Endpoint, dict[str, str]]] = []

    async def send(self, endpoint: V2Endpoint, content: bytes, *_: object, **__: object) -> None:
        self.seen.append((endpoint, read_message(content)))
        raise _SeenError

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(("name", "path", "certificate", "repeat", "sent", "make"), V2_ROWS)
async def test_a_message_of_the_older_interface_is_the_one_of_the_list(
    name: str, path: str, certificate: bool, repeat: str, sent: str, make: Callable[[PayV2Client], Awaitable[Any]]
) -> None:
    """Path, certificate, repeat rule and every field of a call without options."""
    async with PayV2Client(mchid=MCHID, api_v2_key="k" * 32, appid=APPID) as api:
        await api._line.aclose()
        line = api._line = SeenLine()  # type: ignore[assignment]
        with pytest.raises(_SeenError):
            await make(api)
    ((endpoint, message),) = line.seen
    assert (endpoint.path, endpoint.certificate, endpoint.repeat) == (path, certificate, repeat)
    assert set(message) == {*V2_ALWAYS.split(), *sent.split()}
    assert len(message["sign"]) == 64
    if REFERENCE:
        entry = next(entry for entry in REFERENCE["v2"]["endpoints"] if entry["id"] == name)
        documented = {field["path"] for field in entry["fields"]}
        needed = {field["path"] for field in entry["fields"] if field.get("required") is True}
        assert (entry["path"], entry["client_certificate"]) == (path, certificate)
        assert rule(entry) == repeat
        assert needed <= set(message) <= documented | set(V2_ALWAYS.split())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("NO Bill Exist", "NO_STATEMENT_EXIST"),
        ("No bill exist", "NO_STATEMENT_EXIST"),
        ("Bill Creating", "STATEMENT_CREATING"),
        ("SIGN ERROR", "SIGN_ERROR"),
        ("invalid bill_type", "PARAM_ERROR"),
        ("data format error", "PARAM_ERROR"),
        ("missing parameter", "LACK_PARAMS"),
        ("SYSTEMERROR", "SYSTEM_ERROR"),
        ("CompressGZip Error", ""),
    ],
)
def test_a_bill_that_fails_says_why(text: str, code: str) -> None:
    """The texts in place of a bill are codes, whatever their capitals; one without a code stays a text."""
    error = _failure("POST /pay/downloadbill", {"return_code": "FAIL", "return_msg": text})
    assert (error.code, error.message) == (code, text)


# ---- the list against the reference


def rule(entry: dict[str, Any]) -> str:
    return {True: "yes", False: "no", "by_key": "by_key"}[entry["retry_safe"]]


def listed() -> list[Any]:
    found = [entry for entry in REFERENCE.get("endpoints", []) if entry["tier"] != "legacy"]
    return [pytest.param(entry, id=entry["id"]) for entry in found] or [pytest.param({}, marks=with_reference)]


def schema(use: str) -> list[dict[str, Any]]:
    return [entry for entry in REFERENCE["schemas"][use] if not entry.get("removed")]


def derived(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a service provider's order: a direct merchant's, under the names of the rule."""
    source = next(item for item in REFERENCE["endpoints"] if item["id"] == entry["derive"]["from"])
    names = {"appid": "sp_appid", "mchid": "sp_mchid"}
    kept = [field for field in body_fields(source) if field["path"] != "payer.openid"]
    return [{**field, "path": names.get(field["path"], field["path"])} for field in kept] + [
        {"path": "sub_mchid", "required": True}
    ]


def body_fields(entry: dict[str, Any]) -> list[dict[str, Any]]:
    body = entry.get("body", {})
    found = derived(entry) if "derive" in entry else []
    for use in body.get("use", []):
        found += schema(use)
    found += body.get("fields", [])
    gone = {field["path"] for field in found if field.get("removed")}
    return [field for field in found if field["path"] not in gone]


@with_reference
@pytest.mark.parametrize("entry", listed())
def test_the_list_is_the_reference(entry: dict[str, Any]) -> None:
    """Method, path and repeat rule agree, and all that a call must send is in the row."""
    if entry["id"] == "certificates.list":
        return
    row = BY_NAME[entry["id"]]
    assert (row.line, row.repeat) == (f"{entry['method']} {entry['path']}", rule(entry))
    fields = body_fields(entry) + [{**item, "path": item["name"]} for item in entry.get("query", [])]
    parents = {name.rpartition(".")[0] for name in row.names} | {name.rpartition("[]")[0] for name in row.names}
    # A list or an object is required of goods only when there are goods.
    optional = ("detail.", "goods_detail[]", "scene_info.h5", "amount.from")
    needed = {
        field["path"]
        for field in fields
        if field.get("required") is True and not field["path"].startswith(optional)
    }  # fmt: skip
    missing = {name for name in needed - row.names - parents if name.removesuffix("[]") not in parents}
    assert missing == set()
    documented = {field["path"] for field in fields}
    if "*" in documented:
        source = next(item for item in REFERENCE["endpoints"] if item["id"] == "transfer.create")
        documented |= {field["path"] for field in body_fields(source)}
    unknown = {
        name
        for name in row.names - documented
        if not any(name.startswith(f"{field}.") for field in documented if field.endswith("[]"))
    }
    assert unknown == set()
    assert row.encrypted == any(field.get("type") == "enc" for field in fields) or "*" in documented


def sample(fields: list[dict[str, Any]]) -> dict[str, Any]:
    """An answer with every documented field."""
    values: dict[str, Any] = {"int": 1, "bool": True, "time": "2026-11-21T10:34:56.123+08:00", "list": [], "obj": {}}
    found: dict[str, Any] = {}
    for field in fields:
        *places, last = field["path"].split(".")
        holder = found
        for place in places:
            holder = holder.setdefault(place[:-2], [{}])[0] if place.endswith("[]") else holder.setdefault(place, {})
        if last.endswith("[]"):
            holder.setdefault(last[:-2], values[field["type"]])
        else:
            holder[last] = ANSWER.get(last, values.get(field.get("type", "str"), "x"))
    return found


def unknown_fields(value: Any, place: str = "") -> Iterator[str]:
    """What a record could not place."""
    if isinstance(value, tuple):
        for item in value:
            yield from unknown_fields(item, place)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            inner = getattr(value, field.name)
            if field.name == "extra":
                yield from (f"{place}.{name}" for name in inner)
            elif field.name != "_gateway":
                yield from unknown_fields(inner, f"{place}.{field.name}")


@with_reference
@pytest.mark.parametrize("entry", listed())
async def test_every_documented_field_of_an_answer_has_its_place(entry: dict[str, Any]) -> None:
    """An answer with all documented fields leaves nothing in ``extra``; an answer without any is no crash."""
    if entry["id"] in ("certificates.list", "bill.download"):
        return
    response = entry["response"]
    fields = [field for use in response.get("use", []) for field in schema(use)] + response.get("fields", [])
    if entry["mode"] == "partner":
        names = {"appid": "sp_appid", "mchid": "sp_mchid", "payer.openid": "payer.sp_openid"}
        fields = [{**field, "path": names.get(field["path"], field["path"])} for field in fields]
    _, result = await made(BY_NAME[entry["id"]], sample(fields))
    assert list(unknown_fields(result)) == []


@with_reference
@pytest.mark.parametrize("entry", REFERENCE.get("v2", {}).get("errors", []), ids=lambda entry: entry["code"])
def test_a_code_of_the_older_interface_has_its_verdict(entry: dict[str, Any]) -> None:
    """Each documented code says what to do next."""
    error = _failure("POST /pay/x", {"return_code": "SUCCESS", "result_code": "FAIL", "err_code": entry["code"]})
    assert error.verdict == entry["retry"]


@with_reference
def test_the_kinds_are_those_of_the_reference() -> None:
    """Sixteen kinds, none of them made up."""
    assert {row[0] for row in KINDS} == {entry["event_type"] for entry in REFERENCE["notifications"]["events"]}
    assert len(KINDS) == 16


def test_a_part_of_a_refund_may_be_incomplete() -> None:
    """An answer about money stays readable when a detail of it is missing."""
    from wxmp._wire import decode

    found = decode(Refund, {"status": "SUCCESS", "amount": {"from": [{"account": "AVAILABLE"}]}})
    assert (found.amount.sources[0].account, found.amount.sources[0].amount_fen) == ("AVAILABLE", None)


@pytest.mark.parametrize(
    ("field", "changes"),
    [("total_fen", {"total_fen": True}), ("total_fen", {"total_fen": 1.0}), ("out_trade_no", {"out_trade_no": ""})]
    + [(name, {name: ""}) for name in ("appid", "mchid", "currency")],
)
def test_an_older_order_is_compared_with_a_record_that_says_something(field: str, changes: dict[str, Any]) -> None:
    """True equals 1 and an empty text equals what is not there: neither is a record of an order."""
    paid = V2Transaction(APPID, MCHID, P, "SUCCESS", total_fen=1)
    paid.check(out_trade_no=P, total_fen=1, appid=APPID, mchid=MCHID)
    with pytest.raises(ConfigError) as caught:
        paid.check(**{"out_trade_no": P, "total_fen": 1, **changes})
    assert caught.value.field == field


async def test_the_older_transfers_go_through_request(pay: PayClient, pay_sim: Simulator) -> None:
    """They have no methods; the general call enciphers the name, names its key and repeats the identical bytes."""
    await pay.gateway.ready()
    detail = {"out_detail_no": "d1", "transfer_amount": 1, "user_name": pay.gateway.encrypt("张三")}
    pay_sim.fault("status", "/v3/transfer/batches", times=2)
    with pytest.raises(PayAPIError):
        await pay.request(
            "POST",
            "/v3/transfer/batches",
            json={"out_batch_no": "batch1", "transfer_detail_list": [detail]},
            repeatable=True,
        )
    assert pay_sim.calls("/v3/transfer/batches") == 3
