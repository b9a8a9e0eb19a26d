"""The platform's keys at work: certificates that rotate by themselves, signatures verified, resources opened."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from wxmp._log import AccountLogger, log_fields
from wxmp._redact import MASK
from wxmp.errors import ConfigError, PayAPIError, PayError, PayProbeError, PaySignatureError, WxmpError
from wxmp.pay._cipher import ResourceCipher
from wxmp.pay._keys import (
    BothKeys,
    Certificates,
    MerchantKey,
    PlatformKey,
    PublicKey,
    normal_serial,
    read_certificate,
)
from wxmp.pay._signing import WINDOW, at, check_signature, is_probe, probe, read_headers

if TYPE_CHECKING:
    from datetime import datetime

    from wxmp.events import PayEventName
    from wxmp.pay._keys import KeyProvider
    from wxmp.pay._signing import Headers

__all__ = ["CertificateAPI", "CertificateFetch", "CertificateStore", "PayKeys"]

logger: logging.Logger = logging.getLogger("wxmp.pay")

#: Seconds between two looks at the list of certificates; the platform wants at most twelve hours.
INTERVAL: Final = 12 * 3600.0
#: Seconds between two fetches, whatever asks for them: a stranger can make up serial numbers as fast as he likes.
MIN_GAP: Final = 60.0
#: Seconds until the next try after one that failed: first and longest, doubling in between.
RETRY_FIRST: Final = 5.0
RETRY_LONGEST: Final = 900.0
_DOUBLINGS: Final = 10

_NO_CERTIFICATES: Final = "RESOURCE_NOT_EXISTS"
_USE_THE_KEY: Final = (
    "This merchant has no platform certificates; it has the WeChat Pay public key: download it from the merchant "
    "console and pass public_key and public_key_id"
)

#: Fetches the list of certificates, verified and opened.
CertificateFetch: TypeAlias = Callable[[], Awaitable[Sequence[PlatformKey]]]


class CertificateStore(Certificates):
    """Platform certificates that fetch themselves (平台证书).

    One fetch at a time, however many ask; never two within a minute; every twelve hours in the background of the calls,
    or once when a serial number arrives that nobody knows. A new set takes the place of the old one at once. A fetch
    that fails is logged, and matters only when no valid certificate is left.

    Args:
        fetch: Fetches the list.
        report: Told what happened.
        clock: Seconds that go on evenly.
        optional: Whether there is another key, so that a merchant without certificates is no failure.
        mchid: The merchant, for the log.
    """

    def __init__(
        self,
        fetch: CertificateFetch,
        *,
        report: Callable[[PayEventName, int | None, str], None],
        clock: Callable[[], float] = time.monotonic,
        optional: bool = False,
        mchid: str = "",
    ) -> None:
        super().__init__()
        self._logger = AccountLogger(logger, mchid=mchid)
        self._fetch = fetch
        self._report = report
        self._clock = clock
        self._optional = optional
        # A task can be awaited in its own event loop only.
        self._flights: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._not_before = self._due = -math.inf
        self._failures = 0
        self._error: WxmpError | None = None
        #: The merchant has none: nobody asks again.
        self.absent: bool = False

    async def ready(self, moment: datetime) -> None:
        """Have a valid certificate, or look for a due change in the background.

        Raises:
            WxmpError: There is none, and the fetch failed.
        """
        if self._optional or self.current(moment) is not None:
            if self._clock() >= self._due and self._may_start():
                self._start()
            return
        await self._refresh(needed=True)
        if self.current(moment) is None:
            raise self._error.fresh() if self._error is not None else _nothing_valid()

    async def refresh(self) -> bool:
        """Fetch the list now, unless that was done a moment ago; tell whether somebody did, for this call or another.

        It raises nothing: whoever needs a certificate finds out that there is none.
        """
        return await self._refresh(needed=False)

    async def _refresh(self, *, needed: bool) -> bool:
        flight = self._running()
        if flight is None:
            # What another event loop fetches at this moment comes too late for a call that can do nothing without.
            if not self._may_start() and not (needed and self._runs_elsewhere()):
                return False
            flight = self._start()
        # Whoever waits may be cancelled; the others still want the answer.
        await asyncio.wait([flight])
        return True

    async def aclose(self) -> None:
        """Break off a fetch."""
        flight = self._flights.pop(asyncio.get_running_loop(), None)
        if flight is None or flight.done():
            return  # those of other loops have to be ended there
        flight.cancel()
        await asyncio.gather(flight, return_exceptions=True)

    def _running(self) -> asyncio.Task[None] | None:
        flight = self._flights.get(asyncio.get_running_loop())
        return None if flight is None or flight.done() else flight

    def _runs_elsewhere(self) -> bool:
        return not self.absent and any(not flight.done() for flight in list(self._flights.values()))

    def _may_start(self) -> bool:
        return not self.absent and self._running() is None and self._clock() >= self._not_before

    def _start(self) -> asyncio.Task[None]:
        now = self._clock()
        self._not_before = now + MIN_GAP
        self._due = now + INTERVAL
        for loop in [loop for loop, flight in list(self._flights.items()) if flight.done() or loop.is_closed()]:
            self._flights.pop(loop, None)
        here = asyncio.get_running_loop()
        flight = self._flights[here] = here.create_task(self._run(), name="wxmp platform certificates")
        return flight

    async def _run(self) -> None:
        try:
            keys = await self._fetch()
        except asyncio.CancelledError:
            # Its event loop has ended, not the need: whoever asks in the next one does not wait for a minute.
            self._not_before = self._due = -math.inf
            self._error = PayError("the platform certificates were not fetched: it was broken off")
            raise
        except WxmpError as error:
            self._failed(error)
        except Exception as error:  # a mistake in somebody's http_client, which belongs in the log
            self._logger.exception(
                "fetching the platform certificates failed",
                extra=log_fields("certificates_failed", error=type(error).__name__),
            )
            self._failed(PayError(f"{type(error).__name__} while the platform certificates were fetched"))
        else:
            self.replace(keys)
            self._error, self._failures = None, 0
            self._logger.info(
                "%d platform certificates fetched", len(keys), extra=log_fields("certificates_fetched", count=len(keys))
            )
            self._report("certificates_fetched", len(keys), "")

    def _failed(self, error: WxmpError) -> None:
        reason = type(error).__name__
        if isinstance(error, PayAPIError):
            reason = error.code or f"HTTP {error.status}"
            if error.code == _NO_CERTIFICATES:
                self.absent = True
                error = error.fresh()
                error.advice = _USE_THE_KEY
        self._error = error
        self._failures += 1
        now = self._clock()
        pause = min(RETRY_FIRST * 2.0 ** min(self._failures - 1, _DOUBLINGS), RETRY_LONGEST)
        self._not_before = now + pause
        self._due = now + pause
        if self.absent and self._optional:
            self._logger.info(
                "this merchant has no platform certificates; the public key serves alone",
                extra=log_fields("certificates_absent", code=reason),
            )
        else:
            self._logger.warning(
                "the platform certificates were not fetched (%s); next try in %.0f s",
                reason,
                pause,
                extra=log_fields("certificates_failed", reason=reason, seconds=pause, error=type(error).__name__),
            )
        self._report("certificates_failed", None, reason)


def _nothing_valid() -> PayError:
    return PayError("no platform certificate is valid now; is this machine's clock right?")


class PayKeys:
    """What a receiver needs to believe WeChat Pay: the platform's keys (验签) and the APIv3 key (APIv3 密钥).

    A :class:`~wxmp.pay.PayClient` has one (``client.keys``). Make one yourself where notifications are received
    without a client.

    Args:
        mchid: The merchant (商户号).
        api_v3_key: The APIv3 key (APIv3 密钥), 32 characters.
        public_key: The WeChat Pay public key, PEM.
        public_key_id: Its id.
        certificates: Platform certificates, PEM each. Those given here are not rotated.
        previous_api_v3_key: The APIv3 key before the last change.
        clock: Wall clock in seconds since 1970.

    Raises:
        ConfigError: A key cannot work, or there is none of the platform's.
    """

    def __init__(
        self,
        *,
        mchid: str,
        api_v3_key: str,
        public_key: str | bytes | None = None,
        public_key_id: str | None = None,
        certificates: Sequence[str | bytes] | None = None,
        previous_api_v3_key: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        given = None
        if certificates is not None:
            if isinstance(certificates, str | bytes):
                raise ConfigError("certificates must be a list of PEM texts", field="certificates")
            given = Certificates([read_certificate(pem) for pem in certificates])
        self._setup(
            mchid,
            ResourceCipher(api_v3_key, previous_api_v3_key),
            choose_keys(public_key, public_key_id, given),
            clock,
        )

    @classmethod
    def of(cls, mchid: str, cipher: ResourceCipher, provider: KeyProvider, clock: Callable[[], float]) -> PayKeys:
        """Put together what a client has read already."""
        made = cls.__new__(cls)
        made._setup(mchid, cipher, provider, clock)  # noqa: SLF001 - a second constructor
        return made

    def _setup(self, mchid: str, cipher: ResourceCipher, provider: KeyProvider, clock: Callable[[], float]) -> None:
        #: The merchant (商户号).
        self.mchid = mchid
        self._cipher = cipher
        self._provider = provider
        self._clock = clock
        #: The certificates that fetch themselves, if any.
        self.store: CertificateStore | None = None
        #: Told of each probe.
        self.on_probe: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"PayKeys(mchid={self.mchid!r}, {MASK})"

    def now(self) -> float:
        """Seconds since 1970, by the clock of these keys."""
        return self._clock()

    async def ready(self) -> None:
        """Have a key of the platform; costs nothing when there is one."""
        if self.store is not None:
            await self.store.ready(at(self._clock()))

    def including(self, keys: Sequence[PlatformKey]) -> PayKeys:
        """Return these keys and some more, which then fetch nothing."""
        return PayKeys.of(self.mchid, self._cipher, BothKeys(self._provider, Certificates(keys)), self._clock)

    def current(self) -> PlatformKey | None:
        """Return the platform's key to encipher with, and to ask answers to be signed with."""
        return self._provider.current(at(self._clock()))

    async def verify(self, headers: Headers, body: bytes, *, endpoint: str = "", window: float = WINDOW) -> str:
        """Check that an answer or a notification is the platform's, and return the serial number of its key.

        Args:
            headers: Its headers.
            body: The bytes as they were received.
            endpoint: Of an answer: method and path, for the error.
            window: Seconds by which its timestamp may differ from our clock.

        Raises:
            PayProbeError: It is wrong on purpose (签名探测流量).
            PaySignatureError: It is not authentic, or not fresh; ``reason`` says which check failed.
        """
        try:
            return await self._verify(headers, body, window)
        except PaySignatureError as error:
            failure = type(error)(error.message, reason=error.reason, endpoint=endpoint, maybe_acted=bool(endpoint))
        if isinstance(failure, PayProbeError):
            if endpoint:  # of notices anybody can send as many as he likes
                logger.info(
                    "%s: a probe of the platform was refused, as it should be",
                    endpoint,
                    extra=log_fields("probe_refused", mchid=self.mchid, endpoint=endpoint),
                )
            if self.on_probe is not None:
                self.on_probe()
        raise failure

    async def _verify(self, headers: Headers, body: bytes, window: float) -> str:
        now = self._clock()
        signed = read_headers(headers, now, window)
        if is_probe(signed):
            raise probe()
        key = self._provider.find(signed.serial, at(now))
        if key is None and self.store is not None and await self.store.refresh():
            key = self._provider.find(signed.serial, at(now))
        if key is None:
            # The only key, or the next best one, is never tried instead.
            raise PaySignatureError(
                f"it names the key {_shown(signed.serial)}, which is not known; there is {self._provider.describe()}",
                reason="serial",
            )
        check_signature(key, signed, body)
        return key.serial

    def open(self, resource: Mapping[str, object]) -> bytes:
        """Open a ``resource`` that was enciphered with the APIv3 key; verify its signature first.

        Raises:
            PayDecryptError: It does not open.
        """
        return self._cipher.open(resource)

    def read_list(self, payload: Mapping[str, object], merchant: MerchantKey) -> list[PlatformKey]:
        """Open the certificates of an answer of ``/v3/certificates``.

        Raises:
            PayError: It is no such list, or a certificate is not what the list says.
            PayDecryptError: The APIv3 key does not open them.
        """
        entries = payload.get("data")
        if not isinstance(entries, list) or not entries:
            raise PayError("the answer holds no platform certificates")
        keys = []
        for entry in entries:
            sealed = entry.get("encrypt_certificate") if isinstance(entry, dict) else None
            if not isinstance(sealed, dict):
                raise PayError("the answer holds an entry that is no certificate")
            key = read_certificate(self._cipher.open(sealed))
            if normal_serial(str(entry.get("serial_no"))) != normal_serial(key.serial):
                raise PayError("a platform certificate has another serial number than the list says")
            refuse_own(key, merchant)
            keys.append(key)
        return keys


def _shown(serial: str) -> str:
    """A stranger's text in our log: short, and of one line."""
    return repr(serial[:80])


def choose_keys(
    public_key: str | bytes | None, public_key_id: str | None, certificates: Certificates | None
) -> KeyProvider:
    """Return the form of keys that the arguments amount to.

    Raises:
        ConfigError: There is no key at all, or half of one.
    """
    if (public_key is None) != (public_key_id is None):
        missing = "public_key_id" if public_key_id is None else "public_key"
        raise ConfigError("public_key and public_key_id belong together", field=missing)
    if public_key is not None and public_key_id is not None:
        newer = PublicKey(public_key, public_key_id)
        return newer if certificates is None else BothKeys(newer, certificates)
    if certificates is None or (type(certificates) is Certificates and not certificates.keys):
        raise ConfigError("there is no key of the platform: pass public_key, or certificates", field="certificates")
    return certificates


def refuse_own(key: PlatformKey, merchant: MerchantKey) -> None:
    """Refuse the merchant's own certificate or public key where one of the platform's belongs: they look alike.

    Raises:
        ConfigError: It is the merchant's own.
    """
    if normal_serial(key.serial) == normal_serial(merchant.serial) or merchant.owns(key.key):
        is_certificate = key.not_before is not None
        raise ConfigError(
            f"this is the merchant's own {'certificate' if is_certificate else 'public key'}; it must be the "
            f"platform's ({'微信支付平台证书' if is_certificate else '微信支付公钥'})",
            field="certificates" if is_certificate else "public_key",
        )


@attrs.frozen
class CertificateAPI:
    """The platform certificates of a client (微信支付平台证书)."""

    _keys: PayKeys = attrs.field(repr=False)

    async def refresh(self) -> tuple[PlatformKey, ...]:
        """Fetch the list now (下载平台证书) and return what is known; twice within a minute fetches once.

        Nobody needs to call this: the client does it by itself.

        Raises:
            ConfigError: This client was not told to fetch certificates.

        Source:
            GET /v3/certificates - 获取平台证书列表
        """
        store = self._store()
        await store.refresh()
        return store.keys

    def list(self) -> tuple[PlatformKey, ...]:
        """Return the certificates known now, those that are not valid too."""
        return self._store().keys

    def _store(self) -> CertificateStore:
        if self._keys.store is None:
            raise ConfigError('this client fetches no certificates; that is certificates="auto"', field="certificates")
        return self._keys.store
