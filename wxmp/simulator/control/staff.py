"""What people at the account do by hand, over HTTP: customer-service staff at work, and the console's auto replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from wxmp.simulator import staff
from wxmp.simulator.control.reading import View, account_in, flag, needed, text, whole
from wxmp.simulator.wire import JsonObject, WorldError, as_object

if TYPE_CHECKING:
    from starlette.requests import Request as WebRequest

    from wxmp.simulator.state import Account
    from wxmp.simulator.world import World

__all__ = ["ROUTES"]

SHOWN_RECORDS: Final = 100


def describe(world: World, account: Account, *, records: int = SHOWN_RECORDS) -> JsonObject:
    """Return who serves, whom they serve, who waits, and the last lines of the record."""
    found, now = account.staff, world.now()
    agents = list(staff.agents(account).values())
    for agent in agents:
        staff.expire_invitation(agent, now)
    return {
        "appid": account.appid,
        "enabled": found.enabled,
        "agents": [attrs.asdict(agent) for agent in agents],
        "sessions": [attrs.asdict(session) for session in found.sessions.values()],
        "waiting": [{"openid": openid, "since": since} for openid, since in found.waiting.items()],
        "records": [attrs.asdict(record) for record in found.records[-records:]] if records else [],
    }


def show(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET staff?appid=&records=: the agents, their sessions, the queue, and the end of the chat record."""
    with world.lock:
        world.run_due()
        return describe(world, account_in(world, request), records=whole(request, "records", SHOWN_RECORDS))


def enable(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST staff {enabled, appid?}: switch the customer service (客服功能) of an account on or off."""
    with world.lock:
        account = world.account_of(text(body, "appid"))
        account.staff.enabled = flag(body, "enabled", default=True)
        return describe(world, account)


def set_online(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST staff/{kf_account}/online {online?, appid?}: let an agent come on line, or leave."""
    account = world.account_of(text(body, "appid"))
    staff.set_online(world, account, request.path_params["kf_account"], flag(body, "online", default=True))
    return describe(world, account)


def answer_invitation(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST staff/{kf_account}/invitation {accept?, appid?}: let the invited person answer."""
    account = world.account_of(text(body, "appid"))
    staff.answer_invitation(world, account, request.path_params["kf_account"], flag(body, "accept", default=True))
    return describe(world, account)


def say(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST sessions/{openid}/say {text, appid?}: let the agent of a session write to the user."""
    account = world.account_of(text(body, "appid"))
    staff.say(world, account, request.path_params["openid"], needed(body, "text"))
    return describe(world, account)


def switch(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST sessions/{openid}/switch {kf_account, appid?}: hand the user on to another agent."""
    account = world.account_of(text(body, "appid"))
    staff.switch_session(world, account, request.path_params["openid"], needed(body, "kf_account"))
    return describe(world, account)


def close(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST sessions/{openid}/close {appid?}: let the agent end the session."""
    account, openid = world.account_of(text(body, "appid")), request.path_params["openid"]
    with world.lock:
        world.run_due()
        if openid not in account.staff.sessions:
            raise WorldError("this user is in no session")
        staff.close_session(world, account, openid, world.now())
        return describe(world, account)


def show_autoreply(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET autoreply?appid=: the rules of the console (自动回复规则)."""
    with world.lock:
        return {"rules": dict(account_in(world, request).outreach.autoreply)}


def set_autoreply(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST autoreply {rules, appid?}: put other rules in force, in the shape the interface shows them."""
    rules = as_object(body.get("rules"))
    if rules is None:
        raise WorldError("rules must be an object")
    with world.lock:
        world.account_of(text(body, "appid")).outreach.autoreply = dict(rules)
        return {"rules": dict(rules)}


ROUTES: Final[tuple[tuple[str, str, View], ...]] = (
    ("GET", "/staff", show),
    ("POST", "/staff", enable),
    ("POST", "/staff/{kf_account}/online", set_online),
    ("POST", "/staff/{kf_account}/invitation", answer_invitation),
    ("POST", "/sessions/{openid}/say", say),
    ("POST", "/sessions/{openid}/switch", switch),
    ("POST", "/sessions/{openid}/close", close),
    ("GET", "/autoreply", show_autoreply),
    ("POST", "/autoreply", set_autoreply),
)
