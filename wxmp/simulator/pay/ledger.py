"""The rules of money: merchants, orders, refunds, transfers. Both interfaces and the phone go through here."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypedDict

from wxmp.simulator import people
from wxmp.simulator.clock import SHANGHAI
from wxmp.simulator.pay import notices, signing
from wxmp.simulator.pay.records import (
    Merchant,
    Order,
    Refund,
    Transfer,
    made_up,
)
from wxmp.simulator.pay.refusals import PayRefusal
from wxmp.simulator.pay.shapes import PAID, beijing, compact_time, rfc3339
from wxmp.simulator.state import ChatEntry
from wxmp.simulator.wire import JsonObject, WorldError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wxmp.simulator.pay.records import Notice, NoticeAttempt, PayState, PlatformCertificate, TransferState
    from wxmp.simulator.state import Account, Event, User
    from wxmp.simulator.world import World

__all__ = [
    "EVENTS",
    "MerchantOptions",
    "act_on_order",
    "add_merchant",
    "cancel_transfer",
    "close",
    "complete",
    "default_merchant",
    "describe_merchants",
    "describe_orders",
    "ensure_merchant",
    "find_merchant",
    "fund",
    "merchant_of",
    "notice_attempts",
    "order_notice_state",
    "pay_early",
    "place",
    "refund",
    "rotate_certificate",
    "transfer",
]

Scheme = Literal["both", "public_key", "certificate"]
V3_KEY_BYTES: Final = 32
DAY: Final = 86_400.0
CODE_URL: Final = "weixin://wxpay/bizpayurl?pr="
H5_URL: Final = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id="


# --- merchants --------------------------------------------------------------------------------------------------------


class MerchantOptions(TypedDict, total=False):
    """The optional arguments of :func:`add_merchant`, which explains them."""

    appids: Iterable[str]
    name: str
    api_v3_key: str | None
    api_v2_key: str | None
    private_key: str
    serial: str | None
    scheme: Scheme


def add_merchant(
    world: World,
    mchid: str | None = None,
    appid: str | None = None,
    *,
    appids: Iterable[str] = (),
    name: str = "",
    api_v3_key: str | None = None,
    api_v2_key: str | None = None,
    private_key: str = "",
    serial: str | None = None,
    scheme: Scheme = "both",
) -> Merchant:
    """Add a merchant (商户) with everything its server needs to know. What is left out is made up from the seed.

    Args:
        world: The world.
        mchid: Merchant number, 8 to 10 digits.
        appid: The account it collects for. Without this and ``appids`` it is the default one.
        appids: Further AppIDs bound to it, of mini programs and apps too: they need not be accounts of this world.
        name: What the payer sees.
        api_v3_key: The APIv3 key, exactly 32 bytes.
        api_v2_key: The APIv2 key, 32 characters.
        private_key: The merchant API private key (PEM), when the service has one already.
        serial: Serial number of the merchant API certificate.
        scheme: Which keys of the platform it has: the public key, platform certificates, or both as in the migration.

    Raises:
        WorldError: The number exists already, or a key cannot work.
    """
    with world.lock:
        state = world.state.pay
        number = len(state.merchants) + 1
        seed = world.state.dice.seed
        if mchid is None:
            mchid = default_mchid(seed, number)
        if not (mchid.isascii() and mchid.isdecimal() and 8 <= len(mchid) <= 10):
            raise WorldError("a merchant number has 8 to 10 digits")
        if mchid in state.merchants:
            raise WorldError("this merchant exists already")
        v3_key = api_v3_key if api_v3_key is not None else made_up(seed, f"v3 key {number}", V3_KEY_BYTES)
        if len(v3_key.encode()) != V3_KEY_BYTES:
            raise WorldError("an APIv3 key has exactly 32 bytes")
        if serial is not None and not re.fullmatch(r"(?=.*[1-9A-Fa-f])[0-9A-Fa-f]{1,40}", serial):
            raise WorldError("the serial number of a certificate has 1 to 40 hex digits")
        if private_key:
            from wxmp.simulator.pay import keys

            try:
                keys.load_private(private_key)
            except ValueError as error:
                raise WorldError(f"the private key cannot be used: {error}") from error
        bound = [*([appid] if appid is not None else []), *appids] or [world.account.appid]
        merchant = Merchant(
            mchid=mchid,
            name=name or f"模拟商户{number}",
            number=number,
            appids=list(dict.fromkeys(bound)),
            api_v3_key=v3_key,
            api_v2_key=api_v2_key if api_v2_key is not None else made_up(seed, f"v2 key {number}"),
            serial=serial if serial is not None else signing.made_up_serial(seed, f"merchant serial {number}"),
            public_key_id=""
            if scheme == "certificate"
            else f"PUB_KEY_ID_{mchid.zfill(12)}{seed % 10**6:06d}{number:06d}00",
            certificates=[],
            balance=world.policy.pay_initial_balance,
            given_key=private_key,
            transfer_scenes=list(world.policy.pay_transfer_scenes),
        )
        if scheme != "public_key":
            # In force for a year already, so that a clock moved back a little still finds it.
            signing.certify(world, merchant, world.now() - 365 * DAY)
        state.merchants[mchid] = merchant
        world.announce()
        return merchant


def default_mchid(seed: int, number: int) -> str:
    """Return the number of a world's first, second, … merchant."""
    return f"19{(int(made_up(seed, 'mchid', 12), 16) + number) % 10**8:08d}"


def rotate_certificate(world: World, merchant: Merchant | None = None) -> PlatformCertificate:
    """Put a new platform certificate in force; the one before stays good for a while. It signs from now on.

    Raises:
        WorldError: The merchant has the public key only.
    """
    with world.lock:
        chosen = merchant if merchant is not None else default_merchant(world)
        if not chosen.certificates:
            raise WorldError("this merchant has the WeChat Pay public key only: nothing can be rotated")
        now = world.now()
        for item in chosen.certificates:
            item.expires_at = min(item.expires_at, now + world.policy.pay_certificate_overlap)
        fresh = signing.certify(world, chosen, now)
        chosen.notices_signed_by = fresh.serial
        world.announce()
        return fresh


def default_merchant(world: World) -> Merchant:
    """Return the first merchant of the world; it comes into being when somebody asks for it."""
    with world.lock:
        for merchant in world.state.pay.merchants.values():
            return merchant
        return add_merchant(world)


def find_merchant(world: World, mchid: str) -> Merchant | None:
    """Find a merchant by number.

    The first one is made when its number arrives: it is always the same for a seed, so a service may know it from an
    earlier run.
    """
    state: PayState = world.state.pay
    found = state.merchants.get(mchid)
    if found is None and not state.merchants and mchid == default_mchid(world.state.dice.seed, 1):
        return default_merchant(world)
    return found


def merchant_of(world: World, mchid: str | None) -> Merchant:
    """Return a merchant for somebody outside the gateway; ``None`` means the default one.

    Raises:
        WorldError: There is none of this number.
    """
    if mchid is None:
        return default_merchant(world)
    found = find_merchant(world, mchid)
    if found is None:
        raise WorldError("no such merchant in this world")
    return found


def ensure_merchant(world: World, mchid: str | None = None) -> Merchant:
    """Return a merchant, made if there is none of this number; ``None`` means the default one.

    Raises:
        WorldError: No merchant can have this number.
    """
    with world.lock:
        if mchid is None:
            return default_merchant(world)
        return find_merchant(world, mchid) or add_merchant(world, mchid)


def fund(world: World, amount: int, mchid: str | None = None) -> int:
    """Put money into a merchant's balance (充值), fen; a negative amount takes it away. Returns the new balance."""
    with world.lock:
        merchant = merchant_of(world, mchid)
        merchant.balance += amount
        world.announce()
        return merchant.balance


def home(world: World, appid: str) -> Account:
    """Return the account that events about an AppID are kept with."""
    return world.state.accounts.get(appid) or world.account


# --- what the control page shows --------------------------------------------------------------------------------------


def describe_merchants(world: World, *, keys: bool = False) -> JsonObject:
    """Return all merchants for a control page; with ``keys`` also the private key and everything in PEM."""
    with world.lock:
        return {"merchants": [describe_merchant(item, keys=keys) for item in world.state.pay.merchants.values()]}


def describe_merchant(merchant: Merchant, *, keys: bool = False) -> JsonObject:
    """Return one merchant, its made-up secrets included: a developer copies them into a configuration."""
    shown: JsonObject = {
        "mchid": merchant.mchid,
        "name": merchant.name,
        "appid": merchant.appids[0],
        "appids": list(merchant.appids),
        "api_v3_key": merchant.api_v3_key,
        "api_v2_key": merchant.api_v2_key,
        "serial": merchant.serial,
        "public_key_id": merchant.public_key_id,
        "certificates": [
            {
                "serial": item.serial,
                "effective_time": rfc3339(item.effective_at),
                "expire_time": rfc3339(item.expires_at),
            }
            for item in merchant.certificates
        ],
        "notices_signed_by": merchant.notices_signed_by,
        "refund_notify_url": merchant.refund_notify_url,
        "balance": merchant.balance,
        "orders": len(merchant.orders),
        "refunds": len(merchant.refunds),
        "transfers": len(merchant.transfers),
    }
    if keys:
        shown["private_key"] = merchant.private_key
        shown["certificate"] = merchant.certificate
        shown["platform_public_key"] = merchant.platform_public_key if merchant.public_key_id else ""
        shown["platform_certificates"] = dict(merchant.platform_certificates)
    return shown


def describe_orders(world: World, openid: str | None = None, *, mchid: str | None = None) -> JsonObject:
    """Return the orders, newest first; of one user those they could pay or have paid."""
    with world.lock:
        world.run_due()
        now = world.now()
        found = [
            (merchant, order)
            for merchant in world.state.pay.merchants.values()
            for order in merchant.orders.values()
            if mchid in {None, merchant.mchid}
        ]
        if openid is not None:
            # Whoever holds a code can pay it, so orders without a payer of their own are shown to everybody.
            found = [
                pair
                for pair in found
                if openid in {pair[1].payer, pair[1].openid} or not (pair[1].payer or pair[1].openid)
            ]
        found.sort(key=lambda pair: pair[1].created_at)
        return {"orders": [describe_order(world, merchant, order, now) for merchant, order in reversed(found)]}


def describe_order(world: World, merchant: Merchant, order: Order, now: float) -> JsonObject:
    """Return one order for a control page."""
    living = [prepay for prepay, until in order.prepay_ids.items() if until > now]
    refunds = [merchant.refunds[number] for number in order.refunds]
    return {
        "mchid": order.mchid,
        "merchant": merchant.name,
        "appid": order.appid,
        "out_trade_no": order.out_trade_no,
        "api": order.api,
        "trade_type": order.trade_type,
        "description": order.description,
        "total": order.total,
        "currency": order.currency,
        "state": order.state,
        "payable": payable(order, now),
        "openid": order.openid,
        "payer": order.payer,
        "transaction_id": order.transaction_id,
        "prepay_id": living[-1] if living else "",
        "code_url": order.code_url if order.url_expires_at > now else "",
        "h5_url": order.h5_url if order.url_expires_at > now else "",
        "created": order.created_at,
        "expires": order.expires_at,
        "paid": order.paid_at,
        "refunded": order.refunded,
        "refunds": [
            {"out_refund_no": item.out_refund_no, "amount": item.amount, "status": item.status} for item in refunds
        ],
        "notify_url": order.notify_url,
        "notice": order_notice_state(world, order),
    }


def order_notice_state(world: World, order: Order) -> JsonObject | None:
    """Return what has become of the last notice about an order; ``None`` before the payment."""
    notice = order_notice(world, order)
    if notice is None:
        return None
    last = next((a for a in reversed(world.state.pay.attempts) if a.notice == notice.id), None)
    return {
        "id": notice.id,
        "event_type": notice.event_type,
        "state": notice.state,
        "attempts": notice.attempts,
        "why": last.why if last is not None else "",
    }


def order_notice(world: World, order: Order) -> Notice | None:
    """Return the last notice about an order."""
    return next(
        (
            notice
            for notice in reversed(world.state.pay.notices)
            if notice.mchid == order.mchid and notice.plain.get("out_trade_no") == order.out_trade_no
        ),
        None,
    )


def act_on_order(world: World, out_trade_no: str, action: str, *, mchid: str | None = None) -> JsonObject:
    """Do something to an order that the merchant's console or the platform itself could do; return the order.

    Args:
        world: The world.
        out_trade_no: The merchant's number.
        action: ``"close"`` or ``"expire"``: the order is closed now. ``"notify"``: its last notice is sent again.
            ``"refund"``: what is left is refunded by hand.
        mchid: The merchant; ``None`` means the default one.

    Raises:
        WorldError: There is no such order, or it cannot be done.
    """
    with world.lock:
        world.run_due()
        merchant = merchant_of(world, mchid)
        order = merchant.orders.get(out_trade_no)
        if order is None:
            raise WorldError("the merchant has no order of this number")
        try:
            if action in {"close", "expire"}:
                close(world, order, 0.0)
            elif action == "notify":
                notice = order_notice(world, order)
                if notice is None:
                    raise WorldError("there is no notice about this order yet")
                notices.resend(world, notice)
            elif action == "refund":
                refund_by_hand(world, merchant, order)
            else:
                raise WorldError("the action must be close, expire, notify or refund")
        except PayRefusal as refusal:
            raise WorldError(refusal.why) from refusal
        world.announce()
        return describe_order(world, merchant, order, world.now())


def refund_by_hand(world: World, merchant: Merchant, order: Order) -> None:
    """Refund what is left of an order in the console."""
    number = f"console{len(merchant.refunds) + 1:04d}"
    now = world.now()
    wanted = Refund(
        out_refund_no=number,
        refund_id=new_number(world, "503", now),
        out_trade_no=order.out_trade_no,
        transaction_id=order.transaction_id,
        amount=order.total - order.refunded,
        total=order.total,
        currency=order.currency,
        created_at=now,
        content=number,
        api=order.api,
        received_account="支付用户零钱",
    )
    if not wanted.amount:
        raise PayRefusal("INVALID_REQUEST", "nothing is left to refund")
    refund(world, merchant, order, wanted)


def new_number(world: World, start: str, now: float) -> str:
    """Return a number of the platform's: the beginning, the day, and digits without meaning."""
    digits = int.from_bytes(world.state.dice.digest("pay number")[:8], "big")
    return f"{start}{digits % 10**8:08d}{compact_time(now)[:8]}{digits // 10**8 % 10**10:010d}"


def notice_attempts(world: World, mchid: str | None = None, *, since: int = 0) -> list[NoticeAttempt]:
    """Return the requests made with notices after a running number, oldest first, each with its verdict."""
    with world.lock:
        return [a for a in world.state.pay.attempts if a.id > since and mchid in {None, a.mchid}]


# --- orders -----------------------------------------------------------------------------------------------------------


def payable(order: Order, now: float) -> bool:
    """Tell whether the order can still be paid."""
    return order.state in {"NOTPAY", "PAYERROR"} and now < order.expires_at


def place(world: World, merchant: Merchant, wanted: Order) -> tuple[Order, str]:
    """Take an order, or the same one again; return it and a remark for the journal.

    Raises:
        PayRefusal: The number has been used for something else, or the order is paid or closed.
    """
    order = merchant.orders.get(wanted.out_trade_no)
    if order is None:
        merchant.orders[wanted.out_trade_no] = order = wanted
        fields: JsonObject = {"mchid": merchant.mchid, "out_trade_no": order.out_trade_no}
        world.schedule(order.expires_at - world.now(), "pay_order_expires", home(world, order.appid), fields)
        remark = f"; order {order.out_trade_no} over {order.total} fen taken"
    else:
        if order.state in PAID:
            raise PayRefusal("ORDER_PAID", "the order is paid already")
        if order.state in {"CLOSED", "REVOKED"}:
            raise PayRefusal("ORDER_CLOSED", "the order is closed: a new one needs a new number")
        if order.state == "USERPAYING":
            raise PayRefusal("INVALID_REQUEST", "the payer is at the password pad", message="用户支付中")
        if (order.api, order.trade_type) != (wanted.api, wanted.trade_type):
            why = f"the number belongs to a {order.trade_type} order of {order.api}"
            raise PayRefusal("OUT_TRADE_NO_USED", why)
        if order.content != wanted.content:
            raise PayRefusal(
                "INVALID_REQUEST",
                "the same number came before with other content",
                message="请求重入时，参数与首次请求时不一致，请检查参数",
                internal=268_498_688,
            )
        remark = f"; order {order.out_trade_no} is known: a fresh prepay_id"
    issue(world, order)
    return order, remark


def issue(world: World, order: Order) -> None:
    """Give an order a fresh prepay id, and a fresh address where it has one; an earlier address stops working."""
    now, state, dice = world.now(), world.state.pay, world.state.dice
    date = datetime.fromtimestamp(now, SHANGHAI)
    prepay = f"wx{date:%d%H%M%S}{dice.hex('prepay', 22)}0000"
    target = [order.mchid, order.out_trade_no]
    order.prepay_ids = {key: until for key, until in order.prepay_ids.items() if until > now}
    order.prepay_ids[prepay] = now + world.policy.pay_prepay_life
    state.prepays[prepay] = target
    for old in (order.code_url, order.h5_url):
        state.prepays.pop(old, None)
    if order.trade_type == "NATIVE":
        order.code_url = f"{CODE_URL}{world.make_id('code url', 9).replace('-', 'a').replace('_', 'b')}"
        order.url_expires_at = now + world.policy.pay_prepay_life
        state.prepays[order.code_url] = target
    elif order.trade_type == "MWEB":
        order.h5_url = f"{H5_URL}{prepay}&package={int(dice.hex('h5', 8), 16)}"
        order.url_expires_at = now + world.policy.pay_h5_life
        state.prepays[order.h5_url] = target


def find(merchant: Merchant, out_trade_no: str) -> Order:
    """Return an order by the merchant's number.

    Raises:
        PayRefusal: ORDER_NOT_EXIST.
    """
    order = merchant.orders.get(out_trade_no)
    if order is None:
        raise PayRefusal("ORDER_NOT_EXIST", "the merchant has no order of this number")
    return order


def find_paid(world: World, merchant: Merchant, transaction_id: str) -> Order:
    """Return a paid order by the platform's number.

    Raises:
        PayRefusal: INVALID_TRANSACTIONID for what cannot be one, ORDER_NOT_EXIST.
    """
    if not (transaction_id.isascii() and transaction_id.isdecimal() and len(transaction_id) <= 32):
        raise PayRefusal("INVALID_TRANSACTIONID", "a transaction_id has digits only")
    number = merchant.transactions.get(transaction_id)
    if number is not None:
        return merchant.orders[number]
    if any(transaction_id in other.transactions for other in world.state.pay.merchants.values()):
        raise PayRefusal("ORDER_NOT_EXIST", "the order belongs to another merchant", internal=268_447_843)
    raise PayRefusal("ORDER_NOT_EXIST", "no paid order has this transaction_id")


def close(world: World, order: Order, min_age: float) -> str:
    """Close an unpaid order; return a remark. A closed one stays closed.

    Raises:
        PayRefusal: ORDER_PAID, USERPAYING, or too early.
    """
    now = world.now()
    if order.state in PAID:
        raise PayRefusal("ORDER_PAID", "the order is paid: it can be refunded, not closed")
    if order.state == "CLOSED":
        return "; it was closed before"
    if order.state == "USERPAYING" and not world.policy.pay_close_while_paying:
        raise PayRefusal("USERPAYING", "the payer is at the password pad")
    if now - order.created_at < min_age:
        why = f"the order is {now - order.created_at:.0f} s old, closing needs {min_age:g} s"
        raise PayRefusal("INVALID_REQUEST", why, message="订单创建后5分钟内不能关单", v2="TRADE_STATE_ERROR")
    order.state, order.closed_at, order.paying = "CLOSED", now, ""
    return "; closed"


def expire(world: World, account: Account, event: Event) -> None:
    """Close an order whose time is up; not while its payer types the password."""
    del account
    order = world.state.pay.merchants[str(event.fields["mchid"])].orders[str(event.fields["out_trade_no"])]
    if order.state in {"NOTPAY", "PAYERROR"}:
        order.state, order.closed_at = "CLOSED", world.now()


def payer_of(world: World, account: Account, user: User, appid: str) -> tuple[Account | None, User | None, str]:
    """Return who a user is under another AppID: account and record where this world has them, and the openid."""
    if appid == account.appid:
        return account, user, user.openid
    other = world.state.accounts.get(appid)
    if other is None:
        return None, None, people.openid_for(world, appid, user.person)
    known = people.acquaint(world, other, world.person_of(user))
    return other, known, known.openid


def complete(world: World, order: Order, payer: str, now: float) -> None:
    """Let the money arrive: the order is paid, the payer's window opens, the notice goes out."""
    merchant = world.state.pay.merchants[order.mchid]
    date = datetime.fromtimestamp(now, SHANGHAI)
    digits = int.from_bytes(world.state.dice.digest("transaction")[:8], "big")
    order.transaction_id = f"4200{digits % 10**6:06d}{date:%Y%m%d}{digits // 10**6 % 10**10:010d}"
    order.state, order.paid_at, order.payer, order.paying = "SUCCESS", now, payer, ""
    order.bank_type = world.policy.pay_bank_type
    merchant.transactions[order.transaction_id] = order.out_trade_no
    merchant.balance += order.total
    account = world.state.accounts.get(order.appid)
    user = account.users.get(payer) if account is not None else None
    if user is not None:
        people.open_window(world, user, "pay", now)
        say(world, user, f"支付凭证：向{merchant.name}付款 ¥{yuan(order.total)}", merchant, order, now)
    notices.paid(world, merchant, order, subscribed=user is not None and user.following)


def say(world: World, user: User, text: str, merchant: Merchant, order: Order, now: float) -> None:
    """Put a line of WeChat Pay into the user's chat."""
    payload: JsonObject = {
        "mchid": merchant.mchid,
        "out_trade_no": order.out_trade_no,
        "transaction_id": order.transaction_id,
        "description": order.description,
        "total": order.total,
        "state": order.state,
    }
    people.chat(world, user, ChatEntry("to_user", "pay", text, payload, now, "pay"))


def yuan(fen: int) -> str:
    """Write an amount in yuan, as people read it."""
    return f"{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def begin_slow(world: World, order: Order, payer: str, now: float) -> None:
    """Let a payer stay at the password pad for a while; the payment then succeeds."""
    order.state, order.paying = "USERPAYING", payer
    fields: JsonObject = {"mchid": order.mchid, "out_trade_no": order.out_trade_no, "payer": payer, "since": now}
    world.schedule(world.policy.pay_slow_delay, "pay_settles", home(world, order.appid), fields)


def settle(world: World, account: Account, event: Event) -> None:
    """End a slow payment."""
    del account
    order = world.state.pay.merchants[str(event.fields["mchid"])].orders[str(event.fields["out_trade_no"])]
    if order.state == "USERPAYING" and order.paying == event.fields["payer"]:
        complete(world, order, order.paying, world.now())


def pay_early(world: World, order: Order) -> float | None:
    """Where the fault ``pay_early`` strikes: let somebody pay before the merchant has the answer to its order.

    Returns:
        Real seconds that the order's answer comes later than the notice; ``None`` without the fault.
    """
    if order.state != "NOTPAY":
        return None
    merchant = world.state.pay.merchants[order.mchid]
    struck = notices.strike_order(world, merchant, order)
    if struck is None:
        return None
    account = home(world, order.appid)
    payer = order.openid
    if not payer:
        known = next(iter(account.users.values()), None)
        user = known if known is not None else people.acquaint(world, account, people.add_person(world))
        payer = payer_of(world, account, user, order.appid)[2]
    complete(world, order, payer, world.now())
    return struck.seconds or world.policy.pay_early_seconds


# --- refunds ----------------------------------------------------------------------------------------------------------


def refund(world: World, merchant: Merchant, order: Order, wanted: Refund) -> tuple[Refund, str]:
    """Take a refund, or the same one again; return it and a remark.

    Raises:
        PayRefusal: The number was used with other content, the order cannot be refunded like this, the money is short.
    """
    now, policy = world.now(), world.policy
    known = merchant.refunds.get(wanted.out_refund_no)
    if known is not None:
        if known.content != wanted.content:
            why = "the same refund number came before with other content"
            message = "订单金额或退款金额与之前请求不一致，请核实后再试"
            raise PayRefusal("INVALID_REQUEST", why, message=message, v2="REFUND_FEE_MISMATCH")
        return known, f"; refund {known.out_refund_no} is known"
    if order.state not in PAID or order.paid_at is None:
        why = f"the order is {order.state}, not paid"
        raise PayRefusal("INVALID_REQUEST", why, message="订单状态错误", v2="TRADE_STATE_ERROR")
    if wanted.total != order.total:
        why = f"amount.total is {wanted.total}, the order's is {order.total}"
        raise PayRefusal("INVALID_REQUEST", why, message="订单金额或退款金额与之前请求不一致，请核实后再试")
    if wanted.amount > order.total - order.refunded:
        why = f"{wanted.amount} fen, of the order {order.total - order.refunded} are left"
        raise PayRefusal("INVALID_REQUEST", why, message="退款金额大于可退金额")
    if now - order.paid_at > policy.pay_refund_window:
        why = "the payment is more than a year old"
        raise PayRefusal("INVALID_REQUEST", why, message="订单已超过退款期限", v2="TRADE_OVERDUE")
    if len(order.refunds) >= policy.pay_refunds_per_order:
        raise PayRefusal("INVALID_REQUEST", "the order has been refunded 50 times", message="退款次数超过限制")
    if order.last_refund_at is not None and now - order.last_refund_at < policy.pay_refund_gap:
        gap = policy.pay_refund_gap
        raise PayRefusal("FREQUENCY_LIMITED", f"the refund before is less than {gap:g} s old")
    if merchant.balance < wanted.amount:
        why = f"the merchant has {merchant.balance} fen: fund it and repeat with the same number"
        raise PayRefusal("NOT_ENOUGH", why, message="基本账户余额不足，请充值后重新发起")
    merchant.refunds[wanted.out_refund_no] = wanted
    order.refunds.append(wanted.out_refund_no)
    order.last_refund_at = now
    order.refunded += wanted.amount
    order.state = "REFUND"
    merchant.balance -= wanted.amount
    plan_refund_end(world, merchant, order, wanted)
    return wanted, f"; refund {wanted.out_refund_no} over {wanted.amount} fen taken"


def plan_refund_end(world: World, merchant: Merchant, order: Order, item: Refund, outcome: str = "") -> None:
    """Let a refund end after a while."""
    fields: JsonObject = {"mchid": merchant.mchid, "out_refund_no": item.out_refund_no, "outcome": outcome}
    world.schedule(world.policy.pay_refund_delay, "pay_refund_ends", home(world, order.appid), fields)


def end_refund(world: World, account: Account, event: Event) -> None:
    """End a refund as the policy says: the money is back, the bank refuses, or it is closed."""
    del account
    merchant = world.state.pay.merchants[str(event.fields["mchid"])]
    item = merchant.refunds[str(event.fields["out_refund_no"])]
    order = merchant.orders[item.out_trade_no]
    if item.status != "PROCESSING":
        return
    item.status = "SUCCESS" if event.fields["outcome"] == "SUCCESS" else world.policy.pay_refund_outcome
    item.finished_at = world.now()
    if item.status == "CLOSED":
        order.refunded -= item.amount
        merchant.balance += item.amount
    found = world.state.accounts.get(order.appid)
    user = found.users.get(order.payer) if found is not None else None
    if user is not None and item.status == "SUCCESS":
        text = f"退款到账通知：{merchant.name}退款 ¥{yuan(item.amount)}"
        say(world, user, text, merchant, order, world.now())
    notices.refunded(world, merchant, order, item)


def refund_again(world: World, merchant: Merchant, item: Refund) -> None:
    """Send an abnormal refund to another account (异常退款).

    Raises:
        PayRefusal: INVALID_REQUEST; the refund is not abnormal.
    """
    if item.status != "ABNORMAL":
        raise PayRefusal("INVALID_REQUEST", f"the refund is {item.status}, not ABNORMAL", message="退款单状态不正确")
    item.status, item.finished_at, item.channel = "PROCESSING", None, "OTHER_BANKCARD"
    plan_refund_end(world, merchant, merchant.orders[item.out_trade_no], item, "SUCCESS")


# --- transfers --------------------------------------------------------------------------------------------------------


def transfer(world: World, merchant: Merchant, wanted: Transfer) -> tuple[Transfer, str]:
    """Take a transfer to a user, or the same one again; return it and a remark.

    Raises:
        PayRefusal: The number was used with other content, or the money is short.
    """
    known = merchant.transfers.get(wanted.out_bill_no)
    if known is not None:
        if known.content != wanted.content:
            why = "the same bill number came before with other content"
            raise PayRefusal("ALREADY_EXISTS", why, message="商户单号已存在，且参数不一致")
        return known, f"; transfer {known.out_bill_no} is known"
    if merchant.balance < wanted.amount:
        why = f"the merchant has {merchant.balance} fen: fund it and repeat with the same number"
        raise PayRefusal("NOT_ENOUGH", why, message="资金不足")
    merchant.balance -= wanted.amount
    merchant.transfers[wanted.out_bill_no] = wanted
    world.state.pay.packages[wanted.package_info] = [merchant.mchid, wanted.out_bill_no]
    fields: JsonObject = {"mchid": merchant.mchid, "out_bill_no": wanted.out_bill_no}
    world.schedule(world.policy.pay_transfer_life, "pay_transfer_expires", home(world, wanted.appid), fields)
    return wanted, f"; transfer {wanted.out_bill_no} over {wanted.amount} fen waits for its receiver"


def end_transfer(world: World, merchant: Merchant, item: Transfer, state: TransferState, reason: str = "") -> None:
    """Bring a transfer to its end and tell the merchant; money that nobody took goes back."""
    item.state, item.fail_reason, item.updated_at = state, reason, world.now()
    world.state.pay.packages.pop(item.package_info, None)
    if state != "SUCCESS":
        merchant.balance += item.amount
    notices.transferred(world, merchant, item)


def cancel_transfer(world: World, merchant: Merchant, item: Transfer) -> None:
    """Begin to cancel a transfer that the receiver has not confirmed.

    Raises:
        PayRefusal: INVALID_REQUEST; it is too late.
    """
    if item.state in {"CANCELING", "CANCELLED"}:
        return
    if item.state not in {"ACCEPTED", "WAIT_USER_CONFIRM"}:
        raise PayRefusal("INVALID_REQUEST", f"the transfer is {item.state}", message="当前单据状态不支持撤销")
    item.state, item.updated_at = "CANCELING", world.now()
    fields: JsonObject = {"mchid": merchant.mchid, "out_bill_no": item.out_bill_no}
    world.schedule(world.policy.pay_cancel_delay, "pay_transfer_cancelled", home(world, item.appid), fields)


def transfer_of(world: World, event: Event) -> tuple[Merchant, Transfer]:
    """Return the transfer an event is about."""
    merchant = world.state.pay.merchants[str(event.fields["mchid"])]
    return merchant, merchant.transfers[str(event.fields["out_bill_no"])]


def expire_transfer(world: World, account: Account, event: Event) -> None:
    """Close a transfer that nobody has confirmed."""
    del account
    merchant, item = transfer_of(world, event)
    if item.state == "WAIT_USER_CONFIRM":
        end_transfer(world, merchant, item, "FAIL", "OVERDUE_CLOSE")


def end_cancelling(world: World, account: Account, event: Event) -> None:
    """Finish a cancellation."""
    del account
    merchant, item = transfer_of(world, event)
    if item.state == "CANCELING":
        end_transfer(world, merchant, item, "CANCELLED")


def receive(world: World, merchant: Merchant, item: Transfer, account: Account) -> None:
    """Let the receiver confirm a transfer: the money is theirs."""
    user = account.users.get(item.openid)
    if user is not None:
        payload: JsonObject = {"mchid": merchant.mchid, "out_bill_no": item.out_bill_no, "total": item.amount}
        text = f"{merchant.name}转账 ¥{yuan(item.amount)}，{beijing(world.now())}已收款"
        people.chat(world, user, ChatEntry("to_user", "pay", text, payload, world.now(), "pay"))
    end_transfer(world, merchant, item, "SUCCESS")


EVENTS: Final[dict[str, Callable[[World, Account, Event], None]]] = {
    "pay_order_expires": expire,
    "pay_settles": settle,
    "pay_refund_ends": end_refund,
    "pay_transfer_expires": expire_transfer,
    "pay_transfer_cancelled": end_cancelling,
    **notices.EVENTS,
}
