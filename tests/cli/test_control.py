"""``wxmp control`` as real processes: settings, keys, a server under uvicorn, and its end."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wxmp.cli._control_config import key_entry, read_config
from wxmp.cli.control import add_entry
from wxmp.control import ControlKey
from wxmp.errors import ConfigError
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-W", "error", "-m", "wxmp", "control"]
APPID = "wx0123456789abcdef"
SECRET = "only-for-this-test-0123456789abcd"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(appid=APPID, secret=SECRET, seed=1) as running:
        yield running


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=100, env=os.environ | environment, check=False
    )


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server, and its address."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--json", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=60)[1]
        yield process, json.loads(line)["url"]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    process.send_signal(number)
    output, log = process.communicate(timeout=60)
    return process.returncode, output, log


@attrs.define
class Setup:
    """A folder with settings, and the keys that go with them."""

    folder: Path
    config: Path
    secret: Path
    key: ControlKey
    text: str

    def write(self, *, account: str = "", server: str = "", keys: str | None = None, before: str = "") -> None:
        entry = key_entry(self.key) if keys is None else keys
        self.config.write_text(f"{before}\n[server]\n{server}\n[[accounts]]\n{account}\n{entry}", encoding="utf-8")

    def get(self, url: str, path: str = f"/v1/accounts/{APPID}/access_token", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.text}"}
        return httpx.get(f"{url}{path}", headers=headers, trust_env=False, **options)


@pytest.fixture
def setup(tmp_path: Path, simulator: Simulator) -> Setup:
    config, secret = tmp_path / "control.toml", tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    key, text = ControlKey.create("shop", appids={APPID}, may_see_status=True)
    made = Setup(tmp_path, config, secret, key, text)
    made.write(account=account(simulator))
    return made


def account(simulator: Simulator | None = None, **changes: str | None) -> str:
    """The lines of one account."""
    fields: dict[str, str | None] = {"appid": APPID, "secret_file": "secret", "store": "file:tokens"}
    if simulator is not None:
        fields["endpoint"] = simulator.url
    return "\n".join(f'{name} = "{value}"' for name, value in (fields | changes).items() if value is not None)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    import ipaddress

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    certfile.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    keyfile.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    keyfile.chmod(0o600)
    return certfile, keyfile


# ---- serve


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_and_ends_on_a_signal(setup: Setup, simulator: Simulator, number: int) -> None:
    """One line says where it is; it hands out what the platform gave; a signal ends it with code 0."""
    with serving("--config", str(setup.config)) as (process, url):
        found = setup.get(url).json()
        assert found["appid"] == APPID
        ping = f"{simulator.url}/cgi-bin/get_api_domain_ip"
        answer = httpx.get(ping, params={"access_token": found["access_token"]}, trust_env=False)
        assert "ip_list" in answer.json()
        assert setup.get(url, "/").status_code == 200
        code, output, log = end(process, number)
    assert (code, output) == (0, "")
    assert "Traceback" not in log
    assert "Warning" not in log
    assert simulator.token_requests == 1


def test_neither_the_processes_nor_the_log_show_a_secret(setup: Setup, simulator: Simulator) -> None:
    """AppSecret, key and token are in no command line and in nothing that is printed; the audit line is there."""
    setup.write(account=account(simulator, secret_file=None, secret_env="SHOP_SECRET"), server='audit = "audit.jsonl"')
    with serving("--config", str(setup.config), SHOP_SECRET=SECRET) as (process, url):
        token = setup.get(url).json()["access_token"]
        ps = ["ps", "-ww", "-o", "args=", "-p", str(process.pid)]
        shown = subprocess.run(ps, capture_output=True, text=True, timeout=60, check=True)
        assert "wxmp control serve" in shown.stdout
        code, output, log = end(process)
    assert code == 0
    assert f"event=hand_out key=shop key_id={setup.key.id} appid={APPID}" in log
    audit = (setup.folder / "audit.jsonl").read_text()
    assert json.loads(audit.splitlines()[-1])["event"] == "hand_out"
    for secret in (SECRET, setup.text, setup.text[-20:], token):
        assert secret not in shown.stdout + output + log + audit
    assert setup.text not in setup.config.read_text()


def test_a_restart_keeps_the_token(setup: Setup, simulator: Simulator) -> None:
    """With a store on the disk the second server hands out what the first has fetched."""
    tokens = []
    for _ in range(2):
        with serving("--config", str(setup.config)) as (process, url):
            tokens.append(setup.get(url).json()["access_token"])
            assert end(process)[0] == 0
    assert tokens[0] == tokens[1]
    assert simulator.token_requests == 1


def test_it_ends_also_while_a_request_waits(setup: Setup, simulator: Simulator) -> None:
    """A request that waits for a slow platform does not keep the server for long, and its end is still a clean one."""
    simulator.fault("latency", "/cgi-bin/stable_token", seconds=30.0)
    with serving("--config", str(setup.config)) as (process, url):
        got: list[object] = []
        sent = threading.Event()

        def ask() -> None:
            def trace(name: str, _: object) -> None:
                if name == "http11.receive_response_headers.started":
                    sent.set()

            path, headers = f"{url}/v1/accounts/{APPID}/access_token", {"Authorization": f"Bearer {setup.text}"}
            try:
                with httpx.Client(trust_env=False, timeout=60) as http:
                    got.append(http.get(path, headers=headers, extensions={"trace": trace}).status_code)
            except httpx.TransportError as error:
                got.append(error)

        waiting = threading.Thread(target=ask, daemon=True)
        waiting.start()
        assert sent.wait(30)
        for _ in range(2):  # who came first is heard first
            assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
        assert not got
        began = time.monotonic()
        code, _, log = end(process)
        assert time.monotonic() - began < 20
        waiting.join(30)
    assert code == 0
    assert got == [503]
    assert "Traceback" not in log


def test_tls(setup: Setup) -> None:
    """With certificate and key it speaks TLS, and nothing else."""
    certfile, keyfile = certificate(setup.folder)
    arguments = ("--config", str(setup.config), "--certfile", str(certfile), "--keyfile", str(keyfile))
    with serving(*arguments) as (process, url):
        assert url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certfile))
        assert setup.get(url, verify=context).status_code == 200
        with pytest.raises(httpx.TransportError):
            setup.get(url.replace("https", "http"))
        assert end(process)[0] == 0


def test_keys_are_read_again_on_sighup(setup: Setup, simulator: Simulator) -> None:
    """A key is withdrawn and another added without a restart; a file with a mistake changes nothing."""
    other, text = ControlKey.create("other", appids={APPID})
    with serving("--config", str(setup.config)) as (process, url):
        assert setup.get(url).status_code == 200
        setup.write(account=account(simulator), keys=key_entry(other))
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 40
        while setup.get(url).status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert setup.get(url).status_code == 401
        headers = {"Authorization": f"Bearer {text}"}
        path = f"{url}/v1/accounts/{APPID}/access_token"
        assert httpx.get(path, headers=headers, trust_env=False).status_code == 200
        setup.config.write_text("this is no TOML")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert httpx.get(path, headers=headers, trust_env=False).status_code == 200
        code, _, log = end(process)
    assert code == 0
    assert "the keys were read again: 1" in log
    assert "the keys are as before: config: " in log


def test_a_new_secret_counts_at_once(setup: Setup, simulator: Simulator) -> None:
    """The file of the AppSecret is read before each token request: a wrong one can be corrected without a restart."""
    setup.secret.write_text("not-the-secret-0123456789abcdefgh")
    with serving("--config", str(setup.config)) as (process, url):
        answer = setup.get(url)
        assert (answer.status_code, answer.json()["errcode"]) == (503, 40125)
        setup.secret.write_text(SECRET)
        deadline = time.monotonic() + 60
        while setup.get(url).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert setup.get(url).status_code == 200
        assert end(process)[0] == 0


def test_a_proxy_of_this_machine_is_believed(setup: Setup) -> None:
    """A proxy on loopback that speaks TLS says so; one that forwards plain http from elsewhere is refused."""
    with serving("--config", str(setup.config)) as (process, url):
        path, headers = f"{url}/v1/accounts/{APPID}/access_token", {"Authorization": f"Bearer {setup.text}"}
        behind = {**headers, "X-Forwarded-For": "10.1.2.3"}
        assert httpx.get(path, headers={**behind, "X-Forwarded-Proto": "https"}, trust_env=False).status_code == 200
        plain = httpx.get(path, headers={**behind, "X-Forwarded-Proto": "http"}, trust_env=False)
        assert (plain.status_code, plain.json()["error"]) == (403, "insecure")
        assert end(process)[0] == 0


def test_a_port_that_is_taken(setup: Setup) -> None:
    """A taken port is one sentence and code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--config", str(setup.config), "--port", port)
    assert done.returncode == 1
    assert done.stderr == f"The control server cannot listen: port {port} of 127.0.0.1 is taken; see --port\n"


def test_without_tls_only_this_machine(setup: Setup) -> None:
    """An address that others reach needs TLS, or the word that it does not."""
    done = run("serve", "--config", str(setup.config), "--host", "0.0.0.0")
    assert done.returncode == 2
    assert done.stderr.startswith("server.host is 0.0.0.0, which other machines reach, and there is no TLS")
    assert done.stderr.count("\n") == 1


def test_text_for_people(setup: Setup) -> None:
    """Without --json it says where it is in a sentence."""
    command = [*COMMAND, "serve", "--config", str(setup.config), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert end(process)[0] == 0
    assert re.fullmatch(r"The control server is at http://127\.0\.0\.1:\d+ \(Ctrl-C stops it\)\.\n", line)


# ---- key


def test_a_key_and_its_entry(setup: Setup) -> None:
    """The key is printed once; the entry holds its hash, can be read, and knows the key."""
    done = run("key", "ops", "--appid", APPID, "--kinds", "jsapi_ticket", "--no-replace", "--status")
    assert done.returncode == 0
    (text,) = re.findall(r"wxck_[0-9a-f]{12}_[\w-]{43}", done.stdout)
    (entry,) = tomllib.loads(done.stdout)["keys"]
    assert text not in entry.values()
    setup.config.write_text(setup.config.read_text() + done.stdout.replace(f"# {text}", ""))
    (_, read) = read_config(setup.config).keys
    assert (read.name, read.may_replace, read.may_see_status) == ("ops", False, True)
    assert (read.appids, read.kinds) == (frozenset({APPID}), frozenset({"jsapi_ticket"}))
    from wxmp.control.keys import KeyRing

    assert KeyRing([read]).find(text) is read


def test_a_key_in_the_file_is_refused(setup: Setup) -> None:
    """Whoever appends all that was printed to the file is told to take the key out."""
    done = run("key", "ops", "--all-accounts")
    setup.config.write_text(setup.config.read_text() + done.stdout)
    refused = run("check", "--config", str(setup.config))
    assert refused.returncode == 2
    assert "holds a key itself" in refused.stderr
    assert not re.search(r"wxck_[0-9a-f]{12}_", refused.stderr)


def test_a_key_that_does_not_fit(tmp_path: Path) -> None:
    """On a full disk the file stays as it was: with half of an entry the server could not start any more."""
    config = tmp_path / "control.toml"
    config.write_text("#" * 10_000 + "\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_050, hard))
    try:
        with pytest.raises(ConfigError, match="cannot be written: File too large"):
            add_entry(config, "[[keys]]\nname = 'a key with a very long name, longer than what is left'\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert config.read_text() == "#" * 10_000 + "\n"


def test_a_key_is_appended(setup: Setup) -> None:
    """--append writes the entry into the file, and only the key comes out: for a pipe into a vault."""
    before = setup.config.read_text()
    done = run("key", "ops", "--all-accounts", "--append", str(setup.config))
    assert re.fullmatch(r"wxck_[0-9a-f]{12}_[\w-]{43}\n", done.stdout)
    assert setup.config.read_text().startswith(before)
    assert [key.name for key in read_config(setup.config).keys] == ["shop", "ops"]
    assert run("key", "ops", "--all-accounts", "--append", str(setup.folder / "none.toml")).returncode == 2


def test_a_key_as_json() -> None:
    """--json is one line for scripts."""
    told = json.loads(run("key", "ops", "--appid", "wx1", "--appid", "wx2", "--per-minute", "5", "--json").stdout)
    assert told["key"].startswith(f"wxck_{told['entry']['id']}_")
    assert told["entry"]["appids"] == ["wx1", "wx2"]
    assert told["entry"]["per_minute"] == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ops"], "name the accounts with --appid"),
        (["ops", "--appid", "wx1", "--all-accounts"], "name the accounts with --appid"),
        (["böse", "--appid", "wx1"], "name must be"),
        (["ops", "--appid", "wx 1"], "appids must be"),
        (["ops", "--appid", "wx1", "--per-minute", "0"], "per_minute must be"),
    ],
)
def test_keys_that_cannot_be(arguments: list[str], words: str) -> None:
    """What cannot work is one sentence and code 2, and no key is printed."""
    done = run("key", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


# ---- check


def test_check(setup: Setup, simulator: Simulator) -> None:
    """Settings that work: the store answers, the platform is not asked, nothing is fetched."""
    done = run("check", "--config", str(setup.config))
    assert done.returncode == 0
    assert done.stdout == f"{APPID}: the store (file) answers\n1 keys\n"
    assert done.stderr == ""
    assert simulator.token_requests == 0


async def test_the_platform_is_asked_through_the_proxy(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """WXMP_PROXY counts for every account of the server."""
    setup.write(account=account())
    monkeypatch.setenv("WXMP_PROXY", "http://proxy.internal:3128")
    settings = read_config(setup.config)
    client = settings.accounts[0].make_client(settings.make_stores()[APPID])
    assert client._via == "proxy.internal:3128"
    await client.aclose()


def test_check_finds_a_proxy_that_cannot_be_one(setup: Setup) -> None:
    """The settings cannot work then, and the password is not shown."""
    done = run("check", "--config", str(setup.config), WXMP_PROXY="http://somebody:pass-word#@proxy:1")
    assert done.returncode == 2
    assert "WXMP_PROXY: proxy must be an address" in done.stderr
    assert "pass-word" not in done.stdout + done.stderr


def test_check_finds_a_store_that_is_away(setup: Setup) -> None:
    """A Redis that does not answer is code 1, and its password is not shown."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    setup.write(account=account(store=None, store_env="TOKENS"))
    done = run("check", "--config", str(setup.config), "--json", TOKENS=f"redis://:hidden-word@127.0.0.1:{port}/0")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert not told["ok"]
    assert told["accounts"][0]["trouble"]
    assert "hidden-word" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_modes_are_looked_at(setup: Setup) -> None:
    """A secret that others may read, and settings that others may change, are warned of."""
    setup.secret.chmod(0o644)
    setup.config.chmod(0o666)
    done = run("check", "--config", str(setup.config))
    assert done.returncode == 0
    assert f"accounts[0].secret_file: others may read {setup.secret} (mode 0644): chmod go-rwx" in done.stderr
    assert f"others may change {setup.config} (mode 0666)" in done.stderr
    assert SECRET not in done.stderr


KEY = f'name = "a"\nid = "{"0" * 12}"\ndigest = "{"0" * 64}"\nappids = "*"\n'


@pytest.mark.parametrize(
    ("changes", "field", "remedy"),
    [
        ({"account": account(appid=None)}, "accounts[0].appid", "is missing"),
        ({"account": account(appid="wx 1")}, "accounts[0].appid", "letters"),
        ({"account": account(secret_file=None)}, "accounts[0].secret_env", 'write secret_env = "NAME"'),
        ({"account": account(secret_env="A")}, "accounts[0].secret_file", "leave one out"),
        ({"account": account(secret_file=None, secret_env="NO_SUCH_VARIABLE")}, "accounts[0].secret_env", "is not set"),
        ({"account": account(secret_file="none")}, "accounts[0].secret_file", "cannot be read"),
        ({"account": account(secret="oops")}, "accounts[0].secret", "must not stand in this file"),
        ({"account": account(store=None)}, "accounts[0].store_env", "where tokens are kept"),
        ({"account": account(store="ftp://x")}, "accounts[0].store", "must be memory:, file:"),
        ({"account": account(store="redis://:pw@host/0")}, "accounts[0].store", "holds a password"),
        ({"account": account(channel="both")}, "accounts[0].channel", '"stable" or "plain"'),
        ({"account": account(apid="wx1")}, "accounts[0].apid", "is unknown here; known are appid"),
        ({"account": f"{account()}\n[[accounts]]\n{account()}"}, "accounts[1].appid", "is there twice"),
        ({"server": "port = 70000"}, "server.port", "from 0 to 65535"),
        ({"server": 'host = "0.0.0.0"'}, "server.host", "there is no TLS"),
        ({"server": 'host = "unix"'}, "server.host", "there is no TLS"),
        ({"server": 'certfile = "cert.pem"'}, "server.keyfile", "is missing"),
        ({"server": 'certfile = "a.pem"\nkeyfile = "b.pem"'}, "server.certfile", "there is no file"),
        ({"server": "verbose = true"}, "server.verbose", "is unknown here"),
        ({"server": 'allow_insecure = "yes"'}, "server.allow_insecure", "must be true or false"),
        ({"keys": "[[keys]]\n" + KEY.replace("digest", "hash")}, "keys[0].digest", "wxmp control key NAME"),
        ({"keys": "[[keys]]\n" + KEY.replace('"*"', '["a b"]')}, "keys[0].appids", "letters"),
        ({"keys": "[[keys]]\n" + KEY.replace('"a"', '"a b"')}, "keys[0].name", "letters"),
        ({"keys": "[[keys]]\n" + KEY + 'kinds = ["x"]'}, "keys[0].kinds", "access_token"),
        ({"keys": "[[keys]]\n" + KEY + 'key = "x"'}, "keys[0].key", "must not stand in this file"),
        ({"keys": f"[[keys]]\n{KEY}[[keys]]\n{KEY}"}, "keys[1].id", "is there twice"),
        ({"before": "debug = true"}, "debug", "is unknown here"),
    ],
)
def test_mistakes_name_the_field(setup: Setup, changes: dict[str, str], field: str, remedy: str) -> None:
    """Each mistake names its field and what to do, and never shows a secret."""
    setup.write(**{"account": account(), **changes})
    with pytest.raises(ConfigError) as caught:
        read_config(setup.config)
    assert caught.value.field == field
    assert field in str(caught.value)
    assert remedy in str(caught.value)
    assert "pw@" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [b"[[accounts", b"\xff\xfe", b""])
def test_files_that_are_none(setup: Setup, content: bytes) -> None:
    """What is no TOML, no text or empty is one sentence and code 2."""
    setup.config.write_bytes(content)
    done = run("check", "--config", str(setup.config))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """So is a file that is not there."""
    done = run("serve", "--config", str(tmp_path / "none.toml"))
    assert done.returncode == 2
    assert done.stderr.endswith("none.toml cannot be read: No such file or directory\n")


def test_defaults(setup: Setup) -> None:
    """Without a word on the server it listens on this machine only."""
    setup.write(account=account())
    found = read_config(setup.config)
    assert (found.server.host, found.server.port, found.server.allow_insecure) == ("127.0.0.1", 8780, False)
    assert found.accounts[0].channel == "stable"
    assert found.accounts[0].store() == f"file:{setup.folder / 'tokens'}"
    assert found.warnings == ()
    assert SECRET not in repr(found)


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine_needs_no_tls(setup: Setup, host: str) -> None:
    """Where only this machine listens nobody reads along, and there is nothing to warn of."""
    setup.write(account=account(), server=f'host = "{host}"\nallow_insecure = true')
    assert read_config(setup.config).warnings == ()
    setup.write(account=account(), server=f'host = "{host}"')
    assert read_config(setup.config).server.host == host


def test_the_extra_is_named_when_it_is_missing(setup: Setup) -> None:
    """Without uvicorn the command says what to install."""
    script = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from wxmp.cli.app import app\n"
        f"app(['control', 'serve', '--config', {str(setup.config)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert done.stderr == 'This command needs more packages: pip install "wxmp-sdk[cli,control]"\n'


# ---- the documentation

DOCS = (Path(__file__).parents[2] / "docs" / "control.md").read_text(encoding="utf-8")


def block(beginning: str) -> str:
    """The code block of the documentation that begins so."""
    blocks = re.findall(r"^```text\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if text.startswith(beginning)]
    return str(found)


def test_the_settings_of_the_documentation(tmp_path: Path) -> None:
    """The example is read as it stands, also with the lines that are commented out."""
    (tmp_path / "tls").mkdir()
    certfile, keyfile = certificate(tmp_path / "tls")
    assert (certfile.name, keyfile.name) == ("cert.pem", "key.pem")
    (tmp_path / "shop.secret").write_text(SECRET)
    (tmp_path / "shop.secret").chmod(0o600)
    config = tmp_path / "control.toml"
    for text in (block("[server]"), re.sub(r"^# (?=\w+ = )", "", block("[server]"), flags=re.MULTILINE)):
        config.write_text(text, encoding="utf-8")
        found = read_config(config)
        assert found.server.port == 8780
        assert found.accounts[0].secret() == SECRET
        assert [key.name for key in found.keys] == ["shop"]
    assert found.accounts[0].channel == "plain"
    assert found.server.allow_insecure
    assert len(found.warnings) == 1


def test_the_curl_of_the_documentation(setup: Setup) -> None:
    """The example asks a running server for the token."""
    with serving("--config", str(setup.config)) as (process, url):
        own = {"WXMP_CONTROL": url, "WXMP_CONTROL_KEY": setup.text, "WXMP_APPID": APPID}
        done = subprocess.run(
            ["sh", "-eu", "-c", block("curl")],
            capture_output=True,
            text=True,
            timeout=100,
            env=os.environ | own,
            check=True,
        )
        assert json.loads(done.stdout) | {"expires_in": 0} == setup.get(url).json() | {"expires_in": 0}
        assert end(process)[0] == 0


def test_a_key_is_not_appended_to_a_device(tmp_path: Path) -> None:
    """It is refused before it is read: a device has no end."""
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is no file"):
        add_entry(pipe, "")
