"""The control routes under ``/_sim/``: JSON in, JSON out, for tests in other processes, pages and scripts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import attrs
from starlette.requests import Request as WebRequest
from starlette.responses import Response
from starlette.routing import Route as WebRoute

from wxmp.simulator.callbacks import CallbackSettings, check_url
from wxmp.simulator.faults import Fault
from wxmp.simulator.phone import HERE, SENDABLE, Phone
from wxmp.simulator.wire import JsonObject, WorldError, as_object
from wxmp.simulator.world import World

if TYPE_CHECKING:
    from wxmp.simulator.deliver import Courier
    from wxmp.simulator.state import Account, CallbackFormat, CallbackMode, Channel
    from wxmp.simulator.tokens import HowKilled

__all__ = ["control_routes"]

View: TypeAlias = Callable[[World, WebRequest, JsonObject], "JsonObject | Awaitable[JsonObject]"]

CHANNELS: Final = frozenset({"plain", "stable"})
HOWS: Final = frozenset({"plain", "forced", "expired", "unknown"})
# Settings of an account that may be changed from outside, with the type each must have.
ACCOUNT_FIELDS: Final[dict[str, type | tuple[type, ...]]] = {
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
FAULT_FIELDS: Final = frozenset(field.name for field in attrs.fields(Fault)) - {"id", "seen", "hits"}
MAX_FOLLOWERS: Final = 1_000_000
LONGEST_WAIT: Final = 60.0
WAIT_STEP: Final = 0.02


def text(body: JsonObject, name: str, default: str | None = None) -> str | None:
    """Read a text field."""
    value = body.get(name, default)
    if value is not None and not isinstance(value, str):
        raise WorldError(f"{name} must be a text")
    return value


def needed(body: JsonObject, name: str) -> str:
    """Read a text field that must be there."""
    value = text(body, name)
    if not value:
        raise WorldError(f"{name} is missing")
    return value


def number(body: JsonObject, name: str, default: float) -> float:
    """Read a number field."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WorldError(f"{name} must be a number")
    return value


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


def state(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET state: counts, quotas, living tokens as fingerprints."""
    return world.describe()


def journal(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET journal?since=: the exchanges after a running number."""
    since = request.query_params.get("since", "0")
    if not since.isdecimal():
        raise WorldError("since must be a whole number")
    exchanges = world.exchanges(int(since))
    last = exchanges[-1].seq if exchanges else int(since)
    return {"exchanges": [attrs.asdict(exchange) for exchange in exchanges], "last": last}


def reset(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """POST reset: start again."""
    world.reset()
    return {"ok": True}


def clock(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST clock {scale | freeze | advance}."""
    if "scale" in body:
        world.clock.set_speed(number(body, "scale", 1.0))
    if body.get("freeze") is True:
        world.clock.freeze()
    if "advance" in body:
        world.advance(number(body, "advance", 0.0))
    return {"now": world.now(), "speed": world.clock.speed}


def show_fault(fault: Fault) -> JsonObject:
    """Return a rule as JSON."""
    return cast("JsonObject", attrs.asdict(fault))


def list_faults(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET faults: the rules in order."""
    with world.lock:
        return {"faults": [show_fault(fault) for fault in world.faults.rules]}


def add_fault(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST faults: add a rule."""
    unknown = set(body) - FAULT_FIELDS
    if unknown:
        raise WorldError(f"unknown fields: {', '.join(sorted(unknown))}")
    needed(body, "effect")
    with world.lock:
        try:
            rule = Fault(**body)  # type: ignore[arg-type]
        except TypeError as error:
            raise WorldError(str(error)) from error
        return show_fault(world.faults.add(rule))


def remove_faults(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """DELETE faults?id=: remove one rule, or all of them."""
    wanted = request.query_params.get("id")
    with world.lock:
        if wanted is None:
            world.faults.clear()
        elif not wanted.isdecimal() or not world.faults.remove(int(wanted)):
            raise WorldError("no such fault")
    return {"ok": True}


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


def create_users(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST users {count, appid?, following?}: create followers, or strangers."""
    count = int(number(body, "count", 1))
    if not 0 <= count <= MAX_FOLLOWERS:
        raise WorldError(f"count must be between 0 and {MAX_FOLLOWERS}")
    appid = text(body, "appid")
    if body.get("following") is False:
        return {"openids": [world.create_stranger(appid=appid) for _ in range(count)]}
    return {"openids": world.create_followers(count, appid=appid)}


def user_acts(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST users/{openid}/{action}: a user does something; ``openid`` is ``new`` for somebody new.

    Actions: ``follow``, ``unfollow``, ``scan {ticket}``, ``pay``, ``say {text, menu_line?}`` (also called ``write``),
    ``image``, ``voice``, ``video``, ``shortvideo``, ``location``, ``link`` (each with any of the message's own fields),
    ``tap {key, scan_result?, scan_type?, pictures?}``, ``report_location {latitude?, longitude?, precision?}``.
    """
    openid, action = request.path_params["openid"], request.path_params["action"]
    if action not in ACTIONS:
        raise WorldError(f"unknown action {action!r}; known: {', '.join(sorted(ACTIONS))}")
    phone = world.phone(None if openid == NEW_USER else openid, appid=text(body, "appid"))
    return {"openid": phone.openid, **(ACTIONS[action](phone, body) or {})}


def say(phone: Phone, body: JsonObject) -> None:
    """Write a text."""
    phone.say(text(body, "text", "") or "", menu_line=text(body, "menu_line"))


def tap(phone: Phone, body: JsonObject) -> JsonObject:
    """Tap a menu button."""
    button = phone.tap(
        needed(body, "key"),
        scan_result=text(body, "scan_result", "https://example.com/") or "",
        scan_type=text(body, "scan_type", "qrcode") or "",
        pictures=int(number(body, "pictures", 1)),
    )
    return {"button": button}


def report_location(phone: Phone, body: JsonObject) -> None:
    """Report where the phone is."""
    latitude, longitude, _label = HERE
    phone.report_location(
        number(body, "latitude", latitude),
        number(body, "longitude", longitude),
        precision=number(body, "precision", 65.0),
    )


def sender(kind: str) -> Callable[[Phone, JsonObject], None]:
    """Return the act that sends one kind of message with the fields given."""

    def act(phone: Phone, body: JsonObject) -> None:
        phone.send(kind, **{name: value for name, value in body.items() if name != "appid"})

    return act


NEW_USER: Final = "new"
ACTIONS: Final[dict[str, Callable[[Phone, JsonObject], JsonObject | None]]] = {
    "follow": lambda phone, _body: phone.follow(),
    "unfollow": lambda phone, _body: phone.unfollow(),
    "scan": lambda phone, body: phone.scan(needed(body, "ticket")),
    "pay": lambda phone, _body: phone.pay(),
    "say": say,
    "write": say,
    "tap": tap,
    "report_location": report_location,
    **{kind: sender(kind) for kind in SENDABLE if kind != "text"},
}


def push(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST push {fields, openid?, appid?}: push any fields, as given."""
    fields = as_object(body.get("fields"))
    if fields is None:
        raise WorldError("fields must be an object")
    pushed = world.push(fields, text(body, "openid"), appid=text(body, "appid"))
    return {"push": pushed.id if pushed is not None else None}


def chat(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET chat?openid=&appid=&wait=: the lines a user sees; ``wait`` waits so many seconds for all deliveries."""
    query = request.query_params
    lines = world.chat(query.get("openid", ""), appid=query.get("appid"))
    return {"chat": [attrs.asdict(line) for line in lines]}


def deliveries(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET deliveries?openid=&since=&appid=&wait=: the requests made to the developer's server, with verdicts."""
    query = request.query_params
    since = query.get("since", "0")
    if not since.isdecimal():
        raise WorldError("since must be a whole number")
    found = world.deliveries(query.get("openid"), since=int(since), appid=query.get("appid"))
    return {"deliveries": [attrs.asdict(attempt) for attempt in found], "settled": world.settled}


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
        world.announce()
        shown = show_account(account)
        if known is None:
            shown["secret"] = account.secret
        return shown


def add_template(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST templates {title, content, appid?}: put a template into an account's list."""
    return {
        "template_id": world.add_template(needed(body, "title"), needed(body, "content"), appid=text(body, "appid"))
    }


def sent(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET sent?openid=&appid=: what was accepted for delivery."""
    query = request.query_params
    return {"sent": [attrs.asdict(item) for item in world.sent(query.get("openid"), appid=query.get("appid"))]}


def pushes(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET pushes?openid=&appid=: what the platform has to tell the developer's server."""
    query = request.query_params
    return {"pushes": [attrs.asdict(item) for item in world.pushes(query.get("openid"), appid=query.get("appid"))]}


def take_snapshot(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET snapshot: the whole state as one document."""
    return world.snapshot()


def restore_snapshot(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST restore: go back to a snapshot."""
    world.restore(body)
    return {"ok": True}


def answer_json(value: object, status: int = 200) -> Response:
    """Return JSON in ASCII: the journal may hold broken text that a caller has sent."""
    headers = {"cache-control": "no-store"}
    return Response(json.dumps(value), status, headers=headers, media_type="application/json")


def endpoint(world: World, view: View) -> Callable[[WebRequest], Awaitable[Response]]:
    """Wrap a view: read the body, turn a wrong wish into HTTP 400 with a sentence."""

    async def answer(request: WebRequest) -> Response:
        raw = await request.body()
        try:
            body = as_object(json.loads(raw)) if raw.strip() else {}
        except ValueError:
            body = None
        if body is None:
            return answer_json({"error": "the body must be a JSON object"}, 400)
        try:
            await settle(world, request)
            found = view(world, request, body)
            return answer_json(found if isinstance(found, dict) else await found)
        except ValueError as error:
            return answer_json({"error": str(error)}, 400)

    return answer


async def settle(world: World, request: WebRequest) -> None:
    """Wait until all pushes are delivered, at most as many seconds as the query says in ``wait``."""
    wanted = request.query_params.get("wait", "0")
    try:
        seconds = min(float(wanted), LONGEST_WAIT)
    except ValueError:
        raise WorldError("wait must be a number of seconds") from None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds if seconds > 0 else None):
            # The world is changed by any thread; a short look now and then needs no bridge to this loop.
            while seconds > 0 and not world.settled:  # noqa: ASYNC110
                await asyncio.sleep(WAIT_STEP)


def control_routes(world: World, courier: Courier | None = None) -> list[WebRoute]:
    """Return the control routes of a world, without their prefix."""
    table: list[tuple[str, str, View]] = [
        ("GET", "/state", state),
        ("GET", "/journal", journal),
        ("POST", "/reset", reset),
        ("POST", "/clock", clock),
        ("GET", "/faults", list_faults),
        ("POST", "/faults", add_fault),
        ("DELETE", "/faults", remove_faults),
        ("POST", "/tokens/kill", kill_token),
        ("POST", "/risk", decide_risk),
        ("POST", "/users", create_users),
        ("POST", "/users/{openid}/{action}", user_acts),
        ("POST", "/accounts", set_account),
        ("POST", "/callback", set_callback(courier)),
        ("POST", "/push", push),
        ("GET", "/chat", chat),
        ("GET", "/deliveries", deliveries),
        ("POST", "/templates", add_template),
        ("GET", "/sent", sent),
        ("GET", "/pushes", pushes),
        ("GET", "/snapshot", take_snapshot),
        ("POST", "/restore", restore_snapshot),
    ]
    return [WebRoute(path, endpoint(world, view), methods=[method]) for method, path, view in table]
