"""The messages of WeChat Pay's older interface: flat XML, and the sign over its fields (签名算法).

Everything is decided on the parsed fields, before a record is made of them: unknown fields take part in the sign, so
what a record does not know must still be counted. A message is read by the parser of pushes, which knows no DOCTYPE
and no entities, and must be flat with every name once: two readers of a doubled element could each see another value.

Source:
    签名算法, 安全规范, 退款结果通知 - 微信支付 / API 列表（V2）
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wxmp.errors import ConfigError, MalformedError, PayDecryptError, PaySignatureError
from wxmp.webhook.reading import read_xml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp._redact import Secret

__all__ = ["MAX_NOTICE", "SIGN_TYPES", "SignType", "check_sign", "open_refund", "read_message", "sign", "write_message"]

SignType: TypeAlias = Literal["HMAC-SHA256", "MD5"]
SIGN_TYPES: Final[tuple[SignType, ...]] = ("HMAC-SHA256", "MD5")

#: Bytes of a message. The largest real ones, queries of many refunds, stay below a tenth of it.
MAX_NOTICE: Final = 1 << 20

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# Characters that XML 1.0 forbids, and half pairs, which have no UTF-8 form.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
#: AES blocks, bytes.
_BLOCK: Final = 16
# The plain text of a refund notice is another document, whose root has another name.
_ROOT: Final = re.compile(rb"\s*(?:<\?xml[^<>]*\?>\s*)?<root>(.*)</root>\s*", re.DOTALL)


def sign(fields: Mapping[str, str], key: Secret, sign_type: SignType) -> str:
    """Return the sign of a message: its fields sorted by name and joined as they are, the key at the end.

    Empty values and ``sign`` itself are left out; ``"0"`` is not empty.

    Args:
        fields: The message. ``sign_type``, where it is sent, is a field like any other.
        key: The APIv2 key.
        sign_type: How: the digest is 64 hexadecimal digits, or 32 with MD5.
    """
    named = [f"{name}={fields[name]}" for name in sorted(fields) if fields[name] != "" and name != "sign"]
    secret = key.reveal()
    text = "&".join([*named, f"key={secret}"]).encode("utf-8", "surrogatepass")
    if sign_type == "HMAC-SHA256":
        return hmac.digest(secret.encode(), text, "sha256").hex().upper()
    return hashlib.md5(text, usedforsecurity=False).hexdigest().upper()


def check_sign(fields: Mapping[str, str], key: Secret, sign_type: SignType) -> None:
    """Check the sign of a message in constant time.

    Args:
        fields: All fields, as they were parsed.
        key: The APIv2 key.
        sign_type: What is configured. What the message says about it counts for nothing: to take MD5 where HMAC-SHA256
            is expected would be a downgrade.

    Raises:
        PaySignatureError: There is no sign, or another one.
    """
    given = fields.get("sign", "")
    if not given:
        raise PaySignatureError("the message carries no sign", reason="missing")
    named = fields.get("sign_type", "") or sign_type
    expected = sign(fields, key, sign_type)
    if not hmac.compare_digest(expected.encode(), given.upper().encode("utf-8", "surrogatepass")):
        raise PaySignatureError("the sign does not match", reason="signature")
    if named != sign_type:
        raise PaySignatureError("the message names another sign_type than is configured", reason="type")


def read_message(body: bytes) -> dict[str, str]:
    """Read a flat message: every name once, no element inside another.

    Raises:
        MalformedError: Not well-formed XML in UTF-8, a DOCTYPE, a doubled or nested element, or too large (413).
    """
    if len(body) > MAX_NOTICE:
        raise MalformedError(f"more than {MAX_NOTICE} bytes", status=413)
    found: dict[str, str] = {}
    for name, value in read_xml(body).items():
        if isinstance(value, list):
            raise MalformedError("an element is given twice")
        if not isinstance(value, str):
            raise MalformedError("an element holds other elements")
        found[name] = value
    return found


def write_message(fields: Mapping[str, str]) -> bytes:
    """Write a flat message; each value stands in CDATA, and ``]]>`` inside of one is split over two sections.

    Raises:
        ConfigError: A name is none, or a value holds what XML forbids or changes; ``field`` names it.
    """
    parts = ["<xml>"]
    for name, value in fields.items():
        if _NAME.fullmatch(name) is None:
            raise ConfigError("a field's name has letters, digits and underscores only", field="fields")
        if _FORBIDDEN.search(value) is not None:
            raise ConfigError(f"{name} holds a character that XML forbids", field=name)
        if "\r" in value:
            # A reader of XML turns it into a line feed, and the sign no longer fits.
            raise ConfigError(f"{name} holds a carriage return, which XML changes; write line feeds", field=name)
        parts.append(f"<{name}><![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]></{name}>")
    parts.append("</xml>")
    return "".join(parts).encode()


def open_refund(req_info: str, key: Secret) -> dict[str, str]:
    """Open the cipher text of a refund notice (退款结果通知): AES-256-ECB under the hexadecimal MD5 of the APIv2 key.

    It has no signature, and ECB protects nothing against changes: ask for the refund before acting on it.

    Raises:
        PayDecryptError: It does not open: another key, or damaged. All reasons look alike on purpose.
        MalformedError: It opens, but is no flat ``<root>``.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    try:
        sealed = base64.b64decode(req_info, validate=True)
    except (binascii.Error, ValueError):
        sealed = b""
    if not sealed or len(sealed) % _BLOCK:
        raise _unopened()
    # The text of the digits, leading zeros included, is the key: 32 characters for 32 bytes.
    digits = hashlib.md5(key.reveal().encode(), usedforsecurity=False).hexdigest().encode()
    opener = Cipher(algorithms.AES(digits), modes.ECB()).decryptor()  # noqa: S305 - the platform's choice
    plain = opener.update(sealed) + opener.finalize()
    padding = plain[-1]
    if not 1 <= padding <= _BLOCK or plain[-padding:] != bytes([padding]) * padding:
        raise _unopened()
    document = _ROOT.fullmatch(plain[:-padding])
    if document is None:
        raise _unopened()
    # The parser knows one root. What stands between is not looked at: were it to end the root, the end would be left
    # over, and the parser refuses that.
    return read_message(b"<xml>" + document[1] + b"</xml>")


def _unopened() -> PayDecryptError:
    return PayDecryptError("req_info does not open: another APIv2 key, or a damaged notice")
