"""Long lists: cut into batches on the way out, walked page by page on the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import attrs

from wxmp._wire import JsonObject
from wxmp.errors import ReplyError, WxmpError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from wxmp._caller import Endpoint

__all__ = ["MOST_PAGES", "OpenidData", "OpenidPage", "in_batches", "next_page", "walk_offsets", "walk_pages"]

T = TypeVar("T")

#: Pages of one list. The longest one, the followers, would have a thousand million entries by then.
MOST_PAGES: Final = 100_000


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
        ReplyError: The platform gave a cursor for the second time, or one behind a page without entries, or more pages
            than can be: going on would never end.
    """
    cursor = next_openid
    seen = {cursor}
    while True:
        page = await fetch(cursor)
        cursor = page.next_openid
        if not page.openids and not page.count:
            return
        if cursor and (cursor in seen or not page.openids):
            raise ReplyError("next_openid does not move on, so the list would never end", endpoint=endpoint.name)
        for openid in page.openids:
            yield openid
        if not cursor:
            return
        next_page(len(seen), endpoint)
        seen.add(cursor)


def next_page(done: int, endpoint: Endpoint) -> int:
    """Return the number of the page after ``done`` pages.

    Raises:
        ReplyError: No list has that many.
    """
    if done >= MOST_PAGES:
        raise ReplyError(f"more than {done} pages: the list would never end", endpoint=endpoint.name)
    return done + 1


async def walk_offsets(
    fetch: Callable[[int], Awaitable[tuple[Sequence[T], int]]], endpoint: Endpoint, *, offset: int = 0
) -> AsyncGenerator[T, None]:
    """Yield the entries of all pages of a list that is read by position; each page is fetched when it is needed.

    The platform's lists have no cursor: what is added or deleted at the front meanwhile moves the rest, so that an
    entry can come twice or be passed over.

    Args:
        fetch: Fetches the page at a position: its entries, and how many there are in all.
        endpoint: Whose pages, for the error.
        offset: Where to begin.

    Raises:
        ReplyError: The platform gave the same page a second time, or more pages than can be.
    """
    before: Sequence[T] = ()
    number = 0
    while True:
        number = next_page(number, endpoint)
        page, total = await fetch(offset)
        if page and page == before:
            raise ReplyError("the offset does not move on, so the list would never end", endpoint=endpoint.name)
        before = page
        for entry in page:
            yield entry
        offset += len(page)
        if not page or offset >= total:
            return
