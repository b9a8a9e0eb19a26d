"""In time and only once (5 秒内响应, 消息排重): from an authentic push to the answer of its connection.

The platform waits 5 s, cuts the connection, and delivers again: three times in all. A handler may use all of that time.
Its first connection runs out, the work goes on under the key of the push, and whichever connection is open when it ends
carries the answer. When no connection is left the answer goes out as a customer-service message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from wxmp.errors import ConfigError, SignatureError, WebhookError, WebhookStoreError, WxmpError
from wxmp.webhook.dedupe import Claim, DedupeStore, MemoryDedupe

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Deliveries", "DeliveryPolicy", "HandlerFailedError", "OverloadedError", "Work"]

logger = logging.getLogger("wxmp.webhook")

#: A lease is renewed this many times before it ends, so that one lost renewal does not lose the push.
RENEWALS: Final = 3
#: Seconds between two looks at a push that another process handles: first, growth, most.
POLL_FIRST: Final = 0.05
POLL_GROWTH: Final = 1.5
POLL_MOST: Final = 0.25
#: Seconds for which a store that failed is not asked again.
STORE_PAUSE: Final = 1.0
#: Seconds that a stopped handler has to clean up at shutdown.
STOP_SECONDS: Final = 2.0


def _positive(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ConfigError(f"{attribute.name} must be a number above 0", field=attribute.name)


def _one_of(*choices: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in choices:
            raise ConfigError(f"{attribute.name} must be one of {', '.join(choices)}", field=attribute.name)

    return check


@attrs.frozen(kw_only=True)
class DeliveryPolicy:
    """How long a push may take, and what happens when it takes longer (被动回复时限). All times in seconds."""

    #: The platform hangs up after 5 s; an answer needs some of that for its way.
    deadline: float = attrs.field(default=4.5, validator=_positive)
    #: How often the platform delivers one push. The last delivery is answered at the deadline, whatever happens: a
    #: user whose three deliveries all fail sees "该公众号提供的服务出现故障".
    attempts: int = attrs.field(default=3, validator=_positive)
    #: An earlier delivery is left open for this long. The platform cuts it and delivers again.
    hold: float = attrs.field(default=5.5, validator=_positive)
    #: After its handler has ended, an answer waits this long for one more delivery to carry it. Then it goes out as a
    #: customer-service message.
    grace: float = attrs.field(default=5.0, validator=_positive)
    #: A worker that says nothing for this long is dead: the next delivery takes the push over.
    lease: float = attrs.field(default=3.0, validator=_positive)
    #: How long a finished push is remembered.
    keep: float = attrs.field(default=60.0, validator=_positive)
    #: A handler is stopped after this time.
    handler_timeout: float = attrs.field(default=120.0, validator=_positive)
    #: Handlers that run at a time, late answers included. What is more is answered 503, and comes again.
    max_running: int = attrs.field(default=1000, validator=_positive)
    #: At shutdown handlers may go on for this long. What is stopped is left to the next delivery.
    drain: float = attrs.field(default=10.0, validator=_positive)
    #: A handler raises. ``"success"``: the push counts as handled, the user sees nothing. ``"retry"``: the answer is
    #: 500 and the next delivery runs the handler again; after the last one the user sees the platform's notice.
    on_error: Literal["success", "retry"] = attrs.field(default="success", validator=_one_of("success", "retry"))
    #: The dedupe store is down. ``"local"``: each process deduplicates for itself, so a push that a retry brings to
    #: another process is handled twice. ``"refuse"``: the answer is 503.
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


@attrs.frozen
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


@attrs.define(eq=False)
class _Job:
    """A handler that runs in this process."""

    work: Work
    store: DedupeStore
    fence: int
    #: When it is stopped, by the clock of the event loop.
    until: float
    task: asyncio.Task[bytes | None] | None = None
    renewal: asyncio.TimerHandle | None = None
    #: How often the platform has delivered the push, as far as this process knows.
    deliveries: int = 1
    #: Connections that would carry the answer right now.
    waiting: int = 0
    #: The last delivery was answered without waiting any longer: no other will come.
    given_up: bool = False
    #: It took too long.
    expired: bool = False
    #: The handler has ended.
    ended: bool = False
    #: Somebody else owns the push now.
    fenced: bool = False


class Deliveries:
    """All pushes under way at one webhook."""

    def __init__(self, store: DedupeStore, policy: DeliveryPolicy) -> None:
        self._store = store
        self._policy = policy
        self._local = store if isinstance(store, MemoryDedupe) else MemoryDedupe()
        self._jobs: dict[str, _Job] = {}
        self._late: set[asyncio.Task[None]] = set()
        self._renewals: set[asyncio.Task[None]] = set()
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
        policy = self._policy
        if len(self) >= policy.max_running and work.key not in self._jobs:
            raise OverloadedError(f"{policy.max_running} handlers run already")
        loop = asyncio.get_running_loop()
        started = loop.time()
        store, claim = await self._begin(work)
        last = claim.delivery >= policy.attempts
        until = started + (policy.deadline if last else policy.hold)
        pause = POLL_FIRST
        while True:
            if claim.status == "done":
                return claim.answer
            if claim.status == "late":
                return b""
            if claim.status == "replayed":
                raise SignatureError("this request was seen before")
            if claim.status == "new" and self._stopping.is_set():
                await self._forget(store, work, claim.fence)
                raise OverloadedError("the webhook is closing")
            job = self._start(work, store, claim) if claim.status == "new" else self._jobs.get(work.key)
            left = until - loop.time()
            if job is not None and job.fence == claim.fence and not job.fenced:
                answer = await self._wait(job, left, last=last)
                if answer is not None:
                    return answer
            elif left > 0:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * POLL_GROWTH, POLL_MOST)
            if loop.time() >= until:
                if last:
                    logger.info("%s: answered without waiting any longer", work.label)
                    return b""
                raise OverloadedError(f"{work.label}: left to the next delivery")
            try:
                claim = await store.begin(work.key, lease=policy.lease, keep=policy.keep)
            except WebhookStoreError as error:
                self._store_failed(error)  # and this connection waits on

    # ---- the store, and what happens without it

    async def _begin(self, work: Work) -> tuple[DedupeStore, Claim]:
        """Announce a delivery to the shared store; to the one of this process while the shared one is down."""
        store, local = self._store, self._local
        if store is local or work.key in local:  # begun or ended while the shared store was down
            return local, await self._announce(local, work)
        down = asyncio.get_running_loop().time() < self._ask_again_at
        if not down:
            try:
                claim = await self._announce(store, work)
            except WebhookStoreError as error:
                self._store_failed(error)
            else:
                job = self._jobs.get(work.key)
                if job is not None:
                    job.deliveries = max(job.deliveries, claim.delivery)
                return store, claim
        job = self._jobs.get(work.key)
        if job is not None:
            job.deliveries += 1
            return store, Claim("running", job.fence, job.deliveries)
        if self._policy.on_store_down == "refuse":
            raise WebhookStoreError("the dedupe store is down", store=type(store).__name__)
        return local, await self._announce(local, work)

    async def _announce(self, store: DedupeStore, work: Work) -> Claim:
        policy = self._policy
        return await store.begin(
            work.key, replay=work.replay, replay_for=work.replay_for, lease=policy.lease, keep=policy.keep
        )

    def _store_failed(self, error: WebhookStoreError) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._ask_again_at:
            logger.warning("the dedupe store failed, for now each process works alone: %s", error)
        self._ask_again_at = now + STORE_PAUSE

    # ---- running a handler

    def _start(self, work: Work, store: DedupeStore, claim: Claim) -> _Job:
        policy, loop = self._policy, asyncio.get_running_loop()
        now = loop.time()
        job = _Job(work, store, claim.fence, now + policy.handler_timeout, deliveries=claim.delivery)
        self._jobs[work.key] = job
        job.task = loop.create_task(self._run(job))
        job.task.add_done_callback(_look_at)
        job.renewal = loop.call_at(min(now + policy.lease / RENEWALS, job.until), self._look_after, job)
        return job

    async def _run(self, job: _Job) -> bytes | None:
        """Run the handler to its end and store the answer; ``None`` if somebody else owns the push now."""
        work = job.work
        try:
            try:
                answer = await work.handle()
            except asyncio.CancelledError:
                if not job.expired:
                    raise
                logger.error("%s: stopped after %g s", work.label, self._policy.handler_timeout)  # noqa: TRY400
                answer = await self._failed(job)
            except Exception:
                logger.exception("%s: the handler failed", work.label)
                answer = await self._failed(job)
            return await self._finish(job, answer)
        except asyncio.CancelledError:
            if not job.fenced:
                await self._forget(job.store, job.work, job.fence)
            raise
        finally:
            job.ended = True
            if job.renewal is not None:
                job.renewal.cancel()
            if self._jobs.get(work.key) is job:
                del self._jobs[work.key]

    async def _failed(self, job: _Job) -> bytes:
        """Return what a handler answers that raised."""
        if self._policy.on_error == "success":
            return b""
        job.ended = True
        await self._forget(job.store, job.work, job.fence)
        raise HandlerFailedError(f"{job.work.label}: the handler failed")

    async def _finish(self, job: _Job, answer: bytes) -> bytes | None:
        work = job.work
        taken = job.waiting > 0 or not answer
        job.ended = True
        try:
            stored = await job.store.finish(
                work.key, fence=job.fence, answer=answer, keep=self._policy.keep, taken=taken
            )
        except WebhookStoreError as error:
            self._store_failed(error)
            stored = True  # nobody can say otherwise, and the user waits
            await self._keep_here(job, answer, taken=taken)
        if not stored:
            logger.warning("%s: lost its lease while it ran, another worker answers", work.label)
            job.fenced = True
            return None
        if not taken:
            self._spawn(self._answer_late(job, answer), self._late)
        return answer

    async def _keep_here(self, job: _Job, answer: bytes, *, taken: bool) -> None:
        """Remember in this process what the shared store could not be told."""
        policy, key = self._policy, job.work.key
        claim = await self._local.begin(key, lease=policy.lease, keep=policy.keep)
        job.store, job.fence = self._local, claim.fence
        await self._local.finish(key, fence=claim.fence, answer=answer, keep=policy.keep, taken=taken)

    def _look_after(self, job: _Job) -> None:
        """Stop a handler that takes too long, and renew the lease of the others."""
        task, loop = job.task, asyncio.get_running_loop()
        if task is None or job.ended:
            return
        now = loop.time()
        if now >= job.until:
            job.expired = True
            task.cancel()
            return
        self._spawn(self._renew(job), self._renewals)
        job.renewal = loop.call_at(min(now + self._policy.lease / RENEWALS, job.until), self._look_after, job)

    async def _renew(self, job: _Job) -> None:
        try:
            owned = await job.store.extend(job.work.key, fence=job.fence, lease=self._policy.lease)
        except WebhookStoreError as error:
            self._store_failed(error)
            return
        if not owned and not job.ended and job.task is not None:
            # Another worker runs the handler already: two of them are worse than one that is cut off.
            logger.warning("%s: its lease went to another worker, the handler is stopped", job.work.label)
            job.fenced = True
            job.task.cancel()

    async def _forget(self, store: DedupeStore, work: Work, fence: int) -> None:
        try:
            await store.forget(work.key, fence=fence)
        except WebhookStoreError as error:
            self._store_failed(error)  # its lease ends by itself

    # ---- a connection that waits

    async def _wait(self, job: _Job, seconds: float, *, last: bool) -> bytes | None:
        """Wait for a handler of this process; ``None`` if it has no answer for this connection."""
        task = job.task
        if task is None:
            return None
        job.waiting += 1
        try:
            await asyncio.wait((task,), timeout=max(seconds, 0.0))
        finally:
            job.waiting -= 1
        if not task.done():
            job.given_up = job.given_up or last
            return None
        if task.cancelled():
            return None  # another worker has it, or the webhook is closing
        error = task.exception()
        if isinstance(error, WxmpError):
            raise error.fresh()  # each connection raises its own
        return task.result()

    # ---- an answer without a connection

    async def _answer_late(self, job: _Job, answer: bytes) -> None:
        work = job.work
        if not job.given_up:
            # The next delivery may be on its way, and carries the answer for nothing.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._policy.grace)
        try:
            if not await job.store.claim_late(work.key, fence=job.fence):
                return
        except WebhookStoreError as error:
            self._store_failed(error)  # nobody took it in this process, and rather twice than never
        try:
            await work.send_late(answer)
        except Exception:
            logger.exception("%s: the late answer was not delivered", work.label)

    # ---- the end

    def _spawn(self, work: Coroutine[Any, Any, None], home: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        home.add(task)
        task.add_done_callback(home.discard)

    async def aclose(self) -> None:
        """Start nothing new, let handlers end, stop those that do not. What was stopped is left to a next delivery."""
        stopping = self._stopping
        stopping.set()
        loop = asyncio.get_running_loop()
        until = loop.time() + self._policy.drain
        stopped = False
        while tasks := {job.task for job in self._jobs.values() if job.task is not None} | self._late:
            left = until - loop.time()
            if left <= 0 and not stopped:
                stopped = True
                until = loop.time() + STOP_SECONDS
                logger.warning("%d handlers were stopped after %g s", len(tasks), self._policy.drain)
                for task in tasks:
                    task.cancel()
            elif left <= 0:
                logger.error("%d handlers do not stop", len(tasks))
                break
            await asyncio.wait(tasks, timeout=max(until - loop.time(), 0.0), return_when=asyncio.FIRST_COMPLETED)
        for task in list(self._renewals):
            task.cancel()
        if self._stopping is stopping:
            self._stopping = asyncio.Event()


def _look_at(task: asyncio.Task[bytes | None]) -> None:
    # The connections may be gone. What went wrong is in the log; asyncio need not report it once more.
    if not task.cancelled():
        task.exception()
