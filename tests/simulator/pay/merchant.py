"""A small merchant for the tests, written from the documents alone: it shares nothing with what it tests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from wxmp.simulator import Reply, Request, World

SCHEME = "WECHATPAY2-SHA256-RSA2048"
NONCES = count(1)


@cache
def load_key(pem: str) -> Any:
    """Read a private key; its check takes long, and the keys of the tests are few."""
    return load_pem_private_key(pem.encode(), None)


class Shop:
    """One merchant's server: signs its requests, checks every answer, opens every notice."""

    def __init__(self, world: World, record: Any) -> None:
        self.world = world
        self.mchid = record.mchid
        self.appid = record.appids[0]
        self.serial = record.serial
        self.v3_key = record.api_v3_key
        self.v2_key = record.api_v2_key
        self.key = load_key(record.private_key)
        self.public_key_id = record.public_key_id
        self.platform: dict[str, Any] = {}
        if record.public_key_id:
            self.platform[record.public_key_id] = load_pem_public_key(record.platform_public_key.encode())
        self.wants = record.public_key_id
        self.notify_url = "https://shop.example.com/pay"

    # --- v3 ---

    def sign(self, text: str | bytes) -> str:
        raw = text.encode() if isinstance(text, str) else text
        return base64.b64encode(self.key.sign(raw, padding.PKCS1v15(), hashes.SHA256())).decode()

    def authorization(self, method: str, target: str, body: bytes, **changes: Any) -> str:
        given = {
            "mchid": self.mchid,
            "nonce_str": f"nonce{next(NONCES):027d}",
            "timestamp": str(int(time.time())),
            "serial_no": self.serial,
        } | changes
        text = f"{method}\n{target}\n{given['timestamp']}\n{given['nonce_str']}\n".encode() + body + b"\n"
        given.setdefault("signature", self.sign(text))
        return f"{SCHEME} " + ",".join(f'{name}="{value}"' for name, value in given.items())

    def headers(self, method: str, target: str, body: bytes, **changes: Any) -> dict[str, str]:
        found = {
            "accept": "application/json",
            "user-agent": "shop/1",
            "authorization": self.authorization(method, target, body, **changes),
        }
        if self.wants:
            found["wechatpay-serial"] = self.wants
        if body:
            found["content-type"] = "application/json"
        return found

    def send(self, method: str, target: str, body: Any = None, headers: Any = None, **changes: Any) -> Reply:
        """Send one signed request to the world; ``changes`` spoil the Authorization."""
        raw = body if isinstance(body, bytes) else (b"" if body is None else json.dumps(body).encode())
        parts = urlsplit(target)
        sent = self.headers(method, target, raw, **changes) | (headers or {})
        sent = {name: value for name, value in sent.items() if value is not None}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return self.world.handle(Request(method, unquote(parts.path), query, raw, host="mch", headers=sent))

    def verified(self, reply: Reply) -> dict[str, Any]:
        """Check the answer's signature, then read it."""
        assert 200 <= reply.status < 300, (reply.status, reply.body, reply.why)
        self.verify(dict(reply.headers), reply.body)
        return json.loads(reply.body) if reply.body else {}

    def verify(self, headers: Any, body: bytes) -> None:
        low = {name.lower(): value for name, value in headers.items()}
        assert low.get("wechatpay-signature-type", SCHEME) == SCHEME
        assert abs(time.time() - int(low["wechatpay-timestamp"])) < 300
        text = f"{low['wechatpay-timestamp']}\n{low['wechatpay-nonce']}\n".encode() + body + b"\n"
        key = self.platform[low["wechatpay-serial"]]
        key.verify(
            base64.b64decode(low["wechatpay-signature"], validate=True), text, padding.PKCS1v15(), hashes.SHA256()
        )

    def genuine(self, headers: Any, body: bytes) -> bool:
        """Tell whether WeChat Pay has sent this."""
        try:
            self.verify(headers, body)
        except (AssertionError, KeyError, ValueError, InvalidSignature):
            return False
        return True

    def get(self, target: str, **more: Any) -> dict[str, Any]:
        return self.verified(self.send("GET", target, **more))

    def post(self, target: str, body: Any = None, **more: Any) -> dict[str, Any]:
        return self.verified(self.send("POST", target, body, **more))

    def refused(self, reply: Reply) -> tuple[int, str]:
        """Return the status and the code of an error; errors carry no signature."""
        assert "Wechatpay-Signature" not in dict(reply.headers)
        assert dict(reply.headers)["Request-ID"]
        return reply.status, json.loads(reply.body)["code"]

    def order(self, number: str = "order-0001", total: int = 100, **changes: Any) -> dict[str, Any]:
        body = {
            "appid": self.appid,
            "mchid": self.mchid,
            "description": "一杯咖啡",
            "out_trade_no": number,
            "notify_url": self.notify_url,
            "amount": {"total": total, "currency": "CNY"},
        } | changes
        return {name: value for name, value in body.items() if value is not None}

    def jsapi(self, openid: str, number: str = "order-0001", total: int = 100, **changes: Any) -> str:
        body = self.order(number, total, payer={"openid": openid}, **changes)
        return self.post("/v3/pay/transactions/jsapi", body)["prepay_id"]

    def query(self, number: str = "order-0001") -> dict[str, Any]:
        return self.get(f"/v3/pay/transactions/out-trade-no/{quote(number, safe='')}?mchid={self.mchid}")

    def refund(
        self, transaction_id: str, number: str = "refund-1", amount: int = 100, total: int = 100, **more: Any
    ) -> Any:
        money = {"refund": amount, "total": total, "currency": "CNY"}
        body = {"transaction_id": transaction_id, "out_refund_no": number, "amount": money} | more
        return self.send("POST", "/v3/refund/domestic/refunds", body)

    def bridge(self, prepay_id: str, **changes: Any) -> dict[str, Any]:
        """Return the parameters a page gives to WeixinJSBridge."""
        fields: dict[str, Any] = {
            "appId": self.appid,
            "timeStamp": str(int(time.time())),
            "nonceStr": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
            "package": f"prepay_id={prepay_id}",
            "signType": "RSA",
        }
        text = "".join(f"{fields[name]}\n" for name in ("appId", "timeStamp", "nonceStr", "package"))
        fields["paySign"] = self.sign(text)
        return fields | changes

    def app(self, prepay_id: str) -> dict[str, Any]:
        """Return the parameters an app gives to its SDK."""
        stamp, nonce = str(int(time.time())), "appnonce"
        return {
            "appid": self.appid,
            "partnerid": self.mchid,
            "prepayid": prepay_id,
            "package": "Sign=WXPay",
            "noncestr": nonce,
            "timestamp": stamp,
            "sign": self.sign(f"{self.appid}\n{stamp}\n{nonce}\n{prepay_id}\n"),
        }

    def unseal(self, resource: dict[str, Any]) -> bytes:
        """Open what was enciphered with the APIv3 key."""
        assert resource["algorithm"] == "AEAD_AES_256_GCM"
        nonce = resource["nonce"].encode()
        assert len(nonce) == 12
        extra = (resource.get("associated_data") or "").encode()
        return AESGCM(self.v3_key.encode()).decrypt(nonce, base64.b64decode(resource["ciphertext"]), extra)

    def learn_certificates(self) -> list[str]:
        """Fetch the platform certificates and trust them; return their serials."""
        reply = self.send("GET", "/v3/certificates")
        assert reply.status == 200, reply.body
        found = []
        for item in json.loads(reply.body)["data"]:
            certificate = x509.load_pem_x509_certificate(self.unseal(item["encrypt_certificate"]))
            assert f"{certificate.serial_number:X}" == item["serial_no"]
            self.platform[item["serial_no"]] = certificate.public_key()
            found.append(item["serial_no"])
        self.verified(reply)
        return found

    def seal(self, text: str, serial: str | None = None) -> str:
        """Encipher a field for the platform (RSA-OAEP, SHA-1)."""
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        return base64.b64encode(self.platform[serial or self.wants].encrypt(text.encode(), oaep)).decode()

    def unseal_field(self, text: str) -> str:
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        return self.key.decrypt(base64.b64decode(text), oaep).decode()

    def notice(self, hit: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check and open a notice: its envelope and what was in it."""
        self.verify(hit.headers, hit.body)
        envelope = json.loads(hit.body)
        return envelope, json.loads(self.unseal(envelope["resource"]))

    # --- v2 ---

    def sign_v2(self, fields: dict[str, str], sign_type: str = "MD5") -> str:
        text = "&".join(f"{k}={fields[k]}" for k in sorted(fields) if fields[k] != "" and k != "sign")
        text += f"&key={self.v2_key}"
        if sign_type == "HMAC-SHA256":
            return hmac.new(self.v2_key.encode(), text.encode(), hashlib.sha256).hexdigest().upper()
        return hashlib.md5(text.encode()).hexdigest().upper()

    def v2(self, path: str, fields: dict[str, Any], sign_type: str = "MD5", **changes: Any) -> dict[str, str]:
        """Send one v2 message; check the sign of the answer."""
        reply = self.v2_raw(path, fields, sign_type, **changes)
        found = flat(reply.body)
        if found["return_code"] == "SUCCESS":
            assert found["sign"] == self.sign_v2(found, sign_type)
            assert found["mch_id"] == self.mchid
        return found

    def v2_raw(self, path: str, fields: dict[str, Any], sign_type: str = "MD5", **changes: Any) -> Reply:
        whole = {"appid": self.appid, "mch_id": self.mchid, "nonce_str": "abc123"}
        whole |= {name: str(value) for name, value in fields.items()}
        if sign_type != "MD5":
            whole["sign_type"] = sign_type
        whole["sign"] = self.sign_v2(whole, sign_type)
        whole |= changes
        body = "<xml>" + "".join(f"<{k}><![CDATA[{v}]]></{k}>" for k, v in whole.items()) + "</xml>"
        return self.world.handle(Request("POST", path, {}, body.encode(), host="mch"))

    def v2_order(self, openid: str, number: str = "v2order01", **changes: Any) -> dict[str, Any]:
        return {
            "body": "一杯咖啡",
            "out_trade_no": number,
            "total_fee": 100,
            "spbill_create_ip": "127.0.0.1",
            "notify_url": self.notify_url,
            "trade_type": "JSAPI",
            "openid": openid,
        } | changes

    def req_info(self, text: str) -> dict[str, str]:
        """Open the body of a v2 refund notice."""
        key = hashlib.md5(self.v2_key.encode()).hexdigest().encode()
        worker = Cipher(algorithms.AES(key), modes.ECB()).decryptor()
        plain = worker.update(base64.b64decode(text)) + worker.finalize()
        return flat(plain[: -plain[-1]], "root")


def flat(body: bytes, root: str = "xml") -> dict[str, str]:
    """Read flat XML."""
    tree = ET.fromstring(body)
    assert tree.tag == root
    return {node.tag: node.text or "" for node in tree}
