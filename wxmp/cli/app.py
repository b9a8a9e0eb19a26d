"""The command line application: each command is one module, named here and loaded when it is called."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING

from cyclopts import App
from cyclopts.exceptions import UnknownCommandError

from wxmp.cli._completion import Shell, completion_script

if TYPE_CHECKING:
    from cyclopts.exceptions import CycloptsError
    from rich.text import Text

__all__ = ["app", "completion", "sentence", "version"]


def version() -> str:
    """Return the version of the package."""
    from importlib.metadata import version as installed

    return installed("wxmp-sdk")


def sentence(error: CycloptsError) -> Text:
    """Return what is wrong with the arguments, in one sentence and without a frame."""
    from rich.text import Text

    if isinstance(error, UnknownCommandError) and error.app is not None and error.unused_tokens:
        # Not cyclopts' own words: it would load every command, also those whose extra is not installed.
        names = [name for name in error.app if not name.startswith("-")]
        wanted = error.unused_tokens[0]
        near = difflib.get_close_matches(wanted, names, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        text = f"There is no command {wanted!r}.{meant} There are: {', '.join(names)}."
    else:
        text = str(error)
    chain = " ".join(error.command_chain or ())
    return Text(f"{text} See: wxmp {f'{chain} ' if chain else ''}--help")


app: App = App(
    name="wxmp",
    help="WeChat Official Account tools (微信公众平台).",
    version=version,
    error_formatter=sentence,
)
app.command("wxmp.cli.doctor:app", name="doctor", help="Check an account as it is deployed; say what to do (体检).")
app.command("wxmp.cli.token:app", name="token", help="The shared access_token: print it, look at it, replace it.")
app.command("wxmp.cli.menu:app", name="menu", help="Menus as YAML files (自定义菜单): pull, push, diff.")
app.command("wxmp.cli.user:app", name="user", help="Followers (用户管理): export them.")
app.command("wxmp.cli.send:app", name="send", help="Send one message to many (群发模板消息).")
app.command("wxmp.cli.control:app", name="control", help="Keep tokens for many services (中控服务器).")
app.command("wxmp.cli.sim:app", name="sim", help="Run the simulated WeChat platform (本地模拟微信平台).")
app.command("wxmp.cli.demo:app", name="demo", help="See a fleet share one token, on the simulated platform.")


@app.command
def completion(shell: Shell, /) -> None:
    """Print the script that completes commands and options in a shell.

    bash: wxmp completion bash > ~/.local/share/bash-completion/completions/wxmp

    zsh: wxmp completion zsh > ~/.zfunc/_wxmp, and in ~/.zshrc, before compinit: fpath=(~/.zfunc $fpath)

    fish: wxmp completion fish > ~/.config/fish/completions/wxmp.fish

    Exit codes: 0 it was printed; 2 there is none for this shell, or an extra is missing.

    Args:
        shell: bash, zsh or fish.
    """
    sys.stdout.write(f"{completion_script(app, shell)}\n")
