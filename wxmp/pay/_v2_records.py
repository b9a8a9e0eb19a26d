"""What the older interface answers and tells (V2), as records: the map of a message, whose sign is checked already.

Values come as text, times without an offset (Beijing), and lists as numbered fields: ``coupon_fee_0``,
``refund_status_0``, ``coupon_type_0_1``. Here they become whole numbers, aware times and tuples; a field that no
record knows is kept in ``extra`` under its own name.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from wxmp._beijing import BEIJING
from wxmp._wire import JsonObject, Payload, decode, wire
from wxmp.errors import PayMismatchError, ReplyError
from wxmp.pay._checks import compare
from wxmp.pay.records import TradeState, TradeType

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "PrepaidV2Order",
    "V2Coupon",
    "V2RefundCoupon",
    "V2RefundEntry",
    "V2RefundNotice",
    "V2RefundPage",
    "V2RefundReceipt",
    "V2RefundStatus",
    "V2Transaction",
    "read_prepaid",
    "read_refund_notice",
    "read_refund_page",
    "read_refund_receipt",
    "read_transaction",
]

T = TypeVar("T")

#: What belongs to the message and not to its subject.
_ENVELOPE: Final = frozenset(
    {"return_code", "return_msg", "result_code", "result_msg", "err_code", "err_code_des", "nonce_str", "sign"}
    | {"sign_type"}
)
_NUMBERED: Final = re.compile(r"([a-z_]+)_([0-9]{1,3})(?:_([0-9]{1,3}))?")
_COMPACT: Final = re.compile(r"[0-9]{14}")
_SPACED: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_FEN: Final = re.compile(r"[0-9]{1,12}")


class V2RefundStatus(StrEnum):
    """How far a refund has got (退款状态)."""

    SUCCESS = "SUCCESS"
    #: Closed: the money stays with the merchant.
    REFUNDCLOSE = "REFUNDCLOSE"
    PROCESSING = "PROCESSING"
    #: The payer's card is gone; what v3 calls ABNORMAL.
    CHANGE = "CHANGE"


@attrs.frozen
class PrepaidV2Order:
    """An order that waits for its payer (统一下单)."""

    trade_type: TradeType | str
    #: Lives two hours.
    prepay_id: str
    #: What a NATIVE order's code shows.
    code_url: str | None = None
    #: Where a MWEB order is paid; lives five minutes.
    mweb_url: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class V2Coupon:
    """One coupon that took part in a payment (代金券)."""

    coupon_id: str = ""
    #: Fen.
    coupon_fen: int | None = attrs.field(default=None, metadata=wire("coupon_fee"))
    #: ``CASH`` or ``NO_CASH``.
    coupon_type: str | None = None


@attrs.frozen
class V2Transaction:
    """An order and its payment (订单): what a query answers, and what the notice of a payment says.

    Compare it with your own order before you deliver: :meth:`check`.
    """

    appid: str
    mchid: str = attrs.field(metadata=wire("mch_id"))
    out_trade_no: str
    #: A notice always says ``SUCCESS``.
    trade_state: TradeState | str
    trade_state_desc: str | None = None
    #: WeChat Pay's own number; there is one once the order is paid.
    transaction_id: str | None = None
    trade_type: TradeType | str | None = None
    openid: str | None = None
    #: ``Y`` or ``N``: does the payer follow the account?
    is_subscribe: str | None = None
    bank_type: str | None = None
    #: Fen, as are all amounts here.
    total_fen: int | None = attrs.field(default=None, metadata=wire("total_fee"))
    #: What is settled: the total without coupons that the merchant need not be paid for.
    settlement_total_fen: int | None = attrs.field(default=None, metadata=wire("settlement_total_fee"))
    #: The currency of the total; absent means CNY.
    fee_type: str | None = None
    cash_fen: int | None = attrs.field(default=None, metadata=wire("cash_fee"))
    cash_fee_type: str | None = None
    coupon_fen: int | None = attrs.field(default=None, metadata=wire("coupon_fee"))
    coupon_count: int | None = None
    coupons: tuple[V2Coupon, ...] = ()
    attach: str | None = None
    device_info: str | None = None
    #: When it was paid.
    time_end: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @property
    def paid(self) -> bool:
        """Whether money has been paid for it; some of it may have gone back."""
        return self.trade_state in (TradeState.SUCCESS, TradeState.REFUND)

    def check(
        self,
        *,
        out_trade_no: str,
        total_fen: int,
        appid: str | None = None,
        mchid: str | None = None,
        currency: str = "CNY",
    ) -> None:
        """Compare it with your own order (校验订单金额): a genuine notice of another order must not pay for this one.

        Raises:
            PayMismatchError: Something differs, or the order is not paid; ``field`` names it.
            ConfigError: An argument is empty, or ``total_fen`` is no whole number.
        """
        compare(
            "the order",
            ("out_trade_no", out_trade_no, self.out_trade_no),
            ("total_fen", total_fen, self.total_fen),
            ("currency", currency, self.fee_type or "CNY"),
            *(() if appid is None else (("appid", appid, self.appid),)),
            *(() if mchid is None else (("mchid", mchid, self.mchid),)),
        )
        if not self.paid:
            raise PayMismatchError("the order is not paid", field="trade_state")


@attrs.frozen
class V2RefundCoupon:
    """What of a refund went back as a coupon (退款代金券)."""

    coupon_refund_id: str = ""
    #: Fen.
    coupon_refund_fen: int | None = attrs.field(default=None, metadata=wire("coupon_refund_fee"))
    #: ``CASH`` or ``NO_CASH``.
    coupon_type: str | None = None


@attrs.frozen
class V2RefundReceipt:
    """A refund that was accepted (申请退款). The money is not back yet: ask ``refund_get``, or wait for the notice."""

    out_refund_no: str
    refund_id: str
    transaction_id: str
    out_trade_no: str
    #: Fen, as are all amounts here.
    refund_fen: int = attrs.field(metadata=wire("refund_fee"))
    #: The order's total.
    total_fen: int = attrs.field(metadata=wire("total_fee"))
    settlement_refund_fen: int | None = attrs.field(default=None, metadata=wire("settlement_refund_fee"))
    settlement_total_fen: int | None = attrs.field(default=None, metadata=wire("settlement_total_fee"))
    fee_type: str | None = None
    cash_fen: int | None = attrs.field(default=None, metadata=wire("cash_fee"))
    cash_fee_type: str | None = None
    cash_refund_fen: int | None = attrs.field(default=None, metadata=wire("cash_refund_fee"))
    coupon_refund_fen: int | None = attrs.field(default=None, metadata=wire("coupon_refund_fee"))
    coupon_refund_count: int | None = None
    coupons: tuple[V2RefundCoupon, ...] = ()
    #: ``ORIGINAL``, ``BALANCE``, ``OTHER_BALANCE`` or ``OTHER_BANKCARD``.
    refund_channel: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class V2RefundEntry:
    """One refund of an order (退款单)."""

    out_refund_no: str
    refund_id: str
    refund_status: V2RefundStatus | str
    #: Fen, as are all amounts here.
    refund_fen: int = attrs.field(metadata=wire("refund_fee"))
    settlement_refund_fen: int | None = attrs.field(default=None, metadata=wire("settlement_refund_fee"))
    #: ``ORIGINAL``, ``BALANCE``, ``OTHER_BALANCE`` or ``OTHER_BANKCARD``.
    refund_channel: str | None = None
    refund_account: str | None = None
    #: Where the money went, in words.
    refund_recv_account: str | None = attrs.field(default=None, metadata=wire("refund_recv_accout"))
    refund_success_time: datetime | None = None
    coupon_refund_fen: int | None = attrs.field(default=None, metadata=wire("coupon_refund_fee"))
    coupon_refund_count: int | None = None
    coupons: tuple[V2RefundCoupon, ...] = ()


@attrs.frozen
class V2RefundPage:
    """The refunds of an order, or some of them (查询退款)."""

    transaction_id: str
    out_trade_no: str
    #: Fen.
    total_fen: int = attrs.field(metadata=wire("total_fee"))
    refunds: tuple[V2RefundEntry, ...] = ()
    #: All refunds of the order; this answer carries at most 10 or 20 of them. Go on with ``offset``.
    total_refund_count: int | None = None
    cash_fen: int | None = attrs.field(default=None, metadata=wire("cash_fee"))
    fee_type: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class V2RefundNotice:
    """The end of a refund (退款结果通知). Nothing signs it: ask with ``refund_get`` before you act on it."""

    appid: str
    mchid: str = attrs.field(metadata=wire("mch_id"))
    out_refund_no: str
    refund_id: str
    out_trade_no: str
    transaction_id: str
    refund_status: V2RefundStatus | str
    #: Fen, as are all amounts here.
    refund_fen: int = attrs.field(metadata=wire("refund_fee"))
    #: The order's total.
    total_fen: int = attrs.field(metadata=wire("total_fee"))
    settlement_refund_fen: int | None = attrs.field(default=None, metadata=wire("settlement_refund_fee"))
    settlement_total_fen: int | None = attrs.field(default=None, metadata=wire("settlement_total_fee"))
    cash_refund_fen: int | None = attrs.field(default=None, metadata=wire("cash_refund_fee"))
    success_time: datetime | None = None
    refund_account: str | None = None
    #: Where the money went, in words.
    refund_recv_account: str | None = attrs.field(default=None, metadata=wire("refund_recv_accout"))
    #: ``API`` or ``VENDOR_PLATFORM`` (the merchant's console).
    refund_request_source: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


def read_prepaid(fields: Mapping[str, str], endpoint: str) -> PrepaidV2Order:
    """Read the answer of an order."""
    return _record(PrepaidV2Order, _subject(fields, keep=()), endpoint)


def read_transaction(fields: Mapping[str, str], endpoint: str, *, notice: bool = False) -> V2Transaction:
    """Read an order's state; a notice has none, because it is success."""
    plain, rows = _rows(_subject(fields), {"coupon_id", "coupon_type", "coupon_fee"})
    payload: Payload = {**plain, "coupons": [_timed(row, endpoint) for row in rows]}
    if notice:
        payload.setdefault("trade_state", TradeState.SUCCESS.value)
    return _record(V2Transaction, payload, endpoint)


def read_refund_receipt(fields: Mapping[str, str], endpoint: str) -> V2RefundReceipt:
    """Read the answer of a refund."""
    plain, rows = _rows(_subject(fields, keep=()), _REFUND_COUPON)
    return _record(V2RefundReceipt, {**plain, "coupons": [_timed(row, endpoint) for row in rows]}, endpoint)


def read_refund_page(fields: Mapping[str, str], endpoint: str) -> V2RefundPage:
    """Read the refunds of an order."""
    plain, rows = _rows(_subject(fields, keep=()), _REFUND_ENTRY)
    entries: list[Payload] = []
    for row in rows:
        # Within a row "coupon_refund_fee" is the sum, "coupon_refund_fee_1" one coupon's.
        own, coupons = _rows(row, _REFUND_COUPON)
        entries.append({**_timed(own, endpoint), "coupons": [_timed(coupon, endpoint) for coupon in coupons]})
    # How many entries there are, they say themselves.
    plain.pop("refund_count", None)
    return _record(V2RefundPage, {**plain, "refunds": entries}, endpoint)


def read_refund_notice(envelope: Mapping[str, str], inner: Mapping[str, str], endpoint: str) -> V2RefundNotice:
    """Read the notice of a refund: whose it is stands outside, the rest inside."""
    payload = {name: value for name, value in inner.items() if value != ""}
    return _record(V2RefundNotice, payload | {name: envelope[name] for name in ("appid", "mch_id")}, endpoint)


_REFUND_COUPON: Final = frozenset({"coupon_type", "coupon_refund_id", "coupon_refund_fee"})
_REFUND_ENTRY: Final = _REFUND_COUPON | frozenset(
    {"out_refund_no", "refund_id", "refund_channel", "refund_fee", "settlement_refund_fee", "coupon_refund_count"}
    | {"refund_status", "refund_account", "refund_recv_accout", "refund_success_time"}
)


def _subject(fields: Mapping[str, str], *, keep: Collection[str] = ("appid", "mch_id")) -> dict[str, str]:
    """Return the fields that are about the order. Empty ones were not signed, so they say nothing."""
    envelope = _ENVELOPE | {"appid", "mch_id"}.difference(keep)
    return {name: value for name, value in fields.items() if name not in envelope and value != ""}


def _rows(fields: Mapping[str, str], names: Collection[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Take numbered fields apart: ``refund_fee_0`` is ``refund_fee`` of row 0, ``coupon_type_0_1`` its coupon 1's."""
    plain: dict[str, str] = {}
    rows: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        parts = _NUMBERED.fullmatch(name)
        if parts is None or parts[1] not in names:
            plain[name] = value
        else:
            rows.setdefault(int(parts[2]), {})[parts[1] if parts[3] is None else f"{parts[1]}_{parts[3]}"] = value
    return plain, [rows[number] for number in sorted(rows)]


def _timed(fields: Mapping[str, str], endpoint: str) -> Payload:
    """Give the times their seconds since 1970, and see that amounts are whole numbers of fen."""
    found: Payload = dict(fields)
    for name, value in fields.items():
        if name == "time_end" or name.endswith("success_time"):
            found[name] = _seconds(name, value, endpoint)
        elif name.endswith("_fee") and _FEN.fullmatch(value) is None:
            raise ReplyError(f"{name} is no whole number of fen", endpoint=endpoint)
    return found


def _seconds(name: str, value: str, endpoint: str) -> int:
    form = "%Y%m%d%H%M%S" if _COMPACT.fullmatch(value) else "%Y-%m-%d %H:%M:%S" if _SPACED.fullmatch(value) else ""
    try:
        return int(datetime.strptime(value, form).replace(tzinfo=BEIJING).timestamp())
    except ValueError:
        pass  # its text would carry the value
    raise ReplyError(f"{name} is no time of the platform", endpoint=endpoint)


def _record(cls: type[T], payload: Mapping[str, object], endpoint: str) -> T:
    texts: dict[str, Any] = {name: value for name, value in payload.items() if isinstance(value, str)}
    return decode(cls, {**payload, **_timed(texts, endpoint)}, endpoint=endpoint)
