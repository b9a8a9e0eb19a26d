"""The platform's hosts: their real names, and the path prefixes that stand for them on this machine."""

from __future__ import annotations

import ipaddress
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HOSTS", "LOOPBACK", "NAMES", "Host", "address", "is_loopback"]

Host: TypeAlias = Literal["api", "mp", "open", "mch"]
NAMES: Final[tuple[Host, ...]] = get_args(Host)
HOSTS: Final[Mapping[str, Host]] = MappingProxyType(
    {
        "api.weixin.qq.com": "api",
        "api2.weixin.qq.com": "api",
        "mp.weixin.qq.com": "mp",
        "open.weixin.qq.com": "open",
        "api.mch.weixin.qq.com": "mch",
        "api2.mch.weixin.qq.com": "mch",
        "api.wechatpay.cn": "mch",
        "api2.wechatpay.cn": "mch",
    }
)
#: Names of this machine: a path may begin with ``/mp/`` and so on there, to say which host is meant.
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(name: str, path: str) -> tuple[str, str]:
    """Return which host of the platform a request means, and the path on that host.

    Args:
        name: The host's name in lower case, without a port.
        path: The path as it came.

    Returns:
        ``"api"``, ``"mp"``, ``"open"``, ``"mch"``, or ``""`` when neither the name nor the path tells.
    """
    host = HOSTS.get(name)
    if host is not None:
        return host, path
    first, slash, rest = path[1:].partition("/")
    return (first, f"/{rest}") if slash and first in NAMES else ("", path)
