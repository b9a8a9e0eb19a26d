"""Every code block of README and docs runs, against the simulator; both languages have the same ones; links lead on."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
import unicodedata
from collections import Counter
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import attrs
import httpx
import pytest
import yaml
from cyclopts import CycloptsError

from tests.peers.conftest import ENVIRONMENT, NEXT
from tests.peers.gateway import Authority, Gateway
from wxmp.cli._sim_exec import pay_environment
from wxmp.cli.app import app
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHINESE = DOCS / "zh"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md"), *ROOT.glob("benchmarks/*.md")])
#: Made of the docstrings, which are in English; all but the page that leads there.
REFERENCE = re.compile(r"reference/(?!index\.md)")
#: Their tests are run as suites by tests/test_pytest_plugin.py.
SUITES_ELSEWHERE = ("README.md", "README.zh-CN.md", "docs/pytest-plugin.md", "docs/pay.md")
LANGUAGES = {"python", "sh", "text", "json", "toml", "yaml", "xml", "html"}
#: Seconds for one program.
PATIENCE = 100.0
#: What most programs import. Each starts as a copy of a process that has done so.
PRELOADED = (
    "asyncio",
    "pytest",
    "pytest_asyncio",
    "fastapi",
    "uvicorn",
    "wxmp._transport",
    "wxmp._wx_sim",
    "wxmp.client",
    "wxmp.integrations.fastapi",
    "wxmp.pay",
    "wxmp.simulator.server",
    "wxmp.webhook.app",
)
PRELOADED_PEERS = ("requests", "xmltodict", "cryptography.hazmat.primitives.ciphers", "xml.etree.ElementTree")

#: In a list a fence is indented.
_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
_PEER = re.compile(r"^(?:from|import) (wechatpy|werobot)\b", re.MULTILINE)
_OWN = re.compile(r"^(?:from|import) wxmp\b", re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)\n")


@attrs.frozen
class Block:
    """A fenced code block."""

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file it stands for, from a first line like ``# bot.py``."""
        found = _FILE.match(self.code)
        return found.group(1) if found else None

    @property
    def peer(self) -> str | None:
        """The other SDK that it is written for."""
        found = _PEER.search(self.code)
        return found.group(1) if found else None


@cache
def blocks_of(page: Path) -> tuple[Block, ...]:
    if not page.exists():
        return ()
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    return tuple(
        Block(name, text.count("\n", 0, found.start()) + 1, found.group(2), textwrap.dedent(found.group(3)))
        for found in _FENCE.finditer(text)
        if not found.group(2).startswith("{")  # a directive of the site
    )


ALL = [block for page in PAGES for block in blocks_of(page)]
#: A page of docs/zh has the blocks of the English one, letter by letter: they run once.
BLOCKS = [block for block in ALL if not block.page.startswith("docs/zh/")]
PYTHON = [block for block in BLOCKS if block.language == "python"]


class Forker:
    """Runs programs in copies of one interpreter, which has imported what they need."""

    def __init__(self, python: str | Path, *preloaded: str, warnings: str) -> None:
        # What the process itself is started with; a program gets an environment of its own. Coverage does not watch:
        # what a page shows is no test of a line.
        mine = ("WXMP_", "COVERAGE_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": warnings}
        self._python, self._environment = python, environment
        self._process: subprocess.Popen[str] | None = None
        if hasattr(os, "fork"):
            self._process = subprocess.Popen(
                [python, str(ROOT / "tests" / "forker.py"), *preloaded],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )

    def __enter__(self) -> Self:
        try:
            assert self._process is None or self._read() == "ready"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate(timeout=60)

    def _read(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that starts the programs has died"
        return json.loads(line)

    def run(self, program: Path, environment: dict[str, str], path: tuple[Path, ...] = (), *, suite: bool) -> None:
        """Run a program in its folder, in a process of its own; it must end, and end well."""
        order = {
            "program": str(program),
            "folder": str(program.parent),
            "environment": {**self._environment, **environment},
            "path": [str(folder) for folder in path],
            "seconds": PATIENCE,
            "suite": suite,
        }
        if self._process is None:  # a system that cannot fork: the same, from the beginning each time
            call = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests import forker; forker.run({order!r})"
            done = subprocess.run(
                [self._python, "-c", call], env=self._environment, timeout=PATIENCE, capture_output=True, check=False
            )
            answer = {"code": done.returncode, "output": (done.stdout + done.stderr).decode(errors="replace")}
        else:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer = self._read()
        assert answer["code"] == 0, f"exit code {answer['code']}\n{answer['output']}"


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with Forker(sys.executable, *PRELOADED, warnings="error") as running:
        yield running


@pytest.fixture(scope="module")
def peers_python() -> Path:
    python = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / "python"
    assert python.exists(), "no environment for the peers: run 'make test' or 'make .venv/.peers', or set WXMP_PEERS"
    return python


@pytest.fixture(scope="module")
def peers_forker(peers_python: Path) -> Iterator[Forker]:
    with Forker(peers_python, *PRELOADED_PEERS, warnings="ignore") as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as running:
        yield running


def variables(simulator: Simulator) -> dict[str, str]:
    return {
        "WXMP_APPID": simulator.account.appid,
        "WXMP_SECRET": simulator.account.secret,
        "WXMP_ENDPOINT": simulator.url,
        "WXMP_TOKEN_STORE": "memory:",
        "WXMP_CALLBACK_TOKEN": "devSampleToken",
        "WXMP_ENCODING_AES_KEY": "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM",
    }


def write(block: Block, folder: Path) -> Path:
    """Write a program, and what the blocks before it on its page have called a file, into its folder."""
    for before in blocks_of(ROOT / block.page):
        if before.file is not None and before.line < block.line:
            (folder / before.file).write_text(before.code, encoding="utf-8")
    program = folder / (block.file or "block.py")
    program.write_text(block.code, encoding="utf-8")
    return program


def is_suite(block: Block) -> bool:
    """Tell whether a block holds tests with fixtures."""
    functions = [
        node for node in ast.parse(block.code).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return any(one.name.startswith("test_") and one.args.args for one in functions)


@pytest.mark.parametrize("block", [block for block in PYTHON if block.peer is None], ids=str)
def test_python_blocks_run(block: Block, forker: Forker, simulator: Simulator, tmp_path: Path) -> None:
    """A Python block runs as a program or as a suite of tests, in a process and folder of its own."""
    program = write(block, tmp_path)
    suite = is_suite(block) and block.page not in SUITES_ELSEWHERE
    if not suite:
        tail = f"""

import {asyncio.__name__}, {inspect.__name__}
for name, value in list(globals().items()):
    if name.startswith("test_") and inspect.iscoroutinefunction(value) and not inspect.signature(value).parameters:
        asyncio.run(value())
"""
        program.write_text(block.code + tail, encoding="utf-8")
    environment = variables(simulator)
    if "wxmp.pay" in block.code:
        environment |= pay_environment(simulator.world.default_merchant(), simulator.url, tmp_path)
        environment["WXMP_PAY_NOTIFY_URL"] = "https://shop.example.com/pay"
    forker.run(program, environment, suite=suite)


OLD = [block for block in PYTHON if block.peer is not None]
#: What is written for wechatpy runs with both of its versions.
OLD_RUNS = [
    (block, version) for block in OLD for version in (("1.8", "2.0") if block.peer == "wechatpy" else ("1.13",))
]


@pytest.mark.parametrize(("block", "version"), OLD_RUNS, ids=str)
def test_blocks_of_other_sdks_run(
    block: Block, version: str, peers_forker: Forker, simulator: Simulator, authority: Authority, tmp_path: Path
) -> None:
    """What a page shows of wechatpy and WeRoBot runs with them, under the platform's real addresses."""
    assert not _OWN.search(block.code), "one SDK in one block"
    program = write(block, tmp_path)
    path = (NEXT,) if version == "2.0" else ()
    with Gateway(simulator.url, authority) as gateway:
        peers_forker.run(program, variables(simulator) | gateway.environment, path, suite=False)
        assert gateway.refused == []


# --- other languages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=str)
def test_shell_blocks_name_what_exists(block: Block, simulator: Simulator) -> None:
    """A shell block uses make targets, extras, commands and options that exist, and URLs that answer."""
    known = 0
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        check = CHECKS.get(words[0]) if words else None
        if check is not None:
            check(words[1:], simulator)
            known += 1
    assert known, f"{block} holds no command that this test knows"


def check_make(words: list[str], _: Simulator) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        assert "=" in word or re.search(rf"^{re.escape(word)}:", text, re.MULTILINE), word


def check_pip(words: list[str], _: Simulator) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'name = "wxmp-sdk"' in project
    assert words[0] == "install"
    for extra in re.findall(r"[\w-]+", "".join(re.findall(r"wxmp-sdk\[([^]]*)]", " ".join(words)))):
        assert f"\n{extra} = [" in project


def check_wxmp(words: list[str], _: Simulator) -> None:
    end = next((at for at, word in enumerate(words) if word in ("|", "&", "&&", ">", ">>", ";")), len(words))
    # Raises for a command, an option or a value that it does not know. Nothing is run.
    app.parse_args(words[:end], exit_on_error=False, print_error=False)


_COMMAND = re.compile(r"`(wxmp [a-z][^`\n]*)`")
#: Said in passing, a command may lack what it needs; what is named must be there.
_UNKNOWN = ("UnknownCommandError", "UnknownOptionError", "UnusedCliTokensError")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_sentences_exist(page: Path, simulator: Simulator) -> None:
    """A command that a sentence names exists, with the options it is shown with."""
    if page.name == "CHANGELOG.md":  # it tells of the past
        return
    unknown: list[str] = []
    for command in _COMMAND.findall(bare_text(page)):
        words = [word for word in shlex.split(command) if "…" not in word]
        try:
            check_wxmp(words[1:], simulator)
        except CycloptsError as error:
            if type(error).__name__ in _UNKNOWN:
                unknown.append(f"{command}: {error}")
    assert not unknown


def check_uvicorn(words: list[str], _: Simulator) -> None:
    import uvicorn

    # Raises for an option that it does not know.
    uvicorn.main.make_context("uvicorn", list(words))


def check_curl(words: list[str], simulator: Simulator) -> None:
    """Send what a ``curl`` line sends, to a running simulator; it must be understood there."""
    data = words[words.index("-d") + 1] if "-d" in words else None
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    address = next(word for word in words if "://" in word)
    if not address.startswith("http://127.0.0.1:8765/"):
        return  # another program's; the page has no simulator there
    target = address.replace("http://127.0.0.1:8765", simulator.url)
    answer = httpx.request("GET" if data is None else "POST", target, content=data, headers=headers, timeout=20)
    if "/_sim/" in target:
        assert answer.status_code == 200, answer.text
    elif "X-Sim-Fault" in headers:
        assert simulator.journal[-1].fault, answer.text


CHECKS: dict[str, Callable[[list[str], Simulator], None]] = {
    "make": check_make,
    "pip": check_pip,
    "wxmp": check_wxmp,
    "curl": check_curl,
    "uvicorn": check_uvicorn,
}

PARSERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "xml": ET.fromstring,
}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in PARSERS], ids=str)
def test_data_blocks_can_be_read(block: Block) -> None:
    """A block of JSON, TOML, YAML or XML is a whole document of its language."""
    PARSERS[block.language](block.code)


def test_every_block_has_a_language_that_is_tested() -> None:
    """No block escapes: every fence is paired, and names a language that is run, read, or said to be mere text."""
    assert {block.language for block in ALL} <= LANGUAGES
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(_FENCE.findall(text)), page
    assert len(PYTHON) >= 10


def columns(line: str) -> int:
    """Return how wide a line is: a Chinese character is as wide as two letters."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in line)


def test_every_program_is_formatted() -> None:
    """Python blocks are formatted as a user would have them, and on the site nobody has to scroll them sideways."""
    # `ruff format` reads the blocks of Markdown; what it leaves alone, comments and texts, only their width tells.
    for block in PYTHON:
        ast.parse(block.code)
        most = 90 if block.page.startswith("docs/") else 120
        for number, line in enumerate(block.code.splitlines(), 1):
            assert columns(line) <= most, f"{block}: line {number} is too long"


# --- two languages ------------------------------------------------------------------------------------------------


def test_code_is_on_the_first_screen() -> None:
    """The first program of the README begins within its first 20 lines and ends within its first 40."""
    first = next(block for block in BLOCKS if block.page == "README.md" and block.language == "python")
    assert first.line <= 20
    assert first.line + first.code.count("\n") <= 40


def test_both_readmes_say_the_same() -> None:
    """The Chinese README has the same sections and the same programs as the English one."""
    english = [block for block in BLOCKS if block.page == "README.md"]
    chinese = [block for block in BLOCKS if block.page == "README.zh-CN.md"]
    assert [block.language for block in english] == [block.language for block in chinese]

    def bare(code: str) -> str:
        return re.sub(r'#.*|"[^"]*"', "", code)

    assert [bare(block.code) for block in english if block.language == "python"] == [
        bare(block.code) for block in chinese if block.language == "python"
    ]


def names_below(folder: Path) -> set[str]:
    return {page.relative_to(folder).as_posix() for page in folder.glob("**/*.md")}


ENGLISH_NAMES = {name for name in names_below(DOCS) if not name.startswith("zh/")}


@pytest.mark.parametrize("name", sorted(name for name in ENGLISH_NAMES if not REFERENCE.match(name)))
def test_page_is_there_in_chinese(name: str) -> None:
    """The Chinese page has the sections of the English one, and its very blocks, comments included."""
    page = CHINESE / name
    assert page.exists(), f"docs/zh/{name} is missing"
    english, chinese = blocks_of(DOCS / name), blocks_of(page)
    assert [(block.language, block.code) for block in chinese] == [(block.language, block.code) for block in english]
    assert levels(page) == levels(DOCS / name)


def test_no_chinese_page_is_alone() -> None:
    """A page that exists in Chinese exists in English under the same name."""
    assert names_below(CHINESE) <= ENGLISH_NAMES


def bare_text(page: Path) -> str:
    """Return a page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def headings(page: Path) -> list[tuple[int, str]]:
    return [(len(marks), title) for marks, title in re.findall(r"^(#{1,6}) (.+)$", bare_text(page), re.MULTILINE)]


def levels(page: Path) -> list[int]:
    return [level for level, _ in headings(page)]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page, made of its headings as GitHub makes them."""
    found: list[str] = []
    seen: Counter[str] = Counter()
    for _, title in headings(page):
        shown = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", title).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that exists, and its anchor a heading of that page."""
    dead: list[str] = []
    for target, anchor in _LINK.findall(re.sub(r"`[^`\n]*`", "", bare_text(page))):
        if "://" in target or target.startswith("mailto:"):
            continue
        there = page.parent / target if target else page
        if not there.exists() or (anchor and there.suffix == ".md" and unquote(anchor) not in anchors(there.resolve())):
            dead.append(f"{target}#{anchor}")
    assert not dead


# --- names of other SDKs ------------------------------------------------------------------------------------------

MIGRATING = DOCS / "migrating.md"
_ROW = re.compile(r"^\|(.+)\|$", re.MULTILINE)
#: What a name in the tables of the page begins with, and what that is.
OWN_ROOTS = {
    "Client": "wxmp.Client",
    "client": "wxmp.Client",
    "hook": "wxmp.webhook.Webhook",
    "webhook": "wxmp.webhook",
    "push": "wxmp.webhook.Push",
}
OLD_ROOTS = {
    "wechatpy": {"client": "wechatpy.WeChatClient", "oauth": "wechatpy.WeChatOAuth", "message": "wechatpy.messages"},
    "werobot": {"robot": "werobot.WeRoBot", "client": "werobot.client.Client"},
}


def names_in_tables() -> list[tuple[str, str, str]]:
    """Return (SDK, its name, our name) for all that the tables of the page put beside each other."""
    found: list[tuple[str, str, str]] = []
    peer = ""
    for row in _ROW.findall(bare_text(MIGRATING)):
        left, _, right = (cell.strip() for cell in row.partition("|"))
        if left in ("wechatpy", "WeRoBot"):
            peer = left.lower()
        elif left.startswith("-"):
            continue
        elif peer:
            olds, news = re.findall(r"`([^`]+)`", left), re.findall(r"`([^`]+)`", right)
            found += [(peer, old, "") for old in olds] + [(peer, "", new) for new in news]
    return found


def dotted(name: str, roots: dict[str, str]) -> str:
    """Write out a name of a table: without its arguments, and with what its first word stands for."""
    first, dot, rest = re.split(r"[(\[ =]", name, maxsplit=1)[0].partition(".")
    return roots.get(first, first) + dot + rest


LOOK = """
import importlib, json, sys, typing, functools

def look(name):
    words = name.split(".")
    for at in range(len(words), 0, -1):
        try:
            found = importlib.import_module(".".join(words[:at]))
        except ImportError:
            continue
        break
    else:
        raise LookupError(name)
    for word in words[at:]:
        found = getattr(found, word)
        if isinstance(found, (functools.cached_property, property)):
            kind = (getattr(found, "func", None) or found.fget).__annotations__.get("return", "")
            if isinstance(kind, str) and kind.endswith("API"):
                home = "broadcast.api" if word == "broadcast" else f"api.{word}"
                found = getattr(importlib.import_module(f"wxmp.{home}"), kind)
    return found
"""


def test_every_name_of_ours_in_the_tables_exists() -> None:
    """What the page says a name has become, is there."""
    space: dict[str, Any] = {}
    exec(LOOK, space)
    names = sorted({new for _, _, new in names_in_tables() if new})
    assert len(names) >= 50
    missing = []
    for name in names:
        full = dotted(name, OWN_ROOTS)
        try:
            space["look"](full if full.startswith("wxmp") else f"wxmp.{full}")
        except (LookupError, AttributeError):
            missing.append(name)
    assert not missing


@pytest.mark.parametrize("peer", ["wechatpy", "werobot"])
def test_every_name_of_theirs_in_the_tables_exists(
    peer: str, peers_forker: Forker, simulator: Simulator, tmp_path: Path
) -> None:
    """What the page says a name was called, was called that: in wechatpy 1.8, or in 2.0."""
    names = sorted({dotted(old, OLD_ROOTS[peer]) for kind, old, _ in names_in_tables() if old and kind == peer})
    assert len(names) >= 20
    program = tmp_path / "look.py"
    names = [name if name.startswith(peer) else f"{peer}.{name}" for name in names]
    tail = f"""
missing = []
for name in {names!r}:
    try:
        look(name)
    except (LookupError, AttributeError):
        missing.append(name)
json.dump(missing, open("missing.json", "w"))
"""
    program.write_text(LOOK + tail, encoding="utf-8")
    missing = set(names)
    for path in ((), (NEXT,)) if peer == "wechatpy" else ((),):
        peers_forker.run(program, variables(simulator), path, suite=False)
        missing &= set(json.loads((tmp_path / "missing.json").read_text(encoding="utf-8")))
    assert not missing


def test_one_environment_for_all(tmp_path: Path) -> None:
    """A program that fails, fails its test: its exit code, its warnings and its time are seen."""
    with ExitStack() as stack:
        running = stack.enter_context(Forker(sys.executable, warnings="error"))
        program = tmp_path / "block.py"
        for code, words in (
            ("raise SystemExit(3)", "exit code 3"),
            ("import warnings; warnings.warn('old')", "UserWarning: old"),
            ("print(1 / 0)", "ZeroDivisionError"),
            ("import signal; signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()", "exit code -14"),
        ):
            program.write_text(code, encoding="utf-8")
            with pytest.raises(AssertionError, match=words):
                running.run(program, {}, suite=False)
        program.write_text("import os; assert 'WXMP_APPID' not in os.environ", encoding="utf-8")
        running.run(program, {}, suite=False)
