"""The journal in a file: power cuts, full disks, other people's files, other processes, clocks that jump."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

import wxmp.broadcast.sqlite
from tests.broadcast.journals import LEASE, RUN, SQLiteRoom
from tests.broadcast.model import ModelSender, Platform, people
from wxmp._beijing import BEIJING
from wxmp.broadcast.engine import Run
from wxmp.broadcast.records import Outcome, Pace, Result, RunKey
from wxmp.broadcast.sqlite import SQLiteJournal
from wxmp.errors import ConfigError, JournalError

HEAD = """
import asyncio, json, os, sys
from wxmp.broadcast.records import Outcome, Result, RunKey
from wxmp.broadcast.sqlite import SQLiteJournal
from wxmp.errors import JournalError
RUN = RunKey("wx1", "autumn")
"""


def start(script: str, *args: object, **more) -> subprocess.Popen[str]:
    """Run a script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + script, *map(str, args)], stdout=subprocess.PIPE, text=True, **more
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said.splitlines()


@pytest.fixture
async def room(tmp_path):
    made = SQLiteRoom(tmp_path)
    yield made
    for journal in made.opened:
        await journal.aclose()


@pytest.fixture
async def journal(room):
    made = room.journal()
    await made.begin(RUN, fingerprint="t1")
    return made


async def claim(journal, *openids, owner="a"):
    claims = await journal.exchange(RUN, owner=owner, lease=LEASE, claims=openids)
    return [one.openid for one in claims if one.mine]


async def ages(journal, owner="b"):
    doubts = await journal.take_over(RUN, owner=owner, lease=LEASE, openids=None, limit=100)
    return {doubt.openid: doubt.age for doubt in doubts}


# ---- the file


async def test_nobody_else_reads_the_file(room, journal):
    """The file and those beside it are the owner's alone."""
    await claim(journal, "o1")
    files = list(room.path.parent.iterdir())
    assert {path.name for path in files} == {"journal.db", "journal.db-wal", "journal.db-shm"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


async def test_what_is_written_survives_a_power_cut(journal):
    """SQLite is told to wait for the disk at each commit."""
    assert await journal._do(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
    assert await journal._do(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


async def test_closing_leaves_one_file(room, journal):
    """Nothing is left beside it, so that it can be copied."""
    await claim(journal, "o1")
    await journal.aclose()
    assert [path.name for path in room.path.parent.iterdir()] == ["journal.db"]


def test_making_a_journal_touches_nothing(tmp_path):
    """The file is made with the first verb."""
    assert repr(SQLiteJournal(tmp_path / "j.db")) == f"SQLiteJournal({str(tmp_path / 'j.db')!r})"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "folder", "missing/j.db", "file/j.db", "/dev/null", "a\0b", "\ud800/x"])
def test_a_path_that_cannot_work_is_refused(tmp_path, monkeypatch, name):
    """A folder, a file in a folder that is not there, a device."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        SQLiteJournal(name)
    assert caught.value.field == "journal"


async def test_memory_is_a_name_like_any_other(tmp_path, monkeypatch):
    """A journal that forgets is none: the special name of SQLite is a file here."""
    monkeypatch.chdir(tmp_path)
    async with SQLiteJournal(":memory:") as journal:
        await journal.begin(RUN, fingerprint="t1")
    assert (tmp_path / ":memory:").stat().st_size > 0


async def test_a_path_stays_where_it_was(tmp_path, monkeypatch):
    """A program that changes its folder keeps its journal."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with SQLiteJournal("j.db") as journal:
        monkeypatch.chdir(tmp_path / "elsewhere")
        await journal.begin(RUN, fingerprint="t1")
    assert (tmp_path / "j.db").exists()


def foreign_table(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE orders (id INTEGER)")
    db.commit()
    db.close()


def newer_version(path):
    asyncio.run(begin_in(path))
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=2")
    db.commit()
    db.close()


def foreign_program(path):
    db = sqlite3.connect(path)
    db.execute("PRAGMA application_id=252006675")
    db.commit()
    db.close()


async def begin_in(path):
    async with SQLiteJournal(path) as journal:
        await journal.begin(RUN, fingerprint="t1")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("openid,name\n" + "o1,x\n" * 1000),
        lambda path: path.write_bytes(b"o1"),
        foreign_table,
        foreign_program,
        newer_version,
    ],
    ids=["table of recipients", "two bytes", "foreign table", "foreign program", "newer version"],
)
async def test_a_foreign_file_is_left_alone(tmp_path, make):
    """Whoever names the wrong file gets it back as it was."""
    path = tmp_path / "j.db"
    await asyncio.to_thread(make, path)
    before = path.read_bytes()
    async with SQLiteJournal(path) as journal:
        for _ in range(2):
            with pytest.raises(ConfigError) as caught:
                await journal.begin(RUN, fingerprint="t1")
            assert caught.value.field == "journal"
    assert path.read_bytes() == before


async def test_an_empty_file_is_a_new_journal(tmp_path):
    """Some programs make the file first, to have its name."""
    (tmp_path / "j.db").touch()
    await begin_in(tmp_path / "j.db")


async def test_a_broken_file_is_an_error(room, journal):
    """Pages of nonsense are not passed over in silence."""
    await claim(journal, *(f"o{number}" for number in range(500)))
    await journal.aclose()
    content = bytearray(room.path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    room.path.write_bytes(content)
    with pytest.raises(JournalError) as caught:
        await journal.known(RUN, ["o1"])
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert caught.value.journal == "sqlite"


@pytest.mark.parametrize("what", ["removed", "replaced"])
async def test_a_file_that_is_gone_is_noticed(room, journal, what):
    """Writing to a file without a name would succeed, and nobody would ever read it."""
    await claim(journal, "o1")
    if what == "removed":
        room.path.unlink()
    else:
        other = room.path.with_name("other.db")
        other.touch()
        other.rename(room.path)
    for _ in range(2):
        with pytest.raises(JournalError):
            await claim(journal, "o2")


# ---- a disk that fails


async def test_a_full_disk_is_an_error_and_loses_nothing(room, journal):
    """The step that did not fit was not taken; with room again the next one is."""
    await claim(journal, "o1")

    def limit(pages: int) -> None:
        journal._file._connection.execute(f"PRAGMA max_page_count={pages}")

    await asyncio.wrap_future(journal._file._executor.submit(limit, 1))
    big = [f"{number}" * 40 for number in range(2000)]
    with pytest.raises(JournalError, match="full") as caught:
        await journal.exchange(RUN, owner="a", lease=LEASE, claims=big, results=[Result("o1", Outcome.ACCEPTED, 1)])
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert await journal.known(RUN, ["o1", big[0]]) == {"o1": False}
    await asyncio.wrap_future(journal._file._executor.submit(limit, 1_000_000))
    assert await claim(journal, *big) == big


def test_a_file_that_may_not_grow_is_an_error(tmp_path):
    """The operating system refuses to write: a typed error, and afterwards an intact file with what was confirmed."""
    process = start(
        """
import resource
async def main(path):
    journal = SQLiteJournal(path)
    await journal.begin(RUN, fingerprint="t1")
    confirmed = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        for number in range(100_000):
            await journal.exchange(RUN, owner="a", lease=15, claims=[f"o{number}"])
            confirmed.append(number)
    except JournalError as error:
        print(len(confirmed), type(error.__cause__).__name__, flush=True)
    os._exit(0)
asyncio.run(main(sys.argv[1]))
""",
        tmp_path / "j.db",
    )
    ((count, cause),) = (line.split() for line in finish(process))
    assert int(count) > 0
    assert cause == "OperationalError"

    async def look():
        async with SQLiteJournal(tmp_path / "j.db") as journal:
            assert await journal._do(lambda db: db.execute("PRAGMA integrity_check").fetchone()) == ("ok",)
            known = await journal.known(RUN, [f"o{number}" for number in range(int(count))])
            assert len(known) == int(count)

    asyncio.run(look())


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_may_not_be_written_is_an_error(what):
    """Without the right to write: a typed error, not a hang and not another file."""
    with tempfile.TemporaryDirectory(prefix="wxmp-journal-") as name:  # others may not look into pytest's folders
        folder = Path(name)
        path = folder / "j.db"
        if what == "file":
            asyncio.run(begin_in(path))
            path.chmod(0o444)
        folder.chmod(0o555)
        process = start(
            """
async def main(path):
    journal = SQLiteJournal(path)
    if os.getuid() == 0:  # root may write whatever the file says
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        await journal.begin(RUN, fingerprint="t1")
    except JournalError as error:
        print(type(error.__cause__).__name__)
asyncio.run(main(sys.argv[1]))
""",
            path,
        )
        assert finish(process) == ["OperationalError" if what == "file" else "PermissionError"]
        folder.chmod(0o755)


# ---- other processes


def test_four_processes_share_a_file(tmp_path):
    """Started at the same moment, on a file that is not there yet: each recipient is claimed once."""
    script = """
async def main(path, owner):
    got = []
    async with SQLiteJournal(path) as journal:
        await journal.begin(RUN, fingerprint="t1")
        for start in range(0, 400, 8):
            openids = [f"o{start + number}" for number in range(8)]
            claims = await journal.exchange(RUN, owner=owner, lease=15, claims=openids)
            mine = [one.openid for one in claims if one.mine]
            await journal.exchange(
                RUN, owner=owner, lease=15, results=[Result(openid, Outcome.ACCEPTED, 1) for openid in mine]
            )
            got += mine
    print(json.dumps(got))
asyncio.run(main(*sys.argv[1:]))
"""
    processes = [start(script, tmp_path / "j.db", f"p{number}") for number in range(4)]
    got = [openid for process in processes for openid in json.loads(finish(process)[0])]
    assert sorted(got) == sorted(f"o{number}" for number in range(400))

    async def look():
        async with SQLiteJournal(tmp_path / "j.db") as journal:
            assert await journal.counts(RUN) == {Outcome.ACCEPTED: 400}

    asyncio.run(look())


def test_kill_9_at_any_moment(tmp_path):
    """What was confirmed is there, each step is there as a whole, and the next process goes on at once."""
    path = tmp_path / "j.db"
    asyncio.run(begin_in(path))
    chance = random.Random(7)
    script = """
async def main(path, turn):
    journal = SQLiteJournal(path)
    await journal.begin(RUN, fingerprint="t1")
    last = []
    for number in range(10**6):
        claims = [f"{turn}-{number}-{part}" for part in range(20)]
        await journal.exchange(
            RUN, owner=turn, lease=15, claims=claims, results=[Result(one, Outcome.ACCEPTED, 1) for one in last]
        )
        last = claims
        print(number, flush=True)
asyncio.run(main(*sys.argv[1:]))
"""

    async def look(turn: int, confirmed: int) -> None:
        began = time.monotonic()
        async with SQLiteJournal(path) as journal:
            for number in range(confirmed + 3):
                known = await journal.known(RUN, [f"{turn}-{number}-{part}" for part in range(20)])
                states = set(known.values())
                assert len(known) in (0, 20)
                assert len(states) <= 1
                if number <= confirmed:
                    assert len(known) == 20
                if number < confirmed:
                    assert states == {True}
            assert await journal._do(lambda db: db.execute("PRAGMA integrity_check").fetchone()) == ("ok",)
            assert await claim(journal, f"after {turn}") == [f"after {turn}"]
        assert time.monotonic() - began < 20

    for turn in range(6):
        process = start(script, path, turn)
        assert process.stdout is not None
        line = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        lines = [line, *process.stdout.readlines()]
        process.wait(20)
        process.stdout.close()
        asyncio.run(look(turn, max(int(one) for one in lines if one.endswith("\n"))))


async def test_a_process_that_holds_the_file_is_waited_for(room, journal, monkeypatch):
    """Meanwhile the event loop goes on; for too long is an error."""
    holder = sqlite3.connect(room.path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    task = asyncio.ensure_future(claim(journal, "o1"))
    for _ in range(10):
        await asyncio.sleep(0.01)
    assert not task.done()
    holder.execute("COMMIT")
    assert await task == ["o1"]
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(wxmp.broadcast.sqlite, "BUSY", 0.1)
    second = room.journal()
    with pytest.raises(JournalError, match="locked"):
        await second.begin(RUN, fingerprint="t1")
    assert await second.known(RUN, ["o1"]) == {"o1": False}  # reading waits for nobody
    holder.execute("ROLLBACK")
    holder.close()
    await second.begin(RUN, fingerprint="t1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_does_not_touch_the_parents_file(tmp_path):
    """Open before the fork: the child gets a clear error, also with a journal of its own; the parent goes on."""

    async def use(journal, openid):
        await journal.begin(RUN, fingerprint="t1")
        return await claim(journal, openid)

    async def child(path, journal):
        for one in (journal, SQLiteJournal(path)):
            with pytest.raises(JournalError, match="fork"):
                await use(one, "c1")
        await use(SQLiteJournal(path.with_name("other.db")), "c1")

    async def parent():
        journal = SQLiteJournal(tmp_path / "j.db")
        assert await use(journal, "o1") == ["o1"]
        journal._lock.acquire()  # as another thread may hold it at that moment
        pid = os.fork()
        if pid == 0:
            code = 1
            signal.alarm(30)
            try:
                failed = []
                threading.excepthook = failed.append
                worker = threading.Thread(target=lambda: asyncio.run(child(tmp_path / "j.db", journal)))
                worker.start()
                worker.join()
                code = len(failed)
            finally:
                os._exit(code)
        journal._lock.release()
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            assert await use(journal, f"p{time.monotonic_ns()}")
        assert await journal.known(RUN, ["o1", "c1"]) == {"o1": False}
        await journal.aclose()
        return os.waitstatus_to_exitcode(status)

    assert asyncio.run(parent()) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_journal_that_was_not_used_survives_a_fork(tmp_path):
    """Made in the parent, used in the children only."""
    journal = SQLiteJournal(tmp_path / "j.db")

    async def use():
        await journal.begin(RUN, fingerprint="t1")
        assert await claim(journal, f"o{os.getpid()}")
        await journal.aclose()

    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            code = 1
            try:
                asyncio.run(use())
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    asyncio.run(use())


# ---- clocks


async def test_the_wall_clock_ends_no_lease(room, journal):
    """Set forward by a day: whoever lives keeps what it has."""
    await claim(journal, "o1")
    room.wall += 86_400
    assert await journal.others(RUN, owner="b") == LEASE
    assert await ages(journal) == {}
    room.wall -= 2 * 86_400
    assert await journal.others(RUN, owner="b") == LEASE
    assert await ages(journal) == {}
    room.tick += LEASE
    assert list(await ages(journal)) == ["o1"]


async def test_a_wall_clock_that_was_set_back_makes_nobody_younger(room, journal):
    """The age goes by the clock that nobody can set."""
    await claim(journal, "o1")
    room.tick += 700
    room.wall -= 3600
    assert await ages(journal) == {"o1": 700.0}


async def test_a_wall_clock_that_was_set_forward_makes_older(room, journal):
    """Perhaps the machine was asleep in a way that its other clock did not see: the safe side."""
    await claim(journal, "o1")
    room.tick += 20
    room.wall += 3600
    assert await ages(journal) == {"o1": 3600.0}


async def test_after_a_new_start_the_wall_clock_decides(room, journal):
    """The other clock begins anew, and its figures mean nothing any more."""
    await claim(journal, "o1")
    room.boot, room.tick = "boot 2", 3.0
    room.wall += 120
    assert await ages(room.journal()) == {"o1": 120.0}


async def test_after_a_new_start_with_a_clock_in_the_past_nobody_knows(room, journal):
    """Then it was long ago, and nothing is sent again."""
    await claim(journal, "o1")
    room.boot, room.tick = "boot 2", 3.0
    room.wall -= 3600
    again = room.journal()
    assert await again.others(RUN, owner="b") == 0.0
    assert await ages(again) == {"o1": float("inf")}


async def test_where_there_is_only_the_wall_clock_the_living_live(room):
    """As on systems without a clock since boot: leases run, and end."""
    room.boot = "wall"
    journal = SQLiteJournal(
        room.path, clock=wxmp.broadcast.sqlite.Clock("wall", lambda: room.wall), wall=lambda: room.wall
    )
    await journal.begin(RUN, fingerprint="t1")
    await claim(journal, "o1")
    assert await ages(journal) == {}
    room.wall -= 5
    assert await ages(journal) == {}
    room.wall += 5 + LEASE
    assert await ages(journal) == {"o1": LEASE}
    await claim(journal, "o2", owner="c")
    room.wall -= 7200
    assert await ages(journal, "d") == {"o1": float("inf"), "o2": float("inf")}
    await journal.aclose()


async def test_the_clocks_of_this_machine(tmp_path):
    """Without clocks of a test, real ones are taken."""
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        await journal.begin(RUN, fingerprint="t1")
        await journal.exchange(RUN, owner="a", lease=0.05, claims=["o1"])
        assert await ages(journal) == {}
        await asyncio.sleep(0.06)
        assert 0.05 < (await ages(journal))["o1"] < 30


@pytest.mark.parametrize(("clock", "today"), [("23:59:59", 0), ("00:00:00", 10), ("16:00:00", 10)])
async def test_the_day_ends_at_midnight_in_beijing(room, journal, clock, today):
    """One second before, the limit stands; at midnight a new day begins, wherever the process lives."""
    room.wall = datetime(2026, 11, 21, 12, tzinfo=BEIJING).timestamp()
    await journal.allow("wx1", wanted=10, per_second=None, per_day=10)
    day = 21 if clock.startswith("23") else 22
    room.wall = datetime.fromisoformat(f"2026-11-{day}T{clock}+08:00").timestamp()
    allowance = await journal.allow("wx1", wanted=10, per_second=None, per_day=10)
    assert allowance.granted == today
    if not today:
        assert (allowance.day_is_over, allowance.wait) == (True, 1.0)


async def test_a_clock_that_is_set_back_over_midnight_gives_no_second_day(room, journal):
    """What was sent on the new day counts until that day is over."""
    room.wall = datetime(2026, 11, 22, 0, 0, 5, tzinfo=BEIJING).timestamp()
    await journal.allow("wx1", wanted=10, per_second=None, per_day=10)
    room.wall -= 10
    assert (await journal.allow("wx1", wanted=10, per_second=None, per_day=10)).day_is_over
    room.wall += 10
    assert (await journal.allow("wx1", wanted=10, per_second=None, per_day=10)).day_is_over


async def test_a_clock_that_was_wrong_by_a_month_stops_nobody(room, journal):
    """A day in the far future is no day that counts."""
    right = room.wall
    room.wall += 30 * 86_400
    await journal.allow("wx1", wanted=10, per_second=None, per_day=10)
    room.wall = right
    assert (await journal.allow("wx1", wanted=10, per_second=None, per_day=10)).granted == 10


async def test_a_clock_that_jumps_gives_one_batch(room, journal):
    """Forward or back: the rate gains at most what it may be ahead of itself."""
    for jump in (3600, -7200, 3600):
        room.wall += jump
        granted = [(await journal.allow("wx1", wanted=10, per_second=100, per_day=None)).granted for _ in range(5)]
        assert sum(granted) <= 10


# ---- what is in it


async def test_a_million_would_fit(room, journal):
    """A settled recipient takes less than 200 bytes of the disk."""
    openids = [f"oABCDEFGHIJKLMNOPQRST{number:07d}" for number in range(20_000)]
    for begin in range(0, len(openids), 500):
        part = openids[begin : begin + 500]
        await claim(journal, *part)
        results = [Result(openid, Outcome.ACCEPTED, 3_000_000_000_000_000_000) for openid in part]
        await journal.exchange(RUN, owner="a", lease=LEASE, results=results)
    await journal.aclose()
    assert room.path.stat().st_size / len(openids) < 200


async def test_runs_of_two_names_in_one_file(room, journal):
    """A file holds any number of runs and accounts."""
    for run in (RunKey("wx1", "b"), RunKey("wx2", "autumn")):
        await journal.begin(run, fingerprint="other")
        assert await journal.counts(run) == {}


# ---- who lives


async def owners(journal):
    rows = await journal._do(lambda db: db.execute("SELECT id FROM owner ORDER BY id").fetchall(), write=False)
    return [owner for (owner,) in rows]


async def test_a_farewell_leaves_no_owner(journal):
    """Who says goodbye is forgotten at once, and what it left in flight is free for others."""
    await claim(journal, "o1", "o2")
    assert await owners(journal) == ["a"]
    await journal.exchange(RUN, owner="a", lease=0.0, results=[Result("o1", Outcome.ACCEPTED, 1)])
    assert await owners(journal) == []
    assert await journal.others(RUN, owner="b") == 0.0
    assert await ages(journal) == {"o2": 0.0}


async def test_the_next_begin_forgets_the_dead_without_recipients(room, journal):
    """Of processes that were killed nothing stays once nobody is in flight under their names."""
    other = RunKey("wx2", "winter")
    await journal.begin(other, fingerprint="t2")
    await journal.exchange(other, owner="elsewhere", lease=LEASE, claims=["o1"])
    await claim(journal, "o1", owner="idle")
    await journal.exchange(RUN, owner="idle", lease=LEASE, results=[Result("o1", Outcome.ACCEPTED, 1)])
    await claim(journal, "o2", owner="robbed")
    room.advance(LEASE)
    await claim(journal, "o3", owner="dead")
    room.advance(LEASE - 1)
    assert await ages(journal, "living") == {"o2": 2 * LEASE - 1}
    assert await owners(journal) == ["dead", "elsewhere", "idle", "living", "robbed"]
    await room.journal().begin(RunKey("wx1", "spring"), fingerprint="t3")
    assert await owners(journal) == ["dead", "elsewhere", "living"]
    assert await journal.others(RUN, owner="living") == 1.0
    assert await journal.others(RUN, owner="dead") == LEASE
    room.advance(1)
    assert await ages(journal, "living") == {"o3": LEASE}


async def test_a_living_owner_that_was_forgotten_goes_on(room, journal):
    """A process that has nobody in flight when another run begins is not hurt by it: what it claims next is its own."""
    await journal.exchange(RUN, owner="a", lease=LEASE)
    second = room.journal()
    await second.begin(RUN, fingerprint="t1")
    assert await owners(journal) == []
    await claim(journal, "o1")
    assert await second.others(RUN, owner="b") == LEASE
    assert await ages(second) == {}
    await second.begin(RUN, fingerprint="t1")
    assert await owners(journal) == ["a"]
    assert await ages(second) == {}


async def test_runs_leave_no_owners(tmp_path):
    """However many runs a file has seen, killed ones included, none of their names stays."""
    platform = Platform(asyncio.get_running_loop().time)
    async with SQLiteJournal(tmp_path / "j.db") as journal:
        for number in range(5):
            key = RunKey("wx1", f"run {number}")
            await journal.begin(key, fingerprint="model")
            # Killed: its lease is over, and what it had in flight is nobody's.
            await journal.exchange(key, owner=f"killed {number}", lease=1e-6, claims=["o00000"])
            progress = await Run(key, people(3), ModelSender(platform), journal, Pace(concurrency=2)).run()
            assert progress.outcomes == {Outcome.ACCEPTED: 3}
            assert await owners(journal) == [f"killed {number}"]
        await journal.begin(key, fingerprint="model")
        assert await owners(journal) == []
