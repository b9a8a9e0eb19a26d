"""What WeChat Pay tells a merchant (支付通知): one class for each documented kind, and one for everything else.

The class says what has happened, ``resource`` says to what. The fields that no record knows are in ``resource.extra``,
and the whole of what was decrypted is in ``plain``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._wire import JsonObject, decode, wire
from wxmp.errors import PayMismatchError
from wxmp.pay._checks import compare
from wxmp.pay.combine import CombinedOrder
from wxmp.pay.records import (
    PartnerTransaction,
    RefundStatus,
    TradeState,
    Transaction,
    TransferBill,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CombinedPaymentSucceeded",
    "ComplaintCreated",
    "ComplaintStateChanged",
    "CouponUsed",
    "NotifyEvent",
    "PartnerPaymentSucceeded",
    "PaymentEvent",
    "PaymentFailed",
    "PaymentSucceeded",
    "PayscoreConfirmed",
    "PayscorePaid",
    "PlainEvent",
    "RefundAbnormal",
    "RefundClosed",
    "RefundEvent",
    "RefundNotice",
    "RefundNoticeAmount",
    "RefundSucceeded",
    "SharingReturned",
    "SharingSucceeded",
    "TransferAuthorizationConfirmed",
    "TransferBatchClosed",
    "TransferBatchFinished",
    "TransferFinished",
    "UnknownNotification",
    "names_merchant",
    "read_resource",
]


# ---- the end of a refund


@attrs.frozen
class RefundNoticeAmount:
    """The sums in a refund notice (金额信息), fen."""

    #: The order's.
    total_fen: int | None = attrs.field(default=None, metadata=wire("total"))
    #: What goes back.
    refund_fen: int | None = attrs.field(default=None, metadata=wire("refund"))
    payer_total_fen: int | None = attrs.field(default=None, metadata=wire("payer_total"))
    #: Cash that goes back, coupons excluded.
    payer_refund_fen: int | None = attrs.field(default=None, metadata=wire("payer_refund"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class RefundNotice:
    """The content of a refund notice (退款结果通知): less than a query answers, and no currency."""

    out_refund_no: str = ""
    #: ``SUCCESS``, ``CLOSED`` or ``ABNORMAL``. Called ``refund_status`` in the notice, ``status`` in a query.
    status: RefundStatus | str = attrs.field(default="", metadata=wire("refund_status"))
    refund_id: str = ""
    transaction_id: str = ""
    out_trade_no: str = ""
    #: Of a direct merchant.
    mchid: str | None = None
    #: Of a service provider, with ``sub_mchid``.
    sp_mchid: str | None = None
    sub_mchid: str | None = None
    #: When the money was back.
    success_time: datetime | None = None
    #: For people. Not shown by ``repr``.
    user_received_account: str | None = attrs.field(default=None, repr=False)
    amount: RefundNoticeAmount = attrs.field(factory=RefundNoticeAmount)
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)


# ---- the notices


def _compare(*checks: tuple[str, object, object]) -> None:
    compare("the notice", *checks)


def _require_paid(*states: object) -> None:
    # Both mean that the money was received: a notice that comes again may tell of an order with a refund.
    if not states or any(state not in (TradeState.SUCCESS, TradeState.REFUND) for state in states):
        raise PayMismatchError("the order of the notice is not paid", field="trade_state")


@attrs.frozen(kw_only=True)
class NotifyEvent:
    """An authentic notice (通知): signed by WeChat Pay, decrypted, and for the merchant whose keys opened it.

    ``repr`` shows nothing of its contents, so that it may stand in a log.
    """

    #: The same on every repetition: what was handled once under this id needs no second time.
    id: str
    create_time: datetime
    event_type: str
    #: The platform's word for what ``resource`` is; may be empty.
    original_type: str = ""
    #: A line for people.
    summary: str = attrs.field(default="", repr=False)
    #: Whose keys opened it.
    mchid: str
    resource: object = attrs.field(repr=False)
    #: All that was decrypted, as it came.
    plain: JsonObject = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class PaymentEvent(NotifyEvent):
    """A payment of any make (支付通知)."""


@attrs.frozen(kw_only=True)
class PaymentSucceeded(PaymentEvent):
    """An order was paid (支付成功通知): ``TRANSACTION.SUCCESS``."""

    resource: Transaction = attrs.field(repr=False)

    def check(
        self, *, appid: str, out_trade_no: str, total_fen: int, mchid: str | None = None, currency: str = "CNY"
    ) -> None:
        """Compare the payment with your own record of the order, before anything is delivered.

        Args:
            appid: Of the order.
            out_trade_no: Your order number.
            total_fen: What you asked for, in fen: not what the payer paid, which coupons lower.
            mchid: The merchant of the order; absent, the one whose keys opened the notice.
            currency: Of the order.

        Raises:
            PayMismatchError: Something is different, or the order is not paid; it names the field.
            ConfigError: An argument is empty, or ``total_fen`` is no whole number.
        """
        found = self.resource
        _compare(
            ("appid", appid, found.appid),
            ("mchid", self.mchid if mchid is None else mchid, found.mchid),
            ("out_trade_no", out_trade_no, found.out_trade_no),
            ("total_fen", total_fen, found.amount.total_fen),
            ("currency", currency, found.amount.currency),
        )
        _require_paid(found.trade_state)


@attrs.frozen(kw_only=True)
class PartnerPaymentSucceeded(PaymentEvent):
    """An order that a service provider placed was paid (服务商支付成功通知): ``TRANSACTION.SUCCESS``."""

    resource: PartnerTransaction = attrs.field(repr=False)

    def check(
        self,
        *,
        sp_appid: str,
        sub_mchid: str,
        out_trade_no: str,
        total_fen: int,
        sp_mchid: str | None = None,
        currency: str = "CNY",
    ) -> None:
        """Compare the payment with your own record; see :meth:`PaymentSucceeded.check`.

        Raises:
            PayMismatchError: Something is different, or the order is not paid; it names the field.
            ConfigError: An argument is empty, or ``total_fen`` is no whole number.
        """
        found = self.resource
        _compare(
            ("sp_appid", sp_appid, found.sp_appid),
            ("sp_mchid", self.mchid if sp_mchid is None else sp_mchid, found.sp_mchid),
            ("sub_mchid", sub_mchid, found.sub_mchid),
            ("out_trade_no", out_trade_no, found.out_trade_no),
            ("total_fen", total_fen, found.amount.total_fen),
            ("currency", currency, found.amount.currency),
        )
        _require_paid(found.trade_state)


@attrs.frozen(kw_only=True)
class CombinedPaymentSucceeded(PaymentEvent):
    """A combined order was paid (合单支付成功通知): ``TRANSACTION.SUCCESS``."""

    resource: CombinedOrder = attrs.field(repr=False)

    def check(
        self,
        *,
        combine_appid: str,
        combine_out_trade_no: str,
        sub_orders: Mapping[str, int],
        combine_mchid: str | None = None,
        currency: str = "CNY",
    ) -> None:
        """Compare the payment with your own record; see :meth:`PaymentSucceeded.check`.

        Args:
            combine_appid: Of the combined order.
            combine_out_trade_no: Your number of the combined order.
            sub_orders: The amount in fen of each order in it, by its ``out_trade_no``. There must be no other.
            combine_mchid: Who placed it; absent, the one whose keys opened the notice.
            currency: Of all of them.

        Raises:
            PayMismatchError: Something is different, or an order is not paid; it names the field.
            ConfigError: An argument is empty, or an amount is no whole number.
        """
        found = self.resource
        _compare(
            ("combine_appid", combine_appid, found.combine_appid),
            ("combine_mchid", self.mchid if combine_mchid is None else combine_mchid, found.combine_mchid),
            ("combine_out_trade_no", combine_out_trade_no, found.combine_out_trade_no),
            ("sub_orders", sorted(sub_orders), sorted(order.out_trade_no for order in found.sub_orders)),
        )
        for order in found.sub_orders:
            _compare(
                ("total_fen", sub_orders[order.out_trade_no], order.amount.total_amount_fen),
                ("currency", currency, order.amount.currency),
            )
        _require_paid(*(order.trade_state for order in found.sub_orders))


@attrs.frozen(kw_only=True)
class PaymentFailed(PaymentEvent):
    """A deduction failed (扣款失败通知): ``TRANSACTION.FAIL``.

    The products that send it have members of their own beside those of an order: see ``resource.extra``.
    """

    resource: Transaction | PartnerTransaction = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class RefundEvent(NotifyEvent):
    """A refund has ended, well or not (退款结果通知)."""

    resource: RefundNotice = attrs.field(repr=False)

    def check(
        self, *, out_trade_no: str, out_refund_no: str, refund_fen: int, total_fen: int, mchid: str | None = None
    ) -> None:
        """Compare the refund with your own record of it. The notice tells neither an AppID nor a currency.

        Args:
            out_trade_no: Your order number.
            out_refund_no: Your number of the refund.
            refund_fen: What you asked to refund, in fen.
            total_fen: The order's amount, in fen.
            mchid: The merchant; of a partner's order the sub merchant. Absent, it is the one whose keys opened the
                notice, and a sub merchant is not compared.

        Raises:
            PayMismatchError: Something is different; it names the field.
            ConfigError: An argument is empty, or an amount is no whole number.
        """
        found = self.resource
        if mchid is None:
            merchant = ("mchid", self.mchid, found.sp_mchid or found.mchid)
        else:
            merchant = ("mchid", mchid, found.sub_mchid or found.mchid)
        _compare(
            merchant,
            ("out_trade_no", out_trade_no, found.out_trade_no),
            ("out_refund_no", out_refund_no, found.out_refund_no),
            ("refund_fen", refund_fen, found.amount.refund_fen),
            ("total_fen", total_fen, found.amount.total_fen),
        )


@attrs.frozen(kw_only=True)
class RefundSucceeded(RefundEvent):
    """The money went back (退款成功通知): ``REFUND.SUCCESS``."""


@attrs.frozen(kw_only=True)
class RefundAbnormal(RefundEvent):
    """The bank refused the money (退款异常通知): ``REFUND.ABNORMAL``. A person must act: ``refund.apply_abnormal``."""


@attrs.frozen(kw_only=True)
class RefundClosed(RefundEvent):
    """The refund is closed (退款关闭通知): ``REFUND.CLOSED``. Another attempt needs a new ``out_refund_no``."""


@attrs.frozen(kw_only=True)
class TransferFinished(NotifyEvent):
    """A transfer has ended (商家转账回调通知): ``MCHTRANSFER.BILL.FINISHED``. Only its state says how."""

    resource: TransferBill = attrs.field(repr=False)

    def check(self, *, appid: str, out_bill_no: str, transfer_fen: int, mchid: str | None = None) -> None:
        """Compare the transfer with your own record of it. That it has ended does not mean that it was paid.

        Args:
            appid: Of the transfer.
            out_bill_no: Your number.
            transfer_fen: The amount, in fen.
            mchid: The merchant; absent, the one whose keys opened the notice.

        Raises:
            PayMismatchError: Something is different; it names the field.
            ConfigError: An argument is empty, or ``transfer_fen`` is no whole number.
        """
        found = self.resource
        _compare(
            ("appid", appid, found.appid),
            ("mchid", self.mchid if mchid is None else mchid, found.mchid),
            ("out_bill_no", out_bill_no, found.out_bill_no),
            ("transfer_fen", transfer_fen, found.transfer_amount_fen),
        )


@attrs.frozen(kw_only=True)
class PlainEvent(NotifyEvent):
    """A notice whose fields are not described here: ``resource`` is what was decrypted."""

    resource: JsonObject = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class TransferAuthorizationConfirmed(PlainEvent):
    """A payee agrees to transfers without confirming (免确认收款授权): ``MCHTRANSFER.AUTHORIZATION.CONFIRMED``."""


@attrs.frozen(kw_only=True)
class TransferBatchFinished(PlainEvent):
    """A batch of the older transfers has ended (商家转账批次完成通知): ``MCHTRANSFER.BATCH.FINISHED``."""


@attrs.frozen(kw_only=True)
class TransferBatchClosed(PlainEvent):
    """A batch of the older transfers was closed (商家转账批次关闭通知): ``MCHTRANSFER.BATCH.CLOSED``."""


@attrs.frozen(kw_only=True)
class SharingSucceeded(PlainEvent):
    """This merchant received a share of a payment (分账动账通知): ``PROFITSHARING.SUCCESS``."""


@attrs.frozen(kw_only=True)
class SharingReturned(PlainEvent):
    """A share was returned (分账回退通知): ``PROFITSHARING.RETURN``."""


@attrs.frozen(kw_only=True)
class ComplaintCreated(PlainEvent):
    """A user has complained (消费者投诉通知): ``COMPLAINT.CREATE``."""


@attrs.frozen(kw_only=True)
class ComplaintStateChanged(PlainEvent):
    """A complaint is in another state (投诉状态变更通知): ``COMPLAINT.STATE_CHANGE``."""


@attrs.frozen(kw_only=True)
class CouponUsed(PlainEvent):
    """A coupon was used (代金券核销通知): ``COUPON.USE``."""


@attrs.frozen(kw_only=True)
class PayscoreConfirmed(PlainEvent):
    """A user has confirmed a pay-later order (支付分确认订单通知): ``PAYSCORE.USER_CONFIRM``."""


@attrs.frozen(kw_only=True)
class PayscorePaid(PlainEvent):
    """A user has paid a pay-later order (支付分支付成功通知): ``PAYSCORE.USER_PAID``."""


@attrs.frozen(kw_only=True)
class UnknownNotification(PlainEvent):
    """An authentic notice of a kind that this version does not know. The set of kinds is open."""


_KINDS: Final[Mapping[str, type[NotifyEvent]]] = {
    "TRANSACTION.SUCCESS": PaymentSucceeded,
    "TRANSACTION.FAIL": PaymentFailed,
    "REFUND.SUCCESS": RefundSucceeded,
    "REFUND.ABNORMAL": RefundAbnormal,
    "REFUND.CLOSED": RefundClosed,
    "MCHTRANSFER.BILL.FINISHED": TransferFinished,
    "MCHTRANSFER.AUTHORIZATION.CONFIRMED": TransferAuthorizationConfirmed,
    "MCHTRANSFER.BATCH.FINISHED": TransferBatchFinished,
    "MCHTRANSFER.BATCH.CLOSED": TransferBatchClosed,
    "PROFITSHARING.SUCCESS": SharingSucceeded,
    "PROFITSHARING": SharingSucceeded,
    "PROFITSHARING.RETURN": SharingReturned,
    "PROFITSHARING_RETURN": SharingReturned,
    "COMPLAINT.CREATE": ComplaintCreated,
    "COMPLAINT.STATE_CHANGE": ComplaintStateChanged,
    "COUPON.USE": CouponUsed,
    "PAYSCORE.USER_CONFIRM": PayscoreConfirmed,
    "PAYSCORE.USER_PAID": PayscorePaid,
}

#: Who a notice is for, by the field that says so; the first one that is there counts.
_MERCHANT: Final = ("combine_mchid", "sp_mchid", "mchid", "mch_id")

_RESOURCES: Final[Mapping[type[NotifyEvent], type[object]]] = {
    PaymentSucceeded: Transaction,
    PartnerPaymentSucceeded: PartnerTransaction,
    CombinedPaymentSucceeded: CombinedOrder,
    RefundSucceeded: RefundNotice,
    RefundAbnormal: RefundNotice,
    RefundClosed: RefundNotice,
    TransferFinished: TransferBill,
}


def read_resource(event_type: str, plain: JsonObject) -> tuple[type[NotifyEvent], object]:
    """Return the class of a notice, and what its ``resource`` is.

    Raises:
        ReplyError: What was decrypted is not what the documents say of this kind; it names the field.
    """
    cls = _KINDS.get(event_type, UnknownNotification)
    if cls is PaymentSucceeded:
        # One name for three makes of orders, told apart by what stands in them.
        if "combine_out_trade_no" in plain:
            cls = CombinedPaymentSucceeded
        elif "sp_mchid" in plain:
            cls = PartnerPaymentSucceeded
    record = _RESOURCES.get(cls)
    if cls is PaymentFailed:
        record = PartnerTransaction if "sp_mchid" in plain else Transaction
    return cls, plain if record is None else decode(record, plain, endpoint=event_type)


def names_merchant(cls: type[NotifyEvent], plain: JsonObject, mchid: str) -> bool:
    """Whether what was decrypted is about a merchant.

    The payment, refund and transfer notices must name it. Of the others, whose fields are not described, those that
    name any merchant must name this one: a share names the receiver's number beside the one of whoever shares.
    """
    if cls in _RESOURCES:
        named = next((plain[name] for name in _MERCHANT if name in plain), None)
        return named == mchid
    found = [plain[name] for name in (*_MERCHANT, "sub_mchid") if name in plain]
    receiver = plain.get("receiver")
    if isinstance(receiver, dict) and receiver.get("type") == "MERCHANT_ID":
        found.append(receiver.get("account"))
    return not found or mchid in found
