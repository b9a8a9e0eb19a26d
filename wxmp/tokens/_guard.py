"""A store as a flight sees it: bound to one key, bounded in time, left alone for a while after a failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from wxmp.errors import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wxmp.tokens._report import Reporter
    from wxmp.tokens.store import Lease, LeaseReason, ReplacementBudget, TokenKey, TokenRecord, TokenStore

__all__ = ["StoreDownError", "StoreGuard"]

T = TypeVar("T")

#: After a failure the store is left alone for this long at first and at most, in seconds.
BREAKER_FIRST: Final = 0.5
BREAKER_LONGEST: Final = 5.0
#: Doublings beyond this make no difference.
_DOUBLINGS: Final = 10


class StoreDownError(Exception):
    """The store failed or is being left alone; ``__cause__`` is the :class:`~wxmp.errors.TokenStoreError`."""


class StoreGuard:
    """Runs the verbs of a store for one credential."""

    def __init__(
        self,
        key: TokenKey,
        store: TokenStore,
        *,
        timeout: float,
        credential: Callable[[], str],
        clock: Callable[[], float],
        report: Reporter,
    ) -> None:
        self.key = key
        self.name = store.name
        self._store = store
        self._timeout = timeout
        self._credential = credential
        self._clock = clock
        self._report = report
        self._failures = 0
        self._retry_at = float("-inf")

    @property
    def up(self) -> bool:
        """Whether the store answered the last time."""
        return self._failures == 0

    @property
    def pause(self) -> float:
        """Seconds until the store is asked again."""
        return max(self._retry_at - self._clock(), 0.0)

    async def read(self) -> TokenRecord:
        """See :meth:`TokenStore.read`."""
        return await self._run(self._store.read(self.key))

    async def lease(
        self,
        *,
        owner: str,
        ttl: float,
        expect: int,
        hint: int,
        reason: LeaseReason,
        budget: ReplacementBudget | None,
    ) -> Lease:
        """See :meth:`TokenStore.lease`."""
        return await self._run(
            self._store.lease(
                self.key,
                owner=owner,
                ttl=ttl,
                expect=expect,
                hint=hint,
                reason=reason,
                credential=self._credential(),
                budget=budget,
            )
        )

    async def commit(self, *, fence: int, value: str, life: float, hold_off: float) -> bool:
        """See :meth:`TokenStore.commit`."""
        return await self._run(self._store.commit(self.key, fence=fence, value=value, life=life, hold_off=hold_off))

    async def fail(self, *, owner: str, fence: int, code: int, cool_down: float) -> None:
        """See :meth:`TokenStore.fail`."""
        await self._run(
            self._store.fail(
                self.key, owner=owner, fence=fence, code=code, cool_down=cool_down, credential=self._credential()
            )
        )

    async def give_back(self, *, owner: str, fence: int) -> None:
        """End a lease without a word, even while the store is being left alone; the lease ends by itself anyway."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._store.fail(self.key, owner=owner, fence=fence)
        except (TokenStoreError, TimeoutError):
            return

    async def seed(self, *, value: str, generation: int, life: float, left: float) -> bool:
        """See :meth:`TokenStore.seed`."""
        return await self._run(self._store.seed(self.key, value=value, generation=generation, life=life, left=left))

    async def _run(self, operation: Coroutine[Any, Any, T]) -> T:
        if self.pause > 0:
            operation.close()
            raise StoreDownError from TokenStoreError("left alone after a failure", store=self.name)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await operation
        except TokenStoreError as error:
            raise self._down(error) from error
        except TimeoutError:
            late = TokenStoreError(f"no answer within {self._timeout:g} s", store=self.name)
            raise self._down(late) from late
        if self._failures:
            self._failures = 0
            self._report("store_up")
        return answer

    def _down(self, error: TokenStoreError) -> StoreDownError:
        self._failures += 1
        pause = min(BREAKER_FIRST * 2.0 ** min(self._failures - 1, _DOUBLINGS), BREAKER_LONGEST)
        self._retry_at = self._clock() + pause
        if self._failures == 1:
            self._report("store_down", seconds=pause, reason=str(error))
        return StoreDownError()
