"""Custom menus: the default one and those for some users (自定义菜单)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, JsonValue, check_record, decode, encode, wire
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import LARGEST, check_digits, check_list, check_text, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ButtonType",
    "ClientPlatform",
    "ConditionalMenu",
    "CurrentMenu",
    "MatchRule",
    "Menu",
    "MenuAPI",
    "MenuArticle",
    "MenuButton",
    "Menus",
]

#: The platform's code for "no menu".
NO_MENU: Final = 46003

CREATE: Final = Endpoint("POST", "/cgi-bin/menu/create", repeatable=True)
GET_CURRENT: Final = Endpoint("GET", "/cgi-bin/get_current_selfmenu_info", repeatable=True)
GET: Final = Endpoint("GET", "/cgi-bin/menu/get", repeatable=True, accepted_codes=frozenset({NO_MENU}))
DELETE: Final = Endpoint("GET", "/cgi-bin/menu/delete", repeatable=True, done_codes=frozenset({NO_MENU}))
ADD_CONDITIONAL: Final = Endpoint("POST", "/cgi-bin/menu/addconditional", repeatable=False)
DELETE_CONDITIONAL: Final = Endpoint(
    "POST", "/cgi-bin/menu/delconditional", repeatable=True, done_codes=frozenset({65301})
)
TRY_MATCH: Final = Endpoint("POST", "/cgi-bin/menu/trymatch", repeatable=True)

TOP_BUTTONS: Final = 3
SUB_BUTTONS: Final = 5
#: Bytes in UTF-8.
KEY_BYTES: Final = 128
URL_BYTES: Final = 1024


class ButtonType(StrEnum):
    """What a tap on a menu button does (菜单的响应动作类型)."""

    CLICK = "click"
    VIEW = "view"
    SCANCODE_PUSH = "scancode_push"
    SCANCODE_WAITMSG = "scancode_waitmsg"
    PIC_SYSPHOTO = "pic_sysphoto"
    PIC_PHOTO_OR_ALBUM = "pic_photo_or_album"
    PIC_WEIXIN = "pic_weixin"
    LOCATION_SELECT = "location_select"
    MEDIA_ID = "media_id"
    VIEW_LIMITED = "view_limited"
    MINIPROGRAM = "miniprogram"
    ARTICLE_ID = "article_id"
    ARTICLE_VIEW_LIMITED = "article_view_limited"
    #: Made by hand in the console; a menu that is created cannot have them, nor the five below.
    TEXT = "text"
    IMG = "img"
    PHOTO = "photo"
    VIDEO = "video"
    VOICE = "voice"
    NEWS = "news"


class ClientPlatform(StrEnum):
    """The system of a user's WeChat (客户端版本)."""

    IOS = "1"
    ANDROID = "2"
    OTHER = "3"


_TYPES: Final[dict[str | None, ButtonType]] = {member.value: member for member in ButtonType}
_PLATFORMS: Final[dict[str | None, ClientPlatform]] = {member.value: member for member in ClientPlatform}

_CONSOLE_TYPES: Final = frozenset(
    {ButtonType.TEXT, ButtonType.IMG, ButtonType.PHOTO, ButtonType.VIDEO, ButtonType.VOICE, ButtonType.NEWS}
)
_KEY_TYPES: Final = frozenset(
    {
        ButtonType.CLICK,
        ButtonType.SCANCODE_PUSH,
        ButtonType.SCANCODE_WAITMSG,
        ButtonType.PIC_SYSPHOTO,
        ButtonType.PIC_PHOTO_OR_ALBUM,
        ButtonType.PIC_WEIXIN,
        ButtonType.LOCATION_SELECT,
    }
)
_URL_TYPES: Final = frozenset({ButtonType.VIEW, ButtonType.MINIPROGRAM})
_MEDIA_TYPES: Final = frozenset({ButtonType.MEDIA_ID, ButtonType.VIEW_LIMITED})
_ARTICLE_TYPES: Final = frozenset({ButtonType.ARTICLE_ID, ButtonType.ARTICLE_VIEW_LIMITED})


class _Level(NamedTuple):
    """The limits of one menu level and the codes of the platform for breaking them."""

    name_bytes: int
    name: int
    type: int
    key: int
    url: int


#: Characters of a wrong value that an error repeats.
SHOWN: Final = 40

_TOP: Final = _Level(name_bytes=16, name=40018, type=40017, key=40019, url=40020)
_SUB: Final = _Level(name_bytes=60, name=40025, type=40024, key=40026, url=40027)


def _known_type(value: str | None) -> str | None:
    return _TYPES.get(value, value)


def _known_platform(value: str | None) -> str | None:
    return _PLATFORMS.get(value, value)


def _buttons(value: Iterable[MenuButton]) -> tuple[MenuButton, ...]:
    return tuple(value)


def _articles(value: Iterable[MenuArticle]) -> tuple[MenuArticle, ...]:
    return tuple(value)


@attrs.frozen
class MenuArticle:
    """One article behind a ``news`` button of the console (图文消息)."""

    title: str
    author: str | None = None
    digest: str | None = None
    #: Whether the cover is shown in the text.
    show_cover: bool = False
    cover_url: str | None = None
    #: The article itself.
    content_url: str | None = None
    #: Where "read more" leads.
    source_url: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MenuButton:
    """A menu button: it does something, or opens a sub menu (菜单按钮).

    Make one with :meth:`click`, :meth:`view`, :meth:`sub_menu` and so on: they ask for what the type needs. Captions
    have at most 16 bytes on the first level (5 Chinese characters) and 60 in a sub menu (20); phones show the first 4
    or 8 Chinese characters.
    """

    #: The caption.
    name: str
    #: A :class:`ButtonType`, or the platform's text where this version does not know it; absent above a sub menu.
    type: str | None = attrs.field(default=None, converter=_known_type)
    #: At most 128 bytes; comes back in the event.
    key: str | None = None
    #: At most 1024 bytes: the page, or for a mini program the page for clients too old for it.
    url: str | None = None
    #: Id of permanent material. Articles are no longer accepted here: use ``article_id``.
    media_id: str | None = None
    #: AppID of a mini program.
    appid: str | None = None
    #: Page of a mini program.
    pagepath: str | None = None
    #: Id of a published article.
    article_id: str | None = None
    #: The sub menu, 1 to 5 buttons; empty below a button that does something.
    sub_button: tuple[MenuButton, ...] = attrs.field(default=(), converter=_buttons)
    #: Menus of the console only: the text, media id (temporary, another one each time) or video link.
    value: str | None = None
    #: Menus of the console only: the articles of a ``news`` button.
    news_info: tuple[MenuArticle, ...] = attrs.field(default=(), converter=_articles)
    #: Fields this version does not know; they are sent.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)

    @classmethod
    def click(cls, name: str, key: str) -> MenuButton:
        """Push a ``CLICK`` event with ``key`` (点击推事件). Opens a customer-service window of a minute."""
        return cls(name, ButtonType.CLICK, key=key)

    @classmethod
    def view(cls, name: str, url: str) -> MenuButton:
        """Open a page (跳转URL)."""
        return cls(name, ButtonType.VIEW, url=url)

    @classmethod
    def scancode_push(cls, name: str, key: str) -> MenuButton:
        """Scan a code, show what it says, and push it (扫码推事件). Opens a customer-service window of a minute."""
        return cls(name, ButtonType.SCANCODE_PUSH, key=key)

    @classmethod
    def scancode_waitmsg(cls, name: str, key: str) -> MenuButton:
        """Scan a code, push it, and wait for your answer (扫码带提示). Opens a customer-service window of a minute."""
        return cls(name, ButtonType.SCANCODE_WAITMSG, key=key)

    @classmethod
    def pic_sysphoto(cls, name: str, key: str) -> MenuButton:
        """Take a photo and send it (系统拍照发图)."""
        return cls(name, ButtonType.PIC_SYSPHOTO, key=key)

    @classmethod
    def pic_photo_or_album(cls, name: str, key: str) -> MenuButton:
        """Take a photo or choose one, and send it (拍照或者相册发图)."""
        return cls(name, ButtonType.PIC_PHOTO_OR_ALBUM, key=key)

    @classmethod
    def pic_weixin(cls, name: str, key: str) -> MenuButton:
        """Choose a photo from WeChat's album and send it (微信相册发图)."""
        return cls(name, ButtonType.PIC_WEIXIN, key=key)

    @classmethod
    def location_select(cls, name: str, key: str) -> MenuButton:
        """Choose a place and send it (发送位置)."""
        return cls(name, ButtonType.LOCATION_SELECT, key=key)

    @classmethod
    def media(cls, name: str, media_id: str) -> MenuButton:
        """Send permanent material: a picture, voice or video (下发消息, ``media_id``)."""
        return cls(name, ButtonType.MEDIA_ID, media_id=media_id)

    @classmethod
    def view_limited(cls, name: str, media_id: str) -> MenuButton:
        """Open permanent material (跳转图文消息, ``view_limited``); for articles use :meth:`article_view_limited`."""
        return cls(name, ButtonType.VIEW_LIMITED, media_id=media_id)

    @classmethod
    def article(cls, name: str, article_id: str) -> MenuButton:
        """Send the card of a published article (发布后的图文消息, ``article_id``)."""
        return cls(name, ButtonType.ARTICLE_ID, article_id=article_id)

    @classmethod
    def article_view_limited(cls, name: str, article_id: str) -> MenuButton:
        """Open a published article (发布后的图文消息, ``article_view_limited``)."""
        return cls(name, ButtonType.ARTICLE_VIEW_LIMITED, article_id=article_id)

    @classmethod
    def miniprogram(cls, name: str, *, appid: str, pagepath: str, url: str) -> MenuButton:
        """Open a mini program that is linked to the account (小程序).

        Args:
            name: The caption.
            appid: The mini program's AppID.
            pagepath: Its page.
            url: The page for clients too old for mini programs.
        """
        return cls(name, ButtonType.MINIPROGRAM, appid=appid, pagepath=pagepath, url=url)

    @classmethod
    def sub_menu(cls, name: str, buttons: Iterable[MenuButton]) -> MenuButton:
        """Open a sub menu of 1 to 5 buttons (二级菜单)."""
        return cls(name, sub_button=buttons)


@attrs.frozen
class Menu:
    """A menu of 1 to 3 buttons (菜单)."""

    button: tuple[MenuButton, ...] = attrs.field(converter=_buttons)
    #: Present in answers once there are conditional menus; not sent.
    menu_id: str | None = attrs.field(default=None, metadata=wire("menuid"))
    #: Fields this version does not know; they are sent.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MatchRule:
    """Who sees a conditional menu (个性化菜单的匹配规则): all conditions that are present must hold."""

    #: Users with this tag; of several tags the one put on last counts.
    tag_id: int | None = None
    #: A :class:`ClientPlatform`.
    client_platform_type: str | None = attrs.field(default=None, converter=_known_platform)
    #: Retired (65320): a menu whose rule has it matches nobody.
    sex: str | None = None
    #: Retired (65320): a menu whose rule has it matches nobody.
    country: str | None = None
    #: Retired (65320): a menu whose rule has it matches nobody.
    province: str | None = None
    #: Retired (65320): a menu whose rule has it matches nobody.
    city: str | None = None
    #: Retired (65320): a menu whose rule has it matches nobody.
    language: str | None = None
    #: Fields this version does not know; they are sent.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class ConditionalMenu:
    """A menu for some users (个性化菜单)."""

    button: tuple[MenuButton, ...]
    matchrule: MatchRule
    menu_id: str = attrs.field(metadata=wire("menuid"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Menus:
    """All menus that were set by API (菜单信息)."""

    #: The default menu.
    menu: Menu
    #: The menus for some users; the newest is matched first.
    conditionalmenu: tuple[ConditionalMenu, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CurrentMenu:
    """The menu that users see, whoever set it (自定义菜单配置)."""

    #: Whether the menu is switched on.
    is_menu_open: bool
    #: The menu; absent if there never was one.
    selfmenu_info: Menu | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class MenuAPI:
    """Custom menus (自定义菜单): create, read, delete; and menus for some users (个性化菜单).

    Phones read a menu again when the chat is opened and their last look is more than 5 minutes old (older text: up to a
    day). Unfollow and follow to see a change at once.

    Verified accounts only, but for :meth:`get_current`; the others get 48001.
    """

    _call: Caller

    async def create(self, menu: Menu | Iterable[MenuButton]) -> None:
        """Create the default menu, or replace it as a whole (创建自定义菜单).

        Everything below is checked before sending; ``field`` of the error names the button, for example
        ``button[1].sub_button[0].name``. The platform allows 1000 calls a day (100 for a test account).

        Args:
            menu: The menu, or its 1 to 3 buttons.

        Raises:
            ArgumentError: The number of buttons (40016, 40023), levels (40022), a caption (40018, 40025), type (40017,
                40024), key (40019, 40026), url (40020, 40027, 65317), material (40007), article (53600), mini program
                (40165, 40166), or a button that does nothing (65308). And what only the platform can tell: the domain
                of a link (40054, 40055, 65317), a type that is not usable there (40119, 40120), material of a kind that
                ``view_limited`` does not take (40121), too many menus (45010), too many domains (65316). 40033, 47002
                and 65318 would be a mistake of this SDK: it sends plain UTF-8.
            NotFoundError: A ``media_id`` or ``article_id`` does not exist (40007, 53600).
            NotAuthorizedError: The account may not create menus (48001, 65319), or the mini program is not linked to it
                (45064).

        Source:
            POST /cgi-bin/menu/create - 自定义菜单 / 创建自定义菜单
        """
        await self._call(CREATE, json=_menu_payload(CREATE, menu))

    async def get_current(self) -> CurrentMenu:
        """Read the menu that users see, set by API or in the console (查询自定义菜单信息).

        A menu of the console has types and fields of its own: ``value``, ``news_info``. Every account may ask.

        Source:
            GET /cgi-bin/get_current_selfmenu_info - 自定义菜单 / 查询自定义菜单信息
        """
        reply = without_verdict(await self._call(GET_CURRENT))
        menu = reply.get("selfmenu_info")
        buttons = menu.get("button") if isinstance(menu, dict) else None
        if isinstance(menu, dict) and isinstance(buttons, list):
            reply["selfmenu_info"] = {**menu, "button": [_without_wrappers(button) for button in buttons]}
        return decode(CurrentMenu, reply, endpoint=GET_CURRENT.name)

    async def get(self) -> Menus | None:
        """Read the menus that were set by API, conditional ones included (获取自定义菜单配置).

        Returns:
            The menus, or ``None`` if there are none (46003). A menu made in the console is not visible here:
            :meth:`get_current` shows it. The platform allows 10 000 calls a day (1000 for a test account).

        Source:
            GET /cgi-bin/menu/get - 自定义菜单 / 获取自定义菜单配置
        """
        reply = await self._call(GET)
        if reply.get("errcode") == NO_MENU:
            return None
        reply = without_verdict(reply)
        conditional = reply.get("conditionalmenu")
        if isinstance(conditional, list):
            reply["conditionalmenu"] = [_with_plain_rule(menu) for menu in conditional]
        return decode(Menus, reply, endpoint=GET.name)

    async def delete(self) -> None:
        """Delete the default menu and every conditional menu with it (删除自定义菜单).

        Raises:
            NotFoundError: There is no menu (46003). Not raised when an attempt before it may have deleted the menu.

        Source:
            GET /cgi-bin/menu/delete - 自定义菜单 / 删除自定义菜单
        """
        await self._call(DELETE)

    async def add_conditional(self, menu: Menu | Iterable[MenuButton], *, matchrule: MatchRule) -> str:
        """Add a menu for the users that a rule fits (创建个性化菜单).

        There is no way to change one: add the new one, then delete the old one. The call is not repeated when its
        outcome is unknown, because each success adds a menu; :meth:`get` shows what is there. All conditional menus
        together may link to at most 3 domains. WeChat before 6.2.2 (iPhone) and 6.2.4 (Android) shows the default menu.
        The platform allows 2000 calls a day.

        Args:
            menu: The menu, or its 1 to 3 buttons; checked like :meth:`create`.
            matchrule: Who sees it: a tag, a client platform, or both.

        Returns:
            The ``menu_id`` of the new menu.

        Raises:
            ArgumentError: As :meth:`create`; the rule is empty (65304), has a retired condition (65320), or a value
                that cannot be (40035): all found before sending. Or too many domains (65316), too many menus (65305).
                65307 and 65310 to 65314 answer empty menus and retired conditions, which are not sent.
            APIError: There is no default menu yet (65303).
            NotAuthorizedError: The account may not use conditional menus (65306, 65309).

        Source:
            POST /cgi-bin/menu/addconditional - 自定义菜单 / 创建个性化菜单
        """
        payload = _menu_payload(ADD_CONDITIONAL, menu)
        payload["matchrule"] = _rule_payload(matchrule)
        reply = await self._call(ADD_CONDITIONAL, json=payload)
        return decode(str, field_of(reply, "menuid", ADD_CONDITIONAL), endpoint=ADD_CONDITIONAL.name)

    async def delete_conditional(self, menu_id: str | int) -> None:
        """Delete one conditional menu (删除个性化菜单).

        Args:
            menu_id: From :meth:`add_conditional` or :meth:`get`.

        Raises:
            ArgumentError: ``menu_id`` is empty (65301; found before sending).
            NotFoundError: No such conditional menu (65301). Not raised when an attempt before it may have deleted it.

        Source:
            POST /cgi-bin/menu/delconditional - 自定义菜单 / 删除个性化菜单
        """
        text = str(menu_id) if type(menu_id) is int and 0 < menu_id <= LARGEST else menu_id
        check_text(DELETE_CONDITIONAL, "menu_id", text, errcode=65301)
        await self._call(DELETE_CONDITIONAL, json={"menuid": text})

    async def try_match(self, user_id: str) -> Menu:
        """Find out which menu a user sees (测试个性化菜单匹配结果).

        Args:
            user_id: The openid or the WeChat id (微信号) of a follower. 20 000 questions a day.

        Returns:
            The menu, without its id and rule.

        Raises:
            ArgumentError: ``user_id`` is empty (65302; found before sending).
            NotFoundError: No such user (65302).
            RecipientError: The user does not follow (65315).

        Source:
            POST /cgi-bin/menu/trymatch - 自定义菜单 / 测试个性化菜单匹配结果
        """
        check_text(TRY_MATCH, "user_id", user_id, errcode=65302)
        reply = without_verdict(await self._call(TRY_MATCH, json={"user_id": user_id}))
        # Older answers wrap the buttons.
        return decode(Menu, reply.get("menu", reply), endpoint=TRY_MATCH.name)


def _without_wrappers(button: JsonValue) -> JsonValue:
    """Take the lists of a current menu out of their ``{"list": [...]}``, so that one record reads both shapes."""
    if not isinstance(button, dict):
        return button
    plain = dict(button)
    for name in ("sub_button", "news_info"):
        wrapper = plain.get(name)
        if isinstance(wrapper, dict):
            plain[name] = wrapper.get("list", [])
    subs = plain.get("sub_button")
    if isinstance(subs, list):
        plain["sub_button"] = [_without_wrappers(sub) for sub in subs]
    return plain


def _with_plain_rule(menu: JsonValue) -> JsonValue:
    """Give a rule its present spelling: the tag comes back as ``group_id``, absent conditions as empty texts."""
    given = menu.get("matchrule") if isinstance(menu, dict) else None
    if not isinstance(menu, dict) or not isinstance(given, dict):
        return menu
    rule: JsonObject = {name: value for name, value in given.items() if value not in ("", None)}
    if "group_id" in rule:
        rule.setdefault("tag_id", rule.pop("group_id"))
    return {**menu, "matchrule": rule}


def _menu_payload(endpoint: Endpoint, menu: Menu | Iterable[MenuButton]) -> JsonObject:
    """Check a menu and return it in wire form."""
    found = menu.button if isinstance(menu, Menu) else check_list(endpoint, "button", menu, errcode=40016)
    if not 1 <= len(found) <= TOP_BUTTONS:
        problem = f"has {len(found)} buttons; a menu has 1 to {TOP_BUTTONS}, more go into sub menus"
        raise refusal(endpoint, "button", 40016, problem)
    buttons = [_check_button(endpoint, f"button[{index}]", button, _TOP) for index, button in enumerate(found)]
    payload: JsonObject = {"button": [_button_payload(button) for button in buttons]}
    if isinstance(menu, Menu):
        check_record(menu)
        payload |= menu.extra
    return payload


def _button_payload(button: MenuButton) -> JsonObject:
    # A list the platform gave empty is not sent back: a button has either an action or a sub menu.
    payload: JsonObject = encode(attrs.evolve(button, sub_button=(), news_info=()))
    del payload["sub_button"], payload["news_info"]
    if button.sub_button:
        payload["sub_button"] = [_button_payload(sub) for sub in button.sub_button]
    return payload


def _check_button(endpoint: Endpoint, path: str, button: object, level: _Level) -> MenuButton:
    if not isinstance(button, MenuButton):
        raise refusal(endpoint, path, level.type, f"must be a MenuButton, not {type(button).__name__}")
    check_text(endpoint, f"{path}.name", button.name, errcode=level.name, max_bytes=level.name_bytes)
    if not button.sub_button:
        _check_leaf(endpoint, path, button, level)
        return button
    if level is _SUB:
        raise refusal(endpoint, f"{path}.sub_button", 40022, "a menu has two levels; move these buttons up")
    if button.type is not None:
        check_text(endpoint, f"{path}.type", button.type, errcode=level.type)
        problem = f"is {str(button.type)[:SHOWN]!r}, but the button opens a sub menu; leave one of the two out"
        raise refusal(endpoint, f"{path}.type", level.type, problem)
    if len(button.sub_button) > SUB_BUTTONS:
        problem = f"has {len(button.sub_button)} buttons; a sub menu has 1 to {SUB_BUTTONS}"
        raise refusal(endpoint, f"{path}.sub_button", 40023, problem)
    for index, sub in enumerate(button.sub_button):
        _check_button(endpoint, f"{path}.sub_button[{index}]", sub, _SUB)
    return button


def _check_leaf(endpoint: Endpoint, path: str, button: MenuButton, level: _Level) -> None:
    kind = button.type
    if not kind:
        raise refusal(endpoint, f"{path}.type", 65308, "the button does nothing; give it a type or a sub menu")
    check_text(endpoint, f"{path}.type", kind, errcode=level.type)
    if kind in _CONSOLE_TYPES:
        problem = f"{str(kind)!r} can only be made in the console; send a 'click' and answer its event"
        raise refusal(endpoint, f"{path}.type", level.type, problem)
    if kind not in _TYPES:
        raise refusal(endpoint, f"{path}.type", level.type, f"{kind[:SHOWN]!r} is no type of a button; see ButtonType")
    if kind in _KEY_TYPES:
        check_text(endpoint, f"{path}.key", button.key, errcode=level.key, max_bytes=KEY_BYTES)
    if kind in _URL_TYPES:
        check_text(endpoint, f"{path}.url", button.url, errcode=level.url, max_bytes=URL_BYTES)
        if not _is_web_address(str(button.url)):
            problem = "must be a whole address with http:// or https://"
            raise refusal(endpoint, f"{path}.url", 65317, problem)
    if kind in _MEDIA_TYPES:
        check_text(endpoint, f"{path}.media_id", button.media_id, errcode=40007)
    if kind in _ARTICLE_TYPES:
        check_text(endpoint, f"{path}.article_id", button.article_id, errcode=53600)
    if kind == ButtonType.MINIPROGRAM:
        check_text(endpoint, f"{path}.appid", button.appid, errcode=40166)
        check_text(endpoint, f"{path}.pagepath", button.pagepath, errcode=40165)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _rule_payload(rule: MatchRule) -> JsonObject:
    """Check a match rule and return it in wire form, where all values are texts."""
    if not isinstance(rule, MatchRule):
        raise refusal(ADD_CONDITIONAL, "matchrule", 65304, f"must be a MatchRule, not {type(rule).__name__}")
    for name in ("sex", "country", "province", "city", "language"):
        if getattr(rule, name):
            problem = "was retired for privacy; use tag_id or client_platform_type"
            raise refusal(ADD_CONDITIONAL, f"matchrule.{name}", 65320, problem)
    payload: JsonObject = {}
    if rule.tag_id is not None:
        problem = "must be the number of a tag"
        payload["tag_id"] = check_digits(
            ADD_CONDITIONAL, "matchrule.tag_id", rule.tag_id, errcode=40035, problem=problem
        )
    if rule.client_platform_type:
        if rule.client_platform_type not in _PLATFORMS:
            problem = "must be '1' (iOS), '2' (Android) or '3' (other); see ClientPlatform"
            raise refusal(ADD_CONDITIONAL, "matchrule.client_platform_type", 40035, problem)
        payload["client_platform_type"] = str(rule.client_platform_type)
    check_record(rule)
    payload |= rule.extra
    if not payload:
        raise refusal(ADD_CONDITIONAL, "matchrule", 65304, "is empty; name a tag, a client platform, or both")
    return payload
