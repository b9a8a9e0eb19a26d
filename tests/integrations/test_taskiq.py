"""Bulk sends as tasks of taskiq, in one process: what is handed over, what a worker makes of it, how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from taskiq import AsyncBroker, BrokerMessage, InMemoryBroker
from taskiq.receiver import Receiver

from wxmp import Client
from wxmp.broadcast import Outcome, Pace, Recipient, SQLiteJournal, TemplateMessage, engine
from wxmp.broadcast.records import RunKey
from wxmp.errors import ConfigError, JournalError
from wxmp.integrations import taskiq as integration
from wxmp.integrations.taskiq import BroadcastTask
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PATH = "/cgi-bin/message/template/send"
FOLLOWERS = 60


class Queue(AsyncBroker):
    """A broker whose messages wait until a test lets a worker take them."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        #: Seconds that it takes to hand something over.
        self.delay = 0.0

    async def kick(self, message: BrokerMessage) -> None:
        await asyncio.sleep(self.delay)
        self.messages.append(message.message)

    def listen(self) -> AsyncIterator[bytes]:  # type: ignore[override]
        raise NotImplementedError

    def shares(self) -> list[dict[str, Any]]:
        """What waits, in the order of the task's arguments."""
        names = ("appid", "name", "template_id", "message", "rows", "passed")
        return [dict(zip(names, json.loads(message)["args"], strict=False)) for message in self.messages]

    def take(self) -> list[asyncio.Task[None]]:
        """Let a worker begin with everything that waits."""
        taken, self.messages = self.messages, []
        receiver = Receiver(self, max_async_tasks=100)
        return [asyncio.create_task(receiver.callback(message, raise_err=True)) for message in taken]

    async def work(self) -> None:
        await asyncio.gather(*self.take())


@attrs.define
class Place:
    """An account, its journal, and processes that share a broker."""

    simulator: Simulator
    template_id: str
    path: Path
    tasks: list[BroadcastTask] = attrs.field(factory=list)

    def task(self, broker: AsyncBroker, messages: dict[str, Any] | None = None, **settings: Any) -> BroadcastTask:
        account = self.simulator.account
        made = BroadcastTask(
            broker,
            client=lambda: Client(account.appid, account.secret, base_url=self.simulator.url, timeout=5.0),
            journal=lambda: SQLiteJournal(self.path),
            messages=messages or {"autumn": build},
            **settings,
        )
        self.tasks.append(made)
        return made

    @property
    def openids(self) -> list[str]:
        return list(self.simulator.account.users)

    @property
    def recipients(self) -> list[Recipient]:
        return [Recipient(openid, {"order": str(number)}) for number, openid in enumerate(self.openids)]

    def options(self, **changes: Any) -> Any:
        return {"name": "autumn", "template_id": self.template_id, "message": "autumn", **changes}

    def ledger(self) -> list[str]:
        """Who got a message, once for each."""
        return sorted(sent.openid for sent in self.simulator.world.sent())

    async def counts(self) -> dict[Outcome | None, int]:
        async with SQLiteJournal(self.path) as journal:
            return dict(await journal.counts(RunKey(self.simulator.account.appid, "autumn")))


def build(recipient: Recipient) -> TemplateMessage:
    return TemplateMessage({"thing1": f"订单 {recipient.fields.get('order', '')}"})


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=FOLLOWERS) as running:
        yield running


@pytest.fixture
async def place(simulator: Simulator, tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(simulator, simulator.world.add_template("发货", "{{thing1.DATA}}"), tmp_path / "sent.db")
    yield made
    for task in made.tasks:
        await task.aclose()


# ---- everybody gets a message


async def test_everybody_gets_a_message(place: Place) -> None:
    """Each recipient gets the message that its fields make; called again, nobody is left to be handed over."""
    broker = InMemoryBroker()
    await broker.startup()
    task = place.task(broker)
    assert await task.send(place.recipients, share=25, **place.options()) == FOLLOWERS
    await broker.wait_all()
    assert place.ledger() == sorted(place.openids)
    payload = place.simulator.world.sent(place.openids[7])[0].payload
    assert payload["data"] == {"thing1": {"value": "订单 7"}}
    assert await task.send(place.recipients, share=25, **place.options()) == 0
    await broker.shutdown()
    assert len(place.simulator.world.sent()) == FOLLOWERS


async def test_shares(place: Place) -> None:
    """Shares have the wanted size, name account, run, template and message, and hold the recipients in their order."""
    broker = Queue()
    assert await place.task(broker).send(place.recipients, share=25, **place.options()) == FOLLOWERS
    shares = broker.shares()
    assert [len(share["rows"]) for share in shares] == [25, 25, 10]
    assert [openid for share in shares for openid, _ in share["rows"]] == place.openids
    assert shares[0]["rows"][3] == [place.openids[3], {"order": "3"}]
    rest = {key: value for key, value in shares[0].items() if key not in ("rows", "passed")}
    assert rest == {"appid": place.simulator.account.appid, **place.options()}


async def test_openids_alone(place: Place) -> None:
    """Openids from an asynchronous iterator do; what belongs to them is looked up by the worker."""

    async def looked_up(recipient: Recipient) -> TemplateMessage | None:
        await asyncio.sleep(0)
        number = place.openids.index(recipient.openid)
        return TemplateMessage({"thing1": f"订单 {number}"}) if number else None

    async def openids() -> AsyncIterator[str]:
        for openid in place.openids:
            yield openid

    broker = Queue()
    assert await place.task(broker, {"autumn": looked_up}).send(openids(), **place.options()) == FOLLOWERS
    assert {len(fields) for share in broker.shares() for _, fields in share["rows"]} == {0}
    await broker.work()
    assert await place.counts() == {Outcome.ACCEPTED: FOLLOWERS - 1, Outcome.SKIPPED: 1}


async def test_a_repeated_openid_gets_one_message(place: Place) -> None:
    """Repeated in one share an openid is handed over once; in two shares the journal lets one message out."""
    broker = Queue()
    first, second, third = place.openids[:3]
    assert await place.task(broker).send([first, first, second, third, first], share=2, **place.options()) == 4
    assert [len(share["rows"]) for share in broker.shares()] == [2, 2]
    await broker.work()
    assert place.ledger() == sorted(place.openids[:3])


async def test_a_share_that_comes_twice(place: Place) -> None:
    """A share that the broker delivers a second time, meanwhile or later, sends nobody a second message."""
    broker = Queue()
    await place.task(broker).send(place.recipients, share=20, **place.options())
    copies = list(broker.messages)
    broker.messages += copies
    await broker.work()
    broker.messages = copies
    await broker.work()
    assert place.ledger() == sorted(place.openids)


async def test_handed_over_again(place: Place) -> None:
    """Whom the journal knows as settled is left out, whoever else is handed over once more."""
    broker = Queue()
    task = place.task(broker)
    await task.send(place.recipients, share=25, **place.options())
    del broker.messages[0]  # the broker has lost a share
    await broker.work()
    assert await task.send(place.recipients, share=25, **place.options()) == 25
    assert await task.send(place.recipients, share=25, **place.options()) == 25
    await broker.work()
    assert await task.send(place.recipients, share=25, **place.options()) == 0
    assert place.ledger() == sorted(place.openids)


async def test_what_others_left_in_flight(place: Place) -> None:
    """A share minds its own recipients: those of a dead worker's share stay in flight until they are handed over."""
    broker, run = Queue(), RunKey(place.simulator.account.appid, "autumn")
    async with SQLiteJournal(place.path) as journal:
        await journal.begin(run, fingerprint=f"template {place.template_id}")
        await journal.exchange(run, owner="dead", lease=0.0, claims=place.openids[50:])
    task = place.task(broker)
    await task.send(place.recipients[:50], **place.options())
    await broker.work()
    assert await place.counts() == {Outcome.ACCEPTED: 50, None: 10}
    assert await task.send(place.recipients, **place.options()) == 10
    await broker.work()
    assert place.ledger() == sorted(place.openids)


async def test_results(place: Place) -> None:
    """The result of a share counts the outcomes, and names nobody."""
    broker = InMemoryBroker(await_inplace=True)
    task = place.task(broker)
    place.simulator.fault("errcode", PATH, times=2, errcode=43004)
    await task.send(place.recipients, **place.options())
    (result,) = broker.result_backend.results.values()
    assert (result.is_err, result.return_value) == (False, {"accepted": FOLLOWERS - 2, "refused": 2})


async def test_a_limit_of_the_day(place: Place) -> None:
    """At the limit of the day the shares end as errors; what they left is handed over the next time."""
    broker = InMemoryBroker(await_inplace=True)
    task = place.task(broker, pace=Pace(per_day=40))
    await task.send(place.recipients, share=15, **place.options())
    errors = [result.error for result in broker.result_backend.results.values() if result.is_err]
    assert errors
    assert all("per_day" in str(error) for error in errors)
    assert len(place.ledger()) == 40
    assert await place.counts() == {Outcome.ACCEPTED: 40}
    await task.aclose()
    tomorrow = InMemoryBroker(await_inplace=True)
    assert await place.task(tomorrow, pace=Pace(per_day=60)).send(place.recipients, **place.options()) == 20
    assert place.ledger() == sorted(place.openids)


async def test_shares_at_once(place: Place) -> None:
    """No more shares are sent at once than make 100 messages in flight: the client has no more connections."""
    sending = most = 0
    full = asyncio.Event()

    async def counted(recipient: Recipient) -> TemplateMessage:
        nonlocal sending, most
        sending += 1
        most = max(most, sending)
        if most == 10:
            full.set()
        async with asyncio.timeout(30):
            await full.wait()
        await asyncio.sleep(0.01)
        sending -= 1
        return TemplateMessage({"thing1": "订单"})

    broker = Queue()
    task = place.task(broker, {"autumn": counted}, pace=Pace(concurrency=50))
    await task.send(place.recipients, share=5, **place.options())
    assert len(broker.messages) == 12
    await broker.work()
    assert most == 10  # two shares of five
    assert place.ledger() == sorted(place.openids)


# ---- a worker that ends, and one that cannot


async def test_a_worker_that_ends_passes_the_rest_on(place: Place) -> None:
    """At its end a worker finishes what is in flight and puts the rest of its shares back, those that wait as well."""
    first, second = Queue(), Queue()
    ending = place.task(first, pace=Pace(concurrency=100, per_second=10.0))
    await ending.send(place.recipients, share=30, **place.options())
    first.delay = 0.1
    working = first.take()
    while len(place.simulator.world.sent()) < 5:
        await asyncio.sleep(0.01)
    await asyncio.wait_for(ending.aclose(), 20.0)
    assert len(first.messages) == 2  # already: the process may be gone now
    await asyncio.wait_for(asyncio.gather(*working), 20.0)
    sent = place.ledger()
    assert await place.counts() == {Outcome.ACCEPTED: len(sent)}  # and nothing is in flight
    rest = [openid for share in first.shares() for openid, _ in share["rows"]]
    assert sorted(rest + sent) == sorted(place.openids)
    second.messages = first.messages
    place.task(second)
    await second.work()
    assert place.ledger() == sorted(place.openids)


@pytest.mark.parametrize("wrong", ["message", "account"])
async def test_a_worker_that_cannot_send_it(
    place: Place, simulator: Simulator, wrong: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker with older code, or of another account, passes a share on untouched; one that can sends it."""
    monkeypatch.setattr(integration, "PASS_WAIT", (0.01, 0.02))
    broker, old, able = Queue(), Queue(), Queue()
    await place.task(broker).send(place.recipients, **place.options())
    if wrong == "message":
        place.task(old, {"spring": build})
    else:
        other = BroadcastTask(
            old,
            client=lambda: Client("wx00000000000000aa", "fake-appsecret", base_url=simulator.url),
            journal=lambda: SQLiteJournal(place.path),
            messages={"autumn": build},
        )
        place.tasks.append(other)
    before = broker.shares()
    old.messages = broker.messages
    with caplog.at_level(logging.WARNING, "wxmp.broadcast"):
        await old.work()
    assert [record.message for record in caplog.records if record.name == "wxmp.broadcast"] == [
        "autumn: this worker cannot send 'autumn', it passes the share on in 0.0 s"
    ]
    assert old.shares() == [{**before[0], "passed": 1}]
    assert place.ledger() == []
    able.messages = old.messages
    place.task(able)
    await able.work()
    assert place.ledger() == sorted(place.openids)


async def test_nobody_can_send_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that no worker can send does not circle for ever: it ends as an error, and the next call brings it."""
    monkeypatch.setattr(integration, "PASS_WAIT", (0.001, 0.002))
    broker, old = Queue(), InMemoryBroker()
    sender = place.task(broker)
    await sender.send(place.recipients, **place.options())
    place.task(old, {"spring": build})
    for message in broker.messages:
        await old.receiver.callback(message)
    for _ in range(integration.MOST_PASSES + 2):
        await old.wait_all()
    errors = [result.error for result in old.result_backend.results.values() if result.is_err]
    assert [str(error) for error in errors] == [
        "no worker has that message and that account; deploy it to all, then call send() again"
    ]
    assert await sender.send(place.recipients, **place.options()) == FOLLOWERS


async def test_a_pause_ends_with_the_worker(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that waits before it passes a share on does so at once when it ends."""
    monkeypatch.setattr(integration, "PASS_WAIT", (60.0, 60.0))
    broker, old = Queue(), Queue()
    await place.task(broker).send(place.recipients, **place.options())
    ending = place.task(old, {"spring": build})
    old.messages = broker.messages
    working = old.take()
    await asyncio.sleep(0.05)
    await asyncio.wait_for(ending.aclose(), 20.0)
    await asyncio.gather(*working)
    assert [share["passed"] for share in old.shares()] == [1]


async def test_shutdown_closes_what_was_made(place: Place) -> None:
    """The end of the broker closes client and journal, twice if need be, and they are made anew when used again."""
    broker, made = InMemoryBroker(await_inplace=True), []
    account = place.simulator.account

    def client() -> Client:
        made.append(Client(account.appid, account.secret, base_url=place.simulator.url))
        return made[-1]

    task = BroadcastTask(broker, client=client, journal=lambda: SQLiteJournal(place.path), messages={"autumn": build})
    place.tasks.append(task)
    await task.send(place.recipients[:5], **place.options())
    assert len(made) == 1
    await broker.shutdown()
    await task.aclose()
    assert await task.send(place.recipients[:5], **place.options()) == 0
    assert len(made) == 2


# ---- what cannot work


def test_messages_are_needed(place: Place) -> None:
    """A task without messages could send nothing."""
    with pytest.raises(ConfigError) as caught:
        BroadcastTask(Queue(), client=Client.from_env, journal=lambda: SQLiteJournal(place.path), messages={})
    assert caught.value.field == "messages"


async def test_two_accounts_on_one_broker(place: Place) -> None:
    """A second task of the same name would take the shares of the first, and is refused; another name is fine."""
    broker = Queue()
    place.task(broker)
    with pytest.raises(ConfigError) as caught:
        place.task(broker)
    assert caught.value.field == "task_name"
    assert repr(place.task(broker, task_name="second")) == "<BroadcastTask second>"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"message": "spring"}, "message"),
        ({"share": 0}, "share"),
        ({"share": 10_001}, "share"),
        ({"name": ""}, "name"),
        ({"template_id": " "}, "template_id"),
    ],
)
async def test_arguments(place: Place, changes: dict[str, Any], field: str) -> None:
    """An argument that cannot work is found out before anything is handed over."""
    broker = Queue()
    with pytest.raises(ConfigError) as caught:
        await place.task(broker).send(place.recipients, **place.options(**changes))
    assert (caught.value.field, broker.messages) == (field, [])


async def test_another_template_under_the_same_name(place: Place) -> None:
    """Whoever continues a run with another template hears it, and not only the workers."""
    broker = Queue()
    task = place.task(broker)
    await task.send(place.recipients[:2], **place.options())
    await broker.work()
    with pytest.raises(ConfigError) as caught:
        await task.send(place.recipients, **place.options(template_id="another"))
    assert (caught.value.field, broker.messages) == ("name", [])


async def test_fields_that_do_not_travel(place: Place) -> None:
    """A field that is no text is named before anything is handed over; its value is not in the error."""
    broker = Queue()
    wrong: Any = {"order": "1", "amount": 13_800_138_000}
    with pytest.raises(ConfigError, match="'amount'") as caught:
        await place.task(broker).send([Recipient(place.openids[0], wrong)], **place.options())
    assert (caught.value.field, broker.messages) == ("recipients", [])
    assert "13800138000" not in str(caught.value)


async def test_a_journal_that_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that cannot be reached is the caller's error, before anything is handed over."""
    monkeypatch.setattr(engine, "JOURNAL_PATIENCE", 0.0)
    place.path.write_bytes(b"not a journal " * 1000)
    broker = Queue()
    with pytest.raises((JournalError, ConfigError)):
        await place.task(broker).send(place.recipients, **place.options())
    assert broker.messages == []


async def test_logs_name_nobody(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Openids, fields and the AppSecret are in no line of ours, whatever the level."""
    broker = Queue()
    task = place.task(broker, pace=Pace(per_second=50.0))
    with caplog.at_level(logging.DEBUG, "wxmp"):
        await task.send([Recipient(openid, {"phone": "13800138000"}) for openid in place.openids], **place.options())
        working = broker.take()
        await asyncio.sleep(0.2)
        await task.aclose()
        await asyncio.gather(*working)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("wxmp")]
    assert any("passed on" in line for line in ours)
    secrets = [place.simulator.account.secret, "13800138000", *place.openids]
    assert [line for line in ours if any(secret in line for secret in secrets)] == []


def test_without_taskiq() -> None:
    """Without the extra the import says which one is missing."""
    script = "import sys; sys.modules['taskiq'] = None; import wxmp.integrations.taskiq"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert 'pip install "wxmp-sdk[taskiq]"' in done.stderr
