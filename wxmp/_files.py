"""Files that are written: they appear whole, or not at all."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["arriving", "target_path"]

#: A file for its owner alone, and one with the rights that any program would give it.
_PRIVATE: Final = 0o600
_USUAL: Final = 0o666


def target_path(to: str | os.PathLike[str]) -> Path:
    """Return ``to`` as a path that a file can be written to.

    Raises:
        ConfigError: It is no path, its folder is not there, or it is a folder itself, a device or the like.
    """
    try:
        target = Path(to)
        os.fsencode(target)
        in_folder, is_folder = target.parent.is_dir(), target.is_dir()
        # A device would be replaced by a file, for everybody on the machine.
        is_other = not is_folder and target.exists() and not target.is_file()
    except (TypeError, UnicodeEncodeError):
        raise ConfigError("to must be a path", field="to") from None
    except OSError as error:  # too long a name, for example
        raise ConfigError(f"to cannot be written: {error.strerror}", field="to") from None
    if not in_folder:
        raise ConfigError("to must be a path in a folder that exists", field="to")
    if is_folder:
        raise ConfigError("to is a folder: name the file in it", field="to")
    if is_other:
        raise ConfigError("to is no file but a device, a pipe or the like", field="to")
    return target


@asynccontextmanager
async def arriving(target: Path, *, private: bool) -> AsyncGenerator[IO[bytes], None]:
    """Open a file that takes the place of ``target`` when the block ends, and is gone when it fails.

    Args:
        target: As :func:`target_path` gave it.
        private: Only its owner may read it; otherwise it gets the usual rights of a new file.
    """
    # Beside the target, because a file can only be moved at once within a disk.
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _PRIVATE if private else _USUAL
    )
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            await asyncio.to_thread(os.fsync, handle.fileno())
        # In one go and not in a thread: a cancelled wait for a thread does not say whether the file was replaced.
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
