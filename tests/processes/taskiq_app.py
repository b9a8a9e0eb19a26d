"""What the workers of a bulk send over taskiq import, and what starts one: ``taskiq worker …taskiq_app:broker``.

``WXMP_TEST_SETTINGS`` holds the settings. A worker prints its process id when it is ready.
"""

from __future__ import annotations

import json
import os
from typing import Any

import attrs
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

from wxmp import Client
from wxmp.broadcast import Pace, TemplateMessage, engine
from wxmp.broadcast.redis import RedisJournal
from wxmp.integrations import taskiq as integration
from wxmp.integrations.taskiq import BroadcastTask

#: Times small enough for a test, in the proportions of the defaults.
LEASE = 2.0


@attrs.frozen(kw_only=True)
class Settings:
    """What a worker is told."""

    appid: str
    secret: str
    url: str
    redis: str
    per_second: float | None = None
    per_day: int | None = None
    #: Seconds after which the broker gives an unacknowledged share to somebody else.
    idle: float = 600.0
    #: A worker whose code does not have the message yet.
    old: bool = False


def make(settings: Settings) -> tuple[RedisStreamBroker, BroadcastTask]:
    broker = RedisStreamBroker(
        settings.redis,
        consumer_id="0",
        xread_count=1,
        xread_block=200,
        unacknowledged_batch_size=2,
        idle_timeout=int(settings.idle * 1000),
    )
    task = BroadcastTask(
        broker,
        client=lambda: Client(settings.appid, settings.secret, base_url=settings.url),
        journal=lambda: RedisJournal(settings.redis),
        messages={"spring" if settings.old else "autumn": TemplateMessage({"thing1": "订单已发货"})},
        pace=Pace(per_second=settings.per_second, per_day=settings.per_day),
    )
    return broker, task


def __getattr__(name: str) -> Any:
    """Make the broker of a worker when the worker asks for it: a test imports this module too."""
    if name != "broker":
        raise AttributeError(name)
    engine.LEASE, engine.HEARTBEAT = LEASE, LEASE / 4  # type: ignore[misc]
    integration.PASS_WAIT = (0.1, 0.5)  # type: ignore[misc]
    made, _ = make(Settings(**json.loads(os.environ["WXMP_TEST_SETTINGS"])))

    async def ready(_: TaskiqState) -> None:
        print(os.getpid(), flush=True)

    made.add_event_handler(TaskiqEvents.WORKER_STARTUP, ready)
    return made
