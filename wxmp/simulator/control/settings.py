"""The world as a whole over HTTP: its clock, accounts, tokens, server configuration, snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import attrs

from wxmp.simulator.callbacks import CallbackSettings, check_url
from wxmp.simulator.control.reading import View, needed, number, text
from wxmp.simulator.wire import JsonObject, WorldError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request as WebRequest

    from wxmp.simulator.deliver import Courier
    from wxmp.simulator.state import Account, CallbackFormat, CallbackMode, Channel
    from wxmp.simulator.tokens import HowKilled
    from wxmp.simulator.world import World

__all__ = ["ROUTES", "apply_scenario", "set_callback"]

CHANNELS: Final = frozenset({"plain", "stable"})
HOWS: Final = frozenset({"plain", "forced", "expired", "unknown"})
LATEST: Final = 253_402_300_799.0  # the last second of the year 9999
# Settings of an account that may be changed from outside, with the type each must have.
ACCOUNT_FIELDS: Final[dict[str, type | tuple[type, ...]]] = {
    "name": str,
    "reports_location": bool,
    "secret": str,
    "kind": str,
    "verified": bool,
    "test": bool,
    "open_platform": bool,
    "ip_list": (list, type(None)),
    "secret_frozen": bool,
    "frozen": bool,
    "token_forbidden": bool,
    "risk_control": bool,
    "ungranted": list,
    "banned": list,
    "oauth_domains": (list, type(None)),
    "linked_miniprograms": (list, type(None)),
    "kf_accounts": (list, type(None)),
    "callback_url": (str, type(None)),
    "callback_enabled": bool,
    "quotas": dict,
    "migrated_from": list,
}


def channel(body: JsonObject) -> Channel:
    """Read the token channel."""
    value = text(body, "channel", "stable")
    if value not in CHANNELS:
        raise WorldError("channel must be plain or stable")
    return cast("Channel", value)


def how(body: JsonObject, default: str) -> HowKilled:
    """Read the way a token dies."""
    value = text(body, "how", default)
    if value not in HOWS:
        raise WorldError(f"how must be one of {', '.join(sorted(HOWS))}")
    return cast("HowKilled", value)


def reset(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """POST reset: start again."""
    world.reset()
    return {"ok": True}


def clock(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST clock {set | scale | freeze | advance}: ``set`` jumps and fires nothing, ``advance`` fires what is due."""
    if "set" in body:
        wanted = number(body, "set", 0.0)
        if not 0 <= wanted <= LATEST:
            raise WorldError("set must be seconds since 1970")
        world.clock.set(wanted)
    if "scale" in body:
        world.clock.set_speed(number(body, "scale", 1.0))
    if body.get("freeze") is True:
        world.clock.freeze()
    if "advance" in body:
        seconds = number(body, "advance", 0.0)
        if not seconds <= LATEST:
            raise WorldError("advance is too far")
        world.advance(seconds)
    return {"now": world.now(), "speed": world.clock.speed}


def kill_token(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST tokens/kill {channel, how, appid?, new?, every?}: another system takes a hand in the tokens."""
    appid = text(body, "appid")
    if "new" in body:
        world.kill_new_tokens(channel(body), int(number(body, "new", -1)), appid=appid)
    elif "every" in body:
        every = None if body["every"] is None else number(body, "every", 0)
        world.outsider(every, channel=channel(body), how=how(body, "plain"), appid=appid)
    else:
        world.kill_token(channel(body), how(body, "forced"), appid=appid)
    return {"ok": True}


def decide_risk(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST risk {address, decision, appid?}: play the administrator."""
    decision = text(body, "decision")
    if decision == "allow":
        world.decide_risk(needed(body, "address"), "allow", appid=text(body, "appid"))
    elif decision == "refuse":
        world.decide_risk(needed(body, "address"), "refuse", appid=text(body, "appid"))
    else:
        raise WorldError("decision must be allow or refuse")
    return {"ok": True}


def set_callback(courier: Courier | None) -> Callable[[World, WebRequest, JsonObject], Awaitable[JsonObject]]:
    """Return the view that configures the developer's address."""

    async def view(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
        """POST callback {url, token, encoding_aes_key?, mode?, format?, appid?, verify?}; {url: null} switches off."""
        appid = text(body, "appid")
        if "url" in body and body["url"] is None:
            world.stop_callback(appid=appid)
            return {"ok": True, "enabled": False}
        key = text(body, "encoding_aes_key")
        mode = text(body, "mode") or ("plain" if key is None else "safe")
        form = text(body, "format", "xml") or "xml"
        settings = CallbackSettings(
            url=needed(body, "url"),
            token=needed(body, "token"),
            encoding_aes_key=key,
            mode=cast("CallbackMode", mode),
            format=cast("CallbackFormat", form),
        )
        if body.get("verify") is False:
            world.callbacks.configure(world.account_of(appid), settings)
        elif courier is None:
            raise WorldError("nobody is here to check the address; see verify")
        else:
            await courier.check(settings, appid)
        return {"ok": True, "enabled": True, "url": settings.url, "mode": mode, "format": form}

    return view


def show_account(account: Account) -> JsonObject:
    """Return an account's settings without its secret."""
    shown: JsonObject = {name: getattr(account, name) for name in ACCOUNT_FIELDS if name != "secret"}
    return {"appid": account.appid, "original_id": account.original_id, **shown}


def set_account(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST accounts {appid?, ...settings}: create an account, or change one.

    A secret made up for a new account is part of the answer: nobody else could tell it.
    """
    changes = {name: value for name, value in body.items() if name != "appid"}
    for name, value in changes.items():
        if name not in ACCOUNT_FIELDS:
            raise WorldError(f"unknown setting {name!r}")
        if not isinstance(value, ACCOUNT_FIELDS[name]):
            raise WorldError(f"{name} has the wrong type")
    if isinstance(changes.get("callback_url"), str):
        check_url(str(changes["callback_url"]), world.policy.callback_hosts)
    if changes.get("callback_enabled") is True:
        raise WorldError("pushes are switched on by POST callback")
    if changes.get("kind", "service") not in {"service", "subscription"}:
        raise WorldError("kind must be service or subscription")
    with world.lock:
        appid = text(body, "appid")
        known = world.state.accounts.get(appid) if appid is not None else None
        account = known if known is not None else world.add_account(appid)
        for name, value in changes.items():
            setattr(account, name, value)
        shown = show_account(account)
        if known is None:
            shown["secret"] = account.secret
        return shown


def add_template(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST templates {title, content, appid?}: put a template into an account's list."""
    return {
        "template_id": world.add_template(needed(body, "title"), needed(body, "content"), appid=text(body, "appid"))
    }


def take_snapshot(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET snapshot: the whole state as one document."""
    return world.snapshot()


def restore_snapshot(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST restore: go back to a snapshot."""
    world.restore(body)
    return {"ok": True}


def apply_scenario(world: World, request: WebRequest, text: str) -> JsonObject:
    """POST scenario?fresh=1 (YAML or JSON): let a scenario take place; ``fresh`` starts the world again first.

    What comes over the network never reads this machine's environment.
    """
    from wxmp.simulator import scenario

    try:
        plan = scenario.load(text, environ={}, name="the scenario")
    except ModuleNotFoundError as error:
        raise WorldError(f"reading a scenario needs the package {error.name}") from error
    applied = scenario.apply(world, plan, fresh=request.query_params.get("fresh") in {"1", "true"})
    return cast("JsonObject", attrs.asdict(applied))


ROUTES: Final[tuple[tuple[str, str, View], ...]] = (
    ("POST", "/reset", reset),
    ("POST", "/clock", clock),
    ("POST", "/tokens/kill", kill_token),
    ("POST", "/risk", decide_risk),
    ("POST", "/accounts", set_account),
    ("POST", "/templates", add_template),
    ("GET", "/snapshot", take_snapshot),
    ("POST", "/restore", restore_snapshot),
)
