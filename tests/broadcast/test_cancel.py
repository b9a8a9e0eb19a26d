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
from wxmp.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from wxmp.broadcast.journal import Claim

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


def test_a_source_that_is_cancelled_from_within() -> None:
    """A source whose own call was cancelled has not come to its end: the run says so."""

    async def play() -> None:
        world = World()

        async def source() -> AsyncIterator[str]:
            for openid in NAMES[:20]:
                yield openid
            raise asyncio.CancelledError

        made = make_run(source(), world.platform, world.journal, pace=Pace(concurrency=3))
        with pytest.raises(RuntimeError, match="the source"):
            await made.run()
        await world.finish_and_judge()

    in_virtual_time(play)


@pytest.mark.parametrize("who", ["build", "send"])
def test_a_message_that_is_cancelled_from_within(who: str) -> None:
    """A worker never vanishes with its recipient: the run ends, and says that its message was cancelled."""

    async def play() -> None:
        world = World()
        armed = True

        async def cancelled() -> None:
            nonlocal armed
            if armed and len(world.platform.delivered) > 9:
                armed = False
                raise asyncio.CancelledError

        async def build(recipient: Recipient) -> Recipient:
            if who == "build":
                await cancelled()
            return recipient

        class Sender(ModelSender):
            async def send(self, openid: str, message: Any, client_msg_id: str) -> int | None:
                number = await super().send(openid, message, client_msg_id)
                if who == "send":
                    await cancelled()
                return number

        made = make_run(
            NAMES, world.platform, world.journal, sender=Sender(world.platform, build), pace=Pace(concurrency=3)
        )
        with pytest.raises(RuntimeError, match="a message"):
            await made.run()
        left = [openid for openid, outcome in world.journal.outcomes().items() if outcome is None]
        assert len(left) == (who == "send")
        await world.finish_and_judge()

    in_virtual_time(play)


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
