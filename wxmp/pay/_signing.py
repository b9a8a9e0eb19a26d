"""Signatures of API v3 as pure functions: the texts that are signed, the header, and the checks of what comes back."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import attrs
from cryptography.exceptions import InvalidSignature

from wxmp.errors import PayProbeError, PaySignatureError
from wxmp.pay._cipher import from_base64
from wxmp.pay._keys import PKCS1V15, SHA256

if TYPE_CHECKING:
    from collections.abc import Callable

    from wxmp.pay._keys import PlatformKey

__all__ = [
    "SCHEME",
    "WINDOW",
    "Headers",
    "SignatureHeaders",
    "app_params",
    "authorization",
    "check_signature",
    "jsapi_params",
    "new_nonce",
    "read_headers",
    "request_text",
]

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
SM_SCHEME: Final = "WECHATPAY2-SM2-WITH-SM3"
PROBE: Final = "WECHATPAY/SIGNTEST/"
#: Seconds by which a timestamp may differ from our clock; at exactly this many it is refused.
WINDOW: Final = 300.0

_NAMES: Final = ("wechatpay-timestamp", "wechatpay-nonce", "wechatpay-signature", "wechatpay-serial")
_TYPE: Final = "wechatpay-signature-type"
_WANTED: Final = frozenset({*_NAMES, _TYPE})
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
#: A line feed in here would move the border between the nonce and the body that are signed together.
_NONCE: Final = re.compile(r"[!-~]{1,128}")
#: What HTTP allows around a value. Everything else that Python calls blank belongs to it.
_BLANKS: Final = " \t"

#: Headers as frameworks have them: a mapping, or pairs; names in any case, texts or bytes.
Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]"


# ---- requests


def new_nonce() -> str:
    """Return 32 random characters."""
    return secrets.token_hex(16)


def request_text(method: str, target: str, timestamp: int, nonce: str, body: bytes) -> bytes:
    """Return what a request signs: five lines, each ended by a line feed, the last one too.

    Args:
        method: In capital letters.
        target: Path and query exactly as they go over the wire.
        timestamp: Seconds since 1970.
        nonce: Random.
        body: The very bytes that are sent; empty when there is no body.
    """
    return f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode("ascii") + body + b"\n"


def authorization(mchid: str, serial: str, timestamp: int, nonce: str, signature: str) -> str:
    """Return the value of the ``Authorization`` header."""
    return (
        f'{SCHEME} mchid="{mchid}",nonce_str="{nonce}",signature="{signature}",'
        f'timestamp="{timestamp}",serial_no="{serial}"'
    )


# ---- answers and notifications


@attrs.frozen
class SignatureHeaders:
    """What the headers say about a signature."""

    #: Seconds since 1970, within the window.
    timestamp: str
    nonce: str
    signature: str = attrs.field(repr=False)
    #: Which key of the platform signed.
    serial: str


def read_headers(headers: Headers, now: float, window: float = WINDOW) -> SignatureHeaders:
    """Read the headers of a signature, in the order of the documents: present, of our kind, fresh.

    Raises:
        PaySignatureError: One of them is missing, doubled, or not what we accept.
    """
    found: dict[str, str] = {}
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    for raw_name, raw_value in cast("Iterable[tuple[str | bytes, str | bytes]]", pairs):
        name = _text(raw_name).lower()
        if name not in _WANTED:
            continue
        value = _text(raw_value)
        # Whoever makes a mapping of headers joins equal ones by commas; none of ours can hold one.
        if name in found or "," in value:
            raise PaySignatureError(f"the header {name.title()} comes more than once", reason="doubled")
        found[name] = value.strip(_BLANKS)
    missing = [name.title() for name in _NAMES if not found.get(name)]
    if missing:
        raise PaySignatureError(f"it is not signed: no {', '.join(missing)}", reason="missing")
    timestamp, nonce, signature, serial = (found[name] for name in _NAMES)
    kind = found.get(_TYPE, SCHEME)
    if kind != SCHEME:
        national = " (国密, which is not supported)" if kind == SM_SCHEME else ""
        raise PaySignatureError(f"the signature is not of the kind {SCHEME}{national}", reason="type")
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise PaySignatureError("Wechatpay-Timestamp is no number of seconds", reason="timestamp")
    if _NONCE.fullmatch(nonce) is None:
        raise PaySignatureError("Wechatpay-Nonce is no nonce", reason="signature")
    age = now - int(timestamp)
    if not abs(age) < window:
        raise PaySignatureError(
            f"it was signed {abs(age):.0f} s {'ago' if age > 0 else 'in the future'}, {window:g} s are allowed: "
            "an old message, or one of the two clocks is wrong",
            reason="stale",
        )
    return SignatureHeaders(timestamp, nonce, signature, serial)


def _text(raw: str | bytes) -> str:
    return raw.decode("latin-1") if isinstance(raw, bytes) else raw


def check_signature(key: PlatformKey, signed: SignatureHeaders, body: bytes) -> None:
    """Check the signature over the bytes received.

    Raises:
        PayProbeError: It is wrong on purpose (签名探测流量).
        PaySignatureError: It is wrong.
    """
    if signed.signature.startswith(PROBE):
        raise probe()
    raw = from_base64(signed.signature)
    if raw is None:
        raise PaySignatureError("Wechatpay-Signature is no base64", reason="signature")
    text = b"%b\n%b\n%b\n" % (_wire_bytes(signed.timestamp), _wire_bytes(signed.nonce), body)
    try:
        key.key.verify(raw, text, PKCS1V15, SHA256)
    except InvalidSignature:
        pass
    else:
        return
    raise PaySignatureError(
        f"the signature does not fit: it was changed on its way, or the key configured as {signed.serial} is another "
        "merchant's",
        reason="signature",
    )


def probe() -> PayProbeError:
    """Return the error for a probe."""
    return PayProbeError("a wrong signature, sent on purpose to see whether we verify")


def is_probe(signed: SignatureHeaders) -> bool:
    """Tell whether the signature is one of those that are wrong on purpose."""
    return signed.signature.startswith(PROBE)


def _wire_bytes(text: str) -> bytes:
    # Header values are bytes that were read as Latin-1; texts of a framework that reads UTF-8 must not end in a crash.
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def at(seconds: float) -> datetime:
    """Return an instant."""
    return datetime.fromtimestamp(seconds, UTC)


# ---- pages and apps


def jsapi_params(
    sign: Callable[[bytes], str], *, appid: str, prepay_id: str, timestamp: int, nonce: str
) -> dict[str, str]:
    """Return what a page or mini program hands to the payment call (调起支付), in the platform's order and spelling."""
    package = f"prepay_id={prepay_id}"
    signature = sign(f"{appid}\n{timestamp}\n{nonce}\n{package}\n".encode())
    return {
        "appId": appid,
        "timeStamp": str(timestamp),
        "nonceStr": nonce,
        "package": package,
        "signType": "RSA",
        "paySign": signature,
    }


def app_params(
    sign: Callable[[bytes], str], *, appid: str, mchid: str, prepay_id: str, timestamp: int, nonce: str
) -> dict[str, str]:
    """Return what an app hands to the payment call (APP 调起支付)."""
    signature = sign(f"{appid}\n{timestamp}\n{nonce}\n{prepay_id}\n".encode())
    return {
        "appid": appid,
        "partnerid": mchid,
        "prepayid": prepay_id,
        "package": "Sign=WXPay",
        "noncestr": nonce,
        "timestamp": str(timestamp),
        "sign": signature,
    }
