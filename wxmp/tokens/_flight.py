"""One look into the store and, if need be, one refresh under a lease."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from wxmp._log import log_fields
from wxmp._redact import Secret
from wxmp.config import TokenPolicy
from wxmp.errcodes import lookup
from wxmp.errors import (
    APIError,
    DeadTokenError,
    RateLimitError,
    ReplyError,
    TimedOutError,
    TokenStoreUnavailable,
    TransportError,
    WxmpError,
    api_error,
)
from wxmp.tokens._guard import StoreDownError, StoreGuard
from wxmp.tokens._report import Reporter
from wxmp.tokens._state import HOLD_OFF, STABLE, TokenState
from wxmp.tokens.store import Lease, LeaseReason, LeaseStatus, ReplacementBudget

if TYPE_CHECKING:
    from wxmp.tokens.store import FailureState, TokenRecord

__all__ = ["Fetch", "Flight", "FlightPlan", "Grant", "cool_down_after", "is_permanent"]

logger: logging.Logger = logging.getLogger("wxmp.token")

#: While a cool-down runs, a process without a token looks into the store at most this often, in seconds.
QUIET: Final = 1.0
#: Waiting for another process's refresh without a token: first and longest pause between two looks, in seconds.
POLL_FIRST: Final = 0.05
POLL_LONGEST: Final = 0.4
POLL_GROWTH: Final = 1.6
#: The stable endpoint returned the dead token: pause before asking again, in seconds.
SAME_AGAIN: Final = (1.0, 2.0)
MINUTE: Final = 60.0

#: Cool-downs after a failed refresh, in seconds: first and longest; they double in between.
_PASSING: Final = (1.0, 30.0)
_PERMANENT: Final = (60.0, 600.0)
#: Permanent ones with a time of their own: people repair an IP list and wait for it; a refusal has a known length.
_COOL_DOWNS: Final = (
    (frozenset({40164, 61004}), 30.0, 300.0),
    (frozenset({89501, 89503}), 60.0, 60.0),
    (frozenset({89506, 89507}), 3600.0, 3600.0),
    (frozenset({45009}), 600.0, 600.0),
)
#: Doublings beyond this make no difference to any of them.
_DOUBLINGS: Final = 10

_DUEL: Final = (
    "Tokens of this AppID die faster than the platform rotates them: another system refreshes it too. Find it (another "
    "SDK, another environment, a script) and let it use the same store, or the stable channel."
)


@attrs.frozen
class Grant:
    """What the platform issued."""

    value: Secret
    #: Seconds until it ends, as the platform said.
    life: float


class Fetch(Protocol):
    """Asks the platform for the credential; raises :class:`~wxmp.errors.WxmpError` when there is none."""

    async def __call__(self, *, force: bool) -> Grant:
        """Ask once. ``force`` (channel ``stable`` only) replaces the current token at once."""
        ...


@attrs.frozen
class FlightPlan:
    """What all flights of one keeper have in common."""

    policy: TokenPolicy
    state: TokenState
    store: StoreGuard
    fetch: Fetch
    #: Method and path that ``fetch`` uses, for errors.
    endpoint: str
    report: Reporter
    sleep: Callable[[float], Awaitable[None]]
    #: Starts a flight after so many seconds even if nobody calls.
    look_later: Callable[[float], None]


class _WithheldError(Exception):
    """The store does not allow a forced refresh now."""

    def __init__(self, error: RateLimitError) -> None:
        super().__init__(error)
        self.error = error


def cool_down_after(code: int, count: int) -> float:
    """Seconds for which nobody asks the platform again after ``count`` failures in a row, the last with ``code``."""
    doublings = min(count - 1, _DOUBLINGS)
    for codes, first, longest in _COOL_DOWNS:
        if code in codes:
            return min(first * 2.0**doublings, longest)
    if is_permanent(code):
        first, longest = _PERMANENT
        return min(first * 2.0**doublings, longest)
    first, longest = _PASSING
    # Spread, so that the processes of a fleet do not come back in step.
    return min(first * 2.0**doublings, longest) * random.uniform(0.75, 1.0)


def is_permanent(code: int) -> bool:
    """Tell whether waiting inside a call is pointless: a person has to act, or a quota has to be filled again.

    0 stands for a failure without a code (network, an unreadable answer): it passes. 40001 is no dead token here: on
    the token endpoints it means a wrong AppSecret.
    """
    return code != 0 and lookup(code).verdict in ("fix", "refuse", "renew")


def code_of(error: WxmpError | None) -> int:
    """The platform's code, 0 when the failure had none."""
    return error.errcode if isinstance(error, APIError) else 0


def _log_mistake(doing: str, error: Exception) -> None:
    # Where it happened, but not what it says: an HTTP client's error can hold an address with the AppSecret in it.
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error(
        "%s failed with %s:\n%s",
        doing,
        type(error).__name__,
        where.rstrip(),
        extra=log_fields("token_mistake", reason=doing, error=type(error).__name__),
    )


class Flight:
    """Runs once; :meth:`run` ends with a usable copy, or raises why there is none."""

    def __init__(self, plan: FlightPlan, reason: LeaseReason, owner: str) -> None:
        self._plan = plan
        self._policy = plan.policy
        self._state = plan.state
        self._store = plan.store
        self._reason = reason
        self._owner = owner
        #: The lease in hand.
        self._held: Lease | None = None
        #: When the last token request began.
        self._asked_at = 0.0

    @property
    def _operator(self) -> bool:
        return self._reason is LeaseReason.OPERATOR

    async def run(self) -> None:
        """Look, and refresh if need be."""
        try:
            try:
                await self._fly()
            except StoreDownError as down:
                await self._without_store(down.__cause__)
        except asyncio.CancelledError:
            await self._give_back()
            raise
        except WxmpError as error:
            await self._give_back()
            self._pace(error)
            raise
        except Exception as error:  # noqa: BLE001 - a mistake, here or in a callable of the user's
            _log_mistake(f"looking after the token of {self._store.key.appid}", error)
            await self._give_back()
            failure = WxmpError(f"the token could not be looked after: {type(error).__name__}")
            self._pace(failure)
            raise failure from None

    async def _give_back(self) -> None:
        """Stopped while holding the lease: give it back, so that nobody waits for its end."""
        if self._held is not None:
            await self._store.give_back(owner=self._owner, fence=self._held.fence)

    def _pace(self, error: WxmpError) -> None:
        """A copy that still works is served meanwhile, and the next call does not start the same all over again."""
        if self._state.usable and self._state.clock() >= self._state.next_look:
            self._note(error, HOLD_OFF, 0.0)

    async def _fly(self) -> None:
        asked_at = self._state.clock()
        expect = await self._settle(await self._store.read(), asked_at=asked_at)
        if self._state.usable and not self._state.due and not self._operator:
            self._state.rest()
            return
        await self._compete(expect)

    async def _settle(self, record: TokenRecord, *, asked_at: float) -> int:
        """Make memory and store agree; return the generation that the store holds."""
        token, copy = record.token, self._state.copy
        if copy is not None and self._state.usable and (token is None or token.generation < copy.generation):
            left = copy.end - self._state.clock()
            if await self._store.seed(value=copy.value.reveal(), generation=copy.generation, life=copy.life, left=left):
                self._plan.report("seeded", generation=copy.generation, seconds=left)
                return copy.generation
            asked_at = self._state.clock()
            token = (await self._store.read()).token
        if token is None:
            return 0
        if self._state.adopt(token, asked_at=asked_at):
            self._plan.report("adopted", generation=token.generation, seconds=token.left)
        return token.generation

    async def _compete(self, expect: int) -> None:
        """Try for the lease until there is a token, a reason to stop, or no time left."""
        state = self._state
        started, pause, waited, changed = state.clock(), POLL_FIRST, False, False
        while True:
            if not self._operator:
                # It may have died since the flight began, or a living one was adopted since.
                self._reason = LeaseReason.DEAD if state.copy_is_dead else LeaseReason.DUE
            lease = await self._lease(expect, self._reason)
            expect = lease.token.generation if lease.token is not None else expect
            if lease.status is LeaseStatus.HELD:
                await self._refresh(lease, expect)
                break
            if self._content_with(lease):
                break
            if lease.status is LeaseStatus.LIMITED:
                raise self._exhausted(lease.wait)
            if lease.status is LeaseStatus.COOLING and lease.failure is not None and lease.failure.count:
                raise self._cooling(lease.failure)
            if state.clock() - started >= self._policy.wait_timeout:
                raise TimedOutError("another process holds the lease", endpoint=self._plan.endpoint, maybe_acted=False)
            if lease.status is not LeaseStatus.CHANGED or changed:
                waited = True
                await self._plan.sleep(min(pause * random.uniform(0.75, 1.25), max(lease.wait, POLL_FIRST)))
                pause = min(pause * POLL_GROWTH, POLL_LONGEST)
            changed = lease.status is LeaseStatus.CHANGED
        if waited:
            self._plan.report("lease_wait", seconds=state.clock() - started)

    def _content_with(self, lease: Lease) -> bool:
        """Tell whether the copy will do although the lease was not had, and for how long."""
        state = self._state
        if not state.usable:
            return False
        if lease.status is LeaseStatus.CHANGED:
            if state.due and not self._operator:
                return False
            state.rest()
            return True
        if self._operator:
            return False
        # Busy: look again soon. Cooling: nobody may ask before its end.
        busy = lease.status is LeaseStatus.BUSY
        state.rest(max(min(lease.wait, QUIET) if busy else lease.wait, POLL_FIRST))
        return True

    def _cooling(self, failure: FailureState) -> WxmpError:
        """The error that somebody of the fleet met, told again."""
        last = self._state.last_error
        if isinstance(last, APIError | TransportError | ReplyError) and code_of(last) == failure.code:
            error: WxmpError = last  # this process met it itself and knows the message
            if isinstance(error, TransportError | ReplyError):
                error = error.fresh()
                error.maybe_acted = False  # nobody was asked this time
        elif failure.code:
            error = api_error(failure.code, endpoint=self._plan.endpoint, token_request=True)
        else:
            error = TimedOutError(
                f"the last token request got no usable answer, the next one is due in {failure.cool_down:.0f} s",
                endpoint=self._plan.endpoint,
                maybe_acted=False,
            )
        self._state.keep_quiet(error, max(failure.cool_down, POLL_FIRST), most=QUIET)
        return error.fresh()

    def _exhausted(self, wait: float) -> WxmpError:
        """The replacement budget is used up."""
        code = self._state.last_dead_code()
        error = DeadTokenError(errcode=code, endpoint=self._plan.endpoint, advice=_DUEL)
        if not isinstance(self._state.last_error, DeadTokenError):
            logger.warning(
                "another system refreshes AppID %s: %d tokens died before their time, one more is replaced every "
                "%.0f s; the next in %.0f s",
                self._store.key.appid,
                self._policy.replacement_burst,
                self._policy.replacement_refill,
                wait,
                extra=log_fields(
                    "token_duel",
                    appid=self._store.key.appid,
                    channel=self._store.key.channel,
                    errcode=code,
                    seconds=wait,
                    count=self._policy.replacement_burst,
                ),
            )
            self._plan.report("budget_exhausted", seconds=wait, code=code)
        self._state.keep_quiet(error, max(wait, POLL_FIRST), most=QUIET)
        return error

    # ---- as the holder of the lease

    async def _refresh(self, lease: Lease, expect: int) -> None:
        self._held = lease
        started = self._state.clock()
        try:
            grant = await self._obtain(expect)
        except WxmpError as error:
            count = lease.failure.count + 1 if lease.failure is not None else 1
            await self._failed(error, cool_down_after(code_of(error), count), code_of(error), started=started)
        except _WithheldError as withheld:
            # Nothing went wrong at the platform: an operator's wish leaves no trace.
            await self._failed(withheld.error, 0.0, 0, started=started)
        else:
            if grant is None or self._held is None:  # somebody else's token was adopted while we asked
                self._state.rest()
            else:
                await self._commit(self._held, grant)

    async def _obtain(self, expect: int) -> Grant | None:
        """Ask the platform, by the rules of the channel; ``None`` when somebody else's token was adopted instead."""
        if self._store.key.channel != STABLE:
            return await self._fetch(force=False)
        if self._operator:
            return await self._force(expect)
        grant = await self._fetch(force=False)
        if not self._state.is_dead(grant.value):
            return grant
        # A race with somebody else's forced refresh, or a token that died before its time: ask once more.
        await self._plan.sleep(random.uniform(*SAME_AGAIN))
        if not await self._renew(expect, LeaseReason.DUE):
            return None
        grant = await self._fetch(force=False)
        if not self._state.is_dead(grant.value):
            return grant
        try:
            return await self._force(expect)
        except _WithheldError:
            # Nothing newer can be had, and the platform says twice that this is the current token: more likely one path
            # answers 40001 for a reason of its own. Held back, the token would be missing to all others.
            self._state.exhume(grant.value)
            return grant

    async def _force(self, expect: int) -> Grant | None:
        return await self._fetch(force=True) if await self._renew(expect, LeaseReason.FORCED) else None

    async def _renew(self, expect: int, reason: LeaseReason) -> bool:
        """Renew the own lease before another request; False when somebody else's token was adopted instead."""
        lease = await self._lease(expect, reason)
        if lease.status is LeaseStatus.HELD:
            self._held = lease
            return True
        if lease.status is LeaseStatus.CHANGED and self._state.usable:
            self._held = None
            return False
        if lease.status is LeaseStatus.LIMITED:
            refusal = RateLimitError(
                errcode=45009,
                errmsg=f"forced refreshes are limited to 20 a day, 30 s apart; the next one in {lease.wait:.0f} s",
                endpoint=self._plan.endpoint,
                advice="Wait: the limit is the platform's, and it is counted in the token store.",
                scope="day" if lease.wait > MINUTE else "minute",
            )
            raise _WithheldError(refusal)
        raise TimedOutError("the lease was lost to another process", endpoint=self._plan.endpoint)

    async def _fetch(self, *, force: bool) -> Grant:
        self._asked_at = self._state.clock()
        try:
            async with asyncio.timeout(self._policy.request_timeout):
                grant = await self._plan.fetch(force=force)
        except TimeoutError:
            raise TimedOutError(
                f"no answer within {self._policy.request_timeout:g} s", endpoint=self._plan.endpoint
            ) from None
        except WxmpError:
            raise
        except Exception as error:  # noqa: BLE001 - an HTTP client of the user's, the callable with the AppSecret
            # The fleet backs off all the same, or every call would ask again.
            _log_mistake(f"asking for a token of {self._store.key.appid}", error)
            raise TransportError(
                f"the token request failed: {type(error).__name__}", endpoint=self._plan.endpoint
            ) from None
        if self._state.clock() - self._asked_at >= grant.life - self._state.margin(grant.life):
            raise TimedOutError("the token had ended when it arrived", endpoint=self._plan.endpoint)
        return grant

    async def _commit(self, lease: Lease, grant: Grant) -> None:
        elapsed = self._state.clock() - self._asked_at
        text = grant.value.reveal()
        same = lease.token is not None and lease.token.value == text
        hold_off = min(HOLD_OFF, 0.05 * grant.life) if same and self._store.key.channel == STABLE else 0.0
        try:
            accepted = await self._store.commit(
                fence=lease.fence, value=text, life=max(grant.life - elapsed, 0.0), hold_off=hold_off
            )
        except StoreDownError:
            # The token is good, whatever became of the store: keep it, and put it there as soon as it answers.
            self._held = None
            self._keep(grant, lease.fence, reason=str(self._reason), elapsed=elapsed, stored=False)
            self._plan.look_later(max(self._store.pause, POLL_FIRST))
            return
        except asyncio.CancelledError:
            # Nobody knows whether it is stored. It is issued: the next flight finds out, and puts it there.
            self._state.take(grant.value, lease.fence, grant.life, asked_at=self._asked_at, stored=False)
            raise
        self._held = None
        if accepted:
            self._keep(grant, lease.fence, reason=str(self._reason), elapsed=elapsed, stored=True)
            return
        self._plan.report("fenced_out", generation=lease.fence)
        asked_at = self._state.clock()
        expect = await self._settle(await self._store.read(), asked_at=asked_at)
        if self._state.usable:
            self._state.rest()
        else:
            await self._compete(expect)

    def _keep(self, grant: Grant, generation: int, *, reason: str, elapsed: float, stored: bool) -> None:
        self._state.take(grant.value, generation, grant.life, asked_at=self._asked_at, stored=stored)
        self._state.recovered()
        self._state.rest()
        self._plan.report("refreshed", generation=generation, seconds=grant.life, elapsed=elapsed, reason=reason)

    async def _failed(self, error: WxmpError, cool_down: float, code: int, *, started: float) -> None:
        """The platform issued nothing. A token that still works stays; nothing stored is touched."""
        lease, self._held = self._held, None
        elapsed = self._state.clock() - started
        try:
            if lease is not None:
                await self._store.fail(owner=self._owner, fence=lease.fence, code=code, cool_down=cool_down)
            # Somebody may have overtaken us while we were frozen or waiting.
            asked_at = self._state.clock()
            await self._settle(await self._store.read(), asked_at=asked_at)
        except StoreDownError:
            logger.debug(
                "the failed refresh could not be recorded: the store is down",
                extra=log_fields("failure_not_recorded", appid=self._store.key.appid, channel=self._store.key.channel),
            )
        self._note(error, cool_down, elapsed)
        if self._operator or not self._state.usable:
            raise error.fresh() from None

    def _note(self, error: WxmpError, cool_down: float, elapsed: float) -> None:
        self._state.keep_quiet(error, cool_down, most=QUIET)
        self._state.rest(max(cool_down, POLL_FIRST))
        self._plan.report(
            "refresh_failed",
            seconds=cool_down,
            elapsed=elapsed,
            code=code_of(error) or None,
            reason=type(error).__name__,
        )

    async def _lease(self, expect: int, reason: LeaseReason) -> Lease:
        asked_at = self._state.clock()
        budget = None
        if reason is LeaseReason.DEAD and not self._state.replacement_paid:
            budget = ReplacementBudget(burst=self._policy.replacement_burst, refill=self._policy.replacement_refill)
        lease = await self._store.lease(
            owner=self._owner,
            ttl=self._policy.lease,
            expect=expect,
            hint=self._state.highest,
            reason=reason,
            budget=budget,
        )
        if lease.status is LeaseStatus.HELD and reason is LeaseReason.DEAD:
            self._state.replacement_paid = True
        if lease.token is not None and self._state.adopt(lease.token, asked_at=asked_at):
            self._plan.report("adopted", generation=lease.token.generation, seconds=lease.token.left)
        return lease

    # ---- life without the store

    async def _without_store(self, cause: BaseException | None) -> None:
        """The store does not answer: serve what is in memory, else do what the policy says."""
        state = self._state
        wait = max(self._store.pause, POLL_FIRST)
        if state.usable and not self._operator:
            state.rest(wait)
            if state.unstored:  # until it is stored, even if nobody calls
                self._plan.look_later(wait)
            return
        choice = self._policy.on_store_down
        if choice == "auto":
            choice = "local" if self._store.key.channel == STABLE else "error"
        # A forced refresh is counted in the store; without it, one that is not forced would return the same token.
        forced = self._operator and self._store.key.channel == STABLE
        if choice == "error" or self._held is not None or forced:
            what = "a refresh has to wait for it" if state.usable else "there is no usable token in memory"
            unavailable = TokenStoreUnavailable(
                f"the token store cannot be reached, and {what}", store=self._store.name
            )
            unavailable.__cause__ = cause
            state.keep_quiet(unavailable, wait, most=QUIET)
            state.rest(wait)
            raise unavailable from cause
        if state.clock() < state.lonely_until and state.last_error is not None and not self._operator:
            error = state.last_error.fresh()
            state.keep_quiet(error, state.lonely_until - state.clock(), most=QUIET)
            raise error
        started = state.clock()
        try:
            grant = await self._obtain_alone()
        except WxmpError as error:
            # Nobody shares this failure: wait here as a fleet would, and go on looking for the store meanwhile.
            state.lonely_failures += 1
            cool_down = cool_down_after(code_of(error), state.lonely_failures)
            state.lonely_until = state.clock() + cool_down
            self._note(error, cool_down, state.clock() - started)
            raise error.fresh() from None
        # Wall clock, because Redis counts its fences by it: what is stored later must not look older than this.
        generation = max(state.highest + 1, int(time.time() * 1000))
        self._keep(grant, generation, reason="store_down", elapsed=state.clock() - started, stored=False)
        self._plan.look_later(wait)

    async def _obtain_alone(self) -> Grant:
        grant = await self._fetch(force=False)
        if self._state.is_dead(grant.value):
            await self._plan.sleep(random.uniform(*SAME_AGAIN))
            grant = await self._fetch(force=False)
        if self._state.is_dead(grant.value):
            # Forcing is not for a process that cannot see how often others have forced today.
            raise DeadTokenError(errcode=self._state.last_dead_code(), endpoint=self._plan.endpoint)
        return grant
