"""What all payment records promise: readable whatever comes, nothing lost, nothing shown that is private."""

from __future__ import annotations

import importlib
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxmp._wire import decode
from wxmp.errors import ConfigError, PayMismatchError, ReplyError
from wxmp.pay import _checks as check
from wxmp.pay.records import (
    PartnerTransaction,
    Refund,
    RefundStatus,
    TradeState,
    Transaction,
    TransferBill,
    TransferState,
)

MODULES = ["records", "orders", "refunds", "bills", "transfers", "combine", "sharing", "partner"]
LOADED = {name: importlib.import_module(f"wxmp.pay.{name}") for name in MODULES}
PUBLIC = {f"{module}.{name}": getattr(LOADED[module], name) for module in MODULES for name in LOADED[module].__all__}
RECORDS = {cls for cls in PUBLIC.values() if isinstance(cls, type) and attrs.has(cls)}
READ = sorted((cls for cls in RECORDS if "extra" in attrs.fields_dict(cls)), key=lambda cls: cls.__name__)
FAMILIES = sorted((cls for cls in RECORDS if cls.__name__.endswith("API")), key=lambda cls: cls.__name__)
METHODS = [
    getattr(family, name)
    for family in FAMILIES
    for name in vars(family)
    if not name.startswith("_") and callable(getattr(family, name))
]
PRIVATE = {"openid", "user_name", "name", "account", "payer_client_ip", "client_ip", "bank_account", "real_name"}
PRIVATE |= {"download_url", "encrypt_key", "package_info", "number", "sp_openid", "sub_openid", "user_received_account"}
#: A merchant's own names, which a log may show.
NOT_PRIVATE = {("StoreInfo", "name"), ("PromotionDetail", "name"), ("RefundFrom", "account")}


# ---- forms


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_sorted_and_exist(module: str) -> None:
    """``__all__`` says what there is, in an order that is easy to keep."""
    names = LOADED[module].__all__
    assert all(hasattr(LOADED[module], name) for name in names)
    assert sorted(names, key=lambda name: (not name.isupper(), name)) == names


@pytest.mark.parametrize("cls", sorted(RECORDS, key=lambda cls: cls.__name__))
def test_records_are_frozen_and_slotted(cls: Any) -> None:
    """Nobody changes a record, or gives it a misspelt attribute."""
    empty = object.__new__(cls)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(empty, attrs.fields(cls)[0].name, 1)
    assert not hasattr(empty, "__dict__")
    assert re.search("[\u4e00-\u9fff]", cls.__doc__ or ""), "the official title belongs in the docstring"


@pytest.mark.parametrize("cls", sorted(RECORDS, key=lambda cls: cls.__name__))
def test_private_things_are_not_shown(cls: Any) -> None:
    """Openids, names, accounts, addresses and links stay out of ``repr``."""
    shown = {field.name for field in attrs.fields(cls) if field.repr}
    assert not {name for name in shown & PRIVATE if (cls.__name__, name) not in NOT_PRIVATE}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
def test_every_call_is_documented(method: Any) -> None:
    """The official title in Chinese, the errors, and where it comes from."""
    text = method.__doc__ or ""
    assert re.search("[\u4e00-\u9fff]", text.partition("\n\n")[0])
    assert "Raises:" in text
    if method.__name__ != "confirm_params":
        assert "Source:" in text


def test_every_endpoint_has_a_call() -> None:
    """No constant lies around that nothing uses, and none stands for two ways to repeat."""
    for module in MODULES[1:]:
        source = Path(str(LOADED[module].__file__)).read_text(encoding="utf-8")
        for name in re.findall(r"^([A-Z_0-9]+): Final = PayEndpoint\(", source, re.MULTILINE):
            assert len(re.findall(rf"\b{name}\b", source)) > 1, name


def money(cls: Any) -> list[str]:
    return [field.name for field in attrs.fields(cls) if field.name.endswith("_fen")]


@pytest.mark.parametrize("cls", sorted(RECORDS, key=lambda cls: cls.__name__))
def test_money_is_whole_and_says_so(cls: Any) -> None:
    """An amount is ``int`` and carries its unit in its name."""
    for field in attrs.fields(attrs.resolve_types(cls)):
        kinds = set(get_args(field.type)) if get_origin(field.type) in (Union, UnionType) else {field.type}
        assert float not in kinds
        if field.name.endswith("_fen"):
            assert int in kinds
        if int in kinds:
            known = {"quantity", "refund_quantity", "bill_sequence", "download_bill_count", "max_ratio"}
            known |= {"selected_installment_number", "settlement_rate"}
            assert field.name.endswith("_fen") or field.name in known


# ---- reading


def test_the_example_of_the_documentation_is_read() -> None:
    """Every documented field arrives under its name, nothing is left over."""
    found = decode(
        Transaction,
        {
            "appid": "wxd678efh567hg6787",
            "mchid": "1230000109",
            "out_trade_no": "1217752501201407033233368018",
            "transaction_id": "1217752501201407033233368018",
            "trade_type": "APP",
            "trade_state": "SUCCESS",
            "trade_state_desc": "支付成功",
            "bank_type": "CMC",
            "attach": "自定义数据",
            "success_time": "2018-06-08T10:34:56+08:00",
            "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
            "amount": {"total": 100, "payer_total": 90, "currency": "CNY", "payer_currency": "CNY"},
            "scene_info": {"device_id": "013467007045764"},
            "promotion_detail": [
                {
                    "coupon_id": "109519",
                    "name": "单品惠-6",
                    "scope": "GLOBAL",
                    "type": "CASH",
                    "amount": 10,
                    "stock_id": "931386",
                    "wechatpay_contribute": 0,
                    "merchant_contribute": 0,
                    "other_contribute": 0,
                    "currency": "CNY",
                    "goods_detail": [
                        {
                            "goods_id": "M1006",
                            "quantity": 1,
                            "unit_price": 100,
                            "discount_amount": 1,
                            "goods_remark": "商品备注信息",
                        }
                    ],
                }
            ],
            "installment_info": {"use_subsidy": True, "selected_installment_number": 3},
        },
    )
    assert found.success_time == datetime(2018, 6, 8, 2, 34, 56, tzinfo=UTC)
    assert (found.amount.total_fen, found.amount.payer_total_fen) == (100, 90)
    assert found.promotion_detail[0].goods_detail[0].discount_amount_fen == 1
    records = [found, found.payer, found.amount, found.scene_info, *found.promotion_detail, found.installment_info]
    assert not any(record.extra for record in [*records, *found.promotion_detail[0].goods_detail])


def test_a_refund_is_read() -> None:
    """The wire's ``from`` is called ``sources``; every documented sum arrives."""
    amount = {"total": 100, "refund": 40, "from": [{"account": "AVAILABLE", "amount": 40}], "payer_total": 90}
    amount |= {"payer_refund": 36, "settlement_refund": 36, "settlement_total": 90, "discount_refund": 4}
    amount |= {"currency": "CNY", "refund_fee": 1}
    found = decode(Refund, {"status": "ABNORMAL", "channel": "ORIGINAL", "amount": amount})
    assert found.status is RefundStatus.ABNORMAL
    assert attrs.astuple(found.amount, recurse=False)[:2] == (100, 40)
    assert found.amount.sources[0].amount_fen == 40
    assert found.amount.refund_fee_fen == 1
    assert found.amount.extra == {}


@pytest.mark.parametrize("cls", READ, ids=lambda cls: cls.__name__)
def test_unknown_fields_are_kept(cls: Any) -> None:
    """What this version does not know is in ``extra``, and new fields break nothing."""
    needed = {"hash_value": "h", "download_url": "u", "max_ratio": 1, "unsplit_amount": 1, "amount": 1}
    needed |= {"account": "AVAILABLE", "download_bill_count": 0, "bill_sequence": 1, "encrypt_key": "k", "nonce": "n"}
    names = {
        field.metadata.get("wxmp.wire", field.name) for field in attrs.fields(cls) if field.default is attrs.NOTHING
    }
    assert names <= needed.keys()
    found = decode(cls, {**{name: needed[name] for name in names}, "something_new": {"a": [1]}})
    assert found.extra == {"something_new": {"a": [1]}}


@pytest.mark.parametrize("cls", [Transaction, PartnerTransaction, Refund, TransferBill])
def test_an_answer_about_money_stays_readable(cls: Any) -> None:
    """Missing and empty members are no error: what became of the money must be told."""
    names = [field.metadata.get("wxmp.wire", field.name) for field in attrs.fields(cls) if field.name != "extra"]
    assert decode(cls, {}) == decode(cls, dict.fromkeys(names)) == cls()


@pytest.mark.parametrize(
    ("cls", "name", "known"),
    [
        (Transaction, "trade_state", TradeState.REVOKED),
        (PartnerTransaction, "trade_state", TradeState.PAYERROR),
        (Refund, "status", RefundStatus.CLOSED),
        (TransferBill, "state", TransferState.TRANSFERING),
    ],
)
def test_unknown_states_are_kept(cls: Any, name: str, known: Any) -> None:
    """A word of tomorrow is text, a known one is a member of its enumeration."""
    assert getattr(decode(cls, {name: str(known)}), name) is known
    later = getattr(decode(cls, {name: "LATER"}), name)
    assert later == "LATER"
    assert type(later) is str


@pytest.mark.parametrize(
    ("state", "paid", "settled"),
    [
        ("SUCCESS", True, True),
        ("REFUND", True, True),
        ("CLOSED", False, True),
        ("REVOKED", False, True),
        ("NOTPAY", False, False),
        ("USERPAYING", False, False),
        ("PAYERROR", False, False),
        ("ACCEPT", False, False),
        ("LATER", False, False),
        ("", False, False),
    ],
)
@pytest.mark.parametrize("cls", [Transaction, PartnerTransaction])
def test_what_a_state_means(cls: Any, state: str, paid: bool, settled: bool) -> None:
    """SUCCESS and REFUND both mean money; an unknown state means neither money nor an end."""
    found = decode(cls, {"trade_state": state})
    assert (found.paid, found.settled) == (paid, settled)


@pytest.mark.parametrize("state", [*TransferState, "LATER", ""])
def test_when_a_transfer_is_over(state: str) -> None:
    """Three states are final."""
    assert decode(TransferBill, {"state": state}).final == (state in ("SUCCESS", "FAIL", "CANCELLED"))


@pytest.mark.parametrize("name", ["mch_id", "mchid"])
def test_either_spelling_of_the_merchant_is_read(name: str) -> None:
    """Notifications of transfers were seen with either."""
    found = decode(TransferBill, {name: "1900000001", "other": 1})
    assert (found.mchid, found.extra) == ("1900000001", {"other": 1})


# ---- times


@given(
    moment=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    offset=st.integers(-14 * 60, 14 * 60),
    milliseconds=st.booleans(),
)
def test_times_are_read_in_utc(moment: datetime, offset: int, milliseconds: bool) -> None:
    """RFC 3339 with any offset, with and without milliseconds, is the same instant in UTC."""
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=offset)))
    text = aware.isoformat(timespec="milliseconds" if milliseconds else "seconds")
    found = decode(Transaction, {"success_time": text}).success_time
    assert found == aware
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["2018-06-08T10:34:56", "10:34", "2018-06-08T25:00:00+08:00", "0001-01-01T00:00:00+08:00"]
)
def test_a_time_without_a_place_is_refused(text: str) -> None:
    """Without an offset it would be anybody's guess; the error names the field."""
    with pytest.raises(ReplyError, match="success_time"):
        decode(Transaction, {"success_time": text})


@given(
    moment=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    offset=st.integers(-14 * 3600, 14 * 3600),
)
def test_times_are_written_with_their_offset(moment: datetime, offset: int) -> None:
    """What is written is read back as the same second, in a form that RFC 3339 knows."""
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(seconds=offset)))
    text = check.instant("time_expire", aware)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", text)
    assert datetime.fromisoformat(text) == aware


# ---- texts


@given(st.text(st.characters(max_codepoint=0xFFFF, blacklist_categories=["Cs"]), min_size=1, max_size=40))
def test_limits_count_characters(text: str) -> None:
    """A Chinese character is one, whatever its bytes; a text that fits is not changed."""
    if not text.strip():
        return
    assert check.text("x", text, max_chars=len(text)) == text
    with pytest.raises(ConfigError, match="shorten"):
        check.text("x", text + "茶", max_chars=len(text))


@given(st.text(st.characters(min_codepoint=0x10000), min_size=1), st.text(max_size=3))
def test_characters_of_four_bytes_are_found_before_the_platform_does(wide: str, around: str) -> None:
    """They do not fit its tables."""
    with pytest.raises(ConfigError, match="four bytes"):
        check.text("x", f"{around}a{wide}{around}", max_chars=10**6)


def test_enciphered_texts_count_bytes() -> None:
    """214 bytes fit under a key of 2048 bits: 71 Chinese characters, not 72."""
    from wxmp.pay.records import enciphered

    assert enciphered("name", "张" * 71).reveal() == "张" * 71
    with pytest.raises(ConfigError, match="216 bytes"):
        enciphered("name", "张" * 72)


# ---- an order against one's own record

PAID_ORDER: dict[str, Any] = {
    "appid": "wx1",
    "mchid": "1900000109",
    "out_trade_no": "tea-0001",
    "trade_state": "SUCCESS",
    "amount": {"total": 100, "payer_total": 90, "currency": "CNY"},
}
OWN_RECORD: dict[str, Any] = {"appid": "wx1", "out_trade_no": "tea-0001", "total_fen": 100}


@pytest.mark.parametrize("own", [{}, {"mchid": "1900000109"}])
@pytest.mark.parametrize("state", ["SUCCESS", "REFUND"])
def test_order_is_the_one_of_the_own_record(own: dict[str, Any], state: str) -> None:
    """The same order, paid: nothing to say. The total counts, not what coupons have left of it."""
    decode(Transaction, {**PAID_ORDER, "trade_state": state}).check(**OWN_RECORD, **own)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("appid", "wx2"),
        ("mchid", "1900000110"),
        ("out_trade_no", "tea-0002"),
        ("total_fen", 90),
        ("currency", "HKD"),
    ],
)
def test_other_order_is_refused_by_name(field: str, value: object) -> None:
    """Whatever differs from the own record is named."""
    with pytest.raises(PayMismatchError, match=field) as caught:
        decode(Transaction, PAID_ORDER).check(**{**OWN_RECORD, field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("state", ["NOTPAY", "CLOSED", "REVOKED", "USERPAYING", "PAYERROR", "", "NEW_WORD"])
def test_unpaid_order_does_not_pass(state: str) -> None:
    """An order that is not paid is no reason to deliver."""
    with pytest.raises(PayMismatchError) as caught:
        decode(Transaction, {**PAID_ORDER, "trade_state": state}).check(**OWN_RECORD)
    assert caught.value.field == "trade_state"


@pytest.mark.parametrize(("field", "value"), [("total_fen", True), ("total_fen", 100.0), ("appid", ""), ("mchid", "")])
def test_record_that_compares_nothing_is_refused(field: str, value: object) -> None:
    """An empty text would equal what is not there, and True is no amount."""
    with pytest.raises(ConfigError) as caught:
        decode(Transaction, PAID_ORDER).check(**{**OWN_RECORD, field: value})
    assert caught.value.field == field
