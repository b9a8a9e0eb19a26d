"""``wxmp sim`` as a real process: it starts, tells where it is, works, and stops on a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.simulator.developer import AES_KEY, Developer, sha1

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-W", "error", "-m", "wxmp", "sim"]


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def fetch(url: str, appid: str, secret: str) -> dict[str, object]:
    query = {"grant_type": "client_credential", "appid": appid, "secret": secret}
    return httpx.get(f"{url}/cgi-bin/token", params=query, trust_env=False).json()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=30, env=os.environ | environment, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_starts_works_and_stops_on_a_signal(number):
    """One JSON line says where it is; Ctrl-C and SIGTERM end it cleanly and silently."""
    with running("--json", "--followers", "2") as process:
        told = json.loads(process.stdout.readline())
        assert "access_token" in fetch(told["url"], told["appid"], told["secret"])
        assert len(told["openids"]) == 2
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""
        assert process.stdout.read() == ""


def test_prints_lines_for_the_environment():
    """The text output holds the three variables a client reads."""
    with running("--appid", "wx1234567890abcdef") as process:
        lines = [process.stdout.readline().strip() for _ in range(5)]
        told = dict(line.split("=", 1) for line in lines if line.startswith("WXMP_"))
        assert told["WXMP_APPID"] == "wx1234567890abcdef"
        assert "access_token" in fetch(told["WXMP_ENDPOINT"], told["WXMP_APPID"], told["WXMP_SECRET"])


def test_secret_comes_from_the_environment_and_is_not_repeated():
    """A secret of one's own is named by its variable: it is in no argument and in no output."""
    with running("--json", "--secret-from-env", "MY_SECRET", MY_SECRET="only-for-this-test") as process:
        told = json.loads(process.stdout.readline())
        assert told["secret"] is None
        assert "access_token" in fetch(told["url"], told["appid"], "only-for-this-test")
    with running("--secret-from-env", "MY_SECRET", MY_SECRET="only-for-this-test") as process:
        text = "".join(process.stdout.readline() for _ in range(6))
        assert "WXMP_SECRET=$MY_SECRET" in text
        assert "only-for-this-test" not in text


def test_missing_secret_variable():
    """A variable that is not set is one clear sentence."""
    done = run("--secret-from-env", "WXMP_NO_SUCH_VARIABLE")
    assert (done.returncode, done.stderr) == (2, "The environment variable WXMP_NO_SUCH_VARIABLE is not set.\n")


@pytest.fixture
def developer() -> Iterator[Developer]:
    server = Developer()
    yield server
    server.stop()


def act(told, path, **body):
    return httpx.post(f"{told['url']}/_sim{path}", json=body, trust_env=False).json()


def test_pushes_to_a_server_that_starts_later(developer):
    """The address is asked until it passes; then a made-up Token and key, which are told, sign what is pushed."""
    refusals = iter([b"no", (503, b"")])
    developer.echo = lambda hit: next(refusals, None) or hit.query["echostr"].encode()
    with running("--json", "--callback", developer.url) as process:
        told = json.loads(process.stdout.readline())
        callback = told["callback"]
        assert (callback["mode"], callback["format"]) == ("safe", "xml")
        assert json.loads(process.stdout.readline()) == {"callback": developer.url}
        assert len(developer.checks) == 3
        act(told, f"/users/{told['openids'][0]}/say", text="你好")
        httpx.get(f"{told['url']}/_sim/deliveries?wait=10", trust_env=False)
        (hit,) = developer.hits
        assert hit.opened(callback["encoding_aes_key"])["Content"] == "你好"
        query = hit.query
        assert query["signature"] == sha1(callback["token"], query["timestamp"], query["nonce"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""


def test_token_and_key_from_the_environment_are_not_repeated(developer):
    """The two variables are taken when set, named in the output, and never shown."""
    own = {"WXMP_CALLBACK_TOKEN": "onlyForThisTest", "MY_KEY": AES_KEY}
    arguments = ("--callback", developer.url, "--encoding-aes-key-from-env", "MY_KEY", "--mode", "compatible")
    with running(*arguments, **own) as process:
        text = ""
        while not text.endswith("(compatible mode).\n"):
            text += process.stdout.readline()
        assert "WXMP_CALLBACK_TOKEN=$WXMP_CALLBACK_TOKEN\nWXMP_ENCODING_AES_KEY=$MY_KEY\n" in text
        assert "onlyForThisTest" not in text
        assert AES_KEY not in text
        query = developer.checks[0].query
        assert query["signature"] == sha1("onlyForThisTest", query["timestamp"], query["nonce"])


def test_plain_json_mode_needs_no_key(developer):
    """Plain mode makes no key up."""
    with running("--json", "--callback", developer.url, "--mode", "plain", "--format", "json") as process:
        callback = json.loads(process.stdout.readline())["callback"]
        assert callback["encoding_aes_key"] is None
        assert (callback["mode"], callback["format"]) == ("plain", "json")


def test_address_that_never_passes(developer):
    """After its seconds the command ends with the reason, and without the secrets."""
    developer.echo = lambda hit: b"no"
    done = run("--json", "--callback", developer.url, "--callback-wait", "0.5")
    assert done.returncode == 1
    assert done.stderr == "the address check of the callback URL failed: the body is not the echostr\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--callback", "nonsense"], "The simulator cannot start: the URL must be a plain http or https address"),
        (["--callback", "http://[::1"], "The simulator cannot start: the URL cannot be read"),
        (["--callback", "http://127.0.0.1:1/", "--callback-token-from-env", "WXMP_NONE"], "WXMP_NONE is not set"),
    ],
)
def test_impossible_addresses(arguments, part):
    """What cannot work is one sentence at once, without waiting."""
    done = run("--json", *arguments)
    assert done.returncode in {1, 2}
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_speed():
    """At speed 1000 a token's life passes in seconds."""
    with running("--json", "--speed", "1000") as process:
        told = json.loads(process.stdout.readline())
        assert httpx.get(f"{told['url']}/_sim/state", trust_env=False).json()["speed"] == 1000


@pytest.mark.parametrize(
    ("arguments", "part"), [(["--host", "0.0.0.0"], "loopback"), (["--speed=-1"], "speed must not be negative")]
)
def test_impossible_arguments(arguments, part):
    """What cannot work ends with one sentence and code 1, without a traceback."""
    done = run(*arguments)
    assert done.returncode == 1
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_taken_port():
    """A taken port is one sentence."""
    with running("--json") as process:
        port = json.loads(process.stdout.readline())["url"].rpartition(":")[2]
        done = run("--port", port)
        assert done.returncode == 1
        assert done.stderr.startswith("The simulator cannot start: ")


@pytest.mark.parametrize("package", ["cyclopts", "starlette", "uvicorn"])
def test_missing_extra_is_one_clear_sentence(package, tmp_path):
    """Without the extras the command names what to install."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{package!r}] = None\n")
    done = run("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == 'This command needs more packages: pip install "wxmp-sdk[cli,simulator]"\n'


def test_other_missing_modules_are_not_hidden(tmp_path):
    """A missing module that is no extra keeps its traceback: it is a bug."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['wxmp.simulator.world'] = None\n")
    done = run("--json", PYTHONPATH=str(tmp_path))
    assert "ModuleNotFoundError" in done.stderr
