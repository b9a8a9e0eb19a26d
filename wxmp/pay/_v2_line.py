"""The way of the older interface to the gateway: two hosts, and the merchant's certificate for those who ask for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

import attrs

from wxmp._failure import was_in_line
from wxmp._request import WireReply, WireRequest
from wxmp.errors import BadStatusError, ConfigError, TransportError
from wxmp.pay._sites import BAD_SITE, MIN_ATTEMPT, UNAVAILABLE, backup_of

if TYPE_CHECKING:
    from wxmp._transport import Transport

__all__ = ["V2Effort", "V2Endpoint", "V2Line"]

_OK_STATUS: Final = range(200, 300)
_SERVER_ERROR: Final = 500


@attrs.frozen
class V2Endpoint:
    """The facts about one interface."""

    path: str
    #: ``by_key``: the merchant's number makes a repeat harmless, as long as it is the same message.
    repeat: Literal["yes", "by_key", "no"]
    #: Whether the handshake needs the merchant's certificate.
    certificate: bool = False

    @property
    def name(self) -> str:
        """What errors and logs call it."""
        return f"POST {self.path}"


@attrs.define(eq=False)
class V2Effort:
    """How far one call has got, over all its attempts on both hosts."""

    clock: Callable[[], float]
    #: When its time is over, by that clock.
    end: float
    begun: bool = False
    #: Whether an attempt had an unknown outcome.
    acted: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing new may begin."""
        return self.begun and self.clock() >= self.end

    def seconds(self, own: float) -> float:
        """Begin an attempt and return what it may take: the first one all of ``own``, a repeat what is left."""
        if not self.begun:
            self.begun = True
            return own
        return min(own, max(self.end - self.clock(), MIN_ATTEMPT))


class V2Line:
    """The way to the gateway: two hosts, and connections of their own for what needs the merchant's certificate."""

    def __init__(
        self,
        *,
        base_url: str,
        backup_url: str | None,
        timeout: float,
        http_client: object,
        certificate: tuple[str, str] | None,
    ) -> None:
        # Here and not above: the HTTP library is half of the import.
        from wxmp._transport import Transport

        backup_url = backup_of(base_url, backup_url)
        others = () if backup_url is None else (backup_url.rstrip("/"),)
        self._hosts: tuple[str | None, ...] = (None, *others)
        self._bad_until: dict[str | None, float] = {}
        self._timeout = timeout
        if certificate is not None and http_client is not None:
            raise ConfigError("give the certificate to the http_client", field="client_certificate")
        self._plain = Transport(base_url=base_url, timeout=timeout, http_client=http_client, allowed_origins=others)
        self._mutual: Transport | None = None
        if http_client is not None or base_url.startswith("http:"):
            # The user's client has the certificate, or there is no handshake to show it in.
            self._mutual = self._plain
        elif certificate is not None:
            self._mutual = Transport(
                base_url=base_url, timeout=timeout, allowed_origins=others, client_certificate=certificate
            )

    async def send(
        self,
        endpoint: V2Endpoint,
        content: bytes,
        effort: V2Effort,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the transport's own deadline, not a wrapper
        max_body: int | None = None,
    ) -> WireReply:
        """Send a message and return the answer, from the other host where the first one fails."""
        transport = self._mutual if endpoint.certificate else self._plain
        if transport is None:
            raise ConfigError(
                "this call needs the merchant's certificate: client_certificate=(apiclient_cert.pem, ..._key.pem)",
                field="client_certificate",
            )
        hosts = sorted(self._hosts, key=lambda host: self._bad_until.get(host, 0.0) > time.monotonic())
        for host in hosts:
            request = WireRequest(
                method="POST",
                path=endpoint.path,
                content=content,
                content_type="text/xml; charset=utf-8",
                origin=host,
                endpoint=endpoint.name,
                timeout=effort.seconds(self._timeout if timeout is None else timeout),
            )
            try:
                return await _answer(transport, request, max_body)
            except TransportError as error:
                effort.acted = effort.acted or error.maybe_acted
                if transport.closed or (isinstance(error, BadStatusError) and error.status not in UNAVAILABLE):
                    raise
                if not was_in_line(error):
                    self._bad_until[host] = time.monotonic() + BAD_SITE
                if host == hosts[-1] or effort.over or (endpoint.repeat == "no" and error.maybe_acted):
                    raise
        raise ConfigError("there is no host to ask", field="base_url")

    @property
    def closed(self) -> bool:
        """Whether :meth:`aclose` was called."""
        return self._plain.closed

    async def aclose(self) -> None:
        await self._plain.aclose()
        if self._mutual is not None and self._mutual is not self._plain:
            await self._mutual.aclose()


async def _answer(transport: Transport, request: WireRequest, max_body: int | None) -> WireReply:
    if max_body is None:
        reply = await transport.send(request)
    else:
        async with transport.stream(request, max_body=max_body) as stream:
            content = b"".join([piece async for piece in stream.aiter_bytes()])
            reply = WireReply(stream.status, stream.headers, content)
    if reply.status not in _OK_STATUS:
        # The gateway reports its own errors with 200; any other status comes from something in front of it.
        raise BadStatusError(
            f"HTTP status {reply.status}",
            endpoint=request.label,
            maybe_acted=reply.status >= _SERVER_ERROR,
            status=reply.status,
        )
    return reply
