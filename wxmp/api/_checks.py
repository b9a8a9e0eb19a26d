"""What the families check before a request goes out, and how they cut long lists and walk through pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import attrs

from wxmp._wire import JsonObject
from wxmp.errors import ArgumentError, ReplyError, WxmpError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from wxmp._caller import Endpoint

__all__ = [
    "OPENID_INVALID",
    "OPENID_LIST_LENGTH",
    "OpenidData",
    "OpenidPage",
    "check_openid",
    "check_openids",
    "check_text",
    "field_of",
    "in_batches",
    "refusal",
    "walk_pages",
    "without_verdict",
]

T = TypeVar("T")

#: An openid that cannot be one.
OPENID_INVALID: Final = 40003
#: A list of openids with a length the platform refuses.
OPENID_LIST_LENGTH: Final = 40032


@attrs.frozen
class OpenidData:
    """The ``data`` object of a page."""

    openid: tuple[str, ...] = ()


@attrs.frozen
class OpenidPage:
    """One page of openids (OpenID列表)."""

    #: All that there are, on all pages.
    total: int
    #: Entries on this page.
    count: int
    #: The cursor for the next page; empty at the end.
    next_openid: str = ""
    #: The entries as the platform wraps them; absent on an empty page. :attr:`openids` is easier.
    data: OpenidData | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @property
    def openids(self) -> tuple[str, ...]:
        """The entries of this page."""
        return self.data.openid if self.data is not None else ()


class Page(Protocol):
    """What :func:`walk_pages` needs of a page."""

    @property
    def count(self) -> int: ...

    @property
    def next_openid(self) -> str: ...

    @property
    def openids(self) -> tuple[str, ...]: ...


def refusal(endpoint: Endpoint, field: str, errcode: int, problem: str) -> ArgumentError:
    """Make the error for an argument that the platform would refuse with ``errcode``; the caller raises it."""
    return ArgumentError(errcode=errcode, errmsg=problem, endpoint=endpoint.name, field=field)


def check_text(
    endpoint: Endpoint,
    field: str,
    value: object,
    *,
    errcode: int,
    max_bytes: int | None = None,
    max_chars: int | None = None,
    too_long: int | None = None,
) -> str:
    """Return ``value`` if it is a text with something in it that is not too long.

    Args:
        endpoint: Where it would be sent.
        field: The path of the argument, for the error.
        value: What the user gave.
        errcode: The platform's code for an empty one.
        max_bytes: Most bytes in UTF-8.
        max_chars: Most characters.
        too_long: The platform's code for a long one; ``errcode`` if absent.

    Raises:
        ArgumentError: It is no text, empty, or too long.
    """
    if not isinstance(value, str):
        raise refusal(endpoint, field, errcode, f"must be a text, not {type(value).__name__}")
    if not value.strip():
        raise refusal(endpoint, field, errcode, "is needed and must not be empty")
    if max_chars is not None and len(value) > max_chars:
        problem = f"has {len(value)} characters; shorten it to {max_chars}"
        raise refusal(endpoint, field, too_long or errcode, problem)
    if max_bytes is not None:
        # A lone surrogate has no UTF-8 form; the encoder refuses it later with its own message.
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > max_bytes:
            problem = f"has {size} bytes in UTF-8; shorten it to {max_bytes} (a Chinese character has 3)"
            raise refusal(endpoint, field, too_long or errcode, problem)
    return value


def check_openid(endpoint: Endpoint, openid: object, *, field: str = "openid") -> str:
    """Return ``openid`` if it can be one.

    Raises:
        ArgumentError: It is no text, or empty (40003).
    """
    return check_text(endpoint, field, openid, errcode=OPENID_INVALID)


def check_openids(
    endpoint: Endpoint, openids: Iterable[str], *, field: str = "openids", empty: int = OPENID_LIST_LENGTH
) -> tuple[str, ...]:
    """Return the openids without repetitions, in their order.

    Args:
        endpoint: Where they would be sent.
        openids: What the user gave.
        field: The name of the argument, for the error.
        empty: The platform's code for a list with nothing in it.

    Raises:
        ArgumentError: There are none (40032), one of them cannot be an openid (40003), or it is one text, whose
            letters would be taken for openids.
    """
    if isinstance(openids, str | bytes):
        raise refusal(endpoint, field, OPENID_INVALID, "is one text; put the openid in a list")
    unique = tuple(dict.fromkeys(openids))
    if not unique:
        raise refusal(endpoint, field, empty, "is empty; leave the call out when there is nobody to name")
    for index, openid in enumerate(unique):
        check_openid(endpoint, openid, field=f"{field}[{index}]")
    return unique


async def in_batches(
    openids: tuple[str, ...], size: int, send: Callable[[tuple[str, ...]], Awaitable[T]]
) -> tuple[T, ...]:
    """Send ``openids`` in batches of at most ``size``, one after the other, and return what each gave.

    When a later batch fails, the error carries a note about what was done. Only for calls that may be repeated.
    """
    results: list[T] = []
    for start in range(0, len(openids), size):
        try:
            results.append(await send(openids[start : start + size]))
        except WxmpError as error:
            if start:
                error.add_note(
                    f"{start} of {len(openids)} openids were done before this; repeating the whole call is safe"
                )
            raise
    return tuple(results)


async def walk_pages(
    fetch: Callable[[str], Awaitable[Page]], endpoint: Endpoint, *, next_openid: str = ""
) -> AsyncGenerator[str, None]:
    """Yield the openids of all pages; each page is fetched when it is needed.

    Args:
        fetch: Fetches the page behind a cursor.
        endpoint: Whose pages, for the error.
        next_openid: Where to begin; empty is the top.

    Raises:
        ReplyError: The platform gave a cursor for the second time: going on would never end.
    """
    cursor = next_openid
    seen = {cursor}
    while True:
        page = await fetch(cursor)
        cursor = page.next_openid
        if not page.count:
            return
        if cursor and cursor in seen:
            raise ReplyError("next_openid does not move on, so the list would never end", endpoint=endpoint.name)
        for openid in page.openids:
            yield openid
        if not cursor:
            return
        seen.add(cursor)


def field_of(reply: JsonObject, name: str, endpoint: Endpoint) -> object:
    """Return one field of an answer.

    Raises:
        ReplyError: It is not there, though the documentation says so.
    """
    try:
        return reply[name]
    except KeyError:
        raise ReplyError(
            f"the answer does not have the documented shape: {name} is missing", endpoint=endpoint.name
        ) from None


def without_verdict(reply: JsonObject) -> JsonObject:
    """Return an answer without ``errcode`` and ``errmsg``: they are judged, and no record has a place for them."""
    return {name: value for name, value in reply.items() if name not in ("errcode", "errmsg")}
