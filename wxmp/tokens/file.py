"""Tokens in files, shared by the processes of one host."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import re
import secrets
import stat
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

import attrs

from wxmp._log import log_fields
from wxmp._redact import Secret
from wxmp.errors import ConfigError, TokenStoreError
from wxmp.tokens.memory import (
    CODE_MAX,
    DAY_MS,
    LEASE_MAX,
    MS,
    NUMBER_MAX,
    TEXT_MAX,
    LeaseRequest,
    Now,
    Record,
    error_code,
    milliseconds,
    short_text,
    token_value,
    whole,
)
from wxmp.tokens.store import (
    LIFE_MAX,
    Lease,
    LeaseReason,
    LeaseStatus,
    ReplacementBudget,
    TokenCodec,
    TokenKey,
    TokenRecord,
    TokenStore,
    check_token_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FileTokenStore"]

logger: logging.Logger = logging.getLogger("wxmp.tokens")

T = TypeVar("T")

FORMAT: Final = 1
#: A record has about 1 kB. What is far larger is not one.
SIZE_MAX: Final = 65_536
STORED_MAX: Final = 8192
COUNT_MAX: Final = 1_000_000
#: Threads for the blocking work of one store, so that other blocking work of the application cannot starve it.
THREADS: Final = 4
#: How often a lock that is taken is tried again, in seconds: first and at most.
LOCK_PAUSE: Final = (0.001, 0.02)
#: A file that was written less than this before it was read may be written again within the same tick of the clock of
#: its time stamps: what was read is then not kept. In seconds.
STAMP_DOUBT: Final = 1.0
#: How long Windows may need until readers have let go of the file that is to be replaced, in seconds.
REPLACE_PATIENCE: Final = 1.0
#: File systems whose locks and clocks are shared by several hosts, or by nobody.
REMOTE: Final = frozenset(
    {"afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)
#: Permission bits that let others write.
OTHERS_WRITE: Final = 0o022
TIME_NAMESPACE: Final = Path("/proc/self/ns/time")

_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_TEXT: Final = re.compile(r"[ -~]+")


@attrs.frozen
class Clock:
    """A clock and its name. Times of two clocks with different names can only be compared by the wall clock."""

    name: str
    read: Callable[[], float]


def host_clock(wall: Callable[[], float]) -> Clock:
    """Return the clock that all processes of this host share and that nobody can set.

    It is the time since boot, named by the boot: suspend counts, a changed wall clock does not. Where there is none,
    it is ``wall``.
    """
    if sys.platform == "linux":
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
            # a container may shift the clock for itself
            namespace = str(TIME_NAMESPACE.readlink()) if TIME_NAMESPACE.is_symlink() else ""
            clock = time.CLOCK_BOOTTIME
            time.clock_gettime(clock)
        except (OSError, AttributeError):
            pass
        else:
            return Clock(f"boot {boot} {namespace}".strip(), lambda: time.clock_gettime(clock))
    return Clock("wall", wall)


@attrs.frozen
class Holder:
    """The process that holds a lease, told apart from a later process with the same number."""

    pid: int
    started: int
    #: Process numbers mean nothing outside of their namespace (containers).
    namespace: str

    @classmethod
    def me(cls) -> Holder | None:
        """Return this process, or ``None`` where the system does not tell."""
        try:
            namespace = str(Path("/proc/self/ns/pid").readlink())
        except OSError:
            return None
        pid = os.getpid()
        started = _started(pid)
        return cls(pid, started, namespace) if started else None

    @property
    def is_dead(self) -> bool:
        """True if that process is certainly gone."""
        me = Holder.me()
        return me is not None and me.namespace == self.namespace and _started(self.pid) != self.started


def _started(pid: int) -> int:
    """Return when a process started, in ticks since boot; 0 when it is gone or only waits to be reaped."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except OSError:
        return -1  # it is there, but not ours to look at
    # the name in the second field may itself contain blanks and brackets
    fields = line.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


@attrs.define
class Stored:
    """What a file holds: the record, and what goes along with it unchanged."""

    record: Record = attrs.field(factory=Record)
    #: The token as it stands in the file, for the record's ``v`` and ``gen``; kept even when no key opens it, because
    #: another process may have the key.
    sealed: str = attrs.field(default="", repr=False)
    holder: Holder | None = None


class FileTokenStore(TokenStore):
    """Tokens in a folder, for several processes of ONE host without Redis.

    The folder holds one record (``<appid>.<channel>.json``) and one lock file (``<appid>.<channel>.lock``) for each
    AppID and channel. It must belong to the user of the process and must not be writable by others; it is made with
    mode 0700 if it is not there. Files have mode 0600.

    Lease and token are data in the record. The file lock is only held for the milliseconds of a read and a write, so a
    process that hangs or is stopped during a refresh blocks nobody; the lease of a process that died is free at once
    (on Linux). A record is replaced as a whole: after a crash at any moment it is the old one or the new one.

    Times are those since boot, where the system has such a clock: setting the wall clock or suspending the machine
    changes nothing. Network file systems are not supported for several hosts; a warning in the log says so.

    A store may be used from several event loops and threads, after a fork, and again after :meth:`aclose`.
    """

    name = "file"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        codec: TokenCodec | None = None,
        timeout: float = 1.0,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Name the folder. It is made with the first write, not here.

        Args:
            path: A folder of its own, for example ``/var/lib/myapp/wxmp``.
            codec: Encrypts tokens at rest, see ``wxmp.tokens.encryption``.
            timeout: Seconds for one operation, waiting for the lock included.
            clock: Seconds that only grow and that all processes of the host share; for tests. Default: since boot.
            wall: Seconds since 1970; decides when the day of the forced refreshes ends (midnight in Beijing).

        Raises:
            ConfigError: The path is a file, or looks like one.
        """
        folder = Path(path)
        if not str(path).strip() or folder.suffix == ".json" or folder.is_file():
            raise ConfigError(
                "path must be a folder: the store keeps one file per AppID and channel in it", field="path"
            )
        if not 0 < timeout < float("inf"):
            raise ConfigError("timeout must be a positive number of seconds", field="timeout")
        self._folder = folder.absolute()
        self._codec = codec
        self._timeout = timeout
        self._wall = wall
        self._clock = host_clock(wall) if clock is None else Clock("given", clock)
        self._warned: set[str] = set()
        self._swept: set[TokenKey] = set()
        self._seen: dict[TokenKey, tuple[tuple[int, ...], Secret]] = {}
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        _STORES.add(self)

    def __repr__(self) -> str:
        return f"FileTokenStore({str(self._folder)!r})"

    async def read(self, key: TokenKey) -> TokenRecord:
        """See :meth:`TokenStore.read`."""
        return await self._run(partial(self._look, key))

    async def lease(
        self,
        key: TokenKey,
        *,
        owner: str,
        ttl: float,
        expect: int,
        hint: int = 0,
        reason: LeaseReason = LeaseReason.DUE,
        credential: str = "",
        budget: ReplacementBudget | None = None,
    ) -> Lease:
        """See :meth:`TokenStore.lease`."""
        request = LeaseRequest.of(
            owner=owner, ttl=ttl, expect=expect, hint=hint, reason=reason, credential=credential, budget=budget
        )

        def step(stored: Stored, now: Now) -> Lease:
            record = stored.record
            if record.lu > now.clock and stored.holder is not None and stored.holder.is_dead:
                record.lu = now.clock
            lease = record.lease(request, now)
            if lease.status is LeaseStatus.HELD:
                stored.holder = Holder.me()
            return lease

        return await self._change(key, step)

    async def commit(self, key: TokenKey, *, fence: int, value: str, life: float, hold_off: float = 0.0) -> bool:
        """See :meth:`TokenStore.commit`."""
        whole(fence, field="fence", least=1)
        token_value(value)
        lives, pause = milliseconds(life, field="life"), milliseconds(hold_off, field="hold_off")
        token = Secret(value)
        del value  # tools that report errors print the local variables of every frame

        def step(stored: Stored, now: Now) -> bool:
            return stored.record.commit(now, fence=fence, value=token.reveal(), life=lives, hold_off=pause)

        return await self._change(key, step)

    async def fail(
        self, key: TokenKey, *, owner: str, fence: int, code: int = 0, cool_down: float = 0.0, credential: str = ""
    ) -> None:
        """See :meth:`TokenStore.fail`."""
        short_text(owner, field="owner")
        short_text(credential, field="credential")
        error_code(code)
        pause = milliseconds(cool_down, field="cool_down")

        def step(stored: Stored, now: Now) -> None:
            stored.record.fail(now, owner=owner, fence=fence, code=code, cool_down=pause, credential=credential)

        await self._change(key, step)

    async def seed(self, key: TokenKey, *, value: str, generation: int, life: float, left: float) -> bool:
        """See :meth:`TokenStore.seed`."""
        whole(generation, field="generation", least=1)
        token_value(value)
        lives, rest = milliseconds(life, field="life"), milliseconds(left, field="left")
        token = Secret(value)
        del value

        def step(stored: Stored, now: Now) -> bool:
            return stored.record.seed(now, value=token.reveal(), generation=generation, life=lives, left=rest)

        return await self._change(key, step)

    async def aclose(self) -> None:
        """Let the threads of the store end. It may be used again afterwards."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    # --- from the event loop to a thread -----------------------------------------------------------------------

    async def _change(self, key: TokenKey, step: Callable[[Stored, Now], T]) -> T:
        return await self._run(partial(self._read_modify_write, key, step, time.monotonic() + self._timeout))

    async def _run(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread, as one piece: whoever is cancelled meanwhile leaves no lock behind."""
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="wxmp-tokens")
            future = asyncio.get_running_loop().run_in_executor(self._executor, _attempt, work)
        await asyncio.wait({future}, timeout=self._timeout)
        if not future.done():
            future.cancel()
            raise TokenStoreError(f"{self._folder}: no answer within {self._timeout:g} s", store=self.name)
        outcome, problem = future.result()
        if problem is not None:
            raise TokenStoreError(f"{self._folder}: {problem.strerror or problem}", store=self.name) from problem
        return cast("T", outcome)

    # --- in the thread -----------------------------------------------------------------------------------------

    def _now(self) -> Now:
        return Now(clock=int(self._clock.read() * MS), wall=int(self._wall() * MS))

    def _look(self, key: TokenKey) -> TokenRecord:
        if not self._check_folder():
            return TokenRecord()
        now = self._now()
        return self._parse(key, self._bytes(key, keep=True), now).record.read(now)

    def _read_modify_write(self, key: TokenKey, step: Callable[[Stored, Now], T], deadline: float) -> T:
        if not self._check_folder():
            self._make_folder()
        with _locked(self._folder / f"{_stem(key)}.lock", deadline):
            now = self._now()
            stored = self._parse(key, self._bytes(key), now)
            before = attrs.evolve(stored.record), stored.holder
            answer = step(stored, now)
            if (stored.record, stored.holder) != before:
                if (stored.record.v, stored.record.gen) != (before[0].v, before[0].gen):
                    stored.sealed = self._seal(key, stored.record)
                self._sweep(key)
                self._write(key, self._dump(key, stored, now))
            return answer

    def _check_folder(self) -> bool:
        """Tell whether the folder is there; raise if others could put something into it."""
        try:
            found = self._folder.stat()
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", str(self._folder))
        if sys.platform != "win32":
            if found.st_uid != os.geteuid():
                raise PermissionError(
                    errno.EPERM, f"the folder belongs to user {found.st_uid}: run as that user, or use another folder"
                )
            if found.st_mode & OTHERS_WRITE:
                raise PermissionError(
                    errno.EPERM, "others may write to the folder: chmod 700, or use a folder of its own inside"
                )
        self._warn_remote()
        return True

    def _make_folder(self) -> None:
        missing = [self._folder, *self._folder.parents]
        for folder in reversed([folder for folder in missing if not folder.exists()]):
            with contextlib.suppress(FileExistsError):  # made by somebody else at this moment
                folder.mkdir(0o700)
        self._check_folder()

    def _warn_remote(self) -> None:
        if "remote" in self._warned:
            return
        self._warned.add("remote")
        try:
            mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
        except OSError:
            return
        kind = file_system(self._folder.resolve(), mounts)
        if kind in REMOTE:
            logger.warning(
                "token store %s is on a network file system (%s): supported for the processes of one host only",
                self._folder,
                kind,
                extra=log_fields("store_on_network", store=self.name, reason=kind),
            )

    def _no_record(self, path: Path, why: str) -> bytes:
        """Say once that a file is there which is not a record of ours."""
        note = f"{path.name}: {why}"
        if note not in self._warned:
            self._warned.add(note)
            logger.warning(
                "token store %s: %s; it counts as no record",
                path,
                why,
                extra=log_fields("record_unusable", store=self.name),
            )
        return b""

    def _bytes(self, key: TokenKey, *, keep: bool = False) -> bytes:
        """Return the content of the record's file, empty if there is none that can be trusted.

        With ``keep`` a file that has not changed since it was read is not read again.
        """
        path = self._folder / f"{_stem(key)}.json"
        if keep:
            seen = self._seen.get(key)
            with contextlib.suppress(OSError):
                if seen is not None and seen[0] == _stamp(path.lstat()):
                    return seen[1].reveal().encode("latin-1")
        try:
            # O_NONBLOCK: to open a named pipe would wait for its other end
            number = os.open(path, os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            return b""
        except PermissionError:
            return self._no_record(path, "it cannot be read by this user")
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO}:
                return self._no_record(path, "it is a symbolic link or a device")
            raise
        with os.fdopen(number, "rb") as file:
            found = os.fstat(number)
            problem = _distrust(found)
            if problem:
                return self._no_record(path, problem)
            content = file.read(SIZE_MAX + 1)
        if keep and self._wall() - found.st_mtime > STAMP_DOUBT:
            self._seen[key] = (_stamp(found), Secret(content.decode("latin-1")))
        return content

    def _parse(self, key: TokenKey, content: bytes, now: Now) -> Stored:
        """Read a record. Every field is untrusted: what cannot be is absent."""
        if not content:
            return Stored()
        try:
            fields = json.loads(content)
        except (ValueError, RecursionError):
            fields = None
        fields = fields if isinstance(fields, dict) else {}
        then, wall = _number(fields, "now", -NUMBER_MAX, NUMBER_MAX), _number(fields, "wall", 0, NUMBER_MAX)
        mine = (FORMAT, key.appid, key.channel)
        if (fields.get("format"), fields.get("appid"), fields.get("channel")) != mine or then is None or wall is None:
            self._no_record(self._folder / f"{_stem(key)}.json", "it is not a record of this AppID and channel")
            return Stored()
        shift = 0
        if fields.get("clock") != self._clock.name:
            # written before a reboot, or on another host: the wall clock says how long ago that was
            shift = now.clock - max(now.wall - wall, 0) - then
        stored = _stored(fields, shift, now)
        if stored.sealed:
            value = self._open(key, stored.record.gen, stored.sealed)
            stored.record.v = value or ""
        return stored

    def _dump(self, key: TokenKey, stored: Stored, now: Now) -> bytes:
        fields: dict[str, object] = {
            "format": FORMAT,
            "appid": key.appid,
            "channel": key.channel,
            "clock": self._clock.name,
            "now": now.clock,
            "wall": now.wall,
        }
        fields |= {name: value for name, value in attrs.asdict(stored.record).items() if value is not None}
        fields["v"] = stored.sealed
        if stored.holder is not None and stored.record.lo:
            fields["holder"] = attrs.asdict(stored.holder)
        return json.dumps(fields).encode()

    def _seal(self, key: TokenKey, record: Record) -> str:
        if self._codec is None or not record.v:
            return record.v
        return self._codec.encrypt(record.v, context=f"{key.appid}:{key.channel}:{record.gen}")

    def _open(self, key: TokenKey, generation: int, text: str) -> str | None:
        value: str | None = text
        if self._codec is not None:
            value = self._codec.decrypt(text, context=f"{key.appid}:{key.channel}:{generation}")
        return value if check_token_value(value) else None

    def _sweep(self, key: TokenKey) -> None:
        """Remove what writers left behind when they were killed. Once per process is enough.

        Only the holder of the lock writes, so under the lock every temporary file of this record is such a leftover.
        """
        if key in self._swept:
            return
        self._swept.add(key)
        for path in self._folder.glob(f".{_stem(key)}.*.tmp"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _write(self, key: TokenKey, content: bytes) -> None:
        """Put a whole new file in place of the old one, and make sure that it is on the disk."""
        target = self._folder / f"{_stem(key)}.json"
        draft = self._folder / f".{_stem(key)}.{os.getpid()}.{secrets.token_hex(8)}.tmp"
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW, 0o600)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _replace(draft, target)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        if sys.platform != "win32":
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._executor = None  # its threads stayed with the parent
        self._swept = set()


def _stem(key: TokenKey) -> str:
    return f"{key.appid}.{key.channel}"


def _attempt(work: Callable[[], T]) -> tuple[T | None, OSError | None]:
    try:
        return work(), None
    except OSError as error:
        # its frames hold the record; what is handed on names the problem only
        error.__traceback__ = error.__context__ = error.__cause__ = None
        return None, error


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_uid, found.st_mode


def _distrust(found: os.stat_result) -> str:
    """Say what speaks against a file, empty if nothing does."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    if found.st_size > SIZE_MAX:
        return "it is too large"
    if sys.platform != "win32":
        if found.st_uid != os.geteuid():
            return f"it belongs to user {found.st_uid}"
        if found.st_mode & OTHERS_WRITE:
            return "others may write to it"
    return ""


def _number(fields: Mapping[str, object], name: str, least: int, most: int) -> int | None:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        return None
    return value


def _text(fields: Mapping[str, object], name: str, most: int) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and len(value) <= most else None


def _moment(fields: Mapping[str, object], name: str, shift: int, now: Now, ahead: int) -> int | None:
    """Return a point in time on this clock; nothing in a record lies further ahead than ``ahead``."""
    value = _number(fields, name, -NUMBER_MAX, NUMBER_MAX)
    return value + shift if value is not None and value + shift - now.clock <= ahead else None


def _stored(fields: Mapping[str, object], shift: int, now: Now) -> Stored:
    """Read the groups of fields one by one; a group with a field that cannot be is absent as a whole."""
    day = round(LIFE_MAX * MS)
    stored = Stored()
    record = stored.record
    record.fence = _number(fields, "fence", 0, NUMBER_MAX) or 0

    record.gen = _number(fields, "gen", 1, NUMBER_MAX) or 0
    value, life = _text(fields, "v", STORED_MAX), _number(fields, "life", 0, day)
    end = _moment(fields, "exp", shift, now, day)
    if record.gen and life is not None and end is not None:
        record.life, record.exp = life, end
        if value is not None and _TEXT.fullmatch(value):
            stored.sealed = value

    owner, fence = _text(fields, "lo", TEXT_MAX), _number(fields, "lf", 1, NUMBER_MAX)
    until = _moment(fields, "lu", shift, now, round(LEASE_MAX * MS))
    if owner and fence and until is not None:
        record.lo, record.lf, record.lu = owner, fence, until
        stored.holder = _holder(fields.get("holder")) if shift == 0 else None

    code, count = _number(fields, "ec", -CODE_MAX, CODE_MAX), _number(fields, "ef", 0, COUNT_MAX)
    credential, pause = _text(fields, "es", TEXT_MAX), _moment(fields, "eu", shift, now, day)
    if code is not None and count is not None and credential is not None and pause is not None:
        record.ec, record.ef, record.es, record.eu = code, count, credential, pause

    level, counted = _number(fields, "rb", 0, COUNT_MAX), _moment(fields, "rt", shift, now, DAY_MS)
    if level is not None and counted is not None:
        record.rb, record.rt = level, counted

    made, at = _number(fields, "fn", 0, COUNT_MAX), _moment(fields, "fa", shift, now, DAY_MS)
    if made is not None and at is not None:
        record.fn, record.fa = made, at
    return stored


def _holder(fields: object) -> Holder | None:
    if not isinstance(fields, dict):
        return None
    pid, started = _number(fields, "pid", 1, NUMBER_MAX), _number(fields, "started", 1, NUMBER_MAX)
    namespace = _text(fields, "namespace", TEXT_MAX)
    return Holder(pid, started, namespace) if pid and started and namespace else None


def file_system(folder: Path, mounts: str) -> str:
    """Return the type of the file system of ``folder``, from the text of ``/proc/self/mountinfo``."""
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        if len(point) >= len(best) and folder.is_relative_to(point):
            best, kind = point, after.split()[0]
    return kind


@contextlib.contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """Hold the lock file, which is never removed: that would split those who wait over two files."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o600)
    _LOCKS.add(number)
    try:
        problem = _distrust(os.fstat(number))
        if problem:
            raise PermissionError(errno.EPERM, f"the lock file {path.name} is not ours: {problem}")
        pause, longest = LOCK_PAUSE
        while not _try_lock(number):
            if time.monotonic() + pause > deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"the lock file {path.name} is held by another process")
            time.sleep(pause)
            pause = min(pause * 2, longest)
        try:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "the time was up before the work could begin")
            yield
        finally:
            # Closing would not do: a child that was forked at this moment has a copy of the descriptor.
            _unlock(number)
    finally:
        _LOCKS.discard(number)
        os.close(number)


if sys.platform == "win32":  # pragma: no cover - written by the book, not run by the tests
    import msvcrt

    def _try_lock(number: int) -> bool:
        os.lseek(number, 0, os.SEEK_SET)
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(number: int) -> None:
        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_UNLCK, 1)

    def _replace(draft: Path, target: Path) -> None:
        end = time.monotonic() + REPLACE_PATIENCE
        while True:
            try:
                draft.replace(target)
            except PermissionError:
                # a reader has the old file open
                if time.monotonic() > end:
                    raise
                time.sleep(LOCK_PAUSE[1])
            else:
                return

else:
    import fcntl

    def _try_lock(number: int) -> bool:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_UN)

    def _replace(draft: Path, target: Path) -> None:
        draft.replace(target)


#: Descriptors of lock files that are open at this moment.
_LOCKS: Final[set[int]] = set()
_STORES: Final[weakref.WeakSet[FileTokenStore]] = weakref.WeakSet()


def _after_fork() -> None:
    for number in list(_LOCKS):
        with contextlib.suppress(OSError):
            os.close(number)
    _LOCKS.clear()
    for store in list(_STORES):
        store._after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
