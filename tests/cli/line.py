"""The command line in a test: in this process where it can be, as a process where that is the point."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pyte
import pytest
from rich.cells import cell_len

from wxmp.cli.app import app
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "wxmp"]
#: Longest wait for anything, in seconds.
PATIENCE = 100.0


@attrs.frozen
class Done:
    code: int
    out: str
    err: str


@attrs.define
class Line:
    """Runs commands for the account of a simulator."""

    sim: Simulator
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __attrs_post_init__(self) -> None:
        for name, value in self.variables.items():
            self.monkeypatch.setenv(name, value)
        for name in ("WXMP_SECRET_FILE", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            self.monkeypatch.delenv(name, raising=False)
        self.monkeypatch.chdir(self.folder)

    @property
    def variables(self) -> dict[str, str]:
        account = self.sim.account
        return {
            "WXMP_APPID": account.appid,
            "WXMP_SECRET": account.secret,
            "WXMP_ENDPOINT": self.sim.url,
            "WXMP_TOKEN_STORE": f"file:{self.folder / 'tokens'}",
        }

    def __call__(self, *tokens: str) -> Done:
        self.capsys.readouterr()
        code: object = 0
        try:
            app(list(tokens))
        except SystemExit as ended:
            code = ended.code
        found = self.capsys.readouterr()
        return Done(int(str(code or 0)), found.out, found.err)

    def start(self, *tokens: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *tokens],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.variables, "PYTHONPATH": str(ROOT), **environment},
        )


def finish(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=PATIENCE)
    return Done(process.returncode, out, err)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Terminal:
    """A terminal of 80 columns, that would also show what stands to the right of them."""

    def __init__(self, *arguments: str, environment: dict[str, str], folder: Path) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.master, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.screen = pyte.HistoryScreen(240, 200, history=10_000)
        self._stream = pyte.ByteStream(self.screen)
        self._widest = 0
        variables = {**os.environ, **environment, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
        variables.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=inner, stdout=inner, stderr=inner, env=variables, cwd=folder
        )
        os.close(inner)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read(self) -> bool:
        """Take in what there is; tell whether there may be more."""
        try:
            data = os.read(self.master, 65536)
        except OSError:  # its end, on Linux
            return False
        self._stream.feed(data)
        self._widest = max(self._widest, *(cell_len(line.rstrip()) for line in self.screen.display))
        return bool(data)

    def read_until(self, text: str) -> None:
        while text not in "\n".join(self.screen.display):
            assert self.read(), self.text

    def end(self) -> int:
        while self.read():
            pass
        os.close(self.master)
        return self.process.wait(timeout=PATIENCE)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def widest(self) -> int:
        """Columns of the widest line that ever stood there."""
        return self._widest
