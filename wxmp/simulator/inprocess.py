"""A world without sockets: a transport that takes the requests of an httpx client straight to it.

Importing this module loads httpx; importing the package does not.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from urllib.parse import parse_qsl

import httpx

from wxmp.simulator.hosts import HOSTS, LOOPBACK, address
from wxmp.simulator.wire import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from wxmp.simulator.wire import Delivery, Reply
    from wxmp.simulator.world import World

__all__ = ["AsyncHttpClient", "WorldTransport"]

#: What :meth:`Sandbox.http_client <wxmp.simulator.sandbox.Sandbox.http_client>` returns.
AsyncHttpClient: TypeAlias = httpx.AsyncClient

CHUNK: Final = 1 << 16
# Answers without a body need no stream of their own.
EXTENSIONS: Final = {"http_version": b"HTTP/1.1"}


class WorldTransport(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """Takes the requests of an ``httpx.AsyncClient`` or an ``httpx.Client`` to a world, without any socket.

    It serves every host of the platform, so that a program keeps its addresses
    (``httpx.Client(transport=..., base_url="https://api.weixin.qq.com")``), and refuses all others. Injected faults
    arrive as they would from a network: a reset is an ``httpx.ReadError``, a refused connection an
    ``httpx.ConnectError``, a hanging answer ends with the client's own
    read timeout, a delay takes its seconds.

    Args:
        world: What answers.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def __repr__(self) -> str:
        return f"WorldTransport({self._world!r})"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        reply = self._world.handle(read_request(self._world, request, await request.aread()))
        wait = seconds_to_wait(reply.delivery, request)
        if wait is None:
            await asyncio.get_running_loop().create_future()
        elif wait:
            await asyncio.sleep(wait)
        return respond(reply, request)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request of a client that blocks."""
        reply = self._world.handle(read_request(self._world, request, request.read()))
        wait = seconds_to_wait(reply.delivery, request)
        if wait is None or wait > 0:
            # An event that nobody sets: it waits, and it can be interrupted.
            threading.Event().wait(wait)
        return respond(reply, request)


class Drop(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that comes byte by byte, or with padding that is made on the way."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        pause = threading.Event()
        for part in self._parts():
            yield part
            if self._reply.delivery.drip:
                pause.wait(self._reply.delivery.drip)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts():
            yield part
            if self._reply.delivery.drip:
                await asyncio.sleep(self._reply.delivery.drip)

    def _parts(self) -> Iterator[bytes]:
        body, filler = self._reply.body, self._reply.delivery.filler
        if self._reply.delivery.drip:
            for index in range(len(body)):
                yield body[index : index + 1]
            return
        yield body[:-2]
        while filler > 0:
            size = min(filler, CHUNK)
            filler -= size
            yield b"x" * size
        yield body[-2:]


def read_request(world: World, request: httpx.Request, body: bytes) -> Request:
    """Turn a request of httpx into the world's record. Of a doubled query parameter the first value counts.

    Raises:
        httpx.ConnectError: The host is none of the platform's.
    """
    url, headers = request.url, request.headers
    if url.host not in HOSTS and url.host not in LOOPBACK:
        raise httpx.ConnectError("the simulated platform has no host of this name", request=request)
    host, path = address(url.host, url.path)
    query: dict[str, str] = {}
    if url.query:
        for key, value in parse_qsl(url.query.decode("latin-1"), keep_blank_values=True, errors="replace"):
            query.setdefault(key, value)
    client_ip = "127.0.0.1"
    if world.policy.trust_client_ip_header:
        client_ip = headers.get("x-client-ip", client_ip)
    return Request(
        method=request.method,
        path=path,
        query=query,
        body=body,
        host=host,
        client=headers.get("x-client", ""),
        client_ip=client_ip,
        headers=dict(headers.items()),
        target=url.raw_path.decode("latin-1"),
    )


def seconds_to_wait(delivery: Delivery, request: httpx.Request) -> float | None:
    """Return how long the answer takes, at most the client's read timeout; ``None`` for ever."""
    if not delivery.hang:
        limit = read_timeout(request)
        return delivery.delay if limit is None else min(delivery.delay, limit)
    return read_timeout(request)


def read_timeout(request: httpx.Request) -> float | None:
    """Return the seconds the client waits for an answer; ``None`` for ever."""
    timeouts = cast("Mapping[str, float | None]", request.extensions.get("timeout", {}))
    return timeouts.get("read")


def respond(reply: Reply, request: httpx.Request) -> httpx.Response:
    """Turn the world's answer into httpx's, or into the error that stands for what has happened to it."""
    delivery = reply.delivery
    limit = read_timeout(request)
    if delivery.refused:
        raise httpx.ConnectError("the simulated platform has refused the connection", request=request)
    if delivery.hang or (limit is not None and delivery.delay > limit):
        raise httpx.ReadTimeout("the simulated platform does not answer in time", request=request)
    if delivery.reset:
        raise httpx.ReadError("the simulated platform has reset the connection", request=request)
    headers = [
        ("content-type", reply.content_type),
        ("content-length", str(len(reply.body) + delivery.filler)),
        *reply.headers,
    ]
    if delivery.drip or delivery.filler:
        return httpx.Response(reply.status, headers=headers, stream=Drop(reply), extensions=EXTENSIONS)
    return httpx.Response(reply.status, headers=headers, content=reply.body, extensions=EXTENSIONS)
