"""Messages per second of a bulk send with its journal (SQLite, on the disk), against the bare client.

Both send to the same server at the same concurrency, in turns, from the same process; the server is a process of its
own and takes a message after 40 ms, which is quick for the platform over the internet. The rows without a wait show
what remains when the machine's processors are the limit and nothing else. Then two processes share one journal and
one list of recipients, where one had it alone before.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks._broadcast_worker import worker
from benchmarks._message_server import running
from benchmarks._report import Row, compared, run

if TYPE_CHECKING:
    from benchmarks._broadcast_worker import Worker

#: Messages of one round, by the server's milliseconds and the messages in flight.
ROUNDS: Final = {
    40: {1: 100, 20: 1500, 50: 3000},
    0: {1: 1500, 20: 3000, 50: 3000},
}
#: Messages that two processes share.
SHARED: Final = 4000
SHARED_CONCURRENCY: Final = 20


def one(worker: Worker, messages: int, concurrency: int, journal: str = "") -> float:
    """Return messages per second."""
    worker.start(first=0, messages=messages, concurrency=concurrency, journal=journal)
    done = worker.finish()
    if done["sent"] != messages:
        raise RuntimeError(f"{done['sent']} of {messages} were sent: this would measure something else")
    return messages / done["wall"]


def together(workers: list[Worker], messages: int, journal: str) -> float:
    """Return messages per second of all."""
    started = time.perf_counter()
    for each in workers:
        each.start(first=0, messages=messages, concurrency=SHARED_CONCURRENCY, journal=journal)
    sent = sum(each.finish()["sent"] for each in workers)
    if sent != messages:
        raise RuntimeError(f"{sent} of {messages} were sent: this would measure something else")
    return messages / (time.perf_counter() - started)


def measure(quick: bool) -> list[Row]:
    """Send in turns."""
    rounds, part = (1, 10) if quick else (3, 1)
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        number = 0

        def fresh() -> str:
            nonlocal number
            number += 1
            return str(folder / f"{number}.db")

        for delay, amounts in ROUNDS.items():
            url = stack.enter_context(running(delay))
            sender = stack.enter_context(worker(url))
            for concurrency, messages in amounts.items():
                messages = max(messages // part, concurrency)
                ours: list[float] = []
                bare: list[float] = []
                for _ in range(rounds):
                    bare.append(one(sender, messages, concurrency))
                    ours.append(one(sender, messages, concurrency, fresh()))
                rows.append(
                    Row(
                        claim=f"bulk send, messages/s, {concurrency} at a time, server takes {delay} ms",
                        unit="/s",
                        peer_name="the bare client",
                        ratio_at_least=0.9 if delay else None,
                        **compared(ours, bare),
                    )
                )
            if delay:
                pair = [sender, stack.enter_context(worker(url))]
                messages = SHARED // part
                alone = []
                both = []
                for _ in range(rounds):
                    alone.append(together(pair[:1], messages, fresh()))
                    both.append(together(pair, messages, fresh()))
                rows.append(
                    Row(
                        claim=f"two processes on one journal, messages/s, {SHARED_CONCURRENCY} at a time each",
                        unit="/s",
                        peer_name="one process",
                        ratio_at_least=1.7,
                        **compared(both, alone),
                    )
                )
    return rows


if __name__ == "__main__":
    raise SystemExit(run("broadcast_rate", measure))
