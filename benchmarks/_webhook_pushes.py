"""Encrypted text messages as the platform pushes them in safe mode, every one with its own signature, nonce and MsgId.

They are made with ``cryptography`` alone, by nobody's SDK: what is measured must not also make what it reads.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import CBC

APPID: Final = "wx0123456789abcdef"
TOKEN: Final = "devSampleToken"
ENCODING_AES_KEY: Final = "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM"
ACCOUNT: Final = "gh_3c884a361561"
OPENID: Final = "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"
QUESTION: Final = "你好，请问今天几点开门？"
_FIRST_ID: Final = 23_456_789_000_000_000

_INNER: Final = (
    "<xml><ToUserName><![CDATA[{account}]]></ToUserName>\n<FromUserName><![CDATA[{openid}]]></FromUserName>\n"
    "<CreateTime>{created}</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n"
    "<Content><![CDATA[{question}]]></Content>\n<MsgId>{number}</MsgId>\n</xml>"
)
_OUTER: Final = (
    "<xml>\n    <ToUserName><![CDATA[{account}]]></ToUserName>\n    <Encrypt><![CDATA[{encrypt}]]></Encrypt>\n</xml>\n"
)
_QUERY: Final = (
    "signature={plain}&timestamp={timestamp}&nonce={nonce}&openid={openid}&encrypt_type=aes&msg_signature={signature}"
)


class RawPush(NamedTuple):
    """One request."""

    query: bytes
    body: bytes


def cipher() -> Cipher[CBC]:
    """Return the envelope's cipher."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = base64.b64decode(ENCODING_AES_KEY + "=")
    return Cipher(algorithms.AES(key), modes.CBC(key[:16]))


def sign(*parts: str) -> str:
    """Return the platform's signature."""
    return hashlib.sha1("".join(sorted((TOKEN, *parts))).encode()).hexdigest()


def encrypted_pushes(count: int, *, first: int = 0, now: float | None = None, users: bool = False) -> Iterator[RawPush]:
    """Make pushes.

    Args:
        count: How many.
        first: The number of the first one; another number is another message.
        now: When they are sent; the time it is by default.
        users: Whether every message comes from another user.
    """
    aes = cipher()
    created = int(time.time() if now is None else now)
    timestamp = str(created)
    for number in range(first, first + count):
        openid = f"{OPENID[:18]}{number:010d}" if users else OPENID
        nonce = f"1{number:09d}"
        inner = _INNER.format(
            account=ACCOUNT, openid=openid, created=created, question=QUESTION, number=_FIRST_ID + number
        ).encode()
        plain = os.urandom(16) + len(inner).to_bytes(4, "big") + inner + APPID.encode()
        padding = 32 - len(plain) % 32
        encrypt = base64.b64encode(aes.encryptor().update(plain + bytes([padding]) * padding)).decode()
        query = _QUERY.format(
            plain=sign(timestamp, nonce),
            timestamp=timestamp,
            nonce=nonce,
            openid=openid,
            signature=sign(timestamp, nonce, encrypt),
        )
        yield RawPush(query.encode(), _OUTER.format(account=ACCOUNT, encrypt=encrypt).encode())


def opened_reply(body: bytes) -> str:
    """Return the text of an encrypted text reply; raise ValueError if it is none.

    Both sides are asked for the same work: this says whether they did it.
    """
    envelope = {child.tag: child.text or "" for child in ET.fromstring(body)}
    if sign(envelope["TimeStamp"], envelope["Nonce"], envelope["Encrypt"]) != envelope["MsgSignature"]:
        raise ValueError("the signature of the reply does not fit")
    padded = cipher().decryptor().update(base64.b64decode(envelope["Encrypt"]))
    plain = padded[: -padded[-1]]
    size = int.from_bytes(plain[16:20], "big")
    if plain[20 + size :] != APPID.encode():
        raise ValueError("the reply is not for this account")
    reply = {child.tag: child.text or "" for child in ET.fromstring(plain[20 : 20 + size])}
    if (reply["ToUserName"], reply["FromUserName"], reply["MsgType"]) != (OPENID, ACCOUNT, "text"):
        raise ValueError("the reply is not a text for the user")
    return reply["Content"]
