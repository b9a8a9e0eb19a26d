"""Nothing of what passes through a webhook is left in logs, errors or keys."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tests.redis_server import RedisServer
from tests.webhook.pushes import AES_KEY, APPID, TOKEN, USER, fields, plain, safe, verification
from wxmp.webhook import (
    DeliveryPolicy,
    MemoryActivityLog,
    MemoryDedupe,
    Push,
    RedisActivityLog,
    RedisDedupe,
    TextMessage,
    Webhook,
)

if TYPE_CHECKING:
    import pytest

SAID = "my number is 4111 1111 1111 1111"
ANSWERED = "your balance is 12.34"


async def play(hook: Webhook) -> list[str]:
    """Let everything happen that can be logged; return the signatures that were used."""
    runs = 0

    @hook.on(TextMessage)
    async def answer(message: TextMessage) -> str:
        nonlocal runs
        runs += 1
        if runs % 2:
            return ANSWERED
        raise ValueError("a handler's own words are its own business")

    @hook.default
    async def other(push: Push, client: Any) -> None:
        return None

    requests = [safe(fields(Content=SAID)) for _ in range(4)]
    requests += [requests[0], requests[0]]  # replays
    requests += [
        plain(fields(Content=SAID)),
        safe(fields(Content=SAID), token="anotherToken"),
        safe(fields(Content=SAID), appid="wxffffffffffffffff"),
        safe(fields(Content=SAID), at=1),
        safe({"nothing": SAID}),
        safe(fields("event", Event="CLICK", EventKey=SAID)),
        (b"", SAID.encode()),
    ]
    for query, body in requests:
        await hook.answer("POST", query, body)
    await hook.answer("GET", verification(SAID))
    await hook.answer("GET", verification(SAID, token="anotherToken"))
    await hook.aclose()
    return [
        part.partition(b"=")[2].decode() for query, _ in requests for part in query.split(b"&") if b"signature" in part
    ]


async def test_the_log_says_nothing_of_users_and_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, through success, failure, refusal and replay: no Token, key, text, answer, openid or signature."""
    hook = Webhook(
        token=TOKEN,
        encoding_aes_key=AES_KEY,
        appid=APPID,
        activity=MemoryActivityLog(),
        delivery=DeliveryPolicy(drain=0.5),
    )
    with caplog.at_level(logging.DEBUG):
        signatures = await play(hook)
    assert "answered 403" in caplog.text
    assert "the handler failed" in caplog.text
    for secret in (TOKEN, AES_KEY, SAID, ANSWERED, USER, "anotherToken", *filter(None, signatures)):
        assert secret not in caplog.text


async def test_redis_keys_name_nobody() -> None:
    """No key in Redis holds an openid, a text or a signature; everything ends by itself."""
    import redis.asyncio

    with RedisServer() as server:
        hook = Webhook(
            token=TOKEN,
            encoding_aes_key=AES_KEY,
            appid=APPID,
            dedupe=RedisDedupe(server.url, timeout=10),
            activity=RedisActivityLog(server.url, appid=APPID, timeout=10),
        )
        logging.getLogger("wxmp.webhook").setLevel(logging.CRITICAL)
        try:
            await play(hook)
        finally:
            logging.getLogger("wxmp.webhook").setLevel(logging.NOTSET)
        async with redis.asyncio.from_url(server.url, decode_responses=True) as client:
            keys = [key async for key in client.scan_iter()]
            lives = [await client.pttl(key) for key in keys]
    assert keys
    assert all(life > 0 for life in lives)
    for secret in (TOKEN, AES_KEY, SAID, ANSWERED, USER):
        assert not [key for key in keys if secret in key]


def test_stores_show_nothing_of_what_they_hold() -> None:
    """The repr of a store has figures only."""
    assert repr(MemoryDedupe()) == "MemoryDedupe(0 pushes, 0 requests)"
    assert USER not in repr(MemoryActivityLog())
