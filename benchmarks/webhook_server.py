"""What one push costs a web service: ours as a plain ASGI app, ours inside a FastAPI app, FastAPI with wechatpy.

All run under uvicorn (uvloop, httptools), each in its own process, and answer the same encrypted text message with an
encrypted text. wrk drives them one after the other over 32 connections. Every request is a push of its own, made and
signed shortly before: ours refuses to see one twice. The CPU time, user and system, is the server's alone.
"""

from __future__ import annotations

import http.client
import json
import shutil
import struct
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from benchmarks._report import NotInstalledError, Row, compared, run
from benchmarks._webhook_app import APPS, PATH, Server, serving
from benchmarks._webhook_pushes import QUESTION, encrypted_pushes, opened_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._webhook_pushes import RawPush

CONNECTIONS: Final = 32
#: Requests to find out how many a round needs.
PILOT: Final = 20_000
PEER: Final = "FastAPI + wechatpy"
#: One thread reads all requests when it starts and sends each once. It would have to send some again if the file were
#: too short, so it says how many it has sent.
_SCRIPT: Final = """
local requests, sent = {{}}, 0
function init(args)
  local file = assert(io.open("{path}", "rb"))
  while true do
    local head = file:read(4)
    if not head then break end
    local a, b, c, d = head:byte(1, 4)
    requests[#requests + 1] = file:read(a + 256 * (b + 256 * (c + 256 * d)))
  end
  file:close()
end
function request()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end
function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    "\\n{{\\"requests\\": %d, \\"microseconds\\": %d, \\"refused\\": %d, \\"broken\\": %d, \\"p99\\": %d}}",
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(99)))
end
"""


@attrs.frozen
class Load:
    """What wrk saw."""

    requests: int
    microseconds: int
    refused: int
    broken: int
    p99: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.microseconds * 1e6


def wire(push: RawPush) -> bytes:
    """Return the request as it goes over the wire, with the platform's headers."""
    head = (
        f"POST {PATH}?{push.query.decode()} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/4.0\r\nAccept: */*\r\n"
        f"Content-Type: text/xml\r\nPragma: no-cache\r\nContent-Length: {len(push.body)}\r\n\r\n"
    )
    return head.encode() + push.body


class Numbers:
    """Gives every push its number."""

    def __init__(self) -> None:
        self.next = 0

    def take(self, count: int) -> Iterator[RawPush]:
        """Make as many new pushes."""
        first, self.next = self.next, self.next + count
        return encrypted_pushes(count, first=first)


def drive(wrk: str, server: Server, pushes: Iterator[RawPush], count: int, seconds: int) -> Load:
    """Send pushes for as long; every answer must be a good one."""
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder) / "requests", Path(folder) / "pushes.lua"
        with path.open("wb") as file:
            for push in pushes:
                request = wire(push)
                file.write(struct.pack("<I", len(request)) + request)
        script.write_text(_SCRIPT.format(path=path), encoding="utf-8")
        url = f"http://127.0.0.1:{server.port}"
        done = subprocess.run(
            [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=True,
        )
    load = Load(**json.loads(done.stdout.strip().splitlines()[-1]))
    if load.requests + CONNECTIONS > count:
        raise RuntimeError(f"{count:,} requests were too few for {seconds} s: some were sent twice")
    return load


def check(server: Server, push: RawPush) -> None:
    """See that the service does the whole work: one answer is opened and read."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("POST", f"{PATH}?{push.query.decode()}", push.body, {"Content-Type": "text/xml"})
        answer = connection.getresponse()
        if answer.status != 200 or opened_reply(answer.read()) != QUESTION:
            raise RuntimeError("a service does not answer what it should: this would measure something else")
    finally:
        connection.close()


def measure(quick: bool) -> list[Row]:
    """Drive all services in turns."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NotInstalledError("wrk is missing: apt-get install wrk")
    rounds, seconds = (1, 1) if quick else (7, 3)
    cpu: dict[str, list[float]] = {way: [] for way in APPS}
    rate: dict[str, list[float]] = {way: [] for way in APPS}
    failed = dict.fromkeys(APPS, 0)
    answered = dict.fromkeys(APPS, 0)
    numbers = Numbers()
    with ExitStack() as stack:
        servers = {way: stack.enter_context(serving(way)) for way in APPS}
        needed = {}
        for way, server in servers.items():
            check(server, next(numbers.take(1)))
            pilot = drive(wrk, server, numbers.take(PILOT), PILOT, 1)
            # Three times as many as it looks: another program may have slowed the pilot.
            needed[way] = int(pilot.rate * seconds * 3) + 2 * CONNECTIONS
        for _ in range(rounds):
            for way, server in servers.items():
                # Written before the clock starts, seconds before they are sent: they must be fresh.
                pushes = numbers.take(needed[way])
                before = server.cpu()
                load = drive(wrk, server, pushes, needed[way], seconds)
                cpu[way].append((server.cpu() - before) / load.requests * 1e6)
                rate[way].append(load.rate)
                failed[way] += load.refused + load.broken
                answered[way] += load.requests
    return rows(cpu, rate, failed, answered)


def rows(
    cpu: dict[str, list[float]], rate: dict[str, list[float]], failed: dict[str, int], answered: dict[str, int]
) -> list[Row]:
    """Return the table."""

    def against(values: dict[str, list[float]], way: str) -> dict[str, Any]:
        return {"peer_name": PEER, **compared(values[way], values[PEER])}

    plain, inside = "wxmp", "wxmp in FastAPI"
    return [
        Row(claim="CPU per push, plain ASGI app", unit="us", ratio_at_most=0.35, **against(cpu, "wxmp")),
        Row(
            claim="CPU per push, inside a FastAPI app", unit="us", ratio_at_most=0.45, **against(cpu, "wxmp in FastAPI")
        ),
        Row(claim="pushes/s, plain ASGI app", unit="/s", ratio_at_least=2.5, **against(rate, "wxmp")),
        Row(claim="pushes/s, inside a FastAPI app", unit="/s", **against(rate, "wxmp in FastAPI")),
        *(
            Row(
                claim=f"answers other than 200 of {answered[way]:,}, {name}",
                unit="",
                ours=failed[way],
                peer_name=f"{PEER} ({answered[PEER]:,})",
                peer=failed[PEER],
                at_most=0,
            )
            for way, name in ((plain, "plain ASGI app"), (inside, "inside a FastAPI app"))
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(run("webhook_server", measure))
