"""Token requests that a cold fleet needs: 16 processes, 5 calls each, one shared Redis.

The platform is the simulator. Its daily quota for token requests is lifted, so that it is the client that is measured
and not the refusal; the rest of its rules stand: of two tokens fetched one after the other the first lives on for five
minutes, a third one ends it at once. wechatpy uses its own ``RedisStorage`` on the plain channel, the only one it
knows; our plain channel is held against it, the stable one stands beside. All processes have everything loaded before
any of them starts, and whoever is not done in time is stopped: wechatpy's figure is then a lower bound.

wechatpy's figure is a matter of luck: if the first process has its token before the others ask, a few requests do; if
not, the processes end each other's tokens for seconds. So it is shown with its least and its most, never alone.
"""

from __future__ import annotations

import contextlib
import json
import select
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from benchmarks._report import NOT_INSTALLED, NotInstalledError, Row, run
from benchmarks._worker import clean_environment
from tests.redis_server import RedisServer
from wxmp.simulator import DailyQuota, Policy, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
PROCESSES: Final = 16
CALLS: Final = 5
#: Seconds for the calls of a whole fleet, and for all processes to load.
PATIENCE: Final = 30.0
THREADS_PATIENCE: Final = 15.0
STARTUP: Final = 60.0


@attrs.frozen
class Outcome:
    """What became of one fleet."""

    token_requests: int
    succeeded: int
    seconds: float


@contextlib.contextmanager
def member(way: str, settings: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Start one process and make sure that it ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._fleet_member", way, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # tracebacks of calls that failed; they are counted
        cwd=ROOT,
        env=clean_environment(),
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str], deadline: float) -> str:
    """Return the next line of a process, an empty text if there is none in time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0))
    return process.stdout.readline() if ready else ""


def run_fleet(
    way: str, *, processes: int, channel: str = "plain", threads: bool = False, patience: float = PATIENCE
) -> Outcome:
    """Start a fleet on an empty Redis and a new platform, and count."""
    plenty = DailyQuota(10_000_000, 10_000_000)
    quotas = dict.fromkeys(["/cgi-bin/token", "/cgi-bin/stable_token", "/cgi-bin/user/info"], plenty)
    policy = Policy(daily_quotas=quotas, minute_quotas={})
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator(policy=policy, followers=1))
        server = stack.enter_context(RedisServer())
        settings = {
            "appid": simulator.account.appid,
            "secret": simulator.account.secret,
            "url": simulator.url,
            "redis": server.url,
            "openid": next(iter(simulator.account.users)),
            "channel": channel,
            "threads": threads,
            "calls": CALLS,
        }
        members = [stack.enter_context(member(way, settings)) for _ in range(processes)]
        deadline = time.monotonic() + STARTUP
        for process in members:
            if line_of(process, deadline) != "ready\n":
                # Its output ends a moment before the process does, and its exit code says why.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
                if process.poll() == NOT_INSTALLED:
                    raise NotInstalledError(f"{way} is missing: pip install --group bench")
                raise RuntimeError(f"a process of the fleet ({way}) did not start")
        started = time.monotonic()
        for process in members:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        lines = [line_of(process, started + patience) for process in members]
        seconds = time.monotonic() - started
        done = [json.loads(line) for line in lines if line]
        succeeded = sum(each["calls"] - len(each["errors"]) for each in done)
        return Outcome(simulator.token_requests, succeeded, seconds)


def measure(quick: bool) -> list[Row]:
    """Run the fleets in turns."""
    rounds, processes = (1, 2) if quick else (7, PROCESSES)
    patience = {"sequential": 5.0 if quick else PATIENCE, "threads": 5.0 if quick else THREADS_PATIENCE}
    found: dict[str, list[Outcome]] = {name: [] for name in ("plain", "stable", "sequential", "threads")}
    for number in range(rounds):
        for channel in ("plain", "stable"):
            found[channel].append(run_fleet("wxmp", channel=channel, processes=processes))
        for name, seconds in patience.items():
            # With threads it does not come to an end: once is enough to see that.
            if name == "sequential" or number == 0:
                threads = name == "threads"
                found[name].append(run_fleet("wechatpy", threads=threads, processes=processes, patience=seconds))

    def requests(name: str) -> list[int]:
        return [each.token_requests for each in found[name]]

    def failed(name: str) -> float:
        return statistics.median([processes * CALLS - each.succeeded for each in found[name]])

    work = f"{processes} processes x {CALLS} calls, cold Redis"
    peers = {"sequential": "wechatpy (calls one by one)", "threads": f"wechatpy ({CALLS} threads each)"}
    rows = [
        Row(
            claim=f"token requests, {work}, {channel} channel",
            unit="",
            # The worst round: a promise that holds most of the time is none.
            ours=max(requests(channel)),
            at_most=1,
            rounds=requests(channel),
        )
        for channel in ("plain", "stable")
    ]
    rows.append(
        Row(
            claim=f"calls of ours that failed, {work}, both channels",
            unit="",
            ours=max(processes * CALLS - each.succeeded for name in ("plain", "stable") for each in found[name]),
            at_most=0,
        )
    )
    for name, peer in peers.items():
        theirs = requests(name)
        spread = f" (least {min(theirs):,}, most {max(theirs):,})" if len(theirs) > 1 else ""
        rows += [
            Row(
                claim=f"token requests, {work}, plain channel",
                unit="",
                ours=max(requests("plain")),
                peer_name=f"{peer}{spread}",
                peer=statistics.median(theirs),
                rounds=requests("plain"),
                peer_rounds=theirs,
            ),
            Row(
                claim=f"calls that failed or were not done within {patience[name]:g} s",
                unit="",
                ours=failed("plain"),
                peer_name=peer,
                peer=failed(name),
            ),
        ]
    return rows


if __name__ == "__main__":
    raise SystemExit(run("fleet", measure))
