"""A JSAPI order and its query in four ways, each in a process of its own. All get the same answers from one server.

* ``wxmp``: one :class:`wxmp.pay.PayClient`; typed records.
* ``wechatpayv3``: one ``AsyncWeChatPay`` kept open, as the FastAPI example of its documentation has it; texts.
* ``wechatpayv3-each``: ``async with AsyncWeChatPay(...)`` for each request, as its Tornado example has it.
* ``wechatpayv3-threads``: its blocking client, shared by threads.

All verify answers with the platform's public key. The server's certificate comes in through ``SSL_CERT_FILE`` and
``REQUESTS_CA_BUNDLE``, so that every client makes its TLS context its own way.

    python -m benchmarks._pay_ways wxmp 50 https://127.0.0.1:8000 FOLDER
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks._pay_server import (
    API_V3_KEY,
    APPID,
    MCHID,
    NOTIFY_URL,
    OPENID,
    OUT_TRADE_NO,
    PUBLIC_KEY_ID,
    SERIAL,
)
from benchmarks._report import NOT_INSTALLED, NotInstalledError
from benchmarks._ways import TIMEOUT, drive, drive_threads
from benchmarks._worker import ROOT, Worker, clean_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

#: Requests that one turn makes: the order and its query.
REQUESTS: Final = 2

DESCRIPTION: Final = "一杯咖啡"


def keys(folder: Path) -> tuple[str, str]:
    """Return the merchant's private key and the platform's public key."""
    return (folder / "merchant.pem").read_text(), (folder / "platform.pub").read_text()


@asynccontextmanager
async def with_wxmp(url: str, folder: Path) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give our order and query."""
    from wxmp.pay import PayClient
    from wxmp.retry import RetryPolicy

    private, public = keys(folder)
    async with PayClient(
        mchid=MCHID,
        private_key=private,
        serial=SERIAL,
        api_v3_key=API_V3_KEY,
        appid=APPID,
        public_key=public,
        public_key_id=PUBLIC_KEY_ID,
        notify_url=NOTIFY_URL,
        base_url=url,
        timeout=TIMEOUT,
        retry=RetryPolicy(attempts=1),
    ) as client:
        jsapi, get = client.order.jsapi, client.order.get

        async def turn() -> None:
            placed = await jsapi(OUT_TRADE_NO, description=DESCRIPTION, total_fen=100, openid=OPENID)
            found = await get(out_trade_no=OUT_TRADE_NO)
            if not placed.prepay_id or found.trade_state != "NOTPAY":
                raise RuntimeError("not the answers of the server: this would measure something else")

        yield turn


def import_wechatpayv3() -> Any:
    """Import the peer, or say how to install it."""
    if find_spec("wechatpayv3") is None or find_spec("aiofiles") is None:
        raise NotInstalledError("wechatpayv3 is missing: pip install --group bench")
    import wechatpayv3  # type: ignore[import-untyped, import-not-found, unused-ignore]

    return wechatpayv3


def settings(folder: Path, kinds: Any) -> dict[str, Any]:
    """Return what both of the peer's clients take; each has an enumeration of its own for the kinds of orders."""
    private, public = keys(folder)
    return {
        "wechatpay_type": kinds.JSAPI,
        "mchid": MCHID,
        "private_key": private,
        "cert_serial_no": SERIAL,
        "apiv3_key": API_V3_KEY,
        "appid": APPID,
        "notify_url": NOTIFY_URL,
        "public_key": public,
        "public_key_id": PUBLIC_KEY_ID,
        "timeout": (TIMEOUT, TIMEOUT),
    }


def check(ordered: tuple[int, str], queried: tuple[int, str]) -> None:
    """Read the peer's answers, as every user has to, and see that they are the server's."""
    if ordered[0] != 200 or queried[0] != 200:
        raise RuntimeError("the server refused: this would measure something else")
    if not json.loads(ordered[1])["prepay_id"] or json.loads(queried[1])["trade_state"] != "NOTPAY":
        raise RuntimeError("not the answers of the server: this would measure something else")


ORDER: Final[dict[str, Any]] = {
    "description": DESCRIPTION,
    "out_trade_no": OUT_TRADE_NO,
    "amount": {"total": 100, "currency": "CNY"},
    "payer": {"openid": OPENID},
}


@asynccontextmanager
async def with_wechatpayv3(url: str, folder: Path) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give the calls of one client that stays open."""
    import_wechatpayv3()
    from wechatpayv3.async_ import AsyncWeChatPay, WeChatPayType  # type: ignore[import-untyped, import-not-found, unused-ignore]

    client = AsyncWeChatPay(**settings(folder, WeChatPayType))
    client._core._gate_way = url
    async with client:

        async def turn() -> None:
            check(await client.pay(**ORDER), await client.query(out_trade_no=OUT_TRADE_NO))

        yield turn


@asynccontextmanager
async def with_wechatpayv3_each(url: str, folder: Path) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give calls that have a client each."""
    import_wechatpayv3()
    from wechatpayv3.async_ import AsyncWeChatPay, WeChatPayType  # type: ignore[import-untyped, import-not-found, unused-ignore]

    given = settings(folder, WeChatPayType)

    async def turn() -> None:
        answers = []
        for name, arguments in (("pay", ORDER), ("query", {"out_trade_no": OUT_TRADE_NO})):
            client = AsyncWeChatPay(**given)
            client._core._gate_way = url
            async with client:
                answers.append(await getattr(client, name)(**arguments))
        check(answers[0], answers[1])

    yield turn


def with_wechatpayv3_threads(url: str, folder: Path) -> Callable[[], object]:
    """Return the calls of the blocking client."""
    peer = import_wechatpayv3()
    client = peer.WeChatPay(**settings(folder, peer.WeChatPayType))
    client._core._gate_way = url
    return lambda: check(client.pay(**ORDER), client.query(out_trade_no=OUT_TRADE_NO))


ASYNCHRONOUS: Final = {
    "wxmp": with_wxmp,
    "wechatpayv3": with_wechatpayv3,
    "wechatpayv3-each": with_wechatpayv3_each,
}
#: Ways that keep their connections, and ways that make them anew for each call.
KEPT: Final = ("wxmp", "wechatpayv3")
SLOW: Final = ("wechatpayv3-each", "wechatpayv3-threads")


@contextmanager
def worker(way: str, concurrency: int, url: str, folder: Path) -> Iterator[Worker]:
    """Start a process for one way and end it."""
    authorities = str(folder / "ca.pem")
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks._pay_ways", way, str(concurrency), url, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**clean_environment(), "SSL_CERT_FILE": authorities, "REQUESTS_CA_BUNDLE": authorities},
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            if process.wait(10) == NOT_INSTALLED:
                raise NotInstalledError("wechatpayv3 is missing: pip install --group bench")
            raise RuntimeError(f"the worker for {way} did not start")
        try:
            yield Worker(process)
        finally:
            process.stdin.close()


async def obey(way: str, concurrency: int, url: str, folder: Path) -> None:
    """Make turns as told, in one event loop."""
    loop = asyncio.get_running_loop()
    async with ASYNCHRONOUS[way](url, folder) as turn:
        await turn()
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if way in KEPT:
                # While the others were measured the idle connections were given up.
                await drive(turn, 2 * concurrency, concurrency)
            print(json.dumps(await drive(turn, int(line), concurrency)), flush=True)


def obey_with_threads(concurrency: int, url: str, folder: Path) -> None:
    """Make turns as told, in threads."""
    turn = with_wechatpayv3_threads(url, folder)
    turn()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(drive_threads(turn, int(line), concurrency)), flush=True)


if __name__ == "__main__":
    _, chosen, number, address, place = sys.argv
    try:
        if chosen in ASYNCHRONOUS:
            asyncio.run(obey(chosen, int(number), address, Path(place)))
        else:
            obey_with_threads(int(number), address, Path(place))
    except NotInstalledError:
        sys.exit(NOT_INSTALLED)
