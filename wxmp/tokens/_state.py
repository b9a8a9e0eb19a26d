"""What one process knows about a credential: its copy, which values are dead, and what went wrong last."""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._redact import Secret
from wxmp.errors import TokenStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.config import TokenPolicy
    from wxmp.errors import WxmpError
    from wxmp.tokens.store import StoredToken

__all__ = ["HOLD_OFF", "STABLE", "Copy", "TokenState", "again"]

#: The channel whose endpoint returns the same token until its last minutes.
STABLE: Final = "stable"
#: The stable endpoint returned the same token: nobody asks for this long (at most 5 % of its life), in seconds.
HOLD_OFF: Final = 30.0
#: The store's word on when a token ends may differ this much from what is known already, in seconds: the answers took
#: time on their way.
TOLERANCE: Final = 1.0
#: For how long reports about a value are ignored that was refused and is current all the same, in seconds.
CONFIRMED: Final = 60.0
#: Values and paths that are remembered as refused.
REMEMBERED: Final = 32
NEVER: Final = float("-inf")


def again(error: WxmpError) -> WxmpError:
    """Return the error anew, so that each waiter raises its own; only what the store's backend said stays attached.

    One shared instance would grow its traceback with every raise.
    """
    fresh = error.fresh()
    if isinstance(error, TokenStoreError):
        fresh.__cause__ = error.__cause__
    return fresh


@attrs.frozen
class Copy:
    """This process's copy of a token. Instants are on the keeper's clock."""

    value: Secret
    generation: int
    #: Seconds that it was promised to live.
    life: float
    #: From here on a refresh runs beside the traffic.
    soft: float
    #: From here on it is not used.
    hard: float
    end: float


class TokenState:
    """The copy and what belongs to it. Safe to use from the event loops of several threads."""

    def __init__(self, channel: str, policy: TokenPolicy, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.copy: Copy | None = None
        #: Before this instant the copy is handed out without a thought.
        self.next_look = NEVER
        #: Highest generation ever seen: fences keep growing over a lost store.
        self.highest = 0
        #: Last failed refresh; ``None`` after a success.
        self.last_error: WxmpError | None = None
        #: Until this instant the last error is repeated without asking anybody.
        self.quiet_until = NEVER
        #: Until this instant nobody asks the platform, as far as this process knows.
        self.cools_until = NEVER
        #: The store does not have the copy yet.
        self.unstored = False
        #: One of the replacement budget was spent on the copy's death. A failed try costs no second one.
        self.replacement_paid = False
        #: Life without the store: failed requests in a row, and until when not to ask again.
        self.lonely_failures = 0
        self.lonely_until = NEVER
        self._stable = channel == STABLE
        self._policy = policy
        #: Refused values: with which code, and the generation of the copy at that time.
        self._dead: OrderedDict[Secret, tuple[int, int]] = OrderedDict()
        #: The value that the platform calls current although it was refused, and until when to believe that.
        self._confirmed: tuple[Secret | None, float] = (None, NEVER)
        self.reset_lock()

    def reset_lock(self) -> None:
        """Make a new lock: in a forked child the old one may be held by a thread that does not exist."""
        self._lock = threading.Lock()

    @property
    def usable(self) -> bool:
        """Whether the copy can be handed out."""
        copy = self.copy
        return copy is not None and self.clock() < copy.hard and copy.value not in self._dead

    @property
    def due(self) -> bool:
        """Whether there is a reason to refresh."""
        return self.copy is None or self.clock() >= self.copy.soft

    @property
    def copy_is_dead(self) -> bool:
        """Whether the platform refused the copy."""
        return self.copy is not None and self.copy.value in self._dead

    # ---- dead values

    def is_dead(self, value: Secret) -> bool:
        """Tell whether the platform refused this value."""
        return value in self._dead

    def bury(self, value: Secret, code: int) -> None:
        """Remember that the platform refused ``value`` with ``code``."""
        with self._lock:
            self._dead[value] = (code, self.copy.generation if self.copy is not None else self.highest)
            while len(self._dead) > REMEMBERED:
                self._dead.popitem(last=False)
            if self.copy_is_dead:
                self.next_look = NEVER

    def exhume(self, value: Secret) -> None:
        """Forget that ``value`` was refused: the platform calls it current all the same."""
        with self._lock:
            self._exhume(value)

    def _exhume(self, value: Secret) -> None:
        self._dead.pop(value, None)
        self._confirmed = (value, self.clock() + CONFIRMED)

    def is_confirmed(self, value: Secret) -> bool:
        """Tell whether reporting ``value`` dead is of no use at present."""
        confirmed, until = self._confirmed
        return confirmed == value and self.clock() < until

    def last_dead_code(self) -> int:
        """The code of the last refusal."""
        return next(reversed(self._dead.values()), (40001, 0))[0]

    # ---- the copy

    def adopt(self, token: StoredToken, *, asked_at: float) -> bool:
        """Take over what the store holds, unless it is dead or older than the copy. Tells whether it is new here."""
        value = Secret(token.value)
        with self._lock:
            copy = self.copy
            self.highest = max(self.highest, token.generation)
            if token.generation <= self._dead.get(value, (0, 0))[1]:
                return False
            if value in self._dead:  # another process has asked since
                self._exhume(value)
            if copy is not None and copy.value not in self._dead and token.generation < copy.generation:
                return False
            end = asked_at + token.left
            if copy is not None and copy.value == value and copy.generation == token.generation:
                self.unstored = False
                if end > copy.end - TOLERANCE:
                    # Nothing new. A store whose clock stepped back says that more is left than there is.
                    return False
            self._take(value, token.generation, token.life, end)
            new = copy is None or copy.value != value
            if new and self.usable:  # somebody's refresh worked
                self.recovered()
            return new

    def take(self, value: Secret, generation: int, life: float, *, asked_at: float, stored: bool) -> None:
        """Keep a token that the platform issued to this process."""
        with self._lock:
            if self.usable and self.copy is not None and self.copy.generation > generation:
                return  # another event loop was quicker
            self._take(value, generation, life, asked_at + life)
            self.unstored = not stored

    def margin(self, life: float) -> float:
        """Seconds before its end from which a token is not used any more."""
        # Relative to the life, so that short lives leave room for use; half of a tiny one is better than none.
        return min(max(min(self._policy.hard_window, 0.05 * life), 1.0), life / 2)

    def _take(self, value: Secret, generation: int, life: float, end: float) -> None:
        policy = self._policy
        hard = end - self.margin(life)
        if self._stable:
            # Earlier than the overlap before its end the platform returns the same token again: asking would spin.
            jitter = random.uniform(0.0, min(policy.soft_jitter, policy.overlap / 5))
            soft = max(end - policy.overlap + jitter, end - life + min(HOLD_OFF, 0.05 * life))
        else:
            soft = end - min(life / 2, policy.soft_window) + random.uniform(0.0, 0.04 * life)
        self.copy = Copy(value, generation, life, min(soft, hard), hard, end)
        self.highest = max(self.highest, generation)
        self.unstored = False

    def rest(self, seconds: float | None = None) -> None:
        """Serve the copy for a while: until the next check, and for at most ``seconds`` when a refresh has to wait."""
        interval = min(self._policy.check_interval * random.uniform(0.8, 1.2), self._policy.overlap / 5)
        with self._lock:  # or a value that another thread reports dead just now would be handed out
            copy, now = self.copy, self.clock()
            if copy is None or not self.usable:
                self.next_look = NEVER
            elif seconds is not None:
                # However long the cool-down: another process may have had more luck, or an operator may have acted.
                self.next_look = min(now + min(seconds, interval), copy.hard)
            else:
                self.next_look = min(now + interval, copy.soft if now < copy.soft else copy.hard)

    # ---- failures

    def keep_quiet(self, error: WxmpError, seconds: float, *, most: float) -> None:
        """Repeat ``error`` without asking anybody, while the cool-down of ``seconds`` runs but for ``most`` at most."""
        self.last_error = again(error)
        self.cools_until = self.clock() + seconds
        self.quiet_until = self.clock() + min(seconds, most)

    def recovered(self) -> None:
        """A refresh worked."""
        self.last_error = None
        self.quiet_until = NEVER
        self.cools_until = NEVER
        self.replacement_paid = False
        self.lonely_failures = 0
        self.lonely_until = NEVER
