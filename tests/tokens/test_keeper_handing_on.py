"""What a keeper offers to whoever hands its token on, and how it lives with a store that refreshes by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wxmp.errors import APIError, api_error
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.store import Lease, LeaseReason, LeaseStatus, StoredToken, TokenKey, TokenRecord, TokenStore

from .test_keeper import Fleet
from .virtual_time import now, run


def test_the_token_at_hand() -> None:
    """``held`` is the copy with what is left of it; nothing before the first token, nor after its death or end."""

    async def main() -> None:
        fleet = Fleet()
        keeper = fleet.keeper()
        assert keeper.held() is None
        value = await keeper.get()
        held = keeper.held()
        assert held is not None
        assert (held.value, held.life, held.left) == (value.reveal(), 7200.0, 7200.0)
        await asyncio.sleep(100)
        held = keeper.held()
        assert held is not None
        assert held.left == pytest.approx(7100.0)
        keeper.report_dead(value, 40001)
        assert keeper.held() is None

    run(main())


def test_a_look_finds_what_another_process_has_stored() -> None:
    """``look`` goes to the store at once, while the copy would still be served unseen for a long time."""

    async def main() -> None:
        fleet = Fleet()
        one, other = fleet.keeper(), fleet.keeper()
        first = await one.get()
        assert await other.get() == first
        fleet.platform.kill()
        one.report_dead(first, 40001)
        second = await one.get()
        assert other.peek() == first
        await other.look()
        assert other.peek() == second
        assert fleet.platform.count == 2

    run(main())


def test_a_look_waits_for_no_flight_that_has_looked_already() -> None:
    """A flight under way may have read the store before: the look after it is a new one."""

    async def main() -> None:
        fleet = Fleet()
        keeper = fleet.keeper()
        fleet.platform.script.append(2.0)
        getting = asyncio.create_task(keeper.get())
        await asyncio.sleep(1.0)
        before = fleet.store.operations.count("read")
        await keeper.look()
        assert getting.done()
        assert fleet.store.operations.count("read") == before + 1

    run(main())


def test_a_look_raises_nothing() -> None:
    """A store that is down, and a closed keeper, are no trouble of whoever looks."""

    async def main() -> None:
        fleet = Fleet()
        keeper = fleet.keeper()
        await keeper.get()
        fleet.store.down.add("all")
        await keeper.look()
        assert keeper.held() is not None
        await keeper.aclose()
        await keeper.look()

    run(main())


def test_the_status_tells_the_cool_down() -> None:
    """After a failure the status says for how long nobody asks the platform; after a success there is nothing."""

    async def main() -> None:
        fleet = Fleet()
        keeper = fleet.keeper()
        fleet.platform.always = api_error(40164, endpoint="x", token_request=True)
        with pytest.raises(APIError):
            await keeper.get()
        assert keeper.status().cool_down == pytest.approx(30.0, abs=1.0)
        await asyncio.sleep(10)
        assert keeper.status().cool_down == pytest.approx(20.0, abs=1.0)
        fleet.platform.always = None
        await asyncio.sleep(21)
        await keeper.get()
        assert keeper.status().cool_down == 0

    run(main())


class Kept(MemoryTokenStore):
    """A store that somebody else refreshes, and that remembers what it was asked and told."""

    kept_elsewhere = True

    def __init__(self) -> None:
        super().__init__(clock=now)
        self.reasons: list[LeaseReason] = []
        self.told: list[tuple[int, int, str]] = []
        self.token = self.issue(1, left=7000.0)

    @staticmethod
    def issue(generation: int, *, left: float) -> StoredToken:
        return StoredToken(value=f"KEPT-{generation}", generation=generation, life=7200.0, left=left)

    async def read(self, key: TokenKey) -> TokenRecord:
        return TokenRecord(token=self.token)

    async def lease(self, key: TokenKey, *, expect: int, reason: LeaseReason = LeaseReason.DUE, **_: Any) -> Lease:
        self.reasons.append(reason)
        if reason is LeaseReason.DEAD and expect == self.token.generation:
            # The one that replaces it is due itself soon.
            self.token = self.issue(expect + 1, left=200.0)
        if expect != self.token.generation:
            return Lease(LeaseStatus.CHANGED, token=self.token)
        return Lease(LeaseStatus.COOLING, wait=600.0, token=self.token)

    def died(self, key: TokenKey, *, generation: int, code: int, path: str) -> None:
        self.told.append((generation, code, path))


def test_the_store_hears_which_call_was_refused() -> None:
    """Code and path of the first report go to the store, once for each token."""

    async def main() -> None:
        store = Kept()
        keeper = Fleet().keeper(store=store)
        value = await keeper.get()
        for path in ("/a", "/b"):
            keeper.report_dead(value, 42001, path=path)
        assert store.told == [(1, 42001, "/a")]

    run(main())


def test_a_store_that_hears_badly_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a store makes of the report, the token is replaced."""

    class Deaf(Kept):
        def died(self, key: TokenKey, *, generation: int, code: int, path: str) -> None:
            raise RuntimeError("no")

    async def main() -> None:
        keeper = Fleet().keeper(store=Deaf())
        keeper.report_dead(await keeper.get(), 40001)
        assert (await keeper.get()).reveal() == "KEPT-2"

    run(main())
    assert "was told of a dead token" in caplog.text


@pytest.mark.parametrize("stable", [True, False])
def test_only_the_dead_token_is_called_dead(stable: bool) -> None:
    """The replacement may be due when it comes: asking on its account is no second report of a death."""

    async def main() -> None:
        store = Kept()
        keeper = Fleet(stable=stable).keeper(store=store)
        keeper.report_dead(await keeper.get(), 40001)
        assert (await keeper.get()).reveal() == "KEPT-2"
        assert store.reasons == [LeaseReason.DEAD, LeaseReason.DUE]

    run(main())


def test_most_stores_need_not_hear() -> None:
    """The report is a courtesy: a store without an ear for it is a whole store, and keeps nothing elsewhere."""
    assert TokenStore.kept_elsewhere is False
    assert MemoryTokenStore().died(TokenKey("wx1", "plain"), generation=1, code=40001, path="/") is None
