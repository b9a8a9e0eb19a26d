"""A loopback HTTP/1.1 server whose answers are written byte by byte by the test."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self

from tests.moments import skip
from wxmp.simulator.server import accept_no_more

if TYPE_CHECKING:
    import ssl

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Exchange:
    """One request and the means to answer it."""

    def __init__(self, server: RawServer, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.head = head
        self.body = body
        self.writer = writer
        self.line = head.partition(b"\r\n")[0].decode()
        self.method, self.target = self.line.split(" ")[:2]

    def header(self, name: str) -> str | None:
        """Return a request header."""
        found = re.search(rf"^{name}: *(.*?)\r?$".encode(), self.head, re.IGNORECASE | re.MULTILINE)
        return found[1].decode() if found else None

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> None:
        """Send a whole answer."""
        await self.raw(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()

    async def hang(self) -> None:
        """Do not answer until the other side goes away."""
        await self.server.released.wait()

    async def outlast(self, seconds: float) -> None:
        """Do not answer for ``seconds``, which pass at once: a deadline comes when the request is here, not before."""
        skip(seconds)
        await self.hang()


Answer = Callable[[Exchange], Awaitable[object]]


class Listener:
    """Takes connections on a port of this machine, and counts them; what still runs at the end is ended."""

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self.ssl_context = ssl_context
        self.connections = 0
        self.open = 0
        self.max_open = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what is to be done with one connection."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.ssl_context, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await accept_no_more([self._server])
        await asyncio.sleep(0)  # its task begins
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def all_closed(self) -> bool:
        """Wait for every connection to be closed by the other side."""
        async with asyncio.timeout(30):
            while self.open:
                await asyncio.sleep(0.005)
        return True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        self.max_open = max(self.max_open, self.open)
        try:
            await self.serve(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()


class RawServer(Listener):
    """Serves ``answer`` on a random port; counts connections, keeps requests."""

    def __init__(self, answer: Answer | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        super().__init__(ssl_context)
        self.answer: Answer = answer or (lambda exchange: exchange.reply())
        self.exchanges: list[Exchange] = []
        self.released = asyncio.Event()

    @property
    def url(self) -> str:
        """The address."""
        return f"{'https' if self.ssl_context else 'http'}://localhost:{self.port}"

    @property
    def lines(self) -> list[str]:
        """The request lines, in order of arrival."""
        return [exchange.line for exchange in self.exchanges]

    async def __aexit__(self, *_: object) -> None:
        self.released.set()
        await super().__aexit__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests one after the other, and answer each."""
        while not writer.is_closing():
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if b"transfer-encoding: chunked" in head.lower():
                body = await reader.readuntil(b"0\r\n\r\n")
            else:
                body = await reader.readexactly(int(length[1])) if length else b""
            exchange = Exchange(self, head, body, writer)
            self.exchanges.append(exchange)
            work = asyncio.ensure_future(self.answer(exchange))
            gone = asyncio.ensure_future(self._gone(reader))
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _gone(self, reader: asyncio.StreamReader) -> None:
        while not reader.at_eof() and reader.exception() is None:
            await asyncio.sleep(0.005)
