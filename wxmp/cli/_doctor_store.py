"""The place where a fleet keeps its token: does it answer, can it be written, will it keep what it is given."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from wxmp._hosts import is_loopback
from wxmp.cli._doctor_case import SkippedError
from wxmp.cli._doctor_network import connect
from wxmp.cli._doctor_report import Finding
from wxmp.errors import ConfigError, TokenStoreError
from wxmp.tokens.file import REMOTE, file_system
from wxmp.tokens.store import LeaseStatus, TokenKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wxmp.cli._doctor_case import Case
    from wxmp.tokens.store import TokenStore

__all__ = ["check_store"]

#: A record of its own, beside those of the account: what is tried out there touches no token. Each run has another
#: one, or two doctors would take it away from each other.
CHANNEL: Final = "doctor"
#: Seconds for which the value that is tried out lives.
LIFE: Final = 5.0
#: Seconds for the questions to a server about itself.
ASKING: Final = 3.0
#: An operation that takes longer is told of, in seconds. A store has one second.
SLOW: Final = 0.2
#: The scripts need effect replication.
OLDEST: Final = 5

REDIS_DOWN: Final = (
    "Start Redis, or correct WXMP_TOKEN_STORE. Services that hold a token go on with it until it ends; each of them "
    "then fetches for itself."
)


async def check_store(case: Case) -> list[Finding]:
    """Look at the store, by the same verbs as the fleet."""
    if case.client is None:
        raise SkippedError("the settings name no store that can be used")
    store = case.client._store  # noqa: SLF001 - the very one that the client uses
    if case.store_kind == "memory":
        case.record = None
        return [
            Finding(
                "warning",
                "tokens are kept in the memory of each process (memory:)",
                "Several processes would each ask for a token; on the plain channel each would end the others' token.",
                "With more than one process set WXMP_TOKEN_STORE: file:/var/lib/app/wxmp on one machine, redis://… or "
                "control:https://… on several.",
            )
        ]
    if case.store_kind == "redis":
        trouble = await _way_to_redis(case)
        if trouble is not None:
            return [trouble]
    key = TokenKey(case.appid, case.channel)
    try:
        case.record = await store.read(key)
        if not store.kept_elsewhere:
            trial = TokenKey(case.appid, f"{CHANNEL}-{secrets.token_hex(4)}")
            try:
                await _try_out(store, trial)
            finally:
                _sweep(case, trial)
        # The first time connects, or starts a thread: what a service waits for is the second.
        started = time.monotonic()
        case.record = await store.read(key)
        took = time.monotonic() - started
    except (TokenStoreError, ConfigError) as error:
        return [*_trouble(case, error), *(_file_facts(case) if case.store_kind == "file" else ())]
    findings = [_token_facts(case, took)]
    if took > SLOW:
        findings.append(
            Finding(
                "warning",
                f"the store took {1000 * took:.0f} ms",
                "It is far away, or busy. After 1 s a client goes on without it.",
                "Put it into the same data centre; look at its load (redis-cli --latency, SLOWLOG GET).",
            )
        )
    if case.store_kind == "redis":
        findings += await _redis_facts(case)
    elif case.store_kind == "file":
        findings += _file_facts(case)
    return findings


async def _try_out(store: TokenStore, key: TokenKey) -> None:
    """Write a value of a few seconds into a record of our own, and read it back.

    Raises:
        TokenStoreError: It did not come back.
    """
    found = await store.read(key)
    expect = found.token.generation if found.token is not None else 0
    lease = await store.lease(key, owner=f"doctor.{secrets.token_hex(4)}", ttl=1.0, expect=expect)
    if lease.status is not LeaseStatus.HELD:
        raise TokenStoreError("a lease that nobody has is refused", store=store.name)
    value = f"doctor-{secrets.token_hex(8)}"
    await store.commit(key, fence=lease.fence, value=value, life=LIFE)
    back = await store.read(key)
    if back.token is None or back.token.value != value:
        raise TokenStoreError("what was written did not come back", store=store.name)


def _token_facts(case: Case, took: float) -> Finding:
    record = case.record
    text = f"The store answers in {1000 * took:.0f} ms"
    if case.store_kind != "control":
        text += " and can be written"
    if record is not None and record.token is not None:
        text += f"; it holds a token that has {record.token.left:.0f} s left"
        case.hidden.add(record.token.value)
    else:
        text += "; it holds no token"
    if record is not None and record.failure is not None and record.failure.code:
        text += (
            f"; the last refresh failed with {record.failure.code}, and the fleet waits "
            f"{record.failure.cool_down:.0f} s before it asks again"
        )
    return Finding("ok", text)


# ---- what is wrong


def _trouble(case: Case, error: TokenStoreError | ConfigError) -> list[Finding]:
    text = str(error)
    if case.store_kind == "control":
        return [_control_trouble(error)]
    if case.store_kind == "file":
        return [
            Finding(
                "error",
                f"the token folder cannot be used: {text}",
                "Every process then fetches for itself, or none does.",
                f"Give it to the user of the service and to nobody else: install -d -m 700 -o USER {_folder(case)}",
            )
        ]
    for signs, cause, remedy in REDIS_TROUBLES:
        if any(sign in text for sign in signs):
            return [Finding("error", f"Redis cannot be used: {text}", cause, remedy)]
    return [Finding("error", f"Redis cannot be used: {text}", "Redis refuses what the token store needs.", REDIS_DOWN)]


REDIS_TROUBLES: Final = (
    (
        ("WRONGPASS", "NOAUTH", "invalid password", "username-password", "AUTH", "Authentication"),
        "The password or the user name in WXMP_TOKEN_STORE is not the server's.",
        "Correct it: redis://USER:PASSWORD@HOST:6379/0, percent-encoded; see requirepass or ACL LIST on the server.",
    ),
    (
        ("NOPERM", "no permissions"),
        "The ACL user lacks a command or a key of the token store.",
        "ACL SETUSER wxmp resetkeys ~wxmp:* nocommands +eval +evalsha +hmget +hset +hdel +pexpire +pttl +time",
    ),
    (
        ("READONLY", "read only replica"),
        "It is a replica: it can be read, not written.",
        "Name the primary in WXMP_TOKEN_STORE (redis-cli INFO replication says master_host), or a Sentinel's address.",
    ),
    (
        ("OOM", "used memory"),
        "Redis is full (maxmemory) and takes no more writes.",
        "Raise maxmemory, or move other data out; a token needs 1 kB.",
    ),
    (
        ("MISCONF", "stop-writes-on-bgsave-error"),
        "Redis cannot write its snapshot to disk and therefore takes no writes.",
        "Look at the disk and the log of Redis: full, or not writable; then BGSAVE.",
    ),
    (("LOADING",), "Redis is reading its data after a start.", "Wait until it has, and run this again."),
    (
        ("MOVED", "CLUSTERDOWN", "ASK "),
        "It is a node of a cluster, and the key lives on another one.",
        "Use a RedisCluster client: RedisTokenStore(RedisCluster.from_url(...)); a redis:// address reaches one node.",
    ),
    (
        ("no answer within", "Timeout", "timed out"),
        "Something takes the connection but does not answer: a server that hangs, or a firewall.",
        "Try redis-cli -h HOST -p PORT PING from this machine; look at the server's load and its log.",
    ),
    (
        (
            "Protocol",
            "InvalidResponse",
            "not an answer of our script",
            "Bad response",
            "unknown command",
            "HTTP",
            "closed by server",
            "reset by peer",
        ),
        "What listens there is not Redis, or speaks TLS.",
        "Check host and port in WXMP_TOKEN_STORE; for TLS write rediss:// instead of redis://.",
    ),
)


def _control_trouble(error: TokenStoreError | ConfigError) -> Finding:
    if isinstance(error, ConfigError):
        cause = "The control server does not accept the key of this service, or not for this account."
        if "wxck_" in str(error):  # nobody was asked
            cause = "WXMP_CONTROL_KEY does not have the form of a key: it was cut, or is something else."
        return Finding(
            "error",
            str(error),
            cause,
            "Make one with wxmp control key NAME --appid APPID on the server, and set WXMP_CONTROL_KEY to it.",
        )
    return Finding(
        "error",
        str(error),
        "The control server is down, or cannot be reached from here.",
        "Start it (wxmp control serve), check the address in WXMP_TOKEN_STORE. Services go on with the token that they "
        "have, to its end.",
    )


# ---- Redis about itself


async def _way_to_redis(case: Case) -> Finding | None:
    parts = urlsplit(case.store_url)
    if parts.scheme == "unix":
        return None
    host, port = parts.hostname or "localhost", parts.port or 6379
    trouble, _ = await connect(host, port, "http")
    if trouble is None:
        return None
    return Finding("error", f"Redis is down or out of reach: {trouble.found}", trouble.cause, REDIS_DOWN)


async def _redis_facts(case: Case) -> list[Finding]:
    """Ask the server about itself. An ACL user need not be allowed to."""
    findings = list(_password_on_the_way(case))
    before = time.time()
    try:
        async with asyncio.timeout(ASKING):
            said, moment, took = await _interview(case.store_url)
    except Exception as error:  # noqa: BLE001 - whatever a library or a server makes of it: the store itself works
        told = type(error).__name__
        findings.append(Finding("ok", f"The server does not tell about itself ({told}): allow +info +time to see more"))
        return findings
    if moment is not None:
        case.store_ahead = moment - (before + took)
    findings += _server_facts(said)
    return findings


async def _interview(url: str) -> tuple[Mapping[str, Any], float | None, float]:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ResponseError

    client = cast("Any", Redis).from_url(
        url, socket_timeout=ASKING, socket_connect_timeout=ASKING, retry=Retry(NoBackoff(), 0), protocol=2
    )
    try:
        moment = None
        started = time.monotonic()
        with suppress(ResponseError):
            seconds, micros = await client.time()
            moment = float(seconds) + float(micros) / 1e6
        took = time.monotonic() - started
        said = await client.info()
        # A small server's INFO does not say whether snapshots are on; whoever may not ask is not told.
        with suppress(ResponseError):
            said["save"] = (await client.config_get("save")).get("save", "?")
    finally:
        await client.aclose()
    return said, moment, took


def _password_on_the_way(case: Case) -> Iterator[Finding]:
    parts = urlsplit(case.store_url)
    host = parts.hostname or "localhost"
    if parts.scheme != "redis" or is_loopback(host):
        return
    secret = bool(parts.password) or any("password" in name for name, _ in parse_qsl(parts.query))
    what = "its password and the token cross" if secret else "the token crosses"
    yield Finding(
        "warning",
        f"Redis at {host} is used without TLS: {what} the network in the clear",
        "Everybody on the way can read along" + (" and log in." if secret else "."),
        "Write rediss:// and give Redis a certificate, unless the network is private; and set a password."
        if not secret
        else "Write rediss:// and give Redis a certificate, unless the network is private.",
    )


def _server_facts(said: Mapping[str, Any]) -> Iterator[Finding]:
    version = str(said.get("valkey_version") or said.get("redis_version") or "?")
    kind = "Valkey" if said.get("valkey_version") else "Redis"
    yield Finding("ok", f"{kind} {version}, {said.get('role', '?')}")
    first = str(said.get("redis_version", "")).partition(".")[0]
    if first.isdecimal() and int(first) < OLDEST:
        yield Finding(
            "error", f"Redis {version} is too old", "The token store needs Redis 5.", "Upgrade to Redis 7 or Valkey 8."
        )
    policy = str(said.get("maxmemory_policy", "noeviction"))
    if int(said.get("maxmemory", 0) or 0) and policy.startswith(("allkeys", "volatile")):
        yield Finding(
            "warning",
            f"Redis may throw the token away when it is full (maxmemory-policy {policy})",
            "The token has an expiry, so both allkeys and volatile policies take it; the fleet then fetches anew.",
            "CONFIG SET maxmemory-policy noeviction, or give tokens a Redis of their own. A cache belongs elsewhere.",
        )
    if str(said.get("role", "")) in ("slave", "replica"):
        yield Finding(
            "error",
            "it is a replica",
            "A replica can be read, not written; after a failover it is behind.",
            "Name the primary in WXMP_TOKEN_STORE.",
        )
    if str(said.get("aof_enabled", "1")) == "0" and said.get("save") == "":
        yield Finding(
            "warning",
            "Redis keeps nothing on disk (no AOF, no snapshots)",
            "After a restart it is empty: services put their token back from memory, but the error state and the "
            "allowance of forced refreshes start again.",
            "CONFIG SET appendonly yes, or leave it: no call fails because of this.",
        )
    if str(said.get("rdb_last_bgsave_status", "ok")) != "ok":
        yield Finding(
            "warning",
            "the last snapshot of Redis failed",
            "Its disk is full or not writable; with stop-writes-on-bgsave-error it soon refuses writes.",
            "Look at the log of Redis and at df -h on its machine.",
        )


# ---- files


def _folder(case: Case) -> Path:
    return Path(case.store_url.partition(":")[2]).absolute()


def _file_facts(case: Case) -> Iterator[Finding]:
    folder = _folder(case)
    if not case.store_url.partition(":")[2].startswith("/"):
        yield Finding(
            "warning",
            f"the token folder is relative: here it is {folder}",
            "A process that starts in another folder uses another token.",
            "Write the whole path: file:/var/lib/app/wxmp",
        )
    with suppress(OSError):
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
        kind = file_system(folder.resolve(), mounts)
        if kind in REMOTE:
            yield Finding(
                "warning",
                f"the token folder is on a network file system ({kind})",
                "Locks and times of several hosts do not fit together there: it is right for one host only.",
                "Use a local folder, or with several machines redis://… or control:https://…",
            )
        elif kind in ("tmpfs", "ramfs"):
            yield Finding(
                "warning",
                f"the token folder is in memory ({kind})",
                "It is empty after a restart, and /tmp is swept by the system.",
                "Use a folder on a local disk: file:/var/lib/app/wxmp",
            )
    if sys.platform != "win32":
        with suppress(OSError):
            mode = folder.stat().st_mode & 0o777
            if mode & 0o077:
                yield Finding(
                    "warning",
                    f"others can look into the token folder (mode {mode:o})",
                    "The files themselves have mode 0600; their names show the AppID.",
                    f"chmod 700 {folder}",
                )


def _sweep(case: Case, trial: TokenKey) -> None:
    """Take our own record away again: nobody else uses it."""
    if case.store_kind != "file":
        return  # Redis forgets it by itself
    for end in ("json", "lock"):
        with suppress(OSError):
            (_folder(case) / f"{trial.appid}.{trial.channel}.{end}").unlink()
