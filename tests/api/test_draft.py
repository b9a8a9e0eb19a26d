"""The draft box: both kinds of articles with their limits, and drafts from their making to their end."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import draft as module
from wxmp.api.articles import (
    Article,
    ArticleImage,
    ArticleType,
    CoverCrop,
    Crop,
    CropRatio,
    FooterProduct,
    ImageInfo,
    NewsContent,
    NewsItem,
    PictureArticle,
    ProductInfo,
)
from wxmp.api.draft import Draft, DraftAPI, DraftPage, ProductCard, ProductCardType
from wxmp.errors import (
    AccountError,
    APIError,
    ArgumentError,
    BadStatusError,
    ConfigError,
    NotAuthorizedError,
    NotFoundError,
    RateLimitError,
    ReplyError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import Platform
    from wxmp._caller import Caller
    from wxmp._wire import JsonObject
    from wxmp.api.articles import AnyArticle

ADD = "/cgi-bin/draft/add"
UPDATE = "/cgi-bin/draft/update"
GET = "/cgi-bin/draft/get"
DELETE = "/cgi-bin/draft/delete"
COUNT = "/cgi-bin/draft/count"
LIST = "/cgi-bin/draft/batchget"
SWITCH = "/cgi-bin/draft/switch"
CARD = "/channels/ec/service/product/getcardinfo"
OK = {"errcode": 0, "errmsg": "ok"}
ADDED = {"media_id": "DRAFT"}

NEWS = Article("标题", "<p>正文</p>", "COVER")
PICTURES = PictureArticle("图", "说明", ["P1", "P2"])


@pytest.fixture
def draft(caller: Caller) -> DraftAPI:
    """The family under test."""
    return DraftAPI(caller)


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


def entry(media_id: str) -> dict[str, Any]:
    """One draft of a list, as the platform sends it."""
    return {"media_id": media_id, "content": {"news_item": [{"title": media_id}]}, "update_time": 1620000000}


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {
        ("POST", ADD, False),
        ("POST", UPDATE, True),
        ("POST", GET, True),
        ("POST", DELETE, True),
        ("GET", COUNT, True),
        ("POST", LIST, True),
        ("POST", SWITCH, True),
        ("POST", CARD, True),
    }


# ---- articles on the way out


async def test_add_an_article_with_everything(platform: Platform, draft: DraftAPI) -> None:
    """Every documented field of a news article goes out under its own name; flags are 0 and 1."""
    route = platform.answer("POST", ADD, ADDED)
    article = Article(
        "标题",
        "<p>正文</p>",
        "COVER",
        author="作者",
        digest="摘要",
        content_source_url="https://a.example/",
        need_open_comment=True,
        only_fans_can_comment=False,
        pic_crop_235_1=Crop(0.1945, 0, 1, 0.5236),
        pic_crop_1_1="0.166454_0_0.833545_1",
        product_key="KEY",
        extra={"new": 1},
    )
    assert await draft.add([article]) == "DRAFT"
    assert platform.body(route) == {
        "articles": [
            {
                "title": "标题",
                "content": "<p>正文</p>",
                "thumb_media_id": "COVER",
                "author": "作者",
                "digest": "摘要",
                "content_source_url": "https://a.example/",
                "need_open_comment": 1,
                "only_fans_can_comment": 0,
                "pic_crop_235_1": "0.1945_0_1_0.5236",
                "pic_crop_1_1": "0.166454_0_0.833545_1",
                "product_info": {"footer_product_info": {"product_key": "KEY"}},
                "new": 1,
            }
        ]
    }
    assert platform.params(route) == {}


async def test_add_a_picture_article_with_everything(platform: Platform, draft: DraftAPI) -> None:
    """Every documented field of a picture article goes out; the corners of a crop are texts."""
    route = platform.answer("POST", ADD, ADDED)
    article = PictureArticle(
        "图",
        "说明",
        ["P1", ArticleImage("P2", extra={"new": 2})],
        author="作者",
        digest="摘要",
        content_source_url="https://a.example/",
        need_open_comment=True,
        only_fans_can_comment=True,
        crop_percent_list=[CoverCrop(CropRatio.SQUARE, 0.166454, 0, 0.833545, 1, extra={"new": 3}), CoverCrop("16_9")],
        product_key="KEY",
        extra={"new": 1},
    )
    await draft.add([article])
    assert platform.body(route)["articles"] == [
        {
            "article_type": "newspic",
            "title": "图",
            "content": "说明",
            "author": "作者",
            "digest": "摘要",
            "content_source_url": "https://a.example/",
            "need_open_comment": 1,
            "only_fans_can_comment": 1,
            "image_info": {"image_list": [{"image_media_id": "P1"}, {"image_media_id": "P2", "new": 2}]},
            "cover_info": {
                "crop_percent_list": [
                    {"ratio": "1_1", "x1": "0.166454", "y1": "0", "x2": "0.833545", "y2": "1", "new": 3},
                    {"ratio": "16_9", "x1": "0", "y1": "0", "x2": "1", "y2": "1"},
                ]
            },
            "product_info": {"footer_product_info": {"product_key": "KEY"}},
            "new": 1,
        }
    ]


@pytest.mark.parametrize(
    ("article", "wired"),
    [
        (NEWS, {"title": "标题", "content": "<p>正文</p>", "thumb_media_id": "COVER"}),
        (
            PICTURES,
            {
                "article_type": "newspic",
                "title": "图",
                "content": "说明",
                "image_info": {"image_list": [{"image_media_id": "P1"}, {"image_media_id": "P2"}]},
            },
        ),
    ],
    ids=["news", "newspic"],
)
async def test_add_a_plain_article(
    platform: Platform, draft: DraftAPI, article: AnyArticle, wired: dict[str, Any]
) -> None:
    """One article needs no list around it, and what was not said is not sent."""
    route = platform.answer("POST", ADD, ADDED)
    await draft.add(article)
    assert platform.body(route) == {"articles": [wired]}


async def test_add_sends_raw_utf8(platform: Platform, draft: DraftAPI) -> None:
    """Escapes would be shown to readers as they are."""
    route = platform.answer("POST", ADD, ADDED)
    await draft.add(NEWS)
    assert "标题".encode() in platform.raw(route)
    assert b"\\u" not in platform.raw(route)


async def test_add_several_articles(platform: Platform, draft: DraftAPI) -> None:
    """Eight articles of both kinds fit, any iterable serves, and their order is kept."""
    route = platform.answer("POST", ADD, ADDED)
    await draft.add(attrs.evolve(PICTURES if number % 2 else NEWS, title=str(number)) for number in range(8))
    assert [article["title"] for article in platform.body(route)["articles"]] == list("01234567")


async def test_one_picture_needs_no_list(platform: Platform, draft: DraftAPI) -> None:
    """A media_id alone is one picture, not one picture for each of its letters."""
    route = platform.answer("POST", ADD, ADDED)
    await draft.add(PictureArticle("图", "", "P1"))
    (sent,) = platform.body(route)["articles"]
    assert (sent["image_info"], sent["content"]) == ({"image_list": [{"image_media_id": "P1"}]}, "")


async def test_the_number_of_articles_is_for_the_platform(platform: Platform, draft: DraftAPI) -> None:
    """The documentation names no limit, so nine are sent; the platform's 45008 is an ArgumentError."""
    route = platform.answer("POST", ADD, ADDED, {"errcode": 45008, "errmsg": "article size out of limit"})
    await draft.add([NEWS] * 9)
    assert len(platform.body(route)["articles"]) == 9
    with pytest.raises(ArgumentError):
        await draft.add([NEWS] * 9)


async def test_news_has_crops_for_each_shape_as_well(platform: Platform, draft: DraftAPI) -> None:
    """The newer form of crops goes with both kinds of articles."""
    route = platform.answer("POST", ADD, ADDED)
    await draft.add(attrs.evolve(NEWS, crop_percent_list=[CoverCrop(CropRatio.BANNER, 0, 0.1, 1, 0.5)]))
    (sent,) = platform.body(route)["articles"]
    crops = [{"ratio": "2.35_1", "x1": "0", "y1": "0.1", "x2": "1", "y2": "0.5"}]
    assert sent["cover_info"] == {"crop_percent_list": crops}


@pytest.mark.parametrize("opening", ["<", "<!--", "<script", "<style ", "<a "])
async def test_openings_without_an_end_cost_no_time(platform: Platform, draft: DraftAPI, opening: str) -> None:
    """A megabyte of them is judged in one pass: a quadratic search would need hours."""
    platform.answer("POST", ADD, ADDED)
    await draft.add(NEWS)
    with suppress(ArgumentError):
        await draft.add(attrs.evolve(NEWS, content=opening * (1024 * 1024 // len(opening))))


LONG_MARKUP = f"<p style='{'x' * 30_000}'>正文</p>"


@pytest.mark.parametrize(
    "article",
    [
        pytest.param(attrs.evolve(NEWS, title="字" * 64), id="title"),
        pytest.param(attrs.evolve(NEWS, author="字" * 16, digest="字" * 128), id="author and digest"),
        pytest.param(attrs.evolve(NEWS, author="x" * 32, digest="x" * 256), id="letters are halves"),
        pytest.param(attrs.evolve(NEWS, content=f"<p>{'&nbsp;' * 19_999}</p>"), id="entities"),
        pytest.param(attrs.evolve(NEWS, content=f"<p>a</p>{' ' * 20_000}<p>b</p>"), id="indentation"),
        pytest.param(attrs.evolve(NEWS, content=f"<STYLE>{'p' * 20_000}</style >正文"), id="style"),
        pytest.param(attrs.evolve(NEWS, content=f"正文<!--{'<p>x</p>' * 5_000}-->"), id="comment"),
        pytest.param(attrs.evolve(NEWS, content=f"正文<script>{'x' * 20_000}"), id="script without an end"),
        pytest.param(attrs.evolve(NEWS, author="", digest="", content_source_url=""), id="empty texts"),
        pytest.param(attrs.evolve(NEWS, content="字" * 19_999), id="characters"),
        pytest.param(attrs.evolve(NEWS, content=LONG_MARKUP), id="markup"),
        pytest.param(attrs.evolve(NEWS, content=f"<p>{'<br>' * 262_142}ab</p>x"[: 1024 * 1024]), id="bytes"),
        pytest.param(attrs.evolve(NEWS, content_source_url="https://a.example/".ljust(1024, "x")), id="link"),
        pytest.param(attrs.evolve(PICTURES, image_list=["P"] * 20), id="pictures"),
        pytest.param(attrs.evolve(NEWS, pic_crop_1_1="0_0.123456_1_1"), id="crop"),
    ],
)
async def test_the_longest_articles_pass(platform: Platform, draft: DraftAPI, article: AnyArticle) -> None:
    """What just fits is sent."""
    route = platform.answer("POST", ADD, ADDED)
    await draft.add(article)
    assert route.call_count == 1


BAD_ARTICLES = [
    pytest.param(NEWS, {"title": ""}, 40035, "title", id="no title"),
    pytest.param(NEWS, {"title": None}, 40035, "title", id="title None"),
    pytest.param(NEWS, {"title": "字" * 65}, 45003, "title", id="65 characters"),
    pytest.param(NEWS, {"author": "字" * 17}, 45110, "author", id="author"),
    pytest.param(NEWS, {"author": "x" * 33}, 45110, "author", id="author in letters"),
    pytest.param(NEWS, {"author": 5}, 45110, "author", id="author 5"),
    pytest.param(NEWS, {"digest": "字" * 129}, 45004, "digest", id="digest"),
    pytest.param(NEWS, {"content": " "}, 44003, "content", id="no content"),
    pytest.param(NEWS, {"content": f"<p>{'字' * 20_000}</p>"}, 45002, "content", id="20000 characters"),
    pytest.param(NEWS, {"content": f"<b>1 < 2</b>{'字' * 20_000}"}, 45002, "content", id="a sign that is no tag"),
    pytest.param(NEWS, {"crop_percent_list": [CoverCrop("")]}, 40035, "crop_percent_list[0].ratio", id="no shape"),
    pytest.param(NEWS, {"content": f"<p>{'<br>' * 262_143}</p>"}, 45002, "content", id="over 1 MB"),
    pytest.param(
        NEWS, {"content_source_url": "https://a.example/".ljust(1025, "x")}, 45005, "content_source_url", id="link"
    ),
    pytest.param(NEWS, {"thumb_media_id": ""}, 40007, "thumb_media_id", id="no cover"),
    pytest.param(NEWS, {"product_key": ""}, 40035, "product_key", id="empty product"),
    pytest.param(NEWS, {"pic_crop_235_1": "0_0_1"}, 40035, "pic_crop_235_1", id="crop of three"),
    pytest.param(NEWS, {"pic_crop_235_1": "0_0_1_2"}, 40035, "pic_crop_235_1", id="crop beyond the picture"),
    pytest.param(NEWS, {"pic_crop_1_1": Crop(0, 0, 1, 1.5)}, 40035, "pic_crop_1_1", id="corner beyond the picture"),
    pytest.param(NEWS, {"pic_crop_1_1": Crop(0.5, 0, 0.5, 1)}, 40035, "pic_crop_1_1", id="empty crop"),
    pytest.param(NEWS, {"pic_crop_1_1": (0, 0, 1)}, 40035, "pic_crop_1_1", id="tuple of three"),
    pytest.param(NEWS, {"pic_crop_1_1": (0, 0, 1, "1")}, 40035, "pic_crop_1_1", id="a text in it"),
    pytest.param(NEWS, {"pic_crop_1_1": Crop(0, 0, 1, float("nan"))}, 40035, "pic_crop_1_1", id="no number"),
    pytest.param(NEWS, {"pic_crop_1_1": 1}, 40035, "pic_crop_1_1", id="no crop"),
    pytest.param(PICTURES, {"image_list": []}, 40007, "image_list", id="no pictures"),
    pytest.param(PICTURES, {"image_list": ["P"] * 21}, 40035, "image_list", id="21 pictures"),
    pytest.param(PICTURES, {"image_list": ["P", ""]}, 40007, "image_list[1]", id="empty picture"),
    pytest.param(PICTURES, {"image_list": [7]}, 40035, "image_list[0]", id="a number for a picture"),
    pytest.param(PICTURES, {"content": None}, 44003, "content", id="content None"),
    pytest.param(PICTURES, {"content": "字" * 20_000}, 45002, "content", id="long text"),
    pytest.param(
        PICTURES, {"crop_percent_list": [CoverCrop("")]}, 40035, "crop_percent_list[0].ratio", id="crop without ratio"
    ),
    pytest.param(
        PICTURES, {"crop_percent_list": [CoverCrop("1_1", 1, 0, 0, 1)]}, 40035, "crop_percent_list[0]", id="corners"
    ),
    pytest.param(
        PICTURES, {"crop_percent_list": [Crop(0, 0, 1, 1)]}, 40035, "crop_percent_list[0]", id="crop without a shape"
    ),
]


@pytest.mark.parametrize(("article", "change", "errcode", "field"), BAD_ARTICLES)
async def test_add_checks(
    draft: DraftAPI, article: AnyArticle, change: dict[str, Any], errcode: int, field: str
) -> None:
    """What the platform would certainly refuse is refused before sending, and the error names the place."""
    with pytest.raises(ArgumentError) as caught:
        await draft.add([NEWS, attrs.evolve(article, **change)])
    assert (caught.value.errcode, caught.value.field) == (errcode, f"articles[1].{field}")
    assert caught.value.endpoint == f"POST {ADD}"


@pytest.mark.parametrize(
    ("articles", "errcode", "field"),
    [
        pytest.param([], 44003, "articles", id="none"),
        pytest.param([{"title": "t"}], 40035, "articles[0]", id="a dict"),
    ],
)
async def test_add_checks_the_list(draft: DraftAPI, articles: Any, errcode: int, field: str) -> None:
    """Articles, and nothing else."""
    with pytest.raises(ArgumentError) as caught:
        await draft.add(articles)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (40007, NotFoundError),
        (45166, ArgumentError),
        (41039, ArgumentError),
        (53405, ArgumentError),
        (53404, AccountError),
        (53406, AccountError),
        (88000, NotAuthorizedError),
        (45009, RateLimitError),
    ],
)
async def test_add_refused(platform: Platform, draft: DraftAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal is an error of its own class, and is not repeated."""
    route = platform.answer("POST", ADD, {"errcode": errcode, "errmsg": "refused"})
    with pytest.raises(error) as caught:
        await draft.add(NEWS)
    assert caught.value.errcode == errcode
    assert route.call_count == 1


async def test_add_is_not_repeated(platform: Platform, draft: DraftAPI) -> None:
    """A repeat could make a second draft."""
    route = platform.answer("POST", ADD, broken())
    with pytest.raises(BadStatusError):
        await draft.add(NEWS)
    assert route.call_count == 1


async def test_add_without_id(platform: Platform, draft: DraftAPI) -> None:
    """A success without an id is a ReplyError."""
    platform.answer("POST", ADD, OK)
    with pytest.raises(ReplyError, match="media_id"):
        await draft.add(NEWS)


async def test_update_sends_one_article(platform: Platform, draft: DraftAPI) -> None:
    """The place and one object go out, and an outcome that is unknown is repeated: all is replaced."""
    route = platform.answer("POST", UPDATE, broken(), OK)
    await draft.update("DRAFT", index=1, article=NEWS)
    assert route.call_count == 2
    assert platform.body(route) == {
        "media_id": "DRAFT",
        "index": 1,
        "articles": {"title": "标题", "content": "<p>正文</p>", "thumb_media_id": "COVER"},
    }


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        ({"media_id": ""}, 40007, "media_id"),
        ({"index": -1}, 40114, "index"),
        ({"index": None}, 40114, "index"),
        ({"index": True}, 40114, "index"),
        ({"article": [NEWS]}, 40035, "article"),
        ({"article": attrs.evolve(NEWS, title="")}, 40035, "article.title"),
    ],
)
async def test_update_checks(draft: DraftAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """A draft, a place from 0, and one article that is checked like those of a new draft."""
    with pytest.raises(ArgumentError) as caught:
        await draft.update(**{"media_id": "DRAFT", "index": 0, "article": NEWS, **change})
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (errcode, field, f"POST {UPDATE}")


@pytest.mark.parametrize(("errcode", "error"), [(40007, NotFoundError), (40114, ArgumentError)])
async def test_update_refused(platform: Platform, draft: DraftAPI, errcode: int, error: type[APIError]) -> None:
    """An unknown draft and an unknown place are told apart."""
    platform.answer("POST", UPDATE, {"errcode": errcode, "errmsg": "refused"})
    with pytest.raises(error):
        await draft.update("DRAFT", index=7, article=NEWS)


# ---- articles on the way back


async def test_get_reads_everything(platform: Platform, draft: DraftAPI) -> None:
    """Every documented field has an attribute; what is new is kept on its level."""
    route = platform.answer(
        "POST",
        GET,
        {
            "news_item": [
                {
                    "article_type": "newspic",
                    "title": "标题",
                    "author": "作者",
                    "digest": "摘要",
                    "content": "正文",
                    "content_source_url": "https://a.example/",
                    "thumb_media_id": "COVER",
                    "show_cover_pic": 1,
                    "need_open_comment": "1",
                    "only_fans_can_comment": 0,
                    "image_info": {"image_list": [{"image_media_id": "P1", "new": 4}], "new": 3},
                    "cover_info": {"crop_percent_list": []},
                    "product_info": {"footer_product_info": {"product_key": "KEY"}},
                    "pic_crop_235_1": "0_0_1_1",
                    "pic_crop_1_1": "0_0_1_0.5",
                    "url": "http://mp.weixin.qq.com/s?tempkey=1",
                    "thumb_url": "http://mmbiz.qpic.cn/1",
                    "new": 2,
                }
            ],
            "create_time": 1620000000,
            "update_time": "1620000060",
            "new": 1,
        },
    )
    item = NewsItem(
        title="标题",
        author="作者",
        digest="摘要",
        content="正文",
        content_source_url="https://a.example/",
        thumb_media_id="COVER",
        show_cover_pic=True,
        need_open_comment=True,
        only_fans_can_comment=False,
        url="http://mp.weixin.qq.com/s?tempkey=1",
        thumb_url="http://mmbiz.qpic.cn/1",
        article_type=ArticleType.NEWSPIC,
        image_info=ImageInfo((ArticleImage("P1", extra={"new": 4}),), extra={"new": 3}),
        cover_info={"crop_percent_list": []},
        product_info=ProductInfo(FooterProduct("KEY")),
        pic_crop_235_1="0_0_1_1",
        pic_crop_1_1="0_0_1_0.5",
        extra={"new": 2},
    )
    made, changed = datetime(2021, 5, 3, 0, 0, tzinfo=UTC), datetime(2021, 5, 3, 0, 1, tzinfo=UTC)
    assert await draft.get("DRAFT") == NewsContent((item,), made, changed, extra={"new": 1})
    assert platform.body(route) == {"media_id": "DRAFT"}


async def test_get_reads_little(platform: Platform, draft: DraftAPI) -> None:
    """An article with nothing but a title, and a kind that nobody knows yet, can be read."""
    platform.answer("POST", GET, {"news_item": [{"title": "t"}, {"article_type": "poem", "is_deleted": False}]})
    first, second = (await draft.get("DRAFT")).news_item
    assert first == NewsItem("t")
    assert (second.article_type, second.content, second.image_info) == ("poem", None, None)


async def test_get_without_articles(platform: Platform, draft: DraftAPI) -> None:
    """A missing list is not an empty draft."""
    platform.answer("POST", GET, OK)
    with pytest.raises(ReplyError, match="news_item"):
        await draft.get("DRAFT")


async def test_get_of_an_unknown_draft(platform: Platform, draft: DraftAPI) -> None:
    """40007 is a NotFoundError."""
    platform.answer("POST", GET, {"errcode": 40007, "errmsg": "invalid media_id"})
    with pytest.raises(NotFoundError):
        await draft.get("DRAFT")


@pytest.mark.parametrize(
    "article",
    [
        pytest.param(attrs.evolve(NEWS, need_open_comment=False, only_fans_can_comment=False), id="plain"),
        pytest.param(
            Article(
                "标题",
                "正文",
                "COVER",
                author="作者",
                digest="摘要",
                content_source_url="https://a.example/",
                need_open_comment=True,
                only_fans_can_comment=True,
                pic_crop_235_1="0_0_1_1",
                pic_crop_1_1="0_0_1_0.5",
                product_key="KEY",
                extra={"new": 1},
            ),
            id="news",
        ),
        pytest.param(
            PictureArticle(
                "图",
                "说明",
                ["P1", "P2"],
                author="作者",
                digest="摘要",
                content_source_url="https://a.example/",
                need_open_comment=True,
                only_fans_can_comment=False,
                crop_percent_list=[CoverCrop("1_1", 0.25, 0, 0.75, 1)],
                product_key="KEY",
                extra={"new": 1},
            ),
            id="newspic",
        ),
    ],
)
async def test_an_article_survives_the_way_back(platform: Platform, draft: DraftAPI, article: AnyArticle) -> None:
    """What was written, read and written again is sent as it was sent at first."""
    first = platform.answer("POST", ADD, ADDED)
    await draft.add(article)
    (sent,) = platform.body(first)["articles"]
    platform.answer("POST", GET, {"news_item": [{**sent, "url": "http://mp.weixin.qq.com/s", "show_cover_pic": 0}]})
    (item,) = (await draft.get("DRAFT")).news_item
    again = platform.answer("POST", UPDATE, OK)
    await draft.update("DRAFT", index=0, article=item.as_article())
    assert platform.body(again)["articles"] == sent


def test_pictures_are_told_by_their_list_too() -> None:
    """Where the answer does not name the kind, an article with pictures is a picture article."""
    article = NewsItem("图", content="", image_info=ImageInfo((ArticleImage("P1"),))).as_article()
    assert article == PictureArticle("图", "", ["P1"], need_open_comment=False, only_fans_can_comment=False)


def test_an_empty_list_of_pictures_makes_no_picture_article() -> None:
    """A platform that sends every field sends this one with news articles, too."""
    article = NewsItem("标题", content="正文", thumb_media_id="COVER", image_info=ImageInfo()).as_article()
    assert article == Article("标题", "正文", "COVER", need_open_comment=False, only_fans_can_comment=False)


async def test_own_crops_replace_those_that_were_read(platform: Platform, draft: DraftAPI) -> None:
    """A crop that the caller sets wins over the one the platform gave."""
    old: JsonObject = {"crop_percent_list": [{"ratio": "1_1", "x1": "0", "y1": "0", "x2": "1", "y2": "1"}]}
    item = NewsItem(
        "图", content="", article_type="newspic", image_info=ImageInfo((ArticleImage("P1"),)), cover_info=old
    )
    article = item.as_article()
    assert isinstance(article, PictureArticle)
    route = platform.answer("POST", ADD, ADDED)
    await draft.add(attrs.evolve(article, crop_percent_list=[CoverCrop("16_9")]))
    (crop,) = platform.body(route)["articles"][0]["cover_info"]["crop_percent_list"]
    assert crop["ratio"] == "16_9"


def test_an_article_without_content_is_not_written_back() -> None:
    """A list without contents must not empty the draft."""
    with pytest.raises(ConfigError) as caught:
        NewsItem("t").as_article()
    assert caught.value.field == "content"


def test_an_article_of_an_unknown_kind_is_not_written_back() -> None:
    """A kind that this version does not know would come out as another one."""
    with pytest.raises(ConfigError, match="poem"):
        NewsItem("t", content="c", article_type="poem").as_article()


# ---- drafts


async def test_delete_names_the_draft(platform: Platform, draft: DraftAPI) -> None:
    """The id goes out in the body."""
    route = platform.answer("POST", DELETE, OK)
    await draft.delete("DRAFT")
    assert platform.body(route) == {"media_id": "DRAFT"}


async def test_delete_after_a_broken_attempt(platform: Platform, draft: DraftAPI) -> None:
    """40007 on a repeat means that the first attempt deleted the draft."""
    route = platform.answer("POST", DELETE, broken(), {"errcode": 40007, "errmsg": "invalid media_id"})
    await draft.delete("DRAFT")
    assert route.call_count == 2


async def test_delete_of_an_unknown_draft(platform: Platform, draft: DraftAPI) -> None:
    """40007 at the first attempt is a NotFoundError."""
    platform.answer("POST", DELETE, {"errcode": 40007, "errmsg": "invalid media_id"})
    with pytest.raises(NotFoundError):
        await draft.delete("DRAFT")


@pytest.mark.parametrize(("call", "path"), [("get", GET), ("delete", DELETE)])
async def test_a_draft_must_be_named(draft: DraftAPI, call: str, path: str) -> None:
    """An empty id is refused before sending (40007)."""
    method: Callable[[str], Awaitable[object]] = getattr(draft, call)
    with pytest.raises(ArgumentError) as caught:
        await method("")
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (40007, "media_id", f"POST {path}")


@pytest.mark.parametrize("total", [3, "3"])
async def test_count(platform: Platform, draft: DraftAPI, total: Any) -> None:
    """The number comes as one, whatever the wire says."""
    route = platform.answer("GET", COUNT, {"total_count": total})
    assert await draft.count() == 3
    assert platform.params(route) == {}


async def test_count_without_a_number(platform: Platform, draft: DraftAPI) -> None:
    """A missing number is not zero."""
    platform.answer("GET", COUNT, OK)
    with pytest.raises(ReplyError, match="total_count"):
        await draft.count()


async def test_list_reads_a_page(platform: Platform, draft: DraftAPI) -> None:
    """A page has its numbers and its drafts, and asks for 20 with their contents unless told otherwise."""
    answer = {"total_count": "21", "item_count": 1, "item": [{**entry("D1"), "new": 2}], "new": 1}
    route = platform.answer("POST", LIST, answer)
    changed = datetime(2021, 5, 3, 0, 0, tzinfo=UTC)
    first = Draft("D1", NewsContent((NewsItem("D1"),)), changed, extra={"new": 2})
    assert await draft.list() == DraftPage(21, 1, (first,), extra={"new": 1})
    assert platform.body(route) == {"offset": 0, "count": 20, "no_content": 0}


async def test_list_sends_what_was_asked_for(platform: Platform, draft: DraftAPI) -> None:
    """Start, size and the contents are the caller's."""
    route = platform.answer("POST", LIST, {"total_count": 0, "item_count": 0, "item": []})
    assert (await draft.list(offset=40, count=1, no_content=True)).drafts == ()
    assert platform.body(route) == {"offset": 40, "count": 1, "no_content": 1}


@pytest.mark.parametrize(
    ("change", "field"), [({"count": 0}, "count"), ({"count": 21}, "count"), ({"offset": -1}, "offset")]
)
async def test_list_checks(draft: DraftAPI, change: dict[str, Any], field: str) -> None:
    """Pages of 1 to 20, from 0 (40097)."""
    with pytest.raises(ArgumentError) as caught:
        await draft.list(**change)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (40097, field, f"POST {LIST}")


async def test_iter_drafts_walks_all_pages(platform: Platform, draft: DraftAPI) -> None:
    """Each page begins behind the one before, until all have come."""
    pages = [["D1", "D2"], ["D3", "D4"], ["D5"]]
    route = platform.answer(
        "POST", LIST, *[{"total_count": 5, "item_count": len(page), "item": [entry(i) for i in page]} for page in pages]
    )
    found = [each.media_id async for each in draft.iter_drafts(no_content=True)]
    assert found == ["D1", "D2", "D3", "D4", "D5"]
    assert [body["offset"] for body in platform.bodies(route)] == [0, 2, 4]
    assert {body["no_content"] for body in platform.bodies(route)} == {1}


async def test_iter_drafts_from_the_middle(platform: Platform, draft: DraftAPI) -> None:
    """The walk begins where the caller says."""
    route = platform.answer("POST", LIST, {"total_count": 4, "item_count": 1, "item": [entry("D4")]})
    assert [each.media_id async for each in draft.iter_drafts(offset=3)] == ["D4"]
    assert platform.body(route) == {"offset": 3, "count": 20, "no_content": 0}


async def test_iter_drafts_of_nothing(platform: Platform, draft: DraftAPI) -> None:
    """An empty box: one request, nothing yielded."""
    route = platform.answer("POST", LIST, {"total_count": 0, "item_count": 0, "item": []})
    assert [each async for each in draft.iter_drafts()] == []
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("arguments", "params"), [({}, {}), ({"check_only": True}, {"checkonly": "1"}), ({"check_only": False}, {})]
)
async def test_switch(platform: Platform, draft: DraftAPI, arguments: dict[str, Any], params: dict[str, str]) -> None:
    """Asking is a parameter of the query; without it the box is turned on."""
    route = platform.answer("POST", SWITCH, {**OK, "is_open": 1})
    assert await draft.switch(**arguments) is True
    assert platform.params(route) == params


async def test_switch_that_is_off(platform: Platform, draft: DraftAPI) -> None:
    """Zero is no."""
    platform.answer("POST", SWITCH, {**OK, "is_open": 0})
    assert await draft.switch(check_only=True) is False


async def test_switch_without_an_answer(platform: Platform, draft: DraftAPI) -> None:
    """An "ok" is all there is to say when the box was turned on; who asked is not answered by it."""
    platform.answer("POST", SWITCH, OK, OK, {})
    assert await draft.switch() is True
    with pytest.raises(ReplyError, match="is_open"):
        await draft.switch(check_only=True)
    with pytest.raises(ReplyError, match="is_open"):
        await draft.switch()


# ---- product cards


async def test_get_product_card(platform: Platform, draft: DraftAPI) -> None:
    """The product, the kind of article and the kind of card go out; key and markup come back."""
    route = platform.answer("POST", CARD, {**OK, "product_key": "KEY", "DOM": "<mp-common-product/>", "new": 1})
    card = await draft.get_product_card(10_000_123, article_type=ArticleType.NEWS, card_type=ProductCardType.LARGE)
    assert card == ProductCard("KEY", "<mp-common-product/>", extra={"new": 1})
    assert platform.body(route) == {"product_id": "10000123", "article_type": "news", "card_type": 0}


@pytest.mark.parametrize(
    ("article_type", "cards"), [("news", {0, 1, 2}), ("newspic", {1, 2, 3}), (ArticleType.NEWSPIC, {1, 2, 3})]
)
async def test_each_kind_of_article_has_its_cards(
    platform: Platform, draft: DraftAPI, article_type: str, cards: set[int]
) -> None:
    """Large cards are for articles, strips for picture articles; the others are refused before sending (10170003)."""
    platform.answer("POST", CARD, OK)
    for card_type in cards:
        await draft.get_product_card("1", article_type=article_type, card_type=card_type)
    for card_type in {-1, 0, 1, 2, 3, 4} - cards:
        with pytest.raises(ArgumentError) as caught:
            await draft.get_product_card("1", article_type=article_type, card_type=card_type)
        assert (caught.value.errcode, caught.value.field) == (10170003, "card_type")


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [({"product_id": ""}, 10170001, "product_id"), ({"article_type": "poem"}, 10170002, "article_type")],
)
async def test_get_product_card_checks(draft: DraftAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """No product, and a kind of article that is none, are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await draft.get_product_card(**{"product_id": "1", "article_type": "news", "card_type": 1, **change})
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (errcode, field, f"POST {CARD}")


async def test_get_product_card_refused(platform: Platform, draft: DraftAPI) -> None:
    """An unknown product is refused by the platform."""
    platform.answer("POST", CARD, {"errcode": 10170001, "errmsg": "invalid product_id"})
    with pytest.raises(ArgumentError, match=re.escape("10170001")):
        await draft.get_product_card("404", article_type="news", card_type=1)
