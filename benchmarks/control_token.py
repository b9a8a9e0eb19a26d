"""What it costs the control server to hand out a token: against a bare route of Starlette that does nothing else.

Both run under uvicorn (uvloop, httptools), each in its own process, and answer the same JSON; wrk drives them in turns
over 32 connections. Ours finds the key, compares its hash, looks at scope and rate, asks the keeper, and notes who
asked. The CPU time, user and system, is the server's alone. No audit file; the log is off, as in the peer.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import attrs

from benchmarks._control_app import APPID, APPS, PATH, VALUE, Service, serving
from benchmarks._report import NotInstalledError, Row, compared, run
from wxmp import Client
from wxmp.control import HTTPTokenStore

CONNECTIONS: Final = 32
CALLS: Final = 10_000
_SCRIPT: Final = """
function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    "\\n{\\"requests\\": %d, \\"microseconds\\": %d, \\"failed\\": %d}",
    summary.requests, summary.duration, errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@attrs.frozen
class Load:
    """What wrk saw."""

    requests: int
    microseconds: int
    failed: int


def get(service: Service, path: str) -> bytes:
    """Ask once."""
    request = urllib.request.Request(service.url + path, headers={"Authorization": f"Bearer {service.key}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def drive(wrk: str, service: Service, seconds: int) -> Load:
    """Ask for as long."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "told.lua"
        script.write_text(_SCRIPT, encoding="utf-8")
        command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
        done = subprocess.run(
            [*command, "-H", f"Authorization: Bearer {service.key}", service.url + PATH],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=True,
        )
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))


async def questions(service: Service) -> int:
    """Return how often a client asks the server during 10,000 calls within its check interval."""
    before = handed_out(service)
    async with HTTPTokenStore(service.url, service.key) as store, Client(APPID, None, token_store=store) as client:
        for _ in range(CALLS):
            if await client.token() != VALUE:
                raise RuntimeError("the client has another token: this would measure something else")
    return handed_out(service) - before


def handed_out(service: Service) -> int:
    """Return how many tokens the server has handed out."""
    lines = get(service, "/metrics").decode().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("wxmp_control_hand_outs_total{"))


def measure(quick: bool) -> list[Row]:
    """Drive both in turns."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NotInstalledError("wrk is missing: apt-get install wrk")
    rounds, seconds = (1, 1) if quick else (9, 3)
    cpu: dict[str, list[float]] = {way: [] for way in APPS}
    took: dict[str, list[float]] = {way: [] for way in APPS}
    failed = dict.fromkeys(APPS, 0)
    answered = dict.fromkeys(APPS, 0)
    with ExitStack() as stack:
        services = {way: stack.enter_context(serving(way)) for way in APPS}
        for service in services.values():
            if json.loads(get(service, PATH))["access_token"] != VALUE:
                raise RuntimeError("a service does not answer what it should: this would measure something else")
            drive(wrk, service, 1)
        for _ in range(rounds):
            for way, service in services.items():
                before = service.server.cpu()
                load = drive(wrk, service, seconds)
                cpu[way].append((service.server.cpu() - before) / load.requests * 1e6)
                took[way].append(load.microseconds / load.requests)
                failed[way] += load.failed
                answered[way] += load.requests
        asked = asyncio.run(questions(services["wxmp"]))
    peer = {"peer_name": "Starlette route"}
    return [
        Row(
            claim="token handed out over HTTP, 32 at a time",
            unit="us",
            ratio_at_most=1.3,
            **peer,
            **compared(took["wxmp"], took["Starlette"]),
        ),
        Row(
            claim="CPU of the server for it",
            unit="us",
            ratio_at_most=1.3,
            **peer,
            **compared(cpu["wxmp"], cpu["Starlette"]),
        ),
        Row(
            claim=f"answers other than 200 of {answered['wxmp']:,}",
            unit="",
            ours=failed["wxmp"],
            at_most=0,
        ),
        Row(
            claim=f"questions of a client during {CALLS:,} calls within its check interval",
            unit="",
            ours=asked,
            at_most=1,
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(run("control_token", measure))
