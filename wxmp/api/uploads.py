"""Files that go up: from a path, from memory, or as they are made; checked before the first byte is sent.

A file on a disk is read piece by piece. What an asynchronous iterator gives without saying how much it will be is
collected first, beyond 1 MB on the disk: the platform takes no upload without a Content-Length.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import attrs

from wxmp._request import FilePart, Progress, refuse_control
from wxmp.api._checks import refusal
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wxmp._caller import Caller, Endpoint
    from wxmp._wire import JsonObject

__all__ = ["FileSource", "Progress", "UploadRule", "send_file"]

#: A path, the bytes themselves, or an asynchronous iterator of bytes.
FileSource = str | os.PathLike[str] | bytes | AsyncIterable[bytes]

#: Seconds for one whole upload.
TIMEOUT: Final = 60.0
#: An iterator's bytes stay in memory up to here.
IN_MEMORY: Final = 1 << 20
#: Bytes that are enough to know a format by.
HEAD: Final = 32

EMPTY: Final = 44001

#: MIME types by extension.
TYPES: Final[Mapping[str, str]] = {
    "amr": "audio/amr",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "png": "image/png",
    "wav": "audio/wav",
    "wma": "audio/x-ms-wma",
}
#: What files begin with. Formats the platform takes nowhere stand here too: they come under the name of another.
_SIGNATURES: Final = (
    (0, b"\xff\xd8\xff", "jpg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF8", "gif"),
    (0, b"BM", "bmp"),
    (0, b"#!AMR", "amr"),
    (0, b"ID3", "mp3"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wma"),
    (8, b"WAVE", "wav"),
    (8, b"WEBP", "webp"),
    (4, b"ftyphei", "heic"),
    (4, b"ftypmif1", "heic"),
    (4, b"ftypavif", "avif"),
    (4, b"ftypqt", "mov"),
    (4, b"ftyp", "mp4"),
    (0, b"\x1aE\xdf\xa3", "webm"),
    (0, b"OggS", "ogg"),
    (0, b"%PDF", "pdf"),
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
)
#: Extensions that mean the same.
_SAME: Final = {"jpeg": "jpg"}


@attrs.frozen
class UploadRule:
    """What an endpoint takes."""

    #: Extensions, lower case: ``("jpg", "png")``.
    types: tuple[str, ...]
    #: Bytes, both included.
    max_bytes: int
    #: The platform's codes for another format, and for a size it refuses.
    type_refused: int
    size_refused: int


@attrs.frozen
class _Checked:
    content: bytes | Path | AsyncIterator[bytes]
    filename: str
    size: int


async def send_file(
    call: Caller,
    endpoint: Endpoint,
    media: FileSource,
    *,
    rule: UploadRule,
    params: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    field: str = "media",
    filename: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - the transport's own deadline, not a wrapper
) -> JsonObject:
    """Check a file and send it.

    Args:
        call: Of the account.
        endpoint: Which one.
        media: The file.
        rule: What the endpoint takes.
        params: Query parameters.
        form: Plain fields beside the file.
        field: Name of the form field, and of the argument for errors.
        filename: What the platform is told; the path's own name, or ``media`` with the extension of the format.
        size: Bytes that an iterator will give: it is then sent as it is made, once.
        progress: Told the bytes so far and in all.
        timeout: Seconds for one whole attempt.

    Raises:
        ArgumentError: Format or size are not what the endpoint takes; nothing was sent.
        ConfigError: It cannot be read, its name holds a control character, or ``size`` is not what the iterator gave.
    """
    async with _checked(endpoint, media, rule, field, filename, size) as checked:
        part = FilePart(
            field,
            checked.filename,
            checked.content,
            content_type=TYPES.get(_extension(checked.filename), "application/octet-stream"),
            size=checked.size,
            progress=progress,
        )
        seconds = TIMEOUT if timeout is None else timeout
        return await call(endpoint, params=params, files=[part], form=form, timeout=seconds)


@asynccontextmanager
async def _checked(
    endpoint: Endpoint, media: FileSource, rule: UploadRule, field: str, filename: str | None, size: int | None
) -> AsyncGenerator[_Checked, None]:
    """Find out what a source holds. What had to be put down on the disk is gone afterwards."""
    if filename is not None:
        refuse_control("filename", filename)
    if size is not None and (isinstance(media, str | os.PathLike | bytes) or size <= 0):
        raise ConfigError("size is for an iterator: the bytes it will give", field="size")
    if isinstance(media, bytes):
        yield _judged(endpoint, rule, field, _Checked(media, filename or "", len(media)), media[:HEAD])
    elif isinstance(media, str | os.PathLike):
        path = Path(media)
        refuse_control("filename", path.name)
        held = _Checked(path, filename or path.name, _size_of(path, field))
        yield _judged(endpoint, rule, field, held, await asyncio.to_thread(_head_of, path, field))
    elif not isinstance(media, AsyncIterable):
        raise ConfigError(
            f"{field} must be a path, bytes or an asynchronous iterator of bytes, not {type(media).__name__}",
            field=field,
        )
    elif size is not None:
        _check_size(endpoint, rule, field, size)
        head, whole = await _begun(media, field)
        yield _judged(endpoint, rule, field, _Checked(whole, filename or "", size), head)
    else:
        async with _collected(endpoint, media, rule, field) as (content, head, length):
            yield _judged(endpoint, rule, field, _Checked(content, filename or "", length), head)


def _judged(endpoint: Endpoint, rule: UploadRule, field: str, file: _Checked, head: bytes) -> _Checked:
    """Return the file with a name the platform can read its format from, or refuse it."""
    _check_size(endpoint, rule, field, file.size)
    found = _format_of(head)
    named = _extension(file.filename)
    wanted = " or ".join(sorted({_SAME.get(kind, kind).upper() for kind in rule.types}))
    if found is not None and found not in rule.types:
        problem = f"is {found.upper()} by its content; convert it to {wanted}"
        raise refusal(endpoint, field, rule.type_refused, problem)
    if file.filename and named not in rule.types:
        problem = f"must end with .{', .'.join(rule.types)}: the platform goes by the name ({wanted})"
        raise refusal(endpoint, "filename", rule.type_refused, problem)
    if not file.filename:
        if found is None:
            problem = f"is needed: the content does not tell its format ({wanted})"
            raise refusal(endpoint, "filename", rule.type_refused, problem)
        return attrs.evolve(file, filename=f"media.{found}")
    return file


def _check_size(endpoint: Endpoint, rule: UploadRule, field: str, size: int) -> None:
    if size == 0:
        raise refusal(endpoint, field, EMPTY, "is empty")
    if size > rule.max_bytes:
        problem = f"has {size} bytes; the platform takes {rule.max_bytes}"
        raise refusal(endpoint, field, rule.size_refused, problem)


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _format_of(head: bytes) -> str | None:
    for offset, mark, kind in _SIGNATURES:
        if head[offset : offset + len(mark)] == mark:
            return kind
    # A frame of MPEG audio, layer 3; a JPEG was recognised above.
    return "mp3" if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2 else None


def _size_of(path: Path, field: str) -> int:
    try:
        if not path.is_file():
            raise ConfigError(f"{field}: there is no such file", field=field)
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(field, error) from None
    except ValueError:  # a NUL in the path
        raise ConfigError(f"{field} is not a path", field=field) from None


def _head_of(path: Path, field: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise _unreadable(field, error) from None


def _unreadable(field: str, error: OSError) -> ConfigError:
    return ConfigError(f"{field} cannot be read: {error.strerror}", field=field)


async def _begun(source: AsyncIterable[bytes], field: str) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return the beginning of a source, and the whole of it."""
    pieces = aiter(source)
    start = b""
    async for piece in pieces:
        start += _piece(piece, field)
        if len(start) >= HEAD:
            break

    async def whole() -> AsyncIterator[bytes]:
        yield start
        async for piece in pieces:
            yield _piece(piece, field)

    return start[:HEAD], whole()


@asynccontextmanager
async def _collected(
    endpoint: Endpoint, source: AsyncIterable[bytes], rule: UploadRule, field: str
) -> AsyncGenerator[tuple[bytes | Path, bytes, int], None]:
    """Collect a source: its content, its beginning, its size."""
    held, head, size = bytearray(), b"", 0
    handle: IO[bytes] | None = None
    path: Path | None = None
    try:
        async for piece in source:
            held += _piece(piece, field)
            size += len(piece)
            if len(head) < HEAD:
                head = bytes(held[:HEAD])
            if size > rule.max_bytes:
                problem = f"has more than {rule.max_bytes} bytes, which is what the platform takes"
                raise refusal(endpoint, field, rule.size_refused, problem)
            if len(held) > IN_MEMORY:
                if path is None:
                    descriptor, name = tempfile.mkstemp(prefix="wxmp-upload-")
                    handle, path = os.fdopen(descriptor, "wb"), Path(name)
                if handle is not None:
                    await asyncio.to_thread(handle.write, bytes(held))
                held.clear()
        if handle is None or path is None:
            yield bytes(held), head, size
            return
        await asyncio.to_thread(handle.write, bytes(held))
        held.clear()
        handle.close()
        yield path, head, size
    finally:
        if handle is not None:
            handle.close()
        if path is not None:
            with suppress(OSError):
                path.unlink()


def _piece(piece: object, field: str) -> bytes:
    if isinstance(piece, bytes):
        return piece
    raise ConfigError(f"{field} must give bytes, not {type(piece).__name__}", field=field)
