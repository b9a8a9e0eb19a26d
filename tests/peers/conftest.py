"""The peers' interpreter, and a way to call what runs in it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.gateway import Authority, Gateway
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wxmp.simulator import Phone

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ADDRESS = "WXMP_PEERS"
ENVIRONMENT = Path(os.environ.get(ADDRESS) or ROOT / ".venv" / "peers")
#: The second version of wechatpy, which cannot be installed beside the first.
NEXT = ENVIRONMENT / "next"
ANSWER_SECONDS = 60.0


class PeerError(Exception):
    """What the SDK raised: ``fields`` holds its class, its text and its attributes."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.fields = fields
        self.kind: str = fields["class"]
        self.errcode: int | str | None = fields.get("errcode")
        self.text: str = fields["text"]


class Peer:
    """A program of the peers' interpreter; calling it calls a method there and returns the result as JSON has it."""

    def __init__(
        self,
        script: str,
        *args: str,
        environment: dict[str, str],
        path: tuple[Path, ...] = (),
        patience: float = ANSWER_SECONDS,
    ) -> None:
        python = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not python.exists():
            raise RuntimeError(
                f"no environment for the peers: run 'make test' or 'make .venv/.peers', or set {ADDRESS}"
            )
        wanted = {
            key: value for key, value in os.environ.items() if not key.startswith("WXMP_") and key != "PYTHONPATH"
        }
        wanted |= environment | {"PYTHONDONTWRITEBYTECODE": "1"}
        if path:
            wanted["PYTHONPATH"] = os.pathsep.join(map(str, path))
        self.calls = 0
        self._patience = patience
        self._log: list[str] = []
        self._process = subprocess.Popen(
            [python, str(HERE / script), *args],
            env=wanted,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._reading = threading.Thread(target=self._read_log, daemon=True)
        self._reading.start()
        try:
            assert self._answer() == "ready"
        except BaseException:
            self.close()
            raise

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        self._log.extend(self._process.stderr)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        # A peer that hangs must not hang the test: the pipe ends with the process.
        watch = threading.Timer(self._patience, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            self._process.wait(5)
            self._reading.join(5)
            raise AssertionError("the peer died:\n" + "".join(self._log[-40:]))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["value"]

    def __call__(self, name: str, *args: Any, **more: Any) -> Any:
        """Call a method by its dotted name, or read an attribute."""
        assert self._process.stdin is not None
        self.calls += 1
        self._process.stdin.write(json.dumps({"call": name, "args": args, "more": more}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the program."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._reading.join(5)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def file(content: bytes, name: str) -> dict[str, str]:
    """Return an argument that arrives as an open file."""
    return {"$file": base64.b64encode(content).decode(), "name": name}


def content(answer: dict[str, Any]) -> bytes:
    """Return the bytes of an answer."""
    return base64.b64decode(answer["$bytes"])


def settle(simulator: Simulator) -> None:
    """Wait until everything is delivered: pushes, also one that was given up and is handled late, and notices."""
    assert simulator.wait_until_settled()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates for the platform's hosts that only this run trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """One simulator for all tests of a module, with three followers."""
    with Simulator(seed=4, followers=3) as running:
        yield running


@pytest.fixture
def payer(simulator: Simulator) -> Phone:
    """A follower who will pay."""
    phone = simulator.phone()
    phone.follow()
    return phone


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, authority: Authority) -> Iterator[Gateway]:
    """The platform's real addresses in front of the simulator; a peer that asks for any other fails its test."""
    with Gateway(simulator.url, authority) as running:
        yield running
        assert running.refused == []


@pytest.fixture(scope="module")
def start(gateway: Gateway) -> Iterator[Callable[..., Peer]]:
    """Start programs in the peers' interpreter."""
    running: list[Peer] = []

    def begin(script: str, *args: str, path: tuple[Path, ...] = ()) -> Peer:
        peer = Peer(script, *args, environment=gateway.environment, path=path)
        running.append(peer)
        return peer

    yield begin
    for peer in running:
        peer.close()
