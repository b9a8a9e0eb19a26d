"""The demo as users run it: a program whose output, exit status and processes are what counts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 100.0


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Run:
    """A demo that runs; its processes are collected while it does."""

    def __init__(self, *arguments: str, store: str = "", folder: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WXMP_")}
        environment |= {"TMPDIR": str(folder), "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
        if store:
            environment["WXMP_TOKEN_STORE"] = store
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wxmp", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            # A shell that starts us in the background lets its children ignore Ctrl-C, and that is inherited.
            preexec_fn=_heed_interrupts,  # noqa: PLW1509 - it takes no lock
        )
        self.output = ""
        self.children: set[int] = set()

    def read_until(self, text: str) -> None:
        """Read line by line until a text has come."""
        assert self.process.stdout is not None
        while text not in self.output:
            line = self.process.stdout.readline()
            assert line, f"the demo ended before it said {text!r}: {self.output}"
            self.output += line
            self.children |= children_of(self.process.pid)

    def finish(self) -> int:
        """Read the rest and wait for the end; return the exit status."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and not self.output:
            assert time.monotonic() < deadline, "the demo does not end"
            self.children |= children_of(self.process.pid)
            time.sleep(0.05)
        self.output += self.process.communicate(timeout=PATIENCE)[0]
        return self.process.returncode

    @property
    def errors(self) -> str:
        """What was written to standard error so far."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)
        self._errors.close()


def processes() -> dict[int, int]:
    """All processes and their parents, without those that have ended and wait to be reaped."""
    if not Path("/proc/self/stat").exists():
        command = ["ps", "-A", "-o", "pid=,ppid=,stat="]
        rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        table = [(int(pid), int(parent), state) for pid, parent, state in (row.split() for row in rows)]
    else:
        table = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # pid (name) state parent ...: the name may hold anything
                state, parent = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            except OSError:
                continue
            table.append((int(stat.parent.name), int(parent), state))
    return {pid: parent for pid, parent, state in table if not state.startswith("Z")}


def children_of(pid: int) -> set[int]:
    """The processes whose parent is ``pid``."""
    return {child for child, parent in processes().items() if parent == pid}


def wait_until_gone(pids: set[int]) -> set[int]:
    """Give processes a few seconds to end; return those that have not."""
    deadline = time.monotonic() + 30.0
    while (left := pids & processes().keys()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start demos whose temporary files are in the test's folder; none survives the test."""
    runs: list[Run] = []

    def make(*arguments: str, store: str = "") -> Run:
        runs.append(Run(*arguments, store=store, folder=tmp_path))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


@pytest.fixture(params=["file", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """What ``WXMP_TOKEN_STORE`` says: nothing, or the address of a Redis."""
    if request.param == "file":
        yield ""
    else:
        with RedisServer() as server:
            yield server.url


def test_counts_with_both_stores(start: Any, store: str, tmp_path: Path) -> None:
    """Four processes need two token requests, nothing fails, each promise is kept, nothing is left behind."""
    run = start("--json", store=store)
    assert run.finish() == 0, run.output + run.errors
    told = json.loads(run.output)
    assert told["ok"] is True
    assert [check for check in told["checks"] if not check["ok"]] == []
    assert (told["workers"], told["followers"]) == (4, 120)
    assert told["store"] == ("Redis" if store else "files")
    assert (told["token_requests"], told["cold_token_requests"], told["kill_token_requests"]) == (2, 1, 1)
    assert (told["rotation_token_requests"], told["rotations"]) == (2, 1)
    assert told["errors"] == 0
    assert told["refused"] >= 1
    assert told["alone_token_requests"] > 4
    assert (told["pushes"], told["answered_at_once"]) == (45, 43)
    assert (told["answered_on_repeat"], told["answered_afterwards"]) == (1, 1)
    assert told["seconds"] < 60
    assert run.errors == ""
    assert len(run.children) >= 4
    assert wait_until_gone(run.children) == set()
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_workers_and_followers(start: Any) -> None:
    """The arguments decide who works and for whom: 51 followers take two requests for tagging."""
    run = start("--json", "--workers", "2", "--followers", "51")
    assert run.finish() == 0, run.output + run.errors
    told = json.loads(run.output)
    counted = {check["promise"]: check["counted"] for check in told["checks"]}
    assert counted["requests for tagging"] == 2
    assert counted["messages delivered"] == 51
    assert told["token_requests"] == 2
    assert told["steps"][0]["calls"] == 16


def test_account_of_the_smallest_fleet_fits_in_a_pipe(start: Any) -> None:
    """One worker and one follower keep the promises too; a pipe gets no escape codes, 80 columns, what matters."""
    run = start("--workers", "1", "--followers", "1")
    assert run.finish() == 0, run.output + run.errors
    assert "\x1b" not in run.output
    assert max(len(line) for line in run.output.splitlines()) <= 80
    assert re.search(r"^ +2  token requests of the whole fleet for \d+ calls", run.output, re.MULTILINE)
    assert re.search(r"^ +0  calls of the fleet failed", run.output, re.MULTILINE)
    assert re.search(r"^ +\d+  token requests for \d+ calls of as many processes", run.output, re.MULTILINE)
    assert "promises kept" in run.output


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_leaves_no_process(start: Any, tmp_path: Path, number: signal.Signals, status: int) -> None:
    """Ctrl-C or SIGTERM in the middle ends the workers, removes the files and says so in one line."""
    run = start()
    run.read_until("menu")
    assert len(run.children) == 4
    run.process.send_signal(number)
    assert run.finish() == status
    assert run.errors == "Stopped.\n"
    assert wait_until_gone(run.children) == set()
    assert list(tmp_path.iterdir()) == []


def test_killed_run_leaves_no_process(start: Any) -> None:
    """Even after kill -9 of the demo its workers end by themselves."""
    run = start()
    run.read_until("menu")
    assert len(run.children) == 4
    run.process.kill()
    run.process.communicate(timeout=PATIENCE)
    assert wait_until_gone(run.children) == set()


def test_unreachable_redis_is_said_in_one_sentence(start: Any) -> None:
    """A store that does not answer is a failure like everywhere: exit status 1, no traceback, no password."""
    run = start(store="redis://:hunter2@127.0.0.1:1/0")
    assert run.finish() == 1
    assert run.errors.startswith("WXMP_TOKEN_STORE: the store does not answer")
    assert run.errors.count("\n") == 1
    assert "hunter2" not in run.errors


def test_broken_promise_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A count that is not the promised one is named, and the whole is not ok."""
    from wxmp.cli.demo import Outcome, Printer

    outcome = Outcome(workers=4, followers=1, store="files")
    outcome.expect("failed calls of the fleet", 0, 0)
    kept = outcome.ok
    outcome.expect("token requests of the whole fleet", 3, 2)
    outcome.expect_more("calls refused", 0, 0)
    assert (kept, outcome.ok) == (True, False)
    Printer(outcome).summary()
    shown = capsys.readouterr().out
    assert "token requests of the whole fleet: 3 counted, 2 expected" in shown
    assert "calls refused: 0 counted, more than 0 expected" in shown
    assert "promises kept" not in shown


SICK_PLATFORM = """
from wxmp.cli import demo

class SickWorld(demo.BusyWorld):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.kill_new_tokens("stable", 1)

demo.BusyWorld = SickWorld
demo.demo(workers=1, followers=1, json_line=True)
"""


def test_exit_status_of_a_broken_promise() -> None:
    """On a platform whose first token is dead on arrival the fleet needs a request more: counted, and status 3."""
    ran = subprocess.run(
        [sys.executable, "-c", SICK_PLATFORM], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ran.returncode == 3, ran.stderr
    told = json.loads(ran.stdout)
    assert told["ok"] is False
    assert told["token_requests"] == 3
    broken = {check["promise"]: check["counted"] for check in told["checks"] if not check["ok"]}
    assert broken["token requests of the whole fleet"] == 3


@pytest.mark.parametrize("arguments", [("--workers", "0"), ("--followers", "0"), ("--workers", "many")])
def test_senseless_numbers_are_refused(start: Any, arguments: tuple[str, str]) -> None:
    """Nobody and nothing is not a fleet: refused before anything starts."""
    run = start(*arguments)
    assert run.finish() == 2
    assert arguments[0] in run.errors + run.output


def test_missing_extra_is_said_in_one_sentence() -> None:
    """Without the extras there is no traceback but the name of what to install."""
    script = "import sys; sys.modules['starlette'] = None; from wxmp.cli.demo import demo; demo(workers=1)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 2
    assert ran.stderr == 'This command needs more packages: pip install "wxmp-sdk[cli,simulator]"\n'
