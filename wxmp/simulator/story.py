"""What has become of a scenario's timeline: kept in the world's state, so that a snapshot holds it too."""

from __future__ import annotations

import attrs

__all__ = ["StepDone", "Story"]


@attrs.define
class StepDone:
    """One step of a timeline that has taken place.

    Attributes:
        at: Simulated time.
        text: What was done, such as ``"alice: say"``.
        where: Its place in the scenario.
        error: Why it failed; empty when it did not.
    """

    at: float
    text: str
    where: str
    error: str = ""


@attrs.define
class Story:
    """The scenario a world was made from, and the steps that have taken place."""

    name: str = ""
    started_at: float = 0.0
    done: list[StepDone] = attrs.field(factory=list[StepDone])
