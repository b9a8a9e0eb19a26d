"""Token endpoints, quotas, addresses, diagnosis: the endpoints every account has."""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxmp.simulator import tokens
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.wire import JsonObject, Refusal

if TYPE_CHECKING:
    from wxmp.simulator.state import Account

__all__ = ["ROUTES"]

ACTIONS: Final = frozenset({"dns", "ping", "all"})
OPERATORS: Final = frozenset({"CHINANET", "UNICOM", "CAP", "DEFAULT"})
LOOPBACK: Final = "127.0.0.1"
PING_TIME: Final = "0.045ms"


def plain_token(call: Call) -> JsonObject:
    """Mint a token on the plain channel."""
    request, world = call.request, call.world
    account = tokens.admit(
        world,
        call.query("appid"),
        call.query("secret"),
        request.client_ip,
        call.now,
        grant_type=call.query("grant_type"),
    )
    call.account = account
    world.spend(account, request.path, call.now)
    token = tokens.fetch_plain(world, account, call.now, caller(call))
    call.why = f"token #{token.serial} minted on the plain channel"
    return {"access_token": token.text, "expires_in": world.policy.token_life}


def stable_token(call: Call) -> JsonObject:
    """Return the token of the stable channel, new or not."""
    request, world = call.request, call.world
    account = tokens.admit(
        world,
        call.text("appid"),
        call.text("secret"),
        request.client_ip,
        call.now,
        grant_type=call.text("grant_type"),
    )
    call.account = account
    world.spend(account, request.path, call.now)
    force = call.body.get("force_refresh") is True
    token, note = tokens.fetch_stable(world, account, call.now, caller(call), force=force)
    call.why = f"stable token #{token.serial}: {note}"
    # A token that dies sooner than announced keeps its announced life here, as on the plain channel.
    left = token.minted_at + world.policy.token_life - call.now
    return {"access_token": token.text, "expires_in": int(left)}


def caller(call: Call) -> str:
    """Name the caller for the journal."""
    return call.request.client or call.request.client_ip


def clear_quota(call: Call) -> JsonObject:
    """Reset all daily counters, with a token."""
    if call.text("appid") != call.owner.appid:
        raise Refusal(40013, "the token belongs to another account")
    clear_all(call, call.owner)
    return OK()


def clear_quota_by_secret(call: Call) -> JsonObject:
    """Reset all daily counters, with the secret; body or query, as the two halves of the documentation say."""
    appid = call.text("appid") or call.query("appid")
    secret = call.text("appsecret") or call.query("appsecret")
    if not appid:
        raise Refusal(41002, "appid is missing")
    if not secret:
        raise Refusal(41004, "appsecret is missing")
    account = call.world.state.accounts.get(appid)
    if account is None:
        raise Refusal(40013, "no such account in this world")
    tokens.check_secret(call.world, account, secret)
    call.account = account
    clear_all(call, account)
    return OK()


def clear_all(call: Call, account: Account) -> None:
    """Set all counters of an account to zero, at most so many times a month."""
    limit = call.world.policy.quota_clears_per_month
    if not call.world.spend_month(account, "clear_quota", limit, call.now):
        raise Refusal(48006, f"{limit} resets of this month are used")
    account.counters.clear()


def known_path(call: Call) -> str:
    """Read ``cgi_path`` and check that it can be asked about."""
    path = call.text("cgi_path")
    if not path.startswith("/"):
        raise Refusal(76003, "cgi_path does not start with a slash")
    if path.startswith("/sns/"):
        raise Refusal(76022, "the OAuth paths cannot be inspected")
    if not call.world.has_path(path):
        raise Refusal(76021, "the simulator has no such path")
    return path


def get_quota(call: Call) -> JsonObject:
    """Read the counters of one path."""
    path, world = known_path(call), call.world
    limit = world.daily_limit(call.owner, path)
    used, off = world.counter(call.owner, path, call.now).used, world.policy.quota_shown_error
    if off:
        used += round(used * world.state.dice.between("quota shown", -off, off))
    shown = limit if limit is not None else 0
    minute = world.policy.minute_quotas.get(path, world.policy.default_minute_quota)
    return {
        **OK(),
        "quota": {"daily_limit": shown, "used": used, "remain": max(shown - used, 0)},
        "rate_limit": {"call_count": minute if minute is not None else 0, "refresh_second": 60 if minute else 0},
        "component_rate_limit": {"call_count": 0, "refresh_second": 0},
    }


def clear_path(call: Call) -> JsonObject:
    """Reset the daily counter of one path."""
    path, limit = known_path(call), call.world.policy.path_clears_per_month
    if not call.world.spend_month(call.owner, "clear_path", limit, call.now):
        raise Refusal(45009, f"{limit} resets of this month are used")
    call.owner.counters.pop(path, None)
    return OK()


def explain_rid(call: Call) -> JsonObject:
    """Tell what the platform recorded under a rid. Credentials are masked, unlike on the real platform."""
    rid = call.text("rid")
    parts = rid.split("-")
    if len(parts) != 3 or not all(len(part) == 8 and set(part) <= set("0123456789abcdef") for part in parts):
        raise Refusal(76002, "not three hex words")
    if call.now - int(parts[0], 16) > call.world.policy.rid_life:
        raise Refusal(76004, "the rid is too old")
    found = call.world.journal.by_rid(rid)
    if found is None:
        raise Refusal(76001, "no such rid")
    if not hmac.compare_digest(found.appid.encode(), call.owner.appid.encode()):
        raise Refusal(76003, "the rid belongs to another account")
    return {
        **OK(),
        "request": {
            "invoke_time": int(found.at),
            "cost_in_ms": 1,
            "request_url": "&".join(f"{key}={value}" for key, value in found.query.items()),
            "request_body": found.request_body,
            "response_body": found.response_body,
            "client_ip": found.client_ip,
        },
    }


def api_ips(call: Call) -> JsonObject:
    """List the platform's own addresses."""
    return {"ip_list": list(call.world.policy.api_ips)}


def callback_ips(call: Call) -> JsonObject:
    """List the addresses pushes come from."""
    return {"ip_list": list(call.world.policy.callback_ips)}


def check_callback(call: Call) -> JsonObject:
    """Tell the address of the developer's server, and whether it answered last; nothing is asked of it now."""
    account, url = call.owner, call.owner.callback_url
    if url is None:
        raise Refusal(40201, "no callback address is configured")
    action = call.text("action")
    if action not in ACTIONS:
        raise Refusal(40202, f"action is {action!r}")
    operator = call.text("check_operator")
    if operator not in OPERATORS:
        raise Refusal(40203, f"check_operator is {operator!r}")
    ip, lost = address_of(url), bool(account.attempts) and account.attempts[-1].status is None
    answer: JsonObject = {}
    if action in {"dns", "all"}:
        answer["dns"] = [{"ip": ip, "real_operator": operator}]
    if action in {"ping", "all"}:
        ping = {"ip": ip, "from_operator": operator, "package_loss": "100%" if lost else "0%"}
        answer["ping"] = [{**ping, "time": "" if lost else PING_TIME}]
    return answer


def address_of(url: str) -> str:
    """Return the address of the developer's server: a name counts as this machine, because nothing is resolved."""
    host = urlsplit(url).hostname or ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return LOOPBACK


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/cgi-bin/token", plain_token, auth="none"),
    Route("POST", "/cgi-bin/stable_token", stable_token, auth="none"),
    Route("POST", "/cgi-bin/clear_quota", clear_quota, accounts="all"),
    Route("POST", "/cgi-bin/clear_quota/v2", clear_quota_by_secret, auth="none"),
    Route("POST", "/cgi-bin/openapi/quota/get", get_quota, accounts="all"),
    Route("POST", "/cgi-bin/openapi/quota/clear", clear_path, accounts="all"),
    Route("POST", "/cgi-bin/openapi/rid/get", explain_rid, accounts="all"),
    Route("GET", "/cgi-bin/get_api_domain_ip", api_ips, accounts="all"),
    Route("GET", "/cgi-bin/getcallbackip", callback_ips, accounts="all"),
    Route("POST", "/cgi-bin/callback/check", check_callback, accounts="all"),
)
