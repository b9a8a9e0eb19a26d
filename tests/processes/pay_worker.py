"""One worker process that takes notices of WeChat Pay: uvicorn, and Redis to share them with the others.

Run as ``python -m tests.processes.pay_worker '{...settings...}'``. It prints its port, writes the beginning and the end
of every handler to a file, and stops when stdin closes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import threading

import attrs
import uvicorn

from tests.pay.notices import Merchant
from wxmp.pay._certificates import PayKeys
from wxmp.pay.notifications import Notifications
from wxmp.pay.notify_records import PaymentSucceeded
from wxmp.webhook.dedupe_redis import RedisDedupe

#: A handler works in steps: a process that is stopped for a while does not get on with it meanwhile.
STEP = 0.1


@attrs.frozen(kw_only=True)
class Settings:
    """What a worker is told."""

    public_pem: str
    redis: str
    journal: str


def make_notifications(settings: Settings) -> Notifications:
    shop = Merchant()
    keys = PayKeys(
        mchid=shop.mchid,
        api_v3_key=shop.api_v3_key,
        public_key=settings.public_pem,
        public_key_id=shop.public_key_id,
    )
    notifications = Notifications(keys, dedupe=RedisDedupe(settings.redis), deadline=2.5, drain=1.0)
    journal = os.open(settings.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, label: str) -> None:
        os.write(journal, f"{what} {label} {os.getpid()}\n".encode())

    @notifications.on(PaymentSucceeded)
    async def work(event: PaymentSucceeded) -> None:
        label, seconds = (event.resource.attach or "").split()
        note("start", label)
        for _ in range(round(float(seconds) / STEP)):
            await asyncio.sleep(STEP)
        note("end", label)

    return notifications


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    app = make_notifications(Settings(**json.loads(sys.argv[1]))).asgi()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="info", log_config=None, access_log=False))

    def end_with_stdin() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_stdin, daemon=True).start()
    print(listening.getsockname()[1], flush=True)
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
