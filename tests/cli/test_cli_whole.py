"""The command line as a whole: one way to help, to fail, and to keep a secret."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from tests.cli.line import COMMAND, PATIENCE, ROOT, Done, Line, Terminal, finish, wait_for
from wxmp.__main__ import main
from wxmp.cli._console import (
    DONE,
    FAILED,
    FINDINGS,
    INTERRUPTED,
    USAGE_ERROR,
    Signals,
    ending,
    taking_signals,
    tell,
)
from wxmp.cli._console import run as run_command
from wxmp.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App


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


@pytest.mark.parametrize("chain", COMMANDS, ids=" ".join)
def test_help_shows_no_default_that_says_nothing(wxmp: Line, chain: tuple[str, ...]) -> None:
    """That a switch is off unless it is given needs no words, and a default is never written as Python."""
    text = " ".join(wxmp(*chain, "--help").out.replace("│", " ").split())
    assert [words for words in ("[default: False]", "[default: (", "[default: None]") if words in text] == []


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


@pytest.mark.parametrize("tokens", [("menu", "pull", "-"), ("user", "export", "--help")], ids=" ".join)
def test_a_reader_that_goes_away(wxmp: Line, tokens: tuple[str, ...]) -> None:
    """`| head` is quiet: no traceback, no complaint, and a help ends with the same code."""
    process = wxmp.start(*tokens)
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


def test_a_terminal_without_a_size() -> None:
    """COLUMNS=0 is no width: the help is laid out as if nothing were known."""
    done = run("--help", COLUMNS="0")
    assert (done.code, done.err) == (0, "")


def test_ctrl_c_while_the_command_line_is_loaded() -> None:
    """It ends with 130 and without a traceback, also in the middle of an import."""
    program = """
import sys

class Interrupts:
    def find_spec(self, name, *_):
        if name == "wxmp.cli._console":
            raise KeyboardInterrupt

from wxmp.__main__ import main
loaded = sys.modules.pop("wxmp.cli._console", None)
blocker = Interrupts()
sys.meta_path.insert(0, blocker)
try:
    main()
except SystemExit as ended:
    print(ended.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("130\n", "")


def test_streams_that_are_closed(wxmp: Line) -> None:
    """Without an input there is nobody to ask, without an output nobody to tell; that is no mistake in here."""
    closing = ["sh", "-c", 'exec "$0" "$@" <&- >&-', *COMMAND, "token", "refresh"]
    variables = {**os.environ, **wxmp.variables, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(closing, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False, env=variables)
    assert done.returncode == USAGE_ERROR
    assert done.stderr == "yes: there is no terminal to ask at; add --yes to go ahead\n"


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes where nothing fits")


@FULL
@pytest.mark.parametrize(
    "tokens", [("token", "get"), ("token", "status", "--json"), ("user", "export", "-")], ids=" ".join
)
def test_an_output_that_is_full(wxmp: Line, tokens: tuple[str, ...]) -> None:
    """One sentence and code 1: something was done, and cannot be told."""
    with Path("/dev/full").open("w") as full:
        wxmp.monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            app(list(tokens))
        wxmp.monkeypatch.undo()
    assert ended.value.code == FAILED
    assert wxmp.capsys.readouterr().err == "The output cannot be written: No space left on device\n"


@FULL
def test_a_help_that_does_not_fit() -> None:
    """Also where no command was run."""
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "--help"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False, cwd=ROOT
        )
    assert (done.returncode, done.stderr) == (FAILED, "The output cannot be written: No space left on device\n")


def test_nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standard error that nobody reads stops no work."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1, encoding="utf-8") as deaf:
        monkeypatch.setattr(sys, "stderr", deaf)
        tell("x")
        monkeypatch.undo()
        with suppress(OSError):
            deaf.close()


def test_ctrl_c_before_a_command_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends without a traceback."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wxmp.cli.app.app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == INTERRUPTED + signal.SIGINT


def test_what_is_ignored_stays_ignored() -> None:
    """nohup, and a job behind &, go on as they were meant to."""
    earlier = signal.getsignal(signal.SIGTERM)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with taking_signals(lambda *_: None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not earlier
        assert signal.getsignal(signal.SIGTERM) is earlier
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- what a script sees


@pytest.mark.parametrize(
    "tokens",
    [
        ("token", "get", "--appid", "a/b"),
        ("token", "status", "--token-store", "none"),
        ("token", "refresh"),
        ("menu", "diff", "none.yaml"),
        ("menu", "pull", "menu.yaml"),
        ("menu", "push", "menu.yaml"),
        ("user", "export", "all.txt"),
        ("user", "export", "all.csv", "--tag", "none"),
        ("send", "template", "run", "--template-id", "TM"),
        ("doctor", "--watch", "99"),
        ("control", "check", "--config", "none.toml"),
        ("control", "key", "shop"),
    ],
    ids=" ".join,
)
def test_json_also_where_nothing_was_done(wxmp: Line, tokens: tuple[str, ...]) -> None:
    """One line of JSON with what is wrong; people find the same sentence on standard error."""
    (wxmp.folder / "menu.yaml").write_text("menu: [{name: 菜单, type: click, key: k}]\n", encoding="utf-8")
    done = wxmp(*tokens, "--json")
    told = json.loads(done.out)
    assert (done.code, done.out.count("\n"), told["error"]["type"]) == (USAGE_ERROR, 1, "ConfigError")
    assert told["error"]["message"] in done.err


def test_json_where_the_platform_refuses(wxmp: Line) -> None:
    """The platform's code stands in it as a number."""
    wxmp.sim.fault("errcode", "/cgi-bin/get_current_selfmenu_info", errcode=48001)
    done = wxmp("menu", "pull", "other.yaml", "--json")
    told = json.loads(done.out)["error"]
    assert (done.code, told["type"], told["errcode"]) == (FAILED, "NotAuthorizedError", 48001)


def test_json_where_it_was_interrupted(wxmp: Line) -> None:
    """Also then there is one line."""

    def main() -> None:
        async def work(_signals: Signals) -> None:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(PATIENCE)

        with ending(as_json=True):
            run_command(work)

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == INTERRUPTED + signal.SIGTERM
    assert json.loads(wxmp.capsys.readouterr().out)["error"]["type"] == "InterruptedBySignal"


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
    wxmp.sim.fault("latency", seconds=5.0)
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


# ---- documentation


@pytest.mark.parametrize("page", ["docs/cli.md", "docs/zh/cli.md"])
def test_the_page_names_everything(page: str) -> None:
    """Every command, every option, and every exit code stands in the documentation."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for chain, inner in walk(app):
        assert f"wxmp {' '.join(chain)}".strip() in text, chain
        for name in options(inner) - {"--help", "--version"}:
            assert f"`{name}`" in text, (chain, name)
    for code in (DONE, FAILED, USAGE_ERROR, FINDINGS, *(INTERRUPTED + number for number in (1, 2, 13, 15))):
        assert f"| {code} |" in text


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WXMP_ENDPOINT", "ftp://x", "WXMP_ENDPOINT, or --endpoint: base_url must start with https://"),
        ("WXMP_SECRET", "a-secret-that-ends-badly\n", "WXMP_SECRET: there are blanks or a line break around the value"),
    ],
)
def test_a_variable_that_cannot_work_is_named(wxmp: Line, name: str, value: str, said: str) -> None:
    """By the name that a person has written, and never by its value."""
    wxmp.monkeypatch.setenv(name, value)
    done = wxmp("token", "get")
    assert done.code == USAGE_ERROR
    assert said in done.err
    assert "ends-badly" not in done.err
