"""The control server: who gets what, who is refused, and what it costs the platform."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.control.conftest import QUICK, House, build, keeper_of_tokens, tear_down
from wxmp import Client, ConfigError, MemoryTokenStore, TokenPolicy
from wxmp.control import ControlKey, ControlServer
from wxmp.control.desk import Desk, watch
from wxmp.control.server import ROUTES
from wxmp.errors import TokenStoreError
from wxmp.simulator import Policy, Simulator
from wxmp.tokens.store import StoredToken

if TYPE_CHECKING:
    from collections.abc import Callable

PLATFORM = "/cgi-bin/stable_token"


async def until(condition: Callable[[], object], timeout: float = 40.0) -> None:
    """Poll until ``condition()`` is true; the moment is the server's to choose."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.02)


# ---- handing out


async def test_the_access_token_is_handed_out(house: House) -> None:
    """The answer holds the value, its generation and what is left of it, and no cache keeps it."""
    answer = await house.http().get(f"/v1/accounts/{house.appid}/access_token")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    found = answer.json()
    assert sorted(found) == ["access_token", "appid", "expires_in", "generation", "life"]
    assert found["appid"] == house.appid
    assert 7000 < found["expires_in"] <= found["life"] <= 7200
    async with httpx.AsyncClient(base_url=house.simulator.url) as platform:
        check = await platform.get("/cgi-bin/get_api_domain_ip", params={"access_token": found["access_token"]})
    assert "ip_list" in check.json()


@pytest.mark.parametrize("kind", ["jsapi_ticket", "wx_card_ticket"])
async def test_tickets_are_handed_out(house: House, kind: str) -> None:
    """A ticket comes under its own name, and is another value than the token."""
    found = await house.value(kind)
    assert found["ticket"]
    assert found["expires_in"] > 7000
    assert found["ticket"] != (await house.value())["access_token"]


async def test_a_hundred_cold_requests_are_one_for_the_platform(house: House) -> None:
    """Over HTTP: everybody at once, one token request, one value."""
    answers = await asyncio.gather(*(house.value() for _ in range(100)))
    assert len({answer["access_token"] for answer in answers}) == 1
    assert house.simulator.token_requests == 1


async def test_several_accounts_are_kept_apart(simulator: Simulator) -> None:
    """Each account has its own value."""
    world = simulator.world
    second = world.add_account("wx00000000000000aa", secret="another-fake-secret")
    key, text = ControlKey.create("ops", appids="*")
    clients = [
        keeper_of_tokens(simulator),
        Client(second.appid, second.secret, base_url=simulator.url, token_policy=QUICK),
    ]
    house = House(simulator, ControlServer(clients, [key]), key, text, None, [])  # type: ignore[arg-type]
    values = []
    for appid in (simulator.account.appid, second.appid):
        answer = await house.http().get(f"/v1/accounts/{appid}/access_token")
        assert answer.json()["appid"] == appid
        values.append(answer.json()["access_token"])
    assert values[0] != values[1]
    await tear_down(house)


async def test_who_will_not_wait_is_told_to_come_again(house: House) -> None:
    """A slow platform: ``wait`` bounds the request, the fetching goes on, and is done once."""
    house.simulator.fault("latency", PLATFORM, seconds=1.2, first=1)
    path = f"/v1/accounts/{house.appid}/access_token"
    answer = await house.http().get(path, params={"wait": "0.05"})
    assert answer.status_code == 503
    assert answer.json()["error"] == "pending"
    assert 0 < answer.json()["retry_after"] < 1
    assert answer.headers["retry-after"] == "1"
    assert (await house.http().get(path)).status_code == 200
    assert house.simulator.token_requests == 1


@pytest.mark.parametrize("wait", ["-1", "16", "nan", "inf", "soon", "1e9"])
async def test_a_wait_that_cannot_be(house: House, wait: str) -> None:
    """``wait`` is a number of seconds within the limit."""
    await house.value()
    house.server._desks.clear()
    answer = await house.http().get(f"/v1/accounts/{house.appid}/jsapi_ticket", params={"wait": wait})
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


async def test_the_platform_says_no(house: House) -> None:
    """An errcode of the platform comes through with the time to wait; however many ask, the platform is asked once."""
    house.simulator.fault("errcode", PLATFORM, errcode=40164)
    answers = await asyncio.gather(*(house.http().get(f"/v1/accounts/{house.appid}/access_token") for _ in range(20)))
    for answer in answers:
        assert answer.status_code == 503
        assert (answer.json()["error"], answer.json()["errcode"]) == ("refused", 40164)
        assert 20 < answer.json()["retry_after"] <= 30
    assert house.simulator.token_requests == 1


async def test_the_platform_does_not_answer(simulator: Simulator) -> None:
    """Without any answer of the platform the error names no errcode."""
    simulator.fault("status", PLATFORM, status=502)
    policy = attrs.evolve(QUICK, lease=1.0, request_timeout=0.5, wait_timeout=2.0)
    house = build(simulator, client=keeper_of_tokens(simulator, token_policy=policy))
    answer = await house.http().get(f"/v1/accounts/{house.appid}/access_token")
    assert (answer.status_code, answer.json()["error"]) == (503, "unreachable")
    assert "errcode" not in answer.json()
    await tear_down(house)


async def test_the_store_is_down(simulator: Simulator) -> None:
    """A store that cannot be reached is named as the reason, on the channel where nobody may fetch alone."""

    class Broken(MemoryTokenStore):
        async def read(self, key: Any) -> Any:
            raise TokenStoreError("down", store="memory")

    client = keeper_of_tokens(simulator, token_store=Broken(), token_channel="plain")
    house = build(simulator, client=client)
    answer = await house.http().get(f"/v1/accounts/{house.appid}/access_token")
    assert (answer.status_code, answer.json()["error"]) == (503, "store_down")
    assert simulator.token_requests == 0
    await tear_down(house)


# ---- who is refused


@pytest.mark.parametrize("given", ["", "nonsense", "wxck_000000000000_" + "A" * 43, "stranger"])
async def test_no_key_no_answer(house: House, given: str) -> None:
    """No key, nonsense, an unknown key and the key of another server look alike."""
    if given == "stranger":
        _, given = ControlKey.create("shop", appids="*")
    answer = await house.http(given).get(f"/v1/accounts/{house.appid}/access_token")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"] == "unauthorized"
    assert house.simulator.token_requests == 0


@pytest.mark.parametrize("scheme", ["Basic {}", "{}", "Token {}"])
async def test_only_bearer(house: House, scheme: str) -> None:
    """The key is sent as a bearer token and in no other way."""
    headers = {"Authorization": scheme.format(house.text)}
    answer = await house.http("").get(f"/v1/accounts/{house.appid}/access_token", headers=headers)
    assert answer.status_code == 401
    answer = await house.http("").get(f"/v1/accounts/{house.appid}/access_token?key={house.text}")
    assert answer.status_code == 401


async def test_a_key_learns_nothing_about_other_accounts(house: House) -> None:
    """Out of its scope, an account that exists and one that does not are answered with the same words."""
    key, text = ControlKey.create("other", appids={"wx00000000000000bb"})
    house.server.use_keys([house.key, key])
    paths = [f"/v1/accounts/{appid}/access_token" for appid in (house.appid, "wx00000000000000cc", "..", "a%0Ab")]
    answers = [await house.http(text).get(path) for path in paths]
    assert {answer.status_code for answer in answers[:2] + answers[3:]} == {403}
    assert len({answer.text for answer in answers[:2] + answers[3:]}) == 1


async def test_an_account_that_is_not_kept(house: House) -> None:
    """A key that may ask for everything is told what is not there."""
    key, text = ControlKey.create("ops", appids="*")
    house.server.use_keys([key])
    answer = await house.http(text).get("/v1/accounts/wx00000000000000cc/access_token")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


async def test_a_key_gets_only_its_kinds(house: House) -> None:
    """A key for tickets gets no access_token."""
    key, text = ControlKey.create("page", appids={house.appid}, kinds={"jsapi_ticket"})
    house.server.use_keys([key])
    assert (await house.http(text).get(f"/v1/accounts/{house.appid}/jsapi_ticket")).status_code == 200
    assert (await house.http(text).get(f"/v1/accounts/{house.appid}/access_token")).status_code == 403
    assert (await house.http(text).get(f"/v1/accounts/{house.appid}/secret")).status_code == 404


async def test_a_key_is_changed_without_a_break(house: House) -> None:
    """Old and new key are good together; then the old one is not."""
    key, text = ControlKey.create("shop", appids={house.appid})
    path = f"/v1/accounts/{house.appid}/access_token"
    house.server.use_keys([house.key, key])
    assert [(await house.http(each).get(path)).status_code for each in (house.text, text)] == [200, 200]
    house.server.use_keys([key])
    assert [(await house.http(each).get(path)).status_code for each in (house.text, text)] == [401, 200]


async def test_keys_that_cannot_work_change_nothing(house: House) -> None:
    """A mistake in the new keys leaves the old ones in place."""
    with pytest.raises(ConfigError):
        house.server.use_keys([house.key, house.key])
    await house.value()


async def test_a_key_has_a_rate(house: House) -> None:
    """Above its rate a key is told when to come again; other keys do not notice."""
    key, text = ControlKey.create("busy", appids={house.appid}, per_minute=5)
    house.server.use_keys([house.key, key])
    path = f"/v1/accounts/{house.appid}/access_token"
    http = house.http(text)
    codes = [(await http.get(path)).status_code for _ in range(5)]
    answer = await http.get(path)
    assert codes == [200] * 5
    assert (answer.status_code, answer.json()["error"]) == (429, "too_many")
    assert 0 < answer.json()["retry_after"] <= 12
    await house.value()


async def test_guessing_keys_is_slowed_down(house: House) -> None:
    """After some wrong keys an address gets 429; another address, and a right key, are not touched."""
    path = f"/v1/accounts/{house.appid}/access_token"
    guesser = house.http("wxck_000000000000_" + "A" * 43, peer="127.0.0.9")
    codes = [(await guesser.get(path)).status_code for _ in range(60)]
    assert codes[:20] == [401] * 20
    assert set(codes[20:]) == {429}
    assert (await house.http("nonsense", peer="127.0.0.8").get(path)).status_code == 401
    assert (await house.http(peer="127.0.0.9").get(path)).status_code == 200


async def test_guessing_from_one_ipv6_network_counts_as_one(house: House) -> None:
    """Whoever has a network of 2**64 addresses is one guesser."""
    codes = set()
    for number in range(60):
        http = house.http("nonsense", peer=f"2001:db8::{number:x}", url="https://tokens.internal")
        codes.add((await http.get("/v1/status")).status_code)
    assert codes == {401, 429}


@pytest.mark.parametrize("peer", ["10.0.0.5", "2001:db8::1", "192.168.1.2", "::ffff:10.0.0.5", "testclient"])
@pytest.mark.parametrize("text", ["right", "wrong"])
async def test_plain_http_from_elsewhere_is_refused(house: House, peer: str, text: str) -> None:
    """Over plain http from another machine nothing is answered, whatever the key: it is not even looked at."""
    path = f"/v1/accounts/{house.appid}/access_token"
    answer = await house.http(None if text == "right" else "wrong", peer=peer).get(path)
    assert (answer.status_code, answer.json()["error"]) == (403, "insecure")
    assert house.server._counters.failed_logins == 0


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_plain_http_on_this_machine(house: House, peer: str) -> None:
    """On this machine plain http is fine."""
    assert (await house.http(peer=peer).get(f"/v1/accounts/{house.appid}/access_token")).status_code == 200


async def test_tls_from_elsewhere(house: House) -> None:
    """Over TLS everybody with a key is served."""
    http = house.http(peer="10.0.0.5", url="https://tokens.internal")
    assert (await http.get(f"/v1/accounts/{house.appid}/access_token")).status_code == 200


async def test_plain_http_can_be_allowed(simulator: Simulator) -> None:
    """Whoever says so gets plain http from other machines."""
    house = build(simulator, allow_insecure=True)
    assert (await house.http(peer="10.0.0.5").get(f"/v1/accounts/{house.appid}/access_token")).status_code == 200
    await tear_down(house)


async def test_a_socket_of_this_machine_is_local(house: House) -> None:
    """Over a Unix socket, where servers name no client, plain http is fine."""
    answers: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(b"authorization", f"Bearer {house.text}".encode())]
    scope = {"type": "http", "method": "GET", "path": f"/v1/accounts/{house.appid}/access_token", "scheme": "http"}
    await house.server({**scope, "headers": headers, "client": None, "server": ("/run/x", None)}, receive, send)
    assert answers[0]["status"] == 200


# ---- unusable requests


async def test_paths_and_methods(house: House) -> None:
    """What is not there is 404; another method is 405 and says which one there is."""
    http = house.http()
    assert (await http.get("/v1/accounts")).status_code == 404
    assert (await http.get(f"/v1/accounts/{house.appid}/access_token/")).status_code == 404
    assert (await http.get("/v1/accounts//access_token")).status_code == 404
    answer = await http.post(f"/v1/accounts/{house.appid}/access_token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    answer = await http.get(f"/v1/accounts/{house.appid}/access_token/replace")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b"\xff",
        b"[" * 50_000,
        b'{"generation": "1"}',
        b'{"generation": true}',
        b'{"generation": 0}',
        b'{"generation": -1}',
        b'{"generation": 1e300}',
        b'{"generation": 5000000000000000}',
        b'{"dead": ""}',
        b'{"dead": 1}',
        b'{"dead": "x", "generation": 1}',
        b'{"generation": 1, "errcode": "40001"}',
        b'{"generation": 1, "path": "no-slash"}',
        b'{"generation": 1, "path": "/a?access_token=x"}',
        b'{"generation": 1, "path": "/a\\nb"}',
        b'{"generation": 1, "path": 5}',
        b'{"generation": 1, "operator": 1}',
    ],
)
async def test_a_claim_that_says_nothing(house: House, body: bytes) -> None:
    """A body that names no value, or says what cannot be, is 400 and replaces nothing."""
    await house.value()
    answer = await house.http().post(f"/v1/accounts/{house.appid}/access_token/replace", content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert house.simulator.token_requests == 1


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_body_is_not_read(house: House, announced: bool) -> None:
    """More than 64 KiB is refused, by its length or while it comes."""

    async def pieces() -> Any:
        for _ in range(100):
            yield b"x" * 1024

    content = b"x" * 65_537 if announced else pieces()
    answer = await house.http().post(f"/v1/accounts/{house.appid}/access_token/replace", content=content)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


async def test_a_compressed_body_is_refused(house: House) -> None:
    """Nothing is unpacked for anybody."""
    path = f"/v1/accounts/{house.appid}/access_token/replace"
    answer = await house.http().post(path, content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 400


async def test_websockets_are_closed(house: House) -> None:
    """A websocket gets nothing."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await house.server({"type": "websocket"}, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1000}]


# ---- replacing


@pytest.mark.parametrize("how", ["generation", "dead"])
async def test_a_dead_value_is_replaced_once(house: House, how: str) -> None:
    """Twenty claims about one dead value: one request to the platform, and the same new value for all."""
    first = await house.value()
    house.simulator.kill_token()
    said = {"generation": first["generation"]} if how == "generation" else {"dead": first["access_token"]}
    answers = [answer.json() for answer in await asyncio.gather(*(house.claim(**said) for _ in range(20)))]
    assert {answer["access_token"] for answer in answers} != {first["access_token"]}
    assert len({answer["access_token"] for answer in answers}) == 1
    assert house.simulator.token_requests == 2
    late = (await house.claim(**said)).json()
    assert (late["access_token"], late["replaced"]) == (answers[0]["access_token"], False)
    assert house.simulator.token_requests == 2


async def test_who_comes_late_is_answered_at_once(house: House) -> None:
    """A claim about a value that is not the current one replaces nothing."""
    first = await house.value()
    assert (await house.claim(generation=first["generation"] - 1)).json()["replaced"] is False
    assert (await house.claim(generation=first["generation"] + 10)).json()["replaced"] is False
    assert (await house.claim(dead="some-other-value")).json()["replaced"] is False
    assert (await house.value())["generation"] == first["generation"]
    assert house.simulator.token_requests == 1


async def test_an_old_claim_costs_nothing(simulator: Simulator) -> None:
    """Claims about a value older than the current one are answered from memory: not even the store is asked."""
    reads = []

    class Counted(MemoryTokenStore):
        async def read(self, key: Any) -> Any:
            reads.append(key)
            return await super().read(key)

    calm = attrs.evolve(QUICK, check_interval=1000.0, overlap=10_000.0)
    house = build(simulator, client=keeper_of_tokens(simulator, token_store=Counted(), token_policy=calm))
    first = await house.value()
    before = len(reads)
    for number in range(1, 6):
        assert (await house.claim(generation=first["generation"] - number)).json()["replaced"] is False
    assert len(reads) == before
    await tear_down(house)


async def test_a_replica_that_has_not_noticed_looks(simulator: Simulator) -> None:
    """A claim about a value that another replica has handed out is judged by the store, not by an old copy."""
    store = MemoryTokenStore()
    calm = attrs.evolve(QUICK, check_interval=1000.0, overlap=10_000.0)
    houses = [
        build(simulator, client=keeper_of_tokens(simulator, token_store=store, token_policy=calm)) for _ in range(2)
    ]
    first, same = await houses[0].value(), await houses[1].value()
    assert first["access_token"] == same["access_token"]
    simulator.kill_token()
    second = (await houses[0].claim(generation=first["generation"])).json()
    assert (await houses[1].value())["generation"] == first["generation"]  # it has not noticed
    simulator.kill_token()
    third = (await houses[1].claim(generation=second["generation"])).json()
    assert third["replaced"] is True
    assert third["access_token"] not in (first["access_token"], second["access_token"])
    assert simulator.token_requests == 3
    for house in houses:
        await tear_down(house)


async def test_a_key_may_be_forbidden_to_replace(house: House) -> None:
    """A key that only reads replaces nothing."""
    first = await house.value()
    key, text = ControlKey.create("reader", appids={house.appid}, may_replace=False)
    house.server.use_keys([house.key, key])
    path = f"/v1/accounts/{house.appid}/access_token/replace"
    answer = await house.http(text).post(path, json={"generation": first["generation"]})
    assert (answer.status_code, answer.json()["error"]) == (403, "not_allowed")
    assert house.simulator.token_requests == 1


async def test_values_that_die_all_the_time(house: House) -> None:
    """A duel stops at the budget, with the code and the time to wait."""
    for _ in range(10):
        found = await house.value()
        house.simulator.kill_token()
        assert (await house.claim(generation=found["generation"], errcode=40001)).json()["replaced"] is True
    found = await house.value()
    house.simulator.kill_token()
    answer = await house.claim(generation=found["generation"], errcode=42001)
    assert (answer.status_code, answer.json()["error"], answer.json()["errcode"]) == (503, "budget_spent", 42001)
    assert 1 <= answer.json()["retry_after"] <= 60
    assert house.simulator.token_requests == 11


async def test_a_path_that_is_never_content(house: House) -> None:
    """A path that calls every value dead has three replaced, and then none for a while."""
    outcomes = []
    for _ in range(5):
        found = await house.value()
        house.simulator.kill_token()
        said = {"generation": found["generation"], "errcode": 40001, "path": "/cgi-bin/odd"}
        outcomes.append((await house.claim(**said)).json()["replaced"])
    assert outcomes == [True, True, True, False, False]


async def test_a_person_wants_another_value(house: House) -> None:
    """``operator`` forces a new value once, however often it is repeated; too soon after that the platform's limit."""
    first = await house.value()
    said = {"generation": first["generation"], "operator": True}
    answers = await asyncio.gather(*(house.claim(**said) for _ in range(5)))
    assert len({answer.json()["access_token"] for answer in answers} | {first["access_token"]}) == 2
    assert house.simulator.token_requests == 2
    again = await house.claim(generation=answers[0].json()["generation"], operator=True)
    assert (again.status_code, again.json()["error"], again.json()["errcode"]) == (503, "refused", 45009)
    assert house.simulator.token_requests == 2


async def test_a_ticket_can_be_replaced(house: House) -> None:
    """The way is the same for tickets."""
    first = await house.value("jsapi_ticket")
    path = f"/v1/accounts/{house.appid}/jsapi_ticket/replace"
    answer = await house.http().post(path, json={"generation": first["generation"]})
    assert answer.status_code == 200
    assert answer.json()["generation"] > first["generation"]


# ---- freshness without traffic


async def test_values_are_refreshed_ahead_of_time() -> None:
    """From the server's start on, and without a single request, a new value is there before the old one ends."""
    policy = TokenPolicy(lease=1, request_timeout=0.5, connect_timeout=0.5, wait_timeout=2, overlap=2, check_interval=1)
    with Simulator(policy=Policy(token_life=6, token_overlap=2.0), seed=1) as simulator:
        house = build(simulator, client=keeper_of_tokens(simulator, token_policy=policy, token_channel="plain"))
        house.server.start()
        await until(lambda: (house.appid, "access_token") in house.server._desks)
        desk = house.server._desks[house.appid, "access_token"]
        await until(desk.now)
        first = desk.now()
        assert first is not None

        def is_newer() -> bool:
            now = desk.now()
            assert now is not None
            return now.generation > first.generation

        await until(is_newer)
        assert simulator.tokens_issued("plain") == 2
        assert (await house.value())["generation"] > first.generation
        await until(lambda: desk.ledger.refreshes == 2)
        await tear_down(house)


async def test_the_first_request_starts_the_watch(simulator: Simulator) -> None:
    """Mounted in an application nobody tells the server of its start: the first request does."""
    store = MemoryTokenStore()
    house = build(simulator, client=keeper_of_tokens(simulator, token_store=store))
    assert not house.server._watching
    await house.http("").get("/readyz")
    await until(house.server._desks[house.appid, "access_token"].now)
    assert (await house.http("").get("/readyz")).status_code == 200
    assert simulator.token_requests == 1
    await tear_down(house)


async def test_the_watch_ends_with_the_server(house: House) -> None:
    """After closing nothing runs any more, and closing twice is safe."""
    await house.value()
    await house.value("jsapi_ticket")
    tasks = [task for found in house.server._watching.values() for task in found.values()]
    assert len(tasks) == 2
    await house.server.aclose()
    await house.server.aclose()
    assert all(task.done() for task in tasks)


async def test_a_forgotten_server_is_forgotten(simulator: Simulator) -> None:
    """A watcher does not keep alive what it watches, and ends when that is gone."""
    key, _ = ControlKey.create("shop", appids="*")
    client = keeper_of_tokens(simulator)
    server = ControlServer([client], [key])
    server.start()
    await until(lambda: simulator.token_requests == 1)
    await asyncio.sleep(0.1)
    desk = weakref.ref(server._desks[client.appid, "access_token"])
    (task,) = next(iter(server._watching.values())).values()
    del server
    gc.collect()
    assert desk() is None
    assert not task.done()  # it sleeps
    task.cancel()
    await asyncio.wait([task])
    await client.aclose()


async def test_a_watcher_of_nothing_ends(simulator: Simulator) -> None:
    """When the desk is gone, the watcher's next look is its last."""
    client = keeper_of_tokens(simulator)
    desk = Desk(client, "access_token", wall=time.time)
    watching = watch(desk)
    del desk
    gc.collect()
    await asyncio.wait_for(watching, 30)
    await client.aclose()


async def test_a_ticket_that_nobody_wants_is_left_alone(simulator: Simulator) -> None:
    """A ticket is kept fresh for some hours after somebody asked for it; the access_token always is."""
    now = [1_700_000_000.0]
    client = keeper_of_tokens(simulator)
    ticket, token = (Desk(client, kind, wall=lambda: now[0]) for kind in ("jsapi_ticket", "access_token"))
    assert ticket.wanted
    now[0] += 7 * 3600
    assert not ticket.wanted
    assert token.wanted
    await asyncio.wait_for(watch(ticket), 30)
    assert simulator.token_requests == 0
    ticket.ledger.asked("page", StoredToken(value="x", generation=1, life=7200.0, left=7200.0))
    assert ticket.wanted
    await client.aclose()


# ---- life


async def test_the_server_starts_and_stops_with_its_host(simulator: Simulator) -> None:
    """Told of the start it watches, told of the end it closes its clients."""
    house = build(simulator)
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(house.server({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    await until(lambda: simulator.token_requests == 1)
    await inbox.put({"type": "lifespan.shutdown"})
    assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
    await running
    with pytest.raises(ConfigError, match="closed"):
        await house.server._clients[house.appid].request("GET", "/cgi-bin/get_api_domain_ip")


async def test_it_can_be_mounted(house: House) -> None:
    """Below a path of another application everything is found."""
    app = Starlette(routes=[Mount("/control", app=house.server)])
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    headers = {"Authorization": f"Bearer {house.text}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
        answer = await http.get(f"/control/v1/accounts/{house.appid}/access_token")
        assert answer.status_code == 200
        assert (await http.get("/control/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize("accounts", ["none", "twice"])
def test_accounts_that_cannot_work(simulator: Simulator, accounts: str) -> None:
    """No account, or two clients for one, are refused."""
    clients = [] if accounts == "none" else [keeper_of_tokens(simulator), keeper_of_tokens(simulator)]
    with pytest.raises(ConfigError) as caught:
        ControlServer(clients, [])
    assert caught.value.field == "clients"


async def test_a_mistake_of_ours_is_an_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside is a 500 without details, and the server goes on."""

    def fail(*_: object) -> None:
        raise RuntimeError("details for the log")

    monkeypatch.setattr(house.server, "_find", fail)
    answer = await house.http().get(f"/v1/accounts/{house.appid}/access_token")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "details" not in answer.text
    monkeypatch.undo()
    await house.value()


async def test_every_route_is_in_the_table(house: House) -> None:
    """The table of routes is the interface: each has an answer of its own, and what needs a key refuses without one."""
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        path = route.path.replace("{appid}", house.appid).replace("{kind}", "access_token")
        path = path.replace("{file}", "page.js")
        answer = await house.http("", peer="10.0.0.5", url="https://x.internal").request(route.method, path)
        assert answer.status_code == (401 if route.auth != "none" else answer.status_code), route
        assert answer.status_code not in (404, 405)


# ---- health, metrics, status


async def test_health_and_readiness(simulator: Simulator) -> None:
    """The process lives from the start on, is ready when every account has a value, and tells anybody no more."""
    simulator.fault("status", PLATFORM, status=502)
    house = build(simulator)
    http = house.http("", peer="10.0.0.5")
    assert (await http.get("/healthz")).status_code == 200
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert house.appid not in answer.text
    simulator.clear_faults()
    await until(house.server._desks[house.appid, "access_token"].now)
    assert (await http.get("/readyz")).status_code == 200
    await tear_down(house)


def samples(text: str) -> dict[str, float]:
    """The samples of a page of metrics, by name and labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_metrics(house: House) -> None:
    """Prometheus reads gauges and counters for each account and kind."""
    first = await house.value()
    await house.value()
    house.simulator.kill_token()
    await house.claim(generation=first["generation"])
    await house.http("wrong").get("/v1/status")
    answer = await house.http().get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.text)
    label = f'{{appid="{house.appid}",kind="access_token"}}'
    assert found[f"wxmp_control_usable{label}"] == 1
    assert 7000 < found[f"wxmp_control_seconds_left{label}"] <= 7200
    assert found[f"wxmp_control_hand_outs_total{label}"] == 3
    assert found[f"wxmp_control_refreshes_total{label}"] == 2
    assert found[f"wxmp_control_deaths_total{label}"] == 1
    assert found['wxmp_control_refusals_total{error="unauthorized"}'] == 1
    assert found["wxmp_control_failed_logins_total"] == 1
    for line in answer.text.splitlines():
        assert line.startswith("# ") or len(line.split(" ")) == 2


@pytest.mark.parametrize(
    ("peer", "headers", "code"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {"Host": "[::1]:8000"}, 200),
        ("127.0.0.1", {"Host": "localhost:8000"}, 200),
        ("127.0.0.1", {"Host": "evil.example"}, 401),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.5"}, 401),
        ("127.0.0.1", {"Forwarded": "for=10.0.0.5"}, 401),
        ("10.0.0.5", {}, 401),
    ],
)
async def test_metrics_without_a_key(house: House, peer: str, headers: dict[str, str], code: int) -> None:
    """On this machine no key is needed; for what a proxy passes on, or a page in a browser asks, it is."""
    http = house.http("", peer=peer, url="http://127.0.0.1" if peer != "10.0.0.5" else "https://x.internal")
    assert (await http.get("/metrics", headers=headers)).status_code == code


async def test_what_a_key_sees(house: House) -> None:
    """A key without the right sees no status and no metrics; one with it sees the accounts of its scope."""
    plain, plain_text = ControlKey.create("plain", appids={house.appid})
    blind, blind_text = ControlKey.create("blind", appids={"wx00000000000000bb"}, may_see_status=True)
    house.server.use_keys([house.key, plain, blind])
    await house.value()
    for path in ("/v1/status", "/metrics"):
        assert (await house.http(plain_text).get(path)).status_code == 403
        answer = await house.http(blind_text).get(path)
        assert answer.status_code == 200
        assert house.appid not in answer.text


async def test_status_tells_who_asked(house: House) -> None:
    """Each value: its state, who asked how often, how many refreshes, and what is left of the quota."""
    await house.value()
    await house.value()
    await house.http().get("/v1/status")  # from now on the quota is asked for
    await until(lambda: house.server._quotas)
    answer = await house.http().get("/v1/status")
    (told,) = answer.json()["values"]
    assert (told["appid"], told["kind"], told["channel"], told["usable"]) == (
        house.appid,
        "access_token",
        "stable",
        True,
    )
    assert told["refreshes_today"] == 1
    assert told["last_error"] == ""
    assert [(asker["key"], asker["count"]) for asker in told["asked_by"]] == [("shop", 2)]
    assert told["quota"]["left"] == told["quota"]["daily_limit"] - told["quota"]["used"]
    assert told["another_system"] == {"suspected": False, "early_deaths_24h": 0}
    assert house.simulator.calls("/cgi-bin/openapi/quota/get") == 1


async def test_a_quota_that_is_not_known_is_no_trouble(house: House) -> None:
    """The status comes whether or not the platform tells the quota."""
    house.simulator.fault("errcode", "/cgi-bin/openapi/quota/get", errcode=48001)
    await house.value()
    for _ in range(3):
        answer = await house.http().get("/v1/status")
        assert answer.json()["values"][0]["quota"] is None
        await asyncio.sleep(0.05)
    assert house.simulator.calls("/cgi-bin/openapi/quota/get") == 1


async def test_a_death_that_the_server_itself_meets_is_noted(house: House) -> None:
    """Its own look at the quota can be the first call with a dead token: that death counts like any other."""
    first = await house.value()
    house.simulator.kill_token()
    await house.http().get("/v1/status")  # from now on the quota is asked for
    (desk,) = house.server._desks.values()
    await until(lambda: desk.ledger.deaths)
    (told,) = (await house.http().get("/v1/status")).json()["values"]
    assert told["another_system"] == {"suspected": True, "early_deaths_24h": 1}
    assert [(death.key, death.generation) for death in desk.ledger.deaths] == [
        ("the control server", first["generation"])
    ]
    assert (await house.value())["access_token"] != first["access_token"]


async def test_status_tells_how_a_value_died(house: House) -> None:
    """When it died, after what time, with which code, on which call, and whose key noticed; and what that points to."""
    first = await house.value()
    house.simulator.kill_token()
    for _ in range(3):
        await house.claim(generation=first["generation"], errcode=40001, path="/cgi-bin/menu/get")
    (told,) = (await house.http().get("/v1/status")).json()["values"]
    (death,) = told["deaths"]
    assert (death["errcode"], death["path"], death["key"]) == (40001, "/cgi-bin/menu/get", "shop")
    assert death["generation"] == first["generation"]
    assert death["left"] > 7000
    assert told["another_system"] == {"suspected": True, "early_deaths_24h": 1}
    assert told["generation"] > first["generation"]


async def test_a_failure_shows_in_the_status(house: House) -> None:
    """The last error and its cool-down are told, by code."""
    house.simulator.fault("errcode", PLATFORM, errcode=40125)
    await house.http().get(f"/v1/accounts/{house.appid}/access_token")
    (told,) = (await house.http().get("/v1/status")).json()["values"]
    assert told["last_error"] == "AccountError 40125"
    assert 50 < told["cool_down"] <= 60
    assert told["usable"] is False
    assert json.dumps(told)
