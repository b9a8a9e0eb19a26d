"""Enciphered resources and fields: what opens, and everything that must not."""

from __future__ import annotations

import base64
import traceback
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from wxmp.errors import ConfigError, PayDecryptError
from wxmp.pay._cipher import ResourceCipher, oaep_encrypt
from wxmp.pay._keys import MerchantKey
from wxmp.simulator.pay import keys as simulated

KEY = "0123456789abcdefghijABCDEFGHIJ!#"
OTHER = "f" * 32
NONCE = "fdasflkja484"


def seal(plain: bytes, extra: str | None = "transaction", key: str = KEY, nonce: str = NONCE) -> dict[str, Any]:
    sealed = AESGCM(key.encode()).encrypt(nonce.encode(), plain, (extra or "").encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": extra,
        "nonce": nonce,
    }


def test_known_answer() -> None:
    """A cipher text made by another implementation (PyCryptodome) opens."""
    resource: dict[str, Any] = {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": "I+8k7linxfIH/ZZj4FgPFBalbxTs6/xe5V/wwPx6Qf9KZzTHvIU5Iz9EbO1BkYrODksJcjc=",
        "associated_data": "transaction",
        "nonce": NONCE,
    }
    assert ResourceCipher(KEY).open(resource).decode() == '{"mchid":"1900000109","attach":"茶"}'


@given(plain=st.binary(max_size=200), extra=st.text(st.characters(codec="utf-8"), max_size=20))
def test_round_trip(plain: bytes, extra: str) -> None:
    """Whatever is sealed opens to the same; the cipher text is 16 bytes longer."""
    resource = seal(plain, extra)
    assert ResourceCipher(KEY).open(resource) == plain
    assert len(base64.b64decode(resource["ciphertext"])) == len(plain) + 16


@pytest.mark.parametrize("change", [{"associated_data": ""}, {"associated_data": None}, {}])
def test_no_associated_data_in_any_form(change: dict[str, Any]) -> None:
    """Absent, null and empty associated data are the same."""
    resource = seal(b"{}", "")
    del resource["associated_data"]
    assert ResourceCipher(KEY).open(resource | change) == b"{}"


def test_the_previous_key_opens_too() -> None:
    """What was on its way while the key was changed still opens."""
    assert ResourceCipher(OTHER, KEY).open(seal(b"old")) == b"old"
    assert ResourceCipher(OTHER, KEY).open(seal(b"new", key=OTHER)) == b"new"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"algorithm": "AEAD_SM4_GCM"}, "malformed"),
        ({"algorithm": None}, "malformed"),
        ({"nonce": "short"}, "malformed"),
        ({"nonce": "n" * 13}, "malformed"),
        ({"nonce": 12}, "malformed"),
        ({"nonce": "\ud800" * 12}, "malformed"),
        ({"ciphertext": "no base64!"}, "malformed"),
        ({"ciphertext": "AAAA"}, "malformed"),
        ({"ciphertext": None}, "malformed"),
        ({"associated_data": 1}, "malformed"),
        ({"associated_data": "refund"}, "key"),
        ({"nonce": "n" * 12}, "key"),
    ],
)
def test_what_does_not_open(change: dict[str, Any], reason: str) -> None:
    """Anything but exactly what was sealed is refused, with the reason."""
    with pytest.raises(PayDecryptError) as caught:
        ResourceCipher(KEY).open(seal(b"secret text") | change)
    assert caught.value.reason == reason


@pytest.mark.parametrize("place", range(0, 27, 3))
def test_a_flipped_bit_is_found(place: int) -> None:
    """No byte of the cipher text or its tag can be changed."""
    resource = seal(b"secret text")
    data = bytearray(base64.b64decode(resource["ciphertext"]))
    data[place] ^= 1
    with pytest.raises(PayDecryptError):
        ResourceCipher(KEY).open(resource | {"ciphertext": base64.b64encode(data).decode()})


def test_another_key_says_so() -> None:
    """The most frequent mistake is named: the APIv3 key."""
    with pytest.raises(PayDecryptError, match="APIv3 key"):
        ResourceCipher(OTHER).open(seal(b"{}"))


@pytest.mark.parametrize("key", ["", "k" * 16, "k" * 31, "k" * 33, "密" * 32, "k" * 31 + "\n", b"k" * 32, None])
@pytest.mark.parametrize("field", ["api_v3_key", "previous_api_v3_key"])
def test_a_key_has_32_characters(key: Any, field: str) -> None:
    """Any other length is refused before anything else happens, and the key is in no frame of the error."""
    if key is None and field == "previous_api_v3_key":
        return  # that is none
    with pytest.raises(ConfigError, match="32") as caught:
        ResourceCipher(*(KEY, key) if field == "previous_api_v3_key" else (key,))
    assert caught.value.field == field
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    frames = told.split("pay/_cipher.py", 1)[1]
    assert KEY not in frames
    assert not key or repr(key) not in frames


def test_a_cipher_prints_nothing() -> None:
    """The repr shows no key."""
    assert KEY not in repr(ResourceCipher(KEY, OTHER))


# ---- single fields


@settings(max_examples=20, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=53))
def test_fields_round_trip(text: str) -> None:
    """What is enciphered for a key opens with it."""
    key = simulated.private_key("a")
    assert MerchantKey(key, "1A").decrypt(oaep_encrypt(key.public_key(), text)) == text


def test_a_field_has_214_bytes_at_most() -> None:
    """One value of a key of 2048 bits; the limit counts bytes."""
    public = simulated.private_key("a").public_key()
    assert len(base64.b64decode(oaep_encrypt(public, "x" * 214))) == 256
    with pytest.raises(ConfigError, match="215 bytes, at most 214"):
        oaep_encrypt(public, "x" * 215)
    with pytest.raises(ConfigError, match="216 bytes"):
        oaep_encrypt(public, "密" * 72)


def test_each_encryption_is_another_text() -> None:
    """The padding is random."""
    public = simulated.private_key("a").public_key()
    assert oaep_encrypt(public, "张三") != oaep_encrypt(public, "张三")


@pytest.mark.parametrize("text", ["no base64!", "AAAA", ""])
def test_a_field_that_does_not_open(text: str) -> None:
    """A damaged field is an error of its own class."""
    with pytest.raises(PayDecryptError):
        MerchantKey(simulated.private_key("a"), "1A").decrypt(text)


def test_a_field_for_another_key_does_not_open() -> None:
    """A field for another certificate is refused without a hint of its content."""
    sealed = oaep_encrypt(simulated.private_key("b").public_key(), "张三")
    with pytest.raises(PayDecryptError, match="another merchant certificate"):
        MerchantKey(simulated.private_key("a"), "1A").decrypt(sealed)
