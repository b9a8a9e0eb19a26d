"""Temporary material (临时素材): files that the platform keeps for three days."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_text
from wxmp.api.downloads import DownloadedFile, FileStream, receive_file
from wxmp.api.uploads import (
    IMAGE_SIZE,
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
    from collections.abc import Mapping

__all__ = ["MediaAPI", "MediaFile", "UploadedMedia"]

UNKNOWN_MEDIA: Final = 40007

#: What each kind may be. Of the two limits that are documented for pictures (10 MB, 2 MB) the larger one stands here.
RULES: Final[Mapping[str, UploadRule]] = {
    "image": UploadRule(("jpg", "jpeg", "png", "gif"), 10 * MIB, type_refused=TYPE_REFUSED, size_refused=IMAGE_SIZE),
    "voice": UploadRule(("mp3", "amr"), 2 * MIB, type_refused=TYPE_REFUSED, size_refused=VOICE_SIZE),
    "video": VIDEO,
    "thumb": THUMB,
}

UPLOAD: Final = Endpoint("POST", "/cgi-bin/media/upload", repeatable=True)
GET: Final = Endpoint("GET", "/cgi-bin/media/get", repeatable=True)
GET_HD_VOICE: Final = Endpoint("GET", "/cgi-bin/media/get/jssdk", repeatable=True)


@attrs.frozen
class UploadedMedia:
    """A file that was uploaded (上传的临时素材)."""

    #: For messages and replies, for three days.
    media_id: str
    #: ``image``, ``voice``, ``video`` or ``thumb``.
    type: str
    create_time: datetime = attrs.field(metadata=wire("created_at"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MediaFile:
    """A file as it is read back (临时素材): its content, or the address of a video."""

    #: Its bytes; empty when they were written to ``path``, and for a video.
    content: bytes = attrs.field(default=b"", repr=False)
    #: Where it was written; ``None`` when it is in ``content``.
    path: Path | None = None
    #: Bytes.
    size: int = 0
    #: The name the platform gives it, without any folder; empty if it gives none.
    filename: str = ""
    #: MIME type, as the platform labels it.
    content_type: str = ""
    #: Of a video only: where its content is to be fetched from. Without a token; the address ends after a while.
    video_url: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MediaAPI:
    """Temporary material (临时素材): upload for a message, and fetch what users sent. It lives three days.

    A ``media_id`` can be used many times meanwhile, also that of a message from a user. What is to stay goes to
    ``client.material``.
    """

    _call: Caller

    async def upload(
        self,
        media: FileSource,
        *,
        type: Literal["image", "voice", "video", "thumb"],
        filename: str | None = None,
        size: int | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> UploadedMedia:
        """Upload a file (新增临时素材). 100000 a day; a test account 500.

        Nothing is held in memory as a whole, except bytes that are given as such. It is repeated when its outcome is
        unknown: a second copy ends by itself.

        Args:
            media: A path, bytes, or an asynchronous iterator of bytes. An iterator of unknown size is collected
                first, above 1 MB in a temporary file, because the platform wants to know the length.
            type: ``image``: JPG, PNG or GIF up to 10 MB. ``voice``: MP3 or AMR up to 2 MB and 60 s. ``video``: MP4 up
                to 10 MB. ``thumb``: JPG up to 64 KB, for messages with music or video.
            filename: What the platform is told, with the right extension; the path's own name if absent, and ``media``
                with the extension that fits the content.
            size: Bytes that an iterator will give. It is then sent as it is made; and once, for it cannot be repeated.
            progress: Called with the bytes sent so far and in all; from the start again when the upload is repeated.
                What it raises ends the upload.
            timeout: Seconds for one whole attempt; 60 if absent.

        Raises:
            ArgumentError: The kind is refused (40004), the format (40005), the size (40006, 40009 to 40012, 45001), or
                the file is empty (44001); a voice is too long (45007). What can be found out before is not sent.
            ConfigError: The file cannot be read, its name cannot be sent, or ``size`` is not what the iterator gave.

        Source:
            POST /cgi-bin/media/upload - 素材管理 / 临时素材 / 新增临时素材
        """
        reply = await send_file(
            self._call,
            UPLOAD,
            media,
            rule=rule_of(UPLOAD, RULES, type),
            params={"type": type},
            filename=filename,
            size=size,
            progress=progress,
            timeout=timeout,
        )
        answer = without_verdict(reply)
        # The id of a thumbnail has another name.
        thumb = answer.get("thumb_media_id")
        answer = {name: value for name, value in answer.items() if name != "thumb_media_id"}
        if thumb and not answer.get("media_id"):
            answer["media_id"] = thumb
        return decode(UploadedMedia, answer, endpoint=UPLOAD.name)

    async def get(
        self,
        media_id: str,
        *,
        to: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> MediaFile:
        """Fetch a file, or the address of a video (获取临时素材). 200000 a day; a test account 1000.

        When the connection breaks half-way the file is fetched again from its start.

        Args:
            media_id: From an upload, or from a message of a user.
            to: Where to write it: a file there is replaced, by the whole of the new one or not at all. Without it the
                content is in the result. A video has no content here, and nothing is written then.
            progress: Called with the bytes so far and in all (``None``: unknown); from 0 again when it is repeated.
            timeout: Seconds for one whole attempt; 60 if absent.

        Raises:
            NotFoundError: No such file of this account, or its three days are over (40007).
            ReplyError: The answer is neither a file nor the address of one.
            ConfigError: ``to`` is no place for a file.

        Source:
            GET /cgi-bin/media/get - 素材管理 / 临时素材 / 获取临时素材
        """
        return await self._fetch(GET, media_id, to, progress, timeout)

    def stream(self, media_id: str, *, progress: Progress | None = None, timeout: float | None = None) -> FileStream:
        """Fetch a file piece by piece (获取临时素材).

        For example::

            async with client.media.stream(media_id) as file:
                async for piece in file: ...

        Once it is open nothing is repeated. A video has no pieces: ``file.video_url`` says where it is.

        Args:
            media_id: From an upload, or from a message of a user.
            progress: Called with the bytes so far and in all (``None``: unknown).
            timeout: Seconds until the last piece is read; 60 if absent.

        Raises:
            NotFoundError: No such file of this account, or its three days are over (40007); when it is opened.
            TransportError: The connection breaks while it is read.

        Source:
            GET /cgi-bin/media/get - 素材管理 / 临时素材 / 获取临时素材
        """
        return FileStream(self._call, GET, params=_named(GET, media_id), progress=progress, timeout=timeout)

    async def get_hd_voice(
        self,
        media_id: str,
        *,
        to: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> MediaFile:
        """Fetch a recording of the JS-SDK in high quality (获取高清语音素材). Verified accounts only.

        Args:
            media_id: The ``serverId`` that ``uploadVoice`` gave in the page.
            to: As of :meth:`get`.
            progress: As of :meth:`get`.
            timeout: As of :meth:`get`.

        Returns:
            The sound, speex at 16 kHz.

        Raises:
            NotFoundError: No such recording of this account, or its three days are over (40007).
            ReplyError: The answer is no file.
            ConfigError: ``to`` is no place for a file.

        Source:
            GET /cgi-bin/media/get/jssdk - 素材管理 / 临时素材 / 获取高清语音素材
        """
        return await self._fetch(GET_HD_VOICE, media_id, to, progress, timeout)

    def stream_hd_voice(
        self, media_id: str, *, progress: Progress | None = None, timeout: float | None = None
    ) -> FileStream:
        """Fetch a recording of the JS-SDK in high quality, piece by piece (获取高清语音素材).

        Args:
            media_id: The ``serverId`` that ``uploadVoice`` gave in the page.
            progress: As of :meth:`stream`.
            timeout: As of :meth:`stream`.

        Raises:
            NotFoundError: No such recording of this account, or its three days are over (40007); when it is opened.
            TransportError: The connection breaks while it is read.

        Source:
            GET /cgi-bin/media/get/jssdk - 素材管理 / 临时素材 / 获取高清语音素材
        """
        params = _named(GET_HD_VOICE, media_id)
        return FileStream(self._call, GET_HD_VOICE, params=params, progress=progress, timeout=timeout)

    async def _fetch(
        self,
        endpoint: Endpoint,
        media_id: str,
        to: str | os.PathLike[str] | None,
        progress: Progress | None,
        timeout: float | None,
    ) -> MediaFile:
        found = await receive_file(
            self._call, endpoint, params=_named(endpoint, media_id), to=to, progress=progress, timeout=timeout
        )
        if isinstance(found, DownloadedFile):
            return MediaFile(found.content, found.path, found.size, found.filename, found.content_type)
        answer = without_verdict(found)
        address = decode(str, field_of(answer, "video_url", endpoint), endpoint=endpoint.name)
        if not address:
            raise ReplyError("the answer is neither a file nor the address of a video", endpoint=endpoint.name)
        extra = {name: value for name, value in answer.items() if name != "video_url"}
        return MediaFile(video_url=address, extra=extra)


def _named(endpoint: Endpoint, media_id: object) -> dict[str, str]:
    return {"media_id": check_text(endpoint, "media_id", media_id, errcode=UNKNOWN_MEDIA)}
