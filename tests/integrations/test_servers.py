"""The examples of the documentation under real servers, with a real Redis: one token for the whole fleet."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.redis_server import RedisServer
from wxmp.simulator import Simulator

from .service import PATIENCE, Service, get_all

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen
class Day:
    """What happened from the start of the servers to their end."""

    #: Status and body of every answer to a user page.
    answers: list[tuple[int, str]]
    #: Process id of each worker that served, and what it said about its token.
    workers: dict[int, Any]
    token_requests: int
    user_requests: int
    #: Exit statuses after SIGTERM.
    statuses: list[int]
    output: str = attrs.field(repr=False)
    warnings: list[str]
    #: What must not be in the output.
    credentials: list[str] = attrs.field(repr=False)


@pytest.fixture(scope="module", params=["fastapi", "aiohttp"])
def day(request: pytest.FixtureRequest) -> Iterator[Day]:
    """Two worker processes, of one uvicorn or two aiohttp servers, share a Redis; they work, and get SIGTERM."""
    with Simulator(seed=1, followers=3) as simulator, RedisServer() as redis:
        if request.param == "fastapi":
            services = [Service.fastapi(simulator, redis.url, workers=2)]
        else:
            services = [Service.aiohttp(simulator, redis.url) for _ in range(2)]
        try:
            for service in services:
                service.wait()
            yield spend(simulator, services)
        finally:
            for service in services:
                service.close()


def spend(simulator: Simulator, services: list[Service]) -> Day:
    """40 requests at once find two cold workers; more follow until both have served."""
    path = f"/users/{next(iter(simulator.account.users))}"
    answers = get_all(services, path, 40)
    deadline = time.monotonic() + PATIENCE
    while len(workers := workers_with_token(services)) < 2:
        assert time.monotonic() < deadline, "one of the workers never got a request"
        answers += get_all(services, path, 20)
    (token,) = simulator.world.living_tokens("stable")
    statuses = [service.stop() for service in services]
    return Day(
        answers=answers,
        workers=workers,
        token_requests=simulator.token_requests,
        user_requests=simulator.calls("/cgi-bin/user/info"),
        statuses=statuses,
        output="".join(service.output for service in services),
        warnings=[line for service in services for line in service.warnings],
        credentials=[simulator.account.secret, token.text],
    )


def workers_with_token(services: list[Service]) -> dict[int, Any]:
    """Which worker processes hold a token, by what their health page says."""
    pages = [json.loads(body) for _, body in get_all(services, "/health", 16)]
    return {page["worker"]: page["token"] for page in pages if page["token"]["usable"]}


def test_all_requests_are_served(day: Day) -> None:
    """Each request over HTTP becomes one call to the platform, and none fails."""
    assert {status for status, _ in day.answers} == {200}
    assert all(json.loads(body)["following"] is True for _, body in day.answers)
    assert day.user_requests == len(day.answers)


def test_one_token_request_for_the_fleet(day: Day) -> None:
    """Two workers that start cold together ask for one token, and both use it."""
    assert len(day.workers) == 2
    assert len({token["fingerprint"] for token in day.workers.values()}) == 1
    assert day.token_requests == 1


def test_sigterm_ends_it_cleanly(day: Day) -> None:
    """After SIGTERM each worker has closed its client, no warning was printed, and the exit status is 0."""
    assert set(day.statuses) == {0}
    assert day.output.count("closed Client(") == 2
    assert day.warnings == []


def test_credentials_stay_out_of_the_output(day: Day) -> None:
    """With logging at INFO, as the examples have it, neither the secret nor the token is printed."""
    assert "refreshed" in day.output
    assert [secret for secret in day.credentials if secret in day.output] == []
