"""The signatures and the AES envelope of the webhook (消息加解密): pure functions of bytes, no clock, no network.

Facts that cost others a day: the key is the base64 text plus one ``=``; the initialisation vector is the first half of
the key; the padding block is 32 bytes although the block of AES is 16; the length counts bytes; the AppID ends it.

Source:
    消息加解密说明 - 开发者中心 / 消息管理
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

from wxmp.errors import ConfigError, DecryptError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
    from cryptography.hazmat.primitives.ciphers.modes import CBC

__all__ = ["MessageCipher", "check_appid", "check_key", "check_token", "sha1_of_sorted", "sign"]

#: Bytes of noise in front of every message.
NOISE: Final = 16
#: Noise and the four bytes of the length.
HEADER: Final = NOISE + 4
#: The padding fills blocks of this many bytes.
PADDING: Final = 32
#: Bytes of a block of AES.
AES_BLOCK: Final = 16

_FILLS: Final = tuple(bytes([fill]) * fill for fill in range(PADDING + 1))
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{43}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9]{3,32}")
_APPID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_token(token: object) -> str:
    """Return ``token`` when it has the form of a webhook Token (令牌).

    Raises:
        ConfigError: It is not 3 to 32 letters and digits (``field="token"``).
    """
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ConfigError("token must be 3 to 32 letters and digits, as in the console", field="token")
    return token


def check_appid(appid: object) -> str:
    """Return ``appid`` when it can be one.

    Raises:
        ConfigError: It is not 1 to 64 letters, digits, ``_`` and ``-`` (``field="appid"``).
    """
    if not isinstance(appid, str) or not _APPID.fullmatch(appid):
        raise ConfigError(
            "appid must be 1 to 64 letters, digits, '_' and '-', such as wx0123456789abcdef", field="appid"
        )
    return appid


def check_key(encoding_aes_key: object) -> str:
    """Return ``encoding_aes_key`` when it has the form of an EncodingAESKey (消息加解密密钥).

    Raises:
        ConfigError: It is not 43 characters of base64 (``field="encoding_aes_key"``). The key is not shown.
    """
    if not isinstance(encoding_aes_key, str) or not _KEY.fullmatch(encoding_aes_key):
        raise ConfigError(
            "encoding_aes_key must be the 43 letters and digits of the console, without a closing '='",
            field="encoding_aes_key",
        )
    return encoding_aes_key


def sign(*parts: bytes) -> bytes:
    """Return the signature of ``parts``: sorted, joined without separator, SHA-1, lower-case hex (签名).

    The plain signature covers Token, timestamp and nonce; ``msg_signature`` covers the text of ``Encrypt`` as well.
    Pass every part as it was received: a timestamp that went through ``int`` may have another text.
    """
    # SHA-1 is the platform's choice; strict (FIPS) builds of OpenSSL hand it out only for use outside of security.
    return hashlib.sha1(b"".join(sorted(parts)), usedforsecurity=False).hexdigest().encode("ascii")


def sha1_of_sorted(*parts: str | bytes) -> str:
    """Return the signature of ``parts`` as text, see ``sign``."""
    texts = [part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass") for part in parts]
    return sign(*texts).decode("ascii")


class MessageCipher:
    """The AES envelope under one EncodingAESKey and one AppID (消息体加解密).

    Args:
        encoding_aes_key: The 43 characters of the console. The lowest two bits of the last one carry nothing.
        appid: Ends every plain text: the account's own (of the component for a third-party platform).

    Raises:
        ConfigError: The key or the AppID does not have the documented form. The key is never shown.
    """

    __slots__ = ("_cipher", "_opener", "_sealer", "_tail")

    def __init__(self, encoding_aes_key: str, appid: str) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES256
        from cryptography.hazmat.primitives.ciphers.modes import CBC

        key = binascii.a2b_base64(check_key(encoding_aes_key) + "=")
        self._cipher: Cipher[CBC] = Cipher(AES256(key), CBC(key[:AES_BLOCK]))
        # Making a context costs more than the AES of a message, so two are kept and never finalised: each message goes
        # on where the one before ended, as if the last block of that one was the vector. In CBC the vector of a reader
        # touches the first block alone, and here that is the noise: coming in nobody looks at it, and going out it is
        # as random after the exchange as before.
        self._opener: CipherContext = self._cipher.decryptor()
        self._sealer: CipherContext = self._cipher.encryptor()
        self._tail = check_appid(appid).encode("ascii")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***, appid={self._tail.decode('ascii')!r})"

    def decrypt(self, encrypted: bytes | str) -> bytes:
        """Return the message inside of ``encrypted``, the text of an ``Encrypt`` element.

        Check the signature first: then nobody outside can use this as an oracle, and all failures look alike anyway.

        Raises:
            DecryptError: It is not base64, not a whole number of blocks, not padded evenly, of a wrong length, or for
                another AppID: one and the same error, without a cause.
        """
        try:
            sealed = binascii.a2b_base64(encrypted.strip(), strict_mode=True)
        except ValueError:
            raise DecryptError from None
        if len(sealed) < PADDING or len(sealed) % AES_BLOCK:
            raise DecryptError
        try:
            padded = self._opener.update(sealed)
        except RuntimeError:
            # Another thread is inside of it.
            padded = self._cipher.decryptor().update(sealed)
        fill = padded[-1]
        if not 1 <= fill <= PADDING or not padded.endswith(_FILLS[fill]):
            raise DecryptError
        end = len(padded) - fill
        cut = HEADER + int.from_bytes(padded[NOISE:HEADER], "big")
        # A length beyond the end leaves nothing to compare, and no AppID is empty.
        if not hmac.compare_digest(padded[cut:end], self._tail):
            raise DecryptError
        return padded[HEADER:cut]

    def encrypt(self, message: bytes, *, random: bytes | None = None) -> str:
        """Return the text of an ``Encrypt`` element that holds ``message``.

        Args:
            message: What to seal, already encoded.
            random: The 16 bytes in front, for known answers in tests. The vector of the cipher never changes, so these
                bytes are all that keeps equal messages from giving equal texts: leave them to ``secrets``.
        """
        if random is None:
            return self.seal(message, secrets.token_bytes(NOISE)).decode("ascii")
        if len(random) != NOISE:
            raise ConfigError(f"random must be {NOISE} bytes", field="random")
        # A known answer begins with the vector of the key.
        sealed = self._cipher.encryptor().update(self._padded(message, random))
        return binascii.b2a_base64(sealed, newline=False).decode("ascii")

    def seal(self, message: bytes, noise: bytes) -> bytes:
        """Return what ``encrypt`` returns, as bytes, with fresh ``noise`` of the caller: 16 bytes from ``secrets``."""
        padded = self._padded(message, noise)
        try:
            sealed = self._sealer.update(padded)
        except RuntimeError:
            # Another thread is inside of it.
            sealed = self._cipher.encryptor().update(padded)
        return binascii.b2a_base64(sealed, newline=False)

    def _padded(self, message: bytes, noise: bytes) -> bytes:
        plain = noise + len(message).to_bytes(4, "big") + message + self._tail
        return plain + _FILLS[PADDING - len(plain) % PADDING]
