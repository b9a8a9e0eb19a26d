"""The scripts by which shells complete this command line: those of cyclopts, mended for zsh and fish."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App

__all__ = ["FileName", "Shell", "completion_script"]

Shell: TypeAlias = Literal["bash", "zsh", "fish"]

if TYPE_CHECKING:
    FileName: TypeAlias = str
else:
    # A text that may name a file, and may also be "-" or "tag:VIP". cyclopts converts to the first type of a union that
    # fits, so it stays a str; the second one makes the shells offer files.
    FileName = str | Path

#: The function that does the work: where it begins in the script for zsh.
ZSH_FUNCTION = re.compile(r"^(_\w+)\(\) \{$", re.MULTILINE)


def completion_script(app: App, shell: Shell) -> str:
    """Return the script that completes an application's commands and options.

    It is static: a TAB starts no Python, reads no settings and asks nobody.
    """
    script = app.generate_completion(shell=shell).rstrip()
    match shell:
        case "bash":
            return script
        case "zsh":
            return _for_zsh(script, app.name[0])
        case "fish":
            return _for_fish(script, app)


def _for_zsh(script: str, program: str) -> str:
    """Return a script for zsh that works as a file of fpath, under any name, and with ``source``.

    zsh calls the function that has the name of the file. cyclopts' has another name than the ``_wxmp`` that everybody
    expects: the file then defines it and nothing calls it.
    """
    found = ZSH_FUNCTION.search(script)
    if found is None:
        return script
    name = found[1]
    return f"""{script}

# A file of fpath is the body of a function, also the second time. With source, zsh is only told of the function.
if [[ ${{zsh_eval_context[-1]}} == *func ]]; then
  {name} "$@"
else
  compdef {name} {program}
fi"""


def _for_fish(script: str, app: App) -> str:
    """Return a script for fish that offers files where one is wanted, and nowhere else.

    fish offers them everywhere unless it is told not to, also for the value of an option.
    """
    program = app.name[0]
    lines = [
        line.replace(" -r -d '", " -x -d '", 1) if line.startswith(f"complete -c {program} ") else line
        for line in script.splitlines()
    ]
    lines += ["", "# Files only where one is wanted", f"complete -c {program} -f"]
    for chain in _with_files(app):
        seen = "; and ".join(f"__fish_seen_subcommand_from {name}" for name in chain)
        lines.append(f"complete -c {program} -n '{seen}' -F")
    return "\n".join(lines)


def _with_files(app: App, *chain: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands that take a file as an argument which is no option."""
    if app.default_command is not None:
        arguments = app.assemble_argument_collection(parse_docstring=False)
        if any(argument.index is not None and _names_file(argument.hint) for argument in arguments):
            yield chain
    for name in app:
        if not name.startswith("-"):
            yield from _with_files(app[name], *chain, name)


def _names_file(hint: object) -> bool:
    return hint is Path or any(_names_file(inner) for inner in get_args(hint))
