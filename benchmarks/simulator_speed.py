"""What the simulator costs a test suite: fresh worlds, calls without sockets, and the plugin in a run without it.

A process of its own makes 200 worlds one after the other, each with a follower, a client of ours and ten ``user.get``,
as 200 tests with the fixture ``wx_sim`` do. The peer is the same with each world behind a port of its own.
The plugin is timed where every pytest run pays for it: in a process that has pytest loaded already.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks._report import Row, compared, run
from benchmarks._worker import clean_environment

ROOT: Final = Path(__file__).parents[1]
CALLS_PER_WORLD: Final = 10
_PLUGIN: Final = """
import json, pytest, sys, time
before = set(sys.modules)
started = time.perf_counter()
import wxmp.pytest_plugin
seconds = time.perf_counter() - started
print(json.dumps([seconds * 1000, len(set(sys.modules) - before)]))
"""
_PYTEST: Final = """
import json, time
started = time.perf_counter()
import pytest
print(json.dumps([(time.perf_counter() - started) * 1000, 0]))
"""


async def in_process(worlds: int) -> float:
    """Return the seconds of so many worlds and ten calls in each, without sockets."""
    from wxmp._wx_sim import WxSim

    started = time.perf_counter()
    for seed in range(worlds):
        with WxSim(seed=seed, followers=1) as sandbox:
            client = sandbox.client()
            (openid,) = sandbox.account.users
            for _ in range(CALLS_PER_WORLD):
                await client.user.get(openid)
    return time.perf_counter() - started


async def on_ports(worlds: int) -> float:
    """Return the same over HTTP, each world on a port of its own."""
    from wxmp import Client
    from wxmp._wx_sim import WxSim

    started = time.perf_counter()
    for seed in range(worlds):
        with WxSim(seed=seed, followers=1) as sandbox:
            (openid,) = sandbox.account.users
            async with Client(sandbox.appid, sandbox.secret, base_url=sandbox.url) as client:
                for _ in range(CALLS_PER_WORLD):
                    await client.user.get(openid)
    return time.perf_counter() - started


def bare_world(worlds: int) -> float:
    """Return the microseconds of one fresh world."""
    from wxmp.simulator import World

    started = time.perf_counter()
    for seed in range(worlds):
        World(seed=seed)
    return (time.perf_counter() - started) / worlds * 1_000_000


def sample(program: str) -> tuple[float, int]:
    """Return the milliseconds of an import in a new process, and how many modules came with it."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    milliseconds, modules = json.loads(done.stdout)
    return milliseconds, modules


def measure(quick: bool) -> list[Row]:
    """Measure in turns."""
    worlds = 20 if quick else 200
    asyncio.run(in_process(2))  # loads what is loaded once
    asyncio.run(on_ports(2))
    ours: list[float] = []
    peer: list[float] = []
    for _ in range(1 if quick else 5):
        ours.append(asyncio.run(in_process(worlds)))
        peer.append(asyncio.run(on_ports(worlds)))
    fresh = [bare_world(worlds) for _ in range(3)]
    plugin = [sample(_PLUGIN) for _ in range(2 if quick else 10)]
    pytest = [sample(_PYTEST)[0] for _ in plugin]
    return [
        Row(
            claim=f"{worlds} fresh worlds with a client, {CALLS_PER_WORLD} calls in each, no sockets",
            unit="s",
            peer_name="on ports",
            at_most=3.0,
            **compared(ours, peer),
        ),
        Row(claim="a fresh World", unit="us", ours=statistics.median(fresh), rounds=fresh),
        Row(
            claim="the pytest plugin in a run that does not use it",
            unit="ms",
            peer_name="import pytest",
            ratio_at_most=0.1,
            **compared([milliseconds for milliseconds, _ in plugin], pytest),
        ),
        Row(claim="modules the plugin loads", unit="", ours=max(count for _, count in plugin), at_most=2),
    ]


if __name__ == "__main__":
    raise SystemExit(run("simulator_speed", measure))
