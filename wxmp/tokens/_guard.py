"""A store as a flight sees it: bound to one key, bounded in time, left alone for a while after a failure."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, TypeVar

from wxmp._log import log_fields
from wxmp.errors import ConfigError, TokenStoreError
from wxmp.tokens.store import Lease, TokenRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wxmp.tokens._report import Reporter
    from wxmp.tokens.store import LeaseReason, ReplacementBudget, TokenKey, TokenStore

__all__ = ["StoreDownError", "StoreGuard"]

logger = logging.getLogger("wxmp.token")

T = TypeVar("T")

#: After a failure the store is left alone for this long at first and at most, in seconds.
BREAKER_FIRST: Final = 0.5
BREAKER_LONGEST: Final = 5.0
#: A time limit that is noticed this many times too late was missed by this process (stopped, or its event loop was
#: busy), not by the store.
OVERSLEPT: Final = 1.5
#: After a failed write the store counts as down until a write works, or until nothing failed for this long, in seconds.
FORGIVEN: Final = 60.0
#: Giving a lease back at the end of a client's life takes at most this long: less than closing waits, in seconds.
PARTING: Final = 0.75
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
        #: The failure was a write's. A replica without its master, or a full server, goes on answering reads.
        self._write_failed = False

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
        return await self._run(lambda: self._store.read(self.key), TokenRecord, write=False)

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
        credential = self._credential()  # asked out here: what it raises is not the store's fault
        return await self._run(
            lambda: self._store.lease(
                self.key,
                owner=owner,
                ttl=ttl,
                expect=expect,
                hint=hint,
                reason=reason,
                credential=credential,
                budget=budget,
            ),
            Lease,
        )

    async def commit(self, *, fence: int, value: str, life: float, hold_off: float) -> bool:
        """See :meth:`TokenStore.commit`."""
        return await self._run(
            lambda: self._store.commit(self.key, fence=fence, value=value, life=life, hold_off=hold_off), bool
        )

    async def fail(self, *, owner: str, fence: int, code: int, cool_down: float) -> None:
        """See :meth:`TokenStore.fail`."""
        credential = self._credential()
        await self._run(
            lambda: self._store.fail(
                self.key, owner=owner, fence=fence, code=code, cool_down=cool_down, credential=credential
            ),
            object,
        )

    async def give_back(self, *, owner: str, fence: int) -> None:
        """End a lease without a word, even while the store is being left alone; the lease ends by itself anyway."""
        try:
            async with asyncio.timeout(min(self._timeout, PARTING)):
                await self._store.fail(self.key, owner=owner, fence=fence)
        except Exception:  # noqa: BLE001 - a store can be anybody's code, and the reason for leaving matters more
            return

    async def seed(self, *, value: str, generation: int, life: float, left: float) -> bool:
        """See :meth:`TokenStore.seed`."""
        return await self._run(
            lambda: self._store.seed(self.key, value=value, generation=generation, life=life, left=left), bool
        )

    def died(self, *, generation: int, code: int, path: str) -> None:
        """See :meth:`TokenStore.died`."""
        try:
            self._store.died(self.key, generation=generation, code=code, path=path)
        except Exception:
            # The report is a courtesy, and a store can be anybody's code.
            logger.exception(
                "the store was told of a dead token, and raised",
                extra=log_fields("store_raised", appid=self.key.appid, channel=self.key.channel, store=self.name),
            )

    async def _run(self, operation: Callable[[], Awaitable[T]], answers: type[T], *, write: bool = True) -> T:
        if self.pause > 0:
            raise StoreDownError from TokenStoreError("left alone after a failure", store=self.name)
        started = self._clock()
        try:
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await operation()
            except TimeoutError:
                if self._clock() - started < OVERSLEPT * self._timeout:
                    raise
                # Every verb may be repeated: what took effect already is renewed, or refused and then read.
                async with asyncio.timeout(self._timeout):
                    answer = await operation()
        except TokenStoreError as error:
            raise self._down(error, write=write) from error
        except TimeoutError:
            late = TokenStoreError(f"no answer within {self._timeout:g} s", store=self.name)
            raise self._down(late, write=write) from late
        except ConfigError:  # the arguments cannot work: another try would not help, and the store is well
            raise
        except Exception as error:  # noqa: BLE001 - a store can be anybody's code
            broken = TokenStoreError(f"it raised {type(error).__name__}", store=self.name)
            broken.__cause__ = error
            raise self._down(broken, write=write) from broken
        if not isinstance(answer, answers):
            broken = TokenStoreError(f"it answered a {type(answer).__name__}", store=self.name)
            raise self._down(broken, write=write) from broken
        if self._failures and (write or not self._write_failed or self._clock() - self._retry_at > FORGIVEN):
            self._failures = 0
            self._write_failed = False
            self._report("store_up")
        return answer

    def _down(self, error: TokenStoreError, *, write: bool) -> StoreDownError:
        self._failures += 1
        self._write_failed = self._write_failed or write
        pause = min(BREAKER_FIRST * 2.0 ** min(self._failures - 1, _DOUBLINGS), BREAKER_LONGEST)
        self._retry_at = self._clock() + pause
        if self._failures == 1:
            self._report("store_down", seconds=pause, reason=str(error))
        return StoreDownError()
