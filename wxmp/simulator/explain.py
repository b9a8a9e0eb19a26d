"""What has happened in a world, in plain sentences: for the person whose test has just failed.

The journal holds no credential, so none is told. Everything is bounded: exchanges, lines, and the length of a line.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from wxmp.simulator.messages import errmsg
from wxmp.simulator.wire import as_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.simulator.faults import Fault
    from wxmp.simulator.journal import Exchange
    from wxmp.simulator.state import ChatEntry, User
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World

__all__ = ["counted", "explain"]

#: Characters of a line, and of a body or a query inside of it.
LINE: Final = 400
PART: Final = 160
#: Users whose chat is shown, lines of each, and rules and findings listed.
CHATS: Final = 3
CHAT_LINES: Final = 6
RULES: Final = 10
#: Fields of a push that tell nothing new.
DULL: Final = frozenset({"ToUserName", "FromUserName", "CreateTime", "MsgId", "Encrypt"})
FIELD: Final = re.compile(r"<(\w+)>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>", re.DOTALL)


def explain(world: World, limit: int = 20) -> str:
    """Tell what has happened last.

    Args:
        world: Where.
        limit: How many exchanges are told.
    """
    with world.lock:
        lines = [line if len(line) <= LINE else f"{line[: LINE - 1]}…" for line in narrate(world, limit)]
    return "\n".join(lines)


def narrate(world: World, limit: int) -> Iterator[str]:
    """Yield the lines."""
    seen = world.journal.seq
    told = list(world.journal)[-limit:]
    if not seen:
        yield "Nobody has asked the simulated platform anything, and it has sent nothing."
    else:
        which = f"The last {len(told)} of {seen} exchanges" if len(told) < seen else counted(seen, "exchange")
        yield f"{which}, with the seconds since the world began:"
    for exchange in told:
        yield from tell_exchange(world, exchange)
    yield from tell_pushes(world)
    yield from tell_faults(world.faults.rules)
    yield from tell_findings(world)
    yield from tell_chats(world)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def shorten(text: str) -> str:
    """Return a text on one line and not too long."""
    line = " ".join(text[: 4 * PART].split())
    return line if len(line) <= PART else f"{line[: PART - 1]}…"


# --- one exchange ---------------------------------------------------------------------------------------------------


def tell_exchange(world: World, exchange: Exchange) -> Iterator[str]:
    """Tell one exchange: a line for what was said, a line for the answer and its reason."""
    said = tell_push(world, exchange) if exchange.direction == "out" else tell_request(exchange)
    yield f"#{exchange.seq} +{exchange.at - world.state.started_at:.1f} s  {said}"
    yield f"    {tell_answer(exchange)}"
    if exchange.fault:
        acted = "the platform acted on it all the same" if exchange.processed else "the platform did not act on it"
        happened = f"; {acted}" if exchange.direction == "in" else ""
        yield f"    The fault {exchange.fault} took part{happened}."


def tell_request(exchange: Exchange) -> str:
    """Say what a program asked."""
    who = f"The client {exchange.client!r}" if exchange.client else "Your program"
    query = "&".join(f"{name}={value}" for name, value in exchange.query.items())
    body = f" with {shorten(exchange.request_body)}" if exchange.request_body else ""
    return f"{who} called {exchange.method} {exchange.path}{'?' if query else ''}{shorten(query)}{body}"


def tell_push(world: World, exchange: Exchange) -> str:
    """Say what the platform sent to the developer's server."""
    if exchange.method == "GET":
        return f"The platform checked the address {exchange.path} of your server."
    account = world.state.accounts.get(exchange.appid)
    openid = exchange.query.get("openid", "")
    user = account.users.get(openid) if account is not None else None
    name = openid if user is None else world.person_of(user).nickname
    which = f"delivery {exchange.attempt}" if exchange.attempt else "a copy of another kind"
    mode = f", {exchange.mode} mode" if exchange.mode else ""
    told = f"{f' about {name}' if name else f' at {exchange.path}'} ({which}{mode})"
    return f"The platform told your server{told}: {push_fields(exchange.request_body)}"


def push_fields(body: str) -> str:
    """Return the fields of a push that matter, on one line."""
    fields: dict[str, object] = {found[1]: found[2] or found[3] or "" for found in FIELD.finditer(body)}
    if body.startswith("{"):
        try:
            fields = json.loads(body)
        except ValueError:  # cut by the journal
            return shorten(body)
    return shorten(", ".join(f"{name}={value}" for name, value in fields.items() if value and name not in DULL))


def tell_answer(exchange: Exchange) -> str:
    """Say what was answered, and why."""
    if exchange.direction == "out":
        status = f"status {exchange.status} after {exchange.seconds:g} s" if exchange.status else "no answer"
        return f"Your server gave {status}; verdict: {exchange.why}"
    reason = exchange.why.removeprefix(f"{exchange.errcode}: ")
    why = f"; because: {reason}" if reason else ""
    if exchange.errcode is None:
        return f"Answered with HTTP status {exchange.status} and no errcode{why}"
    if exchange.errcode == 0:
        return f"Answered: {shorten(exchange.response_body) or 'nothing'}{why}"
    return f"Refused with {exchange.errcode} ({errmsg(exchange.errcode)}){why}"


# --- what is still open ---------------------------------------------------------------------------------------------


def tell_pushes(world: World) -> Iterator[str]:
    """Tell of pushes that have not arrived."""
    states: dict[str, int] = {}
    for account in world.state.accounts.values():
        for push in account.pushes:
            states[push.state] = states.get(push.state, 0) + 1
    reasons = {
        "waiting": "not delivered yet; pushes travel while the test waits (settled, wait_for)",
        "flying": "not delivered yet; pushes travel while the test waits (settled, wait_for)",
        "held": "held back by a fault",
        "kept": "sent nowhere: no server was connected at the time (connect)",
        "failed": "given up after the last delivery",
        "dropped": "dropped: too many were waiting",
    }
    for reason in dict.fromkeys(reasons.values()):
        number = sum(states.get(state, 0) for state in reasons if reasons[state] == reason)
        if number:
            yield f"{counted(number, 'push', 'pushes')} {reason}."


def tell_faults(rules: tuple[Fault, ...]) -> Iterator[str]:
    """Tell which faults are injected, and how often they struck."""
    for rule in rules[:RULES]:
        chances = counted(rule.seen, "matching request")
        yield f"The fault {rule.label} on {rule.path} struck {counted(rule.hits, 'time')}, of {chances}."
    if len(rules) > RULES:
        yield f"… and {counted(len(rules) - RULES, 'more fault')}."


def tell_findings(world: World) -> Iterator[str]:
    """Tell what works here and will hurt on the real platform."""
    findings = world.lint.findings()
    for finding in findings[:RULES]:
        texts = (english(finding, "title"), english(finding, "detail"))
        yield f"Lint {finding['level']} {finding['code']}: {'. '.join(text for text in texts if text)}"
        if remedy := english(finding, "remedy"):
            yield f"    {remedy}"
    if len(findings) > RULES:
        yield f"… and {counted(len(findings) - RULES, 'more finding')}."


def english(finding: JsonObject, name: str) -> str:
    """Return the English one of a finding's texts."""
    texts = as_object(finding.get(name))
    return "" if texts is None else shorten(str(texts.get("en", "")))


# --- the chats ------------------------------------------------------------------------------------------------------


def tell_chats(world: World) -> Iterator[str]:
    """Show the ends of the chats in which something was said last."""
    users: list[User] = [
        user for account in world.state.accounts.values() for user in account.users.values() if user.chat
    ]
    users.sort(key=lambda user: user.chat[-1].at, reverse=True)
    for user in users[:CHATS]:
        name = world.person_of(user).nickname
        yield f"The chat of {name}:"
        for entry in user.chat[-CHAT_LINES:]:
            yield f"    {tell_line(name, entry)}"


def tell_line(name: str, entry: ChatEntry) -> str:
    """Show one line of a chat."""
    speaker = name if entry.direction == "from_user" else f"the account ({entry.source})"
    note = f"  [{shorten(entry.note)}]" if entry.note else ""
    return f"{speaker}: {shorten(entry.content) or f'<{entry.kind}>'}{note}"
