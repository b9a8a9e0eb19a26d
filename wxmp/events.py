"""What the library reports to an ``on_event`` hook: calls, tokens, pushes, payments. Never a credential, nor an openid.

One hook serves a :class:`~wxmp.Client`, a :class:`~wxmp.pay.PayClient` (both ``on_event=``), a
:class:`~wxmp.webhook.Webhook` and :class:`~wxmp.pay.Notifications` (both ``observer=``). :func:`combine` makes one hook
of several. Ready-made ones are in :mod:`wxmp.integrations.opentelemetry` and :mod:`wxmp.integrations.prometheus`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import attrs

from wxmp._log import log_fields
from wxmp.errors import ConfigError

__all__ = [
    "BroadcastFinished",
    "BroadcastStarted",
    "CallAnswered",
    "CallEvent",
    "CallFinished",
    "CallRetried",
    "CallStarted",
    "Event",
    "EventHook",
    "LateAnswer",
    "PayEvent",
    "PayEventName",
    "PushAnswered",
    "PushEvent",
    "PushFinished",
    "PushStarted",
    "Service",
    "TokenEvent",
    "TokenEventName",
    "combine",
    "guarded",
]

logger: logging.Logger = logging.getLogger("wxmp.events")

#: Which platform it is about: the Official Account platform (公众平台), or WeChat Pay (微信支付).
Service: TypeAlias = Literal["mp", "pay"]

TokenEventName: TypeAlias = Literal[
    "refreshed",
    "refresh_failed",
    "dead_reported",
    "adopted",
    "seeded",
    "fenced_out",
    "lease_wait",
    "store_down",
    "store_up",
    "budget_exhausted",
]

PayEventName: TypeAlias = Literal["certificates_fetched", "certificates_failed", "host_failed", "probe"]


@attrs.frozen(kw_only=True)
class Event:
    """The base of all events."""

    #: The account's AppID. Of WeChat Pay the default AppID of the client; empty if there is none.
    appid: str
    #: The merchant's number (商户号); empty where it is not about WeChat Pay.
    mchid: str = ""


# ---- tokens


@attrs.frozen(kw_only=True)
class TokenEvent(Event):
    """One state change of a shared credential: the access_token, or a ticket."""

    name: TokenEventName
    #: ``stable`` or ``plain``; of a ticket its kind, ``jsapi`` or ``wx_card``.
    channel: str
    #: Generation of the token in question.
    generation: int | None = None
    #: Seconds: the life of a new token (refreshed, adopted, seeded), the cool-down (refresh_failed), the time spent
    #: polling (lease_wait), the time until the next try (store_down, budget_exhausted).
    seconds: float | None = None
    #: Seconds that the token request took (refreshed, refresh_failed).
    elapsed: float | None = None
    #: The platform's errcode (refresh_failed, dead_reported).
    code: int | None = None
    #: Why: ``due``, ``dead``, ``forced``, ``operator``, ``store_down`` (refreshed), the class of an error
    #: (refresh_failed), or what the store said (store_down).
    reason: str = ""


# ---- calls


@attrs.frozen(kw_only=True)
class CallEvent(Event):
    """The base of what happens in one call, retries included. Token requests are calls too."""

    #: Which call: the same number in all its events, unique in this process.
    call: int
    #: Method and path, or its template; no query, no number of an order.
    endpoint: str
    service: Service = "mp"


@attrs.frozen(kw_only=True)
class CallStarted(CallEvent):
    """A call begins, in the task and the context that will also end it (but see :class:`CallAnswered`)."""

    #: Where it goes.
    host: str = ""
    port: int | None = None


@attrs.frozen(kw_only=True)
class CallRetried(CallEvent):
    """An attempt failed, and another one follows after a wait."""

    #: Which attempt failed, from 1.
    attempt: int
    #: Seconds until the next.
    seconds: float
    #: Class of the error.
    reason: str
    #: The platform's errcode, if it gave one.
    errcode: int | None = None
    #: WeChat Pay's error code, if it gave one.
    code: str = ""


@attrs.frozen(kw_only=True)
class CallAnswered(CallEvent):
    """A stream is open: from here on its reader's code runs, and the call may end in another context."""


@attrs.frozen(kw_only=True)
class CallFinished(CallEvent):
    """A call has ended, however it did."""

    #: ``"ok"``, ``"cancelled"``, or the class of the error that was raised.
    outcome: str
    #: Seconds from the beginning to the end, with all attempts and waits.
    elapsed: float
    #: HTTP requests that were sent. A replaced token brings one more without being a retry.
    attempts: int
    #: Seconds of ``elapsed`` that were spent waiting for a token.
    waited: float = 0.0
    #: The platform's errcode, if it gave one.
    errcode: int | None = None
    #: WeChat Pay's error code, if it gave one.
    code: str = ""
    #: The HTTP status, where that was what was wrong.
    status: int | None = None
    #: The ``rid`` of an error (of WeChat Pay its ``Request-ID``), for the platform's support.
    rid: str = ""


# ---- what the platform sends to us


@attrs.frozen(kw_only=True)
class PushEvent(Event):
    """The base of what happens to one push (消息与事件推送) or payment notice (支付通知) in its handler."""

    #: Which one: the same number in both events, unique in this process. It counts calls too.
    push: int
    #: Its class, as handlers are registered for it: ``TextMessage``, ``MenuClickEvent``, ``PaymentSucceeded``.
    kind: str
    service: Service = "mp"


@attrs.frozen(kw_only=True)
class PushStarted(PushEvent):
    """A handler begins, in the task and the context that will also end it. A repetition begins no other one."""


@attrs.frozen(kw_only=True)
class PushFinished(PushEvent):
    """A handler has ended."""

    #: ``"ok"``, ``"no_handler"``, ``"cancelled"``, ``"stopped"`` (it took longer than ``handler_timeout``), or the
    #: class of what it raised.
    outcome: str
    #: Seconds.
    elapsed: float


@attrs.frozen(kw_only=True)
class PushAnswered(Event):
    """One HTTP request of the platform, or of somebody who plays it, was answered."""

    service: Service = "mp"
    #: The HTTP status; ``None`` when the connection was cut first.
    status: int | None
    #: Seconds. After about five the platform has hung up.
    elapsed: float


@attrs.frozen(kw_only=True)
class LateAnswer(Event):
    """An answer that no connection could carry was sent as a customer-service message (客服消息), or was not."""

    #: Class of the push that it answers.
    kind: str
    #: ``"sent"``; dropped: ``"no_client"``, ``"no_form"``, ``"window_closed"``; or the class of the error.
    outcome: str


# ---- the rest


@attrs.frozen(kw_only=True)
class PayEvent(Event):
    """One change of state of a pay client: for the log and for metrics."""

    name: PayEventName
    #: How many certificates were fetched.
    count: int | None = None
    #: Error code or class of error.
    reason: str = ""
    #: The host that failed.
    host: str = ""


@attrs.frozen(kw_only=True)
class BroadcastStarted(Event):
    """A bulk send begins in this process. Its messages are calls; there is no event for each recipient."""

    #: The name of the run.
    run: str


@attrs.frozen(kw_only=True)
class BroadcastFinished(Event):
    """A bulk send has ended in this process."""

    #: The name of the run.
    run: str
    #: ``"ok"``, ``"cancelled"`` (left before its end, to be continued), or the class of the error that stopped it.
    outcome: str
    #: How many recipients had which outcome, here and now.
    outcomes: Mapping[str, int]
    #: Seconds.
    elapsed: float


#: Called in the event loop, synchronously: hand slow work to a task of your own. What it raises is dropped; the log
#: says so the first time.
EventHook: TypeAlias = Callable[[Event], None]


#: What leaves the context that another event has entered.
_ENDS: Final = (CallAnswered, CallFinished, PushFinished)


class _Guarded:
    """A hook whose exceptions end here."""

    __slots__ = ("_hook", "_told")

    def __init__(self, hook: Callable[[Event], object]) -> None:
        self._hook: Final = hook
        self._told = False

    def __call__(self, event: Event) -> None:
        try:
            found = self._hook(event)
        # Whatever it is, a call must not fail because somebody watches it. Nobody cancels a function that does not
        # wait: that error is the one of some other task, whose result the hook has asked for.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            self._tell("raised", error, event)
        else:
            if found is not None and inspect.iscoroutine(found):
                found.close()
                self._tell("returned a coroutine, which nobody awaits,", None, event)

    def _tell(self, what: str, error: BaseException | None, event: Event) -> None:
        if not self._told:
            self._told = True
            _tell(what, error, event)

    def __repr__(self) -> str:
        return f"guarded({self._hook!r})"


def _tell(what: str, error: BaseException | None, event: Event) -> None:
    trace = None if error is None else error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # Where it happened, but not what it says: nobody knows what a stranger's exception holds.
    place = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    name = "" if error is None else type(error).__name__
    kind = type(event).__name__
    logger.error(
        "on_event %s for a %s%s; it will not be told again",
        f"{what} {name}".rstrip(),
        kind,
        place,
        extra=log_fields("hook_failed", appid=event.appid, mchid=event.mchid, error=name, reason=kind),
    )


def guarded(hook: EventHook) -> EventHook:
    """Return a hook whose exceptions are dropped: the log names the first one. Clients do this by themselves.

    Raises:
        ConfigError: It is no function, or a class, or an asynchronous function, whose coroutine nobody would await.
    """
    if isinstance(hook, _Guarded):
        return hook
    if not callable(hook):
        raise ConfigError("a hook must be callable: def hook(event: Event) -> None", field="on_event")
    if isinstance(hook, type):
        raise ConfigError(f"a hook must not be a class: on_event={hook.__name__}()", field="on_event")
    for asked in (hook, getattr(hook, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(asked) or inspect.isasyncgenfunction(asked):
            raise ConfigError(
                "a hook must not be asynchronous: write 'def', and start a task of your own", field="on_event"
            )
    return _Guarded(hook)


def combine(*hooks: EventHook) -> EventHook:
    """Return one hook that calls several, in order. When one raises, the others are called all the same.

    What ends is told in the reverse order, so that two hooks that make something current both give it back.

    ::

        hook = combine(PrometheusHook(), OpenTelemetryHook())
        client = Client.from_env(on_event=hook)

    Raises:
        ConfigError: One of them is no hook, or is there twice and would count everything twice.
    """
    if len(set(map(id, hooks))) < len(hooks):
        raise ConfigError("a hook must not be there twice: it would count everything twice", field="on_event")
    each = tuple(guarded(hook) for hook in hooks)
    back = each[::-1]

    def call_all(event: Event) -> None:
        for hook in back if isinstance(event, _ENDS) else each:
            hook(event)

    return _Guarded(call_all)
