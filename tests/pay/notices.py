"""Notices as WeChat Pay sends them, made with ``cryptography`` alone: they share nothing with the SDK."""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from wxmp.pay._certificates import PayKeys
from wxmp.pay.notifications import Notifications

SCHEME = "WECHATPAY2-SHA256-RSA2048"
APPID = "wx0123456789abcdef"
NUMBER = "order-0001"
TRANSACTION = {
    "appid": APPID,
    "mchid": "1900000001",
    "out_trade_no": NUMBER,
    "transaction_id": "4200000000202611210000000001",
    "trade_type": "JSAPI",
    "trade_state": "SUCCESS",
    "trade_state_desc": "支付成功",
    "bank_type": "OTHERS",
    "attach": "table 5",
    "success_time": "2026-11-21T10:34:56+08:00",
    "payer": {"openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"},
    "amount": {"total": 100, "payer_total": 90, "currency": "CNY", "payer_currency": "CNY"},
    "a_new_member": {"of": "tomorrow"},
}
REFUND = {
    "mchid": "1900000001",
    "out_trade_no": NUMBER,
    "transaction_id": "4200000000202611210000000001",
    "out_refund_no": "refund-1",
    "refund_id": "50000000000000001",
    "refund_status": "SUCCESS",
    "success_time": "2026-11-21T10:40:00+08:00",
    "user_received_account": "支付用户零钱",
    "amount": {"total": 100, "refund": 40, "payer_total": 90, "payer_refund": 36},
}
TRANSFER = {
    "mch_id": "1900000001",
    "out_bill_no": "bill0001",
    "transfer_bill_no": "1330000000001",
    "appid": APPID,
    "state": "SUCCESS",
    "transfer_amount": 500,
    "transfer_remark": "新会员有礼",
    "openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M",
    "create_time": "2026-11-21T10:00:00+08:00",
    "update_time": "2026-11-21T10:01:00+08:00",
}
PARTNER = {key: value for key, value in TRANSACTION.items() if key not in ("appid", "mchid", "payer")} | {
    "sp_appid": APPID,
    "sp_mchid": "1900000001",
    "sub_mchid": "1900000109",
    "payer": {"sp_openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"},
}
COMBINED = {
    "combine_appid": APPID,
    "combine_mchid": "1900000001",
    "combine_out_trade_no": "combined-1",
    "combine_payer_info": {"openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"},
    "sub_orders": [
        {
            "mchid": f"19000002{index}",
            "out_trade_no": f"part-000{index}",
            "transaction_id": f"42000000000000000{index}",
            "trade_type": "JSAPI",
            "trade_state": "SUCCESS",
            "bank_type": "OTHERS",
            "attach": "a",
            "success_time": "2026-11-21T10:34:56+08:00",
            "amount": {"total_amount": index * 10, "payer_amount": index * 10, "currency": "CNY"},
        }
        for index in (1, 2)
    ],
}


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """The key of a name, one for the whole run."""
    return rsa.generate_private_key(65537, 2048)


@attrs.frozen
class Notice:
    """One delivery: its headers in order, and its bytes."""

    headers: list[tuple[str, str]]
    body: bytes

    def changed(self, **changes: str | None) -> Notice:
        """The same with other headers: ``serial="…"``, ``nonce=None`` for without."""
        names = {f"Wechatpay-{name.replace('_', '-').title()}": value for name, value in changes.items()}
        kept = [(name, value) for name, value in self.headers if name not in names]
        return Notice([*kept, *((name, value) for name, value in names.items() if value is not None)], self.body)

    def header(self, name: str) -> str:
        """One header."""
        return dict(self.headers)[f"Wechatpay-{name.title()}"]


@attrs.frozen
class Merchant:
    """A merchant as the platform knows it: which key signs for it, and what its secrets are."""

    mchid: str = "1900000001"
    api_v3_key: str = "0123456789abcdef0123456789abcdef"
    public_key_id: str = "PUB_KEY_ID_0119000000012026112100000001"
    key: str = "platform"

    @property
    def public_pem(self) -> str:
        """The WeChat Pay public key."""
        return rsa_key(self.key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def keys(self, **changes: Any) -> PayKeys:
        """What the SDK needs to open the notices."""
        settings: dict[str, Any] = {
            "mchid": self.mchid,
            "api_v3_key": self.api_v3_key,
            "public_key": self.public_pem,
            "public_key_id": self.public_key_id,
        }
        return PayKeys(**{**settings, **changes})

    def notifications(self, **settings: Any) -> Notifications:
        """The SDK's side."""
        keys = settings.pop("keys", None) or self.keys()
        return Notifications(keys, **settings)

    def sign(self, body: bytes, *, at: float | None = None, key: str = "", nonce: str = "") -> Notice:
        """Sign a body."""
        timestamp = str(int(time.time() if at is None else at))
        nonce = nonce or secrets.token_hex(16)
        text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = rsa_key(key or self.key).sign(text, padding.PKCS1v15(), hashes.SHA256())
        headers = [
            ("Content-Type", "application/json"),
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Nonce", nonce),
            ("Wechatpay-Signature", base64.b64encode(signature).decode()),
            ("Wechatpay-Serial", self.public_key_id),
            ("Wechatpay-Signature-Type", SCHEME),
        ]
        return Notice(headers, body)

    def seal(self, plain: bytes, associated: str = "transaction") -> dict[str, Any]:
        """Encipher what a notice is about."""
        nonce = secrets.token_hex(6)
        sealed = AESGCM(self.api_v3_key.encode()).encrypt(nonce.encode(), plain, associated.encode())
        return {
            "original_type": associated,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": base64.b64encode(sealed).decode(),
            "associated_data": associated,
            "nonce": nonce,
        }

    def envelope(self, plain: Any, event_type: str = "TRANSACTION.SUCCESS", **changes: Any) -> dict[str, Any]:
        """The envelope; ``changes`` replace its fields."""
        raw = plain if isinstance(plain, bytes) else json.dumps(plain, ensure_ascii=False).encode()
        return {
            "id": str(uuid.uuid4()),
            "create_time": "2026-11-21T10:34:56+08:00",
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": "支付成功",
            "resource": self.seal(raw),
        } | changes

    def notice(self, plain: Any = None, event_type: str = "TRANSACTION.SUCCESS", **changes: Any) -> Notice:
        """A notice and its first delivery."""
        found = TRANSACTION if plain is None else plain
        return self.sign(json.dumps(self.envelope(found, event_type, **changes), ensure_ascii=False).encode())


def certificate(name: str, *, days: int = 30) -> tuple[str, str]:
    """A platform certificate: its serial number and its PEM."""
    key, now = rsa_key(name), datetime.now(UTC)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenpay.com sign")])
    serial = int("4" + secrets.token_hex(19) + "0", 16)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return f"{serial:040X}", made.public_bytes(Encoding.PEM).decode()


SHOP = Merchant()
NEWS = Merchant(
    mchid="1900000002",
    api_v3_key="fedcba9876543210fedcba9876543210",
    public_key_id="PUB_KEY_ID_0119000000022026112100000002",
    key="other",
)
