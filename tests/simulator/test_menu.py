"""Menus: every rule with its code, conditional menus, and who sees what."""

from __future__ import annotations

import json

import pytest

from wxmp.simulator import WorldError

CLICK = {"type": "click", "name": "今日歌曲", "key": "V1001"}
VIEW = {"type": "view", "name": "搜索", "url": "https://example.com/search"}


def sub(**changes):
    return {"name": "更多", "sub_button": [CLICK | changes]}


@pytest.mark.parametrize(
    ("buttons", "errcode"),
    [
        (None, 40016),
        ([], 40016),
        ([CLICK] * 4, 40016),
        ([CLICK | {"name": "一二三四五六"}], 40018),
        ([CLICK | {"name": ""}], 40018),
        ([CLICK | {"key": "k" * 129}], 40019),
        ([CLICK | {"key": ""}], 40019),
        ([VIEW | {"url": ""}], 40020),
        ([VIEW | {"url": "https://example.com/" + "x" * 1005}], 40020),
        ([VIEW | {"url": "not a url"}], 65317),
        ([VIEW | {"url": "http://[broken"}], 65317),
        ([CLICK | {"type": "clack"}], 40017),
        ([CLICK | {"sub_button": [VIEW]}], 40017),
        ([{"name": "x"}], 65308),
        ([{"name": "x", "sub_button": []}], 65308),
        ([{"name": "更多", "sub_button": [CLICK] * 6}], 40023),
        ([sub(sub_button=[VIEW])], 40022),
        ([sub(type="clack")], 40024),
        ([sub(name="字" * 21)], 40025),
        ([sub(key="k" * 129)], 40026),
        ([sub(type="view", url="")], 40027),
        ([{"type": "media_id", "name": "x"}], 40007),
        ([{"type": "article_id", "name": "x"}], 53600),
        ([{"type": "miniprogram", "name": "x", "url": "https://a.example"}], 40166),
        ([{"type": "miniprogram", "name": "x", "url": "https://a.example", "appid": "wx1"}], 40165),
    ],
)
def test_broken_menus(desk, buttons, errcode):
    """Each broken rule answers its own code and leaves the menu as it was."""
    assert desk.post("/cgi-bin/menu/create", {"button": buttons})["errcode"] == errcode
    assert desk.account.menu is None


@pytest.mark.parametrize("button", [CLICK | {"name": "a" * 16}, sub(name="字" * 20), CLICK | {"key": "k" * 128}])
def test_limits_are_inclusive(desk, button):
    """Exactly 16 bytes on top, 60 bytes below and 128 bytes of key are fine."""
    assert desk.post("/cgi-bin/menu/create", {"button": [button]})["errcode"] == 0


def test_menu_round_trip(desk):
    """What was created comes back, with sub_button everywhere; a second create replaces it; delete leaves 46003."""
    menu = {"button": [CLICK, {"name": "菜单", "sub_button": [VIEW]}]}
    assert desk.get("/cgi-bin/menu/get")["errcode"] == 46003
    assert desk.post("/cgi-bin/menu/create", menu) == {"errcode": 0, "errmsg": "ok"}
    shown = desk.get("/cgi-bin/menu/get")
    expected = [CLICK | {"sub_button": []}, {"name": "菜单", "sub_button": [VIEW | {"sub_button": []}]}]
    assert shown == {"menu": {"button": expected}}
    desk.post("/cgi-bin/menu/create", {"button": shown["menu"]["button"]})
    assert desk.get("/cgi-bin/menu/get") == shown
    assert desk.get("/cgi-bin/menu/delete")["errcode"] == 0
    assert desk.get("/cgi-bin/menu/get")["errcode"] == 46003


def test_current_menu_has_the_console_shape(desk):
    """The other reading endpoint wraps sub-buttons in ``list``."""
    assert desk.get("/cgi-bin/get_current_selfmenu_info")["is_menu_open"] == 0
    desk.post("/cgi-bin/menu/create", {"button": [{"name": "菜单", "sub_button": [VIEW]}]})
    shown = desk.get("/cgi-bin/get_current_selfmenu_info")
    assert shown["selfmenu_info"]["button"] == [{"name": "菜单", "sub_button": {"list": [VIEW]}}]


def test_escaped_text_is_refused(desk):
    r"""A menu body with Chinese as \uXXXX escapes answers 40033; escapes of ASCII and real backslashes are fine."""
    query = {"access_token": desk.token()}
    raw = json.dumps({"button": [CLICK]}).encode()
    assert b"\\u4eca" in raw
    assert desk.send("POST", "/cgi-bin/menu/create", query, raw).errcode == 40033
    harmless = b'{"button":[{"type":"click","name":"\\u0041","key":"C:\\\\u4eca"}]}'
    assert desk.send("POST", "/cgi-bin/menu/create", query, harmless).errcode == 0
    assert desk.account.menu[0]["name"] == "A"


def conditional(desk, rule, button=CLICK):
    return desk.post("/cgi-bin/menu/addconditional", {"button": [button], "matchrule": rule})


def test_conditional_menu_needs_a_default_menu_and_a_rule(desk):
    """65303 without a default menu, 65304 for an empty rule, 65320 for private data."""
    assert conditional(desk, {"tag_id": "2"})["errcode"] == 65303
    desk.post("/cgi-bin/menu/create", {"button": [CLICK]})
    assert conditional(desk, {})["errcode"] == 65304
    assert conditional(desk, {"tag_id": ""})["errcode"] == 65304
    assert conditional(desk, {"tag_id": "2", "city": "深圳"})["errcode"] == 65320
    assert isinstance(conditional(desk, {"tag_id": 2})["menuid"], str)


def test_newest_matching_menu_wins_and_the_last_tag_decides(desk):
    """Rules are tried newest first; of several tags only the one put on last counts."""
    world = desk.world
    openid = world.create_followers(1)[0]
    desk.post("/cgi-bin/menu/create", {"button": [CLICK]})
    first = desk.post("/cgi-bin/tags/create", {"tag": {"name": "一"}})["tag"]["id"]
    second = desk.post("/cgi-bin/tags/create", {"tag": {"name": "二"}})["tag"]["id"]
    conditional(desk, {"tag_id": str(first)}, CLICK | {"name": "first"})
    conditional(desk, {"tag_id": str(second)}, CLICK | {"name": "second"})

    def seen():
        return desk.post("/cgi-bin/menu/trymatch", {"user_id": openid})["button"][0]["name"]

    def put(tag):
        desk.post("/cgi-bin/tags/members/batchtagging", {"tagid": tag, "openid_list": [openid]})

    assert seen() == "今日歌曲"
    put(second)
    assert seen() == "second"
    put(first)
    assert seen() == "first"
    put(second)
    assert seen() == "second"
    conditional(
        desk, {"client_platform_type": world.person_of(desk.account.users[openid]).platform}, CLICK | {"name": "p"}
    )
    assert seen() == "p"


def test_conditional_menus_in_menu_get_and_their_end(desk):
    """menu/get shows the rule's tag as group_id and the menuid as a number; deleting takes either spelling."""
    desk.post("/cgi-bin/menu/create", {"button": [CLICK]})
    menuid = conditional(desk, {"tag_id": "2"})["menuid"]
    shown = desk.get("/cgi-bin/menu/get")
    assert shown["conditionalmenu"][0]["matchrule"] == {"group_id": "2"}
    assert shown["conditionalmenu"][0]["menuid"] == int(menuid)
    assert "menuid" in shown["menu"]
    assert desk.post("/cgi-bin/menu/delconditional", {"menuid": menuid})["errcode"] == 0
    assert desk.post("/cgi-bin/menu/delconditional", {"menuid": menuid})["errcode"] == 65301
    conditional(desk, {"tag_id": "2"})
    desk.get("/cgi-bin/menu/delete")
    assert desk.account.conditional == []


def test_conditional_menus_lead_to_three_domains_at_most(desk):
    """A fourth outside domain over all conditional menus answers 65316."""
    desk.post("/cgi-bin/menu/create", {"button": [CLICK]})
    codes = [conditional(desk, {"tag_id": "2"}, VIEW | {"url": f"https://{n}.example/"}).get("errcode") for n in "abcd"]
    assert codes == [None, None, None, 65316]


def test_trymatch_refusals_and_wechat_id(desk):
    """Unknown users answer 65302, strangers 65315; a WeChat id works like an openid."""
    world = desk.world
    desk.post("/cgi-bin/menu/create", {"button": [CLICK]})
    follower, stranger = world.create_followers(1)[0], world.create_stranger()
    ask = lambda name: desk.post("/cgi-bin/menu/trymatch", {"user_id": name})  # noqa: E731
    assert (ask("nobody")["errcode"], ask(stranger)["errcode"]) == (65302, 65315)
    assert ask(world.person_of(desk.account.users[follower]).wechat_id) == ask(follower)


def test_tap_pushes_the_event_of_the_button(desk):
    """A tap on a click button gives CLICK with its key, on a view button VIEW with its url and the menu id."""
    world = desk.world
    openid = world.create_followers(1)[0]
    desk.post("/cgi-bin/menu/create", {"button": [CLICK, VIEW]})
    world.user_taps_menu(openid, "V1001")
    world.user_taps_menu(openid, "https://example.com/search")
    click, view = (push.fields for push in world.pushes(openid))
    assert (click["Event"], click["EventKey"]) == ("CLICK", "V1001")
    assert (view["Event"], view["EventKey"], "MenuId" in view) == ("VIEW", VIEW["url"], True)
    with pytest.raises(WorldError, match="no such menu button"):
        world.user_taps_menu(openid, "other")
