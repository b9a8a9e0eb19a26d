"""``wxmp sim exec``: a command with a simulated platform of its own, as if it were run alone."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.redis_server import held_port

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-W", "error", "-m", "wxmp", "sim", "exec"]
FETCH = """
import json, os, urllib.request
url = os.environ["WXMP_ENDPOINT"] + "/cgi-bin/token?grant_type=client_credential&appid="
url += os.environ["WXMP_APPID"] + "&secret=" + os.environ["WXMP_SECRET"]
print(json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)))
"""
# Tells when it is ready, and each signal it gets; ends with 7 after the first SIGTERM.
WATCH = """
import signal, sys, time
def on(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, on)
print("ready", flush=True)
while True:
    time.sleep(0.1)  # not longer: a signal that comes just before it is only seen after it
"""


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | environment,
        check=False,
    )


@contextmanager
def watching(*options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *options, "--", sys.executable, "-c", WATCH],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def test_command_finds_the_platform():
    """The three variables are set, work, and nothing else is printed."""
    done = run("--", sys.executable, "-c", FETCH)
    assert done.returncode == 0
    assert "'access_token'" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_standard_streams_are_the_commands_own():
    """What goes in and out passes untouched."""
    done = run("--", "sh", "-c", "cat; echo err >&2", stdin="line\nno end")
    assert (done.stdout, done.stderr, done.returncode) == ("line\nno end", "err\n", 0)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_exit_code_is_the_commands(script, code):
    """The command's exit code is passed on; a death by signal becomes 128 and the number, as shells do."""
    assert run("--", "sh", "-c", script).returncode == code


def test_arguments_pass_unread():
    """After the two dashes everything is the command's, even what looks like an option."""
    done = run("--seed", "3", "--", "echo", "--seed", "5", "--help", "-x", "--")
    assert done.stdout == "--seed 5 --help -x --\n"


def test_command_that_is_not_there():
    """A missing command is 127 and a sentence, one that cannot be run 126."""
    done = run("--", "wxmp-no-such-command", "x")
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == "The command wxmp-no-such-command was not found.\n"
    done = run("--", "/")
    assert done.returncode == 126
    assert done.stderr == "The command / cannot be run: Permission denied.\n"


def test_no_command():
    """Without a command the usage is told."""
    done = run("--seed", "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "There is no command to run: wxmp sim exec [OPTIONS] -- COMMAND [ARGUMENTS]\n"


@pytest.mark.parametrize("wrong", [("--policy", "nonsense=1"), ("--callback", "ftp://127.0.0.1/")])
def test_simulator_that_cannot_start_runs_nothing(wrong, tmp_path):
    """When the options cannot work, the command is not run."""
    made = tmp_path / "made"
    done = run(*wrong, "--", "touch", str(made))
    assert done.returncode == 2
    assert done.stderr.startswith("The simulator cannot start: ")
    assert not made.exists()


def test_signals_reach_the_command():
    """Signals to the simulator are the command's: it decides what they mean, and its exit code counts."""
    # Under nohup the whole test run ignores SIGHUP, and what is ignored stays so.
    numbers = (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    with watching() as process:
        for number in [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]:
            process.send_signal(number)
            assert process.stdout.readline() == f"{signal.Signals(number).name}\n"
        assert process.wait(timeout=60) == 7
        assert process.stderr.read() == ""


def test_ctrl_c_in_a_terminal_arrives_once():
    """Ctrl-C reaches the whole foreground group; the command hears of it once, and the simulator goes on for it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*COMMAND, "--", sys.executable, "-c", WATCH])
    try:
        text = read_until(terminal, "ready")
        os.write(terminal, b"\x03")
        text += read_until(terminal, "SIGINT")
        os.kill(pid, signal.SIGTERM)
        text += read_until(terminal, "SIGTERM")
        _pid, status = os.waitpid(pid, 0)
        pid = 0
        assert os.waitstatus_to_exitcode(status) == 7
        assert text.count("SIGINT") == 1
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)


def read_until(terminal: int, wanted: str) -> str:
    """Read from a terminal until a word has come, for at most a minute."""
    text, deadline = "", time.monotonic() + 60
    while wanted not in text and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                text += os.read(terminal, 4096).decode()
            except OSError:
                break
    assert wanted in text, text
    return text


def test_simulator_is_gone_afterwards():
    """The platform lives exactly as long as the command."""
    url = run("--", "sh", "-c", "echo $WXMP_ENDPOINT").stdout.strip()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_scenario_and_state(tmp_path):
    """A scenario makes the world of the command, and its state is kept for the next one."""
    scenario, state = tmp_path / "s.yaml", tmp_path / "w.json"
    scenario.write_text("accounts: [{appid: wx1234567890abcdef, secret: '${S}'}]\nclock: {frozen: true}\n")
    options = ("--scenario", str(scenario), "--state", str(state))
    show = (sys.executable, "-c", "import os; print(os.environ['WXMP_APPID'], os.environ['WXMP_SECRET'])")
    assert run(*options, "--", *show, S="for-this-test").stdout == "wx1234567890abcdef for-this-test\n"
    first = json.loads(state.read_text())
    done = run(*options, "--", sys.executable, "-c", FETCH, S="for-this-test")
    assert "'access_token'" in done.stdout
    second = json.loads(state.read_text())
    assert second["now"] == first["now"]
    tokens = [document["state"]["accounts"]["wx1234567890abcdef"]["token_serial"] for document in (first, second)]
    assert tokens == [0, 1]


SERVER = """
import hashlib, http.server, os, sys, threading, urllib.parse, urllib.request
token, key = os.environ["WXMP_CALLBACK_TOKEN"], os.environ["WXMP_ENCODING_AES_KEY"]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        signed = hashlib.sha1("".join(sorted((token, query["timestamp"], query["nonce"]))).encode()).hexdigest()
        self.send_response(200 if signed == query["signature"] else 403)
        self.end_headers()
        self.wfile.write(query["echostr"].encode())
        print("asked", signed == query["signature"], len(key), flush=True)
        threading.Thread(target=server.shutdown).start()
    def log_message(self, *_):
        pass
with http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    server.serve_forever()
"""


@pytest.mark.parametrize("own", [{}, {"WXMP_CALLBACK_TOKEN": "ownToken1", "WXMP_ENCODING_AES_KEY": "k" * 43}])
def test_command_may_be_the_server_that_is_pushed_to(own, unused_port):
    """The address check waits for the command, which knows Token and key from its environment."""
    callback = f"http://127.0.0.1:{unused_port}/wx"
    done = run("--callback", callback, "--", sys.executable, "-c", SERVER, str(unused_port), **own)
    assert (done.stdout, done.stderr, done.returncode) == ("asked True 43\n", "", 0)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens on, kept for the server of a command."""
    with held_port() as holder:
        port = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()
        yield port


MERCHANT = """
import json, os, stat, sys
found = {name: value for name, value in os.environ.items() if name.startswith("WXMP_PAY_")}
files = [value for name, value in found.items() if name.endswith("_FILE")]
found["modes"] = [stat.S_IMODE(os.stat(path).st_mode) for path in files]
found["folder"] = stat.S_IMODE(os.stat(os.path.dirname(files[0])).st_mode)
found["heads"] = [open(path).readline().strip() for path in files]
print(json.dumps(found))
sys.exit(5)
"""


def test_pay_makes_a_merchant():
    """With --pay the command finds a merchant: numbers in variables, keys in files that are gone after it."""
    done = run("--pay", "--", sys.executable, "-c", MERCHANT)
    assert (done.returncode, done.stderr) == (5, "")
    found = json.loads(done.stdout)
    assert found["WXMP_PAY_MCHID"].isdecimal()
    assert len(found["WXMP_PAY_API_V3_KEY"]) == 32
    assert len(found["WXMP_PAY_SERIAL"]) == 40
    assert found["WXMP_PAY_PUBLIC_KEY_ID"].startswith("PUB_KEY_ID_")
    assert (found["modes"], found["folder"]) == ([0o600, 0o600], 0o700)
    assert sorted(found["heads"]) == ["-----BEGIN PRIVATE KEY-----", "-----BEGIN PUBLIC KEY-----"]
    for name in ("WXMP_PAY_PRIVATE_KEY_FILE", "WXMP_PAY_PUBLIC_KEY_FILE"):
        assert not os.path.exists(found[name])
        assert not os.path.exists(os.path.dirname(found[name]))


FIRST_ORDER = """
import asyncio
from wxmp.pay import PayClient

async def main():
    async with PayClient.from_env() as pay:
        order = await pay.order.native("tea-0001", description="tea", total_fen=100)
        print(order.code_url[:9], (await pay.order.get(out_trade_no="tea-0001")).trade_state)

asyncio.run(main())
"""


def test_pay_is_all_that_from_env_needs():
    """``PayClient.from_env()`` works in the command with no further setting."""
    done = run("--pay", "--", sys.executable, "-c", FIRST_ORDER)
    assert (done.returncode, done.stdout, done.stderr) == (0, "weixin:// NOTPAY\n", "")


def test_without_pay_there_is_no_merchant():
    """Keys cost time: nothing is made that nobody asked for."""
    code = "import os; print([name for name in os.environ if name.startswith('WXMP_PAY_')])"
    assert run("--", sys.executable, "-c", code).stdout == "[]\n"
