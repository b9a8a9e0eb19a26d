"""What a token store promises (中控服务器 / central control).

A store keeps one record per :class:`TokenKey` for a whole fleet of processes. It has five verbs, and each of them is
ONE atomic step that is decided by the store's own clock: callers never send a point in time, and get back seconds that
are left. Everything that makes a shared token safe rests on that; a store which reads, thinks and then writes loses
tokens. ``wxmp.testing.token_store`` holds the tests that every implementation has to pass.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = [
    "FORCED_GAP",
    "FORCED_PER_DAY",
    "FailureState",
    "Lease",
    "LeaseReason",
    "LeaseStatus",
    "ReplacementBudget",
    "StoredToken",
    "TokenCodec",
    "TokenKey",
    "TokenRecord",
    "TokenStore",
    "check_name",
    "check_token_value",
]

#: The platform ignores a forced refresh that comes sooner than this after the last one, in seconds.
FORCED_GAP: Final = 30.0
#: Forced refreshes that the platform allows in a day of Beijing time.
FORCED_PER_DAY: Final = 20
#: No credential of the platform lives longer than this, in seconds; a stored life above it is a broken record.
LIFE_MAX: Final = 86_400.0
#: Longest value a store hands out, in characters. The platform asks for room for 512.
VALUE_MAX: Final = 2048

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VALUE: Final = re.compile(r"[\x21-\x7e]{1,2048}")


def check_name(value: object, *, field: str) -> str:
    """Return ``value`` if it may stand in keys and file names (letters, digits, ``_``, ``-``; at most 64)."""
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise ConfigError(f"{field} must be 1 to 64 letters, digits, '_' or '-'", field=field)
    return value


def check_token_value(value: object) -> bool:
    """Tell whether ``value`` can be a token: printable ASCII without blanks, at most 2048 characters.

    A record comes from outside the process. A line break in a token would end up in a request line.
    """
    return isinstance(value, str) and _VALUE.fullmatch(value) is not None


def _check_field(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    check_name(value, field=attribute.name)


@attrs.frozen
class TokenKey:
    """Which credential: the AppID and the channel it is issued on."""

    appid: str = attrs.field(validator=_check_field)
    #: ``"stable"``, ``"plain"``, or the kind of a ticket: ``"jsapi"``, ``"wx_card"``.
    channel: str = attrs.field(validator=_check_field)


@attrs.frozen
class StoredToken:
    """A token that the store holds and that has not ended."""

    value: str = attrs.field(repr=False)
    #: Fence of the lease under which it was committed. Of two tokens the one with the higher generation is the newer.
    generation: int
    #: Seconds that it was good for when it was committed.
    life: float
    #: Seconds that were left when the store answered.
    left: float


@attrs.frozen
class FailureState:
    """The last failed refresh, for as long as its cool-down runs."""

    #: The platform's errcode; 0 when the failure had none (network, or a hold-off without an error).
    code: int
    #: Failures in a row.
    count: int
    #: Seconds until somebody may ask the platform again.
    cool_down: float


@attrs.frozen
class TokenRecord:
    """One look at a record."""

    token: StoredToken | None = None
    failure: FailureState | None = None
    #: Seconds that a running lease has left; 0 when there is none.
    lease_left: float = 0.0


class LeaseReason(StrEnum):
    """Why somebody wants to ask the platform."""

    #: The token is missing or due for renewal.
    DUE = "due"
    #: The platform refused the token; takes one from the replacement budget.
    DEAD = "dead"
    #: ``force_refresh`` on the stable channel; takes one from the allowance of the day.
    FORCED = "forced"
    #: A person asked; no cool-down applies.
    OPERATOR = "operator"


class LeaseStatus(StrEnum):
    """The store's answer to :meth:`TokenStore.lease`."""

    #: The caller holds the lease: ask the platform, then commit or fail.
    HELD = "held"
    #: Another owner holds it for :attr:`Lease.wait` seconds.
    BUSY = "busy"
    #: The token is not the expected one: adopt it, there is no need to ask.
    CHANGED = "changed"
    #: The last refresh failed and its cool-down runs.
    COOLING = "cooling"
    #: The replacement budget or the allowance of forced refreshes is used up.
    LIMITED = "limited"


@attrs.frozen
class Lease:
    """What a store says to somebody who wants to refresh."""

    status: LeaseStatus
    #: Set when held: greater than every fence handed out before.
    fence: int = 0
    #: Seconds until it makes sense to ask again (busy, cooling, limited).
    wait: float = 0.0
    #: The stored token at this moment, whatever the status.
    token: StoredToken | None = None
    #: The last failure: set when cooling; when held, the failures in a row up to now.
    failure: FailureState | None = None


@attrs.frozen
class ReplacementBudget:
    """Token bucket, kept in the record, for tokens that died before their time.

    It keeps a duel with a second system that refreshes the same AppID below the platform's daily quota.
    """

    burst: int = attrs.field(default=10, validator=attrs.validators.ge(1))
    #: Seconds until one more replacement is allowed.
    refill: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))


class TokenCodec(Protocol):
    """Turns a token into what is written to the store, and back. See ``wxmp.tokens.encryption``."""

    def encrypt(self, value: str, *, context: str) -> str:
        """Return printable text. ``context`` (AppID, channel, generation) must be bound to the result."""
        ...

    def decrypt(self, text: str, *, context: str) -> str | None:
        """Return the token, or ``None`` when no key opens ``text`` in this ``context``."""
        ...


class TokenStore(ABC):
    """The shared place of a fleet's tokens.

    Every coroutine is atomic on its backend, raises :class:`~wxmp.errors.TokenStoreError` (and nothing else) when the
    backend fails, answers within the store's own time limit, and may be called from several event loops and threads.
    A cancelled call must leave the record whole; it may or may not have taken effect.
    A record that cannot be read (truncated, foreign, out of range) is no record.
    """

    #: What stands in events and errors; never holds credentials.
    name: str = "store"
    #: Whether somebody else refreshes what the store holds, so that :meth:`lease` never answers ``HELD``. Only with
    #: such a store a client can do without the AppSecret.
    kept_elsewhere: bool = False

    @abstractmethod
    async def read(self, key: TokenKey) -> TokenRecord:
        """Return the record, empty if there is none. A token at or past its end is not returned."""

    @abstractmethod
    async def lease(
        self,
        key: TokenKey,
        *,
        owner: str,
        ttl: float,
        expect: int,
        hint: int = 0,
        reason: LeaseReason = LeaseReason.DUE,
        credential: str = "",
        budget: ReplacementBudget | None = None,
    ) -> Lease:
        """Ask for the right to refresh.

        The checks come in this order, in one atomic step:

        1. A live token is stored and its generation is not ``expect``: ``CHANGED``.
        2. A cool-down runs (see below), and the caller does not hold the lease already: ``COOLING``.
        3. A lease of another owner runs: ``BUSY``. The own lease is renewed instead.
        4. The reason is ``DEAD`` and the budget is empty, or ``FORCED`` and the last forced refresh is less than
           30 s ago or 20 were made today (Beijing time): ``LIMITED``. Nothing is spent then.
        5. Otherwise ``HELD`` with ``fence = max(last fence + 1, store clock in ms, hint + 1)``; ``DEAD`` spends one of
           the budget, ``FORCED`` counts one.

        A cool-down applies unless the reason is ``OPERATOR``, or it was set under another non-empty ``credential``, or
        it carries no error (code 0, count 0: a hold-off) and the reason is not ``DUE``.

        Args:
            key: The credential.
            owner: Random id of the process.
            ttl: Seconds for which nobody else gets the lease.
            expect: Generation that the caller has just read; 0 for no token.
            hint: Highest generation that the caller has ever seen; keeps fences growing over a lost store.
            reason: See :class:`LeaseReason`.
            credential: Fingerprint of the AppSecret in use; a changed secret starts with a clean error state.
            budget: The bucket for ``DEAD``; ``None``: no limit.
        """

    @abstractmethod
    async def commit(self, key: TokenKey, *, fence: int, value: str, life: float, hold_off: float = 0.0) -> bool:
        """Store a new token under its fence; it ends ``life`` seconds from now.

        Accepted if and only if ``fence`` is greater than the stored generation. An accepted commit clears the error
        state, and ends the lease if the lease is the one of this fence. A refused one changes nothing.

        Args:
            key: The credential.
            fence: From :meth:`lease`.
            value: The token.
            life: Seconds from now to its end.
            hold_off: Seconds for which nobody needs to ask again with reason ``DUE``.
        """

    @abstractmethod
    async def fail(
        self, key: TokenKey, *, owner: str, fence: int, code: int = 0, cool_down: float = 0.0, credential: str = ""
    ) -> None:
        """End the lease of ``owner`` and ``fence`` without a token; the stored token stays as it is.

        With ``cool_down`` > 0 the error is recorded and its count goes up by one; with 0 the lease is only given back.
        Does nothing when the lease is not this one any more: who was overtaken has no say.
        """

    @abstractmethod
    async def seed(self, key: TokenKey, *, value: str, generation: int, life: float, left: float) -> bool:
        """Put back a token that is still good after the store lost it.

        Accepted if and only if no token is stored or the stored generation is older than ``generation``. A running
        lease and the error state stay as they are; the last fence becomes at least ``generation``.
        """

    def died(self, key: TokenKey, *, generation: int, code: int, path: str) -> None:  # noqa: B027 - most need nothing
        """Hear that the platform refused a token of this store; a lease for ``DEAD`` follows. Must not block.

        Args:
            key: The credential.
            generation: Of the refused token; 0 if nobody knows.
            code: The platform's errcode.
            path: The call that was refused.
        """

    async def aclose(self) -> None:  # noqa: B027 - nothing to release is a fine answer
        """Release what the store itself opened. Safe to call twice."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
