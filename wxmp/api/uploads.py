"""Files that go up: from a path, from memory, or as they are made; checked before the first byte is sent.

A file on a disk is read piece by piece. What an asynchronous iterator gives without saying how much it will be is
collected first, beyond 1 MB on the disk: the platform takes no upload without a Content-Length.

A file that cannot be right is refused before anything is sent: by its size, by the extension of its name, and by its
first bytes where they are those of another format. What is not known is left to the platform.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import attrs

from wxmp._request import FilePart, Progress, refuse_control
from wxmp._wire import has_utf8
from wxmp.api._checks import refusal
from wxmp.errors import ConfigError, DeadTokenError

if TYPE_CHECKING:
    from collections.abc import Generator

    from wxmp._caller import Caller, Endpoint
    from wxmp._wire import JsonObject

__all__ = ["FileSource", "Progress", "UploadRule", "rule_of", "send_file"]

#: A path, the bytes themselves, or an asynchronous iterator of bytes.
FileSource = str | os.PathLike[str] | bytes | AsyncIterable[bytes]

#: Seconds for one whole upload.
TIMEOUT: Final = 60.0
#: An iterator's bytes stay in memory up to here.
IN_MEMORY: Final = 1 << 20
#: Bytes that are written to the disk at once, in a thread.
PIECE: Final = 1 << 18
#: Bytes that are enough to know a format by.
HEAD: Final = 32

MIB: Final = 1 << 20

KIND_REFUSED: Final = 40004
TYPE_REFUSED: Final = 40005
IMAGE_SIZE: Final = 40009
VOICE_SIZE: Final = 40010
VIDEO_SIZE: Final = 40011
THUMB_SIZE: Final = 40012
EMPTY: Final = 44001

USED_UP: Final = (
    "The iterator is used up, so the upload was not repeated with the new token: call again with a new iterator, or "
    "leave size out and the content is kept for that."
)

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
    (0, b"#!AMR", "amr"),
    (0, b"#!SILK", "silk"),
    (1, b"#!SILK", "silk"),
    (0, b"ID3", "mp3"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wma"),
    (0, b"fLaC", "flac"),
    (8, b"WAVE", "wav"),
    (8, b"WEBP", "webp"),
    (8, b"AVI ", "avi"),
    (4, b"ftyphei", "heic"),
    (4, b"ftyphev", "heic"),
    (4, b"ftypmif1", "heic"),
    (4, b"ftypmsf1", "heic"),
    (4, b"ftypavi", "avif"),
    (4, b"ftypqt", "mov"),
    (4, b"ftyp", "mp4"),
    (0, b"\x1aE\xdf\xa3", "webm"),
    (0, b"OggS", "ogg"),
    (0, b"%PDF", "pdf"),
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
    # A page or an answer of some server, kept under the name of the file that was wanted.
    (0, b"<!", "html"),
    (0, b"<html", "html"),
    (0, b"<?xml", "xml"),
    (0, b"<svg", "svg"),
    (0, b'{"', "json"),
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


#: What temporary and permanent material have in common.
VIDEO: Final = UploadRule(("mp4",), 10 * MIB, type_refused=TYPE_REFUSED, size_refused=VIDEO_SIZE)
THUMB: Final = UploadRule(("jpg", "jpeg"), 64 * 1024, type_refused=TYPE_REFUSED, size_refused=THUMB_SIZE)


def rule_of(endpoint: Endpoint, rules: Mapping[str, UploadRule], kind: object) -> UploadRule:
    """Return what is demanded of a kind of file.

    Raises:
        ArgumentError: There is no such kind (40004).
    """
    rule = rules.get(kind) if isinstance(kind, str) else None
    if rule is None:
        raise refusal(endpoint, "type", KIND_REFUSED, f"must be one of {', '.join(rules)}")
    return rule


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
    timeout: float | None = None,
) -> JsonObject:
    """Check a file and send it.

    An asynchronous generator is closed in any case, so that what it holds open is not left to the garbage collector.

    Args:
        call: Of the account.
        endpoint: Which one.
        media: The file.
        rule: What the endpoint takes.
        params: Query parameters.
        form: Plain fields beside the file.
        field: Name of the form field, and of the argument for errors.
        filename: What the platform is told; the path's own name if that has an extension, or else ``media`` with the
            one of the format.
        size: Bytes that an iterator will give: it is then sent as it is made, once.
        progress: Told the bytes so far and in all.
        timeout: Seconds for one whole attempt; an iterator of unknown size is collected before.

    Raises:
        ArgumentError: Format or size are not what the endpoint takes; nothing was sent.
        ConfigError: It cannot be read, its name cannot be sent, or ``size`` is not what the iterator gave.
        OSError: The disk has no room for what an iterator gives.
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
        try:
            return await call(endpoint, params=params, files=[part], form=form, timeout=seconds)
        except DeadTokenError as error:
            if part.replayable:
                raise
            raise error.with_advice(f"{USED_UP} {error.advice}".rstrip()) from None


@asynccontextmanager
async def _checked(
    endpoint: Endpoint, media: FileSource, rule: UploadRule, field: str, filename: str | None, size: int | None
) -> AsyncGenerator[_Checked, None]:
    """Find out what a source holds. What had to be put down on the disk is gone afterwards."""
    if size is not None and (isinstance(media, str | os.PathLike | bytes) or not _is_count(size)):
        raise ConfigError("size is for an iterator: the bytes it will give", field="size")
    if filename:
        _check_name(endpoint, rule, filename)
    if isinstance(media, bytes):
        yield _judged(endpoint, rule, field, _Checked(media, filename or "", len(media)), media[:HEAD])
    elif isinstance(media, str | os.PathLike):
        path = Path(media)
        # The temporary files of web frameworks have names without an extension: the content tells it.
        held = _Checked(path, filename or (path.name if "." in path.name else ""), _size_of(path, field))
        if held.filename:
            _check_name(endpoint, rule, held.filename)
        yield _judged(endpoint, rule, field, held, await asyncio.to_thread(_head_of, path, field))
    else:
        _check_iterable(media, field)
        async with AsyncExitStack() as opened:
            pieces = aiter(media)
            if isinstance(pieces, AsyncGenerator):
                opened.push_async_callback(pieces.aclose)
            if size is not None:
                _check_size(endpoint, rule, field, size)
                head, whole = await _begun(pieces, field)
                await opened.enter_async_context(aclosing(whole))
                found = _Checked(whole, filename or "", size)
            else:
                collected = _collected(endpoint, pieces, rule, field)
                content, head, length = await opened.enter_async_context(collected)
                found = _Checked(content, filename or "", length)
            yield _judged(endpoint, rule, field, found, head)


def _check_iterable(media: object, field: str) -> None:
    if not isinstance(media, AsyncIterable):
        problem = "must be a path, bytes or an asynchronous iterator of bytes"
        raise ConfigError(f"{field} {problem}, not {type(media).__name__}", field=field)


def _check_name(endpoint: Endpoint, rule: UploadRule, filename: str) -> None:
    """Refuse a name that cannot be sent, or that says another format."""
    refuse_control("filename", filename)
    if not has_utf8(filename):
        raise ConfigError("the file's name has no UTF-8 form: set filename", field="filename")
    if _extension(filename) not in rule.types:
        problem = f"must end with .{', .'.join(rule.types)}: the platform goes by the name"
        raise refusal(endpoint, "filename", rule.type_refused, problem)


def _judged(endpoint: Endpoint, rule: UploadRule, field: str, file: _Checked, head: bytes) -> _Checked:
    """Return the file with a name the platform can read its format from, or refuse it."""
    _check_size(endpoint, rule, field, file.size)
    found = _format_of(head)
    wanted = " or ".join(sorted({_SAME.get(kind, kind).upper() for kind in rule.types}))
    if found is not None and found not in rule.types:
        problem = f"is {found.upper()} by its content; convert it to {wanted}"
        raise refusal(endpoint, field, rule.type_refused, problem)
    if not file.filename:
        if found is None:
            problem = f"is needed: the content does not tell its format ({wanted})"
            raise refusal(endpoint, "filename", rule.type_refused, problem)
        return attrs.evolve(file, filename=f"media.{found}")
    return file


def _is_count(size: object) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and size >= 0


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
    # Two letters are too few to know a bitmap by; behind its size it has four zeros.
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "bmp"
    if head[:1] != b"\xff" or len(head) == 1:
        return None
    # Frames without a header before them: MPEG audio of layer 3, and AAC. A JPEG was recognised above.
    return "mp3" if head[1] & 0xE6 == 0xE2 else "aac" if head[1] & 0xF6 == 0xF0 else None


def _size_of(path: Path, field: str) -> int:
    try:
        if path.is_dir():
            raise ConfigError(f"{field} is a folder, not a file", field=field)
        if not path.is_file():
            raise ConfigError(f"{field}: there is no such file", field=field)
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(field, error) from None


def _head_of(path: Path, field: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise _unreadable(field, error) from None


def _unreadable(field: str, error: OSError) -> ConfigError:
    return ConfigError(f"{field} cannot be read: {error.strerror}", field=field)


async def _begun(source: AsyncIterator[bytes], field: str) -> tuple[bytes, AsyncGenerator[bytes, None]]:
    """Return the beginning of a source, and the whole of it."""
    start = b""
    async for piece in source:
        start += _piece(piece, field)
        if len(start) >= HEAD:
            break

    async def whole() -> AsyncGenerator[bytes, None]:
        yield start
        async for piece in source:
            yield _piece(piece, field)

    return start[:HEAD], whole()


@asynccontextmanager
async def _collected(
    endpoint: Endpoint, source: AsyncIterator[bytes], rule: UploadRule, field: str
) -> AsyncGenerator[tuple[bytes | Path, bytes, int], None]:
    """Collect a source: its content, its beginning, its size."""
    held, head, size = bytearray(), b"", 0
    async with AsyncExitStack() as opened:
        path: Path | None = None
        handle: IO[bytes] | None = None
        async for piece in source:
            size += len(_piece(piece, field))
            if size > rule.max_bytes:
                problem = f"has more than {rule.max_bytes} bytes, which is what the platform takes"
                raise refusal(endpoint, field, rule.size_refused, problem)
            held += piece
            if len(head) < HEAD:
                head = bytes(held[:HEAD])
            if handle is None and len(held) > IN_MEMORY:
                path, handle = opened.enter_context(_temporary())
            if handle is not None and len(held) >= PIECE:
                await asyncio.to_thread(handle.write, held)
                held = bytearray()
        if handle is None or path is None:
            yield bytes(held), head, size
            return
        await asyncio.to_thread(handle.write, held)
        handle.flush()
        yield path, head, size


@contextmanager
def _temporary() -> Generator[tuple[Path, IO[bytes]], None, None]:
    """Open a file that only its owner may read, and that is gone afterwards."""
    descriptor, name = tempfile.mkstemp(prefix="wxmp-upload-")
    path, handle = Path(name), os.fdopen(descriptor, "wb")
    try:
        yield path, handle
    finally:
        with suppress(OSError):  # a full disk fails here again
            handle.close()
        with suppress(OSError):
            path.unlink()


def _piece(piece: object, field: str) -> bytes:
    if isinstance(piece, bytes):
        return piece
    raise ConfigError(f"{field} must give bytes, not {type(piece).__name__}", field=field)
