"""The platform's real addresses, answered by a simulator: what lets other SDKs run without a line of theirs changed.

Most SDKs have the hosts ``https://api.weixin.qq.com`` and ``https://api.mch.weixin.qq.com`` written into them. They all
obey the two settings that every HTTP library has: a proxy and a file of trusted certificates. This is that proxy. It
lets nobody out: a connection to one of the platform's hosts ends here, in TLS with a certificate made for this run,
and its bytes go to the simulator; every other host is refused and remembered.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import select
import socket
import socketserver
import ssl
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

HOSTS = (
    "api.weixin.qq.com",
    "api2.weixin.qq.com",
    "mp.weixin.qq.com",
    "open.weixin.qq.com",
    "api.mch.weixin.qq.com",
    "api2.mch.weixin.qq.com",
    "api.wechatpay.cn",
)
IDLE_SECONDS = 60.0


class Authority:
    """A certificate authority that lives as long as its folder, and one certificate for all the platform's hosts."""

    def __init__(self, folder: Path) -> None:
        self.bundle = folder / "trusted.pem"
        self.chain = folder / "platform.pem"
        now = dt.datetime.now(dt.UTC)
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wxmp tests: no trust beyond this run")])
        unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        usage = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
        start, end = now - dt.timedelta(hours=1), now + dt.timedelta(days=2)
        root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
        root = (
            x509.CertificateBuilder(
                root_name, root_name, root_key.public_key(), x509.random_serial_number(), start, end
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage), True)
            .add_extension(root_id, critical=False)
            .sign(root_key, hashes.SHA256())
        )
        names = [x509.DNSName(host) for host in HOSTS]
        leaf = (
            x509.CertificateBuilder(
                root_name,
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTS[0])]),
                key.public_key(),
                x509.random_serial_number(),
                start,
                end,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **usage), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id), critical=False)
            .sign(root_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.bundle.write_bytes(root.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.chain.write_bytes(leaf.public_bytes(pem) + private)

    def server_side(self) -> ssl.SSLContext:
        """Return the TLS settings of the platform's hosts."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        return context


class Gateway:
    """The proxy in front of one simulator.

    Args:
        simulator: The simulator's URL.
        authority: Who signs the hosts' certificate.
    """

    def __init__(self, simulator: str, authority: Authority) -> None:
        target = urlsplit(simulator)
        assert target.hostname is not None
        assert ipaddress.ip_address(target.hostname).is_loopback
        self.target = (target.hostname, target.port or 80)
        self.refused: list[str] = []
        self.reached: set[str] = set()
        self._authority = authority
        self._tls = authority.server_side()
        gateway = self

        class Handler(socketserver.BaseRequestHandler):
            request: socket.socket

            def handle(self) -> None:
                self.request.settimeout(IDLE_SECONDS)
                # Without it each answer waits 40 ms for a delayed acknowledgement.
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(OSError):
                    gateway.serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="gateway", daemon=True
        )

    @property
    def environment(self) -> dict[str, str]:
        """The settings that send a program's HTTP here: what curl, requests, httpx and most others read."""
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        bundle = str(self._authority.bundle)
        return {
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
            "http_proxy": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def serve(self, client: socket.socket) -> None:
        """Answer one connection: a tunnel that ends here, or one request in plain HTTP."""
        head, rest = read_head(client)
        method, _, target = head.partition(b" ")
        address = target.split(b" ", 1)[0].decode("latin-1")
        tunnel = method == b"CONNECT"
        host = (urlsplit(f"//{address}" if tunnel else address).hostname or "").lower()
        if host not in HOSTS:
            self.refused.append(host)
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self.reached.add(host)
        with contextlib.closing(socket.create_connection(self.target, timeout=10)) as upstream:
            upstream.settimeout(IDLE_SECONDS)
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tunnel:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with self._tls.wrap_socket(client, server_side=True) as opened:
                    shuttle(opened, upstream)
            else:
                upstream.sendall(one_request(head, host) + rest)
                shuttle(client, upstream)


def read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """Read up to the empty line; return what stands before it and what has come after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(65536)
        if not part or len(data) > 65536:
            raise ConnectionError("no request head")
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def one_request(head: bytes, host: str) -> bytes:
    """Turn a proxy's request into the one the server would get, and make it the last of its connection."""
    first, *lines = head.split(b"\r\n")
    method, target, version = first.split(b" ")
    found = urlsplit(target.decode("latin-1"))
    path = (found.path or "/") + (f"?{found.query}" if found.query else "")
    dropped = (b"connection:", b"proxy-connection:", b"keep-alive:", b"host:")
    kept = [line for line in lines if not line.lower().startswith(dropped)]
    lines = [b" ".join([method, path.encode("latin-1"), version]), b"Host: " + host.encode(), *kept]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def acknowledge(sock: socket.socket) -> None:
    """Have what arrives acknowledged at once: through a proxy urllib3 sends head and body apart, and waits between."""
    if hasattr(socket, "TCP_QUICKACK"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def shuttle(client: socket.socket, upstream: socket.socket) -> None:
    """Carry bytes both ways until one side has had enough. One thread: two may not use one TLS socket at once."""
    ends = {client: upstream, upstream: client}
    while True:
        waiting = isinstance(client, ssl.SSLSocket) and client.pending()
        readable = [client] if waiting else select.select(list(ends), [], [], IDLE_SECONDS)[0]
        if not readable:
            return
        for source in readable:
            source.settimeout(0)
            acknowledge(source)
            try:
                part = source.recv(65536)
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            if not part:
                return
            ends[source].settimeout(IDLE_SECONDS)
            ends[source].sendall(part)
