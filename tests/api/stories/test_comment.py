"""Comments on the simulated platform: from the draft that allows them to the answer and its end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
import pytest

from wxmp import APIError, ArgumentError, NotAuthorizedError, NotFoundError
from wxmp.api.articles import Article
from wxmp.api.comment import Comment, CommentFilter, CommentReply, CommentType
from wxmp.simulator import WorldError, formats, library

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from wxmp import Client
    from wxmp.pytest_plugin import WxSim
    from wxmp.simulator.phone import Phone

pytestmark = pytest.mark.wx_sim(clock="frozen")


class Shown:
    """Two articles that are out, with open comments; the tests are about the second one."""

    def __init__(self, client: Client, reader: Phone, url: str, msg_data_id: int) -> None:
        self.client = client
        self.reader = reader
        self.url = url
        self.msg_data_id = msg_data_id

    async def listed(self) -> tuple[Comment, ...]:
        """Return the comments."""
        return (await self.client.comment.list(self.msg_data_id, index=1)).comments


@pytest.fixture
async def shown(wx_sim: WxSim) -> Shown:
    """Two articles, from the draft to a reader."""
    client = wx_sim.client()
    data = formats.sample("image", "a")
    now = wx_sim.clock.now()
    cover = library.store_media(wx_sim.world, wx_sim.account, "image", "cover.jpg", data, now, permanent=True)
    articles = [Article(title, "正文", cover.media_id, need_open_comment=True) for title in "甲乙"]
    receipt = await client.publish.submit(await client.draft.add(articles))
    wx_sim.world.advance(60)
    job = await client.publish.get_status(receipt.publish_id)
    assert receipt.msg_data_id is not None
    reader = wx_sim.user("reader")
    reader.follow()
    return Shown(client, reader, job.article_urls[1], receipt.msg_data_id)


async def test_a_comment_and_its_answer(wx_sim: WxSim, shown: Shown) -> None:
    """A reader's comment is listed with its author and time, and with the answer once there is one."""
    number = shown.reader.comment(shown.url, "写得好")
    when = datetime.fromtimestamp(int(wx_sim.clock.now()), UTC)
    expected = Comment(number, "写得好", when, CommentType.NORMAL, shown.reader.openid)
    assert await shown.listed() == (expected,)
    await shown.client.comment.reply(shown.msg_data_id, index=1, user_comment_id=number, content="谢谢")
    assert await shown.listed() == (attrs.evolve(expected, reply=CommentReply("谢谢", when)),)
    await shown.client.comment.delete_reply(shown.msg_data_id, index=1, user_comment_id=number)
    assert await shown.listed() == (expected,)
    assert wx_sim.findings == []


async def test_articles_are_told_apart(shown: Shown) -> None:
    """A comment on the second article is none on the first."""
    shown.reader.comment(shown.url, "写得好")
    assert (await shown.client.comment.list(shown.msg_data_id)).total == 0


async def test_there_is_one_answer(shown: Shown) -> None:
    """A second answer is refused (88005)."""
    number = shown.reader.comment(shown.url, "写得好")
    await shown.client.comment.reply(shown.msg_data_id, index=1, user_comment_id=number, content="谢谢")
    with pytest.raises(APIError) as caught:
        await shown.client.comment.reply(shown.msg_data_id, index=1, user_comment_id=number, content="不谢")
    assert caught.value.errcode == 88005
    (comment,) = await shown.listed()
    assert comment.reply is not None
    assert comment.reply.content == "谢谢"


async def test_closing_and_opening(shown: Shown) -> None:
    """Closed comments take nothing new and stay listed; opened again they do."""
    shown.reader.comment(shown.url, "1")
    await shown.client.comment.close(shown.msg_data_id, index=1)
    with pytest.raises(WorldError, match="closed"):
        shown.reader.comment(shown.url, "2")
    await shown.client.comment.open(shown.msg_data_id, index=1)
    shown.reader.comment(shown.url, "3")
    assert [comment.content for comment in await shown.listed()] == ["1", "3"]


async def test_featured_comments(shown: Shown) -> None:
    """A featured comment changes its kind and its list, and changes back."""
    first, second = (shown.reader.comment(shown.url, text) for text in "12")
    await shown.client.comment.feature(shown.msg_data_id, index=1, user_comment_id=second)

    async def ids(kind: CommentFilter) -> list[int]:
        found = shown.client.comment.iter_comments(shown.msg_data_id, index=1, type=kind)
        return [comment.user_comment_id async for comment in found]

    assert [await ids(kind) for kind in CommentFilter] == [[first, second], [first], [second]]
    assert [comment.comment_type for comment in await shown.listed()] == [CommentType.NORMAL, CommentType.FEATURED]
    await shown.client.comment.unfeature(shown.msg_data_id, index=1, user_comment_id=second)
    assert await ids(CommentFilter.FEATURED) == []


@pytest.mark.wx_sim(clock="frozen", policy={"comment_featured_max": 1})
async def test_featured_comments_have_an_end(shown: Shown) -> None:
    """When all places are taken one more is refused (88003)."""
    first, second = (shown.reader.comment(shown.url, text) for text in "12")
    await shown.client.comment.feature(shown.msg_data_id, index=1, user_comment_id=first)
    with pytest.raises(ArgumentError) as caught:
        await shown.client.comment.feature(shown.msg_data_id, index=1, user_comment_id=second)
    assert caught.value.errcode == 88003


async def test_a_comment_that_its_author_took_back(shown: Shown) -> None:
    """It cannot be featured any more, and says why (88004)."""
    number = shown.reader.comment(shown.url, "1")
    shown.reader.withdraw_comment(shown.url, number)
    with pytest.raises(APIError) as caught:
        await shown.client.comment.feature(shown.msg_data_id, index=1, user_comment_id=number)
    assert caught.value.errcode == 88004


async def test_a_long_list(wx_sim: WxSim, shown: Shown) -> None:
    """A hundred comments come in three pages, each once."""
    written = [shown.reader.comment(shown.url, str(number)) for number in range(100)]
    found = shown.client.comment.iter_comments(shown.msg_data_id, index=1)
    assert [comment.user_comment_id async for comment in found] == written
    assert wx_sim.calls("/cgi-bin/comment/list") == 3
    page = await shown.client.comment.list(shown.msg_data_id, index=1, offset=98)
    assert (page.total, len(page.comments), page.extra) == (100, 2, {})


@pytest.mark.parametrize("call", ["delete", "reply", "delete_reply"])
async def test_an_end_that_is_unknown(wx_sim: WxSim, shown: Shown, call: str) -> None:
    """The connection breaks after the work is done; the repeat finds it done, and that is success."""
    comments, number = shown.client.comment, shown.reader.comment(shown.url, "1")
    if call == "delete_reply":
        await comments.reply(shown.msg_data_id, index=1, user_comment_id=number, content="谢谢")
    wx_sim.faults.add("reset_after", "/cgi-bin/comment/*", times=1)
    if call == "delete":
        await comments.delete(shown.msg_data_id, index=1, user_comment_id=number)
        assert await shown.listed() == ()
    elif call == "reply":
        await comments.reply(shown.msg_data_id, index=1, user_comment_id=number, content="谢谢")
        assert (await shown.listed())[0].reply is not None
    else:
        await comments.delete_reply(shown.msg_data_id, index=1, user_comment_id=number)
        assert (await shown.listed())[0].reply is None
    path = {"delete": "delete", "reply": "reply/add", "delete_reply": "reply/delete"}[call]
    assert wx_sim.calls(f"/cgi-bin/comment/{path}") == 2


async def test_unknown_things(shown: Shown) -> None:
    """Messages, places, comments and answers that do not exist are not found, each with its code."""
    comments, known = shown.client.comment, shown.msg_data_id
    number = shown.reader.comment(shown.url, "1")
    calls: list[tuple[Awaitable[object], int]] = [
        (comments.open(4_000_000_000), 88001),
        (comments.close(known, index=2), 88001),
        (comments.list(known, index=2), 88001),
        (comments.feature(known, index=1, user_comment_id=404), 88008),
        (comments.unfeature(known, index=1, user_comment_id=404), 88008),
        (comments.delete(known, index=0, user_comment_id=number), 88008),
        (comments.reply(known, index=1, user_comment_id=404, content="谢谢"), 88008),
        (comments.delete_reply(known, index=1, user_comment_id=number), 88009),
    ]
    for call, errcode in calls:
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.errcode == errcode


async def test_an_answer_that_is_too_long(shown: Shown) -> None:
    """How long it may be is the platform's to say (88007)."""
    number = shown.reader.comment(shown.url, "1")
    with pytest.raises(ArgumentError) as caught:
        await shown.client.comment.reply(shown.msg_data_id, index=1, user_comment_id=number, content="字" * 601)
    assert (caught.value.errcode, caught.value.field) == (88007, "")


async def test_an_account_without_comments(wx_sim: WxSim, shown: Shown) -> None:
    """Whoever lacks the feature is told so by every call (88000)."""
    wx_sim.account.library.comments_allowed = False
    with pytest.raises(NotAuthorizedError):
        await shown.client.comment.list(shown.msg_data_id, index=1)


async def test_an_article_that_the_platform_banned(wx_sim: WxSim, shown: Shown) -> None:
    """Its comments cannot be opened (88002)."""
    (found, *_) = (await shown.client.publish.list()).publications
    library.ban(wx_sim.account, found.article_id)
    with pytest.raises(NotAuthorizedError) as caught:
        await shown.client.comment.open(shown.msg_data_id, index=1)
    assert caught.value.errcode == 88002
