"""The error codes of WeChat Pay (错误码): what each means, and what to do about it. One table for v3 and v2."""

from __future__ import annotations

from functools import cache
from typing import Final

import attrs

from wxmp.errors import PayAPIError, PaySignatureError, PayVerdict, ReplyError, TransportError

__all__ = ["CODES", "UNKNOWN", "PayCode", "fold", "lookup", "stays_unknown"]


@attrs.frozen
class PayCode:
    """One error code."""

    #: The newer spelling; empty for the answer to "what is this code" when it stands in no list.
    code: str
    verdict: PayVerdict
    #: What it means; the reader is a person.
    meaning: str
    #: What to do about it; empty where the meaning says it all.
    advice: str = ""
    #: Other spellings that folding does not undo.
    aliases: tuple[str, ...] = ()


_QUERY = "The outcome is unknown: query by your own number before anything else"

_TABLE: Final[tuple[PayCode, ...]] = (
    PayCode("SYSTEM_ERROR", "same", "a fault of the platform", _QUERY),
    PayCode("BANK_ERROR", "same", "a fault of the bank", _QUERY),
    PayCode("SERVICE_UNAVAILABLE", "same", "the gateway is overloaded or restarts", _QUERY),
    PayCode(
        "BIZ_ERR_NEED_RETRY",
        "same",
        "the refund is not settled",
        "Ask again with the same out_refund_no, never with a new one",
        ("BIZERR_NEED_RETRY",),
    ),
    PayCode(
        "FREQUENCY_LIMITED",
        "slow",
        "too many requests of this merchant to this interface",
        "Slow down, then send the identical request",
        (
            *("RATELIMIT_EXCEEDED", "RATELIMIT_EXCEED", "FREQUENCY_LIMIT_EXCEED"),
            *("FREQUENCY_LIMIT", "FREQENCY_LIMIT"),
        ),
    ),
    PayCode("PARAM_ERROR", "never", "a member is missing, malformed or unknown"),
    PayCode(
        "INVALID_REQUEST",
        "never",
        "well-formed, but not allowed here",
        "The same number with other content, an address that is not on the list, or a link that has ended",
    ),
    PayCode(
        "SIGN_ERROR",
        "never",
        "the gateway does not accept the signature",
        "Private key and serial must belong together and to this mchid, and this machine's clock must be right",
    ),
    PayCode("NO_AUTH", "never", "the merchant has not opened this product", "Open it in the merchant console"),
    PayCode("RULE_LIMIT", "later", "a rule or a limit of the platform forbids it"),
    PayCode("TRADE_ERROR", "never", "the payment is refused", "The payer should use another way to pay"),
    PayCode("ACCOUNT_ERROR", "never", "the state of the account forbids it"),
    PayCode(
        "USER_ACCOUNT_ABNORMAL",
        "never",
        "the user's account is closed or out of order",
        "Refund through refund.apply_abnormal or outside WeChat",
    ),
    PayCode(
        "NOT_ENOUGH",
        "never",
        "the funds are short",
        "For a refund or a transfer: top the balance up, then send the same number again",
    ),
    PayCode("OUT_TRADE_NO_USED", "never", "the number is in use", "Query it before you take a new one"),
    PayCode(
        "ORDER_NOT_EXIST",
        "never",
        "no such order",
        "Right after an order with unknown outcome, ask again for some seconds before you believe it",
    ),
    PayCode("ORDER_CLOSED", "never", "the order is closed", "Place a new one under a new number"),
    PayCode("ORDER_PAID", "never", "the order is paid", "Query it; do not place another"),
    PayCode("ORDER_REVERSED", "never", "the code payment was reversed"),
    PayCode("OPENID_MISMATCH", "never", "the openid does not belong to this appid"),
    PayCode("INVALID_TRANSACTIONID", "never", "the transaction_id is malformed or another merchant's"),
    PayCode("MCH_NOT_EXISTS", "never", "no such merchant"),
    PayCode(
        "APPID_MCHID_NOT_MATCH",
        "never",
        "the appid is not bound to this merchant",
        "Bind it in the merchant console, and accept that in the account's console",
    ),
    PayCode(
        "USERPAYING",
        "poll",
        "the payer is entering the password",
        "Query every five seconds or so; reverse a code payment after thirty seconds or more",
    ),
    PayCode("AUTH_CODE_INVALID", "never", "this is no payment code of WeChat"),
    PayCode("AUTH_CODE_EXPIRE", "never", "the payment code has ended", "Scan again"),
    PayCode("RESOURCE_NOT_EXISTS", "never", "no such resource"),
    PayCode("RESOURCE_ALREADY_EXISTS", "never", "the number is there already", "Query it"),
    PayCode("ALREADY_EXISTS", "never", "the number is there already, with other content", "Query it"),
    PayCode("NOT_FOUND", "never", "no such record"),
    PayCode("REFUND_NOT_EXISTS", "never", "no such refund"),
    PayCode("REQUEST_BLOCKED", "later", "blocked by risk control or by a setting of the merchant"),
    PayCode("USER_NOT_EXIST", "never", "no such openid"),
    PayCode("NO_STATEMENT_EXIST", "never", "there is no bill for that day: nothing happened, or it is out of range"),
    PayCode(
        "STATEMENT_CREATING",
        "later",
        "the bill is not ready",
        "Trade bills come between 8 and 10 o'clock of the next day in Beijing, fund-flow bills after 10",
        ("BILL_CREATING",),
    ),
    PayCode("ERROR", "never", "a fault with a text for people", "Query before you do anything"),
)

#: An answer without a code that is known; its status decides.
UNKNOWN: Final = PayCode("", "never", "")

#: By the newer spelling.
CODES: Final = {entry.code: entry for entry in _TABLE}

_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_UNAVAILABLE: Final = (502, 503)


def fold(code: str) -> str:
    """Return a code without what its spellings differ in: case, underscores, EXIST or EXISTS."""
    return code.upper().replace("_", "").replace("EXISTS", "EXIST")


@cache
def _folded() -> dict[str, PayCode]:
    return {fold(spelling): entry for entry in _TABLE for spelling in (entry.code, *entry.aliases)}


def lookup(code: str, status: int) -> PayCode:
    """Return what is known about a code in an answer of this status.

    A code that stands in no list keeps its spelling: with a status of 5xx it passes, with 429 it passes slowly, and
    with any other it is final.
    """
    known = _folded().get(fold(code)) if code else None
    if known is not None:
        return known
    if not code and status in _UNAVAILABLE:
        return CODES["SERVICE_UNAVAILABLE"]
    if status == _TOO_MANY:
        return attrs.evolve(CODES["FREQUENCY_LIMITED"], code=code)
    return PayCode(code, "same", "", _QUERY) if status >= _SERVER_ERROR else PayCode(code, "never", "")


def stays_unknown(error: PayAPIError | PaySignatureError | TransportError | ReplyError) -> None:
    """Mark the error of a repeat whose earlier attempt had an unknown outcome.

    A refused connection, or a "too fast", says nothing about the attempt before: taken for a proof that nothing
    happened, it would lead to a second order under a new number.
    """
    if isinstance(error, PayAPIError):
        error.acted_before = True
    else:
        error.maybe_acted = True
