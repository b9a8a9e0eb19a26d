"""What a client reports to an ``on_event`` hook: state changes, never credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

__all__ = ["Event", "EventHook", "EventName"]

EventName: TypeAlias = Literal[
    "refreshed",
    "refresh_failed",
    "dead_reported",
    "adopted",
    "seeded",
    "fenced_out",
    "lease_wait",
    "store_down",
    "store_up",
    "budget_exhausted",
]


@attrs.frozen(kw_only=True)
class Event:
    """One state change of a shared credential."""

    name: EventName
    appid: str
    channel: str
    #: Generation of the token in question.
    generation: int | None = None
    #: Seconds: the life of a new token (refreshed, adopted, seeded), the cool-down (refresh_failed), the time spent
    #: polling (lease_wait), the time until the next try (store_down, budget_exhausted).
    seconds: float | None = None
    #: Seconds that the token request took (refreshed, refresh_failed).
    elapsed: float | None = None
    #: The platform's errcode (refresh_failed, dead_reported).
    code: int | None = None
    #: Why: ``due``, ``dead``, ``forced``, ``operator``, or the class of an error.
    reason: str = ""


#: Called in the event loop, synchronously: hand slow work to a task of your own. What it raises is logged and dropped.
EventHook: TypeAlias = Callable[[Event], None]
