"""The sandbox: one account on a platform of its own, in this process or on a port."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.simulator.developer import Developer, text_reply, xml_fields
from wxmp.simulator import AddressCheckError, CallbackError, Clock, Policy, WorldError
from wxmp.simulator.app import read_request
from wxmp.simulator.inprocess import read_request as read_httpx_request
from wxmp.simulator.pay.notices import queue
from wxmp.simulator.sandbox import Sandbox, SandboxOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(20)
API = "https://api.weixin.qq.com"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(seed=7, clock="frozen") as sandbox:
        yield sandbox


class EchoApp:
    """A server of the plain kind, without the SDK: answers texts with themselves and all else with success."""

    def __init__(self) -> None:
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.paths: list[str] = []
        self.seen: list[dict[str, Any]] = []
        self.started = self.stopped = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        self.loops.add(asyncio.get_running_loop())
        self.paths.append(scope["path"])
        body = (await receive())["body"]
        if scope["method"] == "GET":
            query = dict(httpx.QueryParams(scope["query_string"].decode()))
            answer = query["echostr"].encode()
        elif scope["path"].startswith("/pay"):
            answer = b""
        else:
            push = xml_fields(body)
            self.seen.append(push)
            answer = text_reply(push, push["Content"]) if push["MsgType"] == "text" else b"success"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/xml")]})
        await send({"type": "http.response.body", "body": answer})

    async def live(self, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        self.started = True
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        self.stopped = True
        await send({"type": "lifespan.shutdown.complete"})


@pytest.fixture
def app(sandbox: Sandbox) -> EchoApp:
    app = EchoApp()
    sandbox.connect(app, mode="plain")
    return app


def token(sandbox: Sandbox) -> str:
    with httpx.Client(transport=sandbox.transport()) as client:
        return client.get(
            f"{API}/cgi-bin/token",
            params={"grant_type": "client_credential", "appid": sandbox.appid, "secret": sandbox.secret},
        ).json()["access_token"]


# --- ways in ---


async def test_async_client_needs_no_socket(sandbox):
    """An httpx.AsyncClient reaches the world at the platform's own address."""
    client = sandbox.http_client()
    reply = await client.get(
        "/cgi-bin/token",
        params={"grant_type": "client_credential", "appid": sandbox.appid, "secret": sandbox.secret},
    )
    assert reply.json()["expires_in"] == 7200
    assert sandbox.http_client() is client


def test_blocking_client_needs_no_socket(sandbox):
    """An httpx.Client does too."""
    assert len(token(sandbox)) > 100
    assert sandbox.calls("/cgi-bin/token") == sandbox.token_requests == 1


def test_both_roads_come_together(sandbox):
    """What is asked in-process and what is asked over HTTP is one world."""
    text = token(sandbox)
    reply = httpx.get(f"{sandbox.url}/cgi-bin/getcallbackip", params={"access_token": text}, trust_env=False)
    assert "ip_list" in reply.json()
    assert [exchange.path for exchange in sandbox.journal] == ["/cgi-bin/token", "/cgi-bin/getcallbackip"]


def test_foreign_hosts_are_not_served(sandbox):
    """A request for anybody else's host fails: it neither reaches the world nor leaves the machine."""
    with httpx.Client(transport=sandbox.transport()) as client, pytest.raises(httpx.ConnectError):
        client.get("https://example.com/cgi-bin/token")
    assert sandbox.journal == []


@pytest.mark.parametrize(
    "url",
    [
        f"{API}/cgi-bin/user/info?openid=o1&openid=o2&lang=zh_CN&empty=",
        "https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket=a%2Bb%3D",
        "http://127.0.0.1/mp/cgi-bin/showqrcode?ticket=%E4%BD%A0",
        "http://localhost:8080/open/connect/oauth2/authorize?appid=wx&redirect_uri=http%3A%2F%2Fa%2F%3Fb#wechat_redirect",
        "http://127.0.0.1/cgi-bin/caf%C3%A9?x=%FF",
        "https://api.mch.weixin.qq.com/v3/pay/transactions/out-trade-no/1?mchid=1",
        "http://127.0.0.1/mch/v3/pay/transactions/out-trade-no/a%2Ab*?mchid=1&x=%7e~",
        "https://api2.wechatpay.cn/v3/certificates",
    ],
)
def test_both_roads_read_alike(sandbox, url):
    """A request is the same record whether it came through the transport or through the server."""
    request = httpx.Request("POST", url, content=b'{"a":1}', headers={"X-Client": "worker 1"})
    host, _, _ = request.url.netloc.decode().partition(":")
    scope = {
        "type": "http",
        "method": "POST",
        "path": httpx.URL(url).path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 5),
    }
    assert host
    assert read_httpx_request(sandbox.world, request, b'{"a":1}') == read_request(scope, b'{"a":1}', False)


# --- faults on the way ---


async def test_reset_is_a_read_error(sandbox):
    """A reset connection looks to the caller as it does on a network."""
    sandbox.faults.add("reset_before")
    with pytest.raises(httpx.ReadError):
        await sandbox.http_client().get("/cgi-bin/token")


async def test_refused_is_a_connect_error(sandbox):
    """A refused connection is told apart from one that broke: the platform certainly did not act."""
    sandbox.faults.add("refused")
    with pytest.raises(httpx.ConnectError):
        await sandbox.http_client().get("/cgi-bin/token")
    with httpx.Client(transport=sandbox.transport()) as client, pytest.raises(httpx.ConnectError):
        client.get(f"{API}/cgi-bin/token")
    assert sandbox.token_requests == 0


async def test_hanging_answer_ends_with_the_clients_timeout(sandbox):
    """An answer that never comes costs the caller its own read timeout."""
    sandbox.faults.add("hang")
    with pytest.raises(httpx.ReadTimeout):
        await sandbox.http_client().get("/cgi-bin/token", timeout=0.02)


def test_hanging_answer_ends_for_a_blocking_client(sandbox):
    """The same for a client that blocks."""
    sandbox.faults.add("hang")
    with httpx.Client(transport=sandbox.transport(), timeout=0.02) as client, pytest.raises(httpx.ReadTimeout):
        client.get(f"{API}/cgi-bin/token")


async def test_slow_answer_beyond_the_timeout_is_late(sandbox):
    """A delay longer than the caller's patience ends with its timeout, a shorter one with the answer."""
    sandbox.faults.add("latency", seconds=0.05)
    assert (await sandbox.http_client().get("/cgi-bin/token", timeout=5)).status_code == 200
    with pytest.raises(httpx.ReadTimeout):
        await sandbox.http_client().get("/cgi-bin/token", timeout=0.01)


@pytest.mark.parametrize("effect", ["drip", "huge"])
async def test_bodies_in_pieces_arrive_whole(sandbox, effect):
    """A dripping or padded body is what its length says."""
    sandbox.faults.add(effect, seconds=0.0001, size=200_000)
    reply = await sandbox.http_client().get("/cgi-bin/token")
    assert len(reply.content) == int(reply.headers["content-length"])
    with httpx.Client(transport=sandbox.transport()) as client:
        assert len(client.get(f"{API}/cgi-bin/token").content) == len(reply.content)


def test_faults_come_and_go(sandbox):
    """Rules can be counted, removed and cleared; a living rule counts its hits."""
    first = sandbox.faults.add("busy", path="/cgi-bin/t*", times=1)
    sandbox.faults.add("quota", path="/cgi-bin/user/*")
    assert [rule.effect for rule in sandbox.faults] == ["busy", "quota"]
    with httpx.Client(transport=sandbox.transport()) as client:
        assert client.get(f"{API}/cgi-bin/token").json()["errcode"] == -1
    assert first.hits == 1
    sandbox.faults.remove(first)
    assert len(sandbox.faults) == 1
    assert "quota" in repr(sandbox.faults)
    sandbox.faults.clear()
    assert not list(sandbox.faults)


async def test_hanging_answer_hangs_without_a_timeout(sandbox):
    """A caller without any timeout waits for ever, until somebody cancels it."""
    sandbox.faults.add("hang")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sandbox.http_client().get("/cgi-bin/token", timeout=None), 0.02)


def test_addresses_of_callers_are_believed_by_policy():
    """The header for the caller's address counts where the policy says so, as on the port."""
    with (
        Sandbox(policy={"trust_client_ip_header": True}) as sandbox,
        httpx.Client(transport=sandbox.transport()) as client,
    ):
        client.get(f"{API}/cgi-bin/token", headers={"X-Client-IP": "203.0.113.7"})
        assert sandbox.journal[0].client_ip == "203.0.113.7"
        assert repr(sandbox.transport()).startswith("WorldTransport(")


# --- pushes ---


async def test_application_is_called_in_the_tests_loop(sandbox, app):
    """A connected application runs in the event loop of the test, and its reply stands in the chat."""
    alice = sandbox.user("alice")
    alice.follow()
    alice.say("你好")
    await sandbox.settled()
    assert alice.last_reply is not None
    assert alice.last_reply.content == "你好"
    assert app.loops == {asyncio.get_running_loop()}
    assert [line.content for line in alice.replies] == ["你好"]
    assert alice.name == "alice"


def test_application_is_called_while_a_blocking_test_waits(sandbox, app):
    """Without an event loop pushes wait until the test does, and are then carried in the sandbox's own loop."""
    alice = sandbox.user("alice")
    alice.follow()
    assert app.seen == []
    sandbox.run(sandbox.settled())
    assert [push["MsgType"] for push in app.seen] == ["event"]
    alice.say("again")
    reply = sandbox.run(sandbox.wait_for(lambda: alice.last_reply))
    assert reply.content == "again"
    assert len(app.loops) == 1


async def test_what_a_fixture_did_arrives_in_the_test(sandbox):
    """Pushes of a time before the loop was there (a fixture that blocks) are carried once the test waits in its own."""
    app = EchoApp()

    def fixture() -> None:
        sandbox.connect(app, mode="plain")
        sandbox.user("alice").follow()

    thread = threading.Thread(target=fixture)
    thread.start()
    thread.join()
    assert app.seen == []
    await sandbox.settled()
    assert app.loops == {asyncio.get_running_loop()}


async def test_wait_for_returns_what_it_found(sandbox, app):
    """wait_for gives back the first true value, and asks again after each change."""
    alice = sandbox.user("alice")
    alice.follow()
    alice.say("one")
    assert await sandbox.wait_for(lambda: [push["MsgType"] for push in app.seen][1:]) == ["text"]


async def test_wait_for_gives_up(sandbox):
    """What never comes true ends with a TimeoutError."""
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        await sandbox.wait_for(lambda: False, timeout=0.01)


async def test_settled_names_what_is_missing(sandbox):
    """A push that does not arrive is named in the error; so is a call that does not end."""
    release = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()

    sandbox.connect(slow)
    alice = sandbox.user("alice")
    alice.follow()
    with pytest.raises(TimeoutError, match="1 push not delivered: subscribe"):
        await sandbox.settled(0.05)
    release.set()
    await sandbox.settled()
    assert "without an answer" in sandbox.deliveries()[-1].why


async def test_platform_hangs_up_and_the_application_goes_on():
    """After its five seconds the platform delivers again; the first call is not cancelled, and hears of the hang-up."""
    ended = 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ended
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        ended += 1

    with Sandbox(policy={"callback_seconds": 0.01}) as sandbox:
        sandbox.connect(slow)
        sandbox.user("alice").follow()
        await sandbox.settled()
        assert [attempt.number for attempt in sandbox.deliveries()] == [1, 2, 3]
        assert ended == 3


async def test_answer_counts_when_it_is_complete(sandbox):
    """What an application does after its answer (background work) delays nobody, but belongs to settled()."""
    done, seen = False, asyncio.Event()

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        nonlocal done
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"success"})
        await seen.wait()
        await asyncio.sleep(0.05)
        done = True

    sandbox.connect(busy)
    sandbox.user("alice").follow()
    await sandbox.wait_for(sandbox.deliveries)
    assert not done
    seen.set()
    await sandbox.settled()
    assert done


async def test_exception_of_the_application_is_status_500(sandbox, caplog):
    """An application that raises gives status 500, as on a server, and the traceback is in the log."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("order")

    sandbox.connect(broken)
    sandbox.user("alice").follow()
    await sandbox.settled()
    assert {attempt.status for attempt in sandbox.deliveries()} == {500}
    assert "HTTP status 500" in sandbox.explain()
    assert "KeyError: 'order'" in caplog.text


async def test_address_is_checked_when_asked(sandbox, app):
    """verify() sends the address check; an application that fails it is told why."""
    await sandbox.verify()
    assert app.paths == ["/"]

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    sandbox.connect(deaf)
    with pytest.raises(AddressCheckError, match="echostr"):
        await sandbox.verify()


async def test_verify_needs_something_connected(sandbox):
    """Nothing can be checked before it is connected."""
    with pytest.raises(WorldError, match="connect"):
        await sandbox.verify()


async def test_path_and_encryption_reach_the_application(sandbox):
    """The application is called at its path, in safe mode with the sandbox's own key unless told otherwise."""
    app = EchoApp()
    bodies: list[bytes] = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        app.paths.append(scope["path"])
        bodies.append((await receive())["body"])
        assert b"msg_signature" in scope["query_string"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"success"})

    sandbox.connect(keep, path="/wx/notify")
    sandbox.user("alice").follow()
    await sandbox.settled()
    assert app.paths == ["/wx/notify"]
    assert xml_fields(bodies[0]).keys() == {"ToUserName", "Encrypt"}
    assert sandbox.account.encoding_aes_key == sandbox.encoding_aes_key


async def test_two_accounts_have_two_applications(sandbox, app):
    """Each account pushes to its own application."""
    other = EchoApp()
    second = sandbox.world.add_account().appid
    sandbox.connect(other, mode="plain", appid=second)
    sandbox.user("alice").follow()
    bob = sandbox.user("bob", appid=second)
    bob.follow()
    await sandbox.settled()
    assert [len(app.seen), len(other.seen)] == [1, 1]
    assert other.seen[0]["FromUserName"] == bob.openid


async def test_disconnected_server_hears_nothing(sandbox, app):
    """After disconnect() what happens is kept by the platform."""
    sandbox.disconnect()
    sandbox.user("alice").follow()
    await sandbox.settled()
    assert app.seen == []
    assert "1 push sent nowhere" in sandbox.explain()


async def test_address_of_a_real_server_works_from_a_loop(sandbox):
    """A server at an address gets its pushes over HTTP, and the test's loop is not blocked."""
    developer = Developer()
    try:
        sandbox.connect(developer.url, mode="plain")
        await sandbox.verify()
        sandbox.user("alice").follow()
        await sandbox.settled()
        assert [hit.fields["Event"] for hit in developer.hits] == ["subscribe"]
    finally:
        developer.stop()


def test_address_of_a_real_server_needs_no_waiting(sandbox):
    """Pushes to an address go out at once, also in a test that does not wait for them."""
    developer = Developer()
    try:
        sandbox.connect(developer.url, mode="plain")
        sandbox.run(sandbox.verify())
        sandbox.user("alice").follow()
        assert developer.arrived.wait(5)
    finally:
        developer.stop()


async def test_server_of_the_world_leaves_the_pushes_alone(sandbox, app):
    """With the port open, pushes still go to the application and not to the port."""
    assert sandbox.url
    alice = sandbox.user("alice")
    for number in range(5):
        alice.follow()
        alice.say(str(number))
    await sandbox.settled()
    assert len(app.seen) == 10
    assert {attempt.verdict for attempt in sandbox.deliveries()} == {"silent", "shown"}


async def test_lifespan_starts_and_stops(sandbox, app):
    """lifespan() starts the application and stops it again."""
    async with sandbox.lifespan(app):
        assert app.started
        assert not app.stopped
    assert app.stopped


async def test_push_waits_when_its_loop_is_gone(sandbox, app):
    """A push whose loop closes at the very moment waits for the next one."""

    class Closing:
        def is_running(self) -> bool:
            return True

        def call_soon_threadsafe(self, *_: object) -> None:
            raise RuntimeError("Event loop is closed")

    thread = threading.Thread(target=lambda: (sandbox._carrier.lend(Closing()), sandbox.user("alice").follow()))
    thread.start()
    thread.join()
    await sandbox.settled()
    assert len(app.seen) == 1


def test_error_of_a_coroutine_is_the_errors_of_run(sandbox):
    """run() raises what the coroutine raised."""

    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        sandbox.run(fail())


async def test_closing_breaks_off_what_is_on_its_way():
    """Deliveries and calls that run when the sandbox closes are cancelled; they leave no task behind."""
    began = asyncio.Event()

    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        began.set()
        await asyncio.Event().wait()

    with Sandbox() as sandbox:
        sandbox.connect(stuck)
        sandbox.user("alice").follow()
        await began.wait()
    async with asyncio.timeout(20):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0)


def test_closing_breaks_off_what_the_thread_carries():
    """The same for a server that does not answer: closing does not wait for it."""
    before = set(threading.enumerate())
    developer = Developer()
    try:
        developer.answer = lambda hit: developer.release.wait(5) and b"success"
        with Sandbox() as sandbox:
            sandbox.connect(developer.url, mode="plain")
            sandbox.user("alice").follow()
            assert developer.arrived.wait(5)
        assert {thread for thread in threading.enumerate() if thread.name.startswith("wxmp")} <= before
    finally:
        developer.release.set()
        developer.stop()


async def test_lifespan_is_not_needed(sandbox):
    """An application that knows no lifespan runs without; one that cannot start says so."""

    async def simple(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    async with sandbox.lifespan(simple):
        pass

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(WorldError, match="no database"):
        async with sandbox.lifespan(failing):
            pass


async def test_application_that_cannot_stop_says_so(sandbox):
    """A failure of the shutdown is an error too."""

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "still busy"})

    with pytest.raises(WorldError, match="still busy"):
        async with sandbox.lifespan(stubborn):
            pass


# --- settings ---


def test_equal_seeds_make_equal_worlds():
    """The seed decides every id; a different one changes them."""
    with Sandbox(seed=3) as one, Sandbox(seed=3) as two, Sandbox(seed=4) as three:
        assert (one.appid, one.callback_token, one.encoding_aes_key) == (
            two.appid,
            two.callback_token,
            two.encoding_aes_key,
        )
        assert one.appid != three.appid
        assert one.user("alice").openid == two.user("alice").openid


def test_environment_is_what_a_program_reads(sandbox, monkeypatch):
    """setenv() sets what Client.from_env() reads, with any prefix."""
    sandbox.setenv(monkeypatch, prefix="SHOP_")
    assert os.environ["SHOP_APPID"] == sandbox.appid
    assert (os.environ["SHOP_TOKEN_STORE"], os.environ["SHOP_DEDUPE"]) == ("memory:", "memory:")
    assert os.environ["SHOP_ENDPOINT"] == sandbox.url == sandbox.env["WXMP_ENDPOINT"]


@pytest.mark.parametrize(
    ("clock", "speed"), [("real", 1.0), ("frozen", 0.0), (60, 60.0), (Clock.frozen(1_000_000.0), 0.0)]
)
def test_clock_has_several_forms(clock, speed):
    """The clock is named, a speed, or a clock."""
    with Sandbox(clock=clock) as sandbox:
        assert sandbox.clock.speed == speed
        before = sandbox.clock.now()
        sandbox.clock.advance(7200)
        assert sandbox.clock.now() >= before + 7200


@pytest.mark.parametrize("options", [{"clock": "fast"}, {"clock": -1}, {"policy": {"no_such_rule": 1}}])
def test_settings_that_cannot_work_are_refused(options):
    """A wrong setting is an error at once."""
    with pytest.raises(WorldError):
        Sandbox(**options)


def test_policy_is_whole_or_what_differs():
    """A policy is given as a whole or as the fields that differ."""
    with Sandbox(policy={"default_minute_quota": 1}) as some, Sandbox(policy=Policy(default_minute_quota=2)) as whole:
        assert some.world.policy.default_minute_quota == 1
        assert whole.world.policy.default_minute_quota == 2


def test_options_are_the_arguments():
    """The options of marker and fixture are the arguments of the class."""
    arguments = Sandbox.__init__.__annotations__.keys() - {"return"}
    assert arguments == SandboxOptions.__annotations__.keys()


def test_connect_takes_what_can_be_called(sandbox):
    """An object that is no application, and an address beyond this machine, are refused."""
    with pytest.raises(WorldError, match="ASGI"):
        sandbox.connect(object())
    with pytest.raises(CallbackError):
        sandbox.connect("http://example.com/wx")


async def test_run_is_for_tests_without_a_loop(sandbox):
    """Inside of a loop run() says what to do instead of blocking it."""
    with pytest.raises(RuntimeError, match="await"):
        sandbox.run(sandbox.settled())


def test_things_of_the_console(sandbox, app):
    """QR codes and templates come from the console, without a call of the program."""
    alice = sandbox.user("alice")
    alice.scan(sandbox.qr("spring"))
    alice.scan(sandbox.qr(7, seconds=60))
    sandbox.run(sandbox.settled())
    assert [push["EventKey"] for push in app.seen] == ["qrscene_spring", "7"]
    assert sandbox.template("订单", "{{name.DATA}}") in sandbox.account.templates
    assert sandbox.calls("/cgi-bin/qrcode/create") == 0
    with pytest.raises(WorldError, match="scene"):
        sandbox.qr("")


def test_merchant_belongs_to_the_account(sandbox):
    """A merchant is bound to the account; the same number is the same merchant, and no number is the first one."""
    first = sandbox.merchant()
    assert first.appids == [sandbox.appid]
    assert sandbox.merchant() is first
    other = sandbox.merchant("1900000109")
    assert sandbox.merchant("1900000109") is other is not first
    with pytest.raises(WorldError, match="8 to 10 digits"):
        sandbox.merchant("x")


async def test_payment_notices_reach_the_application_too(sandbox, app):
    """What WeChat Pay tells a merchant goes to the same application, at the path of the notify_url."""
    merchant = sandbox.merchant()
    url = "http://localhost/pay/notify"
    with sandbox.world.lock:
        queue(sandbox.world, merchant, "TRANSACTION.SUCCESS", "transaction", {}, url, sandbox.appid, "o1", "v3")
    await sandbox.wait_for(lambda: app.paths)
    assert app.paths == ["/pay/notify"]
    await sandbox.settled()
    assert "told your server at /pay/notify (delivery 1" in sandbox.explain()


SCENARIO = {
    "name": "a shop",
    "seed": 9,
    "users": [{"name": "alice"}],
    "templates": [{"title": "订单", "content": "{{name.DATA}}"}],
}


def test_scenario_begins_a_world(tmp_path):
    """A sandbox begins with a scenario, from a mapping or a file; its seed counts unless the test names one."""
    path = tmp_path / "shop.yaml"
    path.write_text(json.dumps(SCENARIO), encoding="utf-8")
    with Sandbox(scenario=SCENARIO) as one, Sandbox(scenario=path, followers=2, seed=5) as two:
        assert one.world.seed == 9
        assert two.world.seed == 5
        assert len(one.account.templates) == 1
        assert len(two.account.users) == 3


def test_scenario_joins_a_world(sandbox):
    """load_scenario() brings people into a world that is there, and tells what their names have become."""
    applied = sandbox.load_scenario(SCENARIO)
    assert applied.users["alice"] == sandbox.user("alice").openid


# --- the end ---


async def test_closing_leaves_nothing_behind():
    """After close() no thread is left, and closing again does nothing."""
    before = set(threading.enumerate())
    sandbox = Sandbox()
    developer = Developer()
    sandbox.connect(developer.url, mode="plain")
    assert sandbox.url
    sandbox.user("alice").follow()
    await sandbox.settled()
    developer.stop()
    sandbox.close()
    sandbox.close()
    assert {thread for thread in threading.enumerate() if thread.name.startswith("wxmp")} <= before


def test_endings_run_last_in_first_out(sandbox):
    """What was to be closed is closed at the end, the last thing first."""
    closed: list[int] = []

    def ending(number: int) -> Any:
        async def close() -> None:
            closed.append(number)

        return close

    sandbox.on_close(ending(1))
    sandbox.on_close(ending(2))
    sandbox.close()
    assert closed == [2, 1]


def test_making_one_loads_no_server():
    """A sandbox without port or client loads neither server nor HTTP library."""
    code = (
        "import sys; from wxmp.simulator.sandbox import Sandbox\n"
        "with Sandbox() as s: s.user('a').follow()\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'starlette', 'uvicorn', 'segno', 'httpx', 'redis', 'cryptography', 'yaml'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


# --- the explanation ---


async def test_explanation_says_who_what_and_why(sandbox, app):
    """A story names the call, its refusal and the reason, the fault, the pushes and the chat."""
    alice = sandbox.user("alice")
    alice.follow()
    alice.say("hello")
    await sandbox.settled()
    sandbox.faults.add("busy", path="/cgi-bin/user/*", times=1)
    client, secret = sandbox.http_client(), token(sandbox)
    await client.get("/cgi-bin/user/info", params={"access_token": secret, "openid": alice.openid})
    await client.get("/cgi-bin/user/info", params={"access_token": "wrong", "openid": alice.openid})
    story = sandbox.explain()
    assert "told your server about alice (delivery 1, plain mode): MsgType=text, Content=hello" in story
    assert "verdict: shown" in story
    assert "called GET /cgi-bin/user/info?access_token=***" in story
    assert "Refused with -1 (system error)" in story
    assert "took part; the platform did not act on it." in story
    assert "Refused with 40014" in story
    assert "struck 1 time, of 2 matching requests." in story
    assert "    the account (reply): hello" in story


async def test_explanation_is_bounded_and_holds_no_secret(sandbox, app):
    """However much happened, the story is short, and no credential is in it."""
    alice = sandbox.user("alice")
    alice.follow()
    secret = token(sandbox)
    for number in range(60):
        alice.say("long " * 300 + str(number))
        sandbox.faults.add("latency", path=f"/none/{number}")
        await sandbox.http_client().post(
            "/cgi-bin/tags/create", params={"access_token": secret}, content=b'{"tag":{"name":"' + b"x" * 9000 + b'"}}'
        )
    await sandbox.settled()
    story = sandbox.explain(20)
    assert len(story.splitlines()) < 120
    assert max(map(len, story.splitlines())) <= 400
    assert "The last 20 of 122 exchanges" in story
    for hidden in (secret, sandbox.secret, sandbox.callback_token, sandbox.encoding_aes_key):
        assert hidden not in story
        assert hidden not in repr(sandbox)


@pytest.mark.parametrize("form", ["xml", "json"])
async def test_explanation_reads_pushes_in_both_formats(sandbox, form):
    """Of a push the fields are told that matter, in either format; forged copies and checks are named as such."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"success"})

    sandbox.connect(app, mode="plain", format=form, path="/wx")
    with pytest.raises(AddressCheckError):
        await sandbox.verify()
    sandbox.faults.add("push_stale")
    sandbox.user("alice").follow()
    await sandbox.settled()
    story = sandbox.explain()
    assert "The platform checked the address /wx of your server." in story
    assert "about alice (a copy of another kind, plain mode): MsgType=event, Event=subscribe" in story
    assert "about alice (delivery 1, plain mode): MsgType=event, Event=subscribe" in story


def test_findings_are_told(sandbox):
    """What will hurt on the real platform is a finding, and part of the story."""
    alice = sandbox.user("alice")
    alice.follow()
    with httpx.Client(transport=sandbox.transport()) as client:
        body = f'{{"touser":"{alice.openid}","template_id":"{sandbox.template("a", "b")}","data":{{}}}}'
        url = f"{API}/cgi-bin/message/template/send"
        assert client.post(url, params={"access_token": token(sandbox)}, content=body).json()["errcode"] == 0
    codes = [finding["code"] for finding in sandbox.findings]
    assert codes
    assert all(f" {code}: " in sandbox.explain() for code in codes)


def test_nothing_happened_is_said_too(sandbox):
    """A world nobody has touched says so."""
    assert sandbox.explain().startswith("Nobody has asked")
