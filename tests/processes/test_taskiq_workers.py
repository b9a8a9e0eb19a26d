"""Real ``taskiq worker`` processes on a Redis stream, killed, ended and outdated: everybody gets one message."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.redis_server import RedisServer
from wxmp.broadcast import Outcome
from wxmp.broadcast.records import RunKey
from wxmp.broadcast.redis import RedisJournal
from wxmp.simulator import Policy, Simulator

from .taskiq_app import LEASE, Settings, make

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from wxmp.integrations.taskiq import BroadcastTask

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PATIENCE = 100.0
RECIPIENTS = 1000
#: Messages of three workers that can be on their way, allowed earlier: two shares each, twenty at once in a share.
ON_THEIR_WAY = 3 * 2 * 20


class Worker:
    """``taskiq worker`` with one process below it."""

    def __init__(self, settings: Settings) -> None:
        options = [
            "--workers",
            "1",
            "--max-async-tasks",
            "2",
            "--wait-tasks-timeout",
            "0.5",
            "--shutdown-timeout",
            "15",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskiq", "worker", "tests.processes.taskiq_app:broker", *options],
            env={**os.environ, "WXMP_TEST_SETTINGS": json.dumps(attrs.asdict(settings))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(self._process.stdout)

    @property
    def children(self) -> list[int]:
        """The processes that have reported so far; the last one is alive."""
        return [int(line) for line in list(self.lines) if line.strip().isdigit()]

    def has_said(self, words: str) -> bool:
        return any(words in line for line in list(self.lines))

    def kill(self) -> None:
        """Kill -9 for all of it, as when the machine goes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._ended()

    def kill_child(self) -> None:
        """Kill -9 for the process that works; taskiq starts another one."""
        os.kill(self.children[-1], signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM, as a deployment does it; returns the status."""
        self._process.terminate()
        return self._ended()

    def _ended(self) -> int:
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def end(self) -> None:
        if self._process.poll() is None:
            self.kill()


@attrs.define(eq=False)
class Place:
    """A platform, a Redis server, and the workers on it."""

    simulator: Simulator
    redis: RedisServer
    template_id: str
    workers: list[Worker] = attrs.field(factory=list)

    def settings(self, **changes: Any) -> Settings:
        account = self.simulator.account
        return Settings(
            appid=account.appid, secret=account.secret, url=self.simulator.url, redis=self.redis.url, **changes
        )

    async def start(self, number: int = 1, **changes: Any) -> list[Worker]:
        started = [Worker(self.settings(**changes)) for _ in range(number)]
        self.workers += started
        await until(lambda: all(worker.children for worker in started))
        return started

    async def send(self, number: int, *, share: int = 100, **changes: Any) -> int:
        """What a program does: hand over, and be gone."""
        broker, task = make(self.settings(**changes))
        await broker.startup()
        try:
            return await self.hand_over(task, number, share)
        finally:
            await broker.shutdown()

    async def hand_over(self, task: BroadcastTask, number: int, share: int) -> int:
        options = {"name": "autumn", "template_id": self.template_id, "message": "autumn"}
        return await task.send(self.openids(number), share=share, **options)  # type: ignore[arg-type]

    async def send_until_done(self, number: int, **changes: Any) -> None:
        """The documented way: again, until nobody is left."""
        end = time.monotonic() + PATIENCE
        while await self.send(number, **changes):
            assert time.monotonic() < end, self.output()
            await asyncio.sleep(1.5)

    def openids(self, number: int) -> list[str]:
        return list(self.simulator.account.users)[:number]

    def messages(self) -> Counter[str]:
        """Who has how many messages in the platform's ledger."""
        return Counter(sent.openid for sent in self.simulator.world.sent())

    @property
    def sent(self) -> int:
        return len(self.simulator.world.sent())

    async def counts(self) -> dict[Outcome | None, int]:
        async with RedisJournal(self.redis.url) as journal:
            return dict(await journal.counts(RunKey(self.simulator.account.appid, "autumn")))

    def output(self) -> str:
        return "\n".join("".join(worker.lines[-40:]) for worker in self.workers)


async def until(happens: Callable[[], bool | Awaitable[bool]], patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while True:
        found = happens()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.fixture
def place() -> Iterator[Place]:
    with Simulator(policy=Policy(sent_kept=10_000), seed=1, followers=RECIPIENTS) as simulator, RedisServer() as redis:
        made = Place(simulator, redis, simulator.world.add_template("发货通知", "{{thing1.DATA}}"))
        try:
            yield made
        finally:
            for worker in made.workers:
                worker.end()


async def test_killed_workers(place: Place) -> None:
    """Three workers; one is killed with its machine, one alone (kill -9): all get one message, at one rate for all."""
    rate = 125.0
    settings = {"per_second": rate, "idle": LEASE + 1.0}
    workers = await place.start(3, **settings)
    assert await place.send(RECIPIENTS, **settings) == RECIPIENTS
    await until(lambda: place.sent > RECIPIENTS * 0.2)
    workers[0].kill()
    await until(lambda: place.sent > RECIPIENTS * 0.4)
    workers[1].kill_child()
    await place.send_until_done(RECIPIENTS, **settings)
    assert place.messages() == dict.fromkeys(place.openids(RECIPIENTS), 1)
    assert await place.counts() == {Outcome.ACCEPTED: RECIPIENTS}
    await until(lambda: len(workers[1].children) == 2)  # it was started again
    times = sorted(sent.at for sent in place.simulator.world.sent())
    most = max(sum(start <= at < start + 2.0 for at in times) for start in times[::20])
    assert rate * 1.5 < most <= rate * 2.0 + rate / 10 + ON_THEIR_WAY
    assert times[-1] - times[0] >= RECIPIENTS / rate * 0.97
    assert place.redis.command("KEYS", "autoclaim:*") == []  # a lock that nobody would open
    assert [worker.terminate() for worker in workers[1:]] == [0, 0]


async def test_a_worker_that_is_ended(place: Place) -> None:
    """SIGTERM: a worker finishes what is in flight and passes the rest on at once, although nobody waits for it."""
    settings = {"per_second": 25.0}  # the broker itself would wait ten minutes
    (first,) = await place.start(1, **settings)
    await place.send(200, **settings)
    await until(lambda: place.sent > 30)
    began = time.monotonic()
    assert first.terminate() == 0
    assert time.monotonic() - began < 14.0
    counts = await place.counts()
    assert counts == {Outcome.ACCEPTED: place.sent}  # none is in flight
    assert 30 < place.sent < 200
    assert first.has_said("recipients are passed on, this worker ends")
    assert not first.has_said("Traceback")
    await place.start(1)
    await until(lambda: place.sent == 200)
    assert await place.send(200) == 0
    assert place.messages() == dict.fromkeys(place.openids(200), 1)


async def test_a_limit_of_the_day(place: Place) -> None:
    """At the limit of the day all workers stop; the next day ``send`` goes on where they stopped."""
    settings = {"per_day": 100}
    await place.start(2, **settings)
    await place.send(150, share=30, **settings)

    async def acknowledged() -> bool:
        (group,) = place.redis.command("XINFO", "GROUPS", "taskiq")
        fields = dict(zip(group[::2], group[1::2], strict=True))
        return bool(fields[b"pending"] == 0 and fields[b"lag"] == 0)

    await until(acknowledged)
    # A share that ends may leave some of what was allowed unused: ten of each twenty that it asks for at once.
    assert 60 <= place.sent <= 100
    assert await place.counts() == {Outcome.ACCEPTED: place.sent}
    key = f"wxmp:send:{{{place.simulator.account.appid}}}:pace"
    place.redis.command("HINCRBY", key, "day", -1)  # midnight
    await place.send_until_done(150, share=30, **settings)
    assert place.messages() == dict.fromkeys(place.openids(150), 1)


async def test_a_worker_with_older_code(place: Place) -> None:
    """A worker that does not know the message yet loses no share: the new one sends it."""
    (old,) = await place.start(1, old=True)
    await place.send(100, share=50)
    await until(lambda: old.has_said("this worker cannot send 'autumn'"))
    await place.start(1)
    await until(lambda: place.sent == 100)
    assert await place.send(100) == 0
    assert place.messages() == dict.fromkeys(place.openids(100), 1)


async def test_a_lost_share_comes_back_by_itself(place: Place) -> None:
    """After a kill -9 the broker gives the share to another worker with the next message that it gets, of any kind."""
    settings = {"per_second": 60.0, "idle": LEASE + 1.0}
    (first,) = await place.start(1, **settings)
    await place.send(100, **settings)
    await until(lambda: place.sent > 30)
    first.kill()
    await place.start(1, **settings)
    await asyncio.sleep(LEASE + 1.5)
    place.redis.command("XADD", "taskiq", "*", "data", "{}")
    await until(lambda: place.sent == 100)
    assert place.messages() == dict.fromkeys(place.openids(100), 1)
