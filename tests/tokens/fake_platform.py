"""The token endpoints, as the keeper sees them, on the event loop's clock."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from wxmp._redact import Secret
from wxmp.errors import BusyError, TransportError
from wxmp.tokens.keeper import Grant

from .virtual_time import now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OVERLAP = 300.0


class FakePlatform:
    """Issues tokens by the rules of one channel; ``script`` holds what happens to the next requests."""

    def __init__(self, *, stable: bool = False, life: float = 7200.0) -> None:
        self.stable = stable
        self.life = life
        self.requests: list[tuple[float, bool]] = []
        self.script: deque[Callable[[], Awaitable[None]] | BaseException | float | str] = deque()
        self.always: BaseException | None = None
        self._count = 0
        self._ends: dict[str, float] = {}
        self._current = ""

    @property
    def count(self) -> int:
        return len(self.requests)

    def good(self, token: Secret) -> bool:
        return self._ends.get(token.reveal(), 0.0) > now()

    def kill(self) -> None:
        """Every token is dead at once, as after somebody's forced refresh; the next request gets a new one."""
        self._ends.clear()
        self._current = ""

    def outsider(self) -> None:
        """Another system fetches: the current token has five minutes left."""
        self._issue()

    def _issue(self) -> str:
        self._count += 1
        if self._current:
            self._ends[self._current] = min(self._ends.get(self._current, 0.0), now() + OVERLAP)
        self._current = f"TOKEN-{self._count}"
        self._ends[self._current] = now() + self.life
        return self._current

    async def fetch(self, *, force: bool) -> Grant:
        self.requests.append((now(), force))
        if self.always is not None:
            raise self.always
        lost = False
        if self.script:
            step = self.script.popleft()
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif step == "lost":
                lost = True
            elif callable(step):
                await step()
        if force:
            self.kill()
        left = self._ends.get(self._current, 0.0) - now()
        if not self.stable or force or left <= OVERLAP:
            self._issue()
            left = self.life
        if lost:
            raise TransportError("the answer was lost", maybe_acted=True)
        return Grant(Secret(self._current), left)


def busy() -> BusyError:
    return BusyError(errcode=-1, errmsg="system error")
