"""A worker process of ``wxmp demo``: an ordinary program with a client, told over its standard input what to do.

Each line in is a command, each line out its report, both JSON. The end of the input ends the process, so that no worker
outlives the program that started it, however that one dies.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import attrs

from wxmp import Client, FileTokenStore, RedisTokenStore, TokenPolicy, WxmpError
from wxmp.api.menu import Menu, MenuButton
from wxmp.cli._demo_pipe import read_commands, say

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from wxmp import TokenStore

__all__: list[str] = []

PING: Final = "/cgi-bin/get_api_domain_ip"
DEAD_TOKEN: Final = frozenset({40001, 40014, 42001})
#: Messages a worker has on the way at the same time.
SENDERS: Final = 2
#: How often the worker without a shared token fetches another one for the same call.
LONELY_ATTEMPTS: Final = 3
#: Seconds between two calls while the worker waits for the planned rotation, and the longest it waits.
PAUSE: Final = 0.05
ROTATION_PATIENCE: Final = 8.0
CALLS_AFTER_ROTATION: Final = 5
#: The default times, scaled down with the life of the token; what they mean stands in ``TokenPolicy``.
SHORT_LIVES: Final = TokenPolicy(
    overlap=10.0,
    lease=5.0,
    request_timeout=2.5,
    connect_timeout=2.0,
    wait_timeout=8.0,
    check_interval=0.3,
    soft_jitter=0.2,
)
MENU: Final = Menu(
    (
        MenuButton.click("今日歌曲", "TODAY"),
        MenuButton.sub_menu(
            "更多", [MenuButton.view("搜索", "https://www.example.com/"), MenuButton.click("赞一下我们", "LIKE")]
        ),
    )
)


@attrs.define
class Report:
    """What came of a command."""

    calls: int = 0
    #: Seconds of the longest call.
    slowest: float = 0.0
    #: The errors that callers saw.
    errors: list[str] = attrs.field(factory=list)
    #: What the command found out.
    found: object = None

    async def count(self, call: Awaitable[object]) -> None:
        """Wait for one call and note how it went."""
        started = time.monotonic()
        try:
            await call
        except WxmpError as error:
            self.errors.append(f"{type(error).__name__}: {error}")
        self.calls += 1
        self.slowest = max(self.slowest, time.monotonic() - started)


class Worker:
    """Obeys, one command at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def obey(self, command: list[object]) -> Report:
        """Carry out one command."""
        report = Report()
        client = self._client
        match command:
            case ["calls", int(number)]:
                await asyncio.gather(*(report.count(ping(client)) for _ in range(number)))
            case ["create menu"]:
                await client.menu.create(MENU)
            case ["read menu"]:
                menus = await client.menu.get()
                report.found = menus is not None and menus.menu.button == MENU.button
            case ["followers"]:
                report.found = [openid async for openid in client.user.iter_followers()]
            case ["details", list(openids)]:
                users = await client.user.batch_get(texts(openids))
                report.found = sum(user.subscribe for user in users)
            case ["tag", str(name), list(openids)]:
                tag = await client.tag.create(name)
                change = await client.tag.add_members(tag.tag_id, openids=texts(openids))
                members = [openid async for openid in client.tag.iter_members(tag.tag_id)]
                report.found = [len(members), len(change.failed)]
            case ["group", str(name), list(openids)]:
                group = await client.group.create(name)
                await client.group.move_members(texts(openids), group_id=group.group_id)
                report.found = next(one.count for one in await client.group.list() if one.group_id == group.group_id)
            case ["template", str(number)]:
                report.found = await client.template.add(number)
            case ["send", str(template_id), list(openids)]:
                await self._send(report, template_id, texts(openids))
            case ["rotation", str(appid), str(secret)]:
                await self._rotation(report, appid, secret)
            case ["alone", str(appid), str(secret), int(number)]:
                report.calls, report.errors = await asyncio.to_thread(work_alone, appid, secret, number)
            case _:
                raise ValueError(f"unknown command {command[:1]!r}")
        return report

    async def _send(self, report: Report, template_id: str, openids: list[str]) -> None:
        waiting = iter(openids)

        async def sender() -> None:
            for openid in waiting:
                data = {
                    "first": "您的订单已更新",
                    "OrderSn": openid[-8:],
                    "OrderStatus": "已发货",
                    "remark": "感谢您的惠顾",
                }
                await report.count(self._client.template.send(openid, template_id=template_id, data=data))

        await asyncio.gather(*(sender() for _ in range(SENDERS)))

    async def _rotation(self, report: Report, appid: str, secret: str) -> None:
        """Make calls until this process has passed from one token to the next."""
        async with (
            make_store() as store,
            Client(
                appid, secret, base_url=os.environ["WXMP_ENDPOINT"], token_store=store, token_policy=SHORT_LIVES
            ) as client,
        ):
            await report.count(ping(client))
            # That one had to wait for the first token; from here on no call should wait.
            first, after, report.slowest = client.token_status(), 0, 0.0
            deadline = time.monotonic() + ROTATION_PATIENCE
            while after < CALLS_AFTER_ROTATION and time.monotonic() < deadline:
                await asyncio.sleep(PAUSE)
                await report.count(ping(client))
                after += client.token_status().generation != first.generation
            report.found = [first.fingerprint, client.token_status().fingerprint]


def make_store() -> TokenStore:
    """Make the store that the environment names, for a client that ``Client.from_env`` cannot make."""
    address = os.environ["WXMP_TOKEN_STORE"]
    if address.startswith("file:"):
        return FileTokenStore(address.removeprefix("file:"))
    return RedisTokenStore(address)


async def ping(client: Client) -> None:
    """Make a call that changes nothing."""
    await client.server.list_api_ips()


def texts(values: list[object]) -> list[str]:
    """Read a list of texts."""
    return [str(value) for value in values]


def work_alone(appid: str, secret: str, number: int) -> tuple[int, list[str]]:
    """Make calls as a program does that shares nothing and uses no SDK.

    It keeps its token in a variable and fetches another one, on the classic endpoint, when the platform refuses it.

    Returns:
        The calls that were made, and the errors of those that failed.
    """
    address = urlsplit(os.environ["WXMP_ENDPOINT"])
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    token, errors = "", []

    def get(path: str, **query: str) -> dict[str, object]:
        connection.request("GET", f"{path}?{urlencode(query)}")
        answer = json.loads(connection.getresponse().read())
        return answer if isinstance(answer, dict) else {}

    def call() -> object:
        """Make one call and return its last errcode."""
        nonlocal token
        errcode: object = None
        for _ in range(LONELY_ATTEMPTS):
            if not token:
                answer = get("/cgi-bin/token", grant_type="client_credential", appid=appid, secret=secret)
                token = str(answer.get("access_token", ""))
            errcode = get(PING, access_token=token).get("errcode", 0)
            if errcode not in DEAD_TOKEN:
                break
            token = ""
        return errcode

    try:
        for _ in range(number):
            errcode = call()
            if errcode != 0:
                errors.append(f"errcode {errcode}")
    finally:
        connection.close()
    return number, errors


async def serve() -> None:
    """Obey until the input ends; a command that is under way then is given up."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[bytes]()
    threading.Thread(target=read_commands, args=(loop, lines), daemon=True).start()
    commands: asyncio.Queue[list[object]] = asyncio.Queue()

    async def obey_all(worker: Worker) -> None:
        while True:
            try:
                answer: dict[str, object] = attrs.asdict(await worker.obey(await commands.get()))
            except WxmpError as error:
                answer = {"failure": f"{type(error).__name__}: {error}"}
            say(answer)

    async with Client.from_env() as client, asyncio.TaskGroup() as group:
        task = group.create_task(obey_all(Worker(client)))
        say({"ready": os.getpid()})
        while line := await lines.get():
            commands.put_nowait(json.loads(line))
        task.cancel()


if __name__ == "__main__":
    # Ctrl-C reaches every process of the terminal; it is the demo that ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve())
