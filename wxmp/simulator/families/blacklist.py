"""The blacklist: users whose messages are not pushed and who receive nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.simulator.families.user import cut_page
from wxmp.simulator.routes import OK, Call, Route

if TYPE_CHECKING:
    from wxmp.simulator.wire import JsonObject

__all__ = ["ROUTES"]


def list_page(call: Call) -> JsonObject:
    """List the blacklist, one page; the cursor goes in as ``begin_openid`` and comes out as ``next_openid``."""
    openids = [user.openid for user in call.owner.users.values() if user.blacklisted]
    page = cut_page(call, openids, call.text("begin_openid"), call.world.policy.blacklist_page)
    return {"total": len(openids), **page}


def add(call: Call) -> JsonObject:
    """Blacklist users."""
    return mark(call, blacklisted=True)


def remove(call: Call) -> JsonObject:
    """Take users off the blacklist."""
    return mark(call, blacklisted=False)


def mark(call: Call, *, blacklisted: bool) -> JsonObject:
    """Change all users of the list, or none when one of them is unknown."""
    users = [call.user(openid) for openid in call.openids(call.world.policy.blacklist_batch, empty=40032)]
    for user in users:
        user.blacklisted = blacklisted
    return OK()


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/tags/members/getblacklist", list_page),
    Route("POST", "/cgi-bin/tags/members/batchblacklist", add),
    Route("POST", "/cgi-bin/tags/members/batchunblacklist", remove),
)
