"""Wire habits of the platform, over real HTTP with a plain client."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import statistics
import threading
import time

import httpx
import pytest

from wxmp.simulator import Policy, Simulator, World
from wxmp.simulator.clock import Clock

TOKEN = "/cgi-bin/token"


def credentials(simulator):
    account = simulator.account
    return {"grant_type": "client_credential", "appid": account.appid, "secret": account.secret}


@pytest.fixture
def token(simulator, http) -> str:
    return http.get(TOKEN, params=credentials(simulator)).json()["access_token"]


def test_errors_are_http_200_with_errcode_and_rid(http):
    """An API error is HTTP 200, JSON, with errcode and a message that ends with a rid."""
    answer = http.get("/cgi-bin/user/get", params={"access_token": "nope"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.json()["errcode"] == 40014
    assert re.search(r" rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$", answer.json()["errmsg"])


def test_chinese_is_sent_as_raw_utf8(http, token):
    """Answers hold Chinese as UTF-8, never as escapes."""
    http.post("/cgi-bin/tags/create", params={"access_token": token}, content='{"tag":{"name":"重要"}}'.encode())
    raw = http.get("/cgi-bin/tags/get", params={"access_token": token}).content
    assert "重要".encode() in raw
    assert b"\\u" not in raw


def test_wrong_verb_empty_body_and_garbage(http, token):
    """43001 and 43002 for the wrong verb, 44002 for an empty body, 47001 for what is no JSON object in UTF-8."""
    query = {"access_token": token}

    def post(content: bytes) -> int:
        return http.post("/cgi-bin/tags/create", params=query, content=content).json()["errcode"]

    assert http.post("/cgi-bin/tags/get", params=query).json()["errcode"] == 43001
    assert http.get("/cgi-bin/tags/create", params=query).json()["errcode"] == 43002
    assert http.get("/cgi-bin/stable_token").json()["errcode"] == 43002
    assert [post(b""), post(b"  "), post(b"{"), post(b"[]"), post(b"\xff"), post(b"[" * 100_000)] == [44002] * 2 + [
        47001
    ] * 4


def test_oversized_body_is_refused(http, token):
    """A body over the limit answers 45001 and the connection stays usable."""
    body = b'{"tag":{"name":"' + b"x" * (3 << 20) + b'"}}'
    assert http.post("/cgi-bin/tags/create", params={"access_token": token}, content=body).json()["errcode"] == 45001
    assert http.get("/cgi-bin/tags/get", params={"access_token": token}).status_code == 200


def test_oauth_answers_are_text_plain(http):
    """The sns endpoints label their JSON as text/plain."""
    answer = http.get("/sns/userinfo", params={"access_token": "x", "openid": "o"})
    assert answer.headers["content-type"] == "text/plain"
    assert answer.json()["errcode"] == 40001


def test_binary_endpoint_labels_its_errors_oddly(http):
    """A JSON error of a picture endpoint says encoding= instead of charset=."""
    answer = http.post("/cgi-bin/showqrcode", content=b"{}")
    assert answer.headers["content-type"] == "application/json; encoding=utf-8"
    assert answer.json()["errcode"] == 43001


def test_unknown_paths(http, simulator):
    """An unknown path answers 40066, or ok in the loose mode; both are in the journal."""
    assert http.get("/cgi-bin/no/such").json()["errcode"] == 40066
    simulator.world.policy = Policy(strict_paths=False)
    assert http.get("/cgi-bin/no/such").json() == {"errcode": 0, "errmsg": "ok"}
    assert [exchange.path for exchange in simulator.journal] == ["/cgi-bin/no/such"] * 2


@pytest.mark.parametrize(
    ("path", "host", "found"),
    [
        ("/api/cgi-bin/showqrcode", None, False),
        ("/mp/cgi-bin/showqrcode", None, True),
        ("/cgi-bin/showqrcode", None, True),
        ("/cgi-bin/showqrcode", "mp.weixin.qq.com", True),
        ("/cgi-bin/showqrcode", "api.weixin.qq.com", False),
        ("/open/connect/oauth2/authorize", None, True),
        ("/connect/oauth2/authorize", "open.weixin.qq.com:443", True),
        ("/mp/connect/oauth2/authorize", None, False),
    ],
)
def test_hosts_by_header_and_prefix(http, path, host, found):
    """Each endpoint answers on its own host: named by the Host header, by a path prefix, or not named at all."""
    answer = http.get(path, headers={"host": host} if host else {})
    missing = answer.headers["content-type"].startswith("application/json") and answer.json()["errcode"] == 40066
    assert missing is not found


@pytest.mark.parametrize("path", [TOKEN, "/_sim/state", "/", "/connect/oauth2/authorize"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "[::1"])
def test_foreign_host_headers_are_refused_everywhere(http, path, host):
    """A page that reaches the server under another name (DNS rebinding) gets 421 and nothing else."""
    assert http.get(path, headers={"host": host}).status_code == 421


def test_platform_host_names_do_not_open_the_control_routes(http):
    """The control routes answer loopback names only."""
    assert http.get("/_sim/state", headers={"host": "api.weixin.qq.com"}).status_code == 421


def test_foreign_origin_may_not_control(http):
    """A web page of another origin cannot post to the control routes; one of our own can."""
    assert http.post("/_sim/reset", headers={"origin": "https://evil.example"}).status_code == 403
    assert http.post("/_sim/reset", headers={"origin": "null"}).status_code == 403
    assert http.post("/_sim/reset", headers={"origin": "http://127.0.0.1:9"}).status_code == 200


def test_first_of_doubled_parameters_counts(http, token):
    """Of a doubled query parameter the first one counts."""
    answer = http.get(f"/cgi-bin/tags/get?access_token={token}&access_token=x")
    assert "tags" in answer.json()


def test_caller_address_can_be_played(http, simulator):
    """The header X-Client-IP stands for the caller's address; the policy can switch that off."""
    simulator.account.ip_list = ["192.0.2.1"]
    ask = lambda: http.get(TOKEN, params=credentials(simulator), headers={"x-client-ip": "192.0.2.1"}).json()  # noqa: E731
    assert "access_token" in ask()
    simulator.world.policy = Policy(trust_client_ip_header=False)
    assert ask()["errcode"] == 40164


def test_picture_with_an_encoded_ticket(http, token):
    """The ticket survives URL encoding."""
    body = {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "s"}}}
    ticket = http.post("/cgi-bin/qrcode/create", params={"access_token": token}, json=body).json()["ticket"]
    answer = http.get("/mp/cgi-bin/showqrcode", params={"ticket": ticket})
    assert (answer.status_code, answer.headers["content-type"], answer.content[:2]) == (200, "image/jpg", b"\xff\xd8")


def test_connections_stay_open(simulator):
    """Many calls go over one connection."""
    with httpx.Client(base_url=simulator.url, trust_env=False) as client:
        client.get("/cgi-bin/x")
        first = simulator.world.journal[-1]
        for _ in range(5):
            client.get("/cgi-bin/x")
        pool = client._transport._pool
        assert len(pool.connections) == 1
        assert len(simulator.journal) == first.seq + 5


def test_answers_are_not_delayed_by_nagle(http):
    """Most of two hundred calls take less than the 40 ms each that small packets would wait otherwise."""
    times = []
    for _ in range(200):
        started = time.perf_counter()
        http.get("/cgi-bin/x")
        times.append(time.perf_counter() - started)
    assert statistics.median(times) < 0.035


# --- the running simulator -----------------------------------------------------------------------------------


def test_counts_token_requests_by_channel_and_account(simulator, http):
    """Every arrival at a token endpoint is counted, refused ones too, by channel and account."""
    other = simulator.world.add_account()
    http.get(TOKEN, params=credentials(simulator))
    http.get(TOKEN, params=credentials(simulator) | {"secret": "wrong"})
    http.post("/cgi-bin/stable_token", json=credentials(simulator))
    http.post("/cgi-bin/stable_token", json=credentials(simulator) | {"appid": other.appid})
    assert simulator.token_requests == 4
    assert simulator.token_requests_of("plain") == 2
    assert simulator.token_requests_of() == 3
    assert simulator.token_requests_of(appid=other.appid) == 1
    assert simulator.tokens_issued() == 2
    assert simulator.calls(TOKEN) == 2


def test_journal_says_who_what_and_why_without_credentials(simulator, http):
    """The journal holds the caller's label and the reason, and neither secret nor token."""
    token = http.get(TOKEN, params=credentials(simulator), headers={"x-client": "worker-3"}).json()["access_token"]
    http.post("/cgi-bin/stable_token", json=credentials(simulator))
    stable = simulator.world.living_tokens("stable")[0].text
    http.get("/cgi-bin/user/get", params={"access_token": token})
    first = simulator.journal[0]
    assert (first.client, first.why, first.errcode) == ("worker-3", "token #1 minted on the plain channel", 0)
    everything = repr(simulator.journal) + http.get("/_sim/journal").text + http.get("/_sim/state").text
    everything += json.dumps([[e.request_body, e.response_body, e.query] for e in simulator.journal])
    for secret in (token, stable, simulator.account.secret):
        assert secret not in everything
        assert secret[5:40] not in everything


def test_journal_cuts_a_token_only_after_masking(make_desk):
    """A body cut in the middle of a token shows no part of it."""
    desk = make_desk(journal_body=60)
    token = desk.plain()["access_token"]
    assert len(desk.world.journal[-1].response_body) <= 60
    assert token[:20] not in desk.world.journal[-1].response_body


def test_journal_is_bounded():
    """Only so many exchanges are kept; running numbers go on and old rids are forgotten."""
    world = World(Policy(journal_size=5), Clock.frozen())
    with Simulator(world=world) as simulator, httpx.Client(base_url=simulator.url, trust_env=False) as client:
        for _ in range(12):
            client.get("/cgi-bin/x")
        assert [exchange.seq for exchange in simulator.journal] == [8, 9, 10, 11, 12]
    assert len(world.journal._rids) == 5


def test_repr_shows_no_secret(simulator, http):
    """Neither account nor world nor simulator show a secret or token in their repr."""
    http.get(TOKEN, params=credentials(simulator))
    shown = (
        repr(simulator.account)
        + repr(simulator.world)
        + repr(simulator)
        + repr(list(simulator.account.tokens.values()))
    )
    assert simulator.account.secret not in shown
    assert simulator.world.living_tokens("plain")[0].text not in shown


def test_stops_fast_and_leaves_no_thread(world):
    """Leaving the block ends thread and socket at once, even while a request hangs."""
    with Simulator(world=world) as simulator:
        port = simulator.port
        simulator.fault("hang")
        results = []

        def hang() -> None:
            with httpx.Client(trust_env=False, timeout=30) as client:
                try:
                    client.get(f"{simulator.url}/cgi-bin/x")
                except httpx.HTTPError as error:
                    results.append(type(error))

        caller = threading.Thread(target=hang)
        caller.start()
        assert simulator.wait_for(lambda world: len(world.journal) == 1)
        started = time.perf_counter()
    assert time.perf_counter() - started < 8.0
    caller.join(20)
    assert len(results) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "wxmp-simulator"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    simulator.stop()


@pytest.mark.parametrize("turns", range(7))
def test_a_connection_of_the_last_moment_is_closed(world, turns):
    """Somebody who connects while the server stops is hung up on, however far asyncio has got with it."""
    with Simulator(world=world) as simulator:
        loop, server, clients = simulator._loop, simulator._server, []

        def connect() -> None:
            clients.append(socket.create_connection(("127.0.0.1", simulator.port), timeout=5))
            stop_after(turns)

        def stop_after(left: int) -> None:
            if left:
                loop.call_soon(stop_after, left - 1)
            else:
                server.should_exit = True
                server.wake.set()

        loop.call_soon_threadsafe(connect)
        simulator._thread.join(10)
    with clients[0] as client, contextlib.suppress(ConnectionResetError):  # that is: it was never accepted
        assert client.recv(1) == b""


def test_can_be_started_again(world):
    """After a stop the same object starts again on a new port."""
    simulator = Simulator(world=world)
    for _ in range(2):
        simulator.start()
        simulator.start()
        with httpx.Client(base_url=simulator.url, trust_env=False) as client:
            assert client.get("/_sim/state").status_code == 200
        simulator.stop()
        assert not simulator.running
    with pytest.raises(RuntimeError, match="not started"):
        _ = simulator.url


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
def test_refuses_to_listen_beyond_loopback(host):
    """Another address than loopback needs an explicit flag."""
    with pytest.raises(ValueError, match="loopback"):
        Simulator(host=host)


def test_listening_everywhere_warns(world, caplog):
    """With the flag the simulator warns before it listens."""
    Simulator(world=world, host="0.0.0.0", allow_remote=True)
    assert "anybody who reaches it controls it" in caplog.text


def test_taken_port_is_an_os_error(simulator):
    """A taken port is reported as such, and nothing is left behind."""
    with pytest.raises(OSError, match="in use"):
        Simulator(port=simulator.port).start()


def test_waiting_for_something_that_never_happens(simulator):
    """wait_for gives up after its time and says so."""
    assert simulator.wait_for(lambda world: len(world.journal) > 0, timeout=0.05) is False


async def test_works_inside_a_running_event_loop(world):
    """The simulator has its own loop: an async test can use it in a plain with block."""
    with Simulator(world=world) as simulator:
        async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:
            assert (await client.get(TOKEN, params=credentials(simulator))).json()["expires_in"] == 7200


def test_many_callers_at_once_get_one_stable_token(simulator):
    """Parallel callers of the stable channel all get the same token."""
    tokens: list[str] = []

    def fetch() -> None:
        with httpx.Client(base_url=simulator.url, trust_env=False, verify=False) as client:
            tokens.append(client.post("/cgi-bin/stable_token", json=credentials(simulator)).json()["access_token"])

    threads = [threading.Thread(target=fetch) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(tokens) == 16
    assert len(set(tokens)) == 1
    assert simulator.tokens_issued() == 1
