"""A :class:`~wxmp._caller.Caller` that tells a hook of its calls. Without a hook it is not even loaded."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from wxmp._caller import LARGEST_FILE, Arrival, Caller
from wxmp._watch import CallWatcher, current_call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from wxmp._caller import Endpoint, Tokens, _Call
    from wxmp._redact import Secret
    from wxmp._request import Credentials, FilePart, WireRequest
    from wxmp._transport import Transport
    from wxmp._wire import JsonObject
    from wxmp.errors import DeadTokenError
    from wxmp.events import EventHook
    from wxmp.retry import RetryPolicy

__all__ = ["WatchedCaller"]

T = TypeVar("T")


class WatchedCaller(Caller):
    """Calls the endpoints of one account, and says so."""

    def __init__(
        self,
        *,
        appid: str,
        secret: Callable[[], Secret],
        transport: Transport,
        tokens: Tokens,
        retry: RetryPolicy,
        mp_origin: str,
        origin: str,
        hook: EventHook,
    ) -> None:
        super().__init__(
            appid=appid, secret=secret, transport=transport, tokens=tokens, retry=retry, mp_origin=mp_origin
        )
        self._watcher = CallWatcher(hook, appid=appid, origin=origin)
        self.observer = self._watcher.hook

    async def __call__(
        self,
        endpoint: Endpoint,
        *,
        params: Mapping[str, str | int | bool | None] | None = None,
        json: object = None,
        files: Sequence[FilePart] | None = None,
        form: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the transport's own deadline, not a wrapper
        repeatable: bool | None = None,
    ) -> JsonObject:
        """Call ``endpoint``, see :class:`~wxmp._caller.Caller`."""
        with self._watcher(endpoint.name, origin=self._origin_of(endpoint)):
            return await super().__call__(
                endpoint,
                params=params,
                json=json,
                files=files,
                form=form,
                credentials=credentials,
                timeout=timeout,
                repeatable=repeatable,
            )

    async def download(
        self,
        endpoint: Endpoint,
        receive: Callable[[Arrival], Awaitable[T]],
        *,
        params: Mapping[str, str | int | bool | None] | None = None,
        json: object = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the transport's own deadline, not a wrapper
        limit: int = LARGEST_FILE,
    ) -> T | JsonObject:
        """Fetch a file, see :class:`~wxmp._caller.Caller`."""
        with self._watcher(endpoint.name, origin=self._origin_of(endpoint)):
            return await super().download(endpoint, receive, params=params, json=json, timeout=timeout, limit=limit)

    @asynccontextmanager
    async def stream(
        self,
        endpoint: Endpoint,
        *,
        params: Mapping[str, str | int | bool | None] | None = None,
        json: object = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the transport's own deadline, not a wrapper
        limit: int = LARGEST_FILE,
    ) -> AsyncGenerator[Arrival | JsonObject, None]:
        """Open a file, see :class:`~wxmp._caller.Caller`."""
        opening = super().stream(endpoint, params=params, json=json, timeout=timeout, limit=limit)
        with self._watcher(endpoint.name, origin=self._origin_of(endpoint)) as watch:
            async with opening as found:
                watch.answered()
                yield found

    def _origin_of(self, endpoint: Endpoint) -> str | None:
        return self.mp_origin if endpoint.host == "mp" else None

    def _request(self, call: _Call, credentials: Credentials | None) -> WireRequest:
        watch = current_call()
        if watch is not None:
            watch.attempts += 1
        return super()._request(call, credentials)

    async def _wait_for_token(self, dead: DeadTokenError | None) -> Secret:
        started = time.monotonic()
        try:
            return await super()._wait_for_token(dead)
        finally:
            watch = current_call()
            if watch is not None:
                watch.waited += time.monotonic() - started

    def _will_repeat(self, endpoint: Endpoint, attempt: int, seconds: float, error: BaseException | None) -> None:
        super()._will_repeat(endpoint, attempt, seconds, error)
        watch = current_call()
        if watch is not None:
            watch.retried(attempt, seconds, error)
