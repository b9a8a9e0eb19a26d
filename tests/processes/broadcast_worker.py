"""One worker process of a bulk send.

Run as ``python -m tests.processes.broadcast_worker '{...settings...}'``. It prints a line for each result, then the
final count as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import attrs

from wxmp import Client
from wxmp.broadcast import Journal, Pace, SQLiteJournal, TemplateMessage, engine


@attrs.frozen(kw_only=True)
class Settings:
    """What a worker is told."""

    appid: str
    secret: str
    url: str
    #: A path, or the address of a Redis server.
    journal: str
    name: str
    template_id: str
    #: A file with an openid on each line.
    recipients: str
    concurrency: int = 20
    per_second: float | None = None
    lease: float = 3.0
    #: It begins when this file is there.
    gate: str = ""


def open_journal(address: str) -> Journal:
    if address.startswith("redis://"):
        from wxmp.broadcast.redis import RedisJournal

        return RedisJournal(address)
    return SQLiteJournal(address)


async def main(settings: Settings) -> None:
    # Times small enough for a test, in the proportions of the defaults.
    engine.LEASE, engine.HEARTBEAT = settings.lease, settings.lease / 4  # type: ignore[misc]
    openids = Path(settings.recipients).read_text("ascii").split()
    async with (
        # The token of the plain channel is the account's: a worker that starts takes it from no other.
        Client(settings.appid, settings.secret, base_url=settings.url) as client,
        open_journal(settings.journal) as journal,
    ):
        if settings.gate:
            print("ready", flush=True)
            while not Path(settings.gate).exists():
                await asyncio.sleep(0.01)
        run = client.broadcast.template(
            openids,
            TemplateMessage({"thing1": "订单已发货"}),
            name=settings.name,
            template_id=settings.template_id,
            journal=journal,
            pace=Pace(concurrency=settings.concurrency, per_second=settings.per_second),
        )
        async for result in run:
            print(result.outcome, flush=True)
        print(json.dumps({"done": run.progress.done, "earlier": run.progress.earlier}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(sys.argv[1]))))
