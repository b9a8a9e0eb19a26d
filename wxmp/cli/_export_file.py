"""The file of an export: written beside its place, continued after a break, and put there when it is whole."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, Protocol

import attrs

from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wxmp.api.user import UserInfo

__all__ = ["Format", "Mark", "PartFile", "Sheet", "Stream", "Target", "make_sheet"]

Format = Literal["csv", "jsonl"]

#: Beginnings that a spreadsheet takes for a formula.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
#: Between the entries of a list in a cell.
SEPARATOR: Final = ";"
PRIVATE: Final = 0o600
BOM: Final = b"\xef\xbb\xbf"


class Sheet(Protocol):
    """Makes lines of users."""

    def head(self) -> bytes:
        """Return what a file begins with."""
        ...

    def lines(self, users: Sequence[UserInfo]) -> bytes:
        """Return one line for each user."""
        ...


@attrs.frozen
class JSONLines:
    """One object of JSON in a line."""

    fields: tuple[str, ...]

    def head(self) -> bytes:
        """Return what a file begins with: nothing."""
        return b""

    def lines(self, users: Sequence[UserInfo]) -> bytes:
        """Return one line for each user."""
        made = [
            json.dumps({name: plain(getattr(user, name)) for name in self.fields}, ensure_ascii=False) for user in users
        ]
        return "".join(f"{line}\n" for line in made).encode("utf-8", errors="replace")


@attrs.frozen
class CSVSheet:
    """Comma-separated values."""

    fields: tuple[str, ...]
    bom: bool
    #: Cells as they are, also what a spreadsheet would run.
    raw: bool

    def head(self) -> bytes:
        """Return the names of the columns."""
        return (BOM if self.bom else b"") + self._write([self.fields])

    def lines(self, users: Sequence[UserInfo]) -> bytes:
        """Return one line for each user."""
        return self._write([[self._cell(getattr(user, name)) for name in self.fields] for user in users])

    def _cell(self, value: object) -> str:
        shown = plain(value)
        if shown is None:
            return ""
        if isinstance(shown, bool):
            return "1" if shown else "0"
        text = SEPARATOR.join(map(str, shown)) if isinstance(shown, list) else str(shown)
        # Somebody else may have written it: a remark, the scene of a QR code, a name.
        return f"'{text}" if not self.raw and isinstance(value, str) and text.startswith(FORMULA) else text

    def _write(self, rows: Sequence[Sequence[str]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        return text.getvalue().encode("utf-8", errors="replace")


def plain(value: object) -> object:
    """Return a value as JSON has it; a time is that of Greenwich."""
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def make_sheet(form: Format, fields: tuple[str, ...], *, bom: bool, raw: bool) -> Sheet:
    """Return what makes the lines."""
    return CSVSheet(fields, bom, raw) if form == "csv" else JSONLines(fields)


@attrs.frozen
class Mark:
    """How far an export is: everything up to here is in the file."""

    #: What is exported; another export cannot go on here.
    what: str
    #: Bytes of the file, and users in it.
    size: int = 0
    users: int = 0
    #: The last openid that was asked for; the list goes on behind it.
    cursor: str = ""


class Target(Protocol):
    """Takes the lines."""

    mark: Mark

    def write(self, lines: bytes, users: int, cursor: str) -> None:
        """Take lines in, and remember how far they go."""
        ...


class Stream:
    """Standard output: what is written is gone, and cannot be continued."""

    def __init__(self, what: str) -> None:
        self.mark: Mark = Mark(what)
        self._out: IO[bytes] = sys.stdout.buffer

    def write(self, lines: bytes, users: int, cursor: str) -> None:
        """Write lines."""
        self._out.write(lines)
        self._out.flush()
        self.mark = attrs.evolve(self.mark, users=self.mark.users + users, cursor=cursor)


class PartFile:
    """A file that takes its place when it is whole; until then it is ``FILE.part``.

    ``FILE.part.json`` says how far it is.

    Args:
        path: Where the file goes in the end.
        what: What is exported.
        resume: Go on where one of the same kind ended.

    Raises:
        ConfigError: It cannot be written there, or another export is at it.
    """

    def __init__(self, path: Path, what: str, *, resume: bool) -> None:
        # Where the name is a link, the file behind it is meant.
        self.path: Path = Path(os.path.realpath(path))
        self.part: Path = self.path.with_name(f"{self.path.name}.part")
        self.side: Path = self.path.with_name(f"{self.path.name}.part.json")
        self.fresh: Path = self.path.with_name(f"{self.path.name}.part.json.new")
        if self.path.exists() and not self.path.is_file():
            raise ConfigError(f"file: {path} is no file; name one, or - for standard output", field="file")
        self.mark: Mark = Mark(what)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._file: IO[bytes] = os.fdopen(os.open(self.part, flags, PRIVATE), "r+b")
        except OSError as error:
            raise ConfigError(f"file: {self.part} cannot be written: {error.strerror}", field="file") from None
        try:
            self._lock()
            if os.name == "posix":
                os.fchmod(self._file.fileno(), PRIVATE)
            if resume:
                self.mark = self._found(what)
            self._file.truncate(self.mark.size)
            self._file.seek(self.mark.size)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Keep a second export of the same file out."""
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine, there = os.fstat(self._file.fileno()), self.part.lstat()
        except OSError:
            raise ConfigError(f"file: another export is writing {self.part}", field="file") from None
        if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
            # The other one has just come to its end: what was opened here is its file, and already in its place.
            raise ConfigError(f"file: another export has just written {self.path}", field="file")
        if mine.st_uid != os.geteuid() or mine.st_nlink > 1:
            raise ConfigError(f"file: {self.part} belongs to somebody else; take it away first", field="file")

    def _found(self, what: str) -> Mark:
        """Return how far an earlier export came; the start where there is none.

        Raises:
            ConfigError: It was one of something else.
        """
        try:
            found = json.loads(self.side.read_text(encoding="utf-8"))
            mark = Mark(str(found["what"]), int(found["size"]), int(found["users"]), str(found["cursor"]))
        except FileNotFoundError:
            return Mark(what)
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigError(f"resume: {self.side} cannot be read; leave --resume out", field="resume") from None
        if mark.what != what:
            message = f"resume: {self.part} is of another export ({mark.what}); leave --resume out to begin again"
            raise ConfigError(message, field="resume")
        if self._file.seek(0, os.SEEK_END) < mark.size:
            raise ConfigError(f"resume: {self.part} is too short; leave --resume out", field="resume")
        return mark

    def write(self, lines: bytes, users: int, cursor: str) -> None:
        """Write lines, then how far they go; never the other way round."""
        self._file.write(lines)
        self._file.flush()
        size = self.mark.size + len(lines)
        mark = attrs.evolve(self.mark, size=size, users=self.mark.users + users, cursor=cursor)
        text = json.dumps(attrs.asdict(mark), ensure_ascii=False)
        # Never into what somebody else has put there: a link would lead to a file of his choice.
        self.fresh.unlink(missing_ok=True)
        descriptor = os.open(self.fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        self.fresh.replace(self.side)
        self.mark = mark

    def finish(self) -> None:
        """Put the whole file in its place."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if os.name != "posix":  # an open file cannot be moved there
            self._file.close()
        self.part.replace(self.path)
        self._file.close()
        with suppress(FileNotFoundError):
            self.side.unlink()

    def close(self) -> bool:
        """Leave it as it is; tell whether there is anything that can be continued."""
        with suppress(OSError):  # what a full disk did not take is behind the mark, and does not count
            self._file.close()
        with suppress(OSError):
            self.fresh.unlink(missing_ok=True)
        if self.mark.users or self.mark.cursor:
            return True
        for path in (self.part, self.side):
            with suppress(FileNotFoundError):
                path.unlink()
        return False
