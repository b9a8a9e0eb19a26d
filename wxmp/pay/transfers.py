"""Transfers (商家转账): pay users, who confirm in WeChat or have agreed once and for all.

The older transfers in batches (``/v3/transfer/batches``) are closed to merchants admitted since January 2025 and have
no methods here. Who still has them reaches them with ``client.request``: ``repeatable=True`` is right there, because
``out_batch_no`` makes a repeat harmless; ``client.gateway.encrypt(name)``, after ``await client.gateway.ready()``,
enciphers a ``user_name``.
"""

from __future__ import annotations

import logging
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, overload

import attrs

from wxmp._log import log_fields
from wxmp._wire import JsonObject, Payload, decode
from wxmp.errors import ConfigError, PayDecryptError
from wxmp.pay import _checks as check
from wxmp.pay._downloads import Announced, fetch_bytes, fetch_file
from wxmp.pay._gateway import Gateway, PayEndpoint
from wxmp.pay.records import TransferBill, TransferState, enciphered, of_kind, wired_each

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wxmp._redact import Secret

__all__ = [
    "Authorization",
    "AuthorizationClose",
    "AuthorizationInfo",
    "AuthorizationScene",
    "AuthorizationState",
    "Receipt",
    "ReceiptState",
    "Transfer",
    "TransferAPI",
    "TransferBill",
    "TransferCancel",
    "TransferReport",
    "TransferState",
]

logger: logging.Logger = logging.getLogger("wxmp.pay")

BILLS: Final = "/v3/fund-app/mch-transfer/transfer-bills"
RECEIPTS: Final = "/v3/fund-app/mch-transfer/elecsign"
AUTHORIZATIONS: Final = "/v3/fund-app/mch-transfer/user-confirm-authorization"

CREATE: Final = PayEndpoint("POST", BILLS, repeat="by_key", encrypted=True)
GET_BY_NUMBER: Final = PayEndpoint("GET", f"{BILLS}/out-bill-no/{{out_bill_no}}", repeat="yes")
GET_BY_ID: Final = PayEndpoint("GET", f"{BILLS}/transfer-bill-no/{{transfer_bill_no}}", repeat="yes")
CANCEL: Final = PayEndpoint("POST", f"{BILLS}/out-bill-no/{{out_bill_no}}/cancel", repeat="yes")
APPLY_RECEIPT_BY_NUMBER: Final = PayEndpoint("POST", f"{RECEIPTS}/out-bill-no", repeat="yes")
APPLY_RECEIPT_BY_ID: Final = PayEndpoint("POST", f"{RECEIPTS}/transfer-bill-no", repeat="yes")
GET_RECEIPT_BY_NUMBER: Final = PayEndpoint("GET", f"{RECEIPTS}/out-bill-no/{{out_bill_no}}", repeat="yes")
GET_RECEIPT_BY_ID: Final = PayEndpoint("GET", f"{RECEIPTS}/transfer-bill-no/{{transfer_bill_no}}", repeat="yes")
DOWNLOAD_RECEIPT: Final = PayEndpoint("GET", "/v3/billdownload/file", repeat="yes")
CREATE_AUTHORIZED: Final = PayEndpoint("POST", f"{BILLS}/transfer", repeat="by_key", encrypted=True)
CREATE_AND_AUTHORIZE: Final = PayEndpoint(
    "POST", f"{BILLS}/pre-transfer-with-authorization", repeat="by_key", encrypted=True
)
AUTHORIZE: Final = PayEndpoint("POST", AUTHORIZATIONS, repeat="by_key")
GET_AUTHORIZATION: Final = PayEndpoint(
    "GET", f"{AUTHORIZATIONS}/out-authorization-no/{{out_authorization_no}}", repeat="yes"
)
CLOSE_AUTHORIZATION: Final = PayEndpoint(
    "POST", f"{AUTHORIZATIONS}/out-authorization-no/{{out_authorization_no}}/close", repeat="yes"
)

#: Fen. From here on the receiver's name is needed.
NAME_NEEDED_FROM: Final = 200_000
#: Fen. Below this the receiver's name is refused.
NAME_REFUSED_BELOW: Final = 30
#: Fen. A red packet holds no more.
RED_PACKET_LIMIT: Final = 20_000
#: No limit is documented for these; a number this long serves every other interface.
AUTHORIZATION_CHARS: Final = 64


class ReceiptState(StrEnum):
    """How far a receipt is (电子回单状态)."""

    GENERATING = "GENERATING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"


class AuthorizationState(StrEnum):
    """How far a user's agreement is (免确认收款授权状态)."""

    WAIT_USER_CONFIRM = "WAIT_USER_CONFIRM"
    TAKING_EFFECT = "TAKING_EFFECT"
    CLOSED = "CLOSED"


@attrs.frozen
class TransferReport:
    """What a transfer is for (转账场景报备信息); each scene asks for fixed kinds, in a given order."""

    #: For example 活动名称; at most 15 characters.
    info_type: str
    #: For example 新会员有礼; at most 32 characters.
    info_content: str

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        return {
            "info_type": check.text(f"{place}.info_type", self.info_type, max_chars=15),
            "info_content": check.text(f"{place}.info_content", self.info_content, max_chars=32),
        }


@attrs.frozen
class AuthorizationInfo:
    """The agreement to ask a user for together with a transfer (免确认收款授权)."""

    #: What the user is shown.
    user_display_name: str
    #: Your number of the agreement.
    out_authorization_no: str
    #: Where WeChat tells of it: public https, no query.
    authorization_notify_url: str

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        name, number = self.user_display_name, self.out_authorization_no
        url = f"{place}.authorization_notify_url"
        return {
            "user_display_name": check.text(f"{place}.user_display_name", name, max_chars=AUTHORIZATION_CHARS),
            "out_authorization_no": check.text(f"{place}.out_authorization_no", number, max_chars=AUTHORIZATION_CHARS),
            "authorization_notify_url": check.notify_address(url, self.authorization_notify_url),
        }


@attrs.frozen
class AuthorizationScene:
    """The device a user agrees on (场景信息)."""

    #: Not shown by ``repr``.
    client_ip: str | None = attrs.field(default=None, repr=False)
    device_id: str | None = None
    device_type: Literal["IOS", "ANDROID", "HARMONY", "OTHER"] | None = None

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        kinds = ("IOS", "ANDROID", "HARMONY", "OTHER")
        ip, kind = self.client_ip, self.device_type
        return check.compact(
            {
                "client_ip": None if ip is None else check.client_ip(f"{place}.client_ip", ip),
                "device_id": check.optional_text(f"{place}.device_id", self.device_id, max_chars=AUTHORIZATION_CHARS),
                "device_type": None if kind is None else check.choice(f"{place}.device_type", kind, kinds),
            }
        )


@attrs.frozen
class Transfer:
    """The platform has taken a transfer (转账单受理结果). Taken is not paid: look at ``state``, then ask ``get``."""

    out_bill_no: str = ""
    #: A :class:`TransferState`, or the platform's text where this version does not know it.
    state: TransferState | str = ""
    #: The platform's number.
    transfer_bill_no: str = ""
    create_time: datetime | None = None
    #: The platform's word for what went wrong.
    fail_reason: str | None = None
    #: What the user's page needs to confirm (``TransferAPI.confirm_params``). Not shown by ``repr``.
    package_info: str | None = attrs.field(default=None, repr=False)
    #: With an agreement: what the user is shown.
    user_display_name: str | None = None
    #: With an agreement: your number of it.
    out_authorization_no: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)


@attrs.frozen
class TransferCancel:
    """The platform has taken a cancellation (撤销转账受理结果). Taken is not done: ``get`` shows ``CANCELLED``."""

    out_bill_no: str = ""
    #: ``CANCELING`` or ``CANCELLED``.
    state: TransferState | str = ""
    transfer_bill_no: str = ""
    update_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Receipt:
    """The receipt of a transfer (电子回单)."""

    #: A :class:`ReceiptState`, or the platform's text where this version does not know it.
    state: ReceiptState | str = ""
    create_time: datetime | None = None
    update_time: datetime | None = None
    #: ``SHA256``; ``SM3`` for merchants with national cryptography.
    hash_type: str | None = None
    hash_value: str | None = None
    #: Lives ten minutes; ``TransferAPI.download_receipt`` fetches it. Not shown by ``repr``.
    download_url: str | None = attrs.field(default=None, repr=False)
    fail_reason: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AuthorizationClose:
    """How an agreement ended (关闭信息)."""

    close_time: datetime | None = None
    #: ``CLOSE_VIA_MCH_API``, ``USER_CLOSE``, ``USER_OVERDUE_UNCONFIRMED``, ``TRANSFER_RISK``,
    #: ``USER_ACCOUNT_ABNORMAL``; an open set.
    close_reason: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Authorization:
    """A user's agreement to receive without confirming (免确认收款授权)."""

    out_authorization_no: str = ""
    #: An :class:`AuthorizationState`, or the platform's text where this version does not know it.
    state: AuthorizationState | str = ""
    appid: str = ""
    #: Not shown by ``repr``.
    openid: str = attrs.field(default="", repr=False)
    user_display_name: str | None = None
    #: The platform's number, once the user has agreed.
    authorization_id: str | None = None
    authorize_time: datetime | None = None
    close_info: AuthorizationClose | None = None
    transfer_scene_id: str | None = None
    #: What the user's page needs to agree. Not shown by ``repr``.
    package_info: str | None = attrs.field(default=None, repr=False)
    create_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)


@attrs.frozen
class TransferAPI:
    """Transfers to users (商家转账): pay, look, cancel; receipts; agreements to receive without confirming.

    Money moves once for one ``out_bill_no``: the client itself repeats the identical request after a lost answer.
    When it gives up, or an error is not one you know, the outcome is unknown: call again with the **same** number and
    content, or ask :meth:`get`. Take a new number only after ``FAIL`` or ``CANCELLED``.
    """

    _call: Gateway

    async def create(
        self,
        out_bill_no: str,
        *,
        openid: str,
        transfer_amount_fen: int,
        transfer_remark: str,
        transfer_scene_id: str,
        report_infos: Iterable[TransferReport],
        user_name: str | None = None,
        appid: str | None = None,
        notify_url: str | None = None,
        user_recv_perception: str | None = None,
        user_recv_style: Literal["CONFIRM_PAGE", "RED_PACKET"] | None = None,
    ) -> Transfer:
        """Pay a user, who confirms in WeChat within 24 hours (发起转账).

        Args:
            out_bill_no: Your number, 1 to 32 letters and digits: no other characters, unlike order numbers.
            openid: The receiver, under ``appid``.
            transfer_amount_fen: Fen, at least 1. 100 transfers a second.
            transfer_remark: What the receiver sees, at most 32 characters.
            transfer_scene_id: What for (转账场景), as granted to the merchant: for example ``"1000"``.
            report_infos: What the scene asks for, in its order.
            user_name: The receiver's name: needed from 2000 yuan, refused below 0.3 yuan. Enciphered by itself.
            appid: The client's if absent.
            notify_url: Where WeChat tells of the end.
            user_recv_perception: What the receiver sees it as; only texts that the scene allows.
            user_recv_style: How the receiver gets it; a red packet holds at most 200 yuan.

        Returns:
            What became of it so far. ``WAIT_USER_CONFIRM``: give :meth:`confirm_params` to the receiver's page.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``NOT_ENOUGH``: top up, then the same number again. ``INVALID_REQUEST``, ``ALREADY_EXISTS``:
                the number came before with other content (query it), or this machine's address is not on the
                merchant's list. ``NO_AUTH``: the scene is not granted.

        Source:
            POST /v3/fund-app/mch-transfer/transfer-bills - 商家转账 / 发起转账
        """
        payload = {
            **self._members(out_bill_no, transfer_amount_fen, transfer_remark, transfer_scene_id, report_infos),
            **self._receiver(openid, user_name, transfer_amount_fen, appid),
            **_optional(notify_url, user_recv_perception, None),
        }
        if user_recv_style is not None:
            style = check.choice("user_recv_style", user_recv_style, ("CONFIRM_PAGE", "RED_PACKET"))
            if style == "RED_PACKET" and transfer_amount_fen > RED_PACKET_LIMIT:
                raise check.refusal("user_recv_style", f"RED_PACKET holds at most {RED_PACKET_LIMIT} fen")
            payload["user_recv_style"] = {"type": style}
        taken = decode(Transfer, await self._call(CREATE, json=payload), endpoint=CREATE.name)
        check.about("out_bill_no", out_bill_no, taken.out_bill_no)
        return taken

    def confirm_params(self, transfer: Transfer | Authorization, *, appid: str | None = None) -> dict[str, str]:
        """Return what a page hands to ``requestMerchantTransfer`` (调起用户确认收款).

        Its success callback does not mean paid: ask :meth:`get`, or wait for the notice.

        Args:
            transfer: What :meth:`create` returned, waiting for the user.
            appid: Of the page; the client's if absent.

        Raises:
            ConfigError: There is nothing to confirm.
        """
        if not transfer.package_info:
            raise check.refusal("transfer", "has no package_info: there is nothing for the user to confirm")
        return {"mchId": self._call.mchid, "appId": self._appid(appid), "package": transfer.package_info}

    async def get(self, *, out_bill_no: str | None = None, transfer_bill_no: str | None = None) -> TransferBill:
        """Look at a transfer of the last 30 days, by either number (查询转账单).

        Args:
            out_bill_no: Your number.
            transfer_bill_no: The platform's.

        Returns:
            The transfer, the receiver's name deciphered.

        Raises:
            ConfigError: Not exactly one number, or one that cannot be right; nothing was sent.
            PayAPIError: ``NOT_FOUND``: no such transfer within 30 days. Right after a lost answer that is no proof that
                there will be none.
            PayMismatchError: The answer is about another transfer.

        Source:
            GET /v3/fund-app/mch-transfer/transfer-bills/out-bill-no/{out_bill_no},
            GET /v3/fund-app/mch-transfer/transfer-bills/transfer-bill-no/{transfer_bill_no} - 商家转账 / 查询转账单
        """
        name, number = _either(out_bill_no, transfer_bill_no)
        endpoint = GET_BY_NUMBER if name == "out_bill_no" else GET_BY_ID
        reply = await self._call(endpoint, path={name: number})
        found = decode(TransferBill, reply, endpoint=endpoint.name)
        check.about(name, number, found.out_bill_no if name == "out_bill_no" else found.transfer_bill_no)
        return self._opened(found)

    async def cancel(self, out_bill_no: str) -> TransferCancel:
        """Cancel a transfer that the user has not received (撤销转账).

        Args:
            out_bill_no: Your number.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: too late. ``NOT_FOUND``: no such transfer.
            PayMismatchError: The answer is about another transfer.

        Source:
            POST /v3/fund-app/mch-transfer/transfer-bills/out-bill-no/{out_bill_no}/cancel - 商家转账 / 撤销转账
        """
        number = check.number("out_bill_no", out_bill_no)
        reply = await self._call(CANCEL, path={"out_bill_no": number})
        taken = decode(TransferCancel, reply, endpoint=CANCEL.name)
        check.about("out_bill_no", number, taken.out_bill_no)
        return taken

    # ---- receipts

    async def apply_receipt(self, *, out_bill_no: str | None = None, transfer_bill_no: str | None = None) -> Receipt:
        """Have the receipt of a transfer made (申请电子回单).

        Args:
            out_bill_no: Your number of the transfer.
            transfer_bill_no: The platform's.

        Returns:
            The receipt, ``GENERATING``: ask :meth:`get_receipt` until it is ``FINISHED``.

        Raises:
            ConfigError: Not exactly one number, or one that cannot be right; nothing was sent.
            PayAPIError: ``NOT_FOUND``: no such transfer.

        Source:
            POST /v3/fund-app/mch-transfer/elecsign/out-bill-no,
            POST /v3/fund-app/mch-transfer/elecsign/transfer-bill-no - 商家转账 / 申请电子回单
        """
        name, number = _either(out_bill_no, transfer_bill_no)
        endpoint = APPLY_RECEIPT_BY_NUMBER if name == "out_bill_no" else APPLY_RECEIPT_BY_ID
        return decode(Receipt, await self._call(endpoint, json={name: number}), endpoint=endpoint.name)

    async def get_receipt(self, *, out_bill_no: str | None = None, transfer_bill_no: str | None = None) -> Receipt:
        """Look at the receipt of a transfer (查询电子回单).

        Args:
            out_bill_no: Your number of the transfer.
            transfer_bill_no: The platform's.

        Raises:
            ConfigError: Not exactly one number, or one that cannot be right; nothing was sent.
            PayAPIError: ``NOT_FOUND``: no such receipt.

        Source:
            GET /v3/fund-app/mch-transfer/elecsign/out-bill-no/{out_bill_no},
            GET /v3/fund-app/mch-transfer/elecsign/transfer-bill-no/{transfer_bill_no} - 商家转账 / 查询电子回单
        """
        name, number = _either(out_bill_no, transfer_bill_no)
        endpoint = GET_RECEIPT_BY_NUMBER if name == "out_bill_no" else GET_RECEIPT_BY_ID
        return decode(Receipt, await self._call(endpoint, path={name: number}), endpoint=endpoint.name)

    @overload
    async def download_receipt(self, receipt: Receipt) -> bytes: ...
    @overload
    async def download_receipt(self, receipt: Receipt, *, to: str | Path) -> Path: ...
    async def download_receipt(self, receipt: Receipt, *, to: str | Path | None = None) -> bytes | Path:
        """Fetch a receipt and compare its hash (下载电子回单).

        Args:
            receipt: A ``FINISHED`` one; its link lives for ten minutes.
            to: A path, where the file appears only when its hash is right. Without it the content is returned.

        Raises:
            ConfigError: It is not finished, or its link names a host that is not WeChat Pay's; nothing was sent.
            PayAPIError: The link is too old.
            ReplyError: The file is not the one that was announced.

        Source:
            GET the link of 查询电子回单 - 商家转账 / 下载电子回单
        """
        of_kind("receipt", receipt, Receipt)
        if not (receipt.download_url and receipt.hash_value):
            raise check.refusal("receipt", "has no link: ask get_receipt() until its state is FINISHED")
        file = Announced(receipt.download_url, receipt.hash_type or "SHA256", receipt.hash_value, DOWNLOAD_RECEIPT)
        return await fetch_bytes(self._call, file) if to is None else await fetch_file(self._call, file, to)

    # ---- users who need not confirm

    async def create_authorized(
        self,
        out_bill_no: str,
        *,
        transfer_amount_fen: int,
        transfer_remark: str,
        transfer_scene_id: str,
        report_infos: Iterable[TransferReport],
        authorization_id: str | None = None,
        out_authorization_no: str | None = None,
        user_name: str | None = None,
        appid: str | None = None,
        notify_url: str | None = None,
        user_recv_perception: str | None = None,
        sponsor_mchid: str | None = None,
    ) -> TransferBill:
        """Pay a user who has agreed to receive without confirming (免确认收款转账).

        Args:
            out_bill_no: Your number, 1 to 32 letters and digits.
            transfer_amount_fen: Fen, at least 1.
            transfer_remark: What the receiver sees, at most 32 characters.
            transfer_scene_id: What for (转账场景), as granted to the merchant.
            report_infos: What the scene asks for, in its order.
            authorization_id: The agreement, by the platform's number.
            out_authorization_no: The agreement, by your number. Exactly one of the two.
            user_name: The receiver's name: needed from 2000 yuan, refused below 0.3 yuan. Enciphered by itself.
            appid: The client's if absent.
            notify_url: Where WeChat tells of the end.
            user_recv_perception: What the receiver sees it as; only texts that the scene allows.
            sponsor_mchid: Another merchant who pays for it.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with :meth:`create`.

        Source:
            POST /v3/fund-app/mch-transfer/transfer-bills/transfer - 商家转账 / 免确认收款转账
        """
        given = check.one_of(authorization_id=authorization_id, out_authorization_no=out_authorization_no)
        payload = {
            **self._members(out_bill_no, transfer_amount_fen, transfer_remark, transfer_scene_id, report_infos),
            "appid": self._appid(appid),
            given[0]: check.text(*given, max_chars=AUTHORIZATION_CHARS),
            **_name(user_name, transfer_amount_fen),
            **_optional(notify_url, user_recv_perception, sponsor_mchid),
        }
        reply = await self._call(CREATE_AUTHORIZED, json=payload)
        taken = decode(TransferBill, reply, endpoint=CREATE_AUTHORIZED.name)
        check.about("out_bill_no", out_bill_no, taken.out_bill_no)
        return self._opened(taken)

    async def create_and_authorize(
        self,
        out_bill_no: str,
        *,
        openid: str,
        transfer_amount_fen: int,
        transfer_remark: str,
        transfer_scene_id: str,
        report_infos: Iterable[TransferReport],
        authorization_info: AuthorizationInfo | None = None,
        user_name: str | None = None,
        appid: str | None = None,
        notify_url: str | None = None,
        user_recv_perception: str | None = None,
        sponsor_mchid: str | None = None,
    ) -> Transfer:
        """Pay a user, and ask for the agreement to pay without confirming from now on (转账并授权).

        Args:
            out_bill_no: Your number, 1 to 32 letters and digits.
            openid: The receiver, under ``appid``.
            transfer_amount_fen: Fen, at least 1.
            transfer_remark: What the receiver sees, at most 32 characters.
            transfer_scene_id: What for (转账场景), as granted to the merchant.
            report_infos: What the scene asks for, in its order.
            authorization_info: The agreement.
            user_name: The receiver's name: needed from 2000 yuan, refused below 0.3 yuan. Enciphered by itself.
            appid: The client's if absent.
            notify_url: Where WeChat tells of the end.
            user_recv_perception: What the receiver sees it as; only texts that the scene allows.
            sponsor_mchid: Another merchant who pays for it.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with :meth:`create`.

        Source:
            POST /v3/fund-app/mch-transfer/transfer-bills/pre-transfer-with-authorization - 商家转账 / 转账并授权
        """
        payload = {
            **self._members(out_bill_no, transfer_amount_fen, transfer_remark, transfer_scene_id, report_infos),
            **self._receiver(openid, user_name, transfer_amount_fen, appid),
            **_optional(notify_url, user_recv_perception, sponsor_mchid),
        }
        if authorization_info is not None:
            of_kind("authorization_info", authorization_info, AuthorizationInfo)
            payload["authorization_info"] = authorization_info.wired("authorization_info")
        reply = await self._call(CREATE_AND_AUTHORIZE, json=payload)
        taken = decode(Transfer, reply, endpoint=CREATE_AND_AUTHORIZE.name)
        check.about("out_bill_no", out_bill_no, taken.out_bill_no)
        return taken

    async def authorize(
        self,
        out_authorization_no: str,
        *,
        openid: str,
        transfer_scene_id: str,
        user_display_name: str,
        authorization_notify_url: str,
        appid: str | None = None,
        user_recv_perception: str | None = None,
        scene_info: AuthorizationScene | None = None,
    ) -> Authorization:
        """Ask a user for the agreement to receive without confirming (发起免确认收款授权).

        The user has 24 hours; afterwards a new number is needed. 50 a second.

        Args:
            out_authorization_no: Your number of the agreement.
            openid: The user, under ``appid``.
            transfer_scene_id: What for (转账场景), as granted to the merchant.
            user_display_name: What the user is shown.
            authorization_notify_url: Where WeChat tells of it: public https, no query.
            appid: The client's if absent.
            user_recv_perception: What the receiver sees transfers as; only texts that the scene allows.
            scene_info: The user's device.

        Returns:
            The agreement, waiting: give :meth:`confirm_params` to the user's page.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: As with :meth:`create`.

        Source:
            POST /v3/fund-app/mch-transfer/user-confirm-authorization - 商家转账 / 发起免确认收款授权
        """
        if scene_info is not None:
            of_kind("scene_info", scene_info, AuthorizationScene)
        number = check.text("out_authorization_no", out_authorization_no, max_chars=AUTHORIZATION_CHARS)
        scene = None if scene_info is None else scene_info.wired("scene_info")
        payload = check.compact(
            {
                "out_authorization_no": number,
                "appid": self._appid(appid),
                "openid": check.text("openid", openid, max_chars=64),
                "transfer_scene_id": check.text("transfer_scene_id", transfer_scene_id, max_chars=36),
                "user_display_name": check.text("user_display_name", user_display_name, max_chars=AUTHORIZATION_CHARS),
                "authorization_notify_url": check.notify_address("authorization_notify_url", authorization_notify_url),
                "user_recv_perception": check.optional_text("user_recv_perception", user_recv_perception, max_chars=64),
                "scene_info": scene,
            }
        )
        return _agreement(number, await self._call(AUTHORIZE, json=payload), AUTHORIZE)

    async def get_authorization(
        self, out_authorization_no: str, *, is_display_authorization: bool | None = None
    ) -> Authorization:
        """Look at a user's agreement (查询免确认收款授权).

        Args:
            out_authorization_no: Your number of it.
            is_display_authorization: Whether the answer holds what shows the agreement to the user.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: ``NOT_FOUND``: no such agreement.
            PayMismatchError: The answer is about another agreement.

        Source:
            GET /v3/fund-app/mch-transfer/user-confirm-authorization/out-authorization-no/{out_authorization_no} -
            商家转账 / 查询免确认收款授权
        """
        number = check.text("out_authorization_no", out_authorization_no, max_chars=AUTHORIZATION_CHARS)
        params = None
        if is_display_authorization is not None:
            params = {"is_display_authorization": check.flag("is_display_authorization", is_display_authorization)}
        reply = await self._call(GET_AUTHORIZATION, path={"out_authorization_no": number}, params=params)
        return _agreement(number, reply, GET_AUTHORIZATION)

    async def close_authorization(self, out_authorization_no: str) -> Authorization:
        """End a user's agreement (解除免确认收款授权).

        Args:
            out_authorization_no: Your number of it.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: ``NOT_FOUND``: no such agreement.
            PayMismatchError: The answer is about another agreement.

        Source:
            POST /v3/fund-app/mch-transfer/user-confirm-authorization/out-authorization-no/{out_authorization_no}/close
            - 商家转账 / 解除免确认收款授权
        """
        number = check.text("out_authorization_no", out_authorization_no, max_chars=AUTHORIZATION_CHARS)
        reply = await self._call(CLOSE_AUTHORIZATION, path={"out_authorization_no": number})
        return _agreement(number, reply, CLOSE_AUTHORIZATION)

    # ---- members

    def _appid(self, appid: str | None) -> str:
        return check.app_id("appid", appid, self._call.appid)

    def _members(
        self,
        out_bill_no: str,
        transfer_amount_fen: int,
        transfer_remark: str,
        transfer_scene_id: str,
        report_infos: Iterable[TransferReport],
    ) -> Payload:
        reports = wired_each("report_infos", report_infos, TransferReport)
        if not reports:
            raise check.refusal("report_infos", "is needed: the scene of the transfer says which entries")
        return {
            "out_bill_no": check.number("out_bill_no", out_bill_no),
            "transfer_scene_id": check.text("transfer_scene_id", transfer_scene_id, max_chars=36),
            "transfer_amount": check.fen("transfer_amount_fen", transfer_amount_fen),
            "transfer_remark": check.text("transfer_remark", transfer_remark, max_chars=32),
            "transfer_scene_report_infos": reports,
        }

    def _receiver(self, openid: str, user_name: str | None, amount: int, appid: str | None) -> Payload:
        own = self._appid(appid)
        return {"appid": own, "openid": check.text("openid", openid, max_chars=64), **_name(user_name, amount)}

    def _opened(self, bill: TransferBill) -> TransferBill:
        """Decipher the receiver's name. A query must answer what became of the money even where that fails."""
        if not bill.user_name:
            return bill
        try:
            return attrs.evolve(bill, user_name=self._call.decrypt(bill.user_name))
        except PayDecryptError:
            logger.warning(
                "the receiver's name of a transfer does not open, and is left out", extra=log_fields("name_unreadable")
            )
            return attrs.evolve(bill, user_name=None)


def _agreement(number: str, reply: JsonObject, endpoint: PayEndpoint) -> Authorization:
    found = decode(Authorization, reply, endpoint=endpoint.name)
    check.about("out_authorization_no", number, found.out_authorization_no)
    return found


def _name(user_name: str | None, amount: int) -> dict[str, Secret]:
    """Return the receiver's name, where the amount allows and demands it.

    Raises:
        ConfigError: It is missing, or there although it must not be.
    """
    if user_name is None:
        if amount >= NAME_NEEDED_FROM:
            raise check.refusal("user_name", f"is needed from {NAME_NEEDED_FROM} fen on: the receiver's real name")
        return {}
    if amount < NAME_REFUSED_BELOW:
        raise check.refusal("user_name", f"is refused below {NAME_REFUSED_BELOW} fen: leave it out")
    return {"user_name": enciphered("user_name", user_name)}


def _optional(notify_url: str | None, user_recv_perception: str | None, sponsor_mchid: str | None) -> Payload:
    return check.compact(
        {
            "notify_url": None if notify_url is None else check.notify_address("notify_url", notify_url),
            "user_recv_perception": check.optional_text("user_recv_perception", user_recv_perception, max_chars=64),
            "sponsor_mchid": check.optional_text("sponsor_mchid", sponsor_mchid, max_chars=32),
        }
    )


def _either(out_bill_no: str | None, transfer_bill_no: str | None) -> tuple[str, str]:
    """Return name and value of the number given.

    Raises:
        ConfigError: There is not exactly one, or it cannot be right.
    """
    name, value = check.one_of(out_bill_no=out_bill_no, transfer_bill_no=transfer_bill_no)
    if name == "out_bill_no":
        return name, check.number("out_bill_no", value)
    number = check.text(name, value, max_chars=64)
    if not number.isprintable():
        raise ConfigError("transfer_bill_no must be the platform's number as it gave it", field=name)
    return name, number
