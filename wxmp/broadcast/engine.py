"""The engine of a bulk send: a bounded queue, a few workers, and a journal that is always one step ahead of them.

A message goes out only after its claim is durable, and its recipient is settled only after the result is. Whatever
kills the process between the two leaves a recipient *in flight*; whoever continues the run sends that one again under
the same de-duplication key while the platform still knows it, and never later.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from wxmp.broadcast.journal import WINDOW
from wxmp.broadcast.records import Outcome, Progress, Recipient, Result
from wxmp.errcodes import lookup
from wxmp.errors import APIError, ConfigError, ReplyError, TransportError, WxmpError, api_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence

    from wxmp.broadcast.journal import Journal
    from wxmp.broadcast.records import Pace, RunKey

__all__ = ["Message", "Run", "Sender"]

logger = logging.getLogger("wxmp.broadcast")

#: Seconds after which a silent process counts as dead, and between two signs of life.
LEASE: Final = 15.0
HEARTBEAT: Final = 4.0
#: Claimed ahead of the workers: enough to hide the journal behind the sends, and all that a crash puts in doubt.
AHEAD: Final = 16
#: Recipients that are read and looked up at once.
CHUNK: Final = 500
#: Results that wait for whoever iterates.
RESULTS: Final = 1000
#: Recipients in flight elsewhere that are remembered before they are looked up again.
DEFERRED: Final = 2000
#: Seconds between two attempts of one message: doubling from the first to the second.
BACKOFF: Final = (0.5, 15.0)
#: Seconds for which nothing gets through before the run gives up; it can be continued.
PATIENCE: Final = 60.0
#: So many refusals of our arguments and not one message taken: the run is wrong, not the recipients.
HOPELESS: Final = 50
#: Seconds to the next attempt after the platform said "too many in this minute".
MINUTE: Final = 60.0


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

    async def prepare(self, recipient: Recipient) -> Message | None:
        """Make the message, or ``None`` to leave this one out."""
        ...

    async def send(self, openid: str, message: Message, client_msg_id: str) -> int | None:
        """Send it and return its number."""
        ...


def _boot_clock() -> float:
    """Seconds that go on while the machine sleeps: a lease that ended meanwhile must be seen to have ended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@attrs.define(eq=False)
class _Item:
    recipient: Recipient
    #: On the engine's clock, when it was first claimed, by whomever.
    claimed_at: float
    #: Whether a message may have gone out.
    doubtful: bool


class _StopError(Exception):
    """The run cannot go on; the item was not settled."""

    def __init__(self, cause: Exception | None = None) -> None:
        super().__init__(cause)
        #: ``None``: somebody has cancelled it.
        self.cause = cause


class _LapsedError(Exception):
    """This process was silent for too long: what it had claimed may be somebody else's by now."""


class Run:
    """One bulk send (群发任务): iterate over it for the result of each recipient, or await :meth:`run`.

    Leaving the iteration, :meth:`cancel`, or an error ends it in an orderly way: what is in flight is finished and
    written down. Starting it again under the same name goes on where it ended, whatever ended it.
    """

    def __init__(
        self,
        key: RunKey,
        source: AsyncIterable[Recipient | str] | Iterable[Recipient | str],
        sender: Sender,
        journal: Journal,
        pace: Pace,
        *,
        close_journal: bool = False,
        partial: bool = False,
        dry_run: bool = False,
        clock: Callable[[], float] = _boot_clock,
    ) -> None:
        self._key = key
        self._source = source
        self._sender = sender
        self._journal = journal
        self._pace = pace
        self._close_journal = close_journal
        #: The source is a part of the run's recipients: others look after what it does not name.
        self._partial = partial
        self._dry_run = dry_run
        self._clock = clock
        self._owner = secrets.token_hex(8)
        self._lease_until = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._failure: Exception | None = None
        self._wake = asyncio.Event()
        self._out: asyncio.Queue[Result | None] = asyncio.Queue(RESULTS)
        self._ready: asyncio.Queue[_Item | None] = asyncio.Queue()
        self._waiting: deque[Recipient] = deque()
        self._room_to_read = asyncio.Event()
        self._source_ended = False
        self._deferred: dict[str, Recipient] = {}
        self._results: list[Result] = []
        #: Refused for their arguments before any message was taken: perhaps the run is wrong and not they.
        self._withheld: list[Result] = []
        self._releases: list[str] = []
        self._in_flight = 0
        self._granted = 0
        self._asking = asyncio.Lock()
        self._quiet_until = 0.0
        self._got_through_at: float | None = None
        self._taken = False
        self._seen = 0
        self._earlier = 0
        self._outcomes: dict[Outcome, int] = {}
        self._started: float | None = None
        self._ended: float | None = None

    def __repr__(self) -> str:
        return f"<Run {self._key.name!r}, {sum(self._outcomes.values())} settled here>"

    @property
    def progress(self) -> Progress:
        """How far it has got; cheap enough to ask often."""
        ended = self._clock() if self._ended is None else self._ended
        return Progress(
            seen=self._seen,
            earlier=self._earlier,
            in_flight=self._in_flight,
            outcomes=dict(self._outcomes),
            seconds=0.0 if self._started is None else ended - self._started,
        )

    async def run(self) -> Progress:
        """Send everything and return the final progress, for whoever reads the results in the journal.

        Raises:
            WxmpError: The run cannot go on (a limit of the day, no such template, no connection). It can be continued.
        """
        async for _ in self:
            pass
        return self.progress

    async def cancel(self) -> None:
        """Claim nothing more; the iteration ends when what is in flight is finished and written down."""
        self._stop()

    async def __aiter__(self) -> AsyncGenerator[Result, None]:
        if self._task is not None:
            raise ConfigError("a run is iterated over once; make another one to go on", field="run")
        self._task = asyncio.create_task(self._work())
        try:
            while (result := await self._out.get()) is not None:
                yield result
        finally:
            await self._finish(self._task)
        if self._failure is not None:
            raise self._failure

    # ---- beginning and end

    async def _finish(self, task: asyncio.Task[None]) -> None:
        """End in an orderly way, whoever has left the iteration."""
        self._stop()
        while not task.done():
            with suppress(asyncio.QueueEmpty):  # nobody listens any more; what is written down is not lost
                while True:
                    self._out.get_nowait()
            await asyncio.wait({task}, timeout=0.05)
        task.result()

    def _stop(self, failure: Exception | None = None) -> None:
        if failure is not None and self._failure is None:
            self._failure = failure
        self._stopping = True
        self._wake.set()
        self._room_to_read.set()

    async def _work(self) -> None:
        try:
            if self._dry_run:
                await self._rehearse()
            else:
                await self._journal.begin(self._key, fingerprint=self._sender.fingerprint)
                await self._send_all()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the iteration raises it
            self._failure = self._failure or error
        finally:
            self._ended = self._clock()
            if self._close_journal:
                await self._journal.aclose()
            await self._out.put(None)

    async def _rehearse(self) -> None:
        self._started = self._clock()
        seen: set[str] = set()
        async for recipient in _recipients(self._source):
            if self._stopping:
                return
            self._seen += 1
            if recipient.openid in seen:
                continue
            seen.add(recipient.openid)
            message = await self._sender.prepare(recipient)
            await self._emit(Result(recipient.openid, Outcome.SKIPPED if message is None else Outcome.PLANNED))

    async def _send_all(self) -> None:
        self._started = self._clock()
        helpers = [asyncio.create_task(self._read_source()), asyncio.create_task(self._show_life())]
        workers = [asyncio.create_task(self._send_each()) for _ in range(self._pace.concurrency)]
        try:
            await self._keep_the_books()
        except BaseException:
            for worker in workers:
                worker.cancel()
            raise
        finally:
            for helper in helpers:
                helper.cancel()
            for _ in workers:
                self._ready.put_nowait(None)
            await asyncio.gather(*helpers, *workers, return_exceptions=True)

    # ---- the source

    async def _read_source(self) -> None:
        """Read ahead, a chunk at a time, and pass over whom the journal knows."""
        try:
            chunk: dict[str, Recipient] = {}
            async for recipient in _recipients(self._source):
                if self._stopping:
                    return
                self._seen += 1
                chunk.setdefault(recipient.openid, recipient)
                if len(chunk) >= CHUNK:
                    await self._sift(chunk)
                    chunk = {}
            await self._sift(chunk)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the user's source can raise anything
            self._stop(error)
        finally:
            self._source_ended = True
            self._wake.set()

    async def _sift(self, chunk: dict[str, Recipient]) -> None:
        known = await self._journal.known(self._key, list(chunk)) if chunk else {}
        for openid, recipient in chunk.items():
            settled = known.get(openid)
            if settled is None:
                self._waiting.append(recipient)
            elif settled:
                self._earlier += 1
            else:
                self._deferred[openid] = recipient
        self._wake.set()
        while len(self._waiting) >= CHUNK and not self._stopping:
            self._room_to_read.clear()
            await self._room_to_read.wait()

    # ---- the books

    async def _keep_the_books(self) -> None:
        """Claim, record and release in one step at a time, until nothing is left to do."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            results, self._results = self._results, []
            releases, self._releases = self._releases, []
            claims = self._next_claims()
            if claims or results or releases:
                await self._exchange(claims, results, releases)
                self._wake.set()
                continue
            if len(self._deferred) > DEFERRED:
                await self._look_up_deferred()
            if self._in_flight:
                continue
            if self._withheld:
                self._results, self._withheld = self._withheld, []
                self._wake.set()
                continue
            if self._stopping or (self._source_ended and not self._waiting and await self._nothing_is_left()):
                return

    def _next_claims(self) -> list[Recipient]:
        if self._stopping:
            while not self._ready.empty():  # claimed and never begun
                item = self._ready.get_nowait()
                if item is not None:
                    self._in_flight -= 1
                    if not item.doubtful:
                        self._releases.append(item.recipient.openid)
                        self._wake.set()
            return []
        ahead = min(AHEAD, self._pace.concurrency)
        room = ahead + self._pace.concurrency - self._in_flight
        claims = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))] if room > 0 else []
        if len(self._waiting) < CHUNK:
            self._room_to_read.set()
        return claims

    async def _exchange(self, claims: Sequence[Recipient], results: Sequence[Result], releases: Sequence[str]) -> None:
        asked_at = self._clock()
        answers = await self._journal.exchange(
            self._key,
            owner=self._owner,
            lease=LEASE,
            claims=[recipient.openid for recipient in claims],
            results=results,
            releases=releases,
        )
        self._lease_until = asked_at + LEASE
        for recipient, claim in zip(claims, answers, strict=True):
            if claim.mine:
                self._in_flight += 1
                self._ready.put_nowait(_Item(recipient, asked_at, doubtful=False))
            else:
                self._deferred[recipient.openid] = recipient
        for result in results:
            await self._emit(result)

    async def _emit(self, result: Result) -> None:
        self._outcomes[result.outcome] = self._outcomes.get(result.outcome, 0) + 1
        await self._out.put(result)

    async def _show_life(self) -> None:
        """Renew the lease, however long the iteration or the platform keeps us waiting."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            asked_at = self._clock()
            try:
                await self._journal.exchange(self._key, owner=self._owner, lease=LEASE)
            except WxmpError as error:
                logger.warning("%s: no sign of life could be given: %s", self._key.name, error)
            else:
                self._lease_until = asked_at + LEASE
            self._wake.set()

    # ---- recipients that were in flight elsewhere

    async def _look_up_deferred(self) -> None:
        """Forget those that were settled meanwhile, and put those back that were released."""
        openids = list(self._deferred)
        for start in range(0, len(openids), CHUNK):
            part = openids[start : start + CHUNK]
            known = await self._journal.known(self._key, part)
            for openid in part:
                settled = known.get(openid)
                if settled is None:
                    self._waiting.append(self._deferred.pop(openid))
                elif settled:
                    self._earlier += 1
                    del self._deferred[openid]

    async def _nothing_is_left(self) -> bool:
        """Look after what others left in flight; tells whether nothing of it is left."""
        await self._look_up_deferred()
        self._wake.set()
        if self._waiting:
            return False
        mine = list(self._deferred) if self._partial else None
        if mine == []:
            return True
        doubts = await self._journal.take_over(
            self._key, owner=self._owner, lease=LEASE, openids=mine, limit=self._pace.concurrency
        )
        now = self._clock()
        for doubt in doubts:
            recipient = self._deferred.pop(doubt.openid, None)
            if recipient is None or doubt.age >= WINDOW or not self._sender.deduplicates:
                why = "no longer among the recipients" if recipient is None else "its answer was lost"
                self._results.append(self._result(doubt.openid, Outcome.UNKNOWN, errmsg=why))
                continue
            self._in_flight += 1
            self._ready.put_nowait(_Item(recipient, now - doubt.age, doubtful=True))
        if doubts:
            return False
        patience = await self._journal.others(self._key, owner=self._owner)
        if not self._deferred and (patience is None or self._partial):
            return True
        await asyncio.sleep(min(max(patience or 0.0, 0.1), 1.0))
        return False

    # ---- the messages

    async def _send_each(self) -> None:
        while (item := await self._ready.get()) is not None:
            openid = item.recipient.openid
            try:
                result = await self._deliver(item)
                if self._taken:
                    self._results += self._withheld
                    self._withheld.clear()
                withheld = result.outcome is Outcome.REFUSED and not self._taken
                (self._withheld if withheld else self._results).append(result)
                if len(self._withheld) >= HOPELESS:
                    raise _StopError(self._hopeless(result))
            except _StopError as stop:
                if not item.doubtful:
                    self._releases.append(openid)
                self._stop(stop.cause)
            except _LapsedError:
                # Whoever took over sends it, or this process does after its old lease has been seen to end.
                self._owner = secrets.token_hex(8)
                self._deferred[openid] = item.recipient
            except Exception as error:  # noqa: BLE001 - of the user's function that makes the data
                self._releases.append(openid)
                self._stop(error)
            self._in_flight -= 1
            self._wake.set()

    async def _deliver(self, item: _Item) -> Result:
        openid = item.recipient.openid
        message = await self._sender.prepare(item.recipient)
        if message is None:
            # In doubt it was sent once, whatever the program says today.
            return self._result(openid, Outcome.UNKNOWN if item.doubtful else Outcome.SKIPPED)
        key = self._key.client_msg_id(openid)
        wait = BACKOFF[0]
        while True:
            await self._may_send(item)
            try:
                msg_id = await self._sender.send(openid, message, key)
            except APIError as error:
                pause = self._after_refusal(item, error)
                if pause is None:
                    outcome = Outcome.UNKNOWN if item.doubtful else Outcome.REFUSED
                    return self._result(openid, outcome, errcode=error.errcode, errmsg=error.errmsg)
                wait = max(wait, pause)
            except (TransportError, ReplyError) as error:
                item.doubtful = item.doubtful or error.maybe_acted
                self._after_silence(item, error)
            else:
                self._taken, self._got_through_at = True, self._clock()
                return self._result(openid, Outcome.ACCEPTED, msg_id=msg_id)
            if item.doubtful and (not self._sender.deduplicates or self._clock() + wait - item.claimed_at >= WINDOW):
                return self._result(openid, Outcome.UNKNOWN, errmsg="its answer was lost")
            await self._pause(wait)
            wait = min(2 * wait, BACKOFF[1])

    def _after_refusal(self, item: _Item, error: APIError) -> float | None:
        """Return the seconds until the next attempt; ``None``: this recipient is settled."""
        entry = lookup(error.errcode)
        self._got_through_at = self._clock()
        if entry.kind == "rate":
            if entry.scope in ("second", "minute"):
                self._quiet_until = max(self._quiet_until, self._clock() + (1.0 if entry.scope == "second" else 5.0))
                return 0.0
            if entry.scope == "item":
                return None
            raise _StopError(error)
        if entry.kind == "busy":
            item.doubtful = True
            return 0.0
        if entry.kind in ("token", "account", "permission", "not_found"):
            raise _StopError(error)
        return None

    def _hopeless(self, last: Result) -> APIError:
        self._releases += [result.openid for result in self._withheld]
        self._withheld.clear()
        error = api_error(last.errcode, last.errmsg, endpoint=self._sender.fingerprint)
        error.add_note(f"the first {HOPELESS} messages were all refused, this is the last refusal; none was sent")
        return error

    def _after_silence(self, item: _Item, error: TransportError | ReplyError) -> None:
        now = self._clock()
        if self._got_through_at is None:
            self._got_through_at = now
        if now - self._got_through_at > PATIENCE:
            raise _StopError(error)
        logger.info("%s: a message did not get through (%s)", self._key.name, type(error).__name__)

    async def _may_send(self, item: _Item) -> None:
        """Wait for room under the limits; then look whether the claim still holds, right before the send."""
        while True:
            await self._pause(self._quiet_until - self._clock())
            if self._pace.per_second is None and self._pace.per_day is None:
                break
            if await self._has_room():
                break
        if self._clock() >= self._lease_until:
            raise _LapsedError

    async def _has_room(self) -> bool:
        async with self._asking:
            if not self._granted:
                # As many as a tenth of a second holds: fewer round trips, and a fair share for other processes.
                wanted = max(1, int((self._pace.per_second or 10.0 * self._pace.concurrency) / 10.0))
                answer = await self._journal.allow(
                    self._key.appid,
                    wanted=wanted,
                    per_second=self._pace.per_second,
                    per_day=self._pace.per_day,
                )
                if not answer.granted:
                    if answer.day_is_over:
                        raise _StopError(
                            ConfigError(
                                "the messages of today (per_day) are used up; continue tomorrow", field="per_day"
                            )
                        )
                    await self._pause(answer.wait)
                    return False
                self._granted = answer.granted
            self._granted -= 1
            return True

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the run."""
        ends = self._clock() + seconds
        while not self._stopping and (left := ends - self._clock()) > 0:
            await asyncio.sleep(min(left, 0.5))
        if self._stopping:
            raise _StopError

    def _result(
        self, openid: str, outcome: Outcome, *, msg_id: int | None = None, errcode: int = 0, errmsg: str = ""
    ) -> Result:
        return Result(openid, outcome, msg_id, self._key.client_msg_id(openid), errcode, errmsg)


async def _recipients(
    source: AsyncIterable[Recipient | str] | Iterable[Recipient | str],
) -> AsyncGenerator[Recipient, None]:
    """Yield the recipients of a source, whatever it is made of."""
    if isinstance(source, str | bytes):
        raise ConfigError("recipients is one text; put the openid in a list", field="recipients")
    if hasattr(source, "__aiter__"):
        async for given in source:
            yield _recipient(given)
    else:
        for number, given in enumerate(source):
            if number % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
            yield _recipient(given)


def _recipient(given: object) -> Recipient:
    if isinstance(given, str):
        given = Recipient(given)
    if not isinstance(given, Recipient) or not isinstance(given.openid, str) or not given.openid.strip():
        raise ConfigError("recipients must give openids or Recipient records, none of them empty", field="recipients")
    return given
