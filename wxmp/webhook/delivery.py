"""In time and only once (5 秒内响应, 消息排重): from an authentic push to the answer of its connection.

The platform waits 5 s, cuts the connection, and delivers again: three times in all. A handler may use all of that time.
Its first connection runs out, the work goes on under the key of the push, and whichever connection is open when it ends
carries the answer. When no connection is left the answer goes out as a customer-service message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from wxmp._log import log_fields
from wxmp.config import positive, positive_whole
from wxmp.errors import ConfigError, SignatureError, WebhookError, WebhookStoreError
from wxmp.webhook.dedupe import Claim, DedupeStore, MemoryDedupe

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from wxmp._log import LineLogger

__all__ = ["Deliveries", "DeliveryPolicy", "HandlerFailedError", "OverloadedError", "Work"]

logger: logging.Logger = logging.getLogger("wxmp.webhook")

#: Seconds after which the platform has hung up: an answer later than that must take another way.
PATIENCE: Final = 5.0
#: A lease is renewed this many times before it ends, so that one lost renewal does not lose the push.
RENEWALS: Final = 3
#: Seconds between two looks at a push that another process handles: first, growth, most.
POLL_FIRST: Final = 0.05
POLL_GROWTH: Final = 1.5
POLL_MOST: Final = 0.25
#: A handler that ends within so many seconds needs no timers of its own.
GLANCE: Final = 0.25
#: Seconds that are not worth waiting for: a clock may not even show them.
TICK: Final = 0.001
#: Seconds for which a store that failed is not asked again.
STORE_PAUSE: Final = 1.0
#: What a handler's task is cancelled with when it has taken too long, so that its watch can tell.
HANDLER_TIMEOUT: Final = "handler_timeout"
#: Seconds that a stopped handler has to clean up at shutdown.
STOP_SECONDS: Final = 2.0


def _one_of(*choices: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in choices:
            raise ConfigError(f"{attribute.name} must be one of {', '.join(choices)}", field=attribute.name)

    return check


@attrs.frozen(kw_only=True)
class DeliveryPolicy:
    """How long a push may take, and what happens when it takes longer (被动回复时限). All times in seconds."""

    #: The platform hangs up after 5 s; an answer needs some of that for its way.
    deadline: float = attrs.field(default=4.5, validator=positive)
    #: How often the platform delivers one push. The last delivery is answered at the deadline, whatever happens: a
    #: user whose three deliveries all fail sees "该公众号提供的服务出现故障".
    attempts: int = attrs.field(default=3, validator=positive_whole)
    #: An earlier delivery is left open for this long. The platform cuts it and delivers again.
    hold: float = attrs.field(default=5.5, validator=positive)
    #: After its handler has ended, an answer waits this long for one more delivery to carry it. Then it goes out as a
    #: customer-service message.
    grace: float = attrs.field(default=5.0, validator=positive)
    #: A worker that says nothing for this long is dead: the next delivery takes the push over.
    lease: float = attrs.field(default=3.0, validator=positive)
    #: How long a finished push is remembered.
    keep: float = attrs.field(default=60.0, validator=positive)
    #: A handler is stopped after about this time.
    handler_timeout: float = attrs.field(default=120.0, validator=positive)
    #: Handlers that run at a time, late answers included. What is more is answered 503, and comes again.
    max_running: int = attrs.field(default=1000, validator=positive_whole)
    #: At shutdown handlers may go on for this long. What is stopped is left to the next delivery.
    drain: float = attrs.field(default=10.0, validator=positive)
    #: A handler raises. ``"success"``: the push counts as handled, the user sees nothing. ``"retry"``: the answer is
    #: 500 and the next delivery runs the handler again; after the last one the user sees the platform's notice.
    on_error: Literal["success", "retry"] = attrs.field(default="success", validator=_one_of("success", "retry"))
    #: The dedupe store is down. ``"local"``: each process deduplicates for itself, so a push that a retry brings to
    #: another process is handled twice. ``"refuse"``: the connection waits for the store until the deadline, then the
    #: answer is 503.
    on_store_down: Literal["local", "refuse"] = attrs.field(default="local", validator=_one_of("local", "refuse"))

    def __attrs_post_init__(self) -> None:
        if self.hold < self.deadline:
            raise ConfigError("hold must not be shorter than deadline", field="hold")
        if self.lease >= self.deadline:
            raise ConfigError(
                "lease must be shorter than deadline: a delivery has to outlive the lease of a dead worker",
                field="lease",
            )


class OverloadedError(WebhookError):
    """Too many handlers run, or the webhook is closing: 503, the platform delivers again."""

    def __init__(self, message: str, *, code: int = 0, status: int = 503) -> None:
        super().__init__(message, code=code, status=status)


class HandlerFailedError(WebhookError):
    """The handler raised, and the policy asks for another delivery: 500."""

    def __init__(self, message: str, *, code: int = 0, status: int = 500) -> None:
        super().__init__(message, code=code, status=status)


@attrs.define(eq=False)  # not frozen: one is made for every push, and that costs half as much
class Work:
    """What is to be done for one push."""

    #: ``"appid:digest"`` of the push, and of the request that brought it.
    key: str
    replay: str
    replay_for: float
    #: Runs the handler and returns the rendered reply; raises what the handler raises.
    handle: Callable[[], Awaitable[bytes]]
    #: Sends an answer that no connection could carry.
    send_late: Callable[[bytes], Awaitable[None]]
    #: What log lines call it; no personal data.
    label: str
    #: When its connection began to wait, by the clock of the event loop; now if absent.
    since: float | None = None


@attrs.define(eq=False)
class _Connection:
    """A delivery that waits for a handler of this process. Times by the clock of the event loop."""

    future: asyncio.Future[None]
    #: When it stops waiting.
    until: float
    #: Which delivery of the push it is.
    number: int
    timer: asyncio.TimerHandle | None = None


@attrs.define(eq=False)
class _Job:
    """A handler that runs in this process."""

    work: Work
    store: DedupeStore
    fence: int
    #: When it began, by the clock of the event loop.
    since: float
    #: How often the platform has delivered the push, as far as this process knows.
    deliveries: int
    task: asyncio.Task[None] | None = None
    renewal: asyncio.TimerHandle | None = None
    connections: list[_Connection] = attrs.field(factory=list)
    #: It did not end at once: it has timers.
    slow: bool = False
    #: The last delivery was answered without waiting any longer: no other will come.
    given_up: bool = False
    #: It took too long.
    expired: bool = False
    #: Somebody else owns the push now.
    fenced: bool = False
    #: The handler has ended; the store may not know yet.
    ended: bool = False
    #: The store knows too: ``answer`` is for everybody who waits, ``None`` if there is none.
    done: bool = False
    answer: bytes | None = attrs.field(default=None, repr=False)
    #: It raised, and the platform shall deliver again.
    failed: bool = False


class Deliveries:
    """All pushes under way at one webhook in one event loop.

    Args:
        store: Where deliveries of one push meet.
        policy: Times and what happens at their end.
        local: Where they meet while ``store`` is down.
        log: Where lines about them go.
    """

    def __init__(
        self,
        store: DedupeStore,
        policy: DeliveryPolicy,
        *,
        local: MemoryDedupe | None = None,
        log: LineLogger = logger,
    ) -> None:
        self._logger: LineLogger = log
        self._store = store
        self._policy = policy
        self._local = store if isinstance(store, MemoryDedupe) else local or MemoryDedupe()
        self._jobs: dict[str, _Job] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._renewals: set[asyncio.Task[None]] = set()
        #: The timer that gives timers to the handlers that have not ended at once.
        self._glance: asyncio.TimerHandle | None = None
        self._glance_after = min(GLANCE, policy.deadline / 2, policy.lease / RENEWALS / 2, policy.handler_timeout / 2)
        #: Connections that wait for the store.
        self._holding = 0
        self._store_down = False
        self._ask_again_at = 0.0
        self._stopping = asyncio.Event()

    def __len__(self) -> int:
        """How many handlers run and late answers wait."""
        return len(self._jobs) + len(self._late)

    async def deliver(self, work: Work) -> bytes:
        """Return the rendered reply for the connection that brought ``work``; empty for nothing to show.

        Raises:
            SignatureError: This very request was seen before.
            OverloadedError: Too much is under way, or this delivery waited in vain and another will come.
            HandlerFailedError: The handler raised and the platform shall deliver again.
            WebhookStoreError: The store is down and the policy refuses to do without.
        """
        policy, key = self._policy, work.key
        stopping = self._stopping  # once aclose() is over there is another one, for those who come later
        loop = asyncio.get_running_loop()
        started = loop.time() if work.since is None else work.since
        store, claim = await self._begin(work, started + policy.deadline)
        number = claim.delivery
        last = number >= policy.attempts
        ends = started + (policy.deadline if last else policy.hold)
        hangs_up = started + max(PATIENCE, policy.deadline)
        until = min(ends, hangs_up)
        pause = POLL_FIRST
        while True:
            status = claim.status
            if status == "done":
                return claim.answer
            if status == "late":
                return b""
            if status == "replayed":
                raise SignatureError("this request was seen before")
            job = self._jobs.get(key)
            if status == "new":
                if job is not None and job.store is store and not job.fenced and not job.failed:
                    # This process was too busy to renew the lease, or the store has forgotten it. Nobody else has the
                    # push, and its handler is still at work: it goes on under the new fence.
                    job.fence = claim.fence
                else:
                    refusal = self._full(stopping)
                    if refusal is not None:
                        await self._forget(store, work, claim.fence)
                        raise refusal
                    job = self._start(work, store, claim, loop)
            if job is not None and job.fence == claim.fence and not job.fenced:
                job.deliveries = max(job.deliveries, claim.delivery)
                answer = await self._wait(job, until, hangs_up, number)
                if answer is not None:
                    return answer
            elif (left := until - loop.time()) >= TICK:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * POLL_GROWTH, POLL_MOST)
            if until - loop.time() < TICK:
                if last:
                    self._logger.info(
                        "%s: answered without waiting any longer",
                        work.label,
                        extra=log_fields("push_given_up", push=work.label),
                    )
                    return b""
                await asyncio.sleep(ends - loop.time())
                raise OverloadedError("a handler is still at work: left to the next delivery")
            claim = await self._look(store, key, claim)

    async def _look(self, store: DedupeStore, key: str, claim: Claim) -> Claim:
        """Ask again for a connection that waits; without an answer it waits on."""
        try:
            return await store.begin(key, lease=self._policy.lease, keep=self._policy.keep)
        except WebhookStoreError as error:
            self._store_failed(error)
            return claim if claim.status == "running" else Claim("running")

    async def _held(self, until: float) -> bool:
        """Keep a connection that cannot be served now for a moment; False when it is not worth it any longer.

        A refusal brings the next delivery at once: three refusals in a row, and a push is lost within milliseconds.
        """
        left = until - asyncio.get_running_loop().time()
        if left < TICK or self._holding >= self._policy.max_running:
            return False
        self._holding += 1
        try:
            await asyncio.sleep(min(POLL_MOST, left))
        finally:
            self._holding -= 1
        return True

    def _full(self, stopping: asyncio.Event) -> OverloadedError | None:
        if stopping.is_set():
            return OverloadedError("the webhook is closing")
        if len(self._jobs) + len(self._late) >= self._policy.max_running:
            return OverloadedError(f"{self._policy.max_running} handlers run already")
        return None

    # ---- the store, and what happens without it

    async def _begin(self, work: Work, until: float) -> tuple[DedupeStore, Claim]:
        """Announce a delivery to the shared store; to the one of this process while the shared one is down."""
        while True:
            try:
                return await self._begin_once(work)
            except WebhookStoreError:
                if not await self._held(until):
                    raise

    async def _begin_once(self, work: Work) -> tuple[DedupeStore, Claim]:
        store, local, key = self._store, self._local, work.key
        if store is local or key in local:  # begun or ended while the shared store was down
            return local, await self._announce(local, work)
        if asyncio.get_running_loop().time() >= self._ask_again_at:
            try:
                claim = await self._announce(store, work)
            except WebhookStoreError as error:
                self._store_failed(error)
            else:
                if self._store_down:
                    self._store_down = False
                    self._logger.info("the dedupe store works again", extra=log_fields("dedupe_up"))
                return store, claim
        job = self._jobs.get(key)
        if job is not None:
            return store, Claim("running", job.fence, job.deliveries + 1)
        if self._policy.on_store_down == "refuse":
            raise WebhookStoreError("the dedupe store is down", store=type(store).__name__)
        return local, await self._announce(local, work)

    def _announce(self, store: DedupeStore, work: Work) -> Coroutine[Any, Any, Claim]:
        policy = self._policy
        return store.begin(
            work.key, replay=work.replay, replay_for=work.replay_for, lease=policy.lease, keep=policy.keep
        )

    def _store_failed(self, error: WebhookStoreError) -> None:
        if not self._store_down:
            self._store_down = True
            alone = self._policy.on_store_down == "local"
            what = "each process works alone" if alone else "nothing new is handled"
            self._logger.warning(
                "the dedupe store failed, for now %s: %s",
                what,
                error,
                extra=log_fields("dedupe_down", error=type(error).__name__),
            )
        self._ask_again_at = asyncio.get_running_loop().time() + STORE_PAUSE

    # ---- running a handler

    def _start(self, work: Work, store: DedupeStore, claim: Claim, loop: asyncio.AbstractEventLoop) -> _Job:
        """Make the job of a push. Its task is made by the connection that waits for it."""
        job = self._jobs[work.key] = _Job(work, store, claim.fence, loop.time(), claim.delivery)
        if self._glance is None:
            self._glance = loop.call_later(self._glance_after, self._give_timers)
        return job

    async def _run(self, job: _Job) -> None:
        """Run the handler to its end, and tell the store and the connections."""
        work = job.work
        answer: bytes | None = None
        try:
            try:
                answer = await work.handle()
            except asyncio.CancelledError:
                if job.expired:
                    self._logger.error(  # noqa: TRY400 - it says nothing of where
                        "%s: stopped after %g s",
                        work.label,
                        self._policy.handler_timeout,
                        extra=log_fields("handler_stopped", push=work.label, seconds=self._policy.handler_timeout),
                    )
                elif job.task is not None and job.task.cancelling():
                    raise
                else:  # nobody has stopped it: something that it waited for was cancelled
                    self._logger.exception(
                        "%s: the handler failed",
                        work.label,
                        extra=log_fields("handler_failed", push=work.label, error="CancelledError"),
                    )
            except (GeneratorExit, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                self._logger.exception(
                    "%s: the handler failed",
                    work.label,
                    extra=log_fields("handler_failed", push=work.label, error=type(error).__name__),
                )
            job.ended = True
            if answer is not None or self._policy.on_error == "success":
                await self._finish(job, answer or b"")
            else:
                job.failed = True
                await self._forget(job.store, work, job.fence)
        except asyncio.CancelledError:
            if not job.fenced:
                await self._forget(job.store, work, job.fence)
            raise
        finally:
            self._end(job)

    def _end(self, job: _Job) -> None:
        job.ended = job.done = True
        if job.renewal is not None:
            job.renewal.cancel()
        key = job.work.key
        if self._jobs.get(key) is job:
            del self._jobs[key]
        for connection in job.connections:
            _wake(connection.future)

    async def _finish(self, job: _Job, answer: bytes) -> None:
        policy, key = self._policy, job.work.key
        taken = not answer or _heard(job)
        stored = False
        fence = 0
        while not stored and fence != job.fence:  # it may have got another one meanwhile
            fence = job.fence
            try:
                stored = await job.store.finish(key, fence=fence, answer=answer, keep=policy.keep, taken=taken)
            except WebhookStoreError as error:
                self._store_failed(error)
                stored = True  # nobody can say otherwise, and the user waits
                await self._keep_here(job, answer, taken=taken)
        if not stored:
            self._logger.warning(
                "%s: lost its lease while it ran, another worker answers",
                job.work.label,
                extra=log_fields("lease_lost", push=job.work.label),
            )
            job.fenced = True
            return
        job.answer = answer
        if not answer or _heard(job):
            return  # also by a connection that came while the store was told
        if not taken:
            self._spawn(self._answer_late(job, answer), self._late)
        elif job.deliveries >= policy.attempts:
            # The last connection was lost while the store was told that it has the answer. No other will come.
            self._spawn(self._send_late(job, answer), self._late)

    async def _keep_here(self, job: _Job, answer: bytes, *, taken: bool) -> None:
        """Remember in this process what the shared store could not be told."""
        policy, key = self._policy, job.work.key
        claim = await self._local.begin(key, lease=policy.lease, keep=policy.keep)
        job.store, job.fence = self._local, claim.fence
        await self._local.finish(key, fence=claim.fence, answer=answer, keep=policy.keep, taken=taken)

    async def _forget(self, store: DedupeStore, work: Work, fence: int) -> None:
        try:
            await store.forget(work.key, fence=fence)
        except WebhookStoreError as error:
            self._store_failed(error)  # its lease ends by itself

    # ---- a handler that takes a while

    def _give_timers(self) -> None:
        """Give timers to the handlers that have not ended yet, and to the connections that wait for them."""
        self._glance = None
        loop = asyncio.get_running_loop()
        # Looked up here and not collected before: a list of jobs would keep those that have ended alive, for long
        # enough to make the garbage collector go through everything over and over.
        for job in list(self._jobs.values()):
            if not job.slow:
                job.slow = True
                self._look_after(job, loop)
                for connection in job.connections:
                    connection.timer = loop.call_at(connection.until, _wake, connection.future)

    def _look_after(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        """Stop a handler that takes too long, and renew the lease of the others."""
        task, now = job.task, loop.time()
        if job.ended or task is None:
            return
        policy = self._policy
        until = job.since + policy.handler_timeout
        if now >= until and not job.expired:
            job.expired = True
            task.cancel(HANDLER_TIMEOUT)
        if job.renewal is not None:
            self._spawn(self._renew(job, job.fence), self._renewals)
        at = now + policy.lease / RENEWALS
        job.renewal = loop.call_at(at if job.expired else min(at, until), self._look_after, job, loop)

    async def _renew(self, job: _Job, fence: int) -> None:
        try:
            owned = await job.store.extend(job.work.key, fence=fence, lease=self._policy.lease)
        except WebhookStoreError as error:
            self._store_failed(error)
            return
        if not owned and job.fence == fence and not job.ended and job.task is not None:
            # Another worker runs the handler already: two of them are worse than one that is cut off.
            self._logger.warning(
                "%s: its lease went to another worker, the handler is stopped",
                job.work.label,
                extra=log_fields("lease_lost", push=job.work.label),
            )
            job.fenced = True
            job.task.cancel()

    # ---- a connection that waits

    async def _wait(self, job: _Job, until: float, hangs_up: float, number: int) -> bytes | None:
        """Wait for a handler of this process; ``None`` if it has no answer for this connection."""
        loop = asyncio.get_running_loop()
        # When the handler has ended, and only the store has not confirmed it yet, it is worth a little more time.
        for moment in (until, hangs_up):
            connection = _Connection(loop.create_future(), moment, number)
            job.connections.append(connection)
            if job.slow:
                connection.timer = loop.call_at(moment, _wake, connection.future)
            try:
                if job.task is None:
                    job.task = _task(loop, self._run(job))
                if not job.done:
                    await connection.future
            finally:
                job.connections.remove(connection)
                if connection.timer is not None:
                    connection.timer.cancel()
            if job.done or not job.ended:
                break
        if job.failed:
            raise HandlerFailedError("the handler failed")
        if not job.done:
            job.given_up = job.given_up or number >= self._policy.attempts
        return job.answer

    # ---- an answer without a connection

    async def _answer_late(self, job: _Job, answer: bytes) -> None:
        if not job.given_up:
            # The next delivery may be on its way, and carries the answer for nothing.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._policy.grace)
        try:
            if not await job.store.claim_late(job.work.key, fence=job.fence):
                return
        except WebhookStoreError as error:
            self._store_failed(error)  # nobody took it in this process, and rather twice than never
        await self._send_late(job, answer)

    async def _send_late(self, job: _Job, answer: bytes) -> None:
        work = job.work
        try:
            await work.send_late(answer)
        except Exception as error:
            self._logger.exception(
                "%s: the late answer was not delivered",
                work.label,
                extra=log_fields("late_answer_failed", push=work.label, error=type(error).__name__),
            )
        except asyncio.CancelledError:
            self._logger.warning(
                "%s: the late answer was given up",
                work.label,
                extra=log_fields("late_answer_dropped", push=work.label, reason="cancelled"),
            )
            raise

    # ---- the end

    def _spawn(self, work: Coroutine[Any, Any, None], home: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        home.add(task)
        task.add_done_callback(home.discard)

    async def aclose(self) -> None:
        """Start nothing new, let handlers end, stop those that do not. What was stopped is left to a next delivery."""
        stopping = self._stopping
        stopping.set()
        await self._settle(self._policy.drain)
        handlers = [job.task for job in self._jobs.values() if job.task is not None and not job.ended]
        if handlers:
            self._logger.warning(
                "%d handlers were stopped after %g s",
                len(handlers),
                self._policy.drain,
                extra=log_fields("handlers_stopped", count=len(handlers), seconds=self._policy.drain),
            )
            for handler in handlers:
                handler.cancel()
        await self._settle(STOP_SECONDS)
        rest = self._busy()
        if rest:
            self._logger.error(
                "%d handlers or late answers do not end", len(rest), extra=log_fields("handlers_stuck", count=len(rest))
            )
        rest |= self._renewals
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=STOP_SECONDS)
        if self._glance is not None and not self._jobs:
            self._glance.cancel()
            self._glance = None
        if self._stopping is stopping:
            self._stopping = asyncio.Event()

    def _busy(self) -> set[asyncio.Task[None]]:
        return {job.task for job in self._jobs.values() if job.task is not None} | self._late

    async def _settle(self, seconds: float) -> None:
        """Wait until nothing is under way, but not longer than ``seconds``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (tasks := self._busy()) and (left := until - loop.time()) > 0:
            await asyncio.wait(tasks, timeout=left)


def _heard(job: _Job) -> bool:
    """Whether the platform listens: to its newest delivery only, the others are dead and we may not know it."""
    for connection in job.connections:  # noqa: SIM110 - any() costs more than all the rest here
        if connection.number >= job.deliveries:
            return True
    return False


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done() and not future.get_loop().is_closed():
        future.set_result(None)


def _task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a handler, at once where Python can: most have ended before they first wait."""
    if sys.version_info >= (3, 12) and loop.get_task_factory() is None:
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
