"""One worker process of a webhook service: uvicorn, FastAPI, a client, and Redis to share pushes with the others.

Run as ``python -m tests.processes.webhook_worker '{...settings...}'``. It prints its port, writes the beginning and the
end of every handler to a file, and stops when stdin closes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import threading
from typing import Any

import attrs
import uvicorn
from fastapi import FastAPI

from wxmp import Client
from wxmp.integrations.fastapi import webhook_route, wxmp_lifespan
from wxmp.webhook.app import Webhook
from wxmp.webhook.dedupe_redis import RedisDedupe
from wxmp.webhook.delivery import DeliveryPolicy
from wxmp.webhook.messages import TextMessage

#: A handler works in steps: a process that is stopped for a while does not get on with it meanwhile.
STEP = 0.25


@attrs.frozen(kw_only=True)
class Settings:
    """What a worker is told."""

    appid: str
    secret: str
    platform: str
    token: str
    key: str
    journal: str
    #: Path of a webhook -> address of its Redis, and what it does without.
    hooks: dict[str, list[str]]


def make_hook(settings: Settings, redis: str, on_store_down: Any) -> Webhook:
    hook = Webhook(
        token=settings.token,
        encoding_aes_key=settings.key,
        appid=settings.appid,
        dedupe=RedisDedupe(redis),
        delivery=DeliveryPolicy(on_store_down=on_store_down),
    )
    journal = os.open(settings.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, label: str) -> None:
        os.write(journal, f"{what} {label} {os.getpid()}\n".encode())

    @hook.on(TextMessage)
    async def work(message: TextMessage) -> str:
        label, seconds = message.content.split()
        note("start", label)
        for _ in range(round(float(seconds) / STEP)):
            await asyncio.sleep(STEP)
        note("end", label)
        return f"answer to {label}"

    return hook


def make_app(settings: Settings) -> FastAPI:
    hooks = {path: make_hook(settings, *rest) for path, rest in settings.hooks.items()}

    def make_client() -> Client:
        return Client(settings.appid, settings.secret, base_url=settings.platform)

    app = FastAPI(
        routes=[webhook_route(path, hook) for path, hook in hooks.items()],
        lifespan=wxmp_lifespan(make_client, webhooks=list(hooks.values())),
    )

    @app.get("/busy")
    async def busy() -> int:
        """How many handlers run and late answers wait."""
        return sum(len(hook._deliveries) for hook in hooks.values())

    return app


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    app = make_app(Settings(**json.loads(sys.argv[1])))
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
