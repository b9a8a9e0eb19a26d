"""The values of other implementations, where they are at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import wxmp
from wxmp.errors import DecryptError
from wxmp.webhook.crypto import MessageCipher, sha1_of_sorted
from wxmp.webhook.gate import Gate
from wxmp.webhook.reading import read_xml

FOLDER = Path(os.environ.get("WXMP_VECTORS", Path(wxmp.__file__).parents[2] / "shared" / "vectors"))
FILE = FOLDER / "crypto_peers.json"


def vectors(*kinds: str) -> list[Any]:
    if not FILE.is_file():
        reason = f"no crypto_peers.json: set WXMP_VECTORS to its folder (looked into {FOLDER.name})"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="absent")]
    found = json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
    assert {one["kind"] for one in found} == {"envelope", "cipher", "url_signature", "sorted_sha1", "msg_signature"}
    return [pytest.param(one, id=one["id"]) for one in found if one["kind"] in kinds]


@pytest.mark.parametrize("vector", vectors("sorted_sha1"))
def test_sorted_sha1(vector: dict[str, Any]) -> None:
    """The sorted digest is theirs."""
    assert sha1_of_sorted(*vector["parts"]) == vector["signature"]


@pytest.mark.parametrize("vector", vectors("url_signature"))
def test_url_signature(vector: dict[str, Any]) -> None:
    """The signature of the address is theirs."""
    assert sha1_of_sorted(vector["token"], vector["timestamp"], vector["nonce"]) == vector["signature"]


@pytest.mark.parametrize("vector", vectors("msg_signature", "envelope"))
def test_msg_signature(vector: dict[str, Any]) -> None:
    """The signature of an encrypted push is theirs."""
    parts = (vector["token"], vector["timestamp"], vector["nonce"], vector["ciphertext"])
    assert sha1_of_sorted(*parts) == vector["msg_signature"]


@pytest.mark.parametrize("vector", vectors("cipher", "envelope"))
def test_decrypt(vector: dict[str, Any]) -> None:
    """What they sealed opens to what they say, and for their AppID only."""
    cipher = MessageCipher(vector["encoding_aes_key"], vector["app_id"])
    assert cipher.decrypt(vector["ciphertext"]).decode() == vector["plaintext"]
    with pytest.raises(DecryptError):
        MessageCipher(vector["encoding_aes_key"], vector["app_id"] + "0").decrypt(vector["ciphertext"])


@pytest.mark.parametrize("vector", vectors("cipher", "envelope"))
def test_encrypt(vector: dict[str, Any]) -> None:
    """With their random bytes we write what they write, padding included."""
    cipher = MessageCipher(vector["encoding_aes_key"], vector["app_id"])
    sealed = cipher.encrypt(vector["plaintext"].encode(), random=vector["random16"].encode())
    assert sealed == vector["ciphertext"]


@pytest.mark.parametrize("vector", vectors("envelope"))
def test_whole_push(vector: dict[str, Any]) -> None:
    """A push of theirs comes through the gate, with the fields they name."""
    gate = Gate(
        token=vector["token"],
        encoding_aes_key=vector["encoding_aes_key"],
        appid=vector["app_id"],
        clock=lambda: float(vector["timestamp"]),
    )
    query = "timestamp={timestamp}&nonce={nonce}&msg_signature={msg_signature}".format_map(vector).encode()
    body = f"<xml><ToUserName><![CDATA[x]]></ToUserName><Encrypt><![CDATA[{vector['ciphertext']}]]></Encrypt></xml>"
    if not vector["plaintext"].startswith("<"):
        with pytest.raises(DecryptError):
            gate.open(query, body.encode())
        return
    fields = gate.open(query, body.encode()).fields
    assert fields == read_xml(vector["plaintext"].encode())
    for name, value in vector.get("expected_fields", {}).items():
        assert fields[name] == value
