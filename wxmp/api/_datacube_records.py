"""What the statistics tell: a record for each kind of figures, and the table that a sequence of them is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from enum import Enum, IntEnum, StrEnum
from functools import cache
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar, cast, get_args, get_origin, overload

import attrs

from wxmp._wire import JsonObject, wire

__all__ = [
    "AdCPSStat",
    "AdCPSTotals",
    "AdReport",
    "AdSettlement",
    "AdSettlementTotals",
    "AdSlot",
    "AdSlotRevenue",
    "AdSlotStat",
    "AdSlotTotals",
    "ArticleRead",
    "ArticleReadDetail",
    "ArticleShare",
    "ArticleShareDetail",
    "ArticleSummary",
    "ArticleTotal",
    "ArticleTotalDay",
    "ArticleTotalDetail",
    "ArticleTotalDetailDay",
    "BizSummary",
    "BizSummaryDetail",
    "FollowSource",
    "InterfaceSummary",
    "InterfaceSummaryHour",
    "NotADateError",
    "PublishType",
    "ReadJumpPosition",
    "ReadSource",
    "ReadUserSource",
    "Report",
    "Row",
    "ShareScene",
    "UpstreamMsg",
    "UpstreamMsgBand",
    "UpstreamMsgDist",
    "UpstreamMsgHour",
    "UpstreamMsgType",
    "UserCumulate",
    "UserRead",
    "UserReadHour",
    "UserShare",
    "UserShareHour",
    "UserSummary",
    "read_day",
    "tuple_of",
]

T_co = TypeVar("T_co", covariant=True)
S_co = TypeVar("S_co", covariant=True)
T = TypeVar("T")

#: One row of a table: plain values, ready for a data frame, a CSV file or a database.
Row = dict[str, str | int | float | date | None]

_SOURCES: Final = ("全部", "公众号消息", "聊天会话", "朋友圈", "公众号主页", "其他", "推荐", "搜一搜")
_POSITIONS: Final = ("1", "2", "3", "4", "5")


class NotADateError(ValueError):
    """What should be a day is none. Its name gets into a ``ReplyError``, and the value does not."""


def read_day(value: object) -> date:
    """Return a day of an answer, ``2026-01-31``.

    Raises:
        NotADateError: It is none.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise NotADateError


def tuple_of(record: type[T]) -> type[tuple[T, ...]]:
    """Return the type of a tuple of records, for :func:`~wxmp._wire.decode`."""
    return cast("type[tuple[T, ...]]", GenericAlias(tuple, (record, ...)))


# ---- what the figures are about


class FollowSource(IntEnum):
    """Where followers came from (用户的渠道). Other numbers occur, and changed over time."""

    OTHER = 0
    #: The search for accounts.
    SEARCH = 1
    #: A card that somebody passed on.
    CARD = 17
    QR_CODE = 30
    #: The name of the account in an article.
    ARTICLE = 57


class ReadSource(IntEnum):
    """Where readers came from (阅读来源)."""

    #: The chat with the account.
    CHAT = 0
    #: Passed on by a friend.
    FRIENDS = 1
    #: Moments (朋友圈).
    MOMENTS = 2
    #: The page with former messages.
    HISTORY = 4
    OTHER = 5
    #: Top Stories (看一看).
    TOP_STORIES = 6
    #: Search (搜一搜).
    SEARCH = 7
    #: All of them together: do not add it to the others.
    ALL = 99_999_999


class ShareScene(IntEnum):
    """Where articles were shared (分享的场景)."""

    FRIEND = 1
    #: Moments (朋友圈).
    MOMENTS = 2
    OTHER = 255


class UpstreamMsgType(IntEnum):
    """What users sent (消息类型)."""

    TEXT = 1
    IMAGE = 2
    VOICE = 3
    VIDEO = 4
    #: A link, or anything else.
    OTHER = 6


class UpstreamMsgBand(IntEnum):
    """How many messages a user sent (发送消息量分布的区间)."""

    NONE = 0
    UP_TO_5 = 1
    UP_TO_10 = 2
    MORE = 3


class PublishType(IntEnum):
    """How an article was published (发表类型)."""

    #: The followers were notified.
    NOTIFIED = 0
    SILENT = 1


class AdSlot(StrEnum):
    """A place for advertisements (广告位类型名称)."""

    #: At the end of an article (公众号底部广告).
    BIZ_BOTTOM = "SLOT_ID_BIZ_BOTTOM"
    #: Within an article (公众号文中广告).
    BIZ_MID_CONTEXT = "SLOT_ID_BIZ_MID_CONTEXT"
    #: After a video (公众号视频后贴).
    BIZ_VIDEO_END = "SLOT_ID_BIZ_VIDEO_END"
    #: Agreed with the advertiser (公众号互选广告).
    BIZ_SPONSOR = "SLOT_ID_BIZ_SPONSOR"
    #: Goods with a commission (公众号返佣商品).
    BIZ_CPS = "SLOT_ID_BIZ_CPS"


# ---- tables

#: Where an attribute's metadata keeps that its list becomes columns: by which attribute, of which value, known names.
_SPREAD: Final = "wxmp.spread"
#: Columns that stand first, in this order; the others follow as the record lists them.
_LEADING: Final = ("ref_date", "ref_hour", "update_date", "slot_id", "ad_slot")


@attrs.frozen
class _Column:
    """How one attribute of a record gets into a row."""

    name: str
    #: What stands in a row where there is no record: a day has nothing to stand for it.
    default: object
    #: The record in it, if it is no plain value.
    inner: type[Any] | None
    #: A list of such records.
    many: bool
    spread: tuple[str, str, tuple[str, ...]] | None


@cache
def _columns(cls: type[Any]) -> tuple[_Column, ...]:
    found: list[_Column] = []
    for field in attrs.fields(attrs.resolve_types(cls)):
        many = get_origin(field.type) is tuple
        inner = get_args(field.type)[0] if many else field.type
        if field.name != "extra":
            default = None if field.default is attrs.NOTHING else field.default
            known = inner if isinstance(inner, type) and attrs.has(inner) else None
            found.append(_Column(field.name, default, known, many, field.metadata.get(_SPREAD)))
    return tuple(sorted(found, key=lambda c: _LEADING.index(c.name) if c.name in _LEADING else len(_LEADING)))


def _rows(cls: type[Any], record: object) -> list[Row]:
    """Return the rows of one record: one for each entry of its list of records.

    Where there is no entry, or no record at all (``None``), it is one row of defaults.
    """
    row: Row = {}
    entries: list[Row] = [{}]
    for column in _columns(cls):  # type: ignore[arg-type]  # mypy holds that a type may have no hash
        value: Any = column.default if record is None else getattr(record, column.name)
        inner = column.inner
        if inner is None:
            row[column.name] = value.value if isinstance(value, Enum) else value
        elif column.spread is not None:
            key, figure, known = column.spread
            nobody = attrs.fields_dict(inner)[figure].default
            found = {str(getattr(entry, key)): getattr(entry, figure) for entry in value}
            row |= {f"{column.name}_{name}": found.get(name, nobody) for name in dict.fromkeys((*known, *found))}
        elif column.many:
            entries = [entry_row for entry in value or (None,) for entry_row in _rows(inner, entry)]
        else:
            row |= _rows(inner, value)[0]
    return [row | entry for entry in entries]


@attrs.frozen
class Report(Sequence[T_co], Generic[T_co]):
    """What a call found: a sequence of records, and a table.

    Index it, take its length, loop over it; :meth:`rows` makes a table of it.
    """

    #: The records, the earliest window first, in the order of the platform.
    items: tuple[T_co, ...]
    #: The class of the records; it is known even where there are none.
    record: type[T_co] = attrs.field(kw_only=True)
    #: Days whose figures are late (``is_delay``) and will change: ask for them again. The calls about published
    #: content tell; for the others it is empty.
    delayed_days: tuple[date, ...] = attrs.field(default=(), kw_only=True)
    #: Fields of the answers that this version does not know; of several answers the latest counts.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @overload
    def __getitem__(self, index: int) -> T_co: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T_co, ...]: ...

    def __getitem__(self, index: int | slice) -> T_co | tuple[T_co, ...]:
        return self.items[index]

    def __iter__(self) -> Iterator[T_co]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def is_delay(self) -> bool:
        """Whether some of the figures are late and will change (数据是否有延迟)."""
        return bool(self.delayed_days)

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of every row, in order; known even where there are no rows."""
        return tuple(_samples(self._ragged()))

    def rows(self) -> list[Row]:
        """Return a table: a row for each record, and for each entry where a record holds a list of records.

        Every row has the same keys, those of :attr:`columns`, and a column has one type: days are ``datetime.date``,
        money is a whole number of fen, rates are ``float``. The readers by source and the places where readers left
        are columns, not rows: ``read_user_source_朋友圈``, ``read_jump_position_1``; what the platform does not name
        there is 0. An article without a single day has one row, without ``stat_date`` (``None``). Unknown fields
        (``extra``) are left out.

        ``pandas.DataFrame(report.rows(), columns=report.columns)`` and ``polars.DataFrame(report.rows())`` take it
        as it is.
        """
        ragged = self._ragged()
        samples = _samples(ragged)
        # Only a source that the documentation does not know is in one row and not in the other: nobody came from there.
        nobody = {name: 0.0 if isinstance(sample, float) else 0 for name, sample in samples.items()}
        return [{name: row.get(name, nobody[name]) for name in samples} for row in ragged[1:]]

    def _ragged(self) -> list[Row]:
        """Return the rows as each record gives them, behind one that has nothing but the documented columns."""
        return [row for record in (None, *self.items) for row in _rows(self.record, record)]


def _samples(rows: list[Row]) -> Row:
    """Return all keys, each with the first value it has."""
    found: Row = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, value)
    return found


@attrs.frozen
class AdReport(Report[T_co], Generic[T_co, S_co]):
    """One page of advertisement figures, with the totals of the whole range."""

    #: The totals.
    summary: S_co = attrs.field(kw_only=True)
    #: Records on all pages.
    total: int = attrs.field(kw_only=True)


# ---- followers


@attrs.frozen
class UserSummary:
    """Followers gained and lost on a day, by source (用户增减数据)."""

    ref_date: date = attrs.field(converter=read_day)
    #: Where they came from.
    user_source: FollowSource | int = FollowSource.OTHER
    new_user: int = 0
    #: The net growth is ``new_user - cancel_user``.
    cancel_user: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class UserCumulate:
    """All followers at the end of a day (累计用户数据)."""

    ref_date: date = attrs.field(converter=read_day)
    #: Always 0 when the platform sends it.
    user_source: int = 0
    cumulate_user: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


# ---- articles, as they were counted until 2025


@attrs.frozen
class ArticleSummary:
    """The figures of one mass-sent article on one day (图文群发每日数据)."""

    ref_date: date = attrs.field(converter=read_day)
    #: The ``msg_data_id`` of the send, ``_``, and the place of the article in it, from 1: ``"12003_3"``.
    msg_id: str = attrs.field(default="", metadata=wire("msgid"))
    title: str = ""
    #: People who read the article; ``_count`` is how often.
    int_page_read_user: int = 0
    int_page_read_count: int = 0
    #: The same for the source page behind "阅读原文".
    ori_page_read_user: int = 0
    ori_page_read_count: int = 0
    share_user: int = 0
    share_count: int = 0
    #: People who saved it (收藏).
    add_to_fav_user: int = 0
    add_to_fav_count: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ArticleTotalDay:
    """The figures of an article from its day up to ``stat_date``."""

    #: The last day counted.
    stat_date: date = attrs.field(converter=read_day)
    #: People it was sent to.
    target_user: int = 0
    int_page_read_user: int = 0
    int_page_read_count: int = 0
    ori_page_read_user: int = 0
    ori_page_read_count: int = 0
    share_user: int = 0
    share_count: int = 0
    add_to_fav_user: int = 0
    add_to_fav_count: int = 0
    # Readers by source: chat, page with former messages, Moments, friends, others, Top Stories, Search.
    int_page_from_session_read_user: int = 0
    int_page_from_session_read_count: int = 0
    int_page_from_hist_msg_read_user: int = 0
    int_page_from_hist_msg_read_count: int = 0
    int_page_from_feed_read_user: int = 0
    int_page_from_feed_read_count: int = 0
    int_page_from_friends_read_user: int = 0
    int_page_from_friends_read_count: int = 0
    int_page_from_other_read_user: int = 0
    int_page_from_other_read_count: int = 0
    int_page_from_kanyikan_read_user: int = 0
    int_page_from_kanyikan_read_count: int = 0
    int_page_from_souyisou_read_user: int = 0
    int_page_from_souyisou_read_count: int = 0
    # Shares into Moments, by where the sharer had it from: chat, Moments, elsewhere.
    feed_share_from_session_user: int = 0
    feed_share_from_session_cnt: int = 0
    feed_share_from_feed_user: int = 0
    feed_share_from_feed_cnt: int = 0
    feed_share_from_other_user: int = 0
    feed_share_from_other_cnt: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ArticleTotal:
    """One mass-sent article over the days after (图文群发总数据)."""

    #: The day it was sent.
    ref_date: date = attrs.field(converter=read_day)
    #: As in :class:`ArticleSummary`.
    msg_id: str = attrs.field(default="", metadata=wire("msgid"))
    title: str = ""
    #: Up to seven days; each entry counts up to its day, so they are not to be added.
    details: tuple[ArticleTotalDay, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class UserRead:
    """The reading of all articles on a day, by source (图文阅读概况数据)."""

    ref_date: date = attrs.field(converter=read_day)
    #: ``ALL`` is a row of its own. Source pages and saves are told there only.
    user_source: ReadSource | int = ReadSource.CHAT
    int_page_read_user: int = 0
    int_page_read_count: int = 0
    ori_page_read_user: int = 0
    ori_page_read_count: int = 0
    share_user: int = 0
    share_count: int = 0
    add_to_fav_user: int = 0
    add_to_fav_count: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class UserReadHour(UserRead):
    """The same within an hour (图文阅读分时数据)."""

    #: The hour times 100, in Beijing: 0, 100 ... 2300.
    ref_hour: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class UserShare:
    """The sharing of all articles on a day, by scene (图文分享转发数据)."""

    ref_date: date = attrs.field(converter=read_day)
    share_scene: ShareScene | int = ShareScene.OTHER
    share_user: int = 0
    share_count: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class UserShareHour(UserShare):
    """The same within an hour (图文分享转发每日数据分时)."""

    #: The hour times 100, in Beijing: 0, 100 ... 2300.
    ref_hour: int = attrs.field(default=0, kw_only=True)


# ---- published content, as it is counted since 2025


@attrs.frozen
class ReadUserSource:
    """Readers from one source (阅读来源)."""

    #: 全部 (all of them), 公众号消息, 聊天会话, 朋友圈, 公众号主页, 其他, 推荐, 搜一搜.
    scene_desc: str = ""
    user_count: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ReadJumpPosition:
    """How many readers left in one part of the article (用户跳出位置)."""

    #: The part: 1 the first fifth ... 5 the last.
    position: int = 0
    #: Of all readers, 0 to 1.
    rate: float = 0.0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


_BY_SOURCE: Final = {_SPREAD: ("scene_desc", "user_count", _SOURCES)}
_BY_POSITION: Final = {_SPREAD: ("position", "rate", _POSITIONS)}


@attrs.frozen
class ArticleReadDetail:
    """The readers of an article on a day."""

    read_user: int = 0
    #: By source; 全部 is among them.
    read_user_source: tuple[ReadUserSource, ...] = attrs.field(default=(), metadata=_BY_SOURCE)
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ArticleRead:
    """The reading of one article on one day (发表内容每日阅读数据)."""

    ref_date: date = attrs.field(converter=read_day)
    #: As in :class:`ArticleSummary`.
    msg_id: str = attrs.field(default="", metadata=wire("msgid"))
    detail: ArticleReadDetail = ArticleReadDetail()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ArticleShareDetail:
    """The sharers of an article on a day."""

    share_user: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ArticleShare:
    """The sharing of one article on one day (发表内容每日分享数据)."""

    ref_date: date = attrs.field(converter=read_day)
    #: As in :class:`ArticleSummary`.
    msg_id: str = attrs.field(default="", metadata=wire("msgid"))
    detail: ArticleShareDetail = ArticleShareDetail()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class BizSummaryDetail:
    """The figures of all content on a day."""

    read_user: int = 0
    #: By source; 全部 is among them.
    read_user_source: tuple[ReadUserSource, ...] = attrs.field(default=(), metadata=_BY_SOURCE)
    share_user: int = 0
    #: Hearts (爱心赞, formerly 在看).
    zaikan_user: int = 0
    #: Thumbs (拇指赞).
    like_user: int = 0
    comment_count: int = 0
    #: People who saved something (收藏).
    collection_user: int = 0
    #: People who went on to a source page (跳转原文).
    redirect_ori_page_user: int = 0
    #: Pieces published (发布篇数).
    send_page_count: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class BizSummary:
    """All content of the account on a day (发表内容概况总数据)."""

    ref_date: date = attrs.field(converter=read_day)
    detail: BizSummaryDetail = BizSummaryDetail()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ArticleTotalDetailDay:
    """The figures of an article from its day up to ``stat_date``."""

    #: The last day counted.
    stat_date: date = attrs.field(converter=read_day)
    read_user: int = 0
    #: By source; 全部 is among them.
    read_user_source: tuple[ReadUserSource, ...] = attrs.field(default=(), metadata=_BY_SOURCE)
    share_user: int = 0
    #: Hearts (爱心赞, formerly 在看).
    zaikan_user: int = 0
    #: Thumbs (拇指赞).
    like_user: int = 0
    comment_count: int = 0
    #: People who saved it (收藏).
    collection_user: int = 0
    #: Rewards (赞赏金额), as the platform gives them. The unit is not confirmed; it is said to be fen.
    praise_money: int = 0
    #: New followers after reading.
    read_subscribe_user: int = 0
    #: Readers among those it was delivered to, 0 to 1.
    read_delivery_rate: float = 0.0
    #: Readers who came to the end, 0 to 1.
    read_finish_rate: float = 0.0
    #: Average time of reading, as the platform gives it. Sources disagree about the unit: minutes or seconds.
    read_avg_activetime: float = 0.0
    read_jump_position: tuple[ReadJumpPosition, ...] = attrs.field(default=(), metadata=_BY_POSITION)
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ArticleTotalDetail:
    """One article over the 30 days after (发表内容发表详细数据)."""

    #: The day it was published.
    ref_date: date = attrs.field(converter=read_day)
    #: As in :class:`ArticleSummary`.
    msg_id: str = attrs.field(default="", metadata=wire("msgid"))
    publish_type: PublishType | int = PublishType.NOTIFIED
    title: str = ""
    content_url: str = ""
    #: Each entry counts up to its day, so they are not to be added.
    detail_list: tuple[ArticleTotalDetailDay, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


# ---- messages of users


@attrs.frozen
class UpstreamMsg:
    """The messages users sent, by kind (消息发送概况数据)."""

    #: The day; of a week its Monday, of a month its first day.
    ref_date: date = attrs.field(converter=read_day)
    msg_type: UpstreamMsgType | int = UpstreamMsgType.OTHER
    #: People who sent some.
    msg_user: int = 0
    msg_count: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class UpstreamMsgHour(UpstreamMsg):
    """The same within an hour (消息发送分时数据)."""

    #: The hour times 100, in Beijing: 0, 100 ... 2300.
    ref_hour: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class UpstreamMsgDist:
    """How many users sent how much (消息发送分布数据)."""

    #: The day; of a week its Monday, of a month its first day.
    ref_date: date = attrs.field(converter=read_day)
    count_interval: UpstreamMsgBand | int = UpstreamMsgBand.NONE
    #: People in this band.
    msg_user: int = 0
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


# ---- the interface


@attrs.frozen
class InterfaceSummary:
    """How the developer's server answered on a day (接口分析数据)."""

    ref_date: date = attrs.field(converter=read_day)
    #: Passive replies asked for (被动回复).
    callback_count: int = 0
    fail_count: int = 0
    #: Milliseconds of all of them.
    total_time_cost_ms: int = attrs.field(default=0, metadata=wire("total_time_cost"))
    #: Milliseconds of the slowest.
    max_time_cost_ms: int = attrs.field(default=0, metadata=wire("max_time_cost"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class InterfaceSummaryHour(InterfaceSummary):
    """The same within an hour (接口分析分时数据)."""

    #: The hour times 100, in Beijing: 0, 100 ... 2300.
    ref_hour: int = attrs.field(default=0, kw_only=True)


# ---- advertisements


@attrs.frozen
class AdSlotTotals:
    """The figures of advertisements (广告位数据)."""

    #: Advertisements that were delivered (拉取量).
    req_succ_count: int = 0
    exposure_count: int = 0
    exposure_rate: float = 0.0
    click_count: int = 0
    click_rate: float = 0.0
    #: Fen.
    income_fen: int = attrs.field(default=0, metadata=wire("income"))
    #: Fen for a thousand exposures, with a fraction.
    ecpm_fen: float = attrs.field(default=0.0, metadata=wire("ecpm"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AdSlotStat(AdSlotTotals):
    """One slot on one day (分广告位数据)."""

    ref_date: date = attrs.field(converter=read_day, kw_only=True, metadata=wire("date"))
    #: The number that slots had before they had names.
    slot_id: int = attrs.field(default=0, kw_only=True)
    ad_slot: AdSlot | str = attrs.field(default="", kw_only=True)


@attrs.frozen
class AdCPSTotals:
    """The figures of goods with a commission (返佣商品数据)."""

    exposure_count: int = 0
    click_count: int = 0
    #: As the platform gives it; above 1 in the documentation's own example.
    click_rate: float = 0.0
    order_count: int = 0
    order_rate: float = 0.0
    #: Fen, of all orders.
    total_fee_fen: int = attrs.field(default=0, metadata=wire("total_fee"))
    #: Fen.
    total_commission_fen: int = attrs.field(default=0, metadata=wire("total_commission"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AdCPSStat(AdCPSTotals):
    """One day (返佣商品数据)."""

    ref_date: date = attrs.field(converter=read_day, kw_only=True, metadata=wire("date"))


@attrs.frozen
class AdSlotRevenue:
    """What one slot contributed to a settlement (广告位结算金额)."""

    ad_slot: AdSlot | str = attrs.field(default="", metadata=wire("slot_id"))
    #: Fen.
    slot_settled_revenue_fen: int = attrs.field(default=0, metadata=wire("slot_settled_revenue"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AdSettlement:
    """The settlement of half a month (结算单)."""

    #: The day of the figures (数据更新时间).
    update_date: date = attrs.field(converter=read_day, metadata=wire("date"))
    #: The period in words: ``"2020年3月1日至15日"``.
    zone: str = ""
    #: The month of the income, ``"202003"``.
    month: str = ""
    #: 1 for the first half of the month, 2 for the second.
    order: int = 0
    #: 1 in settlement, 2 and 3 settled, 4 being paid, 5 paid.
    sett_status: int = 0
    #: Fen.
    settled_revenue_fen: int = attrs.field(default=0, metadata=wire("settled_revenue"))
    #: The number of the settlement.
    sett_no: str = ""
    #: How often it was asked for by post again.
    mail_send_cnt: int = 0
    slot_revenue: tuple[AdSlotRevenue, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AdSettlementTotals:
    """Who is paid, and how much over all time (结算主体与累计收入)."""

    #: The company or person (结算主体).
    body: str = ""
    #: Fen.
    revenue_all_fen: int = attrs.field(default=0, metadata=wire("revenue_all"))
    #: Fen withheld (扣除金额).
    penalty_all_fen: int = attrs.field(default=0, metadata=wire("penalty_all"))
    #: Fen settled.
    settled_revenue_all_fen: int = attrs.field(default=0, metadata=wire("settled_revenue_all"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)
