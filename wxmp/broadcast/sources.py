"""Where recipients come from: tables in CSV files."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import attrs

from wxmp.broadcast.records import Recipient
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["CSVRecipients", "from_csv"]

#: What spreadsheets write: with a byte order mark or without, and in Chinese Windows the national code.
ENCODINGS: Final = ("utf-8-sig", "gb18030")
#: Bytes that are looked at to tell these two apart.
SAMPLE: Final = 256 * 1024


@attrs.frozen
class CSVRecipients:
    """The rows of a CSV file as recipients; read anew, and a row at a time, by each iteration.

    Make one with :func:`from_csv`.
    """

    path: Path
    column: str
    encoding: str | None

    def __iter__(self) -> Iterator[Recipient]:
        encoding = self.encoding or _guess(self.path)
        with self.path.open(encoding=encoding, newline="") as file:
            yield from self._rows(file)

    def _rows(self, file: IO[str]) -> Iterator[Recipient]:
        lines = _Lines(file)
        rows = csv.reader(lines, strict=True)
        names: list[str] = []
        while True:
            # A row may take several lines; the error names the first.
            line = lines.number + 1
            try:
                row = next(rows, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise self._error(line, f"cannot be read: {error}") from error
            if row is None:
                break
            if not any(cell.strip() for cell in row):
                continue
            if not names:
                names = self._header(line, row)
                continue
            if len(row) != len(names):
                raise self._error(line, f"has {len(row)} cells, the header has {len(names)}")
            fields = dict(zip(names, row, strict=True))
            openid = fields[self.column].strip()
            if not openid:
                raise self._error(line, f"has no {self.column}")
            yield Recipient(openid, fields)
        if not names:
            raise ConfigError(f"{self.path.name} is empty; its first line must name the columns", field="path")

    def _header(self, line: int, row: list[str]) -> list[str]:
        names = [name.strip() for name in row]
        if self.column not in names:
            raise self._error(line, f"must name the columns, and none is {self.column!r}; there are {', '.join(names)}")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise self._error(line, f"names a column twice: {', '.join(repeated)}")
        return names

    def _error(self, line: int, what: str) -> ConfigError:
        return ConfigError(f"{self.path.name}, line {line} {what}", field="path")


class _Lines:
    """Lines of a file, counted."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.number += 1
        return line


def _guess(path: Path) -> str:
    with path.open("rb") as file:
        sample = file.read(SAMPLE)
        rest = file.read(1)
    try:
        codecs.getincrementaldecoder(ENCODINGS[0])().decode(sample, final=not rest)
    except UnicodeDecodeError:
        return ENCODINGS[1]
    return ENCODINGS[0]


def from_csv(path: str | os.PathLike[str], *, column: str = "openid", encoding: str | None = None) -> CSVRecipients:
    """Read recipients from a CSV file, a row at a time: the file may be larger than the memory.

    The first line names the columns. Each row becomes a :class:`~wxmp.broadcast.Recipient` with all of its cells in
    ``fields``; empty lines are passed over. The file is opened when the iteration begins, and again by the next one,
    so the same object serves a dry run and the run after it.

    Args:
        path: The file.
        column: The name of the column with the openids.
        encoding: The file's encoding. ``None`` looks at its beginning: UTF-8, with or without a byte order mark, or
            GB18030, which Excel in Chinese writes.

    Raises:
        ConfigError: The file is not there. While it is read: a row cannot be; the message names its line.
    """
    found = Path(path)
    if not found.is_file():
        raise ConfigError(f"{found.name} is not a file", field="path")
    return CSVRecipients(found, column, encoding)
