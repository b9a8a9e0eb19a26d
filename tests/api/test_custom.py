"""Customer-service messages: every kind in its wire form, one send for one call, the typing hint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import custom as module
from wxmp.api.custom import (
    CustomAPI,
    CustomCard,
    CustomImage,
    CustomMenu,
    CustomMenuLine,
    CustomMessage,
    CustomMiniProgram,
    CustomMPNews,
    CustomMPNewsArticle,
    CustomMusic,
    CustomNews,
    CustomText,
    CustomVideo,
    CustomVoice,
)
from wxmp.errors import (
    APIError,
    ArgumentError,
    BadStatusError,
    BusyError,
    NotFoundError,
    RecipientError,
    TransportError,
)

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

SEND = "/cgi-bin/message/custom/send"
TYPING = "/cgi-bin/message/custom/typing"
OK = {"errcode": 0, "errmsg": "ok"}

#: Each kind of message with everything in it, and the object it becomes.
KINDS: list[tuple[CustomMessage, str, dict[str, Any]]] = [
    (CustomText("你好"), "text", {"content": "你好"}),
    (CustomImage("M"), "image", {"media_id": "M"}),
    (CustomVoice("M"), "voice", {"media_id": "M"}),
    (CustomVideo("M", "T"), "video", {"media_id": "M", "thumb_media_id": "T"}),
    (
        CustomVideo("M", "T", title="t", description="d"),
        "video",
        {"media_id": "M", "thumb_media_id": "T", "title": "t", "description": "d"},
    ),
    (CustomMusic("http://m", "T"), "music", {"musicurl": "http://m", "thumb_media_id": "T"}),
    (
        CustomMusic("http://m", "T", title="t", description="d", hqmusicurl="http://hq"),
        "music",
        {
            "musicurl": "http://m",
            "thumb_media_id": "T",
            "title": "t",
            "description": "d",
            "hqmusicurl": "http://hq",
        },
    ),
    (
        CustomNews("t", "http://u", description="d", picurl="http://p"),
        "news",
        {"articles": [{"title": "t", "url": "http://u", "description": "d", "picurl": "http://p"}]},
    ),
    (CustomMPNews("M"), "mpnews", {"media_id": "M"}),
    (CustomMPNewsArticle("A"), "mpnewsarticle", {"article_id": "A"}),
    (
        CustomMenu(
            (CustomMenuLine("101", "满意"), CustomMenuLine("102", "不满意")), head_content="h", tail_content="t"
        ),
        "msgmenu",
        {
            "head_content": "h",
            "list": [{"id": "101", "content": "满意"}, {"id": "102", "content": "不满意"}],
            "tail_content": "t",
        },
    ),
    (CustomCard("C"), "wxcard", {"card_id": "C"}),
    (
        CustomMiniProgram("t", "wxmini", "p?a=1", "T"),
        "miniprogrampage",
        {"title": "t", "appid": "wxmini", "pagepath": "p?a=1", "thumb_media_id": "T"},
    ),
    (CustomImage("M", extra={"new": 1}), "image", {"media_id": "M", "new": 1}),
]


@pytest.fixture
def custom(caller: Caller) -> CustomAPI:
    """The family under test."""
    return CustomAPI(caller)


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {("POST", SEND, False), ("POST", TYPING, True)}


def test_all_kinds_are_tried() -> None:
    """The table above leaves no kind of message out."""
    assert {type(message) for message, _, _ in KINDS} == set(get_args(CustomMessage))


@pytest.mark.parametrize(("message", "msgtype", "content"), KINDS)
async def test_send_each_kind(
    platform: Platform, custom: CustomAPI, message: CustomMessage, msgtype: str, content: dict[str, Any]
) -> None:
    """A message becomes its kind and the object of the same name; what is absent is not sent."""
    route = platform.answer("POST", SEND, OK)
    await custom.send("oA", message)
    assert platform.body(route) == {"touser": "oA", "msgtype": msgtype, msgtype: content}
    assert platform.params(route) == {}


async def test_send_a_str(platform: Platform, custom: CustomAPI) -> None:
    """A plain str is a text, and goes out as raw UTF-8: escapes would be shown to the user."""
    route = platform.answer("POST", SEND, OK)
    await custom.send("oA", "你好")
    assert platform.raw(route) == '{"touser":"oA","msgtype":"text","text":{"content":"你好"}}'.encode()


async def test_send_as_somebody(platform: Platform, custom: CustomAPI) -> None:
    """Account, AI mark and sub-merchant have their places beside the message."""
    route = platform.answer("POST", SEND, OK)
    await custom.send("oA", "hi", kf_account="test1@kftest", ai_generated=True, business_id="7")
    assert platform.body(route) == {
        "touser": "oA",
        "msgtype": "text",
        "text": {"content": "hi"},
        "customservice": {"kf_account": "test1@kftest"},
        "aimsgcontext": {"is_ai_msg": 1},
        "businessid": "7",
    }


async def test_menu_lines_may_be_a_list(platform: Platform, custom: CustomAPI) -> None:
    """Any iterable of lines will do."""
    route = platform.answer("POST", SEND, OK)
    await custom.send("oA", CustomMenu([CustomMenuLine("1", "a")]))
    assert platform.body(route)["msgmenu"] == {"list": [{"id": "1", "content": "a"}]}


@pytest.mark.parametrize(
    ("message", "errcode", "field"),
    [
        pytest.param("", 44004, "message.content", id="empty str"),
        pytest.param(CustomText(""), 44004, "message.content", id="empty text"),
        pytest.param(CustomImage(""), 41006, "message.media_id", id="image"),
        pytest.param(CustomVoice(""), 41006, "message.media_id", id="voice"),
        pytest.param(CustomVideo("", "T"), 41006, "message.media_id", id="video"),
        pytest.param(CustomVideo("M", ""), 41006, "message.thumb_media_id", id="video thumb"),
        pytest.param(CustomMusic("", "T"), 40035, "message.musicurl", id="music"),
        pytest.param(CustomMusic("u", ""), 41006, "message.thumb_media_id", id="music thumb"),
        pytest.param(CustomNews("", "u"), 40035, "message.title", id="news title"),
        pytest.param(CustomNews("t", ""), 40035, "message.url", id="news url"),
        pytest.param(CustomMPNews(""), 41006, "message.media_id", id="mpnews"),
        pytest.param(CustomMPNewsArticle(""), 40035, "message.article_id", id="article"),
        pytest.param(CustomMenu(()), 40035, "message.lines", id="menu"),
        pytest.param(CustomMenu((CustomMenuLine("", "a"),)), 40035, "message.lines[0].id", id="line id"),
        pytest.param(CustomMenu((CustomMenuLine("1", ""),)), 40035, "message.lines[0].content", id="line"),
        pytest.param(CustomCard(""), 40035, "message.card_id", id="card"),
        pytest.param(CustomMiniProgram("", "a", "p", "T"), 40035, "message.title", id="mini title"),
        pytest.param(CustomMiniProgram("t", "", "p", "T"), 40035, "message.appid", id="mini appid"),
        pytest.param(CustomMiniProgram("t", "a", "", "T"), 40035, "message.pagepath", id="mini page"),
        pytest.param(CustomMiniProgram("t", "a", "p", ""), 41006, "message.thumb_media_id", id="mini thumb"),
        pytest.param({"content": "hi"}, 40008, "message", id="a dict"),
        pytest.param(None, 40008, "message", id="None"),
    ],
)
async def test_send_checks_the_message(custom: CustomAPI, message: Any, errcode: int, field: str) -> None:
    """What the platform would certainly refuse is refused before sending, with the path of the field."""
    with pytest.raises(ArgumentError) as caught:
        await custom.send("oA", message)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (errcode, field, f"POST {SEND}")


async def test_send_checks_receiver_and_sender(custom: CustomAPI) -> None:
    """An empty openid and an empty account are refused before sending."""
    with pytest.raises(ArgumentError) as receiver:
        await custom.send("", "hi")
    with pytest.raises(ArgumentError) as sender:
        await custom.send("oA", "hi", kf_account="")
    assert (receiver.value.errcode, receiver.value.field) == (40003, "openid")
    assert (sender.value.errcode, sender.value.field) == (61451, "kf_account")


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        pytest.param(httpx.Response(502), BadStatusError, id="gateway"),
        pytest.param(httpx.ReadError("cut"), TransportError, id="cut"),
        pytest.param({"errcode": -1, "errmsg": "system error"}, BusyError, id="busy"),
    ],
)
async def test_send_is_not_repeated(
    platform: Platform, custom: CustomAPI, failure: Any, error: type[Exception]
) -> None:
    """When nobody knows whether the message went out, it is not sent again."""
    route = platform.answer("POST", SEND, failure)
    with pytest.raises(error):
        await custom.send("oA", "hi")
    assert route.call_count == 1


async def test_send_is_repeated_when_nothing_was_sent(platform: Platform, custom: CustomAPI) -> None:
    """Without a connection the platform cannot have acted, so the send is tried again."""
    route = platform.answer("POST", SEND, httpx.ConnectError("refused"), OK)
    await custom.send("oA", "hi")
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (45015, RecipientError),
        (45047, RecipientError),
        (43004, RecipientError),
        (40003, ArgumentError),
        (40007, NotFoundError),
        (45002, ArgumentError),
        (61452, NotFoundError),
        (48002, RecipientError),
    ],
)
async def test_send_refused(platform: Platform, custom: CustomAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal is an error of its own class, and is not repeated."""
    route = platform.answer("POST", SEND, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await custom.send("oA", "hi")
    assert caught.value.errcode == errcode
    assert route.call_count == 1


async def test_set_typing_shows_the_hint(platform: Platform, custom: CustomAPI) -> None:
    """Without a command the hint is shown."""
    route = platform.answer("POST", TYPING, OK)
    await custom.set_typing("oA")
    assert platform.body(route) == {"touser": "oA", "command": "Typing"}
    assert platform.params(route) == {}


async def test_set_typing_hides_the_hint(platform: Platform, custom: CustomAPI) -> None:
    """The other command goes out as it is, the sub-merchant beside it."""
    route = platform.answer("POST", TYPING, OK)
    await custom.set_typing("oA", command="CancelTyping", business_id="7")
    assert platform.body(route) == {"touser": "oA", "command": "CancelTyping", "businessid": "7"}


async def test_set_typing_checks(custom: CustomAPI) -> None:
    """Another command (45072) and an empty openid (40003) are refused before sending."""
    other: Any = "typing"
    with pytest.raises(ArgumentError) as command:
        await custom.set_typing("oA", command=other)
    with pytest.raises(ArgumentError) as openid:
        await custom.set_typing("")
    assert (command.value.errcode, command.value.field) == (45072, "command")
    assert (openid.value.errcode, openid.value.field) == (40003, "openid")


async def test_set_typing_after_a_broken_attempt(platform: Platform, custom: CustomAPI) -> None:
    """45081 on a repeat means that the first attempt showed the hint."""
    route = platform.answer("POST", TYPING, httpx.Response(502), {"errcode": 45081, "errmsg": "already typing"})
    await custom.set_typing("oA")
    assert route.call_count == 2


@pytest.mark.parametrize(("errcode", "error"), [(45080, RecipientError), (45081, APIError), (45072, ArgumentError)])
async def test_set_typing_refused(platform: Platform, custom: CustomAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal at the first attempt is an error."""
    platform.answer("POST", TYPING, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await custom.set_typing("oA")
    assert caught.value.errcode == errcode
