"""Signatures and ciphers of WeChat Pay, both sides of the gateway's door.

Written from the documents and shared with nobody: v3 requests are verified and answers signed, notices and certificates
enciphered; v2 messages carry MD5 or HMAC-SHA256 signs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import attrs

from wxmp.simulator.pay import keys
from wxmp.simulator.pay.records import PlatformCertificate, made_up
from wxmp.simulator.pay.refusals import PayRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.simulator.pay.records import Merchant, SignType
    from wxmp.simulator.wire import Request
    from wxmp.simulator.world import World

__all__ = [
    "ALGORITHM",
    "Authorization",
    "open_field",
    "platform_headers",
    "read_authorization",
    "same_serial",
    "seal_field",
    "seal_resource",
    "sign_v2",
    "signing_key",
    "v2_req_info",
    "verify_merchant",
    "verify_request",
]

ALGORITHM: Final = "WECHATPAY2-SHA256-RSA2048"
PROBE: Final = "WECHATPAY/SIGNTEST/"
MEMBER: Final = re.compile(r'\s*([a-z_]+)="([^"]*)"\s*(?:,|\Z)')
MEMBERS: Final = ("mchid", "nonce_str", "signature", "timestamp", "serial_no")
NONCE: Final = re.compile(r"[A-Za-z0-9]{1,32}")
SHOWN: Final = 256
PREFIX: Final = "/mch"
OAEP_HASH: Final = 20


@attrs.frozen
class Authorization:
    """The members of an ``Authorization`` header."""

    mchid: str
    nonce_str: str
    signature: str = attrs.field(repr=False)
    timestamp: int
    serial_no: str


# --- v3: the merchant's signature -----------------------------------------------------------------------------------


def read_authorization(header: str) -> Authorization:
    """Read the header.

    Raises:
        PayRefusal: SIGN_ERROR with what is wrong.
    """
    if not header:
        raise broken("the Authorization header is missing", "Http头缺少Authorization")
    scheme, _, rest = header.partition(" ")
    if scheme != ALGORITHM:
        raise broken(f"the scheme is {scheme[:40]!r}, not {ALGORITHM}", "Http头Authorization认证类型不正确")
    found: dict[str, str] = {}
    position = 0
    while position < len(rest):
        match = MEMBER.match(rest, position)
        if match is None or match.group(1) in found:
            raise broken("the members of the Authorization header cannot be read", "Http头Authorization值格式错误")
        found[match.group(1)] = match.group(2)
        position = match.end()
    for name in MEMBERS:
        if not found.get(name):
            raise broken(f"the Authorization header has no {name}", "Http头Authorization值格式错误", name)
    if not re.fullmatch(r"[0-9]{1,12}", found["timestamp"]):
        raise broken("the timestamp is no whole number of seconds", "Http头Authorization中的timestamp错误", "timestamp")
    if not NONCE.fullmatch(found["nonce_str"]):
        raise broken("the nonce is not 1 to 32 letters and digits", "Http头Authorization中的nonce_str错误", "nonce_str")
    return Authorization(
        mchid=found["mchid"],
        nonce_str=found["nonce_str"],
        signature=found["signature"],
        timestamp=int(found["timestamp"]),
        serial_no=found["serial_no"],
    )


def broken(why: str, message: str, field: str = "authorization") -> PayRefusal:
    """Return the refusal of an unusable Authorization header."""
    return PayRefusal("SIGN_ERROR", why, message=message, field=field, location="authorization", detail={"issue": why})


def platform_time(world: World) -> float:
    """Return the time that signatures are compared with: the merchant's server has its own clock."""
    return world.now() if world.policy.pay_timestamp == "world" else world.clock.source_now()


def targets(request: Request) -> list[str]:
    """Return what the caller may have signed as PATH?QUERY.

    That is the exact text of the request line. The simulator's own host prefix may or may not be part of it: it exists
    here only. A request that was never written, as tests make them, is written the way most clients do.
    """
    written = request.target or f"{quote(request.path)}{'?' if request.query else ''}{urlencode(request.query)}"
    return list(dict.fromkeys([written, written.removeprefix(PREFIX)]))


def verify_request(world: World, merchant: Merchant, request: Request, given: Authorization) -> str:
    """Check the merchant's signature over a request; return a remark for the journal.

    Raises:
        PayRefusal: SIGN_ERROR (401), with what the gateway took as the signed text.
    """
    policy = world.policy
    if not same_serial(given.serial_no, merchant.serial):
        platforms = (merchant.public_key_id, *(item.serial for item in merchant.certificates))
        mixed = any(same_serial(given.serial_no, serial) for serial in platforms)
        raise broken(
            "serial_no names a key of the platform, not the merchant's" if mixed else "serial_no is not the merchant's",
            "商户证书序列号有误。请使用签名私钥匹配的证书序列号",
            "serial_no",
        )
    age = platform_time(world) - given.timestamp
    if abs(age) >= policy.pay_timestamp_window:
        raise broken(
            f"the timestamp is {age:+.0f} s old, {policy.pay_timestamp_window:g} s are allowed",
            "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟",
            "timestamp",
        )
    candidates = targets(request)
    for target in candidates:
        text = signed_text(request.method, target, given.timestamp, given.nonce_str, request.body)
        if verify_merchant(merchant, text, given.signature):
            return remember(world, merchant, given)
    text = signed_text(request.method, candidates[0], given.timestamp, given.nonce_str, request.body)
    information: dict[str, object] = {
        "method": request.method,
        "url": candidates[0],
        "truncated_sign_message": text[:SHOWN].decode("utf-8", errors="replace"),
        "sign_message_length": len(text),
    }
    raise PayRefusal(
        "SIGN_ERROR",
        f"the signature does not match the text of {len(text)} bytes that begins {request.method} {candidates[0]}",
        field="signature",
        location="authorization",
        detail={"issue": "sign not match", "sign_information": information},
    )


def remember(world: World, merchant: Merchant, given: Authorization) -> str:
    """Keep the nonce for a while; a second use is refused where the policy says so, and remarked on elsewhere."""
    now, window = platform_time(world), world.policy.pay_timestamp_window
    # The oldest come first: only what is over is looked at.
    while merchant.nonces and merchant.nonces[oldest := next(iter(merchant.nonces))] <= now:
        del merchant.nonces[oldest]
    key = f"{given.timestamp} {given.nonce_str}"
    if key in merchant.nonces:
        if world.policy.pay_replayed_request == "refuse":
            raise broken("the same timestamp and nonce came before", "请求重放，请更换nonce_str", "nonce_str")
        return "; the same Authorization came before"
    merchant.nonces[key] = now + 2 * window
    return ""


def signed_text(method: str, target: str, timestamp: int, nonce: str, body: bytes) -> bytes:
    """Return what a v3 request signs: five lines, each with its line feed."""
    return f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"


def verify_merchant(merchant: Merchant, text: bytes, signature: str) -> bool:
    """Tell whether the merchant has signed this text."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    try:
        raw = base64.b64decode(signature, validate=True)
        keys.merchant_public_key(merchant).verify(raw, text, padding.PKCS1v15(), hashes.SHA256())
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


# --- v3: the platform's signature -----------------------------------------------------------------------------------


def same_serial(one: str, other: str) -> bool:
    """Compare serial numbers as people write them: case, colons and leading zeros count for nothing."""
    if one.startswith("PUB_KEY_ID_") or other.startswith("PUB_KEY_ID_"):
        return one == other
    return one.upper().replace(":", "").lstrip("0") == other.upper().replace(":", "").lstrip("0")


def made_up_serial(seed: int, what: str) -> str:
    """Make up a serial number of 40 hex digits without leading zeros, and small enough for X.509."""
    return "4" + made_up(seed, what, 39).upper()


def certify(world: World, merchant: Merchant, start: float) -> PlatformCertificate:
    """Give a merchant one more platform certificate."""
    label = f"certificate/{merchant.number}/{len(merchant.certificates) + 1}"
    item = PlatformCertificate(
        serial=made_up_serial(world.state.dice.seed, label),
        key=label,
        effective_at=start,
        expires_at=start + world.policy.pay_certificate_life,
    )
    merchant.certificates.append(item)
    return item


def valid_certificates(world: World, merchant: Merchant) -> list[PlatformCertificate]:
    """Return the platform certificates in force, the newest last; the platform renews one that has run out."""
    now = world.now()
    valid = [item for item in merchant.certificates if item.effective_at <= now < item.expires_at]
    return valid or ([certify(world, merchant, now)] if merchant.certificates else [])


def signing_key(world: World, merchant: Merchant, wanted: str = "") -> tuple[str, str]:
    """Return the serial and the label of the platform key that signs for a merchant.

    Args:
        world: The world.
        merchant: Whose platform keys.
        wanted: The serial the caller has named.

    Raises:
        PayRefusal: PARAM_ERROR; the caller has named a key that is none of the platform's.
    """
    valid = valid_certificates(world, merchant)
    known = {item.serial: item.key for item in reversed(valid)}
    if merchant.public_key_id:
        known[merchant.public_key_id] = merchant.public_key_label
    if wanted:
        for serial, label in known.items():
            if same_serial(serial, wanted):
                return serial, label
        raise PayRefusal(
            "PARAM_ERROR",
            "Wechatpay-Serial names no key of the platform that is in force",
            message="平台证书序列号Wechatpay-Serial错误",
            field="Wechatpay-Serial",
            location="header",
        )
    # Without a wish the older scheme answers, as long as there is a certificate.
    return next(iter(known.items()))


def platform_headers(world: World, serial: str, label: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """Sign a body as the platform; return the headers that carry the signature."""
    timestamp, nonce = str(int(platform_time(world))), world.state.dice.hex("pay nonce", 32)
    return (
        ("Wechatpay-Timestamp", timestamp),
        ("Wechatpay-Nonce", nonce),
        ("Wechatpay-Signature", sign_platform(label, f"{timestamp}\n{nonce}\n".encode() + body + b"\n")),
        ("Wechatpay-Serial", serial),
        ("Wechatpay-Signature-Type", ALGORITHM),
    )


def sign_platform(label: str, text: bytes) -> str:
    """Sign a text with a key of the platform."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return base64.b64encode(keys.private_key(label).sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


def probe_signature(world: World) -> str:
    """Return the signature of a probe (签名探测流量): it is meant to be refused."""
    noise = world.state.dice.digest("pay probe") * 8
    return PROBE + base64.b64encode(noise[: 256 - len(PROBE) * 3 // 4]).decode()


def seal_resource(world: World, key: str, plain: bytes, associated: str) -> dict[str, object]:
    """Encipher a resource with the APIv3 key (AEAD_AES_256_GCM)."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = world.state.dice.hex("pay cipher nonce", 12)
    sealed = AESGCM(key.encode()).encrypt(nonce.encode(), plain, associated.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": associated,
        "nonce": nonce,
    }


def open_field(label: str, text: str) -> str:
    """Open a field the merchant has enciphered with a key of the platform (RSA-OAEP with SHA-1).

    Raises:
        ValueError: It is not that.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303  (the platform's choice)
    return keys.private_key(label).decrypt(base64.b64decode(text, validate=True), oaep).decode("utf-8")


def seal_field(world: World, merchant: Merchant, text: str) -> str:
    """Encipher a field for the merchant's certificate (RSA-OAEP with SHA-1), with the world's own chance."""
    numbers = keys.merchant_public_key(merchant).public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    message = text.encode()
    seed = world.state.dice.digest("pay oaep")[:OAEP_HASH]
    filling = b"\0" * (size - len(message) - 2 * OAEP_HASH - 2)
    data = hashlib.sha1(b"", usedforsecurity=False).digest() + filling + b"\1" + message
    masked = bytes(a ^ b for a, b in zip(data, mask(seed, len(data)), strict=True))
    masked_seed = bytes(a ^ b for a, b in zip(seed, mask(masked, OAEP_HASH), strict=True))
    whole = int.from_bytes(b"\0" + masked_seed + masked, "big")
    return base64.b64encode(pow(whole, numbers.e, numbers.n).to_bytes(size, "big")).decode()


def mask(seed: bytes, length: int) -> bytes:
    """Return the mask of a seed (MGF1 with SHA-1)."""
    parts = (
        hashlib.sha1(seed + index.to_bytes(4, "big"), usedforsecurity=False).digest()
        for index in range(length // OAEP_HASH + 1)
    )
    return b"".join(parts)[:length]


# --- v2 ---------------------------------------------------------------------------------------------------------------


def sign_v2(fields: Mapping[str, str], key: str, sign_type: SignType) -> str:
    """Sign the fields of a v2 message: sorted, joined, empty ones and ``sign`` left out, the key at the end."""
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name != "sign" and fields[name] != "")
    whole = f"{text}&key={key}".encode("utf-8", errors="surrogatepass")
    if sign_type == "HMAC-SHA256":
        return hmac.new(key.encode(), whole, hashlib.sha256).hexdigest().upper()
    return hashlib.md5(whole, usedforsecurity=False).hexdigest().upper()


def v2_req_info(key: str, plain: bytes) -> str:
    """Encipher the body of a v2 refund notice: AES-256-ECB under the hex MD5 of the key."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    secret = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest().encode()
    pad = 16 - len(plain) % 16
    worker = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()  # noqa: S305  (the platform's choice)
    return base64.b64encode(worker.update(plain + bytes([pad]) * pad) + worker.finalize()).decode()
