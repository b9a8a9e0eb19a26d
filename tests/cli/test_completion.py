"""Completion in real shells: installed as the documentation says, typed as a person types."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyte
import pytest

from tests.cli.line import PATIENCE, ROOT
from wxmp.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.line import Line

SHELLS = ("bash", "zsh", "fish")
PROMPT = "type here> "
#: Keys, and what must then stand on the screen. The X comes behind the blank that follows a completion that is the only
#: one: were a file mixed in, there would be two.
TYPED = (
    ("wxmp tok\tst\tX", "wxmp token status X"),
    ("wxmp doc\t--no\tX", "wxmp doctor --no-push X"),
    ("wxmp menu pus\tme\tX", "wxmp menu push menu.yaml X"),
    ("wxmp menu pul\tme\tX", "wxmp menu pull menu.yaml X"),
    ("wxmp user exp\tfo\tX", "wxmp user export followers.csv X"),
    ("wxmp user export --fo\tj\tX", "wxmp user export --format jsonl X"),
    ("wxmp sim ex\t-- cat me\tX", "wxmp sim exec -- cat menu.yaml X"),
)
#: What stands in the folder: files that are wanted, and files that begin as a command or a choice does.
FILES = ("menu.yaml", "followers.csv", "tokens.txt", "status.txt", "jsonl.txt")


def needs(shell: str) -> pytest.MarkDecorator:
    missing = shutil.which(shell) is None or not hasattr(os, "openpty")
    return pytest.mark.skipif(missing, reason=f"completes in {shell}, which is not here")


class Home:
    """An empty home, a folder with files, and a ``wxmp`` that prints its script and remembers how it was called."""

    def __init__(self, folder: Path, shell: str, script: str) -> None:
        self.home, self.folder, self.shell = folder / "home", folder / "folder", shell
        self._calls = folder / "calls"
        for inner in (self.home, self.folder, folder / "bin"):
            inner.mkdir(parents=True)
        for name in FILES:
            (self.folder / name).touch()
        (folder / "script").write_text(f"{script}\n", encoding="utf-8")
        program = folder / "bin" / "wxmp"
        program.write_text(f"#!/bin/sh\necho \"$*\" >> '{self._calls}'\ncat '{folder / 'script'}'\n", encoding="utf-8")
        program.chmod(0o755)
        # No variable of an account, and nothing of whoever runs the tests.
        self.environment = {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]]),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text(encoding="utf-8").splitlines()

    def install(self) -> None:
        """Do what the documentation says."""
        text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        found = re.search(rf"^{self.shell}:\n\n```sh\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
        assert found is not None
        subprocess.run(["sh", "-ec", found[1]], env=self.environment, timeout=PATIENCE, check=True)

    def add(self, name: str, text: str) -> None:
        with (self.home / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def trust_all_folders(self) -> None:
        """Let zsh not ask about folders of this machine that others may write to."""
        path = self.home / ".zshrc"
        path.write_text(path.read_text(encoding="utf-8").replace("&& compinit", "&& compinit -u"), encoding="utf-8")


class Shell:
    """A shell on a terminal."""

    def __init__(self, home: Home, *arguments: str) -> None:
        self._master, inner = os.openpty()
        self._screen = pyte.Screen(150, 50)
        self._stream = pyte.ByteStream(self._screen)
        try:
            self._process = subprocess.Popen(
                [home.shell, *arguments],
                stdin=inner,
                stdout=inner,
                stderr=inner,
                env=home.environment,
                cwd=home.folder,
                start_new_session=True,
            )
        finally:
            os.close(inner)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def shows(self, *texts: str) -> None:
        """Wait until all of them stand on the screen."""
        deadline = time.monotonic() + PATIENCE
        while not all(text in self.text for text in texts):
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{texts} did not come:\n{self.text}"
            self._stream.feed(os.read(self._master, 65536))

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(timeout=PATIENCE)
        os.close(self._master)


@contextmanager
def started(home: Home, *arguments: str) -> Iterator[Shell]:
    """A shell that waits for keys."""
    shell = Shell(home, *arguments)
    try:
        shell.shows(PROMPT.strip())
        yield shell
    finally:
        shell.end()


def complete(shell: Shell) -> None:
    """Type everything; nothing is run."""
    for keys, shown in TYPED:
        shell.type(keys)
        shell.shows(shown)
        shell.type("\x15")  # Ctrl-U empties the line
    shell.type("wxmp control \t\t")
    shell.shows("check", "serve")


# ---- the scripts


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_names_all_commands(wxmp: Line, shell: str) -> None:
    """Also those below others."""
    script = wxmp("completion", shell).out
    below = {name for outer in app if not outer.startswith("-") for name in app[outer] if not name.startswith("-")}
    assert {name for name in [*app, *below] if name not in script and not name.startswith("-")} == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_holds_nothing_of_an_account(wxmp: Line, shell: str) -> None:
    """It is the same with the variables of an account and without them."""
    with_account = wxmp("completion", shell)
    for name in wxmp.variables:
        wxmp.monkeypatch.delenv(name)
    without = wxmp("completion", shell)
    assert with_account.code == without.code == 0
    assert with_account.out == without.out


# ---- the shells


@pytest.mark.parametrize(
    ("program", "settings", "option"),
    [
        pytest.param("bash", ".bashrc", "--noprofile", marks=needs("bash")),
        pytest.param("zsh", ".zshrc", "--no-globalrcs", marks=needs("zsh")),
    ],
)
def test_on_a_terminal(wxmp: Line, tmp_path: Path, program: str, settings: str, option: str) -> None:
    """Installed as docs/cli.md says, it completes commands, options, choices and files, and starts no wxmp."""
    home = Home(tmp_path / program, program, wxmp("completion", program).out)
    home.add(settings, f"PS1='{PROMPT}'\n")
    home.install()
    if program == "zsh":
        home.trust_all_folders()
    with started(home, option, "-i") as shell:
        complete(shell)
    assert home.calls == [f"completion {program}"]


@needs("zsh")
def test_zsh_with_source(wxmp: Line, tmp_path: Path) -> None:
    """Read by ~/.zshrc itself, the script completes as well."""
    home = Home(tmp_path / "zsh", "zsh", wxmp("completion", "zsh").out)
    home.add(".zshrc", f"PS1='{PROMPT}'\nautoload -Uz compinit && compinit -u\nsource <(wxmp completion zsh)\n")
    with started(home, "--no-globalrcs", "-i") as shell:
        complete(shell)


@needs("fish")
def test_fish(wxmp: Line, tmp_path: Path) -> None:
    """Installed as docs/cli.md says, it offers files where one is wanted and nowhere else, and starts no wxmp."""
    home = Home(tmp_path / "fish", "fish", wxmp("completion", "fish").out)
    home.install()
    files = set(FILES)
    wanted = {
        "wxmp tok": {"token"},
        "wxmp token ": {"get", "status", "refresh"},
        "wxmp token get ": set[str](),
        "wxmp doctor --no": {"--no-push"},
        "wxmp doctor --appid ": set[str](),
        "wxmp doctor --secret-file ": files,
        "wxmp menu push ": files,
        "wxmp menu pull ": files,
        "wxmp user export ": files,
        "wxmp user export --format ": {"csv", "jsonl"},
        "wxmp send template --to ": files,
        "wxmp sim ": {"exec"},
        "wxmp sim exec -- cat ": files,
    }
    # fish itself says what a TAB would offer, so no terminal is needed.
    program = "for line in $argv; echo \\n$line; complete --do-complete $line; end"
    done = subprocess.run(
        ["fish", "-c", program, *wanted],
        env=home.environment,
        cwd=home.folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=True,
    )
    offered: dict[str, set[str]] = {}
    for part in done.stdout.strip("\n").split("\n\n"):
        line, *names = part.split("\n")
        offered[line] = {name.split("\t")[0] for name in names if name}
    assert offered == wanted
    assert home.calls == ["completion fish"]
