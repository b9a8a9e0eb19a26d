"""Every transition of the token keeper, on a virtual clock."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from wxmp._redact import Secret
from wxmp.config import TokenPolicy
from wxmp.errors import (
    APIError,
    BusyError,
    ConfigError,
    DeadTokenError,
    RateLimitError,
    ReplyError,
    TimedOutError,
    TokenStoreError,
    TokenStoreUnavailable,
    TransportError,
    WxmpError,
    api_error,
)
from wxmp.events import guarded
from wxmp.tokens._flight import cool_down_after
from wxmp.tokens.keeper import TokenKeeper
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.store import LeaseStatus, TokenKey

from .fake_platform import FakePlatform, busy
from .virtual_time import VirtualLoop, now, run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wxmp.events import Event

APPID = "wxtest0000000001"


class Watched(MemoryTokenStore):
    """A memory store that counts its operations and can fail, be slow, or forget."""

    def __init__(self) -> None:
        super().__init__(clock=now)
        self.operations: list[str] = []
        self.down: set[str] = set()
        self.delay: dict[str, float] = {}

    async def _before(self, name: str) -> None:
        self.operations.append(name)
        delay = self.delay.get(name, 0.0)
        if delay:
            await asyncio.sleep(delay)
        if name in self.down or "all" in self.down:
            raise TokenStoreError("connection refused", store="watched")

    async def read(self, key: TokenKey) -> Any:
        await self._before("read")
        return await super().read(key)

    async def lease(self, key: TokenKey, **kw: Any) -> Any:
        await self._before("lease")
        return await super().lease(key, **kw)

    async def commit(self, key: TokenKey, **kw: Any) -> Any:
        await self._before("commit")
        return await super().commit(key, **kw)

    async def fail(self, key: TokenKey, **kw: Any) -> Any:
        await self._before("fail")
        return await super().fail(key, **kw)

    async def seed(self, key: TokenKey, **kw: Any) -> Any:
        await self._before("seed")
        return await super().seed(key, **kw)


class Fleet:
    """Several keepers ("processes") on one store and one platform."""

    def __init__(self, *, stable: bool = False, life: float = 7200.0, policy: TokenPolicy | None = None) -> None:
        self.channel = "stable" if stable else "plain"
        self.platform = FakePlatform(stable=stable, life=life)
        self.store = Watched()
        self.policy = policy or TokenPolicy()
        self.events: list[Event] = []
        self.keepers: list[TokenKeeper] = []

    def keeper(self, *, store: Any = None, credential: str = "c1") -> TokenKeeper:
        keeper = TokenKeeper(
            TokenKey(APPID, self.channel),
            store=store or self.store,
            fetch=self.platform.fetch,
            endpoint="GET /cgi-bin/token",
            policy=self.policy,
            credential=lambda: credential,
            on_event=self.events.append,
            clock=now,
        )
        self.keepers.append(keeper)
        return keeper

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    async def call(self, keeper: TokenKeeper, *, code: int = 40001, replacements: int = 2) -> Secret:
        """A business call: use the token; when the platform refuses it, report and repeat."""
        for _ in range(replacements + 1):
            token = keeper.peek() or await keeper.get()
            if self.platform.good(token):
                return token
            if not keeper.report_dead(token, code, path="/x"):
                break
        raise api_error(code, "dead")

    async def close(self) -> None:
        for keeper in self.keepers:
            await keeper.aclose()


def scenario(**fleet_options: Any) -> Callable[[Callable[[Fleet], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Run the decorated coroutine with a fleet, in virtual time."""

    def wrap(body: Callable[[Fleet], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        def test() -> None:
            async def main() -> None:
                fleet = Fleet(**fleet_options)
                await body(fleet)
                await fleet.close()

            run(main())

        test.__name__ = body.__name__
        test.__doc__ = body.__doc__
        return test

    return wrap


# ---- the normal road


@scenario()
async def test_cold_start_of_many_callers_and_processes_is_one_request(fleet: Fleet) -> None:
    """6 processes with 16 callers each start cold and cause one token request."""
    keepers = [fleet.keeper() for _ in range(6)]
    fleet.platform.script.append(0.7)
    tokens = await asyncio.gather(*(keeper.get() for keeper in keepers for _ in range(16)))
    assert fleet.platform.count == 1
    assert {token.reveal() for token in tokens} == {"TOKEN-1"}


@scenario()
async def test_hot_path_asks_nobody(fleet: Fleet) -> None:
    """10,000 calls between two checks make no store operation."""
    keeper = fleet.keeper()
    await keeper.get()
    before = len(fleet.store.operations)
    for _ in range(10_000):
        assert keeper.peek() is not None
    await asyncio.sleep(0)
    assert len(fleet.store.operations) == before


@scenario()
async def test_a_token_life_costs_three_round_trips_besides_checks(fleet: Fleet) -> None:
    """A refresh is read, lease, commit: three store operations."""
    keeper = fleet.keeper()
    await keeper.get()
    assert fleet.store.operations == ["read", "lease", "commit"]


@scenario()
async def test_checks_read_once_per_interval(fleet: Fleet) -> None:
    """A busy process looks into the store about every 30 seconds and reads only."""
    keeper = fleet.keeper()
    await keeper.get()
    fleet.store.operations.clear()
    end = now() + 600
    while now() < end:
        assert keeper.peek() is not None
        await asyncio.sleep(0.5)
    assert set(fleet.store.operations) == {"read"}
    assert 16 <= len(fleet.store.operations) <= 25


@pytest.mark.parametrize(("life", "earliest", "latest"), [(7200, 3600, 3600 + 288), (600, 300, 324), (40, 20, 21.6)])
def test_plain_renewal_begins_at_half_of_the_life(life: float, earliest: float, latest: float) -> None:
    """On the plain channel a refresh begins at half of the life, at most an hour before the end."""

    async def main() -> None:
        fleet = Fleet(life=life)
        keeper = fleet.keeper()
        started = now()
        await keeper.get()
        while fleet.platform.count == 1:
            assert keeper.peek() is not None
            await asyncio.sleep(0.05 if life < 100 else 1)
        asked = fleet.platform.requests[1][0] - started
        assert earliest <= asked <= latest + 2
        await fleet.close()

    run(main())


@scenario(stable=True)
async def test_stable_renewal_begins_inside_the_overlap(fleet: Fleet) -> None:
    """On the stable channel a refresh begins 300 s before the end, minus a jitter below 60 s."""
    keeper = fleet.keeper()
    started = now()
    await keeper.get()
    while fleet.platform.count == 1:
        assert keeper.peek() is not None
        await asyncio.sleep(1)
    asked = fleet.platform.requests[1][0] - started
    assert 6900 <= asked <= 6962


@scenario()
async def test_planned_refresh_delays_nobody(fleet: Fleet) -> None:
    """While a slow planned refresh runs, the old token is served without waiting."""
    keeper = fleet.keeper()
    await keeper.get()
    fleet.platform.script.append(4.5)
    await asyncio.sleep(3900)
    for _ in range(40):
        before = now()
        token = await fleet.call(keeper)
        assert now() == before
        assert token.reveal() == "TOKEN-1"
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    assert (await fleet.call(keeper)).reveal() == "TOKEN-2"
    assert fleet.platform.count == 2


@scenario()
async def test_six_processes_live_a_day_with_one_request_per_half_life(fleet: Fleet) -> None:
    """A busy fleet of six makes about 24 requests a day, whatever its size."""
    keepers = [fleet.keeper() for _ in range(6)]
    end = now() + 86_400
    while now() < end:
        for keeper in keepers:
            await fleet.call(keeper)
        await asyncio.sleep(5)
    assert 22 <= fleet.platform.count <= 25
    assert "dead_reported" not in fleet.names()


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("life", [2.0, 5.0, 20.0])
def test_short_lives_do_not_spin(life: float, stable: bool) -> None:
    """A life of seconds causes a bounded number of requests per life."""

    async def main() -> None:
        fleet = Fleet(stable=stable, life=life)
        keeper = fleet.keeper()
        end = now() + 10 * life
        while now() < end:
            await keeper.get()
            await asyncio.sleep(life / 50)
        assert fleet.platform.count <= 10 * 22
        await fleet.close()

    run(main())


# ---- dead tokens


@pytest.mark.parametrize("code", [40001, 42001, 40014, 48012])
def test_killed_token_is_replaced_once(code: int) -> None:
    """Any of the dead-token codes, reported by everybody at once, causes one replacement and no error."""

    async def main() -> None:
        fleet = Fleet()
        keepers = [fleet.keeper() for _ in range(4)]
        await asyncio.gather(*(fleet.call(keeper) for keeper in keepers))
        fleet.platform.kill()
        await asyncio.gather(*(fleet.call(keeper, code=code) for keeper in keepers for _ in range(10)))
        assert fleet.platform.count == 2
        await fleet.close()

    run(main())


@scenario()
async def test_report_of_an_old_token_does_nothing(fleet: Fleet) -> None:
    """A late report about a token that was replaced already causes no request."""
    keeper = fleet.keeper()
    old = await keeper.get()
    fleet.platform.kill()
    await fleet.call(keeper)
    assert keeper.report_dead(old, 40001) is True
    await keeper.get()
    assert fleet.platform.count == 2


@scenario()
async def test_outsider_who_fetches_once(fleet: Fleet) -> None:
    """Another system fetches once: our token dies after its five minutes and is replaced once."""
    keeper = fleet.keeper()
    await keeper.get()
    fleet.platform.outsider()
    end = now() + 900
    while now() < end:
        await fleet.call(keeper)
        await asyncio.sleep(10)
    assert fleet.platform.count == 2


@scenario()
async def test_replacements_are_bounded_when_every_token_is_dead(fleet: Fleet) -> None:
    """Every new token is dead on arrival: ten replacements, then a typed error and one warning event."""
    keepers = [fleet.keeper() for _ in range(3)]
    await keepers[0].get()
    failures = 0
    for round_number in range(40):
        for keeper in keepers:
            fleet.platform.kill()
            token = keeper.peek()
            if token is not None:
                keeper.report_dead(token, 40001, path=f"/{round_number}")
            (result,) = await asyncio.gather(keeper.get(), return_exceptions=True)
            if isinstance(result, DeadTokenError):
                failures += 1
                assert result.errcode == 40001
                assert "another system" in result.advice
    assert fleet.platform.count <= 11
    assert failures > 50
    assert 1 <= fleet.names().count("budget_exhausted") <= 3
    await asyncio.sleep(61)
    assert isinstance(await keepers[0].get(), Secret)
    assert fleet.platform.count <= 13


@scenario()
async def test_penalty_box(fleet: Fleet) -> None:
    """A path that was refused with every token causes no replacement for a minute; other paths do."""
    keeper = fleet.keeper()
    token = await keeper.get()
    keeper.penalise("/bad")
    assert keeper.report_dead(token, 40001, path="/bad") is False
    assert keeper.peek() is not None
    await asyncio.sleep(61)
    assert keeper.report_dead(token, 40001, path="/bad") is True
    assert keeper.peek() is None


@scenario()
async def test_penalty_does_not_keep_a_replaced_token(fleet: Fleet) -> None:
    """A path in the penalty box is repeated when the token was replaced meanwhile."""
    keeper = fleet.keeper()
    old = await keeper.get()
    fleet.platform.kill()
    await fleet.call(keeper)
    keeper.penalise("/bad")
    assert keeper.report_dead(old, 40001, path="/bad") is True


# ---- failures of the platform


@pytest.mark.parametrize(
    "failure",
    [
        busy(),
        TransportError("HTTP status 502", maybe_acted=True),
        TransportError("connection reset", maybe_acted=True),
        ReplyError("not JSON"),
        api_error(45011, "minute quota"),
    ],
    ids=lambda error: type(error).__name__ + str(getattr(error, "errcode", "")),
)
def test_passing_failures_while_the_old_token_works(failure: WxmpError) -> None:
    """A failing endpoint is asked a few times with growing pauses, and no caller notices."""

    async def main() -> None:
        fleet = Fleet()
        keepers = [fleet.keeper() for _ in range(4)]
        await asyncio.gather(*(keeper.get() for keeper in keepers))
        await asyncio.sleep(3900)
        fleet.platform.always = failure
        end = now() + 120
        while now() < end:
            for keeper in keepers:
                await fleet.call(keeper)
            await asyncio.sleep(0.25)
        assert 5 <= fleet.platform.count <= 12
        fleet.platform.always = None
        await asyncio.sleep(35)
        for keeper in keepers:
            await fleet.call(keeper)
        await asyncio.sleep(2)
        assert fleet.names().count("refreshed") == 2
        await fleet.close()

    run(main())


@scenario()
async def test_cold_start_waits_out_a_passing_failure(fleet: Fleet) -> None:
    """A busy platform costs a cold call a second or two, not an error."""
    fleet.platform.script.extend([busy(), busy()])
    keepers = [fleet.keeper() for _ in range(3)]
    started = now()
    await asyncio.gather(*(keeper.get() for keeper in keepers for _ in range(5)))
    assert fleet.platform.count == 3
    assert now() - started < 6


@scenario()
async def test_hanging_endpoint_is_left_after_five_seconds(fleet: Fleet) -> None:
    """A token request that hangs is given up after 5 s; the next one comes soon after: two requests, no error."""
    fleet.platform.script.append(3600.0)
    keepers = [fleet.keeper() for _ in range(3)]
    started = now()
    await asyncio.gather(*(keeper.get() for keeper in keepers))
    assert fleet.platform.count == 2
    assert 5 <= now() - started <= 8


@scenario()
async def test_lost_answer(fleet: Fleet) -> None:
    """An answer lost after issuing means one more request, well inside the overlap, and no error."""
    keeper = fleet.keeper()
    await keeper.get()
    await asyncio.sleep(3900)
    fleet.platform.script.append("lost")
    end = now() + 400
    while now() < end:
        await fleet.call(keeper)
        await asyncio.sleep(0.5)
    assert fleet.platform.count == 3
    assert fleet.platform.requests[2][0] - fleet.platform.requests[1][0] < 10


@pytest.mark.parametrize(
    ("code", "cool"), [(40164, 30), (40125, 60), (40013, 60), (89503, 60), (89507, 3600), (45009, 600)]
)
def test_permanent_failures_from_cold(code: int, cool: float) -> None:
    """A permanent error is typed, immediate, and asked about once per cool-down by the whole fleet."""

    async def main() -> None:
        fleet = Fleet()
        fleet.platform.always = api_error(code, "refused 203.0.113.7", token_request=True)
        keepers = [fleet.keeper() for _ in range(5)]
        started = now()
        results = await asyncio.gather(*(k.get() for k in keepers for _ in range(8)), return_exceptions=True)
        assert now() - started < 1
        assert {type(result) for result in results} == {type(fleet.platform.always)}
        assert {result.errcode for result in results if isinstance(result, APIError)} == {code}
        assert len({id(result) for result in results}) == len(results)
        end = now() + cool * 0.95
        while now() < end:
            for keeper in keepers:
                with pytest.raises(type(fleet.platform.always)):
                    await keeper.get()
            await asyncio.sleep(cool / 50)
        assert fleet.platform.count == 1
        await asyncio.sleep(cool * 0.1)
        with pytest.raises(APIError):
            await keepers[0].get()
        assert fleet.platform.count == 2
        await fleet.close()

    run(main())


@scenario()
async def test_changed_secret_starts_clean(fleet: Fleet) -> None:
    """A cool-down that was earned with another AppSecret does not hold up a corrected one."""
    fleet.platform.always = api_error(40125, "invalid appsecret", token_request=True)
    with pytest.raises(APIError):
        await fleet.keeper(credential="wrong").get()
    fleet.platform.always = None
    assert (await fleet.keeper(credential="right").get()).reveal() == "TOKEN-1"


@scenario()
async def test_daily_quota_serves_the_old_token_to_its_end(fleet: Fleet) -> None:
    """45009 when a refresh is due: the old token is served, a handful of requests are made."""
    keeper = fleet.keeper()
    await keeper.get()
    await asyncio.sleep(3900)
    fleet.platform.always = api_error(45009, "quota", token_request=True)
    end = now() + 3100
    while now() < end:
        assert (await fleet.call(keeper)).reveal() == "TOKEN-1"
        await asyncio.sleep(5)
    assert fleet.platform.count <= 8


@pytest.mark.parametrize(
    ("code", "count", "low", "high"),
    [
        (0, 1, 0.75, 1),
        (0, 4, 6, 8),
        (0, 50, 22.5, 30),
        (-1, 2, 1.5, 2),
        (40125, 1, 60, 60),
        (40001, 1, 60, 60),
        (40243, 3, 240, 240),
        (48001, 1, 60, 60),
        (45011, 1, 0.75, 1),
        (40125, 9, 600, 600),
        (40164, 2, 60, 60),
        (89506, 1, 3600, 3600),
        (45009, 3, 600, 600),
    ],
)
def test_cool_downs(code: int, count: int, low: float, high: float) -> None:
    """Cool-downs start, double and end as specified."""
    assert low <= cool_down_after(code, count) <= high


# ---- holders that die, freeze or are late


@scenario()
async def test_takeover_from_a_dead_holder_cold(fleet: Fleet) -> None:
    """A holder dies before it has a token: the others take over when its lease ends, within the caller's patience."""
    key = TokenKey(APPID, "plain")
    lease = await fleet.store.lease(key, owner="dead", ttl=10, expect=0)
    assert lease.status is LeaseStatus.HELD
    keepers = [fleet.keeper() for _ in range(4)]
    started = now()
    await asyncio.gather(*(keeper.get() for keeper in keepers for _ in range(4)))
    assert fleet.platform.count == 1
    assert 9.9 <= now() - started <= 11


@scenario()
async def test_takeover_from_a_dead_holder_with_a_living_token(fleet: Fleet) -> None:
    """A holder dies during a planned refresh: nobody waits, somebody takes over."""
    keeper = fleet.keeper()
    await keeper.get()
    await asyncio.sleep(3900)
    record = await fleet.store.read(keeper.key)
    assert record.token is not None
    await fleet.store.lease(keeper.key, owner="dead", ttl=10, expect=record.token.generation)
    started = now()
    while fleet.platform.count == 1:
        before = now()
        await fleet.call(keeper)
        assert now() == before
        await asyncio.sleep(0.1)
    assert now() - started <= 12


@scenario()
async def test_frozen_holder_is_fenced_out(fleet: Fleet) -> None:
    """A holder freezes in its request, is overtaken, and thaws: its commit is refused, it adopts the newer token."""
    slow, quick = fleet.keeper(), fleet.keeper()
    frozen = asyncio.Event()

    async def freeze() -> None:
        frozen.set()
        await asyncio.sleep(4.9)

    async def lose_the_lease() -> None:
        # What a process that freezes for longer than its lease looks like to the store.
        fleet.store._records[slow.key].lu = 0

    fleet.platform.script.append(freeze)
    first = asyncio.create_task(slow.get())
    await frozen.wait()
    await lose_the_lease()
    assert (await quick.get()).reveal() == "TOKEN-1"
    late = await first
    record = await fleet.store.read(slow.key)
    assert record.token is not None
    assert record.token.value == "TOKEN-1"
    assert late.reveal() == "TOKEN-1"
    assert fleet.names().count("fenced_out") == 1
    assert fleet.platform.count == 2


@scenario()
async def test_frozen_holder_whose_request_fails_finds_the_newer_token(fleet: Fleet) -> None:
    """A holder that was overtaken while its request failed serves the newer token instead of raising."""
    slow, quick = fleet.keeper(), fleet.keeper()
    frozen = asyncio.Event()

    async def freeze_and_fail() -> None:
        frozen.set()
        await asyncio.sleep(4.9)
        raise busy()

    fleet.platform.script.append(freeze_and_fail)
    first = asyncio.create_task(slow.get())
    await frozen.wait()
    fleet.store._records[slow.key].lu = 0
    await quick.get()
    assert (await first).reveal() == "TOKEN-1"
    assert fleet.platform.count == 2
    assert (await fleet.store.read(slow.key)).failure is None


# ---- cancellation and shutdown


@scenario()
async def test_cancelled_callers_do_not_stop_the_refresh(fleet: Fleet) -> None:
    """80 % of the callers are cancelled during the fetch: it goes on, the rest are served, one request."""
    keeper = fleet.keeper()
    fleet.platform.script.append(2.0)
    callers = [asyncio.create_task(keeper.get()) for _ in range(50)]
    await asyncio.sleep(0.5)
    for caller in callers[:40]:
        caller.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 40
    assert sum(isinstance(result, Secret) for result in results) == 10
    assert fleet.platform.count == 1


@scenario()
async def test_refresh_goes_on_without_any_caller(fleet: Fleet) -> None:
    """All callers are gone: the flight still lands and its token is stored."""
    keeper = fleet.keeper()
    fleet.platform.script.append(2.0)
    caller = asyncio.create_task(keeper.get())
    await asyncio.sleep(0.5)
    caller.cancel()
    await asyncio.sleep(3)
    assert keeper.peek() is not None
    assert (await fleet.store.read(keeper.key)).token is not None


@scenario()
async def test_closing_gives_the_lease_back(fleet: Fleet) -> None:
    """A client that is closed while it refreshes holds nobody up."""
    keeper, other = fleet.keeper(), fleet.keeper()
    fleet.platform.script.append(4.0)
    caller = asyncio.create_task(keeper.get())
    await asyncio.sleep(0.5)
    started = now()
    await keeper.aclose()
    await keeper.aclose()
    assert now() - started <= 1
    with pytest.raises(ConfigError, match="closed"):
        await caller
    await other.get()
    assert now() - started < 1
    with pytest.raises(ConfigError, match="closed"):
        await fleet.keepers[0].get()


def test_cancellation_at_every_await_leaves_no_wedge() -> None:
    """Cancelling the flight at its n-th suspension, for all n, never blocks the next process beyond the lease."""

    async def one(n: int) -> bool:
        fleet = Fleet()
        for name in ("read", "lease", "commit", "fail"):
            fleet.store.delay[name] = 0.01
        fleet.platform.script.append(0.05)
        keeper, other = fleet.keeper(), fleet.keeper()
        caller = asyncio.create_task(keeper.get())
        hit = False
        for _ in range(n):
            await asyncio.sleep(0.004)
        for task in asyncio.all_tasks():
            if task.get_name() == "wxmp-token-flight":
                task.cancel()
                hit = True
        token = await other.get()
        assert fleet.platform.good(token)
        assert (await caller) is not None
        assert fleet.platform.count <= 2
        await fleet.close()
        return hit

    hits = [run(one(n)) for n in range(1, 40)]
    assert sum(hits) >= 10


# ---- the store goes away


@scenario()
async def test_emptied_store_is_seeded(fleet: Fleet) -> None:
    """FLUSHALL: the token in memory is put back, no request is made."""
    keeper = fleet.keeper()
    await keeper.get()
    fleet.store._records.clear()
    await asyncio.sleep(60)
    await fleet.call(keeper)
    await asyncio.sleep(0.01)
    record = await fleet.store.read(keeper.key)
    assert record.token is not None
    assert record.token.value == "TOKEN-1"
    assert 7100 < record.token.left < 7200
    assert fleet.platform.count == 1
    assert "seeded" in fleet.names()


@scenario()
async def test_store_with_an_older_token_is_seeded(fleet: Fleet) -> None:
    """A failover to a replica with an older token: the newer generation is put back."""
    keeper = fleet.keeper()
    await keeper.get()
    old = dict(fleet.store._records)
    import copy

    old = copy.deepcopy(old)
    await keeper.refresh()
    fleet.store._records.clear()
    fleet.store._records.update(old)
    await asyncio.sleep(60)
    await fleet.call(keeper)
    await asyncio.sleep(0.01)
    record = await fleet.store.read(keeper.key)
    assert record.token is not None
    assert record.token.value == "TOKEN-2"
    assert fleet.platform.count == 2


@scenario()
async def test_black_hole_adds_no_latency(fleet: Fleet) -> None:
    """A store that does not answer costs no caller anything while the token lives; the breaker leaves it alone."""
    keeper = fleet.keeper()
    await keeper.get()
    fleet.store.operations.clear()
    fleet.store.delay["read"] = 3600
    end = now() + 300
    while now() < end:
        before = now()
        await fleet.call(keeper)
        assert now() == before
        await asyncio.sleep(0.2)
    assert fleet.platform.count == 1
    assert len(fleet.store.operations) <= 60
    assert fleet.names().count("store_down") == 1
    fleet.store.delay.clear()
    await asyncio.sleep(10)
    await fleet.call(keeper)
    await asyncio.sleep(0.1)
    assert "store_up" in fleet.names()


@pytest.mark.parametrize("broken", ["all", "lease", "commit"])
def test_store_refuses_while_a_refresh_is_due(broken: str) -> None:
    """Refused connections, READONLY or OOM while a refresh is due: the old token is served, the refresh comes later."""

    async def main() -> None:
        fleet = Fleet()
        keepers = [fleet.keeper() for _ in range(3)]
        await asyncio.gather(*(keeper.get() for keeper in keepers))
        fleet.store.down.add(broken)
        await asyncio.sleep(3900)
        end = now() + 30
        while now() < end:
            for keeper in keepers:
                await fleet.call(keeper)
            await asyncio.sleep(0.2)
        fleet.store.down.clear()
        end = now() + 60
        while now() < end:
            for keeper in keepers:
                await fleet.call(keeper)
            await asyncio.sleep(0.2)
        assert fleet.platform.count <= (2 if broken != "commit" else 4)
        record = await fleet.store.read(keepers[0].key)
        assert record.token is not None
        assert fleet.platform.good(Secret(record.token.value))
        await fleet.close()

    run(main())


@scenario()
async def test_store_lost_between_fetch_and_commit(fleet: Fleet) -> None:
    """The store is lost after the fetch: the token is kept, and stored without a caller once the store is back."""
    keeper, other = fleet.keeper(), fleet.keeper()
    fleet.store.down.add("commit")
    assert (await keeper.get()).reveal() == "TOKEN-1"
    fleet.store.down.clear()
    await asyncio.sleep(2)
    assert (await other.get()).reveal() == "TOKEN-1"
    assert fleet.platform.count == 1


@scenario()
async def test_plain_channel_does_not_fetch_without_a_store(fleet: Fleet) -> None:
    """On the plain channel processes that fetch alone kill each other's tokens: TokenStoreUnavailable instead."""
    fleet.store.down.add("all")
    keeper = fleet.keeper()
    with pytest.raises(TokenStoreUnavailable) as caught:
        await keeper.get()
    assert caught.value.store == "memory"
    assert fleet.platform.count == 0
    fleet.store.down.clear()
    await asyncio.sleep(6)
    await keeper.get()


@scenario(stable=True)
async def test_stable_channel_fetches_alone_without_a_store(fleet: Fleet) -> None:
    """On the stable channel everybody gets the same token: each process fetches for itself and seeds later."""
    fleet.store.down.add("all")
    keepers = [fleet.keeper() for _ in range(3)]
    tokens = await asyncio.gather(*(keeper.get() for keeper in keepers for _ in range(5)))
    assert {token.reveal() for token in tokens} == {"TOKEN-1"}
    assert fleet.platform.count == 3
    fleet.store.down.clear()
    await asyncio.sleep(6)
    record = await fleet.store.read(keepers[0].key)
    assert record.token is not None
    assert record.token.value == "TOKEN-1"
    assert fleet.platform.count == 3


def test_on_store_down_is_a_setting() -> None:
    """``on_store_down="local"`` on the plain channel fetches for this process; failures back off locally."""

    async def main() -> None:
        fleet = Fleet(policy=TokenPolicy(on_store_down="local"))
        fleet.store.down.add("all")
        keeper = fleet.keeper()
        assert (await keeper.get()).reveal() == "TOKEN-1"
        other = Fleet(policy=TokenPolicy(on_store_down="local"))
        other.store.down.add("all")
        other.platform.always = api_error(40125, "x", token_request=True)
        lonely = other.keeper()
        for _ in range(20):
            with pytest.raises(APIError):
                await lonely.get()
        assert other.platform.count == 1
        await fleet.close()
        await other.close()

    run(main())


# ---- the stable channel


@scenario(stable=True)
async def test_same_token_again_is_normal(fleet: Fleet) -> None:
    """The platform returns the same token with less time left: it is kept, and nobody asks for a while."""
    keeper, other = fleet.keeper(), fleet.keeper()
    await keeper.get()
    await other.get()
    # The platform's own clock runs ahead: 400 s are left when the fleet thinks it is due.
    fleet.platform._ends["TOKEN-1"] += 200
    await asyncio.sleep(6965)
    started = len(fleet.platform.requests)
    end = now() + 60
    while now() < end:
        await fleet.call(keeper)
        await fleet.call(other)
        await asyncio.sleep(0.5)
    assert len(fleet.platform.requests) - started <= 5


@scenario(stable=True)
async def test_dead_token_returned_again_is_forced_once(fleet: Fleet) -> None:
    """The stable endpoint returns the dead token: ask again after 1..2 s, then force one refresh for the fleet."""
    keepers = [fleet.keeper() for _ in range(3)]
    tokens = await asyncio.gather(*(keeper.get() for keeper in keepers))
    for keeper in keepers:
        keeper.report_dead(tokens[0], 40001)
    started = now()
    replaced = await asyncio.gather(*(keeper.get() for keeper in keepers))
    assert {token.reveal() for token in replaced} == {"TOKEN-2"}
    assert [force for _, force in fleet.platform.requests] == [False, False, False, True]
    assert 1 <= now() - started <= 4


@scenario(stable=True)
async def test_dead_token_race_is_not_forced(fleet: Fleet) -> None:
    """Another system has just forced a refresh: the second ask returns the new token, nothing is forced."""
    keeper = fleet.keeper()
    token = await keeper.get()

    async def foreign_refresh_soon() -> None:
        asyncio.get_running_loop().call_later(0.5, fleet.platform.kill)

    fleet.platform.script.append(foreign_refresh_soon)
    keeper.report_dead(token, 40001)
    assert (await keeper.get()).reveal() == "TOKEN-2"
    assert [force for _, force in fleet.platform.requests] == [False, False, False]


@scenario(stable=True)
async def test_forcing_is_limited(fleet: Fleet) -> None:
    """An operator may force 20 times a day, 30 s apart; more is a typed error and no request."""
    keeper = fleet.keeper()
    await keeper.get()
    first = await keeper.refresh()
    assert first.reveal() == "TOKEN-2"
    before = fleet.platform.count
    with pytest.raises(RateLimitError) as caught:
        await keeper.refresh()
    assert caught.value.scope == "minute"
    assert fleet.platform.count == before
    assert keeper.peek() == first
    await asyncio.sleep(31)
    assert (await keeper.refresh()).reveal() == "TOKEN-3"


# ---- operators


@scenario()
async def test_operator_refresh_skips_the_cool_down_once(fleet: Fleet) -> None:
    """refresh() asks at once although a cool-down runs."""
    keeper = fleet.keeper()
    fleet.platform.always = api_error(40164, "ip", token_request=True)
    with pytest.raises(APIError):
        await keeper.get()
    fleet.platform.always = None
    assert (await keeper.refresh()).reveal() == "TOKEN-1"
    assert fleet.platform.count == 2


@scenario()
async def test_operator_refresh_reports_its_failure(fleet: Fleet) -> None:
    """refresh() raises when the platform refuses, and the old token stays in use."""
    keeper = fleet.keeper()
    await keeper.get()
    fleet.platform.script.append(busy())
    with pytest.raises(BusyError):
        await keeper.refresh()
    assert (await keeper.get()).reveal() == "TOKEN-1"


# ---- loops, threads, contexts


@pytest.mark.parametrize("debug", [False, True])
def test_one_keeper_in_three_event_loops(debug: bool) -> None:
    """The same keeper and store work in three consecutive asyncio.run()."""
    import time

    platform_box: list[FakePlatform] = []
    store = MemoryTokenStore()

    async def use(keeper: TokenKeeper) -> str:
        return (await keeper.get()).reveal()

    async def fetch(*, force: bool) -> Any:
        return await platform_box[0].fetch(force=force)

    platform_box.append(FakePlatform())
    keeper = TokenKeeper(TokenKey(APPID, "plain"), store=store, fetch=fetch, endpoint="x", clock=time.monotonic)
    assert [asyncio.run(use(keeper), debug=debug) for _ in range(3)] == ["TOKEN-1"] * 3
    assert platform_box[0].count == 1


def test_one_keeper_in_two_threads() -> None:
    """Two threads with a loop each share one token."""
    platform = FakePlatform()
    keeper = TokenKeeper(TokenKey(APPID, "plain"), store=MemoryTokenStore(), fetch=platform.fetch, endpoint="x")
    seen: list[str] = []

    def work() -> None:
        async def main() -> None:
            for _ in range(50):
                seen.append((await keeper.get()).reveal())
                await asyncio.sleep(0)

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(seen) == 100
    assert set(seen) == {"TOKEN-1"}
    assert platform.count == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks() -> None:
    """The eager task factory of Python 3.12 changes nothing."""

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        fleet = Fleet()
        keepers = [fleet.keeper() for _ in range(3)]
        await asyncio.gather(*(keeper.get() for keeper in keepers for _ in range(5)))
        fleet.platform.kill()
        await asyncio.gather(*(fleet.call(keeper) for keeper in keepers for _ in range(5)))
        assert fleet.platform.count == 2
        await fleet.close()

    run(main())


@scenario()
async def test_flight_does_not_keep_the_callers_context(fleet: Fleet) -> None:
    """The refresh does not run in the context of the call that started it: that call's span is not its parent."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen: list[str] = []

    async def look() -> None:
        seen.append(variable.get())

    fleet.platform.script.append(look)
    keeper = fleet.keeper()
    variable.set("the caller's request")
    await keeper.get()
    assert seen == ["none"]


# ---- status, events, hygiene


@scenario()
async def test_status_tells_all_but_the_token(fleet: Fleet) -> None:
    """The status holds generation, age, time left, last error and a fingerprint, never the value."""
    keeper = fleet.keeper()
    assert keeper.status().usable is False
    token = await keeper.get()
    await asyncio.sleep(100)
    status = keeper.status()
    assert status.usable is True
    assert 99 <= status.age <= 101
    assert 7099 <= status.seconds_left <= 7101
    assert status.generation > 0
    assert len(status.fingerprint) == 8
    assert token.reveal() not in repr(status)


@scenario()
async def test_events_tell_the_story(fleet: Fleet) -> None:
    """Cold fetch, adoption, death and replacement each send one event."""
    keeper, other = fleet.keeper(), fleet.keeper()
    await keeper.get()
    await other.get()
    fleet.platform.kill()
    await fleet.call(keeper)
    assert fleet.names() == ["refreshed", "adopted", "dead_reported", "refreshed"]
    assert fleet.events[0].seconds == 7200
    assert fleet.events[2].code == 40001
    assert fleet.events[3].reason == "dead"


@scenario()
async def test_a_raising_hook_harms_nothing(fleet: Fleet) -> None:
    """An exception in on_event is logged and dropped."""

    def hook(_: object) -> None:
        raise RuntimeError("hook")

    keeper = fleet.keeper()
    object.__setattr__(keeper._report, "hook", guarded(hook))
    assert (await keeper.get()).reveal() == "TOKEN-1"


@scenario()
async def test_patience_ends_with_a_typed_error(fleet: Fleet) -> None:
    """A platform that stays busy for longer than a caller waits: its own error, after 15 s at most."""
    fleet.platform.always = busy()
    keeper = fleet.keeper()
    started = now()
    with pytest.raises((BusyError, TimedOutError)):
        await keeper.get()
    assert 5 <= now() - started <= 15.1


def test_policy_is_checked_when_it_is_made() -> None:
    """Times that cannot work together are refused, naming the field."""
    for options, field in (
        ({"lease": 5.0}, "lease"),
        ({"wait_timeout": 10.0}, "wait_timeout"),
        ({"overlap": 15.0}, "lease"),
        ({"check_interval": 0}, "check_interval"),
        ({"store_timeout": float("inf")}, "store_timeout"),
        ({"on_store_down": "maybe"}, "on_store_down"),
    ):
        with pytest.raises(ConfigError) as caught:
            TokenPolicy(**options)  # type: ignore[arg-type]
        assert caught.value.field == field


def test_virtual_loop_notices_a_hang() -> None:
    """The loop used here does run out of patience: a test of the keeper can fail by hanging."""
    loop = VirtualLoop()
    assert loop.time() == 1000.0
    loop.close()


@scenario(stable=True)
async def test_operator_forces_during_a_cool_down(fleet: Fleet) -> None:
    """An operator's forced refresh goes through although an earlier refresh failed and its cool-down runs."""
    keeper = fleet.keeper()
    await keeper.get()
    await asyncio.sleep(6965)
    fleet.platform.script.append(api_error(40164, "ip", token_request=True))
    await fleet.call(keeper)
    await asyncio.sleep(0.1)
    assert "refresh_failed" in fleet.names()
    assert (await keeper.refresh()).reveal() == "TOKEN-2"
