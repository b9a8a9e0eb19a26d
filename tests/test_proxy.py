"""A proxy on the way to the platform: what it gets to see, and how every failure of it ends."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
import ssl
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.connect_proxy import OPEN, ConnectProxy, Visit
from tests.moments import PATIENT, skip
from tests.peers.gateway import Authority, Gateway
from tests.raw_server import Exchange, RawServer
from tests.redis_server import refusing_port
from wxmp import Client, _transport
from wxmp._proxy import parse_proxy, proxy_from_env
from wxmp._redact import Secret
from wxmp._request import Credentials, FilePart, WireRequest
from wxmp._transport import Transport
from wxmp.errors import ConfigError, TimedOutError, TransportError
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)

TOKEN = "99_FAKE-token_for.tests" + "k" * 40
PASSWORD = "pass-of/the@proxy"
ENCODED = "pass-of%2Fthe%40proxy"
BASIC = base64.b64encode(f"somebody:{PASSWORD}".encode()).decode()
#: Seconds that a call, and connecting, may take here.
LONG, CONNECT = 100.0, 60.0
PLATFORM = "https://api.weixin.qq.com"
INFO = WireRequest("GET", "/cgi-bin/user/info", credentials=Credentials({"access_token": Secret(TOKEN)}))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Make the shared context trust the certificate of the platform's names."""
    context = ssl.create_default_context(cafile=str(authority.bundle))
    monkeypatch.setattr(_transport, "_ssl_context", lambda: context)
    return context


@pytest.fixture
async def platform(authority: Authority) -> AsyncIterator[RawServer]:
    """What answers under the platform's names, in TLS."""
    async with RawServer(ssl_context=authority.server_side()) as running:
        yield running


@pytest.fixture
async def proxy(platform: RawServer) -> AsyncIterator[ConnectProxy]:
    async with ConnectProxy(platform.port) as running:
        yield running


@pytest.fixture
async def transport(proxy: ConnectProxy, trusted: ssl.SSLContext) -> AsyncIterator[Transport]:
    made = through(proxy)
    yield made
    await made.aclose()


def through(proxy: ConnectProxy | str, login: str = "", *, timeout: float = LONG, scheme: str = "http") -> Transport:
    """Return a transport that is patient: a machine that pauses is not what is tested."""
    place = proxy if isinstance(proxy, str) else proxy.place
    address = parse_proxy(f"{scheme}://{login}{place}")
    return Transport(base_url=PLATFORM, timeout=timeout, connect_timeout=CONNECT, proxy=address)


def chain(error: BaseException | None) -> str:
    """Return all that an error and those behind it say."""
    told = ""
    while error is not None:
        told += f"{error!r} {error} {error.args} {vars(error)}"
        error = error.__context__
    return told


# The address


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://proxy.internal:3128", ("proxy.internal", 3128, False, "")),
        (" http://10.0.0.1:3128/ ", ("10.0.0.1", 3128, False, "")),
        ("http://proxy", ("proxy", 80, False, "")),
        ("HTTPS://Proxy.Internal.", ("proxy.internal.", 443, True, "")),
        ("https://[::1]:8443", ("::1", 8443, True, "")),
        ("http://a:b@proxy:1", ("proxy", 1, False, "a:b")),
        ("http://a@proxy:1", ("proxy", 1, False, "a:")),
        ("http://a%40b:%E5%AF%86%3A%2F@proxy:1", ("proxy", 1, False, "a@b:密:/")),
        ("http://a:b@c@proxy:1", ("proxy", 1, False, "a:b@c")),
    ],
)
def test_an_address(address: str, found: tuple[str, int, bool, str]) -> None:
    """Host, port, whether TLS is spoken to the proxy itself, and who asks."""
    proxy = parse_proxy(address)
    login = base64.b64decode(proxy.authorization.reveal().removeprefix("Basic ")).decode()
    assert (proxy.host, proxy.port, proxy.secure, login) == found


@pytest.mark.parametrize(
    "address",
    [
        "",
        "proxy:3128",
        "//proxy:3128",
        "socks5://somebody:pass-word@proxy:1080",
        "ftp://proxy",
        "http://",
        "http://:3128",
        "http://somebody:pass-word@:3128",
        "http://proxy:0",
        "http://proxy:99999",
        "http://proxy:pass-word",
        "http://somebody:pass-word#1@proxy:3128",
        "http://somebody:pass-word?1@proxy:3128",
        "http://somebody:pass-word/1@proxy:3128",
        "http://proxy:3128/path",
        "http://proxy:3128?a=pass-word",
        "http://a..b:3128",
        f"http://{'a' * 64}:3128",
        "http://代理:3128",
        "http://pro xy:3128",
        "http://somebody:pass-word@pro\r\nxy:3128",
        "http://[::1",
        "http://[pass-word]:1",
        "http://somebody:pass-word@pro\ud800xy:1",
        None,
        b"http://proxy:3128",
        3128,
    ],
)
def test_no_address(address: object) -> None:
    """What cannot be one is refused by its field, and nothing of it is repeated anywhere."""
    with pytest.raises(ConfigError) as caught:
        parse_proxy(address)  # type: ignore[arg-type]
    assert caught.value.field == "proxy"
    assert "http://" in str(caught.value)
    assert "pass-word" not in chain(caught.value)


def test_a_proxy_shows_no_password() -> None:
    """Neither its repr nor its name in messages."""
    proxy = parse_proxy(f"http://somebody:{ENCODED}@proxy:3128")
    shown = f"{proxy!r} {proxy} {proxy.place}"
    assert (PASSWORD in shown, ENCODED in shown, BASIC in shown) == (False, False, False)
    assert "proxy:3128" in proxy.place


@pytest.mark.parametrize(
    ("host", "target"), [("api.weixin.qq.com", "api.weixin.qq.com:443"), ("2001:db8::1", "[2001:db8::1]:443")]
)
def test_what_a_proxy_is_asked(host: str, target: str) -> None:
    """A way to a host and its port, no more."""
    asked = parse_proxy("http://proxy").request(host, 443).decode()
    assert asked == f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: wxmp-sdk\r\n\r\n"


# Through it


async def test_a_call_goes_through(transport: Transport, proxy: ConnectProxy, platform: RawServer) -> None:
    """The proxy is asked once for the platform's name; the calls after that share the way."""
    for _ in range(3):
        assert (await transport.send(INFO)).status == 200
    assert [head.partition(b"\r\n")[0] for head in proxy.heads] == [b"CONNECT api.weixin.qq.com:443 HTTP/1.1"]
    assert [exchange.header("host") for exchange in platform.exchanges] == ["api.weixin.qq.com"] * 3
    assert platform.lines[0] == f"GET /cgi-bin/user/info?access_token={TOKEN} HTTP/1.1"


async def test_the_proxy_sees_no_token(transport: Transport, proxy: ConnectProxy, platform: RawServer) -> None:
    """What it carries is encrypted from end to end."""
    await transport.send(INFO)
    seen = b"".join(proxy.heads) + bytes(proxy.carried)
    assert len(platform.exchanges) == 1
    assert len(proxy.carried) > 1000
    assert (TOKEN.encode() in seen, b"/cgi-bin/" in seen, b"access_token" in seen) == (False, False, False)


async def test_uploads_and_downloads_go_through(transport: Transport, proxy: ConnectProxy, platform: RawServer) -> None:
    """A body of some size goes out, and one is read piece by piece."""
    large = os.urandom(300_000)
    platform.answer = lambda exchange: exchange.reply(exchange.body)
    upload = WireRequest("POST", "/cgi-bin/media/upload", files=[FilePart("media", "a.jpg", large)])
    assert large in (await transport.send(upload)).content
    async with transport.stream(WireRequest("POST", "/cgi-bin/media/get", content=large)) as reply:
        assert b"".join([piece async for piece in reply.aiter_bytes()]) == large
    assert len(proxy.heads) == 1


@pytest.mark.usefixtures("trusted")
async def test_the_password_is_for_the_proxy_only(proxy: ConnectProxy, platform: RawServer) -> None:
    """It stands in the request for the way, and in nothing that the platform gets."""
    transport = through(proxy, f"somebody:{ENCODED}@")
    await transport.send(INFO)
    assert proxy.header("Proxy-Authorization") == f"Basic {BASIC}"
    assert b"proxy-authorization" not in platform.exchanges[0].head.lower()
    await transport.aclose()


async def test_this_machine_is_reached_without_it(proxy: ConnectProxy) -> None:
    """A simulator beside the program is no business of a proxy's."""
    async with RawServer() as simulator:
        for host in ("localhost", "127.0.0.1"):
            address = f"http://{host}:{simulator.port}"
            transport = Transport(base_url=address, connect_timeout=CONNECT, proxy=parse_proxy(f"http://{proxy.place}"))
            assert (await transport.send(INFO)).status == 200
            await transport.aclose()
        assert len(simulator.exchanges) == 2
    assert proxy.heads == []


@pytest.mark.usefixtures("trusted")
async def test_each_event_loop_has_ways_of_its_own(proxy: ConnectProxy, platform: RawServer) -> None:
    """One transport serves two threads and their loops, through the proxy."""
    transport = through(proxy)

    def run() -> int:
        async def calls() -> int:
            return sum([(await transport.send(INFO)).status for _ in range(5)])

        return asyncio.run(calls())

    assert await asyncio.gather(asyncio.to_thread(run), asyncio.to_thread(run)) == [1000, 1000]
    assert len(proxy.heads) == 2
    await transport.aclose()
    assert await proxy.all_closed()


# A proxy that is spoken to over TLS


@pytest.mark.usefixtures("trusted")
async def test_a_proxy_with_tls(authority: Authority, platform: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS to the platform runs inside of TLS to the proxy, whose password nobody else reads then."""
    async with ConnectProxy(platform.port, ssl_context=authority.server_side()) as proxy:
        lead(monkeypatch, "mp.weixin.qq.com")
        platform.answer = lambda exchange: exchange.reply(exchange.body)
        transport = through(f"mp.weixin.qq.com:{proxy.port}", f"somebody:{ENCODED}@", scheme="https")
        for size in (10, 300_000, 10):
            body = os.urandom(size)
            assert (await transport.send(WireRequest("POST", "/x", content=body))).content == body
        assert proxy.header("Proxy-Authorization") == f"Basic {BASIC}"
        assert len(proxy.heads) == 1
        await transport.aclose()
        assert await proxy.all_closed()


@pytest.mark.usefixtures("trusted")
async def test_a_proxy_with_a_certificate_of_another(authority: Authority, platform: RawServer) -> None:
    """A proxy that cannot prove its name is told neither the password nor the way."""
    async with ConnectProxy(platform.port, ssl_context=authority.server_side()) as proxy:
        transport = through(proxy, f"somebody:{ENCODED}@", scheme="https")
        with pytest.raises(TransportError, match=rf"the proxy {proxy.place}: .*certificate verify failed") as caught:
            await transport.send(INFO)
        assert caught.value.maybe_acted is False
        assert proxy.heads == []
        await transport.aclose()


def lead(patch: pytest.MonkeyPatch, host: str) -> None:
    """Let a name lead to this machine, for the running event loop."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def look(name: str, *rest: object, **more: object) -> object:
        return await real("127.0.0.1" if name == host else name, *rest, **more)  # type: ignore[arg-type]

    patch.setattr(loop, "getaddrinfo", look)


# What can go wrong


async def test_the_platform_has_to_prove_its_name(proxy: ConnectProxy, platform: RawServer) -> None:
    """A proxy that answers in the platform's place gets nothing: its certificate is refused as without a proxy."""
    transport = through(proxy)
    with pytest.raises(TransportError, match="certificate verify failed") as caught:
        await transport.send(INFO)
    assert f"(through the proxy {proxy.place})" in str(caught.value)
    assert caught.value.maybe_acted is False
    assert platform.exchanges == []
    await transport.aclose()
    assert await proxy.all_closed()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 %b\r\nContent-Length: 4\r\n\r\nno!!", "refuses user name and password (HTTP 407)"),
        (b"HTTP/1.1 403 %b\r\n\r\n", "refuses the way to api.weixin.qq.com:443 (HTTP 403)"),
        (b"HTTP/1.1 302 %b\r\nLocation: http://login/\r\n\r\n", "refuses the way to api.weixin.qq.com:443 (HTTP 302)"),
        (b"HTTP/1.0 504 %b\r\n\r\n<html>", "cannot reach api.weixin.qq.com:443 (HTTP 504)"),
        (b"HTTP/1.1 502\r\n", "cannot reach api.weixin.qq.com:443 (HTTP 502)"),
        (b"SSH-2.0-OpenSSH_9.6 %b\r\n\r\n", "does not answer as an HTTP proxy does"),
        (b"\x05\xff", "does not answer as an HTTP proxy does"),
        (b"HTTP/1.1 200 OK\r\nX: %b", "does not answer as an HTTP proxy does"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}", "does not answer as an HTTP proxy does"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "does not answer as an HTTP proxy does"),
        (b"", "hung up without an answer"),
        (b"HTTP/1.1 100 %b\r\n\r\n", "hung up without an answer"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 %b\r\n\r\n",
            "refuses the way to api.weixin.qq.com:443 (HTTP 403)",
        ),
        (b"HTTP/1.1 101 %b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "refuses the way to api.weixin.qq.com:443 (HTTP 101)"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, "does not answer as an HTTP proxy does"),
    ],
)
@pytest.mark.usefixtures("trusted")
async def test_a_proxy_that_refuses(proxy: ConnectProxy, platform: RawServer, answer: bytes, told: str) -> None:
    """It is told that it was the proxy, what it meant, and that nothing was sent; not what it said, for it may echo."""
    proxy.manner = lambda visit: visit.say(answer.replace(b"%b", f"{PASSWORD} {BASIC}".encode()))
    transport = through(proxy, f"somebody:{ENCODED}@")
    with pytest.raises(TransportError) as caught:
        await transport.send(INFO)
    assert caught.value.message == f"cannot connect: the proxy {proxy.place} {told}"
    assert caught.value.maybe_acted is False
    assert caught.value.endpoint == "GET /cgi-bin/user/info"
    assert (PASSWORD in chain(caught.value), BASIC in chain(caught.value)) == (False, False)
    assert platform.exchanges == []
    assert await proxy.all_closed()
    await transport.aclose()


@pytest.mark.parametrize("size", [1, 1000], ids=["in pieces", "whole"])
async def test_what_comes_before_the_answer(
    transport: Transport, proxy: ConnectProxy, platform: RawServer, size: int
) -> None:
    """Interim answers (1xx) are passed over, however they arrive; the final one opens the way."""
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OPEN

    async def carry(visit: Visit) -> None:
        for start in range(0, len(answer), size):
            visit.writer.write(answer[start : start + size])
            await visit.writer.drain()
            await asyncio.sleep(0)
        await visit.carry(b"")

    proxy.manner = carry
    assert (await transport.send(INFO)).status == 200
    assert len(platform.exchanges) == 1


async def test_a_proxy_that_wants_a_password(transport: Transport, proxy: ConnectProxy) -> None:
    """Without one it is told that one is wanted, and not that it is wrong."""
    proxy.manner = lambda visit: visit.say(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    with pytest.raises(TransportError, match=r"wants a user name and a password \(HTTP 407\)"):
        await transport.send(INFO)


async def test_a_proxy_that_is_down() -> None:
    """Nobody listens there: the proxy is named, not the platform."""
    place = f"127.0.0.1:{refusing_port()}"
    transport = through(place)
    with pytest.raises(TransportError, match=f"cannot connect: the proxy {place}: ") as caught:
        await transport.send(INFO)
    assert caught.value.maybe_acted is False
    await transport.aclose()


async def test_a_proxy_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve is the proxy's."""

    async def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nobody)
    transport = through("proxy.invalid:3128")
    with pytest.raises(TransportError, match=r"the proxy proxy\.invalid:3128: .*not known") as caught:
        await transport.send(INFO)
    assert caught.value.maybe_acted is False
    await transport.aclose()


@pytest.mark.parametrize("timeout", [LONG, CONNECT / 2], ids=["connect_timeout", "deadline"])
@pytest.mark.usefixtures("trusted")
async def test_a_proxy_that_hangs(proxy: ConnectProxy, platform: RawServer, timeout: float) -> None:
    """It takes the request and says nothing: the call ends in time, and says where it was."""

    async def hang(visit: Visit) -> None:
        skip(min(timeout, CONNECT) + 1)
        await visit.hang()

    proxy.manner = hang
    transport = through(proxy, timeout=timeout)
    with pytest.raises(TimedOutError, match=rf"\(through the proxy {proxy.place}\)") as caught:
        await transport.send(INFO)
    assert caught.value.maybe_acted is False
    assert platform.exchanges == []
    assert await proxy.all_closed()
    await transport.aclose()


async def test_a_way_that_breaks_before_tls(transport: Transport, proxy: ConnectProxy, platform: RawServer) -> None:
    """The way is open and ends at once: nothing was sent."""
    proxy.manner = lambda visit: visit.say(OPEN)
    with pytest.raises(TransportError, match=rf"^.*cannot connect: .*\(through the proxy {proxy.place}\)") as caught:
        await transport.send(INFO)
    assert caught.value.maybe_acted is False
    assert platform.exchanges == []


async def test_a_way_that_breaks_while_an_answer_is_awaited(
    transport: Transport, proxy: ConnectProxy, platform: RawServer
) -> None:
    """The request has arrived: the platform may have acted, and the proxy is named all the same."""
    carrying: list[asyncio.Task[object]] = []

    async def carry(visit: Visit) -> None:
        task = asyncio.current_task()
        assert task is not None
        carrying.append(task)
        await visit.carry()

    async def cut(exchange: Exchange) -> None:
        carrying[0].cancel()
        await exchange.hang()

    proxy.manner = carry
    platform.answer = cut
    with pytest.raises(TransportError, match=rf"\(through the proxy {proxy.place}\)") as caught:
        await transport.send(INFO)
    assert caught.value.maybe_acted is True
    assert await platform.all_closed()


async def test_a_way_that_was_closed_while_idle_is_replaced(
    transport: Transport, proxy: ConnectProxy, platform: RawServer
) -> None:
    """The next call asks for another one."""
    await transport.send(INFO)
    platform.exchanges[0].close()
    assert await proxy.all_closed()
    assert (await transport.send(INFO)).status == 200
    assert len(proxy.heads) == 2


@pytest.mark.parametrize("moment", ["asked", "open", "sent"])
@pytest.mark.usefixtures("trusted")
async def test_cancelled_on_the_way_nothing_is_left(proxy: ConnectProxy, platform: RawServer, moment: str) -> None:
    """When the way is asked for, when TLS begins, when the answer is awaited: no connection stays open."""
    transport = through(proxy)
    call = asyncio.create_task(transport.send(INFO))

    async def cancel(visit: Visit) -> None:
        if moment == "open":
            visit.writer.write(OPEN)
            await visit.reader.read(1)  # TLS has begun
        call.cancel()
        await visit.hang()

    async def late(exchange: Exchange) -> None:
        call.cancel()
        await exchange.hang()

    if moment != "sent":
        proxy.manner = cancel
    platform.answer = late
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await proxy.all_closed()
    assert await platform.all_closed()
    await transport.aclose()


@pytest.mark.parametrize("turns", range(0, 60, 2))
@pytest.mark.usefixtures("trusted")
async def test_cancelled_at_any_moment_nothing_is_left(proxy: ConnectProxy, platform: RawServer, turns: int) -> None:
    """From the first turn of the loop to the last: no connection stays open, at the proxy or behind it."""
    transport = through(proxy)
    call = asyncio.create_task(transport.send(INFO))
    for _ in range(turns):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await transport.aclose()
    assert await proxy.all_closed()
    assert await platform.all_closed()


@pytest.mark.usefixtures("trusted")
async def test_the_log_shows_no_password(proxy: ConnectProxy, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, for a call that goes well and for one that is refused, with whatever libraries write."""
    caplog.set_level(logging.DEBUG)
    transport = through(proxy, f"somebody:{ENCODED}@")
    await transport.send(INFO)
    await transport.aclose()
    proxy.manner = lambda visit: visit.say(b"HTTP/1.1 407 No\r\n\r\n")
    transport = through(proxy, f"somebody:{ENCODED}@")
    with pytest.raises(TransportError):
        await transport.send(INFO)
    await transport.aclose()
    told = "".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    assert "connect_tcp" in told
    assert [secret for secret in (PASSWORD, ENCODED, BASIC) if secret in told] == []


# The client


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as running:
        yield running


@pytest.fixture
def way(simulator: Simulator, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A proxy behind which the platform's names are answered by the simulator, in TLS that is trusted here."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    _transport._ssl_context.cache_clear()
    with Gateway(simulator.url, authority) as running:
        yield running
    _transport._ssl_context.cache_clear()


async def test_all_that_a_client_does_goes_through(simulator: Simulator, way: Gateway, tmp_path: Path) -> None:
    """Token, calls, an upload and a download, under the platform's own addresses."""
    account = simulator.account
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))
    address = way.environment["HTTPS_PROXY"]
    async with Client(account.appid, account.secret, proxy=address, timeout=LONG, token_policy=PATIENT) as client:
        assert (await client.user.list()).total == 3
        media = await client.media.upload(picture, type="image")
        await client.media.get(media.media_id, to=tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == picture.read_bytes()
    assert way.reached == {"api.weixin.qq.com"}
    assert way.refused == []


async def test_from_env(simulator: Simulator, way: Gateway) -> None:
    """The variable with the prefix is read."""
    variables = {
        "SHOP_APPID": simulator.account.appid,
        "SHOP_SECRET": simulator.account.secret,
        "SHOP_PROXY": way.environment["HTTPS_PROXY"],
        "WXMP_PROXY": "http://127.0.0.1:9",
    }
    async with Client.from_env("SHOP_", environ=variables, timeout=LONG, token_policy=PATIENT) as client:
        assert (await client.user.list()).total == 3
    assert way.reached == {"api.weixin.qq.com"}


@pytest.fixture
def variables() -> dict[str, str]:
    return {"WXMP_APPID": "wx0123456789abcdef", "WXMP_SECRET": "0" * 32, "WXMP_PROXY": "http://proxy:3128"}


async def test_what_beats_the_variable(variables: dict[str, str]) -> None:
    """An argument does, and so does an http_client, which has its own way out."""
    assert Client.from_env(environ=variables)._via == "proxy:3128"
    assert Client.from_env(environ=variables, proxy="http://other:1")._via == "other:1"
    assert Client.from_env(environ=variables | {"WXMP_PROXY": ""})._via == ""
    async with httpx.AsyncClient() as http:
        assert Client.from_env(environ=variables, http_client=http)._via == ""


def test_a_wrong_variable_is_named(variables: dict[str, str]) -> None:
    """By its name, and without a word of what it holds."""
    with pytest.raises(ConfigError, match=r"^WXMP_PROXY: proxy must be an address") as caught:
        Client.from_env(environ=variables | {"WXMP_PROXY": "http://somebody:pass-word#@proxy:1"})
    assert caught.value.field == "WXMP_PROXY"
    assert "pass-word" not in str(caught.value)


def test_proxies_of_other_programs_are_ignored(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's proxy must not be handed tokens."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "PROXY"):
        monkeypatch.setenv(name, "http://other:1")
        variables[name] = "http://other:1"
    del variables["WXMP_PROXY"]
    assert Client.from_env(environ=variables)._via == ""
    assert proxy_from_env(variables, "WXMP_PROXY") is None


async def test_not_beside_an_http_client() -> None:
    """Two ways out are one too many; it is said by the field, and where the proxy goes instead."""
    async with httpx.AsyncClient() as http:
        with pytest.raises(ConfigError, match=r"httpx\.AsyncClient\(proxy=") as caught:
            Client("wx0123456789abcdef", "0" * 32, proxy="http://proxy:3128", http_client=http)
    assert caught.value.field == "proxy"


async def test_a_client_shows_no_password() -> None:
    """Neither repr nor the settings behind it."""
    client = Client("wx0123456789abcdef", "0" * 32, proxy=f"http://somebody:{ENCODED}@proxy:3128")
    shown = f"{client!r} {client._via} {client._transport!r} {vars(client)}"
    assert [secret for secret in (PASSWORD, ENCODED, BASIC) if secret in shown] == []
    await client.aclose()
