"""``wxmp sim``: the WeChat platform on this machine, until Ctrl-C."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from wxmp.cli import INSTALL_HINT, missing_extra
from wxmp.simulator import Clock, Simulator

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["sim"]

SHOWN_OPENIDS = 5
# Signals are noticed by the main thread between two waits; on Windows a wait without an end would never notice.
POLL_SECONDS = 0.5
USAGE_ERROR = 2


def sim(
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    allow_remote: Annotated[bool, Parameter(negative="")] = False,
    appid: str | None = None,
    secret_from_env: str | None = None,
    followers: int = 3,
    speed: float = 1.0,
    seed: int = 1,
    json_line: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Run the simulated platform until Ctrl-C.

    Args:
        port: Port to listen on; 0 takes a free one.
        host: Address to listen on; anything but loopback also needs --allow-remote.
        allow_remote: Listen beyond this machine. Whoever reaches the simulator controls it.
        appid: AppID of the account; one is made up by default.
        secret_from_env: Name of an environment variable that holds the account's secret. By default a false one is made
            up and printed. Never use a real secret here.
        followers: How many people follow the account at the start.
        speed: Simulated seconds per real second: 60 lets a token of two hours die after two minutes.
        seed: Source of all made-up ids.
        json_line: Print one line of JSON instead of text.
    """
    secret = read_secret(secret_from_env)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    # Warnings go to standard error; what a script reads stands alone on standard output.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        simulator = Simulator(
            clock=Clock.scaled(speed) if speed != 1.0 else Clock.real(),
            seed=seed,
            appid=appid,
            secret=secret,
            followers=followers,
            host=host,
            port=port,
            allow_remote=allow_remote,
        )
        with simulator:
            announce(simulator, secret_from_env, as_json=json_line)
            while not stop.wait(POLL_SECONDS):
                pass
    except ModuleNotFoundError as error:
        if not missing_extra(error):
            raise
        sys.stderr.write(f"{INSTALL_HINT}\n")
        raise SystemExit(USAGE_ERROR) from None
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The simulator cannot start: {error}\n")
        raise SystemExit(1) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_secret(name: str | None) -> str | None:
    """Read the secret from an environment variable; arguments would show in the process list."""
    if name is None:
        return None
    value = os.environ.get(name, "")
    if not value:
        sys.stderr.write(f"The environment variable {name} is not set.\n")
        raise SystemExit(USAGE_ERROR)
    return value


def announce(simulator: Simulator, secret_from_env: str | None, *, as_json: bool) -> None:
    """Print where the simulator is and how to use it. A secret that came from outside is not repeated."""
    account, url = simulator.account, simulator.url
    secret = None if secret_from_env is not None else account.secret
    openids = list(account.users)[:SHOWN_OPENIDS]
    if as_json:
        line = {"url": url, "appid": account.appid, "secret": secret, "openids": openids, "pid": os.getpid()}
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()
        return
    sys.stdout.write(
        f"The simulated WeChat platform is at {url} (Ctrl-C stops it).\n\n"
        f"WXMP_ENDPOINT={url}\n"
        f"WXMP_APPID={account.appid}\n"
        f"WXMP_SECRET={secret if secret is not None else f'${secret_from_env}'}\n\n"
        f"Followers: {len(account.users)}{''.join(f'{chr(10)}  {openid}' for openid in openids)}\n"
        f"What happened so far: {url}/_sim/state and {url}/_sim/journal\n"
    )
    sys.stdout.flush()
