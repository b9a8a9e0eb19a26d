"""How often somebody may ask: buckets that fill again."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Buckets", "neighbourhood"]

K = TypeVar("K", bound="Hashable")

#: Whose buckets are remembered at most; of more the one that was not used for the longest time is forgotten.
REMEMBERED: Final = 10_000
MINUTE: Final = 60.0


class Buckets(Generic[K]):
    """One bucket for each name, refilled evenly.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._levels: OrderedDict[K, tuple[float, float]] = OrderedDict()

    def take(self, name: K, per_minute: int) -> float:
        """Take one; return 0, or the seconds until there is one to take."""
        now = self._clock()
        level, counted = self._levels.get(name, (float(per_minute), now))
        level = min(level + (now - counted) * per_minute / MINUTE, float(per_minute))
        wait = 0.0
        if level >= 1.0:
            level -= 1.0
        else:
            wait = (1.0 - level) * MINUTE / per_minute
        self._levels[name] = (level, now)
        self._levels.move_to_end(name)
        if len(self._levels) > REMEMBERED:
            self._levels.popitem(last=False)
        return wait


def neighbourhood(peer: str) -> str:
    """Return what addresses of one machine have in common: of IPv6 everybody has 2**64."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:  # on a socket for both families all of IPv4 looks like one network
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False).network_address)
    return peer
