"""Refunds (退款): give money of an order back, wholly or in part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, Literal, cast

import attrs

from wxmp._wire import decode
from wxmp.errors import PayAPIError, PayError, ReplyError, TransportError
from wxmp.pay import _checks as check
from wxmp.pay._gateway import Gateway, PayEndpoint
from wxmp.pay.records import (
    PartnerTransaction,
    Refund,
    RefundFrom,
    RefundGoods,
    Transaction,
    enciphered,
    wired_each,
)

if TYPE_CHECKING:
    from wxmp._wire import JsonObject, Payload

__all__ = ["RefundAPI"]

CREATE: Final = PayEndpoint("POST", "/v3/refund/domestic/refunds", repeat="by_key")
GET: Final = PayEndpoint("GET", "/v3/refund/domestic/refunds/{out_refund_no}", repeat="yes")
APPLY_ABNORMAL: Final = PayEndpoint(
    "POST", "/v3/refund/domestic/refunds/{refund_id}/apply-abnormal-refund", repeat="by_key", encrypted=True
)
# A look at the order, for a refund that is told there is none.
ORDER_BY_ID: Final = PayEndpoint("GET", "/v3/pay/transactions/id/{transaction_id}", repeat="yes")
ORDER_BY_NUMBER: Final = PayEndpoint("GET", "/v3/pay/transactions/out-trade-no/{out_trade_no}", repeat="yes")
PARTNER_BY_ID: Final = PayEndpoint("GET", "/v3/pay/partner/transactions/id/{transaction_id}", repeat="yes")
PARTNER_BY_NUMBER: Final = PayEndpoint("GET", "/v3/pay/partner/transactions/out-trade-no/{out_trade_no}", repeat="yes")

#: Seconds before each repeat of a refund whose order was not found although it is paid.
NOT_FOUND_WAITS: Final = (1.0, 3.0)
FUNDS: Final = ("AVAILABLE", "UNSETTLED")


@attrs.frozen
class RefundAPI:
    """Refunds (退款申请): ask for them, look at them, rescue abnormal ones.

    Money moves once for one ``out_refund_no``: the client itself repeats the identical request after a lost answer.
    When it gives up, or the error is one that no list names, call again with the **same** number and content, or ask
    :meth:`get`. Only a refund whose status is ``CLOSED`` may be tried under a new number: any other new number can pay
    the user twice.
    """

    _call: Gateway
    _sleep: Callable[[float], Awaitable[None]] = attrs.field(default=asyncio.sleep, repr=False, eq=False, kw_only=True)

    async def create(
        self,
        out_refund_no: str,
        *,
        refund_fen: int,
        total_fen: int,
        transaction_id: str | None = None,
        out_trade_no: str | None = None,
        reason: str | None = None,
        notify_url: str | None = None,
        funds_account: Literal["AVAILABLE", "UNSETTLED"] | None = None,
        sources: Iterable[RefundFrom] = (),
        goods_detail: Iterable[RefundGoods] = (),
        currency: str = "CNY",
        sub_mchid: str | None = None,
    ) -> Refund:
        """Refund an order, wholly or in part (退款申请).

        Within a year of the payment, at most 50 refunds for one order, and a minute between two of them.

        Args:
            out_refund_no: Your refund number, 1 to 64 of ``0-9 A-Z a-z _ - | * @``.
            refund_fen: What goes back in fen, not above what is left of the order.
            total_fen: The order's total in fen, also for a second partial refund.
            transaction_id: The order, by the platform's number. The better one: right after a payment users saw
                ``RESOURCE_NOT_EXISTS`` for orders named by their own number.
            out_trade_no: The order, by your number. Exactly one of the two.
            reason: Shown to the user, at most 80 characters; not for a partial refund of 1 yuan or less.
            notify_url: Where WeChat tells of the end; the address in the merchant console if absent.
            funds_account: Which money to take, for merchants on the older settlement (default there: ``UNSETTLED``).
                With ``NOT_ENOUGH`` from there, ``AVAILABLE`` can work.
            sources: Parts by account; they must add up to ``refund_fen``.
            goods_detail: The goods that come back.
            currency: ``CNY``.
            sub_mchid: The sub merchant; service providers only.

        Returns:
            The refund. Accepted is not done: ``PROCESSING`` is normal.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``NOT_ENOUGH``: top up, then the same number again. ``USER_ACCOUNT_ABNORMAL``: pay back
                outside WeChat. ``INVALID_REQUEST``: more than is left, or the number came before with other content.
                ``RESOURCE_NOT_EXISTS``: no such order; when a query shows it paid, the refund has been repeated twice.
                ``FREQUENCY_LIMITED``: slower; a minute between two refunds of one order.

        Source:
            POST /v3/refund/domestic/refunds - 退款 / 退款申请
        """
        name, value = check.one_of(transaction_id=transaction_id, out_trade_no=out_trade_no)
        kind: Literal["transaction_id", "placed_order"] = "placed_order" if name == "out_trade_no" else "transaction_id"
        order = check.number(name, value, kind=kind)
        refund, total = check.fen("refund_fen", refund_fen), check.fen("total_fen", total_fen)
        if refund > total:
            raise check.refusal("refund_fen", "must not be above total_fen, the order's total")
        parts = wired_each("sources", sources, RefundFrom)
        if parts and sum(cast("int", part["amount"]) for part in parts) != refund:
            raise check.refusal("sources", "must add up to refund_fen")
        source = None if funds_account is None else check.choice("funds_account", funds_account, FUNDS)
        payload: Payload = check.compact(
            {
                "sub_mchid": check.optional_text("sub_mchid", sub_mchid, max_chars=32),
                name: order,
                "out_refund_no": check.number("out_refund_no", out_refund_no),
                "reason": check.optional_text("reason", reason, max_chars=80),
                "notify_url": None if notify_url is None else check.notify_address("notify_url", notify_url),
                "funds_account": source,
                "amount": check.compact(
                    {
                        "refund": refund,
                        "total": total,
                        "currency": check.choice("currency", currency, ("CNY",)),
                        "from": parts,
                    }
                ),
                "goods_detail": wired_each("goods_detail", goods_detail, RefundGoods),
            }
        )
        made = decode(Refund, await self._create(payload, name, order, sub_mchid), endpoint=CREATE.name)
        check.about("out_refund_no", out_refund_no, made.out_refund_no)
        return made

    async def get(self, out_refund_no: str, *, sub_mchid: str | None = None) -> Refund:
        """Look at a refund (查询单笔退款).

        Money takes from minutes (balance) to days (cards). Once a minute for five minutes is enough, then less often.

        Args:
            out_refund_no: Your refund number.
            sub_mchid: The sub merchant; service providers only.

        Raises:
            ConfigError: The number cannot be right; nothing was sent.
            PayAPIError: ``RESOURCE_NOT_EXISTS``: there is no such refund.
            PayMismatchError: The answer is about another refund.

        Source:
            GET /v3/refund/domestic/refunds/{out_refund_no} - 退款 / 查询单笔退款（通过商户退款单号）
        """
        number = check.number("out_refund_no", out_refund_no)
        sub = check.optional_text("sub_mchid", sub_mchid, max_chars=32)
        reply = await self._call(GET, path={"out_refund_no": number}, params={"sub_mchid": sub} if sub else None)
        found = decode(Refund, reply, endpoint=GET.name)
        check.about("out_refund_no", number, found.out_refund_no)
        return found

    async def apply_abnormal(
        self,
        refund_id: str,
        *,
        out_refund_no: str,
        type: Literal["USER_BANK_CARD", "MERCHANT_BANK_CARD"],
        bank_type: str | None = None,
        bank_account: str | None = None,
        real_name: str | None = None,
        sub_mchid: str | None = None,
    ) -> Refund:
        """Send an abnormal refund to another account (发起异常退款); only while its status is ``ABNORMAL``.

        Args:
            refund_id: The platform's number of the refund.
            out_refund_no: Your number of the same refund.
            type: ``USER_BANK_CARD``: to a card of the user, the three arguments below are needed.
                ``MERCHANT_BANK_CARD``: to the merchant, who pays the user back.
            bank_type: The bank, for example ``ICBC_DEBIT``; at most 16 characters.
            bank_account: The card; enciphered by itself.
            real_name: Its owner; enciphered by itself.
            sub_mchid: The sub merchant; service providers only.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: ``INVALID_REQUEST``: the refund is not abnormal. ``RESOURCE_NOT_EXISTS``: there is none.
            PayMismatchError: The answer is about another refund.

        Source:
            POST /v3/refund/domestic/refunds/{refund_id}/apply-abnormal-refund - 退款 / 发起异常退款
        """
        number = check.text("refund_id", refund_id, max_chars=32)
        kind = check.choice("type", type, ("USER_BANK_CARD", "MERCHANT_BANK_CARD"))
        payload: Payload = {"out_refund_no": check.number("out_refund_no", out_refund_no), "type": kind}
        if sub_mchid is not None:
            payload["sub_mchid"] = check.text("sub_mchid", sub_mchid, max_chars=32)
        card = {"bank_type": bank_type, "bank_account": bank_account, "real_name": real_name}
        if kind == "USER_BANK_CARD":
            payload["bank_type"] = check.text("bank_type", bank_type, max_chars=16)
            payload["bank_account"] = enciphered("bank_account", bank_account)
            payload["real_name"] = enciphered("real_name", real_name)
        else:
            for name, value in card.items():
                if value is not None:
                    raise check.refusal(name, "is for USER_BANK_CARD only: leave it out")
        reply = await self._call(APPLY_ABNORMAL, path={"refund_id": number}, json=payload)
        found = decode(Refund, reply, endpoint=APPLY_ABNORMAL.name)
        check.about("refund_id", number, found.refund_id)
        return found

    async def _create(self, payload: Payload, name: str, order: str, sub_mchid: str | None) -> JsonObject:
        """Ask for a refund; an order that is paid and yet "not found" is asked for again, identically."""
        for wait in NOT_FOUND_WAITS:
            try:
                return await self._call(CREATE, json=payload)
            except PayAPIError as error:
                if error.code != "RESOURCE_NOT_EXISTS" or not await self._is_paid(name, order, sub_mchid):
                    raise
            await self._sleep(wait)
        return await self._call(CREATE, json=payload)

    async def _is_paid(self, name: str, order: str, sub_mchid: str | None) -> bool:
        path = {name: order}
        try:
            if sub_mchid is not None:
                endpoint = PARTNER_BY_NUMBER if name == "out_trade_no" else PARTNER_BY_ID
                params = {"sp_mchid": self._call.mchid, "sub_mchid": sub_mchid}
                reply = await self._call(endpoint, path=path, params=params)
                return decode(PartnerTransaction, reply, endpoint=endpoint.name).paid
            endpoint = ORDER_BY_NUMBER if name == "out_trade_no" else ORDER_BY_ID
            reply = await self._call(endpoint, path=path, params={"mchid": self._call.mchid})
            return decode(Transaction, reply, endpoint=endpoint.name).paid
        except (PayError, TransportError, ReplyError):
            return False  # what the refund itself was told is what the caller needs to know
