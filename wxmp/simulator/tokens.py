"""Access tokens: minting, overlap, rotation, death, and what a dead one answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal, cast

from wxmp.simulator.clock import SHANGHAI
from wxmp.simulator.state import Account, Channel, Risk, Token
from wxmp.simulator.wire import Refusal, WorldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.state import Event
    from wxmp.simulator.world import World

__all__ = [
    "HowKilled",
    "TokenIndex",
    "admit",
    "fetch_plain",
    "fetch_stable",
    "judge",
    "kill",
    "living",
    "outsider_fetches",
    "set_outsider",
]

HowKilled = Literal["plain", "forced", "expired", "unknown"]

# Caller addresses whose risk control is remembered, per account.
MOST_ADDRESSES = 1_000


class TokenIndex:
    """Finds a token by its text, over all accounts. It is not part of a snapshot: it is made from the accounts."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int]] = {}

    def add(self, account: Account, token: Token) -> None:
        """Make a token findable."""
        self._found[token.text] = (account.appid, token.serial)

    def drop(self, token: Token) -> None:
        """Make a token unknown."""
        self._found.pop(token.text, None)

    def find(self, text: str, accounts: Mapping[str, Account]) -> tuple[Account, Token] | None:
        """Return the token of this text, and its account."""
        found = self._found.get(text)
        if found is None:
            return None
        account = accounts[found[0]]
        return account, account.tokens[found[1]]

    def clear(self) -> None:
        """Forget all tokens."""
        self._found.clear()

    def rebuild(self, accounts: Mapping[str, Account]) -> None:
        """Start again with the tokens of these accounts."""
        self.clear()
        for account in accounts.values():
            for token in account.tokens.values():
                self.add(account, token)


def clock_text(now: float) -> str:
    """Return the time of day in Shanghai, for the journal."""
    return datetime.fromtimestamp(now, SHANGHAI).strftime("%H:%M:%S")


def token_text(world: World, account: Account, channel: Channel, serial: int, now: float) -> str:
    """Make the text of a token.

    The minting time is part of it: a simulator started again with the same seed must not hand out the very texts an
    application may still hold from the run before.
    """
    needed = world.policy.token_text_length
    source = f"{world.state.dice.seed}|{account.appid}|{channel}|{serial}|{now!r}"
    raw = hashlib.shake_256(source.encode()).digest(needed)
    return f"{60 + raw[0] % 40}_{base64.urlsafe_b64encode(raw).decode()[:needed]}"


def mint(world: World, account: Account, channel: Channel, now: float, by: str) -> Token:
    """Make a new token the current one of its channel. What happens to older ones is the caller's business."""
    policy = world.policy
    account.token_serial += 1
    serial = account.token_serial
    life = policy.token_life if policy.token_true_life is None else policy.token_true_life
    token = Token(
        serial=serial,
        channel=channel,
        text=token_text(world, account, channel, serial, now),
        minted_at=now,
        expires_at=now + life,
        dies_at=now + life,
        minted_by=by,
    )
    state = account.channel(channel)
    if state.dead_on_arrival:
        token.dies_at = now
        token.death = "dead on arrival, by order of a test"
        if state.dead_on_arrival > 0:
            state.dead_on_arrival -= 1
    account.tokens[serial] = token
    state.current = serial
    state.issued += 1
    world.index_token(account, token)
    forget_old(world, account, now)
    return token


def forget_old(world: World, account: Account, now: float) -> None:
    """Drop the oldest dead tokens beyond the number the policy keeps; one that still works is never forgotten."""
    excess = len(account.tokens) - world.policy.dead_tokens_kept
    if excess <= 0:
        return
    dead = (serial for serial, token in account.tokens.items() if now >= min(token.dies_at, token.expires_at))
    for serial in list(islice(dead, excess)):
        world.forget_token(account.tokens.pop(serial))


def retire(token: Token, successor: Token | None, dies_at: float, now: float, by: str) -> None:
    """Let a token die at a time, unless it dies sooner anyway."""
    if successor is not None:
        token.replaced_by = successor.serial
    if dies_at < token.dies_at:
        token.dies_at = dies_at
        name = f"#{successor.serial}" if successor is not None else "nothing"
        token.death = f"replaced by {name} at {clock_text(now)} by {by or 'an unnamed caller'}"


def living(account: Account, channel: Channel, now: float) -> list[Token]:
    """Return the tokens of a channel that work now, oldest first."""
    return [t for t in account.tokens.values() if t.channel == channel and now < min(t.dies_at, t.expires_at)]


def current(account: Account, channel: Channel, now: float) -> Token | None:
    """Return the current token of a channel when it still works."""
    serial = account.channel(channel).current
    token = None if serial is None else account.tokens.get(serial)
    if token is None or now >= min(token.dies_at, token.expires_at):
        return None
    return token


def fetch_plain(world: World, account: Account, now: float, by: str) -> Token:
    """Mint on the plain channel: the previous token keeps its overlap, anything older dies at once."""
    before = living(account, "plain", now)
    token = mint(world, account, "plain", now, by)
    keep = world.policy.plain_generations - 1
    for old in before[: max(len(before) - keep, 0)]:
        retire(old, token, now, now, by)
    for old in before[max(len(before) - keep, 0) :]:
        retire(old, token, now + world.policy.token_overlap, now, by)
    return token


def fetch_stable(world: World, account: Account, now: float, by: str, *, force: bool = False) -> tuple[Token, str]:
    """Return the stable token, minted now or not, and the reason."""
    policy = world.policy
    state = account.stable
    if force:
        refused = forced_too_soon(world, account, now)
        if not refused:
            state.last_forced_at = now
            state.forced_today += 1
            return force_stable(world, account, now, by), f"forced refresh {state.forced_today} of today"
        if refused == "day" and policy.stable_over_forced == "45009":
            raise Refusal(45009, f"{policy.stable_forced_per_day} forced refreshes were done today")
        note = "forced refresh ignored: " + (
            "the last one is too recent" if refused == "gap" else "today's number is used up"
        )
    else:
        note = "normal mode"
    token = current(account, "stable", now)
    if token is None:
        return mint(world, account, "stable", now, by), f"{note}; no living token, minted"
    left = token.expires_at - now
    if left > policy.stable_rotate_before:
        return token, f"{note}; the same token, {left:.0f} s left"
    fresh = mint(world, account, "stable", now, by)
    retire(token, fresh, now + policy.token_overlap, now, by)
    return fresh, f"{note}; rotated with {left:.0f} s left"


def forced_too_soon(world: World, account: Account, now: float) -> Literal["", "gap", "day"]:
    """Tell why a forced refresh does not happen now; empty when it does."""
    state = account.stable
    today = world.day(now)
    if state.forced_day != today:
        state.forced_day, state.forced_today = today, 0
    if state.last_forced_at is not None and now - state.last_forced_at < world.policy.stable_min_force_gap:
        return "gap"
    if state.forced_today >= world.policy.stable_forced_per_day:
        return "day"
    return ""


def force_stable(world: World, account: Account, now: float, by: str) -> Token:
    """Mint on the stable channel and end all older tokens of it."""
    before = living(account, "stable", now)
    token = mint(world, account, "stable", now, by)
    for old in before:
        retire(old, token, now + world.policy.stable_forced_overlap, now, by)
    return token


def kill(world: World, account: Account, channel: Channel, how: HowKilled, now: float, by: str) -> None:
    """End or rotate the current token of a channel from outside; see ``World.kill_token``."""
    if how == "plain":
        if channel == "plain":
            fetch_plain(world, account, now, by)
        else:
            fetch_stable(world, account, now, by)
        return
    if how == "forced":
        if channel == "stable":
            force_stable(world, account, now, by)
        else:
            # Two fetches in a row: the older generation dies at once, which is what a second system does to ours.
            fresh = fetch_plain(world, account, now, by)
            for old in living(account, "plain", now):
                if old is not fresh:
                    retire(old, fresh, now, now, by)
        return
    for token in living(account, channel, now):
        if how == "expired":
            token.expires_at = token.dies_at = now
        else:
            world.forget_token(token)
            del account.tokens[token.serial]


def judge(world: World, text: str, now: float) -> tuple[Account, Token]:
    """Check a token that came with a call.

    Raises:
        Refusal: Missing (41001), unknown (40014), expired (42001), replaced or of another kind (40001).
    """
    if not text:
        raise Refusal(41001, "no access_token in the query")
    found = world.find_token(text)
    if found is None:
        if world.is_user_token(text):
            raise Refusal(40001, "a user token of the OAuth pages was used as access token")
        raise Refusal(40014, "no such token was ever issued, or it is long forgotten")
    account, token = found
    name = f"token #{token.serial} ({token.channel})"
    if now >= token.expires_at:
        raise Refusal(42001, f"{name} expired at {clock_text(token.expires_at)}")
    if now >= token.dies_at:
        raise Refusal(40001, f"{name} {token.death or 'is dead'}")
    return account, token


def admit(
    world: World, appid: str, secret: str, address: str, now: float, *, grant_type: str = "client_credential"
) -> Account:
    """Check who asks for a token, in the platform's order: form, account, address, risk, state, secret.

    Raises:
        Refusal: With the code of the first check that fails.
    """
    if grant_type != "client_credential":
        raise Refusal(40002, f"grant_type is {grant_type!r}")
    if not appid:
        raise Refusal(41002, "appid is missing")
    if not secret:
        raise Refusal(41004, "secret is missing")
    account = world.state.accounts.get(appid)
    if account is None:
        raise Refusal(40013, "no such account in this world")
    if not world.policy.address_before_secret:
        check_secret(world, account, secret)
    check_address(world, account, address)
    check_risk(world, account, address, now)
    if account.frozen:
        raise Refusal(50007, "the account is frozen")
    if account.token_forbidden:
        raise Refusal(50004, "the token endpoints are forbidden for the account")
    if account.secret_frozen:
        raise Refusal(40243, "the secret is frozen by its owner")
    check_secret(world, account, secret)
    return account


def check_secret(world: World, account: Account, secret: str) -> None:
    """Refuse a wrong secret."""
    if not hmac.compare_digest(account.secret.encode(), secret.encode("utf-8", errors="surrogatepass")):
        raise Refusal(world.policy.wrong_secret_errcode, "wrong secret")


def check_address(world: World, account: Account, address: str) -> None:
    """Refuse a caller that is not on the account's list. Entries are addresses or networks."""
    if account.ip_list is None or any(listed(address, entry) for entry in account.ip_list):
        return
    raise Refusal(
        world.policy.unlisted_ip_errcode,
        f"{address} is not on the list of {len(account.ip_list)} addresses",
        detail=f"{address} ipv6 ::ffff:{address}",
    )


def listed(address: str, entry: str) -> bool:
    """Tell whether an address belongs to a list entry."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return address == entry


def check_risk(world: World, account: Account, address: str, now: float) -> None:
    """Play the risk control: a new address needs the administrator, who is played by ``World.decide_risk``."""
    # An address on the allow list is known to the owner and skips the flow.
    if not account.risk_control or account.ip_list is not None:
        return
    risk = account.risks.setdefault(address, Risk())
    if len(account.risks) > MOST_ADDRESSES:
        # Anybody may make up addresses: those nobody has decided on are forgotten first.
        undecided = (known for known, kept in account.risks.items() if kept.state == "pending" and known != address)
        account.risks.pop(next(undecided, next(iter(account.risks))))
    if risk.state == "allowed":
        return
    if risk.state == "new" or (risk.state == "refused" and now >= risk.until):
        risk.state = "pending"
        raise Refusal(89503, f"first call from {address}: the administrator was asked")
    if risk.state == "pending":
        raise Refusal(89501, f"the administrator has not answered for {address}")
    errcode = 89507 if risk.refusals == 1 else 89506
    raise Refusal(errcode, f"the administrator refused {address} {risk.refusals} times")


def set_outsider(world: World, account: Account, every: float | None, channel: Channel, how: HowKilled) -> None:
    """Let another system fetch tokens of a channel every so many simulated seconds; ``None`` stops it.

    Raises:
        WorldError: The number of seconds cannot work.
    """
    state = world.state
    state.events = [
        event
        for event in state.events
        if not (event.kind == "outsider" and event.appid == account.appid and event.fields["channel"] == channel)
    ]
    if every is None:
        return
    if every <= 0:
        raise WorldError("an outsider needs a positive number of seconds between fetches")
    world.schedule(every, "outsider", account, {"channel": channel, "how": how, "every": every})


def outsider_fetches(world: World, account: Account, event: Event) -> None:
    """Let the other system fetch a token now, and again later."""
    channel, how = cast("Channel", event.fields["channel"]), cast("HowKilled", event.fields["how"])
    world.state.outsider_fetches += 1
    kill(world, account, channel, how, event.due, "an outsider")
    world.schedule(float(cast("float", event.fields["every"])), "outsider", account, event.fields)
