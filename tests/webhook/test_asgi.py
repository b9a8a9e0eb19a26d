"""The plain ASGI application, driven as a server drives it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.tokens.virtual_time import virtual
from tests.webhook.pushes import AES_KEY, APPID, TOKEN, fields, opened, safe, verification
from wxmp.errors import ConfigError
from wxmp.webhook import DeliveryPolicy, MemoryDedupe, TextMessage, Webhook
from wxmp.webhook.asgi import WebhooksASGI

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wxmp.webhook.asgi import WebhookASGI

REFUSED = b"refused\n"


def echoing(**settings: Any) -> Webhook:
    hook = Webhook(**{"token": TOKEN, "encoding_aes_key": AES_KEY, "appid": APPID, **settings})

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> str:
        return message.content

    return hook


class Server:
    """One request, as an ASGI server gives it to an application."""

    def __init__(self, messages: Iterable[dict[str, Any]]) -> None:
        self._messages = iter(messages)
        self.read = 0
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        self.read += 1
        message = next(self._messages, None)
        if message is None:
            await asyncio.sleep(60)
            raise AssertionError("nothing more comes")
        return message

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        assert [message["type"] for message in self.sent] == ["http.response.start", "http.response.body"]
        return bytes(self.sent[1]["body"])


def http(
    method: str = "POST", path: str = "/", query: bytes = b"", *, root: str = "", headers: Iterable[Any] = ()
) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "query_string": query,
        "headers": list(headers),
    }


def chunks(*parts: bytes) -> list[dict[str, Any]]:
    last = len(parts) - 1
    return [{"type": "http.request", "body": part, "more_body": index < last} for index, part in enumerate(parts)]


async def ask(app: WebhookASGI, scope: dict[str, Any], messages: Iterable[dict[str, Any]] = ()) -> Server:
    server = Server(messages)
    async with asyncio.timeout(20):
        await app(scope, server.receive, server.send)
    return server


@pytest.fixture(autouse=True)
def _no_traceback(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever a request looks like, there is no traceback in the log."""
    yield
    for record in caplog.get_records("call"):
        assert record.exc_info is None or record.exc_info[0] is RuntimeError, record


# ---- reading


async def test_a_push_is_answered() -> None:
    """Status, length, type, and the sealed answer."""
    query, body = safe(fields(Content="hi"))
    served = await ask(echoing().asgi(), http(query=query), chunks(body))
    assert served.status == 200
    assert served.headers == {
        b"content-type": b"application/xml; charset=utf-8",
        b"content-length": b"%d" % len(served.body),
        b"x-content-type-options": b"nosniff",
    }
    assert "hi" in opened(served.body)


async def test_the_address_is_verified_without_reading_a_body() -> None:
    """GET is answered from its query."""
    served = await ask(echoing().asgi(), http("GET", query=verification("echo me")))
    assert (served.status, served.body, served.read) == (200, b"echo me", 0)


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_a_body_in_pieces_is_put_together(size: int) -> None:
    """A server may cut the body anywhere, and begin or end with an empty piece."""
    query, body = safe(fields(Content="in pieces"))
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    served = await ask(echoing().asgi(), http(query=query), chunks(b"", *parts, b""))
    assert "in pieces" in opened(served.body)


async def test_messages_may_leave_out_what_has_a_default() -> None:
    """ASGI lets a server omit body and more_body."""
    query, body = safe(fields(Content="hi"))
    served = await ask(
        echoing().asgi(),
        http(query=query),
        [{"type": "http.request", "more_body": True}, {"type": "http.request", "body": body}],
    )
    assert "hi" in opened(served.body)
    assert (await ask(echoing().asgi(), http(query=query), [{"type": "http.request"}])).status == 400


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_whoever_goes_away_while_reading_gets_nothing(before: int) -> None:
    """No handler runs and nothing is sent."""
    query, body = safe(fields())
    messages = [{"type": "http.request", "body": body, "more_body": True}] * before
    served = await ask(echoing().asgi(), http(query=query), [*messages, {"type": "http.disconnect"}])
    assert served.sent == []


async def test_a_body_without_end_is_refused_unread() -> None:
    """After max_body nothing more is read."""
    served = Server({"type": "http.request", "body": b"x" * 1000, "more_body": True} for _ in range(1_000_000))
    query, _ = safe(fields())
    await echoing(max_body=10_000).asgi()(http(query=query), served.receive, served.send)
    assert (served.status, served.body) == (413, REFUSED)
    assert served.read == 11


async def test_a_length_beyond_the_limit_is_refused_unread() -> None:
    """The header is enough."""
    served = await ask(echoing(max_body=100).asgi(), http(headers=[(b"content-length", b"101")]))
    assert (served.status, served.body, served.read) == (413, REFUSED, 0)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ((b"content-encoding", b"gzip"), 400),
        ((b"content-encoding", b"\xff\xfe"), 400),
        ((b"content-length", b"9" * 5000), 413),
    ],
)
async def test_odd_headers_are_refused_unread(header: tuple[bytes, bytes], status: int) -> None:
    """A compressed body, a length of thousands of digits."""
    served = await ask(echoing().asgi(), http(headers=[header]))
    assert (served.status, served.body, served.read) == (status, REFUSED, 0)


@pytest.mark.parametrize("value", [b"", b"-5", b"1e3", b"\xb2", b"\xff"])
async def test_a_length_that_is_no_number_is_not_believed(value: bytes) -> None:
    """The body counts."""
    query, body = safe(fields(Content="hi"))
    served = await ask(echoing().asgi(), http(query=query, headers=[(b"content-length", value)]), chunks(body))
    assert served.status == 200


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "get", ""])
async def test_other_methods_are_refused_unread(method: str) -> None:
    """405, whatever the rest says."""
    query, _ = safe(fields())
    served = await ask(echoing().asgi(), http(method, query=query))
    assert (served.status, served.body, served.read) == (405, REFUSED, 0)


@pytest.mark.parametrize("query", [b"", b"\xff\xfe=%zz&&&==", b"a" * 100_000, b"timestamp=" + b"9" * 10_000])
async def test_nonsense_is_refused(query: bytes) -> None:
    """Neither an odd query nor an odd body gets further."""
    for body in (b"", b"\x00" * 100, b"<xml>", b"{"):
        assert (await ask(echoing().asgi(), http(query=query), chunks(body))).status in (400, 403)
    assert (await ask(echoing().asgi(), http("GET", query=query))).status == 403


async def test_a_server_that_says_the_connection_is_gone_hears_no_complaint() -> None:
    """Sending to a platform that has hung up is an OSError in some servers."""
    query, body = safe(fields())
    served = Server(chunks(body))

    async def send(message: Any) -> None:
        raise BrokenPipeError

    await echoing().asgi()(http(query=query), served.receive, send)


# ---- several accounts


def two() -> WebhooksASGI:
    return WebhooksASGI({"/wx/shop": echoing(), "/wx/news": echoing(token="newsToken", encoding_aes_key=None)})


@pytest.mark.parametrize(
    ("root", "before"),
    [("", ""), ("/", ""), ("/api", "/api"), ("/api/", "/api"), ("/wx", "/wx"), ("/api", "")],
)
async def test_accounts_are_told_apart_by_their_path(root: str, before: str) -> None:
    """Behind a prefix too, whether the server leaves it in the path or not."""
    app = two()
    shop = await ask(app, http("GET", f"{before}/wx/shop", verification("shop"), root=root))
    news = await ask(app, http("GET", f"{before}/wx/news", verification("news", token="newsToken"), root=root))
    assert (shop.body, news.body) == (b"shop", b"news")
    assert (await ask(app, http("GET", f"{before}/wx/news", verification("shop"), root=root))).status == 403


@pytest.mark.parametrize("path", ["/", "", "/wx", "/wx/shop/", "/wx/shop/more", "/WX/SHOP", "wx/shop", "/wx/shop%2f"])
async def test_other_paths_are_not_found(path: str) -> None:
    """404 without reading."""
    served = await ask(two(), http(path=path))
    assert (served.status, served.body, served.read) == (404, b"not found\n", 0)


@pytest.mark.parametrize("hooks", [{}, {"shop": 1}, {"": 1}])
def test_paths_that_cannot_be_reached_are_refused(hooks: Any) -> None:
    """Each begins with a slash, and there is one."""
    with pytest.raises(ConfigError):
        WebhooksASGI(hooks)


# ---- other scopes


async def test_a_websocket_is_closed() -> None:
    """There is nothing to talk about."""
    served = await ask(two(), {"type": "websocket", "path": "/wx/shop"}, [{"type": "websocket.connect"}])
    assert [message["type"] for message in served.sent] == ["websocket.close"]


LIFE = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


@virtual
async def test_the_lifespan_drains() -> None:
    """The server's shutdown waits for handlers, and their answers still go out."""
    hook = Webhook(token=TOKEN, encoding_aes_key=AES_KEY, appid=APPID)

    @hook.default
    async def slow(message: Any) -> str:
        await asyncio.sleep(0.2)
        return "still here"

    app = hook.asgi()
    query, body = safe(fields())
    request = asyncio.ensure_future(ask(app, http(query=query), chunks(body)))
    await asyncio.sleep(0.05)
    served = await ask(app, {"type": "lifespan"}, LIFE)
    assert [message["type"] for message in served.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert "still here" in opened((await request).body)


@virtual
async def test_several_accounts_drain_at_the_same_time() -> None:
    """A shutdown takes as long as the slowest, and a store is closed when nobody uses it any more."""
    order: list[str] = []

    class Watched(MemoryDedupe):
        async def aclose(self) -> None:
            order.append("closed")

    store, hooks = Watched(), {}
    for name in ("shop", "news", "help"):
        hook = Webhook(
            token=TOKEN, encoding_aes_key=AES_KEY, appid=APPID + name, dedupe=store, delivery=DeliveryPolicy(drain=1.0)
        )

        @hook.default
        async def slow(message: Any) -> None:
            await asyncio.sleep(0.3)
            order.append("ended")

        hooks[f"/{name}"] = hook
    app = WebhooksASGI(hooks)
    requests = []
    for name in ("shop", "news", "help"):
        query, body = safe(fields(), appid=APPID + name)
        requests.append(asyncio.ensure_future(ask(app, http(path=f"/{name}", query=query), chunks(body))))
    await asyncio.sleep(0.05)
    started = asyncio.get_running_loop().time()
    await ask(app, {"type": "lifespan"}, LIFE)
    assert asyncio.get_running_loop().time() - started < 0.6
    assert order == ["ended"] * 3 + ["closed"] * 3
    assert {(await request).status for request in requests} == {200}


async def test_a_store_that_cannot_be_closed_does_not_stop_the_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    """The log says so, the server hears that all is over."""

    class Broken(MemoryDedupe):
        async def aclose(self) -> None:
            raise RuntimeError("no")

    with caplog.at_level(logging.ERROR, "wxmp.webhook"):
        served = await ask(echoing(dedupe=Broken()).asgi(), {"type": "lifespan"}, LIFE)
    assert served.sent[-1]["type"] == "lifespan.shutdown.complete"
    assert "could not be closed" in caplog.text
