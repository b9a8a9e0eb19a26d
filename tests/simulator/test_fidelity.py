"""The table of what is simulated is complete, and the documentation repeats it."""

from __future__ import annotations

from pathlib import Path

import pytest

from wxmp.simulator.families import ROUTES
from wxmp.simulator.fidelity import FIDELITY, as_markdown, family_of

PAGE = Path(__file__).parents[2] / "docs" / "simulator-coverage.md"


def test_every_endpoint_is_covered():
    """No endpoint answers without saying what it rests on, and no family is listed that answers nothing."""
    assert {family_of(route) for route in ROUTES} == set(FIDELITY)


@pytest.mark.parametrize("name", FIDELITY)
def test_letters_are_known(name):
    """Each family names at least one source for its shape and for its rules, in the order D, F, K, S."""
    for letters in (FIDELITY[name].shape, FIDELITY[name].rules):
        assert letters
        assert letters.split() == [letter for letter in "DFKS" if letter in letters]


def test_the_page_repeats_the_table():
    """``docs/simulator-coverage.md`` is what ``make docs-tables`` writes."""
    assert PAGE.read_text(encoding="utf-8") == as_markdown()
