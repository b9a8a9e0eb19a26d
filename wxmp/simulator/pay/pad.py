"""What the payer does on the phone: the bridge's check, the password pad, and what the page hears of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from wxmp.simulator.pay import ledger, signing
from wxmp.simulator.pay.records import Pad
from wxmp.simulator.wire import WorldError

if TYPE_CHECKING:
    from wxmp.simulator.pay.records import Merchant, Order, Transfer
    from wxmp.simulator.state import Account, User
    from wxmp.simulator.world import World

__all__ = ["How", "PayResult", "pay"]

How: TypeAlias = Literal["confirm", "cancel", "fail", "slow"]
Outcome: TypeAlias = Literal["paid", "paying", "cancelled", "failed", "refused", "wrong_password", "received"]
BRIDGE: Final = "get_brand_wcpay_request"
TRANSFER: Final = "requestMerchantTransfer"
PREPAY: Final = "prepay_id="
BRIDGE_FIELDS: Final = ("appId", "timeStamp", "nonceStr", "package", "signType", "paySign")
APP_FIELDS: Final = ("appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign")


@attrs.frozen
class PayResult:
    """What came of a payment on the phone.

    Attributes:
        err_msg: What the page's callback hears, such as ``"get_brand_wcpay_request:ok"``. It proves nothing.
        outcome: What happened: ``"refused"``: the pad never opened. ``"paying"``: it settles later (``slow``).
            ``"received"``: the user has taken a transfer.
        why: The reason, for the developer.
        out_trade_no: The order, where one was found; the bill of a transfer.
        transaction_id: The platform's number, once paid.
    """

    err_msg: str
    outcome: Outcome
    why: str
    mchid: str = ""
    out_trade_no: str = ""
    transaction_id: str = ""

    @property
    def ok(self) -> bool:
        """Whether the page is told of success."""
        return self.err_msg.endswith(":ok")


class BridgeError(Exception):
    """The phone shows an error instead of the pad; the text is for the developer."""


def pay(
    world: World,
    account: Account,
    user: User,
    what: str | Mapping[str, object],
    how: How = "confirm",
    password: str | None = None,
) -> PayResult:
    """Let a user pay an order, or confirm a transfer. The caller holds the world's lock.

    Args:
        world: The world.
        account: The account whose page is open.
        user: Who pays.
        what: A ``prepay_id``, the parameters for the bridge (JSAPI) or the app, a ``code_url`` or an ``h5_url``; or
            ``mchId``, ``appId`` and ``package`` of a transfer.
        how: ``"confirm"``; ``"cancel"``: leave the pad; ``"fail"``: the bank refuses; ``"slow"``: USERPAYING first.
        password: What is typed; ``None`` types the right one.

    Raises:
        WorldError: ``how`` is none of these.
    """
    if how not in {"confirm", "cancel", "fail", "slow"}:
        raise WorldError("how must be confirm, cancel, fail or slow")
    if isinstance(what, Mapping) and "mchId" in what:
        return take_transfer(world, account, user, what, how)
    order: Order | None = None
    try:
        merchant, order = find(world, account, what)
        payer = admit(world, account, user, order)
    except BridgeError as error:
        found = order if order is not None else named(world, what)
        return PayResult(
            f"{BRIDGE}:fail",
            "refused",
            str(error),
            mchid=found.mchid if found is not None else "",
            out_trade_no=found.out_trade_no if found is not None else "",
        )
    if how == "cancel":
        return result(order, "cancel", "cancelled", "the user has left the password pad")
    if how == "fail":
        order.state = world.policy.pay_failed_state
        world.announce()
        return result(order, "fail", "failed", f"the bank has refused; the order is {order.state}")
    trouble = type_password(world, user, password)
    if trouble:
        return result(order, "fail", "wrong_password", trouble)
    now = world.now()
    if how == "slow":
        ledger.begin_slow(world, order, payer, now)
        world.announce()
        why = f"the order is USERPAYING for {world.policy.pay_slow_delay:g} s"
        return result(order, "ok", "paying", why)
    ledger.complete(world, order, payer, now)
    world.announce()
    return result(order, "ok", "paid", f"paid to {merchant.name}, {order.total} fen")


def result(order: Order, ending: str, outcome: Outcome, why: str) -> PayResult:
    """Return what the page hears about an order."""
    return PayResult(f"{BRIDGE}:{ending}", outcome, why, order.mchid, order.out_trade_no, order.transaction_id)


# --- what is to be paid -----------------------------------------------------------------------------------------------


def named(world: World, what: str | Mapping[str, object]) -> Order | None:
    """Return the order something seems to be about, whatever is wrong with it."""
    if isinstance(what, Mapping):
        given = str(what.get("package") or "")
        key = given.removeprefix(PREPAY) if given.startswith(PREPAY) else str(what.get("prepayid") or "")
    else:
        key = what
    found = world.state.pay.prepays.get(key)
    return world.state.pay.merchants[found[0]].orders[found[1]] if found is not None else None


def find(world: World, account: Account, what: str | Mapping[str, object]) -> tuple[Merchant, Order]:
    """Return the order something stands for, and its merchant.

    Raises:
        BridgeError: There is none, or the signature over it is wrong.
    """
    if isinstance(what, Mapping):
        return check_app(world, what) if "prepayid" in what else check_bridge(world, account, what)
    key = what.strip().removeprefix(PREPAY)
    if key.startswith("http"):
        # The page to come back to is added by the merchant.
        key = key.partition("&redirect_url=")[0]
    order = find_order(world, key)
    until = order.prepay_ids.get(key, order.url_expires_at)
    if until <= world.now():
        raise BridgeError("the prepay_id or address has expired: order again under the same number")
    return world.state.pay.merchants[order.mchid], order


def find_order(world: World, key: str) -> Order:
    """Return the order of a prepay id, a code or an address."""
    found = world.state.pay.prepays.get(key)
    if found is None:
        kind = "code" if "://" in key else "prepay_id"
        raise BridgeError(f"the platform does not know this {kind}; ordering again makes an earlier code invalid")
    return world.state.pay.merchants[found[0]].orders[found[1]]


def texts(what: Mapping[str, object], names: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters a signature covers, all of them texts.

    Raises:
        BridgeError: One is missing or no text.
    """
    # wx.chooseWXPay spells one name in lower case; the value and the signature are the same.
    given = {"timeStamp" if name == "timestamp" and "timeStamp" in names else name: what[name] for name in what}
    found: dict[str, str] = {}
    for name in names:
        value = given.get(name)
        if value is None or value == "":
            raise BridgeError(f"the parameter {name} is missing")
        if not isinstance(value, str):
            raise BridgeError(f"the parameter {name} is no text; some phones refuse numbers")
        found[name] = value
    return found


def check_bridge(world: World, account: Account, what: Mapping[str, object]) -> tuple[Merchant, Order]:
    """Check the parameters of ``WeixinJSBridge`` or ``wx.chooseWXPay`` before the pad opens."""
    # chooseWXPay takes the AppID from wx.config.
    fields = texts({"appId": account.appid, **what}, BRIDGE_FIELDS)
    if not fields["package"].startswith(PREPAY):
        raise BridgeError("package must be prepay_id=…")
    prepay_id = fields["package"].removeprefix(PREPAY)
    order = find_order(world, prepay_id)
    merchant = world.state.pay.merchants[order.mchid]
    if fields["signType"] == "RSA":
        lines = (fields["appId"], fields["timeStamp"], fields["nonceStr"], fields["package"])
        good = signing.verify_merchant(merchant, "".join(f"{line}\n" for line in lines).encode(), fields["paySign"])
        if order.api == "v2":
            raise BridgeError("signature error: a v2 order is signed with MD5 or HMAC-SHA256, not RSA")
    elif order.api == "v3":
        raise BridgeError(f"signature error: signType is {fields['signType'][:20]!r}; a v3 order wants RSA")
    elif fields["signType"] != order.sign_type:
        raise BridgeError(f"signature error: signType is not {order.sign_type}, the order's")
    else:
        signed = {name: value for name, value in fields.items() if name != "paySign"}
        good = signing.sign_v2(signed, merchant.api_v2_key, order.sign_type) == fields["paySign"].upper()
    if not good:
        raise BridgeError("signature error: paySign does not match appId, timeStamp, nonceStr and package")
    if fields["appId"] != order.appid:
        raise BridgeError("appId is not the one the order was placed with")
    if order.prepay_ids.get(prepay_id, 0.0) <= world.now():
        raise BridgeError("the prepay_id has expired: order again under the same number")
    if order.trade_type != "JSAPI":
        raise BridgeError(f"the order is of type {order.trade_type}: a page pays JSAPI orders only")
    return merchant, order


def check_app(world: World, what: Mapping[str, object]) -> tuple[Merchant, Order]:
    """Check the parameters of the app's SDK before the pad opens."""
    given = {("package" if name == "packageValue" else name): value for name, value in what.items()}
    fields = texts(given, APP_FIELDS)
    order = find_order(world, fields["prepayid"])
    merchant = world.state.pay.merchants[order.mchid]
    if fields["package"] != "Sign=WXPay":
        raise BridgeError("package must be Sign=WXPay")
    if order.api == "v3":
        lines = (fields["appid"], fields["timestamp"], fields["noncestr"], fields["prepayid"])
        good = signing.verify_merchant(merchant, "".join(f"{line}\n" for line in lines).encode(), fields["sign"])
    else:
        signed = {name: value for name, value in fields.items() if name != "sign"}
        good = signing.sign_v2(signed, merchant.api_v2_key, order.sign_type) == fields["sign"].upper()
    if not good:
        raise BridgeError("signature error: sign does not match the parameters")
    if (fields["appid"], fields["partnerid"]) != (order.appid, order.mchid):
        raise BridgeError("appid or partnerid is not the order's")
    if order.trade_type != "APP":
        raise BridgeError(f"the order is of type {order.trade_type}: an app pays APP orders only")
    if order.prepay_ids.get(fields["prepayid"], 0.0) <= world.now():
        raise BridgeError("the prepay_id has expired: order again under the same number")
    return merchant, order


def admit(world: World, account: Account, user: User, order: Order) -> str:
    """Check that this user can pay this order now; return the payer's openid under the order's AppID.

    Raises:
        BridgeError: The order is over, or somebody else's.
    """
    if order.state in {"SUCCESS", "REFUND"}:
        raise BridgeError("the order is paid already")
    if order.state == "USERPAYING":
        raise BridgeError("somebody is paying the order at this moment")
    if order.state in {"CLOSED", "REVOKED"} or world.now() >= order.expires_at:
        raise BridgeError("the order is closed")
    payer = ledger.payer_of(world, account, user, order.appid)[2]
    if order.openid and payer != order.openid:
        raise BridgeError("the order was placed for another openid: only that user can pay it")
    return payer


# --- the password pad -------------------------------------------------------------------------------------------------


def type_password(world: World, user: User, password: str | None) -> str:
    """Type a password; return what is wrong, or an empty text. Too many wrong ones lock the pad for a while."""
    now, policy = world.now(), world.policy
    # One person has one password, whatever account they look at.
    pad = world.state.pay.pads.setdefault(str(user.person), Pad())
    if now < pad.locked_until:
        return f"the pad is locked for another {pad.locked_until - now:.0f} s"
    if password is None or password == policy.pay_password:
        pad.wrong = 0
        return ""
    pad.wrong += 1
    if pad.wrong >= policy.pay_password_tries:
        pad.wrong, pad.locked_until = 0, now + policy.pay_password_lock
        return f"wrong password; the pad is now locked for {policy.pay_password_lock:g} s"
    return f"wrong password, {policy.pay_password_tries - pad.wrong} tries are left"


# --- transfers --------------------------------------------------------------------------------------------------------


def take_transfer(world: World, account: Account, user: User, what: Mapping[str, object], how: How) -> PayResult:
    """Let a user confirm a transfer (``requestMerchantTransfer``): the money is theirs, nothing is typed."""
    found = world.state.pay.packages.get(str(what.get("package", "")))
    if found is None:
        why = "the platform does not know this package_info, or the transfer is over"
        return PayResult(f"{TRANSFER}:fail", "refused", why)
    merchant = world.state.pay.merchants[found[0]]
    item: Transfer = merchant.transfers[found[1]]
    payee = ledger.payer_of(world, account, user, item.appid)[2]
    why = ""
    if what.get("mchId") != merchant.mchid or what.get("appId") != item.appid:
        why = "mchId or appId is not the transfer's"
    elif payee != item.openid:
        why = "the transfer is for another openid"
    elif item.state != "WAIT_USER_CONFIRM":
        why = f"the transfer is {item.state}"
    if why:
        return PayResult(f"{TRANSFER}:fail", "refused", why, merchant.mchid, item.out_bill_no)
    if how == "cancel":
        return PayResult(
            f"{TRANSFER}:cancel", "cancelled", "the user has left the page", merchant.mchid, item.out_bill_no
        )
    if how == "fail":
        ledger.end_transfer(world, merchant, item, "FAIL", "PAYEE_ACCOUNT_ABNORMAL")
        world.announce()
        why = "the user cannot receive money"
        return PayResult(f"{TRANSFER}:fail", "failed", why, merchant.mchid, item.out_bill_no)
    ledger.receive(world, merchant, item, account)
    world.announce()
    number = item.transfer_bill_no
    return PayResult(
        f"{TRANSFER}:ok", "received", f"{item.amount} fen received", merchant.mchid, item.out_bill_no, number
    )
