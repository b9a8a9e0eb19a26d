"""A wire between client and simulator that is cut after so many bytes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal, Self

Direction = Literal["up", "down"]


class Cutter:
    """Passes bytes on to a local port; ``cut`` kills the next connections after so many bytes of one direction."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.cuts: list[tuple[Direction, int]] = []
        #: Bytes of the last connection that was left alone.
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self, direction: Direction, after: int, times: int = 1) -> None:
        self.cuts += [(direction, after)] * times

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        cut = self.cuts.pop(0) if self.cuts else None
        self.passed = {"up": 0, "down": 0}
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        pumps = [
            asyncio.ensure_future(self._pump("up", reader, to_writer, cut)),
            asyncio.ensure_future(self._pump("down", to_reader, writer, cut)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, to_writer):
                end.transport.abort()
                with suppress(OSError):
                    await end.wait_closed()

    async def _pump(
        self, direction: Direction, source: asyncio.StreamReader, sink: asyncio.StreamWriter, cut: object
    ) -> None:
        left = cut[1] if isinstance(cut, tuple) and cut[0] == direction else None
        if left == 0 and direction == "up":
            return
        while data := await source.read(65536):
            if left is not None:
                data = data[:left]
                left -= len(data)
            self.passed[direction] += len(data)
            sink.write(data)
            await sink.drain()
            if left == 0:
                await asyncio.sleep(0.02)  # what was passed on arrives, before the wire is dead
                return


def points(total: int, count: int) -> list[int]:
    """So many places in a stream of ``total`` bytes, both ends included."""
    return sorted({round(total * index / (count - 1)) for index in range(count)} | {1, total - 1})
