"""Random stories told to worlds: nothing breaks, nothing leaks, nothing is lost, and the same story ends the same.

``WXMP_FUZZ_EXAMPLES=2000 pytest tests/simulator/test_world_fuzz.py`` runs a campaign with new stories.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.simulator.developer import AES_KEY, OTHER_KEY, TOKEN
from tests.simulator.storyteller import BOUNDS, STEPS, Step, Teller
from wxmp.simulator import Clock, World
from wxmp.simulator.export import curl_script, har
from wxmp.simulator.journal import show_exchange

EXAMPLES = int(os.environ.get("WXMP_FUZZ_EXAMPLES", "30"))
LENGTH = int(os.environ.get("WXMP_FUZZ_LENGTH", "30"))
small = st.integers(0, 4999)
steps = st.tuples(st.sampled_from(STEPS), small, small, small)
stories = st.lists(steps, min_size=1, max_size=LENGTH)
PAID = {"SUCCESS", "REFUND"}


def told(story: list[Step], kind: int, *, moves: bool = False, watch: bool = False) -> Teller:
    """Tell a story to a world of its own; when watched, everything is looked at after each step."""
    teller = Teller(kind, moves=moves)
    for step in story:
        before = teller.world.journal.seq
        teller.tell(step)
        if watch:
            look(teller, before)
    return teller


# --- what holds after each step ---------------------------------------------------------------------------------------


def look(teller: Teller, before: int) -> None:
    world = teller.world
    for exchange in world.exchanges(before):
        assert exchange.why, exchange
        assert exchange.rule, exchange
    check_bounds(world)
    check_money(teller)
    check_events(teller)


def check_bounds(world: World) -> None:
    assert len(world.journal) <= BOUNDS["journal_size"]
    assert len(world.lint.findings()) <= 500
    assert len(world.state.pay.attempts) <= BOUNDS["pay_kept"]
    flying = sum(notice.flying for notice in world.state.pay.notices)
    assert flying == world.state.pay.flying
    assert len(world.state.pay.notices) <= BOUNDS["pay_kept"] + flying
    for account in world.state.accounts.values():
        assert len(account.sent) <= BOUNDS["sent_kept"]
        assert len(account.pushes) <= BOUNDS["sent_kept"]
        assert len(account.attempts) <= BOUNDS["deliveries_kept"]
        assert len(account.library.temporary) <= BOUNDS["media_kept"]
        assert len(account.library.reads) <= BOUNDS["reads_kept"]
        assert len(account.outreach.short_keys) <= BOUNDS["short_keys_kept"]
        assert all(len(user.chat) <= BOUNDS["chat_kept"] for user in account.users.values())
        assert all(len(one.comments) <= BOUNDS["comments_kept"] for one in account.library.published.values())
        dead = [token for token in account.tokens.values() if token.death]
        assert len(dead) <= BOUNDS["dead_tokens_kept"] + 2


def check_money(teller: Teller) -> None:
    """What merchants have is what was paid and funded, less what was refunded and transferred."""
    for merchant in teller.world.state.pay.merchants.values():
        orders, refunds = merchant.orders.values(), merchant.refunds.values()
        earned = sum(order.total for order in orders if order.state in PAID)
        given = sum(item.amount for item in refunds if item.status != "CLOSED")
        sent = sum(item.amount for item in merchant.transfers.values() if item.state not in {"FAIL", "CANCELLED"})
        begun = teller.policy.pay_initial_balance + teller.funded.get(merchant.mchid, 0)
        assert merchant.balance == begun + earned - given - sent
        for order in orders:
            own = [item for item in refunds if item.out_trade_no == order.out_trade_no]
            assert order.refunded == sum(item.amount for item in own if item.status != "CLOSED") <= order.total
            assert (order.state in PAID) == bool(order.transaction_id) == (order.paid_at is not None)


def check_events(teller: Teller) -> None:
    """Whatever was due came when nothing else was due before it, and never too early."""
    for due, now, rest in teller.fired:
        assert due <= now
        assert rest is None or due <= rest
    teller.fired.clear()


# --- what holds at the end --------------------------------------------------------------------------------------------


def check_snapshot(world: World) -> None:
    """A snapshot goes through JSON and back without a change; only what was on its way begins again."""
    first = json.loads(json.dumps(world.snapshot()))
    for account in first["state"]["accounts"].values():
        for push in account["pushes"]:
            if push["state"] in {"flying", "waiting"}:
                push["state"], push["attempts"] = "waiting", 0
    fresh = World(world.policy, Clock.frozen(), seed=99)
    fresh.restore(json.loads(json.dumps(first)))
    assert json.dumps(fresh.snapshot()) == json.dumps(first)


def secrets_of(teller: Teller) -> set[str]:
    secrets = {TOKEN, AES_KEY, OTHER_KEY, "otherToken", *teller.tokens}
    for account in teller.world.state.accounts.values():
        secrets |= {account.secret, *(text for text, _until in account.tickets.values())}
    for merchant in teller.world.state.pay.merchants.values():
        secrets |= {merchant.api_v3_key, merchant.api_v2_key, merchant.private_key.splitlines()[5]}
    return secrets


def told_outside(world: World) -> dict[str, str]:
    """Return everything that leaves a world by itself."""
    exchanges = world.exchanges()
    accounts, merchants = world.state.accounts.values(), world.state.pay.merchants.values()
    return {
        "journal": json.dumps([show_exchange(exchange, raw=True) for exchange in exchanges], ensure_ascii=False),
        "lint": json.dumps(world.lint.findings(), ensure_ascii=False),
        "describe": json.dumps(world.describe(), ensure_ascii=False),
        "har": har(exchanges),
        "curl": curl_script(exchanges),
        "repr": repr([world, *accounts, *merchants, *exchanges, *world.state.people, world.state.pay, world.state]),
        "faults": repr(world.faults.rules),
        "attempts": repr([account.attempts for account in accounts] + [world.state.pay.attempts]),
        "jobs": repr([token for account in accounts for token in account.tokens.values()]),
    }


def check_secrets(teller: Teller) -> None:
    for place, text in told_outside(teller.world).items():
        for secret in secrets_of(teller):
            assert secret not in text, (place, text[max(0, text.index(secret) - 200) :][:300])


def check_settled(teller: Teller) -> None:
    """Once a courier has carried everything there is nothing left to carry."""
    teller.deliver("good")
    assert teller.world.settled
    for account in teller.world.state.accounts.values():
        assert all(push.state not in {"waiting", "flying"} for push in account.pushes)


def journal_of(world: World) -> list[Any]:
    return [show_exchange(exchange, raw=True) for exchange in world.exchanges()]


@pytest.mark.untraced
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="WXMP_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(story=stories, kind=st.integers(0, 3))
def test_any_story_may_be_told(story, kind):
    """Users, programs, merchants, faults and time in any order: see the checks for what holds all the while."""
    teller = told(story, kind, watch=True)
    check_secrets(teller)
    check_snapshot(teller.world)
    again = told(story, kind)
    assert again.heard == teller.heard
    assert journal_of(again.world) == journal_of(teller.world)
    moved = told(story, kind, moves=True)
    assert moved.heard == teller.heard
    check_settled(teller)
