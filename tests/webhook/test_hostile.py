"""Hostile requests: all are refused alike, quickly, in every mode, for the address and for pushes."""

from __future__ import annotations

import base64
import functools
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.moments import little_work
from tests.webhook import pushes
from tests.webhook.pushes import ACCOUNT, AES_KEY, APPID, TOKEN
from tests.webhook.test_crypto import cbc, padded
from tests.webhook.test_reading import HUGE, JSON_REFUSED, REFUSED
from wxmp.errors import WebhookError
from wxmp.webhook import Webhook
from wxmp.webhook.crypto import MessageCipher, sha1_of_sorted
from wxmp.webhook.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_790_000_000.0
MODES = ("plain", "compatible", "safe")
FIXED = b"refused\n"
INNER = pushes.xml(pushes.fields(Content="hello", CreateTime=int(NOW)))

Parameters = dict[str, str]
Request = tuple[bytes, bytes]


def hook(mode: Any, **changed: Any) -> Webhook:
    return Webhook(token=TOKEN, encoding_aes_key=AES_KEY, appid=APPID, mode=mode, clock=lambda: NOW, **changed)


def gate(mode: Any, **changed: Any) -> Gate:
    return Gate(token=TOKEN, encoding_aes_key=AES_KEY, appid=APPID, mode=mode, clock=lambda: NOW, **changed)


def signed(encrypt: str, *, token: str = TOKEN, timestamp: str = "1790000000", nonce: str = "202611") -> Parameters:
    return {
        "signature": sha1_of_sorted(token, timestamp, nonce),
        "timestamp": timestamp,
        "nonce": nonce,
        "openid": pushes.USER,
        "encrypt_type": "aes",
        "msg_signature": sha1_of_sorted(token, timestamp, nonce, encrypt),
        "echostr": "5927782489442352469",
    }


def envelope(mode: str, encrypt: str) -> bytes:
    values: dict[str, Any] = {"ToUserName": ACCOUNT, "Encrypt": encrypt}
    if mode == "compatible":
        values = {**pushes.fields(), **values}
    return pushes.xml(values)


def authentic(mode: str, inner: bytes = INNER, **changed: str) -> tuple[Parameters, bytes]:
    """A genuine request with any message inside."""
    if mode == "plain":
        return signed("x", **changed), inner
    encrypt = MessageCipher(AES_KEY, APPID).encrypt(inner)
    return signed(encrypt, **changed), envelope(mode, encrypt)


def coded(parameters: Parameters) -> bytes:
    return urlencode(parameters).encode()


# ---- parameters: (method, mode, request)

ODD_SIGNATURES = {
    "empty": "",
    "é": "é",
    "40 times é": "é" * 40,
    "blank": " ",
    "zeros": "0" * 40,
    "39 digits": "0" * 39,
    "no hex": "g" * 40,
    "10 kB": "0" * 10_000,
    "6 kB": "0" * 6_000,
    "NUL": "\0" * 40,
    "other digits": "٠" * 40,
}
ODD_TIMESTAMPS = {
    "empty": "",
    "blank in front": " 1790000000",
    "blank behind": "1790000000 ",
    "line break": "1790000000\n",
    "plus": "+1790000000",
    "minus": "-1790000000",
    "underscore": "1_790_000_000",
    "Arabic digits": "١٧٩٠٠٠٠٠٠٠",
    "full-width digits": "１７９０００００００",
    "superscript": "179000000²",
    "fraction": "1790000000.0",
    "exponent": "179e7",
    "hex": "0x6ab13b80",
    "10 kB": "1" * 10_000,
    "5 kB": "1" * 5_000,
    "13 digits": "0001790000000",
    "zero": "0",
    "stale": "1789999699",
    "future": "1790000301",
    "2039": "2177452800",
    "milliseconds": "179000000000",
    "text": "now",
}
ODD_NONCES = {"empty": "", "long": "n" * 129, "10 kB": "n" * 10_000}


def odd_parameters(method: str, mode: str) -> dict[str, Request]:
    """Requests whose body is genuine and whose parameters are not."""
    deciding = "signature" if method == "GET" or mode == "plain" else "msg_signature"
    parameters, body = authentic(mode)
    found: dict[str, Request] = {}
    for name, value in ODD_SIGNATURES.items():
        found[f"signature: {name}"] = coded({**parameters, deciding: value}), body
    raw = coded({**parameters, deciding: "SIGNATURE"})
    found["signature: raw bytes"] = raw.replace(b"SIGNATURE", b"\xc3\xa9" * 20), body
    found["signature: bad percent signs"] = raw.replace(b"SIGNATURE", b"%zz%c3%"), body
    found["signature: capitals"] = coded({**parameters, deciding: parameters[deciding].upper()}), body
    found["signature: of another Token"] = coded(authentic(mode, token="anotherToken")[0]), body
    found["signature: in the place of the other"] = (
        coded({**parameters, deciding: parameters["msg_signature" if deciding == "signature" else "signature"]}),
        body,
    )
    for name, value in ODD_TIMESTAMPS.items():
        odd, odd_body = authentic(mode, timestamp=value)
        found[f"timestamp: {name}"] = coded(odd), odd_body
    found["timestamp: raw digits"] = coded({**parameters, "timestamp": "T"}).replace(b"=T", "=١٧".encode()), body
    for name, value in ODD_NONCES.items():
        odd, odd_body = authentic(mode, nonce=value)
        found[f"nonce: {name}"] = coded(odd), odd_body
    for name in (deciding, "timestamp", "nonce"):
        left = {key: value for key, value in parameters.items() if key != name}
        found[f"{name}: missing"] = coded(left), body
        found[f"{name}: doubled"] = coded(parameters) + f"&{name}={parameters[name]}".encode(), body
        found[f"{name}: doubled, in front"] = f"{name}=x&".encode() + coded(parameters), body
        found[f"{name}: doubled, name encoded"] = coded(parameters) + f"&%{ord(name[0]):x}{name[1:]}=1".encode(), body
        found[f"{name}: without a value"] = coded(left) + f"&{name}".encode(), body
        found[f"{name}: as a list"] = coded(left) + f"&{name}[]={parameters[name]}".encode(), body
    found["no query"] = b"", body
    found["separators"] = b"&&&===&%&+", body
    found["binary"] = bytes(range(256)), body
    found["100 kB"] = coded(parameters) + b"&x=" + b"x" * 100_000, body
    found["100 000 parameters"] = coded(parameters) + b"&x=1" * 100_000, body
    found["swapped timestamp and nonce"] = (
        coded({**parameters, "timestamp": parameters["nonce"], "nonce": parameters["timestamp"]}),
        body,
    )
    found["semicolons"] = coded(parameters).replace(b"&", b";"), body
    return found


def odd_bodies(mode: str) -> dict[str, Request]:
    """Requests with genuine parameters, as far as there can be any."""
    found: dict[str, Request] = {}
    outer = coded(signed("x"))
    for name, body in {**REFUSED, **HUGE, **{f"JSON, {name}": body for name, body in JSON_REFUSED.items()}}.items():
        found[f"outside: {name}"] = outer, body
        if mode != "plain":
            parameters, sealed = authentic(mode, body)
            found[f"inside: {name}"] = coded(parameters), sealed
    found["outside: 10 MB"] = outer, b"<xml><A>" + b"a" * 10_000_000 + b"</A></xml>"
    found["outside: only blanks, 1 MB"] = outer, b" " * (1 << 20)
    if mode == "plain":
        parameters, sealed = authentic("safe")
        found["encrypted"] = coded(parameters), sealed
        found["both"] = coded(parameters), envelope("compatible", "QUJD")
        return found
    found["plain body"] = coded(authentic("plain")[0]), INNER
    raw = {name: value for name, value in authentic("plain")[0].items() if name != "msg_signature"}
    found["plain body, plain parameters"] = coded({**raw, "encrypt_type": "raw"}), INNER
    texts = {
        "empty": "",
        "truncated base64": MessageCipher(AES_KEY, APPID).encrypt(INNER)[:-3],
        "no base64": "<>&" * 32,
        "half": MessageCipher(AES_KEY, APPID).encrypt(INNER)[:64],
        "beyond ASCII": "你好" * 16,
        "padding 0": cbc(padded(b"x" * 44)[:-16] + bytes(16)),
        "padding 33": cbc(padded(b"x" * 12)[:-1] + bytes([33])),
        "uneven padding": cbc(padded(INNER)[:-2] + b"\x01\x02"),
        "length of 4 GB": cbc(padded(INNER, length=0xFFFFFFFF)),
        "another appid": cbc(padded(INNER, appid="wx0000000000000000")),
        "another key": MessageCipher("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", APPID).encrypt(INNER),
        "1 MB of another key": base64.b64encode(b"x" * 750_000).decode(),
    }
    for name, text in texts.items():
        found[f"sealed: {name}"] = coded(signed(text)), envelope(mode, text)
    encrypt = MessageCipher(AES_KEY, APPID).encrypt(INNER)
    doubled = f"<xml><Encrypt><![CDATA[{encrypt}]]></Encrypt><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
    found["two Encrypts"] = coded(signed(encrypt)), doubled.encode()
    found["Encrypt with children"] = coded(signed(encrypt)), f"<xml><Encrypt><a>{encrypt}</a></Encrypt></xml>".encode()
    found["Encrypt too deep"] = coded(signed(encrypt)), f"<xml><a><Encrypt>{encrypt}</Encrypt></a></xml>".encode()
    found["another root"] = coded(signed(encrypt)), f"<html><Encrypt>{encrypt}</Encrypt></html>".encode()
    found["JSON, two Encrypts"] = coded(signed(encrypt)), f'{{"Encrypt":"{encrypt}","Encrypt":"{encrypt}"}}'.encode()
    found["JSON, Encrypt in a list"] = coded(signed(encrypt)), f'{{"Encrypt":["{encrypt}"]}}'.encode()
    found["form"] = coded(signed(encrypt)), f"Encrypt={quote(encrypt)}".encode()
    found["DOCTYPE around a genuine Encrypt"] = (
        coded(signed(encrypt)),
        f'<!DOCTYPE xml [<!ENTITY e "{encrypt}">]><xml><Encrypt>&e;</Encrypt></xml>'.encode(),
    )
    return found


CASES = [
    pytest.param(method, mode, request, id=f"{method}-{mode}-{name}")
    for mode in MODES
    for method, requests in (
        ("GET", odd_parameters("GET", mode)),
        ("POST", {**odd_parameters("POST", mode), **odd_bodies(mode)}),
    )
    for name, request in requests.items()
]


@pytest.mark.parametrize("mode", MODES)
def test_genuine_requests_open(mode: str) -> None:
    """What the hostile ones are made from is accepted: they are refused for what was changed."""
    parameters, body = authentic(mode)
    assert gate(mode).open(coded(parameters), body).fields["Content"] == "hello"
    assert gate(mode).verify_url(coded(parameters)) == b"5927782489442352469"


@pytest.mark.parametrize(("method", "mode", "request_"), [pytest.param(*case.values, id=case.id) for case in CASES])
async def test_hostile_requests_are_refused(
    method: str, mode: str, request_: Request, caplog: pytest.LogCaptureFixture
) -> None:
    """One of three statuses, always the same body, in no time, and never an error of ours in the log."""
    query, body = request_
    one = hook(mode)
    # 50 ms are promised; the rest is for slow machines.
    with caplog.at_level(logging.DEBUG), little_work(0.25):
        answer = await one.answer(method, query, b"" if method == "GET" else body)
    assert answer.status in {400, 403, 413}
    assert answer.body == FIXED
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
    for secret in (TOKEN, AES_KEY, "hello"):
        assert secret not in caplog.text


@pytest.mark.parametrize("mode", ["compatible", "safe"])
def test_everything_behind_the_signature_is_403(mode: str) -> None:
    """Who can sign learns nothing from the status either: whatever is inside, it is the same."""
    for name, (query, body) in odd_bodies(mode).items():
        if name.startswith(("inside", "sealed")):
            with pytest.raises(WebhookError) as caught:
                gate(mode).open(query, body)
            # A sealed text of 1 MB makes a body beyond the limit.
            assert caught.value.status == (413 if len(body) > 1 << 20 else 403), name


def test_everything_in_the_query_is_403() -> None:
    """Missing, doubled, odd or wrong: not authenticated."""
    for mode in MODES:
        for name, (query, body) in odd_parameters("POST", mode).items():
            with pytest.raises(WebhookError) as caught:
                gate(mode).open(query, body)
            assert caught.value.status == 403, name


def refusal(call: Callable[[], object]) -> WebhookError | None:
    """The refusal, or None; anything else that is raised fails the test."""
    try:
        call()
    except WebhookError as error:
        return error
    return None


def refused_everywhere(mode: str, variants: list[Request], allowed: Callable[[dict[str, Any]], bool]) -> int:
    """Open every variant; return how many were accepted, all of them allowed."""
    one, accepted = gate(mode), 0
    for query, body in variants:
        error = refusal(functools.partial(one.open, query, body))
        if error is None:
            assert allowed(one.open(query, body).fields)
            accepted += 1
        else:
            assert error.status in {400, 403}
    return accepted


@pytest.mark.parametrize("mode", ["compatible", "safe"])
@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_every_flipped_byte_of_the_envelope(mode: str, flip: int) -> None:
    """A byte changed anywhere in the body is refused, unless it is outside of the sealed text, which says the same."""
    parameters, body = authentic(mode)
    start = body.index(b"<Encrypt><![CDATA[") + 18
    end = body.index(b"]]></Encrypt>")
    variants = [(coded(parameters), body[:n] + bytes([body[n] ^ flip]) + body[n + 1 :]) for n in range(len(body))]
    assert refused_everywhere(mode, variants[start:end], lambda fields: False) == 0
    refused_everywhere(mode, variants, lambda fields: fields["Content"] == "hello")


def test_every_flipped_byte_of_the_query() -> None:
    """A byte changed anywhere in what is signed is refused."""
    parameters, body = authentic("safe")
    query = urlencode({name: parameters[name] for name in ("timestamp", "nonce", "msg_signature")}).encode()
    variants = [
        (query[:n] + bytes([query[n] ^ flip]) + query[n + 1 :], body)
        for n in range(len(query))
        for flip in (1, 0x20, 0x80)
    ]
    assert refused_everywhere("safe", variants, lambda fields: False) == 0


def test_every_flipped_bit_of_the_ciphertext_with_a_fitting_signature() -> None:
    """Somebody who can sign and has no key cannot change the end of a sealed message, and raises nothing else."""
    sealed = base64.b64decode(MessageCipher(AES_KEY, APPID).encrypt(INNER))
    variants = []
    for n in range(len(sealed)):
        text = base64.b64encode(sealed[:n] + bytes([sealed[n] ^ 0x55]) + sealed[n + 1 :]).decode()
        variants.append((coded(signed(text)), envelope("safe", text)))
    tail = variants[-32:]
    assert refused_everywhere("safe", tail, lambda fields: False) == 0
    refused_everywhere("safe", variants, lambda fields: True)


@pytest.mark.parametrize("mode", MODES)
def test_every_truncation(mode: str) -> None:
    """A body cut anywhere is refused."""
    parameters, body = authentic(mode)
    query = coded(parameters)
    assert refused_everywhere(mode, [(query, body[:n]) for n in range(len(body))], lambda fields: False) == 0
    # In plain mode nothing of the query behind the nonce is signed.
    end = query.index(b"&openid") if mode == "plain" else len(query) - len("&echostr=5927782489442352469")
    assert refused_everywhere(mode, [(query[:n], body) for n in range(end)], lambda fields: False) == 0


@pytest.mark.parametrize("mode", MODES)
async def test_replays_are_refused(mode: str) -> None:
    """The same request again is not the platform; a genuine retry, newly signed, is answered."""
    one = hook(mode)
    parameters, body = authentic(mode)
    assert (await one.answer("POST", coded(parameters), body)).status == 200
    again = await one.answer("POST", coded(parameters), body)
    assert (again.status, again.body) == (403, FIXED)
    moved = {**parameters, "openid": "x", "encrypt_type": "raw"}
    assert (await one.answer("POST", coded(dict(reversed(moved.items()))), body)).status == 403
    retry, retry_body = authentic(mode, timestamp="1790000005", nonce="7")
    assert (await one.answer("POST", coded(retry), retry_body)).status == 200


PIECES = st.sampled_from(
    ["<xml>", "</xml>", "<Encrypt>", "</Encrypt>", "<![CDATA[", "]]>", "QUJD", "&amp;", "<!DOCTYPE x>", "}",
     '{"Encrypt":', '"QUJD"',
     "<ToUserName>", "</ToUserName>", "你", "\0", "\ufeff", " ", "&#0;", "<?xml version='1.0'?>", "]", "[", "\\ud800"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["signature", "msg_signature", "timestamp", "nonce", "echostr", "encrypt_type", "%73ignature", "x"]
)
VALUES = st.sampled_from(
    ["", "1790000000", "202611", sha1_of_sorted(TOKEN, "1790000000", "202611"), "%", "%zz", "+", "é", "="]
)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(MODES),
    st.lists(st.tuples(NAMES, VALUES), max_size=7).map(lambda pairs: "&".join(f"{a}={b}" for a, b in pairs)),
    st.lists(PIECES, max_size=10).map("".join) | st.text(max_size=50),
    st.booleans(),
)
def test_mangled_requests_raise_webhook_errors_only(mode: str, query: str, body: str, genuine: bool) -> None:
    """Mutated parameters and markup, with and without a fitting signature: nothing else is ever raised."""
    for encoded in (body.encode(), body.encode("utf-16"), body.encode("gbk", "replace")):
        if genuine:
            parameters, outer = authentic(mode, encoded)
            requests = [(coded(parameters), outer), (coded(signed(body)), envelope(mode, body))]
        else:
            requests = [(query.encode(), encoded)]
        for text, data in requests:
            error = refusal(functools.partial(gate(mode).open, text, data))
            assert error is None or error.status in {400, 403}
            error = refusal(functools.partial(gate(mode).verify_url, query.encode()))
            assert error is None or error.status == 403
