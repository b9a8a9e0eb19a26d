"""Temporary media (临时素材), pictures for article bodies, and the addresses that serve stored files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wxmp.simulator import articles, formats, library
from wxmp.simulator.routes import Call, Route
from wxmp.simulator.wire import JsonObject, Refusal, Reply, json_reply

if TYPE_CHECKING:
    from wxmp.simulator.wire import UploadedFile

__all__ = ["ROUTES", "uploaded"]


def uploaded(call: Call) -> UploadedFile:
    """Return the file of the form field ``media``; without one, 41005."""
    found = call.form.files.get("media")
    if found is None:
        named = ", ".join(sorted({*call.form.files, *call.form.fields})) or "nothing"
        raise Refusal(41005, f"the form has no file named media that carries a file name; it has {named}")
    return found


def upload(call: Call) -> JsonObject:
    """Upload temporary media."""
    file = uploaded(call)
    kind = library.check_file(call.world.policy, call.query("type"), file.filename, file.data, permanent=False)
    media = library.store_media(call.world, call.owner, kind, file.filename, file.data, call.now)
    call.why += f"; {len(file.data)} bytes kept"
    thumb = call.world.policy.thumb_answer
    names = ("media_id",) if kind != "thumb" else ("thumb_media_id", "media_id") if thumb == "both" else (thumb,)
    return {"type": kind, **dict.fromkeys(names, media.media_id), "created_at": int(call.now)}


def get(call: Call) -> Reply:
    """Download temporary media: bytes, but a link for a video."""
    media = library.need_media(call.owner, call.query("media_id"), call.now)
    if media.expires_at is None:
        raise Refusal(40007, "the media is permanent, and this endpoint serves temporary ones")
    if media.kind == "video":
        link = library.media_url(call.world, media.media_id, "mp4")
        return json_reply({"video_url": link}, why=call.why, content_type=call.world.policy.media_link_content_type)
    return library.file_reply(media, call.world.policy, why=call.why)


def get_hd_voice(call: Call) -> Reply:
    """Download a recording of the JS-SDK in high quality; here these are the bytes that were stored."""
    media = library.need_media(call.owner, call.query("media_id"), call.now, ("voice",))
    return library.file_reply(media, call.world.policy, why=call.why)


def upload_article_image(call: Call) -> JsonObject:
    """Upload a picture for article bodies; it has a link and counts against no limit."""
    file, policy = uploaded(call), call.world.policy
    if not file.data:
        raise Refusal(44001, "the file is empty")
    library.check_format(policy, file.filename, file.data, policy.article_image_formats)
    if len(file.data) >= policy.article_image_bytes:
        raise Refusal(40009, f"the picture has {len(file.data)} bytes, allowed are under {policy.article_image_bytes}")
    picture = library.store_picture(call.world, call.owner, file.data, call.now)
    return {"url": library.media_url(call.world, picture.key, picture.format)}


def serve(call: Call) -> Reply:
    """Serve a stored file to anybody who knows its key, as the platform's picture host does."""
    key = call.path["key"]
    for account in call.world.state.accounts.values():
        found = account.library.pictures.get(key) or library.find_media(account, key, call.now)
        if found is not None:
            call.account = account
            # Never the type an uploader claims: a file that is no picture must not become a page.
            kind = formats.CONTENT_TYPES.get(found.format, "application/octet-stream")
            headers = (("x-content-type-options", "nosniff"),)
            return Reply(found.data, content_type=kind, headers=headers, why="a stored file, shown to anybody")
    return Reply(articles.NOTHING_HERE, status=404, content_type="text/html; charset=utf-8", why="no such file")


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/media/upload", upload, accounts="all", takes="form"),
    Route("GET", "/cgi-bin/media/get", get, accounts="all", style="binary"),
    Route("GET", "/cgi-bin/media/get/jssdk", get_hd_voice, style="binary"),
    Route("POST", "/cgi-bin/media/uploadimg", upload_article_image, accounts="all", takes="form"),
    Route("GET", "/mmbiz/{key}", serve, auth="none", host="mp", style="page"),
)
