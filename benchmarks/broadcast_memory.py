"""Memory of a bulk send to a million recipients.

The whole engine and its journal (SQLite, on the disk); only the call of the platform is left out: a stub takes its
place and answers at once, so that this does not take hours. The recipients come from a generator, as they would from a
file or from the platform. Resident memory is what an operator sees.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from benchmarks._broadcast_worker import openid
from benchmarks._report import Row, run
from benchmarks.webhook_memory import resident
from wxmp.broadcast import Pace, Recipient, SQLiteJournal
from wxmp.broadcast.delivery import Message
from wxmp.broadcast.engine import Run
from wxmp.broadcast.records import RunKey

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPIENTS: Final = 1_000_000
#: Results between two looks at the memory.
EVERY: Final = 10_000
LIMIT_MIB: Final = 5.0
KEY: Final = RunKey("wx0123456789abcdef", "benchmark")


@attrs.define
class StubSender:
    """Takes every message at once."""

    deduplicates: bool = True
    fingerprint: str = "benchmark"
    endpoint: str = "POST /benchmark"
    sent: int = 0

    async def prepare(self, recipient: Recipient) -> Message | None:
        """Make nothing of it."""
        return Message(recipient)

    async def send(self, openid: str, message: Message, client_msg_id: str) -> int | None:
        """Give it a number."""
        self.sent += 1
        await asyncio.sleep(0)
        return self.sent


def recipients(number: int) -> Iterator[Recipient]:
    """Make recipients one after the other, with a field as from a table."""
    for index in range(number):
        yield Recipient(openid(index), {"name": f"某{index}"})


async def watch(number: int, path: Path) -> tuple[list[float], int]:
    """Send to so many; return the memory as it went, and how many were sent."""
    sender = StubSender()
    async with SQLiteJournal(path) as journal:
        seen = [resident()]
        made = Run(KEY, recipients(number), sender, journal, Pace())
        done = 0
        async for _ in made:
            done += 1
            if done % EVERY == 0:
                seen.append(resident())
        seen.append(resident())
    return seen, sender.sent


def measure(quick: bool) -> list[Row]:
    """Send and look."""
    number = 20_000 if quick else RECIPIENTS
    with tempfile.TemporaryDirectory() as folder:
        seen, sent = asyncio.run(watch(number, Path(folder) / "journal.db"))
    if sent != number:
        raise RuntimeError(f"{sent} of {number} were sent: this would measure something else")
    return [
        Row(
            claim=f"memory above the start, {number:,} recipients",
            unit="MiB",
            ours=max(seen) - seen[0],
            rounds=seen,
            at_most=LIMIT_MIB,
        )
    ]


if __name__ == "__main__":
    raise SystemExit(run("broadcast_memory", measure))
