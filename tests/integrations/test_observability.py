"""A whole service with everything on that watches it, searched for every secret there is."""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

import attrs
import pytest
import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from tests.pay.conftest import pay_settings
from wxmp import Client, ConfigError, Event, RetryPolicy, WxmpError
from wxmp.events import combine
from wxmp.integrations.aiohttp import client_context
from wxmp.integrations.fastapi import ClientDep, pay_route, webhook_route, wxmp_lifespan
from wxmp.integrations.opentelemetry import OpenTelemetryHook
from wxmp.integrations.prometheus import PrometheusHook
from wxmp.pay import Notifications, PayClient, PaymentSucceeded
from wxmp.simulator import Simulator
from wxmp.webhook import TextMessage, Webhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PING = "/cgi-bin/get_api_domain_ip"
TOKEN = "observedCallbackToken"
KEY = base64.b64encode(b"an EncodingAESKey of this test!!"[:32]).decode().rstrip("=")
QUICK = RetryPolicy(attempts=2, initial_wait=0.001, max_wait=0.002)


@attrs.define
class Watched:
    """Everything that left the service by way of its watchers."""

    spans: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    registry: CollectorRegistry = attrs.field(factory=CollectorRegistry)
    events: list[Event] = attrs.field(factory=list)
    records: list[logging.LogRecord] = attrs.field(factory=list)

    def text(self) -> str:
        """All of it, as a curious person reads it."""
        metrics = self.reader.get_metrics_data()
        assert metrics is not None
        formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
        return "\n".join(
            [
                *(span.to_json() for span in self.spans.get_finished_spans()),
                metrics.to_json(),
                generate_latest(self.registry).decode(),
                *map(repr, self.events),
                *(formatter.format(record) for record in self.records),
                *(repr({**vars(record), "exc_info": None}) for record in self.records),
            ]
        )


class Server:
    """A real uvicorn in a thread."""

    def __init__(self, app: FastAPI, sock: socket.socket) -> None:
        self._socket = sock
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [sock]}, daemon=True)
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()

    def get(self, path: str) -> Any:
        with urlopen(f"{self.url}{path}", timeout=20) as answer:
            return json.loads(answer.read())


def application(simulator: Simulator, hook: Any, url: str) -> FastAPI:
    account, merchant = simulator.account, simulator.merchant()
    pay = PayClient(
        **pay_settings(simulator, merchant, on_event=hook, retry=QUICK, certificates="auto", notify_url=f"{url}/pay")
    )
    notices = Notifications(pay, observer=hook)
    webhook = Webhook(token=TOKEN, encoding_aes_key=KEY, appid=account.appid, observer=hook)

    def make_client() -> Client:
        return Client(account.appid, account.secret, base_url=simulator.url, retry=QUICK, on_event=hook, timeout=2)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with pay:
            yield

    app = FastAPI(
        routes=[webhook_route("/wx", webhook), pay_route("/pay", notices)],
        lifespan=wxmp_lifespan(make_client, lifespan=lifespan, webhooks=[webhook, notices]),
    )

    @webhook.on(TextMessage)
    async def answer(message: TextMessage, client: Client) -> str:
        if message.content == "fail":
            raise LookupError("the handler failed")
        user = await client.user.get(message.openid)
        return "hello" if user.subscribe else "who?"

    @notices.on(PaymentSucceeded)
    async def paid(event: PaymentSucceeded) -> None:
        await pay.order.get(out_trade_no=event.resource.out_trade_no)

    async def attempt(client: Client) -> str:
        try:
            await client.request("GET", PING, repeatable=True)
        except WxmpError as error:
            return type(error).__name__
        return "ok"

    @app.get("/session")
    async def session(client: ClientDep) -> list[str]:
        found = [await attempt(client)]
        simulator.kill_token("stable")
        found.append(await attempt(client))
        await client.jssdk.sign("https://shop.example/?a=1")
        for fault in ("status", "not_json", "reset_after", "busy"):
            simulator.fault(fault, PING, status=502)
            found.append(await attempt(client))
            simulator.clear_faults()
        simulator.fault("errcode", PING, errcode=40001)
        found.append(await attempt(client))
        simulator.clear_faults()
        simulator.world.advance(60)
        try:
            await client.refresh_token()
        except WxmpError as error:
            found.append(type(error).__name__)
        return found

    @app.get("/order")
    async def order() -> dict[str, str]:
        with suppress(WxmpError):
            await pay.order.get(out_trade_no="N0000000")
        placed = await pay.order.native("A1234567", description="tea", total_fen=100)
        return {"code_url": placed.code_url}

    return app


def run_session(watched: Watched, *, instrumented: bool) -> tuple[str, set[str]]:
    """Run everything; return what was seen, and every secret that took part."""
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(watched.spans))
    hook = combine(
        OpenTelemetryHook(tracers, MeterProvider([watched.reader])),
        PrometheusHook(watched.registry),
        watched.events.append,
    )
    instrumentor = HTTPXClientInstrumentor()
    if instrumented:
        instrumentor.instrument(tracer_provider=tracers)
    handler = logging.Handler()
    handler.emit = watched.records.append  # type: ignore[method-assign]
    logger, before = logging.getLogger("wxmp"), logging.getLogger("wxmp").level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    sock = socket.create_server(("127.0.0.1", 0))
    try:
        with Simulator(seed=1) as simulator:
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            with Server(application(simulator, hook, url), sock) as server:
                simulator.set_callback(f"{url}/wx", token=TOKEN, encoding_aes_key=KEY)
                phone = simulator.phone()
                phone.follow()
                phone.say("hello")
                phone.say("fail")
                outcomes = server.get("/session")
                assert outcomes[:2] == ["ok", "ok"]
                assert len(set(outcomes)) > 3
                assert phone.pay(server.get("/order")["code_url"])
                assert simulator.wait_until_settled()
            secrets = secrets_of(simulator)
            return watched.text(), secrets
    finally:
        sock.close()
        logger.removeHandler(handler)
        logger.setLevel(before)
        if instrumented:
            instrumentor.uninstrument()


def secrets_of(simulator: Simulator) -> set[str]:
    account, merchant = simulator.account, simulator.merchant()
    tokens = account.tokens
    found = {account.secret, TOKEN, KEY, merchant.api_v3_key}
    found |= {token.text for token in (tokens.values() if isinstance(tokens, dict) else tokens)}
    found |= {ticket for ticket, _ in account.tickets.values()}
    found |= {line for line in merchant.private_key.splitlines() if len(line) == 64}
    assert len(found) > 20
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "with httpx instrumented"])
def seen(request: pytest.FixtureRequest) -> tuple[Watched, str, set[str]]:
    watched = Watched()
    text, secrets = run_session(watched, instrumented=request.param)
    return watched, text, secrets


def test_no_secret_is_seen(seen: tuple[Watched, str, set[str]]) -> None:
    """No span, attribute, metric, event or log record of a service holds a credential, nor a part of one."""
    _, text, secrets = seen
    assert PING in text
    assert "wechat.rid" in text
    found = {secret[:6] for secret in secrets for piece in (secret, secret[-24:]) if len(piece) > 8 and piece in text}
    assert found == set()


def test_no_user_is_seen(seen: tuple[Watched, str, set[str]]) -> None:
    """No openid, no order number and no text of a user is in a span, a metric or an event."""
    watched, _, _ = seen
    told = [span.to_json() for span in watched.spans.get_finished_spans() if span.instrumentation_scope.name == "wxmp"]  # type: ignore[union-attr]
    text = "\n".join([*told, generate_latest(watched.registry).decode(), *map(repr, watched.events)])
    assert "process TextMessage" in text
    assert "A1234567" not in text
    assert "openid" not in text.lower().replace("openid}", "")


def test_everything_was_watched(seen: tuple[Watched, str, set[str]]) -> None:
    """The session had all kinds of events, and every span of ours has ended and says how."""
    watched, _, _ = seen
    kinds = {type(event).__name__ for event in watched.events}
    assert kinds >= {
        *("CallStarted", "CallRetried", "CallFinished", "TokenEvent", "PushStarted", "PushFinished", "PushAnswered"),
        "PayEvent",
    }
    started = [event for event in watched.events if type(event).__name__ in ("CallStarted", "PushStarted")]
    ended = [event for event in watched.events if type(event).__name__ in ("CallFinished", "PushFinished")]
    assert len(started) == len(ended)
    ours = [span for span in watched.spans.get_finished_spans() if (span.attributes or {}).get("wechat.outcome")]
    assert len(ours) == len(started)


async def test_the_hook_of_a_lifespan() -> None:
    """``on_event`` goes to the client that is made from the environment; with a factory it has no place to go."""
    with pytest.raises(ConfigError, match="make_client"):
        wxmp_lifespan(lambda: Client("wx1", "s"), on_event=print)
    with pytest.raises(ConfigError, match="make_client"):
        client_context(lambda: Client("wx1", "s"), on_event=print)
    app = FastAPI()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WXMP_APPID", "wx0123456789abcdef")
        patch.setenv("WXMP_SECRET", "s3cret")
        async with wxmp_lifespan(on_event=print)(app) as state:
            assert state["wxmp_client"]._on_event is not None
