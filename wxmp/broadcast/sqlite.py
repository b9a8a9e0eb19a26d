"""The journal in a file (SQLite): for one machine, any number of processes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from wxmp.broadcast.journal import Allowance, Claim, Doubt, Journal
from wxmp.broadcast.records import Outcome, Result, RunKey
from wxmp.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

__all__ = ["SQLiteJournal"]

T = TypeVar("T")

#: Seconds to wait for another process that is writing.
BUSY: Final = 10.0
#: Names in one question. SQLite takes 32,766 and more; smaller ones share the file better.
NAMES: Final = 500
#: Rows that are read at once.
ROWS: Final = 500
#: Seconds for which the event of a message without a result is kept, and may lie behind its claim.
EVENT_LIFE: Final = 86_400.0
#: The platform's days.
BEIJING: Final = timezone(timedelta(hours=8))
VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS run (
  id INTEGER PRIMARY KEY, appid TEXT NOT NULL, name TEXT NOT NULL, fingerprint TEXT NOT NULL, UNIQUE (appid, name)
);
CREATE TABLE IF NOT EXISTS recipient (
  run INTEGER NOT NULL, openid TEXT NOT NULL, outcome TEXT, owner TEXT, wall REAL NOT NULL, boot REAL NOT NULL,
  boot_id TEXT NOT NULL, msg_id INTEGER, errcode INTEGER NOT NULL DEFAULT 0, errmsg TEXT NOT NULL DEFAULT '',
  at REAL, PRIMARY KEY (run, openid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS in_flight ON recipient (run, owner) WHERE outcome IS NULL;
CREATE INDEX IF NOT EXISTS message ON recipient (msg_id) WHERE msg_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS doubtful ON recipient (openid) WHERE outcome IS NULL OR outcome = 'unknown';
CREATE TABLE IF NOT EXISTS owner (id TEXT PRIMARY KEY, wall REAL NOT NULL, boot REAL NOT NULL, boot_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS event (
  appid TEXT NOT NULL, msg_id INTEGER NOT NULL, outcome TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (appid, msg_id)
);
CREATE TABLE IF NOT EXISTS allowance (
  appid TEXT PRIMARY KEY, level REAL NOT NULL, at REAL NOT NULL, day TEXT NOT NULL, used INTEGER NOT NULL
);
"""


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class _Clock:
    """Two clocks beside each other: the wall clock can be set back, the other begins anew with the machine."""

    def __init__(self) -> None:
        self.boot_id = _boot_id()

    def now(self) -> tuple[float, float]:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.time(), time.monotonic()

    def age(self, wall: float, boot: float, boot_id: str) -> float:
        """Seconds since a moment that was written down; in doubt the longer time."""
        now_wall, now_boot = self.now()
        by_wall = now_wall - wall
        if boot_id == self.boot_id and boot_id:
            return max(by_wall, now_boot - boot)
        # The machine was started anew and its clock stands before the moment: nobody knows, so it is long ago.
        return by_wall if by_wall >= 0 else float("inf")


class SQLiteJournal(Journal):
    """A journal in one file (发送记录). Several processes of one machine may use it at once.

    What was written is on the disk before anything is sent (``synchronous=FULL``), so that not even a power cut makes
    a message go out twice. The file holds openids, message numbers and error texts, no token and no content; it is
    made readable for its owner only. A network file system is no place for it: SQLite's locks do not hold there.

    Args:
        path: The file; made if it is not there. Its folder must exist.

    Raises:
        ConfigError: The path cannot work, or the file is of another program or another version.
    """

    name = "sqlite"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir() or self._path.is_dir():
            raise ConfigError("journal must be a file in a folder that exists", field="journal")
        self._clock = _Clock()
        self._connection: sqlite3.Connection | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._runs: dict[RunKey, int] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"SQLiteJournal({str(self._path)!r})"

    # ---- the file

    async def _do(self, work: Callable[[sqlite3.Connection], T], *, write: bool = True) -> T:
        """Run ``work`` in the journal's own thread, in one transaction.

        A cancelled caller does not end it: the transaction is whole, and the next one waits for it.
        """
        with self._lock:
            if self._closed:
                raise JournalError("the journal is closed", journal=self.name)
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="wxmp-journal")
            future = self._executor.submit(self._transaction, work, write=write)
        return await asyncio.wrap_future(future)

    def _transaction(self, work: Callable[[sqlite3.Connection], T], *, write: bool) -> T:
        try:
            connection = self._connection or self._open()
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise JournalError(f"the journal's file failed: {error}", journal=self.name) from error
        return result

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            version, tables = connection.execute(
                "SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
            ).fetchone()
            if version not in (0, VERSION) or (version == 0 and tables):
                raise ConfigError("journal is a file of another program or another version", field="journal")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            if version == 0:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    async def aclose(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            await asyncio.wrap_future(executor.submit(self._close))
            executor.shutdown(wait=False)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # ---- the verbs

    async def begin(self, run: RunKey, *, fingerprint: str) -> None:
        """Open a run; see :class:`~wxmp.broadcast.Journal`."""

        def work(db: sqlite3.Connection) -> tuple[int, str]:
            db.execute(
                "INSERT OR IGNORE INTO run (appid, name, fingerprint) VALUES (?, ?, ?)",
                (run.appid, run.name, fingerprint),
            )
            number, known = db.execute(
                "SELECT id, fingerprint FROM run WHERE appid = ? AND name = ?", (run.appid, run.name)
            ).fetchone()
            return number, known

        number, known = await self._do(work)
        if known != fingerprint:
            raise ConfigError("name belongs to a run that sends something else; choose another one", field="name")
        self._runs[run] = number

    def _number(self, db: sqlite3.Connection, run: RunKey) -> int:
        number = self._runs.get(run)
        if number is None:
            row = db.execute("SELECT id FROM run WHERE appid = ? AND name = ?", (run.appid, run.name)).fetchone()
            if row is None:
                return 0
            number = self._runs[run] = row[0]
        return number

    async def known(self, run: RunKey, openids: Sequence[str]) -> Mapping[str, bool]:
        """Look recipients up; see :class:`~wxmp.broadcast.Journal`."""

        def work(db: sqlite3.Connection) -> dict[str, bool]:
            number, found = self._number(db, run), {}
            for start in range(0, len(openids), NAMES):
                part = openids[start : start + NAMES]
                rows = db.execute(
                    f"SELECT openid, outcome IS NOT NULL FROM recipient WHERE run = ? AND openid IN ({_marks(part)})",  # noqa: S608 - question marks
                    (number, *part),
                )
                found.update({openid: bool(settled) for openid, settled in rows})
            return found

        return await self._do(work, write=False)

    async def exchange(
        self,
        run: RunKey,
        *,
        owner: str,
        lease: float,
        claims: Sequence[str] = (),
        results: Sequence[Result] = (),
        releases: Sequence[str] = (),
    ) -> tuple[Claim, ...]:
        """Record, release and claim; see :class:`~wxmp.broadcast.Journal`."""

        def work(db: sqlite3.Connection) -> tuple[Claim, ...]:
            number = self._number(db, run)
            wall, boot = self._clock.now()
            self._renew(db, owner, lease)
            for result in results:
                self._record(db, run, number, result, wall)
            db.executemany(
                "DELETE FROM recipient WHERE run = ? AND openid = ? AND owner = ? AND outcome IS NULL",
                [(number, openid, owner) for openid in releases],
            )
            answers = []
            for openid in claims:
                made = db.execute(
                    "INSERT OR IGNORE INTO recipient (run, openid, owner, wall, boot, boot_id) VALUES (?, ?, ?, ?, ?, ?)",
                    (number, openid, owner, wall, boot, self._clock.boot_id),
                )
                answers.append(Claim(openid, mine=made.rowcount == 1))
            return tuple(answers)

        return await self._do(work)

    def _renew(self, db: sqlite3.Connection, owner: str, lease: float) -> None:
        wall, boot = self._clock.now()
        db.execute(
            "INSERT OR REPLACE INTO owner (id, wall, boot, boot_id) VALUES (?, ?, ?, ?)",
            (owner, wall + lease, boot + lease, self._clock.boot_id),
        )

    def _record(self, db: sqlite3.Connection, run: RunKey, number: int, result: Result, wall: float) -> None:
        outcome, at = result.outcome, wall
        if result.msg_id is not None and outcome is Outcome.ACCEPTED:
            row = db.execute(
                "DELETE FROM event WHERE appid = ? AND msg_id = ? RETURNING outcome, at", (run.appid, result.msg_id)
            ).fetchone()
            if row is not None:
                outcome, at = Outcome(row[0]), row[1]
        # What an event has settled meanwhile stays as it is, and so does what whoever took over has settled.
        db.execute(
            "UPDATE recipient SET outcome = ?, owner = NULL, msg_id = coalesce(?, msg_id), errcode = ?, errmsg = ?, at = ?"
            " WHERE run = ? AND openid = ? AND (outcome IS NULL OR outcome = 'unknown')",
            (outcome.value, result.msg_id, result.errcode, result.errmsg, at, number, result.openid),
        )

    def _dead_owners(self, db: sqlite3.Connection, number: int) -> list[tuple[str, float]]:
        """Return the owners with recipients in flight, and the seconds their lease still runs."""
        rows = db.execute(
            "SELECT DISTINCT r.owner, o.wall, o.boot, o.boot_id FROM recipient r LEFT JOIN owner o ON o.id = r.owner"
            " WHERE r.run = ? AND r.outcome IS NULL",
            (number,),
        ).fetchall()
        return [
            (owner, float("-inf") if wall is None else -self._clock.age(wall, boot, boot_id))
            for owner, wall, boot, boot_id in rows
        ]

    async def take_over(
        self, run: RunKey, *, owner: str, lease: float, openids: Sequence[str] | None, limit: int
    ) -> tuple[Doubt, ...]:
        """Take over what dead owners left; see :class:`~wxmp.broadcast.Journal`."""
        wanted = None if openids is None else set(openids)

        def work(db: sqlite3.Connection) -> tuple[Doubt, ...]:
            number = self._number(db, run)
            self._renew(db, owner, lease)
            doubts: list[Doubt] = []
            for dead, left in self._dead_owners(db, number):
                if left > 0 or dead == owner:
                    continue
                rows = db.execute(
                    "SELECT openid, wall, boot, boot_id FROM recipient WHERE run = ? AND owner = ? AND outcome IS NULL",
                    (number, dead),
                ).fetchall()
                for openid, wall, boot, boot_id in rows:
                    if len(doubts) < limit and (wanted is None or openid in wanted):
                        db.execute(
                            "UPDATE recipient SET owner = ? WHERE run = ? AND openid = ?", (owner, number, openid)
                        )
                        doubts.append(Doubt(openid, self._clock.age(wall, boot, boot_id)))
            return tuple(doubts)

        return await self._do(work)

    async def others(self, run: RunKey, *, owner: str) -> float | None:
        """Return when the next owner can be dead; see :class:`~wxmp.broadcast.Journal`."""

        def work(db: sqlite3.Connection) -> float | None:
            waits = [left for other, left in self._dead_owners(db, self._number(db, run)) if other != owner]
            return max(min(waits), 0.0) if waits else None

        return await self._do(work, write=False)

    async def allow(self, appid: str, *, wanted: int, per_second: float | None, per_day: int | None) -> Allowance:
        """Grant room under the limits; see :class:`~wxmp.broadcast.Journal`."""

        def work(db: sqlite3.Connection) -> Allowance:
            now, _ = self._clock.now()
            today = datetime.fromtimestamp(now, BEIJING).date().isoformat()
            row = db.execute("SELECT level, at, day, used FROM allowance WHERE appid = ?", (appid,)).fetchone()
            level, at, day, used = row or (1.0, now, today, 0)
            used = used if day == today else 0
            granted, wait = wanted, 0.0
            if per_second is not None:
                # A clock that was set back fills nothing; one second's worth is the most that is saved up.
                level = min(level + max(now - at, 0.0) * per_second, max(per_second, 1.0))
                granted = min(wanted, int(level))
                wait = 0.0 if granted else (1.0 - level) / per_second
            if per_day is not None and granted:
                granted = min(granted, max(per_day - used, 0))
            db.execute(
                "INSERT OR REPLACE INTO allowance (appid, level, at, day, used) VALUES (?, ?, ?, ?, ?)",
                (appid, level - granted if per_second is not None else level, now, today, used + granted),
            )
            over = per_day is not None and used >= per_day
            return Allowance(granted, wait, day_is_over=over and not granted)

        return await self._do(work)

    async def settle(self, appid: str, *, openid: str, msg_id: int | None, outcome: Outcome, at: float) -> bool:
        """Take in an event; see :class:`~wxmp.broadcast.Journal`."""

        def work(db: sqlite3.Connection) -> bool:
            db.execute("DELETE FROM event WHERE at < ?", (at - EVENT_LIFE,))
            if msg_id is not None:
                row = db.execute(
                    "SELECT r.run, r.openid FROM recipient r JOIN run ON run.id = r.run"
                    " WHERE r.msg_id = ? AND run.appid = ? AND r.openid = ?",
                    (msg_id, appid, openid),
                ).fetchone()
                if row is not None:
                    db.execute(
                        "UPDATE recipient SET outcome = ?, at = ?, owner = NULL WHERE run = ? AND openid = ?",
                        (outcome.value, at, *row),
                    )
                    return True
            rows = db.execute(
                "SELECT r.run, r.outcome FROM recipient r JOIN run ON run.id = r.run WHERE run.appid = ? AND r.openid = ?"
                " AND (r.outcome IS NULL OR r.outcome = 'unknown') AND r.wall <= ? AND r.wall > ? ORDER BY r.wall DESC",
                (appid, openid, at + 1.0, at - EVENT_LIFE),
            ).fetchall()
            # In flight it will have a result of its own, with its number: then the event is kept for it.
            lost = [run for run, outcome in rows if outcome is not None]
            if lost:
                db.execute(
                    "UPDATE recipient SET outcome = ?, at = ?, msg_id = ? WHERE run = ? AND openid = ?",
                    (outcome.value, at, msg_id, lost[0], openid),
                )
                return True
            if msg_id is not None:
                db.execute(
                    "INSERT OR REPLACE INTO event (appid, msg_id, outcome, at) VALUES (?, ?, ?, ?)",
                    (appid, msg_id, outcome.value, at),
                )
            return bool(rows)

        return await self._do(work)

    async def counts(self, run: RunKey) -> Mapping[Outcome | None, int]:
        """Count outcomes; see :class:`~wxmp.broadcast.Journal`."""

        def work(db: sqlite3.Connection) -> dict[Outcome | None, int]:
            rows = db.execute(
                "SELECT outcome, count(*) FROM recipient WHERE run = ? GROUP BY outcome", (self._number(db, run),)
            )
            return {None if outcome is None else Outcome(outcome): count for outcome, count in rows}

        return await self._do(work, write=False)

    async def results(self, run: RunKey, *, outcome: Outcome | None = None) -> AsyncIterator[Result]:
        """Iterate over what is settled, by openid; see :class:`~wxmp.broadcast.Journal`."""
        last = ""
        while True:

            def work(db: sqlite3.Connection, last: str = last) -> list[tuple[str, str, int | None, int, str, float]]:
                return db.execute(
                    "SELECT openid, outcome, msg_id, errcode, errmsg, at FROM recipient WHERE run = ? AND openid > ?"
                    " AND outcome IS NOT NULL AND (? IS NULL OR outcome = ?) ORDER BY openid LIMIT ?",
                    (self._number(db, run), last, outcome, outcome, ROWS),
                ).fetchall()

            rows = await self._do(work, write=False)
            for openid, ended, msg_id, errcode, errmsg, at in rows:
                yield Result(
                    openid,
                    Outcome(ended),
                    msg_id,
                    run.client_msg_id(openid),
                    errcode,
                    errmsg,
                    datetime.fromtimestamp(at, UTC),
                )
            if len(rows) < ROWS:
                return
            last = rows[-1][0]


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))
