"""A platform that costs next to nothing: canned JSON over HTTP/1.1 keep-alive, in a process of its own.

``GET /anything?delay=40`` answers after 40 ms. ``GET /_stats`` tells how many connections and requests there were.

    python benchmarks/_server.py      # prints its port, ends with its standard input
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = (
    '{"subscribe":1,"openid":"o6_bmjrPTlm6_2sgVt7hMZOPfL2M","nickname":"","sex":0,"language":"zh_CN","city":"",'
    '"province":"","country":"","headimgurl":"","subscribe_time":1382694957,"unionid":" o6_bmasdasdsad6_2sgVt7hMZOPfL",'
    '"remark":"广州的朋友","groupid":0,"tagid_list":[128,2],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":98765,'
    '"qr_scene_str":""}'
).encode()
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_DELAY = re.compile(rb"[?&]delay=(\d+)")


def reply(body: bytes) -> bytes:
    """Return a whole HTTP answer."""
    return (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Type: application/json; encoding=utf-8\r\n"
        b"Date: Sat, 01 Nov 2025 00:00:00 GMT\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body


class Platform(asyncio.Protocol):
    """One connection. Requests on it come one after the other."""

    connections = 0
    requests = 0
    answer = reply(USER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""
        Platform.connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            self.answer_to(head.partition(b"\r\n")[0])

    def answer_to(self, line: bytes) -> None:
        """Answer at once, or after the delay the query asks for."""
        if b"/_stats" in line:
            self.transport.write(reply(b'{"connections":%d,"requests":%d}' % (Platform.connections, Platform.requests)))
            return
        Platform.requests += 1
        delay = _DELAY.search(line)
        if delay:
            asyncio.get_running_loop().call_later(int(delay[1]) / 1000, self.send)
        else:
            self.send()

    def send(self) -> None:
        """Send the canned answer."""
        if not self.transport.is_closing():
            self.transport.write(self.answer)


async def serve() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Platform, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running() -> Iterator[str]:
    """Run the server in its own process and give its address."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
