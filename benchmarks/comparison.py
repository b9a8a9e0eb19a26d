"""The table "other SDKs" of the README: what each SDK does, observed on the simulator, and what it covers.

python -m benchmarks.comparison                     wechatpy and WeRoBot (needs `make .venv/.peers`)
python -m benchmarks.comparison paths NAME=FOLDER   how many endpoints the sources in a folder name, in any language

wechatpy and WeRoBot run unmodified in their own interpreter and reach the simulator under the platform's own addresses.
Each answer is what happened, not what a page says:

- endpoints: how many of the platform's current calls have their path in the sources. It flatters everybody (a path in a
  comment counts), and is the same rule for all, also for SDKs in other languages.
- stubborn: one call, while the platform refuses every token with 40001. Counted: calls and token requests.
- logs: how many lines of a log at DEBUG hold the access_token or the AppSecret after one call.
- replay: a push that was signed an hour ago is sent again. Is it handled?
- slow: the handler of a message takes seven seconds; the platform waits five and asks three times. Counted: how often
  the handler ran, and whether the user had an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import sys
import tempfile
import threading
import time
import tomllib
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import httpx

from benchmarks._report import NOT_INSTALLED, RESULTS, NotInstalledError, circumstances
from tests.peers.conftest import NEXT, Peer
from tests.peers.gateway import Authority, Gateway
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).parents[1]
PEER: Final = Path(__file__).with_name("_comparison_peer.py")
SOURCES: Final = {".py", ".java", ".go", ".js", ".ts", ".cs", ".php", ".rb"}
TESTS: Final = {"test", "tests", "Test", "node_modules", "samples", "examples"}
#: Seconds the slow handler takes, and how long the platform's three attempts take at most.
SLOW: Final = 7.0
PATIENCE: Final = 30.0
TOKEN: Final = "comparisonToken"
OPENID: Final = "oReplayedAnHourLater00000001"
PEERS: Final = ROOT / "tests" / "peers"


@attrs.frozen
class Findings:
    """What was observed of one SDK."""

    name: str
    version: str
    #: Current endpoints named in its sources, and all there are.
    endpoints: int
    #: Calls and token requests for one call that is always refused.
    calls: int
    token_requests: int
    #: Lines of its log with a secret.
    leaks: int
    #: Whether a push from an hour ago is handled; ``None`` where the SDK has no server half.
    replay: bool | None
    #: Runs of a slow handler, and whether the user had an answer.
    runs: int | None
    answered: bool | None

    def cells(self, total: int) -> list[str]:
        """Return its column of the table."""
        slow = "-" if self.runs is None else f"{self.runs} times, {'answered' if self.answered else 'no answer'}"
        replay = "-" if self.replay is None else "handled" if self.replay else "refused"
        return [
            f"{self.endpoints} of {total}",
            f"{self.calls} calls, {self.token_requests} tokens",
            f"{self.leaks} lines" if self.leaks else "none",
            replay,
            slow,
        ]


LABELS: Final = (
    "endpoints named in the sources",
    "one call, every token refused (40001)",
    "log at DEBUG: lines with a token or secret",
    "a push signed an hour ago",
    "a handler that takes 7 s",
)


def endpoint_paths() -> frozenset[str]:
    """Return the paths of all calls that are current or still answered."""
    listed = tomllib.loads((ROOT / "tests" / "api" / "endpoints.toml").read_text(encoding="utf-8"))
    return frozenset(entry["line"].split()[1].split("?")[0] for entry in listed.values())


def named_paths(folder: Path, *, leave_out: str = "") -> int:
    """Count the endpoints whose path stands in the sources below a folder, tests left out."""
    unwanted = TESTS | {leave_out}
    texts = [
        file.read_text(encoding="utf-8", errors="replace")
        for file in folder.rglob("*")
        if file.suffix in SOURCES
        and file.is_file()
        and not unwanted & {part.lower() for part in file.relative_to(folder).parts}
    ]
    # Some write the parts of a path apart, and many keep "/cgi-bin/" with the host: the rest is enough.
    everything = "\n".join(texts).replace('", "', "/")
    return sum(path.removeprefix("/cgi-bin").lstrip("/") in everything for path in endpoint_paths())


# ---- what is asked of every SDK


def refuse_all_tokens(simulator: Simulator) -> None:
    """Let every call of a user's details be refused as one with a dead token."""
    simulator.fault("errcode", "/cgi-bin/user/info", errcode=40001)


def traffic(simulator: Simulator) -> tuple[int, int]:
    """Return the calls of a user's details, and the token requests so far."""
    return simulator.calls("/cgi-bin/user/info"), simulator.token_requests


def signed_query(seconds_ago: float) -> dict[str, str]:
    """Return the query of a push, signed with the right Token."""
    stamp, nonce = str(int(time.time() - seconds_ago)), "1234567890"
    digest = hashlib.sha1("".join(sorted([TOKEN, stamp, nonce])).encode()).hexdigest()
    return {"timestamp": stamp, "nonce": nonce, "signature": digest}


def text_push() -> bytes:
    """Return a text message as the platform pushes it."""
    return (
        f"<xml><ToUserName>gh_0</ToUserName><FromUserName>{OPENID}</FromUserName><CreateTime>{int(time.time())}"
        "</CreateTime><MsgType>text</MsgType><Content>hello</Content><MsgId>7000001</MsgId></xml>"
    ).encode()


def write_to(simulator: Simulator, runs: Callable[[], int]) -> tuple[int, bool]:
    """Let a user write to a slow handler; return how often it ran, and whether she had an answer."""
    alice = simulator.phone()
    alice.follow()
    simulator.wait_until_settled()
    before, seen = runs(), len(alice.replies)
    alice.say("slow")
    simulator.wait_until_settled(PATIENCE)
    time.sleep(SLOW + 1)  # an answer that comes after the last connection was given up
    return runs() - before, len(alice.replies) > seen


# ---- one SDK after the other


class LogLines(logging.Handler):
    """Keeps every line of the log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(record.getMessage())


def observe_ours() -> Findings:
    """Observe wxmp."""
    from wxmp import Client, WxmpError
    from wxmp.webhook import TextMessage, Webhook

    handled: list[str] = []

    async def call(simulator: Simulator, log: LogLines) -> tuple[int, int, int]:
        async with Client(simulator.account.appid, simulator.account.secret, base_url=simulator.url) as client:
            openid = (await client.user.list()).openids[0]
            await client.user.get(openid)
            token = await client.token()
            leaks = sum(simulator.account.secret in line or token in line for line in log.lines)
            refuse_all_tokens(simulator)
            before = traffic(simulator)
            with contextlib.suppress(WxmpError):
                await client.user.get(openid)
            after = traffic(simulator)
            return after[0] - before[0], after[1] - before[1], leaks

    log = LogLines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        with Simulator(seed=1, followers=1) as simulator:
            calls, token_requests, leaks = asyncio.run(call(simulator, log))
    finally:
        root.removeHandler(log)
        root.setLevel(level)

    def make_hook() -> Webhook:
        hook = Webhook(token=TOKEN, appid=simulator.account.appid, mode="plain")

        @hook.on(TextMessage)
        async def echo(message: TextMessage) -> str:
            handled.append(message.content)
            if message.content == "slow":
                await asyncio.sleep(SLOW)
            return "here you are"

        return hook

    async def push() -> None:
        transport = httpx.ASGITransport(app=make_hook().asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            await http.post("/", params=signed_query(3600), content=text_push())

    asyncio.run(push())
    replay = bool(handled)
    with Simulator(seed=2) as simulator, serving(make_hook().asgi()) as address:
        simulator.set_callback(address, token=TOKEN, mode="plain")
        runs, answered = write_to(simulator, lambda: len(handled))
    return Findings(
        name="wxmp",
        version=version("wxmp-sdk"),
        endpoints=named_paths(ROOT / "wxmp", leave_out="simulator"),
        calls=calls,
        token_requests=token_requests,
        leaks=leaks,
        replay=replay,
        runs=runs,
        answered=answered,
    )


@contextlib.contextmanager
def serving(app: object) -> Iterator[str]:
    """Serve an ASGI application in a thread, as uvicorn does."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)


def observe_peer(which: str, path: tuple[Path, ...] = ()) -> Findings:
    """Observe wechatpy or WeRoBot, unmodified."""
    with ExitStack() as stack:
        simulator = stack.enter_context(Simulator(seed=1))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = stack.enter_context(Gateway(simulator.url, Authority(folder)))
        arguments = (which, simulator.account.appid, simulator.account.secret, TOKEN, str(SLOW))
        try:
            peer = Peer(str(PEER), *arguments, environment=gateway.environment, path=(PEERS, *path), patience=120)
        except RuntimeError as error:
            raise NotInstalledError(str(error)) from None
        stack.callback(peer.close)
        alice = simulator.phone()
        alice.follow()
        assert peer("call", alice.openid) == ""
        leaks = peer("leaks")
        refuse_all_tokens(simulator)
        before = traffic(simulator)
        peer("call", alice.openid)
        after = traffic(simulator)
        replay: bool | None = None
        runs: int | None = None
        answered: bool | None = None
        if which == "werobot":
            address = peer("serve")
            httpx.post(address, params=signed_query(3600), content=text_push(), timeout=20)
            replay = bool(peer("runs"))
            simulator.set_callback(address, token=TOKEN, mode="plain")
            runs, answered = write_to(simulator, lambda: int(peer("runs")))
        else:
            query = signed_query(3600)
            replay = peer("accepts", query["timestamp"], query["nonce"], query["signature"])
        return Findings(
            name={"werobot": "WeRoBot"}.get(which, which),
            version=peer("version"),
            endpoints=named_paths(Path(peer("home"))),
            calls=after[0] - before[0],
            token_requests=after[1] - before[1],
            leaks=leaks,
            replay=replay,
            runs=runs,
            answered=answered,
        )


def table(found: Sequence[Findings]) -> str:
    """Return the findings as a table, an SDK in each column."""
    total = len(endpoint_paths())
    columns = [each.cells(total) for each in found]
    lines = [["", *(f"{each.name} {each.version}" for each in found)], ["---"] * (len(found) + 1)]
    lines += [[label, *(column[at] for column in columns)] for at, label in enumerate(LABELS)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["paths"], help="only count endpoints in folders")
    parser.add_argument("folders", nargs="*", metavar="NAME=FOLDER")
    given = parser.parse_args()
    total = len(endpoint_paths())
    if given.what == "paths":
        for item in given.folders:
            name, _, folder = item.partition("=")
            print(f"{name}: {named_paths(Path(folder))} of {total}")
        return 0
    try:
        found = [
            observe_ours(),
            observe_peer("wechatpy"),
            observe_peer("wechatpy", (NEXT,)),
            observe_peer("werobot"),
        ]
    except NotInstalledError as missing:
        print(f"comparison: {missing}", file=sys.stderr)
        return NOT_INSTALLED
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = {"name": "comparison", **circumstances(), "found": [attrs.asdict(each) for each in found]}
    (RESULTS / "comparison.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
