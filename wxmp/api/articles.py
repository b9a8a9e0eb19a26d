"""Articles (图文消息): as they are written into drafts, and as drafts, publications and materials give them back."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from html import unescape
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from wxmp._wire import JsonObject, check_record, encode
from wxmp.api._checks import check_list, check_text, refusal
from wxmp.errors import ArgumentError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wxmp._caller import Endpoint

__all__ = [
    "AnyArticle",
    "Article",
    "ArticleImage",
    "ArticleType",
    "CoverCrop",
    "Crop",
    "CropRatio",
    "FooterProduct",
    "ImageInfo",
    "NewsContent",
    "NewsItem",
    "PictureArticle",
    "ProductInfo",
    "article_list",
    "article_payload",
]

#: Most articles of one material. For drafts the documentation names no number.
MOST_ARTICLES: Final = 8
#: Most pictures of a picture article.
MOST_PICTURES: Final = 20
#: Documented are 32 since 2025-12, 64 before. Whether every account and kind of article has the new limit, and whether
#: it counts letters as halves, is not said; what is longer than this fits none of the readings.
TITLE_CHARS: Final = 64
AUTHOR_CHARS: Final = 16
DIGEST_CHARS: Final = 128
#: A content has fewer characters than this. Whether markup counts is not said, so only what a reader sees is counted.
CONTENT_CHARS: Final = 20_000
CONTENT_BYTES: Final = 1024 * 1024
SOURCE_URL_BYTES: Final = 1024
#: Digits behind the point of a crop.
CROP_DIGITS: Final = 6

MEDIA_REFUSED: Final = 40007
PARAMETER_REFUSED: Final = 40035
NO_ARTICLES: Final = 44003
CONTENT_TOO_LONG: Final = 45002
TITLE_TOO_LONG: Final = 45003
DIGEST_TOO_LONG: Final = 45004
URL_TOO_LONG: Final = 45005
TOO_MANY_ARTICLES: Final = 45008
AUTHOR_TOO_LONG: Final = 45110

# What readers never see: comments, scripts, styles, tags. Each is looked for so that a megabyte of openings without an
# end takes no longer than any other megabyte.
_HIDDEN: Final = re.compile(r"<(!--|script\b|style\b)", re.IGNORECASE)
_HIDDEN_END: Final = {
    "!--": re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
_TAG: Final = re.compile(r"<[^<>]*>")
_BLANKS: Final = re.compile(r"[ \t\r\n\f]+")
_CROP: Final = re.compile(r"[01](\.[0-9]{1,6})?(_[01](\.[0-9]{1,6})?){3}")


class ArticleType(StrEnum):
    """The kind of an article (文章类型)."""

    #: Text with pictures in it (图文消息).
    NEWS = "news"
    #: Pictures with a text below (图片消息).
    NEWSPIC = "newspic"


class CropRatio(StrEnum):
    """The shape of a cover (封面裁剪比例), width to height."""

    SQUARE = "1_1"
    WIDE = "16_9"
    #: The large cover of the first article.
    BANNER = "2.35_1"


class Crop(NamedTuple):
    """The part of a cover picture that is shown: two corners in shares of width and height, 0 to 1."""

    x1: float
    y1: float
    x2: float
    y2: float


@attrs.frozen
class CoverCrop:
    """The part of the first picture that a picture article shows as its cover of one shape (封面裁剪信息)."""

    #: A :class:`CropRatio`.
    ratio: CropRatio | str
    #: The upper left corner, in shares of width and height, 0 to 1.
    x1: float = 0.0
    y1: float = 0.0
    #: The lower right corner.
    x2: float = 1.0
    y2: float = 1.0
    #: Fields this version does not know; they are sent.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ArticleImage:
    """A picture of a picture article (图片)."""

    #: Permanent material.
    image_media_id: str
    #: Fields this version does not know; they are sent.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


def _images(value: Iterable[ArticleImage | str]) -> tuple[ArticleImage, ...]:
    # One text is one picture; its letters are none.
    entries = (value,) if isinstance(value, str) else value
    return tuple([ArticleImage(entry) if isinstance(entry, str) else entry for entry in entries])


def _crops(value: Iterable[CoverCrop]) -> tuple[CoverCrop, ...]:
    return tuple(value)


@attrs.frozen
class Article:
    """An article as it is written: text with pictures in it (图文消息, ``news``)."""

    #: At most 32 characters. It was 64 until 2025-12; only what is longer than that is refused before sending.
    title: str
    #: HTML of fewer than 20000 characters and at most 1 MB. Scripts are taken out, and so are pictures that
    #: ``client.material.upload_article_image`` did not upload.
    content: str
    #: The cover: permanent material.
    thumb_media_id: str
    #: At most 16 characters.
    author: str | None = attrs.field(default=None, kw_only=True)
    #: At most 128 characters; shown only where an article stands alone, and made from the content if absent.
    digest: str | None = attrs.field(default=None, kw_only=True)
    #: Where "read more" leads (阅读原文); at most 1024 bytes.
    content_source_url: str | None = attrs.field(default=None, kw_only=True)
    #: Whether readers may comment; no if absent.
    need_open_comment: bool | None = attrs.field(default=None, kw_only=True)
    #: Whether only followers may comment; everybody if absent.
    only_fans_can_comment: bool | None = attrs.field(default=None, kw_only=True)
    #: The part of the cover for the shape 2.35:1, as four numbers or as the platform's text ``X1_Y1_X2_Y2``.
    pic_crop_235_1: Crop | str | None = attrs.field(default=None, kw_only=True)
    #: The part of the cover for the shape 1:1.
    pic_crop_1_1: Crop | str | None = attrs.field(default=None, kw_only=True)
    #: What the cover shows, for each shape: the newer form of the two above, for 2.35:1 and 1:1.
    crop_percent_list: tuple[CoverCrop, ...] = attrs.field(default=(), converter=_crops, kw_only=True)
    #: A product at the end (文末商品): the key that ``client.draft.get_product_card`` gives.
    product_key: str | None = attrs.field(default=None, kw_only=True)
    #: Fields this version does not know; they are sent, except where an attribute above has the same name.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PictureArticle:
    """A picture article as it is written: pictures with a text below (图片消息, ``newspic``)."""

    #: At most 32 characters. It was 64 until 2025-12; only what is longer than that is refused before sending.
    title: str
    #: Plain text with a few tags; fewer than 20000 characters, at most 50 products.
    content: str
    #: 1 to 20 pictures of permanent material, as records or plain ``media_id``; the first one is the cover.
    image_list: tuple[ArticleImage, ...] = attrs.field(converter=_images)
    #: At most 16 characters.
    author: str | None = attrs.field(default=None, kw_only=True)
    #: At most 128 characters.
    digest: str | None = attrs.field(default=None, kw_only=True)
    #: Where "read more" leads (阅读原文); at most 1024 bytes.
    content_source_url: str | None = attrs.field(default=None, kw_only=True)
    #: Whether readers may comment; no if absent.
    need_open_comment: bool | None = attrs.field(default=None, kw_only=True)
    #: Whether only followers may comment; everybody if absent.
    only_fans_can_comment: bool | None = attrs.field(default=None, kw_only=True)
    #: What the cover shows, for each shape.
    crop_percent_list: tuple[CoverCrop, ...] = attrs.field(default=(), converter=_crops, kw_only=True)
    #: A product at the end (文末商品): the key that ``client.draft.get_product_card`` gives.
    product_key: str | None = attrs.field(default=None, kw_only=True)
    #: Fields this version does not know; they are sent.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


#: What a draft is made of.
AnyArticle = Article | PictureArticle


@attrs.frozen
class ImageInfo:
    """The pictures of a picture article, as the platform wraps them (图片消息里的图片)."""

    image_list: tuple[ArticleImage, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class FooterProduct:
    """The product at the end of an article (文末商品)."""

    product_key: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ProductInfo:
    """The products of an article (商品信息)."""

    footer_product_info: FooterProduct | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class NewsItem:
    """An article as it is read back (图文消息), from a draft, a publication or the material library."""

    title: str = ""
    author: str = ""
    digest: str = ""
    #: HTML; ``None`` in a list that was asked for without contents.
    content: str | None = None
    #: Where "read more" leads (阅读原文).
    content_source_url: str = ""
    #: The cover.
    thumb_media_id: str = ""
    #: Whether the cover is shown in the text.
    show_cover_pic: bool = False
    need_open_comment: bool = False
    only_fans_can_comment: bool = False
    #: The page: of a draft a preview that ends after a while, of a publication the article itself.
    url: str = ""
    #: Address of the cover.
    thumb_url: str = ""
    #: Whether it was deleted since; publications only.
    is_deleted: bool = False
    #: Empty where the answer does not say: publications and materials.
    article_type: ArticleType | str = ""
    #: The pictures of a picture article.
    image_info: ImageInfo | None = None
    #: What the covers show, as the platform gives it.
    cover_info: JsonObject | None = None
    product_info: ProductInfo | None = None
    #: ``X1_Y1_X2_Y2``.
    pic_crop_235_1: str = ""
    #: ``X1_Y1_X2_Y2``.
    pic_crop_1_1: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    def as_article(self) -> AnyArticle:
        """Return the article in the form that ``client.draft.update`` and ``client.draft.add`` take.

        An update replaces all of an article, so this is where a change begins:
        ``attrs.evolve(item.as_article(), title="…")``. Fields that the platform sets (links, ``show_cover_pic``) stay
        behind.

        Raises:
            ConfigError: The content was not asked for (``no_content``), or the kind is not known to this version.
        """
        if self.content is None:
            raise ConfigError("the content was left out of the list; read the draft with get()", field="content")
        extra = dict(self.extra)
        if self.cover_info:
            extra["cover_info"] = self.cover_info
        footer = None if self.product_info is None else self.product_info.footer_product_info
        product_key = None if footer is None else footer.product_key or None
        images = () if self.image_info is None else self.image_info.image_list
        if self.article_type == ArticleType.NEWSPIC or (not self.article_type and images):
            return PictureArticle(
                self.title,
                self.content,
                images,
                author=self.author or None,
                digest=self.digest or None,
                content_source_url=self.content_source_url or None,
                need_open_comment=self.need_open_comment,
                only_fans_can_comment=self.only_fans_can_comment,
                product_key=product_key,
                extra=extra,
            )
        if self.article_type not in ("", ArticleType.NEWS):
            problem = f"the kind {str(self.article_type)!r} has no form that this version could write"
            raise ConfigError(problem, field="article_type")
        return Article(
            self.title,
            self.content,
            self.thumb_media_id,
            author=self.author or None,
            digest=self.digest or None,
            content_source_url=self.content_source_url or None,
            need_open_comment=self.need_open_comment,
            only_fans_can_comment=self.only_fans_can_comment,
            pic_crop_235_1=self.pic_crop_235_1 or None,
            pic_crop_1_1=self.pic_crop_1_1 or None,
            product_key=product_key,
            extra=extra,
        )


@attrs.frozen
class NewsContent:
    """The articles behind one id, in their order (图文内容)."""

    news_item: tuple[NewsItem, ...]
    #: When it was made; not in every answer.
    create_time: datetime | None = None
    #: When it was changed last; not in every answer.
    update_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


def article_list(
    endpoint: Endpoint, field: str, articles: AnyArticle | Iterable[AnyArticle], *, most: int | None = MOST_ARTICLES
) -> list[JsonObject]:
    """Check the articles of one draft or material and return them in wire form.

    Args:
        endpoint: Where they would be sent.
        field: The name of the argument, for the error.
        articles: One article, or several.
        most: How many there may be; ``None`` leaves it to the platform.

    Raises:
        ArgumentError: There are none (44003) or too many (45008), or one of them is not acceptable.
    """
    single = isinstance(articles, Article | PictureArticle)
    found = (articles,) if single else check_list(endpoint, field, articles, errcode=NO_ARTICLES)
    if not found:
        raise refusal(endpoint, field, NO_ARTICLES, "is empty; a draft has at least one article")
    if most is not None and len(found) > most:
        problem = f"has {len(found)} articles; at most {most} fit"
        raise refusal(endpoint, field, TOO_MANY_ARTICLES, problem)
    return [article_payload(endpoint, f"{field}[{index}]", article) for index, article in enumerate(found)]


def article_payload(endpoint: Endpoint, field: str, article: object) -> JsonObject:
    """Check one article and return it in wire form.

    Args:
        endpoint: Where it would be sent.
        field: The path of the article, for the error.
        article: What the user gave.

    Raises:
        ArgumentError: A title that is missing (40035) or too long (45003), a content that is missing (44003) or too
            long (45002), an author (45110), digest (45004) or link (45005) that is too long, no cover or picture
            (40007), too many pictures or a crop that cannot be (40035).
    """
    if not isinstance(article, Article | PictureArticle):
        raise _wrong_type(endpoint, field, "an Article or a PictureArticle", article)
    payload: JsonObject = {}
    if isinstance(article, PictureArticle):
        payload["article_type"] = ArticleType.NEWSPIC.value
    title = check_text(
        endpoint,
        f"{field}.title",
        article.title,
        errcode=PARAMETER_REFUSED,
        max_chars=TITLE_CHARS,
        too_long=TITLE_TOO_LONG,
    )
    payload["title"] = title
    for name, chars, errcode in (("author", AUTHOR_CHARS, AUTHOR_TOO_LONG), ("digest", DIGEST_CHARS, DIGEST_TOO_LONG)):
        value = getattr(article, name)
        if value is not None:
            payload[name] = _optional_text(endpoint, f"{field}.{name}", value, errcode=errcode, max_wide=chars)
    payload["content"] = _checked_content(endpoint, f"{field}.content", article)
    url = article.content_source_url
    if url is not None:
        path = f"{field}.content_source_url"
        payload["content_source_url"] = _optional_text(
            endpoint, path, url, errcode=URL_TOO_LONG, max_bytes=SOURCE_URL_BYTES
        )
    if article.need_open_comment is not None:
        payload["need_open_comment"] = 1 if article.need_open_comment else 0
    if article.only_fans_can_comment is not None:
        payload["only_fans_can_comment"] = 1 if article.only_fans_can_comment else 0
    if isinstance(article, Article):
        payload |= _news_part(endpoint, field, article)
    else:
        payload |= _picture_part(endpoint, field, article)
    if article.crop_percent_list:
        payload["cover_info"] = _cover_info(endpoint, field, article.crop_percent_list)
    if article.product_key is not None:
        key = check_text(endpoint, f"{field}.product_key", article.product_key, errcode=PARAMETER_REFUSED)
        payload["product_info"] = {"footer_product_info": {"product_key": key}}
    check_record(article)
    # What was set by name wins: an article that was read back carries its old crops in ``extra``.
    return {**article.extra, **payload}


def _wrong_type(endpoint: Endpoint, field: str, wanted: str, found: object) -> ArgumentError:
    return refusal(endpoint, field, PARAMETER_REFUSED, f"must be {wanted}, not {type(found).__name__}")


def _news_part(endpoint: Endpoint, field: str, article: Article) -> JsonObject:
    cover = check_text(endpoint, f"{field}.thumb_media_id", article.thumb_media_id, errcode=MEDIA_REFUSED)
    payload: JsonObject = {"thumb_media_id": cover}
    for name in ("pic_crop_235_1", "pic_crop_1_1"):
        crop = getattr(article, name)
        if crop is not None:
            payload[name] = _crop_text(endpoint, f"{field}.{name}", crop)
    return payload


def _picture_part(endpoint: Endpoint, field: str, article: PictureArticle) -> JsonObject:
    images = article.image_list
    if not images:
        problem = "is empty; a picture article has at least one picture"
        raise refusal(endpoint, f"{field}.image_list", MEDIA_REFUSED, problem)
    if len(images) > MOST_PICTURES:
        problem = f"has {len(images)} pictures; a picture article has 1 to {MOST_PICTURES}"
        raise refusal(endpoint, f"{field}.image_list", PARAMETER_REFUSED, problem)
    for index, image in enumerate(images):
        path = f"{field}.image_list[{index}]"
        if not isinstance(image, ArticleImage):
            raise _wrong_type(endpoint, path, "a media_id or an ArticleImage", image)
        check_text(endpoint, path, image.image_media_id, errcode=MEDIA_REFUSED)
    return {"image_info": {"image_list": [encode(image) for image in images]}}


def _cover_info(endpoint: Endpoint, field: str, found: tuple[CoverCrop, ...]) -> JsonObject:
    crops: list[JsonObject] = []
    for index, crop in enumerate(found):
        path = f"{field}.crop_percent_list[{index}]"
        if not isinstance(crop, CoverCrop):
            raise _wrong_type(endpoint, path, "a CoverCrop", crop)
        ratio = check_text(endpoint, f"{path}.ratio", crop.ratio, errcode=PARAMETER_REFUSED)
        check_record(crop)
        corners = _corner_texts(endpoint, path, Crop(crop.x1, crop.y1, crop.x2, crop.y2))
        crops.append({"ratio": str(ratio), **dict(zip(Crop._fields, corners, strict=True)), **crop.extra})
    return {"crop_percent_list": [*crops]}


def _optional_text(
    endpoint: Endpoint,
    field: str,
    value: object,
    *,
    errcode: int,
    max_wide: int | None = None,
    max_bytes: int | None = None,
) -> str:
    """Return a text that may be empty."""
    if value == "":
        return ""
    return check_text(endpoint, field, value, errcode=errcode, max_wide=max_wide, max_bytes=max_bytes)


def _checked_content(endpoint: Endpoint, field: str, article: AnyArticle) -> str:
    content = article.content
    if isinstance(article, PictureArticle) and content == "":
        return ""  # pictures speak for themselves
    check_text(endpoint, field, content, errcode=NO_ARTICLES, max_bytes=CONTENT_BYTES, too_long=CONTENT_TOO_LONG)
    if len(content) >= CONTENT_CHARS:
        size = len(_visible(content))
        if size >= CONTENT_CHARS:
            problem = f"has {size} characters of text; fewer than {CONTENT_CHARS} fit"
            raise refusal(endpoint, field, CONTENT_TOO_LONG, problem)
    return content


def _visible(content: str) -> str:
    """Return what a reader sees of an HTML text."""
    parts: list[str] = []
    place = 0
    while place < len(content):
        hidden = _HIDDEN.search(content, place)
        if hidden is None:
            parts.append(content[place:])
            break
        parts.append(content[place : hidden.start()])
        end = _HIDDEN_END[hidden.group(1).lower()].search(content, hidden.end())
        place = len(content) if end is None else end.end()
    return _BLANKS.sub(" ", unescape(_TAG.sub("", "".join(parts))))


def _crop_text(endpoint: Endpoint, field: str, crop: object) -> str:
    if isinstance(crop, str):
        if _CROP.fullmatch(crop) is None:
            problem = "must be a Crop, or X1_Y1_X2_Y2 with numbers from 0 to 1"
            raise refusal(endpoint, field, PARAMETER_REFUSED, problem)
        return crop
    return "_".join(_corner_texts(endpoint, field, crop))


def _corner_texts(endpoint: Endpoint, field: str, crop: object) -> list[str]:
    """Write the corners with at most six decimals."""
    corners = list(crop) if isinstance(crop, tuple) else []
    numbers = [float(c) for c in corners if isinstance(c, int | float) and not isinstance(c, bool) and 0 <= c <= 1]
    if len(corners) != len(Crop._fields) or len(numbers) != len(corners):
        problem = "must have four numbers from 0 to 1: x1, y1, x2, y2"
        raise refusal(endpoint, field, PARAMETER_REFUSED, problem)
    x1, y1, x2, y2 = numbers
    if not (x1 < x2 and y1 < y2):
        problem = "is empty: x1 must be below x2, and y1 below y2"
        raise refusal(endpoint, field, PARAMETER_REFUSED, problem)
    return [f"{number:.{CROP_DIGITS}f}".rstrip("0").rstrip(".") for number in numbers]
