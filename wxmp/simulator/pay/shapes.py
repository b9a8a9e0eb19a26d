"""What orders, refunds and transfers look like on the wire: one shape for answers and notices alike."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from wxmp.simulator.clock import SHANGHAI

if TYPE_CHECKING:
    from wxmp.simulator.pay.records import Merchant, Order, Refund, TradeState, Transfer
    from wxmp.simulator.wire import JsonObject

__all__ = [
    "beijing",
    "compact_time",
    "refund",
    "refund_notice",
    "rfc3339",
    "transaction",
    "transfer_bill",
    "v2_refund_notice",
    "v2_transaction",
]

STATES: Final[dict[TradeState, str]] = {
    "NOTPAY": "订单未支付",
    "USERPAYING": "用户支付中",
    "SUCCESS": "支付成功",
    "REFUND": "订单发生过退款，退款详情请查询退款单",
    "CLOSED": "订单已关闭",
    "REVOKED": "订单已撤销",
    "PAYERROR": "支付失败",
}
PAID: Final = frozenset({"SUCCESS", "REFUND"})
V2_REFUND: Final = {"PROCESSING": "PROCESSING", "SUCCESS": "SUCCESS", "CLOSED": "REFUNDCLOSE", "ABNORMAL": "CHANGE"}


def rfc3339(at: float) -> str:
    """Write a time the v3 way, Beijing time with its offset."""
    return datetime.fromtimestamp(int(at), SHANGHAI).isoformat(timespec="seconds")


def compact_time(at: float) -> str:
    """Write a time the v2 way: 14 digits in Beijing time."""
    return f"{datetime.fromtimestamp(int(at), SHANGHAI):%Y%m%d%H%M%S}"


def beijing(at: float) -> str:
    """Write a time as bills and v2 refunds have it."""
    return f"{datetime.fromtimestamp(int(at), SHANGHAI):%Y-%m-%d %H:%M:%S}"


def transaction(order: Order) -> JsonObject:
    """Return an order as v3 shows it; most of it only once it is paid."""
    shown: JsonObject = {
        "appid": order.appid,
        "mchid": order.mchid,
        "out_trade_no": order.out_trade_no,
        "trade_state": order.state,
        "trade_state_desc": STATES[order.state],
    }
    if order.state not in PAID:
        return shown | {"amount": {"total": order.total, "currency": order.currency}}
    shown |= {
        "transaction_id": order.transaction_id,
        "trade_type": order.trade_type,
        "bank_type": order.bank_type,
        "attach": order.attach,
        "success_time": rfc3339(order.paid_at or 0.0),
        "payer": {"openid": order.payer},
        "amount": {
            "total": order.total,
            "payer_total": order.total,
            "currency": order.currency,
            "payer_currency": order.currency,
        },
    }
    if order.device_id:
        shown["scene_info"] = {"device_id": order.device_id}
    return shown


def refund(item: Refund) -> JsonObject:
    """Return a refund as v3 shows it."""
    shown: JsonObject = {
        "refund_id": item.refund_id,
        "out_refund_no": item.out_refund_no,
        "transaction_id": item.transaction_id,
        "out_trade_no": item.out_trade_no,
        "channel": item.channel,
        "user_received_account": item.received_account,
        "create_time": rfc3339(item.created_at),
        "status": item.status,
        "funds_account": item.funds_account,
        "amount": {
            "total": item.total,
            "refund": item.amount,
            "from": [],
            "payer_total": item.total,
            "payer_refund": item.amount,
            "settlement_refund": item.amount,
            "settlement_total": item.total,
            "discount_refund": 0,
            "currency": item.currency,
            "refund_fee": 0,
        },
        "promotion_detail": [],
    }
    if item.status == "SUCCESS" and item.finished_at is not None:
        shown["success_time"] = rfc3339(item.finished_at)
    return shown


def refund_notice(merchant: Merchant, item: Refund) -> JsonObject:
    """Return a refund as its notice shows it: the status has another name there."""
    shown: JsonObject = {
        "mchid": merchant.mchid,
        "out_trade_no": item.out_trade_no,
        "transaction_id": item.transaction_id,
        "out_refund_no": item.out_refund_no,
        "refund_id": item.refund_id,
        "refund_status": item.status,
        "user_received_account": item.received_account,
        "amount": {
            "total": item.total,
            "refund": item.amount,
            "payer_total": item.total,
            "payer_refund": item.amount,
        },
    }
    if item.status == "SUCCESS" and item.finished_at is not None:
        shown["success_time"] = rfc3339(item.finished_at)
    return shown


def transfer_bill(merchant: Merchant, item: Transfer) -> JsonObject:
    """Return a transfer; ``user_name`` is added by whoever can encipher it. The merchant number is ``mch_id`` here."""
    shown: JsonObject = {
        "mch_id": merchant.mchid,
        "out_bill_no": item.out_bill_no,
        "transfer_bill_no": item.transfer_bill_no,
        "appid": item.appid,
        "state": item.state,
        "transfer_amount": item.amount,
        "transfer_remark": item.remark,
        "openid": item.openid,
        "create_time": rfc3339(item.created_at),
        "update_time": rfc3339(item.updated_at),
    }
    if item.fail_reason:
        shown["fail_reason"] = item.fail_reason
    return shown


def v2_transaction(order: Order, *, subscribed: bool) -> dict[str, str]:
    """Return an order as v2 shows it; little more than the state when it is not paid."""
    shown = {"out_trade_no": order.out_trade_no, "trade_state": order.state, "trade_state_desc": STATES[order.state]}
    if order.device_id:
        shown["device_info"] = order.device_id
    if order.state not in PAID:
        return shown
    return shown | {
        "openid": order.payer,
        "is_subscribe": "Y" if subscribed else "N",
        "trade_type": order.trade_type,
        "bank_type": order.bank_type,
        "total_fee": str(order.total),
        "fee_type": order.currency,
        "cash_fee": str(order.total),
        "cash_fee_type": order.currency,
        "transaction_id": order.transaction_id,
        "attach": order.attach,
        "time_end": compact_time(order.paid_at or 0.0),
    }


def v2_refund_notice(item: Refund) -> dict[str, str]:
    """Return a refund as the cipher text of a v2 notice holds it."""
    shown = {
        "transaction_id": item.transaction_id,
        "out_trade_no": item.out_trade_no,
        "refund_id": item.refund_id,
        "out_refund_no": item.out_refund_no,
        "total_fee": str(item.total),
        "settlement_total_fee": str(item.total),
        "refund_fee": str(item.amount),
        "settlement_refund_fee": str(item.amount),
        "refund_status": V2_REFUND[item.status],
        "refund_recv_accout": item.received_account,
        "refund_account": "REFUND_SOURCE_RECHARGE_FUNDS",
        "refund_request_source": "API",
        "cash_refund_fee": str(item.amount),
    }
    if item.status == "SUCCESS" and item.finished_at is not None:
        shown["success_time"] = beijing(item.finished_at)
    return shown
