"""Orders (下单、查单、关单): place them, look at them, close them; code payments too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, cast

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
    LimitPay,
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
from wxmp.pay.records import H5Info, PayerIdentity, SceneInfo, Transaction, of_kind

if TYPE_CHECKING:
    from typing import Literal, Unpack

    from wxmp._wire import Payload

__all__ = [
    "AppOrder",
    "CodeOptions",
    "H5Order",
    "LimitPay",
    "NativeOrder",
    "OrderAPI",
    "OrderOptions",
    "PrepaidOrder",
]

JSAPI: Final = PayEndpoint("POST", "/v3/pay/transactions/jsapi", repeat="by_key", encrypted=True)
NATIVE: Final = PayEndpoint("POST", "/v3/pay/transactions/native", repeat="by_key")
H5: Final = PayEndpoint("POST", "/v3/pay/transactions/h5", repeat="by_key")
APP: Final = PayEndpoint("POST", "/v3/pay/transactions/app", repeat="by_key")
CODEPAY: Final = PayEndpoint("POST", "/v3/pay/transactions/codepay", repeat="no")
REVERSE: Final = PayEndpoint("POST", "/v3/pay/transactions/out-trade-no/{out_trade_no}/reverse", repeat="yes")
GET_BY_ID: Final = PayEndpoint("GET", "/v3/pay/transactions/id/{transaction_id}", repeat="yes")
GET_BY_NUMBER: Final = PayEndpoint("GET", "/v3/pay/transactions/out-trade-no/{out_trade_no}", repeat="yes")
CLOSE: Final = PayEndpoint("POST", "/v3/pay/transactions/out-trade-no/{out_trade_no}/close", repeat="yes")


@attrs.frozen
class OrderAPI:
    """Orders (商户下单): place, query and close them.

    Ordering again under the same number with the same content is harmless and returns the same order, so the client
    itself repeats the identical request after a lost answer. When it gives up (``error.maybe_acted``), do the same:
    call again with the **same** number and content, or ask :meth:`get`. A new number is a second order.
    """

    _call: Gateway
    _sleep: Callable[[float], Awaitable[None]] = attrs.field(default=asyncio.sleep, repr=False, eq=False, kw_only=True)
    _clock: Callable[[], float] = attrs.field(default=time.monotonic, repr=False, eq=False, kw_only=True)

    async def jsapi(
        self,
        out_trade_no: str,
        *,
        description: str,
        total_fen: int,
        openid: str,
        appid: str | None = None,
        identity: PayerIdentity | None = None,
        **options: Unpack[OrderOptions],
    ) -> PrepaidOrder:
        """Order for a page inside WeChat or a mini program (JSAPI/小程序下单).

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            openid: The payer, under exactly this ``appid``.
            appid: Of the page or mini program; the client's if absent.
            identity: Who must pay; needs the real-name permission. It is enciphered by itself.
            **options: See :class:`OrderOptions`.

        Returns:
            The order; its ``params()`` go to the page.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``ORDER_PAID``: query and deliver. ``ORDER_CLOSED``, ``OUT_TRADE_NO_USED``: look at the order,
                then take a new number. ``INVALID_REQUEST``: the number came before with other content.
                ``OPENID_MISMATCH``, ``APPID_MCHID_NOT_MATCH``, ``NO_AUTH``: a person must act.

        Source:
            POST /v3/pay/transactions/jsapi - JSAPI支付 / JSAPI/小程序下单
        """
        members, own = self._members(out_trade_no, description, total_fen, appid, options)
        payer: Payload = {"openid": check.text("openid", openid, max_chars=check.OPENID_CHARS)}
        if identity is not None:
            of_kind("identity", identity, PayerIdentity)
            payer["identity"] = identity.wired("identity")
        reply = await self._call(JSAPI, json={**members, "payer": payer})
        return PrepaidOrder(useful(reply, "prepay_id", JSAPI), own, self._call)

    async def native(
        self,
        out_trade_no: str,
        *,
        description: str,
        total_fen: int,
        appid: str | None = None,
        **options: Unpack[OrderOptions],
    ) -> NativeOrder:
        """Order to be scanned from a desktop page or a till (Native下单).

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            appid: Any one bound to the merchant; the client's if absent.
            **options: See :class:`OrderOptions`.

        Returns:
            The order. Ordering again under the same number makes the older ``code_url`` useless.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with :meth:`jsapi`.

        Source:
            POST /v3/pay/transactions/native - Native支付 / Native下单
        """
        members, _ = self._members(out_trade_no, description, total_fen, appid, options)
        reply = await self._call(NATIVE, json=members)
        return NativeOrder(useful(reply, "code_url", NATIVE))

    async def h5(
        self,
        out_trade_no: str,
        *,
        description: str,
        total_fen: int,
        client_ip: str,
        h5_type: Literal["iOS", "Android", "Wap"] | H5Info = "Wap",
        appid: str | None = None,
        **options: Unpack[OrderOptions],
    ) -> H5Order:
        """Order for a mobile browser outside WeChat (H5下单).

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            client_ip: Public address of the payer's browser, from a proxy header that can be trusted. Another one than
                the browser pays from breaks the payment page.
            h5_type: The payer's system, or an :class:`H5Info` with more about your app.
            appid: Any one bound to the merchant; the client's if absent.
            **options: See :class:`OrderOptions`.

        Returns:
            The order; its ``h5_url`` lives for five minutes.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with :meth:`jsapi`.

        Source:
            POST /v3/pay/transactions/h5 - H5支付 / H5下单
        """
        members, _ = self._members(out_trade_no, description, total_fen, appid, options)
        members["scene_info"] = h5_scene(client_ip, h5_type, options.get("scene_info"))
        reply = await self._call(H5, json=members)
        return H5Order(useful(reply, "h5_url", H5))

    async def app(
        self,
        out_trade_no: str,
        *,
        description: str,
        total_fen: int,
        appid: str | None = None,
        **options: Unpack[OrderOptions],
    ) -> AppOrder:
        """Order for an app with the WeChat Open SDK (APP下单).

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            appid: Of the app; the client's if absent.
            **options: See :class:`OrderOptions`.

        Returns:
            The order; its ``params()`` go to the app.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with :meth:`jsapi`.

        Source:
            POST /v3/pay/transactions/app - APP支付 / APP下单
        """
        members, own = self._members(out_trade_no, description, total_fen, appid, options)
        reply = await self._call(APP, json=members)
        return AppOrder(useful(reply, "prepay_id", APP), own, self._call)

    async def codepay(
        self,
        out_trade_no: str,
        *,
        description: str,
        total_fen: int,
        auth_code: str,
        scene_info: SceneInfo,
        appid: str | None = None,
        **options: Unpack[CodeOptions],
    ) -> Transaction:
        """Take a payment by scanning the payer's code (付款码支付).

        Never repeated by itself, and never to be called again under the same number: after an unknown outcome, or
        ``USERPAYING``, ask :meth:`get` every five seconds; when it is not over after thirty, :meth:`reverse` it.

        Args:
            out_trade_no: Your order number, 6 to 32 of ``0-9 A-Z a-z _ - | *``; unique for ever.
            description: What the payer sees, at most 127 characters.
            total_fen: The price in fen, at least 1.
            auth_code: What was scanned: 18 digits that begin with 10 to 15.
            scene_info: The shop; its ``store_info`` is needed.
            appid: Any one bound to the merchant; the client's if absent.
            **options: See :class:`CodeOptions`; there is no ``notify_url``, because there is no notice.

        Returns:
            The order. ``USERPAYING``: the payer must type the password.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``AUTH_CODE_EXPIRE``, ``AUTH_CODE_INVALID``: scan again, under a new number.
                ``NOT_ENOUGH``, ``TRADE_ERROR``: another way to pay.

        Source:
            POST /v3/pay/transactions/codepay - 付款码支付 / 付款码支付
        """
        own = self._call_appid(appid)
        members = order_members(
            out_trade_no=out_trade_no,
            description=description,
            total_fen=total_fen,
            options=cast("OrderOptions", {**options, "scene_info": code_scene(scene_info)}),
            default_notify_url=None,
            notified=False,
        )
        payer = {"auth_code": payment_code(auth_code)}
        payload = {"appid": own, "mchid": self._call.mchid, **members, "payer": payer}
        try:
            reply = await self._call(CODEPAY, json=payload)
        except PayAPIError as error:
            reply = {"appid": own, "mchid": self._call.mchid, **still_paying(error, out_trade_no)}
        return decode(Transaction, reply, endpoint=CODEPAY.name)

    async def reverse(self, out_trade_no: str, *, appid: str | None = None) -> None:
        """Cancel a code payment; what was paid goes back (撤销订单).

        Args:
            out_trade_no: Its number. Wait for at least 15 seconds after the payment call.
            appid: As in the payment call; the client's if absent.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: The order is none of a code payment, or cannot be reversed any more (``INVALID_REQUEST``).

        Source:
            POST /v3/pay/transactions/out-trade-no/{out_trade_no}/reverse - 付款码支付 / 撤销订单
        """
        number = check.number("out_trade_no", out_trade_no, kind="placed_order")
        payload = {"appid": self._call_appid(appid), "mchid": self._call.mchid}
        await self._call(REVERSE, path={"out_trade_no": number}, json=payload)

    async def get(self, *, out_trade_no: str | None = None, transaction_id: str | None = None) -> Transaction:
        """Look at an order, by either number (商户订单号查询订单 / 微信支付订单号查询订单).

        The last word on whether an order is paid: look here when no notice came. For an open order it makes sense after
        5 s, 30 s, 1, 3, 5, 10 and 30 minutes; close it when you give up.

        Args:
            out_trade_no: Your number; works for unpaid orders too.
            transaction_id: The platform's; paid orders only.

        Raises:
            ConfigError: Not exactly one number, or one that cannot be right; nothing was sent.
            PayAPIError: ``ORDER_NOT_EXIST``. Right after an order whose answer was lost, ask again for a few seconds
                before you believe it. Orders of a combined payment are not found here.
            PayMismatchError: The answer is about another order.

        Source:
            GET /v3/pay/transactions/out-trade-no/{out_trade_no}, GET /v3/pay/transactions/id/{transaction_id} -
            查询订单
        """
        name, value = check.one_of(out_trade_no=out_trade_no, transaction_id=transaction_id)
        endpoint = GET_BY_NUMBER if name == "out_trade_no" else GET_BY_ID
        kind: Literal["placed_order", "transaction_id"] = "placed_order" if name == "out_trade_no" else "transaction_id"
        number = check.number(name, value, kind=kind)
        reply = await self._call(endpoint, path={name: number}, params={"mchid": self._call.mchid})
        found = decode(Transaction, reply, endpoint=endpoint.name)
        check.about(name, number, found.out_trade_no if name == "out_trade_no" else found.transaction_id)
        return found

    async def close(self, out_trade_no: str) -> None:
        """Close an order that is not paid (关闭订单). Closing it again is harmless.

        Most programs want :meth:`ensure_closed`, which finds out what became of the order.

        Args:
            out_trade_no: Your number.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: ``ORDER_PAID``: query and deliver. ``USERPAYING``: the payer is at the password; ask later.
                ``INVALID_REQUEST``: too early (older text demands five minutes after ordering), or a code payment,
                which is reversed instead. ``ORDER_NOT_EXIST``.

        Source:
            POST /v3/pay/transactions/out-trade-no/{out_trade_no}/close - 关闭订单
        """
        number = check.number("out_trade_no", out_trade_no, kind="placed_order")
        await self._call(CLOSE, path={"out_trade_no": number}, json={"mchid": self._call.mchid})

    async def ensure_closed(self, out_trade_no: str, *, total_time: float = CLOSING_TIME) -> Transaction:
        """Close an order, or find out that it was paid after all (关闭订单 / 查询订单).

        Whatever is lost on the way, the answer is the order in a final state: closed, paid (``transaction.paid``: then
        deliver or refund) or reversed. A payer at the password is waited for.

        Args:
            out_trade_no: Your number.
            total_time: Seconds until it gives up.

        Returns:
            The order; ``settled`` is true.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: The platform refuses for good: ``ORDER_NOT_EXIST`` (asked again for a few seconds first), a
                code payment (``INVALID_REQUEST``), no permission.
            TimedOutError: It did not come to its end in time, ``__cause__`` says what was in the way. Nothing is lost:
                call again.

        Source:
            POST /v3/pay/transactions/out-trade-no/{out_trade_no}/close,
            GET /v3/pay/transactions/out-trade-no/{out_trade_no} - 关闭订单 / 查询订单
        """
        check.number("out_trade_no", out_trade_no, kind="placed_order")
        return await settle(
            lambda: self.close(out_trade_no),
            lambda: self.get(out_trade_no=out_trade_no),
            Patience(total_time=total_time, sleep=self._sleep, clock=self._clock),
            endpoint=CLOSE.name,
        )

    def _members(
        self, out_trade_no: str, description: str, total_fen: int, appid: str | None, options: OrderOptions
    ) -> tuple[Payload, str]:
        """Return the members that all ways to order share, and the AppID."""
        own = self._call_appid(appid)
        members = order_members(
            out_trade_no=out_trade_no,
            description=description,
            total_fen=total_fen,
            options=options,
            default_notify_url=self._call.notify_url,
        )
        return {"appid": own, "mchid": self._call.mchid, **members}, own

    def _call_appid(self, appid: str | None) -> str:
        return check.app_id("appid", appid, self._call.appid)
