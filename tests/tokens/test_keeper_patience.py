"""Somebody who waits in front of a screen is told soon, and told the true reason; a service waits as before."""

from __future__ import annotations

import asyncio

import pytest

from wxmp.errors import TransportError
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.store import TokenKey

from .test_keeper import APPID, Fleet, Watched, scenario
from .virtual_time import now

REFUSED = "cannot connect: Connection refused"


@scenario(stable=True)
async def test_patience_ends_before_the_wait_timeout(fleet: Fleet) -> None:
    """With two seconds of patience it is over within two, and one or two requests were made, not five."""
    fleet.platform.always = TransportError(REFUSED, maybe_acted=False)
    started = now()
    with pytest.raises(TransportError, match=REFUSED):
        await fleet.keeper().get(patience=2.0)
    assert now() - started <= 2.0
    assert 1 <= fleet.platform.count <= 2


@scenario(stable=True)
async def test_without_patience_it_waits_as_long_as_the_policy_says(fleet: Fleet) -> None:
    """A service outlives a fault of some seconds."""
    fleet.platform.script.extend([TransportError(REFUSED, maybe_acted=False)] * 2)
    assert fleet.platform.good(await fleet.keeper().get())


@scenario(stable=True)
async def test_a_refresh_of_somebody_else_is_waited_for_whatever_the_patience(fleet: Fleet) -> None:
    """Patience is about failures: a token that is on its way comes."""
    fleet.platform.script.append(4.0)
    slow, waiting = fleet.keeper(), fleet.keeper()
    slow.peek()
    first = slow._flight()
    assert first is not None
    assert fleet.platform.good(await waiting.get(patience=0.0))
    await first
    assert fleet.platform.count == 1


@scenario(stable=True)
async def test_a_cool_down_repeats_the_cause_that_this_process_has_met(fleet: Fleet) -> None:
    """While nobody may ask, the reader still gets the first cause, and that nothing was sent this time."""
    fleet.platform.always = TransportError(REFUSED, maybe_acted=True)
    keeper = fleet.keeper()
    with pytest.raises(TransportError, match=REFUSED):
        await keeper.get()  # until its time is over: by then the store cools down
    asked = fleet.platform.count
    await asyncio.sleep(1.5)  # until it looks into the store again
    with pytest.raises(TransportError, match=REFUSED) as found:
        await keeper.get(patience=0.0)
    assert fleet.platform.count == asked
    assert not found.value.maybe_acted


@scenario(stable=True)
async def test_a_cool_down_of_others_says_how_long_it_lasts(fleet: Fleet) -> None:
    """A process that was never refused itself is told what happened, and when the next try is due."""
    fleet.store = Watched()
    key = TokenKey(APPID, "stable")
    lease = await MemoryTokenStore.lease(fleet.store, key, owner="other", ttl=10.0, expect=0)
    await MemoryTokenStore.fail(fleet.store, key, owner="other", fence=lease.fence, code=0, cool_down=30.0)
    with pytest.raises(TransportError, match=r"got no usable answer, the next one is due in (29|30) s"):
        await fleet.keeper().get(patience=1.0)
    assert fleet.platform.count == 0
