"""Template messages: a send that can be repeated, the account's templates, industries, what was blocked."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import template as module
from wxmp.api.template import (
    BlockedMessage,
    Industries,
    Industry,
    Template,
    TemplateAPI,
    TemplateMiniProgram,
    TemplateReceipt,
    TemplateValue,
)
from wxmp.errors import (
    APIError,
    ArgumentError,
    BadStatusError,
    NotFoundError,
    RateLimitError,
    RecipientError,
    ReplyError,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.api.conftest import Platform
    from wxmp._caller import Caller

SEND = "/cgi-bin/message/template/send"
SET_INDUSTRY = "/cgi-bin/template/api_set_industry"
GET_INDUSTRY = "/cgi-bin/template/get_industry"
ADD = "/cgi-bin/template/api_add_template"
LIST = "/cgi-bin/template/get_all_private_template"
DELETE = "/cgi-bin/template/del_private_template"
BLOCKED = "/wxa/sec/queryblocktmplmsg"
OK = {"errcode": 0, "errmsg": "ok"}
SENT = {**OK, "msgid": 200228332}


@pytest.fixture
def template(caller: Caller) -> TemplateAPI:
    """The family under test."""
    return TemplateAPI(caller)


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


def blocked(number: int | str) -> dict[str, Any]:
    """One record of a blocked message, as the platform sends it."""
    return {
        "id": number,
        "tmpl_msg_id": "2045001",
        "title": "t",
        "content": "c",
        "send_timestamp": 1620000000,
        "openid": "oA",
    }


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {
        ("POST", SEND, False),
        ("POST", SET_INDUSTRY, False),
        ("GET", GET_INDUSTRY, True),
        ("POST", ADD, False),
        ("GET", LIST, True),
        ("POST", DELETE, True),
        ("POST", BLOCKED, True),
    }


async def test_send_with_everything(platform: Platform, template: TemplateAPI) -> None:
    """Every documented field goes out under its own name, and the receipt holds number and key."""
    route = platform.answer("POST", SEND, {**SENT, "new": 1})
    receipt = await template.send(
        "oA",
        template_id="TPL",
        data={"thing1": "恭喜你", "amount2": TemplateValue("39.8元", color="#173177", extra={"more": 1})},
        url="https://example.com/order?id=1",
        miniprogram=TemplateMiniProgram("wxmini", "index?foo=bar", extra={"env": "trial"}),
        client_msg_id="order-1",
    )
    assert receipt == TemplateReceipt(200228332, "order-1", extra={"new": 1})
    assert platform.params(route) == {}
    assert platform.body(route) == {
        "touser": "oA",
        "template_id": "TPL",
        "url": "https://example.com/order?id=1",
        "miniprogram": {"appid": "wxmini", "pagepath": "index?foo=bar", "env": "trial"},
        "client_msg_id": "order-1",
        "data": {"thing1": {"value": "恭喜你"}, "amount2": {"value": "39.8元", "color": "#173177", "more": 1}},
    }


async def test_send_is_raw_utf8(platform: Platform, template: TemplateAPI) -> None:
    """Chinese is not escaped: the platform would show the escapes to the user."""
    route = platform.answer("POST", SEND, SENT)
    await template.send("oA", template_id="TPL", data={"thing1": "你好"})
    assert "你好".encode() in platform.raw(route)


async def test_send_with_the_least(platform: Platform, template: TemplateAPI) -> None:
    """What is not given is not sent, but for a fresh key of 32 hexadecimal digits."""
    route = platform.answer("POST", SEND, SENT)
    first = await template.send("oA", template_id="TPL", data={"thing1": "x"})
    second = await template.send("oA", template_id="TPL", data={"thing1": "x"})
    body = platform.body(route)
    assert body.keys() == {"touser", "template_id", "client_msg_id", "data"}
    assert body["client_msg_id"] == second.client_msg_id
    assert re.fullmatch(r"[0-9a-f]{32}", first.client_msg_id)
    assert first.client_msg_id != second.client_msg_id


@pytest.mark.parametrize("key", [None, "order-1"])
async def test_send_is_repeated_with_the_same_key(platform: Platform, template: TemplateAPI, key: str | None) -> None:
    """After a broken connection the send is repeated; one key for all attempts keeps it at one message."""
    route = platform.answer("POST", SEND, httpx.ReadError("cut"), broken(), {"errcode": -1, "errmsg": "busy"}, SENT)
    receipt = await template.send("oA", template_id="TPL", data={"thing1": "x"}, client_msg_id=key)
    keys = {body["client_msg_id"] for body in platform.bodies(route)}
    assert route.call_count == 4
    assert keys == {receipt.client_msg_id}
    assert key is None or keys == {key}


async def test_send_with_a_missing_number(platform: Platform, template: TemplateAPI) -> None:
    """An acceptance without a message number is a ReplyError that names it."""
    platform.answer("POST", SEND, OK)
    with pytest.raises(ReplyError, match=r"msgid|msg_id"):
        await template.send("oA", template_id="TPL", data={"thing1": "x"})


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        pytest.param({"openid": ""}, 40003, "openid", id="no receiver"),
        pytest.param({"template_id": ""}, 40037, "template_id", id="no template"),
        pytest.param({"template_id": None}, 40037, "template_id", id="template None"),
        pytest.param({"client_msg_id": ""}, 40035, "client_msg_id", id="empty key"),
        pytest.param({"client_msg_id": "k" * 33}, 40035, "client_msg_id", id="33 bytes"),
        pytest.param({"client_msg_id": "键" * 11}, 40035, "client_msg_id", id="33 bytes of Chinese"),
        pytest.param({"miniprogram": TemplateMiniProgram("")}, 40166, "miniprogram.appid", id="no appid"),
        pytest.param({"data": {"amount1": 39.8}}, 47003, "data['amount1']", id="a number"),
        pytest.param({"data": {"thing1": None}}, 47003, "data['thing1']", id="a None"),
    ],
)
async def test_send_checks(template: TemplateAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """What the platform would certainly refuse is refused before sending."""
    arguments: dict[str, Any] = {"openid": "oA", "template_id": "TPL", "data": {"thing1": "x"}, **change}
    with pytest.raises(ArgumentError) as caught:
        await template.send(**arguments)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (errcode, field, f"POST {SEND}")


async def test_send_takes_a_key_of_32_bytes(platform: Platform, template: TemplateAPI) -> None:
    """The longest key passes."""
    route = platform.answer("POST", SEND, SENT)
    await template.send("oA", template_id="TPL", data={}, client_msg_id="k" * 32)
    assert platform.body(route)["client_msg_id"] == "k" * 32


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (43004, RecipientError),
        (43101, RecipientError),
        (40037, NotFoundError),
        (47003, ArgumentError),
        (40003, ArgumentError),
        (45009, RateLimitError),
    ],
)
async def test_send_refused(platform: Platform, template: TemplateAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal is an error of its own class with the platform's text, and is not repeated."""
    route = platform.answer("POST", SEND, {"errcode": errcode, "errmsg": "data.thing1.value invalid rid: 1-2-3"})
    with pytest.raises(error) as caught:
        await template.send("oA", template_id="TPL", data={"thing1": "x"})
    assert (caught.value.errcode, caught.value.errmsg, caught.value.rid) == (
        errcode,
        "data.thing1.value invalid",
        "1-2-3",
    )
    assert route.call_count == 1


@pytest.mark.parametrize("codes", [(1, 4), ("1", "4")])
async def test_set_industry_sends_texts(platform: Platform, template: TemplateAPI, codes: tuple[Any, Any]) -> None:
    """Codes go out as text, whether they were given as numbers or as text."""
    route = platform.answer("POST", SET_INDUSTRY, OK)
    await template.set_industry(industry_id1=codes[0], industry_id2=codes[1])
    assert platform.body(route) == {"industry_id1": "1", "industry_id2": "4"}


@pytest.mark.parametrize("code", [0, 42, -1, "", "x", "²", None])
async def test_set_industry_checks_the_codes(template: TemplateAPI, code: Any) -> None:
    """Only 1 to 41 are industries (40102)."""
    for field in ("industry_id1", "industry_id2"):
        codes = {"industry_id1": 1, "industry_id2": 2, field: code}
        with pytest.raises(ArgumentError) as caught:
            await template.set_industry(**codes)
        assert (caught.value.errcode, caught.value.field) == (40102, field)


async def test_set_industry_is_not_repeated(platform: Platform, template: TemplateAPI) -> None:
    """One change a month: after an unknown outcome a person looks first."""
    route = platform.answer("POST", SET_INDUSTRY, broken())
    with pytest.raises(BadStatusError):
        await template.set_industry(industry_id1=1, industry_id2=2)
    assert route.call_count == 1


async def test_set_industry_too_early(platform: Platform, template: TemplateAPI) -> None:
    """A second change within the month is a limit of a month (43100)."""
    platform.answer("POST", SET_INDUSTRY, {"errcode": 43100, "errmsg": "too frequent"})
    with pytest.raises(RateLimitError) as caught:
        await template.set_industry(industry_id1=1, industry_id2=2)
    assert caught.value.scope == "month"


async def test_get_industry_reads_both(platform: Platform, template: TemplateAPI) -> None:
    """Each industry has a name on two levels."""
    platform.answer(
        "GET",
        GET_INDUSTRY,
        {
            "primary_industry": {"first_class": "运输与仓储", "second_class": "快递"},
            "secondary_industry": {"first_class": "IT科技", "second_class": "互联网|电子商务"},
        },
    )
    expected = Industries(Industry("运输与仓储", "快递"), Industry("IT科技", "互联网|电子商务"))
    assert await template.get_industry() == expected


async def test_get_industry_without_one(platform: Platform, template: TemplateAPI) -> None:
    """A missing industry is a ReplyError that names it."""
    platform.answer("GET", GET_INDUSTRY, {"primary_industry": {"first_class": "a", "second_class": "b"}})
    with pytest.raises(ReplyError, match="secondary_industry"):
        await template.get_industry()


async def test_add_returns_the_id(platform: Platform, template: TemplateAPI) -> None:
    """A classic template needs its number only."""
    route = platform.answer("POST", ADD, {**OK, "template_id": "Doclyl5uP7Aciu-qZ7mJNPtWkbkYnWBWVja26EGbNyk"})
    assert await template.add("TM00015") == "Doclyl5uP7Aciu-qZ7mJNPtWkbkYnWBWVja26EGbNyk"
    assert platform.body(route) == {"template_id_short": "TM00015"}


async def test_add_with_keywords(platform: Platform, template: TemplateAPI) -> None:
    """The keywords of a category template go out in their order."""
    route = platform.answer("POST", ADD, {**OK, "template_id": "T"})
    await template.add("43216", keyword_name_list=("订单编号", "商品名称"))
    assert platform.body(route) == {"template_id_short": "43216", "keyword_name_list": ["订单编号", "商品名称"]}


async def test_add_checks(template: TemplateAPI) -> None:
    """An empty number, and keywords that are one text, are refused before sending."""
    with pytest.raises(ArgumentError) as empty:
        await template.add("")
    with pytest.raises(ArgumentError) as text:
        await template.add("43216", keyword_name_list="订单编号")
    assert (empty.value.errcode, empty.value.field) == (40037, "template_id_short")
    assert (text.value.errcode, text.value.field) == (40097, "keyword_name_list")


async def test_add_is_not_repeated(platform: Platform, template: TemplateAPI) -> None:
    """A repeat could take a second of the 25 places."""
    route = platform.answer("POST", ADD, broken())
    with pytest.raises(BadStatusError):
        await template.add("TM00015")
    assert route.call_count == 1


async def test_add_without_id(platform: Platform, template: TemplateAPI) -> None:
    """A success without an id is a ReplyError."""
    platform.answer("POST", ADD, OK)
    with pytest.raises(ReplyError, match="template_id"):
        await template.add("TM00015")


async def test_list_reads_templates(platform: Platform, template: TemplateAPI) -> None:
    """All fields are read, and the keywords are found in the text, each once."""
    content = "{{first.DATA}}\n领奖金额:{{keyword1.DATA}}\n{{ keyword1.DATA }}{{remark.DATA}}"
    platform.answer(
        "GET",
        LIST,
        {
            "template_list": [
                {
                    "template_id": "iPk5sOIt5X_flOVKn5GrTFpncEYTojx6ddbt8WYoV5s",
                    "title": "领取奖金提醒",
                    "primary_industry": "IT科技",
                    "deputy_industry": "互联网|电子商务",
                    "content": content,
                    "example": "您已提交领奖申请",
                    "new": 1,
                }
            ]
        },
    )
    (found,) = await template.list()
    assert found == Template(
        "iPk5sOIt5X_flOVKn5GrTFpncEYTojx6ddbt8WYoV5s",
        "领取奖金提醒",
        "IT科技",
        "互联网|电子商务",
        content,
        "您已提交领奖申请",
        extra={"new": 1},
    )
    assert found.keywords == ("first", "keyword1", "remark")


async def test_list_without_list(platform: Platform, template: TemplateAPI) -> None:
    """A missing list is not an account without templates."""
    platform.answer("GET", LIST, {})
    with pytest.raises(ReplyError, match="template_list"):
        await template.list()


async def test_delete_names_the_template(platform: Platform, template: TemplateAPI) -> None:
    """The id goes out in the body."""
    route = platform.answer("POST", DELETE, OK)
    await template.delete("TPL")
    assert platform.body(route) == {"template_id": "TPL"}


async def test_delete_needs_an_id(template: TemplateAPI) -> None:
    """An empty id is refused before sending (40037)."""
    with pytest.raises(ArgumentError) as caught:
        await template.delete("")
    assert (caught.value.errcode, caught.value.field) == (40037, "template_id")


async def test_delete_after_a_broken_attempt(platform: Platform, template: TemplateAPI) -> None:
    """40037 on a repeat means that the first attempt deleted the template."""
    route = platform.answer("POST", DELETE, broken(), {"errcode": 40037, "errmsg": "invalid template_id"})
    await template.delete("TPL")
    assert route.call_count == 2


async def test_delete_of_an_unknown_template(platform: Platform, template: TemplateAPI) -> None:
    """40037 at the first attempt is a NotFoundError."""
    platform.answer("POST", DELETE, {"errcode": 40037, "errmsg": "invalid template_id"})
    with pytest.raises(NotFoundError):
        await template.delete("TPL")


@pytest.mark.parametrize("shape", [[blocked("17")], blocked(17)], ids=["list", "object"])
async def test_list_blocked_reads_both_shapes(platform: Platform, template: TemplateAPI, shape: Any) -> None:
    """The records come as a list or as one object, their number as text or not."""
    route = platform.answer("POST", BLOCKED, {**OK, "msginfo": shape})
    sent_at = datetime(2021, 5, 3, 0, 0, tzinfo=UTC)
    assert await template.list_blocked(2045001) == (BlockedMessage(17, "2045001", "t", "c", sent_at, "oA"),)
    assert platform.body(route) == {"tmpl_msg_id": "2045001", "largest_id": 0, "limit": 100}


async def test_list_blocked_with_another_kind_of_number(platform: Platform, template: TemplateAPI) -> None:
    """The documentation's own example of a message's number has letters."""
    name = "f9KbMio42Ks3kzLwPP1aDkl2k98avIFbPtdLJ_yY7QY"
    route = platform.answer("POST", BLOCKED, {**OK, "msginfo": {"id": 1, "tmpl_msg_id": name}})
    assert await template.list_blocked(name) == (BlockedMessage(1, name),)
    assert platform.body(route)["tmpl_msg_id"] == name


@pytest.mark.parametrize("shape", [[], {}, None], ids=["list", "object", "null"])
async def test_list_blocked_of_nothing(platform: Platform, template: TemplateAPI, shape: Any) -> None:
    """Nothing blocked is an empty tuple in every shape."""
    platform.answer("POST", BLOCKED, {**OK, "msginfo": shape})
    assert await template.list_blocked("2045001") == ()


async def test_list_blocked_without_records(platform: Platform, template: TemplateAPI) -> None:
    """An "ok" alone means that nothing was blocked; an answer with neither is a ReplyError."""
    platform.answer("POST", BLOCKED, OK, {"rows": []})
    assert await template.list_blocked(1) == ()
    with pytest.raises(ReplyError, match="msginfo"):
        await template.list_blocked(1)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 101}, "count"),
        ({"largest_id": -1}, "largest_id"),
        ({"msg_id": ""}, "msg_id"),
        ({"msg_id": -1}, "msg_id"),
        ({"msg_id": None}, "msg_id"),
    ],
)
async def test_list_blocked_checks(template: TemplateAPI, change: dict[str, Any], field: str) -> None:
    """Pages of 1 to 100, and a message to look for."""
    with pytest.raises(ArgumentError) as caught:
        await template.list_blocked(**{"msg_id": 1, **change})
    assert (caught.value.errcode, caught.value.field) == (40097, field)


async def test_iter_blocked_walks_all_pages(platform: Platform, template: TemplateAPI) -> None:
    """Each page begins behind the largest record of the one before, until an empty one."""
    route = platform.answer(
        "POST", BLOCKED, {"msginfo": [blocked(4), blocked(2)]}, {"msginfo": [blocked(9)]}, {"msginfo": []}
    )
    assert [message.record_id async for message in template.iter_blocked(2045001)] == [4, 2, 9]
    assert [body["largest_id"] for body in platform.bodies(route)] == [0, 4, 9]


async def test_iter_blocked_of_nothing(platform: Platform, template: TemplateAPI) -> None:
    """Nothing blocked: one request, nothing yielded."""
    route = platform.answer("POST", BLOCKED, {"msginfo": []})
    assert [message async for message in template.iter_blocked(1)] == []
    assert route.call_count == 1


async def test_iter_blocked_with_a_stuck_cursor(platform: Platform, template: TemplateAPI) -> None:
    """A platform that ignores the cursor ends the walk with an error instead of never."""
    route = platform.answer("POST", BLOCKED, *[{"msginfo": [blocked(4)]}] * 3)
    with pytest.raises(ReplyError, match="does not move"):
        _ = [message async for message in template.iter_blocked(1)]
    assert route.call_count == 2


@pytest.mark.parametrize("method", ["get_industry", "list"])
async def test_reads_have_no_parameters(platform: Platform, template: TemplateAPI, method: str) -> None:
    """A read carries the token and nothing else."""
    industry = {"first_class": "a", "second_class": "b"}
    route = platform.answer(
        "GET",
        LIST if method == "list" else GET_INDUSTRY,
        {"template_list": [], "primary_industry": industry, "secondary_industry": industry},
    )
    call: Coroutine[Any, Any, object] = getattr(template, method)()
    await call
    assert platform.params(route) == {}
