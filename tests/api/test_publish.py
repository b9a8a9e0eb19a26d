"""Publishing: jobs and their ends, what is published, and taking it away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import publish as module
from wxmp.api.articles import NewsContent, NewsItem
from wxmp.api.publish import (
    Publication,
    PublicationDetail,
    PublicationLink,
    PublicationPage,
    PublishAPI,
    PublishJob,
    PublishReceipt,
    PublishStatus,
)
from wxmp.errors import (
    APIError,
    ArgumentError,
    BadStatusError,
    NotAuthorizedError,
    NotFoundError,
    RateLimitError,
    ReplyError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.api.conftest import Platform
    from wxmp._caller import Caller

SUBMIT = "/cgi-bin/freepublish/submit"
STATUS = "/cgi-bin/freepublish/get"
DELETE = "/cgi-bin/freepublish/delete"
ARTICLE = "/cgi-bin/freepublish/getarticle"
LIST = "/cgi-bin/freepublish/batchget"
OK = {"errcode": 0, "errmsg": "ok"}


@pytest.fixture
def publish(caller: Caller) -> PublishAPI:
    """The family under test."""
    return PublishAPI(caller)


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


def entry(article_id: str) -> dict[str, Any]:
    """One publication of a list, as the platform sends it."""
    return {"article_id": article_id, "content": {"news_item": [{"title": article_id}]}, "update_time": 1620000000}


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {
        ("POST", SUBMIT, False),
        ("POST", STATUS, True),
        ("POST", DELETE, True),
        ("POST", ARTICLE, True),
        ("POST", LIST, True),
    }


async def test_submit_gives_a_receipt(platform: Platform, publish: PublishAPI) -> None:
    """The number of the job stays a text; the number of the message is one that comments take."""
    answer = {**OK, "publish_id": "100000001", "msg_data_id": "2247483650", "new": 1}
    route = platform.answer("POST", SUBMIT, answer)
    assert await publish.submit("DRAFT") == PublishReceipt("100000001", 2247483650, extra={"new": 1})
    assert platform.body(route) == {"media_id": "DRAFT"}
    assert platform.params(route) == {}


@pytest.mark.parametrize("answer", [{"publish_id": 100000001}, {"publish_id": "100000001", "msg_data_id": ""}])
async def test_submit_without_a_message(platform: Platform, publish: PublishAPI, answer: dict[str, Any]) -> None:
    """The number of the message can be missing, and the one of the job can come as a number."""
    platform.answer("POST", SUBMIT, {**OK, **answer})
    assert await publish.submit("DRAFT") == PublishReceipt("100000001")


async def test_submit_without_a_job(platform: Platform, publish: PublishAPI) -> None:
    """An acceptance without a number is a ReplyError that names it."""
    platform.answer("POST", SUBMIT, OK)
    with pytest.raises(ReplyError, match="publish_id"):
        await publish.submit("DRAFT")


async def test_submit_is_not_repeated(platform: Platform, publish: PublishAPI) -> None:
    """Nobody knows what a second job for the same draft does."""
    route = platform.answer("POST", SUBMIT, broken())
    with pytest.raises(BadStatusError):
        await publish.submit("DRAFT")
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (40007, NotFoundError),
        (48001, NotAuthorizedError),
        (53503, NotAuthorizedError),
        (53504, NotAuthorizedError),
        (53505, NotAuthorizedError),
        (45009, RateLimitError),
    ],
)
async def test_submit_refused(platform: Platform, publish: PublishAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal is an error of its own class, and is not repeated."""
    route = platform.answer("POST", SUBMIT, {"errcode": errcode, "errmsg": "refused"})
    with pytest.raises(error) as caught:
        await publish.submit("DRAFT")
    assert caught.value.errcode == errcode
    assert route.call_count == 1


@pytest.mark.parametrize("publish_id", ["100000001", 100000001])
async def test_get_status_of_a_job_that_is_done(platform: Platform, publish: PublishAPI, publish_id: str | int) -> None:
    """A job that is done has the id of the publication and the addresses of its articles."""
    route = platform.answer(
        "POST",
        STATUS,
        {
            "publish_id": "100000001",
            "publish_status": 0,
            "article_id": "A1",
            "article_detail": {
                "count": 2,
                "item": [{"idx": 1, "article_url": "http://a/1", "new": 3}, {"idx": "2", "article_url": "http://a/2"}],
                "new": 2,
            },
            "fail_idx": [],
            "new": 1,
        },
    )
    job = await publish.get_status(publish_id)
    links = (PublicationLink(1, "http://a/1", extra={"new": 3}), PublicationLink(2, "http://a/2"))
    detail = PublicationDetail(2, links, extra={"new": 2})
    assert job == PublishJob(PublishStatus.DONE, "100000001", "A1", detail, extra={"new": 1})
    assert (job.ok, job.article_urls) == (True, ("http://a/1", "http://a/2"))
    assert platform.body(route) == {"publish_id": "100000001"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (1, PublishStatus.RUNNING),
        ("2", PublishStatus.ORIGINALITY_FAILED),
        (3, PublishStatus.FAILED),
        (4, PublishStatus.REJECTED),
        (5, PublishStatus.DELETED),
        (6, PublishStatus.BANNED),
        (7, 7),
    ],
)
async def test_get_status_of_other_jobs(
    platform: Platform, publish: PublishAPI, status: int | str, expected: int
) -> None:
    """Every other state is told apart, an unknown one stays a number, and none of them is published."""
    platform.answer("POST", STATUS, {"publish_id": "1", "publish_status": status})
    job = await publish.get_status(1)
    assert job == PublishJob(expected, "1")
    assert (job.ok, job.article_urls) == (False, ())


async def test_a_failed_job_names_the_articles(platform: Platform, publish: PublishAPI) -> None:
    """Which articles were refused is part of the answer, not an error."""
    platform.answer("POST", STATUS, {"publish_id": "1", "publish_status": 4, "fail_idx": [1, "3"]})
    assert (await publish.get_status(1)).fail_idx == (1, 3)


async def test_get_status_of_an_unknown_job(platform: Platform, publish: PublishAPI) -> None:
    """40002 means here that there is no such job, and its advice speaks of that."""
    platform.answer("POST", STATUS, {"errcode": 40002, "errmsg": "invalid publish id rid: 1-2-3"})
    with pytest.raises(NotFoundError) as caught:
        await publish.get_status("404")
    error = caught.value
    assert (error.errcode, error.errmsg, error.rid) == (40002, "invalid publish id", "1-2-3")
    assert error.endpoint == f"POST {STATUS}"
    assert "publish_id" in error.advice


async def test_get_status_without_a_state(platform: Platform, publish: PublishAPI) -> None:
    """A missing state is a ReplyError, not "done"."""
    platform.answer("POST", STATUS, {"publish_id": "1"})
    with pytest.raises(ReplyError, match="publish_status"):
        await publish.get_status("1")


async def test_delete_one_article(platform: Platform, publish: PublishAPI) -> None:
    """The place goes out as it was given; a broken attempt is repeated."""
    route = platform.answer("POST", DELETE, broken(), OK)
    await publish.delete("A1", index=2)
    assert route.call_count == 2
    assert platform.body(route) == {"article_id": "A1", "index": 2}


async def test_delete_a_publication(platform: Platform, publish: PublishAPI) -> None:
    """All articles go with a zero that the caller wrote down."""
    route = platform.answer("POST", DELETE, OK)
    await publish.delete("A1", index=0)
    assert platform.body(route) == {"article_id": "A1", "index": 0}


async def test_delete_must_be_told_what(publish: PublishAPI) -> None:
    """Forgetting the place deletes nothing."""
    with pytest.raises(TypeError, match="index"):
        await publish.delete("A1")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("index", [-1, None, "1", True, False, 1.0])
async def test_delete_checks_the_place(publish: PublishAPI, index: Any) -> None:
    """Only a number is a place: False would be all articles."""
    with pytest.raises(ArgumentError) as caught:
        await publish.delete("A1", index=index)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (53600, "index", f"POST {DELETE}")


async def test_get_article_reads_everything(platform: Platform, publish: PublishAPI) -> None:
    """Every documented field has an attribute; a deleted article is marked."""
    item: dict[str, Any] = {
        "title": "标题",
        "author": "作者",
        "digest": "摘要",
        "content": "正文",
        "content_source_url": "https://a.example/",
        "thumb_media_id": "COVER",
        "show_cover_pic": 1,
        "need_open_comment": 0,
        "only_fans_can_comment": 1,
        "url": "http://a/1",
        "thumb_url": "http://mmbiz.qpic.cn/1",
        "is_deleted": False,
        "new": 1,
    }
    route = platform.answer("POST", ARTICLE, {**OK, "news_item": [item, {"title": "gone", "is_deleted": True}]})
    first = NewsItem(
        title="标题",
        author="作者",
        digest="摘要",
        content="正文",
        content_source_url="https://a.example/",
        thumb_media_id="COVER",
        show_cover_pic=True,
        only_fans_can_comment=True,
        url="http://a/1",
        thumb_url="http://mmbiz.qpic.cn/1",
        extra={"new": 1},
    )
    assert await publish.get_article("A1") == NewsContent((first, NewsItem("gone", is_deleted=True)))
    assert platform.body(route) == {"article_id": "A1"}


@pytest.mark.parametrize("call", ["get_article", "delete"])
async def test_an_unknown_publication(platform: Platform, publish: PublishAPI, call: str) -> None:
    """53600 is a NotFoundError."""
    platform.answer("POST", ARTICLE if call == "get_article" else DELETE, {"errcode": 53600, "errmsg": "unknown"})
    with pytest.raises(NotFoundError) as caught:
        await (publish.get_article("A1") if call == "get_article" else publish.delete("A1", index=0))
    assert caught.value.errcode == 53600


async def test_things_must_be_named(publish: PublishAPI) -> None:
    """Empty ids are refused before sending, with the code for unknown ones."""
    calls: list[tuple[Awaitable[object], int, str]] = [
        (publish.submit(""), 40007, "media_id"),
        (publish.get_status(""), 40002, "publish_id"),
        (publish.delete("", index=1), 53600, "article_id"),
        (publish.get_article(""), 53600, "article_id"),
    ]
    for call, errcode, field in calls:
        with pytest.raises(ArgumentError) as caught:
            await call
        assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_list_reads_a_page(platform: Platform, publish: PublishAPI) -> None:
    """A page has its numbers and its publications, and asks for 20 with their contents unless told otherwise."""
    answer = {"total_count": "21", "item_count": 1, "item": [{**entry("A1"), "new": 2}], "new": 1}
    route = platform.answer("POST", LIST, answer)
    changed = datetime(2021, 5, 3, 0, 0, tzinfo=UTC)
    first = Publication("A1", NewsContent((NewsItem("A1"),)), changed, extra={"new": 2})
    assert await publish.list() == PublicationPage(21, 1, (first,), extra={"new": 1})
    assert platform.body(route) == {"offset": 0, "count": 20, "no_content": 0}


async def test_list_sends_what_was_asked_for(platform: Platform, publish: PublishAPI) -> None:
    """Start, size and the contents are the caller's."""
    route = platform.answer("POST", LIST, {"total_count": 0, "item_count": 0, "item": []})
    assert (await publish.list(offset=40, count=1, no_content=True)).publications == ()
    assert platform.body(route) == {"offset": 40, "count": 1, "no_content": 1}


@pytest.mark.parametrize(
    ("change", "field"), [({"count": 0}, "count"), ({"count": 21}, "count"), ({"offset": -1}, "offset")]
)
async def test_list_checks(publish: PublishAPI, change: dict[str, Any], field: str) -> None:
    """Pages of 1 to 20, from 0 (40097)."""
    with pytest.raises(ArgumentError) as caught:
        await publish.list(**change)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (40097, field, f"POST {LIST}")


async def test_iter_publications_walks_all_pages(platform: Platform, publish: PublishAPI) -> None:
    """Each page begins behind the one before, until all have come."""
    pages = [["A1", "A2"], ["A3"]]
    route = platform.answer(
        "POST", LIST, *[{"total_count": 3, "item_count": len(page), "item": [entry(i) for i in page]} for page in pages]
    )
    assert [each.article_id async for each in publish.iter_publications(no_content=True)] == ["A1", "A2", "A3"]
    assert [body["offset"] for body in platform.bodies(route)] == [0, 2]
    assert {body["no_content"] for body in platform.bodies(route)} == {1}


async def test_iter_publications_from_the_middle(platform: Platform, publish: PublishAPI) -> None:
    """The walk begins where the caller says."""
    route = platform.answer("POST", LIST, {"total_count": 4, "item_count": 1, "item": [entry("A4")]})
    assert [each.article_id async for each in publish.iter_publications(offset=3)] == ["A4"]
    assert platform.body(route) == {"offset": 3, "count": 20, "no_content": 0}


async def test_iter_publications_of_nothing(platform: Platform, publish: PublishAPI) -> None:
    """Nothing published: one request, nothing yielded."""
    route = platform.answer("POST", LIST, {"total_count": 0, "item_count": 0, "item": []})
    assert [each async for each in publish.iter_publications()] == []
    assert route.call_count == 1
