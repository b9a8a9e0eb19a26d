"""wechatpy's client for WeChat Pay v2 (XML, MD5, client certificates) against the simulator."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.conftest import NEXT, Peer, PeerError, settle
from wxmp.simulator.pay.ledger import add_merchant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wxmp.simulator import Phone, Simulator
    from wxmp.simulator.pay.records import Merchant

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def merchant(simulator: Simulator) -> Merchant:
    """A merchant with a key for v2."""
    return add_merchant(simulator.world)


@pytest.fixture(scope="module", params=["1.8", "2.0"])
def peer(
    request: pytest.FixtureRequest,
    start: Callable[..., Peer],
    simulator: Simulator,
    merchant: Merchant,
    tmp_path_factory: pytest.TempPathFactory,
) -> Peer:
    """A process with a client and a server for notices."""
    folder: Path = tmp_path_factory.mktemp("merchant")
    (folder / "cert.pem").write_text(merchant.certificate, encoding="ascii")
    (folder / "key.pem").write_text(merchant.private_key, encoding="ascii")
    settings = {
        "mchid": merchant.mchid,
        "appid": simulator.account.appid,
        "api_v2_key": merchant.api_v2_key,
        "certificate_file": str(folder / "cert.pem"),
        "private_key_file": str(folder / "key.pem"),
    }
    path = folder / "merchant.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    peer = start("wechatpy_pay_peer.py", str(path), path=(NEXT,) if request.param == "2.0" else ())
    assert peer("version").startswith(request.param)
    return peer


def order(peer: Peer, payer: Phone, **more: Any) -> tuple[str, dict[str, Any]]:
    """Place an order; return its number and the answer."""
    number = f"V2{next(NUMBERS):08d}"
    wanted: dict[str, Any] = {
        "trade_type": "JSAPI",
        "body": "一杯茶 & <糖>",
        "total_fee": 100,
        "notify_url": peer("url"),
        "client_ip": "127.0.0.1",
        "user_id": payer.openid,
        "out_trade_no": number,
        "attach": "附加",
    }
    return number, peer("pay.order.create", **wanted | more)


def paid(peer: Peer, payer: Phone, simulator: Simulator) -> str:
    """Place an order and pay it on the phone."""
    number, answer = order(peer, payer)
    payer.pay(peer("pay.jsapi.get_jsapi_params", answer["prepay_id"]))
    settle(simulator)
    return number


def test_order(peer: Peer, payer: Phone, merchant: Merchant, simulator: Simulator) -> None:
    """An order is signed as the platform checks it; the answer's signature is right for wechatpy."""
    number, answer = order(peer, payer)
    assert (answer["return_code"], answer["result_code"], answer["trade_type"]) == ("SUCCESS", "SUCCESS", "JSAPI")
    assert (answer["appid"], answer["mch_id"]) == (simulator.account.appid, merchant.mchid)
    assert peer("pay.check_signature", answer) is True
    assert peer("pay.order.query", out_trade_no=number)["trade_state"] == "NOTPAY"


def test_payment_and_its_notice(peer: Peer, payer: Phone, simulator: Simulator) -> None:
    """Its parameters for the page are accepted by the phone, its parser takes the notice, a query says the same."""
    number = paid(peer, payer, simulator)
    found = peer("pay.order.query", out_trade_no=number)
    assert (found["trade_state"], found["openid"], found["total_fee"]) == ("SUCCESS", payer.openid, "100")
    notice = peer("notices")[-1]
    assert (notice["out_trade_no"], notice["transaction_id"]) == (number, found["transaction_id"])
    assert (notice["total_fee"], notice["attach"], notice["time_end"]) == (100, "附加", found["time_end"])


def test_close(peer: Peer, payer: Phone, simulator: Simulator) -> None:
    """An order is closed."""
    number, _ = order(peer, payer)
    simulator.advance(301)
    assert peer("pay.order.close", number)["result_code"] == "SUCCESS"
    assert peer("pay.order.query", out_trade_no=number)["trade_state"] == "CLOSED"


def test_refund(peer: Peer, payer: Phone, simulator: Simulator) -> None:
    """A refund with the merchant's certificate, its end in an enciphered notice, and a query."""
    number = paid(peer, payer, simulator)
    refund = f"R{number}"
    answer = peer("pay.refund.apply", 100, 40, refund, out_trade_no=number, notify_url=peer("url"))
    assert (answer["result_code"], answer["refund_fee"]) == ("SUCCESS", "40")
    simulator.advance(3600)
    settle(simulator)
    notice = peer("notices")[-1]
    assert (notice["out_refund_no"], notice["refund_status"], notice["refund_fee"]) == (refund, "SUCCESS", 40)
    found = peer("pay.refund.query", out_refund_no=refund)
    assert found["refund_status_0"] == "SUCCESS"


def test_error(peer: Peer) -> None:
    """An unknown order is an exception with the platform's code."""
    with pytest.raises(PeerError) as caught:
        peer("pay.order.query", out_trade_no="NOSUCHORDER1")
    assert (caught.value.kind, caught.value.errcode) == ("WeChatPayException", "ORDERNOTEXIST")


def test_nothing_was_refused(peer: Peer, payer: Phone, simulator: Simulator) -> None:
    """Every notice's signature was right."""
    paid(peer, payer, simulator)
    assert peer("refused") == []
