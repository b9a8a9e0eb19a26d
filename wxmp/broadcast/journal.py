"""What a bulk send writes down before and after each message, so that no crash loses anybody or sends twice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from types import TracebackType

    from wxmp.broadcast.records import Outcome, Result, RunKey

__all__ = ["EVENT_EARLY", "EVENT_LIFE", "WINDOW", "Allowance", "Claim", "Doubt", "Journal", "batch"]

#: Seconds for which the platform knows a de-duplication key, less a margin for clocks and for the call itself.
WINDOW: Final = 600.0 - 60.0
#: Seconds for which the event of a message whose answer was lost may lie behind its claim.
EVENT_LIFE: Final = 86_400.0
#: Seconds that it may lie before it: the platform's times are whole seconds.
EVENT_EARLY: Final = 1.0
#: Shortest part of a second that is granted at once.
TENTH: Final = 0.1


@attrs.frozen
class Claim:
    """One recipient, about to be sent to."""

    openid: str
    #: Whether the message is the caller's to send. Otherwise somebody has settled it or is at it.
    mine: bool


@attrs.frozen
class Doubt:
    """A recipient whose sender died between the claim and the result: the message may have gone out."""

    openid: str
    #: Seconds since it was first claimed; beyond :data:`WINDOW` it must not be sent again.
    #: Infinite if nobody can tell, because the clock was set back.
    age: float


@attrs.frozen
class Allowance:
    """How many messages may go out now."""

    granted: int
    #: Seconds until it makes sense to ask again, when fewer were granted than wanted.
    wait: float = 0.0
    #: Whether the limit of the day stops it.
    day_is_over: bool = False


def batch(per_second: float) -> float:
    """Return how many messages a rate may be ahead of itself: a tenth of a second's, at least one."""
    return max(1.0, per_second * TENTH)


class Journal(ABC):
    """The memory of bulk sends.

    A recipient of a run is in one of three states: unknown to the journal; *in flight* (claimed by an owner, first at a
    time that never changes afterwards); settled with an :class:`~wxmp.broadcast.Outcome`. What a verb returns is
    durable: it survives the death of the process that asked. Each verb is one atomic step on its backend, raises
    :class:`~wxmp.errors.JournalError` when the backend fails, and may be called by many processes at once. A verb that
    failed, or whose caller was cancelled, was carried out as a whole or not at all. A journal may be used from several
    event loops one after the other, and again after :meth:`aclose`.
    """

    #: What stands in errors and logs.
    name: str = "journal"

    @abstractmethod
    async def begin(self, run: RunKey, *, fingerprint: str) -> None:
        """Open a run, new or known.

        Args:
            run: The run.
            fingerprint: What is sent. A run cannot be continued with something else, unless it has sent to nobody
                (a template that does not exist): then it begins anew, and whoever began it before gets a JournalError.

        Raises:
            ConfigError: The name belongs to a run that sends something else to somebody.
        """

    @abstractmethod
    async def known(self, run: RunKey, openids: Sequence[str]) -> Mapping[str, bool]:
        """Return those of ``openids`` that the journal knows: true for settled, false for in flight.

        A run that was never begun knows nobody.
        """

    @abstractmethod
    async def exchange(
        self,
        run: RunKey,
        *,
        owner: str,
        lease: float,
        claims: Sequence[str] = (),
        results: Sequence[Result] = (),
        releases: Sequence[str] = (),
    ) -> tuple[Claim, ...]:
        """Write down results, give back what was not sent, and claim what comes next, in this order and in one step.

        Args:
            run: The run.
            owner: Random id of the sending process. Its lease is renewed.
            lease: Seconds after which a silent owner counts as dead; 0 is a farewell.
            claims: Recipients to send to next; each becomes in flight unless the journal knows it already.
            results: What became of earlier ones, whoever owns them by now. A result whose event came first takes that
                event's outcome. The first result stands; only the word that a message *was* taken replaces one that
                says that it was not, or that nobody knows. ``at`` and ``client_msg_id`` are not looked at.
            releases: Claimed ones of this owner that certainly were not sent: they are forgotten.

        Returns:
            One entry for each of ``claims``, in their order. Of an openid that is named twice the first is the
            caller's at most.

        Raises:
            JournalError: The run was not begun here, or is not there any more (a Redis server that lost its data).
            ConfigError: An openid is not text that can be written (half a surrogate pair).
        """

    @abstractmethod
    async def take_over(
        self, run: RunKey, *, owner: str, lease: float, openids: Sequence[str] | None, limit: int
    ) -> tuple[Doubt, ...]:
        """Become the owner of up to ``limit`` recipients in flight whose owner's lease has ended.

        Args:
            run: The run.
            owner: The new owner; its lease is renewed.
            lease: Seconds, as in :meth:`exchange`.
            openids: Only these; ``None``: whoever is there.
            limit: Most of them.

        Returns:
            Whom the caller owns from now on. Their age still counts from the first claim of all.

        Raises:
            JournalError: As for :meth:`exchange`.
        """

    @abstractmethod
    async def others(self, run: RunKey, *, owner: str) -> float | None:
        """Return the seconds until the first other owner with recipients in flight counts as dead; ``None``: none."""

    @abstractmethod
    async def allow(self, appid: str, *, wanted: int, per_second: float | None, per_day: int | None) -> Allowance:
        """Ask for room under the limits of the account, which all runs and processes share.

        What is granted counts as sent. In any stretch of time at most ``per_second`` times its length is granted, and
        :func:`batch` more. The day is that of Beijing; a call without ``per_day`` counts towards it as well.

        Args:
            appid: The account.
            wanted: How many the caller could use now.
            per_second: The limit of a second; ``None``: none.
            per_day: The limit of a day; ``None``: none.
        """

    @abstractmethod
    async def settle(self, appid: str, *, openid: str, msg_id: int | None, outcome: Outcome, at: float) -> bool:
        """Take in the event of a message: it ended with ``outcome`` at ``at`` (seconds since 1970).

        The message is found by its number and its recipient. If there is none, and the recipient is in flight, the
        event is kept for the result. Otherwise it belongs to the message whose answer was lost: to the recipient's
        latest that is unknown and was claimed before ``at``, at most a day earlier.

        Returns:
            Whether it settled something or was kept.
        """

    @abstractmethod
    async def counts(self, run: RunKey) -> Mapping[Outcome | None, int]:
        """Return how many recipients ended how; ``None`` counts those in flight."""

    @abstractmethod
    def results(self, run: RunKey, *, outcome: Outcome | None = None) -> AsyncIterator[Result]:
        """Iterate over what is settled, with flat memory; the order is the backend's.

        Results that are written meanwhile may come or not; none comes twice.
        """

    async def aclose(self) -> None:  # noqa: B027 - nothing to release is a fine answer
        """Release what the journal itself opened. Safe to call twice."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
