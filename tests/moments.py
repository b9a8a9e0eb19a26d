"""Time limits, tested so that a machine which pauses for a second changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING, TypeVar

from wxmp import TokenPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")
#: With it a machine that pauses makes no refresh fail.
PATIENT = TokenPolicy(request_timeout=60.0, connect_timeout=60.0, lease=130.0, wait_timeout=200.0)
#: So often may the machine pause in the middle of what is measured.
TRIES = 8


class _Moved:
    """The clock of an event loop, ahead of itself."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.time = clock
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.time() + self.ahead


def skip(seconds: float) -> None:
    """Move the clock of the running event loop forward: a deadline comes now, after what has to come before it."""
    loop = asyncio.get_running_loop()
    clock = loop.time if isinstance(loop.time, _Moved) else _Moved(loop.time)
    clock.ahead += seconds
    loop.time = clock  # type: ignore[method-assign]


@contextlib.contextmanager
def little_work(most: float) -> Iterator[None]:
    """See that the block takes this thread little work, in seconds of its CPU.

    Garbage is left lying meanwhile: sweeping up after thousands of other tests takes longer than what is measured.
    """
    gc.disable()
    began = time.thread_time()
    try:
        yield
    finally:
        taken = time.thread_time() - began
        gc.enable()
    assert taken < most


async def quickest(call: Callable[[], Awaitable[T]], most: float) -> tuple[float, T]:
    """Return how many seconds a call takes when nothing holds the machine up, and its result: one try, if in time."""
    for _ in range(TRIES):
        began = time.monotonic()
        result = await call()
        taken = time.monotonic() - began
        if taken < most:
            break
    return taken, result
