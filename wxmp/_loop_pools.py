"""Which connections belong to whom: every event loop has its own, and a forked child starts with none.

Connections of one loop are useless in another, so there is one :class:`~wxmp._pool.Pool` per loop and host. They end
with their loop, with the transport, or when both are forgotten.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from wxmp._pool import PoolClosed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from wxmp._pool import Pool

__all__ = ["LoopPools"]

#: Pools that came through a fork. They belong to the parent: closing or collecting them here would disturb its sockets.
_INHERITED: Final[list[object]] = []


class _Here(AsyncGenerator[None, None]):
    """The pools of one event loop.

    A loop that ends reminds nobody but the asynchronous generators that are still open: ``asyncio.run`` closes them. So
    this is one, in the shape of their abstract class. A real one would be left to the garbage collector when its
    transport is forgotten, and Python then hands its end to a loop that may never turn again: Python 3.13 reports that.
    """

    def __init__(self) -> None:
        self.pools: dict[tuple[bytes, bytes, int], Pool] = {}

    def begin(self) -> None:
        """Make the running loop notice, as the first step of a generator does."""
        notice = sys.get_asyncgen_hooks().firstiter
        if notice is not None:
            notice(self)

    def close(self) -> None:
        for pool in self.pools.values():
            pool.close()
        self.pools.clear()

    async def aclose(self) -> None:
        """Close the connections of a loop that ends."""
        self.close()
        await asyncio.sleep(0)  # a loop has to turn once more before its sockets are closed

    async def asend(self, value: None) -> None:
        """Yield nothing."""
        raise StopAsyncIteration

    async def athrow(
        self, typ: type[BaseException] | BaseException, val: object = None, tb: TracebackType | None = None, /
    ) -> None:
        """Let an error through, as a generator without a handler does."""
        raise typ


class LoopPools:
    """The pools of one transport. May be used from several event loops and threads.

    Args:
        make: Makes the pool for a scheme, host and port.
    """

    def __init__(self, make: Callable[[tuple[bytes, bytes, int]], Pool]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = weakref.WeakKeyDictionary()
        self._closed = False
        _watch_forks()
        _ALIVE.add(self)

    def current(self, key: tuple[bytes, bytes, int]) -> Pool | None:
        """Return the pool of this event loop for a host, if there is one."""
        here = self._by_loop.get(asyncio.get_running_loop())
        return None if here is None else here.pools.get(key)

    def open(self, key: tuple[bytes, bytes, int]) -> Pool:
        """Return the pool of this event loop for a host, made if there is none. Called from a running one.

        Raises:
            PoolClosed: :meth:`close` was called.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise PoolClosed
            for other in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[other]
            here = self._by_loop.get(loop)
            if here is None:
                here = self._by_loop[loop] = _Here()
                here.begin()
            pool = here.pools.get(key)
            if pool is None:
                pool = here.pools[key] = self._make(key)
        return pool

    def close(self) -> None:
        """Close every pool, each in its own event loop. Called from a running one."""
        with self._lock:
            self._closed = True
            everything = list(self._by_loop.items())
            self._by_loop.clear()
        current = asyncio.get_running_loop()
        for loop, here in everything:
            if loop is current or not loop.is_running():
                here.close()
            else:
                with suppress(RuntimeError):  # it has ended in this moment, and closed its connections itself
                    loop.call_soon_threadsafe(here.close)

    def __del__(self) -> None:
        """Close what was forgotten without :meth:`close`: the loops know its sockets, so nothing else would."""
        for loop, here in list(self._by_loop.items()):
            with suppress(RuntimeError):  # a closed loop; what it left open ends with this object
                loop.call_soon_threadsafe(here.close)  # the collector comes at any point, and in any thread

    def forget(self) -> None:
        """Start anew in a forked child."""
        self._lock = threading.Lock()
        _INHERITED.append(self._by_loop)
        self._by_loop = weakref.WeakKeyDictionary()


#: Every set of pools there is, to be told about a fork.
_ALIVE: Final[weakref.WeakSet[LoopPools]] = weakref.WeakSet()


@lru_cache(maxsize=1)
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    for pools in list(_ALIVE):
        pools.forget()
