"""The way to Redis, whoever keeps something there: scripts, answers, errors, and what shows of it all."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
import redis.exceptions

from tests.moments import quickest
from tests.redis_server import BlackHole, GivenServer, RedisServer, find_server, refusing_port
from tests.tokens.test_redis import LosesOneAnswer, Scripted
from wxmp._redact import Secret
from wxmp._redis import CONNECTIONS, REPEATED, OddAnswerError, RedisScripts, Row, Script
from wxmp.errors import ConfigError, TokenStoreError, WebhookStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

Server = GivenServer | RedisServer

ECHO = Script.of("return {KEYS, ARGV}")
COUNT = Script.of("redis.call('INCRBY', KEYS[1], '@STEP@'); return ARGV[1]", STEP=5)
SECRET = "a-secret-nobody-may-see"


@pytest.fixture(scope="module")
def module_server() -> Iterator[Server]:
    with find_server() as server:
        yield server


@pytest.fixture
def server(module_server: Server) -> Server:
    """A server with an empty database, shared by the tests: do not break it."""
    module_server.flush()
    return module_server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may break."""
    with RedisServer() as server:
        yield server


def scripts_on(source: Any, **changes: Any) -> RedisScripts:
    settings = {"prefix": "p", "timeout": 5.0, "owner": "Shelf", "fails": partial(WebhookStoreError, store="redis")}
    return RedisScripts(source, **(settings | changes))


def echo(row: Row) -> tuple[list[bytes], list[bytes]]:
    keys, args = row.row(0), row.row(1)
    return [keys.data(i) for i in range(len(keys))], [args.data(i) for i in range(len(args))]


def first(row: Row) -> bytes:
    return row.data(0)


# --- scripts and answers ---------------------------------------------------------------------------------------------


def test_a_script_knows_its_sha() -> None:
    """The name under which a server keeps a script is the SHA-1 of the text with its numbers in place."""
    assert COUNT.text == "redis.call('INCRBY', KEYS[1], '5'); return ARGV[1]"
    assert COUNT.sha == hashlib.sha1(COUNT.text.encode(), usedforsecurity=False).hexdigest()


async def test_keys_and_arguments_arrive_as_they_are(server: Server) -> None:
    """Text, numbers, bytes and secrets reach the script byte for byte."""
    scripts = scripts_on(server.url)
    keys, args = await scripts.run(
        ECHO, ["{s}a", "{s}ü"], ["ü", -7, bytes(range(256)), Secret(SECRET), REPEATED, ""], read=echo
    )
    assert keys == [b"{s}a", "{s}ü".encode()]
    assert args == ["ü".encode(), b"-7", bytes(range(256)), SECRET.encode(), b"0", b""]
    await scripts.aclose()


async def test_arguments_may_be_absent(server: Server) -> None:
    """A script may take nothing."""
    scripts = scripts_on(server.url)
    assert await scripts.run(ECHO, [], read=echo) == ([], [])
    await scripts.aclose()


async def test_a_script_is_sent_whole_only_once() -> None:
    """The first run asks by name, then sends the text; a server that knows it is asked by name alone."""
    known: list[bytes] = []

    def answer(_: int, parts: list[bytes]) -> bytes:
        if parts[0] == b"EVALSHA" and not known:
            return b"-NOSCRIPT No matching script.\r\n"
        known.append(parts[1])
        return b"+OK\r\n"

    async with Scripted(answer) as server:
        scripts = scripts_on(server.url)
        for _ in range(3):
            assert await scripts.run(COUNT, ["k"], [1], read=first) == b"OK"
        await scripts.aclose()
    assert [parts[0] for parts in server.requests] == [b"EVALSHA", b"EVAL", b"EVALSHA", b"EVALSHA"]
    assert [parts[1] for parts in server.requests[:2]] == [COUNT.sha.encode(), COUNT.text.encode()]
    assert [parts[2:] for parts in server.requests] == [[b"1", b"k", b"1"]] * 4


async def test_a_repeated_call_says_so(own_server: RedisServer) -> None:
    """After a lost answer the script runs again and can know it."""
    async with LosesOneAnswer(own_server) as proxy:
        scripts = scripts_on(proxy.url)
        assert await scripts.run(COUNT, ["k"], [REPEATED], read=first) == b"0"
        proxy.lose = True
        assert await scripts.run(COUNT, ["k"], [REPEATED], read=first) == b"1"
        assert own_server.command("GET", "k") == b"15"  # carried out twice: the script decides what that means
        await scripts.aclose()


@pytest.mark.parametrize(
    ("answer", "place", "value"), [([b"7"], 0, 7), ([-7], 0, -7), (7, 0, 7), (["12"], 0, 12), ([b"-1"], 0, -1)]
)
def test_a_number_may_come_as_text(answer: Any, place: int, value: int) -> None:
    """Lua sends large numbers as text."""
    assert Row(answer).number(place) == value


def test_a_field_may_come_decoded() -> None:
    """A client of the user's decodes what it gets."""
    assert Row(["ü"]).data(0) == Row(["ü".encode()]).data(0) == "ü".encode()
    assert Row(["ü"]).text(0) == Row(["ü".encode()]).text(0) == "ü"


@pytest.mark.parametrize(
    ("answer", "verb"),
    [
        ([], "data"),
        (None, "data"),
        ([None], "text"),
        ([5], "data"),
        ([5], "text"),
        ([b"\xff"], "text"),
        ([[]], "data"),
        ([redis.exceptions.ResponseError("x")], "data"),
        ([b""], "number"),
        ([b"1.5"], "number"),
        ([b"1_0"], "number"),
        ([b" 1"], "number"),
        (["١"], "number"),
        ([b"9" * 30], "number"),
        ([None], "number"),
        ([b"x"], "row"),
        ([None], "row"),
        ({b"a": b"b"}, "data"),
    ],
)
def test_a_field_of_another_kind_is_an_odd_answer(answer: Any, verb: str) -> None:
    """Nothing is guessed: what is not there, or not of the kind asked for, raises."""
    with pytest.raises(OddAnswerError):
        getattr(Row(answer), verb)(0)


# --- errors ----------------------------------------------------------------------------------------------------------


async def failure(scripts: RedisScripts, *args: Any, read: Any = first) -> WebhookStoreError:
    with pytest.raises(WebhookStoreError) as caught:
        await scripts.run(COUNT, ["k"], args, read=read)
    await scripts.aclose()
    return caught.value


def everything(error: BaseException) -> str:
    """All that a log or a crash reporter could show of an error and its causes, local variables included."""
    text, one = "", error
    while one is not None:
        frames = traceback.TracebackException.from_exception(one, capture_locals=True).stack
        text += f"{one} {one!r} {vars(one)!r}" + "".join(
            f"{frame.locals}" for frame in frames if frame.filename != __file__
        )
        assert one.__context__ is None or one.__suppress_context__
        one = one.__cause__  # type: ignore[assignment]
    return text


@pytest.mark.parametrize(
    ("make", "kind"), [(WebhookStoreError, "webhook"), (TokenStoreError, "token")], ids=["webhook", "token"]
)
async def test_the_owner_says_which_error(make: Any, kind: str) -> None:
    """What fails is the owner's error, with the backend's as its cause."""
    scripts = scripts_on(f"redis://127.0.0.1:{refusing_port()}", fails=partial(make, store=kind))
    with pytest.raises(make) as caught:
        await scripts.run(COUNT, ["k"], read=first)
    assert caught.value.store == kind
    assert isinstance(caught.value.__cause__, redis.exceptions.ConnectionError)
    assert str(caught.value).startswith(scripts.where)


@pytest.mark.parametrize(
    "words", [b"-ERR odd %s\r\n", b"-ERR unknown command 'EVALSHA', with args beginning with: '%s' \r\n"]
)
async def test_what_a_server_repeats_is_not_passed_on(words: bytes) -> None:
    """Secrets, contents (bytes) and the password are masked in the error and its cause; no frame shows a secret."""
    said = f"{SECRET} scripted-password content-of-ü".encode()
    async with Scripted(lambda *_: words % said) as server:
        error = await failure(scripts_on(server.url), Secret(SECRET), "content-of-ü".encode(), "plain")
    shown = everything(error)
    assert SECRET not in shown
    assert "scripted-password" not in shown
    assert "content-of" not in f"{error} {error.__cause__}"
    assert isinstance(error.__cause__, redis.exceptions.ResponseError)


@pytest.mark.parametrize("answer", [b"$2\r\nno\r\n", b":1\r\n", b"*0\r\n", b"$-1\r\n", b"$1\r\n\xff\r\n"])
async def test_an_odd_answer_is_the_owners_error(answer: bytes) -> None:
    """What cannot be read is a failure like any other, without our own inner errors behind it."""
    async with Scripted(lambda *_: answer) as server:
        error = await failure(scripts_on(server.url), read=lambda row: row.text(1) + row.text(0))
    assert "not an answer of our script" in str(error)
    assert isinstance(error.__cause__, redis.exceptions.InvalidResponse)
    everything(error)


async def test_a_mistake_of_ours_is_not_hidden(server: Server) -> None:
    """An error in the code that reads is no store error."""
    scripts = scripts_on(server.url)
    with pytest.raises(ZeroDivisionError):
        await scripts.run(COUNT, ["k"], [1], read=lambda _: 1 // 0)
    await scripts.aclose()


@pytest.mark.parametrize("accepts", [True, False])
async def test_silence_costs_the_time_limit(accepts: bool) -> None:
    """A call ends within its limit, connecting included."""
    with BlackHole(accepts=accepts) as hole:
        seconds, error = await quickest(lambda: failure(scripts_on(hole.url, timeout=0.2)), 1)
        assert 0.15 < seconds < 1
        assert "0.2 s" in str(error) or "imeout" in str(error)


async def test_a_clients_own_retries_do_not_count() -> None:
    """A client with the default retries of redis-py (a minute) fails as fast as anybody."""
    client = redis.asyncio.Redis(port=refusing_port())
    seconds, _ = await quickest(lambda: failure(scripts_on(client)), 1)
    assert seconds < 1
    await client.aclose()


async def test_a_new_connection_that_breaks_is_not_tried_again() -> None:
    """Only a connection that had been kept is suspected of being stale; then the call is tried twice."""
    async with Scripted(lambda number, _: b"+OK\r\n" if number == 2 else None) as server:
        scripts = scripts_on(server.url)
        with pytest.raises(WebhookStoreError):
            await scripts.run(COUNT, ["k"], [REPEATED], read=first)
        assert len(server.requests) == 1
        await scripts.run(COUNT, ["k"], [REPEATED], read=first)
        with pytest.raises(WebhookStoreError):
            await scripts.run(COUNT, ["k"], [REPEATED], read=first)
        assert [parts[-1] for parts in server.requests] == [b"0", b"0", b"0", b"1"]
        await scripts.aclose()


# --- what shows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@db.example:7000/3", "redis://db.example:7000/3"),
        ("rediss://user:hunter2@db.example", "rediss://db.example:6379"),
        ("unix:///run/redis.sock?db=1&password=hunter2", "unix:///run/redis.sock"),
    ],
)
def test_the_address_shows_without_its_secrets(url: str, shown: str) -> None:
    """Messages and the repr name the server; nothing kept shows who logs in."""
    scripts = scripts_on(url)
    assert scripts.where == shown
    assert repr(scripts) == f"RedisScripts({shown!r}, prefix='p')"
    assert "hunter2" not in f"{vars(scripts)}"


def test_a_clients_password_does_not_show() -> None:
    """The settings of a client stay its own."""
    scripts = scripts_on(redis.asyncio.Redis(password="hunter2"))
    assert "hunter2" not in f"{scripts} {vars(scripts)}"


@pytest.mark.parametrize("prefix", ["", "a:b", "a b", "{a}", "x" * 65, "a\n", None, 5])
def test_a_prefix_that_could_end_up_elsewhere_is_refused(prefix: Any) -> None:
    """A prefix is one word of plain letters."""
    with pytest.raises(ConfigError) as caught:
        scripts_on("redis://localhost", prefix=prefix)
    assert caught.value.field == "prefix"


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_time_limit_that_is_none_is_refused(timeout: float) -> None:
    """Every call has an end."""
    with pytest.raises(ConfigError) as caught:
        scripts_on("redis://localhost", timeout=timeout)
    assert caught.value.field == "timeout"


@pytest.mark.parametrize("source", ["", "localhost", "http://localhost", "redis://u:pw-part#x@host", None, 5, object()])
def test_a_source_of_another_kind_is_refused(source: Any) -> None:
    """Only a URL, a client or a pool is a source; an address that cannot be read is not repeated."""
    with pytest.raises(ConfigError) as caught:
        scripts_on(source)
    assert caught.value.field == "source"
    assert "pw-part" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pw-part@localhost/0?no_such_option=1",
        "redis://localhost?socket_timeout=pw-part",
        "redis://localhost?db=pw-part",
        "redis://localhost?max_connections=pw-part",
        "rediss://localhost?ssl_cert_reqs=pw-part",
        "unix:///run/redis.sock?db=pw-part",
    ],
)
def test_an_option_that_redis_does_not_take_is_refused_at_once(url: str) -> None:
    """Not with the first call, where it would be an error of another kind; what stands there is not repeated."""
    with pytest.raises(ConfigError, match="option") as caught:
        scripts_on(url)
    assert caught.value.field == "source"
    assert caught.value.__context__ is None
    assert "pw-part" not in "".join(traceback.format_exception(caught.value))


def test_redis_is_not_loaded_with_the_module() -> None:
    """It is loaded with the first object."""
    script = (
        "import sys, wxmp._redis as r; loaded = lambda: any(n.split('.')[0] == 'redis' for n in sys.modules);"
        "assert not loaded();"
        "r.RedisScripts('redis://x', prefix='p', timeout=1, owner='o', fails=ValueError); assert loaded()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


# --- loops, threads, forks -------------------------------------------------------------------------------------------


def test_loops_in_a_row_leave_nothing_open(own_server: RedisServer) -> None:
    """Each event loop has connections of its own, which end with it, even without a close."""
    scripts = scripts_on(own_server.url)

    async def use() -> bytes:
        return await scripts.run(COUNT, ["k"], [1], read=first)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [asyncio.run(use()) for _ in range(3)] == [b"1"] * 3
        gc.collect()
    assert [str(one.message) for one in caught if issubclass(one.category, ResourceWarning)] == []
    end = time.monotonic() + 10
    while len(own_server.command("CLIENT", "LIST").splitlines()) > 1:  # the one that asks
        assert time.monotonic() < end
        time.sleep(0.01)


async def test_a_crowd_uses_a_handful_of_connections(own_server: RedisServer) -> None:
    """A hundred calls at once share the connections, and each gets its own answer."""
    scripts = scripts_on(own_server.url)
    got = await asyncio.gather(*(scripts.run(COUNT, ["k"], [number], read=first) for number in range(100)))
    assert got == [b"%d" % number for number in range(100)]
    assert len(own_server.command("CLIENT", "LIST").splitlines()) <= CONNECTIONS + 1
    await scripts.aclose()
    assert await scripts.run(COUNT, ["k"], [1], read=first) == b"1"  # and it can be used again
    await scripts.aclose()


async def test_cancelled_calls_confuse_nobody(server: Server) -> None:
    """A connection whose call was given up in the middle is not used again: no answer reaches another call."""
    scripts = scripts_on(server.url)
    for steps in range(100):
        tasks = [asyncio.ensure_future(scripts.run(COUNT, ["k"], [f"old{n}"], read=first)) for n in range(3)]
        for _ in range(steps % 25):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert await scripts.run(COUNT, ["k"], [f"new{steps}"], read=first) == b"new%d" % steps
    await scripts.aclose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_uses_connections_of_its_own(server: Server) -> None:
    """Parent and child go on with the same object, even when a thread held its lock, and share no answer."""
    scripts = scripts_on(server.url)

    async def use(name: str) -> None:
        for number in range(100):
            word = f"{name}{number}".encode()
            assert await scripts.run(COUNT, ["k"], [word], read=first) == word

    async def parent() -> int:
        await use("before")
        scripts._lock.acquire()  # as another thread may hold it at that moment
        pid = os.fork()
        if pid:
            scripts._lock.release()
        else:
            code = 1
            signal.alarm(30)
            try:
                assert not scripts._lines  # the parent's, and its event loop's: not to be touched, not even to close
                failed: list[Any] = []
                threading.excepthook = failed.append
                worker = threading.Thread(target=lambda: asyncio.run(use("child")))
                worker.start()
                worker.join()
                code = len(failed)
            finally:
                os._exit(code)
        await use("parent")
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            await asyncio.sleep(0.01)

    assert asyncio.run(parent()) == 0


async def test_a_client_without_a_pool_stays_in_its_loop() -> None:
    """A client that can only be used as it is serves one event loop; the error says what to do instead."""

    class Commands:
        async def execute_command(self, *args: object) -> object:
            return [str(args[0]), "ü"]

    scripts = scripts_on(Commands())
    assert await scripts.run(COUNT, ["k"], read=lambda row: (row.text(0), row.text(1))) == ("EVALSHA", "ü")
    with pytest.raises(WebhookStoreError, match="belongs to another event loop or process; give Shelf a URL"):
        await asyncio.to_thread(asyncio.run, scripts.run(COUNT, ["k"], read=first))
    await scripts.aclose()


async def test_a_client_that_cannot_decode_is_the_owners_error() -> None:
    """Bytes that a client of the user's chokes on are an odd answer, not a crash."""

    class Commands:
        async def execute_command(self, *_: object) -> object:
            return b"\xff".decode()

    error = await failure(scripts_on(Commands()))
    assert isinstance(error.__cause__, redis.exceptions.InvalidResponse)


class _Broken(redis.asyncio.Connection):
    """What uvloop makes of a connection that the other side closes while something is written to it."""

    async def send_command(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")


async def test_a_closed_connection_is_the_owners_error_on_every_loop() -> None:
    """Other event loops than asyncio's report a closed connection as a RuntimeError: it is a store that failed."""
    async with Scripted(lambda *_: b"+OK\r\n") as server:
        pool = redis.asyncio.ConnectionPool.from_url(server.url, connection_class=_Broken)
        error = await failure(scripts_on(pool))
    assert isinstance(error.__cause__, redis.exceptions.ConnectionError)
    assert "closed=True" in str(error)
