"""What it costs a call to know the token, and what the fleet's store has to do with it.

The store is a real Redis. The two peers are what a call would pay if it asked where the token is kept: one GET (through
redis-py's asyncio client), or a file read under a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks._report import Row, compared, run
from benchmarks._ways import APPID, TOKEN
from benchmarks.layer import NOWHERE, NoTransport
from tests.redis_server import RedisServer
from wxmp import RedisTokenStore, RetryPolicy
from wxmp._caller import Caller, Endpoint
from wxmp._redact import Secret
from wxmp.tokens.keeper import Grant, TokenKeeper
from wxmp.tokens.store import TokenKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GET: Final = Endpoint("GET", "/cgi-bin/user/info", repeatable=True)
#: Calls over which store operations are counted.
COUNTED: Final = 10_000
#: Seconds that a token lives while refreshes are counted. It is refreshed from the middle of its life on, and used
#: until a second before its end.
SHORT_LIFE: Final = 4.0


class Verbs(RedisTokenStore):
    """Counts its round trips."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.count = 0


def _counted(name: str) -> Any:
    original = getattr(RedisTokenStore, name)

    async def verb(self: Verbs, *args: Any, **named: Any) -> Any:
        self.count += 1
        return await original(self, *args, **named)

    return verb


for _name in ("read", "lease", "commit", "fail", "seed"):
    setattr(Verbs, _name, _counted(_name))


@contextlib.asynccontextmanager
async def keeper_on(url: str, life: float = 7200.0) -> AsyncIterator[tuple[TokenKeeper, Verbs]]:
    """Give a keeper whose platform answers at once."""
    issued = 0

    async def fetch(*, force: bool) -> Grant:
        nonlocal issued
        issued += 1
        return Grant(Secret(f"{TOKEN}{issued}"), life)

    store = Verbs(url)
    keeper = TokenKeeper(TokenKey(APPID, "plain"), store=store, fetch=fetch, endpoint="GET /cgi-bin/token")
    try:
        yield keeper, store
    finally:
        await keeper.aclose()
        await store.aclose()


def commands(server: RedisServer) -> int:
    """Return how many commands the server has carried out, the two of this question not counted."""
    text = server.command("INFO", "commandstats")
    lines = (text.decode() if isinstance(text, bytes) else str(text)).splitlines()
    return sum(
        int(line.partition("calls=")[2].partition(",")[0])
        for line in lines
        if line.startswith(("cmdstat_evalsha:", "cmdstat_eval:"))
    )


def time_peek(keeper: TokenKeeper, times: int) -> float:
    """Return the microseconds of one look at the token."""
    peek = keeper.peek
    numbers = range(times)
    # CPU time: nothing is waited for, and what other processes do meanwhile is not its price.
    started = time.process_time()
    for _ in numbers:
        peek()
    return (time.process_time() - started) / times * 1e6


async def time_get(client: Any, times: int) -> float:
    """Return the microseconds of one GET."""
    started = time.perf_counter()
    for _ in range(times):
        await client.get("token")
    return (time.perf_counter() - started) / times * 1e6


def time_file(path: Path, times: int) -> float:
    """Return the microseconds of reading a file under a lock."""
    started = time.perf_counter()
    for _ in range(times):
        handle = os.open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_SH)
        os.read(handle, 4096)
        os.close(handle)
    return (time.perf_counter() - started) / times * 1e6


async def time_all(server: RedisServer, rounds: int, times: int) -> tuple[list[float], list[float], list[float]]:
    """Time the three in turns."""
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(server.url)
    ours, gets, files = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "token.json"
        path.write_text(f'{{"value": "{TOKEN}"}}', encoding="utf-8")
        async with keeper_on(server.url) as (keeper, _):
            await keeper.get()
            await client.set("token", TOKEN)
            for _ in range(rounds):
                ours.append(time_peek(keeper, times * 100))
                gets.append(await time_get(client, times))
                files.append(time_file(path, times))
    await client.aclose()
    return ours, gets, files


async def count_between_checks(server: RedisServer) -> tuple[int, int]:
    """Return the store operations of 10,000 calls: those our store was asked for, those Redis saw."""
    async with keeper_on(server.url) as (keeper, store):
        caller = Caller(
            appid=APPID,
            secret=lambda: Secret("0123456789abcdef0123456789abcdef"),
            transport=NoTransport(base_url=NOWHERE),
            tokens=keeper,
            retry=RetryPolicy(),
            mp_origin=NOWHERE,
        )
        await caller(GET)
        # From here the check is due in 24 s or later; the calls take about one.
        asked, seen = store.count, commands(server)
        for _ in range(COUNTED):
            await caller(GET, params={"openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"})
        return store.count - asked, commands(server) - seen


async def count_refresh(server: RedisServer) -> tuple[int, int, int]:
    """Return the round trips of a refresh: for who makes it, as Redis saw it, and for a process that adopts it."""
    async with (
        keeper_on(server.url, SHORT_LIFE) as (keeper, store),
        keeper_on(server.url, SHORT_LIFE) as (other, beside),
    ):
        await keeper.get()
        await other.get()
        generation = keeper.status().generation
        await asyncio.sleep(0.6 * SHORT_LIFE)  # Redis counts real time
        asked, seen = store.count, commands(server)
        await landed(keeper)
        mine, redis_saw = store.count - asked, commands(server) - seen
        if keeper.status().generation == generation:
            raise RuntimeError("the token was not refreshed: this would count something else")
        asked = beside.count
        await landed(other)
        if other.status().generation != keeper.status().generation:
            raise RuntimeError("the token was not adopted: this would count something else")
        return mine, redis_saw, beside.count - asked


async def landed(keeper: TokenKeeper) -> None:
    """Make the keeper look, and wait until it has looked."""
    keeper.peek()
    while keeper._flights:
        await asyncio.sleep(0.001)


def measure(quick: bool) -> list[Row]:
    """Time and count."""
    rounds, times = (2, 20) if quick else (25, 500)
    with RedisServer() as server:
        ours, gets, files = asyncio.run(time_all(server, rounds, times))
        server.flush()
        asked, seen = asyncio.run(count_between_checks(server))
        server.flush()
        refresh, redis_saw, adoption = asyncio.run(count_refresh(server))
    claim = "token on the hot path"
    return [
        Row(claim=claim, unit="us", at_most=1.0, rounds=ours, ours=statistics.median(ours)),
        Row(claim=claim, unit="us", peer_name="Redis GET", **compared(ours, gets)),
        Row(claim=claim, unit="us", peer_name="flock + read", **compared(ours, files)),
        Row(claim=f"store operations over {COUNTED:,} calls between checks", unit="", ours=asked, at_most=0),
        Row(claim=f"Redis commands over {COUNTED:,} calls between checks", unit="", ours=seen, at_most=0),
        Row(claim="store round trips of one refresh, the process that makes it", unit="", ours=refresh, at_most=3),
        Row(claim="Redis commands of one refresh, the process that makes it", unit="", ours=redis_saw, at_most=3),
        Row(claim="store round trips of one refresh, a process that adopts it", unit="", ours=adoption, at_most=3),
    ]


if __name__ == "__main__":
    raise SystemExit(run("hot_path", measure))
