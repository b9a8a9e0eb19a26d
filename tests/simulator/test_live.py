"""The live stream: what it tells, how often, to whom, and that nobody has to wait for a slow reader."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.simulator.conftest import Desk
from wxmp.simulator import Clock, Policy, Simulator, World
from wxmp.simulator.live import BODY_CHARACTERS, Paced, Reader, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Event = tuple[str, Any, str]


def parse(lines: Iterator[str]) -> Iterator[Event]:
    """Read events: name, data, id."""
    name, data, number = "", "", ""
    for line in lines:
        if not line:
            if name:
                yield name, json.loads(data), number
            name, data, number = "", "", ""
            continue
        field, _colon, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif field == "id":
            number = value


def listen(
    simulator: Simulator,
    enough: Callable[[list[Event]], object],
    *,
    start: Callable[[], object] | None = None,
    **how: Any,
) -> list[Event]:
    """Read the stream until it has told enough; ``start`` runs after the first event."""
    heard: list[Event] = []
    headers = {"last-event-id": how.pop("last")} if "last" in how else {}
    with (
        httpx.Client(base_url=simulator.url, timeout=5.0, trust_env=False) as client,
        client.stream("GET", "/_sim/live", params=how, headers=headers) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        for event in parse(stream.iter_lines()):
            heard.append(event)
            if len(heard) == 1 and start is not None:
                start()
            if enough(heard):
                return heard
    raise AssertionError("the stream has ended")


def numbers(heard: list[Event]) -> list[int]:
    """Return the exchanges heard of, in order."""
    return [exchange["seq"] for name, data, _id in heard if name == "exchanges" for exchange in data]


def told(name: str) -> Callable[[list[Event]], object]:
    """Wait for an event of this name."""
    return lambda heard: heard[-1][0] == name


def of(data: bytes, name: str) -> list[Any]:
    """Return the data of all events of a name."""
    return [found for kind, found, _id in parse(iter(data.decode().split("\n"))) if kind == name]


# --- what is told -------------------------------------------------------------------------------------------------


def test_hello_comes_first(simulator: Simulator, world: World):
    """The first event says where the stream begins and what the clock shows."""
    ((name, data, number),) = listen(simulator, lambda heard: heard)
    assert (name, number) == ("hello", "0")
    assert data | {"started_at": 0} == {
        "seq": 0,
        "now": world.now(),
        "speed": 0.0,
        "version": 1,
        "appid": world.account.appid,
        "started_at": 0,
    }


def test_exchanges_come_as_they_happen(simulator: Simulator, desk: Desk):
    """A request made while somebody listens is told, and its number is the event's id."""
    heard = listen(simulator, told("exchanges"), start=desk.plain)
    name, data, number = heard[-1]
    assert (name, number) == ("exchanges", "1")
    assert (data[0]["path"], data[0]["errcode"], data[0]["cut"]) == ("/cgi-bin/token", 0, False)
    assert "***" in data[0]["response_body"]


def test_bodies_are_cut(desk: Desk, world: World):
    """Long bodies are cut to what a list shows, and say so."""
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "x" * 500}})

    async def read() -> bytes:
        return Reader(world, 0).news()

    ((_token, long),) = of(asyncio.run(read()), "exchanges")
    assert (len(long["request_body"]), long["cut"]) == (BODY_CHARACTERS, True)


def test_without_since_only_news(simulator: Simulator, desk: Desk):
    """A reader that names no number hears of what comes from now on; one that names 0 hears everything."""
    desk.plain()
    assert numbers(listen(simulator, told("exchanges"), start=desk.plain)) == [2]
    assert numbers(listen(simulator, told("exchanges"), since=0)) == [1, 2]


def test_reconnecting_loses_and_doubles_nothing(simulator: Simulator, desk: Desk):
    """A reader that comes back with the last id goes on exactly there, while calls keep coming."""
    stop = threading.Event()

    def call() -> None:
        # Without a pause the journal, which is bounded, would be over its end before the reader is back.
        while not stop.wait(0.002):
            desk.use("x")

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    seen: list[int] = []
    last = "0"
    try:
        for _ in range(5):
            heard = listen(simulator, told("exchanges"), last=last)
            seen += numbers(heard)
            last = heard[-1][2]
    finally:
        stop.set()
        caller.join(5)
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 5


def test_phones_are_told_when_they_change(simulator: Simulator, world: World):
    """After the first list, only the phone that has changed is named."""
    first, second = world.create_followers(2)
    heard = listen(
        simulator,
        lambda heard: [e[0] for e in heard].count("phones") == 2,
        start=lambda: world.user_writes(second, "x"),
    )
    lists = [data[world.account.appid] for name, data, _id in heard if name == "phones"]
    assert set(lists[0]) | set(lists[1]) == {first, second}
    assert set(lists[1]) == {second}
    assert lists[1][second] != lists[0].get(second)


def test_findings_are_told(simulator: Simulator, desk: Desk):
    """A new finding comes without asking."""
    heard = listen(simulator, told("lint"), start=lambda: desk.get("/nonsense"))
    assert [finding["code"] for finding in heard[-1][1]] == ["unknown_path"]


def test_state_is_told_after_a_change(simulator: Simulator, desk: Desk):
    """The state comes at the start, and again when something has changed."""
    heard = listen(simulator, lambda heard: [e[0] for e in heard].count("state") == 2, start=desk.plain)
    states = [data for name, data, _id in heard if name == "state"]
    assert [state["token_requests"]["total"] for state in states][-1] == 1
    assert states[-1]["accounts"][desk.account.appid]["tokens"][0]["life"] == 7200


def test_reset_and_restore_are_told(simulator: Simulator, world: World):
    """When the world begins anew, a reader hears of it."""
    listen(simulator, told("reset"), start=world.reset)
    document = world.snapshot()
    listen(simulator, told("reset"), start=lambda: world.restore(document))


def test_a_number_of_another_world_begins_anew(simulator: Simulator, desk: Desk):
    """A page that was open during a restart names a number this world does not know: it gets everything."""
    desk.plain()
    heard = listen(simulator, told("exchanges"), last="4711")
    assert [name for name, _data, _id in heard[:2]] == ["hello", "reset"]
    assert numbers(heard) == [1]


def test_nothing_a_caller_writes_can_end_an_event(simulator: Simulator, desk: Desk):
    """Line breaks and broken text arrive as they were sent, inside the data."""
    path = "/x\n\ndata: y\r\u2028\ud800"
    heard = listen(simulator, told("exchanges"), start=lambda: desk.send("GET", path))
    assert heard[-1][1][0]["path"] == path


# --- how often ----------------------------------------------------------------------------------------------------


async def test_pacing():
    """What was just told waits for its time, however often it changes; what did not change is not told."""
    made = iter(range(9))
    room = Paced("state", 60.0, lambda: next(made))
    clock = asyncio.get_running_loop().time
    early = clock()
    assert room.tell() == b"event: state\ndata: 0\n\n"
    late = clock()
    assert room.tell() == b""
    room.due = True
    assert room.tell() == b""
    assert room.pause(late) <= 60.0 <= room.pause(early)
    room.due = False
    assert room.pause(0.0) == float("inf")


async def test_costly_news_is_told_less_often():
    """A world that takes long to describe is described less often: a tenth of the time at most."""
    room = Paced("state", 0.0, lambda: time.sleep(0.05))
    room.tell()
    told = asyncio.get_running_loop().time()
    room.due = True
    assert room.pause(told) > 0.3


async def test_the_same_state_is_not_told_twice(world: World, desk: Desk):
    """A change that the state does not show is no news."""
    reader = Reader(world, 0)

    def states() -> list[Any]:
        for room in reader.rooms:
            room._next = 0.0
        reader.changed()
        return of(reader.news(), "state")

    assert states()
    assert not states()
    desk.plain()
    assert states()


async def test_one_word_is_enough(world: World):
    """However many changes: a reader that has not looked yet is woken once."""
    calls = 0

    class Loop:
        def call_soon_threadsafe(self, _function: Any) -> None:
            nonlocal calls
            calls += 1

    watch = Watch(world)
    watch._loop = Loop()  # type: ignore[assignment]
    with watch:
        for _ in range(1000):
            world.announce()
    assert calls == 1
    world.announce()
    assert calls == 1


# --- slow readers -------------------------------------------------------------------------------------------------


async def test_a_gap_is_told():
    """Who comes too late for what the journal keeps hears what is missing, and the rest."""
    world = World(Policy(journal_size=5), Clock.frozen(), seed=7)
    for _ in range(20):
        Desk(world).use("x")
    news = Reader(world, 3).news()
    assert of(news, "gap") == [{"from": 4, "to": 15}]
    assert [exchange["seq"] for exchange in of(news, "exchanges")[0]] == [16, 17, 18, 19, 20]


async def test_batches_are_bounded(world: World, desk: Desk):
    """A long journal comes in pieces, in order."""
    for _ in range(1100):
        desk.use("x")
    reader = Reader(world, 0)
    sizes = []
    while reader.behind:
        sizes.append(len(of(reader.news(), "exchanges")[0]))
    assert sizes == [500, 500, 100]


def wait_for_listeners(world: World, enough: Callable[[int], bool]) -> None:
    """Wait until so many listen to the world; nobody tells of that, so it takes looking."""
    deadline = time.monotonic() + 40
    while not enough(len(world._listeners)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def open_silently(simulator: Simulator) -> socket.socket:
    """Ask for the stream and never read it."""
    sock = socket.create_connection(("127.0.0.1", simulator.port), timeout=5)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    sock.sendall(b"GET /_sim/live?since=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return sock


def test_who_does_not_read_holds_up_nobody(simulator: Simulator, desk: Desk, world: World):
    """With readers that never read, calls go on and another reader hears everything; the server stops at once."""
    silent = [open_silently(simulator) for _ in range(8)]
    wait_for_listeners(world, lambda count: count >= 9)
    before = time.monotonic()
    for _ in range(3000):
        desk.post("/cgi-bin/tags/create", {"tag": {"name": "x" * 1000}}, "x")
    heard = listen(simulator, lambda heard: numbers(heard)[-1:] == [3000], since=0)
    assert numbers(heard) == list(range(1, 3001))
    assert time.monotonic() - before < 60
    before = time.monotonic()
    simulator.stop()
    assert time.monotonic() - before < 8
    for sock in silent:
        sock.close()


def test_stopping_ends_open_streams(world: World):
    """Dozens of readers that wait for news end with the server, within a moment."""

    def read(sock: socket.socket) -> None:
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(65536):
                pass
        sock.close()

    with Simulator(world=world) as simulator:
        readers = [threading.Thread(target=read, args=(open_silently(simulator),), daemon=True) for _ in range(24)]
        for reader in readers:
            reader.start()
        wait_for_listeners(world, lambda count: count >= 25)
        before = time.monotonic()
    assert time.monotonic() - before < 8
    for reader in readers:
        reader.join(5)
    assert not any(reader.is_alive() for reader in readers)


def test_who_leaves_is_forgotten(simulator: Simulator, world: World):
    """After a reader has gone, nothing in the world remembers them."""
    before = len(world._listeners)
    for _ in range(3):
        listen(simulator, lambda heard: heard)
    wait_for_listeners(world, lambda count: count == before)


# --- the way in ---------------------------------------------------------------------------------------------------


def test_head_ends(http: httpx.Client):
    """Asking for the headers only does not hang."""
    answer = http.head("/_sim/live")
    assert (answer.status_code, answer.content) == (200, b"")


def test_wrong_numbers(http: httpx.Client):
    """A number that is none is refused; a last id that is none is passed over."""
    assert http.get("/_sim/live?since=x").status_code == 400
    assert http.head("/_sim/live", headers={"last-event-id": "x"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"), [({"host": "evil.example"}, 421), ({"origin": "http://evil.example"}, 403)]
)
def test_no_stranger_listens(http: httpx.Client, headers: dict[str, str], status: int):
    """Pages of somebody else get nothing."""
    assert http.get("/_sim/live", headers=headers).status_code == status
