"""Memory over a million messages.

One process, one webhook in safe mode with a handler that answers, deduplication and the activity log in memory. Every
message is a push of its own from a user of its own, signed and encrypted: no two of them share anything. They come as
fast as they are answered and the clock is the real one, so nothing expires before the stores are full: it is their
limit by number that has to hold.

That limit is 10,000 here, not 100,000. Tables that things enter at one end and leave at the other are made anew each
time as many things as two or three limits have passed, old and new side by side, and the heap finds its size with the
third or fourth of them; with the default limits that is after 1,200,000 messages, at some 230 MiB, and flat from there.
With these it is before the 300,000th. What memory takes then must not change any more.

Resident memory is what an operator sees. The blocks of Python's allocator beside it know nothing of tables: a leak of
one object for each message would show as 700,000 of them.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Final

import attrs

from benchmarks._report import Row, run
from benchmarks._webhook_pushes import APPID, ENCODING_AES_KEY, TOKEN, encrypted_pushes
from wxmp.webhook import MemoryActivityLog, MemoryDedupe, TextMessage, Webhook

#: Messages before those that count, and with them.
SETTLED: Final = 300_000
MESSAGES: Final = 1_000_000
#: Entries of each store.
LIMIT: Final = 10_000
#: Pushes that exist at a time, beside what the webhook keeps of them.
AT_A_TIME: Final = 1_000
#: Messages between two looks at the memory.
EVERY: Final = 10_000
GROWTH_MIB: Final = 5.0
#: One block for ten messages: how full the stores are just then makes some thousands.
GROWTH_BLOCKS: Final = 70_000


@attrs.frozen
class Memory:
    """What was seen."""

    start: float
    #: Resident MiB, one look after the other: before the messages that count, and during them.
    before: list[float]
    during: list[float]
    #: Blocks of the allocator at the beginning and at the end of the messages that count.
    blocks: tuple[int, int]


def resident() -> float:
    """Return the resident MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def blocks() -> int:
    """Return how many blocks Python has allocated, garbage not counted."""
    gc.collect()
    return sys.getallocatedblocks()


async def feed(hook: Webhook, first: int, last: int) -> list[float]:
    """Answer the messages of these numbers; return the memory as it went."""
    seen: list[float] = []
    for start in range(first, last, AT_A_TIME):
        for push in encrypted_pushes(AT_A_TIME, first=start, users=True):
            answer = await hook.answer("POST", push.query, push.body)
            if answer.status != 200 or not answer.body:
                raise RuntimeError("a message was not answered: this would measure something else")
        if (start + AT_A_TIME) % EVERY == 0 or start + AT_A_TIME >= last:
            seen.append(resident())
    return seen


async def watch(settled: int, messages: int) -> Memory:
    """Feed a webhook and look."""
    dedupe, activity = MemoryDedupe(max_entries=LIMIT), MemoryActivityLog(max_users=LIMIT)
    hook = Webhook(token=TOKEN, encoding_aes_key=ENCODING_AES_KEY, appid=APPID, dedupe=dedupe, activity=activity)

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> str:
        return message.content

    start = resident()
    before = await feed(hook, 0, settled)
    first = blocks()
    during = [resident(), *await feed(hook, settled, messages)]
    expected = min(messages, LIMIT)
    if not expected <= len(dedupe) <= 1.01 * expected:  # it is swept once in a while
        raise RuntimeError(f"the store holds {len(dedupe):,} pushes: this would measure something else")
    memory = Memory(start, before, during, (first, blocks()))
    await hook.aclose()
    return memory


def measure(quick: bool) -> list[Row]:
    """Feed and look."""
    # A smoke run does not fill the stores: its figures say nothing.
    settled, messages = (2_000, 4_000) if quick else (SETTLED, MESSAGES)
    memory = asyncio.run(watch(settled, messages))
    first, last = memory.blocks
    claim = f"from message {settled:,} to {messages:,}"
    return [
        Row(
            claim=f"growth of resident memory {claim}",
            unit="MiB",
            ours=max(memory.during) - memory.during[0],
            rounds=[*memory.before, *memory.during],
            at_most=GROWTH_MIB,
        ),
        Row(claim=f"growth in allocated blocks {claim}", unit="", ours=last - first, at_most=GROWTH_BLOCKS),
        Row(
            claim=f"memory of the full stores, {LIMIT:,} entries each",
            unit="MiB",
            ours=max(memory.during) - memory.start,
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(run("webhook_memory", measure))
