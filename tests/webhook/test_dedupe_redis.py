"""Both stores of deliveries side by side, and the one in Redis against servers that fail and keys that lie."""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import sys
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any

import aiohttp.web
import attrs
import fastapi
import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import NoPermissionError

from tests.moments import quickest
from tests.redis_server import BlackHole, GivenServer, RedisServer, find_server, refusing_port
from tests.tokens.test_redis import LosesOneAnswer, Scripted
from tests.webhook import pushes
from tests.webhook.dedupe_contract import KEEP, KEY, LEASE, DedupeContract
from wxmp.errors import ConfigError, WebhookStoreError
from wxmp.integrations.aiohttp import add_webhook
from wxmp.integrations.fastapi import wxmp_lifespan
from wxmp.webhook import DeliveryPolicy, TextMessage, Webhook
from wxmp.webhook.dedupe import MemoryDedupe
from wxmp.webhook.dedupe_redis import ANSWER_MAX, RedisDedupe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from wxmp.webhook.dedupe import Claim, DedupeStore

PUSH = "wxmp:hook:{wx1}:0a1b2c"
REQUEST = "wxmp:hookr:{wx1}:sig"
ANSWER = b"<xml>what the user is told</xml>"
#: Seconds that a store waits where no failure is wanted: a machine that pauses makes none.
PATIENCE = 40.0
#: The rule that the documentation of the store gives.
ACL = "+eval +evalsha +hmget +hset +hdel +get +set +pexpire +pttl +time"

Server = GivenServer | RedisServer

_AGE = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TYPE', key).ok == 'hash' and redis.call('HEXISTS', key, 'u') == 1 then
    redis.pcall('HINCRBY', key, 'u', -ARGV[1])  -- what is no number stays
  end
  redis.call('PEXPIRE', key, redis.call('PTTL', key) - ARGV[1])
end
"""


def let_age(server: Server, seconds: float) -> None:
    """Let every key grow older: leases and times to live move into the past."""
    server.command("EVAL", _AGE, 0, round(seconds * 1000))


@pytest.fixture(scope="module")
def module_server() -> Iterator[Server]:
    with find_server() as server:
        yield server


@pytest.fixture
def server(module_server: Server) -> Server:
    """A server with an empty database, shared by the tests: do not break it."""
    module_server.flush()
    return module_server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may break."""
    with RedisServer() as server:
        yield server


@contextlib.asynccontextmanager
async def opened(source: Any, **changes: Any) -> AsyncIterator[RedisDedupe]:
    store = RedisDedupe(source, **({"timeout": PATIENCE} | changes))
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
async def store(server: Server) -> AsyncIterator[RedisDedupe]:
    async with opened(server.url) as made:
        yield made


async def begin(store: DedupeStore, replay: str = "wx1:sig", key: str = KEY) -> Claim:
    return await store.begin(key, replay=replay, replay_for=300.0, lease=LEASE, keep=KEEP)


def fields_of(server: Server, name: str = PUSH) -> dict[str, bytes]:
    flat = server.command("HGETALL", name)
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


VERBS: dict[str, Callable[[DedupeStore], Coroutine[Any, Any, Any]]] = {
    "begin": begin,
    "look": lambda store: store.begin(KEY, lease=LEASE, keep=KEEP),
    "extend": lambda store: store.extend(KEY, fence=5, lease=LEASE),
    "finish": lambda store: store.finish(KEY, fence=5, answer=ANSWER, keep=KEEP, taken=False),
    "claim_late": lambda store: store.claim_late(KEY, fence=5),
    "forget": lambda store: store.forget(KEY, fence=5),
}


# --- the contract ----------------------------------------------------------------------------------------------------


class MemorySubject:
    """A store in memory, with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.store = MemoryDedupe(clock=lambda: self.now)

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds


@attrs.define
class RedisSubject:
    """A store in Redis, whose keys grow older when the test says so."""

    store: RedisDedupe
    server: Server

    async def pass_time(self, seconds: float) -> None:
        let_age(self.server, seconds)


class TestMemoryDedupe(DedupeContract):
    """The contract, in memory."""

    @pytest.fixture
    def subject(self) -> MemorySubject:
        return MemorySubject()


class TestRedisDedupe(DedupeContract):
    """The contract, in Redis."""

    @pytest.fixture
    def subject(self, store: RedisDedupe, server: Server) -> RedisSubject:
        return RedisSubject(store, server)

    @pytest.fixture
    async def store(self, server: Server) -> AsyncIterator[RedisDedupe]:
        async with opened(server.url) as made:
            yield made


steps = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from(["a", "b", "c", "d", "e"]), st.sampled_from([5.0, 30.0])),
    st.tuples(st.just("look"), st.sampled_from([5.0, 30.0])),
    st.tuples(st.just("extend"), st.integers(0, 3), st.sampled_from([5.0, 90.0])),
    st.tuples(st.just("finish"), st.integers(0, 3), st.sampled_from([b"", b"x"]), st.booleans()),
    st.tuples(st.just("claim_late"), st.integers(0, 3)),
    st.tuples(st.just("forget"), st.integers(0, 3)),
    st.tuples(st.just("pass"), st.sampled_from([3.5, 17.5, 41.5])),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(steps, min_size=3, max_size=25))
def test_both_stores_tell_the_same_story(module_server: Server, story: list[tuple[Any, ...]]) -> None:
    """Whatever happens in whatever order, memory and Redis say the same."""

    async def tell(subject: MemorySubject | RedisSubject) -> list[Any]:
        store, fences, said = subject.store, [1], list[Any]()
        for step in story:
            fence = fences[max(-1 - step[1], -len(fences))] if isinstance(step[1], int) else 0
            match step:
                case ("begin" | "look", *rest):
                    replay = {"replay": f"wx1:{rest[0]}", "replay_for": 40.0} if step[0] == "begin" else {}
                    claim = await store.begin(KEY, **replay, lease=rest[-1], keep=20.0)
                    if claim.status == "new":
                        assert claim.fence > max(fences)
                        fences.append(claim.fence)
                    owner = fences.index(claim.fence) if claim.status != "replayed" else None
                    said.append((claim.status, owner, claim.delivery, claim.answer, math.ceil(claim.wait)))
                case ("extend", _, lease):
                    said.append(await store.extend(KEY, fence=fence, lease=lease))
                case ("finish", _, answer, taken):
                    said.append(await store.finish(KEY, fence=fence, answer=answer, keep=20.0, taken=taken))
                case ("claim_late", _):
                    said.append(await store.claim_late(KEY, fence=fence))
                case ("forget", _):
                    await store.forget(KEY, fence=fence)
                case (_, seconds):
                    await subject.pass_time(seconds)
        await store.aclose()
        return said

    for _ in range(5):
        module_server.flush()
        began = time.monotonic()
        in_redis = asyncio.run(tell(RedisSubject(RedisDedupe(module_server.url, timeout=PATIENCE), module_server)))
        if time.monotonic() - began < 0.45:
            break
    else:
        return  # half a second of real time makes it another story
    assert asyncio.run(tell(MemorySubject())) == in_redis


# --- the keys --------------------------------------------------------------------------------------------------------


async def test_the_keys_are_what_is_documented(store: RedisDedupe, server: Server) -> None:
    """One hash per push and one string per request, in one slot of a cluster."""
    await begin(store)
    assert sorted(server.command("KEYS", "*")) == [PUSH.encode(), REQUEST.encode()]
    assert server.command("TYPE", REQUEST) == b"string"
    documented = RedisDedupe.__doc__ or ""
    assert "prefix:hook:{appid}:digest" in documented
    assert "prefix:hookr:{appid}:digest" in documented


@pytest.mark.parametrize(
    ("key", "replay", "names"),
    [
        ("wx1:aa", "wx1:bb", ["p:hook:{wx1}:aa", "p:hookr:{wx1}:bb"]),
        ("wx1:aa", "wx2:bb", ["p:hook:{wx1}:aa", "p:hookr:{wx1}:wx2:bb"]),
        ("aa", "bb", ["p:hook:{hook}:aa", "p:hookr:{hook}:bb"]),
        (":aa", ":bb", ["p:hook:{hook}:aa", "p:hookr:{hook}:bb"]),
    ],
)
async def test_the_appid_decides_about_the_slot(server: Server, key: str, replay: str, names: list[str]) -> None:
    """Push and request always share their hash tag, whatever the keys look like."""
    async with opened(server.url, prefix="p") as store:
        await begin(store, replay, key)
    assert sorted(server.command("KEYS", "*")) == [name.encode() for name in names]


async def test_the_fields_are_what_is_documented(store: RedisDedupe, server: Server) -> None:
    """Other programs read the fields, in each state of a push."""
    documented = {"s", "f", "u", "w", "n", "a", "c"}
    before = time.time() * 1000
    claim = await begin(store)
    fields = fields_of(server)
    assert set(fields) == documented - {"a"}
    assert (fields["s"], int(fields["f"]), int(fields["w"]), fields["n"]) == (b"running", claim.fence, 10_000, b"1")
    assert abs(int(fields["u"]) - before - 10_000) < 60_000
    assert abs(claim.fence / 1000 - before) < 60_000
    await store.finish(KEY, fence=claim.fence, answer=ANSWER, keep=KEEP, taken=False)
    fields = fields_of(server)
    assert set(fields) == {"s", "f", "n", "a", "c"}
    assert (fields["s"], fields["a"]) == (b"done", ANSWER)
    await begin(store, "wx1:other")
    assert fields_of(server)["s"] == b"taken"
    server.command("HSET", PUSH, "s", "done")
    await store.claim_late(KEY, fence=claim.fence)
    fields = fields_of(server)
    assert (fields["s"], set(fields)) == (b"late", {"s", "f", "n", "c"})
    await begin(store, "wx1:third", "wx1:ffff")
    await store.forget("wx1:ffff", fence=int(fields_of(server, "wxmp:hook:{wx1}:ffff")["f"]))
    assert set(fields_of(server, "wxmp:hook:{wx1}:ffff")) == {"f", "n"}


async def test_a_prefix_separates_environments(server: Server) -> None:
    """Stores with different prefixes do not see each other's pushes, nor requests."""
    async with opened(server.url) as one, opened(server.url, prefix="staging") as two:
        assert [(await begin(store)).status for store in (one, two)] == ["new", "new"]


async def test_every_key_ends(store: RedisDedupe, server: Server) -> None:
    """After each verb every key has a time to live, and not one of years."""

    def check(least: float, most: float) -> None:
        for name in server.command("KEYS", "*"):
            assert 0 < server.command("PTTL", name) <= 300_000
        assert least < server.command("PTTL", PUSH) / 1000 <= most

    fence = (await begin(store)).fence
    check(50, KEEP)
    assert 290 < server.command("PTTL", REQUEST) / 1000 <= 300
    await store.extend(KEY, fence=fence, lease=100.0)
    check(90, 100)
    await store.forget(KEY, fence=fence)
    check(90, 100)
    fence = (await begin(store, "wx1:2")).fence
    await store.finish(KEY, fence=fence, answer=b"", keep=30.0, taken=False)
    check(20, 30)
    await store.claim_late(KEY, fence=fence)
    check(20, 30)
    server.command("PERSIST", PUSH)
    await begin(store, "wx1:3")
    check(50, KEEP)


# --- many workers ----------------------------------------------------------------------------------------------------


def test_two_workers_race(server: Server) -> None:
    """Two stores in two threads announce the same pushes at once: each push has exactly one owner."""
    claims: list[list[Claim]] = []
    start = threading.Barrier(2, timeout=PATIENCE)

    def worker(name: str) -> None:
        async def compete() -> None:
            async with opened(server.url) as store:
                start.wait()
                claims.append(
                    await asyncio.gather(*(begin(store, f"wx1:{name}{i}", f"wx1:push{i}") for i in range(100)))
                )

        asyncio.run(compete())

    threads = [threading.Thread(target=worker, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for one, two in zip(*claims, strict=True):
        assert sorted([one.status, two.status]) == ["new", "running"]
        assert sorted([one.delivery, two.delivery]) == [1, 2]
        assert one.fence == two.fence


async def test_another_worker_goes_on(server: Server) -> None:
    """What one worker began another takes over, answers and hands out; a request is known to both."""
    async with opened(server.url) as one, opened(server.url) as two:
        old = await begin(one)
        assert (await begin(two)).status == "replayed"
        let_age(server, LEASE + 1)
        new = await begin(two, "wx1:2")
        assert new.status == "new"
        assert not await one.finish(KEY, fence=old.fence, answer=b"old", keep=KEEP, taken=True)
        assert await two.finish(KEY, fence=new.fence, answer=b"new", keep=KEEP, taken=True)
        assert (await begin(one, "wx1:3")).answer == b"new"


async def test_a_fence_rises_after_the_data_was_lost(store: RedisDedupe, server: Server) -> None:
    """An empty server after a restart does not hand out a fence that somebody still holds."""
    fences = []
    for _ in range(20):
        fences.append((await begin(store)).fence)
        server.flush()
    assert fences == sorted(set(fences))


@pytest.mark.parametrize("clear", [True, False])
async def test_a_fence_rises_after_the_clock_stepped_back(store: RedisDedupe, server: Server, clear: bool) -> None:
    """After a failover to a server hours behind, a fence is still higher than the last."""
    fence = (await begin(store)).fence + 7_200_000_000
    server.command("HSET", PUSH, "f", fence)
    if clear:
        await store.forget(KEY, fence=fence)
    else:
        let_age(server, LEASE + 1)
    assert (await begin(store, "wx1:2")).fence == fence + 1


async def test_a_fence_never_leaves_its_range(store: RedisDedupe, server: Server) -> None:
    """The highest number that can be read back, put there by somebody, locks nobody out."""
    server.command("HSET", PUSH, "f", 2**52 - 1)
    claim = await begin(store)
    assert (claim.status, (await begin(store, "wx1:2")).status) == ("new", "running")
    assert await store.finish(KEY, fence=claim.fence, answer=b"a", keep=KEEP, taken=True)


async def test_a_clock_that_steps_back_prolongs_no_lease(store: RedisDedupe, server: Server) -> None:
    """After a failover to a server hours behind, a lease still runs, but no longer than it was given for."""
    await begin(store)
    server.command("HINCRBY", PUSH, "u", 7_200_000)
    claim = await begin(store, "wx1:2")
    assert claim.status == "running"
    assert claim.wait <= LEASE
    server.command("HINCRBY", PUSH, "u", -11_000)
    assert (await begin(store, "wx1:3")).status == "new"


# --- keys from outside -----------------------------------------------------------------------------------------------


FOREIGN = {
    "string": ("SET", "pickled"),
    "list": ("RPUSH", "a"),
    "set": ("SADD", "a"),
    "stream": ("XADD", "*", "s", "done"),
    "sorted set": ("ZADD", "1", "a"),
}


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_push_of_another_type_is_none(store: RedisDedupe, server: Server, kind: str) -> None:
    """Something else under the key counts as absent; beginning replaces it."""
    command, *rest = FOREIGN[kind]
    server.command(command, PUSH, *rest)
    before = server.command("TYPE", PUSH)
    await store.forget(KEY, fence=5)
    assert server.command("TYPE", PUSH) == before
    claim = await begin(store)
    assert (claim.status, claim.delivery) == ("new", 1)
    assert await store.finish(KEY, fence=claim.fence, answer=b"a", keep=KEEP, taken=True)
    assert (await begin(store, "wx1:2")).answer == b"a"
    assert server.command("PTTL", PUSH) > 0


@pytest.mark.parametrize("verb", ["extend", "finish", "claim_late"])
@pytest.mark.parametrize("kind", FOREIGN)
async def test_an_owner_replaces_what_is_of_another_type(
    store: RedisDedupe, server: Server, kind: str, verb: str
) -> None:
    """Something else under the key: the push was lost, and its owner makes it known again."""
    command, *rest = FOREIGN[kind]
    server.command(command, PUSH, *rest)
    assert await VERBS[verb](store)
    assert int(fields_of(server)["f"]) == 5
    assert 0 < server.command("PTTL", PUSH) <= KEEP * 1000
    statuses = {"extend": "running", "finish": "done", "claim_late": "late"}
    assert (await begin(store)).status == statuses[verb]


@pytest.mark.parametrize("fence", [0, -1, 2**52])
async def test_a_fence_that_nobody_has_is_not_believed(store: RedisDedupe, server: Server, fence: int) -> None:
    """Also of a push that was lost: what could not be read back is not written."""
    assert not await store.extend(KEY, fence=fence, lease=LEASE)
    assert not await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=True)
    assert not await store.claim_late(KEY, fence=fence)
    assert server.command("KEYS", "*") == []


@pytest.mark.parametrize("kind", [*FOREIGN, "hash", "empty", "long"])
async def test_a_request_of_another_kind_is_none(store: RedisDedupe, server: Server, kind: str) -> None:
    """Something else under the request's key counts as absent and is replaced, once."""
    others = {"hash": ("HSET", "a", "b"), "empty": ("SET", ""), "long": ("SET", "a" * 25)}
    command, *rest = (FOREIGN | others)[kind]
    server.command(command, REQUEST, *rest)
    assert (await begin(store)).status == "new"
    assert (await begin(store)).status == "replayed"
    assert 0 < server.command("PTTL", REQUEST) <= 300_000


@pytest.mark.parametrize(
    "changes",
    [
        {"s": ""},
        {"s": "DONE"},
        {"s": b"\xff"},
        {"f": ""},
        {"f": "0"},
        {"f": "-5"},
        {"f": "1e9"},
        {"f": "nan"},
        {"f": "99999999999999999999"},
        {"u": "soon"},
        {"u": "-1"},
        {"u": "99999999999999999"},
        {"w": "0"},
        {"w": "86400001"},
        {"w": "inf"},
    ],
)
async def test_a_running_push_that_cannot_be_is_free(
    store: RedisDedupe, server: Server, changes: dict[str, Any]
) -> None:
    """A field out of its range or of the wrong kind: nobody owns the push, the next one does."""
    await begin(store)
    for field, value in changes.items():
        server.command("HSET", PUSH, field, value)
    claim = await begin(store, "wx1:2")
    assert claim.status == "new"
    assert (await begin(store, "wx1:3")).status == "running"


@pytest.mark.parametrize("change", ["HDEL", "too long"])
async def test_an_answer_that_cannot_be_is_none(store: RedisDedupe, server: Server, change: str) -> None:
    """A finished push without its answer, or with one beyond all bounds, is handled again."""
    fence = (await begin(store)).fence
    await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=True)
    if change == "HDEL":
        server.command("HDEL", PUSH, "a")
    else:
        server.command("HSET", PUSH, "a", b"x" * (ANSWER_MAX + 1))
    claim = await begin(store, "wx1:2")
    assert claim.status == "new"
    assert claim.fence > fence


NOW = int(time.time() * 1000)
junk = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.integers(NOW - 10**8, NOW + 10**8).map(str),
    st.sampled_from(["running", "done", "taken", "late", "free"]),
    st.sampled_from(["", "0", "-0", "1", "nan", "inf", "1e3", "0x1f", "--1", "1.5", " 1", str(2**52 - 1), str(2**53)]),
    st.binary(max_size=20),
)


@settings(max_examples=200, deadline=None)
@given(
    fields=st.dictionaries(st.sampled_from(["s", "f", "u", "w", "n", "a", "c"]), junk, min_size=1),
    request=st.one_of(st.none(), st.binary(max_size=30)),
)
def test_no_record_makes_a_verb_fail(module_server: Server, fields: dict[str, Any], request: bytes | None) -> None:
    """Whatever stands in the keys: every verb answers, and a push can be handled in the end."""
    module_server.flush()
    module_server.command("HSET", PUSH, *[part for pair in fields.items() for part in pair])
    if request is not None:
        module_server.command("SET", REQUEST, request)

    async def use() -> None:
        async with opened(module_server.url) as store:
            for fence in (1, 0, 2**52 - 1):
                await store.extend(KEY, fence=fence, lease=LEASE)
                await store.forget(KEY, fence=fence)
                await store.claim_late(KEY, fence=fence)
            await begin(store)
            claim = await begin(store, "wx1:2")
            assert 0 <= claim.wait <= 86_400
            assert 1 <= claim.delivery <= 1_000_000
            let_age(module_server, 86_500)
            claim = await begin(store, "wx1:3")
            assert claim.status == "new"
            assert await store.finish(KEY, fence=claim.fence, answer=ANSWER, keep=KEEP, taken=False)
            assert await store.claim_late(KEY, fence=claim.fence)
            assert (await begin(store, "wx1:4")).status == "late"

    asyncio.run(use())


# --- a server that fails ---------------------------------------------------------------------------------------------


def assert_clean(error: BaseException, *secrets: str) -> None:
    """Nobody who reads ``error`` or its causes finds a secret."""
    seen: list[BaseException] = []
    walk: list[BaseException | None] = [error]
    while walk:
        one = walk.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        walk += [one.__cause__, one.__context__]
        text = f"{one} {one!r} {one.args!r} {vars(one)!r}" + "".join(traceback.format_exception(one))
        for secret in secrets:
            assert secret not in text
    assert len(seen) > 1


async def expect_failure(store: RedisDedupe, verb: str) -> WebhookStoreError:
    """The verb fails as promised; a server can only repeat the words of the call, so the answer stays out of it."""
    with pytest.raises(WebhookStoreError) as caught:
        await VERBS[verb](store)
    assert caught.value.store == "redis"
    assert caught.value.status == 503
    assert isinstance(caught.value.__cause__, redis.RedisError | OSError)
    assert_clean(caught.value, "hunter2", *([ANSWER.decode()] if verb == "finish" else []))
    return caught.value


@pytest.mark.parametrize("verb", VERBS)
async def test_a_refused_port_is_a_store_error_at_once(verb: str) -> None:
    """Nobody listens: the error comes at once and names the place without the password."""
    async with opened(f"redis://user:hunter2@127.0.0.1:{refusing_port()}/0") as store:
        seconds, error = await quickest(lambda: expect_failure(store, verb), 1)
        assert seconds < 1
        assert "127.0.0.1" in str(error)


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_black_hole_costs_the_time_limit_and_no_more(accepts: bool) -> None:
    """A server that never answers, or never even connects, costs exactly one time limit."""
    with BlackHole(accepts=accepts) as hole:
        async with opened(hole.url, timeout=0.3) as store:
            seconds, _ = await quickest(lambda: expect_failure(store, "begin"), 1)
            assert 0.25 < seconds < 1


async def test_a_server_that_freezes_is_a_store_error(own_server: RedisServer) -> None:
    """It was there a moment ago: the error comes within the limit, and afterwards all is well."""
    async with opened(own_server.url) as patient, opened(own_server.url, timeout=0.3) as store:
        await begin(patient)
        with contextlib.suppress(WebhookStoreError):
            await begin(store)
        with own_server.frozen():
            seconds, _ = await quickest(lambda: expect_failure(store, "look"), 1)
            assert seconds < 1
        assert (await begin(patient, "wx1:2")).status == "running"


async def test_a_server_restart_is_not_noticed(own_server: RedisServer) -> None:
    """After a restart the kept connections are dead and the script unknown: the next delivery works all the same."""
    async with opened(own_server.url) as store:
        await asyncio.gather(*(begin(store, f"wx1:{i}") for i in range(8)))
        own_server.restart_empty()
        claims = await asyncio.gather(*(begin(store, f"wx1:{i}") for i in range(8)))
        assert sorted(claim.status for claim in claims) == ["new"] + ["running"] * 7


async def test_a_full_server_is_a_store_error(own_server: RedisServer) -> None:
    """Out of memory: nothing is half written, and the same delivery succeeds later."""
    async with opened(own_server.url) as store:
        own_server.config("maxmemory", "1")
        await expect_failure(store, "begin")
        own_server.config("maxmemory", "0")
        assert own_server.command("KEYS", "*") == []
        assert (await begin(store)).status == "new"


@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-NOPERM User has no permissions to run the 'evalsha' command\r\n",
        b"-ERR unknown command 'EVALSHA', with args beginning with: '" + ANSWER + b"' \r\n",
        b"-ERR odd " + ANSWER + b" scripted-password\r\n",
        b"-NOSCRIPT No matching script.\r\n",
        b"$2\r\nno\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*5\r\n" + b"$1\r\nx\r\n" * 5,
        b"*5\r\n$3\r\nnew\r\n$1\r\nx\r\n:1\r\n$0\r\n\r\n:0\r\n",
        b"*5\r\n$3\r\nnew\r\n$1\r\n5\r\n:1\r\n:7\r\n:0\r\n",
        b"*5\r\n$1\r\n\xff\r\n$1\r\n5\r\n:1\r\n$0\r\n\r\n:0\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
@pytest.mark.parametrize("verb", ["begin", "finish"])
async def test_whatever_a_server_answers_is_a_store_error(answer: bytes, verb: str) -> None:
    """Refusals and nonsense are store errors; what a server repeats of our words is not passed on."""
    async with Scripted(lambda *_: answer) as server, opened(server.url) as store:
        error = await expect_failure(store, verb)
        assert_clean(error, "scripted-password")


async def test_each_verb_is_one_request() -> None:
    """A delivery costs one round trip, replay check included; so does every other verb."""
    row = b"*5\r\n$3\r\nnew\r\n$1\r\n5\r\n:1\r\n$0\r\n\r\n:0\r\n"

    def answer(_: int, parts: list[bytes]) -> bytes:
        return row if b"begin" in parts else b"*1\r\n:1\r\n"

    async with Scripted(answer) as server, opened(server.url) as store:
        for number, (verb, call) in enumerate(VERBS.items(), 1):
            await call(store)
            assert len(server.requests) == number, verb
        assert {parts[0] for parts in server.requests} == {b"EVALSHA"}


# --- an answer that was lost -----------------------------------------------------------------------------------------


@pytest.fixture
async def lossy(own_server: RedisServer) -> AsyncIterator[tuple[LosesOneAnswer, RedisDedupe]]:
    async with LosesOneAnswer(own_server) as proxy, opened(proxy.url) as store:
        await store.extend("wx1:warm", fence=1, lease=1.0)
        yield proxy, store


async def test_a_begin_whose_answer_was_lost_is_new(lossy: Any, own_server: RedisServer) -> None:
    """The second try is not a replay of the first, counts nothing and gets the same fence."""
    proxy, store = lossy
    proxy.lose = True
    claim = await begin(store)
    assert not proxy.lose
    assert (claim.status, claim.delivery, claim.wait) == ("new", 1, 0.0)
    fields = fields_of(own_server)
    assert int(fields["f"]) == claim.fence
    assert fields["n"] == b"1"
    assert (await begin(store)).status == "replayed"
    assert (await begin(store, "wx1:2")).delivery == 2
    assert await store.finish(KEY, fence=claim.fence, answer=b"a", keep=KEEP, taken=True)


async def test_a_second_delivery_whose_answer_was_lost_counts_once(lossy: Any) -> None:
    """Also when it did not become the owner."""
    proxy, store = lossy
    first = await begin(store)
    proxy.lose = True
    second = await begin(store, "wx1:2")
    assert not proxy.lose
    assert (second.status, second.delivery, second.fence) == ("running", 2, first.fence)


async def test_a_look_whose_answer_was_lost_is_new(lossy: Any) -> None:
    """A connection that took over while it waited knows itself again."""
    proxy, store = lossy
    proxy.lose = True
    look = await VERBS["look"](store)
    assert not proxy.lose
    assert (look.status, look.delivery) == ("new", 0)


async def test_a_lost_answer_gives_nothing_away(lossy: Any, own_server: RedisServer) -> None:
    """Somebody else took over before the second try: then that one owns the push."""
    proxy, store = lossy

    def somebody_else() -> None:
        let_age(own_server, LEASE + 1)
        other = RedisDedupe(own_server.url, timeout=PATIENCE)

        async def take_over() -> None:
            claims.append(await begin(other, "wx1:other"))
            await other.aclose()

        thread = threading.Thread(target=asyncio.run, args=(take_over(),))
        thread.start()
        thread.join(PATIENCE)

    claims: list[Claim] = []
    proxy.lose, proxy.before_cut = True, somebody_else
    claim = await begin(store)
    assert not proxy.lose
    assert claims[0].status == "new"
    assert (claim.status, claim.fence) == ("running", claims[0].fence)


@pytest.mark.parametrize("taken", [True, False])
async def test_a_finish_whose_answer_was_lost_is_accepted(lossy: Any, taken: bool) -> None:
    """The second try finds its own answer: that is a success, and only for this call."""
    proxy, store = lossy
    fence = (await begin(store)).fence
    proxy.lose = True
    assert await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=taken)
    assert not proxy.lose
    assert not await store.finish(KEY, fence=fence, answer=b"b", keep=KEEP, taken=taken)
    assert await store.claim_late(KEY, fence=fence) is not taken


async def test_a_late_claim_whose_answer_was_lost_is_given_once(lossy: Any) -> None:
    """The second try has the right that the first was given; nobody else gets it."""
    proxy, store = lossy
    fence = (await begin(store)).fence
    await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=False)
    proxy.lose = True
    assert await store.claim_late(KEY, fence=fence)
    assert not proxy.lose
    assert not await store.claim_late(KEY, fence=fence)


@pytest.mark.parametrize("verb", ["extend", "forget"])
async def test_other_answers_may_be_lost(lossy: Any, verb: str) -> None:
    """Carrying them out twice changes nothing."""
    proxy, store = lossy
    fence = (await begin(store)).fence
    proxy.lose = True
    if verb == "extend":
        assert await store.extend(KEY, fence=fence, lease=LEASE)
    else:
        await store.forget(KEY, fence=fence)
    assert not proxy.lose
    assert (await begin(store, "wx1:2")).status == ("running" if verb == "extend" else "new")


# --- who may connect, and to what ------------------------------------------------------------------------------------


async def test_the_documented_acl_rule_is_enough(own_server: RedisServer) -> None:
    """The rule in the documentation of the class allows every verb, also over a foreign key, and nothing else."""
    parts = ["~wxmp:hook:*", "~wxmp:hookr:*", "nocommands", *ACL.split()]
    assert all(part in (RedisDedupe.__doc__ or "") for part in parts)
    own_server.command("ACL", "SETUSER", "wxmp", "on", ">pw", "resetkeys", *parts)
    own_server.command("SET", PUSH, "foreign")
    own_server.command("RPUSH", REQUEST, "foreign")
    url = f"redis://wxmp:pw@127.0.0.1:{own_server.port}"
    async with opened(url) as store:
        fence = (await begin(store)).fence
        assert await store.extend(KEY, fence=fence, lease=LEASE)
        await store.forget(KEY, fence=fence)
        fence = (await begin(store, "wx1:2")).fence
        own_server.command("HINCRBY", PUSH, "u", 10_000_000)
        assert (await begin(store, "wx1:3")).status == "running"
        assert await store.finish(KEY, fence=fence, answer=b"a", keep=KEEP, taken=False)
        assert await store.claim_late(KEY, fence=fence)
        assert (await begin(store, "wx1:2")).status == "replayed"
    denied = redis.Redis.from_url(url, retry=None, protocol=2)
    for command in (["KEYS", "*"], ["FLUSHALL"], ["CONFIG", "GET", "*"], ["HSET", "wxmp:{wx1}:plain:1", "v", "x"]):
        with pytest.raises(NoPermissionError):
            denied.execute_command(*command)
    denied.close()


@pytest.mark.parametrize("decode", [False, True])
async def test_the_store_works_in_a_cluster(decode: bool) -> None:
    """Push and request are in one slot; answers come back byte for byte, also through a client that decodes."""
    with RedisServer("--cluster-enabled", "yes") as server:
        server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        end = time.monotonic() + 20
        while b"cluster_state:ok" not in server.command("CLUSTER", "INFO"):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=server.port, decode_responses=decode)
        async with opened(client) as store, opened(server.url) as single:
            fence = (await begin(store)).fence
            assert (await begin(store)).status == "replayed"
            assert await store.finish(KEY, fence=fence, answer=bytes(range(256)), keep=KEEP, taken=False)
            assert (await begin(store, "wx1:2")).answer == bytes(range(256))
            assert (await begin(single, "wx1:3")).delivery == 3
            with pytest.raises(WebhookStoreError, match="give RedisDedupe a URL"):
                await asyncio.to_thread(asyncio.run, begin(store, "wx1:4"))
        await client.aclose()


async def test_a_client_of_the_users_gives_its_settings(server: Server) -> None:
    """A client can be handed in; it is not used up and not closed, and what it decodes does not matter."""
    client = redis.asyncio.Redis.from_url(server.url, decode_responses=True)
    async with opened(client) as store:
        fence = (await begin(store)).fence
        assert await store.finish(KEY, fence=fence, answer=b"\xff\xfe", keep=KEEP, taken=False)
        assert (await begin(store, "wx1:2")).answer == b"\xff\xfe"
    assert await client.ping()
    await client.aclose()


def test_a_store_serves_one_loop_after_the_other(server: Server) -> None:
    """Three asyncio.run() in a row leave no connection open."""
    store = RedisDedupe(server.url, timeout=PATIENCE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        statuses = [asyncio.run(begin(store, f"wx1:{number}")).status for number in range(3)]
    assert statuses == ["new", "running", "running"]
    assert [str(one.message) for one in caught if issubclass(one.category, ResourceWarning)] == []


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "wx1:{a}", "wx1:a b", "wx1:\n", "wx1:ä", "x" * 257])
@pytest.mark.parametrize("field", ["key", "replay"])
async def test_a_key_that_could_end_up_elsewhere_is_refused(field: str, key: str) -> None:
    """Keys are digests: no braces, which decide about the slot, no blanks, nothing endless."""
    if field == "replay" and not key:
        return  # means: nothing to remember
    store = RedisDedupe("redis://127.0.0.1:1")
    with pytest.raises(ConfigError) as caught:
        await begin(store, **({"key": KEY, "replay": "wx1:sig"} | {field: key}))
    assert caught.value.field == field


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
@pytest.mark.parametrize("field", ["lease", "keep"])
async def test_a_time_that_is_none_is_refused(field: str, seconds: float) -> None:
    """Leases and memories end."""
    store = RedisDedupe("redis://127.0.0.1:1")
    with pytest.raises(ConfigError) as caught:
        await store.begin(KEY, **({"lease": LEASE, "keep": KEEP} | {field: seconds}))
    assert caught.value.field == field


async def test_an_answer_beyond_all_bounds_is_refused() -> None:
    """What could not be read back is not stored."""
    store = RedisDedupe("redis://127.0.0.1:1")
    with pytest.raises(ConfigError) as caught:
        await store.finish(KEY, fence=1, answer=b"x" * (ANSWER_MAX + 1), keep=KEEP, taken=True)
    assert caught.value.field == "answer"


async def test_the_longest_answer_fits(store: RedisDedupe) -> None:
    """At the bound it is stored and read back."""
    fence = (await begin(store)).fence
    assert await store.finish(KEY, fence=fence, answer=b"x" * ANSWER_MAX, keep=KEEP, taken=True)
    assert (await begin(store, "wx1:2")).answer == b"x" * ANSWER_MAX


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"source": "http://localhost"}, "source"),
        ({"source": None}, "source"),
        ({"prefix": "a:b"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], field: str) -> None:
    """The error names the argument, before anything is connected."""
    with pytest.raises(ConfigError) as caught:
        RedisDedupe(**({"source": "redis://localhost"} | changes))
    assert caught.value.field == field


def test_the_address_shows_without_its_secrets() -> None:
    """The repr names the server, never who logs in."""
    store = RedisDedupe("redis://user:hunter2@db.example:7000/3")
    assert repr(store) == "RedisDedupe('redis://db.example:7000/3', prefix='wxmp')"
    assert "hunter2" not in f"{vars(store)}"


def test_redis_is_not_loaded_with_the_module() -> None:
    """Importing the module loads no redis."""
    script = "import sys, wxmp.webhook.dedupe_redis; assert not any(n.split('.')[0] == 'redis' for n in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


# ---- named by the environment

#: Whatever the machine does meanwhile, nobody is too late.
PATIENT = DeliveryPolicy(deadline=60.0, hold=60.0, lease=50.0, grace=60.0)


@contextlib.asynccontextmanager
async def in_asgi(hook: Webhook) -> AsyncIterator[None]:
    begin, end = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    app = asyncio.create_task(hook.asgi()({"type": "lifespan"}, told.get, said.put))
    told.put_nowait(begin)
    await said.get()
    yield
    told.put_nowait(end)
    await app


@contextlib.asynccontextmanager
async def in_fastapi(hook: Webhook) -> AsyncIterator[None]:
    app = fastapi.FastAPI()
    async with wxmp_lifespan({}, webhooks=hook)(app):
        yield


@contextlib.asynccontextmanager
async def in_aiohttp(hook: Webhook) -> AsyncIterator[None]:
    app = aiohttp.web.Application()
    add_webhook(app, "/wx", hook)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    yield
    await runner.cleanup()


@pytest.mark.parametrize("adapter", [contextlib.aclosing, in_asgi, in_fastapi, in_aiohttp])
async def test_workers_that_share_a_variable(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch, adapter: Callable[[Webhook], Any]
) -> None:
    """Workers with one address in WXMP_DEDUPE handle a push once, and leave no connection when their server ends."""
    monkeypatch.setenv("WXMP_APPID", pushes.APPID)
    monkeypatch.setenv("WXMP_CALLBACK_TOKEN", pushes.TOKEN)
    monkeypatch.setenv("WXMP_ENCODING_AES_KEY", pushes.AES_KEY)
    monkeypatch.setenv("WXMP_DEDUPE", own_server.url)
    handled: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        workers = [Webhook.from_env(delivery=PATIENT) for _ in range(4)]
        values = pushes.fields()
        for number, hook in enumerate(workers):
            assert isinstance(hook._dedupe, RedisDedupe)
            hook._dedupe._redis.timeout = 60.0  # a machine that pauses is no server that is down
            await stack.enter_async_context(adapter(hook))

            @hook.on(TextMessage)
            async def answer(message: TextMessage, number: int = number) -> str:
                handled.append(message.content)
                return f"worker {number}"

        answers = [await hook.answer("POST", *pushes.safe(values)) for hook in workers]
        assert handled == [values["Content"]]
        assert all("worker 0" in pushes.opened(answer.body) for answer in answers)
        assert len(own_server.command("CLIENT", "LIST").splitlines()) > len(workers)
    async with asyncio.timeout(60):  # the server notices in its own time
        while len(own_server.command("CLIENT", "LIST").splitlines()) > 1:  # the one that asks
            await asyncio.sleep(0.01)
