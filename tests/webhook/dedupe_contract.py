"""What every store of deliveries promises. A test class inherits :class:`DedupeContract` and gives the ``subject``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from wxmp.webhook.dedupe import Claim, DedupeStore

KEY = "wx1:0a1b2c"
LEASE = 10.0
KEEP = 60.0


class Subject(Protocol):
    """A store, and a way to let time pass for it."""

    store: DedupeStore

    async def pass_time(self, seconds: float) -> None: ...


class DedupeContract:
    """The suite; every test starts with an empty store."""

    @pytest.fixture
    def store(self, subject: Subject) -> DedupeStore:
        return subject.store

    @staticmethod
    async def deliver(store: DedupeStore, replay: str = "", key: str = KEY, **changes: float) -> Claim:
        """One more delivery, by default a request never seen before."""
        DedupeContract.number += 1
        return await store.begin(
            key,
            replay=f"wx1:{replay or f'r{DedupeContract.number}'}",
            **{"replay_for": 300.0, "lease": LEASE, "keep": KEEP, **changes},
        )

    number = 0

    @staticmethod
    async def look(store: DedupeStore, key: str = KEY) -> Claim:
        """A waiting connection looks again."""
        return await store.begin(key, lease=LEASE, keep=KEEP)

    # --- who handles it

    async def test_the_first_delivery_is_new(self, store: DedupeStore) -> None:
        """Nobody has it: the caller does."""
        claim = await self.deliver(store)
        assert (claim.status, claim.delivery, claim.answer, claim.wait) == ("new", 1, b"", 0.0)
        assert claim.fence > 0

    async def test_a_second_delivery_finds_it_running(self, store: DedupeStore) -> None:
        """While the handler runs, the others learn whose it is and how long the lease lasts."""
        first = await self.deliver(store)
        second = await self.deliver(store)
        assert (second.status, second.delivery, second.fence) == ("running", 2, first.fence)
        assert 0 < second.wait <= LEASE
        assert (await self.deliver(store)).delivery == 3

    async def test_looking_again_counts_nothing(self, store: DedupeStore) -> None:
        """A connection that waits is no delivery."""
        await self.deliver(store)
        for _ in range(3):
            look = await self.look(store)
            assert (look.status, look.delivery) == ("running", 1)

    async def test_looking_may_come_first(self, store: DedupeStore) -> None:
        """Whoever looks at a push that is free owns it, with no delivery counted."""
        look = await self.look(store)
        assert (look.status, look.delivery) == ("new", 0)

    async def test_pushes_do_not_know_each_other(self, store: DedupeStore) -> None:
        """Other key, other push."""
        one = await self.deliver(store)
        other = await self.deliver(store, key="wx1:ffff")
        foreign = await self.deliver(store, key="wx2:0a1b2c")
        assert [claim.status for claim in (one, other, foreign)] == ["new"] * 3
        assert await store.finish("wx1:ffff", fence=other.fence, answer=b"x", keep=KEEP, taken=True)
        assert (await self.look(store)).status == "running"

    async def test_of_many_at_once_one_is_new(self, store: DedupeStore) -> None:
        """Fifty deliveries at once: one owner, and each counted."""
        claims = await asyncio.gather(*(self.deliver(store) for _ in range(50)))
        assert sorted(claim.status for claim in claims) == ["new"] + ["running"] * 49
        assert sorted(claim.delivery for claim in claims) == list(range(1, 51))
        assert len({claim.fence for claim in claims}) == 1

    # --- leases and fences

    async def test_a_lease_that_is_over_goes_to_the_next(self, subject: Subject, store: DedupeStore) -> None:
        """The owner died: the next delivery takes over, with a higher fence."""
        first = await self.deliver(store)
        await subject.pass_time(LEASE + 0.5)
        second = await self.deliver(store)
        assert (second.status, second.delivery) == ("new", 2)
        assert second.fence > first.fence
        assert (await self.deliver(store)).status == "running"

    async def test_a_connection_that_waits_takes_over(self, subject: Subject, store: DedupeStore) -> None:
        """The owner died: a look is enough."""
        first = await self.deliver(store)
        await subject.pass_time(LEASE + 0.5)
        look = await self.look(store)
        assert (look.status, look.delivery) == ("new", 1)
        assert look.fence > first.fence

    async def test_a_lease_holds_until_its_end(self, subject: Subject, store: DedupeStore) -> None:
        """Shortly before the end nobody takes over."""
        await self.deliver(store)
        await subject.pass_time(LEASE - 2.0)
        look = await self.look(store)
        assert look.status == "running"
        assert 0 < look.wait <= 2.0

    async def test_an_extended_lease_lasts_longer(self, subject: Subject, store: DedupeStore) -> None:
        """An owner that is alive keeps what it has."""
        claim = await self.deliver(store)
        await subject.pass_time(LEASE - 2.0)
        assert await store.extend(KEY, fence=claim.fence, lease=LEASE)
        await subject.pass_time(LEASE - 2.0)
        assert (await self.look(store)).status == "running"
        await subject.pass_time(2.5)
        assert (await self.look(store)).status == "new"

    async def test_an_extended_push_is_remembered_as_long_as_its_lease(
        self, subject: Subject, store: DedupeStore
    ) -> None:
        """A handler may take longer than pushes are kept."""
        claim = await self.deliver(store, keep=5.0)
        assert await store.extend(KEY, fence=claim.fence, lease=30.0)
        await subject.pass_time(25.0)
        assert (await self.look(store)).status == "running"

    async def test_nobody_else_came(self, subject: Subject, store: DedupeStore) -> None:
        """An owner whose lease is over, but whom nobody replaced, goes on: it extends and finishes."""
        claim = await self.deliver(store)
        await subject.pass_time(LEASE + 0.5)
        assert await store.extend(KEY, fence=claim.fence, lease=LEASE)
        assert (await self.look(store)).status == "running"
        await subject.pass_time(LEASE + 0.5)
        assert await store.finish(KEY, fence=claim.fence, answer=b"a", keep=KEEP, taken=True)
        assert (await self.look(store)).answer == b"a"

    async def test_an_owner_that_was_replaced_changes_nothing(self, subject: Subject, store: DedupeStore) -> None:
        """No verb of the old owner touches what the new one has."""
        old = (await self.deliver(store)).fence
        await subject.pass_time(LEASE + 0.5)
        new = (await self.deliver(store)).fence
        assert not await store.extend(KEY, fence=old, lease=1000.0)
        assert not await store.finish(KEY, fence=old, answer=b"old", keep=KEEP, taken=False)
        assert not await store.claim_late(KEY, fence=old)
        await store.forget(KEY, fence=old)
        look = await self.look(store)
        assert (look.status, look.fence) == ("running", new)
        assert look.wait <= LEASE
        assert await store.finish(KEY, fence=new, answer=b"new", keep=KEEP, taken=False)
        assert not await store.finish(KEY, fence=old, answer=b"old", keep=KEEP, taken=False)
        assert not await store.claim_late(KEY, fence=old)
        assert (await self.look(store)).answer == b"new"

    async def test_a_fence_rises_even_after_its_push_was_forgotten(self, subject: Subject, store: DedupeStore) -> None:
        """An owner from before cannot be taken for the one of now."""
        old = (await self.deliver(store)).fence
        await subject.pass_time(KEEP + 1)
        new = await self.deliver(store)
        assert (new.status, new.delivery) == ("new", 1)
        assert new.fence > old
        assert not await store.finish(KEY, fence=old, answer=b"old", keep=KEEP, taken=True)

    # --- answers

    @pytest.mark.parametrize("taken", [True, False])
    @pytest.mark.parametrize("answer", [b"", "<xml>你好</xml>".encode(), bytes(range(256)), b"x" * 20_000])
    async def test_a_finished_push_gives_its_answer_again(self, store: DedupeStore, answer: bytes, taken: bool) -> None:
        """Every later delivery and every look gets the first answer, byte for byte."""
        fence = (await self.deliver(store)).fence
        assert await store.finish(KEY, fence=fence, answer=answer, keep=KEEP, taken=taken)
        claims = [await self.deliver(store), await self.look(store), await self.deliver(store)]
        assert [claim.status for claim in claims] == ["done"] * 3
        assert [claim.answer for claim in claims] == [answer] * 3
        assert [claim.delivery for claim in claims] == [2, 2, 3]
        assert {claim.fence for claim in claims} == {fence}

    async def test_a_push_is_finished_once(self, store: DedupeStore) -> None:
        """The first answer stays."""
        fence = (await self.deliver(store)).fence
        assert await store.finish(KEY, fence=fence, answer=b"first", keep=KEEP, taken=False)
        assert not await store.finish(KEY, fence=fence, answer=b"second", keep=KEEP, taken=False)
        assert not await store.extend(KEY, fence=fence, lease=LEASE)
        assert (await self.look(store)).answer == b"first"

    async def test_a_finished_push_has_no_lease(self, subject: Subject, store: DedupeStore) -> None:
        """After the lease would have ended it is still finished."""
        fence = (await self.deliver(store)).fence
        await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=True)
        await subject.pass_time(LEASE + 1)
        assert (await self.deliver(store)).status == "done"

    async def test_of_a_push_that_was_lost_its_owner_may_extend(self, store: DedupeStore) -> None:
        """A store that lost the push believes the owner, who keeps it; another owner comes too late."""
        assert await store.extend(KEY, fence=5, lease=LEASE)
        claim = await self.deliver(store)
        assert (claim.status, claim.fence, claim.delivery) == ("running", 5, 1)
        assert not await store.extend(KEY, fence=4, lease=LEASE)
        assert not await store.finish(KEY, fence=6, answer=b"x", keep=KEEP, taken=True)
        assert await store.finish(KEY, fence=5, answer=b"a", keep=KEEP, taken=True)

    async def test_an_extended_push_that_was_lost_has_a_lease(self, subject: Subject, store: DedupeStore) -> None:
        """It ends like any other, and the next fence is higher."""
        assert await store.extend(KEY, fence=5, lease=LEASE)
        await subject.pass_time(LEASE - 1)
        assert (await self.deliver(store)).status == "running"
        await subject.pass_time(1.5)
        claim = await self.deliver(store)
        assert claim.status == "new"
        assert claim.fence > 5

    @pytest.mark.parametrize("taken", [True, False])
    async def test_of_a_push_that_was_lost_its_owner_may_finish(
        self, subject: Subject, store: DedupeStore, taken: bool
    ) -> None:
        """The answer is stored for its time, and counts as any other."""
        assert await store.finish(KEY, fence=5, answer=b"a", keep=30.0, taken=taken)
        assert not await store.finish(KEY, fence=5, answer=b"b", keep=30.0, taken=taken)
        assert await store.claim_late(KEY, fence=5) is not taken
        await subject.pass_time(28.0)
        assert (await store.begin(KEY, lease=1.0, keep=1.0)).status == ("done" if taken else "late")
        await subject.pass_time(3.0)
        assert (await self.deliver(store)).status == "new"

    async def test_of_a_push_that_was_lost_its_owner_may_answer_late(
        self, subject: Subject, store: DedupeStore
    ) -> None:
        """Once, and that is remembered for a minute."""
        assert await store.claim_late(KEY, fence=5)
        assert not await store.claim_late(KEY, fence=5)
        assert not await store.claim_late(KEY, fence=6)
        await subject.pass_time(58.0)
        assert (await store.begin(KEY, lease=1.0, keep=1.0)).status == "late"
        await subject.pass_time(3.0)
        assert (await self.deliver(store)).status == "new"

    async def test_of_a_push_that_was_lost_nothing_is_forgotten(self, store: DedupeStore) -> None:
        """It is free already."""
        await store.forget(KEY, fence=5)
        claim = await self.deliver(store)
        assert (claim.status, claim.delivery) == ("new", 1)

    async def test_an_owner_is_not_believed_once_the_push_is_made_anew(
        self, subject: Subject, store: DedupeStore
    ) -> None:
        """The push was lost and began again: fences are above those of before, the old owner is out."""
        old = (await self.deliver(store)).fence
        await subject.pass_time(1000.0)
        new = (await self.deliver(store)).fence
        assert new > old
        assert not await store.extend(KEY, fence=old, lease=LEASE)
        assert not await store.finish(KEY, fence=old, answer=b"x", keep=KEEP, taken=True)
        await store.forget(KEY, fence=new)
        assert not await store.extend(KEY, fence=old, lease=LEASE)  # known, and nobody's
        assert not await store.claim_late(KEY, fence=old)

    async def test_no_fence_is_given_twice(self, subject: Subject, store: DedupeStore) -> None:
        """The push was lost, and found by the older of two owners: the next fence is above that of the newer, too."""
        old = (await self.deliver(store)).fence
        await subject.pass_time(LEASE + 0.5)
        newer = (await self.deliver(store)).fence
        await subject.pass_time(1000.0)
        assert await store.extend(KEY, fence=old, lease=LEASE)
        await subject.pass_time(LEASE + 0.5)
        newest = await self.deliver(store)
        assert newest.status == "new"
        assert newest.fence > newer > old

    # --- answers that come late

    async def test_the_right_to_answer_late_is_given_once(self, store: DedupeStore) -> None:
        """One call gets it; from then on nobody hands the answer to a connection."""
        fence = (await self.deliver(store)).fence
        await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=False)
        assert await store.claim_late(KEY, fence=fence)
        assert not await store.claim_late(KEY, fence=fence)
        claims = [await self.deliver(store), await self.look(store)]
        assert [(claim.status, claim.answer, claim.delivery) for claim in claims] == [("late", b"", 2)] * 2
        assert not await store.extend(KEY, fence=fence, lease=LEASE)
        assert not await store.finish(KEY, fence=fence, answer=b"b", keep=KEEP, taken=False)

    async def test_an_answer_on_a_connection_is_not_late(self, store: DedupeStore) -> None:
        """The owner handed it out itself."""
        fence = (await self.deliver(store)).fence
        await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=True)
        assert not await store.claim_late(KEY, fence=fence)

    @pytest.mark.parametrize("how", ["deliver", "look"])
    async def test_an_answer_that_a_delivery_took_is_not_late(self, store: DedupeStore, how: str) -> None:
        """A later delivery handed it out."""
        fence = (await self.deliver(store)).fence
        await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=False)
        assert (await getattr(self, how)(store)).status == "done"
        assert not await store.claim_late(KEY, fence=fence)

    async def test_what_still_runs_is_not_late(self, store: DedupeStore) -> None:
        """There is no answer yet."""
        fence = (await self.deliver(store)).fence
        assert not await store.claim_late(KEY, fence=fence)
        assert (await self.look(store)).status == "running"

    async def test_a_user_is_answered_in_one_way(self, store: DedupeStore) -> None:
        """A crowd of connections and late senders: either connections got it, or exactly one sender."""
        for turn in range(20):
            key = f"wx1:turn{turn}"
            fence = (await self.deliver(store, key=key)).fence
            await store.finish(key, fence=fence, answer=b"a", keep=KEEP, taken=False)
            crowd = [store.claim_late(key, fence=fence) for _ in range(3)] + [self.look(store, key) for _ in range(3)]
            got = await asyncio.gather(*(crowd if turn % 2 else reversed(crowd)))
            late = got.count(True)
            taken = [claim for claim in got if not isinstance(claim, bool) and claim.status == "done"]
            assert (late, len(taken)) in {(1, 0), (0, 3)}

    # --- left to the next delivery

    async def test_a_forgotten_push_is_free(self, store: DedupeStore) -> None:
        """The handler failed: the next delivery handles it anew, and knows its number."""
        first = await self.deliver(store)
        await store.forget(KEY, fence=first.fence)
        second = await self.deliver(store)
        assert (second.status, second.delivery) == ("new", 2)
        assert second.fence > first.fence
        assert not await store.finish(KEY, fence=first.fence, answer=b"a", keep=KEEP, taken=True)

    async def test_a_forgotten_push_is_nobodys(self, store: DedupeStore) -> None:
        """Its last owner may not go on."""
        fence = (await self.deliver(store)).fence
        await store.forget(KEY, fence=fence)
        assert not await store.extend(KEY, fence=fence, lease=LEASE)
        assert not await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=True)
        assert not await store.claim_late(KEY, fence=fence)

    async def test_a_finished_push_is_not_forgotten(self, store: DedupeStore) -> None:
        """What was handled is not handled again."""
        fence = (await self.deliver(store)).fence
        await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=False)
        await store.forget(KEY, fence=fence)
        assert (await self.deliver(store)).status == "done"

    # --- the same request twice

    async def test_a_request_that_was_seen_is_replayed(self, store: DedupeStore) -> None:
        """A copy of a request learns nothing and changes nothing."""
        fence = (await self.deliver(store, "same")).fence
        copy = await self.deliver(store, "same")
        assert (copy.status, copy.fence, copy.delivery, copy.answer, copy.wait) == ("replayed", 0, 0, b"", 0.0)
        assert (await self.look(store)).delivery == 1
        await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=False)
        copy = await self.deliver(store, "same")
        assert (copy.status, copy.answer) == ("replayed", b"")
        assert await store.claim_late(KEY, fence=fence)  # the copy did not take the answer

    async def test_a_request_is_replayed_whatever_its_push(self, store: DedupeStore) -> None:
        """The request counts, not what is said to be in it."""
        await self.deliver(store, "same")
        assert (await self.deliver(store, "same", key="wx1:ffff")).status == "replayed"
        assert (await self.deliver(store, key="wx1:ffff")).delivery == 1

    async def test_of_many_copies_at_once_one_counts(self, store: DedupeStore) -> None:
        """A burst of the same request is one delivery."""
        claims = await asyncio.gather(*(self.deliver(store, "same") for _ in range(20)))
        assert sorted(claim.status for claim in claims) == ["new"] + ["replayed"] * 19
        assert (await self.deliver(store)).delivery == 2

    async def test_a_request_is_remembered_for_its_time(self, subject: Subject, store: DedupeStore) -> None:
        """As long as told, whatever happens to the push, and no longer."""
        await self.deliver(store, "same", replay_for=300.0)
        await subject.pass_time(298.0)
        assert (await self.deliver(store, "same")).status == "replayed"
        await subject.pass_time(3.0)
        assert (await self.deliver(store, "same")).status == "new"

    async def test_a_replay_does_not_prolong_its_memory(self, subject: Subject, store: DedupeStore) -> None:
        """Copies that keep coming do not lock a request out for ever."""
        await self.deliver(store, "same", replay_for=20.0)
        await subject.pass_time(15.0)
        assert (await self.deliver(store, "same", replay_for=20.0)).status == "replayed"
        await subject.pass_time(6.0)
        assert (await self.deliver(store, "same", replay_for=20.0)).status != "replayed"

    async def test_without_a_time_no_request_is_remembered(self, store: DedupeStore) -> None:
        """Zero seconds: the delivery is counted, the request not kept."""
        assert (await self.deliver(store, "same", replay_for=0.0)).delivery == 1
        assert (await self.deliver(store, "same", replay_for=0.0)).delivery == 2

    # --- how long

    async def test_a_finished_push_is_remembered_for_its_time(self, subject: Subject, store: DedupeStore) -> None:
        """Then it counts as never seen."""
        fence = (await self.deliver(store, keep=5.0)).fence
        assert await store.finish(KEY, fence=fence, answer=b"a", keep=100.0, taken=True)
        await subject.pass_time(98.0)
        assert (await store.begin(KEY, lease=1.0, keep=1.0)).status == "done"
        await subject.pass_time(2.5)
        again = await self.deliver(store)
        assert (again.status, again.delivery, again.answer) == ("new", 1, b"")

    async def test_a_delivery_prolongs_the_memory(self, subject: Subject, store: DedupeStore) -> None:
        """As long as deliveries come, the push is known."""
        fence = (await self.deliver(store)).fence
        await store.finish(KEY, fence=fence, answer=b"a", keep=20.0, taken=True)
        await subject.pass_time(15.0)
        assert (await self.deliver(store, keep=20.0)).status == "done"
        await subject.pass_time(15.0)
        assert (await self.deliver(store, keep=20.0)).status == "done"

    async def test_a_running_push_is_remembered_as_long_as_its_lease(
        self, subject: Subject, store: DedupeStore
    ) -> None:
        """A lease longer than the time to keep is not cut short."""
        await self.deliver(store, lease=100.0, keep=5.0)
        await subject.pass_time(90.0)
        assert (await self.look(store)).status == "running"

    async def test_a_closed_store_can_be_used_again(self, store: DedupeStore) -> None:
        """Closing forgets nothing."""
        await self.deliver(store)
        await store.aclose()
        await store.aclose()
        assert (await self.deliver(store)).delivery == 2
