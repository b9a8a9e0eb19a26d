"""What travels enciphered: resources under the APIv3 key (AES-256-GCM), single fields under RSA keys (RSA-OAEP)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wxmp.errors import ConfigError, PayDecryptError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["OAEP", "ResourceCipher", "from_base64", "oaep_encrypt"]

ALGORITHM: Final = "AEAD_AES_256_GCM"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
#: The padding of enciphered fields. SHA-1 is the platform's choice; OAEP does not rest on its collisions.
OAEP: Final = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303
#: OAEP with SHA-1 adds this many bytes.
OAEP_BYTES: Final = 42


class ResourceCipher:
    """Opens what is enciphered with the APIv3 key (APIv3 密钥): notifications, certificates.

    Args:
        key: The APIv3 key, exactly 32 bytes.
        previous: The one before, for what was enciphered before the change.

    Raises:
        ConfigError: A key is not 32 bytes of ASCII.
    """

    def __init__(self, key: str, previous: str | None = None) -> None:
        self._ciphers: list[AESGCM] = []
        given = {"api_v3_key": key} | ({} if previous is None else {"previous_api_v3_key": previous})
        problem = next(((name, found) for name, value in given.items() if (found := _fault(value))), None)
        if problem is None:
            self._ciphers = [AESGCM(value.encode("ascii")) for value in given.values()]
        # Error trackers print the locals of every frame.
        del key, previous, given
        if problem is not None:
            field, found = problem
            raise ConfigError(f"{field} must be the APIv3 key: {KEY_BYTES} ASCII characters; {found}", field=field)

    def __repr__(self) -> str:
        return f"<ResourceCipher, {len(self._ciphers)} keys>"

    def open(self, resource: Mapping[str, object]) -> bytes:
        """Return the plain text of a ``resource`` (or ``encrypt_certificate``).

        Raises:
            PayDecryptError: Another algorithm, a damaged text, or another APIv3 key.
        """
        algorithm = resource.get("algorithm")
        if algorithm != ALGORITHM:
            raise PayDecryptError(f"the algorithm is not {ALGORITHM}", reason="malformed")
        nonce, sealed = resource.get("nonce"), resource.get("ciphertext")
        extra = resource.get("associated_data")
        if not isinstance(nonce, str) or not isinstance(sealed, str) or not isinstance(extra, str | None):
            raise PayDecryptError("the resource has no nonce or no ciphertext", reason="malformed")
        try:
            nonce_bytes, extra_bytes = nonce.encode(), (extra or "").encode()
        except UnicodeEncodeError:
            raise PayDecryptError("the resource holds half a surrogate pair", reason="malformed") from None
        if len(nonce_bytes) != NONCE_BYTES:
            raise PayDecryptError(f"the nonce has {len(nonce_bytes)} bytes, not {NONCE_BYTES}", reason="malformed")
        data = from_base64(sealed)
        if data is None or len(data) < TAG_BYTES:
            raise PayDecryptError("the ciphertext is no base64, or too short", reason="malformed")
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce_bytes, data, extra_bytes)
            except InvalidTag:
                continue
        raise PayDecryptError(
            "the resource does not open: the APIv3 key is not this merchant's, or was changed in the console "
            "(previous_api_v3_key takes the one before)"
        )


def _fault(key: object) -> str:
    """Say what is wrong with an APIv3 key, without a character of it."""
    if not isinstance(key, str):
        return f"this is {type(key).__name__}"
    if not key.isascii() or not key.isprintable():
        return "it holds other characters"
    return "" if len(key) == KEY_BYTES else f"this has {len(key)}"


def from_base64(text: str) -> bytes | None:
    """Return the bytes of a base64 text; ``None`` if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def oaep_encrypt(key: RSAPublicKey, text: str) -> str:
    """Encipher one field for the owner of ``key``.

    Raises:
        ConfigError: It is longer than the key can take.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ConfigError("a field to encipher holds half a surrogate pair, which has no UTF-8 form") from None
    longest = (key.key_size + 7) // 8 - OAEP_BYTES
    if len(data) > longest:
        raise ConfigError(f"a field to encipher has {len(data)} bytes, at most {longest} fit")
    return base64.b64encode(key.encrypt(data, OAEP)).decode("ascii")
