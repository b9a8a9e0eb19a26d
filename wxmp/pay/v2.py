"""WeChat Pay's older interface (微信支付 API V2), for merchants who still hold its keys.

New merchants use :class:`wxmp.pay.PayClient`. The two have nothing in common but the money: an order placed here can be
queried and refunded there, with other keys. Here messages are flat XML with a sign over their fields, success has three
layers (``return_code``, ``result_code``, then the state), and refunds need the merchant's certificate for TLS.

Every answer and every notice is checked on its fields as they were parsed, before a record is made of them, with the
one ``sign_type`` that is configured.

Source:
    API 列表（V2） - 微信支付
"""

from __future__ import annotations

import logging
import re
import secrets
import time
import zlib
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar

from wxmp._beijing import BEIJING
from wxmp._log import log_fields
from wxmp._redact import Secret, mask_fields
from wxmp._wire import dumps
from wxmp.errors import (
    ConfigError,
    MalformedError,
    PayAPIError,
    PayMismatchError,
    PaySignatureError,
    ReplyError,
    TransportError,
)
from wxmp.pay import _checks
from wxmp.pay._codes import lookup, stays_unknown
from wxmp.pay._sites import BACKUP, PRODUCTION
from wxmp.pay._v2_line import V2Effort, V2Endpoint, V2Line
from wxmp.pay._v2_records import (
    PrepaidV2Order,
    V2Coupon,
    V2RefundCoupon,
    V2RefundEntry,
    V2RefundNotice,
    V2RefundPage,
    V2RefundReceipt,
    V2RefundStatus,
    V2Transaction,
    read_prepaid,
    read_refund_notice,
    read_refund_page,
    read_refund_receipt,
    read_transaction,
)
from wxmp.pay._v2_sign import SIGN_TYPES, SignType, check_sign, open_refund, read_message, sign, write_message
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from datetime import date, datetime
    from types import TracebackType

    from tenacity import RetryCallState

    from wxmp._request import WireReply
    from wxmp._watch import CallWatch, CallWatcher
    from wxmp.errors import PayVerdict
    from wxmp.events import EventHook

__all__ = [
    "NOTICE_ACCEPTED",
    "NOTICE_CONTENT_TYPE",
    "NOTICE_REFUSED",
    "PayV2APIError",
    "PayV2Client",
    "PrepaidV2Order",
    "SignType",
    "V2Coupon",
    "V2RefundCoupon",
    "V2RefundEntry",
    "V2RefundNotice",
    "V2RefundPage",
    "V2RefundReceipt",
    "V2RefundStatus",
    "V2Transaction",
]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("wxmp.pay")

#: What to answer to a notice that was handled, now or earlier: HTTP 200 with this body.
NOTICE_ACCEPTED: Final = (
    b"<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"
)
#: What to answer to all others, HTTP 200 too: the notice comes again. It does not say which check failed.
NOTICE_REFUSED: Final = (
    b"<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[REFUSED]]></return_msg></xml>"
)
#: The content type of both.
NOTICE_CONTENT_TYPE: Final = "text/xml; charset=utf-8"

#: Seconds for one attempt of a call, from connecting to the last byte.
CALL_TIMEOUT: Final = 10.0
#: Seconds for the download of a bill.
BILL_TIMEOUT: Final = 120.0
#: Bytes of a bill, uncompressed.
MAX_BILL: Final = 256 << 20

_KEY: Final = re.compile(r"[\x21-\x7e]{32}")
_MCHID: Final = re.compile(r"[0-9]{8,10}")
_APPID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_OUT_TRADE_NO: Final = re.compile(r"[0-9A-Za-z_\-|*@]{1,32}")
_PATH: Final = re.compile(r"(/[a-z0-9_]{1,64}){1,6}")
_TEXT_CHARS: Final = 65_536
#: Characters that an error keeps of a code that stands in no list, and of a text for people.
CODE_SHOWN: Final = 64
TEXT_SHOWN: Final = 300
#: HTTP status of the gateway's own errors.
_OK: Final = 200
#: After too many failing refunds it wants a minute, in seconds.
TOO_MUCH: Final = "INVALID_REQ_TOO_MUCH"
TOO_MUCH_WAIT: Final = 60.0

#: Codes that only this interface has; the others' verdicts are those of v3.
_OWN_VERDICTS: Final[Mapping[str, PayVerdict]] = {TOO_MUCH: "slow", "ORDER_NOT_READY": "slow"}
#: Texts of the first layer that stand for a code. Their capitals vary.
_OUTER_CODES: Final = {
    "no bill exist": "NO_STATEMENT_EXIST",
    "bill creating": "STATEMENT_CREATING",
    "sign error": "SIGN_ERROR",
    "invalid bill_type": "PARAM_ERROR",
    "data format error": "PARAM_ERROR",
    "missing parameter": "LACK_PARAMS",
    "签名错误": "SIGN_ERROR",
    "签名失败": "SIGN_ERROR",
}
_CODE: Final = re.compile(r"[A-Z_]{4,64}")
_BOM: Final = b"\xef\xbb\xbf"
_BILL_START: Final = "交易时间".encode()
#: zlib's name for the format of gzip.
_GZIP: Final = 31


ORDER: Final = V2Endpoint("/pay/unifiedorder", "by_key")
GET: Final = V2Endpoint("/pay/orderquery", "yes")
CLOSE: Final = V2Endpoint("/pay/closeorder", "yes")
REFUND: Final = V2Endpoint("/secapi/pay/refund", "by_key", certificate=True)
REFUND_GET: Final = V2Endpoint("/pay/refundquery", "yes")
BILL: Final = V2Endpoint("/pay/downloadbill", "yes")
PAYMENT_NOTICE: Final = "payment notice"
REFUND_NOTICE: Final = "refund notice"


class PayV2APIError(PayAPIError):
    """The older gateway said no. It does so with HTTP 200: the code alone tells whether it may have acted."""

    @property
    def maybe_acted(self) -> bool:
        """Whether the request may have been carried out: query by your own number before anything else."""
        return self.verdict in ("same", "poll") or super().maybe_acted


class PayV2Client:
    """A merchant (商户) on the older interface (API V2), called from asyncio.

    Use it as a context manager, or call :meth:`aclose`. One client serves a whole process.

    Args:
        mchid: The merchant number (商户号).
        api_v2_key: The APIv2 key (APIv2 密钥), 32 characters; it signs both ways.
        appid: The AppID that orders are placed for, unless a call names another one of the merchant's.
        sign_type: How messages are signed in both directions: ``"HMAC-SHA256"`` or ``"MD5"``. No message can choose.
        client_certificate: Files of the merchant's API certificate and its private key (``apiclient_cert.pem``,
            ``apiclient_key.pem``). Refunds need it. It is shown to the gateway for these calls only, over connections
            of their own.
        base_url: Where the gateway answers.
        backup_url: The same gateway at its other site; ``None`` turns it off. Calls that may be repeated go there when
            the first one fails. The default goes with the default of ``base_url`` only.
        timeout: Seconds for one attempt of a call, from connecting to the last byte.
        retry: When calls are repeated. A repeat is the same message, byte for byte.
        http_client: An ``httpx.AsyncClient``, or one of that shape, to be used for all requests; it is not closed. Then
            the certificate is given to it, not here.
        on_event: Called with an :class:`~wxmp.Event` for each call.
        clock: Seconds since 1970, for the parameters of pages and apps.

    Raises:
        ConfigError: An argument cannot work; ``field`` names it.
    """

    def __init__(
        self,
        *,
        mchid: str,
        api_v2_key: str,
        appid: str,
        sign_type: SignType = "HMAC-SHA256",
        client_certificate: tuple[str, str] | None = None,
        base_url: str = PRODUCTION,
        backup_url: str | None = BACKUP,
        timeout: float = CALL_TIMEOUT,
        retry: RetryPolicy | None = None,
        http_client: object = None,
        on_event: EventHook | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if sign_type not in SIGN_TYPES:
            raise ConfigError("sign_type must be 'HMAC-SHA256' or 'MD5'", field="sign_type")
        self._mchid = _fitting("mchid", mchid, _MCHID, "8 to 10 digits")
        self._key = Secret(_fitting("api_v2_key", api_v2_key, _KEY, "the 32 characters of the APIv2 key"))
        del api_v2_key  # error trackers print the locals of every frame
        self._appid = _appid(appid)
        self._sign_type: SignType = sign_type
        self._clock = clock
        self._retry = retry if retry is not None else RetryPolicy()
        self._line = V2Line(
            base_url=base_url,
            backup_url=backup_url,
            timeout=timeout,
            http_client=http_client,
            certificate=client_certificate,
        )
        self._watcher: CallWatcher | None = None
        if on_event is not None:
            from wxmp._watch import CallWatcher

            self._watcher = CallWatcher(on_event, appid=appid, mchid=mchid, service="pay", origin=base_url)

    def __repr__(self) -> str:
        return f"<PayV2Client mchid={self._mchid} sign_type={self._sign_type}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Break off what runs and close the connections. May be called twice."""
        await self._line.aclose()

    # ---- orders

    async def order(
        self,
        out_trade_no: str,
        *,
        trade_type: Literal["JSAPI", "NATIVE", "APP", "MWEB"],
        body: str,
        total_fen: int,
        spbill_create_ip: str,
        notify_url: str,
        openid: str | None = None,
        product_id: str | None = None,
        scene_info: Mapping[str, object] | None = None,
        detail: Mapping[str, object] | None = None,
        attach: str | None = None,
        device_info: str | None = None,
        fee_type: str | None = None,
        time_start: datetime | None = None,
        time_expire: datetime | None = None,
        goods_tag: str | None = None,
        limit_pay: Literal["no_credit"] | None = None,
        receipt: bool | None = None,
        profit_sharing: bool | None = None,
        appid: str | None = None,
    ) -> PrepaidV2Order:
        """Place an order (统一下单). The same once more gives a new ``prepay_id``; with other content it is refused.

        Args:
            out_trade_no: Your number: up to 32 of the characters ``0-9 A-Z a-z _ - | * @``.
            trade_type: Where it is paid.
            body: What the payer reads, up to 128 characters.
            total_fen: What it costs.
            spbill_create_ip: Address of the payer's device; for NATIVE of your server.
            notify_url: Where the notice goes: https, without a query.
            openid: The payer; needed for JSAPI.
            product_id: Your number of the goods; needed for NATIVE.
            scene_info: Where a MWEB order comes from: ``{"h5_info": {...}}``; needed there.
            detail: The goods, as the documents of coupons describe them.
            attach: Comes back in queries and notices, up to 127 characters.
            device_info: Your number of the till, up to 32 characters.
            fee_type: ``CNY``.
            time_start: When it was made.
            time_expire: Until when it can be paid, a minute from now at least.
            goods_tag: For coupons.
            limit_pay: ``no_credit`` takes no credit cards.
            receipt: Offer the payer an electronic invoice.
            profit_sharing: Freeze the money for sharing.
            appid: Another AppID of the merchant's.

        Raises:
            PayV2APIError: ``ORDER_PAID``, ``ORDER_CLOSED``, ``OUT_TRADE_NO_USED``, ``INVALID_REQUEST`` (the number with
                other content) and others.
            ConfigError: An argument cannot work; nothing was sent.

        Source:
            POST /pay/unifiedorder - 统一下单
        """
        _checks.choice("trade_type", trade_type, ("JSAPI", "NATIVE", "APP", "MWEB"))
        for needing, name, value in (
            ("JSAPI", "openid", openid),
            ("NATIVE", "product_id", product_id),
            ("MWEB", "scene_info", scene_info),
        ):
            if trade_type == needing and not value:
                raise ConfigError(f"{name} is needed for {needing}", field=name)
        fields = {
            "body": _text("body", body, 128),
            "out_trade_no": _out_trade_no(out_trade_no),
            "total_fee": str(_checks.fen("total_fen", total_fen)),
            "spbill_create_ip": _checks.client_ip("spbill_create_ip", spbill_create_ip),
            "notify_url": _checks.notify_address("notify_url", notify_url),
            "trade_type": trade_type,
            "openid": _optional("openid", openid, 128),
            "product_id": _optional("product_id", product_id, 32),
            "scene_info": _json("scene_info", scene_info, 256),
            "detail": _json("detail", detail, 6000),
            "attach": _optional("attach", attach, 127),
            "device_info": _optional("device_info", device_info, 32),
            "fee_type": _optional("fee_type", fee_type, 16),
            "time_start": _moment("time_start", time_start),
            "time_expire": _moment("time_expire", time_expire),
            "goods_tag": _optional("goods_tag", goods_tag, 32),
            "limit_pay": _optional("limit_pay", limit_pay, 32),
            "receipt": "Y" if receipt else None,
            "profit_sharing": None if profit_sharing is None else "Y" if profit_sharing else "N",
        }
        return read_prepaid(await self._call(ORDER, fields, appid=appid), ORDER.name)

    async def get(
        self, *, out_trade_no: str | None = None, transaction_id: str | None = None, appid: str | None = None
    ) -> V2Transaction:
        """Ask for an order (查询订单), by either number. This is the proof of payment, with the notice.

        Raises:
            PayV2APIError: ``ORDER_NOT_EXIST``; right after an order whose answer was lost, ask again before you
                trust it.
            PayMismatchError: The answer is about another order.

        Source:
            POST /pay/orderquery - 查询订单
        """
        name, value = _checks.one_of(out_trade_no=out_trade_no, transaction_id=transaction_id)
        asked = {name: _number(name, value)}
        found = await self._call(GET, asked, appid=appid)
        _compare(found, asked)
        # Of an order that is not paid little more than the state may come back.
        return read_transaction({**asked, **found}, GET.name)

    async def close(self, out_trade_no: str, *, appid: str | None = None) -> None:
        """Close an order that is not paid (关闭订单), five minutes after it was placed at the earliest.

        One that is closed already is no error.

        Raises:
            PayV2APIError: ``ORDER_PAID``: it was paid meanwhile.

        Source:
            POST /pay/closeorder - 关闭订单
        """
        try:
            await self._call(CLOSE, {"out_trade_no": _out_trade_no(out_trade_no)}, appid=appid)
        except PayV2APIError as error:
            if error.code != "ORDER_CLOSED":
                raise

    # ---- refunds

    async def refund(
        self,
        out_refund_no: str,
        *,
        refund_fen: int,
        total_fen: int,
        transaction_id: str | None = None,
        out_trade_no: str | None = None,
        refund_desc: str | None = None,
        refund_account: Literal["REFUND_SOURCE_UNSETTLED_FUNDS", "REFUND_SOURCE_RECHARGE_FUNDS"] | None = None,
        refund_fee_type: str | None = None,
        notify_url: str | None = None,
        appid: str | None = None,
    ) -> V2RefundReceipt:
        """Refund an order, or a part of it (申请退款). The answer means that it was accepted: the money comes later.

        After a failure ask for it, or repeat it **with the same number**: a new number is a second refund.

        Args:
            out_refund_no: Your number: up to 64 of the characters ``0-9 A-Z a-z _ - | * @``.
            refund_fen: What goes back.
            total_fen: What the order cost.
            transaction_id: Which order, by WeChat Pay's number.
            out_trade_no: Which order, by yours.
            refund_desc: What the payer reads, up to 80 characters.
            refund_account: Whose money: what is not settled yet (the default), or the balance.
            refund_fee_type: ``CNY``.
            notify_url: Where the notice goes, instead of the address in the console.
            appid: The AppID of the order, if it is another one.

        Raises:
            PayV2APIError: ``NOT_ENOUGH``, ``TRADE_OVERDUE`` (older than a year), ``REFUND_FEE_MISMATCH`` and others.
            ConfigError: An argument cannot work, or there is no client certificate; nothing was sent.

        Source:
            POST /secapi/pay/refund - 申请退款
        """
        name, value = _checks.one_of(transaction_id=transaction_id, out_trade_no=out_trade_no)
        if _checks.fen("refund_fen", refund_fen) > _checks.fen("total_fen", total_fen):
            raise ConfigError("refund_fen is more than total_fen", field="refund_fen")
        asked = {
            name: _number(name, value),
            "out_refund_no": _checks.number("out_refund_no", out_refund_no),
            "refund_fee": str(refund_fen),
        }
        more = {
            "total_fee": str(total_fen),
            "refund_fee_type": _optional("refund_fee_type", refund_fee_type, 8),
            "refund_desc": _optional("refund_desc", refund_desc, 80),
            "refund_account": _optional("refund_account", refund_account, 30),
            "notify_url": None if notify_url is None else _checks.notify_address("notify_url", notify_url),
        }
        found = await self._call(REFUND, asked | more, appid=appid)
        _compare(found, asked)
        return read_refund_receipt(found, REFUND.name)

    async def refund_get(
        self,
        *,
        out_refund_no: str | None = None,
        refund_id: str | None = None,
        out_trade_no: str | None = None,
        transaction_id: str | None = None,
        offset: int | None = None,
        appid: str | None = None,
    ) -> V2RefundPage:
        """Ask for a refund by one of its numbers, or for an order's refunds by one of the order's (查询退款).

        Args:
            out_refund_no: Your number of the refund.
            refund_id: WeChat Pay's number of the refund.
            out_trade_no: Your number of the order.
            transaction_id: WeChat Pay's number of the order.
            offset: How many refunds to leave out, where one answer does not hold them all.
            appid: The AppID of the order, if it is another one.

        Raises:
            PayV2APIError: ``REFUND_NOT_EXISTS``.

        Source:
            POST /pay/refundquery - 查询退款
        """
        name, value = _checks.one_of(
            out_refund_no=out_refund_no, refund_id=refund_id, out_trade_no=out_trade_no, transaction_id=transaction_id
        )
        asked = {name: _number(name, value)}
        more = {"offset": None if offset is None else str(_checks.count("offset", offset, least=0))}
        found = await self._call(REFUND_GET, asked | more, appid=appid)
        _compare(found, asked)
        page = read_refund_page(found, REFUND_GET.name)
        if name in ("out_refund_no", "refund_id") and any(getattr(entry, name) != value for entry in page.refunds):
            raise PayMismatchError(f"the answer is about another {name}", field=name)
        return page

    async def iter_refunds(
        self, *, out_trade_no: str | None = None, transaction_id: str | None = None, appid: str | None = None
    ) -> AsyncIterator[V2RefundEntry]:
        """Yield all refunds of an order, as many queries as that takes (查询退款).

        Args:
            out_trade_no: The order, by your number.
            transaction_id: The order, by the platform's number. Exactly one of the two.
            appid: Another AppID of the merchant's.

        Raises:
            ConfigError: Not exactly one number; nothing was sent.
            PayV2APIError: As with :meth:`refund_get`.

        Source:
            POST /pay/refundquery - 查询退款
        """
        seen = 0
        while True:
            page = await self.refund_get(
                out_trade_no=out_trade_no, transaction_id=transaction_id, offset=seen or None, appid=appid
            )
            for entry in page.refunds:
                yield entry
            seen += len(page.refunds)
            if not page.refunds or seen >= (page.total_refund_count or 0):
                return

    # ---- bills

    async def bill(
        self,
        bill_date: date | str,
        *,
        bill_type: Literal["ALL", "SUCCESS", "REFUND", "RECHARGE_REFUND"] = "ALL",
        appid: str | None = None,
    ) -> bytes:
        """Fetch the trades of one day (下载交易账单), as CSV in UTF-8; ready at ten the next day, for three months.

        It carries neither signature nor hash. It travels compressed, so that a piece that is missing is noticed.

        Args:
            bill_date: The day in Beijing.
            bill_type: All trades, or only paid ones, refunds, or refunds of recharges.
            appid: Another AppID of the merchant's.

        Raises:
            PayV2APIError: ``NO_STATEMENT_EXIST`` (nothing was sold that day), ``STATEMENT_CREATING`` and others.

        Source:
            POST /pay/downloadbill - 下载交易账单
        """
        _checks.choice("bill_type", bill_type, ("ALL", "SUCCESS", "REFUND", "RECHARGE_REFUND"))
        fields = {
            "bill_date": _checks.bill_date("bill_date", bill_date).replace("-", ""),
            "bill_type": bill_type,
            "tar_type": "GZIP",
        }
        message, content = self._write(fields, appid)

        async def attempt(effort: V2Effort) -> bytes:
            reply = await self._line.send(BILL, content, effort, timeout=BILL_TIMEOUT, max_body=MAX_BILL)
            if reply.content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
                self._judge(BILL, reply, message)
                raise ReplyError("neither a bill nor an error", endpoint=BILL.name)
            return _unpacked(reply)

        return await self._repeated(BILL, attempt)

    # ---- anything else

    async def request(
        self,
        path: str,
        fields: Mapping[str, str],
        *,
        repeatable: bool = False,
        certificate: bool = False,
        appid: str | None = None,
    ) -> dict[str, str]:
        """Call an interface that has no method here; the message is signed, and so must be the answer.

        Args:
            path: For example ``"/pay/micropay"``.
            fields: What to send; ``appid``, ``mch_id``, ``nonce_str``, ``sign_type`` and ``sign`` are added.
            repeatable: Whether a repeat does no harm when the outcome is unknown.
            certificate: Whether the interface wants the merchant's certificate.
            appid: Another AppID of the merchant's.
        """
        endpoint = V2Endpoint(
            _fitting("path", path, _PATH, "such as '/pay/micropay'"),
            "yes" if repeatable else "no",
            certificate=certificate,
        )
        return await self._call(
            endpoint, {name: _checks.text(name, fields[name], max_chars=_TEXT_CHARS) for name in fields}, appid=appid
        )

    # ---- for pages and apps

    def jsapi_params(self, prepay_id: str, *, appid: str | None = None) -> dict[str, str]:
        """Return what a page gives to ``WeixinJSBridge`` or ``wx.requestPayment`` (调起支付).

        Made for each use: a ``prepay_id`` lives two hours. That the page reports success is no proof of payment.
        """
        fields = {
            "appId": self._appid if appid is None else _appid(appid),
            "timeStamp": str(int(self._clock())),
            "nonceStr": secrets.token_hex(16),
            "package": f"prepay_id={_text('prepay_id', prepay_id, 64)}",
            "signType": self._sign_type,
        }
        return {**fields, "paySign": sign(fields, self._key, self._sign_type)}

    def app_params(self, prepay_id: str, *, appid: str | None = None) -> dict[str, str]:
        """Return what an app gives to its SDK (APP调起支付)."""
        fields = {
            "appid": self._appid if appid is None else _appid(appid),
            "partnerid": self._mchid,
            "prepayid": _text("prepay_id", prepay_id, 64),
            "package": "Sign=WXPay",
            "noncestr": secrets.token_hex(16),
            "timestamp": str(int(self._clock())),
        }
        return {**fields, "sign": sign(fields, self._key, self._sign_type)}

    # ---- notices

    def parse_payment(self, body: bytes, *, appid: str | None = None) -> V2Transaction:
        """Read the notice of a payment (支付结果通知) and check that it is genuine and yours.

        Then compare it with your order (:meth:`V2Transaction.check`), act once per number however often it comes, and
        answer :data:`NOTICE_ACCEPTED`; answer :data:`NOTICE_REFUSED` to whatever raises here.

        Args:
            body: The body of the request, untouched.
            appid: The AppID that the order was placed for, if it is another one.

        Raises:
            PaySignatureError: There is no sign, another one, or one of another ``sign_type`` than is configured.
            PayMismatchError: It is for another merchant or AppID.
            PayV2APIError: It is genuine and tells of a failure.
            MalformedError: It cannot be read: a DOCTYPE, a doubled element, no XML, too large.

        Source:
            支付结果通知
        """
        fields = read_message(_bytes(body))
        check_sign(fields, self._key, self._sign_type)
        self._check_owner(fields, self._appid if appid is None else _appid(appid))
        if fields.get("return_code") != "SUCCESS" or fields.get("result_code") != "SUCCESS":
            raise _failure(PAYMENT_NOTICE, fields)
        for name in ("out_trade_no", "transaction_id", "total_fee"):
            if not fields.get(name):
                raise MalformedError(f"the notice has no {name}")
        try:
            return read_transaction(fields, PAYMENT_NOTICE, notice=True)
        except ReplyError as error:
            raise MalformedError(error.message) from None

    def parse_refund(self, body: bytes, *, appid: str | None = None) -> V2RefundNotice:
        """Open the notice of a refund (退款结果通知).

        Nothing signs it, and its cipher protects it against readers only. **Ask** :meth:`refund_get` before you act.

        Args:
            body: The body of the request, untouched.
            appid: The AppID that the order was placed for, if it is another one.

        Raises:
            PayDecryptError: It does not open: it is forged, or the APIv2 key is another one.
            PayMismatchError: It is for another merchant or AppID.
            MalformedError: It cannot be read: a DOCTYPE, a doubled element, no XML, too large.

        Source:
            退款结果通知
        """
        fields = read_message(_bytes(body))
        if fields.get("return_code") != "SUCCESS" or not fields.get("req_info"):
            raise MalformedError("the notice holds no refund")
        self._check_owner(fields, self._appid if appid is None else _appid(appid))
        inner = open_refund(fields["req_info"], self._key)
        try:
            return read_refund_notice(fields, inner, REFUND_NOTICE)
        except ReplyError as error:
            raise MalformedError(error.message) from None

    # ---- one call

    async def _call(
        self, endpoint: V2Endpoint, fields: Mapping[str, str | None], *, appid: str | None = None
    ) -> dict[str, str]:
        message, content = self._write(fields, appid)

        async def attempt(effort: V2Effort) -> dict[str, str]:
            return self._judge(endpoint, await self._line.send(endpoint, content, effort), message)

        return await self._repeated(endpoint, attempt)

    def _write(self, fields: Mapping[str, str | None], appid: str | None) -> tuple[dict[str, str], bytes]:
        """Sign a message. It is written once: a repeat after an unknown outcome must be the same message."""
        message = {
            "appid": self._appid if appid is None else _appid(appid),
            "mch_id": self._mchid,
            "nonce_str": secrets.token_hex(16),
        }
        if self._sign_type != "MD5":
            message["sign_type"] = self._sign_type  # absent, it means MD5
        for name, value in fields.items():
            if name in message or name in ("sign", "sign_type"):
                raise ConfigError(f"{name} is set by the client", field=name)
            if value:
                message[name] = value
        message["sign"] = sign(message, self._key, self._sign_type)
        return message, write_message(message)

    def _judge(self, endpoint: V2Endpoint, reply: WireReply, message: Mapping[str, str]) -> dict[str, str]:
        """Judge an answer layer by layer. The sign comes first of what can be believed."""
        fields = _readable(endpoint, reply)
        code = fields.get("return_code")
        if code == "FAIL":
            # Nothing of it is signed, so it is never believed more than this: it did not work.
            raise _failure(endpoint.name, fields)
        if code != "SUCCESS":
            raise ReplyError("the answer has no return_code", endpoint=endpoint.name)
        try:
            check_sign(fields, self._key, self._sign_type)
        except PaySignatureError as error:
            raise PaySignatureError(
                error.message, reason=error.reason, endpoint=endpoint.name, maybe_acted=True
            ) from None
        self._check_owner(fields, message["appid"])
        if not fields.get("nonce_str"):
            raise ReplyError("the answer has no nonce_str", endpoint=endpoint.name)
        if fields.get("result_code") == "FAIL":
            raise _failure(endpoint.name, fields)
        if fields.get("result_code") != "SUCCESS":
            raise ReplyError("the answer has no result_code", endpoint=endpoint.name)
        return fields

    def _check_owner(self, fields: Mapping[str, str], appid: str) -> None:
        for name, field, expected in (("mch_id", "mchid", self._mchid), ("appid", "appid", appid)):
            if fields.get(name) != expected:
                raise PayMismatchError(f"the message is for another {name}", field=field)

    async def _repeated(self, endpoint: V2Endpoint, attempt: Callable[[V2Effort], Awaitable[T]]) -> T:
        """Make a whole call, and tell the hook of it if there is one."""
        if self._watcher is None:
            return await self._attempts(endpoint, attempt, None)
        with self._watcher(endpoint.name) as watch:
            return await self._attempts(endpoint, attempt, watch)

    async def _attempts(
        self, endpoint: V2Endpoint, attempt: Callable[[V2Effort], Awaitable[T]], watch: CallWatch | None
    ) -> T:
        """Make attempts as the policy says, all with the same message. tenacity is entered after a first failure."""
        started = self._retry.clock()
        repeatable = endpoint.repeat != "no"
        effort = V2Effort(self._retry.clock, started + self._retry.total_time)

        async def once() -> T:
            if watch is not None:
                watch.attempts += 1
            try:
                return await attempt(effort)
            except (PayAPIError, PaySignatureError, TransportError, ReplyError) as error:
                if effort.acted:
                    stays_unknown(error)
                effort.acted = error.maybe_acted
                raise

        try:
            return await once()
        except (PayAPIError, TransportError, ReplyError) as error:
            if self._line.closed or not self._retry.should_repeat(error, repeatable=repeatable):
                raise
            pending: Exception | None = error

        async def again() -> T:
            nonlocal pending
            if pending is not None:
                first, pending = pending, None
                raise first
            if self._line.closed:
                raise TransportError("the client was closed", endpoint=endpoint.name, maybe_acted=effort.acted)
            return await once()

        def before_sleep(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            code = error.code if isinstance(error, PayAPIError) else ""
            logger.warning(
                "%s: attempt %d failed (%s), next in %.2f s",
                endpoint.name,
                state.attempt_number,
                code or type(error).__name__,
                state.upcoming_sleep,
                extra=log_fields(
                    "call_retried",
                    mchid=self._mchid,
                    endpoint=endpoint.name,
                    attempt=state.attempt_number,
                    seconds=state.upcoming_sleep,
                    error=type(error).__name__,
                    code=code,
                ),
            )
            if watch is not None:
                watch.retried(state.attempt_number, state.upcoming_sleep, error)

        policy = self._retry.retrying(
            repeatable=repeatable, before_sleep=before_sleep, elapsed=self._retry.clock() - started
        )
        stop = policy.stop
        return await policy.copy(stop=lambda state: stop(state) or self._line.closed)(again)


def _readable(endpoint: V2Endpoint, reply: WireReply) -> dict[str, str]:
    try:
        return read_message(reply.content)
    except MalformedError as error:
        problem = error.message
    raise ReplyError(f"the answer cannot be used: {problem}", endpoint=endpoint.name)


def _failure(endpoint: str, fields: Mapping[str, str]) -> PayV2APIError:
    """Make the error of a message that says FAIL in one of its layers; its code is spelt as v3 spells it."""
    if fields.get("result_code") == "FAIL" or fields.get("err_code"):
        code, text = fields.get("err_code", ""), fields.get("err_code_des", "") or fields.get("return_msg", "")
    else:
        text = fields.get("return_msg", "")
        code = _OUTER_CODES.get(text.casefold(), "")
        if not code and _CODE.fullmatch(text) is not None:
            code = text
    known = lookup(code, _OK)
    verdict = known.verdict
    if code in _OWN_VERDICTS:
        verdict = _OWN_VERDICTS[code]
    return PayV2APIError(
        code=known.code or code[:CODE_SHOWN],
        message=mask_fields(text)[:TEXT_SHOWN] or known.meaning,
        status=_OK,
        endpoint=endpoint,
        verdict=verdict,
        advice=known.advice,
        # A wait that does not fit into the policy's total time is not begun: the error is raised at once.
        retry_after=TOO_MUCH_WAIT if code == TOO_MUCH else None,
    )


def _unpacked(reply: WireReply) -> bytes:
    """Return a bill as it was before it travelled."""
    content = reply.content
    if not content.startswith(b"\x1f\x8b"):
        if content.startswith((_BOM, _BILL_START)):
            return content
        raise ReplyError("the answer is no bill", endpoint=BILL.name)
    opener = zlib.decompressobj(wbits=_GZIP)
    try:
        plain = opener.decompress(content, MAX_BILL)
    except zlib.error:
        plain = b""
    if not opener.eof or opener.unused_data:
        raise ReplyError("the bill is damaged, incomplete or too large", endpoint=BILL.name)
    return plain


# ---- arguments


def _bytes(body: object) -> bytes:
    if not isinstance(body, bytes):
        raise ConfigError("body must be the bytes that were received", field="body")
    return body


def _fitting(field: str, value: object, pattern: re.Pattern[str], form: str) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ConfigError(f"{field} must be a text: {form}", field=field)
    return value


def _appid(value: object) -> str:
    return _fitting("appid", value, _APPID, "such as 'wx0123456789abcdef'")


def _out_trade_no(value: object) -> str:
    return _fitting("out_trade_no", value, _OUT_TRADE_NO, "1 to 32 of the characters 0-9 A-Z a-z _ - | * @")


def _number(name: str, value: str) -> str:
    if name == "out_trade_no":
        return _out_trade_no(value)
    return _checks.number(name, value, kind="out_refund_no" if name == "out_refund_no" else "transaction_id")


def _text(name: str, value: object, limit: int) -> str:
    return _checks.text(name, value, max_chars=limit)


def _optional(name: str, value: object, limit: int) -> str | None:
    return _checks.optional_text(name, value, max_chars=limit)


def _json(name: str, value: Mapping[str, object] | None, limit: int) -> str | None:
    return None if value is None else _text(name, dumps(dict(value), endpoint=ORDER.name).decode(), limit)


def _moment(name: str, value: datetime | None) -> str | None:
    if value is None:
        return None
    _checks.instant(name, value)
    return value.astimezone(BEIJING).strftime("%Y%m%d%H%M%S")


def _compare(found: Mapping[str, str], asked: Mapping[str, str]) -> None:
    """Compare an answer with the question: what both have must be the same."""
    for name, value in asked.items():
        if found.get(name, value) != value:
            raise PayMismatchError(f"the answer is about another {name}", field=name)
