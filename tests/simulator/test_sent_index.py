"""What was sent is found by number and by key, however much was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.moments import little_work
from wxmp import Client
from wxmp.simulator import Policy, Simulator
from wxmp.simulator.sent import SentIndex
from wxmp.simulator.state import Sent

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = {"thing1": "x"}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(policy=Policy(sent_kept=3), seed=1, followers=6) as running:
        yield running


async def test_duplicates_survive_a_snapshot(simulator: Simulator):
    """A key is known to a restored world, and forgotten with its message and after its time."""
    world, account = simulator.world, simulator.account
    template_id = world.add_template("发货", "{{thing1.DATA}}")
    first, *others = account.users
    async with Client(account.appid, account.secret, base_url=simulator.url) as client:

        async def send(openid: str, key: str) -> int:
            receipt = await client.template.send(openid, template_id=template_id, data=DATA, client_msg_id=key)
            return receipt.msg_id

        number = await send(first, "a")
        assert await send(first, "a") == number
        assert await send(others[0], "a") != number
        document = world.snapshot()
        world.restore(document)
        assert await send(first, "a") == number
        world.clock.advance(601)
        later = await send(first, "a")
        assert later != number
        assert await send(first, "a") == later
        for openid in others[1:4]:  # three are kept
            await send(openid, "a")
        assert await send(first, "a") != later
        world.reset()
        assert world.sent_index.number(world.account_of(None), later) is None


def test_a_later_message_of_the_same_key_stays(simulator: Simulator):
    """Forgetting an old message does not hide the new one with its key."""
    account, index = simulator.account, SentIndex()
    old, new = (Sent("template", at, "o1", {}, number, "", "key") for at, number in ((1.0, 1), (700.0, 2)))
    index.add(account, old)
    index.add(account, new)
    index.drop(account, old)
    assert index.key(account, "template", "o1", "key", after=100.0) is new
    assert (index.number(account, 1), index.number(account, 2)) == (None, new)
    assert index.key(account, "subscribe", "o1", "key", after=100.0) is None


def test_finding_does_not_take_longer_with_more():
    """Among fifty thousand messages one is found as fast as among few."""
    with Simulator(policy=Policy(sent_kept=100_000), seed=1, followers=1) as running:
        world, account = running.world, running.account
        for number in range(50_000):
            world.record_sent(account, Sent("template", 1.0, "o1", {}, number, "", f"{number}"))
        # Walking the list backwards takes some milliseconds each.
        with little_work(0.5):
            for number in range(1000):
                assert world.sent_index.key(account, "template", "o1", f"{number}", after=0.0) is not None
