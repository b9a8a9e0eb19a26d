"""The examples of the documentation under real servers, as the address that the platform pushes to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.redis_server import RedisServer
from wxmp import Client
from wxmp.api.menu import Menu, MenuButton
from wxmp.simulator import Simulator
from wxmp.simulator.state import Attempt, ChatEntry

from .service import CALLBACK_TOKEN, ENCODING_AES_KEY, PATIENCE, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds the platform's user page takes: longer than one delivery waits.
SLOW = 5.2
MENU = Menu(button=[MenuButton.click("帮助", key="help"), MenuButton.click("会员", key="member_since")])


@attrs.frozen
class Day:
    """What users saw, what was delivered, and how the service ended."""

    chats: dict[str, list[ChatEntry]]
    deliveries: dict[str, list[Attempt]]
    status: int
    output: str = attrs.field(repr=False)
    warnings: list[str]


@pytest.fixture(scope="module", params=["fastapi", "aiohttp"])
def day(request: pytest.FixtureRequest) -> Iterator[Day]:
    """Users write and tap at the same time; the service has two worker processes if its server makes them."""
    with Simulator(seed=1, followers=4) as simulator, RedisServer() as redis:
        if request.param == "fastapi":
            service = Service.fastapi(simulator, redis.url, workers=2)
        else:
            service = Service.aiohttp(simulator, redis.url)
        try:
            service.wait()
            yield spend(simulator, service)
        finally:
            service.close()


def spend(simulator: Simulator, service: Service) -> Day:
    asyncio.run(create_menu(simulator))
    simulator.set_callback(
        f"http://127.0.0.1:{service.port}/wx", token=CALLBACK_TOKEN, encoding_aes_key=ENCODING_AES_KEY
    )
    simulator.fault("latency", "/cgi-bin/user/info", seconds=SLOW)
    simulator.fault("push_wrong_signature", openid=(users := list(simulator.account.users))[3])
    names = dict(zip(("text", "help", "member", "forged"), users, strict=True))
    simulator.phone(names["text"]).say("你好 <b>&amp;]]></b>")
    simulator.phone(names["help"]).tap("help")
    simulator.phone(names["member"]).tap("member_since")
    simulator.phone(names["forged"]).say("真的")
    assert simulator.wait_for(lambda world: world.settled, timeout=PATIENCE)
    status = service.stop()
    return Day(
        chats={name: simulator.chat(user) for name, user in names.items()},
        deliveries={name: simulator.deliveries(user) for name, user in names.items()},
        status=status,
        output=service.output,
        warnings=service.warnings,
    )


async def create_menu(simulator: Simulator) -> None:
    async with Client(simulator.account.appid, simulator.account.secret, base_url=simulator.url) as client:
        await client.menu.create(MENU)


def told(day: Day, name: str) -> list[tuple[str, str]]:
    """What a user was told: where it came from, and the text."""
    return [(entry.source, entry.content) for entry in day.chats[name] if entry.direction == "to_user"]


def test_text_comes_back(day: Day) -> None:
    """What a user writes in safe mode comes back to the letter, after one delivery."""
    assert told(day, "text") == [("reply", "你好 <b>&amp;]]></b>")]
    assert [attempt.status for attempt in day.deliveries["text"]] == [200]


def test_menu_button_is_answered(day: Day) -> None:
    """A tap on a button runs the handler of its key."""
    assert told(day, "help") == [("reply", "您可以直接给我们留言")]


def test_slow_handler_answers_the_next_delivery(day: Day) -> None:
    """The platform takes longer than a delivery waits: the second one carries the answer, and it is given once."""
    ((source, content),) = told(day, "member")
    assert source == "reply"
    assert content.endswith("关注了我们")
    assert [attempt.number for attempt in day.deliveries["member"]] == [1, 2]


def test_forged_copy_is_refused(day: Day) -> None:
    """A copy with a wrong signature is refused, the true push beside it is answered."""
    assert told(day, "forged") == [("reply", "真的")]
    assert {attempt.verdict for attempt in day.deliveries["forged"]} == {"refused", "shown"}


def test_sigterm_ends_it_cleanly(day: Day) -> None:
    """After SIGTERM the exit status is 0, and no warning of the interpreter was printed."""
    assert day.status == 0
    assert day.warnings == []


def test_secrets_stay_out_of_the_output(day: Day) -> None:
    """Neither the Token nor the EncodingAESKey is printed, with a refusal in the log."""
    assert "answered 403" in day.output
    assert [secret for secret in (CALLBACK_TOKEN, ENCODING_AES_KEY) if secret in day.output] == []
