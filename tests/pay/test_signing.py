"""Signatures: the texts that are signed, byte for byte, and the checks of what comes back, in their order."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from wxmp.errors import PayProbeError, PaySignatureError
from wxmp.pay import PayKeys
from wxmp.pay._keys import MerchantKey
from wxmp.pay._signing import (
    SCHEME,
    app_params,
    authorization,
    jsapi_params,
    new_nonce,
    read_headers,
    request_text,
)
from wxmp.simulator.pay import keys as simulated

KEY = simulated.private_key("a")
KEY_ID = "PUB_KEY_ID_0119000000012025000000000000"
NOW = 1_780_000_000
BODY = '{"code_url":"weixin://wxpay/bizpayurl?pr=茶"}'.encode()
API_V3_KEY = "0123456789abcdefghijABCDEFGHIJ!#"


def sign(text: bytes, label: str = "b") -> str:
    raw = simulated.private_key(label).sign(text, padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(raw).decode()


def signed(
    body: bytes = BODY, *, age: int = 0, label: str = "b", serial: str = KEY_ID, **changes: str
) -> dict[str, str]:
    """Headers of a good answer, with changes after it was signed."""
    timestamp, nonce = str(NOW - age), "cf05cE1a0Fb24aBd9c1D2e3F4a5B6c7D"
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Signature": sign(f"{timestamp}\n{nonce}\n".encode() + body + b"\n", label),
        "Wechatpay-Serial": serial,
        "Wechatpay-Signature-Type": SCHEME,
    } | {f"Wechatpay-{name.title().replace('_', '-')}": value for name, value in changes.items()}


@pytest.fixture(scope="module")
def keys() -> PayKeys:
    return PayKeys(
        mchid="1900000001",
        api_v3_key=API_V3_KEY,
        public_key=simulated.public_pem("b"),
        public_key_id=KEY_ID,
        clock=lambda: NOW,
    )


# ---- what requests sign


def test_a_get_ends_with_two_line_feeds() -> None:
    """The text of a request without a body, as the documents show it."""
    text = request_text("GET", "/v3/certificates", 1554208460, "593BEC0C930BF1AFEB40B4A08C8FB242", b"")
    assert text == b"GET\n/v3/certificates\n1554208460\n593BEC0C930BF1AFEB40B4A08C8FB242\n\n"


def test_a_post_ends_with_its_body_and_one_line_feed() -> None:
    """The body is the very bytes that are sent."""
    text = request_text("POST", "/v3/pay/x?a=%7C", 1, "n", '{"a":"茶"}'.encode())
    assert text == 'POST\n/v3/pay/x?a=%7C\n1\nn\n{"a":"茶"}\n'.encode()


@given(
    target=st.from_regex(r"/v3(/[A-Za-z0-9._~%-]{1,10}){1,4}(\?[A-Za-z0-9=&%._~-]{1,30})?", fullmatch=True),
    timestamp=st.integers(0, 2**40),
    body=st.binary(max_size=100),
)
def test_the_text_can_be_taken_apart(target: str, timestamp: int, body: bytes) -> None:
    """Whatever is in it, the five lines of a request are the five things that went in."""
    nonce = new_nonce()
    text = request_text("POST", target, timestamp, nonce, body)
    method, path, seconds, random, rest = text.split(b"\n", 4)
    assert (method, path.decode(), int(seconds), random.decode()) == (b"POST", target, timestamp, nonce)
    assert rest == body + b"\n"


def test_the_header_has_the_documented_form() -> None:
    """Five members, all quoted, on one line."""
    header = authorization("1900000001", "5AB", 1554208460, "nonce", "c2ln")
    assert header.startswith("WECHATPAY2-SHA256-RSA2048 ")
    members = dict(re.findall(r'([a-z_]+)="([^"]*)"', header))
    assert members == {
        "mchid": "1900000001",
        "nonce_str": "nonce",
        "signature": "c2ln",
        "timestamp": "1554208460",
        "serial_no": "5AB",
    }


def test_nonces_are_random_letters_and_digits() -> None:
    """32 characters, never the same."""
    made = {new_nonce() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(r"[A-Za-z0-9]{32}", nonce) for nonce in made)


# ---- pages and apps


def verify(text: str, signature: str) -> None:
    KEY.public_key().verify(base64.b64decode(signature), text.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_jsapi_params() -> None:
    """Names, spelling, order and signed text of the documents; everything is text."""
    made = jsapi_params(
        MerchantKey(KEY, "1A").sign, appid="wx8888", prepay_id="wx201", timestamp=1414561699, nonce="5K8"
    )
    assert list(made) == ["appId", "timeStamp", "nonceStr", "package", "signType", "paySign"]
    assert made["package"] == "prepay_id=wx201"
    assert made["signType"] == "RSA"
    assert made["timeStamp"] == "1414561699"
    verify("wx8888\n1414561699\n5K8\nprepay_id=wx201\n", made["paySign"])


def test_app_params() -> None:
    """An app signs the bare prepay_id and gets other names."""
    made = app_params(
        MerchantKey(KEY, "1A").sign, appid="wx8888", mchid="1900", prepay_id="wx201", timestamp=1414561699, nonce="5K8"
    )
    assert list(made) == ["appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign"]
    assert (made["package"], made["partnerid"], made["prepayid"]) == ("Sign=WXPay", "1900", "wx201")
    verify("wx8888\n1414561699\n5K8\nwx201\n", made["sign"])


# ---- what comes back


async def test_a_good_answer(keys: PayKeys) -> None:
    """What the platform has signed is believed, and the key is named."""
    assert await keys.verify(signed(), BODY) == KEY_ID


async def test_an_empty_body_is_signed_too(keys: PayKeys) -> None:
    """An answer without content (204) is verified over timestamp, nonce and an empty line."""
    assert await keys.verify(signed(b""), b"") == KEY_ID


@pytest.mark.parametrize(
    "form",
    [
        lambda headers: {name.lower(): value for name, value in headers.items()},
        lambda headers: {name.upper(): value for name, value in headers.items()},
        lambda headers: list(headers.items()),
        lambda headers: [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        lambda headers: headers | {"Wechatpay-Other": "1, 2", "Content-Type": "a, b"},
        lambda headers: {name: value for name, value in headers.items() if not name.endswith("Type")},
        lambda headers: {name: f" {value} " for name, value in headers.items()},
    ],
)
async def test_forms_of_headers(keys: PayKeys, form: Any) -> None:
    """Names in any case, as a mapping or as pairs; the signature type may be absent."""
    assert await keys.verify(form(signed()), BODY) == KEY_ID


@pytest.mark.parametrize("name", ["Timestamp", "Nonce", "Signature", "Serial"])
@pytest.mark.parametrize("kind", ["absent", "empty", "blank"])
async def test_each_header_is_needed(keys: PayKeys, name: str, kind: str) -> None:
    """An answer without signature is an attack or a proxy's page."""
    headers = signed()
    if kind == "absent":
        del headers[f"Wechatpay-{name}"]
    else:
        headers[f"Wechatpay-{name}"] = "" if kind == "empty" else "  "
    with pytest.raises(PaySignatureError, match=name) as caught:
        await keys.verify(headers, BODY)
    assert caught.value.reason == "missing"


@pytest.mark.parametrize("name", ["Timestamp", "Nonce", "Signature", "Serial", "Signature-Type"])
@pytest.mark.parametrize("joined", [True, False])
async def test_a_doubled_header_is_refused(keys: PayKeys, name: str, joined: bool) -> None:
    """Nobody chooses between two values, not even two equal ones."""
    headers = signed()
    value = headers[f"Wechatpay-{name}"]
    doubled: Any = [*headers.items(), (f"wechatpay-{name}", value)]
    if joined:
        doubled = headers | {f"Wechatpay-{name}": f"{value}, {value}"}
    with pytest.raises(PaySignatureError) as caught:
        await keys.verify(doubled, BODY)
    assert caught.value.reason == "doubled"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signature_type": "WECHATPAY2-SM2-WITH-SM3"}, "type"),
        ({"signature_type": "MD5"}, "type"),
        ({"timestamp": "now"}, "timestamp"),
        ({"timestamp": "-5"}, "timestamp"),
        ({"timestamp": "1e9"}, "timestamp"),
        ({"timestamp": "9" * 400}, "timestamp"),
        ({"timestamp": "١٢٣"}, "timestamp"),
        ({"timestamp": str(NOW + 1)}, "signature"),
        ({"nonce": "other"}, "signature"),
        ({"nonce": "茶"}, "signature"),
        ({"signature": "no base64!"}, "signature"),
        ({"signature": ""}, "missing"),
        ({"signature": "AAAA"}, "signature"),
        ({"serial": KEY_ID + "1"}, "serial"),
        ({"serial": "5AB"}, "serial"),
        ({"serial": "x" * 10_000}, "serial"),
    ],
)
async def test_changed_headers_are_refused(keys: PayKeys, changes: dict[str, str], reason: str) -> None:
    """Each header takes part, and the error says which check failed."""
    with pytest.raises(PaySignatureError) as caught:
        await keys.verify(signed(**changes), BODY)
    assert caught.value.reason == reason
    assert type(caught.value) is PaySignatureError
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("age", [299, 0, -299])
async def test_the_window(keys: PayKeys, age: int) -> None:
    """Less than 300 seconds off in either direction."""
    await keys.verify(signed(age=age), BODY)


@pytest.mark.parametrize("age", [300, 86400, -300])
async def test_outside_the_window(keys: PayKeys, age: int) -> None:
    """At 300 seconds a good signature is refused, in either direction."""
    with pytest.raises(PaySignatureError, match="clocks") as caught:
        await keys.verify(signed(age=age), BODY)
    assert caught.value.reason == "stale"


@pytest.mark.parametrize(
    "body",
    [
        BODY + b" ",
        BODY[:-1],
        b"",
        json.dumps(json.loads(BODY)).encode(),
        BODY.replace(b":", b": ", 1),
    ],
)
async def test_a_changed_body_is_refused(keys: PayKeys, body: bytes) -> None:
    """Every byte counts; JSON that was read and written again is another text."""
    with pytest.raises(PaySignatureError):
        await keys.verify(signed(), body)


async def test_another_key_under_a_known_serial(keys: PayKeys) -> None:
    """A good signature by a stranger's key is a bad one."""
    with pytest.raises(PaySignatureError) as caught:
        await keys.verify(signed(label="c"), BODY)
    assert caught.value.reason == "signature"


async def test_the_only_key_is_not_tried(keys: PayKeys) -> None:
    """A signature of the only key that names another serial is refused."""
    with pytest.raises(PaySignatureError, match="not known") as caught:
        await keys.verify(signed(serial="5AB"), BODY)
    assert caught.value.reason == "serial"
    assert KEY_ID in str(caught.value)


@pytest.mark.parametrize("serial", [KEY_ID, "5AB"])
async def test_probes_have_their_own_class(keys: PayKeys, serial: str) -> None:
    """A probe is refused, and known as one."""
    noise = "WECHATPAY/SIGNTEST/" + "A" * 300
    with pytest.raises(PayProbeError) as caught:
        await keys.verify(signed(signature=noise, serial=serial), BODY)
    assert caught.value.reason == "probe"


async def test_a_stale_probe_is_stale(keys: PayKeys) -> None:
    """The checks come in the order of the documents: freshness before the signature."""
    with pytest.raises(PaySignatureError) as caught:
        await keys.verify(signed(signature="WECHATPAY/SIGNTEST/AAAA", age=400), BODY)
    assert caught.value.reason == "stale"


async def test_an_answer_may_have_acted(keys: PayKeys) -> None:
    """A call whose answer is not authentic may have been carried out; a notification asks for nothing."""
    with pytest.raises(PaySignatureError) as caught:
        await keys.verify(signed(nonce="x"), BODY, endpoint="POST /x")
    assert caught.value.maybe_acted
    assert caught.value.endpoint == "POST /x"
    with pytest.raises(PaySignatureError) as notice:
        await keys.verify(signed(nonce="x"), BODY)
    assert not notice.value.maybe_acted


@settings(max_examples=60)
@given(
    headers=st.dictionaries(
        st.sampled_from(["wechatpay-timestamp", "Wechatpay-Nonce", "wechatpay-signature", "wechatpay-serial", "x"]),
        st.text(max_size=30) | st.just(str(NOW)) | st.just(KEY_ID),
    ),
    body=st.binary(max_size=30),
)
async def test_nonsense_is_only_ever_refused(headers: dict[str, str], body: bytes) -> None:
    """Whatever arrives, the answer is our own error and nothing else."""
    keys = PayKeys(
        mchid="1900000001",
        api_v3_key=API_V3_KEY,
        public_key=simulated.public_pem("b"),
        public_key_id=KEY_ID,
        clock=lambda: NOW,
    )
    with pytest.raises(PaySignatureError):
        await keys.verify(headers, body)


def test_headers_show_no_signature() -> None:
    """What was read prints without the signature."""
    found = read_headers(signed(), NOW)
    assert found.signature not in repr(found)
    assert datetime.fromtimestamp(int(found.timestamp), UTC).year == 2026
