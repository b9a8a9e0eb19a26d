"""The client of WeChat Pay API v3: one merchant, wired."""

from __future__ import annotations

import logging
import os
import re
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

import attrs

from wxmp._redact import MASK
from wxmp.errors import ConfigError
from wxmp.pay._certificates import (
    CertificateAPI,
    CertificateStore,
    PayKeys,
    choose_keys,
    refuse_own,
)
from wxmp.pay._cipher import ResourceCipher
from wxmp.pay._gateway import Gateway, PayEndpoint
from wxmp.pay._keys import Certificates, MerchantKey, PrivateKeySource, read_certificate
from wxmp.pay._signing import at
from wxmp.pay._sites import BACKUP, PRODUCTION, backup_of
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from wxmp._watch import CallWatcher
    from wxmp._wire import JsonObject
    from wxmp.events import EventHook, PayEventName
    from wxmp.pay._keys import PlatformKey
    from wxmp.pay.bills import BillAPI
    from wxmp.pay.combine import CombineAPI
    from wxmp.pay.orders import OrderAPI
    from wxmp.pay.partner import PartnerAPI
    from wxmp.pay.refunds import RefundAPI
    from wxmp.pay.sharing import SharingAPI
    from wxmp.pay.transfers import TransferAPI

__all__ = ["PayClient"]

logger: logging.Logger = logging.getLogger("wxmp.pay")
# Without a handler of the application's, warnings would go to stderr; whoever wants them sets up logging.
logging.getLogger("wxmp").addHandler(logging.NullHandler())

#: Seconds for one attempt of a call, from connecting to the last byte.
TIMEOUT: Final = 10.0

_MCHID: Final = re.compile(r"[0-9]{1,32}")
_PATH: Final = re.compile(r"/[^?#\\{}\s\x00]*")


def _check(value: object, pattern: re.Pattern[str], field: str, problem: str) -> None:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ConfigError(f"{field} {problem}", field=field)


@attrs.frozen(repr=False)
class _Taken:
    """Secret arguments on their way to where they are kept."""

    private_key: PrivateKeySource
    api_v3_key: str
    previous_api_v3_key: str | None

    def __repr__(self) -> str:
        return MASK


class PayClient:
    """A merchant of WeChat Pay (微信支付商户), API v3, called from asyncio.

    Use it as a context manager, or call :meth:`aclose`. One client serves a whole process. The families
    (``client.order``, ``client.refund`` ...) load when they are first touched.

    A call ends after at most ``timeout`` seconds, or ``retry.total_time`` with its repeats, whichever is longer; one
    that has to fetch certificates, before it or to check its answer, takes as long once more.

    Args:
        mchid: The merchant (商户号).
        private_key: The merchant API private key (商户 API 私钥): PEM, a key of ``cryptography``, a callable that
            returns one of these, or a :class:`~wxmp.pay.Signer` (KMS, HSM). It is read once, here, which takes some
            seventy milliseconds.
        serial: Serial number of the merchant API certificate (商户 API 证书序列号), or that certificate as PEM, which
            then must belong to the key.
        api_v3_key: The APIv3 key (APIv3 密钥), 32 characters.
        appid: The AppID of orders that name none.
        public_key: The WeChat Pay public key (微信支付公钥), PEM. Merchants since the autumn of 2024 have one.
        public_key_id: Its id, ``PUB_KEY_ID_…``.
        certificates: Platform certificates (平台证书), PEM each, which then are not rotated; or ``"auto"``: they are
            fetched, and rotated every twelve hours. Without a public key that is the default. A merchant on the way
            from certificates to the public key has both.
        previous_api_v3_key: The APIv3 key before the last change, for what is still on its way.
        notify_url: The address for notifications of orders that name none.
        base_url: Where WeChat Pay answers; the local simulator's address goes here.
        backup_url: The second host, for when the first one cannot be reached; ``None`` for none. With another
            ``base_url`` there is none unless it is given.
        timeout: Seconds for one attempt.
        retry: When calls are repeated.
        http_client: An ``httpx.AsyncClient``, or one of that shape, to be used for all requests; it is not closed.
        on_event: Called with an :class:`~wxmp.Event` for each call, and a :class:`~wxmp.pay.PayEvent` for each change
            of state.
        clock: Wall clock in seconds since 1970.

    Raises:
        ConfigError: An argument cannot work; ``field`` names it.
    """

    def __init__(
        self,
        *,
        mchid: str,
        private_key: PrivateKeySource,
        serial: str,
        api_v3_key: str,
        appid: str | None = None,
        public_key: str | bytes | None = None,
        public_key_id: str | None = None,
        certificates: Sequence[str | bytes] | Literal["auto"] | None = None,
        previous_api_v3_key: str | None = None,
        notify_url: str | None = None,
        base_url: str = PRODUCTION,
        backup_url: str | None = BACKUP,
        timeout: float = TIMEOUT,
        retry: RetryPolicy | None = None,
        http_client: object = None,
        on_event: EventHook | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check(mchid, _MCHID, "mchid", "must be the merchant number: digits, as text")
        self._mchid = ""
        self._serial = ""
        # Error trackers print the locals of every frame: from here on this one holds no secret.
        taken: _Taken = _Taken(private_key, api_v3_key, previous_api_v3_key)
        del private_key, api_v3_key, previous_api_v3_key
        cipher = ResourceCipher(taken.api_v3_key, taken.previous_api_v3_key)
        self._mchid = mchid
        watcher: CallWatcher | None = None
        if on_event is not None:
            from wxmp._watch import CallWatcher

            watcher = CallWatcher(on_event, appid=appid or "", mchid=mchid, service="pay", origin=base_url)
            on_event = watcher.hook
        self._on_event = on_event
        self._key = MerchantKey(taken.private_key, serial)
        del taken
        self._serial = self._key.serial
        given, self._store = self._read_certificates(certificates, public_key)
        provider = choose_keys(public_key, public_key_id, self._store or given)
        keys = PayKeys.of(mchid, cipher, provider, clock)
        keys.store = self._store
        keys.on_probe = lambda: self._report("probe")
        for key in (provider.current(at(clock())), *(() if given is None else given.keys)):
            if key is not None:
                refuse_own(key, self._key)
        backup_url = backup_of(base_url, backup_url)
        # Here and not above: the HTTP library is half of the import.
        from wxmp._transport import Transport

        self._transport = Transport(
            base_url=base_url,
            timeout=timeout,
            http_client=http_client,
            allowed_origins=() if backup_url is None else (backup_url.rstrip("/"),),
        )
        self._gateway = Gateway(
            mchid=mchid,
            key=self._key,
            keys=keys,
            transport=self._transport,
            base_url=base_url,
            backup_url=backup_url,
            retry=retry or RetryPolicy(),
            timeout=timeout,
            appid=appid,
            notify_url=notify_url,
            on_host_failed=lambda host, reason: self._report("host_failed", reason=reason, host=host),
            watcher=watcher,
        )

    @classmethod
    def from_env(cls, prefix: str = "WXMP_PAY_", *, on_event: EventHook | None = None) -> Self:
        """Make a client from the environment.

        Reads ``{prefix}MCHID``, ``SERIAL``, ``PRIVATE_KEY_FILE`` (a path) or ``PRIVATE_KEY`` (PEM), ``API_V3_KEY``,
        ``PREVIOUS_API_V3_KEY``, ``APPID``, ``PUBLIC_KEY_FILE`` or ``PUBLIC_KEY``, ``PUBLIC_KEY_ID``, ``ENDPOINT`` (an
        address; production if absent) and ``NOTIFY_URL``. Without a public key, certificates are fetched.

        Args:
            prefix: What the names begin with.
            on_event: As for :class:`PayClient`.

        Raises:
            ConfigError: A variable is missing or cannot work; the message names it.
        """

        def maybe(name: str) -> str | None:
            return os.environ.get(prefix + name) or None

        def need(name: str) -> str:
            value = maybe(name)
            if value is None:
                raise ConfigError(f"the environment variable {prefix}{name} is not set", field=prefix + name)
            return value

        def maybe_file(name: str) -> str | None:
            path = maybe(f"{name}_FILE")
            if path is None:
                return maybe(name)
            try:
                return Path(path).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigError(f"the file of {prefix}{name}_FILE cannot be read: {reason}", field=f"{prefix}{name}_FILE")

        if maybe("PRIVATE_KEY_FILE") is None and maybe("PRIVATE_KEY") is None:
            raise ConfigError(
                f"neither {prefix}PRIVATE_KEY_FILE nor {prefix}PRIVATE_KEY is set", field=f"{prefix}PRIVATE_KEY_FILE"
            )
        return cls(
            mchid=need("MCHID"),
            private_key=lambda: maybe_file("PRIVATE_KEY") or "",
            serial=need("SERIAL"),
            api_v3_key=need("API_V3_KEY"),
            previous_api_v3_key=maybe("PREVIOUS_API_V3_KEY"),
            appid=maybe("APPID"),
            public_key=maybe_file("PUBLIC_KEY"),
            public_key_id=maybe("PUBLIC_KEY_ID"),
            base_url=maybe("ENDPOINT") or PRODUCTION,
            notify_url=maybe("NOTIFY_URL"),
            on_event=on_event,
        )

    def __repr__(self) -> str:
        return f"PayClient(mchid={self._mchid!r}, serial={self._serial!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what the client opened. Safe to call twice."""
        if self._store is not None:
            await self._store.aclose()
        await self._transport.aclose()

    # ---- facts

    @property
    def mchid(self) -> str:
        """The merchant (商户号)."""
        return self._mchid

    @property
    def appid(self) -> str | None:
        """The AppID of orders that name none."""
        return self._gateway.appid

    @property
    def notify_url(self) -> str | None:
        """The address for notifications of orders that name none."""
        return self._gateway.notify_url

    @property
    def keys(self) -> PayKeys:
        """What verifies and opens notifications."""
        return self._gateway.keys

    @property
    def gateway(self) -> Gateway:
        """What all families call through."""
        return self._gateway

    # ---- calls

    async def request(
        self,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"],
        path: str,
        *,
        params: Mapping[str, str | int | bool | None] | None = None,
        json: Mapping[str, object] | None = None,
        repeatable: bool = False,
    ) -> JsonObject:
        """Call an endpoint of API v3 that has no name here yet, signed and verified like every other.

        Args:
            method: The HTTP method.
            path: For example ``"/v3/marketing/favor/stocks"``, values in it percent-encoded already; never a whole URL.
            params: Query parameters.
            json: The body. A ``Secret`` inside is enciphered for the platform, and ``None`` members
                are left out.
            repeatable: Whether the call may be repeated when nobody knows if the gateway acted: only with a number of
                yours in it that makes the second time harmless. A GET always is.

        Returns:
            The JSON object of the answer, ``{}`` if there is none.

        Raises:
            ConfigError: An argument cannot work; nothing was sent.
            PayAPIError: The gateway refused.
            PaySignatureError: The answer is not authentic; ``maybe_acted`` says whether to query first.
            TransportError: There is no answer; ``maybe_acted`` likewise.
            ReplyError: The answer is no JSON object.
        """
        if method not in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            raise ConfigError("method must be GET, POST, PUT, PATCH or DELETE", field="method")
        _check(path, _PATH, "path", "must be a path such as '/v3/certificates'; parameters go into params")
        repeat: Literal["yes", "no"] = "yes" if repeatable or method == "GET" else "no"
        return await self._gateway(PayEndpoint(method, path, repeat=repeat, encrypted=True), params=params, json=json)

    def jsapi_params(self, prepay_id: str, appid: str | None = None) -> dict[str, str]:
        """Return what a page or a mini program hands to the payment call (JSAPI / 小程序调起支付).

        Build it when the page asks for it and do not keep it. ``appId`` is not for mini programs, which ignore it.
        """
        return self._gateway.jsapi_params(prepay_id, appid)

    def app_params(self, prepay_id: str, appid: str | None = None) -> dict[str, str]:
        """Return what an app hands to the payment call (APP 调起支付). Android calls ``package`` ``packageValue``."""
        return self._gateway.app_params(prepay_id, appid)

    # ---- families

    @cached_property
    def order(self) -> OrderAPI:
        """Orders (下单、查单、关单)."""
        from wxmp.pay.orders import OrderAPI

        return OrderAPI(self._gateway)

    @cached_property
    def refund(self) -> RefundAPI:
        """Refunds (退款)."""
        from wxmp.pay.refunds import RefundAPI

        return RefundAPI(self._gateway)

    @cached_property
    def bill(self) -> BillAPI:
        """Bills (账单)."""
        from wxmp.pay.bills import BillAPI

        return BillAPI(self._gateway)

    @cached_property
    def transfer(self) -> TransferAPI:
        """Transfers to users (商家转账)."""
        from wxmp.pay.transfers import TransferAPI

        return TransferAPI(self._gateway)

    @cached_property
    def combine(self) -> CombineAPI:
        """Combined orders (合单支付)."""
        from wxmp.pay.combine import CombineAPI

        return CombineAPI(self._gateway)

    @cached_property
    def sharing(self) -> SharingAPI:
        """Profit sharing (分账)."""
        from wxmp.pay.sharing import SharingAPI

        return SharingAPI(self._gateway)

    @cached_property
    def partner(self) -> PartnerAPI:
        """Orders of service providers (服务商)."""
        from wxmp.pay.partner import PartnerAPI

        return PartnerAPI(self._gateway)

    @cached_property
    def certificate(self) -> CertificateAPI:
        """Platform certificates (平台证书); the client looks after them by itself."""
        return CertificateAPI(self._gateway.keys)

    # ---- wiring

    def _read_certificates(
        self, wanted: Sequence[str | bytes] | str | None, public_key: object
    ) -> tuple[Certificates | None, CertificateStore | None]:
        if wanted == "auto" or (wanted is None and public_key is None):
            return None, CertificateStore(
                self._fetch_certificates,
                report=lambda name, count, reason: self._report(name, count=count, reason=reason),
                optional=public_key is not None,
                mchid=self.mchid,
            )
        if wanted is None:
            return None, None
        if isinstance(wanted, str | bytes):
            raise ConfigError('certificates must be a list of PEM texts, or "auto"', field="certificates")
        given = Certificates([read_certificate(pem) for pem in wanted])
        if not given.keys and public_key is None:
            raise ConfigError('certificates is empty; "auto" fetches them', field="certificates")
        return given, None

    async def _fetch_certificates(self) -> Sequence[PlatformKey]:
        return await self._gateway.fetch_certificates()

    def _report(self, name: PayEventName, *, count: int | None = None, reason: str = "", host: str = "") -> None:
        if self._on_event is None:
            return
        from wxmp.events import PayEvent

        self._on_event(
            PayEvent(
                name=name,
                appid=self._gateway.appid or "",
                mchid=self._mchid,
                count=count,
                reason=reason,
                host=host,
            )
        )
