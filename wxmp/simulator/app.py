"""The world over HTTP: an ASGI application that reads requests, asks the world, and lets answers travel as ordered.

Importing this module loads Starlette; importing the package does not.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
import struct
from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote

from starlette.applications import Starlette
from starlette.routing import Mount

from wxmp.simulator.control import control_routes
from wxmp.simulator.hosts import HOSTS, LOOPBACK, address
from wxmp.simulator.wire import Reply, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from wxmp.simulator.deliver import Courier
    from wxmp.simulator.world import World

__all__ = ["Connections", "GuardedApp", "PlatformApp", "build_app"]

CONTROL_PREFIX: Final = "/_sim"
CHUNK: Final = 1 << 16
HOST_AND_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]*)?")


class Connections:
    """The open connections of the server by peer address, so that an answer can be a real connection reset."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def add(self, transport: asyncio.Transport) -> None:
        """Remember a new connection."""
        peer = transport.get_extra_info("peername")
        if peer:
            self._open[peer[0], peer[1]] = transport

    def remove(self, transport: asyncio.Transport) -> None:
        """Forget a connection that is gone."""
        peer = transport.get_extra_info("peername")
        if peer:
            self._open.pop((peer[0], peer[1]), None)

    def reset(self, client: tuple[str, int] | None) -> None:
        """End one connection with a TCP reset, as a crashing server or a firewall does."""
        transport = self._open.get((client[0], client[1])) if client else None
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # A linger time of zero makes close() send RST instead of FIN.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def abort_all(self) -> None:
        """Drop every connection: the server is going down."""
        for transport in list(self._open.values()):
            transport.abort()


def host_name(value: str) -> str:
    """Return the host of a ``Host`` header without its port; empty for what is none."""
    # Strictly: a lenient reader finds ::1 in "[::1].evil.example", and 127.0.0.1 in "evil.example@127.0.0.1".
    found = HOST_AND_PORT.fullmatch(value)
    return found.group(1) or found.group(2) if found is not None else ""


class GuardedApp:
    """Refuses requests that a web page of somebody else could send: a foreign ``Host``, or a foreign ``Origin``.

    A page whose name resolves to 127.0.0.1 (DNS rebinding) reaches a local server, but its ``Host`` header shows it.

    Args:
        app: What is guarded.
        allowed_hosts: Further names that are not refused, for a server that listens beyond loopback.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._local = LOOPBACK | {name.lower() for name in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421 or 403."""
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = host_name(headers.get(b"host", b"").decode("latin-1")).lower()
        control = scope["path"] == CONTROL_PREFIX or scope["path"].startswith(f"{CONTROL_PREFIX}/")
        if host not in self._local and (control or host not in HOSTS):
            await plain_answer(send, 421, b"This simulator answers loopback names only.\n")
            return
        origin = headers.get(b"origin")
        if control and origin is not None:
            name = host_name(origin.decode("latin-1").partition("://")[2]).lower()
            if name not in self._local:
                await plain_answer(send, 403, b"Pages of other origins may not control the simulator.\n")
                return
        await self._app(scope, receive, send)


async def to_the_page(scope: Scope, send: Send) -> bool:
    """Show a browser the way to the control page; tell whether it was one that had lost it.

    Neither the platform nor its journal has anything to do with these few paths of a browser.
    """
    if scope["method"] not in {"GET", "HEAD"} or scope["path"] not in {"/", "/favicon.ico", CONTROL_PREFIX}:
        return False
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if host_name(headers.get(b"host", b"").decode("latin-1")).lower() in HOSTS:
        return False
    if scope["path"] == "/favicon.ico":
        await send({"type": "http.response.start", "status": 204, "headers": [(b"cache-control", b"max-age=86400")]})
        await send({"type": "http.response.body", "body": b""})
        return True
    if scope["path"] == "/" and b"text/html" not in headers.get(b"accept", b""):
        return False
    location = [
        (b"location", f"{CONTROL_PREFIX}/".encode()),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 307, "headers": location})
    await send({"type": "http.response.body", "body": b""})
    return True


async def plain_answer(send: Send, status: int, text: bytes) -> None:
    """Send a short plain text."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


class PlatformApp:
    """Everything outside the control routes: the platform's hosts, told apart by ``Host`` header or path prefix."""

    def __init__(self, world: World, connections: Connections) -> None:
        self._world = world
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if await to_the_page(scope, send):
            return
        body = await read_body(receive, self._world.policy.max_upload_body)
        if body is None:
            return
        reply = self._world.handle(read_request(scope, body, self._world.policy.trust_client_ip_header))
        await self._deliver(reply, scope, receive, send)

    async def _deliver(self, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        delivery = reply.delivery
        if (delivery.hang or delivery.delay) and await gone(receive, math.inf if delivery.hang else delivery.delay):
            return
        if delivery.reset:
            self._connections.reset(scope.get("client"))
            # Wait for the disconnect, or the server would try to send an error page of its own.
            await gone(receive, 5.0)
            return
        length = len(reply.body) + delivery.filler
        headers = [
            (b"content-type", reply.content_type.encode("latin-1")),
            (b"content-length", str(length).encode()),
            (
                b"date",
                formatdate(self._world.clock.source_now() + self._world.policy.date_header_ahead, usegmt=True).encode(),
            ),
            *((name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in reply.headers),
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if delivery.drip:
            for index in range(len(reply.body)):
                await send({"type": "http.response.body", "body": reply.body[index : index + 1], "more_body": True})
                if await gone(receive, delivery.drip):
                    return
            await send({"type": "http.response.body", "body": b""})
            return
        async for message in chunks(reply.body, delivery.filler):
            await send(message)
            if delivery.filler:
                # A moment for the loop to notice that the client has gone: each further send would be a warning.
                await asyncio.sleep(0)


async def chunks(body: bytes, filler: int) -> AsyncIterator[Message]:
    """Cut a body into messages; the filler goes in before the last two bytes, inside the JSON text."""
    if not filler:
        yield {"type": "http.response.body", "body": body}
        return
    yield {"type": "http.response.body", "body": body[:-2], "more_body": True}
    while filler > 0:
        size = min(filler, CHUNK)
        filler -= size
        yield {"type": "http.response.body", "body": b"x" * size, "more_body": True}
    yield {"type": "http.response.body", "body": body[-2:]}


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """Read the request body, one byte over the limit at most; ``None`` when the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part: bytes = message.get("body", b"")
        # What is over the limit is read and dropped: the rule that refuses it is the world's.
        if size <= limit:
            parts.append(part)
        size += len(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def gone(receive: Receive, seconds: float) -> bool:
    """Wait so long, or until the client has gone away; tell whether it has."""
    try:
        async with asyncio.timeout(None if math.isinf(seconds) else seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


def read_request(scope: Scope, body: bytes, trust_ip_header: bool) -> Request:
    """Turn an ASGI request into the world's record. Of a doubled query parameter the first value counts."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    host, path = address(host_name(headers.get(b"host", b"").decode("latin-1")).lower(), scope["path"])
    query: dict[str, str] = {}
    text: str = scope["query_string"].decode("latin-1")
    for key, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        query.setdefault(key, value)
    client = scope.get("client")
    client_ip = client[0] if client else "127.0.0.1"
    if trust_ip_header:
        client_ip = headers.get(b"x-client-ip", client_ip.encode()).decode("latin-1")
    # Not every server of ASGI keeps the path as it was sent.
    raw_path: bytes | None = scope.get("raw_path")
    target = raw_path.decode("latin-1") if raw_path else quote(scope["path"])
    return Request(
        method=scope["method"],
        path=path,
        query=query,
        body=body,
        host=host,
        client=headers.get(b"x-client", b"").decode("latin-1"),
        client_ip=client_ip,
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()},
        target=f"{target}?{text}" if text else target,
    )


def build_app(
    world: World,
    connections: Connections | None = None,
    courier: Courier | None = None,
    *,
    allowed_hosts: Iterable[str] = (),
) -> ASGIApp:
    """Return the ASGI application of a world.

    Args:
        world: What answers.
        connections: The server's open connections; without them a reset becomes a hanging request.
        courier: Who carries the world's pushes; without one no callback address can be checked.
        allowed_hosts: Further names accepted in the ``Host`` header besides loopback and the platform's own.
    """
    platform = PlatformApp(world, connections if connections is not None else Connections())
    app = Starlette(routes=[Mount(CONTROL_PREFIX, routes=control_routes(world, courier)), Mount("/", app=platform)])
    return GuardedApp(app, allowed_hosts)
