"""The journal in a file (SQLite): for one machine, any number of processes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from wxmp._beijing import BEIJING, DAY
from wxmp.broadcast.journal import EVENT_EARLY, EVENT_LIFE, Allowance, Claim, Doubt, Journal, batch
from wxmp.broadcast.records import Outcome, Result, RunKey
from wxmp.errors import ConfigError, JournalError
from wxmp.tokens.file import Clock, host_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from concurrent.futures import Future

__all__ = ["SQLiteJournal"]

T = TypeVar("T")

#: Seconds to wait for another process that is writing.
BUSY: Final = 10.0
#: Seconds between two looks whether it still is: half as many again each time, from the first to the second.
NAP: Final = (0.0005, 0.01)
#: Names in one question. SQLite takes 32,766 and more; smaller ones share the file better.
NAMES: Final = 500
#: Recipients in one statement that writes: ten values each, and old versions of SQLite take 999.
RECORDS: Final = 80
#: Statements that are kept prepared: one for each number of recipients.
STATEMENTS: Final = 512
#: Rows that are read at once.
ROWS: Final = 500
#: Characters of an error text that are kept.
ERRMSG_CHARS: Final = 200
#: Shortest wait that is recommended, in seconds: less is a busy loop.
WAIT_MIN: Final = 0.001
#: What SQLite can hold in a number.
NUMBER_MAX: Final = 2**63 - 1
#: "wxmp", so that a file of another program is known as one.
APPLICATION: Final = 0x77786D70
VERSION: Final = 1

# wall, tick and clock are one moment on two clocks, see _Moment.
_SCHEMA: Final = f"""
CREATE TABLE run (
  id INTEGER PRIMARY KEY, appid TEXT NOT NULL, name TEXT NOT NULL, fingerprint TEXT NOT NULL, UNIQUE (appid, name)
);
CREATE TABLE recipient (
  run INTEGER NOT NULL, openid TEXT NOT NULL, outcome TEXT, owner TEXT, wall REAL NOT NULL, tick REAL NOT NULL,
  clock TEXT NOT NULL, msg_id INTEGER, errcode INTEGER NOT NULL DEFAULT 0, errmsg TEXT NOT NULL DEFAULT '',
  at REAL, PRIMARY KEY (run, openid)
) WITHOUT ROWID;
CREATE INDEX in_flight ON recipient (run, owner) WHERE outcome IS NULL;
CREATE TABLE owner (
  id TEXT PRIMARY KEY, lease REAL NOT NULL, wall REAL NOT NULL, tick REAL NOT NULL, clock TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE event (
  run INTEGER NOT NULL, openid TEXT NOT NULL, msg_id INTEGER, outcome TEXT NOT NULL, at REAL NOT NULL
);
CREATE INDEX event_of ON event (run, openid);
CREATE TABLE allowance (
  appid TEXT PRIMARY KEY, level REAL NOT NULL, at REAL NOT NULL, day TEXT NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA application_id={APPLICATION};
PRAGMA user_version={VERSION};
"""


_WRITE: Final = (
    "INSERT INTO recipient (run, openid, outcome, wall, tick, clock, msg_id, errcode, errmsg, at) VALUES {}"
    " ON CONFLICT (run, openid) DO UPDATE SET outcome = excluded.outcome, owner = NULL, msg_id = excluded.msg_id,"
    " errcode = excluded.errcode, errmsg = excluded.errmsg, at = excluded.at"
)


@attrs.frozen
class _Moment:
    """A point in time on two clocks: the wall clock, which can be set, and the one of :class:`_Clocks`."""

    wall: float
    tick: float
    #: Which clock ticked. Ticks of another one (the machine was started anew) cannot be compared.
    clock: str


class _Clocks:
    """The wall clock, and the clock that all processes of this machine share and that nobody can set."""

    def __init__(self, wall: Callable[[], float], clock: Clock | None) -> None:
        self._wall = wall
        self._clock = clock or host_clock(wall)

    def now(self) -> _Moment:
        return _Moment(self._wall(), self._clock.read(), self._clock.name)

    def age(self, of: _Moment) -> float:
        """Return the seconds since a claim, in doubt too many: beyond its time nothing is sent again."""
        now = self.now()
        by_wall = now.wall - of.wall
        if of.clock != now.clock or now.clock == "wall":
            return by_wall if by_wall >= 0 else float("inf")
        by_tick = now.tick - of.tick
        return max(by_wall, by_tick) if by_tick >= 0 else float("inf")

    def left(self, of: _Moment, lease: float) -> float:
        """Return the seconds that a lease still runs; below 0: it has ended."""
        now = self.now()
        comparable = of.clock == now.clock
        # The wall clock decides only where nothing better is known: setting it must not make the living dead.
        left = lease - (now.tick - of.tick if comparable else now.wall - of.wall)
        if left > 2 * lease:  # given by a clock that was set back by more than this since
            return float("-inf")
        return min(left, lease)


class _File:
    """The open file, and the one thread that touches it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="wxmp-journal")
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)

    def submit(self, work: Callable[[sqlite3.Connection], T], *, write: bool) -> Future[T]:
        return self._executor.submit(self._transaction, work, write=write)

    def _transaction(self, work: Callable[[sqlite3.Connection], T], *, write: bool) -> T:
        # SQLite's own way to wait sleeps for up to a tenth of a second, and the process that never sleeps gets the file
        # again and again. Short naps share it better.
        ends, nap = time.monotonic() + BUSY, NAP[0]
        while True:
            try:
                return self._attempt(work, write=write)
            except UnicodeEncodeError:
                break
            except (sqlite3.Error, OSError) as error:
                code: int = getattr(error, "sqlite_errorcode", 0)
                if code & 0xFF == sqlite3.SQLITE_BUSY and time.monotonic() < ends:
                    time.sleep(nap)
                    nap = min(nap * 1.5, NAP[1])
                    continue
                if code == sqlite3.SQLITE_NOTADB:
                    raise _foreign() from error
                raise JournalError(f"the journal's file failed: {error}", journal=SQLiteJournal.name) from error
        raise ConfigError("an openid is not text that can be written down", field="openid")

    def _attempt(self, work: Callable[[sqlite3.Connection], T], *, write: bool) -> T:
        connection = self._connection or self._open()
        if write:
            self._look_whether_it_is_there()
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        return result

    def _look_whether_it_is_there(self) -> None:
        """Writing to a file that has lost its name succeeds, and nobody would ever read it."""
        there = self._path.stat()
        if (there.st_dev, there.st_ino) != self._identity:
            raise JournalError("the journal's file was replaced while it was in use", journal=SQLiteJournal.name)

    def _open(self) -> sqlite3.Connection:
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        there = self._path.stat()
        if any((there.st_dev, there.st_ino) == file._identity for file in _INHERITED):  # noqa: SLF001 - same class
            raise JournalError(
                "the journal's file was open when this process was forked off, and SQLite does not survive that; "
                "use the journal in the child only, or start the child afresh (spawn)",
                journal=SQLiteJournal.name,
            )
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._identity = connection, (there.st_dev, there.st_ino)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make sure that the file is ours before anything in it is changed."""
        new = _is_new(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if not new:
            return
        connection.execute("BEGIN IMMEDIATE")
        if _is_new(connection):  # still: another process may have been faster
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")

    def close(self) -> Future[None]:
        future = self._executor.submit(self._close)
        self._executor.shutdown(wait=False)
        return future

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


class SQLiteJournal(Journal):
    """A journal in one file (发送记录). Several processes of one machine may use it at once.

    What was written is on the disk before anything is sent (``synchronous=FULL``), so that not even a power cut makes
    a message go out twice. The file holds openids, message numbers and error texts, no token and no content; it is
    made readable for its owner only. A network file system is no place for it: SQLite's locks do not hold there.
    Setting the wall clock ends no lease; set forward, it makes claims look older, which is the safe side.

    A process that is forked off while the file is open cannot use it (``JournalError``); whoever forks workers lets
    them use the journal first.
    """

    name = "sqlite"

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Clock | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        """Name the file. It is opened, and made if it is not there, with the first verb.

        Args:
            path: The file. Its folder must exist.
            clock: Seconds that only grow and that all processes of the machine share; for tests. Default: since boot.
            wall: Seconds since 1970; for tests.

        Raises:
            ConfigError: The path cannot work. With the first verb: the file is of another program or another version.
        """
        self._path = Path(path).absolute()
        try:
            fits = self._path.parent.is_dir() and (self._path.is_file() or not self._path.exists())
        except OSError:
            fits = False
        if not fits or "\0" in str(self._path):
            raise ConfigError("journal must be a file in a folder that exists", field="journal")
        self._clocks = _Clocks(wall, clock)
        self._lock = threading.Lock()
        self._file: _File | None = None
        #: What is sent by the runs that were begun here: somebody else may have begun an empty one anew.
        self._begun: dict[RunKey, str] = {}
        _ALL.add(self)

    def __repr__(self) -> str:
        return f"SQLiteJournal({str(self._path)!r})"

    async def _do(self, work: Callable[[sqlite3.Connection], T], *, write: bool = True) -> T:
        """Run ``work`` in the journal's own thread, in one transaction.

        A cancelled caller does not end it: the transaction is whole, and the next one waits for it.
        """
        with self._lock:
            if self._file is None:
                self._file = _File(self._path)
            future = self._file.submit(work, write=write)
        return await asyncio.wrap_future(future)

    async def aclose(self) -> None:
        """Close the file. Safe to call twice; the journal may be used again afterwards."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            await asyncio.shield(asyncio.wrap_future(file.close()))  # cancelled, it is closed all the same

    def _after_fork(self) -> None:
        file, self._file = self._file, None
        self._lock = threading.Lock()
        if file is not None:
            _INHERITED.append(file)

    # ---- the verbs

    async def begin(self, run: RunKey, *, fingerprint: str) -> None:
        """See :meth:`Journal.begin`."""

        def work(db: sqlite3.Connection) -> str:
            db.execute(
                "INSERT INTO run (appid, name, fingerprint) VALUES (?, ?, ?) ON CONFLICT (appid, name)"
                " DO UPDATE SET fingerprint = excluded.fingerprint"
                " WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE run = run.id)",
                (run.appid, run.name, fingerprint),
            )
            _forget_owners(db)
            row = db.execute("SELECT fingerprint FROM run WHERE appid = ? AND name = ?", (run.appid, run.name))
            return str(row.fetchone()[0])

        if await self._do(work) != fingerprint:
            raise ConfigError("name belongs to a run that sends something else; choose another one", field="name")
        self._begun[run] = fingerprint

    async def known(self, run: RunKey, openids: Sequence[str]) -> Mapping[str, bool]:
        """See :meth:`Journal.known`."""
        if not openids:
            return {}

        def work(db: sqlite3.Connection) -> dict[str, bool]:
            number, found = _number(db, run), dict[str, bool]()
            for start in range(0, len(openids), NAMES):
                part = openids[start : start + NAMES]
                named = f"FROM recipient WHERE run = ? AND openid IN ({','.join('?' * len(part))})"
                # Counted first, because each row that comes over costs a change of threads: a run that is continued
                # passes over whole parts that are settled, and a new one over parts that nobody knows.
                known, settled = db.execute(
                    f"SELECT count(*), coalesce(sum(outcome IS NOT NULL), 0) {named}",
                    (number, *part),
                ).fetchone()
                if settled == len(part):
                    found.update(dict.fromkeys(part, True))
                elif known:
                    rows = db.execute(f"SELECT openid, outcome IS NOT NULL {named}", (number, *part))
                    found.update({openid: bool(is_settled) for openid, is_settled in rows})
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
        """See :meth:`Journal.exchange`."""

        def work(db: sqlite3.Connection) -> tuple[Claim, ...]:
            number, now = self._number_of(db, run), self._clocks.now()
            _renew(db, owner, lease, now)
            for start in range(0, len(results), RECORDS):
                _record_all(db, number, results[start : start + RECORDS], now)
            for openid in releases:
                gone = db.execute(
                    "DELETE FROM recipient WHERE run = ? AND openid = ? AND owner = ? AND outcome IS NULL",
                    (number, openid, owner),
                )
                if gone.rowcount:
                    db.execute("DELETE FROM event WHERE run = ? AND openid = ?", (number, openid))
            answers: list[Claim] = []
            for start in range(0, len(claims), RECORDS):
                answers += _claim_all(db, number, claims[start : start + RECORDS], owner, now)
            return tuple(answers)

        return await self._do(work)

    async def take_over(
        self, run: RunKey, *, owner: str, lease: float, openids: Sequence[str] | None, limit: int
    ) -> tuple[Doubt, ...]:
        """See :meth:`Journal.take_over`."""
        wanted = None if openids is None else set(openids)

        def work(db: sqlite3.Connection) -> tuple[Doubt, ...]:
            number = self._number_of(db, run)
            _renew(db, owner, lease, self._clocks.now())
            doubts: list[Doubt] = []
            for dead, left in self._leases(db, number):
                if left > 0 or dead == owner:
                    continue
                rows = db.execute(
                    "SELECT openid, wall, tick, clock FROM recipient WHERE run = ? AND owner = ? AND outcome IS NULL",
                    (number, dead),
                )
                doubts += [
                    Doubt(openid, self._clocks.age(_Moment(*claimed)))
                    for openid, *claimed in rows
                    if wanted is None or openid in wanted
                ]
            del doubts[max(limit, 0) :]
            db.executemany(
                "UPDATE recipient SET owner = ? WHERE run = ? AND openid = ?",
                [(owner, number, doubt.openid) for doubt in doubts],
            )
            return tuple(doubts)

        return await self._do(work)

    def _number_of(self, db: sqlite3.Connection, run: RunKey) -> int:
        row = db.execute(
            "SELECT id, fingerprint FROM run WHERE appid = ? AND name = ?", (run.appid, run.name)
        ).fetchone()
        if row is None:
            raise JournalError("this run was not begun", journal=self.name)
        if self._begun.get(run, row[1]) != row[1]:
            raise JournalError("this run was begun anew, with something else to send", journal=self.name)
        return int(row[0])

    def _leases(self, db: sqlite3.Connection, number: int) -> list[tuple[str, float]]:
        """Return the owners of recipients in flight, and the seconds that their lease still runs."""
        rows = db.execute(
            "SELECT r.owner, o.lease, o.wall, o.tick, o.clock FROM"
            " (SELECT DISTINCT owner FROM recipient WHERE run = ? AND outcome IS NULL) r"
            " LEFT JOIN owner o ON o.id = r.owner",
            (number,),
        )
        return [
            (owner, float("-inf") if lease is None else self._clocks.left(_Moment(*renewed), lease))
            for owner, lease, *renewed in rows.fetchall()
        ]

    async def others(self, run: RunKey, *, owner: str) -> float | None:
        """See :meth:`Journal.others`."""

        def work(db: sqlite3.Connection) -> float | None:
            waits = [left for other, left in self._leases(db, _number(db, run)) if other != owner]
            return max(min(waits), 0.0) if waits else None

        return await self._do(work, write=False)

    async def allow(self, appid: str, *, wanted: int, per_second: float | None, per_day: int | None) -> Allowance:
        """See :meth:`Journal.allow`."""

        def work(db: sqlite3.Connection) -> Allowance:
            now = self._clocks.now().wall
            row = db.execute("SELECT level, at, day, used FROM allowance WHERE appid = ?", (appid,)).fetchone()
            level, at, day, used = row or (1.0, now, "", 0)
            today, tomorrow = _day(now), _day(now + DAY)
            if day not in (today, tomorrow):  # tomorrow: the clock was set back over midnight, and the day goes on
                day, used = today, 0
            granted, wait, over = max(wanted, 0), 0.0, False
            if per_second is not None:
                # A clock that was set back fills nothing.
                level, at = min(level + max(now - at, 0.0) * per_second, batch(per_second)), now
                granted = min(granted, int(level + 1e-9))
                if not granted:
                    # Until it is worth asking: one by one, a fast sender would do nothing but ask.
                    worth = max(1, min(wanted, int(batch(per_second))))
                    wait = max((worth - level) / per_second, WAIT_MIN)
            if per_day is not None and used + granted > per_day:
                granted = max(per_day - used, 0)
                if not granted:
                    over, wait = True, max(_midnight(now) - now, WAIT_MIN)
            if per_second is not None:
                level -= granted
            db.execute(
                "INSERT OR REPLACE INTO allowance (appid, level, at, day, used) VALUES (?, ?, ?, ?, ?)",
                (appid, level, at, day, used + granted),
            )
            return Allowance(granted, wait, day_is_over=over)

        return await self._do(work)

    async def settle(self, appid: str, *, openid: str, msg_id: int | None, outcome: Outcome, at: float) -> bool:
        """See :meth:`Journal.settle`."""

        def work(db: sqlite3.Connection) -> bool:
            rows = db.execute(
                "SELECT run, outcome, msg_id, wall FROM recipient"
                " WHERE run IN (SELECT id FROM run WHERE appid = ?) AND openid = ?",
                (appid, openid),
            ).fetchall()
            numbered = [run for run, _, number, _ in rows if number is not None and number == msg_id]
            in_flight = [run for run, ended, _, _ in rows if ended is None]
            lost = [
                (wall, run)
                for run, ended, _, wall in rows
                if ended == Outcome.UNKNOWN and wall <= at + EVENT_EARLY and wall > at - EVENT_LIFE
            ]
            if not numbered and in_flight:
                for run in in_flight:
                    known = db.execute(
                        "SELECT 1 FROM event WHERE run = ? AND openid = ? AND msg_id IS ?", (run, openid, msg_id)
                    ).fetchone()
                    if known is None:
                        db.execute(
                            "INSERT INTO event (run, openid, msg_id, outcome, at) VALUES (?, ?, ?, ?, ?)",
                            (run, openid, msg_id, outcome.value, at),
                        )
                return True
            if not numbered and not lost:
                return False
            db.execute(
                "UPDATE recipient SET outcome = ?, at = ?, msg_id = ? WHERE run = ? AND openid = ?",
                (outcome.value, at, msg_id, numbered[0] if numbered else max(lost)[1], openid),
            )
            return True

        msg_id = _storable(msg_id)
        return await self._do(work)

    async def counts(self, run: RunKey) -> Mapping[Outcome | None, int]:
        """See :meth:`Journal.counts`."""

        def work(db: sqlite3.Connection) -> dict[Outcome | None, int]:
            rows = db.execute(
                "SELECT outcome, count(*) FROM recipient WHERE run = ? GROUP BY outcome", (_number(db, run),)
            )
            return {None if outcome is None else Outcome(outcome): count for outcome, count in rows}

        return await self._do(work, write=False)

    async def results(self, run: RunKey, *, outcome: Outcome | None = None) -> AsyncIterator[Result]:
        """Iterate in the order of the openids; see :meth:`Journal.results`."""
        last = ""
        while True:

            def work(db: sqlite3.Connection, last: str = last) -> list[tuple[str, str, int | None, int, str, float]]:
                return db.execute(
                    "SELECT openid, outcome, msg_id, errcode, errmsg, at FROM recipient WHERE run = ? AND openid > ?"
                    " AND outcome IS NOT NULL AND (? IS NULL OR outcome = ?) ORDER BY openid LIMIT ?",
                    (_number(db, run), last, outcome, outcome, ROWS),
                ).fetchall()

            rows = await self._do(work, write=False)
            for openid, ended, msg_id, errcode, errmsg, at in rows:
                when = datetime.fromtimestamp(at, UTC)
                yield Result(openid, Outcome(ended), msg_id, run.client_msg_id(openid), errcode, errmsg, when)
            if len(rows) < ROWS:
                return
            last = rows[-1][0]


def _roll_back(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")


def _is_new(db: sqlite3.Connection) -> bool:
    """Tell whether the file is empty; raise if it is not ours."""
    application, version, tables = db.execute(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),"
        " (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if (application, version) == (APPLICATION, VERSION):
        return False
    if (application, version, tables) != (0, 0, 0):
        raise _foreign()
    return True


def _foreign() -> ConfigError:
    return ConfigError("journal is a file of another program or another version", field="journal")


def _number(db: sqlite3.Connection, run: RunKey) -> int:
    """Return the number of a run; 0, which none has, if it was never begun."""
    row = db.execute("SELECT id FROM run WHERE appid = ? AND name = ?", (run.appid, run.name)).fetchone()
    return 0 if row is None else int(row[0])


def _renew(db: sqlite3.Connection, owner: str, lease: float, now: _Moment) -> None:
    if lease <= 0:  # who is not there counts as dead
        db.execute("DELETE FROM owner WHERE id = ?", (owner,))
        return
    db.execute(
        "INSERT OR REPLACE INTO owner (id, lease, wall, tick, clock) VALUES (?, ?, ?, ?, ?)",
        (owner, lease, now.wall, now.tick, now.clock),
    )


def _forget_owners(db: sqlite3.Connection) -> None:
    """Delete what processes that were killed have left behind.

    Only those who have somebody in flight are ever asked for. The others are not needed, not even if they live: who
    claims or takes over renews the lease in the same transaction.
    """
    db.execute(
        "DELETE FROM owner WHERE id NOT IN (SELECT owner FROM recipient WHERE outcome IS NULL AND owner IS NOT NULL)"
    )


def _marks(rows: int, columns: int) -> str:
    row = f"({','.join('?' * columns)})"
    return ",".join([row] * rows)


def _named(openids: Sequence[str]) -> str:
    return f"WHERE run = ? AND openid IN ({','.join('?' * len(openids))})"


def _claim_all(
    db: sqlite3.Connection, number: int, openids: Sequence[str], owner: str, now: _Moment
) -> Sequence[Claim]:
    # Each statement costs two changes of threads, so it is one for all. Where somebody is known already, which is
    # seldom, it goes one by one.
    together = len(openids) == len(set(openids))
    if together and len(openids) > 1:
        named = f"FROM recipient {_named(openids)}"
        together = db.execute(f"SELECT count(*) {named}", (number, *openids)).fetchone()[0] == 0
    claims: list[Claim] = []
    for part in [openids] if together else [[openid] for openid in openids]:
        made = db.execute(
            "INSERT OR IGNORE INTO recipient (run, openid, owner, wall, tick, clock) VALUES" + _marks(len(part), 6),
            [value for openid in part for value in (number, openid, owner, now.wall, now.tick, now.clock)],
        )
        claims += [Claim(openid, mine=made.rowcount == len(part)) for openid in part]
    return claims


def _record_all(db: sqlite3.Connection, number: int, results: Sequence[Result], now: _Moment) -> None:
    # As for claims. What is simple: each is named once and in flight, and no event came first.
    openids = [result.openid for result in results]
    flying = told = 0
    if len(results) > 1:
        named = _named(openids)
        recipients, events = f"FROM recipient {named} AND outcome IS NULL", f"FROM event {named}"
        flying, told = db.execute(
            f"SELECT (SELECT count(*) {recipients}), (SELECT count(*) {events})",
            (number, *openids, number, *openids),
        ).fetchone()
    if flying == len(results) and not told:
        _write(
            db, number, [(result, result.outcome.value, _storable(result.msg_id), now.wall) for result in results], now
        )
        return
    for result in results:
        _record(db, number, result, now)


def _record(db: sqlite3.Connection, number: int, result: Result, now: _Moment) -> None:
    row = db.execute(
        "SELECT outcome, wall FROM recipient WHERE run = ? AND openid = ?", (number, result.openid)
    ).fetchone()
    settled, claimed = row or (None, now.wall)
    better = result.outcome is Outcome.ACCEPTED and settled in (Outcome.UNKNOWN, Outcome.REFUSED, Outcome.SKIPPED)
    if settled is not None and not better:
        return  # the first result stands, and what an event has said anyway
    outcome, at, msg_id = result.outcome.value, now.wall, _storable(result.msg_id)
    events = db.execute(
        "SELECT msg_id, outcome, at FROM event WHERE run = ? AND openid = ? ORDER BY at", (number, result.openid)
    ).fetchall()
    for told, ended, when in events:
        matches = msg_id is not None and told == msg_id
        if result.outcome is Outcome.UNKNOWN:
            matches = claimed - EVENT_EARLY <= when < claimed + EVENT_LIFE
        if matches:
            outcome, at, msg_id = ended, when, told
            break
    if events:
        db.execute("DELETE FROM event WHERE run = ? AND openid = ?", (number, result.openid))
    _write(db, number, [(result, outcome, msg_id, at)], now)


def _write(
    db: sqlite3.Connection, number: int, rows: Sequence[tuple[Result, str, int | None, float]], now: _Moment
) -> None:
    values: list[object] = []
    for result, outcome, msg_id, at in rows:
        errmsg = result.errmsg[:ERRMSG_CHARS].encode("utf-8", "replace").decode() if result.errmsg else ""
        values += (number, result.openid, outcome, now.wall, now.tick, now.clock, msg_id, result.errcode, errmsg, at)
    db.execute(_WRITE.format(_marks(len(rows), 10)), values)


def _storable(msg_id: int | None) -> int | None:
    return msg_id if msg_id is not None and abs(msg_id) <= NUMBER_MAX else None


def _day(wall: float) -> str:
    return datetime.fromtimestamp(wall, BEIJING).date().isoformat()


def _midnight(wall: float) -> float:
    """Return when the day ends in Beijing."""
    today = datetime.fromtimestamp(wall, BEIJING).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp()


_ALL: Final[weakref.WeakSet[SQLiteJournal]] = weakref.WeakSet()
#: What was open in the parent: in the child its thread is missing and its locks are not ours, so it is kept from being
#: closed. SQLite keeps locks by file and process: such a file is spoilt for the child, whatever object asks for it.
_INHERITED: Final[list[_File]] = []


def _after_fork() -> None:
    for journal in list(_ALL):
        journal._after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
