"""One process of a fleet: prints "ready", waits for a line, makes its calls, prints what came of them as JSON.

python -m benchmarks._fleet_member wxmp '{"appid": ..., "secret": ..., "url": ..., "redis": ..., ...}'
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from benchmarks._report import NOT_INSTALLED, NotInstalledError
from benchmarks._ways import import_wechatpy

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds for one HTTP request of wechatpy; it has no limit of its own.
TIMEOUT = 30


def outcome(results: list[str]) -> str:
    """Return the errors, an empty text for a call that went well."""
    return json.dumps({"calls": len(results), "errors": [error for error in results if error]})


def wait_for_start() -> None:
    """Tell that everything is loaded, and wait until all are."""
    print("ready", flush=True)
    sys.stdin.readline()


async def be_ours(settings: dict[str, Any]) -> str:
    """Call through our client and store."""
    from wxmp import Client, RedisTokenStore, WxmpError

    store = RedisTokenStore(settings["redis"])
    async with Client(
        settings["appid"],
        settings["secret"],
        base_url=settings["url"],
        token_store=store,
        token_channel=settings["channel"],
    ) as client:
        get = client.user.get

        async def call() -> str:
            try:
                await get(settings["openid"])
            except WxmpError as error:
                return type(error).__name__
            return ""

        wait_for_start()
        results = await asyncio.gather(*(call() for _ in range(settings["calls"])))
    await store.aclose()
    return outcome(results)


def be_wechatpy(settings: dict[str, Any]) -> str:
    """Call through wechatpy and its own Redis session storage."""
    wechatpy = import_wechatpy()
    import redis
    from wechatpy.session.redisstorage import RedisStorage  # type: ignore[import-untyped, unused-ignore]

    class LocalClient(wechatpy.WeChatClient):  # type: ignore[name-defined, misc, unused-ignore]
        API_BASE_URL = f"{settings['url']}/cgi-bin/"

        def fetch_access_token(self) -> Any:  # the original names the platform's address
            return self._fetch_access_token(
                url=f"{settings['url']}/cgi-bin/token",
                params={"grant_type": "client_credential", "appid": self.appid, "secret": self.secret},
            )

    connection = redis.Redis.from_url(settings["redis"])
    client = LocalClient(settings["appid"], settings["secret"], session=RedisStorage(connection), timeout=TIMEOUT)

    def call() -> str:
        try:
            client.user.get(settings["openid"])
        except Exception as error:
            return type(error).__name__
        return ""

    wait_for_start()
    calls: list[Callable[[], str]] = [call] * settings["calls"]
    if not settings["threads"]:
        return outcome([each() for each in calls])
    with ThreadPoolExecutor(len(calls)) as threads:
        return outcome([job.result() for job in [threads.submit(each) for each in calls]])


if __name__ == "__main__":
    _, way, text = sys.argv
    try:
        print(asyncio.run(be_ours(json.loads(text))) if way == "wxmp" else be_wechatpy(json.loads(text)), flush=True)
    except NotInstalledError:
        sys.exit(NOT_INSTALLED)
