"""Permanent material on the simulated platform: it stays, it is counted and listed, and what is used cannot go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.api.test_uploads import pieces
from wxmp import ArgumentError, NotAuthorizedError, NotFoundError, TransportError
from wxmp.api.articles import Article
from wxmp.api.menu import MenuButton
from wxmp.errors import ReplyError
from wxmp.simulator.formats import sample

if TYPE_CHECKING:
    from pathlib import Path

    from wxmp.pytest_plugin import WxSim

pytestmark = pytest.mark.wx_sim(clock="frozen")

DAY = 86_400
ADD = "/cgi-bin/material/add_material"
LIST = "/cgi-bin/material/batchget_material"
CONTENTS = {"image": sample("image", "a"), "voice": sample("voice", "a"), "thumb": sample("image", "b")}


@pytest.mark.parametrize("kind", CONTENTS)
async def test_a_file_stays(wx_sim: WxSim, tmp_path: Path, kind: Any) -> None:
    """A file is there after any time, in memory, in a file and piece by piece."""
    client, content = wx_sim.client(), CONTENTS[kind]
    added = await client.material.add(pieces(content), type=kind)
    assert (bool(added.url), added.extra) == (kind != "voice", {})
    wx_sim.clock.advance(400 * DAY)
    found = await client.material.get(added.media_id)
    assert (found.content, found.size, found.extra) == (content, len(content), {})
    written = await client.material.get(added.media_id, to=tmp_path / "copy")
    assert (written.path, (tmp_path / "copy").read_bytes()) == (tmp_path / "copy", content)
    async with client.material.stream(added.media_id) as stream:
        assert b"".join([piece async for piece in stream]) == content
    assert wx_sim.findings == []


async def test_a_video_keeps_its_words(wx_sim: WxSim) -> None:
    """Title and introduction come back as they were written, with an address."""
    client = wx_sim.client()
    added = await client.material.add(sample("video", "a"), type="video", title='标 "题"\\', description="介\n绍")
    found = await client.material.get(added.media_id)
    assert (found.title, found.description) == ('标 "题"\\', "介\n绍")
    assert found.video_url.startswith("http")
    assert found.extra == {}
    async with client.material.stream(added.media_id) as stream:
        assert stream.video_url == found.video_url
    (item,) = (await client.material.list("video")).items
    assert (item.media_id, item.name) == (added.media_id, '标 "题"\\')


async def test_counting_and_listing(wx_sim: WxSim) -> None:
    """What was added is counted and listed, each kind by itself and on as many pages as it takes."""
    client = wx_sim.client()
    images = [(await client.material.add(CONTENTS["image"], type="image")).media_id for _ in range(23)]
    voice = await client.material.add(CONTENTS["voice"], type="voice")
    count = await client.material.count()
    assert (count.image_count, count.voice_count, count.video_count, count.news_count) == (23, 1, 0, 0)
    assert count.extra == {}
    found = [item async for item in client.material.iter_items("image")]
    assert sorted(item.media_id for item in found) == sorted(images)
    assert wx_sim.calls(LIST) == 2
    assert {item.extra == {} and item.url != "" and item.update_time is not None for item in found} == {True}
    page = await client.material.list("image", offset=20, count=5)
    assert (page.total, page.count, len(page.items)) == (23, 3, 3)
    assert [item.media_id async for item in client.material.iter_items("voice")] == [voice.media_id]
    assert [item async for item in client.material.iter_items("news")] == []


async def test_delete(wx_sim: WxSim) -> None:
    """What is deleted is gone; deleting it again is an error, unless the first answer was lost."""
    client = wx_sim.client()
    added = await client.material.add(CONTENTS["image"], type="image")
    await client.material.delete(added.media_id)
    for call in (client.material.get, client.material.delete):
        with pytest.raises(NotFoundError) as caught:
            await call(added.media_id)
        assert caught.value.errcode == 40007
    again = await client.material.add(CONTENTS["image"], type="image")
    wx_sim.faults.add("reset_after", "/cgi-bin/material/del_material", times=1)
    await client.material.delete(again.media_id)
    assert (await client.material.count()).image_count == 0


async def test_what_a_menu_shows_stays(wx_sim: WxSim) -> None:
    """Material behind a menu button cannot be deleted."""
    client = wx_sim.client()
    added = await client.material.add(CONTENTS["image"], type="image")
    await client.menu.create([MenuButton.media("图", added.media_id)])
    with pytest.raises(NotAuthorizedError) as caught:
        await client.material.delete(added.media_id)
    assert caught.value.errcode == 48005
    await client.menu.delete()
    await client.material.delete(added.media_id)


@pytest.mark.wx_sim(policy={"material_limits": {"image": 2, "news": 2, "voice": 2, "video": 2, "thumb": 2}})
async def test_the_library_is_full(wx_sim: WxSim) -> None:
    """One more than there is room for is refused."""
    client = wx_sim.client()
    for _ in range(2):
        await client.material.add(CONTENTS["image"], type="image")
    with pytest.raises(ArgumentError) as caught:
        await client.material.add(CONTENTS["image"], type="image")
    assert (caught.value.errcode, caught.value.field) == (45034, "")


async def test_a_lost_answer_is_not_repeated(wx_sim: WxSim) -> None:
    """Whether the file was kept is not known then, and it is not kept twice."""
    client = wx_sim.client()
    wx_sim.faults.add("reset_after", ADD, times=1)
    with pytest.raises(TransportError) as caught:
        await client.material.add(CONTENTS["image"], type="image")
    assert caught.value.maybe_acted
    assert (await client.material.count()).image_count == 1


async def test_pictures_of_articles(wx_sim: WxSim) -> None:
    """A picture for an article has an address that is let through in contents, and is counted nowhere."""
    client = wx_sim.client()
    url = await client.material.upload_article_image(CONTENTS["image"])
    cover = await client.material.add(CONTENTS["image"], type="image")
    draft = await client.draft.add(Article("t", f'<p>x</p><img src="{url}">', cover.media_id))
    (item,) = (await client.draft.get(draft)).news_item
    assert url in (item.content or "")
    assert (await client.material.count()).image_count == 1
    with pytest.raises(ArgumentError) as caught:
        await client.material.upload_article_image(CONTENTS["image"].ljust(1 << 20, b"\0"))
    assert caught.value.errcode == 40009
    largest = CONTENTS["image"].ljust((1 << 20) - 1, b"\0")
    assert await client.material.upload_article_image(largest)


@pytest.mark.wx_sim(policy={"old_news_open": False})
async def test_articles_belong_to_drafts_now(wx_sim: WxSim) -> None:
    """Where the old way to make articles is closed, both calls say so."""
    client = wx_sim.client()
    article = Article("t", "c", (await client.material.add(CONTENTS["thumb"], type="thumb")).media_id)
    with pytest.raises(NotAuthorizedError):
        await client.material.add_news(article)
    with pytest.raises(NotAuthorizedError):
        await client.material.update_news("N1", index=0, article=article)


async def test_articles_of_the_old_way(wx_sim: WxSim) -> None:
    """Where it is open, articles are kept, read, listed, changed and deleted as material."""
    client = wx_sim.client()
    cover = (await client.material.add(CONTENTS["thumb"], type="thumb")).media_id
    article = Article("一", "<p>c</p>", cover, author="a", digest="d")
    media_id = await client.material.add_news([article, attrs.evolve(article, title="二")])
    await client.material.update_news(media_id, index=1, article=attrs.evolve(article, title="三"))
    found = await client.material.get(media_id)
    assert [item.title for item in found.news_item] == ["一", "三"]
    assert found.update_time is not None
    assert (found.extra, found.content, found.video_url) == ({}, b"", "")
    (item,) = [item async for item in client.material.iter_items("news")]
    assert item.content is not None
    assert [entry.title for entry in item.content.news_item] == ["一", "三"]
    assert (await client.material.count()).news_count == 1
    with pytest.raises(ReplyError):
        await client.material.stream(media_id).__aenter__()
    with pytest.raises(ArgumentError) as caught:
        await client.material.update_news(media_id, index=2, article=article)
    assert caught.value.errcode == 40114
    await client.material.delete(media_id)
    with pytest.raises(NotFoundError):
        await client.material.get(media_id)


@pytest.mark.parametrize(
    ("kind", "content", "name"),
    [("image", b"BM" + b"\x36\0\0\0" + bytes(60), "a.bmp"), ("voice", b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "a.wav")],
)
async def test_more_formats_than_for_messages(wx_sim: WxSim, kind: Any, content: bytes, name: str) -> None:
    """Bitmaps and uncompressed sound can be kept, and cannot be sent."""
    client = wx_sim.client()
    assert (await client.material.add(content, type=kind, filename=name)).media_id
    with pytest.raises(ArgumentError) as caught:
        await client.media.upload(content, type=kind, filename=name)
    assert caught.value.errcode == 40005
