"""Signatures and the AES envelope of the pushes, written from the documents a second time.

The SDK has its own in ``wxmp.webhook.crypto``. Two readings of the same pages that understand each other are worth more
than one that understands itself, and the simulator needs its noise from the seed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Final

from wxmp.simulator.answers import BrokenReply

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import CBC

__all__ = ["decrypt", "encrypt", "signature"]

# The envelope is padded to this many bytes, although AES needs 16 only.
BLOCK: Final = 32
AES_BLOCK: Final = 16
NOISE: Final = 16
HEAD: Final = NOISE + 4


def signature(*parts: str) -> str:
    """Return the SHA-1 of the sorted, joined parts in lower-case hex."""
    joined = "".join(sorted(parts)).encode("utf-8", errors="surrogatepass")
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()


def cipher_of(encoding_aes_key: str) -> Cipher[CBC]:
    """Return AES-256-CBC under a key of 43 characters; the first bytes of the key are the start vector."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = base64.b64decode(f"{encoding_aes_key}=")
    return Cipher(algorithms.AES(key), modes.CBC(key[:AES_BLOCK]))


def encrypt(encoding_aes_key: str, appid: str, message: bytes, noise: bytes) -> str:
    """Put a message into an envelope.

    Args:
        encoding_aes_key: The EncodingAESKey.
        appid: The AppID at the end of the envelope.
        message: What goes in.
        noise: The 16 bytes in front.
    """
    plain = noise[:NOISE] + len(message).to_bytes(4, "big") + message + appid.encode()
    pad = BLOCK - len(plain) % BLOCK
    worker = cipher_of(encoding_aes_key).encryptor()
    return base64.b64encode(worker.update(plain + bytes([pad]) * pad) + worker.finalize()).decode()


def decrypt(encoding_aes_key: str, appid: str, text: str) -> bytes:
    """Take the message out of an envelope.

    Raises:
        BrokenReply: It is damaged, made with another key, or for another AppID.
    """
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BrokenReply("the Encrypt of the reply is no base64") from error
    if not raw or len(raw) % AES_BLOCK:
        raise BrokenReply("the Encrypt of the reply has a length no cipher text has")
    worker = cipher_of(encoding_aes_key).decryptor()
    plain = worker.update(raw) + worker.finalize()
    pad = plain[-1]
    if not 1 <= pad <= BLOCK or plain[-pad:] != bytes([pad]) * pad or len(plain) < HEAD + pad:
        raise BrokenReply("the reply cannot be decrypted with the account's EncodingAESKey")
    size = int.from_bytes(plain[NOISE:HEAD], "big")
    body = plain[HEAD:-pad]
    if size > len(body):
        raise BrokenReply("the envelope of the reply says it is longer than it is")
    if body[size:] != appid.encode():
        raise BrokenReply("the envelope of the reply is for another AppID")
    return body[:size]
