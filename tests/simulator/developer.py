"""A developer's server for the simulator to push to: real sockets, and answers that each test decides.

Its cryptography is written here once more, from the documents, so that it shares nothing with the package.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree as ET

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TOKEN = "devToken123"
AES_KEY = base64.b64encode(bytes(range(1, 33))).decode()[:43]
OTHER_KEY = base64.b64encode(bytes(range(101, 133))).decode()[:43]


def sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()


def cipher(key: str) -> Cipher[modes.CBC]:
    raw = base64.b64decode(key + "=")
    return Cipher(algorithms.AES(raw), modes.CBC(raw[:16]))


def decrypt(key: str, text: str) -> tuple[bytes, str]:
    """Return the message and the AppID of an envelope."""
    worker = cipher(key).decryptor()
    plain = worker.update(base64.b64decode(text)) + worker.finalize()
    plain = plain[: -plain[-1]]
    (size,) = struct.unpack(">I", plain[16:20])
    return plain[20 : 20 + size], plain[20 + size :].decode()


def encrypt(key: str, message: bytes, appid: str) -> str:
    plain = b"0123456789abcdef" + struct.pack(">I", len(message)) + message + appid.encode()
    pad = 32 - len(plain) % 32
    worker = cipher(key).encryptor()
    return base64.b64encode(worker.update(plain + bytes([pad]) * pad) + worker.finalize()).decode()


def envelope(message: bytes, appid: str, *, token: str = TOKEN, key: str = AES_KEY, **changes: str) -> bytes:
    """Return an encrypted XML reply; ``changes`` replace its fields."""
    fields = {"Encrypt": encrypt(key, message, appid), "TimeStamp": "1790000000", "Nonce": "n1"}
    fields["MsgSignature"] = sha1(token, fields["TimeStamp"], fields["Nonce"], fields["Encrypt"])
    fields |= changes
    return ("<xml>" + "".join(f"<{k}>{v}</{k}>" for k, v in fields.items() if v) + "</xml>").encode()


def xml_fields(body: bytes) -> dict[str, Any]:
    """Read XML into texts, dicts and lists."""

    def read(node: ET.Element) -> Any:
        if not len(node):
            return node.text or ""
        found: dict[str, Any] = {}
        for child in node:
            value = read(child)
            if child.tag in found:
                before = found[child.tag]
                found[child.tag] = [*before, value] if isinstance(before, list) else [before, value]
            else:
                found[child.tag] = value
        return found

    root = ET.fromstring(body)
    assert root.tag == "xml"
    return read(root)


def text_reply(push: dict[str, Any], content: str = "好的", **changes: str) -> bytes:
    """Return a plain text reply to a push."""
    fields = {
        "ToUserName": push["FromUserName"],
        "FromUserName": push["ToUserName"],
        "CreateTime": "1790000000",
        "MsgType": "text",
        "Content": content,
    } | changes
    return ("<xml>" + "".join(f"<{k}><![CDATA[{v}]]></{k}>" for k, v in fields.items()) + "</xml>").encode()


class Hit:
    """One request as it arrived."""

    def __init__(self, method: str, path: str, headers: Any, body: bytes) -> None:
        self.method = method
        self.path = urlsplit(path).path
        self.query = dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))
        self.headers = headers
        self.body = body

    @property
    def fields(self) -> dict[str, Any]:
        """The fields as they stand in the body."""
        return xml_fields(self.body)

    def opened(self, key: str = AES_KEY) -> dict[str, Any]:
        """The decrypted fields."""
        return xml_fields(decrypt(key, self.fields["Encrypt"])[0])


class Developer:
    """A server on loopback. ``answer`` is called with each push and returns a body, or (status, body)."""

    def __init__(self) -> None:
        self.hits: list[Hit] = []
        self.checks: list[Hit] = []
        self.answer: Any = lambda hit: b"success"
        self.echo: Any = lambda hit: hit.query["echostr"].encode()
        self.release = threading.Event()
        self.arrived = threading.Event()
        developer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hit = Hit("GET", self.path, self.headers, b"")
                developer.checks.append(hit)
                self.reply(developer.echo(hit))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                hit = Hit("POST", self.path, self.headers, body)
                developer.hits.append(hit)
                developer.arrived.set()
                self.reply(developer.answer(hit))

            def reply(self, answer: Any) -> None:
                status, body, *more = answer if isinstance(answer, tuple) else (200, answer)
                if status is None:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                for name, value in more:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                """The simulator hangs up on slow answers: that is what some tests are about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/wx"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def hang(self, hit: Hit) -> bytes:
        """Answer nothing until the test is over."""
        self.release.wait(30)
        return b"success"

    def stop(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
