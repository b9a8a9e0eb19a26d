"""Keys: every form in which people have them, and a word that helps for every wrong one."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from wxmp.errors import ConfigError
from wxmp.pay import Signer
from wxmp.pay._keys import BothKeys, Certificates, MerchantKey, PublicKey, normal_serial, read_certificate
from wxmp.simulator.pay import keys as simulated

KEY = simulated.private_key("a")
SERIAL = "4" + "0123456789ABCDEF" * 2 + "0123456"
PKCS8 = simulated.private_pem("a")
PKCS1 = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
PUBLIC = simulated.public_pem("b")
KEY_ID = "PUB_KEY_ID_0119000000012025000000000000"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SIGNATURE = MerchantKey(KEY, SERIAL).sign(b"text")


def certificate(label: str, serial: int, start: datetime = NOW, days: float = 1825) -> str:
    return simulated.certificate(
        simulated.private_key(label), serial, label, start.timestamp(), (start + timedelta(days=days)).timestamp()
    )


# ---- the merchant's key


@pytest.mark.parametrize(
    "source",
    [
        PKCS8,
        PKCS1,
        PKCS8.encode(),
        PKCS8.replace("\n", "\r\n"),
        PKCS8.replace("\n", "\\n"),
        PKCS8.replace("\n", "\\r\\n"),
        PKCS8.replace("\n", " ").strip(),
        "\ufeff" + PKCS8,
        ("\ufeff" + PKCS8).encode(),
        f"\n\n  {PKCS1}  \n",
        f"Bag Attributes\n  friendlyName: x\n{PKCS8}{certificate('a', 5)}",
        KEY,
        lambda: PKCS8,
        lambda: KEY,
    ],
    ids=[
        *("pkcs8", "pkcs1", "bytes", "crlf", "literal-n", "literal-rn", "one-line", "bom", "bom-bytes"),
        *("blanks", "with-certificate", "key", "callable", "callable-key"),
    ],
)
def test_forms_of_the_private_key(source: Any) -> None:
    """Every form in which a key arrives signs alike, and nothing of it can be printed."""
    key = MerchantKey(source, SERIAL)
    assert key.sign(b"text") == SIGNATURE
    assert len(SIGNATURE) == 344
    assert SIGNATURE.endswith("==")
    assert repr(key) == f"<MerchantKey {SERIAL}>"


def test_a_callable_is_asked_once() -> None:
    """Loading takes seventy milliseconds; it happens when the client is made and never again."""
    asked = []

    def ask() -> str:
        asked.append(1)
        return PKCS8

    key = MerchantKey(ask, SERIAL)
    key.sign(b"1")
    key.sign(b"2")
    assert asked == [1]


class Vault:
    """A signer that keeps its key."""

    def sign(self, text: bytes) -> bytes:
        from wxmp.pay._keys import PKCS1V15, SHA256

        return KEY.sign(text, PKCS1V15, SHA256)


@pytest.mark.parametrize("source", [Vault(), Vault])
def test_a_signer_signs(source: Any) -> None:
    """A KMS or an HSM takes the place of the key."""
    key = MerchantKey(source if isinstance(source, Vault) else Vault, SERIAL)
    assert isinstance(Vault(), Signer)
    assert key.remote
    assert key.sign(b"text") == SIGNATURE
    with pytest.raises(ConfigError, match="decrypt"):
        key.decrypt("AAAA")


SM2 = "MIGHAgEAMBMGByqGSM49AgEGCCqBHM9VAYItBG0wawIBAQQg" + "A" * 100
SHORT = rsa.generate_private_key(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
EC = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
EDWARDS = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LOCKED = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
LOCKED_OLD = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "empty"),
        (PKCS8.split("-----")[2].strip(), "no header lines"),
        ("apiclient_key.pem", "name of a file"),
        ("/etc/wxmp/apiclient_key.pem", "name of a file"),
        (PKCS8.rsplit("-----END", 1)[0], "last line"),
        (PKCS8.replace("END PRIVATE", "END RSA PRIVATE"), "last line"),
        (certificate("a", 5), "this is a CERTIFICATE"),
        (PUBLIC, "this is a PUBLIC KEY"),
        (LOCKED, "password"),
        (LOCKED_OLD, "password"),
        (SHORT, "1024 bits"),
        (EC, "no RSA key"),
        (EDWARDS, "no RSA key"),
        (f"-----BEGIN PRIVATE KEY-----\n{SM2}\n-----END PRIVATE KEY-----", "SM2"),
        (PKCS8.replace("MII", "!!!", 1), "damaged"),
        (PKCS8.replace("MIIE", "MIIA", 1), "damaged"),
        (b"\x30\x82\x04\xbd\xff", "DER"),
        (7, "not int"),
        (None, "not NoneType"),
        (lambda: None, "not NoneType"),
    ],
)
def test_wrong_private_keys_are_explained(source: Any, says: str) -> None:
    """Whoever passes something else hears what it is, and no frame of ours repeats it."""
    with pytest.raises(ConfigError, match=says) as caught:
        MerchantKey(source, SERIAL)
    assert caught.value.field == "private_key"
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    text = source.decode("latin-1") if isinstance(source, bytes) else source
    if isinstance(text, str) and len(text) > 200:
        assert text[60:100] not in told.split("pay/_keys.py", 1)[1]
    assert caught.value.__context__ is None


# ---- its serial number


@pytest.mark.parametrize("serial", [SERIAL, SERIAL.lower(), "4A:B7:0c", f" {SERIAL} "])
def test_the_serial_is_sent_as_configured(serial: str) -> None:
    """Only blanks around it are taken off."""
    assert MerchantKey(KEY, serial).serial == serial.strip()


def test_the_serial_may_be_the_certificate() -> None:
    """Its serial number is read from it, with the leading zeros that the documents show."""
    key = MerchantKey(KEY, certificate("a", 0x5AB))
    assert key.serial == f"{0x5AB:040X}"
    assert key.certified


@pytest.mark.parametrize(
    ("serial", "says"),
    [
        ("", "hexadecimal"),
        ("0000", "hexadecimal"),
        ("XYZ", "hexadecimal"),
        ('1"', "hexadecimal"),
        ("1\r\n2", "hexadecimal"),
        (None, "hexadecimal"),
        (KEY_ID, "public_key_id"),
        (certificate("b", 7), "does not belong"),
        (PKCS8, "this is a PRIVATE KEY"),
    ],
)
def test_wrong_serials_are_explained(serial: Any, says: str) -> None:
    """The id of the public key, or a certificate of another key, is named as what it is."""
    with pytest.raises(ConfigError, match=says) as caught:
        MerchantKey(KEY, serial)
    assert caught.value.field == "serial"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("00ab12", "AB12"),
        ("ab:12", "AB12"),
        ("AB12", "0000AB12"),
        (KEY_ID, KEY_ID),
    ],
)
def test_serials_are_compared_in_one_form(one: str, other: str) -> None:
    """Case, colons and leading zeros count for nothing; the id of a public key is left alone."""
    assert normal_serial(one) == normal_serial(other)


def test_ids_of_public_keys_are_not_hexadecimal() -> None:
    """Nothing of an id is taken off or turned over."""
    assert normal_serial("PUB_KEY_ID_00ab:cd") == "PUB_KEY_ID_00ab:cd"


# ---- the platform's keys


@pytest.mark.parametrize("source", [PUBLIC, PUBLIC.replace("\n", "\\n"), PUBLIC.encode()])
def test_the_public_key_is_found_by_its_id_alone(source: Any) -> None:
    """The only key is no answer to another id."""
    provider = PublicKey(source, KEY_ID)
    current = provider.current(NOW)
    assert current is not None
    assert provider.find(KEY_ID, NOW) is current
    assert provider.find(KEY_ID.lower(), NOW) is None
    assert provider.find("5AB", NOW) is None
    assert KEY_ID in provider.describe()


@pytest.mark.parametrize(
    ("key", "key_id", "field"),
    [
        (PUBLIC, "0119000000012025000000000000", "public_key_id"),
        (PUBLIC, "PUB_KEY_ID_", "public_key_id"),
        (PUBLIC, "PUB_KEY_ID_1\n2", "public_key_id"),
        (PUBLIC, SERIAL, "public_key_id"),
        (certificate("b", 7), KEY_ID, "public_key"),
        (PKCS8, KEY_ID, "public_key"),
        ("pub_key.pem", KEY_ID, "public_key"),
        (PUBLIC.replace("MIIB", "MIIA", 1), KEY_ID, "public_key"),
    ],
)
def test_wrong_public_keys_are_refused(key: Any, key_id: str, field: str) -> None:
    """A certificate, a private key or a bare number is not the public key."""
    with pytest.raises(ConfigError) as caught:
        PublicKey(key, key_id)
    assert caught.value.field == field


def test_an_elliptic_or_short_public_key_is_refused() -> None:
    """WeChat Pay's key is RSA of 2048 bits."""
    for made in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)):
        pem = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(ConfigError, match=r"RSA|1024"):
            PublicKey(pem, KEY_ID)


def test_certificates_are_found_by_serial_and_validity() -> None:
    """Each spelling of a serial number finds its certificate, while it is valid."""
    provider = Certificates([read_certificate(certificate("b", 0xAB12, days=10))])
    assert provider.find("0:0ab12", NOW) is not None
    assert provider.find("AB12", NOW + timedelta(days=9.9)) is not None
    assert provider.find("AB12", NOW + timedelta(days=10)) is None
    assert provider.find("AB12", NOW - timedelta(seconds=1)) is None
    assert provider.find("AB13", NOW) is None


def test_the_newest_valid_certificate_enciphers() -> None:
    """The one whose validity began last, and not one of the future."""
    texts = [
        certificate("c", 3, NOW + timedelta(days=1)),
        certificate("a", 1, NOW - timedelta(days=100)),
        certificate("b", 2, NOW - timedelta(days=1)),
    ]
    provider = Certificates(map(read_certificate, texts))
    current = provider.current(NOW)
    assert current is not None
    assert normal_serial(current.serial) == "2"
    assert [normal_serial(key.serial) for key in provider.keys] == ["1", "2", "3"]
    assert Certificates().current(NOW) is None


def test_both_schemes_at_once() -> None:
    """Both kinds are found by their own serial; requests name the public key."""
    both = BothKeys(PublicKey(PUBLIC, KEY_ID), Certificates([read_certificate(certificate("c", 0xC))]))
    current = both.current(NOW)
    assert current is not None
    assert current.serial == KEY_ID
    assert both.find("C", NOW) is not None
    assert both.find(KEY_ID, NOW) is current
    assert both.find("D", NOW) is None
    assert KEY_ID in both.describe()
    assert "certificates" in both.describe()


@pytest.mark.parametrize("source", [PUBLIC, PKCS8, "", certificate("b", 7).replace("MII", "MIA", 1), 5])
def test_wrong_certificates_are_refused(source: Any) -> None:
    """Something else in the place of a certificate is named."""
    with pytest.raises(ConfigError) as caught:
        read_certificate(source)
    assert caught.value.field == "certificates"
