"""The canned platform, every answer as late as its argument says (milliseconds).

A whole client cannot ask for a delay in its query, so here the server decides.

    python -m benchmarks._slow_server 40      # prints its port, ends with its standard input
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._server import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


class SlowPlatform(Platform):
    """Answers late."""

    delay = 0.0

    def answer_to(self, line: bytes) -> None:
        """Answer after the delay; statistics come at once."""
        if b"/_stats" in line or not self.delay:
            super().answer_to(line)
            return
        Platform.requests += 1
        asyncio.get_running_loop().call_later(self.delay, self.send)


async def serve(milliseconds: int) -> None:
    """Serve until standard input ends."""
    SlowPlatform.delay = milliseconds / 1000
    loop = asyncio.get_running_loop()
    server = await loop.create_server(SlowPlatform, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running(milliseconds: int = 0) -> Iterator[str]:
    """Run the server in its own process and give its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._slow_server", str(milliseconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def connections(url: str) -> int:
    """Ask the server how many connections it has seen, without the one that asks."""
    without_proxies = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with without_proxies.open(f"{url}/_stats", timeout=10) as answer:
        return int(json.load(answer)["connections"]) - 1


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
