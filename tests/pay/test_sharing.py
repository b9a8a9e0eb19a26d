"""Profit sharing: method, path, body, result of each call."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.pay.recorded import APPID, FakeGateway
from wxmp.errors import ConfigError, PayDecryptError
from wxmp.pay.sharing import (
    SharingAPI,
    SharingReceiver,
    SharingResultState,
    SharingReturnState,
    SharingState,
)

PATH = "/v3/profitsharing"
PERSON = SharingReceiver("PERSONAL_OPENID", "o1", 10, "分给店员", "张三")
MERCHANT = SharingReceiver("MERCHANT_ID", "1900000109", 20, "分给商户")


def fake(*answers: Any) -> tuple[SharingAPI, FakeGateway]:
    gateway = FakeGateway(*answers)
    return SharingAPI(gateway), gateway  # type: ignore[arg-type]


async def test_money_is_shared() -> None:
    """Method, path and body; names are enciphered, and every receiver has a result of its own."""
    results = [{"type": "MERCHANT_ID", "amount": 20, "result": "CLOSED", "fail_reason": "NO_RELATION"}]
    api, gateway = fake({"out_order_no": "share-1", "state": "FINISHED", "receivers": results, "new": 1})
    share = await api.create("share-1", transaction_id="42", receivers=[PERSON, MERCHANT], unfreeze_unsplit=False)
    assert gateway.last.line == f"POST {PATH}/orders"
    assert gateway.last.endpoint.repeat == "by_key"
    assert gateway.last.body == {
        "appid": APPID,
        "transaction_id": "42",
        "out_order_no": "share-1",
        "receivers": [
            {"type": "PERSONAL_OPENID", "account": "o1", "name": "enc(张三)", "amount": 10, "description": "分给店员"},
            {"type": "MERCHANT_ID", "account": "1900000109", "amount": 20, "description": "分给商户"},
        ],
        "unfreeze_unsplit": False,
    }
    assert (share.state, share.extra) == (SharingState.FINISHED, {"new": 1})
    assert (share.receivers[0].result, share.receivers[0].amount_fen) == (SharingResultState.CLOSED, 20)
    assert "张三" not in repr(PERSON)
    assert "o1" not in repr(PERSON)


async def test_a_service_provider_names_the_sub_merchant() -> None:
    """The number stands in every body and query."""
    api, gateway = fake({"unsplit_amount": 1, "max_ratio": 2000, "download_url": "u", "hash_value": "h"})
    sub = {"sub_mchid": "1900000109"}
    await api.create("s", transaction_id="42", receivers=[MERCHANT], unfreeze_unsplit=True, sub_appid="wxsub", **sub)
    await api.unfreeze("s", transaction_id="42", description="完结", **sub)
    await api.create_return("r", order_id="3", return_mchid="19", amount_fen=1, description="退", **sub)
    await api.add_receiver("o1", type="PERSONAL_SUB_OPENID", relation_type="USER", sub_appid="wxsub", **sub)
    await api.delete_receiver("o1", type="PERSONAL_SUB_OPENID", sub_appid="wxsub", **sub)
    assert all(asked.body["sub_mchid"] == "1900000109" for asked in gateway.asked)
    await api.get("s", transaction_id="42", **sub)
    await api.get_return("r", out_order_no="s", **sub)
    await api.bill("2026-11-20", gzip=True, **sub)
    assert (await api.merchant_config("1900000109")).max_ratio == 2000
    assert [asked.line for asked in gateway.asked[5:]] == [
        f"GET {PATH}/orders/s?transaction_id=42&sub_mchid=1900000109",
        f"GET {PATH}/return-orders/r?out_order_no=s&sub_mchid=1900000109",
        f"GET {PATH}/bills?bill_date=2026-11-20&sub_mchid=1900000109&tar_type=GZIP",
        f"GET {PATH}/merchant-configs/1900000109",
    ]


async def test_the_rest_is_released() -> None:
    """Method, path and body of the release."""
    api, gateway = fake({"state": "PROCESSING"})
    assert (await api.unfreeze("s/1", transaction_id="42", description="完结")).state is SharingState.PROCESSING
    assert gateway.last.line == f"POST {PATH}/orders/unfreeze"
    assert gateway.last.body == {"transaction_id": "42", "out_order_no": "s/1", "description": "完结"}


async def test_money_is_taken_back() -> None:
    """Method, path and body of the return, and what a query shows."""
    api, gateway = fake({"out_return_no": "r", "result": "FAILED", "fail_reason": "TIME_OUT_CLOSED", "amount": 7})
    back = await api.create_return("r", out_order_no="s", return_mchid="1900000109", amount_fen=7, description="退")
    assert gateway.last.line == f"POST {PATH}/return-orders"
    assert gateway.last.endpoint.repeat == "by_key"
    assert gateway.last.body == {
        "out_order_no": "s",
        "out_return_no": "r",
        "return_mchid": "1900000109",
        "amount": 7,
        "description": "退",
    }
    assert (back.result, back.amount_fen) == (SharingReturnState.FAILED, 7)


async def test_what_is_left_is_told() -> None:
    """Method, path and result."""
    api, gateway = fake({"transaction_id": "42", "unsplit_amount": 1000})
    assert (await api.remaining("42")).unsplit_amount_fen == 1000
    assert gateway.last.line == f"GET {PATH}/transactions/42/amounts"


async def test_receivers_are_added_and_removed() -> None:
    """Method, path and body; the name is enciphered on the way out and deciphered on the way in."""
    api, gateway = fake({"type": "MERCHANT_ID", "account": "1900000109", "name": "sealed:某某公司"})
    added = await api.add_receiver(
        "1900000109", type="MERCHANT_ID", relation_type="CUSTOM", custom_relation="代理商", name="某某公司"
    )
    assert gateway.last.line == f"POST {PATH}/receivers/add"
    assert gateway.last.body == {
        "appid": APPID,
        "type": "MERCHANT_ID",
        "account": "1900000109",
        "name": "enc(某某公司)",
        "relation_type": "CUSTOM",
        "custom_relation": "代理商",
    }
    assert added.name == "某某公司"
    await api.delete_receiver("1900000109", type="MERCHANT_ID")
    assert gateway.last.line == f"POST {PATH}/receivers/delete"
    assert gateway.last.body == {"appid": APPID, "type": "MERCHANT_ID", "account": "1900000109"}


async def test_a_name_that_does_not_open_is_left_out() -> None:
    """The receiver is on the list all the same."""
    api, gateway = fake({"name": "x", "account": "o1"})

    def fail(text: str) -> str:
        raise PayDecryptError("no")

    gateway.decrypt = fail  # type: ignore[method-assign]
    assert (await api.add_receiver("o1", type="PERSONAL_OPENID", relation_type="STAFF")).name is None


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("out_order_no", {"out_order_no": ""}),
        ("transaction_id", {"transaction_id": "4/2"}),
        ("receivers", {"receivers": []}),
        ("receivers", {"receivers": [MERCHANT] * 51}),
        ("receivers[0].amount_fen", {"receivers": [attrs.evolve(MERCHANT, amount_fen=0)]}),
        ("receivers[0].amount_fen", {"receivers": [attrs.evolve(MERCHANT, amount_fen=True)]}),
        ("receivers[0].type", {"receivers": [attrs.evolve(MERCHANT, type="BANK")]}),
        ("receivers[0].name", {"receivers": [attrs.evolve(MERCHANT, name="某某公司")]}),
        ("receivers[0].description", {"receivers": [attrs.evolve(MERCHANT, description="字" * 81)]}),
        ("unfreeze_unsplit", {"unfreeze_unsplit": "true"}),
    ],
)
async def test_a_share_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """What the platform would refuse is found before anything is sent, and the error names the argument."""
    api, gateway = fake()
    arguments = {
        "out_order_no": "share-1",
        "transaction_id": "42",
        "receivers": [MERCHANT],
        "unfreeze_unsplit": False,
        **changes,
    }
    with pytest.raises(ConfigError) as caught:
        await api.create(arguments.pop("out_order_no"), **arguments)
    assert caught.value.field == field
    assert gateway.asked == []


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"type": "MERCHANT_ID"}),
        ("custom_relation", {"relation_type": "CUSTOM"}),
        ("custom_relation", {"custom_relation": "代理商"}),
        ("custom_relation", {"relation_type": "CUSTOM", "custom_relation": "字" * 11}),
        ("relation_type", {"relation_type": "FRIEND"}),
        ("type", {"type": "X"}),
    ],
)
async def test_a_receiver_that_cannot_work_is_not_sent(field: str, changes: dict[str, Any]) -> None:
    """A merchant needs a name, a relation of one's own needs a word."""
    api, gateway = fake()
    with pytest.raises(ConfigError) as caught:
        await api.add_receiver("o1", **{"type": "PERSONAL_OPENID", "relation_type": "STAFF", **changes})
    assert caught.value.field == field
    assert gateway.asked == []


async def test_a_return_names_the_share_once() -> None:
    """By the platform's number or by ours, not both."""
    api, _ = fake()
    with pytest.raises(ConfigError, match="exactly one"):
        await api.create_return("r", return_mchid="19", amount_fen=1, description="退")
