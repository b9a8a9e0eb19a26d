"""Instructions of one ``user.get`` from end to end, one call at a time, client process only."""

from __future__ import annotations

from benchmarks._callgrind import instructions
from benchmarks._report import Row, run
from benchmarks._slow_server import running
from benchmarks._ways import WAYS, import_wechatpy


def measure(quick: bool) -> list[Row]:
    """Count all ways against one server."""
    import_wechatpy()  # better missed now than after two minutes
    with running() as url:
        counted = {way: instructions(way, url, 10 if quick else 200) / 1000 for way in WAYS}
    limits = {"httpx": 0.85, "wechatpy": 0.65}
    return [
        Row(
            claim="user.get end to end, 1 at a time",
            unit="k instructions",
            ours=counted["wxmp"],
            peer_name=peer,
            peer=counted[peer],
            ratio_at_most=limit,
        )
        for peer, limit in limits.items()
    ]


if __name__ == "__main__":
    raise SystemExit(run("user_get", measure))
