"""Fixtures for the payment tests: a simulated WeChat Pay, its default merchant, and a client for that merchant."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wxmp.pay import PayClient
from wxmp.retry import RetryPolicy
from wxmp.simulator import Simulator
from wxmp.simulator.pay import ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from wxmp.simulator.pay.records import Merchant

#: Repeats without waiting; every test that counts attempts counts these.
QUICK = RetryPolicy(attempts=4, initial_wait=0.001, max_wait=0.002)
NOTIFY_URL = "https://shop.example.com/pay"


@cache
def private_key(pem: str) -> Any:
    """Read a key once for all tests: its check takes longer than a test."""
    return load_pem_private_key(pem.encode(), None)


def pay_settings(simulator: Simulator, merchant: Merchant, **changes: Any) -> dict[str, Any]:
    """Return the arguments of a client for a merchant of a simulator; ``None`` in ``changes`` takes one away."""
    settings: dict[str, Any] = {
        "mchid": merchant.mchid,
        "private_key": private_key(merchant.private_key),
        "serial": merchant.serial,
        "api_v3_key": merchant.api_v3_key,
        "appid": merchant.appids[0],
        "notify_url": NOTIFY_URL,
        "base_url": simulator.url,
        "retry": QUICK,
    }
    if merchant.public_key_id:
        settings |= {"public_key": merchant.platform_public_key, "public_key_id": merchant.public_key_id}
    return {name: value for name, value in {**settings, **changes}.items() if value is not None}


@pytest.fixture
def pay_sim() -> Iterator[Simulator]:
    """A simulator whose default merchant (``merchant``) has the public key and certificates; it pays nobody yet."""
    with Simulator(seed=1) as simulator:
        yield simulator


@pytest.fixture
def merchant(pay_sim: Simulator) -> Merchant:
    """The default merchant of ``pay_sim``."""
    return ledger.default_merchant(pay_sim.world)


@pytest.fixture
async def pay(pay_sim: Simulator, merchant: Merchant) -> AsyncIterator[PayClient]:
    """A client for ``merchant``, with the public key; it repeats without waiting."""
    async with PayClient(**pay_settings(pay_sim, merchant)) as client:
        yield client
