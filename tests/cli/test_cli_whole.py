"""The command line as a whole: one way to help, to fail, to be completed, and to keep a secret."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from tests.cli.line import COMMAND, PATIENCE, ROOT, Done, Line, Terminal, finish, wait_for
from wxmp.cli._console import DONE, FAILED, FINDINGS, INTERRUPTED, USAGE_ERROR
from wxmp.cli.app import app
from wxmp.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App


@pytest.fixture(scope="module")
def platform() -> Iterator[Simulator]:
    with Simulator(seed=1, followers=3) as sim:
        yield sim


@pytest.fixture
def wxmp(
    platform: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    yield Line(platform, tmp_path, monkeypatch, capsys)
    platform.clear_faults()


def run(*tokens: str, **environment: str) -> Done:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return finish(
        subprocess.Popen([*COMMAND, *tokens], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)
    )


def walk(inner: App, *chain: str) -> Iterator[tuple[tuple[str, ...], App]]:
    """Yield every command with its words."""
    yield chain, inner
    for name in inner:
        if not name.startswith("-"):
            yield from walk(inner[name], *chain, name)


COMMANDS = [chain for chain, _ in walk(app)]


def options(inner: App) -> set[str]:
    if inner.default_command is None:
        return set()
    collection = inner.assemble_argument_collection(parse_docstring=False)
    return {name for argument in collection for name in argument.names if name.startswith("--")}


# ---- help and mistakes


@pytest.mark.parametrize("chain", COMMANDS, ids=" ".join)
def test_help_of_every_command(wxmp: Line, chain: tuple[str, ...]) -> None:
    """It fits into 80 columns, and a command that does something says how it ends."""
    done = wxmp(*chain, "--help")
    assert done.code == 0
    assert max(map(cell_len, done.out.splitlines())) <= 80
    inner = app
    for name in chain:
        inner = inner[name]
    if inner.default_command is not None:
        assert "Exit codes: " in done.out


def test_help_lists_all_commands_with_words(wxmp: Line) -> None:
    """Each has something to say for itself, although none is loaded for it."""
    lines = wxmp("--help").out.splitlines()
    for name in app:
        if not name.startswith("-"):
            assert any(line.startswith(f"│ {name} ") and len(line.split()) > 4 for line in lines), name


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("tokn",), "There is no command 'tokn'. Did you mean token?"),
        (("menu", "psh"), "There is no command 'psh'. Did you mean push?"),
        (("token", "status", "--jsn"), "Unknown option: --jsn. Did you mean --json?"),
        (("menu", "push"), "requires an argument"),
        (("completion", "tcsh"), "tcsh"),
        (("token", "status", "--token-store", "redis://:pw@127.0.0.1/0"), "shows in the process list"),
    ],
)
def test_mistakes_are_one_sentence(wxmp: Line, tokens: tuple[str, ...], said: str) -> None:
    """What is wrong and what to do, exit code 2, and nothing on standard output."""
    done = wxmp(*tokens)
    assert (done.code, done.out) == (USAGE_ERROR, "")
    assert said in done.err.replace("\n", " ")


def test_version(wxmp: Line) -> None:
    """--version is the version of the package."""
    from importlib.metadata import version

    assert wxmp("--version").out.strip() == version("wxmp-sdk")


def test_help_is_light() -> None:
    """The first help loads neither the simulator nor a server nor an HTTP client."""
    heavy = ("httpx", "starlette", "uvicorn", "wxmp.simulator", "yaml", "redis", "cryptography", "wxmp.client")
    program = f"""
import sys
sys.argv = ["wxmp", "--help"]
from wxmp.__main__ import main
try:
    main()
except SystemExit:
    pass
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True, cwd=ROOT
    )
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(("missing", "tokens"), [("cyclopts", ["--help"]), ("yaml", ["menu", "diff", "menu.yaml"])])
def test_without_an_extra(missing: str, tokens: list[str]) -> None:
    """It says what to install, without a traceback."""
    program = f"import sys; sys.modules[{missing!r}] = None; sys.argv = {['wxmp', *tokens]!r}\n"
    program += "from wxmp.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (USAGE_ERROR, "")
    assert done.stderr == 'This command needs more packages: pip install "wxmp-sdk[cli,simulator]"\n'


# ---- pipes, encodings, terminals


def test_a_reader_that_goes_away(wxmp: Line) -> None:
    """`| head` is quiet: no traceback, no complaint."""
    process = wxmp.start("menu", "pull", "-")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    done = finish(process)
    assert (done.code, done.err) == (INTERRUPTED + 13, "")


def test_an_output_that_knows_no_chinese(wxmp: Line) -> None:
    """What it cannot show stands there as an escape, and JSON is JSON still."""
    done = run("--help", PYTHONIOENCODING="ascii")
    assert (done.code, "\\u516c\\u4f17" in done.out) == (0, True)
    (wxmp.folder / "menu.yaml").write_text("menu: [{name: 菜单😀, type: click, key: k}]\n", encoding="utf-8")
    process = wxmp.start("menu", "diff", "menu.yaml", "--json", PYTHONIOENCODING="ascii")
    done = finish(process)
    assert done.out.isascii()
    assert "菜单😀" in json.loads(done.out)["diff"]


@pytest.mark.parametrize("tokens", [("--help",), ("token", "status"), ("menu", "diff", "menu.yaml")])
def test_a_terminal_of_80_columns(wxmp: Line, tokens: tuple[str, ...]) -> None:
    """No line is wider than the terminal."""
    (wxmp.folder / "menu.yaml").write_text("menu: [{name: 菜单, type: click, key: k}]\n", encoding="utf-8")
    terminal = Terminal(*tokens, environment=wxmp.variables, folder=wxmp.folder)
    terminal.end()
    assert terminal.text
    assert terminal.widest <= 80, terminal.text


# ---- secrets


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks where ps looks")
def test_ps_shows_no_secret(wxmp: Line) -> None:
    """While commands run, neither their arguments nor their environment hold the secret of a file, nor the token."""
    secret = wxmp.sim.account.secret
    (wxmp.folder / "secret").write_text(secret)
    (wxmp.folder / "menu.yaml").write_text("menu: [{name: 菜单, type: click, key: k}]\n", encoding="utf-8")
    token = wxmp("token", "get").out.strip()
    wxmp.sim.fault("latency", seconds=1.0)
    options = ("--secret-file", "secret")
    commands = [
        ("token", "refresh", "--yes", *options),
        ("menu", "push", "menu.yaml", "--yes", *options),
        ("user", "export", "all.csv", *options),
    ]
    processes = [wxmp.start(*command, WXMP_SECRET="") for command in commands]
    before = len(wxmp.sim.journal)
    wait_for(lambda: len(wxmp.sim.journal) > before + 1)
    seen = ""
    for process in processes:
        for name in ("cmdline", "environ"):
            seen += Path(f"/proc/{process.pid}/{name}").read_bytes().decode(errors="replace")
    for process in processes:
        process.kill()
        done = finish(process)
        seen += done.out + done.err
    assert "--secret-file" in seen
    assert secret not in seen
    assert token not in seen


# ---- completion


@pytest.mark.skipif(shutil.which("bash") is None, reason="completes in bash")
def test_bash_completes(wxmp: Line) -> None:
    """In a real bash: commands, commands below them, and options."""
    (wxmp.folder / "complete.sh").write_text(wxmp("completion", "bash").out, encoding="utf-8")
    program = """
source ./complete.sh
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _wxmp; echo "${COMPREPLY[*]}"; }
try wxmp to
try wxmp menu p
try wxmp user export x.csv --re
try wxmp send template --secret
complete -p wxmp
"""
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        cwd=wxmp.folder,
    )
    lines = done.stdout.splitlines()
    assert lines[:4] == ["token", "pull push", "--resume", "--secret-file"]
    assert "_wxmp" in lines[4]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(wxmp: Line, shell: str) -> None:
    """It names all commands."""
    script = wxmp("completion", shell).out
    assert all(name in script for chain in COMMANDS for name in chain)


# ---- documentation


@pytest.mark.parametrize("page", ["docs/cli.md", "docs/zh/cli.md"])
def test_the_page_names_everything(page: str) -> None:
    """Every command, every option, and every exit code stands in the documentation."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for chain, inner in walk(app):
        assert f"wxmp {' '.join(chain)}".strip() in text, chain
        for name in options(inner) - {"--help", "--version"}:
            assert f"`{name}`" in text, (chain, name)
    for code in (DONE, FAILED, USAGE_ERROR, FINDINGS, INTERRUPTED + 2, INTERRUPTED + 15, INTERRUPTED + 13):
        assert f"| {code} |" in text
