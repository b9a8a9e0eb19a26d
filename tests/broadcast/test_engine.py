"""The engine of a bulk send, against a model of the platform and of the journal, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.broadcast.model import APPID, ENDPOINT, KEY, MemoryJournal, ModelSender, Platform, make_run, people
from tests.tokens.virtual_time import VirtualLoop, now, run
from wxmp.broadcast.delivery import PATIENCE
from wxmp.broadcast.engine import AHEAD, CHUNK, GRACE, HOPELESS, LEASE, RESULTS
from wxmp.broadcast.journal import WINDOW
from wxmp.broadcast.records import Outcome, Pace, Recipient, Result
from wxmp.errors import (
    ArgumentError,
    BusyError,
    ConfigError,
    JournalError,
    NotFoundError,
    RateLimitError,
    TokenStoreUnavailable,
    TransportError,
    api_error,
)

if TYPE_CHECKING:
    from wxmp.broadcast.engine import Run

Story = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("wxmp.broadcast")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


def story(test: Story) -> Callable[[], None]:
    """Run a test in virtual time, and see that it leaves no task behind."""

    def wrapped() -> None:
        async def play() -> None:
            await test()
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left

        run(play())

    wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
    return wrapped


def world(*, delay: float = 0.02, journal_delay: float = 0.004) -> tuple[Platform, MemoryJournal]:
    return Platform(now, delay=delay), MemoryJournal(now, delay=journal_delay)


def freeze(seconds: float) -> None:
    cast("VirtualLoop", asyncio.get_running_loop()).jump(seconds)


async def collect(made: Run) -> list[Result]:
    return [result async for result in made]


def outcomes(results: list[Result]) -> dict[str, Outcome]:
    return {result.openid: result.outcome for result in results}


# ---- the main road


@story
async def test_everybody_once():
    """Each recipient gets one message and one result, with the key and the number of the message."""
    platform, journal = world()
    made = make_run(people(1234), platform, journal)
    results = await collect(made)
    assert sorted(result.openid for result in results) == people(1234)
    assert all(len(times) == 1 for times in platform.delivered.values())
    assert len(platform.arrived) == 1234
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert all(result.client_msg_id == KEY.client_msg_id(result.openid) for result in results)
    assert len({result.msg_id for result in results}) == 1234
    assert set(journal.outcomes().values()) == {Outcome.ACCEPTED}


@story
async def test_claim_before_send_and_result_before_yield():
    """What is sent was claimed durably before, and what is yielded is written down."""
    platform, journal = world()
    unclaimed: list[str] = []

    class Watching(ModelSender):
        async def send(self, openid: str, message: Any, client_msg_id: str) -> int | None:
            if openid not in journal.rows or journal.rows[openid].result is not None:
                unclaimed.append(openid)
            return await super().send(openid, message, client_msg_id)

    made = make_run(people(300), platform, journal, sender=Watching(platform))
    async for result in made:
        row = journal.rows[result.openid]
        assert row.result is not None
        assert row.result.msg_id == result.msg_id
    assert unclaimed == []


@pytest.mark.parametrize("concurrency", [1, 3, 20, 100])
def test_bounds(concurrency: int):
    """At most ``concurrency`` messages fly, at most that and a few more are in doubt, whatever the journal's pace."""

    @story
    async def play():
        platform, journal = world(delay=0.05, journal_delay=0.03)
        await make_run(people(700), platform, journal, pace=Pace(concurrency=concurrency)).run()
        assert platform.most_flying == concurrency
        assert journal.most_in_doubt <= concurrency + max(AHEAD, concurrency)

    play()


@story
async def test_repeated_openids():
    """Somebody who is named again, at once, later or much later, gets one message."""
    platform, journal = world()
    names = people(40)
    results = await collect(make_run([*names, *names[:5], *people(1200), names[3]], platform, journal))
    assert len(results) == len(outcomes(results)) == 1200
    assert len(platform.arrived) == 1200


@story
async def test_second_run_sends_nothing():
    """Started again under its name, a finished run counts everybody as done earlier."""
    platform, journal = world()
    await make_run(people(900), platform, journal).run()
    progress = await make_run(people(900), platform, journal).run()
    assert (progress.seen, progress.earlier, progress.done) == (900, 900, 0)
    assert len(platform.arrived) == 900


@story
async def test_iterated_once():
    """A run is used up by one iteration."""
    platform, journal = world()
    made = make_run(people(3), platform, journal)
    await made.run()
    with pytest.raises(ConfigError, match="once"):
        await made.run()


@story
async def test_progress():
    """The progress counts what was read and how it ended, and its clock stops with the run."""
    platform, journal = world()
    made = make_run(people(50), platform, journal, build=lambda one: None if one.openid.endswith("7") else one)
    assert made.progress.done == 0
    progress = await made.run()
    await asyncio.sleep(10)
    assert progress.outcomes == {Outcome.ACCEPTED: 45, Outcome.SKIPPED: 5}
    assert made.progress.seconds == progress.seconds < 5
    assert (progress.seen, progress.in_flight) == (50, 0)
    assert "run" in repr(made)


# ---- sources


@story
async def test_asynchronous_source():
    """A source may be an asynchronous iterator of records."""
    platform, journal = world()

    async def source() -> AsyncIterator[Recipient]:
        for openid in people(30):
            await asyncio.sleep(0.01)
            yield Recipient(openid, {"name": openid[-1]})

    seen: list[str] = []
    progress = await make_run(
        source(), platform, journal, build=lambda one: seen.append(one.fields["name"]) or one
    ).run()
    assert progress.done == len(seen) == 30


@story
async def test_a_slow_source_is_not_waited_for():
    """What a slow source has given is sent at once, long before a chunk is full."""
    platform, journal = world()

    async def source() -> AsyncIterator[str]:
        yield "o1"
        await asyncio.sleep(1000)
        yield "o2"

    made = make_run(source(), platform, journal)
    times = {result.openid: now() async for result in made}
    assert times["o2"] - times["o1"] > 990
    assert platform.delivered["o1"][0] < 1001


@story
async def test_source_that_breaks():
    """A source that raises ends the run with its error; what was claimed is finished, the rest can be continued."""
    platform, journal = world()

    def source() -> Iterator[str]:
        yield from people(700)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk"):
        await make_run(source(), platform, journal).run()
    assert None not in journal.outcomes().values()
    assert len(platform.delivered) < 700
    await make_run(people(700), platform, journal).run()
    assert len(platform.arrived) == len(platform.delivered) == 700


@pytest.mark.parametrize(
    "source", ["o1", b"o1", [""], ["  "], [None], [1], [Recipient("")], [Recipient(cast("str", 3))], 5]
)
def test_sources_that_cannot_be(source: Any):
    """One text, empty openids and other things are refused, with the name of the argument."""

    @story
    async def play():
        platform, journal = world()
        with pytest.raises((ConfigError, TypeError)) as caught:
            await make_run(source, platform, journal).run()
        if isinstance(caught.value, ConfigError):
            assert caught.value.field == "recipients"
        assert platform.arrived == []

    play()


@story
async def test_source_is_read_no_further_than_needed():
    """Whoever sends slowly reads slowly: a million recipients are never in memory."""
    platform, journal = world(delay=1.0)
    ahead: list[int] = []

    def source() -> Iterator[str]:
        for number, openid in enumerate(people(10_000)):
            ahead.append(number - len(platform.delivered))
            yield openid

    made = make_run(source(), platform, journal)
    async with aclosing(made.__aiter__()) as results:
        async for _ in results:
            if len(platform.delivered) > 2000:
                break
    assert max(ahead) <= 4 * CHUNK


# ---- the function that makes the messages


@story
async def test_build_asynchronous_and_slow():
    """The function may wait; several wait at a time, and the lease lives on."""
    platform, journal = world()

    async def build(recipient: Recipient) -> Recipient:
        await asyncio.sleep(3 * LEASE)
        return recipient

    started = now()
    await make_run(people(40), platform, journal, build=build, pace=Pace(concurrency=20)).run()
    assert now() - started < 7 * LEASE
    assert len(platform.arrived) == 40


@story
async def test_build_raises():
    """An error of the function ends the run and comes out of it; its recipient was not sent to and can be continued."""
    platform, journal = world()

    def build(recipient: Recipient) -> Recipient:
        if recipient.openid == "o00123":
            raise LookupError("no such order")
        return recipient

    with pytest.raises(LookupError, match="order"):
        await make_run(people(400), platform, journal, build=build).run()
    assert "o00123" not in journal.rows
    assert None not in journal.outcomes().values()
    await make_run(people(400), platform, journal).run()
    assert len(platform.arrived) == len(platform.delivered) == 400


@story
async def test_build_cancels():
    """The function may cancel the run it works for."""
    platform, journal = world()

    async def build(recipient: Recipient) -> Recipient:
        if recipient.openid == "o00050":
            await made.cancel()
        return recipient

    made = make_run(people(4000), platform, journal, build=build)
    progress = await made.run()
    assert 20 < progress.done < 200
    assert None not in journal.outcomes().values()


# ---- ends


@story
async def test_cancel_from_elsewhere():
    """After ``cancel`` nothing is in flight, nothing new is sent, and the iteration gives what is left and ends."""
    platform, journal = world()
    made = make_run(people(5000), platform, journal)
    results: list[Result] = []

    async def consume() -> None:
        async for result in made:
            results.append(result)

    task = asyncio.create_task(consume())
    await asyncio.sleep(1.0)
    await made.cancel()
    sent = len(platform.arrived)
    assert None not in journal.outcomes().values()
    await task
    assert len(results) == sent == len(platform.arrived) == len(journal.rows) < 2000
    await made.cancel()


@story
async def test_cancel_in_the_loop():
    """``cancel`` inside the loop does not hang, however many results wait."""
    platform, journal = world()
    made = make_run(people(5000), platform, journal)
    count = 0
    async for _ in made:
        count += 1
        if count == 100:
            await made.cancel()
    assert count == len(platform.arrived) == len(journal.rows)


@story
async def test_cancel_before_the_start():
    """A run that was cancelled before it began sends nothing."""
    platform, journal = world()
    made = make_run(people(50), platform, journal)
    await made.cancel()
    assert (await made.run()).done == 0
    assert journal.asked == []


@story
async def test_leaving_the_block():
    """``async with`` around the loop waits for the end, whatever leaves it."""
    platform, journal = world()

    async def leave() -> None:
        async with make_run(people(5000), platform, journal) as made:
            async for _ in made:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await leave()
    assert None not in journal.outcomes().values()
    assert platform.flying == 0
    assert len(platform.arrived) < 500


@story
async def test_leaving_the_loop():
    """A loop that is left without a block ends in the background."""
    platform, journal = world()
    async for _ in make_run(people(5000), platform, journal):
        break
    await asyncio.sleep(1.0)
    assert None not in journal.outcomes().values()
    assert len(platform.arrived) < 500


@story
async def test_surrounding_task_is_cancelled():
    """A cancelled task ends when what is in flight is written down, and stays cancelled."""
    platform, journal = world(delay=0.5)
    task = asyncio.create_task(make_run(people(5000), platform, journal).run())
    await asyncio.sleep(3.2)
    task.cancel()
    started = now()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() - started < 1.0
    assert None not in journal.outcomes().values()


@story
async def test_cancelled_twice():
    """Who cancels twice is not made to wait; what was in flight is taken over by the next run at once."""
    platform, journal = world(delay=8.0)
    task = asyncio.create_task(make_run(people(300), platform, journal).run())
    await asyncio.sleep(3.2)
    task.cancel()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert platform.flying == 0
    doubtful = [openid for openid, outcome in journal.outcomes().items() if outcome is None]
    assert len(doubtful) == 20  # what was only claimed is given back
    started = now()
    await make_run(people(300), platform, journal).run()
    assert now() - started < 8.0 * 16 + 1
    assert all(len(times) == 1 for times in platform.delivered.values())
    assert len(platform.delivered) == 300


@story
async def test_an_end_is_not_held_up_by_a_black_hole():
    """Messages without an answer delay the end by a few seconds, and are left to the next run, under the same key."""
    platform, journal = world(delay=0.02)

    class Hole(ModelSender):
        async def send(self, openid: str, message: Any, client_msg_id: str) -> int | None:
            await super().send(openid, message, client_msg_id)
            await asyncio.sleep(30)
            return 1

    made = make_run(people(300), platform, journal, sender=Hole(platform))
    task = asyncio.create_task(made.run())
    await asyncio.sleep(1)
    started = now()
    await made.cancel()
    await task
    assert GRACE - 1 < now() - started <= GRACE + 1
    assert list(journal.outcomes().values()) == [None] * 20
    await make_run(people(300), platform, journal).run()
    assert sorted(platform.delivered) == people(300)
    assert all(len(times) == 1 for times in platform.delivered.values())


@story
async def test_slow_consumer():
    """Somebody who iterates slowly holds the run back; meanwhile everything is written down and the lease lives."""
    platform, journal = world()
    made = make_run(people(6000), platform, journal)
    async for _ in made:
        if len(platform.arrived) < 100:
            continue
        await asyncio.sleep(30)
        assert len(made._out) <= RESULTS + 2 * (20 + 20)
        assert max(journal.leases.values()) > now()
        assert None not in journal.outcomes().values()
        break
    await made.cancel()
    made = make_run(people(6000), platform, journal)
    count = 0
    async for _ in made:
        count += 1
        await asyncio.sleep(0.01)
    assert len(platform.arrived) == 6000


# ---- who was killed


def killed_run(journal: MemoryJournal, platform: Platform, *, ago: float, sent: list[str], unsent: list[str]) -> None:
    """Leave what a killed process leaves: claims of an owner whose lease has ended or will."""
    for openid in [*sent, *unsent]:
        journal.plant(openid, owner="dead", claimed_at=now() - ago)
    journal.leases["dead"] = now() - ago + LEASE
    for openid in sent:
        key = KEY.client_msg_id(openid)
        platform.keys[openid, key] = now() - ago, 77
        platform.delivered[openid] = [now() - ago]


@pytest.mark.parametrize("ago", [0.0, 5.0, 100.0, WINDOW - 1])
def test_in_doubt_inside_the_window(ago: float):
    """Whose answer was lost is asked again under the same key; nobody is lost, nobody gets it twice."""

    @story
    async def play():
        platform, journal = world()
        names = people(2000)
        killed_run(journal, platform, ago=ago, sent=names[:10], unsent=names[10:36])
        started = now()
        results = await collect(make_run(names, platform, journal))
        assert set(outcomes(results).values()) == {Outcome.ACCEPTED}
        assert all(len(times) == 1 for times in platform.delivered.values())
        assert len(platform.delivered) == 2000
        assert now() - started < LEASE + 6

    play()


def test_in_doubt_is_looked_after_at_once():
    """The first thing a continued run does is to ask for what is in doubt: its time is short."""

    @story
    async def play():
        platform, journal = world(delay=10.0)
        names = people(3000)
        killed_run(journal, platform, ago=WINDOW - 30, sent=names[:10], unsent=names[10:20])
        made = make_run(names, platform, journal)
        async for result in made:
            assert result.outcome is Outcome.ACCEPTED
            if all(journal.outcomes()[name] for name in names[:20]):
                break
        await made.cancel()
        assert all(len(platform.delivered[name]) == 1 for name in names[:20])

    play()


@pytest.mark.parametrize("ago", [WINDOW, 599.0, 601.0, 5000.0])
def test_in_doubt_after_the_window(ago: float):
    """Later it is unknown and never sent again; its event settles it."""

    @story
    async def play():
        platform, journal = world()
        names = people(100)
        killed_run(journal, platform, ago=ago, sent=names[:10], unsent=names[10:36])
        found = outcomes(await collect(make_run(names, platform, journal)))
        assert [name for name in names if found[name] is Outcome.UNKNOWN] == names[:36]
        assert not {openid for _, openid, _ in platform.arrived} & set(names[:36])
        await journal.settle(APPID, openid=names[0], msg_id=77, outcome=Outcome.DELIVERED, at=now())
        assert journal.outcomes()[names[0]] is Outcome.DELIVERED
        assert (await make_run(names, platform, journal).run()).done == 0

    play()


@story
async def test_in_doubt_and_not_named_any_more():
    """Whoever was in flight and is no recipient of the continued run is reported as unknown, not lost."""
    platform, journal = world()
    killed_run(journal, platform, ago=100, sent=["gone"], unsent=[])
    found = outcomes(await collect(make_run(people(5), platform, journal)))
    assert found["gone"] is Outcome.UNKNOWN
    journal.plant("gone", owner="dead", claimed_at=now() - 100)
    found = outcomes(await collect(make_run(people(5), platform, journal, partial=True)))
    assert found == {}


@story
async def test_in_doubt_without_a_key():
    """A message that the platform does not recognise is never repeated once it may have gone out."""
    platform, journal = world()
    names = people(60)
    killed_run(journal, platform, ago=20, sent=names[:5], unsent=names[5:10])
    platform.faults = {names[20]: "lost", names[21]: -1, names[22]: "refused"}
    task = asyncio.create_task(collect(make_run(names, platform, journal, deduplicates=False)))
    await asyncio.sleep(2)
    platform.faults = {}
    found = outcomes(await task)
    assert {name for name in names if found[name] is Outcome.UNKNOWN} == {*names[:10], names[20], names[21]}
    assert all(len(times) == 1 for times in platform.delivered.values())


@story
async def test_in_doubt_and_refused_now():
    """A refusal of the repetition says nothing about the first attempt."""
    platform, journal = world()
    killed_run(journal, platform, ago=20, sent=["o00000", "o00001"], unsent=[])
    platform.faults = {"o00000": 43004}
    made = make_run(people(3), platform, journal, build=lambda one: None if one.openid == "o00001" else one)
    results = {result.openid: result for result in await collect(made)}
    assert results["o00000"].outcome is Outcome.UNKNOWN
    assert results["o00000"].errcode == 43004
    assert results["o00001"].outcome is Outcome.UNKNOWN


# ---- who was frozen


@pytest.mark.parametrize("seconds", [1.0, LEASE - 1, LEASE + 1, 100.0, 605.0, 4000.0])
@pytest.mark.parametrize("delay", [0.02, 5.0])
def test_frozen_alone(seconds: float, delay: float):
    """A process that was stopped and goes on sends nobody a second message, and leaves nobody out."""

    @story
    async def play():
        platform, journal = world(delay=delay)
        made = make_run(people(400), platform, journal)
        task = asyncio.create_task(collect(made))
        await asyncio.sleep(1.001)
        freeze(seconds)
        found = outcomes(await task)
        assert sorted(found) == people(400)
        assert all(len(times) == 1 for times in platform.delivered.values())
        for openid, outcome in found.items():
            assert outcome is (Outcome.ACCEPTED if openid in platform.delivered else Outcome.UNKNOWN)

    play()


# ---- refusals


@story
async def test_refused_recipients():
    """Who does not follow or blocks the account is refused and the run goes on."""
    platform, journal = world()
    platform.faults = {"o00000": 43004, "o00003": 43019, "o00005": 47003, "o00007": 40003, "o00008": 43101}
    platform.faults["o00009"] = 46004  # no such user: one recipient's matter
    results = {result.openid: result for result in await collect(make_run(people(100), platform, journal))}
    refused = {openid: result.errcode for openid, result in results.items() if result.outcome is Outcome.REFUSED}
    assert refused == platform.faults
    assert results["o00003"].errmsg == "no"
    assert len(results) == 100


@pytest.mark.parametrize(("errcode", "kind"), [(40037, NotFoundError), (48001, Exception), (40164, Exception)])
def test_wrong_run(errcode: int, kind: type[Exception]):
    """No such template, no such right: the run ends with the first answer, and everybody can still be sent to."""

    @story
    async def play():
        platform, journal = world()
        platform.fault = errcode
        with pytest.raises(kind):
            await make_run(people(5000), platform, journal).run()
        assert len(platform.arrived) <= 20
        assert journal.rows == {}
        platform.fault = ""
        await make_run(people(50), platform, journal).run()
        assert len(platform.delivered) == 50

    play()


@pytest.mark.parametrize("number", [3 * HOPELESS, 5000])
def test_hopeless(number: int):
    """When all of the first are refused for what they say, the run is wrong: it ends, and nobody counts as refused."""

    @story
    async def play():
        platform, journal = world()
        platform.fault = 47003
        with pytest.raises(ArgumentError) as caught:
            await make_run(people(number), platform, journal).run()
        assert "refused" in caught.value.__notes__[0]
        assert HOPELESS <= len(platform.arrived) <= HOPELESS + 20
        assert journal.rows == {}

    play()


@story
async def test_a_few_refused():
    """A short run whose recipients are all refused says so, recipient by recipient."""
    platform, journal = world()
    platform.fault = 47003
    results = await collect(make_run(people(HOPELESS - 1), platform, journal))
    assert {result.outcome for result in results} == {Outcome.REFUSED}
    assert set(journal.outcomes().values()) == {Outcome.REFUSED}


@story
async def test_many_who_do_not_follow():
    """Any number of people who left are no reason to stop."""
    platform, journal = world()
    platform.fault = 43004
    progress = await make_run(people(500), platform, journal).run()
    assert progress.outcomes == {Outcome.REFUSED: 500}


@story
async def test_not_hopeless_when_continued():
    """A continued run whose rest is refused comes to its end: others were taken before."""
    platform, journal = world()
    await make_run(people(10), platform, journal).run()
    platform.fault = 47003
    progress = await make_run(people(200), platform, journal).run()
    assert progress.outcomes == {Outcome.REFUSED: 190}


@story
async def test_limit_of_the_day():
    """45009 ends the run with the error; the rest is sent when it is started again."""
    platform, journal = world()

    class Limited(ModelSender):
        async def send(self, openid: str, message: Any, client_msg_id: str) -> int | None:
            if len(platform.delivered) >= 120:
                raise api_error(45009, "reach max api daily quota limit", endpoint=ENDPOINT)
            return await super().send(openid, message, client_msg_id)

    with pytest.raises(RateLimitError):
        await make_run(people(300), platform, journal, sender=Limited(platform)).run()
    assert set(journal.outcomes().values()) == {Outcome.ACCEPTED}
    await make_run(people(300), platform, journal).run()
    assert len(platform.arrived) == len(platform.delivered) == 300


@story
async def test_limit_of_the_minute():
    """45011 makes all workers silent until the next full minute, and then it goes on by itself."""
    platform, journal = world()
    limit, refusals = 200, 0

    class Limited(ModelSender):
        async def send(self, openid: str, message: Any, client_msg_id: str) -> int | None:
            nonlocal refusals
            minute = now() // 60
            if sum(at // 60 == minute for at, _, _ in platform.arrived) >= limit:
                refusals += 1
                raise api_error(45011, "api minute-quota reach limit", endpoint=ENDPOINT)
            return await super().send(openid, message, client_msg_id)

    results = await collect(make_run(people(900), platform, journal, sender=Limited(platform)))
    assert len(outcomes(results)) == 900
    assert refusals <= 20 * 5
    assert now() // 60 - 1000 // 60 == 4


# ---- trouble on the way


@story
async def test_answers_are_lost():
    """A message whose answer is lost is asked for again under the same key and delivered once."""
    platform, journal = world()
    platform.faults = dict.fromkeys(people(50), "lost")
    task = asyncio.create_task(collect(make_run(people(400), platform, journal)))
    await asyncio.sleep(1.5)
    platform.faults = {}
    found = outcomes(await task)
    assert set(found.values()) == {Outcome.ACCEPTED}
    assert all(len(times) == 1 for times in platform.delivered.values())
    assert len(platform.delivered) == 400


@story
async def test_busy_for_one():
    """-1 may have acted: it is repeated under the same key, in the end reported as unknown, and never sent later."""
    platform, journal = world()
    platform.faults = {"o00004": -1}

    async def source() -> AsyncIterator[str]:
        for openid in people(60):
            yield openid
            await asyncio.sleep(0 if openid <= "o00004" else 12)

    results = {result.openid: result for result in await collect(make_run(source(), platform, journal))}
    assert len(results) == 60
    assert results["o00004"].outcome is Outcome.UNKNOWN
    assert platform.delivered["o00004"] == [pytest.approx(1000, abs=1)]
    times = [at for at, openid, _ in platform.arrived if openid == "o00004"]
    assert times[-1] - times[0] < WINDOW
    assert len(times) > 20


@pytest.mark.parametrize(("fault", "kind"), [("hole", TransportError), ("refused", TransportError), (-1, BusyError)])
def test_nothing_gets_through(fault: str | int, kind: type[Exception]):
    """When nothing gets through for a minute the run ends with the error, and can be continued."""

    @story
    async def play():
        platform, journal = world()
        names = people(3000)
        task = asyncio.create_task(make_run(names, platform, journal).run())
        await asyncio.sleep(0.5)
        platform.fault = fault
        started = now()
        with pytest.raises(kind):
            await task
        assert PATIENCE - 5 < now() - started < PATIENCE + 40
        platform.fault = ""
        await make_run(names, platform, journal).run()
        assert all(len(times) == 1 for times in platform.delivered.values())
        assert len(platform.delivered) == 3000

    play()


@story
async def test_a_single_failure_after_a_long_silence():
    """A source may be silent for an hour: the first failure after it does not end the run."""
    platform, journal = world()

    async def source() -> AsyncIterator[str]:
        yield "o1"
        await asyncio.sleep(3600)
        platform.faults = {"o2": "refused"}
        yield "o2"
        await asyncio.sleep(5)
        platform.faults = {}

    progress = await make_run(source(), platform, journal).run()
    assert progress.outcomes == {Outcome.ACCEPTED: 2}


@story
async def test_token_store_down():
    """A token store that fails for a while delays the run; nothing is in doubt because of it."""
    platform, journal = world()
    sender = ModelSender(platform, deduplicates=False)
    sender.before_send = lambda: TokenStoreUnavailable("redis is down", store="redis") if now() < 1020 else None
    progress = await make_run(people(100), platform, journal, sender=sender).run()
    assert progress.outcomes == {Outcome.ACCEPTED: 100}


@story
async def test_token_request_fails():
    """What fails before the message was sent leaves no doubt about it."""
    platform, journal = world()
    sender = ModelSender(platform, deduplicates=False)
    sender.before_send = lambda: (
        TransportError("timed out", endpoint="POST /cgi-bin/stable_token") if now() < 1020 else None
    )
    progress = await make_run(people(100), platform, journal, sender=sender).run()
    assert progress.outcomes == {Outcome.ACCEPTED: 100}


@story
async def test_account_in_trouble():
    """A refused token request ends the run: it is nobody's fault but the account's."""
    platform, journal = world()
    sender = ModelSender(platform)
    sender.before_send = lambda: api_error(40035, "?", endpoint="POST /cgi-bin/stable_token")
    with pytest.raises(ArgumentError):
        await make_run(people(100), platform, journal, sender=sender).run()
    assert journal.rows == {}


@story
async def test_sender_that_breaks():
    """An error that nobody foresaw, in the middle of a send, leaves its recipient in doubt and not forgotten."""
    platform, journal = world()
    sender = ModelSender(platform)
    countdown = iter(range(70, -300, -1))
    sender.before_send = lambda: RuntimeError("a bug") if next(countdown) == 0 else None
    with pytest.raises(RuntimeError, match="a bug"):
        await make_run(people(300), platform, journal, sender=sender).run()
    assert None in journal.outcomes().values()
    await make_run(people(300), platform, journal).run()
    assert all(len(times) == 1 for times in platform.delivered.values())
    assert len(platform.delivered) == 300


# ---- the journal in trouble


@pytest.mark.parametrize("fault", ["down", "deaf"])
def test_journal_fails_for_seconds(fault: str):
    """A journal that is away for a few seconds delays the run; whether it had acted does not matter."""

    @story
    async def play():
        platform, journal = world()
        task = asyncio.create_task(collect(make_run(people(1500), platform, journal)))
        await asyncio.sleep(0.5)
        journal.fault = fault
        await asyncio.sleep(5)
        journal.fault = ""
        found = outcomes(await task)
        assert set(found.values()) == {Outcome.ACCEPTED}
        assert sorted(found) == people(1500)
        assert all(len(times) == 1 for times in platform.delivered.values())

    play()


@pytest.mark.parametrize("fault", ["down", "deaf"])
def test_journal_fails_for_good(fault: str):
    """A journal that stays away ends the run with its error; what is in doubt is settled by the next one."""

    @story
    async def play():
        platform, journal = world()
        task = asyncio.create_task(make_run(people(1500), platform, journal).run())
        await asyncio.sleep(0.5)
        journal.fault = fault
        started = now()
        with pytest.raises(JournalError):
            await task
        assert now() - started < 30
        assert journal.most_in_doubt <= 2 * 20
        journal.fault = ""
        await make_run(people(1500), platform, journal).run()
        assert set(journal.outcomes().values()) == {Outcome.ACCEPTED}
        assert all(len(times) == 1 for times in platform.delivered.values())
        assert len(platform.delivered) == 1500

    play()


@story
async def test_journal_away_at_the_start():
    """A journal that cannot be opened is an error before anything is sent, and is closed if it was ours."""
    platform, journal = world()
    journal.fault = "down"
    with pytest.raises(JournalError):
        await make_run(people(5), platform, journal, close_journal=True).run()
    assert (journal.closed, platform.arrived) == (1, [])


@story
async def test_another_template():
    """A run cannot be continued with another message."""
    platform, journal = world()
    await make_run(people(5), platform, journal).run()
    with pytest.raises(ConfigError) as caught:
        await make_run(people(5), platform, journal, sender=ModelSender(platform, fingerprint="other")).run()
    assert caught.value.field == "name"


# ---- several processes


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("partial", [False, True])
def test_several_share_the_work(number: int, partial: bool):
    """Processes on one journal share the recipients: each gets one message, and all processes send."""

    @story
    async def play():
        platform, journal = world()
        names = people(3000)
        runs = [make_run(names, platform, journal, partial=partial) for _ in range(number)]
        started = now()
        progress = await asyncio.gather(*(one.run() for one in runs))
        assert sum(one.done for one in progress) == len(platform.arrived) == len(platform.delivered) == 3000
        assert min(one.done for one in progress) > 3000 / number / 2
        assert now() - started < 1.25 * 3000 / (number * 20) * 0.02 + 1.0

    play()


@story
async def test_another_takes_over():
    """When one of two is killed, the other sends what it left, after its lease; nobody gets two messages."""
    platform, journal = world(delay=0.2)
    names = people(6000)
    other = asyncio.create_task(make_run(names, platform, journal).run())
    first = make_run(names, platform, journal)
    task = asyncio.create_task(first.run())
    await asyncio.sleep(5)
    for one in [task, first._task, *first._tasks]:  # kill -9: nothing is written any more
        assert one is not None
        one.cancel()
    first._journal = MemoryJournal(now)
    killed_at = now()
    await asyncio.wait({task})
    assert None in journal.outcomes().values()
    await other
    assert None not in journal.outcomes().values()
    assert now() - killed_at > LEASE - 5
    assert sorted(platform.delivered) == names
    assert all(len(times) == 1 for times in platform.delivered.values())


@pytest.mark.parametrize("partial", [False, True])
def test_a_list_that_shrinks_and_turns_round(partial: bool):
    """Who was in flight and is not named any more is reported as unknown; the order of the rest is all the same."""

    @story
    async def play():
        platform, journal = world(delay=0.2)
        names = people(400)
        task = asyncio.create_task(make_run(names, platform, journal).run())
        await asyncio.sleep(0.75)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()  # twice: what is on its way is left in flight
        await asyncio.wait({task})
        await asyncio.sleep(1)
        in_flight = [openid for openid, outcome in journal.outcomes().items() if outcome is None]
        assert len(in_flight) == 20
        gone = in_flight[::2]
        names_left = [openid for openid in names[::-1] if openid not in gone]
        results = await collect(make_run(names_left, platform, journal, partial=partial))
        found = outcomes(results)
        if partial:  # they are another process's affair
            assert [openid for openid, outcome in journal.outcomes().items() if outcome is None] == gone
        else:
            assert {found[openid] for openid in gone} == {Outcome.UNKNOWN}
            assert None not in journal.outcomes().values()
        assert set(platform.delivered) == {*names}
        assert all(len(times) == 1 for times in platform.delivered.values())
        assert {outcome for openid, outcome in found.items() if openid not in gone} == {Outcome.ACCEPTED}

    play()


# ---- pace


@pytest.mark.parametrize("per_second", [0.5, 7, 100, 2000])
def test_per_second(per_second: float):
    """No second has more messages than it may, and none is wasted."""

    @story
    async def play():
        platform, journal = world(delay=0.001, journal_delay=0.0001)
        number = max(4, int(per_second * 5))
        started = now()
        await make_run(people(number), platform, journal, pace=Pace(per_second=per_second)).run()
        times = [at for at, _, _ in platform.arrived]
        most = max(sum(start <= at < start + 1.0 for at in times) for start in times[:: max(1, number // 50)])
        assert most <= max(per_second, 1) * 1.1 + 1
        if per_second >= 7:
            assert now() - started < 7

    play()


@story
async def test_a_slow_pace_claims_little():
    """With a pace of one in ten seconds a crash leaves one in doubt, not forty that wait for their turn."""
    platform, journal = world()
    task = asyncio.create_task(make_run(people(10), platform, journal, pace=Pace(per_second=0.1)).run())
    await asyncio.sleep(30)
    assert journal.most_in_doubt == 1
    task.cancel()
    await asyncio.wait({task})


@story
async def test_per_day():
    """The own limit of the day ends the run, which can be continued, and is never overstepped."""
    platform, journal = world()
    with pytest.raises(RateLimitError, match="per_day") as caught:
        await make_run(people(300), platform, journal, pace=Pace(per_day=123)).run()
    assert caught.value.scope == "day"
    assert len(platform.arrived) <= 123
    assert len(platform.delivered) >= 123 - 20
    assert None not in journal.outcomes().values()


# ---- dry run


@story
async def test_dry_run():
    """A dry run builds and counts, knows who had it already, and neither sends nor writes."""
    platform, journal = world()
    await make_run(people(40), platform, journal).run()
    before = dict(journal.outcomes())
    build = lambda one: None if one.openid == "o00050" else one  # noqa: E731
    made = make_run([*people(100), *people(2000)], platform, journal, build=build, dry_run=True)
    results = await collect(made)
    assert made.progress.outcomes == {Outcome.PLANNED: 1959, Outcome.SKIPPED: 1}
    assert made.progress.earlier == 40
    assert len(results) == 1960
    assert (len(platform.arrived), journal.outcomes()) == (40, before)


@story
async def test_dry_run_ends_early():
    """A dry run can be left, and an error of the function or the source comes out of it."""
    platform, journal = world()
    async with make_run(people(5000), platform, journal, dry_run=True, has_past=False) as made:
        async for _ in made:
            break
    assert journal.asked == []

    def broken(_: Recipient) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await make_run(people(5), platform, journal, build=broken, dry_run=True).run()
    with pytest.raises(ConfigError):
        await make_run([""], platform, journal, dry_run=True).run()
