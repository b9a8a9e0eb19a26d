"""The payment client: what it takes, what it refuses, and that no secret leaves it by a side door."""

from __future__ import annotations

import io
import logging
import pickle
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import wxmp.pay
from tests.pay.conftest import NOTIFY_URL, QUICK, pay_settings
from wxmp._redact import Secret
from wxmp.errors import ConfigError, PayAPIError, WxmpError
from wxmp.pay import PayClient
from wxmp.simulator.pay import keys as simulated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wxmp.simulator import Simulator
    from wxmp.simulator.pay.records import Merchant

pytestmark = pytest.mark.timeout(60)


def order(pay: PayClient, number: str = "A123456") -> dict[str, Any]:
    return {
        "appid": pay.appid,
        "mchid": pay.mchid,
        "description": "茶",
        "out_trade_no": number,
        "notify_url": NOTIFY_URL,
        "amount": {"total": 1},
    }


# ---- calls


async def test_request_reaches_any_endpoint(pay: PayClient) -> None:
    """An endpoint without a name here is signed and verified like every other."""
    placed = await pay.request("POST", "/v3/pay/transactions/native", json=order(pay), repeatable=True)
    assert placed["code_url"]
    found = await pay.request("GET", "/v3/pay/transactions/out-trade-no/A123456", params={"mchid": pay.mchid})
    assert found["out_trade_no"] == "A123456"
    closed = await pay.request(
        "POST", "/v3/pay/transactions/out-trade-no/A123456/close", json={"mchid": pay.mchid}, repeatable=True
    )
    assert closed == {}


@pytest.mark.parametrize("path", ["", "v3/x", "https://evil.example/v3/x", "//evil.example/x", "/v3/x?a=1", "/v3/{x}"])
async def test_request_takes_a_path_only(pay: PayClient, path: str) -> None:
    """Nothing that could lead elsewhere is taken for a path."""
    with pytest.raises(ConfigError) as caught:
        await pay.request("GET", path)
    assert caught.value.field == "path"


async def test_request_knows_five_methods(pay: PayClient) -> None:
    """Other methods are no methods of the gateway."""
    method: Any = "get"
    with pytest.raises(ConfigError):
        await pay.request(method, "/v3/x")


async def test_params_for_a_page_and_an_app(pay: PayClient, merchant: Merchant) -> None:
    """Both are signed for the client's AppID or the one given, with a fresh nonce each time."""
    page = pay.jsapi_params("wx201410272009395522657a690389285100")
    assert (page["appId"], page["package"]) == (pay.appid, "prepay_id=wx201410272009395522657a690389285100")
    assert page["nonceStr"] != pay.jsapi_params("wx2")["nonceStr"]
    app = pay.app_params("wx201", appid="wx8888888888888888")
    assert (app["appid"], app["partnerid"]) == ("wx8888888888888888", merchant.mchid)


@pytest.mark.parametrize("prepay_id", ["", "a\nb", "茶", None])
async def test_params_need_a_prepay_id(pay: PayClient, prepay_id: Any) -> None:
    """Nothing that would make another line of the signed text is signed."""
    with pytest.raises(ConfigError) as caught:
        pay.jsapi_params(prepay_id)
    assert caught.value.field == "prepay_id"


async def test_params_need_an_appid(pay_sim: Simulator, merchant: Merchant) -> None:
    """Without a default the AppID must be said."""
    async with PayClient(**pay_settings(pay_sim, merchant, appid=None)) as client:
        with pytest.raises(ConfigError) as caught:
            client.jsapi_params("wx1")
        assert client.jsapi_params("wx1", appid="wx2")["appId"] == "wx2"
    assert caught.value.field == "appid"


async def test_a_client_of_the_user_is_used(pay_sim: Simulator, merchant: Merchant) -> None:
    """An httpx client of the program carries the same signed bytes."""
    seen: list[httpx.Request] = []

    async def hook(request: httpx.Request) -> None:
        seen.append(request)

    async with (
        httpx.AsyncClient(event_hooks={"request": [hook]}) as outer,
        PayClient(**pay_settings(pay_sim, merchant, http_client=outer)) as client,
    ):
        await client.request("POST", "/v3/pay/transactions/native", json=order(client, "A|b*c123"), repeatable=True)
        found = await client.request(
            "GET", "/v3/pay/transactions/out-trade-no/A%7Cb%2Ac123", params={"mchid": client.mchid, "x": "a b|c"}
        )
    assert found["trade_state"] == "NOTPAY"
    assert ["authorization" in request.headers for request in seen] == [False, False]


async def test_closing_twice(pay: PayClient) -> None:
    """A closed client says so."""
    await pay.aclose()
    await pay.aclose()
    with pytest.raises(ConfigError, match="closed"):
        await pay.request("GET", "/v3/certificates")


async def test_a_failing_hook_harms_nobody(pay_sim: Simulator, merchant: Merchant) -> None:
    """What on_event raises is logged and dropped."""

    def hook(_: object) -> None:
        raise RuntimeError("hook")

    settings = pay_settings(pay_sim, merchant, public_key=None, public_key_id=None, on_event=hook)
    async with PayClient(**settings) as client:
        await client.request("POST", "/v3/pay/transactions/native", json=order(client), repeatable=True)


# ---- arguments


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mchid": "19x"}, "mchid"),
        ({"mchid": 1900000001}, "mchid"),
        ({"api_v3_key": "short"}, "api_v3_key"),
        ({"previous_api_v3_key": "short"}, "previous_api_v3_key"),
        ({"public_key": None}, "public_key"),
        ({"public_key_id": None}, "public_key_id"),
        ({"serial": "PUB_KEY_ID_1"}, "serial"),
        ({"private_key": "x"}, "private_key"),
        ({"certificates": "-----BEGIN CERTIFICATE-----"}, "certificates"),
        ({"certificates": [], "public_key": None, "public_key_id": None}, "certificates"),
        ({"base_url": "http://pay.example.com"}, "base_url"),
        ({"backup_url": "http://pay.example.com"}, "allowed_origins"),
        ({"timeout": 0}, "timeout"),
    ],
)
async def test_wrong_arguments_are_found_at_once(
    pay_sim: Simulator, merchant: Merchant, changes: dict[str, Any], field: str
) -> None:
    """Each mistake is named by its argument, when the client is made."""
    with pytest.raises(ConfigError) as caught:
        PayClient(**pay_settings(pay_sim, merchant, **changes))
    assert caught.value.field == field


async def test_another_host_has_no_twin() -> None:
    """With an address of one's own, the platform's second host is not used unless it is given."""
    settings: dict[str, Any] = {
        "mchid": "1900000001",
        "private_key": simulated.private_key("a"),
        "serial": "5AB",
        "api_v3_key": "k" * 32,
    }
    production = PayClient(**settings)
    local = PayClient(**settings, base_url="http://127.0.0.1:9")
    assert production.gateway._hosts._backup == "https://api2.mch.weixin.qq.com"
    assert local.gateway._hosts._backup is None
    await production.aclose()
    await local.aclose()


ENV = {"MCHID": "1900000001", "SERIAL": "5AB", "API_V3_KEY": "k" * 32, "APPID": "wx1", "NOTIFY_URL": NOTIFY_URL}


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENV.items():
        monkeypatch.setenv(f"WXMP_PAY_{name}", value)
    return monkeypatch


@pytest.mark.parametrize("as_file", [True, False])
async def test_from_env(env: pytest.MonkeyPatch, tmp_path: Path, as_file: bool) -> None:
    """Every setting has its variable; keys come from a file or from the variable itself."""
    private, public = simulated.private_pem("a"), simulated.public_pem("b")
    if as_file:
        for name, text in (("PRIVATE_KEY", private), ("PUBLIC_KEY", public)):
            file = tmp_path / name
            file.write_text(text)
            env.setenv(f"WXMP_PAY_{name}_FILE", str(file))
    else:
        env.setenv("WXMP_PAY_PRIVATE_KEY", private.replace("\n", "\\n"))
        env.setenv("WXMP_PAY_PUBLIC_KEY", public.replace("\n", "\\n"))
    env.setenv("WXMP_PAY_PUBLIC_KEY_ID", "PUB_KEY_ID_1")
    env.setenv("WXMP_PAY_ENDPOINT", "http://127.0.0.1:9")
    async with PayClient.from_env() as client:
        assert (client.mchid, client.appid, client.notify_url) == ("1900000001", "wx1", NOTIFY_URL)
        assert client.gateway.encryption_serial == "PUB_KEY_ID_1"
        assert repr(client) == "PayClient(mchid='1900000001', serial='5AB')"


async def test_from_env_with_another_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two merchants of one process have two prefixes; without a public key certificates are fetched."""
    for name, value in {**ENV, "PRIVATE_KEY": simulated.private_pem("a")}.items():
        monkeypatch.setenv(f"SHOP_{name}", value)
    async with PayClient.from_env("SHOP_") as client:
        assert client.certificate.list() == ()


@pytest.mark.parametrize("name", ["MCHID", "SERIAL", "API_V3_KEY", "PRIVATE_KEY"])
async def test_a_missing_variable_is_named(env: pytest.MonkeyPatch, name: str) -> None:
    """The error says which variable to set."""
    env.setenv("WXMP_PAY_PRIVATE_KEY", simulated.private_pem("a"))
    env.delenv(f"WXMP_PAY_{name}")
    with pytest.raises(ConfigError, match=f"WXMP_PAY_{name}"):
        PayClient.from_env()


async def test_an_unreadable_file_is_named(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wrong path, or a file that is no text, is a mistake of the configuration."""
    env.setenv("WXMP_PAY_PRIVATE_KEY_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(ConfigError, match="PRIVATE_KEY_FILE cannot be read"):
        PayClient.from_env()
    (tmp_path / "key.der").write_bytes(b"\xff\xfe\x00")
    env.setenv("WXMP_PAY_PRIVATE_KEY_FILE", str(tmp_path / "key.der"))
    with pytest.raises(ConfigError, match="not text"):
        PayClient.from_env()


# ---- the signer in a thread


async def test_a_remote_signer_does_not_stop_the_loop(pay_sim: Simulator, merchant: Merchant) -> None:
    """Requests are signed in a thread when somebody else signs, who may wait for a network."""
    import threading

    threads: list[str] = []

    class Vault:
        def sign(self, text: bytes) -> bytes:
            from wxmp.pay._keys import PKCS1V15, SHA256

            threads.append(threading.current_thread().name)
            return simulated.private_key(merchant.key_label).sign(text, PKCS1V15, SHA256)

    async with PayClient(**pay_settings(pay_sim, merchant, private_key=Vault())) as client:
        await client.request("POST", "/v3/pay/transactions/native", json=order(client), repeatable=True)
    assert threads
    assert "MainThread" not in threads


# ---- what importing costs


def loaded(statement: str) -> str:
    script = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return f" {done.stdout.strip()} "


def test_the_package_is_lazy() -> None:
    """Importing the package loads nothing; the client loads no family and no HTTP library."""
    assert " cryptography " not in loaded("import wxmp.pay")
    modules = loaded("from wxmp.pay import PayClient")
    for name in ("httpx", "tenacity", "cattrs", "redis", "wxmp.pay.orders", "wxmp.pay.refunds", "wxmp.pay.bills"):
        assert f" {name} " not in modules


@pytest.mark.parametrize("name", wxmp.pay.__all__)
def test_names_resolve(name: str) -> None:
    """Each public name exists."""
    assert getattr(wxmp.pay, name) is getattr(wxmp.pay, name)


def test_other_names_do_not_exist() -> None:
    """A misspelt name is an AttributeError."""
    with pytest.raises(AttributeError, match="Nothing"):
        _ = wxmp.pay.Nothing  # type: ignore[attr-defined]


# ---- secrets


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that anybody logs, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(before)
    root.removeHandler(handler)


def write_error(log: io.StringIO, error: BaseException) -> None:
    """What a person, a log, an error tracker and a pickle show of an error, our own frames only."""
    log.write(f"\n{error!r}\n{error!s}\n{vars(error)!r}\n")
    log.write(pickle.dumps(error).decode("latin-1"))
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in told.stack:
        if "/wxmp/" in frame.filename:
            log.write(f"{frame.filename} {frame.name} {frame.locals}\n")


@pytest.mark.parametrize("own_client", [True, False])
async def test_a_session_at_debug_shows_no_secret(
    pay_sim: Simulator, merchant: Merchant, log: io.StringIO, own_client: bool
) -> None:
    """Keys, Authorization, page signatures, names and their cipher texts: in no log, error, repr or pickle."""
    outer = None if own_client else httpx.AsyncClient()
    pem = merchant.private_key
    settings = pay_settings(
        pay_sim, merchant, private_key=pem, previous_api_v3_key="p" * 32, http_client=outer, timeout=0.5
    )
    secrets = {
        "APIv3 key": merchant.api_v3_key,
        "previous key": "p" * 32,
        "private key": pem.splitlines()[5],
        "name": "张三丰",
    }
    signatures: list[str] = []
    async with PayClient(**settings) as client:
        real = client.gateway._key.sign

        def watched(text: bytes) -> str:
            signatures.append(real(text))
            return signatures[-1]

        client.gateway._key = _Watched(client.gateway._key, watched)  # type: ignore[assignment]
        for effect in (None, "reset_after", "truncated", "hang", "status", "not_json", "redirect", "huge"):
            if effect is not None:
                found: Any = effect
                where = "http://127.0.0.1:9/" if effect == "redirect" else ""
                pay_sim.fault(found, "/v3/pay/transactions/native", times=9, location=where)
            try:
                await client.request(
                    "POST",
                    "/v3/pay/transactions/native",
                    json=order(client) | ({"payer": {"name": Secret("张三丰")}} if effect else {}),
                    repeatable=True,
                )
            except WxmpError as error:
                write_error(log, error)
            pay_sim.clear_faults()
        sealed = client.gateway.encrypt("张三丰")
        page = client.jsapi_params("wx201")
        things = (client, client.gateway, client.keys, client.gateway._key, client.gateway.keys._cipher)
        log.writelines(f"{thing!r} {thing!s}\n" for thing in things)
        with pytest.raises(PayAPIError) as wrong:
            await client.request("GET", "/v3/nothing-here")
        write_error(log, wrong.value)
    for name in ("private_key", "api_v3_key", "previous_api_v3_key", "serial", "public_key"):
        with pytest.raises(ConfigError) as caught:
            PayClient(**settings | {name: "wrong"})
        write_error(log, caught.value)
    if outer is not None:
        await outer.aclose()
    text = log.getvalue()
    assert "wxmp.transport" in text
    assert len(signatures) > 8
    assert page["paySign"] in signatures
    shown = [name for name, secret in secrets.items() if secret in text]
    assert shown == []
    assert [signature for signature in signatures if signature in text] == []
    assert str(sealed) not in text
    assert "Authorization" not in text


class _Watched:
    """A merchant key that lets the test see each signature."""

    def __init__(self, inner: Any, sign: Any) -> None:
        self.inner, self.sign = inner, sign

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __repr__(self) -> str:
        return repr(self.inner)


async def test_quick_is_quick() -> None:
    """The tests of this folder repeat without waiting."""
    assert QUICK.max_wait < 0.01
