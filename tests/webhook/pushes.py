"""Pushes as the platform sends them, for the tests of the webhook."""

from __future__ import annotations

import itertools
import json
import secrets
import time
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import urlencode

from wxmp.webhook.crypto import MessageCipher, sha1_of_sorted

TOKEN = "devSampleToken"
AES_KEY = "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM"
APPID = "wx00112233445566aa"
ACCOUNT = "gh_3c884a361561"
USER = "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"

_ids = itertools.count(23_456_789_000_000_001)


def fields(kind: str = "text", **more: Any) -> dict[str, Any]:
    """The fields of a push, with a fresh MsgId for messages."""
    found: dict[str, Any] = {
        "ToUserName": ACCOUNT,
        "FromUserName": USER,
        "CreateTime": int(time.time()),
        "MsgType": kind,
    }
    if kind == "text":
        found["Content"] = "hello"
    if kind != "event":
        found["MsgId"] = next(_ids)
    return {**found, **more}


def xml(values: dict[str, Any]) -> bytes:
    """The fields as XML: numbers bare, texts in CDATA."""
    inner = "".join(
        f"<{name}>{value}</{name}>"
        if isinstance(value, int)
        else f"<{name}><![CDATA[{str(value).replace(']]>', ']]]]><![CDATA[>')}]]></{name}>"
        for name, value in values.items()
    )
    return f"<xml>{inner}</xml>".encode()


def plain(
    values: dict[str, Any], *, token: str = TOKEN, at: float | None = None, form: str = "xml"
) -> tuple[bytes, bytes]:
    """Query and body of a push in plain mode."""
    timestamp, nonce = str(int(time.time() if at is None else at)), secrets.token_hex(5)
    query = {"signature": sha1_of_sorted(token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}
    return urlencode(query).encode(), xml(values) if form == "xml" else json.dumps(values).encode()


def safe(
    values: dict[str, Any],
    *,
    token: str = TOKEN,
    key: str = AES_KEY,
    appid: str = APPID,
    at: float | None = None,
    form: str = "xml",
) -> tuple[bytes, bytes]:
    """Query and body of a push in safe mode."""
    timestamp, nonce = str(int(time.time() if at is None else at)), secrets.token_hex(5)
    inner = xml(values) if form == "xml" else json.dumps(values).encode()
    encrypted = MessageCipher(key, appid).encrypt(inner)
    query = {
        "signature": sha1_of_sorted(token, timestamp, nonce),
        "timestamp": timestamp,
        "nonce": nonce,
        "openid": values.get("FromUserName", ""),
        "encrypt_type": "aes",
        "msg_signature": sha1_of_sorted(token, timestamp, nonce, encrypted),
    }
    envelope = {"ToUserName": values.get("ToUserName", ""), "Encrypt": encrypted}
    return urlencode(query).encode(), xml(envelope) if form == "xml" else json.dumps(envelope).encode()


def verification(echostr: str = "5927782489442352469", *, token: str = TOKEN, at: float | None = None) -> bytes:
    """Query of the verification of an address."""
    timestamp, nonce = str(int(time.time() if at is None else at)), secrets.token_hex(5)
    signature = sha1_of_sorted(token, timestamp, nonce)
    return urlencode({"signature": signature, "timestamp": timestamp, "nonce": nonce, "echostr": echostr}).encode()


def opened(body: bytes, *, key: str = AES_KEY, appid: str = APPID, token: str = TOKEN) -> str:
    """The reply inside of an encrypted answer, its signature checked."""
    root = ET.fromstring(body)
    parts = {child.tag: child.text or "" for child in root}
    assert set(parts) == {"Encrypt", "MsgSignature", "TimeStamp", "Nonce"}
    signature = sha1_of_sorted(token, parts["TimeStamp"], parts["Nonce"], parts["Encrypt"])
    assert parts["MsgSignature"] == signature
    return MessageCipher(key, appid).decrypt(parts["Encrypt"]).decode()
