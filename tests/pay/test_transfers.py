"""Transfers: money goes out once, whatever is lost on the way; receipts and agreements against a recorder."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pay.conftest import pay_settings
from tests.pay.cutting import Cutter, points
from tests.pay.recorded import APPID, MCHID, FakeGateway
from wxmp.errors import (
    ConfigError,
    PayAPIError,
    PayDecryptError,
    PayError,
    PayMismatchError,
    PaySignatureError,
    ReplyError,
    TransportError,
)
from wxmp.pay import PayClient
from wxmp.pay.transfers import (
    AuthorizationInfo,
    AuthorizationScene,
    AuthorizationState,
    Receipt,
    ReceiptState,
    Transfer,
    TransferAPI,
    TransferReport,
    TransferState,
)
from wxmp.retry import RetryPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from wxmp.simulator import Phone, Simulator
    from wxmp.simulator.pay.records import Merchant

BILLS = "/v3/fund-app/mch-transfer/transfer-bills"
RECEIPTS = "/v3/fund-app/mch-transfer/elecsign"
AUTHORIZATIONS = "/v3/fund-app/mch-transfer/user-confirm-authorization"
LOST = (PayError, TransportError, ReplyError)
ONCE = RetryPolicy(attempts=1)
REPORTS = [TransferReport("活动名称", "新会员有礼"), TransferReport("奖励说明", "注册会员抽奖一等奖")]
WIRED = [{"info_type": item.info_type, "info_content": item.info_content} for item in REPORTS]
TERMS: dict[str, Any] = {
    "transfer_amount_fen": 500,
    "transfer_remark": "新会员开通有礼",
    "transfer_scene_id": "1000",
    "report_infos": REPORTS,
}


@pytest.fixture
def receiver(pay_sim: Simulator) -> Phone:
    """A follower's phone."""
    return pay_sim.world.phone(pay_sim.world.create_followers(1)[0])


def fake(*answers: Any, **changes: Any) -> tuple[TransferAPI, FakeGateway]:
    gateway = FakeGateway(*answers, **changes)
    return TransferAPI(gateway), gateway  # type: ignore[arg-type]


# ---- the life of a transfer


async def test_a_user_confirms_a_transfer(pay: PayClient, receiver: Phone, merchant: Merchant) -> None:
    """The parameters open the confirmation, and a query shows the end."""
    before = merchant.balance
    transfer = await pay.transfer.create("bill1", openid=receiver.openid, **TERMS)
    assert transfer.state is TransferState.WAIT_USER_CONFIRM
    assert receiver.pay(pay.transfer.confirm_params(transfer)).ok
    found = await pay.transfer.get(out_bill_no="bill1")
    assert (found.state, found.final, found.transfer_amount_fen) == (TransferState.SUCCESS, True, 500)
    assert (found.mchid, found.openid) == (pay.mchid, receiver.openid)
    assert await pay.transfer.get(transfer_bill_no=transfer.transfer_bill_no) == found
    assert before - merchant.balance == 500
    assert receiver.openid not in repr(found)


async def test_a_name_is_enciphered_and_deciphered_by_itself(
    pay: PayClient, receiver: Phone, merchant: Merchant
) -> None:
    """The platform opens the receiver's name, and a query shows it in clear again."""
    terms = {**TERMS, "transfer_amount_fen": 200_000}
    await pay.transfer.create("bill1", openid=receiver.openid, user_name="张三丰", **terms)
    assert merchant.transfers["bill1"].user_name == "张三丰"
    found = await pay.transfer.get(out_bill_no="bill1")
    assert found.user_name == "张三丰"
    assert "张三丰" not in repr(found)


async def test_a_name_that_does_not_open_hides_no_state(caplog: pytest.LogCaptureFixture) -> None:
    """What became of the money is told all the same."""
    api, gateway = fake({"state": "SUCCESS", "user_name": "x"})

    def fail(text: str) -> str:
        raise PayDecryptError("no")

    gateway.decrypt = fail  # type: ignore[method-assign]
    found = await api.get(out_bill_no="bill1")
    assert (found.state, found.user_name) == (TransferState.SUCCESS, None)
    assert "does not open" in caplog.text


async def test_a_transfer_is_cancelled(pay: PayClient, pay_sim: Simulator, receiver: Phone, merchant: Merchant) -> None:
    """Accepted first, done later; the money is back."""
    before = merchant.balance
    await pay.transfer.create("bill1", openid=receiver.openid, **TERMS)
    cancel = await pay.transfer.cancel("bill1")
    assert cancel.state is TransferState.CANCELING
    assert cancel.update_time is not None
    pay_sim.advance(5)
    assert (await pay.transfer.get(out_bill_no="bill1")).state is TransferState.CANCELLED
    assert merchant.balance == before


async def test_a_cancellation_has_no_body() -> None:
    """No body is not the same as an empty object: the signature would be another one."""
    api, gateway = fake({"state": "CANCELING"})
    await api.cancel("bill1")
    assert (gateway.last.line, gateway.last.body) == (f"POST {BILLS}/out-bill-no/bill1/cancel", None)


async def test_everything_a_transfer_may_say_is_understood(pay: PayClient, receiver: Phone, merchant: Merchant) -> None:
    """The platform, which refuses unknown members and wrong kinds, takes a transfer with all of them."""
    await pay.transfer.create(
        "Bill1",
        openid=receiver.openid,
        user_name="张三",
        notify_url="https://shop.example.com/transfers",
        user_recv_perception="现金奖励",
        user_recv_style="RED_PACKET",
        **TERMS,
    )
    assert merchant.transfers["Bill1"].notify_url == "https://shop.example.com/transfers"


# ---- once


@pytest.mark.parametrize("effect", ["reset_before", "reset_after", "status"])
async def test_a_lost_answer_pays_once(
    pay: PayClient, pay_sim: Simulator, receiver: Phone, merchant: Merchant, effect: Any
) -> None:
    """The client repeats the identical request by itself, with the name in the same cipher text."""
    before = merchant.balance
    pay_sim.fault(effect, BILLS, first=2)
    transfer = await pay.transfer.create("bill1", openid=receiver.openid, user_name="张三", **TERMS)
    assert transfer.state is TransferState.WAIT_USER_CONFIRM
    assert pay_sim.calls(BILLS) == 3
    assert before - merchant.balance == 500


@pytest.mark.parametrize("effect", ["truncated", "empty", "not_json"])
async def test_a_spoilt_answer_says_that_the_transfer_may_exist(
    pay: PayClient, pay_sim: Simulator, receiver: Phone, merchant: Merchant, effect: Any
) -> None:
    """An answer that cannot be believed leaves the outcome open; the same number again tells it, and pays once."""
    before = merchant.balance
    pay_sim.fault(effect, BILLS, first=1)
    with pytest.raises(PaySignatureError) as caught:
        await pay.transfer.create("bill1", openid=receiver.openid, **TERMS)
    assert caught.value.maybe_acted
    await pay.transfer.create("bill1", openid=receiver.openid, **TERMS)
    assert before - merchant.balance == 500


async def test_a_connection_killed_anywhere_pays_once(pay_sim: Simulator, receiver: Phone, merchant: Merchant) -> None:
    """Whatever byte of request or answer is the last: the same number again tells the state, and money moved once."""
    async with Cutter(pay_sim.port) as wire:
        settings = pay_settings(pay_sim, merchant, base_url=wire.url, retry=ONCE)
        async with PayClient(**settings) as client:
            await client.transfer.create("uncut", openid=receiver.openid, **TERMS)
        cuts = [("up", after) for after in points(wire.passed["up"], 8)]
        cuts += [("down", after) for after in points(wire.passed["down"], 8)]
        lost = 0
        for place, (direction, after) in enumerate(cuts):
            before = merchant.balance
            wire.cut(direction, after)  # type: ignore[arg-type]
            async with PayClient(**settings) as client:
                try:
                    await client.transfer.create(f"bill{place}", openid=receiver.openid, user_name="张三", **TERMS)
                except LOST:
                    lost += 1
            async with PayClient(**settings) as client:
                again = await client.transfer.create(f"bill{place}", openid=receiver.openid, user_name="张三", **TERMS)
            assert again.state is TransferState.WAIT_USER_CONFIRM
            assert before - merchant.balance == 500, (direction, after)
        assert lost >= len(cuts) - 2  # all but those behind the last byte
        assert len(merchant.transfers) == len(cuts) + 1


async def test_other_content_under_a_used_number_is_refused(
    pay: PayClient, receiver: Phone, merchant: Merchant
) -> None:
    """The same number with another amount moves nothing."""
    await pay.transfer.create("bill1", openid=receiver.openid, **TERMS)
    before = merchant.balance
    with pytest.raises(PayAPIError) as caught:
        await pay.transfer.create("bill1", openid=receiver.openid, **{**TERMS, "transfer_amount_fen": 501})
    assert caught.value.code == "ALREADY_EXISTS"
    assert merchant.balance == before


# ---- arguments


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("out_bill_no", {"out_bill_no": "bill-1"}),
        ("out_bill_no", {"out_bill_no": "x" * 33}),
        ("out_bill_no", {"out_bill_no": "bill１"}),
        ("openid", {"openid": ""}),
        ("openid", {"openid": "o" * 65}),
        ("transfer_amount_fen", {"transfer_amount_fen": 0}),
        ("transfer_amount_fen", {"transfer_amount_fen": 5.0}),
        ("transfer_amount_fen", {"transfer_amount_fen": True}),
        ("transfer_remark", {"transfer_remark": "字" * 33}),
        ("transfer_remark", {"transfer_remark": "🧧"}),
        ("transfer_scene_id", {"transfer_scene_id": 1000}),
        ("report_infos", {"report_infos": []}),
        ("report_infos", {"report_infos": TransferReport("a", "b")}),
        ("report_infos[0].info_type", {"report_infos": [TransferReport("x" * 16, "b")]}),
        ("report_infos[0].info_content", {"report_infos": [TransferReport("a", "x" * 33)]}),
        ("user_name", {"transfer_amount_fen": 200_000}),
        ("user_name", {"transfer_amount_fen": 29, "user_name": "张三"}),
        ("user_name", {"user_name": "张" * 72}),
        ("notify_url", {"notify_url": "https://shop.example.com/?a"}),
        ("user_recv_style", {"user_recv_style": "CARD"}),
        ("user_recv_style", {"user_recv_style": "RED_PACKET", "transfer_amount_fen": 20_001}),
    ],
)
async def test_a_transfer_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """What the platform would refuse is found before anything is sent, and the error names the argument."""
    api, gateway = fake()
    arguments = {"out_bill_no": "bill1", "openid": "o1", **TERMS, **changes}
    with pytest.raises(ConfigError) as caught:
        await api.create(arguments.pop("out_bill_no"), **arguments)
    assert caught.value.field == field
    assert "张" not in str(caught.value)
    assert gateway.asked == []


@given(number=st.from_regex(r"[0-9A-Za-z]{1,32}", fullmatch=True), fen=st.integers(1, 199_999))
async def test_every_documented_transfer_arrives_unchanged(number: str, fen: int) -> None:
    """Numbers and money go out as they are."""
    api, gateway = fake({"state": "ACCEPTED"})
    await api.create(number, openid="o1", **{**TERMS, "transfer_amount_fen": fen})
    assert gateway.last.body == {
        "out_bill_no": number,
        "transfer_scene_id": "1000",
        "transfer_amount": fen,
        "transfer_remark": "新会员开通有礼",
        "transfer_scene_report_infos": WIRED,
        "appid": APPID,
        "openid": "o1",
    }


async def test_nothing_to_confirm_is_an_error() -> None:
    """A transfer that waits for nobody has no parameters."""
    api, _ = fake()
    with pytest.raises(ConfigError, match="package_info"):
        api.confirm_params(Transfer("bill1", TransferState.SUCCESS))


@pytest.mark.parametrize("numbers", [{}, {"out_bill_no": "a", "transfer_bill_no": "b"}, {"out_bill_no": "a-b"}])
async def test_a_query_names_exactly_one_number(numbers: dict[str, str]) -> None:
    """None, two, and one that cannot be right are refused, for transfers and receipts alike."""
    api, gateway = fake()
    for call in (api.get, api.apply_receipt, api.get_receipt):
        with pytest.raises(ConfigError):
            await call(**numbers)
    assert gateway.asked == []


@pytest.mark.parametrize("name", ["out_bill_no", "transfer_bill_no"])
async def test_an_answer_about_another_transfer_is_not_believed(name: str) -> None:
    """The signature of an answer does not say to which question it belongs."""
    api, _ = fake({"state": "SUCCESS", name: "another1"})
    with pytest.raises(PayMismatchError) as caught:
        await api.get(**{name: "bill1"})
    assert caught.value.field == name
    if name == "out_bill_no":
        with pytest.raises(PayMismatchError):
            await api.create("bill1", openid="o1", **TERMS)


# ---- receipts


async def test_a_receipt_is_asked_for_by_either_number() -> None:
    """Method, path and body of the four calls."""
    api, gateway = fake({"state": "GENERATING", "create_time": "2026-11-21T10:34:56+08:00"})
    made = await api.apply_receipt(out_bill_no="bill1")
    await api.apply_receipt(transfer_bill_no="1330000")
    await api.get_receipt(out_bill_no="bill1")
    await api.get_receipt(transfer_bill_no="1330000")
    assert [(asked.line, asked.body) for asked in gateway.asked] == [
        (f"POST {RECEIPTS}/out-bill-no", {"out_bill_no": "bill1"}),
        (f"POST {RECEIPTS}/transfer-bill-no", {"transfer_bill_no": "1330000"}),
        (f"GET {RECEIPTS}/out-bill-no/bill1", None),
        (f"GET {RECEIPTS}/transfer-bill-no/1330000", None),
    ]
    assert made.state is ReceiptState.GENERATING
    assert made.create_time is not None
    assert made.create_time.utcoffset() == timedelta(0)


async def test_a_receipt_is_fetched_when_its_hash_fits(tmp_path: Path) -> None:
    """The content comes whole and good, into memory or to a path."""
    pdf = b"%PDF-1.7 " + bytes(range(256)) * 8
    link = "https://api.mch.weixin.qq.com/v3/x?token=1"
    receipt = Receipt(ReceiptState.FINISHED, None, None, "SHA256", hashlib.sha256(pdf).hexdigest().upper(), link)
    api, _ = fake(content=pdf)
    assert await api.download_receipt(receipt) == pdf
    assert (await api.download_receipt(receipt, to=tmp_path / "r.pdf")).read_bytes() == pdf
    assert "token" not in repr(receipt)


@pytest.mark.parametrize("kind", ["SHA256", "SM3"])
async def test_a_receipt_of_another_hash_is_none(tmp_path: Path, kind: str) -> None:
    """Another content, and a kind of hash that we cannot count, are both refused."""
    receipt = Receipt(ReceiptState.FINISHED, None, None, kind, "00" * 32, "https://api.mch.weixin.qq.com/x")
    api, _ = fake(content=b"%PDF")
    with pytest.raises(ReplyError):
        await api.download_receipt(receipt, to=tmp_path / "r.pdf")
    assert list(tmp_path.iterdir()) == []


async def test_an_unfinished_receipt_has_no_file() -> None:
    """The error says to ask again."""
    api, gateway = fake()
    with pytest.raises(ConfigError, match="FINISHED"):
        await api.download_receipt(Receipt(ReceiptState.GENERATING))
    assert gateway.asked == []


# ---- agreements


async def test_a_transfer_under_an_agreement_goes_out_as_documented() -> None:
    """Method, path and body; the agreement by exactly one number."""
    api, gateway = fake({"state": "SUCCESS", "transfer_amount": 500})
    found = await api.create_authorized(
        "bill1", out_authorization_no="auth1", user_name="张三", sponsor_mchid="1900000109", **TERMS
    )
    assert gateway.last.line == f"POST {BILLS}/transfer"
    assert gateway.last.endpoint.repeat == "by_key"
    assert gateway.last.body == {
        "out_bill_no": "bill1",
        "transfer_scene_id": "1000",
        "transfer_amount": 500,
        "transfer_remark": "新会员开通有礼",
        "transfer_scene_report_infos": WIRED,
        "appid": APPID,
        "out_authorization_no": "auth1",
        "user_name": "enc(张三)",
        "sponsor_mchid": "1900000109",
    }
    assert found.transfer_amount_fen == 500
    with pytest.raises(ConfigError, match="exactly one"):
        await api.create_authorized("bill1", out_authorization_no="auth1", authorization_id="9", **TERMS)


async def test_a_transfer_that_asks_for_an_agreement_goes_out_as_documented() -> None:
    """Method, path and body; the agreement stands in an object of its own."""
    api, gateway = fake({"state": "WAIT_USER_CONFIRM", "package_info": "p", "out_authorization_no": "auth1"})
    info = AuthorizationInfo("某某奖励", "auth1", "https://shop.example.com/agreed")
    transfer = await api.create_and_authorize("bill1", openid="o1", authorization_info=info, **TERMS)
    assert gateway.last.line == f"POST {BILLS}/pre-transfer-with-authorization"
    assert gateway.last.body["openid"] == "o1"
    assert gateway.last.body["authorization_info"] == {
        "user_display_name": "某某奖励",
        "out_authorization_no": "auth1",
        "authorization_notify_url": "https://shop.example.com/agreed",
    }
    assert api.confirm_params(transfer) == {"mchId": MCHID, "appId": APPID, "package": "p"}


async def test_an_agreement_is_asked_for_looked_at_and_ended() -> None:
    """Method, path and body of the three calls; ending it has no body at all."""
    api, gateway = fake({"out_authorization_no": "a/1", "state": "TAKING_EFFECT", "close_info": {"close_reason": "X"}})
    agreed = await api.authorize(
        "a/1",
        openid="o1",
        transfer_scene_id="1000",
        user_display_name="某某",
        authorization_notify_url="https://shop.example.com/agreed",
        scene_info=AuthorizationScene("203.0.113.7", "d1", "IOS"),
    )
    await api.get_authorization("a/1", is_display_authorization=True)
    await api.close_authorization("a/1")
    assert [asked.line for asked in gateway.asked] == [
        f"POST {AUTHORIZATIONS}",
        f"GET {AUTHORIZATIONS}/out-authorization-no/a%2F1?is_display_authorization=true",
        f"POST {AUTHORIZATIONS}/out-authorization-no/a%2F1/close",
    ]
    assert gateway.asked[0].body == {
        "out_authorization_no": "a/1",
        "appid": APPID,
        "openid": "o1",
        "transfer_scene_id": "1000",
        "user_display_name": "某某",
        "authorization_notify_url": "https://shop.example.com/agreed",
        "scene_info": {"client_ip": "203.0.113.7", "device_id": "d1", "device_type": "IOS"},
    }
    assert gateway.asked[2].body is None
    assert agreed.state is AuthorizationState.TAKING_EFFECT
    assert agreed.close_info is not None
    assert agreed.close_info.close_reason == "X"
