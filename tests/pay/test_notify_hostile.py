"""Notices that WeChat Pay did not send, or not like this: none is accepted, each has its error, and none says why."""

from __future__ import annotations

import base64
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pay import notices
from tests.pay.notices import NEWS, PARTNER, REFUND, SHOP, TRANSACTION, TRANSFER, Notice
from wxmp.errors import (
    MalformedError,
    PayDecryptError,
    PayError,
    PayMismatchError,
    PayProbeError,
    PaySignatureError,
    ReplyError,
    WxmpError,
)
from wxmp.pay.notifications import Notifications
from wxmp.pay.notify_records import NotifyEvent

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = b'{"code":"FAIL","message":"refused"}'
NOW = 1_790_000_000.0


class Watched:
    """A merchant whose handler must not run."""

    def __init__(self, **changes: Any) -> None:
        self.ran = 0
        self.notifications = Notifications(SHOP.keys(**changes))
        self.notifications.on(NotifyEvent)(self.take)

    async def take(self, event: NotifyEvent) -> None:
        self.ran += 1

    async def refuses(self, notice: Notice, error: type[WxmpError], status: int) -> WxmpError:
        """Check that a notice is refused with this error and this status; return the error."""
        with pytest.raises(error) as caught:
            await self.notifications.receive(notice.headers, notice.body)
        assert type(caught.value) is error
        answer = await self.notifications.answer(notice.headers, notice.body)
        assert (answer.status, answer.body) == (status, REFUSED)
        assert self.ran == 0
        return caught.value


@pytest.fixture
def shop() -> Watched:
    return Watched()


def reseal(change: Callable[[bytearray], None]) -> Notice:
    """A signed notice whose cipher text was changed before it was signed."""
    resource = SHOP.seal(json.dumps(TRANSACTION).encode())
    raw = bytearray(base64.b64decode(resource["ciphertext"]))
    change(raw)
    return SHOP.notice(resource={**resource, "ciphertext": base64.b64encode(raw).decode()})


class TestSignature:
    """401, and nothing else is looked at."""

    @pytest.mark.parametrize("name", ["timestamp", "nonce", "signature", "serial"])
    @pytest.mark.parametrize("value", [None, ""])
    async def test_header_is_missing(self, shop: Watched, name: str, value: str | None) -> None:
        """All four headers are there and hold something."""
        error = await shop.refuses(SHOP.notice().changed(**{name: value}), PaySignatureError, 401)
        assert isinstance(error, PaySignatureError)
        assert error.reason == "missing"

    @pytest.mark.parametrize("name", ["Timestamp", "Nonce", "Signature", "Serial", "Signature-Type"])
    @pytest.mark.parametrize("same", [True, False])
    async def test_header_is_doubled(self, shop: Watched, name: str, same: bool) -> None:
        """A header that comes twice is refused, even with the same value: two readers might take another one each."""
        notice = SHOP.notice()
        value = dict(notice.headers)[f"Wechatpay-{name}"] if same else "1"
        doubled = Notice([*notice.headers, (f"wechatpay-{name}".upper(), value)], notice.body)
        error = await shop.refuses(doubled, PaySignatureError, 401)
        assert isinstance(error, PaySignatureError)
        assert error.reason == "doubled"

    async def test_header_is_joined(self, shop: Watched) -> None:
        """So is one that a framework has joined."""
        nonce = SHOP.notice().header("nonce")
        await shop.refuses(SHOP.notice().changed(nonce=f"{nonce}, {nonce}"), PaySignatureError, 401)

    @pytest.mark.parametrize("kind", ["WECHATPAY2-SM2-WITH-SM3", "WECHATPAY2-SHA1-RSA2048", "none", "wechatpay2"])
    async def test_other_signature_type(self, shop: Watched, kind: str) -> None:
        """The message does not choose how it is verified."""
        error = await shop.refuses(SHOP.notice().changed(signature_type=kind), PaySignatureError, 401)
        assert isinstance(error, PaySignatureError)
        assert error.reason == "type"

    async def test_type_may_be_absent(self) -> None:
        """Without the type it is the usual one."""
        notice = SHOP.notice().changed(signature_type=None)
        assert (await SHOP.notifications().receive(notice.headers, notice.body)).mchid == SHOP.mchid

    @pytest.mark.parametrize("age", [-301, -300, 300, 301, 86_400, 1e9])
    async def test_too_old_or_too_new(self, age: float) -> None:
        """At 300 s in either direction it is refused, though the signature is right."""
        shop = Watched(clock=lambda: NOW)
        body = SHOP.notice().body
        error = await shop.refuses(SHOP.sign(body, at=NOW - age), PaySignatureError, 401)
        assert isinstance(error, PaySignatureError)
        assert error.reason == "stale"

    @pytest.mark.parametrize("age", [-299, 0, 299])
    async def test_fresh_enough(self, age: float) -> None:
        """Within the window it is taken."""
        notice = SHOP.sign(SHOP.notice().body, at=NOW - age)
        found = await Notifications(SHOP.keys(clock=lambda: NOW)).receive(notice.headers, notice.body)
        assert found.mchid == SHOP.mchid

    async def test_smaller_window(self) -> None:
        """The window can be made smaller."""
        notice = SHOP.sign(SHOP.notice().body, at=NOW - 20)
        with pytest.raises(PaySignatureError):
            await Notifications(SHOP.keys(clock=lambda: NOW), window=10).receive(notice.headers, notice.body)

    @pytest.mark.parametrize("timestamp", ["now", "-1", "1e9", "١٧٩٠٠٠٠٠٠٠", "0x5", " ", "9" * 13, "1790000000.0"])
    async def test_timestamp_is_no_number(self, timestamp: str) -> None:
        """A timestamp is digits of ASCII."""
        shop = Watched(clock=lambda: NOW)
        await shop.refuses(SHOP.sign(SHOP.notice().body, at=NOW).changed(timestamp=timestamp), PaySignatureError, 401)

    @pytest.mark.parametrize("serial", ["PUB_KEY_ID_1", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", "0", "🔑"])
    async def test_unknown_serial(self, shop: Watched, serial: str) -> None:
        """The only key is not tried for another's serial number, though it would fit."""
        error = await shop.refuses(SHOP.notice().changed(serial=serial), PaySignatureError, 401)
        assert isinstance(error, PaySignatureError)
        assert error.reason == "serial"

    async def test_wrong_key_of_two(self) -> None:
        """A signature of one known key under the serial number of another is refused."""
        serial, pem = notices.certificate("certificate")
        shop = Watched(certificates=[pem])
        await shop.refuses(SHOP.notice().changed(serial=serial), PaySignatureError, 401)
        await shop.refuses(SHOP.sign(SHOP.notice().body, key="certificate"), PaySignatureError, 401)

    async def test_certificate_that_has_run_out(self) -> None:
        """A certificate that is no longer valid signs nothing."""
        serial, pem = notices.certificate("certificate", days=-1)
        shop = Watched(certificates=[pem])
        signed = SHOP.sign(SHOP.notice().body, key="certificate").changed(serial=serial)
        await shop.refuses(signed, PaySignatureError, 401)

    async def test_another_key(self, shop: Watched) -> None:
        """Signed by whoever, under our platform's serial number."""
        await shop.refuses(SHOP.sign(SHOP.notice().body, key="attacker"), PaySignatureError, 401)

    @pytest.mark.parametrize("signature", ["AAAA", "!", "=" * 344, "🔑", "A" * 344])
    async def test_no_signature(self, shop: Watched, signature: str) -> None:
        """What is no base64, too short, or any bytes."""
        await shop.refuses(SHOP.notice().changed(signature=signature), PaySignatureError, 401)

    @pytest.mark.parametrize("serial", [None, "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"])
    async def test_probe(self, shop: Watched, serial: str | None) -> None:
        """A probe has an error of its own, whichever serial number it names."""
        notice = SHOP.notice().changed(signature="WECHATPAY/SIGNTEST/" + "A" * 325)
        error = await shop.refuses(notice.changed(serial=serial) if serial else notice, PayProbeError, 401)
        assert isinstance(error, PaySignatureError)

    async def test_changed_bytes(self, shop: Watched) -> None:
        """Every change of the body, the nonce or the timestamp breaks the signature."""
        notice = SHOP.notice()
        for position in range(0, len(notice.body), 37):
            changed = bytearray(notice.body)
            changed[position] ^= 1
            with pytest.raises(PaySignatureError):
                await shop.notifications.receive(notice.headers, bytes(changed))
        for other in (notice.body + b"\n", notice.body[:-1], b"", b"\n" + notice.body):
            await shop.refuses(Notice(notice.headers, other), PaySignatureError, 401)
        await shop.refuses(notice.changed(nonce=notice.header("nonce")[::-1]), PaySignatureError, 401)
        moved = str(int(notice.header("timestamp")) + 1)
        await shop.refuses(notice.changed(timestamp=moved), PaySignatureError, 401)

    @pytest.mark.parametrize(
        "dump",
        [
            json.dumps,
            lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
            lambda value: json.dumps(value, indent=1, ensure_ascii=False),
            lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False),
        ],
    )
    async def test_body_written_anew(self, shop: Watched, dump: Callable[[Any], str]) -> None:
        """A body that a framework has read and written again is not the body that was signed."""
        notice = SHOP.notice()
        written = dump(json.loads(notice.body)).encode()
        assert written != notice.body
        await shop.refuses(Notice(notice.headers, written), PaySignatureError, 401)

    async def test_border_between_nonce_and_body(self, shop: Watched) -> None:
        """A line feed in the nonce must not let a part of the body pass as nonce: the same text would be signed."""
        inner = SHOP.notice().body
        signed = SHOP.sign(b"rest-of-nonce\n" + inner, nonce="abc")
        moved = Notice(signed.changed(nonce="abc\nrest-of-nonce").headers, inner)
        await shop.refuses(moved, PaySignatureError, 401)

    async def test_another_tenants(self, shop: Watched) -> None:
        """A notice for another merchant, signed by that merchant's key, under either serial number."""
        notice = NEWS.notice({**TRANSACTION, "mchid": SHOP.mchid})
        await shop.refuses(notice, PaySignatureError, 401)
        await shop.refuses(notice.changed(serial=SHOP.public_key_id), PaySignatureError, 401)


class TestContents:
    """Signed by the right key, and refused all the same."""

    async def test_flipped_tag(self, shop: Watched) -> None:
        """The tag protects the cipher text, whoever signed it: 500, because our own key may be the wrong one."""

        def flip(raw: bytearray) -> None:
            raw[-1] ^= 1

        await shop.refuses(reseal(flip), PayDecryptError, 500)

    async def test_wrong_api_v3_key(self, shop: Watched) -> None:
        """So it is with another APIv3 key, and the error tells what to look at."""
        error = await shop.refuses(attrs.evolve(SHOP, api_v3_key="b" * 32).notice(), PayDecryptError, 500)
        assert "APIv3" in str(error)

    @pytest.mark.parametrize("change", [lambda raw: raw.clear(), lambda raw: raw.__delitem__(slice(15, None))])
    async def test_short_ciphertext(self, shop: Watched, change: Callable[[bytearray], None]) -> None:
        """A cipher text shorter than its tag."""
        notice = reseal(change)
        with pytest.raises((PayDecryptError, MalformedError)):
            await shop.notifications.receive(notice.headers, notice.body)
        assert (await shop.notifications.answer(notice.headers, notice.body)).status in (400, 500)

    @pytest.mark.parametrize(
        ("plain", "kind"),
        [
            ({**TRANSACTION, "mchid": NEWS.mchid}, "TRANSACTION.SUCCESS"),
            ({name: value for name, value in TRANSACTION.items() if name != "mchid"}, "TRANSACTION.SUCCESS"),
            ({**TRANSACTION, "mchid": 1900000001}, "TRANSACTION.SUCCESS"),
            ({**TRANSACTION, "mchid": [SHOP.mchid]}, "TRANSACTION.SUCCESS"),
            ({**PARTNER, "sp_mchid": NEWS.mchid, "mchid": SHOP.mchid}, "TRANSACTION.SUCCESS"),
            ({**REFUND, "mchid": NEWS.mchid}, "REFUND.SUCCESS"),
            ({**TRANSFER, "mch_id": NEWS.mchid}, "MCHTRANSFER.BILL.FINISHED"),
            ({"mchid": NEWS.mchid}, "PAYSCORE.USER_PAID"),
            ({"sp_mchid": NEWS.mchid}, "SOMETHING.NEW"),
            ({"mchid": NEWS.mchid, "receiver": {"type": "PERSONAL", "account": SHOP.mchid}}, "PROFITSHARING.SUCCESS"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_another_merchant(self, shop: Watched, plain: dict[str, Any], kind: str) -> None:
        """What was decrypted must be about the merchant whose keys opened it."""
        notice = SHOP.notice(plain, kind)
        with pytest.raises((PayMismatchError, ReplyError)) as caught:
            await shop.notifications.receive(notice.headers, notice.body)
        if isinstance(caught.value, PayMismatchError):
            assert caught.value.field == "mchid"
        assert (await shop.notifications.answer(notice.headers, notice.body)).status in (400, 500)
        assert shop.ran == 0

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": ""},
            {"id": None},
            {"id": 7},
            {"id": "a b"},
            {"id": "x" * 129},
            {"id": "\ud800"},
            {"id": "{tag}\n"},
            {"create_time": "2026-11-21 10:34:56"},
            {"create_time": "yesterday"},
            {"create_time": 1790000000},
            {"create_time": "0001-01-01T00:00:00+14:00"},
            {"event_type": ""},
            {"event_type": "A B"},
            {"event_type": "x" * 129},
            {"event_type": None},
            {"resource_type": "plain"},
            {"resource_type": None},
            {"summary": 3},
            {"resource": None},
            {"resource": []},
            {"resource": "text"},
            {"resource": {}},
        ],
        ids=lambda changes: json.dumps(changes)[:40],
    )
    async def test_envelope(self, shop: Watched, changes: dict[str, Any]) -> None:
        """An envelope that is not as documented is 400."""
        body = json.dumps(SHOP.envelope(TRANSACTION, **changes)).encode()
        await shop.refuses(SHOP.sign(body), MalformedError, 400)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("algorithm", "AEAD_SM4_GCM"),
            ("algorithm", "AEAD_AES_128_GCM"),
            ("algorithm", ""),
            ("algorithm", None),
            ("algorithm", ["AEAD_AES_256_GCM"]),
            ("nonce", "short"),
            ("nonce", "thirteen-char"),
            ("nonce", "zwölfzeichen"),
            ("nonce", None),
            ("ciphertext", ""),
            ("ciphertext", 5),
            ("associated_data", {}),
            ("associated_data", "x" * 300),
            ("associated_data", "\ud800"),
            ("original_type", 5),
        ],
    )
    async def test_resource(self, shop: Watched, name: str, value: object) -> None:
        """So is one whose encryption is not the documented one."""
        resource = {**SHOP.seal(json.dumps(TRANSACTION).encode()), name: value}
        body = json.dumps(SHOP.envelope(TRANSACTION, resource=resource)).encode()
        await shop.refuses(SHOP.sign(body), MalformedError, 400)

    @pytest.mark.parametrize("data", ["refund", "transaction ", ""])
    async def test_other_associated_data(self, shop: Watched, data: str) -> None:
        """The associated data are under the tag too."""
        resource = {**SHOP.seal(json.dumps(TRANSACTION).encode()), "associated_data": data}
        await shop.refuses(SHOP.notice(resource=resource), PayDecryptError, 500)

    NO_JSON = (
        b"",
        b"null",
        b"[]",
        b"<xml/>",
        b'"text"',
        b"{",
        b"{}{}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a":' * 100_000,
        b'{"mchid": "1", "mchid": "2"}',
        b'{"a": {"b": 1, "\\u0062": 2}}',
    )

    @pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:20]))
    async def test_no_json_outside(self, shop: Watched, body: bytes) -> None:
        """A signed body that is no JSON object, too deep, or says a thing twice."""
        await shop.refuses(SHOP.sign(body), MalformedError, 400)

    @pytest.mark.parametrize("plain", NO_JSON, ids=lambda body: repr(body[:20]))
    async def test_no_json_inside(self, shop: Watched, plain: bytes) -> None:
        """The same within the encryption."""
        await shop.refuses(SHOP.notice(plain), MalformedError, 400)

    @pytest.mark.parametrize("name", ["id", "resource", "event_type"])
    async def test_doubled_name(self, shop: Watched, name: str) -> None:
        """A doubled name of the envelope: two readers could each see another value."""
        notice = SHOP.notice()
        value = json.dumps(json.loads(notice.body)[name])
        await shop.refuses(SHOP.sign(notice.body[:-1] + f', "{name}": {value}}}'.encode()), MalformedError, 400)

    @pytest.mark.parametrize(
        "changes",
        [
            {"amount": {"total": "much"}},
            {"amount": []},
            {"amount": {"total": 1.5}},
            {"success_time": "yesterday"},
            {"payer": "alice"},
            {"promotion_detail": {}},
            {"out_trade_no": {}},
        ],
        ids=str,
    )
    async def test_other_shape(self, shop: Watched, changes: dict[str, Any]) -> None:
        """A payment that cannot be read is not half a payment: 500, it comes again after an update."""
        await shop.refuses(SHOP.notice({**TRANSACTION, **changes}), ReplyError, 500)

    async def test_too_large(self) -> None:
        """A body over the limit is refused before anything is computed."""
        shop = SHOP.notifications(max_body=1000)
        notice = SHOP.notice({**TRANSACTION, "attach": "x" * 1000})
        with pytest.raises(MalformedError, match="larger"):
            await shop.receive(notice.headers, notice.body)
        assert (await shop.answer(notice.headers, notice.body)).status == 400

    async def test_text_instead_of_bytes(self, shop: Watched) -> None:
        """A body that was decoded already is a mistake of the program."""
        notice = SHOP.notice()
        answer = await shop.notifications.answer(notice.headers, notice.body.decode())  # type: ignore[arg-type]
        assert answer.status == 500
        assert shop.ran == 0


# ---- everything else

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=10), children, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        *("id", "create_time", "event_type", "resource_type", "summary", "resource", "resource.nonce"),
        *("resource.algorithm", "resource.ciphertext", "resource.associated_data", "resource.original_type"),
    ]
)
KINDS = ["TRANSACTION.SUCCESS", "REFUND.SUCCESS", "MCHTRANSFER.BILL.FINISHED", "COUPON.USE", "NEW.KIND"]
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def judge(notice: Notice) -> NotifyEvent | None:
    """Let a notice be judged both ways; only typed errors, and the two ways agree."""
    shop = Watched()
    try:
        event: NotifyEvent | None = await shop.notifications.receive(notice.headers, notice.body)
    except (PayError, MalformedError, ReplyError):
        event = None
    answer = await shop.notifications.answer(notice.headers, notice.body)
    assert answer.status in ({204} if event else {400, 401, 500})
    assert shop.ran == (1 if event else 0)
    return event


@FUZZ
@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(["Wechatpay-Timestamp", "Wechatpay-Nonce", "Wechatpay-Signature", "Wechatpay-Serial", "X"]),
            st.text(max_size=40) | st.just(SHOP.public_key_id) | st.builds(lambda: str(int(time.time()))),
        ),
        max_size=6,
    ),
    body=st.binary(max_size=200) | st.builds(lambda value: json.dumps(value).encode(), JSON),
)
async def test_fuzz_unsigned(headers: list[tuple[str, str]], body: bytes) -> None:
    """Whatever comes without a signature is refused with a signature error."""
    with pytest.raises(PaySignatureError):
        await SHOP.notifications().receive(headers, body)
    assert await judge(Notice(headers, body)) is None


@FUZZ
@given(field=FIELDS, value=JSON)
async def test_fuzz_envelope(field: str, value: Any) -> None:
    """An envelope with anything in one of its fields: accepted only where the field means nothing for money."""
    envelope = SHOP.envelope(TRANSACTION)
    holder = envelope["resource"] if field.startswith("resource.") else envelope
    name = field.rpartition(".")[2]
    before = holder[name]
    holder[name] = value
    event = await judge(SHOP.sign(json.dumps(envelope).encode()))
    if event is not None and value != before:
        assert field in ("id", "event_type", "summary", "resource.original_type")
        assert isinstance(value, str) or (value is None and field in ("summary", "resource.original_type"))


@FUZZ
@given(body=st.binary(max_size=300) | st.builds(lambda value: json.dumps(value).encode(), JSON))
async def test_fuzz_signed_bodies(body: bytes) -> None:
    """Any bytes with a right signature: never accepted, never an untyped error."""
    assert await judge(SHOP.sign(body)) is None


@FUZZ
@given(plain=st.dictionaries(st.sampled_from([*TRANSACTION, *REFUND, *TRANSFER]), JSON), kind=st.sampled_from(KINDS))
async def test_fuzz_plain_text(plain: dict[str, Any], kind: str) -> None:
    """Any contents under a right key: accepted only if they are about this merchant, or of an open kind."""
    event = await judge(SHOP.notice(json.dumps(plain).encode(), kind))
    if event is not None and kind in KINDS[:3]:
        assert SHOP.mchid in (plain.get("mchid"), plain.get("mch_id"))


@FUZZ
@given(data=st.data())
async def test_fuzz_flipped_bits(data: st.DataObject) -> None:
    """One bit of a genuine request is flipped, in the body or in a signed header: never accepted."""
    notice = SHOP.notice()
    part = data.draw(st.sampled_from(["body", "timestamp", "nonce", "serial"]))
    raw = bytearray(notice.body if part == "body" else notice.header(part).encode())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 6))
    if part == "body":
        assert await judge(Notice(notice.headers, bytes(raw))) is None
    else:
        assert await judge(notice.changed(**{part: raw.decode("latin-1")})) is None


def test_kinds_are_sixteen() -> None:
    """The documents name sixteen kinds; this is a reminder for the day when there are more."""
    from wxmp.pay.notify_records import _KINDS

    older_spellings = {"PROFITSHARING", "PROFITSHARING_RETURN"}
    assert len(set(_KINDS) - older_spellings) == 16
    assert len(set(itertools.chain(_KINDS.values()))) == 16
