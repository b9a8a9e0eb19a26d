"""Several real processes, one shared token, and everything that can go wrong with it.

Each test asserts how many token requests reached the platform, not only that calls succeeded.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from wxmp.simulator import Policy

from .fleet import CALM, QUICK, Fleet, Worker, errors, slowest, waited
from .together import Place, Wave

if TYPE_CHECKING:
    from tests.redis_server import RedisServer
    from wxmp.simulator.faults import Effect
    from wxmp.simulator.state import Channel

#: The first test of a wave takes as long as its longest case.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

#: The platform with tokens that live 20 s; the old one overlaps 6 s.
SHORT_LIVES = Policy(token_life=20, token_overlap=6.0, stable_rotate_before=6.0)
#: Seconds from one call of a process to its next: a refresh that somebody waits for meets several calls.
PACE = 0.2

STORES = {"redis": "redis", "file": "file"}
CHANNELS = {"plain": "plain", "stable": "stable"}
EFFECTS: tuple[Effect, ...] = ("busy", "status", "reset_before", "reset_after", "truncated")

#: Longest wait for a token when none has to be waited for. Not the time of a call, which is the machine's as well.
AT_ONCE = 0.5
#: What asserts that no call waits is not in one wave with what keeps starting processes.
planned, due, away, short, cold = Wave(), Wave(), Wave(), Wave(), Wave()


def wait_for(condition: object, timeout: float = 40.0) -> None:
    """Poll until ``condition()`` is true; the moment is the other process's to choose."""
    deadline = time.monotonic() + timeout
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# ---- cold start and planned refresh


@pytest.mark.parametrize("channel", ["plain", "stable"])
def test_cold_start_of_six_processes(fleet: Fleet, channel: str) -> None:
    """6 processes x 16 callers start cold: one token request, no error."""
    fleet.channel = channel
    fleet.start(6)
    outcomes = fleet.all("calls", 16)
    assert errors(outcomes) == []
    assert fleet.requests == 1


def test_sixteen_processes_on_a_cold_redis(redis_fleet: Fleet) -> None:
    """16 processes x 5 calls on a cold shared Redis: one token request."""
    redis_fleet.start(16)
    outcomes = redis_fleet.all("calls", 5)
    assert errors(outcomes) == []
    assert sum(outcome["calls"] for outcome in outcomes) == 80
    assert redis_fleet.requests == 1


@planned.test(store=STORES, delay={"fast": 0.0, "slow": 0.8}, channel=CHANNELS)
def test_planned_refreshes(place: Place, store: str, channel: Channel, delay: float) -> None:
    """Tokens of 20 s for 25 s of traffic: one request per rotation, no error, and no call waits for a refresh."""
    fleet = place.fleet(3, store, channel, policy=SHORT_LIVES)
    fleet.all("calls", 1)
    if delay:
        for path in ("/cgi-bin/token", "/cgi-bin/stable_token"):
            fleet.simulator.fault("latency", path, seconds=delay)
    fleet.all("start", PACE)
    time.sleep(25)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < AT_ONCE
    issued = fleet.simulator.tokens_issued(channel)
    assert 2 <= issued <= 4
    assert fleet.requests <= issued + 2


def test_rolling_restart_reuses_the_token(fleet: Fleet) -> None:
    """All processes are replaced one after the other: no request."""
    for _ in range(3):
        (worker,) = fleet.start(1)
        assert errors([worker.ask("calls", 4)]) == []
        worker.end()
    fleet.workers.clear()
    assert fleet.requests == 1


# ---- dead tokens


@short.test(store=STORES, channel=CHANNELS)
def test_killed_token_is_replaced_once(place: Place, store: str, channel: Channel) -> None:
    """Another system's forced refresh kills the token under traffic: one replacement, no error."""
    # A store that is only busy must not count as down, or each process would fetch for itself.
    fleet = place.fleet(4, store, channel, **CALM)
    fleet.all("calls", 2)
    fleet.all("start", 0.1)
    time.sleep(0.5)
    fleet.simulator.kill_token(channel, how="forced")
    outcomes = fleet.all("calls", 8)  # many in each process meet the dead token at once
    time.sleep(2.0)
    outcomes += fleet.all("stop")
    assert errors(outcomes) == []
    assert fleet.requests == 2


@due.test(store=STORES)
def test_outsider_fetches_once(place: Place, store: str) -> None:
    """Another system fetches once on the plain channel: our token dies after the overlap, one replacement."""
    fleet = place.fleet(3, store, policy=SHORT_LIVES)
    fleet.all("calls", 1)
    fleet.simulator.kill_token("plain", how="plain")
    fleet.all("start", PACE)
    time.sleep(8)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert fleet.requests == 2


def test_every_new_token_is_dead_on_arrival(redis_fleet: Fleet) -> None:
    """A duel that nobody can win stops at the budget of ten, with the code in the error."""
    fleet = redis_fleet
    fleet.start(3)
    fleet.all("calls", 1)
    fleet.simulator.world.kill_token("plain")
    fleet.simulator.world.kill_new_tokens("plain")
    outcomes = []
    for _ in range(4):
        outcomes += fleet.all("calls", 4)
    assert fleet.requests <= 12
    seen = set(errors(outcomes))
    assert seen
    assert all(error.startswith("DeadTokenError 4") for error in seen)


# ---- a platform that fails


@due.test(effect={effect: effect for effect in EFFECTS})
def test_failing_endpoint_while_the_old_token_works(place: Place, effect: Effect) -> None:
    """-1, 502, resets, garbage while a refresh is due: the old token is served, few requests, recovery."""
    fleet = place.fleet(3, policy=SHORT_LIVES)
    fleet.all("calls", 1)  # nobody asks for a token again before half of its life is over
    # A lost answer has issued a token: a second one in a row would end the old token at once, for only two
    # generations live on the plain channel.
    fleet.simulator.fault(effect, "/cgi-bin/token", first=1 if effect in ("reset_after", "truncated") else 2)
    fleet.all("start", PACE)
    time.sleep(17)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < AT_ONCE
    assert 3 <= fleet.requests <= 6


def test_hanging_endpoint_when_cold(redis_fleet: Fleet) -> None:
    """The token endpoint hangs once: given up after the request's time limit, two requests, no error."""
    fleet = redis_fleet
    fleet.simulator.fault("hang", "/cgi-bin/token", first=1)
    fleet.start(3)
    outcomes = fleet.all("calls", 4)
    assert errors(outcomes) == []
    assert fleet.requests == 2
    assert slowest(outcomes) < QUICK["wait_timeout"] - 1.0


@pytest.mark.parametrize(
    ("errcode", "kind"), [(40164, "AccountError 40164"), (40125, "AccountError 40125"), (45009, "RateLimitError 45009")]
)
def test_permanent_error_from_cold(redis_fleet: Fleet, errcode: int, kind: str) -> None:
    """A person has to act: every caller gets the typed error at once, and the platform is asked once."""
    fleet = redis_fleet
    fleet.simulator.fault("errcode", "/cgi-bin/token", errcode=errcode)
    fleet.start(4)
    outcomes = []
    for _ in range(3):
        outcomes += fleet.all("calls", 5)
    assert set(errors(outcomes)) == {kind}
    assert len(errors(outcomes)) == 60
    assert slowest(outcomes) < QUICK["wait_timeout"] - 1.0
    assert fleet.requests == 1


# ---- processes that die or freeze


@cold.test(store=STORES)
def test_holder_is_killed_when_cold(place: Place, store: str) -> None:
    """Kill -9 of the process that holds the lease, nobody has a token: a waiter takes over, one request more."""
    fleet = place.fleet(4, store, **CALM)
    fleet.simulator.fault("hang", "/cgi-bin/token", first=1)
    holder, *others = fleet.workers
    holder.send("calls", 1)
    wait_for(lambda: fleet.requests == 1)
    started = time.monotonic()
    for worker in others:
        worker.send("calls", 4)
    time.sleep(0.2)
    holder.kill()
    fleet.workers.remove(holder)
    outcomes = [worker.receive() for worker in others]
    assert errors(outcomes) == []
    assert fleet.requests == 2
    assert time.monotonic() - started < CALM["wait_timeout"] - 3.0


@due.test(store=STORES)
def test_holder_is_killed_while_the_old_token_lives(place: Place, store: str) -> None:
    """Kill -9 of the holder during a planned refresh: nobody waits, somebody takes over after the lease."""
    fleet = place.fleet(3, store, policy=SHORT_LIVES)
    fleet.all("calls", 1)
    fleet.simulator.fault("hang", "/cgi-bin/token", first=1)
    fleet.all("start", PACE)
    wait_for(lambda: fleet.requests == 2)
    victim = holder_of(fleet.workers)
    victim.kill()
    fleet.workers.remove(victim)
    wait_for(lambda: fleet.requests == 3)
    time.sleep(1)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < AT_ONCE
    assert fleet.requests == 3


def holder_of(workers: list[Worker]) -> Worker:
    """The process that made the last token request is the only one with a second connection to the simulator."""
    counts = {worker: len(_sockets(worker)) for worker in workers}
    return max(counts, key=lambda worker: counts[worker])


def _sockets(worker: Worker) -> list[str]:
    from pathlib import Path

    found = []
    for entry in Path(f"/proc/{worker.pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.append(target)
    return found


@cold.test(store=STORES)
def test_frozen_holder_is_fenced_out(place: Place, store: str) -> None:
    """SIGSTOP beyond the lease, then SIGCONT: the late token is refused, the newer one adopted, no error."""
    fleet = place.fleet(3, store, **CALM)
    # Time to stop it before it has the answer.
    fleet.simulator.fault("latency", "/cgi-bin/token", seconds=2.5, first=1)
    frozen, *others = fleet.workers
    frozen.send("calls", 4)
    wait_for(lambda: fleet.requests == 1)
    frozen.signal(signal.SIGSTOP)
    outcomes = fleet.all("calls", 4, workers=others)
    newer = others[0].ask("token")
    frozen.signal(signal.SIGCONT)
    outcomes.append(frozen.receive())
    assert errors(outcomes) == []
    assert frozen.ask("token") == newer
    assert others[1].ask("token") == newer
    assert fleet.requests == 2


@away.test(store=STORES)
def test_frozen_bystander_comes_back(place: Place, store: str) -> None:
    """A process frozen for longer than a token lives comes back and goes on with the current token."""
    fleet = place.fleet(2, store, policy=SHORT_LIVES)
    frozen, other = fleet.workers
    fleet.all("calls", 1)
    frozen.signal(signal.SIGSTOP)
    other.send("start", 0.1)
    assert other.receive() is None
    time.sleep(22)
    frozen.signal(signal.SIGCONT)
    before = fleet.requests
    outcomes = [frozen.ask("calls", 4), other.ask("stop")]
    assert errors(outcomes) == []
    assert fleet.requests - before <= 1


# ---- Redis goes away


@short.test()
def test_redis_is_flushed(place: Place) -> None:
    """FLUSHALL under traffic: the token is put back from memory, no request."""
    fleet = place.fleet(3)
    fleet.all("calls", 1)
    fleet.all("start", 0.05)
    place.redis.command("FLUSHALL")
    wait_for(lambda: place.redis.command("KEYS", "wxmp:*"))
    time.sleep(1)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    (newcomer,) = fleet.start(1)
    assert errors([newcomer.ask("calls", 2)]) == []
    assert fleet.requests == 1


@away.test()
def test_redis_is_killed_and_comes_back_empty(place: Place) -> None:
    """Kill -9 of Redis, five seconds without, back empty: no request, no error, no call that waits."""
    fleet, redis = place.fleet(3), place.redis
    fleet.all("calls", 1)
    fleet.all("start", PACE)
    redis.kill()
    time.sleep(5)
    redis.start()
    time.sleep(7)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < AT_ONCE
    (newcomer,) = fleet.start(1)
    assert errors([newcomer.ask("calls", 2)]) == []
    assert fleet.requests == 1


@away.test()
def test_redis_is_a_black_hole(place: Place) -> None:
    """Redis accepts and never answers for ten seconds: calls are as fast as before, no request."""
    fleet, redis = place.fleet(3), place.redis
    fleet.all("calls", 1)
    fleet.all("start", PACE)
    redis.stop()  # SIGSTOP
    time.sleep(10)
    redis.resume()
    time.sleep(1)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < AT_ONCE
    assert fleet.requests == 1


@away.test(state={"out of memory": "out of memory", "read-only": "read-only"})
def test_redis_refuses_writes_while_a_refresh_is_due(place: Place, state: str) -> None:
    """OOM or READONLY while a refresh is due: the old token is served; after recovery the fleet refreshes once."""
    fleet, redis = place.fleet(3, policy=SHORT_LIVES), place.redis
    fleet.all("calls", 1)
    fleet.all("start", PACE)
    if state == "out of memory":
        redis.command("CONFIG", "SET", "maxmemory", "1")
    else:
        redis.command("REPLICAOF", "127.0.0.1", "1")
    time.sleep(12)
    assert fleet.requests == 1
    if state == "out of memory":
        redis.command("CONFIG", "SET", "maxmemory", "0")
    else:
        redis.command("REPLICAOF", "NO", "ONE")
    time.sleep(6)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert waited(outcomes) < AT_ONCE
    assert fleet.requests == 2


def test_redis_is_replaced_by_a_replica_with_an_older_token(redis_fleet: Fleet, redis: RedisServer) -> None:
    """Failover to a replica that missed the last refresh: the newer token is put back, at most one request more."""
    fleet = redis_fleet
    workers = fleet.start(3)
    fleet.all("calls", 1)
    (key,) = redis.command("KEYS", "wxmp:*")
    old = redis.command("HGETALL", key)
    workers[0].ask("refresh")
    newer = workers[0].ask("token")
    redis.command("DEL", key)
    redis.command("HSET", key, *old)
    fleet.all("start", 0.05)
    time.sleep(2)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    assert fleet.requests <= 3
    assert set(fleet.all("token")) == {newer}


def test_redis_is_lost_between_fetch_and_commit(redis_fleet: Fleet, redis: RedisServer) -> None:
    """Redis dies while the platform answers and is back before the lease ends: kept, stored, one request."""
    fleet = redis_fleet
    fleet.policy = dict(CALM)
    fleet.simulator.fault("latency", "/cgi-bin/token", seconds=2.0, first=1)
    first, second = fleet.start(2)
    first.send("calls", 2)
    wait_for(lambda: fleet.requests == 1)
    redis.kill()
    outcomes = [first.receive()]
    redis.start()
    time.sleep(1.5)
    outcomes.append(second.ask("calls", 2))
    assert errors(outcomes) == []
    assert fleet.requests == 1


@pytest.mark.parametrize(("channel", "expected"), [("plain", {"TokenStoreUnavailable"}), ("stable", set())])
def test_redis_is_gone_from_the_start(redis_fleet: Fleet, redis: RedisServer, channel: str, expected: set[str]) -> None:
    """No store and no token: an error on the plain channel, a token for each process on the stable one."""
    fleet = redis_fleet
    fleet.channel = channel
    redis.kill()
    fleet.start(3)
    outcomes = fleet.all("calls", 4)
    assert set(errors(outcomes)) == expected
    assert fleet.requests == (0 if channel == "plain" else 3)
    tokens = set(fleet.all("token")) if channel == "stable" else {"-"}
    assert len(tokens) == 1


# ---- the file is damaged


@short.test(damage={damage: damage for damage in ("truncated", "emptied", "garbage", "deleted")})
def test_file_is_damaged(place: Place, damage: str) -> None:
    """Whatever happens to the token file: it is put back from memory, at most one request more, no error."""
    fleet = place.fleet(3, "file")
    fleet.all("calls", 1)
    fleet.all("start", 0.05)
    (record,) = place.folder.rglob("*.json")  # and not the draft of one that is being written
    if damage == "deleted":
        record.unlink()
    else:
        whole = record.read_bytes()
        record.write_bytes({"truncated": whole[: len(whole) // 2], "emptied": b"", "garbage": b"\x00\xff{"}[damage])
    time.sleep(2)
    outcomes = fleet.all("stop")
    assert errors(outcomes) == []
    (newcomer,) = fleet.start(1)
    assert errors([newcomer.ask("calls", 2)]) == []
    assert fleet.requests <= 2


# ---- clocks


def test_hosts_two_hours_apart_and_clock_jumps(fleet: Fleet) -> None:
    """Wall clocks two hours apart that then jump by three hours have no effect: one token request."""
    for offset in (-7200.0, 0.0, 7200.0):
        fleet.start(1, wall_offset=offset)
    outcomes = fleet.all("calls", 4)
    for worker, jump in zip(fleet.workers, (10_800, -10_800, 10_800), strict=True):
        worker.ask("jump", jump)
    fleet.all("start", 0.05)
    time.sleep(2)
    outcomes += fleet.all("stop")
    (newcomer,) = fleet.start(1, wall_offset=-90_000.0)
    outcomes.append(newcomer.ask("calls", 2))
    assert errors(outcomes) == []
    assert len(set(fleet.all("token"))) == 1
    assert fleet.requests == 1


# ---- the settings used here


def test_policy_of_these_tests_keeps_the_proportions() -> None:
    """The quick times used here obey the same rules as the defaults."""
    from wxmp import TokenPolicy

    policy = TokenPolicy(**QUICK)
    assert policy.lease >= 2 * policy.request_timeout
    assert Policy().token_overlap == TokenPolicy().overlap
