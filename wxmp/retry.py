"""When a call is repeated, and when it must not be."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from wxmp.errcodes import lookup
from wxmp.errors import APIError, BadStatusError, ReplyError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import AsyncRetrying, RetryCallState

__all__ = ["RetryPolicy"]

T = TypeVar("T")

MINUTE: Final = 60.0
SERVER_ERROR: Final = 500
#: HTTP refusals that pass: request timeout, too many requests.
PASSING_STATUS: Final = (408, 429)


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
    return isinstance(error, TransportError | ReplyError)


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
    attempts: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    #: No attempt starts later than this many seconds after the first one.
    total_time: float = attrs.field(default=30.0, validator=attrs.validators.ge(0))
    #: First wait in seconds; it doubles each time, and a random part of the same size is added.
    initial_wait: float = attrs.field(default=0.2, validator=attrs.validators.gt(0))
    #: No wait is longer, except the one for the next minute after 45011. Seconds.
    max_wait: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    #: What waits; tests put in something that does not.
    sleep: Callable[[float], Awaitable[None]] = attrs.field(default=asyncio.sleep, repr=False, eq=False)
    #: Wall clock in seconds since 1970: the platform's minutes begin with ours.
    wall_clock: Callable[[], float] = attrs.field(default=time.time, repr=False, eq=False)

    def should_repeat(self, error: BaseException, *, repeatable: bool) -> bool:
        """Tell whether this policy repeats a call after ``error``."""
        return worth_repeating(error) and (repeatable or certainly_not_executed(error))

    def wait_after(self, error: BaseException, attempt: int) -> float:
        """Seconds to wait after attempt number ``attempt`` failed with ``error``."""
        if isinstance(error, APIError):
            entry = lookup(error.errcode)
            if entry.verdict == "wait" and entry.scope == "minute":
                # The counter is filled again at the next full minute; all processes come back then, hence the spread.
                return MINUTE - self.wall_clock() % MINUTE + random.uniform(0.1, 1.0)
        ceiling = min(self.initial_wait * 2 ** (attempt - 1), self.max_wait)
        return min(random.uniform(ceiling, 2 * ceiling), self.max_wait)

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
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_before_delay

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            return self.wait_after(error, state.attempt_number) if error is not None else 0.0

        return AsyncRetrying(
            sleep=self.sleep,
            stop=stop_after_attempt(self.attempts) | stop_before_delay(max(self.total_time - elapsed, 0.0)),
            wait=wait,
            retry=retry_if_exception(lambda error: self.should_repeat(error, repeatable=repeatable)),
            before_sleep=before_sleep,
            reraise=True,
        )
