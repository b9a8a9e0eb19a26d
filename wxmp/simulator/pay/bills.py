"""Bills (账单): real tables made from the ledger, and the links to download them."""

from __future__ import annotations

import gzip as gzip_module
import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from wxmp.simulator.clock import SHANGHAI
from wxmp.simulator.pay.records import BillLink
from wxmp.simulator.pay.refusals import PayRefusal
from wxmp.simulator.pay.shapes import V2_REFUND, beijing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wxmp.simulator.pay.records import Merchant, Order, Refund
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = ["fetch", "link", "make"]

MARK: Final = "\ufeff"
GATEWAY: Final = "https://api.mch.weixin.qq.com"
GATEWAY_DOMAINS: Final = (".mch.weixin.qq.com", ".wechatpay.cn")
TRADE_KINDS: Final = frozenset(
    {"", "ALL", "SUCCESS", "REFUND", "RECHARGE_REFUND", "ALL_SPECIAL", "SUC_SPECIAL", "REF_SPECIAL"}
)
FUND_KINDS: Final = frozenset({"", "BASIC", "OPERATION", "FEES"})
PAYMENT_COLUMNS: Final = (
    *("交易时间", "公众账号ID", "商户号", "特约商户号", "设备号", "微信订单号", "商户订单号", "用户标识", "交易类型"),
    *("交易状态", "付款银行", "货币种类", "应结订单金额", "代金券金额"),
)
REFUND_COLUMNS: Final = ("微信退款单号", "商户退款单号", "退款金额", "充值券退款金额", "退款类型", "退款状态")
TAIL_COLUMNS: Final = ("商品名称", "商户数据包", "手续费", "费率", "订单金额")
TRADE_SUMMARY: Final = (
    "总交易单数",
    "应结订单总金额",
    "退款总金额",
    "充值券退款总金额",
    "手续费总金额",
    "订单总金额",
    "申请退款总金额",
)
FUND_COLUMNS: Final = (
    *("记账时间", "微信支付业务单号", "资金流水单号", "业务名称", "业务类型", "收支类型", "收支金额(元)"),
    *("账户结余(元)", "资金变更提交申请人", "备注", "业务凭证号"),
)
FUND_SUMMARY: Final = ("资金流水总笔数", "收入笔数", "收入金额", "支出笔数", "支出金额")


def make(world: World, merchant: Merchant, kind: Literal["trade", "fund"], date: str, select: str) -> str:
    """Return the text of a bill.

    Args:
        world: The world.
        merchant: Whose bill.
        kind: Orders and refunds, or movements of money.
        date: The day in Beijing, ``yyyy-MM-dd``.
        select: ``bill_type`` or ``account_type``.

    Raises:
        PayRefusal: PARAM_ERROR, STATEMENT_CREATING, NO_STATEMENT_EXIST.
    """
    try:
        day = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=SHANGHAI)
    except ValueError:
        day = None
    if day is None or len(date) != 10:
        raise PayRefusal("PARAM_ERROR", "bill_date is no yyyy-MM-dd", field="bill_date", value=date, location="query")
    if select not in (TRADE_KINDS if kind == "trade" else FUND_KINDS):
        name = "bill_type" if kind == "trade" else "account_type"
        raise PayRefusal("PARAM_ERROR", f"{name} is unknown", field=name, value=select, location="query")
    now = world.now()
    ready = (day + timedelta(days=1)).timestamp() + world.policy.pay_bill_ready_hour * 3600
    if day.timestamp() > now:
        raise PayRefusal("PARAM_ERROR", "bill_date lies in the future", field="bill_date", value=date, location="query")
    if now < ready:
        raise PayRefusal("STATEMENT_CREATING", f"the bill is ready at {beijing(ready)} in Beijing")
    if now - day.timestamp() > world.policy.pay_bill_days * 86_400.0:
        raise PayRefusal("NO_STATEMENT_EXIST", "the day is more than three months ago")
    span = (day.timestamp(), (day + timedelta(days=1)).timestamp())
    text = trade_bill(world, merchant, span, select) if kind == "trade" else fund_bill(world, merchant, span, select)
    if not text:
        raise PayRefusal("NO_STATEMENT_EXIST", "nothing happened on that day")
    return text


def paid_orders(merchant: Merchant, span: tuple[float, float]) -> list[tuple[float, Order]]:
    """Return the orders paid on a day."""
    return [
        (order.paid_at, order)
        for order in merchant.orders.values()
        if order.paid_at is not None and span[0] <= order.paid_at < span[1]
    ]


def day_refunds(merchant: Merchant, span: tuple[float, float]) -> list[Refund]:
    """Return the refunds asked for on a day."""
    return [item for item in merchant.refunds.values() if span[0] <= item.created_at < span[1]]


def trade_bill(world: World, merchant: Merchant, span: tuple[float, float], select: str) -> str:
    """Return the trade bill (交易账单) of a day, or an empty text."""
    rate = world.policy.pay_fee_rate
    with_payments = select not in {"REFUND", "REF_SPECIAL", "RECHARGE_REFUND"}
    with_refunds = select in {"", "ALL", "ALL_SPECIAL", "REFUND", "REF_SPECIAL"}
    rows: list[tuple[float, list[str]]] = []
    charged = refunded = fees = 0
    if with_payments:
        for at, order in paid_orders(merchant, span):
            fee = round(order.total * rate)
            charged, fees = charged + order.total, fees + fee
            middle = ["0", "0", "0.00", "0.00", "", ""] if with_refunds else []
            tail = tail_of(order, fee, rate, order.total)
            rows.append((at, [*head_of(merchant, order, at, "SUCCESS", order.total), *middle, *tail]))
    if with_refunds:
        for item in day_refunds(merchant, span):
            order = merchant.orders[item.out_trade_no]
            refunded += item.amount
            fee = -round(item.amount * rate)
            fees += fee
            state = V2_REFUND[item.status]
            middle = [item.refund_id, item.out_refund_no, yuan(item.amount), "0.00", "ORIGINAL", state]
            head = head_of(merchant, order, item.created_at, "REFUND", 0)
            rows.append((item.created_at, [*head, *middle, *tail_of(order, fee, rate, 0)]))
    if not rows:
        return ""
    columns = [*PAYMENT_COLUMNS, *(REFUND_COLUMNS if with_refunds else ()), *TAIL_COLUMNS]
    summary = [str(len(rows)), *map(yuan, (charged, refunded, 0)), f"{fees / 100:.5f}", yuan(charged), yuan(refunded)]
    return table(columns, [row for _, row in sorted(rows, key=lambda pair: pair[0])], TRADE_SUMMARY, summary)


def head_of(merchant: Merchant, order: Order, at: float, state: str, amount: int) -> list[str]:
    """Return the first columns of a row."""
    return [
        *(beijing(at), order.appid, merchant.mchid, "0", order.device_id, order.transaction_id, order.out_trade_no),
        *(order.payer, order.trade_type, state, order.bank_type, order.currency, yuan(amount), "0.00"),
    ]


def tail_of(order: Order, fee: int, rate: float, amount: int) -> list[str]:
    """Return the last columns of a row."""
    return [order.description, order.attach, f"{fee / 100:.5f}", f"{rate * 100:.2f}%", yuan(amount)]


def fund_bill(world: World, merchant: Merchant, span: tuple[float, float], select: str) -> str:
    """Return the fund-flow bill (资金账单) of a day, or an empty text.

    The balance of each row is counted back from today's: what somebody put in by hand in between shifts it.
    """
    if select not in {"", "BASIC"}:
        return ""
    everything = movements(merchant)
    balance = world.policy.pay_initial_balance
    rows: list[list[str]] = []
    earned = [0, 0]
    spent = [0, 0]
    for at, number, business, amount, note, voucher in everything:
        balance += amount
        if not span[0] <= at < span[1]:
            continue
        side = earned if amount > 0 else spent
        side[0], side[1] = side[0] + 1, side[1] + abs(amount)
        flow = f"{hashlib.sha256(f'{number}{at}'.encode()).hexdigest()[:28]}"
        direction = "收入" if amount > 0 else "支出"
        cells = (business, business, direction, yuan(abs(amount)), yuan(balance), "system", note, voucher)
        rows.append([beijing(at), number, flow, *cells])
    if not rows:
        return ""
    summary = [str(len(rows)), str(earned[0]), yuan(earned[1]), str(spent[0]), yuan(spent[1])]
    return table(FUND_COLUMNS, rows, FUND_SUMMARY, summary)


def movements(merchant: Merchant) -> list[tuple[float, str, str, int, str, str]]:
    """Return every movement of money: time, number, business, amount, note, voucher."""
    found = [
        (order.paid_at, order.transaction_id, "交易", order.total, order.description, order.out_trade_no)
        for order in merchant.orders.values()
        if order.paid_at is not None
    ]
    for item in merchant.refunds.values():
        found.append((item.created_at, item.refund_id, "退款", -item.amount, item.reason, item.out_refund_no))
        if item.status == "CLOSED" and item.finished_at is not None:
            found.append((item.finished_at, item.refund_id, "退款关闭", item.amount, item.reason, item.out_refund_no))
    for bill in merchant.transfers.values():
        number = bill.transfer_bill_no
        found.append((bill.created_at, number, "商家转账", -bill.amount, bill.remark, bill.out_bill_no))
        if bill.state in {"FAIL", "CANCELLED"}:
            found.append((bill.updated_at, number, "转账退回", bill.amount, bill.remark, bill.out_bill_no))
    return sorted(found, key=lambda row: row[0])


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], totals: Sequence[str], summary: Sequence[str]) -> str:
    """Write a bill: headers bare, each value behind a backtick, and a summary at the end."""
    lines = [",".join(columns)]
    lines += [",".join(f"`{clean(value)}" for value in row) for row in rows]
    lines += [",".join(totals), ",".join(f"`{value}" for value in summary)]
    return MARK + "\r\n".join(lines) + "\r\n"


def clean(value: str) -> str:
    """Keep a value on its line; commas stay, as in the real files."""
    return value.replace("\r", " ").replace("\n", " ")


def yuan(fen: int) -> str:
    """Write an amount in yuan with two decimals."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def link(world: World, merchant: Merchant, text: str, host: str, *, gzip: bool) -> JsonObject:
    """Put a bill behind a link for a few minutes.

    Args:
        world: The world.
        merchant: Whose bill.
        text: The bill.
        host: The host the caller has asked: a merchant who reached us under a name of the platform can do it again.
        gzip: Whether the file will be compressed.
    """
    now, state = world.now(), world.state.pay
    state.bills = {token: item for token, item in state.bills.items() if item.expires_at > now}
    token = world.make_id("bill", 64)
    state.bills[token] = BillLink(merchant.mchid, text, gzip, now + world.policy.pay_bill_link_life)
    name = host.partition(":")[0].lower()
    gateway = f"https://{name}" if name.endswith(GATEWAY_DOMAINS) else world.base_url or GATEWAY
    address = f"{gateway}/v3/billdownload/file?token={token}{'&tartype=gzip' if gzip else ''}"
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return {"hash_type": "SHA1", "hash_value": digest, "download_url": address}


def fetch(world: World, merchant: Merchant, token: str) -> tuple[bytes, bool]:
    """Return the bytes behind a link, and whether they are compressed.

    Raises:
        PayRefusal: INVALID_REQUEST for an unknown or old link, NO_AUTH for another merchant's.
    """
    found = world.state.pay.bills.get(token)
    if found is None or found.expires_at <= world.now():
        raise PayRefusal("INVALID_REQUEST", "the link is unknown or has expired", message="下载链接已失效")
    if found.mchid != merchant.mchid:
        raise PayRefusal("NO_AUTH", "the link belongs to another merchant")
    return compress(found.text) if found.gzip else found.text.encode(), found.gzip


def compress(text: str) -> bytes:
    """Compress a text; the time inside the format is left out, so the bytes are always the same."""
    return gzip_module.compress(text.encode(), mtime=0)
