"""Short keys (短key托管): data behind fifteen characters, for a while."""

from __future__ import annotations

from typing import Final

from wxmp.simulator.outreach import ShortKey
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal

__all__ = ["ROUTES"]

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY_CHARACTERS: Final = 15


def make(call: Call) -> JsonObject:
    """Keep data under a new key."""
    data, policy = call.text("long_data"), call.world.policy
    if not data:
        raise Refusal(47003, "long_data is missing", detail="long_data is empty")
    size = len(data.encode("utf-8", errors="replace"))
    if size > policy.short_key_bytes:
        raise Refusal(9410010, f"long_data has {size} bytes, at most {policy.short_key_bytes} are allowed")
    life = policy.short_key_seconds if call.body.get("expire_seconds") is None else call.number("expire_seconds")
    if life is None or not 1 <= life <= policy.short_key_seconds:
        given = call.body.get("expire_seconds")
        raise Refusal(9410011, f"expire_seconds is {given!r}, 1 to {policy.short_key_seconds} is allowed")
    digest = call.world.state.dice.digest("short key")
    key = "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:KEY_CHARACTERS])
    kept = call.owner.outreach.short_keys
    for old in [name for name, entry in kept.items() if call.now >= entry.expires_at]:
        del kept[old]
    kept[key] = ShortKey(data, call.now, call.now + life)
    while len(kept) > policy.short_keys_kept:
        del kept[next(iter(kept))]
    return {**OK(), "short_key": key}


def fetch(call: Call) -> JsonObject:
    """Read the data behind a key."""
    key = call.text("short_key")
    if not key:
        raise Refusal(47003, "short_key is missing", detail="short_key is empty")
    found = call.owner.outreach.short_keys.get(key)
    if found is None or call.now >= found.expires_at:
        raise Refusal(9410012, "the account has no such key" if found is None else "the key is expired")
    return {
        **OK(),
        "long_data": found.data,
        "create_time": int(found.created_at),
        "expire_seconds": int(found.expires_at - call.now),
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/shorten/gen", make, accounts="all"),
    Route("POST", "/cgi-bin/shorten/fetch", fetch, accounts="all"),
)
