"""An event loop whose clock jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            # Only a thread could still wake this loop up: wait for it, but not for ever.
            ready = super().select(20)
            if not ready:
                raise RuntimeError("nothing will ever happen in this loop again")
        elif not ready and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """``loop.time()`` is virtual; an hour of sleeping takes no time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def jump(self, seconds: float) -> None:
        """Let time pass without running anything: a frozen process."""
        self._jumping.now += seconds


def now() -> float:
    return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T], *, debug: bool = False) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop, debug=debug) as runner:
        return runner.run(main)


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in a loop whose clock jumps."""

    async def story(*args: Any, **kwargs: Any) -> None:
        await test(*args, **kwargs)

    @functools.wraps(test)
    def play(*args: Any, **kwargs: Any) -> None:
        run(story(*args, **kwargs))

    del play.__wrapped__  # pytest must not see a coroutine function, only its fixtures
    play.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return play
