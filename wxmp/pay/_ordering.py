"""What the ways to order have in common: the members of an order, and what the payer's front end gets.

Direct merchants and service providers send the same order under other names for whose it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, TypedDict, TypeVar
from urllib.parse import quote

import attrs

from wxmp.errors import PayAPIError, PaySignatureError, ReplyError, TimedOutError, TransportError
from wxmp.pay import _checks as check
from wxmp.pay._gateway import Gateway
from wxmp.pay.records import H5Info, OrderDetail, PartnerTransaction, SceneInfo, TradeState, Transaction, of_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from wxmp._wire import JsonObject, Payload
    from wxmp.pay._gateway import PayEndpoint

__all__ = [
    "CLOSING_TIME",
    "AppOrder",
    "CodeOptions",
    "H5Order",
    "LimitPay",
    "NativeOrder",
    "OrderOptions",
    "Patience",
    "PrepaidOrder",
    "code_scene",
    "h5_scene",
    "order_members",
    "payment_code",
    "scene_members",
    "settle",
    "still_paying",
    "useful",
]

T = TypeVar("T", Transaction, PartnerTransaction)
V = TypeVar("V")

#: Ways to pay that an order leaves out (``balance_only``: all but the balance). Not confirmed by the documentation.
LimitPay = Literal["no_balance", "no_credit", "no_debit", "balance_only"]
LIMITS: Final = ("no_balance", "no_credit", "no_debit", "balance_only")
CODE_CHARS: Final = 18
CODE_STARTS: Final = ("10", "11", "12", "13", "14", "15")

#: Seconds that ``ensure_closed`` gives an order to come to its end.
CLOSING_TIME: Final = 60.0
#: Seconds between two looks of ``ensure_closed``; the last one repeats. The platform asks for about 5 while a payer
#: types the password.
CLOSING_WAITS: Final = (0.5, 1.0, 2.0, 5.0)
#: Seconds for which "no such order" is not believed: an order whose answer was lost may only be on its way.
NOT_THERE_YET: Final = 5.0
#: A refusal to close that a look at the order explains.
EXPLAINED: Final = frozenset({"ORDER_PAID", "ORDER_CLOSED", "USERPAYING"})
PASSING: Final = frozenset({"same", "slow", "poll"})


class CodeOptions(TypedDict, total=False):
    """What a code payment (付款码支付) may say beyond the obvious; each one is left out when absent."""

    #: Opaque to the platform, at most 128 characters. Query, notice and bill return it, only once paid.
    attach: str | None
    #: The deadline, with a time zone. Less than a minute ahead is raised to a minute, more than 90 days is cut; 7 days
    #: if absent. Ordering again under the same number does not change it.
    time_expire: datetime | None
    #: For coupons (订单优惠标记), at most 32 characters.
    goods_tag: str | None
    #: Ways to pay to leave out. Not confirmed by the documentation.
    limit_pay: Sequence[LimitPay] | None
    #: Show the entrance to the electronic invoice (电子发票入口开放标识).
    support_fapiao: bool | None
    #: The goods.
    detail: OrderDetail | None
    #: True freezes the money until it is shared or released (分账); this cannot be decided later.
    profit_sharing: bool | None
    #: Entries of ``subsidy_info.subsidy_detail``, as the product of its own describes them (分期贴息).
    subsidy_detail: Sequence[Mapping[str, object]] | None
    #: ``CNY``.
    currency: str


class OrderOptions(CodeOptions, total=False):
    """What an order (下单) may say beyond the obvious; each one is left out when absent."""

    #: Where WeChat tells of the payment: public https, no query, at most 255 characters; the client's if absent.
    notify_url: str | None
    #: Where the order is placed.
    scene_info: SceneInfo | None


# ---- the members


def order_members(
    *,
    out_trade_no: str,
    description: str,
    total_fen: int,
    options: OrderOptions,
    default_notify_url: str | None,
    subsidy_fen: int | None = None,
    notified: bool = True,
) -> Payload:
    """Return the checked members of an order, apart from those that say whose it is and who pays.

    Args:
        out_trade_no: The merchant's number.
        description: What the payer sees.
        total_fen: The price.
        options: The rest.
        default_notify_url: The client's.
        subsidy_fen: ``settle_info.subsidy_amount``; service providers only.
        notified: False for code payments, which take no address.

    Raises:
        ConfigError: Something cannot work; it names the argument.
        TypeError: There is no such argument.
    """
    unknown = options.keys() - OrderOptions.__optional_keys__
    if unknown:
        raise TypeError(f"an order has no argument {', '.join(sorted(unknown))}")
    members: dict[str, object] = {
        "description": check.text("description", description, max_chars=127),
        "out_trade_no": check.number("out_trade_no", out_trade_no),
    }
    expires = options.get("time_expire")
    members["time_expire"] = None if expires is None else check.instant("time_expire", expires)
    members["attach"] = check.optional_text("attach", options.get("attach"), max_chars=128)
    if notified:
        members["notify_url"] = _notify_url(options.get("notify_url"), default_notify_url)
    elif options.get("notify_url") is not None:
        raise check.refusal("notify_url", "must be left out: there is no notice of code payments, query instead")
    members["goods_tag"] = check.optional_text("goods_tag", options.get("goods_tag"), max_chars=32)
    members["limit_pay"] = limit_members(options.get("limit_pay"))
    invoice = options.get("support_fapiao")
    members["support_fapiao"] = None if invoice is None else check.flag("support_fapiao", invoice)
    members["amount"] = {"total": check.fen("total_fen", total_fen), "currency": currency_of(options)}
    detail = options.get("detail")
    if detail is not None:
        of_kind("detail", detail, OrderDetail)
        members["detail"] = detail.wired("detail")
    members["scene_info"] = scene_members(options.get("scene_info"))
    sharing = options.get("profit_sharing")
    members["settle_info"] = check.compact(
        {
            "profit_sharing": None if sharing is None else check.flag("profit_sharing", sharing),
            "subsidy_amount": None if subsidy_fen is None else check.fen("subsidy_fen", subsidy_fen, least=0),
        }
    )
    subsidies = options.get("subsidy_detail")
    members["subsidy_info"] = {"subsidy_detail": [dict(item) for item in subsidies]} if subsidies else None
    return check.compact(members)


def _notify_url(given: str | None, default: str | None) -> str:
    url = given if given is not None else default
    if url is None:
        raise check.refusal("notify_url", "is needed: give it here, or to the client for all orders")
    return check.notify_address("notify_url", url)


def currency_of(options: OrderOptions) -> str:
    """Return the currency of an order."""
    return check.choice("currency", options.get("currency", "CNY"), ("CNY",))


def limit_members(limits: Sequence[str] | None) -> list[str] | None:
    """Return the ways to pay that are left out."""
    if limits is None:
        return None
    if isinstance(limits, str):
        raise check.refusal("limit_pay", "must be a list of texts, not one text")
    return [check.choice("limit_pay", item, LIMITS) for item in limits]


def scene_members(scene: SceneInfo | None, h5: H5Info | None = None) -> Payload | None:
    """Return the members of the scene."""
    if scene is None:
        return None
    of_kind("scene_info", scene, SceneInfo)
    members = scene.wired("scene_info")
    if h5 is not None:
        of_kind("h5_info", h5, H5Info)
        members["h5_info"] = h5.wired("h5_info")
    return members


def h5_scene(client_ip: str, h5: H5Info | str, given: SceneInfo | None) -> Payload:
    """Return the scene of an H5 order: who pays is known by address."""
    scene = given if given is not None else SceneInfo(client_ip)
    of_kind("scene_info", scene, SceneInfo)
    if given is not None and given.payer_client_ip != client_ip:
        raise check.refusal("client_ip", "differs from scene_info.payer_client_ip: give one address")
    info = H5Info(h5) if isinstance(h5, str) else h5  # type: ignore[arg-type]  # wired() checks the word
    members = scene_members(scene, info)
    return members or {}


# ---- what the payer's front end gets


@attrs.frozen
class PrepaidOrder:
    """An order that waits for the payer, in a page inside WeChat or a mini program (预支付订单), for two hours."""

    prepay_id: str
    #: The AppID of the page or mini program.
    appid: str
    _gateway: Gateway = attrs.field(repr=False, eq=False)

    def params(self) -> dict[str, str]:
        """Sign the parameters for ``WeixinJSBridge``, ``wx.requestPayment`` or ``wx.chooseWXPay`` (调起支付).

        Each call signs anew; do not keep the result. ``wx.chooseWXPay`` spells ``timeStamp`` as ``timestamp``, and a
        mini program does without ``appId``. What the front end reports back is no proof of payment.
        """
        return self._gateway.jsapi_params(self.prepay_id, self.appid)


@attrs.frozen
class AppOrder:
    """An order that waits for the payer in an app (预支付订单); valid for two hours."""

    prepay_id: str
    #: The AppID of the app.
    appid: str
    _gateway: Gateway = attrs.field(repr=False, eq=False)

    def params(self) -> dict[str, str]:
        """Sign the parameters for the WeChat Open SDK (APP 调起支付).

        Each call signs anew; do not keep the result. Android calls ``package`` ``packageValue``.
        """
        return self._gateway.app_params(self.prepay_id, self.appid)


@attrs.frozen
class NativeOrder:
    """An order that waits to be scanned (Native 下单)."""

    #: ``weixin://`` text to draw as a QR code; valid for two hours, for scanning only.
    code_url: str


@attrs.frozen
class H5Order:
    """An order that waits for the payer in a mobile browser (H5 下单)."""

    #: Valid for five minutes; open it from a page of the registered H5 domain, which must send its ``Referer``.
    h5_url: str

    def returning_to(self, url: str) -> str:
        """Return the address with the page that the payer comes back to afterwards, paid or not."""
        return f"{self.h5_url}&redirect_url={quote(url, safe='')}"


def useful(reply: JsonObject, name: str, endpoint: PayEndpoint) -> str:
    """Return the one member that an answer is for.

    Raises:
        ReplyError: It is not there.
    """
    value = reply.get(name)
    if isinstance(value, str) and value:
        return value
    raise ReplyError(f"the answer does not have the documented shape: {name} is missing", endpoint=endpoint.name)


# ---- code payments


def payment_code(auth_code: object) -> str:
    """Return what a till has scanned.

    Raises:
        ConfigError: It is no payment code of WeChat.
    """
    code = check.text("auth_code", auth_code, max_chars=32)
    if not (code.isascii() and code.isdigit() and len(code) == CODE_CHARS and code.startswith(CODE_STARTS)):
        raise check.refusal("auth_code", "must be 18 digits that begin with 10 to 15: scan the payer's code again")
    return code


def code_scene(scene: SceneInfo) -> SceneInfo:
    """Return the scene of a code payment, which must name the shop.

    Raises:
        ConfigError: It does not.
    """
    of_kind("scene_info", scene, SceneInfo)
    if scene.store_info is None:
        raise check.refusal("scene_info.store_info", "is needed: a code payment names the shop")
    return scene


def still_paying(error: PayAPIError, out_trade_no: str) -> JsonObject:
    """Make an order of the error that is none: the payer is typing the password.

    Raises:
        PayAPIError: It is another one.
    """
    if error.code != "USERPAYING":
        raise error
    state = TradeState.USERPAYING
    return {"out_trade_no": out_trade_no, "trade_state": state, "trade_state_desc": error.message}


# ---- the end of an order


@attrs.frozen
class Patience:
    """How long to wait for an order to come to its end."""

    total_time: float
    sleep: Callable[[float], Awaitable[None]]
    clock: Callable[[], float]


async def settle(
    close: Callable[[], Awaitable[None]], look: Callable[[], Awaitable[T]], patience: Patience, *, endpoint: str
) -> T:
    """Close and look, again and again, until the order is in a final state.

    Raises:
        PayAPIError: The platform refuses for good, and the order is not settled.
        TimedOutError: The time is up.
    """
    start = patience.clock()
    attempt = 0
    while True:
        closing = await _tried(close())
        # Whatever became of the close, the order itself is the only witness.
        found = await _tried(look())
        if not isinstance(found, Exception) and found.settled:
            return found
        problems = [outcome for outcome in (closing, found) if isinstance(outcome, Exception)]
        for problem in problems:
            if _hopeless(problem, patience.clock() - start):
                raise problem
        wait = CLOSING_WAITS[min(attempt, len(CLOSING_WAITS) - 1)]
        attempt += 1
        if patience.clock() - start + wait > patience.total_time:
            state = "" if isinstance(found, Exception) else f", it is {found.trade_state}"
            message = f"the order has not come to its end in {attempt} attempts{state}: call again"
            raise TimedOutError(message, endpoint=endpoint) from next(reversed(problems), None)
        await patience.sleep(wait)


async def _tried(step: Awaitable[V]) -> V | Exception:
    """Return what a step answers, or what was in its way."""
    try:
        return await step
    except (PayAPIError, PaySignatureError, TransportError, ReplyError) as error:
        return error


def _hopeless(error: Exception, elapsed: float) -> bool:
    """Tell whether a second look cannot change an answer. What was lost on the way is asked for again."""
    if not isinstance(error, PayAPIError):
        return False
    if error.code == "ORDER_NOT_EXIST":
        return elapsed >= NOT_THERE_YET
    return error.code not in EXPLAINED and error.verdict not in PASSING
