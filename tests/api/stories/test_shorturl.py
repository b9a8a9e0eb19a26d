"""Short keys on the simulated platform: kept for a while, for one account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from wxmp import ArgumentError, NotFoundError

if TYPE_CHECKING:
    from wxmp.pytest_plugin import WxSim

pytestmark = pytest.mark.wx_sim(clock="frozen")


async def test_what_is_kept_comes_back(wx_sim: WxSim) -> None:
    """The data of the greatest size, the instant, and the seconds left are those of the platform's clock."""
    client, data = wx_sim.client(), "数" * 1365 + "x"
    key = await client.shorturl.create(data, expire_seconds=3_600)
    created = datetime.fromtimestamp(int(wx_sim.clock.now()), UTC)
    assert len(key) == 15
    assert key.isalnum()
    wx_sim.clock.advance(600)
    found = await client.shorturl.fetch(key)
    assert (found.long_data, found.create_time, found.expire_seconds) == (data, created, 3_000)
    assert found.extra == {}
    assert wx_sim.findings == []


async def test_a_key_runs_out(wx_sim: WxSim) -> None:
    """After its life a key is unknown; without a wish that is thirty days."""
    client = wx_sim.client()
    short, long = await client.shorturl.create("x", expire_seconds=60), await client.shorturl.create("x")
    assert (await client.shorturl.fetch(long)).expire_seconds == 2_592_000
    wx_sim.clock.advance(60)
    with pytest.raises(NotFoundError) as caught:
        await client.shorturl.fetch(short)
    assert caught.value.errcode == 9410012
    wx_sim.clock.advance(2_592_000 - 61)
    assert (await client.shorturl.fetch(long)).expire_seconds == 1
    wx_sim.clock.advance(1)
    with pytest.raises(NotFoundError):
        await client.shorturl.fetch(long)


async def test_the_same_data_has_many_keys(wx_sim: WxSim) -> None:
    """Each call makes another key, and each works."""
    client = wx_sim.client()
    keys = [await client.shorturl.create("x") for _ in range(3)]
    assert len(set(keys)) == 3
    assert {(await client.shorturl.fetch(key)).long_data for key in keys} == {"x"}


async def test_a_key_belongs_to_its_account(wx_sim: WxSim) -> None:
    """Another account does not know it."""
    key = await wx_sim.client().shorturl.create("x")
    other = wx_sim.world.add_account()
    with pytest.raises(NotFoundError):
        await wx_sim.client(appid=other.appid).shorturl.fetch(key)


async def test_a_broken_connection(wx_sim: WxSim) -> None:
    """A repeat leaves a key behind that nobody has heard of; the one that is returned works."""
    client = wx_sim.client()
    wx_sim.faults.add("reset_after", path="/cgi-bin/shorten/gen", times=1)
    key = await client.shorturl.create("x")
    assert wx_sim.calls("/cgi-bin/shorten/gen") == 2
    assert (await client.shorturl.fetch(key)).long_data == "x"


@pytest.mark.wx_sim(policy={"short_key_bytes": 10, "short_key_seconds": 60})
async def test_refusals_of_a_stricter_platform(wx_sim: WxSim) -> None:
    """What passes here and is refused there is an ArgumentError with the platform's code."""
    client = wx_sim.client()
    with pytest.raises(ArgumentError) as long:
        await client.shorturl.create("x" * 11)
    with pytest.raises(ArgumentError) as life:
        await client.shorturl.create("x", expire_seconds=61)
    assert (long.value.errcode, life.value.errcode) == (9410010, 9410011)
    assert wx_sim.calls("/cgi-bin/shorten/gen") == 2


async def test_limits_are_the_same_on_both_sides(wx_sim: WxSim) -> None:
    """What is refused before sending never reaches the platform."""
    client = wx_sim.client()
    for data, seconds in (("", None), ("x" * 4097, None), ("x", 0), ("x", 2_592_001)):
        with pytest.raises(ArgumentError):
            await client.shorturl.create(data, expire_seconds=seconds)
    assert wx_sim.calls("/cgi-bin/shorten/gen") == 0
