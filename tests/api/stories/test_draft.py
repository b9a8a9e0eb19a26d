"""The draft box on the simulated platform: what is written is what is read, and what does not fit is refused alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wxmp import ArgumentError, NotAuthorizedError, NotFoundError, RateLimitError, TransportError
from wxmp.api.articles import Article, ArticleImage, ArticleType, CoverCrop, Crop, CropRatio, ImageInfo, PictureArticle
from wxmp.errors import AccountError, APIError
from wxmp.simulator import formats, library

if TYPE_CHECKING:
    from wxmp.api.articles import AnyArticle
    from wxmp.pytest_plugin import WxSim

pytestmark = pytest.mark.wx_sim(clock="frozen")


@pytest.fixture
def picture(wx_sim: WxSim) -> str:
    """A picture in the account's library, for good."""
    data = formats.sample("image", "a")
    now = wx_sim.clock.now()
    return library.store_media(wx_sim.world, wx_sim.account, "image", "cover.jpg", data, now, permanent=True).media_id


async def test_an_article_comes_back(wx_sim: WxSim, picture: str) -> None:
    """All that was written about an article is read again, with a preview link."""
    client = wx_sim.client()
    article = Article(
        "标题",
        "<p>你好 <b>世界</b></p>",
        picture,
        author="作者",
        digest="摘要",
        content_source_url="https://a.example/",
        need_open_comment=True,
        only_fans_can_comment=True,
        pic_crop_235_1=Crop(0.1945, 0, 1, 0.5236),
        pic_crop_1_1=Crop(0.25, 0, 0.75, 1),
    )
    found = await client.draft.get(await client.draft.add(article))
    (item,) = found.news_item
    assert item.as_article() == attrs.evolve(article, pic_crop_235_1="0.1945_0_1_0.5236", pic_crop_1_1="0.25_0_0.75_1")
    assert (item.article_type, item.url != "", item.thumb_url != "") == (ArticleType.NEWS, True, True)
    assert found.create_time == found.update_time is not None
    assert (found.extra, item.extra, wx_sim.findings) == ({}, {}, [])


async def test_a_picture_article_comes_back(wx_sim: WxSim, picture: str) -> None:
    """Pictures and the crops of the cover are read as they were written."""
    client = wx_sim.client()
    article = PictureArticle(
        "图", "说明", [picture, picture], crop_percent_list=[CoverCrop(CropRatio.BANNER, 0, 0.1, 1, 0.5)]
    )
    media_id = await client.draft.add(article)
    (item,) = (await client.draft.get(media_id)).news_item
    assert item.article_type is ArticleType.NEWSPIC
    assert item.image_info == ImageInfo((ArticleImage(picture), ArticleImage(picture)))
    assert item.cover_info == {
        "crop_percent_list": [{"ratio": "2.35_1", "x1": "0", "y1": "0.1", "x2": "1", "y2": "0.5"}]
    }
    await client.draft.update(media_id, index=0, article=attrs.evolve(item.as_article(), title="新"))
    assert (await client.draft.get(media_id)).news_item == (attrs.evolve(item, title="新"),)
    assert wx_sim.findings == []


async def test_one_article_is_changed(wx_sim: WxSim, picture: str) -> None:
    """An article that was read, changed and written back differs in what was changed; its neighbours stay."""
    client = wx_sim.client()
    media_id = await client.draft.add(Article(title, "正文", picture) for title in "甲乙丙")
    before = (await client.draft.get(media_id)).news_item
    await client.draft.update(media_id, index=1, article=attrs.evolve(before[1].as_article(), content="别的"))
    after = (await client.draft.get(media_id)).news_item
    assert after == (before[0], attrs.evolve(before[1], content="别的"), before[2])


async def test_a_place_that_is_not_there(wx_sim: WxSim, picture: str) -> None:
    """A draft of one article has no second one (40114)."""
    client = wx_sim.client()
    article = Article("标题", "正文", picture)
    media_id = await client.draft.add(article)
    with pytest.raises(ArgumentError) as caught:
        await client.draft.update(media_id, index=1, article=article)
    assert (caught.value.errcode, caught.value.field) == (40114, "")


FITS: dict[str, Any] = {
    "title": "字" * 32,
    "author": "字" * 16,
    "digest": "字" * 128,
    "content": "字" * 19_999,
    "content_source_url": "https://a.example/".ljust(1024, "x"),
}
TOO_MUCH: dict[str, tuple[int, Any]] = {
    "title": (45003, "字" * 65),
    "author": (45110, "字" * 17),
    "digest": (45004, "字" * 129),
    "content": (45002, "字" * 20_000),
    "content_source_url": (45005, "https://a.example/".ljust(1025, "x")),
    "thumb_media_id": (40007, ""),
}


@pytest.mark.parametrize("field", FITS)
async def test_what_just_fits(wx_sim: WxSim, picture: str, field: str) -> None:
    """The platform takes all that is not refused before sending."""
    article: AnyArticle = attrs.evolve(Article("标题", "正文", picture), **{field: FITS[field]})
    assert await wx_sim.client().draft.add(article)


@pytest.mark.parametrize("field", TOO_MUCH)
async def test_both_sides_refuse_with_one_code(wx_sim: WxSim, picture: str, field: str) -> None:
    """What is refused before sending would have been refused by the platform, with the same code."""
    errcode, value = TOO_MUCH[field]
    client = wx_sim.client()
    article = Article("标题", "正文", picture)
    with pytest.raises(ArgumentError) as caught:
        await client.draft.add(attrs.evolve(article, **{field: value}))
    assert (caught.value.errcode, caught.value.field) == (errcode, f"articles[0].{field}")
    wired = {"title": "标题", "content": "正文", "thumb_media_id": picture, field: value}
    with pytest.raises(APIError) as refused:
        await client.request("POST", "/cgi-bin/draft/add", json={"articles": [wired]})
    assert refused.value.errcode == errcode


async def test_eight_articles_and_no_more(wx_sim: WxSim, picture: str) -> None:
    """Eight articles fit; nine are refused (45008)."""
    client = wx_sim.client()
    articles = [Article(str(number), "正文", picture) for number in range(9)]
    media_id = await client.draft.add(articles[:8])
    assert [item.title for item in (await client.draft.get(media_id)).news_item] == list("01234567")
    with pytest.raises(ArgumentError) as caught:
        await client.draft.add(articles)
    assert caught.value.errcode == 45008
    assert await client.draft.count() == 1


async def test_a_cover_that_is_unknown(wx_sim: WxSim) -> None:
    """The platform knows which pictures there are (40007)."""
    with pytest.raises(NotFoundError):
        await wx_sim.client().draft.add(Article("标题", "正文", "NOPE"))


async def test_comments_without_the_feature(wx_sim: WxSim, picture: str) -> None:
    """An account without comments cannot open them (88000)."""
    wx_sim.account.library.comments_allowed = False
    with pytest.raises(NotAuthorizedError):
        await wx_sim.client().draft.add(Article("标题", "正文", picture, need_open_comment=True))


async def test_products(wx_sim: WxSim, picture: str) -> None:
    """A product at the end is for accounts that may sell (53406), and comes back where they may."""
    client = wx_sim.client()
    article = Article("标题", "正文", picture, product_key="KEY")
    with pytest.raises(AccountError):
        await client.draft.add(article)
    wx_sim.account.library.selling_allowed = True
    (item,) = (await client.draft.get(await client.draft.add(article))).news_item
    written = item.as_article()
    assert (written.product_key, item.extra) == ("KEY", {})


async def test_drafts_come_and_go(wx_sim: WxSim, picture: str) -> None:
    """The number of drafts follows what is added and deleted; what is gone is gone."""
    client = wx_sim.client()
    assert await client.draft.count() == 0
    kept, dropped = [await client.draft.add(Article(title, "正文", picture)) for title in "甲乙"]
    await client.draft.delete(dropped)
    assert [draft.media_id async for draft in client.draft.iter_drafts()] == [kept]
    for call in (client.draft.get(dropped), client.draft.delete(dropped)):
        with pytest.raises(NotFoundError):
            await call


async def test_a_long_list(wx_sim: WxSim, picture: str) -> None:
    """45 drafts come in three pages, each once, without their contents where they are not wanted."""
    client = wx_sim.client()
    added = {await client.draft.add(Article(str(number), "正文", picture)) for number in range(45)}
    found = [draft async for draft in client.draft.iter_drafts(no_content=True)]
    assert (len(found), {draft.media_id for draft in found}) == (45, added)
    assert {item.content for draft in found for item in draft.content.news_item} == {None}
    assert wx_sim.calls("/cgi-bin/draft/batchget") == 3
    page = await client.draft.list(offset=40)
    assert (page.total, page.count, len(page.drafts), page.extra) == (45, 5, 5, {})
    assert {item.content for draft in page.drafts for item in draft.content.news_item} == {"正文"}


async def test_a_draft_whose_making_is_unknown(wx_sim: WxSim, picture: str) -> None:
    """The connection breaks after the draft is made; it is not sent again, and is in the box once."""
    client = wx_sim.client()
    wx_sim.faults.add("reset_after", "/cgi-bin/draft/add", times=1)
    with pytest.raises(TransportError) as caught:
        await client.draft.add(Article("标题", "正文", picture))
    assert caught.value.maybe_acted
    assert (await client.draft.count(), wx_sim.calls("/cgi-bin/draft/add")) == (1, 1)


async def test_a_deletion_whose_end_is_unknown(wx_sim: WxSim, picture: str) -> None:
    """The connection breaks after the draft is deleted; the repeat finds nothing, and that is success."""
    client = wx_sim.client()
    media_id = await client.draft.add(Article("标题", "正文", picture))
    wx_sim.faults.add("reset_after", "/cgi-bin/draft/delete", times=1)
    await client.draft.delete(media_id)
    assert (await client.draft.count(), wx_sim.calls("/cgi-bin/draft/delete")) == (0, 2)


async def test_the_draft_box_is_on(wx_sim: WxSim) -> None:
    """It cannot be off, whether one asks or turns it on; the platform hints that nobody needs to."""
    client = wx_sim.client()
    assert await client.draft.switch(check_only=True) is True
    assert await client.draft.switch() is True
    assert {finding["code"] for finding in wx_sim.findings} == {"deprecated_endpoint"}


async def test_a_day_has_its_calls(wx_sim: WxSim, picture: str) -> None:
    """A quota that is used up is said to be one of the day (45009)."""
    client = wx_sim.client()
    wx_sim.faults.add("errcode", "/cgi-bin/draft/add", errcode=45009)
    with pytest.raises(RateLimitError) as caught:
        await client.draft.add(Article("标题", "正文", picture))
    assert caught.value.scope == "day"
