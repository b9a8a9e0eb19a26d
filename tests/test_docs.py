"""Every code block of README and docs runs, against the simulator."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import httpx
import pytest

from wxmp.cli._sim_exec import pay_environment
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@attrs.frozen
class Block:
    """A fenced code block."""

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(str(page.relative_to(ROOT)), line, found.group(1), found.group(2))


BLOCKS = list(blocks())


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as running:
        yield running


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_blocks_run(block: Block, simulator: Simulator, tmp_path: Path) -> None:
    """A Python block runs as a program, in a fresh process and folder; its test functions are run too."""
    program = tmp_path / "block.py"
    tail = f"""

import {asyncio.__name__}, {inspect.__name__}
for name, value in list(globals().items()):
    if name.startswith("test_") and inspect.iscoroutinefunction(value) and not inspect.signature(value).parameters:
        asyncio.run(value())
"""
    program.write_text(block.code + tail, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "WXMP_APPID": simulator.account.appid,
        "WXMP_SECRET": simulator.account.secret,
        "WXMP_ENDPOINT": simulator.url,
        "WXMP_TOKEN_STORE": "memory:",
        "WXMP_CALLBACK_TOKEN": "devSampleToken",
        "WXMP_ENCODING_AES_KEY": "QmFzZTY0S2V5Rm9yRG9jdW1lbnRhdGlvbk9ubHkxMjM",
    }
    if "wxmp.pay" in block.code:
        environment |= pay_environment(simulator.world.default_merchant(), simulator.url, tmp_path)
        environment["WXMP_PAY_NOTIFY_URL"] = "https://shop.example.com/pay"
    done = subprocess.run(
        [sys.executable, str(program)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=str)
def test_shell_blocks_name_what_exists(block: Block, simulator: Simulator) -> None:
    """A shell block uses make targets and extras that exist, commands that answer to --help, and URLs that answer."""
    known = 0
    for line in block.code.splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["make"]:
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True, timeout=60)
            known += 1
        elif words[:2] == ["pip", "install"]:
            extras = re.findall(r"[\w-]+", line.partition("[")[2].partition("]")[0])
            project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
            assert 'name = "wxmp-sdk"' in project
            for extra in extras:
                assert f"\n{extra} = [" in project
            known += 1
        elif words[:1] == ["wxmp"]:
            subprocess.run(
                [sys.executable, "-m", "wxmp", words[1], "--help"],
                check=True,
                capture_output=True,
                timeout=60,
                cwd=ROOT,
            )
            known += 1
        elif words[:1] == ["curl"]:
            curl(line, simulator)
            known += 1
    assert known, f"{block} holds no command that this test knows"


def curl(line: str, simulator: Simulator) -> None:
    """Send what a ``curl`` line of the documentation sends, to a running simulator; it must be understood there."""
    words = shlex.split(line, comments=True)[1:]
    data = words[words.index("-d") + 1] if "-d" in words else None
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    address = next(word for word in words if word.startswith("http://127.0.0.1:8765/"))
    target = address.replace("http://127.0.0.1:8765", simulator.url)
    answer = httpx.request("GET" if data is None else "POST", target, content=data, headers=headers, timeout=20)
    if "/_sim/" in target:
        assert answer.status_code == 200, answer.text
    elif "X-Sim-Fault" in headers:
        assert simulator.journal[-1].fault, answer.text


def test_every_block_has_a_language_that_is_tested() -> None:
    """No block escapes: a block is Python, shell, or a text that nobody runs."""
    assert {block.language for block in BLOCKS} <= {"python", "sh", "text", "json"}
    assert sum(block.language == "python" for block in BLOCKS) >= 10


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that exists."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"
