"""The token store over HTTP against servers that lie, hang, turn away, or are somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import io
import ipaddress
import json
import logging
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.control.conftest import PING, QUICK, House, build, tear_down
from tests.control.test_store import GOOD, KEY, TOKEN_KEY, listening
from wxmp import ConfigError, TokenStoreError, WxmpError
from wxmp import _transport as transport_module
from wxmp.control import ControlKey, HTTPTokenStore
from wxmp.tokens.store import LeaseReason, LeaseStatus, TokenKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from wxmp.simulator import Simulator


@contextlib.asynccontextmanager
async def speaking(
    serve: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says what it likes, byte by byte, and remembers what it was asked."""
    heard: list[bytes] = []
    running: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            heard.append(head)
            await serve(head, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
        for task in (waiting := list(running)):
            task.cancel()
        if waiting:
            await asyncio.wait(waiting)


def page(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# ---- servers that lie


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
@pytest.mark.parametrize("own", [True, False])
async def test_the_key_goes_nowhere_else(status: str, own: bool) -> None:
    """A redirect to another server is no answer: nothing is sent there, whatever client is used."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(page("200 OK", json.dumps(GOOD).encode()))

    async def turn_away(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(page(status, b"", f"Location: {elsewhere}/v1/accounts/{TOKEN_KEY.appid}/access_token"))

    async with (
        speaking(answer) as (elsewhere, there),
        speaking(turn_away) as (url, here),
        httpx.AsyncClient(follow_redirects=True) as client,
    ):
        store = HTTPTokenStore(url, KEY, http_client=None if own else client)
        with pytest.raises(TokenStoreError):
            await store.read(TOKEN_KEY)
        with pytest.raises(TokenStoreError):
            await store.lease(TOKEN_KEY, owner="me", ttl=1.0, expect=7, reason=LeaseReason.DEAD)
        await store.aclose()
    assert len(here) >= 2
    assert there == []


async def test_an_answer_of_ten_megabytes() -> None:
    """Much more than an answer ever has is not read."""
    sent = 0

    async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _turn in range(160):
            writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
            await writer.drain()
            sent += 65_536

    async with speaking(flood) as (url, _):
        store = HTTPTokenStore(url, KEY, timeout=30.0)
        with pytest.raises(TokenStoreError):
            await store.read(TOKEN_KEY)
        await store.aclose()
    assert sent < 2 * 10 * 2**20


@pytest.mark.parametrize("pace", [0.01, 60.0])
async def test_an_answer_that_drips(pace: float) -> None:
    """An answer that comes a byte at a time, or not at all, is given up in time."""

    async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in page("200 OK", b" " * 10_000):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pace)

    async with speaking(drip) as (url, _):
        store = HTTPTokenStore(url, KEY, timeout=0.4)
        started = time.monotonic()
        with pytest.raises(TokenStoreError):
            await store.read(TOKEN_KEY)
        assert time.monotonic() - started < 10.0  # far less than the answer would take
        await store.aclose()


async def test_a_generation_that_goes_back_or_far_ahead(house: House) -> None:
    """What a server says of its numbers cannot wedge a client: a dead token is replaced by whatever works."""
    client = house.client()
    first = await client.token()
    keeper = client._keeper
    keeper._state.highest = 10**15  # as if a server had once said so
    house.simulator.kill_token()
    await client.request("GET", PING)
    assert await client.token() != first
    assert house.simulator.token_requests == 2


@pytest.mark.parametrize(
    "said",
    [
        {"expires_in": -5},
        {"expires_in": "7000"},
        {"expires_in": 1e308},
        {"life": 1e9, "expires_in": 1e9},
        {"generation": -1},
        {"generation": 2**63},
        {"appid": "wx0000000000000002"},
        {"appid": None},
        {"access_token": "a\r\nX-Injected: 1"},
        {"access_token": {"a": 1}},
        {"access_token": "\ud800"},
    ],
)
async def test_a_lie_is_no_token(said: dict[str, Any]) -> None:
    """Another account's value, impossible times and numbers, and a value with a line break are refused."""
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=json.dumps({**GOOD, **said})))
    ) as http:
        store = HTTPTokenStore("https://tokens.internal", KEY, http_client=http)
        with pytest.raises(TokenStoreError):
            await store.read(TOKEN_KEY)
        with pytest.raises(TokenStoreError):
            await store.lease(TOKEN_KEY, owner="me", ttl=1.0, expect=7, reason=LeaseReason.DEAD)


async def test_more_left_than_a_life(house: House) -> None:
    """What is left is never more than the whole life."""
    answer = {**GOOD, "life": 100.0, "expires_in": 80_000.0}
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer))) as http:
        record = await HTTPTokenStore("https://tokens.internal", KEY, http_client=http).read(TOKEN_KEY)
    assert record.token is not None
    assert record.token.left <= 100.0


@pytest.mark.parametrize("hours", [-2, 2])
async def test_the_clocks_of_two_machines(simulator: Simulator, hours: int) -> None:
    """Only seconds that are left cross the wire: a server whose clock is wrong does no harm."""
    house = build(simulator, wall=lambda: time.time() + hours * 3600)
    client = house.client()
    await client.request("GET", PING)
    status = client.token_status()
    assert 7100 < status.seconds_left <= 7200
    assert (await house.http().get("/v1/status")).status_code == 200
    await tear_down(house)


# ---- replicas that do not agree


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, "unauthorized"), (403, "forbidden"), (404, "not_found"), (503, "store_down"), (503, "broken")],
)
async def test_a_replica_that_does_not_know_yet(status: int, error: str) -> None:
    """Keys and settings reach the replicas one after the other: one of them that accepts the key is enough."""
    asked = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return (
            httpx.Response(status, json={"error": error}) if request.url.host == "a" else httpx.Response(200, json=GOOD)
        )

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        store = HTTPTokenStore(["https://a", "https://b"], KEY, http_client=http)
        assert (await store.read(TOKEN_KEY)).token is not None
        assert (await store.read(TOKEN_KEY)).token is not None
    assert asked == ["a", "b", "b"]


async def test_all_replicas_refuse(house: House) -> None:
    """Each is asked once; then the key is what is wrong, and nobody is asked again at once."""
    asked = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "c":
            raise httpx.ConnectError("gone")
        return httpx.Response(401, json={"error": "unauthorized"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        store = HTTPTokenStore(["https://a", "https://b", "https://c"], KEY, http_client=http)
        for _ in range(5):
            with pytest.raises(ConfigError, match="does not know this key"):
                await store.read(TOKEN_KEY)
    assert asked == ["a", "b", "c"]


async def test_too_many_wrong_keys_are_still_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key that the server has had enough of stays a wrong key, and is shown ever more seldom."""
    answers = [(401, "unauthorized"), (429, "too_many"), (429, "too_many"), (200, "")]

    def handle(_: httpx.Request) -> httpx.Response:
        status, error = answers.pop(0)
        return httpx.Response(status, json={"error": error, "retry_after": 3} if error else GOOD)

    now = [1000.0]
    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
        store = HTTPTokenStore("https://tokens.internal", KEY, http_client=http)
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        for pause in (1.0, 2.0, 4.0):
            for _ in range(3):
                with pytest.raises(ConfigError, match="does not know this key"):
                    await store.read(TOKEN_KEY)
            now[0] += pause + 0.01
        assert (await store.read(TOKEN_KEY)).token is not None
    assert answers == []


async def test_the_key_is_changed_under_a_running_client(house: House) -> None:
    """Server and client change to a new key while calls go on: no call fails, and none waits."""
    new, new_text = ControlKey.create("shop", appids={house.appid})
    held = [house.text]
    http = httpx.AsyncClient(transport=house.transport)
    store = HTTPTokenStore("http://127.0.0.1", lambda: held[0], http_client=http)
    client = house.client(store)
    await client.request("GET", PING)
    house.server.use_keys([new])  # the wrong way round: the old key is gone first
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        await client.request("GET", PING)
    held[0] = new_text
    house.simulator.kill_token()
    async with asyncio.timeout(40):
        while True:  # for a second at most the refusal is remembered
            try:
                await client.request("GET", PING)
            except ConfigError:
                await asyncio.sleep(0.1)
            else:
                break
    assert house.simulator.token_requests == 2
    await http.aclose()


async def test_a_token_dies_while_the_server_is_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls fail with a typed error, quickly and without asking the platform; when the server is back, all is well."""
    client = house.client()
    await client.request("GET", PING)

    async def gone(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(house.transport, "handle_async_request", gone)
    house.simulator.kill_token()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(WxmpError):
            await client.request("GET", PING)
        assert time.monotonic() - started < QUICK.wait_timeout + 1
    assert house.simulator.token_requests == 1
    monkeypatch.undo()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(WxmpError):
                await client.request("GET", PING)
                break
            await asyncio.sleep(0.1)
    assert house.simulator.token_requests == 2


# ---- how often it is asked


async def test_measured_at_the_server(house: House) -> None:
    """Five clients with ten busy tasks each: the server counts one question for each client and check interval."""
    clients = [house.client() for _ in range(5)]
    await asyncio.gather(*(client.token() for client in clients))
    before, started = house.server._desks[house.appid, "access_token"].ledger.hand_outs, time.monotonic()

    async def busy(client: Any) -> None:
        while time.monotonic() - started < 2.5:
            await client.token()
            await asyncio.sleep(0.002)

    await asyncio.gather(*(busy(client) for client in clients for _ in range(10)))
    passed = time.monotonic() - started
    asked = house.server._desks[house.appid, "access_token"].ledger.hand_outs - before
    assert asked <= 5 * (passed / (0.8 * QUICK.check_interval) + 1)
    assert asked >= 5


async def test_closing_under_a_request() -> None:
    """Connections that are closed under a request end it at once; the store may be used again."""
    hang = True

    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        if hang:
            await asyncio.sleep(30)
        writer.write(page("200 OK", json.dumps(GOOD).encode(), "Connection: close"))
        await writer.drain()

    async with speaking(serve) as (url, heard):
        store = HTTPTokenStore(url, KEY, timeout=20.0)
        reading = asyncio.create_task(store.read(TOKEN_KEY))
        async with asyncio.timeout(20):
            while not heard:
                await asyncio.sleep(0.01)
            hang = False
            await store.aclose()
            with contextlib.suppress(TokenStoreError):
                await reading
            assert (await store.read(TOKEN_KEY)).token is not None
        await store.aclose()


FORKS = """
import asyncio, os, sys
from wxmp.control import HTTPTokenStore
from wxmp.tokens.store import TokenKey
store = HTTPTokenStore(sys.argv[1], os.environ["CONTROL_KEY"], timeout=30.0)
read = lambda: asyncio.run(store.read(TokenKey(sys.argv[2], "stable"))).token.generation
print(read(), flush=True)
async def main():
    key = TokenKey(sys.argv[2], "stable")
    await store.read(key)
    child = os.fork()
    if not child:
        try:
            asyncio._set_running_loop(None)
            print(read(), flush=True)
            os._exit(0)
        finally:
            os._exit(1)
    await asyncio.sleep(0.1)
    print((await store.read(key)).token.generation, flush=True)
    assert os.waitpid(child, 0)[1] == 0
asyncio.run(main())
print(read(), flush=True)
"""


async def test_after_a_fork(house: House) -> None:
    """A store in use is used on both sides of a fork, in new event loops: everybody reads the same."""
    async with listening(house.server) as url:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", FORKS, url, house.appid],
            env={"CONTROL_KEY": house.text, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    generations = done.stdout.split()
    assert len(generations) == 4
    assert len(set(generations)) == 1


# ---- TLS


@attrs.frozen
class Tls:
    """A certificate of an authority of our own, as files."""

    authority: str
    certificate: str
    key: str

    def trusting(self) -> ssl.SSLContext:
        """A context that trusts this authority alone."""
        return ssl.create_default_context(cafile=self.authority)


def issue(folder: Path, *, days: int = 2, names: tuple[str, ...] = ("localhost", "127.0.0.1")) -> Tls:
    now = dt.datetime.now(dt.UTC)

    def built(subject: str, issuer: str, public: Any, signer: Any, *extensions: Any) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=5))
            .not_valid_after(now + dt.timedelta(days=days))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    top = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    # Python 3.13 demands what an authority is allowed to do.
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = dict.fromkeys((*unused, "digital_signature", "crl_sign", "encipher_only", "decipher_only"), False)
    authority = built(
        "authority",
        "authority",
        root.public_key(),
        root,
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(key_cert_sign=True, **usage), True),
        (top, False),
    )
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    certificate = built(
        "server",
        "authority",
        own.public_key(),
        root,
        (x509.SubjectAlternativeName(alternatives), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False),
    )
    files = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
    pem = serialization.Encoding.PEM
    files[0].write_bytes(authority.public_bytes(pem))
    files[1].write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    files[2].write_bytes(own.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return Tls(*map(str, files))


@contextlib.asynccontextmanager
async def serving_tls(app: Any, tls: Tls) -> AsyncIterator[int]:
    """Serve over TLS with uvicorn, as ``--ssl-certfile`` and ``--ssl-keyfile`` do."""
    options = uvicorn.Config(
        app, port=0, log_config=None, lifespan="off", ssl_certfile=tls.certificate, ssl_keyfile=tls.key
    )
    server = uvicorn.Server(options)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def test_from_end_to_end_over_tls(house: House, tmp_path: Path) -> None:
    """A client of the user's that trusts a private authority: look, replacement and ticket."""
    tls = issue(tmp_path)
    async with serving_tls(house.server, tls) as port, httpx.AsyncClient(verify=tls.trusting()) as http:
        store = HTTPTokenStore(f"https://localhost:{port}", house.text, http_client=http)
        client = house.client(store)
        await client.request("GET", PING)
        house.simulator.kill_token()
        await client.request("GET", PING)
        await client.jssdk.sign("https://shop.example/")
    assert house.simulator.token_requests == 2


async def test_a_private_authority_in_the_environment(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``SSL_CERT_FILE`` names the authority for the store's own connections."""
    tls = issue(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", tls.authority)
    transport_module._ssl_context.cache_clear()
    try:
        async with serving_tls(house.server, tls) as port:
            store = HTTPTokenStore(f"https://localhost:{port}", house.text)
            assert (await store.read(TokenKey(house.appid, "stable"))).token is not None
            await store.aclose()
    finally:
        transport_module._ssl_context.cache_clear()


@pytest.mark.parametrize("wrong", ["authority", "name", "expired", "own"])
async def test_a_wrong_certificate(house: House, tmp_path: Path, wrong: str) -> None:
    """An unknown authority, another name, an old certificate: a store that is down, and the key was not sent."""
    tls = issue(
        tmp_path, days=-1 if wrong == "expired" else 2, names=("other.internal",) if wrong == "name" else ("localhost",)
    )
    other = tmp_path / "other"
    other.mkdir()
    trusted = issue(other) if wrong == "authority" else tls
    async with serving_tls(house.server, tls) as port, httpx.AsyncClient(verify=trusted.trusting()) as http:
        store = HTTPTokenStore(
            f"https://localhost:{port}", house.text, http_client=None if wrong == "own" else http, timeout=15.0
        )
        with pytest.raises(TokenStoreError) as caught:
            await store.read(TokenKey(house.appid, "stable"))
        await store.aclose()
    assert house.text not in f"{caught.value!r} {caught.value}"
    assert house.server._desks == {}  # nobody has come through


async def test_plain_http_to_a_port_of_tls(house: House, tmp_path: Path) -> None:
    """Both ways of mixing them up end in a typed error."""
    async with serving_tls(house.server, issue(tmp_path)) as port, listening(house.server) as url:
        for address in (f"http://127.0.0.1:{port}", url.replace("http:", "https:")):
            store = HTTPTokenStore(address, house.text, timeout=15.0)
            with pytest.raises(TokenStoreError):
                await store.read(TokenKey(house.appid, "stable"))
            await store.aclose()


# ---- never a value

#: Loggers whose level uvicorn sets, for the whole process.
UVICORN = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")


async def test_a_session_over_sockets_at_debug(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that any library logs of real connections, on both sides, holds no key and no value."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    uvicorn_before = {name: logging.getLogger(name).level for name in UVICORN}
    root.setLevel(1)
    try:
        sock_server = uvicorn.Server(uvicorn.Config(house.server, port=0, log_config=None, lifespan="off", log_level=5))
        serving = asyncio.create_task(sock_server.serve())
        while not sock_server.started:
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{sock_server.servers[0].sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient() as http:
            for theirs in (None, http):
                store = HTTPTokenStore(url, house.text, http_client=theirs)
                client = house.client(store)
                await client.request("GET", PING)
                house.simulator.kill_token()
                await client.request("GET", PING)
                await client.jssdk.sign("https://shop.example/")
                await store.aclose()
        wrong = HTTPTokenStore(url, KEY)
        with pytest.raises(ConfigError):
            await wrong.read(TokenKey(house.appid, "stable"))
        sock_server.should_exit = True
        await serving
    finally:
        root.setLevel(before)
        for name, level in uvicorn_before.items():
            logging.getLogger(name).setLevel(level)
        root.removeHandler(handler)
    account = house.simulator.account
    tokens: Any = account.tokens
    secrets = {account.secret, house.text, house.text.split("_", 2)[2], KEY}
    secrets |= {token.text for token in (tokens.values() if isinstance(tokens, dict) else tokens)}
    secrets |= {ticket for ticket, _ in account.tickets.values()}
    everything = text.getvalue() + "".join(capsys.readouterr())
    assert "access_token" in everything
    assert [secret for secret in secrets if secret in everything] == []


async def test_a_claim_that_the_server_calls_good(house: House) -> None:
    """A client that calls a good token dead gets its old one back, told to wait, and does not ask in a circle."""
    store = house.store(timeout=10.0)
    key = TokenKey(house.appid, "stable")
    token = (await store.read(key)).token
    assert token is not None
    for path in ("/cgi-bin/a", "/cgi-bin/a", "/cgi-bin/a", "/cgi-bin/a"):
        store.died(key, generation=token.generation, code=40001, path=path)
        lease = await store.lease(key, owner="me", ttl=1.0, expect=token.generation, reason=LeaseReason.DEAD)
        if lease.status is LeaseStatus.CHANGED:
            assert lease.token is not None
            token = lease.token
    assert lease.status is LeaseStatus.LIMITED
    assert house.simulator.token_requests <= 8
