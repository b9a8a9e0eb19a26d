"""The way from this machine to the platform, perhaps through a proxy, and what the clocks on it say."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wxmp._request import WireRequest
from wxmp._transport import Transport
from wxmp.cli._doctor_case import SkippedError, resolve
from wxmp.cli._doctor_report import Finding
from wxmp.cli._reach import set_proxies
from wxmp.errors import ConfigError, ReplyError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wxmp._proxy import Proxy
    from wxmp.cli._doctor_case import Case

__all__ = ["CONNECT", "WINDOW", "check_clock", "check_network", "clock_of", "connect"]

#: Seconds for a name, and for a connection with TLS.
CONNECT: Final = 4.0
#: Seconds for the answer to one request.
ANSWER: Final = 5.0
#: An answer that takes longer is told of, in seconds.
SLOW: Final = 2.0
#: A clock that is off by this much is worth a word, in seconds: the header itself has whole seconds only.
CLOCK_DOUBT: Final = 5.0
#: A push older than this is refused, in seconds.
WINDOW: Final = 300.0

#: Needs a token, and is called without one: the platform answers 41001 and counts it for nobody.
NO_TOKEN: Final = "/cgi-bin/get_api_domain_ip"  # noqa: S105 - a path
_SERVER_ERROR: Final = 500
HOUR: Final = 3600.0

NTP: Final = (
    "Let NTP set the clock: timedatectl set-ntp true, or install chrony; in a container or a virtual machine, on its "
    "host. Nothing has to be restarted."
)


async def check_network(case: Case) -> list[Finding]:
    """Resolve, connect, and see that it is the platform that answers."""
    try:
        parts = urlsplit(case.endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SkippedError("WXMP_ENDPOINT is no address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SkippedError("WXMP_ENDPOINT is no address")
    try:
        proxy = case.proxy
    except ConfigError:
        raise SkippedError("WXMP_PROXY is no address of a proxy") from None
    if proxy is not None:
        return await _through(case, proxy, host)
    proxies = set_proxies(case.endpoint, case.variables)
    findings = [_unused(proxies)] if proxies else []
    trouble, timings = await connect(host, port or (443 if parts.scheme == "https" else 80), parts.scheme)
    if trouble is not None:
        if proxies:
            trouble = Finding(
                trouble.status,
                trouble.found,
                f"{trouble.cause} A proxy is set for this environment, and wxmp does not take it from there.",
                f"{trouble.remedy} If this network needs the proxy, set WXMP_PROXY.",
            )
        return [trouble, *findings]
    return [*await _ask(case, host, timings), *findings]


def _unused(proxies: Sequence[str]) -> Finding:
    return Finding(
        "warning",
        f"{' and '.join(proxies)} is set",
        "wxmp does not read these variables: tokens go straight to the platform, and so does this look.",
        "If this network needs the proxy, set WXMP_PROXY to its address; Client.from_env() and all commands take it. "
        "The platform then sees the proxy's address: that one belongs on the IP list.",
    )


async def _through(case: Case, proxy: Proxy, host: str) -> list[Finding]:
    """Look at the proxy itself; then ask the platform through it, whose name and certificate come into play there."""
    trouble, timings = await connect(proxy.host, proxy.port, "https" if proxy.secure else "http")
    if trouble is not None:
        return [
            Finding(
                trouble.status,
                f"the proxy of WXMP_PROXY: {trouble.found}",
                trouble.cause,
                f"{trouble.remedy} Or correct WXMP_PROXY.",
            )
        ]
    return await _ask(case, host, f"through the proxy {proxy.place} ({timings})")


def _silent(error: TransportError | ReplyError, host: str, proxy: Proxy | None) -> Finding:
    """Say why there is no answer, though the first connection was taken."""
    if proxy is None:
        return Finding(
            "error",
            f"{host} takes the connection but gives no answer: {error}",
            "A black hole: a proxy, a load balancer or a firewall that holds requests back; or another server.",
            "Try curl -v from this machine to the same address, and look at what stands in between.",
        )
    found, said = f"{host} gives no answer through the proxy {proxy.place}: {error}", str(error)
    if "HTTP 407" in said:
        cause = "The proxy does not know who asks."
        remedy = (
            "Write user name and password into WXMP_PROXY, as http://USER:PASSWORD@HOST:PORT, the signs @ : / # ? % in "
            "them percent-encoded."
        )
    elif "refuses the way" in said:  # also with a redirection to a page where one has to log in
        cause = "The proxy's own rules do not let anybody, or this machine, go there."
        remedy = f"Let the proxy allow CONNECT to {host}, from the address of this machine."
    elif "HTTP 5" in said:
        cause = "The proxy takes requests, but has no way to the platform itself."
        remedy = f"Look at DNS, routes and firewall of the proxy: curl -v https://{host} on that machine."
    elif "does not answer as" in said or "hung up" in said:
        cause = "What listens there is no HTTP proxy: another service, a SOCKS proxy, or one that wants TLS."
        remedy = "Check host and port of WXMP_PROXY, and whether it begins with http:// or https://."
    elif "certificate" in said:
        cause = "The proxy, or something behind it, opens TLS, or the CA certificates or the clock here are wrong."
        remedy = "Let the proxy pass this host unopened; see ca-certificates, date -u; never switch verification off."
    else:
        cause = "The proxy, or the way from there to the platform, loses connections or holds them back."
        remedy = f"Try curl -v -x http://{proxy.place} https://{host} from here, and look at the log of the proxy."
    return Finding("error", found, cause, remedy)


async def connect(host: str, port: int, scheme: str) -> tuple[Finding | None, str]:
    """Resolve a name, connect, shake hands; return what is wrong, or the times it took."""
    started = time.monotonic()
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(CONNECT):
            addresses = await resolve(host, port)
    except TimeoutError:
        return _no_name(host, f"nobody answered within {CONNECT:g} s"), ""
    except OSError as error:
        return _no_name(host, error.strerror or str(error)), ""
    named = time.monotonic()
    context = ssl.create_default_context() if scheme == "https" else None
    # The first one of each family: a machine without a way for IPv6 has one for IPv4.
    chosen = list({family: address for family, *_, address in reversed(addresses)}.values())[::-1]
    trouble: Finding | None = None
    for address in chosen:
        try:
            async with asyncio.timeout(CONNECT / len(chosen)):
                _, writer = await asyncio.open_connection(address[0], port)
                connected = time.monotonic()
                if context is not None:
                    await writer.start_tls(context, server_hostname=host)
        except TimeoutError:
            trouble = Finding(
                "error",
                f"{where} ({address[0]}) does not answer: no connection within {CONNECT:g} s",
                "A firewall drops the packets, or there is no route from this machine.",
                f"Allow outgoing TCP to {where}, in the security group and the firewall of this machine.",
            )
            continue
        except ssl.SSLCertVerificationError as error:
            return _bad_certificate(where, error), ""
        except ssl.SSLError as error:
            return (
                Finding(
                    "error",
                    f"{where} does not speak TLS: {error.reason or 'no handshake'}",
                    "A server without TLS answers there (plain http), or something on the way breaks TLS open.",
                    "Check the address and its port (https is 443), and who else listens there.",
                ),
                "",
            )
        except OSError as error:
            trouble = _refused(where, error)
            continue
        finished = time.monotonic()
        writer.transport.abort()
        times = [f"name {1000 * (named - started):.0f} ms", f"TCP {1000 * (connected - named):.0f} ms"]
        if context is not None:
            times.append(f"TLS {1000 * (finished - connected):.0f} ms")
        return None, ", ".join(times)
    return trouble or _no_name(host, "it has no address"), ""


def _no_name(host: str, reason: str) -> Finding:
    return Finding(
        "error",
        f"the name {host} cannot be resolved: {reason}",
        "DNS does not work on this machine, or the name is wrong.",
        f"Try getent hosts {host}; look at /etc/resolv.conf, in a container at its DNS settings.",
    )


def _refused(where: str, error: OSError) -> Finding:
    if isinstance(error, ConnectionRefusedError):
        return Finding(
            "error",
            f"{where} refuses the connection",
            "Nothing listens there, or a firewall refuses it.",
            "Check the address, and start what should listen there.",
        )
    return Finding(
        "error",
        f"{where} cannot be reached: {_reason(error)}",
        "There is no way from this machine to there.",
        "Check routes, firewall and security group of this machine.",
    )


def _reason(error: OSError) -> str:
    # asyncio puts its own words where the system's would stand.
    return os.strerror(error.errno) if error.errno and not isinstance(error, socket.gaierror) else str(error)


def _bad_certificate(where: str, error: ssl.SSLCertVerificationError) -> Finding:
    return Finding(
        "error",
        f"the certificate of {where} is refused: {error.verify_message or 'it cannot be verified'}",
        "Something on the way opens TLS (a company proxy), the CA certificates here are old, the name is wrong, or the "
        "clock of this machine is.",
        "Install ca-certificates, look at the clock (date -u), and never switch verification off.",
    )


async def _ask(case: Case, host: str, timings: str) -> list[Finding]:
    """Ask something that needs a token without one: the platform says so, and its answer carries its time."""
    try:
        transport = Transport(base_url=case.endpoint, timeout=ANSWER, max_connections=1, proxy=case.proxy)
    except ConfigError as error:
        raise SkippedError(str(error)) from None
    before, started = time.time(), time.monotonic()
    try:
        reply = await transport.send(WireRequest("GET", NO_TOKEN))
    except (TransportError, ReplyError) as error:
        return [_silent(error, host, case.proxy)]
    finally:
        await transport.aclose()
    took = time.monotonic() - started
    case.ahead, case.ahead_within = clock_of(reply.headers, before, took)
    try:
        answer = json.loads(reply.content)
        code = answer.get("errcode") if isinstance(answer, dict) else None
    except ValueError:
        code = None
    if not isinstance(code, int):
        said = f"HTTP {reply.status}" + (", no JSON" if reply.status < _SERVER_ERROR else "")
        return [
            Finding(
                "error",
                f"what answers at {host} is not the platform ({said})",
                "A proxy, a gateway or a login page stands in between, or WXMP_ENDPOINT names another server.",
                "Check WXMP_ENDPOINT (unset it for production) and what the network puts in the way.",
            )
        ]
    line = f"{case.place} answers: {timings}, answer {1000 * took:.0f} ms"
    if took > SLOW:
        return [
            Finding(
                "warning",
                line,
                "The way is slow: a token request has 5 s, a call 10 s.",
                "Look for loss on the way (mtr), or take a host that is nearer: sh.api.weixin.qq.com, "
                "sz.api.weixin.qq.com, hk.api.weixin.qq.com in WXMP_ENDPOINT.",
            )
        ]
    return [Finding("ok", line)]


def clock_of(headers: Mapping[str, str], before: float, took: float) -> tuple[float | None, float]:
    """Return how far the clock behind an answer is ahead of this one, and how exact that is; ``None``: it says nothing.

    Args:
        headers: Of the answer.
        before: This machine's time when it was asked.
        took: Seconds until it had answered.
    """
    try:
        # Whole seconds, cut off: on average the clock was half a second further.
        said = parsedate_to_datetime(headers.get("date", "")).timestamp() + 0.5
    except ValueError:
        return None, 0.0
    return said - (before + took / 2), took / 2 + 0.5


async def check_clock(case: Case) -> list[Finding]:
    """Compare this machine's clock with the platform's and with the store's."""
    findings: list[Finding] = []
    if case.ahead is not None:
        findings.append(
            _judged(
                case.ahead,
                case.ahead_within,
                "the platform",
                "Every push and every payment notice then looks stale or from the future and is refused: users see "
                "“该公众号提供的服务出现故障”. Tokens are not touched: their lives are not counted on this clock.",
            )
        )
    if case.store_ahead is not None:
        findings.append(
            _judged(
                case.store_ahead,
                1.0,
                "Redis",
                "The lives of tokens are counted on the clock of Redis: a constant difference does no harm, but when "
                "that clock is set right in one jump, tokens end early or seem to live too long.",
            )
        )
    if not findings:
        raise SkippedError("neither the platform nor the store has told its time")
    return findings


def _judged(ahead: float, within: float, whose: str, harm: str) -> Finding:
    off = abs(ahead)
    if off <= CLOCK_DOUBT:
        return Finding("ok", f"This machine and {whose} agree, to about {max(off, within):.0f} s")
    way = "behind" if ahead > 0 else "ahead of"
    off_text = f"{off:.0f} s" if off < HOUR else f"{off / HOUR:.1f} hours"
    found = f"the clock of this machine is {off_text} {way} {whose}"
    remedy = f"Find out which of the two is wrong. {NTP}" if whose == "Redis" else NTP
    if off > WINDOW:
        return Finding("error", found, harm, remedy)
    return Finding("warning", found, f"Beyond {WINDOW:g} s it becomes a fault. {harm}", remedy)
