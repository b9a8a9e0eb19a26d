"""The endpoint families of the platform, one module each. A new family is one import and one line in each table."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from wxmp.simulator.families import (
    base,
    blacklist,
    custom,
    group,
    menu,
    oauth,
    qrcode,
    tag,
    template,
    ticket,
    user,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxmp.simulator.routes import Route
    from wxmp.simulator.state import Account, Event
    from wxmp.simulator.world import World

__all__ = ["EVENTS", "ROUTES"]

EventHandler: TypeAlias = "Callable[[World, Account, Event], None]"

ROUTES: Final[tuple[Route, ...]] = (
    *base.ROUTES,
    *menu.ROUTES,
    *user.ROUTES,
    *tag.ROUTES,
    *blacklist.ROUTES,
    *group.ROUTES,
    *template.ROUTES,
    *custom.ROUTES,
    *qrcode.ROUTES,
    *oauth.ROUTES,
    *ticket.ROUTES,
)
# What happens when an event of the world's queue is due, by kind.
EVENTS: Final[Mapping[str, EventHandler]] = MappingProxyType({**template.EVENTS})
