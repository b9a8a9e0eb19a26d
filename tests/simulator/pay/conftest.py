"""Fixtures for the payment tests: a shop with the default merchant's keys, and somebody who buys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator.pay.merchant import Shop
from wxmp.simulator.pay import ledger

if TYPE_CHECKING:
    from wxmp.simulator import Phone, World


@pytest.fixture
def shop(world: World) -> Shop:
    """The server of the default merchant."""
    return Shop(world, ledger.default_merchant(world))


@pytest.fixture
def buyer(world: World) -> Phone:
    """A follower's phone."""
    return world.phone(world.create_followers(1)[0])
