"""Stores of all three kinds, with a clock that the test sets, and real Redis servers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.redis_server import GivenServer, RedisServer, find_server

if TYPE_CHECKING:
    from collections.abc import Iterator

BEIJING = 8 * 3600
DAY = 86_400
#: Fields of the hash that hold a point in time.
MOMENTS = ("exp", "lu", "eu", "rt", "fa")


class VirtualClock:
    """Time that only passes when a test says so. It starts at noon in Beijing."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall_offset = 1_700_020_800.0 - self.seconds

    def __call__(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.seconds + self.wall_offset

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


_AGE = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  for i = 3, #ARGV do
    if redis.call('HEXISTS', key, ARGV[i]) == 1 then redis.call('HINCRBY', key, ARGV[i], -ARGV[1]) end
  end
  if ARGV[2] == '1' then redis.call('PEXPIRE', key, redis.call('PTTL', key) - ARGV[1]) end
end
"""


async def let_redis_age(server: GivenServer | RedisServer, seconds: float, *, expire: bool = True) -> None:
    """Let the records in ``server`` grow older by ``seconds``: every point in time moves into the past."""
    server.command("EVAL", _AGE, 0, round(seconds * 1000), int(expire), *MOMENTS)


async def far_from_midnight(seconds: float) -> None:
    """Wait until a point in time moved back by ``seconds`` stays on this Beijing day."""
    since = (time.time() + BEIJING) % DAY
    if since < seconds:
        await asyncio.sleep(seconds - since)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="session")
def _session_server() -> Iterator[GivenServer | RedisServer]:
    with find_server() as server:
        yield server


@pytest.fixture
def redis_server(_session_server: GivenServer | RedisServer) -> GivenServer | RedisServer:
    """A server with an empty database, shared by the tests: do not break it."""
    _session_server.flush()
    return _session_server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may break."""
    with RedisServer() as server:
        yield server
