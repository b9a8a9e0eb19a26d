"""``wxmp demo``: a fleet of worker processes does a day's work on the simulated platform, with one shared token."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn, Self

import attrs
from cyclopts import Parameter
from cyclopts.validators import Number

from wxmp.cli import INSTALL_HINT, missing_extra
from wxmp.cli._command import JSON, OneCommand
from wxmp.cli._console import FAILED, FINDINGS, INTERRUPTED, USAGE_ERROR, set_up_logging
from wxmp.errors import TokenStoreError
from wxmp.simulator import Policy, Simulator, World
from wxmp.tokens.redis import RedisTokenStore
from wxmp.tokens.store import TokenKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from rich.console import Console

    from wxmp.simulator import Reply, Request

__all__ = ["app", "demo"]

app: OneCommand = OneCommand(name="demo")

#: Calls that each worker makes at once when the fleet starts cold.
COLD_CALLS: Final = 8
#: Openids that the platform takes in one request for tags, groups and details.
TAG_BATCH: Final = 50
GROUP_BATCH: Final = 50
DETAILS_BATCH: Final = 100
#: Followers that are moved to the group.
GROUP_SIZE: Final = 60
#: The template of the platform's library that is sent.
TEMPLATE: Final = "TM00017"
#: Most calls of a worker in the comparison: without a shared token nearly each of them costs a token request.
MOST_CALLS_ALONE: Final = 50
MOST_WORKERS: Final = 32
#: The simulator remembers this many deliveries, which are counted.
MOST_FOLLOWERS: Final = 10_000

SEND: Final = "/cgi-bin/message/template/send"
PING: Final = "/cgi-bin/get_api_domain_ip"
TOKEN_PATHS: Final = ("/cgi-bin/token", "/cgi-bin/stable_token")
DEAD_TOKEN: Final = frozenset({40001, 40014, 42001})

#: Tokens of the usual life; the journal counts and keeps no bodies.
USUAL: Final = Policy(journal_size=100_000, journal_body=0)
#: Tokens that are rotated after two seconds. They rotate half a second before a worker may ask (its ``overlap`` is
#: 10 s), so that the one request of a rotation never comes a millisecond too soon and has to be repeated.
SHORT_LIVES: Final = attrs.evolve(USUAL, token_life=12, token_overlap=10.0, stable_rotate_before=10.5)
#: A push has to be answered within one second and a half instead of five.
IMPATIENT: Final = attrs.evolve(USUAL, callback_seconds=1.5)
#: Users that write at once, and seconds that the handlers of two further ones work: each ends a second away from where
#: the platform hangs up, so that a machine that pauses changes nothing.
WRITERS: Final = 40
SLOW, VERY_SLOW = 2.5, 4.5

#: Longest wait for an answer of a worker, and for its end, in seconds.
PATIENCE: Final = 60.0
ENDING: Final = 5.0


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


@attrs.frozen
class Step:
    """One thing the fleet did, as counted at the simulator."""

    title: str
    calls: int
    token_requests: int
    seconds: float
    #: Callers that saw an error.
    errors: int


@attrs.frozen
class Check:
    """A promise, and what was counted."""

    promise: str
    expected: str
    counted: int
    ok: bool


@attrs.define
class Outcome:
    """What the demo says about it."""

    workers: int
    followers: int
    store: str
    steps: list[Step] = attrs.field(factory=list)
    checks: list[Check] = attrs.field(factory=list)
    #: Token requests of the fleet for its account, for the account whose token was rotated, and without sharing.
    token_requests: int = 0
    rotation_token_requests: int = 0
    alone_token_requests: int = 0
    #: Of the first figure: those at the cold start, and those after the token was killed.
    cold_token_requests: int = 0
    kill_token_requests: int = 0
    #: Planned rotations of the second account's token, as the platform counts them.
    rotations: int = 0
    #: Calls of the fleet for its account, and without sharing.
    calls: int = 0
    alone_calls: int = 0
    #: Calls that failed in the fleet, and without sharing.
    errors: int = 0
    alone_errors: int = 0
    #: Calls that the platform refused because the token was dead, and that the client repeated.
    refused: int = 0
    #: Seconds of the longest call during the planned rotation.
    slowest_in_rotation: float = 0.0
    #: What users did, and how it was answered: on the first connection, on a later one, afterwards.
    pushes: int = 0
    answered_at_once: int = 0
    answered_on_repeat: int = 0
    answered_afterwards: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether everything came out as promised."""
        return all(check.ok for check in self.checks)

    def expect(self, promise: str, counted: int, expected: int) -> None:
        """Note whether a count is the promised one."""
        self.checks.append(Check(promise, str(expected), counted, counted == expected))

    def expect_more(self, promise: str, counted: int, than: int) -> None:
        """Note whether a count is above a bound."""
        self.checks.append(Check(promise, f"more than {than}", counted, counted > than))


class BusyWorld(World):
    """The platform, where another system kills the current token right before a chosen call."""

    _moment: tuple[str, int, Callable[[], None]] | None = None

    def before(self, path: str, calls: int, act: Callable[[], None]) -> None:
        """Arrange for ``act`` when so many more calls of ``path`` have been answered."""
        with self.lock:
            self._moment = (path, self.state.calls.get(path, 0) + calls, act)

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        with self.lock:
            if self._moment is not None:
                path, calls, act = self._moment
                if request.path == path and self.state.calls.get(path, 0) >= calls:
                    self._moment = None
                    act()
            return super().handle(request)


class Worker:
    """A worker process, seen from here."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, environment: dict[str, str], program: str = "wxmp.cli._demo_worker") -> Self:
        """Start a process. It is not ready before :meth:`receive` has returned once."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", program),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            limit=1 << 24,
            # Ctrl-C in a terminal goes to the whole group; the workers are ended by us, in order.
            start_new_session=True,
        )
        return cls(process)

    async def receive(self) -> dict[str, object]:
        """Wait for the next line of the worker."""
        output = self._process.stdout
        if output is None:
            raise DemoError("a worker has no output")
        try:
            async with asyncio.timeout(PATIENCE):
                line = await output.readline()
        except TimeoutError:
            raise DemoError(f"a worker did not answer within {PATIENCE:.0f} s") from None
        if not line:
            raise DemoError(f"a worker ended too soon (exit status {await self._process.wait()})")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise DemoError("a worker said something that nobody understands")
        if "failure" in answer:
            raise DemoError(f"a worker's task failed: {answer['failure']}")
        return answer

    async def ask(self, *command: object) -> dict[str, object]:
        """Give a command and wait for the report."""
        stdin = self._process.stdin
        if stdin is None:
            raise DemoError("a worker has no input")
        stdin.write(json.dumps(command).encode() + b"\n")
        # A worker that died is told of by its output.
        with suppress(ConnectionError):
            await stdin.drain()
        return await self.receive()

    async def kill(self) -> None:
        """Kill it without a warning (SIGKILL)."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Close its input and wait; kill it when it does not end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(ENDING):
                await self._process.wait()
        except TimeoutError:
            await self.kill()


class Fleet:
    """The worker processes."""

    def __init__(self, environment: dict[str, str], size: int) -> None:
        self._environment = environment
        self._size = size
        self.workers: list[Worker] = []

    async def __aenter__(self) -> Self:
        try:
            for _ in range(self._size):
                self.workers.append(await Worker.start(self._environment))
            for worker in self.workers:
                await worker.receive()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        await asyncio.gather(*(worker.end() for worker in self.workers))

    def __getitem__(self, number: int) -> Worker:
        return self.workers[number % len(self.workers)]

    async def replace_last(self) -> Worker:
        """Kill the last worker and start another one in its place."""
        await self.workers.pop().kill()
        worker = await Worker.start(self._environment)
        self.workers.append(worker)
        await worker.receive()
        return worker

    async def share(self, task: Sequence[object], openids: Sequence[str]) -> list[dict[str, object]]:
        """Give a command to all workers, each with its part of a list."""
        size = len(self.workers)
        parts = [(worker, openids[number::size]) for number, worker in enumerate(self.workers)]
        return await asyncio.gather(*(worker.ask(*task, part) for worker, part in parts if part))

    async def all(self, *command: object) -> list[dict[str, object]]:
        """Give the same command to all workers at once."""
        return await asyncio.gather(*(worker.ask(*command) for worker in self.workers))


class Demo:
    """The work, step by step; every figure comes from the simulator or from a worker."""

    def __init__(
        self, simulator: Simulator, world: BusyWorld, fleet: Fleet, outcome: Outcome, environment: dict[str, str]
    ) -> None:
        self._simulator = simulator
        self._world = world
        self._fleet = fleet
        self._outcome = outcome
        self._environment = environment
        self.tell: Callable[[Step], None] = lambda step: None

    async def run(self) -> None:
        """Do everything."""
        await self.cold_start()
        await self.menu()
        openids = await self.followers()
        await self.tag(openids)
        await self.group(openids)
        await self.send(openids)
        await self.restart()
        outcome = self._outcome
        outcome.token_requests = self._simulator.token_requests_of()
        outcome.calls = sum(step.calls for step in outcome.steps)
        outcome.expect("token requests of the whole fleet", outcome.token_requests, 2)
        await self.service(openids)
        await self.rotation()
        outcome.errors = sum(step.errors for step in outcome.steps)
        outcome.expect("failed calls of the fleet", outcome.errors, 0)
        await self.alone()

    @asynccontextmanager
    async def step(self, title: str) -> AsyncIterator[list[dict[str, object]]]:
        """Count what happens at the simulator while the block runs; reports put into the list add their errors."""
        reports: list[dict[str, object]] = []
        token_requests, calls = self._arrivals()
        started = time.monotonic()
        yield reports
        seconds = time.monotonic() - started
        token_requests_now, calls_now = self._arrivals()
        errors = sum(len(errors_of(report)) for report in reports)
        step = Step(title, calls_now - calls, token_requests_now - token_requests, round(seconds, 3), errors)
        self._outcome.steps.append(step)
        self.tell(step)

    def _arrivals(self) -> tuple[int, int]:
        with self._world.lock:
            calls = self._world.state.calls
            token_requests = sum(calls.get(path, 0) for path in TOKEN_PATHS)
            return token_requests, sum(calls.values()) - token_requests

    def _refused(self, appid: str) -> int:
        """Count the calls of an account that were refused because of a dead token."""
        journal = self._simulator.journal
        return sum(exchange.appid == appid and exchange.errcode in DEAD_TOKEN for exchange in journal)

    async def cold_start(self) -> None:
        """All workers call at once, and nobody has a token."""
        outcome, workers = self._outcome, len(self._fleet.workers)
        async with self.step(f"cold start: {COLD_CALLS} calls at once in each process") as reports:
            reports += await self._fleet.all("calls", COLD_CALLS)
        outcome.expect("calls at the cold start", outcome.steps[-1].calls, workers * COLD_CALLS)
        outcome.cold_token_requests = outcome.steps[-1].token_requests
        outcome.expect("token requests at the cold start", outcome.cold_token_requests, 1)

    async def menu(self) -> None:
        """One worker makes the menu, another one reads it."""
        reader = "another" if len(self._fleet.workers) > 1 else "itself"
        async with self.step(f"menu: created by one process, read by {reader}"):
            await self._fleet[0].ask("create menu")
            report = await self._fleet[1].ask("read menu")
        self._outcome.expect("menus that came back as they were sent", int(report["found"] is True), 1)

    async def followers(self) -> list[str]:
        """One worker lists the followers, all of them read the details."""
        wanted = self._outcome.followers
        async with self.step(f"followers: {wanted} listed, details read by all"):
            listed = (await self._fleet[0].ask("followers"))["found"]
            openids = [str(openid) for openid in listed] if isinstance(listed, list) else []
            reports = await self._fleet.share(("details",), openids)
        self._outcome.expect("followers listed", len(set(openids)), wanted)
        self._outcome.expect("followers whose details were read", sum(number(r["found"]) for r in reports), wanted)
        return openids

    async def tag(self, openids: list[str]) -> None:
        """One worker tags them all, in as many requests as it takes."""
        wanted, path = len(openids), "/cgi-bin/tags/members/batchtagging"
        async with self.step(f"tag: {wanted} followers in requests of at most {TAG_BATCH}"):
            report = await self._fleet[2].ask("tag", "demo", openids)
        found = report["found"]
        tagged, failed = (number(value) for value in found) if isinstance(found, list) else (0, -1)
        self._outcome.expect("followers that carry the tag", tagged, wanted)
        self._outcome.expect("followers that could not be tagged", failed, 0)
        self._outcome.expect("requests for tagging", self._simulator.calls(path), -(-wanted // TAG_BATCH))

    async def group(self, openids: list[str]) -> None:
        """One worker moves some of them to a group."""
        moved, path = openids[:GROUP_SIZE], "/cgi-bin/groups/members/batchupdate"
        async with self.step(f"group: {len(moved)} followers moved in requests of at most {GROUP_BATCH}"):
            report = await self._fleet[3].ask("group", "demo group", moved)
        self._outcome.expect("members of the group", number(report["found"]), len(moved))
        self._outcome.expect("requests for moving", self._simulator.calls(path), -(-len(moved) // GROUP_BATCH))

    async def send(self, openids: list[str]) -> None:
        """All workers send, and in the middle another system takes their token away."""
        outcome, before = self._outcome, self._simulator.token_requests_of()
        template_id = (await self._fleet[0].ask("template", TEMPLATE))["found"]
        self._world.before(SEND, len(openids) // 2, self._world.kill_token)
        async with self.step(f"send: {len(openids)} template messages; half-way the token is killed") as reports:
            reports += await self._fleet.share(("send", template_id), openids)
        delivered = self._world.sent()
        outcome.refused = self._refused(self._simulator.account.appid)
        outcome.expect("messages delivered", len(delivered), len(openids))
        outcome.expect("followers who got one", len({sent.openid for sent in delivered}), len(openids))
        outcome.expect_more("calls refused for the killed token, and repeated", outcome.refused, 0)
        outcome.kill_token_requests = self._simulator.token_requests_of() - before
        outcome.expect("token requests after the token was killed", outcome.kill_token_requests, 1)

    async def restart(self) -> None:
        """A worker dies and another one takes its place."""
        async with self.step(f"restart: a process is killed, its successor makes {COLD_CALLS} calls") as reports:
            reports.append(await (await self._fleet.replace_last()).ask("calls", COLD_CALLS))
        self._outcome.expect("token requests after the restart", self._outcome.steps[-1].token_requests, 0)

    async def service(self, openids: list[str]) -> None:
        """A service answers users, encrypted both ways; for two of them it takes longer than the platform waits."""
        outcome, world, simulator = self._outcome, self._world, self._simulator
        token, key = secrets.token_hex(16), secrets.token_hex(21) + "A"
        variables = {"WXMP_CALLBACK_TOKEN": token, "WXMP_ENCODING_AES_KEY": key, "WXMP_CALLBACK_MODE": "safe"}
        variables["WXMP_DEDUPE"] = "memory:"  # one process, and nobody's Redis
        service = await Worker.start({**self._environment, **variables}, "wxmp.cli._demo_service")
        try:
            address = str((await service.receive())["url"])
            await asyncio.to_thread(simulator.set_callback, address, token=token, encoding_aes_key=key)
            writers = openids[:WRITERS]
            async with self.step(f"service: {len(writers)} users answered in safe mode, two slowly"):
                people = [world.phone(openid) for openid in writers]
                for phone in people:
                    phone.say("你好")
                people[0].tap("TODAY")
                slow, very_slow = world.phone(), world.phone()
                slow.follow()
                very_slow.follow()
                await self._answered(len(writers) + 3)  # the tap and two follows
                # Only now: a crowd may take a small machine longer than that.
                world.policy = IMPATIENT
                slow.say(f"work {SLOW}")
                very_slow.say(f"work {VERY_SLOW}")
                answered = len(writers) + 5
                await self._answered(answered)
                handled = (await service.ask("report"))["handled"]
            world.policy = USUAL
            world.stop_callback()
        finally:
            await service.end()
        attempts = [attempt for attempt in simulator.deliveries() if attempt.verdict == "shown"]
        outcome.pushes = answered
        outcome.answered_at_once = sum(attempt.number == 1 for attempt in attempts)
        outcome.answered_on_repeat = len(attempts) - outcome.answered_at_once
        outcome.answered_afterwards = sum(sent.kind == "custom" for sent in world.sent())
        outcome.expect("pushes answered on their first delivery", outcome.answered_at_once, answered - 2)
        outcome.expect("pushes answered on a repeated delivery", outcome.answered_on_repeat, 1)
        outcome.expect("pushes answered afterwards, by a customer-service message", outcome.answered_afterwards, 1)
        outcome.expect("handlers of these that ran", number(handled), answered)
        outcome.expect("lines that users see instead of an answer", self._notices(), 0)

    async def _answered(self, pushes: int) -> None:
        """Wait until so many have been answered."""
        if not await asyncio.to_thread(self._world.wait_for, lambda _: self._answers() >= pushes, PATIENCE):
            raise DemoError("the service does not answer its users")

    def _answers(self) -> int:
        """Count what users were answered, in whatever way."""
        replies = sum(attempt.verdict == "shown" for attempt in self._simulator.deliveries())
        return replies + sum(sent.kind == "custom" for sent in self._world.sent())

    def _notices(self) -> int:
        """Count the platform's grey lines in all chats."""
        users = self._simulator.account.users
        return sum(line.source == "system" for openid in users for line in self._simulator.chat(openid))

    async def rotation(self) -> None:
        """On a second account, whose tokens live 12 s, all workers call until the token has been rotated."""
        outcome, world = self._outcome, self._world
        short = world.add_account(new_appid(), secrets.token_hex(16))
        world.policy = SHORT_LIVES

        def live_on() -> None:
            world.policy = USUAL

        # The second token lives as usual: a process that is late finds it, and not the third.
        world.before(TOKEN_PATHS[1], 1, live_on)
        async with self.step("rotation: calls go on while a 12 s token is replaced") as reports:
            reports += await self._fleet.all("rotation", short.appid, short.secret)
        world.policy = USUAL
        passed = [report["found"] for report in reports]
        outcome.rotation_token_requests = self._simulator.token_requests_of(appid=short.appid)
        outcome.slowest_in_rotation = max(fraction(report["slowest"]) for report in reports)
        outcome.rotations = self._simulator.tokens_issued("stable", appid=short.appid) - 1
        outcome.expect("planned rotations", outcome.rotations, 1)
        outcome.expect("token requests with one planned rotation", outcome.rotation_token_requests, 2)
        outcome.expect("calls refused during the rotation", self._refused(short.appid), 0)
        outcome.expect(
            "processes that passed from the same token to the same token",
            sum(pair == passed[0] for pair in passed if isinstance(pair, list) and len(set(pair)) == len(pair)),
            len(reports),
        )

    async def alone(self) -> None:
        """For comparison: as many processes, and each keeps its token to itself."""
        outcome, world = self._outcome, self._world
        workers = len(self._fleet.workers)
        calls = min(max(outcome.calls // workers, COLD_CALLS), MOST_CALLS_ALONE)
        other = world.add_account(new_appid(), secrets.token_hex(16))
        world.before(PING, workers * calls // 2, lambda: world.kill_token("plain", appid=other.appid))
        reports = await self._fleet.all("alone", other.appid, other.secret, calls)
        outcome.alone_token_requests = self._simulator.token_requests_of(appid=other.appid)
        outcome.alone_calls = sum(number(report["calls"]) for report in reports)
        outcome.alone_errors = sum(len(errors_of(report)) for report in reports)
        if workers > 1:
            outcome.expect_more(
                "token requests of processes that share nothing", outcome.alone_token_requests, outcome.token_requests
            )


def errors_of(report: dict[str, object]) -> list[object]:
    """Return the errors of a report."""
    errors = report["errors"]
    return errors if isinstance(errors, list) else [errors]


def number(value: object) -> int:
    """Read a whole number; -1 for anything else, which no check expects."""
    return value if isinstance(value, int) else -1


def fraction(value: object) -> float:
    """Read a number of seconds."""
    return float(value) if isinstance(value, int | float) else 0.0


def new_appid() -> str:
    """Make up an AppID: a shared store may still hold the tokens of an earlier demo."""
    return f"wx{secrets.token_hex(8)}"


@app.default
def demo(
    *,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_WORKERS))] = 4,
    followers: Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_FOLLOWERS))] = 120,
    json_line: Annotated[bool, JSON] = False,
) -> None:
    """Let a fleet of processes work on the simulated platform, and count its token requests.

    Needs no account and no network.

    The processes share their token through files in a temporary folder, or through Redis when WXMP_TOKEN_STORE is a
    redis://, rediss:// or unix:// address; the few keys made there (wxmp:wx...) end by themselves within hours.

    Exit codes: 0 all came out as promised; 1 it could not go on, or the store failed; 2 the arguments cannot work, or
    an extra is missing; 3 something did not come out as promised; 130 and 143 it was interrupted (Ctrl-C, SIGTERM).

    Args:
        workers: How many processes.
        followers: How many people follow the account.
        json_line: Print one line of JSON instead of text.
    """
    set_up_logging()
    started = time.monotonic()
    address = os.environ.get("WXMP_TOKEN_STORE", "")
    shared = address if address.partition(":")[0] in ("redis", "rediss", "unix") else ""
    outcome = Outcome(workers, followers, "Redis" if shared else "files")
    try:
        show = None if json_line else Printer(outcome)
        with tempfile.TemporaryDirectory(prefix="wxmp-demo-") as folder:
            asyncio.run(stage(outcome, shared or f"file:{Path(folder) / 'tokens'}", show))
    except ModuleNotFoundError as error:
        if not missing_extra(error):
            raise
        stop(INSTALL_HINT, USAGE_ERROR)
    except TokenStoreError as error:
        stop(f"WXMP_TOKEN_STORE: the store does not answer: {error}", FAILED)
    except BrokenPipeError:
        raise
    except (DemoError, OSError) as error:
        stop(f"The demo cannot go on: {error}", FAILED)
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        ended = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
        stop("Stopped.", INTERRUPTED + ended)
    outcome.seconds = round(time.monotonic() - started, 2)
    if show is None:
        sys.stdout.write(f"{json.dumps({'ok': outcome.ok, **attrs.asdict(outcome)})}\n")
    else:
        show.summary()
    if not outcome.ok:
        raise SystemExit(FINDINGS)


def stop(text: str, status: int) -> NoReturn:
    """End the program with one sentence."""
    sys.stderr.write(f"{text}\n")
    raise SystemExit(status) from None


async def stage(outcome: Outcome, address: str, show: Printer | None) -> None:
    """Set up platform, store and workers, do the work, and take everything down again."""
    task = asyncio.current_task()
    if task is not None and sys.platform != "win32":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    world = BusyWorld(USUAL, appid=new_appid(), secret=secrets.token_hex(16), followers=outcome.followers)
    with Simulator(world=world) as simulator:
        if not address.startswith("file:"):
            async with RedisTokenStore(address) as store:
                await store.read(TokenKey(simulator.account.appid, "stable"))
        environment = {
            **os.environ,
            "WXMP_APPID": simulator.account.appid,
            "WXMP_SECRET": simulator.account.secret,
            "WXMP_ENDPOINT": simulator.url,
            "WXMP_TOKEN_STORE": address,
        }
        async with Fleet(environment, outcome.workers) as fleet:
            run = Demo(simulator, world, fleet, outcome, environment)
            if show is not None:
                show.heading()
                run.tell = show.step
            await run.run()


class Printer:
    """Says what happens, in 80 columns, with and without a terminal."""

    def __init__(self, outcome: Outcome) -> None:
        from rich.console import Console

        self._console: Console = Console(highlight=False, soft_wrap=True)
        self._outcome = outcome
        plain = not self._console.encoding.lower().startswith("utf")
        self._yes, self._no, self._line = ("ok", "!!", "-") if plain else ("✓", "✗", "─")

    def heading(self) -> None:
        """Say what there is."""
        outcome = self._outcome
        self._console.print(
            f"[bold]processes: {outcome.workers}, followers: {outcome.followers}, "
            f"one access token shared through {outcome.store}[/]\n"
        )
        self._row("", "", "calls", "token", "ms")
        self._console.print(f"  {self._line * 76}", style="dim")

    def _row(self, sign: str, title: str, calls: object, token_requests: object, ms: object) -> None:
        self._console.print(f"{sign:>2} ", style="green" if sign == self._yes else "red", end="")
        self._console.print(f"{title:<57} {calls:>5} {token_requests:>5} {ms:>6}", markup=False)

    def step(self, step: Step) -> None:
        """Show a step that is done."""
        sign = self._no if step.errors else self._yes
        self._row(sign, step.title, step.calls, step.token_requests, f"{step.seconds * 1000:.0f}")

    def summary(self) -> None:
        """Say what it came to."""
        outcome, console = self._outcome, self._console
        console.print(f"  {self._line * 76}", style="dim")
        longest = f"{outcome.slowest_in_rotation * 1000:.0f} ms"
        lines = [
            (outcome.token_requests, f"token requests of the whole fleet for {outcome.calls} calls:"),
            ("", f"{outcome.cold_token_requests} at the cold start, {outcome.kill_token_requests} after the kill"),
            (outcome.refused, "calls met the dead token and were repeated"),
            (outcome.rotation_token_requests, "token requests for the account with tokens of 12 s,"),
            ("", f"planned rotations: {outcome.rotations}; longest call beside them: {longest}"),
            (outcome.errors, "calls of the fleet failed"),
            (outcome.answered_at_once, f"of {outcome.pushes} pushes answered on their first connection,"),
            ("", f"{outcome.answered_on_repeat} on a repeated one, {outcome.answered_afterwards} afterwards"),
            (
                outcome.alone_token_requests,
                f"token requests for {outcome.alone_calls} calls of as many processes",
            ),
            ("", f"that share nothing (classic endpoint, no SDK); failed calls: {outcome.alone_errors}"),
        ]
        for figure, text in lines:
            console.print(f"[bold]{figure:>5}[/]  {text}")
        failed = [check for check in outcome.checks if not check.ok]
        console.print()
        for check in failed:
            console.print(
                f"{self._no} {check.promise}: {check.counted} counted, {check.expected} expected", style="bold red"
            )
        if not failed:
            console.print(
                f"{self._yes} all {len(outcome.checks)} promises kept, counted at the simulator, "
                f"in {outcome.seconds:.1f} s",
                style="bold green",
            )
