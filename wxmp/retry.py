"""When a call is repeated, and when it must not be."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import attrs

from wxmp.config import positive_whole
from wxmp.errcodes import lookup
from wxmp.errors import (
    APIError,
    BadStatusError,
    ConfigError,
    PayAPIError,
    PayProbeError,
    ReplyError,
    TransportError,
)

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

__all__ = ["RetryPolicy"]

MINUTE: Final = 60.0
#: Seconds after the full minute within which the processes of a fleet come back, so that they do not all come at once.
MINUTE_SPREAD: Final = (0.1, 1.0)
#: Waits double at most this often; by then any sensible ``max_wait`` is reached.
DOUBLINGS: Final = 60
SERVER_ERROR: Final = 500
#: HTTP refusals that pass: request timeout, too many requests.
PASSING_STATUS: Final = (408, 429)
#: WeChat Pay says "too fast": as long a wait as after so many failures more.
SLOW_STEPS: Final = 3


def certainly_not_executed(error: BaseException) -> bool:
    """Tell whether the platform certainly did not act: no connection was made, or it said no and means no.

    This is the one rule by which a call that is not repeatable may be repeated all the same.
    """
    if isinstance(error, TransportError | ReplyError):
        return not error.maybe_acted
    return isinstance(error, APIError) and lookup(error.errcode).verdict == "wait"


def worth_repeating(error: BaseException) -> bool:
    """Tell whether a later attempt can have another outcome."""
    if isinstance(error, APIError):
        return lookup(error.errcode).verdict in ("busy", "wait")
    if isinstance(error, BadStatusError):
        return error.status >= SERVER_ERROR or error.status in PASSING_STATUS
    if isinstance(error, PayAPIError):
        return error.verdict in ("same", "slow")
    if isinstance(error, PayProbeError):
        return error.maybe_acted  # the answer to a call; the next one is signed well
    return isinstance(error, TransportError | ReplyError)


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _limit(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not _seconds(value):
        raise ConfigError(f"{attribute.name} must be 0 or a number of seconds above it", field=attribute.name)


def _wait(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not _seconds(value) or not 0 < value < float("inf"):
        raise ConfigError(f"{attribute.name} must be a number of seconds above 0", field=attribute.name)


@attrs.frozen
class RetryPolicy:
    """How often and how long a call is repeated (重试策略), run by tenacity.

    A call is repeated after a failure that can pass: the platform is busy (-1), a limit of a second or a minute
    (45011), a broken connection, a timeout, an HTTP 5xx, an answer that cannot be read. An endpoint that is not
    repeatable (it sends or creates something) is repeated only when the platform certainly did not act. Daily quotas
    (45009) and errors a person must mend are never repeated. The first attempt costs nothing: tenacity is entered
    after a failure.
    """

    #: Attempts in all; 1 turns repeating off.
    attempts: int = attrs.field(default=4, validator=positive_whole)
    #: No attempt starts later than this many seconds after the first one; 0 turns repeating off. A wait that would end
    #: later is not begun: the error is raised at once. After 45011 that is up to a minute.
    total_time: float = attrs.field(default=30.0, validator=_limit)
    #: First wait in seconds; it doubles each time, and a random part of up to the same size is added.
    initial_wait: float = attrs.field(default=0.2, validator=_wait)
    #: No wait is longer, random part included, except the one for the next minute after 45011. Seconds.
    max_wait: float = attrs.field(default=5.0, validator=_wait)
    #: What waits; tests put in something that does not.
    sleep: Callable[[float], Awaitable[None]] = attrs.field(default=asyncio.sleep, repr=False, eq=False)
    #: Wall clock in seconds since 1970: the platform's minutes begin with ours.
    wall_clock: Callable[[], float] = attrs.field(default=time.time, repr=False, eq=False)
    #: Monotonic clock in seconds that ``total_time`` is measured with.
    clock: Callable[[], float] = attrs.field(default=time.monotonic, repr=False, eq=False)

    def should_repeat(self, error: BaseException, *, repeatable: bool) -> bool:
        """Tell whether this policy repeats a call after ``error``."""
        return worth_repeating(error) and (repeatable or certainly_not_executed(error))

    def wait_after(self, error: BaseException, attempt: int) -> float:
        """Seconds to wait after attempt number ``attempt`` failed with ``error``."""
        if isinstance(error, APIError):
            entry = lookup(error.errcode)
            if entry.verdict == "wait" and entry.scope == "minute":
                # The counter is filled again at the next full minute.
                return MINUTE - self.wall_clock() % MINUTE + random.uniform(*MINUTE_SPREAD)
        if isinstance(error, PayAPIError):
            if error.retry_after is not None:
                return error.retry_after + random.uniform(0.0, self.initial_wait)
            attempt += SLOW_STEPS if error.verdict == "slow" else 0
        longest = min(2 * self.initial_wait * 2.0 ** min(attempt - 1, DOUBLINGS), self.max_wait)
        return random.uniform(longest / 2, longest)

    def retrying(
        self,
        *,
        repeatable: bool,
        before_sleep: Callable[[RetryCallState], None] | None = None,
        elapsed: float = 0.0,
    ) -> AsyncRetrying:
        """Return the tenacity object that runs this policy; the last exception escapes as it is.

        Args:
            repeatable: Whether a repeat after an ambiguous failure does no harm.
            before_sleep: Called once before each wait.
            elapsed: Seconds of the total time that are spent already.
        """
        from tenacity import AsyncRetrying, retry_if_exception

        end = self.clock() + self.total_time - elapsed

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            return self.wait_after(error, state.attempt_number) if error is not None else 0.0

        def stop(state: RetryCallState) -> bool:
            # tenacity's own limits read time.monotonic(), which an injected sleep does not move.
            return state.attempt_number >= self.attempts or self.clock() + state.upcoming_sleep >= end

        return AsyncRetrying(
            sleep=self.sleep,
            stop=stop,
            wait=wait,
            retry=retry_if_exception(lambda error: self.should_repeat(error, repeatable=repeatable)),
            before_sleep=before_sleep,
            reraise=True,
        )
