"""A whole session at DEBUG, searched for every secret and every token."""

from __future__ import annotations

import asyncio
import io
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.redis_server import RedisServer
from wxmp import Client, FileTokenStore, MemoryTokenStore, RedisTokenStore, RetryPolicy, TokenStore, WxmpError
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

PING = "/cgi-bin/get_api_domain_ip"


class Evidence:
    """Everything that a curious person could read."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.handler = logging.StreamHandler(self.text)
        self.handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))

    def add(self, thing: object) -> None:
        self.text.write(f"\n{thing!r}\n{thing!s}\n")

    def add_error(self, error: BaseException) -> None:
        self.add(error)
        self.text.write("".join(traceback.format_exception(error)))
        # What Sentry and debuggers do: the repr of every local variable of every frame.
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        self.text.write("".join(told.format()))
        self.text.write(repr(vars(error)))
        self.text.write(pickle.dumps(error).decode("latin-1"))


@pytest.fixture
def evidence() -> Iterator[Evidence]:
    collected = Evidence()
    root = logging.getLogger()
    before = root.level
    root.addHandler(collected.handler)
    root.setLevel(logging.DEBUG)
    yield collected
    root.setLevel(before)
    root.removeHandler(collected.handler)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as running:
        yield running


def all_secrets(simulator: Simulator, *more: str) -> set[str]:
    """Every credential that took part."""
    account = simulator.account
    found = {account.secret, "wrong-secret-of-this-test", *more}
    tokens = account.tokens
    found |= {token.text for token in (tokens.values() if isinstance(tokens, dict) else tokens)}
    found |= {ticket for ticket, _ in account.tickets.values()}
    assert len(found) > 5
    return found


async def session(simulator: Simulator, evidence: Evidence, **options: Any) -> None:
    """Success, dead token, 4xx, 5xx, refused, timeout, bad JSON, wrong secret: with everything kept as evidence."""
    account = simulator.account
    options = {"base_url": simulator.url, "retry": RetryPolicy(attempts=2, initial_wait=0.01), **options}

    async def attempt(client: Client, path: str = PING) -> None:
        try:
            evidence.add(await client.request("GET", path, repeatable=True))
        except WxmpError as error:
            evidence.add_error(error)

    async with Client(account.appid, account.secret, timeout=1.0, on_event=evidence.add, **options) as client:
        await attempt(client)
        simulator.kill_token("stable")
        await attempt(client)
        evidence.add(await client.jssdk.sign("https://shop.example/?a=1"))
        for fault in ("status", "truncated", "not_json", "reset_before", "reset_after", "redirect", "hang", "busy"):
            simulator.fault(fault, PING, status=404 if fault == "status" else 502, location="https://evil.example/")  # type: ignore[arg-type]
            await attempt(client)
            simulator.clear_faults()
        simulator.fault("errcode", PING, errcode=40001)
        await attempt(client)
        simulator.clear_faults()
        await attempt(client, "/cgi-bin/nowhere")
        try:
            await client.refresh_token()
        except WxmpError as error:
            evidence.add_error(error)
        evidence.add(client)
        evidence.add(client.token_status())
        evidence.add(vars(client))
        evidence.add(vars(client._keeper))
        evidence.add(vars(client._keeper._state))
        evidence.add(client._caller)
        evidence.add(vars(client._caller))
    wrong = {**options, "token_store": MemoryTokenStore()}
    async with Client(account.appid, "wrong-secret-of-this-test", **wrong) as client:
        await attempt(client)
    async with Client(account.appid, account.secret, **{**wrong, "base_url": "http://127.0.0.1:9"}) as client:
        try:
            async with asyncio.timeout(3):
                await attempt(client)
        except TimeoutError as error:
            evidence.add_error(error)


def search(evidence: Evidence, secrets: set[str]) -> None:
    text = evidence.text.getvalue()
    assert len(text) > 20_000
    assert PING in text
    # A part of a token is a token to whoever can guess the rest.
    found = {secret[:6] + "..." for secret in secrets for piece in (secret, secret[-24:]) if piece in text}
    assert found == set()


@pytest.mark.parametrize("kind", ["own", "httpx", "httpx2"])
async def test_nothing_is_found(simulator: Simulator, evidence: Evidence, kind: str) -> None:
    """No log record at DEBUG, repr, traceback with locals, or pickle of a whole session holds a credential."""
    makers: dict[str, Callable[[], Any]] = {
        "own": lambda: None,
        "httpx": httpx.AsyncClient,
        "httpx2": httpx2.AsyncClient,
    }
    user_client = makers[kind]()
    await session(simulator, evidence, http_client=user_client)
    if user_client is not None:
        await user_client.aclose()
    search(evidence, all_secrets(simulator))


@pytest.fixture(params=["file", "redis"])
async def shared(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[TokenStore, Callable[[], list[str]]]]:
    """A store, and what tells the names under which it has kept something."""
    if request.param == "file":
        yield FileTokenStore(tmp_path / "tokens"), lambda: [str(path) for path in tmp_path.rglob("*.json")]
    else:
        with RedisServer(password="the-redis-password") as server:
            made = RedisTokenStore(server.url, timeout=10)
            yield made, lambda: server.command("KEYS", "*")
            await made.aclose()


async def test_nothing_is_found_with_a_shared_store(
    simulator: Simulator, evidence: Evidence, shared: tuple[TokenStore, Callable[[], list[str]]]
) -> None:
    """A shared store gives nothing away either: no token in its repr, no password, no secret in keys or file names."""
    store, names = shared
    await session(simulator, evidence, token_store=store)
    evidence.add(store)
    evidence.add(vars(store))
    kept = names()
    assert kept
    evidence.add(kept)
    search(evidence, all_secrets(simulator, "the-redis-password"))


async def test_refused_redis_does_not_show_its_password(simulator: Simulator, evidence: Evidence) -> None:
    """The error of a Redis that cannot be reached does not hold the password of its URL."""
    store = RedisTokenStore("redis://user:the-redis-password@127.0.0.1:9/0")
    async with Client(
        simulator.account.appid, "s3cret-s3cret", base_url=simulator.url, token_channel="plain", token_store=store
    ) as client:
        with pytest.raises(WxmpError) as caught:
            await client.token()
        evidence.add_error(caught.value)
        assert caught.value.__cause__ is not None
        evidence.add_error(caught.value.__cause__)
        evidence.add(store)
    assert "the-redis-password" not in evidence.text.getvalue()
    await store.aclose()


@pytest.mark.parametrize("how", ["client before", "client after", "everything"])
async def test_spans_hold_no_credential(simulator: Simulator, how: str) -> None:
    """OpenTelemetry spans of an instrumented client, and of all clients at once, hold no token."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = HTTPXClientInstrumentor()
    user_client = httpx.AsyncClient() if how != "everything" else None
    if how == "everything":
        instrumentor.instrument(tracer_provider=provider)
    elif how == "client before" and user_client is not None:
        HTTPXClientInstrumentor.instrument_client(user_client, tracer_provider=provider)
    try:
        async with Client(
            simulator.account.appid,
            simulator.account.secret,
            base_url=simulator.url,
            token_channel="plain",
            http_client=user_client,
        ) as client:
            if how == "client after" and user_client is not None:
                HTTPXClientInstrumentor.instrument_client(user_client, tracer_provider=provider)
            await client.request("GET", PING)
            token = await client.token()
    finally:
        if how == "everything":
            instrumentor.uninstrument()
        if user_client is not None:
            await user_client.aclose()
    spans = exporter.get_finished_spans()
    told = "".join(span.to_json() for span in spans)
    assert PING in told
    assert token not in told
    assert simulator.account.secret not in told
