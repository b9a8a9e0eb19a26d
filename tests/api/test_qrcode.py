"""QR codes: scenes and lives within their limits, the picture and its address, rules for mini programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from wxmp._caller import Endpoint
from wxmp.api import qrcode as module
from wxmp.api.qrcode import QRCode, QRCodeAPI, QRCodeRule, QRCodeRulePage, QRCodeRuleState, QRCodeVersion
from wxmp.config import PRODUCTION
from wxmp.errors import APIError, ArgumentError, BadStatusError, RateLimitError, ReplyError

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

CREATE = "/cgi-bin/qrcode/create"
IMAGE = "/cgi-bin/showqrcode"
LIST_RULES = "/cgi-bin/wxopen/qrcodejumpget"
SAVE_RULE = "/cgi-bin/wxopen/qrcodejumpadd"
PUBLISH_RULE = "/cgi-bin/wxopen/qrcodejumppublish"
DELETE_RULE = "/cgi-bin/wxopen/qrcodejumpdelete"
OK = {"errcode": 0, "errmsg": "ok"}
TICKET = "gQH47joAAAAAAAAAASxodHRwOi8+/a=="
MADE: dict[str, Any] = {"ticket": TICKET, "expire_seconds": 60, "url": "http://weixin.qq.com/q/kZgfwMTm72WWPkovabbI"}
JPEG = b"\xff\xd8\xff\xe0 picture \xff\xd9"
PREFIX = "https://example.com/s/"


@pytest.fixture
def qrcode(caller: Caller) -> QRCodeAPI:
    """The family under test."""
    return QRCodeAPI(caller)


def broken() -> httpx.Response:
    """An answer that leaves open whether the platform acted."""
    return httpx.Response(502, html="<html>bad gateway</html>")


def rule(prefix: str = PREFIX, path: str = "pages/index") -> dict[str, Any]:
    """One rule, as the platform sends it."""
    return {"prefix": prefix, "path": path, "state": 1, "open_version": 2, "debug_url": [PREFIX + "1"]}


def rules(*found: dict[str, Any], total: int) -> dict[str, Any]:
    """One page of rules, as the platform sends it."""
    return {
        **OK,
        "rule_list": [*found],
        "qrcodejump_open": 1,
        "list_size": len(found),
        "qrcodejump_pub_quota": 98,
        "total_count": total,
    }


def test_endpoints() -> None:
    """Method, path and repeatability are those of the reference."""
    found = {(e.method, e.path, e.repeatable) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {
        ("POST", CREATE, True),
        ("GET", IMAGE, True),
        ("POST", LIST_RULES, True),
        ("POST", SAVE_RULE, True),
        ("POST", PUBLISH_RULE, False),
        ("POST", DELETE_RULE, True),
    }


@pytest.mark.parametrize(
    ("scene", "named", "action"),
    [
        pytest.param(123, {"scene_id": 123}, "QR_SCENE", id="number"),
        pytest.param(2**32 - 1, {"scene_id": 2**32 - 1}, "QR_SCENE", id="largest number"),
        pytest.param("shop-1", {"scene_str": "shop-1"}, "QR_STR_SCENE", id="text"),
        pytest.param("店" * 64, {"scene_str": "店" * 64}, "QR_STR_SCENE", id="longest text"),
    ],
)
async def test_create_temporary(
    platform: Platform, qrcode: QRCodeAPI, scene: int | str, named: dict[str, Any], action: str
) -> None:
    """A number and a text have each their own action and field."""
    route = platform.answer("POST", CREATE, {**MADE, "new": 1})
    assert await qrcode.create(scene, expire_seconds=60) == QRCode(TICKET, MADE["url"], 60, extra={"new": 1})
    assert platform.body(route) == {
        "action_name": action,
        "action_info": {"scene": named},
        "expire_seconds": 60,
    }
    assert platform.params(route) == {}


@pytest.mark.parametrize(
    ("scene", "named", "action"),
    [
        pytest.param(1, {"scene_id": 1}, "QR_LIMIT_SCENE", id="smallest number"),
        pytest.param(100000, {"scene_id": 100000}, "QR_LIMIT_SCENE", id="largest number"),
        pytest.param("test", {"scene_str": "test"}, "QR_LIMIT_STR_SCENE", id="text"),
    ],
)
async def test_create_permanent(
    platform: Platform, qrcode: QRCodeAPI, scene: int | str, named: dict[str, Any], action: str
) -> None:
    """A permanent code has no life, neither on the way out nor on the way back."""
    route = platform.answer("POST", CREATE, {"ticket": TICKET, "url": "u"})
    assert await qrcode.create(scene, permanent=True) == QRCode(TICKET, "u", None)
    assert platform.body(route) == {"action_name": action, "action_info": {"scene": named}}


async def test_create_leaves_the_life_to_the_platform(platform: Platform, qrcode: QRCodeAPI) -> None:
    """Without ``expire_seconds`` none is sent."""
    route = platform.answer("POST", CREATE, MADE)
    assert (await qrcode.create(1)).expire_seconds == 60
    assert "expire_seconds" not in platform.body(route)


@pytest.mark.parametrize(
    ("arguments", "errcode", "field"),
    [
        pytest.param({"scene": 0}, 40053, "scene", id="zero"),
        pytest.param({"scene": 2**32}, 40053, "scene", id="33 bits"),
        pytest.param({"scene": True}, 40053, "scene", id="bool"),
        pytest.param({"scene": None}, 40053, "scene", id="None"),
        pytest.param({"scene": ""}, 40053, "scene", id="empty text"),
        pytest.param({"scene": "s" * 65}, 40053, "scene", id="long text"),
        pytest.param({"scene": 0, "permanent": True}, 40053, "scene", id="permanent zero"),
        pytest.param({"scene": 100001, "permanent": True}, 40053, "scene", id="permanent above"),
        pytest.param({"scene": 1, "expire_seconds": 0}, 40035, "expire_seconds", id="no life"),
        pytest.param({"scene": 1, "expire_seconds": 2592001}, 40035, "expire_seconds", id="31 days"),
        pytest.param({"scene": 1, "permanent": True, "expire_seconds": 60}, 40035, "expire_seconds", id="both"),
    ],
)
async def test_create_checks(qrcode: QRCodeAPI, arguments: dict[str, Any], errcode: int, field: str) -> None:
    """Scenes and lives out of range are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await qrcode.create(**arguments)
    assert (caught.value.errcode, caught.value.field, caught.value.endpoint) == (errcode, field, f"POST {CREATE}")


async def test_create_without_ticket(platform: Platform, qrcode: QRCodeAPI) -> None:
    """An answer without a ticket is a ReplyError that names it."""
    platform.answer("POST", CREATE, {"url": "u"})
    with pytest.raises(ReplyError, match="ticket"):
        await qrcode.create(1)


async def test_create_over_the_limit(platform: Platform, qrcode: QRCodeAPI) -> None:
    """The platform's refusal of one permanent code too many is raised as what it is."""
    platform.answer("POST", CREATE, {"errcode": 45029, "errmsg": "qrcode count out of limit"})
    with pytest.raises(ArgumentError) as caught:
        await qrcode.create(1, permanent=True)
    assert caught.value.errcode == 45029


def test_image_url_encodes_the_ticket(qrcode: QRCodeAPI) -> None:
    """Signs like + and / in a ticket survive the way through a URL, and no token is in it."""
    url = qrcode.image_url(TICKET)
    assert url.startswith("https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket=gQH47joAAAAAAAAAASxodHRwOi8%2B%2Fa%3D%3D")
    assert parse_qs(urlsplit(url).query) == {"ticket": [TICKET]}


async def test_get_image_returns_bytes(platform: Platform, qrcode: QRCodeAPI) -> None:
    """The picture comes from the other host, without the account's token."""
    route = platform.answer("GET", IMAGE, JPEG, origin=PRODUCTION.mp)
    assert await qrcode.get_image(TICKET) == JPEG
    assert platform.query(route) == {"ticket": TICKET}


async def test_get_image_is_repeated(platform: Platform, qrcode: QRCodeAPI) -> None:
    """A picture that broke off is fetched again."""
    route = platform.answer("GET", IMAGE, broken(), JPEG, origin=PRODUCTION.mp)
    assert await qrcode.get_image(TICKET) == JPEG
    assert route.call_count == 2


async def test_get_image_of_a_bad_ticket(platform: Platform, qrcode: QRCodeAPI) -> None:
    """The platform says 404, and asking again would not help."""
    route = platform.answer("GET", IMAGE, httpx.Response(404, html="<html>not found</html>"), origin=PRODUCTION.mp)
    with pytest.raises(BadStatusError) as caught:
        await qrcode.get_image(TICKET)
    assert caught.value.status == 404
    assert route.call_count == 1


async def test_get_image_with_an_error_in_json(platform: Platform, qrcode: QRCodeAPI) -> None:
    """An error in JSON is raised, not returned as a picture."""
    platform.answer("GET", IMAGE, {"errcode": 45009, "errmsg": "limit"}, origin=PRODUCTION.mp)
    with pytest.raises(RateLimitError):
        await qrcode.get_image(TICKET)


@pytest.mark.parametrize("content", [b"", b"\n<html>sorry</html>"])
async def test_get_image_that_is_none(platform: Platform, qrcode: QRCodeAPI, content: bytes) -> None:
    """A page or nothing at all is not returned as a picture."""
    platform.answer("GET", IMAGE, content, origin=PRODUCTION.mp)
    with pytest.raises(ReplyError, match=r"not a file|not a picture"):
        await qrcode.get_image(TICKET)


@pytest.mark.parametrize("ticket", ["", "票", None])
async def test_ticket_is_checked(qrcode: QRCodeAPI, ticket: Any) -> None:
    """What cannot be a ticket is refused before sending."""
    with pytest.raises(ArgumentError) as built:
        qrcode.image_url(ticket)
    with pytest.raises(ArgumentError) as fetched:
        await qrcode.get_image(ticket)
    assert {built.value.field, fetched.value.field} == {"ticket"}


async def test_list_rules_reads_everything(platform: Platform, qrcode: QRCodeAPI) -> None:
    """Every field has its place, and a state of tomorrow is kept as a number."""
    second = {**rule("https://example.com/t/"), "state": 9, "appid": "wxmini"}
    route = platform.answer("POST", LIST_RULES, rules(rule(), second, total=2))
    page = await qrcode.list_rules(appid="wxmini")
    assert page == QRCodeRulePage(
        (
            QRCodeRule(PREFIX, "pages/index", QRCodeRuleState.DRAFT, QRCodeVersion.TRIAL, (PREFIX + "1",)),
            QRCodeRule(
                "https://example.com/t/",
                "pages/index",
                9,
                QRCodeVersion.TRIAL,
                (PREFIX + "1",),
                extra={"appid": "wxmini"},
            ),
        ),
        is_open=True,
        publish_quota=98,
        count=2,
        total=2,
    )
    assert isinstance(page.rules[0].state, QRCodeRuleState)
    assert platform.body(route) == {"get_type": 0, "appid": "wxmini"}


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"get_type": 1, "prefix_list": [PREFIX]}, {"get_type": 1, "prefix_list": [PREFIX]}),
        ({"get_type": 2, "page": 1, "page_size": 200}, {"get_type": 2, "page_num": 1, "page_size": 200}),
    ],
)
async def test_list_rules_sends_its_mode(
    platform: Platform, qrcode: QRCodeAPI, arguments: dict[str, Any], sent: dict[str, Any]
) -> None:
    """A prefix or a page goes out under the platform's names."""
    route = platform.answer("POST", LIST_RULES, rules(total=0))
    await qrcode.list_rules(**arguments)
    assert platform.body(route) == sent


@pytest.mark.parametrize(
    ("arguments", "errcode", "field"),
    [
        ({"get_type": 3}, 40097, "get_type"),
        ({"get_type": 1}, 40097, "prefix_list"),
        ({"prefix_list": [PREFIX]}, 40097, "prefix_list"),
        ({"get_type": 1, "prefix_list": []}, 40097, "prefix_list"),
        ({"get_type": 1, "prefix_list": PREFIX}, 40097, "prefix_list"),
        ({"get_type": 1, "prefix_list": [PREFIX] * 201}, 40097, "prefix_list"),
        ({"get_type": 1, "prefix_list": [PREFIX, ""]}, 40097, "prefix_list[1]"),
        ({"get_type": 2, "page_size": 10}, 40097, "page"),
        ({"get_type": 2, "page": 0, "page_size": 10}, 40097, "page"),
        ({"get_type": 2, "page": 1}, 40097, "page_size"),
        ({"get_type": 2, "page": 1, "page_size": 201}, 40097, "page_size"),
        ({"page": 1}, 40097, "page"),
        ({"appid": ""}, 40166, "appid"),
    ],
)
async def test_list_rules_checks(qrcode: QRCodeAPI, arguments: dict[str, Any], errcode: int, field: str) -> None:
    """Arguments that do not fit the mode are refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await qrcode.list_rules(**arguments)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_list_rules_saved_without_a_version(platform: Platform, qrcode: QRCodeAPI) -> None:
    """A rule that was saved without a build for testers is read like the others."""
    saved = {name: value for name, value in rule(PREFIX).items() if name != "open_version"}
    platform.answer("POST", LIST_RULES, rules(saved, total=1))
    (found,) = (await qrcode.list_rules()).rules
    assert (found.prefix, found.open_version) == (PREFIX, None)


async def test_list_rules_without_the_list(platform: Platform, qrcode: QRCodeAPI) -> None:
    """A missing list is a ReplyError, not an account without rules."""
    platform.answer("POST", LIST_RULES, OK)
    with pytest.raises(ReplyError, match=r"rule_list|rules"):
        await qrcode.list_rules()


@pytest.mark.parametrize(
    ("said", "meant"),
    [({}, None), *[({"permit_sub_rule": v}, m) for v, m in ((1, False), (2, True), ("2", True), (0, None))]],
)
async def test_rules_that_keep_longer_prefixes(
    platform: Platform, qrcode: QRCodeAPI, said: dict[str, Any], meant: bool | None
) -> None:
    """The platform says 1 for no and 2 for yes, as a number or a text; of something else nothing is known."""
    platform.answer("POST", LIST_RULES, rules({**rule(PREFIX), **said}, total=1))
    (found,) = (await qrcode.list_rules()).rules
    assert (found.permit_sub_rule, found.extra) == (meant, {})


async def test_iter_rules_walks_all_pages(platform: Platform, qrcode: QRCodeAPI) -> None:
    """Full pages are followed by the next one, a short one ends the walk."""
    first = [rule(f"{PREFIX}{number}") for number in range(200)]
    route = platform.answer("POST", LIST_RULES, rules(*first, total=201), rules(rule("https://last/"), total=201))
    found = [item.prefix async for item in qrcode.iter_rules(appid="wxmini")]
    assert (len(found), found[-1]) == (201, "https://last/")
    assert platform.bodies(route) == [
        {"get_type": 2, "appid": "wxmini", "page_num": number, "page_size": 200} for number in (1, 2)
    ]


async def test_iter_rules_that_would_never_end(platform: Platform, qrcode: QRCodeAPI) -> None:
    """A platform that gives the same full page again and again is not asked for ever."""
    page = rules(*[rule(f"{PREFIX}{number}") for number in range(200)], total=1000)
    route = platform.answer("POST", LIST_RULES, page)
    with pytest.raises(ReplyError, match="never end"):
        [item async for item in qrcode.iter_rules()]
    assert route.call_count == 2


async def test_iter_rules_of_nothing(platform: Platform, qrcode: QRCodeAPI) -> None:
    """No rules: one request, nothing yielded."""
    route = platform.answer("POST", LIST_RULES, rules(total=0))
    assert [item async for item in qrcode.iter_rules()] == []
    assert route.call_count == 1


async def test_iter_rules_ends_at_the_total(platform: Platform, qrcode: QRCodeAPI) -> None:
    """Nothing is asked for behind a full last page: the total tells that it is the last."""
    pages = [[rule(f"{PREFIX}{start + number}") for number in range(200)] for start in (0, 200)]
    route = platform.answer("POST", LIST_RULES, *[rules(*page, total=400) for page in pages])
    assert len([item async for item in qrcode.iter_rules()]) == 400
    assert route.call_count == 2


async def test_save_rule_adds(platform: Platform, qrcode: QRCodeAPI) -> None:
    """The least a new rule needs; 0 means a new one."""
    route = platform.answer("POST", SAVE_RULE, OK)
    await qrcode.save_rule(PREFIX, appid="wxmini", path="pages/index")
    assert platform.body(route) == {"prefix": PREFIX, "appid": "wxmini", "path": "pages/index", "is_edit": 0}


@pytest.mark.parametrize(("permit", "number"), [(True, 2), (False, 1)])
async def test_save_rule_with_everything(platform: Platform, qrcode: QRCodeAPI, permit: bool, number: int) -> None:
    """Every documented field goes out in the platform's numbers."""
    route = platform.answer("POST", SAVE_RULE, OK)
    await qrcode.save_rule(
        PREFIX,
        appid="wxmini",
        path="pages/index",
        is_edit=True,
        open_version=QRCodeVersion.TRIAL,
        debug_urls=(PREFIX + "1",),
        permit_sub_rule=permit,
    )
    assert platform.body(route) == {
        "prefix": PREFIX,
        "appid": "wxmini",
        "path": "pages/index",
        "is_edit": 1,
        "open_version": 2,
        "debug_url": [PREFIX + "1"],
        "permit_sub_rule": number,
    }


@pytest.mark.parametrize(
    ("change", "errcode", "field"),
    [
        ({"prefix": ""}, 85066, "prefix"),
        ({"appid": ""}, 40166, "appid"),
        ({"path": ""}, 40097, "path"),
        ({"debug_urls": ["u"] * 6}, 40097, "debug_urls"),
        ({"debug_urls": "u"}, 40097, "debug_urls"),
        ({"debug_urls": ["u", " "]}, 40097, "debug_urls[1]"),
    ],
)
async def test_save_rule_checks(qrcode: QRCodeAPI, change: dict[str, Any], errcode: int, field: str) -> None:
    """What is needed and how many test links there may be is checked before sending."""
    with pytest.raises(ArgumentError) as caught:
        await qrcode.save_rule(**{"prefix": PREFIX, "appid": "wxmini", "path": "p", **change})
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_save_rule_that_exists(platform: Platform, qrcode: QRCodeAPI) -> None:
    """85071 at the first attempt is an error."""
    platform.answer("POST", SAVE_RULE, {"errcode": 85071, "errmsg": "repeated"})
    with pytest.raises(ArgumentError) as caught:
        await qrcode.save_rule(PREFIX, appid="wxmini", path="pages/index")
    assert caught.value.errcode == 85071


async def test_save_rule_after_a_broken_attempt(platform: Platform, qrcode: QRCodeAPI) -> None:
    """85071 on a repeat, with the same page in the rule, means that the first attempt added it."""
    platform.answer("POST", SAVE_RULE, broken(), {"errcode": 85071, "errmsg": "repeated"})
    looked = platform.answer("POST", LIST_RULES, rules(rule(), total=1))
    await qrcode.save_rule(PREFIX, appid="wxmini", path="pages/index")
    assert platform.body(looked) == {"get_type": 1, "appid": "wxmini", "prefix_list": [PREFIX]}


async def test_save_rule_of_somebody_else(platform: Platform, qrcode: QRCodeAPI) -> None:
    """A rule with another page was there before: that is no success."""
    platform.answer("POST", SAVE_RULE, broken(), {"errcode": 85071, "errmsg": "repeated"})
    platform.answer("POST", LIST_RULES, rules(rule(path="pages/other"), total=1))
    with pytest.raises(ArgumentError) as caught:
        await qrcode.save_rule(PREFIX, appid="wxmini", path="pages/index")
    assert caught.value.errcode == 85071


async def test_publish_rule_names_the_prefix(platform: Platform, qrcode: QRCodeAPI) -> None:
    """The prefix is all there is to say."""
    route = platform.answer("POST", PUBLISH_RULE, OK)
    await qrcode.publish_rule(PREFIX)
    assert platform.body(route) == {"prefix": PREFIX}


async def test_publish_rule_is_not_repeated(platform: Platform, qrcode: QRCodeAPI) -> None:
    """Each publish counts against a hundred a month."""
    route = platform.answer("POST", PUBLISH_RULE, broken())
    with pytest.raises(BadStatusError):
        await qrcode.publish_rule(PREFIX)
    assert route.call_count == 1


@pytest.mark.parametrize(("errcode", "error"), [(886000, RateLimitError), (85095, APIError)])
async def test_publish_rule_refused(platform: Platform, qrcode: QRCodeAPI, errcode: int, error: type[APIError]) -> None:
    """A refusal is an error of its own class."""
    platform.answer("POST", PUBLISH_RULE, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await qrcode.publish_rule(PREFIX)
    assert caught.value.errcode == errcode


@pytest.mark.parametrize("more", [{}, {"appid": "wxmini"}])
async def test_delete_rule_names_the_prefix(platform: Platform, qrcode: QRCodeAPI, more: dict[str, str]) -> None:
    """The mini program goes along when it is given."""
    route = platform.answer("POST", DELETE_RULE, OK)
    await qrcode.delete_rule(PREFIX, **more)
    assert platform.body(route) == {"prefix": PREFIX, **more}


async def test_publish_and_delete_need_a_prefix(qrcode: QRCodeAPI) -> None:
    """An empty prefix is refused before sending (85066)."""
    for call in (qrcode.publish_rule(""), qrcode.delete_rule("")):
        with pytest.raises(ArgumentError) as caught:
            await call
        assert (caught.value.errcode, caught.value.field) == (85066, "prefix")
