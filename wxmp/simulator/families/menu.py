"""Custom menus: default, conditional, as the console shows them, and who would see which."""

from __future__ import annotations

from typing import Final

from wxmp.simulator import menus
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import ConditionalMenu
from wxmp.simulator.wire import JsonObject, Refusal, as_list, as_object, whole_number

__all__ = ["ROUTES"]


def next_menuid(call: Call) -> int:
    """Return the next menu id of the account."""
    call.owner.menu_serial += 1
    return call.owner.menu_serial


def create(call: Call) -> JsonObject:
    """Replace the whole default menu."""
    account = call.owner
    account.menu = menus.check_buttons(call.body.get("button"), call.world.policy, account)
    account.menuid = next_menuid(call)
    return OK()


def get(call: Call) -> JsonObject:
    """Read the menus made through the API; ``menuid`` shows up once there are conditional ones."""
    account = call.owner
    if account.menu is None:
        raise Refusal(46003, "the account has no menu")
    menu: JsonObject = {"button": account.menu}
    answer: JsonObject = {"menu": menu}
    if account.conditional:
        menu["menuid"] = account.menuid
        answer["conditionalmenu"] = [
            {"button": item.button, "matchrule": shown_rule(call, item), "menuid": item.menuid}
            for item in reversed(account.conditional)
        ]
    return answer


def shown_rule(call: Call, menu: ConditionalMenu) -> JsonObject:
    """Return a match rule with the tag under the name the platform uses here."""
    names = {"tag_id": call.world.policy.menu_condition_key}
    return {names.get(name, name): value for name, value in menu.rule.items()}


def delete(call: Call) -> JsonObject:
    """Delete the default menu and every conditional one."""
    account = call.owner
    account.menu = None
    account.conditional.clear()
    return OK()


def current(call: Call) -> JsonObject:
    """Read the menu as the console shows it: sub-buttons sit inside ``sub_button.list``."""
    buttons = call.owner.menu
    shown = [console_button(button) for button in buttons or []]
    return {"is_menu_open": 1 if buttons else 0, "selfmenu_info": {"button": shown}}


def console_button(button: JsonObject) -> JsonObject:
    """Return one button in the console's shape."""
    subs = as_list(button.get("sub_button")) or []
    shown = {name: value for name, value in button.items() if name != "sub_button"}
    if subs:
        shown["sub_button"] = {"list": [console_button(as_object(sub) or {}) for sub in subs]}
    return shown


def add_conditional(call: Call) -> JsonObject:
    """Add a menu for the users a rule matches."""
    account, policy = call.owner, call.world.policy
    if account.menu is None:
        raise Refusal(65303, "a default menu must be there first")
    rule = menus.read_rule(call.body.get("matchrule"))
    buttons = menus.check_buttons(call.body.get("button"), policy, account)
    menus.check_domains(account, buttons, policy.menu_max_domains)
    menuid = next_menuid(call)
    account.conditional.append(ConditionalMenu(menuid, buttons, rule))
    # A text here, a number in menu/get: both occur in the wild.
    return {"menuid": str(menuid)}


def delete_conditional(call: Call) -> JsonObject:
    """Delete one conditional menu."""
    account, menuid = call.owner, whole_number(call.body.get("menuid"))
    left = [menu for menu in account.conditional if menu.menuid != menuid]
    if len(left) == len(account.conditional):
        raise Refusal(65301, f"no conditional menu {call.body.get('menuid')!r}")
    account.conditional = left
    return OK()


def try_match(call: Call) -> JsonObject:
    """Show which menu a user would see; the user may be named by openid or WeChat id."""
    account, name = call.owner, call.text("user_id")
    user = account.users.get(name)
    if user is None:
        user = next((u for u in account.users.values() if call.world.person_of(u).wechat_id == name), None)
    if user is None or not name:
        raise Refusal(65302, "no such user")
    if not user.following:
        raise Refusal(65315, "the user does not follow the account")
    menu = menus.shown_menu(call.world, account, user)
    if menu is None:
        raise Refusal(46003, "the account has no menu")
    return {"button": menu.button}


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/menu/create", create),
    Route("GET", "/cgi-bin/menu/get", get),
    Route("GET", "/cgi-bin/menu/delete", delete),
    Route("GET", "/cgi-bin/get_current_selfmenu_info", current, accounts="all"),
    Route("POST", "/cgi-bin/menu/addconditional", add_conditional),
    Route("POST", "/cgi-bin/menu/delconditional", delete_conditional),
    Route("POST", "/cgi-bin/menu/trymatch", try_match),
)
