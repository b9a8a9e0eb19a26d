"""What it costs to sign a request and to verify its answer, against ``cryptography`` alone.

Ours is all that a call does for it: timestamp and nonce, the text, the signature, the ``Authorization`` header, the
request itself; then the headers of the answer, their freshness, the key by its serial, the check over the bytes. The
bare limit is one ``sign`` and one ``verify`` of texts that lie ready. wechatpayv3's two functions stand beside.

CPU time: nothing is waited for.
"""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from benchmarks._pay_server import (
    API_V3_KEY,
    APPID,
    MCHID,
    NOTIFY_URL,
    OPEN_ORDER,
    OPENID,
    OUT_TRADE_NO,
    PUBLIC_KEY_ID,
    SERIAL,
    Signer,
    make_folder,
)
from benchmarks._pay_ways import import_wechatpayv3, keys
from benchmarks._report import Row, compared, run
from wxmp._wire import dumps
from wxmp.pay import PayClient
from wxmp.pay._gateway import PayEndpoint, _Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ENDPOINT: Final = PayEndpoint("POST", "/v3/pay/transactions/jsapi", repeat="by_key")
BODY: Final = dumps(
    {
        "appid": APPID,
        "mchid": MCHID,
        "description": "一杯咖啡",
        "out_trade_no": OUT_TRADE_NO,
        "notify_url": NOTIFY_URL,
        "amount": {"total": 100, "currency": "CNY"},
        "payer": {"openid": OPENID},
    }
)


class Ways:
    """The same request and the same answer for everybody."""

    def __init__(self, folder: Path) -> None:
        private, public = keys(folder)
        self.private: Any = load_pem_private_key(private.encode(), None)
        self.public: Any = load_pem_public_key(public.encode())
        self.signer = Signer(folder)
        self.client = PayClient(
            mchid=MCHID,
            private_key=private,
            serial=SERIAL,
            api_v3_key=API_V3_KEY,
            appid=APPID,
            public_key=public,
            public_key_id=PUBLIC_KEY_ID,
            base_url="https://127.0.0.1:9",
        )
        self.call = _Call(ENDPOINT, ENDPOINT.path, BODY, PUBLIC_KEY_ID, 10.0)
        self.fresh()

    def fresh(self) -> None:
        """Sign the answer anew: it must not grow old while it is verified."""
        self.headers = {name.lower(): value for name, value in self.signer.headers(OPEN_ORDER)}
        self.text = OPEN_ORDER.decode()
        self.request_text = b"POST\n/v3/pay/transactions/jsapi\n1760000000\n%s\n%s\n" % (b"n" * 32, BODY)
        timestamp, nonce = self.headers["wechatpay-timestamp"], self.headers["wechatpay-nonce"]
        self.answer_text = f"{timestamp}\n{nonce}\n".encode() + OPEN_ORDER + b"\n"
        self.signature = base64.b64decode(self.headers["wechatpay-signature"])

    async def bare(self) -> None:
        """The limit."""
        self.private.sign(self.request_text, padding.PKCS1v15(), hashes.SHA256())
        self.public.verify(self.signature, self.answer_text, padding.PKCS1v15(), hashes.SHA256())

    async def ours(self) -> None:
        """Ours."""
        gateway = self.client.gateway
        request = await gateway.wire_request(self.call, None, 10.0)
        if request.credentials is None:
            raise RuntimeError("nothing was signed: this would measure something else")
        await gateway.keys.verify(self.headers, OPEN_ORDER, endpoint=ENDPOINT.name)

    async def peer(self) -> None:
        """wechatpayv3's two functions, as its client calls them."""
        self.build(ENDPOINT.path, "POST", MCHID, SERIAL, self.private, data=BODY.decode())
        found = self.headers
        if not self.check(
            found["wechatpay-timestamp"],
            found["wechatpay-nonce"],
            self.text,
            found["wechatpay-signature"],
            self.public,
        ):
            raise RuntimeError("the answer was refused: this would measure something else")

    def load_peer(self) -> None:
        """Import the peer."""
        import_wechatpayv3()
        from wechatpayv3.async_.utils import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            build_authorization,
            rsa_verify,
        )

        self.build, self.check = build_authorization, rsa_verify


async def timed(way: Callable[[], Awaitable[None]], times: int) -> float:
    """Return microseconds of CPU for each."""
    started = time.process_time()
    for _ in range(times):
        await way()
    return (time.process_time() - started) / times * 1e6


async def time_all(rounds: int, times: int) -> dict[str, list[float]]:
    """Time all ways in turns."""
    with TemporaryDirectory() as name:
        make_folder(Path(name))
        ways = Ways(Path(name))
        ways.load_peer()
        found: dict[str, list[float]] = {"bare": [], "ours": [], "peer": []}
        for number in range(rounds + 1):
            ways.fresh()
            for each, values in found.items():
                microseconds = await timed(getattr(ways, each), times)
                if number:  # the first round warms up
                    values.append(microseconds)
        await ways.client.aclose()
    return found


def measure(quick: bool) -> list[Row]:
    """Run all ways in turns."""
    found = asyncio.run(time_all(1, 20) if quick else time_all(31, 200))
    return [
        Row(
            claim="pay: sign a request and verify its answer",
            unit="us",
            peer_name="cryptography alone",
            ratio_at_most=1.2,
            **compared(found["ours"], found["bare"]),
        ),
        Row(
            claim="pay: sign a request and verify its answer",
            unit="us",
            peer_name="wechatpayv3",
            **compared(found["ours"], found["peer"]),
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(run("pay_signing", measure))
