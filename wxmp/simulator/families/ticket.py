"""Tickets for web pages (JS-SDK) and for cards."""

from __future__ import annotations

from typing import Final

from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal

__all__ = ["ROUTES"]

KINDS: Final = frozenset({"jsapi", "wx_card"})


def get_ticket(call: Call) -> JsonObject:
    """Return a ticket of the wanted kind."""
    kind, account, policy = call.query("type"), call.owner, call.world.policy
    if kind not in KINDS:
        raise Refusal(40097, f"type is {kind!r}")
    ticket, expires_at = account.tickets.get(kind, ("", 0.0))
    if policy.ticket_rotates or call.now >= expires_at:
        ticket, expires_at = call.world.make_id("ticket", 86), call.now + policy.ticket_life
        account.tickets[kind] = (ticket, expires_at)
    return {**OK(), "ticket": ticket, "expires_in": int(expires_at - call.now)}


ROUTES: Final[tuple[Route, ...]] = (Route("GET", "/cgi-bin/ticket/getticket", get_ticket, accounts="all"),)
