"""The merchant host among the others: faults in its own words, forged answers, and what exactly is signed."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import httpx
import pytest

from tests.simulator.pay.merchant import flat
from wxmp.simulator import Fault, WorldError
from wxmp.simulator.faults import read_fault, read_fault_header

CERTIFICATES = "/v3/certificates"


# --- faults ---


@pytest.mark.parametrize(
    ("effect", "fields", "expected"),
    [
        ("busy", {}, (500, "SYSTEM_ERROR")),
        ("minute", {}, (429, "FREQUENCY_LIMITED")),
        ("quota", {}, (429, "FREQUENCY_LIMITED")),
        ("errcode", {"errcode": -1}, (500, "SYSTEM_ERROR")),
        ("errcode", {"errcode": 45009}, (429, "FREQUENCY_LIMITED")),
        ("errcode", {"errcode": 48001}, (403, "NO_AUTH")),
        ("errcode", {"errcode": 40003}, (400, "PARAM_ERROR")),
        ("errcode", {"code": "NOT_ENOUGH"}, (403, "NOT_ENOUGH")),
        ("errcode", {"code": "OF_TOMORROW"}, (400, "OF_TOMORROW")),
    ],
)
def test_faults_speak_v3(shop, effect, fields, expected):
    """The faults of any request answer with a status and a code on the merchant host, unsigned like every error."""
    rule = shop.world.fault(effect, "/v3/*", **fields)
    assert shop.refused(shop.send("GET", CERTIFICATES)) == expected
    exchange = shop.world.exchanges()[-1]
    assert exchange.rule == f"fault:{effect}"
    assert f"fault #{rule.id}" in exchange.why
    assert exchange.errcode is None


@pytest.mark.parametrize(
    ("effect", "fields", "code"),
    [
        ("busy", {}, "SYSTEMERROR"),
        ("minute", {}, "FREQUENCY_LIMITED"),
        ("errcode", {"code": "NOT_ENOUGH"}, "NOTENOUGH"),
        ("errcode", {"errcode": 40003}, "PARAM_ERROR"),
    ],
)
def test_faults_speak_v2(shop, effect, fields, code):
    """The older interface answers in signed XML."""
    shop.world.fault(effect, "/pay/*", **fields)
    found = shop.v2("/pay/orderquery", {"out_trade_no": "x"})
    assert (found["return_code"], found["result_code"], found["err_code"]) == ("SUCCESS", "FAIL", code)


def test_faults_speak_v2_to_strangers(shop):
    """Whoever has not signed hears it on the first layer, unsigned."""
    shop.world.fault("busy", "/pay/*")
    assert flat(shop.v2_raw("/pay/orderquery", {}, sign="0").body)["return_code"] == "FAIL"


def test_faults_elsewhere_stay_errcodes(shop, desk):
    """The same rule is an errcode on the other hosts."""
    shop.world.fault("busy")
    assert shop.refused(shop.send("GET", CERTIFICATES)) == (500, "SYSTEM_ERROR")
    assert desk.plain()["errcode"] == -1


def test_a_code_of_pay_strikes_there_only(shop, desk):
    """A rule with nothing but such a code passes the other hosts by, and does not count them."""
    rule = shop.world.fault("errcode", code="NOT_ENOUGH")
    assert "access_token" in desk.plain()
    assert rule.hits == rule.seen == 0
    shop.send("GET", CERTIFICATES)
    assert rule.hits == 1


def test_the_header_takes_codes_of_pay(shop):
    """X-Sim-Fault names a number or a code."""
    reply = shop.send("GET", CERTIFICATES, headers={"x-sim-fault": "errcode=RULE_LIMIT"})
    assert shop.refused(reply) == (403, "RULE_LIMIT")
    (rule,) = read_fault_header("pay_answer_forged=SIGNTEST")
    assert rule.code == "SIGNTEST"
    with pytest.raises(WorldError, match="code of pay_answer_forged"):
        read_fault_header("pay_answer_forged=OTHER")


@pytest.mark.parametrize("code", ["not enough", "x", "9A", "A" * 65, "é"])
def test_impossible_codes(code):
    """A code is a word in capital letters."""
    with pytest.raises(ValueError, match="capital letters"):
        Fault(effect="errcode", code=code)
    with pytest.raises(WorldError, match="must be a text"):
        read_fault({"effect": "errcode", "code": 1})


def test_a_fault_after_acting(shop, buyer):
    """With processed the order exists although the answer says no."""
    shop.world.fault("busy", "/v3/pay/transactions/jsapi", processed=True, times=1)
    body = shop.order(payer={"openid": buyer.openid})
    assert shop.refused(shop.send("POST", "/v3/pay/transactions/jsapi", body)) == (500, "SYSTEM_ERROR")
    assert shop.query()["trade_state"] == "NOTPAY"


# --- forged answers ---


def test_a_forged_answer(shop):
    """The answer is whole and well-formed, but the signature is not the platform's."""
    good = shop.send("GET", CERTIFICATES)
    shop.world.fault("pay_answer_forged", times=1)
    forged = shop.send("GET", CERTIFICATES)
    assert forged.status == 200
    assert json.loads(forged.body)["data"]
    assert [name for name, _ in forged.headers] == [name for name, _ in good.headers]
    shop.learn_certificates()
    assert shop.genuine(dict(good.headers), good.body)
    assert not shop.genuine(dict(forged.headers), forged.body)


def test_a_probe(shop):
    """With SIGNTEST it says that it is a probe, which a client must refuse as well."""
    length = len(dict(shop.send("GET", CERTIFICATES).headers)["Wechatpay-Signature"])
    shop.world.fault("pay_answer_forged", code="SIGNTEST")
    headers = dict(shop.send("GET", CERTIFICATES).headers)
    assert headers["Wechatpay-Signature"].startswith("WECHATPAY/SIGNTEST/")
    assert len(headers["Wechatpay-Signature"]) == length


def test_a_forged_answer_of_v2(shop):
    """There it is the sign inside the XML."""
    shop.world.fault("pay_answer_forged")
    found = flat(shop.v2_raw("/pay/orderquery", {"out_trade_no": "x"}).body)
    assert len(found["sign"]) == 32
    assert found["sign"] != shop.sign_v2(found)


def test_errors_have_nothing_to_forge(shop, desk):
    """An unsigned error stays as it is and the journal says so; other hosts are not meant."""
    rule = shop.world.fault("pay_answer_forged")
    shop.refused(shop.send("GET", "/v3/nope"))
    assert "carries no signature" in shop.world.exchanges()[-1].why
    desk.plain()
    assert rule.hits == 1


# --- what is signed ---


@pytest.mark.parametrize("number", ["a*b|c_d", "a%2Ab%7Cc%5Fd", "a%2ab%7cc_d", "%61*b%7C%63_d"])
@pytest.mark.parametrize("prefix", ["", "/mch"])
def test_the_text_on_the_wire_is_signed(shop, simulator, buyer, number, prefix):
    """Whatever a client encodes in a path, it signs what it sends; the prefix of this machine may be left out."""
    shop.jsapi(buyer.openid, number="a*b|c_d")
    target = f"/v3/pay/transactions/out-trade-no/{number}?mchid={shop.mchid}&x=%7E"
    url = httpx.URL(simulator.url).copy_with(raw_path=f"/mch{target}".encode())
    headers = shop.headers("GET", prefix + target, b"")
    reply = httpx.get(url, headers=headers, trust_env=False)
    assert (reply.status_code, reply.json().get("out_trade_no")) == (200, "a*b|c_d"), reply.text


def test_another_spelling_is_not_what_was_sent(shop, simulator):
    """A signature over another spelling of the same path is refused, with the text that was sent."""
    sent, signed = (
        f"/v3/pay/transactions/id/a%2Ab?mchid={shop.mchid}",
        f"/v3/pay/transactions/id/a*b?mchid={shop.mchid}",
    )
    url = httpx.URL(simulator.url).copy_with(raw_path=f"/mch{sent}".encode())
    reply = httpx.get(url, headers=shop.headers("GET", signed, b""), trust_env=False)
    assert reply.status_code == 401
    assert reply.json()["detail"]["sign_information"]["url"] == f"/mch{sent}"
    assert urlsplit(str(url)).path.startswith("/mch/")
