"""CPU time per call of the client process at 1, 10 and 100 calls at a time.

An event loop that serves other requests feels CPU time, not latency. httpx's own pool looks at every connection for
every request, so its price grows with the number of calls; ours must not.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from benchmarks._report import Row, compared, run
from benchmarks._slow_server import running
from benchmarks._ways import WAYS
from benchmarks._worker import worker

CONCURRENCY = (1, 10, 100)
#: httpx needs some 14 ms for a call among a hundred: fewer of them keep the rounds of one length.
CALLS = {"wxmp": 1000, "wechatpy": 1000, "httpx": 300}


def measure(quick: bool) -> list[Row]:
    """Run all ways in turns."""
    rounds = 1 if quick else 7
    found: dict[tuple[str, int], list[float]] = {(way, number): [] for way in WAYS for number in CONCURRENCY}
    with ExitStack() as stack:
        url = stack.enter_context(running())
        workers = {(way, number): stack.enter_context(worker(way, number, url)) for way, number in found}
        for _ in range(rounds):
            for (way, number), values in found.items():
                calls = CALLS[way] // 10 if quick else CALLS[way]
                values.append(workers[way, number].measure(calls)[0] / calls * 1e6)
    ours = {number: found["wxmp", number] for number in CONCURRENCY}
    rows = [
        Row(
            claim=f"CPU per user.get, {number} at a time",
            unit="us",
            peer_name="wechatpy",
            ratio_at_most=0.7,
            **compared(ours[number], found["wechatpy", number]),
        )
        for number in CONCURRENCY
    ]
    rows += [
        Row(
            claim=f"CPU per user.get, {number} at a time",
            unit="us",
            peer_name="httpx",
            ours=statistics.median(ours[number]),
            peer=statistics.median(found["httpx", number]),
            rounds=ours[number],
        )
        for number in CONCURRENCY
    ]
    rows.append(
        Row(
            claim="CPU per user.get is flat: 100 at a time against 1",
            unit="us",
            peer_name="1 at a time",
            ratio_at_most=1.2,
            **compared(ours[100], ours[1]),
        )
    )
    return rows


if __name__ == "__main__":
    raise SystemExit(run("cpu", measure))
