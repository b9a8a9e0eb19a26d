"""``client.broadcast``, against the simulated platform and with a journal in a file."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import wxmp.broadcast
from wxmp import Client
from wxmp.api.template import TemplateMiniProgram, TemplateValue
from wxmp.broadcast import Outcome, Pace, Recipient, Result, SQLiteJournal, TemplateMessage
from wxmp.broadcast.events import settle_event
from wxmp.broadcast.records import RunKey
from wxmp.broadcast.sources import from_csv
from wxmp.errors import ArgumentError, ConfigError, NotFoundError, RateLimitError
from wxmp.simulator import Simulator
from wxmp.webhook.events import TemplateSendJobFinishEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PATH = "/cgi-bin/message/template/send"
MESSAGE = TemplateMessage({"thing1": "订单已发货"})


async def collect(results: AsyncIterator[Result]) -> list[Result]:
    return [result async for result in results]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=60) as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Client]:
    account = simulator.account
    async with Client(account.appid, account.secret, base_url=simulator.url, timeout=2.0) as made:
        yield made


@pytest.fixture
def template_id(simulator: Simulator) -> str:
    return simulator.world.add_template("发货", "{{thing1.DATA}}")


@pytest.fixture
def openids(simulator: Simulator) -> list[str]:
    return list(simulator.account.users)


@pytest.fixture
def options(template_id: str, tmp_path: Path) -> dict[str, Any]:
    return {"name": "autumn", "template_id": template_id, "journal": tmp_path / "sent.db"}


async def test_followers(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str]):
    """All followers, as the client lists them, get one message each; a second run sends none."""
    results = [r async for r in client.broadcast.template(client.user.iter_followers(), MESSAGE, **options)]
    assert sorted(result.openid for result in results) == sorted(openids)
    sent = simulator.world.sent()
    assert {(one.openid, one.msgid, one.client_msg_id) for one in sent} == {
        (result.openid, result.msg_id, result.client_msg_id) for result in results
    }
    again = await client.broadcast.template(client.user.iter_followers(), MESSAGE, **options).run()
    assert (again.earlier, again.done, len(simulator.world.sent())) == (60, 0, 60)


async def test_build(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str], tmp_path: Path):
    """Each row of a table makes its own message, with page and mini program; ``None`` leaves one out."""
    rows = "".join(f"{openid},{number}\n" for number, openid in enumerate(openids))
    (tmp_path / "rows.csv").write_text("openid,order\n" + rows, "utf-8")

    async def build(recipient: Recipient) -> TemplateMessage | None:
        await asyncio.sleep(0)
        order = recipient.fields["order"]
        if order == "7":
            return None
        return TemplateMessage(
            {"thing1": TemplateValue(f"订单 {order}")},
            url=f"https://shop.example/{order}",
            miniprogram=TemplateMiniProgram("wx00000000000000aa", f"pages/{order}"),
        )

    progress = await client.broadcast.template(from_csv(tmp_path / "rows.csv"), build, **options).run()
    assert progress.outcomes == {Outcome.ACCEPTED: 59, Outcome.SKIPPED: 1}
    payload = simulator.world.sent(openids[9])[0].payload
    assert payload["url"] == "https://shop.example/9"
    assert payload["miniprogram"] == {"appid": "wx00000000000000aa", "pagepath": "pages/9"}
    assert payload["data"] == {"thing1": {"value": "订单 9"}}


async def test_events_settle(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str]):
    """The event of a message says how it ended, and the journal takes it in; one of another send is not its own."""
    async with SQLiteJournal(options["journal"]) as journal:
        results = [r async for r in client.broadcast.template(openids[:4], MESSAGE, **{**options, "journal": journal})]
        statuses = ["success", "failed:user block", "failed: system failed"]
        for result, status in zip(results, statuses, strict=False):
            event = TemplateSendJobFinishEvent(
                from_user_name=result.openid, msg_id=result.msg_id, status=status, create_time=1_900_000_000
            )
            assert await settle_event(journal, event, client.appid)
        foreign = TemplateSendJobFinishEvent(from_user_name="oX", msg_id=5, status="success", create_time=1_900_000_000)
        assert not await settle_event(journal, foreign, client.appid)
        found = {result.openid: result.outcome async for result in journal.results(RunKey(client.appid, "autumn"))}
    expected = [Outcome.DELIVERED, Outcome.BLOCKED, Outcome.FAILED, Outcome.ACCEPTED]
    assert [found[result.openid] for result in results] == expected


async def test_lost_answers(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str]):
    """Connections that break after the platform acted, and a token that dies: one message for each."""
    simulator.fault("reset_after", PATH, times=15)
    run = client.broadcast.template(openids, MESSAGE, **options, pace=Pace(concurrency=5))
    count = 0
    async for result in run:
        assert result.outcome is Outcome.ACCEPTED
        count += 1
        if count == 20:
            simulator.fault("token_killed", PATH, times=1)
    assert count == len(simulator.world.sent()) == 60


async def test_limit_of_the_day(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str]):
    """45009 ends the run; the next one sends the rest."""
    async with client.broadcast.template(openids, MESSAGE, **options, pace=Pace(concurrency=3)) as run:
        results = aiter(run)
        while (await anext(results)).openid != openids[10]:
            pass
        simulator.fault("errcode", PATH, times=100, errcode=45009)
        with pytest.raises(RateLimitError):
            await collect(results)
    assert 10 < len(simulator.world.sent()) < 30
    simulator.world.faults.clear()
    await client.broadcast.template(openids, MESSAGE, **options).run()
    assert len(simulator.world.sent()) == len({sent.openid for sent in simulator.world.sent()}) == 60


async def test_who_cannot_be_reached(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str]):
    """Somebody who left and an openid of another account are refused; the others get their message."""
    simulator.world.phone(openids[3]).unfollow()
    results = {r.openid: r async for r in client.broadcast.template([*openids, "oNobody"], MESSAGE, **options)}
    refused = {openid: r.errcode for openid, r in results.items() if r.outcome is Outcome.REFUSED}
    assert refused == {openids[3]: 43004, "oNobody": 40003}
    assert len(simulator.world.sent()) == 59


async def test_wrong_template(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str]):
    """A template that the account does not have ends the run with the first answer."""
    with pytest.raises(NotFoundError):
        await client.broadcast.template(openids, MESSAGE, **{**options, "template_id": "none"}).run()
    assert simulator.world.sent() == []


async def test_dry_run(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str]):
    """A dry run sends nothing, and makes no journal."""
    progress = await client.broadcast.template(openids, MESSAGE, **options, dry_run=True).run()
    assert progress.outcomes == {Outcome.PLANNED: 60}
    assert simulator.world.sent() == []
    assert not options["journal"].exists()
    await client.broadcast.template(openids[:10], MESSAGE, **options).run()
    progress = await client.broadcast.template(openids, MESSAGE, **options, dry_run=True).run()
    assert (progress.earlier, progress.outcomes) == (10, {Outcome.PLANNED: 50})


async def test_the_journal_is_closed(client: Client, options: dict[str, Any], openids: list[str]):
    """A journal given as a path is closed with the run; one that was passed in stays open."""
    async with SQLiteJournal(options["journal"]) as journal:
        for name in ("a", "b"):
            await client.broadcast.template(openids[:2], MESSAGE, **{**options, "name": name, "journal": journal}).run()
            assert await journal.counts(RunKey(client.appid, name)) == {Outcome.ACCEPTED: 2}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"template_id": " "}, "template_id"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"build": {"thing1": "x"}}, "build"),
        ({"journal": "/nowhere/at/all.db"}, "journal"),
    ],
)
async def test_arguments(client: Client, options: dict[str, Any], change: dict[str, Any], field: str):
    """What cannot work is refused before anything happens, with the name of the argument."""
    arguments = {"build": MESSAGE, **options, **change}
    with pytest.raises(ConfigError) as caught:
        client.broadcast.template(["o1"], arguments.pop("build"), **arguments)
    assert caught.value.field == field


async def test_build_makes_nonsense(client: Client, simulator: Simulator, options: dict[str, Any], openids: list[str]):
    """A function that returns no message ends the run with an error that says so."""

    def build(_: Recipient) -> Any:
        return {"thing1": "x"}

    with pytest.raises(ConfigError, match="TemplateMessage or None, not dict"):
        await client.broadcast.template(openids, build, **options).run()
    with pytest.raises(ArgumentError) as caught:
        await client.broadcast.template(openids, TemplateMessage({"thing1": 5}), **options).run()  # type: ignore[dict-item]
    assert caught.value.errcode == 47003
    assert simulator.world.sent() == []


def test_the_redis_journal_is_there_when_named():
    """``RedisJournal`` stands beside the other journal and is loaded when somebody names it."""
    source = (
        "import sys, wxmp.broadcast as b; assert 'wxmp.broadcast.redis' not in sys.modules;"
        " assert 'RedisJournal' in dir(b); from wxmp.broadcast import RedisJournal;"
        " from wxmp.broadcast.redis import RedisJournal as same; assert RedisJournal is same"
    )
    subprocess.run([sys.executable, "-c", source], check=True, timeout=60)
    with pytest.raises(AttributeError, match="MongoJournal"):
        wxmp.broadcast.MongoJournal  # noqa: B018
