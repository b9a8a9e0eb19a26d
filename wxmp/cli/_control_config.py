"""Reads the settings of ``wxmp control`` from a TOML file. It holds no secret: it says where each one is."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import urlsplit

import attrs

from wxmp._env import is_redis_address
from wxmp._hosts import is_loopback
from wxmp._proxy import proxy_from_env
from wxmp.config import PRODUCTION
from wxmp.control.keys import ControlKey
from wxmp.errors import ConfigError
from wxmp.tokens.store import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wxmp.client import Client
    from wxmp.tokens.store import TokenStore

__all__ = ["AccountConfig", "ControlConfig", "ServerConfig", "key_entry", "read_config"]

HOST: Final = "127.0.0.1"
PORT: Final = 8780
PORT_MAX: Final = 65_535
#: Longest AppSecret, and file that holds one.
SECRET_MAX: Final = 4096
CONFIG_MAX: Final = 4 << 20

_STORES: Final = "memory:, file:<folder>, redis://…, rediss://… or unix://…"
_PEERS: Final = ("127.0.0.1", "::1")


@attrs.frozen(kw_only=True)
class ServerConfig:
    """Where the server listens."""

    host: str = HOST
    port: int = PORT
    certfile: Path | None = None
    keyfile: Path | None = None
    audit: Path | None = None
    allow_insecure: bool = False
    #: Proxies whose word for the true client and scheme is taken.
    trusted_proxies: tuple[str, ...] = _PEERS

    def checked(self) -> ServerConfig:
        """Return itself if it can work.

        Raises:
            ConfigError: It cannot.
        """
        if (self.certfile is None) != (self.keyfile is None):
            given, missing = ("certfile", "keyfile") if self.keyfile is None else ("keyfile", "certfile")
            raise ConfigError(f"server.{missing} is missing: {given} needs it", field=f"server.{missing}")
        if self.certfile is None and not self.allow_insecure and not is_loopback(self.host):
            raise ConfigError(
                f"server.host is {self.host}, which other machines reach, and there is no TLS: give certfile and "
                "keyfile; or listen on 127.0.0.1 behind a proxy of this machine that speaks TLS; or set "
                "allow_insecure = true, and everybody on the way reads keys and tokens",
                field="server.host",
            )
        return self


@attrs.frozen(kw_only=True)
class AccountConfig:
    """One account, and where its secrets are."""

    appid: str
    #: Asked before each token request: an AppSecret that was changed counts at once.
    secret: Callable[[], str] = attrs.field(repr=False)
    channel: Literal["stable", "plain"]
    #: The store's address, which may hold a password.
    store: Callable[[], str] = attrs.field(repr=False)
    endpoint: str
    #: Where this stands in the file.
    field: str

    def make_client(self, store: TokenStore) -> Client:
        """Return the client that keeps the tokens of this account.

        Raises:
            ConfigError: A setting cannot work.
        """
        from wxmp.client import Client

        return Client(
            self.appid,
            self.secret,
            token_store=store,
            token_channel=self.channel,
            base_url=self.endpoint or PRODUCTION,
            proxy=proxy_from_env(os.environ, "WXMP_PROXY"),
        )


@attrs.frozen(kw_only=True)
class ControlConfig:
    """All settings of a control server."""

    server: ServerConfig
    accounts: tuple[AccountConfig, ...]
    keys: tuple[ControlKey, ...]
    #: What works and should not be so, one sentence each.
    warnings: tuple[str, ...]

    def make_stores(self) -> dict[str, TokenStore]:
        """Return the store of each account, by AppID; accounts with the same address share one.

        Raises:
            ConfigError: An address cannot work.
        """
        made: dict[str, TokenStore] = {}
        found: dict[str, TokenStore] = {}
        for account in self.accounts:
            address = account.store()
            if address not in made:
                made[address] = _make_store(address, f"{account.field}.store")
            found[account.appid] = made[address]
        return found


def _make_store(address: str, field: str) -> TokenStore:
    kind, _, rest = address.partition(":")
    if kind == "memory":
        from wxmp.tokens.memory import MemoryTokenStore

        return MemoryTokenStore()
    if kind == "file" and rest:
        from wxmp.tokens.file import FileTokenStore

        return FileTokenStore(rest)
    if is_redis_address(address):
        from wxmp.tokens.redis import RedisTokenStore

        return RedisTokenStore(address)
    raise ConfigError(f"{field} must be {_STORES}", field=field)


class _Table:
    """A table of the file that is read field by field; what nobody has read is an error."""

    def __init__(self, values: Mapping[str, object], place: str) -> None:
        self._values = values
        self._place = place
        self._read: set[str] = set()

    def name(self, field: str) -> str:
        return f"{self._place}.{field}" if self._place else field

    def get(self, field: str) -> object:
        self._read.add(field)
        return self._values.get(field)

    def error(self, field: str, remedy: str) -> ConfigError:
        return ConfigError(f"{self.name(field)} {remedy}", field=self.name(field))

    def text(self, field: str) -> str | None:
        value = self.get(field)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.error(field, "must be a text in quotes that is not empty")
        return value

    def flag(self, field: str, default: bool) -> bool:
        value = self.get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(field, "must be true or false")
        return value

    def whole(self, field: str, default: int, *, least: int, most: int) -> int:
        value = self.get(field)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(field, f"must be a whole number from {least} to {most}")
        return value

    def texts(self, field: str) -> list[str] | None:
        value = self.get(field)
        if value is None:
            return None
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise self.error(field, 'must be a list of texts that is not empty, such as ["…"]')
        return [str(item) for item in value]

    def path(self, field: str, folder: Path) -> Path | None:
        """Return a path; a relative one begins at the folder of the file that names it."""
        value = self.text(field)
        return None if value is None else folder / value

    def tables(self, field: str) -> list[_Table]:
        value = self.get(field)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(field, f"must be tables, each under [[{field}]]")
        rows = cast("list[dict[str, object]]", value)
        return [_Table(row, f"{field}[{number}]") for number, row in enumerate(rows)]

    def end(self, *, never: Mapping[str, str] | None = None) -> None:
        """Refuse what nobody has read.

        Args:
            never: Fields that must not be there, and why.
        """
        for field in self._values:
            if field in self._read:
                continue
            if never and field in never:
                raise self.error(field, never[field])
            raise self.error(field, f"is unknown here; known are {', '.join(sorted(self._read))}")


def read_config(path: Path, *, overrides: Mapping[str, object] | None = None) -> ControlConfig:
    """Read the settings, and see that every secret they name is there.

    Args:
        path: The file.
        overrides: Fields of ``[server]`` that come from elsewhere.

    Raises:
        ConfigError: Something cannot work; the message names the field and what to do.
    """
    top = _Table(_load(path), "")
    warnings: list[str] = []
    _look_at_mode(path, str(path), warnings, secret=False)
    accounts = tuple(_account(table, path.parent, warnings) for table in top.tables("accounts"))
    if not accounts:
        raise ConfigError(f"accounts: {path.name} names none; write one under [[accounts]]", field="accounts")
    seen: set[str] = set()
    for account in accounts:
        if account.appid in seen:
            raise ConfigError(f"{account.field}.appid: {account.appid} is there twice", field=f"{account.field}.appid")
        seen.add(account.appid)
    keys = _keys(top.tables("keys"), seen, warnings)
    server = _server(top.get("server"), path.parent, overrides or {}, warnings)
    top.end()
    return ControlConfig(server=server, accounts=accounts, keys=keys, warnings=tuple(warnings))


def _load(path: Path) -> Mapping[str, object]:
    try:
        if path.stat().st_size > CONFIG_MAX:
            raise ConfigError(f"config: {path} is too large to be one", field="config")
        text = path.read_text(encoding="utf-8")
        if re.search(r"wxck_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text):
            raise ConfigError(
                f"config: {path} holds a key itself (wxck_…), perhaps in a comment: take it out, and make a new one if "
                "others could read the file",
                field="config",
            )
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"config: {path} cannot be read: {error.strerror}", field="config") from None
    except UnicodeDecodeError:
        raise ConfigError(f"config: {path} is no text in UTF-8", field="config") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config: {path} is no TOML: {error}", field="config") from None


def _server(given: object, folder: Path, overrides: Mapping[str, object], warnings: list[str]) -> ServerConfig:
    if given is not None and not isinstance(given, dict):
        raise ConfigError("server must be a table: write [server]", field="server")
    table = _Table(cast("dict[str, object]", given or {}), "server")
    values: dict[str, object] = {
        "host": table.text("host") or HOST,
        "port": table.whole("port", PORT, least=0, most=PORT_MAX),
        "certfile": table.path("certfile", folder),
        "keyfile": table.path("keyfile", folder),
        "audit": table.path("audit", folder),
        "allow_insecure": table.flag("allow_insecure", default=False),
        "trusted_proxies": tuple(table.texts("trusted_proxies") or _PEERS),
    }
    table.end()
    server = ServerConfig(**{**values, **overrides}).checked()  # type: ignore[arg-type]
    for field, file in (("certfile", server.certfile), ("keyfile", server.keyfile)):
        if file is not None and not file.is_file():
            raise ConfigError(f"server.{field}: there is no file {file}", field=f"server.{field}")
    if server.keyfile is not None:
        _look_at_mode(server.keyfile, "server.keyfile", warnings, secret=True)
    if server.allow_insecure and not is_loopback(server.host):
        warnings.append("server.allow_insecure: everybody between a service and this server reads keys and tokens")
    return server


def _account(table: _Table, folder: Path, warnings: list[str]) -> AccountConfig:
    appid = table.text("appid")
    if appid is None:
        raise table.error("appid", "is missing: the account's AppID (开发者ID)")
    try:
        check_name(appid, field="appid")
    except ConfigError as error:
        raise table.error("appid", f"cannot be an AppID: {error}") from None
    channel = table.text("channel") or "stable"
    if channel not in ("stable", "plain"):
        raise table.error("channel", 'must be "stable" or "plain"')
    account = AccountConfig(
        appid=appid,
        secret=_secret(table, "secret", folder, warnings, missing="the AppSecret (开发者密码)"),
        channel=cast("Literal['stable', 'plain']", channel),
        store=_store(table, folder, warnings),
        endpoint=table.text("endpoint") or "",
        field=table.name("appid").removesuffix(".appid"),
    )
    table.end(
        never={
            "secret": "must not stand in this file: put it into a variable or a file and write secret_env = "
            '"NAME" or secret_file = "path"'
        }
    )
    return account


def _store(table: _Table, folder: Path, warnings: list[str]) -> Callable[[], str]:
    address = table.text("store")
    if address is None:
        source = _secret(table, "store", folder, warnings, missing="where tokens are kept")
        address = source()
        if address.startswith("file:") and not Path(address[len("file:") :]).is_absolute():
            raise table.error("store_env", "names a folder that is not absolute")
        if not _can_be_store(address):
            raise table.error("store_env", f"must name what holds {_STORES}")
        return source
    for other in ("store_env", "store_file"):
        if table.get(other) is not None:
            raise table.error(other, "and store are both there: leave one out")
    if not _can_be_store(address):
        raise table.error("store", f"must be {_STORES}")
    if _password_in(address):
        raise table.error(
            "store",
            'holds a password: put the address into a variable or a file and write store_env = "NAME" '
            'or store_file = "path"',
        )
    if address.partition(":")[0] == "memory":
        warnings.append(f"{table.name('store')}: a restart forgets the tokens, and replicas do not share them")
    kind, _, rest = address.partition(":")
    # Like every path of the file it begins at the file's folder, and not where somebody happened to start the server.
    kept = f"file:{folder / rest}" if kind == "file" else address
    return lambda: kept


def _can_be_store(address: str) -> bool:
    kind, _, rest = address.partition(":")
    return kind == "memory" or (kind == "file" and bool(rest)) or is_redis_address(address)


def _password_in(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.password) or "password=" in parts.query
    except ValueError:
        return True


def _secret(table: _Table, name: str, folder: Path, warnings: list[str], *, missing: str) -> Callable[[], str]:
    """Return what reads a secret, from a variable or a file, each time it is needed."""
    variable, file = table.text(f"{name}_env"), table.path(f"{name}_file", folder)
    if variable is not None and file is not None:
        raise table.error(f"{name}_file", f"and {name}_env are both there: leave one out")
    if variable is not None:
        field = table.name(f"{name}_env")
        read: _Variable | _File = _Variable(variable, field)
    elif file is not None:
        field = table.name(f"{name}_file")
        read = _File(file, field)
        if file.exists():
            _look_at_mode(file, field, warnings, secret=True)
    else:
        hint = ' or store = "file:/var/lib/wxmp"' if name == "store" else ""
        raise table.error(
            f"{name}_env", f'is missing: {missing}; write {name}_env = "NAME", {name}_file = "path"{hint}'
        )
    read()
    return read


@attrs.frozen
class _Variable:
    variable: str
    field: str

    def __call__(self) -> str:
        value = os.environ.get(self.variable, "").strip()
        if not value:
            raise ConfigError(f"{self.field}: the environment variable {self.variable} is not set", field=self.field)
        return value


@attrs.frozen
class _File:
    path: Path
    field: str

    def __call__(self) -> str:
        try:
            value = self.path.read_bytes()[: SECRET_MAX + 1].decode("utf-8").strip()
        except OSError as error:
            message = f"{self.field}: {self.path} cannot be read: {error.strerror}"
            raise ConfigError(message, field=self.field) from None
        except UnicodeDecodeError:
            raise ConfigError(f"{self.field}: {self.path} is no text", field=self.field) from None
        if not value or len(value) > SECRET_MAX or not value.isprintable():
            raise ConfigError(f"{self.field}: {self.path} must hold one line, the secret", field=self.field)
        return value


def _look_at_mode(path: Path, field: str, warnings: list[str], *, secret: bool) -> None:
    """Warn of a file that others may read (a secret) or change (anything)."""
    if os.name != "posix":
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        warnings.append(f"{field}: others may change {path} (mode {mode:04o}): chmod go-w {path}")
    if secret and mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"{field}: others may read {path} (mode {mode:04o}): chmod go-rwx {path}")


def _keys(tables: Iterable[_Table], appids: set[str], warnings: list[str]) -> tuple[ControlKey, ...]:
    keys: list[ControlKey] = []
    for table in tables:
        wanted = ("name", "id", "digest")
        found = {field: table.text(field) for field in wanted}
        for field in wanted:
            if found[field] is None:
                raise table.error(field, "is missing: wxmp control key NAME --appid … makes a whole entry")
        scope = table.get("appids")
        if scope is None:
            raise table.error("appids", 'is missing: a list of AppIDs, or "*" for all')
        kinds = table.texts("kinds")
        options = {} if kinds is None else {"kinds": kinds}
        try:
            key = ControlKey(
                str(found["name"]),
                str(found["id"]),
                str(found["digest"]),
                appids=scope,
                may_replace=table.flag("may_replace", default=True),
                may_see_status=table.flag("may_see_status", default=False),
                per_minute=table.whole("per_minute", 600, least=1, most=1_000_000_000),
                **options,
            )
        except ConfigError as error:
            if error.field.startswith(table.name("")):
                raise
            raise table.error(error.field or "name", f"cannot work: {error}") from None
        table.end(never={"key": "must not stand in this file: the server needs id and digest only"})
        if any(key.id == other.id for other in keys):
            raise table.error("id", f"{key.id} is there twice")
        if key.appids != "*":
            warnings += [
                f"{table.name('appids')}: {appid} is none of the accounts" for appid in sorted(key.appids - appids)
            ]
        keys.append(key)
    if not keys:
        warnings.append("keys: there are none, and nobody can ask for anything: wxmp control key NAME --appid …")
    return tuple(keys)


def key_entry(key: ControlKey) -> str:
    """Return a key as it stands in the file."""
    # All of these texts were checked: none holds a quote, a backslash or a control character.
    scope = (
        '"*"' if key.appids == "*" else f"[{', '.join(f'{chr(34)}{appid}{chr(34)}' for appid in sorted(key.appids))}]"
    )
    kinds = ", ".join(f'"{kind}"' for kind in sorted(key.kinds))
    return (
        "[[keys]]\n"
        f'name = "{key.name}"\n'
        f'id = "{key.id}"\n'
        f'digest = "{key.digest}"\n'
        f"appids = {scope}\n"
        f"kinds = [{kinds}]\n"
        f"may_replace = {str(key.may_replace).lower()}\n"
        f"may_see_status = {str(key.may_see_status).lower()}\n"
        f"per_minute = {key.per_minute}\n"
    )
