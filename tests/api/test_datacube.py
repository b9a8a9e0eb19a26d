"""Statistics: ranges cut into windows, records of every kind, the tables they make, advertisement pages."""

from __future__ import annotations

import inspect
import math
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxmp._caller import Endpoint
from wxmp.api import datacube as module
from wxmp.api._datacube_dates import FIRST_DAY, Span, cut, windows
from wxmp.api._datacube_records import NotADateError
from wxmp.api.datacube import (
    AdCPSStat,
    AdCPSTotals,
    AdReport,
    AdSettlement,
    AdSettlementTotals,
    AdSlot,
    AdSlotRevenue,
    AdSlotStat,
    AdSlotTotals,
    ArticleRead,
    ArticleReadDetail,
    ArticleShare,
    ArticleShareDetail,
    ArticleSummary,
    ArticleTotal,
    ArticleTotalDay,
    ArticleTotalDetail,
    ArticleTotalDetailDay,
    BizSummary,
    BizSummaryDetail,
    DatacubeAPI,
    FollowSource,
    InterfaceSummary,
    InterfaceSummaryHour,
    PublishType,
    ReadJumpPosition,
    ReadSource,
    ReadUserSource,
    Report,
    ShareScene,
    UpstreamMsg,
    UpstreamMsgBand,
    UpstreamMsgDist,
    UpstreamMsgHour,
    UpstreamMsgType,
    UserCumulate,
    UserRead,
    UserReadHour,
    UserShare,
    UserShareHour,
    UserSummary,
)
from wxmp.errors import (
    ArgumentError,
    BadStatusError,
    BusyError,
    NotAuthorizedError,
    RateLimitError,
    ReplyError,
    WxmpError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.api.conftest import Platform
    from wxmp._caller import Caller

#: Noon of a Tuesday in Beijing.
NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
TODAY = date(2026, 3, 10)
YESTERDAY = date(2026, 3, 9)
DAY = date(2026, 3, 2)
"""A Monday."""
TEXT = "2026-03-02"
ADS = "/publisher/stat"
FINE = {"base_resp": {"ret": 0, "err_msg": "ok"}}

#: Figures of the older articles, on the wire and as arguments.
READING: dict[str, Any] = {
    "int_page_read_user": 1,
    "int_page_read_count": 2,
    "ori_page_read_user": 3,
    "ori_page_read_count": 4,
    "share_user": 5,
    "share_count": 6,
    "add_to_fav_user": 7,
    "add_to_fav_count": 8,
}
BY_SOURCE: dict[str, Any] = {
    **{
        f"int_page_from_{source}_read_{what}": 10 + number
        for number, source in enumerate(("session", "hist_msg", "feed", "friends", "other", "kanyikan", "souyisou"))
        for what in ("user", "count")
    },
    **{
        f"feed_share_from_{source}_{what}": 20 + number
        for number, source in enumerate(("session", "feed", "other"))
        for what in ("user", "cnt")
    },
}
SOURCES = [{"scene_desc": "全部", "user_count": 9}, {"scene_desc": "朋友圈", "user_count": 4}]
SOURCE_RECORDS = (ReadUserSource("全部", 9), ReadUserSource("朋友圈", 4))
PUBLISHED: dict[str, Any] = {
    "read_user": 9,
    "share_user": 1,
    "zaikan_user": 2,
    "like_user": 3,
    "comment_count": 4,
    "collection_user": 5,
}
FOLLOWED: dict[str, Any] = {
    **PUBLISHED,
    "praise_money": 361,
    "read_subscribe_user": 6,
    "read_delivery_rate": 0.25,
    "read_finish_rate": 0.5,
    "read_avg_activetime": 1.0625,
}


@attrs.frozen
class Kind:
    """One call: where it goes, how much it may ask for, a record on the wire and in Python."""

    name: str
    days: int
    sample: dict[str, Any]
    record: Any
    period: str = "day"
    first_day: date = FIRST_DAY

    @property
    def path(self) -> str:
        return "/datacube/" + self.name.replace("_", "")

    def answer(self, day: str = TEXT) -> dict[str, Any]:
        return {"list": [{"ref_date": day, **self.sample}]}

    def __str__(self) -> str:
        return self.name


NEW_DAY = date(2025, 11, 1)
MESSAGE = {"msg_type": 1, "msg_user": 2, "msg_count": 3}
BAND = {"count_interval": 2, "msg_user": 4}
COST = {"callback_count": 4, "fail_count": 1, "total_time_cost": 900, "max_time_cost": 700}
KINDS = [
    Kind(
        "get_user_summary",
        7,
        {"user_source": 30, "new_user": 5, "cancel_user": 2},
        UserSummary(DAY, FollowSource.QR_CODE, 5, 2),
    ),
    Kind("get_user_cumulate", 7, {"user_source": 0, "cumulate_user": 1217056}, UserCumulate(DAY, 0, 1217056)),
    Kind(
        "get_article_summary",
        1,
        {"msgid": "12003_3", "title": "标题", **READING},
        ArticleSummary(DAY, "12003_3", "标题", **READING),
    ),
    Kind(
        "get_article_total",
        1,
        {
            "msgid": "12003_3",
            "title": "标题",
            "details": [{"stat_date": TEXT, "target_user": 99, **READING, **BY_SOURCE}],
        },
        ArticleTotal(DAY, "12003_3", "标题", (ArticleTotalDay(DAY, 99, **READING, **BY_SOURCE),)),
    ),
    Kind("get_user_read", 3, {"user_source": 7, **READING}, UserRead(DAY, ReadSource.SEARCH, **READING)),
    Kind(
        "get_user_read_hour",
        1,
        {"ref_hour": 2300, "user_source": 99999999, **READING},
        UserReadHour(DAY, ReadSource.ALL, **READING, ref_hour=2300),
    ),
    Kind(
        "get_user_share",
        7,
        {"share_scene": 1, "share_user": 2, "share_count": 3},
        UserShare(DAY, ShareScene.FRIEND, 2, 3),
    ),
    Kind(
        "get_user_share_hour",
        1,
        {"ref_hour": 100, "share_scene": 2, "share_user": 2, "share_count": 3},
        UserShareHour(DAY, ShareScene.MOMENTS, 2, 3, ref_hour=100),
    ),
    Kind(
        "get_article_read",
        1,
        {"msgid": "2247490098_1", "detail": {"read_user": 9, "read_user_source": SOURCES}},
        ArticleRead(DAY, "2247490098_1", ArticleReadDetail(9, SOURCE_RECORDS)),
        first_day=NEW_DAY,
    ),
    Kind(
        "get_article_share",
        1,
        {"msgid": "2247490098_1", "detail": {"share_user": 366}},
        ArticleShare(DAY, "2247490098_1", ArticleShareDetail(366)),
        first_day=NEW_DAY,
    ),
    Kind(
        "get_biz_summary",
        30,
        {
            "detail": {
                **PUBLISHED,
                "read_user_source": SOURCES,
                "redirect_ori_page_user": 7,
                "send_page_count": 8,
            }
        },
        BizSummary(
            DAY,
            BizSummaryDetail(**PUBLISHED, read_user_source=SOURCE_RECORDS, redirect_ori_page_user=7, send_page_count=8),
        ),
        first_day=NEW_DAY,
    ),
    Kind(
        "get_article_total_detail",
        1,
        {
            "msgid": "2247490098_1",
            "publish_type": 1,
            "title": "标题",
            "content_url": "https://mp.weixin.qq.com/s/x",
            "detail_list": [
                {
                    "stat_date": TEXT,
                    **FOLLOWED,
                    "read_user_source": SOURCES,
                    "read_jump_position": [{"position": 1, "rate": 0.5}, {"position": 2, "rate": 0.125}],
                }
            ],
        },
        ArticleTotalDetail(
            DAY,
            "2247490098_1",
            PublishType.SILENT,
            "标题",
            "https://mp.weixin.qq.com/s/x",
            (
                ArticleTotalDetailDay(
                    DAY,
                    **FOLLOWED,
                    read_user_source=SOURCE_RECORDS,
                    read_jump_position=(ReadJumpPosition(1, 0.5), ReadJumpPosition(2, 0.125)),
                ),
            ),
        ),
        first_day=NEW_DAY,
    ),
    Kind("get_upstream_msg", 7, MESSAGE, UpstreamMsg(DAY, UpstreamMsgType.TEXT, 2, 3)),
    Kind(
        "get_upstream_msg_hour",
        1,
        {"ref_hour": 0, **MESSAGE},
        UpstreamMsgHour(DAY, UpstreamMsgType.TEXT, 2, 3, ref_hour=0),
    ),
    Kind("get_upstream_msg_week", 1, MESSAGE, UpstreamMsg(DAY, UpstreamMsgType.TEXT, 2, 3), period="week"),
    Kind("get_upstream_msg_month", 1, MESSAGE, UpstreamMsg(DAY, UpstreamMsgType.TEXT, 2, 3), period="month"),
    Kind("get_upstream_msg_dist", 15, BAND, UpstreamMsgDist(DAY, UpstreamMsgBand.UP_TO_10, 4)),
    Kind("get_upstream_msg_dist_week", 1, BAND, UpstreamMsgDist(DAY, UpstreamMsgBand.UP_TO_10, 4), period="week"),
    Kind("get_upstream_msg_dist_month", 1, BAND, UpstreamMsgDist(DAY, UpstreamMsgBand.UP_TO_10, 4), period="month"),
    Kind("get_interface_summary", 30, COST, InterfaceSummary(DAY, 4, 1, 900, 700)),
    Kind(
        "get_interface_summary_hour",
        1,
        {"ref_hour": 1200, **COST},
        InterfaceSummaryHour(DAY, 4, 1, 900, 700, ref_hour=1200),
    ),
]
DAILY = [kind for kind in KINDS if kind.period == "day"]
BY_PERIOD = [kind for kind in KINDS if kind.period != "day"]
SUMMARY = "/datacube/getusersummary"
#: A name that tells the reader of a table what kind of figures each sample is.
RECORDS = [kind.record for kind in KINDS]


@pytest.fixture
def datacube(caller: Caller) -> DatacubeAPI:
    """The family under test, on a fixed day."""
    return DatacubeAPI(caller, clock=NOW.timestamp)


def asked(platform: Platform, route: Any) -> list[tuple[str, str]]:
    """Return the windows that were asked for."""
    for body in platform.bodies(route):
        assert sorted(body) == ["begin_date", "end_date"]
    return [(body["begin_date"], body["end_date"]) for body in platform.bodies(route)]


def call_of(datacube: DatacubeAPI, kind: Kind) -> Callable[..., Coroutine[Any, Any, Report[Any]]]:
    call: Callable[..., Coroutine[Any, Any, Report[Any]]] = getattr(datacube, kind.name)
    return call


# ---- every call


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_each_call_sends_its_days_and_reads_its_records(
    platform: Platform, datacube: DatacubeAPI, kind: Kind
) -> None:
    """Path, whole body and no parameters; every documented field is an attribute."""
    begin = date(2026, 3, 1) if kind.period == "month" else DAY
    route = platform.answer("POST", kind.path, kind.answer())
    report = await call_of(datacube, kind)(begin, begin)
    assert platform.params(route) == {}
    assert asked(platform, route) == [(begin.isoformat(), begin.isoformat())]
    assert report.items == (kind.record,)
    assert type(report[0]) is report.record is type(kind.record)
    assert report.extra == {}


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_one_day_needs_one_argument(platform: Platform, datacube: DatacubeAPI, kind: Kind) -> None:
    """Without end_date it is the same day."""
    begin = date(2026, 3, 1) if kind.period == "month" else DAY
    route = platform.answer("POST", kind.path, kind.answer())
    await call_of(datacube, kind)(begin_date=begin)
    assert asked(platform, route) == [(begin.isoformat(), begin.isoformat())]


@pytest.mark.parametrize("kind", DAILY, ids=str)
async def test_the_longest_window_is_one_request(platform: Platform, datacube: DatacubeAPI, kind: Kind) -> None:
    """As many days as the endpoint allows are not cut."""
    route = platform.answer("POST", kind.path, kind.answer())
    begin = YESTERDAY - timedelta(days=kind.days - 1)
    await call_of(datacube, kind)(begin, YESTERDAY)
    assert asked(platform, route) == [(begin.isoformat(), YESTERDAY.isoformat())]


@pytest.mark.parametrize("kind", DAILY, ids=str)
async def test_one_day_more_is_two_requests(platform: Platform, datacube: DatacubeAPI, kind: Kind) -> None:
    """The second window holds the rest, and the records stand in the order of the days."""
    begin = YESTERDAY - timedelta(days=kind.days)
    route = platform.answer("POST", kind.path, kind.answer("2026-01-01"), kind.answer("2026-01-02"))
    report = await call_of(datacube, kind)(begin, YESTERDAY)
    middle = YESTERDAY - timedelta(days=1)
    assert asked(platform, route) == [
        (begin.isoformat(), middle.isoformat()),
        (YESTERDAY.isoformat(), YESTERDAY.isoformat()),
    ]
    assert [item.ref_date for item in report] == [date(2026, 1, 1), date(2026, 1, 2)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_each_call_may_be_repeated(platform: Platform, datacube: DatacubeAPI, kind: Kind) -> None:
    """Reading changes nothing, so an answer that got lost is asked for again."""
    begin = date(2026, 3, 1) if kind.period == "month" else DAY
    route = platform.answer("POST", kind.path, httpx.Response(502, html="<html></html>"), kind.answer())
    assert len(await call_of(datacube, kind)(begin)) == 1
    assert route.call_count == 2


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_nothing_is_before_the_first_day(platform: Platform, datacube: DatacubeAPI, kind: Kind) -> None:
    """The day before the first one is refused (61501), the first one is not."""
    before = kind.first_day - timedelta(days=1)
    with pytest.raises(ArgumentError, match=f"nothing before {kind.first_day}") as caught:
        await call_of(datacube, kind)(before, before)
    assert (caught.value.errcode, caught.value.field) == (61501, "begin_date")
    route = platform.answer("POST", kind.path, kind.answer())
    await call_of(datacube, kind)(kind.first_day)
    assert route.call_count == 1


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_the_latest_day_is_yesterday(platform: Platform, datacube: DatacubeAPI, kind: Kind) -> None:
    """Today is refused (61501), yesterday is not."""
    begin = date(2026, 3, 1) if kind.period == "month" else DAY
    with pytest.raises(ArgumentError, match="yesterday in Beijing, 2026-03-09") as caught:
        await call_of(datacube, kind)(begin, TODAY)
    assert (caught.value.errcode, caught.value.field) == (61501, "end_date")
    platform.answer("POST", kind.path, kind.answer())
    await call_of(datacube, kind)(begin, YESTERDAY)


def test_every_call_is_in_the_table() -> None:
    """The tests above leave no call of the family out."""
    endpoints = {name.lower() for name, value in vars(module).items() if isinstance(value, Endpoint)}
    assert endpoints == {kind.name for kind in KINDS} | {"get_ad_slot_stats", "get_ad_cps_stats", "get_ad_settlement"}


@pytest.mark.parametrize(
    ("name", "successors"),
    [
        ("get_article_summary", ["get_article_read", "get_article_share"]),
        ("get_article_total", ["get_article_total_detail"]),
        ("get_user_read", ["get_biz_summary"]),
        ("get_user_read_hour", ["get_biz_summary"]),
        ("get_user_share", ["get_biz_summary", "get_article_share"]),
        ("get_user_share_hour", ["get_article_share"]),
    ],
)
def test_what_is_not_maintained_names_its_successor(name: str, successors: list[str]) -> None:
    """The docstring says what to call instead, and that is there."""
    text = inspect.getdoc(getattr(DatacubeAPI, name)) or ""
    assert "No longer maintained" in text
    for successor in successors:
        assert f":meth:`{successor}`" in text
        assert hasattr(DatacubeAPI, successor)


# ---- days


@pytest.mark.parametrize("value", [NOW, "2026-03-02", 20260302, 1.5, b"2026-03-02", True])
@pytest.mark.parametrize("field", ["begin_date", "end_date"])
async def test_a_day_is_a_date(datacube: DatacubeAPI, value: Any, field: str) -> None:
    """Neither a moment, whose day depends on a time zone, nor a text (61500)."""
    days = {"begin_date": DAY, "end_date": DAY, field: value}
    with pytest.raises(ArgumentError, match=r"datetime\.date") as caught:
        await datacube.get_user_summary(**days)
    assert (caught.value.errcode, caught.value.field) == (61500, field)


async def test_a_range_has_a_beginning(datacube: DatacubeAPI) -> None:
    """begin_date cannot be left out with None (61500)."""
    days: dict[str, Any] = {"begin_date": None}
    with pytest.raises(ArgumentError) as caught:
        await datacube.get_user_summary(**days)
    assert (caught.value.errcode, caught.value.field) == (61500, "begin_date")


async def test_a_range_runs_forward(datacube: DatacubeAPI) -> None:
    """begin_date after end_date is refused before sending (61501)."""
    with pytest.raises(ArgumentError, match="swap them") as caught:
        await datacube.get_user_summary(YESTERDAY, DAY)
    assert (caught.value.errcode, caught.value.field) == (61501, "begin_date")


async def test_a_single_day_that_is_too_late_is_the_first_argument(datacube: DatacubeAPI) -> None:
    """The error names the argument that was given."""
    with pytest.raises(ArgumentError) as caught:
        await datacube.get_user_summary(TODAY)
    assert (caught.value.errcode, caught.value.field) == (61501, "begin_date")


@pytest.mark.parametrize(
    ("moment", "latest"),
    [
        (datetime(2026, 3, 10, 15, 59, 59, tzinfo=UTC), date(2026, 3, 9)),
        (datetime(2026, 3, 10, 16, 0, 0, tzinfo=UTC), date(2026, 3, 10)),
    ],
)
async def test_the_day_changes_at_midnight_in_beijing(
    platform: Platform, caller: Caller, moment: datetime, latest: date
) -> None:
    """Neither UTC nor the server's own time zone decides what yesterday is."""
    datacube = DatacubeAPI(caller, clock=moment.timestamp)
    platform.answer("POST", SUMMARY, {"list": []})
    await datacube.get_user_summary(latest)
    with pytest.raises(ArgumentError):
        await datacube.get_user_summary(latest + timedelta(days=1))


async def test_the_clock_is_the_machine_s(platform: Platform, caller: Caller) -> None:
    """Without a clock of its own the family knows today."""
    datacube = DatacubeAPI(caller)
    today = datetime.fromtimestamp(time.time() + 8 * 3600, UTC).date()
    route = platform.answer("POST", SUMMARY, {"list": []})
    await datacube.get_user_summary(today - timedelta(days=2))
    with pytest.raises(ArgumentError):
        await datacube.get_user_summary(today + timedelta(days=1))
    assert route.call_count == 1


@given(first=st.dates(FIRST_DAY, YESTERDAY), length=st.integers(0, 400), days=st.integers(1, 31))
def test_windows_are_the_fewest(first: date, length: int, days: int) -> None:
    """They hold every day of the range once and in order, none is too long, and fewer would not do."""
    last = min(first + timedelta(days=length), YESTERDAY)
    found = windows(module.GET_USER_SUMMARY, Span(days=days), first, last, now=NOW.timestamp())
    held = [begin + timedelta(days=n) for begin, end in found for n in range((end - begin).days + 1)]
    assert held == [first + timedelta(days=n) for n in range((last - first).days + 1)]
    assert max((end - begin).days + 1 for begin, end in found) <= days
    assert len(found) == math.ceil(((last - first).days + 1) / days)


def test_windows_reach_to_the_end_of_the_calendar() -> None:
    """The last window does not run over the last day there is."""
    assert cut(date(9999, 12, 1), date.max, 90) == ((date(9999, 12, 1), date.max),)


# ---- weeks and months


@pytest.mark.parametrize("kind", BY_PERIOD, ids=str)
async def test_weeks_and_months_are_asked_for_one_by_one(platform: Platform, datacube: DatacubeAPI, kind: Kind) -> None:
    """Both dates are the first day of each period that begins within the range."""
    route = platform.answer("POST", kind.path, *[kind.answer()] * 3)
    begin, end, starts = {
        "week": (date(2026, 2, 10), date(2026, 3, 8), ["2026-02-16", "2026-02-23", "2026-03-02"]),
        "month": (date(2025, 12, 2), YESTERDAY, ["2026-01-01", "2026-02-01", "2026-03-01"]),
    }[kind.period]
    report = await call_of(datacube, kind)(begin, end)
    assert asked(platform, route) == [(start, start) for start in starts]
    assert len(report) == 3


@pytest.mark.parametrize("kind", BY_PERIOD, ids=str)
async def test_the_ends_of_the_range_count(platform: Platform, datacube: DatacubeAPI, kind: Kind) -> None:
    """A period that begins on the first or on the last day is in."""
    begin, end = {"week": (DAY, YESTERDAY), "month": (date(2026, 2, 1), date(2026, 3, 1))}[kind.period]
    route = platform.answer("POST", kind.path, *[kind.answer()] * 2)
    await call_of(datacube, kind)(begin, end)
    assert asked(platform, route) == [(day.isoformat(), day.isoformat()) for day in (begin, end)]


@pytest.mark.parametrize("kind", BY_PERIOD, ids=str)
async def test_a_range_without_a_beginning_of_a_period(datacube: DatacubeAPI, kind: Kind) -> None:
    """Nothing can come of it, so it is refused before sending (61501)."""
    with pytest.raises(ArgumentError, match=f"no {kind.period} begins between 2026-03-03 and 2026-03-08") as caught:
        await call_of(datacube, kind)(date(2026, 3, 3), date(2026, 3, 8))
    assert (caught.value.errcode, caught.value.field) == (61501, "begin_date")


@given(first=st.dates(FIRST_DAY, YESTERDAY), length=st.integers(31, 400))
def test_every_week_and_month_of_a_range_is_found(first: date, length: int) -> None:
    """They are the Mondays, and the first days of months, of the range."""
    last = min(first + timedelta(days=length), YESTERDAY)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    for span, starts in (
        (Span(period="week"), [day for day in days if day.weekday() == 0]),
        (Span(period="month"), [day for day in days if day.day == 1]),
    ):
        if starts:
            found = windows(module.GET_UPSTREAM_MSG_WEEK, span, first, last, now=NOW.timestamp())
            assert found == tuple((day, day) for day in starts)


# ---- what goes wrong


async def test_a_later_failure_says_what_was_read(platform: Platform, datacube: DatacubeAPI) -> None:
    """The note names the days that were read and the day to go on from; nothing is asked for after it."""
    route = platform.answer(
        "POST", SUMMARY, {"list": []}, {"list": []}, {"errcode": 61503, "errmsg": "data not ready"}, {"list": []}
    )
    with pytest.raises(BusyError) as caught:
        await datacube.get_user_summary(date(2026, 2, 1), date(2026, 2, 28))
    (note,) = caught.value.__notes__
    assert note.startswith("the days 2026-02-01 to 2026-02-14 were read before this")
    assert note.endswith("from 2026-02-15 on")
    assert route.call_count == 3


async def test_a_later_answer_that_cannot_be_read_says_it_too(platform: Platform, datacube: DatacubeAPI) -> None:
    """Any error of a later window has the note, one of reading as well."""
    platform.answer("POST", SUMMARY, {"list": []}, {"list": [{"ref_date": "soon"}]})
    with pytest.raises(ReplyError) as caught:
        await datacube.get_user_summary(date(2026, 2, 1), date(2026, 2, 8))
    (note,) = caught.value.__notes__
    assert note.startswith("the days 2026-02-01 to 2026-02-07 were read")


async def test_a_later_week_that_fails_names_weeks(platform: Platform, datacube: DatacubeAPI) -> None:
    """What was read is told in the unit of the call."""
    platform.answer("POST", "/datacube/getupstreammsgweek", {"list": []}, httpx.Response(403))
    with pytest.raises(BadStatusError) as caught:
        await datacube.get_upstream_msg_week(date(2026, 2, 16), date(2026, 3, 1))
    (note,) = caught.value.__notes__
    assert note.startswith("the weeks beginning 2026-02-16 to 2026-02-16 were read")


async def test_a_first_failure_has_no_note(platform: Platform, datacube: DatacubeAPI) -> None:
    """Where nothing was read there is nothing to say."""
    platform.answer("POST", SUMMARY, {"errcode": 61501, "errmsg": "date range error"})
    with pytest.raises(ArgumentError) as caught:
        await datacube.get_user_summary(date(2026, 2, 1), date(2026, 2, 28))
    assert getattr(caught.value, "__notes__", []) == []


async def test_figures_that_are_not_ready_are_not_waited_for(platform: Platform, datacube: DatacubeAPI) -> None:
    """61503 passes in hours: one request, a BusyError, and the advice when to come back."""
    route = platform.answer("POST", SUMMARY, {"errcode": 61503, "errmsg": "data not ready"})
    with pytest.raises(BusyError) as caught:
        await datacube.get_user_summary(YESTERDAY)
    assert "08:00" in caught.value.advice
    assert route.call_count == 1


async def test_an_account_that_is_not_verified(platform: Platform, datacube: DatacubeAPI) -> None:
    """48001 is a NotAuthorizedError."""
    platform.answer("POST", SUMMARY, {"errcode": 48001, "errmsg": "api unauthorized"})
    with pytest.raises(NotAuthorizedError):
        await datacube.get_user_summary(DAY)


@pytest.mark.parametrize("answer", [{}, {"errcode": 0, "errmsg": "ok"}, {"list": 5}, {"list": [5]}])
async def test_an_answer_without_a_list(platform: Platform, datacube: DatacubeAPI, answer: dict[str, Any]) -> None:
    """A missing list is not a day without figures."""
    platform.answer("POST", SUMMARY, answer)
    with pytest.raises(ReplyError):
        await datacube.get_user_summary(DAY)


@pytest.mark.parametrize("answer", [{"list": []}, {"list": None}, {"errcode": 0, "errmsg": "ok", "list": []}])
async def test_a_day_without_figures(platform: Platform, datacube: DatacubeAPI, answer: dict[str, Any]) -> None:
    """Nothing found is an empty report, which is false."""
    platform.answer("POST", SUMMARY, answer)
    report = await datacube.get_user_summary(DAY)
    assert not report
    assert (report.items, report.extra) == ((), {})


@pytest.mark.parametrize("day", ["soon", "", None, 20260302, "2026-02-30", ["2026-03-02"]])
async def test_a_record_without_a_day(platform: Platform, datacube: DatacubeAPI, day: Any) -> None:
    """A day that is none is a ReplyError that names the record and not the value."""
    platform.answer("POST", SUMMARY, {"list": [{"ref_date": TEXT}, {"ref_date": day}]})
    with pytest.raises(ReplyError, match=r"UserSummary\[1\].*NotADateError") as caught:
        await datacube.get_user_summary(DAY)
    assert "soon" not in str(caught.value)


def test_a_record_made_by_hand_takes_days_too() -> None:
    """For the tests of a program: a day or its text, and no moment."""
    assert UserCumulate("2026-03-02") == UserCumulate(DAY)
    with pytest.raises(NotADateError):
        UserCumulate(NOW)


# ---- what the answers leave open


async def test_unknown_fields_and_values_are_kept(platform: Platform, datacube: DatacubeAPI) -> None:
    """A new field is in extra, a new source is its number."""
    row = {"ref_date": TEXT, "user_source": 201, "new_user": 1, "cancel_user": 0, "new": {"x": 1}}
    platform.answer("POST", SUMMARY, {"list": [row], "next": 7})
    report = await datacube.get_user_summary(DAY)
    assert report.items == (UserSummary(DAY, 201, 1, 0, extra={"new": {"x": 1}}),)
    assert report.extra == {"next": 7}


async def test_unknown_fields_of_several_windows(platform: Platform, datacube: DatacubeAPI) -> None:
    """The latest answer counts."""
    platform.answer("POST", SUMMARY, {"list": [], "a": 1, "b": 1}, {"list": [], "a": 2})
    report = await datacube.get_user_summary(date(2026, 2, 1), date(2026, 2, 8))
    assert report.extra == {"a": 2, "b": 1}


async def test_numbers_come_as_text(platform: Platform, datacube: DatacubeAPI) -> None:
    """Text where a number belongs is read as the number."""
    row = {"ref_date": TEXT, "user_source": "30", "new_user": "5", "cancel_user": ""}
    platform.answer("POST", SUMMARY, {"list": [row]})
    (found,) = await datacube.get_user_summary(DAY)
    assert found == UserSummary(DAY, FollowSource.QR_CODE, 5, 0)
    assert isinstance(found.user_source, FollowSource)


async def test_late_figures_are_told_by_day(platform: Platform, datacube: DatacubeAPI) -> None:
    """Each window that is late leaves its days; the rest of the report is complete."""
    platform.answer(
        "POST",
        "/datacube/getbizsummary",
        {"list": [{"ref_date": "2026-01-05", "detail": {"read_user": 1}}], "is_delay": False},
        {"list": [{"ref_date": "2026-02-01", "detail": {"read_user": 2}}], "is_delay": True},
    )
    report = await datacube.get_biz_summary(date(2026, 1, 2), date(2026, 2, 2))
    assert report.is_delay
    assert report.delayed_days == (date(2026, 2, 1), date(2026, 2, 2))
    assert [item.detail.read_user for item in report] == [1, 2]
    assert report.extra == {}


@pytest.mark.parametrize("flag", [{}, {"is_delay": False}, {"is_delay": 0}, {"is_delay": None}])
async def test_figures_that_are_not_late(platform: Platform, datacube: DatacubeAPI, flag: dict[str, Any]) -> None:
    """Without the flag, or with a false one, no day is late."""
    platform.answer("POST", "/datacube/getarticleshare", {"list": [], **flag})
    report = await datacube.get_article_share(DAY)
    assert (report.is_delay, report.delayed_days) == (False, ())


# ---- reports and tables


def report_of(*records: Any) -> Report[Any]:
    return Report(records, record=type(records[0]))


def test_a_report_is_a_sequence() -> None:
    """Index, slice, length, loop, membership and equality are those of a tuple of records."""
    one, two, three = (UserCumulate(DAY, 0, number) for number in range(3))
    report = report_of(one, two, three)
    assert (report[0], report[-1], report[1:]) == (one, three, (two, three))
    assert (len(report), list(report), list(reversed(report))) == (3, [one, two, three], [three, two, one])
    assert two in report
    assert (report.index(three), report.count(one)) == (2, 1)
    assert report == report_of(one, two, three)
    with pytest.raises(IndexError):
        report[3]


@pytest.mark.parametrize("record", [*RECORDS], ids=lambda record: type(record).__name__)
def test_every_kind_makes_rows_of_plain_values(record: Any) -> None:
    """All rows have the same keys, in the same order, and hold numbers, text, days and nothing else."""
    bare = type(record)(DAY)
    report = report_of(record, bare)
    rows = report.rows()
    assert len(rows) == 2
    assert {tuple(row) for row in rows} == {report.columns}
    for name in report.columns:
        (kind,) = {type(row[name]) for row in rows if row[name] is not None}
        assert kind in (int, float, str, date)
        assert name == "stat_date" or all(row[name] is not None for row in rows)
    assert "extra" not in report.columns
    assert report.columns[0] == "ref_date"


@pytest.mark.parametrize("record", [*RECORDS], ids=lambda record: type(record).__name__)
def test_an_empty_report_knows_its_columns(record: Any) -> None:
    """The header of a table does not depend on what is in it."""
    empty: Report[Any] = Report((), record=type(record))
    assert empty.rows() == []
    assert empty.columns == report_of(record).columns


def test_a_plain_record_is_a_row() -> None:
    """One row, under the names of the attributes, enums as their numbers."""
    assert report_of(UserSummary(DAY, FollowSource.QR_CODE, 5, 2)).rows() == [
        {"ref_date": DAY, "user_source": 30, "new_user": 5, "cancel_user": 2}
    ]


def test_hours_stand_beside_the_day() -> None:
    """What identifies a row comes first."""
    assert report_of(UserShareHour(DAY, ShareScene.FRIEND, 1, 2, ref_hour=100)).rows() == [
        {"ref_date": DAY, "ref_hour": 100, "share_scene": 1, "share_user": 1, "share_count": 2}
    ]
    assert list(report_of(UserShareHour(DAY)).rows()[0])[:2] == ["ref_date", "ref_hour"]


def test_each_entry_of_a_list_is_a_row() -> None:
    """The article stands in every row of its days."""
    days = (ArticleTotalDay(DAY, 9, 1), ArticleTotalDay(YESTERDAY, 9, 4))
    rows = report_of(ArticleTotal(DAY, "5_1", "t", days), ArticleTotal(DAY, "5_2", "u")).rows()
    picked = [(row["msg_id"], row["title"], row["stat_date"], row["int_page_read_user"]) for row in rows]
    assert picked == [("5_1", "t", DAY, 1), ("5_1", "t", YESTERDAY, 4), ("5_2", "u", None, 0)]


def test_sources_are_columns() -> None:
    """The documented sources always, a new one where it occurs, and 0 where the platform names none."""
    first = ArticleRead(DAY, "5_1", ArticleReadDetail(9, SOURCE_RECORDS))
    second = ArticleRead(DAY, "5_2", ArticleReadDetail(2, (ReadUserSource("新来源", 2),)))
    one, two = report_of(first, second).rows()
    assert one == {
        "ref_date": DAY,
        "msg_id": "5_1",
        "read_user": 9,
        "read_user_source_全部": 9,
        "read_user_source_公众号消息": 0,
        "read_user_source_聊天会话": 0,
        "read_user_source_朋友圈": 4,
        "read_user_source_公众号主页": 0,
        "read_user_source_其他": 0,
        "read_user_source_推荐": 0,
        "read_user_source_搜一搜": 0,
        "read_user_source_新来源": 0,
    }
    assert (two["read_user_source_新来源"], two["read_user_source_全部"]) == (2, 0)


def test_an_unknown_position_is_a_column_of_rates() -> None:
    """Where it does not occur it is a rate like every other."""
    first = ArticleTotalDetailDay(DAY, read_jump_position=(ReadJumpPosition(6, 0.5),))
    rows = report_of(ArticleTotalDetail(DAY, detail_list=(first, ArticleTotalDetailDay(DAY)))).rows()
    assert [(row["read_jump_position_6"], type(row["read_jump_position_6"])) for row in rows] == [
        (0.5, float),
        (0.0, float),
    ]


def test_a_settlement_without_slots_is_a_row() -> None:
    """No money gets lost on the way into a table."""
    report = AdReport(
        (AdSettlement(DAY, settled_revenue_fen=7),), record=AdSettlement, summary=AdSettlementTotals(), total=1
    )
    assert [(row["settled_revenue_fen"], row["slot_settled_revenue_fen"]) for row in report.rows()] == [(7, 0)]


def test_positions_are_columns() -> None:
    """One share for each fifth of the article."""
    (row,) = report_of(next(record for record in RECORDS if isinstance(record, ArticleTotalDetail))).rows()
    assert [row[f"read_jump_position_{number}"] for number in range(1, 6)] == [0.5, 0.125, 0.0, 0.0, 0.0]
    assert (row["publish_type"], row["read_user_source_全部"], row["praise_money"]) == (1, 9, 361)


def frames() -> list[Report[Any]]:
    return [*(report_of(record) for record in RECORDS), slot_report()]


def test_pandas_takes_the_rows() -> None:
    """A data frame has the columns of the report, and the figures in them."""
    pandas = pytest.importorskip("pandas")
    for report in frames():
        frame = pandas.DataFrame(report.rows(), columns=report.columns)
        assert tuple(frame.columns) == report.columns
        assert len(frame) == len(report.rows())
        assert pandas.to_datetime(frame["ref_date"])[0].date() == DAY
    empty: Report[UserSummary] = Report((), record=UserSummary)
    assert list(pandas.DataFrame(empty.rows(), columns=empty.columns)) == list(empty.columns)
    figures = pandas.DataFrame(report_of(UserSummary(DAY, 0, 5, 2), UserSummary(YESTERDAY, 1, 1, 0)).rows())
    assert figures["new_user"].sum() == 6


def test_polars_takes_the_rows() -> None:
    """A data frame has the columns of the report, days as days and figures as numbers."""
    polars = pytest.importorskip("polars")
    for report in frames():
        frame = polars.DataFrame(report.rows())
        assert tuple(frame.columns) == report.columns
        assert frame["ref_date"].dtype == polars.Date
    # polars decides by the first hundred rows what a column is.
    quiet = ArticleRead(DAY, "5_1")
    busy = ArticleRead(DAY, "5_2", ArticleReadDetail(9, (*SOURCE_RECORDS, ReadUserSource("新来源", 2))))
    late = polars.DataFrame(report_of(*[quiet] * 150, busy).rows())
    assert (late["read_user_source_朋友圈"].sum(), late["read_user_source_新来源"].sum()) == (4, 2)
    figures = polars.DataFrame(report_of(UserSummary(DAY, 0, 5, 2), UserSummary(YESTERDAY, 1, 1, 0)).rows())
    assert figures["new_user"].sum() == 6


# ---- advertisements

SLOT = {
    "slot_id": 3030046789020061,
    "ad_slot": "SLOT_ID_BIZ_BOTTOM",
    "date": TEXT,
    "req_succ_count": 100,
    "exposure_count": 90,
    "exposure_rate": 0.9,
    "click_count": 9,
    "click_rate": 0.1,
    "income": 1234,
    "ecpm": 13.711,
}
SLOT_FIGURES: dict[str, Any] = {
    "req_succ_count": 100,
    "exposure_count": 90,
    "exposure_rate": 0.9,
    "click_count": 9,
    "click_rate": 0.1,
    "income_fen": 1234,
    "ecpm_fen": 13.711,
}
SLOT_RECORD = AdSlotStat(**SLOT_FIGURES, ref_date=DAY, slot_id=3030046789020061, ad_slot=AdSlot.BIZ_BOTTOM)
SLOT_SUMMARY = {name: value for name, value in SLOT.items() if name not in ("slot_id", "ad_slot", "date")}
CPS = {
    "date": TEXT,
    "exposure_count": 15153,
    "click_count": 396,
    "click_rate": 38.25,
    "order_count": 3,
    "order_rate": 0.0075,
    "total_fee": 162900,
    "total_commission": 25021,
}
SETTLEMENT = {
    "date": TEXT,
    "zone": "2026年2月16日至28日",
    "month": "202602",
    "order": 2,
    "sett_status": 3,
    "settled_revenue": 718926045,
    "sett_no": "XXX",
    "mail_send_cnt": "0",
    "slot_revenue": [
        {"slot_id": "SLOT_ID_BIZ_BOTTOM", "slot_settled_revenue": 34139443},
        {"slot_id": "SLOT_ID_WEAPP_BANNER", "slot_settled_revenue": 684786602},
    ],
}
SETTLED = {
    "body": "深圳市腾讯计算机系统有限公司",
    "penalty_all": 1,
    "revenue_all": 5178368698,
    "settled_revenue_all": 2613696765,
}
SETTLED_RECORD = AdSettlement(
    DAY,
    "2026年2月16日至28日",
    "202602",
    2,
    3,
    718926045,
    "XXX",
    0,
    (AdSlotRevenue(AdSlot.BIZ_BOTTOM, 34139443), AdSlotRevenue("SLOT_ID_WEAPP_BANNER", 684786602)),
)
AD_CALLS = ["get_ad_slot_stats", "get_ad_cps_stats", "get_ad_settlement"]
AD_ITERATORS = ["iter_ad_slot_stats", "iter_ad_cps_stats", "iter_ad_settlements"]
ACTIONS = ["publisher_adpos_general", "publisher_cps_general", "publisher_settlement"]
EMPTY = {**FINE, "list": [], "summary": {}, "total_num": 0}


def slot_report() -> AdReport[AdSlotStat, AdSlotTotals]:
    return AdReport((SLOT_RECORD,), record=AdSlotStat, summary=AdSlotTotals(), total=1)


def slots(*days: str, total: int) -> dict[str, Any]:
    """A page of slots."""
    return {**FINE, "list": [{**SLOT, "date": day} for day in days], "summary": SLOT_SUMMARY, "total_num": total}


async def test_slots_are_read(platform: Platform, datacube: DatacubeAPI) -> None:
    """Method, path and parameters; money is fen, and the totals stand beside the page."""
    route = platform.answer("GET", ADS, slots(TEXT, total=1))
    report = await datacube.get_ad_slot_stats(DAY, YESTERDAY, page=2, page_size=10, ad_slot=AdSlot.BIZ_BOTTOM)
    assert platform.params(route) == {
        "action": "publisher_adpos_general",
        "page": "2",
        "page_size": "10",
        "start_date": "2026-03-02",
        "end_date": "2026-03-09",
        "ad_slot": "SLOT_ID_BIZ_BOTTOM",
    }
    assert report.items == (SLOT_RECORD,)
    assert (report.summary, report.total, report.extra) == (AdSlotTotals(**SLOT_FIGURES), 1, {})


async def test_goods_with_a_commission_are_read(platform: Platform, datacube: DatacubeAPI) -> None:
    """Fees and commissions are fen."""
    summary = {name: value for name, value in CPS.items() if name != "date"}
    route = platform.answer("GET", ADS, {**FINE, "list": [CPS], "summary": summary, "total_num": 7})
    report = await datacube.get_ad_cps_stats(DAY)
    figures = (15153, 396, 38.25, 3, 0.0075, 162900, 25021)
    assert report.items == (AdCPSStat(*figures, ref_date=DAY),)
    assert (report.summary, report.total, report.extra) == (AdCPSTotals(*figures), 7, {})
    assert platform.params(route) == {
        "action": "publisher_cps_general",
        "page": "1",
        "page_size": "90",
        "start_date": TEXT,
        "end_date": TEXT,
    }


@pytest.mark.parametrize(
    "answer",
    [
        {**FINE, **SETTLED, "settlement_list": [SETTLEMENT], "total_num": 1},
        {**FINE, "summary": SETTLED, "list": [SETTLEMENT], "total_num": 1},
        {**FINE, **SETTLED, "summary": {}, "list": [], "settlement_list": [SETTLEMENT], "total_num": 1},
    ],
    ids=["names of its own", "names of the others", "both"],
)
async def test_settlements_are_read(platform: Platform, datacube: DatacubeAPI, answer: dict[str, Any]) -> None:
    """Both spellings of the list and the totals; each slot has its share."""
    route = platform.answer("GET", ADS, answer)
    report = await datacube.get_ad_settlement(DAY, YESTERDAY, page_size=1)
    assert report.items == (SETTLED_RECORD,)
    assert report.summary == AdSettlementTotals("深圳市腾讯计算机系统有限公司", 5178368698, 1, 2613696765)
    assert (report.total, report.extra) == (1, {})
    assert platform.params(route)["action"] == "publisher_settlement"


def test_settlements_make_a_row_for_each_slot() -> None:
    """What belongs to the settlement repeats."""
    report = AdReport((SETTLED_RECORD,), record=AdSettlement, summary=AdSettlementTotals(), total=1)
    picked = [
        (row["update_date"], row["settled_revenue_fen"], row["ad_slot"], row["slot_settled_revenue_fen"])
        for row in report.rows()
    ]
    assert picked == [
        (DAY, 718926045, "SLOT_ID_BIZ_BOTTOM", 34139443),
        (DAY, 718926045, "SLOT_ID_WEAPP_BANNER", 684786602),
    ]
    assert type(report.rows()[0]["ad_slot"]) is str


def test_slots_make_a_row() -> None:
    """Day and slot first, then the figures."""
    (row,) = slot_report().rows()
    assert row == {"ref_date": DAY, "slot_id": 3030046789020061, "ad_slot": "SLOT_ID_BIZ_BOTTOM", **SLOT_FIGURES}
    assert list(row)[:3] == ["ref_date", "slot_id", "ad_slot"]


@pytest.mark.parametrize("call", AD_CALLS)
async def test_unknown_fields_of_a_page_are_kept(platform: Platform, datacube: DatacubeAPI, call: str) -> None:
    """What the page has besides goes into extra; the verdict does not."""
    platform.answer("GET", ADS, {**EMPTY, "errcode": 0, "errmsg": "ok", "new": 1})
    report = await getattr(datacube, call)(DAY)
    assert report.extra == {"new": 1}


@pytest.mark.parametrize(
    ("ret", "cls", "word"),
    [
        (1701, ArgumentError, "page_size"),
        (2009, NotAuthorizedError, "流量主"),
        (45009, RateLimitError, ""),
        (45010, ArgumentError, "figures"),
        ("2009", NotAuthorizedError, "流量主"),
    ],
)
@pytest.mark.parametrize("call", AD_CALLS)
async def test_the_verdict_is_in_base_resp(
    platform: Platform, datacube: DatacubeAPI, call: str, ret: Any, cls: type[WxmpError], word: str
) -> None:
    """These endpoints hide their code where no other does; it still becomes the right error, with fitting advice."""
    platform.answer("GET", ADS, {"base_resp": {"ret": ret, "err_msg": "no rid: 5f-1"}})
    with pytest.raises(cls) as caught:
        await getattr(datacube, call)(DAY)
    error: Any = caught.value
    assert (error.errcode, error.errmsg, error.rid) == (int(ret), "no", "5f-1")
    assert word in error.advice
    assert "enu" not in error.advice


async def test_an_unknown_verdict_is_an_error(platform: Platform, datacube: DatacubeAPI) -> None:
    """A code nobody knows is an APIError with that code."""
    platform.answer("GET", ADS, {"base_resp": {"ret": 777123}})
    with pytest.raises(WxmpError, match="777123"):
        await datacube.get_ad_slot_stats(DAY)


async def test_an_answer_without_base_resp(platform: Platform, datacube: DatacubeAPI) -> None:
    """Where there is no verdict the figures count."""
    platform.answer("GET", ADS, {"list": [], "summary": None, "total_num": "0"})
    report = await datacube.get_ad_slot_stats(DAY)
    assert (report.items, report.summary, report.total) == ((), AdSlotTotals(), 0)


@pytest.mark.parametrize("missing", ["list", "total_num"])
async def test_a_page_without_its_parts(platform: Platform, datacube: DatacubeAPI, missing: str) -> None:
    """A page without a list or without a count would end a walk too early."""
    platform.answer("GET", ADS, {name: value for name, value in EMPTY.items() if name != missing})
    with pytest.raises(ReplyError, match=missing):
        await datacube.get_ad_slot_stats(DAY)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"page": 0}, "page"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 91}, "page_size"),
        ({"ad_slot": ""}, "ad_slot"),
    ],
)
@pytest.mark.parametrize("call", AD_CALLS)
async def test_pages_are_checked(datacube: DatacubeAPI, call: str, change: dict[str, Any], field: str) -> None:
    """Pages count from 1 and hold at most 90 entries; a slot has a name (1701)."""
    with pytest.raises(ArgumentError) as caught:
        await getattr(datacube, call)(DAY, **change)
    assert (caught.value.errcode, caught.value.field) == (1701, field)


@pytest.mark.parametrize("call", AD_CALLS)
async def test_days_of_advertisements_are_checked(datacube: DatacubeAPI, call: str) -> None:
    """Dates, and in order; iterators as well."""
    with pytest.raises(ArgumentError) as wrong:
        await getattr(datacube, call)("2026-03-02")
    with pytest.raises(ArgumentError) as backwards:
        await getattr(datacube, call)(YESTERDAY, DAY)
    assert (wrong.value.errcode, backwards.value.errcode) == (61500, 61501)


@pytest.mark.parametrize("iterator", AD_ITERATORS)
async def test_days_of_walks_are_checked(datacube: DatacubeAPI, iterator: str) -> None:
    """A walk refuses what one page refuses."""
    with pytest.raises(ArgumentError) as backwards:
        _ = [item async for item in getattr(datacube, iterator)(YESTERDAY, DAY)]
    assert backwards.value.errcode == 61501


@pytest.mark.parametrize(("call", "days"), [("get_ad_slot_stats", 90), ("get_ad_cps_stats", 60)])
async def test_one_page_spans_so_many_days(platform: Platform, datacube: DatacubeAPI, call: str, days: int) -> None:
    """The longest range is sent; a day more is refused, and the iterator is named."""
    begin = YESTERDAY - timedelta(days=days - 1)
    route = platform.answer("GET", ADS, EMPTY)
    await getattr(datacube, call)(begin, YESTERDAY)
    with pytest.raises(ArgumentError, match=f"{call.replace('get', 'iter')} takes any number") as caught:
        await getattr(datacube, call)(begin - timedelta(days=1), YESTERDAY)
    assert (caught.value.errcode, caught.value.field) == (61501, "end_date")
    assert route.call_count == 1


async def test_settlements_span_any_number_of_days(platform: Platform, datacube: DatacubeAPI) -> None:
    """There is no longest range for them."""
    route = platform.answer("GET", ADS, EMPTY)
    await datacube.get_ad_settlement(date(2020, 1, 1), YESTERDAY)
    assert platform.params(route)["start_date"] == "2020-01-01"


async def test_all_pages_are_walked(platform: Platform, datacube: DatacubeAPI) -> None:
    """Page after page, until as many were seen as there are."""
    first = [TEXT] * 90
    route = platform.answer("GET", ADS, slots(*first, total=92), slots("2026-03-03", "2026-03-04", total=92))
    found = [item.ref_date async for item in datacube.iter_ad_slot_stats(DAY, YESTERDAY, ad_slot="X")]
    assert found == [DAY] * 90 + [date(2026, 3, 3), date(2026, 3, 4)]
    assert [platform.params(route, call)["page"] for call in range(2)] == ["1", "2"]
    assert {platform.params(route, call)["ad_slot"] for call in range(2)} == {"X"}


async def test_a_page_is_fetched_when_it_is_needed(platform: Platform, datacube: DatacubeAPI) -> None:
    """Who stops early asks for no more."""
    route = platform.answer("GET", ADS, slots(TEXT, total=2))
    walk = datacube.iter_ad_slot_stats(DAY)
    assert await anext(walk) == SLOT_RECORD
    await walk.aclose()
    assert route.call_count == 1


@pytest.mark.parametrize(("iterator", "action"), list(zip(AD_ITERATORS, ACTIONS, strict=True)))
async def test_an_empty_page_ends_a_walk(platform: Platform, datacube: DatacubeAPI, iterator: str, action: str) -> None:
    """Nothing there, or a count that promises more than there is: one request."""
    route = platform.answer("GET", ADS, {**EMPTY, "total_num": 5})
    assert [item async for item in getattr(datacube, iterator)(DAY)] == []
    assert route.call_count == 1
    assert platform.params(route)["action"] == action


@pytest.mark.parametrize(("iterator", "days"), [("iter_ad_slot_stats", 90), ("iter_ad_cps_stats", 60)])
async def test_long_walks_are_cut(platform: Platform, datacube: DatacubeAPI, iterator: str, days: int) -> None:
    """A range of any length is walked in windows of the longest length."""
    begin = date(2025, 1, 1)
    route = platform.answer("GET", ADS, EMPTY, EMPTY)
    assert [item async for item in getattr(datacube, iterator)(begin, begin + timedelta(days=days))] == []
    asked_for = [(platform.params(route, n)["start_date"], platform.params(route, n)["end_date"]) for n in range(2)]
    second = (begin + timedelta(days=days)).isoformat()
    assert asked_for == [("2025-01-01", (begin + timedelta(days=days - 1)).isoformat()), (second, second)]


async def test_settlements_are_walked(platform: Platform, datacube: DatacubeAPI) -> None:
    """Two pages of settlements, one range."""
    page = {**FINE, **SETTLED, "settlement_list": [SETTLEMENT], "total_num": 2}
    second = {**page, "settlement_list": [{**SETTLEMENT, "month": "202001"}]}
    route = platform.answer("GET", ADS, page, second)
    found = [item async for item in datacube.iter_ad_settlements(date(2020, 1, 1), YESTERDAY)]
    assert found == [SETTLED_RECORD, attrs.evolve(SETTLED_RECORD, month="202001")]
    assert route.call_count == 2


async def test_commissions_are_walked(platform: Platform, datacube: DatacubeAPI) -> None:
    """The walk over goods yields their days."""
    platform.answer("GET", ADS, {**FINE, "list": [CPS], "summary": {}, "total_num": 1})
    assert [item.total_commission_fen async for item in datacube.iter_ad_cps_stats(DAY)] == [25021]


async def test_advertisements_may_be_read_again(platform: Platform, datacube: DatacubeAPI) -> None:
    """An answer that got lost is asked for again."""
    route = platform.answer("GET", ADS, httpx.Response(502, html="<html></html>"), EMPTY)
    assert len(await datacube.get_ad_slot_stats(DAY)) == 0
    assert route.call_count == 2
