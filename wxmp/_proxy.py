"""A proxy between us and the platform: its address, what it is asked (``CONNECT``), and what its answer means.

The proxy only carries bytes: TLS begins behind it, so it sees the platform's name and never a token. Nothing here does
any input or output; :mod:`wxmp._pool` does.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes, urlsplit

import attrs

from wxmp._env import named_in_env
from wxmp._redact import Secret
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HEAD_MAX", "Proxy", "parse_proxy", "proxy_from_env", "without_interim"]

#: Bytes of an answer to ``CONNECT``, with what comes before it.
HEAD_MAX: Final = 16 * 1024

_PORTS: Final = {"http": 80, "https": 443}
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: |\r\n)")
#: What may come before the answer, as often as the proxy likes; after a 101 nothing comes.
_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9][0-9](?: |\r\n)")
_BLANK: Final = b"\r\n\r\n"
_SERVER_ERROR: Final = 500
_NEEDS_PASSWORD: Final = 407


@attrs.frozen
class Proxy:
    """Where a proxy is, and what it wants to see."""

    host: str
    port: int
    #: Whether the proxy itself is spoken to over TLS.
    secure: bool
    #: The value of ``Proxy-Authorization``; empty without user name and password.
    authorization: Secret

    @property
    def place(self) -> str:
        """How to name it in messages: no user name, no password."""
        return _place(self.host, self.port)

    def request(self, host: str, port: int) -> bytes:
        """Return what asks for a way to a host."""
        target = _place(host, port)
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", "User-Agent: wxmp-sdk"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization.reveal()}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def refusal(self, head: bytes, host: str, port: int) -> str:
        """Return what is wrong with an answer; nothing when the way is open.

        The proxy's own words are left out: it can repeat the password in them.
        """
        if not head:
            return f"the proxy {self.place} hung up without an answer"
        found = _STATUS.match(head)
        status = int(found[1]) if found is not None else 0
        opens = 200 <= status < 300
        if opens and head.endswith(_BLANK):
            return ""
        if opens or not status:
            return f"the proxy {self.place} does not answer as an HTTP proxy does"
        if status == _NEEDS_PASSWORD:
            wish = "refuses user name and password" if self.authorization else "wants a user name and a password"
            return f"the proxy {self.place} {wish} (HTTP 407)"
        does = "cannot reach" if status >= _SERVER_ERROR else "refuses the way to"
        return f"the proxy {self.place} {does} {_place(host, port)} (HTTP {status})"


def parse_proxy(address: str) -> Proxy:
    """Read the address of a proxy.

    Raises:
        ConfigError: It cannot be one. The message does not repeat it, for it may hold a password.
    """
    if not isinstance(address, str):
        raise ConfigError("proxy must be a text such as 'http://proxy.internal:3128'", field="proxy")
    proxy = _parsed(address.strip())
    # Not where the parser's own error is at hand: its words repeat a part of the address.
    if proxy is None:
        raise ConfigError(
            "proxy must be an address such as 'http://proxy.internal:3128' or 'https://user:password@proxy.internal', "
            "with http:// or https:// in front and nothing behind the port; in user name and password the signs "
            "'@', ':', '/', '#', '?' and '%' are percent-encoded. A SOCKS proxy goes into http_client=",
            field="proxy",
        )
    return proxy


def proxy_from_env(variables: Mapping[str, str], name: str) -> str | None:
    """Return the address of a proxy that stands in a variable; ``None`` if there is none.

    Raises:
        ConfigError: It cannot be one; the message names the variable.
    """
    address = variables.get(name)
    if not address:
        return None
    with named_in_env(name):
        parse_proxy(address)
    return address


def without_interim(head: bytes) -> bytes:
    """Return what has come of an answer, without the whole interim ones (1xx) in front of it."""
    while _INTERIM.match(head) is not None and _BLANK in head:
        head = head.partition(_BLANK)[2]
    return head


def _parsed(address: str) -> Proxy | None:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not address.isprintable() or "?" in address or "#" in address:
        return None
    if parts.path not in ("", "/") or port == 0 or not _is_host(host):
        return None
    user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    authorization = ""
    if user or colon:
        login = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
        authorization = f"Basic {base64.b64encode(login).decode('ascii')}"
    return Proxy(host, port or _PORTS[parts.scheme], parts.scheme == "https", Secret(authorization))


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _NAME.fullmatch(host) is not None
    return True


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
