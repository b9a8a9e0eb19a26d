"""Subscription notices: sends that use up a consent, one-time messages, the library and the account's templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.api.conftest import APPID
from wxmp._caller import Endpoint
from wxmp.api import subscribe as module
from wxmp.api.subscribe import (
    SubscribeAPI,
    SubscribeCategory,
    SubscribeKeyword,
    SubscribeKeywordPage,
    SubscribeKeywordValues,
    SubscribeTemplate,
    SubscribeTitle,
    SubscribeTitlePage,
    SubscribeType,
    TemplateMiniProgram,
    TemplateValue,
)
from wxmp.errors import (
    AccountError,
    APIError,
    ArgumentError,
    BadStatusError,
    BusyError,
    NotFoundError,
    RateLimitError,
    RecipientError,
    ReplyError,
)

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

SEND = "/cgi-bin/message/subscribe/bizsend"
ONE_TIME = "/cgi-bin/message/template/subscribe"
ADD = "/wxaapi/newtmpl/addtemplate"
DELETE = "/wxaapi/newtmpl/deltemplate"
CATEGORIES = "/wxaapi/newtmpl/getcategory"
TITLES = "/wxaapi/newtmpl/getpubtemplatetitles"
KEYWORDS = "/wxaapi/newtmpl/getpubtemplatekeywords"
TEMPLATES = "/wxaapi/newtmpl/gettemplate"
OK = {"errcode": 0, "errmsg": "ok"}


@pytest.fixture
def subscribe(caller: Caller) -> SubscribeAPI:
    """The family under test."""
    return SubscribeAPI(caller)


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {
        ("POST", SEND, False),
        ("POST", ONE_TIME, False),
        ("GET", "/mp/subscribemsg", True),
        ("POST", ADD, False),
        ("POST", DELETE, True),
        ("GET", CATEGORIES, True),
        ("GET", TITLES, True),
        ("GET", KEYWORDS, True),
        ("GET", TEMPLATES, True),
    }


# --- notices ----------------------------------------------------------------------------------------------------------


async def test_send_with_everything(platform: Platform, subscribe: SubscribeAPI) -> None:
    """Every documented field goes out under its own name."""
    route = platform.answer("POST", SEND, OK)
    await subscribe.send(
        "oA",
        template_id="TPL",
        data={"thing1": "恭喜你", "amount2": TemplateValue("39.8元", extra={"more": 1})},
        page="https://example.com/order?id=1",
        miniprogram=TemplateMiniProgram("wxmini", "index?foo=bar", extra={"env": "trial"}),
        miniprogram_state="trial",
        lang="en_US",
        client_msg_id="order-1",
    )
    assert platform.params(route) == {}
    assert platform.body(route) == {
        "touser": "oA",
        "template_id": "TPL",
        "page": "https://example.com/order?id=1",
        "miniprogram": {"appid": "wxmini", "pagepath": "index?foo=bar", "env": "trial"},
        "miniprogram_state": "trial",
        "lang": "en_US",
        "client_msg_id": "order-1",
        "data": {"thing1": {"value": "恭喜你"}, "amount2": {"value": "39.8元", "more": 1}},
    }


async def test_send_with_the_least(platform: Platform, subscribe: SubscribeAPI) -> None:
    """What is not given is not sent, no key either; Chinese is not escaped."""
    route = platform.answer("POST", SEND, OK)
    await subscribe.send("oA", template_id="TPL", data={"thing1": "你好"})
    assert platform.body(route) == {"touser": "oA", "template_id": "TPL", "data": {"thing1": {"value": "你好"}}}
    assert "你好".encode() in platform.raw(route)


@pytest.mark.parametrize("key", [None, "order-1"])
@pytest.mark.parametrize("answer", [broken(), {"errcode": -1, "errmsg": "busy"}], ids=["502", "busy"])
async def test_send_is_not_repeated(platform: Platform, subscribe: SubscribeAPI, key: str | None, answer: Any) -> None:
    """A repeat could use up a second consent, and nothing says that a key would prevent it."""
    route = platform.answer("POST", SEND, answer)
    with pytest.raises((BadStatusError, BusyError)):
        await subscribe.send("oA", template_id="TPL", data={"thing1": "x"}, client_msg_id=key)
    assert route.call_count == 1


async def test_send_waits_for_the_one_before(platform: Platform, subscribe: SubscribeAPI) -> None:
    """43108 says that nothing was sent, for another message to the user was on its way: that is repeated."""
    route = platform.answer("POST", SEND, {"errcode": 43108, "errmsg": "x"}, OK)
    await subscribe.send("oA", template_id="TPL", data={"thing1": "x"})
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        pytest.param({"openid": ""}, 40003, "openid", id="no receiver"),
        pytest.param({"template_id": ""}, 40037, "template_id", id="no template"),
        pytest.param({"data": {}}, 47003, "data", id="no data"),
        pytest.param({"data": {"amount1": 39.8}}, 47003, "data['amount1']", id="a number"),
        pytest.param({"data": {"thing1": None}}, 47003, "data['thing1']", id="a None"),
        pytest.param({"data": {"thing1": ""}}, 47003, "data['thing1']", id="an empty value"),
        pytest.param({"data": {"thing1": TemplateValue("")}}, 47003, "data['thing1']", id="an empty record"),
        pytest.param({"page": ""}, 41030, "page", id="an empty page"),
        pytest.param({"miniprogram": TemplateMiniProgram("")}, 40166, "miniprogram.appid", id="no appid"),
        pytest.param({"miniprogram_state": "beta"}, 40035, "miniprogram_state", id="another build"),
        pytest.param({"lang": "fr_FR"}, 40035, "lang", id="another language"),
        pytest.param({"client_msg_id": ""}, 40035, "client_msg_id", id="an empty key"),
    ],
)
async def test_send_checks(subscribe: SubscribeAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """What the platform would certainly refuse is refused before sending."""
    arguments: dict[str, Any] = {"openid": "oA", "template_id": "TPL", "data": {"thing1": "x"}, **change}
    with pytest.raises(ArgumentError) as caught:
        await subscribe.send(**arguments)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (errcode, field, f"POST {SEND}")


#: The longest value of each kind, and one that is too long.
LENGTHS = [
    ("thing1", "字" * 20, "字" * 21),
    ("number2", "-" + "1" * 30 + ".11", "1" * 33),
    ("letter3", "a" * 32, "a" * 33),
    ("symbol4", "!" * 5, "!" * 6),
    ("character_string5", "a" * 32, "a" * 33),
    ("phone_number6", "1" * 17, "1" * 18),
    ("car_number7", "粤A8Z888挂", "粤A8Z8888挂1"),
    ("name8", "a" * 20, "a" * 21),
    ("phrase9", "即" * 5, "即" * 6),
]


@pytest.mark.parametrize(("keyword", "fits", "too_long"), LENGTHS)
async def test_lengths_of_values(
    platform: Platform, subscribe: SubscribeAPI, keyword: str, fits: str, too_long: str
) -> None:
    """The first letters of a keyword say how long its value may be; longer ones are refused before sending."""
    route = platform.answer("POST", SEND, OK)
    await subscribe.send("oA", template_id="TPL", data={keyword: fits})
    assert platform.body(route)["data"] == {keyword: {"value": fits}}
    with pytest.raises(ArgumentError, match="shorten") as caught:
        await subscribe.send("oA", template_id="TPL", data={keyword: too_long})
    assert (caught.value.errcode, caught.value.field) == (47003, f"data[{keyword!r}]")


@pytest.mark.parametrize("keyword", ["time1", "date2", "amount3", "thing", "first", "enum_string6", "nothing1"])
async def test_values_of_other_keywords(platform: Platform, subscribe: SubscribeAPI, keyword: str) -> None:
    """Where the length is not certain, the platform decides."""
    platform.answer("POST", SEND, OK)
    await subscribe.send("oA", template_id="TPL", data={keyword: "x" * 100})


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (43101, RecipientError),
        (40037, NotFoundError),
        (47003, ArgumentError),
        (45168, ArgumentError),
        (41030, ArgumentError),
        (43116, AccountError),
    ],
)
async def test_send_refused(platform: Platform, subscribe: SubscribeAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal is an error of its own class and is not repeated."""
    route = platform.answer("POST", SEND, {"errcode": errcode, "errmsg": "x"})
    with pytest.raises(error) as caught:
        await subscribe.send("oA", template_id="TPL", data={"thing1": "x"})
    assert (caught.value.errcode, route.call_count) == (errcode, 1)


async def test_send_at_one_time(platform: Platform, subscribe: SubscribeAPI) -> None:
    """Messages to one user that keep meeting are a RateLimitError in the end (43108)."""
    platform.answer("POST", SEND, {"errcode": 43108, "errmsg": "x"})
    with pytest.raises(RateLimitError):
        await subscribe.send("oA", template_id="TPL", data={"thing1": "x"})


# --- one-time messages ------------------------------------------------------------------------------------------------


def test_consent_url(subscribe: SubscribeAPI) -> None:
    """The address of the platform's page, each parameter encoded once, with the fragment that WeChat wants."""
    url = subscribe.consent_url("https://example.com/back?a=1&b=2", template_id="T+P", scene=7, reserved="s&1")
    assert url == (
        f"https://mp.weixin.qq.com/mp/subscribemsg?action=get_confirm&appid={APPID}&scene=7&template_id=T%2BP"
        "&redirect_url=https%3A%2F%2Fexample.com%2Fback%3Fa%3D1%26b%3D2&reserved=s%261#wechat_redirect"
    )


@pytest.mark.parametrize("reserved", [None, ""])
def test_consent_url_without_reserved(subscribe: SubscribeAPI, reserved: str | None) -> None:
    """What is not given is not in the address."""
    url = subscribe.consent_url("https://example.com", template_id="T", scene=0, reserved=reserved)
    assert [name for name, _ in parse_qsl(urlsplit(url).query)] == [
        "action",
        "appid",
        "scene",
        "template_id",
        "redirect_url",
    ]


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        ({"redirect_uri": ""}, 40035, "redirect_uri"),
        ({"redirect_uri": "example.com/back"}, 40035, "redirect_uri"),
        ({"redirect_uri": "https%3A%2F%2Fexample.com"}, 40035, "redirect_uri"),
        ({"redirect_uri": "https://[bad"}, 40035, "redirect_uri"),
        ({"redirect_uri": "https://example.com/a b"}, 40035, "redirect_uri"),
        ({"template_id": ""}, 40037, "template_id"),
        ({"scene": -1}, 40035, "scene"),
        ({"scene": 10_001}, 40035, "scene"),
        ({"scene": True}, 40035, "scene"),
        ({"reserved": "键" * 43}, 40035, "reserved"),
    ],
)
def test_consent_url_checks(subscribe: SubscribeAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """An address that shows the user an error page is not made."""
    arguments: dict[str, Any] = {"redirect_uri": "https://example.com", "template_id": "T", "scene": 1, **change}
    with pytest.raises(ArgumentError) as caught:
        subscribe.consent_url(**arguments)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_send_one_time_with_everything(platform: Platform, subscribe: SubscribeAPI) -> None:
    """Every documented field goes out under its own name, the scene as text."""
    route = platform.answer("POST", ONE_TIME, OK)
    await subscribe.send_one_time(
        "oA",
        template_id="TPL",
        scene=10_000,
        title="标" * 15,
        content=TemplateValue("字" * 200, color="#173177"),
        url="https://example.com",
        miniprogram=TemplateMiniProgram("wxmini", "index"),
    )
    assert platform.body(route) == {
        "touser": "oA",
        "template_id": "TPL",
        "scene": "10000",
        "title": "标" * 15,
        "data": {"content": {"value": "字" * 200, "color": "#173177"}},
        "url": "https://example.com",
        "miniprogram": {"appid": "wxmini", "pagepath": "index"},
    }


async def test_send_one_time_with_the_least(platform: Platform, subscribe: SubscribeAPI) -> None:
    """A plain text is the content."""
    route = platform.answer("POST", ONE_TIME, OK)
    await subscribe.send_one_time("oA", template_id="TPL", scene=0, title="t", content="c")
    body = platform.body(route)
    assert body.keys() == {"touser", "template_id", "scene", "title", "data"}
    assert (body["scene"], body["data"]) == ("0", {"content": {"value": "c"}})


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        ({"openid": ""}, 40003, "openid"),
        ({"template_id": ""}, 40037, "template_id"),
        ({"scene": 10_001}, 40035, "scene"),
        ({"scene": "1"}, 40035, "scene"),
        ({"title": ""}, 40062, "title"),
        ({"title": "标" * 16}, 40062, "title"),
        ({"title": "x" * 31}, 40062, "title"),
        ({"content": ""}, 47003, "content"),
        ({"content": "字" * 201}, 47003, "content"),
        ({"content": 7}, 47003, "content"),
        ({"miniprogram": TemplateMiniProgram("", "index")}, 40166, "miniprogram.appid"),
        ({"miniprogram": TemplateMiniProgram("wxmini")}, 40166, "miniprogram.pagepath"),
    ],
)
async def test_send_one_time_checks(subscribe: SubscribeAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """What the platform would certainly refuse is refused before sending."""
    arguments: dict[str, Any] = {"openid": "oA", "template_id": "T", "scene": 1, "title": "t", "content": "c", **change}
    with pytest.raises(ArgumentError) as caught:
        await subscribe.send_one_time(**arguments)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (errcode, field, f"POST {ONE_TIME}")


async def test_send_one_time_is_not_repeated(platform: Platform, subscribe: SubscribeAPI) -> None:
    """The one consent may be used up."""
    route = platform.answer("POST", ONE_TIME, broken())
    with pytest.raises(BadStatusError):
        await subscribe.send_one_time("oA", template_id="T", scene=1, title="t", content="c")
    assert route.call_count == 1


async def test_send_one_time_without_consent(platform: Platform, subscribe: SubscribeAPI) -> None:
    """43101 is about the receiver."""
    platform.answer("POST", ONE_TIME, {"errcode": 43101, "errmsg": "x"})
    with pytest.raises(RecipientError):
        await subscribe.send_one_time("oA", template_id="T", scene=1, title="t", content="c")


# --- the account's templates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tid", [1221, "1221"])
async def test_add_template(platform: Platform, subscribe: SubscribeAPI, tid: Any) -> None:
    """The number goes out as text, the keywords in their order, under the platform's own capitals."""
    route = platform.answer("POST", ADD, {**OK, "priTmplId": "PRI"})
    assert await subscribe.add_template(tid, kid_list=iter([3, 1]), scene_desc="付款之后") == "PRI"
    assert platform.body(route) == {"tid": "1221", "kidList": [3, 1], "sceneDesc": "付款之后"}


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        ({"tid": ""}, 200014, "tid"),
        ({"tid": "TM1"}, 200014, "tid"),
        ({"tid": True}, 200014, "tid"),
        ({"kid_list": [1]}, 200020, "kid_list"),
        ({"kid_list": [1, 2, 3, 4, 5, 6]}, 200020, "kid_list"),
        ({"kid_list": [1, 1]}, 200020, "kid_list"),
        ({"kid_list": "12"}, 200020, "kid_list"),
        ({"kid_list": [1, "2"]}, 200020, "kid_list[1]"),
        ({"scene_desc": ""}, 200021, "scene_desc"),
        ({"scene_desc": "字" * 16}, 200021, "scene_desc"),
    ],
)
async def test_add_template_checks(subscribe: SubscribeAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """What the library would certainly refuse is refused before sending."""
    arguments: dict[str, Any] = {"tid": 1221, "kid_list": [1, 2], "scene_desc": "x", **change}
    with pytest.raises(ArgumentError) as caught:
        await subscribe.add_template(**arguments)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


@pytest.mark.parametrize("answer", [broken(), {"errcode": 200001, "errmsg": "x"}], ids=["502", "busy"])
async def test_add_template_is_not_repeated(platform: Platform, subscribe: SubscribeAPI, answer: Any) -> None:
    """After an unknown outcome a person looks first."""
    route = platform.answer("POST", ADD, answer)
    with pytest.raises((BadStatusError, BusyError)):
        await subscribe.add_template(1, kid_list=[1, 2], scene_desc="x")
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("errcode", "error"), [(200022, ArgumentError), (200012, ArgumentError), (200011, AccountError)]
)
async def test_add_template_refused(
    platform: Platform, subscribe: SubscribeAPI, errcode: int, error: type[APIError]
) -> None:
    """A refusal is an error of its own class."""
    platform.answer("POST", ADD, {"errcode": errcode, "errmsg": "x"})
    with pytest.raises(error):
        await subscribe.add_template(1, kid_list=[1, 2], scene_desc="x")


async def test_add_template_without_id(platform: Platform, subscribe: SubscribeAPI) -> None:
    """A success without an id is a ReplyError."""
    platform.answer("POST", ADD, OK)
    with pytest.raises(ReplyError, match="priTmplId"):
        await subscribe.add_template(1, kid_list=[1, 2], scene_desc="x")


async def test_delete_template(platform: Platform, subscribe: SubscribeAPI) -> None:
    """The id goes out under the platform's own name."""
    route = platform.answer("POST", DELETE, OK)
    await subscribe.delete_template("PRI")
    assert platform.body(route) == {"priTmplId": "PRI"}


async def test_delete_template_after_a_broken_attempt(platform: Platform, subscribe: SubscribeAPI) -> None:
    """200014 on a repeat means that the first attempt deleted it."""
    route = platform.answer("POST", DELETE, broken(), {"errcode": 200014, "errmsg": "x"})
    await subscribe.delete_template("PRI")
    assert route.call_count == 2


async def test_delete_template_that_is_unknown(platform: Platform, subscribe: SubscribeAPI) -> None:
    """200014 at the first attempt is an error; an empty id is refused before sending."""
    platform.answer("POST", DELETE, {"errcode": 200014, "errmsg": "x"})
    with pytest.raises(ArgumentError) as unknown:
        await subscribe.delete_template("PRI")
    with pytest.raises(ArgumentError) as empty:
        await subscribe.delete_template("")
    assert (unknown.value.errcode, unknown.value.field) == (200014, "")
    assert (empty.value.errcode, empty.value.field) == (40037, "template_id")


async def test_list_templates(platform: Platform, subscribe: SubscribeAPI) -> None:
    """All fields are read, and the keywords are found in the text."""
    content = "课程:{{thing1.DATA}}\n方式:{{enum_string6.DATA}}\n{{ thing1.DATA }}"
    platform.answer(
        "GET",
        TEMPLATES,
        {
            **OK,
            "data": [
                {
                    "priTmplId": "PRI",
                    "title": "课程开始提醒",
                    "content": content,
                    "example": "课程:高等数学",
                    "type": "2",
                    "keywordEnumValueList": [
                        {"keywordCode": "enum_string6.DATA", "enumValueList": ["线上", "线下"], "new": 1}
                    ],
                    "new": 2,
                },
                {"priTmplId": "PRI-2", "type": 4, "keywordEnumValueList": None},
            ],
        },
    )
    first, second = await subscribe.list_templates()
    assert first == SubscribeTemplate(
        "PRI",
        "课程开始提醒",
        content,
        "课程:高等数学",
        SubscribeType.ONE_TIME,
        (SubscribeKeywordValues("enum_string6.DATA", ("线上", "线下"), extra={"new": 1}),),
        extra={"new": 2},
    )
    assert first.keywords == ("thing1", "enum_string6")
    assert second == SubscribeTemplate("PRI-2", type=4)
    assert type(second.type) is int


# --- the library ------------------------------------------------------------------------------------------------------


async def test_list_categories(platform: Platform, subscribe: SubscribeAPI) -> None:
    """Numbers come as text at times."""
    route = platform.answer("GET", CATEGORIES, {**OK, "data": [{"id": 307, "name": "线下超市"}, {"id": "402", "n": 1}]})
    assert await subscribe.list_categories() == (
        SubscribeCategory(307, "线下超市"),
        SubscribeCategory(402, extra={"n": 1}),
    )
    assert platform.params(route) == {}


def title(tid: int) -> dict[str, Any]:
    """A template of the library, as the platform sends it."""
    return {"tid": tid, "title": "t", "type": 3, "categoryId": "307"}


async def test_list_public_titles(platform: Platform, subscribe: SubscribeAPI) -> None:
    """Categories go out once each, joined by commas; the page knows how many there are in all."""
    route = platform.answer("GET", TITLES, {**OK, "count": 55, "data": [title(99)], "new": 1})
    page = await subscribe.list_public_titles([2, 616, 2], offset=30, count=5)
    assert page == SubscribeTitlePage(55, (SubscribeTitle(99, "t", SubscribeType.LONG_TERM, 307),), extra={"new": 1})
    assert platform.params(route) == {"ids": "2,616", "start": "30", "limit": "5"}


async def test_list_public_titles_from_the_top(platform: Platform, subscribe: SubscribeAPI) -> None:
    """The page is the largest one if nothing is said."""
    route = platform.answer("GET", TITLES, {**OK, "count": 0, "data": []})
    assert await subscribe.list_public_titles(iter([2])) == SubscribeTitlePage(0)
    assert platform.params(route) == {"ids": "2", "start": "0", "limit": "30"}


@pytest.mark.parametrize(
    ("arguments", "errcode", "field"),
    [
        ({"category_ids": []}, 200018, "category_ids"),
        ({"category_ids": "2,616"}, 200019, "category_ids"),
        ({"category_ids": [2, "616"]}, 200019, "category_ids[1]"),
        ({"category_ids": [2], "offset": -1}, 200016, "offset"),
        ({"category_ids": [2], "count": 0}, 200017, "count"),
        ({"category_ids": [2], "count": 31}, 200017, "count"),
    ],
)
async def test_list_public_titles_checks(
    subscribe: SubscribeAPI, arguments: dict[str, Any], errcode: int, field: str
) -> None:
    """Pages of 1 to 30, and a category to look in."""
    with pytest.raises(ArgumentError) as caught:
        await subscribe.list_public_titles(**arguments)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_iter_public_titles_walks_all_pages(platform: Platform, subscribe: SubscribeAPI) -> None:
    """Each page begins behind the one before, until all are there."""
    pages = [[title(1), title(2)], [title(3), title(4)], [title(5)]]
    route = platform.answer("GET", TITLES, *[{"count": 5, "data": page} for page in pages])
    assert [found.tid async for found in subscribe.iter_public_titles([2, 616])] == [1, 2, 3, 4, 5]
    assert [platform.params(route, n) for n in range(3)] == [
        {"ids": "2,616", "start": start, "limit": "30"} for start in ("0", "2", "4")
    ]


async def test_iter_public_titles_from_the_middle(platform: Platform, subscribe: SubscribeAPI) -> None:
    """The walk may begin later, and ends with an empty page though more were promised."""
    route = platform.answer("GET", TITLES, {"count": 9, "data": [title(4)]}, {"count": 9, "data": []})
    assert [found.tid async for found in subscribe.iter_public_titles([2], offset=3)] == [4]
    assert [platform.params(route, n)["start"] for n in range(2)] == ["3", "4"]


async def test_iter_public_titles_of_nothing(platform: Platform, subscribe: SubscribeAPI) -> None:
    """No templates: one request, nothing yielded."""
    route = platform.answer("GET", TITLES, {"count": 0, "data": []})
    assert [found async for found in subscribe.iter_public_titles([2])] == []
    assert route.call_count == 1


def test_iter_public_titles_checks_at_once(subscribe: SubscribeAPI) -> None:
    """Wrong arguments are refused where the walk is made, not where it begins."""
    with pytest.raises(ArgumentError):
        subscribe.iter_public_titles([])
    with pytest.raises(ArgumentError):
        subscribe.iter_public_titles([2], offset=-1)


@pytest.mark.parametrize("tid", [99, "99"])
async def test_list_public_keywords(platform: Platform, subscribe: SubscribeAPI, tid: Any) -> None:
    """All fields are read."""
    keyword = {"kid": "1", "name": "物品名称", "example": "名称", "rule": "thing", "new": 1}
    route = platform.answer("GET", KEYWORDS, {**OK, "count": 1, "data": [keyword]})
    expected = SubscribeKeyword(1, "物品名称", "名称", "thing", extra={"new": 1})
    assert await subscribe.list_public_keywords(tid) == SubscribeKeywordPage(1, (expected,))
    assert platform.params(route) == {"tid": "99"}


async def test_list_public_keywords_of_nothing(platform: Platform, subscribe: SubscribeAPI) -> None:
    """A number that cannot be one is refused before sending, an unknown one by the platform (200014)."""
    platform.answer("GET", KEYWORDS, {"errcode": 200014, "errmsg": "x"})
    with pytest.raises(ArgumentError) as unknown:
        await subscribe.list_public_keywords(1)
    with pytest.raises(ArgumentError) as empty:
        await subscribe.list_public_keywords("")
    assert (unknown.value.field, empty.value.field, empty.value.errcode) == ("", "tid", 200014)


@pytest.mark.parametrize("path", [CATEGORIES, KEYWORDS, TEMPLATES])
async def test_an_answer_of_another_shape_is_no_empty_list(
    platform: Platform, subscribe: SubscribeAPI, path: str
) -> None:
    """Neither a list nor an "ok" is a ReplyError; a read is repeated after a broken connection."""
    calls: dict[str, Any] = {
        CATEGORIES: subscribe.list_categories,
        KEYWORDS: lambda: subscribe.list_public_keywords(1),
        TEMPLATES: subscribe.list_templates,
    }
    route = platform.answer("GET", path, broken(), {"count": 0})
    with pytest.raises(ReplyError, match="data"):
        await calls[path]()
    assert route.call_count == 2


@pytest.mark.parametrize("nothing", [OK, {**OK, "data": None}, {**OK, "data": []}])
async def test_ok_without_a_list_is_an_empty_one(
    platform: Platform, subscribe: SubscribeAPI, nothing: dict[str, Any]
) -> None:
    """An account with nothing to list may leave the list out."""
    for path in (CATEGORIES, KEYWORDS, TEMPLATES):
        platform.answer("GET", path, nothing)
    platform.answer("GET", TITLES, {**nothing, "count": 3})
    assert await subscribe.list_categories() == ()
    assert await subscribe.list_templates() == ()
    assert await subscribe.list_public_keywords(1) == SubscribeKeywordPage(0)
    assert await subscribe.list_public_titles([2], offset=3) == SubscribeTitlePage(3)


async def test_titles_that_are_missing_before_the_end(platform: Platform, subscribe: SubscribeAPI) -> None:
    """Three entries and no list of them is a ReplyError: the iterator would take it for the end."""
    platform.answer("GET", TITLES, {**OK, "count": 3})
    with pytest.raises(ReplyError, match="data"):
        await subscribe.list_public_titles([2], offset=2)


async def test_keywords_without_their_number(platform: Platform, subscribe: SubscribeAPI) -> None:
    """The number of keywords is counted where the answer leaves it out."""
    platform.answer("GET", KEYWORDS, {**OK, "data": [{"kid": 1, "name": "物品名称", "rule": "thing"}]})
    page = await subscribe.list_public_keywords("99")
    assert page == SubscribeKeywordPage(1, (SubscribeKeyword(1, "物品名称", rule="thing"),))


async def test_account_without_the_interface(platform: Platform, subscribe: SubscribeAPI) -> None:
    """An account of another kind is told so (200100)."""
    platform.answer("GET", CATEGORIES, {"errcode": 200100, "errmsg": "x"})
    with pytest.raises(AccountError):
        await subscribe.list_categories()
