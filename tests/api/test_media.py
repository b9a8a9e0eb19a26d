"""Temporary material, in front of a platform of recorded answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api.test_uploads import AMR, BMP, DONE, GIF, JPEG, MP3, MP4, PNG, parts
from wxmp import ArgumentError, ConfigError, NotFoundError, ReplyError, TransportError
from wxmp.api.media import MediaAPI, MediaFile, UploadedMedia

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Platform
    from wxmp._caller import Caller

UPLOAD = "/cgi-bin/media/upload"
GET = "/cgi-bin/media/get"
HD_VOICE = "/cgi-bin/media/get/jssdk"
CREATED = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
VIDEO: dict[str, Any] = {"video_url": "http://v.example.com/1.mp4"}
UNKNOWN: dict[str, Any] = {"errcode": 40007, "errmsg": "invalid media_id"}


@pytest.fixture
def media(caller: Caller) -> MediaAPI:
    """The family."""
    return MediaAPI(caller)


def file(content: bytes = JPEG, kind: str = "image/jpeg", name: str = "M1.jpg") -> httpx.Response:
    """A file as the platform answers it."""
    headers = {"Content-Type": kind, "Content-disposition": f'attachment; filename="{name}"'}
    return httpx.Response(200, content=content, headers=headers)


# ---- upload


@pytest.mark.parametrize(
    ("kind", "content"),
    [("image", JPEG), ("image", PNG), ("image", GIF), ("voice", MP3), ("voice", AMR), ("video", MP4)],
)
async def test_upload_sends_the_kind(platform: Platform, media: MediaAPI, kind: Any, content: bytes) -> None:
    """The kind goes into the query, the file into the form field ``media``, and the answer becomes a record."""
    route = platform.answer("POST", UPLOAD, {**DONE, "type": kind})
    assert await media.upload(content, type=kind) == UploadedMedia("M1", kind, CREATED)
    assert platform.params(route) == {"type": kind}
    ((head, sent),) = parts(route)
    assert 'name="media"' in head
    assert sent == content


@pytest.mark.parametrize(
    "answer",
    [
        {"thumb_media_id": "T1"},
        {"media_id": "T1"},
        {"media_id": "T1", "thumb_media_id": "T1"},
        {"media_id": "", "thumb_media_id": "T1"},
        {"media_id": "T1", "thumb_media_id": ""},
    ],
)
async def test_a_thumbnail_has_a_media_id(platform: Platform, media: MediaAPI, answer: dict[str, str]) -> None:
    """The id of a thumbnail is in ``media_id``, under whichever name the platform gives it."""
    platform.answer("POST", UPLOAD, {"type": "thumb", "created_at": "1790000000", **answer})
    assert await media.upload(JPEG, type="thumb") == UploadedMedia("T1", "thumb", CREATED)


async def test_upload_without_an_id(platform: Platform, media: MediaAPI) -> None:
    """An answer without an id is of no use."""
    platform.answer("POST", UPLOAD, {"type": "image", "created_at": 1790000000})
    with pytest.raises(ReplyError, match="media_id"):
        await media.upload(JPEG, type="image")


async def test_upload_keeps_what_is_new(platform: Platform, media: MediaAPI) -> None:
    """Fields of tomorrow are kept, the verdict is not; an unknown kind is a text."""
    platform.answer("POST", UPLOAD, {**DONE, "type": "hologram", "item": [1], "errcode": 0, "errmsg": "ok"})
    assert await media.upload(JPEG, type="image") == UploadedMedia("M1", "hologram", CREATED, extra={"item": [1]})


@pytest.mark.parametrize("errcode", [40004, 40005, 40006, 40009, 40010, 40011, 40012, 41005, 44001, 45001, 45007])
async def test_upload_that_is_refused(platform: Platform, media: MediaAPI, errcode: int) -> None:
    """What only the platform can see is refused by it, under the class of a bad argument."""
    platform.answer("POST", UPLOAD, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(ArgumentError) as caught:
        await media.upload(JPEG, type="image")
    assert (caught.value.errcode, caught.value.field) == (errcode, "")


async def test_a_bitmap_is_permanent_only(media: MediaAPI) -> None:
    """A format that permanent material takes is refused here."""
    with pytest.raises(ArgumentError) as caught:
        await media.upload(BMP, type="image")
    assert (caught.value.errcode, caught.value.field) == (40005, "media")


async def test_upload_is_repeated(platform: Platform, media: MediaAPI) -> None:
    """A second copy does no lasting harm, so an unknown outcome is repeated."""
    route = platform.answer("POST", UPLOAD, httpx.ReadTimeout("slow"), DONE)
    await media.upload(JPEG, type="image")
    assert len(route.calls) == 2


# ---- get


async def test_get_reads_a_file(platform: Platform, media: MediaAPI) -> None:
    """A file is read with its name and type; its content is not in the ``repr``."""
    route = platform.answer("GET", GET, file())
    found = await media.get("M1")
    assert found == MediaFile(JPEG, None, len(JPEG), "M1.jpg", "image/jpeg")
    assert platform.params(route) == {"media_id": "M1"}
    assert "content=" not in repr(found)


async def test_get_writes_a_file(platform: Platform, media: MediaAPI, tmp_path: Path) -> None:
    """With a target the file is there."""
    platform.answer("GET", GET, file())
    found = await media.get("M1", to=tmp_path / "a.jpg")
    assert found == MediaFile(b"", tmp_path / "a.jpg", len(JPEG), "M1.jpg", "image/jpeg")
    assert (tmp_path / "a.jpg").read_bytes() == JPEG


@pytest.mark.parametrize("label", ["text/plain", "application/json", "video/mp4"])
async def test_get_of_a_video(platform: Platform, media: MediaAPI, tmp_path: Path, label: str) -> None:
    """A video is answered by its address, whatever that is labelled; nothing is written."""
    answer = httpx.Response(200, json={**VIDEO, "new": 1}, headers={"Content-Type": label})
    platform.answer("GET", GET, answer)
    found = await media.get("M1", to=tmp_path / "a.mp4")
    assert found == MediaFile(video_url=VIDEO["video_url"], extra={"new": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", [{}, {"errcode": 0, "errmsg": "ok"}, {"video_url": None}, {"video_url": {}}])
async def test_get_of_words_without_an_address(platform: Platform, media: MediaAPI, answer: dict[str, Any]) -> None:
    """JSON that is neither an error nor a video is no answer."""
    platform.answer("GET", GET, answer)
    with pytest.raises(ReplyError):
        await media.get("M1")


@pytest.mark.parametrize("label", ["image/jpeg", "text/plain", "application/json", "audio/amr"])
async def test_get_of_an_unknown_file(platform: Platform, media: MediaAPI, label: str) -> None:
    """An error in the place of the file is raised, whatever it is labelled."""
    platform.answer("GET", GET, httpx.Response(200, json=UNKNOWN, headers={"Content-Type": label}))
    with pytest.raises(NotFoundError) as caught:
        await media.get("M1")
    assert caught.value.errcode == 40007


async def test_get_is_repeated(platform: Platform, media: MediaAPI) -> None:
    """A failure that passes is survived."""
    platform.answer("GET", GET, httpx.ReadError("reset"), {"errcode": -1, "errmsg": "busy"}, file())
    assert (await media.get("M1")).content == JPEG


# ---- recordings


async def test_get_hd_voice(platform: Platform, media: MediaAPI, tmp_path: Path) -> None:
    """A recording is read as it is, even if it begins like JSON, into memory and into a file."""
    sound = b"{\x00\x01speex" + bytes(200)
    route = platform.answer("GET", HD_VOICE, file(sound, "voice/speex", "M1.speex"))
    assert await media.get_hd_voice("M1") == MediaFile(sound, None, len(sound), "M1.speex", "voice/speex")
    found = await media.get_hd_voice("M1", to=tmp_path / "a.speex")
    assert (found.path, (tmp_path / "a.speex").read_bytes()) == (tmp_path / "a.speex", sound)
    assert platform.params(route) == {"media_id": "M1"}


async def test_get_hd_voice_of_nothing(platform: Platform, media: MediaAPI) -> None:
    """An unknown recording is an error under any label."""
    platform.answer("GET", HD_VOICE, httpx.Response(200, json=UNKNOWN, headers={"Content-Type": "voice/speex"}))
    with pytest.raises(NotFoundError):
        await media.get_hd_voice("M1")


async def test_streams(platform: Platform, media: MediaAPI) -> None:
    """Both kinds of download can be read piece by piece."""
    plain = platform.answer("GET", GET, file())
    voice = platform.answer("GET", HD_VOICE, file(b"sound", "voice/speex"))
    async with media.stream("M1") as found:
        assert b"".join([piece async for piece in found]) == JPEG
    async with media.stream_hd_voice("M2") as found:
        assert b"".join([piece async for piece in found]) == b"sound"
    assert (platform.params(plain), platform.params(voice)) == ({"media_id": "M1"}, {"media_id": "M2"})


# ---- arguments


@pytest.mark.parametrize("media_id", ["", " ", None, 5])
async def test_media_ids_are_texts(media: MediaAPI, media_id: Any) -> None:
    """What cannot be a ``media_id`` is refused before sending."""
    for call in (media.get, media.get_hd_voice):
        with pytest.raises(ArgumentError) as caught:
            await call(media_id)
        assert (caught.value.errcode, caught.value.field) == (40007, "media_id")
    for stream in (media.stream, media.stream_hd_voice):
        with pytest.raises(ArgumentError):
            stream(media_id)


async def test_the_time_is_passed_on(platform: Platform, media: MediaAPI) -> None:
    """A time that has run out already lets nothing through."""
    with pytest.raises(TransportError):
        await media.get("M1", timeout=1e-9)
    with pytest.raises(ConfigError):
        await media.get("M1", to="missing/a.jpg")
    assert not platform.router.calls
