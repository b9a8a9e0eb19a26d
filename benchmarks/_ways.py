"""``user.get`` in three ways: ours, plain httpx, wechatpy. All get the same answer from the same server.

Ours is the whole client with a store that holds a fresh token; it returns a typed record. httpx is used as its
documentation shows (one client, ``get(params=...)``, ``json()``). wechatpy is used by threads that share one client,
with a connection pool as large as the number of threads: its default of 10 would throw connections away.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from benchmarks._report import NotInstalledError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from wxmp import Client

APPID: Final = "wx0123456789abcdef"
SECRET: Final = "0123456789abcdef0123456789abcdef"
TOKEN: Final = "99_" + "k" * 150
OPENID: Final = "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"
#: Seconds; far more than any call takes, so that a busy machine ends no run.
TIMEOUT: Final = 60.0


@asynccontextmanager
async def warm_client(url: str) -> AsyncIterator[Client]:
    """Give a client that has its token, as every client has nearly all of the time."""
    from wxmp import Client, MemoryTokenStore
    from wxmp.tokens.store import TokenKey

    store = MemoryTokenStore()
    await store.seed(TokenKey(APPID, "stable"), value=TOKEN, generation=1, life=7200, left=7200)
    async with Client(APPID, SECRET, token_store=store, base_url=url, timeout=TIMEOUT) as client:
        await client.token()
        yield client


@asynccontextmanager
async def with_wxmp(url: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give our call."""
    async with warm_client(url) as client:
        get = client.user.get
        yield lambda: get(OPENID, lang="zh_CN")


@asynccontextmanager
async def with_httpx(url: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Give the plain call."""
    import httpx

    address = f"{url}/cgi-bin/user/info"
    async with httpx.AsyncClient(timeout=TIMEOUT) as client:

        async def call() -> object:
            params = {"access_token": TOKEN, "openid": OPENID, "lang": "zh_CN"}
            return (await client.get(address, params=params)).json()

        yield call


@contextmanager
def with_wechatpy(url: str, threads: int) -> Iterator[Callable[[], object]]:
    """Give wechatpy's call, which blocks."""
    wechatpy = import_wechatpy()
    from requests.adapters import HTTPAdapter

    class LocalClient(wechatpy.WeChatClient):  # type: ignore[name-defined, misc, unused-ignore]
        API_BASE_URL = f"{url}/cgi-bin/"

    client = LocalClient(APPID, SECRET, access_token=TOKEN, timeout=TIMEOUT)
    client._http.mount("http://", HTTPAdapter(pool_maxsize=max(threads, 10)))
    try:
        yield lambda: client.user.get(OPENID, lang="zh_CN")
    finally:
        client._http.close()


def import_wechatpy() -> Any:
    """Import the peer, or say how to install it."""
    try:
        import wechatpy  # type: ignore[import-untyped, unused-ignore]
        import wechatpy.client  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise NotInstalledError("wechatpy is missing: pip install --group bench") from None
    return wechatpy


ASYNCHRONOUS: Final = {"wxmp": with_wxmp, "httpx": with_httpx}
WAYS: Final = (*ASYNCHRONOUS, "wechatpy")


async def drive(call: Callable[[], Awaitable[object]], calls: int, concurrency: int) -> tuple[float, float]:
    """Make ``calls`` calls, ``concurrency`` at a time; return CPU and wall seconds of all."""
    left = itertools.repeat(None, calls)

    async def worker() -> None:
        for _ in left:
            await call()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return time.process_time() - cpu, time.perf_counter() - wall


def drive_threads(call: Callable[[], object], calls: int, concurrency: int) -> tuple[float, float]:
    """Do the same with threads. One thread works without another."""
    left = itertools.repeat(None, calls)
    failed: list[BaseException] = []

    def worker() -> None:
        try:
            for _ in left:
                call()
        except BaseException as error:
            failed.append(error)
            raise

    cpu, wall = time.process_time(), time.perf_counter()
    if concurrency == 1:
        worker()
    else:
        threads = [threading.Thread(target=worker, daemon=True) for _ in range(concurrency)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]
    return time.process_time() - cpu, time.perf_counter() - wall
