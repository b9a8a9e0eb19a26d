"""Fleets of webhooks in virtual time, with everything going wrong that can: what must hold, holds.

Each worker has an event loop of its own; all share one clock, one dedupe store and one platform, which has a loop too.
A dead worker is a loop that is never run again, a frozen one is not run while time goes on for the others.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tokens.test_keeper_fuzz import ProcessLoop, Time
from wxmp.errors import WebhookError, WebhookStoreError
from wxmp.webhook.dedupe import MemoryDedupe
from wxmp.webhook.delivery import PATIENCE, Deliveries, DeliveryPolicy, Work

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

EXAMPLES = int(os.environ.get("WXMP_FUZZ_EXAMPLES", "60"))

#: Seconds that a store operation takes each way, and after which one that hangs is given up.
STORE_TIME, STORE_TIMEOUT = 0.002, 0.5
#: A worker frozen for this long may lose its lease: what is left of it just before a renewal.
LONG_FREEZE = 1.7
#: Longest look at the clock after the last thing that happens: handlers that never end, grace, late messages.
SETTLE = 400.0


@attrs.frozen
class Delivery:
    """One delivery of the platform, and what the network does to it."""

    worker: int = 0
    #: ok | never (it does not arrive) | lost (its answer does not) | cut (the connection breaks, at ``at``)
    fate: str = "ok"
    at: float = 0.0
    #: The server cancels what works for a connection that is gone.
    noticed: bool = False


@attrs.frozen
class Script:
    """One push."""

    starts: float
    seconds: float
    #: answer | nothing | raises | cancelled (raises CancelledError itself) | never | stubborn (not to be stopped)
    ends: str = "answer"
    deliveries: tuple[Delivery, Delivery, Delivery] = (Delivery(), Delivery(), Delivery())


@attrs.frozen
class Fault:
    """Something that happens to a worker or to the store."""

    starts: float
    what: str
    worker: int = 0
    seconds: float = 1.0


@attrs.define(eq=False)
class Push:
    """One push, and what became of it."""

    number: int
    script: Script
    requests: int = 0
    runs: int = 0
    completed: int = 0
    passive: int = 0
    late: int = 0
    #: An answer of ours did not reach the platform, or its connection broke and we could not know.
    lost: bool = False
    over: bool = False

    @property
    def answer(self) -> bytes:
        return b"answer %d" % self.number


class Store(MemoryDedupe):
    """The shared store. It takes time, can fail before or after it acted, hang, and forget."""

    def __init__(self, world: World) -> None:
        super().__init__(clock=lambda: world.clock.now)
        self.world = world
        self.fault = ""

    def lose_everything(self) -> None:
        self._pushes.clear()
        self._requests.clear()

    async def _around(self, operation: Any) -> Any:
        await asyncio.sleep(STORE_TIME)
        fault = self.fault
        if fault == "hang":
            await asyncio.sleep(STORE_TIMEOUT)
        if fault in ("down", "hang"):
            raise WebhookStoreError("no connection", store="fuzz")
        answer = await operation()
        if fault == "deaf":
            raise WebhookStoreError("the answer was lost", store="fuzz")
        if fault == "mute":  # it acted, and says so too late
            await asyncio.sleep(STORE_TIMEOUT)
            raise WebhookStoreError("timed out", store="fuzz")
        if fault == "slow":
            await asyncio.sleep(STORE_TIMEOUT * 0.8)
        await asyncio.sleep(STORE_TIME)
        return answer

    async def begin(self, *args: Any, **kw: Any) -> Any:
        return await self._around(functools.partial(super().begin, *args, **kw))

    async def extend(self, *args: Any, **kw: Any) -> Any:
        return await self._around(functools.partial(super().extend, *args, **kw))

    async def finish(self, *args: Any, **kw: Any) -> Any:
        return await self._around(functools.partial(super().finish, *args, **kw))

    async def claim_late(self, *args: Any, **kw: Any) -> Any:
        return await self._around(functools.partial(super().claim_late, *args, **kw))

    async def forget(self, *args: Any, **kw: Any) -> Any:
        return await self._around(functools.partial(super().forget, *args, **kw))


class Worker:
    """One worker process."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.frozen_until = -math.inf
        self.freezes = 0
        self.running = 0
        self.loops: list[ProcessLoop] = []
        self.start()

    def start(self) -> None:
        world = self.world
        self.dead = False
        self.running = 0
        self.connections: set[asyncio.Future[Any]] = set()
        self.loop = world.new_loop()
        self.loops.append(self.loop)
        store = world.store if world.shared else MemoryDedupe(clock=lambda: world.clock.now)
        local = MemoryDedupe(clock=lambda: world.clock.now)
        # What tells a memory store from a shared one is its type.
        self.deliveries = Deliveries(store, world.policy, local=local)
        if world.shared:
            self.deliveries._local = local

    @property
    def active(self) -> bool:
        return not self.dead and self.world.clock.now >= self.frozen_until

    def die(self) -> None:
        self.dead = True
        for connection in list(self.connections):
            if not connection.done():
                connection.set_result(ConnectionResetError())

    def work(self, push: Push) -> Work:
        world, script = self.world, push.script

        async def handle() -> bytes:
            push.runs += 1
            self.running += 1
            if self.running > world.policy.max_running:
                world.blame(f"{self.running} handlers at a time in worker {self.number}")
            try:
                if script.ends == "stubborn":
                    end = world.clock.now + script.seconds
                    while (left := end - world.clock.now) > 0:
                        try:
                            await asyncio.sleep(left)
                        except asyncio.CancelledError:
                            continue
                else:
                    await asyncio.sleep(1e6 if script.ends == "never" else script.seconds)
                if script.ends == "raises":
                    raise ValueError("broken")
                if script.ends == "cancelled":
                    raise asyncio.CancelledError
                push.completed += 1
                return b"" if script.ends == "nothing" else push.answer
            finally:
                self.running -= 1

        async def send_late(answer: bytes) -> None:
            if answer != push.answer:
                world.blame(f"push {push.number} was answered {answer!r}")
            await asyncio.sleep(0.1)
            push.late += 1

        push.requests += 1
        return Work(
            f"wx:{push.number}", f"wx:{push.number}.{push.requests}", 300.0, handle, send_late, f"push {push.number}"
        )

    async def serve(self, push: Push) -> bytes:
        """What an adapter does with a connection."""
        world, started, freezes, faults = self.world, self.world.clock.now, self.freezes, self.world.store_faults
        try:
            return await self.deliveries.deliver(self.work(push))
        except asyncio.CancelledError:
            raise
        except WebhookError:
            raise
        except BaseException as error:
            world.blame(f"deliver() raised {error!r}")
            raise
        finally:
            took = world.clock.now - started
            hangs = 2 * STORE_TIMEOUT + 0.1 if faults or world.store_faults else 0.05
            if freezes == self.freezes and took > world.policy.hold + hangs:
                world.blame(f"deliver() took {took:g} s")

    async def close(self) -> None:
        started, freezes = self.world.clock.now, self.freezes
        await self.deliveries.aclose()
        took = self.world.clock.now - started
        if freezes == self.freezes and took > self.world.policy.drain + 4.5:
            self.world.blame(f"aclose() took {took:g} s")


class World:
    """A fleet, its store and its platform."""

    def __init__(self, *, workers: int, shared: bool = True, eager: bool = False, **policy: Any) -> None:
        self.clock = Time()
        self.shared = shared
        self.eager = eager and sys.version_info >= (3, 12)
        self.policy = DeliveryPolicy(**policy)
        self.store = Store(self)
        self.complaints: list[str] = []
        self.pushes: list[Push] = []
        self.excused = False  # a death, a long freeze
        self.closed = False
        self.store_faults = 0
        self.platform = self.new_loop()
        self.workers = [Worker(self, number) for number in range(workers)]

    def new_loop(self) -> ProcessLoop:
        loop = ProcessLoop(self.clock)
        if self.eager:
            loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        loop.set_exception_handler(lambda _, context: self.blame(f"the loop complains: {context}"))
        return loop

    def blame(self, complaint: str) -> None:
        self.complaints.append(f"at {self.clock.now - 1000:.3f}: {complaint}")

    # ---- the platform

    async def deliver(self, push: Push) -> None:
        """Deliver three times at most, until an answer comes in time."""
        await asyncio.sleep(push.script.starts)
        for delivery in push.script.deliveries:
            if await self.attempt(push, delivery):
                break
        push.over = True

    async def attempt(self, push: Push, delivery: Delivery) -> bool:
        worker = self.workers[delivery.worker % len(self.workers)]
        if delivery.fate == "never" or worker.dead:
            return False
        heard: asyncio.Future[Any] = self.platform.create_future()
        worker.connections.add(heard)
        task = worker.loop.create_task(worker.serve(push))

        def told(task: asyncio.Task[bytes]) -> None:
            result: Any = ConnectionResetError() if task.cancelled() else task.exception() or task.result()
            if not heard.done():
                heard.set_result(result)

        task.add_done_callback(told)
        patience = min(delivery.at, PATIENCE) if delivery.fate == "cut" else PATIENCE
        await asyncio.wait({heard}, timeout=patience)
        worker.connections.discard(heard)
        if not heard.done():
            heard.cancel()
            if delivery.noticed:
                worker.loop.call_soon(task.cancel)
            # Or it was cut in the moment in which it was to carry the answer.
            if push.completed or (delivery.fate == "cut" and not delivery.noticed):
                push.lost = True
            return False
        answer = heard.result()
        if delivery.fate == "lost":
            push.lost = True
            return False
        if isinstance(answer, BaseException):
            return False
        if answer and answer != push.answer:
            self.blame(f"push {push.number} was answered {answer!r}")
        push.passive += bool(answer)
        return True

    # ---- faults

    async def strike(self, fault: Fault) -> None:
        await asyncio.sleep(fault.starts)
        worker = self.workers[fault.worker % len(self.workers)]
        if fault.what == "die":
            self.excused = True
            worker.die()
            await asyncio.sleep(fault.seconds)
            worker.start()
        elif fault.what == "freeze":
            worker.freezes += 1
            worker.frozen_until = self.clock.now + fault.seconds
            self.excused = self.excused or fault.seconds >= LONG_FREEZE
        elif fault.what == "close":
            self.closed = True
            if not worker.dead:
                worker.loop.create_task(worker.close())
        elif fault.what == "forget":
            self.store_faults += 1
            self.store.lose_everything()
        else:
            self.store_faults += fault.what != "slow"
            self.store.fault = fault.what
            await asyncio.sleep(fault.seconds)
            self.store.fault = ""

    # ---- time

    def loops(self) -> Iterator[ProcessLoop]:
        yield self.platform
        for worker in self.workers:
            if worker.active:
                yield worker.loop

    def settle(self) -> None:
        steps = 0
        quiet = False
        while not quiet:
            quiet = True
            for worker in [None, *self.workers]:
                loop = self.platform if worker is None else worker.loop
                if loop.has_work and (worker is None or worker.active):
                    quiet = False
                    loop.step()
                    steps += 1
            assert steps < 5_000, "something spins without letting time pass"

    def play(self, scripts: list[Script], faults: list[Fault]) -> None:
        self.pushes = [Push(number, script) for number, script in enumerate(scripts)]
        stories: list[Coroutine[Any, Any, None]] = [*map(self.deliver, self.pushes), *map(self.strike, faults)]
        tasks = [self.platform.create_task(story) for story in stories]
        end = self.clock.now + SETTLE
        try:
            while self.clock.now < end:
                self.settle()
                moments = [worker.frozen_until for worker in self.workers if worker.frozen_until > self.clock.now]
                moments += [when for loop in self.loops() if (when := loop.next_timer) is not None]
                following = min(moments, default=end)
                if following >= self.clock.now + 2_000:
                    break
                self.clock.now = max(following, self.clock.now)
            for task in tasks:
                task.result()
            self.judge()
        finally:
            self.close()

    def judge(self) -> None:
        trouble = self.excused or self.store_faults > 0
        for push in self.pushes:
            said = f"{push}"
            assert push.over
            if push.completed > 1 and not trouble:
                self.blame(f"handled twice: {said}")
            if push.passive + push.late > 1 and not trouble:
                self.blame(f"answered twice: {said}")
            if push.late > 1 and not trouble:
                self.blame(f"two late messages: {said}")
            owed = push.completed and push.script.ends in ("answer", "stubborn")
            frozen = any(worker.freezes for worker in self.workers)
            if owed and not push.passive + push.late and not (trouble or push.lost or self.closed or frozen):
                self.blame(f"never answered: {said}")
        for worker in self.workers:
            if worker.dead:
                continue
            assert len(worker.deliveries) == 0, "something is still under way"
            assert not asyncio.all_tasks(worker.loop), "a task is left"
            assert worker.loop.next_timer is None, "a timer is left"
        assert not self.complaints, "\n".join(self.complaints)

    def close(self) -> None:
        """Leave nothing for the garbage collector to complain about."""
        for loop in [self.platform, *(loop for worker in self.workers for loop in worker.loops)]:
            loop.set_exception_handler(lambda *_: None)
            for _ in range(5):
                for task in asyncio.all_tasks(loop):
                    task.cancel()
                self.clock.now += 1e7  # a stubborn handler has had its time
                loop.step()
                loop.step()
            loop.close()


# ---- stories

#: Around every limit there is.
EARLY = [0.0, 0.1, 0.3, 1.0, 2.9, 3.1, 4.4, 4.497, 4.499, 4.5, 4.6, 4.9, 4.998, 5.0, 5.1, 5.4, 5.6, 6.0, 8.0]
LATE = [9.4, 9.6, 9.95, 10.1, 12.0, 14.4, 14.497, 14.5, 14.6, 15.5, 20.0, 31.0]
MOMENTS = st.sampled_from([*EARLY, *LATE]) | st.floats(0, 16)
SHORT = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 3.5, 4.4, 4.5, 4.9, 5.0]) | st.floats(0, 5)
DELIVERIES = st.builds(
    Delivery,
    worker=st.integers(0, 2),
    fate=st.sampled_from(["ok", "ok", "ok", "ok", "never", "lost", "cut"]),
    at=SHORT,
    noticed=st.booleans(),
)
CALM = st.builds(Delivery, worker=st.integers(0, 2), noticed=st.booleans())
ENDS = st.sampled_from(["answer", "answer", "answer", "nothing", "raises", "cancelled", "never", "stubborn"])


def scripts(deliveries: st.SearchStrategy[Delivery], most: int = 3) -> st.SearchStrategy[list[Script]]:
    one = st.builds(
        Script,
        starts=st.sampled_from([0.0, 0.0, 0.5, 3.0]),
        seconds=MOMENTS,
        ends=ENDS,
        deliveries=st.tuples(deliveries, deliveries, deliveries),
    )
    return st.lists(one, min_size=1, max_size=most)


def faults(*kinds: str) -> st.SearchStrategy[list[Fault]]:
    one = st.builds(
        Fault,
        starts=MOMENTS,
        what=st.sampled_from(kinds),
        worker=st.integers(0, 2),
        seconds=st.sampled_from([0.2, 0.7, 1.5, 3.5, 6.0, 15.0]),
    )
    return st.lists(one, max_size=3)


WORLDS = st.fixed_dictionaries(
    {
        "workers": st.integers(1, 3),
        "eager": st.booleans(),
        "on_error": st.sampled_from(["success", "retry"]),
        "handler_timeout": st.sampled_from([2.0, 30.0, 120.0]),
        "max_running": st.sampled_from([1, 2, 100]),
        "drain": st.sampled_from([0.5, 3.0, 10.0]),
    }
)

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("wxmp.webhook")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


@fuzz
@given(WORLDS, scripts(DELIVERIES))
def test_whatever_the_network_does(world: dict[str, Any], pushes: list[Script]) -> None:
    """Requests and answers are lost, connections cut: each push is handled once, and its user answered once."""
    World(**world).play(pushes, [])


@fuzz
@given(WORLDS, scripts(DELIVERIES), faults("slow", "close", "freeze"))
def test_workers_that_close_or_stumble(world: dict[str, Any], pushes: list[Script], story: list[Fault]) -> None:
    """Shutdowns in the middle, short freezes, a slow store: nothing is handled or answered twice."""
    short = [attrs.evolve(fault, seconds=1.5) if fault.what == "freeze" else fault for fault in story]
    World(**world).play(pushes, short)


@fuzz
@given(WORLDS, scripts(CALM), faults("die", "freeze", "down", "deaf", "hang", "mute", "slow", "forget", "close"))
def test_whatever_happens(world: dict[str, Any], pushes: list[Script], story: list[Fault]) -> None:
    """Deaths, freezes, and a store that fails in every way: every delivery ends in time, and nothing is left over."""
    World(**world).play(pushes, story)


@fuzz
@given(WORLDS, scripts(DELIVERIES), faults("freeze", "close"))
def test_one_process_alone(world: dict[str, Any], pushes: list[Script], story: list[Fault]) -> None:
    """A single process with its memory store handles a push once, however long it was frozen."""
    lonely = World(**{**world, "workers": 1}, shared=False)
    lonely.play(pushes, [])
    lonely = World(**{**world, "workers": 1}, shared=False)
    lonely.play(pushes, story)
