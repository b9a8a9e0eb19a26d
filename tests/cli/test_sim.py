"""``wxmp sim`` as a real process: it starts, tells where it is, works, and stops on a signal."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
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
        process.communicate(timeout=60)


def fetch(url: str, appid: str, secret: str) -> dict[str, object]:
    query = {"grant_type": "client_credential", "appid": appid, "secret": secret}
    return httpx.get(f"{url}/cgi-bin/token", params=query, trust_env=False).json()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=100, env=os.environ | environment, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_starts_works_and_stops_on_a_signal(number):
    """One JSON line says where it is; Ctrl-C and SIGTERM end it cleanly and silently."""
    with running("--json", "--followers", "2") as process:
        told = json.loads(process.stdout.readline())
        assert "access_token" in fetch(told["url"], told["appid"], told["secret"])
        assert len(told["openids"]) == 2
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
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
        assert process.wait(timeout=60) == 0
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
    assert done.returncode == 2
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
    """What cannot work ends with one sentence and code 2, without a traceback."""
    done = run(*arguments)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_taken_port():
    """A taken port is one sentence."""
    with running("--json") as process:
        port = json.loads(process.stdout.readline())["url"].rpartition(":")[2]
        done = run("--port", port)
        assert done.returncode == 1
        wanted = f"The simulator cannot start: port {port} of 127.0.0.1 is taken, perhaps by another one; see --port\n"
        assert done.stderr == wanted


def state_of(told) -> dict[str, object]:
    return httpx.get(f"{told['url']}/_sim/state", trust_env=False).json()


def finish(process) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""


def test_names_its_page():
    """Both forms of the output say where the page is."""
    with running("--json") as process:
        told = json.loads(process.stdout.readline())
        assert told["page"] == f"{told['url']}/_sim/"
    with running() as process:
        lines = [process.stdout.readline() for _ in range(9)]
        url = lines[2].partition("=")[2].strip()
        assert any(line.endswith(f"{url}/_sim/\n") for line in lines)


def test_opens_the_page_on_demand(tmp_path):
    """With --open, and only then, the browser is asked for the page."""
    seen, browser = tmp_path / "seen", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    with running("--json", "--open", BROWSER=f"{browser} %s") as process:
        told = json.loads(process.stdout.readline())
        deadline = time.monotonic() + 60
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert seen.read_text() == f"{told['page']}\n"
        finish(process)
    seen.unlink()
    with running("--json", BROWSER=f"{browser} %s") as process:
        process.stdout.readline()
        finish(process)
    assert not seen.exists()


def test_frozen_seed_and_policy():
    """The clock stands, the seed makes the ids, and single rules are changed by name."""
    arguments = ("--frozen", "--seed", "5", "--policy", "token_life=60", "--policy", "callback_order=none")
    told = []
    for _ in range(2):
        with running("--json", *arguments) as process:
            told.append(json.loads(process.stdout.readline()))
            query = {"grant_type": "client_credential", "appid": told[-1]["appid"], "secret": told[-1]["secret"]}
            answer = httpx.get(f"{told[-1]['url']}/cgi-bin/token", params=query, trust_env=False).json()
            assert answer["expires_in"] == 60
            assert state_of(told[-1])["speed"] == 0
    assert told[0]["openids"] == told[1]["openids"]
    assert told[0]["appid"] == told[1]["appid"]


SCENARIO = """
name: small
seed: 4
clock: {frozen: true}
accounts: [{name: shop, appid: wx1234567890abcdef, secret: "${SHOP_SECRET}"}]
users: [{name: alice}]
steps: [{at: 10s, user: alice, do: say, text: hello}]
"""


def test_scenario(tmp_path):
    """A scenario makes the world; its secret comes from the environment and is not repeated; its steps are to come."""
    path = tmp_path / "small.yaml"
    path.write_text(SCENARIO)
    with running("--json", "--scenario", str(path), SHOP_SECRET="only-for-this-test") as process:
        told = json.loads(process.stdout.readline())
        assert (told["scenario"], told["appid"], told["secret"]) == ("small", "wx1234567890abcdef", None)
        assert len(told["openids"]) == 1
        assert "access_token" in fetch(told["url"], told["appid"], "only-for-this-test")
        act(told, "/clock", advance=11)
        query = f"openid={told['openids'][0]}"
        (line,) = httpx.get(f"{told['url']}/_sim/chat?{query}", trust_env=False).json()["chat"]
        assert line["content"] == "hello"
        finish(process)
    with running("--scenario", str(path), "--seed", "9", SHOP_SECRET="only-for-this-test") as process:
        text = "".join(process.stdout.readline() for _ in range(10))
        assert "WXMP_SECRET=$SHOP_SECRET\n" in text
        assert "Scenario: small (1 steps to come)\n" in text
        assert "only-for-this-test" not in text


def test_state_goes_on_after_a_stop(tmp_path):
    """What was there when the simulator stopped is there again: people, tokens, the clock of a scenario, its steps."""
    scenario, state = tmp_path / "small.yaml", tmp_path / "world.json"
    scenario.write_text(SCENARIO.replace("${SHOP_SECRET}", "false-secret"))
    arguments = ("--json", "--scenario", str(scenario), "--state", str(state))
    with running(*arguments) as process:
        told = json.loads(process.stdout.readline())
        assert told["continued"] is False
        token = fetch(told["url"], told["appid"], told["secret"])["access_token"]
        now = act(told, "/clock", advance=5)["now"]
        finish(process)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml", "world.json"]
    with running(*arguments) as process:
        told = json.loads(process.stdout.readline())
        assert told["continued"] is True
        assert state_of(told)["now"] == now
        query = {"access_token": token}
        assert "ip_list" in httpx.get(f"{told['url']}/cgi-bin/getcallbackip", params=query, trust_env=False).json()
        act(told, "/clock", advance=5)
        chat = httpx.get(f"{told['url']}/_sim/chat?openid={told['openids'][0]}", trust_env=False).json()["chat"]
        assert [line["content"] for line in chat] == ["hello"]
        finish(process)
    assert json.loads(state.read_text())["now"] == now + 5


def test_real_clock_has_gone_on_meanwhile(tmp_path):
    """With the real clock the time between two runs has passed in the world too."""
    state = tmp_path / "world.json"
    with running("--json", "--state", str(state)) as process:
        process.stdout.readline()
        finish(process)
    document = json.loads(state.read_text())
    document["now"] -= 86_400
    state.write_text(json.dumps(document))
    with running("--json", "--state", str(state)) as process:
        told = json.loads(process.stdout.readline())
        assert abs(state_of(told)["now"] - time.time()) < 60


def test_rules_are_kept_in_the_state(tmp_path):
    """The rules of one run are those of the next, without naming them again; an option still changes them."""
    state = tmp_path / "world.json"
    for options, life in ((["--policy", "token_life=77"], 77), ([], 77), (["--policy", "token_life=88"], 88), ([], 88)):
        with running("--json", "--frozen", "--state", str(state), *options) as process:
            told = json.loads(process.stdout.readline())
            token = fetch(told["url"], told["appid"], told["secret"])
            act(told, "/clock", advance=life)
            finish(process)
        assert token["expires_in"] == life
        assert json.loads(state.read_text())["policy"] == {"token_life": life}
    document = json.loads(state.read_text())
    del document["policy"]  # as it was written before rules were kept
    state.write_text(json.dumps(document))
    with running("--json", "--frozen", "--state", str(state)) as process:
        told = json.loads(process.stdout.readline())
        assert fetch(told["url"], told["appid"], told["secret"])["expires_in"] == 7200
        finish(process)


def test_state_that_cannot_be_written_is_told(tmp_path):
    """A state that cannot be kept is not lost silently, and no half file stays."""
    folder = tmp_path / "gone"
    folder.mkdir()
    with running("--json", "--state", str(folder / "world.json")) as process:
        process.stdout.readline()
        folder.rmdir()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 1
        assert process.stderr.read().startswith("The state cannot be written: ")


STATES = ("other", "old", "rules")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--policy", "token_lif=3"], "the policy has no 'token_lif'; did you mean 'token_life'?"),
        (["--policy", "token_life"], "--policy token_life: write NAME=VALUE"),
        (["--policy", "token_life=soon"], "token_life: must be a whole number, not 'soon'"),
        (["--frozen", "--speed", "2"], "a frozen clock has no speed"),
        (["--scenario", "no-such-file.yaml"], "No such file"),
        (["--scenario", "{broken}"], "broken.yaml line 2, users[0].nam: unknown key 'nam'; did you mean 'name'?"),
        (["--scenario", "{accounts}", "--appid", "wx1"], "the scenario names its accounts; leave --appid"),
        (["--scenario", "{binary}"], "binary.yaml is no text in UTF-8"),
        (["--state", "{broken}"], "broken.yaml holds no state of a simulator"),
        (["--state", "{other}"], "other.json: not a snapshot of version"),
        (["--state", "{old}"], "old.json: not a snapshot of version 1: it has version 0; choose another --state file"),
        (["--state", "{rules}"], "rules.json: its policy cannot be read"),
        (["--state", "no-such-folder/x.json"], "there is no folder no-such-folder"),
        (["--state", "{dir}"], "Is a directory"),
    ],
)
def test_mistakes_are_one_sentence(arguments, part, tmp_path):
    """Files and values that cannot be used are told in one line, and nothing starts."""
    (tmp_path / "broken.yaml").write_text("users:\n  - {nam: a}\n")
    (tmp_path / "accounts.yaml").write_text("accounts: [{name: a}]\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "old.json").write_text('{"version": 0}')
    (tmp_path / "rules.json").write_text('{"version": 1, "policy": {"token_life": "soon"}}')
    names = {"{dir}": str(tmp_path)} | {f"{{{name}}}": str(tmp_path / f"{name}.json") for name in STATES}
    names |= {f"{{{name}}}": str(tmp_path / f"{name}.yaml") for name in ("broken", "accounts", "binary")}
    done = run(*(names.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith("The simulator cannot start: ")
    assert part in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_beyond_this_machine_is_warned_of():
    """Listening on all addresses works on demand only, and says what it means."""
    with running("--json", "--host", "0.0.0.0", "--allow-remote") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert "anybody who reaches it controls it" in process.stderr.read()


def test_no_secret_in_the_process_list(tmp_path):
    """No option takes a secret: the words that hold one are names of variables and files."""
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=100, check=True).stdout
    options = set(re.findall(r"--[a-z-]+", shown))
    assert {name for name in options if any(word in name for word in ("secret", "token", "key"))} == {
        "--secret-from-env",
        "--callback-token-from-env",
        "--encoding-aes-key-from-env",
    }


@pytest.mark.parametrize("package", ["cyclopts", "starlette", "uvicorn"])
def test_missing_extra_is_one_clear_sentence(package, tmp_path):
    """Without the extras the command names what to install."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{package!r}] = None\n")
    done = run("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == 'This command needs more packages: pip install "wxmp-sdk[cli,simulator]"\n'


def test_missing_yaml_is_one_clear_sentence(tmp_path):
    """Only a scenario needs the package that reads YAML, and says so."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['yaml'] = None\n")
    (tmp_path / "a.yaml").write_text("seed: 1\n")
    done = run("--scenario", str(tmp_path / "a.yaml"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == 'This command needs more packages: pip install "wxmp-sdk[cli,simulator]"\n'


def test_other_missing_modules_are_not_hidden(tmp_path):
    """A missing module that is no extra keeps its traceback: it is a bug."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['wxmp.simulator.world'] = None\n")
    done = run("--json", PYTHONPATH=str(tmp_path))
    assert "ModuleNotFoundError" in done.stderr
