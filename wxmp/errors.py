"""Every way a call can fail.

::

    WxmpError
    ├─ ConfigError (ValueError)      the arguments cannot work; nothing was sent          .field
    ├─ TransportError                no usable answer                                     .maybe_acted .endpoint
    │  ├─ TimedOutError                                                                   .stage
    │  └─ BadStatusError                                                                  .status
    ├─ ReplyError                    an answer, but not of the documented shape           .body .endpoint
    ├─ APIError                      the platform said no                   .errcode .errmsg .endpoint .rid .advice
    │  ├─ DeadTokenError             still refused after the token was replaced           (40001 40014 42001)
    │  ├─ AccountError               app id, secret, IP list: a person must act           (40013 40125 40164)
    │  ├─ NotAuthorizedError         this account lacks the interface                     (48001)
    │  ├─ RateLimitError             a quota is used up                     .scope        (45009 45011)
    │  ├─ RecipientError             not following, blocked, window closed                (43004 43019 45015)
    │  ├─ NotFoundError              no such menu, user, template                         (46003 46004 40037)
    │  ├─ ArgumentError (ValueError) the payload is not acceptable          .field        (47001 and most 40xxx)
    │  └─ BusyError                  the platform says: try again                         (-1)
    ├─ TokenStoreError               the token store failed                 .store
    │  └─ TokenStoreUnavailable      ... and there is no usable token in memory
    ├─ JournalError                  the journal of a bulk send failed      .journal
    ├─ BroadcastError                a bulk send was cancelled from within  .part
    ├─ WebhookError                  a push is refused                      .code .status
    │  ├─ SignatureError             not authentic, stale, repeated, or of the wrong mode: 403
    │  ├─ DecryptError               signed, but it does not open: 403
    │  ├─ MalformedError             unusable: 400; too large: 413
    │  └─ WebhookStoreError          dedupe or activity store failed        .store
    └─ PayError                      WeChat Pay (微信支付)
       ├─ PayAPIError                the gateway said no      .code .status .verdict .field .request_id .maybe_acted
       ├─ PaySignatureError          an answer or a notification is not authentic           .reason .maybe_acted
       │  └─ PayProbeError           ... on purpose: the platform looks whether we verify
       ├─ PayDecryptError            it is authentic, but does not open                      .reason
       └─ PayMismatchError           authentic, but not about this order or this merchant    .field

Every class takes keyword arguments, survives ``pickle`` and ``copy``, and shows no credential.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeAlias, TypeVar

from wxmp._redact import mask_fields
from wxmp.errcodes import TOKEN_ENDPOINT_FIX, lookup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.errcodes import ErrCode, Kind

__all__ = [
    "APIError",
    "AccountError",
    "ArgumentError",
    "BadStatusError",
    "BroadcastError",
    "BusyError",
    "ConfigError",
    "DeadTokenError",
    "DecryptError",
    "JournalError",
    "MalformedError",
    "NotAuthorizedError",
    "NotFoundError",
    "PayAPIError",
    "PayDecryptError",
    "PayError",
    "PayMismatchError",
    "PayProbeError",
    "PaySignatureError",
    "RateLimitError",
    "RecipientError",
    "ReplyError",
    "SignatureError",
    "TimedOutError",
    "TokenStoreError",
    "TokenStoreUnavailable",
    "TransportError",
    "WebhookError",
    "WebhookStoreError",
    "WxmpError",
    "api_error",
]

#: Three hexadecimal words after the text. An id of another make is taken too, the end of a word ("grid:") is not.
_RID: Final = re.compile(r"(?<![0-9A-Za-z_])rid:[ \t]*([0-9A-Za-z-]+)")
#: What would end a line of a log, colour a terminal, turn the direction of writing, or cannot be written as UTF-8.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: Characters of an ``errmsg`` and of a ``rid`` that are kept. The platform's longest ones have some 200, and 30.
LONGEST_ERRMSG: Final = 1000
LONGEST_RID: Final = 100
_IPV4: Final = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)")
#: ``ReplyError.body`` keeps this many characters of an answer that could not be read.
BODY_EXCERPT: Final = 200
#: What ``repr`` leaves out: too long, or the words of somebody else.
_UNSHOWN: Final = frozenset({"advice", "body", "detail"})
_SERVER_ERROR: Final = 500
_REQUEST_TIMEOUT: Final = 408

#: What a code of WeChat Pay asks for: the identical request again (``same``), after a longer pause (``slow``), hours
#: later (``later``), a query until it settles (``poll``), or a change of something first (``never``).
PayVerdict: TypeAlias = Literal["same", "slow", "later", "poll", "never"]


class WxmpError(Exception):
    """The base of everything this package raises on purpose."""

    #: The attributes that make up the error, by the constructor's keywords.
    _fields: ClassVar[tuple[str, ...]] = ("message",)

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in self._values().items() if name not in _UNSHOWN and value != ""]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        notes: list[str] | None = getattr(self, "__notes__", None)
        state = {"__notes__": list(notes)} if notes else None
        return _rebuild, (type(self), self._values()), state

    def fresh(self) -> Self:
        """Return the same error without traceback, cause or context, so that each waiter raises its own."""
        error = _rebuild(type(self), self._values())
        for note in getattr(self, "__notes__", ()):
            error.add_note(note)
        return error

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields}


E = TypeVar("E", bound=WxmpError)


def _rebuild(cls: type[E], values: dict[str, Any]) -> E:
    return cls(**values)


class ConfigError(WxmpError, ValueError):
    """The arguments cannot work. Nothing was sent."""

    _fields = ("message", "field")

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class TransportError(WxmpError):
    """No usable answer arrived. ``maybe_acted`` says whether the platform may have carried the request out."""

    _fields: ClassVar[tuple[str, ...]] = ("message", "endpoint", "maybe_acted")

    def __init__(self, message: str, *, endpoint: str = "", maybe_acted: bool = True) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.maybe_acted = maybe_acted

    def __str__(self) -> str:
        where = f"{self.endpoint}: " if self.endpoint else ""
        return f"{where}{self.message}"


class TimedOutError(TransportError):
    """The time for the call ran out.

    ``stage`` says what it was waiting for, where that is known: ``"waiting for a free connection"`` (the client's own
    calls hold all of them: nothing is wrong with the host), ``"connecting"``, ``"waiting for the answer"``.
    """

    _fields = ("message", "endpoint", "maybe_acted", "stage")

    def __init__(self, message: str, *, endpoint: str = "", maybe_acted: bool = True, stage: str = "") -> None:
        super().__init__(message, endpoint=endpoint, maybe_acted=maybe_acted)
        self.stage = stage


class BadStatusError(TransportError):
    """The answer has an HTTP status other than 2xx; the platform reports its own errors with 200."""

    _fields = ("message", "endpoint", "maybe_acted", "status")

    def __init__(self, message: str, *, endpoint: str = "", maybe_acted: bool = True, status: int) -> None:
        super().__init__(message, endpoint=endpoint, maybe_acted=maybe_acted)
        self.status = status


class ReplyError(WxmpError):
    """An answer arrived, but not of the documented shape. ``body`` keeps its first 200 characters, secrets masked."""

    _fields = ("message", "endpoint", "body", "maybe_acted")

    def __init__(self, message: str, *, endpoint: str = "", body: str = "", maybe_acted: bool = True) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        # Half an answer of a token endpoint holds a token that nobody knows yet, so that nobody can search for it.
        self.body: str = mask_fields(body[:BODY_EXCERPT])[:BODY_EXCERPT]
        self.maybe_acted = maybe_acted

    def __str__(self) -> str:
        where = f"{self.endpoint}: " if self.endpoint else ""
        return f"{where}{self.message}"


class APIError(WxmpError):
    """The platform answered with an ``errcode`` other than 0.

    Attributes:
        errcode: The platform's return code (全局返回码).
        errmsg: Its text, without the ``rid``. For reading only: the platform changes these texts.
        endpoint: Method and path of the call, for example ``"POST /cgi-bin/menu/create"``.
        rid: The request id, for ``client.server.explain_rid`` (查询 rid 信息); empty when none was sent.
        advice: What a person can do about it.
    """

    _fields: ClassVar[tuple[str, ...]] = ("errcode", "errmsg", "endpoint", "rid", "advice")

    def __init__(self, *, errcode: int, errmsg: str = "", endpoint: str = "", rid: str = "", advice: str = "") -> None:
        entry = lookup(errcode)
        super().__init__(entry.meaning)
        self.errcode = errcode
        self.errmsg = errmsg
        self.endpoint = endpoint
        self.rid = rid
        self.advice: str = advice or _advice(entry, errmsg)

    def with_advice(self, advice: str) -> Self:
        """Return a fresh copy of the error that advises something more to the point."""
        error = self.fresh()
        error.advice = advice
        return error

    def __str__(self) -> str:
        parts = [f"{self.endpoint}: " if self.endpoint else "", f"errcode {self.errcode} ({self.message})"]
        if self.errmsg:
            parts.append(f": {self.errmsg}")
        if self.rid:
            parts.append(f" [rid {self.rid}]")
        if self.advice:
            parts.append(f". {self.advice}")
        return "".join(parts)


class DeadTokenError(APIError):
    """The access token was refused, replaced, and the new one was refused too (40001, 40014, 42001)."""


class AccountError(APIError):
    """App id, AppSecret, IP allow list or the state of the account: a person must act (40013, 40125, 40164)."""


class NotAuthorizedError(APIError):
    """This account may not use the interface (48001)."""


class RateLimitError(APIError):
    """A quota is used up. ``scope`` is the period after which it is filled again.

    ``"minute"`` and ``"second"`` are waited for inside the retry policy; ``"day"`` and longer never are.
    """

    _fields = ("errcode", "errmsg", "endpoint", "rid", "advice", "scope")

    def __init__(
        self,
        *,
        errcode: int,
        errmsg: str = "",
        endpoint: str = "",
        rid: str = "",
        advice: str = "",
        scope: str = "",
    ) -> None:
        super().__init__(errcode=errcode, errmsg=errmsg, endpoint=endpoint, rid=rid, advice=advice)
        self.scope: str = scope or lookup(errcode).scope


class RecipientError(APIError):
    """The receiver cannot get this: not following, on the blacklist, window closed (43004, 43019, 45015)."""


class NotFoundError(APIError):
    """No such menu, user, template, material (46003, 46004, 40037)."""


class ArgumentError(APIError, ValueError):
    """The payload is not acceptable: refused by the platform, or found out before anything was sent.

    Attributes:
        field: The argument at fault where the SDK found it before sending; empty when the platform refused.
    """

    _fields = ("errcode", "errmsg", "endpoint", "rid", "advice", "field")

    def __init__(
        self,
        *,
        errcode: int,
        errmsg: str = "",
        endpoint: str = "",
        rid: str = "",
        advice: str = "",
        field: str = "",
    ) -> None:
        super().__init__(errcode=errcode, errmsg=errmsg, endpoint=endpoint, rid=rid, advice=advice)
        self.field = field

    def __str__(self) -> str:
        if not self.field:
            return super().__str__()
        where = f"{self.endpoint}: " if self.endpoint else ""
        return f"{where}{self.field}: {self.errmsg} (not sent; the platform would answer {self.errcode})"


class BusyError(APIError):
    """The platform says it is busy. That is no proof that a write failed (-1)."""


class TokenStoreError(WxmpError):
    """The token store failed; ``__cause__`` holds the error of the backend."""

    _fields = ("message", "store")

    def __init__(self, message: str, *, store: str = "") -> None:
        super().__init__(message)
        self.store = store


class TokenStoreUnavailable(TokenStoreError):  # noqa: N818 - the name of the specification
    """The token store cannot be reached and no usable token is in memory."""


class JournalError(WxmpError):
    """The journal of a bulk send failed; ``__cause__`` holds the error of the backend. The run can be continued."""

    _fields = ("message", "journal")

    def __init__(self, message: str, *, journal: str = "") -> None:
        super().__init__(message)
        self.journal = journal


class BroadcastError(WxmpError):
    """A part of a bulk send was cancelled, and nobody had cancelled the run; it can be continued.

    That is the function that makes the messages or the send itself (``part`` is ``"message"``), the source of the
    recipients (``"recipients"``) or the journal (``"journal"``): each raised ``asyncio.CancelledError`` of its own
    accord, or had its task cancelled. That error is the ``__cause__``, with its traceback. Passed on as it is, it would
    look as if whoever waits for the run had been cancelled.
    """

    _fields = ("message", "part")

    def __init__(self, message: str, *, part: str = "") -> None:
        super().__init__(message)
        self.part = part


class WebhookError(WxmpError):
    """A push is refused. The message is for the operator's log: whoever sent the push learns nothing but the status.

    Attributes:
        code: Number of the platform's own helper library (-40001 signature, -40007 decryption, -40002 unreadable ...).
        status: HTTP status of the answer.
    """

    _fields: ClassVar[tuple[str, ...]] = ("message", "code", "status")

    def __init__(self, message: str, *, code: int = 0, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class SignatureError(WebhookError):
    """The push is not authentic: signature, age, a repeated request, or plain text where encryption is configured."""

    def __init__(self, message: str, *, code: int = -40001, status: int = 403) -> None:
        super().__init__(message, code=code, status=status)


class DecryptError(WebhookError):
    """The push is signed but does not open. All reasons look alike on purpose."""

    def __init__(
        self,
        message: str = "the push does not open: wrong EncodingAESKey or AppID, or a damaged body",
        *,
        code: int = -40007,
        status: int = 403,
    ) -> None:
        super().__init__(message, code=code, status=status)


class MalformedError(WebhookError):
    """The push cannot be used: no XML or JSON, no message in it, or too large."""

    def __init__(self, message: str, *, code: int = -40002, status: int = 400) -> None:
        super().__init__(message, code=code, status=status)


class WebhookStoreError(WebhookError):
    """The store of a webhook (deduplication, activity) failed; ``__cause__`` holds the error of the backend."""

    _fields = ("message", "store")

    def __init__(self, message: str, *, store: str = "") -> None:
        super().__init__(message, status=503)
        self.store = store


class PayError(WxmpError):
    """The base of what goes wrong with WeChat Pay (微信支付) and has no cause in the network."""


class PayAPIError(PayError):
    """The gateway answered with an error (错误码).

    Attributes:
        code: Its error code in the newer spelling (``"ORDER_PAID"``, also where it said ``"ORDERPAID"``); empty when
            the answer held none.
        message: Its text, for people only: the texts change.
        status: HTTP status.
        detail: What it says about the place: ``field``, ``issue``, ``location``. Values that were sent are left out.
        request_id: ``Request-ID`` of the answer; support asks for it.
        endpoint: Method and path of the call.
        verdict: What to do: ``"same"``, ``"slow"``, ``"later"``, ``"poll"`` or ``"never"``.
        advice: What a person can do about it.
        retry_after: Seconds the gateway asked us to wait, if it did.
        acted_before: An earlier attempt of the same call had an unknown outcome, which this answer does not undo.
    """

    _fields = (
        *("code", "message", "status", "detail", "request_id"),
        *("endpoint", "verdict", "advice", "retry_after", "acted_before"),
    )

    def __init__(
        self,
        *,
        code: str = "",
        message: str = "",
        status: int = 0,
        detail: Mapping[str, str | int] | None = None,
        request_id: str = "",
        endpoint: str = "",
        verdict: PayVerdict = "never",
        advice: str = "",
        retry_after: float | None = None,
        acted_before: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.detail: dict[str, str | int] = dict(detail or {})
        self.request_id = request_id
        self.endpoint = endpoint
        self.verdict: PayVerdict = verdict
        self.advice = advice
        self.retry_after = retry_after
        self.acted_before = acted_before

    @property
    def field(self) -> str:
        """The member at fault, such as ``"/amount/total"``; empty when the gateway named none."""
        return str(self.detail.get("field", ""))

    @property
    def maybe_acted(self) -> bool:
        """Whether the gateway may have carried the request out: query by your own number before anything else."""
        # ERROR is final, but what it means stands in a text for people: nothing follows from it about the money.
        unknown = self.status >= _SERVER_ERROR and (self.verdict != "never" or self.code == "ERROR")
        return unknown or self.acted_before or self.status == _REQUEST_TIMEOUT or self.verdict == "poll"

    def __str__(self) -> str:
        parts = [f"{self.endpoint}: " if self.endpoint else "", self.code or "no code", f" (HTTP {self.status})"]
        if self.message:
            parts.append(f": {self.message}")
        if self.field:
            parts.append(f" [{self.field}]")
        if self.request_id:
            parts.append(f" [Request-ID {self.request_id}]")
        if self.advice:
            parts.append(f". {self.advice}")
        return "".join(parts)


class PaySignatureError(PayError):
    """An answer or a notification of WeChat Pay is not authentic (验签失败); it must not be believed.

    Attributes:
        reason: Which check failed: ``"missing"``, ``"doubled"``, ``"type"``, ``"timestamp"``, ``"stale"``,
            ``"serial"``, ``"signature"`` or ``"probe"``. For your own log; whoever sent it is told nothing.
        endpoint: Method and path of the call; empty for a notification.
        maybe_acted: True for the answer to a call: the gateway may have carried it out, so query before repeating.
    """

    _fields: ClassVar[tuple[str, ...]] = ("message", "reason", "endpoint", "maybe_acted")

    def __init__(
        self, message: str, *, reason: str = "signature", endpoint: str = "", maybe_acted: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.endpoint = endpoint
        self.maybe_acted = maybe_acted

    def __str__(self) -> str:
        where = f"{self.endpoint}: " if self.endpoint else ""
        return f"{where}{self.message}"


class PayProbeError(PaySignatureError):
    """A wrong signature, sent on purpose to see whether merchants verify (签名探测流量). Nothing is broken."""

    def __init__(self, message: str, *, reason: str = "probe", endpoint: str = "", maybe_acted: bool = False) -> None:
        super().__init__(message, reason=reason, endpoint=endpoint, maybe_acted=maybe_acted)


class PayDecryptError(PayError):
    """What WeChat Pay has enciphered does not open: most often the APIv3 key (APIv3 密钥) is not the merchant's.

    Attributes:
        reason: ``"key"`` (the tag does not fit), or ``"malformed"`` (it cannot be a cipher text of that kind).
    """

    _fields = ("message", "reason")

    def __init__(self, message: str, *, reason: str = "key") -> None:
        super().__init__(message)
        self.reason = reason


class PayMismatchError(PayError):
    """It is authentic, but about another order, another amount or another merchant. ``field`` names the difference."""

    _fields = ("message", "field")

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


_CLASSES: Final[Mapping[Kind, type[APIError]]] = {
    "token": DeadTokenError,
    "account": AccountError,
    "permission": NotAuthorizedError,
    "rate": RateLimitError,
    "recipient": RecipientError,
    "not_found": NotFoundError,
    "argument": ArgumentError,
    "busy": BusyError,
    "other": APIError,
    "ok": APIError,
}


def _advice(entry: ErrCode, errmsg: str) -> str:
    """Return the advice of the table; the allow-list codes (40164, 61004) advise about the address in the message."""
    if "{ip}" not in entry.advice:
        return entry.advice
    address = _IPV4.search(errmsg)
    return entry.advice.replace("{ip}", address.group() if address else "the caller's address")


def split_rid(errmsg: str) -> tuple[str, str]:
    """Return the text of an ``errmsg`` without its request id, and the request id."""
    found = _RID.search(errmsg)
    if found is None:
        return errmsg.strip(), ""
    return (errmsg[: found.start()].rstrip() + errmsg[found.end() :]).strip(), found.group(1)


def api_error(errcode: int, errmsg: str = "", *, endpoint: str = "", token_request: bool = False) -> APIError:
    """Build the error class that belongs to ``errcode``.

    Args:
        errcode: The platform's code, not 0.
        errmsg: Its text as received. What cannot be printed becomes a blank, and a text without end is cut.
        endpoint: Method and path of the call.
        token_request: True on the token endpoints and ``sns/*``, where 40001 means a wrong AppSecret (or user token)
            and never a dead access token.
    """
    entry = lookup(errcode)
    text, rid = split_rid(_UNPRINTABLE.sub(" ", errmsg))
    cls = _CLASSES[entry.kind]
    if token_request and errcode in TOKEN_ENDPOINT_FIX and cls is DeadTokenError:
        cls = AccountError
    return cls(errcode=errcode, errmsg=text[:LONGEST_ERRMSG], endpoint=endpoint, rid=rid[:LONGEST_RID])
