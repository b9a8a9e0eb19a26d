"""What commands write, and how they ask: streams of any encoding, one log, one question, two signals."""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn, Self, TypeVar

from wxmp.errors import APIError, ConfigError, WxmpError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType

__all__ = [
    "DONE",
    "FAILED",
    "FINDINGS",
    "INTERRUPTED",
    "USAGE_ERROR",
    "InterruptedBySignal",
    "Signals",
    "confirm",
    "ending",
    "error_as_json",
    "folded",
    "output_failed",
    "print_json",
    "run",
    "say",
    "set_up_logging",
    "set_up_streams",
    "swallow_output",
    "taking_signals",
    "tell",
]

T = TypeVar("T")

#: It is done.
DONE: Final = 0
#: The platform, the network or a store failed: the message says which, and whether to try again.
FAILED: Final = 1
#: The arguments, the environment or a file cannot work; nothing was done.
USAGE_ERROR: Final = 2
#: It is done, and there is something to look at: a difference, a problem, somebody who was refused.
FINDINGS: Final = 3
#: Plus the number of the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, 141 for a pipe without a reader.
INTERRUPTED: Final = 128
#: The signals that ask a command to end: Ctrl-C, a service manager, a terminal or a connection that is gone.
ENDING: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: Standard input, output and error.
STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
#: Columns of what people read.
WIDTH: Final = 80
#: The name of what writes characters that an output cannot show.
ESCAPES: Final = "wxmp.escapes"
#: Characters above this take two of JSON's escapes.
BASIC: Final = 0xFFFF


def set_up_streams() -> None:
    """Let every text be written, whatever the encoding: as an escape of JSON where it has no sign of its own.

    Such a line is still valid JSON, which holds these escapes in texts only. A stream that the shell has closed
    (``<&-``) is an empty one: nothing that is opened later may get its number, and what was meant for people.
    """
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for ever
    codecs.register_error(ESCAPES, _escape)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=ESCAPES)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = ""
    for sign in error.object[error.start : error.end]:
        if ord(sign) > BASIC:
            pair = sign.encode("utf-16-be").hex()
            shown += f"\\u{pair[:4]}\\u{pair[4:]}"
        else:
            shown += f"\\u{ord(sign):04x}"
    return shown, error.end


def swallow_output() -> None:
    """Point standard output to nowhere: nobody reads it any more, and the interpreter would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):  # no file behind it
        pass
    finally:
        os.close(nowhere)


def set_up_logging(*, times: bool = False) -> None:
    """Send warnings to standard error; what a script reads stands alone on standard output.

    Args:
        times: For services: with time and logger, and what ``wxmp`` says about its work.
    """
    style = "%(asctime)s %(levelname)s %(name)s: %(message)s" if times else "%(levelname)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, format=style)
    if times:
        logging.getLogger("wxmp").setLevel(logging.INFO)


def tell(text: str) -> None:
    """Say something that is not the result, on standard error; when nobody can hear it, the work goes on."""
    with suppress(OSError):
        sys.stderr.write(f"{folded(text)}\n")
        sys.stderr.flush()


def say(text: str) -> None:
    """Write a part of the result on standard output, at once.

    Raises:
        SystemExit: It cannot be written: the disk is full, the terminal is gone.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        output_failed(error)


def output_failed(error: OSError) -> NoReturn:
    """End, because standard output takes nothing more.

    Raises:
        SystemExit: Always.
    """
    swallow_output()
    tell(f"The output cannot be written: {error.strerror}")
    raise SystemExit(FAILED) from None


def folded(text: str) -> str:
    """Return a text for standard error: on a terminal its lines are broken between words, in a pipe they stay whole."""
    if not sys.stderr.isatty():
        return text
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    return "\n".join(line.plain.rstrip() for line in Text(text).wrap(console, min(console.width, WIDTH)))


def print_json(value: object) -> None:
    """Print one line of JSON."""
    import json

    say(f"{json.dumps(value, ensure_ascii=False)}\n")


def error_as_json(error: BaseException) -> dict[str, object]:
    """Return what ``--json`` tells about a failure: the kind, the sentence, and the platform's code, else 0."""
    code = error.errcode if isinstance(error, APIError) else 0
    return {"type": type(error).__name__, "message": str(error), "errcode": code}


class InterruptedBySignal(SystemExit):
    """A signal ended the command; the code says which."""

    def __str__(self) -> str:
        return "Interrupted."


@contextmanager
def ending(*, as_json: bool = False) -> Iterator[None]:
    """Turn the errors of this package into one sentence on standard error and an exit code.

    Args:
        as_json: Also print ``{"error": ...}``, so that a script finds one line of JSON whatever happens.

    Raises:
        SystemExit: 2 for a ``ConfigError`` or a file that cannot be used, 1 for every other error of this package, 130
            for Ctrl-C.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads any more: that is no error, and ends the program quietly
    except (ConfigError, OSError) as error:
        failure: BaseException = error
        code = USAGE_ERROR
    except WxmpError as error:
        failure, code = error, FAILED
    except KeyboardInterrupt:
        failure = InterruptedBySignal(INTERRUPTED + signal.SIGINT)
        code = INTERRUPTED + signal.SIGINT
    except InterruptedBySignal as error:
        if as_json:
            print_json({"error": error_as_json(error)})
        raise
    else:
        return
    tell(str(failure))
    if as_json:
        print_json({"error": error_as_json(failure)})
    raise SystemExit(code) from None


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on a terminal; without one ``--yes`` has to say it.

    Raises:
        ConfigError: There is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("yes: there is no terminal to ask at; add --yes to go ahead", field="yes")
    # On standard error, so that a pipe of the output never holds the question.
    sys.stderr.write(f"{folded(f'{question} [y/N]')} ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextmanager
def taking_signals(on_signal: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have the signals that ask for an end, in the main thread. What is ignored (nohup, a job behind &) stays so."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Signals:
    """Takes SIGINT, SIGTERM and SIGHUP: the first lets what is on its way come to its end, the second ends at once."""

    def __init__(self) -> None:
        #: The signal that came; 0 for none.
        self.number: int = 0
        self._careful: bool = False
        self._asking: bool = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        loop, main = asyncio.get_running_loop(), asyncio.current_task()

        def on_signal(number: int, _frame: FrameType | None) -> None:
            if self._asking:
                self.number = number
                tell("")
                raise InterruptedBySignal(INTERRUPTED + number)
            loop.call_soon_threadsafe(self._stop, number, main)

        self._stack.enter_context(taking_signals(on_signal))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop(self, number: int, main: asyncio.Task[object] | None) -> None:
        again, self.number = bool(self.number), number
        if self._careful and not again:
            tell("Finishing what is on its way; once more ends at once.")
        elif main is not None:
            main.cancel()

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Ask as :func:`confirm` does; here a signal ends the question itself."""
        self._asking = True
        try:
            return confirm(question, yes=yes)
        finally:
            self._asking = False

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Mark what must not be cut in two: a signal ends the command behind it.

        Raises:
            CancelledError: A signal came meanwhile.
        """
        self._careful = True
        try:
            yield
        finally:
            self._careful = False
        if self.number:
            raise asyncio.CancelledError


def run(main: Callable[[Signals], Awaitable[T]]) -> T:
    """Run a command's coroutine until it ends or a signal ends it.

    Raises:
        InterruptedBySignal: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """

    async def watched() -> T:
        with Signals() as signals:
            try:
                return await main(signals)
            except asyncio.CancelledError:
                if not signals.number:
                    raise
                raise InterruptedBySignal(INTERRUPTED + signals.number) from None

    return asyncio.run(watched())
