"""The records that several payment families share, notifications among them (订单、退款、转账的公共数据).

Amounts are whole fen (分, 1/100 CNY) and say so in their names; times are aware, in UTC; texts that name a state are
members of the enumeration beside them, or the platform's own text where this version does not know it. Only what an
answer is useless without is required: members come and go, and an answer about money must stay readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, Protocol

import attrs

from wxmp._redact import Secret
from wxmp._wire import JsonObject, Payload, wire
from wxmp.errors import PayMismatchError
from wxmp.pay import _checks as check

__all__ = [
    "BillLink",
    "FundsAccount",
    "GoodsDetail",
    "H5Info",
    "InstallmentInfo",
    "OrderDetail",
    "PartnerPayer",
    "PartnerTransaction",
    "Payer",
    "PayerIdentity",
    "PromotionDetail",
    "PromotionGoods",
    "Refund",
    "RefundAmount",
    "RefundChannel",
    "RefundFrom",
    "RefundGoods",
    "RefundPromotion",
    "RefundPromotionGoods",
    "RefundStatus",
    "SceneInfo",
    "StoreInfo",
    "TradeState",
    "TradeType",
    "Transaction",
    "TransactionAmount",
    "TransactionScene",
    "TransferBill",
    "TransferState",
]

#: The whole ``detail`` of an order, compacted.
DETAIL_BYTES: Final = 6144

IdentityType = Literal[
    "IDCARD",
    "HONGKONG_MACAO",
    "HONGKONG_MACAO_RESIDENT",
    "TAIWAN_RESIDENT",
    "FOREIGN_RESIDENT",
    "OVERSEA_PASSPORT",
    "PHONE_NUMBER",
]
IDENTITY_TYPES: Final = (
    "IDCARD",
    "HONGKONG_MACAO",
    "HONGKONG_MACAO_RESIDENT",
    "TAIWAN_RESIDENT",
    "FOREIGN_RESIDENT",
    "OVERSEA_PASSPORT",
    "PHONE_NUMBER",
)
REFUND_SOURCES: Final = ("AVAILABLE", "UNAVAILABLE")


# ---- words of the platform


class TradeState(StrEnum):
    """What became of an order (交易状态). ``SUCCESS`` and ``REFUND`` both mean that money was received."""

    SUCCESS = "SUCCESS"
    #: Paid, and at least one refund was accepted; the refunds have the details.
    REFUND = "REFUND"
    NOTPAY = "NOTPAY"
    #: By you, or by its deadline.
    CLOSED = "CLOSED"
    #: Reversed; code payments only.
    REVOKED = "REVOKED"
    #: The payer is at the password.
    USERPAYING = "USERPAYING"
    #: A code payment failed, for example at the bank. It can still be paid under the same number.
    PAYERROR = "PAYERROR"
    #: Accepted, deduction to come; older documents only.
    ACCEPT = "ACCEPT"


class TradeType(StrEnum):
    """How an order is paid (交易类型). An order of a mini program says ``JSAPI``, one of a mobile page ``MWEB``."""

    JSAPI = "JSAPI"
    NATIVE = "NATIVE"
    APP = "APP"
    MICROPAY = "MICROPAY"
    MWEB = "MWEB"
    FACEPAY = "FACEPAY"


class RefundStatus(StrEnum):
    """What became of a refund (退款状态)."""

    SUCCESS = "SUCCESS"
    #: Given up: a further attempt needs a new ``out_refund_no``.
    CLOSED = "CLOSED"
    PROCESSING = "PROCESSING"
    #: The bank refuses (card cancelled, account closed): ``refund.apply_abnormal``, or the merchant console.
    ABNORMAL = "ABNORMAL"


class RefundChannel(StrEnum):
    """Where the money goes back to (退款渠道)."""

    ORIGINAL = "ORIGINAL"
    BALANCE = "BALANCE"
    OTHER_BALANCE = "OTHER_BALANCE"
    OTHER_BANKCARD = "OTHER_BANKCARD"


class FundsAccount(StrEnum):
    """Which money of the merchant a refund came from (资金账户)."""

    UNSETTLED = "UNSETTLED"
    AVAILABLE = "AVAILABLE"
    UNAVAILABLE = "UNAVAILABLE"
    OPERATION = "OPERATION"
    BASIC = "BASIC"
    ECNY_BASIC = "ECNY_BASIC"


class TransferState(StrEnum):
    """What became of a transfer (转账单据状态). Until a query shows a final one its number must not be replaced."""

    #: May be sent again under the same number.
    ACCEPTED = "ACCEPTED"
    #: The merchant's money is being set aside; stuck here means that the balance is too low.
    PROCESSING = "PROCESSING"
    WAIT_USER_CONFIRM = "WAIT_USER_CONFIRM"
    #: Spelt with one R on the wire.
    TRANSFERING = "TRANSFERING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"
    CANCELING = "CANCELING"
    CANCELLED = "CANCELLED"


# ---- what an order is made of


@attrs.frozen
class GoodsDetail:
    """One kind of goods in an order (单品)."""

    #: Your number for it: letters, digits, ``-`` and ``_``, at most 32.
    merchant_goods_id: str
    #: How many.
    quantity: int
    #: Fen for one.
    unit_price_fen: int = attrs.field(metadata=wire("unit_price"))
    #: The platform's number for it, at most 32 characters.
    wechatpay_goods_id: str | None = None
    #: At most 256 characters.
    goods_name: str | None = None

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        return {
            **goods_members(self.merchant_goods_id, self.wechatpay_goods_id, self.goods_name, place),
            "quantity": check.count(f"{place}.quantity", self.quantity),
            "unit_price": check.fen(f"{place}.unit_price_fen", self.unit_price_fen, least=0),
        }


def goods_members(own: object, theirs: object, name: object, place: str) -> Payload:
    """Return the names of goods, checked."""
    merchant_goods_id = check.text(f"{place}.merchant_goods_id", own, max_chars=32)
    if not all(character.isascii() and (character.isalnum() or character in "-_") for character in merchant_goods_id):
        raise check.refusal(f"{place}.merchant_goods_id", "must hold only letters, digits, - and _")
    return check.compact(
        {
            "merchant_goods_id": merchant_goods_id,
            "wechatpay_goods_id": check.optional_text(f"{place}.wechatpay_goods_id", theirs, max_chars=32),
            "goods_name": check.optional_text(f"{place}.goods_name", name, max_chars=256),
        }
    )


@attrs.frozen
class OrderDetail:
    """The goods of an order (优惠功能 / 商品详情); at most 6144 bytes altogether."""

    #: The price before discounts, fen; for promotions of single goods.
    cost_price_fen: int | None = attrs.field(default=None, metadata=wire("cost_price"))
    #: At most 32 characters.
    invoice_id: str | None = None
    goods_detail: tuple[GoodsDetail, ...] = ()

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        cost = self.cost_price_fen
        members: Payload = check.compact(
            {
                "cost_price": None if cost is None else check.fen(f"{place}.cost_price_fen", cost, least=0),
                "invoice_id": check.optional_text(f"{place}.invoice_id", self.invoice_id, max_chars=32),
                "goods_detail": wired_each(f"{place}.goods_detail", self.goods_detail, GoodsDetail),
            }
        )
        size = check.compact_size(members)
        if size > DETAIL_BYTES:
            raise check.refusal(place, f"has {size} bytes as JSON; the platform takes {DETAIL_BYTES}")
        return members


@attrs.frozen
class StoreInfo:
    """The shop an order was placed in (商户门店信息)."""

    #: Your number of the shop, at most 32 characters.
    id: str
    #: At most 256 characters.
    name: str | None = None
    #: Number of the area (省市区编码), at most 32 characters.
    area_code: str | None = None
    #: At most 512 characters.
    address: str | None = None

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        return check.compact(
            {
                "id": check.text(f"{place}.id", self.id, max_chars=32),
                "name": check.optional_text(f"{place}.name", self.name, max_chars=256),
                "area_code": check.optional_text(f"{place}.area_code", self.area_code, max_chars=32),
                "address": check.optional_text(f"{place}.address", self.address, max_chars=512),
            }
        )


@attrs.frozen
class SceneInfo:
    """Where an order was placed (场景信息)."""

    #: IPv4 or IPv6 address of the payer's device. The personal data of somebody: not shown by ``repr``.
    payer_client_ip: str = attrs.field(repr=False)
    #: Number of the till or device, at most 32 characters.
    device_id: str | None = None
    store_info: StoreInfo | None = None

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        store = self.store_info
        if store is not None:
            of_kind(f"{place}.store_info", store, StoreInfo)
        return check.compact(
            {
                "payer_client_ip": check.client_ip(f"{place}.payer_client_ip", self.payer_client_ip),
                "device_id": check.optional_text(f"{place}.device_id", self.device_id, max_chars=32),
                "store_info": None if store is None else store.wired(f"{place}.store_info"),
            }
        )


@attrs.frozen
class H5Info:
    """What kind of page an H5 order comes from (H5 场景信息)."""

    #: The payer's system.
    type: Literal["iOS", "Android", "Wap"] = "Wap"
    #: At most 64 characters.
    app_name: str | None = None
    #: At most 128 characters.
    app_url: str | None = None
    #: Of the iOS app, at most 128 characters.
    bundle_id: str | None = None
    #: Of the Android app, at most 128 characters.
    package_name: str | None = None

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        return check.compact(
            {
                "type": check.choice(f"{place}.type", self.type, ("iOS", "Android", "Wap")),
                "app_name": check.optional_text(f"{place}.app_name", self.app_name, max_chars=64),
                "app_url": check.optional_text(f"{place}.app_url", self.app_url, max_chars=128),
                "bundle_id": check.optional_text(f"{place}.bundle_id", self.bundle_id, max_chars=128),
                "package_name": check.optional_text(f"{place}.package_name", self.package_name, max_chars=128),
            }
        )


@attrs.frozen
class PayerIdentity:
    """Who must pay (实名支付); needs the real-name permission. Number and name are enciphered by themselves."""

    type: IdentityType
    #: Number of the document, at most 214 bytes. Not shown by ``repr``.
    number: str = attrs.field(repr=False)
    #: Not shown by ``repr``.
    name: str | None = attrs.field(default=None, repr=False)

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        return check.compact(
            {
                "type": check.choice(f"{place}.type", self.type, IDENTITY_TYPES),
                "number": enciphered(f"{place}.number", self.number),
                "name": None if self.name is None else enciphered(f"{place}.name", self.name),
            }
        )


def enciphered(field: str, value: object) -> Secret:
    """Check a text that must not go out in clear; the gateway enciphers it and names the key."""
    return Secret(check.text(field, value, max_chars=check.ENC_BYTES, max_bytes=check.ENC_BYTES))


def of_kind(field: str, value: object, kind: type) -> None:
    """Check that an argument is the record it should be."""
    if not isinstance(value, kind):
        raise check.refusal(field, f"must be a {kind.__name__}, not {type(value).__name__}")


class Wired(Protocol):
    """A record that knows its checked members."""

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        ...


def wired_each(field: str, items: Iterable[Wired], kind: type) -> list[Payload]:
    """Return the checked members of each record of a list."""
    found: list[Payload] = []
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise check.refusal(field, f"must be a list of {kind.__name__}, not {type(items).__name__}")
    for index, item in enumerate(items):
        of_kind(f"{field}[{index}]", item, kind)
        found.append(item.wired(f"{field}[{index}]"))
    return found


# ---- what an order looks like


@attrs.frozen
class TransactionAmount:
    """What an order costs (订单金额), fen."""

    #: What you asked for. Compare this one with your own order.
    total_fen: int | None = attrs.field(default=None, metadata=wire("total"))
    #: What the payer really paid: the total without coupons.
    payer_total_fen: int | None = attrs.field(default=None, metadata=wire("payer_total"))
    currency: str = "CNY"
    payer_currency: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Payer:
    """Who paid (支付者)."""

    #: Under the order's AppID; absent for unpaid orders, and for some orders of apps. Not shown by ``repr``.
    openid: str | None = attrs.field(default=None, repr=False)
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class TransactionScene:
    """Where an order was paid (场景信息)."""

    device_id: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PromotionGoods:
    """One kind of goods in a promotion (单品列表)."""

    goods_id: str = ""
    quantity: int | None = None
    unit_price_fen: int | None = attrs.field(default=None, metadata=wire("unit_price"))
    discount_amount_fen: int | None = attrs.field(default=None, metadata=wire("discount_amount"))
    goods_remark: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PromotionDetail:
    """A coupon that helped to pay (优惠功能)."""

    coupon_id: str = ""
    name: str | None = None
    #: ``GLOBAL`` or ``SINGLE`` (goods).
    scope: str | None = None
    #: ``CASH``: prefunded, the settlement stays whole. ``NOCASH``: the settlement is lower.
    type: str | None = None
    amount_fen: int | None = attrs.field(default=None, metadata=wire("amount"))
    stock_id: str | None = None
    #: The platform's share, fen.
    wechatpay_contribute_fen: int | None = attrs.field(default=None, metadata=wire("wechatpay_contribute"))
    #: The merchant's share, fen.
    merchant_contribute_fen: int | None = attrs.field(default=None, metadata=wire("merchant_contribute"))
    #: Everybody else's share, fen.
    other_contribute_fen: int | None = attrs.field(default=None, metadata=wire("other_contribute"))
    currency: str | None = None
    goods_detail: tuple[PromotionGoods, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class InstallmentInfo:
    """How a purchase by instalments was paid (分期信息)."""

    use_subsidy: bool | None = None
    selected_installment_number: int | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


#: Money was received.
_PAID: Final = frozenset({TradeState.SUCCESS, TradeState.REFUND})
#: Nothing more happens by itself. (A refund or a reversal is something that you do.)
_SETTLED: Final = frozenset({*_PAID, TradeState.CLOSED, TradeState.REVOKED})


@attrs.frozen
class Transaction:
    """An order as the platform knows it (支付订单): the answer of a query, and the content of a payment notice.

    Before you deliver anything compare it with your own order: :meth:`check`.
    """

    out_trade_no: str = ""
    #: A :class:`TradeState`, or the platform's text where this version does not know it.
    trade_state: TradeState | str = ""
    #: For people.
    trade_state_desc: str = ""
    appid: str = ""
    mchid: str = ""
    #: The platform's number, only once paid. Too long for 64 bits: keep it as text.
    transaction_id: str | None = None
    #: Only once paid.
    trade_type: TradeType | str | None = None
    #: For example ``CMB_CREDIT``; ``OTHERS`` for the balance.
    bank_type: str | None = None
    #: What you sent along, only once paid. Escape it before it goes into a page.
    attach: str | None = None
    #: When it was paid.
    success_time: datetime | None = None
    payer: Payer = attrs.field(factory=Payer, repr=False)
    amount: TransactionAmount = attrs.field(factory=TransactionAmount)
    scene_info: TransactionScene | None = None
    promotion_detail: tuple[PromotionDetail, ...] = ()
    installment_info: InstallmentInfo | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)

    @property
    def paid(self) -> bool:
        """Whether money was received: ``SUCCESS``, and ``REFUND`` too."""
        return self.trade_state in _PAID

    @property
    def settled(self) -> bool:
        """Whether it will stay as it is until you do something: paid, closed or reversed."""
        return self.trade_state in _SETTLED

    def check(
        self, *, appid: str, out_trade_no: str, total_fen: int, mchid: str | None = None, currency: str = "CNY"
    ) -> None:
        """Compare a paid order with your own record of it (核对订单), before anything is delivered.

        Args:
            appid: Of the order.
            out_trade_no: Your order number.
            total_fen: What you asked for, in fen: not what the payer paid, which coupons lower.
            mchid: The merchant of the order; absent, it is not compared: a query asks for the client's own.
            currency: Of the order.

        Raises:
            PayMismatchError: Something is different, or the order is not paid; ``field`` names it.
            ConfigError: An argument is empty, or ``total_fen`` is no whole number.
        """
        check.compare(
            "the order",
            ("appid", appid, self.appid),
            *(() if mchid is None else (("mchid", mchid, self.mchid),)),
            ("out_trade_no", out_trade_no, self.out_trade_no),
            ("total_fen", total_fen, self.amount.total_fen),
            ("currency", currency, self.amount.currency),
        )
        if not self.paid:
            raise PayMismatchError("the order is not paid", field="trade_state")


@attrs.frozen
class PartnerPayer:
    """Who paid a service provider's order (支付者)."""

    #: Under ``sp_appid``. Not shown by ``repr``.
    sp_openid: str | None = attrs.field(default=None, repr=False)
    #: Under ``sub_appid``. Not shown by ``repr``.
    sub_openid: str | None = attrs.field(default=None, repr=False)
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PartnerTransaction:
    """A service provider's order as the platform knows it (服务商支付订单); see :class:`Transaction`."""

    out_trade_no: str = ""
    #: A :class:`TradeState`, or the platform's text where this version does not know it.
    trade_state: TradeState | str = ""
    #: For people.
    trade_state_desc: str = ""
    sp_appid: str = ""
    sp_mchid: str = ""
    sub_appid: str | None = None
    sub_mchid: str = ""
    #: The platform's number, only once paid.
    transaction_id: str | None = None
    #: Only once paid.
    trade_type: TradeType | str | None = None
    bank_type: str | None = None
    attach: str | None = None
    #: When it was paid.
    success_time: datetime | None = None
    payer: PartnerPayer = attrs.field(factory=PartnerPayer, repr=False)
    amount: TransactionAmount = attrs.field(factory=TransactionAmount)
    scene_info: TransactionScene | None = None
    promotion_detail: tuple[PromotionDetail, ...] = ()
    installment_info: InstallmentInfo | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)

    @property
    def paid(self) -> bool:
        """Whether money was received: ``SUCCESS``, and ``REFUND`` too."""
        return self.trade_state in _PAID

    @property
    def settled(self) -> bool:
        """Whether it will stay as it is until you do something: paid, closed or reversed."""
        return self.trade_state in _SETTLED


# ---- refunds


@attrs.frozen
class RefundFrom:
    """A part of a refund, and which money of the merchant it comes from (退款出资账户)."""

    #: ``AVAILABLE`` or ``UNAVAILABLE``.
    account: FundsAccount | str = ""
    #: Needed in a request; an answer may leave it out.
    amount_fen: int | None = attrs.field(default=None, metadata=wire("amount"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        return {
            "account": check.choice(f"{place}.account", self.account, REFUND_SOURCES),
            "amount": check.fen(f"{place}.amount_fen", self.amount_fen),
        }


@attrs.frozen
class RefundGoods:
    """One kind of goods in a refund (退款商品)."""

    #: Your number for it: letters, digits, ``-`` and ``_``, at most 32.
    merchant_goods_id: str
    #: Fen for one.
    unit_price_fen: int
    #: Fen that go back for all of them.
    refund_amount_fen: int
    #: How many.
    refund_quantity: int
    wechatpay_goods_id: str | None = None
    goods_name: str | None = None

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        return {
            **goods_members(self.merchant_goods_id, self.wechatpay_goods_id, self.goods_name, place),
            "unit_price": check.fen(f"{place}.unit_price_fen", self.unit_price_fen, least=0),
            "refund_amount": check.fen(f"{place}.refund_amount_fen", self.refund_amount_fen, least=0),
            "refund_quantity": check.count(f"{place}.refund_quantity", self.refund_quantity),
        }


@attrs.frozen
class RefundAmount:
    """The sums of a refund (金额信息), fen."""

    #: The order's.
    total_fen: int | None = attrs.field(default=None, metadata=wire("total"))
    #: What goes back.
    refund_fen: int | None = attrs.field(default=None, metadata=wire("refund"))
    #: Which money of the merchant it comes from.
    sources: tuple[RefundFrom, ...] = attrs.field(default=(), metadata=wire("from"))
    payer_total_fen: int | None = attrs.field(default=None, metadata=wire("payer_total"))
    #: Cash that goes back, coupons excluded.
    payer_refund_fen: int | None = attrs.field(default=None, metadata=wire("payer_refund"))
    settlement_refund_fen: int | None = attrs.field(default=None, metadata=wire("settlement_refund"))
    settlement_total_fen: int | None = attrs.field(default=None, metadata=wire("settlement_total"))
    discount_refund_fen: int | None = attrs.field(default=None, metadata=wire("discount_refund"))
    currency: str = "CNY"
    #: The fee that the merchant gets back.
    refund_fee_fen: int | None = attrs.field(default=None, metadata=wire("refund_fee"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class RefundPromotionGoods:
    """One kind of goods in a refunded promotion (商品列表)."""

    merchant_goods_id: str = ""
    wechatpay_goods_id: str | None = None
    goods_name: str | None = None
    unit_price_fen: int | None = attrs.field(default=None, metadata=wire("unit_price"))
    refund_amount_fen: int | None = attrs.field(default=None, metadata=wire("refund_amount"))
    refund_quantity: int | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class RefundPromotion:
    """A coupon that goes back (优惠退款信息)."""

    promotion_id: str = ""
    #: ``GLOBAL`` or ``SINGLE`` (goods).
    scope: str | None = None
    #: ``CASH`` or ``NOCASH``; ``COUPON`` or ``DISCOUNT`` in older answers.
    type: str | None = None
    amount_fen: int | None = attrs.field(default=None, metadata=wire("amount"))
    refund_amount_fen: int | None = attrs.field(default=None, metadata=wire("refund_amount"))
    goods_detail: tuple[RefundPromotionGoods, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Refund:
    """A refund as the platform knows it (退款单). Accepted is not done: ``PROCESSING`` is the normal first status."""

    out_refund_no: str = ""
    #: A :class:`RefundStatus`, or the platform's text where this version does not know it.
    status: RefundStatus | str = ""
    #: The platform's number.
    refund_id: str = ""
    transaction_id: str = ""
    out_trade_no: str = ""
    channel: RefundChannel | str | None = None
    #: For people, for example 招商银行信用卡0403. Not shown by ``repr``.
    user_received_account: str | None = attrs.field(default=None, repr=False)
    #: When the money was back.
    success_time: datetime | None = None
    create_time: datetime | None = None
    funds_account: FundsAccount | str | None = None
    amount: RefundAmount = attrs.field(factory=RefundAmount)
    promotion_detail: tuple[RefundPromotion, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)


# ---- bills


@attrs.frozen
class BillLink:
    """Where a bill can be fetched (账单下载地址). Fetch it at once: it lives five minutes, by older text 30 seconds."""

    #: Opaque; it opens the bill for whoever has it. Not shown by ``repr``.
    download_url: str = attrs.field(repr=False)
    #: Hash of the uncompressed file, in hex.
    hash_value: str
    hash_type: str = "SHA1"
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


# ---- transfers

_TRANSFER_FINAL: Final = frozenset({TransferState.SUCCESS, TransferState.FAIL, TransferState.CANCELLED})


@attrs.frozen
class TransferBill:
    """A transfer as the platform knows it (转账单): the answer of a query, and the content of a notice."""

    out_bill_no: str = ""
    #: A :class:`TransferState`, or the platform's text where this version does not know it.
    state: TransferState | str = ""
    #: The platform's number.
    transfer_bill_no: str = ""
    appid: str = ""
    #: Spelt ``mch_id`` by the platform here; a notice may say ``mchid``, which is read as well.
    mchid: str = attrs.field(default="", metadata=wire("mch_id"))
    transfer_amount_fen: int | None = attrs.field(default=None, metadata=wire("transfer_amount"))
    transfer_remark: str | None = None
    #: The platform's word for what went wrong, only with ``FAIL``; an open set.
    fail_reason: str | None = None
    #: Not shown by ``repr``.
    openid: str | None = attrs.field(default=None, repr=False)
    #: The receiver's name, deciphered by ``transfer.get``; in a notice it may still be cipher text. Not shown by
    #: ``repr``.
    user_name: str | None = attrs.field(default=None, repr=False)
    create_time: datetime | None = None
    update_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if not self.mchid and isinstance(other := self.extra.get("mchid"), str):
            object.__setattr__(self, "mchid", other)
            object.__setattr__(self, "extra", {name: value for name, value in self.extra.items() if name != "mchid"})

    @property
    def final(self) -> bool:
        """Whether nothing more happens: ``SUCCESS``, ``FAIL`` or ``CANCELLED``."""
        return self.state in _TRANSFER_FINAL
