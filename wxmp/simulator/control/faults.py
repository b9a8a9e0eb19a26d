"""Fault rules over HTTP: list, add, switch on and off, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import attrs

from wxmp.simulator.control.reading import View, flag
from wxmp.simulator.faults import EffectInfo, Fault, effects, read_fault
from wxmp.simulator.wire import JsonObject, WorldError

if TYPE_CHECKING:
    from starlette.requests import Request as WebRequest

    from wxmp.simulator.world import World

__all__ = ["ROUTES"]

# What a rule may ask for before it strikes, by what it strikes; every rule may say when and how often.
CONDITIONS: Final[dict[str, tuple[str, ...]]] = {
    "request": ("host", "method", "path", "appid", "client", "openid", "body_contains"),
    "token": ("host", "method", "path", "appid", "client"),
    "push": ("path", "appid", "openid", "event", "body_contains"),
    "pay": ("path", "appid", "openid", "mchid", "event", "body_contains"),
}
MOMENTS: Final = ("first", "nth", "every", "probability", "since", "until", "between", "times")


def show_fault(fault: Fault) -> JsonObject:
    """Return a rule as JSON."""
    return {"label": fault.label, **cast("JsonObject", attrs.asdict(fault))}


def show_effect(info: EffectInfo) -> JsonObject:
    """Return one effect: what it does in two languages, and the fields of a rule that mean something for it."""
    return {
        "name": info.name,
        "kind": info.kind,
        "fields": list(info.fields),
        "conditions": [*CONDITIONS[info.kind], *MOMENTS],
        "header": info.value,
        "en": info.en,
        "zh": info.zh,
    }


def list_faults(world: World, _request: WebRequest, _body: JsonObject) -> JsonObject:
    """GET faults: the rules in order, and the effects there are."""
    with world.lock:
        rules = [show_fault(fault) for fault in world.faults.rules]
    return {"faults": rules, "effects": [show_effect(info) for info in effects()]}


def add_fault(world: World, _request: WebRequest, body: JsonObject) -> JsonObject:
    """POST faults: add a rule."""
    rule = read_fault(body)
    with world.lock:
        return show_fault(world.faults.add(rule))


def change_fault(world: World, request: WebRequest, body: JsonObject) -> JsonObject:
    """POST faults/{id} {enabled}: switch a rule off for a while, or on again."""
    wanted = request.path_params["id"]
    with world.lock:
        rule = next((rule for rule in world.faults.rules if str(rule.id) == wanted), None)
        if rule is None:
            raise WorldError("no such fault")
        rule.enabled = flag(body, "enabled", default=True)
        return show_fault(rule)


def remove_faults(world: World, request: WebRequest, _body: JsonObject) -> JsonObject:
    """DELETE faults?id=: remove one rule, or all of them."""
    wanted = request.query_params.get("id")
    with world.lock:
        if wanted is None:
            world.faults.clear()
        elif not (wanted.isascii() and wanted.isdecimal()) or not world.faults.remove(int(wanted)):
            raise WorldError("no such fault")
    return {"ok": True}


ROUTES: Final[tuple[tuple[str, str, View], ...]] = (
    ("GET", "/faults", list_faults),
    ("POST", "/faults", add_fault),
    ("DELETE", "/faults", remove_faults),
    ("POST", "/faults/{id}", change_fault),
)
