"""The benchmarks start and report. What they measure is judged by ``make bench``: here no time is looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _report, user_get
from benchmarks.__main__ import SCRIPTS
from benchmarks._report import MISSED, NOT_INSTALLED, Row, compared, table
from benchmarks._slow_server import running
from benchmarks._ways import ASYNCHRONOUS

ROOT = Path(__file__).parents[1]

#: What each script needs beside the development tools, and what it says without.
NEEDS = {
    "layer": ["valgrind"],
    "cpu": ["wechatpy"],
    "throughput": ["wechatpy"],
    "fleet": ["wechatpy"],
    "webhook_in_out": ["wechatpy"],
    "webhook_server": ["wrk", "wechatpy", "httptools"],
    "control_token": ["wrk", "httptools"],
    "pay_signing": ["wechatpayv3"],
    "pay_calls": ["wechatpayv3"],
}
REMEDIES = {
    "valgrind": "apt-get install valgrind",
    "wrk": "apt-get install wrk",
    "wechatpy": "pip install --group bench",
    "wechatpayv3": "pip install --group bench",
    "httptools": "pip install --group bench",
}


# Figures of traced code would be worth nothing, and callgrind would count the tracer.
pytestmark = pytest.mark.usefixtures("untraced_processes")


def start(name: str, results: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--results", str(results)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def missing(name: str) -> list[str]:
    tools = ("valgrind", "wrk")
    return [need for need in NEEDS.get(name, []) if not (shutil.which if need in tools else find_spec)(need)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "user_get"])
def test_each_script_reports_or_says_what_to_install(name: str, tmp_path: Path) -> None:
    """A script prints a table and writes rows with limits; without its tool or peer it names the remedy and fails."""
    done = start(name, tmp_path)
    absent = missing(name)
    if absent:
        assert done.returncode == NOT_INSTALLED
        assert any(REMEDIES[need] in done.stderr for need in absent)
        return
    assert done.returncode in (0, MISSED), done.stderr
    rows = [Row.from_json(row) for row in json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["rows"]]
    assert any(row.passed is not None for row in rows)
    assert all(row.claim in done.stdout for row in rows)
    assert done.returncode == (MISSED if any(row.passed is False for row in rows) else 0)


@pytest.mark.parametrize("way", [*ASYNCHRONOUS, "layer", "wechatpy"])
def test_what_is_counted_runs(way: str) -> None:
    """Each counted program makes its calls; here without valgrind, under which it would take half a minute."""
    with running() as url:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks._callgrind", way, url, "3"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if way == "wechatpy" and find_spec("wechatpy") is None:
        assert REMEDIES["wechatpy"] in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_the_whole_call_is_held_against_both_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script for the whole call counts each way once and compares ours with httpx and with wechatpy."""
    counts = {"wxmp": 1_000.0, "httpx": 2_000.0, "wechatpy": 4_000.0}
    monkeypatch.setattr(user_get, "import_wechatpy", lambda: None)
    monkeypatch.setattr(user_get, "instructions", lambda way, url, calls: counts.pop(way))
    rows = user_get.measure(True)
    assert [(row.peer_name, row.ratio) for row in rows] == [("httpx", 0.5), ("wechatpy", 0.25)]
    assert not counts


def test_counting_without_valgrind_fails_clearly(tmp_path: Path) -> None:
    """Where valgrind is missing, a script that needs it says how to install it and writes no figure."""
    empty = tmp_path / "bin"
    empty.mkdir()
    done = start("layer", tmp_path, {**os.environ, "PATH": str(empty)})
    assert done.returncode == NOT_INSTALLED
    assert REMEDIES["valgrind"] in done.stderr
    assert not (tmp_path / "layer.json").exists()


def test_without_its_peer_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where wechatpy is missing, the way through it says how to install it."""
    from benchmarks._ways import import_wechatpy

    monkeypatch.setitem(sys.modules, "wechatpy", None)
    with pytest.raises(_report.NotInstalledError, match="--group bench"):
        import_wechatpy()


def run_all(results: Path, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--results", str(results), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_a_figure_that_cannot_be_taken_fails_the_run(tmp_path: Path) -> None:
    """A script without figures makes the whole run fail, and an older figure does not stand in for it."""
    old = tmp_path / "layer.json"
    old.write_text('{"rows": []}', encoding="utf-8")
    done = run_all(tmp_path, "--only", "layer", environment={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == MISSED
    assert REMEDIES["valgrind"] in done.stdout
    assert not old.exists()


def test_results_are_not_committed() -> None:
    """The folder of the results is ignored by git."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"{_report.RESULTS.relative_to(ROOT)}/" in ignored


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"at_most": 10.0}, True),
        ({"at_most": 9.9}, False),
        ({"ratio_at_most": 0.5}, True),
        ({"ratio_at_most": 0.49}, False),
        ({"ratio_at_least": 0.5}, True),
        ({"ratio_at_least": 0.51}, False),
        ({}, None),
    ],
)
def test_a_limit_is_kept_or_missed(limits: dict[str, Any], expected: bool | None) -> None:
    """A limit holds for our figure or for its ratio to the peer's; the limit itself is allowed."""
    assert Row(claim="c", unit="us", ours=10.0, peer_name="p", peer=20.0, **limits).passed is expected


def test_rounds_are_compared_with_their_neighbours() -> None:
    """A round that was slow for both sides does not change the ratio."""
    assert compared([1.0, 100.0, 1.0], [2.0, 200.0, 4.0])["given_ratio"] == 0.5


def test_rows_survive_their_file(tmp_path: Path) -> None:
    """A row read back from its file is the row that was written, and both make the same table."""
    row = Row(claim="import wxmp", unit="ms", ours=3.0, peer_name="import httpx", peer=60.0, ratio_at_most=0.3)
    _report.save("x", [row], tmp_path)
    data = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    again = Row.from_json(data["rows"][0])
    assert again.ratio == row.ratio
    assert table([again]) == table([row])
