"""Permanent material, in front of a platform of recorded answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api.test_uploads import AMR, BMP, GIF, JPEG, MP4, PNG, WEBP, parts, picture
from wxmp import ArgumentError, NotAuthorizedError, NotFoundError, ReplyError, TransportError
from wxmp.api.articles import Article, NewsContent, NewsItem, PictureArticle
from wxmp.api.material import AddedMaterial, Material, MaterialAPI, MaterialCount, MaterialItem, MaterialPage
from wxmp.api.uploads import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Platform
    from wxmp._caller import Caller

ADD = "/cgi-bin/material/add_material"
GET = "/cgi-bin/material/get_material"
DELETE = "/cgi-bin/material/del_material"
COUNT = "/cgi-bin/material/get_materialcount"
LIST = "/cgi-bin/material/batchget_material"
IMAGE = "/cgi-bin/media/uploadimg"
ADD_NEWS = "/cgi-bin/material/add_news"
UPDATE_NEWS = "/cgi-bin/material/update_news"
OK: dict[str, Any] = {"errcode": 0, "errmsg": "ok"}
URL = "http://mmbiz.qpic.cn/1"
SECONDS = 1_790_000_000
INSTANT = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(50)
WMA = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(50)
NEWS: dict[str, Any] = {
    "title": "标题",
    "thumb_media_id": "T1",
    "show_cover_pic": 1,
    "author": "a",
    "digest": "d",
    "content": "<p>c</p>",
    "url": "http://mp.weixin.qq.com/s/1",
    "content_source_url": "https://example.com",
}
ITEM = NewsItem(
    "标题",
    "a",
    "d",
    "<p>c</p>",
    "https://example.com",
    "T1",
    show_cover_pic=True,
    url="http://mp.weixin.qq.com/s/1",
)


@pytest.fixture
def material(caller: Caller) -> MaterialAPI:
    """The family."""
    return MaterialAPI(caller)


# ---- add


@pytest.mark.parametrize(
    ("kind", "content", "extension"),
    [
        ("image", JPEG, "jpg"),
        ("image", BMP, "bmp"),
        ("voice", AMR, "amr"),
        ("voice", WAV, "wav"),
        ("voice", WMA, "wma"),
        ("thumb", JPEG, "jpg"),
        ("thumb", PNG, "png"),
    ],
)
async def test_add_sends_a_file(
    platform: Platform, material: MaterialAPI, kind: Any, content: bytes, extension: str
) -> None:
    """The kind goes into the query, the file into the form, and nothing else; more formats than for messages."""
    route = platform.answer("POST", ADD, {"media_id": "M1", "url": URL, "item": []})
    assert await material.add(content, type=kind) == AddedMaterial("M1", URL, extra={"item": []})
    assert platform.params(route) == {"type": kind}
    ((head, sent),) = parts(route)
    assert f'name="media"; filename="media.{extension}"' in head
    assert sent == content


async def test_add_sends_a_video(platform: Platform, material: MaterialAPI) -> None:
    """Title and introduction of a video are one form field of raw JSON."""
    route = platform.answer("POST", ADD, {"media_id": "V1"})
    assert await material.add(MP4, type="video", title='标 "题"', description="介绍") == AddedMaterial("V1")
    (description, form), (head, content) = parts(route)
    assert description == 'Content-Disposition: form-data; name="description"'
    assert form == '{"title":"标 \\"题\\"","introduction":"介绍"}'.encode()
    assert 'name="media"; filename="media.mp4"\r\nContent-Type: video/mp4' in head
    assert content == MP4


async def test_a_video_without_introduction(platform: Platform, material: MaterialAPI) -> None:
    """The introduction may be left out; its field is there all the same."""
    route = platform.answer("POST", ADD, {"media_id": "V1"})
    await material.add(MP4, type="video", title="t")
    assert json.loads(parts(route)[0][1]) == {"title": "t", "introduction": ""}


@pytest.mark.parametrize("title", [None, "", " "])
async def test_a_video_has_a_title(material: MaterialAPI, title: str | None) -> None:
    """A video without a title is refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await material.add(MP4, type="video", title=title, description="i")
    assert (caught.value.errcode, caught.value.field) == (41011, "title")


@pytest.mark.parametrize("words", [{"title": "t"}, {"description": "i"}, {"title": ""}])
async def test_only_a_video_has_a_title(material: MaterialAPI, words: dict[str, str]) -> None:
    """What would be ignored is refused."""
    with pytest.raises(ArgumentError) as caught:
        await material.add(JPEG, type="image", **words)
    assert caught.value.field in words


async def test_a_title_without_utf8_form(material: MaterialAPI) -> None:
    """Half a character is named before sending."""
    with pytest.raises(ArgumentError) as caught:
        await material.add(MP4, type="video", title="\ud83d")
    assert caught.value.field == "title"


@pytest.mark.parametrize(
    ("media", "kind", "errcode"),
    [
        (WEBP, "image", 40005),
        (BMP, "thumb", 40005),
        (b"", "image", 44001),
        (JPEG.ljust((64 << 10) + 1, b"\0"), "thumb", 40012),
        (AMR.ljust(2 * MIB + 1, b"\0"), "voice", 40010),
        (MP4.ljust(10 * MIB + 1, b"\0"), "video", 40011),
        (JPEG.ljust(10 * MIB + 1, b"\0"), "image", 40009),
        (JPEG, "news", 40004),
    ],
)
async def test_add_is_checked(material: MaterialAPI, media: bytes, kind: Any, errcode: int) -> None:
    """Kind, format and size are checked before sending."""
    with pytest.raises(ArgumentError) as caught:
        await material.add(media, type=kind, title="t" if kind == "video" else None)
    assert caught.value.errcode == errcode


async def test_add_is_not_repeated_in_doubt(platform: Platform, material: MaterialAPI) -> None:
    """A second attempt would keep the file twice; a dead token kept nothing, and is replaced."""
    route = platform.answer("POST", ADD, {"errcode": 40001, "errmsg": "dead"}, httpx.ReadTimeout("slow"))
    with pytest.raises(TransportError) as caught:
        await material.add(JPEG, type="image")
    assert (caught.value.maybe_acted, len(route.calls)) == (True, 2)


async def test_no_room_for_more(platform: Platform, material: MaterialAPI) -> None:
    """A full library is the platform's to say."""
    platform.answer("POST", ADD, {"errcode": 45034, "errmsg": "full"})
    with pytest.raises(ArgumentError) as caught:
        await material.add(JPEG, type="image")
    assert caught.value.errcode == 45034


# ---- get


def file(content: bytes = JPEG) -> httpx.Response:
    """A file as the platform answers it."""
    headers = {"Content-Type": "image/jpeg", "Content-disposition": 'attachment; filename="M1.jpg"'}
    return httpx.Response(200, content=content, headers=headers)


async def test_get_reads_a_file(platform: Platform, material: MaterialAPI, tmp_path: Path) -> None:
    """A file is read into memory, or to its place."""
    route = platform.answer("POST", GET, file())
    assert await material.get("M1") == Material(JPEG, None, len(JPEG), "M1.jpg", "image/jpeg")
    path = tmp_path / "a.jpg"
    assert await material.get("M1", to=path) == Material(b"", path, len(JPEG), "M1.jpg", "image/jpeg")
    assert path.read_bytes() == JPEG
    assert platform.bodies(route) == [{"media_id": "M1"}] * 2


async def test_get_reads_a_video(platform: Platform, material: MaterialAPI, tmp_path: Path) -> None:
    """A video is what is known of it, and nothing is written."""
    platform.answer("POST", GET, {"title": "t", "description": "d", "down_url": "http://v/1", "newcat": "x"})
    found = await material.get("V1", to=tmp_path / "a.mp4")
    assert found == Material(title="t", description="d", video_url="http://v/1", extra={"newcat": "x"})
    assert list(tmp_path.iterdir()) == []


async def test_get_reads_articles(platform: Platform, material: MaterialAPI) -> None:
    """Articles are records, with the instants where the platform gives them."""
    platform.answer("POST", GET, {"news_item": [NEWS, NEWS], "create_time": SECONDS, "update_time": str(SECONDS)})
    found = await material.get("N1")
    assert found == Material(news_item=(ITEM, ITEM), create_time=INSTANT, update_time=INSTANT)


async def test_no_answer_sets_a_path(platform: Platform, material: MaterialAPI) -> None:
    """Fields of an answer that are called like those of a file do not pass for them."""
    odd = {"path": "/etc/passwd", "content": "x", "size": 5, "filename": "../x", "content_type": "t"}
    platform.answer("POST", GET, {"title": "t", "down_url": "u", **odd})
    assert await material.get("V1") == Material(title="t", video_url="u", extra=odd)


@pytest.mark.parametrize("answer", [{}, OK, {"something": 1}, {"news_item": 5}])
async def test_get_of_something_else(platform: Platform, material: MaterialAPI, answer: dict[str, Any]) -> None:
    """An answer without any of the three shapes is none."""
    platform.answer("POST", GET, answer)
    with pytest.raises(ReplyError):
        await material.get("M1")


async def test_get_of_an_unknown_material(platform: Platform, material: MaterialAPI) -> None:
    """An unknown id is an error."""
    platform.answer("POST", GET, {"errcode": 40007, "errmsg": "invalid media_id"})
    with pytest.raises(NotFoundError):
        await material.get("M1")


async def test_get_is_repeated(platform: Platform, material: MaterialAPI) -> None:
    """Reading does no harm, so it is repeated though it is a POST."""
    platform.answer("POST", GET, httpx.ReadTimeout("slow"), file())
    assert (await material.get("M1")).content == JPEG


async def test_stream(platform: Platform, material: MaterialAPI) -> None:
    """A file can be read piece by piece; of a video there is the address."""
    route = platform.answer("POST", GET, file(), {"title": "t", "description": "d", "down_url": "http://v/1"})
    async with material.stream("M1") as found:
        assert b"".join([piece async for piece in found]) == JPEG
    async with material.stream("V1") as found:
        assert found.video_url == "http://v/1"
    assert platform.bodies(route) == [{"media_id": "M1"}, {"media_id": "V1"}]


# ---- delete, count, list


async def test_delete(platform: Platform, material: MaterialAPI) -> None:
    """The id goes into the body."""
    route = platform.answer("POST", DELETE, OK)
    await material.delete("M1")
    assert platform.body(route) == {"media_id": "M1"}


async def test_delete_after_doubt(platform: Platform, material: MaterialAPI) -> None:
    """When an attempt may have deleted it, "no such material" is success; on the first attempt it is an error."""
    gone = {"errcode": 40007, "errmsg": "invalid media_id"}
    platform.answer("POST", DELETE, httpx.ReadTimeout("slow"), gone, gone)
    await material.delete("M1")
    with pytest.raises(NotFoundError):
        await material.delete("M1")


async def test_delete_of_what_is_used(platform: Platform, material: MaterialAPI) -> None:
    """Material of a menu or an automatic reply stays."""
    platform.answer("POST", DELETE, {"errcode": 48005, "errmsg": "in use"})
    with pytest.raises(NotAuthorizedError) as caught:
        await material.delete("M1")
    assert caught.value.errcode == 48005


async def test_count(platform: Platform, material: MaterialAPI) -> None:
    """Four numbers, as text too."""
    route = platform.answer(
        "GET", COUNT, {"voice_count": 1, "video_count": "2", "image_count": 3, "news_count": 4, "new": 5}
    )
    assert await material.count() == MaterialCount(1, 2, 3, 4, extra={"new": 5})
    assert platform.params(route) == {}


async def test_list_of_files(platform: Platform, material: MaterialAPI) -> None:
    """A page of files."""
    entry = {"media_id": "M1", "name": "a.jpg", "update_time": SECONDS, "url": URL, "tags": []}
    route = platform.answer("POST", LIST, {"total_count": 30, "item_count": 1, "item": [entry]})
    item = MaterialItem("M1", INSTANT, "a.jpg", URL, extra={"tags": []})
    assert await material.list("image", offset=20, count=1) == MaterialPage(30, 1, (item,))
    assert platform.body(route) == {"type": "image", "offset": 20, "count": 1}


async def test_list_of_articles(platform: Platform, material: MaterialAPI) -> None:
    """A page of articles; without arguments it is the first, as long as it can be."""
    content = {"news_item": [{**NEWS, "thumb_url": URL}], "create_time": SECONDS, "update_time": SECONDS}
    entry = {"media_id": "N1", "content": content, "update_time": SECONDS}
    route = platform.answer("POST", LIST, {"total_count": 1, "item_count": 1, "item": [entry]})
    page = await material.list("news")
    (found,) = page.items
    assert found.content == NewsContent(found.content.news_item, INSTANT, INSTANT) if found.content else False
    assert found.content is not None
    assert found.content.news_item[0].thumb_url == URL
    assert platform.body(route) == {"type": "news", "offset": 0, "count": 20}


@pytest.mark.parametrize(
    ("arguments", "errcode", "field"),
    [
        ({"type": "thumb"}, 40004, "type"),
        ({"type": ""}, 40004, "type"),
        ({"type": "image", "offset": -1}, 40097, "offset"),
        ({"type": "image", "count": 0}, 40097, "count"),
        ({"type": "image", "count": 21}, 40097, "count"),
    ],
)
async def test_list_is_checked(material: MaterialAPI, arguments: dict[str, Any], errcode: int, field: str) -> None:
    """Kind and page are checked before sending."""
    with pytest.raises(ArgumentError) as caught:
        await material.list(**arguments)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


@pytest.mark.parametrize("total", [0, 1, 20, 45])
async def test_iter_items_walks_all_pages(platform: Platform, material: MaterialAPI, total: int) -> None:
    """All entries come once, with as few requests as there are pages."""
    entries = [{"media_id": f"M{number}", "update_time": SECONDS} for number in range(total)]
    pages = [entries[start : start + 20] for start in range(0, max(total, 1), 20)]
    replies = [{"total_count": total, "item_count": len(page), "item": page} for page in pages]
    route = platform.answer("POST", LIST, *replies)
    found = [item.media_id async for item in material.iter_items("voice")]
    assert found == [entry["media_id"] for entry in entries]
    assert [body["offset"] for body in platform.bodies(route)] == [20 * number for number in range(len(pages))]
    assert {body["type"] for body in platform.bodies(route)} == {"voice"}


async def test_iter_items_begins_where_it_is_told(platform: Platform, material: MaterialAPI) -> None:
    """An offset leaves entries out."""
    route = platform.answer("POST", LIST, {"total_count": 5, "item_count": 1, "item": [{"media_id": "M4"}]})
    assert [item.media_id async for item in material.iter_items("image", offset=4)] == ["M4"]
    assert platform.body(route)["offset"] == 4


# ---- pictures for articles


async def test_upload_article_image(platform: Platform, material: MaterialAPI) -> None:
    """The picture goes up alone, and its address comes back; an iterator will do."""
    route = platform.answer("POST", IMAGE, {"url": URL, **OK})
    assert await material.upload_article_image(PNG) == URL
    assert platform.params(route) == {}
    assert parts(route)[0][1] == PNG
    told: list[tuple[int, int | None]] = []
    source = picture(500_000)
    await material.upload_article_image(
        source, filename="图.jpg", size=500_000, progress=lambda *now: told.append(now), timeout=20
    )
    assert told[-1] == (500_000, 500_000)
    assert 'filename="图.jpg"' in parts(route)[0][0]


@pytest.mark.parametrize(
    ("media", "errcode"),
    [(WEBP, 40005), (JPEG.ljust(10 * MIB + 1, b"\0"), 40009), (b"", 44001)],
)
async def test_article_images_are_checked(material: MaterialAPI, media: bytes, errcode: int) -> None:
    """Other formats and more than 10 MB are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await material.upload_article_image(media)
    assert (caught.value.errcode, caught.value.field) == (errcode, "media")


@pytest.mark.parametrize("media", [GIF, BMP, GIF.ljust(10 * MIB, b"\0")], ids=["gif", "bmp", "10 MB"])
async def test_article_images_beyond_the_documentation(platform: Platform, material: MaterialAPI, media: bytes) -> None:
    """What the platform was seen to take is sent, though the documentation promises less."""
    platform.answer("POST", IMAGE, {"url": URL})
    assert await material.upload_article_image(media) == URL


async def test_article_images_are_repeated(platform: Platform, material: MaterialAPI) -> None:
    """The call is repeated when its outcome is unknown."""
    route = platform.answer("POST", IMAGE, httpx.ReadTimeout("slow"), {"url": URL})
    assert await material.upload_article_image(JPEG.ljust(MIB - 1, b"\0")) == URL
    assert len(route.calls) == 2


async def test_an_article_image_without_address(platform: Platform, material: MaterialAPI) -> None:
    """An answer without an address is of no use."""
    platform.answer("POST", IMAGE, OK)
    with pytest.raises(ReplyError, match="url"):
        await material.upload_article_image(PNG)


# ---- articles from before the draft box


async def test_add_news(platform: Platform, material: MaterialAPI) -> None:
    """Articles go out as those of drafts do, one or several; the id comes back."""
    route = platform.answer("POST", ADD_NEWS, {"media_id": "N1"})
    article = Article("t", "<p>c</p>", "T1", author="a")
    assert await material.add_news(article) == "N1"
    assert await material.add_news([article, article]) == "N1"
    sent = {"title": "t", "author": "a", "content": "<p>c</p>", "thumb_media_id": "T1"}
    assert platform.bodies(route) == [{"articles": [sent]}, {"articles": [sent, sent]}]


async def test_add_news_is_not_repeated_in_doubt(platform: Platform, material: MaterialAPI) -> None:
    """A second attempt would keep the articles twice."""
    route = platform.answer("POST", ADD_NEWS, httpx.ReadTimeout("slow"))
    with pytest.raises(TransportError):
        await material.add_news(Article("t", "c", "T1"))
    assert len(route.calls) == 1


async def test_update_news(platform: Platform, material: MaterialAPI) -> None:
    """One article takes the place of another."""
    route = platform.answer("POST", UPDATE_NEWS, OK)
    await material.update_news("N1", index=1, article=Article("t", "c", "T1"))
    sent = {"title": "t", "content": "c", "thumb_media_id": "T1"}
    assert platform.body(route) == {"media_id": "N1", "index": 1, "articles": sent}


async def test_the_draft_box_took_their_place(platform: Platform, material: MaterialAPI) -> None:
    """Most accounts are refused."""
    platform.answer("POST", ADD_NEWS, {"errcode": 48001, "errmsg": "api unauthorized"})
    with pytest.raises(NotAuthorizedError):
        await material.add_news(Article("t", "c", "T1"))


async def test_old_articles_are_checked(material: MaterialAPI) -> None:
    """No article, too many, another kind, and a place before the first are refused before sending."""
    article = Article("t", "c", "T1")
    pictures: Any = PictureArticle("t", "c", ("M1",))
    with pytest.raises(ArgumentError) as caught:
        await material.add_news([])
    assert caught.value.errcode == 44003
    with pytest.raises(ArgumentError) as caught:
        await material.add_news([article] * 9)
    assert caught.value.errcode == 45008
    with pytest.raises(ArgumentError) as caught:
        await material.add_news([article, pictures])
    assert caught.value.field == "articles[1]"
    with pytest.raises(ArgumentError) as caught:
        await material.update_news("N1", index=0, article=pictures)
    assert caught.value.field == "article"
    with pytest.raises(ArgumentError) as caught:
        await material.update_news("N1", index=-1, article=article)
    assert (caught.value.errcode, caught.value.field) == (40114, "index")


@pytest.mark.parametrize("media_id", ["", " ", None, 5])
async def test_media_ids_are_texts(material: MaterialAPI, media_id: Any) -> None:
    """What cannot be a ``media_id`` is refused before sending."""
    for call in (material.get, material.delete):
        with pytest.raises(ArgumentError) as caught:
            await call(media_id)
        assert (caught.value.errcode, caught.value.field) == (40007, "media_id")
    with pytest.raises(ArgumentError):
        material.stream(media_id)
    with pytest.raises(ArgumentError):
        await material.update_news(media_id, index=0, article=Article("t", "c", "T1"))
