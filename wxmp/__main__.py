"""``python -m wxmp`` and the script ``wxmp``."""

from __future__ import annotations

import signal
import sys

from wxmp.cli import INSTALL_HINT, missing_extra
from wxmp.cli._console import INTERRUPTED, output_failed, set_up_streams, swallow_output

__all__ = ["main"]

#: The signal of a pipe that nobody reads; Windows has no name for it.
BROKEN_PIPE = getattr(signal, "SIGPIPE", 13)


def main() -> None:
    """Run the command line; say in one sentence what to install when an extra is missing."""
    set_up_streams()
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
    except KeyboardInterrupt:  # before the command has begun
        raise SystemExit(INTERRUPTED + signal.SIGINT) from None
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
