"""Quotas: the calls a day, a minute and a month that an account has, and the counting of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wxmp.simulator.state import Counter
from wxmp.simulator.wire import Refusal

if TYPE_CHECKING:
    from wxmp.simulator.state import Account
    from wxmp.simulator.world import World

__all__ = ["Quotas"]


class Quotas:
    """Counts calls. The counters stand in the accounts; the limits are the policy's.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._last: tuple[int, int | None] | None = None

    def daily_limit(self, account: Account, path: str) -> int | None:
        """Return the calls a day an account has for a path; ``None`` means no limit."""
        own = account.quotas.get(path)
        if own is not None:
            return own
        policy = self._world.policy
        quota = policy.daily_quotas.get(path, policy.default_daily_quota)
        return quota.test if account.test else quota.ordinary

    def counter(self, account: Account, path: str, now: float) -> Counter:
        """Return the counter of a path, started again when its day or minute is over."""
        counter = account.counters.get(path)
        if counter is None:
            counter = account.counters[path] = Counter()
        day, minute = self._world.day(now), int(now // 60)
        if counter.day != day:
            counter.day, counter.used = day, 0
        if counter.minute != minute:
            counter.minute, counter.in_minute = minute, 0
        return counter

    def spend(self, account: Account, path: str, now: float) -> None:
        """Count one call against the quotas of a path.

        Raises:
            Refusal: The day's (45009) or the minute's (45011) calls are used up.
        """
        policy = self._world.policy
        counter = self.counter(account, path, now)
        limit = None if path.startswith("/sns/") else self.daily_limit(account, path)
        if limit is not None and counter.used >= limit:
            raise Refusal(45009, f"{counter.used} of {limit} calls of today are used")
        per_minute = policy.minute_quotas.get(path, policy.default_minute_quota)
        if per_minute is not None and counter.in_minute >= per_minute:
            raise Refusal(45011, f"{counter.in_minute} calls in this minute, {per_minute} are allowed")
        counter.used += 1
        counter.in_minute += 1
        self._last = (counter.used, limit)

    def take_counted(self) -> tuple[int, int | None] | None:
        """Return what the request of this moment was counted as, and the limit; ``None`` where it was not counted."""
        last, self._last = self._last, None
        return last

    def spend_month(self, account: Account, what: str, limit: int, now: float) -> bool:
        """Count something that is limited per calendar month; tell whether there was one left."""
        month = self._world.month(now)
        if account.month != month:
            account.month = month
            account.months.clear()
        used = account.months.get(what, 0)
        if used >= limit:
            return False
        account.months[what] = used + 1
        return True
