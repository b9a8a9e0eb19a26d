"""Real processes that send to many, killed and frozen at random points: nobody is lost, nobody gets a message twice.

``WXMP_BROADCAST_RECIPIENTS=20000`` makes each of the twenty killed runs as long as that; it takes some minutes.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.redis_server import RedisServer
from wxmp.broadcast.records import Outcome, RunKey
from wxmp.simulator import Policy, Simulator
from wxmp.simulator.policy import DailyQuota

from .broadcast_worker import open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.broadcast.journal import Journal

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
RECIPIENTS = int(os.environ.get("WXMP_BROADCAST_RECIPIENTS", "100"))
REPETITIONS = 20
#: Repetitions at a time: most of a short one is starting a process, and waiting for a lease to end.
AT_ONCE = 10 if RECIPIENTS < 1000 else 2
LEASE = 2.0
PATIENCE = 100.0 + RECIPIENTS / 100
SHARED = 1000


@attrs.define(eq=False)
class Place:
    """A platform, its template, and a list of recipients."""

    simulator: Simulator
    template_id: str
    folder: Path

    def recipients(self, number: int) -> Path:
        path = self.folder / f"{number}.txt"
        if not path.exists():
            openids = list(self.simulator.world.account.users)[:number]
            path.write_text("\n".join(openids), "ascii")
        return path

    def start(self, name: str, journal: str, number: int, **settings: Any) -> Worker:
        account = self.simulator.account
        return Worker(
            {
                "appid": account.appid,
                "secret": account.secret,
                "url": self.simulator.url,
                "journal": journal,
                "name": name,
                "template_id": self.template_id,
                "recipients": str(self.recipients(number)),
                "lease": LEASE,
                **settings,
            }
        )

    def start_together(self, processes: int, name: str, journal: str, number: int, **settings: Any) -> list[Worker]:
        """Start some that begin at the same moment: whoever starts late on a busy machine would find nothing to do."""
        gate = self.folder / f"gate of {name}"
        workers = [self.start(name, journal, number, gate=str(gate), **settings) for _ in range(processes)]
        for worker in workers:
            worker.wait_until_ready()
        gate.touch()
        return workers

    def messages(self, name: str, number: int) -> Counter[int]:
        """How many recipients of a run have how many messages in the platform's ledger."""
        key = RunKey(self.simulator.account.appid, name)
        ledger = Counter(sent.client_msg_id for sent in self.simulator.world.sent())
        openids = self.recipients(number).read_text("ascii").split()
        return Counter(ledger[key.client_msg_id(openid)] for openid in openids)

    async def counts(self, name: str, journal: str) -> dict[Outcome | None, int]:
        opened: Journal = open_journal(journal)
        async with opened:
            return dict(await opened.counts(RunKey(self.simulator.account.appid, name)))


class Worker:
    """A worker process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.broadcast_worker", json.dumps(settings)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.ready = False
        self.results = 0
        self.done: dict[str, int] | None = None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "ready\n":
                self.ready = True
            elif line.startswith("{"):
                self.done = json.loads(line)
            else:
                self.results += 1

    def wait_for(self, results: int) -> None:
        """Wait until it has settled so many, or has ended."""
        deadline = time.monotonic() + PATIENCE
        while self.results < results and self._process.poll() is None:
            assert time.monotonic() < deadline, f"{self.results} of {results} results in {PATIENCE} s"
            select.select([], [], [], 0.001)

    def wait_until_ready(self) -> None:
        """Wait until it stands before its gate."""
        deadline = time.monotonic() + PATIENCE
        while not self.ready:
            assert time.monotonic() < deadline, "a worker did not start"
            assert self._process.poll() is None, "a worker ended before it began"
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self.finish()

    def finish(self) -> int:
        status = self._process.wait(PATIENCE)
        self._reader.join(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    policy = Policy(
        sent_kept=10_000 + REPETITIONS * max(RECIPIENTS, SHARED),
        daily_quotas={},
        default_daily_quota=DailyQuota(10**7, 10**7),  # twenty runs of 20,000 are more than the platform's day
    )
    # Nobody watches the reports of the messages, and nothing else happens: the platform is quick.
    with Simulator(policy=policy, seed=1, followers=max(RECIPIENTS, SHARED)) as simulator:
        simulator.world.add_template("发货通知", "{{thing1.DATA}}")
        template_id = list(simulator.account.templates)[-1]
        yield Place(simulator, template_id, tmp_path_factory.mktemp("broadcast"))


def kill_and_go_on(place: Place, number: int) -> tuple[int, int]:
    """One repetition: a run that is killed at a random point, once or twice, and finished by another process."""
    dice = random.Random(number)
    name, journal = f"killed {number}", str(place.folder / f"killed{number}.db")
    kills = 0
    for _ in range(dice.choice([1, 1, 2])):
        worker = place.start(name, journal, RECIPIENTS)
        worker.wait_for(dice.randrange(RECIPIENTS))
        time.sleep(dice.random() * 0.02)
        kills += worker.done is None
        worker.kill()
    last = place.start(name, journal, RECIPIENTS)
    return kills, last.finish()


@pytest.mark.timeout(300 + RECIPIENTS)
async def test_killed_at_random_points(place: Place) -> None:
    """Twenty runs, each killed (kill -9) at a random point: each recipient has one message in the platform's ledger."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = list(pool.map(lambda number: kill_and_go_on(place, number), range(REPETITIONS)))
    assert [status for _, status in ended] == [0] * REPETITIONS
    assert sum(kills for kills, _ in ended) >= REPETITIONS * 0.6
    for number in range(REPETITIONS):
        assert place.messages(f"killed {number}", RECIPIENTS) == {1: RECIPIENTS}
        counts = await place.counts(f"killed {number}", str(place.folder / f"killed{number}.db"))
        assert counts == {Outcome.ACCEPTED: RECIPIENTS}


@pytest.mark.parametrize("backend", ["file", "redis"])
async def test_several_on_one_journal(place: Place, backend: str) -> None:
    """Four processes share the work, one is killed, one stopped beyond its lease: everybody gets one message."""
    with RedisServer() as redis:
        journal = redis.url if backend == "redis" else str(place.folder / "shared.db")
        name = f"shared {backend}"
        workers = place.start_together(4, name, journal, SHARED, concurrency=5)
        for worker in workers:
            worker.wait_for(20)
        workers[0].kill()
        workers[1].signal(signal.SIGSTOP)
        time.sleep(2 * LEASE)
        workers[1].signal(signal.SIGCONT)
        assert [worker.finish() for worker in workers[1:]] == [0, 0, 0]
        assert place.messages(name, SHARED) == {1: SHARED}
        assert await place.counts(name, journal) == {Outcome.ACCEPTED: SHARED}
        assert min(worker.results for worker in workers) >= 20


@pytest.mark.parametrize("backend", ["file", "redis"])
async def test_one_rate_for_all(place: Place, backend: str) -> None:
    """Two processes keep one limit of a second between them."""
    per_second, number = 40.0, 80
    with RedisServer() as redis:
        for turn in range(4):
            journal = redis.url if backend == "redis" else str(place.folder / f"rate{turn}.db")
            name = f"rate {backend} {turn}"
            workers = place.start_together(2, name, journal, number, per_second=per_second)
            assert [worker.finish() for worker in workers] == [0, 0]
            key = RunKey(place.simulator.account.appid, name)
            keys = {key.client_msg_id(openid) for openid in place.recipients(number).read_text("ascii").split()}
            times = sorted(sent.at for sent in place.simulator.world.sent() if sent.client_msg_id in keys)
            assert len(times) == number
            # Where the machine stood still, what was allowed meanwhile comes in a crowd: that says nothing.
            if max(after - before for before, after in pairwise(times)) < 0.3:
                break
        # A tenth of a second may be saved up; the way to the platform is not equally long for all.
        most = max(sum(start <= at < start + 1.0 for at in times) for start in times)
        assert most <= per_second * 1.1 + 5
        assert number / per_second - 1 < times[-1] - times[0] < number / per_second + 10
