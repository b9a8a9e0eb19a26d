"""Menu rules: what a valid menu is, which menu a user sees, and what a tap on it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs

from wxmp.simulator import library
from wxmp.simulator.state import Account, ConditionalMenu, User
from wxmp.simulator.wire import JsonObject, Refusal, as_list, as_object, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxmp.simulator.policy import Policy
    from wxmp.simulator.world import World

__all__ = ["WINDOW_TYPES", "check_buttons", "check_domains", "find_button", "matching_menu", "read_rule", "shown_menu"]

KEY_TYPES: Final = frozenset(
    {
        "click",
        "scancode_push",
        "scancode_waitmsg",
        "pic_sysphoto",
        "pic_photo_or_album",
        "pic_weixin",
        "location_select",
    }
)
MEDIA_TYPES: Final = frozenset({"media_id", "view_limited"})
ARTICLE_TYPES: Final = frozenset({"article_id", "article_view_limited"})
URL_TYPES: Final = frozenset({"view", "miniprogram"})
TYPES: Final = KEY_TYPES | MEDIA_TYPES | ARTICLE_TYPES | URL_TYPES
# What the event of a tap may call its button by; the first that is there.
EVENT_KEYS: Final = ("key", "url", "media_id", "article_id")
# Only these taps open a customer-service window.
WINDOW_TYPES: Final = frozenset({"click", "scancode_push", "scancode_waitmsg"})
KEPT_FIELDS: Final = ("type", "name", "key", "url", "media_id", "article_id", "appid", "pagepath")
PRIVATE_RULES: Final = ("sex", "country", "province", "city", "language")
PLATFORMS: Final = frozenset({"1", "2", "3"})


@attrs.frozen
class Codes:
    """The errcodes of one menu level."""

    type: int
    name: int
    key: int
    url: int


TOP: Final = Codes(type=40017, name=40018, key=40019, url=40020)
SUB: Final = Codes(type=40024, name=40025, key=40026, url=40027)


def check_buttons(value: object, policy: Policy, account: Account) -> list[JsonObject]:
    """Check a menu and return it as the platform keeps it: unknown fields dropped, ``sub_button`` always there.

    Raises:
        Refusal: With the code of the first rule that is broken.
    """
    buttons = as_list(value)
    if buttons is None or not 1 <= len(buttons) <= policy.menu_max_buttons:
        count = "no" if buttons is None else len(buttons)
        raise Refusal(40016, f"{count} top buttons, 1 to {policy.menu_max_buttons} are allowed")
    return [check_top(button, policy, account) for button in buttons]


def check_top(value: object, policy: Policy, account: Account) -> JsonObject:
    """Check one top button and what hangs below it."""
    button = as_object(value)
    if button is None:
        raise Refusal(40016, "a button is not an object")
    name = check_name(button, TOP, policy.menu_name_bytes)
    subs = as_list(button.get("sub_button")) or []
    if not subs:
        return check_leaf(button, TOP, policy, account)
    if button.get("type"):
        raise Refusal(40017, f"the button {name!r} has both a type and sub-buttons")
    if len(subs) > policy.menu_max_sub_buttons:
        raise Refusal(40023, f"{len(subs)} sub-buttons under {name!r}, at most {policy.menu_max_sub_buttons}")
    return {"name": name, "sub_button": [check_sub(sub, policy, account) for sub in subs]}


def check_sub(value: object, policy: Policy, account: Account) -> JsonObject:
    """Check one sub-button."""
    button = as_object(value)
    if button is None:
        raise Refusal(40023, "a sub-button is not an object")
    name = check_name(button, SUB, policy.menu_sub_name_bytes)
    if as_list(button.get("sub_button")):
        raise Refusal(40022, f"the sub-button {name!r} has buttons of its own")
    return check_leaf(button, SUB, policy, account)


def check_name(button: JsonObject, codes: Codes, limit: int) -> str:
    """Check a caption; its length counts in UTF-8 bytes."""
    name = button.get("name")
    if not isinstance(name, str) or not name or len(name.encode("utf-8", errors="replace")) > limit:
        raise Refusal(codes.name, f"the caption {name!r} must have 1 to {limit} bytes")
    return name


def check_leaf(button: JsonObject, codes: Codes, policy: Policy, account: Account) -> JsonObject:
    """Check a button that does something."""
    name, kind = button["name"], button.get("type")
    if not kind:
        raise Refusal(65308, f"the button {name!r} has neither a type nor sub-buttons")
    if not isinstance(kind, str) or kind not in TYPES:
        raise Refusal(codes.type, f"the button {name!r} has the unknown type {kind!r}")
    if kind in KEY_TYPES:
        check_key(button, codes, policy.menu_key_bytes)
    if kind in URL_TYPES:
        check_url(button, codes, policy.menu_url_bytes)
    if kind in MEDIA_TYPES:
        check_media(button, policy, account)
    if kind in ARTICLE_TYPES:
        check_article(button, policy, account)
    if kind == "miniprogram":
        check_miniprogram(button, account)
    kept: JsonObject = {field: button[field] for field in KEPT_FIELDS if field in button}
    kept["sub_button"] = []
    return kept


def check_key(button: JsonObject, codes: Codes, limit: int) -> None:
    """Check the key of a click-like button."""
    key = button.get("key")
    if not isinstance(key, str) or not key or len(key.encode("utf-8", errors="replace")) > limit:
        raise Refusal(codes.key, f"the key of {button['name']!r} must have 1 to {limit} bytes")


def check_url(button: JsonObject, codes: Codes, limit: int) -> None:
    """Check the link of a view or mini program button."""
    url = button.get("url")
    if not isinstance(url, str) or not url or len(url.encode("utf-8", errors="replace")) > limit:
        raise Refusal(codes.url, f"the url of {button['name']!r} must have 1 to {limit} bytes")
    if not domain_of(url):
        raise Refusal(65317, f"the url of {button['name']!r} is no web address")


def check_media(button: JsonObject, policy: Policy, account: Account) -> None:
    """Check that the permanent material of a button is there."""
    media_id = button.get("media_id")
    if not isinstance(media_id, str) or not media_id:
        raise Refusal(40007, f"the button {button['name']!r} has no media_id")
    if policy.menu_checks_media and not library.known_media(account, media_id):
        raise Refusal(40007, f"the account has no permanent material for the button {button['name']!r}")


def check_article(button: JsonObject, policy: Policy, account: Account) -> None:
    """Check that the article of a button is published."""
    article_id = button.get("article_id")
    if not isinstance(article_id, str) or not article_id:
        raise Refusal(53600, f"the button {button['name']!r} has no article_id")
    if policy.menu_checks_media and not library.find_article(account, article_id):
        raise Refusal(53600, f"the account has published no article for the button {button['name']!r}")


def check_miniprogram(button: JsonObject, account: Account) -> None:
    """Check the mini program of a button."""
    appid = button.get("appid")
    if not isinstance(appid, str) or not appid:
        raise Refusal(40166, f"the button {button['name']!r} has no mini program appid")
    if account.linked_miniprograms is not None and appid not in account.linked_miniprograms:
        raise Refusal(45064, "the mini program is not linked to the account")
    if not button.get("pagepath"):
        raise Refusal(40165, f"the button {button['name']!r} has no pagepath")


def domain_of(url: str) -> str:
    """Return the host of a web address, or an empty text."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme in {"http", "https"} else ""


def read_rule(value: object) -> dict[str, str]:
    """Check the match rule of a conditional menu and return what may be used today: tag and client platform."""
    rule = as_object(value) or {}
    if any(rule.get(name, "") not in (None, "") for name in PRIVATE_RULES):
        raise Refusal(65320, "the rule asks for sex, place or language")
    found: dict[str, str] = {}
    tag = rule.get("tag_id", rule.get("group_id"))
    if tag not in (None, ""):
        number = whole_number(tag)
        if number is None:
            raise Refusal(40035, f"tag_id {tag!r} is no number", detail="tag_id")
        found["tag_id"] = str(number)
    platform = rule.get("client_platform_type")
    if platform not in (None, ""):
        if str(platform) not in PLATFORMS:
            raise Refusal(40035, f"client_platform_type {platform!r} is not 1, 2 or 3", detail="client_platform_type")
        found["client_platform_type"] = str(platform)
    if not found:
        raise Refusal(65304, "the rule has no condition")
    return found


def leaves(buttons: Sequence[object]) -> list[JsonObject]:
    """Return all buttons that do something."""
    found: list[JsonObject] = []
    for button in buttons:
        item = as_object(button)
        if item is None:
            continue
        subs = as_list(item.get("sub_button")) or []
        found.extend(leaves(subs) if subs else [item])
    return found


def check_domains(account: Account, buttons: list[JsonObject], limit: int) -> None:
    """Refuse when all conditional menus together lead to too many domains (65316)."""
    domains: set[str] = set()
    for menu in (*(m.button for m in account.conditional), buttons):
        for leaf in leaves(menu):
            url = leaf.get("url")
            if isinstance(url, str):
                domains.add(domain_of(url))
    if len(domains) > limit:
        raise Refusal(65316, f"the conditional menus lead to {len(domains)} domains, at most {limit} are allowed")


def matching_menu(world: World, account: Account, user: User) -> ConditionalMenu | None:
    """Return the newest conditional menu whose rule fits the user; of several tags the last one put on counts."""
    platform = world.person_of(user).platform
    last_tag = str(user.tags[-1]) if user.tags else ""
    for menu in reversed(account.conditional):
        if menu.rule.get("tag_id", last_tag) != last_tag:
            continue
        if menu.rule.get("client_platform_type", platform) != platform:
            continue
        return menu
    return None


def shown_menu(world: World, account: Account, user: User) -> ConditionalMenu | None:
    """Return the menu the user sees: a conditional one, the default one, or none at all."""
    menu = matching_menu(world, account, user)
    if menu is not None or account.menu is None:
        return menu
    return ConditionalMenu(account.menuid, account.menu, {})


def find_button(buttons: list[JsonObject], key: str) -> JsonObject | None:
    """Find the button with this key, url or caption."""
    for name in ("key", "url", "name"):
        for leaf in leaves(buttons):
            if leaf.get(name) == key:
                return leaf
    return None


def is_told(button: JsonObject, policy: Policy) -> bool:
    """Tell whether the developer's server hears of a tap: always, but for materials and articles."""
    kind = str(button["type"])
    return kind not in MEDIA_TYPES | ARTICLE_TYPES or kind in policy.menu_material_events


def tap_event(button: JsonObject, menuid: int) -> JsonObject:
    """Return the event a tap gives."""
    kind = str(button["type"])
    names = {"click": "CLICK", "view": "VIEW", "miniprogram": "view_miniprogram"}
    # A mini program is told by its page; the url is for clients that cannot open it.
    told = ("key", "pagepath", "url", "media_id", "article_id") if kind == "miniprogram" else EVENT_KEYS
    event: JsonObject = {
        "MsgType": "event",
        "Event": names.get(kind, kind),
        "EventKey": next((button[name] for name in told if button.get(name)), ""),
    }
    if kind in {"view", "miniprogram"}:
        event["MenuId"] = menuid
    return event
