"""Permanent material (永久素材): files that stay, pictures for articles, and the articles from before the draft box."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, dumps, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_list, check_number, check_page, check_text, refusal
from wxmp.api._pages import walk_offsets
from wxmp.api.articles import NO_ARTICLES, Article, NewsContent, NewsItem, article_list, article_payload
from wxmp.api.downloads import DownloadedFile, FileStream, receive_file
from wxmp.api.uploads import (
    IMAGE_SIZE,
    KIND_REFUSED,
    MIB,
    THUMB,
    TYPE_REFUSED,
    VIDEO,
    VOICE_SIZE,
    FileSource,
    Progress,
    UploadRule,
    rule_of,
    send_file,
)
from wxmp.errors import ReplyError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

__all__ = ["AddedMaterial", "Material", "MaterialAPI", "MaterialCount", "MaterialItem", "MaterialPage"]

#: Most entries on one page of :meth:`MaterialAPI.list`.
PAGE: Final = 20
#: What :meth:`MaterialAPI.list` knows.
LISTED: Final = ("image", "video", "voice", "news")

PARAMETER_REFUSED: Final = 40035
ARGUMENT_REFUSED: Final = 40097
INDEX_REFUSED: Final = 40114
FIELDS_MISSING: Final = 41011
UNKNOWN_MEDIA: Final = 40007

#: More formats than temporary material takes.
RULES: Final[Mapping[str, UploadRule]] = {
    "image": UploadRule(
        ("jpg", "jpeg", "png", "gif", "bmp"), 10 * MIB, type_refused=TYPE_REFUSED, size_refused=IMAGE_SIZE
    ),
    "voice": UploadRule(("mp3", "wma", "wav", "amr"), 2 * MIB, type_refused=TYPE_REFUSED, size_refused=VOICE_SIZE),
    "video": VIDEO,
    # The documentation says JPG. Covers were seen to be taken as PNG as well.
    "thumb": attrs.evolve(THUMB, types=(*THUMB.types, "png")),
}
#: The documentation says JPG or PNG under 1 MB. The platform was seen to take GIFs of 8 MB, and to refuse 10.6 MB.
ARTICLE_IMAGE: Final = UploadRule(
    ("jpg", "jpeg", "png", "gif", "bmp"), 10 * MIB, type_refused=TYPE_REFUSED, size_refused=IMAGE_SIZE
)

# Each success keeps the file once more and counts against the limit.
ADD: Final = Endpoint("POST", "/cgi-bin/material/add_material", repeatable=False)
GET: Final = Endpoint("POST", "/cgi-bin/material/get_material", repeatable=True)
DELETE: Final = Endpoint(
    "POST", "/cgi-bin/material/del_material", repeatable=True, done_codes=frozenset({UNKNOWN_MEDIA})
)
COUNT: Final = Endpoint("GET", "/cgi-bin/material/get_materialcount", repeatable=True)
LIST: Final = Endpoint("POST", "/cgi-bin/material/batchget_material", repeatable=True)
UPLOAD_ARTICLE_IMAGE: Final = Endpoint("POST", "/cgi-bin/media/uploadimg", repeatable=True)
ADD_NEWS: Final = Endpoint("POST", "/cgi-bin/material/add_news", repeatable=False)
UPDATE_NEWS: Final = Endpoint("POST", "/cgi-bin/material/update_news", repeatable=True)


@attrs.frozen
class AddedMaterial:
    """Material that was added (新增的永久素材)."""

    media_id: str
    #: Of pictures only: an address that works on pages of Tencent.
    url: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Material:
    """Material as it is read back (永久素材), in one of three shapes.

    - A picture or a voice: ``content`` or ``path``, with ``size``, ``filename`` and ``content_type``.
    - A video: ``title``, ``description`` and ``video_url``.
    - Articles: ``news_item``.
    """

    #: The bytes of a file; empty when they were written to ``path``.
    content: bytes = attrs.field(default=b"", repr=False)
    #: Where a file was written; ``None`` when it is in ``content``.
    path: Path | None = None
    #: Bytes of a file.
    size: int = 0
    #: The name the platform gives it, without any folder; empty if it gives none.
    filename: str = ""
    #: MIME type, as the platform labels it.
    content_type: str = ""
    #: Of a video.
    title: str = ""
    #: Of a video.
    description: str = ""
    #: Of a video: where its content is to be fetched from. Without a token; the address ends after a while.
    video_url: str = ""
    #: The articles, in their order.
    news_item: tuple[NewsItem, ...] = ()
    #: Of articles: when they were made; not in every answer.
    create_time: datetime | None = None
    #: Of articles: when they were changed last; not in every answer.
    update_time: datetime | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class _Words:
    """What is answered instead of a file. A record of its own, so that no answer sets ``path`` or ``content``."""

    title: str = ""
    description: str = ""
    video_url: str = attrs.field(default="", metadata=wire("down_url"))
    news_item: tuple[NewsItem, ...] = ()
    create_time: datetime | None = None
    update_time: datetime | None = None
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MaterialCount:
    """How much permanent material there is (素材总数)."""

    voice_count: int
    video_count: int
    image_count: int
    news_count: int
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MaterialItem:
    """An entry of the list (素材)."""

    media_id: str
    #: When it was changed last.
    update_time: datetime | None = None
    #: File name, or the title of a video; of files only.
    name: str = ""
    #: Of pictures only.
    url: str = ""
    #: The articles, for the kind ``news``.
    content: NewsContent | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MaterialPage:
    """One page of material (素材列表)."""

    #: All of the kind, on all pages.
    total: int = attrs.field(metadata=wire("total_count"))
    #: Entries on this page.
    count: int = attrs.field(default=0, metadata=wire("item_count"))
    items: tuple[MaterialItem, ...] = attrs.field(default=(), metadata=wire("item"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MaterialAPI:
    """Permanent material (永久素材): add, read, list and delete files; upload pictures for articles.

    An account keeps 100000 pictures and articles, and 1000 of each other kind.
    """

    _call: Caller

    async def add(
        self,
        media: FileSource,
        *,
        type: Literal["image", "voice", "video", "thumb"],
        title: str | None = None,
        description: str | None = None,
        filename: str | None = None,
        size: int | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> AddedMaterial:
        """Add material (新增其他类型永久素材).

        It is not repeated when its outcome is unknown: a second one keeps the file twice. Look at :meth:`list` then.

        Args:
            media: A path, bytes, or an asynchronous iterator of bytes; as of ``client.media.upload``.
            type: ``image``: JPG, PNG, GIF or BMP up to 10 MB. ``voice``: MP3, WMA, WAV or AMR up to 2 MB and 60 s.
                ``video``: MP4 up to 10 MB. ``thumb``: JPG up to 64 KB, for covers; PNG was seen to be taken.
            title: Of a video, which needs one.
            description: Of a video (视频素材的描述).
            filename: As of ``client.media.upload``.
            size: As of ``client.media.upload``.
            progress: As of ``client.media.upload``.
            timeout: Seconds for one whole attempt; 60 if absent.

        Raises:
            ArgumentError: The kind is refused (40004), the format (40005), the size (40006, 40009 to 40012, 45001), or
                the file is empty (44001); the title of a video is missing (41011); there is no room for one more
                (45034). What can be found out before is not sent.
            ConfigError: The file cannot be read, its name cannot be sent, or ``size`` is not what the iterator gave.

        Source:
            POST /cgi-bin/material/add_material - 素材管理 / 永久素材 / 新增其他类型永久素材
        """
        rule = rule_of(ADD, RULES, type)
        form: dict[str, str] = {}
        if type == "video":
            words: JsonObject = {"title": check_text(ADD, "title", title, errcode=FIELDS_MISSING)}
            words["introduction"] = description or ""
            # One field of the form that holds JSON, as raw UTF-8.
            form["description"] = dumps(words, endpoint=ADD.name).decode()
        else:
            for name, value in (("title", title), ("description", description)):
                if value is not None:
                    raise refusal(ADD, name, PARAMETER_REFUSED, "is for videos only; leave it out")
        reply = await send_file(
            self._call,
            ADD,
            media,
            rule=rule,
            params={"type": type},
            form=form,
            filename=filename,
            size=size,
            progress=progress,
            timeout=timeout,
        )
        return decode(AddedMaterial, without_verdict(reply), endpoint=ADD.name)

    async def get(
        self,
        media_id: str,
        *,
        to: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> Material:
        """Read material: a file, what is known of a video, or articles (获取永久素材).

        When the connection breaks half-way the file is fetched again from its start.

        Args:
            media_id: From :meth:`add` or :meth:`list`.
            to: Where to write a file: one that is there is replaced, by the whole of the new one or not at all.
                Without it the content is in the result. A video and articles have no content here, and nothing is
                written then.
            progress: Called with the bytes so far and in all (``None``: unknown); from 0 again when it is repeated.
            timeout: Seconds for one whole attempt; 60 if absent.

        Raises:
            NotFoundError: No such material (40007).
            ReplyError: The answer has none of the three shapes.
            ConfigError: ``to`` is no place for a file.

        Source:
            POST /cgi-bin/material/get_material - 素材管理 / 永久素材 / 获取永久素材
        """
        found = await receive_file(
            self._call, GET, json={"media_id": _known(GET, media_id)}, to=to, progress=progress, timeout=timeout
        )
        if isinstance(found, DownloadedFile):
            return Material(found.content, found.path, found.size, found.filename, found.content_type)
        answer = without_verdict(found)
        if answer.keys().isdisjoint(("news_item", "down_url", "title")):
            raise ReplyError("the answer is neither a file, nor a video, nor articles", endpoint=GET.name)
        words = decode(_Words, answer, endpoint=GET.name)
        return Material(
            title=words.title,
            description=words.description,
            video_url=words.video_url,
            news_item=words.news_item,
            create_time=words.create_time,
            update_time=words.update_time,
            extra=words.extra,
        )

    def stream(self, media_id: str, *, progress: Progress | None = None, timeout: float | None = None) -> FileStream:
        """Read a file piece by piece (获取永久素材).

        For example::

            async with client.material.stream(media_id) as file:
                async for piece in file: ...

        Once it is open nothing is repeated. A video has no pieces: ``file.video_url`` says where it is.

        Args:
            media_id: From :meth:`add` or :meth:`list`; a picture or a voice.
            progress: Called with the bytes so far and in all (``None``: unknown).
            timeout: Seconds until the last piece is read; 60 if absent.

        Raises:
            NotFoundError: No such material (40007); when it is opened.
            ReplyError: These are articles; when it is opened.
            TransportError: The connection breaks while it is read.

        Source:
            POST /cgi-bin/material/get_material - 素材管理 / 永久素材 / 获取永久素材
        """
        return FileStream(self._call, GET, json={"media_id": _known(GET, media_id)}, progress=progress, timeout=timeout)

    async def delete(self, media_id: str) -> None:
        """Delete material; it cannot be brought back (删除永久素材).

        Raises:
            NotFoundError: No such material (40007). Not raised when an attempt before it may have deleted it.
            NotAuthorizedError: A menu or an automatic reply uses it (48005).

        Source:
            POST /cgi-bin/material/del_material - 素材管理 / 永久素材 / 删除永久素材
        """
        await self._call(DELETE, json={"media_id": _known(DELETE, media_id)})

    async def count(self) -> MaterialCount:
        """Count the material of each kind (获取永久素材总数).

        Source:
            GET /cgi-bin/material/get_materialcount - 素材管理 / 永久素材 / 获取永久素材总数
        """
        reply = await self._call(COUNT)
        return decode(MaterialCount, without_verdict(reply), endpoint=COUNT.name)

    async def list(
        self, type: Literal["image", "video", "voice", "news"], *, offset: int = 0, count: int = PAGE
    ) -> MaterialPage:
        """List one page of material of one kind (获取永久素材列表).

        :meth:`iter_items` walks through all pages.

        Args:
            type: ``image``, ``video``, ``voice``, or ``news`` for articles from before the draft box.
            offset: Entries to leave out, from 0.
            count: Entries on the page, 1 to 20.

        Raises:
            ArgumentError: The kind is refused (40004), or ``offset`` or ``count`` is out of its range (40097).

        Source:
            POST /cgi-bin/material/batchget_material - 素材管理 / 永久素材 / 获取永久素材列表
        """
        if type not in LISTED:
            raise refusal(LIST, "type", KIND_REFUSED, f"must be one of {', '.join(LISTED)}")
        check_page(LIST, offset, count, most=PAGE, errcode=ARGUMENT_REFUSED)
        reply = await self._call(LIST, json={"type": type, "offset": offset, "count": count})
        return decode(MaterialPage, without_verdict(reply), endpoint=LIST.name)

    def iter_items(
        self, type: Literal["image", "video", "voice", "news"], *, offset: int = 0
    ) -> AsyncGenerator[MaterialItem, None]:
        """Iterate over all material of one kind, page by page (获取永久素材列表).

        Material that is added or deleted meanwhile moves the rest: an entry can come twice or be left out.

        Args:
            type: As of :meth:`list`.
            offset: Entries to leave out, from 0.

        Raises:
            ArgumentError: The kind is refused (40004), or ``offset`` is below 0 (40097).

        Source:
            POST /cgi-bin/material/batchget_material - 素材管理 / 永久素材 / 获取永久素材列表
        """

        async def fetch(start: int) -> tuple[Sequence[MaterialItem], int]:
            page = await self.list(type, offset=start)
            return page.items, page.total

        return walk_offsets(fetch, LIST, offset=offset)

    async def upload_article_image(
        self,
        media: FileSource,
        *,
        filename: str | None = None,
        size: int | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> str:
        """Upload a picture for the text of articles (上传图文消息内的图片获取URL).

        Pictures from other places are taken out of articles. This one counts against no limit.

        Args:
            media: A path, bytes, or an asynchronous iterator of bytes. JPG and PNG below 1 MB are what the
                documentation promises. The platform was seen to take GIFs, and up to about 10 MB: these are sent, and
                so is BMP; what goes beyond is refused here.
            filename: As of ``client.media.upload``.
            size: As of ``client.media.upload``.
            progress: As of ``client.media.upload``.
            timeout: Seconds for one whole attempt; 60 if absent.

        Returns:
            Its address, for ``<img src="…">`` in the content of an article.

        Raises:
            ArgumentError: The format (40005) or the size (40009) is refused, or the file is empty (44001). What can be
                found out before is not sent.
            ConfigError: The file cannot be read, its name cannot be sent, or ``size`` is not what the iterator gave.

        Source:
            POST /cgi-bin/media/uploadimg - 素材管理 / 永久素材 / 上传图文消息内的图片获取URL
        """
        endpoint = UPLOAD_ARTICLE_IMAGE
        reply = await send_file(
            self._call,
            endpoint,
            media,
            rule=ARTICLE_IMAGE,
            filename=filename,
            size=size,
            progress=progress,
            timeout=timeout,
        )
        return decode(str, field_of(reply, "url", endpoint), endpoint=endpoint.name)

    async def add_news(self, articles: Article | Iterable[Article]) -> str:
        """Add articles as material (新增永久图文素材).

        Deprecated: the draft box took its place, and most accounts get 48001 here. Use ``client.draft.add``. It is not
        repeated when its outcome is unknown.

        Args:
            articles: One article, or up to 8; checked like those of ``client.draft.add``. Pictures with a text are
                for drafts only.

        Returns:
            The ``media_id``.

        Raises:
            NotAuthorizedError: The account uses the draft box (48001).
            ArgumentError: No article (44003), more than 8 (45008), or one that is not acceptable.
            NotFoundError: A cover is no permanent material of the account (40007).

        Source:
            POST /cgi-bin/material/add_news - 素材管理 / 永久素材 / 新增永久图文素材
        """
        single = isinstance(articles, Article)
        given = (articles,) if single else check_list(ADD_NEWS, "articles", articles, errcode=NO_ARTICLES)
        found = [_check_article(ADD_NEWS, f"articles[{index}]", article) for index, article in enumerate(given)]
        reply = await self._call(ADD_NEWS, json={"articles": article_list(ADD_NEWS, "articles", found)})
        return decode(str, field_of(reply, "media_id", ADD_NEWS), endpoint=ADD_NEWS.name)

    async def update_news(self, media_id: str, *, index: int, article: Article) -> None:
        """Replace one article of a material (修改永久图文素材).

        Deprecated: the draft box took its place, and most accounts get 48001 here. Use ``client.draft.update``.

        Args:
            media_id: The material.
            index: Which article, from 0.
            article: The new one; all of the old one is replaced.

        Raises:
            NotAuthorizedError: The account uses the draft box (48001).
            NotFoundError: No such material, or no such cover (40007).
            ArgumentError: The material has no such article (40114), or the new one is not acceptable.

        Source:
            POST /cgi-bin/material/update_news - 素材管理 / 永久素材 / 修改永久图文素材
        """
        check_number(UPDATE_NEWS, "index", index, errcode=INDEX_REFUSED)
        _check_article(UPDATE_NEWS, "article", article)
        payload: JsonObject = {"media_id": _known(UPDATE_NEWS, media_id), "index": index}
        # The platform's word is in the plural, for one article.
        payload["articles"] = article_payload(UPDATE_NEWS, "article", article)
        await self._call(UPDATE_NEWS, json=payload)


def _check_article(endpoint: Endpoint, field: str, article: object) -> Article:
    if not isinstance(article, Article):
        problem = f"must be an Article, not {type(article).__name__}: the others are for client.draft"
        raise refusal(endpoint, field, PARAMETER_REFUSED, problem)
    return article


def _known(endpoint: Endpoint, media_id: object) -> str:
    return check_text(endpoint, "media_id", media_id, errcode=UNKNOWN_MEDIA)
