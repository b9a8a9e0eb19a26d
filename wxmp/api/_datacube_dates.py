"""The calendar of the statistics: which days may be asked for, and in how many calls. Days are those of Beijing."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp._beijing import BEIJING
from wxmp.api._checks import refusal

if TYPE_CHECKING:
    from wxmp._caller import Endpoint

__all__ = [
    "CONTENT_FIRST_DAY",
    "FIRST_DAY",
    "Span",
    "Window",
    "check_range",
    "cut",
    "windows",
]

#: There are no statistics of earlier days.
FIRST_DAY: Final = date(2014, 12, 1)
#: The same for the four calls about published content (发表内容).
CONTENT_FIRST_DAY: Final = date(2025, 11, 1)

DATE_REFUSED: Final = 61500
RANGE_REFUSED: Final = 61501

ONE_DAY: Final = timedelta(days=1)

#: The first and the last day of one call.
Window = tuple[date, date]


@attrs.frozen
class Span:
    """What one call may ask for."""

    #: Most days.
    days: int = 1
    #: Weeks and months are asked for one by one, each by its first day.
    period: Literal["day", "week", "month"] = "day"
    #: The first day there is.
    first_day: date = FIRST_DAY


def check_range(endpoint: Endpoint, begin_date: object, end_date: object | None) -> Window:
    """Return both days if they are days and in order; without ``end_date`` it is one day.

    Raises:
        ArgumentError: One is no date (61500), or they are the wrong way round (61501).
    """
    first = _check_day(endpoint, "begin_date", begin_date)
    last = first if end_date is None else _check_day(endpoint, "end_date", end_date)
    if first > last:
        raise refusal(endpoint, "begin_date", RANGE_REFUSED, f"is {first}, after end_date {last}; swap them")
    return first, last


def windows(
    endpoint: Endpoint, span: Span, begin_date: object, end_date: object | None, *, now: float
) -> tuple[Window, ...]:
    """Cut a range into the fewest calls that are allowed, in order.

    Args:
        endpoint: Whose range, for the error.
        span: What one call may ask for.
        begin_date: The first day.
        end_date: The last day; the same one if ``None``.
        now: Seconds since 1970.

    Raises:
        ArgumentError: A day is no date (61500); the range is the wrong way round, begins before there was anything to
            count, ends later than yesterday, or has no beginning of a week or month in it (61501).
    """
    first, last = check_range(endpoint, begin_date, end_date)
    if first < span.first_day:
        raise refusal(endpoint, "begin_date", RANGE_REFUSED, f"is {first}; there is nothing before {span.first_day}")
    yesterday = datetime.fromtimestamp(now, BEIJING).date() - ONE_DAY
    if last > yesterday:
        field = "begin_date" if end_date is None else "end_date"
        raise refusal(endpoint, field, RANGE_REFUSED, f"is {last}; the latest day is yesterday in Beijing, {yesterday}")
    if span.period != "day":
        return _periods(endpoint, span, first, last)
    return cut(first, last, span.days)


def cut(first: date, last: date, days: int) -> tuple[Window, ...]:
    """Cut a range into windows of at most so many days, as few as there can be."""
    total = (last - first).days
    return tuple(
        (first + timedelta(days=start), first + timedelta(days=min(start + days - 1, total)))
        for start in range(0, total + 1, days)
    )


def _check_day(endpoint: Endpoint, field: str, value: object) -> date:
    if isinstance(value, datetime):
        # Which day that is depends on a time zone, and the caller's is seldom Beijing's.
        problem = "is a datetime; give the day in Beijing as a datetime.date"
        raise refusal(endpoint, field, DATE_REFUSED, problem)
    if not isinstance(value, date):
        problem = f"must be a datetime.date, not {type(value).__name__}"
        raise refusal(endpoint, field, DATE_REFUSED, problem)
    return value


def _periods(endpoint: Endpoint, span: Span, first: date, last: date) -> tuple[Window, ...]:
    """Return the weeks or months that begin in a range.

    The documentation once allowed ranges here and now wants the first day twice. The latter satisfies both.
    """
    found: list[Window] = []
    if span.period == "week":
        day = first + timedelta(days=-first.weekday() % 7)
        while day <= last:
            found.append((day, day))
            day += timedelta(days=7)
    else:
        day = first if first.day == 1 else _next_month(first)
        while day <= last:
            found.append((day, day))
            day = _next_month(day)
    if not found:
        beginning = "a Monday" if span.period == "week" else "the first day of a month"
        problem = f"no {span.period} begins between {first} and {last}; the range must have {beginning} in it"
        raise refusal(endpoint, "begin_date", RANGE_REFUSED, problem)
    return tuple(found)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
