"""A world behind a real socket: uvicorn in a thread of its own, started and stopped by a ``with`` block."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Protocol, Self, Unpack

from wxmp.simulator.callbacks import CallbackSettings
from wxmp.simulator.deliver import Courier
from wxmp.simulator.hosts import is_loopback
from wxmp.simulator.pay import ledger
from wxmp.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    import uvicorn

    from wxmp.simulator.clock import Clock
    from wxmp.simulator.faults import Effect, Fault, FaultConditions
    from wxmp.simulator.journal import Exchange
    from wxmp.simulator.pay.records import Merchant
    from wxmp.simulator.phone import Phone
    from wxmp.simulator.policy import Policy
    from wxmp.simulator.state import Account, Attempt, CallbackFormat, CallbackMode, Channel, ChatEntry, Push
    from wxmp.simulator.tokens import HowKilled
    from wxmp.simulator.wire import JsonObject

__all__ = ["Simulator"]

logger: logging.Logger = logging.getLogger("wxmp.simulator")

STARTUP_SECONDS = 10.0
SHUTDOWN_SECONDS = 5.0
DRAIN_SECONDS = 1.0
TICK_SECONDS = 0.1
# Longer than any test: the server must not close an idle connection at the moment a client uses it again.
KEEP_ALIVE_SECONDS = 600


class StoppableServer(Protocol):
    """What the simulator needs of its server; the class itself can only be made once uvicorn is loaded."""

    started: bool
    should_exit: bool
    wake: asyncio.Event

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until told to stop."""
        ...


class Simulator:
    """The platform on this machine, for tests and development.

    ::

        with Simulator(seed=1) as simulator:
            client = Client(simulator.account.appid, simulator.account.secret, base_url=simulator.url)

    Other processes use the same simulator by its URL and steer it through the routes under ``/_sim/``.

    Args:
        policy: The adjustable rules.
        clock: Simulated time; ``None`` takes the real one.
        seed: Source of all ids and of all chance.
        appid: AppID of the default account.
        secret: Its AppSecret; never a real one.
        followers: How many followers it starts with.
        world: A world made before; the arguments above are then ignored.
        host: Address to listen on: loopback only.
        port: Port to listen on; 0 takes a free one.
        allow_remote: Listen on another address than loopback. Whoever reaches it controls the simulator.
        allowed_hosts: Further names accepted in the ``Host`` header.

    Raises:
        ValueError: ``host`` is not loopback and ``allow_remote`` is not set.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
        seed: int = 1,
        appid: str | None = None,
        secret: str | None = None,
        followers: int = 0,
        world: World | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        if not is_loopback(host):
            if not allow_remote:
                raise ValueError("the simulator listens on loopback addresses only; see allow_remote")
            logger.warning("the simulator listens beyond this machine: anybody who reaches it controls it")
        self.world: World = (
            world if world is not None else World(policy, clock, seed, appid=appid, secret=secret, followers=followers)
        )
        self._host = host
        self._wanted_port = port
        self._allowed_hosts = (*allowed_hosts, *(() if is_loopback(host) else (host,)))
        self._port: int | None = None
        self._thread: threading.Thread | None = None
        self._server: StoppableServer | None = None
        self._courier: Courier | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        where = self.url if self._port is not None else "not started"
        return f"Simulator({where})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen and answer; returns when the first request can come. Starting twice does nothing.

        Raises:
            OSError: The port is taken.
            RuntimeError: The server did not come up in time.
        """
        if self._thread is not None:
            return
        sock = self._listen()
        ready = threading.Event()
        try:
            self._courier = Courier(self.world)
            self._server = make_server(self.world, self._courier, self._allowed_hosts, ready.set)
        except BaseException:
            sock.close()
            raise
        self._port = sock.getsockname()[1]
        self.world.base_url = self.url
        self._thread = threading.Thread(
            target=self._run, args=(self._server, self._courier, sock, ready), name="wxmp-simulator"
        )
        self._thread.daemon = True
        self._thread.start()
        ready.wait(STARTUP_SECONDS)
        if not self._server.started:
            self.stop()
            raise RuntimeError("the simulator's server did not start")
        logger.info("the simulator listens on %s", self.url)

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # The protocol is named because asyncio switches Nagle's algorithm off only for sockets that say they are TCP;
        # with it on, every answer waits 40 ms for a delayed acknowledgement.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self._host, self._wanted_port))
            sock.listen(1024)
        except OSError:
            sock.close()
            raise
        return sock

    def _run(self, server: StoppableServer, courier: Courier, sock: socket.socket, ready: threading.Event) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            carrying = asyncio.create_task(courier.run())
            carrying.add_done_callback(tell_of_failure)
            try:
                await server.serve(sockets=[sock])
            finally:
                carrying.cancel()
                await asyncio.wait([carrying], timeout=DRAIN_SECONDS)

        try:
            # An event loop of the plain kind: connection resets need the real socket of a transport.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(serve())
        finally:
            sock.close()
            ready.set()

    def stop(self) -> None:
        """Stop answering, drop all connections, end the thread. Stopping twice does nothing."""
        thread, server = self._thread, self._server
        if thread is None or server is None:
            return
        server.should_exit = True
        if self._loop is not None:
            # The loop may be closed already when the server has failed by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(server.wake.set)
        thread.join(SHUTDOWN_SECONDS)
        if thread.is_alive():
            raise RuntimeError("the simulator's server did not stop in time")
        self._thread = self._server = self._courier = self._loop = None
        self._port = None
        self.world.base_url = ""

    @property
    def running(self) -> bool:
        """Whether the server answers."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise RuntimeError("the simulator is not started")
        return self._port

    @property
    def url(self) -> str:
        """The base URL, for ``base_url=`` of a client or the variable ``WXMP_ENDPOINT``."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    # --- the world, at hand -----------------------------------------------------------------------------------

    @property
    def account(self) -> Account:
        """The default account: ``.appid``, ``.secret`` and all it holds."""
        return self.world.account

    @property
    def journal(self) -> list[Exchange]:
        """All exchanges kept, oldest first: method, path, client label, errcode, and why."""
        return list(self.world.exchanges())

    @property
    def token_requests(self) -> int:
        """How many requests to the two token endpoints arrived, refused and failed ones included."""
        with self.world.lock:
            return self.world.state.token_requests

    def token_requests_of(self, channel: Channel | None = None, *, appid: str | None = None) -> int:
        """Return how many token requests arrived for an account, on one channel or on both."""
        with self.world.lock:
            account = self.world.account_of(appid)
            return sum(
                account.channel(name).requests for name in (("plain", "stable") if channel is None else (channel,))
            )

    def tokens_issued(self, channel: Channel | None = None, *, appid: str | None = None) -> int:
        """Return how many tokens were minted for an account, those of other systems included."""
        with self.world.lock:
            account = self.world.account_of(appid)
            return sum(
                account.channel(name).issued for name in (("plain", "stable") if channel is None else (channel,))
            )

    def calls(self, path: str) -> int:
        """Return how many requests to a path arrived."""
        with self.world.lock:
            return self.world.state.calls.get(path, 0)

    def fault(self, effect: Effect, path: str = "*", **conditions: Unpack[FaultConditions]) -> Fault:
        """Add a fault rule and return it; ``rule.hits`` counts. See :class:`~wxmp.simulator.faults.Fault`."""
        return self.world.fault(effect, path, **conditions)

    def clear_faults(self) -> None:
        """Remove all fault rules."""
        with self.world.lock:
            self.world.faults.clear()

    def kill_token(self, channel: Channel = "stable", how: HowKilled = "forced", *, appid: str | None = None) -> None:
        """End the current token as another system would; see :meth:`World.kill_token`."""
        self.world.kill_token(channel, how, appid=appid)

    def set_callback(
        self,
        url: str,
        *,
        token: str,
        encoding_aes_key: str | None = None,
        mode: CallbackMode | None = None,
        format: CallbackFormat = "xml",
        appid: str | None = None,
        verify: bool = True,
    ) -> None:
        """Check the developer's address (URL 校验) and push everything there from now on.

        It waits for the check: never call it in the event loop that serves the address (``asyncio.to_thread`` helps).

        Args:
            url: The developer's address; loopback, or a host of ``policy.callback_hosts``.
            token: The Token, 3 to 32 letters and digits.
            encoding_aes_key: The EncodingAESKey, 43 characters.
            mode: ``"plain"``, ``"compatible"`` or ``"safe"``; ``None``: safe with a key, plain without.
            format: ``"xml"`` or ``"json"``.
            appid: The account; ``None`` means the default one.
            verify: Whether the address has to pass the check; without it the simulator need not run yet.

        Raises:
            CallbackError: The settings or the address cannot work, and why; nothing is changed.
            RuntimeError: The simulator is not started.
        """
        wanted = mode if mode is not None else ("plain" if encoding_aes_key is None else "safe")
        if not verify:
            self.world.set_callback(
                url, token=token, encoding_aes_key=encoding_aes_key, mode=wanted, format=format, appid=appid
            )
            return
        if self._loop is None or self._courier is None:
            raise RuntimeError("the simulator is not started")
        settings = CallbackSettings(url=url, token=token, encoding_aes_key=encoding_aes_key, mode=wanted, format=format)
        asyncio.run_coroutine_threadsafe(self._courier.check(settings, appid), self._loop).result(
            self.world.policy.callback_seconds + STARTUP_SECONDS
        )

    def phone(self, openid: str | None = None, *, appid: str | None = None) -> Phone:
        """Return a user's phone: follow, say, send, tap, scan. A new person's without ``openid``."""
        return self.world.phone(openid, appid=appid)

    def chat(self, openid: str, *, appid: str | None = None) -> list[ChatEntry]:
        """Return the lines a user sees in the chat with the account, oldest first."""
        return self.world.chat(openid, appid=appid)

    def push(self, fields: JsonObject, openid: str | None = None, *, appid: str | None = None) -> Push | None:
        """Push any fields, as given; see :meth:`World.push`."""
        return self.world.push(fields, openid, appid=appid)

    def deliveries(self, openid: str | None = None, *, since: int = 0, appid: str | None = None) -> list[Attempt]:
        """Return the requests made to the developer's server, oldest first, each with its verdict."""
        return self.world.deliveries(openid, since=since, appid=appid)

    def wait_until_settled(self, timeout: float = 20.0) -> bool:
        """Wait until every push is delivered or has failed; tell whether it was so within ``timeout`` real seconds."""
        return self.world.wait_for(lambda world: world.settled, timeout)

    def merchant(self, mchid: str | None = None) -> Merchant:
        """Return a merchant (商户) of WeChat Pay: its number, keys and certificates.

        The same number is the same merchant; it comes into being when somebody asks for it.

        Args:
            mchid: Its number; the world's first merchant if absent.

        Raises:
            WorldError: No merchant can have this number.
        """
        return ledger.ensure_merchant(self.world, mchid)

    def advance(self, seconds: float) -> float:
        """Move the clock forward; everything due on the way happens in order."""
        return self.world.advance(seconds)

    def reset(self) -> None:
        """Start the world again from nothing; the server and its URL stay. See :meth:`World.reset`."""
        self.world.reset()

    def wait_for(self, predicate: Callable[[World], bool], timeout: float = 10.0) -> bool:
        """Wait until the predicate holds for the world; tell whether it did within ``timeout`` real seconds."""
        return self.world.wait_for(predicate, timeout)


def tell_of_failure(task: asyncio.Task[None]) -> None:
    """Log the end of the courier that nobody has asked for: without it nothing is delivered any more."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.error("the simulator delivers no more pushes", exc_info=error)


def make_server(
    world: World, courier: Courier, allowed_hosts: Iterable[str], on_start: Callable[[], None]
) -> StoppableServer:
    """Build the server of a world. Starlette and uvicorn are loaded here and not before."""
    try:
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol

        from wxmp.simulator.app import Connections, build_app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        message = 'the simulator needs more packages: pip install "wxmp-sdk[simulator]"'
        raise ModuleNotFoundError(message, name=error.name) from None

    connections = Connections()

    class ResettableProtocol(H11Protocol):
        """HTTP/1.1 whose connections can be found again by peer address, to be reset for real."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            connections.add(transport)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.remove(self.transport)
            super().connection_lost(exc)

    class PromptServer(uvicorn.Server):
        """A server that tells when it listens, and that stops at once instead of at its next tick.

        Tests start hundreds of simulators: uvicorn's own stopping takes two tenths of a second each time.
        """

        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.wake = asyncio.Event()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            on_start()

        async def main_loop(self) -> None:
            ticks = 0
            while not await self.on_tick(ticks):
                ticks += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), TICK_SECONDS)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await accept_no_more(self.servers)
            for server in self.servers:
                server.close()
            for sock in sockets or []:
                sock.close()
            # Hanging and slow answers end with their connections: whoever waits for one sees it break off.
            connections.abort_all()
            if self.server_state.tasks:
                await asyncio.wait(list(self.server_state.tasks), timeout=DRAIN_SECONDS)
            for task in list(self.server_state.tasks):
                task.cancel()

    config = uvicorn.Config(
        build_app(world, connections, courier, allowed_hosts=allowed_hosts),
        http=ResettableProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,  # the platform's answers bring their own
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    return PromptServer(config)


async def accept_no_more(servers: Iterable[asyncio.Server]) -> None:
    """Stop listening, and let those in who were accepted at this moment: it takes asyncio three turns.

    Python 3.12 forgets their sockets, open, when the server is closed meanwhile.
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        for listening in server.sockets:
            loop.remove_reader(listening)
    for _ in range(3):
        await asyncio.sleep(0)
