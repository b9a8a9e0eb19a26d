"""Publishing (发布能力): drafts become articles with a permanent address."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, wire
from wxmp.api._answers import without_verdict
from wxmp.api._checks import check_digits, check_number, check_page, check_text
from wxmp.api._pages import walk_offsets
from wxmp.api.articles import NewsContent
from wxmp.errors import NotFoundError, api_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

__all__ = [
    "Publication",
    "PublicationDetail",
    "PublicationLink",
    "PublicationPage",
    "PublishAPI",
    "PublishJob",
    "PublishReceipt",
    "PublishStatus",
]

#: Most entries on one page of :meth:`PublishAPI.list`.
PAGE: Final = 20

UNKNOWN_MEDIA: Final = 40007
#: "grant_type refused" everywhere else; here the answer to a ``publish_id`` that is none.
UNKNOWN_JOB: Final = 40002
ARGUMENT_REFUSED: Final = 40097
UNKNOWN_ARTICLE: Final = 53600

# What a second submit does while the first one runs is not documented.
SUBMIT: Final = Endpoint("POST", "/cgi-bin/freepublish/submit", repeatable=False)
GET_STATUS: Final = Endpoint(
    "POST", "/cgi-bin/freepublish/get", repeatable=True, accepted_codes=frozenset({UNKNOWN_JOB})
)
DELETE: Final = Endpoint("POST", "/cgi-bin/freepublish/delete", repeatable=True)
GET_ARTICLE: Final = Endpoint("POST", "/cgi-bin/freepublish/getarticle", repeatable=True)
LIST: Final = Endpoint("POST", "/cgi-bin/freepublish/batchget", repeatable=True)


class PublishStatus(IntEnum):
    """Where a publication stands (发布状态)."""

    DONE = 0
    #: Not decided yet.
    RUNNING = 1
    #: Articles in ``fail_idx`` are not the account's own work (原创失败).
    ORIGINALITY_FAILED = 2
    FAILED = 3
    #: Articles in ``fail_idx`` were refused by the platform's review (平台审核不通过).
    REJECTED = 4
    #: It was done, and the account has deleted all articles since.
    DELETED = 5
    #: It was done, and the platform has banned all articles since.
    BANNED = 6


@attrs.frozen
class PublishReceipt:
    """The platform has accepted a draft. How it ended comes later as the event ``PUBLISHJOBFINISH``."""

    #: Names the job in that event and for :meth:`PublishAPI.get_status`.
    publish_id: str
    #: Names the message for ``client.comment``; not in every answer.
    msg_data_id: int | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PublicationLink:
    """One article of a publication (发布的文章)."""

    #: Its place, from 1.
    idx: int
    #: Its permanent address.
    article_url: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PublicationDetail:
    """The articles of a publication (发布的文章列表)."""

    count: int = 0
    items: tuple[PublicationLink, ...] = attrs.field(default=(), metadata=wire("item"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PublishJob:
    """Where a publication stands (发布状态)."""

    publish_status: PublishStatus | int
    publish_id: str = ""
    #: The publication's id, once it is done.
    article_id: str = ""
    #: The addresses, once it is done.
    article_detail: PublicationDetail | None = None
    #: The places of the articles that were refused, from 1; with the statuses 2 and 4.
    fail_idx: tuple[int, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @property
    def ok(self) -> bool:
        """Whether it is published, and still there."""
        return self.publish_status == PublishStatus.DONE

    @property
    def article_urls(self) -> tuple[str, ...]:
        """The permanent addresses, in the order of the articles; empty if it is not published."""
        return () if self.article_detail is None else tuple([link.article_url for link in self.article_detail.items])


@attrs.frozen
class Publication:
    """A publication of the list (已发布的消息)."""

    article_id: str
    #: Its articles.
    content: NewsContent
    #: When it was changed last.
    update_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PublicationPage:
    """One page of publications (已发布消息列表)."""

    #: All publications there are, on all pages.
    total: int = attrs.field(metadata=wire("total_count"))
    #: Entries on this page.
    count: int = attrs.field(default=0, metadata=wire("item_count"))
    publications: tuple[Publication, ...] = attrs.field(default=(), metadata=wire("item"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PublishAPI:
    """Publishing (发布能力): drafts become articles with a permanent address.

    Followers are not told of a publication, and it is not on the account's page: that is what a mass send does. For
    service accounts, and subscription accounts that are verified; others get a NotAuthorizedError (48001).
    """

    _call: Caller

    async def submit(self, media_id: str) -> PublishReceipt:
        """Publish a draft (发布草稿).

        The answer only says that the job has begun. It ends with the event ``PUBLISHJOBFINISH``
        (:class:`~wxmp.webhook.events.PublishJobFinishEvent`), and the draft is gone from the box when it went well.

        The call is not repeated when its outcome is unknown. Wait for the event, or look whether the draft is still
        there. 100 calls a day.

        Args:
            media_id: The draft.

        Returns:
            The number of the job, and the number of the message for comments.

        Raises:
            NotFoundError: No such draft (40007).
            NotAuthorizedError: The account may not publish (48001), or the draft has to be looked at in the console:
                it failed a check (53503), or must be published (53504) or saved (53505) there.

        Source:
            POST /cgi-bin/freepublish/submit - 发布能力 / 发布草稿
        """
        known = check_text(SUBMIT, "media_id", media_id, errcode=UNKNOWN_MEDIA)
        reply = await self._call(SUBMIT, json={"media_id": known})
        return decode(PublishReceipt, without_verdict(reply), endpoint=SUBMIT.name)

    async def get_status(self, publish_id: str | int) -> PublishJob:
        """Ask where a publication stands (发布状态查询).

        100 calls a day: the event ``PUBLISHJOBFINISH`` says the same and costs nothing.

        Args:
            publish_id: From :meth:`submit`, or from the event.

        Returns:
            Where it stands. A publication that failed is an answer, not an error: look at ``publish_status`` and
            ``fail_idx``.

        Raises:
            NotFoundError: No such job; the code is 40002, which means something else on other endpoints.
            NotAuthorizedError: The account may not publish (48001).

        Source:
            POST /cgi-bin/freepublish/get - 发布能力 / 发布状态查询
        """
        problem = "must be the publish_id that submit gave"
        known = check_digits(GET_STATUS, "publish_id", publish_id, errcode=UNKNOWN_JOB, problem=problem)
        reply = await self._call(GET_STATUS, json={"publish_id": known})
        if reply.get("errcode") == UNKNOWN_JOB:
            raise _unknown_job(reply)
        return decode(PublishJob, without_verdict(reply), endpoint=GET_STATUS.name)

    async def delete(self, article_id: str, *, index: int) -> None:
        """Delete one article of a publication, or the whole publication (删除发布文章).

        It cannot be undone, and readers find nothing at the address any more. 10 calls a day.

        Args:
            article_id: The publication, from :meth:`get_status`, the event, or :meth:`list`.
            index: Which article, **from 1**. Zero deletes all of them: it is not the first article, as it is for
                ``client.draft.update`` and for ``client.comment``. The other articles keep their places.

        Raises:
            NotFoundError: No such publication, or no such article in it (53600).
            NotAuthorizedError: The account may not publish (48001).

        Source:
            POST /cgi-bin/freepublish/delete - 发布能力 / 删除发布文章
        """
        known = check_text(DELETE, "article_id", article_id, errcode=UNKNOWN_ARTICLE)
        await self._call(DELETE, json={"article_id": known, "index": _place(index)})

    async def get_article(self, article_id: str) -> NewsContent:
        """Read the articles of a publication (获取已发布图文信息). 100 calls a day.

        Args:
            article_id: The publication, from :meth:`get_status`, the event, or :meth:`list`.

        Returns:
            Its articles, deleted ones included (``is_deleted``).

        Raises:
            NotFoundError: No such publication (53600).
            NotAuthorizedError: The account may not publish (48001).

        Source:
            POST /cgi-bin/freepublish/getarticle - 发布能力 / 获取已发布图文信息
        """
        known = check_text(GET_ARTICLE, "article_id", article_id, errcode=UNKNOWN_ARTICLE)
        reply = await self._call(GET_ARTICLE, json={"article_id": known})
        return decode(NewsContent, without_verdict(reply), endpoint=GET_ARTICLE.name)

    async def list(self, *, offset: int = 0, count: int = PAGE, no_content: bool = False) -> PublicationPage:
        """List one page of publications (获取已发布的消息列表). 100 calls a day.

        :meth:`iter_publications` walks through all pages.

        Args:
            offset: Entries to leave out, from 0.
            count: Entries on the page, 1 to 20.
            no_content: Leave out the contents of the articles, which are most of the answer.

        Raises:
            ArgumentError: ``offset`` or ``count`` is out of its range (40097).
            NotAuthorizedError: The account may not publish (48001).

        Source:
            POST /cgi-bin/freepublish/batchget - 发布能力 / 获取已发布的消息列表
        """
        check_page(LIST, offset, count, most=PAGE, errcode=ARGUMENT_REFUSED)
        payload = {"offset": offset, "count": count, "no_content": 1 if no_content else 0}
        reply = await self._call(LIST, json=payload)
        return decode(PublicationPage, without_verdict(reply), endpoint=LIST.name)

    def iter_publications(self, *, offset: int = 0, no_content: bool = False) -> AsyncGenerator[Publication, None]:
        """Iterate over all publications, page by page (获取已发布的消息列表).

        A page has 20 of them and is one of the 100 calls a day.

        Args:
            offset: Entries to leave out, from 0.
            no_content: Leave out the contents of the articles, which are most of the answer.

        Raises:
            ArgumentError: ``offset`` is below 0 (40097).
            NotAuthorizedError: The account may not publish (48001).

        Source:
            POST /cgi-bin/freepublish/batchget - 发布能力 / 获取已发布的消息列表
        """

        async def fetch(start: int) -> tuple[Sequence[Publication], int]:
            page = await self.list(offset=start, no_content=no_content)
            return page.publications, page.total

        return walk_offsets(fetch, LIST, offset=offset)


def _place(index: object) -> int:
    # True would be the first article, and False all of them.
    problem = "must be the place of an article, from 1, or 0 for all of them"
    return check_number(DELETE, "index", index, errcode=UNKNOWN_ARTICLE, problem=problem)


def _unknown_job(reply: JsonObject) -> NotFoundError:
    """Make the error for a job that does not exist: the code means something else on all other endpoints."""
    told = api_error(UNKNOWN_JOB, str(reply.get("errmsg", "")), endpoint=GET_STATUS.name)
    advice = "Take the publish_id that publish.submit gave, as this account."
    return NotFoundError(errcode=UNKNOWN_JOB, errmsg=told.errmsg, endpoint=GET_STATUS.name, rid=told.rid, advice=advice)
