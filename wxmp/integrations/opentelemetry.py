"""OpenTelemetry: a span for each call and each push, and metrics of both, from one hook.

::

    hook = OpenTelemetryHook()
    client = Client.from_env(on_event=hook)
    pay = PayClient.from_env(on_event=hook)
    webhook = Webhook.from_env(client=client, observer=hook)

It needs the API of OpenTelemetry only (the extra ``opentelemetry``); without an SDK in the application it does nothing.
The span of a call is current while the call runs, so that spans of an instrumented HTTP client nest below it, and the
span of a push while its handler runs, so that the calls of the handler do. It sends nothing to WeChat, no
``traceparent`` either.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, TypeAlias

from wxmp.events import (
    BroadcastFinished,
    BroadcastStarted,
    CallAnswered,
    CallFinished,
    CallRetried,
    CallStarted,
    LateAnswer,
    PayEvent,
    PushAnswered,
    PushFinished,
    PushStarted,
    TokenEvent,
)
from wxmp.integrations._labels import MOST_CODES, MOST_ENDPOINTS, SECONDS, SECONDS_OF_ANSWERS, Capped, error_code

try:
    from opentelemetry import context, metrics, trace
except ModuleNotFoundError as _error:
    if _error.name is None or _error.name.partition(".")[0] != "opentelemetry":
        raise
    _message = 'wxmp.integrations.opentelemetry needs its API: pip install "wxmp-sdk[opentelemetry]"'
    raise ModuleNotFoundError(_message, name=_error.name) from None

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from wxmp.events import Event

__all__ = ["OpenTelemetryHook"]

_Values: TypeAlias = "dict[str, str | int | float | bool]"

#: What this instrumentation calls itself.
NAME: Final = "wxmp"
#: Ends that are no error.
_FINE: Final = ("ok", "no_handler", "cancelled")


class _Open:
    """A span that has not ended, and what makes it current."""

    __slots__ = ("span", "token")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.token: Token[Context] | None = context.attach(trace.set_span_in_context(span))

    def leave(self) -> None:
        """Make current what was current before."""
        token, self.token = self.token, None
        if token is not None:
            # In another context, the coroutine was thrown away, and is closed by whoever found it. ``context.detach``
            # would write a traceback to the log then.
            with suppress(ValueError):
                token.var.reset(token)


class OpenTelemetryHook:
    """Makes spans and metrics. Pass it as ``on_event=`` and ``observer=``.

    Args:
        tracer_provider: The global one if absent.
        meter_provider: The global one if absent.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        ours = version("wxmp-sdk")
        self._tracer = trace.get_tracer(NAME, ours, tracer_provider=tracer_provider)
        meter = metrics.get_meter(NAME, ours, meter_provider=meter_provider)
        self._open: dict[int, _Open] = {}
        self._endpoint = Capped(MOST_ENDPOINTS)
        self._code = Capped(MOST_CODES)
        buckets = list(SECONDS)
        self._call_seconds = meter.create_histogram(
            "wxmp.call.duration",
            "s",
            "Duration of calls, retries and waits included.",
            explicit_bucket_boundaries_advisory=buckets,
        )
        self._call_errors = meter.create_counter("wxmp.call.errors", "{call}", "Failed calls.")
        self._retries = meter.create_counter("wxmp.call.retries", "{attempt}", "Attempts that were repeated.")
        self._token_wait = meter.create_histogram(
            "wxmp.token.wait.duration",
            "s",
            "Time for which calls waited for a token.",
            explicit_bucket_boundaries_advisory=buckets,
        )
        self._token_seconds = meter.create_histogram(
            "wxmp.token.refresh.duration",
            "s",
            "Duration of token requests that gave a token.",
            explicit_bucket_boundaries_advisory=buckets,
        )
        self._tokens = meter.create_counter("wxmp.token.events", "{event}", "State changes of tokens.")
        self._push_seconds = meter.create_histogram(
            "wxmp.push.duration", "s", "Duration of handlers.", explicit_bucket_boundaries_advisory=buckets
        )
        self._answer_seconds = meter.create_histogram(
            "wxmp.push.answer.duration",
            "s",
            "Time until the platform was answered.",
            explicit_bucket_boundaries_advisory=list(SECONDS_OF_ANSWERS),
        )
        self._late = meter.create_counter("wxmp.late_answers", "{answer}", "Answers that came too late.")
        self._pay = meter.create_counter("wxmp.pay.events", "{event}", "State changes of pay clients.")
        self._running = meter.create_up_down_counter("wxmp.broadcasts.running", "{run}", "Bulk sends under way.")
        self._broadcasts = meter.create_counter("wxmp.broadcasts", "{run}", "Bulk sends that have ended.")
        self._messages = meter.create_counter(
            "wxmp.broadcast.messages", "{recipient}", "Recipients of bulk sends that have ended."
        )
        self._routes: dict[type[Event], Callable[..., None]] = {
            CallStarted: self._call_started,
            CallRetried: self._call_retried,
            CallAnswered: self._call_answered,
            CallFinished: self._call_finished,
            TokenEvent: self._token,
            PushStarted: self._push_started,
            PushFinished: self._push_finished,
            PushAnswered: self._push_answered,
            LateAnswer: self._late_answer,
            PayEvent: self._pay_event,
            BroadcastStarted: self._broadcast_started,
            BroadcastFinished: self._broadcast_finished,
        }

    def __call__(self, event: Event) -> None:
        """Take an event; the hook itself."""
        route = self._routes.get(type(event))
        if route is not None:
            route(event)

    def __repr__(self) -> str:
        return "OpenTelemetryHook()"

    # ---- calls

    def _call_started(self, event: CallStarted) -> None:
        method, _, path = event.endpoint.partition(" ")
        values: _Values = {
            **_account(event),
            "http.request.method": method,
            "url.template": path,
            "server.address": event.host,
        }
        if event.port is not None:
            values["server.port"] = event.port
        span = self._tracer.start_span(event.endpoint, kind=trace.SpanKind.CLIENT, attributes=values)
        self._open[event.call] = _Open(span)

    def _call_retried(self, event: CallRetried) -> None:
        found = self._open.get(event.call)
        code = error_code(event, event.reason)
        if found is not None:
            values: _Values = {
                "wechat.attempt": event.attempt,
                "wechat.wait": event.seconds,
                "error.type": event.reason,
                **_code_of(event),
            }
            found.span.add_event("wxmp.retry", values)
        self._retries.add(1, {**self._call_labels(event), "wechat.code": self._code(code)})

    def _call_answered(self, event: CallAnswered) -> None:
        found = self._open.get(event.call)
        if found is not None:
            found.leave()

    def _call_finished(self, event: CallFinished) -> None:
        labels = self._call_labels(event)
        failed = event.outcome not in _FINE
        if failed:
            labels["error.type"] = event.outcome
        found = self._open.pop(event.call, None)
        if found is not None:
            found.leave()
            found.span.set_attributes(_end_of(event))
            if failed:
                found.span.set_status(trace.StatusCode.ERROR)
            found.span.end()
        self._call_seconds.record(event.elapsed, labels)
        if failed:
            self._call_errors.add(1, {**labels, "wechat.code": self._code(error_code(event, event.outcome))})
        if event.waited:
            self._token_wait.record(event.waited, _account(event))

    def _call_labels(self, event: CallRetried | CallFinished) -> _Values:
        return {**_account(event), "wechat.endpoint": self._endpoint(event.endpoint)}

    # ---- pushes

    def _push_started(self, event: PushStarted) -> None:
        span = self._tracer.start_span(
            f"process {event.kind}",
            kind=trace.SpanKind.CONSUMER,
            attributes={
                **_account(event),
                "messaging.system": "wechat",
                "messaging.operation.type": "process",
                "messaging.operation.name": "process",
                "wechat.push.kind": event.kind,
            },
        )
        self._open[event.push] = _Open(span)

    def _push_finished(self, event: PushFinished) -> None:
        labels = {**_account(event), "wechat.push.kind": event.kind, "wechat.outcome": event.outcome}
        found = self._open.pop(event.push, None)
        if found is not None:
            found.leave()
            found.span.set_attribute("wechat.outcome", event.outcome)
            if event.outcome not in _FINE:
                found.span.set_attribute("error.type", event.outcome)
                found.span.set_status(trace.StatusCode.ERROR)
            found.span.end()
        self._push_seconds.record(event.elapsed, labels)

    def _push_answered(self, event: PushAnswered) -> None:
        status = "cut" if event.status is None else str(event.status)
        self._answer_seconds.record(event.elapsed, {**_account(event), "wechat.status": status})

    def _late_answer(self, event: LateAnswer) -> None:
        self._late.add(1, {**_account(event), "wechat.push.kind": event.kind, "wechat.outcome": event.outcome})

    # ---- the rest

    def _token(self, event: TokenEvent) -> None:
        labels: _Values = {**_account(event), "wechat.channel": event.channel}
        named: _Values = {**labels, "wechat.event": event.name}
        if event.name == "refreshed":
            self._token_seconds.record(event.elapsed or 0.0, labels)
            named["wechat.reason"] = event.reason
        elif event.name in ("refresh_failed", "dead_reported"):
            named["wechat.code"] = self._code(str(event.code) if event.code is not None else event.reason)
        self._tokens.add(1, named)

    def _pay_event(self, event: PayEvent) -> None:
        self._pay.add(1, {**_account(event), "wechat.event": event.name})

    def _broadcast_started(self, event: BroadcastStarted) -> None:
        self._running.add(1, _account(event))

    def _broadcast_finished(self, event: BroadcastFinished) -> None:
        self._running.add(-1, _account(event))
        self._broadcasts.add(1, {**_account(event), "wechat.outcome": event.outcome})
        for outcome, count in event.outcomes.items():
            self._messages.add(count, {**_account(event), "wechat.outcome": outcome})


def _account(event: Event) -> _Values:
    values: _Values = {}
    if event.appid:
        values["wechat.appid"] = event.appid
    if event.mchid:
        values["wechat.mchid"] = event.mchid
    return values


def _end_of(event: CallFinished) -> _Values:
    """Return what a span learns at its end."""
    values: _Values = {"wechat.outcome": event.outcome, "wechat.attempts": event.attempts}
    if event.attempts > 1:
        values["http.request.resend_count"] = event.attempts - 1
    if event.waited:
        values["wechat.token_wait"] = event.waited
    if event.outcome not in _FINE:
        values["error.type"] = event.outcome
    values |= _code_of(event)
    if event.status is not None:
        values["http.response.status_code"] = event.status
    if event.rid:
        values["wechat.rid"] = event.rid
    return values


def _code_of(event: CallFinished | CallRetried) -> _Values:
    values: _Values = {}
    if event.errcode is not None:
        values["wechat.errcode"] = event.errcode
    if event.code:
        values["wechat.code"] = event.code
    return values
