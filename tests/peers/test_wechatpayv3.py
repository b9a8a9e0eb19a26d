"""wechatpayv3 against the simulator's WeChat Pay: with the platform's public key and with its certificates."""

from __future__ import annotations

import datetime as dt
import gzip
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.conftest import Peer, content, settle
from wxmp.simulator.pay.ledger import add_merchant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.gateway import Gateway
    from wxmp.simulator import Phone, Simulator
    from wxmp.simulator.pay.records import Merchant

NUMBERS = itertools.count(1)
DAY = 86_400.0


@pytest.fixture(scope="module")
def merchants(simulator: Simulator) -> dict[str, Merchant]:
    """A merchant that has the platform's public key, and one that has its certificates."""
    return {
        "public": add_merchant(simulator.world, scheme="public_key"),
        "certificate": add_merchant(simulator.world, scheme="certificate"),
    }


@pytest.fixture(scope="module")
def peer(
    start: Callable[..., Peer],
    simulator: Simulator,
    merchants: dict[str, Merchant],
    tmp_path_factory: pytest.TempPathFactory,
) -> Peer:
    """A process with a client and a server for notices for each of the two."""
    folder: Path = tmp_path_factory.mktemp("merchant")
    public = merchants["public"]
    keys = {
        "public": {"public_key": public.platform_public_key, "public_key_id": public.public_key_id},
        "certificate": {"cert_dir": str(folder / "certificates")},
    }
    settings = {
        mode: {
            "mchid": merchant.mchid,
            "appid": simulator.account.appid,
            "serial": merchant.serial,
            "private_key": merchant.private_key,
            "api_v3_key": merchant.api_v3_key,
            "keys": keys[mode],
        }
        for mode, merchant in merchants.items()
    }
    path = folder / "merchants.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return start("wechatpayv3_peer.py", str(path))


@pytest.fixture(params=["public", "certificate"])
def mode(request: pytest.FixtureRequest) -> str:
    """How answers and notices are verified."""
    return str(request.param)


def ask(peer: Peer, name: str, *args: Any, **more: Any) -> tuple[int, Any]:
    """Make a call; return the status and the decoded answer. wechatpayv3 has verified its signature."""
    status, text = peer(name, *args, **more)
    return status, json.loads(text) if text else None


def order(peer: Peer, mode: str, payer: Phone, total: int = 100) -> tuple[str, str]:
    """Place an order; return its number and its prepay_id."""
    number = f"V3{next(NUMBERS):08d}"
    status, answer = ask(
        peer,
        f"{mode}.client.pay",
        description="一杯茶 & <糖>",
        out_trade_no=number,
        amount={"total": total, "currency": "CNY"},
        payer={"openid": payer.openid},
        attach="附加",
    )
    assert status == 200
    return number, answer["prepay_id"]


def paid(peer: Peer, simulator: Simulator, mode: str, payer: Phone, total: int = 100) -> str:
    """Place an order and pay it on the phone."""
    number, prepay_id = order(peer, mode, payer, total)
    payer.pay(peer(f"{mode}.jsapi", prepay_id))
    settle(simulator)
    return number


def test_order_is_not_paid_yet(
    peer: Peer, mode: str, payer: Phone, simulator: Simulator, merchants: dict[str, Merchant]
) -> None:
    """A new order has its documented fields, and no transaction."""
    number, prepay_id = order(peer, mode, payer)
    status, answer = ask(peer, f"{mode}.client.query", out_trade_no=number)
    assert (status, answer["trade_state"], answer["out_trade_no"]) == (200, "NOTPAY", number)
    assert (answer["mchid"], answer["appid"]) == (merchants[mode].mchid, simulator.account.appid)
    assert "transaction_id" not in answer
    assert len(prepay_id) == 36


def test_payment_and_its_notice(peer: Peer, mode: str, payer: Phone, simulator: Simulator) -> None:
    """What it signs for the page is accepted by the phone; the notice opens and says what a query says."""
    number = paid(peer, simulator, mode, payer)
    status, answer = ask(peer, f"{mode}.client.query", out_trade_no=number)
    assert (status, answer["trade_state"], answer["attach"]) == (200, "SUCCESS", "附加")
    assert answer["payer"]["openid"] == payer.openid
    assert answer["amount"]["payer_total"] == 100
    by_id = ask(peer, f"{mode}.client.query", transaction_id=answer["transaction_id"])[1]
    assert by_id == answer
    notice = peer(f"{mode}.notices")[-1]
    assert (notice["event_type"], notice["resource_type"]) == ("TRANSACTION.SUCCESS", "encrypt-resource")
    told = notice["resource"]
    assert {name: told[name] for name in ("out_trade_no", "transaction_id", "trade_state", "success_time")} == {
        name: answer[name] for name in ("out_trade_no", "transaction_id", "trade_state", "success_time")
    }


def test_close(peer: Peer, mode: str, payer: Phone, simulator: Simulator) -> None:
    """A closed order answers with nothing at all, whose signature is right, and is closed from then on."""
    number, _ = order(peer, mode, payer)
    simulator.advance(301)
    assert ask(peer, f"{mode}.client.close", number) == (204, None)
    assert ask(peer, f"{mode}.client.query", out_trade_no=number)[1]["trade_state"] == "CLOSED"


def test_refund(peer: Peer, mode: str, payer: Phone, simulator: Simulator) -> None:
    """Part of a payment goes back: accepted, told, and asked for."""
    number = paid(peer, simulator, mode, payer)
    refund = f"R{number}"
    status, answer = ask(
        peer,
        f"{mode}.client.refund",
        out_refund_no=refund,
        out_trade_no=number,
        amount={"refund": 30, "total": 100, "currency": "CNY"},
        reason="太甜",
    )
    assert status == 200
    assert answer["out_refund_no"] == refund
    assert answer["status"] in {"PROCESSING", "SUCCESS"}
    simulator.advance(3600)
    settle(simulator)
    status, answer = ask(peer, f"{mode}.client.query_refund", refund)
    assert (status, answer["status"], answer["amount"]["refund"]) == (200, "SUCCESS", 30)
    notice = peer(f"{mode}.notices")[-1]
    assert (notice["event_type"], notice["resource"]["out_refund_no"]) == ("REFUND.SUCCESS", refund)
    assert notice["resource"]["refund_status"] == "SUCCESS"
    assert ask(peer, f"{mode}.client.query", out_trade_no=number)[1]["trade_state"] == "REFUND"


def test_error(peer: Peer, mode: str) -> None:
    """An unknown order is 404 with the platform's code."""
    status, answer = ask(peer, f"{mode}.client.query", out_trade_no="NOSUCHORDER1")
    assert status == 404
    assert answer["code"] == "ORDER_NOT_EXIST"
    assert answer["message"]


def test_native(peer: Peer, mode: str, payer: Phone, simulator: Simulator) -> None:
    """A QR code for a payment is scanned and paid."""
    number = f"V3{next(NUMBERS):08d}"
    status, text = peer(
        f"{mode}.native", description="扫码", out_trade_no=number, amount={"total": 5, "currency": "CNY"}
    )
    assert status == 200
    url = json.loads(text)["code_url"]
    assert url.startswith("weixin://wxpay/bizpayurl?")
    payer.pay(url)
    settle(simulator)
    assert peer(f"{mode}.notices")[-1]["resource"]["trade_type"] == "NATIVE"


def test_bill(peer: Peer, mode: str, payer: Phone, simulator: Simulator) -> None:
    """Yesterday's bill names the payment; the file is compressed as asked, and what it fetches is its content."""
    number = paid(peer, simulator, mode, payer, total=77)
    day = dt.datetime.fromtimestamp(simulator.world.now(), dt.timezone(dt.timedelta(hours=8)))
    simulator.advance(DAY + 11 * 3600)
    status, answer = ask(peer, f"{mode}.client.trade_bill", day.strftime("%Y-%m-%d"))
    assert status == 200, answer
    assert answer["hash_type"] == "SHA1"
    status, raw = peer(f"{mode}.client.download_bill", answer["download_url"])
    assert status == 200
    assert number in gzip.decompress(content(raw)).decode()


def test_forged_notice_is_refused(peer: Peer, mode: str, payer: Phone, simulator: Simulator) -> None:
    """A copy with a wrong signature is not taken; the real one after it is."""
    _, prepay_id = order(peer, mode, payer)
    before = len(peer(f"{mode}.notices"))
    simulator.fault("pay_forged")
    payer.pay(peer(f"{mode}.jsapi", prepay_id))
    settle(simulator)
    simulator.clear_faults()
    assert len(peer(f"{mode}.refused")) >= 1
    assert len(peer(f"{mode}.notices")) == before + 1


def test_sensitive_field(peer: Peer, mode: str, payer: Phone) -> None:
    """A name that it enciphers for the platform can be read there: the transfer is accepted."""
    status, answer = ask(
        peer,
        f"{mode}.client.mch_transfer_bills",
        out_bill_no=f"T{next(NUMBERS):08d}",
        transfer_scene_id="1000",
        openid=payer.openid,
        transfer_amount=100,
        transfer_remark="奖励",
        user_name="张三",
        transfer_scene_report_infos=[
            {"info_type": "活动名称", "info_content": "新会员有礼"},
            {"info_type": "奖励说明", "info_content": "注册会员抽奖"},
        ],
    )
    assert status == 200, answer
    assert answer["state"] in {"ACCEPTED", "WAIT_USER_CONFIRM"}


def test_only_the_platform_was_asked(gateway: Gateway, peer: Peer) -> None:
    """All that it asked for was the pay host, under its real name."""
    ask(peer, "public.client.query", out_trade_no="NOSUCHORDER1")
    assert gateway.reached == {"api.mch.weixin.qq.com"}
