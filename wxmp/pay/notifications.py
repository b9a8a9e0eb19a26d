"""What WeChat Pay tells a merchant's server (支付结果通知): verified, decrypted, handled once, answered in time.

::

    notifications = Notifications(client)


    @notifications.on(PaymentSucceeded)
    async def paid(event: PaymentSucceeded) -> None:
        order = await orders.find(event.resource.out_trade_no)
        event.check(appid=APPID, out_trade_no=order.number, total_fen=order.total_fen)
        await orders.mark_paid(order)


    app = notifications.asgi()

The platform waits 5 s for an answer, and tells again after 15 s, 15 s, 30 s and so on, 15 times in a day, until it
hears 204. A handler that raises is answered 500, so that the notice comes again. One that takes longer than
``deadline`` is not cut off: this delivery is answered 503, the work goes on, and the next repetition finds it done
(204), still at work (503), or failed and free to run again. It never runs twice at a time for one notice; in a fleet
the workers must share a :class:`~wxmp.webhook.RedisDedupe` for that. A process that was frozen for longer than its
lease of 3 s is the exception: when it wakes, its handler is stopped, but may get as far as its next ``await`` or two.
So act once per business number, in one transaction.

There is no guarantee that a notice arrives at all: orders and refunds that stay open need a query as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import attrs

from wxmp._asgi import Seldom, announces_more, is_compressed
from wxmp._log import AccountLogger, log_fields
from wxmp.errors import (
    ConfigError,
    MalformedError,
    PayDecryptError,
    PayMismatchError,
    PayProbeError,
    PaySignatureError,
    ReplyError,
    SignatureError,
    WebhookError,
    WxmpError,
)
from wxmp.pay._certificates import PayKeys
from wxmp.pay._signing import read_headers
from wxmp.pay.notify_reading import read_envelope, read_object
from wxmp.pay.notify_records import NotifyEvent, names_merchant, read_resource
from wxmp.webhook.dedupe import MemoryDedupe
from wxmp.webhook.delivery import HANDLER_TIMEOUT, PATIENCE, Deliveries, DeliveryPolicy, Work
from wxmp.webhook.dispatch import is_asynchronous

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self, TypeAlias

    from wxmp.events import EventHook
    from wxmp.pay._signing import Headers
    from wxmp.pay.notify_asgi import NotifyASGI
    from wxmp.webhook.dedupe import ClaimStatus, DedupeStore

    Handler: TypeAlias = Callable[[Any], Awaitable[object]]

__all__ = ["Notifications", "NotifyAnswer"]

logger: logging.Logger = logging.getLogger("wxmp.pay")

H = TypeVar("H", bound="Callable[[Any], Awaitable[object]]")

#: Seconds around the server's clock in which a notice is fresh.
WINDOW: Final = 300.0
#: Bytes of a request: a cipher text of 1 MiB, and what is around it.
MAX_BODY: Final = (1 << 20) + (1 << 16)
#: Seconds for which a request is known again: as long as it could be fresh by any clock within the window.
REPLAY_SECONDS: Final = 600.0
#: Seconds for which a handled notice is remembered: the last repetition comes after 24 h 4 min.
KEEP_SECONDS: Final = 26 * 3600.0
#: Seconds until the answer, opening included. The platform hangs up after 5.
DEADLINE: Final = 4.0
#: The part of it after which a notice whose key has to be fetched is left to the next repetition.
OPENING_SHARE: Final = 0.5
#: The part of what is left of the platform's patience after the deadline that a hanging store may still take.
LAST_SHARE: Final = 0.5
#: Seconds after which a handler is stopped.
HANDLER_SECONDS: Final = 60.0
#: Seconds that handlers have to end at shutdown.
DRAIN_SECONDS: Final = 10.0
#: Handlers that run at a time.
MAX_RUNNING: Final = 1000
#: Seconds of a lease: a worker that says nothing for so long is dead. Far less than until the next repetition.
LEASE: Final = 3.0
#: A notice is repeated until it is answered: there is no last delivery.
ENDLESS: Final = 1 << 30
_MCHID: Final = re.compile(r"[0-9A-Za-z]{1,32}")


class _HasKeys(Protocol):
    """A :class:`~wxmp.pay.PayClient`."""

    @property
    def keys(self) -> PayKeys:
        """What verifies and opens."""
        ...


@attrs.frozen
class NotifyAnswer:
    """What goes back over HTTP, for an adapter to send as it is. Only the status counts for the platform."""

    status: int
    body: bytes = attrs.field(default=b"", repr=False)
    content_type: str = "application/json"


#: Handled, now or before.
HANDLED: Final = NotifyAnswer(204)
#: One text for every refusal. What was wrong stands in the log.
REFUSAL: Final = b'{"code":"FAIL","message":"refused"}'


@attrs.frozen
class _Opened:
    """An authentic notice, and the request that brought it."""

    event: NotifyEvent
    replay: str


class _NoticeDeliveries(Deliveries):
    """The notices under way in one event loop."""

    async def look(self, key: str) -> ClaimStatus:
        """Return what is known of a notice whose request was seen before: such a request runs nothing.

        Raises:
            WebhookStoreError: The store is down.
        """
        if key in self._jobs:
            return "running"
        store = self._local if key in self._local else self._store
        claim = await store.begin(key, lease=self._policy.lease, keep=self._policy.keep)
        if claim.status == "new":
            await store.forget(key, fence=claim.fence)
        return claim.status


class Notifications:
    """The notices for one merchant (支付结果通知); see the head of this module.

    A merchant's notices are accepted with that merchant's keys only. Several merchants each have their own object at
    their own address: :class:`~wxmp.pay.NotifyASGI` takes them by path.
    """

    def __init__(
        self,
        client_or_keys: _HasKeys | PayKeys,
        *,
        dedupe: DedupeStore | None = None,
        window: float = WINDOW,
        max_body: int = MAX_BODY,
        deadline: float = DEADLINE,
        handler_timeout: float = HANDLER_SECONDS,
        drain: float = DRAIN_SECONDS,
        max_running: int = MAX_RUNNING,
        observer: EventHook | None = None,
    ) -> None:
        """Check the settings. Nothing is opened.

        Args:
            client_or_keys: The merchant's :class:`~wxmp.pay.PayClient`, which is not closed here; or, where there is
                none, :class:`~wxmp.pay.PayKeys`. They bring the clock too.
            dedupe: Where repetitions of one notice meet; :class:`~wxmp.webhook.MemoryDedupe` if absent, which is right
                for a service with a single worker process.
            window: Seconds around the server's clock in which a notice is fresh, at most 300.
            max_body: Most bytes of a request.
            deadline: Seconds until the answer, less than 5.
            handler_timeout: Seconds after which a handler is stopped; the next repetition starts it again.
            drain: Seconds that handlers have to end at shutdown.
            max_running: Handlers that run at a time; what is more is answered 503.
            observer: Called with an :class:`~wxmp.Event` for each notice that is handled and each request that is
                answered.

        Raises:
            ConfigError: A setting cannot work; it names the field.
        """
        keys = client_or_keys if isinstance(client_or_keys, PayKeys) else client_or_keys.keys
        if _MCHID.fullmatch(keys.mchid) is None:
            raise ConfigError("mchid must be the merchant's number: digits", field="mchid")
        if not _is_number(window) or not 0 < window <= WINDOW:
            raise ConfigError(f"window must be more than 0 and at most {WINDOW:g} seconds", field="window")
        if not _is_number(deadline) or not 0 < deadline < PATIENCE:
            raise ConfigError(f"deadline must be more than 0 and less than {PATIENCE:g} seconds", field="deadline")
        if not _is_number(max_body) or max_body < 1:
            raise ConfigError("max_body must be a number of bytes", field="max_body")
        self._policy = DeliveryPolicy(
            deadline=deadline,
            hold=deadline,
            attempts=ENDLESS,
            lease=min(LEASE, deadline * 0.75),
            keep=KEEP_SECONDS,
            handler_timeout=handler_timeout,
            max_running=max_running,
            drain=drain,
            on_error="retry",
            # A payment handled twice costs goods; a notice that is refused for now comes again.
            on_store_down="refuse",
        )
        if observer is not None:
            from wxmp.events import guarded

            observer = guarded(observer)
        self._observer = observer
        self._keys = keys
        self._window = float(window)
        self._max_body = max_body
        self._dedupe = dedupe if dedupe is not None else MemoryDedupe()
        self._local = MemoryDedupe()
        # Handlers and those who wait for them live in one event loop. Loops meet in the store, as processes do.
        self._by_loop: dict[asyncio.AbstractEventLoop, _NoticeDeliveries] = {}
        self._handlers: dict[type[NotifyEvent], Handler] = {}
        self._refusals = Seldom()

    def __repr__(self) -> str:
        return f"Notifications(mchid={self.mchid!r}, handlers={len(self._handlers)})"

    @property
    def mchid(self) -> str:
        """The merchant's number (商户号)."""
        return self._keys.mchid

    @property
    def max_body(self) -> int:
        """Bytes that an adapter may read of a request: one more is enough to refuse it."""
        return self._max_body

    # ---- handlers

    def on(self, *events: type[NotifyEvent]) -> Callable[[H], H]:
        """Register a handler for classes of notices: ``@notifications.on(PaymentSucceeded)``.

        It is asynchronous and takes the notice; what it returns is of no interest. The nearest class gets a notice: a
        base class (``RefundEvent``, ``PaymentEvent``, ``NotifyEvent``) takes what has no handler of its own.

        Raises:
            ConfigError: No class of notices, one that has a handler, or a handler that cannot work.
        """
        if not events:
            raise ConfigError("on() needs a class of notices: @notifications.on(PaymentSucceeded)", field="event")

        def register(handler: H) -> H:
            _check_handler(handler)
            for event in events:
                if not _is_event_class(event):
                    raise ConfigError(
                        f"on() takes classes of notices such as PaymentSucceeded, not {event!r}", field="event"
                    )
                if event in self._handlers:
                    raise ConfigError(f"{event.__name__} has a handler already", field="handler")
            self._handlers.update(dict.fromkeys(events, handler))
            return handler

        return register

    def default(self, handler: H) -> H:
        """Register the handler for everything that has no other: ``@notifications.default``.

        Without one, such notices are acknowledged and dropped, with a warning in the log.

        Raises:
            ConfigError: There is one, or it cannot work.
        """
        return self.on(NotifyEvent)(handler)

    def _find(self, event: NotifyEvent) -> Handler | None:
        return next((self._handlers[cls] for cls in type(event).__mro__ if cls in self._handlers), None)

    # ---- one notice

    async def receive(self, headers: Headers, body: bytes) -> NotifyEvent:
        """Verify and decrypt one notice, and do nothing else: no handler runs, and a repetition is not recognised.

        For programs that queue notices themselves. They keep the ``id`` of what they have handled.

        Args:
            headers: As received: pairs, or a mapping. Of a mapping that keeps one value of each name only, nobody can
                tell whether a header was doubled.
            body: The very bytes that were received.

        Raises:
            PaySignatureError: It is not authentic; ``reason`` says which check failed.
            PayProbeError: It is one of the wrong ones that WeChat Pay sends on purpose.
            MalformedError: It is authentic or too large, but not what the documents say.
            PayDecryptError: It does not open with the APIv3 key.
            PayMismatchError: It is about another merchant.
            ReplyError: What was decrypted is not what the documents say of this kind.
        """
        return (await self._open(headers, body)).event

    async def _open(self, headers: Headers, body: bytes) -> _Opened:
        if not _is_bytes(body):
            raise ConfigError("body must be the bytes that were received, not what was read from them", field="body")
        if len(body) > self._max_body:
            raise MalformedError("the notice is larger than max_body", status=413)
        headers = headers if isinstance(headers, Mapping) else list(headers)  # type: ignore[assignment]
        serial = await self._keys.verify(headers, body, window=self._window)
        # Of what tells requests apart only this is signed; the serial number is the key's own spelling.
        nonce = read_headers(headers, self._keys.now(), self._window).nonce
        envelope = read_envelope(body)
        plain = read_object(self._keys.open(envelope.resource), "what was decrypted")
        cls, resource = read_resource(envelope.event_type, plain)
        if not names_merchant(cls, plain, self.mchid):
            raise PayMismatchError("the notice is about another merchant", field="mchid")
        event = cls(
            id=envelope.id,
            create_time=envelope.create_time,
            event_type=envelope.event_type,
            original_type=envelope.original_type,
            summary=envelope.summary,
            mchid=self.mchid,
            resource=resource,
            plain=plain,
        )
        return _Opened(event, f"{self.mchid}:{_digest(f'{serial} {nonce}')}")

    # ---- adapters

    def asgi(self) -> NotifyASGI:
        """Return a plain ASGI application. It answers on whatever path it is reached, and drains at shutdown."""
        from wxmp.pay.notify_asgi import NotifyASGI

        return NotifyASGI(self)

    def refuse_unread(self, method: str, *, content_length: str | None, encoding: str | None) -> NotifyAnswer | None:
        """Return the refusal of a request whose headers say enough, before any of its body is read.

        Args:
            method: The HTTP method.
            content_length: The header, if there is one.
            encoding: The header ``Content-Encoding``: the platform sends nothing compressed.
        """
        if method != "POST":
            return NotifyAnswer(405, REFUSAL)
        if is_compressed(encoding):
            answer = self._refuse(400, "a compressed body")
        elif announces_more(content_length, self._max_body):
            answer = self._refuse(400, "the notice is larger than max_body")
        else:
            return None
        if self._observer is not None:
            from wxmp._watch import AnswerWatch

            with AnswerWatch(self._observer, appid="", mchid=self.mchid, service="pay") as watch:
                watch.status = answer.status
        return answer

    async def answer(self, headers: Headers, body: bytes) -> NotifyAnswer:
        """Answer one request. It raises nothing but what cancels it.

        204: handled, now or before. 401: not authentic. 400: not usable. 500: it does not open, or the handler failed.
        503: still being handled, or a store or the certificates cannot be reached. The body never says which.

        Args:
            headers: See :meth:`receive`.
            body: The very bytes that were received, at most one more than :attr:`max_body`.
        """
        if self._observer is None:
            return await self._respond(headers, body)
        from wxmp._watch import AnswerWatch

        with AnswerWatch(self._observer, appid="", mchid=self.mchid, service="pay") as watch:
            answer = await self._respond(headers, body)
            watch.status = answer.status
            return answer

    async def _respond(self, headers: Headers, body: bytes) -> NotifyAnswer:
        since = asyncio.get_running_loop().time()
        deadline = self._policy.deadline
        try:
            # The deadline ends the wait for a handler. A store that hangs after it must not keep the answer either.
            async with asyncio.timeout_at(since + deadline + (PATIENCE - deadline) * LAST_SHARE):
                # Certificates may have to be fetched, and the gateway may take its time: that goes on without us.
                async with asyncio.timeout_at(since + deadline * OPENING_SHARE):
                    opened = await self._open(headers, body)
                return await self._answer(opened, since)
        except PayProbeError as error:
            return self._refuse(401, f"a probe: {error}", level=logging.INFO, kind="probe")
        except PaySignatureError as error:
            # Strangers get here: what they write, a serial number, makes no kind of its own.
            return self._refuse(401, str(error), kind=f"signature: {error.reason}")
        except (MalformedError, PayMismatchError) as error:
            return self._refuse(400, str(error))
        except (PayDecryptError, ReplyError) as error:
            return self._refuse(500, str(error), level=logging.ERROR)
        except WebhookError as error:
            return self._refuse(error.status, str(error))
        except TimeoutError:
            return self._refuse(503, "the platform certificates, or the dedupe store, take too long")
        except ConfigError as error:
            return self._refuse(500, str(error), level=logging.ERROR)
        except WxmpError as error:
            return self._refuse(503, str(error))
        except Exception as error:
            logger.exception(
                "a notice could not be handled",
                extra=log_fields("notice_failed", mchid=self.mchid, error=type(error).__name__),
            )
            return NotifyAnswer(500, REFUSAL)

    async def _answer(self, opened: _Opened, since: float) -> NotifyAnswer:
        event = opened.event
        handler = self._find(event)
        if handler is None:
            if not self._handlers:
                return self._refuse(500, "there is no handler at all: notices would be lost", level=logging.ERROR)
            self._log(
                logging.WARNING,
                "notice_dropped",
                f"no handler for {type(event).__name__}: acknowledged and dropped",
            )
            return HANDLED
        digest = _digest(event.id)
        deliveries = self._deliveries
        work = Work(
            key=f"{self.mchid}:{digest}",
            replay=opened.replay,
            replay_for=REPLAY_SECONDS,
            handle=lambda: self._run(handler, event),
            send_late=_nothing,
            label=f"{event.event_type} {digest[:8]}",
            since=since,
        )
        try:
            await deliveries.deliver(work)
        except SignatureError:
            # Not a repetition, which has a signature of its own: these very bytes were here before.
            status = await deliveries.look(work.key)
            if status == "running":
                return self._refuse(503, "a request came twice, and its notice is still being handled")
            if status == "new":
                return self._refuse(401, "a request came twice")
        return HANDLED

    async def _run(self, handler: Handler, event: NotifyEvent) -> bytes:
        if self._observer is None:
            await handler(event)
            return b""
        from wxmp._watch import PushWatch

        kind = type(event).__name__
        with PushWatch(self._observer, kind, stop=HANDLER_TIMEOUT, appid="", mchid=self.mchid, service="pay"):
            await handler(event)
            return b""

    @property
    def _deliveries(self) -> _NoticeDeliveries:
        """What is under way in this event loop."""
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None:
            for other in [other for other in list(self._by_loop) if other.is_closed()]:
                self._by_loop.pop(other, None)
            log = AccountLogger(logger, mchid=self.mchid)
            found = self._by_loop[loop] = _NoticeDeliveries(self._dedupe, self._policy, local=self._local, log=log)
        return found

    def _refuse(self, status: int, why: str, *, level: int = logging.WARNING, kind: str = "") -> NotifyAnswer:
        self._log(level, "notice_refused", f"answered {status}: {why}", kind, status=status)
        return NotifyAnswer(status, REFUSAL)

    def _log(self, level: int, event: str, text: str, kind: str = "", *, status: int | None = None) -> None:
        """Log a line, once in a while for each kind."""
        if not self._refusals.lets(kind or text):
            return
        logger.log(
            level,
            "notices for %s: %s",
            self.mchid,
            text,
            extra=log_fields(event, mchid=self.mchid, status=status, reason=kind or text),
        )

    # ---- the end

    async def drain(self) -> None:
        """Let the handlers of this event loop end, up to ``drain`` seconds; start none meanwhile."""
        await self._deliveries.aclose()

    async def aclose(self) -> None:
        """:meth:`drain`, and release the store. Safe to call twice; the notifications may be used again."""
        try:
            await self.drain()
        finally:
            await self._dedupe.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def _nothing(_: bytes) -> None:
    """A notice has no answer that could be late."""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes)


def _is_event_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, NotifyEvent)


def _check_handler(handler: Any) -> None:
    name = getattr(handler, "__qualname__", type(handler).__name__)
    if not is_asynchronous(handler):
        raise ConfigError(
            f"{name} is not asynchronous: write 'async def', and 'await asyncio.to_thread(...)' around what blocks",
            field="handler",
        )
