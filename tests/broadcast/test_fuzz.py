"""Fleets of bulk sends in virtual time, with everything going wrong that can: what must hold, holds.

Each process has an event loop of its own; all share one clock, one journal and one platform. A dead process is a loop
that is never run again; a frozen one is not run while time goes on for the others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.broadcast.model import KEY, MemoryJournal, ModelSender, Platform, make_run, people
from tests.tokens.test_keeper_fuzz import ProcessLoop, Time
from wxmp.broadcast.engine import AHEAD
from wxmp.broadcast.records import Outcome, Pace, Recipient
from wxmp.errors import WxmpError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.broadcast.engine import Run

EXAMPLES = int(os.environ.get("WXMP_FUZZ_EXAMPLES", "60"))
RECIPIENTS = 60
#: Seconds after which every story must be over.
END = 6000.0


@attrs.frozen
class Fault:
    """Something that happens."""

    starts: float
    what: str
    process: int = 0
    seconds: float = 1.0


class Process:
    """One process with a run in it; started again when it died or its run ended before all was done."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.frozen_until = -math.inf
        self.loops: list[ProcessLoop] = []
        self.dead = False
        self.start()

    @property
    def active(self) -> bool:
        return not self.dead and self.world.clock.now >= self.frozen_until

    def start(self) -> None:
        self.dead = False
        self.loop = ProcessLoop(self.world.clock)
        self.loop.set_exception_handler(
            lambda _, context: self.world.complaints.append(f"the loop complains: {context}")
        )
        self.loops.append(self.loop)
        self.main = self.loop.create_task(self.live())
        self.run: Run | None = None

    async def build(self, recipient: Recipient) -> Recipient:
        if self.world.build:
            await asyncio.sleep(self.world.build)
        return recipient

    async def live(self) -> None:
        """Go on until the run comes to its end."""
        while True:
            world = self.world
            self.run = make_run(
                people(RECIPIENTS),
                world.platform,
                world.journal,
                sender=ModelSender(world.platform, self.build, deduplicates=world.deduplicates),
                pace=Pace(concurrency=world.concurrency, per_second=world.per_second),
            )
            try:
                async for result in self.run:
                    row = world.journal.rows.get(result.openid)
                    if row is None or row.result is None:
                        world.complaints.append(f"{result} was told and not written down")
                if None not in world.journal.outcomes().values() and len(world.journal.rows) == RECIPIENTS:
                    return
            except WxmpError:
                pass
            await asyncio.sleep(1.0)


class World:
    """Processes, a journal and a platform."""

    def __init__(
        self,
        *,
        processes: int,
        concurrency: int,
        deduplicates: bool,
        per_second: float | None,
        delay: float,
        build: float = 0.0,
    ) -> None:
        self.clock = Time()
        self.complaints: list[str] = []
        self.concurrency, self.deduplicates, self.per_second = concurrency, deduplicates, per_second
        self.build = build
        self.journal = MemoryJournal(lambda: self.clock.now, delay=0.006)
        self.platform = Platform(lambda: self.clock.now, delay=delay, life=600.0 if deduplicates else 0.0)
        self.outside = ProcessLoop(self.clock)
        self.processes = [Process(self, number) for number in range(processes)]

    async def strike(self, fault: Fault) -> None:
        await asyncio.sleep(fault.starts)
        process = self.processes[fault.process % len(self.processes)]
        if fault.what == "die":
            process.dead = True
            await asyncio.sleep(fault.seconds)
            process.start()
        elif fault.what == "freeze":
            process.frozen_until = self.clock.now + fault.seconds
        elif fault.what == "cancel":
            if not process.dead and process.run is not None:
                process.loop.create_task(process.run.cancel())
        elif fault.what in ("down", "deaf"):
            self.journal.fault = fault.what
            await asyncio.sleep(min(fault.seconds, 40.0))
            self.journal.fault = ""
        else:
            self.platform.fault = int(fault.what) if fault.what.lstrip("-").isdigit() else fault.what
            await asyncio.sleep(fault.seconds)
            self.platform.fault = ""

    def settle(self) -> None:
        steps, quiet = 0, False
        while not quiet:
            quiet = True
            for loop in [self.outside, *(process.loop for process in self.processes if process.active)]:
                if loop.has_work:
                    quiet = False
                    loop.step()
                    steps += 1
            assert steps < 50_000, "something spins without letting time pass"

    def play(self, faults: list[Fault]) -> None:
        stories = [self.outside.create_task(self.strike(fault)) for fault in faults]
        end = self.clock.now + END
        try:
            while True:
                self.settle()
                if all(task.done() for task in stories) and all(
                    process.main.done() for process in self.processes if not process.dead
                ):
                    break
                loops = [self.outside, *(process.loop for process in self.processes if process.active)]
                moments = [process.frozen_until for process in self.processes if process.frozen_until > self.clock.now]
                moments += [when for loop in loops if (when := loop.next_timer) is not None]
                assert moments, "nothing will ever happen again"
                assert self.clock.now < end, "it does not come to an end"
                self.clock.now = max(min(moments), self.clock.now)
            for process in self.processes:
                process.main.result()
            self.judge()
        finally:
            self.close()

    def judge(self) -> None:
        outcomes = self.journal.outcomes()
        assert sorted(outcomes) == people(RECIPIENTS), "somebody was lost"
        for openid, outcome in outcomes.items():
            times = self.platform.delivered.get(openid, [])
            assert len(times) <= 1, f"{openid} got {len(times)} messages"
            assert outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN), outcome
            assert outcome is not Outcome.ACCEPTED or len(times) == 1
        for _, openid, key in self.platform.arrived:
            assert key == KEY.client_msg_id(openid)
        assert self.journal.most_in_doubt <= (self.concurrency + max(AHEAD, self.concurrency)) * (
            len(self.processes) + self.deaths
        )
        assert not self.complaints, "\n".join(self.complaints)

    @property
    def deaths(self) -> int:
        return sum(len(process.loops) - 1 for process in self.processes) * 2 + 2

    def close(self) -> None:
        """Leave nothing for the garbage collector to complain about."""
        for loop in [self.outside, *(loop for process in self.processes for loop in process.loops)]:
            loop.set_exception_handler(lambda *_: None)
            for _ in range(8):
                for task in asyncio.all_tasks(loop):
                    task.cancel()
                self.clock.now += 1e4
                for _ in range(4):
                    loop.step()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


MOMENTS = st.sampled_from([0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 1.0, 3.9, 4.1, 14.9, 15.1, 30.0]) | st.floats(0, 3)
SECONDS = st.sampled_from([0.01, 0.5, 3.0, 14.0, 16.0, 45.0, 70.0, 300.0, 539.0, 545.0, 601.0, 650.0, 700.0, 2000.0])
WORLDS = st.fixed_dictionaries(
    {
        "processes": st.integers(1, 3),
        "concurrency": st.sampled_from([1, 3, 20]),
        "deduplicates": st.just(True),
        "per_second": st.sampled_from([None, None, 5.0, 100.0]),
        "delay": st.sampled_from([0.002, 0.05, 2.0]),
        "build": st.sampled_from([0.0, 0.0, 3.0]),
    }
)


def faults(*kinds: str, most: int = 4) -> st.SearchStrategy[list[Fault]]:
    one = st.builds(Fault, starts=MOMENTS, what=st.sampled_from(kinds), process=st.integers(0, 2), seconds=SECONDS)
    return st.lists(one, max_size=most)


fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("wxmp.broadcast")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("starts", [0.1, 1.0, 2.9, 4.1])
@pytest.mark.parametrize("build", [0.0, 3.0])
@pytest.mark.parametrize("seconds", [16.0, 700.0])
@pytest.mark.parametrize("concurrency", [1, 20])
def test_thawed_after_another_took_over(starts: float, build: float, seconds: float, concurrency: int) -> None:
    """What it had claimed before it was frozen is another's by now: it sends nothing of that."""
    world = World(processes=2, concurrency=concurrency, deduplicates=True, per_second=None, delay=2.0, build=build)
    world.play([Fault(starts, "freeze", 0, seconds)])


@pytest.mark.untraced
@fuzz
@given(WORLDS, faults("die", "die", "freeze", "cancel"))
def test_processes_that_die_freeze_and_are_cancelled(world: dict[str, Any], story: list[Fault]) -> None:
    """Whatever becomes of processes, each recipient gets at most one message, and one outcome that is true."""
    World(**world).play(story)


@pytest.mark.untraced
@fuzz
@given(WORLDS, faults("die", "freeze", "lost", "hole", "refused", "-1", "45011", "45009"))
def test_networks_and_platforms(world: dict[str, Any], story: list[Fault]) -> None:
    """The same while answers are lost, nothing gets through, and the platform is busy or counts."""
    World(**world).play(story)


@pytest.mark.untraced
@fuzz
@given(WORLDS, faults("die", "freeze", "cancel", "down", "deaf", "lost", "-1", most=6))
def test_whatever_happens(world: dict[str, Any], story: list[Fault]) -> None:
    """The same with a journal that fails, before or after it acted."""
    World(**world).play(story)


@pytest.mark.untraced
@fuzz
@given(WORLDS, faults("die", "freeze", "cancel", "down", "deaf", "lost", "-1"))
def test_without_a_key(world: dict[str, Any], story: list[Fault]) -> None:
    """Where the platform recognises no repetition, nobody gets a second message either."""
    World(**{**world, "deduplicates": False}).play(story)
