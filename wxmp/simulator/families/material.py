"""Permanent material (永久素材): files, and the news materials from before the draft box."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeVar

from wxmp.simulator import library
from wxmp.simulator.families.media import uploaded
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal, Reply, as_object

if TYPE_CHECKING:
    from wxmp.simulator.library import Article, Draft, Media
    from wxmp.simulator.world import World

__all__ = ["ROUTES", "ordered", "page", "replace_article", "show_article", "show_articles"]

T = TypeVar("T")

LISTED: Final = frozenset({"image", "video", "voice", "news"})


def page(call: Call) -> slice:
    """Read ``offset`` and ``count`` of a list."""
    offset, count = call.number("offset"), call.number("count")
    limit, code = call.world.policy.library_page, call.world.policy.library_page_errcode
    if offset is None or offset < 0:
        raise Refusal(code, f"offset is {call.body.get('offset')!r}")
    if count is None or not 1 <= count <= limit:
        raise Refusal(code, f"count is {call.body.get('count')!r}, 1 to {limit} is allowed")
    return slice(offset, offset + count)


def show_articles(world: World, draft: Draft, *, content: bool = True) -> JsonObject:
    """Return a draft or a news material in the platform's shape."""
    return {
        "news_item": [show_article(world, article, content=content) for article in draft.articles],
        "create_time": int(draft.created_at),
        "update_time": int(draft.updated_at),
    }


def show_article(world: World, article: Article, *, content: bool = True) -> JsonObject:
    """Return one article in the platform's shape."""
    shown: JsonObject = {
        "article_type": article.article_type,
        "title": article.title,
        "author": article.author,
        "digest": article.digest,
        "content": article.content,
        "content_source_url": article.content_source_url,
        "thumb_media_id": article.thumb_media_id,
        "show_cover_pic": article.show_cover_pic,
        "need_open_comment": article.need_open_comment,
        "only_fans_can_comment": article.only_fans_can_comment,
        "thumb_url": library.media_url(world, article.thumb_media_id, "jpg") if article.thumb_media_id else "",
        "url": library.article_url(world, article.key),
    }
    if not content:
        del shown["content"]
    for name in ("image_info", "cover_info", "product_info", "pic_crop_235_1", "pic_crop_1_1"):
        value = getattr(article, name)
        if value:
            shown[name] = value
    return shown


def counted(call: Call, kind: str) -> list[Media]:
    """Return the permanent files that count as one kind, oldest first."""
    kinds = {kind, "thumb"} if kind == "image" and call.world.policy.material_counts_thumbs else {kind}
    return [media for media in call.owner.library.permanent.values() if media.kind in kinds]


def check_room(call: Call, kind: str) -> None:
    """Check that one more material of a kind is allowed (45034)."""
    limit = call.world.policy.material_limits[kind]
    own = call.owner.library
    have = len(own.news) if kind == "news" else sum(media.kind == kind for media in own.permanent.values())
    if have >= limit:
        raise Refusal(45034, f"the account has {have} materials of the kind {kind}")


def add(call: Call) -> JsonObject:
    """Upload permanent material; a video comes with its title and introduction."""
    file, policy = uploaded(call), call.world.policy
    # Where the type stands differs between SDKs: in the query as documented, or in the form.
    wanted = call.query("type") or call.form.fields.get("type", "")
    kind = library.check_file(policy, wanted, file.filename, file.data, permanent=True)
    title, introduction = description(call) if kind == "video" else ("", "")
    check_room(call, kind)
    media = library.store_media(call.world, call.owner, kind, file.filename, file.data, call.now, permanent=True)
    media.title, media.introduction = title, introduction
    answer: JsonObject = {"media_id": media.media_id}
    if kind in {"image", "thumb"}:
        answer["url"] = library.media_url(call.world, media.media_id, media.format)
    return answer


def description(call: Call) -> tuple[str, str]:
    """Read the form field ``description`` of a video: JSON text with title and introduction."""
    code = call.world.policy.material_video_errcode
    raw = call.form.fields.get("description", "")
    if not raw:
        raise Refusal(code, "a video needs the form field description")
    try:
        found = as_object(json.loads(raw, strict=False))
    except (ValueError, RecursionError) as error:
        raise Refusal(47001, "description is not JSON") from error
    title = call.text("title", found) if found else ""
    if not title or found is None:
        raise Refusal(code, "description has no title")
    return title, call.text("introduction", found)


def get(call: Call) -> JsonObject | Reply:
    """Read permanent material: bytes, articles, or what is known of a video."""
    media_id, own = call.text("media_id"), call.owner.library
    news = own.news.get(media_id)
    if news is not None and news.expires_at is None:
        return show_articles(call.world, news)
    media = own.permanent.get(media_id)
    if media is None:
        raise Refusal(40007, "the account has no such permanent material")
    if media.kind == "video":
        link = library.media_url(call.world, media.media_id, "mp4")
        return {"title": media.title, "description": media.introduction, "down_url": link}
    return library.file_reply(media, call.world.policy, why=call.why)


def delete(call: Call) -> JsonObject:
    """Delete permanent material that no menu and no automatic reply uses."""
    media_id, own = call.text("media_id"), call.owner.library
    if not library.known_media(call.owner, media_id):
        raise Refusal(40007, "the account has no such permanent material")
    if library.is_used(call.owner, media_id):
        raise Refusal(48005, "a menu or an automatic reply leads to the material")
    if own.news.pop(media_id, None) is None:
        library.drop(own, media_id)
    return OK()


def count(call: Call) -> JsonObject:
    """Count permanent material."""
    return {
        "voice_count": len(counted(call, "voice")),
        "video_count": len(counted(call, "video")),
        "image_count": len(counted(call, "image")),
        "news_count": sum(news.expires_at is None for news in call.owner.library.news.values()),
    }


def list_page(call: Call) -> JsonObject:
    """List permanent material of one kind, one page."""
    kind = call.text("type")
    if kind not in LISTED:
        raise Refusal(40004, f"type is {call.body.get('type')!r}")
    wanted, world = page(call), call.world
    if kind == "news":
        found = [news for news in call.owner.library.news.values() if news.expires_at is None]
        entries: list[JsonObject] = [
            {
                "media_id": news.media_id,
                "content": show_articles(world, news),
                "update_time": int(news.updated_at),
            }
            for news in ordered(call, found)[wanted]
        ]
        return {"item": entries, "total_count": len(found), "item_count": len(entries)}
    files = counted(call, kind)
    entries = [
        {
            "media_id": media.media_id,
            "name": media.title or media.filename,
            "update_time": int(media.created_at),
            "url": library.media_url(world, media.media_id, media.format) if kind == "image" else "",
        }
        for media in ordered(call, files)[wanted]
    ]
    return {"item": entries, "total_count": len(files), "item_count": len(entries)}


def ordered(call: Call, entries: list[T]) -> list[T]:
    """Put a list into the order the platform shows it in."""
    return entries[::-1] if call.world.policy.library_newest_first else entries


def add_news(call: Call) -> JsonObject:
    """Create articles the old way (新增永久图文素材)."""
    if not call.world.policy.old_news_open:
        raise Refusal(48001, "articles are made with the draft box now")
    found = library.check_articles(call.world, call.owner, call.body.get("articles"), call.now)
    check_room(call, "news")
    return {"media_id": library.store_draft(call.world, call.owner, found, call.now, news=True).media_id}


def update_news(call: Call) -> JsonObject:
    """Change one article the old way (修改永久图文素材)."""
    if not call.world.policy.old_news_open:
        raise Refusal(48001, "articles are made with the draft box now")
    news = call.owner.library.news.get(call.text("media_id"))
    if news is None or news.expires_at is not None:
        raise Refusal(40007, "the account has no such news material")
    replace_article(call, news)
    return OK()


def replace_article(call: Call, draft: Draft) -> None:
    """Put a new article in the place of an old one; its preview link stays."""
    index = call.number("index")
    if index is None or not 0 <= index < len(draft.articles):
        raise Refusal(40114, f"index is {call.body.get('index')!r}, there are {len(draft.articles)} articles")
    value = call.body.get("articles")
    alone = len(draft.articles) == 1
    article = library.read_article(call.world, call.owner, value, call.now, alone=alone)
    article.key = draft.articles[index].key
    draft.articles[index] = article
    draft.updated_at = call.now


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/material/add_material", add, accounts="all", takes="form"),
    Route("POST", "/cgi-bin/material/get_material", get, accounts="all", style="binary"),
    Route("POST", "/cgi-bin/material/del_material", delete, accounts="all"),
    Route("GET", "/cgi-bin/material/get_materialcount", count, accounts="all"),
    Route("POST", "/cgi-bin/material/batchget_material", list_page, accounts="all"),
    Route("POST", "/cgi-bin/material/add_news", add_news, accounts="all"),
    Route("POST", "/cgi-bin/material/update_news", update_news, accounts="all"),
)
