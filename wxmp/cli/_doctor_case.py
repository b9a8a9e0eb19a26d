"""The account that ``wxmp doctor`` looks at: what is known about it, and what each check has learned."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import threading
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from wxmp._hosts import is_loopback
from wxmp._proxy import Proxy, parse_proxy
from wxmp.cli._doctor_report import CHECKS, Check
from wxmp.client import Client
from wxmp.config import PRODUCTION
from wxmp.tokens.store import TokenRecord

__all__ = ["Case", "SkippedError", "is_private", "passwords", "resolve"]

Address = tuple[Any, Any, Any, Any, Any]

#: Short enough not to be an AppSecret by mistake.
APPID: Final = re.compile(r"(?:wx|gh_)[A-Za-z0-9_-]{0,20}")
#: Variables whose values are never shown.
SECRETS: Final = (
    "WXMP_SECRET",
    "WXMP_CONTROL_KEY",
    "WXMP_CALLBACK_TOKEN",
    "WXMP_ENCODING_AES_KEY",
    "WXMP_PAY_API_V3_KEY",
    "WXMP_PAY_PREVIOUS_API_V3_KEY",
    "WXMP_PAY_PRIVATE_KEY",
)


class SkippedError(Exception):
    """A check cannot be made; the text says why."""


@attrs.define(kw_only=True)
class Case:
    """One account under examination."""

    variables: Mapping[str, str] = attrs.field(repr=False)
    #: ``stable``, or ``plain`` for a fleet that uses the older endpoint.
    channel: str = "stable"
    callback: str = ""
    original_id: str = ""
    #: Whether a harmless push may be sent to the callback URL.
    push: bool = True
    #: Seconds to look for a second system.
    watch: float = 2.0

    #: What must not be shown, whoever says it.
    hidden: set[str] = attrs.field(factory=set[str], repr=False)
    done: dict[str, Check] = attrs.field(factory=dict[str, Check])
    client: Client | None = None
    #: Seconds that the platform's clock is ahead of this machine's, and how exact that is.
    ahead: float | None = None
    ahead_within: float = 0.0
    #: The same for the store's clock.
    store_ahead: float | None = None
    record: TokenRecord | None = None
    #: What the stable endpoint hands out, and how long it lives; never shown.
    issued: str = attrs.field(default="", repr=False)
    issued_left: float = 0.0
    #: When it was asked, on the clock of the event loop.
    issued_at: float = 0.0
    #: What the fleet uses.
    token: str = attrs.field(default="", repr=False)
    #: The code with which the platform refused it.
    dead: int = 0
    #: Calls of today by path, as the platform counts them.
    used: dict[str, int] = attrs.field(factory=dict[str, int])

    @property
    def appid(self) -> str:
        """The AppID, as given."""
        return self.variables.get("WXMP_APPID", "")

    @property
    def endpoint(self) -> str:
        """Where the platform answers."""
        return self.variables.get("WXMP_ENDPOINT", "") or PRODUCTION.api

    @property
    def place(self) -> str:
        """The platform's address, as it may be shown."""
        try:
            parts = urlsplit(self.endpoint)
        except ValueError:
            return "(no address)"
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def shown_appid(self) -> str:
        """The AppID; nothing when it can be something else, such as the AppSecret."""
        return self.appid if APPID.fullmatch(self.appid) else ""

    @property
    def proxy(self) -> Proxy | None:
        """The proxy on the way to the platform; there is none to this machine.

        Raises:
            ConfigError: It cannot be one.
        """
        address = self.variables.get("WXMP_PROXY", "")
        return parse_proxy(address) if address and not self.simulated else None

    @property
    def store_url(self) -> str:
        """Where tokens are kept; can hold a password."""
        return self.variables.get("WXMP_TOKEN_STORE", "") or "memory:"

    @property
    def store_kind(self) -> str:
        """``memory``, ``file``, ``redis`` or ``control``."""
        kind = self.store_url.partition(":")[0]
        return "redis" if kind in ("rediss", "unix") else kind

    @property
    def callback_token(self) -> str:
        """The Token of the callback."""
        return self.variables.get("WXMP_CALLBACK_TOKEN", "")

    @property
    def aes_key(self) -> str:
        """The EncodingAESKey; empty in plain mode."""
        if self.variables.get("WXMP_CALLBACK_MODE", "") == "plain":
            return ""
        return self.variables.get("WXMP_ENCODING_AES_KEY", "")

    @property
    def simulated(self) -> bool:
        """Whether the platform is a simulator on this machine."""
        try:
            return is_loopback(urlsplit(self.endpoint).hostname or "")
        except ValueError:
            return False

    def hide_settings(self) -> None:
        """Remember the secrets of the environment, so that nothing shows them."""
        for name in SECRETS:
            value = self.variables.get(name, "")
            self.hidden |= {value, value.strip()}
        for address in (self.store_url, self.endpoint, self.callback, self.variables.get("WXMP_PROXY", "")):
            self.hidden.update(passwords(address))
        if not self.shown_appid:
            self.hidden.add(self.appid)
        self.hidden.discard("")

    def need(self, *checks: str) -> None:
        """See that other checks have found nothing wrong.

        Raises:
            SkippedError: One has.
        """
        for name in checks:
            check = self.done.get(name)
            if check is None or check.status in ("error", "skipped"):
                raise SkippedError(f"needs “{CHECKS[name][0]}”, which is not in order")

    def failed(self, check: str) -> bool:
        """Tell whether a check has found a problem."""
        return check in self.done and self.done[check].status == "error"


def passwords(address: str) -> set[str]:
    """Return what is secret in an address."""
    try:
        parts = urlsplit(address)
        found = {parts.password or "", parts.query if "password" in parts.query else ""}
    except ValueError:
        return {address}
    return {text for value in found for text in (value, unquote(value)) if text}


def is_private(host: str) -> bool:
    """Tell whether an address is one that nobody outside can reach."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".local", ".internal", ".lan"))


async def resolve(host: str, port: int) -> list[Address]:
    """Look a name up, in a thread of its own: one that the system never answers holds nothing up.

    Raises:
        OSError: There is no such name, or nobody who knows.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def settle(found: list[Address] | None, error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])

    def look() -> None:
        found: list[Address] | None = None
        error: OSError | None = None
        try:
            found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except UnicodeError:
            error = socket.gaierror(socket.EAI_NONAME, "it cannot be a host name")
        except OSError as problem:
            error = problem
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, found, error)

    threading.Thread(target=look, name="wxmp-doctor-dns", daemon=True).start()
    return await answer
