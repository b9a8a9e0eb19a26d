"""Comments below articles: who is named how, pages, and answers of which there is one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import comment as module
from wxmp.api.comment import Comment, CommentAPI, CommentFilter, CommentPage, CommentReply, CommentType
from wxmp.errors import (
    APIError,
    ArgumentError,
    NotAuthorizedError,
    NotFoundError,
    RateLimitError,
    ReplyError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import Platform
    from wxmp._caller import Caller

OPEN = "/cgi-bin/comment/open"
CLOSE = "/cgi-bin/comment/close"
LIST = "/cgi-bin/comment/list"
FEATURE = "/cgi-bin/comment/markelect"
UNFEATURE = "/cgi-bin/comment/unmarkelect"
DELETE = "/cgi-bin/comment/delete"
REPLY = "/cgi-bin/comment/reply/add"
DELETE_REPLY = "/cgi-bin/comment/reply/delete"
OK = {"errcode": 0, "errmsg": "ok"}
#: Above what fits a signed number of 32 bits.
DATA_ID = 2247483650

ON_ARTICLES = {"open": OPEN, "close": CLOSE, "list": LIST}
ON_COMMENTS = {
    "feature": FEATURE,
    "unfeature": UNFEATURE,
    "delete": DELETE,
    "reply": REPLY,
    "delete_reply": DELETE_REPLY,
}


@pytest.fixture
def comment(caller: Caller) -> CommentAPI:
    """The family under test."""
    return CommentAPI(caller)


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


def act(comment: CommentAPI, call: str, **change: Any) -> Awaitable[object]:
    """Make a call with all it needs."""
    arguments: dict[str, Any] = {"msg_data_id": DATA_ID}
    if call in ON_COMMENTS:
        arguments["user_comment_id"] = 7
    if call == "reply":
        arguments["content"] = "谢谢"
    method: Callable[..., Awaitable[object]] = getattr(comment, call)
    arguments |= change
    return method(arguments.pop("msg_data_id"), **arguments)


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {("POST", path, True) for path in (ON_ARTICLES | ON_COMMENTS).values()}


@pytest.mark.parametrize(("arguments", "index"), [({}, 0), ({"index": 3}, 3)])
@pytest.mark.parametrize(("call", "path"), [("open", OPEN), ("close", CLOSE)])
async def test_open_and_close_name_the_article(
    platform: Platform, comment: CommentAPI, call: str, path: str, arguments: dict[str, int], index: int
) -> None:
    """The message and the place in it go out, the first place unless told otherwise; a broken attempt is repeated."""
    route = platform.answer("POST", path, broken(), OK)
    method: Callable[..., Awaitable[object]] = getattr(comment, call)
    await method(DATA_ID, **arguments)
    assert route.call_count == 2
    assert platform.body(route) == {"msg_data_id": DATA_ID, "index": index}
    assert platform.params(route) == {}


@pytest.mark.parametrize(("call", "path"), ON_COMMENTS.items())
async def test_acts_name_the_comment(platform: Platform, comment: CommentAPI, call: str, path: str) -> None:
    """Message, place and comment go out; an answer takes its text along."""
    route = platform.answer("POST", path, OK)
    await act(comment, call, index=2)
    content = {"content": "谢谢"} if call == "reply" else {}
    assert platform.body(route) == {"msg_data_id": DATA_ID, "index": 2, "user_comment_id": 7, **content}
    assert platform.params(route) == {}


@pytest.mark.parametrize("call", ON_COMMENTS)
async def test_acts_are_on_the_first_article(platform: Platform, comment: CommentAPI, call: str) -> None:
    """Without a place the first article is meant."""
    route = platform.answer("POST", ON_COMMENTS[call], OK)
    await act(comment, call)
    assert platform.body(route)["index"] == 0


BAD_ARTICLES: list[tuple[dict[str, Any], str]] = [
    ({"msg_data_id": 0}, "msg_data_id"),
    ({"msg_data_id": 2**63}, "msg_data_id"),
    ({"msg_data_id": "2247483650"}, "msg_data_id"),
    ({"msg_data_id": None}, "msg_data_id"),
    ({"msg_data_id": True}, "msg_data_id"),
    ({"index": -1}, "index"),
    ({"index": None}, "index"),
]


@pytest.mark.parametrize(("change", "field"), BAD_ARTICLES)
@pytest.mark.parametrize(("call", "path"), (ON_ARTICLES | ON_COMMENTS).items())
async def test_articles_are_checked(
    comment: CommentAPI, call: str, path: str, change: dict[str, Any], field: str
) -> None:
    """What names no article is refused before sending, by every call (88001)."""
    with pytest.raises(ArgumentError) as caught:
        await act(comment, call, **change)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (88001, field, f"POST {path}")


@pytest.mark.parametrize("user_comment_id", [-1, "7", None, True])
@pytest.mark.parametrize(("call", "path"), ON_COMMENTS.items())
async def test_comments_are_checked(comment: CommentAPI, call: str, path: str, user_comment_id: Any) -> None:
    """What names no comment is refused before sending, by every call that takes one (88008)."""
    with pytest.raises(ArgumentError) as caught:
        await act(comment, call, user_comment_id=user_comment_id)
    error = caught.value
    assert (error.errcode, error.field, error.endpoint) == (88008, "user_comment_id", f"POST {path}")


@pytest.mark.parametrize("content", ["", " ", None])
async def test_reply_needs_a_text(comment: CommentAPI, content: Any) -> None:
    """An empty answer is refused before sending (88007)."""
    with pytest.raises(ArgumentError) as caught:
        await comment.reply(DATA_ID, user_comment_id=7, content=content)
    assert (caught.value.errcode, caught.value.field) == (88007, "content")


@pytest.mark.parametrize(
    ("call", "errcode"), [("delete", 88008), ("reply", 88005), ("delete_reply", 88009), ("delete_reply", 87009)]
)
async def test_done_by_a_broken_attempt(platform: Platform, comment: CommentAPI, call: str, errcode: int) -> None:
    """A repeat that finds the work done was preceded by an attempt that did it."""
    route = platform.answer("POST", ON_COMMENTS[call], broken(), {"errcode": errcode, "errmsg": "done"})
    await act(comment, call)
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("call", "errcode", "error"),
    [
        ("feature", 88003, ArgumentError),
        ("feature", 88004, APIError),
        ("feature", 88008, NotFoundError),
        ("unfeature", 88008, NotFoundError),
        ("delete", 88008, NotFoundError),
        ("delete", 88001, NotFoundError),
        ("reply", 88005, APIError),
        ("reply", 88007, ArgumentError),
        ("delete_reply", 88009, NotFoundError),
        ("delete_reply", 87009, ArgumentError),
        ("reply", 88000, NotAuthorizedError),
        ("feature", 45009, RateLimitError),
    ],
)
async def test_acts_refused(
    platform: Platform, comment: CommentAPI, call: str, errcode: int, error: type[APIError]
) -> None:
    """A first attempt that is refused is an error of its own class, and is not repeated."""
    route = platform.answer("POST", ON_COMMENTS[call], {"errcode": errcode, "errmsg": "refused"})
    with pytest.raises(error) as caught:
        await act(comment, call)
    assert caught.value.errcode == errcode
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("errcode", "error"),
    [(88000, NotAuthorizedError), (88001, NotFoundError), (88002, NotAuthorizedError), (45009, RateLimitError)],
)
async def test_open_refused(platform: Platform, comment: CommentAPI, errcode: int, error: type[APIError]) -> None:
    """An account without comments, an unknown article and a restricted one are told apart."""
    platform.answer("POST", OPEN, {"errcode": errcode, "errmsg": "refused"})
    with pytest.raises(error):
        await comment.open(DATA_ID)


async def test_list_reads_a_page(platform: Platform, comment: CommentAPI) -> None:
    """Every documented field has an attribute; who wrote it and the answer can be missing."""
    full = {
        "user_comment_id": "7",
        "create_time": 1620000000,
        "content": "写得好",
        "comment_type": 1,
        "openid": "oA",
        "reply": {"content": "谢谢", "create_time": "1620000060", "new": 3},
        "new": 2,
    }
    bare = {"user_comment_id": 8, "create_time": 0, "content": "", "comment_type": 5, "reply": None}
    route = platform.answer("POST", LIST, {**OK, "total": "2", "comment": [full, bare], "new": 1})
    written, answered = datetime(2021, 5, 3, 0, 0, tzinfo=UTC), datetime(2021, 5, 3, 0, 1, tzinfo=UTC)
    reply = CommentReply("谢谢", answered, extra={"new": 3})
    first = Comment(7, "写得好", written, CommentType.FEATURED, "oA", reply, extra={"new": 2})
    assert await comment.list(DATA_ID) == CommentPage(2, (first, Comment(8, "", None, 5)), extra={"new": 1})
    assert platform.body(route) == {"msg_data_id": DATA_ID, "index": 0, "begin": 0, "count": 49, "type": 0}


@pytest.mark.parametrize(("kind", "number"), [(CommentFilter.FEATURED, 2), (1, 1)])
async def test_list_sends_what_was_asked_for(
    platform: Platform, comment: CommentAPI, kind: CommentFilter | int, number: int
) -> None:
    """Place, start, size and filter are the caller's."""
    route = platform.answer("POST", LIST, {**OK, "total": 0, "comment": []})
    assert (await comment.list(DATA_ID, index=1, offset=49, count=10, type=kind)).comments == ()
    assert platform.body(route) == {"msg_data_id": DATA_ID, "index": 1, "begin": 49, "count": 10, "type": number}


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        ({"count": 0}, 88010, "count"),
        ({"count": 51}, 88010, "count"),
        ({"offset": -1}, 88010, "offset"),
        ({"type": 3}, 40097, "type"),
    ],
)
async def test_list_checks(comment: CommentAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """Pages of 1 to 50, from 0, and three filters."""
    with pytest.raises(ArgumentError) as caught:
        await comment.list(DATA_ID, **change)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_list_leaves_the_fiftieth_to_the_platform(platform: Platform, comment: CommentAPI) -> None:
    """The documentation contradicts itself about a page of 50, so it is sent."""
    route = platform.answer("POST", LIST, {**OK, "total": 0, "comment": []})
    await comment.list(DATA_ID, count=50)
    assert platform.body(route)["count"] == 50


@pytest.mark.parametrize("nothing", [None, "", {}, []])
async def test_list_without_an_answer(platform: Platform, comment: CommentAPI, nothing: object) -> None:
    """An answer that is empty in any form is none."""
    platform.answer("POST", LIST, {**OK, "total": 1, "comment": [{"user_comment_id": 7, "reply": nothing}]})
    assert await comment.list(DATA_ID) == CommentPage(1, (Comment(7),))


async def test_list_with_answers_in_lists(platform: Platform, comment: CommentAPI) -> None:
    """The answer may stand in a list; should there be several, the others are kept."""
    one, other = {"content": "谢谢", "create_time": 1620000060}, {"content": "again", "create_time": 1620000061}
    comments = [{"user_comment_id": 7, "reply": [one]}, {"user_comment_id": 8, "reply": [one, other]}]
    platform.answer("POST", LIST, {**OK, "total": 2, "comment": comments})
    reply = CommentReply("谢谢", datetime(2021, 5, 3, 0, 1, tzinfo=UTC))
    expected = Comment(7, reply=reply), Comment(8, reply=reply, extra={"reply[1:]": [other]})
    assert (await comment.list(DATA_ID)).comments == expected


async def test_ids_of_more_than_32_bits(platform: Platform, comment: CommentAPI) -> None:
    """What a mass send gives as ``msg_data_id`` is taken, however large it grows."""
    route = platform.answer("POST", OPEN, OK)
    await comment.open(2**32)
    assert platform.body(route)["msg_data_id"] == 2**32


async def test_list_without_a_total(platform: Platform, comment: CommentAPI) -> None:
    """A missing number is not "no comments"."""
    platform.answer("POST", LIST, OK)
    with pytest.raises(ReplyError, match="total"):
        await comment.list(DATA_ID)


async def test_iter_comments_walks_all_pages(platform: Platform, comment: CommentAPI) -> None:
    """Each page begins behind the one before, until all have come."""
    pages = [range(1, 50), range(50, 99), range(99, 101)]
    route = platform.answer(
        "POST", LIST, *[{**OK, "total": 100, "comment": [{"user_comment_id": n} for n in page]} for page in pages]
    )
    found = [each.user_comment_id async for each in comment.iter_comments(DATA_ID, index=1, type=CommentFilter.NORMAL)]
    assert found == list(range(1, 101))
    same = {"msg_data_id": DATA_ID, "index": 1, "count": 49, "type": 1}
    assert platform.bodies(route) == [{**same, "begin": begin} for begin in (0, 49, 98)]


async def test_iter_comments_from_the_middle(platform: Platform, comment: CommentAPI) -> None:
    """The walk begins where the caller says."""
    route = platform.answer("POST", LIST, {**OK, "total": 4, "comment": [{"user_comment_id": 4}]})
    assert [each.user_comment_id async for each in comment.iter_comments(DATA_ID, offset=3)] == [4]
    assert platform.body(route)["begin"] == 3


async def test_iter_comments_of_nothing(platform: Platform, comment: CommentAPI) -> None:
    """No comments: one request, nothing yielded."""
    route = platform.answer("POST", LIST, {**OK, "total": 0, "comment": []})
    assert [each async for each in comment.iter_comments(DATA_ID)] == []
    assert route.call_count == 1
