"""``python -m wxmp`` and the script ``wxmp``."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]

#: The signal of a pipe that nobody reads; Windows has no name for it.
BROKEN_PIPE = getattr(signal, "SIGPIPE", 13)


def main() -> None:
    """Run the command line; say in one sentence what to install when an extra is missing."""
    try:
        _run()
    except KeyboardInterrupt:  # before the command has begun
        raise SystemExit(128 + signal.SIGINT) from None


def _run() -> None:
    # Here, because loading takes a moment in which Ctrl-C may come.
    from wxmp.cli import INSTALL_HINT, missing_extra
    from wxmp.cli._console import INTERRUPTED, output_failed, set_up_streams, swallow_output

    set_up_streams()
    if os.environ.get("COLUMNS") == "0":  # a terminal without a size (docker exec -t): no help could be laid out
        del os.environ["COLUMNS"]
    try:
        from wxmp.cli.app import app

        try:
            app()
        finally:
            # Here and not at the end of the interpreter, where a broken pipe could only be complained about.
            sys.stdout.flush()
    except BrokenPipeError:
        swallow_output()
        raise SystemExit(INTERRUPTED + BROKEN_PIPE) from None
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich has met it in a help, and ends with 1
            raise SystemExit(INTERRUPTED + BROKEN_PIPE) from None
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        output_failed(error)  # a help that fills the disk: commands say themselves what is wrong
    except ImportError as error:
        missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        if not isinstance(missing, ModuleNotFoundError) or not missing_extra(missing):
            raise
        sys.stderr.write(f"{INSTALL_HINT}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
