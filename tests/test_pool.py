"""The connection list: limits, order, reuse, expiry, and nothing lost when a call is cancelled."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from typing import TYPE_CHECKING

import httpcore
import pytest

from tests.raw_server import Exchange, RawServer
from wxmp import _pool
from wxmp._pool import Link, NetStream, Pool, PoolClosed, ReplyTooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as running:
        yield running


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        """Return the time the test has set."""
        return self.now


def make_pool(server: RawServer, *, limit: int = 2, clock: Clock | None = None, keepalive: float = 20.0) -> Pool:
    origin = httpcore.Origin(b"http", b"localhost", server.port)
    return Pool(origin, limit=limit, keepalive=keepalive, clock=clock or Clock())


async def use(pool: Pool, link: Link, path: bytes = b"/") -> bytes:
    """Make one request over ``link`` and read the answer to its end."""
    url = httpcore.URL(scheme=b"http", host=b"localhost", port=pool.origin.port, target=path)
    link.begin(100_000)
    response = await link.http.handle_async_request(httpcore.Request(b"GET", url, headers=[(b"Host", b"localhost")]))
    body = b"".join([chunk async for chunk in response.stream])
    await response.aclose()
    return body


async def warm(pool: Pool, count: int = 1) -> list[Link]:
    """Fill the pool with idle links; the one released last is the last of the list."""
    links = [pool.take() for _ in range(count)]
    for link in links:
        await use(pool, link)
    for link in links:
        pool.release(link)
    return links


async def test_the_link_used_last_is_taken_first(server) -> None:
    """Reuse is last in, first out, so that few connections stay warm and the others can expire."""
    pool = make_pool(server, limit=3)
    links = await warm(pool, 3)
    assert [pool.take(), pool.take(), pool.take()] == links[::-1]
    pool.close()


async def test_the_limit_is_kept(server) -> None:
    """No link is made beyond the limit."""
    pool = make_pool(server)
    assert pool.take() is not None
    assert pool.take() is not None
    assert pool.take() is None
    assert (pool.open, pool.made) == (2, 2)


async def test_turns_are_first_come_first_served(server) -> None:
    """Those who wait get a link in the order in which they came, and the link itself is handed over."""
    pool = make_pool(server, limit=1)
    (link,) = await warm(pool)
    assert pool.take() is link
    order: list[int] = []

    async def queue(number: int) -> None:
        got = await pool.wait()
        assert got is link
        order.append(number)
        await use(pool, got)
        pool.release(got)

    waiting = [asyncio.create_task(queue(number)) for number in range(5)]
    await asyncio.sleep(0)
    pool.release(link)
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3, 4]
    assert (pool.open, pool.idle, pool.waiting) == (1, 1, 0)
    pool.close()


async def test_nobody_overtakes_the_line(server) -> None:
    """A released link goes to who waits; who comes in the same moment finds nothing."""
    pool = make_pool(server, limit=1)
    (link,) = await warm(pool)
    pool.take()
    waiting = asyncio.create_task(pool.wait())
    await asyncio.sleep(0)
    pool.release(link)
    assert pool.take() is None
    assert await waiting is link


async def test_a_discarded_link_makes_room_for_who_waits(server) -> None:
    """When a link breaks, the first in line gets a new one."""
    pool = make_pool(server, limit=1)
    (link,) = await warm(pool)
    pool.take()
    waiting = asyncio.create_task(pool.wait())
    await asyncio.sleep(0)
    pool.discard(link)
    assert await waiting is not link
    assert pool.open == 1


@pytest.mark.parametrize("hand_over", ["release", "discard"])
async def test_a_turn_that_comes_with_the_cancellation_is_handed_on(server, hand_over) -> None:
    """A link given to a call that is cancelled in the same moment goes to the next in line."""
    pool = make_pool(server, limit=1)
    (link,) = await warm(pool)
    pool.take()
    first = asyncio.create_task(pool.wait())
    second = asyncio.create_task(pool.wait())
    await asyncio.sleep(0)
    getattr(pool, hand_over)(link)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    got = await second
    assert (pool.open, pool.waiting) == (1, 0)
    assert (got is link) is (hand_over == "release")


async def test_a_cancelled_wait_leaves_the_line(server) -> None:
    """Who gives up is forgotten at once."""
    pool = make_pool(server, limit=1)
    (link,) = await warm(pool)
    pool.take()
    waiting = asyncio.create_task(pool.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert pool.waiting == 0
    pool.release(link)
    assert pool.take() is link


async def test_an_answer_not_read_to_its_end_closes_the_connection(server) -> None:
    """A link in the middle of an answer is not used again, even if it is given back as good."""
    pool = make_pool(server)
    link = pool.take()
    url = httpcore.URL(scheme=b"http", host=b"localhost", port=server.port, target=b"/")
    await link.http.handle_async_request(httpcore.Request(b"GET", url, headers=[(b"Host", b"localhost")]))
    pool.release(link)
    assert (pool.open, pool.idle) == (0, 0)
    assert await server.all_closed()


async def test_connection_close_is_obeyed(server) -> None:
    """After ``Connection: close`` the link is not kept."""
    server.answer = lambda exchange: exchange.reply(headers="Connection: close\r\n")
    pool = make_pool(server)
    link = pool.take()
    await use(pool, link)
    pool.release(link)
    assert pool.idle == 0


async def test_a_link_idle_too_long_is_replaced(server) -> None:
    """After the keep-alive time a link is closed instead of used."""
    clock = Clock()
    pool = make_pool(server, clock=clock)
    (old,) = await warm(pool)
    clock.now += 20.5
    assert pool.take() is not old
    assert pool.open == 1
    assert await server.all_closed()


async def test_old_links_are_let_go_while_others_work(server) -> None:
    """One connection in use is enough for the idle ones at the bottom to be closed when their time is over."""
    clock = Clock()
    pool = make_pool(server, limit=5, clock=clock)
    await warm(pool, 5)
    for _ in range(10):
        clock.now += 4
        await warm(pool)
    assert (pool.open, pool.idle) == (1, 1)
    pool.close()


async def test_a_link_the_server_closed_is_noticed(server) -> None:
    """A connection closed by the server while idle is not handed out."""
    pool = make_pool(server)
    (old,) = await warm(pool)
    server.exchanges[0].close()
    await server.all_closed()
    assert pool.take() is not old


async def test_a_goodbye_the_loop_has_not_seen_is_noticed(server) -> None:
    """The system is asked too: a close that arrived while the loop was busy counts."""
    pool = make_pool(server)
    (old,) = await warm(pool)
    stream = old.stream
    assert isinstance(stream, NetStream)
    sock = server.exchanges[0].writer.get_extra_info("socket")

    sock.shutdown(socket.SHUT_WR)  # no await between this and the question below
    assert not stream._ended
    assert pool.take() is not old
    pool.close()


async def test_unasked_data_makes_a_link_unusable(server) -> None:
    """What arrives on an idle connection would be taken for the next answer; such a link is closed."""
    pool = make_pool(server)
    (old,) = await warm(pool)
    await server.exchanges[0].raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    await asyncio.sleep(0.02)
    assert pool.take() is not old
    pool.close()


async def test_closing_sends_away_who_waits(server) -> None:
    """Those in line get an error at once, links in use close when they are given back."""
    pool = make_pool(server, limit=1)
    (link,) = await warm(pool)
    pool.take()
    waiting = asyncio.create_task(pool.wait())
    await asyncio.sleep(0)
    pool.close()
    with pytest.raises(PoolClosed):
        await waiting
    with pytest.raises(PoolClosed):
        pool.take()
    pool.release(link)
    assert pool.open == 0
    assert await server.all_closed()


async def test_bytes_sent_are_known(server) -> None:
    """Before a byte of the request went out, and only then, a link says so."""
    pool = make_pool(server)
    (link,) = await warm(pool)
    link.begin(1000)
    assert link.may_have_sent() is False
    await use(pool, link)
    assert link.may_have_sent() is True
    pool.close()


async def test_an_answer_beyond_the_budget_is_cut(server) -> None:
    """Reading stops at the budget, wherever in the answer that is."""

    async def endless(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await exchange.raw(b"y" * 1000)

    server.answer = endless
    pool = make_pool(server)
    link = pool.take()
    with pytest.raises((ReplyTooLarge, httpcore.RemoteProtocolError)):
        await use(pool, link)
    pool.discard(link)
    assert await server.all_closed()


async def test_a_slow_reader_stops_the_sender(server) -> None:
    """A stream nobody reads keeps a bounded number of bytes."""

    async def flood(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            await exchange.raw(b"y" * 100_000)

    server.answer = flood
    pool = make_pool(server)
    link = pool.take()
    url = httpcore.URL(scheme=b"http", host=b"localhost", port=server.port, target=b"/")
    link.begin(100_000_000)
    response = await link.http.handle_async_request(httpcore.Request(b"GET", url, headers=[(b"Host", b"localhost")]))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert link.stream._unread < 1_000_000
    total = 0
    async for chunk in response.stream:
        total += len(chunk)
    assert total == 50_000_000
    await response.aclose()
    pool.release(link)
    assert pool.idle == 1
    pool.close()


async def test_a_large_upload_waits_for_the_server(server) -> None:
    """Writing waits while the server does not read, and loses nothing."""
    body = b"0123456789" * 500_000

    async def source() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    pool = make_pool(server)
    link = pool.take()
    url = httpcore.URL(scheme=b"http", host=b"localhost", port=server.port, target=b"/")
    headers = [(b"Host", b"localhost"), (b"Content-Length", str(len(body)).encode())]
    response = await link.http.handle_async_request(httpcore.Request(b"POST", url, headers=headers, content=source()))
    await response.aread()
    assert server.exchanges[0].body == body
    pool.close()


async def test_reads_and_writes_keep_httpcores_timeouts(server) -> None:
    """The stream honours the timeouts httpcore hands it."""
    server.answer = lambda exchange: exchange.hang()
    pool = make_pool(server)
    link = pool.take()
    url = httpcore.URL(scheme=b"http", host=b"localhost", port=server.port, target=b"/")
    request = httpcore.Request(
        b"GET", url, headers=[(b"Host", b"localhost")], extensions={"timeout": {"read": 0.02, "write": 0.02}}
    )
    with pytest.raises(httpcore.ReadTimeout):
        await link.http.handle_async_request(request)
    pool.discard(link)
    assert await server.all_closed()


# Several addresses


def answer_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name resolve to ``addresses``."""

    async def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)


async def test_the_next_address_is_tried_when_one_refuses(server, monkeypatch) -> None:
    """A host with a dead first address is reached at once."""
    answer_with(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.1")
    pool = make_pool(server)
    await warm(pool)
    assert server.connections == 1
    pool.close()


async def test_an_address_that_does_not_answer_holds_nobody_up(server, monkeypatch) -> None:
    """The second address is tried beside a silent first one, and the first attempt is given up."""
    answer_with(monkeypatch, "127.0.0.2", "127.0.0.1")
    monkeypatch.setattr(_pool, "HAPPY_EYEBALLS_DELAY", 0.01)
    given_up = asyncio.Event()
    attempt = _pool._attempt

    async def silent(stream: NetStream, address: str, port: int) -> NetStream:
        if address == "127.0.0.1":
            return await attempt(stream, address, port)
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        raise AssertionError

    monkeypatch.setattr(_pool, "_attempt", silent)
    pool = make_pool(server)
    await warm(pool)
    await asyncio.wait_for(given_up.wait(), 10)
    pool.close()


async def test_two_addresses_that_answer_leave_one_connection(server, monkeypatch) -> None:
    """The slower of two connections is closed, even if it succeeds in the same moment."""
    answer_with(monkeypatch, "127.0.0.1", "127.0.0.2")
    monkeypatch.setattr(_pool, "HAPPY_EYEBALLS_DELAY", 0.0)
    attempt = _pool._attempt
    together = asyncio.Barrier(2)

    async def both(stream: NetStream, address: str, port: int) -> NetStream:
        connected = await attempt(stream, "127.0.0.1", port)
        await together.wait()
        return connected

    monkeypatch.setattr(_pool, "_attempt", both)
    pool = make_pool(server)
    await warm(pool)
    async with asyncio.timeout(10):
        while server.open > 1 or server.connections < 2:
            await asyncio.sleep(0.005)
    assert server.open == 1
    pool.close()


async def test_a_stream_given_up_while_connecting_closes(server) -> None:
    """A connection that comes about after its call has ended is closed by itself."""
    loop = asyncio.get_running_loop()
    stream = NetStream(loop)
    stream.abort()
    await loop.create_connection(lambda: stream, "127.0.0.1", server.port)
    assert await server.all_closed()


async def test_the_reasons_of_all_addresses_are_told(monkeypatch) -> None:
    """When no address answers, the error says why."""
    answer_with(monkeypatch, "127.0.0.2", "127.0.0.3")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    link = Link(httpcore.Origin(b"http", b"localhost", port), None)
    with pytest.raises(httpcore.ConnectError, match=r"127\.0\.0\.2.*127\.0\.0\.3"):
        await link.connect_tcp("localhost", port)
    assert link.may_have_sent() is False


@pytest.mark.parametrize("turns", range(12))
async def test_cancelling_the_race_for_an_address_leaks_nothing(server, monkeypatch, turns) -> None:
    """Cancelled at any moment of connecting, no socket stays open."""
    answer_with(monkeypatch, "127.0.0.1", "127.0.0.2")
    monkeypatch.setattr(_pool, "HAPPY_EYEBALLS_DELAY", 0.0)
    link = Link(httpcore.Origin(b"http", b"localhost", server.port), None)
    dialling = asyncio.create_task(link.connect_tcp("localhost", server.port))
    for _ in range(turns):
        await asyncio.sleep(0)
    dialling.cancel()
    await asyncio.gather(dialling, return_exceptions=True)
    link.abort()
    await asyncio.sleep(0.01)
    gc.collect()
    assert await server.all_closed()


async def test_what_is_said_before_tls_is_refused(server) -> None:
    """Bytes that came in the clear would be read later as if they had come encrypted: anybody can send them."""
    stream = await _pool._attempt(NetStream(asyncio.get_running_loop()), "127.0.0.1", server.port)
    await stream.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(10):
        while not stream._chunks:
            await asyncio.sleep(0.005)
    with pytest.raises(httpcore.ConnectError, match="before the TLS handshake"):
        await stream.start_tls(ssl.create_default_context(), "localhost")
    assert await server.all_closed()
