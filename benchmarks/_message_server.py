"""A platform that takes every template message, after as many milliseconds as its argument says.

    python -m benchmarks._message_server 0      # prints its port, ends with its standard input

``GET /_stats`` tells how many connections and requests there were.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._server import Platform, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
#: The platform's numbers are as long as this.
FIRST_MSGID = 2_398_264_000_000_000_000


class MessagePlatform(Platform):
    """Gives each message a number of its own."""

    delay = 0.0
    taken = 0

    def answer_to(self, line: bytes) -> None:
        """Take a message; statistics come at once."""
        if b"/_stats" in line:
            super().answer_to(line)
            return
        Platform.requests += 1
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.send)
        else:
            self.send()

    def send(self) -> None:
        """Say that it is taken."""
        if not self.transport.is_closing():
            MessagePlatform.taken += 1
            number = FIRST_MSGID + MessagePlatform.taken
            self.transport.write(reply(b'{"errcode":0,"errmsg":"ok","msgid":%d}' % number))


async def serve(milliseconds: int) -> None:
    """Serve until standard input ends."""
    MessagePlatform.delay = milliseconds / 1000
    loop = asyncio.get_running_loop()
    server = await loop.create_server(MessagePlatform, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running(milliseconds: int = 0) -> Iterator[str]:
    """Run the server in its own process and give its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._message_server", str(milliseconds)],
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


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
