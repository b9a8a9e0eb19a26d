"""``wxmp control``: the control server (中控服务器) in production, its keys, and a check of its settings."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import attrs
from cyclopts import App, Parameter

from wxmp._asgi import send_answer
from wxmp.cli import missing_extra
from wxmp.cli._command import JSON, PLAIN
from wxmp.cli._console import FAILED, USAGE_ERROR, ending, print_json, say, set_up_logging, tell
from wxmp.cli._control_config import key_entry, read_config
from wxmp.control.keys import PER_MINUTE, ControlKey
from wxmp.control.server import ControlServer
from wxmp.control.web import refusal
from wxmp.errors import ConfigError, TokenStoreError
from wxmp.tokens.store import TokenKey, TokenStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    import uvicorn

    from wxmp._asgi import Receive, Scope, Send
    from wxmp.cli._control_config import ControlConfig, ServerConfig

__all__ = ["app", "check", "key", "serve"]

logger: logging.Logger = logging.getLogger("wxmp.control")

INSTALL_HINT: Final = 'This command needs more packages: pip install "wxmp-sdk[cli,control]"\n'
#: Connections that wait to be accepted.
BACKLOG: Final = 1024
#: Services ask every half a minute: what keeps their connection saves them a handshake. In seconds.
KEEP_ALIVE: Final = 75
#: Connections at once; the ones above it are told to come back (503).
CONNECTIONS: Final = 1000
#: Time for requests under way when the server is told to end, in seconds. Whoever waits for longer asks again.
GRACE: Final = 5
#: When a request that was cut short is to be made again, in seconds.
LATER: Final = 1.0
#: Time for a store to answer when settings are checked, in seconds.
STORE_TIMEOUT: Final = 5.0

app: App = App(name="control", help="Keep tokens for many services (中控服务器).")


@app.command
def serve(
    *,
    config: Path,
    host: str | None = None,
    port: int | None = None,
    certfile: Path | None = None,
    keyfile: Path | None = None,
    json_line: Annotated[bool, JSON] = False,
) -> None:
    """Serve until Ctrl-C or SIGTERM. SIGHUP reads the keys of the file again, without a break.

    Exit codes: 0 it was told to end; 1 it could not listen; 2 the settings cannot work.

    Args:
        config: TOML file with accounts and keys; it holds no secret.
        host: Address to listen on, instead of the file's. Other machines need TLS.
        port: Port to listen on; 0 takes a free one.
        certfile: Certificate chain in PEM: the server then speaks TLS.
        keyfile: Its private key in PEM.
        json_line: Print one line of JSON instead of text.
    """
    given = {"host": host, "port": port, "certfile": certfile, "keyfile": keyfile}
    overrides = {name: value for name, value in given.items() if value is not None}
    uvicorn_of_extra()
    set_up_logging(times=True)
    with ending(as_json=json_line):
        settings = settings_of(config, overrides)
        tls = load_tls(settings.server)
        made = build(settings)
        listening = listen(settings.server)
    with listening:
        port_taken = listening.getsockname()[1]
        shown = f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
        url = f"{'https' if tls else 'http'}://{shown}:{port_taken}"
        asyncio.run(Serving(config, overrides, made, url, as_json=json_line).run(settings.server, listening))


@app.command
def key(
    name: str,
    *,
    appid: Annotated[tuple[str, ...], PLAIN] = (),
    all_accounts: Annotated[bool, PLAIN] = False,
    kinds: Annotated[
        tuple[Literal["access_token", "jsapi_ticket", "wx_card_ticket"], ...],
        Parameter(negative="", show_default=", ".join),
    ] = (
        "access_token",
        "jsapi_ticket",
        "wx_card_ticket",
    ),
    replace: Annotated[bool, Parameter(negative="--no-replace")] = True,
    status: Annotated[bool, PLAIN] = False,
    per_minute: int = PER_MINUTE,
    append: Path | None = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Make a key for a service. The key is printed this once: only its hash goes into the file.

    Exit codes: 0 it was made; 2 the arguments or the file cannot work: nothing was made.

    Args:
        name: Whose key it is; stands in the audit log and on the status page. Two keys may have one name.
        appid: AppID that it may ask for; may be repeated.
        all_accounts: It may ask for all accounts, instead of --appid.
        kinds: What it may ask for; may be repeated.
        replace: Whether it may report a value dead.
        status: It may see the status page and the metrics.
        per_minute: Requests in a minute.
        append: The server's TOML file: the entry is written there, and only the key is printed.
        as_json: Print one line of JSON: the key and its entry.
    """
    with ending(as_json=as_json):
        if bool(appid) == all_accounts:
            raise ConfigError("name the accounts with --appid, or say --all-accounts", field="appid")
        made, text = ControlKey.create(
            name,
            appids="*" if all_accounts else appid,
            kinds=kinds,
            may_replace=replace,
            may_see_status=status,
            per_minute=per_minute,
        )
        entry = key_entry(made)
        if append is not None:
            add_entry(append, entry)
    if as_json:
        print_json({"key": text, "entry": attrs.asdict(made, value_serializer=plain)})
    elif append is not None:
        say(f"{text}\n")
    else:
        say(
            f"# The key of {made.name}. It is shown this once: give it to the service, keep it out of the file.\n"
            f"# {text}\n\n"
            f"# For the server's file:\n{entry}"
        )


@app.command
def check(*, config: Path, as_json: Annotated[bool, JSON] = False) -> None:
    """Check the settings: the file, its secrets, TLS, and whether the stores answer. The platform is not asked.

    Exit codes: 0 the server would start; 1 a store does not answer; 2 the settings cannot work.

    Args:
        config: TOML file with accounts and keys.
        as_json: Print one line of JSON instead of text.
    """
    set_up_logging()
    with ending(as_json=as_json):
        settings = settings_of(config, {}, quiet=as_json)
        load_tls(settings.server)
        stores = settings.make_stores()
        for account in settings.accounts:
            asyncio.run(account.make_client(stores[account.appid]).aclose())
    troubles = asyncio.run(ask_stores(settings, stores))
    if as_json:
        told: dict[str, object] = {
            "ok": not any(troubles.values()),
            "accounts": [
                {"appid": appid, "store": stores[appid].name, "trouble": trouble} for appid, trouble in troubles.items()
            ],
            "keys": [found.name for found in settings.keys],
            "warnings": list(settings.warnings),
        }
        print_json(told)
    else:
        for appid, trouble in troubles.items():
            say(f"{appid}: {trouble or f'the store ({stores[appid].name}) answers'}\n")
        say(f"{len(settings.keys)} keys\n")
    if any(troubles.values()):
        raise SystemExit(FAILED)


def plain(_: type, _field: attrs.Attribute[Any], value: object) -> object:
    """Return a set as a list."""
    return sorted(value) if isinstance(value, frozenset) else value


def settings_of(config: Path, overrides: Mapping[str, object], *, quiet: bool = False) -> ControlConfig:
    """Read the settings; what should be otherwise goes to standard error."""
    settings = read_config(config, overrides=overrides)
    for warning in () if quiet else settings.warnings:
        tell(f"Warning: {warning}")
    return settings


def uvicorn_of_extra() -> None:
    """See that the server is installed."""
    try:
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        if not missing_extra(error):
            raise
        sys.stderr.write(INSTALL_HINT)
        raise SystemExit(USAGE_ERROR) from None


def load_tls(server: ServerConfig) -> bool:
    """See that certificate and key can be used; return whether there are any.

    Raises:
        ConfigError: They cannot.
    """
    if server.certfile is None or server.keyfile is None:
        return False
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(server.certfile, server.keyfile)
    except (ssl.SSLError, OSError) as error:
        why = getattr(error, "reason", None) or error.strerror or "they are no PEM"
        raise ConfigError(
            f"server.certfile and server.keyfile cannot be used together: {why}", field="server.certfile"
        ) from None
    return True


@attrs.frozen
class Made:
    """A server, and the stores that it uses."""

    server: ControlServer
    stores: tuple[TokenStore, ...]

    async def aclose(self) -> None:
        """Close everything."""
        await self.server.aclose()
        for store in self.stores:
            with suppress(TokenStoreError):
                await store.aclose()


def build(settings: ControlConfig) -> Made:
    """Return the server of the settings.

    Raises:
        ConfigError: A setting cannot work.
    """
    stores = settings.make_stores()
    clients = [account.make_client(stores[account.appid]) for account in settings.accounts]
    server = ControlServer(
        clients, settings.keys, audit=settings.server.audit, allow_insecure=settings.server.allow_insecure
    )
    return Made(server, tuple({id(store): store for store in stores.values()}.values()))


def listen(server: ServerConfig) -> socket.socket:
    """Return the listening socket."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # The protocol is named, or asyncio leaves Nagle's algorithm on and every answer takes 40 ms.
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        reason = str(error.strerror or error)
        if error.errno == errno.EADDRINUSE:
            reason = f"port {server.port} of {server.host} is taken; see --port"
        sys.stderr.write(f"The control server cannot listen: {reason}\n")
        raise SystemExit(FAILED) from None
    return listening


async def answer_to_the_end(app: ControlServer, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer; also a request that still waits when the server has to go."""
    try:
        await app(scope, receive, send)
    except asyncio.CancelledError:
        if scope["type"] != "http":
            raise
        # Nothing was sent yet: the server waits for a value, and then sends its answer in one go.
        answer = refusal("pending", "the server is going away: ask again", retry_after=LATER)
        await send_answer(send, answer.status, answer.content_type, answer.body, logger, more=answer.headers)


class Serving:
    """A server from its start to its end, with the signals in between."""

    def __init__(self, config: Path, overrides: Mapping[str, object], made: Made, url: str, *, as_json: bool) -> None:
        self._config = config
        self._overrides = overrides
        self._made = made
        self._url = url
        self._as_json = as_json

    async def run(self, settings: ServerConfig, listening: socket.socket) -> None:
        """Serve until a signal comes."""
        import uvicorn

        options = uvicorn.Config(
            partial(answer_to_the_end, self._made.server),
            interface="asgi3",
            http="h11",  # httptools takes headers of any length, before any key is looked at
            limit_concurrency=CONNECTIONS,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            ssl_certfile=settings.certfile,
            ssl_keyfile=settings.keyfile,
            proxy_headers=True,
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
        )
        server = uvicorn.Server(options)
        # uvicorn takes SIGINT and SIGTERM while it serves, and raises them again when it is done: here they end. One
        # that comes before it has begun must count as well.
        before = dict(self._take_signals(server))
        try:
            telling_task = asyncio.create_task(self._announce(server))
            await server.serve(sockets=[listening])
            telling_task.cancel()
        finally:
            await self._made.aclose()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take_signals(self, server: uvicorn.Server) -> Iterator[tuple[signal.Signals, Any]]:
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()

        def end(_number: int, _frame: FrameType | None) -> None:
            server.should_exit = True

        def again(_number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._read_keys)

        for number in (signal.SIGINT, signal.SIGTERM):
            yield number, signal.signal(number, end)
        if hasattr(signal, "SIGHUP"):
            yield signal.SIGHUP, signal.signal(signal.SIGHUP, again)

    def _read_keys(self) -> None:
        """Take the keys of the file as it is now; a file with a mistake changes nothing."""
        try:
            settings = read_config(self._config, overrides=self._overrides)
            self._made.server.use_keys(settings.keys)
        except ConfigError as error:
            logger.error("the keys are as before: %s", error)  # noqa: TRY400 - a sentence, not a traceback
        else:
            logger.info("the keys were read again: %d", len(settings.keys))

    async def _announce(self, server: uvicorn.Server) -> None:
        while not server.started:  # noqa: ASYNC110 - uvicorn tells in no other way
            await asyncio.sleep(0.01)
        if self._as_json:
            print_json({"url": self._url, "pid": os.getpid()})
        else:
            say(f"The control server is at {self._url} (Ctrl-C stops it).\n")


def add_entry(path: Path, entry: str) -> None:
    """Add a key's entry to the server's file, if the file can be read with it.

    Raises:
        ConfigError: It cannot.
    """
    import tomllib

    if path.exists() and not path.is_file():
        raise ConfigError(f"append: {path} is no file", field="append")  # a device has no end
    try:
        before = path.read_text(encoding="utf-8")
        tomllib.loads(f"{before}\n{entry}")
        size = path.stat().st_size
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{'' if before.endswith(chr(10)) or not before else chr(10)}\n{entry}")
        except OSError:
            os.truncate(path, size)  # the disk is full: half of an entry would keep the server from starting
            raise
    except OSError as error:
        raise ConfigError(f"append: {path} cannot be written: {error.strerror}", field="append") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"append: {path} is no TOML that an entry can be added to: {error}", field="append") from None


async def ask_stores(settings: ControlConfig, stores: Mapping[str, TokenStore]) -> dict[str, str]:
    """Look into each account's store; return what is wrong by AppID, empty where nothing is."""
    troubles: dict[str, str] = {}
    for account in settings.accounts:
        store = stores[account.appid]
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                await store.read(TokenKey(account.appid, account.channel))
        except TokenStoreError as error:
            troubles[account.appid] = str(error)
        except TimeoutError:
            troubles[account.appid] = f"the store ({store.name}) does not answer within {STORE_TIMEOUT:g} s"
        else:
            troubles[account.appid] = ""
    for store in {id(store): store for store in stores.values()}.values():
        with suppress(TokenStoreError):
            await store.aclose()
    return troubles
