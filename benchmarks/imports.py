"""What importing costs, and what it must not load.

Each sample is a process of its own that takes the CPU time of one import statement; starting Python is not part of it.
Compiled files are allowed and made by a first, uncounted round.

httpx loads its own command line (click, pygments, rich) wherever these happen to be installed, as they are with our
extra ``cli``. A service does not have them, so they are hidden here: that makes both sides faster, the limit harder to
keep, and shows what is our own doing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks._report import Row, compared, run
from benchmarks._worker import clean_environment
from wxmp import Client

ROOT: Final = Path(__file__).parents[1]
#: What no plain import may load.
UNWANTED: Final = ("redis", "cryptography", "rich", "starlette")
STATEMENTS: Final = {
    "wxmp": "import wxmp",
    "client": "from wxmp import Client",
    "httpx": "import httpx",
    "floor": "import httpx, attrs",
    # httpx loads these two when its first client is made.
    "in use": "import asyncio, attrs, httpcore, httpx",
}
#: The families of the client, in its own order.
FAMILIES: Final = tuple(name for name, value in vars(Client).items() if isinstance(value, cached_property))
#: Rounds in which each family is loaded alone; there are many of them.
FAMILY_ROUNDS: Final = 8
_MAKE_CLIENT: Final = "from wxmp import Client; client = Client('wx0123456789abcdef', 'fake-appsecret')"
_PROGRAM: Final = """
import json, sys, time
sys.modules["click"] = None
{before}
started = time.process_time()
{statement}
seconds = time.process_time() - started
print(json.dumps([seconds * 1000, [name for name in {unwanted!r} if name in sys.modules]]))
"""


def sample(statement: str, before: str = "") -> tuple[float, list[str]]:
    """Return the milliseconds of an import in a new process, and what of the unwanted it has loaded.

    What is done ``before`` is not counted.
    """
    environment = clean_environment()
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(before=before, statement=statement, unwanted=UNWANTED)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    milliseconds, loaded = json.loads(done.stdout)
    return milliseconds, loaded


def families(quick: bool) -> list[Row]:
    """Take samples of the first touch of each family alone, and of all of them together."""
    touches = {name: f"client.{name}" for name in FAMILIES}
    touches["all"] = "; ".join(touches.values())
    found: dict[str, list[float]] = {name: [] for name in touches}
    loaded: set[str] = set()
    for number in range(2 if quick else 1 + FAMILY_ROUNDS):
        for name, statement in touches.items():
            milliseconds, unwanted = sample(statement, _MAKE_CLIENT)
            if number:
                found[name].append(milliseconds)
            loaded.update(unwanted)
    together = found.pop("all")
    dear = sorted(found, key=lambda name: -median(found[name]))
    rows = [
        Row(
            claim=f"first touch of client.{name}",
            unit="ms",
            peer_name=f"all {len(FAMILIES)} families",
            **compared(found[name], together),
        )
        for name in dear
    ]
    claim = f"modules loaded by all families of {', '.join(UNWANTED)}"
    return [*rows, Row(claim=claim + _named(loaded), unit="", ours=len(loaded), at_most=0)]


def _named(loaded: set[str]) -> str:
    return f": {', '.join(sorted(loaded))}" if loaded else ""


def measure(quick: bool) -> list[Row]:
    """Take samples in turns."""
    found: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    loaded: set[str] = set()
    for number in range(3 if quick else 22):
        for name, statement in STATEMENTS.items():
            milliseconds, unwanted = sample(statement)
            if number:  # the first round compiles
                found[name].append(milliseconds)
            if name in ("wxmp", "client"):
                loaded.update(unwanted)
    return [
        Row(
            claim="import wxmp",
            unit="ms",
            peer_name="import httpx",
            ratio_at_most=0.3,
            **compared(found["wxmp"], found["httpx"]),
        ),
        Row(
            claim="from wxmp import Client",
            unit="ms",
            peer_name="import httpx, attrs",
            ratio_at_most=1.25,
            **compared(found["client"], found["floor"]),
        ),
        Row(
            claim="from wxmp import Client",
            unit="ms",
            peer_name=STATEMENTS["in use"],
            **compared(found["client"], found["in use"]),
        ),
        Row(
            claim=f"modules loaded of {', '.join(UNWANTED)}" + _named(loaded),
            unit="",
            ours=len(loaded),
            at_most=0,
        ),
        *families(quick),
    ]


if __name__ == "__main__":
    raise SystemExit(run("imports", measure))
