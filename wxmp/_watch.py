"""Watches one call, or one push, for the hook. Nothing here is made, or even loaded, while there is none."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Final, Self, TypedDict
from urllib.parse import urlsplit

from wxmp.errors import APIError, BadStatusError, PayAPIError
from wxmp.events import (
    CallAnswered,
    CallFinished,
    CallRetried,
    CallStarted,
    PushAnswered,
    PushFinished,
    PushStarted,
    guarded,
)

if TYPE_CHECKING:
    from types import TracebackType

    from wxmp.events import EventHook, Service

__all__ = ["AnswerWatch", "CallWatch", "CallWatcher", "PushWatch", "current_call", "outcome_of"]

#: Characters of the longest name that is told. Those of the platform have 80 at most.
LONGEST_NAME: Final = 200

_NUMBERS: Final = itertools.count(1)


class _Account(TypedDict):
    """Whose it is; in every event."""

    appid: str
    mchid: str
    service: Service


class _Call(_Account):
    """The head of all events of one call."""

    call: int
    endpoint: str


class _Push(_Account):
    """The head of all events of one push."""

    push: int
    kind: str


_CURRENT: Final[ContextVar[CallWatch | None]] = ContextVar("wxmp_call", default=None)


def current_call() -> CallWatch | None:
    """Return the watch of the call that runs here."""
    return _CURRENT.get()


class CallWatcher:
    """Makes the watches of one client.

    Args:
        hook: Who is told.
        appid: The account.
        mchid: The merchant.
        service: Which platform.
        origin: Where calls go.
    """

    def __init__(self, hook: EventHook, *, appid: str, origin: str, mchid: str = "", service: Service = "mp") -> None:
        self.hook: EventHook = guarded(hook)
        self.appid: str = appid
        self.mchid: str = mchid
        self.service: Service = service
        self._places: dict[str, tuple[str, int | None]] = {}
        self._origin = origin

    def __call__(self, endpoint: str, *, origin: str | None = None) -> CallWatch:
        """Return the watch of one call of ``endpoint``, to be used as a context manager."""
        if len(endpoint) > LONGEST_NAME or not (endpoint.isascii() and endpoint.isprintable()):
            endpoint = _plain(endpoint)
        origin = origin or self._origin
        place = self._places.get(origin)
        if place is None:
            parts = urlsplit(origin)
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
            place = self._places[origin] = (parts.hostname or "", port)
        return CallWatch(self, endpoint, place)


class CallWatch:
    """One call, from ``with`` to its end."""

    __slots__ = ("_head", "_hook", "_mark", "_place", "_started", "attempts", "waited")

    def __init__(self, by: CallWatcher, endpoint: str, place: tuple[str, int | None]) -> None:
        self._hook = by.hook
        self._head: _Call = {
            "appid": by.appid,
            "mchid": by.mchid,
            "service": by.service,
            "call": next(_NUMBERS),
            "endpoint": endpoint,
        }
        self._place = place
        self._started = 0.0
        self._mark: Token[CallWatch | None] | None = None
        #: HTTP requests so far.
        self.attempts: int = 0
        #: Seconds spent waiting for a token so far.
        self.waited: float = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        host, port = self._place
        self._hook(CallStarted(**self._head, host=host, port=port))
        self._mark = _CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        api = error if isinstance(error, APIError) else None
        pay = error if isinstance(error, PayAPIError) else None
        self._hook(
            CallFinished(
                **self._head,
                outcome=outcome_of(error),
                elapsed=time.monotonic() - self._started,
                attempts=self.attempts,
                waited=self.waited,
                errcode=None if api is None else api.errcode,
                code="" if pay is None else _plain(pay.code),
                status=error.status if isinstance(error, BadStatusError | PayAPIError) else None,
                rid=api.rid if api is not None else "" if pay is None else _plain(pay.request_id),
            )
        )

    def answered(self) -> None:
        """Say that a stream is open, and that what follows is its reader's."""
        self._leave()
        self._hook(CallAnswered(**self._head))

    def retried(self, attempt: int, seconds: float, error: BaseException | None) -> None:
        """Say that an attempt failed, and that another one follows."""
        self._hook(
            CallRetried(
                **self._head,
                attempt=attempt,
                seconds=seconds,
                reason=outcome_of(error),
                errcode=error.errcode if isinstance(error, APIError) else None,
                code=_plain(error.code) if isinstance(error, PayAPIError) else "",
            )
        )

    def _leave(self) -> None:
        mark, self._mark = self._mark, None
        if mark is not None:
            # In another context, the coroutine was thrown away, and is closed by whoever found it.
            with suppress(ValueError):
                _CURRENT.reset(mark)


class PushWatch:
    """One handler, from ``with`` to its end.

    Args:
        hook: Who is told.
        kind: Class of the push.
        appid: The account.
        mchid: The merchant.
        service: Which platform.
        stop: What its task is cancelled with when the handler has taken too long.
        handled: Whether there is a handler for it.
    """

    __slots__ = ("_handled", "_head", "_hook", "_started", "_stop")

    def __init__(
        self,
        hook: EventHook,
        kind: str,
        *,
        stop: str,
        appid: str,
        mchid: str = "",
        service: Service = "mp",
        handled: bool = True,
    ) -> None:
        self._hook = hook
        self._head: _Push = {
            "appid": appid,
            "mchid": mchid,
            "service": service,
            "push": next(_NUMBERS),
            "kind": kind,
        }
        self._stop = stop
        self._handled = handled
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._hook(PushStarted(**self._head))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        elapsed = time.monotonic() - self._started
        self._hook(PushFinished(**self._head, outcome=self._outcome(error), elapsed=elapsed))

    def _outcome(self, error: BaseException | None) -> str:
        if error is None:
            return "ok" if self._handled else "no_handler"
        if isinstance(error, asyncio.CancelledError) and error.args == (self._stop,):
            return "stopped"
        return outcome_of(error)


class AnswerWatch:
    """One HTTP request of the platform, from ``with`` to its answer.

    Args:
        hook: Who is told.
        appid: The account.
        mchid: The merchant.
        service: Which platform.
    """

    __slots__ = ("_head", "_hook", "_started", "status")

    def __init__(self, hook: EventHook, *, appid: str, mchid: str = "", service: Service = "mp") -> None:
        self._hook = hook
        self._head: _Account = {"appid": appid, "mchid": mchid, "service": service}
        self._started = 0.0
        #: The status of the answer; ``None`` until there is one.
        self.status: int | None = None

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        elapsed = time.monotonic() - self._started
        self._hook(PushAnswered(**self._head, status=self.status, elapsed=elapsed))


def _plain(text: str) -> str:
    """Return a text in printable ASCII, not too long: half a surrogate in a label would be the end of a whole page."""
    return ascii(text)[1:-1][:LONGEST_NAME]


def outcome_of(error: BaseException | None) -> str:
    """Return ``ok``, ``cancelled``, or the class of an error."""
    if error is None:
        return "ok"
    return "cancelled" if isinstance(error, asyncio.CancelledError | GeneratorExit) else type(error).__name__
