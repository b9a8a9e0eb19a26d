"""The control server (中控服务器): keeps the tokens and tickets of accounts fresh, and hands them out over HTTP.

Plain ASGI: served by uvicorn or any other server, or mounted in an application. It holds no mechanism of its own for
tokens: each :class:`~wxmp.Client` brings its token store, and its keeper does all the work. Several replicas on one
Redis are one control server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from wxmp._asgi import is_compressed, live, measure, read_body, send_answer
from wxmp._caller import Caller
from wxmp._log import log_fields
from wxmp._redact import Secret
from wxmp.api.quota import QuotaAPI
from wxmp.control.audit import Audit, Entry
from wxmp.control.desk import Claim, Desk, NotedTokens, UnavailableError, watch
from wxmp.control.keys import KeyRing
from wxmp.control.limits import Buckets, neighbourhood
from wxmp.control.report import METRICS_TYPE, Counters, QuotaLeft, metrics, status_of
from wxmp.control.web import (
    Answer,
    Ask,
    RefusedError,
    Route,
    Routes,
    came_in_the_clear,
    comes_from_here,
    is_local,
    json_answer,
    path_below,
    peer_of,
    refusal,
)
from wxmp.control.wire import BODY_MAX, FIELDS, KINDS, PATH_SHOWN, WAIT_MAX
from wxmp.errcodes import DEAD_TOKEN_CODES
from wxmp.errors import ConfigError
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from wxmp._asgi import Receive, Scope, Send
    from wxmp.client import Client
    from wxmp.control.keys import ControlKey
    from wxmp.control.wire import Kind
    from wxmp.tokens.store import StoredToken

__all__ = ["ROUTES", "ControlServer"]

logger: logging.Logger = logging.getLogger("wxmp.control")
# The library is quiet unless the program sets up logging.
logging.getLogger("wxmp").addHandler(logging.NullHandler())

#: Failed logins of one neighbour in a minute.
FAILURES_PER_MINUTE: Final = 20
#: The platform is asked how much of the quota is left at most this often, in seconds, and only when somebody looks.
QUOTA_EVERY: Final = 600.0
#: Refusals of one kind are told the log once in this many seconds: whoever guesses keys must not fill the disk.
TELL_EVERY: Final = 10.0
#: What the platform may ask for in a token. Longer ones name no value.
DEAD_MAX: Final = 2048
ERRCODE_MAX: Final = 1_000_000_000
GENERATION_MAX: Final = 4_000_000_000_000_000
#: A length of more digits is not even read.
DIGITS: Final = 12
#: A body is waited for so long, in seconds.
BODY_WITHIN: Final = 10.0
CLOSING: Final = 1.0

_NO_STORE: Final = (b"cache-control", b"no-store")
_BEARER: Final = "bearer "
#: Who notices a death where no service does.
_OURSELVES: Final = "the control server"
_TOKEN_PATHS: Final = {"stable": "/cgi-bin/stable_token", "plain": "/cgi-bin/token"}

#: The whole interface.
ROUTES: Final = (
    Route("GET", "/v1/accounts/{appid}/{kind}", "hand_out", "key", "The current access_token or ticket."),
    Route("POST", "/v1/accounts/{appid}/{kind}/replace", "replace", "key", "Replace a value that is dead."),
    Route("GET", "/v1/status", "show_status", "status", "What happened to each value; never a value."),
    Route("GET", "/metrics", "show_metrics", "local", "Metrics in the text format of Prometheus."),
    Route("GET", "/healthz", "show_health", "none", "Whether the process lives.", open=True),
    Route("GET", "/readyz", "show_readiness", "none", "Whether every account has a usable access_token.", open=True),
    # Over https or on this machine only, like what needs a key: the page asks for one.
    Route("GET", "/openapi.json", "show_description", "none", "This description."),
    Route("GET", "/", "show_page", "none", "The status page."),
    Route("GET", "/page/{file}", "show_page", "none", "A file of the status page."),
)


class ControlServer:
    """Hands out the tokens and tickets of accounts to services in any language (中控服务器).

    ::

        key, text = ControlKey.create("shop", appids={"wx0123456789abcdef"})
        client = Client("wx0123456789abcdef", secret, token_store=RedisTokenStore("redis://..."))
        app = ControlServer([client], [key])

    Serve it over TLS or on a loopback address: a request that came over plain http from another machine is refused.
    From the server's start on the values are kept fresh; mounted in an application, which tells nobody of its start,
    from the first request on.

    Args:
        clients: One for each account. They are the server's from now on: it closes them when it goes.
        keys: Who may ask for what.
        audit: File that gets a line of JSON for each hand-out, refusal and replacement. The logger
            ``wxmp.control.audit`` gets them in any case.
        allow_insecure: Answer over plain http to other machines as well. Everybody on the way then reads keys and
            tokens: only behind a proxy on another machine that speaks TLS, in a network that is yours alone.
        clock: Monotonic seconds.
        wall: Seconds since 1970.

    Raises:
        ConfigError: No account, two clients for one, two keys with one id, or an audit file that cannot be opened.
    """

    def __init__(
        self,
        clients: Sequence[Client],
        keys: Sequence[ControlKey],
        *,
        audit: str | os.PathLike[str] | None = None,
        allow_insecure: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clients = {client.appid: client for client in clients}
        if not clients or len(self._clients) != len(clients):
            raise ConfigError("clients must name at least one account, and each only once", field="clients")
        self._keys = KeyRing(keys)
        self._audit = Audit(audit, wall=wall)
        self._allow_insecure = allow_insecure
        self._clock = clock
        self._wall = wall
        self._desks: dict[tuple[str, Kind], Desk] = {}
        self._rates: Buckets[str] = Buckets(clock)
        self._failures: Buckets[str] = Buckets(clock)
        self._counters = Counters()
        #: When a refusal was told, by its error and the key.
        self._told: dict[tuple[str, str], float] = {}
        self._quotas: dict[str, QuotaLeft] = {}
        self._quota_asked: dict[str, float] = {}
        #: Event loop -> what is watched in it.
        self._watching: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[tuple[str, Kind], asyncio.Task[None]]
        ] = weakref.WeakKeyDictionary()
        self._closed = False
        self._routes = Routes({route: getattr(self, f"_{route.name}") for route in ROUTES})

    def __repr__(self) -> str:
        return f"ControlServer({len(self._clients)} accounts, {len(self._keys)} keys)"

    # ---- life

    def use_keys(self, keys: Sequence[ControlKey]) -> None:
        """Accept these keys from now on, and no others: a key is added, changed or withdrawn without a restart.

        Raises:
            ConfigError: Two keys have the same id; nothing is changed then.
        """
        self._keys = KeyRing(keys)

    def start(self) -> None:
        """Keep the access_token of every account fresh, without anybody asking. Called in the event loop that serves.

        A server that tells of its start calls it; otherwise the first request does.
        """
        for appid in self._clients:
            self._desk(appid, "access_token")

    async def aclose(self) -> None:
        """Stop watching and close the clients, so that a refresh under way gives its lease back. Safe to call twice."""
        self._closed = True
        loop = asyncio.get_running_loop()
        for other, tasks in list(self._watching.items()):
            for task in list(tasks.values()):
                if other is loop:
                    task.cancel()
                elif not other.is_closed():
                    other.call_soon_threadsafe(task.cancel)
        mine = list(self._watching.get(loop, {}).values())
        if mine:
            await asyncio.wait(mine, timeout=CLOSING)
        for client in self._clients.values():
            try:
                await client.aclose()
            except Exception as error:
                logger.exception(
                    "%r could not be closed",
                    client,
                    extra=log_fields("close_failed", appid=client.appid, error=type(error).__name__),
                )
        self._audit.close()

    def _desk(self, appid: str, kind: Kind) -> Desk:
        """Return the desk for a value, and see that it is watched."""
        desk = self._desks.get((appid, kind))
        if desk is None:
            desk = self._desks[appid, kind] = Desk(self._clients[appid], kind, wall=self._wall, clock=self._clock)
        loop = asyncio.get_running_loop()
        if desk.watched_in is loop and desk.watcher is not None and not desk.watcher.done():
            return desk
        tasks = self._watching.get(loop)
        if tasks is None:
            tasks = self._watching[loop] = {}
        task = tasks.get((appid, kind))
        if (task is None or task.done()) and not self._closed:
            task = tasks[appid, kind] = loop.create_task(watch(desk), name=f"wxmp-control-watch-{kind}")
            _WATCHERS.add(task)
            task.add_done_callback(_WATCHERS.discard)
            # Or it would keep its event loop, long after that was closed.
            task.add_done_callback(partial(_forget, tasks, (appid, kind)))
        desk.watched_in, desk.watcher = loop, task
        return desk

    # ---- ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            answer = await self._serve(scope, receive)
            if answer is not None:
                more = (_NO_STORE, *answer.headers)
                await send_answer(send, answer.status, answer.content_type, answer.body, logger, more=more)
        elif scope["type"] == "lifespan":
            await live(receive, send, self.aclose, start=self.start)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive) -> Answer | None:
        path = path_below(scope["path"], scope.get("root_path", ""))
        return await self._settle(Ask(scope["method"], path, scope, peer_of(scope)), receive)

    async def _settle(self, ask: Ask, receive: Receive) -> Answer | None:
        # Tools that report errors print the local variables of every frame: from here on none holds the headers.
        try:
            return await self._answer(ask, receive)
        except RefusedError as refused:
            self._note_refusal(ask, refused.answer)
            return refused.answer
        except Exception as error:
            logger.exception(
                "the control server itself failed", extra=log_fields("server_failed", error=type(error).__name__)
            )
            return refusal("internal", "the control server failed: see its log")

    async def _answer(self, ask: Ask, receive: Receive) -> Answer | None:
        route, handler = self._routes.find(ask)
        # Before the key is looked at: whoever sends one this way has shown it to everybody in between.
        if not (route.open or self._allow_insecure or _is_private(ask)):
            raise RefusedError(refusal("insecure", "this server answers over https only; change the key you sent"))
        if route.auth != "none":
            self._admit(route, ask)
        if route.method == "POST":
            body = await self._body(ask, receive)
            if body is None:
                return None
            ask.body = body
        return await handler(ask)

    async def _body(self, ask: Ask, receive: Receive) -> bytes | None:
        length, encoding = measure(ask.scope)
        if is_compressed(encoding):
            raise RefusedError(refusal("bad_request", "the body must not be compressed"))
        if length is not None and not (length.isdecimal() and len(length) < DIGITS and int(length) <= BODY_MAX):
            raise RefusedError(refusal("too_large", f"a body has at most {BODY_MAX} bytes"))
        try:
            async with asyncio.timeout(BODY_WITHIN):
                body = await read_body(receive, BODY_MAX)
        except TimeoutError:
            raise _bad("the body did not come in time") from None
        if body is not None and len(body) > BODY_MAX:
            raise RefusedError(refusal("too_large", f"a body has at most {BODY_MAX} bytes"))
        return body

    # ---- who asks

    def _admit(self, route: Route, ask: Ask) -> None:
        """Find the key, and see that it may use the route.

        Raises:
            RefusedError: It may not.
        """
        given = ask.header(b"authorization")
        if not given and route.auth == "local" and comes_from_here(ask):
            return
        text = given[len(_BEARER) :].strip() if given[: len(_BEARER)].lower() == _BEARER else ""
        key = self._keys.find(text)
        if key is None:
            self._counters.failed_logins += 1
            # A right key is accepted whatever its neighbours do: 256 random bits are not guessed, and behind a proxy
            # one program with a wrong key would lock all others out.
            wait = self._failures.take(neighbourhood(ask.peer), FAILURES_PER_MINUTE)
            if wait:
                raise RefusedError(refusal("too_many", "too many wrong keys from this address", retry_after=wait))
            raise RefusedError(refusal("unauthorized", "send a valid key: Authorization: Bearer wxck_..."))
        ask.key = key
        wait = self._rates.take(key.id, key.per_minute)
        if wait:
            message = f"this key may ask {key.per_minute} times a minute"
            raise RefusedError(refusal("too_many", message, retry_after=wait))
        if route.auth in ("status", "local") and not key.may_see_status:
            raise RefusedError(refusal("forbidden", "this key may not see the status"))

    def _note_refusal(self, ask: Ask, answer: Answer) -> None:
        self._counters.refused(answer.error)
        key = ask.key
        if key is None or answer.error == "too_many":
            # Anybody, and a key beyond its rate, can cause these as often as he likes.
            name = (answer.error, key.id if key is not None else "")
            now = self._clock()
            if now - self._told.get(name, float("-inf")) < TELL_EVERY:
                return
            self._told[name] = now
        appid = ask.parts.get("appid", "")
        known = key is not None and key.covers(appid) and appid in self._clients
        self._audit.write(
            Entry(
                event="refuse",
                key=key.name if key is not None else "",
                key_id=key.id if key is not None else "",
                appid=appid if known else "",
                kind=kind if (kind := ask.parts.get("kind", "")) in KINDS else "",
                peer=ask.peer,
                status=answer.status,
                error=answer.error,
            )
        )

    # ---- values

    def _find(self, ask: Ask) -> tuple[Desk, ControlKey]:
        appid, kind, key = ask.parts["appid"], ask.parts["kind"], ask.key
        if kind not in KINDS:
            raise RefusedError(refusal("not_found", f"there is no such kind: {', '.join(KINDS)}"))
        if key is None or not key.covers(appid) or kind not in key.kinds:
            # The same words whether the account exists or not.
            raise RefusedError(refusal("forbidden", "this key may not ask for that"))
        if appid not in self._clients:
            raise RefusedError(refusal("not_found", "this server keeps no such account"))
        return self._desk(appid, kind), key

    async def _hand_out(self, ask: Ask) -> Answer:
        desk, key = self._find(ask)
        token = desk.now()
        if token is None:
            try:
                token = await desk.hand_out(_patience(ask))
            except UnavailableError as error:
                raise RefusedError(_unavailable(error)) from None
        desk.ledger.asked(key.name, token)
        self._note("hand_out", ask, key, desk, token)
        return json_answer(_shown(desk, token))

    async def _replace(self, ask: Ask) -> Answer:
        desk, key = self._find(ask)
        if not key.may_replace:
            raise RefusedError(refusal("not_allowed", "this key may not have values replaced"))
        claim = _read_claim(ask.body, key.name, desk.kind)
        try:
            token, replaced = await desk.replace(claim, _patience(ask))
        except UnavailableError as error:
            raise RefusedError(_unavailable(error)) from None
        desk.ledger.asked(key.name, token)
        self._note("replace" if replaced else "replace_answered", ask, key, desk, token, claim)
        return json_answer({**_shown(desk, token), "replaced": replaced})

    def _note(
        self, event: str, ask: Ask, key: ControlKey, desk: Desk, token: StoredToken, claim: Claim | None = None
    ) -> None:
        if not self._audit.wanted:
            return
        self._audit.write(
            Entry(
                event=event,
                key=key.name,
                key_id=key.id,
                appid=desk.appid,
                kind=desk.kind,
                generation=token.generation,
                peer=ask.peer,
                errcode=claim.errcode if claim is not None else 0,
                path=claim.path if claim is not None else "",
            )
        )

    # ---- what can be seen

    def _seen_by(self, key: ControlKey | None) -> list[Desk]:
        self.start()
        return [desk for (appid, _), desk in sorted(self._desks.items()) if key is None or key.covers(appid)]

    async def _show_status(self, ask: Ask) -> Answer:
        desks = self._seen_by(ask.key)
        for appid in {desk.appid for desk in desks}:
            self._ask_quota(appid)
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall()))
        return json_answer({"now": moment, "values": [status_of(desk, self._quotas.get(desk.appid)) for desk in desks]})

    async def _show_metrics(self, ask: Ask) -> Answer:
        text = metrics(self._seen_by(ask.key), self._counters, {"wxmp_control_keys": len(self._keys)})
        return Answer(200, text.encode("utf-8"), METRICS_TYPE)

    async def _show_health(self, ask: Ask) -> Answer:
        return json_answer({"status": "ok"})

    async def _show_readiness(self, ask: Ask) -> Answer:
        missing = sum(self._desk(appid, "access_token").now() is None for appid in self._clients)
        if missing:
            # How many, not which: anybody may ask.
            return json_answer({"status": "not ready", "missing": missing}, status=503)
        return json_answer({"status": "ok"})

    async def _show_description(self, ask: Ask) -> Answer:
        from wxmp.control.static import description

        return description()

    async def _show_page(self, ask: Ask) -> Answer:
        from wxmp.control.static import page_file

        answer = page_file(ask.parts.get("file", "index.html"))
        if answer is None:
            raise RefusedError(refusal("not_found", "there is nothing at this path"))
        return answer

    def _ask_quota(self, appid: str) -> None:
        now = self._clock()
        desk = self._desks.get((appid, "access_token"))
        if desk is None or now - self._quota_asked.get(appid, float("-inf")) < QUOTA_EVERY or desk.now() is None:
            return
        self._quota_asked[appid] = now
        task = asyncio.get_running_loop().create_task(self._learn_quota(self._clients[appid], desk))
        _WATCHERS.add(task)
        task.add_done_callback(_WATCHERS.discard)

    async def _learn_quota(self, client: Client, desk: Desk) -> None:
        # The client by itself would replace a dead token as well, and nobody would know that it had died.
        caller = Caller(
            appid=client.appid,
            secret=_no_secret,
            transport=client._transport,  # noqa: SLF001 - same package
            tokens=NotedTokens(desk, key=_OURSELVES),
            retry=RetryPolicy(),
            mp_origin="",
        )
        try:
            quota = (await QuotaAPI(caller).get(_TOKEN_PATHS[desk.status.channel])).quota
        except Exception as error:  # noqa: BLE001 - also what a callable with the AppSecret raises: it is only the quota
            logger.debug(
                "the quota of %s is not known: %s",
                client.appid,
                type(error).__name__,
                extra=log_fields("quota_unknown", appid=client.appid, error=type(error).__name__),
            )
        else:
            self._quotas[client.appid] = QuotaLeft(quota.daily_limit, quota.used, quota.remain, self._wall())


def _no_secret() -> Secret:
    raise ConfigError("nothing here needs the AppSecret", field="secret")


#: Referred to here so that nobody collects them while they run; a watcher ends when its server is forgotten.
_WATCHERS: Final[set[asyncio.Task[None]]] = set()


def _forget(
    tasks: dict[tuple[str, Kind], asyncio.Task[None]], value: tuple[str, Kind], task: asyncio.Task[None]
) -> None:
    if tasks.get(value) is task:
        del tasks[value]


def _is_private(ask: Ask) -> bool:
    """Tell whether nobody on the way could read what was sent."""
    return ask.scope.get("scheme") == "https" or (is_local(ask.peer) and not came_in_the_clear(ask))


def _shown(desk: Desk, token: StoredToken) -> dict[str, object]:
    return {
        "appid": desk.appid,
        FIELDS[desk.kind]: token.value,
        "generation": token.generation,
        "expires_in": round(token.left, 3),
        "life": round(token.life, 3),
    }


def _unavailable(error: UnavailableError) -> Answer:
    return refusal(error.code, error.message, retry_after=error.retry_after, errcode=error.errcode)


def _bad(message: str) -> RefusedError:
    return RefusedError(refusal("bad_request", message))


def _patience(ask: Ask) -> float:
    """How long the request may be kept waiting: as it says in ``wait``, in seconds."""
    text = ask.query().get("wait")
    if text is None:
        return WAIT_MAX
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= WAIT_MAX:
        raise _bad(f"wait must be a number of seconds from 0 to {WAIT_MAX:g}")
    return seconds


def _read_claim(body: bytes, key: str, kind: Kind) -> Claim:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise _bad('the body must be a JSON object, such as {"dead": "<the value>"} or {"generation": 1}')
    found = cast("Mapping[str, Any]", values)
    dead, generation = found.get("dead"), found.get("generation")
    if (dead is None) == (generation is None):
        raise _bad('the body must name the value by either "dead" or "generation"')
    if dead is not None and not (isinstance(dead, str) and 0 < len(dead) <= DEAD_MAX):
        raise _bad('"dead" must be the value that is dead')
    if generation is not None and not (_whole(generation) and 0 < generation <= GENERATION_MAX):
        raise _bad('"generation" must be the number that came with the value')
    errcode, path, operator = found.get("errcode", 0), found.get("path", ""), found.get("operator", False)
    if not _whole(errcode) or abs(errcode) > ERRCODE_MAX:
        raise _bad('"errcode" must be the platform\'s code')
    if kind == "access_token" and errcode and not operator and errcode not in DEAD_TOKEN_CODES:
        # A program that takes every error for a dead token would end the ones that are good.
        raise _bad(
            f"no token is dead because of {errcode}: only {', '.join(map(str, sorted(DEAD_TOKEN_CODES)))} say so"
        )
    if not isinstance(operator, bool):
        raise _bad('"operator" must be true or false')
    if not isinstance(path, str) or (path and PATH_SHOWN.fullmatch(path) is None):
        raise _bad('"path" must be the path of the refused call, without a query')
    return Claim(
        generation=generation or 0,
        dead=None if dead is None else Secret(dead),
        errcode=errcode,
        path=path,
        operator=operator,
        key=key,
    )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
