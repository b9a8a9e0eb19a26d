"""How the processes of ``wxmp demo`` talk to the program that started them: lines of JSON in two pipes."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["read_commands", "say"]


def read_commands(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes]) -> None:
    """Pass the lines of the standard input to the event loop; an empty one says that it ended.

    A thread, because an event loop cannot read a pipe on every system; the bare descriptor, because a thread that waits
    inside a buffered file blocks the end of the interpreter.
    """
    rest = b""
    while block := os.read(0, 1 << 16):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            loop.call_soon_threadsafe(lines.put_nowait, line)
    loop.call_soon_threadsafe(lines.put_nowait, b"")


def say(answer: dict[str, object]) -> None:
    """Write one line of JSON. When nobody listens any more, the input has ended too, and that ends the process."""
    line = f"{json.dumps(answer)}\n".encode()
    with suppress(BrokenPipeError):
        while line:
            line = line[os.write(1, line) :]
