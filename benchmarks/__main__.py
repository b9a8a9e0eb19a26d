"""Run every benchmark and print one table; exit code 1 when a limit is missed or a figure could not be taken."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks._report import MISSED, NOT_INSTALLED, RESULTS, Row, figure, table

#: In the order of the README: what a call costs first, then a fleet, what is pushed to us, what goes to many, payments,
#: then tests.
SCRIPTS = (
    "hot_path",
    "retry_cost",
    "layer",
    "user_get",
    "cpu",
    "throughput",
    "second_client",
    "imports",
    "fleet",
    "webhook_in_out",
    "webhook_server",
    "dedupe_cost",
    "webhook_memory",
    "broadcast_rate",
    "broadcast_memory",
    "broadcast_resume",
    "pay_signing",
    "pay_calls",
    "control_token",
    "simulator_speed",
)
#: Seconds for one script.
PATIENCE = 900


def run_script(name: str, *, quick: bool, results: Path) -> tuple[list[Row], str]:
    """Run one script in a process of its own; return its rows and, if there are none, the reason."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--results", str(results), *(["--quick"] if quick else [])]
    path = results / f"{name}.json"
    path.unlink(missing_ok=True)  # an old figure must not pass for a new one
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return [], f"{name}: no figures within {PATIENCE} s"
    if done.returncode not in (0, MISSED) or not path.exists():
        reason = done.stderr.strip()
        return [], reason if done.returncode == NOT_INSTALLED else f"{name} failed:\n{reason}"
    return [Row.from_json(row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]], ""


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="a smoke run: too short for figures")
    parser.add_argument("--only", choices=SCRIPTS, action="append", help="run this one; may be repeated")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON files")
    given = parser.parse_args()
    rows: list[Row] = []
    failures: list[str] = []
    for name in given.only or SCRIPTS:
        started = time.monotonic()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        found, failure = run_script(name, quick=given.quick, results=given.results)
        print((failure and "no figures") or figure(time.monotonic() - started, "s"), file=sys.stderr)
        rows += found
        if failure:
            failures.append(failure)
    print(table(rows))
    for failure in failures:
        print(f"\n{failure}")
    missed = [row.claim for row in rows if row.passed is False]
    gates = sum(row.passed is not None for row in rows)
    print(f"\n{gates - len(missed)} of {gates} limits kept" + "".join(f"\nmissed: {claim}" for claim in missed))
    return MISSED if missed or failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
