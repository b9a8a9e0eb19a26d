"""Runs the documented examples under their real servers, the way a user does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator import Simulator

#: The server settings of the account, as the examples read them.
CALLBACK_TOKEN = "devSampleToken"
ENCODING_AES_KEY = "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PATIENCE = 90.0
#: uvicorn's supervisor leaves its own listening socket to the interpreter's end; it names no peer. The second spelling
#: is that of Python 3.13.
SUPERVISOR_SOCKET = re.compile(
    r"^(?:sys:1|<sys>:0): ResourceWarning: unclosed <socket[^>]*laddr=\('127\.0\.0\.1', \d+\)>\n"
    r"ResourceWarning: Enable tracemalloc to get the object allocation traceback\n",
    re.MULTILINE,
)


class Service:
    """One server process, with its workers if it has any. Everything it prints is kept."""

    def __init__(
        self,
        command: list[str],
        simulator: Simulator,
        store: str,
        workers: int,
        *,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        environment = {
            **os.environ,
            "WXMP_APPID": simulator.account.appid,
            "WXMP_SECRET": simulator.account.secret,
            "WXMP_ENDPOINT": simulator.url,
            "WXMP_TOKEN_STORE": store,
            "WXMP_CALLBACK_TOKEN": CALLBACK_TOKEN,
            "WXMP_ENCODING_AES_KEY": ENCODING_AES_KEY,
            "PYTHONUNBUFFERED": "1",
            **variables,
        }
        self._workers = workers
        self._lines: list[str] = []
        self._ready = threading.Event()
        self.port = 0
        # Development mode: warnings are shown, unclosed sockets among them, and asyncio is in debug mode.
        self._process = subprocess.Popen(
            [sys.executable, "-X", "dev", *command],
            cwd=EXAMPLES,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @classmethod
    def fastapi(cls, simulator: Simulator, store: str, *, workers: int) -> Self:
        """The FastAPI example under uvicorn."""
        command = ["-m", "uvicorn", "fastapi_app:app", "--port", "0", "--workers", str(workers)]
        # A worker that takes longer to start than this is killed, and one more begins.
        command += ["--timeout-worker-healthcheck", "60"]
        return cls(command, simulator, store, workers)

    @classmethod
    def aiohttp(cls, simulator: Simulator, store: str) -> Self:
        """The aiohttp example."""
        return cls(["aiohttp_app.py", "0"], simulator, store, 1)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            found = re.search(r"[Rr]unning on http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
            if self.port and self.output.count("opened Client(") >= self._workers:
                self._ready.set()
        self._ready.set()

    @property
    def output(self) -> str:
        """All that it and its workers printed."""
        return "".join(self._lines)

    @property
    def warnings(self) -> list[str]:
        """The lines that a clean run does not have."""
        return [
            line
            for line in SUPERVISOR_SOCKET.sub("", self.output).splitlines()
            if re.search(r"(?i)warning: |traceback|\berror\b|exception|unclosed|never awaited", line)
        ]

    def wait(self) -> None:
        """Wait until it can be asked."""
        assert self._ready.wait(PATIENCE), self.output
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, self.output
            # uvicorn names its port first and listens last
            try:
                self.get("/health")
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, self.output
                time.sleep(0.02)
            else:
                return

    def get(self, path: str) -> tuple[int, str]:
        """One request over a connection of its own, so that every worker has a chance to take it."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()


def get_all(services: list[Service], path: str, number: int) -> list[tuple[int, str]]:
    """Send requests to the services in turn, many at the same time."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda index: services[index % len(services)].get(path), range(number)))
