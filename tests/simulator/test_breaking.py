"""Attempts to break the running simulator: crowds, silent readers, slow and huge senders, strangers, sudden ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from tests.simulator.developer import TOKEN
from wxmp.cli import _sim_options
from wxmp.simulator import Clock, Request, Simulator, World, WorldError
from wxmp.simulator.control import control_routes
from wxmp.simulator.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.simulator.conftest import Desk

#: Seconds of a busy machine for what waits for nobody.
SOON = 8.0
SIM = [sys.executable, "-W", "error", "-m", "wxmp", "sim"]
ASK = "GET /cgi-bin/getcallbackip?access_token={} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def connect(simulator: Simulator, data: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", simulator.port), timeout=5)
    sock.sendall(data)
    return sock


def raw(simulator: Simulator, data: bytes, patience: float = 5.0) -> bytes:
    """Send bytes and return all that comes back until the server hangs up, or says nothing for a while."""
    parts: list[bytes] = []
    with connect(simulator, data) as sock, contextlib.suppress(ConnectionError, TimeoutError):
        sock.settimeout(patience)
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def serves(simulator: Simulator, token: str) -> bool:
    """Tell whether a usual request gets its usual answer."""
    return b"ip_list" in raw(simulator, ASK.format(token).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode())


def stops_soon(simulator: Simulator) -> None:
    before = time.monotonic()
    simulator.stop()
    assert time.monotonic() - before < SOON


# --- many, slow and huge ----------------------------------------------------------------------------------------------


def test_two_hundred_connections_stay_open(simulator: Simulator, desk: Desk):
    """200 clients that keep their connections are all answered, on the same connection each time."""
    request = ASK.format(desk.token()).encode()

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        answered = 0
        for _ in range(4):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: ([0-9]+)", head)
            assert size is not None
            answered += b"ip_list" in await reader.readexactly(int(size.group(1)))
        writer.close()
        await writer.wait_closed()
        return answered

    async def crowd() -> list[int]:
        return await asyncio.gather(*(client() for _ in range(200)))

    assert asyncio.run(asyncio.wait_for(crowd(), 80)) == [4] * 200
    stops_soon(simulator)


def test_half_sent_requests_hold_up_nobody(simulator: Simulator, desk: Desk):
    """Clients that never finish their headers or their bodies cost a connection each and nothing else."""
    head = f"POST /cgi-bin/user/info?access_token={desk.token()} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    starts = [
        head,
        f"{head}Content-Length: 1000000\r\n\r\nhalf",
        f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        "P",
    ]
    slow = [connect(simulator, start.encode()) for start in starts * 15]
    before = len(desk.world.journal)
    assert serves(simulator, desk.token())
    assert len(desk.world.journal) == before + 1
    stops_soon(simulator)
    for sock in slow:
        sock.close()


def test_huge_bodies_are_refused_and_not_kept(http: httpx.Client, desk: Desk, world: World):
    """A body over the limit is read, refused, and neither kept nor journalled as a whole."""
    body = b"x" * (world.policy.max_upload_body + 2_000_000)
    answer = http.post("/cgi-bin/tags/create", params={"access_token": desk.token()}, content=body)
    assert answer.json()["errcode"] == 45001
    assert world.journal[-1].size < 2 * world.policy.journal_body


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Client: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["long header", "long path", "two hosts", "no host", "TLS", "two lengths"],
)
def test_odd_requests_are_refused_and_forgotten(simulator: Simulator, desk: Desk, data: bytes):
    """What is hardly HTTP gets an error or a closed door, and the next caller is served."""
    answer = raw(simulator, data, patience=0.3)
    assert not answer or re.match(rb"HTTP/1.1 (4[0-9][0-9]|200) ", answer), answer[:100]
    assert b"Traceback" not in answer
    assert serves(simulator, desk.token())


def test_clients_may_leave_in_the_middle(simulator: Simulator, desk: Desk, world: World, caplog: Any):
    """Who goes away while a huge, a slow or a hanging answer is on its way leaves nothing behind."""
    token = desk.token()
    for effect, more in (
        ("huge", {"size": 30_000_000}),
        ("drip", {"seconds": 0.05}),
        ("hang", {}),
        ("latency", {"seconds": 9.0}),
    ):
        world.fault(effect, times=5, **more)  # type: ignore[arg-type]
        for _ in range(5):
            sock = connect(simulator, ASK.format(token).encode())
            if effect in {"huge", "drip"}:
                assert sock.recv(100)
            sock.close()
        world.faults.clear()
    assert serves(simulator, token)
    assert len(caplog.records) < 100
    stops_soon(simulator)


# --- strangers --------------------------------------------------------------------------------------------------------


ROUTES = sorted(
    {(method, route.path) for route in control_routes(World(clock=Clock.frozen())) for method in route.methods or ()}
)


def test_no_stranger_reaches_any_control_route(http: httpx.Client, world: World):
    """Foreign names and foreign pages, in any of their spellings, get 421 or 403 on each route and change nothing."""
    before = json.dumps(world.snapshot())
    strange = [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "api.weixin.qq.com"},
        {"host": "localhost@evil.example"},
        {"host": "[::1].evil.example"},
        {"host": "evil.example@127.0.0.1"},
        *(
            {"origin": origin}
            for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example", "file://")
        ),
        {"origin": "http://127.0.0.1@evil.example"},
    ]
    assert len(ROUTES) > 40
    for method, path in ROUTES:
        where = "/_sim" + re.sub(r"\{[^}]+\}", "1", path)
        for headers in strange:
            for kind in ("text/plain", "application/x-www-form-urlencoded"):
                answer = http.request(method, where, headers={**headers, "content-type": kind}, content=b"{}")
                assert answer.status_code in {403, 421}, (method, where, headers)
    assert json.dumps(world.snapshot()) == before


def test_other_spellings_of_the_control_prefix_lead_nowhere(simulator: Simulator, world: World):
    """Paths that only look like the prefix are unknown paths of the platform, and are not guarded routes."""
    for path in (
        "//_sim/reset",
        "/./_sim/reset",
        "/_SIM/reset",
        "/%5fsim/reset",
        "/api/_sim/reset",
        "/x/../_sim/reset",
    ):
        data = (
            f"POST {path} HTTP/1.1\r\nHost: api.weixin.qq.com\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n"
        )
        answer = raw(simulator, f"{data}Connection: close\r\n\r\n".encode())
        assert b'{"ok"' not in answer, (path, answer)
    assert world.state.calls


# --- sudden ends ------------------------------------------------------------------------------------------------------


SAVING = """
import json, os, signal, sys, time
from pathlib import Path
from wxmp.cli._sim_options import save
from wxmp.simulator import Clock, World
state = Path(sys.argv[1])
world = World(clock=Clock.frozen(), followers=60)
save(world, state)
for turn in range(8):
    before = state.stat().st_ino
    child = os.fork()
    if not child:
        while True:
            world.create_followers(1)
            save(world, state)
    for _ in range(10_000):
        if state.stat().st_ino != before:
            break
        time.sleep(0.002)
    time.sleep(turn * 0.004)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    fresh = World(clock=Clock.frozen())
    fresh.restore(json.loads(state.read_bytes()))
    assert len(fresh.account.users) >= 60 and not state.stat().st_mode & 0o077
    print(len(fresh.account.users))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_saving_leaves_a_whole_file(tmp_path: Path):
    """Killed outright at any moment: the state file is an old one or a new one, and always a world."""
    done = subprocess.run(
        [sys.executable, "-c", SAVING, str(tmp_path / "world.json")],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = [int(line) for line in done.stdout.split()]
    assert len(found) == 8
    assert min(found) > 60


@pytest.mark.parametrize("where", ["os.fsync", "os.fdopen", "tempfile.mkstemp", "pathlib.Path.replace"])
def test_full_disk_keeps_the_old_file(where: str, tmp_path: Path, monkeypatch: Any, capsys: Any):
    """Where the disk is full the old state stays as it was, no half file is left, and one sentence says so."""
    state = tmp_path / "world.json"
    world = World(clock=Clock.frozen())
    _sim_options.save(world, state)
    old = state.read_bytes()
    world.create_followers(3)

    def full(*_given: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(where, full)
    with pytest.raises(SystemExit) as ended:
        _sim_options.save(world, state)
    monkeypatch.undo()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "The state cannot be written: [Errno 28] No space left on device\n"
    assert state.read_bytes() == old
    assert os.listdir(tmp_path) == ["world.json"]


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [*SIM, "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=40)


def test_sigterm_in_full_swing(tmp_path: Path):
    """With streams open, pushes that hang and a half-sent request, SIGTERM ends quickly and silently, and saves."""
    state = tmp_path / "world.json"
    with socket.create_server(("127.0.0.1", 0)) as silent, running("--state", str(state)) as (process, told):
        port = int(told["url"].rpartition(":")[2])
        deaf = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(10)]
        for number, sock in enumerate(deaf):
            ask = "/_sim/live?since=0" if number % 2 else "/_sim/state"
            sock.sendall(
                f"GET {ask} HTTP/1.1\r\nHost: 127.0.0.1\r\n{'' if number == 2 else chr(13) + chr(10)}".encode()
            )
        with httpx.Client(base_url=told["url"], trust_env=False, timeout=5) as http:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            set_up = {"url": url, "token": TOKEN, "mode": "plain", "verify": False}
            assert http.post("/_sim/callback", json=set_up).status_code == 200
            for openid in told["openids"]:
                assert http.post(f"/_sim/users/{openid}/say", json={"text": "hi"}).status_code == 200
        before = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=40)
        assert (process.returncode, out, err) == (0, "", "")
        assert time.monotonic() - before < SOON
        for sock in deaf:
            sock.close()
    saved = json.loads(state.read_text())
    (account,) = saved["state"]["accounts"].values()
    # What was on its way is not lost: it begins again in the next run.
    assert [push["state"] for push in account["pushes"]] == ["waiting"] * len(told["openids"])


CHILD = "import os, sys, time; print(os.environ['WXMP_ENDPOINT'], os.getpid(), flush=True); time.sleep(60)"


def test_exec_killed_outright_takes_the_platform_with_it():
    """The end by force of ``wxmp sim exec`` ends the platform at once; the command goes on and finds nobody there."""
    process = subprocess.Popen(
        [*SIM, "exec", "--", sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    url, pid = process.stdout.readline().split()
    try:
        assert httpx.get(f"{url}/_sim/state", trust_env=False).status_code == 200
        process.kill()
        process.wait(10)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/_sim/state", trust_env=False)
        os.kill(int(pid), 0)
    finally:
        os.kill(int(pid), signal.SIGKILL)
        process.stdout.close()


# --- what is kept -----------------------------------------------------------------------------------------------------


def sizes(value: object, name: str = "world", depth: int = 0) -> Iterator[tuple[str, int]]:
    """Yield the size of everything that can grow inside records, lists and dicts."""
    if isinstance(value, dict | list | set | deque | tuple):
        yield name, len(value)
        inner = list(value.values() if isinstance(value, dict) else value)[:3]
        for item in inner if depth < 8 else ():
            yield from sizes(item, f"{name}[]", depth + 1)
    elif depth < 8 and (attrs.has(type(value)) or type(value).__module__.startswith("wxmp.simulator")):
        names = [field.name for field in attrs.fields(type(value))] if attrs.has(type(value)) else list(vars(value))
        for field in names:
            if field not in {"world", "_world", "policy"}:
                yield from sizes(getattr(value, field, None), f"{name}.{field}", depth + 1)


def test_what_callers_send_does_not_pile_up(make_desk: Any):
    """Thousands of requests, each with another path, address, name and token: everything kept has a bound."""
    bounds = {"journal_size": 50, "sent_kept": 50, "deliveries_kept": 50, "dead_tokens_kept": 50}
    desk = make_desk(**bounds, daily_quotas={})
    desk.account.risk_control = True
    for number in range(6_000):
        query = {"access_token": f"70_{number}", "appid": f"wx{number}", f"k{number}": "v"}
        more = {"client": f"c{number}", "client_ip": f"10.0.{number // 250}.{number % 250}"}
        desk.send("POST", f"/unknown/{number}", query, b'{"appid":"wx%d"}' % number, **more)
        if number % 2 == 0:
            desk.send(
                "GET", "/cgi-bin/token", {"appid": desk.appid if hasattr(desk, "appid") else f"wx{number}"}, **more
            )
            desk.plain(**more)
            desk.send("GET", f"/v3/pay/transactions/id/{number}", {"mchid": str(number)}, host="mch", **more)
            desk.send("GET", "/s/x", {"a": str(number)}, host="mp", **more)
            desk.world.kill_token("plain")
    grown = {name: size for name, size in sizes(desk.world) if size > 2_050}
    assert grown == {}


def test_a_token_that_works_is_never_forgotten(desk: Desk):
    """However many younger tokens come and die, one that still works keeps working."""
    token = desk.token()
    for _ in range(desk.world.policy.dead_tokens_kept + 5):
        desk.world.kill_token("plain")
    assert desk.use(token) == 0
    assert desk.stable()["access_token"] == token
    assert len(desk.account.tokens) <= desk.world.policy.dead_tokens_kept + 3


def test_a_world_that_is_dropped_is_gone():
    """A sandbox with a server, a client and pushes nobody has answered leaves no thread and no socket behind."""
    import threading

    before = {thread.name for thread in threading.enumerate()}
    for _ in range(3):
        with Sandbox(clock="frozen") as sandbox, Sandbox(clock="frozen", seed=2) as other:
            sandbox.connect("http://127.0.0.1:9/", mode="plain")
            other.connect(lambda _s, _r, _t: asyncio.sleep(60), mode="plain")  # type: ignore[arg-type, return-value]
            assert sandbox.url != other.url
            for one in (sandbox, other):
                one.world.user("Ann").follow()
                one.world.user("Ann").say("hi")
    gc.collect()
    # One of an earlier test may end meanwhile.
    assert {thread.name for thread in threading.enumerate()} <= before


@pytest.mark.parametrize("spoil", [{"now": float("nan")}, {"now": 1e300}, {"now": -1}, {"now": "x"}, {"state": []}])
def test_a_snapshot_of_no_time_is_refused(spoil: dict[str, Any], world: World):
    """A document whose time or state cannot be is refused, and the world goes on as it was."""
    before = json.dumps(world.snapshot())
    document = json.loads(before)
    with pytest.raises(WorldError):
        world.restore({**document, **spoil})
    document["state"]["default_appid"] = "wx_nobody"
    with pytest.raises(WorldError):
        world.restore(document)
    assert json.dumps(world.snapshot()) == before
    assert world.handle(Request("GET", "/cgi-bin/token")).errcode == 40002


def test_a_snapshot_with_strange_events_or_people_is_refused(world: World):
    """What would fail hours later, when an event is due or a user is asked for, is refused at once."""
    world.user("Ann").follow()
    event = {"due": 1.0, "serial": 1, "kind": "odd", "appid": world.account.appid, "fields": {}}
    document = world.snapshot()
    document["state"] = {**document["state"], "events": [event]}  # type: ignore[dict-item]
    with pytest.raises(WorldError, match="nobody knows the event 'odd'"):
        world.restore(document)
    document = world.snapshot()
    document["state"] = {**document["state"], "people": []}  # type: ignore[dict-item]
    with pytest.raises(WorldError, match="nobody of its people"):
        world.restore(document)


def test_codes_and_tickets_stay_bounded(make_desk: Any):
    """Codes of OAuth pages and expired QR codes are forgotten one day, the oldest first."""
    desk = make_desk(oauth_kept=20, qr_expired_kept=10)
    openid = desk.world.create_followers(1)[0]
    page = {"appid": desk.account.appid, "redirect_uri": "http://127.0.0.1/", "response_type": "code", "user": openid}
    for _ in range(50):
        assert desk.send("GET", "/connect/oauth2/authorize", page | {"scope": "snsapi_base"}, host="open").status == 302
        desk.post("/cgi-bin/qrcode/create", {"action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 1}}})
        desk.world.advance(120)
    assert len(desk.account.codes) == 20
    assert len(desk.account.qr) <= 21


def test_state_is_kept_when_the_server_does_not_end(tmp_path: Path, monkeypatch: Any):
    """A server that does not stop in time is an error, and the state is on the disk all the same."""
    state = tmp_path / "world.json"
    stop = Simulator.stop

    def late(simulator: Simulator) -> None:
        stop(simulator)
        raise RuntimeError("the simulator's server did not stop in time")

    monkeypatch.setattr(Simulator, "stop", late)
    with pytest.raises(RuntimeError, match="in time"), _sim_options.running(_sim_options.SimOptions(state=state)):
        pass
    assert json.loads(state.read_text())["version"] == 1


def test_a_bottomless_state_file_is_one_sentence(tmp_path: Path):
    """A file that nests without end is no state, and no traceback either."""
    state = tmp_path / "world.json"
    state.write_text("[" * 200_000)
    with pytest.raises(WorldError, match="holds no state"):
        _sim_options.read_state(state)


def test_event_loops_may_end_before_their_pushes():
    """Loops that are closed while their pushes are on the way leave no warning, and the next loop goes on."""
    heard: list[str] = []
    slow = [True]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(scope["path"])
        await asyncio.sleep(60 if slow else 0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"success"})

    with Sandbox(clock="frozen") as sandbox:
        sandbox.connect(app, mode="plain", path="/wx")

        async def give_up() -> None:
            sandbox.world.user("Ann").follow()
            before, settling = len(heard), asyncio.create_task(sandbox.settled())
            async with asyncio.timeout(20):
                while len(heard) == before:
                    await asyncio.sleep(0.001)
            settling.cancel()
            await asyncio.wait({settling})

        for _ in range(2):
            asyncio.run(give_up())
        slow.clear()
        sandbox.run(sandbox.settled())
    gc.collect()
    assert set(heard) == {"/wx"}
    assert len(heard) >= 3
