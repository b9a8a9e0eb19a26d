"""Statistics (数据统计): the numbers of past days, counted from what happened. All rows are made in this file."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import attrs

from wxmp.simulator import library
from wxmp.simulator.routes import Call, Route
from wxmp.simulator.statistics import Day, Replies, day_end, day_of, days, followers_at
from wxmp.simulator.wire import JsonObject, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wxmp.simulator.library import Published

__all__ = ["ROUTES"]

DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
ALL_SOURCES: Final = 99_999_999
FROM_CHAT: Final = 0
ELSEWHERE: Final = 5
# The upper ends of the bands of getupstreammsgdist: 1 to 5 messages, 6 to 10, more.
BANDS: Final = ((5, 1), (10, 2))
LAST_BAND: Final = 3
EMPTY: Final = Day()


# --- dates --------------------------------------------------------------------------------------------------------


def span(call: Call, *, whole: str = "") -> tuple[date, date]:
    """Read the dates of a call.

    Args:
        call: The call.
        whole: ``"week"`` or ``"month"`` where such a period is asked for by its first day.

    Raises:
        Refusal: No date 61500, a span too wide or not over yet 61501, yesterday asked for too early 61503.
    """
    policy = call.world.policy
    first, last = read_date(call, "begin_date"), read_date(call, "end_date")
    today, limit = day_of(call.now), policy.datacube_days[call.request.path]
    if first > last or first < date.fromisoformat(policy.datacube_first_day):
        raise Refusal(61501, f"from {first} to {last}; there is nothing before {policy.datacube_first_day}")
    if (last - first).days >= limit:
        raise Refusal(61501, f"{(last - first).days + 1} days are asked for, at most {limit} are allowed")
    if last >= today:
        raise Refusal(61501, f"end_date is {last}, at most {today - timedelta(days=1)} is allowed")
    if whole and policy.datacube_whole_periods and (first != last or first != period_start(first, whole)):
        raise Refusal(61501, f"a {whole} is asked for by its first day, in both dates")
    ready = day_end(today - timedelta(days=1)) + policy.datacube_ready_hour * 3600
    if last == today - timedelta(days=1) and call.now < ready:
        raise Refusal(61503, f"the numbers of {last} are ready at {policy.datacube_ready_hour:g} o'clock")
    return first, last


def read_date(call: Call, name: str) -> date:
    """Read one date."""
    given = call.text(name)
    try:
        return date.fromisoformat(given if DATE.fullmatch(given) else "")
    except ValueError:
        raise Refusal(61500, f"{name} is {call.body.get(name)!r}") from None


def period_start(day: date, whole: str) -> date:
    """Return the first day of the week or month of a day."""
    return day - timedelta(days=day.weekday()) if whole == "week" else day.replace(day=1)


def period_days(call: Call, start: date, whole: str) -> list[date]:
    """Return the days of a week or month that are over."""
    end = start + timedelta(days=6)
    if whole == "month":
        end = (start + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return list(days(start, min(end, day_of(call.now) - timedelta(days=1))))


def periods(call: Call, whole: str) -> list[tuple[date, list[date]]]:
    """Return what a call is about: each period's first day, and its days. A single day is its own period."""
    first, last = span(call, whole=whole)
    if not whole:
        return [(day, [day]) for day in days(first, last)]
    starts = dict.fromkeys(period_start(day, whole) for day in days(first, last))
    return [(start, period_days(call, start, whole)) for start in starts if start >= first]


def record(call: Call, day: date) -> Day:
    """Return what was counted on a day."""
    return call.owner.statistics.days.get(day.isoformat(), EMPTY)


def listed(rows: Iterable[JsonObject]) -> JsonObject:
    """Return the answer of every endpoint here."""
    return {"list": list(rows)}


# --- users --------------------------------------------------------------------------------------------------------


def user_summary(call: Call) -> JsonObject:
    """Count followers gained and lost, by day and source."""
    rows: list[JsonObject] = []
    for day, _ in periods(call, ""):
        numbers = record(call, day)
        rows += [
            {
                "ref_date": day.isoformat(),
                "user_source": source,
                "new_user": numbers.gained.get(source, 0),
                "cancel_user": numbers.lost.get(source, 0),
            }
            for source in sorted(numbers.gained.keys() | numbers.lost.keys())
        ]
    return listed(rows)


def user_cumulate(call: Call) -> JsonObject:
    """Tell how many followers there were at the end of each day."""
    return listed(
        {
            "ref_date": day.isoformat(),
            "user_source": 0,
            "cumulate_user": followers_at(call.owner, day_end(day)),
        }
        for day, _ in periods(call, "")
    )


# --- articles -----------------------------------------------------------------------------------------------------


@attrs.define
class Reach:
    """Who read and who shared, and how often: a person once, an act every time."""

    readers: set[str] = attrs.field(factory=set[str])
    reads: int = 0
    sharers: set[str] = attrs.field(factory=set[str])
    shares: int = 0

    def fields(self) -> JsonObject:
        """Return the figures every article row has. Source pages and favourites do not happen in this world."""
        return {
            "int_page_read_user": len(self.readers),
            "int_page_read_count": self.reads,
            "ori_page_read_user": 0,
            "ori_page_read_count": 0,
            "share_user": len(self.sharers),
            "share_count": self.shares,
            "add_to_fav_user": 0,
            "add_to_fav_count": 0,
        }

    def read(self, openid: str, number: int) -> None:
        """Count a read; a reader nobody knows is one of their own."""
        self.readers.add(openid or f"?{number}")
        self.reads += 1

    def share(self, openid: str, times: int) -> None:
        """Count shares."""
        self.sharers.add(openid)
        self.shares += times


def mass_articles(call: Call, day: date) -> list[Published]:
    """Return the articles mass-sent on a day."""
    published = call.owner.library.published.values()
    return [one for one in published if one.mass and day_of(one.at) == day]


def article_id(published: Published) -> str:
    """Return how statistics name an article."""
    return f"{published.msg_data_id}_{published.index + 1}"


def reach(call: Call, found: Iterable[date], article: str | None = None) -> Reach:
    """Return who read and shared on some days: one article, or all of them."""
    reached, account = Reach(), call.owner
    for day in found:
        end = day_end(day)
        for number, read in enumerate(library.reads_between(account, end - 86_400, end)):
            if article is None or read.key == article:
                reached.read(read.openid, number)
        for sharing in record(call, day).shares:
            if article is None or sharing.article == article:
                for openid, times in sharing.users.items():
                    reached.share(openid, times)
    return reached


def article_summary(call: Call) -> JsonObject:
    """Count the reading of a day's mass-sent articles on that day."""
    return listed(
        {
            "ref_date": day.isoformat(),
            "msgid": article_id(one),
            "title": one.article.title,
            **reach(call, [day], one.key).fields(),
        }
        for day, _ in periods(call, "")
        for one in mass_articles(call, day)
    )


def article_total(call: Call) -> JsonObject:
    """Follow a day's mass-sent articles over the days after: each row counts up to its day."""
    yesterday = day_of(call.now) - timedelta(days=1)
    rows: list[JsonObject] = []
    for day, _ in periods(call, ""):
        last = min(day + timedelta(days=call.world.policy.datacube_article_days - 1), yesterday)
        for one in mass_articles(call, day):
            sent = next((b for b in call.owner.outreach.broadcasts.values() if b.msg_data_id == one.msg_data_id), None)
            details: list[JsonObject] = []
            for until in days(day, last):
                reached = reach(call, days(day, until), one.key)
                details.append(
                    {
                        "stat_date": until.isoformat(),
                        "target_user": sent.sent if sent is not None else 0,
                        **reached.fields(),
                        "int_page_from_session_read_user": len(reached.readers),
                        "int_page_from_session_read_count": reached.reads,
                        "feed_share_from_session_user": len(reached.sharers),
                        "feed_share_from_session_cnt": reached.shares,
                    }
                )
            rows.append(
                {
                    "ref_date": day.isoformat(),
                    "msgid": article_id(one),
                    "title": one.article.title,
                    "details": details,
                }
            )
    return listed(rows)


def user_read(call: Call) -> JsonObject:
    """Count the reading of all articles, by source: followers come from the chat, others from elsewhere."""
    rows: list[JsonObject] = []
    for day, _ in periods(call, ""):
        rows += read_rows(call, day, day_end(day) - 86_400, day_end(day), {})
    return listed(rows)


def user_read_hour(call: Call) -> JsonObject:
    """Count the reading of all articles by hour and source."""
    rows: list[JsonObject] = []
    for day, _ in periods(call, ""):
        for hour in range(24):
            start = day_end(day) - 86_400 + hour * 3600
            rows += read_rows(call, day, start, start + 3600, {"ref_hour": hour * 100}, hour)
    return listed(rows)


def read_rows(
    call: Call, day: date, start: float, end: float, more: JsonObject, hour: int | None = None
) -> list[JsonObject]:
    """Return a row for each source that had readers, and one for all of them."""
    account, reached = call.owner, dict[int, Reach]()
    for number, read in enumerate(library.reads_between(account, start, end)):
        user = account.users.get(read.openid)
        source = FROM_CHAT if user is not None and user.following else ELSEWHERE
        for key in (source, ALL_SOURCES):
            reached.setdefault(key, Reach()).read(read.openid, number)
    for sharing in record(call, day).shares:
        if hour is None or sharing.hour == hour:
            for openid, times in sharing.users.items():
                for key in (FROM_CHAT, ALL_SOURCES):
                    reached.setdefault(key, Reach()).share(openid, times)
    return [
        {"ref_date": day.isoformat(), **more, "user_source": source, **reached[source].fields()}
        for source in sorted(reached)
    ]


def user_share(call: Call) -> JsonObject:
    """Count the sharing of articles by scene."""
    rows: list[JsonObject] = []
    for day, _ in periods(call, ""):
        rows += share_rows(call, day, None)
    return listed(rows)


def user_share_hour(call: Call) -> JsonObject:
    """Count the sharing of articles by hour and scene."""
    rows: list[JsonObject] = []
    for day, _ in periods(call, ""):
        for hour in range(24):
            rows += share_rows(call, day, hour)
    return listed(rows)


def share_rows(call: Call, day: date, hour: int | None) -> list[JsonObject]:
    """Return a row for each scene articles were shared in."""
    scenes: dict[int, Counter[str]] = {}
    for sharing in record(call, day).shares:
        if hour is None or sharing.hour == hour:
            scenes.setdefault(sharing.scene, Counter()).update(sharing.users)
    more: JsonObject = {} if hour is None else {"ref_hour": hour * 100}
    return [
        {
            "ref_date": day.isoformat(),
            **more,
            "share_scene": scene,
            "share_user": len(users),
            "share_count": users.total(),
        }
        for scene, users in sorted(scenes.items())
    ]


# --- messages of users --------------------------------------------------------------------------------------------


def messages(call: Call, found: Iterable[date], hour: int | None = None) -> dict[int, Counter[str]]:
    """Return how many messages of each kind each user sent on some days."""
    kinds: dict[int, Counter[str]] = {}
    for day in found:
        for at, sent in record(call, day).messages.items():
            if hour is None or at == hour:
                for kind, users in sent.items():
                    kinds.setdefault(kind, Counter()).update(users)
    return kinds


def message_rows(day: date, kinds: dict[int, Counter[str]], hour: int | None = None) -> list[JsonObject]:
    """Return a row for each kind of message."""
    more: JsonObject = {} if hour is None else {"ref_hour": hour * 100}
    return [
        {"ref_date": day.isoformat(), **more, "msg_type": kind, "msg_user": len(users), "msg_count": users.total()}
        for kind, users in sorted(kinds.items())
    ]


def upstream(whole: str) -> Callable[[Call], JsonObject]:
    """Return the handler that counts the messages of users over days, weeks or months."""

    def handler(call: Call) -> JsonObject:
        rows: list[JsonObject] = []
        for start, found in periods(call, whole):
            rows += message_rows(start, messages(call, found))
        return listed(rows)

    return handler


def upstream_hour(call: Call) -> JsonObject:
    """Count the messages of users by hour."""
    rows: list[JsonObject] = []
    for day, found in periods(call, ""):
        for hour in range(24):
            rows += message_rows(day, messages(call, found, hour), hour)
    return listed(rows)


def upstream_dist(whole: str) -> Callable[[Call], JsonObject]:
    """Return the handler that counts how many users sent how much."""

    def handler(call: Call) -> JsonObject:
        rows: list[JsonObject] = []
        for start, found in periods(call, whole):
            users: Counter[str] = Counter()
            for counted in messages(call, found).values():
                users.update(counted)
            bands = Counter(band(count) for count in users.values())
            rows += [
                {"ref_date": start.isoformat(), "count_interval": number, "msg_user": bands[number]}
                for number in sorted(bands)
            ]
        return listed(rows)

    return handler


def band(count: int) -> int:
    """Return the band of a number of messages."""
    return next((number for most, number in BANDS if count <= most), LAST_BAND)


# --- the developer's server ---------------------------------------------------------------------------------------


def interface_summary(call: Call) -> JsonObject:
    """Count what the developer's server did with pushes, by day."""
    rows: list[JsonObject] = []
    for day, _ in periods(call, ""):
        hours = list(record(call, day).replies.values())
        if hours:
            rows.append({"ref_date": day.isoformat(), **reply_fields(hours)})
    return listed(rows)


def interface_summary_hour(call: Call) -> JsonObject:
    """Count what the developer's server did with pushes, by hour."""
    return listed(
        {"ref_date": day.isoformat(), "ref_hour": hour * 100, **reply_fields([replies])}
        for day, _ in periods(call, "")
        for hour, replies in sorted(record(call, day).replies.items())
    )


def reply_fields(hours: list[Replies]) -> JsonObject:
    """Return the figures of some hours."""
    return {
        "callback_count": sum(hour.count for hour in hours),
        "fail_count": sum(hour.fails for hour in hours),
        "total_time_cost": sum(hour.total for hour in hours),
        "max_time_cost": max(hour.longest for hour in hours),
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/datacube/getusersummary", user_summary),
    Route("POST", "/datacube/getusercumulate", user_cumulate),
    Route("POST", "/datacube/getarticlesummary", article_summary),
    Route("POST", "/datacube/getarticletotal", article_total),
    Route("POST", "/datacube/getuserread", user_read),
    Route("POST", "/datacube/getuserreadhour", user_read_hour),
    Route("POST", "/datacube/getusershare", user_share),
    Route("POST", "/datacube/getusersharehour", user_share_hour),
    Route("POST", "/datacube/getupstreammsg", upstream("")),
    Route("POST", "/datacube/getupstreammsghour", upstream_hour),
    Route("POST", "/datacube/getupstreammsgweek", upstream("week")),
    Route("POST", "/datacube/getupstreammsgmonth", upstream("month")),
    Route("POST", "/datacube/getupstreammsgdist", upstream_dist("")),
    Route("POST", "/datacube/getupstreammsgdistweek", upstream_dist("week")),
    Route("POST", "/datacube/getupstreammsgdistmonth", upstream_dist("month")),
    Route("POST", "/datacube/getinterfacesummary", interface_summary),
    Route("POST", "/datacube/getinterfacesummaryhour", interface_summary_hour),
)
