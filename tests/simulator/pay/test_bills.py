"""Bills: made from the ledger, ready the next morning, behind a link that does not live long."""

from __future__ import annotations

import gzip
import hashlib
from urllib.parse import urlsplit

import pytest

from tests.simulator.pay.merchant import Shop
from wxmp.simulator import Policy
from wxmp.simulator.pay import ledger

DAY = "2026-01-01"


@pytest.fixture
def traded(shop, buyer, world):
    """A day with two payments and a refund; the next noon."""
    number = buyer.pay(shop.jsapi(buyer.openid, "order-0001", 1000)).transaction_id
    buyer.pay(shop.jsapi(buyer.openid, "order-0002", 50, description="茶, 大杯", attach="table 5"))
    shop.verified(shop.refund(number, "refund-1", 400, 1000, reason="冷了"))
    world.advance(86_400)
    return shop


def fetch(shop, target):
    """Ask for a bill, follow its link, check its hash; return its lines."""
    found = shop.get(target)
    parts = urlsplit(found["download_url"])
    reply = shop.send("GET", f"{parts.path}?{parts.query}", headers={"accept": "*/*"})
    assert reply.status == 200
    assert "Wechatpay-Signature" not in dict(reply.headers)
    data = gzip.decompress(reply.body) if "GZIP" in target else reply.body
    assert found["hash_type"] == "SHA1"
    assert found["hash_value"] == hashlib.sha1(data).hexdigest()
    assert data.startswith("\ufeff".encode())
    return data.decode("utf-8-sig").split("\r\n")


def rows(lines):
    """Read a table: rows by column, and its summary."""
    head, *body, totals, summary, end = lines
    assert end == ""
    names = head.split(",")

    def cells(line):
        return line.removeprefix("`").split(",`")

    found = [dict(zip(names, cells(line), strict=True)) for line in body]
    return found, dict(zip(totals.split(","), cells(summary), strict=True))


class TestTradeBill:
    """Orders and refunds."""

    @pytest.mark.parametrize("tail", ["", "&tar_type=GZIP", "&bill_type=ALL"])
    def test_whole_day(self, traded, tail):
        """Every payment and refund is a row, in yuan, and the summary adds them up."""
        found, summary = rows(fetch(traded, f"/v3/bill/tradebill?bill_date={DAY}{tail}"))
        assert [(row["商户订单号"], row["交易状态"]) for row in found] == [
            ("order-0001", "SUCCESS"),
            ("order-0002", "SUCCESS"),
            ("order-0001", "REFUND"),
        ]
        assert found[0]["应结订单金额"] == "10.00"
        assert found[1]["商品名称"] == "茶, 大杯"
        assert (found[2]["商户退款单号"], found[2]["退款金额"]) == ("refund-1", "4.00")
        assert found[0]["交易时间"] == "2026-01-01 12:00:00"
        assert (summary["总交易单数"], summary["订单总金额"], summary["退款总金额"]) == ("3", "10.50", "4.00")

    def test_selections(self, traded):
        """SUCCESS has the payments without refund columns, REFUND the refunds alone."""
        found, _ = rows(fetch(traded, f"/v3/bill/tradebill?bill_date={DAY}&bill_type=SUCCESS"))
        assert len(found) == 2
        assert "退款金额" not in found[0]
        found, _ = rows(fetch(traded, f"/v3/bill/tradebill?bill_date={DAY}&bill_type=REFUND"))
        assert [row["商户退款单号"] for row in found] == ["refund-1"]


class TestFundFlow:
    """Movements of money."""

    def test_balance_runs(self, traded, world):
        """Each movement has its direction and the balance after it."""
        found, summary = rows(fetch(traded, f"/v3/bill/fundflowbill?bill_date={DAY}"))
        assert [(row["收支类型"], row["收支金额(元)"]) for row in found] == [
            ("收入", "10.00"),
            ("收入", "0.50"),
            ("支出", "4.00"),
        ]
        balance = ledger.default_merchant(world).balance
        assert found[-1]["账户结余(元)"] == f"{balance // 100}.{balance % 100:02d}"
        assert (summary["收入金额"], summary["支出金额"]) == ("10.50", "4.00")

    def test_money_that_came_back(self, shop, buyer, world):
        """A closed refund and an unconfirmed transfer stand there twice: out, and in again."""
        world.policy = Policy(pay_refund_outcome="CLOSED", pay_transfer_life=60.0)
        number = buyer.pay(shop.jsapi(buyer.openid)).transaction_id
        shop.verified(shop.refund(number))
        body = {
            "appid": shop.appid,
            "out_bill_no": "bill0001",
            "transfer_scene_id": "1000",
            "openid": buyer.openid,
            "transfer_amount": 500,
            "transfer_remark": "奖励",
            "transfer_scene_report_infos": [{"info_type": "活动名称", "info_content": "新会员有礼"}],
        }
        shop.post("/v3/fund-app/mch-transfer/transfer-bills", body)
        world.advance(86_400)
        found, _ = rows(fetch(shop, f"/v3/bill/fundflowbill?bill_date={DAY}"))
        assert [(row["业务名称"], row["收支类型"], row["收支金额(元)"]) for row in found] == [
            ("交易", "收入", "1.00"),
            ("退款", "支出", "1.00"),
            ("商家转账", "支出", "5.00"),
            ("退款关闭", "收入", "1.00"),
            ("转账退回", "收入", "5.00"),
        ]
        target = f"/v3/bill/fundflowbill?bill_date={DAY}&account_type=FEES"
        assert shop.refused(shop.send("GET", target)) == (400, "NO_STATEMENT_EXIST")


class TestLimits:
    """When there is no bill."""

    def test_ready_the_next_morning(self, shop, buyer, world):
        """A bill is made at ten in the morning of the next day in Beijing."""
        buyer.pay(shop.jsapi(buyer.openid))
        target = f"/v3/bill/tradebill?bill_date={DAY}"
        assert shop.refused(shop.send("GET", target)) == (400, "STATEMENT_CREATING")
        world.advance(22 * 3600 - 1)
        assert shop.refused(shop.send("GET", target)) == (400, "STATEMENT_CREATING")
        world.advance(1)
        assert shop.send("GET", target).status == 200

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("", "PARAM_ERROR"),
            ("?bill_date=20260101", "PARAM_ERROR"),
            ("?bill_date=2026-1-1", "PARAM_ERROR"),
            ("?bill_date=2027-01-01", "PARAM_ERROR"),
            ("?bill_date=2025-12-31", "NO_STATEMENT_EXIST"),
            ("?bill_date=2025-09-01", "NO_STATEMENT_EXIST"),
            (f"?bill_date={DAY}&bill_type=NONE", "PARAM_ERROR"),
            (f"?bill_date={DAY}&tar_type=ZIP", "PARAM_ERROR"),
        ],
    )
    def test_no_bill(self, traded, query, code):
        """Odd dates and selections, and days without trade, have no bill."""
        assert traded.refused(traded.send("GET", f"/v3/bill/tradebill{query}")) == (400, code)

    def test_link_is_short_lived_and_personal(self, traded, world):
        """A link works for its merchant, under a signature, for five minutes."""
        parts = urlsplit(traded.get(f"/v3/bill/tradebill?bill_date={DAY}")["download_url"])
        assert parts.hostname == "api.mch.weixin.qq.com"
        target = f"{parts.path}?{parts.query}"
        other = Shop(world, ledger.add_merchant(world))
        assert other.refused(other.send("GET", target)) == (403, "NO_AUTH")
        assert traded.refused(traded.send("GET", target, signature="AAAA")) == (401, "SIGN_ERROR")
        assert traded.send("GET", target).status == 200
        world.advance(300)
        assert traded.refused(traded.send("GET", target)) == (400, "INVALID_REQUEST")

    def test_link_leads_to_the_running_simulator(self, simulator, http, traded):
        """With a server running, the link is an address that answers."""
        url = traded.get(f"/v3/bill/tradebill?bill_date={DAY}")["download_url"]
        assert url.startswith(simulator.url)
        target = url.removeprefix(simulator.url)
        answer = http.get(target, headers=traded.headers("GET", target, b""))
        assert answer.text.startswith("\ufeff交易时间")

    def test_link_keeps_the_platforms_name(self, simulator, traded):
        """Who has reached the simulator under a name of the platform gets a link with that name."""
        target = f"/v3/bill/tradebill?bill_date={DAY}"
        found = traded.get(target, headers={"host": "api2.mch.weixin.qq.com"})
        assert found["download_url"].startswith("https://api2.mch.weixin.qq.com/v3/")
