"""Statistics of the account (数据统计): followers, articles, messages, the interface, advertisements."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import decode
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._datacube_ads import AD_PAGE, ad_report, one_window, plain_settlement, read_page, walk
from wxmp.api._datacube_dates import CONTENT_FIRST_DAY, Span, check_range, cut, windows
from wxmp.api._datacube_records import (
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
    FollowSource,
    InterfaceSummary,
    InterfaceSummaryHour,
    PublishType,
    ReadJumpPosition,
    ReadSource,
    ReadUserSource,
    Report,
    Row,
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
    tuple_of,
)
from wxmp.errors import WxmpError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import date

    from wxmp._wire import JsonObject
    from wxmp.api._datacube_dates import Window

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
    "DatacubeAPI",
    "FollowSource",
    "InterfaceSummary",
    "InterfaceSummaryHour",
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
]

T = TypeVar("T")
S = TypeVar("S")

#: Days that one call may span.
AD_SLOT_DAYS: Final = 90
AD_CPS_DAYS: Final = 60

_DAY: Final = Span()
_WEEK: Final = Span(period="week")
_MONTH: Final = Span(period="month")
_CONTENT_DAY: Final = Span(first_day=CONTENT_FIRST_DAY)

# Nothing is changed by reading, so everything may be repeated.
GET_USER_SUMMARY: Final = Endpoint("POST", "/datacube/getusersummary", repeatable=True)
GET_USER_CUMULATE: Final = Endpoint("POST", "/datacube/getusercumulate", repeatable=True)
GET_ARTICLE_SUMMARY: Final = Endpoint("POST", "/datacube/getarticlesummary", repeatable=True)
GET_ARTICLE_TOTAL: Final = Endpoint("POST", "/datacube/getarticletotal", repeatable=True)
GET_USER_READ: Final = Endpoint("POST", "/datacube/getuserread", repeatable=True)
GET_USER_READ_HOUR: Final = Endpoint("POST", "/datacube/getuserreadhour", repeatable=True)
GET_USER_SHARE: Final = Endpoint("POST", "/datacube/getusershare", repeatable=True)
GET_USER_SHARE_HOUR: Final = Endpoint("POST", "/datacube/getusersharehour", repeatable=True)
GET_ARTICLE_READ: Final = Endpoint("POST", "/datacube/getarticleread", repeatable=True)
GET_ARTICLE_SHARE: Final = Endpoint("POST", "/datacube/getarticleshare", repeatable=True)
GET_BIZ_SUMMARY: Final = Endpoint("POST", "/datacube/getbizsummary", repeatable=True)
GET_ARTICLE_TOTAL_DETAIL: Final = Endpoint("POST", "/datacube/getarticletotaldetail", repeatable=True)
GET_UPSTREAM_MSG: Final = Endpoint("POST", "/datacube/getupstreammsg", repeatable=True)
GET_UPSTREAM_MSG_HOUR: Final = Endpoint("POST", "/datacube/getupstreammsghour", repeatable=True)
GET_UPSTREAM_MSG_WEEK: Final = Endpoint("POST", "/datacube/getupstreammsgweek", repeatable=True)
GET_UPSTREAM_MSG_MONTH: Final = Endpoint("POST", "/datacube/getupstreammsgmonth", repeatable=True)
GET_UPSTREAM_MSG_DIST: Final = Endpoint("POST", "/datacube/getupstreammsgdist", repeatable=True)
GET_UPSTREAM_MSG_DIST_WEEK: Final = Endpoint("POST", "/datacube/getupstreammsgdistweek", repeatable=True)
GET_UPSTREAM_MSG_DIST_MONTH: Final = Endpoint("POST", "/datacube/getupstreammsgdistmonth", repeatable=True)
GET_INTERFACE_SUMMARY: Final = Endpoint("POST", "/datacube/getinterfacesummary", repeatable=True)
GET_INTERFACE_SUMMARY_HOUR: Final = Endpoint("POST", "/datacube/getinterfacesummaryhour", repeatable=True)
# One path; the parameter "action" says which.
GET_AD_SLOT_STATS: Final = Endpoint("GET", "/publisher/stat", repeatable=True)
GET_AD_CPS_STATS: Final = Endpoint("GET", "/publisher/stat", repeatable=True)
GET_AD_SETTLEMENT: Final = Endpoint("GET", "/publisher/stat", repeatable=True)

# ---- the calls


@attrs.frozen
class DatacubeAPI:
    """Statistics of the account (数据统计): followers, articles, messages, the interface, advertisements.

    Verified accounts only; the others get 48001. Days are ``datetime.date`` in Beijing, both ends count, and without
    ``end_date`` it is one day. A range may be as long as you like: it is read in as many calls as its endpoint needs,
    one after the other. When a later one fails, a note of the error says which days were read before it. The latest
    day is yesterday; its figures are there from about 8 o'clock on.

    Args:
        call: The caller of the account.
        clock: Seconds since 1970; it says which day is yesterday.
    """

    _call: Caller
    _clock: Callable[[], float] = attrs.field(default=time.time, alias="clock", kw_only=True, repr=False)

    # ---- followers

    async def get_user_summary(self, begin_date: date, end_date: date | None = None) -> Report[UserSummary]:
        """Read how many followers came and went (获取用户增减数据); seven days a call.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day and source.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getusersummary - 数据统计 / 用户分析 / 获取用户增减数据
        """
        return await self._read(GET_USER_SUMMARY, UserSummary, Span(days=7), begin_date, end_date)

    async def get_user_cumulate(self, begin_date: date, end_date: date | None = None) -> Report[UserCumulate]:
        """Read how many followers there were at the end of each day (获取累计用户数据); seven days a call.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getusercumulate - 数据统计 / 用户分析 / 获取累计用户数据
        """
        return await self._read(GET_USER_CUMULATE, UserCumulate, Span(days=7), begin_date, end_date)

    # ---- articles, no longer maintained

    async def get_article_summary(self, begin_date: date, end_date: date | None = None) -> Report[ArticleSummary]:
        """Read the day's figures of mass-sent articles (获取图文群发每日数据); one day a call.

        No longer maintained by the platform: :meth:`get_article_read` and :meth:`get_article_share` succeed it.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day and article.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getarticlesummary - 数据统计 / 图文分析 / 获取图文群发每日数据
        """
        return await self._read(GET_ARTICLE_SUMMARY, ArticleSummary, _DAY, begin_date, end_date)

    async def get_article_total(self, begin_date: date, end_date: date | None = None) -> Report[ArticleTotal]:
        """Follow mass-sent articles for seven days (获取图文群发总数据); one day a call.

        No longer maintained by the platform: :meth:`get_article_total_detail` succeeds it.

        Args:
            begin_date: The first day of sending, from 2014-12-01 on.
            end_date: The last day of sending, at most yesterday; the first one if absent.

        Returns:
            A record for each article; in the table a row for each of its days.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getarticletotal - 数据统计 / 图文分析 / 获取图文群发总数据
        """
        return await self._read(GET_ARTICLE_TOTAL, ArticleTotal, _DAY, begin_date, end_date)

    async def get_user_read(self, begin_date: date, end_date: date | None = None) -> Report[UserRead]:
        """Read how much was read, by source (获取图文统计数据); three days a call.

        No longer maintained by the platform: :meth:`get_biz_summary` succeeds it.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day and source, and one for all sources.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getuserread - 数据统计 / 图文分析 / 获取图文阅读概况数据
        """
        return await self._read(GET_USER_READ, UserRead, Span(days=3), begin_date, end_date)

    async def get_user_read_hour(self, begin_date: date, end_date: date | None = None) -> Report[UserReadHour]:
        """Read how much was read in each hour, by source (获取图文阅读分时数据); one day a call.

        No longer maintained by the platform: :meth:`get_biz_summary` succeeds it, without hours.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each hour and source, and one for all sources.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getuserreadhour - 数据统计 / 图文分析 / 获取图文阅读分时数据
        """
        return await self._read(GET_USER_READ_HOUR, UserReadHour, _DAY, begin_date, end_date)

    async def get_user_share(self, begin_date: date, end_date: date | None = None) -> Report[UserShare]:
        """Read how much was shared, by scene (获取图文分享转发数据); seven days a call.

        No longer maintained by the platform: :meth:`get_biz_summary` and :meth:`get_article_share` succeed it.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day and scene.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getusershare - 数据统计 / 图文分析 / 获取图文分享转发数据
        """
        return await self._read(GET_USER_SHARE, UserShare, Span(days=7), begin_date, end_date)

    async def get_user_share_hour(self, begin_date: date, end_date: date | None = None) -> Report[UserShareHour]:
        """Read how much was shared in each hour, by scene (获取图文分享转发分时数据); one day a call.

        No longer maintained by the platform: :meth:`get_article_share` succeeds it, without hours.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each hour and scene.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getusersharehour - 数据统计 / 图文分析 / 获取图文分享转发分时数据
        """
        return await self._read(GET_USER_SHARE_HOUR, UserShareHour, _DAY, begin_date, end_date)

    # ---- published content

    async def get_article_read(self, begin_date: date, end_date: date | None = None) -> Report[ArticleRead]:
        """Read who read each published article, by source (获取发表内容每日阅读数据); one day a call.

        Args:
            begin_date: The first day, from 2025-11-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day and article that was read.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getarticleread - 数据统计 / 图文分析 / 获取发表内容每日阅读数据
        """
        return await self._read(GET_ARTICLE_READ, ArticleRead, _CONTENT_DAY, begin_date, end_date)

    async def get_article_share(self, begin_date: date, end_date: date | None = None) -> Report[ArticleShare]:
        """Read how many people shared each published article (获取发表内容每日分享数据); one day a call.

        Args:
            begin_date: The first day, from 2025-11-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day and article that was shared.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getarticleshare - 数据统计 / 图文分析 / 获取发表内容每日分享数据
        """
        return await self._read(GET_ARTICLE_SHARE, ArticleShare, _CONTENT_DAY, begin_date, end_date)

    async def get_biz_summary(self, begin_date: date, end_date: date | None = None) -> Report[BizSummary]:
        """Read the figures of all published content together (获取发表内容概况总数据); 30 days a call.

        Args:
            begin_date: The first day, from 2025-11-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getbizsummary - 数据统计 / 图文分析 / 获取发表内容概况总数据
        """
        span = Span(days=30, first_day=CONTENT_FIRST_DAY)
        return await self._read(GET_BIZ_SUMMARY, BizSummary, span, begin_date, end_date)

    async def get_article_total_detail(
        self, begin_date: date, end_date: date | None = None
    ) -> Report[ArticleTotalDetail]:
        """Follow published articles for 30 days (获取发表内容发表详细数据); one day a call.

        Args:
            begin_date: The first day of publishing, from 2025-11-01 on.
            end_date: The last day of publishing, at most yesterday; the first one if absent.

        Returns:
            A record for each article; in the table a row for each of its days.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getarticletotaldetail - 数据统计 / 图文分析 / 获取发表内容发表详细数据
        """
        return await self._read(GET_ARTICLE_TOTAL_DETAIL, ArticleTotalDetail, _CONTENT_DAY, begin_date, end_date)

    # ---- messages of users

    async def get_upstream_msg(self, begin_date: date, end_date: date | None = None) -> Report[UpstreamMsg]:
        """Read what users sent, by kind (获取消息发送概况数据); seven days a call.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day and kind.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getupstreammsg - 数据统计 / 消息分析 / 获取消息发送概况数据
        """
        return await self._read(GET_UPSTREAM_MSG, UpstreamMsg, Span(days=7), begin_date, end_date)

    async def get_upstream_msg_hour(self, begin_date: date, end_date: date | None = None) -> Report[UpstreamMsgHour]:
        """Read what users sent in each hour, by kind (获取消息发送分时数据); one day a call.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each hour and kind.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getupstreammsghour - 数据统计 / 消息分析 / 获取消息发送分时数据
        """
        return await self._read(GET_UPSTREAM_MSG_HOUR, UpstreamMsgHour, _DAY, begin_date, end_date)

    async def get_upstream_msg_week(self, begin_date: date, end_date: date | None = None) -> Report[UpstreamMsg]:
        """Read what users sent in each week, by kind (获取消息发送周数据); one week a call.

        Args:
            begin_date: The weeks that begin from this day on, itself included; a Monday, to name one week.
            end_date: ... and up to this one, at most yesterday; the first one if absent.

        Returns:
            A record for each week and kind; ``ref_date`` is the Monday.

        Raises:
            ArgumentError: A day is no date (61500); the range cannot be, or has no Monday in it (61501). Found before
                sending.
            BusyError: The figures are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getupstreammsgweek - 数据统计 / 消息分析 / 获取消息发送周数据
        """
        return await self._read(GET_UPSTREAM_MSG_WEEK, UpstreamMsg, _WEEK, begin_date, end_date)

    async def get_upstream_msg_month(self, begin_date: date, end_date: date | None = None) -> Report[UpstreamMsg]:
        """Read what users sent in each month, by kind (获取消息发送月数据); one month a call.

        Args:
            begin_date: The months that begin from this day on, itself included; a first day, to name one month.
            end_date: ... and up to this one, at most yesterday; the first one if absent.

        Returns:
            A record for each month and kind; ``ref_date`` is the first day.

        Raises:
            ArgumentError: A day is no date (61500); the range cannot be, or has no first day of a month in it (61501).
                Found before sending.
            BusyError: The figures are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getupstreammsgmonth - 数据统计 / 消息分析 / 获取消息发送月数据
        """
        return await self._read(GET_UPSTREAM_MSG_MONTH, UpstreamMsg, _MONTH, begin_date, end_date)

    async def get_upstream_msg_dist(self, begin_date: date, end_date: date | None = None) -> Report[UpstreamMsgDist]:
        """Read how many users sent how much (获取消息发送分布数据); 15 days a call.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day and band.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getupstreammsgdist - 数据统计 / 消息分析 / 获取消息发送分布数据
        """
        return await self._read(GET_UPSTREAM_MSG_DIST, UpstreamMsgDist, Span(days=15), begin_date, end_date)

    async def get_upstream_msg_dist_week(
        self, begin_date: date, end_date: date | None = None
    ) -> Report[UpstreamMsgDist]:
        """Read how many users sent how much in each week (获取消息发送分布周数据); one week a call.

        Args:
            begin_date: The weeks that begin from this day on, itself included; a Monday, to name one week.
            end_date: ... and up to this one, at most yesterday; the first one if absent.

        Returns:
            A record for each week and band; ``ref_date`` is the Monday.

        Raises:
            ArgumentError: A day is no date (61500); the range cannot be, or has no Monday in it (61501). Found before
                sending.
            BusyError: The figures are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getupstreammsgdistweek - 数据统计 / 消息分析 / 获取消息发送分布周数据
        """
        return await self._read(GET_UPSTREAM_MSG_DIST_WEEK, UpstreamMsgDist, _WEEK, begin_date, end_date)

    async def get_upstream_msg_dist_month(
        self, begin_date: date, end_date: date | None = None
    ) -> Report[UpstreamMsgDist]:
        """Read how many users sent how much in each month (获取消息发送分布月数据); one month a call.

        Args:
            begin_date: The months that begin from this day on, itself included; a first day, to name one month.
            end_date: ... and up to this one, at most yesterday; the first one if absent.

        Returns:
            A record for each month and band; ``ref_date`` is the first day.

        Raises:
            ArgumentError: A day is no date (61500); the range cannot be, or has no first day of a month in it (61501).
                Found before sending.
            BusyError: The figures are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getupstreammsgdistmonth - 数据统计 / 消息分析 / 获取消息发送分布月数据
        """
        return await self._read(GET_UPSTREAM_MSG_DIST_MONTH, UpstreamMsgDist, _MONTH, begin_date, end_date)

    # ---- the interface

    async def get_interface_summary(self, begin_date: date, end_date: date | None = None) -> Report[InterfaceSummary]:
        """Read how the developer's server answered pushes (获取接口分析数据); 30 days a call.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each day.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getinterfacesummary - 数据统计 / 接口分析 / 获取接口分析数据
        """
        return await self._read(GET_INTERFACE_SUMMARY, InterfaceSummary, Span(days=30), begin_date, end_date)

    async def get_interface_summary_hour(
        self, begin_date: date, end_date: date | None = None
    ) -> Report[InterfaceSummaryHour]:
        """Read how the developer's server answered pushes in each hour (获取接口分析分时数据); one day a call.

        Args:
            begin_date: The first day, from 2014-12-01 on.
            end_date: The last day, at most yesterday; the first one if absent.

        Returns:
            A record for each hour.

        Raises:
            ArgumentError: A day is no date (61500), or the range cannot be (61501; both are found before sending).
            BusyError: The figures of the last day are not ready yet (61503); ask again after 8 o'clock in Beijing.

        Source:
            POST /datacube/getinterfacesummaryhour - 数据统计 / 接口分析 / 获取接口分析分时数据
        """
        return await self._read(GET_INTERFACE_SUMMARY_HOUR, InterfaceSummaryHour, _DAY, begin_date, end_date)

    # ---- advertisements

    async def get_ad_slot_stats(
        self,
        begin_date: date,
        end_date: date | None = None,
        *,
        page: int = 1,
        page_size: int = AD_PAGE,
        ad_slot: AdSlot | str | None = None,
    ) -> AdReport[AdSlotStat, AdSlotTotals]:
        """Read one page of what each advertisement slot earned (获取公众号分广告位数据).

        Traffic owners (流量主) only. :meth:`iter_ad_slot_stats` walks through all pages, over any number of days.

        Args:
            begin_date: The first day; there is nothing before 2016.
            end_date: The last day, at most 90 in all; the first one if absent.
            page: From 1.
            page_size: At most 90.
            ad_slot: One slot; all of them if absent.

        Returns:
            A record for each day and slot, and the totals of the range.

        Raises:
            ArgumentError: A day is no date (61500), the range cannot be (61501), or another argument (1701).
            NotAuthorizedError: The account is no traffic owner (2009).
            RateLimitError: Too many calls (45009).

        Source:
            GET /publisher/stat?action=publisher_adpos_general - 数据统计 / 广告分析 / 获取公众号分广告位数据
        """
        window = one_window(GET_AD_SLOT_STATS, begin_date, end_date, AD_SLOT_DAYS, "iter_ad_slot_stats")
        return await self._read_slots(window, page_size, ad_slot, page)

    async def iter_ad_slot_stats(
        self, begin_date: date, end_date: date | None = None, *, ad_slot: AdSlot | str | None = None
    ) -> AsyncGenerator[AdSlotStat, None]:
        """Iterate over what each advertisement slot earned on any number of days (获取公众号分广告位数据).

        Args:
            begin_date: The first day; there is nothing before 2016.
            end_date: The last day; the first one if absent.
            ad_slot: One slot; all of them if absent.

        Raises:
            ArgumentError: As :meth:`get_ad_slot_stats`.
            NotAuthorizedError: The account is no traffic owner (2009).
            RateLimitError: Too many calls (45009).

        Source:
            GET /publisher/stat?action=publisher_adpos_general - 数据统计 / 广告分析 / 获取公众号分广告位数据
        """
        for window in cut(*check_range(GET_AD_SLOT_STATS, begin_date, end_date), AD_SLOT_DAYS):
            async for item in walk(GET_AD_SLOT_STATS, partial(self._read_slots, window, AD_PAGE, ad_slot)):
                yield item

    async def get_ad_cps_stats(
        self,
        begin_date: date,
        end_date: date | None = None,
        *,
        page: int = 1,
        page_size: int = AD_PAGE,
        ad_slot: AdSlot | str | None = None,
    ) -> AdReport[AdCPSStat, AdCPSTotals]:
        """Read one page of what goods with a commission earned (获取公众号返佣商品数据).

        Traffic owners (流量主) only. :meth:`iter_ad_cps_stats` walks through all pages, over any number of days.

        Args:
            begin_date: The first day; there is nothing before 2016.
            end_date: The last day, at most 60 in all; the first one if absent.
            page: From 1.
            page_size: At most 90.
            ad_slot: One slot; all of them if absent.

        Returns:
            A record for each day, and the totals of the range.

        Raises:
            ArgumentError: A day is no date (61500), the range cannot be (61501), or another argument (1701).
            NotAuthorizedError: The account is no traffic owner (2009).
            RateLimitError: Too many calls (45009).

        Source:
            GET /publisher/stat?action=publisher_cps_general - 数据统计 / 广告分析 / 获取公众号返佣商品数据
        """
        window = one_window(GET_AD_CPS_STATS, begin_date, end_date, AD_CPS_DAYS, "iter_ad_cps_stats")
        return await self._read_cps(window, page_size, ad_slot, page)

    async def iter_ad_cps_stats(
        self, begin_date: date, end_date: date | None = None, *, ad_slot: AdSlot | str | None = None
    ) -> AsyncGenerator[AdCPSStat, None]:
        """Iterate over what goods with a commission earned on any number of days (获取公众号返佣商品数据).

        Args:
            begin_date: The first day; there is nothing before 2016.
            end_date: The last day; the first one if absent.
            ad_slot: One slot; all of them if absent.

        Raises:
            ArgumentError: As :meth:`get_ad_cps_stats`.
            NotAuthorizedError: The account is no traffic owner (2009).
            RateLimitError: Too many calls (45009).

        Source:
            GET /publisher/stat?action=publisher_cps_general - 数据统计 / 广告分析 / 获取公众号返佣商品数据
        """
        for window in cut(*check_range(GET_AD_CPS_STATS, begin_date, end_date), AD_CPS_DAYS):
            async for item in walk(GET_AD_CPS_STATS, partial(self._read_cps, window, AD_PAGE, ad_slot)):
                yield item

    async def get_ad_settlement(
        self,
        begin_date: date,
        end_date: date | None = None,
        *,
        page: int = 1,
        page_size: int = AD_PAGE,
        ad_slot: AdSlot | str | None = None,
    ) -> AdReport[AdSettlement, AdSettlementTotals]:
        """Read one page of the settlements of advertisement income (获取公众号结算收入数据及结算主体信息).

        Traffic owners (流量主) only. :meth:`iter_ad_settlements` walks through all pages.

        Args:
            begin_date: The first day; a settlement that overlaps the range is in it.
            end_date: The last day; the first one if absent.
            page: From 1.
            page_size: At most 90.
            ad_slot: One slot; all of them if absent.

        Returns:
            A record for each half of a month, the latest first, and the totals of all time. In the table a row for
            each slot of it, so ``settled_revenue_fen`` repeats.

        Raises:
            ArgumentError: A day is no date (61500), the range cannot be (61501), or another argument (1701).
            NotAuthorizedError: The account is no traffic owner (2009).
            RateLimitError: Too many calls (45009).

        Source:
            GET /publisher/stat?action=publisher_settlement - 数据统计 / 广告分析 / 获取公众号结算收入数据及结算主体信息
        """
        window = check_range(GET_AD_SETTLEMENT, begin_date, end_date)
        return await self._read_settlements(window, page_size, ad_slot, page)

    async def iter_ad_settlements(
        self, begin_date: date, end_date: date | None = None, *, ad_slot: AdSlot | str | None = None
    ) -> AsyncGenerator[AdSettlement, None]:
        """Iterate over the settlements of advertisement income, page by page (获取公众号结算收入数据及结算主体信息).

        Args:
            begin_date: The first day; a settlement that overlaps the range is in it.
            end_date: The last day; the first one if absent.
            ad_slot: One slot; all of them if absent.

        Raises:
            ArgumentError: As :meth:`get_ad_settlement`.
            NotAuthorizedError: The account is no traffic owner (2009).
            RateLimitError: Too many calls (45009).

        Source:
            GET /publisher/stat?action=publisher_settlement - 数据统计 / 广告分析 / 获取公众号结算收入数据及结算主体信息
        """
        window = check_range(GET_AD_SETTLEMENT, begin_date, end_date)
        async for item in walk(GET_AD_SETTLEMENT, partial(self._read_settlements, window, AD_PAGE, ad_slot)):
            yield item

    # ---- what they have in common

    async def _read(
        self, endpoint: Endpoint, record: type[T], span: Span, begin_date: date, end_date: date | None
    ) -> Report[T]:
        """Read a range window by window and join the records."""
        shape = tuple_of(record)
        items: list[T] = []
        delayed: list[date] = []
        extra: JsonObject = {}
        done: list[Window] = []
        for window in windows(endpoint, span, begin_date, end_date, now=self._clock()):
            first, last = window
            try:
                reply = await self._call(endpoint, json={"begin_date": first.isoformat(), "end_date": last.isoformat()})
                items += decode(shape, field_of(reply, "list", endpoint), endpoint=endpoint.name)
                late = decode(bool, reply.get("is_delay"), endpoint=endpoint.name)
            except WxmpError as error:
                if done:
                    error.add_note(_progress(span, done[0][0], done[-1][1], first))
                raise
            if late:
                delayed += (day for day, _ in cut(first, last, 1))
            extra |= {name: value for name, value in without_verdict(reply).items() if name not in ("list", "is_delay")}
            done.append(window)
        return Report(tuple(items), record=record, delayed_days=tuple(delayed), extra=extra)

    async def _read_slots(
        self, window: Window, page_size: int, ad_slot: str | None, page: int
    ) -> AdReport[AdSlotStat, AdSlotTotals]:
        reply = await read_page(
            self._call, GET_AD_SLOT_STATS, "publisher_adpos_general", window, page_size, ad_slot, page
        )
        return ad_report(GET_AD_SLOT_STATS, reply, AdSlotStat, AdSlotTotals)

    async def _read_cps(
        self, window: Window, page_size: int, ad_slot: str | None, page: int
    ) -> AdReport[AdCPSStat, AdCPSTotals]:
        reply = await read_page(self._call, GET_AD_CPS_STATS, "publisher_cps_general", window, page_size, ad_slot, page)
        return ad_report(GET_AD_CPS_STATS, reply, AdCPSStat, AdCPSTotals)

    async def _read_settlements(
        self, window: Window, page_size: int, ad_slot: str | None, page: int
    ) -> AdReport[AdSettlement, AdSettlementTotals]:
        reply = await read_page(self._call, GET_AD_SETTLEMENT, "publisher_settlement", window, page_size, ad_slot, page)
        return ad_report(GET_AD_SETTLEMENT, plain_settlement(reply), AdSettlement, AdSettlementTotals)


def _progress(span: Span, begin: date, end: date, failed: date) -> str:
    """Say what was read before a window failed."""
    what = "the days" if span.period == "day" else f"the {span.period}s beginning"
    return (
        f"{what} {begin} to {end} were read before this; repeating the call is safe, and so is asking from {failed} on"
    )
