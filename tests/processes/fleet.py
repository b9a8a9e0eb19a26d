"""Starts worker processes, talks to them, and breaks them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import attrs

from wxmp.simulator import Simulator

ROOT = Path(__file__).parents[2]
#: A worker answers within this time or the test fails; nothing here may hang.
PATIENCE = 100.0

#: Times small enough for a test, in the proportions of the defaults.
QUICK = {
    "lease": 3.0,
    "request_timeout": 1.5,
    "connect_timeout": 1.0,
    "wait_timeout": 9.0,
    "check_interval": 0.4,
    "store_timeout": 2.0,
    "overlap": 6.0,
}
#: Times of a test that has to do something before the platform answers, or before a lease ends.
CALM = {**QUICK, "lease": 6.0, "request_timeout": 3.0, "wait_timeout": 18.0, "overlap": 12.0}


class Worker:
    """A worker process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, *command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def receive(self, timeout: float = PATIENCE) -> Any:
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout
        while not select.select([self._process.stdout], [], [], 0.2)[0]:
            assert time.monotonic() < deadline, f"worker {self.pid} did not answer in {timeout} s"
            assert self._process.poll() is None, f"worker {self.pid} died with {self._process.returncode}"
        line = self._process.stdout.readline()
        assert line, f"worker {self.pid} closed its output"
        answer = json.loads(line)
        if answer == "ready":
            return answer
        assert "error" not in answer, answer["error"]
        return answer["ok"]

    def ask(self, *command: Any, timeout: float = PATIENCE) -> Any:
        self.send(*command)
        return self.receive(timeout)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.wait(40)
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()

    def end(self) -> None:
        """Close stdin and wait: the worker stops in an orderly way."""
        if self._process.poll() is None:
            self.signal(signal.SIGCONT)
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(40)
                raise
        self._close_pipes()


@attrs.define
class Fleet:
    """Workers that share one simulator and one store."""

    simulator: Simulator
    store: str
    channel: str = "plain"
    policy: dict[str, Any] = attrs.field(factory=lambda: dict(QUICK))
    workers: list[Worker] = attrs.field(factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.end()

    def start(self, number: int = 1, **settings: Any) -> list[Worker]:
        account = self.simulator.account
        made = [
            Worker(
                {
                    "appid": account.appid,
                    "secret": account.secret,
                    "url": self.simulator.url,
                    "store": self.store,
                    "channel": self.channel,
                    "policy": self.policy,
                    **settings,
                }
            )
            for _ in range(number)
        ]
        for worker in made:
            assert worker.receive() == "ready"
        self.workers += made
        return made

    def all(self, *command: Any, workers: list[Worker] | None = None) -> list[Any]:
        """Send a command to all workers at once and collect the answers."""
        chosen = workers if workers is not None else self.workers
        for worker in chosen:
            worker.send(*command)
        return [worker.receive() for worker in chosen]

    @property
    def requests(self) -> int:
        """Token requests that reached the platform."""
        return self.simulator.token_requests


def errors(outcomes: list[dict[str, Any]]) -> list[str]:
    """The errors that callers saw."""
    return [error for outcome in outcomes for error in outcome["errors"]]


def waited(outcomes: list[dict[str, Any]]) -> float:
    """The longest that a call was kept waiting for a token, in seconds."""
    return max(outcome["waited"] for outcome in outcomes)


def slowest(outcomes: list[dict[str, Any]]) -> float:
    """The longest call in seconds."""
    return max(outcome["slowest"] for outcome in outcomes)
