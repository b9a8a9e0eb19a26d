"""Tokens of one process, and the rules of the contract in Python.

``Record`` decides what :class:`~wxmp.tokens.store.TokenStore` promises. It has no lock, no clock and no I/O:
whoever holds it brings those along. :class:`MemoryTokenStore` keeps records in a dict, ``FileTokenStore`` in files.
``RedisTokenStore`` has the same rules in Lua, because they must run where the data is.

All times of a record are whole milliseconds of the store's own clock.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._beijing import AHEAD, DAY
from wxmp.errors import ConfigError
from wxmp.tokens.store import (
    FORCED_GAP,
    FORCED_PER_DAY,
    LIFE_MAX,
    VALUE_MAX,
    FailureState,
    Lease,
    LeaseReason,
    LeaseStatus,
    ReplacementBudget,
    StoredToken,
    TokenKey,
    TokenRecord,
    TokenStore,
    check_token_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemoryTokenStore"]

MS: Final = 1000
DAY_MS: Final = DAY * MS
#: The platform's day begins at midnight in Beijing.
BEIJING_MS: Final = AHEAD * MS
#: Longest lease, in seconds. It has to end far below the 300 s for which a replaced token still works; and when the
#: clock of a store steps back (failover to a replica), this bounds for how long nobody gets a lease.
LEASE_MAX: Final = 300.0
#: Fences and generations above this are damage. Well inside what a double (Lua, JavaScript) counts exactly.
NUMBER_MAX: Final = 4_000_000_000_000_000
CODE_MAX: Final = 1_000_000_000
TEXT_MAX: Final = 128


@attrs.frozen
class Now:
    """One moment: on the store's clock, and on the wall clock that decides which day it is in Beijing. In ms."""

    clock: int
    wall: int

    def day(self, moment: int) -> int:
        """Return the number of the Beijing day that ``moment`` (store's clock) belongs to."""
        return (self.wall - (self.clock - moment) + BEIJING_MS) // DAY_MS

    @property
    def until_midnight(self) -> int:
        """Milliseconds until the next day begins in Beijing."""
        return DAY_MS - (self.wall + BEIJING_MS) % DAY_MS


def milliseconds(seconds: object, *, field: str, most: float = LIFE_MAX) -> int:
    """Return ``seconds`` in whole milliseconds, held between 0 and ``most``."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds):
        raise ConfigError(f"{field} must be a number of seconds", field=field)
    return round(min(max(seconds, 0.0), most) * MS)


def whole(number: object, *, field: str, least: int = 0) -> int:
    """Return ``number`` if it can be a fence or a generation."""
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= NUMBER_MAX:
        raise ConfigError(f"{field} must be a whole number from {least} to {NUMBER_MAX}", field=field)
    return number


def error_code(code: object) -> int:
    """Return ``code`` if it can be an errcode of the platform (they are small, and -1 is one)."""
    if isinstance(code, bool) or not isinstance(code, int) or abs(code) > CODE_MAX:
        raise ConfigError("code must be a whole number", field="code")
    return code


def short_text(text: object, *, field: str, empty: bool = True) -> str:
    """Return ``text`` if it is short and printable: owners and fingerprints stand in records that people read."""
    if not isinstance(text, str) or len(text) > TEXT_MAX or not text.isprintable() or not (text or empty):
        raise ConfigError(f"{field} must be printable text of at most {TEXT_MAX} characters", field=field)
    return text


def token_value(value: str) -> str:
    """Return ``value`` if it can be a token. The error never shows it."""
    if not check_token_value(value):
        raise ConfigError(f"value must be 1 to {VALUE_MAX} printable ASCII characters without blanks", field="value")
    return value


@attrs.frozen
class LeaseRequest:
    """The checked arguments of :meth:`TokenStore.lease`, times in milliseconds."""

    owner: str
    ttl: int
    expect: int
    hint: int
    reason: LeaseReason
    credential: str
    #: Size of the bucket for ``DEAD``; 0 when there is no limit.
    burst: int
    refill: int

    @classmethod
    def of(
        cls,
        *,
        owner: str,
        ttl: float,
        expect: int,
        hint: int,
        reason: LeaseReason,
        credential: str,
        budget: ReplacementBudget | None,
    ) -> LeaseRequest:
        """Check what a caller handed in; :class:`~wxmp.errors.ConfigError` names the argument at fault."""
        length = milliseconds(ttl, field="ttl", most=math.inf) if ttl != math.inf else 0
        if not 0 < length <= LEASE_MAX * MS:
            raise ConfigError(f"ttl must be more than 0 and at most {LEASE_MAX:.0f} s", field="ttl")
        return cls(
            owner=short_text(owner, field="owner", empty=False),
            ttl=length,
            expect=whole(expect, field="expect"),
            hint=whole(hint, field="hint"),
            reason=LeaseReason(reason),
            credential=short_text(credential, field="credential"),
            burst=budget.burst if budget else 0,
            refill=max(1, milliseconds(budget.refill, field="budget")) if budget else 0,
        )


@attrs.define
class Record:
    """One stored record and the rules by which it changes. Field names are those in Redis and in the file."""

    #: Token; empty when there is none, or none that can be read.
    v: str = attrs.field(default="", repr=False)
    gen: int = 0
    life: int = 0
    exp: int = 0
    #: Lease: owner, end, fence.
    lo: str = ""
    lu: int = 0
    lf: int = 0
    #: Last fence handed out.
    fence: int = 0
    #: Last error: code, end of the cool-down, failures in a row, fingerprint of the credential it came with.
    ec: int = 0
    eu: int = 0
    ef: int = 0
    es: str = ""
    #: Replacement budget: what is left, counted at this time. ``rt`` None: never used, the bucket is full.
    rb: int = 0
    rt: int | None = None
    #: Last forced refresh (None: never), and how many there were on its day.
    fa: int | None = None
    fn: int = 0

    def token(self, now: Now) -> StoredToken | None:
        """Return the token if there is one and it has not ended."""
        # A clock that stepped back must not make a token live longer than was promised for it.
        left = min(self.exp - now.clock, self.life)
        if not self.v or left <= 0:
            return None
        return StoredToken(value=self.v, generation=self.gen, life=self.life / MS, left=left / MS)

    def _failure(self, now: Now) -> FailureState:
        return FailureState(code=self.ec, count=self.ef, cool_down=max(self.eu - now.clock, 0) / MS)

    def _other_credential(self, credential: str) -> bool:
        return bool(self.es and credential) and self.es != credential

    def read(self, now: Now) -> TokenRecord:
        """See :meth:`TokenStore.read`."""
        return TokenRecord(
            token=self.token(now),
            failure=self._failure(now) if self.eu > now.clock else None,
            lease_left=max(self.lu - now.clock, 0) / MS,
        )

    def lease(self, request: LeaseRequest, now: Now) -> Lease:
        """See :meth:`TokenStore.lease`: the order of the checks is part of the promise."""
        token = self.token(now)
        if token is not None and token.generation != request.expect:
            return Lease(LeaseStatus.CHANGED, token=token)
        if self._cools(request, now):
            failure = self._failure(now)
            return Lease(LeaseStatus.COOLING, wait=failure.cool_down, token=token, failure=failure)
        if self.lu > now.clock and self.lo != request.owner:
            return Lease(LeaseStatus.BUSY, wait=(self.lu - now.clock) / MS, token=token)
        wait = self._spend(request, now)
        if wait > 0:
            return Lease(LeaseStatus.LIMITED, wait=wait / MS, token=token)
        self.fence = max(self.fence + 1, self.gen + 1, now.clock, request.hint + 1)
        self.lo, self.lu, self.lf = request.owner, now.clock + request.ttl, self.fence
        failed = self.ef > 0 and not self._other_credential(request.credential)
        return Lease(LeaseStatus.HELD, fence=self.fence, token=token, failure=self._failure(now) if failed else None)

    def _cools(self, request: LeaseRequest, now: Now) -> bool:
        if self.eu <= now.clock or request.reason is LeaseReason.OPERATOR:
            return False
        if self.lu > now.clock and self.lo == request.owner:
            return False
        if self._other_credential(request.credential):
            return False
        held_off = self.ec == 0 and self.ef == 0
        return not held_off or request.reason is LeaseReason.DUE

    def _spend(self, request: LeaseRequest, now: Now) -> int:
        """Take one from the allowance of the reason; return the ms to wait if there is none, 0 if it was taken."""
        if request.reason is LeaseReason.DEAD and request.burst:
            return self._spend_replacement(request, now.clock)
        if request.reason is LeaseReason.FORCED:
            return self._spend_forced(now)
        return 0

    def _spend_replacement(self, request: LeaseRequest, now: int) -> int:
        level, counted = (request.burst, now) if self.rt is None else (self.rb, self.rt)
        # Counted in a future that a clock stepped back from: go on from here, or the refill would stand still.
        counted = min(counted, now)
        gained = (now - counted) // request.refill
        level += gained
        counted += gained * request.refill
        if level >= request.burst:
            level, counted = request.burst, now
        self.rb, self.rt = level, counted
        if level < 1:
            return request.refill - (now - counted)
        self.rb = level - 1
        return 0

    def _spend_forced(self, now: Now) -> int:
        gap = round(FORCED_GAP * MS)
        made = 0
        wait = 0
        if self.fa is not None:
            self.fa = min(self.fa, now.clock)
            wait = max(gap - (now.clock - self.fa), 0)
            made = self.fn if now.day(self.fa) == now.day(now.clock) else 0
        if made >= FORCED_PER_DAY:
            wait = max(wait, now.until_midnight)
        if wait == 0:
            self.fa, self.fn = now.clock, made + 1
        return wait

    def commit(self, now: Now, *, fence: int, value: str, life: int, hold_off: int) -> bool:
        """See :meth:`TokenStore.commit`."""
        if fence <= self.gen:
            return False
        self.v, self.gen, self.life, self.exp = value, fence, life, now.clock + life
        self.fence = max(self.fence, fence)
        self.ec, self.ef, self.es = 0, 0, ""
        self.eu = now.clock + hold_off if hold_off else 0
        if self.lf == fence:
            self._end_lease()
        return True

    def fail(self, now: Now, *, owner: str, fence: int, code: int, cool_down: int, credential: str) -> None:
        """See :meth:`TokenStore.fail`."""
        # A lease that ran out but that nobody took over is still this one: its holder knows best what went wrong.
        if self.lo != owner or self.lf != fence:
            return
        self._end_lease()
        if cool_down:
            before = 0 if self._other_credential(credential) else self.ef
            self.ec, self.ef, self.es, self.eu = code, before + 1, credential, now.clock + cool_down

    def seed(self, now: Now, *, value: str, generation: int, life: int, left: int) -> bool:
        """See :meth:`TokenStore.seed`."""
        if left <= 0 or (self.v and self.gen >= generation):
            return False
        self.v, self.gen, self.life, self.exp = value, generation, life, now.clock + min(left, life)
        self.fence = max(self.fence, generation)
        return True

    def _end_lease(self) -> None:
        self.lo, self.lu, self.lf = "", 0, 0


class MemoryTokenStore(TokenStore):
    """Tokens in the memory of one process, shared by its event loops and threads.

    For a single process, tests and scripts. Several worker processes need ``RedisTokenStore``, or ``FileTokenStore``
    on one host: each of them with its own memory would kill the others' tokens.

    A forked child goes on with a copy of what its parent knew.
    """

    name = "memory"

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        """Start empty.

        Args:
            clock: Seconds that only grow; all times of the store.
            wall: Seconds since 1970; decides when the day of the forced refreshes ends (midnight in Beijing).
        """
        self._clock = clock
        self._wall = wall
        self._records: dict[TokenKey, Record] = {}
        self._lock = threading.Lock()
        _STORES.add(self)

    def __repr__(self) -> str:
        return f"MemoryTokenStore({len(self._records)} records)"

    def _now(self) -> Now:
        return Now(clock=int(self._clock() * MS), wall=int(self._wall() * MS))

    def _record(self, key: TokenKey) -> Record:
        return self._records.setdefault(key, Record())

    async def read(self, key: TokenKey) -> TokenRecord:
        """See :meth:`TokenStore.read`."""
        with self._lock:
            record = self._records.get(key)
            return record.read(self._now()) if record is not None else TokenRecord()

    async def lease(
        self,
        key: TokenKey,
        *,
        owner: str,
        ttl: float,
        expect: int,
        hint: int = 0,
        reason: LeaseReason = LeaseReason.DUE,
        credential: str = "",
        budget: ReplacementBudget | None = None,
    ) -> Lease:
        """See :meth:`TokenStore.lease`."""
        request = LeaseRequest.of(
            owner=owner, ttl=ttl, expect=expect, hint=hint, reason=reason, credential=credential, budget=budget
        )
        with self._lock:
            return self._record(key).lease(request, self._now())

    async def commit(self, key: TokenKey, *, fence: int, value: str, life: float, hold_off: float = 0.0) -> bool:
        """See :meth:`TokenStore.commit`."""
        whole(fence, field="fence", least=1)
        token_value(value)
        lives = milliseconds(life, field="life")
        pause = milliseconds(hold_off, field="hold_off")
        with self._lock:
            return self._record(key).commit(self._now(), fence=fence, value=value, life=lives, hold_off=pause)

    async def fail(
        self, key: TokenKey, *, owner: str, fence: int, code: int = 0, cool_down: float = 0.0, credential: str = ""
    ) -> None:
        """See :meth:`TokenStore.fail`."""
        short_text(owner, field="owner")
        short_text(credential, field="credential")
        error_code(code)
        pause = milliseconds(cool_down, field="cool_down")
        with self._lock:
            self._record(key).fail(
                self._now(), owner=owner, fence=fence, code=code, cool_down=pause, credential=credential
            )

    async def seed(self, key: TokenKey, *, value: str, generation: int, life: float, left: float) -> bool:
        """See :meth:`TokenStore.seed`."""
        whole(generation, field="generation", least=1)
        token_value(value)
        lives = milliseconds(life, field="life")
        rest = milliseconds(left, field="left")
        with self._lock:
            return self._record(key).seed(self._now(), value=value, generation=generation, life=lives, left=rest)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held the old one


_STORES: Final[weakref.WeakSet[MemoryTokenStore]] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_STORES):
        store._after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
