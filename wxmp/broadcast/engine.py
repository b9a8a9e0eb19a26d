"""The engine of a bulk send: a bounded queue, a few workers, and a journal that is always one step ahead of them.

A message goes out only after its claim is durable, and its recipient is settled only after the result is. Whatever
kills the process between the two leaves a recipient *in flight*; whoever continues the run sends that one again under
the same de-duplication key while the platform still knows it, and never later.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterable
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar

from wxmp._log import log_fields
from wxmp.broadcast.delivery import Delivery, Item, LapsedError, Lease, Sender, StopError
from wxmp.broadcast.journal import WINDOW
from wxmp.broadcast.records import Outcome, Progress, Recipient, Result
from wxmp.errcodes import lookup
from wxmp.errors import BroadcastError, ConfigError, JournalError, WxmpError, api_error
from wxmp.tokens.file import host_clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from wxmp.broadcast.journal import Allowance, Journal
    from wxmp.broadcast.records import Pace, RunKey
    from wxmp.errors import APIError
    from wxmp.events import EventHook

__all__ = ["Run", "recipients_of"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("wxmp.broadcast")

#: Seconds after which a silent process counts as dead, and between two signs of life.
LEASE: Final = 15.0
HEARTBEAT: Final = 4.0
#: Claimed ahead of the workers, but as many as there are workers at least: enough to hide the journal behind the sends.
#: With what is on its way it is all that a crash puts in doubt.
AHEAD: Final = 16
#: With a limit of a second: what that limit lets through in so many seconds is claimed, and no more.
AHEAD_SECONDS: Final = 5.0
#: While more than a quarter of that wait for a worker, so many seconds of results are written down at a time, unless
#: the journal takes longer than this itself.
SOON: Final = 0.01
#: Recipients that are read and looked up at once.
CHUNK: Final = 500
#: Results that wait for whoever iterates. When it is too slow, nothing more is claimed.
RESULTS: Final = 1000
#: Recipients in flight elsewhere that are remembered before they are looked up again.
DEFERRED: Final = 2000
#: Seconds between two looks at what others have in flight, at the end of a run: doubling from the first to the second.
POLL: Final = (0.02, 1.0)
#: Seconds for which a journal that fails is asked again, and between two times: doubling from the first to the second.
JOURNAL_PATIENCE: Final = 15.0
JOURNAL_WAIT: Final = (0.2, 15.0)
#: Seconds that messages on their way have to come to an end once the run is to end.
GRACE: Final = 10.0
#: So many refusals of our arguments and not one message taken: the run is wrong, not the recipients.
HOPELESS: Final = 50
#: What of a run can be cancelled by somebody else's doing.
_Part = Literal["message", "recipients", "journal"]
_PARTS: Final[dict[_Part, str]] = {
    "message": "the making or the sending of a message",
    "recipients": "the source of the recipients",
    "journal": "a step of the journal",
}
#: The platform has said at some time: this one I take.
_TAKEN: Final = (Outcome.ACCEPTED, Outcome.DELIVERED, Outcome.BLOCKED, Outcome.FAILED)


class Run:
    """One bulk send (群发任务): iterate over it for the result of each recipient, or await :meth:`run`.

    Leaving the iteration, :meth:`cancel`, or an error ends it in an orderly way: what is in flight is finished and
    written down. Starting it again under the same name goes on where it ended, whatever ended it.

    A loop that is left early ends the run in the background. Whoever wants to wait for that end, because the client is
    closed next, writes ``async with run:`` around the loop, or awaits :meth:`cancel` after it.
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
        has_past: bool = True,
        observer: EventHook | None = None,
        clock: Callable[[], float] | None = None,
        wall_clock: Callable[[], float] = time.time,
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
        self._observer = observer
        #: Whether a dry run can ask the journal: asking would make the file of one that does not exist.
        self._has_past = has_past
        # Goes on while the machine sleeps: a lease that ended meanwhile must be seen to have ended.
        clock = self._clock = clock or host_clock(time.monotonic).read
        # The end
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()
        self._lease = Lease(clock, LEASE)
        self._delivery = Delivery(
            key,
            sender,
            pace,
            self._lease,
            stopped=self._stopped,
            allow=self._allow,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._end: asyncio.TimerHandle | None = None
        #: Whoever iterates wants the end at once, and has cancelled the run's own task.
        self._given_up = False
        #: The tasks were told to end: that one of them is cancelled says nothing any more.
        self._tasks_are_ending = False
        self._failure: Exception | None = None
        # From the source to the workers
        self._read: dict[str, Recipient] = {}
        self._room_to_read = asyncio.Event()
        self._has_read = asyncio.Event()
        self._waiting: deque[Recipient] = deque()
        self._room_to_sift = asyncio.Event()
        self._source_ended = False
        self._sifted = False
        self._shared = False
        self._stale = False
        self._deferred: dict[str, Recipient] = {}
        self._look_at = float("-inf")
        self._next_poll = POLL[0]
        self._ready: asyncio.Queue[Item] = asyncio.Queue()
        self._ahead = max(AHEAD, pace.concurrency)
        self._in_flight = 0
        #: Whose claim is neither settled nor given back in the journal.
        self._claimed: set[str] = set()
        # From the workers to the journal
        self._wake = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._journal_is_slow = False
        self._results: list[Result] = []
        self._releases: list[str] = []
        #: Refused for their arguments before any message was taken: perhaps the run is wrong and not they.
        self._withheld: list[Result] = []
        self._taken = False
        self._wrong = False
        # From the journal to whoever iterates
        self._out: deque[Result] = deque()
        self._news = asyncio.Event()
        self._room_to_tell = asyncio.Event()
        # Progress
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
            BroadcastError: A part of it was cancelled, and nobody has cancelled the run. It can be continued.
        """
        async with aclosing(self.__aiter__()) as results:
            async for _ in results:
                pass
        return self.progress

    async def cancel(self) -> None:
        """Claim nothing more, and return when what is in flight is finished and written down.

        It takes as long as the answers on their way, 10 s at most: what has none by then is left to whoever continues
        the run. An iteration that goes on gets the results that are left, and ends. Safe to call twice, and from the
        function that makes the messages; there it returns at once.
        """
        self._stop()
        task = self._task
        if task is not None and asyncio.current_task() not in self._tasks:
            await asyncio.wait({task})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.cancel()

    async def __aiter__(self) -> AsyncGenerator[Result, None]:
        if self._task is not None:
            raise ConfigError("a run is iterated over once; make another one to go on", field="run")
        task = self._task = asyncio.create_task(self._work())
        task.add_done_callback(lambda _: self._news.set())
        try:
            while self._out or not task.done():
                if not self._out:
                    self._news.clear()
                    await self._news.wait()
                while self._out:
                    result = self._out.popleft()
                    if len(self._out) == RESULTS // 2:
                        self._room_to_tell.set()
                        self._wake.set()
                    yield result
        finally:
            await self._finish(task)
        if self._failure is not None:
            raise self._failure

    # ---- beginning and end

    async def _finish(self, task: asyncio.Task[None]) -> None:
        """End in an orderly way, whoever has left the iteration."""
        self._stop()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            # Cancelled while it ends: somebody wants it at once. What is in flight is left to whoever continues.
            self._given_up = True
            task.cancel()
            raise
        if task.cancelled():
            # By a function of the user's own, and nothing waited after it, so that _work itself has not seen it.
            self._failure = self._failure or self._cut_short(asyncio.CancelledError())

    @property
    def _stopping(self) -> bool:
        return self._stopped.is_set()

    def _stop(self, failure: Exception | None = None) -> None:
        if failure is not None and self._failure is None:
            self._failure = failure
        if self._stopping:
            return
        self._stopped.set()
        self._wake.set()
        self._has_read.set()
        self._room_to_read.set()
        self._room_to_sift.set()
        self._room_to_tell.set()
        if self._workers:
            self._end = asyncio.get_running_loop().call_later(GRACE, self._cut)

    def _stop_if_not_ours(self, part: _Part, cause: asyncio.CancelledError) -> None:
        """End the run if a task was cancelled, and not by us: what is missing must not look like the end.

        How often a task was cancelled (``cancelling()``) does not tell who it was. A function of the user's own can
        cancel the task that it runs in, and a timer that it has left behind does so at any later point.
        """
        if not self._tasks_are_ending:
            self._stop(_broken_off(part, cause))

    def _cut_short(self, cause: asyncio.CancelledError) -> BroadcastError:
        """Return what to raise when the run's own task was cancelled, and whoever iterates was not.

        A dry run makes its messages in this task: a function that has cancelled it, and waits for nothing, strikes at
        the next step.
        """
        return _broken_off("message" if self._dry_run else "journal", cause)

    def _cut(self) -> None:
        """The answers on their way had their time."""
        self._tasks_are_ending = True
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        whole = False
        observer = None if self._dry_run else self._observer
        if observer is not None:
            from wxmp.events import BroadcastStarted

            observer(BroadcastStarted(appid=self._key.appid, run=self._key.name))
        try:
            if self._dry_run:
                await self._rehearse()
            elif not self._stopping:
                await self._ask(lambda: self._journal.begin(self._key, fingerprint=self._sender.fingerprint))
                await self._send_all()
                whole = not self._stopping
        except Exception as error:  # noqa: BLE001 - whatever it is, the iteration raises it
            self._failure = self._failure or error
        except asyncio.CancelledError as error:
            if self._given_up:
                raise
            self._failure = self._failure or self._cut_short(error)
        finally:
            self._stopped.set()
            self._ended = self._clock()
            if self._close_journal:
                try:
                    await self._journal.aclose()
                except JournalError as error:
                    self._failure = self._failure or error
            if observer is not None:
                self._tell(observer, whole=whole)

    def _tell(self, observer: EventHook, *, whole: bool) -> None:
        from wxmp.events import BroadcastFinished

        failure, task = self._failure, asyncio.current_task()
        if isinstance(failure, BroadcastError) and task is not None and task.cancelling():
            failure = None  # the event loop ends, and cancels whatever there is: nothing of the run's own went wrong
        observer(
            BroadcastFinished(
                appid=self._key.appid,
                run=self._key.name,
                outcome=type(failure).__name__ if failure is not None else "ok" if whole else "cancelled",
                outcomes={outcome.value: count for outcome, count in self._outcomes.items()},
                elapsed=self.progress.seconds,
            )
        )

    async def _rehearse(self) -> None:
        self._started = self._clock()
        reader = asyncio.create_task(self._read_source())
        self._tasks = {reader}
        # On the disk, in a file without a name that goes with us: a million openids are a lot of memory.
        with closing(sqlite3.connect("")) as seen:
            seen.execute("CREATE TABLE seen (openid TEXT PRIMARY KEY) WITHOUT ROWID")
            try:
                while recipients := await self._next_recipients():
                    await self._rehearse_with(recipients, seen)
            finally:
                self._tasks_are_ending = True
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def _rehearse_with(self, recipients: dict[str, Recipient], seen: sqlite3.Connection) -> None:
        known: Mapping[str, bool] = {}
        if self._has_past:
            known = await self._ask(lambda: self._journal.known(self._key, [*recipients]))
        for openid, recipient in recipients.items():
            if seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (openid,)).rowcount == 0:
                continue
            if known.get(openid):
                self._earlier += 1
                continue
            while len(self._out) >= RESULTS and not self._stopping:
                self._room_to_tell.clear()
                await self._room_to_tell.wait()
            if self._stopping:
                return
            try:
                message = await self._sender.prepare(recipient)
            except asyncio.CancelledError as error:
                if self._given_up:
                    raise
                raise _broken_off("message", error) from error
            outcome = Outcome.SKIPPED if message is None else Outcome.PLANNED
            self._emit(Result(openid, outcome, client_msg_id=self._key.client_msg_id(openid)))

    async def _send_all(self) -> None:
        self._started = self._clock()
        self._workers = [asyncio.create_task(self._send_each()) for _ in range(self._pace.concurrency)]
        helpers = (self._read_source(), self._sift(), self._show_life())
        self._tasks = {*self._workers, *map(asyncio.create_task, helpers)}
        try:
            await self._keep_the_books()
        finally:
            self._tasks_are_ending = True
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for timer in (self._end, self._soon):
                if timer is not None:
                    timer.cancel()
            await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """Write down what is left to be, and end the lease: whoever continues need not wait for it."""
        self._drop_unstarted()
        results, self._results = self._results, []
        try:
            await self._journal.exchange(
                self._key, owner=self._lease.owner, lease=0.0, results=results, releases=self._releases
            )
        except WxmpError as error:
            self._failure = self._failure or error
            return
        for result in results:
            self._emit(result)

    # ---- the source

    async def _read_source(self) -> None:
        """Read ahead, as far as there is room."""
        try:
            async with aclosing(recipients_of(self._source)) as recipients:
                async for recipient in recipients:
                    self._seen += 1
                    if not self._read:
                        self._has_read.set()
                    self._read.setdefault(recipient.openid, recipient)
                    while len(self._read) >= CHUNK:
                        self._room_to_read.clear()
                        await self._room_to_read.wait()
        except Exception as error:  # noqa: BLE001 - the user's source can raise anything
            self._stop(error)
        except asyncio.CancelledError as error:
            self._stop_if_not_ours("recipients", error)
            raise
        finally:
            self._source_ended = True
            self._has_read.set()

    async def _next_recipients(self) -> dict[str, Recipient]:
        """Wait for what was read, and take it: a whole chunk from a fast source, single ones from a slow one.

        Returns:
            What was read; nothing at the end.
        """
        while not self._read and not self._source_ended:
            self._has_read.clear()
            await self._has_read.wait()
        taken, self._read = self._read, {}
        self._room_to_read.set()
        return {} if self._stopping else taken

    async def _sift(self) -> None:
        """Pass over whom the journal knows."""
        try:
            while recipients := await self._next_recipients():
                await self._sort_in(recipients)
                self._wake.set()
                while len(self._waiting) >= CHUNK and not self._stopping:
                    self._room_to_sift.clear()
                    await self._room_to_sift.wait()
        except Exception as error:  # noqa: BLE001 - the iteration raises it
            self._stop(error)
        except asyncio.CancelledError as error:
            self._stop_if_not_ours("journal", error)
            raise
        finally:
            self._sifted = True
            self._wake.set()

    async def _sort_in(self, recipients: dict[str, Recipient]) -> None:
        """Put each where it belongs: it waits for a worker, it is in flight, or it is settled."""
        known = await self._ask(lambda: self._journal.known(self._key, [*recipients]))
        fresh: list[Recipient] = []
        for openid, recipient in recipients.items():
            settled = known.get(openid)
            if settled is None:
                fresh.append(recipient)
            elif settled:
                self._earlier += 1
            else:
                self._deferred[openid] = recipient
        if self._shared:  # in another order than the other process, so that the two seldom want the same
            random.shuffle(fresh)
        self._waiting.extend(fresh)

    # ---- the books

    async def _keep_the_books(self) -> None:
        """Claim, record and release in one step at a time, until nothing is left to do."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._stopping:
                self._drop_unstarted()
            elif self._stale:
                await self._look_again()
            # Those in doubt come first: for them there is only a while.
            rescue = bool(self._deferred) and not self._stopping and self._clock() >= self._look_at
            if rescue and self._room > 0 and not await self._rescue([*self._deferred]):
                self._look_at, rescue = self._clock() + HEARTBEAT, False
            results, self._results = self._results, []
            releases, self._releases = self._releases, []
            claims = [] if rescue else self._next_claims()
            if claims or results or releases:
                self._call_the_books()
                await self._exchange(claims, results, releases)
            if len(self._deferred) > DEFERRED:
                await self._look_up_deferred()
            if self._in_flight or self._wake.is_set():
                continue
            if self._withheld:
                self._end_withholding()
            elif self._stopping or (self._sifted and not self._waiting and await self._nothing_is_left()):
                return

    def _call_the_books(self) -> None:
        """Have them look: at once if the workers could run dry, otherwise soon, with more to write at a time."""
        if self._ready.qsize() <= self._ahead // 4 or self._journal_is_slow or self._stopping:
            self._wake.set()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON, self._soon_is_now)

    def _soon_is_now(self) -> None:
        self._soon = None
        self._wake.set()

    def _drop_unstarted(self) -> None:
        """Give back what was claimed and not begun."""
        while not self._ready.empty():
            item = self._ready.get_nowait()
            self._in_flight -= 1
            self._give_back(item)

    def _give_back(self, item: Item) -> None:
        """Forget its claim, if certainly nothing was sent; otherwise it stays in flight for whoever continues."""
        if not item.doubtful:
            self._releases.append(item.recipient.openid)
            self._wake.set()

    @property
    def _room(self) -> int:
        """How many more may be in flight."""
        # Where nothing can be asked for again, each claim that was never begun would have to count as unknown.
        most = self._pace.concurrency + (self._ahead if self._sender.deduplicates else 0)
        if self._pace.per_second is not None:
            most = min(most, max(1, int(self._pace.per_second * AHEAD_SECONDS)))
        return most - self._in_flight

    def _next_claims(self) -> list[Recipient]:
        if self._stopping or len(self._out) >= RESULTS or self._delivery.quiet:
            return []
        self._next_poll = POLL[0] if self._waiting else self._next_poll
        claims: list[Recipient] = []
        room = self._room
        while self._waiting and len(claims) < room:
            recipient = self._waiting.popleft()
            if recipient.openid in self._claimed:  # named twice; a claim that fails must not give back the first
                self._deferred[recipient.openid] = recipient
            else:
                claims.append(recipient)
        if len(self._waiting) < CHUNK:
            self._room_to_sift.set()
        return claims

    async def _exchange(self, claims: Sequence[Recipient], results: Sequence[Result], releases: list[str]) -> None:
        owner, epoch, asked_at = self._lease.claim()
        names = [recipient.openid for recipient in claims]

        async def attempt() -> Sequence[bool]:
            nonlocal releases
            try:
                answers = await self._journal.exchange(
                    self._key, owner=owner, lease=self._lease.seconds, claims=names, results=results, releases=releases
                )
            except JournalError:
                # Perhaps it was done and only the answer is missing. Giving the claims back first makes it repeatable.
                releases = [*releases, *names]
                raise
            return [claim.mine for claim in answers]

        try:
            mine = await self._ask(attempt)
        except BaseException:  # cancellation included: what is not known to be written is written once more
            self._results[:0] = results
            self._releases[:0] = releases
            raise
        self._claimed.difference_update(releases)
        self._claimed.difference_update([result.openid for result in results])
        self._journal_is_slow = self._clock() - asked_at > SOON
        holds = self._lease.renewed(epoch, asked_at)
        lost = 0
        for recipient, is_mine in zip(claims, mine, strict=True):
            if is_mine and holds:
                self._hand_out(Item(recipient, epoch))
            else:
                lost += 1
                self._deferred[recipient.openid] = recipient
        if lost and not self._shared:
            self._shared = True
            random.shuffle(self._waiting)
        self._stale = self._stale or 2 * lost > len(claims)
        for result in results:
            self._emit(result)

    def _hand_out(self, item: Item) -> None:
        self._in_flight += 1
        self._claimed.add(item.recipient.openid)
        self._ready.put_nowait(item)

    def _emit(self, result: Result) -> None:
        self._outcomes[result.outcome] = self._outcomes.get(result.outcome, 0) + 1
        self._out.append(result)
        self._news.set()

    async def _look_again(self) -> None:
        """Another process is ahead: of those that wait here, many are its own by now."""
        self._stale = False
        waiting = {recipient.openid: recipient for recipient in self._waiting}
        self._waiting.clear()
        if waiting:
            await self._sort_in(waiting)
        self._wake.set()

    async def _allow(self, most: int) -> Allowance:
        wanted = max(1, min(most, self._in_flight))
        return await self._ask(
            lambda: self._journal.allow(
                self._key.appid, wanted=wanted, per_second=self._pace.per_second, per_day=self._pace.per_day
            )
        )

    async def _ask(self, verb: Callable[[], Awaitable[T]]) -> T:
        """Ask the journal, and again for a while if it fails: a Redis that changes its master is back in seconds."""
        ends, wait = self._clock() + JOURNAL_PATIENCE, JOURNAL_WAIT[0]
        while True:
            try:
                return await verb()
            except JournalError as error:
                if self._stopping or self._clock() + wait >= ends:
                    raise
                logger.warning(
                    "%s: the journal failed, next attempt in %.1f s: %s",
                    self._key.name,
                    wait,
                    error,
                    extra=log_fields(
                        "journal_retried",
                        appid=self._key.appid,
                        run=self._key.name,
                        seconds=wait,
                        error=type(error).__name__,
                    ),
                )
            await asyncio.sleep(wait)
            wait = min(2 * wait, JOURNAL_WAIT[1])

    # ---- the lease

    async def _show_life(self) -> None:
        """Renew the lease, however long the iteration or the platform keeps us waiting."""
        try:
            while True:
                await asyncio.sleep(HEARTBEAT)
                await self._renew()
        except asyncio.CancelledError as error:
            self._stop_if_not_ours("journal", error)
            raise

    async def _renew(self) -> None:
        owner, epoch, asked_at = self._lease.claim()
        try:
            await self._journal.exchange(self._key, owner=owner, lease=self._lease.seconds)
        except JournalError as error:
            logger.warning(
                "%s: no sign of life could be given: %s",
                self._key.name,
                error,
                extra=log_fields(
                    "journal_failed", appid=self._key.appid, run=self._key.name, error=type(error).__name__
                ),
            )
        else:
            self._lease.renewed(epoch, asked_at)
        self._wake.set()

    # ---- recipients that were in flight elsewhere

    async def _look_up_deferred(self) -> None:
        """Forget those that were settled meanwhile, and put those back that were released."""
        openids = [*self._deferred]
        for start in range(0, len(openids), CHUNK):
            part = openids[start : start + CHUNK]
            await self._sort_in({openid: self._deferred.pop(openid) for openid in part})
        self._wake.set()

    async def _rescue(self, openids: list[str] | None) -> bool:
        """Take over from processes that died, while their messages can still be asked for again."""
        room = self._room
        if room <= 0 or openids == []:
            return False
        owner, epoch, asked_at = self._lease.claim()
        try:
            doubts = await self._journal.take_over(
                self._key, owner=owner, lease=self._lease.seconds, openids=openids, limit=room
            )
        except JournalError as error:
            # Perhaps they are ours now and nobody knows which: another name finds them when this one's lease has ended.
            logger.warning(
                "%s: the journal failed: %s",
                self._key.name,
                error,
                extra=log_fields(
                    "journal_failed", appid=self._key.appid, run=self._key.name, error=type(error).__name__
                ),
            )
            self._lease.change_owner()
            return True
        holds = self._lease.renewed(epoch, asked_at)
        for doubt in doubts:
            recipient = self._deferred.pop(doubt.openid, None)
            if recipient is not None and not holds:
                self._deferred[doubt.openid] = recipient
            elif recipient is None or doubt.age >= WINDOW or not self._sender.deduplicates:
                why = "no longer among the recipients" if recipient is None else "its answer was lost"
                key = self._key.client_msg_id(doubt.openid)
                self._results.append(Result(doubt.openid, Outcome.UNKNOWN, None, key, 0, why))
            else:
                self._hand_out(Item(recipient, epoch, since=asked_at - doubt.age, doubtful=True))
        if doubts:
            self._wake.set()
        return bool(doubts)

    async def _nothing_is_left(self) -> bool:
        """Look after what others left in flight; tells whether nothing of it is left."""
        await self._look_up_deferred()
        if self._waiting:
            return False
        if await self._rescue([*self._deferred] if self._partial else None):
            return False
        patience = None
        if not self._partial or self._deferred:
            patience = await self._ask(lambda: self._journal.others(self._key, owner=self._lease.owner))
        if not self._deferred and patience is None:
            return True
        with suppress(StopError):
            await self._delivery.pause(self._next_poll)
        self._next_poll = min(2 * self._next_poll, POLL[1])
        return False

    # ---- the messages

    async def _send_each(self) -> None:
        try:
            while True:
                await self._send_one(await self._ready.get())
        except asyncio.CancelledError as error:
            self._stop_if_not_ours("message", error)
            raise

    async def _send_one(self, item: Item) -> None:
        try:
            await self._settle(item)
        except StopError as stop:
            self._give_back(item)
            self._stop(stop.cause)
        except LapsedError:
            # Whoever took over sends it, or this process does after its old lease has been seen to end.
            self._claimed.discard(item.recipient.openid)
            self._deferred[item.recipient.openid] = item.recipient
        except Exception as error:  # noqa: BLE001 - of the user's function that makes the data
            self._give_back(item)
            self._stop(error)
        except asyncio.CancelledError:
            self._give_back(item)
            raise
        finally:
            self._in_flight -= 1
            self._call_the_books()

    async def _settle(self, item: Item) -> None:
        result = await self._delivery.deliver(item)
        if result.outcome is Outcome.ACCEPTED and not self._taken:
            self._taken = True
            self._end_withholding()
        if result.outcome is not Outcome.REFUSED or self._taken or not _is_ours(result.errcode):
            self._results.append(result)
            return
        self._withheld.append(result)
        if self._wrong:
            return
        if len(self._withheld) >= HOPELESS:
            counts = await self._ask(lambda: self._journal.counts(self._key))
            if any(counts.get(outcome) for outcome in _TAKEN):  # in an earlier run, or elsewhere
                self._taken = True
                self._end_withholding()
            else:
                self._wrong = True
                self._stop(self._hopeless(result))

    def _end_withholding(self) -> None:
        """Write the early refusals down; or forget them, if it was the run that was refused."""
        withheld, self._withheld = self._withheld, []
        if self._wrong:
            self._releases += [result.openid for result in withheld]
        else:
            self._results += withheld
        self._wake.set()

    def _hopeless(self, last: Result) -> APIError:
        error = api_error(last.errcode, last.errmsg, endpoint=self._sender.endpoint)
        error.add_note(f"the first {HOPELESS} messages were all refused, this is the last refusal; none was sent")
        return error


def _broken_off(part: _Part, cause: asyncio.CancelledError) -> BroadcastError:
    error = BroadcastError(
        f"{_PARTS[part]} was cancelled, and nobody has cancelled the run, which can be continued", part=part
    )
    error.__cause__ = cause
    return error


def _is_ours(errcode: int) -> bool:
    """Tell whether a refusal can be the fault of the run, and not of its recipient."""
    return lookup(errcode).kind in ("argument", "other")


async def recipients_of(
    source: AsyncIterable[Recipient | str] | Iterable[Recipient | str],
) -> AsyncGenerator[Recipient, None]:
    """Yield the recipients of a source, whatever it is made of."""
    if isinstance(source, str | bytes):
        raise ConfigError("recipients is one text; put the openid in a list", field="recipients")
    if isinstance(source, AsyncIterable):
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
    openid: object = given.openid if isinstance(given, Recipient) else None
    if not isinstance(given, Recipient) or not isinstance(openid, str) or not openid.strip():
        raise ConfigError("recipients must give openids or Recipient records, none of them empty", field="recipients")
    return given
