"""What a failure means: every error from below becomes one of ours, without a frame, a request or a credential.

Errors of HTTP libraries are known by their names, which are the same in httpx, httpx2 and httpcore: this works for
whatever client the user has handed us.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from wxmp._cargo import IN_LINE
from wxmp._pool import PoolClosed, ReplyTooLarge
from wxmp._redact import MASK, scrub
from wxmp.errors import ReplyError, TimedOutError, TransportError, WxmpError

if TYPE_CHECKING:
    from wxmp._cargo import Cargo
    from wxmp._request import WireRequest

__all__ = ["explain", "strip", "was_in_line"]

_LIBRARIES: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "h11", "anyio", "aiohttp"})
#: Errors after which certainly nothing was sent.
_NOT_SENT: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "InvalidURL"}
)
_URL_IN_TEXT: Final = re.compile(r"(https?://[^\s?#'\"]*)[?#][^\s'\"]*")
_LONGEST_TEXT: Final = 300


def strip(error: BaseException) -> None:
    """Take away the frames below us: their locals hold the request as bytes, and error trackers print locals."""
    error.__traceback__ = None
    error.__context__ = None
    error.__cause__ = None


def was_in_line(error: Exception) -> bool:
    """Whether the time ran out in the line for a connection, which says nothing about the host."""
    return isinstance(error, TimedOutError) and error.stage == IN_LINE


def explain(error: Exception, cargo: Cargo, request: WireRequest, *, expired: bool, closed: bool) -> Exception:
    """Return the error to raise.

    Args:
        error: What came from below.
        cargo: How far the call had got.
        request: What was asked.
        expired: Whether the call was broken off, by its deadline or by us.
        closed: Whether its transport is closed, which is then the reason.
    """
    endpoint = request.label
    may_have_sent = cargo.sent is not False
    if cargo.source_error is not None:
        return cargo.source_error
    if isinstance(error, WxmpError):
        failure = error.fresh()
        if isinstance(failure, TransportError | ReplyError):
            failure.endpoint = endpoint
        return failure
    if isinstance(error, ReplyTooLarge):
        return ReplyError(f"the answer is larger than {cargo.limit} bytes", endpoint=endpoint)
    if isinstance(error, PoolClosed) or (expired and closed):
        return TransportError("the client was closed", endpoint=endpoint, maybe_acted=may_have_sent)
    if expired:
        stage = "waiting for the answer" if may_have_sent else cargo.stage
        text = _with_way(f"no answer within {cargo.seconds:g} s ({stage})", cargo)
        return TimedOutError(text, endpoint=endpoint, maybe_acted=may_have_sent, stage=stage)
    kinds = type(error).__mro__
    if not isinstance(error, OSError) and not any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in kinds):
        if not _shows_secret(error, request):
            return error  # a mistake in somebody's code, which is best seen as it is
        return TransportError(f"{type(error).__name__} in the http_client", endpoint=endpoint)
    names = {kind.__name__ for kind in kinds}
    acted = may_have_sent and names.isdisjoint(_NOT_SENT)
    text = _with_way(_clean_text(error, request), cargo)
    if isinstance(error, TimeoutError) or "TimeoutException" in names:
        stage = IN_LINE if "PoolTimeout" in names else ""
        return TimedOutError(f"timed out: {text}", endpoint=endpoint, maybe_acted=acted, stage=stage)
    what = "the connection broke" if acted else "cannot connect"
    return TransportError(f"{what}: {text}", endpoint=endpoint, maybe_acted=acted)


def _with_way(text: str, cargo: Cargo) -> str:
    """Name the proxy on the way, unless the text does: whoever reads it must not look at the platform alone."""
    return f"{text} (through the proxy {cargo.via})" if cargo.via and cargo.via not in text else text


def _clean_text(error: BaseException, request: WireRequest) -> str:
    text = _URL_IN_TEXT.sub(rf"\1?{MASK}", str(error).strip())
    if request.credentials is not None:
        text = scrub(text, request.credentials.values())
    return text[:_LONGEST_TEXT] or type(error).__name__


def _shows_secret(error: BaseException, request: WireRequest) -> bool:
    if request.credentials is None:
        return False
    text = f"{error!s} {error!r}"
    return any(value in text or value in unquote(text) for value in request.credentials.values() if value)
