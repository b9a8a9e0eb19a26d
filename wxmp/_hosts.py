"""Which addresses are this machine's own: nobody reads along there, and the simulator runs there."""

from __future__ import annotations

import ipaddress

__all__ = ["is_loopback", "is_loopback_address"]


def is_loopback(host: str) -> bool:
    """Tell whether a host of an address is this machine.

    Of names only ``localhost`` is: where others lead is up to a name server.
    """
    return host.lower() == "localhost" or is_loopback_address(host)


def is_loopback_address(text: str) -> bool:
    """Tell whether an IP address, as a socket names its other end, is this machine; names are not."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # A socket for both families shows IPv4 as a part of IPv6; Python before 3.13 takes that for a foreign network.
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
