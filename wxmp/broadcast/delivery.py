"""The way of one message: when it may go out, what its answer means, and when it must not go out any more."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from wxmp._log import log_fields
from wxmp.broadcast.journal import WINDOW
from wxmp.broadcast.records import Outcome, Recipient, Result
from wxmp.errcodes import lookup
from wxmp.errors import (
    APIError,
    RateLimitError,
    ReplyError,
    TimedOutError,
    TokenStoreError,
    TransportError,
    WxmpError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wxmp.broadcast.journal import Allowance
    from wxmp.broadcast.records import Pace, RunKey

__all__ = ["Delivery", "Item", "LapsedError", "Lease", "Message", "Sender", "StopError"]

logger: logging.Logger = logging.getLogger("wxmp.broadcast")

#: What is sent is not there: nobody can get it.
UNKNOWN_TEMPLATE: Final = 40037
#: Seconds between two attempts of one message: doubling from the first to the second.
BACKOFF: Final = (0.5, 15.0)
#: Most seconds that one attempt takes; the margin of :data:`~wxmp.broadcast.journal.WINDOW` is for it.
ATTEMPT: Final = 45.0
#: Seconds for which nothing gets through before the run gives up; it can be continued.
PATIENCE: Final = 60.0
#: The platform's minute, and how long after its end messages go out again, so that not all processes come at once.
MINUTE: Final = 60.0
SPREAD: Final = (0.1, 1.0)
#: What the platform answers when the messages of the day are used up; the account's own limit ends a run alike.
DAY_IS_OVER: Final = 45009


@attrs.frozen
class Message:
    """What a sender makes of a recipient; opaque to the engine."""

    payload: object = attrs.field(repr=False)


class Sender(Protocol):
    """How one kind of message is sent."""

    #: Whether the platform lets a repetition with the same key through once only.
    deduplicates: bool
    #: Names what is sent. A run cannot be continued with another one.
    fingerprint: str
    #: Method and path. What fails elsewhere (a token request) has sent nothing.
    endpoint: str

    async def prepare(self, recipient: Recipient) -> Message | None:
        """Make the message, or ``None`` to leave this one out."""
        ...

    async def send(self, openid: str, message: Message, client_msg_id: str) -> int | None:
        """Send it and return its number. One attempt: repeating it is the engine's affair."""
        ...


@attrs.define(eq=False)
class Item:
    """One recipient who is claimed and not settled."""

    recipient: Recipient
    #: Under which lease it was claimed. It is sent under no other one: somebody may have taken it over in between.
    epoch: int
    #: On the engine's clock, the earliest moment a message can have gone out; ``None``: certainly none has yet.
    since: float | None = None
    #: Whether a message may have gone out.
    doubtful: bool = False


class StopError(Exception):
    """The run cannot go on; the item was not settled."""

    def __init__(self, cause: Exception | None = None) -> None:
        super().__init__(cause)
        #: ``None``: somebody has cancelled it.
        self.cause = cause


class LapsedError(Exception):
    """This process was silent for too long: what it had claimed may be somebody else's by now."""


class Lease:
    """Whether what this process has claimed is still its own."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self.owner: str = uuid.uuid4().hex[:16]
        #: After so many seconds of silence another process takes over.
        self.seconds = seconds
        self._clock = clock
        self._epoch = 0
        self._until = float("-inf")

    def claim(self) -> tuple[str, int, float]:
        """Return owner, epoch and time for the next step. A lease that has ended is never renewed: it is another's."""
        now = self._clock()
        if self._epoch == 0 or now >= self._until > float("-inf"):
            self.change_owner()
        return self.owner, self._epoch, now

    def change_owner(self) -> None:
        """Begin under a new name; what was claimed under the old one is taken over like anybody's."""
        self.owner = uuid.uuid4().hex[:16]
        self._epoch += 1
        self._until = float("-inf")

    def renewed(self, epoch: int, asked_at: float) -> bool:
        """Note a renewal that was asked for at ``asked_at``; tells whether the lease held all the time."""
        if epoch != self._epoch:
            return False
        if self._clock() >= self._until > float("-inf"):
            # The renewal may have come after the end: then somebody may have taken over in between.
            self.change_owner()
            return False
        self._until = max(self._until, asked_at + self.seconds)
        return True

    def holds(self, epoch: int, now: float) -> bool:
        """Tell whether what was claimed in ``epoch`` may be sent."""
        return epoch == self._epoch and now < self._until


class Delivery:
    """Sends the messages of a run, one by one, as often as it takes and at the pace that is allowed.

    Args:
        key: The run.
        sender: Sends.
        pace: The limits.
        lease: What was claimed under it may be sent.
        stopped: Set when the run is to end: nobody waits any longer.
        allow: Asks the journal for room for so many messages.
        clock: Seconds that only grow.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self,
        key: RunKey,
        sender: Sender,
        pace: Pace,
        lease: Lease,
        *,
        stopped: asyncio.Event,
        allow: Callable[[int], Awaitable[Allowance]],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._key = key
        self._sender = sender
        self._lease = lease
        self._stopped = stopped
        self._allow = allow
        self._clock = clock
        self._wall_clock = wall_clock
        self._limited = pace.per_second is not None or pace.per_day is not None
        # As many as a tenth of a second holds: fewer round trips, and a fair share for other processes.
        self._share = int((pace.per_second or 10.0 * pace.concurrency) / 10.0)
        self._granted = 0
        self._asking = asyncio.Lock()
        self._quiet_until = float("-inf")
        self._silent_since: float | None = None

    @property
    def quiet(self) -> bool:
        """Whether the platform has asked for a pause."""
        return self._clock() < self._quiet_until

    async def deliver(self, item: Item) -> Result:
        """Send one message, and return how it ended.

        Raises:
            StopError: The run cannot go on.
            LapsedError: It is not ours to send any more.
        """
        openid = item.recipient.openid
        message = await self._sender.prepare(item.recipient)
        key = self._key.client_msg_id(openid)
        if message is None:
            # In doubt it was sent once, whatever the program says today.
            return Result(openid, Outcome.UNKNOWN if item.doubtful else Outcome.SKIPPED, None, key)
        wait = BACKOFF[0]
        while True:
            now = await self._may_send(item)
            if item.since is None:
                item.since = now
            elif now - item.since >= WINDOW:
                return Result(openid, Outcome.UNKNOWN, None, key, 0, "its answer was lost")
            try:
                msg_id = await self._attempt(item, message, key)
            except APIError as error:
                if not self._can_be_repeated(error):
                    outcome = Outcome.UNKNOWN if item.doubtful else Outcome.REFUSED
                    return Result(openid, outcome, None, key, error.errcode, error.errmsg)
            except (TransportError, ReplyError, TokenStoreError) as error:
                self._note_silence(error)
            else:
                self._silent_since = None
                return Result(openid, Outcome.ACCEPTED, msg_id, key)
            if not item.doubtful:
                item.since = None
            elif not self._sender.deduplicates or self._clock() + wait - item.since >= WINDOW:
                return Result(openid, Outcome.UNKNOWN, None, key, 0, "its answer was lost")
            await self.pause(random.uniform(0.5, 1.0) * wait)
            wait = min(2 * wait, BACKOFF[1])

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the run.

        Raises:
            StopError: It has come.
        """
        if seconds > 0 and not self._stopped.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopped.wait()
        if self._stopped.is_set():
            raise StopError

    async def _attempt(self, item: Item, message: Message, key: str) -> int | None:
        """Send once. Whatever ends it without a clear word leaves the item in doubt."""
        before, item.doubtful = item.doubtful, True
        try:
            async with asyncio.timeout(ATTEMPT):
                return await self._sender.send(item.recipient.openid, message, key)
        except TimeoutError:
            raise TimedOutError(f"no answer within {ATTEMPT:g} s", endpoint=self._sender.endpoint) from None
        except (TransportError, ReplyError) as error:
            item.doubtful = before or (error.maybe_acted and error.endpoint in ("", self._sender.endpoint))
            raise
        except APIError as error:
            busy = lookup(error.errcode).kind == "busy" and error.endpoint in ("", self._sender.endpoint)
            item.doubtful = before or busy
            raise
        except WxmpError:  # ours: the store of the tokens failed, or the arguments cannot work
            item.doubtful = before
            raise

    def _can_be_repeated(self, error: APIError) -> bool:
        """Tell whether the refusal passes; it ends the run if it is not about this recipient."""
        entry = lookup(error.errcode)
        if entry.kind == "busy":
            self._note_silence(error)
            return True
        self._silent_since = None
        if entry.kind == "rate" and entry.scope in ("second", "minute"):
            pause = 1.0
            if entry.scope == "minute":  # the counter is filled again at the next full minute
                pause = MINUTE - self._wall_clock() % MINUTE + random.uniform(*SPREAD)
            logger.info(
                "%s: too fast for the platform (%d), silent for %.0f s",
                self._key.name,
                error.errcode,
                pause,
                extra=log_fields(
                    "broadcast_slowed",
                    appid=self._key.appid,
                    run=self._key.name,
                    errcode=error.errcode,
                    seconds=pause,
                    rid=error.rid,
                ),
            )
            self._quiet_until = max(self._quiet_until, self._clock() + pause)
            return True
        if entry.kind in ("token", "account", "permission") or (entry.kind == "rate" and entry.scope != "item"):
            raise StopError(error)
        if error.errcode == UNKNOWN_TEMPLATE:  # other things that are not there are the recipient's
            raise StopError(error)
        if error.endpoint not in ("", self._sender.endpoint):  # a token could not be had: nothing of this recipient's
            raise StopError(error)
        return False

    def _note_silence(self, error: WxmpError) -> None:
        now = self._clock()
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since > PATIENCE:
            raise StopError(error)
        logger.info(
            "%s: a message did not get through (%s)",
            self._key.name,
            type(error).__name__,
            extra=log_fields("message_failed", appid=self._key.appid, run=self._key.name, error=type(error).__name__),
        )

    async def _may_send(self, item: Item) -> float:
        """Wait for room under the limits; then look whether the claim still holds, right before the send.

        Returns:
            What time it is.
        """
        while True:
            if self._stopped.is_set():
                raise StopError
            now = self._clock()
            if now < self._quiet_until:
                await self.pause(self._quiet_until - now)
                continue
            if not self._limited or await self._has_room():
                break
        now = self._clock() if self._limited else now
        if not self._lease.holds(item.epoch, now):
            raise LapsedError
        return now

    async def _has_room(self) -> bool:
        async with self._asking:
            await self.pause(0.0)
            if not self._granted:
                answer = await self._allow(self._share)
                if not answer.granted:
                    if answer.day_is_over:
                        raise StopError(self._day_is_over())
                    await self.pause(answer.wait)
                    return False
                self._granted = answer.granted
            self._granted -= 1
            return True

    def _day_is_over(self) -> RateLimitError:
        return RateLimitError(
            errcode=DAY_IS_OVER,
            errmsg="the messages that per_day allows for today are used up",
            endpoint=self._sender.endpoint,
            advice="Start the run again tomorrow (Beijing time), or with a higher per_day.",
            scope="day",
        )
