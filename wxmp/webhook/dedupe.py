"""Exactly once (消息排重): who handles a push, and which answer every delivery of it gets.

The platform delivers a push again when the answer does not come within 5 s, three times in all, each time with a new
signature. Every delivery asks the store first. One of them becomes the owner and runs the handler, under a lease that
it renews; the others wait for the same answer. When the owner dies, its lease ends and the next one takes over.
"""

from __future__ import annotations

import abc
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Claim", "ClaimStatus", "DedupeStore", "MemoryDedupe"]

ClaimStatus: TypeAlias = Literal["new", "running", "done", "late", "replayed"]

#: Entries of a memory store: at 100 pushes a second this covers more than 10 minutes.
MAX_ENTRIES: Final = 100_000
#: Deliveries between two sweeps.
SWEEP_EVERY: Final = 16
#: Seconds for which a late answer is remembered of a push that was forgotten meanwhile.
LATE_KEEP: Final = 60.0


@attrs.define  # one for every delivery: frozen would cost twice as much to make
class Claim:
    """What the store says to a delivery.

    ``"new"``: handle it. ``"running"``: somebody handles it. ``"done"``: here is the answer. ``"late"``: it was
    answered after the fact, by a customer-service message. ``"replayed"``: this very request was seen before.
    """

    status: ClaimStatus
    #: Goes up with each owner. An owner whose fence is no longer the highest has been replaced and may store nothing.
    fence: int = 0
    #: Which delivery of the push this is, counted from 1.
    delivery: int = 0
    #: The rendered reply in plain text; empty for "nothing to show".
    answer: bytes = attrs.field(default=b"", repr=False)
    #: Seconds until the lease of a running one ends.
    wait: float = 0.0


class DedupeStore(abc.ABC):
    """Where the deliveries of one push meet, in one process or across a fleet (消息排重).

    Every verb is one atomic step by the clock of the backend. Keys are ``"appid:digest"``. A backend that fails
    raises :class:`~wxmp.errors.WebhookStoreError`.

    A store may lose what it knows (a restart, a full memory). Of a push that it does not know the word of an owner
    counts: it may extend, finish and answer late. The fences of a push that is made anew are above those of before.
    """

    @abc.abstractmethod
    async def begin(self, key: str, *, replay: str = "", replay_for: float = 0.0, lease: float, keep: float) -> Claim:
        """Announce a delivery, or look again for a connection that waits.

        Args:
            key: The push.
            replay: The request, by its signature. It is remembered for ``replay_for`` seconds: if it is known already
                the answer is ``"replayed"`` and nothing changes. Without it nothing is counted: a connection that
                waits looks again.
            replay_for: Seconds.
            lease: Seconds the owner has until it must extend. A push that is free, or whose lease is over, is given
                to the caller: ``"new"`` with a fence higher than any before.
            keep: Seconds for which the push is remembered at least.

        Returns:
            The claim. ``"done"`` marks the answer as taken, see :meth:`claim_late`.
        """

    @abc.abstractmethod
    async def extend(self, key: str, *, fence: int, lease: float) -> bool:
        """Renew the lease; False when somebody else owns the push now, or it is finished."""

    @abc.abstractmethod
    async def finish(self, key: str, *, fence: int, answer: bytes, keep: float, taken: bool) -> bool:
        """Store the answer for ``keep`` seconds.

        Args:
            key: The push.
            fence: The owner's.
            answer: The rendered reply.
            keep: Seconds.
            taken: Whether a connection waits for it right now.

        Returns:
            False when somebody else owns the push now: nothing is stored.
        """

    @abc.abstractmethod
    async def claim_late(self, key: str, *, fence: int) -> bool:
        """Take the right to answer in another way; True once, and only if no connection has taken the answer."""

    @abc.abstractmethod
    async def forget(self, key: str, *, fence: int) -> None:
        """Leave the push to its next delivery. The number of deliveries stays."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release what the store holds. It may be used again."""


@attrs.define
class _Entry:
    """One push."""

    until: float
    delivery: int = 0
    fence: int = 0
    lease_until: float = 0.0
    state: Literal["free", "running", "done", "late"] = "free"
    taken: bool = False
    answer: bytes = b""


class MemoryDedupe(DedupeStore):
    """Deduplication within one process: right for a service with a single worker, and for tests.

    Bounded: when it is full the oldest entries go first, which then count as never seen.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an empty store.

        Args:
            max_entries: Most pushes, and most requests, remembered at a time, give or take a few.
            clock: Seconds, for tests.

        Raises:
            ConfigError: ``max_entries`` is not a positive number.
        """
        if max_entries < 1:
            raise ConfigError("max_entries must be at least 1", field="max_entries")
        self._max = max_entries
        self._clock = clock
        # Both in the order of their arrival. Times to keep differ little, so looking at the oldest finds what is over.
        self._pushes: OrderedDict[str, _Entry] = OrderedDict()
        self._requests: OrderedDict[str, float] = OrderedDict()
        self._arrivals = 0

    def __repr__(self) -> str:
        return f"MemoryDedupe({len(self._pushes)} pushes, {len(self._requests)} requests)"

    def __len__(self) -> int:
        return len(self._pushes)

    def __contains__(self, key: object) -> bool:
        """Whether a push is remembered."""
        return key in self._pushes

    async def begin(self, key: str, *, replay: str = "", replay_for: float = 0.0, lease: float, keep: float) -> Claim:
        """See :meth:`DedupeStore.begin`."""
        now = self._clock()
        pushes = self._pushes
        if replay:
            requests = self._requests
            known = requests.get(replay)
            if known is not None and known > now:
                return Claim("replayed")
            requests[replay] = now + replay_for
            self._arrivals += 1
            if not self._arrivals % SWEEP_EVERY:
                self._sweep(now)
        entry = pushes.get(key)
        if entry is None or entry.until <= now:
            if entry is not None:
                del pushes[key]
            # A fence must stay the highest after its push was forgotten: an owner may still be running.
            fence, delivery = time.monotonic_ns(), 1 if replay else 0
            pushes[key] = _Entry(now + max(keep, lease), delivery, fence, now + lease, "running")
            return Claim("new", fence, delivery)
        if replay:
            entry.delivery += 1
        entry.until = max(entry.until, now + keep)
        if entry.state == "done":
            entry.taken = True
            return Claim("done", entry.fence, entry.delivery, entry.answer)
        if entry.state == "late":
            return Claim("late", entry.fence, entry.delivery)
        if entry.state == "running" and entry.lease_until > now:
            return Claim("running", entry.fence, entry.delivery, wait=entry.lease_until - now)
        entry.state = "running"
        # Not just one more: an owner from before may have been believed, and a newer one may still be running.
        entry.fence = max(entry.fence + 1, time.monotonic_ns())
        entry.lease_until = now + lease
        return Claim("new", entry.fence, entry.delivery)

    async def extend(self, key: str, *, fence: int, lease: float) -> bool:
        """See :meth:`DedupeStore.extend`."""
        entry = self._owned(key, fence)
        if entry is None:
            return False
        entry.lease_until = self._clock() + lease
        entry.until = max(entry.until, entry.lease_until)
        return True

    async def finish(self, key: str, *, fence: int, answer: bytes, keep: float, taken: bool) -> bool:
        """See :meth:`DedupeStore.finish`."""
        now = self._clock()
        entry = self._pushes.get(key)
        if entry is None or entry.until <= now:
            entry = self._owned(key, fence)
        if entry is None or entry.fence != fence or entry.state != "running":
            return False
        entry.state, entry.answer, entry.taken, entry.until = "done", answer, taken, now + keep
        return True

    async def claim_late(self, key: str, *, fence: int) -> bool:
        """See :meth:`DedupeStore.claim_late`."""
        entry = self._known(key)
        if entry is None:
            entry = self._pushes[key] = _Entry(self._clock() + LATE_KEEP, fence=fence, state="done")
        if entry.fence != fence or entry.state != "done" or entry.taken:
            return False
        entry.state, entry.answer = "late", b""
        return True

    async def forget(self, key: str, *, fence: int) -> None:
        """See :meth:`DedupeStore.forget`."""
        entry = self._owned(key, fence) if self._known(key) is not None else None
        if entry is not None:
            entry.state = "free"

    async def aclose(self) -> None:
        """See :meth:`DedupeStore.aclose`; there is nothing to release, and nothing is forgotten."""

    def _known(self, key: str) -> _Entry | None:
        """Return what is remembered of a push; what is over but not swept yet counts as forgotten."""
        entry = self._pushes.get(key)
        if entry is not None and entry.until <= self._clock():
            del self._pushes[key]
            return None
        return entry

    def _owned(self, key: str, fence: int) -> _Entry | None:
        entry = self._known(key)
        if entry is None:
            entry = self._pushes[key] = _Entry(0.0, fence=fence, state="running")
        return entry if entry.fence == fence and entry.state == "running" else None

    def _sweep(self, now: float) -> None:
        """Drop what is over, and the oldest of what is too much."""
        requests, pushes = self._requests, self._pushes
        # Twice as many as have come since the last time, so that a full store gets smaller.
        for _ in range(2 * SWEEP_EVERY):
            if not requests:
                break
            oldest = next(iter(requests))
            if requests[oldest] > now and len(requests) <= self._max:
                break
            del requests[oldest]
        for _ in range(2 * SWEEP_EVERY):
            if not pushes:
                break
            first = next(iter(pushes))
            if pushes[first].until > now and len(pushes) <= self._max:
                break
            del pushes[first]
