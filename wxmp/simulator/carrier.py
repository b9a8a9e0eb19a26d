"""The courier of tests: carries pushes on demand, into an ASGI application of this process or to an address.

How a delivery goes is the same as with :class:`~wxmp.simulator.deliver.Courier`; unlike that one it has no task that
runs for ever: each push is carried by a task that ends with it, and nothing is left at the end of a test. An
application is called in the event loop of the test, where its own objects live. A test without a loop lends one of a
thread of its own while it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import attrs

from wxmp.simulator.answers import Answer
from wxmp.simulator.deliver import Errands, HttpPost, check_address, deliver
from wxmp.simulator.pay.notices import Notices, idle
from wxmp.simulator.wire import WorldError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wxmp.simulator.callbacks import CallbackSettings
    from wxmp.simulator.deliver import Letter
    from wxmp.simulator.world import World

__all__ = ["ASGIApp", "Carrier", "LoopThread", "lifespan"]

logger: logging.Logger = logging.getLogger("wxmp.simulator")

Message: TypeAlias = MutableMapping[str, Any]
#: Scope, receive, send. Frameworks spell the types of these in ways of their own.
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
T = TypeVar("T")

#: Real seconds a thread's loop has to end its tasks.
ENDING: Final = 2.0
FAILED: Final = 500
ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


@attrs.frozen(eq=False)
class Parcel:
    """A delivery that needs a loop: the account it is about, what carries it, and what gives it back uncarried."""

    appid: str
    carry: Callable[[], Coroutine[Any, Any, None]]
    give_back: Callable[[], None]


class LoopThread:
    """An event loop in a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="wxmp-carrier", daemon=True)
                self._thread.start()
            return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return what it returns."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            # Whoever gave up waiting (Ctrl-C, a time limit) does not want it to go on.
            future.cancel()
            raise

    def stop(self) -> None:
        """End what still runs there, and the thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(end_all_tasks(), loop).result(ENDING)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(ENDING)
        if not thread.is_alive():
            loop.close()


async def end_all_tasks() -> None:
    """Cancel every other task of this loop and let it end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=ENDING / 2)
    await asyncio.get_running_loop().shutdown_asyncgens()
    # asyncio closes a socket a turn after it was told to.
    for _ in range(3):
        await asyncio.sleep(0)


class Carrier:
    """Delivers the pushes of a world as soon as there is a loop to do it in.

    Args:
        world: Whose pushes.
        thread: The loop for tests that have none, and for addresses.
    """

    def __init__(self, world: World, thread: LoopThread) -> None:
        self._world = world
        self._notices = Notices(world)
        self._errands = Errands(world)
        self._http = HttpPost(world)
        self._thread = thread
        self._apps: dict[str, ASGIApp] = {}
        self._owner = threading.get_ident()
        self._home: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.AbstractEventLoop | None = None
        self._parked: list[Parcel] = []
        self._under_way: dict[Parcel, asyncio.AbstractEventLoop] = {}
        self._calls: set[asyncio.Task[None]] = set()
        world.listen(self._changed)
        world.announce()  # something may be waiting already

    # --- where to ---------------------------------------------------------------------------------------------------

    def serve(self, appid: str, app: ASGIApp | None) -> None:
        """Call an application for an account from now on; ``None``: send to the account's address."""
        if app is None:
            self._apps.pop(appid, None)
        else:
            self._apps[appid] = app

    @property
    def used_network(self) -> bool:
        """Whether anything was sent to an address."""
        return self._http.used

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way and every call of an application has ended, late ones included."""
        return self._world.settled and idle(self._world) and not self._calls

    # --- when -------------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Hear of a change, under the world's lock.

        The jobs are taken here and now: the server of a world has a courier too, which comes too late then.
        """
        callbacks, notices = self._world.callbacks, self._notices
        for push in callbacks.take():
            carry = partial(deliver, callbacks, push, push.appid, self)
            self._parked.append(Parcel(push.appid, carry, partial(callbacks.end, push, again=True)))
        for notice in notices.take():
            appid = notice.notice.appid
            carry = partial(deliver, notices, notice, appid, self)
            self._parked.append(Parcel(appid, carry, partial(notices.end, notice, again=True)))
        if self._parked:
            self._set_out()

    def lend(self, loop: asyncio.AbstractEventLoop) -> None:
        """Carry in this running loop from now on."""
        with self._world.lock:
            self._home = loop
            self._ending = None
            self._take_back()
            self._set_out()

    def _take_back(self) -> None:
        """Take back what was on its way in loops that are closed by now: nobody runs it any more."""
        for parcel in [parcel for parcel, loop in self._under_way.items() if loop.is_closed()]:
            del self._under_way[parcel]
            parcel.give_back()
        self._calls -= {call for call in self._calls if call.get_loop().is_closed()}

    def _set_out(self) -> None:
        """Carry of what is parked whatever there is a loop for."""
        home = self._find_home()
        parked, self._parked = self._parked, []
        for parcel in parked:
            # An address is reached from the thread as well, and a test that blocks does not stop it.
            loop = home if parcel.appid in self._apps else self._thread.loop
            try:
                if loop is None:
                    self._parked.append(parcel)
                else:
                    self._under_way[parcel] = loop
                    loop.call_soon_threadsafe(self._carry_one, parcel)
            except RuntimeError:  # closed at this very moment
                del self._under_way[parcel]
                self._parked.append(parcel)

    def _find_home(self) -> asyncio.AbstractEventLoop | None:
        if threading.get_ident() == self._owner:
            # Only the test's own thread counts: in the thread of a server, say, an application has no business.
            with contextlib.suppress(RuntimeError):
                self._home = asyncio.get_running_loop()
        if self._home is None or self._home is self._ending or not self._home.is_running():
            return None
        return self._home

    def _carry_one(self, parcel: Parcel) -> None:
        self._errands.start(self._carry(parcel))

    async def _carry(self, parcel: Parcel) -> None:
        over = True
        try:
            await parcel.carry()
        except GeneratorExit:
            over = False  # its loop was closed: the next loop finds it
            raise
        finally:
            if over:
                with self._world.lock:
                    self._under_way.pop(parcel, None)

    def close(self) -> None:
        """Carry no more. What is on its way in a loop that is still open ends when that loop runs again or closes."""
        self._world.unlisten(self._changed)
        for task in [*self._errands.tasks, *self._calls]:
            with contextlib.suppress(RuntimeError):  # its loop is closed, and so it has ended
                task.get_loop().call_soon_threadsafe(task.cancel)

    # --- how --------------------------------------------------------------------------------------------------------

    async def check(self, settings: CallbackSettings, appid: str | None) -> None:
        """Check an address or an application, and put its settings in force.

        Raises:
            CallbackError: With the reason; see :func:`~wxmp.simulator.deliver.check_address`.
        """
        served = self._world.account_of(appid).appid in self._apps
        work = check_address(self._world, settings, appid, self)
        if served:
            await work
        else:
            # All connections belong to the loop of the thread.
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._thread.loop))

    async def hang_up(self) -> None:
        """Break off what is on its way to addresses; runs in the loop of the thread."""
        await self._errands.break_off(ENDING / 2)
        await self._http.close()

    async def send(self, outgoing: Letter, appid: str) -> Answer:
        """Call the application of an account, or send to its address."""
        app = self._apps.get(appid)
        if app is None:
            return await self._http.send(outgoing, appid)
        loop = asyncio.get_running_loop()
        began = loop.time()
        exchange = AppExchange(outgoing, self._world.policy.callback_answer_bytes + 1)
        # A task of its own: the platform hangs up after its five seconds, and no server ends a handler for that.
        call = loop.create_task(exchange.run(app))
        self._calls.add(call)
        call.add_done_callback(self._ended)
        try:
            in_time = await exchange.wait(outgoing.seconds)
        except asyncio.CancelledError:
            # So ends a loop: what comes back now must not set out in it again.
            self._ending = loop
            raise
        seconds = loop.time() - began
        if not in_time:
            return Answer(seconds=seconds, failure=f"no answer within {outgoing.seconds:g} s")
        return exchange.answer(seconds)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._world.announce()


class AppExchange:
    """One request of the platform to an application, the ASGI way."""

    def __init__(self, outgoing: Letter, most: int) -> None:
        self._outgoing = outgoing
        self._most = most
        self._over = asyncio.Event()
        self._asked = False
        self._status: int | None = None
        self._kind = ""
        self._body = bytearray()
        self._complete = False
        self._failed = False

    async def run(self, app: ASGIApp) -> None:
        """Call the application."""
        try:
            await app(make_scope(self._outgoing), self._receive, self._send)
        except Exception:
            # As a server does it: a line in the log, which pytest shows, and status 500.
            logger.exception("the connected application failed")
            self._failed = True
        finally:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self._over.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until the answer is complete; tell whether it was so in time. Either way the connection is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        finally:
            self._over.set()
        return True

    def answer(self, seconds: float) -> Answer:
        """Return what the platform has received."""
        if self._complete:
            return Answer(self._status, bytes(self._body[: self._most]), self._kind, seconds)
        if self._failed:
            return Answer(FAILED, b"Internal Server Error", "text/plain", seconds)
        return Answer(seconds=seconds, failure="the application ended without an answer")

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._outgoing.body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
            headers = {bytes(name).lower(): bytes(value) for name, value in message.get("headers", ())}
            self._kind = headers.get(b"content-type", b"").decode("latin-1")
        elif message["type"] == "http.response.body":
            if len(self._body) < self._most:
                self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._complete = True
                self._over.set()


def make_scope(outgoing: Letter) -> Message:
    """Return the ASGI scope of a request of the platform."""
    parts = urlsplit(outgoing.url)
    headers = [(b"host", parts.netloc.encode())]
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in outgoing.headers]
    if outgoing.method == "POST":
        headers.append((b"content-length", str(len(outgoing.body)).encode()))
    path = parts.path or "/"
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1",
        "method": outgoing.method,
        "scheme": parts.scheme,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 0),
        "server": (parts.hostname, parts.port or 80),
        "state": {},
    }


@contextlib.asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start an application and stop it again, as a server does (the ``lifespan`` of ASGI).

    An application that knows no lifespan runs without.

    Raises:
        WorldError: It says that it cannot start, or cannot stop.
    """
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": ASGI, "state": {}}
    task = asyncio.get_running_loop().create_task(run_lifespan(app(scope, to_app.get, from_app.put), from_app))
    try:
        await to_app.put({"type": "lifespan.startup"})
        started = await from_app.get()
        if started["type"] == "lifespan.startup.failed":
            raise WorldError(f"the application did not start: {started.get('message', '')}")
        yield
        if started["type"] == "lifespan.startup.complete":
            await to_app.put({"type": "lifespan.shutdown"})
            stopped = await from_app.get()
            if stopped["type"] == "lifespan.shutdown.failed":
                raise WorldError(f"the application did not stop: {stopped.get('message', '')}")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def run_lifespan(work: Awaitable[None], from_app: asyncio.Queue[Message]) -> None:
    """Run it to its end; an exception before its first answer means that it knows no lifespan."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whatever an application raises that knows no lifespan
        logger.debug("an application without a lifespan: %s", type(error).__name__)
    finally:
        # Whoever waits for an answer gets one.
        from_app.put_nowait({"type": "none"})
