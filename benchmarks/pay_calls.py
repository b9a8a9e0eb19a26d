"""A JSAPI order and its query over TLS: calls per second and CPU per call, 1 and 50 at a time.

Every call is signed and every answer verified on all sides, and the server verifies each request. One RSA signature of
2048 bits is most of what any client can do about it: :mod:`benchmarks.pay_signing` has its price alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from benchmarks._pay_server import running
from benchmarks._pay_ways import KEPT, REQUESTS, SLOW, import_wechatpayv3, worker
from benchmarks._report import Row, compared, run

CONCURRENCY: Final = (1, 50)
#: Turns of a round; a turn is an order and its query.
TURNS: Final = 200
#: What makes a TLS context and a connection for each call takes a hundred times as long: one turn for each of fifty.
SLOW_TURNS: Final = 50
SLOW_ROUNDS: Final = 3
NAMES: Final = {
    "wechatpayv3": "wechatpayv3, async, kept open",
    "wechatpayv3-each": "wechatpayv3, async, a client for each call",
    "wechatpayv3-threads": "wechatpayv3 in threads",
}


def measure(quick: bool) -> list[Row]:
    """Run all ways in turns."""
    import_wechatpayv3()
    rounds = 1 if quick else 9
    most = CONCURRENCY[-1]
    speed: dict[tuple[str, int], list[float]] = {(way, number): [] for way in KEPT for number in CONCURRENCY}
    speed |= {(way, most): [] for way in SLOW}
    cpu: dict[tuple[str, int], list[float]] = {key: [] for key in speed}
    with ExitStack() as stack:
        url, folder = stack.enter_context(running())
        workers = {(way, number): stack.enter_context(worker(way, number, url, folder)) for way, number in speed}
        for measured in range(rounds):
            for way, number in speed:
                if way in SLOW and measured >= SLOW_ROUNDS:
                    continue
                turns = SLOW_TURNS if way in SLOW else TURNS
                turns = max(turns // 10, 2) if quick else turns
                used, seconds = workers[way, number].measure(turns)
                speed[way, number].append(REQUESTS * turns / seconds)
                cpu[way, number].append(used / (REQUESTS * turns) * 1e6)
    rows = []
    for number in CONCURRENCY:
        rows += [
            Row(
                claim=f"pay: order and query, calls/s, {number} at a time",
                unit="/s",
                peer_name=NAMES["wechatpayv3"],
                ratio_at_least=1.0,
                **compared(speed["wxmp", number], speed["wechatpayv3", number]),
            ),
            Row(
                claim=f"pay: CPU per call, {number} at a time",
                unit="us",
                peer_name=NAMES["wechatpayv3"],
                ratio_at_most=1.0,
                **compared(cpu["wxmp", number], cpu["wechatpayv3", number]),
            ),
        ]
    for way in SLOW:
        rows += [
            Row(
                claim=f"pay: order and query, calls/s, {most} at a time",
                unit="/s",
                peer_name=NAMES[way],
                ratio_at_least=10.0,
                **compared(speed["wxmp", most][:SLOW_ROUNDS], speed[way, most]),
            ),
            Row(
                claim=f"pay: CPU per call, {most} at a time",
                unit="us",
                peer_name=NAMES[way],
                **compared(cpu["wxmp", most][:SLOW_ROUNDS], cpu[way, most]),
            ),
        ]
    rows.append(
        Row(
            claim=f"pay: CPU per call is flat: {most} at a time against 1",
            unit="us",
            peer_name="1 at a time",
            ratio_at_most=1.2,
            **compared(cpu["wxmp", most], cpu["wxmp", 1]),
        )
    )
    return rows


if __name__ == "__main__":
    raise SystemExit(run("pay_calls", measure))
