"""The documented shop, under its real server, against the simulated WeChat Pay."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from wxmp.cli._sim_exec import pay_environment
from wxmp.simulator import Simulator

from .service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


EXPECTED = re.compile(r"OPENID_MISMATCH|transactions/jsapi \"HTTP/1.1 500")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=1) as running:
        yield running


@pytest.fixture(scope="module")
def shop(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The shop, with the variables that ``wxmp sim exec --pay`` sets."""
    folder: Path = tmp_path_factory.mktemp("keys")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    variables = pay_environment(simulator.world.default_merchant(), simulator.url, folder)
    variables["WXMP_PAY_NOTIFY_URL"] = f"http://127.0.0.1:{port}/pay"
    service = Service(
        ["-m", "uvicorn", "pay_shop:app", "--port", str(port)], simulator, "memory:", 0, variables=variables
    )
    try:
        service.wait()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http:
            yield http
        assert service.stop() in (0, -15)
        # One test is refused on purpose.
        assert not [line for line in service.warnings if not EXPECTED.search(line)], service.output
    finally:
        service.close()


def ordered(shop: httpx.Client, openid: str) -> tuple[str, dict[str, str]]:
    """Return the number of a new order, and the parameters of its page."""
    number = shop.post("/orders", params={"openid": openid}).json()["number"]
    return number, shop.post(f"/orders/{number}/pay").json()


def test_paid_delivered_once_and_refunded(shop: httpx.Client, simulator: Simulator) -> None:
    """A payment is heard of by notice and by query and delivered once; its refund is heard of as well."""
    phone = simulator.phone()
    phone.follow()
    number, params = ordered(shop, phone.openid)
    assert phone.pay(params)
    assert shop.get(f"/orders/{number}").json() == {"state": "paid", "delivered": 1}
    simulator.wait_until_settled()
    assert shop.get(f"/orders/{number}").json() == {"state": "paid", "delivered": 1}
    again = [shop.post(f"/orders/{number}/refund").json() for _ in range(2)]
    assert again == [{"status": "PROCESSING"}] * 2
    simulator.world.advance(3600)
    simulator.wait_until_settled()
    assert shop.get(f"/orders/{number}").json()["state"] == "refund SUCCESS"


def test_same_number_is_the_same_order(shop: httpx.Client, simulator: Simulator) -> None:
    """The page may ask for its parameters twice; either ones pay the one order, and only once."""
    phone = simulator.phone()
    phone.follow()
    number, first = ordered(shop, phone.openid)
    second = shop.post(f"/orders/{number}/pay").json()
    results = [phone.pay(params) for params in (second, first)]
    assert [result is not None and result.ok for result in results] == [True, False]
    simulator.wait_until_settled()
    assert shop.get(f"/orders/{number}").json() == {"state": "paid", "delivered": 1}


def test_cancelled_before_and_after_the_payment(shop: httpx.Client, simulator: Simulator) -> None:
    """What is not paid is closed; what is paid stays paid, and is delivered."""
    phone = simulator.phone()
    phone.follow()
    open_one, _ = ordered(shop, phone.openid)
    assert shop.post(f"/orders/{open_one}/cancel").json() == {"state": "closed"}
    paid_one, params = ordered(shop, phone.openid)
    phone.pay(params)
    assert shop.post(f"/orders/{paid_one}/cancel").json() == {"state": "paid"}
    simulator.wait_until_settled()
    assert shop.get(f"/orders/{paid_one}").json()["delivered"] == 1


def test_refusal_is_told_by_its_code(shop: httpx.Client, simulator: Simulator) -> None:
    """An openid of somebody else ends in the platform's code, not in a traceback."""
    number = shop.post("/orders", params={"openid": "oUnknown"}).json()["number"]
    answer = shop.post(f"/orders/{number}/pay")
    assert (answer.status_code, bool(answer.json()["code"])) == (409, True)
