"""The desk where one value is handed out, and exchanged when it is dead. All token work is the keeper's."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from wxmp._log import log_fields
from wxmp._redact import Secret
from wxmp.control.ledger import Ledger
from wxmp.control.wire import NAME_OF_KIND
from wxmp.errors import (
    APIError,
    DeadTokenError,
    RateLimitError,
    ReplyError,
    TokenStoreError,
    TransportError,
    WxmpError,
)
from wxmp.tokens.store import FORCED_GAP, FORCED_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wxmp.client import Client
    from wxmp.control.wire import ErrorCode, Kind
    from wxmp.tokens.keeper import TokenKeeper, TokenStatus
    from wxmp.tokens.store import StoredToken

__all__ = ["Claim", "Desk", "NotedTokens", "UnavailableError", "watch"]

logger: logging.Logger = logging.getLogger("wxmp.control")

T = TypeVar("T")

#: What a reporter means who names no code: a refused access_token.
DEAD: Final = 40001
#: What the platform says to whoever asks too often.
TOO_OFTEN: Final = 45009
#: When to ask again after an answer that names no time of its own, in seconds.
SOON: Final = 0.2
LATER: Final = 1.0
#: Refreshes on a person's word are 30 s apart, 20 in a day: as the platform has it for forced ones.
FORCED_APART: Final = FORCED_GAP
FORCED_WITHIN: Final = 86_400.0
RETRY_MOST: Final = 600.0
#: What is wrong with the server itself is told the log once in this many seconds.
TELL_EVERY: Final = 60.0
#: The watcher looks so many times before a value ends, but at most and at least this often, in seconds.
WATCH_MOST: Final = 15.0
WATCH_PER_LIFE: Final = 20
WATCH_LEAST: Final = 0.2
AFTER_FAILURE: Final = 1.0
#: A ticket that nobody has asked for in this time is not kept fresh any more, in seconds.
TICKET_WANTED: Final = 6 * 3600.0


class UnavailableError(Exception):
    """There is no value to hand out now."""

    def __init__(self, code: ErrorCode, message: str, *, retry_after: float, errcode: int = 0) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.retry_after: float = min(max(retry_after, SOON), RETRY_MOST)
        self.errcode = errcode


@attrs.frozen(kw_only=True)
class Claim:
    """What somebody says who wants a value replaced; either of the first two names the value."""

    generation: int = 0
    dead: Secret | None = None
    #: The platform's answer to it, and the call that was refused.
    errcode: int = 0
    path: str = ""
    #: A person wants it, for example because it leaked: nobody says that it is dead.
    operator: bool = False
    #: Name of the key.
    key: str = ""

    def names(self, token: StoredToken) -> bool:
        """Tell whether it is about this value."""
        if self.dead is not None:
            return self.dead == Secret(token.value)
        return self.generation == token.generation


class Desk:
    """One value of one account.

    Args:
        client: Its keeper does the work.
        kind: Which value.
        wall: Seconds since 1970.
        clock: Monotonic seconds.
    """

    def __init__(
        self, client: Client, kind: Kind, *, wall: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.appid: str = client.appid
        self.kind: Kind = kind
        self.ledger: Ledger = Ledger(wall=wall)
        #: Does the work.
        self.keeper: TokenKeeper = client.token_keeper(NAME_OF_KIND[kind])
        self._wall = wall
        self._clock = clock
        #: When persons wanted another value.
        self._wishes: deque[float] = deque(maxlen=FORCED_PER_DAY)
        #: Where it was seen last that somebody watches, and who.
        self.watched_in: asyncio.AbstractEventLoop | None = None
        self.watcher: asyncio.Task[None] | None = None
        self._since = wall()
        self._told = 0.0
        self._renewals: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Secret]] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        return f"Desk({self.appid!r}, {self.kind!r})"

    @property
    def status(self) -> TokenStatus:
        """What can be told about the value."""
        return self.keeper.status()

    def now(self) -> StoredToken | None:
        """Return the value if there is one to use; never waits. It may start a look into the store beside."""
        return self.keeper.held() if self.keeper.peek() is not None else None

    @property
    def wanted(self) -> bool:
        """Whether it is kept fresh without anybody asking: the access_token always, a ticket while it is in use."""
        return self.kind == "access_token" or self._wall() - max(self.ledger.last_asked, self._since) < TICKET_WANTED

    async def hand_out(self, patience: float) -> StoredToken:
        """Return the value; wait for it for at most ``patience`` seconds.

        Raises:
            UnavailableError: There is none, and why.
        """
        return await self._within(patience, self._get())

    async def replace(self, claim: Claim, patience: float) -> tuple[StoredToken, bool]:
        """Have a value replaced, if it is still the current one: compare and swap.

        Args:
            claim: Which value, and why.
            patience: Seconds to wait for the new one.

        Returns:
            The value to use from now on, and whether it is another one because of this claim.

        Raises:
            UnavailableError: There is none yet, and why. The claim may be made again.
        """
        return await self._within(patience, self._replace(claim))

    async def _within(self, patience: float, work: Coroutine[Any, Any, T]) -> T:
        try:
            # What the keeper has begun goes on without whoever waits for it.
            async with asyncio.timeout(patience):
                return await work
        except TimeoutError:
            raise UnavailableError("pending", "it is being fetched: ask again", retry_after=SOON) from None
        except WxmpError as error:
            raise self._unavailable(error) from None

    async def _get(self) -> StoredToken:
        while True:
            await self.keeper.get()
            token = self.keeper.held()
            if token is not None:  # it may have been reported dead in this very moment
                return token

    async def _replace(self, claim: Claim) -> tuple[StoredToken, bool]:
        keeper = self.keeper
        token = keeper.held()
        if token is None or not claim.names(token):
            if token is not None and token.generation > claim.generation > 0:
                return token, False
            # Another replica may have handed it out: see what the store has.
            await keeper.look()
            token = keeper.held()
        if token is None or not claim.names(token):
            return await self._get(), False
        if claim.operator:
            await self._renew()
        else:
            if not self.died(token, errcode=claim.errcode, path=claim.path, key=claim.key):
                return token, False
        fresh = await self._get()
        return fresh, fresh.value != token.value

    def died(self, token: StoredToken, *, errcode: int, path: str, key: str) -> bool:
        """Have a value replaced that the platform refused, and note its death; tell whether it is believed."""
        if not self.keeper.report_dead(Secret(token.value), errcode or DEAD, path=path):
            return False
        if self.ledger.died(token, errcode=errcode, path=path, key=key):
            self.keeper.penalise(path)  # from now on; this one value is still replaced
        return True

    async def _renew(self) -> None:
        """Refresh on a person's word. Whoever asks again while that runs waits for the same refresh."""
        loop = asyncio.get_running_loop()
        task = self._renewals.get(loop)
        if task is None or task.done():
            self._wish()
            task = self._renewals[loop] = loop.create_task(self.keeper.refresh())
            task.add_done_callback(self._landed)
        await asyncio.wait({task})
        task.result()

    def _wish(self) -> None:
        """Count a person's word, which no cool-down and no budget holds back: a program could say it all day long."""
        now, wishes = self._clock(), self._wishes
        wait = FORCED_APART - (now - wishes[-1]) if wishes else 0.0
        if len(wishes) == FORCED_PER_DAY:
            wait = max(wait, FORCED_WITHIN - (now - wishes[0]))
        if wait > 0:
            message = f"a person's refreshes are {FORCED_APART:.0f} s apart, {FORCED_PER_DAY} in a day"
            raise UnavailableError("refused", message, retry_after=wait, errcode=TOO_OFTEN)
        wishes.append(now)

    def _landed(self, task: asyncio.Task[Secret]) -> None:
        if self._renewals.get(task.get_loop()) is task:  # or it would keep its event loop
            del self._renewals[task.get_loop()]
        # Whoever wanted to know may have gone: nobody needs to be told that the error was never retrieved.
        if not task.cancelled():
            task.exception()

    def _unavailable(self, error: WxmpError) -> UnavailableError:
        wait = max(self.keeper.status().cool_down, LATER)
        if isinstance(error, DeadTokenError):
            return UnavailableError("budget_spent", str(error), retry_after=wait, errcode=error.errcode)
        if isinstance(error, APIError):
            if isinstance(error, RateLimitError) and wait <= LATER:
                wait = FORCED_APART
            return UnavailableError("refused", str(error), retry_after=wait, errcode=error.errcode)
        if isinstance(error, TransportError | ReplyError):
            message = "the platform gave no usable answer"
            return UnavailableError("unreachable", message, retry_after=wait)
        if isinstance(error, TokenStoreError):
            return UnavailableError("store_down", "the token store cannot be reached", retry_after=wait)
        now = self._wall()
        if now - self._told >= TELL_EVERY:
            self._told = now
            logger.error(
                "no %s of %s can be had: %s",
                self.kind,
                self.appid,
                error,
                extra=log_fields("value_unavailable", appid=self.appid, kind=self.kind, error=type(error).__name__),
            )
        message = "the control server is not set up for this: see its log"
        return UnavailableError("broken", message, retry_after=max(wait, 5.0))


class NotedTokens:
    """The tokens of a desk for calls of our own: what dies of these is noted as well.

    Args:
        desk: The desk.
        key: Who calls, as the status shows it.
    """

    def __init__(self, desk: Desk, *, key: str) -> None:
        self._desk = desk
        self._key = key

    def peek(self) -> Secret | None:
        """Return the value if it can be used without looking anywhere."""
        return self._desk.keeper.peek()

    async def get(self) -> Secret:
        """Return a usable value, waiting for it if there is none."""
        return await self._desk.keeper.get()

    def report_dead(self, value: Secret, code: int, *, path: str = "") -> bool:
        """Say that the platform refused ``value``; tell whether to repeat the call with another one."""
        token = self._desk.keeper.held()
        if token is not None and value == Secret(token.value):
            return self._desk.died(token, errcode=code, path=path, key=self._key)
        return self._desk.keeper.report_dead(value, code, path=path)

    def penalise(self, path: str) -> None:
        """Say that a call of ``path`` was refused with every value it tried."""
        self._desk.keeper.penalise(path)


async def watch(desk: Desk) -> None:
    """Keep one value fresh without anybody asking, until this is cancelled, the desk is gone, or nobody wants it.

    Looking costs nothing while the value is fresh: the keeper decides when the store, and when the platform is asked.

    Args:
        desk: It is held weakly.
    """
    weak = weakref.ref(desk)
    appid, kind = desk.appid, desk.kind
    del desk
    while True:
        there = weak()
        if there is None or not there.wanted:
            return
        try:
            token = there.now() or await there.hand_out(RETRY_MOST)
            there.ledger.saw(token)
            pause = max(min(token.left / WATCH_PER_LIFE, WATCH_MOST), WATCH_LEAST)
        except UnavailableError as error:
            # The keeper has told the log why.
            logger.debug(
                "no %s of %s to keep fresh: %s",
                kind,
                appid,
                error.code,
                extra=log_fields("value_unavailable", appid=appid, kind=kind, reason=error.code),
            )
            # However long the cool-down: another replica may have had more luck, and a look costs one of the store.
            pause = min(max(error.retry_after, AFTER_FAILURE), WATCH_MOST)
        except Exception as error:
            # Not even a mistake of ours may end it: without traffic nobody else keeps the value fresh.
            logger.exception(
                "looking after the %s of %s failed",
                kind,
                appid,
                extra=log_fields("watching_failed", appid=appid, kind=kind, error=type(error).__name__),
            )
            pause = WATCH_MOST
        del there
        await asyncio.sleep(pause)
