"""Cases that mostly wait, run at the same time: each test then looks at the outcome of its own case.

A wave starts the processes of all its cases, lets all cases begin at the same moment, and keeps what each came to: a
case that fails does not disturb the others, and its own test raises what it raised.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pytest

from tests.redis_server import RedisServer
from wxmp.simulator import Policy, Simulator

from .fleet import QUICK, Fleet

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Fleets that start at a time: more of them only take the processor from each other.
STARTING = 2
#: All fleets of a wave have started within this time.
START_WITHIN = 150.0


class Gate:
    """Opens when everybody has come, or has given up."""

    def __init__(self, parties: int) -> None:
        self._missing = parties
        self._lock = threading.Lock()
        self._open = threading.Event()
        self.start = threading.Semaphore(STARTING)

    def arrive(self) -> None:
        with self._lock:
            self._missing -= 1
            if not self._missing:
                self._open.set()

    def wait(self) -> None:
        assert self._open.wait(START_WITHIN), "the other cases did not start in time"


@attrs.define(eq=False)
class Place:
    """A platform, a Redis and a folder of one case's own, and the moment at which all cases begin."""

    folder: Path
    _gate: Gate
    _stack: contextlib.ExitStack
    _arrived: bool = False
    _redis: RedisServer | None = None

    @property
    def redis(self) -> RedisServer:
        """A Redis of this case's own, to be killed, frozen, filled and replaced."""
        if self._redis is None:
            self._redis = self.enter(RedisServer())
        return self._redis

    def fleet(
        self,
        number: int,
        store: str = "redis",
        channel: str = "plain",
        *,
        policy: Policy | None = None,
        **times: float,
    ) -> Fleet:
        """Start so many processes on a platform of their own; return when the fleets of all cases have started."""
        address = self.redis.url if store == "redis" else f"file:{self.folder / 'tokens'}"
        fleet = self.enter(Fleet(self.enter(Simulator(policy=policy, seed=1)), address, channel, {**QUICK, **times}))
        with self.starting:
            fleet.start(number)
        self.begin()
        return fleet

    def enter(self, context: contextlib.AbstractContextManager[T]) -> T:
        """Leave it when the case is over."""
        return self._stack.enter_context(context)

    @property
    def starting(self) -> threading.Semaphore:
        """To be held while processes start."""
        return self._gate.start

    def begin(self) -> None:
        """Return when all cases are ready to begin."""
        self.arrive()
        self._gate.wait()

    def arrive(self) -> None:
        if not self._arrived:
            self._arrived = True
            self._gate.arrive()


class Wave:
    """Cases that wait at the same time."""

    def __init__(self) -> None:
        self._cases: dict[str, Callable[[Place], None]] = {}
        self._outcomes: dict[str, BaseException | None] = {}

    def test(self, **choices: dict[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Make a test of each combination of the named values; the function gets a place of its own, and the values."""

        def decorate(act: Callable[..., None]) -> Callable[..., None]:
            labels = []
            for chosen in itertools.product(*(values.items() for values in choices.values())):
                labels.append("-".join(label for label, _ in chosen))
                name = f"{act.__name__}[{labels[-1]}]" if choices else act.__name__
                self._cases[name] = partial(act, **dict(zip(choices, (value for _, value in chosen), strict=True)))

            def test(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
                self._look(request, tmp_path_factory)

            def test_of_case(
                request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, case: str
            ) -> None:
                self._look(request, tmp_path_factory)

            made: Callable[..., None] = test_of_case if choices else test
            made.__name__, made.__qualname__ = act.__name__, act.__qualname__
            made.__doc__, made.__module__ = act.__doc__, act.__module__
            return pytest.mark.parametrize("case", labels)(made) if choices else made

        return decorate

    def _look(self, request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> None:
        if request.node.name not in self._outcomes:
            # Only what was asked for: one case alone is a wave too.
            chosen = {item.name for item in request.session.items if item.path == request.node.path}
            self._run({name: act for name, act in self._cases.items() if name in chosen}, folders)
        error = self._outcomes.pop(request.node.name)
        if error is not None:
            raise error

    def _run(self, cases: dict[str, Callable[[Place], None]], folders: pytest.TempPathFactory) -> None:
        gate = Gate(len(cases))

        def play(act: Callable[[Place], None], folder: Path) -> BaseException | None:
            try:
                with contextlib.ExitStack() as stack:
                    place = Place(folder, gate, stack)
                    stack.callback(place.arrive)
                    act(place)
            except BaseException as error:
                return error
            return None

        with ThreadPoolExecutor(len(cases)) as pool:
            playing = {name: pool.submit(play, act, folders.mktemp("wave")) for name, act in cases.items()}
            self._outcomes = {name: future.result() for name, future in playing.items()}
