"""The members a v3 body may have, and the gateway's checks of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import attrs

from wxmp.simulator.pay.refusals import PayRefusal
from wxmp.simulator.wire import JsonObject, as_list, as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLOSE", "ORDERS", "REFUND", "REFUND_AGAIN", "TRANSFER", "Field", "check", "readable_address"]

Schema = dict[str, "Field"]
# Four-byte characters do not fit the platform's tables.
WIDE: Final = re.compile("[\U00010000-\U0010ffff\ud800-\udfff]")
UNKNOWN: Final = 270_924_358
OUT_OF_RANGE: Final = 268_435_464


@attrs.frozen
class Field:
    """One member: its kind, its limits, and what it holds."""

    kind: Literal["str", "int", "bool", "list", "obj"] = "str"
    limit: int = 0
    required: bool = False
    at_least: int = 0
    pattern: str = ""
    holds: Schema | None = None
    is_address: bool = False


def text(limit: int, *, required: bool = False, at_least: int = 0, pattern: str = "") -> Field:
    """Return a text member of so many characters at most."""
    return Field("str", limit, required, at_least, pattern)


def number(*, required: bool = False, at_least: int = -(1 << 62)) -> Field:
    """Return a whole number."""
    return Field("int", 0, required, at_least)


def part(holds: Schema | None, *, required: bool = False) -> Field:
    """Return an object; ``None`` lets it hold anything."""
    return Field("obj", required=required, holds=holds)


def address(*, required: bool = False) -> Field:
    """Return an http or https address."""
    return Field("str", 255, required, is_address=True)


def many(holds: Schema | None, *, required: bool = False) -> Field:
    """Return a list of objects; ``None`` lets it hold anything."""
    return Field("list", required=required, holds=holds)


STORE: Final[Schema] = {"id": text(32, required=True), "name": text(256), "area_code": text(32), "address": text(512)}
SCENE: Final[Schema] = {
    "payer_client_ip": text(45, required=True),
    "device_id": text(32),
    "store_info": part(STORE),
}
H5_SCENE: Final[Schema] = {
    **SCENE,
    "h5_info": part(
        {
            "type": text(32, required=True),
            "app_name": text(64),
            "app_url": text(128),
            "bundle_id": text(128),
            "package_name": text(128),
        },
        required=True,
    ),
}
GOODS: Final[Schema] = {
    "merchant_goods_id": text(32, required=True),
    "wechatpay_goods_id": text(32),
    "goods_name": text(256),
    "quantity": number(required=True, at_least=1),
    "unit_price": number(required=True, at_least=0),
}
ORDER: Final[Schema] = {
    "appid": text(32, required=True),
    "mchid": text(32, required=True),
    "description": text(127, required=True, at_least=1),
    "out_trade_no": text(32, required=True, pattern=r"[0-9A-Za-z_\-|*]{6,32}"),
    "time_expire": text(64),
    "attach": text(128),
    "notify_url": address(required=True),
    "goods_tag": text(32),
    "limit_pay": many(None),
    "support_fapiao": Field("bool"),
    "amount": part({"total": number(required=True, at_least=1), "currency": text(16)}, required=True),
    "detail": part({"cost_price": number(), "invoice_id": text(32), "goods_detail": many(GOODS)}),
    "scene_info": part(SCENE),
    "settle_info": part({"profit_sharing": Field("bool")}),
    "subsidy_info": part(None),
}
IDENTITY: Final = part({"type": text(32), "number": text(1024), "name": text(1024)})
ORDERS: Final[Mapping[str, Schema]] = {
    "JSAPI": {**ORDER, "payer": part({"openid": text(128, required=True), "identity": IDENTITY}, required=True)},
    "NATIVE": ORDER,
    "MWEB": {**ORDER, "scene_info": part(H5_SCENE, required=True)},
    "APP": ORDER,
}
CLOSE: Final[Schema] = {"mchid": text(32, required=True)}
REFUND: Final[Schema] = {
    "transaction_id": text(32),
    "out_trade_no": text(32),
    "out_refund_no": text(64, required=True, pattern=r"[0-9A-Za-z_\-|*@]{1,64}"),
    "reason": text(80),
    "notify_url": address(),
    "funds_account": text(32, pattern="AVAILABLE|UNSETTLED"),
    "amount": part(
        {
            "refund": number(required=True, at_least=1),
            "total": number(required=True, at_least=1),
            "currency": text(16, required=True),
            "from": many({"account": text(32, required=True), "amount": number(required=True, at_least=1)}),
        },
        required=True,
    ),
    "goods_detail": many(
        {
            "merchant_goods_id": text(32, required=True),
            "wechatpay_goods_id": text(32),
            "goods_name": text(256),
            "unit_price": number(required=True),
            "refund_amount": number(required=True),
            "refund_quantity": number(required=True),
        }
    ),
}
REFUND_AGAIN: Final[Schema] = {
    "out_refund_no": text(64, required=True),
    "type": text(32, required=True, pattern="USER_BANK_CARD|MERCHANT_BANK_CARD"),
    "bank_type": text(16),
    "bank_account": text(1024),
    "real_name": text(1024),
}
TRANSFER: Final[Schema] = {
    "appid": text(32, required=True),
    "out_bill_no": text(32, required=True, pattern=r"[0-9A-Za-z]{1,32}"),
    "transfer_scene_id": text(36, required=True),
    "openid": text(64, required=True),
    "user_name": text(1024),
    "transfer_amount": number(required=True, at_least=1),
    "transfer_remark": text(32, required=True, at_least=1),
    "notify_url": address(),
    "user_recv_perception": text(64),
    "transfer_scene_report_infos": many(
        {"info_type": text(15, required=True), "info_content": text(32, required=True)}, required=True
    ),
    "user_recv_style": part({"type": text(32, pattern="CONFIRM_PAGE|RED_PACKET")}),
}


def check(body: JsonObject, schema: Schema, *, strict: bool, where: str = "") -> None:
    """Check a body against its members.

    Raises:
        PayRefusal: PARAM_ERROR, with a pointer to the first member that is wrong.
    """
    for name, value in body.items():
        field = schema.get(name)
        if field is None:
            if strict:
                raise wrong(f"{where}/{name}", "unknown", "输入源中存在未定义的参数", internal=UNKNOWN)
            continue
        check_value(value, field, f"{where}/{name}", strict=strict)
    for name, field in schema.items():
        if field.required and name not in body:
            raise wrong(f"{where}/{name}", "missing", f"输入源“{where}/{name}”映射到字段必填性规则校验失败")


def check_value(value: object, field: Field, where: str, *, strict: bool) -> None:
    """Check one member."""
    if field.kind == "str":
        check_text(value, field, where)
    elif field.kind == "int":
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong(where, "no whole number", "参数类型不正确", value)
        if value < field.at_least:
            raise wrong(where, f"below {field.at_least}", "参数值超出范围", value, internal=OUT_OF_RANGE)
    elif field.kind == "bool":
        if not isinstance(value, bool):
            raise wrong(where, "no boolean", "参数类型不正确", value)
    elif field.kind == "list":
        items = as_list(value)
        if items is None:
            raise wrong(where, "no list", "参数类型不正确")
        for index, item in enumerate(items if field.holds is not None else ()):
            check_value(item, part(field.holds), f"{where}/{index}", strict=strict)
    else:
        found = as_object(value)
        if found is None:
            raise wrong(where, "no object", "参数类型不正确")
        if field.holds is not None:
            check(found, field.holds, strict=strict, where=where)


def check_text(value: object, field: Field, where: str) -> None:
    """Check a text member."""
    if not isinstance(value, str):
        raise wrong(where, "no text", "参数类型不正确", value)
    if WIDE.search(value):
        raise wrong(where, "a character of four bytes", "参数含有不支持的字符", value)
    if field.limit and len(value) > field.limit:
        raise wrong(where, f"{len(value)} characters, {field.limit} are allowed", "参数长度超出限制", value)
    if len(value) < field.at_least or (field.required and not value):
        raise wrong(where, "empty", f"输入源“{where}”映射到字段字符串规则校验失败", value)
    if field.is_address and not readable_address(value):
        raise wrong(where, "no http or https address", "参数格式不正确", value)
    if field.pattern and not re.fullmatch(field.pattern, value):
        raise wrong(where, f"not of the form {field.pattern}", "参数格式不正确", value)


def readable_address(url: str) -> bool:
    """Tell whether a text is an http or https address with a host."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(host) and not re.search(r"\s", url)


def wrong(field: str, issue: str, message: str, value: object = None, *, internal: int | None = None) -> PayRefusal:
    """Return the refusal of one member."""
    return PayRefusal(
        "PARAM_ERROR",
        f"{field}: {issue}",
        message=message,
        field=field,
        value=value if isinstance(value, str | int) else None,
        detail={"issue": issue},
        internal=internal,
    )
