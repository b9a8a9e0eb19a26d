"""The way to the network: what goes out, what comes back, and how every failure ends."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import socket
import ssl
import sys
import threading
import types
import warnings
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
import respx

from tests.moments import skip
from tests.raw_server import Exchange, RawServer
from tests.redis_server import refusing_port
from wxmp import _loop_pools, _transport, _user_client
from wxmp._redact import Secret
from wxmp._request import Credentials, FilePart, WireReply, WireRequest, encode_path
from wxmp._transport import Transport
from wxmp.errors import ConfigError, ReplyError, TimedOutError, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.timeout(60)

TOKEN = "99_FAKE-token_for.tests" + "k" * 40
WITH_TOKEN = Credentials({"access_token": Secret(TOKEN)})
INFO = WireRequest("GET", "/cgi-bin/user/info", params={"openid": "o1"}, credentials=WITH_TOKEN)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as running:
        yield running


@pytest.fixture
async def transport(server: RawServer) -> AsyncIterator[Transport]:
    made = Transport(base_url=server.url)
    yield made
    await made.aclose()


def get(path: str = "/x", **more: Any) -> WireRequest:
    return WireRequest("GET", path, **more)


def post(content: bytes | None = b"{}", **more: Any) -> WireRequest:
    return WireRequest("POST", "/x", content=content, **more)


# What goes out


@pytest.mark.parametrize(
    ("params", "query"),
    [
        (None, ""),
        ({}, ""),
        ({"openid": "o6_bm-A.b~c"}, "?openid=o6_bm-A.b~c"),
        ({"a": None, "b": "1"}, "?b=1"),
        ({"a": None}, ""),
        ({"a": True, "b": False}, "?a=true&b=false"),
        ({"n": -5, "zero": 0, "empty": ""}, "?n=-5&zero=0&empty="),
        ({"openid": "x&access_token=y"}, "?openid=x%26access_token%3Dy"),
        ({"s": "a b+c/d?e#f%41\r\n\0"}, "?s=a%20b%2Bc%2Fd%3Fe%23f%2541%0D%0A%00"),
        ({"name": "微信"}, "?name=%E5%BE%AE%E4%BF%A1"),
        ({"a&b": "1"}, "?a%26b=1"),
        ({"kf_account": "a@b%40"}, "?kf_account=a@b%2540"),
    ],
)
async def test_params_are_encoded_and_never_pasted(server, transport, params, query) -> None:
    """Whatever a value holds stays inside its parameter."""
    await transport.send(get("/x", params=params))
    assert server.lines == [f"GET /x{query} HTTP/1.1"]


async def test_the_credentials_come_first_in_the_query(server, transport) -> None:
    """The token stands where the platform looks for it, encoded like any value."""
    await transport.send(INFO)
    odd = Credentials({"ticket": Secret("a/b=&c")})
    await transport.send(get(credentials=odd))
    assert server.lines == [
        f"GET /cgi-bin/user/info?access_token={TOKEN}&openid=o1 HTTP/1.1",
        "GET /x?ticket=a%2Fb%3D%26c HTTP/1.1",
    ]


@pytest.mark.parametrize("value", [1.5, b"x", ["a"], object(), "\ud800"])
async def test_other_values_are_refused(server, transport, value) -> None:
    """A value without an obvious form on the wire is the caller's mistake, named by its parameter."""
    with pytest.raises(ConfigError) as caught:
        await transport.send(get(params={"openid": value}))
    assert caught.value.field == "openid"
    assert server.exchanges == []


async def test_a_parameter_cannot_shadow_the_token(server, transport) -> None:
    """A second access_token in the query is refused."""
    with pytest.raises(ConfigError, match="credentials"):
        await transport.send(get(params={"access_token": "other"}, credentials=WITH_TOKEN))
    assert server.exchanges == []


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "//evil.example/x",
        "http://evil.example/x",
        "/x?a=b",
        "/x#f",
        "/x y",
        "/x\r\nHost: evil",
        "/../x",
        "/a/..",
        "/a/./b",
        "/微信",
        "/x\\y",
    ],
)
async def test_a_path_is_only_a_path(server, transport, path) -> None:
    """A path cannot name another host, smuggle a query or break the request line."""
    with pytest.raises(ConfigError) as caught:
        await transport.send(get(path, credentials=WITH_TOKEN))
    assert caught.value.field == "path"
    assert server.exchanges == []


@pytest.mark.parametrize("method", ["", "get", "GET /evil", "GET\r\n"])
async def test_a_method_is_only_a_method(transport, method) -> None:
    """A method cannot break the request line."""
    with pytest.raises(ConfigError) as caught:
        await transport.send(WireRequest(method, "/x"))
    assert caught.value.field == "method"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.weixin.qq.com",
        "ftp://api.weixin.qq.com",
        "http://api.weixin.qq.com",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "https://",
        "https://user:pw@api.weixin.qq.com",
        "https://user@api.weixin.qq.com",
        "https://api.weixin.qq.com?x=1",
        "https://api.weixin.qq.com/?",
        "https://api.weixin.qq.com/#f",
        "https://api.weixin.qq.com:99999",
        "https://[::1",
        None,
        b"https://api.weixin.qq.com",
    ],
)
def test_an_unsafe_base_url_is_refused(url) -> None:
    """Only https, or http on this machine, without user name and query."""
    with pytest.raises(ConfigError) as caught:
        Transport(base_url=url)
    assert caught.value.field == "base_url"
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.weixin.qq.com",
        "https://api.weixin.qq.com:8443/prefix/",
        "http://localhost:8000",
        "http://127.0.0.1:1",
        "http://127.1.2.3",
        "http://[::1]:8000",
    ],
)
def test_a_safe_base_url_is_taken(url) -> None:
    """Https anywhere; plain http for the simulator."""
    Transport(base_url=url)


def test_plain_http_needs_a_word() -> None:
    """allow_insecure permits plain http to other hosts."""
    Transport(base_url="http://10.0.0.1:8080", allow_insecure=True)


@pytest.mark.parametrize("field", ["timeout", "connect_timeout", "max_connections", "max_body"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "10", None])
def test_numbers_must_be_positive(field, value) -> None:
    """A limit that cannot work is refused when it is set, and named."""
    with pytest.raises(ConfigError) as caught:
        Transport(base_url="https://api.weixin.qq.com", **{field: value})
    assert caught.value.field == field


async def test_a_path_in_the_base_url_stands_before_every_path(server) -> None:
    """A gateway may serve the platform below a path."""
    transport = Transport(base_url=f"{server.url}/gateway/wx/")
    await transport.send(INFO)
    assert server.lines[0].startswith("GET /gateway/wx/cgi-bin/user/info?access_token=")
    await transport.aclose()


async def test_credentials_go_to_no_foreign_host(server, transport) -> None:
    """Another origin gets no credentials unless it was allowed; nothing is sent then."""
    async with RawServer() as other:
        with pytest.raises(ConfigError) as caught:
            await transport.send(get(credentials=WITH_TOKEN, origin=other.url))
        assert caught.value.field == "origin"
        assert other.exchanges == []
        await transport.send(get(origin=other.url))
        assert other.lines == ["GET /x HTTP/1.1"]
        allowing = Transport(base_url=server.url, allowed_origins=[other.url])
        await allowing.send(get(credentials=WITH_TOKEN, origin=other.url))
        assert other.lines[1] == f"GET /x?access_token={TOKEN} HTTP/1.1"
        await allowing.aclose()


async def test_another_origin_must_be_safe_too(transport) -> None:
    """Plain http to another machine is refused for origins as well."""
    with pytest.raises(ConfigError) as caught:
        await transport.send(get(origin="http://10.0.0.1"))
    assert caught.value.field == "origin"


async def test_json_goes_out_as_it_came(server, transport) -> None:
    """The caller's bytes are not touched."""
    body = '{"name":"广州"}'.encode()
    await transport.send(post(body, credentials=WITH_TOKEN))
    (exchange,) = server.exchanges
    assert exchange.body == body
    assert exchange.header("content-type") == "application/json"
    assert exchange.header("content-length") == str(len(body))


async def test_secrets_are_merged_into_json(server, transport) -> None:
    """Credentials of the body are put in below the client, at any depth, as raw UTF-8."""
    credentials = Credentials(json={"secret": Secret("s3cret-秘"), "more": [{"deep": Secret("x")}], "appid": "wx1"})
    await transport.send(post(b'{"grant_type":"client_credential"}', credentials=credentials))
    await transport.send(post(None, credentials=credentials))
    first, second = server.exchanges
    assert json.loads(first.body) == {
        "grant_type": "client_credential",
        "secret": "s3cret-秘",
        "more": [{"deep": "x"}],
        "appid": "wx1",
    }
    assert "s3cret-秘".encode() in second.body


async def test_a_post_without_body_says_so(server, transport) -> None:
    """A POST always has a length; some servers wait for one."""
    await transport.send(post(None))
    assert server.exchanges[0].header("content-length") == "0"


async def test_no_compression_is_asked_for(server, transport) -> None:
    """Small answers are cheaper plain; see the decoder for those who compress all the same."""
    await transport.send(get())
    assert server.exchanges[0].header("accept-encoding") == "identity"


# Uploads


async def test_an_upload_is_multipart_with_raw_names(server, transport, tmp_path) -> None:
    """Fields, file names as raw UTF-8, types and contents arrive; the length is announced."""
    path = tmp_path / "图.jpg"
    path.write_bytes(b"\xff\xd8" * 400_000)

    async def source() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    await transport.send(
        WireRequest(
            "POST",
            "/cgi-bin/media/upload",
            files=[
                FilePart("media", '图 "1".jpg', path, "image/jpeg"),
                FilePart("two", "b.bin", b"bytes"),
                FilePart("three", "c.bin", source(), size=4),
            ],
            form={"description": '{"title":"标题"}'},
            credentials=WITH_TOKEN,
        )
    )
    (exchange,) = server.exchanges
    boundary = exchange.header("content-type").removeprefix("multipart/form-data; boundary=")
    parts = exchange.body.split(f"--{boundary}".encode())
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    assert [part.partition(b"\r\n\r\n")[2][:-2] for part in parts[1:-1]] == [
        '{"title":"标题"}'.encode(),
        path.read_bytes(),
        b"bytes",
        b"abcd",
    ]
    assert 'name="media"; filename="图 %221%22.jpg"\r\nContent-Type: image/jpeg'.encode() in parts[2]
    assert int(exchange.header("content-length")) == len(exchange.body)


async def test_an_upload_of_unknown_size_is_chunked(server, transport) -> None:
    """An iterator without size still arrives."""

    async def source() -> AsyncIterator[bytes]:
        yield b"hello"

    await transport.send(WireRequest("POST", "/x", files=[FilePart("media", "a", source())]))
    assert server.exchanges[0].header("transfer-encoding") == "chunked"
    assert b"hello" in server.exchanges[0].body


@pytest.mark.parametrize("field", ["name", "filename", "content_type"])
def test_a_name_without_utf8_form_is_refused(field) -> None:
    """Names of files can hold bytes that are no text: the part is refused when it is made, and the field is named."""
    with pytest.raises(ConfigError) as caught:
        FilePart(**{"name": "media", "filename": "a.jpg", "content": b"", field: "caf\udce9.jpg"})
    assert caught.value.field == field


async def test_a_parameter_without_utf8_form_is_refused(server, transport) -> None:
    """A parameter is refused by its name, or as one of ``params`` when it is the name that has no form."""
    for params, field in (({"key": "\ud800"}, "key"), ({"\ud800": "value"}, "params")):
        with pytest.raises(ConfigError) as caught:
            await transport.send(get(params=params))
        assert caught.value.field == field
    assert server.exchanges == []


@pytest.mark.parametrize("given", [3, 8])
async def test_a_wrong_size_is_the_callers_mistake(server, transport, given) -> None:
    """Content that is not as long as announced breaks the call with the part's name; the next call is clean."""

    async def source() -> AsyncIterator[bytes]:
        yield b"a" * given

    with pytest.raises(ConfigError, match="size") as caught:
        await transport.send(WireRequest("POST", "/x", files=[FilePart("media", "a", source(), size=5)]))
    assert caught.value.field == "media"
    assert server.exchanges == []
    await transport.send(get())
    assert server.lines == ["GET /x HTTP/1.1"]


async def test_an_error_of_the_callers_iterator_comes_back_as_it_is(server, transport) -> None:
    """What the source raises is not dressed up as a failure of the network, not even if it looks like one."""

    async def source() -> AsyncIterator[bytes]:
        yield b"a"
        raise httpx.ReadError("the other server broke")

    with pytest.raises(httpx.ReadError, match="other server"):
        await transport.send(WireRequest("POST", "/x", files=[FilePart("media", "a", source(), size=5)]))
    assert server.exchanges == []


async def test_a_missing_file_is_found_before_anything_is_sent(server, transport, tmp_path) -> None:
    """A path that cannot be read is the caller's mistake."""
    with pytest.raises(ConfigError, match="cannot read"):
        await transport.send(WireRequest("POST", "/x", files=[FilePart("media", "a", tmp_path / "missing")]))
    assert server.connections == 0


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "a\x7fb", 5])
@pytest.mark.parametrize("field", ["name", "filename", "content_type"])
def test_names_of_uploads_hold_no_control_characters(field, bad) -> None:
    """A name cannot end its header line."""
    with pytest.raises(ConfigError) as caught:
        FilePart(**{"name": "media", "filename": "a", "content": b"", field: bad})
    assert caught.value.field == field


async def test_names_of_form_fields_hold_no_control_characters(server, transport) -> None:
    """Nor can the name of a plain field."""
    with pytest.raises(ConfigError):
        await transport.send(WireRequest("POST", "/x", form={"a\r\nb": "1"}))
    assert server.exchanges == []


async def test_a_request_has_one_kind_of_body(transport) -> None:
    """JSON and files together have no form on the wire."""
    with pytest.raises(ConfigError):
        await transport.send(post(b"{}", files=[FilePart("media", "a", b"x")]))


async def test_an_answer_before_the_upload_ends_is_read(server, transport) -> None:
    """A server that refuses early and closes is heard, and nothing of the upload stays behind."""
    closed = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        closed.set()
        await reader.read()
        writer.close()

    async def source() -> AsyncIterator[bytes]:
        yield b"a" * 1000
        await closed.wait()
        yield b"b" * 1000

    early = await asyncio.start_server(refuse, "127.0.0.1", 0)
    transport = Transport(base_url=f"http://127.0.0.1:{early.sockets[0].getsockname()[1]}")
    reply = await transport.send(WireRequest("POST", "/x", files=[FilePart("media", "a", source(), size=2000)]))
    assert reply.status == 413
    await transport.aclose()
    early.close()


def test_replayable_says_whether_a_request_can_be_sent_again(tmp_path) -> None:
    """Bytes and paths can, iterators cannot."""

    async def source() -> AsyncIterator[bytes]:
        yield b""

    assert post().replayable
    assert WireRequest("POST", "/x", files=[FilePart("a", "a", b""), FilePart("b", "b", tmp_path)]).replayable
    assert not WireRequest("POST", "/x", files=[FilePart("a", "a", b""), FilePart("b", "b", source())]).replayable


# What comes back


async def test_a_reply_has_status_headers_and_content(server, transport) -> None:
    """Header names are lower case; repeated ones are joined."""
    server.answer = lambda exchange: exchange.reply(
        b'{"a":1}', "418 Teapot", "Content-Type: text/plain\r\nX-A: 1\r\nx-a: 2\r\n"
    )
    reply = await transport.send(get())
    assert (reply.status, reply.content) == (418, b'{"a":1}')
    assert reply.headers["content-type"] == "text/plain"
    assert reply.headers["x-a"] == "1, 2"


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3\r\nabc\r\n0\r\n\r\n", b"{}abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", b"<html>"),
    ],
)
async def test_answers_of_every_form_are_read_and_the_connection_kept(server, transport, raw, content) -> None:
    """Empty, chunked, after a 100: read to the end, and the next call uses the same connection."""
    server.answer = lambda exchange: exchange.raw(raw)
    assert (await transport.send(get())).content == content
    assert (await transport.send(get())).content == content
    assert server.connections == 1


@pytest.mark.parametrize("kind", ["own", "user"])
@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_answer_is_unpacked(server, kind, encoding, pack) -> None:
    """A proxy may compress though nobody asked."""
    body = pack(b'{"a":"' + b"x" * 500_000 + b'"}')
    server.answer = lambda exchange: exchange.reply(body, headers=f"Content-Encoding: {encoding}\r\n")
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, http_client=client)
        assert len((await transport.send(get())).content) == 500_008
        await transport.aclose()


class client_of:
    """A user's client of some kind, or none for ours."""

    def __init__(self, kind: str) -> None:
        self.client = {"own": lambda: None, "user": httpx.AsyncClient, "user2": httpx2.AsyncClient}[kind]()

    async def __aenter__(self) -> Any:
        return self.client

    async def __aexit__(self, *_: object) -> None:
        if self.client is not None:
            await self.client.aclose()


@pytest.mark.parametrize("kind", ["own", "user", "user2"])
@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"Content-Length: 1000001\r\n\r\n", "larger than 1000000"),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n", "larger than 1000000"),
        (b"", "larger than 1000000"),
        (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", "larger than 1000000"),
        (b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx", "compressed"),
        (b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "damaged"),
    ],
    ids=["declared", "chunked", "until-close", "gzip-bomb", "unknown-encoding", "damaged"],
)
async def test_an_answer_too_large_or_damaged_is_refused(server, kind, raw, match) -> None:
    """The limit holds for announced, unannounced, endless and compressed bodies; the call ends at once."""
    bomb = gzip.compress(b"\0" * 200_000_000, 9) if b"%d" in raw else b""

    async def answer(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\n" + (raw % len(bomb) if bomb else raw or b"\r\n"))
        await exchange.raw(bomb)
        while raw == b"" or b"chunked" in raw:
            await exchange.raw(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    server.answer = answer
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, max_body=1_000_000, http_client=client)
        with pytest.raises(ReplyError, match=match) as caught:
            await transport.send(INFO)
        assert caught.value.endpoint == "GET /cgi-bin/user/info"
        assert caught.value.maybe_acted
        await transport.aclose()


async def test_an_answer_of_exactly_the_limit_is_fine(server) -> None:
    """The limit itself is allowed."""
    server.answer = lambda exchange: exchange.reply(b"x" * 1000)
    transport = Transport(base_url=server.url, max_body=1000)
    assert len((await transport.send(get())).content) == 1000
    await transport.aclose()


@pytest.mark.parametrize("kind", ["own", "user", "user2"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(server, kind, status) -> None:
    """A redirect is an answer like any other; the other host hears nothing."""
    async with RawServer() as other, client_of(kind) as client:
        if client is not None:
            client.follow_redirects = True
        server.answer = lambda exchange: exchange.reply(b"", f"{status} Moved", f"Location: {other.url}/y\r\n")
        transport = Transport(base_url=server.url, http_client=client)
        assert (await transport.send(INFO)).status == status
        assert other.connections == 0
        await transport.aclose()


async def test_cookies_are_forgotten(server, transport) -> None:
    """What one account was told does not go out with another's calls."""
    server.answer = lambda exchange: exchange.reply(headers="Set-Cookie: a=b; Path=/\r\n")
    await transport.send(get())
    await transport.send(get())
    assert server.exchanges[1].header("cookie") is None
    assert list(transport._client._client.cookies.jar) == []


async def test_proxies_of_the_environment_are_ignored(server, transport, monkeypatch) -> None:
    """A proxy that somebody put into the environment would see every token."""
    async with RawServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        fresh = Transport(base_url=server.url)
        await fresh.send(INFO)
        assert proxy.connections == 0
        await fresh.aclose()


# Failures


@pytest.mark.parametrize("kind", ["own", "user", "user2"])
async def test_a_refused_connection_did_nothing(kind) -> None:
    """Nobody listens: certainly nothing was sent."""
    async with client_of(kind) as client:
        transport = Transport(base_url=f"http://127.0.0.1:{refusing_port()}", http_client=client)
        with pytest.raises(TransportError, match="cannot connect") as caught:
            await transport.send(INFO)
        assert caught.value.maybe_acted is False
        assert caught.value.endpoint == "GET /cgi-bin/user/info"
        assert not isinstance(caught.value, TimedOutError)
        await transport.aclose()


async def test_an_unknown_host_did_nothing(monkeypatch) -> None:
    """A name that does not resolve: certainly nothing was sent."""

    async def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nobody)
    transport = Transport(base_url="https://api.invalid")
    with pytest.raises(TransportError, match="not known") as caught:
        await transport.send(INFO)
    assert caught.value.maybe_acted is False
    await transport.aclose()


@pytest.mark.parametrize("kind", ["own", "user"])
async def test_no_connection_in_time_did_nothing(kind) -> None:
    """A host that takes the connection and never shakes hands: certainly nothing was sent."""
    async with RawServer() as server, client_of(kind) as client:
        transport = Transport(
            base_url=server.url.replace("http", "https"), connect_timeout=0.05, timeout=5, http_client=client
        )
        with pytest.raises(TimedOutError) as caught:
            await transport.send(INFO)
        assert caught.value.maybe_acted is False
        await transport.aclose()
        if kind == "own":
            assert await server.all_closed()


async def test_the_deadline_counts_while_connecting() -> None:
    """The total time may be shorter than the time to connect; nothing was sent then either."""
    async with RawServer() as server:
        transport = Transport(base_url=server.url.replace("http", "https"), timeout=0.05)
        with pytest.raises(TimedOutError, match="connecting") as caught:
            await transport.send(INFO)
        assert caught.value.maybe_acted is False
        assert await server.all_closed()
        await transport.aclose()


@pytest.mark.parametrize("kind", ["own", "user", "user2"])
async def test_silence_ends_at_the_deadline(server, kind) -> None:
    """The request went out and no answer came: the platform may have acted."""
    server.answer = lambda exchange: exchange.outlast(4)
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, timeout=4, http_client=client)
        with pytest.raises(TimedOutError, match=r"within 4 s") as caught:
            await transport.send(INFO)
        assert caught.value.maybe_acted is True
        assert await server.all_closed()
        await transport.aclose()


@pytest.mark.parametrize("kind", ["own", "user", "user2"])
async def test_a_dripping_answer_ends_at_the_deadline(server, kind) -> None:
    """A byte now and then does not prolong a call."""

    async def drip(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await exchange.raw(b"x")
            skip(0.05)
            await asyncio.sleep(0)

    server.answer = drip
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, http_client=client)
        with pytest.raises(TimedOutError) as caught:
            await transport.send(WireRequest("GET", "/x", timeout=4))
        assert caught.value.maybe_acted is True
        assert await server.all_closed()
        await transport.aclose()


async def test_waiting_for_a_connection_counts_and_did_nothing(server) -> None:
    """A call that got no connection in its time was certainly not sent."""
    server.answer = lambda exchange: exchange.hang()
    transport = Transport(base_url=server.url, max_connections=1)
    running = asyncio.create_task(transport.send(get()))
    while not server.exchanges:
        await asyncio.sleep(0.001)
    with pytest.raises(TimedOutError, match="free connection") as caught:
        await transport.send(get(timeout=0.05))
    assert caught.value.maybe_acted is False
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await transport.aclose()


@pytest.mark.parametrize("kind", ["own", "user", "user2"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
    ],
)
async def test_a_broken_answer_may_have_acted(server, kind, raw) -> None:
    """An answer that is missing, cut off or not HTTP says nothing about what the platform did."""

    async def cut(exchange: Exchange) -> None:
        await exchange.raw(raw)
        exchange.close()

    server.answer = cut
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, http_client=client)
        with pytest.raises(TransportError) as caught:
            await transport.send(INFO)
        assert caught.value.maybe_acted is True
        server.answer = lambda exchange: exchange.reply()
        assert (await transport.send(INFO)).status == 200
        await transport.aclose()


async def test_a_reset_connection_may_have_acted(server, transport) -> None:
    """So does a reset."""

    async def reset(exchange: Exchange) -> None:
        sock = exchange.writer.get_extra_info("socket")
        import struct

        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.writer.transport.abort()

    server.answer = reset
    with pytest.raises(TransportError) as caught:
        await transport.send(INFO)
    assert caught.value.maybe_acted is True


async def test_a_foreign_cancellation_passes_through(server, transport) -> None:
    """Cancelling the caller is not our timeout."""
    server.answer = lambda exchange: exchange.hang()
    task = asyncio.create_task(transport.send(get()))
    while not server.exchanges:
        await asyncio.sleep(0.001)
    task.cancel("bye")
    with pytest.raises(asyncio.CancelledError, match="bye"):
        await task
    assert task.cancelled()
    assert await server.all_closed()


async def test_an_outer_deadline_stays_an_outer_deadline(server, transport) -> None:
    """A timeout around the call ends as that timeout, not as ours."""
    server.answer = lambda exchange: exchange.hang()
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await transport.send(get())
    assert not isinstance(caught.value, TimedOutError)


async def test_an_error_carries_no_chain(transport) -> None:
    """Nothing below us hangs on to an error: no cause, no context, no frames of other libraries."""
    failing = Transport(base_url=f"http://127.0.0.1:{refusing_port()}")
    with pytest.raises(TransportError) as caught:
        await failing.send(INFO)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert {entry.path.name for entry in caught.traceback} == {"test_transport.py", "_transport.py"}
    await failing.aclose()


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A certificate for localhost, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    # Python 3.13 demands what an authority is allowed to do.
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    unused = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **unused), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
async def tls_server(certificate: Path) -> AsyncIterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with RawServer(ssl_context=context) as running:
        yield running


@pytest.fixture
def trusted(certificate: Path, monkeypatch) -> None:
    """Make the shared context trust the certificate."""
    context = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(_transport, "_ssl_context", lambda: context)


async def test_an_unknown_certificate_is_refused(tls_server) -> None:
    """A server that cannot prove its name gets nothing."""
    transport = Transport(base_url=tls_server.url)
    with pytest.raises(TransportError, match="certificate verify failed") as caught:
        await transport.send(INFO)
    assert caught.value.maybe_acted is False
    assert tls_server.exchanges == []
    assert await tls_server.all_closed()
    await transport.aclose()


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_of_another_name_is_refused(tls_server) -> None:
    """A trusted certificate counts only for its own name."""
    transport = Transport(base_url=tls_server.url.replace("localhost", "127.0.0.1"))
    with pytest.raises(TransportError, match="certificate verify failed"):
        await transport.send(INFO)
    await transport.aclose()


@pytest.mark.usefixtures("trusted")
async def test_tls_connections_are_kept(tls_server) -> None:
    """One handshake serves many calls; the session tickets of TLS 1.3 do not look like unasked data."""
    tls_server.answer = lambda exchange: exchange.reply(exchange.body)
    transport = Transport(base_url=tls_server.url)
    for number in range(20):
        body = b"x" * (number * 10_000)
        assert (await transport.send(post(body, credentials=WITH_TOKEN))).content == body
    assert tls_server.connections == 1
    await transport.aclose()
    assert await tls_server.all_closed()


def test_one_ssl_context_serves_all(monkeypatch) -> None:
    """A second client reads no certificates."""
    assert _transport._ssl_context() is _transport._ssl_context()
    monkeypatch.setattr(ssl, "SSLContext", None)
    monkeypatch.setattr(ssl, "create_default_context", None)
    Transport(base_url="https://api.weixin.qq.com")


# The pool at work


async def test_calls_one_after_the_other_share_a_connection(server, transport) -> None:
    """Once warm, no call opens a connection."""
    for _ in range(50):
        await transport.send(INFO)
    assert server.connections == 1


async def test_a_hundred_at_once_are_no_more_than_the_limit(server) -> None:
    """Calls beyond the limit wait and are all answered; a second round opens nothing."""
    transport = Transport(base_url=server.url, max_connections=7)
    server.answer = lambda exchange: exchange.reply(exchange.target.encode())
    for _ in range(2):
        replies = await asyncio.gather(*(transport.send(get(f"/{number}")) for number in range(100)))
        assert [reply.content for reply in replies] == [f"/{number}".encode() for number in range(100)]
    assert server.connections == server.max_open == 7
    await transport.aclose()


async def test_a_connection_closed_while_idle_is_replaced(server, transport) -> None:
    """The server's goodbye is noticed before the next call, which succeeds."""
    await transport.send(get())
    server.exchanges[0].close()
    await server.all_closed()
    assert (await transport.send(get())).status == 200
    assert server.connections == 2


async def test_each_event_loop_has_its_own_connections() -> None:
    """One transport serves three loops one after the other and two threads at the same time."""
    seen: list[int] = []

    def run(transport: Transport, server: RawServer) -> None:
        async def calls() -> None:
            for _ in range(20):
                seen.append((await transport.send(get())).status)

        asyncio.run(calls())

    async with RawServer() as server:
        transport = Transport(base_url=server.url)
        for _ in range(3):
            await asyncio.to_thread(run, transport, server)
        await asyncio.gather(*(asyncio.to_thread(run, transport, server) for _ in range(2)))
        assert seen == [200] * 100
        assert server.connections == 5
        assert await server.all_closed()  # each loop closed its own when it ended
        gc.collect()
        await transport.aclose()


async def test_a_forgotten_transport_closes_its_connections(server) -> None:
    """Who never calls aclose leaks nothing when the object is gone."""
    transport = Transport(base_url=server.url)
    await transport.send(get())
    del transport
    gc.collect()
    assert await server.all_closed()


def end_of_a_loop(how: str, factory: Any, url: str) -> list[warnings.WarningMessage]:
    """Use a transport in an event loop, let the loop end in one of several ways, and return all warnings."""
    gc.collect()  # what others have left
    mine = [Transport(base_url=url)]

    async def call() -> None:
        assert (await mine[0].send(get())).status == 200

    async def call_and_forget() -> None:
        await call()
        mine.clear()
        gc.collect()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runner = asyncio.Runner(loop_factory=factory)
        loop = runner.get_loop()
        runner.run(call_and_forget() if how == "forgotten inside" else call())
        kinds = [one.ag_code.co_filename for one in gc.get_objects() if type(one) is types.AsyncGeneratorType]
        assert not [name for name in kinds if name.endswith("_loop_pools.py")]  # nothing that Python has to end
        if how == "closed elsewhere":
            asyncio.run(mine[0].aclose())
        if "standing" in how:
            mine.clear()
            gc.collect()
        if "bare" in how:
            loop.close()
        else:
            runner.close()
        del loop, runner
        mine.clear()
        gc.collect()
    return caught


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ["kept", "forgotten inside", "forgotten standing", "closed elsewhere"])
async def test_the_end_of_a_loop_is_silent(how, kind) -> None:
    """Nobody has to call aclose: connections end with their loop, also when the transport is gone before, silently."""
    factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    async with RawServer() as server:
        caught = await asyncio.to_thread(end_of_a_loop, how, factory, server.url)
        assert [str(one.message) for one in caught] == []
        assert server.connections == 1
        assert await server.all_closed()


async def test_what_a_loop_closes_at_its_end_looks_like_a_generator() -> None:
    """Loops close asynchronous generators at their end: ours behaves as one that yields nothing."""
    here = _loop_pools._Here()
    assert [one async for one in here] == []
    with pytest.raises(KeyError, match="mine"):
        await here.athrow(KeyError("mine"))
    await here.aclose()


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ["bare", "forgotten standing, bare"])
async def test_a_loop_that_is_closed_without_notice(how, kind) -> None:
    """``loop.close()`` alone tells nobody: the event loop itself names the open connection, we add nothing to it."""
    factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    async with RawServer() as server:
        caught = await asyncio.to_thread(end_of_a_loop, how, factory, server.url)
        assert {one.category for one in caught} == {ResourceWarning}
        assert all("unclosed" in str(one.message) for one in caught)
        if kind == "asyncio":
            assert await server.all_closed()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
async def test_a_forked_child_starts_without_connections(server, transport) -> None:
    """Parent and child never share a socket, so neither reads the other's answers."""
    server.answer = lambda exchange: exchange.reply(exchange.target.encode())
    await transport.send(get("/parent"))
    read, write = os.pipe()

    def child() -> None:
        async def call() -> bytes:
            inherited = len(transport._pools._by_loop)
            reply = await transport.send(get("/child"))
            await transport.aclose()
            return reply.content if not inherited else b"the child has the parent's connections"

        os.write(write, asyncio.run(call()))

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                asyncio._set_running_loop(None)
                child()
                code = 0
            finally:
                os._exit(code)
        return pid

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork in a process with threads
        pid = fork()
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert os.read(read, 100) == b"/child"
    os.close(read)
    os.close(write)
    assert (await transport.send(get("/parent"))).content == b"/parent"
    assert server.connections == 2


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run there")
def test_uvloop_works_too() -> None:
    """The stream uses nothing that only asyncio's own loop has."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with RawServer() as server:
            transport = Transport(base_url=server.url, max_connections=3)
            replies = await asyncio.gather(*(transport.send(INFO) for _ in range(20)))
            assert {reply.status for reply in replies} == {200}
            assert server.connections == 3
            await transport.aclose()
            assert await server.all_closed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


# Closing


async def test_closing_twice_is_fine_and_calls_are_refused_afterwards(server, transport) -> None:
    """After aclose a call is refused before anything is sent."""
    await transport.send(get())
    await transport.aclose()
    await transport.aclose()
    assert transport.closed
    with pytest.raises(ConfigError, match="closed"):
        await transport.send(get())
    assert await server.all_closed()


@pytest.mark.parametrize("kind", ["own", "user"])
async def test_closing_breaks_off_what_runs(server, kind) -> None:
    """Calls that wait for an answer or for a connection end at once, and say whether the platform may have acted."""
    server.answer = lambda exchange: exchange.hang()
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, max_connections=2, http_client=client)
        calls = [asyncio.create_task(transport.send(get())) for _ in range(6)]
        while len(server.exchanges) < 2:
            await asyncio.sleep(0.001)
        await transport.aclose()
        assert all(call.done() for call in calls)
        errors = [call.exception() for call in calls]
        assert {type(error) for error in errors} == {TransportError}
        assert all("closed" in str(error) for error in errors)
        if kind == "own":
            assert [error.maybe_acted for error in errors] == [True, True, False, False, False, False]
            assert await server.all_closed()


async def test_closing_breaks_off_connecting() -> None:
    """A call in the middle of a TLS handshake ends too."""
    async with RawServer() as server:
        transport = Transport(base_url=server.url.replace("http", "https"))
        call = asyncio.create_task(transport.send(get()))
        while not server.connections:
            await asyncio.sleep(0.001)
        await transport.aclose()
        assert isinstance(call.exception(), TransportError)
        assert call.exception().maybe_acted is False
        assert await server.all_closed()


async def test_closing_from_another_loop(server) -> None:
    """A call that runs in one thread's loop ends when another thread closes the transport."""
    server.answer = lambda exchange: exchange.hang()
    transport = Transport(base_url=server.url)
    outcome: list[BaseException] = []

    def run() -> None:
        async def call() -> None:
            try:
                await transport.send(get())
            except TransportError as error:
                outcome.append(error)

        asyncio.run(call())

    thread = threading.Thread(target=run)
    thread.start()
    while not server.exchanges:
        await asyncio.sleep(0.001)
    await transport.aclose()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
    assert "closed" in str(outcome[0])
    assert await server.all_closed()


# Cancellation at every point


class CancelAt:
    """Runs a coroutine and cancels its task at its n-th suspension (and, if asked, at the one after it again)."""

    def __init__(self, work: Any, numbers: set[int]) -> None:
        self.work = work
        self.numbers = numbers
        self.suspensions = 0

    def __await__(self) -> Iterator[Any]:
        inner = self.work.__await__()
        thrown: BaseException | None = None
        while True:
            try:
                yielded = next(inner) if thrown is None else inner.throw(thrown)
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            if self.suspensions in self.numbers:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield yielded
            except BaseException as error:
                thrown = error
            else:
                thrown = None


async def upload(transport: Transport) -> WireReply:
    async def source() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield b"x" * 10

    return await transport.send(WireRequest("POST", "/echo", files=[FilePart("media", "a", source(), size=30)]))


async def upload_file(transport: Transport) -> WireReply:
    return await transport.send(WireRequest("POST", "/echo", files=[FilePart("media", "a", Path(__file__))]))


async def streamed(transport: Transport) -> WireReply:
    async with transport.stream(get("/echo")) as reply:
        content = b"".join([chunk async for chunk in reply.aiter_bytes()])
    return WireReply(reply.status, reply.headers, content)


async def plain(transport: Transport) -> WireReply:
    return await transport.send(get("/echo"))


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("call", [plain, upload, upload_file, streamed])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancelling_anywhere_leaks_nothing(server, tls_server, trusted, scheme, call, warm, twice) -> None:
    """Cancelled at any suspension, a call leaves no connection behind and no half-read answer to the next one."""
    target = server if scheme == "http" else tls_server

    async def answer(exchange: Exchange) -> None:
        # In pieces, so that there are suspensions in the middle of headers and body.
        for piece in (b"HTTP/1.1 200 OK\r\nTransfer-", b"Encoding: chunked\r\n\r\n4\r\n", exchange.target.encode()[:4]):
            await exchange.raw(piece)
            await asyncio.sleep(0)
        await exchange.raw(b"\r\n0\r\n\r\n")

    target.answer = answer
    for number in range(1, 400):
        transport = Transport(base_url=target.url, max_connections=1)
        if warm:
            await transport.send(get("/warm"))
        attempt = CancelAt(call(transport), {number, number + 1} if twice else {number})

        async def run(attempt: CancelAt = attempt) -> Any:
            return await attempt

        outcome = (await asyncio.gather(asyncio.ensure_future(run()), return_exceptions=True))[0]
        (pool,) = [pool for here in transport._pools._by_loop.values() for pool in here.pools.values()] or [None]
        if pool is not None:
            assert pool.open == pool.idle, f"a connection is lost at suspension {number}"
            assert pool.waiting == 0
        assert not transport._running
        reply = await transport.send(get("/next"))
        assert reply.content == b"/nex", f"a dirty connection at suspension {number}"
        await transport.aclose()
        if attempt.suspensions < number:
            assert isinstance(outcome, WireReply)
            break
        if not twice:
            assert isinstance(outcome, asyncio.CancelledError), f"swallowed at suspension {number}: {outcome!r}"
    else:
        pytest.fail("the call never came to an end")
    assert number > 5
    assert await target.all_closed()


async def test_a_cancelled_upload_closes_its_file_at_once(server, transport, tmp_path, monkeypatch) -> None:
    """The file is closed when the call ends, not when somebody collects garbage."""
    path = tmp_path / "video.mp4"
    path.write_bytes(b"x" * 5_000_000)
    opened: list[Any] = []
    original = Path.open

    def recording(self: Path, *args: Any, **more: Any) -> Any:
        opened.append(original(self, *args, **more))
        return opened[-1]

    monkeypatch.setattr(Path, "open", recording)
    upload = asyncio.create_task(
        transport.send(WireRequest("POST", "/x", files=[FilePart("media", "a", path), FilePart("two", "b", b"")]))
    )
    while not opened:
        await asyncio.sleep(0)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert [file.closed for file in opened] == [True]


async def test_cancelling_those_in_line_leaks_nothing(server) -> None:
    """Calls cancelled while they wait for a connection, at every moment of the handover, lose none."""
    release = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await release.wait()
        await exchange.reply()

    server.answer = answer
    transport = Transport(base_url=server.url, max_connections=2)
    for turn in range(30):
        release.clear()
        calls = [asyncio.create_task(transport.send(get())) for _ in range(10)]
        for _ in range(3):
            await asyncio.sleep(0)
        release.set()
        for _ in range(turn):
            await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, WireReply) for outcome in outcomes[1::2])
    (pool,) = next(iter(transport._pools._by_loop.values())).pools.values()
    assert pool.open == pool.idle <= 2
    assert pool.waiting == 0
    assert server.max_open <= 4  # the server notices a closed connection a moment later
    await transport.aclose()


# Streams


async def download(transport: Transport, request: WireRequest, pieces: list[bytes], **more: Any) -> None:
    async with transport.stream(request, **more) as reply:
        async for piece in reply.aiter_bytes():
            pieces.append(piece)


@pytest.mark.parametrize("kind", ["own", "user", "user2"])
async def test_a_stream_gives_status_headers_and_pieces(server, kind) -> None:
    """A download arrives piece by piece, decoded."""
    body = os.urandom(300_000)
    server.answer = lambda exchange: exchange.reply(
        gzip.compress(body), headers="Content-Encoding: gzip\r\nContent-Type: audio/amr\r\n"
    )
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, http_client=client)
        async with transport.stream(INFO) as reply:
            assert (reply.status, reply.headers["content-type"]) == (200, "audio/amr")
            pieces = [piece async for piece in reply.aiter_bytes()]
        assert b"".join(pieces) == body
        assert len(pieces) > 1
        assert TOKEN in server.lines[0]
        await transport.aclose()


async def test_a_stream_read_to_its_end_keeps_the_connection(server, transport) -> None:
    """The next call uses it."""
    async with transport.stream(get()) as reply:
        assert [piece async for piece in reply.aiter_bytes()] == [b"{}"]
    await transport.send(get())
    assert server.connections == 1


async def test_a_stream_left_early_closes_the_connection(server, transport) -> None:
    """What was not read cannot reach the next call."""
    server.answer = lambda exchange: exchange.reply(b"x" * 1_000_000)
    async with transport.stream(get()) as reply:
        async for _ in reply.aiter_bytes():
            break
    assert await server.all_closed()
    async with transport.stream(get()):
        pass
    assert await server.all_closed()
    assert (await transport.send(get())).status == 200


@pytest.mark.parametrize("kind", ["own", "user"])
async def test_a_stream_has_a_size_limit(server, kind) -> None:
    """More bytes than allowed are an error, announced or not; the stream's own limit counts."""

    async def endless(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await exchange.raw(b"x" * 10_000)

    server.answer = endless
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, http_client=client)
        pieces: list[bytes] = []
        with pytest.raises(ReplyError, match="larger than 50000 bytes"):
            await download(transport, INFO, pieces, max_body=50_000)
        assert sum(map(len, pieces)) <= 50_000
        assert await server.all_closed()
        await transport.aclose()


async def test_a_stream_has_a_total_deadline(server, transport) -> None:
    """A slow download ends when its time is over."""

    async def drip(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await exchange.raw(b"x")
            skip(0.05)
            await asyncio.sleep(0)

    server.answer = drip
    with pytest.raises(TimedOutError):
        await download(transport, get(timeout=0.1), [])
    assert await server.all_closed()


@pytest.mark.parametrize("kind", ["own", "user"])
async def test_a_stream_is_read_once_and_while_it_is_open(server, kind) -> None:
    """Before, after and a second time are mistakes; reading on could read what belongs to another call by now."""
    server.answer = lambda exchange: exchange.reply(b"abc")
    async with client_of(kind) as client:
        transport = Transport(base_url=server.url, http_client=client)
        stream = transport.stream(get())
        with pytest.raises(ConfigError, match="not open"):
            await anext(stream.aiter_bytes())
        async with stream as reply:
            assert b"".join([piece async for piece in reply.aiter_bytes()]) == b"abc"
            with pytest.raises(ConfigError, match="read already"):
                await anext(reply.aiter_bytes())
        async with stream as reply:
            pass
        with pytest.raises(ConfigError, match="not open"):
            await anext(reply.aiter_bytes())
        await transport.aclose()


async def test_a_cut_stream_is_an_error(server, transport) -> None:
    """A body that ends too soon is not taken for complete."""

    async def cut(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        exchange.close()

    server.answer = cut
    with pytest.raises(TransportError, match="broke"):
        await download(transport, get(), [])


# Clients made by the user


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_users_client_is_used_as_it_is(server, library) -> None:
    """Its headers and hooks count, the request arrives complete, the object is not changed and not closed."""
    urls: list[str] = []

    async def hook(request: Any) -> None:
        urls.append(f"{request.url} {request.url.raw_path!r} {request.url.params}")

    async with library.AsyncClient(headers={"X-Gateway": "key"}, event_hooks={"request": [hook]}) as client:
        before = dict(client.__dict__)
        transport = Transport(base_url=server.url, http_client=client)
        await transport.send(INFO)
        await transport.send(post(b'{"a":1}', credentials=Credentials(json={"secret": Secret("s")})))
        await transport.aclose()
        assert client.__dict__ == before
        assert not client.is_closed
        (await client.get(server.url)).raise_for_status()
    first, second, _ = server.exchanges
    assert first.target == f"/cgi-bin/user/info?access_token={TOKEN}&openid=o1"
    assert first.header("x-gateway") == "key"
    assert json.loads(second.body) == {"a": 1, "secret": "s"}
    assert server.connections == 1
    assert "access_token" not in " ".join(urls[:2])


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_changes_to_a_users_client_are_seen(server, library) -> None:
    """Headers, hooks and transports that the user sets later count for the next call."""
    async with library.AsyncClient() as client:
        transport = Transport(base_url=server.url, http_client=client)
        await transport.send(get())
        client.headers = {"X-New": "1"}
        await transport.send(get())
        assert server.exchanges[1].header("x-new") == "1"
        await transport.aclose()


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_mock_transport_works(library) -> None:
    """A handler sees path, parameters and body of the call."""
    seen: list[Any] = []

    def handler(request: Any) -> Any:
        seen.append((request.url.path, dict(request.url.params), request.content, str(request.url)))
        return library.Response(200, json={"ok": 1})

    async with library.AsyncClient(transport=library.MockTransport(handler)) as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        reply = await transport.send(INFO)
        await transport.send(post(b"[1]"))
        await transport.aclose()
    assert json.loads(reply.content) == {"ok": 1}
    assert seen == [
        (
            "/cgi-bin/user/info",
            {"access_token": TOKEN, "openid": "o1"},
            b"",
            "https://api.weixin.qq.com/cgi-bin/user/info",
        ),
        ("/x", {}, b"[1]", "https://api.weixin.qq.com/x"),
    ]


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_an_asgi_transport_works(library) -> None:
    """An application in the same process gets the whole request."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def endpoint(request: Any) -> JSONResponse:
        form = await request.body()
        return JSONResponse({"query": str(request.url.query), "size": len(form)})

    app = Starlette(routes=[Route("/cgi-bin/user/info", endpoint), Route("/x", endpoint, methods=["POST"])])
    async with library.AsyncClient(transport=library.ASGITransport(app=app)) as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        reply = await transport.send(INFO)
        assert json.loads(reply.content)["query"] == f"access_token={TOKEN}&openid=o1"
        reply = await transport.send(WireRequest("POST", "/x", files=[FilePart("media", "a", b"x" * 1000)]))
        assert json.loads(reply.content)["size"] > 1000
        await transport.aclose()


async def test_mounted_transports_are_used(server) -> None:
    """What the user mounted for a host serves our calls to it."""

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.url.params["access_token"])

    async with httpx.AsyncClient(mounts={"https://": httpx.MockTransport(handler), "http://": None}) as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        assert (await transport.send(INFO)).content.decode() == TOKEN
        plain_one = Transport(base_url=server.url, http_client=client)
        assert (await plain_one.send(INFO)).status == 200
        await transport.aclose()
        await plain_one.aclose()


class TextReader(httpx.AsyncBaseTransport):
    """A transport of the kind of httpx-aiohttp: it takes the address from ``str(request.url)``."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Note the address as text."""
        self.urls.append(str(request.url))
        body = await request.aread()
        return httpx.Response(200, content=body or b"{}")


@pytest.fixture
def _unlearned() -> Iterator[None]:
    _user_client._TEXT_READERS.clear()
    yield
    _user_client._TEXT_READERS.clear()


@pytest.mark.usefixtures("_unlearned")
async def test_a_transport_that_reads_the_address_as_text_is_found_out() -> None:
    """Its first request lacks the query (the platform refuses it); it is repeated, and later ones are right at once."""
    reader = TextReader()
    async with httpx.AsyncClient(transport=reader) as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        assert (await transport.send(INFO)).status == 200
        full = f"https://api.weixin.qq.com/cgi-bin/user/info?access_token={TOKEN}&openid=o1"
        assert reader.urls == ["https://api.weixin.qq.com/cgi-bin/user/info", full]
        reply = await transport.send(post(b'{"a":1}', credentials=WITH_TOKEN))
        assert reply.content == b'{"a":1}'
        assert reader.urls[2:] == [f"https://api.weixin.qq.com/x?access_token={TOKEN}"]
        await transport.aclose()


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_client_that_bypasses_its_transports_is_found_out(library) -> None:
    """What went out by a way we do not know went out without query and body; its answer is not passed off as one."""

    class Detour(library.AsyncClient):
        def _transport_for_url(self, url: Any) -> Any:
            return library.MockTransport(lambda request: library.Response(200, json={"errcode": 41001}))

    async with Detour() as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        with pytest.raises(ConfigError, match="bypasses") as caught:
            await transport.send(INFO)
        assert caught.value.field == "http_client"
        await transport.aclose()


async def test_a_closed_client_of_the_user_is_refused() -> None:
    """The user closed it; nothing is sent and its transports are not woken up."""
    client = httpx.AsyncClient()
    await client.aclose()
    transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
    with pytest.raises(ConfigError) as caught:
        await transport.send(INFO)
    assert caught.value.field == "http_client"
    await transport.aclose()


@pytest.mark.parametrize("client", [httpx.Client(), object(), "client"])
def test_only_asynchronous_clients_are_taken(client) -> None:
    """Anything else is refused when it is handed over."""
    with pytest.raises(ConfigError) as caught:
        Transport(base_url="https://api.weixin.qq.com", http_client=client)
    assert caught.value.field == "http_client"


async def test_a_hook_that_changes_the_host_gets_no_credentials(server) -> None:
    """A request that a hook sends elsewhere is broken off before its credentials are added."""

    async def detour(request: httpx.Request) -> None:
        request.url = httpx.URL(server.url)

    async with httpx.AsyncClient(event_hooks={"request": [detour]}) as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        with pytest.raises(ConfigError, match="changed the host"):
            await transport.send(INFO)
        assert server.exchanges == []
        await transport.aclose()


async def test_an_auth_flow_of_the_user_may_ask_elsewhere(server) -> None:
    """A gateway's login request passes as it is; ours keeps its credentials when it is sent again."""

    class Login(httpx.Auth):
        async def async_auth_flow(self, request: httpx.Request) -> Any:
            yield httpx.Request("GET", f"{server.url}/login")
            yield request
            yield request

    async with httpx.AsyncClient(auth=Login()) as client:
        transport = Transport(base_url=server.url, http_client=client)
        await transport.send(INFO)
        await transport.aclose()
    full = f"GET /cgi-bin/user/info?access_token={TOKEN}&openid=o1 HTTP/1.1"
    assert server.lines == ["GET /login HTTP/1.1", full, full]


async def test_a_mistake_in_the_users_code_comes_out_as_it_is() -> None:
    """An error of a hook or an application is not dressed up as a failure of the network."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError("in the handler")

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        transport = Transport(base_url="https://api.weixin.qq.com", http_client=client)
        with pytest.raises(ZeroDivisionError):
            await transport.send(INFO)
        await transport.aclose()


# respx


@respx.mock
async def test_respx_intercepts_our_own_client() -> None:
    """Tests of applications see method, path, parameters and body."""
    transport = Transport(base_url="https://api.weixin.qq.com")
    route = respx.post("https://api.weixin.qq.com/cgi-bin/tags/create", params={"access_token": TOKEN}).respond(
        json={"tag": {"id": 1}}
    )
    content = '{"tag":{"name":"广东"}}'.encode()
    reply = await transport.send(WireRequest("POST", "/cgi-bin/tags/create", content=content, credentials=WITH_TOKEN))
    assert json.loads(reply.content) == {"tag": {"id": 1}}
    assert route.calls.last.request.content == content
    assert (await transport.send(WireRequest("POST", "/cgi-bin/tags/create", credentials=WITH_TOKEN))).status == 200
    await transport.aclose()


@pytest.mark.parametrize(
    ("side_effect", "expected", "maybe_acted"),
    [
        (httpx.ConnectError, TransportError, False),
        (httpx.ConnectTimeout, TimedOutError, False),
        (httpx.PoolTimeout, TimedOutError, False),
        (httpx.ReadTimeout, TimedOutError, True),
        (httpx.WriteTimeout, TimedOutError, True),
        (httpx.ReadError, TransportError, True),
        (httpx.RemoteProtocolError, TransportError, True),
        (httpx.DecodingError, TransportError, True),
        (ConnectionResetError, TransportError, True),
        (TimeoutError, TimedOutError, True),
    ],
)
@respx.mock
async def test_every_failure_becomes_ours(side_effect, expected, maybe_acted) -> None:
    """The table of what each failure means."""
    respx.get(path="/cgi-bin/user/info").mock(side_effect=side_effect)
    transport = Transport(base_url="https://api.weixin.qq.com")
    with pytest.raises(TransportError) as caught:
        await transport.send(INFO)
    assert type(caught.value) is expected
    assert caught.value.maybe_acted is maybe_acted
    in_line = side_effect is httpx.PoolTimeout
    assert getattr(caught.value, "stage", "") == ("waiting for a free connection" if in_line else "")
    await transport.aclose()


@respx.mock
async def test_an_unmatched_route_of_respx_fails_the_test() -> None:
    """Respx's own complaint is not hidden behind an error of ours."""
    transport = Transport(base_url="https://api.weixin.qq.com")
    respx.get("https://api.weixin.qq.com/other")
    with pytest.raises(AssertionError, match="not mocked"):
        await transport.send(get())
    await transport.aclose()


# What we rely on


async def test_the_private_attributes_we_rely_on_exist() -> None:
    """If httpx or httpx2 rename these, this test says so before anything else does."""
    transport = httpx.AsyncHTTPTransport()
    assert hasattr(transport, "_pool"), "our pool takes the place of AsyncHTTPTransport._pool"
    await transport.aclose()
    for library in (httpx, httpx2):
        client = library.AsyncClient()
        assert hasattr(client, "_transport"), f"{library.__name__}.AsyncClient._transport is wrapped"
        assert isinstance(client._mounts, dict), f"{library.__name__}.AsyncClient._mounts are wrapped"
        await client.aclose()


async def test_the_cargo_is_carried_by_the_extensions() -> None:
    """Httpx hands our pool the very extensions of the request."""
    seen: list[Any] = []

    class Pool:
        async def handle_async_request(self, request: Any) -> Any:
            seen.append(request.extensions["mark"])
            raise httpx.ConnectError("enough")

    transport = _transport._PoolTransport(Pool())  # type: ignore[arg-type]
    mark = object()
    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(
            httpx.Request("GET", "https://a", stream=httpx.ByteStream(b""), extensions={"mark": mark})
        )
    assert seen == [mark]


# Headers, paths and queries of one's own


SIGNED = Credentials(headers={"Authorization": Secret('SCHEME signature="c2lnbmF0dXJlLW9mLXRoaXM=",serial="5AB"')})


@pytest.mark.parametrize("kind", ["own", "httpx", "httpx2"])
async def test_headers_of_a_request_replace_the_clients(server, kind) -> None:
    """A header of the request stands alone, whatever the client would have sent; no hook of the client sees it."""
    seen: list[Any] = []

    async def hook(request: Any) -> None:
        seen.append(request.headers)

    library = {"own": None, "httpx": httpx, "httpx2": httpx2}[kind]
    outer = library.AsyncClient(event_hooks={"request": [hook]}) if library else None
    made = Transport(base_url=server.url, http_client=outer)
    await made.send(get(headers={"Accept": "application/json", "user-agent": "shop"}, credentials=SIGNED))
    await made.send(get())
    first, second = server.exchanges
    assert first.head.lower().count(b"\r\naccept:") == first.head.lower().count(b"\r\nuser-agent:") == 1
    assert (first.header("Accept"), first.header("User-Agent")) == ("application/json", "shop")
    assert first.header("Authorization") == SIGNED.headers["Authorization"].reveal()
    assert second.header("Authorization") is None
    assert second.header("User-Agent") != "shop"
    assert [headers for headers in seen if "authorization" in headers] == []
    await made.aclose()
    if outer is not None:
        await outer.aclose()


@pytest.mark.parametrize(
    "headers", [{"X-A": "1\r\nX-B: 2"}, {"X-A\r\nX-B": "1"}, {"X A": "1"}, {"X-A": "茶"}, {"": "1"}, {"X:": "1"}]
)
@pytest.mark.parametrize("secret", [True, False])
async def test_a_header_stays_in_its_line(server, transport, headers, secret) -> None:
    """No value begins another header, and nothing is sent."""
    hidden = Credentials(headers={name: Secret(value) for name, value in headers.items()}) if secret else None
    with pytest.raises(ConfigError):
        await transport.send(get(headers=None if secret else headers, credentials=hidden))
    assert server.exchanges == []


async def test_an_echoed_header_is_overwritten(server, transport) -> None:
    """An answer that repeats what authorises us does not bring it into anybody's log."""
    heart = "c2lnbmF0dXJlLW9mLXRoaXM="
    server.answer = lambda exchange: exchange.reply(headers=f"X-Echo: {exchange.header('Authorization')}\r\n")
    reply = await transport.send(get(credentials=SIGNED))
    assert heart not in reply.headers["x-echo"]
    assert heart in SIGNED.values()
    assert heart not in repr(SIGNED)


async def test_a_body_has_the_type_it_is_given(server, transport) -> None:
    """Bodies that are no JSON say what they are."""
    await transport.send(post(b"<xml/>", content_type="text/xml; charset=utf-8"))
    await transport.send(post(b"{}"))
    assert [exchange.header("Content-Type") for exchange in server.exchanges] == [
        "text/xml; charset=utf-8",
        "application/json",
    ]
    with pytest.raises(ConfigError):
        await transport.send(post(b"{}", content_type="a\r\nb: c"))


@pytest.mark.parametrize("kind", ["own", "httpx", "httpx2"])
@pytest.mark.parametrize("query", ["token=a%2Fb_-=&t=gzip", "a=1&a=2", "a=%7Bx%7D*@:", "a=b?c/d"])
async def test_a_query_that_is_signed_goes_out_as_it_is(server, kind, query) -> None:
    """Whoever has signed an address finds every byte of it on the wire."""
    library = {"own": None, "httpx": httpx, "httpx2": httpx2}[kind]
    outer = library.AsyncClient() if library else None
    made = Transport(base_url=server.url, http_client=outer)
    await made.send(get("/v3/x%7C%2A~/y", query=query))
    assert server.exchanges[0].target == f"/v3/x%7C%2A~/y?{query}"
    await made.aclose()
    if outer is not None:
        await outer.aclose()


@pytest.mark.parametrize("more", [{"query": "a=1", "params": {"b": "2"}}, {"query": "a b"}, {"query": "a#b"}])
async def test_a_query_is_encoded_already(transport, more) -> None:
    """A query with blanks, or beside params, is a mistake of the caller."""
    with pytest.raises(ConfigError, match="query"):
        await transport.send(get(**more))


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("A-1_b.~", "A-1_b.~"),
        ("a/b", "a%2Fb"),
        ("a|b*@", "a%7Cb%2A%40"),
        ("茶", "%E8%8C%B6"),
        ("%41", "%2541"),
        ("..a", "..a"),
    ],
)
def test_values_stay_in_their_segment(value, segment) -> None:
    """Everything but unreserved characters is percent-encoded."""
    assert encode_path("/v3/{number}/close", {"number": value}) == f"/v3/{segment}/close"


@pytest.mark.parametrize("value", ["", ".", "..", None, 1, "\ud800"])
def test_values_that_cannot_be_a_segment(value) -> None:
    """What would change the path is refused by its name."""
    with pytest.raises(ConfigError) as caught:
        encode_path("/v3/{number}/close", {"number": value})
    assert caught.value.field == "number"


async def test_a_stream_sends_headers_too(server, transport) -> None:
    """A signed download carries what a signed call does."""
    async with transport.stream(get(headers={"Accept": "*/*"}, credentials=SIGNED)) as reply:
        assert [piece async for piece in reply.aiter_bytes()] == [b"{}"]
        assert reply.headers["content-length"] == "2"
    assert server.exchanges[0].header("Authorization") == SIGNED.headers["Authorization"].reveal()


def test_a_client_certificate_that_cannot_work(tmp_path) -> None:
    """Missing files, or a client of the user's beside them, are found when the transport is made."""
    missing = (str(tmp_path / "a.pem"), str(tmp_path / "b.pem"))
    for more in ({}, {"http_client": httpx.AsyncClient()}):
        with pytest.raises(ConfigError) as caught:
            Transport(base_url="https://api.example.com", client_certificate=missing, **more)
        assert caught.value.field == "client_certificate"
        assert caught.value.__context__ is None
