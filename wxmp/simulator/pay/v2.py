"""The older interface: flat XML, signed with MD5 or HMAC-SHA256, and three layers of success."""

from __future__ import annotations

import hmac
import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp.simulator.answers import BrokenReply
from wxmp.simulator.clock import SHANGHAI
from wxmp.simulator.pay import bills, ledger, notices, schema, shapes, signing, v3
from wxmp.simulator.pay.records import Merchant, Order, Refund, SignType
from wxmp.simulator.pay.refusals import PayRefusal
from wxmp.simulator.pay.xml import read_flat, write_xml
from wxmp.simulator.routes import Call, Dialect, Route, Trouble
from wxmp.simulator.wire import Delivery, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.simulator.pay.records import TradeType
    from wxmp.simulator.world import World  # noqa: TC004  (a cycle at run time; nothing resolves the hints of Message)

__all__ = ["DIALECTS", "ROUTES"]

XML_KIND: Final = "text/xml; charset=utf-8"
SIGN_TYPES: Final[dict[str, SignType]] = {"": "MD5", "MD5": "MD5", "HMAC-SHA256": "HMAC-SHA256"}
TRADE_TYPES: Final[dict[str, TradeType]] = {"JSAPI": "JSAPI", "NATIVE": "NATIVE", "APP": "APP", "MWEB": "MWEB"}
LENGTHS: Final = {
    "device_info": 32,
    "nonce_str": 32,
    "sign": 64,
    "body": 128,
    "detail": 6000,
    "attach": 127,
    "out_trade_no": 32,
    "fee_type": 16,
    "spbill_create_ip": 64,
    "goods_tag": 32,
    "notify_url": 256,
    "trade_type": 16,
    "product_id": 32,
    "limit_pay": 32,
    "openid": 128,
    "out_refund_no": 64,
    "refund_desc": 80,
    "transaction_id": 32,
}
REFUNDS_PAGE: Final = 10
REFUND_ACCOUNTS: Final = ("REFUND_SOURCE_UNSETTLED_FUNDS", "REFUND_SOURCE_RECHARGE_FUNDS")
# What does not make an order another one.
VOLATILE: Final = frozenset({"nonce_str", "sign", "sign_type", "time_start", "time_expire", "spbill_create_ip"})


class Transport(Exception):  # noqa: N818  (the first layer says no: nothing is signed)
    """The message itself cannot be used: ``return_code`` is FAIL."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.message = message
        self.why = why


@attrs.define
class Message:
    """A message whose sign has been found good."""

    world: World
    merchant: Merchant
    fields: dict[str, str]
    sign_type: SignType
    now: float
    why: str = ""
    delivery: Delivery | None = None

    def get(self, name: str) -> str:
        """Return a field, or an empty text."""
        return self.fields.get(name, "")

    def need(self, *names: str) -> None:
        """Check that fields are there.

        Raises:
            PayRefusal: LACK_PARAMS.
        """
        for name in names:
            if not self.get(name):
                message = f"缺少参数{name}"
                raise PayRefusal("PARAM_ERROR", f"{name} is missing", message=message, v2="LACK_PARAMS")

    def fen(self, name: str) -> int:
        """Return an amount.

        Raises:
            PayRefusal: PARAM_ERROR.
        """
        if not re.fullmatch(r"[1-9][0-9]{0,11}", self.get(name)):
            raise PayRefusal("PARAM_ERROR", f"{name} is no whole number of fen", message=f"{name}参数格式有误")
        return int(self.get(name))

    def order(self) -> Order:
        """Return the order that is named, by the platform's number first."""
        if self.get("transaction_id"):
            return ledger.find_paid(self.world, self.merchant, self.get("transaction_id"))
        self.need("out_trade_no")
        return ledger.find(self.merchant, self.get("out_trade_no"))


def gate(handler: Callable[[Message], dict[str, str] | Reply]) -> Callable[[Call], Reply]:
    """Put the gateway in front of a handler: the XML, the sign; then the signed answer."""

    def answer(call: Call) -> Reply:
        try:
            message = admit(call)
        except Transport as trouble:
            return fail(trouble.message, trouble.why)
        try:
            check_common(message)
            found = handler(message)
            if isinstance(found, Reply):
                return found
            fields = opening(message, "SUCCESS") | found
            why = f"merchant {message.merchant.mchid}{message.why}"
        except PayRefusal as refusal:
            fields = opening(message, "FAIL") | {"err_code": refusal.v2, "err_code_des": refusal.message}
            why = f"{refusal.v2}: {refusal.why or refusal.message}"
        reply = close_up(message, fields, why)
        return attrs.evolve(reply, delivery=message.delivery) if message.delivery is not None else reply

    return answer


def opening(message: Message, result: Literal["SUCCESS", "FAIL"]) -> dict[str, str]:
    """Return the fields that every signed answer begins with."""
    return {
        "return_code": "SUCCESS",
        "return_msg": "OK",
        "appid": message.get("appid"),
        "mch_id": message.merchant.mchid,
        "nonce_str": message.world.state.dice.hex("pay nonce", 32),
        "result_code": result,
    }


def close_up(message: Message, fields: dict[str, str], why: str) -> Reply:
    """Sign an answer and write it."""
    signed = fields | {"sign": signing.sign_v2(fields, message.merchant.api_v2_key, message.sign_type)}
    return Reply(write_xml(signed), content_type=XML_KIND, why=why)


def fail(message: str, why: str) -> Reply:
    """Return the unsigned answer of the first layer."""
    body = write_xml({"return_code": "FAIL", "return_msg": message})
    return Reply(body, content_type=XML_KIND, why=f"return_code FAIL: {why}")


def admit(call: Call) -> Message:
    """Read a message and check its sign.

    Raises:
        Transport: It cannot be read, or the sign is wrong.
    """
    raw = call.request.body
    if not raw.strip():
        raise Transport("post数据为空", "POST_DATA_EMPTY: the body is empty")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Transport("编码格式错误", "NOT_UTF8: the body is not UTF-8") from None
    try:
        fields = read_flat(raw)
    except BrokenReply as broken:
        raise Transport("XML格式错误", f"XML_FORMAT_ERROR: {broken}") from broken
    for name in ("mch_id", "nonce_str", "sign"):
        if not fields.get(name):
            raise Transport(f"缺少参数{name}", f"LACK_PARAMS: {name} is missing")
    merchant = ledger.find_merchant(call.world, fields["mch_id"])
    if merchant is None or merchant.disabled:
        raise Transport("商户号mch_id不存在", "MCHID_NOT_EXIST: no merchant has this number")
    sign_type = SIGN_TYPES.get(fields.get("sign_type", ""))
    if sign_type is None:
        raise Transport("签名类型错误", "SIGNERROR: sign_type is MD5 or HMAC-SHA256")
    expected = signing.sign_v2(fields, merchant.api_v2_key, sign_type)
    if not hmac.compare_digest(expected.encode(), fields["sign"].encode("utf-8", errors="replace")):
        joined = ", ".join(sorted(name for name in fields if fields[name] and name != "sign"))
        raise Transport("签名错误", f"SIGNERROR: the {sign_type} sign does not match; signed were {joined}")
    return Message(call.world, merchant, fields, sign_type, call.now)


def check_common(message: Message) -> None:
    """Check what every interface wants: an AppID of the merchant's, and fields that are not too long."""
    if message.get("appid") not in message.merchant.appids:
        raise PayRefusal("APPID_MCHID_NOT_MATCH", "the appid is not bound to the merchant")
    for name, limit in LENGTHS.items():
        if len(message.get(name)) > limit:
            why = f"{name} has {len(message.get(name))} characters, {limit} are allowed"
            raise PayRefusal("PARAM_ERROR", why, message=f"{name}参数长度有误")


# --- orders -----------------------------------------------------------------------------------------------------------


def unified_order(message: Message) -> dict[str, str]:
    """Place an order (统一下单)."""
    world, policy = message.world, message.world.policy
    message.need("body", "out_trade_no", "total_fee", "spbill_create_ip", "notify_url", "trade_type")
    trade_type = TRADE_TYPES.get(message.get("trade_type"))
    if trade_type is None:
        raise PayRefusal("PARAM_ERROR", "trade_type is JSAPI, NATIVE, APP or MWEB", message="trade_type参数错误")
    if trade_type in message.merchant.ungranted:
        raise PayRefusal("NO_AUTH", f"the merchant has not opened {trade_type}")
    message.need(*{"JSAPI": ("openid",), "NATIVE": ("product_id",), "MWEB": ("scene_info",)}.get(trade_type, ()))
    total = message.fen("total_fee")
    if total > policy.pay_max_total:
        raise PayRefusal("PARAM_ERROR", f"total_fee is above {policy.pay_max_total}", message="total_fee参数有误")
    if message.get("fee_type") not in {"", "CNY"}:
        raise PayRefusal("PARAM_ERROR", "fee_type is not CNY", message="fee_type参数有误")
    if not re.fullmatch(r"[0-9A-Za-z_\-|*@]{1,32}", message.get("out_trade_no")):
        raise PayRefusal("PARAM_ERROR", "out_trade_no has forbidden characters", message="out_trade_no参数格式有误")
    if not schema.readable_address(message.get("notify_url")):
        raise PayRefusal("PARAM_ERROR", "notify_url is no address", message="notify_url参数格式有误")
    if message.get("openid"):
        v3.check_openid(world, message.get("appid"), message.get("openid"))
    wanted = Order(
        mchid=message.merchant.mchid,
        out_trade_no=message.get("out_trade_no"),
        appid=message.get("appid"),
        trade_type=trade_type,
        api="v2",
        description=message.get("body"),
        total=total,
        currency="CNY",
        notify_url=message.get("notify_url"),
        created_at=message.now,
        expires_at=deadline(message),
        content=v3.fingerprint({name: value for name, value in message.fields.items() if name not in VOLATILE}),
        attach=message.get("attach"),
        openid=message.get("openid") if trade_type == "JSAPI" else "",
        device_id=message.get("device_info"),
        goods_tag=message.get("goods_tag"),
        sign_type=message.sign_type,
    )
    order, remark = ledger.place(world, message.merchant, wanted)
    message.why += remark + notices.warning(order.notify_url)
    found = {"trade_type": trade_type, "prepay_id": list(order.prepay_ids)[-1]}
    if order.code_url:
        found["code_url"] = order.code_url
    if order.h5_url:
        found["mweb_url"] = order.h5_url
    delay = ledger.pay_early(world, order)
    if delay is not None:
        message.delivery = Delivery(delay=delay)
        message.why += "; paid before this answer (fault pay_early)"
    return found


def deadline(message: Message) -> float:
    """Return when an order ends."""
    policy, text = message.world.policy, message.get("time_expire")
    if not text:
        return message.now + policy.pay_order_life
    wrong = PayRefusal("PARAM_ERROR", "time_expire is no yyyyMMddHHmmss", message="time_expire参数格式有误")
    # The parser alone would take fewer digits.
    if not re.fullmatch(r"[0-9]{14}", text):
        raise wrong
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=SHANGHAI)
    except ValueError:
        raise wrong from None
    soonest, latest = message.now + policy.pay_order_life_min, message.now + policy.pay_order_life_max
    return min(max(moment.timestamp(), soonest), latest)


def order_query(message: Message) -> dict[str, str]:
    """Query an order (查询订单)."""
    order = message.order()
    message.why += f"; {order.state}"
    account = message.world.state.accounts.get(order.appid)
    user = account.users.get(order.payer) if account is not None else None
    return shapes.v2_transaction(order, subscribed=user is not None and user.following)


def close_order(message: Message) -> dict[str, str]:
    """Close an unpaid order (关闭订单)."""
    message.need("out_trade_no")
    order = ledger.find(message.merchant, message.get("out_trade_no"))
    if order.state == "CLOSED":
        raise PayRefusal("ORDER_CLOSED", "the order was closed before")
    message.why += ledger.close(message.world, order, message.world.policy.pay_v2_close_min_age)
    return {"result_msg": "OK"}


# --- refunds ----------------------------------------------------------------------------------------------------------


def refund(message: Message) -> dict[str, str]:
    """Refund an order (申请退款). The real platform wants the merchant's TLS certificate here."""
    message.need("out_refund_no", "total_fee", "refund_fee")
    if message.get("refund_account") not in {"", *REFUND_ACCOUNTS}:
        raise PayRefusal("PARAM_ERROR", "refund_account is unknown", message="refund_account参数错误")
    if message.get("notify_url") and not schema.readable_address(message.get("notify_url")):
        raise PayRefusal("PARAM_ERROR", "notify_url is no address", message="notify_url参数格式有误")
    order = message.order()
    amount, total = message.fen("refund_fee"), message.fen("total_fee")
    wanted = Refund(
        out_refund_no=message.get("out_refund_no"),
        refund_id=ledger.new_number(message.world, "503", message.now),
        out_trade_no=order.out_trade_no,
        transaction_id=order.transaction_id,
        amount=amount,
        total=total,
        currency="CNY",
        created_at=message.now,
        content=v3.fingerprint([order.out_trade_no, amount, total]),
        api="v2",
        reason=message.get("refund_desc"),
        notify_url=message.get("notify_url"),
        received_account="支付用户零钱",
    )
    item, remark = ledger.refund(message.world, message.merchant, order, wanted)
    message.why += f"{remark}; warning: the client certificate cannot be checked here"
    return {
        "transaction_id": item.transaction_id,
        "out_trade_no": item.out_trade_no,
        "out_refund_no": item.out_refund_no,
        "refund_id": item.refund_id,
        "refund_channel": item.channel,
        "refund_fee": str(item.amount),
        "settlement_refund_fee": str(item.amount),
        "total_fee": str(item.total),
        "settlement_total_fee": str(item.total),
        "fee_type": item.currency,
        "cash_fee": str(item.total),
        "cash_refund_fee": str(item.amount),
        "coupon_refund_fee": "0",
        "coupon_refund_count": "0",
    }


def refund_query(message: Message) -> dict[str, str]:
    """Query refunds (查询退款): one, or those of an order, ten at a time."""
    merchant, everything = message.merchant, list(message.merchant.refunds.values())
    if message.get("refund_id"):
        found = [item for item in everything if item.refund_id == message.get("refund_id")]
    elif message.get("out_refund_no"):
        found = [item for item in everything if item.out_refund_no == message.get("out_refund_no")]
    else:
        order = message.order()
        found = [merchant.refunds[number] for number in order.refunds]
    if not found:
        raise PayRefusal("RESOURCE_NOT_EXISTS", "there is no such refund", message="退款不存在")
    offset = int(message.get("offset")) if message.get("offset").isdecimal() else 0
    shown = found[offset : offset + REFUNDS_PAGE]
    first = found[0]
    fields = {
        "total_refund_count": str(len(found)),
        "transaction_id": first.transaction_id,
        "out_trade_no": first.out_trade_no,
        "total_fee": str(first.total),
        "fee_type": first.currency,
        "cash_fee": str(first.total),
        "refund_count": str(len(shown)),
    }
    for index, item in enumerate(shown):
        row = {
            "out_refund_no": item.out_refund_no,
            "refund_id": item.refund_id,
            "refund_channel": item.channel,
            "refund_fee": str(item.amount),
            "settlement_refund_fee": str(item.amount),
            "refund_status": shapes.V2_REFUND[item.status],
            "refund_account": REFUND_ACCOUNTS[1],
            "refund_recv_accout": item.received_account,
        }
        if item.status == "SUCCESS" and item.finished_at is not None:
            row["refund_success_time"] = shapes.beijing(item.finished_at)
        fields |= {f"{name}_{index}": value for name, value in row.items()}
    return fields


# --- bills ------------------------------------------------------------------------------------------------------------


def download_bill(message: Message) -> Reply:
    """Hand out a trade bill (下载对账单): the table itself, or XML that says why not."""
    date, tar = message.get("bill_date"), message.get("tar_type")
    if not re.fullmatch(r"[0-9]{8}", date):
        return bill_trouble("data format error", "bill_date is no yyyyMMdd")
    if message.get("bill_type") not in {"", "ALL", "SUCCESS", "REFUND", "RECHARGE_REFUND"}:
        return bill_trouble("invalid bill_type", "bill_type is unknown")
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    try:
        text = bills.make(message.world, message.merchant, "trade", day, message.get("bill_type"))
    except PayRefusal as refusal:
        reason = {"STATEMENT_CREATING": "Bill Creating", "NO_STATEMENT_EXIST": "No Bill Exist"}
        return bill_trouble(reason.get(refusal.code, "data format error"), refusal.why)
    data = bills.compress(text) if tar == "GZIP" else text.encode()
    kind = "application/x-gzip" if tar == "GZIP" else "text/plain; charset=utf-8"
    return Reply(data, content_type=kind, why=f"merchant {message.merchant.mchid}; a bill of {len(data)} bytes")


def bill_trouble(text: str, why: str) -> Reply:
    """Return why there is no bill."""
    body = write_xml({"return_code": "FAIL", "return_msg": text, "error_code": "20002"})
    return Reply(body, content_type=XML_KIND, why=f"return_code FAIL: {text}: {why}")


def nowhere(call: Call, wanted: str) -> Reply:
    """Refuse a verb that is not POST, and a path of v2 that is not simulated."""
    if wanted or call.request.method != "POST":
        return fail("请使用post方法", f"REQUIRE_POST_METHOD: {call.request.method} was used")
    return fail("the simulator does not simulate this interface", f"{call.request.path} is not simulated")


def trouble(call: Call, what: Trouble) -> Reply:
    """Write a failure as this gateway does: signed, where it can be told who has asked."""
    refusal = v3.ordered_refusal(what)
    try:
        message = admit(call)
    except Transport:
        return fail(refusal.message, what.why)
    fields = opening(message, "FAIL") | {"err_code": refusal.v2, "err_code_des": refusal.message}
    return close_up(message, fields, f"{refusal.v2}: {what.why}")


def route(method: Literal["GET", "POST"], path: str, handler: Callable[[Call], Reply]) -> Route:
    """Return a route of the gateway: it checks everything itself."""
    return Route(method, path, handler, auth="none", accounts="all", host="mch", takes="raw")


ENDPOINTS: Final = (
    ("/pay/unifiedorder", gate(unified_order)),
    ("/pay/orderquery", gate(order_query)),
    ("/pay/closeorder", gate(close_order)),
    ("/secapi/pay/refund", gate(refund)),
    ("/pay/refundquery", gate(refund_query)),
    ("/pay/downloadbill", gate(download_bill)),
)
# The paths of v2, also those that are not simulated: red packets, coupons, reports.
PREFIXES: Final = ("/pay/", "/secapi/", "/tools/", "/payitil/", "/mmpaymkttransfers/")
ROUTES: Final[tuple[Route, ...]] = tuple(route("POST", path, handler) for path, handler in ENDPOINTS)
DIALECTS: Final[tuple[Dialect, ...]] = tuple(Dialect("mch", prefix, nowhere, trouble) for prefix in PREFIXES)
