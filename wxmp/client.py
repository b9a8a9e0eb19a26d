"""The client: one account, wired."""

from __future__ import annotations

import logging
import os
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import urlsplit

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._env import is_redis_address, named_in_env
from wxmp._hosts import is_loopback
from wxmp._proxy import parse_proxy, proxy_from_env
from wxmp._redact import Secret, fingerprint
from wxmp._request import Credentials
from wxmp.config import PRODUCTION, Platform, TokenPolicy
from wxmp.errors import ConfigError, ReplyError
from wxmp.retry import RetryPolicy
from wxmp.tokens.keeper import Grant, TokenKeeper
from wxmp.tokens.memory import MemoryTokenStore
from wxmp.tokens.store import LIFE_MAX, TokenKey, check_token_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from wxmp._request import FilePart
    from wxmp._transport import Transport
    from wxmp._wire import JsonObject, JsonValue
    from wxmp.api.ai import AIAPI
    from wxmp.api.autoreply import AutoReplyAPI
    from wxmp.api.blacklist import BlacklistAPI
    from wxmp.api.comment import CommentAPI
    from wxmp.api.custom import CustomAPI
    from wxmp.api.datacube import DatacubeAPI
    from wxmp.api.draft import DraftAPI
    from wxmp.api.group import GroupAPI
    from wxmp.api.jssdk import JSSDKAPI
    from wxmp.api.kf import KfAPI
    from wxmp.api.mass import MassAPI
    from wxmp.api.material import MaterialAPI
    from wxmp.api.media import MediaAPI
    from wxmp.api.menu import MenuAPI
    from wxmp.api.oauth import OAuthAPI
    from wxmp.api.publish import PublishAPI
    from wxmp.api.qrcode import QRCodeAPI
    from wxmp.api.quota import QuotaAPI
    from wxmp.api.server import ServerAPI
    from wxmp.api.shorturl import ShortURLAPI
    from wxmp.api.subscribe import SubscribeAPI
    from wxmp.api.tag import TagAPI
    from wxmp.api.template import TemplateAPI
    from wxmp.api.user import UserAPI
    from wxmp.broadcast.api import BroadcastAPI
    from wxmp.events import EventHook
    from wxmp.tokens.keeper import TokenStatus
    from wxmp.tokens.store import TokenStore

__all__ = ["Client"]

# Without a handler of the application's, warnings would go to stderr; whoever wants them sets up logging.
logging.getLogger("wxmp").addHandler(logging.NullHandler())

#: Seconds for one attempt of a call, from connecting to the last byte.
CALL_TIMEOUT: Final = 10.0
#: Bytes that are read of a file with the AppSecret, which has 32.
SECRET_FILE_LIMIT: Final = 4096

PLAIN_TOKEN: Final = Endpoint("GET", "/cgi-bin/token", repeatable=True, auth="none", issues_tokens=True)
STABLE_TOKEN: Final = Endpoint("POST", "/cgi-bin/stable_token", repeatable=True, auth="none", issues_tokens=True)
TICKET: Final = Endpoint("GET", "/cgi-bin/ticket/getticket", repeatable=True)

#: The keeper decides when a credential is asked for again; inside its request nothing is repeated.
_ONCE: Final = RetryPolicy(attempts=1)


class Client:
    """An Official Account (公众号 / 服务号), called from asyncio.

    Use it as a context manager, or call :meth:`aclose`. One client serves a whole process; making a second one is
    cheap. The families (``client.menu``, ``client.user`` ...) load when they are first touched; the records that they
    take and give are imported from the module of their name: ``from wxmp.api.menu import MenuButton``.

    Args:
        appid: The account's AppID (开发者ID).
        secret: The AppSecret (开发者密码), or a callable that returns it and is asked before each token request.
            ``None`` with a store that somebody else keeps (:class:`wxmp.control.HTTPTokenStore`): this process then
            never has it, and what needs it (OAuth codes, ``quota.clear_with_secret``) raises ``ConfigError``.
        token_store: Where the fleet shares its token; a :class:`~wxmp.MemoryTokenStore` for this process if absent.
            A store that is passed in is not closed by the client.
        token_channel: ``"stable"`` (``/cgi-bin/stable_token``, recommended) or ``"plain"`` (``/cgi-bin/token``). The
            two are separate: a token of one neither replaces nor ends a token of the other.
        token_policy: When tokens are renewed, waited for and given up.
        base_url: Where the platform answers: an address, or a :class:`~wxmp.config.Platform`. The local simulator's
            address is enough: its other hosts are found below it.
        timeout: Seconds for one attempt of a call, from connecting to the last byte.
        retry: When calls are repeated.
        http_client: An ``httpx.AsyncClient``, or one of that shape, to be used for all requests; it is not closed.
        proxy: Address of an HTTP proxy (代理) for all requests but those to this machine, such as
            ``"http://user:password@proxy.internal:3128"``. The platform then sees the proxy's address, which is the
            one for the IP allow list (IP 白名单). The proxy opens a way (``CONNECT``) and carries TLS: it sees the
            platform's name, and no token. Not together with ``http_client``, which has a proxy of its own.
        on_event: Called with an :class:`~wxmp.Event` for each call and each state change of a token;
            :func:`wxmp.events.combine` makes one hook of several.

    Raises:
        ConfigError: An argument cannot work.
    """

    def __init__(
        self,
        appid: str,
        secret: str | Callable[[], str] | None,
        *,
        token_store: TokenStore | None = None,
        token_channel: Literal["stable", "plain"] = "stable",  # noqa: S107 - a name, no password
        token_policy: TokenPolicy | None = None,
        base_url: str | Platform = PRODUCTION,
        timeout: float = CALL_TIMEOUT,
        retry: RetryPolicy | None = None,
        http_client: object = None,
        proxy: str | None = None,
        on_event: EventHook | None = None,
    ) -> None:
        if token_channel not in ("stable", "plain"):
            raise ConfigError("token_channel must be 'stable' or 'plain'", field="token_channel")
        stable = token_channel == "stable"  # noqa: S105 - a name, no password
        self._key = TokenKey(appid, token_channel)
        if secret is None and (token_store is None or not token_store.kept_elsewhere):
            # It would take the lease, fail for want of the secret, and cool the whole fleet down.
            raise ConfigError(
                "secret may be None only with a token_store that somebody else keeps: wxmp.control.HTTPTokenStore",
                field="secret",
            )
        self._has_secret = secret is not None
        self._secret = _secret_source(secret)
        self._platform = base_url if isinstance(base_url, Platform) else _platform_at(base_url)
        self._policy = token_policy or TokenPolicy()
        if secret is None:  # it cannot fetch by itself, whatever the policy says
            self._policy = attrs.evolve(self._policy, on_store_down="error")
        self._own_store = token_store is None
        self._store: TokenStore = token_store if token_store is not None else MemoryTokenStore()
        if on_event is not None:
            from wxmp.events import guarded

            on_event = guarded(on_event)
        self._on_event = on_event
        # Here and not above: the HTTP library is half of the import, and whoever only needs the name `Client` (a module
        # that annotates, a command line that prints its help) should not pay for it.
        from wxmp._transport import Transport

        way = None if proxy is None else parse_proxy(proxy)
        #: How messages name the proxy.
        self._via = "" if way is None else way.place
        self._transport = Transport(base_url=self._platform.api, timeout=timeout, http_client=http_client, proxy=way)
        # Token requests have connections of their own: calls that use up the pool must not starve them.
        self._token_transport = Transport(
            base_url=self._platform.api,
            timeout=self._policy.request_timeout,
            connect_timeout=self._policy.connect_timeout,
            max_connections=2,
            http_client=http_client,
            proxy=way,
        )
        self._keeper = TokenKeeper(
            self._key,
            store=self._store,
            fetch=self._fetch_stable if stable else self._fetch_plain,
            endpoint=(STABLE_TOKEN if stable else PLAIN_TOKEN).name,
            policy=self._policy,
            credential=self._secret_fingerprint,
            on_event=on_event,
        )
        self._tickets: dict[str, TokenKeeper] = {}
        self._caller = self._make_caller(self._transport, retry or RetryPolicy())
        self._token_caller = self._make_caller(self._token_transport, _ONCE)

    @classmethod
    def from_env(
        cls,
        prefix: str = "WXMP_",
        *,
        environ: Mapping[str, str] | None = None,
        token_store: TokenStore | None = None,
        token_channel: Literal["stable", "plain"] | None = None,
        token_policy: TokenPolicy | None = None,
        timeout: float = CALL_TIMEOUT,
        retry: RetryPolicy | None = None,
        http_client: object = None,
        proxy: str | None = None,
        on_event: EventHook | None = None,
    ) -> Self:
        """Make a client from the environment.

        Reads ``{prefix}APPID``; ``{prefix}SECRET``, or ``{prefix}SECRET_FILE`` with the path of a file that holds it;
        ``{prefix}ENDPOINT`` (an address; production if absent), ``{prefix}PROXY`` (the address of an HTTP proxy; none
        if absent, whatever ``HTTPS_PROXY`` says), ``{prefix}TOKEN_CHANNEL`` (``stable`` or ``plain``), and
        ``{prefix}TOKEN_STORE``: ``memory:`` (the default), ``file:/var/lib/app/wxmp``, or ``redis://…``,
        ``rediss://…``, ``unix://…``, or a control server's addresses, ``control:https://…,https://…``, with its key in
        ``{prefix}CONTROL_KEY``; the AppSecret may then be absent. A store made here is closed with the client, and
        reached without the proxy.

        Args:
            prefix: What the names begin with.
            environ: The variables, instead of ``os.environ``.
            token_store: As for :class:`Client`, as are all below; ``{prefix}TOKEN_STORE`` is not read then.
            token_channel: Instead of ``{prefix}TOKEN_CHANNEL``.
            token_policy: When tokens are renewed, waited for and given up.
            timeout: Seconds for one attempt of a call.
            retry: When calls are repeated.
            http_client: To be used for all requests; it is not closed. ``{prefix}PROXY`` is not read then.
            proxy: Instead of ``{prefix}PROXY``.
            on_event: The hook.

        Raises:
            ConfigError: A variable is missing or cannot work; the message names it.
        """
        variables = os.environ if environ is None else environ
        appid = _from_env(variables, prefix + "APPID")
        store = token_store if token_store is not None else _store_from_env(variables, prefix)
        secret = partial(_secret_from_env, variables, prefix)
        has_secret = bool(variables.get(prefix + "SECRET") or variables.get(prefix + "SECRET_FILE"))
        if has_secret or not store.kept_elsewhere:
            secret()
        endpoint = variables.get(prefix + "ENDPOINT")
        with named_in_env(prefix + "ENDPOINT"):
            platform = _platform_at(endpoint) if endpoint else PRODUCTION
        if proxy is None and http_client is None:
            proxy = proxy_from_env(variables, prefix + "PROXY")
        client = cls(
            appid,
            secret if has_secret else None,
            token_store=store,
            token_channel=token_channel or _channel_from_env(variables, prefix),
            token_policy=token_policy,
            base_url=platform,
            timeout=timeout,
            retry=retry,
            http_client=http_client,
            proxy=proxy,
            on_event=on_event,
        )
        client._own_store = token_store is None
        return client

    def __repr__(self) -> str:
        return (
            f"Client(appid={self._key.appid!r}, token_channel={self._key.channel!r}, token_store={self._store.name!r})"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def appid(self) -> str:
        """The account's AppID (开发者ID)."""
        return self._key.appid

    async def aclose(self) -> None:
        """Close what the client opened; a running token refresh gives its lease back. Safe to call twice."""
        for keeper in (*self._tickets.values(), self._keeper):
            await keeper.aclose()
        await self._transport.aclose()
        await self._token_transport.aclose()
        if self._own_store:
            await self._store.aclose()

    # ---- the token

    async def token(self) -> str:
        """Return the current access_token (调用凭据), for a tool that has to call the platform itself.

        Do not keep it: ask again before each use. It costs nothing while the token is fresh.
        """
        return (await self._keeper.get()).reveal()

    async def refresh_token(self) -> str:
        """Replace the access_token now, for the whole fleet, and return the new one.

        On the stable channel this forces a refresh: the old token dies at once, and the platform allows it 20 times a
        day, 30 s apart. It is meant for a leaked token. Never call it on a timer: renewal happens by itself.

        Raises:
            RateLimitError: Too soon or too often.
        """
        return (await self._keeper.refresh()).reveal()

    def token_status(self) -> TokenStatus:
        """Return generation, age, seconds left and last error of the token; never its value."""
        return self._keeper.status()

    def token_keeper(self, kind: Literal["access_token", "jsapi", "wx_card"] = "access_token") -> TokenKeeper:
        """Return what keeps the access_token or a ticket of this account, for programs that hand it on (中控).

        :class:`wxmp.control.ControlServer` is one. Everybody else wants :meth:`token` and ``client.jssdk``.
        """
        if kind == "access_token":
            return self._keeper
        if kind not in ("jsapi", "wx_card"):
            raise ConfigError("kind must be 'access_token', 'jsapi' or 'wx_card'", field="kind")
        return self._ticket_keeper(kind)

    # ---- calls

    async def request(
        self,
        method: Literal["GET", "POST"],
        path: str,
        *,
        params: Mapping[str, str | int | bool | None] | None = None,
        json: JsonValue = None,
        files: Sequence[FilePart] | None = None,
        repeatable: bool = False,
    ) -> JsonObject:
        """Call an endpoint that has no name here, with token, retry and errors like every other.

        Args:
            method: ``"GET"`` or ``"POST"``.
            path: For example ``"/cgi-bin/shorten"``; never a whole URL, for the token goes along.
            params: Query parameters.
            json: The payload of a POST.
            files: Parts of a multipart upload.
            repeatable: Whether the call may be repeated when nobody knows if the platform acted: only if doing it
                twice does no harm.

        Returns:
            The JSON object of the answer.
        """
        if method not in ("GET", "POST"):
            raise ConfigError("method must be 'GET' or 'POST'", field="method")
        plain = path.isascii() and path.isprintable() and not any(sign in path for sign in "?#\\ ")
        if not plain or not path.startswith("/") or path.startswith("//"):
            raise ConfigError(
                "path must begin with one '/' and be printable ASCII without query, fragment, backslash or blank",
                field="path",
            )
        endpoint = Endpoint(method, path, repeatable=repeatable)
        return await self._caller(endpoint, params=params, json=json, files=files)

    # ---- families, in the order of the platform's documentation

    @cached_property
    def server(self) -> ServerAPI:
        """Addresses of the platform, callback check, rid look-up (基础接口)."""
        from wxmp.api.server import ServerAPI

        return ServerAPI(self._caller)

    @cached_property
    def quota(self) -> QuotaAPI:
        """Call quotas (openApi管理)."""
        from wxmp.api.quota import QuotaAPI

        return QuotaAPI(self._caller)

    @cached_property
    def menu(self) -> MenuAPI:
        """Custom menus (自定义菜单)."""
        from wxmp.api.menu import MenuAPI

        return MenuAPI(self._caller)

    @cached_property
    def user(self) -> UserAPI:
        """Followers (用户管理)."""
        from wxmp.api.user import UserAPI

        return UserAPI(self._caller)

    @cached_property
    def tag(self) -> TagAPI:
        """User tags (用户标签管理)."""
        from wxmp.api.tag import TagAPI

        return TagAPI(self._caller)

    @cached_property
    def blacklist(self) -> BlacklistAPI:
        """Blacklist (黑名单管理)."""
        from wxmp.api.blacklist import BlacklistAPI

        return BlacklistAPI(self._caller)

    @cached_property
    def group(self) -> GroupAPI:
        """User groups, the predecessor of tags (用户分组管理)."""
        from wxmp.api.group import GroupAPI

        return GroupAPI(self._caller)

    @cached_property
    def template(self) -> TemplateAPI:
        """Template messages (模板消息)."""
        from wxmp.api.template import TemplateAPI

        return TemplateAPI(self._caller)

    @cached_property
    def subscribe(self) -> SubscribeAPI:
        """Subscription notices (订阅通知)."""
        from wxmp.api.subscribe import SubscribeAPI

        return SubscribeAPI(self._caller)

    @cached_property
    def custom(self) -> CustomAPI:
        """Customer-service messages (客服消息)."""
        from wxmp.api.custom import CustomAPI

        return CustomAPI(self._caller)

    @cached_property
    def kf(self) -> KfAPI:
        """Customer-service accounts, sessions and records (客服管理)."""
        from wxmp.api.kf import KfAPI

        return KfAPI(self._caller)

    @cached_property
    def mass(self) -> MassAPI:
        """Mass messages (群发)."""
        from wxmp.api.mass import MassAPI

        return MassAPI(self._caller)

    @cached_property
    def media(self) -> MediaAPI:
        """Temporary material (临时素材)."""
        from wxmp.api.media import MediaAPI

        return MediaAPI(self._caller)

    @cached_property
    def material(self) -> MaterialAPI:
        """Permanent material (永久素材)."""
        from wxmp.api.material import MaterialAPI

        return MaterialAPI(self._caller)

    @cached_property
    def draft(self) -> DraftAPI:
        """Drafts of articles (草稿箱)."""
        from wxmp.api.draft import DraftAPI

        return DraftAPI(self._caller)

    @cached_property
    def publish(self) -> PublishAPI:
        """Publishing drafts (发布能力)."""
        from wxmp.api.publish import PublishAPI

        return PublishAPI(self._caller)

    @cached_property
    def comment(self) -> CommentAPI:
        """Comments on articles (留言管理)."""
        from wxmp.api.comment import CommentAPI

        return CommentAPI(self._caller)

    @cached_property
    def datacube(self) -> DatacubeAPI:
        """Statistics (数据统计)."""
        from wxmp.api.datacube import DatacubeAPI

        return DatacubeAPI(self._caller, clock=self._caller.wall_clock)

    @cached_property
    def qrcode(self) -> QRCodeAPI:
        """QR codes with a scene (带参数二维码)."""
        from wxmp.api.qrcode import QRCodeAPI

        return QRCodeAPI(self._caller)

    @cached_property
    def shorturl(self) -> ShortURLAPI:
        """Short keys for long texts (短key托管)."""
        from wxmp.api.shorturl import ShortURLAPI

        return ShortURLAPI(self._caller)

    @cached_property
    def oauth(self) -> OAuthAPI:
        """Web page authorization (网页授权)."""
        from wxmp.api.oauth import OAuthAPI

        return OAuthAPI(self._caller, self._platform.open)

    @cached_property
    def jssdk(self) -> JSSDKAPI:
        """JS-SDK and card tickets and signatures (JS-SDK)."""
        from wxmp.api.jssdk import JSSDKAPI

        return JSSDKAPI(self._key.appid, self._ticket_keeper)

    @cached_property
    def autoreply(self) -> AutoReplyAPI:
        """The automatic replies set in the console (自动回复规则)."""
        from wxmp.api.autoreply import AutoReplyAPI

        return AutoReplyAPI(self._caller)

    @cached_property
    def ai(self) -> AIAPI:
        """Text recognition, pictures and speech (智能接口)."""
        from wxmp.api.ai import AIAPI

        return AIAPI(self._caller)

    @cached_property
    def broadcast(self) -> BroadcastAPI:
        """Bulk sends that survive a crash (群发模板消息)."""
        from wxmp.broadcast.api import BroadcastAPI

        # It repeats by itself: only the journal knows for how long a message may be repeated.
        return BroadcastAPI(self._make_caller(self._transport, _ONCE))

    # ---- wiring

    def _make_caller(self, transport: Transport, retry: RetryPolicy) -> Caller:
        if self._on_event is not None:
            from wxmp._watched_caller import WatchedCaller

            return WatchedCaller(
                appid=self._key.appid,
                secret=self._secret,
                transport=transport,
                tokens=self._keeper,
                retry=retry,
                mp_origin=self._platform.mp,
                origin=self._platform.api,
                hook=self._on_event,
            )
        return Caller(
            appid=self._key.appid,
            secret=self._secret,
            transport=transport,
            tokens=self._keeper,
            retry=retry,
            mp_origin=self._platform.mp,
        )

    def _secret_fingerprint(self) -> str:
        if not self._has_secret:
            return ""
        return fingerprint(f"{self._key.appid}:{self._secret().reveal()}")

    def _ticket_keeper(self, kind: str) -> TokenKeeper:
        keeper = self._tickets.get(kind)
        if keeper is None:

            async def fetch(*, force: bool) -> Grant:
                reply = await self._token_caller(TICKET, params={"type": kind})
                return _grant(reply, "ticket", TICKET)

            keeper = self._tickets[kind] = TokenKeeper(
                TokenKey(self._key.appid, kind),
                store=self._store,
                fetch=fetch,
                endpoint=TICKET.name,
                policy=self._policy,
                credential=self._secret_fingerprint,
                on_event=self._on_event,
            )
        return keeper

    async def _fetch_plain(self, *, force: bool) -> Grant:
        # The plain endpoint has no other mode: each request replaces the token.
        reply = await self._token_caller(
            PLAIN_TOKEN,
            params={"grant_type": "client_credential", "appid": self._key.appid},
            credentials=Credentials(params={"secret": self._secret()}),
        )
        return _grant(reply, "access_token", PLAIN_TOKEN)

    async def _fetch_stable(self, *, force: bool) -> Grant:
        reply = await self._token_caller(
            STABLE_TOKEN,
            credentials=Credentials(
                json={
                    "grant_type": "client_credential",
                    "appid": self._key.appid,
                    "secret": self._secret(),
                    "force_refresh": force,
                }
            ),
        )
        return _grant(reply, "access_token", STABLE_TOKEN)


def _grant(reply: JsonObject, field: str, endpoint: Endpoint) -> Grant:
    """Read an issued credential; a malformed success is a passing failure, never a token."""
    value, life = reply.get(field), reply.get("expires_in")
    if not check_token_value(value):
        raise ReplyError(f"no usable {field} in the answer", endpoint=endpoint.name)
    try:
        seconds = float(life) if isinstance(life, int | float | str) and not isinstance(life, bool) else 0.0
    except (ValueError, OverflowError):
        seconds = 0.0
    if not 0 < seconds <= LIFE_MAX:
        raise ReplyError("expires_in is not a usable number of seconds", endpoint=endpoint.name)
    return Grant(Secret(str(value)), seconds)


def _secret_source(secret: str | Callable[[], str] | None) -> Callable[[], Secret]:
    if secret is None:
        return _no_secret
    if callable(secret):
        ask = secret
        return lambda: Secret(_checked_secret(ask()))
    fixed = Secret(_checked_secret(secret))
    return lambda: fixed


def _no_secret() -> Secret:
    raise ConfigError(
        "this needs the AppSecret, and the client was made without it: call it where the secret is, or pass secret=",
        field="secret",
    )


def _checked_secret(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise ConfigError("secret must be the AppSecret: printable ASCII text, not empty", field="secret")
    return value


def _platform_at(base_url: str) -> Platform:
    """Return the hosts that belong to one address.

    The simulator serves all hosts from one port. Any other address is a way to the server API (a regional host, a
    proxy): pictures and consent pages stay where they are.
    """
    if not isinstance(base_url, str):
        raise ConfigError("base_url must be an address or a Platform", field="base_url")
    base = base_url.rstrip("/")
    try:
        host = urlsplit(base).hostname
    except ValueError:
        raise ConfigError("base_url is no address that can be read", field="base_url") from None
    if host is not None and is_loopback(host):
        return Platform(api=base, mp=f"{base}/mp", open=f"{base}/open")
    return Platform(api=base, mp=PRODUCTION.mp, open=PRODUCTION.open)


def _from_env(variables: Mapping[str, str], name: str) -> str:
    value = variables.get(name, "")
    if not value:
        raise ConfigError(f"the environment variable {name} is not set", field=name)
    return value


def _secret_from_env(variables: Mapping[str, str], prefix: str) -> str:
    """Return the AppSecret as it is now: a file that is mounted into a container changes while the service runs."""
    name, file_name = prefix + "SECRET", prefix + "SECRET_FILE"
    value, path = variables.get(name, ""), variables.get(file_name, "")
    if value and path:
        raise ConfigError(f"set one of {name} and {file_name}, not both", field=file_name)
    if not path:
        if not value:
            raise ConfigError(f"neither the environment variable {name} nor {file_name} is set", field=name)
        return value
    try:
        with Path(path).open("rb") as file:  # a piece: whoever names a device by mistake would wait for ever
            content = file.read(SECRET_FILE_LIMIT + 1)
        found = content.decode().strip()
    except OSError as error:
        raise ConfigError(f"{file_name}: {path} cannot be read: {error.strerror}", field=file_name) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file_name}: {path} holds no text in UTF-8", field=file_name) from None
    if not found:
        raise ConfigError(f"{file_name}: {path} is empty", field=file_name)
    if len(content) > SECRET_FILE_LIMIT:
        raise ConfigError(f"{file_name}: {path} holds more than an AppSecret", field=file_name)
    return found


def _channel_from_env(variables: Mapping[str, str], prefix: str) -> Literal["stable", "plain"]:
    name = prefix + "TOKEN_CHANNEL"
    value = variables.get(name) or "stable"
    if value == "stable":
        return "stable"
    if value == "plain":
        return "plain"
    raise ConfigError(f"{name} must be stable or plain", field=name)


def _store_from_env(variables: Mapping[str, str], prefix: str) -> TokenStore:
    name = prefix + "TOKEN_STORE"
    value = variables.get(name, "") or "memory:"
    kind, _, rest = value.partition(":")
    if kind == "memory":
        return MemoryTokenStore()
    if kind == "file" and rest:
        from wxmp.tokens.file import FileTokenStore

        with named_in_env(name):
            return FileTokenStore(rest)
    if is_redis_address(value):
        from wxmp.tokens.redis import RedisTokenStore

        with named_in_env(name):
            return RedisTokenStore(value)
    if kind == "control" and rest:
        from wxmp.control.store import HTTPTokenStore

        key = partial(_from_env, variables, prefix + "CONTROL_KEY")
        key()
        with named_in_env(name):
            return HTTPTokenStore(rest.split(","), key)
    kinds = "memory:, file:…, redis://…, rediss://…, unix://… or control:https://…"
    raise ConfigError(f"{name} must be {kinds}", field=name)
