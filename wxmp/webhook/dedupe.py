"""Exactly once (消息排重): who handles a push, and which answer every delivery of it gets.

The platform delivers a push again when the answer does not come within 5 s, three times in all, each time with a new
signature. Every delivery asks the store first. One of them becomes the owner and runs the handler, under a lease that
it renews; the others wait for the same answer. When the owner dies, its lease ends and the next one takes over.
"""

from __future__ import annotations

import abc
import time
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar

import attrs

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Claim", "ClaimStatus", "DedupeStore", "MemoryDedupe"]

ClaimStatus: TypeAlias = Literal["new", "running", "done", "late", "replayed"]

#: Entries of a memory store: at 100 pushes a second this covers more than 10 minutes.
MAX_ENTRIES: Final = 100_000
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


_State: TypeAlias = Literal["free", "running", "done", "late"]
#: One push: until when it is remembered, deliveries, fence, end of the lease, state, whether the answer was taken, the
#: answer. A bare tuple of plain values: the garbage collector does not follow it.
_Entry: TypeAlias = tuple[float, int, int, float, _State, bool, bytes]
_UNTIL: Final = 0


V = TypeVar("V")


class _Recent(Generic[V]):
    """Remembers what came lately, in two halves: when the young one is full or old enough, the old one is dropped.

    Plain dictionaries of plain values: the garbage collector passes them by. An ordered dictionary of a hundred
    thousand objects stops a busy process for a twentieth of a second, over and over.
    """

    __slots__ = ("_half", "_old", "_span", "_turn_at", "_young")

    def __init__(self, most: int) -> None:
        self._half = max(most // 2, 1)
        self._span = 0.0
        self._turn_at = float("-inf")
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys()) if self._old else len(self._young)

    def get(self, key: str) -> V | None:
        found = self._young.get(key)
        return found if found is not None else self._old.get(key)

    def put(self, key: str, value: V, now: float, span: float) -> None:
        """Keep a value for ``span`` seconds at least, unless too many others come."""
        self._young[key] = value
        if span > self._span:
            self._turn_at += span - self._span
            self._span = span
        if len(self._young) > self._half or now >= self._turn_at:
            self._turn(now)

    def _turn(self, now: float) -> None:
        full = len(self._young) > self._half
        if full or self._turn_at > float("-inf"):
            self._old = self._young
            self._young = {}
        self._turn_at = now + self._span

    def clear(self) -> None:
        self._young.clear()
        self._old.clear()


class MemoryDedupe(DedupeStore):
    """Deduplication within one process: right for a service with a single worker, and for tests.

    Bounded: when it is full the older half is forgotten, and counts as never seen.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an empty store.

        Args:
            max_entries: Most pushes, and most requests, remembered at a time.
            clock: Seconds, for tests.

        Raises:
            ConfigError: ``max_entries`` is not a positive number.
        """
        if max_entries < 1:
            raise ConfigError("max_entries must be at least 1", field="max_entries")
        self._clock = clock
        self._pushes: _Recent[_Entry] = _Recent(max_entries)
        self._requests: _Recent[float] = _Recent(max_entries)

    def __repr__(self) -> str:
        return f"MemoryDedupe({len(self._pushes)} pushes, {len(self._requests)} requests)"

    def __len__(self) -> int:
        return len(self._pushes)

    def __contains__(self, key: object) -> bool:
        """Whether a push is remembered."""
        return isinstance(key, str) and self._known(key, self._clock()) is not None

    async def begin(self, key: str, *, replay: str = "", replay_for: float = 0.0, lease: float, keep: float) -> Claim:
        """See :meth:`DedupeStore.begin`."""
        now = self._clock()
        pushes = self._pushes
        if replay:
            requests = self._requests
            known = requests.get(replay)
            if known is not None and known > now:
                return Claim("replayed")
            requests.put(replay, now + replay_for, now, replay_for)
        entry = pushes.get(key)
        if entry is None or entry[_UNTIL] <= now:
            # A fence must stay the highest after its push was forgotten: an owner may still be running.
            fence, delivery = time.monotonic_ns(), 1 if replay else 0
            span = max(lease, keep)
            pushes.put(key, (now + span, delivery, fence, now + lease, "running", False, b""), now, span)
            return Claim("new", fence, delivery)
        until, delivery, fence, lease_until, state, taken, answer = entry
        if replay:
            delivery += 1
        if state == "done":
            claim, taken = Claim("done", fence, delivery, answer), True
        elif state == "late":
            claim = Claim("late", fence, delivery)
        elif state == "running" and lease_until > now:
            claim = Claim("running", fence, delivery, wait=lease_until - now)
        else:
            # Not just one more: an owner from before may have been believed, and a newer one may still be running.
            state, fence, lease_until = "running", max(fence + 1, time.monotonic_ns()), now + lease
            claim = Claim("new", fence, delivery)
        until = max(until, now + keep)
        pushes.put(key, (until, delivery, fence, lease_until, state, taken, answer), now, until - now)
        return claim

    async def extend(self, key: str, *, fence: int, lease: float) -> bool:
        """See :meth:`DedupeStore.extend`."""
        now = self._clock()
        until, delivery, owner, _, state, _, _ = self._known(key, now) or _lost(fence, "running")
        if owner != fence or state != "running":
            return False
        until = max(until, now + lease)
        self._pushes.put(key, (until, delivery, fence, now + lease, "running", False, b""), now, until - now)
        return True

    async def finish(self, key: str, *, fence: int, answer: bytes, keep: float, taken: bool) -> bool:
        """See :meth:`DedupeStore.finish`."""
        now = self._clock()
        _, delivery, owner, _, state, _, _ = self._known(key, now) or _lost(fence, "running")
        if owner != fence or state != "running":
            return False
        self._pushes.put(key, (now + keep, delivery, fence, 0.0, "done", taken, answer), now, keep)
        return True

    async def claim_late(self, key: str, *, fence: int) -> bool:
        """See :meth:`DedupeStore.claim_late`."""
        now = self._clock()
        until, delivery, owner, _, state, taken, _ = self._known(key, now) or _lost(fence, "done")
        if owner != fence or state != "done" or taken:
            return False
        until = until or now + LATE_KEEP
        self._pushes.put(key, (until, delivery, fence, 0.0, "late", False, b""), now, until - now)
        return True

    async def forget(self, key: str, *, fence: int) -> None:
        """See :meth:`DedupeStore.forget`."""
        now = self._clock()
        entry = self._known(key, now)
        if entry is not None:
            until, delivery, owner, _, state, _, _ = entry
            if owner == fence and state == "running":
                self._pushes.put(key, (until, delivery, fence, 0.0, "free", False, b""), now, until - now)

    async def aclose(self) -> None:
        """See :meth:`DedupeStore.aclose`; there is nothing to release, and nothing is forgotten."""

    def _known(self, key: str, now: float) -> _Entry | None:
        """Return what is remembered of a push; what is over counts as forgotten."""
        entry = self._pushes.get(key)
        return None if entry is None or entry[_UNTIL] <= now else entry


def _lost(fence: int, state: _State) -> _Entry:
    """Return what an owner says of a push that the store has forgotten."""
    return 0.0, 0, fence, 0.0, state, False, b""
