"""The RSA keys: the merchant's own, which signs, and the platform's, found by their serial numbers and never tried."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from wxmp.errors import ConfigError, PayDecryptError
from wxmp.pay._cipher import OAEP, from_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "BothKeys",
    "Certificates",
    "KeyProvider",
    "MerchantKey",
    "PlatformKey",
    "PrivateKeySource",
    "PublicKey",
    "Signer",
    "normal_serial",
    "read_certificate",
    "read_public_key",
]

PUBLIC_KEY_ID: Final = "PUB_KEY_ID_"
BITS: Final = 2048
SERIAL_DIGITS: Final = 40
#: The curve of SM2 in DER (1.2.156.10197.1.301).
_SM2: Final = bytes.fromhex("06082a811ccf5501822d")
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_PUBLIC_KEY_ID: Final = re.compile(rf"{PUBLIC_KEY_ID}[0-9A-Za-z]{{1,64}}")
_SERIAL: Final = re.compile(r"[0-9A-Fa-f][0-9A-Fa-f:]{0,79}")
_LINE: Final = 64

PKCS1V15: Final = padding.PKCS1v15()
SHA256: Final = hashes.SHA256()

_TAKES: Final = {
    "private_key": "the merchant API private key (apiclient_key.pem)",
    "public_key": "the WeChat Pay public key (pub_key.pem)",
    "certificates": "platform certificates",
    "serial": "the merchant API certificate",
}


@runtime_checkable
class Signer(Protocol):
    """Whatever holds the merchant's private key (商户 API 私钥) when this process does not: a KMS, an HSM, an agent.

    It is called in a thread for requests, because it may wait for a network, and directly for the parameters of a page
    or an app.
    """

    def sign(self, text: bytes) -> bytes:
        """Return the signature of ``text``: SHA-256 with RSA, PKCS#1 v1.5 padding."""
        ...


@runtime_checkable
class Opener(Protocol):
    """A signer that deciphers too, for the few answers with enciphered fields."""

    def decrypt(self, data: bytes) -> bytes:
        """Return the plain text of ``data``: RSA-OAEP with SHA-1."""
        ...


#: What ``private_key`` takes: PEM, a key of ``cryptography``, a callable that returns one of these, or a signer.
PrivateKeySource: TypeAlias = (
    "str | bytes | RSAPrivateKey | Signer | Callable[[], str | bytes | RSAPrivateKey | Signer]"
)


# ---- PEM


def _text(source: object, field: str) -> str:
    if isinstance(source, bytes | bytearray):
        try:
            source = bytes(source).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(
                f"{field} must be PEM, which is text; this may be DER, or a .p12 archive: convert it with openssl",
                field=field,
            ) from None
    if not isinstance(source, str):
        raise ConfigError(f"{field} must be {_TAKES[field]} as PEM text, not {type(source).__name__}", field=field)
    # An environment variable or a JSON file often holds the line ends as two characters.
    return source.lstrip("\ufeff").replace("\\r", "").replace("\\n", "\n")


def _block(source: object, field: str, *labels: str) -> bytes:
    """Return the first PEM block of one of these labels, its lines in order.

    Raises:
        ConfigError: There is none; the message says what is there instead.
    """
    text = _text(source, field)
    blocks: dict[str, str] = dict(reversed(_BLOCK.findall(text)))
    for label, body in blocks.items():
        if "ENCRYPTED" in label or "Proc-Type" in body:
            raise ConfigError(
                f"{field} has a password; take it off first (openssl pkey -in … -out …), or pass a signer", field=field
            )
    found = next((label for label in labels if label in blocks), None)
    if found is None:
        raise ConfigError(f"{field} must be {_TAKES[field]}: {_what_it_is(text, list(blocks))}", field=field)
    body = "".join(blocks[found].split())
    der = from_base64(body)
    if der is None:
        raise ConfigError(f"{field} is damaged between its header lines", field=field)
    if _SM2 in der:
        raise ConfigError(
            f"{field} is an SM2 key (国密): merchants who sign with WECHATPAY2-SM2-WITH-SM3 are not supported",
            field=field,
        )
    lines = "\n".join(body[start : start + _LINE] for start in range(0, len(body), _LINE))
    return f"-----BEGIN {found}-----\n{lines}\n-----END {found}-----\n".encode("ascii")


def _what_it_is(text: str, labels: list[str]) -> str:
    if labels:
        label = labels[0]
        return f"this is {'an' if label[0] in 'AEIOU' else 'a'} {label}"
    if "-----BEGIN" in text:
        return "its last line (-----END …-----) is missing or does not match the first"
    if not text.strip():
        return "it is empty"
    if len(text) < 4 * _LINE and re.fullmatch(r"\s*[\w./\\:~ -]+\.(pem|key|crt|cer|txt)\s*", text):
        return "this looks like the name of a file; pass what the file holds"
    return (
        "it has no header lines. PEM begins with a line -----BEGIN …----- and ends with a line -----END …-----, "
        "and both belong to it"
    )


def _read_private(source: object) -> tuple[RSAPrivateKey | None, Signer | None]:
    # A class has the methods of its instances, but is a callable that makes one.
    if callable(source) and (isinstance(source, type) or not isinstance(source, RSAPrivateKey | Signer)):
        source = source()
    if isinstance(source, RSAPrivateKey):
        key = source
    elif isinstance(source, Signer):
        return None, source
    else:
        key = _load_private(source)
    if key.key_size < BITS:
        raise ConfigError(f"private_key has {key.key_size} bits; WeChat Pay uses {BITS}", field="private_key")
    return key, None


def _load_private(source: object) -> RSAPrivateKey:
    field = "private_key"
    pem = _block(source, field, "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY")
    try:
        # It is checked for consistency, which takes some seventy milliseconds: once, here.
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # what was caught can hold a piece of the key
    if key is None:
        raise ConfigError("private_key cannot be read: it is damaged, or of a kind nobody here knows", field=field)
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError("private_key is no RSA key; WeChat Pay signs with RSA of 2048 bits", field=field)
    return key


def read_public_key(source: object) -> RSAPublicKey:
    """Read the WeChat Pay public key.

    Raises:
        ConfigError: It is something else; the message says what.
    """
    field = "public_key"
    if isinstance(source, RSAPublicKey):
        return _long_enough(source, field)
    pem = _block(source, field, "PUBLIC KEY", "RSA PUBLIC KEY")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{field} cannot be read: it is damaged", field=field) from None
    if not isinstance(key, RSAPublicKey):
        raise ConfigError(f"{field} is no RSA key", field=field)
    return _long_enough(key, field)


def _long_enough(key: RSAPublicKey, field: str) -> RSAPublicKey:
    if key.key_size < BITS:
        raise ConfigError(f"{field} has {key.key_size} bits; WeChat Pay uses {BITS}", field=field)
    return key


def read_certificate(source: object, field: str = "certificates") -> PlatformKey:
    """Read a certificate.

    Raises:
        ConfigError: It is something else; the message says what.
    """
    pem = _block(source, field, "CERTIFICATE")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{field}: a certificate cannot be read: it is damaged", field=field) from None
    if not isinstance(key, RSAPublicKey):
        raise ConfigError(f"{field}: a certificate holds no RSA key", field=field)
    return PlatformKey(
        f"{certificate.serial_number:0{SERIAL_DIGITS}X}",
        _long_enough(key, field),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


# ---- serials


def normal_serial(serial: str) -> str:
    """Return a serial number as it is compared: upper case, no colons, no leading zeros; public key ids stay as is."""
    if serial.startswith(PUBLIC_KEY_ID):
        return serial
    return serial.replace(":", "").upper().lstrip("0")


# ---- the merchant


class MerchantKey:
    """The merchant API private key (商户 API 私钥) and the serial number of its certificate.

    Args:
        source: See :data:`PrivateKeySource`. A callable is asked once, here.
        serial: Serial number of the merchant API certificate (商户 API 证书序列号), or that certificate as PEM: its
            serial number is then read from it, and the key must belong to it.

    Raises:
        ConfigError: The key or the serial number cannot work; the message says why.
    """

    __slots__ = ("_key", "_signer", "certified", "remote", "serial")

    def __init__(self, source: PrivateKeySource, serial: str) -> None:
        #: As it goes into ``Authorization``.
        self.serial: str = ""
        try:
            self._key, self._signer = _read_private(source)
        except ConfigError as error:
            # Error trackers print the locals of every frame, and those below hold the key in the clear.
            failure: ConfigError | None = error.fresh()
        else:
            failure = None
        del source
        if failure is not None:
            raise failure
        #: Whether somebody else signs, who may take a while.
        self.remote: bool = self._signer is not None
        #: Whether it was checked that the key belongs to the serial number.
        self.certified: bool
        self.serial, self.certified = self._read_serial(serial)

    def __repr__(self) -> str:
        return f"<MerchantKey {self.serial}>"

    def sign(self, text: bytes) -> str:
        """Return the signature of ``text`` in base64."""
        if self._key is not None:
            return base64.b64encode(self._key.sign(text, PKCS1V15, SHA256)).decode("ascii")
        if self._signer is None:
            raise ConfigError("there is no private key", field="private_key")
        return base64.b64encode(self._signer.sign(text)).decode("ascii")

    def decrypt(self, text: str) -> str:
        """Open a field that the platform has enciphered for the merchant's certificate (RSA-OAEP).

        Raises:
            PayDecryptError: It does not open with this key.
            ConfigError: The key is with a signer that cannot decipher.
        """
        data = from_base64(text)
        if data is None:
            raise PayDecryptError("an enciphered field is no base64", reason="malformed")
        try:
            if self._key is not None:
                return self._key.decrypt(data, OAEP).decode()
            opener: object = self._signer
            if not isinstance(opener, Opener):
                raise ConfigError(
                    "the signer has no method decrypt (RSA-OAEP with SHA-1), which this field needs",
                    field="private_key",
                )
            return opener.decrypt(data).decode()
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
        raise PayDecryptError("an enciphered field does not open: it is meant for another merchant certificate")

    def owns(self, key: RSAPublicKey) -> bool:
        """Tell whether ``key`` is the public half of this one; false also when a signer keeps it."""
        return self._key is not None and self._key.public_key().public_numbers() == key.public_numbers()

    def _read_serial(self, serial: object) -> tuple[str, bool]:
        if isinstance(serial, str) and "-----BEGIN" in serial:
            certificate = read_certificate(serial, "serial")
            if self._key is not None and not self.owns(certificate.key):
                raise ConfigError(
                    "private_key does not belong to the merchant certificate given as serial; both come from one "
                    "archive of the merchant console",
                    field="serial",
                )
            return certificate.serial, True
        text = serial.strip() if isinstance(serial, str) else ""
        if text.startswith(PUBLIC_KEY_ID):
            raise ConfigError(
                "serial is the id of the WeChat Pay public key (that is public_key_id); it must be the serial number "
                "of the merchant API certificate",
                field="serial",
            )
        if _SERIAL.fullmatch(text) is None or not normal_serial(text):
            raise ConfigError(
                "serial must be the serial number of the merchant API certificate: hexadecimal digits, usually "
                f"{SERIAL_DIGITS}",
                field="serial",
            )
        return text, False


# ---- the platform


@attrs.frozen(eq=False)
class PlatformKey:
    """One key of the platform: the WeChat Pay public key (微信支付公钥) or a platform certificate (平台证书)."""

    #: ``PUB_KEY_ID_…``, or the certificate's serial number in hexadecimal digits.
    serial: str
    key: RSAPublicKey = attrs.field(repr=False)
    #: Validity of a certificate; the public key has none.
    not_before: datetime | None = None
    not_after: datetime | None = None

    def valid_at(self, moment: datetime) -> bool:
        """Tell whether it may be used at ``moment``."""
        if self.not_before is None or self.not_after is None:
            return True
        return self.not_before <= moment < self.not_after


class KeyProvider(Protocol):
    """Where the platform's keys come from. They are found by their serial number: none is ever tried on suspicion."""

    def find(self, serial: str, moment: datetime) -> PlatformKey | None:
        """Return the key of this serial number that is valid at ``moment``."""
        ...

    def current(self, moment: datetime) -> PlatformKey | None:
        """Return the key to encipher with, and to ask answers to be signed with."""
        ...

    def describe(self) -> str:
        """Say which keys there are, for an error."""
        ...


class PublicKey:
    """The WeChat Pay public key alone: merchants since the autumn of 2024.

    Args:
        key: The key as PEM (微信支付公钥).
        key_id: Its id (微信支付公钥 ID).

    Raises:
        ConfigError: One of the two is missing, or something else.
    """

    def __init__(self, key: str | bytes | RSAPublicKey, key_id: object) -> None:
        name = key_id.strip() if isinstance(key_id, str) else ""
        if _PUBLIC_KEY_ID.fullmatch(name) is None:
            raise ConfigError(
                f"public_key_id must begin with {PUBLIC_KEY_ID}; the merchant console shows it beside the key",
                field="public_key_id",
            )
        self._key = PlatformKey(name, read_public_key(key))

    def find(self, serial: str, moment: datetime) -> PlatformKey | None:
        """Return the key if it is asked for by its id."""
        return self._key if serial == self._key.serial else None

    def current(self, moment: datetime) -> PlatformKey | None:
        """Return the key."""
        return self._key

    def describe(self) -> str:
        """Say which key there is."""
        return f"the public key {self._key.serial}"


class Certificates:
    """Platform certificates (平台证书): several are in use at once around a change.

    Args:
        keys: The certificates.
    """

    def __init__(self, keys: Iterable[PlatformKey] = ()) -> None:
        self._keys: Mapping[str, PlatformKey] = {}
        self.replace(keys)

    @property
    def keys(self) -> tuple[PlatformKey, ...]:
        """All of them, those not valid too; the oldest first."""
        return tuple(self._keys.values())

    def replace(self, keys: Iterable[PlatformKey]) -> None:
        """Take a new set in the place of the old one, at once."""
        ordered = sorted(keys, key=lambda key: (key.not_before is not None, key.not_before))
        self._keys = {normal_serial(key.serial): key for key in ordered}

    def find(self, serial: str, moment: datetime) -> PlatformKey | None:
        """Return the certificate of this serial number, however it is written, if it is valid."""
        key = self._keys.get(normal_serial(serial))
        return key if key is not None and key.valid_at(moment) else None

    def current(self, moment: datetime) -> PlatformKey | None:
        """Return the valid certificate whose validity began last."""
        return next((key for key in reversed(self.keys) if key.valid_at(moment)), None)

    def describe(self) -> str:
        """Say which certificates there are."""
        serials = ", ".join(key.serial for key in self._keys.values())
        return f"the platform certificates {serials}" if serials else "no platform certificate"


class BothKeys:
    """The public key and the certificates beside it: merchants on their way from the older scheme to the newer one.

    Args:
        public_key: The newer scheme; requests name this one.
        certificates: The older scheme.
    """

    def __init__(self, public_key: KeyProvider, certificates: KeyProvider) -> None:
        self._parts = (public_key, certificates)

    def find(self, serial: str, moment: datetime) -> PlatformKey | None:
        """Return the key of this serial number, whichever scheme it belongs to."""
        return next((key for part in self._parts if (key := part.find(serial, moment)) is not None), None)

    def current(self, moment: datetime) -> PlatformKey | None:
        """Return the public key."""
        return next((key for part in self._parts if (key := part.current(moment)) is not None), None)

    def describe(self) -> str:
        """Say which keys there are."""
        return " and ".join(part.describe() for part in self._parts)
