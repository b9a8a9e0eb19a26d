"""What WeChat Pay tells the merchant's server: real HTTP on loopback, the server's answers decided by each test."""

from __future__ import annotations

import json
import logging
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.simulator.pay.merchant import flat
from wxmp.simulator import Answer, Clock, Policy, World
from wxmp.simulator.pay import ledger, notices

REPEATS = [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600]
EVENT = "TRANSACTION.SUCCESS"


def settled(simulator):
    """Wait until nothing is to be sent now."""
    assert simulator.wait_for(notices.idle, 40.0)


@pytest.fixture
def shop(shop, developer):
    """The shop, with its server on loopback, which answers 204."""
    shop.notify_url = developer.url
    developer.answer = lambda hit: (204, b"")
    return shop


def pay(shop, buyer, number="order-0001", **changes):
    """Place and pay an order; return the result on the phone."""
    return buyer.pay(shop.jsapi(buyer.openid, number, **changes))


def notice_state(world) -> Any:
    """Return what has become of the notice of the only order."""
    found: Any = ledger.describe_orders(world)
    return found["orders"][0]["notice"]["state"]


def verdicts(world):
    """Return the verdicts of all attempts."""
    return [attempt.verdict for attempt in ledger.notice_attempts(world)]


class TestPayment:
    """The notice of a payment."""

    def test_notice_is_signed_and_enciphered(self, simulator, shop, buyer, developer):
        """The notice verifies, opens with the APIv3 key, and holds the order as a query shows it."""
        result = pay(shop, buyer, attach="table 5")
        settled(simulator)
        (hit,) = developer.hits
        envelope, plain = shop.notice(hit)
        assert plain == shop.query()
        assert plain["transaction_id"] == result.transaction_id
        assert (envelope["event_type"], envelope["resource_type"]) == (EVENT, "encrypt-resource")
        assert envelope["resource"]["original_type"] == envelope["resource"]["associated_data"] == "transaction"
        assert hit.headers["content-type"] == "application/json"
        assert hit.headers["Wechatpay-Serial"] == shop.public_key_id
        assert hit.headers["Request-ID"]
        assert verdicts(simulator.world) == ["delivered"]

    def test_certificate_may_sign(self, simulator, shop, buyer, developer):
        """The policy lets the platform certificate sign instead."""
        simulator.world.policy = Policy(pay_notices_signed_by="certificate")
        serial = shop.learn_certificates()[0]
        pay(shop, buyer)
        settled(simulator)
        assert developer.hits[0].headers["Wechatpay-Serial"] == serial
        shop.notice(developer.hits[0])

    def test_journal_has_the_plain_text_and_the_reason(self, simulator, shop, buyer):
        """The journal shows the deciphered notice, the sealed one, and what the answer was worth."""
        pay(shop, buyer)
        settled(simulator)
        exchange = next(e for e in simulator.journal if e.direction == "out")
        assert exchange.why.startswith(f"delivered: {EVENT}: HTTP status 204")
        assert json.loads(exchange.request_body)["out_trade_no"] == "order-0001"
        assert "ciphertext" in exchange.request_raw
        assert (exchange.mode, exchange.attempt, exchange.status) == ("v3", 1, 204)

    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            ((200, b""), "delivered"),
            ((200, b'{"code":"FAIL","message":"no"}'), "delivered"),
            ((204, b""), "delivered"),
            ((201, b""), "refused"),
            ((302, b"", ("location", "/elsewhere")), "refused"),
            ((401, b'{"code":"FAIL","message":"no"}'), "refused"),
            ((500, b""), "refused"),
            ((None, b""), "broken"),
        ],
        ids=lambda value: str(value)[:24],
    )
    def test_only_the_status_counts(self, simulator, shop, buyer, developer, answer, verdict):
        """200 and 204 are success whatever the body says; everything else is not."""
        developer.answer = lambda hit: answer
        pay(shop, buyer)
        settled(simulator)
        assert verdicts(simulator.world) == [verdict]
        assert notice_state(simulator.world) == ("delivered" if verdict == "delivered" else "sleeping")

    def test_slow_server_counts_as_none(self, simulator, shop, buyer, developer):
        """A server that takes too long is cut off, and the notice comes again."""
        simulator.world.policy = Policy(pay_notice_seconds=0.2)
        developer.answer = developer.hang
        pay(shop, buyer)
        settled(simulator)
        (attempt,) = ledger.notice_attempts(simulator.world)
        assert (attempt.verdict, attempt.status) == ("broken", None)
        assert "within 0.2 s" in attempt.why

    def test_repeats_in_simulated_time(self, simulator, shop, buyer, developer, world):
        """An unanswered notice comes 15 times more in about a day, each with the same id and a fresh signature."""
        developer.answer = lambda hit: (500, b"")
        pay(shop, buyer)
        began = world.now()
        settled(simulator)
        times = []
        for seconds in REPEATS:
            world.advance(seconds - 1)
            settled(simulator)
            count = len(developer.hits)
            world.advance(1)
            settled(simulator)
            assert len(developer.hits) == count + 1
            times.append(world.now() - began)
        world.advance(7 * 86_400)
        settled(simulator)
        assert len(developer.hits) == 16
        assert times[-1] == 24 * 3600 + 4 * 60
        opened = [shop.notice(hit)[0] for hit in developer.hits]
        assert len({envelope["id"] for envelope in opened}) == 1
        assert len({hit.headers["Wechatpay-Nonce"] for hit in developer.hits}) == 16
        assert len({envelope["resource"]["nonce"] for envelope in opened}) == 16
        assert [a.number for a in ledger.notice_attempts(world)] == list(range(1, 17))
        assert notice_state(world) == "failed"

    def test_success_ends_the_repeats(self, simulator, shop, buyer, developer, world):
        """Once taken, a notice does not come again."""
        developer.answer = lambda hit: (500 if len(developer.hits) == 1 else 200, b"")
        pay(shop, buyer)
        settled(simulator)
        world.advance(86_400)
        settled(simulator)
        assert verdicts(world) == ["refused", "delivered"]

    def test_console_sends_it_again(self, simulator, shop, buyer, developer, world):
        """A notice can be sent once more by hand, with the same id."""
        pay(shop, buyer)
        settled(simulator)
        ledger.act_on_order(world, "order-0001", "notify")
        settled(simulator)
        assert len({shop.notice(hit)[0]["id"] for hit in developer.hits}) == 1
        assert verdicts(world) == ["delivered", "delivered"]

    def test_first_delivery_may_wait(self, simulator, shop, buyer, developer, world):
        """The policy can let the first delivery come later."""
        world.policy = Policy(pay_notice_delay=2.0)
        pay(shop, buyer)
        settled(simulator)
        assert developer.hits == []
        world.advance(2)
        settled(simulator)
        assert verdicts(world) == ["delivered"]

    def test_address_beyond_this_machine_gets_nothing(self, simulator, shop, buyer, world):
        """Nothing leaves the machine: the journal warns instead."""
        shop.notify_url = "https://shop.example.com/pay"
        pay(shop, buyer)
        assert world.journal[-1].why.startswith("warning: TRANSACTION.SUCCESS: the notice is not sent")
        assert notice_state(world) == "blocked"
        assert verdicts(world) == []

    def test_pushes_and_notices_go_side_by_side(self, simulator, shop, buyer, developer, world):
        """The same courier carries an account's pushes as before."""
        world.set_callback(developer.url, token="devToken123", mode="plain")
        developer.answer = lambda hit: b"success"
        buyer.say("hello")
        pay(shop, buyer)
        assert simulator.wait_until_settled()
        settled(simulator)
        assert sorted(hit.headers["content-type"] for hit in developer.hits) == ["application/json", "text/xml"]
        assert [attempt.verdict for attempt in world.deliveries()] == ["silent"]


class TestOtherNotices:
    """Refunds and transfers."""

    @pytest.mark.parametrize("outcome", ["SUCCESS", "ABNORMAL", "CLOSED"])
    def test_end_of_a_refund(self, simulator, shop, buyer, developer, world, outcome):
        """Each end of a refund has its event; the status has another name than in the query."""
        world.policy = Policy(pay_refund_outcome=outcome)
        number = pay(shop, buyer).transaction_id
        settled(simulator)
        shop.verified(shop.refund(number, notify_url=developer.url))
        world.advance(3)
        settled(simulator)
        envelope, plain = shop.notice(developer.hits[-1])
        assert envelope["event_type"] == f"REFUND.{outcome}"
        assert plain["refund_status"] == outcome
        assert ("success_time" in plain) == (outcome == "SUCCESS")
        assert plain["amount"] == {"total": 100, "refund": 100, "payer_total": 100, "payer_refund": 100}

    def test_refund_without_an_address(self, simulator, shop, buyer, developer, world):
        """Without an address in the request the console's counts, and without that nothing is sent."""
        number = pay(shop, buyer).transaction_id
        settled(simulator)
        shop.verified(shop.refund(number, "refund-1", 40))
        world.advance(60)
        settled(simulator)
        assert len(developer.hits) == 1
        ledger.merchant_of(world, None).refund_notify_url = developer.url
        shop.verified(shop.refund(number, "refund-2", 40))
        world.advance(60)
        settled(simulator)
        assert shop.notice(developer.hits[-1])[1]["out_refund_no"] == "refund-2"

    def test_end_of_a_transfer(self, simulator, shop, buyer, developer):
        """A confirmed transfer is told of, with the merchant number spelt mch_id."""
        body = {
            "appid": shop.appid,
            "out_bill_no": "bill0001",
            "transfer_scene_id": "1000",
            "openid": buyer.openid,
            "transfer_amount": 500,
            "transfer_remark": "奖励",
            "notify_url": developer.url,
            "transfer_scene_report_infos": [{"info_type": "活动名称", "info_content": "新会员有礼"}],
        }
        answer = shop.post("/v3/fund-app/mch-transfer/transfer-bills", body)
        buyer.pay({"mchId": shop.mchid, "appId": shop.appid, "package": answer["package_info"]})
        settled(simulator)
        envelope, plain = shop.notice(developer.hits[-1])
        assert (envelope["event_type"], plain["state"]) == ("MCHTRANSFER.BILL.FINISHED", "SUCCESS")
        assert plain["mch_id"] == shop.mchid


class TestVersion2:
    """Notices in XML."""

    SUCCESS = b"<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"

    @pytest.mark.parametrize("sign_type", ["MD5", "HMAC-SHA256"])
    def test_payment(self, simulator, shop, buyer, developer, world, sign_type):
        """The notice carries the order's own sign type, and wants an XML SUCCESS."""
        answers = [b"success", b"<xml><return_code>FAIL</return_code></xml>", self.SUCCESS]
        developer.answer = lambda hit: answers[len(developer.hits) - 1]
        placed = shop.v2("/pay/unifiedorder", shop.v2_order(buyer.openid), sign_type)
        buyer.pay(placed["prepay_id"])
        for seconds in (15, 15, 0):
            settled(simulator)
            world.advance(seconds)
        assert verdicts(world) == ["refused", "refused", "delivered"]
        for hit in developer.hits:
            found = flat(hit.body)
            assert found["sign"] == shop.sign_v2(found, sign_type)
            assert found["sign_type"] == sign_type
            assert (found["result_code"], found["total_fee"]) == ("SUCCESS", "100")
            assert "trade_state" not in found

    def test_refund(self, simulator, shop, buyer, developer, world):
        """The body of a refund notice opens with the hashed APIv2 key; nothing is signed."""
        developer.answer = lambda hit: self.SUCCESS
        placed = shop.v2("/pay/unifiedorder", shop.v2_order(buyer.openid))
        number = buyer.pay(placed["prepay_id"]).transaction_id
        settled(simulator)
        body = {"transaction_id": number, "out_refund_no": "r1", "total_fee": 100, "refund_fee": 100}
        shop.v2("/secapi/pay/refund", body | {"notify_url": developer.url})
        world.advance(3)
        settled(simulator)
        found = flat(developer.hits[-1].body)
        assert "sign" not in found
        plain = shop.req_info(found["req_info"])
        assert (plain["refund_status"], plain["out_refund_no"], plain["refund_fee"]) == ("SUCCESS", "r1", "100")


class TestFaults:
    """What goes wrong on purpose."""

    def test_forged_notice_is_a_probe(self, simulator, shop, buyer, developer, world, caplog):
        """A server that takes the probe has a hole, and is told so; the good notice follows all the same."""
        world.fault("pay_forged")
        with caplog.at_level(logging.WARNING, "wxmp.simulator"):
            pay(shop, buyer)
            settled(simulator)
        assert verdicts(world) == ["accepted", "delivered"]
        forged, good = developer.hits
        assert forged.headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")
        assert not shop.genuine(forged.headers, forged.body)
        assert shop.genuine(good.headers, good.body)
        assert "has a hole" in caplog.text
        assert any(e.rule == "pay_forged:accepted" for e in simulator.journal)

    def test_careful_server_passes_the_probe(self, simulator, shop, buyer, developer, world):
        """A server that verifies refuses the probe and takes the notice."""
        world.fault("pay_forged")
        developer.answer = lambda hit: (204 if shop.genuine(hit.headers, hit.body) else 401, b"")
        pay(shop, buyer)
        settled(simulator)
        assert verdicts(world) == ["refused", "delivered"]
        assert ledger.notice_attempts(world)[0].fault.endswith("pay_forged")

    @pytest.mark.parametrize("careful", [True, False])
    def test_forged_v2_notices(self, simulator, shop, buyer, developer, world, careful):
        """In v2 there are two probes: a sign of another key, and a right one over a message with a DOCTYPE."""
        world.fault("pay_forged")

        def answer(hit):
            found = flat(hit.body)
            good = found["sign"] == shop.sign_v2(found) and not (careful and b"<!DOCTYPE" in hit.body)
            return f"<xml><return_code>{'SUCCESS' if good else 'FAIL'}</return_code></xml>".encode()

        developer.answer = answer
        buyer.pay(shop.v2("/pay/unifiedorder", shop.v2_order(buyer.openid))["prepay_id"])
        settled(simulator)
        assert verdicts(world) == ["refused", "refused" if careful else "accepted", "delivered"]
        assert {attempt.fault for attempt in ledger.notice_attempts(world)[:2]} == {"#1 pay_forged"}

    def test_forged_v2_refund(self, simulator, shop, buyer, developer, world):
        """The probe of a refund notice is enciphered with another key."""
        world.fault("pay_forged", event="REFUND.*")
        placed = shop.v2("/pay/unifiedorder", shop.v2_order(buyer.openid))
        number = buyer.pay(placed["prepay_id"]).transaction_id
        settled(simulator)
        developer.hits.clear()
        body = {"transaction_id": number, "out_refund_no": "r1", "total_fee": 100, "refund_fee": 100}
        shop.v2("/secapi/pay/refund", body | {"notify_url": developer.url})
        world.advance(3)
        settled(simulator)
        forged, good = (flat(hit.body)["req_info"] for hit in developer.hits)
        with pytest.raises((ET.ParseError, AssertionError)):
            shop.req_info(forged)
        assert shop.req_info(good)["out_refund_no"] == "r1"

    def test_second_copy_after_success(self, simulator, shop, buyer, developer, world):
        """A taken notice comes once more, with the same id and another signature."""
        world.fault("pay_twice")
        pay(shop, buyer)
        settled(simulator)
        first, second = (shop.notice(hit)[0] for hit in developer.hits)
        assert first["id"] == second["id"]
        assert developer.hits[0].headers["Wechatpay-Signature"] != developer.hits[1].headers["Wechatpay-Signature"]

    def test_never(self, simulator, shop, buyer, developer, world):
        """The notice never comes; only a query tells."""
        world.fault("pay_never", event="TRANSACTION.*")
        pay(shop, buyer)
        settled(simulator)
        world.advance(86_400 * 2)
        settled(simulator)
        assert developer.hits == []
        assert shop.query()["trade_state"] == "SUCCESS"

    def test_early_notice(self, simulator, http, shop, buyer, developer, world):
        """The notice is there before the merchant has the answer to its order."""
        world.fault("pay_early", seconds=1.5)
        body = json.dumps(shop.order(payer={"openid": buyer.openid})).encode()
        path = "/v3/pay/transactions/jsapi"
        answer = http.post(path, content=body, headers=shop.headers("POST", path, body))
        assert len(developer.hits) == 1
        assert answer.json()["prepay_id"]
        assert shop.notice(developer.hits[0])[1]["payer"] == {"openid": buyer.openid}

    def test_early_notice_of_an_order_without_a_payer(self, shop, world):
        """A code that nobody has seen is paid by somebody."""
        world.fault("pay_early")
        reply = shop.send("POST", "/v3/pay/transactions/native", shop.order())
        assert reply.delivery.delay == world.policy.pay_early_seconds
        assert shop.query()["trade_state"] == "SUCCESS"

    def test_key_rotated_in_mid_flight(self, simulator, shop, buyer, developer, world):
        """The notice names a certificate the merchant has not seen; the list has it."""
        known = shop.learn_certificates()
        world.fault("pay_rotated_key")
        developer.answer = lambda hit: (204 if shop.genuine(hit.headers, hit.body) else 401, b"")
        pay(shop, buyer)
        settled(simulator)
        assert developer.hits[0].headers["Wechatpay-Serial"] not in {*known, shop.public_key_id}
        assert len(shop.learn_certificates()) == 2
        world.advance(15)
        settled(simulator)
        assert verdicts(world) == ["refused", "delivered"]

    def test_signer_that_has_run_out(self, simulator, shop, buyer, developer, world):
        """After a rotation the new certificate signs; when it has run out, the policy's key does again."""
        serial = ledger.rotate_certificate(world).serial
        shop.learn_certificates()
        pay(shop, buyer)
        settled(simulator)
        world.advance(5 * 365 * 86_400)
        pay(shop, buyer, "order-0002")
        settled(simulator)
        assert [hit.headers["Wechatpay-Serial"] for hit in developer.hits] == [serial, shop.public_key_id]


class TestQueue:
    """Deliveries without a server: decisions only."""

    @pytest.fixture
    def waiting(self, shop, buyer):
        """A paid order whose notice waits."""
        pay(shop, buyer)

    def test_snapshot_keeps_what_waits(self, shop, waiting, world):
        """A notice that was on its way begins again in a restored world, and its old delivery counts for nothing."""
        sender: Any = notices.Notices(world)
        (job,) = sender.take()
        outgoing = sender.next_request(job)
        assert not notices.idle(world)
        document = world.snapshot()
        world.restore(document)
        assert sender.answered(job, outgoing, Answer(200)) is None
        assert sender.next_request(job) is None
        (again,) = sender.take()
        assert again.notice.id == job.notice.id
        fresh = sender.next_request(again)
        assert sender.answered(again, fresh, Answer(204)).verdict == "delivered"
        assert sender.next_request(again) is None
        assert notices.idle(world)

    def test_sleeping_notice_survives_a_snapshot(self, shop, waiting, world):
        """A repeat that is due later comes in the restored world too."""
        sender: Any = notices.Notices(world)
        (job,) = sender.take()
        sender.answered(job, sender.next_request(job), Answer(500))
        sender.end(job)
        other = World(clock=Clock.frozen(), seed=1)
        other.restore(json.loads(json.dumps(world.snapshot())))
        assert notices.idle(other)
        other.advance(15)
        assert len(notices.Notices(other).take()) == 1

    def test_delivery_that_broke_off_is_a_repeat(self, shop, waiting, world):
        """A delivery that ends without any answer comes again later, not at once."""
        sender = notices.Notices(world)
        (job,) = sender.take()
        sender.end(job)
        assert sender.take() == []
        world.advance(15)
        assert len(sender.take()) == 1

    def test_reset_forgets_deliveries(self, shop, waiting, world):
        """After a reset an old delivery has no next request."""
        sender: Any = notices.Notices(world)
        (job,) = sender.take()
        world.reset()
        assert sender.next_request(job) is None
        assert sender.take() == []

    def test_old_notices_are_forgotten(self, shop, buyer, world):
        """Only so many notices are remembered, and a forgotten one no longer waits."""
        world.policy = Policy(pay_kept=2)
        for index in range(4):
            pay(shop, buyer, f"order-100{index}")
        assert len(world.state.pay.notices) == len(world.state.pay.queue) == 2
        assert len(notices.Notices(world).take()) == 2

    def test_unreadable_address(self, shop, buyer, world):
        """An address that nobody can read gets nothing and breaks nothing."""
        merchant = ledger.merchant_of(world, None)
        notices.queue(world, merchant, EVENT, "transaction", {}, "http://[", shop.appid, "", "v3")
        assert world.state.pay.notices[-1].state == "blocked"
        assert "cannot be read" in world.journal[-1].why

    def test_few_at_once(self, shop, buyer, world):
        """No more than so many notices are on their way at once, each of them once."""
        world.policy = Policy(pay_notice_concurrency=2)
        for index in range(5):
            pay(shop, buyer, f"order-100{index}")
        sender: Any = notices.Notices(world)
        first = sender.take()
        assert len(first) == 2
        assert sender.take() == []
        sender.end(first[0], again=True)
        assert len(sender.take()) == 1
