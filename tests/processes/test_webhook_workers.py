"""Real webhook workers behind one address, real Redis servers, and everything that breaks while a handler runs.

Handlers of 1 s, 6 s and 20 s against the platform's patience of 5 s and its three deliveries. All stories happen at the
same time, each with workers of its own; the tests look at what came of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from tests.integrations.platform import Account
from tests.redis_server import RedisServer
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

#: The first test waits for all stories.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
#: The platform hangs up after this time, and delivers three times in all. A bit later than the real one does, which
#: leaves a busy machine more time for the answer at the deadline.
PATIENCE = 5.4
#: Nothing here may take longer, starting and stopping included.
START_WITHIN, QUIET_WITHIN, STOP_WITHIN = 120.0, 90.0, 60.0


class Worker:
    """A worker process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - stop() closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.webhook_worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            cwd=ROOT,
            text=True,
        )
        self.url = ""
        self.paths: list[str] = list(settings["hooks"])
        self.status: int | None = None
        #: All that it logged.
        self.log = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def killed(self) -> bool:
        return self._process.poll() == -signal.SIGKILL

    def wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_WITHIN)
        port = self._process.stdout.readline().strip() if ready else ""
        assert port, "a worker did not start"
        self.url = f"http://127.0.0.1:{port}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stop(self) -> None:
        """Close stdin and wait: it stops in an orderly way."""
        if self.status is not None:
            return
        self.signal(signal.SIGCONT)
        try:
            self._process.communicate(timeout=STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self.status = self._process.returncode
        with self._output as output:
            output.seek(0)
            self.log = output.read()


@attrs.define
class Case:
    """One message of one user, and what came of it."""

    label: str
    seconds: float
    #: Who gets the first, the second and the third delivery: the balancer in front of the workers knows who is dead.
    turns: list[Worker]
    path: str = "/wx"
    #: When it is written, in seconds of its story.
    begin: float = 0.0
    #: What has to have happened before.
    after: threading.Event | None = None
    user: str = ""
    #: Passive replies that reached the user, and customer-service messages.
    replies: list[str] = attrs.field(factory=list)
    late: list[str] = attrs.field(factory=list)
    #: What became of each delivery.
    deliveries: list[str] = attrs.field(factory=list)
    started: list[str] = attrs.field(factory=list)
    ended: list[str] = attrs.field(factory=list)

    @property
    def told(self) -> list[str]:
        """All that the user was told."""
        return self.replies + self.late

    @property
    def right(self) -> list[str]:
        """What the user is to be told."""
        return [f"answer to {self.label}"]


@attrs.frozen
class Story:
    """Workers that share a Redis, messages to them, and what happens to them meanwhile."""

    workers: list[Worker]
    cases: list[Case]
    events: list[tuple[float, Callable[[], object]]] = attrs.field(factory=list)


@attrs.define
class Platform:
    """Delivers messages as WeChat does, to the workers in turn."""

    account: Account
    simulator: Simulator

    async def deliver(self, case: Case) -> None:
        """Up to three deliveries of one message."""
        inner = self.account.text(f"{case.label} {case.seconds}", openid=case.user)
        # No connection is kept: each delivery opens its own, and one that is cut is cut for good.
        limits = httpx.Limits(max_keepalive_connections=0)
        while case.after is not None and not case.after.is_set():
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(limits=limits, timeout=None, trust_env=False, verify=False) as http:
            for worker in case.turns:
                request = self.account.deliver(inner)
                address = f"{worker.url}{case.path}?{request.query}"
                try:
                    async with asyncio.timeout(PATIENCE):
                        answer = await http.post(address, content=request.body)
                except (TimeoutError, httpx.HTTPError) as error:
                    case.deliveries.append(type(error).__name__)
                    continue
                case.deliveries.append(f"{answer.status_code}")
                if answer.status_code == 200:
                    if answer.content not in (b"", b"success"):
                        case.replies.append(self.account.read(answer.content))
                    return

    async def warm_up(self, workers: list[Worker], user: str) -> None:
        """Let every webhook load what it needs: the stories begin with workers that are at work already."""
        cases = [Case("warm-up", 0, [worker] * 3, path=path, user=user) for worker in workers for path in worker.paths]
        await asyncio.gather(*map(self.deliver, cases))
        assert [case for case in cases if not case.replies] == []

    async def play(self, stories: list[Story]) -> None:
        """Play all stories at once, until nothing is under way any more."""
        async with asyncio.TaskGroup() as group:
            for story in stories:
                for case in story.cases:
                    group.create_task(after(case.begin, lambda case=case: self.deliver(case)))  # type: ignore[misc]
                for moment, event in story.events:
                    group.create_task(after(moment, lambda event=event: asyncio.to_thread(event)))  # type: ignore[misc]
        async with asyncio.timeout(QUIET_WITHIN), httpx.AsyncClient(trust_env=False) as http:
            for worker in [worker for story in stories for worker in story.workers]:
                while not worker.killed and (await http.get(f"{worker.url}/busy")).text != "0":
                    await asyncio.sleep(0.1)


async def after(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    await asyncio.sleep(seconds)
    await act()


@attrs.frozen
class Outcome:
    """All stories, when they are over."""

    cases: dict[str, Case]
    workers: list[Worker]
    seconds: float


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    journal = tmp_path_factory.mktemp("webhook") / "journal"
    workers: list[Worker] = []
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(Simulator(seed=1))
        redis, outages, gone = (stack.enter_context(RedisServer()) for _ in range(3))
        account = Account(appid=simulator.account.appid)

        def start(**hooks: list[str]) -> Worker:
            worker = Worker(
                {
                    "appid": account.appid,
                    "secret": simulator.account.secret,
                    "platform": simulator.url,
                    "token": account.token,
                    "key": account.key,
                    "journal": str(journal),
                    "hooks": {f"/{path}": settings for path, settings in hooks.items()},
                }
            )
            workers.append(worker)
            stack.callback(worker.stop)
            return worker

        def pair(**hooks: list[str]) -> list[Worker]:
            return [start(**hooks), start(**hooks)]

        stories = [
            calm(pair(wx=[redis.url, "local"])),
            killed(pair(wx=[redis.url, "local"])),
            frozen(pair(wx=[redis.url, "local"])),
            store_lost(pair(wx=[outages.url, "refuse"], gone=[gone.url, "local"]), outages, gone),
        ]
        for worker in workers:
            worker.wait_until_ready()
        cases = [case for story in stories for case in story.cases]
        for case, user in zip(cases, simulator.world.create_followers(len(cases)), strict=True):
            case.user = user
            simulator.world.user_writes(user, "hi")  # opens the customer-service window
        platform = Platform(account, simulator)
        asyncio.run(platform.warm_up(workers, simulator.world.create_followers(1)[0]))
        began = time.monotonic()
        asyncio.run(platform.play(stories))
        seconds = time.monotonic() - began
        for worker in workers:
            worker.stop()
        for line in journal.read_text("utf-8").splitlines():
            what, label, pid = line.split()
            case = next((case for case in cases if case.label == label), Case(label, 0, []))
            (case.started if what == "start" else case.ended).append(pid)
        for case in cases:
            sent = simulator.world.sent(case.user)
            case.late += [message.payload["text"]["content"] for message in sent]  # type: ignore[index]
        yield Outcome({case.label: case for case in cases}, workers, seconds)


# ---- the stories


def calm(workers: list[Worker]) -> Story:
    """Nothing breaks; retries go to the other worker."""
    one, two = workers
    turns = [one, two, one]
    return Story(workers, [Case(f"calm-{seconds}", seconds, turns) for seconds in (1, 6, 20)])


def killed(workers: list[Worker]) -> Story:
    """Kill -9 of the worker that runs the handlers: during the first delivery, and during the second."""
    one, two = workers
    turns = [one, two, two]
    cases = [
        Case("killed-1", 1, turns, begin=5.5),
        Case("killed-6", 6, turns, begin=3.0),
        Case("killed-20", 20, turns, begin=3.0),
        Case("killed-later-20", 20, turns, begin=0.0),
    ]
    return Story(workers, cases, [(6.0, lambda: one.signal(signal.SIGKILL))])


def frozen(workers: list[Worker]) -> Story:
    """SIGSTOP of the worker that runs the handlers for longer than its lease, then SIGCONT."""
    one, two = workers
    turns, stopped = [one, two, one], threading.Event()

    def stop() -> None:
        one.signal(signal.SIGSTOP)
        stopped.set()

    cases = [
        Case("frozen-1", 1, turns, begin=1.5),
        Case("frozen-6", 6, turns),
        Case("frozen-20", 20, turns),
        # It stays in the frozen worker's socket, which reads it when another worker has answered long ago.
        Case("frozen-unread-1", 1, turns, begin=2.5, after=stopped),
    ]
    events: list[tuple[float, Callable[[], object]]] = [
        (2.0, stop),
        (10.0, lambda: one.signal(signal.SIGCONT)),
    ]
    return Story(workers, cases, events)


def store_lost(workers: list[Worker], outages: RedisServer, gone: RedisServer) -> Story:
    """One Redis dies twice and comes back empty, another one stays away."""
    one, two = workers
    cases = [Case(f"outage-{seconds}", seconds, [one, two, one]) for seconds in (1, 6, 20)]
    cases += [Case(f"gone-sticky-{seconds}", seconds, [one, one, one], path="/gone") for seconds in (1, 6, 20)]
    cases += [Case(f"gone-{seconds}", seconds, [one, two, one], path="/gone") for seconds in (6, 20)]
    cases += [Case("gone-since-1", 1, [two, one, two], path="/gone", begin=3.0)]
    events: list[tuple[float, Callable[[], object]]] = [
        (2.0, outages.kill),
        (3.5, outages.start),
        # Once more when the platform has delivered for the last time: nobody but the handler's own worker remembers.
        (17.0, outages.kill),
        (17.5, outages.start),
        (2.0, gone.kill),
    ]
    return Story(workers, cases, events)


# ---- what came of them

ONCE = [
    *("calm-1", "calm-6", "calm-20"),
    *("killed-1", "killed-6", "killed-20", "killed-later-20"),
    *("frozen-1", "frozen-6", "frozen-20", "frozen-unread-1"),
    *("outage-1", "outage-6", "outage-20"),
    *("gone-sticky-1", "gone-sticky-6", "gone-sticky-20", "gone-since-1"),
]


@pytest.mark.parametrize("label", ONCE)
def test_handled_once(outcome: Outcome, label: str) -> None:
    """Whatever broke, the handler came to its end once."""
    case = outcome.cases[label]
    assert len(case.ended) == 1, case


@pytest.mark.parametrize("label", ONCE)
def test_answered_once(outcome: Outcome, label: str) -> None:
    """Whatever broke, the user was told the answer once: on a connection, or by a customer-service message."""
    case = outcome.cases[label]
    assert case.told == case.right, case


@pytest.mark.parametrize("seconds", [6, 20])
def test_without_a_store_every_process_works_alone(outcome: Outcome, seconds: int) -> None:
    """With ``on_store_down="local"`` and retries to another process a message may be handled twice, never lost."""
    case = outcome.cases[f"gone-{seconds}"]
    assert 1 <= len(case.ended) <= 2
    assert set(case.told) == set(case.right)
    assert len(case.told) <= len(case.ended)


@pytest.mark.parametrize("label", ["calm-1", "calm-6", "calm-20", "frozen-unread-1"])
def test_nothing_is_begun_twice_without_need(outcome: Outcome, label: str) -> None:
    """While the worker with the handler lives, no other begins."""
    assert len(outcome.cases[label].started) == 1


@pytest.mark.parametrize("label", ["calm-1", "calm-6", "killed-1", "frozen-1", "frozen-6"])
def test_whoever_ends_in_time_answers_for_nothing(outcome: Outcome, label: str) -> None:
    """An answer that is there before the last delivery ends goes out as a passive reply."""
    case = outcome.cases[label]
    assert case.replies == case.right, case


@pytest.mark.parametrize("label", ["calm-20", "killed-20", "killed-later-20", "frozen-20"])
def test_user_sees_no_notice_of_a_failure(outcome: Outcome, label: str) -> None:
    """The last delivery is answered in time, so the platform does not say that the service is out of order."""
    assert outcome.cases[label].deliveries[-1] == "200"


def test_nothing_hangs(outcome: Outcome) -> None:
    """All stories are over soon after the longest handler, and every worker that was not killed stops by itself."""
    assert outcome.seconds < 70
    assert [worker.status for worker in outcome.workers if worker.status != 0] == [-signal.SIGKILL]


def test_logs_have_no_traceback_and_no_secret(outcome: Outcome) -> None:
    """What broke is told in sentences, without a secret in them."""
    text = "".join(worker.log for worker in outcome.workers)
    assert text
    assert "Traceback" not in text
    assert [secret for secret in (Account().token, Account().key) if secret in text] == []
