"""A world to test with: everything a test needs of the platform, in one place and gone at its end.

The fixture ``wx_sim`` of the pytest plugin is one of these; any other test runner can make one itself::

    with Sandbox(seed=7) as sandbox:
        os.environ.update(sandbox.env)

What users do happens at once. What the platform pushes because of it is carried to the connected server while the test
waits, so a test acts first and then awaits :meth:`Sandbox.settled` or :meth:`Sandbox.wait_for`; a test without an event
loop puts :meth:`Sandbox.run` around them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self, TypeAlias, TypedDict, TypeVar, Unpack

from wxmp.simulator.callbacks import CallbackSettings
from wxmp.simulator.carrier import Carrier, LoopThread, lifespan
from wxmp.simulator.clock import Clock
from wxmp.simulator.explain import counted, explain
from wxmp.simulator.pay import ledger
from wxmp.simulator.policy import Policy
from wxmp.simulator.routes import Call
from wxmp.simulator.server import Simulator
from wxmp.simulator.wire import Refusal, Request, WorldError
from wxmp.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from wxmp.simulator.carrier import ASGIApp
    from wxmp.simulator.faults import Effect, Fault, FaultConditions
    from wxmp.simulator.inprocess import AsyncHttpClient, WorldTransport
    from wxmp.simulator.journal import Exchange
    from wxmp.simulator.pay.records import Merchant
    from wxmp.simulator.phone import Phone
    from wxmp.simulator.scenario import Applied, Scenario
    from wxmp.simulator.state import Account, Attempt, CallbackFormat, CallbackMode
    from wxmp.simulator.wire import JsonObject

__all__ = ["Faults", "Sandbox", "SandboxOptions"]

#: Real seconds a test waits unless it says otherwise.
PATIENCE: Final = 10.0
#: The clock may run by itself, and then something falls due while nobody acts: nobody waits longer than this for it.
LONGEST_NAP: Final = 0.05
#: Where a connected application is, as far as the world knows. Nothing ever listens there.
HERE: Final = "http://localhost"
T = TypeVar("T")


#: A scenario: the path of its file, or what would stand in it.
Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, object]"


class SandboxOptions(TypedDict, total=False):
    """The arguments of :class:`Sandbox`, for the marker ``wx_sim`` and the fixture ``wx_sim_options``."""

    seed: int
    clock: Clock | Literal["real", "frozen"] | float
    policy: Policy | Mapping[str, object]
    followers: int
    appid: str
    secret: str
    scenario: Source


class Environment(Protocol):
    """What sets environment variables and takes them back: pytest's ``monkeypatch``."""

    def setenv(self, name: str, value: str) -> None:
        """Set one."""
        ...


class HasASGI(Protocol):
    """Something that makes an ASGI application of itself, such as ``wxmp.webhook.Webhook``."""

    def asgi(self) -> ASGIApp:
        """Return the application."""
        ...


class Faults:
    """The bad days of a world: rules for what goes wrong, in order."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._world.faults.rules)

    def __len__(self) -> int:
        return len(self._world.faults.rules)

    def __repr__(self) -> str:
        return f"Faults({', '.join(rule.label for rule in self)})"

    def add(self, effect: Effect, path: str = "*", **conditions: Unpack[FaultConditions]) -> Fault:
        """Let something go wrong from now on.

        Args:
            effect: What: ``"busy"``, ``"errcode"``, ``"status"``, ``"reset_after"``, ``"hang"``, ``"push_twice"`` and
                so on; see :class:`~wxmp.simulator.faults.Fault`.
            path: A glob pattern for the path without host: ``"/cgi-bin/user/*"``.
            conditions: When: ``times=1``, ``nth=3``, ``every=2``, ``probability=0.1``, ``event="subscribe"``, and the
                fields of the effect: ``errcode=45009``, ``status=502``, ``seconds=2.0``.

        Returns:
            The living rule; ``rule.hits`` counts.
        """
        return self._world.fault(effect, path, **conditions)

    def remove(self, rule: Fault) -> None:
        """Take one rule away."""
        with self._world.lock:
            self._world.faults.remove(rule.id)

    def clear(self) -> None:
        """Take all rules away."""
        with self._world.lock:
            self._world.faults.clear()


class Sandbox:
    """One account on a platform of its own (测试沙箱), with everything at hand.

    Args:
        seed: Source of all ids and of all chance; 1 if absent.
        clock: ``"real"`` (if absent); ``"frozen"`` at noon of 2026-01-01 in Shanghai; a number: so many times as fast
            as real; or a :class:`~wxmp.simulator.Clock`. It can be advanced in each case.
        policy: The adjustable rules, or only those fields that differ: ``{"callback_seconds": 0.5}``.
        followers: How many followers the account starts with.
        appid: AppID of the account; made up from the seed if absent.
        secret: Its AppSecret; an obviously false one if absent.
        scenario: A file with accounts, people, menus, faults and a timeline, or what would stand in it. Its seed, clock
            and rules count where the arguments above say nothing.

    Raises:
        WorldError: A setting cannot work.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        clock: Clock | Literal["real", "frozen"] | float | None = None,
        policy: Policy | Mapping[str, object] | None = None,
        followers: int = 0,
        appid: str | None = None,
        secret: str | None = None,
        scenario: Source | None = None,
    ) -> None:
        timing = None if clock is None else make_clock(clock)
        if scenario is None:
            seed = 1 if seed is None else seed
            world = World(make_policy(policy), timing, seed, appid=appid, secret=secret, followers=followers)
        else:
            from wxmp.simulator.scenario import build

            plan = read_scenario(scenario)
            rules = make_policy(policy, plan.changed())
            world = build(plan, seed=seed, clock=timing, policy=rules, appid=appid, secret=secret)
            world.create_followers(followers)
        #: The world itself: everything that has no name here.
        self.world = world
        self.faults: Faults = Faults(self.world)
        self._thread = LoopThread()
        self._carrier = Carrier(self.world, self._thread)
        self._simulator: Simulator | None = None
        self._settings: dict[str, CallbackSettings] = {}
        self._transport: WorldTransport | None = None
        self._http_client: AsyncHttpClient | None = None
        self._closed = False
        self._endings: list[Callable[[], Coroutine[Any, Any, object]]] = []
        digest = hashlib.sha256(f"{world.seed}|callback".encode()).hexdigest()
        #: The Token (令牌) of the account's server configuration, unless :meth:`connect` is given another one.
        self.callback_token: str = f"simulated{digest[:16]}"
        #: Its EncodingAESKey (消息加解密密钥).
        # Strict readers of base64 want the last of 43 characters to have no bits to spare.
        self.encoding_aes_key: str = f"{digest[16:58]}0"

    def __repr__(self) -> str:
        where = "in-process" if self._simulator is None else self._simulator.url
        return f"{type(self).__name__}({self.appid}, {where}, {len(self.world.journal)} exchanges)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def on_close(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Have something done at the end, in an event loop of its own; the last is done first."""
        self._endings.append(work)

    def close(self) -> None:
        """Stop everything that was started. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        # One that fails must not keep the others from stopping.
        with contextlib.ExitStack() as stack:
            if self._simulator is not None:
                stack.callback(self._simulator.stop)
            stack.callback(self._thread.stop)
            if self._carrier.used_network:
                stack.callback(lambda: self._thread.run(self._carrier.hang_up()))
            if self._endings:
                stack.callback(lambda: self._thread.run(self._end()))
            stack.callback(self._carrier.close)

    async def _end(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for work in self._endings:
                stack.push_async_callback(work)

    # --- the account ------------------------------------------------------------------------------------------------

    @property
    def account(self) -> Account:
        """The account itself: all it holds."""
        return self.world.account

    @property
    def appid(self) -> str:
        """Its AppID (开发者ID)."""
        return self.account.appid

    @property
    def secret(self) -> str:
        """Its AppSecret (开发者密码): worthless outside of this world."""
        return self.account.secret

    @property
    def clock(self) -> Clock:
        """The platform's time: ``clock.advance(7200)``, ``clock.freeze()``, ``clock.now()``."""
        return self.world.clock

    # --- how a program gets here ------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The platform's address on this machine. The first use starts a server; it stops with the sandbox."""
        if self._simulator is None:
            simulator = Simulator(world=self.world)
            simulator.start()
            self._simulator = simulator
        return self._simulator.url

    @property
    def env(self) -> dict[str, str]:
        """The variables that ``Client.from_env()`` and ``Webhook.from_env()`` read. Starts the server."""
        return self._environment("WXMP_")

    def setenv(self, environment: Environment, prefix: str = "WXMP_") -> None:
        """Set these variables for the test: ``sandbox.setenv(monkeypatch)``."""
        for name, value in self._environment(prefix).items():
            environment.setenv(name, value)

    def _environment(self, prefix: str) -> dict[str, str]:
        values = {
            "APPID": self.appid,
            "SECRET": self.secret,
            "ENDPOINT": self.url,
            "TOKEN_STORE": "memory:",
            "DEDUPE": "memory:",
            "CALLBACK_TOKEN": self.callback_token,
            "ENCODING_AES_KEY": self.encoding_aes_key,
        }
        return {prefix + name: value for name, value in values.items()}

    def transport(self) -> WorldTransport:
        """Return a transport for ``httpx.AsyncClient`` or ``httpx.Client`` that needs no socket. Loads httpx."""
        if self._transport is None:
            from wxmp.simulator.inprocess import WorldTransport

            self._transport = WorldTransport(self.world)
        return self._transport

    def http_client(self) -> AsyncHttpClient:
        """Return an ``httpx.AsyncClient`` on that transport, always the same one. It holds nothing to be closed."""
        if self._http_client is None:
            from wxmp.simulator.inprocess import AsyncHttpClient

            self._http_client = AsyncHttpClient(
                transport=self.transport(), base_url="https://api.weixin.qq.com", trust_env=False
            )
        return self._http_client

    # --- the server under test --------------------------------------------------------------------------------------

    def connect(
        self,
        target: str | ASGIApp | HasASGI,
        *,
        path: str = "/",
        token: str | None = None,
        encoding_aes_key: str | None = None,
        mode: CallbackMode = "safe",
        format: CallbackFormat = "xml",
        appid: str | None = None,
    ) -> None:
        """Push everything that happens to a server from now on (服务器配置), without asking its address first.

        Args:
            target: An ASGI application, or something that makes one of itself (a ``Webhook``): called in this process
                and in the test's own event loop, without sockets. Or an address on this machine: sent over HTTP.
            path: Where the application expects pushes.
            token: The Token (令牌); ``callback_token`` if absent.
            encoding_aes_key: The EncodingAESKey (消息加解密密钥); ``encoding_aes_key`` if absent.
            mode: ``"safe"`` (安全模式), ``"compatible"`` (兼容模式) or ``"plain"`` (明文模式).
            format: ``"xml"`` or ``"json"``.
            appid: The account; ``None`` means the default one.

        Raises:
            CallbackError: A setting cannot work.
            WorldError: The target is nothing that can be called.
        """
        app = None if isinstance(target, str) else as_app(target)
        key = encoding_aes_key if encoding_aes_key is not None else self.encoding_aes_key
        settings = CallbackSettings(
            url=target if isinstance(target, str) else f"{HERE}/{path.removeprefix('/')}",
            token=token if token is not None else self.callback_token,
            encoding_aes_key=None if mode == "plain" else key,
            mode=mode,
            format=format,
        )
        account = self.world.account_of(appid)
        with self.world.lock:
            self._carrier.serve(account.appid, app)
            self.world.callbacks.configure(account, settings)
            self._settings[account.appid] = settings

    def disconnect(self, *, appid: str | None = None) -> None:
        """Switch the server configuration off; nothing is pushed any more."""
        self.world.stop_callback(appid=appid)

    async def verify(self, *, appid: str | None = None) -> None:
        """Check the connected address as the console does when it is saved (URL 校验).

        Raises:
            AddressCheckError: It did not answer as it must; the text says what was wrong.
            WorldError: Nothing is connected.
        """
        account = self.world.account_of(appid)
        settings = self._settings.get(account.appid)
        if settings is None:
            raise WorldError("nothing is connected: call connect() first")
        await self._carrier.check(settings, account.appid)

    def lifespan(self, app: ASGIApp) -> AbstractAsyncContextManager[None]:
        """Return a context that starts an ASGI application and stops it again, as a server does.

        ``async with sandbox.lifespan(app): ...``; :meth:`connect` does not start anything.
        """
        return lifespan(app)

    # --- waiting ----------------------------------------------------------------------------------------------------

    # The end of the wait is an error with a reason of its own, which asyncio.timeout() around it could not give.
    async def wait_for(self, predicate: Callable[[], T | None], timeout: float = PATIENCE) -> T:  # noqa: ASYNC109
        """Wait until the predicate is true, and return what it returned. It is asked after every change of the world.

        Args:
            predicate: Such as ``lambda: alice.last_reply``.
            timeout: Real seconds.

        Raises:
            TimeoutError: It was not true in time; :meth:`explain` tells what has happened.
        """
        return await self._wait(predicate, timeout, lambda: f"this did not come true within {timeout:g} s")

    async def settled(self, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109
        """Wait until every push is delivered or has failed, and the application has ended its calls.

        Args:
            timeout: Real seconds.

        Raises:
            TimeoutError: It was not so in time; the text tells what is still on its way.
        """
        await self._wait(lambda: self._carrier.idle, timeout, lambda: f"after {timeout:g} s, {self._unsettled()}")

    async def _wait(self, predicate: Callable[[], T | None], seconds: float, failed: Callable[[], str]) -> T:
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        deadline = loop.time() + seconds

        def changed() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(wake.set)

        self._carrier.lend(loop)
        self.world.listen(changed)
        try:
            while True:
                wake.clear()
                self.world.run_due()
                with self.world.lock:
                    value = predicate()
                if value:
                    return value
                left = deadline - loop.time()
                if left <= 0:
                    break
                timer = loop.call_later(min(left, LONGEST_NAP), wake.set)
                await wake.wait()
                timer.cancel()
        finally:
            self.world.unlisten(changed)
        raise TimeoutError(failed())

    def _unsettled(self) -> str:
        names = [
            f"{push.name} (push {push.id})"
            for account in self.world.state.accounts.values()
            for push in account.pushes
            if push.state in {"waiting", "flying"}
        ]
        if not names:
            return "a call of the connected application has not ended"
        return f"{counted(len(names), 'push', 'pushes')} not delivered: {', '.join(names[:5])}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the sandbox's own event loop and return its result: for tests without one.

        ``sandbox.run(sandbox.settled())``. A connected application is called in this loop then.

        Raises:
            RuntimeError: There is a loop already: ``await`` the coroutine instead.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._thread.run(work)
        work.close()
        raise RuntimeError("this test has an event loop: await the coroutine instead of run()")

    # --- people and things ------------------------------------------------------------------------------------------

    def user(self, name: str, *, appid: str | None = None) -> Phone:
        """Return a person's phone: ``follow``, ``say``, ``tap``, ``scan``, ``pay``, ``chat``, ``last_reply`` ...

        Args:
            name: Who; on first use a stranger of that name appears. The same person for every account.
            appid: The account; ``None`` means the default one.
        """
        return self.world.user(name, appid=appid)

    def qr(self, scene: int | str, *, seconds: int | None = None, appid: str | None = None) -> str:
        """Make a QR code with a scene value (带参数二维码); return its ticket, for ``user.scan(ticket)``.

        Args:
            scene: The scene: a number or a text.
            seconds: How long it is good for; ``None``: for ever.
            appid: The account; ``None`` means the default one.
        """
        from wxmp.simulator.families.qrcode import create

        kind = "STR_SCENE" if isinstance(scene, str) else "SCENE"
        name = "scene_str" if isinstance(scene, str) else "scene_id"
        with self.world.lock:
            call = Call(world=self.world, request=Request("POST", ""), now=self.world.now())
            call.account = self.world.account_of(appid)
            call.body = {
                "action_name": f"QR_{kind}" if seconds is not None else f"QR_LIMIT_{kind}",
                "action_info": {"scene": {name: scene}},
                **({} if seconds is None else {"expire_seconds": seconds}),
            }
            try:
                return str(create(call)["ticket"])
            except Refusal as refusal:
                raise WorldError(f"no such QR code can be made: {refusal.why}") from refusal

    def template(self, title: str, content: str, *, appid: str | None = None) -> str:
        """Put a template (模板消息) into the account's list; return its ``template_id``.

        Args:
            title: Its title.
            content: Its text with ``{{name.DATA}}`` where values go.
            appid: The account; ``None`` means the default one.
        """
        return self.world.add_template(title, content, appid=appid)

    def merchant(self, mchid: str | None = None) -> Merchant:
        """Return a merchant (商户) of WeChat Pay that collects for the account: its number, keys and certificates.

        The same number is the same merchant; it comes into being when somebody asks for it.

        Args:
            mchid: Its number; the world's first merchant if absent.

        Raises:
            WorldError: No merchant can have this number.
        """
        return ledger.ensure_merchant(self.world, mchid)

    def load_scenario(self, scenario: Source) -> Applied:
        """Let a scenario take place in this world: people, menus, templates, faults, and a timeline on its clock.

        Args:
            scenario: The path of its file, or what would stand in it.

        Returns:
            What its names have become: AppIDs, openids, tickets, template ids.

        Raises:
            ScenarioError: What is wrong, and where.
        """
        from wxmp.simulator.scenario import apply

        return apply(self.world, read_scenario(scenario))

    # --- looking back -----------------------------------------------------------------------------------------------

    @property
    def journal(self) -> list[Exchange]:
        """All exchanges kept, oldest first: who asked what, what was answered, and why."""
        return list(self.world.exchanges())

    @property
    def findings(self) -> list[JsonObject]:
        """What the program under test does that works here and will hurt on the real platform, worst first.

        Each has ``code``, ``level`` (``"error"``, ``"warning"``, ``"hint"``), ``count``, and texts in English and
        Chinese.
        """
        return self.world.lint.findings()

    def calls(self, path: str) -> int:
        """Return how many requests to a path arrived, refused ones included."""
        with self.world.lock:
            return self.world.state.calls.get(path, 0)

    @property
    def token_requests(self) -> int:
        """How many requests for an access token arrived, refused ones included."""
        with self.world.lock:
            return self.world.state.token_requests

    def deliveries(self, *, appid: str | None = None) -> list[Attempt]:
        """Return the requests made to the connected server, oldest first, each with its verdict."""
        return self.world.deliveries(appid=appid)

    def explain(self, limit: int = 20) -> str:
        """Tell in plain sentences what has happened last: the section of a failed test's report.

        Args:
            limit: How many exchanges.
        """
        return explain(self.world, limit)


def make_clock(wanted: object) -> Clock:
    """Return a clock for the option of that name."""
    if isinstance(wanted, Clock):
        return wanted
    if wanted == "real":
        return Clock.real()
    if wanted == "frozen":
        return Clock.frozen()
    if isinstance(wanted, int | float) and not isinstance(wanted, bool) and wanted >= 0:
        return Clock.scaled(wanted)
    raise WorldError("clock must be 'real', 'frozen', a speed, or a Clock")


def make_policy(wanted: Policy | Mapping[str, object] | None, base: Policy | None = None) -> Policy:
    """Return the rules, from a whole set of them or from what differs."""
    if isinstance(wanted, Policy):
        return wanted
    policy = base if base is not None else Policy()
    if not wanted:
        return policy
    from wxmp.simulator.scenario import policy_changes

    return policy_changes(wanted, policy, "policy")


def read_scenario(source: Source) -> Scenario:
    """Read a scenario; what a file calls ``${NAME}`` is looked up in the environment."""
    from wxmp.simulator.scenario import load

    if isinstance(source, Mapping):
        return load(source, environ=os.environ)
    path = Path(source)
    return load(path.read_text(encoding="utf-8"), environ=os.environ, name=path.name)


def as_app(target: ASGIApp | HasASGI) -> ASGIApp:
    """Return what is to be called."""
    if callable(target):
        return target
    if callable(getattr(target, "asgi", None)):
        return target.asgi()
    raise WorldError("connect() takes an ASGI application, something with an asgi() method, or an address")
