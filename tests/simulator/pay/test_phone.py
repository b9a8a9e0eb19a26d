"""What the payer does: the bridge's check of the signature, the password pad, and what the page hears."""

from __future__ import annotations

import pytest

from wxmp.simulator import Policy, WorldError
from wxmp.simulator.pay import ledger

NATIVE = "/v3/pay/transactions/native"


class TestBridge:
    """The check before the pad opens."""

    def test_good_parameters(self, shop, buyer):
        """Rightly signed parameters open the pad; the page hears ok."""
        result = buyer.pay(shop.bridge(shop.jsapi(buyer.openid)))
        assert (result.err_msg, result.outcome, result.ok) == ("get_brand_wcpay_request:ok", "paid", True)
        assert result.transaction_id.isdecimal()

    def test_spelling_of_the_js_sdk(self, shop, buyer):
        """wx.chooseWXPay spells timestamp in lower case and has no appId."""
        fields = shop.bridge(shop.jsapi(buyer.openid))
        fields["timestamp"] = fields.pop("timeStamp")
        fields.pop("appId")
        assert buyer.pay(fields).outcome == "paid"

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"paySign": "AAAA"}, "signature error"),
            ({"timeStamp": "1"}, "signature error"),
            ({"nonceStr": "other"}, "signature error"),
            ({"appId": "wxother"}, "signature error"),
            ({"signType": "MD5"}, "signature error"),
            ({"timeStamp": 1790000000}, "no text"),
            ({"nonceStr": ""}, "missing"),
            ({"paySign": None}, "paySign is missing"),
            ({"package": "wx123"}, "prepay_id="),
            ({"package": "prepay_id=wx123"}, "does not know"),
        ],
        ids=str,
    )
    def test_wrong_parameters(self, shop, buyer, changes, why):
        """A wrong signature or parameter never opens the pad; the developer is told why."""
        fields = shop.bridge(shop.jsapi(buyer.openid)) | changes
        result = buyer.pay(fields)
        assert (result.err_msg, result.outcome) == ("get_brand_wcpay_request:fail", "refused")
        assert why in result.why
        assert shop.query()["trade_state"] == "NOTPAY"

    def test_only_the_named_payer(self, shop, buyer, world):
        """A JSAPI order can be paid by the openid it was placed for, and by nobody else."""
        other = world.phone(world.create_followers(1)[0])
        prepay_id = shop.jsapi(buyer.openid)
        assert "another openid" in other.pay(prepay_id).why
        assert buyer.pay(prepay_id).outcome == "paid"

    def test_each_thing_that_can_be_paid(self, shop, buyer):
        """A prepay_id with or without its prefix, a code, an H5 address with a way back, an app's parameters."""
        assert buyer.pay("prepay_id=" + shop.jsapi(buyer.openid)).outcome == "paid"
        assert buyer.pay(shop.post(NATIVE, shop.order("order-0002"))["code_url"]).outcome == "paid"
        scene = {"payer_client_ip": "10.0.0.1", "h5_info": {"type": "Wap"}}
        url = shop.post("/v3/pay/transactions/h5", shop.order("order-0003", scene_info=scene))["h5_url"]
        assert buyer.pay(url + "&redirect_url=https%3A%2F%2Fshop.example.com").outcome == "paid"
        app = shop.app(shop.post("/v3/pay/transactions/app", shop.order("order-0004"))["prepay_id"])
        assert buyer.pay(app | {"noncestr": "other"}).outcome == "refused"
        assert buyer.pay(app).outcome == "paid"

    def test_each_front_end_has_its_own_orders(self, shop, buyer):
        """A page pays no app order and an app no page order, however well signed."""
        app_order = shop.post("/v3/pay/transactions/app", shop.order("order-0002"))["prepay_id"]
        assert "JSAPI orders only" in buyer.pay(shop.bridge(app_order)).why
        assert "APP orders only" in buyer.pay(shop.app(shop.jsapi(buyer.openid))).why
        wrong = shop.app(app_order)
        assert "Sign=WXPay" in buyer.pay(wrong | {"package": "x"}).why
        assert "partnerid" in buyer.pay(wrong | {"partnerid": "19"}).why

    def test_everything_expires(self, shop, buyer, world):
        """A prepay_id lives for two hours, an H5 address for five minutes."""
        prepay_id = shop.jsapi(buyer.openid)
        scene = {"payer_client_ip": "10.0.0.1", "h5_info": {"type": "Wap"}}
        url = shop.post("/v3/pay/transactions/h5", shop.order("order-0003", scene_info=scene))["h5_url"]
        world.advance(300)
        assert "expired" in buyer.pay(url).why
        world.advance(6900)
        assert "expired" in buyer.pay(prepay_id).why
        assert "expired" in buyer.pay(shop.bridge(prepay_id)).why
        assert buyer.pay(shop.jsapi(buyer.openid)).outcome == "paid"

    def test_paid_and_closed_orders(self, shop, buyer):
        """Nothing is paid twice, and nothing after closing."""
        prepay_id = shop.jsapi(buyer.openid)
        buyer.pay(prepay_id)
        assert "paid already" in buyer.pay(prepay_id).why
        other = shop.jsapi(buyer.openid, "order-0002")
        shop.post("/v3/pay/transactions/out-trade-no/order-0002/close", {"mchid": shop.mchid})
        assert "closed" in buyer.pay(other).why

    def test_another_accounts_order(self, shop, world, buyer):
        """Who pays an order of another account has another openid there."""
        second = world.add_account()
        ledger.default_merchant(world).appids.append(second.appid)
        code = shop.post(NATIVE, shop.order(appid=second.appid))["code_url"]
        assert buyer.pay(code).outcome == "paid"
        payer = shop.query()["payer"]["openid"]
        assert payer != buyer.openid
        assert payer in second.users


class TestPad:
    """The password pad."""

    def test_cancelling_leaves_the_order(self, shop, buyer):
        """A cancelled payment can be begun again with the same prepay_id."""
        prepay_id = shop.jsapi(buyer.openid)
        result = buyer.pay(prepay_id, "cancel")
        assert (result.err_msg, result.ok) == ("get_brand_wcpay_request:cancel", False)
        assert shop.query()["trade_state"] == "NOTPAY"
        assert buyer.pay(prepay_id).outcome == "paid"

    @pytest.mark.parametrize("state", ["NOTPAY", "PAYERROR"])
    def test_bank_refuses(self, shop, buyer, world, state):
        """A refused payment says fail; the order's state is the policy's, and it can be paid again."""
        world.policy = Policy(pay_failed_state=state)
        prepay_id = shop.jsapi(buyer.openid)
        assert buyer.pay(prepay_id, "fail").err_msg == "get_brand_wcpay_request:fail"
        assert shop.query()["trade_state"] == state
        assert buyer.pay(prepay_id).outcome == "paid"

    def test_slow_payment(self, shop, buyer, world):
        """A slow payment is USERPAYING, cannot be closed or paid by others, and then succeeds."""
        prepay_id = shop.jsapi(buyer.openid)
        assert buyer.pay(prepay_id, "slow").outcome == "paying"
        assert shop.query()["trade_state"] == "USERPAYING"
        assert "at this moment" in buyer.pay(prepay_id).why
        path = "/v3/pay/transactions/out-trade-no/order-0001/close"
        reply = shop.send("POST", path, {"mchid": shop.mchid})
        assert (reply.status, shop.verified(reply)["code"]) == (202, "USERPAYING")
        world.advance(10)
        assert shop.query()["trade_state"] == "SUCCESS"

    def test_order_closed_while_paying(self, shop, buyer, world):
        """Where the policy lets an order be closed at the pad, the payment comes to nothing."""
        world.policy = Policy(pay_close_while_paying=True)
        buyer.pay(shop.jsapi(buyer.openid), "slow")
        shop.post("/v3/pay/transactions/out-trade-no/order-0001/close", {"mchid": shop.mchid})
        world.advance(10)
        assert shop.query()["trade_state"] == "CLOSED"

    def test_wrong_passwords_lock_the_pad(self, shop, buyer, world):
        """Five wrong passwords in a row lock the pad for three hours; a right one starts the count again."""
        prepay_id = shop.jsapi(buyer.openid)
        for left in (4, 3):
            result = buyer.pay(prepay_id, password="000000")
            assert (result.outcome, result.ok) == ("wrong_password", False)
            assert f"{left} tries are left" in result.why
        assert buyer.pay(shop.jsapi(buyer.openid, "order-0002"), password="123456").outcome == "paid"
        for _ in range(5):
            result = buyer.pay(prepay_id, password="000000")
        assert "locked" in result.why
        assert "locked" in buyer.pay(prepay_id).why
        assert shop.query()["trade_state"] == "NOTPAY"
        world.advance(10_800)
        assert buyer.pay(shop.jsapi(buyer.openid)).outcome == "paid"

    def test_unknown_way(self, shop, buyer):
        """A way to pay that does not exist is a mistake of the test."""
        with pytest.raises(WorldError):
            buyer.pay(shop.jsapi(buyer.openid), "maybe")


class TestEffects:
    """What a payment brings with it."""

    def test_voucher_and_window(self, shop, buyer, world, desk):
        """The chat shows a voucher, and customer-service messages are free for 48 hours."""
        world.advance(7 * 86_400)
        body = {"touser": buyer.openid, "msgtype": "text", "text": {"content": "thanks"}}
        assert desk.post("/cgi-bin/message/custom/send", body)["errcode"] == 45015
        buyer.pay(shop.jsapi(buyer.openid, total=1234))
        line = buyer.chat[-1]
        assert (line.source, line.kind) == ("pay", "pay")
        assert "¥12.34" in line.content
        assert desk.post("/cgi-bin/message/custom/send", body)["errcode"] == 0

    def test_refund_is_seen(self, shop, buyer, world):
        """The chat shows money that comes back."""
        number = buyer.pay(shop.jsapi(buyer.openid)).transaction_id
        shop.verified(shop.refund(number))
        world.advance(3)
        assert "退款" in buyer.chat[-1].content

    def test_without_an_order_only_the_window_opens(self, buyer, world):
        """pay() without an order keeps its old meaning."""
        assert buyer.pay() is None
        assert [w.trigger for w in world.account.users[buyer.openid].windows] == ["pay"]
        assert world.state.pay.merchants == {}

    @pytest.mark.parametrize("how", ["cancel", "fail"])
    def test_transfer_not_taken(self, shop, buyer, how):
        """A transfer that is declined waits on, one that cannot be received has failed."""
        body = {
            "appid": shop.appid,
            "out_bill_no": "bill0001",
            "transfer_scene_id": "1000",
            "openid": buyer.openid,
            "transfer_amount": 500,
            "transfer_remark": "奖励",
            "transfer_scene_report_infos": [{"info_type": "活动名称", "info_content": "新会员有礼"}],
        }
        path = "/v3/fund-app/mch-transfer/transfer-bills"
        package = shop.post(path, body)["package_info"]
        what = {"mchId": shop.mchid, "appId": shop.appid, "package": package}
        assert buyer.pay(what | {"mchId": "19"}).outcome == "refused"
        result = buyer.pay(what, how)
        assert result.err_msg == f"requestMerchantTransfer:{how}"
        state = shop.get(f"{path}/out-bill-no/bill0001")["state"]
        assert state == {"cancel": "WAIT_USER_CONFIRM", "fail": "FAIL"}[how]
