"""The file store: torn files, foreign files, kills, freezes, forks, clocks."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.moments import quickest
from wxmp.errors import ConfigError, TokenStoreError
from wxmp.tokens import file as module
from wxmp.tokens.file import FileTokenStore, file_system, host_clock
from wxmp.tokens.store import LeaseReason, LeaseStatus, ReplacementBudget, TokenKey, TokenRecord, check_token_value

KEY = TokenKey("wx1", "plain")
TOKEN = "token-that-must-not-show"
NOBODY = 65_534
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def record(folder) -> Path:
    return folder / "wx1.plain.json"


@pytest.fixture
def store(folder, clock) -> FileTokenStore:
    return FileTokenStore(folder, clock=clock, wall=clock.wall, timeout=10)


async def put(store, value="token", fence=1000, life=7200.0):
    assert await store.commit(KEY, fence=fence, value=value, life=life)


async def value_of(store):
    token = (await store.read(KEY)).token
    return token.value if token is not None else None


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


def run_script(script, *args, **options):
    """Run Python code in a process of its own, not measured for coverage (steps are counted); return its exit code."""
    options["env"] = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)], timeout=60, check=False, **options
    ).returncode


# --- the folder and its files ------------------------------------------------------------------------------------


async def test_there_is_one_record_and_one_lock_per_key(store, folder):
    """Files are named after AppID and channel, and nothing else stays behind."""
    await put(store)
    await store.lease(TokenKey("wx1", "stable"), owner="a", ttl=10, expect=0, credential="0a1b2c3d")
    names = ["wx1.plain.json", "wx1.plain.lock", "wx1.stable.json", "wx1.stable.lock"]
    assert sorted(path.name for path in folder.iterdir()) == names


async def test_the_record_is_readable_json(store, record):
    """The file is JSON with the documented field names."""
    await put(store, TOKEN)
    fields = json.loads(record.read_text())
    assert (fields["v"], fields["gen"], fields["life"]) == (TOKEN, 1000, 7_200_000)
    assert (fields["format"], fields["appid"], fields["channel"]) == (1, "wx1", "plain")


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
async def test_modes_do_not_depend_on_the_umask(tmp_path, clock, umask):
    """Folders 0700 and files 0600, from the moment they are made, under any umask that lets us work at all."""
    store = FileTokenStore(tmp_path / "a" / "b", clock=clock, timeout=10)
    before = os.umask(umask)
    try:
        if umask == 0o777 and not IS_ROOT:
            return  # not even the owner could use what is made
        await put(store)
    finally:
        os.umask(before)
    files = list((tmp_path / "a" / "b").iterdir())
    assert len(files) == 2
    assert all(mode_of(path) & ~0o600 == 0 for path in files)
    assert all(mode_of(path) & ~0o700 == 0 for path in (tmp_path / "a", tmp_path / "a" / "b"))


async def test_modes_are_set_at_creation(store, folder, monkeypatch):
    """Nothing is opened up first and closed later: every open() that makes a file asks for 0600."""
    asked = []
    original = os.open

    def watch(path, flags, mode=0o777, **more):
        if flags & os.O_CREAT:
            asked.append((os.fspath(path), mode, flags))
        return original(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", watch)
    await put(store)
    assert [mode for _, mode, _ in asked] == [0o600, 0o600]
    assert all(flags & os.O_NOFOLLOW for _, _, flags in asked)
    draft = next(one for one in asked if one[0].endswith(".tmp"))
    assert draft[2] & os.O_EXCL


async def test_reading_makes_nothing(store, folder):
    """A read of an empty store leaves no folder behind."""
    assert await store.read(KEY) == TokenRecord()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["record.json", "existing", ""])
def test_a_path_that_is_a_file_is_refused(tmp_path, name):
    """The store needs a folder; the error says so."""
    (tmp_path / "existing").write_text("")
    with pytest.raises(ConfigError, match="folder") as caught:
        FileTokenStore(tmp_path / name if name else "")
    assert caught.value.field == "path"


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_time_limit_that_is_none_is_refused(tmp_path, timeout):
    """Every operation has an end."""
    with pytest.raises(ConfigError):
        FileTokenStore(tmp_path, timeout=timeout)


async def test_a_path_that_became_a_file_is_a_store_error(store, folder):
    """A file in place of the folder is reported, not replaced."""
    folder.write_text("somebody's")
    with pytest.raises(TokenStoreError, match="not a folder"):
        await store.read(KEY)
    assert folder.read_text() == "somebody's"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
async def test_a_folder_that_others_can_write_to_is_refused(store, folder, mode):
    """In such a folder anybody could put a token."""
    folder.mkdir()
    folder.chmod(mode)
    for call in (store.read(KEY), store.commit(KEY, fence=5, value=TOKEN, life=60)):
        with pytest.raises(TokenStoreError, match="chmod 700") as caught:
            await call
        assert isinstance(caught.value.__cause__, PermissionError)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a folder away; the next test needs no root")
async def test_a_folder_of_another_user_is_refused(store, folder):
    """Files made in there would lock that user out."""
    folder.mkdir(0o700)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(TokenStoreError, match=f"belongs to user {NOBODY}"):
        await put(store)


async def test_a_folder_is_not_ours_if_we_are_somebody_else(store, folder, monkeypatch):
    """The owner is compared with the user of the process."""
    folder.mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(TokenStoreError, match="belongs to user"):
        await put(store)


# --- records from outside ------------------------------------------------------------------------------------------

GARBAGE = {
    "empty": b"",
    "zeros": bytes(300),
    "random": bytes(range(256)) * 4,
    "text": b"hello",
    "list": b"[]",
    "number": b"5",
    "null": b"null",
    "object": b"{}",
    "other format": b'{"format": 2, "appid": "wx1", "channel": "plain", "now": 1, "wall": 1, "v": "x"}',
    "other appid": b'{"format": 1, "appid": "wx2", "channel": "plain", "now": 1, "wall": 1, "v": "x"}',
    "no clock": b'{"format": 1, "appid": "wx1", "channel": "plain", "v": "x", "gen": 1, "life": 1, "exp": 1}',
    "pickle": pickle.dumps({"v": "x"}),
    "deep": b"[" * 60_000,
    "long number": b'{"format": ' + b"9" * 60_000 + b"}",
    "not utf-8": b'{"format": "\xff\xfe"}',
    "too large": b" " * 70_000,
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_no_record(store, record, content):
    """A file that is not a record of ours is no record; the next commit replaces it."""
    await put(store)
    record.write_bytes(content)
    record.chmod(0o600)
    assert await store.read(KEY) == TokenRecord()
    lease = await store.lease(KEY, owner="a", ttl=10, expect=0)
    assert lease.status is LeaseStatus.HELD
    assert await store.commit(KEY, fence=lease.fence, value="next", life=60)
    assert await value_of(store) == "next"


async def test_every_truncation_is_no_record(store, record):
    """Cut off after any number of bytes, a record is no record, never an error and never half of a token."""
    await put(store, TOKEN)
    whole = record.read_bytes()
    for size in range(len(whole)):
        record.write_bytes(whole[:size])
        assert await store.read(KEY) == TokenRecord()
    record.write_bytes(whole)
    assert await value_of(store) == TOKEN


async def test_a_deleted_record_is_no_record(store, record):
    """After somebody deleted the file the store is empty."""
    await put(store)
    record.unlink()
    assert await store.read(KEY) == TokenRecord()
    await put(store)


async def test_a_deleted_folder_is_made_again(store, folder):
    """After somebody deleted the folder the next write makes it."""
    await put(store)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert await store.read(KEY) == TokenRecord()
    await put(store)
    assert await value_of(store) == "token"


@pytest.mark.parametrize(
    "changes",
    [
        {"v": ""},
        {"v": None},
        {"v": ["x"]},
        {"v": "a\r\nX-Evil: 1"},
        {"v": "tökén"},
        {"v": "x" * 2049},
        {"gen": 0},
        {"gen": True},
        {"gen": "1000"},
        {"gen": 1e3},
        {"gen": 1 << 60},
        {"life": 86_400_001},
        {"life": -1},
        {"exp": 1 << 50},
        {"exp": None},
    ],
)
async def test_a_token_that_cannot_be_is_no_token(store, record, changes):
    """A field out of its range or of the wrong kind makes the token absent; it can be replaced."""
    await put(store)
    record.write_text(json.dumps(json.loads(record.read_text()) | changes))
    assert await value_of(store) is None
    lease = await store.lease(KEY, owner="a", ttl=10, expect=0)
    assert await store.commit(KEY, fence=lease.fence, value="next", life=60)
    assert await value_of(store) == "next"


FIELDS = ["format", "clock", "now", "wall", "holder", "v", "gen", "life", "exp", "lo", "lu", "lf", "fence"]
FIELDS += ["ec", "eu", "ef", "es", "rb", "rt", "fa", "fn"]
leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.integers(900_000, 1_100_000),
    st.floats(),
    st.text(max_size=20),
)
junk = st.one_of(
    leaf, st.lists(leaf, max_size=3), st.dictionaries(st.sampled_from(["pid", "started", "namespace"]), leaf)
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(FIELDS), junk, min_size=1))
def test_no_record_makes_a_verb_fail(tmp_path, changes):
    """Whatever stands in the file: every verb answers, tokens are clean, and a new token can be stored."""
    with mock.patch.object(os, "fsync"):  # waiting for the disk is most of the time
        asyncio.run(use_a_damaged_record(tmp_path / "fuzz", changes))


async def use_a_damaged_record(folder, changes):
    now = [1000.0]
    store = FileTokenStore(folder, clock=lambda: now[0], wall=lambda: 1_700_000_000.0, timeout=10)
    path = folder / "wx1.plain.json"
    path.unlink(missing_ok=True)
    await store.lease(KEY, owner="a", ttl=60, expect=0, reason=LeaseReason.FORCED)
    await put(store)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    token = (await store.read(KEY)).token
    if token is not None:
        assert check_token_value(token.value)
        assert 0 < token.left <= token.life <= 86_400
    for reason in LeaseReason:
        lease = await store.lease(KEY, owner="a", ttl=60, expect=0, reason=reason, budget=ReplacementBudget())
        assert 0 <= lease.wait <= 2 * 86_400
    await store.fail(KEY, owner="a", fence=1 << 45, code=-1, cool_down=1)
    await store.seed(KEY, value="seeded", generation=7, life=60, left=60)
    await store.commit(KEY, fence=4_000_000_000_000_000, value="new", life=60)
    assert check_token_value(await value_of(store))
    await store.aclose()


async def test_a_symlink_in_place_of_the_record_is_not_followed(store, folder, record, tmp_path):
    """A link is no record; a write replaces the link and leaves its target alone."""
    other = tmp_path / "other.json"
    other.write_text("somebody's")
    folder.mkdir(0o700)
    record.symlink_to(other)
    assert await store.read(KEY) == TokenRecord()
    await put(store)
    assert not record.is_symlink()
    assert other.read_text() == "somebody's"


async def test_a_symlink_in_place_of_the_lock_is_refused(store, folder, tmp_path):
    """A link in place of the lock file would let somebody else hold the lock: a store error."""
    folder.mkdir(0o700)
    (folder / "wx1.plain.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TokenStoreError):
        await put(store)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_symlink_in_place_of_the_draft_is_not_followed(store, folder, tmp_path, monkeypatch):
    """Even somebody who guessed the name of the temporary file gains nothing."""
    monkeypatch.setattr(module.secrets, "token_hex", lambda _: "guessed")
    folder.mkdir(0o700)
    store._swept.add(KEY)
    target = tmp_path / "elsewhere"
    (folder / f".wx1.plain.{os.getpid()}.guessed.tmp").symlink_to(target)
    with pytest.raises(TokenStoreError):
        await put(store)
    assert not target.exists()


async def test_a_named_pipe_in_place_of_the_record_does_not_hang(store, folder, record):
    """A pipe is no record, and opening it does not wait for a writer."""
    folder.mkdir(0o700)
    os.mkfifo(record, 0o600)
    assert await asyncio.wait_for(store.read(KEY), 5) == TokenRecord()
    await put(store)
    assert await value_of(store) == "token"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
async def test_a_record_that_others_can_write_to_is_no_record(store, record, mode):
    """Anybody could have written it; the next commit replaces it by one with mode 0600."""
    await put(store, "theirs")
    record.chmod(mode)
    assert await store.read(KEY) == TokenRecord()
    await put(store, "ours")
    assert (await value_of(store), mode_of(record)) == ("ours", 0o600)


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a file away; the next test needs no root")
@pytest.mark.parametrize("name", ["wx1.plain.json", "wx1.plain.lock"])
async def test_files_of_another_user(store, folder, name):
    """Another user's record is no record; another user's lock file is refused."""
    await put(store, "theirs")
    os.chown(folder / name, NOBODY, NOBODY)
    if name.endswith(".lock"):
        with pytest.raises(TokenStoreError, match="lock file"):
            await put(store, "ours", fence=1001)
    else:
        assert await store.read(KEY) == TokenRecord()
        await put(store, "ours")
        assert (folder / name).stat().st_uid == 0


def test_the_owner_of_a_file_is_compared(record, folder, monkeypatch):
    """A file of another user is told by its owner."""
    folder.mkdir()
    record.write_text("{}")
    record.chmod(0o600)
    assert module._distrust(record.stat()) == ""
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    assert "belongs to user" in module._distrust(record.stat())


async def test_a_strange_file_is_warned_about_once(store, record, caplog):
    """One line says which file and why, without what is in it."""
    await put(store)
    record.write_text("secret garbage")
    with caplog.at_level(logging.WARNING, "wxmp.tokens"):
        for _ in range(5):
            await store.read(KEY)
    assert len(caplog.records) == 1
    assert "wx1.plain.json" in caplog.text
    assert "secret" not in caplog.text


# --- reading without reading ----------------------------------------------------------------------------------------


async def test_an_unchanged_file_is_not_read_again(folder, monkeypatch):
    """Readers look at the file's time stamp first; only a changed file is opened."""
    store = FileTokenStore(folder, timeout=10)
    await put(store)
    old = time.time() - 60
    os.utime(folder / "wx1.plain.json", (old, old))
    await store.read(KEY)
    opened = []
    original = os.open
    monkeypatch.setattr(os, "open", lambda *args, **more: opened.append(args) or original(*args, **more))
    for _ in range(5):
        assert await value_of(store) == "token"
    assert opened == []
    other = FileTokenStore(folder, timeout=10)
    await put(other, "newer", fence=1001)
    assert await value_of(store) == "newer"


async def test_a_file_written_again_within_a_tick_is_read_again(store, record, folder):
    """Two writes that leave the same size and time stamp are still told apart by the reader."""
    fresh = FileTokenStore(folder, timeout=10)
    await put(fresh, "aaaa")
    assert await value_of(fresh) == "aaaa"
    found = record.stat()
    record.write_text(record.read_text().replace("aaaa", "bbbb"))  # same inode, same size
    os.utime(record, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert await value_of(fresh) == "bbbb"


async def test_a_fresh_file_is_read_again_whatever_its_stamp(folder, monkeypatch):
    """Where stamps look alike, as within one tick of the file system, a file just written is not trusted to stay."""
    monkeypatch.setattr(module, "_stamp", lambda found: (1,))
    one, two = FileTokenStore(folder, timeout=10), FileTokenStore(folder, timeout=10)
    await put(one, "first")
    assert await value_of(two) == "first"
    await put(one, "second", fence=1001)
    assert await value_of(two) == "second"


# --- clocks ---------------------------------------------------------------------------------------------------------


def test_the_clock_of_the_host_counts_since_boot():
    """On Linux the clock is the time since boot, named by the boot."""
    clock = host_clock(time.time)
    if sys.platform != "linux":
        assert clock.name == "wall"
        return
    assert clock.name.startswith("boot ")
    assert abs(clock.read() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


def test_without_such_a_clock_it_is_the_wall_clock(monkeypatch):
    """Where the system tells no boot, the wall clock has to do."""
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    clock = host_clock(lambda: 77.0)
    assert (clock.name, clock.read()) == ("wall", 77.0)


@pytest.mark.parametrize("jump", [3 * 3600, -3 * 3600])
async def test_a_wall_clock_that_jumps_changes_nothing(store, clock, jump):
    """Token and lease go by the clock since boot."""
    await put(store)
    await store.lease(KEY, owner="a", ttl=10, expect=1000)
    before = await store.read(KEY)
    clock.wall_offset += jump
    assert await store.read(KEY) == before


def rebooted(store, folder, clock, *, off):
    """The same host after a reboot, ``off`` seconds later: the clock since boot is small again."""
    clock.wall_offset += clock.seconds - 5 + off
    clock.seconds = 5.0
    after = FileTokenStore(folder, clock=clock, wall=clock.wall, timeout=10)
    after._clock = module.Clock("boot after", clock)
    return after


@pytest.mark.parametrize(("off", "left"), [(0, 7200), (600, 6600), (7201, None), (-3600, 7200)])
async def test_a_reboot_counts_by_the_wall_clock(store, folder, clock, off, left):
    """After a reboot the wall clock says how much of the life is gone; it is never more than was left."""
    await put(store)
    token = (await rebooted(store, folder, clock, off=off).read(KEY)).token
    assert (round(token.left) if token is not None else None) == left


async def test_a_wall_clock_set_back_over_a_reboot_gives_nothing_back(store, folder, clock):
    """What was used up of a life before the reboot stays used up."""
    await put(store)
    clock.advance(3600)
    await store.lease(KEY, owner="a", ttl=10, expect=1000)
    token = (await rebooted(store, folder, clock, off=-7200).read(KEY)).token
    assert token is not None
    assert round(token.left) == 3600


async def test_a_lease_from_before_a_reboot_runs_its_time(store, folder, clock):
    """Process numbers of another boot, or of another host, say nothing: its lease is not overtaken early."""
    await store.lease(KEY, owner="a", ttl=200, expect=0)
    lease = await rebooted(store, folder, clock, off=60).lease(KEY, owner="b", ttl=10, expect=0)
    assert (lease.status, round(lease.wait)) == (LeaseStatus.BUSY, 140)


async def test_a_fence_is_above_the_token_even_if_the_last_fence_is_lost(store, record):
    """A record whose last fence cannot be read still hands out a fence that can be committed."""
    await put(store, fence=1 << 45)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"fence": "?"}))
    lease = await store.lease(KEY, owner="a", ttl=10, expect=1 << 45)
    assert lease.fence > 1 << 45


async def test_fences_grow_over_a_reboot(store, folder, clock):
    """A smaller clock does not make smaller fences."""
    first = await store.lease(KEY, owner="a", ttl=10, expect=0)
    after = rebooted(store, folder, clock, off=60)
    second = await after.lease(KEY, owner="b", ttl=10, expect=0)
    assert second.status is LeaseStatus.HELD
    assert second.fence > first.fence


async def test_forced_refreshes_are_counted_over_a_reboot(store, folder, clock):
    """The count of the day survives."""
    await store.lease(KEY, owner="a", ttl=10, expect=0, reason=LeaseReason.FORCED)
    after = rebooted(store, folder, clock, off=20)
    lease = await after.lease(KEY, owner="a", ttl=10, expect=0, reason=LeaseReason.FORCED)
    assert (lease.status, round(lease.wait)) == (LeaseStatus.LIMITED, 10)


async def test_a_life_is_never_longer_than_promised(store, record, clock):
    """A clock that is behind what the record says does not lengthen a life."""
    await put(store, life=100)
    clock.seconds -= 50
    token = (await store.read(KEY)).token
    assert token is not None
    assert token.left <= 100


# --- kills, freezes, locks --------------------------------------------------------------------------------------------

KILLED = """
import asyncio, os, signal, sys
from wxmp.tokens.file import FileTokenStore
from wxmp.tokens.store import TokenKey
folder, step = sys.argv[1], int(sys.argv[2])
count = 0

def deadly(function):
    def call(*args, **options):
        global count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)
    return call

async def main():
    store = FileTokenStore(folder, timeout=20)
    async with store:
        await store.read(TokenKey("wx1", "plain"))
        for name in ("open", "fsync", "replace", "rename", "close", "fstat", "fdopen", "stat", "lstat"):
            setattr(os, name, deadly(getattr(os, name)))
        await store.commit(TokenKey("wx1", "plain"), fence=1001, value="new", life=7200)
asyncio.run(main())
"""


async def test_a_kill_at_any_point_leaves_the_old_record_or_the_new_one(folder):
    """SIGKILL before every system call of a write: no torn file, no lock left, the next one carries on."""
    store = FileTokenStore(folder, timeout=20)
    results: list[tuple[int, str | None]] = []
    leftovers: list[str] = []
    for step in range(1, 60):
        for path in folder.glob("*.json"):
            path.unlink()
        await put(store, "old")
        code = await asyncio.to_thread(run_script, KILLED, folder, step)
        results.append((code, await value_of(store)))
        leftovers += [path.name for path in folder.glob(".*.tmp")]
        lease = await store.lease(KEY, owner="next", ttl=10, expect=1000 if results[-1][1] == "old" else 1001)
        assert lease.status is LeaseStatus.HELD
        if code == 0:
            break
    killed = [value for code, value in results if code == -signal.SIGKILL]
    assert results[-1] == (0, "new")
    assert len(killed) == len(results) - 1 >= 5
    assert killed == sorted(killed, key=str, reverse=True)  # "old" ... "old", then "new" ... "new"
    assert {"old", "new"} == set(killed)
    assert leftovers  # a draft stayed behind, and whoever wrote next in a new process removed it
    await put(FileTokenStore(folder, timeout=20), "newest", fence=2000)
    assert list(folder.glob(".*.tmp")) == []


HOLD = """
import asyncio, sys, time
from wxmp.tokens.file import FileTokenStore
from wxmp.tokens.store import TokenKey
async def main():
    store = FileTokenStore(sys.argv[1], timeout=20)
    lease = await store.lease(TokenKey("wx1", "plain"), owner="held", ttl=200, expect=0)
    print(lease.status, flush=True)
    time.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def holder(folder):
    """Another process that holds the lease for 200 s."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "held"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process started")
@pytest.mark.parametrize("reaped", [True, False])
async def test_the_lease_of_a_killed_process_is_free_at_once(folder, holder, reaped):
    """A lease is overtaken before its time when its process is gone, even if nobody has collected it yet."""
    store = FileTokenStore(folder, timeout=10)
    assert (await store.lease(KEY, owner="b", ttl=10, expect=0)).status is LeaseStatus.BUSY
    holder.kill()
    if reaped:
        holder.wait(10)
    end = time.monotonic() + 10
    while (await store.lease(KEY, owner="b", ttl=10, expect=0)).status is not LeaseStatus.HELD:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_the_lease_of_a_frozen_process_is_kept(folder, holder):
    """A stopped process is not dead: its lease runs its time, and its file lock blocks nobody."""
    holder.send_signal(signal.SIGSTOP)
    store = FileTokenStore(folder, timeout=10)
    lease = await asyncio.wait_for(store.lease(KEY, owner="b", ttl=10, expect=0), 5)
    assert lease.status is LeaseStatus.BUSY
    assert lease.wait > 100
    await put(store, fence=1 << 50)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process started")
async def test_another_process_with_the_same_number_is_not_the_holder(store, folder, record):
    """A process number alone proves nothing: the start time must be the same, and the namespace ours."""
    await store.lease(KEY, owner="a", ttl=200, expect=0)
    fields = json.loads(record.read_text())

    async def status(**changes):
        record.write_text(json.dumps(fields | {"holder": fields["holder"] | changes}))
        return (await store.lease(KEY, owner="b", ttl=10, expect=0)).status

    assert await status() is LeaseStatus.BUSY
    assert await status(namespace="pid:[1]", started=1) is LeaseStatus.BUSY
    assert await status(started=1) is LeaseStatus.HELD


async def test_a_lock_held_too_long_is_a_store_error(folder):
    """Whoever holds the lock file without end costs the time limit, not more."""
    import fcntl

    async def fail():
        with pytest.raises(TokenStoreError) as caught:
            await put(store, TOKEN, fence=1001)
        return caught.value

    store, patient = FileTokenStore(folder, timeout=0.3), FileTokenStore(folder, timeout=30)
    await put(patient)
    with (folder / "wx1.plain.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        seconds, error = await quickest(fail, 1)
        assert 0.2 < seconds < 1
        assert await value_of(patient) == "token"  # readers need no lock
    # the call that was given up has no effect afterwards
    await asyncio.sleep(0.1)
    assert await value_of(patient) == "token"
    assert error.store == "file"
    await put(patient, fence=1001)


def test_work_that_comes_too_late_is_not_begun(tmp_path):
    """A call that waited in the queue until its time was up changes nothing any more."""
    with pytest.raises(TimeoutError), module._locked(tmp_path / "lock", time.monotonic() - 1):
        pytest.fail("the work began")


def test_a_copy_of_the_descriptor_does_not_keep_the_lock(tmp_path):
    """A child that was forked meanwhile has a copy of the descriptor; the lock is released all the same."""
    with module._locked(tmp_path / "lock", time.monotonic() + 5):
        (number,) = module._LOCKS
        copy = os.dup(number)
    with module._locked(tmp_path / "lock", time.monotonic() + 20):
        pass
    os.close(copy)


async def test_the_lock_file_is_never_replaced(store, folder):
    """Whoever waits for the lock waits for the same file as everybody else."""
    await put(store)
    before = (folder / "wx1.plain.lock").stat().st_ino
    (folder / "wx1.plain.lock").write_text("content")
    for fence in range(1001, 1010):
        await put(store, fence=fence)
    assert (folder / "wx1.plain.lock").stat().st_ino == before
    assert (folder / "wx1.plain.lock").read_text() == "content"


async def test_a_disk_that_hangs_costs_the_time_limit(folder, monkeypatch):
    """A system call that does not come back is a store error after the time limit."""
    await put(FileTokenStore(folder, timeout=30))
    store = FileTokenStore(folder, timeout=0.3)
    release = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: release.wait(10))
    try:
        with pytest.raises(TokenStoreError, match="no answer within"):
            await store.commit(KEY, fence=1001, value=TOKEN, life=60)
    finally:
        release.set()
    await store.aclose()


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
async def test_a_full_or_broken_disk_is_a_clean_store_error(store, record, folder, monkeypatch, call):
    """An OSError becomes a store error that shows no token, leaves the old record and no temporary file."""
    await put(store, "old")

    def broken(*args, **options):
        if call == "open" and not os.fspath(args[0]).endswith(".tmp"):
            return original(*args, **options)
        raise OSError(28, "No space left on device")

    original = getattr(os, call)
    monkeypatch.setattr(os, call, broken)
    if call == "replace":
        monkeypatch.setattr(module, "_replace", broken)
    with pytest.raises(TokenStoreError, match="No space left") as caught:
        await store.commit(KEY, fence=1001, value=TOKEN, life=60)
    monkeypatch.undo()
    assert isinstance(caught.value.__cause__, OSError)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    for one in (shown, shown.__cause__):
        assert one is not None
        assert TOKEN not in f"{[frame.locals for frame in one.stack if frame.filename != __file__]} {one}"
    assert await value_of(store) == "old"
    assert list(folder.glob(".*.tmp")) == []


RACE = """
import asyncio, sys
from wxmp.tokens.file import FileTokenStore
from wxmp.tokens.store import TokenKey, LeaseStatus
folder, name = sys.argv[1], sys.argv[2]
async def main():
    key = TokenKey("wx1", "plain")
    async with FileTokenStore(folder, timeout=30) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for turn in range(20):
            lease = await store.lease(key, owner=name, ttl=200, expect=0)
            if lease.status is LeaseStatus.HELD:
                print(lease.fence, flush=True)
                await store.fail(key, owner=name, fence=lease.fence)
asyncio.run(main())
"""


def test_processes_never_get_the_same_fence(folder):
    """Several processes that lease and give back as fast as they can get different, growing fences."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(folder), f"worker-{i}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    fences = []
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            output, _ = worker.communicate("go\n", timeout=60)
            mine = [int(line) for line in output.splitlines()]
            assert worker.returncode == 0
            assert mine == sorted(mine)
            fences += mine
    finally:
        for worker in workers:
            worker.kill()
            worker.wait(10)
    assert len(fences) >= 20
    assert len(fences) == len(set(fences))


# --- loops, threads, forks, cancellation ----------------------------------------------------------------------------


def test_three_loops_in_a_row(folder):
    """The same store serves three asyncio.run() in a row."""
    store = FileTokenStore(folder, timeout=10)

    async def use(fence):
        await put(store, f"token-{fence}", fence=fence)
        return await value_of(store)

    assert [asyncio.run(use(fence)) for fence in (1, 2, 3)] == ["token-1", "token-2", "token-3"]
    asyncio.run(store.aclose())


def test_two_threads_share_a_store(folder):
    """Two event loops at once, each in its own thread: exactly one of all gets the lease."""
    store = FileTokenStore(folder, timeout=20)
    start = threading.Barrier(2, timeout=10)
    held = []

    async def compete(name):
        start.wait()
        leases = await asyncio.gather(*(store.lease(KEY, owner=f"{name}-{i}", ttl=60, expect=0) for i in range(10)))
        held.extend(lease for lease in leases if lease.status is LeaseStatus.HELD)
        await store.aclose()

    threads = [threading.Thread(target=asyncio.run, args=(compete(name),)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(held) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_goes_on(folder):
    """A child forked while its parent's thread holds the lock has threads of its own and does not keep the lock."""
    import fcntl

    store = FileTokenStore(folder, timeout=10)
    asyncio.run(put(store))
    with module._locked(folder / "wx1.plain.lock", time.monotonic() + 5), store._lock:
        (number,) = module._LOCKS
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            code = 1
            try:
                assert set() == module._LOCKS
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(number)
                code = 0 if asyncio.run(value_of(store)) == "token" else 2
                time.sleep(0.3)
                asyncio.run(put(store, "child", fence=1001))
            except BaseException:
                code = 3
            finally:
                os._exit(code)
    with (folder / "wx1.plain.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free although the child had a copy of the descriptor
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert asyncio.run(value_of(store)) == "child"
    asyncio.run(store.aclose())


async def test_a_cancelled_call_does_not_keep_the_lock(store):
    """However many callers are cancelled, the lock is free afterwards and the newest commit stands."""
    for fence in range(1, 60):
        task = asyncio.ensure_future(store.commit(KEY, fence=fence, value=f"token-{fence}", life=60))
        for _ in range(fence % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    await put(store, "last", fence=100)
    assert await value_of(store) == "last"
    end = time.monotonic() + 10
    while module._LOCKS:  # what was cancelled goes on in its thread, to its end
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@pytest.mark.alone
async def test_open_files_do_not_pile_up(store):
    """After many operations no descriptor is left open."""
    await put(store, fence=1)
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for fence in range(2, 40):
        await put(store, fence=fence)
        await store.read(KEY)
    after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert after <= before


# --- network file systems --------------------------------------------------------------------------------------------

MOUNTS = r"""22 28 0:20 / /sys rw,nosuid - sysfs sysfs rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 28 0:50 / /mnt/share rw,relatime shared:20 master:3 - nfs4 server:/x rw,vers=4.2
41 40 0:51 / /mnt/share/local rw,relatime - xfs /dev/vdb rw
42 28 0:52 / /mnt/two\040words rw,relatime - cifs //server/x rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/app", "ext4"),
        ("/mnt/share", "nfs4"),
        ("/mnt/share/wxmp", "nfs4"),
        ("/mnt/shared", "ext4"),
        ("/mnt/share/local/wxmp", "xfs"),
        ("/mnt/two words/wxmp", "cifs"),
    ],
)
def test_the_file_system_of_a_folder_is_found(path, kind):
    """The mount with the longest matching path counts, blanks in its name included."""
    assert file_system(Path(path), MOUNTS) == kind


async def test_a_network_file_system_is_warned_about_once(store, monkeypatch, caplog):
    """One line in the log says that several hosts are not supported there."""
    monkeypatch.setattr(module, "file_system", lambda *_: "nfs4")
    with caplog.at_level(logging.WARNING, "wxmp.tokens"):
        for fence in range(1, 4):
            await put(store, fence=fence)
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    assert "nfs4" in caplog.text
