"""One worker process of a fleet: reads commands from stdin (a JSON line each) and answers on stdout.

Run as ``python -m tests.processes.worker '{...settings...}'``; it stops when stdin closes.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import sys
import time
from typing import Any

import attrs

from wxmp import (
    Client,
    FileTokenStore,
    MemoryTokenStore,
    RedisTokenStore,
    RetryPolicy,
    TokenPolicy,
    TokenStore,
    WxmpError,
)
from wxmp.control import HTTPTokenStore
from wxmp.events import CallFinished, Event, TokenEvent

CALL = "/cgi-bin/get_api_domain_ip"
#: What the client says of the call of this task: seconds that it waited for a token.
WAITED: contextvars.ContextVar[list[float]] = contextvars.ContextVar("WAITED")


def make_store(address: str) -> TokenStore:
    if address.startswith("file:"):
        return FileTokenStore(address.removeprefix("file:"))
    if address == "memory:":
        return MemoryTokenStore()
    if address.startswith("control:"):
        urls, _, key = address.removeprefix("control:").partition("#")
        return HTTPTokenStore(urls.split(","), key, timeout=3.0)
    return RedisTokenStore(address, timeout=2.0)


@attrs.define
class Outcome:
    """What a series of calls came to."""

    calls: int = 0
    slowest: float = 0.0
    #: The longest that a call was kept waiting for a token: unlike its whole time, this is no matter of the machine's.
    waited: float = 0.0
    errors: list[str] = attrs.field(factory=list)

    def merge(self, other: Outcome) -> None:
        self.calls += other.calls
        self.slowest = max(self.slowest, other.slowest)
        self.waited = max(self.waited, other.waited)
        self.errors += other.errors


class WallClock:
    """Stands in for ``time.time``: a host whose wall clock is wrong, or jumps."""

    def __init__(self, offset: float) -> None:
        self.offset = offset
        self._true = time.time
        time.time = self

    def __call__(self) -> float:
        return self._true() + self.offset


class Worker:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.events: list[str] = []
        self.wall = WallClock(settings.get("wall_offset", 0.0))
        self.client = Client(
            settings["appid"],
            settings["secret"],
            base_url=settings["url"],
            token_store=make_store(settings["store"]),
            token_channel=settings["channel"],
            token_policy=TokenPolicy(**settings["policy"]),
            retry=RetryPolicy(attempts=settings.get("attempts", 4)),
            on_event=self.note,
        )
        self.background: asyncio.Task[Outcome] | None = None
        self.stopping = asyncio.Event()

    def note(self, event: Event) -> None:
        if isinstance(event, TokenEvent):
            self.events.append(event.name)
        elif isinstance(event, CallFinished) and event.endpoint.endswith(CALL):
            WAITED.get().append(event.waited)

    async def one_call(self) -> Outcome:
        started, waited = time.monotonic(), list[float]()
        WAITED.set(waited)
        errors = []
        try:
            await self.client.request("GET", CALL, repeatable=True)
        except WxmpError as error:
            code = getattr(error, "errcode", "")
            errors.append(f"{type(error).__name__} {code}".strip())
        (longest,) = waited
        return Outcome(1, time.monotonic() - started, longest, errors)

    async def calls(self, number: int) -> Outcome:
        total = Outcome()
        for outcome in await asyncio.gather(*(self.one_call() for _ in range(number))):
            total.merge(outcome)
        return total

    async def keep_calling(self, pause: float) -> Outcome:
        total = Outcome()
        while not self.stopping.is_set():
            total.merge(await self.one_call())
            await asyncio.sleep(pause)
        return total

    async def obey(self, command: list[Any]) -> Any:
        match command:
            case ["calls", int(number)]:
                return attrs.asdict(await self.calls(number))
            case ["start", float() | int() as pause]:
                self.stopping.clear()
                self.background = asyncio.create_task(self.keep_calling(pause))
                return None
            case ["stop"] if self.background is not None:
                self.stopping.set()
                return attrs.asdict(await self.background)
            case ["jump", float() | int() as seconds]:
                self.wall.offset += seconds
                return None
            case ["token"]:
                return await self.client.token()
            case ["refresh"]:
                return await self.client.refresh_token()
            case ["events"]:
                return self.events
            case ["status"]:
                return attrs.asdict(self.client.token_status())
        raise ValueError(f"unknown command {command!r}")


async def main() -> None:
    worker = Worker(json.loads(sys.argv[1]))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps("ready"), flush=True)
    async with worker.client:
        while line := await reader.readline():
            try:
                answer: Any = {"ok": await worker.obey(json.loads(line))}
            except WxmpError as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
