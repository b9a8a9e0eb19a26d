"""The courier: carries what the world has to tell to the developer's server, over real HTTP.

It decides nothing. What is sent, how often, and what an answer means stands in :mod:`wxmp.simulator.callbacks`. It also
keeps the world's own appointments (such as the report after a template message) while nobody asks anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from wxmp.simulator.answers import Answer
from wxmp.simulator.callbacks import AddressCheckError, check_settings

if TYPE_CHECKING:
    import httpx

    from wxmp.simulator.callbacks import CallbackSettings, Job, Outgoing
    from wxmp.simulator.world import World

__all__ = ["Courier"]

logger = logging.getLogger("wxmp.simulator")

# The clock may be moved or sped up without a word: nobody waits longer than this for an appointment.
LONGEST_NAP = 0.25
CHUNK = 1 << 14


class Courier:
    """Delivers the pushes of a world from within an event loop.

    Args:
        world: Whose pushes.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: httpx.AsyncHTTPTransport | None = None

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
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=1.0)
            if self._transport is not None:
                await self._transport.aclose()

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
        while True:
            self._wake.clear()
            for job in self._world.callbacks.take():
                task = asyncio.create_task(self._deliver(job))
                self._tasks.add(task)
                task.add_done_callback(self._landed)
            await self._wake.wait()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a delivery broke off inside the simulator", exc_info=error)
            self._world.announce()

    async def _deliver(self, job: Job) -> None:
        callbacks = self._world.callbacks
        stopped = False
        try:
            while (outgoing := callbacks.next_request(job)) is not None:
                answer = await self._send(outgoing)
                attempt = callbacks.answered(job, outgoing, answer)
                if attempt is not None and attempt.verdict == "accepted":
                    logger.warning("the developer's server has a hole: %s", attempt.why)
        except asyncio.CancelledError:
            stopped = True
            raise
        finally:
            # After the last request the delivery is over already and this does nothing.
            callbacks.end(job, again=stopped)

    async def check(self, settings: CallbackSettings, appid: str | None) -> None:
        """Check an address and, if it answers as it must, put its settings in force.

        Raises:
            CallbackError: With the reason (``AddressCheckError`` when it is the address); nothing is changed.
        """
        world = self._world
        check_settings(settings, world.policy.callback_hosts)
        account = world.account_of(appid)
        outgoing, echo = world.callbacks.check_request(settings)
        why = world.callbacks.checked(account, outgoing, await self._send(outgoing), echo)
        if why:
            raise AddressCheckError(f"the address check of the callback URL failed: {why}")
        world.callbacks.configure(account, settings)

    async def _send(self, outgoing: Outgoing) -> Answer:
        """Send one request and read the answer, within its seconds all together."""
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
