"""How soon a bulk send that ended half-way sends again.

The journal (SQLite, on the disk) holds the first half of a million recipients and 40 that were in flight when the
process was killed. Then the same list is read from its start. The time runs from the first step of the iteration to
the first message.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks._broadcast_worker import openid
from benchmarks._report import Row, run
from benchmarks.broadcast_memory import KEY, StubSender, recipients
from wxmp.broadcast import Outcome, Pace, Result, SQLiteJournal
from wxmp.broadcast.engine import Run

if TYPE_CHECKING:
    from wxmp.broadcast.delivery import Message

RECIPIENTS: Final = 1_000_000
IN_FLIGHT: Final = 40
#: Recipients that the journal is filled with in one step.
STEP: Final = 5_000
LIMIT_SECONDS: Final = 2.0


class Timed(StubSender):
    """Notes when the first message goes out."""

    first: float = 0.0

    async def send(self, openid: str, message: Message, client_msg_id: str) -> int | None:
        """Give it a number."""
        self.first = self.first or time.perf_counter()
        return await super().send(openid, message, client_msg_id)


async def fill(path: Path, number: int) -> None:
    """Write a run down that was killed half-way."""
    async with SQLiteJournal(path) as journal:
        await journal.begin(KEY, fingerprint=StubSender().fingerprint)
        for start in range(0, number // 2, STEP):
            names = [openid(index) for index in range(start, min(start + STEP, number // 2))]
            await journal.exchange(KEY, owner="dead", lease=0.0, claims=names)
            results = [Result(name, Outcome.ACCEPTED, start + index) for index, name in enumerate(names)]
            await journal.exchange(KEY, owner="dead", lease=0.0, results=results)
        names = [openid(number // 2 + index) for index in range(IN_FLIGHT)]
        await journal.exchange(KEY, owner="dead", lease=0.0, claims=names)


async def resume(path: Path, number: int) -> float:
    """Go on, and return the seconds to the first message."""
    sender = Timed()
    async with SQLiteJournal(path) as journal:
        started = time.perf_counter()
        async with Run(KEY, recipients(number), sender, journal, Pace()) as made:
            async for _ in made:
                break
    return sender.first - started


def measure(quick: bool) -> list[Row]:
    """Fill a journal and go on with it."""
    number = 20_000 if quick else RECIPIENTS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        asyncio.run(fill(path, number))
        rounds = [asyncio.run(resume(path, number)) for _ in range(1 if quick else 3)]
    return [
        Row(
            claim=f"a half-done run of {number:,} is continued: seconds to the first message",
            unit="s",
            ours=max(rounds),
            rounds=rounds,
            at_most=LIMIT_SECONDS,
        )
    ]


if __name__ == "__main__":
    raise SystemExit(run("broadcast_resume", measure))
