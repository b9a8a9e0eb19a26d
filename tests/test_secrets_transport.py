"""Credentials leave the process through the socket and through nothing else."""

from __future__ import annotations

import asyncio
import copy
import gc
import io
import json
import logging
import pickle
import socket
import traceback
import types
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
import respx
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.raw_server import Exchange, RawServer
from wxmp import _user_client
from wxmp._redact import Secret
from wxmp._request import Credentials, FilePart, WireRequest
from wxmp._transport import Transport
from wxmp.errors import WxmpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.timeout(60)

TOKEN = "99_FAKE" + "SeCrEtToKeN" * 12
APPSECRET = "fa4e5ec2e7" * 4
OPENID = "oFAKE_openid_0123456789"
WITH_TOKEN = Credentials({"access_token": Secret(TOKEN)})
WITH_SECRET = Credentials(json={"appid": "wx0", "secret": Secret(APPSECRET)})
CALLS = [
    WireRequest("GET", "/cgi-bin/user/info", params={"openid": OPENID}, credentials=WITH_TOKEN),
    WireRequest("POST", "/cgi-bin/tags/create", content=b'{"tag":{}}', credentials=WITH_TOKEN),
    WireRequest("POST", "/cgi-bin/stable_token", content=b'{"grant_type":"c"}', credentials=WITH_SECRET),
    WireRequest("POST", "/cgi-bin/media/upload", files=[FilePart("media", "a", b"x")], credentials=WITH_TOKEN),
]


def hits(text: str) -> list[str]:
    """Return which secrets ``text`` shows."""
    return [name for name, secret in (("token", TOKEN), ("secret", APPSECRET)) if secret in text]


def hits_in_bytes(data: bytes) -> list[str]:
    return hits(data.decode("latin-1"))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that anybody logs, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


# What can happen to a call


async def ok(exchange: Exchange) -> None:
    await exchange.reply(b'{"errcode":0}')


async def dead_token(exchange: Exchange) -> None:
    await exchange.reply(b'{"errcode":40001,"errmsg":"invalid credential"}')


async def not_found(exchange: Exchange) -> None:
    await exchange.reply(b"<html>", "404 Not Found")


async def server_error(exchange: Exchange) -> None:
    await exchange.reply(b"<html>", "500 Internal Server Error")


async def bad_json(exchange: Exchange) -> None:
    await exchange.reply(b"{")


async def echoing_redirect(exchange: Exchange) -> None:
    """What a server does that forces https: it repeats the whole query in a header."""
    await exchange.reply(b"", "302 Found", f"Location: http://localhost:1{exchange.target}\r\n")


async def echoing_nonsense(exchange: Exchange) -> None:
    await exchange.raw(f"{exchange.target}\r\n\r\n".encode())
    exchange.close()


async def cut(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")
    exchange.close()


async def too_large(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")


async def hang(exchange: Exchange) -> None:
    await exchange.outlast(4)


OUTCOMES = [ok, dead_token, not_found, server_error, bad_json, echoing_redirect, cut, too_large, hang]


@asynccontextmanager
async def client_of(kind: str) -> AsyncIterator[Any]:
    """No client (ours is used then), or a user's one that keeps what its hooks are shown."""
    if kind == "own":
        yield None
        return
    kept: list[Any] = []

    async def keep(shown: Any) -> None:
        kept.append(shown)
        assert not hits(f"{shown!r} {vars(shown)!r}")

    library = {"httpx": httpx, "httpx2": httpx2}[kind]
    async with library.AsyncClient(event_hooks={"request": [keep], "response": [keep]}, verify=False) as client:
        client.kept = kept
        yield client


async def fail_or_not(transport: Transport, request: WireRequest, *, streaming: bool = False) -> BaseException | None:
    try:
        if not streaming:
            await transport.send(request)
            return None
        async with transport.stream(request) as reply:
            assert not hits(repr(vars(reply)))
            async for _ in reply.aiter_bytes():
                pass
    except BaseException as error:
        return error
    return None


def shown_by(error: BaseException) -> str:
    """Everything a log, a crash report or an error tracker could show of an error, locals of all frames included."""
    texts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        pending += [current.__cause__, current.__context__]
        texts += traceback.format_exception(current)
        texts += traceback.TracebackException.from_exception(current, capture_locals=True).format()
    return "\n".join(texts)


def reachable(*roots: object) -> str:
    """Return the texts that can be reached from ``roots``, through any attribute."""
    texts: list[str] = []
    seen: set[int] = set()
    pending: list[object] = list(roots)
    skipped = (type, types.ModuleType, types.FunctionType, types.FrameType, types.CodeType, asyncio.AbstractEventLoop)
    while pending:
        item = pending.pop()
        if id(item) in seen or isinstance(item, skipped):
            continue
        seen.add(id(item))
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, bytes | bytearray):
            texts.append(bytes(item).decode("latin-1"))
        else:
            pending += gc.get_referents(item)
    return "\n".join(texts)


@pytest.mark.parametrize("kind", ["own", "httpx", "httpx2"])
@pytest.mark.parametrize("request_", CALLS, ids=lambda request: request.path)
@pytest.mark.parametrize("outcome", [*OUTCOMES, echoing_nonsense], ids=lambda outcome: outcome.__name__)
async def test_no_outcome_shows_a_secret(log, kind, request_, outcome) -> None:
    """Whatever happens to a call, its log lines, its error and what hooks have kept hold no credential."""
    async with RawServer(outcome) as server, client_of(kind) as client:
        transport = Transport(base_url=server.url, timeout=4, http_client=client)
        error = await fail_or_not(transport, request_)
        if outcome in (ok, dead_token, not_found, server_error, bad_json, echoing_redirect):
            assert error is None
        else:
            assert isinstance(error, WxmpError)
            assert not hits(shown_by(error))
            assert not hits_in_bytes(pickle.dumps(error))
        sent = [exchange.target + exchange.body.decode() for exchange in server.exchanges]
        assert hits(sent[0]), "this test shows nothing if the secret was not sent"
        assert not hits(repr([transport, request_, vars(transport)]))
        if kind == "own":
            assert not hits(log.getvalue())
        else:
            # What the server repeats in a header is logged at DEBUG by the user's transports; ours overwrites it.
            if outcome not in (echoing_redirect, echoing_nonsense):
                assert not hits(log.getvalue())
            assert not hits(reachable(*client.kept))
            assert len(client.kept) >= 1
        await transport.aclose()


@pytest.mark.parametrize("kind", ["own", "httpx", "httpx2"])
@pytest.mark.parametrize("request_", CALLS, ids=lambda request: request.path)
async def test_a_refused_connection_shows_no_secret(log, kind, request_) -> None:
    """Nor does a call that never reached anybody."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    async with client_of(kind) as client:
        transport = Transport(base_url=f"http://127.0.0.1:{port}", http_client=client)
        error = await fail_or_not(transport, request_)
        assert isinstance(error, WxmpError)
        assert not hits(shown_by(error))
        assert not hits_in_bytes(pickle.dumps(error))
        await transport.aclose()
    assert not hits(log.getvalue())


@pytest.mark.parametrize("kind", ["own", "httpx", "httpx2"])
@pytest.mark.parametrize("request_", CALLS, ids=lambda request: request.path)
async def test_a_cancelled_call_shows_no_secret(log, kind, request_) -> None:
    """The traceback of a cancellation holds no frame that knows the request as bytes."""
    async with RawServer(lambda exchange: exchange.hang()) as server, client_of(kind) as client:
        transport = Transport(base_url=server.url, http_client=client)
        call = asyncio.create_task(fail_or_not(transport, request_))
        while not server.exchanges:
            await asyncio.sleep(0.001)
        call.cancel()
        error = await call
        assert isinstance(error, asyncio.CancelledError)
        assert not hits(shown_by(error))
        # The frames of h11 hold the request line while it is written; so no frame below ours may be there at all.
        files = {Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)}
        assert files == {"test_secrets_transport.py", "_transport.py"}
        assert error.__context__ is None
        await transport.aclose()
    assert not hits(log.getvalue())


@pytest.mark.parametrize("kind", ["own", "httpx", "httpx2"])
async def test_a_stream_shows_no_secret(log, kind) -> None:
    """Downloads keep the same rules, complete, cut and left early."""
    async with client_of(kind) as client:
        for outcome in (ok, cut, hang):
            async with RawServer(outcome) as server:
                transport = Transport(base_url=server.url, timeout=4, http_client=client)
                error = await fail_or_not(transport, CALLS[0], streaming=True)
                assert (error is None) is (outcome is ok)
                assert error is None or (isinstance(error, WxmpError) and not hits(shown_by(error)))
                assert hits(server.lines[0])
                await transport.aclose()
    assert not hits(log.getvalue())


async def test_personal_data_stays_out_of_the_log(log) -> None:
    """Httpx's line at INFO names the endpoint and nothing of the query: an openid is personal data."""
    async with RawServer() as server:
        transport = Transport(base_url=server.url)
        await transport.send(CALLS[0])
        await transport.aclose()
    assert "HTTP Request: GET" in log.getvalue()
    assert "/cgi-bin/user/info" in log.getvalue()
    assert OPENID not in log.getvalue()


async def test_answers_are_not_logged(log) -> None:
    """The answer to a token request is a token."""
    async with RawServer(lambda exchange: exchange.reply(json.dumps({"access_token": TOKEN}).encode())) as server:
        transport = Transport(base_url=server.url)
        reply = await transport.send(CALLS[2])
        assert hits(reply.content.decode())
        assert not hits(repr(reply))
        await transport.aclose()
    assert not hits(log.getvalue())


async def test_debug_mode_of_asyncio_shows_no_secret(log) -> None:
    """Asyncio in debug mode logs tasks, handles and sockets."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    async with RawServer() as server:
        transport = Transport(base_url=server.url)
        await asyncio.gather(*(transport.send(call) for call in CALLS))
        await transport.aclose()
    assert "asyncio" in log.getvalue()
    assert not hits(log.getvalue())


def test_requests_and_credentials_are_not_pickled() -> None:
    """A pickle is a file that somebody else reads."""
    for value in (WITH_TOKEN, WITH_SECRET, *CALLS):
        with pytest.raises(TypeError):
            pickle.dumps(value)


def test_no_repr_shows_a_value() -> None:
    """Names yes, values no; contents and query parameters neither."""
    shown = repr([WITH_TOKEN, WITH_SECRET, *CALLS, *(part for call in CALLS for part in call.files or ())])
    assert not hits(shown)
    assert OPENID not in shown
    assert "access_token" in shown


def test_the_true_address_prints_without_its_query() -> None:
    """The objects that carry the query to the wire hide it from whoever prints, compares, copies or pickles them."""
    for library in (httpx, httpx2):
        clean = library.URL("https://api.weixin.qq.com/cgi-bin/user/info")
        sealed = _user_client._sealed_class(library.URL)(clean, Secret(f"/cgi-bin/user/info?access_token={TOKEN}"))
        assert sealed.raw_path == f"/cgi-bin/user/info?access_token={TOKEN}".encode()
        assert sealed.query == f"access_token={TOKEN}".encode()
        assert sealed.params["access_token"] == TOKEN
        copies = [library.URL(sealed), sealed.copy_with(path="/x"), sealed.join("/y"), library.URL(str(sealed))]
        assert not hits(f"{sealed} {sealed!r} {vars(sealed)} {copies} {[str(one) for one in copies]}")
        assert not hits(repr([one.raw_path for one in copies]))
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(sealed)
        sealed.seal()
        assert not hits_in_bytes(sealed.raw_path + sealed.query)
        assert not hits(reachable(sealed))


@respx.mock
async def test_respx_and_an_error_of_a_transport_that_repeats_the_address() -> None:
    """A foreign error text that names the whole URL is cleaned."""

    def complain(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"failed for {request.url} and again '{request.url}'")

    respx.get(path="/cgi-bin/user/info").mock(side_effect=complain)
    transport = Transport(base_url="https://api.weixin.qq.com")
    error = await fail_or_not(transport, CALLS[0])
    assert "failed for https://api.weixin.qq.com/cgi-bin/user/info?***" in str(error)
    assert not hits(shown_by(error))
    assert OPENID not in shown_by(error)
    await transport.aclose()


async def test_an_unknown_error_that_shows_a_secret_is_replaced() -> None:
    """An error of the user's code comes out as it is, unless it repeats the credentials."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise ValueError(f"cannot parse {request.url.query!r}")

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        error = await fail_or_not(transport, CALLS[0])
        assert isinstance(error, WxmpError)
        assert "ValueError" in str(error)
        assert not hits(shown_by(error))
        await transport.aclose()


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_request_that_a_transport_keeps_forgets_its_query(library) -> None:
    """What was complete while it was sent holds no token afterwards."""
    kept: list[Any] = []

    def handler(request: Any) -> Any:
        assert hits(request.url.params["access_token"])
        kept.append(request)
        return library.Response(200)

    async with library.AsyncClient(transport=library.MockTransport(handler)) as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        await transport.send(CALLS[0])
        await transport.aclose()
    assert not hits(reachable(*kept))


# OpenTelemetry


@pytest.fixture
def spans() -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def check_spans(exporter: InMemorySpanExporter, *, at_least: int) -> None:
    finished = exporter.get_finished_spans()
    assert len(finished) >= at_least
    shown = "\n".join(span.to_json() for span in finished)
    assert not hits(shown)
    assert OPENID not in shown
    assert "/cgi-bin/user/info" in shown


@pytest.fixture(params=["old", "http/dup"])
def conventions(request, monkeypatch) -> None:
    """Both sets of attribute names that the instrumentation knows."""
    from opentelemetry.instrumentation._semconv import _OpenTelemetrySemanticConventionStability

    monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, "_initialized", False)
    if request.param != "old":
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", request.param)


@pytest.mark.usefixtures("conventions")
@pytest.mark.parametrize("kind", ["own", "httpx", "httpx2"])
async def test_global_instrumentation_sees_calls_but_no_secret(spans, kind) -> None:
    """``instrument()`` gives a span per call, ours included, without query."""
    provider, exporter = spans
    seen: list[tuple[Any, Any]] = []

    async def hook(span: object, info: Any, *more: Any) -> None:
        seen.append((info, more))
        assert not hits(repr((info, more)))

    instrumentors = [HTTPXClientInstrumentor(), HTTPX2ClientInstrumentor()]
    for instrumentor in instrumentors:
        instrumentor.instrument(
            tracer_provider=provider, async_request_hook=hook, async_response_hook=hook, skip_dep_check=True
        )
    try:
        async with RawServer() as server, client_of(kind) as client:
            transport = Transport(base_url=server.url, http_client=client)
            for call in CALLS:
                await transport.send(call)
            server.answer = cut
            assert isinstance(await fail_or_not(transport, CALLS[0]), WxmpError)
            assert all(hits(exchange.target + exchange.body.decode()) for exchange in server.exchanges)
            assert server.exchanges[0].header("traceparent")
            await transport.aclose()
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
    check_spans(exporter, at_least=len(CALLS) + 1)
    # The answers that a user's own transport made are httpx's: their streams know the request until they are dropped.
    assert not hits(reachable(seen if kind == "own" else [info for info, _ in seen]))


@pytest.mark.usefixtures("conventions")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["httpx", "httpx2"])
async def test_instrumenting_a_client_shows_no_secret(spans, kind, when) -> None:
    """``instrument_client`` before or after the client was handed to us: spans yes, query no."""
    provider, exporter = spans
    instrumentor = {"httpx": HTTPXClientInstrumentor, "httpx2": HTTPX2ClientInstrumentor}[kind]
    async with RawServer() as server, client_of(kind) as client:
        if when == "before":
            instrumentor.instrument_client(client, tracer_provider=provider)
        transport = Transport(base_url=server.url, http_client=client)
        if when == "after":
            instrumentor.instrument_client(client, tracer_provider=provider)
        for call in CALLS:
            await transport.send(call)
        assert all(hits(exchange.target + exchange.body.decode()) for exchange in server.exchanges)
        await transport.aclose()
        instrumentor.uninstrument_client(client)
    check_spans(exporter, at_least=len(CALLS))


async def test_a_transport_that_reads_text_is_not_traced_with_the_token(spans) -> None:
    """The address in the clear, which such a transport needs, passes by the instrumentation on the object."""
    provider, exporter = spans

    class TextReader(httpx.AsyncBaseTransport):
        urls: list[str] = []  # noqa: RUF012

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.urls.append(str(request.url))
            return httpx.Response(200)

    async with httpx.AsyncClient(transport=TextReader()) as client:
        HTTPXClientInstrumentor.instrument_client(client, tracer_provider=provider)
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        await transport.send(CALLS[0])
        await transport.send(CALLS[0])
        await transport.aclose()
    assert [bool(hits(url)) for url in TextReader.urls] == [False, True, True]
    check_spans(exporter, at_least=1)


async def test_a_copied_request_of_a_hook_is_harmless() -> None:
    """A hook that copies what it is shown gets no way to the credentials after the call."""
    kept: list[Any] = []

    async def keep(request: httpx.Request) -> None:
        kept.extend([request, copy.copy(request), dict(request.extensions), copy.copy(request.extensions)])

    async with RawServer() as server, httpx.AsyncClient(event_hooks={"request": [keep]}) as client:
        transport = Transport(base_url=server.url, http_client=client)
        for call in CALLS:
            await transport.send(call)
        assert not hits(reachable(*kept))
        pickle.dumps(kept[0])
        assert not hits_in_bytes(pickle.dumps(kept[0]))
        await transport.aclose()
