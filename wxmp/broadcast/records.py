"""What goes into a bulk send and what comes out of it: records without any machinery."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import attrs

from wxmp.errors import ConfigError

__all__ = ["Outcome", "Pace", "Progress", "Recipient", "Result", "RunKey"]

#: Characters of the name of a run.
NAME_CHARS: Final = 64
#: Most messages in flight at once. The pool of a client has 100 connections.
MOST_CONCURRENCY: Final = 100


class Outcome(StrEnum):
    """What became of one recipient."""

    #: The platform took the message; whether it arrived comes as the event ``TEMPLATESENDJOBFINISH``.
    ACCEPTED = "accepted"
    #: The user has it.
    DELIVERED = "delivered"
    #: The user refuses messages of the account.
    BLOCKED = "blocked"
    #: The platform took it and could not deliver it.
    FAILED = "failed"
    #: The platform did not take it; ``errcode`` says why. Nothing was sent.
    REFUSED = "refused"
    #: The program left this recipient out.
    SKIPPED = "skipped"
    #: A dry run would send to this one; nothing was sent or written down.
    PLANNED = "planned"
    #: It was sent, the answer was lost, and the time is over in which it could be asked for again. It may have
    #: arrived; it is never sent again. Its event settles it, should one come.
    UNKNOWN = "unknown"


@attrs.frozen
class Recipient:
    """Somebody to send to, and what is known of him, for example one row of a table."""

    openid: str
    #: By the names of the columns.
    fields: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Result:
    """What became of one recipient (发送结果)."""

    openid: str
    outcome: Outcome
    #: The number of the message, as its event names it; absent if the platform gave none.
    msg_id: int | None = None
    #: The de-duplication key it was sent with.
    client_msg_id: str = ""
    #: Why it was refused; 0 otherwise.
    errcode: int = 0
    #: The platform's words for that, or our own.
    errmsg: str = ""
    #: When the last thing about it was written down.
    at: datetime | None = None


def _run_name(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.strip() or len(value) > NAME_CHARS or not value.isprintable():
        raise ConfigError(
            f"name must be a printable text of 1 to {NAME_CHARS} characters: it is how a run is found again",
            field=attribute.name,
        )


@attrs.frozen
class RunKey:
    """One bulk send: the same name continues it, another one begins another."""

    appid: str
    name: str = attrs.field(validator=_run_name)

    def client_msg_id(self, openid: str) -> str:
        """Return the de-duplication key of a recipient.

        It follows from the run and the recipient alone: even with a lost journal the platform lets a second message
        through only after its ten minutes.
        """
        return hashlib.sha256(f"{self.appid}\n{self.name}\n{openid}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _limit(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ConfigError(f"{attribute.name} must be a number above 0, or None for no limit", field=attribute.name)


def _concurrency(_: object, attribute: attrs.Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_CONCURRENCY:
        raise ConfigError(f"concurrency must be 1 to {MOST_CONCURRENCY}", field=attribute.name)


@attrs.frozen
class Pace:
    """How fast a run sends (发送速度). Limits hold for the account, over all processes that share the journal."""

    #: Messages in flight at once, in this process.
    concurrency: int = attrs.field(default=20, validator=_concurrency)
    #: Most messages a second; ``None``: as fast as the answers come.
    per_second: float | None = attrs.field(default=None, validator=_limit)
    #: Most messages a day (Beijing time); ``None``: up to the platform's own limit.
    per_day: int | None = attrs.field(default=None, validator=_limit)


@attrs.frozen
class Progress:
    """How far a run has got."""

    #: Recipients that were read from the source in this process, those of earlier runs included.
    seen: int = 0
    #: Of these, settled by an earlier run or another process.
    earlier: int = 0
    #: Messages that are on their way.
    in_flight: int = 0
    #: How many ended how, in this process.
    outcomes: Mapping[Outcome, int] = attrs.field(factory=dict)
    #: Seconds since the first message.
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Recipients that this process has settled."""
        return sum(self.outcomes.values())

    @property
    def per_second(self) -> float:
        """Recipients settled per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0
