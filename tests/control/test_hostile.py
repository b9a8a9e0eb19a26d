"""Somebody means it badly, or a program goes mad: what a control server and its store do then."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import re
import traceback
import tracemalloc
import weakref
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from tests.control.conftest import QUICK, House, build, keeper_of_tokens, tear_down
from wxmp import Client
from wxmp.control import ControlKey, ControlServer
from wxmp.control import server as server_module

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wxmp.simulator import Simulator

HERE = ("127.0.0.1", 50_000)


async def until(condition: Callable[[], object], timeout: float = 40.0) -> None:
    """Poll until ``condition()`` is true."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.02)


async def raw(
    house: House,
    *,
    method: str = "GET",
    path: str | None = None,
    headers: list[tuple[bytes, bytes]] | None = None,
    receive: Callable[[], Awaitable[Any]] | None = None,
    **scope: Any,
) -> tuple[int, dict[str, Any]]:
    """One request as an ASGI server hands it on, with whatever is odd about it."""
    sent: list[Any] = []

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(b"authorization", f"Bearer {house.text}".encode())] if headers is None else headers
    asked = {
        "type": "http",
        "method": method,
        "path": path or f"/v1/accounts/{house.appid}/access_token",
        "scheme": "http",
        "query_string": b"",
        "headers": given,
        "client": HERE,
        "server": ("127.0.0.1", 80),
        **scope,
    }
    await house.server(asked, receive or nothing, send)
    body: bytes = sent[1]["body"]
    found: dict[str, Any] = json.loads(body) if body.startswith(b"{") else {}
    return sent[0]["status"], found


def bearer(text: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {text}".encode()


# ---- keys


@pytest.mark.parametrize("order", [1, -1])
async def test_two_keys_at_once_are_none(house: House, order: int) -> None:
    """A doubled header, of which a proxy may have looked at the other one, is no key."""
    _, wrong = ControlKey.create("other", appids="*")
    headers = [bearer(house.text), bearer(wrong)][::order]
    assert await raw(house, headers=headers) == await raw(house, headers=[bearer(wrong)])
    assert (await raw(house, headers=[bearer(house.text)] * 2))[0] == 401


@pytest.mark.parametrize(
    "given",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer wxck__" + b"A" * 43,
        b"Bearer wxck_000000000000_" + b"\xc3\xa9" * 21 + b"A",
        b"Bearer " + "wxck_٠٠٠٠٠٠٠٠٠٠٠٠_".encode() + b"A" * 43,
        b"Bearer \xff\xfe\x00",
        b"Bearer " + b"A" * 100_000,
        b"Bearer\twxck",
        b"\x00",
    ],
)
async def test_headers_that_are_no_key(house: House, given: bytes) -> None:
    """An empty id, letters of other scripts, raw bytes, and very much: 401, and never a 500."""
    assert (await raw(house, headers=[(b"authorization", given)]))[0] == 401


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
async def test_the_scheme_in_any_case(house: House, scheme: bytes) -> None:
    """The name of the scheme is read without regard to case."""
    assert (await raw(house, headers=[(b"authorization", scheme + b" " + house.text.encode())]))[0] == 200


async def test_many_headers(house: House) -> None:
    """Ten thousand headers are looked through, and change nothing."""
    headers = [(b"x-%d" % number, b"y" * 100) for number in range(10_000)]
    assert (await raw(house, headers=[*headers, bearer(house.text)]))[0] == 200
    assert (await raw(house, headers=headers))[0] == 401


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_asked_gets_an_answer(house: House, seed: int) -> None:
    """Requests made of odd pieces: each is answered, none is a failure of ours, and no value goes to a wrong key."""
    dice = random.Random(seed)
    value = (await house.value())["access_token"]
    _, wrong = ControlKey.create("other", appids="*")
    pieces = [
        "v1",
        "accounts",
        house.appid,
        "access_token",
        "jsapi_ticket",
        "replace",
        "status",
        "page",
        "..",
        ".",
        "",
        "%",
    ]
    pieces += ["\x00", "\ud800", "é", "\n", "*", "metrics", "{appid}", "x" * 3000]
    keys = [house.text, wrong, "", "wxck_", house.text + " ", house.text.upper(), "é", house.text[:-1]]
    bodies = [
        b"",
        b"{}",
        b'{"generation": 1}',
        b'{"dead": "\\ud800"}',
        b'{"generation": 1e999}',
        b"[" * 9000,
        b"\xff\xfe{}",
    ]
    bodies += [b'{"generation": ' + b"9" * 5000 + b"}", b'{"generation": 1, "path": "/a", "path": 7}', b"NaN", b'"x"']
    queries = [b"", b"wait=0", b"wait=1&wait=x", b"wait=\xff", b"&&==", b"%zz", b"wait=1_0", b"wait=" + b"9" * 400]
    for _ in range(400):
        text = dice.choice(keys)
        body, path = dice.choice(bodies), "/" + "/".join(dice.choices(pieces, k=dice.randrange(6)))
        if dice.random() < 0.5:
            path = f"/v1/accounts/{house.appid}/{dice.choice(['access_token', 'access_token/replace'])}"
        said = {"type": "http.request", "body": body, "more_body": False}

        async def receive(said: Any = said) -> Any:
            return said

        status, found = await raw(
            house,
            method=dice.choice(["GET", "POST", "PUT", "HEAD", "get", "", "\n"]),
            path=path,
            headers=[(b"authorization", b"Bearer " + text.encode("utf-8", "surrogatepass"))],
            receive=receive,
            query_string=dice.choice(queries),
            client=dice.choice([HERE, ("::1", 1), None, ("10.0.0.5", 1), ("\n", 1)]),
            server=dice.choice([("127.0.0.1", 80), ("/run/x", None), None]),
            root_path=dice.choice(["", "/", "/v1", "//", "/x/v1"]),
        )
        assert status in (200, 400, 401, 403, 404, 405, 413, 429, 503), (path, found)
        if value in json.dumps(found):
            assert text.strip() == house.text


# ---- what a key without scope learns


async def test_no_answer_tells_whether_an_account_is_kept(house: House) -> None:
    """On every path and with every body, the account that is kept and one that is not get one answer, bit for bit."""
    key, text = ControlKey.create("other", appids={"wx00000000000000bb"}, may_see_status=True, per_minute=10_000)
    house.server.use_keys([house.key, key])
    await house.value()
    http = house.http(text)
    asked: list[tuple[str, str, Any]] = [
        ("GET", kind, None) for kind in ("access_token", "jsapi_ticket", "secret", "%2e%2e")
    ]
    asked += [
        ("GET", "access_token?wait=nonsense", None),
        ("POST", "access_token", {}),
        ("DELETE", "access_token", None),
    ]
    claims: list[Any] = [{"generation": 1}, {"dead": "x"}, {}, [], {"generation": 1, "operator": True}]
    asked += [("POST", "access_token/replace", claim) for claim in claims]
    for method, path, body in asked:
        told = []
        for appid in (house.appid, "wx00000000000000cc"):
            answer = await http.request(method, f"/v1/accounts/{appid}/{path}", json=body)
            assert answer.status_code >= 400
            told.append((answer.status_code, sorted(answer.headers.items()), answer.content))
        assert told[0] == told[1], (method, path, body)
    for path in ("/v1/status", "/metrics", "/readyz", "/healthz", "/openapi.json"):
        assert house.appid not in (await http.get(path)).text


async def test_odd_paths(house: House) -> None:
    """Encoded dots and slashes, doubled slashes and case lead nowhere else."""
    key, text = ControlKey.create("ops", appids="*")
    house.server.use_keys([key])
    http = house.http(text)
    base = f"/v1/accounts/{house.appid}"
    for path in (
        f"{base}/access_token/",
        f"{base}//access_token",
        f"/{base}/access_token",
        f"/V1/accounts/{house.appid}/access_token",
        f"{base}/access_token%00",
        f"{base}/access_token%2freplace%2f",
        f"{base}%2f..%2faccess_token",
        "/page/..%2fserver.py",
        "/page/%2e%2e",
    ):
        assert (await http.get(path)).status_code in (404, 405), path
    for path in (
        "/v1/accounts/%2e%2e/access_token",
        "/v1/accounts/%F0%9F%92%A9/access_token",
        "/v1/accounts/*/access_token",
    ):
        assert (await http.get(path)).status_code == 404, path


# ---- plain http, proxies, browsers


@pytest.mark.parametrize(
    "spoof", [b"x-forwarded-proto", b"x-forwarded-ssl", b"x-forwarded-for", b"forwarded", b"x-real-ip"]
)
async def test_nobody_says_that_he_is_near(house: House, spoof: bytes) -> None:
    """What a foreign peer says about itself in a header is not believed."""
    for value in (b"https", b"127.0.0.1", b"for=127.0.0.1;proto=https", b"on"):
        status, found = await raw(house, headers=[bearer(house.text), (spoof, value)], client=("10.0.0.5", 1))
        assert (status, found["error"]) == (403, "insecure")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (b"x-forwarded-proto", b"http", 403),
        (b"x-forwarded-proto", b"HTTP", 403),
        (b"x-forwarded-proto", b"https, http", 403),
        (b"forwarded", b"for=10.0.0.5;proto=http", 403),
        (b"forwarded", b'for=10.0.0.5; Proto="http";by=x', 403),
        (b"x-forwarded-proto", b"https", 200),
        (b"forwarded", b"for=10.0.0.5;proto=https", 200),
        (b"x-forwarded-for", b"10.0.0.5", 200),
    ],
)
async def test_a_proxy_here_that_was_asked_over_plain_http(house: House, name: bytes, value: bytes, code: int) -> None:
    """A proxy on this machine that says its own client came over plain http: the key was in the clear."""
    assert (await raw(house, headers=[bearer(house.text), (name, value)]))[0] == code


@pytest.mark.parametrize(
    "host", ["unix", "", "localhost", "127.0.0.1.evil.example", "127.1", "0", "::ffff:10.0.0.5", "[::1]"]
)
async def test_a_peer_is_near_by_its_address_only(house: House, host: str) -> None:
    """A server that takes the peer from a header may name anything: only an address of this machine is one."""
    status, found = await raw(house, client=(host, 1))
    assert (status, found["error"]) == (403, "insecure")


@pytest.mark.parametrize(
    "header",
    [
        (b"via", b"1.1 proxy"),
        (b"x-forwarded-host", b"tokens.example"),
        (b"x-forwarded-proto", b"https"),
        (b"x-original-forwarded-for", b"10.0.0.5"),
        (b"x-client-ip", b"10.0.0.5"),
        (b"cf-connecting-ip", b"10.0.0.5"),
        (b"host", b"127.0.0.1"),
    ],
)
async def test_metrics_through_a_proxy_need_a_key(house: House, header: tuple[bytes, bytes]) -> None:
    """Whatever a proxy leaves of itself in a request, or a second host name: it does not come from this machine."""
    headers = [(b"host", b"127.0.0.1:8780"), header]
    assert (await raw(house, path="/metrics", headers=headers))[0] == 401


async def test_a_page_of_another_site_gets_nowhere(house: House) -> None:
    """A preflight is refused, and no answer has a header that would let a foreign page read it."""
    origin = {"Origin": "https://evil.example"}
    asks = {**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for path in (f"/v1/accounts/{house.appid}/access_token", "/v1/status", "/metrics", "/", "/healthz"):
        for answer in (
            await house.http().get(path, headers=origin),
            await house.http("").request("OPTIONS", path, headers=asks),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.status_code == 405


# ---- bodies


async def test_a_body_that_never_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of which nothing more comes is waited for only so long."""
    monkeypatch.setattr(server_module, "BODY_WITHIN", 0.1)

    async def slow() -> Any:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b" ", "more_body": True}

    path = f"/v1/accounts/{house.appid}/access_token/replace"
    async with asyncio.timeout(30):
        status, found = await raw(house, method="POST", path=path, receive=slow)
    assert (status, found["error"]) == (400, "bad_request")


@pytest.mark.alone
async def test_a_body_of_nothing(house: House) -> None:
    """Pieces without content are not collected."""
    pieces = 0

    async def empty() -> Any:
        nonlocal pieces
        pieces += 1
        if pieces % 1000 == 0:
            await asyncio.sleep(0)
        more = pieces < 200_000
        return {"type": "http.request", "body": b"" if more else b'{"generation": 1}', "more_body": more}

    await house.value()
    path = f"/v1/accounts/{house.appid}/access_token/replace"
    tracemalloc.start()
    try:
        status, _ = await raw(house, method="POST", path=path, receive=empty)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 200
    assert peak < 500_000


@pytest.mark.parametrize(
    "lengths", [(b"10", b"70000"), (b"70000", b"10"), (b"-1",), (b"1e3",), (b"9" * 5000,), (b"\xb2",)]
)
async def test_lengths_that_contradict(house: House, lengths: tuple[bytes, ...]) -> None:
    """A doubled length, or one that is no number, is not believed: the pieces that come are counted."""

    async def large() -> Any:
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    headers = [bearer(house.text), *((b"content-length", each) for each in lengths)]
    path = f"/v1/accounts/{house.appid}/access_token/replace"
    status, found = await raw(house, method="POST", path=path, receive=large, headers=headers)
    assert (status, found["error"]) == (413, "too_large")


@pytest.mark.parametrize("dead", ["\\ud800", "\\u0000", "\u00e9" * 2000])
async def test_a_dead_value_in_odd_letters(house: House, dead: str) -> None:
    """Half a surrogate pair is no value of ours, and no reason to fail."""
    first = await house.value()
    body = f'{{"dead": "{dead}"}}'.encode()
    answer = await house.http().post(f"/v1/accounts/{house.appid}/access_token/replace", content=body)
    assert answer.status_code == 200
    assert (answer.json()["generation"], answer.json()["replaced"]) == (first["generation"], False)


# ---- replacing as an attack


@pytest.mark.parametrize("channel", ["plain", "stable"])
async def test_a_key_that_calls_every_value_dead(simulator: Simulator, channel: Any) -> None:
    """A liar, with a new path for each lie: the budget ends it, and the value of that moment is still good."""
    house = build(simulator, client=keeper_of_tokens(simulator, token_channel=channel))
    asked = []
    generation = (await house.value())["generation"]
    async with asyncio.timeout(60):
        for turn in range(40):
            answer = await house.claim(generation=generation, errcode=40001, path=f"/cgi-bin/{turn}")
            asked.append(answer.status_code)
            if answer.status_code != 200:
                break
            generation = answer.json()["generation"]
            if channel == "stable" and not answer.json()["replaced"]:
                break
    assert simulator.token_requests <= 15
    await tear_down(house)


@pytest.mark.parametrize("channel", ["plain", "stable"])
@pytest.mark.parametrize("kind", ["access_token", "jsapi_ticket"])
async def test_a_key_that_is_an_operator_all_the_time(simulator: Simulator, channel: Any, kind: str) -> None:
    """``operator`` skips cool-down and budget: over HTTP it has a limit of its own, on each channel and for tickets."""
    house = build(simulator, client=keeper_of_tokens(simulator, token_channel=channel))
    generation = (await house.value(kind))["generation"]
    path = f"/v1/accounts/{house.appid}/{kind}/replace"
    refused = 0
    for _ in range(30):
        answer = await house.http().post(path, json={"generation": generation, "operator": True})
        if answer.status_code == 200:
            generation = answer.json()["generation"]
        else:
            refused += 1
            assert (answer.status_code, answer.json()["error"], answer.json()["errcode"]) == (503, "refused", 45009)
            assert 0 < answer.json()["retry_after"] <= 600
    assert refused == 29
    assert (await house.value(kind))["generation"] == generation
    assert simulator.token_requests + simulator.calls("/cgi-bin/ticket/getticket") <= 4
    await tear_down(house)


async def test_only_a_dead_code_ends_a_token(house: House) -> None:
    """A program that reports every error of the platform as a dead token is told so, and nothing is replaced."""
    first = await house.value()
    for errcode in (-1, 45009, 48001, 40164, 40013):
        answer = await house.claim(generation=first["generation"], errcode=errcode)
        assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert house.simulator.token_requests == 1


# ---- lines of the log


async def test_a_peer_with_words_in_it(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Where a server takes the peer's name from a header, it forges no fields of the audit's line."""
    caplog.set_level(logging.INFO, logger="wxmp.control.audit")
    name = "10.0.0.5 event=replace key=admin\r\nevent=hand_out \x1b[2J" + "x" * 5000
    await raw(house, client=(name, 1), scheme="https")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "wxmp.control.audit"]
    assert re.fullmatch(
        r"event=hand_out key=shop key_id=\w+ appid=\w+ kind=access_token generation=\d+ peer=[\w.:?-]{1,64} status=200",
        line,
    )


async def test_all_of_ipv4_is_not_one_neighbour(house: House) -> None:
    """On a socket for both families IPv4 looks like IPv6: one guesser does not use up what all others have."""
    for _ in range(30):
        await house.http("nonsense", peer="::ffff:10.0.0.5", url="https://x").get("/v1/status")
    answer = await house.http("nonsense", peer="::ffff:10.0.0.6", url="https://x").get("/v1/status")
    assert answer.status_code == 401


async def test_a_failure_of_ours_shows_no_key(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools that report errors print the local variables of each frame: no key and no value is among them."""
    value = (await house.value())["access_token"]
    told = []

    def note(*_: object, **__: object) -> None:
        import sys

        error = sys.exception()
        assert error is not None
        told.append("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(server_module.logger, "exception", note)
    monkeypatch.setattr(house.server, "_note", fail)
    monkeypatch.setattr(server_module, "read_body", fail)
    assert (await raw(house))[0] == 500
    assert (await raw(house, method="POST", path=f"/v1/accounts/{house.appid}/access_token/replace"))[0] == 500
    assert len(told) == 2
    for text in told:
        assert "wxmp/control/server.py" in text
        assert house.text not in text
        assert house.text.split("_", 2)[2] not in text
        assert value not in text


# ---- where it is mounted


@pytest.mark.parametrize("frame", [FastAPI, Starlette])
@pytest.mark.parametrize(
    ("root", "prefix"), [("", ""), ("/api", "/api"), ("/api", ""), ("/control", "/control"), ("/api/v2", "/api/v2")]
)
async def test_mounted_below_a_proxy(house: House, frame: Any, root: str, prefix: str) -> None:
    """Below another path, whether the server is told of it, the proxy takes it away, or it leaves it in place."""
    app = frame()
    app.mount("/control", house.server)
    transport = httpx.ASGITransport(app, client=HERE, root_path=root)
    headers = {"Authorization": f"Bearer {house.text}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
        answer = await http.get(f"{prefix}/control/v1/accounts/{house.appid}/access_token")
        assert answer.status_code == 200, answer.text
        assert (await http.get(f"{prefix}/control/v1/accounts/{house.appid}/nothing")).status_code == 404


# ---- watchers


async def test_one_broken_account_stops_no_other(simulator: Simulator) -> None:
    """An AppSecret that cannot be read, and a keeper that raises what it should not: the others are kept fresh."""

    def vault() -> str:
        raise PermissionError("sealed")

    other = simulator.world.add_account("wx00000000000000aa", secret="another-fake-secret")
    broken = Client(other.appid, vault, base_url=simulator.url, token_policy=QUICK)
    key, text = ControlKey.create("ops", appids="*")
    server = ControlServer([broken, keeper_of_tokens(simulator)], [key])
    house = House(simulator, server, key, text, None, [])  # type: ignore[arg-type]
    server.start()
    await until(lambda: simulator.token_requests == 1)
    await until(server._desks[house.appid, "access_token"].now)
    answer = await house.http().get(f"/v1/accounts/{other.appid}/access_token")
    assert (answer.status_code, answer.json()["error"]) in ((503, "broken"), (503, "unreachable"))
    assert "sealed" not in answer.text
    await house.value()
    tasks = [task for found in server._watching.values() for task in found.values()]
    assert len(tasks) == 2
    assert not [task for task in tasks if task.done()]
    await tear_down(house)


async def test_a_watcher_survives_a_mistake(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no keeper should raise is told the log, and the value is looked at again."""
    from wxmp.control import desk as desk_module

    monkeypatch.setattr(desk_module, "WATCH_MOST", 0.05)
    said: list[str] = []
    monkeypatch.setattr(desk_module.logger, "exception", lambda text, *args, **_: said.append(text % args))
    true = desk_module.Desk.now
    monkeypatch.setattr(desk_module.Desk, "now", lambda _: 1 / 0)
    house.server.start()
    await until(lambda: said)
    monkeypatch.setattr(desk_module.Desk, "now", true)
    desk = house.server._desks[house.appid, "access_token"]
    await until(desk.now)
    assert desk.watcher is not None
    assert not desk.watcher.done()


def test_event_loops_that_are_gone_are_forgotten(simulator: Simulator) -> None:
    """A server used from one asyncio.run after the other serves each, and keeps none of the loops."""
    key, text = ControlKey.create("ops", appids="*")
    server = ControlServer([keeper_of_tokens(simulator)], [key])
    house = House(simulator, server, key, text, None, [])  # type: ignore[arg-type]
    loops = []

    async def use() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        first = await house.value()
        await house.claim(generation=first["generation"], operator=True)

    for _ in range(8):
        asyncio.run(use())
    house.made.clear()
    gc.collect()
    assert sum(loop() is not None for loop in loops) <= 2  # the last one, and one that is forgotten at the next
    assert not [task for task in server_module._WATCHERS if task.get_loop().is_closed()]
    assert simulator.token_requests <= 3
    asyncio.run(server.aclose())
    asyncio.run(server.aclose())


async def test_after_the_end(house: House) -> None:
    """A request that comes after the server was closed is an answer, and starts nothing."""
    await house.server.aclose()
    answer = await house.http().get(f"/v1/accounts/{house.appid}/jsapi_ticket")
    assert answer.status_code == 503
    await house.server.aclose()
    assert not [task for found in house.server._watching.values() for task in found.values() if not task.done()]


# ---- a server behind a server


async def test_a_server_of_a_server(house: House) -> None:
    """A control server whose account is kept by another one hands on its values, and its claims."""
    key, text = ControlKey.create("branch", appids="*")
    branch = ControlServer([house.client()], [key])
    near = House(house.simulator, branch, key, text, None, [])  # type: ignore[arg-type]
    first = await near.value()
    assert first["access_token"] == (await house.value())["access_token"]
    house.simulator.kill_token()
    answers = await asyncio.gather(*(near.claim(generation=first["generation"]) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert house.simulator.token_requests == 2
    assert (await near.value())["access_token"] == (await house.value())["access_token"]
    await tear_down(near)
