"""The journal in Redis against real servers: lost answers, lost data, foreign records, strict ACLs, memory."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

import pytest
import redis
import redis.asyncio

from tests.broadcast.journals import LEASE, RUN, RedisRoom, let_redis_age
from tests.redis_server import BlackHole, LosesOneAnswer, RedisServer, refusing_port
from wxmp.broadcast.records import Outcome, Result, RunKey
from wxmp.broadcast.redis import BUCKETS, KEEP, RedisJournal
from wxmp.errors import ConfigError, JournalError

PASSWORD = "p-w%that/must@not:show"
OPENID = "oPRIVATE-openid-0123456789ab"
OTHER = RunKey("wx1", "winter")
#: The rule that the documentation of the class gives.
ACL = (
    "+eval +evalsha +time +hget +hset +hdel +hmget +hlen +hexists +hkeys +hvals +hgetall +hincrby +pexpire +pttl "
    "+zadd +zcard +zrangebyscore +zremrangebyscore"
)
DAY = 86_400_000


def accepted(openid="o1", msg_id=7):
    return Result(openid, Outcome.ACCEPTED, msg_id)


def unknown(openid="o1"):
    return Result(openid, Outcome.UNKNOWN, errmsg="its answer was lost")


@pytest.fixture
async def room(redis_server):
    made = RedisRoom(redis_server)
    yield made
    for journal in made.opened:
        await journal.aclose()


@pytest.fixture
async def journal(room):
    made = room.journal()
    await made.begin(RUN, fingerprint="t1")
    return made


async def claim(journal, *openids, owner="a", run=RUN):
    claims = await journal.exchange(run, owner=owner, lease=LEASE, claims=openids)
    return [one.openid for one in claims if one.mine]


async def record(journal, *results, run=RUN):
    await journal.exchange(run, owner="a", lease=LEASE, results=results)


async def take_over(journal, owner="b"):
    doubts = await journal.take_over(RUN, owner=owner, lease=LEASE, openids=None, limit=100)
    return {doubt.openid: doubt.age for doubt in doubts}


async def use_everything(journal, run=RUN, server=None):
    """Call every verb with something to do."""
    await journal.begin(run, fingerprint="t1")
    await claim(journal, "user1", "user2", "user3", run=run)
    at = time.time()
    await journal.settle(run.appid, openid="user2", msg_id=2, outcome=Outcome.DELIVERED, at=at)
    refused = Result("user3", Outcome.REFUSED, errcode=43004, errmsg="require subscribe")
    await journal.exchange(
        run, owner="a", lease=LEASE, results=[unknown("user1"), refused], releases=["user2", "user4"]
    )
    await record(journal, accepted("user3"), run=run)
    await journal.settle(run.appid, openid="user1", msg_id=1, outcome=Outcome.DELIVERED, at=at + 1)
    await journal.known(run, ["user1", "user2"])
    await journal.take_over(run, owner="b", lease=LEASE, openids=None, limit=5)
    await journal.take_over(run, owner="b", lease=LEASE, openids=["user1"], limit=5)
    await journal.others(run, owner="b")
    await journal.allow(run.appid, wanted=5, per_second=1.0, per_day=100)
    assert await journal.counts(run) == {Outcome.DELIVERED: 1, Outcome.ACCEPTED: 1}
    assert len([result async for result in journal.results(run)]) == 2


VERBS = {
    "begin": lambda journal: journal.begin(RUN, fingerprint="t1"),
    "known": lambda journal: journal.known(RUN, [OPENID]),
    "exchange": lambda journal: journal.exchange(
        RUN, owner="a", lease=LEASE, claims=[OPENID], results=[accepted(OPENID + "x")], releases=[OPENID + "y"]
    ),
    "take_over": lambda journal: journal.take_over(RUN, owner="a", lease=LEASE, openids=[OPENID], limit=5),
    "others": lambda journal: journal.others(RUN, owner="a"),
    "allow": lambda journal: journal.allow("wx1", wanted=5, per_second=1.0, per_day=5),
    "settle": lambda journal: journal.settle("wx1", openid=OPENID, msg_id=1, outcome=Outcome.FAILED, at=time.time()),
    "counts": lambda journal: journal.counts(RUN),
    "results": lambda journal: anext(journal.results(RUN), None),
}
WRITES = ["exchange", "take_over", "allow"]


def assert_clean(error, *secrets):
    """Nobody who looks at ``error``, its causes or its frames finds a secret."""
    seen, walk = [], [error]
    while walk:
        one = walk.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        walk += [one.__cause__, one.__context__]
        text = f"{one} {one!r} {one.args!r} {vars(one)!r} {''.join(traceback.format_exception_only(one))}"
        for secret in secrets:
            assert secret not in text


async def expect_failure(journal, verb):
    with pytest.raises(JournalError) as caught:
        await VERBS[verb](journal)
    error = caught.value
    assert error.journal == "redis"
    assert error.__cause__ is not None
    assert_clean(error, PASSWORD, OPENID)
    return error


# ---- the keys


async def test_the_keys_are_what_is_documented(room, journal):
    """All of an account are in one slot, and none is named after a recipient."""
    await journal.begin(OTHER, fingerprint="t1")
    await claim(journal, "o1", run=OTHER)
    await use_everything(journal)
    await claim(journal, "user5")
    await journal.settle("wx1", openid="user5", msg_id=2, outcome=Outcome.DELIVERED, at=time.time())
    names = [name.decode() for name in room.server.command("KEYS", "*")]
    assert all(name.startswith("wxmp:send:{wx1}:") for name in names)
    kinds = {name.split(":", 3)[3] for name in names}
    assert {"runs", "pace"} <= kinds
    parts = {kind.partition(":")[2] for kind in kinds if ":" in kind}
    assert {part for part in parts if not part.isdigit()} == {"flight", "owners", "events", "texts"}
    assert all(int(part) < BUCKETS for part in parts if part.isdigit())
    assert not any(word in name for name in names for word in ("o1", "user"))
    for part in ("flight", "owners", "events", "texts", "runs", "pace", "8191"):
        assert part in (RedisJournal.__doc__ or "")


async def test_a_prefix_separates_environments(room, journal):
    """Journals with different prefixes do not see each other."""
    await claim(journal, "o1")
    staging = room.journal(prefix="staging")
    await staging.begin(RUN, fingerprint="t1")
    assert await claim(staging, "o1") == ["o1"]


@pytest.mark.parametrize(
    "settings", [{"prefix": "a:b"}, {"prefix": ""}, {"timeout": 0}, {"keep": 3600}, {"keep": float("inf")}]
)
def test_settings_that_cannot_work_are_refused(settings):
    """At once, not with the first verb."""
    with pytest.raises(ConfigError):
        RedisJournal("redis://localhost", **settings)


@pytest.mark.parametrize("appid", ["", "a b", "{a}", "a}b", "x" * 65, "wx\n"])
async def test_an_appid_that_could_end_up_elsewhere_is_refused(journal, appid):
    """What is between the braces decides about the slot."""
    with pytest.raises(ConfigError):
        await journal.allow(appid, wanted=1, per_second=None, per_day=None)
    with pytest.raises(ConfigError):
        await journal.begin(RunKey(appid, "x"), fingerprint="t1")


@pytest.mark.parametrize("owner", ["", "a b", "x" * 65])
async def test_an_owner_is_one_word(journal, owner):
    """It stands in a record with other words."""
    with pytest.raises(ConfigError):
        await claim(journal, "o1", owner=owner)


@pytest.mark.parametrize("lease", [-1, 86_401, float("nan")])
async def test_a_lease_is_a_time(journal, lease):
    """0 to a day."""
    with pytest.raises(ConfigError):
        await journal.exchange(RUN, owner="a", lease=lease)


async def test_memory_of_a_recipient(own_server):
    """40,000 settled recipients of a run that will have more: packed, below 100 bytes each, the keys included."""

    def used():
        return int(own_server.command("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])

    async with RedisJournal(own_server.url) as journal:
        await journal.begin(RUN, fingerprint="t1")
        for turn in range(2):
            before = used()
            for start in range(0, 40_000, 500):
                openids = [f"oABCDEFGHIJKLMNOPQRS{turn}{number:07d}" for number in range(start, start + 500)]
                results = [accepted(openid, 3_000_000_000_000_000_000 + start) for openid in openids[5:]]
                results += [Result(openid, Outcome.REFUSED, errcode=43004, errmsg="x" * 99) for openid in openids[:4]]
                await record(journal, *results, unknown(openids[4]))
        assert (used() - before) / 40_000 < 100  # of the second half: the hashes themselves are there
        for name in own_server.command("KEYS", "*:[0-9]*")[:200]:
            assert own_server.command("OBJECT", "ENCODING", name) in (b"listpack", b"ziplist")


async def test_texts_are_kept_once_and_not_without_bound(room, journal):
    """A thousand different ones; after that the code has to do."""
    for start in range(0, 1200, 300):
        await record(
            journal,
            *(Result(f"o{n}", Outcome.REFUSED, errcode=40003, errmsg=f"text {n}") for n in range(start, start + 300)),
        )
    found = {result.openid: result async for result in journal.results(RUN)}
    assert found["o999"].errmsg == "text 999"
    assert (found["o1100"].errcode, found["o1100"].errmsg) == (40003, "")


# ---- how long it lives


def lives(server):
    """Milliseconds until each key expires: of the run itself, and of what belongs to it."""
    left = {name: server.command("PTTL", name) for name in server.command("KEYS", "*")}
    run = [ms for name, ms in left.items() if name.count(b":") == 3 and not name.endswith((b":runs", b":pace"))]
    parts = [ms for name, ms in left.items() if name.count(b":") > 3]
    return run[0], parts


async def test_a_run_outlives_none_of_its_parts(room, journal):
    """A run that is there is there as a whole: everything expires, the run itself first."""
    for number in range(30):
        await claim(journal, f"o{number}")
        await record(journal, accepted(f"o{number}", number + 1))
        let_redis_age(room.server, 86_400 * 0.7)
        run, parts = lives(room.server)
        assert parts
        assert 0 < run <= KEEP * 1000
        assert min(parts) > run
        await journal.exchange(RUN, owner="a", lease=LEASE)
    assert lives(room.server)[0] > KEEP * 1000 * 0.85


async def test_a_continued_run_is_kept_for_the_full_time_again(room, journal):
    """Begun again after three weeks, everything lives for the full time."""
    await use_everything(journal)
    let_redis_age(room.server, 21 * 86_400)
    assert lives(room.server)[0] < 10 * DAY
    again = room.journal()
    await again.begin(RUN, fingerprint="t1")
    run, parts = lives(room.server)
    assert run > 29 * DAY
    assert min(parts) > run


async def test_a_run_is_forgotten_as_a_whole(room, journal):
    """After its time it begins anew, and nothing of the old one shows."""
    await use_everything(journal)
    run = next(name for name in room.server.command("KEYS", "*") if name.count(b":") == 3 and len(name) > 30)
    room.server.command("DEL", run)
    again = room.journal()
    await again.begin(RUN, fingerprint="t1")
    assert await again.known(RUN, ["user1", "user3"]) == {}
    assert await claim(again, "user1") == ["user1"]
    assert await again.counts(RUN) == {None: 1}


async def test_keys_that_could_not_be_kept_do_not_cost_the_claims(room, journal, monkeypatch, caplog):
    """The step was taken; the next one tries again."""
    let_redis_age(room.server, 10 * 86_400)

    async def fails(*_):
        raise JournalError("down", journal="redis")

    monkeypatch.setattr(journal, "_extend", fails)
    assert await claim(journal, "o1") == ["o1"]
    assert "autumn" in caplog.text
    monkeypatch.undo()
    await claim(journal, "o2")
    assert lives(room.server)[0] > 29 * DAY


async def test_an_account_forgets_runs_that_are_over(room, journal):
    """The list of runs does not grow for ever."""
    for number in range(20):
        await journal.begin(RunKey("wx1", f"run {number}"), fingerprint="t1")
        await claim(journal, "o1", run=RunKey("wx1", f"run {number}"))
    let_redis_age(room.server, KEEP + 1)
    again = room.journal()
    await again.begin(RunKey("wx1", "next"), fingerprint="t1")
    assert int(room.server.command("ZCARD", "wxmp:send:{wx1}:runs")) == 0


# ---- a server that fails


@pytest.mark.parametrize("verb", VERBS)
async def test_a_server_that_is_down(verb):
    """A typed error with its cause, without password and openid."""
    journal = RedisJournal(f"redis://:p-w%25that%2Fmust%40not%3Ashow@127.0.0.1:{refusing_port()}", timeout=5)
    journal._begun[RUN] = "0a"
    await expect_failure(journal, verb)
    assert PASSWORD not in repr(journal)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_server_that_is_silent(verb):
    """The time limit holds for every verb."""
    with BlackHole() as hole:
        journal = RedisJournal(hole.url, timeout=0.2)
        journal._begun[RUN] = "0a"
        began = time.monotonic()
        await expect_failure(journal, verb)
        assert time.monotonic() - began < 5
        await journal.aclose()


async def test_a_server_that_lost_its_data_stops_the_run(room, journal):
    """Going on would send to everybody again, so nothing goes on by itself; whoever begins anew decides that."""
    await claim(journal, "o1")
    await record(journal, accepted("o1"))
    room.server.flush()
    for verb in ("known", "exchange", "take_over", "others", "counts", "results"):
        with pytest.raises(JournalError, match="not there any more"):
            await VERBS[verb](journal)
    again = room.journal()
    await again.begin(RUN, fingerprint="t1")
    with pytest.raises(JournalError, match="not there any more"):
        await claim(journal, "o2")
    assert await claim(again, "o2") == ["o2"]
    await journal.begin(RUN, fingerprint="t1")
    assert await claim(journal, "o2", "o3") == ["o3"]


async def test_readers_follow_a_run_that_began_anew(room, journal):
    """Who only reads has begun nothing, and sees what is there."""
    reader = room.journal()
    await claim(journal, "o1")
    assert await reader.counts(RUN) == {None: 1}
    room.server.flush()
    assert await reader.counts(RUN) == {}
    await journal.begin(RUN, fingerprint="t1")
    await claim(journal, "o1", "o2")
    assert await reader.counts(RUN) == {None: 2}
    assert await reader.known(RUN, ["o1"]) == {"o1": False}


async def test_a_full_server_is_an_error_and_loses_nothing(own_server):
    """No step is taken by half; with room again everything goes on."""
    async with RedisJournal(own_server.url, timeout=10) as journal:
        await journal.begin(RUN, fingerprint="t1")
        await claim(journal, "o1")
        own_server.config("maxmemory", "1")
        for verb in WRITES:
            assert "maxmemory" in str(await expect_failure(journal, verb))
        with pytest.raises(JournalError, match="maxmemory"):
            await journal.exchange(
                RUN, owner="a", lease=LEASE, claims=["o2"], results=[accepted("o1")], releases=["o1"]
            )
        assert await journal.known(RUN, ["o1", "o2"]) == {"o1": False}
        own_server.config("maxmemory", "0")
        await record(journal, accepted("o1"))
        assert await journal.counts(RUN) == {Outcome.ACCEPTED: 1}


async def test_a_read_only_replica_refuses_writes(own_server):
    """After a failover the old address may be a replica: an error that says so."""
    with RedisServer(replica_of=own_server) as replica:
        async with RedisJournal(replica.url, timeout=10) as journal:
            with pytest.raises(JournalError) as caught:
                await journal.begin(RUN, fingerprint="t1")
            assert "replica" in str(caught.value).lower() or "readonly" in str(caught.value).lower()


async def test_a_restart_in_between(own_server):
    """Connections that died idle are replaced without a word; the run is gone with the data, and that is said."""
    async with RedisJournal(own_server.url, timeout=10) as journal:
        await journal.begin(RUN, fingerprint="t1")
        own_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await claim(journal, "o1") == ["o1"]
        own_server.restart_empty()
        with pytest.raises(JournalError, match="not there any more"):
            await claim(journal, "o2")


@pytest.mark.parametrize("part", ["flight", "owners", "events", "texts", "bucket", "runs"])
async def test_a_key_of_another_type_stops_a_step_before_it_begins(room, journal, part):
    """Something foreign under one of our names: an error, and not half of a step."""
    await claim(journal, "o1", "o2")
    run, number = journal._run(RUN), journal._begun[RUN]
    buckets = {openid: f"{run}.{number}:{wxmp_bucket(openid)}" for openid in ("o1", "o2")}
    assert buckets["o1"] != buckets["o2"]
    name = {"bucket": buckets["o2"], "runs": "wxmp:send:{wx1}:runs"}.get(part, f"{run}.{number}:{part}")
    before = room.server.command("DUMP", f"{run}.{number}:flight")
    room.server.command("SET", name, "foreign")
    with pytest.raises(JournalError, match="WRONGTYPE"):
        await record(journal, accepted("o1"), Result("o2", Outcome.REFUSED, errmsg="x"))
    assert room.server.command("EXISTS", buckets["o1"]) == 0
    if part != "flight":
        assert room.server.command("DUMP", f"{run}.{number}:flight") == before
        room.server.command("DEL", name)
        await record(journal, accepted("o1"))


def wxmp_bucket(openid):
    from wxmp.broadcast.redis import _bucket

    return _bucket(openid)


@pytest.mark.parametrize("junk", [b"", b"x", b"a", b"\xff\xfe", b"u 1 2 3", b"a - soon", b"z 1 2"])
async def test_a_broken_record_is_never_sent_to_again(room, journal, junk):
    """Whatever stands there counts as settled; reading it out is an error."""
    await claim(journal, "o1")
    await record(journal, accepted("o1"))
    name = f"{journal._run(RUN)}.{journal._begun[RUN]}:{wxmp_bucket('o1')}"
    room.server.command("HSET", name, "o1", junk)
    assert await claim(journal, "o1", owner="b") == []
    assert await journal.known(RUN, ["o1"]) == {"o1": True}
    await record(journal, unknown("o1"))
    await journal.settle("wx1", openid="o1", msg_id=3, outcome=Outcome.FAILED, at=time.time())
    if junk != b"u 1 2 3":
        with pytest.raises(JournalError):
            _ = [result async for result in journal.results(RUN)]


@pytest.mark.parametrize("junk", [b"", b"x", b"a soon c", b"\xff", b"a 1", b"a 99999999999999999999 0a"])
async def test_a_broken_claim_is_long_ago(room, journal, junk):
    """It is somebody's to settle, and too old to send again."""
    await claim(journal, "o1")
    room.server.command("HSET", f"{journal._run(RUN)}.{journal._begun[RUN]}:flight", "o1", junk)
    let_redis_age(room.server, LEASE + 1) if junk.startswith(b"a 1") else None
    assert await journal.others(RUN, owner="b") is not None
    room.server.command("HDEL", f"{journal._run(RUN)}.{journal._begun[RUN]}:owners", "a")
    assert (await take_over(journal))["o1"] > 600
    await record(journal, unknown("o1"))
    assert await journal.counts(RUN) == {Outcome.UNKNOWN: 1}


async def test_a_broken_allowance_is_a_new_one(room, journal):
    """Junk in the fields does not stop the account."""
    room.server.command("HSET", "wxmp:send:{wx1}:pace", "level", "nan", "at", "inf", "day", "x", "used", "-5")
    allowance = await journal.allow("wx1", wanted=5, per_second=50.0, per_day=100)
    assert 1 <= allowance.granted <= 5


# ---- clocks of servers


async def test_a_lease_from_the_future_ends(room, journal):
    """After a failover to a server whose clock is hours behind, a lease runs as long as it was given for."""
    await claim(journal, "o1")
    let_redis_age(room.server, -7200)
    assert await take_over(journal) == {}
    assert await journal.others(RUN, owner="b") == pytest.approx(LEASE, abs=1)
    let_redis_age(room.server, LEASE + 1)
    assert await take_over(journal) == {"o1": float("inf")}


async def test_a_clock_that_jumps_gives_one_batch(room, journal):
    """Forward or back: the rate gains at most what it may be ahead of itself."""
    for jump in (3600, -7200, 3600):
        let_redis_age(room.server, jump)
        began = time.monotonic()
        granted = [(await journal.allow("wx1", wanted=10, per_second=100, per_day=None)).granted for _ in range(5)]
        assert sum(granted) <= 10 + 100 * (time.monotonic() - began)


async def test_a_clock_that_is_set_back_over_midnight_gives_no_second_day(room, journal):
    """What was sent on the new day counts until that day is over; a day far ahead does not."""
    await journal.allow("wx1", wanted=10, per_second=None, per_day=10)
    let_redis_age(room.server, 0, days=-1)
    assert (await journal.allow("wx1", wanted=10, per_second=None, per_day=10)).day_is_over
    let_redis_age(room.server, 0, days=-30)
    assert (await journal.allow("wx1", wanted=10, per_second=None, per_day=10)).granted == 10


# ---- answers that are lost


@pytest.fixture
async def lossy(own_server):
    async with LosesOneAnswer(own_server) as proxy, RedisJournal(proxy.url, timeout=10) as journal:
        await journal.begin(RUN, fingerprint="t1")
        yield proxy, journal


async def test_claims_whose_answer_was_lost_are_mine(lossy):
    """The second try knows its own first; what was somebody's before stays theirs, even one's own."""
    proxy, journal = lossy
    await claim(journal, "o1", owner="b")
    await claim(journal, "o2")
    proxy.lose = True
    assert await claim(journal, "o1", "o2", "o3", "o3") == ["o3"]
    assert not proxy.lose
    assert await claim(journal, "o3") == []


async def test_results_whose_answer_was_lost_count_once(lossy, room):
    """The second try finds them settled."""
    proxy, journal = lossy
    await claim(journal, "o1", "o2")
    await journal.settle("wx1", openid="o1", msg_id=7, outcome=Outcome.DELIVERED, at=time.time())
    proxy.lose = True
    claims = await journal.exchange(
        RUN, owner="a", lease=LEASE, claims=["o2"], results=[accepted("o1")], releases=["o2"]
    )
    assert not proxy.lose
    assert [one.mine for one in claims] == [True]
    assert await journal.counts(RUN) == {Outcome.DELIVERED: 1, None: 1}


async def test_a_take_over_whose_answer_was_lost_is_told_again(lossy, own_server):
    """Otherwise nobody would ever look after these; what was taken over earlier is not told again."""
    proxy, journal = lossy
    await claim(journal, "o1", "o2", "o3")
    let_redis_age(own_server, LEASE + 1)
    early = await journal.take_over(RUN, owner="b", lease=LEASE, openids=["o3"], limit=5)
    assert [doubt.openid for doubt in early] == ["o3"]
    proxy.lose = True
    found = await take_over(journal)
    assert not proxy.lose
    assert set(found) == {"o1", "o2"}
    assert await take_over(journal) == {}


async def test_a_begin_whose_answer_was_lost(lossy):
    """The second try finds the run that the first has made."""
    proxy, journal = lossy
    proxy.lose = True
    await journal.begin(OTHER, fingerprint="t1")
    assert not proxy.lose
    assert await claim(journal, "o1", run=OTHER) == ["o1"]


@pytest.mark.parametrize("lost", [False, True])
async def test_an_event_whose_answer_was_lost(lossy, lost):
    """It settles once, and the second try says yes as well."""
    proxy, journal = lossy
    await claim(journal, "o1")
    await record(journal, unknown() if lost else accepted())
    await journal.settle("wx1", openid="o9", msg_id=1, outcome=Outcome.FAILED, at=time.time())
    proxy.lose = True
    assert await journal.settle("wx1", openid="o1", msg_id=7, outcome=Outcome.DELIVERED, at=time.time() + 1)
    assert not proxy.lose
    assert await journal.counts(RUN) == {Outcome.DELIVERED: 1}


# ---- who may connect, and to what


async def test_the_documented_acl_rule_is_enough(own_server):
    """The rule in the documentation of the class allows every verb, and nothing that none needs."""
    doc = RedisJournal.__doc__ or ""
    assert all(part in doc.split() for part in [*ACL.split(), "~wxmp:send:*", "nocommands"])
    assert {part for part in doc.split() if part.startswith("+")} == set(ACL.split())
    own_server.command("ACL", "SETUSER", "wxmp", "on", ">pw", "resetkeys", "~wxmp:send:*", "nocommands", *ACL.split())
    async with RedisJournal(f"redis://wxmp:pw@127.0.0.1:{own_server.port}", timeout=10) as journal:
        await use_everything(journal)
        let_redis_age(own_server, 20 * 86_400)
        await journal.begin(RUN, fingerprint="t1")
    for word in ACL.split():
        text = word.removeprefix("+").upper()
        if text not in ("EVAL", "EVALSHA"):
            assert any(f"'{text}'" in script for script in scripts()), text


def scripts():
    import wxmp.broadcast.redis as module
    from wxmp._redis import Script

    return [value.text for value in vars(module).values() if isinstance(value, Script)]


async def test_the_journal_works_in_a_cluster():
    """All keys of a call are named and in one slot, so a cluster client can be used; its silent repeats are known."""
    with RedisServer("--cluster-enabled", "yes") as server:
        server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        end = time.monotonic() + 20
        while b"cluster_state:ok" not in server.command("CLUSTER", "INFO"):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=server.port)
        async with RedisJournal(client, timeout=10) as journal:
            await use_everything(journal)
            await journal._extend(RUN, journal._begun[RUN])
        await client.aclose()


async def test_a_client_that_decodes_can_be_used(redis_server):
    """Of a client only the settings are taken."""
    client = redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True)
    async with RedisJournal(client, timeout=10) as journal:
        await use_everything(journal)
    assert await client.ping()
    await client.aclose()


# ---- loops, threads, forks


def test_redis_is_not_loaded_with_the_module():
    """Importing the module loads no redis."""
    script = "import sys, wxmp.broadcast.redis; assert not any(n.split('.')[0] == 'redis' for n in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


def test_two_threads_share_a_journal(redis_server):
    """Two event loops at once, each in its own thread: each recipient is claimed once."""
    journal = RedisJournal(redis_server.url, timeout=20)
    start = threading.Barrier(2, timeout=10)
    got = []

    async def compete(name):
        await journal.begin(RUN, fingerprint="t1")
        start.wait()
        for number in range(0, 100, 4):
            got.extend(await claim(journal, *(f"o{number + part}" for part in range(4)), owner=name))
        await journal.aclose()

    threads = [threading.Thread(target=asyncio.run, args=(compete(name),)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(got) == sorted(f"o{number}" for number in range(100))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_uses_connections_of_its_own(redis_server):
    """Parent and child go on with the same journal, and share the recipients."""
    journal = RedisJournal(redis_server.url, timeout=20)

    async def use(owner, turns):
        for turn in range(turns):
            await claim(journal, f"{owner}{turn}", "both", owner=owner)
            await record(journal, accepted(f"{owner}{turn}"))

    async def parent():
        await journal.begin(RUN, fingerprint="t1")
        await use("before", 3)
        pid = os.fork()
        if pid == 0:
            code = 1
            signal.alarm(30)
            try:
                failed = []
                threading.excepthook = failed.append
                worker = threading.Thread(target=lambda: asyncio.run(use("child", 50)))
                worker.start()
                worker.join()
                code = len(failed)
            finally:
                os._exit(code)
        await use("parent", 50)
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            await asyncio.sleep(0.01)
        assert await journal.counts(RUN) == {Outcome.ACCEPTED: 103, None: 1}
        return os.waitstatus_to_exitcode(status)

    assert asyncio.run(parent()) == 0


async def test_cancelling_the_caller_is_not_a_failure(own_server):
    """A caller that is cancelled sees its cancellation, and the journal works on."""
    async with RedisJournal(own_server.url, timeout=10) as journal:
        await journal.begin(RUN, fingerprint="t1")
        with own_server.frozen():
            task = asyncio.ensure_future(claim(journal, "o1"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await claim(journal, "o2") == ["o2"]
