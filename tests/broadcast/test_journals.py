"""One contract, two journals."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import pytest

from tests.broadcast.journals import LEASE, RUN, RedisRoom, SQLiteRoom
from wxmp.broadcast.journal import EVENT_LIFE, Claim, batch
from wxmp.broadcast.records import Outcome, Result, RunKey
from wxmp.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from wxmp.broadcast.journal import Journal

OTHER = RunKey("wx1", "winter")
MSG = 4_611_686_018_427_387_999  # no double holds it


async def claim(journal: Journal, *openids: str, owner: str = "a", run: RunKey = RUN) -> list[str]:
    """Claim, and return whom it got."""
    claims = await journal.exchange(run, owner=owner, lease=LEASE, claims=openids)
    assert [one.openid for one in claims] == list(openids)
    return [one.openid for one in claims if one.mine]


async def record(journal: Journal, *results: Result, owner: str = "a", run: RunKey = RUN) -> None:
    assert await journal.exchange(run, owner=owner, lease=LEASE, results=results) == ()


async def take_over(journal: Journal, owner: str = "b", openids: list[str] | None = None, limit: int = 100):
    doubts = await journal.take_over(RUN, owner=owner, lease=LEASE, openids=openids, limit=limit)
    return {doubt.openid: doubt.age for doubt in doubts}


async def results_of(journal: Journal, run: RunKey = RUN, **more) -> dict[str, Result]:
    found = [result async for result in journal.results(run, **more)]
    assert len({result.openid for result in found}) == len(found)
    return {result.openid: result for result in found}


async def outcome_of(journal: Journal, openid: str = "o1", run: RunKey = RUN) -> Outcome:
    return (await results_of(journal, run))[openid].outcome


def accepted(openid: str = "o1", msg_id: int | None = MSG) -> Result:
    return Result(openid, Outcome.ACCEPTED, msg_id)


def unknown(openid: str = "o1") -> Result:
    return Result(openid, Outcome.UNKNOWN, errmsg="its answer was lost")


def refused(openid: str = "o1") -> Result:
    return Result(openid, Outcome.REFUSED, errcode=43004, errmsg="require subscribe")


# ---- runs


async def test_a_run_is_continued_under_its_name(room, journal):
    """Beginning a second time changes nothing, in the same process or another."""
    await claim(journal, "o1")
    await journal.begin(RUN, fingerprint="template t1")
    again = room.journal()
    await again.begin(RUN, fingerprint="template t1")
    assert await again.known(RUN, ["o1", "o2"]) == {"o1": False}


async def test_a_run_of_something_else_is_refused(room, journal):
    """A name belongs to what was sent under it, and a refusal leaves the run as it is."""
    await claim(journal, "o0")
    with pytest.raises(ConfigError) as caught:
        await room.journal().begin(RUN, fingerprint="template t2")
    assert caught.value.field == "name"
    assert await claim(journal, "o1") == ["o1"]


@pytest.mark.parametrize("outcome", [None, Outcome.SKIPPED, Outcome.REFUSED])
async def test_who_is_in_a_run_binds_it(room, journal, outcome):
    """One recipient, in flight or settled in any way, is enough for a run to send one thing only."""
    await claim(journal, "o1")
    if outcome is not None:
        await record(journal, Result("o1", outcome))
    with pytest.raises(ConfigError):
        await room.journal().begin(RUN, fingerprint="template t2")


async def test_an_empty_run_may_send_something_else(room, journal):
    """A run that has sent to nobody can be begun anew with another template; whoever began it before is stopped."""
    await claim(journal, "o1")
    await journal.exchange(RUN, owner="a", lease=LEASE, releases=["o1"])
    again = room.journal()
    await again.begin(RUN, fingerprint="template t2")
    with pytest.raises(JournalError):
        await claim(journal, "o1")
    assert await claim(again, "o1") == ["o1"]
    with pytest.raises(ConfigError):
        await journal.begin(RUN, fingerprint="template t1")


async def test_runs_and_accounts_are_apart(room, journal):
    """The same openid in another run, or the same name of another account, is another recipient."""
    elsewhere = RunKey("wx2", RUN.name)
    for run in (OTHER, elsewhere):
        await journal.begin(run, fingerprint="template t1")
        assert await claim(journal, "o1", run=run) == ["o1"]
    assert await claim(journal, "o1") == ["o1"]


@pytest.mark.parametrize("name", ["秋天 2026", "a:b{c}", "x" * 64, "' OR 1=1 --", "*"])
async def test_any_name_of_a_run_works(room, journal, name):
    """A name is data."""
    run = RunKey("wx1", name)
    await journal.begin(run, fingerprint="f")
    await claim(journal, "o1", run=run)
    await record(journal, accepted(), run=run)
    assert list(await results_of(journal, run)) == ["o1"]
    assert await journal.counts(RUN) == {}


async def test_a_run_that_was_never_begun_is_empty_to_readers(room, journal):
    """Who asks for a run that is not there gets nothing, and no error."""
    assert await journal.known(OTHER, ["o1"]) == {}
    assert await journal.counts(OTHER) == {}
    assert await results_of(journal, OTHER) == {}
    assert await journal.others(OTHER, owner="a") is None


async def test_nothing_is_claimed_without_a_run(room, journal):
    """Claims of a run that was never begun would be lost; they are refused."""
    with pytest.raises(JournalError):
        await claim(journal, "o1", run=OTHER)
    with pytest.raises(JournalError):
        await journal.take_over(OTHER, owner="a", lease=LEASE, openids=None, limit=1)


# ---- claims


async def test_a_recipient_is_claimed_once(room, journal):
    """Of four owners at the same time exactly one gets each recipient."""
    openids = [f"o{number}" for number in range(200)]
    journals = [journal, *(room.journal() for _ in range(3))]
    for other in journals[1:]:
        await other.begin(RUN, fingerprint="template t1")

    for start in range(0, len(openids), 8):
        part = openids[start : start + 8]
        turned = [part[number:] + part[:number] for number in range(4)]
        got = await asyncio.gather(
            *(claim(one, *turned[number], owner=f"owner{number}") for number, one in enumerate(journals))
        )
        assert sorted(openid for mine in got for openid in mine) == sorted(part)


async def test_a_second_claim_is_nobodys(room, journal):
    """What is in flight or settled is not claimed again, by its own owner neither."""
    assert await claim(journal, "o1", "o2") == ["o1", "o2"]
    assert await claim(journal, "o1", "o3") == ["o3"]
    await record(journal, accepted("o1"))
    assert await claim(journal, "o1", owner="b") == []


async def test_an_openid_that_is_named_twice_is_claimed_once(room, journal):
    """Two entries, one claim."""
    claims = await journal.exchange(RUN, owner="a", lease=LEASE, claims=["o1", "o1"])
    assert claims == (Claim("o1", mine=True), Claim("o1", mine=False))


async def test_released_ones_are_unknown_again(room, journal):
    """Whoever was not sent to can be claimed by anybody."""
    await claim(journal, "o1", "o2")
    await journal.exchange(RUN, owner="a", lease=LEASE, releases=["o1"])
    assert await journal.known(RUN, ["o1", "o2"]) == {"o2": False}
    assert await claim(journal, "o1", owner="b") == ["o1"]


async def test_a_release_is_for_ones_own(room, journal):
    """Nobody releases what is in flight elsewhere, what is settled, or what nobody knows."""
    await claim(journal, "o1", "o2")
    await record(journal, accepted("o2"))
    await journal.exchange(RUN, owner="b", lease=LEASE, releases=["o1", "o3"])
    await journal.exchange(RUN, owner="a", lease=LEASE, releases=["o2"])
    assert await journal.known(RUN, ["o1", "o2", "o3"]) == {"o1": False, "o2": True}


async def test_results_come_before_releases_before_claims(room, journal):
    """One step does all three, in this order."""
    await claim(journal, "o1", "o2")
    claims = await journal.exchange(
        RUN, owner="a", lease=LEASE, claims=["o1", "o2", "o3"], results=[accepted("o1")], releases=["o1", "o2"]
    )
    assert claims == (Claim("o1", mine=False), Claim("o2", mine=True), Claim("o3", mine=True))
    assert await journal.known(RUN, ["o1", "o2", "o3"]) == {"o1": True, "o2": False, "o3": False}


async def test_nothing_to_say_is_a_sign_of_life(room, journal):
    """An empty exchange renews the lease."""
    await claim(journal, "o1")
    for _ in range(4):
        room.advance(LEASE - 5)
        assert await journal.exchange(RUN, owner="a", lease=LEASE) == ()
    assert await take_over(journal) == {}


@pytest.mark.parametrize("openid", ["oABC-def_123", "o 1", "ö中文", "a:b", "'\"\\", "{x}", "o" * 200, "a\0b"])
async def test_any_text_can_be_an_openid(room, journal, openid):
    """An openid is data."""
    assert await claim(journal, openid) == [openid]
    await record(journal, accepted(openid))
    assert await journal.settle("wx1", openid=openid, msg_id=MSG, outcome=Outcome.DELIVERED, at=room.now())
    assert (await results_of(journal))[openid].outcome is Outcome.DELIVERED


async def test_half_a_character_is_no_openid(room, journal):
    """What cannot be written down is refused, with nothing else done, and without showing the openid."""
    with pytest.raises(ConfigError) as caught:
        await claim(journal, "o1", "private\ud800")
    assert caught.value.field == "openid"
    assert "private" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert await journal.known(RUN, ["o1"]) == {}


# ---- results


async def test_a_result_is_read_back(room, journal):
    """Everything about it but the time is what was recorded; the time is the journal's."""
    await claim(journal, "o1", "o2", "o3", "o4")
    given = [accepted("o1"), refused("o2"), unknown("o3"), Result("o4", Outcome.SKIPPED)]
    await record(journal, *given)
    found = await results_of(journal)
    for result in given:
        back = found[result.openid]
        assert (back.outcome, back.msg_id, back.errcode, back.errmsg) == (
            *(result.outcome, result.msg_id, result.errcode, result.errmsg),
        )
        assert back.client_msg_id == RUN.client_msg_id(result.openid)
        assert back.at is not None
        assert abs(back.at.timestamp() - room.now()) < 30


async def test_the_first_result_stands(room, journal):
    """A late one, of whomever, changes nothing."""
    await claim(journal, "o1")
    await record(journal, accepted("o1", 1))
    for late in (accepted("o1", 2), refused("o1"), unknown("o1"), Result("o1", Outcome.SKIPPED)):
        await record(journal, late, owner="b")
        found = (await results_of(journal))["o1"]
        assert (found.outcome, found.msg_id, found.errcode) == (Outcome.ACCEPTED, 1, 0)
    assert await journal.counts(RUN) == {Outcome.ACCEPTED: 1}


@pytest.mark.parametrize("first", [unknown(), refused(), Result("o1", Outcome.SKIPPED)], ids=lambda one: one.outcome)
async def test_a_message_that_was_taken_after_all_counts(room, journal, first):
    """The word that it was taken is worth more than any that it was not; the reverse is not."""
    await claim(journal, "o1")
    await record(journal, first)
    await record(journal, accepted("o1", 7))
    found = (await results_of(journal))["o1"]
    assert (found.outcome, found.msg_id, found.errcode, found.errmsg) == (Outcome.ACCEPTED, 7, 0, "")
    await record(journal, first)
    assert await journal.counts(RUN) == {Outcome.ACCEPTED: 1}


async def test_what_an_event_has_settled_stays(room, journal):
    """A result that is late does not take a delivery back."""
    await claim(journal, "o1")
    await record(journal, unknown())
    assert await journal.settle("wx1", openid="o1", msg_id=5, outcome=Outcome.DELIVERED, at=room.now() + 1)
    await record(journal, accepted("o1", 5))
    assert await outcome_of(journal) is Outcome.DELIVERED


async def test_a_late_result_settles_what_was_taken_over(room, journal):
    """The silent owner lives after all: its word settles the recipient, and the new owner's comes too late."""
    await claim(journal, "o1")
    room.advance(LEASE + 1)
    assert list(await take_over(journal, "b")) == ["o1"]
    await record(journal, accepted("o1", 1), owner="a")
    await record(journal, unknown("o1"), owner="b")
    assert await journal.counts(RUN) == {Outcome.ACCEPTED: 1}


async def test_a_result_of_somebody_who_was_forgotten_counts(room, journal):
    """A recipient that was sent to is not sent to again, even if the claim was given back."""
    await claim(journal, "o1")
    await journal.exchange(RUN, owner="a", lease=LEASE, releases=["o1"])
    await record(journal, accepted("o1"))
    assert await claim(journal, "o1", owner="b") == []
    assert await journal.counts(RUN) == {Outcome.ACCEPTED: 1}


async def test_a_long_error_text_is_cut(room, journal):
    """Texts of the platform are kept, the first 200 characters of each."""
    await claim(journal, "o1")
    await record(journal, Result("o1", Outcome.REFUSED, errcode=-1, errmsg="坏" * 500))
    found = (await results_of(journal))["o1"]
    assert (found.errcode, found.errmsg) == (-1, "坏" * 200)


async def test_an_error_text_may_be_any(room, journal):
    """A text that cannot be written down as it is does not stop the run."""
    await claim(journal, "o1", "o2")
    await record(journal, Result("o1", Outcome.REFUSED, errcode=-1, errmsg="half \ud800"))
    assert (await results_of(journal))["o1"].errmsg == "half ?"


async def test_a_number_beyond_all_bounds_is_left_out(room, journal):
    """What no field can hold is not recorded, and does not stop the run."""
    await claim(journal, "o1")
    await record(journal, accepted("o1", 10**30))
    found = (await results_of(journal))["o1"]
    assert (found.outcome, found.msg_id) == (Outcome.ACCEPTED, None)


# ---- events


async def test_an_event_after_its_result(room, journal):
    """The usual order: accepted, then delivered."""
    await claim(journal, "o1")
    await record(journal, accepted())
    at = float(int(room.now()) + 2)
    assert await journal.settle("wx1", openid="o1", msg_id=MSG, outcome=Outcome.DELIVERED, at=at)
    found = (await results_of(journal))["o1"]
    assert (found.outcome, found.msg_id) == (Outcome.DELIVERED, MSG)
    assert found.at is not None
    assert found.at.timestamp() == at
    assert await journal.counts(RUN) == {Outcome.DELIVERED: 1}


async def test_an_event_comes_twice(room, journal):
    """The platform repeats its pushes."""
    await claim(journal, "o1")
    await record(journal, accepted())
    for _ in range(2):
        assert await journal.settle("wx1", openid="o1", msg_id=MSG, outcome=Outcome.BLOCKED, at=room.now())
    assert await journal.counts(RUN) == {Outcome.BLOCKED: 1}


@pytest.mark.parametrize("times", [1, 2])
async def test_an_event_before_its_result(room, journal, times):
    """Faster than the answer, once or repeated: it waits for the result, which takes its outcome."""
    await claim(journal, "o1")
    at = float(int(room.now()) + 1)
    for _ in range(times):
        assert await room.journal().settle("wx1", openid="o1", msg_id=MSG, outcome=Outcome.FAILED, at=at)
    assert await journal.known(RUN, ["o1"]) == {"o1": False}
    await record(journal, accepted())
    found = (await results_of(journal))["o1"]
    assert (found.outcome, found.msg_id) == (Outcome.FAILED, MSG)
    assert found.at is not None
    assert found.at.timestamp() == at
    assert await journal.counts(RUN) == {Outcome.FAILED: 1}


async def test_an_event_of_another_message_waits_in_vain(room, journal):
    """A result takes the event of its own number only."""
    await claim(journal, "o1")
    await journal.settle("wx1", openid="o1", msg_id=1, outcome=Outcome.FAILED, at=room.now())
    await journal.settle("wx1", openid="o1", msg_id=2, outcome=Outcome.DELIVERED, at=room.now())
    await record(journal, accepted("o1", 2))
    assert await outcome_of(journal) is Outcome.DELIVERED


async def test_a_kept_event_ends_with_its_claim(room, journal):
    """What was kept for a claim that was given back is no news about the next one."""
    await claim(journal, "o1")
    await journal.settle("wx1", openid="o1", msg_id=1, outcome=Outcome.FAILED, at=room.now())
    await journal.exchange(RUN, owner="a", lease=LEASE, releases=["o1"])
    await claim(journal, "o1")
    await record(journal, unknown())
    assert await outcome_of(journal) is Outcome.UNKNOWN


async def test_an_event_settles_a_lost_answer(room, journal):
    """It has no number in the journal, so the recipient and the time say whose it is."""
    await claim(journal, "o1")
    await record(journal, unknown())
    assert await journal.settle("wx1", openid="o1", msg_id=MSG, outcome=Outcome.DELIVERED, at=int(room.now()) + 1)
    found = (await results_of(journal))["o1"]
    assert (found.outcome, found.msg_id) == (Outcome.DELIVERED, MSG)
    assert await journal.counts(RUN) == {Outcome.DELIVERED: 1}


async def test_an_event_before_a_lost_answer(room, journal):
    """It was kept while the recipient was in flight; then nobody knew the number: it is still his."""
    await claim(journal, "o1")
    assert await journal.settle("wx1", openid="o1", msg_id=MSG, outcome=Outcome.DELIVERED, at=int(room.now()) + 1)
    await record(journal, unknown())
    found = (await results_of(journal))["o1"]
    assert (found.outcome, found.msg_id) == (Outcome.DELIVERED, MSG)


async def test_an_event_from_before_the_claim_is_another_messages(room, journal):
    """A message whose answer was lost cannot have arrived before it was sent."""
    await claim(journal, "o1", "o2")
    before = room.now() - 10
    await journal.settle("wx1", openid="o2", msg_id=1, outcome=Outcome.DELIVERED, at=before)
    await record(journal, unknown("o1"), unknown("o2"))
    assert not await journal.settle("wx1", openid="o1", msg_id=2, outcome=Outcome.DELIVERED, at=before)
    assert await journal.counts(RUN) == {Outcome.UNKNOWN: 2}


async def test_an_event_a_day_later_is_another_messages(room, journal):
    """Nothing is under way for longer than a day."""
    await claim(journal, "o1")
    await record(journal, unknown())
    late = room.now() + EVENT_LIFE + 10
    assert not await journal.settle("wx1", openid="o1", msg_id=2, outcome=Outcome.DELIVERED, at=late)
    assert await outcome_of(journal) is Outcome.UNKNOWN


async def test_a_lost_answer_is_settled_hours_later(room, journal):
    """Within the day the time from the claim to the event does not matter."""
    await claim(journal, "o1")
    await record(journal, unknown())
    room.advance(20 * 3600)
    assert await journal.settle("wx1", openid="o1", msg_id=2, outcome=Outcome.DELIVERED, at=room.now())
    assert await outcome_of(journal) is Outcome.DELIVERED


async def test_the_latest_of_two_lost_answers_is_meant(room, journal):
    """Two runs sent to the same one and lost both answers."""
    await journal.begin(OTHER, fingerprint="f")
    for run in (OTHER, RUN):
        await claim(journal, "o1", run=run)
        await record(journal, unknown(), run=run)
        room.advance(60)
    assert await journal.settle("wx1", openid="o1", msg_id=2, outcome=Outcome.DELIVERED, at=room.now())
    assert await outcome_of(journal) is Outcome.DELIVERED
    assert await outcome_of(journal, run=OTHER) is Outcome.UNKNOWN


async def test_an_event_is_rather_of_the_one_in_flight(room, journal):
    """A lost answer of an older run does not take the event of a message that is on its way."""
    await journal.begin(OTHER, fingerprint="f")
    await claim(journal, "o1", run=OTHER)
    await record(journal, unknown(), run=OTHER)
    room.advance(3600)
    await claim(journal, "o1")
    await journal.settle("wx1", openid="o1", msg_id=MSG, outcome=Outcome.DELIVERED, at=room.now())
    await record(journal, accepted())
    assert await outcome_of(journal) is Outcome.DELIVERED
    assert await outcome_of(journal, run=OTHER) is Outcome.UNKNOWN


async def test_foreign_events_are_not_ours(room, journal):
    """Another number, another recipient, another account: nothing changes, nothing is kept."""
    await claim(journal, "o1")
    await record(journal, accepted())
    event = {"outcome": Outcome.FAILED, "at": room.now()}
    assert not await journal.settle("wx1", openid="o1", msg_id=MSG + 1, **event)
    assert not await journal.settle("wx1", openid="o2", msg_id=MSG, **event)
    assert not await journal.settle("wx2", openid="o1", msg_id=MSG, **event)
    assert not await journal.settle("wx1", openid="o1", msg_id=None, **event)
    assert await outcome_of(journal) is Outcome.ACCEPTED


async def test_events_find_their_run_among_many(room, journal):
    """A process that has begun none of them finds the right one, new ones included."""
    hook = room.journal()
    for number in range(5):
        run = RunKey("wx1", f"run {number}")
        await journal.begin(run, fingerprint="f")
        await claim(journal, "o1", run=run)
        await record(journal, accepted("o1", number + 1), run=run)
        assert await hook.settle("wx1", openid="o1", msg_id=number + 1, outcome=Outcome.DELIVERED, at=room.now())
        assert await outcome_of(journal, run=run) is Outcome.DELIVERED
    assert await hook.settle("wx1", openid="o1", msg_id=2, outcome=Outcome.FAILED, at=room.now())
    assert await outcome_of(journal, run=RunKey("wx1", "run 1")) is Outcome.FAILED


# ---- the dead and their heirs


async def test_the_living_are_not_inherited_from(room, journal):
    """What is in flight stays its owner's until the lease ends."""
    await claim(journal, "o1")
    room.advance(LEASE - 5)
    assert await take_over(journal) == {}
    room.advance(6)
    assert list(await take_over(journal)) == ["o1"]


async def test_who_says_goodbye_leaves_at_once(room, journal):
    """A lease of 0 ends now: the heir need not wait for it, and what was released with it is free."""
    await claim(journal, "o1", "o2", "o3")
    farewell = {"results": [accepted("o1")], "releases": ["o2"]}
    assert await journal.exchange(RUN, owner="a", lease=0.0, **farewell) == ()
    assert await journal.others(RUN, owner="b") == 0.0
    assert list(await take_over(journal)) == ["o3"]
    assert await claim(journal, "o2", owner="b") == ["o2"]


async def test_a_step_may_be_repeated_after_an_error(room, journal):
    """Whoever does not know whether a step was taken gives its claims back and takes it again, in one step."""
    await claim(journal, "o1")
    for _ in range(3):
        claims = await journal.exchange(
            RUN, owner="a", lease=LEASE, claims=["o2", "o3"], results=[accepted("o1")], releases=["o2", "o3"]
        )
        assert [one.mine for one in claims] == [True, True]
    assert await journal.counts(RUN) == {Outcome.ACCEPTED: 1, None: 2}


async def test_who_takes_over_owns(room, journal):
    """Two heirs at once share; each recipient has one."""
    openids = [f"o{number}" for number in range(40)]
    await claim(journal, *openids)
    room.advance(LEASE + 1)
    others = [room.journal(), room.journal()]
    for one in others:
        await one.begin(RUN, fingerprint="template t1")
    got = await asyncio.gather(*(take_over(one, f"heir{i}", limit=30) for i, one in enumerate(others)))
    assert sorted(openid for mine in got for openid in mine) == sorted(openids)
    assert {len(mine) for mine in got} == {30, 10}
    assert await take_over(journal, "late") == {}


async def test_the_age_counts_from_the_first_claim(room, journal):
    """However often it changed hands."""
    await claim(journal, "o1")
    passed = 0.0
    for owner in ("b", "c", "d"):
        room.advance(LEASE + 5)
        passed += LEASE + 5
        ages = await take_over(journal, owner)
        assert ages["o1"] == pytest.approx(passed, abs=5)


async def test_a_release_and_a_new_claim_begin_a_new_age(room, journal):
    """What certainly was not sent has no age."""
    await claim(journal, "o1")
    room.advance(100)
    await journal.exchange(RUN, owner="a", lease=LEASE, releases=["o1"])
    await claim(journal, "o1")
    room.advance(LEASE + 1)
    assert (await take_over(journal))["o1"] == pytest.approx(LEASE + 1, abs=5)


async def test_only_the_named_are_taken_over(room, journal):
    """A process that has a share of the recipients leaves the rest alone."""
    await claim(journal, "o1", "o2", "o3")
    room.advance(LEASE + 1)
    assert list(await take_over(journal, openids=["o2", "o9", "o2"])) == ["o2"]
    assert await take_over(journal, openids=[]) == {}
    assert set(await take_over(journal, "c")) == {"o1", "o3"}


async def test_at_most_so_many_are_taken_over(room, journal):
    """The limit holds, and what is left is there for the next call; none of them is none."""
    await claim(journal, "o1", "o2", "o3")
    room.advance(LEASE + 1)
    assert await take_over(journal, limit=0) == {}
    first, second = await take_over(journal, limit=2), await take_over(journal, limit=2)
    assert (len(first), len(second)) == (2, 1)
    assert set(first) | set(second) == {"o1", "o2", "o3"}


async def test_nobody_inherits_from_himself(room, journal):
    """An owner whose own lease ended keeps what it has; it has to come back under another name."""
    await claim(journal, "o1")
    room.advance(LEASE + 1)
    assert await take_over(journal, "a") == {}


async def test_settled_ones_are_not_inherited(room, journal):
    """There is nothing to do about them."""
    await claim(journal, "o1", "o2")
    await record(journal, accepted("o1"))
    room.advance(LEASE + 1)
    assert list(await take_over(journal)) == ["o2"]


async def test_others_tells_when_to_look_again(room, journal):
    """The seconds until the first other owner can be dead; none if nobody else has anything in flight."""
    assert await journal.others(RUN, owner="b") is None
    await claim(journal, "o1")
    assert await journal.others(RUN, owner="a") is None
    assert await journal.others(RUN, owner="b") == pytest.approx(LEASE, abs=5)
    room.advance(10)
    await claim(journal, "o2", owner="c")
    assert await journal.others(RUN, owner="b") == pytest.approx(LEASE - 10, abs=5)
    room.advance(LEASE + 1)
    assert await journal.others(RUN, owner="b") == 0.0
    await record(journal, accepted("o1"), accepted("o2"))
    assert await journal.others(RUN, owner="b") is None


# ---- the allowance


async def allow(journal: Journal, wanted: int = 1000, *, per_second=None, per_day=None, appid: str = "wx1"):
    return await journal.allow(appid, wanted=wanted, per_second=per_second, per_day=per_day)


async def test_without_limits_all_is_granted(room, journal):
    """What is wanted, at once."""
    allowance = await allow(journal)
    assert (allowance.granted, allowance.wait, allowance.day_is_over) == (1000, 0.0, False)


@pytest.mark.parametrize("per_second", [0.2, 1, 3.5, 50, 1000])
async def test_the_rate_is_never_exceeded(room, journal, per_second):
    """Asked by two processes without pause, a stretch of time grants its rate and one batch."""
    journals = [journal, room.journal()]
    began, advanced, granted = time.monotonic(), 0.0, 0
    for turn in range(60):
        granted += (await allow(journals[turn % 2], per_second=per_second)).granted
        # on the real server real time passes as well
        passed = advanced + (0.0 if isinstance(room, SQLiteRoom) else time.monotonic() - began)
        assert granted <= passed * per_second + batch(per_second)
        room.advance(0.37)
        advanced += 0.37
    assert granted > 0


async def test_the_whole_rate_is_granted(room, journal):
    """Whoever waits as told gets what was asked for, in few questions."""
    passed, granted, questions = 0.0, 0, 0
    while passed < 20:
        allowance = await allow(journal, 10, per_second=100)
        granted += allowance.granted
        questions += 1
        passed += allowance.wait
        room.advance(allowance.wait)
    assert granted >= 1980
    assert questions < 1000


async def test_nothing_is_saved_up_over_a_pause(room, journal):
    """After an hour of silence the rate is still the rate."""
    await allow(journal, per_second=50)
    room.advance(3600)
    assert (await allow(journal, per_second=50)).granted == 5


async def test_a_process_without_a_limit_does_not_stop_the_others_refill(room, journal):
    """Who asks without a rate leaves the rate of the others alone."""
    while (await allow(journal, per_second=1)).granted:
        pass
    room.advance(0.7)
    await allow(journal)
    room.advance(0.7)
    assert (await allow(journal, per_second=1)).granted == 1


async def test_the_limit_of_a_day(room, journal):
    """It ends the day, and says when the next one begins."""
    assert (await allow(journal, 60, per_day=100)).granted == 60
    assert (await allow(journal, 60, per_day=100)).granted == 40
    allowance = await allow(journal, 60, per_day=100)
    assert (allowance.granted, allowance.day_is_over) == (0, True)
    midnight = math.ceil((room.now() + 8 * 3600) / 86_400) * 86_400 - 8 * 3600
    assert allowance.wait == pytest.approx(midnight - room.now(), abs=5)
    room.next_day()
    assert (await allow(journal, 60, per_day=100)).granted == 60


async def test_what_others_send_counts_for_the_day(room, journal):
    """A process without a limit uses up the day of one that has it; another account does not."""
    await allow(journal, 70)
    await allow(journal, 70, appid="wx2")
    await allow(journal, 20, per_second=1000)
    assert (await allow(journal, 60, per_day=100)).granted < 30


async def test_the_day_does_not_eat_the_rate(room, journal):
    """What the day refuses is not taken from the second."""
    room.advance(10)
    await allow(journal, 10, per_day=10)
    for _ in range(3):
        assert (await allow(journal, per_second=100, per_day=10)).day_is_over
    assert (await allow(journal, per_second=100)).granted >= 1


# ---- reading


async def test_counts_are_of_one_run(room, journal):
    """Every outcome that occurred, and those in flight."""
    await journal.begin(OTHER, fingerprint="f")
    await claim(journal, "o1", run=OTHER)
    await claim(journal, *(f"o{number}" for number in range(8)))
    await record(journal, accepted("o0"), accepted("o1", 2), refused("o2"), unknown("o3"))
    await journal.settle("wx1", openid="o0", msg_id=MSG, outcome=Outcome.DELIVERED, at=room.now())
    assert await journal.counts(RUN) == {
        None: 4,
        Outcome.DELIVERED: 1,
        Outcome.ACCEPTED: 1,
        Outcome.REFUSED: 1,
        Outcome.UNKNOWN: 1,
    }


async def test_results_are_read_page_by_page(room, journal):
    """More than fit into any page: each once, and one outcome alone when asked for."""
    openids = [f"o{number}" for number in range(2500)]
    for start in range(0, len(openids), 500):
        part = openids[start : start + 500]
        await claim(journal, *part)
        await record(journal, *(accepted(one, int(one[1:])) if int(one[1:]) % 5 else refused(one) for one in part))
    found = await results_of(journal)
    assert sorted(found) == sorted(openids)
    assert all(found[one].msg_id == (int(one[1:]) if int(one[1:]) % 5 else None) for one in openids)
    assert len(await results_of(journal, outcome=Outcome.REFUSED)) == 500
    assert await results_of(journal, outcome=Outcome.DELIVERED) == {}
    known = await journal.known(RUN, [*openids, "o9999"])
    assert len(known) == 2500
    assert all(known.values())


async def test_reading_goes_on_while_others_write(room, journal):
    """Results that come meanwhile neither end nor double the iteration."""
    await claim(journal, *(f"o{number}" for number in range(1200)))
    await record(journal, *(accepted(f"o{number}") for number in range(1100)))
    seen = []
    async for result in journal.results(RUN):
        if len(seen) == 100:
            await record(journal, *(accepted(f"o{number}") for number in range(1100, 1200)))
        seen.append(result.openid)
    assert len(set(seen)) == len(seen)
    assert {f"o{number}" for number in range(1100)} <= set(seen)


async def test_nobody_asked_for_is_nobody(room, journal):
    """An empty question has an empty answer."""
    assert await journal.known(RUN, []) == {}


# ---- loops, closing, cancellation


async def test_closing_twice_and_going_on(room, journal):
    """A closed journal may be used again, and knows what it knew."""
    await claim(journal, "o1")
    await journal.aclose()
    await journal.aclose()
    assert await journal.known(RUN, ["o1"]) == {"o1": False}
    async with journal as same:
        assert same is journal
        await record(journal, accepted())


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_event_loops_one_after_the_other(kind, tmp_path, redis_server):
    """The same journal serves three asyncio.run() in a row."""
    journal = (SQLiteRoom(tmp_path) if kind == "sqlite" else RedisRoom(redis_server)).journal()

    async def use(number: int) -> list[str]:
        await journal.begin(RUN, fingerprint="template t1")
        return await claim(journal, "o0", f"o{number}")

    assert [asyncio.run(use(number)) for number in (1, 2, 3)] == [["o0", "o1"], ["o2"], ["o3"]]
    asyncio.run(journal.aclose())


async def test_a_cancelled_verb_is_done_whole_or_not_at_all(room, journal):
    """Cancelled at every moment: a claim and a result of one call are both there or neither."""
    for number in range(60):
        openids = [f"c{number}", f"d{number}"]
        await claim(journal, openids[0])
        task = asyncio.ensure_future(
            journal.exchange(RUN, owner="a", lease=LEASE, claims=[openids[1]], results=[accepted(openids[0])])
        )
        for _ in range(number % 30):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        # the next call comes after whatever the cancelled one still does
        known = await journal.known(RUN, openids)
        assert known in ({openids[0]: False}, {openids[0]: True, openids[1]: False})
