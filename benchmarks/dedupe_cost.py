"""What exactly-once costs a delivery: the time in memory, the round trips to Redis.

In memory a delivery pays for the text that identifies a push and its digest, for looking up the request among those
seen before, for claiming the push, and for storing the answer. The store is full from the start, so that every delivery
also evicts one: that is how a busy service lives.

Redis is a real one, and says itself how often it was asked: commands from outside of scripts, and reads from its
connections, which are the round trips. Counted is what had come in when the handler began; the connection and the
script were there before. What comes after it, storing the answer, is shown beside.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks._report import Row, run
from benchmarks._webhook_pushes import APPID, ENCODING_AES_KEY, OPENID, TOKEN, encrypted_pushes
from tests.redis_server import RedisServer
from wxmp.webhook import MemoryDedupe, RedisDedupe, TextMessage, Webhook
from wxmp.webhook.parsing import identity, read_push

if TYPE_CHECKING:
    from wxmp.webhook import Push

ANSWER: Final = b"<xml>" + b"x" * 250 + b"</xml>"
#: What the webhook asks for.
LEASE: Final = 3.0
KEEP: Final = 60.0
WINDOW: Final = 300.0
#: Entries of the store.
FULL: Final = 10_000
#: Deliveries over which commands are counted.
COUNTED: Final = 1_000


def messages(first: int, count: int) -> list[Push]:
    """Return so many different messages."""
    return [
        read_push(
            {
                "ToUserName": "gh_3c884a361561",
                "FromUserName": OPENID,
                "CreateTime": "1790000000",
                "MsgType": "text",
                "Content": "你好，请问今天几点开门？",
                "MsgId": str(23_456_789_000_000_000 + number),
            }
        )
        for number in range(first, first + count)
    ]


def key_of(push: Push) -> str:
    """Return the key as the webhook makes it."""
    return f"{APPID}:{hashlib.sha256(identity(push).encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def time_keys(pushes: list[Push]) -> tuple[float, list[str]]:
    """Return the microseconds that a key takes, and the keys."""
    started = time.process_time()
    keys = [key_of(push) for push in pushes]
    return (time.process_time() - started) / len(pushes) * 1e6, keys


async def time_store(store: MemoryDedupe, keys: list[str]) -> float:
    """Return the microseconds that the store takes for a delivery."""
    replays = [f"{APPID}:{hashlib.sha256(key.encode()).hexdigest()[:32]}" for key in keys]
    started = time.process_time()
    for key, replay in zip(keys, replays, strict=True):
        claim = await store.begin(key, replay=replay, replay_for=WINDOW, lease=LEASE, keep=KEEP)
        await store.finish(key, fence=claim.fence, answer=ANSWER, keep=KEEP, taken=True)
    return (time.process_time() - started) / len(keys) * 1e6


async def time_memory(rounds: int, times: int) -> tuple[list[float], list[float]]:
    """Time both parts in a full store, in turns."""
    store = MemoryDedupe(max_entries=FULL)
    await time_store(store, [key_of(push) for push in messages(0, FULL)])
    done = FULL
    making: list[float] = []
    asking: list[float] = []
    for _ in range(rounds):
        microseconds, keys = time_keys(messages(done, times))
        done += times
        making.append(microseconds)
        asking.append(await time_store(store, keys))
    if not FULL / 2 <= len(store) <= FULL:  # it drops its older half at once
        raise RuntimeError("the store is not full, or more than that: this would measure something else")
    return making, asking


class Questions:
    """Asks the server how often it was asked, over one connection of its own."""

    def __init__(self, url: str) -> None:
        import redis

        self._redis = redis.Redis.from_url(url)
        self._asked = 0

    def look(self) -> tuple[int, int]:
        """Return the reads from connections and the scripts run so far; these questions not counted."""
        stats: dict[str, Any] = self._redis.info("stats", "commandstats")  # type: ignore[assignment, unused-ignore]
        self._asked += 1
        scripts = sum(stats[name]["calls"] for name in ("cmdstat_eval", "cmdstat_evalsha") if name in stats)
        return stats["total_reads_processed"] - self._asked, scripts

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


async def count_redis(url: str, deliveries: int) -> list[tuple[int, int, int, int]]:
    """Return per delivery: reads and scripts when the handler began, reads and scripts at its end."""
    questions = Questions(url)
    hook = Webhook(token=TOKEN, encoding_aes_key=ENCODING_AES_KEY, appid=APPID, dedupe=RedisDedupe(url))
    seen: list[tuple[int, int]] = []

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> str:
        seen.append(questions.look())
        return message.content

    counted = []
    for push in encrypted_pushes(deliveries):
        seen.clear()
        before = questions.look()
        answer = await hook.answer("POST", push.query, push.body)
        after = questions.look()
        if answer.status != 200 or len(seen) != 1:
            raise RuntimeError("a push was not handled: this would count something else")
        (reads, scripts), *_ = seen
        counted.append((reads - before[0], scripts - before[1], after[0] - reads, after[1] - scripts))
    await hook.aclose()
    questions.close()
    return counted[1:]  # the first one connects and loads the script


def measure(quick: bool) -> list[Row]:
    """Time and count."""
    rounds, times = (2, 100) if quick else (25, 2_000)
    making, asking = asyncio.run(time_memory(rounds, times))
    both = [key + store for key, store in zip(making, asking, strict=True)]
    with RedisServer() as server:
        counted = asyncio.run(count_redis(server.url, 1 + (20 if quick else COUNTED)))
    reads, scripts, later_reads, _ = (max(each) for each in zip(*counted, strict=True))
    fewest = min(each[0] for each in counted)
    if fewest != 1:
        raise RuntimeError(f"a delivery came to its handler after {fewest} round trips: the counter counts otherwise")
    most = f"most of {len(counted):,} deliveries"
    return [
        Row(claim="dedupe in memory, per delivery", unit="us", ours=statistics.median(both), at_most=5.0, rounds=both),
        Row(claim="of it: begin and finish", unit="us", ours=statistics.median(asking), rounds=asking),
        Row(claim="of it: the key of the push", unit="us", ours=statistics.median(making), rounds=making),
        Row(claim=f"Redis round trips before the handler, {most}", unit="", ours=reads, at_most=1),
        Row(claim=f"Redis scripts before the handler, {most}", unit="", ours=scripts, at_most=1),
        Row(claim=f"Redis round trips after the handler, {most}", unit="", ours=later_reads, at_most=1),
    ]


if __name__ == "__main__":
    raise SystemExit(run("dedupe_cost", measure))
