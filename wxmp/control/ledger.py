"""What happened to one shared value: who asked, how often it was refreshed, when each one died and who noticed."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._beijing import AHEAD, DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.tokens.store import StoredToken

__all__ = ["Asker", "Death", "Ledger"]

#: Deaths that are remembered.
DEATHS_KEPT: Final = 50
#: A path that notices this many deaths in a row within so many seconds is more likely at fault than the values: some
#: answer 40001 to the wrong kind of account.
DEATHS_OF_A_PATH: Final = 3
IN_A_ROW: Final = 60.0
#: A value this close to its end may well be refused, clocks being what they are, in seconds.
AT_ITS_END: Final = 5.0


@attrs.define
class Asker:
    """What one key asked for."""

    count: int = 0
    #: Seconds since 1970 of the last time.
    last: float = 0.0


@attrs.frozen(kw_only=True)
class Death:
    """A value that the platform refused before its time."""

    #: Seconds since 1970.
    at: float
    generation: int
    #: Seconds it had lived, and seconds it had left.
    age: float
    left: float
    #: What the reporter said: the platform's code and the call that was refused; 0 and empty if it said nothing.
    errcode: int
    path: str
    #: Name of the key that reported it.
    key: str


class Ledger:
    """The memory of one replica about one value; nothing in it is secret, nothing of it survives a restart.

    Args:
        wall: Seconds since 1970.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.askers: dict[str, Asker] = {}
        self.deaths: deque[Death] = deque(maxlen=DEATHS_KEPT)
        self.hand_outs: int = 0
        self.replacements: int = 0
        #: Values seen since the start, and those of this day in Beijing, by which the platform counts.
        self.refreshes: int = 0
        self._today = 0
        self._day = 0
        self._generation = 0
        self._dead = 0
        self._row: tuple[str, int, float] = ("", 0, 0.0)

    def asked(self, key: str, token: StoredToken) -> None:
        """Note that a value was handed to a key."""
        self.hand_outs += 1
        asker = self.askers.get(key)
        if asker is None:
            asker = self.askers[key] = Asker()
        asker.count += 1
        asker.last = self._wall()
        if token.generation != self._generation:
            self.saw(token)

    def saw(self, token: StoredToken) -> None:
        """Note the value that is current; a new generation is a refresh, by this replica or another one."""
        if token.generation == self._generation:
            return
        self._generation = token.generation
        issued = self._wall() - (token.life - token.left)
        self.refreshes += 1
        day = _day(self._wall())
        if day != self._day:
            self._day, self._today = day, 0
        if _day(issued) == day:  # one that is from yesterday was counted yesterday
            self._today += 1

    @property
    def refreshes_today(self) -> int:
        """New values of this day in Beijing, as far as this replica has seen."""
        return self._today if _day(self._wall()) == self._day else 0

    @property
    def last_asked(self) -> float:
        """When somebody asked for the last time, in seconds since 1970; 0 if nobody has."""
        return max((asker.last for asker in self.askers.values()), default=0.0)

    def died(self, token: StoredToken, *, errcode: int, path: str, key: str) -> bool:
        """Note that a value was refused; return whether the path is more likely at fault than the value.

        A value is noted once, whoever else notices.
        """
        if token.generation == self._dead:
            return False
        self._dead = token.generation
        now = self._wall()
        self.deaths.append(
            Death(
                at=now,
                generation=token.generation,
                age=max(token.life - token.left, 0.0),
                left=token.left,
                errcode=errcode,
                path=path,
                key=key,
            )
        )
        self.replacements += 1
        before, count, last = self._row
        count = count + 1 if path and path == before and now - last <= IN_A_ROW else 1
        self._row = (path, count, now)
        return count >= DEATHS_OF_A_PATH

    def early_deaths(self) -> list[Death]:
        """Return the deaths of the last 24 hours that came well before the value's end.

        A planned rotation replaces a value first and lets it die later, so the current one never dies of it: a second
        system that fetches, or a person, has ended it.
        """
        since = self._wall() - DAY
        return [death for death in self.deaths if death.at >= since and death.left > AT_ITS_END]


def _day(moment: float) -> int:
    return int((moment + AHEAD) // DAY)
