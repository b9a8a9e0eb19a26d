"""``wxmp send`` as a real process against the simulator: who gets what, how it is told, and how it is interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from wxmp import Client
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

COMMAND = [sys.executable, "-W", "error", "-m", "wxmp", "send", "template"]
SEND = "/cgi-bin/message/template/send"
FOLLOWERS = 30


@attrs.define
class Shop:
    """An account with followers and a template, and a folder to work in."""

    sim: Simulator
    folder: Path
    template_id: str

    @property
    def environment(self) -> dict[str, str]:
        account = self.sim.account
        own = {"WXMP_APPID": account.appid, "WXMP_SECRET": account.secret, "WXMP_ENDPOINT": self.sim.url}
        return {**os.environ, **own, "WXMP_TOKEN_STORE": "memory:", "PYTHONPATH": os.pathsep.join(sys.path)}

    def command(self, *arguments: str, journal: bool = True) -> list[str]:
        extra = ["--journal", "sent.db"] if journal else []
        return [*COMMAND, "autumn", "--template-id", self.template_id, *extra, *arguments]

    def run(self, *arguments: str, journal: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, journal=journal),
            capture_output=True,
            text=True,
            timeout=100,
            env=self.environment | environment,
            cwd=self.folder,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.folder,
        )

    def write(self, name: str, text: str, encoding: str = "utf-8") -> str:
        (self.folder / name).write_text(text, encoding=encoding)
        return name

    @property
    def openids(self) -> list[str]:
        return list(self.sim.account.users)

    @property
    def sent(self) -> dict[str, list[Any]]:
        """What each user got, in the platform's own ledger."""
        found: dict[str, list[Any]] = {}
        for message in self.sim.account.sent:
            found.setdefault(message.openid, []).append(message.payload)
        return found

    def texts(self, name: str = "thing1") -> dict[str, list[str]]:
        return {openid: [message["data"][name]["value"] for message in got] for openid, got in self.sent.items()}

    def call(self, act: Callable[[Client], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with Client(self.sim.account.appid, self.sim.account.secret, base_url=self.sim.url) as client:
                return await act(client)

        return asyncio.run(main())


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Simulator(seed=1, followers=FOLLOWERS) as sim:
        yield Shop(sim, tmp_path, sim.world.add_template("发货", "{{thing1.DATA}}{{name2.DATA}}"))


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


# ---- to whom


def test_to_all_and_once_more(shop: Shop) -> None:
    """Every follower gets it; the same run started again sends to nobody and says so."""
    done = shop.run("--to", "all", "--value", "thing1=你好", "--value", "name2=张三")
    assert (done.returncode, done.stdout.splitlines()[1].split()) == (0, ["accepted", "30"])
    assert shop.texts() == {openid: ["你好"] for openid in shop.openids}
    again = shop.run("--to", "all", "--value", "thing1=你好", "--value", "name2=张三")
    assert (again.returncode, again.stdout.splitlines()[1].split()) == (0, ["earlier", "30"])
    assert all(len(got) == 1 for got in shop.sent.values())
    assert len(shop.sent) == FOLLOWERS


@pytest.mark.parametrize("by", ["name", "id"])
def test_to_a_tag_with_a_table(shop: Shop, by: str) -> None:
    """The members of a tag get what their rows say; a member without a row is left out, a row without a member too."""
    members = shop.openids[:4]

    async def prepare(client: Client) -> int:
        tag = await client.tag.create("vip")
        await client.tag.add_members(tag.tag_id, openids=members)
        return tag.tag_id

    tag_id = shop.call(prepare)
    rows = "".join(f"{openid},第{number}份,张三\n" for number, openid in enumerate([*members[:3], shop.openids[9]]))
    shop.write("rows.csv", f"openid,thing1,name2\n{rows}")
    done = shop.run("--to", f"tag:{'vip' if by == 'name' else tag_id}", "--data", "rows.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"accepted": 3, "skipped": 1}
    assert shop.texts() == {openid: [f"第{number}份"] for number, openid in enumerate(members[:3])}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_to_the_rows_of_a_table(shop: Shop, encoding: str) -> None:
    """Without --to the rows are the recipients; url may be a column; of repeated openids the first row counts."""
    one, two = shop.openids[:2]
    text = f"openid,thing1,name2,url\n{one},秋季,张三,https://shop.example/1\n{two},冬季,李四,\n{one},再来,张三,\n"
    shop.write("rows.csv", text, encoding)
    done = shop.run("--data", "rows.csv")
    assert done.returncode == 0, done.stderr
    assert shop.texts() == {one: ["秋季"], two: ["冬季"]}
    assert shop.sent[one][0]["url"] == "https://shop.example/1"
    assert not shop.sent[two][0].get("url")


def test_places_in_texts(shop: Shop) -> None:
    """With a table {column} is a cell, in keywords as it is and in the address as an address wants it."""
    one = shop.openids[0]
    shop.write("rows.csv", f"openid,order,who\n{one},A&1/2,王五\n")
    values = ("--value", "thing1=订单 {order}", "--value", "name2={who}")
    done = shop.run("--data", "rows.csv", *values, "--url", "https://shop.example/?order={order}")
    assert done.returncode == 0, done.stderr
    assert shop.texts() == {one: ["订单 A&1/2"]}
    assert shop.sent[one][0]["url"] == "https://shop.example/?order=A%261%2F2"


def test_to_a_file_of_openids(shop: Shop) -> None:
    """One openid in a line; empty lines and comments are passed over. Without a table braces are only text."""
    one, two = shop.openids[:2]
    shop.write("openids.txt", f"# the pilot\n{one}\n\n  {two}  \n")
    done = shop.run("--to", "openids.txt", "--value", "thing1={x}", "--value", "name2=a")
    assert done.returncode == 0, done.stderr
    assert shop.texts() == {one: ["{x}"], two: ["{x}"]}


def test_dry_run(shop: Shop) -> None:
    """A dry run reads, builds and counts: no message, no token, no file."""
    shop.write("rows.csv", "openid,thing1,name2\n" + "".join(f"{openid},a,b\n" for openid in shop.openids))
    for journal in (True, False):
        done = shop.run("--data", "rows.csv", "--dry-run", journal=journal)
        assert done.returncode == 0, done.stderr
        assert "nothing was sent" in done.stdout
        assert done.stdout.splitlines()[1].split() == ["planned", "30"]
    assert shop.sent == {}
    assert shop.sim.token_requests == 0
    assert [path.name for path in shop.folder.iterdir()] == ["rows.csv"]


# ---- how it is told


def test_json(shop: Shop) -> None:
    """--json is one line: what was done now, what the journal knows in all, who was refused and why."""
    openids = [*shop.openids[:2], "o-nobody-of-ours-000000000000"]
    shop.write("openids.txt", "\n".join(openids))
    values = ("--value", "thing1=a", "--value", "name2=b", "--json")
    done = shop.run("--to", "openids.txt", *values)
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert (told["name"], told["status"], told["dry_run"], told["seen"]) == ("autumn", "complete", False, 3)
    assert told["outcomes"] == told["total"] == {"accepted": 2, "refused": 1}
    assert sum(told["refusals"].values()) == 1
    assert told["error"] is None
    again = json.loads(shop.run("--to", "openids.txt", *values).stdout)
    assert (again["outcomes"], again["earlier"], again["total"]) == ({}, 3, told["total"])


def test_refusals_are_told(shop: Shop) -> None:
    """Who was refused is counted by the platform's code, and the exit code says that not all were reached."""
    shop.write("openids.txt", f"{shop.openids[0]}\no-nobody-of-ours-000000000000\n")
    done = shop.run("--to", "openids.txt", "--value", "thing1=a", "--value", "name2=b")
    assert done.returncode == 3
    assert re.search(r"refused with 4\d{4}: 1 \(", done.stdout)


def test_a_pipe_gets_plain_lines(shop: Shop) -> None:
    """Without a terminal the progress is lines of text, on standard error only."""
    done = shop.run("--to", "all", "--value", "thing1=a", "--value", "name2=b")
    assert re.search(r"^autumn: 30 seen, 30 accepted, 0 earlier, \d+/s$", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="pseudo-terminals are those of POSIX")
def test_a_terminal_gets_a_bar(shop: Shop) -> None:
    """On a terminal a bar moves and is gone at the end; the summary stands on standard output."""
    terminal, inner = os.openpty()
    shown = bytearray()

    def read() -> None:
        with suppress(OSError):
            while block := os.read(terminal, 4096):
                shown.extend(block)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with subprocess.Popen(
        shop.command("--to", "all", "--value", "thing1=a", "--value", "name2=b", "--per-second", "30"),
        stdout=subprocess.PIPE,
        stderr=inner,
        env=shop.environment | {"TERM": "xterm-256color", "COLUMNS": "100"},
        cwd=shop.folder,
    ) as process:
        os.close(inner)
        output, _ = process.communicate(timeout=100)
    reader.join(10)
    os.close(terminal)
    assert process.returncode == 0
    assert "autumn" in shown.decode()
    assert "\x1b[" in shown.decode()
    assert output.decode().splitlines()[1].split() == ["accepted", "30"]


def test_no_secret_is_shown(shop: Shop) -> None:
    """The AppSecret and the token are in no command line and in nothing that is printed."""
    shop.sim.fault("latency", SEND, seconds=1.0)
    with shop.start("--to", "all", "--value", "thing1=a", "--value", "name2=b", "--concurrency", "2") as process:
        wait_for(lambda: shop.sent)
        ps = ["ps", "-ww", "-o", "args=", "-p", str(process.pid)]
        listed = subprocess.run(ps, capture_output=True, text=True, timeout=60, check=True).stdout
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=60)
    assert "wxmp send template" in listed
    token = shop.call(lambda client: client.token())
    for secret in (shop.sim.account.secret, token):
        assert secret not in listed + output + log


# ---- how it is interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_continued(shop: Shop, number: int) -> None:
    """A signal finishes what is on its way; started again it goes on, and everybody gets one message."""
    arguments = ("--to", "all", "--value", "thing1=a", "--value", "name2=b", "--json")
    with shop.start(*arguments, "--per-second", "3", "--concurrency", "2") as process:
        wait_for(lambda: len(shop.sent) >= 3)
        process.send_signal(number)
        output, log = process.communicate(timeout=60)
    told = json.loads(output)
    assert process.returncode == 128 + number
    assert told["status"] == "cancelled"
    assert "Traceback" not in log
    before = len(shop.sent)
    assert 3 <= before < FOLLOWERS
    assert told["total"] == {"accepted": before}
    done = shop.run(*arguments)
    assert done.returncode == 0
    assert json.loads(done.stdout)["total"] == {"accepted": FOLLOWERS}
    assert {len(got) for got in shop.sent.values()} == {1}
    assert len(shop.sent) == FOLLOWERS


def test_a_second_signal_ends_at_once(shop: Shop) -> None:
    """Who presses twice does not wait for slow answers; nobody is lost and nobody gets two."""
    slow = shop.sim.fault("latency", SEND, seconds=40.0)
    arguments = ("--to", "all", "--value", "thing1=a", "--value", "name2=b")
    with shop.start(*arguments) as process:
        wait_for(lambda: shop.sim.calls(SEND) or slow.hits)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "once more ends at once" in process.stderr.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=60)
        assert time.monotonic() - began < 15
    assert process.returncode == 130
    assert "Traceback" not in log
    shop.sim.clear_faults()
    done = shop.run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(shop.sent) == sorted(shop.openids)
    assert {len(got) for got in shop.sent.values()} == {1}


def test_interrupted_before_it_begins(shop: Shop) -> None:
    """A signal while the tags are looked up ends it too, with nothing sent and no journal to explain."""
    shop.sim.fault("latency", "/cgi-bin/tags/get", seconds=40.0)
    with shop.start("--to", "tag:vip", "--value", "thing1=a", "--value", "name2=b") as process:
        wait_for(lambda: shop.sim.calls("/cgi-bin/tags/get"))
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=60)
        assert time.monotonic() - began < 15
    assert process.returncode == 130
    assert "Traceback" not in log
    assert shop.sent == {}


def test_the_limit_of_the_day(shop: Shop) -> None:
    """When the messages of the day are used up it stops with code 1, and goes on another time."""
    shop.sim.fault("errcode", SEND, errcode=45009)
    arguments = ("--to", "all", "--value", "thing1=a", "--value", "name2=b")
    done = shop.run(*arguments, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["status"], told["error"]["type"], told["error"]["errcode"]) == ("stopped", "RateLimitError", 45009)
    shop.sim.clear_faults()
    assert shop.run(*arguments, "--per-day", "10").returncode == 1
    assert len(shop.sent) == 10
    done = shop.run(*arguments, "--per-day", "1000")
    assert done.returncode == 0
    assert {len(got) for got in shop.sent.values()} == {1}
    assert len(shop.sent) == FOLLOWERS


def test_no_connection(shop: Shop) -> None:
    """A platform that is not there is one sentence and code 1."""
    done = shop.run("--to", "all", "--value", "thing1=a", "--value", "name2=b", WXMP_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1]


# ---- mistakes

VALUES = ("--value", "thing1=a", "--value", "name2=b")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (VALUES, "to: name the recipients: all, tag:NAME"),
        (("--to", "all"), "data: the message has no keywords"),
        (("--to", "all", "--value", "thing1"), "write KEY=TEXT"),
        (("--to", "all", "--value", "a=1", "--value", "a=2"), "a is there twice"),
        (("--to", "none.txt", *VALUES), "none.txt is none of all, tag:NAME"),
        (("--to", "tag:", *VALUES), "write tag:NAME or tag:ID"),
        (("--to", "tag:none", *VALUES), "the account has no tag 'none'; it has"),
        (("--data", "none.csv"), "none.csv is not a file"),
        (("--data", "empty.csv"), "empty.csv is empty"),
        (("--data", "head.csv"), "the table has no rows"),
        (("--data", "short.csv"), "short.csv, line 3 has 2 cells, the header has 3"),
        (("--data", "good.csv", "--value", "a={b}"), "value: {b} is no column of the table: openid, thing1, name2"),
        (("--data", "good.csv", "--url", "https://x/{b}"), "url: {b} is no column"),
        (("--to", "two.txt", *VALUES), "line 2 of two.txt is more than one openid"),
        (("--to", "all", *VALUES, "--per-second", "0"), "per_second must be"),
        (("--to", "all", *VALUES, "--concurrency", "1000"), "concurrency must be 1 to 100"),
        (("--data", "good.csv", "--encoding", "klingon"), "encoding: there is none that is called klingon"),
    ],
)
def test_mistakes(shop: Shop, arguments: tuple[str, ...], words: str) -> None:
    """What cannot work is told with its remedy, with code 2, and nothing is sent beyond what was right before it."""
    shop.write("empty.csv", "")
    shop.write("head.csv", "openid,thing1,name2\n")
    shop.write("good.csv", f"openid,thing1,name2\n{shop.openids[0]},a,b\n")
    shop.write("short.csv", f"openid,thing1,name2\n{shop.openids[0]},a,b\n{shop.openids[1]},a\n")
    shop.write("two.txt", "o1\no2,o3\n")
    done = shop.run(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(shop.sent) <= 1


def test_a_journal_is_needed(shop: Shop) -> None:
    """Whoever sends must say where it is written down."""
    done = shop.run("--to", "all", *VALUES, journal=False)
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "journal")


def test_a_journal_that_cannot_be(shop: Shop) -> None:
    """A folder that is not there is one sentence, and nothing is sent."""
    done = shop.run("--to", "all", *VALUES, "--journal", "no/such/folder/sent.db", journal=False)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "journal" in done.stderr or "sent.db" in done.stderr
    assert shop.sent == {}


def test_a_name_belongs_to_one_template(shop: Shop) -> None:
    """Another template under the same name is refused, and nothing is sent."""
    assert shop.run("--to", "all", *VALUES).returncode == 0
    other = attrs.evolve(shop, template_id=shop.sim.world.add_template("别的", "{{thing1.DATA}}{{name2.DATA}}"))
    done = other.run("--to", "all", *VALUES)
    assert done.returncode == 2
    assert "autumn" in done.stderr
    assert {len(got) for got in shop.sent.values()} == {1}


def test_the_environment_is_needed(shop: Shop) -> None:
    """Without an account it says which variable is missing."""
    done = shop.run("--to", "all", *VALUES, WXMP_SECRET="")
    assert done.returncode == 2
    assert "WXMP_SECRET" in done.stderr
    assert done.stderr.count("\n") == 1
