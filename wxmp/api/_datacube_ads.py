"""The pages of advertisement figures: how they are asked for, judged, read and walked through.

Their answers have a verdict, a shape and codes of their own, which no other endpoint shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from wxmp._wire import decode
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_number, check_text, refusal
from wxmp.api._datacube_dates import check_range
from wxmp.api._datacube_records import AdReport, tuple_of
from wxmp.api._pages import next_page
from wxmp.errors import ArgumentError, NotAuthorizedError, ReplyError, api_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from wxmp._caller import Caller, Endpoint
    from wxmp._wire import JsonObject, JsonValue
    from wxmp.api._datacube_dates import Window
    from wxmp.errors import APIError

__all__ = ["AD_PAGE", "ad_report", "one_window", "plain_settlement", "read_page", "walk"]

T = TypeVar("T")
S = TypeVar("S")

#: Most entries on one page.
AD_PAGE: Final = 90

AD_ARGUMENT_REFUSED: Final = 1701
AD_NO_OWNER: Final = 2009
AD_UNKNOWN_ACTION: Final = 45010
RANGE_REFUSED: Final = 61501


def one_window(endpoint: Endpoint, begin_date: object, end_date: object | None, days: int, instead: str) -> Window:
    """Return both days if one page may span them.

    Raises:
        ArgumentError: A day is no date (61500), or the range cannot be or is too long (61501).
    """
    first, last = check_range(endpoint, begin_date, end_date)
    asked = (last - first).days + 1
    if asked > days:
        problem = f"makes it {asked} days; at most {days} go into one page, {instead} takes any number"
        raise refusal(endpoint, "end_date", RANGE_REFUSED, problem)
    return first, last


async def read_page(
    call: Caller, endpoint: Endpoint, action: str, window: Window, page_size: int, ad_slot: str | None, page: int
) -> JsonObject:
    """Read one page and judge it: its verdict is in ``base_resp``, and no errcode is there to be seen."""
    refused = AD_ARGUMENT_REFUSED
    check_number(endpoint, "page", page, errcode=refused, problem="must be 1 or more", least=1)
    problem = f"must be 1 to {AD_PAGE}"
    check_number(endpoint, "page_size", page_size, errcode=refused, problem=problem, least=1, most=AD_PAGE)
    if ad_slot is not None:
        ad_slot = str(check_text(endpoint, "ad_slot", ad_slot, errcode=AD_ARGUMENT_REFUSED))
    params: dict[str, str | int | bool | None] = {
        "action": action,
        "page": page,
        "page_size": page_size,
        "start_date": window[0].isoformat(),
        "end_date": window[1].isoformat(),
        "ad_slot": ad_slot,
    }
    reply = await call(endpoint, params=params)
    _judge(endpoint, reply.get("base_resp"))
    return reply


def plain_settlement(reply: JsonObject) -> JsonObject:
    """Give an answer about settlements the shape of the other two.

    They have a list and a summary; this one has them under other names, or beside the list.
    """
    reply = dict(reply)
    if "settlement_list" in reply:
        reply["list"] = reply.pop("settlement_list")
    totals: JsonObject = {
        name: reply.pop(name) for name in ("body", "revenue_all", "penalty_all", "settled_revenue_all") if name in reply
    }
    summary = reply.get("summary")
    reply["summary"] = {**summary, **totals} if isinstance(summary, dict) else totals
    return reply


def ad_report(endpoint: Endpoint, reply: JsonObject, record: type[T], totals: type[S]) -> AdReport[T, S]:
    """Read a page that was judged."""
    known = ("base_resp", "summary", "list", "total_num")
    return AdReport(
        decode(tuple_of(record), field_of(reply, "list", endpoint), endpoint=endpoint.name),
        record=record,
        summary=decode(totals, reply.get("summary") or {}, endpoint=endpoint.name),
        total=decode(int, field_of(reply, "total_num", endpoint), endpoint=endpoint.name),
        extra={name: value for name, value in without_verdict(reply).items() if name not in known},
    )


def _judge(endpoint: Endpoint, verdict: JsonValue) -> None:
    """Raise what the ``base_resp`` of an answer says.

    The codes of this endpoint are its own: some of them mean something else everywhere else.
    """
    if not isinstance(verdict, dict):
        return
    code = decode(int, verdict.get("ret") or 0, endpoint=endpoint.name)
    if not code:
        return
    error = api_error(code, str(verdict.get("err_msg") or ""), endpoint=endpoint.name)
    cls: type[APIError] = type(error)
    advice = error.advice
    if code == AD_ARGUMENT_REFUSED:
        cls, advice = ArgumentError, "Check the days, page, page_size and ad_slot."
    elif code == AD_NO_OWNER:
        cls, advice = NotAuthorizedError, "The account must become a traffic owner (流量主) in the console first."
    elif code == AD_UNKNOWN_ACTION:
        cls, advice = ArgumentError, "The platform does not know this kind of figures."
    raise cls(errcode=code, errmsg=error.errmsg, endpoint=endpoint.name, rid=error.rid, advice=advice)


async def walk(endpoint: Endpoint, fetch: Callable[[int], Awaitable[AdReport[T, object]]]) -> AsyncGenerator[T, None]:
    """Yield the records of all pages; each page is fetched when it is needed."""
    page = seen = 0
    before: tuple[T, ...] = ()
    while True:
        page = next_page(page, endpoint)
        found = await fetch(page)
        rows = tuple(found)
        if rows and rows == before:
            raise ReplyError("the page does not move on, so the list would never end", endpoint=endpoint.name)
        before = rows
        for item in rows:
            yield item
        seen += len(rows)
        if not rows or seen >= found.total:
            return
