"""The one clock of a simulated world: real, faster than real, standing still, or moved to another time."""

from __future__ import annotations

import threading
import time
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHANGHAI", "Clock"]

#: The platform's days and hours; no summer time.
SHANGHAI: Final = timezone(timedelta(hours=8), "Asia/Shanghai")

# 2026-01-01 12:00:00 in Shanghai: frozen worlds start at noon, so that no test runs into midnight by accident.
FROZEN_START = 1_767_240_000.0
# Seconds by which a clock may differ from the machine's and still show the real time.
TOLERANCE = 0.001


class Timers(Protocol):
    """Something with due events, driven by the clock while it advances."""

    def next_due(self) -> float | None:
        """Return when the earliest event is due, or ``None``."""
        ...

    def run_due(self) -> int:
        """Fire every event that is due now and return how many."""
        ...


class Clock:
    """Seconds since 1970 as the simulated platform sees them.

    Make one with :meth:`real`, :meth:`scaled` or :meth:`frozen`. Time never runs backwards, except through :meth:`set`
    and :meth:`jump`.

    Args:
        start: Where the clock starts; ``None`` takes the source's time.
        speed: Simulated seconds per real second; 0 stands still.
        source: Where real seconds come from.
    """

    def __init__(
        self, *, start: float | None = None, speed: float = 1.0, source: Callable[[], float] = time.time
    ) -> None:
        if speed < 0:
            raise ValueError("speed must not be negative")
        self._lock = threading.RLock()
        self._source = source
        self._anchor = source()
        self._base = self._anchor if start is None else start
        self._speed = speed
        self._timers: list[Timers] = []
        self._jumped = 0.0

    @classmethod
    def real(cls) -> Clock:
        """Return a clock that shows the machine's time."""
        return cls()

    @classmethod
    def scaled(cls, speed: float, *, start: float | None = None) -> Clock:
        """Return a clock that runs ``speed`` times as fast as the machine's."""
        return cls(start=start, speed=speed)

    @classmethod
    def frozen(cls, start: float = FROZEN_START) -> Clock:
        """Return a clock that stands still until :meth:`advance` moves it."""
        return cls(start=start, speed=0.0)

    def __repr__(self) -> str:
        return f"Clock(now={self.now():.3f}, speed={self._speed:g})"

    @property
    def speed(self) -> float:
        """Simulated seconds per real second; 0 when frozen."""
        return self._speed

    def now(self) -> float:
        """Return the simulated time in seconds since 1970 (UTC)."""
        with self._lock:
            return self._base + (self._source() - self._anchor) * self._speed

    def source_now(self) -> float:
        """Return the time of the machine, whatever this clock shows: requests that leave the world carry it."""
        return self._source()

    def set(self, now: float) -> None:
        """Jump to a time, firing nothing. Used to restore a snapshot and to imitate a clock error."""
        with self._lock:
            self._base = now
            self._anchor = self._source()

    def jump(self, seconds: float) -> float:
        """Be wrong from now on: jump forward, or back when negative, firing nothing by itself. Returns the new time.

        What was due on a way forward happens before the next request; what has happened already does not happen again.
        """
        with self._lock:
            self._jumped += seconds
            self.set(self.now() + seconds)
            return self.now()

    @property
    def mode(self) -> Literal["real", "scaled", "frozen", "moved"]:
        """What this clock shows: the machine's time, a faster or slower one, a standing one, or another time of day."""
        with self._lock:
            if self._speed == 0:
                return "frozen"
            if self._speed != 1:
                return "scaled"
            return "real" if abs(self.now() - self._source()) < TOLERANCE else "moved"

    def set_speed(self, speed: float) -> None:
        """Change the speed from now on; 0 freezes the clock."""
        if speed < 0:
            raise ValueError("speed must not be negative")
        with self._lock:
            self.set(self.now())
            self._speed = speed

    def freeze(self) -> None:
        """Stop the clock where it is."""
        self.set_speed(0.0)

    def attach(self, timers: Timers) -> None:
        """Let a world's events fire while this clock advances."""
        self._timers.append(timers)

    def advance(self, seconds: float) -> float:
        """Move forward by ``seconds``, firing every event on the way at its own time, in order.

        Returns:
            The new time.
        """
        if seconds < 0:
            raise ValueError("seconds must not be negative; use set() to jump back")
        target = self.now() + seconds
        while True:
            due = [when for timers in self._timers if (when := timers.next_due()) is not None and when <= target]
            if not due:
                break
            # An overdue event fires now: the clock itself never goes back for it.
            self.set(max(min(due), self.now()))
            before = self._jumped
            fired = sum(timers.run_due() for timers in self._timers)
            # An event may move the clock itself: the rest of the way stays as long as it was.
            target += self._jumped - before
            if not fired:
                break
        self.set(max(target, self.now()))
        return self.now()
