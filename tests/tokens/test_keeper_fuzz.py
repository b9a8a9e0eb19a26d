"""Whole fleets in virtual time, with everything going wrong that can: what must hold, holds.

Each process has an event loop of its own; all share one clock, one store and one platform. A frozen process is a loop
that is not run while time goes on for the others: its timers and answers are all late when it thaws, as after SIGSTOP.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import math
import os
import selectors
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wxmp._caller import Caller, Endpoint
from wxmp._redact import Secret
from wxmp._request import WireReply
from wxmp.config import TokenPolicy
from wxmp.errors import (
    APIError,
    BusyError,
    ConfigError,
    DeadTokenError,
    TokenStoreError,
    TransportError,
    WxmpError,
    api_error,
)
from wxmp.retry import RetryPolicy
from wxmp.tokens._state import TokenState
from wxmp.tokens.keeper import Grant, TokenKeeper
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.store import Lease, LeaseStatus, TokenKey

from .fake_platform import OVERLAP, busy
from .test_keeper import Fleet, Watched, scenario
from .virtual_time import now, run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wxmp.events import Event

APPID = "wxfuzz0000000001"
CALL = Endpoint("GET", "/cgi-bin/fuzz", repeatable=True)

#: Seconds that a business call, a store operation and each way of a token request take.
CALL_TIME, STORE_TIME, TOKEN_TIME = 0.02, 0.002, 0.06
#: How long after a fault a call may still meet its traces: a cool-down of up to 30 s, and the wait for it.
AFTERMATH = 50.0
RECOVERY = 60.0

EXAMPLES = int(os.environ.get("WXMP_FUZZ_EXAMPLES", "120"))


Story: TypeAlias = list[tuple[str, int, float]]


class Time:
    def __init__(self) -> None:
        self.now = 1000.0


class _Selector(selectors.DefaultSelector):
    """Never waits: the world moves the clock."""

    def select(self, timeout: float | None = None) -> Any:
        return super().select(0)


class ProcessLoop(asyncio.SelectorEventLoop):
    """The event loop of one process."""

    def __init__(self, clock: Time) -> None:
        self._shared = clock
        super().__init__(_Selector())

    def time(self) -> float:
        return self._shared.now

    @property
    def has_work(self) -> bool:
        when = self.next_timer
        return bool(self._ready) or (when is not None and when <= self._shared.now)  # type: ignore[attr-defined]

    @property
    def next_timer(self) -> float | None:
        live = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return min(live, default=None)

    def step(self) -> None:
        self.call_soon(self.stop)
        self.run_forever()


class Platform:
    """Issues tokens by the rules of one channel, on the world's clock."""

    def __init__(self, clock: Time, *, stable: bool, life: float) -> None:
        self.clock, self.stable, self.life = clock, stable, life
        self.count = 0
        self.always: WxmpError | None = None
        self.lose_answers = 0
        self.forced: list[float] = []
        self._issued = 0
        self._current = ""
        self._current_ends = 0.0
        #: Until when a token works; what the platform believes of the current one is another matter.
        self._works: dict[str, float] = {}

    def good(self, token: Secret) -> bool:
        return self._works.get(token.reveal(), 0.0) > self.clock.now

    @property
    def has_good_token(self) -> bool:
        return self._works.get(self._current, 0.0) > self.clock.now

    def kill(self, *, sticky: bool = False) -> None:
        """No token works any more. Sticky: the stable endpoint goes on returning the current one all the same."""
        self._works.clear()
        if not (sticky and self.stable):
            self._current = ""

    def issue(self) -> None:
        now = self.clock.now
        if self._current in self._works:
            self._works[self._current] = min(self._works[self._current], now + OVERLAP)
        self._issued += 1
        self._current, self._current_ends = f"TOKEN-{self._issued}", now + self.life
        self._works[self._current] = self._current_ends

    def answer(self, *, force: bool) -> Grant:
        self.count += 1
        if self.always is not None:
            raise self.always
        if force:
            self.forced.append(self.clock.now)
            assert len(self.forced) < 2 or self.forced[-1] - self.forced[-2] >= 29, "forced twice within 30 s"
            self.kill()
        if not self.stable or not self._current or self._current_ends - self.clock.now <= OVERLAP:
            self.issue()
        if self.lose_answers:
            self.lose_answers -= 1
            raise TransportError("the answer was lost", maybe_acted=True)
        return Grant(Secret(self._current), self._current_ends - self.clock.now)


class Store(MemoryTokenStore):
    """The shared store. It takes time, can fail before or after it acted, hang, forget, and go back in time."""

    def __init__(self, world: World) -> None:
        super().__init__(clock=lambda: world.clock.now, wall=lambda: 1_700_020_800.0 + world.clock.now)
        self.world = world
        self.fault = ""
        self.operations = 0
        self._generation = 0

    def reset(self, records: Any) -> None:
        self._records.clear()
        self._records.update(copy.deepcopy(records))
        self._generation = 0
        self.world.platform.forced.clear()  # the store knows of no forced refresh any more

    async def _around(self, verb: str, operation: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self.operations += 1
        await asyncio.sleep(STORE_TIME)
        if self.fault == "down" or (self.fault == "read-only" and verb != "read"):
            raise TokenStoreError("connection refused", store="fuzz")
        if self.fault == "rude":
            raise ZeroDivisionError("a store of the user's")
        if self.fault == "garbage":
            return "OK"
        if self.fault == "slow":
            await asyncio.sleep(0.7)
        answer = await operation()
        record = self._records.get(self.world.key)
        if record is not None:
            assert record.gen >= self._generation, "the generation in the store went back"
            self._generation = record.gen
        if self.fault == "hang":
            await asyncio.sleep(3600)
        if self.fault == "deaf":  # it acted, and the answer is lost
            raise TokenStoreError("connection reset", store="fuzz")
        await asyncio.sleep(STORE_TIME)
        return answer

    async def read(self, key: TokenKey) -> Any:
        return await self._around("read", functools.partial(super().read, key))

    async def lease(self, key: TokenKey, **kw: Any) -> Any:
        return await self._around("lease", functools.partial(super().lease, key, **kw))

    async def commit(self, key: TokenKey, **kw: Any) -> Any:
        return await self._around("commit", functools.partial(super().commit, key, **kw))

    async def fail(self, key: TokenKey, **kw: Any) -> Any:
        return await self._around("fail", functools.partial(super().fail, key, **kw))

    async def seed(self, key: TokenKey, **kw: Any) -> Any:
        return await self._around("seed", functools.partial(super().seed, key, **kw))


class Process:
    """One worker process: an event loop, a keeper, and the calls that it makes."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.loop = ProcessLoop(world.clock)
        if world.eager:
            self.loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        self.loop.set_exception_handler(lambda _, context: world.blame(f"the loop complains: {context}"))
        self.frozen_until = -math.inf
        self.freezes = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.closed: list[TokenKeeper] = []
        self.seen: tuple[TokenKeeper, Any] | None = None
        self.start()

    def start(self) -> None:
        world = self.world
        self.keeper = TokenKeeper(
            world.key,
            store=world.store,
            fetch=self.fetch,
            endpoint="GET /cgi-bin/token",
            policy=world.policy,
            credential=lambda: "c1",
            on_event=self.on_event,
            clock=lambda: world.clock.now,
        )
        self.caller = Caller(
            appid=APPID,
            secret=lambda: Secret("s"),
            transport=self,  # type: ignore[arg-type]
            tokens=self.keeper,
            retry=RetryPolicy(attempts=1),
            mp_origin="https://example.invalid",
        )

    @property
    def frozen(self) -> bool:
        return self.world.clock.now < self.frozen_until

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.loop.create_task(work))

    def on_event(self, event: Event) -> None:
        self.world.events.append(event.name)
        if self.world.rude_hook:
            raise BusyError(errcode=-1)

    # ---- the platform, as this process sees it

    async def send(self, request: Any) -> WireReply:
        token = request.credentials.params["access_token"]
        await asyncio.sleep(CALL_TIME)
        code = 0 if self.world.platform.good(token) else 40001
        return WireReply(200, {}, b'{"errcode":%d,"errmsg":"x"}' % code)

    async def fetch(self, *, force: bool) -> Any:
        world = self.world
        world.check_overlap(self)
        request = (self, self.freezes, world.clock.now)
        world.running.append(request)
        try:
            await asyncio.sleep(TOKEN_TIME)
            if world.platform_fault == "hang":
                world.platform.count += 1
                await asyncio.sleep(3600)
            if world.platform_fault == "rude":
                world.platform.count += 1
                raise ZeroDivisionError("the user's callable that returns the secret")
            grant = world.platform.answer(force=force)
            await asyncio.sleep(TOKEN_TIME)
            return grant
        finally:
            world.running.remove(request)

    # ---- work

    async def call(self) -> None:
        world, keeper = self.world, self.keeper
        started, freezes = world.clock.now, self.freezes
        served = keeper.peek()
        healthy = served is not None and world.platform.good(served)
        try:
            await self.caller(CALL)
        except WxmpError as error:
            world.judge(error, keeper, started, frozen=self.freezes != freezes)
            if healthy and self.freezes == freezes and world.killed_at < started:
                world.blame(f"a call failed although its process held a good token: {error!r}")
        if self.freezes == freezes:
            took = world.clock.now - started
            # Three tokens at most, and each may have to be waited for.
            assert took <= 3 * (world.policy.wait_timeout + 0.5) + 1, f"a call took {took}"
            if healthy and world.killed_at < started:
                assert took <= CALL_TIME + 0.001, f"a call with a good token waited {took}"

    async def wait_for_token(self) -> None:
        world, keeper = self.world, self.keeper
        started, freezes = world.clock.now, self.freezes
        try:
            await keeper.get()
        except WxmpError as error:
            world.judge(error, keeper, started, frozen=self.freezes != freezes)
        if self.freezes == freezes:
            assert world.clock.now - started <= world.policy.wait_timeout + 0.1, "a waiter waited for too long"

    async def refresh(self) -> None:
        world = self.world
        started, freezes = world.clock.now, self.freezes
        try:
            await self.keeper.refresh()
        except WxmpError:
            return
        finally:
            if self.freezes == freezes:
                assert world.clock.now - started <= 2 * world.policy.wait_timeout + 0.5, "refresh() waited for too long"

    async def close(self, keeper: TokenKeeper) -> None:
        started, freezes = self.world.clock.now, self.freezes
        await keeper.aclose()
        await keeper.aclose()
        if self.freezes == freezes:
            assert self.world.clock.now - started <= 1.1, "aclose() took too long"
        assert not keeper._flights, "a flight outlived aclose()"
        timers = [timer for timer in self.loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        assert not any(timer._callback == keeper._flight for timer in timers), "a timer outlived aclose()"

    def flights(self) -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks(self.loop) if task.get_name() == "wxmp-token-flight"]

    def watch(self) -> None:
        """A copy that works is only ever replaced by one that is at least as new."""
        keeper, state = self.keeper, self.keeper._state
        if self.seen is not None and self.seen[0] is keeper:
            before = self.seen[1]
            if before is not None and self.world.clock.now < before.hard and not state.is_dead(before.value):
                assert state.copy is not None, "a usable copy was lost"
                assert state.usable, "a usable copy was replaced by one that is not"
                assert state.copy.generation >= before.generation, "a copy was replaced by an older one"
        self.seen = (keeper, state.copy)


class World:
    """A fleet, its store and its platform."""

    def __init__(self, *, processes: int, stable: bool, life: float, eager: bool) -> None:
        self.clock = Time()
        self.eager = eager and sys.version_info >= (3, 12)
        self.key = TokenKey(APPID, "stable" if stable else "plain")
        self.policy = TokenPolicy()
        self.platform = Platform(self.clock, stable=stable, life=life)
        self.store = Store(self)
        self.stable, self.life = stable, life
        self.platform_fault = ""
        self.platform_fault_ends = self.store_fault_ends = -math.inf
        self.rude_hook = False
        self.events: list[str] = []
        self.running: list[tuple[Process, int, float]] = []
        self.complaints: list[str] = []
        #: Platform requests that are allowed so far.
        self.allowed = 4.0
        self.excused_until = -math.inf
        #: Times at which a holder may have been lost: each can cost its lease.
        self.losses: list[float] = []
        self.store_trouble_until = -math.inf
        self.killed_at = self.doubted_until = -math.inf
        self.deaths: list[float] = []
        self.steps = 0
        self.snapshot: Any = {}
        self.log_lines = 0
        self.processes = [Process(self, number) for number in range(processes)]

    # ---- judgement

    def blame(self, complaint: str) -> None:
        self.complaints.append(f"at {self.clock.now - 1000:.3f}: {complaint}")

    def check_overlap(self, asking: Process) -> None:
        if self.clock.now < self.store_trouble_until or not asking.keeper.status().store_up:
            return
        for other, freezes, started in self.running:
            if not other.keeper.status().store_up:
                continue  # it thawed with a failure of long ago, and asks for itself
            if other.freezes == freezes and not other.frozen and started >= self.store_trouble_until:
                self.blame(f"processes {other.number} and {asking.number} ask the platform at the same time")

    def excuse(self, seconds: float) -> None:
        self.excused_until = max(self.excused_until, self.clock.now + seconds)

    def store_trouble(self, seconds: float) -> None:
        # A lease that was given out without anybody knowing, or that was forgotten, has to end first.
        self.store_trouble_until = max(self.store_trouble_until, self.clock.now + seconds + self.policy.lease + 1)

    def judge(self, error: WxmpError, keeper: TokenKeeper, started: float, *, frozen: bool) -> None:
        now = self.clock.now
        if frozen or started <= self.excused_until:
            return
        if isinstance(error, ConfigError) and keeper._closed:
            return
        if sum(started - 40 < when for when in self.losses) >= 2:
            return  # lease after lease was lost: nobody waits for two
        record = self.store._records.get(self.key)
        if isinstance(error, APIError) and record is not None and record.eu > now * 1000 and record.ef:
            return  # a person has to act, and the cool-down runs
        if record is not None and record.ef >= 4:
            return  # so many failures in a row, the last one just now: the cool-down is longer than a call waits
        if isinstance(error, DeadTokenError) and sum(now - 3600 < when for when in self.deaths) >= 8:
            return
        self.blame(f"a call that began at {started - 1000:.3f} failed without a reason: {error!r}")

    # ---- time

    def settle(self) -> None:
        if self.store.fault and self.clock.now >= self.store_fault_ends:
            self.store.fault = ""
        if self.platform_fault and self.clock.now >= self.platform_fault_ends:
            self.platform_fault, self.platform.always = "", None
        quiet = False
        while not quiet:
            quiet = True
            for process in self.processes:
                if not process.frozen and process.loop.has_work:
                    quiet = False
                    process.loop.step()
                    self.steps += 1
            assert self.steps < 20_000, "something spins without letting time pass"
        for process in self.processes:
            if not process.frozen:
                process.watch()

    def advance(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while True:
            self.settle()
            moments = [process.frozen_until for process in self.processes if process.frozen]
            moments += [end for end in (self.store_fault_ends, self.platform_fault_ends) if end > self.clock.now]
            moments += [
                when
                for process in self.processes
                if not process.frozen and (when := process.loop.next_timer) is not None
            ]
            following = min(moments, default=end)
            if following >= end:
                break
            self.steps = 0
            self.clock.now = following
        self.clock.now = end
        self.settle()
        self.collect()

    def traffic(self, seconds: float, *, calls: int = 16) -> None:
        """Let time pass while every process makes calls."""
        self.allow_time(seconds)
        pause = max(seconds / calls, 0.05)
        spent = 0.0
        while spent < seconds:
            step = min(pause, seconds - spent)
            for process in self.processes:
                process.spawn(process.call())
            self.advance(step)
            spent += step

    def rush(self, seconds: float) -> None:
        """A call every 10 ms in every process: the store must not notice."""
        self.allow_time(seconds)
        before, frozen = self.store.operations, sum(process.freezes for process in self.processes)
        for _ in range(round(seconds * 100)):
            for process in self.processes:
                process.spawn(process.call())
            self.advance(0.01)
        if frozen == sum(process.freezes for process in self.processes):
            made = self.store.operations - before
            allowed = len(self.processes) * (16 + 12 * seconds)
            assert made <= allowed, f"{made} store operations, {allowed:.0f} allowed"

    def allow_time(self, seconds: float) -> None:
        # Renewal at half of the life; the stable channel returns the same token until its last minutes.
        self.allowed += 3 * seconds / min(self.life / 2, 3600) if self.life > 600 or not self.stable else seconds / 2
        if self.platform_fault or self.clock.now < self.excused_until:
            lonely = len(self.processes) if self.store.fault else 1
            self.allowed += lonely * (7 + seconds / 20)

    def collect(self) -> None:
        for process in self.processes:
            done = [task for task in process.tasks if task.done()]
            process.tasks = [task for task in process.tasks if not task.done()]
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        assert not self.complaints, "\n".join(self.complaints)
        assert self.platform.count <= self.allowed, f"{self.platform.count} requests, {self.allowed:.1f} allowed"

    # ---- what happens

    def do(self, what: str, number: int, seconds: float) -> None:
        process = self.processes[number % len(self.processes)]
        self.steps = 0
        getattr(self, "on_" + what)(process, seconds)
        self.collect()

    def on_traffic(self, process: Process, seconds: float) -> None:
        self.traffic(seconds)

    def on_rush(self, process: Process, seconds: float) -> None:
        self.rush(min(seconds, 2.0))

    def on_silence(self, process: Process, seconds: float) -> None:
        self.allow_time(seconds)
        self.advance(seconds)

    def on_burst(self, process: Process, seconds: float) -> None:
        if not process.frozen:
            for _ in range(20):
                process.spawn(process.wait_for_token())
            self.advance(0.01)

    def on_kill(self, process: Process, seconds: float) -> None:
        self.platform.kill()
        self.killed_at = self.clock.now
        self.deaths.append(self.clock.now)
        self.allowed += 2 + 2 * self.stable

    def on_sticky_kill(self, process: Process, seconds: float) -> None:
        """The token is dead, and the stable endpoint goes on returning it until somebody forces a refresh."""
        self.platform.kill(sticky=True)
        self.killed_at = self.clock.now
        self.deaths.append(self.clock.now)
        self.allowed += 8
        if self.stable:
            # A force has to wait until 30 s after the last one, and for a minute a confirmed token is not doubted.
            self.excuse(RECOVERY + 20)
            self.doubted_until = self.clock.now + RECOVERY + 20

    def on_outsider(self, process: Process, seconds: float) -> None:
        self.platform.issue()
        self.allowed += 2
        self.deaths.append(self.clock.now)

    def on_platform(self, process: Process, seconds: float, fault: str = "busy") -> None:
        seconds = min(seconds, 40.0 if fault == "permanent" else 300.0)
        self.platform_fault, self.platform_fault_ends = fault, self.clock.now + seconds
        self.platform.always = {
            "busy": busy(),
            "permanent": api_error(40164, "invalid ip", token_request=True),
        }.get(fault)
        self.excuse(seconds + AFTERMATH)
        self.allowed += 7 * len(self.processes) + 7
        self.rush(min(seconds, 1.0))

    def on_busy(self, process: Process, seconds: float) -> None:
        self.on_platform(process, seconds, "busy")

    def on_hang(self, process: Process, seconds: float) -> None:
        self.on_platform(process, seconds, "hang")

    def on_permanent(self, process: Process, seconds: float) -> None:
        self.on_platform(process, seconds, "permanent")

    def on_rude(self, process: Process, seconds: float) -> None:
        self.on_platform(process, seconds, "rude")

    def on_lost(self, process: Process, seconds: float) -> None:
        self.platform.lose_answers = 1
        self.allowed += 3

    def _store(self, fault: str, seconds: float) -> None:
        seconds = min(seconds, 400.0)
        self.store.fault, self.store_fault_ends = fault, self.clock.now + seconds
        self.excuse(seconds + 20)
        self.store_trouble(seconds)
        self.allowed += 3 * len(self.processes)
        self.rush(min(seconds, 1.0))

    def on_store_down(self, process: Process, seconds: float) -> None:
        self._store("down", seconds)

    def on_store_hangs(self, process: Process, seconds: float) -> None:
        self._store("hang", seconds)

    def on_store_slow(self, process: Process, seconds: float) -> None:
        self._store("slow", seconds)

    def on_store_deaf(self, process: Process, seconds: float) -> None:
        self._store("deaf", seconds)

    def on_store_read_only(self, process: Process, seconds: float) -> None:
        self._store("read-only", seconds)

    def on_store_rude(self, process: Process, seconds: float) -> None:
        self._store("rude", seconds)

    def on_store_garbage(self, process: Process, seconds: float) -> None:
        self._store("garbage", seconds)

    def on_forget(self, process: Process, seconds: float) -> None:
        self.store.reset({})
        self.store_trouble(0)
        self.allowed += 2

    def on_snapshot(self, process: Process, seconds: float) -> None:
        self.snapshot = copy.deepcopy(self.store._records)

    def on_rollback(self, process: Process, seconds: float) -> None:
        self.store.reset(self.snapshot)
        self.store_trouble(0)
        self.losses.append(self.clock.now)  # a lease of long ago can be in it
        self.allowed += 4

    def on_replace(self, process: Process, seconds: float) -> None:
        if not process.frozen:
            process.spawn(process.close(process.keeper))
            process.closed.append(process.keeper)
            process.start()
            self.losses.append(self.clock.now)
            self.allowed += 2

    def on_cancel(self, process: Process, seconds: float) -> None:
        if not process.frozen:
            for flight in process.flights():
                flight.cancel()
                self.losses.append(self.clock.now)
                self.allowed += 2

    def on_freeze(self, process: Process, seconds: float) -> None:
        if not process.frozen:
            process.frozen_until = self.clock.now + seconds
            process.freezes += 1
            self.losses.append(self.clock.now)
            self.losses.append(self.clock.now + seconds)
            self.allowed += 4

    def on_refresh(self, process: Process, seconds: float) -> None:
        if not process.frozen:
            process.spawn(process.refresh())
            self.killed_at = self.clock.now + 20  # on the stable channel it kills the old token, at some time
            self.deaths.append(self.clock.now)
            self.advance(0.3)
            self.allowed += 3

    def on_hook(self, process: Process, seconds: float) -> None:
        self.rude_hook = not self.rude_hook

    # ---- the end

    def heal_and_check(self) -> None:
        """Every fault is over: within a minute every call works at once and all share one token; closing is clean."""
        self.store_fault_ends = self.platform_fault_ends = self.clock.now
        frozen = max((process.frozen_until for process in self.processes), default=0.0)
        if frozen > self.clock.now:
            self.advance(frozen - self.clock.now + 0.001)
        record = self.store._records.get(self.key)
        cooling = (record.eu / 1000 - self.clock.now + 2) if record is not None and record.ef else 0.0
        patience = max(RECOVERY, cooling, self.doubted_until - self.clock.now)
        self.excuse(patience)
        self.traffic(patience + 0.1, calls=30)
        self.excused_until = -math.inf
        self.losses.clear()
        self.deaths.clear()
        self.traffic(10.0)
        shared = self.store._records[self.key].gen
        self.traffic(40.0)
        token = self.store._records[self.key].token(self.store._now())
        assert token is not None, "the store was left empty"
        assert self.platform.good(Secret(token.value)), "the token in the store is dead"
        for process in self.processes:
            generation = process.keeper.status().generation
            assert generation >= shared, f"process {process.number} still has an older token than the store"
            process.spawn(process.close(process.keeper))
        self.advance(1.2)
        self.collect()
        for process in self.processes:
            left = asyncio.all_tasks(process.loop)
            assert not left, f"tasks outlived the keepers: {left}"
            assert process.loop.next_timer is None, "a timer outlived the keepers"

    def close(self) -> None:
        for process in self.processes:
            for task in asyncio.all_tasks(process.loop):
                task.cancel()
            for _ in range(5):
                process.loop.step()
            process.loop.close()


ACTIONS = [
    "traffic",
    "traffic",
    "rush",
    "silence",
    "burst",
    "kill",
    "kill",
    "sticky_kill",
    "outsider",
    "busy",
    "hang",
    "permanent",
    "rude",
    "lost",
    "store_down",
    "store_hangs",
    "store_slow",
    "store_deaf",
    "store_read_only",
    "store_rude",
    "store_garbage",
    "forget",
    "snapshot",
    "rollback",
    "replace",
    "cancel",
    "freeze",
    "refresh",
    "hook",
]
SECONDS = [0.003, 0.08, 0.3, 1.0, 1.6, 4.0, 11.0, 45.0, 200.0, 1700.0, 7300.0]

steps = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3), st.sampled_from(SECONDS)), min_size=1, max_size=14
)


def play(processes: int, stable: bool, life: float, story: Story, *, eager: bool = False) -> World:
    world = World(processes=processes, stable=stable, life=life, eager=eager)
    logger = logging.getLogger("wxmp.token")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        for what, number, seconds in story:
            world.do(what, number, seconds)
        world.heal_and_check()
    finally:
        logger.setLevel(before)
        world.close()
    return world


@pytest.mark.untraced
@pytest.mark.timeout(300)
@settings(
    max_examples=EXAMPLES,
    derandomize="WXMP_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    processes=st.integers(1, 4),
    stable=st.booleans(),
    life=st.sampled_from([7200.0, 7200.0, 1200.0, 90.0]),
    eager=st.booleans(),
    story=steps,
)
@example(  # a process frozen in a store operation thought, when it thawed, that the store was down
    processes=2,
    stable=True,
    life=1200.0,
    eager=False,
    story=[("traffic", 1, 0.003), ("freeze", 1, 1700.0)],
)
@example(  # a refresh that fails while the old token works
    processes=2,
    stable=False,
    life=1200.0,
    eager=False,
    story=[
        ("traffic", 0, 200.0),
        ("silence", 0, 200.0),
        ("traffic", 0, 200.0),
        ("busy", 0, 45.0),
        ("traffic", 0, 45.0),
    ],
)
@example(processes=1, stable=False, life=7200.0, eager=False, story=[("store_garbage", 0, 0.08)])
@example(processes=2, stable=False, life=90.0, eager=False, story=[("store_rude", 0, 0.003)])
@example(processes=3, stable=True, life=1200.0, eager=False, story=[("rude", 1, 1700.0), ("busy", 1, 1700.0)])
@example(  # the budget was spent on tries that the store had recorded and not answered
    processes=4,
    stable=True,
    life=1200.0,
    eager=False,
    story=[("store_read_only", 1, 1700.0), ("store_deaf", 0, 45.0), ("sticky_kill", 0, 4.0), ("store_slow", 2, 0.08)],
)
def test_a_fleet_survives_anything(processes: int, stable: bool, life: float, eager: bool, story: Story) -> None:
    """Whatever goes wrong in whatever order: no call fails without reason, nothing is hammered, all of it heals."""
    play(processes, stable, life, story, eager=eager)


# ---- what this and a review found, one by one


class Broken(Watched):
    """A store of somebody who did not read the contract: verbs raise what they like, or answer nonsense."""

    def __init__(self, how: Callable[[], Any]) -> None:
        super().__init__()
        self.how: Callable[[], Any] | None = how

    async def _before(self, name: str) -> None:
        await super()._before(name)
        if self.how is not None and name == "lease":
            self.how()

    async def read(self, key: TokenKey) -> Any:
        self.operations.append("read")
        return self.how() if self.how is not None else await MemoryTokenStore.read(self, key)


def _raise() -> None:
    raise ZeroDivisionError("redis://:password@host")


@pytest.mark.parametrize("how", [_raise, lambda: None, lambda: {"token": "x"}], ids=["raises", "None", "dict"])
def test_a_store_that_breaks_the_contract_is_a_store_that_is_down(how: Callable[[], Any]) -> None:
    """Whatever a store of the user's raises or answers: the copy is served, the breaker works, errors are typed."""

    async def main() -> None:
        fleet = Fleet()
        store = Broken(how)
        store.how = None
        keeper = fleet.keeper(store=store)
        token = await keeper.get()
        store.how = how
        store.operations.clear()
        for _ in range(600):
            assert keeper.peek() == token
            await asyncio.sleep(0.1)
        assert len(store.operations) <= 30
        assert fleet.names().count("store_down") == 1
        cold = fleet.keeper(store=store)
        with pytest.raises(TokenStoreError) as caught:
            await cold.get()
        assert isinstance(caught.value.__cause__, TokenStoreError)
        store.how = None
        await asyncio.sleep(6)
        assert await cold.get() == token
        await fleet.close()

    run(main())


@scenario()
async def test_a_request_that_raises_anything_is_a_failed_request(fleet: Fleet) -> None:
    """A mistake in the callable that returns the AppSecret: typed errors, one each, a cool-down, the lease is free."""
    fleet.platform.always = KeyError("secret=VERYSECRET")
    keepers = [fleet.keeper() for _ in range(3)]
    results = await asyncio.gather(*(keeper.get() for keeper in keepers for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, TransportError) for result in results)
    assert len({id(result) for result in results}) == len(results)
    assert fleet.platform.count <= 8
    fleet.platform.always = None
    await asyncio.sleep(16)
    await asyncio.gather(*(keeper.get() for keeper in keepers))


def test_the_log_of_a_mistake_does_not_say_what_the_error_says(caplog: pytest.LogCaptureFixture) -> None:
    """An HTTP client's error can hold the AppSecret: the log names its class and its place, not its text."""

    async def main() -> None:
        fleet = Fleet()
        fleet.platform.script.append(KeyError("secret=VERYSECRET"))
        await fleet.keeper().get()
        await fleet.close()

    with caplog.at_level(logging.DEBUG, logger="wxmp"):
        run(main())
    assert "KeyError" in caplog.text
    assert "fake_platform.py" in caplog.text
    assert "VERYSECRET" not in caplog.text


@scenario()
async def test_a_secret_that_cannot_be_had_does_not_cost_a_flight_per_call(fleet: Fleet) -> None:
    """A callable for the AppSecret that fails while the token works: a look now and then, said in the log, no error."""
    secrets: list[str] = ["c1"]
    keeper = TokenKeeper(
        TokenKey(APPID, "plain"),
        store=fleet.store,
        fetch=fleet.platform.fetch,
        endpoint="GET /cgi-bin/token",
        credential=lambda: secrets[0],
        on_event=fleet.events.append,
        clock=now,
    )
    fleet.keepers.append(keeper)
    token = await keeper.get()
    secrets.clear()
    await asyncio.sleep(3900)
    fleet.store.operations.clear()
    for _ in range(600):
        assert keeper.peek() == token
        await asyncio.sleep(0.1)
    assert len(fleet.store.operations) <= 5
    assert 1 <= fleet.names().count("refresh_failed") <= 3
    await asyncio.sleep(3600)
    results = await asyncio.gather(*(keeper.get() for _ in range(3)), return_exceptions=True)
    assert {type(result) for result in results} == {WxmpError}
    assert len({id(result) for result in results}) == 3


@scenario()
async def test_operator_refresh_is_not_lost_among_other_flights(fleet: Fleet) -> None:
    """refresh() waits for the flight that runs; if another caller starts the next one first, it waits for that too."""
    keeper = fleet.keeper()
    fleet.platform.script.append(1.0)

    async def unlucky_call() -> Secret:
        token = await keeper.get()
        fleet.platform.kill()
        keeper.report_dead(token, 40001)
        return await keeper.get()

    caller = asyncio.create_task(unlucky_call())
    await asyncio.sleep(0.1)
    await keeper.refresh()
    await caller
    assert [event.reason for event in fleet.events if event.name == "refreshed"] == ["due", "dead", "operator"]


@scenario(stable=True)
async def test_forced_refresh_needs_the_store(fleet: Fleet) -> None:
    """refresh() on the stable channel without the store says so, and does not hand out the old token as a new one."""
    keeper = fleet.keeper()
    token = await keeper.get()
    fleet.store.down.add("all")
    with pytest.raises(TokenStoreError, match="has to wait"):
        await keeper.refresh()
    assert fleet.platform.count == 1
    assert keeper.peek() == token


@scenario(stable=True)
async def test_one_path_that_refuses_every_token_does_not_stop_all_others(fleet: Fleet) -> None:
    """Refused, forced, refused again: the platform calls the token current, so it is served; nobody asks in vain."""
    keeper, other = fleet.keeper(), fleet.keeper()
    first = await keeper.get()
    assert await other.get() == first
    keeper.report_dead(first, 40001)
    second = await keeper.get()
    other.report_dead(first, 40001)
    assert await other.get() == second
    assert [force for _, force in fleet.platform.requests] == [False, False, False, True]
    keeper.report_dead(second, 40001)
    other.report_dead(second, 40001)
    started = now()
    assert [await keeper.get(), await other.get()] == [second, second]
    assert now() - started <= 5
    asked = fleet.platform.count
    assert asked <= 6
    for process in (keeper, other):
        assert process.report_dead(second, 40001) is False
        assert process.peek() == second
    await asyncio.sleep(61)
    keeper.report_dead(second, 40001)
    third = await keeper.get()
    assert third != second
    assert fleet.platform.good(third)


@scenario()
async def test_a_token_that_is_not_stored_yet_is_stored_without_a_caller(fleet: Fleet) -> None:
    """The store is lost between request and commit, for longer than one pause of the breaker, and nobody calls."""
    keeper = fleet.keeper()
    fleet.store.down.add("commit")
    await keeper.get()
    fleet.store.down.add("all")
    await asyncio.sleep(20)
    fleet.store.down.clear()
    await asyncio.sleep(6)
    record = await fleet.store.read(keeper.key)
    assert record.token is not None
    assert record.token.value == "TOKEN-1"
    assert fleet.platform.count == 1


@scenario()
async def test_a_read_only_store_is_one_line_in_the_log(fleet: Fleet) -> None:
    """Reads work and writes fail while a refresh is due: down once, up once, and the breaker's pauses grow."""
    keeper = fleet.keeper()
    token = await keeper.get()
    await asyncio.sleep(3900)
    fleet.store.down.update(["lease", "commit", "fail", "seed"])
    fleet.store.operations.clear()
    for _ in range(600):
        assert keeper.peek() == token
        await asyncio.sleep(0.1)
    assert len(fleet.store.operations) <= 40
    assert fleet.names().count("store_down") == 1
    assert "store_up" not in fleet.names()
    fleet.store.down.clear()
    await asyncio.sleep(6)
    keeper.peek()
    await asyncio.sleep(1)
    assert fleet.names().count("store_up") == 1
    assert fleet.platform.count == 2


@scenario(stable=True)
async def test_a_death_during_a_flight_does_not_wait_for_the_hold_off(fleet: Fleet) -> None:
    """A token reported dead while a flight for a due one is on its way is replaced as a dead one: nobody waits 15 s."""
    keeper = fleet.keeper()
    token = await keeper.get()
    await asyncio.sleep(6965)
    record = fleet.store._records[keeper.key]
    record.eu = int((now() + 30) * 1000)  # as after "the same token again"
    fleet.store.delay["lease"] = 0.5
    assert keeper.peek() == token
    await asyncio.sleep(0.2)
    keeper.report_dead(token, 40001)
    fleet.platform.kill()
    started = now()
    assert (await keeper.get()).reveal() == "TOKEN-2"
    assert now() - started < 5


@scenario(stable=True)
async def test_a_store_whose_clock_steps_back_does_not_prolong_a_token(fleet: Fleet) -> None:
    """The store suddenly says that more is left than there can be: the copy's own end stays."""
    keeper = fleet.keeper()
    await keeper.get()
    await asyncio.sleep(5000)
    before = keeper.status().seconds_left
    fleet.store._records[keeper.key].exp += 3 * 3600 * 1000
    keeper.peek()
    await asyncio.sleep(0.1)
    assert keeper.status().seconds_left <= before


@scenario()
async def test_a_long_cool_down_does_not_make_blind(fleet: Fleet) -> None:
    """A process in an hour's cool-down still looks into the store: it takes over what an operator has fetched."""
    keeper, console = fleet.keeper(), fleet.keeper()
    await keeper.get()
    await asyncio.sleep(3900)
    fleet.platform.script.append(api_error(89507, "wait an hour", token_request=True))
    keeper.peek()
    await asyncio.sleep(1)
    assert fleet.names().count("refresh_failed") == 1
    fresh = await console.refresh()
    await asyncio.sleep(40)
    keeper.peek()
    await asyncio.sleep(0.1)
    assert keeper.peek() == fresh
    assert keeper.status().last_error == ""


@scenario()
async def test_an_outage_does_not_use_up_the_replacement_budget(fleet: Fleet) -> None:
    """A dead token during a long outage: tries are no replacements, and nobody is told of "another system"."""
    keeper = fleet.keeper()
    token = await keeper.get()
    fleet.platform.kill()
    keeper.report_dead(token, 40001)
    fleet.platform.always = busy()
    end = now() + 1200
    while now() < end:
        with pytest.raises(WxmpError) as caught:
            await keeper.get()
        assert not isinstance(caught.value, DeadTokenError)
    fleet.platform.always = None
    await asyncio.sleep(31)
    assert fleet.platform.good(await keeper.get())
    assert "budget_exhausted" not in fleet.names()


@scenario()
async def test_a_token_survives_the_cancellation_of_its_commit(fleet: Fleet) -> None:
    """The flight is cancelled while the new token is on its way to the store: it is kept, and stored by the next."""
    keeper = fleet.keeper()
    fleet.store.delay["commit"] = 0.5
    caller = asyncio.create_task(keeper.get())
    await asyncio.sleep(0.2)
    for task in asyncio.all_tasks():
        if task.get_name() == "wxmp-token-flight":
            task.cancel()
    assert (await caller).reveal() == "TOKEN-1"
    fleet.store.delay.clear()
    keeper.peek()
    await asyncio.sleep(0.1)
    record = await fleet.store.read(keeper.key)
    assert record.token is not None
    assert record.token.value == "TOKEN-1"
    assert fleet.platform.count == 1


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("life", [1.0, 2.0, 3.0])
def test_tokens_that_end_on_their_way_are_no_reason_to_hurry(life: float, stable: bool) -> None:
    """Lives shorter than the way to the platform: a failed refresh and its cool-down, not request after request."""

    async def main() -> None:
        fleet = Fleet(stable=stable, life=life)
        keeper = fleet.keeper()

        async def slowly(*, force: bool) -> Grant:
            grant = await fleet.platform.fetch(force=force)
            await asyncio.sleep(life * 0.9)
            return grant

        object.__setattr__(keeper._plan, "fetch", slowly)
        with pytest.raises(TransportError):
            await keeper.get()
        assert fleet.platform.count <= 8
        await fleet.close()

    run(main())


@scenario(stable=True)
async def test_life_without_the_store_backs_off_and_ends_with_the_outage(fleet: Fleet) -> None:
    """Neither store nor platform: the pauses double; and the store is looked for meanwhile, for it may hold a token."""
    lonely, other = fleet.keeper(), fleet.keeper()
    fleet.store.down.add("all")
    fleet.platform.always = busy()
    end = now() + 300
    while now() < end:
        with pytest.raises(WxmpError):
            await lonely.get()
        await asyncio.sleep(0.2)
    assert 6 <= fleet.platform.count <= 20
    fleet.platform.always = None
    fleet.store.down.clear()
    await asyncio.sleep(0.1)
    token = await other.get()
    started = now()
    assert await lonely.get() == token
    assert now() - started <= 7


@scenario()
async def test_a_store_that_always_says_changed_is_asked_with_pauses(fleet: Fleet) -> None:
    """A store that answers "changed" for ever (an odd generation) costs a caller its patience, not the processor."""
    keeper = fleet.keeper()
    seen = 0

    async def lease(*_: object, **__: object) -> Lease:
        nonlocal seen
        seen += 1
        return Lease(LeaseStatus.CHANGED)

    fleet.store.lease = lease  # type: ignore[method-assign]
    with pytest.raises(WxmpError):
        await keeper.get()
    assert seen <= 400


@scenario()
async def test_a_caller_is_not_kept_longer_by_a_long_flight(fleet: Fleet) -> None:
    """A holder dies with a long lease, and the platform is slow: an error after 15 s; the flight still lands."""
    keeper = fleet.keeper()
    await fleet.store.lease(keeper.key, owner="dead", ttl=14.8, expect=0)
    fleet.platform.script.append(4.9)
    started = now()
    with pytest.raises(TransportError):
        await keeper.get()
    assert 14.9 <= now() - started <= 15.05
    await asyncio.sleep(5)
    assert keeper.peek() is not None


@scenario()
async def test_closing_while_the_store_hangs_leaves_no_task(fleet: Fleet) -> None:
    """The lease cannot be given back because the store hangs: closing takes a second and leaves nothing running."""
    keeper = fleet.keeper()
    fleet.platform.script.append(4.0)
    caller = asyncio.create_task(keeper.get())
    await asyncio.sleep(0.5)
    fleet.store.delay["fail"] = 3600
    await keeper.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "wxmp-token-flight"]
    with pytest.raises(ConfigError):
        await caller


@scenario()
async def test_closing_leaves_no_timer(fleet: Fleet) -> None:
    """A token that waits for the store to come back does not keep a closed client's timer alive."""
    keeper = fleet.keeper()
    fleet.store.down.add("commit")
    await keeper.get()
    await keeper.aclose()
    timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    assert not [timer for timer in timers if timer._callback == keeper._flight and not timer.cancelled()]


@scenario()
async def test_closing_does_not_pass_for_a_refresh(fleet: Fleet) -> None:
    """The client is closed during refresh(): that is an error, not the old token."""
    keeper = fleet.keeper()
    await keeper.get()
    fleet.platform.script.append(4.0)
    operator = asyncio.create_task(keeper.refresh())
    await asyncio.sleep(0.5)
    await keeper.aclose()
    with pytest.raises(TransportError):
        await operator


def test_a_death_in_one_thread_is_not_overlooked_in_another() -> None:
    """A value is reported dead in the moment in which a flight of another thread decides to serve it for a while."""
    moment: list[Callable[[], None]] = []

    def clock() -> float:
        if moment:
            moment.pop()()
        return 1000.0

    state = TokenState("plain", TokenPolicy(), clock)
    value = Secret("TOKEN-1")
    state.take(value, 1, 7200.0, asked_at=1000.0, stored=True)
    reporter = threading.Thread(target=state.bury, args=(value, 40001))

    def report() -> None:
        reporter.start()
        reporter.join(0.2)

    moment.append(report)
    state.rest()
    reporter.join(5)
    assert not state.usable
    assert state.next_look < 1000.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_another_thread_holds_the_lock() -> None:
    """The child of a fork has a lock of its own, another owner id and no flight; the token stays."""
    code = """
import asyncio, os, threading
from wxmp._redact import Secret
from wxmp.tokens.keeper import Grant, TokenKeeper
from wxmp.tokens._state import TokenState
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.store import Lease, LeaseStatus, TokenKey

async def fetch(*, force):
    return Grant(Secret("TOKEN-1"), 7200.0)

keeper = TokenKeeper(TokenKey("wx1", "plain"), store=MemoryTokenStore(), fetch=fetch, endpoint="x")
value = asyncio.run(keeper.get())
owner, ready, done = keeper._owner, threading.Event(), threading.Event()

def hold():
    with keeper._state._lock:
        ready.set()
        done.wait(20)

threading.Thread(target=hold).start()
ready.wait(20)
child = os.fork()
if child == 0:
    assert keeper._owner != owner and not keeper._flights and keeper._state.copy.value == value
    assert keeper.report_dead(Secret("OLD"), 40001)
    assert asyncio.run(keeper.get()) == value
    os._exit(0)
done.set()
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=False, timeout=30, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
