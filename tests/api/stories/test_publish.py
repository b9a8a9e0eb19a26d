"""Publishing on the simulated platform: from the draft to the page that readers open, and to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from wxmp import NotAuthorizedError, NotFoundError, TransportError
from wxmp.api.articles import Article
from wxmp.api.publish import PublishStatus
from wxmp.simulator import formats, library
from wxmp.webhook import PublishJobFinishEvent, Webhook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wxmp import Client
    from wxmp.pytest_plugin import WxSim

pytestmark = pytest.mark.wx_sim(clock="frozen")

#: Longer than any publication takes, in seconds of the world.
A_WHILE = 60


@pytest.fixture
def client(wx_sim: WxSim) -> Client:
    """A client of the account."""
    return wx_sim.client()


@pytest.fixture
def write(wx_sim: WxSim, client: Client) -> Callable[..., Awaitable[str]]:
    """Write a draft of articles with these titles."""
    data = formats.sample("image", "a")
    now = wx_sim.clock.now()
    cover = library.store_media(wx_sim.world, wx_sim.account, "image", "cover.jpg", data, now, permanent=True)

    async def make(*titles: str) -> str:
        return await client.draft.add(Article(title, "<p>正文</p>", cover.media_id) for title in titles or ("标题",))

    return make


@pytest.fixture
def publish(wx_sim: WxSim, client: Client, write: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
    """Publish articles with these titles; return the id of the publication."""

    async def make(*titles: str) -> str:
        receipt = await client.publish.submit(await write(*titles))
        wx_sim.world.advance(A_WHILE)
        return (await client.publish.get_status(receipt.publish_id)).article_id

    return make


async def test_from_the_draft_to_the_reader(
    wx_sim: WxSim, client: Client, write: Callable[..., Awaitable[str]]
) -> None:
    """A job runs, is done, and gives each article an address that readers can open; the draft is gone."""
    media_id = await write("甲", "乙")
    receipt = await client.publish.submit(media_id)
    running = await client.publish.get_status(receipt.publish_id)
    assert (running.publish_status, running.ok, running.article_urls) == (PublishStatus.RUNNING, False, ())
    wx_sim.world.advance(A_WHILE)
    job = await client.publish.get_status(receipt.publish_id)
    assert (job.publish_status, job.publish_id, job.fail_idx) == (PublishStatus.DONE, receipt.publish_id, ())
    assert job.article_detail is not None
    assert [(link.idx, link.article_url) for link in job.article_detail.items] == [*enumerate(job.article_urls, 1)]
    reader = wx_sim.user("reader")
    assert [reader.read(url).title for url in job.article_urls] == ["甲", "乙"]
    with pytest.raises(NotFoundError):
        await client.draft.get(media_id)
    assert (receipt.extra, job.extra, job.article_detail.extra, wx_sim.findings) == ({}, {}, {}, [])


async def test_the_event_says_what_the_call_says(
    wx_sim: WxSim, client: Client, write: Callable[..., Awaitable[str]]
) -> None:
    """Whoever waits for the event needs no call: job, state and addresses are in it."""
    told: list[PublishJobFinishEvent] = []
    hook = Webhook(
        token=wx_sim.callback_token, encoding_aes_key=wx_sim.encoding_aes_key, appid=wx_sim.appid, window=None
    )

    @hook.on(PublishJobFinishEvent)
    async def finished(event: PublishJobFinishEvent) -> None:
        told.append(event)

    wx_sim.connect(hook)
    receipt = await client.publish.submit(await write())
    wx_sim.world.advance(A_WHILE)
    await wx_sim.settled()
    (event,) = told
    info = event.publish_event_info
    assert info is not None
    assert info.publish_id == receipt.publish_id
    job = await client.publish.get_status(info.publish_id)
    assert event.ok
    assert str(info.publish_id) == receipt.publish_id
    assert (info.article_id, info.publish_status) == (job.article_id, job.publish_status)
    assert info.article_detail is not None
    assert tuple(item.article_url for item in info.article_detail.items) == job.article_urls


@pytest.mark.parametrize("status", [PublishStatus.ORIGINALITY_FAILED, PublishStatus.FAILED, PublishStatus.REJECTED])
async def test_a_publication_that_fails(
    wx_sim: WxSim, client: Client, write: Callable[..., Awaitable[str]], status: PublishStatus
) -> None:
    """How it failed and which articles were refused is said; the draft is still there."""
    refused = () if status == PublishStatus.FAILED else (2,)
    library.decide_publication(wx_sim.account, status, refused)
    media_id = await write("甲", "乙")
    receipt = await client.publish.submit(media_id)
    wx_sim.world.advance(A_WHILE)
    job = await client.publish.get_status(receipt.publish_id)
    assert (job.publish_status, job.fail_idx, job.ok, job.article_id) == (status, refused, False, "")
    assert len((await client.draft.get(media_id)).news_item) == 2


async def test_a_publication_is_read(wx_sim: WxSim, client: Client, publish: Callable[..., Awaitable[str]]) -> None:
    """Its articles come back with their permanent addresses."""
    found = await client.publish.get_article(await publish("甲", "乙"))
    assert [(item.title, item.content, item.is_deleted) for item in found.news_item] == [
        ("甲", "<p>正文</p>", False),
        ("乙", "<p>正文</p>", False),
    ]
    assert all(item.url and item.thumb_url and item.extra == {} for item in found.news_item)
    assert (found.extra, wx_sim.findings) == ({}, [])


async def test_one_article_is_deleted(wx_sim: WxSim, client: Client, publish: Callable[..., Awaitable[str]]) -> None:
    """Places are counted from 1, and the others keep theirs."""
    article_id = await publish("甲", "乙", "丙")
    await client.publish.delete(article_id, index=2)
    items = (await client.publish.get_article(article_id)).news_item
    assert [item.is_deleted for item in items] == [False, True, False]
    wx_sim.user("reader").read(items[2].url)
    with httpx.Client(transport=wx_sim.transport()) as browser:
        assert [browser.get(item.url).status_code for item in items] == [200, 404, 200]


async def test_all_articles_are_deleted(wx_sim: WxSim, client: Client, write: Callable[..., Awaitable[str]]) -> None:
    """Zero takes everything away, and the job says so."""
    receipt = await client.publish.submit(await write("甲", "乙"))
    wx_sim.world.advance(A_WHILE)
    done = await client.publish.get_status(receipt.publish_id)
    await client.publish.delete(done.article_id, index=0)
    job = await client.publish.get_status(receipt.publish_id)
    assert (job.publish_status, job.ok) == (PublishStatus.DELETED, False)


async def test_the_platform_bans_a_publication(
    wx_sim: WxSim, client: Client, write: Callable[..., Awaitable[str]]
) -> None:
    """What the platform has taken away is told from what the account has."""
    receipt = await client.publish.submit(await write())
    wx_sim.world.advance(A_WHILE)
    library.ban(wx_sim.account, (await client.publish.get_status(receipt.publish_id)).article_id)
    assert (await client.publish.get_status(receipt.publish_id)).publish_status is PublishStatus.BANNED


async def test_a_deletion_whose_end_is_unknown(
    wx_sim: WxSim, client: Client, publish: Callable[..., Awaitable[str]]
) -> None:
    """The connection breaks after the deletion; the repeat changes nothing."""
    article_id = await publish("甲", "乙")
    wx_sim.faults.add("reset_after", "/cgi-bin/freepublish/delete", times=1)
    await client.publish.delete(article_id, index=1)
    items = (await client.publish.get_article(article_id)).news_item
    assert [item.is_deleted for item in items] == [True, False]
    assert wx_sim.calls("/cgi-bin/freepublish/delete") == 2


async def test_unknown_things(client: Client, publish: Callable[..., Awaitable[str]]) -> None:
    """Drafts, jobs, publications and places that do not exist are not found, each with its code."""
    article_id = await publish()
    calls: list[tuple[Awaitable[object], int]] = [
        (client.publish.submit("NOPE"), 40007),
        (client.publish.get_status("404"), 40002),
        (client.publish.get_article("NOPE"), 53600),
        (client.publish.delete("NOPE", index=1), 53600),
        (client.publish.delete(article_id, index=2), 53600),
    ]
    for call, errcode in calls:
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.errcode == errcode


async def test_who_may_publish(wx_sim: WxSim, client: Client, write: Callable[..., Awaitable[str]]) -> None:
    """A subscription account that is not verified may write drafts, and no more (48001)."""
    wx_sim.account.kind, wx_sim.account.verified, wx_sim.account.test = "subscription", False, False
    media_id = await write()
    with pytest.raises(NotAuthorizedError):
        await client.publish.submit(media_id)
    with pytest.raises(NotAuthorizedError):
        await client.publish.list()


async def test_a_long_list(wx_sim: WxSim, client: Client, publish: Callable[..., Awaitable[str]]) -> None:
    """21 publications come in two pages, each once, without their contents where they are not wanted."""
    published = {await publish(str(number)) for number in range(21)}
    found = [each async for each in client.publish.iter_publications(no_content=True)]
    assert (len(found), {each.article_id for each in found}) == (21, published)
    assert {item.content for each in found for item in each.content.news_item} == {None}
    assert wx_sim.calls("/cgi-bin/freepublish/batchget") == 2
    page = await client.publish.list(offset=20)
    assert (page.total, page.count, len(page.publications), page.extra) == (21, 1, 1, {})
    assert [item.content for item in page.publications[0].content.news_item] == ["<p>正文</p>"]


async def test_a_job_whose_beginning_is_unknown(
    wx_sim: WxSim, client: Client, write: Callable[..., Awaitable[str]]
) -> None:
    """The connection breaks after the job has begun; it is not sent again, and there is one publication."""
    media_id = await write()
    wx_sim.faults.add("reset_after", "/cgi-bin/freepublish/submit", times=1)
    with pytest.raises(TransportError):
        await client.publish.submit(media_id)
    wx_sim.world.advance(A_WHILE)
    assert (await client.publish.list()).total == 1
    assert wx_sim.calls("/cgi-bin/freepublish/submit") == 1
