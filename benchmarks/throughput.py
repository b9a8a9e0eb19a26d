"""Calls per second, 100 at a time, against a server that takes 40 ms; and the connections that takes."""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from benchmarks._report import Row, compared, run
from benchmarks._slow_server import connections, running
from benchmarks._ways import WAYS
from benchmarks._worker import worker

CONCURRENCY = 100
DELAY_MS = 40
CALLS = {"wxmp": 1500, "wechatpy": 1500, "httpx": 500}


def measure(quick: bool) -> list[Row]:
    """Run all ways in turns."""
    rounds = 1 if quick else 5
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    new = dict.fromkeys(WAYS, 0.0)
    made = dict.fromkeys(WAYS, 0)
    with ExitStack() as stack:
        url = stack.enter_context(running(DELAY_MS))
        workers = {way: stack.enter_context(worker(way, CONCURRENCY, url)) for way in WAYS}
        seen = connections(url)
        for _ in range(rounds):
            for way, values in found.items():
                calls = CALLS[way] // 5 if quick else CALLS[way]
                values.append(calls / workers[way].measure(calls)[1])
                before, seen = seen, connections(url)
                # The server also counts whoever asks for its counters.
                new[way] += seen - before - 1
                made[way] += calls
    return [
        # Not gated: 100 calls of 40 ms are 2500 a second at most, so the ratio is bounded by what httpx can do on the
        # machine at hand. The last row gates what any machine can be held to.
        Row(
            claim=f"calls/s, 100 at a time, server takes {DELAY_MS} ms",
            unit="/s",
            peer_name="httpx",
            **compared(found["wxmp"], found["httpx"]),
        ),
        Row(
            claim=f"calls/s, 100 at a time, server takes {DELAY_MS} ms",
            unit="/s",
            peer_name="wechatpy",
            ratio_at_least=1.4,
            **compared(found["wxmp"], found["wechatpy"]),
        ),
        Row(
            claim=f"new connections over {made['wxmp']:,} calls once warm",
            unit="",
            ours=new["wxmp"],
            peer_name=f"wechatpy ({made['wechatpy']:,} calls)",
            peer=new["wechatpy"],
            at_most=0,
        ),
        Row(
            claim="share of what the server's 40 ms allow",
            unit="%",
            ours=statistics.median(found["wxmp"]) / (CONCURRENCY / DELAY_MS * 1000) * 100,
            at_least=75,
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(run("throughput", measure))
