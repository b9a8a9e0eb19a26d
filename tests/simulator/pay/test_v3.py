"""API v3 against a merchant of our own: signatures both ways, orders, refunds, transfers, certificates."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.pay.merchant import Shop
from wxmp.simulator import Clock, Policy, Request, World, WorldError
from wxmp.simulator.pay import ledger

JSAPI = "/v3/pay/transactions/jsapi"
NATIVE = "/v3/pay/transactions/native"


def paid(shop, buyer, number="order-0001", total=100, **changes):
    """Place and pay an order; return its transaction id."""
    result = buyer.pay(shop.jsapi(buyer.openid, number, total, **changes))
    assert result.outcome == "paid", result.why
    return result.transaction_id


class TestSignatures:
    """Every request is verified and every answer signed."""

    def test_good_request_is_answered_with_a_good_signature(self, shop, buyer):
        """A signed order gives a prepay_id in an answer that the platform has signed."""
        reply = shop.send("POST", JSAPI, shop.order(payer={"openid": buyer.openid}))
        assert shop.verified(reply)["prepay_id"].startswith("wx")
        assert dict(reply.headers)["Wechatpay-Serial"] == shop.public_key_id
        signature = dict(reply.headers)["Wechatpay-Signature"]
        assert (len(signature), signature[-2:]) == (344, "==")

    @pytest.mark.parametrize(
        "changes",
        [
            {"signature": "AAAA"},
            {"signature": "not base64!"},
            {"serial_no": "4123456789"},
            {"timestamp": "1700000000"},
            {"timestamp": "soon"},
            {"nonce_str": "with blanks"},
            {"nonce_str": "n" * 33},
        ],
        ids=str,
    )
    def test_each_spoilt_member_is_refused(self, shop, changes):
        """Signature, serial, timestamp and nonce are each looked at."""
        reply = shop.send("GET", "/v3/certificates", **changes)
        assert shop.refused(reply) == (401, "SIGN_ERROR")

    def test_changed_body_is_refused_with_the_rebuilt_text(self, shop, buyer):
        """The error shows how the gateway rebuilt the signed text, and its length in bytes."""
        body = json.dumps(shop.order(payer={"openid": buyer.openid})).encode()
        headers = shop.headers("POST", JSAPI, body)
        spoilt = body.replace(b"100", b"101")
        reply = shop.world.handle(Request("POST", JSAPI, {}, spoilt, host="mch", headers=headers))
        detail = json.loads(reply.body)["detail"]
        assert reply.status == 401
        assert detail["issue"] == "sign not match"
        told = detail["sign_information"]
        nonce = 32
        assert told["method"], told["url"] == ("POST", JSAPI)
        assert told["sign_message_length"] == len(f"POST\n{JSAPI}\n{int(time.time())}\n\n\n") + nonce + len(spoilt)
        assert told["truncated_sign_message"].startswith(f"POST\n{JSAPI}\n")

    def test_signature_over_another_path_is_refused(self, shop):
        """The path and the query are part of the signed text."""
        headers = shop.headers("GET", "/v3/certificates?algorithm_type=RSA", b"")
        reply = shop.world.handle(Request("GET", "/v3/certificates", {}, host="mch", headers=headers))
        assert shop.refused(reply) == (401, "SIGN_ERROR")

    def test_missing_authorization_and_other_scheme(self, shop):
        """Without the header, or with another scheme, nothing is looked at."""
        for value in (None, "Bearer x", 'WECHATPAY2-SM2-WITH-SM3 mchid="1"'):
            reply = shop.send("GET", "/v3/certificates", headers={"authorization": value})
            assert shop.refused(reply) == (401, "SIGN_ERROR")

    def test_platform_serial_in_authorization_is_named(self, shop):
        """The most frequent mix-up, a platform serial as the merchant's, is named in the journal."""
        reply = shop.send("GET", "/v3/certificates", serial_no=shop.public_key_id)
        assert shop.refused(reply) == (401, "SIGN_ERROR")
        assert "platform" in reply.why

    def test_timestamp_follows_the_policy(self, shop, world):
        """With the world's clock in charge, a merchant on that clock is understood and the real one is not."""
        world.policy = Policy(pay_timestamp="world")
        assert shop.refused(shop.send("GET", "/v3/certificates")) == (401, "SIGN_ERROR")
        reply = shop.send("GET", "/v3/certificates", timestamp=str(int(world.now()) + 299))
        assert reply.status == 200
        assert shop.send("GET", "/v3/certificates", timestamp=str(int(world.now()) + 301)).status == 401

    def test_replay_is_taken_or_refused_by_policy(self, shop, world):
        """The same Authorization works twice, as on two hosts, unless the policy refuses it."""
        headers = shop.headers("GET", "/v3/certificates", b"")
        request = Request("GET", "/v3/certificates", {}, host="mch", headers=headers)
        assert [world.handle(request).status for _ in range(2)] == [200, 200]
        assert "came before" in world.journal[-1].why
        world.policy = Policy(pay_replayed_request="refuse")
        assert world.handle(request).status == 401

    def test_named_key_signs_the_answer(self, shop):
        """The Wechatpay-Serial of the request chooses the key; without it the certificate answers."""
        serial = shop.learn_certificates()[0]
        shop.wants = serial
        assert dict(shop.send("GET", "/v3/certificates").headers)["Wechatpay-Serial"] == serial
        shop.wants = ""
        assert dict(shop.send("GET", "/v3/certificates").headers)["Wechatpay-Serial"] == serial
        shop.wants = "PUB_KEY_ID_0000"
        assert shop.refused(shop.send("GET", "/v3/certificates")) == (400, "PARAM_ERROR")

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"user-agent": None}, 403),
            ({"user-agent": " "}, 403),
            ({"accept": "text/html"}, 406),
            ({"accept": None}, 406),
            ({"content-type": "text/plain"}, 415),
            ({"content-type": None}, 415),
            ({"accept": "text/html, */*;q=0.1", "content-type": "application/json; charset=utf-8"}, 200),
        ],
        ids=str,
    )
    def test_headers_the_gateway_insists_on(self, shop, buyer, headers, status):
        """User-Agent, Accept and Content-Type are looked at."""
        assert shop.send("POST", JSAPI, shop.order(payer={"openid": buyer.openid}), headers=headers).status == status

    def test_percent_encoded_order_number(self, shop, buyer):
        """An order number with a bar and a star is found under its percent-encoded path."""
        shop.jsapi(buyer.openid, "a|b*c-001")
        assert shop.query("a|b*c-001")["out_trade_no"] == "a|b*c-001"

    def test_over_a_socket(self, simulator, http, shop, buyer):
        """The same over HTTP: raw bytes in, signed bytes out, 204 without a body."""
        body = json.dumps(shop.order(payer={"openid": buyer.openid}), ensure_ascii=False).encode()
        for prefix, number in (("", "order-0001"), ("/mch", "order-0002")):
            body = json.dumps(shop.order(number, payer={"openid": buyer.openid}), ensure_ascii=False).encode()
            target = f"{prefix}{JSAPI}"
            answer = http.post(target, content=body, headers=shop.headers("POST", target, body))
            assert answer.status_code == 200, answer.text
            shop.verify(answer.headers, answer.content)
        target = "/v3/pay/transactions/out-trade-no/order-0001/close"
        body = json.dumps({"mchid": shop.mchid}).encode()
        answer = http.post(target, content=body, headers=shop.headers("POST", target, body))
        assert (answer.status_code, answer.content) == (204, b"")
        shop.verify(answer.headers, b"")


class TestOrders:
    """Placing, querying and closing."""

    def test_each_way_to_order(self, shop, buyer):
        """JSAPI and app answer a prepay_id, native a code, H5 an address."""
        scene = {"payer_client_ip": "10.0.0.1", "h5_info": {"type": "Wap"}}
        assert shop.jsapi(buyer.openid).startswith("wx")
        assert shop.post("/v3/pay/transactions/app", shop.order("order-0002"))["prepay_id"].startswith("wx")
        assert shop.post(NATIVE, shop.order("order-0003"))["code_url"].startswith("weixin://wxpay/bizpayurl?pr=")
        answer = shop.post("/v3/pay/transactions/h5", shop.order("order-0004", scene_info=scene))
        assert answer["h5_url"].startswith("https://wx.tenpay.com/")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"description": None}, "/description"),
            ({"description": "长" * 128}, "/description"),
            ({"description": "☕️🔨"}, "/description"),
            ({"out_trade_no": "short"}, "/out_trade_no"),
            ({"out_trade_no": "with blank 1"}, "/out_trade_no"),
            ({"amount": {"total": 0}}, "/amount/total"),
            ({"amount": {"total": 1.5}}, "/amount/total"),
            ({"amount": {"total": True}}, "/amount/total"),
            ({"amount": {"total": "100"}}, "/amount/total"),
            ({"amount": {"total": 10**12}}, "/amount/total"),
            ({"amount": {"total": 1, "currency": "USD"}}, "/amount/currency"),
            ({"notify_url": "shop.example.com"}, "/notify_url"),
            ({"time_expire": "2026-01-02 12:00:00"}, "/time_expire"),
            ({"attach": ""} | {"mystery": 1}, "/mystery"),
            ({"time_expire": "tomorrow"}, "/time_expire"),
            ({"support_fapiao": "yes"}, "/support_fapiao"),
            ({"limit_pay": "no_credit"}, "/limit_pay"),
            (
                {"detail": {"goods_detail": [{"merchant_goods_id": "a" * 32, "quantity": 1, "unit_price": 1}] * 99}},
                "/detail",
            ),
            ({"payer": {}}, "/payer/openid"),
            ({"payer": {"openid": None}}, "/payer/openid"),
            ({"mchid": "1900000000"}, "/mchid"),
            (
                {"detail": {"goods_detail": [{"merchant_goods_id": "a", "quantity": 1}]}},
                "/detail/goods_detail/0/unit_price",
            ),
        ],
        ids=str,
    )
    def test_wrong_members_are_pointed_at(self, shop, buyer, changes, field):
        """A wrong, missing or unknown member is PARAM_ERROR with a pointer to it."""
        body = shop.order(**{"payer": {"openid": buyer.openid}, **changes})
        reply = shop.send("POST", JSAPI, body)
        assert shop.refused(reply) == (400, "PARAM_ERROR")
        assert json.loads(reply.body)["detail"]["field"] == field

    def test_body_beyond_all_measure(self, shop, world):
        """A body that is too large is refused before anything of it is read."""
        world.policy = Policy(max_body=100)
        assert shop.refused(shop.send("POST", JSAPI, b"{" * 101)) == (413, "PARAM_ERROR")

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(header=st.text(max_size=80), body=st.binary(max_size=60), data=st.data())
    def test_hostile_requests_are_answered(self, shop, header, body, data):
        """Whatever the header, the members and the body hold, the answer is a well-formed refusal."""
        spoilt = shop.send("POST", JSAPI, body, headers={"authorization": header})
        assert spoilt.status in {401, 415}
        json.loads(spoilt.body)
        scheme = f"WECHATPAY2-SHA256-RSA2048 {header}"
        assert shop.send("POST", JSAPI, body, headers={"authorization": scheme}).status in {401, 415}
        value = data.draw(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4))
        name = data.draw(st.sampled_from([*shop.order(), "payer", "detail", "scene_info", "settle_info"]))
        reply = shop.send("POST", JSAPI, shop.order(payer={"openid": "x"}) | {name: value})
        assert reply.status in {400, 500}
        json.loads(reply.body)

    @pytest.mark.parametrize("body", [b"{", b"[]", b'{"mchid":"1","mchid":"2"}', b"\xff"])
    def test_body_that_is_no_json_object(self, shop, body):
        """What is no JSON object, or names a member twice, is PARAM_ERROR."""
        assert shop.refused(shop.send("POST", JSAPI, body)) == (400, "PARAM_ERROR")

    def test_foreign_appid_and_openid(self, shop, buyer, world):
        """The appid must be bound to the merchant, and the openid must be the appid's."""
        other = world.add_account()
        stranger = world.create_stranger(appid=other.appid)
        reply = shop.send("POST", JSAPI, shop.order(appid=other.appid, payer={"openid": buyer.openid}))
        assert shop.refused(reply) == (400, "APPID_MCHID_NOT_MATCH")
        reply = shop.send("POST", JSAPI, shop.order(payer={"openid": stranger}))
        assert shop.refused(reply) == (500, "OPENID_MISMATCH")

    def test_same_order_again_gives_a_fresh_prepay_id(self, shop, buyer, world):
        """The same number with the same content is the same order, with a fresh prepay_id; both can be paid."""
        first, second = shop.jsapi(buyer.openid), shop.jsapi(buyer.openid)
        assert first != second
        assert len(world.state.pay.merchants[shop.mchid].orders) == 1
        assert buyer.pay(first).outcome == "paid"

    def test_earlier_code_stops_working(self, shop, buyer):
        """Of two codes for one order only the later one works."""
        first = shop.post(NATIVE, shop.order())["code_url"]
        second = shop.post(NATIVE, shop.order())["code_url"]
        assert buyer.pay(first).outcome == "refused"
        assert buyer.pay(second).outcome == "paid"

    def test_same_number_with_other_content(self, shop, buyer):
        """The same number with another amount is INVALID_REQUEST, for another way to pay OUT_TRADE_NO_USED."""
        shop.jsapi(buyer.openid)
        reply = shop.send("POST", JSAPI, shop.order(total=101, payer={"openid": buyer.openid}))
        assert shop.refused(reply) == (400, "INVALID_REQUEST")
        assert dict(reply.headers)["Request-ID"].endswith("-268498688")
        assert shop.refused(shop.send("POST", NATIVE, shop.order())) == (403, "OUT_TRADE_NO_USED")

    def test_same_number_after_payment_and_after_closing(self, shop, buyer):
        """A paid number is ORDER_PAID, a closed one ORDER_CLOSED."""
        paid(shop, buyer)
        reply = shop.send("POST", JSAPI, shop.order(payer={"openid": buyer.openid}))
        assert shop.refused(reply) == (400, "ORDER_PAID")
        shop.jsapi(buyer.openid, "order-0002")
        shop.post("/v3/pay/transactions/out-trade-no/order-0002/close", {"mchid": shop.mchid})
        reply = shop.send("POST", JSAPI, shop.order("order-0002", payer={"openid": buyer.openid}))
        assert shop.refused(reply) == (400, "ORDER_CLOSED")

    def test_older_spelling_by_policy(self, shop, buyer, world):
        """The older gateways glue the words of a code."""
        world.policy = Policy(pay_glued_codes=True)
        paid(shop, buyer)
        reply = shop.send("POST", JSAPI, shop.order(payer={"openid": buyer.openid}))
        assert shop.refused(reply) == (400, "ORDERPAID")

    def test_unpaid_order_shows_little(self, shop, buyer):
        """Before the payment a query has no transaction_id, trade_type, payer or attach."""
        shop.jsapi(buyer.openid, attach="table 5")
        found = shop.query()
        assert found["trade_state"] == "NOTPAY"
        assert not {"transaction_id", "trade_type", "payer", "attach", "success_time"} & set(found)

    def test_paid_order_shows_everything(self, shop, buyer):
        """After the payment both numbers find the same, complete order."""
        number = paid(shop, buyer, attach="table 5")
        found = shop.query()
        assert found == shop.get(f"/v3/pay/transactions/id/{number}?mchid={shop.mchid}")
        assert (found["trade_state"], found["trade_type"], found["attach"]) == ("SUCCESS", "JSAPI", "table 5")
        assert found["payer"] == {"openid": buyer.openid}
        assert found["amount"] == {"total": 100, "payer_total": 100, "currency": "CNY", "payer_currency": "CNY"}
        assert found["success_time"] == "2026-01-01T12:00:00+08:00"
        assert found["transaction_id"] == number
        assert number.isdecimal()

    def test_queries_that_find_nothing(self, shop):
        """An unknown number is ORDER_NOT_EXIST; odd, foreign and missing ones have codes of their own."""
        start = "/v3/pay/transactions"
        tail = f"?mchid={shop.mchid}"
        assert shop.refused(shop.send("GET", f"{start}/out-trade-no/nothing{tail}")) == (404, "ORDER_NOT_EXIST")
        assert shop.refused(shop.send("GET", f"{start}/id/4200000000{tail}")) == (404, "ORDER_NOT_EXIST")
        assert shop.refused(shop.send("GET", f"{start}/id/wx123{tail}")) == (500, "INVALID_TRANSACTIONID")
        assert shop.refused(shop.send("GET", f"{start}/out-trade-no/nothing")) == (400, "PARAM_ERROR")
        assert shop.refused(shop.send("GET", f"{start}/out-trade-no/nothing?mchid=19")) == (400, "PARAM_ERROR")

    def test_other_merchants_order_is_invisible(self, shop, buyer, world):
        """A merchant finds no order of another one, and cannot sign in its name."""
        other = Shop(world, ledger.add_merchant(world))
        number = paid(shop, buyer)
        reply = other.send("GET", f"/v3/pay/transactions/id/{number}?mchid={other.mchid}")
        assert other.refused(reply) == (404, "ORDER_NOT_EXIST")
        reply = other.send("GET", f"/v3/pay/transactions/out-trade-no/order-0001?mchid={other.mchid}")
        assert other.refused(reply) == (404, "ORDER_NOT_EXIST")
        assert shop.refused(shop.send("GET", "/v3/certificates", mchid=other.mchid)) == (401, "SIGN_ERROR")

    def test_unknown_merchant(self, shop):
        """A merchant number nobody has is MCH_NOT_EXISTS."""
        assert shop.refused(shop.send("GET", "/v3/certificates", mchid="1900000000")) == (400, "MCH_NOT_EXISTS")

    def test_closing(self, shop, buyer):
        """Closing answers 204 with a signature over nothing, twice if asked twice; a paid order cannot be closed."""
        shop.jsapi(buyer.openid)
        path = "/v3/pay/transactions/out-trade-no/order-0001/close"
        for _ in range(2):
            reply = shop.send("POST", path, {"mchid": shop.mchid})
            assert (reply.status, reply.body) == (204, b"")
            shop.verified(reply)
        assert shop.query()["trade_state"] == "CLOSED"
        paid(shop, buyer, "order-0002")
        path = "/v3/pay/transactions/out-trade-no/order-0002/close"
        assert shop.refused(shop.send("POST", path, {"mchid": shop.mchid})) == (400, "ORDER_PAID")

    def test_closing_too_early_by_policy(self, shop, buyer, world):
        """Where the older rule holds, an order must be five minutes old."""
        world.policy = Policy(pay_close_min_age=300.0)
        shop.jsapi(buyer.openid)
        path = "/v3/pay/transactions/out-trade-no/order-0001/close"
        assert shop.refused(shop.send("POST", path, {"mchid": shop.mchid})) == (400, "INVALID_REQUEST")
        world.advance(300)
        assert shop.send("POST", path, {"mchid": shop.mchid}).status == 204

    @pytest.mark.parametrize(
        ("wish", "life"),
        [(None, 7 * 86_400), ("2026-01-01T12:00:10+08:00", 60), ("2026-01-01T13:00:00+08:00", 3600),
         ("2027-01-01T12:00:00+08:00", 90 * 86_400)],
    )  # fmt: skip
    def test_order_closes_by_itself(self, shop, buyer, world, wish, life):
        """time_expire is kept within a minute and ninety days; without it an order lives for a week."""
        shop.jsapi(buyer.openid, time_expire=wish)
        world.advance(life - 1)
        assert shop.query()["trade_state"] == "NOTPAY"
        world.advance(1)
        assert shop.query()["trade_state"] == "CLOSED"

    def test_unknown_members_by_policy(self, shop, buyer, world):
        """A lenient gateway reads past members it does not know."""
        world.policy = Policy(pay_unknown_members="ignore")
        assert shop.jsapi(buyer.openid, mystery=1).startswith("wx")

    def test_device_of_the_scene(self, shop, buyer):
        """The device of the scene comes back with a paid order."""
        scene = {"payer_client_ip": "10.0.0.1", "device_id": "till 5"}
        paid(shop, buyer, scene_info=scene)
        assert shop.query()["scene_info"] == {"device_id": "till 5"}

    def test_order_for_a_mini_program(self, shop, buyer, world):
        """An appid that is no account of this world takes any openid; its payer is not checked against one."""
        ledger.merchant_of(world, None).appids.append("wxminiprogram")
        code = shop.post(NATIVE, shop.order(appid="wxminiprogram"))["code_url"]
        assert buyer.pay(code).outcome == "paid"
        assert shop.query()["payer"]["openid"].startswith("o")

    def test_order_again_while_paying(self, shop, buyer):
        """While the payer types the password the order cannot be placed again."""
        buyer.pay(shop.jsapi(buyer.openid), "slow")
        reply = shop.send("POST", JSAPI, shop.order(payer={"openid": buyer.openid}))
        assert shop.refused(reply) == (400, "INVALID_REQUEST")

    def test_notify_url_is_warned_about(self, shop, buyer, world):
        """An address that is not https or has a query is taken, with a warning in the journal."""
        shop.jsapi(buyer.openid, notify_url="http://127.0.0.1:9/pay?x=1")
        assert "not https and has a query" in world.journal[-1].why


class TestRefunds:
    """Money back."""

    def test_refund_in_full(self, shop, buyer, world):
        """A refund is PROCESSING first and SUCCESS a while later; the order then says REFUND."""
        answer = shop.verified(shop.refund(paid(shop, buyer)))
        assert (answer["status"], answer["amount"]["refund"]) == ("PROCESSING", 100)
        assert shop.query()["trade_state"] == "REFUND"
        world.advance(world.policy.pay_refund_delay)
        found = shop.get("/v3/refund/domestic/refunds/refund-1")
        assert (found["status"], found["success_time"]) == ("SUCCESS", "2026-01-01T12:00:03+08:00")

    def test_same_refund_again_moves_money_once(self, shop, buyer, world):
        """The same number and content answers that refund; other content is refused."""
        number = paid(shop, buyer)
        first = shop.verified(shop.refund(number))
        balance = world.state.pay.merchants[shop.mchid].balance
        assert shop.verified(shop.refund(number)) == first
        assert world.state.pay.merchants[shop.mchid].balance == balance
        assert shop.refused(shop.refund(number, amount=50)) == (400, "INVALID_REQUEST")

    def test_either_number_names_the_same_refund(self, shop, buyer):
        """Naming the order by its other number is no other content."""
        first = shop.verified(shop.refund(paid(shop, buyer)))
        body = {
            "out_trade_no": "order-0001",
            "out_refund_no": "refund-1",
            "amount": {"refund": 100, "total": 100, "currency": "CNY"},
        }
        assert shop.post("/v3/refund/domestic/refunds", body) == first

    def test_partial_refunds(self, shop, buyer, world):
        """Parts add up to the order at most, a minute apart, always with the order's whole amount beside them."""
        number = paid(shop, buyer)
        shop.verified(shop.refund(number, "refund-1", 60))
        assert shop.refused(shop.refund(number, "refund-2", 40)) == (429, "FREQUENCY_LIMITED")
        world.advance(60)
        assert shop.refused(shop.refund(number, "refund-2", 41)) == (400, "INVALID_REQUEST")
        assert shop.refused(shop.refund(number, "refund-2", 40, total=40)) == (400, "INVALID_REQUEST")
        assert shop.refund(number, "refund-2", 40).status == 200

    def test_refund_of_nothing(self, shop, buyer):
        """An unknown order is RESOURCE_NOT_EXISTS, an unpaid one INVALID_REQUEST, no order at all PARAM_ERROR."""
        assert shop.refused(shop.refund("4200000000")) == (404, "RESOURCE_NOT_EXISTS")
        shop.jsapi(buyer.openid)
        body = {"out_refund_no": "r1", "amount": {"refund": 1, "total": 1, "currency": "CNY"}}
        reply = shop.send("POST", "/v3/refund/domestic/refunds", body | {"out_trade_no": "order-0001"})
        assert shop.refused(reply) == (400, "INVALID_REQUEST")
        reply = shop.send("POST", "/v3/refund/domestic/refunds", body)
        assert shop.refused(reply) == (400, "PARAM_ERROR")
        assert shop.refused(shop.send("GET", "/v3/refund/domestic/refunds/none")) == (404, "RESOURCE_NOT_EXISTS")

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"out_trade_no": "order-0002"}, "INVALID_REQUEST"),
            ({"amount": {"refund": 1, "total": 100, "currency": "USD"}}, "PARAM_ERROR"),
            ({"amount": {"refund": 1, "total": 100}}, "PARAM_ERROR"),
            ({"amount": {"refund": 9, "total": 100, "currency": "CNY", "from": [{"account": "A", "amount": 8}]}},
             "PARAM_ERROR"),
            ({"funds_account": "SOMEWHERE"}, "PARAM_ERROR"),
            ({"transaction_id": "wx1"}, "INVALID_TRANSACTIONID"),
        ],
        ids=str,
    )  # fmt: skip
    def test_refunds_that_are_refused(self, shop, buyer, changes, error):
        """Two numbers for two orders, other money and sums that do not add up are refused."""
        paid(shop, buyer, "order-0002")
        number = paid(shop, buyer)
        money = {"refund": 100, "total": 100, "currency": "CNY"}
        body = {"transaction_id": number, "out_refund_no": "r1", "amount": money} | changes
        assert shop.refused(shop.send("POST", "/v3/refund/domestic/refunds", body))[1] == error

    def test_old_and_many_refunds(self, shop, buyer, world):
        """A payment can be refunded for a year, and only so many times."""
        number = paid(shop, buyer)
        world.policy = Policy(pay_refunds_per_order=1)
        shop.verified(shop.refund(number, "refund-1", 1))
        world.advance(60)
        assert shop.refused(shop.refund(number, "refund-2", 1)) == (400, "INVALID_REQUEST")
        world.policy = Policy()
        world.advance(366 * 86_400)
        assert shop.refused(shop.refund(number, "refund-2", 1)) == (400, "INVALID_REQUEST")

    def test_short_of_money(self, shop, buyer, world):
        """Without money in the account the refund is refused, and the same number works after a top-up."""
        number = paid(shop, buyer)
        ledger.fund(world, -ledger.merchant_of(world, None).balance)
        assert shop.refused(shop.refund(number)) == (403, "NOT_ENOUGH")
        ledger.fund(world, 100)
        assert shop.refund(number).status == 200

    def test_closed_refund_leaves_the_money(self, shop, buyer, world):
        """A refund that ends CLOSED can be tried again, with a new number."""
        world.policy = Policy(pay_refund_outcome="CLOSED")
        number = paid(shop, buyer)
        shop.verified(shop.refund(number))
        world.advance(60)
        assert shop.get("/v3/refund/domestic/refunds/refund-1")["status"] == "CLOSED"
        assert shop.refund(number, "refund-2").status == 200

    def test_abnormal_refund_goes_another_way(self, shop, buyer, world):
        """Only an ABNORMAL refund can be sent to a card, whose number and name come enciphered."""
        number = paid(shop, buyer)
        refund_id = shop.verified(shop.refund(number))["refund_id"]
        path = f"/v3/refund/domestic/refunds/{refund_id}/apply-abnormal-refund"
        body = {"out_refund_no": "refund-1", "type": "MERCHANT_BANK_CARD"}
        assert shop.refused(shop.send("POST", path, body)) == (400, "INVALID_REQUEST")
        world.policy = Policy(pay_refund_outcome="ABNORMAL")
        world.advance(3)
        body = {"out_refund_no": "refund-1", "type": "USER_BANK_CARD", "bank_type": "CMB_DEBIT"}
        secret = {"bank_account": "in the clear", "real_name": shop.seal("小明")}
        assert shop.refused(shop.send("POST", path, body | secret)) == (400, "PARAM_ERROR")
        answer = shop.post(path, body | secret | {"bank_account": shop.seal("6225000000000000")})
        assert answer["status"] == "PROCESSING"
        world.advance(3)
        assert shop.get("/v3/refund/domestic/refunds/refund-1")["status"] == "SUCCESS"


class TestCertificates:
    """Platform keys and their rotation."""

    def test_certificates_come_enciphered(self, shop):
        """The list opens with the APIv3 key, and its certificate verifies its own answer."""
        assert len(shop.learn_certificates()) == 1

    def test_rotation_keeps_both_for_a_while(self, shop, world):
        """After a rotation both certificates are listed; the old one leaves when its overlap is over."""
        old = shop.learn_certificates()
        fresh = ledger.rotate_certificate(world).serial
        assert shop.learn_certificates() == [*old, fresh]
        shop.wants = ""
        assert dict(shop.send("GET", "/v3/certificates").headers)["Wechatpay-Serial"] == fresh
        shop.wants = old[0]
        assert shop.send("GET", "/v3/certificates").status == 200
        world.advance(world.policy.pay_certificate_overlap)
        assert shop.refused(shop.send("GET", "/v3/certificates")) == (400, "PARAM_ERROR")
        shop.wants = fresh
        assert shop.learn_certificates() == [fresh]

    def test_certificates_are_renewed(self, shop, world):
        """When its five years are over a certificate has a successor."""
        old = shop.learn_certificates()
        world.advance(5 * 365 * 86_400)
        fresh = shop.learn_certificates()
        assert len(fresh) == 1
        assert fresh != old

    def test_public_key_only(self, world):
        """A new merchant has no certificates: the list answers 404, and there is nothing to rotate."""
        record = ledger.add_merchant(world, scheme="public_key")
        shop = Shop(world, record)
        assert shop.refused(shop.send("GET", "/v3/certificates")) == (404, "RESOURCE_NOT_EXISTS")
        with pytest.raises(WorldError):
            ledger.rotate_certificate(world, record)

    def test_certificates_only(self, world):
        """An old merchant has no public key; its answers are signed with the certificate."""
        shop = Shop(world, ledger.add_merchant(world, scheme="certificate"))
        assert shop.public_key_id == ""
        assert len(shop.learn_certificates()) == 1

    def test_keys_of_the_developers_own(self, world, shop):
        """A service keeps the merchant number, keys and serial it has."""
        pem = ledger.default_merchant(world).private_key
        record = ledger.add_merchant(
            world, "1900009999", api_v3_key="k" * 32, private_key=pem, serial="00AB", appids=["wxapp"]
        )
        own = Shop(world, record)
        own.serial = "ab"
        assert own.mchid == "1900009999"
        assert record.appids == ["wxapp"]
        assert own.learn_certificates()
        wrong: Any
        for wrong in (
            {"api_v3_key": "short"},
            {"private_key": "x"},
            {"mchid": "1900009999"},
            {"mchid": "12"},
            {"serial": "xyz"},
        ):
            with pytest.raises(WorldError):
                ledger.add_merchant(world, **wrong)


class TestTransfers:
    """Money to users."""

    @pytest.fixture
    def bill(self, shop, buyer):
        """The body of a transfer."""
        return {
            "appid": shop.appid,
            "out_bill_no": "bill0001",
            "transfer_scene_id": "1000",
            "openid": buyer.openid,
            "transfer_amount": 500,
            "transfer_remark": "奖励",
            "transfer_scene_report_infos": [{"info_type": "活动名称", "info_content": "新会员有礼"}],
        }

    PATH = "/v3/fund-app/mch-transfer/transfer-bills"

    def test_confirmed_transfer(self, shop, buyer, bill):
        """A transfer waits for its receiver; both numbers find it; confirmed it is SUCCESS."""
        answer = shop.post(self.PATH, bill)
        assert answer["state"] == "WAIT_USER_CONFIRM"
        what = {"mchId": shop.mchid, "appId": shop.appid, "package": answer["package_info"]}
        result = buyer.pay(what)
        assert (result.err_msg, result.outcome) == ("requestMerchantTransfer:ok", "received")
        found = shop.get(f"{self.PATH}/out-bill-no/bill0001")
        assert (found["state"], found["mch_id"], found["transfer_amount"]) == ("SUCCESS", shop.mchid, 500)
        assert found == shop.get(f"{self.PATH}/transfer-bill-no/{answer['transfer_bill_no']}")
        assert buyer.pay(what).outcome == "refused"

    def test_same_number_again(self, shop, bill, world):
        """The same transfer again moves no more money; with other content it is refused."""
        first = shop.post(self.PATH, bill)
        balance = ledger.merchant_of(world, None).balance
        assert shop.post(self.PATH, bill) == first
        assert ledger.merchant_of(world, None).balance == balance
        assert shop.refused(shop.send("POST", self.PATH, bill | {"transfer_amount": 501})) == (400, "ALREADY_EXISTS")

    def test_name_travels_enciphered(self, shop, bill):
        """A name is needed for large amounts, must be enciphered, and comes back for the merchant's own key."""
        large = bill | {"transfer_amount": 200_000}
        assert shop.refused(shop.send("POST", self.PATH, large)) == (400, "PARAM_ERROR")
        assert shop.refused(shop.send("POST", self.PATH, large | {"user_name": "小明"})) == (400, "PARAM_ERROR")
        shop.post(self.PATH, large | {"user_name": shop.seal("小明")})
        again = shop.post(self.PATH, large | {"user_name": shop.seal("小明")})
        assert again["state"] == "WAIT_USER_CONFIRM"
        found = shop.get(f"{self.PATH}/out-bill-no/bill0001")
        assert shop.unseal_field(found["user_name"]) == "小明"

    def test_cancelling_gives_the_money_back(self, shop, buyer, bill, world):
        """A cancelled transfer is CANCELING, then CANCELLED; the request has no body."""
        before = ledger.default_merchant(world).balance
        answer = shop.post(self.PATH, bill)
        assert shop.post(f"{self.PATH}/out-bill-no/bill0001/cancel")["state"] == "CANCELING"
        what = {"mchId": shop.mchid, "appId": shop.appid, "package": answer["package_info"]}
        assert buyer.pay(what).outcome == "refused"
        world.advance(1)
        assert shop.get(f"{self.PATH}/out-bill-no/bill0001")["state"] == "CANCELLED"
        assert ledger.default_merchant(world).balance == before

    def test_taken_transfer_cannot_be_cancelled(self, shop, buyer, bill, world):
        """What the receiver has taken is theirs."""
        answer = shop.post(self.PATH, bill)
        stranger = world.phone()
        what = {"mchId": shop.mchid, "appId": shop.appid, "package": answer["package_info"]}
        assert "another openid" in stranger.pay(what).why
        buyer.pay(what)
        reply = shop.send("POST", f"{self.PATH}/out-bill-no/bill0001/cancel")
        assert shop.refused(reply) == (400, "INVALID_REQUEST")

    def test_name_is_not_taken_for_small_amounts(self, shop, bill):
        """Below 0.3 yuan no name is checked."""
        body = bill | {"transfer_amount": 29, "user_name": shop.seal("小明")}
        assert shop.refused(shop.send("POST", self.PATH, body)) == (400, "PARAM_ERROR")

    def test_unconfirmed_transfer_ends(self, shop, bill, world):
        """After a day without confirmation a transfer has failed."""
        shop.post(self.PATH, bill)
        world.advance(86_400)
        found = shop.get(f"{self.PATH}/out-bill-no/bill0001")
        assert (found["state"], found["fail_reason"]) == ("FAIL", "OVERDUE_CLOSE")
        assert shop.post(self.PATH, bill)["fail_reason"] == "OVERDUE_CLOSE"
        world.advance(30 * 86_400)
        assert shop.refused(shop.send("GET", f"{self.PATH}/out-bill-no/bill0001")) == (404, "NOT_FOUND")

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"transfer_scene_id": "9"}, (403, "NO_AUTH")),
            ({"out_bill_no": "with-dash"}, (400, "PARAM_ERROR")),
            ({"openid": "nobody"}, (500, "OPENID_MISMATCH")),
            ({"transfer_scene_report_infos": []}, (400, "PARAM_ERROR")),
            ({"transfer_amount": 10_000_001}, (400, "PARAM_ERROR")),
            ({"transfer_amount": 20_000_001}, (400, "PARAM_ERROR")),
            ({"transfer_remark": ""}, (400, "PARAM_ERROR")),
            ({"transfer_scene_report_infos": {}}, (400, "PARAM_ERROR")),
        ],
        ids=str,
    )
    def test_transfers_that_are_refused(self, shop, bill, changes, error):
        """Scene, number, receiver and report are looked at."""
        assert shop.refused(shop.send("POST", self.PATH, bill | changes)) == error

    def test_short_of_money(self, shop, bill, world):
        """Without money in the account nothing is transferred."""
        ledger.fund(world, -ledger.default_merchant(world).balance)
        assert shop.refused(shop.send("POST", self.PATH, bill)) == (403, "NOT_ENOUGH")
        assert shop.refused(shop.send("GET", f"{self.PATH}/out-bill-no/bill0001")) == (404, "NOT_FOUND")


class TestWorld:
    """Merchants are part of the world."""

    def test_everything_survives_a_snapshot(self, shop, buyer, world):
        """Orders, refunds and keys come back: the old merchant goes on as if nothing had happened."""
        prepay_id = shop.jsapi(buyer.openid)
        number = paid(shop, buyer, "order-0002")
        shop.verified(shop.refund(number))
        document = json.loads(json.dumps(world.snapshot()))
        other = World(clock=Clock.frozen(), seed=99)
        other.restore(document)
        shop.world = other
        phone = other.phone(buyer.openid)
        assert phone.pay(shop.bridge(prepay_id)).outcome == "paid"
        assert shop.query("order-0001")["trade_state"] == "SUCCESS"
        other.advance(3)
        assert shop.get("/v3/refund/domestic/refunds/refund-1")["status"] == "SUCCESS"

    def test_default_merchant_is_the_same_in_every_run(self, world):
        """A service configured yesterday finds the same number, keys and serials today, without asking first."""
        first = Shop(world, ledger.default_merchant(world))
        other = World(clock=Clock.frozen(), seed=7)
        first.world = other
        assert first.learn_certificates()
        assert list(other.state.pay.merchants) == [first.mchid]

    def test_same_run_gives_the_same_bytes(self):
        """The same seed and requests give the same answers, signatures included."""

        def run() -> list[bytes]:
            world = World(Policy(pay_timestamp="world"), Clock.frozen(), seed=3)
            shop = Shop(world, ledger.default_merchant(world))
            openid = world.create_followers(1)[0]
            body = shop.order(payer={"openid": openid})
            more = {"timestamp": str(int(world.now())), "nonce_str": "n1"}
            replies = [shop.send("POST", JSAPI, body, **more), shop.send("GET", "/v3/certificates", **more)]
            return [reply.body + repr(reply.headers).encode() for reply in replies]

        assert run() == run()

    def test_descriptions_are_json(self, shop, buyer, world):
        """What a control page shows of merchants and orders is plain JSON; keys are shown when asked for."""
        paid(shop, buyer)
        shop.post(NATIVE, shop.order("order-0002"))
        merchants = json.loads(json.dumps(ledger.describe_merchants(world)))["merchants"]
        assert [item["mchid"] for item in merchants] == [shop.mchid]
        assert "private_key" not in merchants[0]
        whole: Any = ledger.describe_merchants(world, keys=True)
        assert whole["merchants"][0]["private_key"].startswith("-----BEGIN")
        orders = json.loads(json.dumps(ledger.describe_orders(world, buyer.openid)))["orders"]
        assert {item["out_trade_no"]: item["state"] for item in orders} == {
            "order-0001": "SUCCESS",
            "order-0002": "NOTPAY",
        }
        others: Any = ledger.describe_orders(world, world.create_stranger())
        assert len(others["orders"]) == 1

    def test_merchant_that_is_switched_off(self, shop, world):
        """A disabled merchant gets nothing but ACCOUNT_ERROR."""
        ledger.merchant_of(world, None).disabled = True
        assert shop.refused(shop.send("GET", "/v3/certificates")) == (403, "ACCOUNT_ERROR")

    def test_products_that_are_not_opened(self, shop, buyer, world):
        """A merchant without a product gets NO_AUTH, also in v2."""
        ledger.merchant_of(world, None).ungranted += ["JSAPI"]
        reply = shop.send("POST", JSAPI, shop.order(payer={"openid": buyer.openid}))
        assert shop.refused(reply) == (403, "NO_AUTH")
        assert shop.v2("/pay/unifiedorder", shop.v2_order(buyer.openid))["err_code"] == "NOAUTH"

    def test_console_acts_on_orders(self, shop, buyer, world):
        """The console closes an order, refunds one by hand, and names what it cannot do."""
        shop.jsapi(buyer.openid)
        paid(shop, buyer, "order-0002")
        assert ledger.act_on_order(world, "order-0001", "close")["state"] == "CLOSED"
        assert ledger.act_on_order(world, "order-0002", "refund")["refunded"] == 100
        for number, action in (
            ("order-0002", "refund"),
            ("order-0002", "close"),
            ("order-0001", "notify"),
            ("x", "close"),
        ):
            with pytest.raises(WorldError):
                ledger.act_on_order(world, number, action)

    def test_what_is_not_simulated_says_so(self, shop):
        """Combined orders, profit sharing and partners are named as not simulated; other paths do not exist."""
        for path in (
            "/v3/combine-transactions/jsapi",
            "/v3/profitsharing/orders",
            "/v3/pay/partner/transactions/jsapi",
        ):
            reply = shop.send("POST", path, {})
            assert shop.refused(reply) == (403, "NO_AUTH")
            assert "not simulate" in json.loads(reply.body)["message"]
        assert shop.refused(shop.send("GET", "/v3/nothing/here")) == (404, "RESOURCE_NOT_EXISTS")
        assert shop.send("GET", JSAPI).status == 405

    def test_merchants_cost_nothing_before_they_pay(self):
        """Two hundred worlds with a merchant each take less than a second, and load no cryptography."""
        code = (
            "import sys, time; from wxmp.simulator import Clock, World; from wxmp.simulator.pay import ledger;"
            "began = time.process_time();"
            "[ledger.default_merchant(World(clock=Clock.frozen(), seed=seed)) for seed in range(200)];"
            "print(time.process_time() - began < 1.0, 'cryptography' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout.split() == ["True", "False"]
