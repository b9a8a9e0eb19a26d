"""The command line ``wxmp``. Needs the extra ``cli``, and ``simulator`` for the simulator's commands."""

from __future__ import annotations

from typing import Final

__all__ = ["INSTALL_HINT", "missing_extra"]

INSTALL_HINT: Final = 'This command needs more packages: pip install "wxmp-sdk[cli,simulator]"'

# The packages behind the extras; any other missing module is a bug and must show its traceback.
EXTRA_PACKAGES: Final = frozenset({"cyclopts", "rich", "starlette", "uvicorn", "segno", "yaml", "python_multipart"})


def missing_extra(error: ModuleNotFoundError) -> bool:
    """Tell whether a failed import means that an optional extra is not installed."""
    return error.name is not None and error.name.partition(".")[0] in EXTRA_PACKAGES
