"""Files that come down: what arrives, where it lies, what it is called, what it costs, and what is left behind."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.test_uploads import JPEG, NINE_MB, TWO_MB, calling, cost
from tests.raw_server import RawServer
from tests.test_transport import CancelAt
from wxmp import ConfigError, NotFoundError, ReplyError, TimedOutError, TransportError
from wxmp._caller import Arrival
from wxmp.api.downloads import DownloadedFile, FileStream, announced_size, file_name, receive_file
from wxmp.api.material import MaterialAPI
from wxmp.api.media import GET, MediaAPI
from wxmp.api.uploads import MIB

if TYPE_CHECKING:
    from tests.api.conftest import Platform, StubTokens
    from tests.raw_server import Exchange
    from wxmp._caller import Caller

pytestmark = pytest.mark.timeout(60)

PATH = "/cgi-bin/media/get"
UNKNOWN: dict[str, Any] = {"errcode": 40007, "errmsg": "invalid media_id"}
VIDEO: dict[str, Any] = {"video_url": "http://v.example.com/1.mp4"}
OLD = b"what was there before"


@pytest.fixture
def media(caller: Caller) -> MediaAPI:
    """The family that fetches files."""
    return MediaAPI(caller)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already, alone in its folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "photo.jpg"
    path.write_bytes(OLD)
    return path


def untouched(target: Path) -> bool:
    """Tell whether the old file is there as it was, and nothing else."""
    return list(target.parent.iterdir()) == [target] and target.read_bytes() == OLD


def file(content: bytes = JPEG, **headers: str) -> httpx.Response:
    """A file as the platform answers it."""
    lines = {"Content-Type": "image/jpeg", "Content-disposition": 'attachment; filename="M1.jpg"'}
    return httpx.Response(200, content=content, headers={**lines, **headers})


async def send(exchange: Exchange, size: int, *, upto: int | None = None, step: int = 1 << 16) -> None:
    """Send a picture of a size, all of it or only its beginning."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % size)
    done, block = len(JPEG), bytes(step)
    await exchange.raw(JPEG)
    while done < (size if upto is None else upto):
        piece = block[: size - done]
        await exchange.raw(piece)
        done += len(piece)


# ---- what arrives


async def test_a_file_in_memory(platform: Platform, caller: Caller) -> None:
    """Without a target the content is in the result, with what the platform says about it."""
    route = platform.answer("GET", PATH, file())
    found = await receive_file(caller, GET, params={"media_id": "M1"})
    assert found == DownloadedFile(JPEG, None, len(JPEG), "M1.jpg", "image/jpeg")
    assert platform.params(route) == {"media_id": "M1"}
    assert "\\xff" not in repr(found)


@pytest.mark.parametrize("as_text", [True, False])
async def test_a_file_on_the_disk(platform: Platform, caller: Caller, target: Path, as_text: bool) -> None:
    """With a target the content is there, in the place of what was there before, and not in the result."""
    platform.answer("GET", PATH, file())
    to = str(target) if as_text else target
    found = await receive_file(caller, GET, params={"media_id": "M1"}, to=to)
    assert found == DownloadedFile(b"", target, len(JPEG), "M1.jpg", "image/jpeg")
    assert target.read_bytes() == JPEG
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
async def test_a_file_has_the_usual_rights(platform: Platform, media: MediaAPI, tmp_path: Path, umask: int) -> None:
    """The file has the rights that any program would give it."""
    platform.answer("GET", PATH, file())
    before = os.umask(umask)
    try:
        await media.get("M1", to=tmp_path / "a.jpg")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.jpg").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("size", [1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3 * MIB])
async def test_every_byte_is_written(platform: Platform, media: MediaAPI, tmp_path: Path, size: int) -> None:
    """Nothing is lost where pieces of the network and of the disk meet."""
    content = bytes(range(1, 252)) * (size // 251 + 1)
    content = content[:size]
    platform.answer("GET", PATH, file(content))
    found = await media.get("M1", to=tmp_path / "a.bin")
    assert ((tmp_path / "a.bin").read_bytes(), found.size) == (content, size)


async def test_words_instead_of_a_file(platform: Platform, caller: Caller, target: Path) -> None:
    """JSON that is no error comes back as it is; nothing is written."""
    platform.answer("GET", PATH, VIDEO)
    assert await receive_file(caller, GET, params={"media_id": "M1"}, to=target) == VIDEO
    assert untouched(target)


# ---- what goes wrong


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (UNKNOWN, NotFoundError),
        (httpx.Response(200, content=b"<html>busy</html>"), ReplyError),
        (httpx.Response(200, content=b""), ReplyError),
        (httpx.Response(502, content=JPEG), TransportError),
        (httpx.ConnectError("refused"), TransportError),
    ],
)
async def test_a_failure_touches_nothing(
    platform: Platform, media: MediaAPI, target: Path, reply: Any, error: type[Exception]
) -> None:
    """Whatever is answered in the place of a file, the old one stays and no part of a new one."""
    platform.answer("GET", PATH, reply)
    with pytest.raises(error):
        await media.get("M1", to=target)
    assert untouched(target)


@pytest.mark.parametrize("to", ["missing/a.jpg", ".", "", "a\0b.jpg"])
async def test_no_place_for_a_file(
    platform: Platform, media: MediaAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """A target that cannot be one is found before anything is asked."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        await media.get("M1", to=to)
    assert (caught.value.field, len(platform.router.calls)) == ("to", 0)


async def test_a_broken_download_begins_anew(target: Path) -> None:
    """When the connection breaks half-way the file is fetched again; its progress begins again, and it is whole."""
    halves = [MIB, 2 * MIB]

    async def answer(exchange: Exchange) -> None:
        await send(exchange, 3 * MIB, upto=halves.pop(0) if halves else None)
        exchange.close()

    told: list[tuple[int, int | None]] = []
    async with RawServer(answer) as server, calling(server.url) as caller:
        found = await MediaAPI(caller).get("M1", to=target, progress=lambda *now: told.append(now))
        assert len(server.exchanges) == 3
    assert (found.size, target.stat().st_size) == (3 * MIB, 3 * MIB)
    assert list(target.parent.iterdir()) == [target]
    assert {total for _, total in told} == {3 * MIB}
    done = [now for now, _ in told]
    starts = [0, *[at for at in range(1, len(done)) if done[at] <= done[at - 1]], len(done)]
    assert len(starts) == 4
    assert done[-1] == 3 * MIB


async def test_a_download_that_stays_broken(target: Path) -> None:
    """After the last attempt the error of the connection is raised, and nothing was touched."""

    async def answer(exchange: Exchange) -> None:
        await send(exchange, MIB, upto=MIB // 2)
        exchange.close()

    async with RawServer(answer) as server, calling(server.url, attempts=2) as caller:
        with pytest.raises(TransportError):
            await MediaAPI(caller).get("M1", to=target)
        assert len(server.exchanges) == 2
    assert untouched(target)


async def test_a_download_that_is_too_slow(target: Path) -> None:
    """The time is for the whole file, up to its last byte."""

    async def answer(exchange: Exchange) -> None:
        await send(exchange, MIB, upto=MIB // 2)
        await exchange.hang()

    async with RawServer(answer) as server, calling(server.url, attempts=1) as caller:
        with pytest.raises(TimedOutError):
            await MediaAPI(caller).get("M1", to=target, timeout=0.2)
    assert untouched(target)


async def test_a_cancelled_download_touches_nothing(target: Path) -> None:
    """Cancelled in the middle, a download leaves the old file and no part of the new one."""
    half = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await send(exchange, 2 * MIB, upto=MIB)
        await exchange.hang()

    def note(done: int, _: int | None) -> None:
        if done >= MIB:
            half.set()

    async with RawServer(answer) as server, calling(server.url) as caller:
        call = asyncio.create_task(MediaAPI(caller).get("M1", to=target, progress=note))
        await half.wait()
        assert len(list(target.parent.iterdir())) == 2
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await server.all_closed()
    assert untouched(target)


async def test_cancelled_anywhere_a_download_is_whole_or_not_there(target: Path) -> None:
    """Cancelled at any of its suspensions, a download leaves no part of a file: the old one or the new one."""
    content = JPEG + bytes(600_000 - len(JPEG))
    async with RawServer(lambda exchange: send(exchange, len(content))) as server:
        for number in range(1, 200):
            target.write_bytes(OLD)
            async with calling(server.url) as caller:
                attempt = CancelAt(MediaAPI(caller).get("M1", to=target), {number})

                async def run(attempt: CancelAt = attempt) -> Any:
                    return await attempt

                (outcome,) = await asyncio.gather(asyncio.ensure_future(run()), return_exceptions=True)
            assert list(target.parent.iterdir()) == [target], f"left behind at suspension {number}"
            if attempt.suspensions < number:
                assert outcome.size == len(content)
                break
            assert isinstance(outcome, asyncio.CancelledError), f"swallowed at suspension {number}: {outcome!r}"
            assert target.read_bytes() == OLD
        else:
            pytest.fail("the download never came to an end")
        assert number > 10


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("mine"), OSError("mine")])
@pytest.mark.parametrize("on_disk", [True, False])
async def test_what_progress_raises_arrives(
    platform: Platform, media: MediaAPI, target: Path, error: Exception, on_disk: bool
) -> None:
    """An exception of the progress ends the download and arrives as it is; nothing was touched."""

    def stop(*_: object) -> None:
        raise error

    route = platform.answer("GET", PATH, file())
    with pytest.raises(type(error)) as caught:
        await media.get("M1", to=target if on_disk else None, progress=stop)
    assert caught.value is error
    assert len(route.calls) == 1
    assert untouched(target)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("size", [500, 3 * MIB])
async def test_a_full_disk(
    platform: Platform, media: MediaAPI, target: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A full disk is told as what it is, without a repeat; the old file stays and no part of the new one."""
    original = os.fdopen

    def full(descriptor: int, *more: Any) -> Any:
        os.close(descriptor)
        return original(os.open("/dev/full", os.O_WRONLY), *more)

    route = platform.answer("GET", PATH, file(JPEG.ljust(size, b"\0")))
    monkeypatch.setattr("wxmp._files.os.fdopen", full)
    with pytest.raises(OSError, match="No space") as caught:
        await media.get("M1", to=target)
    assert (caught.value.errno, len(route.calls)) == (errno.ENOSPC, 1)
    assert untouched(target)


async def test_a_dead_token_is_replaced(platform: Platform, media: MediaAPI, tokens: StubTokens, target: Path) -> None:
    """A dead token is answered in the place of the file; it is replaced, and the file comes."""
    dead = httpx.Response(200, json={"errcode": 42001, "errmsg": "expired"}, headers={"Content-Type": "image/jpeg"})
    platform.answer("GET", PATH, dead, file())
    assert (await media.get("M1", to=target)).size == len(JPEG)
    assert tokens.dead == [42001]
    assert target.read_bytes() == JPEG


# ---- progress


@pytest.mark.parametrize("on_disk", [True, False])
async def test_progress_grows_to_the_total(target: Path, on_disk: bool) -> None:
    """The progress never goes back, ends at the total, and knows the total from the start."""
    told: list[tuple[int, int | None]] = []
    async with RawServer(lambda exchange: send(exchange, MIB)) as server, calling(server.url) as caller:
        await MediaAPI(caller).get("M1", to=target if on_disk else None, progress=lambda *now: told.append(now))
    done = [now for now, _ in told]
    assert done == sorted(set(done))
    assert len(done) > 3
    assert {total for _, total in told} == {MIB}
    assert done[-1] == MIB


async def test_progress_without_a_total() -> None:
    """Where the platform does not announce the length, the total is unknown and the count goes on."""

    async def answer(exchange: Exchange) -> None:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(JPEG), JPEG)
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    told: list[tuple[int, int | None]] = []
    async with RawServer(answer) as server, calling(server.url) as caller:
        await MediaAPI(caller).get("M1", progress=lambda *now: told.append(now))
    assert told[-1] == (len(JPEG), None)


# ---- names


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="M1.jpg"', "M1.jpg"),
        ("attachment; filename=M1.jpg", "M1.jpg"),
        ('attachment; filename="图 1.jpg"', "图 1.jpg"),
        ("attachment; filename*=UTF-8''%E5%9B%BE.jpg", "图.jpg"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="..\\..\\boot.ini"', "boot.ini"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ('attachment; filename="C:evil.jpg"', "C_evil.jpg"),
        ('attachment; filename="a.jpg:stream"', "a.jpg_stream"),
        ("attachment; filename*=UTF-8''..%2F..%2Fx.jpg", "x.jpg"),
        ("attachment; filename*=UTF-8''a%0d%0ab%00.jpg", "ab.jpg"),
        ("attachment; filename*=UTF-8''a%E2%80%AEgpj.exe", "agpj.exe"),
        ("attachment; filename*=idna''%ff", ""),
        ("attachment; filename*=nonsense''a.jpg", "a.jpg"),
        ('attachment; filename="a\r\n b.jpg"', "a b.jpg"),
        ('attachment; filename=".."', ""),
        ('attachment; filename=". ."', ""),
        ('attachment; filename="a/"', ""),
        ("attachment", ""),
        ("", ""),
    ],
)
def test_a_name_names_no_other_folder(header: str, name: str) -> None:
    """Whatever the platform, or whoever uploaded the file, calls it: the name has no folder and no control signs."""
    assert file_name({"content-disposition": header.encode().decode("latin-1")}) == name


@given(st.text() | st.text().map(lambda text: f'attachment; filename="{text}"') | st.binary().map(repr))
def test_no_name_is_dangerous(text: str) -> None:
    """Any header gives a name that stays in its folder on every system, or none."""
    name = file_name({"content-disposition": text})
    assert PurePosixPath(name).name == name
    assert PureWindowsPath(name).name == name
    assert not PureWindowsPath(name).drive
    assert name not in (".", "..")
    assert name.isprintable() or not any(ord(sign) < 32 or ord(sign) == 127 for sign in name)


@given(st.text(alphabet="%0123456789abcdefABCDEF'*;=\"\\/.: utf-8idna", max_size=60))
def test_no_encoded_name_is_dangerous(text: str) -> None:
    """The same for names that are percent-encoded in any character set."""
    name = file_name({"content-disposition": f"attachment; filename*={text}"})
    assert PureWindowsPath(name).name == name
    assert not any(ord(sign) < 32 or ord(sign) == 127 for sign in name)


async def test_the_name_is_only_told(platform: Platform, media: MediaAPI, target: Path) -> None:
    """The file is written where the caller says, never where the platform says."""
    platform.answer("GET", PATH, file(**{"Content-disposition": 'attachment; filename="../../x.jpg"'}))
    found = await media.get("M1", to=target)
    assert (found.filename, found.path) == ("x.jpg", target)
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"content-length": "5"}, 5),
        ({"content-length": "5", "content-encoding": "gzip"}, None),
        ({"content-length": "five"}, None),
        ({"content-length": "²"}, None),
        ({}, None),
    ],
)
def test_the_announced_size(headers: dict[str, str], size: int | None) -> None:
    """Only a length that is a number, and that of the file itself, is one."""
    assert announced_size(headers) == size


# ---- streams


async def test_a_stream(platform: Platform, media: MediaAPI) -> None:
    """A stream says what it is before it is read, and gives all of it."""
    platform.answer("GET", PATH, file(**{"Content-Type": "image/jpeg; charset=x"}))
    told: list[tuple[int, int | None]] = []
    async with media.stream("M1", progress=lambda *now: told.append(now)) as stream:
        assert (stream.filename, stream.content_type, stream.size) == ("M1.jpg", "image/jpeg", len(JPEG))
        assert stream.video_url == ""
        assert b"".join([piece async for piece in stream]) == JPEG
    assert told[-1] == (len(JPEG), len(JPEG))
    assert repr(stream) == "<FileStream image/jpeg>"


async def test_a_stream_replaces_a_dead_token(platform: Platform, media: MediaAPI, tokens: StubTokens) -> None:
    """Opening a stream survives what every call survives."""
    platform.answer("GET", PATH, {"errcode": 40001, "errmsg": "dead"}, httpx.ReadError("reset"), file())
    async with media.stream("M1") as stream:
        assert b"".join([piece async for piece in stream]) == JPEG
    assert tokens.dead == [40001]


async def test_a_stream_of_a_video(platform: Platform, media: MediaAPI) -> None:
    """A video has an address and no pieces."""
    platform.answer("GET", PATH, VIDEO)
    async with media.stream("M1") as stream:
        assert stream.video_url == VIDEO["video_url"]
        with pytest.raises(ReplyError, match="video_url"):
            await anext(aiter(stream))


async def test_a_stream_of_articles(platform: Platform, caller: Caller) -> None:
    """Articles are told when the stream is opened, with what to do."""
    platform.answer("POST", "/cgi-bin/material/get_material", {"news_item": [{"title": "t"}]})
    with pytest.raises(ReplyError, match=r"get\(\)"):
        await opened(MaterialAPI(caller).stream("M1"))


async def test_a_stream_of_nothing(platform: Platform, media: MediaAPI) -> None:
    """An error is raised when the stream is opened."""
    platform.answer("GET", PATH, UNKNOWN)
    with pytest.raises(NotFoundError):
        await opened(media.stream("M1"))


async def opened(stream: FileStream) -> bytes:
    """Open a stream and read it."""
    async with stream:
        return b"".join([piece async for piece in stream])


async def test_a_stream_is_read_once(platform: Platform, media: MediaAPI) -> None:
    """A second reading, one before it is opened or after it was closed, and a second opening are mistakes."""
    platform.answer("GET", PATH, file())
    stream = media.stream("M1")
    with pytest.raises(ConfigError, match="not open"):
        await anext(aiter(stream))
    assert await opened(stream) == JPEG
    with pytest.raises(ConfigError, match="not open"):
        await anext(aiter(stream))
    with pytest.raises(ConfigError, match="opened already"):
        await opened(stream)


async def test_a_stream_that_breaks() -> None:
    """A connection that breaks while a stream is read is an error, and nothing is repeated."""

    async def answer(exchange: Exchange) -> None:
        await send(exchange, MIB, upto=MIB // 2)
        exchange.close()

    read = 0

    async def count(stream: FileStream) -> None:
        nonlocal read
        async with stream:
            async for piece in stream:
                read += len(piece)

    async with RawServer(answer) as server, calling(server.url) as caller:
        with pytest.raises(TransportError):
            await count(MediaAPI(caller).stream("M1"))
        assert len(server.exchanges) == 1
        assert await server.all_closed()
    assert 0 < read < MIB


async def test_a_stream_that_is_left_early() -> None:
    """Who stops reading lets go of the connection; the rest is not fetched."""

    async def answer(exchange: Exchange) -> None:
        await send(exchange, NINE_MB)

    async with RawServer(answer) as server, calling(server.url) as caller:
        async with MediaAPI(caller).stream("M1") as stream:
            async for piece in stream:
                assert piece.startswith(b"\xff\xd8")
                break
        assert await server.all_closed()


async def test_from_one_account_to_another(platform: Platform, media: MediaAPI) -> None:
    """A stream is a source for an upload: a file goes from one account to another without a stop."""
    platform.answer("GET", PATH, file())
    route = platform.answer("POST", "/cgi-bin/media/upload", {"type": "image", "media_id": "M2", "created_at": 1})
    async with media.stream("M1") as stream:
        uploaded = await media.upload(stream, type="image", filename=stream.filename, size=stream.size)
    assert uploaded.media_id == "M2"
    assert JPEG in platform.raw(route)


# ---- what it costs


@pytest.mark.alone
@pytest.mark.parametrize("how", ["to", "stream", "memory"])
async def test_what_a_large_file_takes(tmp_path: Path, how: str) -> None:
    """9 MB come down to a file, or piece by piece, with hardly more memory than 2 MB; else with their own size."""
    target = tmp_path / "large.jpg"
    sizes = [TWO_MB, TWO_MB, NINE_MB]
    digests: list[str] = []

    async def answer(exchange: Exchange) -> None:
        await send(exchange, sizes.pop(0))

    async with RawServer(answer) as server, calling(server.url) as caller:
        media = MediaAPI(caller)

        async def work() -> None:
            digest = hashlib.sha256()
            if how == "to":
                await media.get("M1", to=target)
            elif how == "memory":
                digest.update((await media.get("M1")).content)
            else:
                async with media.stream("M1") as stream:
                    async for piece in stream:
                        digest.update(piece)
            digests.append(digest.hexdigest())

        await work()  # what is loaded once is not counted
        taken = [await cost(work), await cost(work)]
    whole = hashlib.sha256(JPEG + bytes(NINE_MB - len(JPEG))).hexdigest()
    assert (hashlib.sha256(target.read_bytes()).hexdigest() if how == "to" else digests[-1]) == whole
    more = (NINE_MB - TWO_MB) * 1.5 if how == "memory" else MIB
    assert taken[1] - taken[0] < more


# ---- a server that lies


async def test_a_length_that_is_a_lie(target: Path) -> None:
    """A file that ends before its announced length is no file: the error of the connection, and the old one stays."""

    async def answer(exchange: Exchange) -> None:
        await send(exchange, MIB, upto=MIB // 2)
        exchange.close()

    async with RawServer(answer) as server, calling(server.url, attempts=1) as caller:
        with pytest.raises(TransportError):
            await MediaAPI(caller).get("M1", to=target)
    assert untouched(target)


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 30, str(200 * MIB)])
async def test_a_length_beyond_all_limits(platform: Platform, media: MediaAPI, target: Path, length: str) -> None:
    """A file that announces more than any file may have is refused before it is read, whatever it announces."""
    platform.answer("GET", PATH, file(**{"Content-Length": length}))
    with pytest.raises(ReplyError, match="larger"):
        await media.get("M1", to=target)
    assert untouched(target)


@pytest.mark.parametrize("how", ["file", "memory", "stream"])
async def test_a_bomb(platform: Platform, caller: Caller, target: Path, how: str) -> None:
    """A compressed file that grows beyond its limit is given up there, and takes no place on the disk."""
    bomb = gzip.compress(JPEG + bytes(4 * MIB))
    platform.answer("GET", PATH, file(bomb, **{"Content-Encoding": "gzip"}))

    async def read() -> None:
        if how != "stream":
            await receive_file(caller, GET, params={"media_id": "M1"}, to=target if how == "file" else None, limit=MIB)
            return
        async with caller.stream(GET, params={"media_id": "M1"}, limit=MIB) as arrival:
            assert isinstance(arrival, Arrival)
            async for _ in arrival:
                pass

    with pytest.raises(ReplyError, match=f"larger than {MIB} bytes"):
        await read()
    assert untouched(target)


async def test_a_drip_of_bytes_ends_with_the_time(target: Path) -> None:
    """A server that keeps a file alive byte by byte does not keep the caller: the time is for the whole."""

    async def answer(exchange: Exchange) -> None:
        await send(exchange, MIB, upto=0)
        while not exchange.writer.is_closing():
            await exchange.raw(b"\0")
            await asyncio.sleep(0.01)

    async with RawServer(answer) as server, calling(server.url, attempts=1) as caller:
        with pytest.raises(TimedOutError):
            await MediaAPI(caller).get("M1", to=target, timeout=0.2)
    assert untouched(target)


async def test_a_link_is_replaced_and_not_followed(platform: Platform, media: MediaAPI, target: Path) -> None:
    """Where the target is a link, the file takes the place of the link; what it led to stays as it was."""
    link = target.with_name("link.jpg")
    link.symlink_to(target)
    platform.answer("GET", PATH, file())
    await media.get("M1", to=link)
    assert not link.is_symlink()
    assert (link.read_bytes(), target.read_bytes()) == (JPEG, OLD)


@pytest.mark.parametrize("kind", ["folder", "link to a folder", "pipe", "name", "bytes", "half a pair", "number"])
async def test_what_is_no_place_for_a_file(media: MediaAPI, tmp_path: Path, kind: str) -> None:
    """A folder, a pipe, a device or what is no path at all is refused before anything is asked for."""
    place: Any = tmp_path / "place"
    if kind == "folder":
        place.mkdir()
    elif kind == "link to a folder":
        place.symlink_to(tmp_path)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place = {"name": tmp_path / ("x" * 300), "bytes": b"place", "half a pair": "\ud800", "number": 7}[kind]
    before = list(tmp_path.iterdir())
    with pytest.raises(ConfigError) as caught:
        await media.get("M1", to=place)
    assert caught.value.field == "to"
    assert list(tmp_path.iterdir()) == before


async def test_two_downloads_to_one_place(target: Path) -> None:
    """Two files that arrive at one place at once: one of them is there, whole, and nothing else."""
    content = {"M1": b"\xff\xd8\xff" + b"1" * MIB, "M2": b"\xff\xd8\xff" + b"2" * MIB}

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(content["M1" if "media_id=M1" in exchange.target else "M2"])

    async with RawServer(answer) as server, calling(server.url) as caller:
        media = MediaAPI(caller)
        await asyncio.gather(*(media.get(name, to=target) for name in content))
    assert list(target.parent.iterdir()) == [target]
    assert target.read_bytes() in content.values()


@pytest.mark.parametrize("progress", [7, "text", [print]])
async def test_a_progress_that_cannot_be_called(media: MediaAPI, progress: Any) -> None:
    """What is no function is refused before anything is asked for, not after the first piece."""
    with pytest.raises(ConfigError, match="progress"):
        await media.get_hd_voice("M1", progress=progress)
    with pytest.raises(ConfigError, match="progress"):
        media.stream("M1", progress=progress)
