"""One way of calling, in a process of its own: its CPU time is nobody else's.

    python -m benchmarks._worker wxmp 100 http://127.0.0.1:8000

reads a number of calls from each line of its standard input, makes them, and prints CPU and wall seconds as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._report import NOT_INSTALLED, NotInstalledError
from benchmarks._ways import ASYNCHRONOUS, drive, drive_threads, with_wechatpy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


class Worker:
    """The process, seen from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def measure(self, calls: int) -> tuple[float, float]:
        """Make ``calls`` calls; return CPU and wall seconds of all."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with {self._process.wait(10)}")
        cpu, wall = json.loads(line)
        return cpu, wall


def clean_environment() -> dict[str, str]:
    """Return our environment without proxies: they would come between a peer and the server."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@contextmanager
def worker(way: str, concurrency: int, url: str) -> Iterator[Worker]:
    """Start a worker and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._worker", way, str(concurrency), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=clean_environment(),
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            if process.wait(10) == NOT_INSTALLED:
                raise NotInstalledError(f"{way} is missing: pip install --group bench")
            raise RuntimeError(f"the worker for {way} did not start")
        try:
            yield Worker(process)
        finally:
            process.stdin.close()


async def obey(way: str, concurrency: int, url: str) -> None:
    """Make calls as told, in one event loop."""
    loop = asyncio.get_running_loop()
    async with ASYNCHRONOUS[way](url) as call:
        await drive(call, 2 * concurrency, concurrency)
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await drive(call, int(line), concurrency)), flush=True)


def obey_with_threads(concurrency: int, url: str) -> None:
    """Make calls as told, in threads."""
    with with_wechatpy(url, concurrency) as call:
        drive_threads(call, 2 * concurrency, concurrency)
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(drive_threads(call, int(line), concurrency)), flush=True)


if __name__ == "__main__":
    _, chosen, number, address = sys.argv
    try:
        if chosen in ASYNCHRONOUS:
            asyncio.run(obey(chosen, int(number), address))
        else:
            obey_with_threads(int(number), address)
    except NotInstalledError:
        sys.exit(NOT_INSTALLED)
