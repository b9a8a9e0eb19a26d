"""Combined orders (合单支付): several merchants' orders, paid with one password, all or none."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypedDict

import attrs

from wxmp._wire import JsonObject, Payload, decode, wire
from wxmp.pay import _checks as check
from wxmp.pay._gateway import Gateway, PayEndpoint
from wxmp.pay._ordering import AppOrder, H5Order, LimitPay, NativeOrder, PrepaidOrder, limit_members, useful
from wxmp.pay.records import H5Info, PromotionDetail, TradeState, TradeType, of_kind, wired_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Unpack

__all__ = [
    "CombineAPI",
    "CombineOptions",
    "CombineScene",
    "CombineSubOrder",
    "CombinedOrder",
    "CombinedSubAmount",
    "CombinedSubOrder",
]

JSAPI: Final = PayEndpoint("POST", "/v3/combine-transactions/jsapi", repeat="by_key")
NATIVE: Final = PayEndpoint("POST", "/v3/combine-transactions/native", repeat="by_key")
H5: Final = PayEndpoint("POST", "/v3/combine-transactions/h5", repeat="by_key")
APP: Final = PayEndpoint("POST", "/v3/combine-transactions/app", repeat="by_key")
GET: Final = PayEndpoint("GET", "/v3/combine-transactions/out-trade-no/{combine_out_trade_no}", repeat="yes")
CLOSE: Final = PayEndpoint("POST", "/v3/combine-transactions/out-trade-no/{combine_out_trade_no}/close", repeat="yes")

#: Orders in a combined one: of direct merchants, and where there are sub merchants.
FEWEST: Final = 2
MOST: Final = 10
MOST_OF_PARTNERS: Final = 50


@attrs.frozen
class CombineSubOrder:
    """One merchant's order within a combined one (子单)."""

    #: The merchant who collects; not always the one who signs.
    mchid: str
    #: That merchant's number, at most 32 characters.
    out_trade_no: str
    #: What the payer sees, at most 127 characters.
    description: str
    #: Fen, at least 1.
    total_fen: int
    #: Opaque, at most 128 characters. Needed here, other than in a single order.
    attach: str
    currency: str = "CNY"
    #: At most 6000 characters.
    detail: str | None = None
    #: For coupons, at most 32 characters.
    goods_tag: str | None = None
    #: True freezes the money until it is shared or released.
    profit_sharing: bool | None = None
    #: Subsidy in fen.
    subsidy_amount_fen: int | None = None
    #: Service providers and platforms: whose order it is.
    sub_mchid: str | None = None
    sub_appid: str | None = None

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        sharing, subsidy = self.profit_sharing, self.subsidy_amount_fen
        subsidy_field = f"{place}.subsidy_amount_fen"
        return check.compact(
            {
                **self.named(place),
                "attach": check.text(f"{place}.attach", self.attach, max_chars=128),
                "amount": {
                    "total_amount": check.fen(f"{place}.total_fen", self.total_fen),
                    "currency": check.choice(f"{place}.currency", self.currency, ("CNY",)),
                },
                "description": check.text(f"{place}.description", self.description, max_chars=127),
                "detail": check.optional_text(f"{place}.detail", self.detail, max_chars=6000),
                "goods_tag": check.optional_text(f"{place}.goods_tag", self.goods_tag, max_chars=32),
                "settle_info": check.compact(
                    {
                        "profit_sharing": None if sharing is None else check.flag(f"{place}.profit_sharing", sharing),
                        "subsidy_amount": None if subsidy is None else check.fen(subsidy_field, subsidy, least=0),
                    }
                ),
            }
        )

    def named(self, place: str) -> Payload:
        """Return the checked members that say which order it is; a close needs no more."""
        return check.compact(
            {
                "mchid": check.text(f"{place}.mchid", self.mchid, max_chars=32),
                "out_trade_no": check.text(f"{place}.out_trade_no", self.out_trade_no, max_chars=32),
                "sub_mchid": check.optional_text(f"{place}.sub_mchid", self.sub_mchid, max_chars=32),
                "sub_appid": check.optional_text(f"{place}.sub_appid", self.sub_appid, max_chars=32),
            }
        )


@attrs.frozen
class CombineScene:
    """Where a combined order was placed (场景信息)."""

    #: IPv4 or IPv6 address of the payer's device. Not shown by ``repr``.
    payer_client_ip: str = attrs.field(repr=False)
    #: At most 16 characters: fewer than in a single order.
    device_id: str | None = None

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        return check.compact(
            {
                "payer_client_ip": check.client_ip(f"{place}.payer_client_ip", self.payer_client_ip),
                "device_id": check.optional_text(f"{place}.device_id", self.device_id, max_chars=16),
            }
        )


class CombineOptions(TypedDict, total=False):
    """What a combined order (合单下单) may say beyond the obvious; each one is left out when absent."""

    #: Where WeChat tells of the payment: public https, no query, at most 255 characters; the client's if absent.
    notify_url: str | None
    #: Where the order is placed.
    scene_info: CombineScene | None
    #: From when it can be paid, with a time zone.
    time_start: datetime | None
    #: The deadline, with a time zone.
    time_expire: datetime | None
    #: Ways to pay to leave out. Not confirmed by the documentation.
    limit_pay: Sequence[LimitPay] | None


@attrs.frozen
class CombinedSubAmount:
    """What one order of a combined one costs (子单金额), fen."""

    #: What you asked for. Compare this one with your own order.
    total_amount_fen: int | None = attrs.field(default=None, metadata=wire("total_amount"))
    #: What the payer really paid.
    payer_amount_fen: int | None = attrs.field(default=None, metadata=wire("payer_amount"))
    currency: str = "CNY"
    payer_currency: str | None = None
    settlement_rate: int | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CombinedSubOrder:
    """One order of a combined one as the platform knows it (子单)."""

    mchid: str = ""
    out_trade_no: str = ""
    #: A :class:`TradeState`, or the platform's text where this version does not know it.
    trade_state: TradeState | str = ""
    sub_mchid: str | None = None
    sub_appid: str | None = None
    #: Not shown by ``repr``.
    sub_openid: str | None = attrs.field(default=None, repr=False)
    #: The platform's number, only once paid: refund this order under it, as its own merchant.
    transaction_id: str | None = None
    trade_type: TradeType | str | None = None
    bank_type: str | None = None
    attach: str | None = None
    success_time: datetime | None = None
    amount: CombinedSubAmount = attrs.field(factory=CombinedSubAmount)
    promotion_detail: tuple[PromotionDetail, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)

    @property
    def paid(self) -> bool:
        """Whether money was received: ``SUCCESS``, and ``REFUND`` too."""
        return self.trade_state in (TradeState.SUCCESS, TradeState.REFUND)


@attrs.frozen
class CombinedOrder:
    """A combined order as the platform knows it (合单订单)."""

    combine_out_trade_no: str = ""
    combine_appid: str = ""
    combine_mchid: str = ""
    #: Holds ``openid``. Not shown by ``repr``.
    combine_payer_info: JsonObject = attrs.field(factory=dict, repr=False)
    #: Holds ``device_id``.
    scene_info: JsonObject = attrs.field(factory=dict, repr=False)
    sub_orders: tuple[CombinedSubOrder, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)

    @property
    def paid(self) -> bool:
        """Whether every order in it is paid: it is all or none."""
        return bool(self.sub_orders) and all(order.paid for order in self.sub_orders)


@attrs.frozen
class CombineAPI:
    """Combined orders (合单支付): 2 to 10 orders of direct merchants, up to 50 where there are sub merchants.

    Ordering again under the same number with the same content is harmless, as for single orders. There is one notice
    for all of them, ``client.order.get`` does not find them, and each one is refunded under its own merchant.
    """

    _call: Gateway

    async def jsapi(
        self,
        combine_out_trade_no: str,
        *,
        sub_orders: Iterable[CombineSubOrder],
        openid: str,
        sub_openid: str | None = None,
        combine_appid: str | None = None,
        **options: Unpack[CombineOptions],
    ) -> PrepaidOrder:
        """Order for a page inside WeChat or a mini program (合单JSAPI下单).

        Args:
            combine_out_trade_no: Your number of the whole, 6 to 32 of ``0-9 A-Z a-z _ - | *``.
            sub_orders: The orders.
            openid: The payer, under ``combine_appid``.
            sub_openid: The payer, under a sub merchant's AppID; service providers only.
            combine_appid: Of the page or mini program; the client's if absent.
            **options: See :class:`CombineOptions`.

        Returns:
            The order; its ``params()`` go to the page.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.jsapi``.

        Source:
            POST /v3/combine-transactions/jsapi - 合单支付 / 合单JSAPI/小程序下单
        """
        members, own = self._members(combine_out_trade_no, sub_orders, combine_appid, options)
        members["combine_payer_info"] = check.compact(
            {
                "openid": check.text("openid", openid, max_chars=check.OPENID_CHARS),
                "sub_openid": check.optional_text("sub_openid", sub_openid, max_chars=check.OPENID_CHARS),
            }
        )
        reply = await self._call(JSAPI, json=members)
        return PrepaidOrder(useful(reply, "prepay_id", JSAPI), own, self._call)

    async def native(
        self,
        combine_out_trade_no: str,
        *,
        sub_orders: Iterable[CombineSubOrder],
        combine_appid: str | None = None,
        **options: Unpack[CombineOptions],
    ) -> NativeOrder:
        """Order to be scanned (合单Native下单).

        Args:
            combine_out_trade_no: Your number of the whole, 6 to 32 of ``0-9 A-Z a-z _ - | *``.
            sub_orders: The orders.
            combine_appid: Any one bound to the merchant; the client's if absent.
            **options: See :class:`CombineOptions`.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.native``.

        Source:
            POST /v3/combine-transactions/native - 合单支付 / 合单Native下单
        """
        members, _ = self._members(combine_out_trade_no, sub_orders, combine_appid, options)
        return NativeOrder(useful(await self._call(NATIVE, json=members), "code_url", NATIVE))

    async def h5(
        self,
        combine_out_trade_no: str,
        *,
        sub_orders: Iterable[CombineSubOrder],
        client_ip: str,
        h5_type: Literal["iOS", "Android", "Wap"] | H5Info = "Wap",
        combine_appid: str | None = None,
        **options: Unpack[CombineOptions],
    ) -> H5Order:
        """Order for a mobile browser outside WeChat (合单H5下单).

        Args:
            combine_out_trade_no: Your number of the whole, 6 to 32 of ``0-9 A-Z a-z _ - | *``.
            sub_orders: The orders.
            client_ip: Public address of the payer's browser.
            h5_type: The payer's system, or an :class:`H5Info` with more about your app.
            combine_appid: Any one bound to the merchant; the client's if absent.
            **options: See :class:`CombineOptions`.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.h5``.

        Source:
            POST /v3/combine-transactions/h5 - 合单支付 / 合单H5下单
        """
        members, _ = self._members(combine_out_trade_no, sub_orders, combine_appid, options)
        given = options.get("scene_info") or CombineScene(client_ip)
        if given.payer_client_ip != client_ip:
            raise check.refusal("client_ip", "differs from scene_info.payer_client_ip: give one address")
        info = H5Info(h5_type) if isinstance(h5_type, str) else h5_type
        of_kind("h5_type", info, H5Info)
        members["scene_info"] = {**given.wired("scene_info"), "h5_info": info.wired("h5_info")}
        return H5Order(useful(await self._call(H5, json=members), "h5_url", H5))

    async def app(
        self,
        combine_out_trade_no: str,
        *,
        sub_orders: Iterable[CombineSubOrder],
        openid: str | None = None,
        combine_appid: str | None = None,
        **options: Unpack[CombineOptions],
    ) -> AppOrder:
        """Order for an app with the WeChat Open SDK (合单APP下单).

        Args:
            combine_out_trade_no: Your number of the whole, 6 to 32 of ``0-9 A-Z a-z _ - | *``.
            sub_orders: The orders.
            openid: The payer, under ``combine_appid``, where you know.
            combine_appid: Of the app; the client's if absent.
            **options: See :class:`CombineOptions`.

        Returns:
            The order; its ``params()`` go to the app.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.app``.

        Source:
            POST /v3/combine-transactions/app - 合单支付 / 合单APP下单
        """
        members, own = self._members(combine_out_trade_no, sub_orders, combine_appid, options)
        if openid is not None:
            payer = check.text("openid", openid, max_chars=check.OPENID_CHARS)
            members["combine_payer_info"] = {"openid": payer}
        reply = await self._call(APP, json=members)
        return AppOrder(useful(reply, "prepay_id", APP), own, self._call)

    async def get(self, combine_out_trade_no: str) -> CombinedOrder:
        """Look at a combined order (合单查询订单).

        Args:
            combine_out_trade_no: Your number of the whole.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: ``ORDER_NOT_EXIST``.
            PayMismatchError: The answer is about another order.

        Source:
            GET /v3/combine-transactions/out-trade-no/{combine_out_trade_no} - 合单支付 / 合单查询订单
        """
        number = check.number("combine_out_trade_no", combine_out_trade_no, kind="placed_order")
        reply = await self._call(GET, path={"combine_out_trade_no": number})
        found = decode(CombinedOrder, reply, endpoint=GET.name)
        check.about("combine_out_trade_no", number, found.combine_out_trade_no)
        return found

    async def close(
        self,
        combine_out_trade_no: str,
        *,
        sub_orders: Iterable[CombineSubOrder | CombinedSubOrder],
        combine_appid: str | None = None,
    ) -> None:
        """Close a combined order that is not paid (合单关闭订单).

        Args:
            combine_out_trade_no: Your number of the whole.
            sub_orders: Exactly the orders in it, as they were placed or as :meth:`get` shows them.
            combine_appid: As in the order; the client's if absent.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``ORDER_PAID``: query and deliver. ``ORDER_NOT_EXIST``.

        Source:
            POST /v3/combine-transactions/out-trade-no/{combine_out_trade_no}/close - 合单支付 / 合单关闭订单
        """
        number = check.number("combine_out_trade_no", combine_out_trade_no, kind="placed_order")
        orders: list[Payload] = []
        for index, order in enumerate(sub_orders):
            place = f"sub_orders[{index}]"
            if isinstance(order, CombinedSubOrder):
                order = CombineSubOrder(
                    order.mchid, order.out_trade_no, "", 0, "", sub_mchid=order.sub_mchid, sub_appid=order.sub_appid
                )
            of_kind(place, order, CombineSubOrder)
            orders.append(order.named(place))
        if not orders:
            raise check.refusal("sub_orders", "must name exactly the orders of the combined one")
        payload = {"combine_appid": self._appid(combine_appid), "sub_orders": orders}
        await self._call(CLOSE, path={"combine_out_trade_no": number}, json=payload)

    def _appid(self, combine_appid: str | None) -> str:
        return check.app_id("combine_appid", combine_appid, self._call.appid)

    def _members(
        self,
        combine_out_trade_no: str,
        sub_orders: Iterable[CombineSubOrder],
        combine_appid: str | None,
        options: CombineOptions,
    ) -> tuple[Payload, str]:
        unknown = options.keys() - CombineOptions.__optional_keys__
        if unknown:
            raise TypeError(f"a combined order has no argument {', '.join(sorted(unknown))}")
        own = self._appid(combine_appid)
        orders = wired_each("sub_orders", sub_orders, CombineSubOrder)
        most = MOST_OF_PARTNERS if any("sub_mchid" in order for order in orders) else MOST
        if not FEWEST <= len(orders) <= most:
            raise check.refusal("sub_orders", f"must be {FEWEST} to {most} orders, not {len(orders)}")
        url = options.get("notify_url")
        if url is None:
            url = self._call.notify_url
        if url is None:
            raise check.refusal("notify_url", "is needed: give it here, or to the client for all orders")
        scene, start, end = options.get("scene_info"), options.get("time_start"), options.get("time_expire")
        if scene is not None:
            of_kind("scene_info", scene, CombineScene)
        number = check.number("combine_out_trade_no", combine_out_trade_no, kind="out_trade_no")
        members: Payload = check.compact(
            {
                "combine_appid": own,
                "combine_mchid": self._call.mchid,
                "combine_out_trade_no": number,
                "sub_orders": orders,
                "scene_info": None if scene is None else scene.wired("scene_info"),
                "time_start": None if start is None else check.instant("time_start", start),
                "time_expire": None if end is None else check.instant("time_expire", end),
                "notify_url": check.notify_address("notify_url", url),
                "limit_pay": limit_members(options.get("limit_pay")),
            }
        )
        return members, own
