"""The library of an account: temporary and permanent media, articles, drafts, publications, comments, reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import quote, urlsplit

import attrs

from wxmp.simulator import articles, formats
from wxmp.simulator.wire import JsonObject, Refusal, Reply, WorldError, as_list, as_object, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wxmp.simulator.policy import Policy
    from wxmp.simulator.state import Account
    from wxmp.simulator.world import World

__all__ = [
    "Article",
    "Comment",
    "Draft",
    "Fate",
    "Library",
    "Media",
    "MediaKind",
    "Picture",
    "PublishJob",
    "Published",
    "Read",
    "add_comment",
    "article_url",
    "ban",
    "check_articles",
    "check_file",
    "check_format",
    "count_read",
    "decide_publication",
    "drop",
    "file_reply",
    "find_article",
    "find_draft",
    "find_media",
    "find_published",
    "find_readable",
    "is_used",
    "known_media",
    "make_room",
    "material_reply",
    "media_url",
    "need_media",
    "news_reply",
    "publish_articles",
    "read_article",
    "reads_between",
    "store_draft",
    "store_media",
    "store_picture",
    "store_sample",
]

MediaKind: TypeAlias = Literal["image", "voice", "video", "thumb"]
KINDS: Final[frozenset[str]] = frozenset({"image", "voice", "video", "thumb"})
SIZE_CODES: Final = {"image": 40009, "voice": 40010, "video": 40011, "thumb": 40012}
GONE_KEPT: Final = 1_000
UNSAFE: Final = re.compile(r'[\x00-\x1f\x7f"\\/]')
CROP: Final = re.compile(r"[01](\.\d{1,6})?(_[01](\.\d{1,6})?){3}")


# --- records ----------------------------------------------------------------------------------------------------


@attrs.define
class Media:
    """One file: temporary (临时素材) when it has an end, permanent (永久素材) when not.

    Attributes:
        media_id: Its id, the ``thumb_media_id`` of a thumbnail.
        kind: What it was uploaded as.
        filename: As uploaded.
        format: What the bytes are; see :func:`~wxmp.simulator.formats.file_format`.
        created_at: Simulated time.
        expires_at: From then on it is unknown; ``None`` means never.
        by_user: Whether a user sent it.
        title: Of a permanent video.
        introduction: Of a permanent video.
        stored: The bytes; empty for the built-in sample, which is made whenever somebody asks.
    """

    media_id: str
    kind: MediaKind
    filename: str
    format: str
    created_at: float
    expires_at: float | None
    by_user: bool = False
    title: str = ""
    introduction: str = ""
    sample: bool = False
    stored: bytes = attrs.field(default=b"", repr=False)

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        return formats.sample(self.kind, self.media_id) if self.sample else self.stored

    @property
    def content_type(self) -> str:
        """The content type of the bytes."""
        return formats.CONTENT_TYPES.get(self.format, "application/octet-stream")


@attrs.define
class Picture:
    """A picture for article bodies (图文消息内的图片): it has a link and no media id."""

    key: str
    format: str
    created_at: float
    data: bytes = attrs.field(default=b"", repr=False)


@attrs.define
class Article:
    """One article (图文) of a draft, of a permanent news material, or of a publication."""

    title: str
    content: str = attrs.field(default="", repr=False)
    author: str = ""
    digest: str = ""
    content_source_url: str = ""
    thumb_media_id: str = ""
    article_type: str = "news"
    show_cover_pic: int = 0
    need_open_comment: int = 0
    only_fans_can_comment: int = 0
    image_info: JsonObject | None = None
    cover_info: JsonObject | None = None
    product_info: JsonObject | None = None
    pic_crop_235_1: str = ""
    pic_crop_1_1: str = ""
    key: str = ""

    def pictures(self) -> list[str]:
        """Return the media ids of a picture article (图片消息)."""
        entries = as_list((self.image_info or {}).get("image_list")) or []
        found = [(as_object(entry) or {}).get("image_media_id") for entry in entries]
        return [media_id for media_id in found if isinstance(media_id, str)]


@attrs.define
class Draft:
    """Articles under one media id: a draft (草稿), or a news material (图文素材)."""

    media_id: str
    articles: list[Article]
    created_at: float
    updated_at: float
    expires_at: float | None = None


@attrs.define
class Comment:
    """What a reader wrote under an article (留言). ``withdrawn``: its author has deleted it."""

    id: int
    openid: str
    nickname: str
    content: str
    at: float
    featured: bool = False
    withdrawn: bool = False
    reply: str | None = None
    reply_at: float = 0.0


@attrs.define
class Published:
    """One article that readers can open, published or sent to followers.

    Attributes:
        key: What its page is found by.
        article_id: Of the publication; articles that came out together share it.
        msg_data_id: What comments and statistics know it by.
        index: Its place in the publication, from 0.
        mass: Whether a mass send brought it out.
        deleted: The account has taken it away.
        banned: The platform has.
    """

    key: str
    article_id: str
    msg_data_id: int
    index: int
    article: Article
    at: float
    mass: bool = False
    deleted: bool = False
    banned: bool = False
    comments_open: bool = False
    comments: list[Comment] = attrs.field(factory=list[Comment], repr=False)
    read_count: int = 0


@attrs.define
class PublishJob:
    """One publishing task: 0 done, 1 running, 2 originality, 3 failed, 4 refused, 5 all deleted, 6 all banned."""

    publish_id: str
    media_id: str
    msg_data_id: int
    at: float
    status: int = 1
    article_id: str = ""
    fail_idx: list[int] = attrs.field(factory=list[int])


@attrs.define
class Fate:
    """What is to become of the next publishing task."""

    status: int
    fail_idx: list[int] = attrs.field(factory=list[int])


@attrs.define
class Read:
    """One reader opened one article; ``openid`` is empty for a reader nobody knows."""

    at: float
    key: str
    openid: str


@attrs.define
class Library:
    """All of it, of one account."""

    temporary: dict[str, Media] = attrs.field(factory=dict[str, Media])
    permanent: dict[str, Media] = attrs.field(factory=dict[str, Media])
    pictures: dict[str, Picture] = attrs.field(factory=dict[str, Picture])
    temporary_bytes: int = 0
    permanent_bytes: int = 0
    gone: dict[str, str] = attrs.field(factory=dict[str, str])
    news: dict[str, Draft] = attrs.field(factory=dict[str, Draft])
    drafts: dict[str, Draft] = attrs.field(factory=dict[str, Draft])
    published: dict[str, Published] = attrs.field(factory=dict[str, Published])
    jobs: dict[str, PublishJob] = attrs.field(factory=dict[str, PublishJob])
    fates: list[Fate] = attrs.field(factory=list[Fate])
    reads: list[Read] = attrs.field(factory=list[Read])
    comments_allowed: bool = True
    selling_allowed: bool = False
    comment_serial: int = 0
    publish_serial: int = 2_247_483_650
    data_serial: int = 2_650_000_000


# --- files ------------------------------------------------------------------------------------------------------


def check_file(policy: Policy, kind: str, filename: str, data: bytes, *, permanent: bool) -> MediaKind:
    """Check an upload against the rules of its kind and return the kind.

    Raises:
        Refusal: Unknown kind 40004, empty 44001, format 40005, size 40009 to 40012, a recording too long 45007.
    """
    if kind not in KINDS:
        raise Refusal(40004, f"type is {kind!r}")
    if not data:
        raise Refusal(44001, "the file is empty")
    allowed = (policy.material_formats if permanent else policy.media_formats)[kind]
    check_format(policy, filename, data, allowed)
    limit = policy.media_max_bytes[kind]
    if len(data) > limit:
        raise Refusal(SIZE_CODES[kind], f"the {kind} has {len(data)} bytes, at most {limit} are allowed")
    seconds = formats.voice_seconds(data) if kind == "voice" else None
    if seconds is not None and seconds > policy.voice_max_seconds:
        raise Refusal(45007, f"the recording is {seconds:.1f} s long, at most {policy.voice_max_seconds:.0f} s")
    # Narrowed by the membership test above; the four literals are all there is.
    return "image" if kind == "image" else "voice" if kind == "voice" else "video" if kind == "video" else "thumb"


def check_format(policy: Policy, filename: str, data: bytes, allowed: Sequence[str]) -> None:
    """Check what a file is, by its bytes and by its name, as far as the policy looks (40005)."""
    if policy.media_judged_by in {"bytes", "both"}:
        found = formats.file_format(data)
        if found not in allowed:
            what = found or "nothing known"
            raise Refusal(40005, f"by its bytes the file is {what}, allowed are {', '.join(allowed)}")
    if policy.media_judged_by in {"name", "both"}:
        ending = filename.rpartition(".")[2].lower() if "." in filename else ""
        if {"jpeg": "jpg", "spx": "speex"}.get(ending, ending) not in allowed:
            raise Refusal(40005, f"the file name ends in {ending!r}, allowed are {', '.join(allowed)}")


def store_media(
    world: World,
    account: Account,
    kind: MediaKind,
    filename: str,
    data: bytes,
    now: float,
    *,
    permanent: bool = False,
    media_id: str | None = None,
    by_user: bool = False,
) -> Media:
    """Keep a file, unchecked; a temporary one lives three days.

    Raises:
        Refusal: A permanent file finds no room (45034): ``policy.media_bytes_kept`` is a limit of this simulator.
    """
    library, policy = account.library, world.policy
    media = Media(
        media_id=media_id or world.make_id("media", 43 if permanent else 64),
        kind=kind,
        filename=filename,
        format=formats.file_format(data),
        created_at=now,
        expires_at=None if permanent else now + policy.media_life,
        by_user=by_user,
        stored=data,
    )
    drop(library, media.media_id)
    make_room(world, account, len(data), now, permanent=permanent)
    if permanent:
        library.permanent[media.media_id] = media
        library.permanent_bytes += len(data)
    else:
        library.temporary[media.media_id] = media
        library.temporary_bytes += len(data)
    return media


def store_sample(world: World, account: Account, kind: MediaKind, media_id: str, now: float) -> Media:
    """Keep a built-in sample under an id that somebody made up; a known id stays as it is."""
    library = account.library
    known = find_media(account, media_id, now)
    if known is not None:
        return known
    drop(library, media_id)
    ending = {"voice": "amr", "video": "mp4"}.get(kind, "jpg")
    media = Media(media_id, kind, f"{media_id}.{ending}", ending, now, now + world.policy.media_life, by_user=True)
    media.sample = True
    make_room(world, account, 0, now)
    library.temporary[media_id] = media
    return media


def store_picture(world: World, account: Account, data: bytes, now: float) -> Picture:
    """Keep a picture for article bodies.

    Raises:
        Refusal: There is no room for it (45034), as with :func:`store_media`.
    """
    library = account.library
    make_room(world, account, len(data), now, permanent=True)
    picture = Picture(world.make_id("picture", 60), formats.file_format(data), now, data)
    library.pictures[picture.key] = picture
    library.permanent_bytes += len(data)
    return picture


def drop(library: Library, media_id: str) -> Media | None:
    """Take a file out."""
    media = library.temporary.pop(media_id, None)
    if media is not None:
        library.temporary_bytes -= len(media.stored)
        return media
    media = library.permanent.pop(media_id, None)
    if media is not None:
        library.permanent_bytes -= len(media.stored)
    return media


def make_room(world: World, account: Account, room: int, now: float, *, permanent: bool = False) -> None:
    """Forget temporary media that have expired, and the oldest where there are too many or too large ones.

    Raises:
        Refusal: The room is for something permanent, and all that is permanent would be too much (45034).
    """
    library, policy = account.library, world.policy
    if permanent and library.permanent_bytes + room > policy.media_bytes_kept:
        raise Refusal(45034, f"this simulator keeps at most {policy.media_bytes_kept} bytes of an account")
    while library.temporary:
        oldest = next(iter(library.temporary.values()))
        size = library.temporary_bytes + library.permanent_bytes + room
        if oldest.expires_at is not None and now >= oldest.expires_at:
            why = f"it expired at {oldest.expires_at:.0f}"
        elif size > policy.media_bytes_kept or len(library.temporary) >= policy.media_kept:
            why = "the simulator forgot it to make room"
        else:
            break
        drop(library, oldest.media_id)
        library.gone[oldest.media_id] = why
    while len(library.gone) > GONE_KEPT:
        library.gone.pop(next(iter(library.gone)))


def find_media(account: Account, media_id: str, now: float) -> Media | None:
    """Return a file by its id, temporary or permanent; ``None`` when it is unknown or has expired."""
    library = account.library
    media = library.permanent.get(media_id) or library.temporary.get(media_id)
    if media is None or (media.expires_at is not None and now >= media.expires_at):
        return None
    return media


def need_media(account: Account, media_id: str, now: float, kinds: Sequence[str] = ()) -> Media:
    """Return a file by its id.

    Raises:
        Refusal: Unknown, expired, or of another kind (40007).
    """
    media = find_media(account, media_id, now)
    if media is None:
        lost = account.library.temporary.get(media_id)
        why = account.library.gone.get(media_id, "the account has no such media")
        raise Refusal(40007, f"it expired at {lost.expires_at:.0f}" if lost and lost.expires_at else why)
    if kinds and media.kind not in kinds:
        raise Refusal(40007, f"the media is a {media.kind}, wanted is {' or '.join(kinds)}")
    return media


def known_media(account: Account, media_id: str) -> bool:
    """Tell whether an id names permanent material: a file or articles."""
    return media_id in account.library.permanent or media_id in account.library.news


def media_url(world: World, key: str, format: str) -> str:
    """Return the link of a stored file: one that works while a server runs, else one that looks like the real one."""
    key = quote(key, safe="")
    if world.base_url:
        return f"{world.base_url}/mp/mmbiz/{key}"
    if format == "mp4":
        return f"http://vweixinp.tc.qq.com/1007_{key}.f10.mp4"
    kind = {"png": "mmbiz_png", "gif": "mmbiz_gif"}.get(format, "mmbiz_jpg")
    return f"http://mmbiz.qpic.cn/{kind}/{key}/0?wx_fmt={'jpeg' if format in {'', 'jpg'} else format}"


def file_reply(media: Media, policy: Policy, *, why: str) -> Reply:
    """Return the bytes of a file, as a download."""
    name = media.filename
    if policy.media_download_name == "media_id":
        name = f"{media.media_id}.{media.format or 'bin'}"
    disposition = f'attachment; filename="{UNSAFE.sub("_", name)}"'
    headers = (("content-disposition", disposition), ("cache-control", "no-cache, must-revalidate"))
    return Reply(media.data, content_type=media.content_type, headers=headers, errcode=0, why=why)


def is_used(account: Account, media_id: str) -> bool:
    """Tell whether a menu or an automatic reply leads to a material (48005)."""
    menus = [account.menu or [], *(menu.button for menu in account.conditional)]
    return media_id in texts(menus) or media_id in texts(account.outreach.autoreply)


def material_reply(world: World, account: Account, media_id: str) -> JsonObject | None:
    """Return what the platform sends when a menu button leads to a material, in the shape of a passive reply."""
    library = account.library
    news, media = library.news.get(media_id), library.permanent.get(media_id)
    if news is not None:
        return news_reply(world, news.articles)
    if media is None:
        return None
    kind = "image" if media.kind == "thumb" else media.kind
    inner: JsonObject = {"MediaId": media_id}
    if kind == "video":
        inner |= {"Title": media.title, "Description": media.introduction}
    return {"MsgType": kind, kind.capitalize(): inner}


def news_reply(world: World, found: Sequence[Article]) -> JsonObject:
    """Return articles in the shape of a passive reply."""
    items = [
        {
            "Title": article.title,
            "Description": article.digest,
            "PicUrl": media_url(world, article.thumb_media_id, "jpg"),
            "Url": article_url(world, article.key),
        }
        for article in found
    ]
    return {"MsgType": "news", "ArticleCount": len(items), "Articles": {"item": items}}


def texts(value: object) -> Iterator[str]:
    """Yield every text inside a JSON value, the names of fields left out."""
    if isinstance(value, str):
        yield value
    inner = as_object(value)
    for item in as_list(value) or (list(inner.values()) if inner is not None else []):
        yield from texts(item)


# --- articles ---------------------------------------------------------------------------------------------------


def check_articles(world: World, account: Account, value: object, now: float, *, mass: bool = False) -> list[Article]:
    """Check the articles of a draft, of a news material, or of a mass send, and return them as they are kept.

    Args:
        world: The world.
        account: Whose articles these are.
        value: The array of the request.
        now: Simulated time.
        mass: Whether they are for a mass send: the cover may be temporary then, and a made-up digest is longer.

    Raises:
        Refusal: With the code of the first rule that is broken.
    """
    entries = as_list(value)
    if entries is None:
        raise Refusal(47001, "articles is not an array")
    limit = world.policy.article_max_count
    if not entries:
        raise Refusal(44003, "there are no articles")
    if len(entries) > limit:
        raise Refusal(45008, f"{len(entries)} articles, at most {limit} are allowed")
    alone = len(entries) == 1
    return [read_article(world, account, entry, now, alone=alone, mass=mass) for entry in entries]


def read_article(
    world: World, account: Account, value: object, now: float, *, alone: bool = True, mass: bool = False
) -> Article:
    """Check one article and return it as it is kept: scripts and foreign pictures gone, the digest made up.

    Raises:
        Refusal: With the code of the first rule that is broken.
    """
    entry, policy = as_object(value), world.policy
    if entry is None:
        raise Refusal(47001, "an article is not an object")
    kind = text(entry, "article_type") or "news"
    if kind not in {"news", "newspic"}:
        raise Refusal(policy.article_field_errcode, f"article_type is {kind!r}", detail="article_type")
    check_texts(policy, entry, kind)
    article = Article(
        title=text(entry, "title"),
        content=articles.kept_html(
            text(entry, "content"),
            foreign_pictures=policy.article_foreign_pictures,
            base_url=world.base_url,
        ),
        author=text(entry, "author"),
        digest=text(entry, "digest"),
        content_source_url=text(entry, "content_source_url"),
        thumb_media_id=text(entry, "thumb_media_id"),
        article_type=kind,
        show_cover_pic=flag(policy, entry, "show_cover_pic"),
        need_open_comment=flag(policy, entry, "need_open_comment"),
        only_fans_can_comment=flag(policy, entry, "only_fans_can_comment"),
        image_info=as_object(entry.get("image_info")),
        cover_info=as_object(entry.get("cover_info")),
        product_info=as_object(entry.get("product_info")),
        pic_crop_235_1=crop(policy, entry, "pic_crop_235_1"),
        pic_crop_1_1=crop(policy, entry, "pic_crop_1_1"),
        key=world.make_id("article", 22),
    )
    check_pictures(account, article, policy, now, permanent_thumb=not mass)
    if article.need_open_comment and not account.library.comments_allowed:
        raise Refusal(88000, "the account has no comment feature")
    if article.product_info and not account.library.selling_allowed:
        raise Refusal(53406, "the account may not sell products in articles")
    if not article.digest and alone:
        size = policy.article_mass_digest if mass else policy.article_default_digest
        article.digest = articles.plain_text(article.content)[:size]
    return article


def check_texts(policy: Policy, entry: JsonObject, kind: str) -> None:
    """Check the texts of an article."""
    title, content = text(entry, "title"), text(entry, "content")
    if not title:
        raise Refusal(policy.article_field_errcode, "title is missing", detail="title")
    if len(title) > policy.article_title_chars:
        raise Refusal(45003, f"the title has {len(title)} characters, at most {policy.article_title_chars}")
    author = text(entry, "author")
    if len(author) > policy.article_author_chars:
        raise Refusal(policy.article_author_errcode, f"the author has {len(author)} characters", detail="author")
    digest = text(entry, "digest")
    if len(digest) > policy.article_digest_chars:
        raise Refusal(45004, f"the digest has {len(digest)} characters, at most {policy.article_digest_chars}")
    if not content and kind == "news":
        raise Refusal(44003, "the content is empty")
    size = len(content.encode("utf-8", errors="replace"))
    if len(content) >= policy.article_content_chars or size > policy.article_content_bytes:
        raise Refusal(45002, f"the content has {len(content)} characters and {size} bytes")
    check_source_url(text(entry, "content_source_url"), policy)


def check_source_url(url: str, policy: Policy) -> None:
    """Check the link below an article."""
    if not url:
        return
    if len(url.encode("utf-8", errors="replace")) > policy.article_source_url_bytes:
        raise Refusal(45005, f"content_source_url is longer than {policy.article_source_url_bytes} bytes")
    try:
        parts = urlsplit(url)
        web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        web = False
    if not web:
        raise Refusal(41039, "content_source_url is no web address")


def check_pictures(account: Account, article: Article, policy: Policy, now: float, *, permanent_thumb: bool) -> None:
    """Check the cover of a news article, or the pictures of a picture article."""
    cover = article.thumb_media_id
    if article.article_type == "newspic":
        found = article.pictures()
        listed = as_list((article.image_info or {}).get("image_list")) or []
        if not 1 <= len(listed) <= policy.newspic_max_pictures or len(found) != len(listed):
            raise Refusal(
                policy.article_field_errcode,
                f"image_list has {len(listed)} pictures, 1 to {policy.newspic_max_pictures} are allowed",
                detail="image_info",
            )
        for media_id in found:
            need_permanent(account, media_id, ("image",))
    elif not cover:
        raise Refusal(40007, "thumb_media_id is missing")
    if cover and permanent_thumb:
        need_permanent(account, cover, ("image", "thumb"))
    elif cover:
        need_media(account, cover, now, ("image", "thumb"))


def need_permanent(account: Account, media_id: str, kinds: Sequence[str]) -> Media:
    """Return a permanent file by its id, or refuse (40007)."""
    media = account.library.permanent.get(media_id)
    if media is None:
        temporary = media_id in account.library.temporary
        raise Refusal(40007, "the media is temporary, wanted is a permanent one" if temporary else "no such material")
    if media.kind not in kinds:
        raise Refusal(40007, f"the material is a {media.kind}, wanted is {' or '.join(kinds)}")
    return media


def text(entry: JsonObject, name: str) -> str:
    """Return a text field, or an empty text."""
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def flag(policy: Policy, entry: JsonObject, name: str) -> int:
    """Return a field that is 0 or 1."""
    value = entry.get(name)
    number = int(value) if isinstance(value, bool) else 0 if value in (None, "") else whole_number(value)
    if number not in {0, 1}:
        raise Refusal(policy.article_field_errcode, f"{name} is {value!r}", detail=name)
    return int(number or 0)


def crop(policy: Policy, entry: JsonObject, name: str) -> str:
    """Return the crop of a cover: four numbers from 0 to 1."""
    value = text(entry, name)
    if value and not CROP.fullmatch(value):
        raise Refusal(policy.article_field_errcode, f"{name} is {value!r}", detail=name)
    return value


def store_draft(
    world: World,
    account: Account,
    found: list[Article],
    now: float,
    *,
    news: bool = False,
    expires_at: float | None = None,
) -> Draft:
    """Keep articles under a new media id: a draft, or with ``news`` a news material (temporary with an end)."""
    draft = Draft(world.make_id("draft", 64), found, now, now, expires_at)
    (account.library.news if news else account.library.drafts)[draft.media_id] = draft
    return draft


def find_draft(account: Account, media_id: str, now: float) -> Draft | None:
    """Return the articles behind a media id: of a draft, or of a news material; for mass sends and menus."""
    library = account.library
    draft = library.drafts.get(media_id) or library.news.get(media_id)
    if draft is None or (draft.expires_at is not None and now >= draft.expires_at):
        return None
    return draft


# --- what readers see -------------------------------------------------------------------------------------------


def article_url(world: World, key: str) -> str:
    """Return the link of an article's page."""
    return f"{world.base_url}/mp/s/{key}" if world.base_url else f"http://mp.weixin.qq.com/s/{key}"


def publish_articles(
    world: World,
    account: Account,
    found: Sequence[Article],
    now: float,
    *,
    msg_data_id: int,
    mass: bool = True,
) -> list[Published]:
    """Bring articles out: pages that can be read, with comments where the article asks for them.

    Args:
        world: The world.
        account: Whose articles these are.
        found: The articles, in order.
        now: Simulated time.
        msg_data_id: What comments and statistics know them by.
        mass: Whether a mass send brings them out.
    """
    library = account.library
    article_id = world.make_id("article id", 64)
    out: list[Published] = []
    for index, article in enumerate(found):
        copy = attrs.evolve(article, key=world.make_id("article", 22))
        opened = bool(article.need_open_comment) and library.comments_allowed
        published = Published(copy.key, article_id, msg_data_id, index, copy, now, mass=mass, comments_open=opened)
        library.published[copy.key] = published
        out.append(published)
    return out


def find_published(account: Account, msg_data_id: int | None, index: int = 0) -> Published | None:
    """Return an article by what comments know it by."""
    for published in reversed(account.library.published.values()):
        if published.msg_data_id == msg_data_id and published.index == index:
            return published
    return None


def find_article(account: Account, article_id: str) -> list[Published]:
    """Return the articles of one publication, in order, those taken away included."""
    return [p for p in account.library.published.values() if p.article_id == article_id]


def find_readable(account: Account, article: str) -> Published:
    """Return an article that can be read, by its link, its key, or its ``article_id`` (the first one then).

    Raises:
        WorldError: There is none, or it was taken away.
    """
    library = account.library
    path = article.partition("?")[0].partition("#")[0]
    found = library.published.get(path.rpartition("/")[2])
    if found is None:
        found = next(iter(find_article(account, article)), None)
    if found is None:
        raise WorldError("this account has published no such article")
    if found.deleted or found.banned:
        raise WorldError("the article was taken away: the phone shows a notice")
    return found


def count_read(world: World, account: Account, published: Published, openid: str, now: float) -> None:
    """Remember that somebody opened an article."""
    library = account.library
    published.read_count += 1
    library.reads.append(Read(now, published.key, openid))
    del library.reads[: -world.policy.reads_kept]


def reads_between(account: Account, start: float, end: float) -> list[Read]:
    """Return the reads of a span of simulated time, oldest first: what statistics are made of."""
    return [read for read in account.library.reads if start <= read.at < end]


def decide_publication(account: Account, status: int, fail_idx: Sequence[int] = ()) -> None:
    """Decide what becomes of the next publishing task: 0 done, 2 originality, 3 failed, 4 refused by the review.

    Args:
        account: Whose task.
        status: The state it ends in.
        fail_idx: The refused articles, from 1; of states 2 and 4.
    """
    if status not in {0, 2, 3, 4}:
        raise WorldError("a publishing task can end in 0, 2, 3 or 4; 5 and 6 come later, with what is taken away")
    account.library.fates.append(Fate(status, list(fail_idx)))


def ban(account: Account, article_id: str, index: int | None = None) -> None:
    """Let the platform take an article away (违规删除); all of the publication without ``index`` (from 0)."""
    found = [p for p in find_article(account, article_id) if index is None or p.index == index]
    if not found:
        raise WorldError("this account has published no such article")
    for published in found:
        published.banned = True


def add_comment(
    world: World, account: Account, published: Published, openid: str, nickname: str, content: str, now: float
) -> Comment:
    """Let a reader write under an article.

    Raises:
        WorldError: Comments are closed, for followers only, or the text is empty or too long.
    """
    user = account.users.get(openid)
    if not published.comments_open:
        raise WorldError("comments are closed under this article")
    if published.article.only_fans_can_comment and not (user is not None and user.following):
        raise WorldError("only followers may comment on this article")
    if not content.strip() or len(content) > world.policy.comment_chars:
        raise WorldError(f"a comment has 1 to {world.policy.comment_chars} characters")
    if len(published.comments) >= world.policy.comments_kept:
        raise WorldError("this simulator keeps no more comments on one article")
    account.library.comment_serial += 1
    comment = Comment(account.library.comment_serial, openid, nickname, content, now)
    published.comments.append(comment)
    return comment
