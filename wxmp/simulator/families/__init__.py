"""The endpoint families of the platform, one module each. A new family is one import and one line in each table."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from wxmp.simulator import steps
from wxmp.simulator.families import (
    autoreply,
    base,
    blacklist,
    comment,
    custom,
    datacube,
    draft,
    group,
    image_ai,
    kf,
    mass,
    material,
    media,
    menu,
    oauth,
    publish,
    qrcode,
    shorturl,
    subscribe,
    tag,
    template,
    ticket,
    user,
)
from wxmp.simulator.pay import ledger as pay_ledger
from wxmp.simulator.pay import v2 as pay_v2
from wxmp.simulator.pay import v3 as pay_v3

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxmp.simulator.routes import Dialect, Route
    from wxmp.simulator.state import Account, Event
    from wxmp.simulator.world import World

__all__ = ["DIALECTS", "EVENTS", "ROUTES"]

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
    *media.ROUTES,
    *material.ROUTES,
    *draft.ROUTES,
    *publish.ROUTES,
    *comment.ROUTES,
    *subscribe.ROUTES,
    *mass.ROUTES,
    *kf.ROUTES,
    *shorturl.ROUTES,
    *autoreply.ROUTES,
    *datacube.ROUTES,
    *image_ai.ROUTES,
    *pay_v3.ROUTES,
    *pay_v2.ROUTES,
)
# Who answers in a form of their own, also where there is no endpoint.
DIALECTS: Final[tuple[Dialect, ...]] = (*pay_v3.DIALECTS, *pay_v2.DIALECTS)
# What happens when an event of the world's queue is due, by kind.
EVENTS: Final[Mapping[str, EventHandler]] = MappingProxyType(
    {
        **template.EVENTS,
        **pay_ledger.EVENTS,
        **steps.EVENTS,
        **publish.EVENTS,
        **subscribe.EVENTS,
        **mass.EVENTS,
        **kf.EVENTS,
    }
)
