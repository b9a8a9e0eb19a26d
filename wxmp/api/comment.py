"""Comments below articles (图文消息留言管理): open, list, feature, answer and delete them."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, JsonValue, decode, wire
from wxmp.api._answers import without_verdict
from wxmp.api._checks import check_number, check_page, check_text, refusal
from wxmp.api._pages import walk_offsets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

__all__ = ["Comment", "CommentAPI", "CommentFilter", "CommentPage", "CommentReply", "CommentType"]

#: Entries on one page of :meth:`CommentAPI.list` that all of the documentation allows: "50 and more are refused".
PAGE: Final = 49
#: The text of the error says "more than 50".
LARGEST_PAGE: Final = 50

ARGUMENT_REFUSED: Final = 40097
UNKNOWN_ARTICLE: Final = 88001
REPLIED_ALREADY: Final = 88005
REPLY_REFUSED: Final = 88007
UNKNOWN_COMMENT: Final = 88008
UNKNOWN_REPLY: Final = 88009
#: "Signature invalid" everywhere else; another answer to the deletion of a reply that is not there.
UNKNOWN_REPLY_TOO: Final = 87009
COUNT_REFUSED: Final = 88010

OPEN: Final = Endpoint("POST", "/cgi-bin/comment/open", repeatable=True)
CLOSE: Final = Endpoint("POST", "/cgi-bin/comment/close", repeatable=True)
LIST: Final = Endpoint("POST", "/cgi-bin/comment/list", repeatable=True)
FEATURE: Final = Endpoint("POST", "/cgi-bin/comment/markelect", repeatable=True)
UNFEATURE: Final = Endpoint("POST", "/cgi-bin/comment/unmarkelect", repeatable=True)
DELETE: Final = Endpoint("POST", "/cgi-bin/comment/delete", repeatable=True, done_codes=frozenset({UNKNOWN_COMMENT}))
# A comment has one reply at most, so a repeat cannot make a second one.
REPLY: Final = Endpoint("POST", "/cgi-bin/comment/reply/add", repeatable=True, done_codes=frozenset({REPLIED_ALREADY}))
DELETE_REPLY: Final = Endpoint(
    "POST", "/cgi-bin/comment/reply/delete", repeatable=True, done_codes=frozenset({UNKNOWN_REPLY, UNKNOWN_REPLY_TOO})
)


class CommentFilter(IntEnum):
    """Which comments to list (评论的筛选)."""

    ALL = 0
    NORMAL = 1
    FEATURED = 2


class CommentType(IntEnum):
    """Whether a comment is featured (是否精选评论)."""

    NORMAL = 0
    FEATURED = 1


@attrs.frozen
class CommentReply:
    """The account's answer to a comment (作者回复)."""

    content: str = ""
    create_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Comment:
    """A comment (留言)."""

    #: Its number below its article.
    user_comment_id: int
    content: str = ""
    create_time: datetime | None = None
    comment_type: CommentType | int = CommentType.NORMAL
    #: Who wrote it; empty for people who did not comment as WeChat users.
    openid: str = ""
    #: The account's answer, if there is one.
    reply: CommentReply | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CommentPage:
    """One page of comments (留言列表)."""

    #: All comments that fit the filter, on all pages.
    total: int
    comments: tuple[Comment, ...] = attrs.field(default=(), metadata=wire("comment"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CommentAPI:
    """Comments below articles (图文消息留言管理): open, list, feature, answer and delete them.

    An article is named by the ``msg_data_id`` of its publication or mass send (``client.publish.submit``,
    ``client.mass``) and its ``index`` there, from 0. For verified accounts that have the comment feature (留言功能);
    others get a NotAuthorizedError (88000).
    """

    _call: Caller

    async def open(self, msg_data_id: int, *, index: int = 0) -> None:
        """Open the comments of an article that is out (打开已群发文章评论).

        Args:
            msg_data_id: The message.
            index: Which article of it, from 0.

        Raises:
            NotFoundError: No such article (88001).
            NotAuthorizedError: The account has no comments (88000), or the article is restricted (88002).

        Source:
            POST /cgi-bin/comment/open - 图文消息留言管理 / 打开已群发文章评论
        """
        await self._call(OPEN, json=_article(OPEN, msg_data_id, index))

    async def close(self, msg_data_id: int, *, index: int = 0) -> None:
        """Close the comments of an article; those that are there stay (关闭已群发文章评论).

        Args:
            msg_data_id: The message.
            index: Which article of it, from 0.

        Raises:
            NotFoundError: No such article (88001).
            NotAuthorizedError: The account has no comments (88000).

        Source:
            POST /cgi-bin/comment/close - 图文消息留言管理 / 关闭已群发文章评论
        """
        await self._call(CLOSE, json=_article(CLOSE, msg_data_id, index))

    async def list(
        self,
        msg_data_id: int,
        *,
        index: int = 0,
        offset: int = 0,
        count: int = PAGE,
        type: CommentFilter | int = CommentFilter.ALL,
    ) -> CommentPage:
        """List one page of the comments of an article (查看指定文章的评论数据).

        :meth:`iter_comments` walks through all pages.

        Args:
            msg_data_id: The message.
            index: Which article of it, from 0.
            offset: Entries to leave out, from 0.
            count: Entries on the page, 1 to 49. The documentation says both that 50 is refused and that it is not.
            type: Which comments: all, the normal ones, or the featured ones.

        Raises:
            ArgumentError: ``count`` is not 1 to 50 or ``offset`` below 0 (88010), or no such filter (40097).
            NotFoundError: No such article (88001).
            NotAuthorizedError: The account has no comments (88000).

        Source:
            POST /cgi-bin/comment/list - 图文消息留言管理 / 查看指定文章的评论数据
        """
        payload = _article(LIST, msg_data_id, index)
        check_page(LIST, offset, count, most=LARGEST_PAGE, errcode=COUNT_REFUSED)
        if type not in tuple(CommentFilter):
            raise refusal(LIST, "type", ARGUMENT_REFUSED, "must be 0 (all), 1 (normal) or 2 (featured)")
        payload |= {"begin": offset, "count": count, "type": int(type)}
        reply = await self._call(LIST, json=payload)
        return decode(CommentPage, _plain(without_verdict(reply)), endpoint=LIST.name)

    def iter_comments(
        self,
        msg_data_id: int,
        *,
        index: int = 0,
        offset: int = 0,
        type: CommentFilter | int = CommentFilter.ALL,
    ) -> AsyncGenerator[Comment, None]:
        """Iterate over the comments of an article, page by page (查看指定文章的评论数据).

        Collect what you want to delete or feature first: a comment that leaves the list moves the others, and one is
        left out for it.

        Args:
            msg_data_id: The message.
            index: Which article of it, from 0.
            offset: Entries to leave out, from 0.
            type: Which comments: all, the normal ones, or the featured ones.

        Raises:
            ArgumentError: ``offset`` is below 0 (88010), or no such filter (40097).
            NotFoundError: No such article (88001).
            NotAuthorizedError: The account has no comments (88000).

        Source:
            POST /cgi-bin/comment/list - 图文消息留言管理 / 查看指定文章的评论数据
        """

        async def fetch(start: int) -> tuple[Sequence[Comment], int]:
            page = await self.list(msg_data_id, index=index, offset=start, type=type)
            return page.comments, page.total

        return walk_offsets(fetch, LIST, offset=offset)

    async def feature(self, msg_data_id: int, *, user_comment_id: int, index: int = 0) -> None:
        """Feature a comment: all readers see it (将评论标记精选).

        Args:
            msg_data_id: The message.
            user_comment_id: Which comment.
            index: Below which article of the message, from 0.

        Raises:
            NotFoundError: No such article (88001) or comment (88008).
            ArgumentError: As many comments as there may be are featured (88003).
            APIError: Its author has deleted the comment (88004).
            NotAuthorizedError: The account has no comments (88000).

        Source:
            POST /cgi-bin/comment/markelect - 图文消息留言管理 / 将评论标记精选
        """
        await self._call(FEATURE, json=_comment(FEATURE, msg_data_id, index, user_comment_id))

    async def unfeature(self, msg_data_id: int, *, user_comment_id: int, index: int = 0) -> None:
        """Stop featuring a comment (将评论取消精选).

        Args:
            msg_data_id: The message.
            user_comment_id: Which comment.
            index: Below which article of the message, from 0.

        Raises:
            NotFoundError: No such article (88001) or comment (88008).
            NotAuthorizedError: The account has no comments (88000).

        Source:
            POST /cgi-bin/comment/unmarkelect - 图文消息留言管理 / 将评论取消精选
        """
        await self._call(UNFEATURE, json=_comment(UNFEATURE, msg_data_id, index, user_comment_id))

    async def delete(self, msg_data_id: int, *, user_comment_id: int, index: int = 0) -> None:
        """Delete a comment; it cannot be brought back (删除评论).

        Args:
            msg_data_id: The message.
            user_comment_id: Which comment.
            index: Below which article of the message, from 0.

        Raises:
            NotFoundError: No such article (88001) or comment (88008). The latter is not raised when an attempt before
                it may have deleted the comment.
            NotAuthorizedError: The account has no comments (88000).

        Source:
            POST /cgi-bin/comment/delete - 图文消息留言管理 / 删除评论
        """
        await self._call(DELETE, json=_comment(DELETE, msg_data_id, index, user_comment_id))

    async def reply(self, msg_data_id: int, *, user_comment_id: int, content: str, index: int = 0) -> None:
        """Answer a comment (回复评论).

        A comment has one answer: delete the old one with :meth:`delete_reply` to give another.

        Args:
            msg_data_id: The message.
            user_comment_id: Which comment.
            content: The answer.
            index: Below which article of the message, from 0.

        Raises:
            APIError: The comment has an answer already (88005). Not raised when an attempt before it may have given
                the answer.
            ArgumentError: The answer is empty or too long (88007).
            NotFoundError: No such article (88001) or comment (88008).
            NotAuthorizedError: The account has no comments (88000).

        Source:
            POST /cgi-bin/comment/reply/add - 图文消息留言管理 / 回复评论
        """
        payload = _comment(REPLY, msg_data_id, index, user_comment_id)
        payload["content"] = check_text(REPLY, "content", content, errcode=REPLY_REFUSED)
        await self._call(REPLY, json=payload)

    async def delete_reply(self, msg_data_id: int, *, user_comment_id: int, index: int = 0) -> None:
        """Delete the account's answer to a comment (删除回复).

        Args:
            msg_data_id: The message.
            user_comment_id: Which comment.
            index: Below which article of the message, from 0.

        Raises:
            NotFoundError: No such article (88001) or comment (88008), or the comment has no answer (88009). The latter
                is not raised when an attempt before it may have deleted the answer.
            ArgumentError: The comment has no answer, in another of the platform's words (87009).
            NotAuthorizedError: The account has no comments (88000).

        Source:
            POST /cgi-bin/comment/reply/delete - 图文消息留言管理 / 删除回复
        """
        await self._call(DELETE_REPLY, json=_comment(DELETE_REPLY, msg_data_id, index, user_comment_id))


def _article(endpoint: Endpoint, msg_data_id: object, index: object) -> JsonObject:
    """Check what names an article and return it in wire form."""
    problem = "must be the number that the publication or mass send gave as msg_data_id"
    number = check_number(endpoint, "msg_data_id", msg_data_id, errcode=UNKNOWN_ARTICLE, problem=problem, least=1)
    place = check_number(
        endpoint, "index", index, errcode=UNKNOWN_ARTICLE, problem="must be the place of an article, from 0"
    )
    return {"msg_data_id": number, "index": place}


def _comment(endpoint: Endpoint, msg_data_id: object, index: object, user_comment_id: object) -> JsonObject:
    """Check what names a comment and return it in wire form."""
    payload = _article(endpoint, msg_data_id, index)
    problem = "must be the number that the list gave"
    payload["user_comment_id"] = check_number(
        endpoint, "user_comment_id", user_comment_id, errcode=UNKNOWN_COMMENT, problem=problem
    )
    return payload


def _plain(page: JsonObject) -> JsonObject:
    """Give each comment its answer as one object, whatever it stands in."""
    comments = page.get("comment")
    return {**page, "comment": [*map(_plain_comment, comments)]} if isinstance(comments, list) else page


def _plain_comment(comment: JsonValue) -> JsonValue:
    if not isinstance(comment, dict) or "reply" not in comment:
        return comment
    reply, *others = comment["reply"] if isinstance(comment["reply"], list) and comment["reply"] else [comment["reply"]]
    # Documented is one object; others have seen it in a list. Empty, it is none.
    plain: JsonObject = {**comment, "reply": reply or None}
    if others:
        plain["reply[1:]"] = others
    return plain
