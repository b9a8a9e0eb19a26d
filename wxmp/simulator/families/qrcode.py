"""QR codes with a scene value, their pictures, and the rules that open a mini program from a code."""

from __future__ import annotations

import base64
from typing import Final

from wxmp.simulator.jpeg import flat_jpeg
from wxmp.simulator.menus import domain_of
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import Account, QrTicket
from wxmp.simulator.wire import JsonObject, Refusal, Reply

__all__ = ["ROUTES"]

ACTIONS: Final = frozenset({"QR_SCENE", "QR_STR_SCENE", "QR_LIMIT_SCENE", "QR_LIMIT_STR_SCENE"})
MAX_SCENE: Final = (1 << 32) - 1
MAX_SCENE_TEXT: Final = 64
QUIET_ZONE: Final = 4
NOT_FOUND: Final = b"<html><head><title>404 Not Found</title></head><body><h1>404 Not Found</h1></body></html>"


def create(call: Call) -> JsonObject:
    """Create a QR code."""
    action, policy, account = call.text("action_name"), call.world.policy, call.owner
    if action not in ACTIONS:
        raise Refusal(40052, f"action_name is {call.body.get('action_name')!r}")
    permanent = "LIMIT" in action
    scene_id, scene_str = read_scene(call, action, permanent=permanent)
    expires_at: float | None = None
    answer: JsonObject = {}
    if permanent:
        count = sum(code.permanent for code in account.qr.values())
        if count >= policy.qr_max_permanent:
            raise Refusal(45029, f"the account has {count} permanent codes")
    else:
        seconds = call.number("expire_seconds") if "expire_seconds" in call.body else policy.qr_default_seconds
        if seconds is None or not 1 <= seconds <= policy.qr_max_seconds:
            raise Refusal(40035, f"expire_seconds is {call.body.get('expire_seconds')!r}", detail="expire_seconds")
        expires_at = call.now + seconds
        answer["expire_seconds"] = seconds
    # Real tickets are base64 text with + and / and = inside: a caller has to encode them in a URL.
    raw = b"".join(call.world.state.dice.digest("qr ticket") for _ in range(2))
    ticket = "gQ" + base64.b64encode(raw).decode() + "+/=="
    url = f"http://weixin.qq.com/q/02{call.world.make_id('qr url', 22)}"
    account.qr[ticket] = QrTicket(ticket, url, scene_id, scene_str, permanent, expires_at)
    forget_expired(account, policy.qr_expired_kept, call.now)
    return {"ticket": ticket, **answer, "url": url}


def forget_expired(account: Account, least: int, now: float) -> None:
    """Forget expired codes, a heap at a time: looking at all of them for each new one would cost too much."""
    if len(account.qr) % max(least, 1):
        return
    expired = [ticket for ticket, code in account.qr.items() if code.expires_at is not None and code.expires_at <= now]
    for ticket in expired[: len(expired) - least]:
        del account.qr[ticket]


def read_scene(call: Call, action: str, *, permanent: bool) -> tuple[int | None, str | None]:
    """Read and check the scene: a number or a text, as the action says."""
    info = call.body.get("action_info")
    if not isinstance(info, dict) or not isinstance(info.get("scene"), dict):
        raise Refusal(40053, "action_info.scene is missing")
    scene = call.part("scene", call.part("action_info"))
    if "STR" in action:
        text = call.text("scene_str", scene)
        if not 1 <= len(text) <= MAX_SCENE_TEXT:
            raise Refusal(40053, f"scene_str has {len(text)} characters, 1 to {MAX_SCENE_TEXT} are allowed")
        return None, text
    number, policy = call.number("scene_id", scene), call.world.policy
    if number is None or not 1 <= number <= MAX_SCENE:
        raise Refusal(40053, f"scene_id is {scene.get('scene_id')!r}")
    if permanent and number > policy.qr_limit_scene_max:
        if policy.qr_scene_out_of_range == "refuse":
            raise Refusal(40053, f"scene_id is {number}, at most {policy.qr_limit_scene_max}")
        return MAX_SCENE, None
    return number, None


def picture(call: Call) -> Reply:
    """Show the picture of a ticket: JPEG, no token needed, 404 for an unknown one."""
    import segno

    ticket = call.query("ticket")
    for account in call.world.state.accounts.values():
        code = account.qr.get(ticket)
        if code is not None:
            call.account = account
            matrix = segno.make(code.url, error="m", micro=False).matrix_iter(border=QUIET_ZONE)
            shown = flat_jpeg([[bool(cell) for cell in row] for row in matrix])
            return Reply(shown, content_type="image/jpg", why="the picture of a QR code, shown to anybody")
    return Reply(NOT_FOUND, status=404, content_type="text/html", why="no such ticket")


def list_rules(call: Call) -> JsonObject:
    """List the mini program rules."""
    rules = list(call.owner.qr_rules.values())
    kind = call.number("get_type") or 0
    if kind == 1:
        prefixes = call.items("prefix_list")
        rules = [rule for rule in rules if rule["prefix"] in prefixes]
    elif kind == 2:  # one page
        page, size = call.number("page_num") or 1, call.number("page_size") or 20
        rules = rules[(page - 1) * size : page * size]
    used = call.owner.months.get("qr_rules", 0)
    return {
        **OK(),
        "rule_list": rules,
        "qrcodejump_open": 1,
        "list_size": len(rules),
        "qrcodejump_pub_quota": call.world.policy.qr_rules_per_month - used,
        "total_count": len(call.owner.qr_rules),
    }


def save_rule(call: Call) -> JsonObject:
    """Add a rule, or change one that is not published."""
    prefix, rules = call.text("prefix"), call.owner.qr_rules
    if not domain_of(prefix):
        raise Refusal(85066, "the prefix is no web address")
    if not call.text("appid"):
        raise Refusal(40166, "the mini program appid is missing")
    edit = call.number("is_edit") == 1
    if not edit and prefix in rules:
        raise Refusal(85071, "there is a rule with this prefix")
    if edit and prefix not in rules:
        raise Refusal(85095, "there is no rule with this prefix")
    rules[prefix] = {
        "prefix": prefix,
        "path": call.text("path"),
        "state": 1,
        "open_version": call.number("open_version") or 1,
        "debug_url": list(call.items("debug_url")) if "debug_url" in call.body else [],
    }
    return OK()


def publish_rule(call: Call) -> JsonObject:
    """Publish a rule."""
    rule = call.owner.qr_rules.get(call.text("prefix"))
    if rule is None:
        raise Refusal(85095, "there is no rule with this prefix")
    if not call.world.spend_month(call.owner, "qr_rules", call.world.policy.qr_rules_per_month, call.now):
        raise Refusal(886000, "the publishes of this month are used up")
    rule["state"] = 2
    return OK()


def delete_rule(call: Call) -> JsonObject:
    """Delete a rule."""
    if call.owner.qr_rules.pop(call.text("prefix"), None) is None:
        raise Refusal(85095, "there is no rule with this prefix")
    return OK()


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/cgi-bin/qrcode/create", create, accounts="service_verified"),
    Route("GET", "/cgi-bin/showqrcode", picture, auth="none", host="mp", style="binary"),
    Route("POST", "/cgi-bin/wxopen/qrcodejumpget", list_rules, accounts="service_verified"),
    Route("POST", "/cgi-bin/wxopen/qrcodejumpadd", save_rule, accounts="service_verified"),
    Route("POST", "/cgi-bin/wxopen/qrcodejumppublish", publish_rule, accounts="service_verified"),
    Route("POST", "/cgi-bin/wxopen/qrcodejumpdelete", delete_rule, accounts="service_verified"),
)
