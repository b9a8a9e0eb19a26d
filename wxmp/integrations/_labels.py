"""What the metrics of both exporters have in common: their buckets, and labels that cannot grow without end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wxmp.events import CallFinished, CallRetried

__all__ = ["FINE", "MOST_ENDPOINTS", "OTHER", "SECONDS", "SECONDS_OF_ANSWERS", "Capped", "error_code"]

#: Seconds: the buckets that OpenTelemetry recommends for HTTP, which a platform behind the public network fits, and two
#: for calls that are repeated: their last attempt begins after up to 30 s.
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0)
#: Of answers to the platform: 4 s part those in time from those that went out at the deadline (4.5 s) or later.
SECONDS_OF_ANSWERS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0)
#: So many different values a label may have in one process: the library itself calls 300 endpoints at most. What is
#: more, from ``client.request``, is counted as :data:`OTHER`.
MOST_ENDPOINTS: Final = 400
MOST_CODES: Final = 200
OTHER: Final = "other"
#: Ends of calls and of bulk sends that are no error.
FINE: Final = ("ok", "cancelled")


class Capped:
    """Passes on the first values it sees, and :data:`OTHER` for all that come later."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return ``value`` or :data:`OTHER`."""
        if value in self._known:
            return value
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value


def error_code(event: CallFinished | CallRetried, reason: str) -> str:
    """Return what to count a failure by: the platform's code if there is one, else the class of the error."""
    return str(event.errcode) if event.errcode is not None else event.code or reason
