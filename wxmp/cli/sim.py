"""``wxmp sim``: the WeChat platform on this machine, until Ctrl-C, or for as long as another command runs."""

from __future__ import annotations

import json
import os
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from wxmp.cli._command import JSON, PLAIN, OneCommand
from wxmp.cli._completion import FileName  # noqa: TC001 - cyclopts reads the annotations
from wxmp.cli._console import FAILED, USAGE_ERROR, taking_signals
from wxmp.cli._sim_exec import run_child
from wxmp.cli._sim_options import KEY_VARIABLE, TOKEN_VARIABLE, SimOptions, Target, connect, running

if TYPE_CHECKING:
    from types import FrameType

    from wxmp.cli._sim_options import Session

__all__ = ["app", "sim", "sim_exec"]

SHOWN_OPENIDS: Final = 5
# Signals are noticed by the main thread between two waits; on Windows a wait without an end would never notice.
POLL_SECONDS: Final = 0.5

app: OneCommand = OneCommand(name="sim")


@app.default
def sim(
    *,
    options: SimOptions | None = None,
    open_page: Annotated[bool, Parameter(name="--open", negative="", show_default=False)] = False,
    json_line: Annotated[bool, JSON] = False,
) -> None:
    """Run the simulated WeChat platform (本地模拟微信平台) until Ctrl-C.

    Exit codes: 0 it was told to end (Ctrl-C, SIGTERM); 1 it could not listen, the state could not be written, or your
    server did not pass the check; 2 the options or a file cannot work.

    Args:
        options: The world and its server.
        open_page: Open the page with the phones in the default browser.
        json_line: Print one line of JSON instead of text.
    """
    options = options if options is not None else SimOptions()
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    with taking_signals(on_signal), running(options) as session:
        announce(session, options, as_json=json_line)
        if session.target is not None:
            if not connect(session, stop, options.callback_wait):
                raise SystemExit(FAILED)
            if not stop.is_set():
                tell_of_callback(session.target, as_json=json_line)
        if open_page:
            # A browser without a window of its own may take the terminal for a while.
            page = f"{session.simulator.url}/_sim/"
            threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
        while not stop.wait(POLL_SECONDS):
            pass


@app.command(name="exec")
def sim_exec(
    *command: Annotated[FileName, Parameter(allow_leading_hyphen=True)],
    options: SimOptions | None = None,
    pay: Annotated[bool, PLAIN] = False,
) -> None:
    """Run a command against a simulated platform of its own, and end with its exit code.

    The command finds the platform in WXMP_ENDPOINT, WXMP_APPID and WXMP_SECRET. With pushes to it, WXMP_CALLBACK_TOKEN
    and WXMP_ENCODING_AES_KEY are set as well. Write -- before it: wxmp sim exec --seed 7 -- pytest -q

    Exit codes: those of the command; 126 it cannot be run; 127 it was not found; 128 and the number of the signal that
    ended it; 1 and 2 as wxmp sim, before it was run.

    Args:
        command: The command and its arguments.
        options: The world and its server.
        pay: Make a merchant of WeChat Pay as well: WXMP_PAY_ENDPOINT, WXMP_PAY_APPID, WXMP_PAY_MCHID,
            WXMP_PAY_API_V3_KEY, WXMP_PAY_SERIAL, WXMP_PAY_PUBLIC_KEY_ID, two files for as long as the command runs:
            WXMP_PAY_PRIVATE_KEY_FILE and WXMP_PAY_PUBLIC_KEY_FILE, and an address for notices, WXMP_PAY_NOTIFY_URL,
            unless you have set one. It takes about a second.
    """
    if not command:
        sys.stderr.write("There is no command to run: wxmp sim exec [OPTIONS] -- COMMAND [ARGUMENTS]\n")
        raise SystemExit(USAGE_ERROR)
    raise SystemExit(run_child(command, options if options is not None else SimOptions(), pay=pay))


def announce(session: Session, options: SimOptions, *, as_json: bool) -> None:
    """Print where the simulator is and how to use it. A secret that came from outside is not repeated."""
    simulator, target, secret_name = session.simulator, session.target, session.secret_name
    account, url = simulator.account, simulator.url
    secret = account.secret if secret_name is None else None
    openids = list(account.users)[:SHOWN_OPENIDS]
    if as_json:
        line: dict[str, object] = {
            "url": url,
            "page": f"{url}/_sim/",
            "appid": account.appid,
            "secret": secret,
            "openids": openids,
            "pid": os.getpid(),
        }
        if target is not None:
            line["callback"] = target.shown() | {"original_id": account.original_id}
        if session.scenario is not None:
            line["scenario"] = session.scenario.name
        if options.state is not None:
            line["continued"] = session.continued
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()
        return
    sys.stdout.write(
        f"The simulated WeChat platform is at {url} (Ctrl-C stops it).\n\n"
        f"WXMP_ENDPOINT={url}\n"
        f"WXMP_APPID={account.appid}\n"
        f"WXMP_SECRET={secret if secret is not None else f'${secret_name}'}\n"
        f"{callback_lines(target)}\n"
        f"The phones, and everything else to look at: {url}/_sim/\n"
        f"{story_lines(session, options)}"
        f"Users: {len(account.users)}{''.join(f'{chr(10)}  {openid}' for openid in openids)}\n"
    )
    sys.stdout.flush()


def story_lines(session: Session, options: SimOptions) -> str:
    """Return what the scenario and the state file have to do with this world."""
    lines = ""
    if session.scenario is not None and not session.continued:
        steps = sum(plan.times for plan in session.scenario.steps)
        lines += f"Scenario: {session.scenario.name} ({steps} steps to come)\n"
    if options.state is not None:
        lines += f"State: {options.state} ({'continued' if session.continued else 'written at the end'})\n"
    return lines


def callback_lines(target: Target | None) -> str:
    """Return the variables of the developer's server."""
    if target is None:
        return ""
    token = target.token if target.token_name is None else f"${target.token_name}"
    lines = f"{TOKEN_VARIABLE}={token}\n"
    if target.key is not None:
        lines += f"{KEY_VARIABLE}={target.key if target.key_name is None else f'${target.key_name}'}\n"
    return lines


def tell_of_callback(target: Target, *, as_json: bool) -> None:
    """Print that the address has passed its check."""
    told = json.dumps({"callback": target.url}) if as_json else f"Pushing to {target.url} ({target.mode} mode)."
    sys.stdout.write(f"{told}\n")
    sys.stdout.flush()
