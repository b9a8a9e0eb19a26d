"""One call from end to end: token, policy, transport, verdict.

A family (``wxmp.api``) names its :class:`Endpoint` and hands over a payload; everything that all endpoints have in
common happens here once.
"""

from __future__ import annotations

import logging
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, Self, TypeVar

import attrs

from wxmp._log import log_fields
from wxmp._redact import scrub
from wxmp._request import Credentials, WireReply, WireRequest
from wxmp._wire import dumps, loads
from wxmp.errors import (
    APIError,
    BadStatusError,
    ConfigError,
    DeadTokenError,
    ReplyError,
    TransportError,
    WxmpError,
    api_error,
)
from wxmp.retry import certainly_not_executed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

    from tenacity import RetryCallState

    from wxmp._redact import Secret
    from wxmp._request import FilePart
    from wxmp._transport import Transport, WireStream
    from wxmp._wire import JsonObject, JsonValue
    from wxmp.events import EventHook
    from wxmp.retry import RetryPolicy

__all__ = ["Arrival", "Caller", "Endpoint", "Tokens"]

T = TypeVar("T")
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

logger: logging.Logger = logging.getLogger("wxmp.call")

#: A call gets at most this many replacements of a dead token.
REPLACEMENTS: Final = 2
NO_CODES: Final[frozenset[int]] = frozenset()
#: Bytes of the largest file that is fetched. The platform keeps none above 10 MB today.
LARGEST_FILE: Final = 100 * 2**20

#: Seconds. More is no wish of anybody, and the clocks of some systems end soon after it.
LONGEST_TIMEOUT: Final = 30 * 86_400

_OK_STATUS: Final = range(200, 300)
_SERVER_ERROR: Final = 500
#: What stands before a JSON object at times: a byte order mark, blanks.
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
#: Main types of sound: some formats of it have no header, and can begin with anything.
_SOUND: Final = ("audio", "voice")
#: Bytes of the longest error that is labelled as sound, and of the longest JSON answer.
_LONGEST_ERROR: Final = 64 * 1024
_LONGEST_WORDS: Final = 10 * 2**20
#: A whole number; they come as text at times.
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")


class Tokens(Protocol):
    """What a caller needs of the token keeper."""

    def peek(self) -> Secret | None:
        """Return the token if it can be used without looking anywhere; never waits."""
        ...

    async def get(self) -> Secret:
        """Return a usable token, waiting for a refresh if there is none."""
        ...

    def report_dead(self, value: Secret, code: int, *, path: str = "") -> bool:
        """Say that the platform refused ``value``; the answer tells whether to repeat the call with another one."""
        ...

    def penalise(self, path: str) -> None:
        """Say that a call of ``path`` was refused with every token it tried."""
        ...


@attrs.frozen
class Endpoint:
    """The facts about one platform endpoint."""

    method: Literal["GET", "POST"]
    path: str
    #: An automatic repeat after an ambiguous failure does no lasting harm.
    repeatable: bool = attrs.field(kw_only=True)
    #: ``token``: the account's access token goes into the query. ``none``: the family passes its own credentials.
    auth: Literal["token", "none"] = attrs.field(default="token", kw_only=True)
    #: ``api``, or the host of QR pictures.
    host: Literal["api", "mp"] = attrs.field(default="api", kw_only=True)
    #: On these endpoints 40001 means a wrong AppSecret, never a dead access token.
    issues_tokens: bool = attrs.field(default=False, kw_only=True)
    #: Codes that mean "done already" when they answer a repeat after an attempt whose outcome is unknown.
    done_codes: frozenset[int] = attrs.field(default=NO_CODES, kw_only=True)
    #: Codes that are an answer and not a failure: the reply is returned with them inside.
    accepted_codes: frozenset[int] = attrs.field(default=NO_CODES, kw_only=True)
    #: Method and path, for errors and logs.
    name: str = attrs.field(
        init=False, default=attrs.Factory(lambda self: f"{self.method} {self.path}", takes_self=True)
    )


class Caller:
    """Calls the endpoints of one account."""

    def __init__(
        self,
        *,
        appid: str,
        secret: Callable[[], Secret],
        transport: Transport,
        tokens: Tokens,
        retry: RetryPolicy,
        mp_origin: str,
    ) -> None:
        #: The account's AppID.
        self.appid = appid
        #: Returns the AppSecret; asked late, so that a rotated secret is seen.
        self.secret = secret
        #: Seconds since 1970, for what goes by the day; the policy's, so that a test sets one clock.
        self.wall_clock: Callable[[], float] = retry.wall_clock
        #: Where QR pictures live.
        self.mp_origin = mp_origin
        #: Told of what is no call; ``None`` without a hook.
        self.observer: EventHook | None = None
        self._transport = transport
        self._tokens = tokens
        self._retry = retry
        self._last: tuple[Secret, Credentials] | None = None

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
        """Call ``endpoint`` and return its JSON answer.

        Args:
            endpoint: Its facts.
            params: Query parameters; ``None`` values are left out.
            json: The payload in wire form. A POST without one sends ``{}`` (44002 is the empty-body code).
            files: Parts of a multipart upload, instead of ``json``.
            form: Plain fields of a multipart upload.
            credentials: For endpoints whose ``auth`` is ``none``.
            timeout: Seconds for one attempt; the client's setting if absent.
            repeatable: Overrides the endpoint's, for a payload that carries a de-duplication key.
        """
        call = self._prepare(endpoint, params, json, files, form, credentials, timeout)
        started = time.monotonic()
        try:
            return await self._attempt(call, self._transport.send, self._read)
        except _NoTokenError as failure:
            raise failure.error from failure.error.__cause__
        except (APIError, TransportError, ReplyError) as error:
            if repeatable is None:
                repeatable = endpoint.repeatable
            if not self._retry.should_repeat(error, repeatable=repeatable) or not call.replayable:
                raise
            first = error
        attempt = partial(self._attempt, exchange=self._transport.send, read=self._read)
        return await self._repeat(call, attempt, first, repeatable=repeatable, started=started)

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
        """Call an endpoint that answers a file, and return what ``receive`` makes of it.

        An error in JSON (with HTTP 200, where a file should be) is raised as what it is; JSON that is no error is
        returned. When the connection breaks half-way, the call is repeated like any other and ``receive`` begins anew.

        Args:
            endpoint: Its facts.
            receive: Reads the file.
            params: Query parameters.
            json: The payload of a POST.
            timeout: Seconds for one attempt, up to the last byte.
            limit: Bytes the file may have.
        """
        call = self._prepare(endpoint, params, json, None, None, None, timeout)

        async def attempt(call: _Call) -> T | JsonObject:
            found = await self._open(call, limit)
            if not isinstance(found, Arrival):
                return found
            async with found:
                return await receive(found)

        return await self._persist(call, attempt, repeatable=endpoint.repeatable)

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
        """Open a file for whoever reads it piece by piece. What breaks once it is open is not repeated."""
        call = self._prepare(endpoint, params, json, None, None, None, timeout)
        found = await self._persist(call, lambda call: self._open(call, limit), repeatable=endpoint.repeatable)
        if not isinstance(found, Arrival):
            yield found
            return
        async with found:
            yield found

    def _prepare(
        self,
        endpoint: Endpoint,
        params: Mapping[str, str | int | bool | None] | None,
        json: object,
        files: Sequence[FilePart] | None,
        form: Mapping[str, str] | None,
        credentials: Credentials | None,
        timeout: float | None,
    ) -> _Call:
        if timeout is not None and not (_is_number(timeout) and 0 < timeout <= LONGEST_TIMEOUT):
            raise ConfigError("timeout must be a number of seconds above 0, a month at most", field="timeout")
        content: bytes | None = None
        if endpoint.method == "GET":
            if json is not None or files is not None:
                raise ConfigError("a GET carries params, no json and no files", field="json")
        elif files is None:
            content = b"{}" if json is None else dumps(json, endpoint=endpoint.name)
        elif json is not None:
            raise ConfigError("a request has either json or files", field="files")
        return _Call(endpoint, params, content, files, form, credentials, timeout, endpoint.accepted_codes)

    async def _persist(self, call: _Call, attempt: Callable[[_Call], Awaitable[T]], *, repeatable: bool) -> T:
        """Make ``attempt``, and hand it to the policy if it fails; :meth:`__call__` does the same, a frame shorter."""
        started = time.monotonic()
        try:
            return await attempt(call)
        except _NoTokenError as failure:
            raise failure.error from failure.error.__cause__
        except (APIError, TransportError, ReplyError) as error:
            if not self._retry.should_repeat(error, repeatable=repeatable):
                raise
            first = error
        return await self._repeat(call, attempt, first, repeatable=repeatable, started=started)

    async def _open(self, call: _Call, limit: int) -> Arrival | JsonObject:
        """One attempt to have a file sent."""

        async def exchange(request: WireRequest) -> Arrival | WireReply:
            return await _arrival(self._transport.stream(request, max_body=limit), request)

        return await self._attempt(call, exchange, self._read_arrival)

    async def _attempt(self, call: _Call, exchange: Callable[[WireRequest], Awaitable[S]], read: _Read[S, T]) -> T:
        """One attempt. A dead token is no attempt: it is replaced and the call repeated, at most twice."""
        if call.endpoint.auth == "none":
            return read(call, await exchange(self._request(call, call.credentials)), call.credentials)
        dead: DeadTokenError | None = None
        path = call.endpoint.path
        for replacements_left in range(REPLACEMENTS, -1, -1):
            token = self._tokens.peek() or await self._wait_for_token(dead)
            credentials = self._token_credentials(token)
            reply = await exchange(self._request(call, credentials))
            try:
                return read(call, reply, credentials)
            except DeadTokenError as error:
                dead = error
            if not replacements_left:
                # Three tokens in a row: it is more likely this path than the tokens.
                self._tokens.penalise(path)
            elif not self._tokens.report_dead(token, dead.errcode, path=path) or not call.replayable:
                break
        raise dead or ConfigError("REPLACEMENTS must not be negative")

    async def _wait_for_token(self, dead: DeadTokenError | None) -> Secret:
        try:
            return await self._tokens.get()
        except DeadTokenError as refused:
            # No further replacement is allowed; the caller wants to know which call the platform refused.
            raise _NoTokenError((dead or refused).with_advice(refused.advice)) from None
        except WxmpError as error:
            raise _NoTokenError(error) from None

    async def _repeat(
        self,
        call: _Call,
        attempt: Callable[[_Call], Awaitable[T]],
        first: APIError | TransportError | ReplyError,
        *,
        repeatable: bool,
        started: float,
    ) -> T:
        """Hand the call to tenacity after its first attempt failed with ``first``."""
        pending: APIError | TransportError | ReplyError | None = first
        unknown = False

        async def repeat() -> T:
            nonlocal pending, call, unknown
            if pending is not None:
                error, pending = pending, None
            else:
                try:
                    return await attempt(call)
                except (APIError, TransportError, ReplyError) as failure:
                    error = failure
            if not certainly_not_executed(error):
                # From now on "it is there already" may well mean that an earlier attempt did it.
                unknown = True
                call = call._replace(accepted=call.endpoint.accepted_codes | call.endpoint.done_codes)
            raise error

        def before_sleep(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            self._will_repeat(call.endpoint, state.attempt_number, state.upcoming_sleep, error)

        policy = self._retry.retrying(
            repeatable=repeatable, before_sleep=before_sleep, elapsed=time.monotonic() - started
        )
        try:
            return await policy(repeat)
        except _NoTokenError as failure:
            if unknown:
                _tell(failure.error)
            raise failure.error from failure.error.__cause__
        except (APIError, TransportError, ReplyError) as error:
            if unknown:
                _tell(error)
            raise

    def _will_repeat(self, endpoint: Endpoint, attempt: int, seconds: float, error: BaseException | None) -> None:
        """Tell the log that an attempt failed, and that another one follows."""
        api = error if isinstance(error, APIError) else None
        logger.warning(
            "%s: attempt %d failed (%s), next in %.2f s",
            endpoint.name,
            attempt,
            type(error).__name__ if api is None else f"errcode {api.errcode}",
            seconds,
            extra=log_fields(
                "call_retried",
                appid=self.appid,
                endpoint=endpoint.name,
                attempt=attempt,
                seconds=seconds,
                error=type(error).__name__,
                errcode=None if api is None else api.errcode,
                rid=None if api is None else api.rid,
            ),
        )

    def _request(self, call: _Call, credentials: Credentials | None) -> WireRequest:
        endpoint = call.endpoint
        return WireRequest(
            method=endpoint.method,
            path=endpoint.path,
            params=call.params,
            content=call.content,
            files=call.files,
            form=call.form,
            credentials=credentials,
            origin=self.mp_origin if endpoint.host == "mp" else None,
            endpoint=endpoint.name,
            timeout=call.timeout,
        )

    def _token_credentials(self, token: Secret) -> Credentials:
        last = self._last
        if last is None or last[0] is not token:
            last = self._last = (token, Credentials(params={"access_token": token}))
        return last[1]

    def _read(self, call: _Call, reply: WireReply, credentials: Credentials | None) -> JsonObject:
        """Judge an answer: the one place where an errcode becomes an error."""
        endpoint = call.endpoint
        if reply.status not in _OK_STATUS:
            _refuse_status(endpoint, reply.status)
        payload = loads(reply.content, endpoint=endpoint.name, mask=lambda text: _mask(text, credentials))
        errcode = payload.get("errcode")
        if errcode in (None, 0):
            if "base_resp" in payload:  # a few endpoints say there what the others say above
                _mask_words(payload["base_resp"], "err_msg", credentials)
            return payload
        number = _number(errcode)
        if number is None:
            raise ReplyError("errcode is not a number", endpoint=endpoint.name)
        if number == 0 or number in call.accepted:
            payload["errcode"] = number
            # A family can still make an error of it.
            _mask_words(payload, "errmsg", credentials)
            return payload
        errmsg = _mask(str(payload.get("errmsg") or ""), credentials)
        raise api_error(number, errmsg, endpoint=endpoint.name, token_request=endpoint.issues_tokens)

    def _read_arrival(
        self, call: _Call, found: Arrival | WireReply, credentials: Credentials | None
    ) -> Arrival | JsonObject:
        return found if isinstance(found, Arrival) else self._read(call, found, credentials)


class Arrival:
    """A file on its way: read it within ``async with``, once.

    Args:
        stream: The open answer.
        first: What was read of it already.
        rest: The pieces after it.
    """

    def __init__(self, stream: WireStream, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self._first = first
        self._rest = rest
        #: Of the answer, by lower-case name.
        self.headers: Mapping[str, str] = stream.headers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stream.__aexit__(exc_type, exc, traceback)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        async for piece in self._rest:
            yield piece


async def _arrival(stream: WireStream, request: WireRequest) -> Arrival | WireReply:
    """Open a streamed answer and look at its beginning: a file is left to be read, words of the platform are read."""
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(stream)
        if stream.status not in _OK_STATUS:
            return WireReply(stream.status, stream.headers, b"")
        pieces = stream.aiter_bytes()
        # The platform labels its errors in several ways, so the first bytes decide; a file in one of its formats begins
        # neither with a brace nor with a tag. Only sound without a header can begin with anything, and it is labelled.
        labelled = stream.headers.get("content-type", "").partition("/")[0].strip().lower() in _SOUND
        start, sign, most = bytearray(), b"", _LONGEST_ERROR
        async for piece in pieces:
            start += piece
            if not sign:
                sign = bytes(start.lstrip(_BLANK)[:1])
                most = _LONGEST_WORDS if sign == b"{" and not labelled else most
            if (sign and sign != b"{" and (labelled or sign != b"<")) or len(start) > most:
                break
        else:  # it was read to its end
            if sign == b"{" and not (labelled and not _is_object(bytes(start))):
                return WireReply(stream.status, stream.headers, bytes(start))
        if not sign or (sign == b"<" and not labelled):
            text = _mask(start[:_LONGEST_ERROR].decode("utf-8", "replace"), request.credentials)
            raise ReplyError("the answer is not a file", endpoint=request.label, body=text)
        if sign == b"{" and not labelled:
            raise ReplyError(f"the answer is larger than {_LONGEST_WORDS} bytes", endpoint=request.label)
        opened.pop_all()
        return Arrival(stream, bytes(start), pieces)


def _is_object(text: bytes) -> bool:
    try:
        loads(text)
    except ReplyError:
        return False
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(errcode: object) -> int | None:
    # A number without end is none either: journals and logs could not hold it.
    readable = (type(errcode) is int or isinstance(errcode, str)) and _NUMBER.fullmatch(str(errcode))
    return int(str(errcode)) if readable else None


def _mask(text: str, credentials: Credentials | None) -> str:
    """Answers can echo what was sent, credentials included."""
    return text if credentials is None else scrub(text, credentials.values())


def _mask_words(verdict: JsonValue, name: str, credentials: Credentials | None) -> None:
    if isinstance(verdict, dict) and name in verdict:
        verdict[name] = _mask(str(verdict[name] or ""), credentials)


class _Read(Protocol[S_contra, R_co]):
    """Makes a result of an answer, or raises."""

    def __call__(self, call: _Call, reply: S_contra, credentials: Credentials | None, /) -> R_co: ...


class _NoTokenError(Exception):
    """There is no token. The keeper has waited for one as long as it makes sense: the retry policy must not."""

    def __init__(self, error: WxmpError) -> None:
        super().__init__(error)
        self.error = error


class _Call(NamedTuple):
    """What one call sends, without the token: that can change between attempts."""

    endpoint: Endpoint
    params: Mapping[str, str | int | bool | None] | None
    content: bytes | None
    files: Sequence[FilePart] | None
    form: Mapping[str, str] | None
    credentials: Credentials | None
    timeout: float | None
    #: Codes that count as an answer.
    accepted: frozenset[int]

    @property
    def replayable(self) -> bool:
        """A part that comes from an iterator can be sent only once."""
        return self.files is None or all(part.replayable for part in self.files)


def _tell(error: WxmpError) -> None:
    """Say of the last failure of a call that an attempt before it may have acted, whatever became of the later ones."""
    if isinstance(error, TransportError | ReplyError):
        error.maybe_acted = True
    else:
        error.add_note("an earlier attempt of this call broke off without an answer: it may have been carried out")


def _refuse_status(endpoint: Endpoint, status: int) -> None:
    """The platform answers its own errors with 200: any other status comes from something in front of it."""
    raise BadStatusError(
        f"HTTP status {status}", endpoint=endpoint.name, maybe_acted=status >= _SERVER_ERROR, status=status
    )
