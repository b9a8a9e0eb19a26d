"""What ``wxmp send`` reads: openids, rows of a table, and texts with places for their cells."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import attrs

from wxmp.broadcast import Recipient, TemplateMessage
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Letter", "RowFinder", "count_lines", "read_columns", "read_openids", "read_values"]

#: The columns that are no keyword of the template.
OPENID: Final = "openid"
URL: Final = "url"
#: Rows that are stored at once.
BATCH: Final = 1000
#: Bytes that are read at once.
BLOCK: Final = 1 << 20

_PLACE: Final = re.compile(r"\{([^{}]+)\}")


def count_lines(path: Path) -> int:
    """Return the lines of a file: an estimate of its rows, for the progress only."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))


def read_openids(path: Path, encoding: str | None) -> Iterator[str]:
    """Yield the openids of a file, one in a line; empty lines and those that begin with ``#`` are left out.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        with path.open(encoding=encoding or "utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                openid = line.strip()
                if not openid or openid.startswith("#"):
                    continue
                if len(openid.split()) > 1 or "," in openid:
                    raise ConfigError(f"to: line {number} of {path.name} is more than one openid", field="to")
                yield openid
    except UnicodeDecodeError:
        message = f"to: {path.name} is not in {encoding or 'utf-8'}; name its encoding, such as --encoding gb18030"
        raise ConfigError(message, field="to") from None
    except OSError as error:
        raise ConfigError(f"to: {path} cannot be read: {error.strerror}", field="to") from None


def read_columns(rows: Iterable[Recipient]) -> tuple[str, ...]:
    """Return the names of the columns of a table.

    Raises:
        ConfigError: The table has no row.
    """
    for row in rows:
        return tuple(row.fields)
    raise ConfigError("data: the table has no rows", field="data")


def read_values(given: Sequence[str]) -> dict[str, str]:
    """Return the keywords of ``--value KEY=TEXT``.

    Raises:
        ConfigError: One has no ``=``, or a keyword is there twice.
    """
    values: dict[str, str] = {}
    for item in given:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"value: write KEY=TEXT, not {item!r}", field="value")
        if name.strip() in values:
            raise ConfigError(f"value: {name.strip()} is there twice", field="value")
        values[name.strip()] = text
    return values


@attrs.frozen
class Letter:
    """The message, with places for the cells of each recipient's row."""

    values: Mapping[str, str]
    url: str | None
    #: Names of the columns; empty without a table, and then a text has no places.
    columns: tuple[str, ...] = ()

    def check(self) -> None:
        """See that every place has a column.

        Raises:
            ConfigError: One has none, or there is nothing to send.
        """
        if not self.values and not self._keywords:
            raise ConfigError(
                "data: the message has no keywords; give --value KEY=TEXT, or a table with further columns",
                field="data",
            )
        if not self.columns:
            return
        for field, text in (*(("value", text) for text in self.values.values()), ("url", self.url or "")):
            for name in _PLACE.findall(text):
                if name not in self.columns:
                    known = ", ".join(self.columns)
                    raise ConfigError(f"{field}: {{{name}}} is no column of the table: {known}", field=field)

    @property
    def _keywords(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name not in (OPENID, URL))

    def write(self, recipient: Recipient) -> TemplateMessage:
        """Return the message of one recipient."""
        if not self.columns:
            return TemplateMessage(self.values, url=self.url)
        cells = recipient.fields
        if self.values:
            data = {name: _PLACE.sub(lambda found: cells[found[1]], text) for name, text in self.values.items()}
        else:
            data = {name: cells[name] for name in self._keywords}
        url = cells.get(URL) or None
        if self.url is not None:
            url = _PLACE.sub(lambda found: quote(cells[found[1]], safe=""), self.url)
        return TemplateMessage(data, url=url)


class RowFinder:
    """The rows of a table by openid, on the disk: a million rows are a lot of memory.

    Of repeated ones the first counts.

    Args:
        rows: The rows.
    """

    def __init__(self, rows: Iterable[Recipient]) -> None:
        # In a file without a name, which goes with us.
        self._file = sqlite3.connect("")
        self._file.execute("CREATE TABLE rows (openid TEXT PRIMARY KEY, cells TEXT) WITHOUT ROWID")
        self.count = 0
        batch: list[tuple[str, str]] = []
        for row in rows:
            batch.append((row.openid, json.dumps(dict(row.fields), ensure_ascii=False)))
            if len(batch) == BATCH:
                self._store(batch)
        self._store(batch)

    def _store(self, batch: list[tuple[str, str]]) -> None:
        self.count += self._file.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?)", batch).rowcount
        batch.clear()

    def find(self, openid: str) -> Recipient | None:
        """Return the row of an openid."""
        found = self._file.execute("SELECT cells FROM rows WHERE openid = ?", (openid,)).fetchone()
        return None if found is None else Recipient(openid, json.loads(found[0]))

    def close(self) -> None:
        """Forget all."""
        self._file.close()
