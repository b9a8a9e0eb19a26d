"""A proxy on loopback that opens ways (``CONNECT``) to one port of this machine, whatever host is asked for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tests.raw_server import Listener

if TYPE_CHECKING:
    import ssl

#: What a proxy says when the way is open.
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Visit:
    """One connection to the proxy, and what a test can make of it."""

    def __init__(self, proxy: ConnectProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.reader = reader
        self.writer = writer

    async def say(self, answer: bytes) -> None:
        """Answer, and hang up."""
        self.writer.write(answer)
        await self.writer.drain()

    async def hang(self) -> None:
        """Say nothing until the other side goes."""
        await self.reader.read()

    async def carry(self, answer: bytes = OPEN) -> None:
        """Open the way and carry bytes until one side ends."""
        there, onward = await asyncio.open_connection("127.0.0.1", self.proxy.leads_to)
        try:
            self.writer.write(answer)
            ways = [self._copy(self.reader, onward), self._copy(there, self.writer)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            onward.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            self.proxy.carried += data
            target.write(data)
            await target.drain()


Manner = Callable[[Visit], Awaitable[object]]


class ConnectProxy(Listener):
    """The proxy; ``manner`` decides what becomes of a connection once its request is read.

    Args:
        leads_to: The port on this machine where every way ends.
        ssl_context: With one the proxy itself is spoken to over TLS.
    """

    def __init__(self, leads_to: int, *, ssl_context: ssl.SSLContext | None = None) -> None:
        super().__init__(ssl_context)
        self.leads_to = leads_to
        self.manner: Manner = lambda visit: visit.carry()
        #: What the proxy was asked, and all bytes that it has carried, both ways.
        self.heads: list[bytes] = []
        self.carried = bytearray()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def header(self, name: str) -> str | None:
        """Return a header of the first request."""
        found = re.search(rf"^{name}: (.*?)\r$".encode(), self.heads[0], re.IGNORECASE | re.MULTILINE)
        return found[1].decode() if found else None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read what is asked for, and do as ``manner`` says."""
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        await self.manner(Visit(self, reader, writer))
