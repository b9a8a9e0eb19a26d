"""Replicas of a control server, processes that live on its tokens without the AppSecret, and everything that breaks.

Each test asserts how many token requests reached the platform, not only that calls succeeded.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs
import httpx
import pytest

from tests.redis_server import held_port
from wxmp.control import ControlKey
from wxmp.simulator import Policy, Simulator

from .fleet import Fleet, errors, slowest, waited
from .together import Place, Wave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.redis_server import RedisServer

#: The first test of a wave takes as long as its longest case.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
START_WITHIN, STOP_WITHIN = 90.0, 40.0
#: Times for a busy machine: a server that does not answer in a second is one that was stopped, and not a slow one.
TIMES = {
    "lease": 6.0,
    "request_timeout": 3.0,
    "connect_timeout": 1.0,
    "wait_timeout": 15.0,
    "check_interval": 0.4,
    "store_timeout": 3.0,
    "overlap": 12.0,
}
#: Longest call while a server hangs: its part of the time limit, and some more.
HANGING = 4.0
#: Longest wait for a token when none has to be waited for.
FLOWING = 1.5


class Replica:
    """A process that serves."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._holder = held_port()
        self._settings = {**settings, "port": self._holder.getsockname()[1]}
        if sys.platform != "linux":
            self._holder.close()
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - end() closes it
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._settings['port']}"

    def start(self) -> None:
        """Start it, on the port that it had before."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.control_replica", json.dumps(self._settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            cwd=ROOT,
            text=True,
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_WITHIN)
        assert ready, "a replica did not start"
        assert self._process.stdout.readline() == "ready\n", self.log()

    def log(self) -> str:
        self._output.seek(0)
        return self._output.read()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.communicate(timeout=STOP_WITHIN)

    def end(self) -> str:
        """Close stdin and wait: it stops in an orderly way. Return all that it logged."""
        if self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self._process.communicate(timeout=STOP_WITHIN)
            assert self._process.returncode == 0
        self._holder.close()
        with self._output:
            return self.log()


@attrs.define
class Control:
    """Replicas of one control server, and the processes that ask it."""

    simulator: Simulator
    store: str
    channel: str = "plain"
    policy: dict[str, Any] = attrs.field(factory=lambda: dict(TIMES))
    replicas: list[Replica] = attrs.field(factory=list)
    fleets: list[Fleet] = attrs.field(factory=list)
    logs: list[str] = attrs.field(factory=list)
    key: tuple[ControlKey, str] = attrs.field(factory=lambda: ControlKey.create("workers", appids="*"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fleet in self.fleets:
            fleet.__exit__()
        self.logs = [replica.end() for replica in self.replicas]

    def serve(self, number: int) -> list[Replica]:
        """Start replicas."""
        account, (key, _) = self.simulator.account, self.key
        settings = {
            "appid": account.appid,
            "secret": account.secret,
            "platform": self.simulator.url,
            "store": self.store,
            "channel": self.channel,
            "policy": self.policy,
            "key_id": key.id,
            "key_digest": key.digest,
        }
        made = [Replica(settings) for _ in range(number)]
        self.replicas += made
        return made

    def fleet(self, urls: list[str] | None = None) -> Fleet:
        """Return a fleet without the AppSecret, for which the replicas are everything."""
        given = urls or [replica.url for replica in self.replicas]
        made = Fleet(self.simulator, f"control:{','.join(given)}#{self.key[1]}", policy=self.policy)
        self.fleets.append(made)
        return made

    def status(self, replica: Replica) -> dict[str, Any]:
        """What a replica tells about the access_token."""
        headers = {"Authorization": f"Bearer {self.key[1]}"}
        values = httpx.get(f"{replica.url}/v1/status", headers=headers, trust_env=False).json()["values"]
        (found,) = [value for value in values if value["kind"] == "access_token"]
        return dict(found)


@pytest.fixture
def control(lasting: Simulator, redis: RedisServer) -> Iterator[Control]:
    with Control(lasting, redis.url) as made:
        yield made


def wait_for(condition: Callable[[], object], timeout: float = 40.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def start(fleet: Fleet, number: int) -> None:
    fleet.start(number, secret=None)


def served(
    place: Place,
    replicas: int,
    processes: int,
    *,
    store: str = "redis",
    channel: str = "plain",
    policy: Policy | None = None,
) -> tuple[Control, Fleet]:
    """Start replicas and processes that ask them; return when all cases of the wave have theirs."""
    simulator = place.enter(Simulator(policy=policy, seed=1))
    control = place.enter(Control(simulator, place.redis.url if store == "redis" else store, channel))
    with place.starting:
        control.serve(replicas)
        fleet = control.fleet()
        start(fleet, processes)
    place.begin()
    return control, fleet


#: Those whose replicas come and go, and those that begin with all they need.
killed, shaken = Wave(), Wave()
#: The platform with tokens that live 20 s; the old one overlaps 6 s.
SHORT_LIVES = Policy(token_life=20, token_overlap=6.0, stable_rotate_before=6.0)
#: Seconds from one call of a process to its next.
PACE = 0.05


@pytest.mark.parametrize("channel", ["plain", "stable"])
def test_a_cold_start_of_everything(control: Control, channel: str) -> None:
    """3 replicas and 6 processes x 16 callers start cold: one token request, no error."""
    control.channel = channel
    control.serve(3)
    fleet = control.fleet()
    start(fleet, 6)
    outcomes = fleet.all("calls", 16)
    assert errors(outcomes) == []
    assert fleet.requests == 1


def test_everybody_notices_at_once(control: Control) -> None:
    """The platform ends the token under 3 processes x 200 tasks and 3 replicas: one replacement, no failed call."""
    control.serve(3)
    fleet = control.fleet()
    start(fleet, 3)
    assert errors(fleet.all("calls", 2)) == []
    for deaths in (1, 2):
        control.simulator.kill_token("plain", how="forced")
        outcomes = fleet.all("calls", 200)
        assert errors(outcomes) == []
        assert sum(outcome["calls"] for outcome in outcomes) == 600
        assert fleet.requests == 1 + deaths


@killed.test()
def test_replicas_are_killed_in_turn(place: Place) -> None:
    """Each replica is killed (-9) under load and comes back, twice: no failed call, one token request in all."""
    control, fleet = served(place, 3, 4)
    fleet.all("calls", 2)
    fleet.all("start", PACE)
    for _ in range(2):
        for replica in control.replicas:
            replica.kill()
            time.sleep(0.7)
            replica.start()
            time.sleep(0.3)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert sum(outcome["calls"] for outcome in outcomes) > 400
    assert fleet.requests == 1


@killed.test()
def test_tokens_die_while_replicas_are_killed(place: Place) -> None:
    """Under the same load the platform ends the token, each time with another replica gone: one request per death."""
    control, fleet = served(place, 3, 4)
    fleet.all("calls", 2)
    fleet.all("start", PACE)
    for number, replica in enumerate(control.replicas):
        replica.kill()
        control.simulator.kill_token("plain", how="forced")
        wait_for(lambda number=number: fleet.requests == number + 2)  # type: ignore[misc]
        time.sleep(1.0)
        replica.start()
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert fleet.requests == 4


@killed.test()
def test_planned_refreshes_while_replicas_are_killed(place: Place) -> None:
    """Tokens of 20 s for 24 s, and a replica killed every other second: no failed call, no call that waits."""
    control, fleet = served(place, 3, 4, policy=SHORT_LIVES)
    began = time.monotonic()
    fleet.all("calls", 1)
    fleet.all("start", 0.05)
    for turn in range(12):
        replica = control.replicas[turn % 3]
        replica.kill()
        time.sleep(1.0)
        replica.start()
        time.sleep(0.5)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < FLOWING
    issued = control.simulator.tokens_issued("plain")
    # It is the replicas' starts that take the time, and on a busy machine more than 24 s of it.
    assert 2 <= issued <= 1 + (time.monotonic() - began) / 6
    assert fleet.requests <= issued + 2


@killed.test()
def test_the_server_is_gone_for_good(place: Place) -> None:
    """Clients go on until their token's end, and then say why; the platform hears nothing of them."""
    control, fleet = served(place, 1, 3, policy=SHORT_LIVES)
    simulator, (replica,) = control.simulator, control.replicas
    assert errors(fleet.all("calls", 4)) == []
    time.sleep(1.0)
    assert errors(fleet.all("calls", 4)) == []
    replica.kill()  # every process has a token of at least half a life
    issued, end = simulator.tokens_issued("plain"), time.monotonic() + 6.0
    while time.monotonic() < end:
        outcomes = fleet.all("calls", 2)
        assert errors(outcomes) == []
        assert waited(outcomes) < FLOWING
        time.sleep(0.1)
    wait_for(lambda: set(errors(fleet.all("calls", 2))) == {"TokenStoreUnavailable"})
    assert simulator.tokens_issued("plain") == issued
    replica.start()
    wait_for(lambda: errors(fleet.all("calls", 2)) == [])
    assert simulator.tokens_issued("plain") <= issued + 2


@shaken.test(channel={"stable": "stable", "plain": "plain"})
def test_a_server_without_memory_restarts(place: Place, channel: str) -> None:
    """One server with a store in its memory is killed and starts empty: one request more, and nobody notices."""
    control, fleet = served(place, 1, 4, store="memory:", channel=channel)
    (replica,) = control.replicas
    fleet.all("calls", 2)
    fleet.all("start", PACE)
    replica.kill()
    time.sleep(1.5)
    replica.start()
    time.sleep(3.0)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < FLOWING
    assert fleet.requests == 2
    cold = control.fleet()
    start(cold, 1)
    assert errors(cold.all("calls", 4)) == []
    assert fleet.requests == 2


@shaken.test()
def test_a_replica_freezes(place: Place) -> None:
    """SIGSTOP of the replica that everybody asks, a dead token meanwhile, SIGCONT: one request, no error."""
    control, fleet = served(place, 3, 4)
    fleet.all("calls", 2)
    fleet.all("start", PACE)
    frozen = control.replicas[0]
    frozen.signal(signal.SIGSTOP)
    time.sleep(0.5)
    control.simulator.kill_token("plain", how="forced")
    time.sleep(2.0)
    frozen.signal(signal.SIGCONT)
    time.sleep(1.0)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert fleet.requests == 2
    assert slowest(outcomes) < HANGING


def test_the_replica_that_fetches_freezes(control: Control) -> None:
    """SIGSTOP of the replica that holds the lease, nobody has a token: another one takes over; nobody fails."""
    control.simulator.fault("hang", "/cgi-bin/token", first=1)
    (holder,) = control.serve(1)  # it fetches as soon as it starts
    wait_for(lambda: control.simulator.token_requests == 1)
    time.sleep(0.2)
    holder.signal(signal.SIGSTOP)
    control.serve(2)
    fleet = control.fleet()
    start(fleet, 3)
    outcomes = fleet.all("calls", 4)
    assert errors(outcomes) == []
    assert fleet.requests == 2
    holder.signal(signal.SIGCONT)
    time.sleep(1.0)
    assert errors(fleet.all("calls", 4)) == []
    wait_for(lambda: control.status(holder)["usable"])
    generations = {control.status(replica)["generation"] for replica in control.replicas}
    assert len(generations) == 1


def test_a_black_hole_comes_first(control: Control) -> None:
    """An address that takes connections and says nothing costs one part of the time limit, once per process."""
    (replica,) = control.serve(1)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as hole:
        fleet = control.fleet([f"http://127.0.0.1:{hole.getsockname()[1]}", replica.url])
        start(fleet, 3)
        outcomes = fleet.all("calls", 4)
        assert errors(outcomes) == []
        assert slowest(outcomes) < HANGING
        fleet.all("start", PACE)
        time.sleep(2.0)
        outcomes = fleet.all("stop")
        assert errors(outcomes) == []
        assert waited(outcomes) < FLOWING
        assert fleet.requests == 1


@shaken.test()
def test_redis_goes_and_comes_back(place: Place) -> None:
    """The replicas' Redis is killed, stays away, and comes back empty: tokens are served from memory all the time."""
    control, fleet = served(place, 2, 3)
    fleet.all("calls", 2)
    for replica in control.replicas:
        wait_for(lambda replica=replica: control.status(replica)["usable"])  # type: ignore[misc]
    fleet.all("start", PACE)
    place.redis.kill()
    time.sleep(2.0)
    place.redis.start()
    time.sleep(3.0)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < FLOWING
    assert fleet.requests == 1


def test_replicas_tell_nobody(control: Control) -> None:
    """What replicas log through kills, deaths and refusals holds no key, no AppSecret and no token."""
    control.serve(2)
    fleet = control.fleet()
    start(fleet, 2)
    fleet.all("calls", 2)
    control.simulator.kill_token("plain", how="forced")
    fleet.all("calls", 2)
    httpx.get(f"{control.replicas[0].url}/v1/status", headers={"Authorization": "Bearer wrong"}, trust_env=False)
    account = control.simulator.account
    tokens = account.tokens
    secrets = {account.secret, control.key[1], control.key[1].split("_", 2)[2]}
    secrets |= {token.text for token in (tokens.values() if isinstance(tokens, dict) else tokens)}
    control.__exit__()
    written = "".join(control.logs)
    assert "event=hand_out key=workers" in written
    assert "event=replace" in written
    assert [secret for secret in secrets if secret in written] == []
    control.fleets.clear()
    control.replicas.clear()
