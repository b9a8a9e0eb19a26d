"""Encryption of tokens at rest.

``cryptography`` is imported with the first token, not with this module.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Final

from wxmp._redact import Secret
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["AESGCMCodec"]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
#: In front of every text. No token contains a blank: a store that was set up without the codec takes such a text for
#: no token, instead of sending it to the platform.
MARK: Final = "aes256gcm "


class AESGCMCodec:
    """AES-256-GCM for ``RedisTokenStore(codec=...)`` and ``FileTokenStore(codec=...)``.

    The text is bound to AppID, channel and generation: a record that was copied to another place does not open. Only
    the token is encrypted; the other fields stay readable.

    To rotate keys without a gap: add the new key at the end of the list everywhere, then move it to the front
    everywhere, and drop the old one when a token's life has passed.

    ::

        key = AESGCMCodec.generate_key()            # once; keep it where the AppSecret is kept
        store = RedisTokenStore(url, codec=AESGCMCodec([key]))
    """

    def __init__(self, keys: Sequence[str | bytes | Secret]) -> None:
        """Check the keys.

        Args:
            keys: Each 32 bytes, or their base64 text. The first encrypts, all of them decrypt.

        Raises:
            ConfigError: No key, or one of another length.
        """
        if isinstance(keys, str | bytes | Secret) or not keys:
            raise ConfigError("keys must be a list with at least one key", field="keys")
        self._keys = [Secret(base64.b64encode(_key_bytes(key)).decode()) for key in keys]
        self._ciphers: list[AESGCM] | None = None

    def __repr__(self) -> str:
        return f"AESGCMCodec({len(self._keys)} keys)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("an AESGCMCodec is not pickled: it would carry its keys into a file")

    @staticmethod
    def generate_key() -> str:
        """Return a new key as base64 text."""
        return base64.b64encode(os.urandom(KEY_BYTES)).decode()

    def encrypt(self, value: str, *, context: str) -> str:
        """Return ``value`` encrypted with the first key, as printable text."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._opened()[0].encrypt(nonce, value.encode(), context.encode())
        return MARK + base64.urlsafe_b64encode(sealed).decode()

    def decrypt(self, text: str, *, context: str) -> str | None:
        """Return the token, or ``None`` when ``text`` is damaged, foreign, or not of this ``context``."""
        from cryptography.exceptions import InvalidTag

        if not text.startswith(MARK):
            return None
        try:
            sealed = base64.b64decode(text[len(MARK) :], altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(sealed) < NONCE_BYTES + TAG_BYTES:
            return None
        for cipher in self._opened():
            try:
                return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode()).decode()
            except (InvalidTag, UnicodeDecodeError):
                continue
        return None

    def _opened(self) -> list[AESGCM]:
        if self._ciphers is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._ciphers = [AESGCM(base64.b64decode(key.reveal())) for key in self._keys]
        return self._ciphers


def _key_bytes(key: str | bytes | Secret) -> bytes:
    if isinstance(key, bytes):
        raw = key
    else:
        text = key.reveal() if isinstance(key, Secret) else key
        try:
            raw = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
    if len(raw) != KEY_BYTES:
        raise ConfigError(f"each key must be {KEY_BYTES} bytes, or their base64 text", field="keys")
    return raw
