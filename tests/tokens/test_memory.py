"""What only the memory store has: its clocks, its arguments, its locks."""

from __future__ import annotations

import math
import os
import pickle
import signal

import pytest

from wxmp.errors import ConfigError
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.store import LeaseReason, LeaseStatus, ReplacementBudget, TokenKey

KEY = TokenKey("wx1", "plain")
BEIJING_NOON = 1_700_020_800.0


@pytest.fixture
def store(clock) -> MemoryTokenStore:
    return MemoryTokenStore(clock=clock, wall=clock.wall)


async def test_a_call_never_gives_way_to_others(store):
    """No verb has an await inside: it is over when the first step of its coroutine is."""
    for call in (
        store.read(KEY),
        store.lease(KEY, owner="a", ttl=1, expect=0),
        store.commit(KEY, fence=9, value="t", life=1),
        store.fail(KEY, owner="a", fence=1),
        store.seed(KEY, value="t", generation=1, life=1, left=1),
    ):
        with pytest.raises(StopIteration):
            call.send(None)


async def test_the_forced_allowance_begins_anew_at_midnight_in_beijing(store, clock):
    """Twenty forced refreshes just before midnight in Beijing do not count a minute after it."""
    clock.advance(12 * 3600 - 20 * 31 - 60)
    for _ in range(20):
        lease = await store.lease(KEY, owner="a", ttl=1, expect=0, reason=LeaseReason.FORCED)
        assert lease.status is LeaseStatus.HELD
        clock.advance(31)
    lease = await store.lease(KEY, owner="a", ttl=1, expect=0, reason=LeaseReason.FORCED)
    assert lease.status is LeaseStatus.LIMITED
    assert lease.wait == pytest.approx(60)
    clock.advance(lease.wait)
    lease = await store.lease(KEY, owner="a", ttl=1, expect=0, reason=LeaseReason.FORCED)
    assert lease.status is LeaseStatus.HELD


async def test_a_wall_clock_that_jumps_changes_no_times(store, clock):
    """Only the day of the forced refreshes goes by the wall clock."""
    lease = await store.lease(KEY, owner="a", ttl=10, expect=0)
    await store.commit(KEY, fence=lease.fence, value="t", life=7200)
    await store.lease(KEY, owner="a", ttl=10, expect=lease.fence)
    before = await store.read(KEY)
    for jump in (3 * 3600, -6 * 3600):
        clock.wall_offset += jump
        assert await store.read(KEY) == before


async def test_a_token_ends_exactly_at_its_end(store, clock):
    """At the end of its life a token is no token any more, a millisecond before it still is."""
    await store.commit(KEY, fence=5, value="t", life=10)
    clock.advance(9.999)
    assert (await store.read(KEY)).token is not None
    clock.advance(0.001)
    assert (await store.read(KEY)).token is None


async def test_a_refill_keeps_what_was_already_waited(store, clock):
    """Half a refill time before a replacement counts towards the next one."""
    budget = ReplacementBudget(burst=2, refill=60)
    for _ in range(2):
        await store.lease(KEY, owner="a", ttl=1, expect=0, reason=LeaseReason.DEAD, budget=budget)
    clock.advance(90)
    lease = await store.lease(KEY, owner="a", ttl=1, expect=0, reason=LeaseReason.DEAD, budget=budget)
    assert lease.status is LeaseStatus.HELD
    lease = await store.lease(KEY, owner="a", ttl=1, expect=0, reason=LeaseReason.DEAD, budget=budget)
    assert (lease.status, lease.wait) == (LeaseStatus.LIMITED, 30)


async def test_a_clock_that_stepped_back_stops_neither_allowance(store, clock):
    """Budget and distance go on from the new time instead of standing still."""
    budget = ReplacementBudget(burst=1, refill=60)
    dead = {"owner": "a", "ttl": 1, "expect": 0, "reason": LeaseReason.DEAD, "budget": budget}
    forced = {"owner": "a", "ttl": 1, "expect": 0, "reason": LeaseReason.FORCED}
    for arguments in (dead, forced):
        assert (await store.lease(KEY, **arguments)).status is LeaseStatus.HELD
    clock.advance(-500)
    for _ in range(3):
        assert (await store.lease(KEY, **dead)).wait == 60
        assert (await store.lease(KEY, **forced)).wait == 30
    clock.advance(60)
    for arguments in (dead, forced):
        assert (await store.lease(KEY, **arguments)).status is LeaseStatus.HELD


async def test_a_life_above_a_day_is_cut(store):
    """No credential lives longer than a day, whatever was promised."""
    await store.commit(KEY, fence=5, value="t", life=math.inf)
    token = (await store.read(KEY)).token
    assert token is not None
    assert (token.life, token.left) == (86_400, 86_400)


async def test_a_seed_of_an_ended_token_is_refused(store):
    """Only a token that is still good is put back."""
    assert not await store.seed(KEY, value="t", generation=5, life=10, left=0)
    assert not await store.seed(KEY, value="t", generation=5, life=10, left=-3)


BAD = [
    ("ttl", "lease", {"ttl": 0.0}),
    ("ttl", "lease", {"ttl": 301.0}),
    ("ttl", "lease", {"ttl": math.inf}),
    ("ttl", "lease", {"ttl": math.nan}),
    ("owner", "lease", {"owner": ""}),
    ("owner", "lease", {"owner": "x" * 129}),
    ("owner", "lease", {"owner": "a\0b"}),
    ("credential", "lease", {"credential": "a\r\nb"}),
    ("expect", "lease", {"expect": -1}),
    ("hint", "lease", {"hint": 1 << 60}),
    ("value", "commit", {"value": ""}),
    ("value", "commit", {"value": "secret-token\r\nX: y"}),
    ("value", "commit", {"value": "secret token"}),
    ("value", "commit", {"value": "secret-token" * 200}),
    ("fence", "commit", {"fence": 0}),
    ("fence", "commit", {"fence": True}),
    ("life", "commit", {"life": math.nan}),
    ("life", "commit", {"life": "7200"}),
    ("hold_off", "commit", {"hold_off": math.nan}),
    ("code", "fail", {"code": "40001"}),
    ("cool_down", "fail", {"cool_down": math.nan}),
    ("generation", "seed", {"generation": 0}),
    ("value", "seed", {"value": "secret-tökén"}),
    ("left", "seed", {"left": math.nan}),
]
GOOD = {
    "lease": {"owner": "a", "ttl": 10.0, "expect": 0},
    "commit": {"fence": 5, "value": "secret-token", "life": 10.0},
    "fail": {"owner": "a", "fence": 5},
    "seed": {"value": "secret-token", "generation": 5, "life": 10.0, "left": 10.0},
}


@pytest.fixture(params=["memory", "file", "redis"])
def any_store(request, tmp_path):
    if request.param == "file":
        from wxmp.tokens.file import FileTokenStore

        return FileTokenStore(tmp_path / "tokens")
    if request.param == "redis":
        from wxmp.tokens.redis import RedisTokenStore

        return RedisTokenStore("redis://127.0.0.1:1")  # arguments are checked before anybody is asked
    return MemoryTokenStore()


@pytest.mark.parametrize(("field", "verb", "change"), BAD)
async def test_arguments_that_cannot_work_are_named(any_store, field, verb, change):
    """Every store refuses a bad argument before it does anything, names it, and shows no token."""
    with pytest.raises(ConfigError) as caught:
        await getattr(any_store, verb)(KEY, **(GOOD[verb] | change))
    assert caught.value.field == field
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "../../x", "a/b", "a\0", "a\n", "wx1 ", "ä", "x" * 10_000, "{wx}"])
def test_names_that_could_leave_their_place_are_refused(name):
    """An AppID or channel that could end up elsewhere in a path or key is no key."""
    with pytest.raises(ConfigError):
        TokenKey(name, "plain")
    with pytest.raises(ConfigError):
        TokenKey("wx1", name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
async def test_a_forked_child_is_not_held_up_by_its_parents_lock(store):
    """A lock that another thread held at the moment of the fork does not block the child."""
    await store.commit(KEY, fence=5, value="t", life=10)
    with store._lock:
        pid = os.fork()
        if pid == 0:
            signal.alarm(5)
            try:
                store.read(KEY).send(None)
            except StopIteration as done:
                os._exit(0 if done.value.token.value == "t" else 3)
            finally:
                os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_store_does_not_pickle():
    """A pickle of a store would be a file with tokens in it."""
    with pytest.raises(TypeError):
        pickle.dumps(MemoryTokenStore())
