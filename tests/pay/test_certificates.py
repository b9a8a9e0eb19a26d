"""Platform certificates: fetched when needed, rotated in the background, and never asked for too often."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.pay.conftest import pay_settings
from wxmp.errors import ConfigError, PayAPIError, PayDecryptError, PayError, PaySignatureError, TransportError
from wxmp.pay import PayClient, PayEndpoint, PayEvent, PayKeys
from wxmp.pay._certificates import INTERVAL, MIN_GAP, CertificateStore
from wxmp.pay._keys import PlatformKey, normal_serial, read_certificate
from wxmp.simulator.pay import keys as simulated
from wxmp.simulator.pay import ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from wxmp import Event
    from wxmp.simulator import Simulator
    from wxmp.simulator.pay.records import Merchant

pytestmark = pytest.mark.timeout(60)

PATH = "/v3/certificates"
QUERY = PayEndpoint("GET", "/v3/pay/transactions/out-trade-no/{out_trade_no}", repeat="yes")
NOW = datetime(2026, 6, 1, tzinfo=UTC)


# ---- the store alone, by a clock of its own


class Platform:
    """What the platform would answer, and how often it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fetches = 0
        self.answer: Callable[[], Sequence[PlatformKey]] = lambda: [made(1)]
        self.gate: asyncio.Event | None = None
        self.reports: list[tuple[str, int | None, str]] = []

    async def fetch(self) -> Sequence[PlatformKey]:
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        return self.answer()

    def store(self, *, optional: bool = False) -> CertificateStore:
        return CertificateStore(
            self.fetch,
            report=lambda *told: self.reports.append(told),
            clock=lambda: self.now,
            optional=optional,
        )

    def fail(self, error: Exception) -> None:
        def answer() -> Sequence[PlatformKey]:
            raise error

        self.answer = answer


def made(serial: int, start: datetime = NOW - timedelta(days=1), days: float = 1825) -> PlatformKey:
    key = simulated.private_key("b").public_key()
    return PlatformKey(f"{serial:X}", key, start, start + timedelta(days=days))


@pytest.fixture
def platform() -> Platform:
    return Platform()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_call_fetches(platform: Platform) -> None:
    """Without a certificate the first caller waits for the list; afterwards nobody does."""
    store = platform.store()
    for _ in range(100):
        await store.ready(NOW)
    assert platform.fetches == 1
    assert store.find("1", NOW) is not None
    assert platform.reports == [("certificates_fetched", 1, "")]


async def test_many_first_calls_are_one_fetch(platform: Platform) -> None:
    """A hundred callers on a cold store ask once."""
    store = platform.store()
    await asyncio.gather(*(store.ready(NOW) for _ in range(100)))
    assert platform.fetches == 1


async def test_a_cancelled_waiter_does_not_end_the_fetch(platform: Platform) -> None:
    """The others still get the answer."""
    platform.gate = asyncio.Event()
    store = platform.store()
    first, second = (asyncio.create_task(store.ready(NOW)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    platform.gate.set()
    await second
    assert first.cancelled()
    assert platform.fetches == 1


async def test_every_twelve_hours_in_the_background(platform: Platform) -> None:
    """A call that finds the list old goes on with the old one; it does not wait."""
    store = platform.store()
    await store.ready(NOW)
    platform.now += INTERVAL - 1
    await store.ready(NOW)
    await settle()
    assert platform.fetches == 1
    platform.now += 2
    platform.gate = asyncio.Event()
    platform.answer = lambda: [made(2)]
    for _ in range(10):
        await store.ready(NOW)
        await settle()
    assert platform.fetches == 2
    assert store.find("1", NOW) is not None
    platform.gate.set()
    await settle()
    assert (store.find("1", NOW), store.find("2", NOW) is None) == (None, False)


async def test_an_unknown_serial_refreshes_once_a_minute(platform: Platform) -> None:
    """Whoever makes up serial numbers cannot make us ask the platform."""
    store = platform.store()
    await store.ready(NOW)
    assert not await store.refresh()
    platform.now += MIN_GAP
    assert await store.refresh()
    assert [await store.refresh() for _ in range(50)] == [False] * 50
    assert platform.fetches == 2


async def test_a_failed_refresh_is_not_fatal(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    """While a valid certificate is known, a failure is a line in the log and an event."""
    store = platform.store()
    await store.ready(NOW)
    platform.now += INTERVAL + 1
    platform.fail(TransportError("no way"))
    with caplog.at_level(logging.WARNING, "wxmp.pay"):
        await store.ready(NOW)
        await settle()
    await store.ready(NOW)
    assert store.find("1", NOW) is not None
    assert platform.reports[-1] == ("certificates_failed", None, "TransportError")
    assert "next try in 5 s" in caplog.text


async def test_failures_are_spaced(platform: Platform) -> None:
    """The pause doubles, and callers meanwhile hear the reason at once."""
    store = platform.store()
    platform.fail(TransportError("no way", maybe_acted=False))
    seen = []
    for _ in range(100):
        with pytest.raises(TransportError, match="no way"):
            await store.ready(NOW)
        if len(seen) < platform.fetches:
            seen.append(platform.now)
        platform.now += 1.0
    assert seen == [0.0, 5.0, 15.0, 35.0, 75.0]


async def test_each_waiter_gets_its_own_error(platform: Platform) -> None:
    """Tasks that wait for one fetch do not share one traceback."""
    store = platform.store()
    platform.fail(PayDecryptError("wrong key"))
    caught = await asyncio.gather(*(store.ready(NOW) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in caught] == ["wrong key"] * 3
    assert len({id(error) for error in caught}) == 3


async def test_no_certificates_is_remembered(platform: Platform) -> None:
    """404 RESOURCE_NOT_EXISTS is final: nobody polls, and the error says what to do."""
    store = platform.store()
    platform.fail(PayAPIError(code="RESOURCE_NOT_EXISTS", status=404))
    for _ in range(5):
        with pytest.raises(PayAPIError) as caught:
            await store.ready(NOW)
        platform.now += 10 * INTERVAL
    assert platform.fetches == 1
    assert "public_key" in caught.value.advice
    assert store.absent


async def test_beside_a_public_key_nobody_waits(platform: Platform) -> None:
    """With a public key the list is fetched in the background, and its absence is no failure."""
    store = platform.store(optional=True)
    platform.gate = asyncio.Event()
    platform.fail(PayAPIError(code="RESOURCE_NOT_EXISTS", status=404))
    await store.ready(NOW)
    await settle()
    assert platform.fetches == 1
    platform.gate.set()
    await settle()
    for _ in range(5):
        platform.now += INTERVAL + 1
        await store.ready(NOW)
        await settle()
    assert platform.fetches == 1


async def test_expired_certificates_are_fetched_again(platform: Platform) -> None:
    """When the last one has run out, the next call waits for a new one."""
    platform.answer = lambda: [made(1, days=2)]
    store = platform.store()
    await store.ready(NOW)
    platform.answer = lambda: [made(2)]
    platform.now += 2 * 86400
    await store.ready(NOW + timedelta(days=2))
    assert store.find("2", NOW + timedelta(days=2)) is not None
    assert platform.fetches == 2


async def test_only_expired_ones_are_an_error(platform: Platform) -> None:
    """A list without a valid certificate asks about the clock."""
    platform.answer = lambda: [made(1, start=NOW + timedelta(days=9))]
    with pytest.raises(PayError, match="clock"):
        await platform.store().ready(NOW)


async def test_closing_breaks_off_a_fetch(platform: Platform) -> None:
    """A client that is closed leaves no task behind."""
    platform.gate = asyncio.Event()
    store = platform.store()
    waiting = asyncio.create_task(store.ready(NOW))
    await settle()
    await store.aclose()
    await store.aclose()
    with pytest.raises(PayError):
        await waiting
    assert [task for task in asyncio.all_tasks() if "certificates" in task.get_name()] == []


async def test_a_mistake_in_somebodys_client_is_told(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    """What is not ours goes into the log with its traceback, and the caller hears of it."""
    platform.fail(RuntimeError("oops"))
    with pytest.raises(PayError, match="RuntimeError"):
        await platform.store().ready(NOW)
    assert "oops" in caplog.text


# ---- with the simulator


@pytest.fixture
def older(pay_sim: Simulator) -> Merchant:
    """A merchant with platform certificates only."""
    return ledger.add_merchant(pay_sim.world, scheme="certificate")


@pytest.fixture
async def client(pay_sim: Simulator, older: Merchant) -> AsyncIterator[PayClient]:
    async with PayClient(**pay_settings(pay_sim, older)) as made_client:
        yield made_client


async def ask(client: PayClient) -> str:
    """Make a call whose answer is a signed success: the order does not matter, the signature does."""
    reply = await client.request(
        "POST",
        "/v3/pay/transactions/native",
        json={
            "appid": client.appid,
            "mchid": client.mchid,
            "description": "茶",
            "out_trade_no": "A123456",
            "notify_url": client.notify_url,
            "amount": {"total": 1},
        },
        repeatable=True,
    )
    return str(reply["code_url"])


async def test_certificates_by_themselves(pay_sim: Simulator, client: PayClient, older: Merchant) -> None:
    """The first call fetches the list, verifies it with what it holds, and every later call uses it."""
    for _ in range(3):
        await ask(client)
    assert pay_sim.calls(PATH) == 1
    assert [key.serial for key in client.certificate.list()] == [older.certificates[0].serial]
    assert client.gateway.encryption_serial == older.certificates[0].serial


async def test_a_rotation_is_noticed(pay_sim: Simulator, client: PayClient, older: Merchant) -> None:
    """An answer signed with a new certificate is fetched for, once, and believed."""
    await ask(client)
    fresh = ledger.rotate_certificate(pay_sim.world, older)
    assert client.keys.store is not None
    client.keys.store._not_before = 0.0
    body = b'{"id":"1"}'
    from wxmp.simulator.pay import signing

    headers = dict(signing.platform_headers(pay_sim.world, fresh.serial, fresh.key, body))
    assert normal_serial(await client.keys.verify(headers, body)) == normal_serial(fresh.serial)
    assert pay_sim.calls(PATH) == 2
    assert len(client.certificate.list()) == 2
    with pytest.raises(PaySignatureError) as caught:
        await client.keys.verify(headers | {"Wechatpay-Serial": "5AB"}, body)
    assert caught.value.reason == "serial"
    assert pay_sim.calls(PATH) == 2


async def test_a_wrong_api_v3_key_is_named_at_the_first_call(pay_sim: Simulator, older: Merchant) -> None:
    """The list does not open: nothing else was sent, and the error names the key."""
    async with PayClient(**pay_settings(pay_sim, older, api_v3_key="x" * 32)) as client:
        with pytest.raises(PayDecryptError, match="APIv3 key"):
            await ask(client)
    assert pay_sim.calls("/v3/pay/transactions/native") == 0


async def test_a_merchant_without_certificates(pay_sim: Simulator) -> None:
    """Who has the public key only and does not pass it is told to."""
    newer = ledger.add_merchant(pay_sim.world, scheme="public_key")
    settings = pay_settings(pay_sim, newer, public_key=None, public_key_id=None)
    async with PayClient(**settings) as client:
        for _ in range(3):
            with pytest.raises(PayAPIError, match="public_key_id"):
                await ask(client)
    assert pay_sim.calls(PATH) == 1


async def test_both_schemes(pay_sim: Simulator, merchant: Merchant) -> None:
    """On the way to the public key, answers name it, and notices signed by a certificate are believed as well."""
    from wxmp.simulator.pay import signing

    seen: list[Event] = []
    async with PayClient(**pay_settings(pay_sim, merchant, certificates="auto", on_event=seen.append)) as client:
        await ask(client)
        assert client.gateway.encryption_serial == merchant.public_key_id
        old = merchant.certificates[0]
        headers = dict(signing.platform_headers(pay_sim.world, old.serial, old.key, b"{}"))
        assert await client.keys.verify(headers, b"{}") == old.serial
    assert pay_sim.calls(PATH) == 1
    told = [(event.name, event.count) for event in seen if isinstance(event, PayEvent)]
    assert told == [("certificates_fetched", 1)]


async def test_given_certificates_are_not_fetched(pay_sim: Simulator, older: Merchant) -> None:
    """Certificates from a file serve as they are."""
    texts = list(older.platform_certificates.values())
    async with PayClient(**pay_settings(pay_sim, older, certificates=texts)) as client:
        await ask(client)
        with pytest.raises(ConfigError, match="auto"):
            client.certificate.list()
    assert pay_sim.calls(PATH) == 0


@pytest.mark.parametrize("field", ["certificates", "public_key", "serial"])
async def test_the_merchants_own_certificate_is_refused(pay_sim: Simulator, merchant: Merchant, field: str) -> None:
    """The two look alike: the merchant's own certificate or key in the place of the platform's is found at once."""
    own_public = simulated.public_pem(merchant.key_label)
    changes: dict[str, Any] = {"certificates": [merchant.certificate]}
    if field == "public_key":
        changes = {"public_key": own_public}
    elif field == "serial":  # a platform certificate whose serial number was taken for the merchant's
        platform = next(iter(merchant.platform_certificates.values()))
        changes = {"certificates": [platform], "serial": read_certificate(platform).serial}
    with pytest.raises(ConfigError, match="merchant's own") as caught:
        PayClient(**pay_settings(pay_sim, merchant, **changes))
    assert caught.value.field == ("public_key" if field == "public_key" else "certificates")


async def test_a_list_with_a_foreign_entry_is_refused(older: Merchant) -> None:
    """A certificate under another serial number, or the merchant's own, makes the whole list unusable."""
    from wxmp.pay._keys import MerchantKey
    from wxmp.simulator.world import World

    keys = PayKeys(
        mchid=older.mchid, api_v3_key=older.api_v3_key, certificates=list(older.platform_certificates.values())
    )
    merchant = MerchantKey(simulated.private_key(older.key_label), older.serial)
    from wxmp.simulator.pay import signing

    def entry(serial: str, pem: str) -> dict[str, Any]:
        sealed = signing.seal_resource(World(), older.api_v3_key, pem.encode(), "certificate")
        return {"serial_no": serial, "encrypt_certificate": sealed}

    (serial, pem), *_ = older.platform_certificates.items()
    assert len(keys.read_list({"data": [entry(serial, pem)]}, merchant)) == 1
    for payload in (
        {"data": [entry("5AB", pem)]},
        {"data": [entry(older.serial, older.certificate)]},
        {"data": [{"serial_no": serial}]},
        {"data": ["x"]},
        {"data": []},
        {},
    ):
        with pytest.raises((PayError, ConfigError)):
            keys.read_list(payload, merchant)
