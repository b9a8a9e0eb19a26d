"""Followers: one, many, all; remarks; openids after a migration."""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp.api.user import OpenidChange, OpenidData, OpenidPage, SubscribeScene, UserAPI, UserInfo
from wxmp.errors import ArgumentError, RateLimitError, RecipientError, ReplyError

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

INFO = "/cgi-bin/user/info"
BATCH = "/cgi-bin/user/info/batchget"
LIST = "/cgi-bin/user/get"
REMARK = "/cgi-bin/user/info/updateremark"
CHANGE = "/cgi-bin/changeopenid"
OK = {"errcode": 0, "errmsg": "ok"}

FOLLOWER = {
    "subscribe": 1,
    "openid": "oFOLLOWER",
    "unionid": "uFOLLOWER",
    "subscribe_time": 1434093047,
    "remark": "老客户",
    "groupid": 2,
    "tagid_list": [128, 2],
    "subscribe_scene": "ADD_SCENE_QR_CODE",
    "qr_scene": 98765,
    "qr_scene_str": "shop-7",
    "language": "zh_CN",
    "nickname": "",
    "sex": 0,
    "city": "",
    "province": "",
    "country": "",
    "headimgurl": "",
}


@pytest.fixture
def user(caller: Caller) -> UserAPI:
    """The family under test."""
    return UserAPI(caller)


def people(count: int) -> list[str]:
    """Return that many openids."""
    return [f"oPERSON{number:05}" for number in range(count)]


def page(openids: list[str], next_openid: str, total: int = 9) -> dict[str, Any]:
    """Return a page as the platform sends it."""
    return {"total": total, "count": len(openids), "data": {"openid": openids}, "next_openid": next_openid}


def stranger(openid: str) -> dict[str, Any]:
    """Return what the platform tells about somebody who does not follow."""
    return {"subscribe": 0, "openid": openid}


async def test_get_reads_every_field(platform: Platform, user: UserAPI) -> None:
    """A follower's fields have Python names, an instant in UTC, and their enum."""
    route = platform.answer("GET", INFO, {**FOLLOWER, "new": 1})
    found = await user.get("oFOLLOWER")
    assert platform.params(route) == {"openid": "oFOLLOWER"}
    assert found == UserInfo(
        subscribe=True,
        openid="oFOLLOWER",
        unionid="uFOLLOWER",
        subscribe_time=datetime(2015, 6, 12, 7, 10, 47, tzinfo=UTC),
        remark="老客户",
        group_id=2,
        tag_ids=(128, 2),
        subscribe_scene=SubscribeScene.QR_CODE,
        qr_scene=98765,
        qr_scene_str="shop-7",
        language="zh_CN",
        nickname="",
        sex=0,
        city="",
        province="",
        country="",
        headimgurl="",
        extra={"new": 1},
    )
    assert isinstance(found.subscribe_scene, SubscribeScene)


async def test_get_takes_numbers_as_text(platform: Platform, user: UserAPI) -> None:
    """Numbers that come as text are numbers all the same."""
    platform.answer("GET", INFO, {**FOLLOWER, "subscribe": "1", "subscribe_time": "1434093047", "groupid": "2"})
    found = await user.get("oFOLLOWER")
    assert (found.subscribe, found.group_id, found.subscribe_time) == (
        True,
        2,
        datetime(2015, 6, 12, 7, 10, 47, tzinfo=UTC),
    )


async def test_get_somebody_who_does_not_follow(platform: Platform, user: UserAPI) -> None:
    """Of somebody who does not follow there is only the openid; everything else is absent."""
    platform.answer("GET", INFO, {**OK, **stranger("oSTRANGER")})
    assert await user.get("oSTRANGER") == UserInfo(subscribe=False, openid="oSTRANGER")


async def test_get_keeps_an_unknown_scene(platform: Platform, user: UserAPI) -> None:
    """A way to follow that this version does not know stays the platform's text."""
    platform.answer("GET", INFO, {**FOLLOWER, "subscribe_scene": "ADD_SCENE_HOLOGRAM"})
    assert (await user.get("oFOLLOWER")).subscribe_scene == "ADD_SCENE_HOLOGRAM"


@pytest.mark.parametrize(
    ("scene", "member"),
    [
        ("ADD_SCENE_SEARCH", SubscribeScene.SEARCH),
        ("ADD_SCENE_ACCOUNT_MIGRATION", SubscribeScene.ACCOUNT_MIGRATION),
        ("ADD_SCENE_PROFILE_CARD", SubscribeScene.PROFILE_CARD),
        ("ADD_SCENE_QR_CODE", SubscribeScene.QR_CODE),
        ("ADD_SCENE_PROFILE_LINK", SubscribeScene.PROFILE_LINK),
        ("ADD_SCENE_PROFILE_ITEM", SubscribeScene.PROFILE_ITEM),
        ("ADD_SCENE_PAID", SubscribeScene.PAID),
        ("ADD_SCENE_WECHAT_ADVERTISEMENT", SubscribeScene.WECHAT_ADVERTISEMENT),
        ("ADD_SCENE_REPRINT", SubscribeScene.REPRINT),
        ("ADD_SCENE_LIVESTREAM", SubscribeScene.LIVESTREAM),
        ("ADD_SCENE_CHANNELS", SubscribeScene.CHANNELS),
        ("ADD_SCENE_WXA", SubscribeScene.WXA),
        ("ADD_SCENE_OTHERS", SubscribeScene.OTHERS),
    ],
)
def test_scenes(scene: str, member: SubscribeScene) -> None:
    """Every documented way to follow has its member."""
    assert UserInfo(subscribe=True, openid="o", subscribe_scene=scene).subscribe_scene is member


@pytest.mark.parametrize("lang", ["zh_CN", "zh_TW", "en"])
async def test_get_in_a_language(platform: Platform, user: UserAPI, lang: Any) -> None:
    """The language goes out as a parameter."""
    route = platform.answer("GET", INFO, FOLLOWER)
    await user.get("oFOLLOWER", lang=lang)
    assert platform.params(route) == {"openid": "oFOLLOWER", "lang": lang}


async def test_get_of_an_unknown_openid(platform: Platform, user: UserAPI) -> None:
    """An openid of another account is an ArgumentError with the platform's text and rid."""
    platform.answer("GET", INFO, {"errcode": 40003, "errmsg": "invalid openid rid: 6a-b-c"})
    with pytest.raises(ArgumentError) as caught:
        await user.get("oELSEWHERE")
    assert (caught.value.errcode, caught.value.errmsg, caught.value.rid, caught.value.field) == (
        40003,
        "invalid openid",
        "6a-b-c",
        "",
    )


async def test_get_without_a_documented_field(platform: Platform, user: UserAPI) -> None:
    """An answer that does not say whether the user follows is a ReplyError that names the field."""
    platform.answer("GET", INFO, {"openid": "oFOLLOWER"})
    with pytest.raises(ReplyError, match="subscribe") as caught:
        await user.get("oFOLLOWER")
    assert caught.value.endpoint == "GET /cgi-bin/user/info"


@pytest.mark.parametrize("openid", ["", "  ", None, 7])
async def test_get_needs_an_openid(platform: Platform, user: UserAPI, openid: str) -> None:
    """What cannot be an openid is found before sending."""
    with pytest.raises(ArgumentError) as caught:
        await user.get(openid)
    assert (caught.value.errcode, caught.value.field) == (40003, "openid")


async def test_unknown_languages_are_refused(platform: Platform, user: UserAPI) -> None:
    """A language outside the platform's three is found before sending, whichever call it is for."""
    language: Any = "fr"
    for call in (user.get("oA", lang=language), user.batch_get(["oA"], lang=language)):
        with pytest.raises(ArgumentError) as caught:
            await call
        assert (caught.value.errcode, caught.value.field) == (40035, "lang")


async def test_batch_get_maps_by_openid(platform: Platform, user: UserAPI) -> None:
    """Users come back in the order asked for, whatever order the platform has; who is missing is missing."""
    route = platform.answer("POST", BATCH, {"user_info_list": [stranger("oC"), {**FOLLOWER, "openid": "oA"}]})
    found = await user.batch_get(["oA", "oB", "oC"])
    assert platform.body(route) == {"user_list": [{"openid": "oA"}, {"openid": "oB"}, {"openid": "oC"}]}
    assert platform.params(route) == {}
    assert [(entry.openid, entry.subscribe) for entry in found] == [("oA", True), ("oC", False)]
    assert found[0].remark == "老客户"


async def test_batch_get_in_a_language(platform: Platform, user: UserAPI) -> None:
    """The language stands beside each openid."""
    route = platform.answer("POST", BATCH, {"user_info_list": []})
    assert await user.batch_get(["oA", "oB"], lang="en") == ()
    assert platform.body(route) == {"user_list": [{"openid": "oA", "lang": "en"}, {"openid": "oB", "lang": "en"}]}


async def test_batch_get_is_split(platform: Platform, user: UserAPI) -> None:
    """Each 100 openids make a request; repetitions are dropped, and the order stays over all of them."""
    everybody = people(250)
    replies = [
        {"user_info_list": [stranger(openid) for openid in reversed(everybody[start : start + 100])]}
        for start in (0, 100, 200)
    ]
    route = platform.answer("POST", BATCH, *replies)
    found = await user.batch_get([*everybody, *everybody])
    assert [len(body["user_list"]) for body in platform.bodies(route)] == [100, 100, 50]
    assert [entry.openid for entry in found] == everybody


async def test_batch_get_fails_later(platform: Platform, user: UserAPI) -> None:
    """The error of a later batch says how far it came."""
    platform.answer("POST", BATCH, {"user_info_list": []}, {"errcode": 40003, "errmsg": "invalid openid"})
    with pytest.raises(ArgumentError) as caught:
        await user.batch_get(people(101))
    assert caught.value.__notes__ == ["100 of 101 openids were done before this; repeating the whole call is safe"]


async def test_batch_get_without_a_list(platform: Platform, user: UserAPI) -> None:
    """An answer without the list is a ReplyError, never a KeyError."""
    platform.answer("POST", BATCH, OK)
    with pytest.raises(ReplyError, match="user_info_list"):
        await user.batch_get(["oA"])


@pytest.mark.parametrize(
    ("openids", "code", "field"),
    [([], 40032, "openids"), ("oABC", 40003, "openids"), (["oA", " "], 40003, "openids[1]")],
)
async def test_batch_get_needs_openids(
    platform: Platform, user: UserAPI, openids: list[str], code: int, field: str
) -> None:
    """Nobody, a bare text, an empty openid: found before sending."""
    with pytest.raises(ArgumentError) as caught:
        await user.batch_get(openids)
    assert (caught.value.errcode, caught.value.field) == (code, field)


async def test_list_begins_at_the_top(platform: Platform, user: UserAPI) -> None:
    """The first page needs no parameter."""
    route = platform.answer("GET", LIST, {**page(["oA", "oB"], "oB", total=2), "new": 1})
    found = await user.list()
    assert platform.params(route) == {}
    assert found == OpenidPage(2, 2, "oB", OpenidData(("oA", "oB")), extra={"new": 1})
    assert found.openids == ("oA", "oB")


async def test_list_goes_on_behind_a_cursor(platform: Platform, user: UserAPI) -> None:
    """A cursor goes out as next_openid; a page without data is empty."""
    route = platform.answer("GET", LIST, {"total": 2, "count": 0, "next_openid": ""})
    assert (await user.list("oB")).openids == ()
    assert platform.params(route) == {"next_openid": "oB"}


async def test_list_over_the_quota(platform: Platform, user: UserAPI) -> None:
    """The day's pages are used up: raised at once, never waited for."""
    route = platform.answer("GET", LIST, {"errcode": 45009, "errmsg": "reach max api daily quota limit"})
    with pytest.raises(RateLimitError) as caught:
        await user.list()
    assert (caught.value.scope, route.call_count) == ("day", 1)


@pytest.mark.parametrize("missing", ["total", "count"])
async def test_list_without_a_documented_field(platform: Platform, user: UserAPI, missing: str) -> None:
    """An answer without a number is a ReplyError that names it."""
    reply = page(["oA"], "")
    del reply[missing]
    platform.answer("GET", LIST, reply)
    with pytest.raises(ReplyError, match=missing):
        await user.list()


async def test_iter_followers_of_nobody(platform: Platform, user: UserAPI) -> None:
    """No followers: one request, nothing yielded."""
    route = platform.answer("GET", LIST, {"total": 0, "count": 0, "next_openid": ""})
    assert [openid async for openid in user.iter_followers()] == []
    assert route.call_count == 1


async def test_iter_followers_of_one_page(platform: Platform, user: UserAPI) -> None:
    """An empty cursor ends the walk without another request."""
    route = platform.answer("GET", LIST, page(["oA", "oB"], ""))
    assert [openid async for openid in user.iter_followers()] == ["oA", "oB"]
    assert route.call_count == 1


async def test_iter_followers_of_several_pages(platform: Platform, user: UserAPI) -> None:
    """Where the last page has a cursor too, an empty page ends the walk, its cursor ignored."""
    route = platform.answer(
        "GET",
        LIST,
        page(["oA", "oB"], "oB"),
        page(["oC"], "oC"),
        {"total": 3, "count": 0, "next_openid": "oC"},
    )
    assert [openid async for openid in user.iter_followers()] == ["oA", "oB", "oC"]
    assert [platform.params(route, call) for call in range(3)] == [{}, {"next_openid": "oB"}, {"next_openid": "oC"}]


async def test_iter_followers_fetches_late(platform: Platform, user: UserAPI) -> None:
    """A page is fetched only when it is needed, the first one included."""
    route = platform.answer("GET", LIST, page(["oA", "oB"], "oB"), page(["oC"], ""))
    async with aclosing(user.iter_followers()) as followers:
        assert route.call_count == 0
        assert [await anext(followers), await anext(followers)] == ["oA", "oB"]
        assert route.call_count == 1
        assert await anext(followers) == "oC"
    assert route.call_count == 2


async def test_iter_followers_goes_on(platform: Platform, user: UserAPI) -> None:
    """A walk that failed goes on behind the last openid seen."""
    route = platform.answer("GET", LIST, page(["oC"], ""))
    assert [openid async for openid in user.iter_followers(next_openid="oB")] == ["oC"]
    assert platform.params(route) == {"next_openid": "oB"}


@pytest.mark.parametrize(
    ("start", "cursors", "seen"), [("oA", ["oA"], []), ("", ["oA", "oA"], ["oX"]), ("", ["oA", "oB", "oA"], ["oX"] * 2)]
)
async def test_iter_followers_with_a_stuck_cursor(
    platform: Platform, user: UserAPI, start: str, cursors: list[str], seen: list[str]
) -> None:
    """A cursor that comes a second time, at once or in a circle, ends the walk with an error instead of never."""
    pages = [page(["oX"], cursor) for cursor in cursors]
    route = platform.answer("GET", LIST, *pages)
    found: list[str] = []

    async def walk() -> None:
        async for openid in user.iter_followers(next_openid=start):
            found.append(openid)

    with pytest.raises(ReplyError, match="does not move") as caught:
        await walk()
    assert found == seen
    assert route.call_count == len(cursors)
    assert caught.value.endpoint == "GET /cgi-bin/user/get"


async def test_iter_users_reads_by_the_hundred(platform: Platform, user: UserAPI) -> None:
    """All followers come with their data: full hundreds across pages, then the rest."""
    everybody = people(150)
    platform.answer("GET", LIST, page(everybody[:60], everybody[59]), page(everybody[60:], ""))
    route = platform.answer(
        "POST",
        BATCH,
        {"user_info_list": [stranger(openid) for openid in everybody[:100]]},
        {"user_info_list": [stranger(openid) for openid in everybody[100:]]},
    )
    found = [entry async for entry in user.iter_users(lang="zh_TW")]
    assert [entry.openid for entry in found] == everybody
    assert [len(body["user_list"]) for body in platform.bodies(route)] == [100, 50]
    assert platform.body(route)["user_list"][0]["lang"] == "zh_TW"


async def test_iter_users_of_nobody(platform: Platform, user: UserAPI) -> None:
    """No followers: nobody is read."""
    platform.answer("GET", LIST, {"total": 0, "count": 0, "next_openid": ""})
    assert [entry async for entry in user.iter_users()] == []


async def test_iter_users_of_exactly_a_hundred(platform: Platform, user: UserAPI) -> None:
    """A full last batch is not followed by an empty one."""
    everybody = people(100)
    platform.answer("GET", LIST, page(everybody, ""))
    route = platform.answer("POST", BATCH, {"user_info_list": [stranger(openid) for openid in everybody]})
    assert len([entry async for entry in user.iter_users()]) == 100
    assert route.call_count == 1


async def test_iter_users_goes_on(platform: Platform, user: UserAPI) -> None:
    """A walk that failed goes on behind the last openid seen."""
    route = platform.answer("GET", LIST, page(["oC"], ""))
    platform.answer("POST", BATCH, {"user_info_list": [stranger("oC")]})
    assert [entry.openid async for entry in user.iter_users(next_openid="oB")] == ["oC"]
    assert platform.params(route) == {"next_openid": "oB"}


@pytest.mark.parametrize("remark", ["老客户", "", "a" * 30, "汉" * 30])
async def test_update_remark(platform: Platform, user: UserAPI, remark: str) -> None:
    """A note goes out as raw UTF-8; an empty one is allowed and clears it; up to 30 characters are the platform's."""
    route = platform.answer("POST", REMARK, OK)
    await user.update_remark("oA", remark=remark)
    assert platform.body(route) == {"openid": "oA", "remark": remark}
    assert remark.encode() in platform.raw(route)
    assert platform.params(route) == {}


@pytest.mark.parametrize(
    ("openid", "remark", "code", "field"),
    [("oA", "a" * 31, 40092, "remark"), ("oA", None, 40092, "remark"), ("", "x", 40003, "openid")],
)
async def test_update_remark_checks(
    platform: Platform, user: UserAPI, openid: str, remark: Any, code: int, field: str
) -> None:
    """A note that is too long under every reading, no text, or nobody's, is found before sending."""
    with pytest.raises(ArgumentError) as caught:
        await user.update_remark(openid, remark=remark)
    assert (caught.value.errcode, caught.value.field) == (code, field)


@pytest.mark.parametrize(("code", "error"), [(40092, ArgumentError), (40003, ArgumentError), (43004, RecipientError)])
async def test_update_remark_errors(platform: Platform, user: UserAPI, code: int, error: type[Exception]) -> None:
    """A refused note and a user who does not follow are different errors."""
    platform.answer("POST", REMARK, {"errcode": code, "errmsg": "no"})
    with pytest.raises(error):
        await user.update_remark("oA", remark="x")


async def test_update_remark_is_repeated(platform: Platform, user: UserAPI) -> None:
    """Setting the same note twice does no harm, so an unknown outcome is resolved by another attempt."""
    route = platform.answer("POST", REMARK, httpx.Response(502), OK)
    await user.update_remark("oA", remark="x")
    assert route.call_count == 2


async def test_change_openid_reads_every_field(platform: Platform, user: UserAPI) -> None:
    """Failures of single openids are entries, not errors."""
    route = platform.answer(
        "POST",
        CHANGE,
        {
            **OK,
            "result_list": [
                {"ori_openid": "oOLD1", "new_openid": "oNEW1", "err_msg": "ok"},
                {"ori_openid": "oOLD2", "err_msg": "ori_openid error", "new": 1},
            ],
        },
    )
    found = await user.change_openid(["oOLD1", "oOLD2"], from_appid="wxOLD")
    assert platform.body(route) == {"from_appid": "wxOLD", "openid_list": ["oOLD1", "oOLD2"]}
    assert platform.params(route) == {}
    assert found == (
        OpenidChange("oOLD1", "oNEW1", "ok"),
        OpenidChange("oOLD2", None, "ori_openid error", extra={"new": 1}),
    )


async def test_change_openid_is_split(platform: Platform, user: UserAPI) -> None:
    """Each 100 openids make a request, and the entries of all are returned together."""
    everybody = people(201)
    replies = [
        {"result_list": [{"ori_openid": openid, "err_msg": "ori_openid error"} for openid in everybody[at : at + 100]]}
        for at in (0, 100, 200)
    ]
    route = platform.answer("POST", CHANGE, *replies)
    found = await user.change_openid([*everybody, everybody[0]], from_appid="wxOLD")
    assert [len(body["openid_list"]) for body in platform.bodies(route)] == [100, 100, 1]
    assert [change.ori_openid for change in found] == everybody


async def test_change_openid_fails_later(platform: Platform, user: UserAPI) -> None:
    """The error of a later batch says how far it came."""
    platform.answer("POST", CHANGE, {"result_list": []}, {"errcode": 63183, "errmsg": "no"})
    with pytest.raises(ArgumentError) as caught:
        await user.change_openid(people(101), from_appid="wxOLD")
    assert caught.value.__notes__ == ["100 of 101 openids were done before this; repeating the whole call is safe"]


@pytest.mark.parametrize("code", [63178, 63182, 63183])
async def test_change_openid_errors(platform: Platform, user: UserAPI, code: int) -> None:
    """Accounts without a migration between them are an ArgumentError."""
    platform.answer("POST", CHANGE, {"errcode": code, "errmsg": "no"})
    with pytest.raises(ArgumentError) as caught:
        await user.change_openid(["oOLD"], from_appid="wxOLD")
    assert caught.value.errcode == code


@pytest.mark.parametrize(
    ("openids", "from_appid", "code", "field"),
    [
        ([], "wxOLD", 63182, "openids"),
        ("oOLD", "wxOLD", 40003, "openids"),
        ([""], "wxOLD", 40003, "openids[0]"),
        (["oOLD"], "", 63178, "from_appid"),
    ],
)
async def test_change_openid_checks(
    platform: Platform, user: UserAPI, openids: list[str], from_appid: str, code: int, field: str
) -> None:
    """Nobody to translate, or no account to come from: found before sending."""
    with pytest.raises(ArgumentError) as caught:
        await user.change_openid(openids, from_appid=from_appid)
    assert (caught.value.errcode, caught.value.field) == (code, field)


async def test_change_openid_without_a_list(platform: Platform, user: UserAPI) -> None:
    """An answer without the list is a ReplyError, never a KeyError."""
    platform.answer("POST", CHANGE, OK)
    with pytest.raises(ReplyError, match="result_list"):
        await user.change_openid(["oOLD"], from_appid="wxOLD")
