"""The fixture ``wx_sim``: a sandbox that also makes clients of this SDK."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, cast

from wxmp.client import CALL_TIMEOUT, Client
from wxmp.retry import RetryPolicy
from wxmp.simulator.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from wxmp.config import TokenPolicy
    from wxmp.events import EventHook
    from wxmp.pay import PayClient
    from wxmp.tokens.store import TokenStore

__all__ = ["WxSim"]

#: Where payments are told of, unless a client or an order says otherwise: the connected application gets the path.
NOTIFY_URL: Final = "https://localhost/pay"


class WxSim(Sandbox):
    """A sandbox of the simulator with clients: one account on a platform of its own, for one test."""

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
                they advance ``clock`` and no real second passes.
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

    def pay_client(
        self,
        *,
        mchid: str | None = None,
        notify_url: str = NOTIFY_URL,
        certificates: Sequence[str | bytes] | Literal["auto"] | None = None,
        timeout: float = CALL_TIMEOUT,
        retry: RetryPolicy | None = None,
        on_event: EventHook | None = None,
    ) -> PayClient:
        """Return a new client of a merchant (微信支付商户), wired like :meth:`client` and closed with the sandbox.

        Notices of payments and refunds go to the application that :meth:`connect` has named, at the path of
        ``notify_url``: ``wx_sim.connect(Notifications(pay))``.

        Args:
            mchid: The merchant, as of :meth:`merchant`; the world's first one if absent.
            notify_url: As of :class:`~wxmp.pay.PayClient`.
            certificates: As of :class:`~wxmp.pay.PayClient`. The public key is there in each case.
            timeout: As of :class:`~wxmp.pay.PayClient`.
            retry: As of :class:`~wxmp.pay.PayClient`. If absent, the usual one, in simulated time.
            on_event: As of :class:`~wxmp.pay.PayClient`.
        """
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        from wxmp.pay import PayClient
        from wxmp.simulator.pay.signing import platform_time

        merchant = self.merchant(mchid)
        # Its check would take longer than the rest of a test, and the simulator has made the key itself.
        key = load_pem_private_key(merchant.private_key.encode(), password=None, unsafe_skip_rsa_key_validation=True)
        client = PayClient(
            mchid=merchant.mchid,
            private_key=cast("RSAPrivateKey", key),
            serial=merchant.serial,
            api_v3_key=merchant.api_v3_key,
            appid=merchant.appids[0],
            public_key=merchant.platform_public_key if merchant.public_key_id else None,
            public_key_id=merchant.public_key_id or None,
            certificates=certificates,
            notify_url=notify_url,
            timeout=timeout,
            retry=retry if retry is not None else self._patient(),
            http_client=self.http_client(),
            on_event=on_event,
            # The platform compares signatures with a merchant's own clock, which runs on where the world's is frozen.
            clock=partial(platform_time, self.world),
        )
        self.on_close(client.aclose)
        return client

    def _patient(self) -> RetryPolicy:
        clock = self.clock

        async def sleep(seconds: float) -> None:
            self.world.advance(seconds)
            await asyncio.sleep(0)

        return RetryPolicy(sleep=sleep, wall_clock=clock.now, clock=clock.now)
