"""The fixture ``wx_sim``: a sandbox that also makes clients of this SDK."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from wxmp.client import CALL_TIMEOUT, Client
from wxmp.retry import RetryPolicy
from wxmp.simulator.sandbox import Sandbox

if TYPE_CHECKING:
    from wxmp.config import TokenPolicy
    from wxmp.events import EventHook
    from wxmp.tokens.store import TokenStore

__all__ = ["WxSim"]


class WxSim(Sandbox):
    """A :class:`~wxmp.simulator.sandbox.Sandbox` with clients: one account on a platform of its own, for one test."""

    def client(
        self,
        *,
        appid: str | None = None,
        token_store: TokenStore | None = None,
        token_channel: Literal["stable", "plain"] = "stable",  # noqa: S107 - a name, no password
        token_policy: TokenPolicy | None = None,
        timeout: float = CALL_TIMEOUT,
        retry: RetryPolicy | None = None,
        on_event: EventHook | None = None,
    ) -> Client:
        """Return a new client of the account, wired to the world without sockets and closed with the sandbox.

        Args:
            appid: Another account of this world; ``None`` means the default one.
            token_store: As of :class:`~wxmp.Client`.
            token_channel: As of :class:`~wxmp.Client`.
            token_policy: As of :class:`~wxmp.Client`.
            timeout: As of :class:`~wxmp.Client`.
            retry: As of :class:`~wxmp.Client`. If absent, the usual one, except that its waits take simulated time:
                they advance :attr:`clock` and no real second passes.
            on_event: As of :class:`~wxmp.Client`.
        """
        account = self.world.account_of(appid)
        client = Client(
            account.appid,
            account.secret,
            token_store=token_store,
            token_channel=token_channel,
            token_policy=token_policy,
            timeout=timeout,
            retry=retry if retry is not None else self._patient(),
            http_client=self.http_client(),
            on_event=on_event,
        )
        self.on_close(client.aclose)
        return client

    def _patient(self) -> RetryPolicy:
        clock = self.clock

        async def sleep(seconds: float) -> None:
            self.world.advance(seconds)
            await asyncio.sleep(0)

        return RetryPolicy(sleep=sleep, wall_clock=clock.now, clock=clock.now)
