from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.redis_server import RedisServer
from wxmp.simulator import Simulator

from .fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True, scope="module")
def many_processes(untraced_processes: None) -> None:
    """What breaks here is seen at the platform and in the outcomes; other tests show which lines are reached."""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of this test's own, to be killed, frozen, filled and replaced."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def lasting() -> Iterator[Simulator]:
    """The platform with tokens of the usual life."""
    with Simulator(seed=1) as running:
        yield running


@pytest.fixture(params=["redis", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a shared store, of both kinds."""
    if request.param == "file":
        return f"file:{tmp_path / 'tokens'}"
    server: RedisServer = request.getfixturevalue("redis")
    return server.url


@pytest.fixture
def fleet(lasting: Simulator, store: str) -> Iterator[Fleet]:
    with Fleet(lasting, store) as made:
        yield made


@pytest.fixture
def redis_fleet(lasting: Simulator, redis: RedisServer) -> Iterator[Fleet]:
    with Fleet(lasting, redis.url) as made:
        yield made
