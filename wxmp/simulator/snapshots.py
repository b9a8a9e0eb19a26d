"""Snapshots: a whole world as one JSON document, and back."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Final, cast

import attrs

from wxmp.simulator.families import EVENTS
from wxmp.simulator.faults import Fault
from wxmp.simulator.policy import Policy
from wxmp.simulator.state import WorldState
from wxmp.simulator.wire import JsonObject, WorldError, as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cattrs.preconf.json import JsonConverter

    from wxmp.simulator.world import World

__all__ = ["VERSION", "Snapshot", "converter", "policy_document", "read", "read_policy_document", "write"]

#: Grows when a document of the version before cannot be read any more. New fields with defaults do not count.
VERSION: Final = 1
#: What happens later without a family of endpoints.
WORLD_EVENTS: Final = frozenset({"outsider", "push_due"})
LATEST: Final = 253_402_300_799.0  # the last second of the year 9999: calendars end there


@attrs.frozen
class Snapshot:
    """What a document holds."""

    now: float
    state: WorldState
    faults: list[Fault]


@cache
def converter() -> JsonConverter:
    """Return the converter between records and JSON; free JSON values inside pass unchanged.

    There is one: what it learns of a record takes longer than any document.
    """
    from cattrs.preconf.json import make_converter

    made = make_converter()  # bytes become base64
    made.register_structure_hook_func(lambda kind: kind is object, lambda value, _kind: value)
    return made


def write(world: World) -> JsonObject:
    """Write a world down: its state, its faults, its time. Call it under the world's lock."""
    plain = converter()
    document = {
        "version": VERSION,
        "now": world.now(),
        "state": plain.unstructure(world.state),
        "faults": plain.unstructure(list(world.faults.rules)),
    }
    # The detour over text makes a copy: free JSON values in the state are passed on as they are.
    return cast("JsonObject", json.loads(json.dumps(document)))


def read(document: Mapping[str, object]) -> Snapshot:
    """Read a document. Fields that it lacks, because it is older, have their defaults; unknown ones are read past.

    Raises:
        WorldError: It has another version, or cannot be read.
    """
    from cattrs.errors import BaseValidationError

    version = document.get("version")
    if version != VERSION:
        what = f"has version {version!r}" if "version" in document else "has no version"
        raise WorldError(f"not a snapshot of version {VERSION}: it {what}")
    plain = converter()
    try:
        # A detour over JSON text: the document may hold the records of a living world, which must not be shared.
        own = json.loads(json.dumps(document))
        state = plain.structure(own["state"], WorldState)
        faults = plain.structure(own.get("faults", []), list[Fault])
        now = float(own["now"])
    except (BaseValidationError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WorldError(f"the snapshot cannot be read: {type(error).__name__}") from error
    if not 0 <= now <= LATEST:
        raise WorldError("the snapshot cannot be read: its time is none")
    if state.default_appid not in state.accounts:
        raise WorldError("the snapshot cannot be read: its default account is missing")
    unknown = {event.kind for event in state.events} - EVENTS.keys() - WORLD_EVENTS
    if unknown:
        raise WorldError(f"the snapshot cannot be read: nobody knows the event {min(unknown)!r}")
    people = range(1, len(state.people) + 1)
    if any(user.person not in people for account in state.accounts.values() for user in account.users.values()):
        raise WorldError("the snapshot cannot be read: a user is nobody of its people")
    return Snapshot(now, state, faults)


def policy_document(policy: Policy) -> JsonObject:
    """Return the rules that differ from the defaults, as plain JSON: only those."""
    usual, whole = Policy(), cast("JsonObject", converter().unstructure(policy))
    names = [field.name for field in attrs.fields(Policy)]
    changed = {name: whole[name] for name in names if getattr(policy, name) != getattr(usual, name)}
    return cast("JsonObject", json.loads(json.dumps(changed)))


def read_policy_document(values: object) -> Policy:
    """Return the rules of such a document; what it does not name has its default, what nobody knows is read past.

    Raises:
        WorldError: It is no mapping, or a value does not fit.
    """
    from cattrs.errors import BaseValidationError

    plain, given = converter(), as_object(values)
    if given is None:
        raise WorldError("its policy is no mapping")
    try:
        return plain.structure({**plain.unstructure(Policy()), **given}, Policy)
    except (BaseValidationError, TypeError, ValueError) as error:
        raise WorldError(f"its policy cannot be read: {type(error).__name__}") from error
