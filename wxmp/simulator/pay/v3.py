"""API v3: JSON over signed requests and signed answers."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from wxmp.simulator.pay import bills, keys, ledger, notices, schema, shapes, signing
from wxmp.simulator.pay.records import Merchant, Order, Refund, Transfer
from wxmp.simulator.pay.refusals import CODES, PayRefusal
from wxmp.simulator.routes import Call, Dialect, Route, Trouble
from wxmp.simulator.wire import Delivery, JsonObject, Reply, as_list, as_object, dump_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from wxmp.simulator.pay.records import TradeType
    from wxmp.simulator.wire import Request
    from wxmp.simulator.world import World  # noqa: TC004  (a cycle at run time; nothing resolves the hints of Signed)

__all__ = ["DIALECTS", "ROUTES"]

JSON_KIND: Final = "application/json; charset=utf-8"
MAX_DETAIL: Final = 6_144
NAMED: Final = {
    "/v3/combine-transactions": "combined orders (合单支付)",
    "/v3/pay/partner": "orders of service providers (服务商)",
    "/v3/pay/transactions/codepay": "code payments (付款码支付)",
    "/v3/profitsharing": "profit sharing (分账)",
    "/v3/transfer/batches": "batch transfers (商家转账到零钱)",
    "/v3/fund-app/mch-transfer/elecsign": "transfer receipts (电子回单)",
    "/v3/fund-app/mch-transfer/user-confirm-authorization": "transfer authorizations (免确认收款授权)",
    "/v3/fund-app/mch-transfer/transfer-bills/transfer": "transfers without confirmation (免确认收款)",
    "/v3/fund-app/mch-transfer/transfer-bills/pre-transfer-with-authorization": "authorizations (免确认收款授权)",
    "/v3/merchant/media": "uploads (图片上传)",
    "/v3/marketing": "coupons (代金券)",
}


@attrs.define
class Signed:
    """A request whose signature has been found good, on its way through a handler."""

    world: World
    call: Call
    merchant: Merchant
    body: JsonObject
    label: str
    now: float
    why: str = ""
    delivery: Delivery | None = None

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return self.call.path[name]

    def check(self, members: schema.Schema) -> None:
        """Check the body's members."""
        schema.check(self.body, members, strict=self.world.policy.pay_unknown_members == "refuse")

    def text(self, *names: str) -> str:
        """Return a text of the checked body, or an empty text."""
        value: object = self.body
        for name in names:
            value = (as_object(value) or {}).get(name)
        return value if isinstance(value, str) else ""

    def number(self, *names: str) -> int:
        """Return a number of the checked body, or zero."""
        value: object = self.body
        for name in names:
            value = (as_object(value) or {}).get(name)
        return value if isinstance(value, int) else 0

    def own(self, mchid: str, field: str, location: str = "body") -> None:
        """Check that a merchant number in the request is the signer's."""
        if mchid != self.merchant.mchid:
            raise PayRefusal(
                "PARAM_ERROR",
                f"{field} is not the merchant who has signed",
                message="商户号与签名的商户号不一致",
                field=field,
                value=mchid,
                location=location,
            )

    def bound(self, appid: str, product: str) -> None:
        """Check that the merchant has opened a product, and that an AppID is bound to it."""
        if product in self.merchant.ungranted:
            raise PayRefusal("NO_AUTH", f"the merchant has not opened {product}", message="商户号该产品权限未开通")
        if appid not in self.merchant.appids:
            raise PayRefusal(
                "APPID_MCHID_NOT_MATCH", "the appid is not bound to the merchant", field="/appid", value=appid
            )

    def content(self, *left_out: str) -> str:
        """Return what must be the same when a number comes again."""
        return fingerprint({name: value for name, value in self.body.items() if name not in left_out})


def fingerprint(value: object) -> str:
    """Return a digest of JSON, whatever the order of its members."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


# --- the gateway ------------------------------------------------------------------------------------------------------


def gate(handler: Callable[[Signed], JsonObject | Reply | None]) -> Callable[[Call], Reply]:
    """Put the gateway in front of a handler: headers, signature, body; then the signed answer."""

    def answer(call: Call) -> Reply:
        try:
            signed, serial = admit(call)
        except PayRefusal as refusal:
            return refuse(call.world, refusal)
        try:
            found = handler(signed)
        except PayRefusal as refusal:
            reply = refuse(call.world, refusal)
            if refusal.status >= 300:
                return reply
            # A refusal that travels as a success (202) is signed like one.
            headers = (*reply.headers, *signing.platform_headers(call.world, serial, signed.label, reply.body))
            return attrs.evolve(reply, headers=headers)
        if isinstance(found, Reply):
            return found
        body = dump_json(found) if found is not None else b""
        request_id = new_request_id(call.world)
        reply = Reply(
            body,
            status=200 if found is not None else 204,
            content_type=JSON_KIND,
            headers=(
                ("Request-ID", request_id),
                *signing.platform_headers(call.world, serial, signed.label, body),
            ),
            why=f"merchant {signed.merchant.mchid}{signed.why}",
            rid=request_id,
        )
        return attrs.evolve(reply, delivery=signed.delivery) if signed.delivery is not None else reply

    return answer


def admit(call: Call) -> tuple[Signed, str]:
    """Check everything that comes before a handler; return the request and the serial that will sign the answer.

    Raises:
        PayRefusal: The first thing that is wrong.
    """
    world, request = call.world, call.request
    if len(request.body) > world.policy.max_body:
        raise PayRefusal("PARAM_ERROR", f"the body has {len(request.body)} bytes", message="请求体过大", status=413)
    check_headers(world, request)
    given = signing.read_authorization(request.headers.get("authorization", ""))
    merchant = ledger.find_merchant(world, given.mchid)
    if merchant is None:
        status = world.policy.pay_unknown_merchant_status
        raise PayRefusal("MCH_NOT_EXISTS", "no merchant has this number", status=status)
    why = signing.verify_request(world, merchant, request, given)
    if merchant.disabled:
        raise PayRefusal("ACCOUNT_ERROR", "the merchant is switched off", message="商户号已被停用")
    serial, label = signing.signing_key(world, merchant, request.headers.get("wechatpay-serial", ""))
    body = read_body(request.body) if request.body else {}
    return Signed(world, call, merchant, body, label, call.now, why), serial


def check_headers(world: World, request: Request) -> None:
    """Check the headers the gateway insists on."""
    headers = request.headers
    if world.policy.pay_needs_user_agent and not headers.get("user-agent", "").strip():
        raise PayRefusal("NO_AUTH", "there is no User-Agent", message="Http头缺少Accept或User-Agent", status=403)
    accept = headers.get("accept", "")
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if not request.path.startswith("/v3/billdownload/") and not kinds & {"application/json", "application/*", "*/*"}:
        why = f"Accept is {accept[:60]!r}, application/json is wanted"
        raise PayRefusal("PARAM_ERROR", why, message="Http头Accept不正确", status=406)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and kind != "application/json":
        why = f"Content-Type is {kind[:60]!r}, application/json is wanted"
        raise PayRefusal("PARAM_ERROR", why, message="Http头Content-Type不正确", status=415)


def read_body(raw: bytes) -> JsonObject:
    """Read a JSON body.

    Raises:
        PayRefusal: It is none.
    """

    def unique(pairs: list[tuple[str, object]]) -> JsonObject:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a member occurs twice")
        return dict(pairs)

    try:
        found = as_object(json.loads(raw.decode("utf-8"), object_pairs_hook=unique))
    except (ValueError, RecursionError) as error:
        why = f"the body is no JSON in UTF-8 ({type(error).__name__})"
        raise PayRefusal("PARAM_ERROR", why, message="请求体不是合法的JSON") from error
    if found is None:
        raise PayRefusal("PARAM_ERROR", "the body is no JSON object", message="请求体不是合法的JSON")
    return found


def refuse(world: World, refusal: PayRefusal) -> Reply:
    """Write a refusal. Errors carry no signature."""
    code = refusal.spelt(world.policy.pay_glued_codes)
    body: JsonObject = {"code": code, "message": refusal.message}
    if refusal.detail:
        body["detail"] = refusal.detail
    request_id = new_request_id(world, refusal.internal)
    return Reply(
        dump_json(body),
        status=refusal.status,
        content_type=JSON_KIND,
        headers=(("Request-ID", request_id),),
        why=f"{code}: {refusal.why or refusal.message}",
        rid=request_id,
    )


def new_request_id(world: World, internal: int = 0) -> str:
    """Return a fresh Request-ID; the number behind the dash is the platform's own."""
    return f"{world.state.dice.hex('pay request', 40).upper()}-{internal}"


# --- orders -----------------------------------------------------------------------------------------------------------


def prepay(kind: TradeType, answer: str) -> Callable[[Signed], JsonObject]:
    """Return the handler of one way to order; ``answer`` is the member it is answered with."""

    def handle(signed: Signed) -> JsonObject:
        world = signed.world
        signed.check(schema.ORDERS[kind])
        signed.own(signed.text("mchid"), "/mchid")
        signed.bound(signed.text("appid"), kind)
        check_amount(signed)
        openid = signed.text("payer", "openid")
        if openid:
            check_openid(world, signed.text("appid"), openid)
        wanted = Order(
            mchid=signed.merchant.mchid,
            out_trade_no=signed.text("out_trade_no"),
            appid=signed.text("appid"),
            trade_type=kind,
            api="v3",
            description=signed.text("description"),
            total=signed.number("amount", "total"),
            currency="CNY",
            notify_url=signed.text("notify_url"),
            created_at=signed.now,
            expires_at=deadline(world, signed.text("time_expire"), signed.now),
            content=signed.content("time_expire"),
            attach=signed.text("attach"),
            openid=openid,
            device_id=signed.text("scene_info", "device_id"),
            goods_tag=signed.text("goods_tag"),
        )
        order, remark = ledger.place(world, signed.merchant, wanted)
        signed.why += remark + notices.warning(order.notify_url)
        shown = {"prepay_id": list(order.prepay_ids)[-1], "code_url": order.code_url, "h5_url": order.h5_url}
        delay = ledger.pay_early(world, order)
        if delay is not None:
            signed.delivery = Delivery(delay=delay)
            signed.why += "; paid before this answer (fault pay_early)"
        return {answer: shown[answer]}

    return handle


def check_amount(signed: Signed) -> None:
    """Check what the members' kinds cannot say: the currency, the upper limit, the size of the detail."""
    currency = signed.text("amount", "currency")
    if currency and currency != "CNY":
        raise schema.wrong("/amount/currency", "not CNY", "不支持的币种", currency)
    total, most = signed.number("amount", "total"), signed.world.policy.pay_max_total
    if total > most:
        issue = f"above {most}"
        raise schema.wrong("/amount/total", issue, "金额超出限制", total, internal=schema.OUT_OF_RANGE)
    detail = signed.body.get("detail")
    if detail is not None and len(dump_json(as_object(detail) or {})) > MAX_DETAIL:
        raise schema.wrong("/detail", f"more than {MAX_DETAIL} bytes", "商品详情过长")


def check_openid(world: World, appid: str, openid: str) -> None:
    """Check that an openid belongs to an AppID; of an AppID that is no account here, any may."""
    account = world.state.accounts.get(appid)
    if account is not None and openid not in account.users:
        raise PayRefusal(
            "OPENID_MISMATCH",
            "the openid is not one of this appid's users",
            field="/payer/openid",
            value=openid,
            status=world.policy.pay_openid_mismatch_status,
        )


def deadline(world: World, text: str, now: float) -> float:
    """Return when an order ends: as wished, within the platform's bounds.

    Raises:
        PayRefusal: The wish is no time with an offset.
    """
    policy = world.policy
    if not text:
        return now + policy.pay_order_life
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise schema.wrong("/time_expire", "no RFC 3339 time with an offset", "时间格式不正确", text)
    return min(max(moment.timestamp(), now + policy.pay_order_life_min), now + policy.pay_order_life_max)


def query_by_number(signed: Signed) -> JsonObject:
    """Query an order by the merchant's number."""
    signed.own(needed(signed, "mchid"), "mchid", "query")
    order = ledger.find(signed.merchant, signed.path("out_trade_no"))
    signed.why += f"; {order.state}"
    return shapes.transaction(order)


def query_by_id(signed: Signed) -> JsonObject:
    """Query a paid order by the platform's number."""
    signed.own(needed(signed, "mchid"), "mchid", "query")
    order = ledger.find_paid(signed.world, signed.merchant, signed.path("transaction_id"))
    signed.why += f"; {order.state}"
    return shapes.transaction(order)


def needed(signed: Signed, name: str) -> str:
    """Return a query parameter that must be there."""
    value = signed.call.query(name)
    if not value:
        why = f"the query has no {name}"
        raise PayRefusal("PARAM_ERROR", why, message=f"缺少参数{name}", field=name, location="query")
    return value


def close(signed: Signed) -> None:
    """Close an unpaid order."""
    signed.check(schema.CLOSE)
    signed.own(signed.text("mchid"), "/mchid")
    order = ledger.find(signed.merchant, signed.path("out_trade_no"))
    signed.why += ledger.close(signed.world, order, signed.world.policy.pay_close_min_age)


# --- refunds ----------------------------------------------------------------------------------------------------------


def refund(signed: Signed) -> JsonObject:
    """Refund an order, wholly or in part."""
    signed.check(schema.REFUND)
    world, merchant = signed.world, signed.merchant
    transaction_id, number = signed.text("transaction_id"), signed.text("out_trade_no")
    if bool(transaction_id) == bool(number) and not transaction_id:
        raise schema.wrong("/transaction_id", "missing, and out_trade_no too", "缺少订单号")
    try:
        order = ledger.find_paid(world, merchant, transaction_id) if transaction_id else ledger.find(merchant, number)
    except PayRefusal as refusal:
        if refusal.code != "ORDER_NOT_EXIST":
            raise
        raise PayRefusal("RESOURCE_NOT_EXISTS", refusal.why, message="订单不存在", internal=268_512_771) from refusal
    if number and order.out_trade_no != number:
        raise PayRefusal("INVALID_REQUEST", "the two numbers name two orders", message="订单号不一致")
    if signed.text("amount", "currency") != "CNY":
        raise schema.wrong("/amount/currency", "not CNY", "不支持的币种", signed.text("amount", "currency"))
    parts = [as_object(item) or {} for item in as_list((as_object(signed.body["amount"]) or {}).get("from")) or []]
    amounts = [value for item in parts if isinstance(value := item.get("amount"), int)]
    if parts and sum(amounts) != signed.number("amount", "refund"):
        raise schema.wrong("/amount/from", "the parts do not add up to amount.refund", "退款出资账户金额不正确")
    # The order may be named by either number: that is no other content.
    content = fingerprint([order.out_trade_no, signed.content("transaction_id", "out_trade_no")])
    wanted = Refund(
        out_refund_no=signed.text("out_refund_no"),
        refund_id=ledger.new_number(world, "503", signed.now),
        out_trade_no=order.out_trade_no,
        transaction_id=order.transaction_id,
        amount=signed.number("amount", "refund"),
        total=signed.number("amount", "total"),
        currency="CNY",
        created_at=signed.now,
        content=content,
        reason=signed.text("reason"),
        notify_url=signed.text("notify_url"),
        funds_account=signed.text("funds_account") or "AVAILABLE",
        received_account="支付用户零钱",
    )
    item, remark = ledger.refund(world, merchant, order, wanted)
    signed.why += remark + (notices.warning(item.notify_url) if item.notify_url else "")
    return shapes.refund(item)


def query_refund(signed: Signed) -> JsonObject:
    """Query a refund."""
    item = signed.merchant.refunds.get(signed.path("out_refund_no"))
    if item is None:
        raise PayRefusal("RESOURCE_NOT_EXISTS", "the merchant has no refund of this number", message="退款单不存在")
    signed.why += f"; {item.status}"
    return shapes.refund(item)


def refund_again(signed: Signed) -> JsonObject:
    """Send an abnormal refund to another account."""
    signed.check(schema.REFUND_AGAIN)
    for item in signed.merchant.refunds.values():
        if item.refund_id == signed.path("refund_id") and item.out_refund_no == signed.text("out_refund_no"):
            break
    else:
        raise PayRefusal("RESOURCE_NOT_EXISTS", "the merchant has no such refund", message="退款单不存在")
    if signed.text("type") == "USER_BANK_CARD":
        for name in ("bank_type", "bank_account", "real_name"):
            if not signed.text(name):
                raise schema.wrong(f"/{name}", "missing for USER_BANK_CARD", "缺少参数")
        for name in ("bank_account", "real_name"):
            opened(signed, name)
    ledger.refund_again(signed.world, signed.merchant, item)
    return shapes.refund(item)


def opened(signed: Signed, name: str) -> str:
    """Open an enciphered member; the header must name the key it was enciphered with."""
    if not signed.call.request.headers.get("wechatpay-serial"):
        raise PayRefusal(
            "PARAM_ERROR",
            "an enciphered member needs Wechatpay-Serial to name its key",
            message="缺少Wechatpay-Serial",
            field="Wechatpay-Serial",
            location="header",
        )
    try:
        return signing.open_field(signed.label, signed.text(name))
    except ValueError:
        raise schema.wrong(
            f"/{name}", "not enciphered with the named key (RSA-OAEP, SHA-1)", "敏感信息解密失败"
        ) from None


# --- bills ------------------------------------------------------------------------------------------------------------


def bill(kind: Literal["trade", "fund"]) -> Callable[[Signed], JsonObject]:
    """Return the handler that gives out the link to a bill."""

    def handle(signed: Signed) -> JsonObject:
        query = signed.call.query
        text = bills.make(
            signed.world,
            signed.merchant,
            kind,
            needed(signed, "bill_date"),
            query("bill_type" if kind == "trade" else "account_type"),
        )
        gzip = query("tar_type") == "GZIP"
        if query("tar_type") not in {"", "GZIP"}:
            raise PayRefusal("PARAM_ERROR", "tar_type is GZIP or absent", field="tar_type", location="query")
        host = signed.call.request.headers.get("host", "")
        return bills.link(signed.world, signed.merchant, text, host, gzip=gzip)

    return handle


def download(signed: Signed) -> Reply:
    """Hand out a bill. The answer carries no signature: its hash came with the link."""
    data, gzip = bills.fetch(signed.world, signed.merchant, needed(signed, "token"))
    request_id = new_request_id(signed.world)
    return Reply(
        data,
        content_type="application/x-gzip" if gzip else "text/csv; charset=utf-8",
        headers=(("Request-ID", request_id),),
        why=f"merchant {signed.merchant.mchid}; a bill of {len(data)} bytes",
        rid=request_id,
    )


# --- certificates -----------------------------------------------------------------------------------------------------


def certificates(signed: Signed) -> JsonObject:
    """Hand out the platform certificates in force, enciphered with the APIv3 key."""
    merchant, world = signed.merchant, signed.world
    if signed.call.query("algorithm_type") not in {"", "RSA", "ALL"}:
        raise PayRefusal("PARAM_ERROR", "only RSA is known here", field="algorithm_type", location="query")
    valid = signing.valid_certificates(world, merchant)
    if not valid:
        why = "the merchant has the WeChat Pay public key only"
        raise PayRefusal(
            "RESOURCE_NOT_EXISTS", why, message="无可用的平台证书，请在商户平台-API安全申请使用微信支付公钥"
        )
    return {
        "data": [
            {
                "serial_no": item.serial,
                "effective_time": shapes.rfc3339(item.effective_at),
                "expire_time": shapes.rfc3339(item.expires_at),
                "encrypt_certificate": signing.seal_resource(
                    world, merchant.api_v3_key, keys.platform_certificate(item).encode(), "certificate"
                ),
            }
            for item in valid
        ]
    }


# --- transfers --------------------------------------------------------------------------------------------------------


def transfer(signed: Signed) -> JsonObject:
    """Transfer money to a user, who confirms on the phone."""
    signed.check(schema.TRANSFER)
    world, merchant, policy = signed.world, signed.merchant, signed.world.policy
    signed.bound(signed.text("appid"), "TRANSFER")
    if signed.text("transfer_scene_id") not in merchant.transfer_scenes:
        raise PayRefusal("NO_AUTH", "the scene is not granted to the merchant", message="未开通该转账场景")
    if not as_list(signed.body["transfer_scene_report_infos"]):
        raise schema.wrong("/transfer_scene_report_infos", "empty", "缺少转账场景报备信息")
    check_openid(world, signed.text("appid"), signed.text("openid"))
    amount = signed.number("transfer_amount")
    if amount > policy.pay_transfer_max:
        issue = f"above {policy.pay_transfer_max}"
        raise schema.wrong("/transfer_amount", issue, "金额超出限制", amount, internal=schema.OUT_OF_RANGE)
    name = opened(signed, "user_name") if signed.text("user_name") else ""
    if not name and amount >= policy.pay_transfer_name_from:
        raise schema.wrong("/user_name", f"missing from {policy.pay_transfer_name_from} fen on", "缺少收款用户姓名")
    if name and amount < policy.pay_transfer_no_name_below:
        raise schema.wrong(
            "/user_name", f"given below {policy.pay_transfer_no_name_below} fen", "不支持校验收款用户姓名"
        )
    # A name is enciphered anew each time: what counts is what it says.
    content = fingerprint([signed.content("user_name"), name])
    wanted = Transfer(
        out_bill_no=signed.text("out_bill_no"),
        transfer_bill_no=ledger.new_number(world, "1330", signed.now),
        appid=signed.text("appid"),
        openid=signed.text("openid"),
        amount=amount,
        remark=signed.text("transfer_remark"),
        scene_id=signed.text("transfer_scene_id"),
        created_at=signed.now,
        updated_at=signed.now,
        content=content,
        package_info=world.make_id("package info", 88),
        user_name=name,
        notify_url=signed.text("notify_url"),
    )
    item, remark = ledger.transfer(world, merchant, wanted)
    signed.why += remark + (notices.warning(item.notify_url) if item.notify_url else "")
    shown: JsonObject = {
        "out_bill_no": item.out_bill_no,
        "transfer_bill_no": item.transfer_bill_no,
        "create_time": shapes.rfc3339(item.created_at),
        "state": item.state,
    }
    if item.state == "WAIT_USER_CONFIRM":
        shown["package_info"] = item.package_info
    if item.fail_reason:
        shown["fail_reason"] = item.fail_reason
    return shown


def found_transfer(signed: Signed) -> Transfer:
    """Return the transfer the path names, by either number."""
    part = signed.call.path
    oldest = signed.now - signed.world.policy.pay_transfer_days * ledger.DAY
    for item in signed.merchant.transfers.values():
        named = part.get("out_bill_no") == item.out_bill_no or part.get("transfer_bill_no") == item.transfer_bill_no
        if named and item.created_at >= oldest:
            return item
    raise PayRefusal("NOT_FOUND", "the merchant has no such transfer of the last 30 days")


def query_transfer(signed: Signed) -> JsonObject:
    """Query a transfer."""
    item = found_transfer(signed)
    shown = shapes.transfer_bill(signed.merchant, item)
    if item.user_name:
        shown["user_name"] = signing.seal_field(signed.world, signed.merchant, item.user_name)
    signed.why += f"; {item.state}"
    return shown


def cancel_transfer(signed: Signed) -> JsonObject:
    """Cancel a transfer that has not been confirmed."""
    item = found_transfer(signed)
    ledger.cancel_transfer(signed.world, signed.merchant, item)
    return {
        "out_bill_no": item.out_bill_no,
        "transfer_bill_no": item.transfer_bill_no,
        "state": item.state,
        "update_time": shapes.rfc3339(item.updated_at),
    }


# --- everything else --------------------------------------------------------------------------------------------------

# What the codes of the other hosts mean here, for faults that name one of those.
CODES_HERE: Final = {-1: "SYSTEM_ERROR", 45009: "FREQUENCY_LIMITED", 45011: "FREQUENCY_LIMITED", 48001: "NO_AUTH"}
CODES_OF_KINDS: Final = {"busy": "SYSTEM_ERROR", "broken": "SYSTEM_ERROR", "limited": "FREQUENCY_LIMITED"}


def nowhere(call: Call, wanted: str) -> Reply:
    """Answer a path that is none of these: not simulated, or the wrong verb."""
    path = call.request.path
    if wanted:
        why = f"{call.request.method} is the wrong verb for this path, {wanted} is wanted"
        return refuse(call.world, PayRefusal("INVALID_REQUEST", why, message="请求方法不正确", status=405))
    what = next((name for start, name in NAMED.items() if path.startswith(start)), "")
    if what:
        why = f"{what} are not simulated"
        return refuse(call.world, PayRefusal("NO_AUTH", why, message=f"The simulator does not simulate {what}."))
    why = "the simulator has no such path"
    return refuse(
        call.world, PayRefusal("RESOURCE_NOT_EXISTS", why, message="请求的资源不存在", field=path, location="url")
    )


def ordered_refusal(what: Trouble) -> PayRefusal:
    """Return what a fault lets the gateway say. A code that is not in the table is told with status 400."""
    code = what.code or CODES_OF_KINDS.get(what.kind) or CODES_HERE.get(what.errcode, "PARAM_ERROR")
    if code in CODES:
        return PayRefusal(code, what.why)
    refusal = PayRefusal("PARAM_ERROR", what.why, message=code, v2=code)
    refusal.code = code
    return refusal


def trouble(call: Call, what: Trouble) -> Reply:
    """Write a failure as this gateway does."""
    return refuse(call.world, ordered_refusal(what))


def route(method: Literal["GET", "POST"], path: str, handler: Callable[[Call], Reply]) -> Route:
    """Return a route of the gateway: it checks everything itself."""
    return Route(method, path, handler, auth="none", accounts="all", host="mch", takes="raw")


TRANSFERS: Final = "/v3/fund-app/mch-transfer/transfer-bills"
ENDPOINTS: Final[tuple[tuple[Literal["GET", "POST"], str, Callable[[Signed], JsonObject | Reply | None]], ...]] = (
    ("POST", "/v3/pay/transactions/jsapi", prepay("JSAPI", "prepay_id")),
    ("POST", "/v3/pay/transactions/native", prepay("NATIVE", "code_url")),
    ("POST", "/v3/pay/transactions/h5", prepay("MWEB", "h5_url")),
    ("POST", "/v3/pay/transactions/app", prepay("APP", "prepay_id")),
    ("GET", "/v3/pay/transactions/id/{transaction_id}", query_by_id),
    ("GET", "/v3/pay/transactions/out-trade-no/{out_trade_no}", query_by_number),
    ("POST", "/v3/pay/transactions/out-trade-no/{out_trade_no}/close", close),
    ("POST", "/v3/refund/domestic/refunds", refund),
    ("GET", "/v3/refund/domestic/refunds/{out_refund_no}", query_refund),
    ("POST", "/v3/refund/domestic/refunds/{refund_id}/apply-abnormal-refund", refund_again),
    ("GET", "/v3/bill/tradebill", bill("trade")),
    ("GET", "/v3/bill/fundflowbill", bill("fund")),
    ("GET", "/v3/billdownload/file", download),
    ("GET", "/v3/certificates", certificates),
    ("POST", TRANSFERS, transfer),
    ("GET", f"{TRANSFERS}/out-bill-no/{{out_bill_no}}", query_transfer),
    ("GET", f"{TRANSFERS}/transfer-bill-no/{{transfer_bill_no}}", query_transfer),
    ("POST", f"{TRANSFERS}/out-bill-no/{{out_bill_no}}/cancel", cancel_transfer),
)
ROUTES: Final[tuple[Route, ...]] = tuple(route(method, path, gate(handler)) for method, path, handler in ENDPOINTS)
# The gateway answers in its own form even where nothing is, and on every other path of its host.
DIALECTS: Final[tuple[Dialect, ...]] = tuple(Dialect("mch", prefix, nowhere, trouble) for prefix in ("/v3/", "/"))
