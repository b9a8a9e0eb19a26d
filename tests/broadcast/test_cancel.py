"""A bulk send that is broken off at every point at which it waits, and things that are cancelled inside it."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.broadcast.model import KEY, MemoryJournal, ModelSender, Platform, make_run, people
from tests.tokens.virtual_time import VirtualLoop, now
from wxmp.broadcast import SQLiteJournal
from wxmp.broadcast.engine import Run
from wxmp.broadcast.records import Outcome, Pace, Recipient, RunKey
from wxmp.errors import BroadcastError, JournalError
from wxmp.events import BroadcastFinished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from wxmp.broadcast.journal import Claim
    from wxmp.events import Event

NAMES = people(30)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("wxmp.broadcast")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


class Counting(VirtualLoop):
    """Does something at the n-th turn."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.acts: dict[int, Callable[[], object]] = {}

    def _run_once(self) -> None:
        self.turn += 1
        self.acts.pop(self.turn, lambda: None)()
        super()._run_once()  # type: ignore[misc]


class World:
    """A platform whose answers are sometimes lost, and a journal."""

    def __init__(self) -> None:
        self.platform = Platform(now, delay=0.02)
        self.journal = MemoryJournal(now, delay=0.004)

    def make(self) -> Run:
        return make_run(NAMES, self.platform, self.journal, pace=Pace(concurrency=3))

    async def finish_and_judge(self) -> None:
        await asyncio.sleep(0.05)
        assert self.platform.flying == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        self.platform.faults = {}
        await self.make().run()
        assert sorted(self.platform.delivered) == NAMES
        assert all(len(times) == 1 for times in self.platform.delivered.values())
        assert set(self.journal.outcomes().values()) == {Outcome.ACCEPTED}


async def run_through(world: World) -> None:
    await world.make().run()


async def leave_at_the_tenth(world: World) -> None:
    count = 0
    async for _ in world.make():
        count += 1
        if count == 10:
            break
    gc.collect()


async def in_a_block(world: World) -> None:
    async with world.make() as made:
        async for _ in made:
            pass


def turns_of(way: Callable[[World], Coroutine[Any, Any, None]]) -> int:
    with asyncio.Runner(loop_factory=Counting) as runner:
        runner.run(way(World()))
        loop = runner.get_loop()
        assert isinstance(loop, Counting)
        return loop.turn


@pytest.mark.parametrize("way", [run_through, leave_at_the_tenth, in_a_block])
@pytest.mark.parametrize("again", [0, 1, 2, 5])
def test_cancelled_at_every_turn(way: Callable[[World], Coroutine[Any, Any, None]], again: int) -> None:
    """Cancelled at any turn of the loop, once or twice, a run leaves nobody lost, no double and no task."""
    turns = turns_of(way)
    assert turns > 40

    async def play(at: int) -> None:
        world = World()
        world.platform.faults = dict.fromkeys(NAMES[::7], "lost")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counting)
        task = asyncio.create_task(way(world))
        loop.acts[at] = task.cancel
        if again:
            loop.acts[at + again] = task.cancel
        await asyncio.sleep(0)
        loop.call_later(3.0, setattr, world.platform, "faults", {})
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        await world.finish_and_judge()

    for at in range(2, turns + 2):
        with asyncio.Runner(loop_factory=Counting) as runner:
            runner.run(play(at))


@pytest.mark.parametrize("moment", [0.0, 0.001, 0.005, 0.01, 0.02, 0.04, 0.08])
async def test_a_file_is_closed_when_cancelled(tmp_path: Path, moment: float) -> None:
    """With a journal of its own a cancelled run closes the file, also when it is cancelled again while it closes."""
    platform = Platform(asyncio.get_running_loop().time, delay=0.002)
    journal = SQLiteJournal(tmp_path / "journal.db")
    run = Run(KEY, NAMES, ModelSender(platform), journal, Pace(concurrency=3), close_journal=True)
    task = asyncio.create_task(run.run())
    await asyncio.sleep(moment)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(0.1)
    assert journal._file is None
    await Run(KEY, NAMES, ModelSender(platform), journal, Pace(concurrency=3), close_journal=True).run()
    assert sorted(platform.delivered) == NAMES
    assert all(len(times) == 1 for times in platform.delivered.values())


# ---- cancellations that come from inside


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(test())


async def of_its_own_accord() -> None:
    raise asyncio.CancelledError


async def the_task_it_runs_in() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize("cancelled", [of_its_own_accord, the_task_it_runs_in])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_source_that_is_cancelled_from_within(
    cancelled: Callable[[], Coroutine[Any, Any, None]], dry_run: bool
) -> None:
    """A source whose own call was cancelled has not come to its end: the run says so."""

    async def play() -> None:
        world = World()

        async def source() -> AsyncIterator[str]:
            for openid in NAMES[:20]:
                yield openid
            await cancelled()

        made = make_run(source(), world.platform, world.journal, pace=Pace(concurrency=3), dry_run=dry_run)
        with pytest.raises(BroadcastError, match="the source") as caught:
            await made.run()
        assert caught.value.part == "recipients"
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        await world.finish_and_judge()

    in_virtual_time(play)


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("who", ["build", "send"])
@pytest.mark.parametrize("cancelled", [of_its_own_accord, the_task_it_runs_in])
def test_a_message_that_is_cancelled_from_within(
    cancelled: Callable[[], Coroutine[Any, Any, None]], who: str, concurrency: int
) -> None:
    """A worker never vanishes with its recipient: the run ends, and says that its message was cancelled."""

    async def play() -> None:
        world = World()
        armed = True

        async def strike() -> None:
            nonlocal armed
            if armed and len(world.platform.delivered) > 9:
                armed = False
                await cancelled()

        async def build(recipient: Recipient) -> Recipient:
            if who == "build":
                await strike()
            return recipient

        class Sender(ModelSender):
            async def send(self, openid: str, message: Any, client_msg_id: str) -> int | None:
                number = await super().send(openid, message, client_msg_id)
                if who == "send":
                    await strike()
                return number

        sender = Sender(world.platform, build)
        made = make_run(NAMES, world.platform, world.journal, sender=sender, pace=Pace(concurrency=concurrency))
        with pytest.raises(BroadcastError, match="a message") as caught:
            async with asyncio.timeout(100):
                await made.run()
        assert caught.value.part == "message"
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        left = [openid for openid, outcome in world.journal.outcomes().items() if outcome is None]
        assert len(left) == (who == "send")
        await world.finish_and_judge()

    in_virtual_time(play)


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.01, 0.019, 0.02, 0.021, 0.03, 0.1])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_worker_that_is_cancelled_by_a_timer(concurrency: int, delay: float) -> None:
    """Whatever a worker does while a timer that a function has left behind strikes: the run neither hangs nor lies."""

    async def play() -> None:
        world = World()
        left = [1]

        async def build(recipient: Recipient) -> Recipient:
            if left and len(world.platform.delivered) > 9:
                left.pop()
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_later(delay, task.cancel)
            return recipient

        pace = Pace(concurrency=concurrency)
        made = make_run(NAMES, world.platform, world.journal, build=build, pace=pace)
        with pytest.raises(BroadcastError):
            async with asyncio.timeout(100):
                await made.run()
        await world.finish_and_judge()

    in_virtual_time(play)


@pytest.mark.parametrize("cancelled", [of_its_own_accord, the_task_it_runs_in])
def test_a_rehearsal_that_is_cancelled_from_within(cancelled: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In a dry run it is the same: whoever waits for it was not cancelled, and is told what was."""

    async def play() -> None:
        world = World()

        async def build(recipient: Recipient) -> Recipient:
            if recipient.openid == NAMES[9]:
                await cancelled()
            return recipient

        made = make_run(NAMES, world.platform, world.journal, build=build, dry_run=True)
        with pytest.raises(BroadcastError, match="a message") as caught:
            await made.run()
        assert caught.value.part == "message"
        assert made.progress.outcomes == {Outcome.PLANNED: 9}
        await world.finish_and_judge()

    in_virtual_time(play)


def test_a_rehearsal_whose_task_is_cancelled_without_waiting() -> None:
    """A plain function that cancels the task, and waits for nothing, is not taken for the journal."""

    async def play() -> None:
        world = World()

        async def build(recipient: Recipient) -> Recipient:
            if recipient.openid == NAMES[9]:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            return recipient

        made = make_run(NAMES, world.platform, world.journal, build=build, dry_run=True)
        with pytest.raises(BroadcastError, match="a message") as caught:
            await made.run()
        assert caught.value.part == "message"
        await world.finish_and_judge()

    in_virtual_time(play)


@pytest.mark.parametrize("verb", ["begin", "known", "exchange", "others", "renew", "goodbye"])
def test_a_journal_that_is_cancelled_from_within(verb: str) -> None:
    """A journal whose own call was cancelled ends the run like any error, whoever has asked it."""

    class Cancelled(MemoryJournal):
        armed = True
        ends = False

        async def _around(self, asked: str, work: Callable[[], object]) -> object:
            answer = await super()._around(asked, work)
            if self.armed and self._is_it(asked):
                self.armed = False
                raise asyncio.CancelledError
            return answer

        def _is_it(self, asked: str) -> bool:
            if verb == "renew":  # nothing else asks while all answers are awaited
                return asked == "exchange" and now() - started > 3.9
            if verb == "goodbye":
                return self.ends
            return asked == verb and (verb != "exchange" or len(self.rows) > 9)

        async def exchange(self, run: RunKey, *, lease: float, **more: Any) -> tuple[Claim, ...]:
            self.ends = lease == 0.0
            return await super().exchange(run, lease=lease, **more)

    started = 0.0

    async def play() -> None:
        nonlocal started
        started = now()
        world = World()
        world.journal = Cancelled(now, delay=0.004)
        world.platform.delay = 12.0 if verb == "renew" else 0.02
        made = world.make()
        with pytest.raises(BroadcastError, match="the journal") as caught:
            await made.run()
        assert caught.value.part == "journal"
        await asyncio.sleep(20)  # whoever could not say goodbye has a lease that ends
        await world.finish_and_judge()

    in_virtual_time(play)


def test_a_hook_that_cancels_the_task_at_its_very_end() -> None:
    """Where nothing waits any more, the run ends as it does elsewhere, and not as if its caller had been cancelled."""

    def hook(event: Event) -> None:
        task = asyncio.current_task()
        if isinstance(event, BroadcastFinished) and task is not None:
            task.cancel()

    async def play() -> None:
        world = World()
        run = Run(KEY, NAMES, ModelSender(world.platform), world.journal, Pace(), observer=hook, clock=now)
        with pytest.raises(BroadcastError) as caught:
            await run.run()
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert set(world.journal.outcomes().values()) == {Outcome.ACCEPTED}
        await world.finish_and_judge()

    in_virtual_time(play)


def test_an_event_loop_that_ends_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that ends cancels every task of a run at once: the run is told of as cancelled, and can be continued."""
    events: list[Event] = []
    journal: list[MemoryJournal] = []

    async def leave() -> None:
        world = World()
        journal.append(world.journal)
        sender, pace = ModelSender(world.platform), Pace(concurrency=3)
        run = Run(KEY, NAMES, sender, world.journal, pace, observer=events.append, clock=now)
        task = asyncio.create_task(run.run())
        await asyncio.sleep(0.05)
        assert not task.done()

    with caplog.at_level(logging.ERROR, "asyncio"):
        in_virtual_time(leave)
    (finished,) = [event for event in events if isinstance(event, BroadcastFinished)]
    assert finished.outcome == "cancelled"
    assert None in journal[0].outcomes().values()
    assert caplog.records == []


# ---- somebody who is named twice, while the journal fails


class Refusing(MemoryJournal):
    """Fails whatever claims somebody for the second time."""

    async def exchange(self, run: RunKey, **more: Any) -> tuple[Claim, ...]:
        if "o00000" in more.get("claims", ()) and "o00000" in self.rows:
            raise JournalError("no connection", journal=self.name)
        return await super().exchange(run, **more)


def test_named_twice_while_the_journal_fails() -> None:
    """A claim that failed and is given back never takes the same person's message on its way with it."""

    async def play() -> None:
        world = World()
        platform, journal = world.platform, Refusing(now, delay=0.004)
        world.journal = journal
        platform.faults = dict.fromkeys(NAMES[:1], "lost")
        made = make_run(NAMES, platform, journal, pace=Pace(concurrency=5))
        # Both were looked up before the first was claimed; a chunk has no two of a name, but two chunks have.
        made._waiting.extend(map(Recipient, [*NAMES, NAMES[0]]))
        task = asyncio.create_task(made.run())
        await asyncio.sleep(0.5)
        await made.cancel()
        await asyncio.wait({task})
        task.exception()
        assert journal.rows["o00000"].result is None
        await asyncio.sleep(700)  # the platform has forgotten all keys
        platform.faults = {}
        await world.make().run()
        assert all(len(times) == 1 for times in platform.delivered.values())
        assert journal.outcomes()["o00000"] is Outcome.UNKNOWN

    in_virtual_time(play)
