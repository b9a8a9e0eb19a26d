"""The auto-reply rules of the console (自动回复规则): only to be read; ``account.outreach.autoreply`` holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.simulator.routes import Call, Route

if TYPE_CHECKING:
    from wxmp.simulator.wire import JsonObject

__all__ = ["ROUTES"]


def read(call: Call) -> JsonObject:
    """Return the rules; a switch nobody has set follows from whether there is something to switch on."""
    rules = call.owner.outreach.autoreply
    return {
        "is_add_friend_reply_open": int("add_friend_autoreply_info" in rules),
        "is_autoreply_open": int("message_default_autoreply_info" in rules),
        **rules,
    }


ROUTES: Final[tuple[Route, ...]] = (Route("GET", "/cgi-bin/get_current_autoreply_info", read, accounts="all"),)
