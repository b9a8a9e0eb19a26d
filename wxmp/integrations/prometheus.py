"""Prometheus: counters and histograms of calls, tokens, pushes, payments and bulk sends, from one hook.

::

    hook = PrometheusHook()
    client = Client.from_env(on_event=hook)
    webhook = Webhook.from_env(client=client, observer=hook)
    app.mount("/metrics", prometheus_client.make_asgi_app())

Make one per registry and hand it to everything in the process. It works in the multiprocess mode of
``prometheus_client`` too. No name collides with those of the control server's own ``/metrics``, which begin with
``wxmp_control_``. Needs the extra ``prometheus``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal, get_args

from wxmp.errors import ConfigError
from wxmp.events import (
    BroadcastFinished,
    BroadcastStarted,
    CallFinished,
    CallRetried,
    CallStarted,
    LateAnswer,
    PayEvent,
    PayEventName,
    PushAnswered,
    PushFinished,
    TokenEvent,
    TokenEventName,
)
from wxmp.integrations._labels import FINE, MOST_CODES, MOST_ENDPOINTS, SECONDS, SECONDS_OF_ANSWERS, Capped, error_code

try:
    from prometheus_client import REGISTRY, Counter, Gauge, Histogram
except ModuleNotFoundError as _error:
    if _error.name is None or _error.name.partition(".")[0] != "prometheus_client":
        raise
    _message = 'wxmp.integrations.prometheus needs prometheus-client: pip install "wxmp-sdk[prometheus]"'
    raise ModuleNotFoundError(_message, name=_error.name) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry

    from wxmp.events import Event

__all__ = ["PrometheusHook"]

_ACCOUNT: Final = ("service", "appid", "mchid")
_CALL: Final = (*_ACCOUNT, "endpoint")
_TOKEN: Final = ("appid", "channel")

# ``increase()`` does not see a series that begins with its first event. What can be named beforehand is there, at 0,
# before there is anything to count.
_REASONS: Final = ("due", "dead", "forced", "operator", "store_down")
#: What a platform that knows the request answers when its token is dead.
_DEAD: Final = ("40001", "40014", "42001")
_STATUSES: Final = {"mp": ("200", "403", "500", "503", "cut"), "pay": ("204", "401", "500", "503", "cut")}
_LATE: Final = ("sent", "no_client", "no_form", "window_closed")


class PrometheusHook:
    """Counts what happens, for Prometheus. Pass it as ``on_event=`` and ``observer=``.

    Args:
        registry: Where the metrics go; the default registry of ``prometheus_client`` if absent.
        buckets: Upper bounds of the histograms of calls, tokens and handlers, in seconds. Those of the time until an
            answer are fixed: what matters there is the platform's limit.

    Raises:
        ConfigError: There is one already for this registry, or the buckets cannot work. The registry is as it was.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, buckets: Sequence[float] = SECONDS) -> None:
        made: list[Counter | Gauge | Histogram] = []
        self._endpoint = Capped(MOST_ENDPOINTS)
        self._code = Capped(MOST_CODES)

        def counter(name: str, text: str, labels: Sequence[str]) -> Counter:
            made.append(found := Counter(name, text, labels, registry=None))
            return found

        def histogram(name: str, text: str, labels: Sequence[str], buckets: Sequence[float] = buckets) -> Histogram:
            try:
                found = Histogram(name, text, labels, registry=None, buckets=buckets)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"buckets must be numbers of seconds, in order: {error}", field="buckets") from None
            made.append(found)
            return found

        def gauge(
            name: str, text: str, labels: Sequence[str], mode: Literal["livemin", "livesum", "mostrecent"]
        ) -> Gauge:
            made.append(found := Gauge(name, text, labels, registry=None, multiprocess_mode=mode))
            return found

        def newest(name: str, text: str, labels: Sequence[str]) -> Gauge:
            # Of several processes with a token the one that has heard last knows best.
            return gauge(name, text, labels, "mostrecent")

        self._calls = counter("wxmp_calls_total", "Calls that have ended.", (*_CALL, "outcome"))
        self._call_seconds = histogram("wxmp_call_seconds", "Seconds of a call, retries and waits included.", _CALL)
        self._call_errors = counter(
            "wxmp_call_errors_total", "Failed calls by the platform's code, or the error.", (*_CALL, "code")
        )
        self._retries = counter("wxmp_call_retries_total", "Attempts that were repeated.", (*_CALL, "code"))
        self._requests = counter("wxmp_call_requests_total", "HTTP requests that calls have sent.", _CALL)
        self._in_flight = gauge("wxmp_calls_in_flight", "Calls under way.", _ACCOUNT, "livesum")
        self._token_wait = histogram(
            "wxmp_token_wait_seconds", "Seconds for which a call waited for a token.", _ACCOUNT
        )
        self._refreshes = counter("wxmp_token_refreshes_total", "Tokens fetched by this process.", (*_TOKEN, "reason"))
        self._refresh_failures = counter(
            "wxmp_token_refresh_failures_total", "Token requests that failed.", (*_TOKEN, "code")
        )
        self._refresh_seconds = histogram("wxmp_token_refresh_seconds", "Seconds of a token request.", _TOKEN)
        self._deaths = counter(
            "wxmp_token_deaths_total",
            "Times that this process met a token that the platform refused before its end.",
            (*_TOKEN, "code"),
        )
        self._duels = counter(
            "wxmp_token_duels_total", "Times that replacing was paused: another system refreshes this AppID.", _TOKEN
        )
        self._token_events = counter("wxmp_token_events_total", "All state changes of tokens.", (*_TOKEN, "event"))
        self._token_end = newest(
            "wxmp_token_expires_timestamp_seconds", "When the current token ends, in Unix time.", _TOKEN
        )
        self._token_birth = newest(
            "wxmp_token_refreshed_timestamp_seconds", "When this service last fetched a token, in Unix time.", _TOKEN
        )
        # A process that ended while the store was down must not keep this at 0.
        self._store_up = gauge(
            "wxmp_token_store_up", "Whether the token store answered the last time.", _TOKEN, "livemin"
        )
        self._pushes = counter(
            "wxmp_pushes_total", "Pushes and notices that were handled.", (*_ACCOUNT, "kind", "outcome")
        )
        self._push_seconds = histogram("wxmp_push_seconds", "Seconds of a handler.", (*_ACCOUNT, "kind"))
        self._push_answers = counter(
            "wxmp_push_answers_total", "Requests of the platform that were answered.", (*_ACCOUNT, "status")
        )
        self._answer_seconds = histogram(
            "wxmp_push_answer_seconds",
            "Seconds until the answer; the platform hangs up after 5.",
            _ACCOUNT,
            SECONDS_OF_ANSWERS,
        )
        self._late = counter(
            "wxmp_late_answers_total", "Answers that came too late for a connection.", ("appid", "outcome")
        )
        self._pay_events = counter("wxmp_pay_events_total", "State changes of a pay client.", ("mchid", "event"))
        self._running = gauge("wxmp_broadcasts_running", "Bulk sends under way.", ("appid",), "livesum")
        self._broadcasts = counter("wxmp_broadcasts_total", "Bulk sends that have ended.", ("appid", "outcome"))
        self._messages = counter(
            "wxmp_broadcast_messages_total", "Recipients of bulk sends that have ended.", ("appid", "outcome")
        )
        _register(made, REGISTRY if registry is None else registry)
        self._known: set[tuple[object, ...]] = set()
        self._routes: dict[type[Event], Callable[..., None]] = {
            CallStarted: self._started,
            CallRetried: self._retried,
            CallFinished: self._finished,
            TokenEvent: self._token,
            PushFinished: self._pushed,
            PushAnswered: self._answered,
            LateAnswer: lambda event: self._late.labels(event.appid, event.outcome).inc(),
            PayEvent: lambda event: self._pay_events.labels(event.mchid, event.name).inc(),
            BroadcastStarted: self._broadcast_started,
            BroadcastFinished: self._broadcast_finished,
        }

    def __call__(self, event: Event) -> None:
        """Count an event; the hook itself."""
        route = self._routes.get(type(event))
        if route is not None:
            route(event)

    def __repr__(self) -> str:
        return "PrometheusHook()"

    def _is_new(self, *what: object) -> bool:
        """Tell whether this was asked for the first time."""
        new = what not in self._known
        if new:
            self._known.add(what)
        return new

    def _started(self, event: CallStarted) -> None:
        account = (event.service, event.appid, event.mchid)
        self._in_flight.labels(*account).inc()
        call = (*account, self._endpoint(event.endpoint))
        if self._is_new(CallStarted, *call):
            # All of them at once: what failed is the difference.
            self._call_seconds.labels(*call)
            for outcome in FINE:
                self._calls.labels(*call, outcome)
            if event.service == "pay" and self._is_new(PayEvent, event.mchid):
                for name in get_args(PayEventName):
                    self._pay_events.labels(event.mchid, name)

    def _retried(self, event: CallRetried) -> None:
        endpoint = self._endpoint(event.endpoint)
        code = self._code(error_code(event, event.reason))
        self._retries.labels(event.service, event.appid, event.mchid, endpoint, code).inc()

    def _finished(self, event: CallFinished) -> None:
        account = (event.service, event.appid, event.mchid)
        call = (*account, self._endpoint(event.endpoint))
        self._in_flight.labels(*account).dec()
        self._calls.labels(*call, event.outcome).inc()
        self._call_seconds.labels(*call).observe(event.elapsed)
        if event.attempts:
            self._requests.labels(*call).inc(event.attempts)
        if event.waited:
            self._token_wait.labels(*account).observe(event.waited)
        if event.outcome not in FINE:
            self._call_errors.labels(*call, self._code(error_code(event, event.outcome))).inc()

    def _token(self, event: TokenEvent) -> None:
        token = (event.appid, event.channel)
        if self._is_new(TokenEvent, *token):
            self._duels.labels(*token)
            for name in get_args(TokenEventName):
                self._token_events.labels(*token, name)
            for reason in _REASONS:
                self._refreshes.labels(*token, reason)
            for death in _DEAD:
                self._deaths.labels(*token, death)
        self._token_events.labels(*token, event.name).inc()
        if event.name in ("refreshed", "adopted", "seeded") and event.seconds is not None:
            self._token_end.labels(*token).set(time.time() + event.seconds)
        code = str(event.code) if event.code is not None else event.reason
        match event.name:
            case "refreshed":
                self._token_birth.labels(*token).set(time.time())
                self._refreshes.labels(*token, event.reason).inc()
                self._refresh_seconds.labels(*token).observe(event.elapsed or 0.0)
            case "refresh_failed":
                self._refresh_failures.labels(*token, self._code(code)).inc()
            case "dead_reported":
                self._deaths.labels(*token, self._code(code)).inc()
            case "budget_exhausted":
                self._duels.labels(*token).inc()
            case "store_down" | "store_up":
                self._store_up.labels(*token).set(event.name == "store_up")
            case _:
                pass

    def _pushed(self, event: PushFinished) -> None:
        push = (event.service, event.appid, event.mchid, event.kind)
        self._pushes.labels(*push, event.outcome).inc()
        self._push_seconds.labels(*push).observe(event.elapsed)

    def _answered(self, event: PushAnswered) -> None:
        account = (event.service, event.appid, event.mchid)
        if self._is_new(PushAnswered, *account):
            for status in _STATUSES[event.service]:
                self._push_answers.labels(*account, status)
            if event.service == "mp":
                for outcome in _LATE:
                    self._late.labels(event.appid, outcome)
        self._push_answers.labels(*account, "cut" if event.status is None else str(event.status)).inc()
        self._answer_seconds.labels(*account).observe(event.elapsed)

    def _broadcast_started(self, event: BroadcastStarted) -> None:
        self._running.labels(event.appid).inc()
        if self._is_new(BroadcastStarted, event.appid):
            from wxmp.broadcast import Outcome

            for outcome in FINE:
                self._broadcasts.labels(event.appid, outcome)
            for result in Outcome:
                self._messages.labels(event.appid, result.value)

    def _broadcast_finished(self, event: BroadcastFinished) -> None:
        self._running.labels(event.appid).dec()
        self._broadcasts.labels(event.appid, event.outcome).inc()
        for outcome, count in event.outcomes.items():
            self._messages.labels(event.appid, outcome).inc(count)


def _register(metrics: Sequence[Counter | Gauge | Histogram], registry: CollectorRegistry) -> None:
    """Register all of them, or none."""
    for number, metric in enumerate(metrics):
        try:
            registry.register(metric)
        except ValueError:
            for registered in metrics[:number]:
                registry.unregister(registered)
            raise ConfigError(
                "this registry has the metrics already: make one PrometheusHook and pass it everywhere",
                field="registry",
            ) from None
