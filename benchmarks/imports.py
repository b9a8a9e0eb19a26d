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
from pathlib import Path
from typing import Final

from benchmarks._report import Row, compared, run
from benchmarks._worker import clean_environment

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
_PROGRAM: Final = """
import json, sys, time
sys.modules["click"] = None
started = time.process_time()
{statement}
seconds = time.process_time() - started
print(json.dumps([seconds * 1000, [name for name in {unwanted!r} if name in sys.modules]]))
"""


def sample(statement: str) -> tuple[float, list[str]]:
    """Return the milliseconds of an import in a new process, and what of the unwanted it has loaded."""
    environment = clean_environment()
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(statement=statement, unwanted=UNWANTED)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    milliseconds, loaded = json.loads(done.stdout)
    return milliseconds, loaded


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
            claim=f"modules loaded of {', '.join(UNWANTED)}" + (f": {', '.join(sorted(loaded))}" if loaded else ""),
            unit="",
            ours=len(loaded),
            at_most=0,
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(run("imports", measure))
