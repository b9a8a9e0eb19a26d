"""The platform's side of a webhook in safe mode, made with ``cryptography`` alone: it shares nothing with the SDK."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import secrets
import time
from urllib.parse import urlencode

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wxmp import Client
from wxmp.webhook.app import Webhook
from wxmp.webhook.messages import TextMessage

KEY = "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM"
BLOCK = 32
_numbers = itertools.count(23_456_789_000_000_000)


@attrs.frozen
class Request:
    """One request to the developer's server; each has a signature of its own."""

    query: str
    body: bytes = b""


@attrs.frozen
class Account:
    """An account and its server settings."""

    appid: str = "wx0123456789abcdef"
    token: str = "devSampleToken"
    key: str = KEY
    original_id: str = "gh_3c884a361561"

    def hook(self, **settings: object) -> Webhook:
        """The webhook with the same settings."""
        return Webhook(token=self.token, encoding_aes_key=self.key, appid=self.appid, **settings)  # type: ignore[arg-type]

    def _sign(self, *parts: str) -> str:
        return hashlib.sha1("".join(sorted((self.token, *parts))).encode()).hexdigest()

    def _cipher(self) -> Cipher[modes.CBC]:
        key = base64.b64decode(self.key + "=")
        return Cipher(algorithms.AES(key), modes.CBC(key[:16]))

    def check(self, echostr: str) -> Request:
        """The verification of the address."""
        timestamp, nonce = str(int(time.time())), secrets.token_hex(5)
        signature = self._sign(timestamp, nonce)
        query = {"signature": signature, "timestamp": timestamp, "nonce": nonce, "echostr": echostr}
        return Request(urlencode(query))

    def text(self, content: str, *, openid: str = "o6_bmjrPTlm6_2sgVt7hMZOPfL2M") -> bytes:
        """A new text message, in the clear; :meth:`deliver` may carry it several times."""
        return (
            f"<xml><ToUserName>{self.original_id}</ToUserName><FromUserName>{openid}</FromUserName>"
            f"<CreateTime>{int(time.time())}</CreateTime><MsgType>text</MsgType>"
            f"<Content>{content}</Content><MsgId>{next(_numbers)}</MsgId></xml>"
        ).encode()

    def deliver(self, inner: bytes) -> Request:
        """One delivery of a message: the cipher text, the nonce and the signature are new each time."""
        plain = os.urandom(16) + len(inner).to_bytes(4, "big") + inner + self.appid.encode()
        padding = BLOCK - len(plain) % BLOCK
        encryptor = self._cipher().encryptor()
        sealed = encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
        encrypted = base64.b64encode(sealed).decode()
        timestamp, nonce = str(int(time.time())), secrets.token_hex(5)
        query = {
            "signature": self._sign(timestamp, nonce),
            "timestamp": timestamp,
            "nonce": nonce,
            "encrypt_type": "aes",
            "msg_signature": self._sign(timestamp, nonce, encrypted),
        }
        body = f"<xml><ToUserName>{self.original_id}</ToUserName><Encrypt>{encrypted}</Encrypt></xml>"
        return Request(urlencode(query), body.encode())

    def say(self, content: str) -> Request:
        """A new text message and its first delivery."""
        return self.deliver(self.text(content))

    def read(self, body: bytes) -> str:
        """What an encrypted text reply tells the user."""
        encrypted = _element("Encrypt", body)
        assert _element("MsgSignature", body) == self._sign(
            _element("TimeStamp", body), _element("Nonce", body), encrypted
        )
        decryptor = self._cipher().decryptor()
        padded = decryptor.update(base64.b64decode(encrypted)) + decryptor.finalize()
        plain = padded[16 : -padded[-1]]
        length = int.from_bytes(plain[:4], "big")
        assert plain[4 + length :] == self.appid.encode()
        return _element("Content", plain[4 : 4 + length])


def _element(name: str, body: bytes) -> str:
    found = re.search(rf"<{name}>(?:<!\[CDATA\[)?(.*?)(?:\]\]>)?</{name}>", body.decode(), re.DOTALL)
    assert found is not None, f"no {name} in {body!r}"
    return found.group(1)


SHOP = Account()
NEWS = Account(appid="wxfedcba9876543210", token="anotherToken")


class Recorded(Client):
    """A client that tells whether it is closed."""

    closed = 0

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1
        await super().aclose()


def make(appid: str = SHOP.appid) -> Recorded:
    return Recorded(appid, "secret")


def echo_hook(account: Account = SHOP, **settings: object) -> Webhook:
    hook = account.hook(**settings)

    @hook.on(TextMessage)
    async def echo(message: TextMessage) -> str:
        return message.content

    return hook
