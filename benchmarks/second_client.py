"""What a second client in the process costs, up to the point where it could open a TLS connection.

Every sample is a process of its own: it makes one client, then times a second one for another account. The TLS context
is part of it, although ours is only made when the first connection needs it: httpx makes one per client.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks._report import Row, compared, run
from benchmarks._worker import clean_environment

ROOT: Final = Path(__file__).parents[1]

OURS: Final = """
import json, time
from wxmp import Client
from wxmp._transport import _ssl_context

def ready(appid):
    started = time.perf_counter()
    client = Client(appid, "0123456789abcdef0123456789abcdef")
    context = _ssl_context()
    return time.perf_counter() - started, client, context

first, kept, context = ready("wx0000000000000001")
second, other, same = ready("wx0000000000000002")
if context is not same:
    raise SystemExit("two TLS contexts")
print(json.dumps([first * 1000, second * 1000]))
"""
HTTPX: Final = """
import json, time
import httpx

def ready():
    started = time.perf_counter()
    client = httpx.AsyncClient()
    return time.perf_counter() - started, client

first, kept = ready()
second, other = ready()
print(json.dumps([first * 1000, second * 1000]))
"""


def sample(program: str) -> tuple[float, float]:
    """Return the milliseconds of the first and the second client of a new process."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    first, second = json.loads(done.stdout)
    return first, second


def measure(quick: bool) -> list[Row]:
    """Take samples in turns."""
    ours, peer = [], []
    for _ in range(2 if quick else 15):
        ours.append(sample(OURS))
        peer.append(sample(HTTPX))
    first = [pair[0] for pair in ours]
    second = [pair[1] for pair in ours]
    return [
        Row(
            claim="a second Client in the process",
            unit="ms",
            peer_name="httpx",
            at_most=1.0,
            **compared(second, [pair[1] for pair in peer]),
        ),
        Row(
            claim="the first Client, TLS context included",
            unit="ms",
            ours=statistics.median(first),
            peer_name="httpx",
            peer=statistics.median([pair[0] for pair in peer]),
            rounds=first,
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(run("second_client", measure))
