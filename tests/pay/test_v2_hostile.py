"""The older interface against people who mean harm: forged signs, crafted XML, and texts of any kind."""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import cache
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.moments import little_work
from tests.pay.test_v2 import ENVELOPE, KEY, signed
from wxmp._redact import Secret
from wxmp.errors import (
    ConfigError,
    MalformedError,
    PayDecryptError,
    PayError,
    PayMismatchError,
    PaySignatureError,
    WebhookError,
)
from wxmp.pay import _v2_sign
from wxmp.pay._v2_sign import check_sign, open_refund, read_message, sign, write_message
from wxmp.pay.v2 import NOTICE_ACCEPTED, NOTICE_REFUSED, PayV2APIError, PayV2Client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wxmp.pay.v2 import SignType

SECRET = Secret(KEY)
PAYMENT = {
    **ENVELOPE,
    "out_trade_no": "n1",
    "transaction_id": "t1",
    "total_fee": "100",
    "openid": "o1",
    "time_end": "20260301120000",
}

#: What XML can carry unchanged.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\t\n"), max_size=80)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True).filter(lambda name: name not in ("sign", "sign_type"))
FIELDS = st.dictionaries(NAMES, TEXT.filter(lambda text: text != ""), min_size=1, max_size=8)
#: On a machine that has other things to do, no example is late.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIGN_TYPES = st.sampled_from(["HMAC-SHA256", "MD5"])


@cache
def client(sign_type: SignType = "HMAC-SHA256") -> PayV2Client:
    """Return a client that reads notices."""
    return PayV2Client(mchid="1900000109", api_v2_key=KEY, appid="wx1", sign_type=sign_type)


def seal(plain: bytes, key: str = KEY) -> str:
    """Encipher a refund notice, from the documents alone."""
    digits = hashlib.md5(key.encode()).hexdigest().encode()
    pad = 16 - len(plain) % 16
    worker = Cipher(algorithms.AES(digits), modes.ECB()).encryptor()
    return base64.b64encode(worker.update(plain + bytes([pad]) * pad) + worker.finalize()).decode()


REFUND_FIELDS = {
    "transaction_id": "t1",
    "out_trade_no": "n1",
    "refund_id": "i1",
    "out_refund_no": "r1",
    "total_fee": "100",
    "refund_fee": "40",
    "refund_status": "SUCCESS",
    "success_time": "2026-03-01 12:00:00",
}


def refund_notice(plain: bytes | None = None, **changes: str) -> bytes:
    """Return the notice of a refund."""
    if plain is None:
        inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in REFUND_FIELDS.items())
        plain = f"<root>{inner}</root>".encode()
    fields = {"return_code": "SUCCESS", "appid": "wx1", "mch_id": "1900000109", "nonce_str": "n"}
    fields |= {"req_info": seal(plain)} | changes
    return ("<xml>" + "".join(f"<{k}><![CDATA[{v}]]></{k}>" for k, v in fields.items()) + "</xml>").encode()


class TestSign:
    """The sign itself."""

    def test_known_answers(self) -> None:
        """The example of the documents, with both ways to sign."""
        fields = {
            "appid": "wxd930ea5d5a258f4f",
            "mch_id": "10000100",
            "device_info": "1000",
            "body": "test",
            "nonce_str": "ibuaiVcKdpRxkhJA",
        }
        key = Secret("192006250b4c09247ec02edce69f6a2d")
        assert sign(fields, key, "MD5") == "9A0A8659F005D6984697E2CA0A9CF3B7"
        assert sign(fields, key, "HMAC-SHA256") == "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"

    def test_empty_values_are_left_out(self) -> None:
        """Empty values and the sign take no part; "0" is not empty."""
        base = sign({"a": "1", "z": "0"}, SECRET, "MD5")
        assert sign({"z": "0", "b": "", "sign": "x", "a": "1"}, SECRET, "MD5") == base
        assert sign({"a": "1"}, SECRET, "MD5") != base

    def test_names_are_sorted_by_their_bytes(self) -> None:
        """Capitals come before small letters, and digits before both."""
        text = f"A=1&a=2&a1=3&b=4&key={KEY}"
        assert sign({"b": "4", "a1": "3", "a": "2", "A": "1"}, SECRET, "MD5") == (
            hashlib.md5(text.encode()).hexdigest().upper()
        )

    @PATIENT
    @given(FIELDS, SIGN_TYPES)
    def test_round_trip(self, fields: dict[str, str], sign_type: SignType) -> None:
        """Whatever a message says, it is read as it was written, and its sign fits."""
        whole = {**fields, "sign": sign(fields, SECRET, sign_type)}
        found = read_message(write_message(whole))
        assert found == whole
        check_sign(found, SECRET, sign_type)

    @PATIENT
    @given(FIELDS, SIGN_TYPES, st.data())
    def test_any_change_is_noticed(self, fields: dict[str, str], sign_type: SignType, data: st.DataObject) -> None:
        """A value changed, a field added, a field taken away: the sign fits no more."""
        good = {**fields, "sign": sign(fields, SECRET, sign_type)}
        name = data.draw(st.sampled_from(sorted(fields)))
        change = data.draw(st.sampled_from(["change", "drop", "add"]))
        bad = dict(good)
        if change == "change":
            bad[name] = data.draw(TEXT.filter(lambda text: text != fields[name]))
        elif change == "drop":
            del bad[name]
        else:
            bad[f"{name}_x" if f"{name}_x" not in bad else f"{name}_x_y_z"] = "1"
        if {k: v for k, v in bad.items() if v} != good:
            with pytest.raises(PaySignatureError):
                check_sign(bad, SECRET, sign_type)

    @PATIENT
    @given(st.text(max_size=70))
    def test_any_sign_is_refused(self, text: str) -> None:
        """No text but the right one passes, whatever its length and alphabet."""
        right = sign(PAYMENT, SECRET, "MD5")
        if text.upper() != right:
            with pytest.raises(PaySignatureError):
                check_sign({**PAYMENT, "sign": text}, SECRET, "MD5")

    def test_small_letters(self) -> None:
        """A sign in small letters is the same sign."""
        check_sign({**PAYMENT, "sign": sign(PAYMENT, SECRET, "MD5").lower()}, SECRET, "MD5")

    def test_comparison_takes_constant_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The comparison is the one of the standard library that tells nothing by its time."""
        seen: list[tuple[bytes, bytes]] = []

        def compare(one: bytes, two: bytes) -> bool:
            seen.append((one, two))
            return False

        monkeypatch.setattr(_v2_sign.hmac, "compare_digest", compare)
        good = sign(PAYMENT, SECRET, "MD5")
        with pytest.raises(PaySignatureError):
            check_sign({**PAYMENT, "sign": good}, SECRET, "MD5")
        assert seen == [(good.encode(), good.encode())]


class TestDowngrade:
    """A message does not choose how it is signed."""

    @pytest.mark.parametrize("named", ["", "MD5", "HMAC-SHA256"])
    def test_md5_message_to_an_hmac_account(self, named: str) -> None:
        """A message with a right MD5 sign is refused where HMAC-SHA256 is configured, whatever it calls itself."""
        body = signed({**PAYMENT, "sign_type": named})
        with pytest.raises(PaySignatureError):
            client("HMAC-SHA256").parse_payment(body)

    @pytest.mark.parametrize("named", ["MD5", "hmac-sha256", "NONE"])
    def test_other_name_under_a_right_sign(self, named: str) -> None:
        """A right sign over another name is refused too."""
        with pytest.raises(PaySignatureError) as caught:
            client("HMAC-SHA256").parse_payment(signed({**PAYMENT, "sign_type": named}, sign_type="HMAC-SHA256"))
        assert caught.value.reason == "type"

    @pytest.mark.parametrize("named", ["", "HMAC-SHA256"])
    def test_configured_type(self, named: str) -> None:
        """The configured one passes, named or not."""
        notice = client("HMAC-SHA256").parse_payment(signed({**PAYMENT, "sign_type": named}, sign_type="HMAC-SHA256"))
        assert notice.out_trade_no == "n1"

    @pytest.mark.parametrize("sign_type", ["HMAC-SHA256", "MD5"])
    @pytest.mark.parametrize("given_sign", [None, "", " ", "<![CDATA[]]>"])
    def test_no_sign(self, sign_type: SignType, given_sign: str | None) -> None:
        """A message without a sign, or with an empty one, is refused."""
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in PAYMENT.items())
        tail = "" if given_sign is None else f"<sign>{given_sign}</sign>"
        with pytest.raises(PaySignatureError) as caught:
            client(sign_type).parse_payment(f"<xml>{inner}{tail}</xml>".encode())
        assert caught.value.reason == "missing"

    def test_failure_without_a_sign(self) -> None:
        """An unsigned FAIL is no notice: anybody could have sent it."""
        with pytest.raises(PaySignatureError):
            client().parse_payment(b"<xml><return_code>FAIL</return_code></xml>")

    def test_signed_failure_is_no_payment(self) -> None:
        """A genuine notice whose result_code is FAIL is never read as a payment."""
        fields = {**PAYMENT, "result_code": "FAIL", "err_code": "SYSTEMERROR"}
        with pytest.raises(PayV2APIError) as caught:
            client("MD5").parse_payment(signed(fields))
        assert caught.value.code == "SYSTEM_ERROR"

    def test_signed_state_is_believed(self) -> None:
        """A notice that names another state than success is not taken for a payment."""
        notice = client("MD5").parse_payment(signed({**PAYMENT, "trade_state": "PAYERROR"}))
        assert not notice.paid

    @pytest.mark.parametrize(("name", "field"), [("mch_id", "mchid"), ("appid", "appid")])
    def test_other_merchant(self, name: str, field: str) -> None:
        """A notice that is well signed but names another merchant or AppID is refused."""
        with pytest.raises(PayMismatchError) as caught:
            client("MD5").parse_payment(signed({**PAYMENT, name: "other"}))
        assert caught.value.field == field

    def test_other_appid_on_demand(self) -> None:
        """An order of another AppID of the merchant's is read when that is asked for."""
        body = signed({**PAYMENT, "appid": "wx2"})
        assert client("MD5").parse_payment(body, appid="wx2").appid == "wx2"

    @pytest.mark.parametrize("name", ["out_trade_no", "transaction_id", "total_fee"])
    def test_incomplete(self, name: str) -> None:
        """A notice without a number or an amount is none."""
        with pytest.raises(MalformedError):
            client("MD5").parse_payment(signed({**PAYMENT, name: ""}))

    @pytest.mark.parametrize("change", [{"total_fee": "1.5"}, {"total_fee": "-1"}, {"time_end": "yesterday"}])
    def test_unreadable(self, change: Mapping[str, str]) -> None:
        """A value that is none of its kind makes the notice unusable; the error does not repeat it."""
        with pytest.raises(MalformedError) as caught:
            client("MD5").parse_payment(signed({**PAYMENT, **change}))
        assert next(iter(change.values())) not in str(caught.value)


GOOD = signed(PAYMENT)
LAUGHS = b'<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]>'


class TestXML:
    """The body is read before anybody knows who sent it."""

    @pytest.mark.parametrize(
        "body",
        [
            b'<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + GOOD.replace(b"n1", b"&x;"),
            b'<!DOCTYPE xml SYSTEM "http://127.0.0.1:9/evil.dtd">' + GOOD,
            b"<!DOCTYPE xml>" + GOOD,
            LAUGHS + b"<xml><attach>&lol2;</attach></xml>",
            b'<?xml version="1.0" encoding="utf-16"?>' + GOOD,
            GOOD.decode().encode("utf-16"),
            GOOD.replace(b"<xml>", b"<xml><attach>&undefined;</attach>"),
            GOOD.replace(b"</xml>", b"<total_fee>1</total_fee></xml>"),
            GOOD.replace(b"</xml>", b"<total_fee><![CDATA[100]]></total_fee></xml>"),
            GOOD.replace(b"</xml>", b"<sign>x</sign></xml>"),
            GOOD.replace(b"</xml>", b"<a><total_fee>1</total_fee></a></xml>"),
            GOOD + GOOD,
            GOOD + b"<!-- -->x",
            GOOD[:-1],
            GOOD.replace(b"xml>", b"root>"),
            b"<a>" * 100_000,
            b"<xml>" + b"<a>" * 10_000 + b"</a>" * 10_000 + b"</xml>",
            b"<xml>" + b"".join(b"<a%d>1</a%d>" % (n, n) for n in range(10_000)) + b"</xml>",
            b"<xml><attach>" + b"x" * 100_000 + b"</attach></xml>",
            b"<xml><attach " + b"".join(b"a%d='1' " % n for n in range(10_000)) + b"/></xml>",
            b"",
            b"\x00",
            b"{}",
            b"\xff\xfe",
        ],
        ids=range(24),
    )
    def test_crafted_bodies(self, body: bytes) -> None:
        """A DOCTYPE, entities, a doubled or nested element, another encoding, depth, width: refused at once."""
        for parse in (client("MD5").parse_payment, client("MD5").parse_refund):
            with little_work(1.0), pytest.raises(MalformedError):
                parse(body)

    def test_huge(self) -> None:
        """More than a megabyte is refused before it is looked at."""
        with pytest.raises(MalformedError) as caught:
            client().parse_payment(b"<xml><a>" + b"x" * (1 << 20) + b"</a></xml>")
        assert caught.value.status == 413

    @PATIENT
    @given(st.binary(max_size=300))
    def test_any_bytes(self, body: bytes) -> None:
        """Whatever arrives, the answer is one of our refusals."""
        for parse in (client().parse_payment, client().parse_refund):
            with pytest.raises((PayError, WebhookError)):
                parse(body)

    def test_text_is_refused(self) -> None:
        """A body that was decoded by somebody is not the body that was received."""
        with pytest.raises(ConfigError):
            client().parse_payment(GOOD.decode())  # type: ignore[arg-type]

    @PATIENT
    @given(st.text(st.sampled_from("]><![CDATA&;x"), max_size=60))
    def test_brackets_stay_in_their_field(self, text: str) -> None:
        """No text ends its CDATA section: it is read back whole, and nothing stands beside it."""
        assert read_message(write_message({"attach": text, "z": "1"})) == {"attach": text, "z": "1"}

    @PATIENT
    @given(st.text(max_size=60))
    def test_any_text_is_written_or_refused(self, text: str) -> None:
        """A text is carried unchanged, or refused before anything is sent."""
        try:
            body = write_message({"attach": text})
        except ConfigError:
            return
        assert read_message(body) == {"attach": text}

    @pytest.mark.parametrize("name", ["", "a b", "a>", "1a", "a" * 65, "ä", "a=b"])
    def test_names_are_names(self, name: str) -> None:
        """A field's name cannot write XML."""
        with pytest.raises(ConfigError):
            write_message({name: "1"})


class TestRefundNotice:
    """Nothing signs it."""

    def test_good(self) -> None:
        """A notice that opens tells of the refund."""
        notice = client().parse_refund(refund_notice())
        assert (notice.out_refund_no, notice.refund_fen, notice.total_fen) == ("r1", 40, 100)

    def test_leading_zeros_of_the_key(self) -> None:
        """A key whose MD5 begins with zeros works: the digits are text, not a number."""
        key = next(
            f"{number:032d}" for number in range(10_000) if hashlib.md5(f"{number:032d}".encode()).hexdigest()[0] == "0"
        )
        assert open_refund(seal(b"<root><a>1</a></root>", key), Secret(key)) == {"a": "1"}

    @pytest.mark.parametrize(
        "req_info",
        [seal(b"<root></root>", "x" * 32), "A", "!!!!", "AAAA", base64.b64encode(bytes(16)).decode(), "äää="],
    )
    def test_does_not_open(self, req_info: str) -> None:
        """Another key, no base64, half a block: one refusal for all."""
        with pytest.raises(PayDecryptError) as caught:
            client().parse_refund(refund_notice(req_info=req_info))
        assert str(caught.value) == "req_info does not open: another APIv2 key, or a damaged notice"

    @pytest.mark.parametrize(
        "plain",
        [
            b'<!DOCTYPE root [<!ENTITY x "1">]><root><a>&x;</a></root>',
            b"<root><refund_fee>1</refund_fee><refund_fee>2</refund_fee></root>",
            b"<root><a><b>1</b></a></root>",
            b"<root><a>1</a></root><root><a>2</a></root>",
            b"<root><a>1</a></root></root>",
            b"<root>" + b"<a>" * 5_000 + b"</root>",
            b"<xml><a>1</a></xml>",
            b"",
        ],
    )
    def test_crafted_inside(self, plain: bytes) -> None:
        """What is inside is read as strictly as what is outside."""
        with pytest.raises((MalformedError, PayDecryptError)):
            client().parse_refund(refund_notice(plain))

    @pytest.mark.parametrize(("name", "field"), [("mch_id", "mchid"), ("appid", "appid")])
    def test_other_merchant(self, name: str, field: str) -> None:
        """A notice for another merchant or AppID is refused."""
        with pytest.raises(PayMismatchError) as caught:
            client().parse_refund(refund_notice(**{name: "other"}))
        assert caught.value.field == field

    @pytest.mark.parametrize("change", [{"return_code": "FAIL"}, {"req_info": ""}])
    def test_nothing_in_it(self, change: dict[str, str]) -> None:
        """A failure, or a notice without its contents, is none."""
        with pytest.raises(MalformedError):
            client().parse_refund(refund_notice(**change))

    @PATIENT
    @given(st.binary(max_size=200))
    def test_any_contents(self, plain: bytes) -> None:
        """Whatever was enciphered with the right key, the answer is a refusal of ours."""
        with pytest.raises((PayError, WebhookError)):
            client().parse_refund(refund_notice(plain))


class TestAnswers:
    """What we answer."""

    def test_documented_answers(self) -> None:
        """The two answers are the documented messages, and a refusal tells nothing about the reason."""
        assert read_message(NOTICE_ACCEPTED) == {"return_code": "SUCCESS", "return_msg": "OK"}
        assert read_message(NOTICE_REFUSED) == {"return_code": "FAIL", "return_msg": "REFUSED"}

    def test_hmac_is_the_library_s(self) -> None:
        """HMAC-SHA256 is keyed with the APIv2 key, and the text ends with it as well."""
        text = f"a=1&key={KEY}"
        expected = hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest().upper()
        assert sign({"a": "1"}, SECRET, "HMAC-SHA256") == expected
