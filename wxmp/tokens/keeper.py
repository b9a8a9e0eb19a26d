"""The keeper of one shared credential: hands it out without I/O, renews it beside the traffic, replaces a dead one.

The normal call (:meth:`TokenKeeper.peek`) compares a clock with a number. Everything else happens in a *flight*: at
most one task per event loop that looks into the store and, if need be, asks the platform under a lease. Callers wait
for a flight only when there is no usable token at all.

The store decides the order of things (``wxmp.tokens.store``); the keeper never trusts its own memory over a higher
generation, and never lets a failure take away a token that still works.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import secrets
import time
import weakref
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from wxmp._redact import fingerprint
from wxmp.config import TokenPolicy
from wxmp.errors import (
    APIError,
    ConfigError,
    DeadTokenError,
    ReplyError,
    TimedOutError,
    TokenStoreError,
    TransportError,
    WxmpError,
)
from wxmp.tokens._flight import POLL_FIRST, Fetch, Flight, FlightPlan, Grant, is_permanent
from wxmp.tokens._guard import StoreDownError, StoreGuard
from wxmp.tokens._report import Reporter
from wxmp.tokens._state import REMEMBERED, TokenState, again
from wxmp.tokens.store import LeaseReason, StoredToken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wxmp._redact import Secret
    from wxmp.events import EventHook
    from wxmp.tokens.store import TokenKey, TokenRecord, TokenStore

__all__ = ["Fetch", "Grant", "TokenKeeper", "TokenStatus"]

#: For how long a path that fails with every token cannot cause replacements, in seconds.
PENALTY: Final = 60.0
#: Closing waits at most this long for a running refresh to give its lease back, in seconds.
CLOSING: Final = 1.0


@attrs.frozen
class TokenStatus:
    """What can be told about a credential without giving it away."""

    appid: str
    channel: str
    #: Where it is shared.
    store: str
    #: Whether this process holds a token it can use.
    usable: bool
    #: Generation; 0 when there is no token.
    generation: int
    #: Eight hexadecimal digits to tell two tokens apart; empty when there is none.
    fingerprint: str
    #: Seconds since it was issued, as far as this process knows.
    age: float
    #: Seconds until it ends.
    seconds_left: float
    #: Whether the store answered the last time.
    store_up: bool
    #: Class and code of the last failed refresh; empty after a success.
    last_error: str
    #: Seconds until the platform may be asked again after that failure.
    cool_down: float = 0.0


class TokenKeeper:
    """Keeps one credential of one account for this process.

    Args:
        key: Which credential.
        store: Where the fleet shares it.
        fetch: Asks the platform.
        endpoint: Method and path that ``fetch`` uses, for errors.
        policy: Times.
        credential: Returns a fingerprint of the AppSecret in use.
        on_event: Hook for state changes.
        clock: Monotonic seconds.
        sleep: What waits between two looks.
    """

    def __init__(
        self,
        key: TokenKey,
        *,
        store: TokenStore,
        fetch: Fetch,
        endpoint: str,
        policy: TokenPolicy | None = None,
        credential: Callable[[], str] = str,
        on_event: EventHook | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        policy = policy or TokenPolicy()
        self.key = key
        self._policy = policy
        self._endpoint = endpoint
        self._clock = clock
        self._sleep = sleep
        if on_event is not None:
            from wxmp.events import guarded

            on_event = guarded(on_event)
        self._report = Reporter(key, on_event)
        self._state = TokenState(key.channel, policy, clock)
        self._store = StoreGuard(
            key, store, timeout=policy.store_timeout, credential=credential, clock=clock, report=self._report
        )
        self._plan = FlightPlan(
            policy, self._state, self._store, fetch, endpoint, self._report, sleep, self._look_later
        )
        self._penalties: dict[str, float] = {}
        self._closed = False
        self._start_process()
        _KEEPERS.add(self)

    def _start_process(self) -> None:
        """What a forked child must not share with its parent. The token itself may stay."""
        self._state.reset_lock()
        self._flights: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._timers: dict[asyncio.AbstractEventLoop, asyncio.TimerHandle] = {}
        self._owner = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    # ---- what callers use

    def peek(self) -> Secret | None:
        """Return the token if it can be used; never waits and never does I/O.

        A flight is started when it is time to look into the store or to refresh; the copy is served meanwhile.
        """
        state = self._state
        copy = state.copy
        if copy is not None and self._clock() < state.next_look:
            return copy.value
        if copy is None or not state.usable:
            return None
        self._flight()
        return copy.value

    async def get(self, *, patience: float | None = None) -> Secret:
        """Return a usable token; wait for a refresh if there is none.

        Args:
            patience: Seconds for which failed requests are repeated; ``wait_timeout`` if absent. For somebody who waits
                in front of a screen: the reason is then told soon. A refresh that is under way is waited for in full.

        Raises:
            APIError: The platform refuses to issue one; at once when a person has to act.
            DeadTokenError: Tokens died too often: the replacement budget is used up.
            TransportError: The platform could not be asked within ``wait_timeout``.
            TokenStoreUnavailable: The store cannot be reached, and the policy forbids fetching without it.
        """
        deadline = self._clock() + self._policy.wait_timeout
        last_try = deadline if patience is None else min(self._clock() + patience, deadline)
        while True:
            value = self.peek()
            if value is not None:
                return value
            error = self._recent_error() or await self._wait_for(self._flight(), deadline - self._clock())
            if error is None and self._clock() < deadline:
                continue
            if error is None:
                error = self._too_late()
            # A permanent refusal is raised at once. What passes by itself is waited for: a call that only needs a
            # second of patience should not fail.
            pause = max(self._state.quiet_until - self._clock(), POLL_FIRST)
            if _is_final(error) or self._clock() + pause >= last_try:
                _raise_again(error)
            await self._sleep(pause)

    async def refresh(self) -> Secret:
        """Replace the token on an operator's word, whatever its age; a cool-down is skipped once.

        On the stable channel this is a forced refresh: the old token dies at once.

        Raises:
            RateLimitError: Forced refreshes are limited to 20 a day, 30 s apart.
        """
        loop = asyncio.get_running_loop()
        deadline = self._clock() + self._policy.wait_timeout
        # One that runs may have begun without the operator's reason; and when it ends, others may start the next.
        while (running := self._flights.get(loop)) is not None and not running.done():
            await asyncio.wait({running}, timeout=max(deadline - self._clock(), 0.0))
            if not running.done():
                _raise_again(self._too_late())
        task = self._flight(LeaseReason.OPERATOR)
        error = await self._wait_for(task, deadline - self._clock())
        if error is None and (task is None or task.cancelled()):
            error = TimedOutError("the refresh was cancelled", endpoint=self._endpoint)
        if error is not None:
            _raise_again(error)
        return await self.get()

    def report_dead(self, value: Secret, code: int, *, path: str = "") -> bool:
        """Say that the platform refused ``value``; the answer tells whether to repeat the call with another token."""
        state = self._state
        copy = state.copy
        if copy is not None and copy.value != value:
            state.bury(value, code)
            return True
        if self._clock() < self._penalties.get(path, float("-inf")) or state.is_confirmed(value):
            return False
        if not state.is_dead(value):
            state.bury(value, code)
            self._store.died(generation=copy.generation if copy else 0, code=code, path=path)
            self._report("dead_reported", generation=copy.generation if copy else None, code=code)
        return True

    def penalise(self, path: str) -> None:
        """Say that a call of ``path`` was refused with every token it tried.

        Some paths answer 40001 to the wrong kind of account; for a while dead codes of this path alone replace nothing.
        """
        if len(self._penalties) >= REMEMBERED:
            self._penalties.clear()
        self._penalties[path] = self._clock() + PENALTY

    def status(self) -> TokenStatus:
        """Return what can be told about the token, never its value."""
        copy, now, error = self._state.copy, self._clock(), self._state.last_error
        said = type(error).__name__ if error is not None else ""
        if isinstance(error, APIError):
            said = f"{said} {error.errcode}"
        return TokenStatus(
            appid=self.key.appid,
            channel=self.key.channel,
            store=self._store.name,
            usable=self._state.usable,
            generation=copy.generation if copy else 0,
            fingerprint=fingerprint(copy.value.reveal()) if copy else "",
            age=max(0.0, now - (copy.end - copy.life)) if copy else 0.0,
            seconds_left=max(0.0, copy.end - now) if copy else 0.0,
            store_up=self._store.up,
            last_error=said,
            cool_down=max(0.0, self._state.cools_until - now) if said else 0.0,
        )

    def held(self) -> StoredToken | None:
        """Return the token if it can be used, and what is left of it, for whoever hands it on. Never waits."""
        state = self._state
        copy = state.copy
        if copy is None or not state.usable:
            return None
        left = max(copy.end - self._clock(), 0.0)
        return StoredToken(value=copy.value.reveal(), generation=copy.generation, life=copy.life, left=left)

    async def record(self) -> TokenRecord:
        """Return what the store holds now; nobody is asked for a token, and nothing changes.

        Raises:
            TokenStoreError: The store does not answer.
        """
        try:
            return await self._store.read()
        except StoreDownError as error:
            cause = error.__cause__
            message = str(cause) if cause is not None else "the token store does not answer"
            raise TokenStoreError(message, store=self._store.name) from cause

    async def look(self) -> None:
        """Look into the store now, whatever the age of the copy: somebody has seen a newer token than this one.

        What goes wrong is left to whoever needs a token next.
        """
        deadline = self._clock() + self._policy.wait_timeout
        running = self._flights.get(asyncio.get_running_loop())
        if running is not None:  # it may have looked already
            await asyncio.wait({running}, timeout=self._policy.wait_timeout)
        task = self._flight()
        if task is not None:
            await asyncio.wait({task}, timeout=max(deadline - self._clock(), 0.0))

    async def aclose(self) -> None:
        """Stop: no new flights, a running one gives its lease back. Takes at most a second; safe to call twice."""
        self._closed = True
        here = asyncio.get_running_loop()
        timer = self._timers.pop(here, None)
        if timer is not None:
            timer.cancel()
        for loop, task in list(self._flights.items()):
            if loop is here:
                task.cancel()
                await asyncio.wait({task}, timeout=CLOSING)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

    # ---- flights

    def _flight(self, reason: LeaseReason = LeaseReason.DUE) -> asyncio.Task[None] | None:
        """Return the running flight of this event loop, or start one; ``None`` when the keeper is closed."""
        loop = asyncio.get_running_loop()
        task = self._flights.get(loop)
        if task is not None and not task.done():
            return task
        if self._closed:
            return None
        for other in [*self._flights, *self._timers]:  # another thread may change them meanwhile
            if other.is_closed():
                self._flights.pop(other, None)
                self._timers.pop(other, None)
        flight = Flight(self._plan, reason, f"{self._owner}.{next(self._numbers)}")
        # Its own context: the flight outlives the call that started it and must not carry that call's request or span.
        task = loop.create_task(flight.run(), name="wxmp-token-flight", context=contextvars.Context())
        self._flights[loop] = task
        task.add_done_callback(self._landed)
        return task

    def _landed(self, task: asyncio.Task[None]) -> None:
        loop = task.get_loop()
        if self._flights.get(loop) is task:
            del self._flights[loop]
        # Fetched here, so that nobody is told that it was never retrieved.
        if not task.cancelled():
            task.exception()

    async def _wait_for(self, task: asyncio.Task[None] | None, patience: float) -> WxmpError | None:
        """Wait for a flight; return the error it ended with, if any."""
        if task is None:
            return ConfigError("the client is closed: make a new one", field="client")
        # Not `await task`: a cancelled waiter would take the flight down for all others.
        done, _ = await asyncio.wait({task}, timeout=max(patience, 0.0))
        if not done:
            return self._too_late()
        if task.cancelled():  # by aclose(), or by a loop that shuts down
            return None
        error = task.exception()
        if error is None or isinstance(error, WxmpError):
            return error
        raise error

    def _look_later(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        timer = self._timers.pop(loop, None)
        if timer is not None:
            timer.cancel()
        if not self._closed:
            self._timers[loop] = loop.call_later(seconds, self._flight, context=contextvars.Context())

    def _recent_error(self) -> WxmpError | None:
        """The last failure, while it makes no sense to ask again."""
        return self._state.last_error if self._clock() < self._state.quiet_until else None

    def _too_late(self) -> WxmpError:
        last = self._state.last_error
        return last or TimedOutError("no token in time", endpoint=self._endpoint, maybe_acted=False)


def _raise_again(error: WxmpError) -> NoReturn:
    """Raise a waiter's own copy of the error."""
    own = again(error)
    raise own from own.__cause__


def _is_final(error: WxmpError) -> bool:
    """Tell whether waiting is pointless."""
    if isinstance(error, APIError):
        return isinstance(error, DeadTokenError) or is_permanent(error.errcode)
    return not isinstance(error, TransportError | ReplyError)


_KEEPERS: Final[weakref.WeakSet[TokenKeeper]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for keeper in list(_KEEPERS):
        keeper._start_process()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
