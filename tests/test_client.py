"""The client against the platform: real HTTP on loopback."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import wxmp
from tests.moments import skip
from wxmp import (
    AccountError,
    ArgumentError,
    BadStatusError,
    BusyError,
    Client,
    ConfigError,
    DeadTokenError,
    MemoryTokenStore,
    NotFoundError,
    RateLimitError,
    ReplyError,
    RetryPolicy,
    TimedOutError,
    TokenPolicy,
    TransportError,
)
from wxmp.client import STABLE_TOKEN, _grant
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PING = "/cgi-bin/get_api_domain_ip"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Client]:
    async with make(simulator) as made:
        yield made


def make(simulator: Simulator, **options: Any) -> Client:
    account = simulator.account
    return Client(account.appid, account.secret, **{"base_url": simulator.url, **options})


async def ping(client: Client) -> Any:
    return await client.request("GET", PING, repeatable=True)


# ---- arguments


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"appid": "../../x"}, "appid"),
        ({"appid": "wx\n"}, "appid"),
        ({"appid": "w" * 10_000}, "appid"),
        ({"secret": ""}, "secret"),
        ({"secret": "line\nbreak"}, "secret"),
        ({"token_channel": "other"}, "token_channel"),
        ({"base_url": "http://api.weixin.qq.com"}, "base_url"),
        ({"base_url": "https://user:password@api.weixin.qq.com"}, "base_url"),
        ({"base_url": 5}, "base_url"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_bad_arguments_name_the_field(arguments: dict[str, Any], field: str) -> None:
    """What cannot work is refused when the client is made, and the error names the field."""
    with pytest.raises(ConfigError) as caught:
        Client(**{"appid": "wx1", "secret": "s", **arguments})
    assert caught.value.field == field
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        *("cgi-bin/x", "//evil.example/x", "/x?access_token=1", "/x#y", "/x y", "/x\r\ny", "https://evil.example/"),
        *("/\ud800", "/\x1b[31m", "/菜单"),
    ],
)
async def test_request_takes_paths_only(client: Client, path: str) -> None:
    """A whole URL, a query or a line break in a path is refused: the token goes along."""
    with pytest.raises(ConfigError) as caught:
        await client.request("GET", path)
    assert caught.value.field == "path"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.9.9.9", "[::1]", "localhost", "LOCALHOST"])
def test_an_address_of_this_machine_is_the_simulator(host: str) -> None:
    """Where plain http is taken for the simulator's, its pictures and pages are looked for below the same address."""
    client = Client("wx1", "s", base_url=f"http://{host}:8000")
    assert client._caller.mp_origin == f"http://{host}:8000/mp"
    assert client.oauth.authorize_url("https://a.example/").startswith(f"http://{host}:8000/open/")


@pytest.mark.parametrize("host", ["api2.weixin.qq.com", "localhost.example", "10.0.0.1", "127.0.0.1.example"])
def test_another_address_is_a_way_to_the_server_api(host: str) -> None:
    """A regional host or a proxy serves the API only; pictures and pages stay with the platform."""
    client = Client("wx1", "s", base_url=f"https://{host}")
    assert client._caller.mp_origin == "https://mp.weixin.qq.com"


@pytest.mark.parametrize("life", [0, -1, "soon", "nan", "inf", None, True, 86_401, 10**400])
def test_a_life_that_makes_no_sense_is_no_grant(life: Any) -> None:
    """Whatever stands in expires_in, the answer is refused as one without a usable life."""
    with pytest.raises(ReplyError, match="expires_in"):
        _grant({"access_token": "T" * 20, "expires_in": life}, "access_token", STABLE_TOKEN)


async def test_request_takes_two_methods(client: Client) -> None:
    """The platform knows GET and POST."""
    with pytest.raises(ConfigError) as caught:
        await client.request("DELETE", "/x")  # type: ignore[arg-type]
    assert caught.value.field == "method"


# ---- calls


async def test_a_call(client: Client) -> None:
    """A call of an endpoint without a name returns its JSON."""
    assert "101.89.47.18" in (await ping(client))["ip_list"]


@pytest.mark.parametrize("channel", ["stable", "plain"])
async def test_both_channels(simulator: Simulator, channel: Any) -> None:
    """Twenty tasks on a cold client make one token request, on the channel that was asked for."""
    async with make(simulator, token_channel=channel) as client:
        await asyncio.gather(*(ping(client) for _ in range(20)))
        assert simulator.token_requests_of(channel) == 1
        assert simulator.token_requests == 1


async def test_request_posts_json(client: Client, simulator: Simulator) -> None:
    """A POST carries its payload; its endpoint stands in the error."""
    with pytest.raises(ArgumentError) as caught:
        await client.request("POST", "/cgi-bin/tags/create", json={"tag": {"name": "x" * 31}})
    assert caught.value.errcode == 45158
    assert caught.value.endpoint == "POST /cgi-bin/tags/create"
    assert caught.value.rid
    await client.request("POST", "/cgi-bin/tags/create", json={"tag": {"name": "老客户"}})
    assert simulator.calls("/cgi-bin/tags/create") == 2


async def test_token_and_its_status(client: Client) -> None:
    """token() is what the platform accepts; the status tells everything else and never the value."""
    assert client.token_status().usable is False
    token = await client.token()
    status = client.token_status()
    assert status.usable is True
    assert status.channel == "stable"
    assert 7190 < status.seconds_left <= 7200
    assert token not in repr(status)
    assert token not in repr(client)


async def test_refresh_token_replaces_it_for_all(simulator: Simulator) -> None:
    """refresh_token() gives a new token, which a second client on the same store takes over."""
    store = MemoryTokenStore()
    async with make(simulator, token_store=store) as one, make(simulator, token_store=store) as two:
        old = await one.token()
        assert await two.token() == old
        new = await one.refresh_token()
        assert new != old
        await ping(two)
        assert await two.token() == new
        assert simulator.token_requests == 2


# ---- failures


async def test_wrong_secret_is_one_typed_error_and_one_request(simulator: Simulator) -> None:
    """A wrong AppSecret: AccountError for everybody, at once; the platform is asked once."""
    async with Client(simulator.account.appid, "wrong-secret", base_url=simulator.url) as client:
        results = await asyncio.gather(*(ping(client) for _ in range(30)), return_exceptions=True)
        assert {type(result) for result in results} == {AccountError}
        for _ in range(5):
            with pytest.raises(AccountError) as caught:
                await ping(client)
        assert caught.value.errcode == 40125
        assert "AppSecret" in caught.value.advice
        assert simulator.token_requests == 1


async def test_wrong_appid(simulator: Simulator) -> None:
    """A wrong AppID is an AccountError 40013."""
    async with Client("wx0000000000000000", simulator.account.secret, base_url=simulator.url) as client:
        with pytest.raises(AccountError) as caught:
            await ping(client)
        assert caught.value.errcode == 40013


async def test_address_not_on_the_list(simulator: Simulator, client: Client) -> None:
    """40164 says which address to put on the IP allow list."""
    simulator.account.ip_list = ["203.0.113.7"]
    with pytest.raises(AccountError) as caught:
        await ping(client)
    assert caught.value.errcode == 40164
    assert "127.0.0.1" in caught.value.advice
    assert simulator.token_requests == 1


async def test_secret_callable_is_asked_again(simulator: Simulator) -> None:
    """A corrected AppSecret from a callable works without waiting for the cool-down of the wrong one."""
    secrets = ["wrong-secret"]
    async with Client(simulator.account.appid, lambda: secrets[-1], base_url=simulator.url) as client:
        with pytest.raises(AccountError):
            await ping(client)
        secrets.append(simulator.account.secret)
        await asyncio.sleep(1.1)  # the process itself repeats an error for a second
        await ping(client)


@pytest.mark.parametrize("how", ["forced", "plain"])
async def test_token_killed_by_another_system(simulator: Simulator, how: Any) -> None:
    """The token dies under traffic: replaced once, no call fails."""
    async with make(simulator, token_channel="plain") as client:
        await ping(client)
        simulator.kill_token("plain", how=how)
        if how == "plain":
            simulator.advance(301)
        await asyncio.gather(*(ping(client) for _ in range(20)))
        assert simulator.token_requests == 2


async def test_stubborn_40001_is_raised_after_two_replacements(simulator: Simulator) -> None:
    """A path that answers 40001 to every token: three attempts, two replacements, then DeadTokenError with the rid."""
    async with make(simulator, token_channel="plain") as client:
        await ping(client)
        simulator.fault("errcode", "/cgi-bin/tags/get", errcode=40001)
        with pytest.raises(DeadTokenError) as caught:
            await client.request("GET", "/cgi-bin/tags/get")
        assert caught.value.rid
        assert simulator.calls("/cgi-bin/tags/get") == 3
        assert simulator.token_requests == 3
        with pytest.raises(DeadTokenError):
            await client.request("GET", "/cgi-bin/tags/get")
        await ping(client)
        assert simulator.token_requests == 3


@pytest.mark.parametrize(
    ("effect", "error"),
    [
        ("not_json", ReplyError),
        ("truncated", ReplyError),
        ("empty", ReplyError),
        ("status", BadStatusError),
        ("redirect", BadStatusError),
        ("busy", BusyError),
        ("reset_before", TransportError),
        ("reset_after", TransportError),
    ],
)
async def test_broken_answers_are_typed(simulator: Simulator, effect: Any, error: type[Exception]) -> None:
    """Whatever comes back instead of an answer is a typed error; a call that is not repeatable is sent once."""
    async with make(simulator) as client:
        await ping(client)
        simulator.fault(effect, "/cgi-bin/tags/create", location="https://evil.example/")
        with pytest.raises(error):
            await client.request("POST", "/cgi-bin/tags/create", json={"tag": {"name": "x"}})
        assert simulator.calls("/cgi-bin/tags/create") == 1


@pytest.mark.parametrize(
    "effect", ["not_json", "truncated", "status", "busy", "reset_before", "reset_after", "bom", "control"]
)
async def test_passing_trouble_is_ridden_out(simulator: Simulator, effect: Any) -> None:
    """A repeatable call survives two bad answers."""
    async with make(simulator, retry=RetryPolicy(initial_wait=0.01)) as client:
        simulator.fault(effect, PING, first=2)
        assert (await ping(client))["ip_list"]


async def test_daily_quota_is_not_retried(simulator: Simulator, client: Client) -> None:
    """45009 is raised at once and says that the day is over."""
    simulator.fault("quota", PING)
    with pytest.raises(RateLimitError) as caught:
        await ping(client)
    assert caught.value.scope == "day"
    assert simulator.calls(PING) == 1


async def test_hanging_call_has_a_deadline(simulator: Simulator) -> None:
    """A platform that never answers costs ``timeout`` seconds, not more."""
    async with make(simulator, timeout=20, retry=RetryPolicy(attempts=1)) as client:
        await client.token()
        simulator.fault("hang", PING)
        call = asyncio.create_task(ping(client))
        while not simulator.calls(PING):
            await asyncio.sleep(0.001)
        skip(20)
        async with asyncio.timeout(10):
            with pytest.raises(TimedOutError, match="within 20 s"):
                await call


async def test_drip_has_a_deadline(simulator: Simulator) -> None:
    """A platform that sends a byte now and then is cut off at ``timeout``."""
    async with make(simulator, timeout=20, retry=RetryPolicy(attempts=1)) as client:
        await client.token()
        simulator.fault("drip", PING, seconds=30)
        call = asyncio.create_task(ping(client))
        while not simulator.calls(PING):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)
        skip(20)
        async with asyncio.timeout(10):
            with pytest.raises(TimedOutError):
                await call


async def test_huge_answer_is_refused(simulator: Simulator, client: Client) -> None:
    """An answer beyond the size limit is a ReplyError."""
    await client.token()
    simulator.fault("huge", PING, size=20 * 2**20)
    with pytest.raises((ReplyError, TransportError)):
        await client.request("GET", PING)


async def test_exhausted_pool_does_not_starve_token_requests(simulator: Simulator) -> None:
    """All connections hang in business calls: the token is still replaced."""
    path = "/cgi-bin/tags/get"
    async with make(simulator, timeout=60, retry=RetryPolicy(attempts=1)) as client:
        await client.token()
        simulator.fault("hang", path)
        hanging = [asyncio.create_task(client.request("GET", path)) for _ in range(120)]
        while simulator.calls(path) < 100:
            await asyncio.sleep(0.01)
        await client.refresh_token()
        assert not any(call.done() for call in hanging)
        skip(60)
        results = await asyncio.gather(*hanging, return_exceptions=True)
        assert {type(result) for result in results} == {TimedOutError}
        # Whoever gives a connection back at the deadline lends it to the next in line for a moment, or does not.
        stages = [result.stage for result in results if isinstance(result, TimedOutError)]
        assert stages.count("waiting for the answer") >= 100


# ---- tickets


async def test_ticket_is_shared_like_the_token(simulator: Simulator) -> None:
    """Many pages signed by two clients on one store: one ticket request."""
    store = MemoryTokenStore()
    async with make(simulator, token_store=store) as one, make(simulator, token_store=store) as two:
        signatures = await asyncio.gather(
            *(client.jssdk.sign(f"https://shop.example/{n}") for n in range(10) for client in (one, two))
        )
        assert len({signature.signature for signature in signatures}) > 10
        assert simulator.calls("/cgi-bin/ticket/getticket") == 1
        await one.jssdk.refresh_ticket()
        assert simulator.calls("/cgi-bin/ticket/getticket") == 2
        await one.jssdk.sign_card("card-1")
        assert simulator.calls("/cgi-bin/ticket/getticket") == 3
        assert one.jssdk.ticket_status("wx_card").usable is True


async def test_ticket_survives_a_dead_token(simulator: Simulator) -> None:
    """The token is dead when the first ticket is asked for: replaced, and the page is signed."""
    async with make(simulator) as client:
        await client.token()
        simulator.kill_token("stable")
        await client.jssdk.sign("https://shop.example/")
        assert simulator.token_requests == 2


# ---- life


async def test_closing_twice_and_using_afterwards(simulator: Simulator) -> None:
    """aclose() may come twice; a call afterwards is a clear error."""
    client = make(simulator)
    await ping(client)
    await client.aclose()
    await client.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await ping(client)


def test_one_client_in_three_event_loops(simulator: Simulator) -> None:
    """The same client works in three consecutive asyncio.run(): one token request."""
    client = make(simulator)
    for _ in range(3):
        asyncio.run(ping(client))
    asyncio.run(client.aclose())
    assert simulator.token_requests == 1


def test_forked_children_share_the_token(simulator: Simulator) -> None:
    """A pre-fork server: the parent has a token, its children use it on connections of their own."""
    client = make(simulator)
    asyncio.run(ping(client))
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.run(ping(client))
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert simulator.token_requests == 1
    asyncio.run(client.aclose())


async def test_a_users_store_is_not_closed(simulator: Simulator) -> None:
    """A store that was passed in belongs to whoever made it."""
    closed: list[str] = []

    class Store(MemoryTokenStore):
        async def aclose(self) -> None:
            closed.append("closed")

    async with make(simulator, token_store=Store()) as client:
        await ping(client)
    assert closed == []


async def test_uvloop(simulator: Simulator) -> None:
    """Uvloop changes nothing."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop has no Windows build")

    async def main() -> None:
        async with make(simulator) as client:
            await asyncio.gather(*(ping(client) for _ in range(20)))

    await asyncio.to_thread(lambda: asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main()))
    assert simulator.token_requests == 1


# ---- environment


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, simulator: Simulator) -> pytest.MonkeyPatch:
    monkeypatch.setenv("WXMP_APPID", simulator.account.appid)
    monkeypatch.setenv("WXMP_SECRET", simulator.account.secret)
    monkeypatch.setenv("WXMP_ENDPOINT", simulator.url)
    monkeypatch.delenv("WXMP_TOKEN_STORE", raising=False)
    return monkeypatch


@pytest.mark.parametrize("store", ["", "memory:", "file:{tmp}/tokens"])
async def test_from_env(environment: pytest.MonkeyPatch, tmp_path: Path, store: str) -> None:
    """from_env() reads account, address and store."""
    environment.setenv("WXMP_TOKEN_STORE", store.format(tmp=tmp_path))
    async with Client.from_env() as client:
        assert (await ping(client))["ip_list"]
        assert client.token_status().store == ("file" if "file" in store else "memory")


async def test_from_env_with_a_prefix(environment: pytest.MonkeyPatch, simulator: Simulator) -> None:
    """Several accounts in one environment have prefixes of their own."""
    for name in ("APPID", "SECRET", "ENDPOINT"):
        environment.setenv(f"SHOP_{name}", os.environ[f"WXMP_{name}"])
        environment.delenv(f"WXMP_{name}")
    async with Client.from_env("SHOP_") as client:
        assert (await ping(client))["ip_list"]
    with pytest.raises(ConfigError, match="WXMP_APPID"):
        Client.from_env()


@pytest.mark.parametrize("store", ["etcd://x", "file:", "redis", "nonsense"])
def test_from_env_refuses_unknown_stores(environment: pytest.MonkeyPatch, store: str) -> None:
    """An address of no known store is refused, naming the variable and the choices."""
    environment.setenv("WXMP_TOKEN_STORE", store)
    with pytest.raises(ConfigError, match="WXMP_TOKEN_STORE") as caught:
        Client.from_env()
    assert "redis://" in str(caught.value)


def test_from_env_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing variable is named."""
    monkeypatch.setenv("WXMP_APPID", "wx1")
    monkeypatch.delenv("WXMP_SECRET", raising=False)
    with pytest.raises(ConfigError, match="WXMP_SECRET"):
        Client.from_env()


def test_from_env_reads_a_secret_from_a_file(tmp_path: Path) -> None:
    """WXMP_SECRET_FILE names a file, which is read late: what it holds when the secret is needed counts."""
    path = tmp_path / "appsecret"
    path.write_text("first\n", encoding="utf-8")
    client = Client.from_env(environ={"WXMP_APPID": "wx1", "WXMP_SECRET_FILE": str(path)})
    assert client._secret().reveal() == "first"
    path.write_text("second", encoding="utf-8")
    assert client._secret().reveal() == "second"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_from_env_refuses_a_file_without_a_secret(tmp_path: Path, content: bytes | None) -> None:
    """A file that is absent, empty or no text is named at once, with its variable."""
    path = tmp_path / "appsecret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"WXMP_SECRET_FILE: .*appsecret"):
        Client.from_env(environ={"WXMP_APPID": "wx1", "WXMP_SECRET_FILE": str(path)})


def test_from_env_takes_one_secret(tmp_path: Path) -> None:
    """A secret in a variable and in a file: nobody could say which one counts."""
    variables = {"WXMP_APPID": "wx1", "WXMP_SECRET": "one", "WXMP_SECRET_FILE": str(tmp_path / "two")}
    with pytest.raises(ConfigError, match="not both"):
        Client.from_env(environ=variables)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WXMP_ENDPOINT", "http://[::1"),
        ("WXMP_TOKEN_STORE", "redis://[::1"),
        ("WXMP_TOKEN_STORE", "redis://:hunter2@host:port/0"),
        ("WXMP_TOKEN_STORE", "control:http://[::1"),
        ("WXMP_SECRET_FILE", "/dev/zero"),
    ],
)
def test_from_env_names_the_variable_that_cannot_work(name: str, value: str) -> None:
    """Whatever is wrong with a value, the error names its variable, comes at once, and shows no password."""
    variables = {"WXMP_APPID": "wx1", "WXMP_CONTROL_KEY": "wxck_a_b"}
    if name != "WXMP_SECRET_FILE":
        variables["WXMP_SECRET"] = "one"
    with pytest.raises(ConfigError, match=name) as caught:
        Client.from_env(environ=variables | {name: value})
    assert "hunter2" not in str(caught.value)


def test_from_env_reads_the_channel() -> None:
    """WXMP_TOKEN_CHANNEL chooses the channel, an argument beats it, and any other word is refused by its name."""
    variables = {"WXMP_APPID": "wx1", "WXMP_SECRET": "one", "WXMP_TOKEN_CHANNEL": "plain"}
    assert "plain" in repr(Client.from_env(environ=variables))
    assert "stable" in repr(Client.from_env(environ=variables, token_channel="stable"))
    with pytest.raises(ConfigError, match="WXMP_TOKEN_CHANNEL"):
        Client.from_env(environ=variables | {"WXMP_TOKEN_CHANNEL": "new"})


async def test_from_env_takes_what_the_client_takes(simulator: Simulator) -> None:
    """A store that is passed in is used and not closed; the other settings reach the client."""
    store = MemoryTokenStore()
    account = simulator.account
    variables = {"WXMP_APPID": account.appid, "WXMP_SECRET": account.secret, "WXMP_ENDPOINT": simulator.url}
    variables["WXMP_TOKEN_STORE"] = "no store at all"
    policy = TokenPolicy(check_interval=1.0)
    async with Client.from_env(environ=variables, token_store=store, token_policy=policy, timeout=3) as client:
        token = await client.token()
        assert client._policy is policy
    async with Client.from_env(environ=variables, token_store=store) as client:
        assert await client.token() == token


async def test_policy_reaches_the_keeper(simulator: Simulator) -> None:
    """A token well past half of its life is renewed in the background, once its policy has the store looked into."""
    later = 0.0
    store = MemoryTokenStore(clock=lambda: time.monotonic() + later)
    policy = TokenPolicy(check_interval=0.2)
    async with make(simulator, token_channel="plain", token_store=store, token_policy=policy) as client:
        first = await client.token()
        later = 4500.0
        simulator.advance(later)
        async with asyncio.timeout(20):  # 24 to 36 s with the default policy
            while await client.token() == first:
                await ping(client)
                await asyncio.sleep(0.01)
        assert simulator.token_requests == 2


def test_events_are_records() -> None:
    """An event is a frozen record without room for a token."""
    assert {field.name for field in attrs.fields(wxmp.TokenEvent)} == {
        "name",
        "appid",
        "mchid",
        "channel",
        "generation",
        "seconds",
        "elapsed",
        "code",
        "reason",
    }


async def test_not_found_has_its_class(client: Client) -> None:
    """46003 is NotFoundError."""
    with pytest.raises(NotFoundError):
        await client.request("GET", "/cgi-bin/menu/get")
