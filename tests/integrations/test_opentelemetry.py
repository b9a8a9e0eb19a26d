"""Spans and metrics of OpenTelemetry: what nests, what fails, what ends, and what they never hold."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.integrations.platform import Account
from tests.raw_server import RawServer
from wxmp import APIError, BroadcastFinished, BroadcastStarted, CallFinished, CallStarted, Client, RetryPolicy
from wxmp.events import combine
from wxmp.integrations._labels import MOST_ENDPOINTS
from wxmp.integrations.opentelemetry import OpenTelemetryHook
from wxmp.simulator import Simulator
from wxmp.webhook import TextMessage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

PING = "/cgi-bin/get_api_domain_ip"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 4096
MEDIA = "GET /cgi-bin/media/get"
QUICK = RetryPolicy(attempts=3, initial_wait=0.001, max_wait=0.002)


class Told:
    """Everything that one hook exports."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.meters = MeterProvider([self._metrics])
        self.hook = OpenTelemetryHook(self.tracers, self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def metrics(self) -> dict[str, list[dict[str, Any]]]:
        data = self._metrics.get_metrics_data()
        found: dict[str, list[dict[str, Any]]] = {}
        if data is not None:
            for resource in json.loads(data.to_json())["resource_metrics"]:
                for scope in resource["scope_metrics"]:
                    for metric in scope["metrics"]:
                        found[metric["name"]] = metric["data"]["data_points"]
        return found


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    yield running
    running.clear_faults()


@pytest.fixture(autouse=True)
def nothing_stays_current() -> Iterator[None]:
    """After each test the context is what it was before."""
    before = trace.get_current_span()
    yield
    assert trace.get_current_span() is before


def make(simulator: Simulator, told: Told, **options: Any) -> Client:
    account = simulator.account
    return Client(
        account.appid, account.secret, base_url=simulator.url, on_event=told.hook, **{"retry": QUICK, **options}
    )


async def test_a_call_is_a_client_span(simulator: Simulator, told: Told) -> None:
    """Named by its endpoint, with the conventional attributes and our own, inside of the caller's span."""
    tracer = told.tracers.get_tracer("test")
    async with make(simulator, told) as client:
        with tracer.start_as_current_span("mine") as mine:
            await client.request("GET", PING, params={"lang": "zh_CN"})
            assert trace.get_current_span() is mine
    span = told.span(f"GET {PING}")
    assert span.kind is trace.SpanKind.CLIENT
    assert span.parent is not None
    assert span.parent.span_id == mine.get_span_context().span_id
    assert span.attributes is not None
    assert (
        dict(span.attributes).items()
        >= {
            "http.request.method": "GET",
            "url.template": PING,
            "server.address": "127.0.0.1",
            "server.port": simulator.port,
            "wechat.appid": simulator.account.appid,
            "wechat.outcome": "ok",
            "wechat.attempts": 1,
        }.items()
    )
    assert span.status.status_code is trace.StatusCode.UNSET
    assert told.span("POST /cgi-bin/stable_token").parent is None  # it serves everybody


async def test_an_instrumented_http_client_nests_below(simulator: Simulator, told: Told) -> None:
    """The spans of httpx are children of ours: one for each request of the call."""
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=told.tracers)
    simulator.fault("errcode", PING, errcode=-1, times=1)
    try:
        async with make(simulator, told) as client:
            await client.request("GET", PING, repeatable=True)
    finally:
        instrumentor.uninstrument()
    ours = told.span(f"GET {PING}")
    assert ours.context is not None
    below = [span for span in told.spans if span.parent is not None and span.parent.span_id == ours.context.span_id]
    assert [span.name for span in below] == ["GET", "GET"]


async def test_failures_and_retries(simulator: Simulator, told: Told) -> None:
    """A failed call has the status ERROR, errcode and rid; each retry is an event of its span."""
    simulator.fault("errcode", PING, errcode=-1)
    async with make(simulator, told) as client:
        with pytest.raises(APIError) as caught:
            await client.request("GET", PING, repeatable=True)
    span = told.span(f"GET {PING}")
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "BusyError"
    assert span.attributes["wechat.errcode"] == -1
    assert span.attributes["wechat.rid"] == caught.value.rid
    assert span.attributes["http.request.resend_count"] == 2
    assert [event.name for event in span.events] == ["wxmp.retry"] * 2
    points = told.metrics()
    assert sum(point["value"] for point in points["wxmp.call.retries"]) == 2
    (errors,) = points["wxmp.call.errors"]
    assert errors["attributes"]["wechat.code"] == "-1"


async def test_a_cancelled_call_ends_its_span(simulator: Simulator, told: Told) -> None:
    """Cancellation ends the span without an error, and gives the context back."""
    simulator.fault("hang", PING)
    async with make(simulator, told) as client:
        await client.token()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.request("GET", PING)
    span = told.span(f"GET {PING}")
    assert span.attributes is not None
    assert span.attributes["wechat.outcome"] == "cancelled"
    assert span.status.status_code is trace.StatusCode.UNSET
    assert told.hook._open == {}


async def test_streams_give_the_context_back(simulator: Simulator, told: Told) -> None:
    """While a stream is read its span is open and not current, also when its reader is an abandoned generator."""
    async with make(simulator, told) as client:
        media = await client.media.upload(PNG, type="image", filename="a.png")

        async def pieces() -> AsyncGenerator[bytes, None]:
            async with client.media.stream(media.media_id) as file:
                async for piece in file:
                    yield piece

        before = trace.get_current_span()
        reader = pieces()
        assert await anext(reader)
        assert trace.get_current_span() is before
        assert [span.name for span in told.spans if span.name == MEDIA] == []
        # Another task ends it: another context.
        await asyncio.create_task(reader.aclose())
        assert told.span(MEDIA).attributes is not None
        abandoned = pieces()
        assert await anext(abandoned)
        del abandoned
        gc.collect()
        await asyncio.sleep(0.01)
    assert [span.name for span in told.spans].count(MEDIA) == 2
    assert told.hook._open == {}


def test_an_end_in_another_context(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine that was thrown away is closed in any context: its span ends, and nothing is said in the log."""
    contextvars.copy_context().run(told.hook, CallStarted(appid="wx1", call=1, endpoint="GET /x"))
    told.hook(CallFinished(appid="wx1", call=1, endpoint="GET /x", outcome="cancelled", elapsed=0.1, attempts=1))
    assert told.span("GET /x").attributes is not None
    assert told.hook._open == {}
    assert caplog.records == []


async def test_a_push_is_a_consumer_span(simulator: Simulator, told: Told) -> None:
    """The span of a push is below that of the request, the calls of its handler below it; a failure is an ERROR."""
    account = Account(appid=simulator.account.appid)
    hook = account.hook(observer=told.hook)
    async with make(simulator, told) as client:

        @hook.on(TextMessage)
        async def ask(message: TextMessage) -> str:
            if message.content == "fail":
                raise LookupError
            await client.request("GET", PING)
            return "asked"

        tracer = told.tracers.get_tracer("test")
        async with hook:
            for text in ("hello", "fail"):
                push = account.say(text)
                with tracer.start_as_current_span(f"request {text}"):
                    await hook.answer("POST", push.query.encode(), push.body)
    good, bad = (span for span in told.spans if span.name == "process TextMessage")
    assert good.kind is trace.SpanKind.CONSUMER
    assert good.parent == told.span("request hello").context
    assert told.span(f"GET {PING}").parent == good.context
    assert good.status.status_code is trace.StatusCode.UNSET
    assert bad.status.status_code is trace.StatusCode.ERROR
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "LookupError"
    assert {point["attributes"]["wechat.outcome"] for point in told.metrics()["wxmp.push.duration"]} == {
        "ok",
        "LookupError",
    }


async def test_metrics_of_tokens(simulator: Simulator, told: Told) -> None:
    """Refreshes, deaths and waits are counted with their reasons."""
    async with make(simulator, told) as client:
        await client.token()
        simulator.kill_token("stable")
        await client.request("GET", PING)
    points = told.metrics()
    events = {
        (point["attributes"]["wechat.event"], point["attributes"].get("wechat.reason")): point["value"]
        for point in points["wxmp.token.events"]
    }
    assert events[("refreshed", "due")] == 1
    assert events[("refreshed", "dead")] == 1
    assert events[("dead_reported", None)] == 1
    assert points["wxmp.token.refresh.duration"][0]["count"] == 2
    assert points["wxmp.call.duration"][0]["explicit_bounds"][0] == 0.005


def test_endpoints_are_bounded(told: Told) -> None:
    """Paths that somebody makes up do not make endless series: what is too much is counted together."""
    for number in range(MOST_ENDPOINTS + 50):
        endpoint = f"GET /made/up/{number}"
        told.hook(CallStarted(appid="wx1", call=number, endpoint=endpoint))
        told.hook(CallFinished(appid="wx1", call=number, endpoint=endpoint, outcome="ok", elapsed=0.1, attempts=1))
    points = told.metrics()["wxmp.call.duration"]
    assert len(points) == MOST_ENDPOINTS + 1
    (rest,) = (point for point in points if point["attributes"]["wechat.endpoint"] == "other")
    assert rest["count"] == 50


async def test_without_an_sdk_nothing_happens(simulator: Simulator) -> None:
    """With the API alone the hook does nothing, and harms nothing."""
    account = simulator.account
    hook = OpenTelemetryHook()
    async with Client(account.appid, account.secret, base_url=simulator.url, on_event=hook) as client:
        await client.request("GET", PING)
    assert hook._open == {}


@pytest.mark.parametrize("instrumented", [False, True])
async def test_who_sends_a_traceparent(told: Told, instrumented: bool) -> None:
    """We tell WeChat nothing of our traces; the instrumentation of httpx sends its header there as anywhere."""
    instrumentor = HTTPXClientInstrumentor()
    if instrumented:
        instrumentor.instrument(tracer_provider=told.tracers)
    try:
        async with RawServer(lambda exchange: exchange.reply(b'{"access_token": "T-1", "expires_in": 7200}')) as server:
            async with Client("wx0123456789abcdef", "s3cret", base_url=server.url, on_event=told.hook) as client:
                await client.request("GET", PING)
            sent = {exchange.header("traceparent") is not None for exchange in server.exchanges}
    finally:
        if instrumented:
            instrumentor.uninstrument()
    assert sent == {instrumented}


@pytest.mark.parametrize("sdk", [True, False])
@pytest.mark.parametrize("copied", [True, False])
def test_an_end_elsewhere_is_quiet(told: Told, caplog: pytest.LogCaptureFixture, sdk: bool, copied: bool) -> None:
    """A call may end in a copy of its context, or in one that has no span at all: with an SDK or not, no traceback."""
    hook = told.hook if sdk else OpenTelemetryHook()
    start = CallStarted(appid="wx1", call=1, endpoint="GET /x")
    end = CallFinished(appid="wx1", call=1, endpoint="GET /x", outcome="cancelled", elapsed=0.1, attempts=1)

    def run() -> None:
        hook(start)
        contextvars.copy_context().run(hook, end)

    if copied:
        contextvars.Context().run(run)
    else:
        contextvars.Context().run(hook, start)
        hook(end)
    assert hook._open == {}
    assert caplog.records == []


def test_two_hooks_give_the_context_back(told: Told) -> None:
    """Two of them, for two backends, nest like two context managers: nothing stays current after a call."""
    other = Told()
    both = combine(told.hook, other.hook)

    def run() -> None:
        for number in range(2):
            both(CallStarted(appid="wx1", call=number, endpoint="GET /x"))
            both(CallFinished(appid="wx1", call=number, endpoint="GET /x", outcome="ok", elapsed=0.1, attempts=1))
        assert trace.get_current_span() is trace.INVALID_SPAN

    contextvars.Context().run(run)
    assert len(told.spans) == len(other.spans) == 2
    assert [span.parent for span in told.spans] == [None, None]


def test_the_scope_has_our_version(told: Told) -> None:
    """Whoever reads a span knows which release has made it."""
    told.hook(CallStarted(appid="wx1", call=1, endpoint="GET /x"))
    told.hook(CallFinished(appid="wx1", call=1, endpoint="GET /x", outcome="ok", elapsed=0.1, attempts=1))
    scope = told.span("GET /x").instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("wxmp", version("wxmp-sdk"))


def test_bulk_sends_under_way(told: Told) -> None:
    """A run that hangs is seen: it has begun, and has not ended."""
    told.hook(BroadcastStarted(appid="wx1", run="autumn"))
    told.hook(BroadcastStarted(appid="wx1", run="winter"))
    told.hook(BroadcastFinished(appid="wx1", run="autumn", outcome="ok", outcomes={"accepted": 2}, elapsed=1.0))
    (running,) = told.metrics()["wxmp.broadcasts.running"]
    assert (running["value"], running["attributes"]) == (1, {"wechat.appid": "wx1"})
