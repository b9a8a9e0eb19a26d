"""``python -m wxmp`` and the script ``wxmp``."""

from __future__ import annotations

import sys

from wxmp.cli import INSTALL_HINT, missing_extra

__all__ = ["main"]


def main() -> None:
    """Run the command line; say in one sentence what to install when an extra is missing."""
    try:
        from wxmp.cli.app import app
    except ModuleNotFoundError as error:
        if not missing_extra(error):
            raise
        sys.stderr.write(f"{INSTALL_HINT}\n")
        raise SystemExit(2) from None
    app()


if __name__ == "__main__":
    main()
