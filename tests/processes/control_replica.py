"""One replica of a control server: uvicorn, one account, and a store that it may share with others.

Run as ``python -m tests.processes.control_replica '{...settings...}'``; it prints ``ready`` and stops with its stdin.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading

import attrs
import uvicorn

from tests.processes.worker import make_store
from wxmp import Client, TokenPolicy
from wxmp.control import ControlKey, ControlServer


@attrs.frozen(kw_only=True)
class Settings:
    """What a replica is told. The key is here as its id and its hash."""

    appid: str
    secret: str
    platform: str
    store: str
    channel: str
    policy: dict[str, float]
    key_id: str
    key_digest: str
    port: int


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    settings = Settings(**json.loads(sys.argv[1]))
    client = Client(
        settings.appid,
        settings.secret,
        base_url=settings.platform,
        token_store=make_store(settings.store),
        token_channel=settings.channel,  # type: ignore[arg-type]
        token_policy=TokenPolicy(**settings.policy),  # type: ignore[arg-type]
    )
    key = ControlKey(
        "workers",
        settings.key_id,
        settings.key_digest,
        appids={settings.appid},  # type: ignore[arg-type]
        may_see_status=True,
        per_minute=100_000,
    )
    # The protocol is named, or asyncio leaves Nagle's algorithm on and every answer takes 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", settings.port))
    listening.listen(1024)
    config = uvicorn.Config(ControlServer([client], [key]), log_config=None, access_log=False)
    server = uvicorn.Server(config)

    def end_with_stdin() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_stdin, daemon=True).start()
    print("ready", flush=True)
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
