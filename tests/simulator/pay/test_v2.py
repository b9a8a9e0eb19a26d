"""The older interface: XML, MD5 and HMAC-SHA256, three layers of success."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.pay.merchant import flat
from wxmp.simulator import Request

ORDER, QUERY, CLOSE = "/pay/unifiedorder", "/pay/orderquery", "/pay/closeorder"
REFUND, REFUNDS, BILL = "/secapi/pay/refund", "/pay/refundquery", "/pay/downloadbill"


def bridge(shop, prepay_id, sign_type="MD5", **changes):
    """Return the parameters a page gives to the bridge for a v2 order."""
    fields = {
        "appId": shop.appid,
        "timeStamp": "1790000000",
        "nonceStr": "n1",
        "package": f"prepay_id={prepay_id}",
        "signType": sign_type,
    }
    return fields | {"paySign": shop.sign_v2(fields, sign_type)} | changes


def pay(shop, buyer, number="v2order01", **changes):
    """Place and pay an order; return its transaction id."""
    placed = shop.v2(ORDER, shop.v2_order(buyer.openid, number, **changes))
    result = buyer.pay(bridge(shop, placed["prepay_id"]))
    assert result.outcome == "paid", result.why
    return result.transaction_id


def failed(answer):
    """Return the code of the second layer's failure."""
    assert (answer["return_code"], answer["result_code"]) == ("SUCCESS", "FAIL")
    return answer["err_code"]


class TestTransport:
    """The first layer: XML and the sign."""

    @pytest.mark.parametrize("sign_type", ["MD5", "HMAC-SHA256"])
    def test_good_order_both_ways_to_sign(self, shop, buyer, sign_type):
        """An order is answered with a prepay_id under the sign type of the request."""
        answer = shop.v2(ORDER, shop.v2_order(buyer.openid), sign_type)
        assert (answer["result_code"], answer["trade_type"]) == ("SUCCESS", "JSAPI")
        assert answer["prepay_id"].startswith("wx")

    def test_known_answers_of_the_signature(self):
        """The sign is what the documents say: sorted, joined, empty values left out, the key at the end."""
        from wxmp.simulator.pay.signing import sign_v2

        fields = {"b": "2", "a": "1", "empty": "", "zero": "0", "sign": "x"}
        key = "k" * 32
        text = f"a=1&b=2&zero=0&key={key}".encode()
        assert sign_v2(fields, key, "MD5") == hashlib.md5(text).hexdigest().upper()
        assert sign_v2(fields, key, "HMAC-SHA256") == hmac.new(key.encode(), text, "sha256").hexdigest().upper()
        # The example of the official document.
        example = {
            "appid": "wxd930ea5d5a258f4f",
            "mch_id": "10000100",
            "device_info": "1000",
            "body": "test",
            "nonce_str": "ibuaiVcKdpRxkhJA",
        }
        official = "192006250b4c09247ec02edce69f6a2d"
        assert sign_v2(example, official, "MD5") == "9A0A8659F005D6984697E2CA0A9CF3B7"
        assert (
            sign_v2(example, official, "HMAC-SHA256")
            == "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6"
        )

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\xff\xfe",
            b"{}",
            b"<xml><a>1</a>",
            b"<xml><a>1</a></xml>",
            b'<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><a>&a;</a></xml>',
            b"<xml><mch_id>1</mch_id><mch_id>2</mch_id></xml>",
            b"<xml><mch_id>1900000000</mch_id><nonce_str>a</nonce_str><sign>x</sign></xml>",
        ],
    )
    def test_unusable_messages_fail_unsigned(self, shop, body):
        """What cannot be read, holds a DOCTYPE or names no merchant fails in the first layer, unsigned."""
        reply = shop.world.handle(Request("POST", ORDER, {}, body, host="mch"))
        answer = flat(reply.body)
        assert set(answer) == {"return_code", "return_msg"}
        assert answer["return_code"] == "FAIL"
        assert "root:" not in reply.body.decode()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(body=st.binary(max_size=120), name=st.text("abcdefg_", min_size=1), value=st.text(max_size=40))
    def test_hostile_messages_are_answered(self, shop, body, name, value):
        """Whatever a message holds, the answer is well-formed XML."""
        for raw in (body, f"<xml><{name}>{value}</{name}></xml>".encode("utf-8", "replace")):
            reply = shop.world.handle(Request("POST", ORDER, {}, raw, host="mch"))
            assert flat(reply.body)["return_code"] == "FAIL"

    def test_wrong_sign_fails_unsigned(self, shop, buyer):
        """A wrong sign, and the right one of another type, fail; so does a GET."""
        order = shop.v2_order(buyer.openid)
        assert shop.v2(ORDER, order, sign="0" * 32)["return_code"] == "FAIL"
        assert shop.v2(ORDER, order, body="another")["return_code"] == "FAIL"
        assert shop.v2(ORDER, order, sign_type="HMAC-SHA256", sign=shop.sign_v2(order))["return_code"] == "FAIL"
        assert flat(shop.world.handle(Request("GET", ORDER, host="mch")).body)["return_code"] == "FAIL"
        assert shop.v2(ORDER, order | {"sign_type": "SHA1"})["return_code"] == "FAIL"

    def test_what_is_not_simulated_says_so(self, shop):
        """Red packets and the like are named as not simulated."""
        reply = shop.v2_raw("/mmpaymkttransfers/sendredpack", {})
        assert "not simulate" in flat(reply.body)["return_msg"]


class TestOrders:
    """The second and third layer."""

    def test_each_way_to_order(self, shop, buyer):
        """Native orders have a code, H5 orders an address."""
        native = shop.v2_order("", "v2order02", trade_type="NATIVE", product_id="p1")
        assert shop.v2(ORDER, native)["code_url"].startswith("weixin://")
        h5 = shop.v2_order("", "v2order03", trade_type="MWEB", scene_info="{}")
        assert shop.v2(ORDER, h5)["mweb_url"].startswith("https://wx.tenpay.com/")

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"body": ""}, "LACK_PARAMS"),
            ({"openid": ""}, "LACK_PARAMS"),
            ({"trade_type": "NATIVE"}, "LACK_PARAMS"),
            ({"total_fee": "1.00"}, "PARAM_ERROR"),
            ({"total_fee": "0"}, "PARAM_ERROR"),
            ({"trade_type": "MICROPAY"}, "PARAM_ERROR"),
            ({"body": "长" * 129}, "PARAM_ERROR"),
            ({"time_expire": "2026-01-01"}, "PARAM_ERROR"),
            ({"time_expire": "20269901000000"}, "PARAM_ERROR"),
            ({"total_fee": "100000001"}, "PARAM_ERROR"),
            ({"fee_type": "USD"}, "PARAM_ERROR"),
            ({"out_trade_no": "a b"}, "PARAM_ERROR"),
            ({"notify_url": "shop"}, "PARAM_ERROR"),
            ({"appid": "wxother"}, "APPID_MCHID_NOT_MATCH"),
            ({"openid": "nobody"}, "PARAM_ERROR"),
        ],
        ids=str,
    )
    def test_wrong_fields(self, shop, buyer, changes, code):
        """Missing and wrong fields fail in the second layer, signed."""
        assert failed(shop.v2(ORDER, shop.v2_order(buyer.openid) | changes)) == code

    def test_life_of_an_order(self, shop, buyer):
        """Placed, placed again, paid: the third layer tells, and the number is used up."""
        first = shop.v2(ORDER, shop.v2_order(buyer.openid))["prepay_id"]
        assert shop.v2(ORDER, shop.v2_order(buyer.openid))["prepay_id"] != first
        assert failed(shop.v2(ORDER, shop.v2_order(buyer.openid, total_fee=101))) == "INVALID_REQUEST"
        unpaid = shop.v2(QUERY, {"out_trade_no": "v2order01"})
        assert unpaid["trade_state"] == "NOTPAY"
        assert "transaction_id" not in unpaid
        number = pay(shop, buyer)
        found = shop.v2(QUERY, {"transaction_id": number})
        assert (found["trade_state"], found["total_fee"], found["openid"]) == ("SUCCESS", "100", buyer.openid)
        assert (found["time_end"], found["is_subscribe"]) == ("20260101120000", "Y")
        assert failed(shop.v2(ORDER, shop.v2_order(buyer.openid))) == "ORDERPAID"
        assert failed(shop.v2(QUERY, {"out_trade_no": "nothing"})) == "ORDERNOTEXIST"

    def test_closing(self, shop, buyer, world):
        """An order must be five minutes old; a closed one says ORDERCLOSED, a paid one ORDERPAID."""
        shop.v2(ORDER, shop.v2_order(buyer.openid))
        assert failed(shop.v2(CLOSE, {"out_trade_no": "v2order01"})) == "TRADE_STATE_ERROR"
        world.advance(300)
        assert shop.v2(CLOSE, {"out_trade_no": "v2order01"})["result_code"] == "SUCCESS"
        assert failed(shop.v2(CLOSE, {"out_trade_no": "v2order01"})) == "ORDERCLOSED"
        pay(shop, buyer, "v2order02")
        assert failed(shop.v2(CLOSE, {"out_trade_no": "v2order02"})) == "ORDERPAID"

    def test_order_closes_by_itself(self, shop, buyer, world):
        """time_expire is Beijing time without an offset."""
        shop.v2(ORDER, shop.v2_order(buyer.openid, time_expire="20260101120500", device_info="till"))
        world.advance(300)
        found = shop.v2(QUERY, {"out_trade_no": "v2order01"})
        assert (found["trade_state"], found["device_info"]) == ("CLOSED", "till")

    def test_early_notice(self, shop, buyer, world):
        """The fault of the early notice strikes v2 orders too."""
        world.fault("pay_early", seconds=2.0)
        assert shop.v2_raw(ORDER, shop.v2_order(buyer.openid)).delivery.delay == 2.0
        assert shop.v2(QUERY, {"out_trade_no": "v2order01"})["trade_state"] == "SUCCESS"

    def test_v3_sees_a_v2_order(self, shop, buyer):
        """An order of one interface can be queried with the other."""
        number = pay(shop, buyer)
        assert shop.query("v2order01")["transaction_id"] == number

    def test_bridge_wants_the_orders_sign_type(self, shop, buyer):
        """The page's signature must have the order's type and be right."""
        prepay_id = shop.v2(ORDER, shop.v2_order(buyer.openid))["prepay_id"]
        assert buyer.pay(bridge(shop, prepay_id, "HMAC-SHA256")).outcome == "refused"
        assert buyer.pay(bridge(shop, prepay_id, paySign="0" * 32)).outcome == "refused"
        assert buyer.pay(shop.bridge(prepay_id)).outcome == "refused"
        assert buyer.pay(bridge(shop, prepay_id)).outcome == "paid"


class TestRefundsAndBills:
    """Money back, and the day's table."""

    def test_refund_and_query(self, shop, buyer, world):
        """A refund is accepted, found under each number, and SUCCESS a while later."""
        number = pay(shop, buyer)
        body = {"transaction_id": number, "out_refund_no": "r1", "total_fee": 100, "refund_fee": 40}
        answer = shop.v2(REFUND, body)
        assert (answer["result_code"], answer["refund_fee"]) == ("SUCCESS", "40")
        assert shop.v2(REFUND, body)["refund_id"] == answer["refund_id"]
        assert failed(shop.v2(REFUND, body | {"refund_fee": 41})) == "REFUND_FEE_MISMATCH"
        world.advance(60)
        shop.v2(REFUND, body | {"out_refund_no": "r2"})
        one = shop.v2(REFUNDS, {"refund_id": answer["refund_id"]})
        assert (one["refund_count"], one["refund_status_0"], one["refund_fee_0"]) == ("1", "SUCCESS", "40")
        both = shop.v2(REFUNDS, {"out_trade_no": "v2order01"})
        assert (both["total_refund_count"], both["out_refund_no_1"]) == ("2", "r2")
        assert both["refund_status_1"] == "PROCESSING"
        rest = shop.v2(REFUNDS, {"out_trade_no": "v2order01", "offset": 1})
        assert (rest["refund_count"], rest["out_refund_no_0"]) == ("1", "r2")

    def test_refunds_that_fail(self, shop, buyer):
        """Unknown orders, unpaid orders and unknown refunds have codes of their own."""
        body = {"out_trade_no": "nothing", "out_refund_no": "r1", "total_fee": 100, "refund_fee": 40}
        assert failed(shop.v2(REFUND, body)) == "ORDERNOTEXIST"
        shop.v2(ORDER, shop.v2_order(buyer.openid))
        assert failed(shop.v2(REFUND, body | {"out_trade_no": "v2order01"})) == "TRADE_STATE_ERROR"
        assert failed(shop.v2(REFUNDS, {"out_refund_no": "r9"})) == "REFUNDNOTEXIST"

    def test_bill(self, shop, buyer, world):
        """The bill of yesterday comes as a bare table or compressed; before that an XML says why not."""
        pay(shop, buyer)
        day = {"bill_date": "20260101"}
        assert flat(shop.v2_raw(BILL, day).body)["return_msg"] == "Bill Creating"
        world.advance(86_400)
        text = shop.v2_raw(BILL, day).body.decode("utf-8-sig")
        assert "`v2order01" in text
        packed = shop.v2_raw(BILL, day | {"tar_type": "GZIP"}).body
        assert gzip.decompress(packed).decode("utf-8-sig") == text
        assert flat(shop.v2_raw(BILL, {"bill_date": "20251231"}).body)["return_msg"] == "No Bill Exist"
        assert flat(shop.v2_raw(BILL, {"bill_date": "2026-1-1"}).body)["return_msg"] == "data format error"
        assert flat(shop.v2_raw(BILL, day | {"bill_type": "X"}).body)["return_msg"] == "invalid bill_type"

    def test_journal_is_json(self, shop, buyer, world):
        """Every exchange has a reason that can be written as JSON."""
        pay(shop, buyer)
        assert all(json.dumps(exchange.why) and exchange.why for exchange in world.exchanges())
