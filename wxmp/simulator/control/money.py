"""WeChat Pay and what the administrator decides, over HTTP: merchants, orders, mass sends that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from wxmp.simulator.control.reading import View, account_in, flag, number, text, whole
from wxmp.simulator.wire import JsonObject, WorldError, as_list, as_object

if TYPE_CHECKING:
    from starlette.requests import Request as WebRequest

    from wxmp.simulator.world import World

__all__ = ["ROUTES"]

DECISIONS: Final = {"approve": True, "refuse": False}


def merchants(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET merchants?keys=1: the merchants with their made-up secrets; with ``keys`` the keys and certificates too."""
    from wxmp.simulator.pay import ledger

    return ledger.describe_merchants(world, keys=request.query_params.get("keys") in {"1", "true"})


def add_merchant(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST merchants {mchid?, appid?}: add a merchant."""
    from wxmp.simulator.pay import ledger

    with world.lock:
        merchant = ledger.add_merchant(world, text(body, "mchid"), text(body, "appid"))
        return ledger.describe_merchant(merchant)


def rotate(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """POST merchants/{mchid}/rotate: a new platform certificate; the old one stays good for a while."""
    from wxmp.simulator.pay import ledger

    with world.lock:
        merchant = ledger.merchant_of(world, request.path_params["mchid"])
        ledger.rotate_certificate(world, merchant)
        return ledger.describe_merchant(merchant)


def fund(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST merchants/{mchid}/fund {amount}: put money (fen) into a merchant's balance."""
    from wxmp.simulator.pay import ledger

    amount = number(body, "amount", 0)
    if amount != int(amount):
        raise WorldError("amount must be a whole number of fen")
    return {"balance": ledger.fund(world, int(amount), request.path_params["mchid"])}


def orders(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET orders?openid=&appid=&mchid=: the orders, newest first; of one user those they could pay or have paid."""
    from wxmp.simulator.pay import ledger

    query = request.query_params
    found = ledger.describe_orders(world, query.get("openid") or None, mchid=query.get("mchid") or None)
    appid = query.get("appid")
    if not appid:
        return found
    listed = as_list(found["orders"]) or []
    return {"orders": [order for order in listed if (as_object(order) or {}).get("appid") == appid]}


def act_on_order(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST orders/{out_trade_no}/close|expire|notify|refund {mchid?}: what a console or the platform could do to it."""
    from wxmp.simulator.pay import ledger

    wanted = request.path_params
    return ledger.act_on_order(world, wanted["out_trade_no"], wanted["action"], mchid=text(body, "mchid"))


def notices(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET notices?mchid=&since=&wait=: the requests made with payment notices, oldest first, each with its verdict."""
    from wxmp.simulator.pay import ledger

    mchid = request.query_params.get("mchid") or None
    found = ledger.notice_attempts(world, mchid, since=whole(request, "since", 0))
    return {"notices": [attrs.asdict(attempt) for attempt in found], "settled": world.settled}


def broadcasts(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET broadcasts?appid=: the mass sends of an account, the newest first, and whether they are protected."""
    with world.lock:
        world.run_due()
        outreach = account_in(world, request).outreach
        found = [attrs.asdict(item) for item in reversed(outreach.broadcasts.values())]
        return {"broadcasts": found, "protected": outreach.protected}


def protect(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST broadcasts {protected, appid?}: switch the protection of mass sends (群发保护) on or off."""
    with world.lock:
        outreach = world.account_of(text(body, "appid")).outreach
        outreach.protected = flag(body, "protected", default=True)
        return {"protected": outreach.protected}


def decide_broadcast(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """POST broadcasts/{msg_id}/approve|refuse?appid=: play the administrator of a protected mass send."""
    from wxmp.simulator import outreach

    decision = DECISIONS.get(request.path_params["decision"])
    if decision is None:
        raise WorldError("a mass send is approved or refused")
    wanted = request.path_params["msg_id"]
    if not (wanted.isascii() and wanted.isdecimal()):
        raise WorldError("msg_id must be a whole number")
    decided = outreach.decide(world, account_in(world, request), int(wanted), decision)
    return {"broadcast": attrs.asdict(decided)}


ROUTES: Final[tuple[tuple[str, str, View], ...]] = (
    ("GET", "/merchants", merchants),
    ("POST", "/merchants", add_merchant),
    ("POST", "/merchants/{mchid}/rotate", rotate),
    ("POST", "/merchants/{mchid}/fund", fund),
    ("GET", "/orders", orders),
    ("POST", "/orders/{out_trade_no}/{action}", act_on_order),
    ("GET", "/notices", notices),
    ("GET", "/broadcasts", broadcasts),
    ("POST", "/broadcasts", protect),
    ("POST", "/broadcasts/{msg_id}/{decision}", decide_broadcast),
)
