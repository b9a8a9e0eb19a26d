"""Any order of lease, commit, fail, seed, time and loss, on all three stores.

Each machine runs a store beside a memory store with a virtual clock and beside a model that knows only the promises.
The two stores have to say the same; the model has to be right about both. Times are in steps of 20 s, so that the few
real milliseconds which pass on Redis change no answer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from tests.redis_server import GivenServer, RedisServer, find_server
from tests.tokens.conftest import VirtualClock, let_redis_age
from wxmp.tokens.file import FileTokenStore
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.redis import RedisTokenStore
from wxmp.tokens.store import LeaseReason, LeaseStatus, ReplacementBudget, TokenKey

KEY = TokenKey("wx1", "plain")
STEP = 20.0
BUDGET = ReplacementBudget(burst=2, refill=2 * STEP)
NONE = (0, 0)

steps = st.integers(1, 6).map(lambda number: number * STEP)
owners = st.sampled_from(["a", "b", "c"])


@attrs.frozen
class Grant:
    """A lease that was handed out: its owner, and its fence in the reference store and in the tested one."""

    owner: str
    fence: tuple[int, int]


@attrs.frozen
class Known:
    """A token that some process has seen."""

    value: str
    generation: tuple[int, int]
    end: float


class Interleavings(RuleBasedStateMachine):
    """What must hold for every store. Subclasses say how a store is made, ages and loses its record."""

    grants = Bundle("grants")
    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.reference = MemoryTokenStore(clock=self.clock, wall=self.clock.wall)
        self.runner = asyncio.Runner()
        self.store = self.make()
        self.number = 0
        #: the model: what is stored, who holds the lease until when, the highest fences ever seen
        self.stored: Known | None = None
        self.generation = NONE
        self.lease_of: tuple[Grant, float] | None = None
        self.highest = NONE
        self.last_fence = NONE

    def make(self):
        raise NotImplementedError

    def age(self, seconds):
        raise NotImplementedError

    def forget(self):
        raise NotImplementedError

    def both(self, verb, **pairs):
        """Call both stores; a pair among the arguments has one part for each."""
        answers = []
        for i, store in enumerate((self.reference, self.store)):
            arguments = {name: value[i] if isinstance(value, tuple) else value for name, value in pairs.items()}
            answers.append(self.runner.run(getattr(store, verb)(KEY, **arguments)))
        return answers

    @property
    def now(self):
        return self.clock.seconds

    @property
    def live(self):
        return self.stored if self.stored is not None and self.stored.end > self.now else None

    @initialize()
    def begin(self):
        assert self.both("read")[1].token is None

    @rule(
        target=grants,
        owner=owners,
        ttl=steps,
        informed=st.booleans(),
        hinted=st.booleans(),
        reason=st.sampled_from(list(LeaseReason)),
        credential=st.sampled_from(["", "old", "new"]),
    )
    def lease(self, owner, ttl, informed, hinted, reason, credential):
        expect = self.live.generation if informed and self.live is not None else NONE
        told, said = self.both(
            "lease",
            owner=owner,
            ttl=ttl,
            expect=expect,
            hint=self.highest if hinted else NONE,
            reason=reason,
            credential=credential,
            budget=BUDGET,
        )
        assert said.status is told.status
        assert abs(said.wait - told.wait) < STEP / 2 or said.wait > 3600
        assert (said.failure is None) == (told.failure is None)
        assert self.live is None or said.status is LeaseStatus.CHANGED or expect == self.live.generation
        if said.status is LeaseStatus.CHANGED:
            assert self.live is not None
            assert said.token is not None
            assert said.token.value == self.live.value
        if said.status is not LeaseStatus.HELD:
            return multiple()
        if self.lease_of is not None:
            assert self.lease_of[1] <= self.now or self.lease_of[0].owner == owner, "two leases at once"
        fence = (told.fence, said.fence)
        for i in (0, 1):
            assert fence[i] > self.last_fence[i], "a fence that does not grow"
            assert fence[i] > self.highest[i] or not hinted
        self._saw(fence)
        self.last_fence = fence
        grant = Grant(owner, fence)
        self.lease_of = (grant, self.now + ttl)
        return grant

    @rule(target=tokens, grant=grants, life=steps, hold_off=st.one_of(st.just(0.0), steps))
    def commit(self, grant, life, hold_off):
        self.number += 1
        value = f"token-{self.number}"
        told, said = self.both("commit", fence=grant.fence, value=value, life=life, hold_off=hold_off)
        assert said is told
        assert said == (grant.fence[1] > self.generation[1]), "accepted if and only if it is newer"
        known = Known(value, grant.fence, self.now + life)
        if said:
            self._store(known)
            if self.lease_of is not None and self.lease_of[0].fence == grant.fence:
                self.lease_of = None
        return known

    @rule(grant=grants, code=st.sampled_from([0, -1, 40164]), cool_down=st.one_of(st.just(0.0), steps))
    def fail(self, grant, code, cool_down):
        self.both("fail", owner=grant.owner, fence=grant.fence, code=code, cool_down=cool_down, credential="old")
        if self.lease_of is not None and self.lease_of[0] == grant:
            self.lease_of = None

    @rule(token=tokens)
    def seed(self, token):
        left = token.end - self.now
        told, said = self.both("seed", value=token.value, generation=token.generation, life=6 * STEP, left=left)
        assert said is told
        assert said == (left > 0 and (self.stored is None or token.generation[1] > self.generation[1]))
        if said:
            self._store(token)

    @rule(seconds=steps)
    def wait(self, seconds):
        self.clock.advance(seconds)
        self.age(seconds)

    @rule()
    def lose(self):
        # No store comes back in the millisecond in which it went: the clock keeps its next fence above the last.
        self.clock.advance(1.0)
        self.age(1.0)
        self.reference._records.clear()
        self.forget()
        self.stored, self.generation, self.lease_of, self.last_fence = None, NONE, None, NONE

    @invariant()
    def the_newest_token_is_what_is_read(self):
        told, said = self.both("read")
        for record in (told, said):
            assert (record.token.value if record.token is not None else None) == (
                self.live.value if self.live is not None else None
            )
        assert (said.failure is None) == (told.failure is None)
        if said.failure is not None:
            assert (said.failure.code, said.failure.count) == (told.failure.code, told.failure.count)
            assert abs(said.failure.cool_down - told.failure.cool_down) < STEP / 2
        assert abs(said.lease_left - told.lease_left) < STEP / 2
        runs = self.lease_of is not None and self.lease_of[1] > self.now
        assert (said.lease_left > 0) == runs

    def _store(self, known):
        self.stored, self.generation = known, known.generation
        self._saw(known.generation)
        self.last_fence = tuple(map(max, self.last_fence, known.generation))

    def _saw(self, pair):
        self.highest = tuple(map(max, self.highest, pair))

    def teardown(self):
        self.runner.run(self.store.aclose())
        self.runner.close()


class OnMemory(Interleavings):
    def make(self):
        return MemoryTokenStore(clock=self.clock, wall=self.clock.wall)

    def age(self, seconds):
        pass

    def forget(self):
        self.store._records.clear()


class OnFile(Interleavings):
    def make(self):
        self.sync = mock.patch.object(os, "fsync")
        self.sync.start()
        self.folder = Path(tempfile.mkdtemp(prefix="wxmp-machine-"))
        return FileTokenStore(self.folder, clock=self.clock, wall=self.clock.wall, timeout=20)

    def age(self, seconds):
        pass

    def forget(self):
        (self.folder / "wx1.plain.json").unlink(missing_ok=True)

    def teardown(self):
        super().teardown()
        self.sync.stop()
        shutil.rmtree(self.folder)


class OnRedis(Interleavings):
    server: GivenServer | RedisServer

    def make(self):
        self.server.flush()
        return RedisTokenStore(self.server.url, timeout=20)

    def age(self, seconds):
        asyncio.run(let_redis_age(self.server, seconds, expire=False))

    def forget(self):
        self.server.flush()


@pytest.fixture(scope="module")
def _server_for_the_machine():
    with find_server() as server:
        OnRedis.server = server
        yield


@pytest.mark.untraced
@pytest.mark.usefixtures("_server_for_the_machine")
class TestOnRedis(OnRedis.TestCase):
    settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.mark.untraced
class TestOnMemory(OnMemory.TestCase):
    settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


@pytest.mark.untraced
class TestOnFile(OnFile.TestCase):
    settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
