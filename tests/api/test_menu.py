"""Menus: what is checked, what goes out, and all the shapes in which menus come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp.api.menu import (
    ButtonType,
    ClientPlatform,
    ConditionalMenu,
    CurrentMenu,
    MatchRule,
    Menu,
    MenuAPI,
    MenuArticle,
    MenuButton,
    Menus,
)
from wxmp.errors import (
    APIError,
    ArgumentError,
    BadStatusError,
    NotAuthorizedError,
    NotFoundError,
    RecipientError,
    ReplyError,
)

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

CREATE = "/cgi-bin/menu/create"
GET = "/cgi-bin/menu/get"
GET_CURRENT = "/cgi-bin/get_current_selfmenu_info"
DELETE = "/cgi-bin/menu/delete"
ADD = "/cgi-bin/menu/addconditional"
DELETE_CONDITIONAL = "/cgi-bin/menu/delconditional"
TRY_MATCH = "/cgi-bin/menu/trymatch"
OK = {"errcode": 0, "errmsg": "ok"}
NO_MENU = {"errcode": 46003, "errmsg": "menu no exist"}
CLICK = MenuButton.click("今日歌曲", "V1001")
IOS = MatchRule(client_platform_type=ClientPlatform.IOS)


@pytest.fixture
def menu(caller: Caller) -> MenuAPI:
    """The family under test."""
    return MenuAPI(caller)


# ---- create: what goes out


async def test_create_sends_every_kind_of_button(platform: Platform, menu: MenuAPI) -> None:
    """Each constructor sends exactly the fields of its type; a sub menu has no type, a leaf no sub_button."""
    route = platform.answer("POST", CREATE, OK)
    everything = Menu(
        [
            MenuButton.sub_menu(
                "按键",
                [
                    MenuButton.click("点击", "K1"),
                    MenuButton.scancode_push("扫码", "K2"),
                    MenuButton.scancode_waitmsg("扫码等", "K3"),
                    MenuButton.location_select("位置", "K4"),
                    MenuButton.view("网页", "https://example.com/?a=1&b=2"),
                ],
            ),
            MenuButton.sub_menu(
                "图文",
                [
                    MenuButton.pic_sysphoto("拍照", "K5"),
                    MenuButton.pic_photo_or_album("相册", "K6"),
                    MenuButton.pic_weixin("微信相册", "K7"),
                    MenuButton.media("图片", "MEDIA1"),
                    MenuButton.view_limited("素材", "MEDIA2"),
                ],
            ),
            MenuButton.sub_menu(
                "其他",
                [
                    MenuButton.article("文章", "ART1"),
                    MenuButton.article_view_limited("看文章", "ART2"),
                    MenuButton.miniprogram("小程序", appid="wxMINI", pagepath="pages/a", url="http://mp.weixin.qq.com"),
                ],
            ),
        ]
    )
    await menu.create(everything)
    assert platform.params(route) == {}
    assert platform.body(route) == {
        "button": [
            {
                "name": "按键",
                "sub_button": [
                    {"type": "click", "name": "点击", "key": "K1"},
                    {"type": "scancode_push", "name": "扫码", "key": "K2"},
                    {"type": "scancode_waitmsg", "name": "扫码等", "key": "K3"},
                    {"type": "location_select", "name": "位置", "key": "K4"},
                    {"type": "view", "name": "网页", "url": "https://example.com/?a=1&b=2"},
                ],
            },
            {
                "name": "图文",
                "sub_button": [
                    {"type": "pic_sysphoto", "name": "拍照", "key": "K5"},
                    {"type": "pic_photo_or_album", "name": "相册", "key": "K6"},
                    {"type": "pic_weixin", "name": "微信相册", "key": "K7"},
                    {"type": "media_id", "name": "图片", "media_id": "MEDIA1"},
                    {"type": "view_limited", "name": "素材", "media_id": "MEDIA2"},
                ],
            },
            {
                "name": "其他",
                "sub_button": [
                    {"type": "article_id", "name": "文章", "article_id": "ART1"},
                    {"type": "article_view_limited", "name": "看文章", "article_id": "ART2"},
                    {
                        "type": "miniprogram",
                        "name": "小程序",
                        "appid": "wxMINI",
                        "pagepath": "pages/a",
                        "url": "http://mp.weixin.qq.com",
                    },
                ],
            },
        ]
    }


async def test_create_sends_raw_utf8(platform: Platform, menu: MenuAPI) -> None:
    r"""Chinese goes out as it is: the platform refuses \u escapes in menus (40033)."""
    route = platform.answer("POST", CREATE, OK)
    await menu.create([CLICK])
    assert "今日歌曲".encode() in platform.raw(route)
    assert b"\\u" not in platform.raw(route)


async def test_create_takes_plain_buttons(platform: Platform, menu: MenuAPI) -> None:
    """Buttons alone make a menu; any iterable will do."""
    route = platform.answer("POST", CREATE, OK)
    await menu.create(iter([CLICK]))
    assert platform.body(route) == {"button": [{"type": "click", "name": "今日歌曲", "key": "V1001"}]}


async def test_create_sends_fields_it_does_not_know(platform: Platform, menu: MenuAPI) -> None:
    """What a user puts into extra goes out, on the menu, a button and a sub-button."""
    route = platform.answer("POST", CREATE, OK)
    sub = MenuButton("b", "click", key="K", extra={"c": 3})
    await menu.create(Menu([MenuButton("a", sub_button=[sub], extra={"b": 2})], extra={"a": 1}))
    assert platform.body(route) == {
        "a": 1,
        "button": [{"b": 2, "name": "a", "sub_button": [{"c": 3, "type": "click", "name": "b", "key": "K"}]}],
    }


async def test_create_refuses_half_a_character(platform: Platform, menu: MenuAPI) -> None:
    """A text that has no UTF-8 form is an ArgumentError like any other, and not a UnicodeEncodeError."""
    with pytest.raises(ArgumentError) as caught:
        await menu.create([MenuButton.click("\ud83d", "k")])
    assert caught.value.errcode == 47001


async def test_create_is_repeated(platform: Platform, menu: MenuAPI) -> None:
    """Replacing a menu by the same one does no harm, so an unknown outcome is resolved by another attempt."""
    route = platform.answer("POST", CREATE, httpx.Response(502), OK)
    await menu.create([CLICK])
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (40016, ArgumentError),
        (40033, ArgumentError),
        (40055, ArgumentError),
        (40007, NotFoundError),
        (53600, NotFoundError),
        (45064, NotAuthorizedError),
        (48001, NotAuthorizedError),
        (65319, NotAuthorizedError),
    ],
)
async def test_create_errors(platform: Platform, menu: MenuAPI, code: int, error: type[APIError]) -> None:
    """What the platform refuses has the class of its cause."""
    platform.answer("POST", CREATE, {"errcode": code, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await menu.create([CLICK])
    assert caught.value.errcode == code


# ---- create: what is checked


def deep(button: MenuButton) -> MenuButton:
    """Return a sub menu with one good button and ``button``."""
    return MenuButton.sub_menu("sub", [CLICK, button])


def long_url(size: int) -> str:
    """Return an address of that many bytes."""
    return "https://e.cn/".ljust(size, "a")


@pytest.mark.parametrize(
    "button",
    [
        MenuButton.click("a" * 16, "k" * 128),
        MenuButton.click("五个汉字啊", "键" * 42),
        MenuButton.view("v", long_url(1024)),
        MenuButton.view("v", "HTTPS://例子.cn/"),
        MenuButton.sub_menu("sub", [CLICK] * 5),
        deep(MenuButton.click("a" * 60, "k")),
        deep(MenuButton.click("汉" * 20, "k")),
    ],
)
async def test_what_just_fits_goes_out(platform: Platform, menu: MenuAPI, button: MenuButton) -> None:
    """A value at its limit is sent."""
    route = platform.answer("POST", CREATE, OK)
    await menu.create([CLICK, CLICK, button])
    assert len(platform.body(route)["button"]) == 3


SUB = "button[1].sub_button[1]"


@pytest.mark.parametrize(
    ("buttons", "code", "field"),
    [
        ([], 40016, "button"),
        ([CLICK] * 4, 40016, "button"),
        (["click"], 40017, "button[0]"),
        ([{"name": "a"}], 40017, "button[0]"),
        ([MenuButton.click("", "k")], 40018, "button[0].name"),
        ([MenuButton.click(" ", "k")], 40018, "button[0].name"),
        ([CLICK, MenuButton.click("a" * 17, "k")], 40018, "button[1].name"),
        ([MenuButton.click("六个汉字太长", "k")], 40018, "button[0].name"),
        ([MenuButton("a")], 65308, "button[0].type"),
        ([MenuButton.sub_menu("a", [])], 65308, "button[0].type"),
        ([MenuButton("a", "cilck", key="k")], 40017, "button[0].type"),
        ([MenuButton("a", "text", value="hello")], 40017, "button[0].type"),
        ([MenuButton("a", "click", key="k", sub_button=[CLICK])], 40017, "button[0].type"),
        ([MenuButton("a", "click")], 40019, "button[0].key"),
        ([MenuButton.click("a", "")], 40019, "button[0].key"),
        ([MenuButton.click("a", "k" * 129)], 40019, "button[0].key"),
        ([MenuButton.click("a", "键" * 43)], 40019, "button[0].key"),
        ([MenuButton("a", "view")], 40020, "button[0].url"),
        ([MenuButton.view("a", "")], 40020, "button[0].url"),
        ([MenuButton.view("a", long_url(1025))], 40020, "button[0].url"),
        ([MenuButton.view("a", "example.com")], 65317, "button[0].url"),
        ([MenuButton.view("a", "javascript:alert(1)")], 65317, "button[0].url"),
        ([MenuButton.view("a", "https://")], 65317, "button[0].url"),
        ([MenuButton.view("a", "https://[")], 65317, "button[0].url"),
        ([MenuButton.media("a", "")], 40007, "button[0].media_id"),
        ([MenuButton("a", "view_limited")], 40007, "button[0].media_id"),
        ([MenuButton.article("a", "")], 53600, "button[0].article_id"),
        ([MenuButton("a", "article_view_limited")], 53600, "button[0].article_id"),
        ([MenuButton("a", "miniprogram", appid="wx", pagepath="p")], 40020, "button[0].url"),
        ([MenuButton.miniprogram("a", appid="wx", pagepath="p", url="pages/x")], 65317, "button[0].url"),
        ([MenuButton.miniprogram("a", appid="", pagepath="p", url="https://e.cn")], 40166, "button[0].appid"),
        ([MenuButton.miniprogram("a", appid="wx", pagepath="", url="https://e.cn")], 40165, "button[0].pagepath"),
        ([MenuButton.sub_menu("sub", [CLICK] * 6)], 40023, "button[0].sub_button"),
        ([MenuButton.sub_menu("a" * 17, [CLICK])], 40018, "button[0].name"),
        ([CLICK, deep(MenuButton.sub_menu("c", [CLICK]))], 40022, f"{SUB}.sub_button"),
        ([CLICK, MenuButton("s", sub_button=[CLICK, "x"])], 40024, SUB),  # type: ignore[list-item]
        ([CLICK, deep(MenuButton.click("", "k"))], 40025, f"{SUB}.name"),
        ([CLICK, deep(MenuButton.click("a" * 61, "k"))], 40025, f"{SUB}.name"),
        ([CLICK, deep(MenuButton("a"))], 65308, f"{SUB}.type"),
        ([CLICK, deep(MenuButton("a", "news"))], 40024, f"{SUB}.type"),
        ([CLICK, deep(MenuButton("a", "new_type"))], 40024, f"{SUB}.type"),
        ([CLICK, deep(MenuButton.click("a", "k" * 129))], 40026, f"{SUB}.key"),
        ([CLICK, deep(MenuButton.view("a", long_url(1025)))], 40027, f"{SUB}.url"),
        ([CLICK, deep(MenuButton.view("a", "/path"))], 65317, f"{SUB}.url"),
    ],
)
@pytest.mark.parametrize("conditional", [False, True], ids=["create", "add_conditional"])
async def test_what_does_not_fit_is_not_sent(
    platform: Platform, menu: MenuAPI, buttons: list[MenuButton], code: int, field: str, conditional: bool
) -> None:
    """Every rule of the platform that can be checked is checked, with the platform's code and the button's path."""
    with pytest.raises(ArgumentError) as caught:
        await (menu.add_conditional(buttons, matchrule=IOS) if conditional else menu.create(buttons))
    assert (caught.value.errcode, caught.value.field) == (code, field)
    assert caught.value.endpoint == f"POST {ADD if conditional else CREATE}"
    assert caught.value.errmsg


@pytest.mark.parametrize("kind", [member for member in ButtonType if member.value not in ("view", "miniprogram")])
async def test_a_type_alone_is_not_enough(platform: Platform, menu: MenuAPI, kind: ButtonType) -> None:
    """No type goes out without the field it needs."""
    with pytest.raises(ArgumentError):
        await menu.create([MenuButton("a", kind)])


def test_the_error_says_what_to_do() -> None:
    """An error names the place, the problem and the platform's code in one line."""
    error = ArgumentError(errcode=40018, errmsg="has 18 bytes", endpoint=f"POST {CREATE}", field="button[0].name")
    assert str(error) == (
        "POST /cgi-bin/menu/create: button[0].name: has 18 bytes (not sent; the platform would answer 40018)"
    )


# ---- get


async def test_get_reads_every_field(platform: Platform, menu: MenuAPI) -> None:
    """Default and conditional menus come back as records, ids as text whatever they were, the empty lists gone."""
    route = platform.answer(
        "GET",
        GET,
        {
            "menu": {
                "button": [
                    {"type": "click", "name": "今日歌曲", "key": "V1001", "sub_button": []},
                    {
                        "name": "菜单",
                        "sub_button": [
                            {
                                "type": "miniprogram",
                                "name": "小程序",
                                "url": "http://mp.weixin.qq.com",
                                "appid": "wxMINI",
                                "pagepath": "pages/a",
                                "sub_button": [],
                            },
                            {"type": "hologram", "name": "新", "beam": 7, "sub_button": []},
                            {"type": "media_id", "name": "图", "media_id": "M1", "sub_button": []},
                            {"type": "article_id", "name": "文", "article_id": "A1", "sub_button": []},
                        ],
                    },
                ],
                "menuid": 208396938,
            },
            "conditionalmenu": [
                {
                    "button": [{"type": "view", "name": "搜索", "url": "http://www.soso.com/", "sub_button": []}],
                    "matchrule": {"group_id": 2, "client_platform_type": 2},
                    "menuid": "208396993",
                },
                {
                    "button": [{"type": "click", "name": "a", "key": "k", "sub_button": []}],
                    "matchrule": {"tag_id": "101", "sex": "1", "country": "中国", "province": "", "new": 1},
                    "menuid": 208396994,
                    "new": 2,
                },
            ],
            "new": 3,
        },
    )
    found = await menu.get()
    assert platform.params(route) == {}
    assert found == Menus(
        Menu(
            [
                CLICK,
                MenuButton.sub_menu(
                    "菜单",
                    [
                        MenuButton.miniprogram(
                            "小程序", appid="wxMINI", pagepath="pages/a", url="http://mp.weixin.qq.com"
                        ),
                        MenuButton("新", "hologram", extra={"beam": 7}),
                        MenuButton.media("图", "M1"),
                        MenuButton.article("文", "A1"),
                    ],
                ),
            ],
            menu_id="208396938",
        ),
        (
            ConditionalMenu(
                (MenuButton.view("搜索", "http://www.soso.com/"),),
                MatchRule(tag_id=2, client_platform_type=ClientPlatform.ANDROID),
                "208396993",
            ),
            ConditionalMenu(
                (MenuButton.click("a", "k"),),
                MatchRule(tag_id=101, sex="1", country="中国", extra={"new": 1}),
                "208396994",
                extra={"new": 2},
            ),
        ),
        extra={"new": 3},
    )
    assert found.menu.button[0].type is ButtonType.CLICK
    assert found.conditionalmenu[0].matchrule.client_platform_type is ClientPlatform.ANDROID


async def test_get_without_conditional_menus(platform: Platform, menu: MenuAPI) -> None:
    """Without conditional menus the default one has no id."""
    platform.answer("GET", GET, {"menu": {"button": [{"type": "click", "name": "今日歌曲", "key": "V1001"}]}})
    assert await menu.get() == Menus(Menu([CLICK]))


async def test_get_of_no_menu(platform: Platform, menu: MenuAPI) -> None:
    """No menu is None and not an error."""
    platform.answer("GET", GET, NO_MENU)
    assert await menu.get() is None


@pytest.mark.parametrize(
    "reply",
    [
        OK,
        {"menu": {"menuid": 1}},
        {"menu": {"button": [{"type": "click"}]}},
        {"menu": {"button": {}}},
        {"menu": {"button": []}, "conditionalmenu": [{"button": [], "matchrule": {}}]},
        {"menu": {"button": []}, "conditionalmenu": ["x"]},
    ],
)
async def test_get_without_a_documented_field(platform: Platform, menu: MenuAPI, reply: dict[str, Any]) -> None:
    """An answer that lacks a documented part, or has another shape, is a ReplyError."""
    platform.answer("GET", GET, reply)
    with pytest.raises(ReplyError) as caught:
        await menu.get()
    assert caught.value.endpoint == f"GET {GET}"


async def test_what_get_returns_can_be_created_again(platform: Platform, menu: MenuAPI) -> None:
    """A menu goes round: read, sent back, the same fields without the empty lists and the id."""
    buttons: list[dict[str, Any]] = [
        {"type": "click", "name": "今日歌曲", "key": "V1001"},
        {"name": "菜单", "sub_button": [{"type": "view", "name": "搜索", "url": "http://www.soso.com/"}]},
    ]
    shown = [
        {**buttons[0], "sub_button": []},
        {"name": "菜单", "sub_button": [{**buttons[1]["sub_button"][0], "sub_button": []}]},
    ]
    platform.answer("GET", GET, {"menu": {"button": shown, "menuid": 5}})
    route = platform.answer("POST", CREATE, OK)
    found = await menu.get()
    assert found is not None
    await menu.create(found.menu)
    assert platform.body(route) == {"button": buttons}


async def test_a_conditional_menu_can_be_added_again(platform: Platform, menu: MenuAPI) -> None:
    """There is no edit: what get returned for a conditional menu can be added as a new one."""
    button = {"type": "click", "name": "a", "key": "k"}
    platform.answer(
        "GET",
        GET,
        {
            "menu": {"button": [button]},
            "conditionalmenu": [{"button": [button], "matchrule": {"group_id": "2"}, "menuid": 7}],
        },
    )
    route = platform.answer("POST", ADD, {"menuid": "8"})
    found = await menu.get()
    assert found is not None
    old = found.conditionalmenu[0]
    assert await menu.add_conditional(old.button, matchrule=old.matchrule) == "8"
    assert platform.body(route) == {"button": [button], "matchrule": {"tag_id": "2"}}


# ---- get_current


async def test_get_current_of_an_api_menu(platform: Platform, menu: MenuAPI) -> None:
    """A menu set by API comes back as it was, its sub-buttons out of their wrapper."""
    route = platform.answer(
        "GET",
        GET_CURRENT,
        {
            "is_menu_open": 1,
            "selfmenu_info": {
                "button": [
                    {"type": "click", "name": "今日歌曲", "key": "V1001"},
                    {
                        "name": "菜单",
                        "sub_button": {
                            "list": [{"type": "view", "name": "搜索", "url": "http://www.soso.com/", "new": 1}]
                        },
                    },
                ]
            },
            "new": 2,
        },
    )
    found = await menu.get_current()
    assert platform.params(route) == {}
    search = MenuButton("搜索", "view", url="http://www.soso.com/", extra={"new": 1})
    assert found == CurrentMenu(
        is_menu_open=True,
        selfmenu_info=Menu([CLICK, MenuButton.sub_menu("菜单", [search])]),
        extra={"new": 2},
    )


async def test_get_current_of_a_console_menu(platform: Platform, menu: MenuAPI) -> None:
    """A menu made in the console has its own types, values and articles, on both levels."""
    article = {
        "title": "MULTI_NEWS",
        "author": "JIMZHENG",
        "digest": "text",
        "show_cover": 1,
        "cover_url": "http://mmbiz.qpic.cn/0",
        "content_url": "http://mp.weixin.qq.com/s?idx=1",
        "source_url": "",
        "new": 1,
    }
    platform.answer(
        "GET",
        GET_CURRENT,
        {
            "is_menu_open": 1,
            "selfmenu_info": {
                "button": [
                    {"type": "text", "name": "文字", "value": "This is text!"},
                    {
                        "name": "button",
                        "sub_button": {
                            "list": [
                                {"type": "img", "name": "图", "value": "MEDIA"},
                                {"type": "photo", "name": "照片", "value": "MEDIA"},
                                {"type": "video", "name": "视频", "value": "http://61.182.130.30/vweixinp"},
                                {"type": "voice", "name": "语音", "value": "MEDIA"},
                            ]
                        },
                    },
                    {"type": "news", "name": "图文", "value": "NEWS", "news_info": {"list": [article]}},
                ]
            },
        },
    )
    found = await menu.get_current()
    assert found.selfmenu_info is not None
    text, sub_menu, news = found.selfmenu_info.button
    assert text == MenuButton("文字", ButtonType.TEXT, value="This is text!")
    assert [button.type for button in sub_menu.sub_button] == ["img", "photo", "video", "voice"]
    assert all(isinstance(button.type, ButtonType) for button in sub_menu.sub_button)
    assert news == MenuButton(
        "图文",
        ButtonType.NEWS,
        value="NEWS",
        news_info=[
            MenuArticle(
                "MULTI_NEWS",
                author="JIMZHENG",
                digest="text",
                show_cover=True,
                cover_url="http://mmbiz.qpic.cn/0",
                content_url="http://mp.weixin.qq.com/s?idx=1",
                source_url="",
                extra={"new": 1},
            )
        ],
    )


async def test_get_current_of_articles_in_a_sub_menu(platform: Platform, menu: MenuAPI) -> None:
    """Articles come out of their wrapper on the second level too."""
    news = {"type": "news", "name": "图文", "value": "NEWS", "news_info": {"list": [{"title": "T", "show_cover": 0}]}}
    buttons = [{"name": "菜单", "sub_button": {"list": [news]}}]
    platform.answer("GET", GET_CURRENT, {"is_menu_open": 1, "selfmenu_info": {"button": buttons}})
    found = await menu.get_current()
    assert found.selfmenu_info is not None
    assert found.selfmenu_info.button[0].sub_button[0].news_info == (MenuArticle("T"),)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"is_menu_open": 0}, CurrentMenu(is_menu_open=False)),
        ({"is_menu_open": 0, "selfmenu_info": {"button": []}}, CurrentMenu(is_menu_open=False, selfmenu_info=Menu([]))),
        (
            {"is_menu_open": 1, "selfmenu_info": {"button": [{"name": "a", "sub_button": {}}]}},
            CurrentMenu(is_menu_open=True, selfmenu_info=Menu([MenuButton("a")])),
        ),
        (
            {"is_menu_open": 1, "selfmenu_info": {"button": [{"name": "a", "sub_button": []}]}},
            CurrentMenu(is_menu_open=True, selfmenu_info=Menu([MenuButton("a")])),
        ),
    ],
)
async def test_get_current_of_little(
    platform: Platform, menu: MenuAPI, reply: dict[str, Any], expected: CurrentMenu
) -> None:
    """A menu that is off, empty, or has empty wrappers is read without complaint."""
    platform.answer("GET", GET_CURRENT, reply)
    assert await menu.get_current() == expected


@pytest.mark.parametrize(
    "reply",
    [
        {"selfmenu_info": {"button": []}},
        {"is_menu_open": 1, "selfmenu_info": {"button": [{"type": "click"}]}},
        {"is_menu_open": 1, "selfmenu_info": {"button": ["x"]}},
        {"is_menu_open": 1, "selfmenu_info": []},
    ],
)
async def test_get_current_without_a_documented_field(platform: Platform, menu: MenuAPI, reply: dict[str, Any]) -> None:
    """An answer of another shape is a ReplyError."""
    platform.answer("GET", GET_CURRENT, reply)
    with pytest.raises(ReplyError):
        await menu.get_current()


# ---- delete


async def test_delete(platform: Platform, menu: MenuAPI) -> None:
    """Delete is a GET without parameters."""
    route = platform.answer("GET", DELETE, OK)
    await menu.delete()
    assert platform.params(route) == {}
    assert platform.raw(route) == b""


async def test_delete_of_no_menu(platform: Platform, menu: MenuAPI) -> None:
    """Deleting what is not there is a NotFoundError when it is the first answer."""
    platform.answer("GET", DELETE, NO_MENU)
    with pytest.raises(NotFoundError) as caught:
        await menu.delete()
    assert caught.value.errcode == 46003


async def test_delete_after_an_unknown_outcome(platform: Platform, menu: MenuAPI) -> None:
    """When an attempt before may have deleted the menu, "no menu" means done."""
    route = platform.answer("GET", DELETE, httpx.Response(502), NO_MENU)
    await menu.delete()
    assert route.call_count == 2


# ---- conditional menus


@pytest.mark.parametrize(
    ("rule", "wire"),
    [
        (MatchRule(tag_id=2), {"tag_id": "2"}),
        (MatchRule(tag_id=0), {"tag_id": "0"}),
        (MatchRule(client_platform_type=ClientPlatform.ANDROID), {"client_platform_type": "2"}),
        (MatchRule(client_platform_type="3"), {"client_platform_type": "3"}),
        (
            MatchRule(tag_id=101, client_platform_type=ClientPlatform.IOS),
            {"tag_id": "101", "client_platform_type": "1"},
        ),
        (MatchRule(extra={"future": "x"}), {"future": "x"}),
        (MatchRule(tag_id=2, sex="", country=""), {"tag_id": "2"}),
    ],
)
async def test_add_conditional(platform: Platform, menu: MenuAPI, rule: MatchRule, wire: dict[str, str]) -> None:
    """A rule goes out as texts, without empty conditions, beside the buttons."""
    route = platform.answer("POST", ADD, {"menuid": "208379533"})
    assert await menu.add_conditional([CLICK], matchrule=rule) == "208379533"
    assert platform.params(route) == {}
    assert platform.body(route) == {
        "button": [{"type": "click", "name": "今日歌曲", "key": "V1001"}],
        "matchrule": wire,
    }


async def test_add_conditional_with_an_old_answer(platform: Platform, menu: MenuAPI) -> None:
    """An id that comes as a number is the same text."""
    platform.answer("POST", ADD, {**OK, "menuid": 208379533})
    assert await menu.add_conditional(Menu([CLICK]), matchrule=IOS) == "208379533"


async def test_add_conditional_without_an_id(platform: Platform, menu: MenuAPI) -> None:
    """An answer without the id is a ReplyError."""
    platform.answer("POST", ADD, OK)
    with pytest.raises(ReplyError, match="menuid"):
        await menu.add_conditional([CLICK], matchrule=IOS)


async def test_add_conditional_is_not_repeated(platform: Platform, menu: MenuAPI) -> None:
    """Each success adds a menu, so an unknown outcome is reported and not tried again."""
    route = platform.answer("POST", ADD, httpx.Response(502))
    with pytest.raises(BadStatusError) as caught:
        await menu.add_conditional([CLICK], matchrule=IOS)
    assert caught.value.maybe_acted
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("rule", "code", "field"),
    [
        (MatchRule(), 65304, "matchrule"),
        (MatchRule(client_platform_type=""), 65304, "matchrule"),
        (MatchRule(tag_id=2, sex="1"), 65320, "matchrule.sex"),
        (MatchRule(country="中国"), 65320, "matchrule.country"),
        (MatchRule(province="广东"), 65320, "matchrule.province"),
        (MatchRule(city="广州"), 65320, "matchrule.city"),
        (MatchRule(language="zh_CN"), 65320, "matchrule.language"),
        (MatchRule(tag_id="vip"), 40035, "matchrule.tag_id"),  # type: ignore[arg-type]
        (MatchRule(tag_id=-1), 40035, "matchrule.tag_id"),
        (MatchRule(client_platform_type="4"), 40035, "matchrule.client_platform_type"),
    ],
)
async def test_rules_that_cannot_be(platform: Platform, menu: MenuAPI, rule: MatchRule, code: int, field: str) -> None:
    """An empty rule, a retired condition, an impossible value: found before sending."""
    with pytest.raises(ArgumentError) as caught:
        await menu.add_conditional([CLICK], matchrule=rule)
    assert (caught.value.errcode, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (65303, APIError),
        (65305, ArgumentError),
        (65306, NotAuthorizedError),
        (65309, NotAuthorizedError),
        (65316, ArgumentError),
        (65320, ArgumentError),
    ],
)
async def test_add_conditional_errors(platform: Platform, menu: MenuAPI, code: int, error: type[APIError]) -> None:
    """What the platform refuses has the class of its cause."""
    platform.answer("POST", ADD, {"errcode": code, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await menu.add_conditional([CLICK], matchrule=IOS)
    assert caught.value.errcode == code


@pytest.mark.parametrize("menu_id", ["208379533", 208379533])
async def test_delete_conditional(platform: Platform, menu: MenuAPI, menu_id: str | int) -> None:
    """The id goes out as text under the platform's name."""
    route = platform.answer("POST", DELETE_CONDITIONAL, OK)
    await menu.delete_conditional(menu_id)
    assert platform.body(route) == {"menuid": "208379533"}
    assert platform.params(route) == {}


@pytest.mark.parametrize("menu_id", ["", None])
async def test_delete_conditional_needs_an_id(platform: Platform, menu: MenuAPI, menu_id: str) -> None:
    """A missing id is found before sending."""
    with pytest.raises(ArgumentError) as caught:
        await menu.delete_conditional(menu_id)
    assert (caught.value.errcode, caught.value.field) == (65301, "menu_id")


async def test_delete_conditional_of_nothing(platform: Platform, menu: MenuAPI) -> None:
    """An unknown id is a NotFoundError when it is the first answer."""
    platform.answer("POST", DELETE_CONDITIONAL, {"errcode": 65301, "errmsg": "no"})
    with pytest.raises(NotFoundError):
        await menu.delete_conditional("1")


async def test_delete_conditional_after_an_unknown_outcome(platform: Platform, menu: MenuAPI) -> None:
    """When an attempt before may have deleted the menu, "unknown" means done."""
    route = platform.answer("POST", DELETE_CONDITIONAL, httpx.Response(502), {"errcode": 65301, "errmsg": "no"})
    await menu.delete_conditional("1")
    assert route.call_count == 2


# ---- try_match

MATCHED = {"button": [{"type": "click", "name": "今日歌曲", "key": "V1001", "sub_button": []}]}


@pytest.mark.parametrize("reply", [MATCHED, {**OK, **MATCHED}, {"menu": MATCHED}])
async def test_try_match(platform: Platform, menu: MenuAPI, reply: dict[str, Any]) -> None:
    """The matched menu is read from the present answer and from the older, wrapped one."""
    route = platform.answer("POST", TRY_MATCH, reply)
    assert await menu.try_match("weixin") == Menu([CLICK])
    assert platform.body(route) == {"user_id": "weixin"}
    assert platform.params(route) == {}


async def test_try_match_without_a_menu(platform: Platform, menu: MenuAPI) -> None:
    """An answer without buttons is a ReplyError."""
    platform.answer("POST", TRY_MATCH, OK)
    with pytest.raises(ReplyError, match="button"):
        await menu.try_match("weixin")


async def test_try_match_needs_a_user(platform: Platform, menu: MenuAPI) -> None:
    """Nobody is found before sending."""
    with pytest.raises(ArgumentError) as caught:
        await menu.try_match("")
    assert (caught.value.errcode, caught.value.field) == (65302, "user_id")


@pytest.mark.parametrize(("code", "error"), [(65302, NotFoundError), (65315, RecipientError)])
async def test_try_match_errors(platform: Platform, menu: MenuAPI, code: int, error: type[APIError]) -> None:
    """A user who does not exist and one who does not follow are different errors."""
    platform.answer("POST", TRY_MATCH, {"errcode": code, "errmsg": "no"})
    with pytest.raises(error):
        await menu.try_match("weixin")
