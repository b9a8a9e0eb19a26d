"""The keys of the simulated WeChat Pay: RSA keys derived from a name, and the certificates around them.

A key is always the same for the same name: a run is repeatable byte for byte, a snapshot need not hold keys, and a
service configured for a simulator of yesterday works with today's. For the same reason they protect nothing. A key is
made when first asked for and then kept for the whole process.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    from wxmp.simulator.pay.records import Merchant, PlatformCertificate

__all__ = [
    "load_private",
    "merchant_certificate",
    "merchant_public_key",
    "platform_certificate",
    "private_key",
    "private_pem",
    "public_pem",
]

BITS: Final = 2048
EXPONENT: Final = 65_537
SPAN: Final = 1 << 14
SIEVE_TO: Final = 20_000
WITNESSES: Final = (2, 3, 5, 7)
# Of the merchant API certificate: long enough for any simulated clock.
CERTIFICATE_START: Final = datetime(2020, 1, 1, tzinfo=UTC)
CERTIFICATE_END: Final = datetime(2049, 12, 31, tzinfo=UTC)


@cache
def small_primes() -> tuple[int, ...]:
    """Return the odd primes that sieve candidates."""
    sieve = bytearray(SIEVE_TO)
    found: list[int] = []
    for number in range(3, SIEVE_TO, 2):
        if not sieve[number]:
            found.append(number)
            sieve[number * number :: number] = b"\1" * len(range(number * number, SIEVE_TO, number))
    return tuple(found)


def derived_prime(label: str) -> int:
    """Return a prime of half the key's size that depends on the label alone."""
    half = BITS // 2
    raw = b"".join(hashlib.sha256(f"{label}|{part}".encode()).digest() for part in range(half // 256))
    # The two top bits make the product exactly BITS long.
    base = int.from_bytes(raw, "big") | (3 << (half - 2)) | 1
    while True:
        sieve = bytearray(SPAN)
        for prime in small_primes():
            first = (-base * pow(2, -1, prime)) % prime
            sieve[first::prime] = b"\1" * len(range(first, SPAN, prime))
        for index in range(SPAN):
            candidate = base + 2 * index
            if (
                not sieve[index]
                and (candidate - 1) % EXPONENT
                and all(pow(witness, candidate - 1, candidate) == 1 for witness in WITNESSES)
            ):
                return candidate
        base += 2 * SPAN


@cache
def private_key(label: str) -> RSAPrivateKey:
    """Return the RSA key of a name."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    p, q = derived_prime(f"wxmp simulator|{label}|p"), derived_prime(f"wxmp simulator|{label}|q")
    d = pow(EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(EXPONENT, p * q)
    )
    # The check for consistency takes longer than everything else here and can find nothing.
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


@cache
def private_pem(label: str) -> str:
    """Return the RSA key of a name as PEM (PKCS#8)."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return private_key(label).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def public_pem(label: str) -> str:
    """Return the public half of the key of a name as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = private_key(label).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@cache
def load_private(pem: str) -> RSAPrivateKey:
    """Read a private key of the developer's own.

    Raises:
        ValueError: It is no RSA key in PEM without a password.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), None)
    except TypeError as error:
        raise ValueError("the private key has a password") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the private key is no RSA key")  # noqa: TRY004  (a wrong value: callers hear of one error)
    return key


def merchant_private_key(merchant: Merchant) -> RSAPrivateKey:
    """Return the merchant's own key."""
    return load_private(merchant.given_key) if merchant.given_key else private_key(merchant.key_label)


def merchant_public_key(merchant: Merchant) -> RSAPublicKey:
    """Return what the platform verifies the merchant's requests with."""
    return merchant_private_key(merchant).public_key()


def merchant_certificate(merchant: Merchant) -> str:
    """Return the merchant API certificate, issued by nobody in particular."""
    return certificate(
        merchant_private_key(merchant),
        int(merchant.serial, 16),
        merchant.mchid,
        CERTIFICATE_START.timestamp(),
        CERTIFICATE_END.timestamp(),
    )


def platform_certificate(item: PlatformCertificate) -> str:
    """Return a platform certificate as PEM."""
    return certificate(
        private_key(item.key), int(item.serial, 16), "Tenpay.com sign", item.effective_at, item.expires_at
    )


@cache
def certificate(key: RSAPrivateKey, serial: int, name: str, start: float, end: float) -> str:
    """Return a self-signed certificate as PEM; RSA signatures of this kind are the same each time."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Simulator"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime.fromtimestamp(int(start), UTC))
        .not_valid_after(datetime.fromtimestamp(int(end), UTC))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
