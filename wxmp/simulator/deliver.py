"""The courier: carries what the world has to tell to the developer's server, over real HTTP.

It decides nothing. What is sent, how often, and what an answer means stands in :mod:`wxmp.simulator.callbacks` for the
pushes of an account, and in :mod:`wxmp.simulator.pay.notices` for what WeChat Pay tells a merchant. It also keeps the
world's own appointments (such as the report after a template message) while nobody asks anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from wxmp.simulator.answers import Answer
from wxmp.simulator.callbacks import AddressCheckError, check_settings
from wxmp.simulator.pay.notices import Notices

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    import httpx

    from wxmp.simulator.callbacks import CallbackSettings
    from wxmp.simulator.world import World

__all__ = ["Courier", "Errands", "HttpPost", "Letter", "Post", "check_address", "deliver"]

logger: logging.Logger = logging.getLogger("wxmp.simulator")

# The clock may be moved or sped up without a word: nobody waits longer than this for an appointment.
LONGEST_NAP: Final = 0.25
#: Real seconds that deliveries have to end when nobody carries them any more.
ENDING: Final = 1.0
CHUNK: Final = 1 << 14

JobT = TypeVar("JobT")
LetterT = TypeVar("LetterT", bound="Letter")


class Letter(Protocol):
    """One request to send, whoever has written it."""

    @property
    def method(self) -> str:
        """The verb."""
        ...

    @property
    def url(self) -> str:
        """The address."""
        ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Names and values."""
        ...

    @property
    def body(self) -> bytes:
        """The body, empty for a GET."""
        ...

    @property
    def seconds(self) -> float:
        """Real seconds for the whole exchange."""
        ...


class Verdict(Protocol):
    """What became of a request."""

    @property
    def verdict(self) -> str: ...
    @property
    def why(self) -> str: ...


class Sender(Protocol[JobT, LetterT]):
    """Somebody who has something to tell: decides everything, sends nothing."""

    def take(self) -> Sequence[JobT]:
        """Return the deliveries to start now."""
        ...

    def next_request(self, job: JobT) -> LetterT | None:
        """Return the next request of a delivery; ``None`` when it is over."""
        ...

    def answered(self, job: JobT, outgoing: LetterT, answer: Answer) -> Verdict | None:
        """Hear what was answered."""
        ...

    def end(self, job: JobT, *, again: bool = False) -> None:
        """Hear that nobody carries the delivery any more."""
        ...


class Post(Protocol):
    """How a request gets to a server: the one thing in which couriers differ."""

    async def send(self, outgoing: Letter, appid: str) -> Answer:
        """Send one request and read the answer, within its seconds all together.

        Args:
            outgoing: The request.
            appid: The account it is about.
        """
        ...


class HttpPost:
    """Sends requests over real HTTP, from within one event loop.

    Args:
        world: Its policy bounds the answers.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._transport: httpx.AsyncHTTPTransport | None = None

    @property
    def used(self) -> bool:
        """Whether anything was sent."""
        return self._transport is not None

    async def send(self, outgoing: Letter, appid: str) -> Answer:
        """Send one request and read the answer."""
        import httpx

        if self._transport is None:
            # The bare transport: no redirects, no proxies, no line in the log with an address and its signatures.
            # No connection is kept: one that the server closes meanwhile would look like a failed delivery.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._transport = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
        loop = asyncio.get_running_loop()
        began = loop.time()
        most = self._world.policy.callback_answer_bytes + 1
        try:
            request = httpx.Request(
                outgoing.method, outgoing.url, content=outgoing.body or None, headers=list(outgoing.headers)
            )
            async with asyncio.timeout(outgoing.seconds):
                response = await self._transport.handle_async_request(request)
                body = bytearray()
                try:
                    async for chunk in response.aiter_bytes(CHUNK):
                        body += chunk
                        if len(body) >= most:
                            break
                finally:
                    await response.aclose()
            kind = response.headers.get("content-type", "")
            return Answer(response.status_code, bytes(body[:most]), kind, loop.time() - began)
        except TimeoutError:
            return Answer(seconds=loop.time() - began, failure=f"no answer within {outgoing.seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The class says enough; the text may repeat the address with its signatures.
            return Answer(seconds=loop.time() - began, failure=f"the connection failed ({type(error).__name__})")

    async def close(self) -> None:
        """Close what is open."""
        if self._transport is not None:
            await self._transport.aclose()


async def deliver(sender: Sender[JobT, LetterT], job: JobT, appid: str, post: Post) -> None:
    """Make the requests of one delivery, one after the other, until its sender says that it is over."""
    stopped = lost = False
    try:
        while (outgoing := sender.next_request(job)) is not None:
            answer = await post.send(outgoing, appid)
            attempt = sender.answered(job, outgoing, answer)
            if attempt is not None and attempt.verdict == "accepted":
                logger.warning("the developer's server has a hole: %s", attempt.why)
    except asyncio.CancelledError:
        stopped = True
        raise
    except GeneratorExit:
        # Its loop was closed long ago, and somebody else may carry the job by now.
        lost = True
        raise
    finally:
        if not lost:
            # After the last request the delivery is over already and this does nothing.
            sender.end(job, again=stopped)


async def check_address(world: World, settings: CallbackSettings, appid: str | None, post: Post) -> None:
    """Check an address and, if it answers as it must, put its settings in force.

    Raises:
        CallbackError: With the reason (``AddressCheckError`` when it is the address); nothing is changed.
    """
    check_settings(settings, world.policy.callback_hosts)
    account = world.account_of(appid)
    outgoing, echo = world.callbacks.check_request(settings)
    why = world.callbacks.checked(account, outgoing, await post.send(outgoing, account.appid), echo)
    if why:
        raise AddressCheckError(f"the address check of the callback URL failed: {why}")
    world.callbacks.configure(account, settings)


class Errands:
    """The deliveries that are on their way, each a task; one that breaks off is told of.

    Args:
        world: Whose deliveries.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start one in the running loop."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a delivery broke off inside the simulator", exc_info=error)
            self._world.announce()

    async def break_off(self, seconds: float) -> None:
        """End those of this loop."""
        here = asyncio.get_running_loop()
        tasks = [task for task in self.tasks if task.get_loop() is here]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)


class Courier:
    """Delivers the pushes and the payment notices of a world from within an event loop.

    Args:
        world: Whose pushes.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._notices = Notices(world)
        self._post = HttpPost(world)
        self._errands = Errands(world)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled; deliveries on their way are then given back."""
        self._loop = asyncio.get_running_loop()
        self._world.listen(self._changed)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_appointments())
                group.create_task(self._carry())
        finally:
            self._world.unlisten(self._changed)
            await self._errands.break_off(ENDING)
            await self._post.close()

    def _changed(self) -> None:
        """Hear of a change, in whatever thread it happened."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake.set)

    async def _keep_appointments(self) -> None:
        while True:
            due, speed = self._world.next_due(), self._world.clock.speed
            nap = LONGEST_NAP
            if due is not None and speed > 0:
                nap = min(nap, max((due - self._world.now()) / speed, 0.0))
            await asyncio.sleep(nap)
            self._world.run_due()

    async def _carry(self) -> None:
        callbacks, notices = self._world.callbacks, self._notices
        while True:
            self._wake.clear()
            for push in callbacks.take():
                self._errands.start(deliver(callbacks, push, push.appid, self._post))
            for notice in notices.take():
                self._errands.start(deliver(notices, notice, notice.notice.appid, self._post))
            await self._wake.wait()

    async def check(self, settings: CallbackSettings, appid: str | None) -> None:
        """Check an address and, if it answers as it must, put its settings in force; see :func:`check_address`."""
        await check_address(self._world, settings, appid, self._post)
