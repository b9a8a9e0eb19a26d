"""Who was given what, who was refused, who replaced: one line each, never a value."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from wxmp._log import log_fields
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Audit", "Entry"]

logger: logging.Logger = logging.getLogger("wxmp.control.audit")
trouble: logging.Logger = logging.getLogger("wxmp.control")

#: How often it is looked whether the file was moved away (log rotation), and how often trouble is told, in seconds.
LOOK_EVERY: Final = 5.0
TELL_EVERY: Final = 60.0
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@attrs.frozen(kw_only=True)
class Entry:
    """One line."""

    #: ``hand_out``, ``replace``, ``replace_answered`` (somebody else had replaced it), ``refuse``.
    event: str
    #: Name and id of the key; empty when it is none of ours.
    key: str = ""
    key_id: str = ""
    appid: str = ""
    kind: str = ""
    generation: int = 0
    peer: str = ""
    #: HTTP status, and the ``error`` of the answer.
    status: int = 200
    error: str = ""
    #: What the reporter of a dead value says: the platform's code and the call.
    errcode: int = 0
    path: str = ""


class Audit:
    """Writes entries to the logger ``wxmp.control.audit`` and, if wanted, to a file of JSON lines.

    A file that cannot be written (a full disk) does not stop the server: services would lose their tokens. It is told
    in the log. The file may be moved away at any time; a new one is opened then.

    Args:
        path: The file; its folder must exist. Only its owner can read it.
        wall: Seconds since 1970.

    Raises:
        ConfigError: The file cannot be opened, or is no file.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, wall: Callable[[], float] = time.time) -> None:
        self._path = None if path is None else Path(path)
        self._wall = wall
        self._file: int | None = None
        self._looked_at = 0.0
        self._told_at = float("-inf")
        #: A line was not written to its end.
        self._torn = False
        if self._path is not None:
            try:
                self._open(self._path)
            except OSError as error:
                raise ConfigError(f"audit: the file cannot be opened: {error.strerror}", field="audit") from None

    @property
    def wanted(self) -> bool:
        """Whether anybody reads it."""
        return self._path is not None or logger.isEnabledFor(logging.INFO)

    def write(self, entry: Entry) -> None:
        """Write one entry."""
        values = {name: value for name, value in attrs.asdict(entry).items() if value not in ("", 0)}
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "%s",
                " ".join(f"{name}={value}" for name, value in values.items()),
                extra=log_fields(
                    f"audit_{entry.event}",
                    appid=entry.appid,
                    kind=entry.kind,
                    generation=entry.generation or None,
                    status=entry.status,
                    errcode=entry.errcode or None,
                    error=entry.error,
                    key=entry.key,
                ),
            )
        if self._path is None:
            return
        moment = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": moment, **values}) + "\n"
        try:
            # One write for one line: several replicas may append to one file.
            self._append(self._current(self._path), line.encode("ascii"))
        except OSError as error:
            self.close()
            now = time.monotonic()
            if now - self._told_at >= TELL_EVERY:
                self._told_at = now
                trouble.error(
                    "the audit file cannot be written: %s",
                    error.strerror,
                    extra=log_fields("audit_failed", reason=error.strerror),
                )

    def _append(self, file: int, line: bytes) -> None:
        # On a disk that has just filled up only the front part is written: the next line must not go on from there.
        line = b"\n" + line if self._torn else line
        written = os.write(file, line)
        self._torn = written < len(line) if written else self._torn
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _current(self, path: Path) -> int:
        now = time.monotonic()
        if self._file is not None and now - self._looked_at < LOOK_EVERY:
            return self._file
        if self._file is not None:
            self._looked_at = now
            mine = os.fstat(self._file)
            try:
                there = path.lstat()
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return self._file
            self.close()
        return self._open(path)

    def _open(self, path: Path) -> int:
        # A pipe that nobody reads would stop the server: not even opening it may wait.
        descriptor = os.open(path, _FLAGS | getattr(os, "O_NONBLOCK", 0), 0o600)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "not a regular file")
        self._file, self._looked_at = descriptor, time.monotonic()
        return descriptor

    def close(self) -> None:
        """Close the file; the next entry opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
