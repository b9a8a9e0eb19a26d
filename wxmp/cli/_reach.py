"""The way to the platform: a command that finds none gives up soon, and says what is wrong in words.

A service waits out what may pass, for nobody sits in front of it. Somebody who has typed a command does.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxmp._hosts import is_loopback
from wxmp.errors import ReplyError, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from wxmp.client import Client

__all__ = ["first_token", "in_reach", "in_words", "knocking", "set_proxies"]

#: Seconds for which a token request that got no usable answer is repeated.
PATIENCE: Final = 2.0
#: What asyncio says where the system's words should stand.
FAILED_CALL: Final = re.compile(r"\[Errno (\d+)\] Connect call failed \([^)]*\)")
#: Numbers and places in source code, which say nothing to whoever has to act.
NUMBERS: Final = re.compile(r"\[(?:Errno -?\d+|SSL: \w+)\] | \(_ssl\.c:\d+\)")


@asynccontextmanager
async def in_reach(client: Client) -> AsyncIterator[Client]:
    """Use a client and close it. It begins with the token, so that a platform out of reach is told before all else.

    Raises:
        WxmpError: There is no token, or no answer; the sentence says where and why.
    """
    async with client:
        with in_words(client):
            await first_token(client)
            yield client


async def first_token(client: Client) -> str:
    """Return the token; what fails is repeated for moments only. The fleet's cool-down counts for a command, too.

    Raises:
        WxmpError: There is none.
    """
    with knocking():
        return (await client.token_keeper().get(patience=PATIENCE)).reveal()


@contextmanager
def knocking() -> Iterator[None]:
    """Leave out what the log says about failed token requests: the command says it itself, in words."""

    def others(record: logging.LogRecord) -> bool:
        return getattr(record, "wxmp_event", "") != "token_refresh_failed"

    logger = logging.getLogger("wxmp.token")
    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


@contextmanager
def in_words(client: Client) -> Iterator[None]:
    """Put beside an error of the network what a person needs: which address it was, and where to look next.

    Raises:
        TransportError, ReplyError: The same, in words.
    """
    try:
        yield
    except (TransportError, ReplyError) as error:
        raise _in_words(error, client) from None


def _in_words(error: TransportError | ReplyError, client: Client) -> TransportError | ReplyError:
    place = client._platform.api  # noqa: SLF001 - same package
    found = NUMBERS.sub("", FAILED_CALL.sub(lambda match: os.strerror(int(match[1])), error.message))
    clear = error.fresh()
    clear.message = f"{found} ({place})."
    proxies = () if client._via else set_proxies(place, os.environ)  # noqa: SLF001 - same package
    if proxies:
        clear.message += f" {' and '.join(proxies)} is set, but wxmp takes its proxy from WXMP_PROXY only."
    clear.message += " wxmp doctor looks further."
    return clear


def set_proxies(address: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables by which other programs would take a proxy to an address, ``NO_PROXY`` heeded."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    exempt = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    if is_loopback(host) or any(_covers(name.strip().lower(), host) for name in exempt.split(",")):
        return ()
    names = (f"{parts.scheme}_proxy", "all_proxy")
    return tuple(name.upper() for name in names if variables.get(name) or variables.get(name.upper()))


def _covers(name: str, host: str) -> bool:
    """Tell whether an entry of ``NO_PROXY`` is about a host: its name, that of a domain above it, or all."""
    domain = name.removeprefix("*").lstrip(".")
    return name == "*" or (bool(domain) and f".{host}".endswith(f".{domain}"))
