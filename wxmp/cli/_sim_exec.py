"""``wxmp sim exec``: another command, run while a simulated platform is there for it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from wxmp.cli._sim_options import KEY_VARIABLE, TOKEN_VARIABLE, SimOptions, connect, running

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from wxmp.cli._sim_options import Session
    from wxmp.simulator.pay.records import Merchant

__all__ = ["run_child"]

# What shells answer for a command that is not there, and for one that cannot be run.
NOT_FOUND: Final = 127
NOT_RUNNABLE: Final = 126
SIGNAL_BASE: Final = 128
#: Where payments are told of unless the user says otherwise: the port that uvicorn takes by itself.
NOTIFY_URL: Final = "http://127.0.0.1:8000/pay"
FORWARDED: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGBREAK")
# The terminal sends these to the whole foreground group: the command has them already.
FROM_TERMINAL: Final = frozenset({"SIGINT", "SIGQUIT"})


class Forwarder:
    """Passes the signals of this process on to the command, also those that come before it has started."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for name in FORWARDED:
            number = getattr(signal, name, None)
            # What is ignored stays ignored, here and in the command: that is how nohup works.
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        elif not (signal.Signals(number).name in FROM_TERMINAL and in_foreground()):
            self._process.send_signal(number)

    @property
    def interrupted(self) -> int | None:
        """The first signal that came before the command had started."""
        return self._early[0] if self._early else None

    def attend(self, process: subprocess.Popen[bytes]) -> None:
        """Forward to this process from now on."""
        self._process = process
        for number in self._early:
            process.send_signal(number)


def in_foreground() -> bool:
    """Tell whether this process, and so the command, is what the terminal talks to."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except (AttributeError, OSError):
        return False


def run_child(command: Sequence[str], options: SimOptions, *, pay: bool = False) -> int:
    """Run a command while the simulator of the options runs; return what to exit with.

    Standard input, output and error are the command's; the simulator says something only when it cannot work.

    Args:
        command: The command and its arguments.
        options: The world and its server.
        pay: Whether the command is told how to be a merchant of WeChat Pay.
    """
    with Forwarder() as forwarder, running(options) as session, ExitStack() as stack:
        variables = environment(session)
        if pay:
            # Readable for its owner only, and gone when the command has ended.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wxmp-sim-"))
            merchant = session.simulator.world.default_merchant()
            variables |= pay_environment(merchant, session.simulator.url, Path(folder))
            variables.setdefault("WXMP_PAY_NOTIFY_URL", NOTIFY_URL)
        if forwarder.interrupted is not None:
            return SIGNAL_BASE + forwarder.interrupted
        try:
            process = subprocess.Popen(list(command), env=variables)  # noqa: S603  (what the user typed)
        except FileNotFoundError:
            sys.stderr.write(f"The command {shlex.quote(command[0])} was not found.\n")
            return NOT_FOUND
        except OSError as error:
            sys.stderr.write(f"The command {shlex.quote(command[0])} cannot be run: {error.strerror}.\n")
            return NOT_RUNNABLE
        forwarder.attend(process)
        stop = threading.Event()
        # The command itself may be the server that has to pass the check.
        checking = threading.Thread(target=connect, args=(session, stop, options.callback_wait))
        checking.start()
        try:
            code = end_of(process)
        finally:
            stop.set()
            checking.join()
        return code if code >= 0 else SIGNAL_BASE - code


def end_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for the command to end; return its code.

    Not in one go: Python sees a signal that comes just before a system call only after it, and would pass it on late.
    """
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=1)


def environment(session: Session) -> dict[str, str]:
    """Return this process's environment with the variables a client of the platform reads."""
    simulator, target = session.simulator, session.target
    account = simulator.account
    token, key = account.callback_token, account.encoding_aes_key
    if target is not None:
        token, key = target.token, target.key
    found = os.environ | {
        "WXMP_ENDPOINT": simulator.url,
        "WXMP_APPID": account.appid,
        "WXMP_SECRET": account.secret,
    }
    if token:
        found[TOKEN_VARIABLE] = token
    if key:
        found[KEY_VARIABLE] = key
    return found


def pay_environment(merchant: Merchant, endpoint: str, folder: Path) -> dict[str, str]:
    """Return the variables of a merchant (商户); the keys themselves go into files, as they do in production."""
    found = {
        "WXMP_PAY_ENDPOINT": endpoint,
        "WXMP_PAY_APPID": merchant.appids[0],
        "WXMP_PAY_MCHID": merchant.mchid,
        "WXMP_PAY_API_V3_KEY": merchant.api_v3_key,
        "WXMP_PAY_SERIAL": merchant.serial,
        "WXMP_PAY_PRIVATE_KEY_FILE": write_key(folder / "apiclient_key.pem", merchant.private_key),
    }
    # A merchant on platform certificates only has no public key of the platform.
    if merchant.public_key_id:
        found["WXMP_PAY_PUBLIC_KEY_ID"] = merchant.public_key_id
        found["WXMP_PAY_PUBLIC_KEY_FILE"] = write_key(folder / "pub_key.pem", merchant.platform_public_key)
    return found


def write_key(path: Path, text: str) -> str:
    """Write a key that nobody else may read, not even for a moment; return its path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    return str(path)
