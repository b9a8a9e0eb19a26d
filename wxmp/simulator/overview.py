"""The world at a glance: counts, quotas, fingerprints, and what the phones show. It holds no secret and no token."""

from __future__ import annotations

import zlib
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import attrs

from wxmp.simulator import menus, tokens
from wxmp.simulator.journal import fingerprint
from wxmp.simulator.phone import seen_menu
from wxmp.simulator.wire import as_list, as_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wxmp.simulator.state import Account, Channel, ChatEntry, QrTicket, Token, User
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = ["chat_line", "describe", "describe_phone", "describe_phones", "phone_revision", "phone_revisions"]

CHANNELS: Final[tuple[Channel, ...]] = ("plain", "stable")
# An account with more users than this shows only those who have ever done or received something.
MANY_USERS: Final = 2_000
SHOWN_PHONES: Final = 500
SHOWN_LINES: Final = 200
SHOWN_CODES: Final = 100
LAST_CHARACTERS: Final = 80


def describe(world: World) -> JsonObject:
    """Return the state a control page shows."""
    with world.lock:
        world.run_due()
        now, state = world.now(), world.state
        return {
            "now": now,
            "speed": world.clock.speed,
            "appid": state.default_appid,
            "base_url": world.base_url,
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
            "faults": len(world.faults.rules),
            "lint": world.lint.counts(),
        }


def describe_account(world: World, account: Account, now: float) -> JsonObject:
    """Return one account."""
    last = account.attempts[-1] if account.attempts else None
    return {
        "name": account.name or account.original_id,
        "original_id": account.original_id,
        "kind": account.kind,
        "verified": account.verified,
        "test": account.test,
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
            "last_verdict": None
            if last is None
            else {"verdict": last.verdict, "why": last.why, "at": last.at, "name": last.name, "seconds": last.seconds},
        },
        "token_requests": {name: account.channel(name).requests for name in CHANNELS},
        "tokens_issued": {name: account.channel(name).issued for name in CHANNELS},
        "tokens": [show_token(token, now) for name in CHANNELS for token in tokens.living(account, name, now)],
        "faults": sum(rule.enabled and fnmatchcase(account.appid, rule.appid) for rule in world.faults.rules),
        "lint": world.lint.counts(account.appid),
        "merchants": [m.mchid for m in world.state.pay.merchants.values() if account.appid in m.appids],
        "quotas": {
            path: {"used": world.counter(account, path, now).used, "limit": world.daily_limit(account, path)}
            for path in list(account.counters)
        },
    }


def show_token(token: Token, now: float) -> JsonObject:
    """Return a living token: everything but its text."""
    return {
        "serial": token.serial,
        "channel": token.channel,
        "fingerprint": fingerprint(token.text),
        "minted_at": token.minted_at,
        "minted_by": token.minted_by,
        "seconds_left": round(min(token.dies_at, token.expires_at) - now, 3),
        "life": round(token.expires_at - token.minted_at, 3),
        "current": token.replaced_by is None,
    }


# --- phones -------------------------------------------------------------------------------------------------------


def describe_phones(
    world: World, account: Account, *, limit: int = SHOWN_PHONES, wanted: str = ""
) -> tuple[list[JsonObject], int]:
    """Return the phones of an account, the latest talk first, and how many there are."""
    with world.lock:
        world.run_due()
        now = world.now()
        users = [user for user in shown_users(account) if matches(world, user, wanted)]
        users.sort(key=lambda user: user.chat[-1].at if user.chat else 0.0, reverse=True)
        return [show_phone(world, account, user, now) for user in users[:limit]], len(users)


def shown_users(account: Account) -> Iterable[User]:
    """Return the users worth showing: all, or in a large account those with a chat."""
    users = account.users.values()
    return users if len(users) <= MANY_USERS else [user for user in users if user.chat]


def matches(world: World, user: User, wanted: str) -> bool:
    """Tell whether a search is about this user."""
    return wanted.lower() in world.person_of(user).nickname.lower() or wanted == user.openid


def show_phone(world: World, account: Account, user: User, now: float) -> JsonObject:
    """Return what a list of phones shows of one."""
    person = world.person_of(user)
    return {
        "openid": user.openid,
        "name": person.nickname,
        "number": person.number,
        "following": user.following,
        "blacklisted": user.blacklisted,
        "platform": person.platform,
        "tags": [account.tags[tag].name for tag in user.tags if tag in account.tags],
        "revision": phone_revision(world, account, user),
        "typing": now < user.typing_until,
        "windows": [
            {"trigger": w.trigger, "left": w.left, "seconds_left": round(w.until - now, 3)}
            for w in user.windows
            if w.until > now
        ],
        "last": last_line(user.chat[-1]) if user.chat else "",
        "last_at": user.chat[-1].at if user.chat else None,
        "lines": len(user.chat),
    }


def last_line(entry: ChatEntry) -> str:
    """Return a chat line in a few words."""
    return (entry.content or f"[{entry.kind}]")[:LAST_CHARACTERS]


def chat_line(entry: ChatEntry, index: int) -> JsonObject:
    """Return a chat line and its place in the chat."""
    return {**attrs.asdict(entry), "index": index}


def describe_phone(world: World, account: Account, user: User, *, lines: int = SHOWN_LINES) -> JsonObject:
    """Return everything one phone shows: the last lines of its chat, its menu, codes to scan, orders to pay."""
    with world.lock:
        world.run_due()
        now = world.now()
        first = max(len(user.chat) - lines, 0)
        return {
            **show_phone(world, account, user, now),
            "appid": account.appid,
            "now": now,
            "menu": show_menu(world, account, user, now),
            "chat": [chat_line(entry, first + place) for place, entry in enumerate(user.chat[first:])],
            "qr": [show_code(code, now) for code in list(account.qr.values())[: -SHOWN_CODES - 1 : -1]],
            "orders": orders_to_pay(world, user),
        }


def orders_to_pay(world: World, user: User) -> list[object]:
    """Return the orders the user could pay."""
    if not any(merchant.orders for merchant in world.state.pay.merchants.values()):
        return []
    from wxmp.simulator.pay import ledger

    listed = as_list(ledger.describe_orders(world, user.openid)["orders"]) or ()
    return [order for order in listed if (as_object(order) or {}).get("payable") is True]


def show_menu(world: World, account: Account, user: User, now: float) -> JsonObject:
    """Return the menu on a phone, and for how long another one has been in force."""
    if not user.following:
        return {"button": [], "menuid": None, "stale_seconds": 0, "read_at": None}
    shown = seen_menu(world, account, user)
    actual = menus.shown_menu(world, account, user)
    fresh = (shown.button if shown else None) == (actual.button if actual else None)
    return {
        "button": shown.button if shown else [],
        "menuid": shown.menuid if shown else None,
        "stale_seconds": 0 if fresh or user.menu_read_at is None else max(round(now - user.menu_read_at, 3), 0.001),
        "read_at": user.menu_read_at,
    }


def show_code(code: QrTicket, now: float) -> JsonObject:
    """Return a QR code that can be scanned."""
    return {
        "ticket": code.ticket,
        "url": code.url,
        "scene": code.scene_id if code.scene_id is not None else code.scene_str,
        "permanent": code.permanent,
        "image_url": f"/mp/cgi-bin/showqrcode?ticket={quote(code.ticket, safe='')}",
        "seconds_left": None if code.expires_at is None else max(round(code.expires_at - now, 3), 0.0),
        "expired": code.expires_at is not None and now >= code.expires_at,
    }


def phone_revision(world: World, account: Account, user: User) -> int:
    """Return a number that changes with everything a phone shows, except the mere passing of time."""
    last = user.chat[-1] if user.chat else None
    shown = (
        len(user.chat),
        None if last is None else (last.at, last.kind, last.content, last.note, last.push),
        (user.following, user.blacklisted, user.tags, user.remark, user.typing_until),
        [(w.trigger, w.left, w.until) for w in user.windows],
        (account.menu_serial, account.menu is None, len(account.conditional), user.menu_read_at),
        len(account.qr),
        [len(merchant.orders) for merchant in world.state.pay.merchants.values()],
    )
    return zlib.crc32(repr(shown).encode("utf-8", errors="replace"))


def phone_revisions(world: World) -> dict[str, dict[str, int]]:
    """Return the revisions of all phones worth showing, by AppID and openid."""
    with world.lock:
        return {
            account.appid: {user.openid: phone_revision(world, account, user) for user in shown_users(account)}
            for account in world.state.accounts.values()
        }
