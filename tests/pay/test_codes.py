"""The table of error codes: spellings, verdicts, and nothing left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

import wxmp
from wxmp.pay._codes import CODES, fold, lookup

FOLDER = Path(os.environ.get("WXMP_REFERENCE", Path(wxmp.__file__).parents[2] / "shared" / "reference"))
FILE = FOLDER / "pay.yaml"


def reference() -> list[Any]:
    if not FILE.is_file():
        reason = f"no pay.yaml: set WXMP_REFERENCE to its folder (looked into {FOLDER.name})"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="absent")]
    found = yaml.safe_load(FILE.read_text(encoding="utf-8"))["errors"]
    return [pytest.param(entry, id=entry["code"]) for entry in found]


@pytest.mark.parametrize("entry", reference())
def test_the_table_is_the_reference(entry: dict[str, Any]) -> None:
    """Each documented code, in each of its spellings, has the documented verdict under its newer name."""
    for spelling in (entry["code"], *entry["aliases"], entry["code"].lower()):
        for status in entry["http"]:
            found = lookup(spelling, status)
            assert (found.code, found.verdict) == (entry["code"], entry["retry"])


@pytest.mark.skipif(not FILE.is_file(), reason="no pay.yaml")
def test_the_table_has_no_codes_of_its_own() -> None:
    """No code stands in the table that stands in no document."""
    assert set(CODES) == {entry.values[0]["code"] for entry in reference()}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ORDERPAID", "ORDER_PAID"),
        ("SYSTEMERROR", "SYSTEM_ERROR"),
        ("order_not_exists", "ORDERNOTEXIST"),
        ("REFUNDNOTEXIST", "REFUND_NOT_EXISTS"),
        ("USER_PAYING", "USERPAYING"),
    ],
)
def test_folding(one: str, other: str) -> None:
    """Both spellings of a code are one code."""
    assert fold(one) == fold(other)
    assert lookup(one, 400) is lookup(other, 400)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NEW_CODE", 400, ("NEW_CODE", "never")),
        ("NEW_CODE", 403, ("NEW_CODE", "never")),
        ("NEW_CODE", 500, ("NEW_CODE", "same")),
        ("NEW_CODE", 429, ("NEW_CODE", "slow")),
        ("", 502, ("SERVICE_UNAVAILABLE", "same")),
        ("", 503, ("SERVICE_UNAVAILABLE", "same")),
        ("", 504, ("", "same")),
        ("", 403, ("", "never")),
        ("", 302, ("", "never")),
        ("ERROR", 500, ("ERROR", "never")),
        ("OPENID_MISMATCH", 500, ("OPENID_MISMATCH", "never")),
    ],
)
def test_unknown_codes_are_judged_by_their_status(code: str, status: int, expected: tuple[str, str]) -> None:
    """A code nobody knows passes with 5xx and is final with 4xx; a known one rules over its status."""
    found = lookup(code, status)
    assert (found.code, found.verdict) == expected
