"""Fixtures for the simulator: a world with a frozen clock, and a desk to send it requests from."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.simulator.developer import Developer
from wxmp.simulator import Clock, Policy, Reply, Request, Simulator, World

if TYPE_CHECKING:
    from collections.abc import Iterator


class Desk:
    """Sends requests straight to a world, with a living stable token unless told otherwise."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.account = world.account

    def send(
        self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b"", **more: Any
    ) -> Reply:
        """Send one raw request."""
        return self.world.handle(Request(method, path, query or {}, body, **more))

    def plain(self, **changes: str) -> dict[str, Any]:
        """Ask for a token on the plain channel."""
        more = {key: changes.pop(key) for key in ("client", "client_ip") if key in changes}
        query = {"grant_type": "client_credential", "appid": self.account.appid, "secret": self.account.secret}
        query = {key: value for key, value in (query | changes).items() if value}
        return self.send("GET", "/cgi-bin/token", query, **more).json()

    def stable(self, *, force: bool = False, client_ip: str = "127.0.0.1", **changes: Any) -> dict[str, Any]:
        """Ask for the token of the stable channel."""
        body = {"grant_type": "client_credential", "appid": self.account.appid, "secret": self.account.secret}
        body = body | changes | ({"force_refresh": True} if force else {})
        raw = json.dumps(body).encode()
        return self.send("POST", "/cgi-bin/stable_token", body=raw, client_ip=client_ip).json()

    def token(self) -> str:
        """Return a living token without spending anything."""
        living = self.world.living_tokens("stable", appid=self.account.appid)
        return living[-1].text if living else self.stable()["access_token"]

    def get(self, path: str, token: str | None = None, **query: str) -> dict[str, Any]:
        """Call a GET endpoint."""
        return self.send("GET", path, {"access_token": token if token is not None else self.token()} | query).json()

    def post(self, path: str, body: Any, token: str | None = None) -> dict[str, Any]:
        """Call a POST endpoint with JSON written the right way."""
        raw = json.dumps(body, ensure_ascii=False).encode()
        return self.send("POST", path, {"access_token": token if token is not None else self.token()}, raw).json()

    def use(self, token: str) -> int:
        """Use a token and return the errcode."""
        return self.get("/cgi-bin/getcallbackip", token).get("errcode", 0)


class Bugs(logging.Handler):
    """Collects what the simulator says about bugs of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line, if it is about a bug."""
        text = record.getMessage()
        if text.startswith("a bug of the simulator"):
            self.told.append(text)


@pytest.fixture(autouse=True)
def no_bugs() -> Iterator[None]:
    """A bug in a handler is answered, so that no test may overlook one: every test fails that meets one."""
    logger, bugs = logging.getLogger("wxmp.simulator"), Bugs()
    logger.addHandler(bugs)
    yield
    logger.removeHandler(bugs)
    assert bugs.told == []


@pytest.fixture
def policy() -> Policy:
    """The default policy; a test class may override it."""
    return Policy()


@pytest.fixture
def world(policy: Policy) -> World:
    """A world at noon whose clock only moves when told."""
    return World(policy, Clock.frozen(), seed=7)


@pytest.fixture
def desk(world: World) -> Desk:
    """A desk in front of the frozen world."""
    return Desk(world)


@pytest.fixture
def make_desk():
    """Build a desk for a policy of its own."""

    def make(**fields: Any) -> Desk:
        return Desk(World(Policy(**fields), Clock.frozen(), seed=7))

    return make


@pytest.fixture
def simulator(world: World) -> Iterator[Simulator]:
    """The frozen world behind a real socket."""
    with Simulator(world=world) as running:
        yield running


@pytest.fixture
def http(simulator: Simulator) -> Iterator[httpx.Client]:
    """A plain HTTP client for the running simulator."""
    # Nothing here is encrypted, and reading the authorities takes longer than most tests.
    with httpx.Client(base_url=simulator.url, timeout=5.0, trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def developer() -> Iterator[Developer]:
    """A developer's server on loopback."""
    running = Developer()
    yield running
    running.stop()
