"""One process that sends template messages: with the bare client, or as a bulk send with its journal.

    python -m benchmarks._broadcast_worker http://127.0.0.1:8000

reads a job from each line of its standard input, as JSON, and prints what came of it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._ways import warm_client
from benchmarks._worker import clean_environment
from wxmp.broadcast import Pace, TemplateMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp import Client

ROOT = Path(__file__).parents[1]
TEMPLATE_ID = "ngqIpbwh8bUfcSsECmogfXcV14J0tQlEpBO27izEYtY"
DATA = {"thing1": "订单已发货", "time2": "2025-11-11 10:00"}


def openid(number: int) -> str:
    """Return an openid of the usual shape."""
    return f"oABCD{number:023d}"


async def send_bare(client: Client, numbers: range, concurrency: int) -> int:
    """Send with so many tasks and nothing else."""
    left, send, sent = iter(numbers), client.template.send, 0

    async def worker() -> None:
        nonlocal sent
        for number in left:
            await send(openid(number), template_id=TEMPLATE_ID, data=DATA)
            sent += 1

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return sent


async def send_run(client: Client, numbers: range, concurrency: int, journal: str) -> int:
    """Send as a bulk send."""
    run = client.broadcast.template(
        map(openid, numbers),
        TemplateMessage(DATA),
        name="benchmark",
        template_id=TEMPLATE_ID,
        journal=journal,
        pace=Pace(concurrency=concurrency),
    )
    return (await run.run()).done


async def obey(url: str) -> None:
    """Do one job after the other."""
    loop = asyncio.get_running_loop()
    async with warm_client(url) as client:
        await send_bare(client, range(200), 50)
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            job: dict[str, Any] = json.loads(line)
            numbers = range(job["first"], job["first"] + job["messages"])
            started = time.perf_counter(), time.process_time()
            if job["journal"]:
                sent = await send_run(client, numbers, job["concurrency"], job["journal"])
            else:
                sent = await send_bare(client, numbers, job["concurrency"])
            wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
            print(json.dumps({"sent": sent, "wall": wall, "cpu": cpu}), flush=True)


class Worker:
    """The process, seen from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, **job: object) -> None:
        """Give it a job."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def finish(self) -> dict[str, float]:
        """Wait until the job is done."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with {self._process.wait(10)}")
        done: dict[str, float] = json.loads(line)
        return done


@contextmanager
def worker(url: str) -> Iterator[Worker]:
    """Start a worker and end it."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._broadcast_worker", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=clean_environment(),
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("a worker did not start")
        try:
            yield Worker(process)
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(obey(sys.argv[1]))
