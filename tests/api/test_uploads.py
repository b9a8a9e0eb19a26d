"""Files that go up: what is refused before sending, what arrives, what it costs, and what is left behind."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import stat
import tempfile
import tracemalloc
from contextlib import aclosing, asynccontextmanager
from functools import partial
from io import BufferedWriter, BytesIO, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api.conftest import StubTokens
from tests.moments import skip
from tests.raw_server import RawServer
from tests.test_transport import CancelAt
from wxmp import ArgumentError, ConfigError, DeadTokenError, TimedOutError, TransportError
from wxmp._caller import Caller
from wxmp._redact import Secret
from wxmp._transport import Transport
from wxmp.api.media import MediaAPI
from wxmp.api.uploads import IN_MEMORY, MIB, PIECE
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    import respx

    from tests.api.conftest import Platform
    from tests.raw_server import Exchange

pytestmark = pytest.mark.timeout(60)

UPLOAD = "/cgi-bin/media/upload"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
GIF = b"GIF89a" + bytes(100)
MP3 = b"ID3\x04" + bytes(100)
AMR = b"#!AMR\n" + bytes(100)
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(100)
BMP = b"BM\x9a\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00" + bytes(100)
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(100)
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100)
DONE: dict[str, Any] = {"type": "image", "media_id": "M1", "created_at": 1_790_000_000}
DEAD: dict[str, Any] = {"errcode": 40001, "errmsg": "invalid credential"}
NINE_MB = 9 * MIB


@pytest.fixture
def media(caller: Caller) -> MediaAPI:
    """The family that takes every kind of source."""
    return MediaAPI(caller)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def parts(route: respx.Route, call: int = -1) -> list[tuple[str, bytes]]:
    """Return the parts of an upload as they were on the wire: the head and the content of each."""
    request = route.calls[call].request
    boundary = request.headers["content-type"].removeprefix("multipart/form-data; boundary=")
    assert int(request.headers["content-length"]) == len(request.content)
    first, *found, last = request.content.split(f"--{boundary}".encode())
    assert (first, last) == (b"", b"--\r\n")
    split = [part.partition(b"\r\n\r\n") for part in found]
    return [(head.decode().removeprefix("\r\n"), content.removesuffix(b"\r\n")) for head, _, content in split]


def head(filename: str, kind: str) -> str:
    """Return the head of a part."""
    return f'Content-Disposition: form-data; name="media"; filename="{filename}"\r\nContent-Type: {kind}'


async def pieces(content: bytes, step: int = 50) -> AsyncGenerator[bytes, None]:
    """Give a content piece by piece."""
    for start in range(0, len(content), step):
        yield content[start : start + step]
        await asyncio.sleep(0)


async def picture(size: int) -> AsyncGenerator[bytes, None]:
    """Give a picture that is made while it is read."""
    yield JPEG
    block = bytes(1 << 16)
    left = size - len(JPEG)
    while left:
        yield block[:left]
        left -= len(block[:left])


def sparse(path: Path, size: int, beginning: bytes = JPEG) -> Path:
    """Write a file of any size that takes no room."""
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(size)
    return path


async def refused(media: MediaAPI, platform: Platform, source: Any, kind: Any = "image", **more: Any) -> ArgumentError:
    """Return how an upload is refused; nothing was sent."""
    with pytest.raises(ArgumentError) as caught:
        await media.upload(source, type=kind, **more)
    assert not platform.router.calls
    assert caught.value.endpoint == f"POST {UPLOAD}"
    return caught.value


async def mistaken(media: MediaAPI, platform: Platform, source: Any, **more: Any) -> ConfigError:
    """Return how a mistake is told; nothing was sent."""
    with pytest.raises(ConfigError) as caught:
        await media.upload(source, type="image", **more)
    assert not platform.router.calls
    return caught.value


# ---- what arrives


@pytest.mark.parametrize(
    ("content", "kind", "extension", "label"),
    [
        (JPEG, "image", "jpg", "image/jpeg"),
        (PNG, "image", "png", "image/png"),
        (GIF, "image", "gif", "image/gif"),
        (MP3, "voice", "mp3", "audio/mpeg"),
        (b"\xff\xfb\x90\x00" + bytes(50), "voice", "mp3", "audio/mpeg"),
        (AMR, "voice", "amr", "audio/amr"),
        (MP4, "video", "mp4", "video/mp4"),
        (JPEG, "thumb", "jpg", "image/jpeg"),
    ],
)
async def test_bytes_are_named_after_their_format(
    platform: Platform, media: MediaAPI, content: bytes, kind: Any, extension: str, label: str
) -> None:
    """Bytes without a name get one with the extension of what they are, because the platform goes by it."""
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(content, type=kind)
    assert parts(route) == [(head(f"media.{extension}", label), content)]


@pytest.mark.parametrize("as_text", [True, False])
async def test_a_path_has_its_own_name(platform: Platform, media: MediaAPI, tmp_path: Path, as_text: bool) -> None:
    """A file on the disk arrives whole under its own name, in raw UTF-8."""
    path = tmp_path / "店 图.JPEG"
    path.write_bytes(JPEG * 3000)
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(str(path) if as_text else path, type="image")
    assert parts(route) == [(head("店 图.JPEG", "image/jpeg"), JPEG * 3000)]


async def test_a_given_name_goes_first(platform: Platform, media: MediaAPI, tmp_path: Path) -> None:
    """A file of any name goes up under the one that is given."""
    path = tmp_path / "upload-8f3a"
    path.write_bytes(JPEG)
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(path, type="image", filename="photo.jpg")
    assert parts(route) == [(head("photo.jpg", "image/jpeg"), JPEG)]


@pytest.mark.parametrize("step", [1, 50, 1 << 20])
@pytest.mark.parametrize("sized", [True, False])
async def test_an_iterator_arrives_whole(platform: Platform, media: MediaAPI, sized: bool, step: int) -> None:
    """What an iterator gives arrives with its length announced, whether it was known before or not."""
    route = platform.answer("POST", UPLOAD, DONE)
    size = len(JPEG) if sized else None
    await media.upload(pieces(JPEG, step), type="image", filename="图.jpg", size=size)
    assert parts(route) == [(head("图.jpg", "image/jpeg"), JPEG)]


@pytest.mark.parametrize("more", [0, 1, 5000, PIECE, NINE_MB - IN_MEMORY])
async def test_a_collected_iterator_arrives_whole(platform: Platform, media: MediaAPI, more: int) -> None:
    """An iterator of unknown size arrives whole on both sides of the size up to which it stays in memory."""
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(picture(IN_MEMORY + more), type="image")
    ((_, content),) = parts(route)
    assert content == JPEG + bytes(IN_MEMORY + more - len(JPEG))


async def test_any_asynchronous_iterable_will_do(platform: Platform, media: MediaAPI) -> None:
    """An object with ``__aiter__`` is enough; it needs no ``aclose``."""

    class Source:
        def __init__(self) -> None:
            self.left = [JPEG[:100], b"", JPEG[100:]]

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> bytes:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(Source(), type="image")
    assert parts(route) == [(head("media.jpg", "image/jpeg"), JPEG)]


async def test_a_quote_does_not_end_the_name(platform: Platform, media: MediaAPI) -> None:
    """A quote or a backslash in a name stays within it: no second parameter and no second name can be smuggled in."""
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(JPEG, type="image", filename='a"; name="type"; x="\\".jpg')
    ((found, content),) = parts(route)
    assert found == head("a%22; name=%22type%22; x=%22\\\\%22.jpg", "image/jpeg")
    assert re.findall(r'"', found) == ['"'] * 4
    assert content == JPEG


# ---- what is refused before sending


@pytest.mark.parametrize("name", ["a\r\nX-Injected: 1.jpg", "a\n.jpg", "a\r.jpg", "a\0.jpg", "a\x7f.jpg"])
async def test_names_hold_no_control_characters(platform: Platform, media: MediaAPI, tmp_path: Path, name: str) -> None:
    """A name that could end its header line is refused, given or on the disk."""
    assert (await mistaken(media, platform, JPEG, filename=name)).field == "filename"
    if "\0" not in name:
        (tmp_path / name).write_bytes(JPEG)
        assert (await mistaken(media, platform, tmp_path / name)).field == "filename"


@pytest.mark.parametrize("name", [5, b"a.jpg"])
async def test_names_are_texts(platform: Platform, media: MediaAPI, name: Any) -> None:
    """A name that is no text is refused."""
    assert (await mistaken(media, platform, JPEG, filename=name)).field == "filename"


@pytest.mark.skipif(os.name != "posix", reason="elsewhere every name is Unicode")
async def test_a_name_without_utf8_form(platform: Platform, media: MediaAPI, tmp_path: Path) -> None:
    """A file whose name is not UTF-8 cannot be named to the platform, and can be sent under another name."""
    raw = os.fsencode(tmp_path) + b"/\xcd\xbc\xff.jpg"
    Path(os.fsdecode(raw)).write_bytes(JPEG)
    error = await mistaken(media, platform, os.fsdecode(raw))
    assert (error.field, "UTF-8" in str(error)) == ("filename", True)
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(os.fsdecode(raw), type="image", filename="a.jpg")
    assert parts(route)[0][1] == JPEG


@pytest.mark.parametrize(
    ("content", "kind", "what"),
    [
        (WEBP, "image", "WEBP"),
        (HEIC, "image", "HEIC"),
        (b"\x00\x00\x00\x20ftypavif" + bytes(20), "image", "AVIF"),
        (BMP, "image", "BMP"),
        (b"II*\x00" + bytes(20), "image", "TIFF"),
        (b"%PDF-1.7 ", "image", "PDF"),
        (MP4, "image", "MP4"),
        (b"<!DOCTYPE html><title>404", "image", "HTML"),
        (b'{"errcode":40007}', "image", "JSON"),
        (PNG, "thumb", "PNG"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "voice", "WAV"),
        (b"\xff\xf1\x50\x80" + bytes(20), "voice", "AAC"),
        (b"\x02#!SILK_V3" + bytes(20), "voice", "SILK"),
        (b"OggS" + bytes(40), "voice", "OGG"),
        (b"\x00\x00\x00\x14ftypqt  " + bytes(20), "video", "MOV"),
        (b"\x1aE\xdf\xa3" + bytes(40), "video", "WEBM"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "video", "AVI"),
    ],
)
async def test_another_format_under_a_good_name(
    platform: Platform, media: MediaAPI, tmp_path: Path, content: bytes, kind: Any, what: str
) -> None:
    """A file that is something else by its first bytes is refused, from wherever it comes, with what to do."""
    name = {"image": "a.jpg", "thumb": "a.jpg", "voice": "a.mp3", "video": "a.mp4"}[kind]
    path = tmp_path / name
    path.write_bytes(content)
    for source, more in (
        (path, {}),
        (content, {"filename": name}),
        (pieces(content, 3), {"filename": name}),
        (pieces(content, 3), {"filename": name, "size": len(content)}),
    ):
        error = await refused(media, platform, source, kind, **more)
        assert (error.errcode, error.field) == (40005, "media")
        assert f"is {what} by its content; convert it to " in error.errmsg


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.webp", "image"),
        ("a.jpg.exe", "image"),
        ("jpg", "image"),
        ("a.", "image"),
        ("a.bmp", "image"),
        ("a.png", "thumb"),
        ("a.wav", "voice"),
        ("a.mov", "video"),
    ],
)
async def test_another_extension(platform: Platform, media: MediaAPI, tmp_path: Path, name: str, kind: Any) -> None:
    """A name with another extension is refused, given or on the disk, and an iterator is not even begun."""
    content = {"image": JPEG, "thumb": JPEG, "voice": MP3, "video": MP4}[kind]
    (tmp_path / name).write_bytes(content)

    async def untouched() -> AsyncIterator[bytes]:
        pytest.fail("it was read")
        yield b""

    sources: list[tuple[Any, dict[str, str]]] = [(content, {"filename": name}), (untouched(), {"filename": name})]
    if "." in name:
        sources.append((tmp_path / name, {}))
    for source, more in sources:
        error = await refused(media, platform, source, kind, **more)
        assert (error.errcode, error.field) == (40005, "filename")


@pytest.mark.parametrize(("content", "extension"), [(JPEG, "jpg"), (PNG, "png")])
async def test_a_path_without_an_extension(
    platform: Platform, media: MediaAPI, tmp_path: Path, content: bytes, extension: str
) -> None:
    """A file that has none is sent under a name with the extension of what it is."""
    (tmp_path / "tmpabc123").write_bytes(content)
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(tmp_path / "tmpabc123", type="image")
    ((head, sent),) = parts(route)
    assert f'filename="media.{extension}"' in head
    assert sent == content


async def test_a_path_without_an_extension_that_tells_nothing(
    platform: Platform, media: MediaAPI, tmp_path: Path
) -> None:
    """What can be recognised neither by its name nor by its content is refused."""
    (tmp_path / "tmpabc123").write_bytes(b"no known format, but long enough")
    error = await refused(media, platform, tmp_path / "tmpabc123")
    assert (error.errcode, error.field) == (40005, "filename")


async def test_content_that_tells_nothing_needs_a_name(platform: Platform, media: MediaAPI) -> None:
    """What cannot be recognised is refused without a name, and left to the platform with one."""
    error = await refused(media, platform, b"no known format, but long enough")
    assert (error.errcode, error.field) == (40005, "filename")
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(b"no known format, but long enough", type="image", filename="a.jpg")
    assert route.called


@pytest.mark.parametrize("source", ["path", "bytes", "iterator", "sized"])
async def test_an_empty_file(platform: Platform, media: MediaAPI, tmp_path: Path, source: str) -> None:
    """Nothing is not sent."""
    (tmp_path / "a.jpg").touch()
    error = await refused(
        media,
        platform,
        {"path": tmp_path / "a.jpg", "bytes": b""}.get(source) if source in ("path", "bytes") else pieces(b""),
        filename="a.jpg",
        **({"size": 0} if source == "sized" else {}),
    )
    assert (error.errcode, error.field) == (44001, "media")


@pytest.mark.parametrize(
    ("kind", "limit", "errcode", "content"),
    [
        ("image", 10 * MIB, 40009, JPEG),
        ("voice", 2 * MIB, 40010, MP3),
        ("video", 10 * MIB, 40011, MP4),
        ("thumb", 64 << 10, 40012, JPEG),
    ],
)
async def test_the_largest_file_and_one_byte_more(
    platform: Platform, media: MediaAPI, tmp_path: Path, kind: Any, limit: int, errcode: int, content: bytes
) -> None:
    """The documented limit goes through; one byte more is refused from every source, with the code of the kind."""
    name = {"voice": "a.mp3", "video": "a.mp4"}.get(kind, "a.jpg")
    path = sparse(tmp_path / name, limit + 1, content)
    large = content.ljust(limit + 1, b"\0")
    for source, more in (
        (path, {}),
        (large, {}),
        (pieces(large, 1 << 18), {"filename": name}),
        (pieces(large, 1 << 18), {"filename": name, "size": limit + 1}),
    ):
        error = await refused(media, platform, source, kind, **more)
        assert (error.errcode, error.field) == (errcode, "media")
    sparse(path, limit, content)
    route = platform.answer("POST", UPLOAD, DONE)
    await media.upload(path, type=kind)
    assert len(parts(route)[0][1]) == limit


async def test_an_endless_iterator_ends(platform: Platform, media: MediaAPI, temporary: Path) -> None:
    """An iterator that never ends is refused when the limit is reached, and closed; nothing stays on the disk."""
    closed = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield JPEG
            while True:
                yield bytes(1 << 16)
        finally:
            closed.append(True)

    error = await refused(media, platform, endless())
    assert (error.errcode, closed, list(temporary.iterdir())) == (40009, [True], [])


async def test_one_piece_beyond_all_limits(platform: Platform, media: MediaAPI, temporary: Path) -> None:
    """A single piece that is too large is refused as well."""
    assert (await refused(media, platform, pieces(bytes(11 * MIB), 11 * MIB))).errcode == 40009


async def test_a_path_that_is_no_file(platform: Platform, media: MediaAPI, tmp_path: Path) -> None:
    """A missing file, a folder, a path that cannot be one: each is told apart."""
    missing = await mistaken(media, platform, tmp_path / "missing.jpg")
    assert (missing.field, "no such file" in str(missing)) == ("media", True)
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    assert "folder" in str(await mistaken(media, platform, folder))
    assert "folder" in str(await mistaken(media, platform, ""))
    assert "no such file" in str(await mistaken(media, platform, "a\0b/c.jpg"))
    assert (await mistaken(media, platform, "x" * 5000 + ".jpg")).field == "media"


async def test_a_file_that_cannot_be_opened(
    platform: Platform, media: MediaAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the system says when a file is opened is told before sending."""
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)

    def denied(self: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "cannot be read: Permission denied" in str(await mistaken(media, platform, path))


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(BytesIO(JPEG), id="open file"),
        pytest.param(bytearray(JPEG), id="bytearray"),
        pytest.param(iter([JPEG]), id="synchronous iterator"),
        pytest.param(pieces, id="function"),
        pytest.param(None, id="nothing"),
    ],
)
async def test_a_source_of_another_kind(platform: Platform, media: MediaAPI, source: Any) -> None:
    """What is no path, no bytes and no asynchronous iterator is named by its type."""
    error = await mistaken(media, platform, source)
    assert error.field == "media"
    assert "a path, bytes or an asynchronous iterator" in str(error)
    assert type(source).__name__ in str(error)


@pytest.mark.parametrize("sized", [True, False])
async def test_an_iterator_of_texts(platform: Platform, media: MediaAPI, sized: bool) -> None:
    """An iterator of anything but bytes is a mistake."""

    async def texts() -> AsyncIterator[Any]:
        yield "text"

    more = {"size": 4} if sized else {}
    assert "must give bytes, not str" in str(await mistaken(media, platform, texts(), filename="a.jpg", **more))


@pytest.mark.parametrize("size", [-1, True, 2.5, "9"])
async def test_a_size_that_is_none(platform: Platform, media: MediaAPI, size: Any) -> None:
    """A size is a number of bytes."""
    assert (await mistaken(media, platform, pieces(JPEG), size=size)).field == "size"


@pytest.mark.parametrize("source", [JPEG, "a.jpg", Path("a.jpg")])
async def test_size_is_for_iterators(platform: Platform, media: MediaAPI, source: Any) -> None:
    """Bytes and files have their own size."""
    assert (await mistaken(media, platform, source, size=5)).field == "size"


@pytest.mark.parametrize("claimed", [len(JPEG) - 1, len(JPEG) + 1, 1, 5000])
async def test_a_size_that_lies(claimed: int) -> None:
    """An iterator that gives more or less than announced is a mistake that is named; the platform gets no request."""
    async with RawServer() as server, calling(server.url) as caller:
        with pytest.raises(ConfigError, match="size that was announced"):
            await MediaAPI(caller).upload(pieces(JPEG), type="image", size=claimed)
        assert server.exchanges == []


@pytest.mark.parametrize("kind", ["file", "", None, "news", ["image"]])
async def test_a_kind_that_is_none(platform: Platform, media: MediaAPI, kind: Any) -> None:
    """Only the four kinds are sent."""
    error = await refused(media, platform, JPEG, kind)
    assert (error.errcode, error.field) == (40004, "type")


# ---- progress


@pytest.mark.parametrize("source", ["path", "bytes", "iterator", "sized"])
async def test_progress_grows_to_the_total(platform: Platform, media: MediaAPI, tmp_path: Path, source: str) -> None:
    """The progress never goes back, ends at the total, and knows the total from the start."""
    size = MIB + 5
    content = JPEG.ljust(size, b"\0")
    path = sparse(tmp_path / "a.jpg", size)
    platform.answer("POST", UPLOAD, DONE)
    told: list[tuple[int, int | None]] = []
    given: Any = {"path": path, "bytes": content}.get(source) or picture(size)
    sized = {"size": size} if source == "sized" else {}
    await media.upload(given, type="image", progress=lambda *now: told.append(now), **sized)
    done = [now for now, _ in told]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert {total for _, total in told} == {size}
    assert told[-1] == (size, size)


async def test_progress_restarts_with_the_upload(
    platform: Platform, media: MediaAPI, tokens: StubTokens, tmp_path: Path
) -> None:
    """When an upload is repeated its progress begins again."""
    platform.answer("POST", UPLOAD, DEAD, httpx.ReadError("reset"), DONE)
    path = sparse(tmp_path / "a.jpg", 600_000)
    told: list[int] = []
    await media.upload(path, type="image", progress=lambda done, _: told.append(done))
    once = [262_144, 524_288, 600_000]
    assert told == once * 3
    assert tokens.dead == [40001]


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), TimeoutError("mine"), TransportError("another")])
async def test_what_progress_raises_arrives(media: MediaAPI, tmp_path: Path, error: Exception) -> None:
    """An exception of the progress ends the upload and arrives as it is."""

    def stop(*_: object) -> None:
        raise error

    async with RawServer() as server, calling(server.url, attempts=1) as caller:
        with pytest.raises(type(error)) as caught:
            await MediaAPI(caller).upload(JPEG, type="image", progress=stop)
        assert caught.value is error
        assert server.exchanges == []


@pytest.mark.parametrize("error", [ValueError("no"), OSError("read failed"), TimeoutError("mine"), TransportError("x")])
@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("early", [True, False])
async def test_what_the_iterator_raises_arrives(temporary: Path, error: Exception, sized: bool, early: bool) -> None:
    """An exception of the iterator, at its beginning or later, arrives as it is; nothing whole was sent or stays."""

    async def failing() -> AsyncIterator[bytes]:
        if not early:
            yield JPEG.ljust(2 * MIB, b"\0")
        raise error

    async with RawServer() as server, calling(server.url) as caller:
        with pytest.raises(type(error)) as caught:
            await MediaAPI(caller).upload(failing(), type="image", size=3 * MIB if sized else None)
        assert caught.value is error
        assert server.exchanges == []
    assert list(temporary.iterdir()) == []


# ---- repeats


@pytest.mark.parametrize("source", ["path", "bytes", "iterator", "large iterator"])
@pytest.mark.parametrize("failure", [DEAD, {"errcode": -1}, httpx.ReadError("reset"), httpx.ConnectError("refused")])
async def test_an_upload_is_repeated(
    platform: Platform, media: MediaAPI, temporary: Path, tmp_path: Path, source: str, failure: Any
) -> None:
    """A path, bytes, and a collected iterator are sent again as a whole after a dead token or a passing failure."""
    size = 2 * MIB if "large" in source else 5000
    content = JPEG.ljust(size, b"\0")
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    given: Any = {"path": path, "bytes": content}.get(source) or pieces(content, 1 << 16)
    route = platform.answer("POST", UPLOAD, failure, failure, DONE)
    assert (await media.upload(given, type="image")).media_id == "M1"
    assert len(route.calls) == 3
    if failure is DEAD:
        assert [parts(route, call)[0][1] for call in range(3)] == [content] * 3
    assert parts(route)[0][1] == content
    assert list(temporary.iterdir()) == []


async def test_a_sized_iterator_meets_a_dead_token(platform: Platform, media: MediaAPI, tokens: StubTokens) -> None:
    """What can be read once is not sent by half a second time: the error says what to do."""
    route = platform.answer("POST", UPLOAD, DEAD)
    with pytest.raises(DeadTokenError, match=r"used up.*new iterator.*leave size out") as caught:
        await media.upload(pieces(JPEG), type="image", size=len(JPEG))
    assert (caught.value.errcode, len(route.calls), tokens.dead) == (40001, 1, [40001])


async def test_a_path_with_a_stubborn_token(platform: Platform, media: MediaAPI) -> None:
    """The error of an upload that was repeated keeps the usual advice."""
    platform.answer("POST", UPLOAD, DEAD, DEAD, DEAD)
    with pytest.raises(DeadTokenError) as caught:
        await media.upload(JPEG, type="image")
    assert "used up" not in str(caught.value)


async def test_a_sized_iterator_is_not_repeated(platform: Platform, media: MediaAPI) -> None:
    """Nor after a failure that others survive."""
    route = platform.answer("POST", UPLOAD, httpx.ConnectError("refused"))
    with pytest.raises(TransportError):
        await media.upload(pieces(JPEG), type="image", size=len(JPEG))
    assert len(route.calls) == 1


async def test_the_time_is_for_one_attempt(platform: Platform, media: MediaAPI, monkeypatch: Any) -> None:
    """An upload has 60 seconds, or those that are given."""
    seen: list[float | None] = []
    original = Caller.__call__

    async def noting(self: Caller, *args: Any, timeout: float | None = None, **more: Any) -> Any:
        seen.append(timeout)
        return await original(self, *args, timeout=timeout, **more)

    monkeypatch.setattr(Caller, "__call__", noting)
    platform.answer("POST", UPLOAD, DONE)
    await media.upload(JPEG, type="image")
    await media.upload(JPEG, type="image", timeout=5.5)
    assert seen == [60.0, 5.5]


# ---- what is left behind


async def test_a_collected_iterator_is_private_and_gone(platform: Platform, media: MediaAPI, temporary: Path) -> None:
    """While it is sent, a large iterator lies in one file for its owner alone; afterwards in none."""
    seen: list[tuple[int, int]] = []

    def look(*_: object) -> None:
        (path,) = temporary.iterdir()
        seen.append((stat.S_IMODE(path.stat().st_mode), path.stat().st_size))

    platform.answer("POST", UPLOAD, DONE)
    await media.upload(picture(2 * MIB), type="image", progress=look)
    assert set(seen) == {(0o600, 2 * MIB)}
    assert list(temporary.iterdir()) == []


async def test_a_small_iterator_touches_no_disk(platform: Platform, media: MediaAPI, monkeypatch: Any) -> None:
    """Up to 1 MB no file is made."""
    monkeypatch.setattr(tempfile, "mkstemp", lambda **_: pytest.fail("a file was made"))
    platform.answer("POST", UPLOAD, DONE)
    await media.upload(picture(IN_MEMORY), type="image")


@pytest.mark.parametrize("reply", [{"errcode": 40005, "errmsg": "refused"}, httpx.Response(500), ValueError("bug")])
async def test_a_failed_upload_leaves_no_file(platform: Platform, media: MediaAPI, temporary: Path, reply: Any) -> None:
    """However the call ends, the temporary file is gone."""
    platform.answer("POST", UPLOAD, reply)
    with pytest.raises(Exception, match=r"."):
        await media.upload(picture(2 * MIB), type="image")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("sized", [True, False])
async def test_a_cancelled_upload_leaves_nothing(temporary: Path, sized: bool) -> None:
    """Cancelled while the platform is silent, an upload leaves no file, and the iterator is closed at once."""
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            async for piece in picture(2 * MIB):
                yield piece
        finally:
            closed.set()

    arrived = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hang()

    async with RawServer(silent) as server, calling(server.url) as caller:
        call = asyncio.create_task(MediaAPI(caller).upload(source(), type="image", size=2 * MIB if sized else None))
        await arrived.wait()
        assert len(list(temporary.iterdir())) == (0 if sized else 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert closed.is_set()
    assert list(temporary.iterdir()) == []


async def test_cancelled_anywhere_an_upload_leaves_nothing(temporary: Path) -> None:
    """Cancelled at any of its suspensions, an upload leaves no file and no iterator open."""
    open_sources = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal open_sources
        open_sources += 1
        try:
            async for piece in picture(MIB + 200_000):
                yield piece
                await asyncio.sleep(0)
        finally:
            open_sources -= 1

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(b'{"type":"image","media_id":"M1","created_at":1790000000}')

    async with RawServer(answer) as server:
        for number in range(1, 400):
            async with calling(server.url) as caller:
                attempt = CancelAt(MediaAPI(caller).upload(source(), type="image"), {number})

                async def run(attempt: CancelAt = attempt) -> Any:
                    return await attempt

                (outcome,) = await asyncio.gather(asyncio.ensure_future(run()), return_exceptions=True)
            assert (open_sources, list(temporary.iterdir())) == (0, []), f"left behind at suspension {number}"
            if attempt.suspensions < number:
                assert outcome.media_id == "M1"
                break
            assert isinstance(outcome, asyncio.CancelledError), f"swallowed at suspension {number}: {outcome!r}"
        else:
            pytest.fail("the upload never came to an end")
        assert number > 10


async def test_cancelled_while_it_is_collected(platform: Platform, media: MediaAPI, temporary: Path) -> None:
    """Cancelled in the middle of its source, an upload leaves no file and an iterator that is closed."""
    waiting, closed = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield JPEG.ljust(2 * MIB, b"\0")
            waiting.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    call = asyncio.create_task(media.upload(source(), type="image"))
    await waiting.wait()
    assert len(list(temporary.iterdir())) == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (closed.is_set(), list(temporary.iterdir())) == (True, [])


async def test_time_runs_out_while_the_source_dawdles(temporary: Path) -> None:
    """A sized iterator that stops giving runs into the time of the call, and is closed."""
    closed = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield JPEG
            skip(20)
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with RawServer() as server, calling(server.url) as caller:
        with pytest.raises(TimedOutError):
            await MediaAPI(caller).upload(source(), type="image", size=5000, timeout=20)
    assert closed.is_set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
async def test_no_room_for_the_temporary_file(
    platform: Platform, media: MediaAPI, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is told as what it is, and nothing stays on it."""
    original = tempfile.mkstemp

    def full(**more: Any) -> tuple[int, str]:
        descriptor, name = original(**more)
        os.close(descriptor)
        return os.open("/dev/full", os.O_WRONLY), name

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.raises(OSError, match="No space") as caught:
        await media.upload(picture(2 * MIB), type="image")
    assert (caught.value.errno, list(temporary.iterdir())) == (errno.ENOSPC, [])


async def test_the_disk_is_full_at_the_last_bytes(
    platform: Platform, media: MediaAPI, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When only the rest finds no room, which is noticed late, nothing stays on the disk either."""
    room = 17 << 16

    class Filling(FileIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(os, "fdopen", lambda descriptor, _: BufferedWriter(Filling(descriptor, "wb")))
    with pytest.raises(OSError, match="No space"):
        await media.upload(pieces(JPEG.ljust(room + 100, b"\0"), 1 << 16), type="image")
    assert list(temporary.iterdir()) == []


# ---- what it costs


class Sink:
    """A platform that takes uploads without keeping them; it remembers their size and their digest."""

    def __init__(self) -> None:
        self.received: list[tuple[int, str]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: *(\d+)", header, re.IGNORECASE)
        assert found is not None
        left, digest = int(found[1]), hashlib.sha256()
        start = await reader.readuntil(b"\r\n\r\n")
        boundary = start.partition(b"\r\n")[0]
        tail = len(b"\r\n" + boundary + b"--\r\n")
        left -= len(start)
        size = left - tail
        for wanted in (size, tail):
            rest = wanted
            while rest:
                piece = await reader.read(min(rest, 1 << 16))
                assert piece
                rest -= len(piece)
                if wanted == size:
                    digest.update(piece)
        self.received.append((size, digest.hexdigest()))
        body = b'{"type":"image","media_id":"M1","created_at":1790000000}'
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def calling(url: str, **policy: Any) -> AsyncIterator[Caller]:
    """A caller of its own, in front of a server."""

    async def no_wait(_: float) -> None:
        return None

    async with aclosing(Transport(base_url=url)) as transport:
        yield Caller(
            appid="wx0123456789abcdef",
            secret=lambda: Secret("appsecret-of-the-tests"),
            transport=transport,
            tokens=StubTokens(),
            retry=RetryPolicy(**{"sleep": no_wait, "total_time": 300.0, **policy}),
            mp_origin="https://mp.weixin.qq.com",
        )


async def cost(work: Callable[[], Any]) -> int:
    """Return how many bytes of memory Python objects took at most while something was done."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        await work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


#: Bytes of a file that is smaller, and still beyond all that is kept in memory.
TWO_MB = 2 * MIB


@pytest.mark.alone
@pytest.mark.parametrize("source", ["path", "iterator", "sized iterator"])
async def test_a_large_file_takes_little_memory(tmp_path: Path, temporary: Path, source: str) -> None:
    """9 MB go up with hardly more memory than 2 MB."""
    sink = Sink()
    server = await asyncio.start_server(sink, "127.0.0.1", 0)
    async with server, calling(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as caller:
        media = MediaAPI(caller)

        async def work(size: int) -> None:
            given: Any = sparse(tmp_path / "a.jpg", size) if source == "path" else picture(size)
            await media.upload(given, type="image", size=size if "sized" in source else None)

        await work(TWO_MB)  # what is loaded once is not counted
        taken = [await cost(partial(work, size)) for size in (TWO_MB, NINE_MB)]
    digests = [hashlib.sha256(JPEG + bytes(size - len(JPEG))).hexdigest() for size in (TWO_MB, NINE_MB)]
    assert sink.received[1:] == list(zip((TWO_MB, NINE_MB), digests, strict=True))
    assert taken[1] - taken[0] < MIB
    assert list(temporary.iterdir()) == []
