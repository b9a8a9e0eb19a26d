"""The world at a glance: counts, quotas, fingerprints. No secret and no token value is in it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from wxmp.simulator import tokens
from wxmp.simulator.journal import fingerprint

if TYPE_CHECKING:
    from wxmp.simulator.state import Account, Channel
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = ["describe"]

CHANNELS: Final[tuple[Channel, ...]] = ("plain", "stable")


def describe(world: World) -> JsonObject:
    """Return the state a control page shows."""
    with world.lock:
        world.run_due()
        now, state = world.now(), world.state
        return {
            "now": now,
            "speed": world.clock.speed,
            "token_requests": {
                "total": state.token_requests,
                "plain": sum(a.plain.requests for a in state.accounts.values()),
                "stable": sum(a.stable.requests for a in state.accounts.values()),
            },
            "outsider_fetches": state.outsider_fetches,
            "calls": dict(state.calls),
            "accounts": {account.appid: describe_account(world, account, now) for account in state.accounts.values()},
            "pending_events": len(state.events),
            "settled": world.settled,
            "journal_seq": world.journal.seq,
        }


def describe_account(world: World, account: Account, now: float) -> JsonObject:
    """Return one account."""
    return {
        "users": len(account.users),
        "followers": sum(user.following for user in account.users.values()),
        "sent": len(account.sent),
        "pushes": len(account.pushes),
        "callback": {
            "enabled": account.callback_enabled,
            "url": account.callback_url,
            "mode": account.callback_mode,
            "format": account.callback_format,
            "pushes": dict(Counter(push.state for push in account.pushes)),
            "attempts": dict(Counter(attempt.verdict for attempt in account.attempts)),
        },
        "token_requests": {name: account.channel(name).requests for name in CHANNELS},
        "tokens_issued": {name: account.channel(name).issued for name in CHANNELS},
        "tokens": [
            {
                "serial": token.serial,
                "channel": token.channel,
                "fingerprint": fingerprint(token.text),
                "seconds_left": round(min(token.dies_at, token.expires_at) - now, 3),
            }
            for name in CHANNELS
            for token in tokens.living(account, name, now)
        ],
        "quotas": {
            path: {"used": world.counter(account, path, now).used, "limit": world.daily_limit(account, path)}
            for path in list(account.counters)
        },
    }
