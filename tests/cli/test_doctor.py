"""``wxmp doctor`` in every broken state: it names the cause and the remedy, and shows no secret."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import io
import json
import os
import signal
import socket
import ssl
import stat
import threading
import time
import types
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.moments import PATIENT
from tests.peers.gateway import Authority, Gateway
from tests.redis_server import RedisServer, refusing_port
from wxmp import AccountError, Client, FileTokenStore, _transport
from wxmp.cli import (
    _doctor_account,
    _doctor_callback,
    _doctor_case,
    _doctor_network,
    _doctor_settings,
    _doctor_store,
    _reach,
    doctor,
)
from wxmp.cli._doctor_report import CHECKS, WIDTH, columns
from wxmp.cli.doctor import app
from wxmp.control import ControlKey, ControlServer, HTTPTokenStore
from wxmp.errors import WebhookError
from wxmp.simulator import Policy, Simulator
from wxmp.tokens.store import TokenKey
from wxmp.webhook.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wxmp.simulator.faults import Effect

TOKEN = "devSampleToken"
OTHER_TOKEN = "otherSampleToken"
AES_KEY = "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM"
OTHER_KEY = "T3RoZXJLZXlGb3JEb2N1bWVudGF0aW9uT25seTEyMzQ"
PASSWORD = "redis-password-of-the-test"


# ---- the account, and how the doctor is run


@attrs.define
class Told:
    """What a run of the doctor has said."""

    code: int
    output: str

    @property
    def line(self) -> dict[str, Any]:
        found = json.loads(self.output)
        assert self.output.count("\n") == 1
        return dict(found)

    def check(self, name: str) -> dict[str, Any]:
        return next(check for check in self.line["checks"] if check["id"] == name)

    def status(self, name: str) -> str:
        return str(self.check(name)["status"])

    def text(self, name: str) -> str:
        """All that was said about a check."""
        found = self.check(name)["findings"]
        return "\n".join(f"{entry['found']}\n{entry['cause']}\n{entry['remedy']}" for entry in found)

    @property
    def errors(self) -> set[str]:
        return {check["id"] for check in self.line["checks"] if check["status"] == "error"}


@attrs.define
class Ward:
    """The account under examination, and what it must not show."""

    sim: Simulator
    folder: Path
    environment: dict[str, str]
    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    secrets: set[str] = attrs.field(factory=set)

    def run(self, *arguments: str, text: bool = False, watch: str = "0", **environment: str) -> Told:
        for name in [name for name in os.environ if name.startswith("WXMP_") or name.upper().endswith("_PROXY")]:
            self.patch.delenv(name)
        for name, value in {**self.environment, **environment}.items():
            if value:
                self.patch.setenv(name, value)
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([*arguments, "--watch", watch, *([] if text else ["--json"])])
        said = self.capsys.readouterr()
        tokens = {token.text for account in self.sim.world.state.accounts.values() for token in account.tokens.values()}
        hidden = {self.sim.account.secret, TOKEN, OTHER_TOKEN, AES_KEY, OTHER_KEY, PASSWORD, *tokens, *self.secrets}
        assert [secret for secret in hidden if secret in said.out + said.err] == []
        assert "Traceback" not in said.out + said.err
        code = ended.value.code
        return Told(int(code or 0), said.out)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", password=PASSWORD) as server:
        yield server


def make_ward(
    sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Ward:
    secret = tmp_path / "secret"
    secret.write_text(sim.account.secret)
    secret.chmod(0o600)
    environment = {
        "WXMP_APPID": sim.account.appid,
        "WXMP_SECRET_FILE": str(secret),
        "WXMP_ENDPOINT": sim.url,
        "WXMP_TOKEN_STORE": f"file:{tmp_path / 'tokens'}",
    }
    monkeypatch.setattr(_doctor_store, "SLOW", 5.0)  # a busy test machine is no finding
    return Ward(sim, tmp_path, environment, capsys, monkeypatch)


@pytest.fixture
def ward(
    platform: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Ward:
    platform.world.reset()
    return make_ward(platform, tmp_path, capsys, monkeypatch)


# ---- a developer's server


@attrs.define
class Server:
    """A callback server, right or wrong in one of many ways."""

    url: str = ""
    appid: str = ""
    token: str = TOKEN
    key: str | None = AES_KEY
    original_id: str | None = None
    manner: str = "right"
    seen: list[bytes] = attrs.field(factory=list)

    def answer(self, method: str, query: bytes, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if self.manner in ("redirect", "login", "fails", "missing"):
            status = {"redirect": 301, "login": 301, "fails": 502, "missing": 404}[self.manner]
            there = "/login?back=x" if self.manner == "login" else "https://shop.example.com/wx/?token=x"
            return status, b"<html>", {"Location": there}
        if self.manner == "slow":
            time.sleep(4)
        if self.manner == "echoes" and method == "GET":
            return 200, query.partition(b"echostr=")[2], {}
        if self.manner == "swallows" and method == "POST":
            return 200, b"success", {}
        gate = Gate(
            token=self.token,
            encoding_aes_key=self.key,
            appid=self.appid,
            clock=lambda: time.time() + (3600 if self.manner == "late clock" else 0),
            original_id=self.original_id,
        )
        try:
            if method == "GET":
                echo = gate.verify_url(query)
                return 200, b'"%b"' % echo if self.manner == "json" else echo, {}
            opened = gate.open(query, body)
        except WebhookError as error:
            return error.status, b"refused\n", {}
        self.seen.append(str(opened.fields).encode())
        if self.manner == "replies":
            return 200, gate.seal(opened, b"<xml><MsgType>text</MsgType></xml>"), {}
        return 200, b"success", {}


@pytest.fixture(scope="module")
def listening() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            _, _, query = self.path.partition("?")
            status, answer, headers = server.answer(self.command, query.encode(), body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            with suppress(OSError):  # whoever asked may have given up
                self.end_headers()
                self.wfile.write(answer)

        do_POST = do_GET

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(int(time.time() + (3600 if server.manner == "late clock" else 0)))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        server.url = f"http://127.0.0.1:{http.server_port}/wx"
        yield server
        http.shutdown()


@pytest.fixture
def server(listening: Server, ward: Ward) -> Server:
    for field in attrs.fields(Server):
        if field.name not in ("url", "appid", "seen"):
            setattr(listening, field.name, field.default)
    listening.seen.clear()
    listening.appid = ward.sim.account.appid
    ward.environment |= {
        "WXMP_CALLBACK_URL": listening.url,
        "WXMP_CALLBACK_TOKEN": TOKEN,
        "WXMP_ENCODING_AES_KEY": AES_KEY,
    }
    ward.sim.world.set_callback(listening.url, token=TOKEN, encoding_aes_key=AES_KEY)
    return listening


# ---- health


def test_a_healthy_account(ward: Ward, server: Server, redis_server: RedisServer) -> None:
    """Nothing is found where nothing is wrong, and every check was made but the one for payment."""
    told = ward.run(WXMP_TOKEN_STORE=redis_server.url)
    assert told.code == 0
    assert {check["id"]: check["status"] for check in told.line["checks"]} == {
        **dict.fromkeys(CHECKS, "ok"),
        "pay": "skipped",
    }
    assert told.line["ok"] is True


def test_it_takes_the_token_of_the_fleet(ward: Ward) -> None:
    """A stored token is used as it is: the platform issues no second one, and nothing is forced."""
    first, second = ward.run(), ward.run()
    assert (first.code, second.code) == (0, 0)
    assert "from the platform" in first.text("token")
    assert "from the store" in second.text("token")
    assert ward.sim.tokens_issued() == 1
    assert ward.sim.token_requests_of("stable") == 3 + 2
    assert ward.sim.token_requests_of("plain") == 0
    assert ward.sim.account.stable.forced_today == 0
    assert ward.sim.calls("/cgi-bin/openapi/quota/get") == 5 * 2
    assert [path.name for path in (ward.folder / "tokens").glob("*doctor*")] == []


def test_two_doctors_do_not_meet(ward: Ward) -> None:
    """Each tries the store out in a record of its own: one that sweeps takes nothing away from the other."""
    channels = []
    lease = FileTokenStore.lease

    async def noted(self: FileTokenStore, key: TokenKey, **more: Any) -> Any:
        channels.append(key.channel)
        return await lease(self, key, **more)

    ward.patch.setattr(FileTokenStore, "lease", noted)
    assert (ward.run().code, ward.run().code) == (0, 0)
    tried = [channel for channel in channels if channel.startswith("doctor")]
    assert len(set(tried)) == len(tried) == 2


def test_a_token_that_the_fleet_has_just_replaced(ward: Ward) -> None:
    """A dead token that is not in the store any more accuses nobody."""
    assert ward.run().code == 0
    ward.sim.kill_token()

    async def newer(_case: object) -> str:
        return "another"

    ward.patch.setattr(_doctor_account, "_stored_now", newer)
    told = ward.run()
    assert told.status("call") == "ok"
    assert "replaced its token at this very moment" in told.text("call")


def test_an_endpoint_that_is_no_address(ward: Ward) -> None:
    """It is a problem of the settings, not one of the doctor."""
    told = ward.run(WXMP_ENDPOINT="http://[::1")
    assert (told.code, told.errors) == (3, {"settings"})


def test_a_control_key_that_was_cut(ward: Ward) -> None:
    """It is told by its form; nobody is accused of having refused it."""
    told = ward.run(WXMP_TOKEN_STORE="control:https://127.0.0.1:1", WXMP_CONTROL_KEY="wxck")
    assert "does not have the form of a key" in told.check("store")["cause"]


def test_a_redirect_to_no_address() -> None:
    """What a server writes there cannot break the doctor."""
    assert _doctor_callback._place("http://[") == "what is no address"


def test_the_option_counts_more_than_the_environment(ward: Ward) -> None:
    """Told to look at the stable channel, it asks that one, whatever the environment says."""
    assert ward.run("--token-channel", "stable", WXMP_TOKEN_CHANNEL="plain").code == 0
    assert ward.sim.token_requests_of("plain") == 0


@pytest.mark.parametrize("by", ["option", "environment"])
def test_the_plain_endpoint_is_never_asked(ward: Ward, by: str) -> None:
    """A fleet on the plain channel loses no token to the doctor."""
    told = ward.run("--token-channel", "plain") if by == "option" else ward.run(WXMP_TOKEN_CHANNEL="plain")
    assert told.code == 0
    assert "end the token of whoever has it" in told.text("token")
    assert told.status("others") == "skipped"
    assert ward.sim.token_requests_of("plain") == 0


def test_it_is_readable_in_a_pipe(ward: Ward, server: Server) -> None:
    """Text for people is at most 80 columns wide, without colours, and names every check in both languages."""
    ward.sim.account.ip_list = ["203.0.113.9"]
    told = ward.run(text=True)
    assert told.code == 3
    assert "\x1b" not in told.output
    assert max(columns(line) for line in told.output.splitlines()) <= WIDTH
    for title, chinese in CHECKS.values():
        assert f"{title} · {chinese}" in told.output
    assert "Begin with: Add 127.0.0.1" in told.output


# ---- secret, address, account


@pytest.mark.parametrize(
    ("state", "code", "cause", "remedy"),
    [
        ({"secret": "another-secret-of-the-console-00"}, "40125", "AppSecret is not the one", "开发者密码"),
        ({"ip_list": ["203.0.113.9"]}, "40164", "not on the IP list", "Add 127.0.0.1 under"),
        ({"secret_frozen": True}, "40243", "frozen", "Unfreeze"),
        ({"token_forbidden": True}, "50004", "closed token requests", "通知中心"),
        ({"frozen": True}, "50007", "The account is frozen", "unfrozen"),
        ({"risk_control": True}, "89503", "administrator", "confirm"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isdigit() else "",
)
def test_the_platform_refuses(ward: Ward, state: dict[str, Any], code: str, cause: str, remedy: str) -> None:
    """Each refusal of the token endpoint has its cause and its remedy."""
    for name, value in state.items():
        setattr(ward.sim.account, name, value)
    told = ward.run(WXMP_SECRET_FILE=ward.environment["WXMP_SECRET_FILE"])
    check = told.check("secret")
    assert told.code == 3
    assert told.errors == {"secret"}
    assert code in check["found"]
    assert cause in check["cause"]
    assert remedy in check["remedy"]


def test_an_unknown_appid(ward: Ward) -> None:
    """40013: the AppID is copied again."""
    told = ward.run(WXMP_APPID="wx00000000000000ff")
    assert told.code == 3
    assert "40013" in told.check("secret")["found"]
    assert "Copy the AppID again" in told.check("secret")["remedy"]


def test_a_wrong_secret_is_seen_behind_a_living_token(ward: Ward) -> None:
    """While the store holds a token every call works: the secret is tried all the same, before it is needed."""
    assert ward.run().code == 0
    ward.sim.account.secret = "changed-in-the-console-000000000"
    told = ward.run()
    assert told.errors == {"secret"}
    assert told.status("call") == "ok"


def test_a_refusal_that_is_over(ward: Ward) -> None:
    """The IP list is mended, and the fleet still waits: that passes, and is told as such."""
    account = ward.sim.account
    account.ip_list = ["203.0.113.9"]

    async def fail() -> None:
        store = FileTokenStore(ward.folder / "tokens")
        async with Client(account.appid, account.secret, token_store=store, base_url=ward.sim.url) as client:
            with pytest.raises(AccountError):
                await client.token()

    asyncio.run(fail())
    account.ip_list = None
    told = ward.run()
    assert told.code == 0
    assert told.status("secret") == "ok"
    assert "40164" in told.check("token")["found"]
    assert "recover by themselves" in told.check("token")["remedy"]
    assert told.status("call") == "ok"


# ---- quota


def test_the_quota_of_the_token_is_gone(ward: Ward) -> None:
    """45009 while asking for a token: when the counters start again, and how they are cleared."""
    ward.sim.world.fault("quota", "/cgi-bin/stable_token")
    told = ward.run()
    assert told.code == 3
    remedy = told.check("secret")["remedy"]
    assert "midnight in Beijing" in remedy
    assert "clear" in remedy
    assert "10 times a month" in remedy


def test_a_used_up_path(ward: Ward) -> None:
    """All calls of a path are used: error, the hour of the reset, and the ten resets a month."""
    world = ward.sim.world
    ward.sim.account.quotas["/cgi-bin/message/custom/send"] = 2
    for _ in range(2):
        world.spend(ward.sim.account, "/cgi-bin/message/custom/send", world.now())
    told = ward.run()
    assert told.errors == {"quota"}
    assert told.code == 3
    assert "message/custom/send: all 2 calls" in told.check("quota")["found"]
    assert "45009" in told.check("quota")["cause"]
    assert "10 times a month" in told.check("quota")["remedy"]
    assert "midnight in Beijing" in told.check("quota")["remedy"]


# ---- who else


@pytest.mark.parametrize("how", ["forced", "unknown", "expired"])
def test_another_system_ended_the_token(ward: Ward, how: Any) -> None:
    """The stored token is dead before its time: which systems to look for, and central control."""
    assert ward.run().code == 0
    ward.sim.world.kill_token("stable", how)
    told = ward.run()
    assert told.code == 3
    assert told.errors == {"call", "others"}
    assert "although it has" in told.check("others")["found"]
    assert "another system" in told.check("others")["cause"].lower()
    assert "wxmp control" in told.check("others")["remedy"]
    assert "old server" in told.check("others")["remedy"]


def test_the_doctor_does_not_end_the_duel_by_force(ward: Ward) -> None:
    """A dead token in the store stays where it is: replacing it is the fleet's business."""
    ward.run()
    ward.sim.world.kill_token("stable", "forced")
    before = ward.sim.tokens_issued()
    ward.run()
    assert ward.sim.tokens_issued() == before
    assert ward.sim.account.stable.forced_today == 0


def test_another_token_that_still_works(ward: Ward) -> None:
    """Forced refreshes may leave an overlap: the fleet's token works, yet it is not the platform's any more."""
    world = ward.sim.world
    before = world.policy
    world.policy = attrs.evolve(before, stable_forced_overlap=300.0)
    try:
        ward.run()
        world.kill_token("stable", "forced")
        told = ward.run()
    finally:
        world.policy = before
    assert told.errors == {"others"}
    assert "another token than" in told.check("others")["found"]
    assert "force_refresh" in told.check("others")["cause"]


def test_a_planned_rotation_is_no_rival(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last minutes of its life the platform hands out the next token: that is nobody else."""
    with Simulator(policy=Policy(token_life=320, stable_rotate_before=310.0), seed=1) as sim:
        ward = make_ward(sim, tmp_path, capsys, monkeypatch)
        assert ward.run().code == 0
        sim.world.policy = attrs.evolve(sim.world.policy, token_life=7200, stable_rotate_before=321.0)
        told = ward.run()
        assert sim.tokens_issued() > 1
    assert told.code == 0
    assert told.status("others") == "ok"


def test_the_control_server_has_seen_it(ward: Ward) -> None:
    """A service that asks a control server needs no AppSecret, and is told what the server has seen."""
    account = ward.sim.account
    key, text = ControlKey.create("shop", appids={account.appid}, may_see_status=True)
    blind, blind_text = ControlKey.create("blind", appids={account.appid})
    ward.secrets |= {text, blind_text}
    keeper = Client(account.appid, account.secret, base_url=ward.sim.url)
    server = uvicorn.Server(
        uvicorn.Config(ControlServer([keeper], [key, blind]), port=0, log_config=None, lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        ward.environment |= {"WXMP_TOKEN_STORE": f"control:{address}", "WXMP_SECRET_FILE": ""}
        told = ward.run(WXMP_CONTROL_KEY=blind_text)
        assert told.code == 0
        assert "may not see" in told.text("others")
        assert told.status("secret") == "skipped"
        assert told.status("call") == "ok"

        async def suffer() -> None:
            ward.sim.world.kill_token("stable", "forced")
            async with (
                HTTPTokenStore(address, text) as store,
                Client(account.appid, None, token_store=store, base_url=ward.sim.url) as client,
            ):
                await client.server.list_api_ips()

        asyncio.run(suffer())
        told = ward.run(WXMP_CONTROL_KEY=text)
        assert "others" in told.errors
        assert "die early within 24 hours" in told.text("others")
        told = ward.run(WXMP_CONTROL_KEY="wxck_" + "A" * 43)
        assert told.errors == {"store"}
        assert "wxmp control key" in told.check("store")["remedy"]
    finally:
        server.should_exit = True
        thread.join(10)


def test_somebody_refreshes_while_it_watches(ward: Ward) -> None:
    """A duel that goes on is caught in the act."""
    ward.run()
    timer = threading.Timer(0.35, ward.sim.world.kill_token, ["stable", "forced"])
    timer.start()
    told = ward.run(watch="0.7")
    timer.join()
    assert "others" in told.errors
    assert "at this moment" in told.text("others") or "although it has" in told.text("others")
    assert "wxmp control" in told.text("others")


def test_somebody_uses_the_plain_endpoint(ward: Ward) -> None:
    """Another SDK on the plain endpoint does no harm here, and is told of."""
    world = ward.sim.world
    world.spend(ward.sim.account, "/cgi-bin/token", world.now())
    told = ward.run()
    assert told.code == 0
    assert told.status("others") == "warning"
    assert "plain endpoint" in told.check("others")["found"]
    assert "Another system shares this AppID" in told.check("others")["cause"]


# ---- the clock


@pytest.mark.parametrize(("ahead", "status", "words"), [(3600.0, "error", "behind"), (-60.0, "warning", "ahead of")])
def test_a_wrong_clock(
    ahead: float,
    status: str,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock that is off: how far, what it breaks, and NTP."""
    with Simulator(policy=Policy(date_header_ahead=ahead), seed=1) as sim:
        told = make_ward(sim, tmp_path, capsys, monkeypatch).run()
    assert told.status("clock") == status
    assert told.code == (3 if status == "error" else 0)
    assert words in told.check("clock")["found"]
    assert "refused" in told.check("clock")["cause"]
    assert "NTP" in told.check("clock")["remedy"]


def test_the_clock_of_redis(ward: Ward, redis_server: RedisServer) -> None:
    """The clock of Redis is compared as well."""
    ward.patch.setattr(_doctor_network, "CLOCK_DOUBT", -1.0)
    told = ward.run(WXMP_TOKEN_STORE=redis_server.url)
    assert "Redis" in told.text("clock")
    assert "in one jump" in told.text("clock")


# ---- the store


def test_redis_is_down(ward: Ward) -> None:
    """Redis does not listen: it is named, and the rest is looked at all the same."""
    told = ward.run(WXMP_TOKEN_STORE=f"redis://:{PASSWORD}@127.0.0.1:{refusing_port()}/0")
    assert told.code == 3
    assert told.errors == {"store"}
    assert "Redis is down" in told.check("store")["found"]
    assert "Nothing listens there" in told.check("store")["cause"]
    assert "Start Redis" in told.check("store")["remedy"]
    assert told.status("call") == "ok"


def test_a_wrong_password(ward: Ward, redis_server: RedisServer) -> None:
    """Redis refuses the password: it is named, not shown."""
    ward.secrets.add("not-the-password")
    told = ward.run(WXMP_TOKEN_STORE=redis_server.url.replace(PASSWORD, "not-the-password"))
    assert told.errors == {"store"}
    assert "password" in told.check("store")["cause"]
    assert "percent-encoded" in told.check("store")["remedy"]


def test_redis_that_is_not_redis(ward: Ward, listening: Server) -> None:
    """Something else listens on that port."""
    address = listening.url.removeprefix("http://").removesuffix("/wx")
    told = ward.run(WXMP_TOKEN_STORE=f"redis://{address}/0")
    assert told.errors == {"store"}
    assert "not Redis" in told.check("store")["cause"]
    assert "port" in told.check("store")["remedy"]


def test_redis_that_forgets(ward: Ward) -> None:
    """Eviction and no persistence are warnings, a replica cannot be written."""
    with RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as primary:
        told = ward.run(WXMP_TOKEN_STORE=primary.url)
        assert told.code == 0
        assert told.status("store") == "warning"
        assert "allkeys-lru" in told.text("store")
        assert "noeviction" in told.text("store")
        assert "keeps nothing on disk" in told.text("store")
        with RedisServer(replica_of=primary) as replica:
            told = ward.run(WXMP_TOKEN_STORE=replica.url)
    assert told.errors == {"store"}
    assert "replica" in told.check("store")["cause"]
    assert "primary" in told.check("store")["remedy"]


def test_a_slow_store(ward: Ward) -> None:
    """A store that takes its time is told of."""
    ward.patch.setattr(_doctor_store, "SLOW", 0.0)
    told = ward.run()
    assert told.code == 0
    assert told.status("store") == "warning"
    assert "the store took" in told.check("store")["found"]
    assert "data centre" in told.check("store")["remedy"]


def test_memory(ward: Ward) -> None:
    """A store in memory is right for one process only."""
    told = ward.run(WXMP_TOKEN_STORE="memory:")
    assert told.code == 0
    assert told.status("store") == "warning"
    assert "Several processes would each" in told.check("store")["cause"]
    assert "redis://" in told.check("store")["remedy"]


def test_a_folder_of_somebody_else(ward: Ward) -> None:
    """A token folder that others may write to is refused by the store, and explained."""
    folder = ward.folder / "tokens"
    folder.mkdir()
    folder.chmod(0o777)
    told = ward.run()
    assert told.errors == {"store"}
    assert "others may write" in told.check("store")["found"]
    assert f"install -d -m 700 -o USER {folder}" in told.check("store")["remedy"]
    folder.chmod(0o755)
    assert "chmod 700" in ward.run().text("store")


def test_the_control_server_is_down(ward: Ward) -> None:
    """A service without AppSecret whose control server does not answer."""
    told = ward.run(
        WXMP_TOKEN_STORE=f"control:http://127.0.0.1:{refusing_port()}",
        WXMP_CONTROL_KEY="wxck_" + "A" * 43,
        WXMP_SECRET_FILE="",
    )
    assert told.code == 3
    assert "store" in told.errors or "settings" in told.errors
    assert "control" in told.text("store") + told.text("settings")


# ---- settings


@pytest.mark.parametrize(
    ("changes", "found", "remedy"),
    [
        ({"WXMP_APPID": ""}, "WXMP_APPID is not set", "基本配置"),
        ({"WXMP_APPID": "gh_0123456789ab"}, "original ID", "begins with wx"),
        ({"WXMP_SECRET_FILE": ""}, "neither WXMP_SECRET nor", "WXMP_SECRET_FILE"),
        ({"WXMP_SECRET_FILE": "/nowhere/secret"}, "cannot be read", "ls -l"),
        ({"WXMP_SECRET": '"quoted"', "WXMP_SECRET_FILE": ""}, "quotation marks", "WXMP_SECRET=value"),
        ({"WXMP_ENDPOINT": "http://api.weixin.qq.com"}, "without TLS", "https"),
        ({"WXMP_ENDPOINT": "api.weixin.qq.com"}, "no address", "production"),
        ({"WXMP_TOKEN_STORE": "postgres://x"}, "WXMP_TOKEN_STORE", "redis://"),
        ({"WXMP_CALLBACK_TOKEN": "no token!"}, "form of a Token", "服务器配置"),
        ({"WXMP_ENCODING_AES_KEY": "short"}, "form of an EncodingAESKey", "服务器配置"),
        ({"WXMP_CALLBACK_MODE": "safe"}, "WXMP_ENCODING_AES_KEY is not set", "EncodingAESKey"),
        ({"WXMP_DEDUPE": "file:pushes"}, "WXMP_DEDUPE does not name a store", "redis://"),
        ({"WXMP_DEDUPE": f"redis://:{PASSWORD}@host:port/0"}, "WXMP_DEDUPE does not name a store", "percent-encoded"),
        ({"WXMP_DEDUPE": f"redis://:{PASSWORD}@host?db=x"}, "option behind the '?'", "redis://:PASSWORD@HOST:6379/0"),
    ],
)
def test_settings_that_cannot_work(ward: Ward, changes: dict[str, str], found: str, remedy: str) -> None:
    """What is missing or cannot work is named before anything is sent with it."""
    ward.secrets |= {value for name, value in changes.items() if name in ("WXMP_SECRET", "WXMP_ENCODING_AES_KEY")}
    ward.patch.setattr("sys.stdin", io.StringIO())  # no terminal to ask at
    ward.environment |= changes
    told = ward.run()
    assert told.code == 3
    assert "settings" in told.errors
    assert found in told.text("settings")
    assert remedy in told.text("settings")
    told_of_callback = all(name.startswith(("WXMP_CALLBACK_", "WXMP_ENCODING_", "WXMP_DEDUPE")) for name in changes)
    assert told.status("secret") == ("ok" if told_of_callback else "skipped")


def test_a_wrong_key_of_the_callback_hides_nothing_else(ward: Ward, server: Server) -> None:
    """An EncodingAESKey that lost a sign keeps the push from being tried, and no other check from being made."""
    told = ward.run(WXMP_ENCODING_AES_KEY=AES_KEY[:-1])
    assert told.code == 3
    assert told.errors == {"settings"}
    assert "(42 characters)" in told.text("settings")
    assert [told.status(name) for name in ("secret", "call", "signature", "push")] == ["ok", "ok", "ok", "skipped"]
    assert "WXMP_ENCODING_AES_KEY cannot be used" in told.text("push")


def test_a_secret_that_ends_in_a_line_break(ward: Ward) -> None:
    """It is told as that, and not as a secret that was cut."""
    ward.environment["WXMP_SECRET_FILE"] = ""
    told = ward.run(WXMP_SECRET=f"{ward.sim.account.secret}\n")
    assert told.code == 3
    assert "a line break around its value" in told.text("settings")
    assert "it was cut" not in told.text("settings")


def test_settings_worth_a_word(ward: Ward) -> None:
    """A file that others can read, a name that nothing reads, a proxy: warnings."""
    os.chmod(ward.environment["WXMP_SECRET_FILE"], 0o644)
    told = ward.run(WXMP_CALLBACK_TOKN=TOKEN)
    assert told.code == 0
    assert "chmod 600" in told.text("settings")
    assert "Rename it to WXMP_CALLBACK_TOKEN" in told.text("settings")
    assert stat.S_IMODE(os.stat(ward.environment["WXMP_SECRET_FILE"]).st_mode) == 0o644


def test_secrets_in_the_wrong_place(ward: Ward) -> None:
    """An AppSecret where the AppID belongs, passwords in addresses: refused, and not repeated."""
    swapped = "0123456789abcdef0123456789abcdef"
    ward.secrets |= {swapped, "pass-in-endpoint"}
    for text in (True, False):
        told = ward.run(WXMP_APPID=swapped, text=text)
        assert told.code == 3
        assert "looks like an AppSecret" in " ".join(told.output.split())
    assert ward.run(WXMP_ENDPOINT="https://user:pass-in-endpoint@127.0.0.1:1").code == 3


def test_options_that_cannot_work(ward: Ward) -> None:
    """What is wrong with the command itself is exit code 2, and nothing is looked at."""
    ward.secrets.add("pass-in-argument")
    assert ward.run("--token-store", "redis://:pass-in-argument@127.0.0.1/0").code == 2
    assert ward.run("--timeout", "0").code == 2
    assert ward.run(watch="99").code == 2


def test_ctrl_c(ward: Ward) -> None:
    """Ctrl-C ends it at once, with what was seen so far and no traceback."""

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while ward.sim.calls("/cgi-bin/openapi/quota/get") == before and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = ward.sim.calls("/cgi-bin/openapi/quota/get")
    thread = threading.Thread(target=interrupt)
    thread.start()
    started = time.monotonic()
    told = ward.run(text=True, watch="20")
    thread.join()
    assert told.code == 130
    assert time.monotonic() - started < 15
    assert "ok    Settings" in told.output


def test_a_mistake_of_the_doctor(ward: Ward) -> None:
    """A check that breaks is told as such, takes no other along, and is exit code 1."""

    async def breaks(_: object) -> None:
        raise ZeroDivisionError

    ward.patch.setattr(doctor, "check_quota", breaks)
    told = ward.run()
    assert told.code == 1
    assert "the doctor itself failed: ZeroDivisionError" in told.check("quota")["found"]
    assert told.status("others") == "ok"


# ---- the network


def test_a_name_that_does_not_exist(ward: Ward) -> None:
    """DNS fails: it is told with the name, and what needs the platform is skipped."""
    real = socket.getaddrinfo

    def look(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "api.nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)

    ward.patch.setattr(socket, "getaddrinfo", look)
    told = ward.run(WXMP_ENDPOINT="https://api.nowhere.invalid", HTTPS_PROXY="http://user:pass@proxy:3128")
    assert told.code == 3
    assert told.errors == {"network"}
    assert "api.nowhere.invalid cannot be resolved" in told.check("network")["found"]
    assert "DNS" in told.check("network")["cause"]
    assert "resolv.conf" in told.check("network")["remedy"]
    assert "HTTPS_PROXY is set" in told.text("network")
    spared = ward.run(WXMP_ENDPOINT="https://api.nowhere.invalid", HTTPS_PROXY="http://proxy:3128", NO_PROXY=".invalid")
    assert "HTTPS_PROXY" not in spared.text("network")
    assert "user:pass" not in told.output
    assert {told.status(name) for name in ("secret", "call", "quota", "others")} == {"skipped"}


@pytest.fixture
def patient(ward: Ward) -> None:
    """Let a machine that pauses change nothing of what is found on the way."""
    patch, long = ward.patch.setattr, 60.0
    make = functools.partial(Client.from_env, token_policy=PATIENT, timeout=long)
    patch(_doctor_settings, "Client", types.SimpleNamespace(from_env=make))
    for module in (_doctor_network, _doctor_account):
        patch(module, "ANSWER", long)
        patch(module, "Transport", functools.partial(_transport.Transport, connect_timeout=long))
    patch(_doctor_network, "CONNECT", long)
    patch(_doctor_network, "SLOW", long)


@pytest.fixture
def way(ward: Ward, tmp_path: Path) -> Iterator[Gateway]:
    """A proxy, behind which the platform's own names are answered by the simulator."""
    authority = Authority(tmp_path)
    ward.environment |= {"WXMP_ENDPOINT": "", "SSL_CERT_FILE": str(authority.bundle)}
    _transport._ssl_context.cache_clear()
    with Gateway(ward.sim.url, authority) as running:
        ward.environment["WXMP_PROXY"] = running.environment["HTTPS_PROXY"]
        yield running
    _transport._ssl_context.cache_clear()


@pytest.mark.usefixtures("patient")
def test_the_platform_behind_a_proxy(ward: Ward, way: Gateway) -> None:
    """All that is asked of the platform goes through WXMP_PROXY, and the names of other programs' proxies are left."""
    ward.secrets.add("pass-of-proxy")
    proxy = ward.environment["WXMP_PROXY"].removeprefix("http://")
    told = ward.run(WXMP_PROXY=f"http://somebody:pass-of-proxy@{proxy}", HTTPS_PROXY="http://other:1")
    assert told.errors == set()
    assert (told.status("network"), told.status("secret"), told.status("call")) == ("ok", "ok", "ok")
    assert f"https://api.weixin.qq.com answers: through the proxy {proxy} (name " in told.check("network")["found"]
    assert "HTTPS_PROXY" not in told.output
    assert way.reached == {"api.weixin.qq.com"}


@pytest.mark.usefixtures("patient")
def test_a_proxy_that_cannot_be_reached(ward: Ward) -> None:
    """It is the proxy that is told of, and the variable that names it."""
    place = f"127.0.0.1:{refusing_port()}"
    told = ward.run(WXMP_ENDPOINT="", WXMP_PROXY=f"http://{place}")
    assert told.errors == {"network"}
    assert f"the proxy of WXMP_PROXY: {place} refuses the connection" in told.check("network")["found"]
    assert "correct WXMP_PROXY" in told.check("network")["remedy"]


def test_a_proxy_that_cannot_be_one(ward: Ward) -> None:
    """Its form is looked at with the settings, and its password is not shown."""
    ward.secrets.add("pass-of-proxy")
    told = ward.run(WXMP_ENDPOINT="", WXMP_PROXY="http://somebody:pass-of-proxy#1@proxy:3128")
    assert told.errors == {"settings"}
    assert "WXMP_PROXY is no address" in told.check("settings")["found"]
    assert "percent-encoded" in told.check("settings")["remedy"]
    assert told.status("network") == "skipped"


def test_a_simulator_needs_no_proxy(ward: Ward) -> None:
    """What runs on this machine is reached without it, even if there is none such."""
    told = ward.run(WXMP_PROXY="http://proxy.invalid:3128")
    assert told.code == 0
    assert told.status("network") == "ok"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("answer", "cause", "remedy"),
    [
        ("HTTP/1.1 407 No", "does not know who asks", "http://USER:PASSWORD@HOST:PORT"),
        ("HTTP/1.1 403 No", "rules do not let", "allow CONNECT to api.weixin.qq.com"),
        ("HTTP/1.1 302 Log in first", "rules do not let", "allow CONNECT to api.weixin.qq.com"),
        ("HTTP/1.1 503 No", "no way to the platform itself", "curl -v https://api.weixin.qq.com on that machine"),
        ("SSH-2.0-x", "no HTTP proxy", "whether it begins with http:// or https://"),
        ("HTTP/1.1 200 OK", "loses connections", "look at the log of the proxy"),
    ],
)
def test_a_proxy_that_refuses(ward: Ward, answer: str, cause: str, remedy: str) -> None:
    """Each refusal has its own cause and remedy, and that it was the proxy stands in front."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # closed at the end
                while True:
                    client, _ = listener.accept()
                    with client, suppress(OSError):
                        if client.recv(65536):  # the doctor's first look says nothing
                            client.sendall(f"{answer}\r\n\r\n".encode())

        threading.Thread(target=serve, daemon=True).start()
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        told = ward.run(WXMP_ENDPOINT="", WXMP_PROXY=f"http://{place}")
        with suppress(OSError):  # not every system can; the thread is a daemon
            listener.shutdown(socket.SHUT_RDWR)
    assert told.errors == {"network"}
    found = told.check("network")
    assert f"api.weixin.qq.com gives no answer through the proxy {place}: " in found["found"]
    assert (cause in found["cause"], remedy in found["remedy"]) == (True, True)


@pytest.mark.usefixtures("patient")
def test_a_proxy_that_opens_tls(ward: Ward, way: Gateway) -> None:
    """Its own certificate in the platform's place is refused, and told as what it is."""
    told = ward.run(SSL_CERT_FILE="")
    assert told.errors == {"network"}
    assert "opens TLS" in told.check("network")["cause"]
    assert "never switch verification off" in told.check("network")["remedy"]


def test_a_black_hole(ward: Ward) -> None:
    """Somebody takes the connection and says nothing: it ends in time."""
    ward.patch.setattr(_doctor_network, "ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        started = time.monotonic()
        told = ward.run(WXMP_ENDPOINT=f"http://127.0.0.1:{hole.getsockname()[1]}")
    assert time.monotonic() - started < 8
    assert told.errors == {"network"}
    assert "gives no answer" in told.check("network")["found"]
    assert "black hole" in told.check("network")["cause"].lower()


def test_the_time_is_bounded(ward: Ward) -> None:
    """However long a check could take, --timeout ends it."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        started = time.monotonic()
        told = ward.run("--timeout", "1.2", WXMP_ENDPOINT=f"http://127.0.0.1:{hole.getsockname()[1]}")
    assert time.monotonic() - started < 8
    assert told.code == 3
    assert "--timeout" in told.text("network")


def test_somebody_else_answers(ward: Ward, server: Server) -> None:
    """A web page where the platform should be."""
    server.manner = "fails"
    told = ward.run(WXMP_ENDPOINT=server.url.removesuffix("/wx"), WXMP_CALLBACK_URL="")
    assert told.errors == {"network"}
    assert "not the platform" in told.check("network")["found"]
    assert "WXMP_ENDPOINT" in told.check("network")["remedy"]


@pytest.mark.parametrize("effect", ["not_json", "truncated", "empty", "busy", "reset_before"])
def test_garbage_answers(ward: Ward, effect: Effect) -> None:
    """Answers of the token endpoint that are none are told as such, within seconds; nothing crashes."""
    ward.sim.world.fault(effect, "/cgi-bin/stable_token")
    told = ward.run()
    assert told.errors == {"secret"}
    assert told.code == 3
    assert told.check("secret")["cause"]
    assert told.check("secret")["remedy"]


def test_garbage_for_a_call(ward: Ward) -> None:
    """Garbage where the light call should be answered."""
    ward.sim.world.fault("not_json", "/cgi-bin/openapi/quota/get")
    told = ward.run()
    assert "cannot be read" in told.text("quota")
    assert told.code == 0


# ---- the callback


def test_no_callback(ward: Ward) -> None:
    """Without a URL nothing is said about it but how to give one."""
    assert "--callback" in ward.run().check("callback")["found"]


def test_the_server_is_down(ward: Ward, server: Server) -> None:
    """Nobody listens at the callback URL."""
    told = ward.run("--callback", f"http://127.0.0.1:{refusing_port()}/wx")
    assert told.code == 3
    assert told.errors == {"callback"}
    assert "cannot be reached" in told.check("callback")["found"]
    assert "Nothing listens there" in told.check("callback")["cause"]
    assert "start what should listen" in told.check("callback")["remedy"]
    assert told.status("push") == "skipped"


def test_a_wrong_token(ward: Ward, server: Server) -> None:
    """The server has another Token."""
    server.token = OTHER_TOKEN
    told = ward.run()
    assert told.code == 3
    assert told.errors == {"signature"}
    assert "Wrong Token" in told.check("signature")["cause"]
    assert "服务器配置" in told.check("signature")["remedy"]


def test_a_wrong_key(ward: Ward, server: Server) -> None:
    """The server has another EncodingAESKey."""
    server.key = OTHER_KEY
    told = ward.run()
    assert told.code == 3
    assert told.errors == {"push"}
    assert "Wrong EncodingAESKey" in told.check("push")["cause"]
    assert "服务器配置" in told.check("push")["remedy"]
    assert server.seen == []


def test_plain_mode_on_the_server(ward: Ward, server: Server) -> None:
    """The server has no key at all: that is told apart from a wrong one."""
    server.key = None
    told = ward.run()
    assert told.errors == {"push"}
    assert "plain mode" in told.check("push")["cause"]


def test_plain_mode_here(ward: Ward, server: Server) -> None:
    """The server has a key and this environment has none."""
    told = ward.run(WXMP_ENCODING_AES_KEY="")
    assert told.errors == {"push"}
    assert "safe mode" in told.check("push")["cause"]
    server.key = None
    assert ward.run(WXMP_ENCODING_AES_KEY="").code == 0


def test_what_the_server_sees(ward: Ward, server: Server) -> None:
    """One event debug_demo of nobody; with --no-push not even that."""
    assert ward.run().code == 0
    assert len(server.seen) == 1
    assert b"debug_demo" in server.seen[0]
    assert _doctor_callback.OPENID.encode() in server.seen[0]
    told = ward.run("--no-push")
    assert told.code == 0
    assert len(server.seen) == 1
    assert told.status("push") == "skipped"


def test_a_server_that_checks_its_original_id(ward: Ward, server: Server) -> None:
    """It refuses a push for nobody, and takes one for itself."""
    server.original_id = ward.sim.account.original_id
    assert "--original-id" in ward.run().check("push")["cause"]
    assert ward.run("--original-id", ward.sim.account.original_id).code == 0


def test_a_reply_that_is_sealed(ward: Ward, server: Server) -> None:
    """A default handler that answers proves the key at once."""
    server.manner = "replies"
    told = ward.run()
    assert told.code == 0
    assert "opened and answered" in told.text("push")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("manner", "check", "found", "words"),
    [
        ("echoes", "signature", "accepts anybody", "does not check the signature"),
        ("redirect", "signature", "redirects (HTTP 301 to https://shop.example.com/wx/)", "does not follow redirects"),
        ("fails", "signature", "HTTP 502", "log of the server"),
        ("missing", "signature", "HTTP 404", "Compare the path"),
        ("json", "signature", "wrapped in JSON", "text/plain"),
        ("slow", "signature", "does not answer the verification within", "all its workers are busy"),
        ("login", "signature", "redirects (HTTP 301 to /login)", "If it leads to a login page"),
        ("late clock", "signature", "its clock is", "timedatectl"),
    ],
)
def test_a_server_that_is_wrong(ward: Ward, server: Server, manner: str, check: str, found: str, words: str) -> None:
    """What a server does wrong is told in its own words."""
    if manner == "slow":
        ward.patch.setattr(_doctor_callback, "PATIENCE", 0.3)
    server.manner = manner
    told = ward.run()
    assert told.code == 3
    assert told.errors == {check}
    assert found in told.text(check)
    assert words in told.text(check)


def test_a_push_that_is_not_answered(ward: Ward) -> None:
    """Unlike a verification it is sent again, and users see it."""
    late = _doctor_callback._Answer(None, 5.0, "no answer", late=True)
    case = _doctor_case.Case(variables=ward.environment, callback="https://shop.example.com/wx")
    found = _doctor_callback._transport_trouble(case, late, "POST")
    assert found is not None
    assert "does not answer a push within" in found.found
    assert "three times in all" in found.cause


def test_a_server_that_swallows_everything(ward: Ward, server: Server) -> None:
    """One that says success to a wrong key proves nothing: a warning, not a green light."""
    server.manner = "swallows"
    told = ward.run()
    assert told.code == 0
    assert told.status("push") == "warning"
    assert "wrong key just the same" in told.check("push")["found"]


def test_a_certificate_that_nobody_trusts(ward: Ward) -> None:
    """A self-signed certificate is refused, as the platform refuses it; at the platform's address it is a fault too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - dt.timedelta(1), now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = ward.folder / "pem"
    plain = serialization.NoEncryption()
    shape = serialization.PrivateFormat.PKCS8
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, shape, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), BaseHTTPRequestHandler) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        told = ward.run("--callback", f"https://localhost:{http.server_port}/wx")
        platform = ward.run(WXMP_ENDPOINT=f"https://localhost:{http.server_port}")
        http.shutdown()
    assert told.errors == {"callback"}
    assert "certificate" in told.check("callback")["found"]
    assert "self-signed" in told.check("callback")["cause"]
    assert "fullchain" in told.check("callback")["remedy"]
    assert platform.errors == {"network"}
    assert "ca-certificates" in platform.check("network")["remedy"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("certificate has expired", "has expired"),
        ("certificate is not yet valid", "clock of this machine"),
        ("self-signed certificate in certificate chain", "a CA of your own"),
        ("unable to get local issuer certificate", "between its own and the CA"),
        ("Hostname mismatch, certificate is not valid for 'x'.", "for another name"),
        ("CA signature digest algorithm too weak", "of no CA that this machine knows"),
    ],
)
def test_what_is_wrong_with_a_certificate(said: str, meant: str) -> None:
    """OpenSSL's words are put into those of whoever installs certificates, one cause and not four."""
    assert meant in _doctor_callback._certificate_cause(f"the certificate of x:443 is refused: {said}")


def test_the_fleet_waits_after_a_try_without_an_answer(ward: Ward) -> None:
    """The platform answers by now; that the fleet does not ask yet is a warning with the seconds that are left."""

    async def fail() -> None:
        store = FileTokenStore(ward.folder / "tokens")
        key = TokenKey(ward.sim.account.appid, "stable")
        lease = await store.lease(key, owner="other", ttl=10.0, expect=0)
        await store.fail(key, owner="other", fence=lease.fence, code=0, cool_down=600.0)
        await store.aclose()

    asyncio.run(fail())
    ward.patch.setattr(_reach, "PATIENCE", 0.0)
    told = ward.run()
    assert told.code == 0
    assert told.status("token") == "warning"
    assert "got no usable answer" in told.check("token")["found"]
    assert told.status("call") == "ok"


def test_an_odd_path(ward: Ward, server: Server) -> None:
    """A path in Chinese and a query of its own belong to the address."""
    told = ward.run("--callback", f"{server.url}/回调?shop=1")
    assert told.code == 0
    assert told.status("signature") == "ok"


def test_rules_for_the_address_in_production(ward: Ward) -> None:
    """Outside of the simulator the platform wants a public address and port 80 or 443."""
    ward.patch.setattr(_doctor_case.Case, "simulated", property(lambda _: False))
    told = ward.run("--callback", f"http://127.0.0.1:{refusing_port()}/wx")
    assert "private network" in told.text("callback")
    assert "80 (http) and 443 (https)" in told.text("callback")


def test_the_console_has_no_url(ward: Ward, server: Server) -> None:
    """The platform itself is asked about its callback URL."""
    ward.sim.account.callback_url = None
    told = ward.run()
    assert told.status("platform") == "warning"
    assert "启用" in told.check("platform")["cause"]


# ---- payment


def test_payment_settings(ward: Ward) -> None:
    """Keys that cannot be read are told; nothing is sent."""
    ward.secrets.add("v3-key-of-this-test-000000000000")
    told = ward.run(
        WXMP_PAY_MCHID="1900000001",
        WXMP_PAY_SERIAL="xyz",
        WXMP_PAY_PRIVATE_KEY_FILE="/nowhere/apiclient_key.pem",
        WXMP_PAY_API_V3_KEY="v3-key-of-this-test-000000000000",
    )
    assert told.code == 3
    assert told.errors == {"pay"}
    assert "商户平台" in told.text("pay")
    assert "WXMP_PAY_SERIAL" in told.text("pay")
