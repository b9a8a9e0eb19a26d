"""Profit sharing (分账): divide the money of an order among receivers, take it back, release the rest."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp._wire import JsonObject, Payload, decode, wire
from wxmp.errors import PayDecryptError
from wxmp.pay import _checks as check
from wxmp.pay._gateway import Gateway, PayEndpoint
from wxmp.pay.records import BillLink, enciphered, wired_each

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BillLink",
    "ReceiverType",
    "RelationType",
    "SharingAPI",
    "SharingConfig",
    "SharingMember",
    "SharingOrder",
    "SharingReceiver",
    "SharingRemaining",
    "SharingResult",
    "SharingResultState",
    "SharingReturn",
    "SharingReturnState",
    "SharingState",
]

CREATE: Final = PayEndpoint("POST", "/v3/profitsharing/orders", repeat="by_key", encrypted=True)
GET: Final = PayEndpoint("GET", "/v3/profitsharing/orders/{out_order_no}", repeat="yes")
UNFREEZE: Final = PayEndpoint("POST", "/v3/profitsharing/orders/unfreeze", repeat="by_key")
CREATE_RETURN: Final = PayEndpoint("POST", "/v3/profitsharing/return-orders", repeat="by_key")
GET_RETURN: Final = PayEndpoint("GET", "/v3/profitsharing/return-orders/{out_return_no}", repeat="yes")
REMAINING: Final = PayEndpoint("GET", "/v3/profitsharing/transactions/{transaction_id}/amounts", repeat="yes")
ADD_RECEIVER: Final = PayEndpoint("POST", "/v3/profitsharing/receivers/add", repeat="yes", encrypted=True)
DELETE_RECEIVER: Final = PayEndpoint("POST", "/v3/profitsharing/receivers/delete", repeat="yes")
BILL: Final = PayEndpoint("GET", "/v3/profitsharing/bills", repeat="yes")
MERCHANT_CONFIG: Final = PayEndpoint("GET", "/v3/profitsharing/merchant-configs/{sub_mchid}", repeat="yes")

#: Receivers in one request.
RECEIVERS: Final = 50

#: A merchant by number, a person by openid, a person by openid under the sub merchant's AppID.
ReceiverType = Literal["MERCHANT_ID", "PERSONAL_OPENID", "PERSONAL_SUB_OPENID"]
RECEIVER_TYPES: Final = ("MERCHANT_ID", "PERSONAL_OPENID", "PERSONAL_SUB_OPENID")
#: What the receiver is to the merchant (与分账方的关系类型).
RelationType = Literal[
    "SERVICE_PROVIDER",
    "STORE",
    "STAFF",
    "STORE_OWNER",
    "PARTNER",
    "HEADQUARTER",
    "BRAND",
    "DISTRIBUTOR",
    "USER",
    "SUPPLIER",
    "CUSTOM",
]
RELATIONS: Final = (
    "SERVICE_PROVIDER",
    "STORE",
    "STAFF",
    "STORE_OWNER",
    "PARTNER",
    "HEADQUARTER",
    "BRAND",
    "DISTRIBUTOR",
    "USER",
    "SUPPLIER",
    "CUSTOM",
)


class SharingState(StrEnum):
    """How far a share is (分账单状态). ``FINISHED`` does not say that every receiver was paid: read each result."""

    PROCESSING = "PROCESSING"
    FINISHED = "FINISHED"


class SharingResultState(StrEnum):
    """What became of one receiver's part (分账结果)."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    CLOSED = "CLOSED"


class SharingReturnState(StrEnum):
    """What became of a return (回退结果)."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


@attrs.frozen
class SharingReceiver:
    """Who shall get how much (分账接收方)."""

    type: ReceiverType
    #: Merchant number or openid, at most 64 characters. Not shown by ``repr``.
    account: str = attrs.field(repr=False)
    #: Fen, at least 1.
    amount_fen: int
    #: What for, at most 80 characters.
    description: str
    #: A person's name; checked when sent. Enciphered by itself, not shown by ``repr``.
    name: str | None = attrs.field(default=None, repr=False)

    def wired(self, place: str) -> Payload:
        """Return the checked members; ``place`` names the record in an error."""
        kind = check.choice(f"{place}.type", self.type, RECEIVER_TYPES)
        if self.name is not None and kind == "MERCHANT_ID":
            raise check.refusal(f"{place}.name", "is for persons only: leave it out")
        return check.compact(
            {
                "type": kind,
                "account": check.text(f"{place}.account", self.account, max_chars=64),
                "name": None if self.name is None else enciphered(f"{place}.name", self.name),
                "amount": check.fen(f"{place}.amount_fen", self.amount_fen),
                "description": check.text(f"{place}.description", self.description, max_chars=80),
            }
        )


@attrs.frozen
class SharingResult:
    """What became of one receiver's part (分账接收方列表)."""

    type: str = ""
    #: Not shown by ``repr``.
    account: str = attrs.field(default="", repr=False)
    amount_fen: int | None = attrs.field(default=None, metadata=wire("amount"))
    description: str | None = None
    result: SharingResultState | str = ""
    #: ``ACCOUNT_ABNORMAL``, ``NO_RELATION``, ``RECEIVER_HIGH_RISK`` ...; an open set.
    fail_reason: str | None = None
    detail_id: str | None = None
    create_time: datetime | None = None
    finish_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SharingOrder:
    """A share as the platform knows it (分账单)."""

    out_order_no: str = ""
    state: SharingState | str = ""
    transaction_id: str = ""
    #: The platform's number.
    order_id: str = ""
    #: Read each one's ``result``.
    receivers: tuple[SharingResult, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SharingReturn:
    """A return as the platform knows it (分账回退单)."""

    out_return_no: str = ""
    #: ``FAILED``: the same number again, after the cause is mended.
    result: SharingReturnState | str = ""
    #: The platform's number of the return.
    return_id: str = ""
    #: The platform's number of the share.
    order_id: str = ""
    out_order_no: str = ""
    return_mchid: str = ""
    amount_fen: int | None = attrs.field(default=None, metadata=wire("amount"))
    description: str | None = None
    #: ``ACCOUNT_ABNORMAL``, ``BALANCE_NOT_ENOUGH``, ``TIME_OUT_CLOSED`` ...; an open set.
    fail_reason: str | None = None
    create_time: datetime | None = None
    finish_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SharingRemaining:
    """What of an order can still be shared (剩余待分金额)."""

    unsplit_amount_fen: int = attrs.field(metadata=wire("unsplit_amount"))
    transaction_id: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SharingMember:
    """A receiver on the merchant's list (分账接收方)."""

    type: str = ""
    #: Not shown by ``repr``.
    account: str = attrs.field(default="", repr=False)
    #: Deciphered where it opens, else absent. Not shown by ``repr``.
    name: str | None = attrs.field(default=None, repr=False)
    relation_type: str | None = None
    custom_relation: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SharingConfig:
    """How much of a sub merchant's orders may be shared (最大分账比例)."""

    #: Per ten thousand: 2000 is 20 %.
    max_ratio: int
    sub_mchid: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class SharingAPI:
    """Profit sharing (分账) of orders that were placed with ``profit_sharing=True``.

    Money moves once for one ``out_order_no`` or ``out_return_no``: after an unknown outcome call again with the
    **same** number and content, or query. Service providers name the ``sub_mchid`` everywhere.
    """

    _call: Gateway

    async def create(
        self,
        out_order_no: str,
        *,
        transaction_id: str,
        receivers: Iterable[SharingReceiver],
        unfreeze_unsplit: bool,
        appid: str | None = None,
        sub_appid: str | None = None,
        sub_mchid: str | None = None,
    ) -> SharingOrder:
        """Share the money of an order (请求分账).

        From a minute after the payment, within 30 days (180 for platforms); at most 50 calls for one order.

        Args:
            out_order_no: Your number of the share, at most 64 characters.
            transaction_id: The order, by the platform's number.
            receivers: At most 50, all on the merchant's list (:meth:`add_receiver`).
            unfreeze_unsplit: True releases the rest to the merchant and ends the sharing of this order.
            appid: The client's if absent.
            sub_appid: The sub merchant's; service providers only.
            sub_mchid: The sub merchant; service providers only.

        Returns:
            The share, ``PROCESSING`` as a rule: ask :meth:`get` until it is ``FINISHED``, then read every result.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``NOT_ENOUGH``: more than the order has, or than the agreed ratio. ``NO_AUTH``: no such
                permission. ``INVALID_REQUEST``: too early, too late, or the number came before with other content.
            PayMismatchError: The answer is about another share.

        Source:
            POST /v3/profitsharing/orders - 分账 / 请求分账
        """
        parts = wired_each("receivers", receivers, SharingReceiver)
        if not 1 <= len(parts) <= RECEIVERS:
            raise check.refusal("receivers", f"must be 1 to {RECEIVERS}, not {len(parts)}")
        payload = check.compact(
            {
                **_sub(sub_mchid),
                "appid": check.optional_text("appid", appid or self._call.appid, max_chars=32),
                "sub_appid": check.optional_text("sub_appid", sub_appid, max_chars=32),
                "transaction_id": check.number("transaction_id", transaction_id),
                "out_order_no": check.text("out_order_no", out_order_no, max_chars=64),
                "receivers": parts,
                "unfreeze_unsplit": check.flag("unfreeze_unsplit", unfreeze_unsplit),
            }
        )
        return _share(out_order_no, await self._call(CREATE, json=payload), CREATE)

    async def get(self, out_order_no: str, *, transaction_id: str, sub_mchid: str | None = None) -> SharingOrder:
        """Look at a share (查询分账结果).

        Args:
            out_order_no: Your number of the share.
            transaction_id: The order, by the platform's number.
            sub_mchid: The sub merchant; service providers only.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``RESOURCE_NOT_EXISTS``: no such share.
            PayMismatchError: The answer is about another share.

        Source:
            GET /v3/profitsharing/orders/{out_order_no} - 分账 / 查询分账结果
        """
        number = check.text("out_order_no", out_order_no, max_chars=64)
        params = {"transaction_id": check.number("transaction_id", transaction_id), **_sub(sub_mchid)}
        return _share(number, await self._call(GET, path={"out_order_no": number}, params=params), GET)

    async def unfreeze(
        self, out_order_no: str, *, transaction_id: str, description: str, sub_mchid: str | None = None
    ) -> SharingOrder:
        """Release what is left of an order to the merchant (解冻剩余资金); it cannot be shared afterwards.

        Args:
            out_order_no: Your number of this call, at most 64 characters.
            transaction_id: The order, by the platform's number.
            description: What for, at most 80 characters.
            sub_mchid: The sub merchant; service providers only.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: nothing is frozen.
            PayMismatchError: The answer is about another call.

        Source:
            POST /v3/profitsharing/orders/unfreeze - 分账 / 解冻剩余资金
        """
        payload = {
            **_sub(sub_mchid),
            "transaction_id": check.number("transaction_id", transaction_id),
            "out_order_no": check.text("out_order_no", out_order_no, max_chars=64),
            "description": check.text("description", description, max_chars=80),
        }
        return _share(out_order_no, await self._call(UNFREEZE, json=payload), UNFREEZE)

    async def create_return(
        self,
        out_return_no: str,
        *,
        return_mchid: str,
        amount_fen: int,
        description: str,
        order_id: str | None = None,
        out_order_no: str | None = None,
        sub_mchid: str | None = None,
    ) -> SharingReturn:
        """Take back what a merchant received (请求分账回退), within 180 days of the share.

        Args:
            out_return_no: Your number of the return, at most 64 characters.
            return_mchid: The merchant who gives back; persons cannot.
            amount_fen: Fen, at least 1.
            description: What for, at most 80 characters.
            order_id: The share, by the platform's number.
            out_order_no: The share, by your number. Exactly one of the two.
            sub_mchid: The sub merchant; service providers only.

        Returns:
            The return. ``PROCESSING``: the same number again, or ask :meth:`get_return`.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``NOT_ENOUGH``: the merchant has too little. ``INVALID_REQUEST``: more than was received.
            PayMismatchError: The answer is about another return.

        Source:
            POST /v3/profitsharing/return-orders - 分账 / 请求分账回退
        """
        name, value = check.one_of(order_id=order_id, out_order_no=out_order_no)
        payload = {
            **_sub(sub_mchid),
            name: check.text(name, value, max_chars=64),
            "out_return_no": check.text("out_return_no", out_return_no, max_chars=64),
            "return_mchid": check.text("return_mchid", return_mchid, max_chars=32),
            "amount": check.fen("amount_fen", amount_fen),
            "description": check.text("description", description, max_chars=80),
        }
        return _return(out_return_no, await self._call(CREATE_RETURN, json=payload), CREATE_RETURN)

    async def get_return(self, out_return_no: str, *, out_order_no: str, sub_mchid: str | None = None) -> SharingReturn:
        """Look at a return (查询分账回退结果).

        Args:
            out_return_no: Your number of the return.
            out_order_no: Your number of the share.
            sub_mchid: The sub merchant; service providers only.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``RESOURCE_NOT_EXISTS``: no such return.
            PayMismatchError: The answer is about another return.

        Source:
            GET /v3/profitsharing/return-orders/{out_return_no} - 分账 / 查询分账回退结果
        """
        number = check.text("out_return_no", out_return_no, max_chars=64)
        params = {"out_order_no": check.text("out_order_no", out_order_no, max_chars=64), **_sub(sub_mchid)}
        return _return(number, await self._call(GET_RETURN, path={"out_return_no": number}, params=params), GET_RETURN)

    async def remaining(self, transaction_id: str) -> SharingRemaining:
        """Ask how much of an order can still be shared (查询剩余待分金额).

        Args:
            transaction_id: The order, by the platform's number.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: ``RESOURCE_NOT_EXISTS``: no such order.

        Source:
            GET /v3/profitsharing/transactions/{transaction_id}/amounts - 分账 / 查询剩余待分金额
        """
        number = check.number("transaction_id", transaction_id)
        reply = await self._call(REMAINING, path={"transaction_id": number})
        return decode(SharingRemaining, reply, endpoint=REMAINING.name)

    async def add_receiver(
        self,
        account: str,
        *,
        type: ReceiverType,
        relation_type: RelationType,
        name: str | None = None,
        custom_relation: str | None = None,
        appid: str | None = None,
        sub_appid: str | None = None,
        sub_mchid: str | None = None,
    ) -> SharingMember:
        """Put a receiver on the merchant's list (添加分账接收方). Adding it again is harmless.

        Args:
            account: Merchant number or openid, at most 64 characters.
            type: Which of them it is.
            relation_type: What the receiver is to the merchant.
            name: A merchant's registered full name: needed. A person's name: checked when given. Enciphered by itself.
            custom_relation: With ``CUSTOM``: needed, at most 10 characters.
            appid: The client's if absent.
            sub_appid: The sub merchant's; service providers only.
            sub_mchid: The sub merchant; service providers only.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: the name is another one.

        Source:
            POST /v3/profitsharing/receivers/add - 分账 / 添加分账接收方
        """
        members = self._member(account, type, appid, sub_appid, sub_mchid)
        relation = check.choice("relation_type", relation_type, RELATIONS)
        if name is None and type == "MERCHANT_ID":
            raise check.refusal("name", "is needed for MERCHANT_ID: the merchant's registered full name")
        if (custom_relation is not None) != (relation == "CUSTOM"):
            raise check.refusal("custom_relation", "is needed with relation_type CUSTOM, and only there")
        payload = check.compact(
            {
                **members,
                "name": None if name is None else enciphered("name", name),
                "relation_type": relation,
                "custom_relation": check.optional_text("custom_relation", custom_relation, max_chars=10),
            }
        )
        added = decode(SharingMember, await self._call(ADD_RECEIVER, json=payload), endpoint=ADD_RECEIVER.name)
        if not added.name:
            return added
        try:
            return attrs.evolve(added, name=self._call.decrypt(added.name))
        except PayDecryptError:
            return attrs.evolve(added, name=None)  # it is on the list; whether its name opens changes nothing

    async def delete_receiver(
        self,
        account: str,
        *,
        type: ReceiverType,
        appid: str | None = None,
        sub_appid: str | None = None,
        sub_mchid: str | None = None,
    ) -> SharingMember:
        """Take a receiver from the merchant's list (删除分账接收方).

        Args:
            account: Merchant number or openid.
            type: Which of them it is.
            appid: The client's if absent.
            sub_appid: The sub merchant's; service providers only.
            sub_mchid: The sub merchant; service providers only.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``.

        Source:
            POST /v3/profitsharing/receivers/delete - 分账 / 删除分账接收方
        """
        payload = self._member(account, type, appid, sub_appid, sub_mchid)
        reply = await self._call(DELETE_RECEIVER, json=payload)
        return decode(SharingMember, reply, endpoint=DELETE_RECEIVER.name)

    async def bill(self, day: date | str, *, gzip: bool = False, sub_mchid: str | None = None) -> BillLink:
        """Ask for the bill of a day's shares (申请分账账单); ``client.bill`` fetches and reads it.

        Args:
            day: The day in Beijing.
            gzip: Whether the file travels compressed; it is uncompressed by itself.
            sub_mchid: One sub merchant; service providers only.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``NO_STATEMENT_EXIST``: nothing happened on that day. ``STATEMENT_CREATING``: ask later.

        Source:
            GET /v3/profitsharing/bills - 分账 / 申请分账账单
        """
        params: dict[str, str] = {"bill_date": check.bill_date("day", day), **_sub(sub_mchid)}
        if check.flag("gzip", gzip):
            params["tar_type"] = "GZIP"
        return decode(BillLink, await self._call(BILL, params=params), endpoint=BILL.name)

    async def merchant_config(self, sub_mchid: str) -> SharingConfig:
        """Ask how much of a sub merchant's orders may be shared (查询最大分账比例); service providers only.

        Args:
            sub_mchid: The sub merchant.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: ``RESOURCE_NOT_EXISTS``: no such sub merchant.

        Source:
            GET /v3/profitsharing/merchant-configs/{sub_mchid} - 分账 / 查询最大分账比例
        """
        reply = await self._call(MERCHANT_CONFIG, path=_sub(check.text("sub_mchid", sub_mchid, max_chars=32)))
        return decode(SharingConfig, reply, endpoint=MERCHANT_CONFIG.name)

    def _member(
        self, account: str, kind: str, appid: str | None, sub_appid: str | None, sub_mchid: str | None
    ) -> Payload:
        return check.compact(
            {
                **_sub(sub_mchid),
                "appid": check.app_id("appid", appid, self._call.appid),
                "sub_appid": check.optional_text("sub_appid", sub_appid, max_chars=32),
                "type": check.choice("type", kind, RECEIVER_TYPES),
                "account": check.text("account", account, max_chars=64),
            }
        )


def _share(number: str, reply: JsonObject, endpoint: PayEndpoint) -> SharingOrder:
    found = decode(SharingOrder, reply, endpoint=endpoint.name)
    check.about("out_order_no", number, found.out_order_no)
    return found


def _return(number: str, reply: JsonObject, endpoint: PayEndpoint) -> SharingReturn:
    found = decode(SharingReturn, reply, endpoint=endpoint.name)
    check.about("out_return_no", number, found.out_return_no)
    return found


def _sub(sub_mchid: str | None) -> dict[str, str]:
    return {} if sub_mchid is None else {"sub_mchid": check.text("sub_mchid", sub_mchid, max_chars=32)}
