"""Service providers (服务商): orders for sub merchants. Refunds, bills and sharing take a ``sub_mchid`` instead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, cast

import attrs

from wxmp._wire import decode
from wxmp.errors import PayAPIError
from wxmp.pay import _checks as check
from wxmp.pay._gateway import Gateway, PayEndpoint
from wxmp.pay._ordering import (
    CLOSING_TIME,
    AppOrder,
    CodeOptions,
    H5Order,
    NativeOrder,
    OrderOptions,
    Patience,
    PrepaidOrder,
    code_scene,
    h5_scene,
    order_members,
    payment_code,
    settle,
    still_paying,
    useful,
)
from wxmp.pay.records import H5Info, PartnerTransaction, PayerIdentity, SceneInfo, of_kind

if TYPE_CHECKING:
    from typing import Unpack

    from wxmp._wire import Payload

__all__ = ["PartnerAPI", "PartnerCodeOptions", "PartnerOptions", "PartnerTransaction"]

ORDERS: Final = "/v3/pay/partner/transactions"
JSAPI: Final = PayEndpoint("POST", f"{ORDERS}/jsapi", repeat="by_key", encrypted=True)
NATIVE: Final = PayEndpoint("POST", f"{ORDERS}/native", repeat="by_key")
H5: Final = PayEndpoint("POST", f"{ORDERS}/h5", repeat="by_key")
APP: Final = PayEndpoint("POST", f"{ORDERS}/app", repeat="by_key")
CODEPAY: Final = PayEndpoint("POST", f"{ORDERS}/codepay", repeat="no")
REVERSE: Final = PayEndpoint("POST", f"{ORDERS}/out-trade-no/{{out_trade_no}}/reverse", repeat="yes")
GET_BY_ID: Final = PayEndpoint("GET", f"{ORDERS}/id/{{transaction_id}}", repeat="yes")
GET_BY_NUMBER: Final = PayEndpoint("GET", f"{ORDERS}/out-trade-no/{{out_trade_no}}", repeat="yes")
CLOSE: Final = PayEndpoint("POST", f"{ORDERS}/out-trade-no/{{out_trade_no}}/close", repeat="yes")


class PartnerCodeOptions(CodeOptions, total=False):
    """What a code payment for a sub merchant (服务商付款码支付) may say beyond the obvious."""

    #: The provider's AppID; the client's if absent.
    sp_appid: str | None
    #: The sub merchant's AppID: for its openids, and for paying under its own account.
    sub_appid: str | None
    #: Subsidy in fen (``settle_info.subsidy_amount``).
    subsidy_fen: int | None


class PartnerOptions(OrderOptions, total=False):
    """What an order for a sub merchant (服务商下单) may say beyond the obvious; each is left out when absent."""

    #: The provider's AppID; the client's if absent.
    sp_appid: str | None
    #: The sub merchant's AppID: for its openids, and for paying under its own account.
    sub_appid: str | None
    #: Subsidy in fen (``settle_info.subsidy_amount``).
    subsidy_fen: int | None


@attrs.frozen
class PartnerAPI:
    """Orders of a service provider for sub merchants (服务商下单).

    The provider signs, its number is the ``mchid`` of the client; order numbers are unique to the provider. Ordering
    again under the same number with the same content is harmless, as for a direct merchant (``client.order``).
    """

    _call: Gateway
    _sleep: Callable[[float], Awaitable[None]] = attrs.field(default=asyncio.sleep, repr=False, eq=False, kw_only=True)
    _clock: Callable[[], float] = attrs.field(default=time.monotonic, repr=False, eq=False, kw_only=True)

    async def jsapi(
        self,
        out_trade_no: str,
        *,
        sub_mchid: str,
        description: str,
        total_fen: int,
        sp_openid: str | None = None,
        sub_openid: str | None = None,
        identity: PayerIdentity | None = None,
        **options: Unpack[PartnerOptions],
    ) -> PrepaidOrder:
        """Order for a page inside WeChat or a mini program (服务商JSAPI下单).

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            sub_mchid: The sub merchant who collects.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            sp_openid: The payer, under ``sp_appid``.
            sub_openid: The payer, under ``sub_appid``, which is then needed. Exactly one of the two.
            identity: Who must pay; needs the real-name permission. It is enciphered by itself.
            **options: See :class:`PartnerOptions`.

        Returns:
            The order; its ``params()`` go to the page, signed for ``sub_appid`` when ``sub_openid`` was used.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.jsapi``.

        Source:
            POST /v3/pay/partner/transactions/jsapi - 服务商 / JSAPI/小程序下单
        """
        members = self._members(out_trade_no, sub_mchid, description, total_fen, options)
        name, value = check.one_of(sp_openid=sp_openid, sub_openid=sub_openid)
        payer: Payload = {name: check.text(name, value, max_chars=check.OPENID_CHARS)}
        if name == "sub_openid" and "sub_appid" not in members:
            raise check.refusal("sub_appid", "is needed with sub_openid")
        appid = str(members["sub_appid" if name == "sub_openid" else "sp_appid"])
        if identity is not None:
            of_kind("identity", identity, PayerIdentity)
            payer["identity"] = identity.wired("identity")
        reply = await self._call(JSAPI, json={**members, "payer": payer})
        return PrepaidOrder(useful(reply, "prepay_id", JSAPI), appid, self._call)

    async def native(
        self,
        out_trade_no: str,
        *,
        sub_mchid: str,
        description: str,
        total_fen: int,
        **options: Unpack[PartnerOptions],
    ) -> NativeOrder:
        """Order to be scanned from a desktop page or a till (服务商Native下单).

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            sub_mchid: The sub merchant who collects.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            **options: See :class:`PartnerOptions`.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.native``.

        Source:
            POST /v3/pay/partner/transactions/native - 服务商 / Native下单
        """
        members = self._members(out_trade_no, sub_mchid, description, total_fen, options)
        return NativeOrder(useful(await self._call(NATIVE, json=members), "code_url", NATIVE))

    async def h5(
        self,
        out_trade_no: str,
        *,
        sub_mchid: str,
        description: str,
        total_fen: int,
        client_ip: str,
        h5_type: Literal["iOS", "Android", "Wap"] | H5Info = "Wap",
        **options: Unpack[PartnerOptions],
    ) -> H5Order:
        """Order for a mobile browser outside WeChat (服务商H5下单).

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            sub_mchid: The sub merchant who collects.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            client_ip: Public address of the payer's browser.
            h5_type: The payer's system, or an :class:`H5Info` with more about your app.
            **options: See :class:`PartnerOptions`.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.h5``.

        Source:
            POST /v3/pay/partner/transactions/h5 - 服务商 / H5下单
        """
        members = self._members(out_trade_no, sub_mchid, description, total_fen, options)
        members["scene_info"] = h5_scene(client_ip, h5_type, options.get("scene_info"))
        return H5Order(useful(await self._call(H5, json=members), "h5_url", H5))

    async def app(
        self,
        out_trade_no: str,
        *,
        sub_mchid: str,
        description: str,
        total_fen: int,
        **options: Unpack[PartnerOptions],
    ) -> AppOrder:
        """Order for an app with the WeChat Open SDK (服务商APP下单).

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            sub_mchid: The sub merchant who collects.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            **options: See :class:`PartnerOptions`.

        Returns:
            The order; its ``params()`` go to the app, signed for ``sub_appid`` when there is one.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.app``.

        Source:
            POST /v3/pay/partner/transactions/app - 服务商 / APP下单
        """
        members = self._members(out_trade_no, sub_mchid, description, total_fen, options)
        reply = await self._call(APP, json=members)
        appid = str(members.get("sub_appid") or members["sp_appid"])
        return AppOrder(useful(reply, "prepay_id", APP), appid, self._call)

    async def codepay(
        self,
        out_trade_no: str,
        *,
        sub_mchid: str,
        description: str,
        total_fen: int,
        auth_code: str,
        scene_info: SceneInfo,
        **options: Unpack[PartnerCodeOptions],
    ) -> PartnerTransaction:
        """Take a payment by scanning the payer's code (服务商付款码支付).

        Never repeated by itself; see ``client.order.codepay`` for what to do after an unknown outcome.

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            sub_mchid: The sub merchant who collects.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            auth_code: What was scanned: 18 digits that begin with 10 to 15.
            scene_info: The shop; its ``store_info`` is needed.
            **options: See :class:`PartnerCodeOptions`.

        Returns:
            The order. ``USERPAYING``: the payer must type the password.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with ``client.order.codepay``.

        Source:
            POST /v3/pay/partner/transactions/codepay - 服务商 / 付款码支付
        """
        whole = cast("PartnerOptions", {**options, "scene_info": code_scene(scene_info)})
        members = self._members(out_trade_no, sub_mchid, description, total_fen, whole, notified=False)
        members["payer"] = {"auth_code": payment_code(auth_code)}
        try:
            reply = await self._call(CODEPAY, json=members)
        except PayAPIError as error:
            known = ("sp_appid", "sp_mchid", "sub_mchid", "sub_appid")
            own = {name: str(members[name]) for name in known if name in members}
            reply = {**own, **still_paying(error, out_trade_no)}
        return decode(PartnerTransaction, reply, endpoint=CODEPAY.name)

    async def reverse(
        self, out_trade_no: str, *, sub_mchid: str, sp_appid: str | None = None, sub_appid: str | None = None
    ) -> None:
        """Cancel a code payment; what was paid goes back (服务商撤销订单).

        Args:
            out_trade_no: Its number. Wait for at least 15 seconds after the payment call.
            sub_mchid: The sub merchant.
            sp_appid: As in the payment call; the client's if absent.
            sub_appid: As in the payment call.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: The order is none of a code payment, or cannot be reversed any more (``INVALID_REQUEST``).

        Source:
            POST /v3/pay/partner/transactions/out-trade-no/{out_trade_no}/reverse - 服务商 / 撤销订单
        """
        number = check.number("out_trade_no", out_trade_no, kind="placed_order")
        await self._call(REVERSE, path={"out_trade_no": number}, json=self._owners(sub_mchid, sp_appid, sub_appid))

    async def get(
        self, *, sub_mchid: str, out_trade_no: str | None = None, transaction_id: str | None = None
    ) -> PartnerTransaction:
        """Look at an order, by either number (服务商查询订单).

        Args:
            sub_mchid: The sub merchant.
            out_trade_no: Your number; works for unpaid orders too.
            transaction_id: The platform's; paid orders only.

        Raises:
            ConfigError: Not exactly one number, or one that cannot be right; nothing was sent.
            PayAPIError: As with ``client.order.get``.

        Source:
            GET /v3/pay/partner/transactions/out-trade-no/{out_trade_no},
            GET /v3/pay/partner/transactions/id/{transaction_id} - 服务商 / 查询订单
        """
        name, value = check.one_of(out_trade_no=out_trade_no, transaction_id=transaction_id)
        kind: Literal["placed_order", "transaction_id"] = "placed_order" if name == "out_trade_no" else "transaction_id"
        endpoint = GET_BY_NUMBER if name == "out_trade_no" else GET_BY_ID
        number = check.number(name, value, kind=kind)
        reply = await self._call(endpoint, path={name: number}, params=self._pair(sub_mchid))
        found = decode(PartnerTransaction, reply, endpoint=endpoint.name)
        check.about(name, number, found.out_trade_no if name == "out_trade_no" else found.transaction_id)
        return found

    async def close(self, out_trade_no: str, *, sub_mchid: str) -> None:
        """Close an order that is not paid (服务商关闭订单). Closing it again is harmless.

        Args:
            out_trade_no: Your number.
            sub_mchid: The sub merchant.

        Raises:
            ConfigError: A number cannot be right; nothing was sent.
            PayAPIError: As with ``client.order.close``.

        Source:
            POST /v3/pay/partner/transactions/out-trade-no/{out_trade_no}/close - 服务商 / 关闭订单
        """
        number = check.number("out_trade_no", out_trade_no, kind="placed_order")
        await self._call(CLOSE, path={"out_trade_no": number}, json=self._pair(sub_mchid))

    async def ensure_closed(
        self, out_trade_no: str, *, sub_mchid: str, total_time: float = CLOSING_TIME
    ) -> PartnerTransaction:
        """Close an order, or find out that it was paid after all (服务商关闭订单 / 查询订单).

        See ``client.order.ensure_closed``.

        Args:
            out_trade_no: Your number.
            sub_mchid: The sub merchant.
            total_time: Seconds until it gives up.

        Returns:
            The order; ``settled`` is true.

        Raises:
            ConfigError: A number cannot be right; nothing was sent.
            PayAPIError: The platform refuses for good.
            TimedOutError: It did not come to its end in time. Nothing is lost: call again.

        Source:
            POST /v3/pay/partner/transactions/out-trade-no/{out_trade_no}/close,
            GET /v3/pay/partner/transactions/out-trade-no/{out_trade_no} - 服务商 / 关闭订单 / 查询订单
        """
        check.number("out_trade_no", out_trade_no, kind="placed_order")
        self._pair(sub_mchid)
        return await settle(
            lambda: self.close(out_trade_no, sub_mchid=sub_mchid),
            lambda: self.get(out_trade_no=out_trade_no, sub_mchid=sub_mchid),
            Patience(total_time=total_time, sleep=self._sleep, clock=self._clock),
            endpoint=CLOSE.name,
        )

    def _pair(self, sub_mchid: str) -> dict[str, str]:
        return {"sp_mchid": self._call.mchid, "sub_mchid": check.text("sub_mchid", sub_mchid, max_chars=32)}

    def _owners(self, sub_mchid: str, sp_appid: str | None, sub_appid: str | None) -> Payload:
        return check.compact(
            {
                "sp_appid": check.app_id("sp_appid", sp_appid, self._call.appid),
                **self._pair(sub_mchid),
                "sub_appid": check.optional_text("sub_appid", sub_appid, max_chars=32),
            }
        )

    def _members(
        self,
        out_trade_no: str,
        sub_mchid: str,
        description: str,
        total_fen: int,
        options: PartnerOptions,
        *,
        notified: bool = True,
    ) -> Payload:
        """Return the members that all ways to order share."""
        own = ("sp_appid", "sub_appid", "subsidy_fen")
        rest = cast("OrderOptions", {name: value for name, value in options.items() if name not in own})
        members = order_members(
            out_trade_no=out_trade_no,
            description=description,
            total_fen=total_fen,
            options=rest,
            default_notify_url=self._call.notify_url,
            subsidy_fen=options.get("subsidy_fen"),
            notified=notified,
        )
        return {**self._owners(sub_mchid, options.get("sp_appid"), options.get("sub_appid")), **members}
