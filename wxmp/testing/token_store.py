"""What every token store has to pass (conformance kit).

Subclass :class:`TokenStoreContract` in a test file and say how a store is made; pytest finds the tests in it::

    import pytest
    from wxmp.testing import TokenStoreContract

    class TestMyStore(TokenStoreContract):
        @pytest.fixture
        def store(self):
            return MyTokenStore(...)        # empty: each test gets its own

Needs pytest-asyncio, in auto or strict mode. Some promises are about hours. :meth:`TokenStoreContract.advance` lets
store time pass: as it stands it sleeps, and skips a test that would sleep for longer than ``patience``. A store with a
clock that can be set gets all the tests at once::

    class TestMyStore(TokenStoreContract):
        @pytest.fixture
        def store(self):
            self.time = 1_700_000_000.0
            return MyTokenStore(clock=lambda: self.time)

        async def advance(self, seconds):
            self.time += seconds
"""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

import pytest
import pytest_asyncio

from wxmp.tokens.store import (
    FORCED_GAP,
    FORCED_PER_DAY,
    Lease,
    LeaseReason,
    LeaseStatus,
    ReplacementBudget,
    TokenKey,
    TokenRecord,
    TokenStore,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["TokenStoreContract"]

KEY: Final = TokenKey("wx0000000000000001", "plain")
#: Far longer than any test runs.
LONG: Final = 120.0
#: Long enough for a few operations, short enough to be slept through. Nothing is expected while it runs.
SHORT: Final = 0.3
#: What passes it surely.
PAST: Final = SHORT + 0.1
DAY: Final = 86_400.0
#: Values that break what pastes them into a script, a query, a shell or a file.
ODD: Final = (
    "'",
    '"',
    "\\",
    "]]",
    "]==]",
    "{}[]()<>",
    "%s%d%n",
    "$(x)`y`",
    "--;/*",
    "null",
    "0",
    "-1",
    "a" * 512,
    "!~" * 1024,
)


class TokenStoreContract:
    """The promises of :class:`~wxmp.tokens.store.TokenStore` as tests.

    Override the fixture ``store``, and :meth:`advance` where the store's clock can be set.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    #: Longest real sleep of :meth:`advance`, in seconds.
    patience: ClassVar[float] = 5.0

    @pytest.fixture
    def store(self) -> TokenStore:
        """Return a store without records. Override this."""
        raise NotImplementedError("override the fixture `store` and return an empty store")

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` of the store's time pass."""
        if seconds > self.patience:
            pytest.skip(f"needs {seconds:g} s of the store's time: override advance()")
        await asyncio.sleep(seconds)

    @pytest_asyncio.fixture(autouse=True)
    async def _close_store(self, store: TokenStore) -> AsyncIterator[None]:
        yield
        await store.aclose()

    # --- small steps the tests are made of ---------------------------------------------------------------------

    async def _lease(
        self,
        store: TokenStore,
        owner: str = "first",
        *,
        key: TokenKey = KEY,
        ttl: float = LONG,
        expect: int | None = None,
        hint: int = 0,
        reason: LeaseReason = LeaseReason.DUE,
        credential: str = "",
        budget: ReplacementBudget | None = None,
    ) -> Lease:
        if expect is None:
            token = (await store.read(key)).token
            expect = token.generation if token is not None else 0
        return await store.lease(
            key, owner=owner, ttl=ttl, expect=expect, hint=hint, reason=reason, credential=credential, budget=budget
        )

    async def _hold(self, store: TokenStore, owner: str = "first", *, key: TokenKey = KEY, ttl: float = LONG) -> int:
        lease = await self._lease(store, owner, key=key, ttl=ttl)
        assert lease.status is LeaseStatus.HELD
        return lease.fence

    async def _put(self, store: TokenStore, value: str = "token", *, key: TokenKey = KEY, life: float = 7200.0) -> int:
        fence = await self._hold(store, key=key)
        assert await store.commit(key, fence=fence, value=value, life=life)
        return fence

    async def _break(
        self, store: TokenStore, *, code: int = 40164, cool_down: float = LONG, credential: str = ""
    ) -> None:
        lease = await self._lease(store, "broken", reason=LeaseReason.OPERATOR)
        assert lease.status is LeaseStatus.HELD
        await store.fail(KEY, owner="broken", fence=lease.fence, code=code, cool_down=cool_down, credential=credential)

    async def _value(self, store: TokenStore, key: TokenKey = KEY) -> str | None:
        token = (await store.read(key)).token
        return token.value if token is not None else None

    # --- read --------------------------------------------------------------------------------------------------

    async def test_an_unknown_key_has_an_empty_record(self, store: TokenStore) -> None:
        """Nothing stored is an empty record, not an error."""
        assert await store.read(KEY) == TokenRecord()

    async def test_a_committed_token_is_read_back(self, store: TokenStore) -> None:
        """Value, generation and life are what was committed; what is left is close below the life."""
        fence = await self._put(store, "token", life=7200.0)
        token = (await store.read(KEY)).token
        assert token is not None
        assert (token.value, token.generation, token.life) == ("token", fence, 7200.0)
        assert 7100.0 < token.left <= 7200.0

    async def test_left_shrinks_with_the_stores_clock(self, store: TokenStore) -> None:
        """What is left goes down as the store's time passes."""
        await self._put(store, life=7200.0)
        await self.advance(1.0)
        token = (await store.read(KEY)).token
        assert token is not None
        assert token.left <= 7199.0

    async def test_a_token_at_its_end_is_not_returned(self, store: TokenStore) -> None:
        """A token past its end is no token."""
        await self._put(store, life=SHORT)
        await self.advance(PAST)
        assert (await store.read(KEY)).token is None

    async def test_a_token_committed_without_life_is_not_returned(self, store: TokenStore) -> None:
        """A life of 0 is a token at its end."""
        await self._put(store, life=0.0)
        assert (await store.read(KEY)).token is None

    async def test_a_running_lease_is_visible(self, store: TokenStore) -> None:
        """A record shows for how long its lease still runs, and nothing once it has ended."""
        fence = await self._hold(store, ttl=LONG)
        assert LONG - 60.0 < (await store.read(KEY)).lease_left <= LONG
        await store.fail(KEY, owner="first", fence=fence)
        assert (await store.read(KEY)).lease_left == 0

    async def test_a_failure_is_visible_while_its_cool_down_runs(self, store: TokenStore) -> None:
        """The last error is shown with code and count until its cool-down ends."""
        await self._break(store, code=40164, cool_down=SHORT)
        await self._break(store, code=-1, cool_down=LONG)
        failure = (await store.read(KEY)).failure
        assert failure is not None
        assert (failure.code, failure.count) == (-1, 2)
        assert LONG - 60.0 < failure.cool_down <= LONG

    async def test_a_failure_is_not_visible_after_its_cool_down(self, store: TokenStore) -> None:
        """A cool-down that has ended is no failure any more."""
        await self._break(store, cool_down=SHORT)
        await self.advance(PAST)
        assert (await store.read(KEY)).failure is None

    # --- lease: who gets it ------------------------------------------------------------------------------------

    async def test_the_first_gets_the_lease(self, store: TokenStore) -> None:
        """With nothing stored and nobody there the lease is held, under a fence above 0."""
        lease = await self._lease(store)
        assert lease.status is LeaseStatus.HELD
        assert lease.fence > 0
        assert lease.token is None
        assert lease.failure is None

    async def test_of_fifty_at_once_exactly_one_gets_it(self, store: TokenStore) -> None:
        """Fifty owners ask at the same moment: one holds the lease, the others are told to wait."""
        leases = await asyncio.gather(*(self._lease(store, f"owner-{i}", expect=0) for i in range(50)))
        held = [lease for lease in leases if lease.status is LeaseStatus.HELD]
        busy = [lease for lease in leases if lease.status is LeaseStatus.BUSY]
        assert (len(held), len(busy)) == (1, 49)
        assert all(0 < lease.wait <= LONG for lease in busy)

    async def test_of_many_late_commits_exactly_the_newest_stays(self, store: TokenStore) -> None:
        """Commits under different fences, all at once, end with the value of the highest fence."""
        fences = range(1000, 1030)
        await asyncio.gather(*(store.commit(KEY, fence=i, value=f"token-{i}", life=LONG) for i in fences))
        assert await self._value(store) == "token-1029"

    async def test_a_lease_runs_out(self, store: TokenStore) -> None:
        """After its time somebody else gets the lease, under a greater fence."""
        fence = await self._hold(store, "first", ttl=SHORT)
        await self.advance(PAST)
        assert await self._hold(store, "second") > fence

    async def test_the_own_lease_is_renewed(self, store: TokenStore) -> None:
        """Who asks again while holding the lease gets it again, for the full time."""
        first = await self._hold(store, ttl=1.0)
        again = await self._hold(store, ttl=LONG)
        assert again > first
        assert (await store.read(KEY)).lease_left > 1.0

    async def test_a_renewed_lease_keeps_others_out(self, store: TokenStore) -> None:
        """After a renewal the end of the first term does not let others in."""
        await self._hold(store, "first", ttl=SHORT)
        await self._hold(store, "first", ttl=LONG)
        await self.advance(PAST)
        assert (await self._lease(store, "second")).status is LeaseStatus.BUSY

    async def test_fences_grow(self, store: TokenStore) -> None:
        """Each fence is greater than every one before, whatever ended the lease."""
        fences = []
        for turn in range(12):
            fence = await self._hold(store, f"owner-{turn}")
            fences.append(fence)
            if turn % 3 == 0:
                await store.commit(KEY, fence=fence, value="token", life=LONG)
            else:
                await store.fail(KEY, owner=f"owner-{turn}", fence=fence, cool_down=0.0)
        assert fences == sorted(set(fences))

    async def test_a_fence_is_above_the_hint(self, store: TokenStore) -> None:
        """The caller's highest generation keeps fences growing when the store has forgotten its own."""
        hint = 3_000_000_000_000_000
        lease = await self._lease(store, hint=hint)
        assert lease.fence > hint

    async def test_a_fence_stays_above_an_earlier_hint(self, store: TokenStore) -> None:
        """A fence raised by a hint is the last fence: the next one, without a hint, is greater."""
        lease = await self._lease(store, "first", hint=3_000_000_000_000_000)
        await store.fail(KEY, owner="first", fence=lease.fence)
        assert await self._hold(store, "second") > lease.fence

    # --- lease: changed ----------------------------------------------------------------------------------------

    async def test_another_token_than_expected_is_handed_out(self, store: TokenStore) -> None:
        """A live token of another generation than the expected one: no lease, the token instead."""
        fence = await self._put(store, "token")
        lease = await self._lease(store, "second", expect=0)
        assert lease.status is LeaseStatus.CHANGED
        assert lease.token is not None
        assert (lease.token.value, lease.token.generation) == ("token", fence)
        assert (await store.read(KEY)).lease_left == 0

    async def test_an_older_token_than_expected_is_a_change(self, store: TokenStore) -> None:
        """A store that was rolled back holds another token than the one just read: that is for the caller to judge."""
        fence = await self._put(store, "token")
        assert (await self._lease(store, "second", expect=fence + 1)).status is LeaseStatus.CHANGED

    async def test_an_ended_token_is_not_a_change(self, store: TokenStore) -> None:
        """A token past its end cannot be adopted, so the lease is given."""
        await self._put(store, life=SHORT)
        await self.advance(PAST)
        assert (await self._lease(store, "second", expect=0)).status is LeaseStatus.HELD

    async def test_a_token_that_went_is_not_a_change(self, store: TokenStore) -> None:
        """Whoever expects a token that is not there any more gets the lease."""
        assert (await self._lease(store, expect=12345)).status is LeaseStatus.HELD

    async def test_changed_comes_before_everything(self, store: TokenStore) -> None:
        """A new token is handed out even while a cool-down and another lease run."""
        await self._put(store, "token")
        await self._break(store)
        other = await self._lease(store, "other", reason=LeaseReason.OPERATOR)
        assert other.status is LeaseStatus.HELD
        for reason in LeaseReason:
            lease = await self._lease(store, "second", expect=0, reason=reason)
            assert lease.status is LeaseStatus.CHANGED

    @pytest.mark.parametrize("status", [LeaseStatus.HELD, LeaseStatus.BUSY, LeaseStatus.COOLING, LeaseStatus.LIMITED])
    async def test_the_stored_token_comes_with_every_status(self, store: TokenStore, status: LeaseStatus) -> None:
        """A lease tells the stored token whatever else it says."""
        fence = await self._put(store, "token")
        budget = ReplacementBudget(burst=1, refill=LONG)
        reason = LeaseReason.DUE
        if status is LeaseStatus.BUSY:
            await self._hold(store, "other")
        elif status is LeaseStatus.COOLING:
            await self._break(store)
        elif status is LeaseStatus.LIMITED:
            reason = LeaseReason.DEAD
            await self._lease(store, "second", reason=reason, budget=budget)
        lease = await self._lease(store, "second", expect=fence, reason=reason, budget=budget)
        assert lease.status is status
        assert lease.token is not None
        assert (lease.token.value, lease.token.generation) == ("token", fence)

    # --- lease: cooling ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("reason", [LeaseReason.DUE, LeaseReason.DEAD, LeaseReason.FORCED])
    async def test_a_cool_down_keeps_everybody_from_asking(self, store: TokenStore, reason: LeaseReason) -> None:
        """After a failure nobody gets the lease until the cool-down ends; all are told the error."""
        await self._break(store, code=40164, cool_down=LONG)
        lease = await self._lease(store, "second", reason=reason)
        assert lease.status is LeaseStatus.COOLING
        assert 0 < lease.wait <= LONG
        assert lease.failure is not None
        assert (lease.failure.code, lease.failure.count) == (40164, 1)
        assert lease.failure.cool_down == pytest.approx(lease.wait)

    async def test_an_operator_skips_the_cool_down(self, store: TokenStore) -> None:
        """A person who asks is not held up by an error."""
        await self._break(store)
        assert (await self._lease(store, "second", reason=LeaseReason.OPERATOR)).status is LeaseStatus.HELD

    async def test_a_cool_down_ends(self, store: TokenStore) -> None:
        """After the cool-down the lease is given again."""
        await self._break(store, cool_down=SHORT)
        await self.advance(PAST)
        assert (await self._lease(store, "second")).status is LeaseStatus.HELD

    async def test_another_credential_skips_the_cool_down(self, store: TokenStore) -> None:
        """An error that came with the old AppSecret says nothing about the new one."""
        await self._break(store, credential="old")
        lease = await self._lease(store, "second", credential="new")
        assert lease.status is LeaseStatus.HELD
        assert lease.failure is None

    async def test_the_same_credential_is_cooled_down(self, store: TokenStore) -> None:
        """An error holds for everybody who uses the same AppSecret."""
        await self._break(store, credential="same")
        assert (await self._lease(store, "second", credential="same")).status is LeaseStatus.COOLING

    async def test_an_error_without_a_credential_holds_for_all(self, store: TokenStore) -> None:
        """An error that was recorded without a fingerprint applies whatever the caller's is."""
        await self._break(store, credential="")
        assert (await self._lease(store, "second", credential="new")).status is LeaseStatus.COOLING

    async def test_a_hold_off_holds_off_who_is_only_due(self, store: TokenStore) -> None:
        """A hold-off is a cool-down with code 0 and count 0 for the reason DUE."""
        fence = await self._hold(store)
        await store.commit(KEY, fence=fence, value="token", life=7200.0, hold_off=LONG)
        lease = await self._lease(store, "second", reason=LeaseReason.DUE)
        assert lease.status is LeaseStatus.COOLING
        assert 0 < lease.wait <= LONG
        assert lease.failure is not None
        assert (lease.failure.code, lease.failure.count) == (0, 0)

    @pytest.mark.parametrize("reason", [LeaseReason.DEAD, LeaseReason.FORCED, LeaseReason.OPERATOR])
    async def test_a_hold_off_holds_off_nobody_else(self, store: TokenStore, reason: LeaseReason) -> None:
        """A token that died is replaced even though nobody needs to look for a fresher one."""
        fence = await self._hold(store)
        await store.commit(KEY, fence=fence, value="token", life=7200.0, hold_off=LONG)
        assert (await self._lease(store, "second", reason=reason)).status is LeaseStatus.HELD

    async def test_a_hold_off_ends(self, store: TokenStore) -> None:
        """After the hold-off the lease is given for the reason DUE."""
        fence = await self._hold(store)
        await store.commit(KEY, fence=fence, value="token", life=7200.0, hold_off=SHORT)
        await self.advance(PAST)
        assert (await self._lease(store, "second")).status is LeaseStatus.HELD

    async def test_cooling_comes_before_busy(self, store: TokenStore) -> None:
        """While an operator's lease runs, others still learn about the error."""
        await self._break(store)
        assert (await self._lease(store, "operator", reason=LeaseReason.OPERATOR)).status is LeaseStatus.HELD
        assert (await self._lease(store, "second")).status is LeaseStatus.COOLING

    async def test_the_count_of_failures_comes_with_the_lease(self, store: TokenStore) -> None:
        """Who holds the lease learns how often it failed in a row, to choose the next cool-down."""
        for _ in range(3):
            await self._break(store, code=-1, cool_down=SHORT)
        await self.advance(PAST)
        lease = await self._lease(store, "second")
        assert lease.status is LeaseStatus.HELD
        assert lease.failure is not None
        assert lease.failure.count == 3

    # --- lease: busy and limited -------------------------------------------------------------------------------

    async def test_busy_comes_before_limited(self, store: TokenStore) -> None:
        """While another owner holds the lease, nobody is told about an empty budget."""
        budget = ReplacementBudget(burst=1, refill=LONG)
        assert (await self._dead(store, budget, "first")).status is LeaseStatus.HELD
        assert (await self._dead(store, budget, "second")).status is LeaseStatus.BUSY

    async def test_an_operator_waits_for_a_running_lease(self, store: TokenStore) -> None:
        """Two requests at once would kill each other's tokens, whoever asks."""
        await self._hold(store)
        assert (await self._lease(store, "second", reason=LeaseReason.OPERATOR)).status is LeaseStatus.BUSY

    async def _dead(self, store: TokenStore, budget: ReplacementBudget | None, owner: str = "first") -> Lease:
        return await self._lease(store, owner, reason=LeaseReason.DEAD, budget=budget)

    async def test_replacements_stop_at_the_budget(self, store: TokenStore) -> None:
        """After as many replacements as the bucket holds the next one is refused, with the time to wait."""
        budget = ReplacementBudget(burst=3, refill=LONG)
        statuses = [(await self._dead(store, budget)).status for _ in range(5)]
        assert statuses == [LeaseStatus.HELD] * 3 + [LeaseStatus.LIMITED] * 2
        assert 0 < (await self._dead(store, budget)).wait <= LONG

    async def test_a_busy_lease_spends_nothing(self, store: TokenStore) -> None:
        """Only who gets the lease takes one from the budget."""
        budget = ReplacementBudget(burst=2, refill=LONG)
        fence = await self._hold(store, "other")
        for _ in range(5):
            assert (await self._dead(store, budget)).status is LeaseStatus.BUSY
        await store.fail(KEY, owner="other", fence=fence)
        statuses = [(await self._dead(store, budget)).status for _ in range(3)]
        assert statuses == [LeaseStatus.HELD, LeaseStatus.HELD, LeaseStatus.LIMITED]

    async def test_the_budget_fills_up_again(self, store: TokenStore) -> None:
        """After the refill time exactly one more replacement is allowed, however often it was refused before."""
        budget = ReplacementBudget(burst=1, refill=1.0)
        assert (await self._dead(store, budget)).status is LeaseStatus.HELD
        slow = ReplacementBudget(burst=1, refill=LONG)
        for _ in range(3):
            assert (await self._dead(store, slow)).status is LeaseStatus.LIMITED
        await self.advance(1.1)
        assert (await self._dead(store, budget)).status is LeaseStatus.HELD
        assert (await self._dead(store, slow)).status is LeaseStatus.LIMITED

    async def test_the_budget_never_holds_more_than_its_size(self, store: TokenStore) -> None:
        """A quiet time does not save up replacements."""
        assert (await self._dead(store, ReplacementBudget(burst=2, refill=SHORT))).status is LeaseStatus.HELD
        await self.advance(10 * SHORT)
        assert (await self._dead(store, ReplacementBudget(burst=2, refill=SHORT))).status is LeaseStatus.HELD
        slow = ReplacementBudget(burst=2, refill=LONG)
        statuses = [(await self._dead(store, slow)).status for _ in range(2)]
        assert statuses == [LeaseStatus.HELD, LeaseStatus.LIMITED]

    async def test_no_budget_is_no_limit(self, store: TokenStore) -> None:
        """Without a budget every replacement is allowed."""
        assert all([(await self._dead(store, None)).status is LeaseStatus.HELD for _ in range(15)])

    @pytest.mark.parametrize("reason", [LeaseReason.DUE, LeaseReason.OPERATOR])
    async def test_the_budget_is_for_dead_tokens_only(self, store: TokenStore, reason: LeaseReason) -> None:
        """An empty budget does not keep a planned renewal or an operator from the lease."""
        budget = ReplacementBudget(burst=1, refill=LONG)
        await self._dead(store, budget)
        assert (await self._dead(store, budget)).status is LeaseStatus.LIMITED
        assert (await self._lease(store, "first", reason=reason, budget=budget)).status is LeaseStatus.HELD

    async def _forced(self, store: TokenStore) -> Lease:
        return await self._lease(store, "first", reason=LeaseReason.FORCED)

    async def test_forced_refreshes_keep_their_distance(self, store: TokenStore) -> None:
        """Within 30 s of a forced refresh the platform ignores another one, so it is refused here."""
        assert (await self._forced(store)).status is LeaseStatus.HELD
        lease = await self._forced(store)
        assert lease.status is LeaseStatus.LIMITED
        assert 0 < lease.wait <= FORCED_GAP

    async def test_a_forced_refresh_is_possible_after_the_distance(self, store: TokenStore) -> None:
        """After 30 s the next forced refresh is allowed."""
        assert (await self._forced(store)).status is LeaseStatus.HELD
        await self.advance(FORCED_GAP + 0.5)
        assert (await self._forced(store)).status is LeaseStatus.HELD

    async def test_forced_refreshes_of_a_day_are_counted(self, store: TokenStore) -> None:
        """After 20 forced refreshes the next one has to wait for the end of the day; then it counts anew."""
        for _ in range(FORCED_PER_DAY):
            assert (await self._forced(store)).status is LeaseStatus.HELD
            await self.advance(FORCED_GAP + 0.5)
        lease = await self._forced(store)
        assert lease.status is LeaseStatus.LIMITED
        assert 0 < lease.wait <= DAY
        await self.advance(DAY)
        assert (await self._forced(store)).status is LeaseStatus.HELD

    async def test_forced_refreshes_do_not_limit_others(self, store: TokenStore) -> None:
        """The allowance of forced refreshes says nothing about other reasons."""
        await self._forced(store)
        assert (await self._forced(store)).status is LeaseStatus.LIMITED
        assert (await self._lease(store)).status is LeaseStatus.HELD

    async def test_a_refused_forced_refresh_is_not_counted(self, store: TokenStore) -> None:
        """A refused one does not start the 30 s again."""
        assert (await self._forced(store)).status is LeaseStatus.HELD
        await self.advance(FORCED_GAP - 5.0)
        assert (await self._forced(store)).status is LeaseStatus.LIMITED
        await self.advance(5.5)
        assert (await self._forced(store)).status is LeaseStatus.HELD

    # --- commit ------------------------------------------------------------------------------------------------

    async def test_a_late_commit_is_refused(self, store: TokenStore) -> None:
        """Who was overtaken cannot put an older token over a newer one."""
        late = await self._hold(store, "slow", ttl=SHORT)
        await self.advance(PAST)
        fence = await self._hold(store, "fast")
        assert await store.commit(KEY, fence=fence, value="newer", life=LONG)
        assert not await store.commit(KEY, fence=late, value="older", life=LONG)
        assert await self._value(store) == "newer"

    async def test_a_late_commit_is_refused_after_the_newer_token_ended(self, store: TokenStore) -> None:
        """An ended token still counts: an older one cannot be good any more."""
        late = await self._hold(store, "slow", ttl=SHORT)
        await self.advance(PAST)
        fence = await self._hold(store, "fast")
        assert await store.commit(KEY, fence=fence, value="newer", life=SHORT)
        await self.advance(PAST)
        assert not await store.commit(KEY, fence=late, value="older", life=LONG)
        assert await self._value(store) is None

    async def test_a_fence_commits_once(self, store: TokenStore) -> None:
        """The second commit under one fence is refused."""
        fence = await self._put(store, "token")
        assert not await store.commit(KEY, fence=fence, value="second", life=LONG)
        assert await self._value(store) == "token"

    async def test_a_commit_after_the_end_of_its_lease_is_accepted(self, store: TokenStore) -> None:
        """A slow holder whom nobody overtook brings the newest token."""
        fence = await self._hold(store, ttl=SHORT)
        await self.advance(PAST)
        assert await store.commit(KEY, fence=fence, value="token", life=LONG)
        assert await self._value(store) == "token"

    async def test_a_commit_to_an_empty_store_is_accepted(self, store: TokenStore) -> None:
        """A store that was emptied between lease and commit takes the token."""
        assert await store.commit(KEY, fence=1_000_000, value="token", life=LONG)
        assert await self._value(store) == "token"
        token = (await store.read(KEY)).token
        assert token is not None
        assert token.generation == 1_000_000

    async def test_a_fence_is_above_a_commit_to_an_empty_store(self, store: TokenStore) -> None:
        """A committed generation counts as the last fence, even if this store never handed it out."""
        await store.commit(KEY, fence=3_000_000_000_000_000, value="token", life=LONG)
        assert await self._hold(store) > 3_000_000_000_000_000

    async def test_a_commit_ends_its_lease(self, store: TokenStore) -> None:
        """After the commit the next one need not wait for the lease to run out."""
        await self._put(store)
        assert (await self._lease(store, "second")).status is LeaseStatus.HELD

    async def test_a_commit_leaves_the_lease_of_another_alone(self, store: TokenStore) -> None:
        """A slow holder's token is taken while it is the newest, but the lease belongs to who overtook it."""
        late = await self._hold(store, "slow", ttl=SHORT)
        await self.advance(PAST)
        await self._hold(store, "fast")
        assert await store.commit(KEY, fence=late, value="token", life=LONG)
        assert (await self._lease(store, "third")).status is LeaseStatus.BUSY

    async def test_a_commit_clears_the_error(self, store: TokenStore) -> None:
        """After a success nobody is cooled down and the count begins anew."""
        await self._break(store)
        lease = await self._lease(store, reason=LeaseReason.OPERATOR)
        assert await store.commit(KEY, fence=lease.fence, value="token", life=LONG)
        assert (await store.read(KEY)).failure is None
        again = await self._lease(store, "second")
        assert (again.status, again.failure) == (LeaseStatus.HELD, None)

    async def test_a_refused_commit_changes_nothing(self, store: TokenStore) -> None:
        """A late commit leaves token, error and lease of others as they are."""
        late = await self._hold(store, "slow", ttl=SHORT)
        await self.advance(PAST)
        fence = await self._hold(store, "fast")
        await store.commit(KEY, fence=fence, value="newer", life=7200.0)
        await self._break(store, code=-1)
        await self._lease(store, "operator", reason=LeaseReason.OPERATOR)
        assert not await store.commit(KEY, fence=late, value="older", life=LONG, hold_off=LONG)
        record = await store.read(KEY)
        assert record.token is not None
        assert (record.token.value, record.token.generation, record.token.life) == ("newer", fence, 7200.0)
        assert record.failure is not None
        assert record.failure.code == -1
        assert record.lease_left > 0

    async def test_a_new_token_replaces_the_old_one(self, store: TokenStore) -> None:
        """The value, generation and life of the highest fence are what is stored."""
        await self._put(store, "old", life=100.0)
        fence = await self._put(store, "new", life=7200.0)
        token = (await store.read(KEY)).token
        assert token is not None
        assert (token.value, token.generation, token.life) == ("new", fence, 7200.0)

    # --- fail --------------------------------------------------------------------------------------------------

    async def test_a_failure_leaves_the_token(self, store: TokenStore) -> None:
        """A refresh that failed never removes a token that works."""
        await self._put(store, "token")
        await self._break(store)
        assert await self._value(store) == "token"

    async def test_a_failure_ends_the_lease(self, store: TokenStore) -> None:
        """After a failure without cool-down the next one may try at once."""
        fence = await self._hold(store)
        await store.fail(KEY, owner="first", fence=fence, code=-1, cool_down=0.0)
        lease = await self._lease(store, "second")
        assert (lease.status, lease.failure) == (LeaseStatus.HELD, None)

    async def test_giving_back_leaves_the_error_as_it_is(self, store: TokenStore) -> None:
        """A lease given back without a cool-down neither counts a failure nor forgives one."""
        await self._break(store, code=40164)
        lease = await self._lease(store, "second", reason=LeaseReason.OPERATOR)
        await store.fail(KEY, owner="second", fence=lease.fence)
        failure = (await store.read(KEY)).failure
        assert failure is not None
        assert (failure.code, failure.count) == (40164, 1)

    @pytest.mark.parametrize("stranger", ["owner", "fence"])
    async def test_a_failure_of_a_stranger_is_ignored(self, store: TokenStore, stranger: str) -> None:
        """Who does not hold the lease has no say, with a wrong name or under a wrong fence."""
        fence = await self._hold(store, "first")
        owner = "second" if stranger == "owner" else "first"
        await store.fail(KEY, owner=owner, fence=fence - 1 if stranger == "fence" else fence, code=-1, cool_down=LONG)
        record = await store.read(KEY)
        assert record.failure is None
        assert record.lease_left > 0

    async def test_a_failure_of_who_was_overtaken_is_ignored(self, store: TokenStore) -> None:
        """A slow holder neither ends the lease of its successor nor cools it down."""
        late = await self._hold(store, "slow", ttl=SHORT)
        await self.advance(PAST)
        await self._hold(store, "fast")
        await store.fail(KEY, owner="slow", fence=late, code=-1, cool_down=LONG)
        record = await store.read(KEY)
        assert record.failure is None
        assert record.lease_left > 0

    async def test_a_failure_after_a_success_is_ignored(self, store: TokenStore) -> None:
        """A lease that ended with a commit cannot fail any more."""
        fence = await self._put(store, "token")
        await store.fail(KEY, owner="first", fence=fence, code=-1, cool_down=LONG)
        assert (await store.read(KEY)).failure is None

    async def test_a_failure_without_any_record_is_ignored(self, store: TokenStore) -> None:
        """A store that was emptied knows no lease that could fail."""
        await store.fail(KEY, owner="first", fence=1, code=-1, cool_down=LONG)
        assert await store.read(KEY) == TokenRecord()

    async def test_failures_of_another_credential_are_not_counted(self, store: TokenStore) -> None:
        """With a changed AppSecret the count of failures begins anew."""
        await self._break(store, credential="old")
        await self._break(store, credential="old")
        lease = await self._lease(store, "second", credential="new")
        assert lease.status is LeaseStatus.HELD
        await store.fail(KEY, owner="second", fence=lease.fence, code=40125, cool_down=LONG, credential="new")
        failure = (await store.read(KEY)).failure
        assert failure is not None
        assert (failure.code, failure.count) == (40125, 1)

    # --- seed --------------------------------------------------------------------------------------------------

    async def test_a_token_is_put_back_into_an_empty_store(self, store: TokenStore) -> None:
        """A store that lost its record takes back a token that still works, with what is left of it."""
        assert await store.seed(KEY, value="token", generation=1000, life=7200.0, left=LONG)
        token = (await store.read(KEY)).token
        assert token is not None
        assert (token.value, token.generation, token.life) == ("token", 1000, 7200.0)
        assert 0 < token.left <= LONG

    async def test_a_token_is_put_back_over_an_older_one(self, store: TokenStore) -> None:
        """A store that came back with an older record takes the newer token."""
        await store.seed(KEY, value="older", generation=1000, life=7200.0, left=LONG)
        assert await store.seed(KEY, value="newer", generation=1001, life=7200.0, left=LONG)
        assert await self._value(store) == "newer"

    @pytest.mark.parametrize("generation", [999, 1000])
    async def test_memory_is_never_put_over_a_newer_token(self, store: TokenStore, generation: int) -> None:
        """Of the same generation, or an older one: the stored token stays."""
        await store.seed(KEY, value="stored", generation=1000, life=7200.0, left=LONG)
        assert not await store.seed(KEY, value="memory", generation=generation, life=7200.0, left=LONG)
        assert await self._value(store) == "stored"

    async def test_a_seeded_token_ends(self, store: TokenStore) -> None:
        """It lives for what was left of it, not for its whole life."""
        await store.seed(KEY, value="token", generation=1000, life=7200.0, left=SHORT)
        await self.advance(PAST)
        assert (await store.read(KEY)).token is None

    async def test_a_seed_leaves_lease_and_error(self, store: TokenStore) -> None:
        """A running lease and the error state stay as they are."""
        await self._break(store, code=-1)
        lease = await self._lease(store, "first", reason=LeaseReason.OPERATOR)
        assert await store.seed(KEY, value="token", generation=lease.fence - 1, life=7200.0, left=LONG)
        record = await store.read(KEY)
        assert record.failure is not None
        assert (record.failure.code, record.failure.count) == (-1, 1)
        assert record.lease_left > 0
        assert await store.commit(KEY, fence=lease.fence, value="newer", life=LONG)

    async def test_a_fence_is_above_a_seed(self, store: TokenStore) -> None:
        """The generation that was put back counts as the last fence."""
        await store.seed(KEY, value="token", generation=3_000_000_000_000_000, life=7200.0, left=LONG)
        assert await self._hold(store) > 3_000_000_000_000_000

    async def test_a_commit_older_than_a_seed_is_refused(self, store: TokenStore) -> None:
        """A holder whose fence is older than what was put back came too late."""
        fence = await self._hold(store)
        await store.seed(KEY, value="newer", generation=fence + 1, life=7200.0, left=LONG)
        assert not await store.commit(KEY, fence=fence, value="older", life=LONG)
        assert await self._value(store) == "newer"

    # --- keys, values, callers ---------------------------------------------------------------------------------

    async def test_keys_do_not_mix(self, store: TokenStore) -> None:
        """Every pair of AppID and channel is a record of its own, however the two would read when joined."""
        names = [("a", "b_c"), ("a_b", "c"), ("a", "b-c"), ("a-b", "c"), ("a", "c"), ("c", "a"), ("A", "plain")]
        keys = [TokenKey(appid, channel) for appid, channel in names]
        for key in keys:
            await self._put(store, f"token-of-{key.appid}-on-{key.channel}", key=key)
        for key in keys:
            assert await self._value(store, key) == f"token-of-{key.appid}-on-{key.channel}"

    async def test_leases_of_keys_do_not_mix(self, store: TokenStore) -> None:
        """A lease, a cool-down and an empty budget concern their own key only."""
        await self._break(store)
        await self._lease(store, reason=LeaseReason.OPERATOR)
        other = TokenKey(KEY.appid, "stable")
        assert await store.read(other) == TokenRecord()
        assert (await self._lease(store, "second", key=other)).status is LeaseStatus.HELD

    @pytest.mark.parametrize("value", ODD)
    async def test_odd_values_come_back_as_they_are(self, store: TokenStore, value: str) -> None:
        """Whatever the platform may issue is data."""
        await self._put(store, value)
        assert await self._value(store) == value
        lease = await self._lease(store, "second", expect=0)
        assert lease.token is not None
        assert lease.token.value == value
        await store.seed(KEY, value=value, generation=4_000_000_000_000_000, life=LONG, left=LONG)
        assert await self._value(store) == value

    @pytest.mark.parametrize("owner", ["'", '"', "]]", "a b", "{x}:1", "%d", "\\"])
    async def test_odd_owners_are_told_apart(self, store: TokenStore, owner: str) -> None:
        """The name of an owner is data, too."""
        fence = await self._hold(store, owner)
        assert (await self._lease(store, owner + "x")).status is LeaseStatus.BUSY
        await store.fail(KEY, owner=owner, fence=fence, code=-1, cool_down=LONG, credential=owner)
        assert (await self._lease(store, "second", credential=owner)).status is LeaseStatus.COOLING
        assert (await self._lease(store, "second", credential=owner + "x")).status is LeaseStatus.HELD

    async def test_a_cancelled_call_leaves_the_record_whole(self, store: TokenStore) -> None:
        """Whenever a call is cancelled, the record stays readable and the next commit is taken."""
        fence = await self._put(store, "first")
        values = {"first"}
        for steps in range(12):
            task = asyncio.ensure_future(store.commit(KEY, fence=fence + 1 + steps, value=f"new-{steps}", life=LONG))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            values.add(f"new-{steps}")
            assert await self._value(store) in values
        assert await store.commit(KEY, fence=fence + 100, value="last", life=LONG)
        assert await self._value(store) == "last"

    async def test_a_cancelled_lease_leaves_nothing_locked(self, store: TokenStore) -> None:
        """Whenever a lease is cancelled, its owner can get it afterwards."""
        for steps in range(12):
            task = asyncio.ensure_future(self._lease(store, "first", expect=0))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        assert (await self._lease(store, "first")).status is LeaseStatus.HELD

    async def test_other_event_loops_and_threads_see_the_same(self, store: TokenStore) -> None:
        """The same store object serves a second event loop in another thread, twice in a row, and this one again."""
        fence = await self._put(store, "token")
        for turn in range(2):
            seen = await asyncio.to_thread(asyncio.run, store.read(KEY))
            assert seen.token is not None
            assert (seen.token.value, seen.token.generation) == ("token", fence), turn
        assert await self._value(store) == "token"

    async def test_the_token_does_not_show(self, store: TokenStore) -> None:
        """Neither the store nor what it returns prints the token."""
        await self._put(store, "visible-token")
        record = await store.read(KEY)
        lease = await self._lease(store, "second", expect=0)
        assert "visible-token" not in f"{store!r} {store} {record!r} {lease!r}"

    async def test_closing_twice_is_safe(self, store: TokenStore) -> None:
        """A second close does nothing."""
        await store.read(KEY)
        await store.aclose()
        await store.aclose()

    async def test_a_store_is_a_context_manager(self, store: TokenStore) -> None:
        """Leaving the block closes the store."""
        async with store as entered:
            assert entered is store
