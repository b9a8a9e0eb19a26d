"""Temporary material on the simulated platform: from an upload to a message, and from a message to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.test_uploads import pieces
from wxmp import ArgumentError, NotAuthorizedError, NotFoundError, RateLimitError
from wxmp._request import FilePart
from wxmp.api.custom import CustomImage
from wxmp.errors import ReplyError
from wxmp.simulator import formats
from wxmp.simulator.formats import sample
from wxmp.webhook import ImageMessage, VideoMessage, VoiceMessage, Webhook

if TYPE_CHECKING:
    from pathlib import Path

    from wxmp.pytest_plugin import WxSim

pytestmark = pytest.mark.wx_sim(clock="frozen")

DAY = 86_400
UPLOAD = "/cgi-bin/media/upload"
GET = "/cgi-bin/media/get"
CONTENTS = {"image": sample("image", "a"), "voice": sample("voice", "a"), "thumb": sample("image", "b")}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("source", ["path", "bytes", "iterator", "sized iterator"])
async def test_what_goes_up_comes_down(wx_sim: WxSim, tmp_path: Path, kind: Any, source: str) -> None:
    """A file from any source is kept as it is, and read back into memory, into a file and piece by piece."""
    client, content = wx_sim.client(), CONTENTS[kind]
    path = tmp_path / f"图 1.{formats.file_format(content)}"
    path.write_bytes(content)
    given: Any = {"path": path, "bytes": content}.get(source) or pieces(content)
    size = len(content) if "sized" in source else None
    uploaded = await client.media.upload(given, type=kind, size=size)
    assert uploaded.type == kind
    assert int(uploaded.create_time.timestamp()) == int(wx_sim.clock.now())
    assert uploaded.extra == {}
    found = await client.media.get(uploaded.media_id)
    assert (found.content, found.size, found.extra) == (content, len(content), {})
    assert found.filename.endswith(path.suffix)
    written = await client.media.get(uploaded.media_id, to=tmp_path / "copy")
    assert (written.path, (tmp_path / "copy").read_bytes()) == (tmp_path / "copy", content)
    async with client.media.stream(uploaded.media_id) as stream:
        assert (stream.size, stream.filename) == (len(content), found.filename)
        assert b"".join([piece async for piece in stream]) == content
    assert wx_sim.findings == []


async def test_a_video_has_an_address(wx_sim: WxSim, tmp_path: Path) -> None:
    """A video goes up as a file and comes back as an address; nothing is written."""
    client = wx_sim.client()
    uploaded = await client.media.upload(sample("video", "a"), type="video")
    found = await client.media.get(uploaded.media_id, to=tmp_path / "a.mp4")
    assert found.video_url.startswith("http")
    assert (found.content, found.path, found.extra, list(tmp_path.iterdir())) == (b"", None, {}, [])
    async with client.media.stream(uploaded.media_id) as stream:
        assert stream.video_url == found.video_url
        with pytest.raises(ReplyError):
            await anext(aiter(stream))


async def test_a_picture_reaches_a_user(wx_sim: WxSim) -> None:
    """What was uploaded can be sent, many times, for three days."""
    client, alice = wx_sim.client(), wx_sim.user("alice")
    alice.follow()
    uploaded = await client.media.upload(CONTENTS["image"], type="image")
    for _ in range(2):
        await client.custom.send(alice.openid, CustomImage(uploaded.media_id))
    assert [line.kind for line in alice.replies] == ["image", "image"]
    wx_sim.clock.advance(3 * DAY)
    alice.say("hello")
    with pytest.raises(NotFoundError) as caught:
        await client.custom.send(alice.openid, CustomImage(uploaded.media_id))
    assert caught.value.errcode == 40007


async def test_what_a_user_sends_can_be_kept(wx_sim: WxSim) -> None:
    """Picture, voice and video of a user are fetched by the id in the message."""
    client, alice = wx_sim.client(), wx_sim.user("alice")
    hook = Webhook(
        token=wx_sim.callback_token, encoding_aes_key=wx_sim.encoding_aes_key, appid=wx_sim.appid, client=client
    )
    found: list[tuple[str, int, bool]] = []

    @hook.on(ImageMessage, VoiceMessage, VideoMessage)
    async def keep(message: ImageMessage | VoiceMessage | VideoMessage) -> None:
        file = await client.media.get(message.media_id)
        found.append((message.msg_type, file.size, bool(file.video_url)))

    wx_sim.connect(hook)
    alice.follow()
    alice.send_image()
    alice.send_voice()
    alice.send_video()
    await wx_sim.settled()
    assert [(kind, size > 0, video) for kind, size, video in found] == [
        ("image", True, False),
        ("voice", True, False),
        ("video", False, True),
    ]


async def test_three_days(wx_sim: WxSim) -> None:
    """A file ends with its third day."""
    client = wx_sim.client()
    uploaded = await client.media.upload(CONTENTS["image"], type="image")
    wx_sim.clock.advance(3 * DAY - 1)
    assert (await client.media.get(uploaded.media_id)).size
    wx_sim.clock.advance(1)
    with pytest.raises(NotFoundError) as caught:
        await client.media.get(uploaded.media_id)
    assert caught.value.errcode == 40007


async def test_another_account_does_not_know_it(wx_sim: WxSim) -> None:
    """An id is good for its account."""
    uploaded = await wx_sim.client().media.upload(CONTENTS["image"], type="image")
    other = wx_sim.world.add_account()
    with pytest.raises(NotFoundError):
        await wx_sim.client(appid=other.appid).media.get(uploaded.media_id)


async def test_high_quality_voice(wx_sim: WxSim, tmp_path: Path) -> None:
    """A recording is read back as it is; a picture is none."""
    client = wx_sim.client()
    voice = await client.media.upload(CONTENTS["voice"], type="voice")
    assert (await client.media.get_hd_voice(voice.media_id)).content == CONTENTS["voice"]
    found = await client.media.get_hd_voice(voice.media_id, to=tmp_path / "a.amr")
    assert found.path is not None
    assert found.path.read_bytes() == CONTENTS["voice"]
    async with client.media.stream_hd_voice(voice.media_id) as stream:
        assert b"".join([piece async for piece in stream]) == CONTENTS["voice"]
    image = await client.media.upload(CONTENTS["image"], type="image")
    with pytest.raises(NotFoundError):
        await client.media.get_hd_voice(image.media_id)


async def test_high_quality_voice_wants_a_verified_account(wx_sim: WxSim) -> None:
    """Others are refused."""
    other = wx_sim.world.add_account(verified=False)
    with pytest.raises(NotAuthorizedError) as caught:
        await wx_sim.client(appid=other.appid).media.get_hd_voice("M1")
    assert caught.value.errcode == 48001


@pytest.mark.parametrize(
    ("kind", "content", "errcode"),
    [
        ("image", b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(50), 40005),
        ("image", b"", 44001),
        ("image", sample("image", "a").ljust((10 << 20) + 1, b"\0"), 40009),
        ("voice", sample("voice", "a").ljust((2 << 20) + 1, b"\0"), 40010),
        ("video", sample("video", "a").ljust((10 << 20) + 1, b"\0"), 40011),
        ("thumb", sample("image", "a").ljust((64 << 10) + 1, b"\0"), 40012),
        ("thumb", b"\x89PNG\r\n\x1a\n" + bytes(50), 40005),
    ],
)
async def test_both_refuse_alike(wx_sim: WxSim, kind: Any, content: bytes, errcode: int) -> None:
    """What is refused before sending is what the platform refuses, with the same code."""
    client = wx_sim.client()
    with pytest.raises(ArgumentError) as caught:
        await client.media.upload(content, type=kind, filename={"voice": "a.mp3", "video": "a.mp4"}.get(kind, "a.jpg"))
    assert (caught.value.errcode, wx_sim.calls(UPLOAD)) == (errcode, 0)
    part = FilePart("media", {"voice": "a.mp3", "video": "a.mp4"}.get(kind, "a.jpg"), content)
    with pytest.raises(ArgumentError) as sent:
        await client.request("POST", UPLOAD, params={"type": kind}, files=[part])
    assert (sent.value.errcode, wx_sim.calls(UPLOAD)) == (errcode, 1)


async def test_a_long_voice_is_the_platforms_to_refuse(wx_sim: WxSim) -> None:
    """How long a recording plays is not known before."""
    long = b"#!AMR\n" + (b"\x3c" + bytes(31)) * 50 * 61
    with pytest.raises(ArgumentError) as caught:
        await wx_sim.client().media.upload(long, type="voice")
    assert (caught.value.errcode, caught.value.field) == (45007, "")


async def test_the_token_dies_on_the_way(wx_sim: WxSim, tmp_path: Path) -> None:
    """A token that another program has replaced costs one more attempt, up and down."""
    client = wx_sim.client()
    uploaded = await client.media.upload(CONTENTS["image"], type="image")
    wx_sim.faults.add("token_killed", UPLOAD, times=1)
    wx_sim.faults.add("token_killed", GET, times=1)
    again = await client.media.upload(pieces(CONTENTS["image"]), type="image")
    assert again.media_id != uploaded.media_id
    assert (await client.media.get(again.media_id, to=tmp_path / "a.jpg")).size == len(CONTENTS["image"])
    assert (wx_sim.calls(UPLOAD), wx_sim.calls(GET)) == (3, 2)


async def test_the_day_is_used_up(wx_sim: WxSim) -> None:
    """A used-up day is raised at once."""
    wx_sim.faults.add("errcode", UPLOAD, errcode=45009)
    with pytest.raises(RateLimitError) as caught:
        await wx_sim.client().media.upload(CONTENTS["image"], type="image")
    assert (caught.value.scope, wx_sim.calls(UPLOAD)) == ("day", 1)


async def test_the_answer_is_lost(wx_sim: WxSim) -> None:
    """When the answer to an upload is lost, a second copy is made; both are there."""
    wx_sim.faults.add("reset_after", UPLOAD, times=1)
    uploaded = await wx_sim.client().media.upload(CONTENTS["image"], type="image")
    assert (await wx_sim.client().media.get(uploaded.media_id)).content == CONTENTS["image"]
    assert (wx_sim.calls(UPLOAD), len(wx_sim.account.library.temporary)) == (2, 2)


@pytest.mark.parametrize("effect", ["busy", "content_type", "reset_after", "empty", "not_json"])
async def test_a_bad_moment(wx_sim: WxSim, tmp_path: Path, effect: Any) -> None:
    """Whatever goes wrong once with a download, the file comes, whole, into its place."""
    client = wx_sim.client()
    uploaded = await client.media.upload(CONTENTS["image"], type="image")
    wx_sim.faults.add(effect, GET, times=1)
    await client.media.get(uploaded.media_id, to=tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == CONTENTS["image"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
