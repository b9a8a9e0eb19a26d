"""Files that come down: into memory, into a file, or piece by piece.

The platform answers an error with HTTP 200 in the place of the file, under several labels. It is recognised by its
first bytes and raised as what it is, before anything is written.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

import attrs

from wxmp._answer import LONGEST_LENGTH
from wxmp._caller import LARGEST_FILE, Arrival
from wxmp._files import arriving, target_path
from wxmp.errors import ConfigError, ReplyError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from wxmp._caller import Caller, Endpoint
    from wxmp._request import Progress
    from wxmp._wire import JsonObject

__all__ = ["DownloadedFile", "FileStream", "receive_file"]

#: Seconds for one whole file.
TIMEOUT: Final = 60.0
#: Bytes that are written at once, in a thread.
PIECE: Final = 1 << 18

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: What some system does not allow in a name, or takes for the end of a folder or a drive.
_RESERVED: Final = re.compile(r'[<>:"|?*]')


@attrs.frozen
class DownloadedFile:
    """A file of the platform, complete."""

    #: Its bytes; empty when it was written to ``path``.
    content: bytes = attrs.field(repr=False)
    #: Where it was written; ``None`` when it is in ``content``.
    path: Path | None
    #: Bytes.
    size: int
    #: The name the platform gives it, without any folder; empty if it gives none. It names no place on your disk.
    filename: str = ""
    #: MIME type, as the platform labels it.
    content_type: str = ""


class FileStream:
    """A file that is read piece by piece, once: ``async with … as file: async for piece in file``.

    The time of the call goes on running between the pieces. When the connection breaks half-way the iteration ends
    with a :class:`~wxmp.TransportError`; nothing is repeated then.
    """

    def __init__(
        self,
        call: Caller,
        endpoint: Endpoint,
        *,
        params: Mapping[str, str] | None = None,
        json: JsonObject | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> None:
        _check_progress(progress)
        seconds = TIMEOUT if timeout is None else timeout
        self._opening: AbstractAsyncContextManager[Arrival | JsonObject] | None = call.stream(
            endpoint, params=params, json=json, timeout=seconds
        )
        self._endpoint = endpoint
        self._progress = progress
        self._stack = AsyncExitStack()
        self._arrival: Arrival | None = None
        #: The name the platform gives it; as in :class:`DownloadedFile`.
        self.filename: str = ""
        #: MIME type, as the platform labels it.
        self.content_type: str = ""
        #: Bytes in all; ``None`` if the platform does not say.
        self.size: int | None = None
        #: Where a video is to be fetched from: the platform answers its address instead of its content.
        self.video_url: str = ""

    def __repr__(self) -> str:
        return f"<FileStream {self.content_type}>"

    async def __aenter__(self) -> Self:
        opening, self._opening = self._opening, None
        if opening is None:
            raise ConfigError("the file was opened already: a stream is read once", field="file")
        found = await self._stack.enter_async_context(opening)
        if isinstance(found, Arrival):
            self._arrival = found
            self.filename, self.content_type = file_name(found.headers), content_type(found.headers)
            self.size = announced_size(found.headers)
            return self
        self.video_url = str(found.get("video_url") or found.get("down_url") or "")
        if not self.video_url:
            await self._stack.aclose()
            problem = "the answer is neither a file nor the address of a video; articles are read with get()"
            raise ReplyError(problem, endpoint=self._endpoint.name)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._arrival = None
        # What the reader raises goes along: it is how the call ended, for whoever watches.
        await self._stack.__aexit__(exc_type, exc, traceback)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        arrival, self._arrival = self._arrival, None
        if self.video_url:
            raise ReplyError(
                "the platform has answered the address of a video, not its content: fetch video_url",
                endpoint=self._endpoint.name,
            )
        if arrival is None:
            raise ConfigError("the file is not open, or was read already", field="file")
        done = 0
        async for piece in arrival:
            yield piece
            done += len(piece)
            if self._progress is not None:
                self._progress(done, self.size)


async def receive_file(
    call: Caller,
    endpoint: Endpoint,
    *,
    params: Mapping[str, str] | None = None,
    json: JsonObject | None = None,
    to: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    timeout: float | None = None,
    limit: int = LARGEST_FILE,
) -> DownloadedFile | JsonObject:
    """Fetch a file, or the JSON that some endpoints answer instead of one.

    Args:
        call: Of the account.
        endpoint: Which one.
        params: Query parameters.
        json: The payload of a POST.
        to: Where to write it. The file appears there whole or not at all; one that is there is replaced.
        progress: Told the bytes so far and in all; from the start again when the connection broke.
        timeout: Seconds for one whole attempt.
        limit: Bytes the file may have.

    Raises:
        ConfigError: ``to`` is no place for a file, or ``progress`` cannot be called.
        OSError: It cannot be written there.
    """
    _check_progress(progress)
    target = None if to is None else _target(to)

    async def receive(arrival: Arrival) -> DownloadedFile:
        name, kind, whole = file_name(arrival.headers), content_type(arrival.headers), announced_size(arrival.headers)
        size = 0
        async with AsyncExitStack() as opened:
            # A file in memory is not written in a thread: there is nothing to wait for.
            handle: IO[bytes] = BytesIO()
            if target is not None:
                handle = await opened.enter_async_context(arriving(target, private=False))
            waiting = bytearray()
            async for piece in arrival:
                waiting += piece
                if len(waiting) >= PIECE:
                    await _write(handle, waiting)
                    waiting = bytearray()
                size += len(piece)
                if progress is not None:
                    progress(size, whole)
            await _write(handle, waiting)
        content = handle.getvalue() if isinstance(handle, BytesIO) else b""
        return DownloadedFile(content, target, size, name, kind)

    seconds = TIMEOUT if timeout is None else timeout
    return await call.download(endpoint, receive, params=params, json=json, timeout=seconds, limit=limit)


def _check_progress(progress: object) -> None:
    if progress is not None and not callable(progress):
        raise ConfigError("progress must be a function of two numbers", field="progress")


async def _write(handle: IO[bytes], data: bytearray) -> None:
    if isinstance(handle, BytesIO):
        handle.write(data)
    else:
        await asyncio.to_thread(handle.write, data)


def _target(to: str | os.PathLike[str]) -> Path:
    target = target_path(to)
    if "\0" in target.name:
        raise ConfigError("to is not a path", field="to")
    return target


def content_type(headers: Mapping[str, str]) -> str:
    """Return the MIME type of an answer, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def announced_size(headers: Mapping[str, str]) -> int | None:
    """Return how many bytes an answer announces, if they are the bytes of the file."""
    length = headers.get("content-length", "")
    known = length.isdecimal() and len(length) <= LONGEST_LENGTH and not headers.get("content-encoding")
    return int(length) if known else None


def file_name(headers: Mapping[str, str]) -> str:
    """Return the name of a file in an answer; whatever it holds, it names no other folder."""
    text = headers.get("content-disposition", "")
    if not text:
        return ""
    message = Message()
    # Header lines are read as Latin-1; the platform writes UTF-8.
    message["Content-Disposition"] = _UNPRINTABLE.sub("", text.encode("latin-1", "replace").decode("utf-8", "replace"))
    try:
        named = message.get_filename() or ""
    except ValueError:  # it claims a character set that is none
        return ""
    # Once more: what was percent-encoded can hold anything.
    name = _UNPRINTABLE.sub("", named).replace("\\", "/").rpartition("/")[2]
    name = _RESERVED.sub("_", name).strip()
    return "" if name.strip(". ") == "" else name
