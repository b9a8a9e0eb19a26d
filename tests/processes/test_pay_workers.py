"""Real processes that take notices of WeChat Pay behind one address, a real Redis, and what breaks in a handler.

All stories of notices happen at the same time, each with two workers of its own. The platform delivers again, with
another signature, until it hears 204; here it does so every half second. The workers answer within two seconds and a
half, and a lease of theirs ends after three quarters of that. One more process pays, and is killed before it hears the
answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

from tests.pay.notices import SHOP, TRANSACTION
from tests.processes.pay_payer import terms
from tests.redis_server import RedisServer
from wxmp.pay import PayClient
from wxmp.simulator import Simulator
from wxmp.simulator.pay import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The first test waits for all stories.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
#: The platform hangs up after this time, and begins again after that one.
PATIENCE, PAUSE = 4.0, 0.5
#: Deliveries of one notice.
DELIVERIES = 12
START_WITHIN, STOP_WITHIN = 120.0, 60.0


class Worker:
    """A worker process."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - stop() closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.pay_worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            cwd=ROOT,
            text=True,
        )
        self.pid = self._process.pid
        self.url = ""
        self.log = ""
        self.status: int | None = None

    def wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_WITHIN)
        port = self._process.stdout.readline().strip() if ready else ""
        assert port, "a worker did not start"
        self.url = f"http://127.0.0.1:{port}"

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        """Close stdin and wait: it stops in an orderly way."""
        if self.status is not None:
            return
        with contextlib.suppress(ProcessLookupError):
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
    """One notice and what came of it."""

    label: str
    #: How long its handler takes.
    seconds: float
    workers: list[Worker]
    #: How many connections bring each delivery at the same time, to the workers in turn.
    at_once: int = 1
    #: What became of each delivery.
    answers: list[str] = attrs.field(factory=list)
    started: list[int] = attrs.field(factory=list)
    ended: list[int] = attrs.field(factory=list)

    async def play(self, http: httpx.AsyncClient) -> None:
        """Deliver until it is acknowledged."""
        envelope = SHOP.envelope({**TRANSACTION, "attach": f"{self.label} {self.seconds}"})
        body = json.dumps(envelope, ensure_ascii=False).encode()
        for turn in range(DELIVERIES):
            posts = (self._post(http, body, self.workers[(turn + n) % 2]) for n in range(self.at_once))
            answers = await asyncio.gather(*posts)
            self.answers += answers
            if "204" in answers:
                return
            await asyncio.sleep(PAUSE)

    async def _post(self, http: httpx.AsyncClient, body: bytes, worker: Worker) -> str:
        notice = SHOP.sign(body)
        try:
            async with asyncio.timeout(PATIENCE):
                return str((await http.post(worker.url, headers=notice.headers, content=body)).status_code)
        except (TimeoutError, httpx.HTTPError) as error:
            return type(error).__name__


@attrs.frozen
class Outcome:
    """All stories, when they are over."""

    cases: dict[str, Case]
    workers: list[Worker]


@attrs.frozen
class Event:
    """Something that happens soon after so many handlers of a case have begun."""

    label: str
    begun: int
    act: Callable[[], object]


async def play(cases: list[Case], events: list[Event], journal: Path) -> None:
    async def happen(event: Event) -> None:
        async with asyncio.timeout(START_WITHIN):
            while journal.read_text("utf-8").count(f"start {event.label} ") < event.begun:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        event.act()

    # No connection is kept: one that is cut is cut for good.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, timeout=None, trust_env=False) as http, asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(case.play(http))
        for event in events:
            group.create_task(happen(event))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    journal = tmp_path_factory.mktemp("pay") / "journal"
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        settings = {"public_pem": SHOP.public_pem, "redis": redis.url, "journal": str(journal)}
        workers = [Worker(settings) for _ in range(6)]
        for worker in workers:
            stack.callback(worker.stop)
        for worker in workers:
            worker.wait_until_ready()
        calm, killed, frozen = workers[:2], workers[2:4], workers[4:]
        cases = [
            Case("quick", 0.1, calm, at_once=20),
            Case("slow", 4.5, calm, at_once=4),
            Case("killed", 2.0, killed),
            Case("frozen", 2.0, frozen),
        ]
        events = [
            Event("killed", 1, lambda: killed[0].signal(signal.SIGKILL)),
            Event("frozen", 1, lambda: frozen[0].signal(signal.SIGSTOP)),
            Event("frozen", 2, lambda: frozen[0].signal(signal.SIGCONT)),
        ]
        asyncio.run(play(cases, events, journal))
        for worker in workers:
            worker.stop()
        found = {case.label: case for case in cases}
        for line in journal.read_text("utf-8").splitlines():
            what, label, pid = line.split()
            (found[label].started if what == "start" else found[label].ended).append(int(pid))
        yield Outcome(found, workers)


@pytest.mark.parametrize("label", ["quick", "slow", "killed", "frozen"])
def test_handled_once(outcome: Outcome, label: str) -> None:
    """Whatever broke, the handler came to its end once, and the platform heard of it."""
    case = outcome.cases[label]
    assert len(case.ended) == 1, case
    assert "204" in case.answers, case


@pytest.mark.parametrize("label", ["quick", "slow"])
def test_nothing_begins_twice_without_need(outcome: Outcome, label: str) -> None:
    """While the worker with the handler lives, no other begins, however many connections bring the notice."""
    assert len(outcome.cases[label].started) == 1


@pytest.mark.parametrize("label", ["killed", "frozen"])
def test_the_other_worker_takes_over(outcome: Outcome, label: str) -> None:
    """A worker that was killed, or stopped for longer than its lease, loses the notice to the other one."""
    case = outcome.cases[label]
    assert len(case.started) == 2, case
    assert case.ended == [case.started[1]], case


def test_refusals_until_it_is_done(outcome: Outcome) -> None:
    """A notice whose handler takes longer than the platform waits is answered 503 until it has ended."""
    assert set(outcome.cases["slow"].answers) == {"503", "204"}


def test_workers_stop_by_themselves(outcome: Outcome) -> None:
    """All but the one that was killed end in an orderly way, without a traceback or a secret in their logs."""
    assert [worker.status for worker in outcome.workers if worker.status != 0] == [-signal.SIGKILL]
    text = "".join(worker.log for worker in outcome.workers)
    assert text
    assert "Traceback" not in text
    assert SHOP.api_v3_key not in text


async def test_killed_between_order_and_answer() -> None:
    """Another process repeats a transfer under the same number, its name enciphered anew: the money leaves once."""
    with Simulator(seed=1) as simulator:
        merchant = ledger.default_merchant(simulator.world)
        settings: dict[str, Any] = {
            "mchid": merchant.mchid,
            "private_key": merchant.private_key,
            "serial": merchant.serial,
            "api_v3_key": merchant.api_v3_key,
            "appid": merchant.appids[0],
            "public_key": merchant.platform_public_key,
            "public_key_id": merchant.public_key_id,
            "base_url": simulator.url,
        }
        transfer = {
            "out_bill_no": "bill1",
            "openid": simulator.world.create_followers(1)[0],
            "user_name": "张三丰",
            "transfer_amount_fen": 200_000,
            "transfer_remark": "新会员开通有礼",
            "transfer_scene_id": "1000",
            "report_infos": [["活动名称", "新会员有礼"], ["奖励说明", "注册会员抽奖一等奖"]],
        }
        before = merchant.balance
        simulator.fault("hang", "/v3/fund-app/mch-transfer/transfer-bills", times=1, processed=True)
        command = [sys.executable, "-m", "tests.processes.pay_payer", json.dumps(settings), json.dumps(transfer)]
        with subprocess.Popen(command, cwd=ROOT) as payer:
            try:
                async with asyncio.timeout(START_WITHIN):
                    while "bill1" not in merchant.transfers:
                        assert payer.poll() is None
                        await asyncio.sleep(0.05)
            finally:
                payer.kill()
        async with PayClient(**settings) as client:
            again = await client.transfer.create(**terms(transfer))
        assert again.transfer_bill_no == merchant.transfers["bill1"].transfer_bill_no
        assert len(merchant.transfers) == 1
        assert before - merchant.balance == 200_000
