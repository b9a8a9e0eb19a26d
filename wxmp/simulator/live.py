"""The live stream: server-sent events that tell a page what happens, as it happens.

Each reader pulls from the world at its own pace: the journal is the only queue, and it is bounded. A reader that does
not read stops its own stream and nothing else; when it reads on, it hears of the gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Final, Self

from starlette.responses import Response

from wxmp.simulator.journal import show_exchange
from wxmp.simulator.overview import describe, phone_revisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = ["LiveStream", "Watch"]

LIVE_VERSION: Final = 1
BATCH_EXCHANGES: Final = 500
BATCH_SECONDS: Final = 0.1
STATE_SECONDS: Final = 1.0
PING_SECONDS: Final = 15.0
BODY_CHARACTERS: Final = 400
# What is worked out after a change may take this part of the time at most: large worlds are told less often.
SHARE: Final = 0.1
HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


def event(name: str, data: object, seq: int | None = None) -> bytes:
    """Write one event. The JSON is ASCII on one line, so nothing in it can end the event early."""
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode("ascii")


class Watch:
    """Wakes one reader in its event loop after changes that happen in any thread.

    Args:
        world: What is watched.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._told = False

    def __enter__(self) -> Self:
        self._world.listen(self._changed)
        return self

    def __exit__(self, *_details: object) -> None:
        self._world.unlisten(self._changed)

    def _changed(self) -> None:
        # Called under the world's lock, maybe thousands of times a second: once told, a reader needs no second word.
        if self._told:
            return
        self._told = True
        with contextlib.suppress(RuntimeError):  # the loop of a server that is gone
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> bool:
        """Wait for a change since the last call; tell whether there was one within so many real seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        changed = self._event.is_set()
        self._event.clear()
        # Only now: what happens from here on wakes this reader again, and all before is read after this.
        self._told = False
        return changed


class Paced:
    """Something told again after a change, but neither more often than so many seconds nor when it is the same.

    Args:
        name: The event's name.
        seconds: The shortest pause.
        make: Works out what to tell; ``None`` for nothing new.
    """

    def __init__(self, name: str, seconds: float, make: Callable[[], object | None]) -> None:
        self.name = name
        self._seconds = seconds
        self._make = make
        self._next = 0.0
        self.due: bool = True

    def pause(self, now: float) -> float:
        """Return the seconds until it may be told; endless when nothing has changed."""
        return max(self._next - now, 0.0) if self.due else float("inf")

    def tell(self) -> bytes:
        """Work it out and return the event; empty when there is nothing new or it is too early."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if not self.due or began < self._next:
            return b""
        self.due = False
        found = self._make()
        ended = loop.time()
        self._next = max(began + self._seconds, ended + (ended - began) / SHARE)
        return b"" if found is None else event(self.name, found)


class Reader:
    """One reader of the stream: what it knows, and what is news to it.

    Args:
        world: What is watched.
        since: The number of the last exchange the reader has seen.
    """

    def __init__(self, world: World, since: int) -> None:
        self._world = world
        self._state = world.state
        self._phones: dict[str, dict[str, int]] = {}
        self._last_state: object = None
        self._finding = 0
        # A number this world has not reached yet comes from another one, before a restart.
        self.foreign: bool = since > world.journal.seq
        self.seq: int = 0 if self.foreign else since
        self.rooms: tuple[Paced, Paced, Paced] = (
            Paced("state", STATE_SECONDS, self._news_of_state),
            Paced("phones", BATCH_SECONDS, self._news_of_phones),
            Paced("lint", STATE_SECONDS, self._news_of_lint),
        )

    def hello(self) -> bytes:
        """Return the first event."""
        world = self._world
        told: JsonObject = {
            "seq": self.seq,
            "now": world.now(),
            "speed": world.clock.speed,
            "version": LIVE_VERSION,
            "appid": world.state.default_appid,
            "started_at": world.state.started_at,
        }
        return event("hello", told, self.seq) + (event("reset", {}) if self.foreign else b"")

    def changed(self) -> None:
        """Take note that something has happened."""
        for room in self.rooms:
            room.due = True

    def news(self) -> bytes:
        """Return the events since the last call."""
        parts: list[bytes] = []
        world = self._world
        with world.lock:
            if world.state is not self._state:
                self._state, self._phones, self._finding = world.state, {}, 0
                parts.append(event("reset", {}))
            first = world.journal.first_seq
            exchanges = world.journal.since(self.seq, BATCH_EXCHANGES)
        if first > self.seq + 1:
            parts.append(event("gap", {"from": self.seq + 1, "to": first - 1}))
            self.seq = first - 1
        if exchanges:
            self.seq = exchanges[-1].seq
            shown = [show_exchange(exchange, body=BODY_CHARACTERS) for exchange in exchanges]
            parts.append(event("exchanges", shown, self.seq))
        parts.extend(room.tell() for room in self.rooms)
        return b"".join(parts)

    @property
    def behind(self) -> bool:
        """Whether there are exchanges the reader has not been told of."""
        return self._world.journal.seq > self.seq

    def pause(self) -> float:
        """Return the seconds until something may be told again."""
        now = asyncio.get_running_loop().time()
        return min(room.pause(now) for room in self.rooms)

    def _news_of_state(self) -> object | None:
        found = describe(self._world)
        known = {**found, "now": 0}
        if known == self._last_state:
            return None
        self._last_state = known
        return found

    def _news_of_phones(self) -> object | None:
        found = phone_revisions(self._world)
        news = {
            appid: changed
            for appid, revisions in found.items()
            if (
                changed := {
                    openid: revision
                    for openid, revision in revisions.items()
                    if self._phones.get(appid, {}).get(openid) != revision
                }
            )
        }
        self._phones = found
        return news or None

    def _news_of_lint(self) -> object | None:
        lint = self._world.lint
        with self._world.lock:
            found = lint.findings()
            known, self._finding = self._finding, lint.revision
        # All of them: a reader has no need to know which it has heard of.
        return found if lint.revision != known else None


class LiveStream(Response):
    """The stream as a response: it lasts until the reader goes away or the server stops.

    Args:
        world: What is watched.
        since: The number of the last exchange the reader has seen; ``None``: only what is new.
    """

    def __init__(self, world: World, since: int | None) -> None:
        super().__init__(headers=HEADERS)
        self._world = world
        self._since = since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until somebody has enough."""
        headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        telling = asyncio.create_task(self._tell(send))
        leaving = asyncio.create_task(left(receive))
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            telling.cancel()
            leaving.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)
        if not telling.cancelled() and (error := telling.exception()) is not None and not isinstance(error, OSError):
            raise error

    async def _tell(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        with Watch(self._world) as watch:
            reader = Reader(self._world, self._since if self._since is not None else self._world.journal.seq)
            await send({"type": "http.response.body", "body": reader.hello() + reader.news(), "more_body": True})
            told_at = loop.time()
            while True:
                pause = 0.0 if reader.behind else min(reader.pause(), told_at + PING_SECONDS - loop.time())
                if await watch.wait(max(pause, 0.0)):
                    reader.changed()
                news = reader.news()
                if not news and loop.time() - told_at >= PING_SECONDS:
                    news = b": ping\n\n"
                if news:
                    # A reader that does not read holds up its own stream here.
                    await send({"type": "http.response.body", "body": news, "more_body": True})
                    told_at = loop.time()
                await asyncio.sleep(BATCH_SECONDS)


async def left(receive: Receive) -> None:
    """Wait until the reader has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
