"""Journals on a file and on a real Redis server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.broadcast.journals import RUN, RedisRoom, SQLiteRoom
from tests.redis_server import GivenServer, RedisServer, find_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.broadcast.journals import Room
    from wxmp.broadcast.journal import Journal


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


@pytest.fixture(params=["sqlite", "redis"])
async def room(request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    """A place for journals, of each kind."""
    made: Room
    if request.param == "sqlite":
        made = SQLiteRoom(request.getfixturevalue("tmp_path"))
    else:
        made = RedisRoom(request.getfixturevalue("redis_server"))
    yield made
    for journal in made.opened:
        await journal.aclose()


@pytest.fixture
async def journal(room: Room) -> Journal:
    """A journal in which a run has begun."""
    made = room.journal()
    await made.begin(RUN, fingerprint="template t1")
    return made
