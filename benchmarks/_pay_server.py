"""A WeChat Pay that costs next to nothing: two canned answers with real signatures, over TLS, in a process of its own.

``POST /v3/pay/transactions/jsapi`` gives a ``prepay_id``, everything else an order that nobody has paid. The signature
of every request is verified, so that nobody wins by signing badly; an answer is signed once a second, because that is
how often its timestamp changes.

    python -m benchmarks._pay_server FOLDER      # prints its port, ends with its standard input
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import re
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID

from benchmarks._worker import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

MCHID: Final = "1900000109"
APPID: Final = "wx0123456789abcdef"
OPENID: Final = "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"
SERIAL: Final = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
PUBLIC_KEY_ID: Final = "PUB_KEY_ID_0119000001092025010100000000000001"
API_V3_KEY: Final = "0123456789abcdef0123456789abcdef"
OUT_TRADE_NO: Final = "bench-0001"
NOTIFY_URL: Final = "https://shop.example.com/pay"

ORDERED: Final = b'{"prepay_id":"wx201410272009395522657a690389285100"}'
OPEN_ORDER: Final = json.dumps(
    {
        "amount": {"currency": "CNY", "total": 100},
        "appid": APPID,
        "mchid": MCHID,
        "out_trade_no": OUT_TRADE_NO,
        "promotion_detail": [],
        "scene_info": {"device_id": ""},
        "trade_state": "NOTPAY",
        "trade_state_desc": "订单未支付",
    },
    ensure_ascii=False,
).encode()

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_MEMBER: Final = re.compile(rb'([a-z_]+)="([^"]*)"')
_SIGNED: Final = re.compile(rb"\r\nauthorization: *WECHATPAY2-SHA256-RSA2048 ([^\r]*)", re.IGNORECASE)


def make_folder(folder: Path) -> None:
    """Write all keys: the merchant's, the platform's, and the certificate of the server."""
    for name in ("merchant", "platform"):
        key = rsa.generate_private_key(65537, 2048)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(private)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    server = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(server.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(server, hashes.SHA256())
    )
    own = certificate.public_bytes(Encoding.PEM)
    (folder / "tls.crt").write_bytes(own)
    # Among all the authorities of the world: who reads them for each call pays here what it costs elsewhere.
    (folder / "ca.pem").write_bytes(Path(certifi.where()).read_bytes() + own)
    (folder / "tls.key").write_bytes(server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class Signer:
    """The platform's key, and the answers of the current second."""

    def __init__(self, folder: Path) -> None:
        self._key: Any = load_pem_private_key((folder / "platform.pem").read_bytes(), None)
        self._merchant: Any = load_pem_public_key((folder / "merchant.pub").read_bytes())
        self._second = 0
        self._answers: dict[bytes, bytes] = {}

    def genuine(self, line: bytes, head: bytes, body: bytes) -> bool:
        """Tell whether the merchant has signed this request."""
        found = _SIGNED.search(head)
        if found is None:
            return False
        given = dict(_MEMBER.findall(found[1]))
        method, target, _ = line.split(b" ")
        text = b"%s\n%s\n%s\n%s\n%s\n" % (method, target, given[b"timestamp"], given[b"nonce_str"], body)
        try:
            self._merchant.verify(base64.b64decode(given[b"signature"]), text, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def headers(self, body: bytes) -> list[tuple[str, str]]:
        """Sign an answer."""
        timestamp, nonce = str(int(time.time())), "c5ac7061fccab6bf3e254dcf98995b8c"
        text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        return [
            ("Wechatpay-Timestamp", timestamp),
            ("Wechatpay-Nonce", nonce),
            ("Wechatpay-Signature", base64.b64encode(signature).decode()),
            ("Wechatpay-Serial", PUBLIC_KEY_ID),
            ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048"),
        ]

    def answer(self, body: bytes) -> bytes:
        """Return a whole HTTP answer."""
        if self._second != int(time.time()):
            self._second = int(time.time())
            self._answers.clear()
        found = self._answers.get(body)
        if found is None:
            lines = [
                ("Server", "nginx"),
                ("Date", "Sat, 01 Nov 2025 00:00:00 GMT"),
                ("Content-Type", "application/json; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Connection", "keep-alive"),
                ("Cache-Control", "no-cache, must-revalidate"),
                ("Request-ID", "08F78BB5AF0610D302189F94E5AD0120D86F28A9E406-0"),
                *self.headers(body),
            ]
            head = "".join(f"{name}: {value}\r\n" for name, value in lines)
            found = self._answers[body] = f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body
        return found


class PayPlatform(asyncio.Protocol):
    """One connection. Requests on it come one after the other."""

    signer: Signer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            body, self.buffer = self.buffer[end + 4 : size], self.buffer[size:]
            self.transport.write(self.reply(head.partition(b"\r\n")[0], head, body))

    def reply(self, line: bytes, head: bytes, body: bytes) -> bytes:
        """Answer one request."""
        if not self.signer.genuine(line, head, body):
            return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
        return self.signer.answer(ORDERED if line.startswith(b"POST ") else OPEN_ORDER)


async def serve(folder: Path) -> None:
    """Serve until standard input ends."""
    PayPlatform.signer = Signer(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(PayPlatform, "127.0.0.1", 0, backlog=1024, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running() -> Iterator[tuple[str, Path]]:
    """Run the server in its own process; give its address and the folder of the keys."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder)
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks._pay_server", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=clean_environment(),
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            try:
                yield f"https://127.0.0.1:{int(process.stdout.readline())}", folder
            finally:
                process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
