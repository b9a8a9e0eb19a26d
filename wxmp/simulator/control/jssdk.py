"""What pages inside the phone ask for: the signature of ``wx.config``, the subscription popup, a transfer to take."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from wxmp.simulator.control.reading import View, account_in, needed
from wxmp.simulator.outreach import Consent
from wxmp.simulator.wire import JsonObject, WorldError

if TYPE_CHECKING:
    from starlette.requests import Request as WebRequest

    from wxmp.simulator.state import Account
    from wxmp.simulator.world import World

__all__ = ["ROUTES"]

INVALID: Final = "config:fail, invalid signature"


def judge_config(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST jssdk {appid, timestamp, noncestr, signature, url}: judge the signature that a page hands to ``wx.config``.

    The answer holds ``ok``, the ``error`` as the page gets it, and ``why`` as its developer needs it. It holds neither
    the ticket nor the signature that would have been right.
    """
    signature, url = needed(body, "signature"), needed(body, "url")
    parts = (needed(body, "noncestr"), needed(body, "timestamp"))
    with world.lock:
        world.run_due()
        account = world.state.accounts.get(needed(body, "appid"))
        if account is None:
            return verdict("config:fail, invalid appid", "no account of this world has the AppID")
        why = find_mistake(account, world.now(), signature, parts, url)
    return verdict("config:ok", "") if why is None else verdict(INVALID, why)


def verdict(error: str, why: str) -> JsonObject:
    """Return the answer to the page."""
    return {"ok": not why, "error": error, "why": why}


def find_mistake(account: Account, now: float, signature: str, parts: tuple[str, str], url: str) -> str | None:
    """Return what is wrong with a signature, as far as can be told; ``None`` when it is right."""
    ticket, expires_at = account.tickets.get("jsapi", ("", 0.0))
    if not ticket:
        return "no jsapi_ticket was fetched in this world yet"
    noncestr, timestamp = parts
    page = url.partition("#")[0]
    if is_signed(signature, ticket, noncestr, timestamp, page):
        return None if now < expires_at else "the jsapi_ticket is over its life"
    card = account.tickets.get("wx_card", ("", 0.0))[0]
    suspects = (
        (ticket, noncestr, timestamp, url, "the signed url holds the part from # on"),
        (ticket, noncestr, timestamp, page.partition("?")[0], "the signed url lacks the query"),
        (ticket, noncestr, timestamp, unquote(page), "the signed url is decoded: sign it as the browser shows it"),
        (ticket, noncestr, timestamp, page.rstrip("/"), "the signed url lacks the slash at its end"),
        (ticket, timestamp, noncestr, page, "noncestr and timestamp are swapped"),
        (card, noncestr, timestamp, page, "it was signed with the ticket for cards"),
    )
    for used, nonce, moment, address, why in suspects:
        if used and is_signed(signature, used, nonce, moment, address):
            return why
    return "an old jsapi_ticket, another url, or other values of noncestr and timestamp were signed"


def is_signed(signature: str, ticket: str, noncestr: str, timestamp: str, url: str) -> bool:
    """Tell whether a signature was made of these values."""
    text = f"jsapi_ticket={ticket}&noncestr={noncestr}&timestamp={timestamp}&url={url}"
    made = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return hmac.compare_digest(made.encode(), signature.encode())


def subscriptions(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET subscriptions?openid=&appid=: the subscription templates of an account, and what a user allows of each."""
    with world.lock:
        account = account_in(world, request)
        openid = request.query_params.get("openid", "")
        if openid not in account.users:
            raise WorldError("no such user of this account")
        given = account.outreach.consents.get(openid, {})
        found: list[JsonObject] = []
        for template in account.outreach.templates.values():
            consent = given.get(template.template_id, Consent())
            found.append(
                {
                    "template_id": template.template_id,
                    "title": template.title,
                    "kind": template.kind,
                    "left": consent.left,
                    "lasting": consent.lasting,
                    "refused": consent.refused,
                }
            )
        return {"templates": found, "most": world.policy.subscribe_popup_templates}


def transfer(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET transfer?package=: what a phone shows of a transfer before it is taken (商家转账)."""
    with world.lock:
        world.run_due()
        found = world.state.pay.packages.get(request.query_params.get("package", ""))
        if found is None:
            raise WorldError("no such transfer, or it is over")
        merchant = world.state.pay.merchants[found[0]]
        item = merchant.transfers[found[1]]
        return {
            "merchant": merchant.name,
            "amount": item.amount,
            "remark": item.remark,
            "out_bill_no": item.out_bill_no,
        }


ROUTES: Final[tuple[tuple[str, str, View], ...]] = (
    ("POST", "/jssdk", judge_config),
    ("GET", "/subscriptions", subscriptions),
    ("GET", "/transfer", transfer),
)
