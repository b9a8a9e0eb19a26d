"""A control server without sockets, and what asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from wxmp import Client, MemoryTokenStore, TokenPolicy, TokenStore
from wxmp.control import ControlKey, ControlServer, HTTPTokenStore
from wxmp.simulator import Policy, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PING = "/cgi-bin/get_api_domain_ip"
#: A server that is looked at often, and times for a busy machine.
QUICK = TokenPolicy(
    lease=6.0,
    request_timeout=3.0,
    connect_timeout=3.0,
    wait_timeout=15.0,
    check_interval=0.4,
    store_timeout=3.0,
    overlap=12.0,
)


class Counting(httpx.ASGITransport):
    """Takes requests to an application without sockets, and remembers them."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        self.seen: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, request.url.path))
        self.bodies.append(await request.aread())
        return await super().handle_async_request(request)


@attrs.define
class House:
    """A control server for the simulator's account, and keys to it."""

    simulator: Simulator
    server: ControlServer
    key: ControlKey
    text: str
    transport: Counting
    made: list[Any]

    @property
    def appid(self) -> str:
        return self.simulator.account.appid

    def http(self, text: str | None = None, *, peer: str = "127.0.0.1", url: str = "http://127.0.0.1") -> Any:
        """A plain HTTP client, as somebody in another language has it."""
        given = self.text if text is None else text
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        transport = httpx.ASGITransport(self.server, client=(peer, 50_000))
        client = httpx.AsyncClient(transport=transport, base_url=url, headers=headers)
        self.made.append(client)
        return client

    def store(self, text: str | None = None, **options: Any) -> HTTPTokenStore:
        """The token store of a client of this server."""
        client = httpx.AsyncClient(transport=self.transport)
        self.made.append(client)
        given = self.text if text is None else text
        return HTTPTokenStore("http://127.0.0.1", given, http_client=client, **options)

    def client(self, store: TokenStore | None = None, **options: Any) -> Client:
        """A client of the SDK without the AppSecret."""
        made = Client(
            self.appid,
            None,
            token_store=store or self.store(),
            base_url=self.simulator.url,
            **{"token_policy": QUICK, **options},
        )
        self.made.append(made)
        return made

    async def value(self, kind: str = "access_token") -> dict[str, Any]:
        """What the server hands out."""
        answer = await self.http().get(f"/v1/accounts/{self.appid}/{kind}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def claim(self, **said: Any) -> httpx.Response:
        """Ask for a replacement."""
        answer: httpx.Response = await self.http().post(f"/v1/accounts/{self.appid}/access_token/replace", json=said)
        return answer


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as running:
        yield running


@pytest.fixture
def short() -> Iterator[Simulator]:
    """Tokens that live 20 s; the old one overlaps 6 s."""
    policy = Policy(token_life=20, token_overlap=6.0, stable_rotate_before=6.0)
    with Simulator(policy=policy, seed=1) as running:
        yield running


def keeper_of_tokens(simulator: Simulator, **options: Any) -> Client:
    """The client that a control server works with."""
    account = simulator.account
    given = {"base_url": simulator.url, "token_policy": QUICK, "token_store": MemoryTokenStore(), **options}
    return Client(account.appid, account.secret, **given)


def build(simulator: Simulator, *, client: Client | None = None, **options: Any) -> House:
    key, text = ControlKey.create("shop", appids={simulator.account.appid}, may_see_status=True, per_minute=100_000)
    server = ControlServer([client or keeper_of_tokens(simulator)], [key], **options)
    return House(simulator, server, key, text, Counting(server, client=("127.0.0.1", 50_000)), [])


async def tear_down(house: House) -> None:
    for made in house.made:
        await made.aclose()
    await house.server.aclose()


@pytest.fixture
async def house(simulator: Simulator) -> AsyncIterator[House]:
    made = build(simulator)
    yield made
    await tear_down(made)
