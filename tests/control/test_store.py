"""The token store over HTTP: what a client without the AppSecret can rely on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import socket
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
import uvicorn

from tests.control.conftest import PING, QUICK, House, build, keeper_of_tokens, tear_down
from tests.redis_server import held_port
from wxmp import (
    Client,
    ConfigError,
    DeadTokenError,
    MemoryTokenStore,
    RateLimitError,
    RetryPolicy,
    TokenStoreError,
    TokenStoreUnavailable,
)
from wxmp.control import ControlKey, HTTPTokenStore
from wxmp.events import CallFinished, Event
from wxmp.tokens.store import LeaseReason, LeaseStatus, TokenKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wxmp.simulator import Simulator

KEY = "wxck_000000000000_" + "A" * 43
TOKEN_KEY = TokenKey("wx0000000000000001", "stable")
GOOD = {"appid": TOKEN_KEY.appid, "access_token": "value-1", "generation": 7, "expires_in": 7000.0, "life": 7200.0}


class Fake:
    """A control server that says what a test wants."""

    def __init__(self) -> None:
        self.answers: deque[Any] = deque()
        self.always: Any = (200, GOOD)
        self.requests: list[httpx.Request] = []
        self.queries: list[bytes] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.queries.append(request.url.query)  # later it is gone
        answer = self.answers.popleft() if self.answers else self.always
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = (200, GOOD)
        status, body = answer
        if isinstance(body, bytes):
            return httpx.Response(status, content=body)
        return httpx.Response(status, json=body)


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
async def store(fake: Fake) -> AsyncIterator[HTTPTokenStore]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(fake)) as http:
        yield HTTPTokenStore("https://tokens.internal/control", KEY, http_client=http)


async def ping(client: Client) -> Any:
    return await client.request("GET", PING, repeatable=True)


@contextlib.asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """Serve an application on a real port."""
    # The protocol is named, or asyncio leaves Nagle's algorithm on and every answer takes 40 ms.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    await serving


# ---- arguments


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": []}, "url"),
        ({"url": "ftp://x"}, "base_url"),
        ({"url": "http://tokens.internal"}, "base_url"),
        ({"url": "https://user:password@tokens.internal"}, "base_url"),
        ({"url": ["https://tokens.internal", 5]}, "url"),
        ({"key": ""}, "key"),
        ({"key": None}, "key"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "1"}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
    ],
)
def test_bad_arguments_name_the_field(arguments: dict[str, Any], field: str) -> None:
    """What cannot work is refused when the store is made."""
    with pytest.raises(ConfigError) as caught:
        HTTPTokenStore(**{"url": "https://tokens.internal", "key": KEY, **arguments})
    assert caught.value.field == field
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("store", [None, MemoryTokenStore()])
def test_no_secret_needs_a_store_that_is_kept(store: Any) -> None:
    """Without the AppSecret and with a store that leaves refreshing to its users, a client is not even made."""
    with pytest.raises(ConfigError, match="HTTPTokenStore") as caught:
        Client("wx1", None, token_store=store)
    assert caught.value.field == "secret"


async def test_what_needs_the_secret_says_so(house: House) -> None:
    """A call that cannot be made without the AppSecret names the remedy."""
    client = house.client()
    for call in (client.oauth.get_token("code"), client.quota.clear_with_secret()):
        with pytest.raises(ConfigError, match="AppSecret") as caught:
            await call
        assert caught.value.field == "secret"
    await ping(client)


# ---- the store's verbs


async def test_a_look(store: HTTPTokenStore, fake: Fake) -> None:
    """Reading is one GET with the key, bounded in time; what comes back is the stored token."""
    record = await store.read(TOKEN_KEY)
    assert record.token is not None
    assert (record.token.value, record.token.generation, record.token.life) == ("value-1", 7, 7200.0)
    assert 6990 < record.token.left <= 7000
    (request,) = fake.requests
    assert request.url.path == "/control/v1/accounts/wx0000000000000001/access_token"
    assert fake.queries == [b"wait=0.500"]
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("channel", "path"),
    [("plain", "access_token"), ("stable", "access_token"), ("jsapi", "jsapi_ticket"), ("wx_card", "wx_card_ticket")],
)
async def test_channels(store: HTTPTokenStore, fake: Fake, channel: str, path: str) -> None:
    """Both channels are the server's access_token; tickets have their own path."""
    fake.always = (200, {**GOOD, "ticket": "value-1"})
    assert (await store.read(TokenKey(TOKEN_KEY.appid, channel))).token is not None
    assert fake.requests[0].url.path.endswith(f"/{path}")


async def test_an_unknown_channel(store: HTTPTokenStore) -> None:
    """What a server cannot keep is a mistake in the program."""
    with pytest.raises(ConfigError):
        await store.read(TokenKey(TOKEN_KEY.appid, "other"))


@pytest.mark.parametrize("reason", list(LeaseReason))
@pytest.mark.parametrize("expect", [0, 7, 8])
async def test_no_lease_is_ever_held(store: HTTPTokenStore, reason: LeaseReason, expect: int) -> None:
    """Whatever is asked, the server keeps the right to refresh."""
    for _ in range(2):
        lease = await store.lease(TOKEN_KEY, owner="me", ttl=10.0, expect=expect, reason=reason)
        assert lease.status is not LeaseStatus.HELD
        assert (lease.status is LeaseStatus.CHANGED) == (expect != 7)


async def test_a_look_is_good_for_the_lease_after_it(store: HTTPTokenStore, fake: Fake) -> None:
    """A token that is due and still the server's only one costs one request, not two; the next lease asks again."""
    await store.read(TOKEN_KEY)
    lease = await store.lease(TOKEN_KEY, owner="me", ttl=10.0, expect=7)
    assert (lease.status, len(fake.requests)) == (LeaseStatus.COOLING, 1)
    assert lease.failure is None
    await store.lease(TOKEN_KEY, owner="me", ttl=10.0, expect=7)
    assert len(fake.requests) == 2


async def test_a_dead_token_is_reported(store: HTTPTokenStore, fake: Fake) -> None:
    """The claim names the generation, the platform's code and the call that was refused."""
    store.died(TOKEN_KEY, generation=7, code=42001, path="/cgi-bin/menu/get")
    fake.always = (200, {**GOOD, "access_token": "value-2", "generation": 8, "replaced": True})
    lease = await store.lease(TOKEN_KEY, owner="me", ttl=10.0, expect=7, reason=LeaseReason.DEAD)
    assert lease.status is LeaseStatus.CHANGED
    assert lease.token is not None
    assert lease.token.value == "value-2"
    (request,) = fake.requests
    assert request.method == "POST"
    assert request.url.path.endswith("/access_token/replace")
    assert json.loads(request.content) == {"generation": 7, "errcode": 42001, "path": "/cgi-bin/menu/get"}


async def test_nothing_can_be_put_there(store: HTTPTokenStore, fake: Fake) -> None:
    """A client's memory, and what it fetched by itself, never reach the server."""
    assert await store.commit(TOKEN_KEY, fence=1, value="x", life=1.0) is False
    assert await store.seed(TOKEN_KEY, value="x", generation=1, life=1.0, left=1.0) is False
    await store.fail(TOKEN_KEY, owner="me", fence=1)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (503, {"error": "pending", "retry_after": 0.2}, (LeaseStatus.BUSY, 0.2, None)),
        (503, {"error": "refused", "retry_after": 30, "errcode": 40164}, (LeaseStatus.COOLING, 30, 40164)),
        (503, {"error": "unreachable", "retry_after": 2}, (LeaseStatus.COOLING, 2, 0)),
        (503, {"error": "budget_spent", "retry_after": 60, "errcode": 40001}, (LeaseStatus.LIMITED, 60, None)),
        (503, {"error": "new one", "retry_after": 1e300}, (LeaseStatus.COOLING, 600, 0)),
        (503, {"error": "refused", "retry_after": "soon", "errcode": "x"}, (LeaseStatus.COOLING, 1, 0)),
        (503, {"error": "refused", "retry_after": -5}, (LeaseStatus.COOLING, 0, 0)),
        (429, {"error": "too_many", "retry_after": 3}, (LeaseStatus.COOLING, 3, 0)),
    ],
)
@pytest.mark.parametrize("reason", [LeaseReason.DUE, LeaseReason.DEAD, LeaseReason.OPERATOR])
async def test_there_is_none_now(
    store: HTTPTokenStore, fake: Fake, status: int, said: Any, expected: Any, reason: LeaseReason
) -> None:
    """Why there is no token, and when to ask again, as a store says it."""
    fake.always = (status, said)
    assert (await store.read(TOKEN_KEY)).token is None
    lease = await store.lease(TOKEN_KEY, owner="me", ttl=10.0, expect=7, reason=reason)
    assert (lease.status, lease.wait, lease.failure.code if lease.failure else None) == expected


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"<html>"),
        (200, []),
        (200, {}),
        (200, {**GOOD, "appid": "wx0000000000000002"}),
        (200, {**GOOD, "access_token": "two words"}),
        (200, {**GOOD, "access_token": "x" * 5000}),
        (200, {**GOOD, "access_token": None}),
        (200, {**GOOD, "generation": "7"}),
        (200, {**GOOD, "generation": 0}),
        (200, {**GOOD, "generation": True}),
        (200, {**GOOD, "generation": 10**20}),
        (200, {**GOOD, "expires_in": -1}),
        (200, {**GOOD, "expires_in": 1e9}),
        (200, {**GOOD, "life": None}),
        (200, b'{"appid": "wx0000000000000001", "life": NaN}'),
        (200, b" " * 100_000),
        (204, b""),
        (302, b""),
        (400, {"error": "bad_request"}),
        (401, b"<html>a proxy's own page"),
        (500, {"error": "internal"}),
        (500, b"oops"),
        (502, b"bad gateway"),
        (503, b"<html>a proxy's own page"),
        (200, b"[" * 60_000),
    ],
)
async def test_unusable_answers(store: HTTPTokenStore, fake: Fake, answer: Any) -> None:
    """Whatever is no answer of a control server is a store that fails, and never a token."""
    fake.always = answer
    with pytest.raises(TokenStoreError):
        await store.read(TOKEN_KEY)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, "unauthorized", "does not know this key"),
        (403, "forbidden", "may not ask"),
        (403, "not_allowed", "may not have"),
        (403, "insecure", "https only"),
        (404, "not_found", "keeps no"),
    ],
)
async def test_a_refused_key(store: HTTPTokenStore, fake: Fake, status: int, error: str, words: str) -> None:
    """A person has to act: a typed error says what is wrong, shows no key, and comes without asking again at once."""
    fake.always = (status, {"error": error, "message": "..."})
    for _ in range(20):
        with pytest.raises(ConfigError, match=words) as caught:
            await store.read(TOKEN_KEY)
        assert caught.value.field == "key"
        assert KEY not in f"{caught.value!r} {caught.value}"
    assert len(fake.requests) == 1


async def test_a_key_that_is_repaired(store: HTTPTokenStore, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds later the server is asked again, and the refusal is forgotten."""
    fake.answers.append((401, {"error": "unauthorized"}))
    with pytest.raises(ConfigError):
        await store.read(TOKEN_KEY)
    true = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: true() + 5.0)
    assert (await store.read(TOKEN_KEY)).token is not None


async def test_a_key_from_a_callable(fake: Fake) -> None:
    """A rotated key is seen without a restart."""
    keys = [KEY, KEY.replace("A", "B")]
    async with httpx.AsyncClient(transport=httpx.MockTransport(fake)) as http:
        store = HTTPTokenStore("https://tokens.internal", lambda: keys.pop(0), http_client=http)
        await store.read(TOKEN_KEY)
        await store.read(TOKEN_KEY)
    assert fake.requests[0].headers["authorization"] != fake.requests[1].headers["authorization"]


# ---- several servers


def answering(answers: dict[str, Any]) -> tuple[httpx.AsyncClient, list[str]]:
    """A client for which each host answers, fails or hangs."""
    asked: list[str] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        answer = answers[request.url.host]
        if isinstance(answer, Exception):
            raise answer
        if answer == "hang":
            await asyncio.sleep(60)
        return httpx.Response(answer, json=GOOD)

    return httpx.AsyncClient(transport=httpx.MockTransport(handle)), asked


HOSTS = ["a", "b", "c"]
URLS = [f"https://{host}" for host in HOSTS]


@pytest.mark.parametrize("trouble", [httpx.ConnectError("no"), httpx.ReadError("broke"), 502, 504, "hang"])
async def test_the_next_server_is_asked(trouble: Any) -> None:
    """Of several servers the next one answers when one is gone, within the time for one operation, and stays first."""
    http, asked = answering({"a": trouble, "b": trouble, "c": 200})
    async with http:
        store = HTTPTokenStore(URLS, KEY, http_client=http, timeout=2.4)
        started = time.monotonic()
        assert (await store.read(TOKEN_KEY)).token is not None
        assert time.monotonic() - started < 2.4
        assert (await store.read(TOKEN_KEY)).token is not None
    assert asked == ["a", "b", "c", "c"]


async def test_who_is_broken_off_tries_another_one_next() -> None:
    """A caller with less patience than the store does not get stuck with a server that hangs."""
    http, asked = answering({"a": "hang", "b": 200, "c": 200})
    async with http:
        store = HTTPTokenStore(URLS, KEY, http_client=http, timeout=30.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.read(TOKEN_KEY)
        assert (await store.read(TOKEN_KEY)).token is not None
    assert asked == ["a", "b"]


async def test_all_servers_are_gone() -> None:
    """Without any answer the store fails, in time and without an endless turn."""
    http, asked = answering(dict.fromkeys(HOSTS, httpx.ConnectError("no")))
    async with http:
        store = HTTPTokenStore(URLS, KEY, http_client=http, timeout=20.0)
        with pytest.raises(TokenStoreError, match="no control server answers"):
            await store.read(TOKEN_KEY)
    assert len(asked) == 4


async def test_a_connection_from_before_a_restart(fake: Fake, store: HTTPTokenStore) -> None:
    """A single server that has restarted is asked a second time: what was kept open broke at once."""
    fake.answers.append(httpx.ReadError("gone"))
    assert (await store.read(TOKEN_KEY)).token is not None
    assert len(fake.requests) == 2


# ---- a client's life


async def test_a_client_asks_once_in_its_check_interval(house: House) -> None:
    """10,000 calls within a check interval cost one question, and each is answered without waiting."""
    client = house.client(token_policy=attrs.evolve(QUICK, check_interval=30.0))
    await client.token()
    for _ in range(10_000):
        assert client._keeper.peek() is not None
    await ping(client)
    assert len(house.transport.seen) == 1


@pytest.mark.parametrize("channel", ["plain", "stable"])
async def test_a_due_token_is_asked_for_as_any_other(short: Simulator, channel: Any) -> None:
    """While the server still has the old token, a client that finds it due asks at each check and not more often."""
    house = build(short)
    client = house.client(token_policy=attrs.evolve(QUICK, soft_window=10_000.0, overlap=19.0, check_interval=0.5))
    await client.token()
    client._keeper._state.copy = attrs.evolve(client._keeper._state.copy, soft=0.0)  # due since long
    before = len(house.transport.seen)
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        assert client._keeper.peek() is not None
        await asyncio.sleep(0.005)
    assert len(house.transport.seen) - before <= 2.0 / (0.8 * 0.5) + 1
    await tear_down(house)


async def test_a_cold_fleet_of_clients(house: House) -> None:
    """Ten clients with ten tasks each start cold: ten questions to the server, one to the platform, no error."""
    clients = [house.client(token_policy=attrs.evolve(QUICK, check_interval=30.0)) for _ in range(10)]
    await asyncio.gather(*(ping(client) for client in clients for _ in range(10)))
    assert len(house.transport.seen) == 10
    assert house.simulator.token_requests == 1


async def test_a_dead_token_is_replaced_once_for_all(house: House) -> None:
    """The platform ends the token under the traffic of many: one replacement, no call fails."""
    clients = [house.client() for _ in range(5)]
    await asyncio.gather(*(ping(client) for client in clients))
    house.simulator.kill_token()
    await asyncio.gather(*(ping(client) for client in clients for _ in range(10)))
    assert house.simulator.token_requests == 2
    assert len({await client.token() for client in clients}) == 1
    (told,) = (await house.http().get("/v1/status")).json()["values"]
    assert [(death["errcode"], death["path"]) for death in told["deaths"]] == [(40001, PING)]


@pytest.mark.parametrize("how", ["forced", "plain"])
async def test_a_dead_token_of_the_plain_channel(simulator: Simulator, how: Any) -> None:
    """The client need not know which channel the server is on."""
    house = build(simulator, client=keeper_of_tokens(simulator, token_channel="plain"))
    client = house.client()
    await ping(client)
    simulator.kill_token("plain", how)
    simulator.advance(400)
    await ping(client)
    assert simulator.token_requests == 2
    await tear_down(house)


async def test_a_slow_platform_is_waited_for(house: House) -> None:
    """A first token that takes longer than a store operation may is waited for, by questions that come again."""
    house.simulator.fault("latency", "/cgi-bin/stable_token", seconds=0.9, first=1)
    client = house.client(house.store(timeout=0.3))
    started = time.monotonic()
    await ping(client)
    assert time.monotonic() - started < QUICK.wait_timeout - 3
    assert house.simulator.token_requests == 1


async def test_tickets_come_from_the_server_too(house: House) -> None:
    """A page is signed without the AppSecret and without asking the platform for a second ticket."""
    clients = [house.client() for _ in range(3)]
    await asyncio.gather(*(client.jssdk.sign("https://shop.example/") for client in clients))
    assert house.simulator.calls("/cgi-bin/ticket/getticket") == 1


async def test_a_person_refreshes_from_a_client(house: House) -> None:
    """``refresh_token()`` reaches through the server, and so does the platform's limit."""
    client = house.client()
    first = await client.token()
    second = await client.refresh_token()
    assert second != first
    assert await client.token() == second
    with pytest.raises(RateLimitError):
        await client.refresh_token()
    assert await client.token() == second
    assert house.simulator.token_requests == 2


async def test_a_ticket_is_refreshed_from_a_client(house: House) -> None:
    """``refresh_ticket()`` does, too."""
    client = house.client()
    await client.jssdk.sign("https://shop.example/")
    before = client.jssdk.ticket_status().generation
    await client.jssdk.refresh_ticket()
    assert client.jssdk.ticket_status().generation > before


@pytest.mark.parametrize("paths", [1, 8])
async def test_a_duel_ends_with_the_code(simulator: Simulator, paths: int) -> None:
    """Every new token is dead: the server's budget ends it for all its clients, with a typed error."""
    house = build(simulator, client=keeper_of_tokens(simulator, token_channel="plain"))
    clients = [house.client(retry=RetryPolicy(attempts=1)) for _ in range(8)]
    await asyncio.gather(*(ping(client) for client in clients))
    simulator.kill_token("plain")
    simulator.world.kill_new_tokens("plain")
    calls = ["/cgi-bin/user/get", "/cgi-bin/tags/get", "/cgi-bin/menu/get", "/cgi-bin/getcallbackip"]
    calls += ["/cgi-bin/get_current_selfmenu_info", "/cgi-bin/get_current_autoreply_info", PING]
    for turn, client in enumerate(clients * 2):
        with pytest.raises(DeadTokenError):
            await client.request("GET", calls[turn % min(paths, len(calls))])
    assert simulator.token_requests <= 12
    deaths = house.server._desks[house.appid, "access_token"].ledger.deaths
    assert len(deaths) <= (3 if paths == 1 else 11)
    await tear_down(house)


async def test_the_platform_refuses_the_server(house: House) -> None:
    """A person has to act: every client gets the platform's own error at once, and the platform is asked once."""
    house.simulator.fault("errcode", "/cgi-bin/stable_token", errcode=40164)
    clients = [house.client() for _ in range(5)]
    started = time.monotonic()
    outcomes = await asyncio.gather(*(ping(client) for client in clients for _ in range(5)), return_exceptions=True)
    assert {getattr(outcome, "errcode", None) for outcome in outcomes} == {40164}
    assert time.monotonic() - started < QUICK.wait_timeout - 3  # nobody waits
    assert house.simulator.token_requests == 1


async def test_the_server_is_gone(house: House) -> None:
    """Without the server, clients go on with the token they have, without delay; one that starts cold says why not."""
    http = httpx.AsyncClient(transport=house.transport)
    store = HTTPTokenStore("http://127.0.0.1", house.text, http_client=http)
    waits: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, CallFinished):
            waits.append(event.waited)

    client = house.client(store, on_event=note)
    await ping(client)
    waits.clear()

    async def gone(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.6)
        raise httpx.ConnectError("refused")

    house.transport.handle_async_request = gone  # type: ignore[method-assign]
    end = time.monotonic() + 1.5
    while time.monotonic() < end or client.token_status().store_up:
        await ping(client)
    assert max(waits) < 0.4  # the wait for a token, for a whole call is as slow as the machine
    assert client.token_status().store_up is False
    cold = house.client(HTTPTokenStore("http://127.0.0.1", house.text, http_client=http))
    with pytest.raises(TokenStoreUnavailable):
        await ping(cold)
    assert house.simulator.token_requests == 1
    await http.aclose()


async def test_a_client_with_the_secret_helps_itself(house: House) -> None:
    """With the AppSecret at hand, and on the stable channel, a client without its server fetches the same token."""
    account = house.simulator.account
    expected = (await house.value())["access_token"]
    with held_port() as nobody:
        store = HTTPTokenStore(f"http://127.0.0.1:{nobody.getsockname()[1]}", house.text)
        url = house.simulator.url
        client = Client(account.appid, account.secret, base_url=url, token_store=store, token_policy=QUICK)
        house.made += [client, store]
        assert await client.token() == expected


async def test_a_revoked_key_takes_no_living_token_away(house: House) -> None:
    """The key is withdrawn: a client with a token goes on, a cold one is told, and the server is not hammered."""
    client = house.client()
    await ping(client)
    house.server.use_keys([])
    before = len(house.transport.seen)
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        await ping(client)
    assert len(house.transport.seen) - before <= 4
    cold = house.client()
    for _ in range(10):
        with pytest.raises(ConfigError, match="does not know this key"):
            await ping(cold)


async def test_a_key_that_may_not_replace(house: House) -> None:
    """A dead token that this key may not have replaced is an error that says so; once it is replaced, all is well."""
    key, text = ControlKey.create("reader", appids={house.appid}, may_replace=False)
    house.server.use_keys([house.key, key])
    client = house.client(house.store(text), retry=RetryPolicy(attempts=1))
    await ping(client)
    house.simulator.kill_token()
    with pytest.raises(ConfigError, match="may not have"):
        await ping(client)
    other = house.client()
    await ping(other)
    await ping(client)


async def test_a_refusal_concerns_what_was_refused(house: House) -> None:
    """A key without tickets is told so when a page is to be signed, and its calls go on."""
    key, text = ControlKey.create("calls", appids={house.appid}, kinds={"access_token"})
    house.server.use_keys([key])
    client = house.client(house.store(text))
    for _ in range(3):
        with pytest.raises(ConfigError, match="jsapi_ticket"):
            await client.jssdk.sign("https://shop.example/")
    await ping(client)


async def test_above_its_rate_a_client_waits(house: House) -> None:
    """A cold client whose key is used up waits for its turn instead of failing."""
    key, text = ControlKey.create("busy", appids={house.appid}, per_minute=60)
    house.server.use_keys([key])
    http = house.http(text)
    while (await http.get(f"/v1/accounts/{house.appid}/access_token")).status_code == 200:
        pass
    await ping(house.client(house.store(text)))


async def test_a_server_that_starts_empty_on_another_machine(simulator: Simulator) -> None:
    """Its generations may be smaller than before: a client keeps what works, and asks no more often than before."""

    class Later(MemoryTokenStore):
        """A store on a machine that was started long ago."""

        def __init__(self) -> None:
            super().__init__(clock=lambda: time.monotonic() + 1e8)

    house = build(simulator, client=keeper_of_tokens(simulator, token_store=Later(), token_channel="plain"))
    client = house.client()
    first = await client.token()
    fresh = build(simulator, client=keeper_of_tokens(simulator, token_channel="plain"))
    fresh.server.use_keys([house.key])
    house.transport.app = fresh.server
    before = len(house.transport.seen)
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        assert await client.token() == first
        await asyncio.sleep(0.005)
    assert len(house.transport.seen) - before <= 2.0 / (0.8 * 0.4) + 1
    simulator.kill_token("plain")
    await ping(client)  # the old one is dead: the new server's is taken, though its number is smaller
    assert await client.token() != first
    await tear_down(house)
    await tear_down(fresh)


async def test_a_server_that_starts_empty_again(simulator: Simulator) -> None:
    """A restart without memory on the stable channel: the same token, one more request, nobody notices."""
    house = build(simulator)
    client = house.client()
    first = await client.token()
    fresh = build(simulator)
    fresh.server.use_keys([house.key])
    house.transport.app = fresh.server
    async with asyncio.timeout(40):
        while simulator.token_requests < 2:
            await ping(client)
            await asyncio.sleep(0.05)
    assert await client.token() == first
    await tear_down(house)
    await tear_down(fresh)


async def test_several_event_loops_and_threads(house: House) -> None:
    """One store serves event loops one after the other and beside each other, and again after it was closed."""
    async with listening(house.server) as url:
        store = HTTPTokenStore(url, house.text)
        key = TokenKey(house.appid, "stable")
        records = [await store.read(key)]
        records += await asyncio.gather(*(asyncio.to_thread(asyncio.run, store.read(key)) for _ in range(3)))
        await store.aclose()
        await store.aclose()
        records.append(await store.read(key))
        await store.aclose()
    assert len({record.token.generation for record in records if record.token is not None}) == 1
    assert all(record.token is not None for record in records)


async def test_cancelled_at_any_point_nothing_is_wedged(house: House) -> None:
    """A claim that is broken off anywhere can be made again."""
    store = house.store()
    key = TokenKey(house.appid, "stable")
    await store.read(key)
    for steps in range(25):
        token = (await store.read(key)).token
        assert token is not None
        task = asyncio.ensure_future(
            store.lease(key, owner="me", ttl=2.0, expect=token.generation, reason=LeaseReason.DUE)
        )
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    assert (await store.read(key)).token is not None


def test_the_key_does_not_show() -> None:
    """Neither the store nor a client prints the key, and neither can be pickled with it."""
    store = HTTPTokenStore("https://tokens.internal", KEY)
    client = Client("wx1", None, token_store=store)
    assert KEY not in f"{store!r} {store} {client!r} {vars(store)!r}"
    assert "tokens.internal" in repr(store)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(store)


def test_a_client_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the server and the key, and need not hold an AppSecret; a missing key is named."""
    for name in ("SECRET", "CONTROL_KEY", "ENDPOINT"):
        monkeypatch.delenv(f"WXMP_{name}", raising=False)
    monkeypatch.setenv("WXMP_APPID", "wx1")
    monkeypatch.setenv("WXMP_TOKEN_STORE", "control:https://a.internal,https://b.internal")
    with pytest.raises(ConfigError, match="WXMP_CONTROL_KEY"):
        Client.from_env()
    monkeypatch.setenv("WXMP_CONTROL_KEY", KEY)
    client = Client.from_env()
    assert "token_store='control'" in repr(client)
    assert repr(client._store) == "HTTPTokenStore(https://a.internal, https://b.internal)"
    assert client._policy.on_store_down == "error"
    monkeypatch.setenv("WXMP_SECRET", "fake-appsecret")
    assert Client.from_env()._policy.on_store_down == "auto"
    monkeypatch.setenv("WXMP_TOKEN_STORE", "control:")
    with pytest.raises(ConfigError, match="WXMP_TOKEN_STORE"):
        Client.from_env()


@pytest.mark.parametrize("trouble", [{"generation": "x"}, {"expires_in": 0}, {"appid": "wx2"}])
async def test_an_unusable_answer_leaves_nothing_in_the_frames(
    store: HTTPTokenStore, fake: Fake, trouble: dict[str, Any]
) -> None:
    """A tool that prints the local variables of an error's frames finds neither a token nor the key."""
    fake.always = (200, {**GOOD, "access_token": "a-token-that-is-good", **trouble})
    with pytest.raises(TokenStoreError) as caught:
        await store.read(TOKEN_KEY)
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "wxmp/control/store.py" in told
    assert "a-token-that-is-good" not in told
    assert KEY not in told


async def test_a_long_time_limit_asks_for_no_longer_wait_than_there_is(fake: Fake) -> None:
    """A patient store asks for the longest wait that the server allows."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(fake)) as http:
        store = HTTPTokenStore("https://tokens.internal", KEY, http_client=http, timeout=3600.0)
        await store.read(TOKEN_KEY)
    assert fake.queries == [b"wait=15.000"]
