"""People over HTTP: who there is, what their phones show, what they do, and what reached them."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qsl, urlsplit

import attrs

from wxmp.simulator.control.reading import View, account_in, flag, needed, number, phone_in, text, whole
from wxmp.simulator.overview import SHOWN_LINES, SHOWN_PHONES, describe_phone, describe_phones
from wxmp.simulator.phone import HERE, SENDABLE, Phone
from wxmp.simulator.wire import JsonObject, Request, WorldError, as_list, as_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request as WebRequest

    from wxmp.simulator.pay.pad import How
    from wxmp.simulator.world import World

__all__ = ["ROUTES"]

MAX_FOLLOWERS: Final = 1_000_000
NEW_USER: Final = "new"
HOWS_TO_PAY: Final = ("confirm", "cancel", "fail", "slow")
CHOICES: Final = frozenset({"accept", "reject"})
ORDER_NAMES: Final = ("prepay_id", "code_url", "h5_url", "package")
MEDIA_KINDS: Final = frozenset({"image", "voice", "video", "shortvideo"})


def create_users(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST users {count, appid?, following?}: create followers, or strangers."""
    count = int(number(body, "count", 1))
    if not 0 <= count <= MAX_FOLLOWERS:
        raise WorldError(f"count must be between 0 and {MAX_FOLLOWERS}")
    appid = text(body, "appid")
    if body.get("following") is False:
        return {"openids": [world.create_stranger(appid=appid) for _ in range(count)]}
    return {"openids": world.create_followers(count, appid=appid)}


def phones(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET phones?appid=&limit=&q=: the phones of an account, the latest talk first."""
    account = account_in(world, request)
    limit = whole(request, "limit", SHOWN_PHONES)
    shown, total = describe_phones(world, account, limit=limit, wanted=request.query_params.get("q", ""))
    return {"appid": account.appid, "phones": shown, "total": total}


def phone(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET phone?openid=&appid=&lines=: everything one phone shows."""
    with world.lock:
        account = account_in(world, request)
        user = account.users.get(request.query_params.get("openid", ""))
        if user is None:
            raise WorldError("no such user of this account")
        return describe_phone(world, account, user, lines=whole(request, "lines", SHOWN_LINES))


def user_acts(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST users/{openid}/{action}: a user does something.

    ``openid`` is ``new`` for somebody new; with ``{"name": …}`` for the person of that name, who appears when needed.

    Actions: ``follow``, ``unfollow``, ``scan {ticket}``, ``pay``, ``say {text, menu_line?}`` (also called ``write``),
    ``image``, ``voice``, ``video``, ``shortvideo`` (each with ``data``, the file in base64, and ``filename``, or with
    the message's own fields), ``location``, ``link``, ``tap {key, scan_result?, scan_type?, pictures?}``,
    ``report_location {latitude?, longitude?, precision?}``, ``open`` (the chat), ``refresh_menu``,
    ``subscribe_popup {template_ids}``, ``subscription {template_id, on}``, ``read {article}``,
    ``comment {article, text}``, ``change_password``, ``revoke_authorization {info?}``,
    ``oauth {url | redirect_uri, scope?, state?, deny?, snapshot?}``.
    """
    openid, action = request.path_params["openid"], request.path_params["action"]
    if action not in ACTIONS and action != "oauth":
        raise WorldError(f"unknown action {action!r}; known: {', '.join(sorted([*ACTIONS, 'oauth']))}")
    appid, name = text(body, "appid"), text(body, "name")
    if openid != NEW_USER:
        acting = world.phone(openid, appid=appid)
    elif name:
        acting = world.user(name, appid=appid)
    else:
        acting = world.phone(None, appid=appid)
    if action == "oauth":
        return {"openid": acting.openid, **authorize(world, acting.openid, body)}
    if action == "pay":
        body = name_order(world, body)
    return {"openid": acting.openid, **(ACTIONS[action](acting, body) or {})}


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


def sender(kind: str) -> Callable[[Phone, JsonObject], JsonObject | None]:
    """Return the act that sends one kind of message: a file, or the fields given."""

    def act(phone: Phone, body: JsonObject) -> None:
        fields = {name: value for name, value in body.items() if name not in {"appid", "name"}}
        if kind in MEDIA_KINDS and "data" in fields:
            send_file(phone, kind, decode(needed(body, "data")), text(body, "filename") or "", body)
        else:
            phone.send(kind, **fields)

    return act


def decode(value: str) -> bytes:
    """Read a file written in base64; the head of a data: URL is forgiven."""
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise WorldError("data must be base64") from None


def send_file(phone: Phone, kind: str, data: bytes, filename: str, body: JsonObject) -> None:
    """Send a file from the phone: it becomes temporary media, which the service can download."""
    if kind == "image":
        phone.send_image(data=data, filename=filename or "image.jpg")
    elif kind == "voice":
        phone.send_voice(data=data, filename=filename or "voice.amr", recognition=text(body, "recognition"))
    else:
        phone.send_video(data=data, filename=filename or "video.mp4", short=kind == "shortvideo")


def answer_popup(phone: Phone, body: JsonObject) -> None:
    """Answer the subscription popup."""
    choices = {name: str(choice) for name, choice in (as_object(body.get("template_ids")) or {}).items()}
    if not choices or not CHOICES.issuperset(choices.values()):
        raise WorldError('template_ids must be an object of "accept" or "reject"')
    phone.answer_popup(choices)


def change_subscription(phone: Phone, body: JsonObject) -> None:
    """Switch a subscription on or off in the settings."""
    phone.change_subscription(needed(body, "template_id"), flag(body, "on", default=True))


def revoke_authorization(phone: Phone, body: JsonObject) -> None:
    """Withdraw what web pages were allowed."""
    phone.revoke_authorization(text(body, "info", "205") or "205")


def read_article(phone: Phone, body: JsonObject) -> None:
    """Open an article."""
    phone.read(needed(body, "article"))


def write_comment(phone: Phone, body: JsonObject) -> JsonObject:
    """Write under an article."""
    return {"comment": phone.comment(needed(body, "article"), needed(body, "text"))}


def authorize(world: World, openid: str, body: JsonObject) -> JsonObject:
    """Open an OAuth page and answer it; return where the browser is sent, with the code."""
    query = dict(parse_qsl(urlsplit(text(body, "url") or "").query, keep_blank_values=True))
    query.setdefault("appid", world.account_of(text(body, "appid")).appid)
    query.setdefault("response_type", "code")
    query.setdefault("scope", "snsapi_base")
    for name in ("redirect_uri", "scope", "state"):
        given = text(body, name)
        if given is not None:
            query[name] = given
    query |= {name: "1" for name in ("deny", "snapshot") if flag(body, name, default=False)}
    query |= {"user": openid, "auto": "1"}
    reply = world.handle(Request("GET", "/connect/oauth2/authorize", query, host="open"))
    location = dict(reply.headers).get("location", "")
    back = dict(parse_qsl(urlsplit(location).query))
    return {"location": location, "code": back.get("code"), "state": back.get("state"), "why": reply.why}


def pay(phone: Phone, body: JsonObject) -> JsonObject | None:
    """Pay an order; without any order, just let the customer-service window of a payment open."""
    order = pay_target(body)
    if order is None:
        phone.pay()
        return None
    how = text(body, "how", "confirm")
    if how not in HOWS_TO_PAY:
        raise WorldError(f"how must be one of {', '.join(HOWS_TO_PAY)}")
    result = phone.pay(order, cast("How", how), text(body, "password"))
    return cast("JsonObject", attrs.asdict(result))


def name_order(world: World, body: JsonObject) -> JsonObject:
    """Replace a merchant's order number by what a phone can pay."""
    wanted = text(body, "out_trade_no")
    if wanted is None or pay_target(body) is not None:
        return body
    from wxmp.simulator.pay import ledger

    for item in as_list(ledger.describe_orders(world)["orders"]) or ():
        order = as_object(item) or {}
        if order.get("out_trade_no") == wanted:
            return {**body, "prepay_id": order.get("prepay_id") or order.get("code_url") or order.get("h5_url") or ""}
    raise WorldError("no such order")


def pay_target(body: JsonObject) -> str | JsonObject | None:
    """Return what is to be paid: the parameters of a page, or the text that names an order."""
    params = as_object(body.get("params"))
    if params is not None:
        return params
    return next((value for name in ORDER_NAMES if (value := text(body, name)) is not None), None)


def nothing(act: Callable[[Phone], None]) -> Callable[[Phone, JsonObject], None]:
    """Return an act that needs no fields."""

    def run(phone: Phone, _body: JsonObject) -> None:
        act(phone)

    return run


def scan(phone: Phone, body: JsonObject) -> None:
    """Scan a QR code."""
    phone.scan(needed(body, "ticket"))


ACTIONS: Final[dict[str, Callable[[Phone, JsonObject], JsonObject | None]]] = {
    "follow": nothing(Phone.follow),
    "unfollow": nothing(Phone.unfollow),
    "open": nothing(Phone.open),
    "refresh_menu": nothing(Phone.refresh_menu),
    "scan": scan,
    "pay": pay,
    "say": say,
    "write": say,
    "tap": tap,
    "report_location": report_location,
    "subscribe_popup": answer_popup,
    "subscription": change_subscription,
    "change_password": nothing(Phone.change_password),
    "revoke_authorization": revoke_authorization,
    "read": read_article,
    "comment": write_comment,
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
    return {"chat": [attrs.asdict(line) for line in phone_in(world, request).chat]}


def deliveries(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET deliveries?openid=&since=&appid=&wait=: the requests made to the developer's server, with verdicts."""
    query = request.query_params
    found = world.deliveries(query.get("openid"), since=whole(request, "since", 0), appid=query.get("appid"))
    return {"deliveries": [attrs.asdict(attempt) for attempt in found], "settled": world.settled}


def sent(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET sent?openid=&appid=: what was accepted for delivery."""
    query = request.query_params
    return {"sent": [attrs.asdict(item) for item in world.sent(query.get("openid"), appid=query.get("appid"))]}


def pushes(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET pushes?openid=&appid=: what the platform has to tell the developer's server."""
    query = request.query_params
    return {"pushes": [attrs.asdict(item) for item in world.pushes(query.get("openid"), appid=query.get("appid"))]}


ROUTES: Final[tuple[tuple[str, str, View], ...]] = (
    ("POST", "/users", create_users),
    ("POST", "/users/{openid}/{action}", user_acts),
    ("GET", "/phones", phones),
    ("GET", "/phone", phone),
    ("POST", "/push", push),
    ("GET", "/chat", chat),
    ("GET", "/deliveries", deliveries),
    ("GET", "/sent", sent),
    ("GET", "/pushes", pushes),
)
