"""Instructions per call, counted by valgrind's callgrind: the same figure on a busy machine and on an idle one.

Method: one process warms up and then makes N calls, another one 2N; the difference divided by N is a call, and
everything that happens once (start, imports, warm-up, end) has cancelled out. Both run with ``PYTHONHASHSEED=0`` and
Python's default allocator. After warming up, ``gc.freeze()`` takes what exists by then out of the collector's sight in
every way alike: whether one more full collection falls into the longer run would otherwise decide the last digits.
The server is another process and is not counted, nor is what the system does for a call.
"""

from __future__ import annotations

import asyncio
import gc
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks._report import NotInstalledError
from benchmarks._ways import ASYNCHRONOUS, with_wechatpy
from benchmarks._worker import clean_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT: Final = Path(__file__).parents[1]
#: Python specialises code that has run a few times; nothing that is counted may be part of that.
WARM_UP: Final = 50
#: Seconds for one counted process: some fifty times what it takes without valgrind.
PATIENCE: Final = 600
_COLLECTED: Final = re.compile(r"Collected : (\d+)")


def instructions(way: str, url: str, calls: int) -> float:
    """Return the instructions of one call, from runs of ``calls`` and twice as many."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise NotInstalledError("valgrind is missing: apt-get install valgrind")
    counter = (valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null")
    environment = clean_environment() | {"PYTHONHASHSEED": "0"}
    environment.pop("PYTHONMALLOC", None)
    processes = [
        subprocess.Popen(
            [*counter, sys.executable, "-m", "benchmarks._callgrind", way, url, str(number)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (calls, 2 * calls)
    ]
    try:
        totals = [_total(process) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return (totals[1] - totals[0]) / calls


def _total(process: subprocess.Popen[str]) -> int:
    _, said = process.communicate(timeout=PATIENCE)
    found = _COLLECTED.search(said)
    if process.returncode or found is None:
        raise RuntimeError(f"valgrind counted nothing:\n{said[-3000:]}")
    return int(found[1])


async def repeat(call: Callable[[], Awaitable[object]], calls: int) -> None:
    """Be the counted process."""
    for _ in range(WARM_UP):
        await call()
    gc.collect()
    gc.freeze()
    for _ in range(calls):
        await call()


async def main(way: str, url: str, calls: int) -> None:
    """Run one asynchronous way."""
    from benchmarks.layer import without_transport

    ways = {**ASYNCHRONOUS, "layer": without_transport}
    async with ways[way](url) as call:
        await repeat(call, calls)


def main_blocking(url: str, calls: int) -> None:
    """Run wechatpy."""
    with with_wechatpy(url, 1) as call:
        for _ in range(WARM_UP):
            call()
        gc.collect()
        gc.freeze()
        for _ in range(calls):
            call()


if __name__ == "__main__":
    _, chosen, address, count = sys.argv
    if chosen == "wechatpy":
        main_blocking(address, int(count))
    else:
        asyncio.run(main(chosen, address, int(count)))
