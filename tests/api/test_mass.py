"""Mass sends: audiences, every kind of content, sends that can be repeated, and the rest of a task's life."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import mass as module
from wxmp.api.mass import (
    MassAPI,
    MassArticle,
    MassCard,
    MassImages,
    MassJob,
    MassMedia,
    MassMusic,
    MassNews,
    MassReceipt,
    MassSpeed,
    MassStatus,
    MassText,
    MassVideo,
    MassVoice,
)
from wxmp.errors import (
    AccountError,
    APIError,
    ArgumentError,
    BadStatusError,
    BusyError,
    NotAuthorizedError,
    NotFoundError,
    RateLimitError,
    RecipientError,
    ReplyError,
    TimedOutError,
)

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

SEND_ALL = "/cgi-bin/message/mass/sendall"
SEND = "/cgi-bin/message/mass/send"
PREVIEW = "/cgi-bin/message/mass/preview"
DELETE = "/cgi-bin/message/mass/delete"
STATUS = "/cgi-bin/message/mass/get"
GET_SPEED = "/cgi-bin/message/mass/speed/get"
SET_SPEED = "/cgi-bin/message/mass/speed/set"
UPLOAD_NEWS = "/cgi-bin/media/uploadnews"
UPLOAD_VIDEO = "/cgi-bin/media/uploadvideo"
OK = {"errcode": 0, "errmsg": "ok"}
SENT = {"errcode": 0, "errmsg": "send job submission success", "msg_id": 34182}
KNOWN = {"errcode": 45065, "errmsg": "clientmsgid exist", "msg_id": 34182}
TOO_FAST = {"errcode": 45066, "errmsg": "clientmsgid retry too fast"}

#: Each kind of content: its record, and what goes over the wire.
CONTENTS = [
    pytest.param("大家好", {"msgtype": "text", "text": {"content": "大家好"}}, id="str"),
    pytest.param(MassText("大家好"), {"msgtype": "text", "text": {"content": "大家好"}}, id="text"),
    pytest.param(MassNews("M"), {"msgtype": "mpnews", "mpnews": {"media_id": "M"}}, id="news"),
    pytest.param(MassVoice("M"), {"msgtype": "voice", "voice": {"media_id": "M"}}, id="voice"),
    pytest.param(
        MassVideo("M", "t", "d"),
        {"msgtype": "mpvideo", "mpvideo": {"media_id": "M", "title": "t", "description": "d"}},
        id="video",
    ),
    pytest.param(
        MassImages(["A", "B"], "看看", title="t", need_open_comment=True, only_fans_can_comment=False),
        {
            "msgtype": "image",
            "images": {
                "media_ids": ["A", "B"],
                "recommend": "看看",
                "title": "t",
                "need_open_comment": 1,
                "only_fans_can_comment": 0,
            },
        },
        id="images",
    ),
    pytest.param(MassCard("C"), {"msgtype": "wxcard", "wxcard": {"card_id": "C"}}, id="card"),
    pytest.param(
        MassNews("M", extra={"new": 1}), {"msgtype": "mpnews", "mpnews": {"media_id": "M", "new": 1}}, id="extra"
    ),
]


@pytest.fixture
def mass(caller: Caller) -> MassAPI:
    """The family under test."""
    return MassAPI(caller)


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


async def send_all(mass: MassAPI, **arguments: Any) -> MassReceipt:
    """Send a text to everybody."""
    return await mass.send_all("hi", is_to_all=True, **arguments)


async def send(mass: MassAPI, **arguments: Any) -> MassReceipt:
    """Send a text to two users."""
    return await mass.send(["oA", "oB"], "hi", **arguments)


#: Both ways to send, which share everything but the audience.
BOTH = pytest.mark.parametrize(("path", "way"), [(SEND_ALL, send_all), (SEND, send)], ids=["send_all", "send"])


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {
        ("POST", SEND_ALL, False),
        ("POST", SEND, False),
        ("POST", PREVIEW, False),
        ("POST", DELETE, True),
        ("POST", STATUS, True),
        ("POST", GET_SPEED, True),
        ("POST", SET_SPEED, True),
        ("POST", UPLOAD_NEWS, True),
        ("POST", UPLOAD_VIDEO, True),
    }


# --- audiences --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        ({"is_to_all": True}, {"is_to_all": True}),
        ({"tag_id": 2}, {"is_to_all": False, "tag_id": 2}),
        ({"tag_id": 0, "is_to_all": False}, {"is_to_all": False, "tag_id": 0}),
    ],
)
async def test_send_all_names_its_audience(
    platform: Platform, mass: MassAPI, audience: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Everybody or a tag, as the caller said."""
    route = platform.answer("POST", SEND_ALL, SENT)
    await mass.send_all("hi", **audience)
    assert platform.body(route)["filter"] == expected
    assert platform.params(route) == {}


@pytest.mark.parametrize(
    ("audience", "errcode", "field"),
    [
        pytest.param({}, 40035, "is_to_all", id="nobody said"),
        pytest.param({"tag_id": None}, 40035, "is_to_all", id="a tag that is None"),
        pytest.param({"is_to_all": "false"}, 40035, "is_to_all", id="a text"),
        pytest.param({"is_to_all": True, "tag_id": 2}, 40035, "is_to_all", id="both"),
        pytest.param({"tag_id": -1}, 45159, "tag_id", id="negative"),
        pytest.param({"tag_id": True}, 45159, "tag_id", id="a switch"),
        pytest.param({"tag_id": "2"}, 45159, "tag_id", id="a tag that is a text"),
    ],
)
async def test_send_all_to_nobody_in_particular(
    mass: MassAPI, audience: dict[str, Any], errcode: int, field: str
) -> None:
    """A forgotten tag never becomes a message to everybody."""
    with pytest.raises(ArgumentError) as caught:
        await mass.send_all("hi", **audience)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_send_names_each_user_once(platform: Platform, mass: MassAPI) -> None:
    """Repeated openids go out once, in their order; an iterator will do."""
    route = platform.answer("POST", SEND, SENT)
    await mass.send(iter(["oB", "oA", "oB"]), "hi")
    body = platform.body(route)
    assert body["touser"] == ["oB", "oA"]
    assert "filter" not in body


async def test_send_takes_ten_thousand(platform: Platform, mass: MassAPI) -> None:
    """The longest list is one request."""
    route = platform.answer("POST", SEND, SENT)
    await mass.send([f"o{number}" for number in range(10_000)], "hi")
    assert len(platform.body(route)["touser"]) == 10_000
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("openids", "errcode", "field"),
    [
        pytest.param([], 40130, "openids", id="nobody"),
        pytest.param(["oA"], 40130, "openids", id="one"),
        pytest.param(["oA", "oA"], 40130, "openids", id="one twice"),
        pytest.param(["oA", ""], 40003, "openids[1]", id="an empty one"),
        pytest.param("oA", 40003, "openids", id="a text"),
        pytest.param([f"o{number}" for number in range(10_001)], 40032, "openids", id="10001"),
    ],
)
async def test_send_checks_the_receivers(mass: MassAPI, openids: Any, errcode: int, field: str) -> None:
    """Lists the platform would refuse are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await mass.send(openids, "hi")
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_a_list_that_is_too_long_comes_with_a_remedy(mass: MassAPI) -> None:
    """It is not split in silence: each part is a task of its own."""
    with pytest.raises(ArgumentError, match=r"10001 users; send parts of at most 10000, each with a client_msg_id"):
        await mass.send([f"o{number}" for number in range(10_001)], "hi")


# --- content ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("message", "expected"), CONTENTS)
async def test_send_all_with_each_content(
    platform: Platform, mass: MassAPI, message: Any, expected: dict[str, Any]
) -> None:
    """Each record becomes its documented object; what is not given is not sent."""
    route = platform.answer("POST", SEND_ALL, SENT)
    await mass.send_all(message, tag_id=2, client_msg_id="job")
    assert platform.body(route) == {"filter": {"is_to_all": False, "tag_id": 2}, "clientmsgid": "job", **expected}


@pytest.mark.parametrize(("message", "expected"), CONTENTS)
async def test_send_with_each_content(
    platform: Platform, mass: MassAPI, message: Any, expected: dict[str, Any]
) -> None:
    """A list of users gets the same objects."""
    route = platform.answer("POST", SEND, SENT)
    await mass.send(["oA", "oB"], message, send_ignore_reprint=True, client_msg_id="job")
    assert platform.body(route) == {
        "touser": ["oA", "oB"],
        "send_ignore_reprint": 1,
        "clientmsgid": "job",
        **expected,
    }


async def test_content_is_raw_utf8(platform: Platform, mass: MassAPI) -> None:
    """Chinese is not escaped: the platform would show the escapes to everybody."""
    route = platform.answer("POST", SEND_ALL, SENT)
    await mass.send_all("大家好", is_to_all=True)
    assert "大家好".encode() in platform.raw(route)


def test_one_picture_may_be_a_plain_text() -> None:
    """A media_id alone is one picture, and its letters are none."""
    assert MassImages("ABC").media_ids == ("ABC",)


@pytest.mark.parametrize(
    ("message", "errcode", "field"),
    [
        pytest.param("", 44004, "message.content", id="empty text"),
        pytest.param(MassText(" \n"), 44004, "message.content", id="blank text"),
        pytest.param(MassNews(""), 40007, "message.media_id", id="no articles"),
        pytest.param(MassVoice(""), 40007, "message.media_id", id="no sound"),
        pytest.param(MassVideo(""), 40007, "message.media_id", id="no video"),
        pytest.param(MassImages([]), 40215, "message.media_ids", id="no pictures"),
        pytest.param(MassImages(["A", ""]), 40007, "message.media_ids[1]", id="an empty picture"),
        pytest.param(MassCard(""), 40035, "message.card_id", id="no card"),
        pytest.param({"msgtype": "text"}, 40008, "message", id="a dict"),
        pytest.param(None, 40008, "message", id="None"),
    ],
)
async def test_content_is_checked(mass: MassAPI, message: Any, errcode: int, field: str) -> None:
    """What the platform would certainly refuse is refused before sending, whichever way it was to go."""
    for call in (
        mass.send_all(message, is_to_all=True),
        mass.send(["oA", "oB"], message),
        mass.preview(message, openid="oA"),
    ):
        with pytest.raises(ArgumentError) as caught:
            await call
        assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_music_is_for_previews_only(mass: MassAPI) -> None:
    """A mass send of music is refused before sending (40008)."""
    message: Any = MassMusic("M")
    with pytest.raises(ArgumentError, match="previewed") as caught:
        await mass.send_all(message, is_to_all=True)
    assert (caught.value.errcode, caught.value.field) == (40008, "message")


# --- the key, and what its answers mean -------------------------------------------------------------------------------


@BOTH
async def test_receipt_of_a_text(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """The receipt has the task, the key, and fields of tomorrow."""
    platform.answer("POST", path, {**SENT, "new": 1})
    assert await way(mass, client_msg_id="job-1") == MassReceipt(34182, "job-1", extra={"new": 1})


@BOTH
async def test_receipt_of_articles(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """Articles have a second number; numbers come as text at times."""
    platform.answer("POST", path, {**SENT, "msg_id": "1000000001", "msg_data_id": "206227730", "type": "news"})
    receipt = await way(mass, client_msg_id="job-1")
    assert receipt == MassReceipt(1_000_000_001, "job-1", 206_227_730, "news")
    assert (receipt.duplicate, receipt.confirmed, receipt.awaiting_approval) == (False, True, False)


@BOTH
async def test_every_call_has_a_key_of_its_own(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """Without a key of the caller's, two equal calls are two messages: each gets a fresh key of 32 digits."""
    route = platform.answer("POST", path, SENT)
    first, second = await way(mass), await way(mass)
    keys = [body["clientmsgid"] for body in platform.bodies(route)]
    assert keys == [first.client_msg_id, second.client_msg_id]
    assert len(set(keys)) == 2
    assert re.fullmatch(r"[0-9a-f]{32}", keys[0])


@BOTH
async def test_lost_answer_and_known_key(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """The first attempt times out, the repeat is 45065: the first one worked, and here is its task."""
    route = platform.answer("POST", path, httpx.ReadTimeout("slow"), {**KNOWN, "msg_data_id": 7})
    receipt = await way(mass)
    first, second = platform.bodies(route)
    assert first == second
    assert receipt == MassReceipt(34182, first["clientmsgid"], 7, duplicate=True)


@BOTH
async def test_lost_answer_and_lost_request(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """The first attempt never arrived: the repeat sends, with the same key, and is no duplicate."""
    route = platform.answer("POST", path, broken(), {"errcode": -1, "errmsg": "busy"}, SENT)
    receipt = await way(mass)
    assert len({body["clientmsgid"] for body in platform.bodies(route)}) == 1
    assert (receipt.msg_id, receipt.duplicate, route.call_count) == (34182, False, 3)


@BOTH
async def test_lost_answer_and_a_key_of_the_last_minute(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """45066 after a lost answer: the platform knows the key and vouches for nothing, and the receipt says both."""
    route = platform.answer("POST", path, httpx.ReadError("cut"), TOO_FAST)
    receipt = await way(mass)
    assert receipt == MassReceipt(None, platform.body(route)["clientmsgid"], duplicate=True, confirmed=False)
    assert route.call_count == 2


@BOTH
@pytest.mark.parametrize("code", [45065, 45066])
async def test_new_key_that_is_known_at_once(platform: Platform, mass: MassAPI, path: str, way: Any, code: int) -> None:
    """No attempt of this call can have brought a key that was just made: that is an error, not a success."""
    platform.answer("POST", path, {"errcode": code, "errmsg": "x"})
    with pytest.raises(APIError) as caught:
        await way(mass)
    assert caught.value.errcode == code


@BOTH
async def test_refused_attempt_and_a_key_of_the_last_minute(
    platform: Platform, mass: MassAPI, path: str, way: Any
) -> None:
    """After a certain refusal (42010), 45066 says only that the repeat came early: nothing was sent."""
    platform.answer("POST", path, {"errcode": 42010, "errmsg": "x"}, *[TOO_FAST] * 3)
    with pytest.raises(RateLimitError) as caught:
        await way(mass)
    assert caught.value.errcode == 45066


@BOTH
async def test_own_key_that_is_known_at_once(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """A caller's own key can be known from an earlier call: the receipt has its task and says that it is old."""
    route = platform.answer("POST", path, KNOWN)
    assert await way(mass, client_msg_id="order-1") == MassReceipt(34182, "order-1", duplicate=True)
    assert route.call_count == 1


@BOTH
@pytest.mark.parametrize(
    ("answer", "msg_id", "confirmed"),
    [
        (TOO_FAST, None, False),
        ({**TOO_FAST, "msg_id": 34182}, 34182, True),
        ({"errcode": 45065, "errmsg": "x"}, None, True),
        ({"errcode": 45065, "errmsg": "x", "msgid": 34182}, 34182, True),
    ],
    ids=["45066", "45066 with a task", "45065 without", "45065 in the other spelling"],
)
async def test_own_key_and_what_the_answer_names(
    platform: Platform, mass: MassAPI, path: str, way: Any, answer: Any, msg_id: int | None, confirmed: bool
) -> None:
    """A task is as certain as the platform says, and named if the answer names it; nothing is repeated."""
    route = platform.answer("POST", path, answer)
    receipt = await way(mass, client_msg_id="order-1")
    assert receipt == MassReceipt(msg_id, "order-1", duplicate=True, confirmed=confirmed)
    assert route.call_count == 1


@BOTH
@pytest.mark.parametrize("code", [89504, 89505])
@pytest.mark.parametrize("more", [{}, {"msg_id": 34182}], ids=["unnamed", "named"])
async def test_administrator_must_agree(
    platform: Platform, mass: MassAPI, path: str, way: Any, code: int, more: dict[str, Any]
) -> None:
    """Waiting for the administrator is no failure: sending again would be one too many."""
    platform.answer("POST", path, {"errcode": code, "errmsg": "x", **more})
    receipt = await way(mass)
    assert (receipt.msg_id, receipt.awaiting_approval) == (more.get("msg_id"), True)
    assert (receipt.duplicate, receipt.confirmed) == (False, True)


@BOTH
async def test_outcome_that_stays_unknown(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """When every answer is lost, the error says so, and a note on it holds the key to ask with."""
    route = platform.answer("POST", path, httpx.ReadTimeout("slow"))
    with pytest.raises(TimedOutError) as caught:
        await way(mass)
    (note,) = caught.value.__notes__
    assert caught.value.maybe_acted
    assert route.call_count == 4
    assert repr(platform.body(route)["clientmsgid"]) in note


@BOTH
@pytest.mark.parametrize(
    ("answer", "error"),
    [({"errcode": 268488001, "errmsg": "x"}, BusyError), (OK, ReplyError), (broken(), BadStatusError)],
    ids=["busy", "no msg_id", "502"],
)
async def test_other_unknown_outcomes(
    platform: Platform, mass: MassAPI, path: str, way: Any, answer: Any, error: type[Exception]
) -> None:
    """A platform that is busy or answers nonsense may have acted: the key is in the note as well."""
    platform.answer("POST", path, answer)
    with pytest.raises(error) as caught:
        await way(mass, client_msg_id="order-1")
    assert any("client_msg_id='order-1'" in note for note in caught.value.__notes__)


@BOTH
@pytest.mark.parametrize(
    "answer",
    [{"errcode": 45028, "errmsg": "x"}, httpx.ConnectError("refused")],
    ids=["refused", "never connected"],
)
async def test_outcome_that_is_known(platform: Platform, mass: MassAPI, path: str, way: Any, answer: Any) -> None:
    """Where certainly nothing was sent, no note says that something may have been."""
    platform.answer("POST", path, answer)
    with pytest.raises(Exception) as caught:
        await way(mass)
    assert not hasattr(caught.value, "__notes__")


@BOTH
@pytest.mark.parametrize(
    ("key", "errcode"),
    [("", 40035), ("k" * 33, 45067), ("键" * 11, 45067), (7, 40035)],
    ids=["empty", "33 bytes", "33 bytes of Chinese", "a number"],
)
async def test_key_is_checked(mass: MassAPI, path: str, way: Any, key: Any, errcode: int) -> None:
    """A key has 1 to 32 bytes."""
    with pytest.raises(ArgumentError) as caught:
        await way(mass, client_msg_id=key)
    assert (caught.value.errcode, caught.value.field) == (errcode, "client_msg_id")
    assert caught.value.endpoint == f"POST {path}"


@BOTH
async def test_key_of_32_bytes(platform: Platform, mass: MassAPI, path: str, way: Any) -> None:
    """The longest key passes."""
    platform.answer("POST", path, SENT)
    assert (await way(mass, client_msg_id="k" * 32)).client_msg_id == "k" * 32


@BOTH
@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (45028, RateLimitError),
        (45009, RateLimitError),
        (45159, NotFoundError),
        (40007, NotFoundError),
        (40130, ArgumentError),
        (45002, ArgumentError),
        (48003, NotAuthorizedError),
        (45062, NotAuthorizedError),
        (45113, NotAuthorizedError),
    ],
)
async def test_refused(
    platform: Platform, mass: MassAPI, path: str, way: Any, errcode: int, error: type[APIError]
) -> None:
    """A refusal is an error of its own class and is not repeated."""
    route = platform.answer("POST", path, {"errcode": errcode, "errmsg": "no rid: 1-2-3"})
    with pytest.raises(error) as caught:
        await way(mass)
    assert (caught.value.errcode, caught.value.rid, route.call_count) == (errcode, "1-2-3", 1)


# --- preview ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        *CONTENTS,
        pytest.param(MassMusic("M"), {"msgtype": "music", "music": {"media_id": "M"}}, id="music"),
        pytest.param(MassImages("A"), {"msgtype": "image", "image": {"media_id": "A"}}, id="one picture"),
        pytest.param(
            MassImages("A", "看看"),
            {"msgtype": "image", "images": {"media_ids": ["A"], "recommend": "看看"}},
            id="one picture with a line",
        ),
        pytest.param(
            MassCard("C", {"code": "1", "openid": "oA"}),
            {"msgtype": "wxcard", "wxcard": {"card_id": "C", "card_ext": {"code": "1", "openid": "oA"}}},
            id="a card for somebody",
        ),
        pytest.param(
            MassCard("C", '{"code":"1"}'),
            {"msgtype": "wxcard", "wxcard": {"card_id": "C", "card_ext": '{"code":"1"}'}},
            id="a card with JSON text",
        ),
    ],
)
async def test_preview_with_each_content(
    platform: Platform, mass: MassAPI, message: Any, expected: dict[str, Any]
) -> None:
    """A preview takes what a send takes, and more; a single picture has a form of its own."""
    route = platform.answer("POST", PREVIEW, OK)
    await mass.preview(message, openid="oA")
    assert platform.body(route) == {"touser": "oA", **expected}


async def test_preview_by_wechat_id(platform: Platform, mass: MassAPI) -> None:
    """A person can be named by WeChat id instead."""
    route = platform.answer("POST", PREVIEW, OK)
    await mass.preview("hi", wechat_id="alice")
    assert platform.body(route) == {"towxname": "alice", "msgtype": "text", "text": {"content": "hi"}}


@pytest.mark.parametrize(
    ("person", "errcode", "field"),
    [
        ({}, 40035, "openid"),
        ({"openid": "oA", "wechat_id": "alice"}, 40035, "openid"),
        ({"openid": ""}, 40003, "openid"),
        ({"wechat_id": ""}, 40132, "wechat_id"),
    ],
)
async def test_preview_needs_one_person(mass: MassAPI, person: dict[str, Any], errcode: int, field: str) -> None:
    """Either an openid or a WeChat id."""
    with pytest.raises(ArgumentError) as caught:
        await mass.preview("hi", **person)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_preview_is_not_repeated(platform: Platform, mass: MassAPI) -> None:
    """A repeat would show it twice and count twice."""
    route = platform.answer("POST", PREVIEW, broken())
    with pytest.raises(BadStatusError):
        await mass.preview("hi", openid="oA")
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("errcode", "error"), [(43004, RecipientError), (40132, ArgumentError), (45009, RateLimitError)]
)
async def test_preview_refused(platform: Platform, mass: MassAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal is an error of its own class."""
    platform.answer("POST", PREVIEW, {"errcode": errcode, "errmsg": "x"})
    with pytest.raises(error):
        await mass.preview("hi", openid="oA")


# --- delete, status ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"msg_id": 34182}, {"msg_id": 34182}),
        ({"msg_id": 34182, "index": 2}, {"msg_id": 34182, "article_idx": 2}),
        ({"msg_id": 34182, "index": 0}, {"msg_id": 34182, "article_idx": 0}),
        ({"url": "https://mp.weixin.qq.com/s/x"}, {"url": "https://mp.weixin.qq.com/s/x"}),
    ],
)
async def test_delete_names_the_message(
    platform: Platform, mass: MassAPI, arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A task, one of its articles, or an address."""
    route = platform.answer("POST", DELETE, OK)
    await mass.delete(**arguments)
    assert platform.body(route) == expected


@pytest.mark.parametrize(
    ("arguments", "errcode", "field"),
    [
        ({}, 40101, "msg_id"),
        ({"msg_id": 1, "url": "https://x"}, 40101, "msg_id"),
        ({"msg_id": 0}, 40059, "msg_id"),
        ({"msg_id": "34182"}, 40059, "msg_id"),
        ({"msg_id": True}, 40059, "msg_id"),
        ({"url": ""}, 40101, "url"),
        ({"msg_id": 1, "index": -1}, 40060, "index"),
        ({"msg_id": 1, "index": True}, 40060, "index"),
    ],
)
async def test_delete_checks(mass: MassAPI, arguments: dict[str, Any], errcode: int, field: str) -> None:
    """Nothing is deleted that was not named clearly."""
    with pytest.raises(ArgumentError) as caught:
        await mass.delete(**arguments)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (40059, NotFoundError),
        (40060, ArgumentError),
        (40008, ArgumentError),
        (40065, APIError),
        (45009, RateLimitError),
    ],
)
async def test_delete_refused(platform: Platform, mass: MassAPI, errcode: int, error: type[APIError]) -> None:
    """At the first attempt every refusal is an error, 40065 included."""
    route = platform.answer("POST", DELETE, {"errcode": errcode, "errmsg": "x"})
    with pytest.raises(error) as caught:
        await mass.delete(1)
    assert (caught.value.errcode, route.call_count) == (errcode, 1)


@pytest.mark.parametrize(
    ("index", "state", "done"),
    [
        (None, "DELETE", True),
        (1, "DELETE", True),
        (1, "SEND_SUCCESS", True),
        (None, "SEND_SUCCESS", False),
        (0, "SEND_SUCCESS", False),
        (1, "SENDING", False),
        (None, "SEND_FAIL", False),
    ],
)
async def test_delete_after_a_broken_attempt(
    platform: Platform, mass: MassAPI, index: int | None, state: str, done: bool
) -> None:
    """40065 on a repeat is "gone already" or "not finished": the state of the task tells which."""
    platform.answer("POST", DELETE, broken(), {"errcode": 40065, "errmsg": "invalid msg status"})
    platform.answer("POST", STATUS, {"msg_id": "34182", "msg_status": state})
    if done:
        await mass.delete(34182, index=index)
        return
    with pytest.raises(APIError) as caught:
        await mass.delete(34182, index=index)
    assert (caught.value.errcode, caught.value.errmsg) == (40065, "invalid msg status")


async def test_delete_by_address_after_a_broken_attempt(platform: Platform, mass: MassAPI) -> None:
    """An address has no state to ask for: there 40065 on a repeat counts as done."""
    route = platform.answer("POST", DELETE, broken(), {"errcode": 40065, "errmsg": "x"})
    await mass.delete(url="https://mp.weixin.qq.com/s/x")
    assert route.call_count == 2


@pytest.mark.parametrize("number", [34182, "34182"])
@pytest.mark.parametrize("state", list(MassStatus))
async def test_status(platform: Platform, mass: MassAPI, number: Any, state: MassStatus) -> None:
    """The task is asked for as text and answered as text or number."""
    route = platform.answer("POST", STATUS, {"msg_id": number, "msg_status": str(state), "new": 1})
    job = await mass.get_status(34182)
    assert (job, job.ok) == (MassJob(34182, state, extra={"new": 1}), state == MassStatus.SEND_SUCCESS)
    assert platform.body(route) == {"msg_id": "34182"}


async def test_status_without_the_number(platform: Platform, mass: MassAPI) -> None:
    """The task is the one that was asked for, whether or not the answer repeats it."""
    platform.answer("POST", STATUS, {"msg_status": "SENDING"})
    assert await mass.get_status(7) == MassJob(7, MassStatus.SENDING)


async def test_status_of_tomorrow(platform: Platform, mass: MassAPI) -> None:
    """A state that nobody knows yet stays text."""
    platform.answer("POST", STATUS, {"msg_id": 1, "msg_status": "PAUSED"})
    found = (await mass.get_status(1)).msg_status
    assert (found, type(found)) == ("PAUSED", str)


async def test_status_without_a_state(platform: Platform, mass: MassAPI) -> None:
    """An answer without a state is a ReplyError that names it."""
    platform.answer("POST", STATUS, {"msg_id": 1})
    with pytest.raises(ReplyError, match="msg_status"):
        await mass.get_status(1)


async def test_status_of_an_unknown_task(platform: Platform, mass: MassAPI) -> None:
    """An unknown task is a NotFoundError; one that cannot be is refused before sending."""
    platform.answer("POST", STATUS, {"errcode": 40059, "errmsg": "x"})
    with pytest.raises(NotFoundError):
        await mass.get_status(1)
    with pytest.raises(ArgumentError) as caught:
        await mass.get_status(-1)
    assert (caught.value.errcode, caught.value.field) == (40059, "msg_id")


async def test_status_that_waits_for_the_administrator(platform: Platform, mass: MassAPI) -> None:
    """Where the question itself is answered with 89504, there is no state to return."""
    platform.answer("POST", STATUS, {"errcode": 89504, "errmsg": "x"})
    with pytest.raises(AccountError):
        await mass.get_status(1)


# --- speed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [(3, 30), ("3", "30")])
async def test_get_speed(platform: Platform, mass: MassAPI, numbers: tuple[Any, Any]) -> None:
    """The level and what it means; the request has no fields."""
    route = platform.answer("POST", GET_SPEED, {"speed": numbers[0], "realspeed": numbers[1], "new": 1})
    assert await mass.get_speed() == MassSpeed(3, 30, extra={"new": 1})
    assert platform.body(route) == {}


@pytest.mark.parametrize("speed", [0, 4])
async def test_set_speed(platform: Platform, mass: MassAPI, speed: int) -> None:
    """The level goes out as a number."""
    route = platform.answer("POST", SET_SPEED, OK)
    await mass.set_speed(speed)
    assert platform.body(route) == {"speed": speed}


@pytest.mark.parametrize("speed", [-1, 5, True, "1", None])
async def test_set_speed_checks(mass: MassAPI, speed: Any) -> None:
    """There are the levels 0 to 4 (45083)."""
    with pytest.raises(ArgumentError) as caught:
        await mass.set_speed(speed)
    assert (caught.value.errcode, caught.value.field) == (45083, "speed")


async def test_set_speed_is_repeated(platform: Platform, mass: MassAPI) -> None:
    """Setting it twice does no harm."""
    route = platform.answer("POST", SET_SPEED, broken(), {"errcode": 45085, "errmsg": "x"}, OK)
    await mass.set_speed(1)
    assert route.call_count == 3


# --- uploads ----------------------------------------------------------------------------------------------------------

MADE = {"type": "news", "media_id": "N", "created_at": 1620000000}
MADE_AT = datetime(2021, 5, 3, tzinfo=UTC)


async def test_upload_news_with_everything(platform: Platform, mass: MassAPI) -> None:
    """Every documented field goes out under its own name, switches as 0 and 1."""
    route = platform.answer("POST", UPLOAD_NEWS, {**MADE, "new": 1})
    article = MassArticle(
        "标题",
        "<p>正文</p>",
        "T",
        author="a",
        digest="d",
        content_source_url="https://example.com",
        show_cover_pic=True,
        need_open_comment=True,
        only_fans_can_comment=False,
        extra={"more": 1},
    )
    assert await mass.upload_news(article) == MassMedia("N", "news", MADE_AT, extra={"new": 1})
    assert platform.body(route) == {
        "articles": [
            {
                "title": "标题",
                "content": "<p>正文</p>",
                "thumb_media_id": "T",
                "author": "a",
                "digest": "d",
                "content_source_url": "https://example.com",
                "show_cover_pic": 1,
                "need_open_comment": 1,
                "only_fans_can_comment": 0,
                "more": 1,
            }
        ]
    }


async def test_upload_news_with_the_least(platform: Platform, mass: MassAPI) -> None:
    """Several articles keep their order, and what is not given is not sent."""
    route = platform.answer("POST", UPLOAD_NEWS, MADE)
    await mass.upload_news([MassArticle(f"t{n}", "c", "T") for n in range(8)])
    articles = platform.body(route)["articles"]
    assert [article["title"] for article in articles] == [f"t{n}" for n in range(8)]
    assert articles[0].keys() == {"title", "content", "thumb_media_id"}


@pytest.mark.parametrize(
    ("articles", "errcode", "field"),
    [
        ([], 44003, "articles"),
        ([MassArticle("t", "c", "T")] * 9, 45008, "articles"),
        ([MassArticle("", "c", "T")], 40035, "articles[0].title"),
        ([MassArticle("t", "c", "T"), MassArticle("t", "", "T")], 44003, "articles[1].content"),
        (MassArticle("t", "c", ""), 40007, "articles[0].thumb_media_id"),
        ([{"title": "t"}], 40035, "articles[0]"),
    ],
)
async def test_upload_news_checks(mass: MassAPI, articles: Any, errcode: int, field: str) -> None:
    """What cannot be an article is refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await mass.upload_news(articles)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_upload_video(platform: Platform, mass: MassAPI) -> None:
    """The answer is the id to send; the time may come as text."""
    route = platform.answer("POST", UPLOAD_VIDEO, {"type": "video", "media_id": "V", "created_at": "1620000000"})
    assert await mass.upload_video("M", title="t", description="d") == MassMedia("V", "video", MADE_AT)
    assert platform.body(route) == {"media_id": "M", "title": "t", "description": "d"}


async def test_upload_video_with_the_least(platform: Platform, mass: MassAPI) -> None:
    """Title and description may be left out, and so may everything of the answer but the id."""
    route = platform.answer("POST", UPLOAD_VIDEO, {"media_id": "V"})
    assert await mass.upload_video("M") == MassMedia("V")
    assert platform.body(route) == {"media_id": "M"}


async def test_upload_video_of_nothing(platform: Platform, mass: MassAPI) -> None:
    """An empty id is refused before sending, an unknown one by the platform (40007)."""
    with pytest.raises(ArgumentError) as caught:
        await mass.upload_video("")
    assert (caught.value.errcode, caught.value.field) == (40007, "media_id")
    platform.answer("POST", UPLOAD_VIDEO, {"errcode": 40007, "errmsg": "x"})
    with pytest.raises(NotFoundError):
        await mass.upload_video("M")


@pytest.mark.parametrize("path", [UPLOAD_NEWS, UPLOAD_VIDEO])
async def test_uploads_are_repeated_and_need_an_id(platform: Platform, mass: MassAPI, path: str) -> None:
    """A lost answer costs nothing that lasts; an answer without an id is a ReplyError that names it."""
    route = platform.answer("POST", path, broken(), {"type": "x"})
    news = path == UPLOAD_NEWS
    with pytest.raises(ReplyError, match="media_id"):
        await (mass.upload_news(MassArticle("t", "c", "T")) if news else mass.upload_video("M"))
    assert route.call_count == 2
