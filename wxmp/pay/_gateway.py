"""One call of API v3 from end to end: encipher, sign, send, verify, judge, and repeat where that is harmless.

A family names its :class:`PayEndpoint` and hands over a payload; everything that all endpoints have in common happens
here once. Three rules:

* **The bytes that are signed are the bytes that are sent.** The body and the address are written once, and a repeat
  sends the same; only timestamp, nonce and signature are new.
* **An answer is believed after its signature was verified**, and parsed after that. Errors need no signature: they
  steer the client, and prove nothing about a payment.
* **A call that moved money may be repeated only with the same number and the same content.** After an unknown outcome
  ``repeat="no"`` is never repeated.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

import attrs

from wxmp._failure import was_in_line
from wxmp._log import log_fields
from wxmp._redact import Secret, mask_fields
from wxmp._request import Credentials, WireRequest, encode_path, encode_query
from wxmp._wire import dumps, loads
from wxmp.errors import (
    ArgumentError,
    ConfigError,
    PayAPIError,
    PayError,
    PaySignatureError,
    ReplyError,
    TransportError,
    WxmpError,
)
from wxmp.pay._cipher import oaep_encrypt
from wxmp.pay._codes import lookup, stays_unknown
from wxmp.pay._signing import app_params, authorization, jsapi_params, new_nonce, request_text
from wxmp.pay._sites import BAD_SITE, MIN_ATTEMPT, OFFICIAL_HOSTS, UNAVAILABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType

    from tenacity import RetryCallState

    from wxmp._request import WireReply
    from wxmp._transport import Transport, WireStream
    from wxmp._watch import CallWatch, CallWatcher  # noqa: TC004 - loaded only for a hook
    from wxmp._wire import JsonObject
    from wxmp.pay._certificates import PayKeys
    from wxmp.pay._keys import MerchantKey, PlatformKey
    from wxmp.retry import RetryPolicy

__all__ = ["Download", "Gateway", "PayEndpoint", "Sealed"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("wxmp.pay")

#: 502 and 503 in a row that make a host a bad one; a connection that fails does it at once.
BAD_ANSWERS: Final = 2
#: Seconds for a whole download, and bytes it may have.
DOWNLOAD_TIMEOUT: Final = 300.0
DOWNLOAD_LIMIT: Final = 2**30
#: Bytes of an error that answers a download.
ERROR_LIMIT: Final = 64 * 1024
#: Characters of a text for people that an error keeps.
MESSAGE_SHOWN: Final = 300

_NO_CONTENT: Final = 204
_ACCEPTED: Final = 202
_OK: Final = range(200, 300)
_RETRY_AFTER: Final = re.compile(r"[0-9]{1,6}")
_NO_PATH: Final[Mapping[str, str]] = {}
#: A part of a path that is neither a word of the platform (``out-trade-no``, ``h5``, ``apply4sub``) nor a field of a
#: template, but somebody's: a number of an order, or an openid, which one time in a hundred has no digit in it.
_NO_WORD: Final = re.compile(r"/(?!(?:\{\w*\}|[a-z][0-9]|[a-z]+(?:[-_0-9][a-z]+)*)(?:/|$))[^/]+")


@attrs.frozen
class PayEndpoint:
    """The facts about one endpoint of WeChat Pay."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    #: A template such as ``"/v3/pay/transactions/id/{transaction_id}"``.
    path: str
    #: For errors and logs; method and template, which hold no number of anybody.
    name: str = attrs.field(default=attrs.Factory(lambda self: f"{self.method} {self.path}", takes_self=True))
    #: What a repeat after an unknown outcome does: nothing (``yes``), nothing if the number and the content are the
    #: same (``by_key``), or harm (``no``).
    repeat: Literal["yes", "by_key", "no"] = attrs.field(default="no", kw_only=True)
    #: Whether the body holds enciphered fields, so that the request must name the key.
    encrypted: bool = attrs.field(default=False, kw_only=True)


class Sealed(str):
    """A field enciphered for the platform, and the serial number of the key it is for."""

    __slots__ = ("serial",)
    serial: str

    @classmethod
    def of(cls, text: str, serial: str) -> Self:
        """Make one."""
        made = cls(text)
        made.serial = serial
        return made


class Gateway:
    """Calls the endpoints of WeChat Pay for one merchant.

    Args:
        mchid: The merchant (商户号).
        key: Its private key.
        keys: The platform's keys.
        transport: The way to the network; ``backup`` is one of its allowed origins.
        base_url: Where the first host is.
        backup_url: Where the second host is.
        retry: When calls are repeated.
        timeout: Seconds for one attempt.
        appid: The default of orders.
        notify_url: The default of orders.
        on_host_failed: Told of each host that turns bad.
        watcher: Told of each call; ``None`` without a hook.
    """

    def __init__(
        self,
        *,
        mchid: str,
        key: MerchantKey,
        keys: PayKeys,
        transport: Transport,
        base_url: str,
        backup_url: str | None,
        retry: RetryPolicy,
        timeout: float,
        appid: str | None = None,
        notify_url: str | None = None,
        on_host_failed: Callable[[str, str], None] | None = None,
        watcher: CallWatcher | None = None,
    ) -> None:
        #: The merchant (商户号).
        self.mchid = mchid
        #: The default AppID of orders.
        self.appid = appid
        #: The default address for notifications.
        self.notify_url = notify_url
        #: What verifies answers and notifications.
        self.keys = keys
        self._key = key
        self._transport = transport
        self._retry = retry
        self._timeout = timeout
        self._hosts = _Hosts(base_url, backup_url, on_host_failed, retry.clock)
        self._watcher = watcher

    def __repr__(self) -> str:
        return f"<Gateway of {self.mchid}>"

    # ---- calls

    async def __call__(
        self,
        endpoint: PayEndpoint,
        *,
        path: Mapping[str, str] | None = None,
        params: Mapping[str, str | int | bool | None] | None = None,
        json: Mapping[str, object] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the transport's own deadline, not a wrapper
    ) -> JsonObject:
        """Call ``endpoint`` and return its JSON answer, ``{}`` where it has none (204).

        Args:
            endpoint: Its facts.
            path: Values for the template; whatever they hold, they stay in their place.
            params: Query parameters; ``None`` is left out.
            json: The body. ``None`` members are left out. A :class:`~wxmp._redact.Secret` inside is enciphered for the
                platform (RSA-OAEP), and the request then names the key; only for endpoints that are ``encrypted``.
            timeout: Seconds for one attempt; the client's setting if absent.

        Raises:
            PayAPIError: The gateway said no.
            PaySignatureError: The answer is not authentic; the call may have been carried out.
            TransportError: No usable answer; ``maybe_acted`` says whether the call may have been carried out.
            ReplyError: An authentic answer that is no JSON object.
            ConfigError: The arguments cannot work. Nothing was sent.
        """
        target = _target(endpoint, path, params)
        await self.keys.ready()
        serial, content = self._body(endpoint, json)
        call = _Call(endpoint, target, content, serial, self._timeout if timeout is None else timeout)
        return await self._persist(call, lambda origin, seconds: self._attempt(call, origin, seconds))

    def download(
        self,
        url: str,
        endpoint: PayEndpoint,
        *,
        timeout: float = DOWNLOAD_TIMEOUT,
        max_body: int = DOWNLOAD_LIMIT,
    ) -> Download:
        """Return a context manager that fetches a link of an answer, piece by piece.

        The bytes carry no signature: check them against the hash that came with the link.

        Args:
            url: The link, from an answer that was verified.
            endpoint: Its facts, for errors.
            timeout: Seconds for everything up to the last byte.
            max_body: Bytes it may have.

        Raises:
            ConfigError: The link leads to no host of WeChat Pay: what authorises us is not sent there.
        """
        origin, target = self._hosts.locate(url)
        call = _Call(endpoint, target, b"", "", timeout)
        return Download(self, call, origin, max_body)

    async def ready(self) -> None:
        """Have a key of the platform, which :meth:`encrypt` needs; costs nothing when there is one."""
        await self.keys.ready()

    def sign(self, text: str | bytes) -> str:
        """Sign with the merchant's private key (SHA256 with RSA); base64."""
        return self._key.sign(text.encode() if isinstance(text, str) else text)

    @property
    def encryption_serial(self) -> str:
        """Serial number of the key that :meth:`encrypt` uses now."""
        return self._encryption_key().serial

    def encrypt(self, text: str) -> Sealed:
        """Encipher a field for the platform (RSA-OAEP); the request that carries it names the key by itself."""
        key = self._encryption_key()
        return Sealed.of(oaep_encrypt(key.key, text), key.serial)

    def decrypt(self, text: str) -> str:
        """Open a field that the platform has enciphered for the merchant (RSA-OAEP).

        Raises:
            PayDecryptError: It does not open.
        """
        return self._key.decrypt(text)

    def jsapi_params(self, prepay_id: str, appid: str | None = None) -> dict[str, str]:
        """Return what a page or a mini program hands to the payment call (调起支付)."""
        return jsapi_params(
            self._key.sign,
            appid=self.need_appid(appid),
            prepay_id=_line("prepay_id", prepay_id),
            timestamp=int(self.keys.now()),
            nonce=new_nonce(),
        )

    def app_params(self, prepay_id: str, appid: str | None = None) -> dict[str, str]:
        """Return what an app hands to the payment call (APP 调起支付)."""
        return app_params(
            self._key.sign,
            appid=self.need_appid(appid),
            mchid=self.mchid,
            prepay_id=_line("prepay_id", prepay_id),
            timestamp=int(self.keys.now()),
            nonce=new_nonce(),
        )

    def need_appid(self, appid: str | None = None) -> str:
        """Return ``appid``, or the client's own.

        Raises:
            ConfigError: There is neither.
        """
        chosen = appid if appid is not None else self.appid
        if chosen is None:
            raise ConfigError("appid is needed, here or once for the client", field="appid")
        return _line("appid", chosen)

    async def fetch_certificates(self) -> Sequence[PlatformKey]:
        """Fetch the platform certificates; the answer is verified with those it holds, or with known ones."""
        call = _Call(CERTIFICATES, CERTIFICATES.path, b"", self._named(), self._timeout)
        return await self._persist(call, lambda origin, seconds: self._certificates(call, origin, seconds))

    # ---- one attempt

    async def _attempt(self, call: _Call, origin: str | None, seconds: float) -> JsonObject:
        reply = await self._send(call, origin, seconds)
        if reply.status not in _OK:
            raise _error(call, reply.status, reply.headers, reply.content)
        await self.keys.verify(reply.headers, reply.content, endpoint=call.endpoint.name)
        return _read(call, reply)

    async def _certificates(self, call: _Call, origin: str | None, seconds: float) -> Sequence[PlatformKey]:
        reply = await self._send(call, origin, seconds)
        if reply.status not in _OK:
            raise _error(call, reply.status, reply.headers, reply.content)
        # The first answer can be verified by nothing but itself: who made these texts knows the APIv3 key.
        fresh = self.keys.read_list(loads(reply.content, endpoint=call.endpoint.name), self._key)
        await self.keys.including(fresh).verify(reply.headers, reply.content, endpoint=call.endpoint.name)
        return fresh

    async def _send(self, call: _Call, origin: str | None, seconds: float) -> WireReply:
        return await self._transport.send(await self.wire_request(call, origin, seconds))

    async def wire_request(self, call: _Call, origin: str | None, seconds: float) -> WireRequest:
        """Sign a call and make the request of one attempt."""
        timestamp, nonce = int(self.keys.now()), new_nonce()
        text = request_text(call.endpoint.method, call.target, timestamp, nonce, call.content)
        call.signed_bytes = len(text)
        if self._key.remote:
            from asyncio import to_thread

            signature = await to_thread(self._key.sign, text)
        else:
            signature = self._key.sign(text)
        header = authorization(self.mchid, self._key.serial, timestamp, nonce, signature)
        path, _, query = call.target.partition("?")
        headers = {"Accept": "*/*" if call.any_answer else "application/json"}
        if call.serial:
            headers["Wechatpay-Serial"] = call.serial
        return WireRequest(
            method=call.endpoint.method,
            path=path,
            query=query,
            content=call.content or None,
            headers=headers,
            credentials=Credentials(headers={"Authorization": Secret(header)}),
            origin=origin,
            endpoint=call.endpoint.name,
            timeout=seconds,
        )

    # ---- attempts

    async def _persist(self, call: _Call, attempt: Callable[[str | None, float], Awaitable[T]]) -> T:
        """Make a whole call, and tell the hook of it if there is one."""
        if self._watcher is None:
            return await self._attempts(call, attempt)
        with self.watch(call) as watch:
            call.watch = watch
            return await self._attempts(call, attempt)

    def watch(self, call: _Call) -> CallWatch | nullcontext[None]:
        """Return what tells the hook of a call, to be used as a context manager; it does nothing without a hook."""
        return nullcontext() if self._watcher is None else self._watcher(_shown(call.endpoint))

    async def _attempts(self, call: _Call, attempt: Callable[[str | None, float], Awaitable[T]]) -> T:
        """Run attempts until one succeeds, or until another would do harm or no good."""
        started = self._retry.clock()
        try:
            return await self._on_host(call, attempt, call.timeout)
        except (PayAPIError, PaySignatureError, TransportError, ReplyError) as error:
            repeatable = call.endpoint.repeat != "no"
            if self._transport.closed or not self._retry.should_repeat(error, repeatable=repeatable):
                raise
            first: WxmpError | None = error
            acted = error.maybe_acted and call.endpoint.method != "GET"
        end = started + self._retry.total_time

        async def run() -> T:
            nonlocal first, acted
            if first is not None:
                error, first = first, None
                raise error
            if self._transport.closed:
                raise TransportError("the client was closed", endpoint=call.endpoint.name, maybe_acted=acted)
            # A repeat may not take the call beyond its time, however long one attempt is allowed to take.
            seconds = min(call.timeout, max(end - self._retry.clock(), MIN_ATTEMPT))
            try:
                return await self._on_host(call, attempt, seconds)
            except (PayAPIError, PaySignatureError, TransportError, ReplyError) as error:
                if acted:
                    stays_unknown(error)
                acted = error.maybe_acted and call.endpoint.method != "GET"
                raise

        def before_sleep(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            api = error if isinstance(error, PayAPIError) else None
            logger.warning(
                "%s: attempt %d failed (%s), next in %.2f s",
                _shown(call.endpoint),
                state.attempt_number,
                _reason(error),
                state.upcoming_sleep,
                extra=log_fields(
                    "call_retried",
                    mchid=self.mchid,
                    endpoint=_shown(call.endpoint),
                    attempt=state.attempt_number,
                    seconds=state.upcoming_sleep,
                    error=type(error).__name__,
                    code=None if api is None else api.code,
                    rid=None if api is None else api.request_id,
                ),
            )
            if call.watch is not None:
                call.watch.retried(state.attempt_number, state.upcoming_sleep, error)

        elapsed = self._retry.clock() - started
        policy = self._retry.retrying(repeatable=repeatable, before_sleep=before_sleep, elapsed=elapsed)
        stop = policy.stop
        return await policy.copy(stop=lambda state: stop(state) or self._transport.closed)(run)

    async def _on_host(self, call: _Call, attempt: Callable[[str | None, float], Awaitable[T]], seconds: float) -> T:
        origin = self._hosts.choose(call.failed_on) if call.pinned is None else call.pinned
        if call.watch is not None:
            call.watch.attempts += 1
        try:
            result = await attempt(origin, seconds)
        except TransportError as error:
            # Our own crowd, or our own end, is no fault of the host.
            if not was_in_line(error) and not self._transport.closed:
                call.failed_on = self._hosts.failed(origin, type(error).__name__, at_once=True)
            raise
        except PayAPIError as error:
            if error.status in UNAVAILABLE:
                call.failed_on = self._hosts.failed(origin, f"HTTP {error.status}", at_once=False)
            else:
                self._hosts.answered(origin)
            raise
        self._hosts.answered(origin)
        return result

    # ---- bodies

    def _named(self) -> str:
        key = self.keys.current()
        return "" if key is None else key.serial

    def _encryption_key(self) -> PlatformKey:
        key = self.keys.current()
        if key is None:
            raise PayError("there is no valid key of the platform to encipher with")
        return key

    def _body(self, endpoint: PayEndpoint, json: Mapping[str, object] | None) -> tuple[str, bytes]:
        """Write the body once; return the serial number that the request names, and the bytes."""
        if json is None:
            return self._named(), b""
        if endpoint.method == "GET":
            raise ConfigError("a GET carries params, no json", field="json")
        sealed: list[Sealed] = []
        payload = self._written(json, sealed)
        serials = {field.serial for field in sealed}
        if serials and not endpoint.encrypted:
            raise ConfigError("this endpoint has no enciphered fields", field="json")
        if len(serials) > 1:
            raise ConfigError("the fields were enciphered with different keys; encipher them again", field="json")
        content, problem = _bytes_of(payload)
        if problem is not None:
            raise problem
        return serials.pop() if serials else self._named(), content

    def _written(self, value: object, sealed: list[Sealed]) -> object:
        """Return ``value`` without ``None`` members, its secrets enciphered."""
        if isinstance(value, Mapping):
            return {key: self._written(item, sealed) for key, item in value.items() if item is not None}
        if isinstance(value, list | tuple):
            return [self._written(item, sealed) for item in value]
        if isinstance(value, Secret):
            value = self.encrypt(value.reveal())
        if isinstance(value, Sealed):
            sealed.append(value)
        return value


CERTIFICATES: Final = PayEndpoint("GET", "/v3/certificates", repeat="yes")


@attrs.define(eq=False)
class _Call:
    """What one call sends: the same bytes in every attempt."""

    endpoint: PayEndpoint
    #: Path and query as they go over the wire, and as they are signed.
    target: str
    content: bytes = attrs.field(repr=False)
    #: What goes into ``Wechatpay-Serial``.
    serial: str
    #: Seconds for one attempt.
    timeout: float
    any_answer: bool = False
    #: Length of the text that the last attempt has signed.
    signed_bytes: int = 0
    #: The host the last attempt failed on, to be avoided by the next.
    failed_on: str | None = None
    pinned: str | None = None
    #: Tells the hook; ``None`` without one.
    watch: CallWatch | None = None


def _target(
    endpoint: PayEndpoint, path: Mapping[str, str] | None, params: Mapping[str, str | int | bool | None] | None
) -> str:
    target = (
        endpoint.path if path is None and "{" not in endpoint.path else encode_path(endpoint.path, path or _NO_PATH)
    )
    query = encode_query(params)
    return f"{target}?{query}" if query else target


def _bytes_of(payload: object) -> tuple[bytes, ConfigError | None]:
    """Return JSON; or what is wrong, to be raised where no frame holds the whole payload's error."""
    try:
        return dumps(payload), None
    except ArgumentError as error:
        return b"", ConfigError(f"{error.field}: {error.errmsg}", field=error.field)


def _line(field: str, value: object) -> str:
    """Return a text that can be one line of what is signed: nothing in it ends the line."""
    if not isinstance(value, str) or not value or not value.isprintable() or not value.isascii():
        raise ConfigError(f"{field} must be a text of printable ASCII characters, not empty", field=field)
    return value


def _shown(endpoint: PayEndpoint) -> str:
    """Return what logs and hooks call an endpoint: its name, with nothing of a user or an order in it."""
    return _NO_WORD.sub("/{}", endpoint.name)


def _reason(error: BaseException | None) -> str:
    if isinstance(error, PayAPIError):
        return error.code or f"HTTP {error.status}"
    return type(error).__name__


# ---- answers


def _read(call: _Call, reply: WireReply) -> JsonObject:
    if reply.status == _NO_CONTENT or not reply.content:
        return {}
    payload = loads(reply.content, endpoint=call.endpoint.name)
    if reply.status == _ACCEPTED and isinstance(payload.get("code"), str):
        raise _judge(call, reply.status, reply.headers, payload)
    return payload


def _error(call: _Call, status: int, headers: Mapping[str, str], content: bytes) -> PayAPIError:
    """Judge an answer that is no success; it may come from anything in front of the gateway."""
    try:
        payload = loads(content)
    except ReplyError:
        payload = {}
    return _judge(call, status, headers, payload)


def _judge(call: _Call, status: int, headers: Mapping[str, str], payload: JsonObject) -> PayAPIError:
    code = payload.get("code")
    entry = lookup(code[:64] if isinstance(code, str) else "", status)
    text = payload.get("message")
    detail = payload.get("detail")
    if isinstance(detail, list):
        detail = next((item for item in detail if isinstance(item, dict)), None)
    advice = entry.advice
    shown: dict[str, str | int] = {}
    if isinstance(detail, dict):
        # Not detail.value: the gateway repeats what was sent there, an openid or somebody's name.
        for name in ("field", "issue", "location"):
            value = detail.get(name)
            if isinstance(value, str):
                shown[name] = value[:MESSAGE_SHOWN]
        difference = _sign_difference(call, detail.get("sign_information"))
        advice = f"{difference}. {advice}" if difference else advice
    wait = headers.get("retry-after", "").strip()
    return PayAPIError(
        code=entry.code,
        message=mask_fields(text)[:MESSAGE_SHOWN] if isinstance(text, str) else entry.meaning,
        status=status,
        detail=shown,
        request_id=headers.get("request-id", "")[:128],
        endpoint=call.endpoint.name,
        verdict=entry.verdict,
        advice=advice,
        retry_after=float(wait) if _RETRY_AFTER.fullmatch(wait) else None,
    )


def _sign_difference(call: _Call, information: object) -> str:
    """Say how the text that the gateway has rebuilt differs from ours: by lengths and names, nothing of its content."""
    if not isinstance(information, dict):
        return ""
    theirs = information.get("sign_message_length")
    if isinstance(theirs, bool) or not isinstance(theirs, int):
        return ""
    if information.get("method") not in (None, call.endpoint.method):
        return "The gateway saw another method than was signed"
    if information.get("url") not in (None, call.target):
        return "The gateway saw another path or query than was signed: something in between rewrites addresses"
    if theirs != call.signed_bytes:
        return (
            f"The gateway has rebuilt a text of {theirs} bytes, {call.signed_bytes} were signed: something in between "
            "changes the body"
        )
    return f"The gateway has rebuilt a text of {theirs} bytes, as long as what was signed: it is the key, not the text"


# ---- hosts


class _Hosts:
    """The two hosts, and which of them failed a moment ago; shared by all calls of a client."""

    def __init__(
        self,
        base: str,
        backup: str | None,
        on_failed: Callable[[str, str], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._base = base.rstrip("/")
        self._backup = None if backup is None else backup.rstrip("/")
        self._on_failed = on_failed
        self._clock = clock
        self._bad_until: dict[str, float] = {}
        self._answers: dict[str, int] = {}

    def choose(self, avoid: str | None) -> str | None:
        """Return the origin for the next attempt; ``None`` is the first host."""
        if self._backup is None:
            return None
        now = self._clock()
        if avoid is not None:
            return self._backup if avoid == self._base else None
        if self._bad_until.get(self._base, now) > now >= self._bad_until.get(self._backup, now):
            return self._backup
        return None

    def failed(self, origin: str | None, reason: str, *, at_once: bool) -> str:
        """Note that a host failed and return its address."""
        host = self._base if origin is None else origin
        count = self._answers[host] = self._answers.get(host, 0) + 1
        if at_once or count >= BAD_ANSWERS:
            now = self._clock()
            fine = self._bad_until.get(host, now) <= now
            self._bad_until[host] = now + BAD_SITE
            if fine and self._on_failed is not None:
                self._on_failed(urlsplit(host).hostname or "", reason)
        return host

    def answered(self, origin: str | None) -> None:
        """Note that a host works."""
        host = self._base if origin is None else origin
        self._answers.pop(host, None)
        self._bad_until.pop(host, None)

    def locate(self, url: object) -> tuple[str | None, str]:
        """Split a link into the origin to send it to and its path with query.

        Raises:
            ConfigError: It leads elsewhere.
        """
        refusal = ConfigError("the link leads to no host of WeChat Pay", field="url")
        if not isinstance(url, str) or not url.isascii() or not url.isprintable() or "\\" in url:
            raise refusal
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise refusal from None
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise refusal
        for base in (self._base, self._backup):
            if base is None:
                continue
            own = urlsplit(base)
            if (parts.scheme, parts.hostname, port) == (own.scheme, own.hostname, own.port):
                path = parts.path.removeprefix(own.path) if parts.path.startswith(f"{own.path}/") else parts.path
                return (None if base == self._base else base), _with_query(path, parts.query)
        # An official link, while we speak to the official hosts: either of ours serves it.
        if (
            parts.scheme == "https"
            and port in (None, 443)
            and parts.hostname in OFFICIAL_HOSTS
            and urlsplit(self._base).hostname in OFFICIAL_HOSTS
        ):
            return None, _with_query(parts.path, parts.query)
        raise refusal


def _with_query(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


class Download:
    """A link that is fetched piece by piece: ``async with gateway.download(url, endpoint) as reply``."""

    def __init__(self, gateway: Gateway, call: _Call, origin: str | None, limit: int) -> None:
        self._gateway = gateway
        self._call = call
        self._origin = origin
        self._limit = limit
        self._stream: WireStream | None = None
        self._watched: ExitStack[bool | None] = ExitStack()

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the answer, lower-case names."""
        return {} if self._stream is None else self._stream.headers

    async def __aenter__(self) -> Self:
        self._call.any_answer = True
        self._call.pinned = self._origin
        with ExitStack() as watched:
            watch = self._call.watch = watched.enter_context(self._gateway.watch(self._call))
            self._stream = await self._gateway._attempts(self._call, self._open)  # noqa: SLF001 - other half
            if watch is not None:
                watch.answered()
            self._watched = watched.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stream, self._stream = self._stream, None
        try:
            if stream is not None:
                await stream.__aexit__(exc_type, exc, traceback)
        finally:
            self._watched.__exit__(exc_type, exc, traceback)

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the bytes, once.

        Raises:
            TransportError: The answer broke off, or the time ran out.
            ReplyError: It is larger than allowed.
        """
        if self._stream is None:
            raise ConfigError("the download is not open", field="stream")
        return self._stream.aiter_bytes()

    async def _open(self, origin: str | None, seconds: float) -> WireStream:
        request = await self._gateway.wire_request(self._call, origin, seconds)
        stream = self._gateway._transport.stream(request, max_body=self._limit)  # noqa: SLF001
        await stream.__aenter__()
        if stream.status in _OK:
            return stream
        try:
            content = b""
            async for piece in stream.aiter_bytes():
                content += piece
                if len(content) > ERROR_LIMIT:
                    break
        finally:
            await stream.__aexit__(None, None, None)
        raise _error(self._call, stream.status, stream.headers, content)
