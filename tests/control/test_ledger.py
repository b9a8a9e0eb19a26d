"""What a replica remembers about one value."""

from __future__ import annotations

import pytest

from wxmp.control.ledger import DEATHS_KEPT, Ledger
from wxmp.control.limits import REMEMBERED, Buckets
from wxmp.tokens.store import StoredToken

#: Midnight in Beijing.
MIDNIGHT = 1_700_064_000.0


class Wall:
    """A clock that a test sets."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def token(generation: int, *, left: float = 7200.0, life: float = 7200.0) -> StoredToken:
    return StoredToken(value=f"value-{generation}", generation=generation, life=life, left=left)


@pytest.fixture
def wall() -> Wall:
    return Wall(MIDNIGHT + 3600)


@pytest.fixture
def ledger(wall: Wall) -> Ledger:
    return Ledger(wall=wall)


def test_a_new_generation_is_a_refresh(ledger: Ledger) -> None:
    """However often a value is seen and handed out, it is one refresh."""
    for generation in (1, 1, 2, 2, 2):
        ledger.saw(token(generation))
        ledger.asked("shop", token(generation))
    assert (ledger.refreshes, ledger.refreshes_today, ledger.hand_outs) == (2, 2, 5)
    assert ledger.askers["shop"].count == 5


def test_the_day_ends_at_midnight_in_beijing(ledger: Ledger, wall: Wall) -> None:
    """The platform counts by days of Beijing, and so does the page; a value from yesterday is none of today's."""
    wall.seconds = MIDNIGHT - 60
    ledger.saw(token(1))
    ledger.saw(token(2))
    assert ledger.refreshes_today == 2
    wall.seconds = MIDNIGHT + 60
    assert ledger.refreshes_today == 0
    ledger.saw(token(3, left=7000.0))  # issued 200 s ago
    assert ledger.refreshes_today == 0
    ledger.saw(token(4, left=7190.0))
    assert (ledger.refreshes_today, ledger.refreshes) == (1, 4)


def test_a_death_is_noted_once(ledger: Ledger) -> None:
    """The first who notices is named."""
    ledger.died(token(1), errcode=40001, path="/a", key="first")
    ledger.died(token(1), errcode=42001, path="/b", key="second")
    assert [(death.key, death.path, death.errcode) for death in ledger.deaths] == [("first", "/a", 40001)]
    assert ledger.replacements == 1


def test_deaths_do_not_pile_up(ledger: Ledger) -> None:
    """The last ones are kept."""
    for generation in range(1, 200):
        ledger.died(token(generation), errcode=0, path="", key="shop")
    assert len(ledger.deaths) == DEATHS_KEPT
    assert ledger.deaths[-1].generation == 199
    assert ledger.replacements == 199


@pytest.mark.parametrize(("left", "early"), [(7000.0, 1), (60.0, 1), (5.0, 0), (0.0, 0)])
def test_a_death_at_the_end_proves_nothing(ledger: Ledger, left: float, early: int) -> None:
    """Only a value with a life before it points to a second system, and only for a day."""
    ledger.died(token(1, left=left), errcode=42001, path="", key="shop")
    assert len(ledger.early_deaths()) == early


def test_suspicion_passes(ledger: Ledger, wall: Wall) -> None:
    """After a day without deaths nobody is suspected any more."""
    ledger.died(token(1), errcode=40001, path="", key="shop")
    wall.seconds += 86_401
    assert ledger.early_deaths() == []


def test_one_path_that_notices_all_deaths_is_suspicious(ledger: Ledger, wall: Wall) -> None:
    """Three in a row within a minute each; another path, or a longer time, in between begins anew."""

    def died(generation: int, path: str, after: float = 1.0) -> bool:
        wall.seconds += after
        return ledger.died(token(generation), errcode=40001, path=path, key="shop")

    assert [died(1, "/a"), died(2, "/a"), died(3, "/a")] == [False, False, True]
    assert [died(4, "/b"), died(5, "/a"), died(6, "/a"), died(7, "/a", after=61.0)] == [False] * 4
    assert [died(generation, "") for generation in range(8, 12)] == [False] * 4  # nobody said which


def test_a_bucket_fills_again() -> None:
    """After the first burst the rate is the limit."""
    wall = Wall(0.0)
    buckets: Buckets[str] = Buckets(wall)
    assert [buckets.take("a", 3) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", 3) == pytest.approx(20.0)
    assert buckets.take("b", 3) == 0.0
    wall.seconds += 19.0
    assert buckets.take("a", 3) == pytest.approx(1.0)
    wall.seconds += 1.0
    assert buckets.take("a", 3) == 0.0
    wall.seconds += 1_000_000.0
    assert [buckets.take("a", 3) == 0.0 for _ in range(4)] == [True, True, True, False]


def test_strangers_are_forgotten() -> None:
    """Whoever makes up addresses does not fill the memory."""
    buckets: Buckets[int] = Buckets(Wall(0.0))
    for number in range(REMEMBERED + 500):
        buckets.take(number, 3)
    assert len(buckets._levels) == REMEMBERED
