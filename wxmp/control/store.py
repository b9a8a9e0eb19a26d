"""The token store of a client that asks a control server."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard, cast

import attrs

from wxmp._redact import Secret
from wxmp._request import Credentials, WireRequest
from wxmp.control.keys import key_text
from wxmp.control.wire import FIELDS, KIND_OF_CHANNEL, PATH_SHOWN, WAIT_MAX
from wxmp.errors import ConfigError, ReplyError, TimedOutError, TokenStoreError, TransportError
from wxmp.tokens.memory import CODE_MAX, NUMBER_MAX
from wxmp.tokens.store import (
    LIFE_MAX,
    FailureState,
    Lease,
    LeaseReason,
    LeaseStatus,
    StoredToken,
    TokenRecord,
    TokenStore,
    check_token_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxmp._request import WireReply
    from wxmp._transport import Transport
    from wxmp.control.wire import Kind
    from wxmp.tokens.store import ReplacementBudget, TokenKey

__all__ = ["HTTPTokenStore"]

logger: logging.Logger = logging.getLogger("wxmp.token")

#: Seconds for one operation, all servers included.
TIMEOUT: Final = 1.0
#: The part of a try's time for which the server may keep it waiting: the answer still has to come back.
WAITING: Final = 0.5
#: What a look has brought is good for the lease that follows, for so many seconds.
FRESH: Final = 1.0
#: A refused key is not shown again for this long at first and at most, in seconds.
REFUSED_FIRST: Final = 1.0
REFUSED_LONGEST: Final = 30.0
DOUBLINGS: Final = 5
#: Deaths that were heard of and not yet reported.
DEATHS_KEPT: Final = 32
RETRY_MOST: Final = 600.0
#: Longest answer, in bytes.
ANSWER_MAX: Final = 64 * 1024
CONNECTIONS: Final = 4

#: What one replica may answer while another one knows better.
_NOT_EVERYWHERE: Final = frozenset({"broken", "forbidden", "not_allowed", "not_found", "store_down", "unauthorized"})

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
_SERVER_ERROR: Final = 500


@attrs.frozen
class _Reading:
    """What the server said."""

    #: When it was asked, on the monotonic clock: what is left of the token was counted after that.
    at: float
    token: StoredToken | None = None
    #: ``ok``; ``pending``: somebody is fetching; ``cooling``: the last try failed; ``limited``: no more replacements.
    state: Literal["ok", "pending", "cooling", "limited"] = "ok"
    retry_after: float = 0.0
    errcode: int = 0

    @property
    def failure(self) -> FailureState | None:
        if self.state != "cooling":
            return None
        return FailureState(code=self.errcode, count=1, cool_down=self.retry_after)

    def aged(self, now: float) -> StoredToken | None:
        """The token as it is a moment later."""
        if self.token is None:
            return None
        left = self.token.left - (now - self.at)
        return attrs.evolve(self.token, left=left) if left > 0 else None


class _Refusal:
    """A refused key, remembered: it is not shown to the server for every call."""

    def __init__(self, error: ConfigError) -> None:
        self._error = error
        self._count = 0
        self._until = 0.0

    def check(self) -> None:
        """Raise what was said, while it makes no sense to ask again."""
        if time.monotonic() < self._until:
            raise self._error.fresh()

    def again(self) -> ConfigError:
        """Note once more what was said last; return it to be raised."""
        return self.note(self._error)

    def note(self, error: ConfigError) -> ConfigError:
        """Remember it; return it to be raised."""
        pause = min(REFUSED_FIRST * 2.0 ** min(self._count, DOUBLINGS), REFUSED_LONGEST)
        self._error, self._count, self._until = error, self._count + 1, time.monotonic() + pause
        return error.fresh()


class HTTPTokenStore(TokenStore):
    """Tokens that a control server keeps (中控服务器).

    ::

        store = HTTPTokenStore("https://tokens.internal:8443", os.environ["WXMP_CONTROL_KEY"])
        client = Client("wx0123456789abcdef", None, token_store=store)

    The server does everything that a store decides elsewhere: this one never gives a lease, so no process that uses it
    asks the platform for a token, and none needs the AppSecret. It is asked once in a client's check interval. While
    it cannot be reached, clients go on with the token they have, to its end. A client that was given the AppSecret as
    well fetches for itself then, as :attr:`~wxmp.TokenPolicy.on_store_down` says; one without raises
    :class:`~wxmp.TokenStoreUnavailable`.

    A refused key is a :class:`~wxmp.ConfigError`. It may be used from several event loops and threads, and after a
    fork.

    Args:
        url: Address of the server, perhaps with a path; ``https://``, or ``http://`` on this machine. Of several, the
            replicas of one server, the next is asked when one does not answer.
        key: The key, ``wxck_...``; or a callable that returns it and is asked each time.
        http_client: An ``httpx.AsyncClient``, or one of that shape, to be used; it is not closed.
        timeout: Seconds for one operation. ``TokenPolicy.store_timeout`` must not be shorter.
        allow_insecure: Permit plain http to other machines. Everybody on the way then reads the key and the tokens.

    Raises:
        ConfigError: An argument cannot work.
    """

    name = "control"
    kept_elsewhere = True

    def __init__(
        self,
        url: str | Sequence[str],
        key: str | Callable[[], str],
        *,
        http_client: object = None,
        timeout: float = TIMEOUT,
        allow_insecure: bool = False,
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        if not urls:
            raise ConfigError("url must name at least one server", field="url")
        self._key = _key_source(key)
        self._urls = [_checked_url(each) for each in urls]
        self._timeout = timeout
        self._http_client = http_client
        self._allow_insecure = allow_insecure
        # No lock: a fork could inherit it in the hands of a thread that is gone. What is made twice is used once.
        self._transports: list[Transport] | None = None
        #: Which of the servers answered last.
        self._first = 0
        #: What a key is refused, by value and by whether it was to be replaced: it may be allowed the rest.
        self._refusals: dict[tuple[TokenKey, str], _Refusal] = {}
        self._readings: dict[TokenKey, _Reading] = {}
        self._again: set[TokenKey] = set()
        self._deaths: OrderedDict[tuple[TokenKey, int], tuple[int, str]] = OrderedDict()
        self._servers()  # a wrong address is found now

    def __repr__(self) -> str:
        return f"HTTPTokenStore({', '.join(self._urls)})"

    async def read(self, key: TokenKey) -> TokenRecord:
        """See :meth:`TokenStore.read`."""
        # Whoever wanted to put a token back looks once more; the server has said a moment ago what it has.
        reading = self._readings.get(key) if key in self._again else None
        self._again.discard(key)
        if reading is None or time.monotonic() - reading.at > FRESH:
            reading = self._readings[key] = await self._look(key)
        return TokenRecord(
            token=reading.aged(time.monotonic()),
            failure=reading.failure,
            lease_left=reading.retry_after if reading.state == "pending" else 0.0,
        )

    async def lease(
        self,
        key: TokenKey,
        *,
        owner: str,
        ttl: float,
        expect: int,
        hint: int = 0,
        reason: LeaseReason = LeaseReason.DUE,
        credential: str = "",
        budget: ReplacementBudget | None = None,
    ) -> Lease:
        """See :meth:`TokenStore.lease`. It is never held: the server refreshes, in its own time or because of this."""
        reading = self._readings.pop(key, None)
        if reading is not None and time.monotonic() - reading.at > FRESH:
            reading = None
        operator = reason in (LeaseReason.OPERATOR, LeaseReason.FORCED)
        if reason is LeaseReason.DUE or not expect:
            # There is nothing to be replaced: what the server has is what there is.
            reading = reading or await self._look(key)
        else:
            reading = await self._claim(key, expect, operator=operator)
        return self._lease(reading, expect, reason)

    def _lease(self, reading: _Reading, expect: int, reason: LeaseReason) -> Lease:
        token = reading.aged(time.monotonic())
        wait = reading.retry_after
        if reading.state == "pending":
            return Lease(LeaseStatus.BUSY, wait=wait, token=token)
        if reading.state == "limited":
            return Lease(LeaseStatus.LIMITED, wait=wait, token=token)
        if reading.state == "cooling":
            return Lease(LeaseStatus.COOLING, wait=wait, token=token, failure=reading.failure)
        if token is not None and token.generation != expect:
            return Lease(LeaseStatus.CHANGED, token=token)
        if reason is LeaseReason.DUE:
            # The server refreshes ahead of time by itself, and is asked again at the next check.
            return Lease(LeaseStatus.COOLING, wait=RETRY_MOST if token is not None else 0.0, token=token)
        # It calls the value good, for now.
        return Lease(LeaseStatus.LIMITED, wait=REFUSED_LONGEST, token=token)

    async def commit(self, key: TokenKey, *, fence: int, value: str, life: float, hold_off: float = 0.0) -> bool:
        """Refuse: nobody holds a lease."""
        return False

    async def fail(
        self, key: TokenKey, *, owner: str, fence: int, code: int = 0, cool_down: float = 0.0, credential: str = ""
    ) -> None:
        """Do nothing: nobody holds a lease."""

    async def seed(self, key: TokenKey, *, value: str, generation: int, life: float, left: float) -> bool:
        """Refuse: a client's memory is no source of tokens for others."""
        self._again.add(key)
        return False

    def died(self, key: TokenKey, *, generation: int, code: int, path: str) -> None:
        """See :meth:`TokenStore.died`: the server is told the code and the call."""
        self._deaths[key, generation] = (code, path if PATH_SHOWN.fullmatch(path) else "")
        if len(self._deaths) > DEATHS_KEPT:
            self._deaths.popitem(last=False)

    async def aclose(self) -> None:
        """Close the connections. It may be used again afterwards."""
        transports, self._transports = self._transports, None
        for transport in transports or ():
            await transport.aclose()

    # ---- the server

    async def _look(self, key: TokenKey) -> _Reading:
        kind = _kind(key)
        return await self._ask(key, kind, "GET", f"/v1/accounts/{key.appid}/{kind}", None)

    async def _claim(self, key: TokenKey, generation: int, *, operator: bool) -> _Reading:
        kind = _kind(key)
        said: dict[str, object] = {"generation": generation}
        if operator:
            said["operator"] = True
        else:
            code, path = self._deaths.get((key, generation), (0, ""))
            if code:
                said["errcode"] = code
            if path:
                said["path"] = path
        path = f"/v1/accounts/{key.appid}/{kind}/replace"
        return await self._ask(key, kind, "POST", path, json.dumps(said).encode("ascii"))

    async def _ask(
        self, key: TokenKey, kind: Kind, method: Literal["GET", "POST"], path: str, body: bytes | None
    ) -> _Reading:
        """Ask the servers in turn until one answers.

        A question may be asked twice: a claim names the value that is dead, and is answered only once with another.
        """
        refusal = self._refusals.get((key, method))
        if refusal is not None:
            refusal.check()
        servers = self._servers()
        credentials = Credentials(headers={"Authorization": _bearer(self._key())})
        started = time.monotonic()
        failure: TransportError | ReplyError | None = None
        first = self._first
        second_best: tuple[WireReply, float] | None = None
        # One turn more than there are servers: a connection kept from before a restart breaks at once.
        for turn in range(len(servers) + 1):
            place = (first + turn) % len(servers)
            left = self._timeout - (time.monotonic() - started)
            if left <= 0 or (turn == len(servers) and (second_best or isinstance(failure, TimedOutError))):
                break
            seconds = left / max(len(servers) - turn, 1)
            at = time.monotonic()
            self._first = (place + 1) % len(servers)  # if it does not answer in time, even for whoever cancels this
            try:
                reply = await servers[place].send(
                    WireRequest(
                        method,
                        path,
                        query=f"wait={min(seconds * WAITING, WAIT_MAX):.3f}",
                        content=body,
                        credentials=credentials,
                        timeout=seconds,
                        endpoint=f"{method} {path}",
                    )
                )
            except (TransportError, ReplyError) as error:
                failure = error
                continue
            except ConfigError:
                if self._transports is servers:
                    raise
                # Closed under it. That is no mistake in the settings, and opens no connection anew.
                raise TokenStoreError("the store was closed meanwhile", store=self.name) from None
            if reply.status >= _SERVER_ERROR and _error(reply) in ("", "internal"):  # a proxy whose server is gone
                failure = TransportError(f"HTTP {reply.status}", endpoint=f"{method} {path}")
                continue
            if _error(reply) in _NOT_EVERYWHERE:  # keys and settings reach the replicas one after the other
                second_best = second_best or (reply, at)
                continue
            self._first = place
            return self._read(key, kind, method, reply, at)
        if second_best is not None:
            return self._read(key, kind, method, *second_best)
        raise TokenStoreError(f"no control server answers: {failure}", store=self.name) from None

    def _read(self, key: TokenKey, kind: Kind, method: str, reply: WireReply, at: float) -> _Reading:
        # Tools that report errors print the local variables of every frame: none of those that raise holds a token.
        if reply.status == _OK:
            reading = _reading(key, kind, reply, at)
            if reading is None:
                raise TokenStoreError("the control server gave an answer that cannot be used", store=self.name)
            self._refusals.pop((key, method), None)
            return reading
        error = _error(reply)
        if reply.status in (_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND) and error:
            said = _refused(key, kind, error)
            raise self._refusals.setdefault((key, method), _Refusal(said)).note(said)
        refusal = self._refusals.get((key, method))
        if reply.status == _TOO_MANY and refusal is not None:
            # Too many wrong keys, from here or from a neighbour: what is wrong is still the key.
            raise refusal.again()
        if reply.status not in (_TOO_MANY, _UNAVAILABLE) or not error:
            raise TokenStoreError(f"the control server answered HTTP {reply.status}", store=self.name)
        self._refusals.pop((key, method), None)
        return _none_now(error, reply, at)

    def _servers(self) -> list[Transport]:
        transports = self._transports
        if transports is None:
            from wxmp._transport import Transport

            transports = self._transports = [
                Transport(
                    base_url=url,
                    timeout=self._timeout,
                    connect_timeout=self._timeout,
                    max_connections=CONNECTIONS,
                    http_client=self._http_client,
                    max_body=ANSWER_MAX,
                    allow_insecure=self._allow_insecure,
                )
                for url in self._urls
            ]
        return transports


def _key_source(key: object) -> Callable[[], Secret]:
    if callable(key):
        ask = key
        return lambda: key_text(ask())
    fixed = key_text(key)
    return lambda: fixed


def _bearer(key: Secret) -> Secret:
    return Secret(f"Bearer {key.reveal()}")


def _checked_url(url: object) -> str:
    if not isinstance(url, str) or not url:
        raise ConfigError("url must be the address of a control server: https://...", field="url")
    return url.rstrip("/")


def _kind(key: TokenKey) -> Kind:
    kind = KIND_OF_CHANNEL.get(key.channel)
    if kind is None:
        raise ConfigError(f"a control server keeps nothing of the channel {key.channel}", field="channel")
    return kind


def _json(content: bytes) -> Mapping[str, Any] | None:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Any]", values) if isinstance(values, dict) else None


def _error(reply: WireReply) -> str:
    """The name of the error that a control server answers with; empty when it is somebody else's answer."""
    values = _json(reply.content)
    return "" if values is None else str(values.get("error", ""))


def _none_now(error: str, reply: WireReply, at: float) -> _Reading:
    """Read why there is no value at present, and when to ask again."""
    values = _json(reply.content) or {}
    wait, errcode = values.get("retry_after"), values.get("errcode")
    seconds = float(wait) if isinstance(wait, int | float) and not isinstance(wait, bool) else 1.0
    seconds = min(max(seconds, 0.0), RETRY_MOST) if math.isfinite(seconds) else RETRY_MOST
    code = errcode if isinstance(errcode, int) and not isinstance(errcode, bool) and abs(errcode) <= CODE_MAX else 0
    if error == "pending":
        return _Reading(at, state="pending", retry_after=seconds)
    if error == "budget_spent":
        return _Reading(at, state="limited", retry_after=seconds, errcode=code)
    return _Reading(at, state="cooling", retry_after=seconds, errcode=code)


def _reading(key: TokenKey, kind: Kind, reply: WireReply, at: float) -> _Reading | None:
    """Read a value; ``None`` when there is none in the answer that can be used."""
    values = _json(reply.content) or {}
    value, generation = values.get(FIELDS[kind]), values.get("generation")
    life, left = values.get("life"), values.get("expires_in")
    if (
        values.get("appid") != key.appid
        or not check_token_value(value)
        or not isinstance(generation, int)
        or isinstance(generation, bool)
        or not 0 < generation <= NUMBER_MAX
        or not _seconds(life)
        or not _seconds(left)
    ):
        return None
    token = StoredToken(value=str(value), generation=generation, life=float(life), left=min(float(left), float(life)))
    return _Reading(at, token=token)


def _seconds(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LIFE_MAX


def _refused(key: TokenKey, kind: Kind, error: str) -> ConfigError:
    texts = {
        "unauthorized": "the control server does not know this key: it was withdrawn, or belongs to another server",
        "forbidden": f"this key may not ask the control server for the {kind} of {key.appid}",
        "not_allowed": f"this key may not have the {kind} of {key.appid} replaced, and it is dead",
        "insecure": "the control server answers over https only, and the key has crossed the network in the clear",
        "not_found": f"the control server keeps no {kind} of {key.appid}, or url has the wrong path",
    }
    return ConfigError(texts.get(error, "the control server refuses this key"), field="key")
