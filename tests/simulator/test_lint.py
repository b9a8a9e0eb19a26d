"""Lint: every rule finds what it is about, and an ordinary session gives it nothing to say."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from tests.simulator.conftest import Desk
from tests.simulator.developer import AES_KEY, TOKEN, envelope, text_reply, xml_fields
from wxmp import Client, MemoryTokenStore
from wxmp.simulator import Answer, Clock, Policy, Simulator, World
from wxmp.simulator.advice import ADVICE
from wxmp.simulator.pay.ledger import add_merchant
from wxmp.simulator.pay.notices import Notices, queue

URL = "http://127.0.0.1:9/wx"
TEMPLATE = "{{thing1.DATA}}"


def found(world: World) -> dict[str, dict[str, Any]]:
    """Return the findings by code."""
    return {finding["code"]: finding for finding in world.lint.findings()}


def deliver(world: World, answer: Any) -> None:
    """Carry every push that waits; ``answer`` makes the answer to a request."""
    for job in world.callbacks.take():
        while (outgoing := world.callbacks.next_request(job)) is not None:
            world.callbacks.answered(job, outgoing, answer(outgoing) if callable(answer) else answer)


def ok(body: bytes = b"success", **more: Any) -> Answer:
    """Return an answer with status 200."""
    return Answer(200, body, "text/xml", **more)


@pytest.fixture
def phone(world: World):
    """A follower's phone, at an account that pushes in plain XML."""
    world.set_callback(URL, token=TOKEN)
    return world.phone(world.create_followers(1)[0])


def replying(content: str = "好的", **changes: str) -> Any:
    """Return what answers every push with a text."""
    return lambda outgoing: ok(text_reply(xml_fields(outgoing.inner), content, **changes))


# --- what a finding is --------------------------------------------------------------------------------------------


def test_a_finding_counts_its_sights(desk: Desk, world: World):
    """The same thing twice is one finding, with the first and the last sight."""
    desk.get("/cgi-bin/no/such")
    world.advance(60)
    desk.get("/cgi-bin/no/such")
    (finding,) = world.lint.findings()
    assert (finding["code"], finding["level"], finding["count"]) == ("unknown_path", "warning", 2)
    assert finding["at"] - finding["first_at"] == 60
    assert finding["seq"] - finding["first_seq"] == 1
    assert world.lint.counts() == {"error": 0, "warning": 1, "hint": 0}


def test_findings_have_words_in_two_languages(desk: Desk, world: World):
    """Title, detail and remedy stand there in English and Chinese, with what was seen filled in."""
    desk.get("/cgi-bin/no/such")
    (finding,) = world.lint.findings()
    for name in ("title", "detail", "remedy"):
        assert set(finding[name]) == {"en", "zh"}
    assert "GET /cgi-bin/no/such" in finding["detail"]["en"]
    assert "GET /cgi-bin/no/such" in finding["detail"]["zh"]


@pytest.mark.parametrize("code", ADVICE)
def test_all_words_can_be_filled_in(code: str):
    """Both languages of a detail name the same things."""
    advice = ADVICE[code]

    class Names(dict[str, str]):
        def __missing__(self, name: str) -> str:
            self[name] = ""
            return ""

    english, chinese = Names(), Names()
    advice.detail.format_map(english)
    advice.detail_zh.format_map(chinese)
    assert {name.removesuffix("_zh") for name in chinese} <= set(english) | {"value"}
    assert advice.title != advice.title_zh


def test_findings_are_bounded(desk: Desk, world: World):
    """A thousand kinds of nonsense are some findings and one for the rest."""
    for number in range(1000):
        desk.send("GET", f"/nonsense/{number}")
    findings = world.lint.findings()
    assert len(findings) == 21
    assert sum(finding["count"] for finding in findings) == 1000


def test_the_worst_comes_first(desk: Desk, world: World):
    """Errors stand before warnings, these before hints."""
    desk.get("/cgi-bin/groups/get")
    desk.get("/nonsense")
    desk.send("POST", "/cgi-bin/tags/create", {}, b'{"access_token": "x"}')
    assert [finding["level"] for finding in world.lint.findings()] == ["error", "warning", "hint"]


def test_a_reset_forgets_them(desk: Desk, world: World):
    """After a reset nothing is known."""
    desk.get("/nonsense")
    world.reset()
    assert world.lint.findings() == []


def test_findings_since_a_revision(desk: Desk, world: World):
    """Somebody who knows the first findings can ask for those that changed."""
    desk.get("/one")
    known = world.lint.revision
    desk.get("/two")
    assert [finding["subject"] for finding in world.lint.findings(since=known)] == ["GET /two"]


def test_secrets_stay_out(desk: Desk, world: World):
    """Neither token nor secret is in any finding."""
    token = desk.token()
    for _ in range(9):
        desk.plain(secret="wrong-secret-1")
    world.kill_token()
    for _ in range(30):
        desk.use(token)
    text = json.dumps(world.lint.findings())
    assert found(world).keys() >= {"secret_wrong", "dead_token_used"}
    assert token not in text
    assert "wrong-secret-1" not in text


# --- tokens -------------------------------------------------------------------------------------------------------


def test_two_refreshers(desk: Desk, world: World):
    """Two labels that fetch on the plain channel within the overlap take the token from each other."""
    desk.plain(client="a")
    world.advance(100)
    desk.plain(client="b")
    assert found(world)["two_refreshers"]["subject"] == "a / b"


def test_two_refreshers_by_address(desk: Desk, world: World):
    """Without labels, two addresses tell them apart."""
    desk.plain(client_ip="10.0.0.1")
    desk.plain(client_ip="10.0.0.2")
    assert found(world)["two_refreshers"]["subject"] == "10.0.0.1 / 10.0.0.2"


def test_two_refreshers_at_a_distance(desk: Desk, world: World):
    """Outside the overlap it takes more than one replacement of a young token."""
    for client in ("a", "b", "a"):
        assert "two_refreshers" not in found(world)
        desk.plain(client=client)
        world.advance(1000)
    assert "two_refreshers" in found(world)


def test_two_restarts_far_apart_are_no_fight(desk: Desk, world: World):
    """A young token that another worker replaces once in a while, as after a restart, is nothing."""
    for client in ("a", "b", "a", "b"):
        desk.plain(client=client)
        world.advance(3000)
        desk.plain(client=client)
        world.advance(6500)
    assert "two_refreshers" not in found(world)


def test_a_fleet_that_takes_turns_is_no_fight(desk: Desk, world: World):
    """Different workers may fetch when the token nears its end, or after somebody else has taken it."""
    desk.plain(client="a")
    world.advance(7000)
    desk.plain(client="b")
    world.kill_token("plain", "forced")
    desk.plain(client="c")
    world.kill_token("plain", "expired")
    desk.plain(client="d")
    assert found(world) == {}


def test_token_fetched_too_often(desk: Desk, world: World):
    """A caller that fetches anew for every call is told."""
    for _ in range(4):
        desk.plain()
        world.advance(30)
    assert found(world)["token_too_often"]["level"] == "warning"


def test_stable_token_asked_for_too_often(desk: Desk, world: World):
    """Thirty requests for one living token are too many."""
    for _ in range(29):
        desk.stable()
    assert found(world) == {}
    desk.stable()
    desk.stable()
    assert found(world)["token_too_often"]["subject"] == "127.0.0.1"


def test_forced_refresh_in_vain(desk: Desk, world: World):
    """A second forced refresh within seconds does nothing, and that is said."""
    desk.stable(force=True)
    assert found(world) == {}
    desk.stable(force=True)
    assert "the last one is too recent" in found(world)["force_refresh_ignored"]["detail"]["en"]


def test_dead_token_at_once(desk: Desk, world: World):
    """Calls that were on their way are forgiven, some dozens are not."""
    token = desk.token()
    world.kill_token()
    for _ in range(20):
        desk.use(token)
    assert found(world) == {}
    desk.use(token)
    assert found(world)["dead_token_used"]["level"] == "error"


def test_dead_token_over_time(desk: Desk, world: World):
    """A few uses are too many when they go on for seconds."""
    token = desk.token()
    world.kill_token()
    for _ in range(3):
        desk.use(token)
        world.advance(10)
    assert found(world) == {}
    desk.use(token)
    assert "dead_token_used" in found(world)


def test_secret_wrong_several_times(desk: Desk, world: World):
    """Two wrong secrets are a typing error, three are a program."""
    desk.plain(secret="x")
    desk.stable(secret="x")
    assert found(world) == {}
    desk.plain(secret="x")
    assert found(world)["secret_wrong"]["subject"] == "127.0.0.1"


@pytest.mark.parametrize("body", [b'{"access_token": "t", "tag": {"name": "x"}}', b"access_token=t&x=1"])
def test_token_in_the_body(desk: Desk, world: World, body: bytes):
    """A token in the body is found in JSON and in forms."""
    desk.send("POST", "/cgi-bin/tags/create", body=body)
    assert "token_in_body" in found(world)


def test_the_word_in_a_text_is_no_token(desk: Desk, world: World):
    """Somebody may write about access_token."""
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "access_token="}})
    assert found(world) == {}


# --- limits -------------------------------------------------------------------------------------------------------


def test_quota_nearly_gone(desk: Desk, world: World):
    """Nine of ten calls are worth a word."""
    world.account.quotas["/cgi-bin/tags/get"] = 10
    for _ in range(8):
        desk.get("/cgi-bin/tags/get")
    assert found(world) == {}
    desk.get("/cgi-bin/tags/get")
    assert "9 of 10" in found(world)["quota_nearly_gone"]["detail"]["en"]


@pytest.mark.parametrize(("effect", "errcode"), [("quota", "45009"), ("minute", "45011")])
def test_blind_retry(desk: Desk, world: World, effect: Any, errcode: str):
    """Who goes on calling after 45009 or 45011 is found."""
    world.fault(effect, "/cgi-bin/tags/get")
    for _ in range(3):
        desk.get("/cgi-bin/tags/get")
    assert found(world) == {}
    desk.get("/cgi-bin/tags/get")
    assert errcode in found(world)["blind_retry"]["detail"]["en"]


def test_waiting_a_minute_is_no_blind_retry(desk: Desk, world: World):
    """45011 asks for a pause of a minute: who makes it may come again."""
    world.fault("minute", "/cgi-bin/tags/get")
    for _ in range(6):
        desk.get("/cgi-bin/tags/get")
        world.advance(60)
    assert found(world) == {}


def test_busy_not_retried(desk: Desk, world: World):
    """A busy answer that nobody follows up is found once its time is over."""
    world.fault("busy", "/cgi-bin/tags/get", times=1)
    desk.get("/cgi-bin/tags/get")
    assert found(world) == {}
    world.advance(61)
    assert found(world)["busy_not_retried"]["subject"] == "GET /cgi-bin/tags/get"


def test_busy_and_retried(desk: Desk, world: World):
    """One retry is enough, even when it is in vain."""
    world.fault("busy", "/cgi-bin/tags/get", times=2)
    for _ in range(2):
        desk.get("/cgi-bin/tags/get")
    world.advance(61)
    assert found(world) == {}


# --- what is sent -------------------------------------------------------------------------------------------------


def test_menu_captions(desk: Desk, world: World):
    """Five Chinese characters are too many on top, nine below."""
    short = {"name": "四个汉字", "sub_button": [{"type": "click", "name": "八个汉字也放得下", "key": "K"}]}
    desk.post("/cgi-bin/menu/create", {"button": [short]})
    assert found(world) == {}
    desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": "五个汉字了", "key": "K"}]})
    assert found(world)["menu_name_long"]["subject"] == "五个汉字了"
    world.lint.clear()
    below = {"name": "菜单", "sub_button": [{"type": "click", "name": "这里一共有九个汉字", "key": "K"}]}
    desk.post("/cgi-bin/menu/create", {"button": [below]})
    assert found(world)["menu_name_long"]["subject"] == "这里一共有九个汉字"


def test_unicode_escapes(desk: Desk, world: World):
    r"""Chinese as \uXXXX is found, plain escapes are not."""
    token = {"access_token": desk.token()}
    desk.send("POST", "/cgi-bin/tags/create", token, b'{"tag": {"name": "a\\u0041"}}')
    assert found(world) == {}
    desk.send("POST", "/cgi-bin/tags/create", token, json.dumps({"tag": {"name": "重要"}}).encode())
    assert found(world)["unicode_escapes"]["subject"] == "/cgi-bin/tags/create"


@pytest.mark.parametrize(
    ("headers", "wrong"),
    [
        ({"content-type": "application/x-www-form-urlencoded"}, True),
        ({"accept": "*/*"}, True),
        ({"content-type": "application/json; charset=utf-8"}, False),
        ({}, False),
    ],
)
def test_content_type(desk: Desk, world: World, headers: dict[str, str], wrong: bool):
    """JSON that says it is something else, or nothing, is found; without headers nothing is claimed."""
    token = {"access_token": desk.token()}
    desk.send("POST", "/cgi-bin/tags/create", token, '{"tag": {"name": "重要"}}'.encode(), headers=headers)
    assert ("content_type" in found(world)) is wrong


def test_json_to_an_upload(desk: Desk, world: World):
    """JSON sent where a form is wanted is found."""
    token = {"access_token": desk.token(), "type": "image"}
    desk.send("POST", "/cgi-bin/media/upload", token, b"{}", headers={"content-type": "application/json"})
    assert set(found(world)) == {"json_to_form"}


def test_unknown_path(desk: Desk, world: World):
    """A path that does not exist is found."""
    desk.get("/cgi-bin/menu/make")
    assert set(found(world)) == {"unknown_path"}


@pytest.mark.parametrize("path", ["/cgi-bin/groups/get", "/shakearound/device/search"])
def test_deprecated(desk: Desk, world: World, path: str):
    """An endpoint of the past is a hint, whether it still answers or not."""
    desk.get(path)
    assert found(world)["deprecated_endpoint"]["level"] == "hint"
    assert set(found(world)) == {"deprecated_endpoint"}


def test_template_without_link(desk: Desk, world: World):
    """A card that leads nowhere is a hint; one with a link is not."""
    (openid,) = world.create_followers(1)
    template = world.add_template("t", TEMPLATE)
    body = {"touser": openid, "template_id": template, "data": {"thing1": {"value": "好"}}}
    desk.post("/cgi-bin/message/template/send", body | {"url": "https://example.com/"})
    assert found(world) == {}
    desk.post("/cgi-bin/message/template/send", body)
    assert found(world)["template_no_url"]["subject"] == template


def test_window_closed_and_used_up(desk: Desk, world: World):
    """Messages outside the window and over the allowance are told apart."""
    (openid,) = world.create_followers(1)
    body = {"touser": openid, "msgtype": "text", "text": {"content": "x"}}
    assert desk.post("/cgi-bin/message/custom/send", body)["errcode"] == 45015
    assert set(found(world)) == {"window_closed"}
    world.lint.clear()
    world.user_writes(openid, "你好")
    for _ in range(6):
        desk.post("/cgi-bin/message/custom/send", body)
    assert set(found(world)) == {"window_used_up"}


# --- web pages ----------------------------------------------------------------------------------------------------


def open_page(desk: Desk, openid: str, **more: str) -> dict[str, str]:
    """Open the OAuth page as a user; return the query of the way back."""
    query = {
        "appid": desk.account.appid,
        "redirect_uri": "https://example.com/back",
        "response_type": "code",
        "scope": "snsapi_base",
        "openid": openid,
        **more,
    }
    reply = desk.send("GET", "/connect/oauth2/authorize", query, host="open")
    location = dict(reply.headers).get("location", "")
    return dict(pair.split("=", 1) for pair in location.partition("?")[2].partition("#")[0].split("&") if "=" in pair)


def test_state_missing(desk: Desk, world: World):
    """An OAuth page without state is found, one with it is not."""
    (openid,) = world.create_followers(1)
    open_page(desk, openid, state="s1")
    assert found(world) == {}
    open_page(desk, openid)
    assert found(world)["oauth_state_missing"]["subject"] == "https://example.com/back"


def test_code_used_twice(desk: Desk, world: World):
    """The second use of a code is found."""
    (openid,) = world.create_followers(1)
    code = open_page(desk, openid, state="s1")["code"]
    query = {"appid": desk.account.appid, "secret": desk.account.secret, "code": code}
    query["grant_type"] = "authorization_code"
    desk.send("GET", "/sns/oauth2/access_token", query)
    assert found(world) == {}
    assert desk.send("GET", "/sns/oauth2/access_token", query).errcode == 40163
    assert set(found(world)) == {"oauth_code_twice"}


# --- pushes -------------------------------------------------------------------------------------------------------


def test_slow_answer(phone: Any, world: World):
    """An answer after four seconds is late, one after three is not."""
    phone.say("1")
    deliver(world, ok(seconds=3.0))
    assert found(world) == {}
    phone.say("2")
    deliver(world, ok(seconds=4.2))
    assert "4.2 s" in found(world)["push_slow"]["detail"]["en"]


def test_no_answer(phone: Any, world: World):
    """A connection that had to be cut is found."""
    phone.say("1")
    deliver(world, Answer(seconds=5.0, failure="no answer within 5 s"))
    assert set(found(world)) == {"push_timeout"}
    assert found(world)["push_timeout"]["count"] == 3


def test_no_connection(phone: Any, world: World):
    """A server that is not there is found."""
    phone.say("1")
    deliver(world, Answer(failure="the connection failed (ConnectError)"))
    assert set(found(world)) == {"push_unreachable"}


def test_http_error(phone: Any, world: World):
    """An answer other than 200 is found."""
    phone.say("1")
    deliver(world, Answer(500, b"oops"))
    assert set(found(world)) == {"push_http_error"}


@pytest.mark.parametrize(
    ("effect", "code"),
    [
        ("push_wrong_signature", "accepted_wrong_signature"),
        ("push_wrong_appid", "accepted_wrong_appid"),
        ("push_stale", "accepted_stale"),
        ("push_replayed", "accepted_replayed"),
    ],
)
def test_accepted_forgeries(world: World, effect: Any, code: str):
    """Each kind of forged push that is accepted is an error; refused ones are none."""
    world.set_callback(URL, token=TOKEN, encoding_aes_key=AES_KEY)
    phone = world.phone(world.create_followers(1)[0])
    world.fault(effect)
    phone.say("1")
    deliver(world, lambda outgoing: ok() if outgoing.step == "push" else Answer(403))
    assert found(world) == {}
    phone.say("2")
    deliver(world, ok())
    assert {name: finding["level"] for name, finding in found(world).items()} == {code: "error"}


def test_not_idempotent(phone: Any, world: World):
    """Two different replies to one push are found; the same twice is not, nor silence the second time."""
    world.fault("push_twice")
    replies = iter(["一", "一"])
    phone.say("1")
    deliver(world, lambda outgoing: replying(next(replies), CreateTime=str(outgoing.number))(outgoing))
    answers = iter([replying("一"), lambda outgoing: ok()])
    phone.say("2")
    deliver(world, lambda outgoing: next(answers)(outgoing))  # noqa: PLW0108
    assert found(world) == {}
    replies = iter(["一", "二"])
    phone.say("3")
    deliver(world, lambda outgoing: replying(next(replies))(outgoing))  # noqa: PLW0108
    assert set(found(world)) == {"not_idempotent"}


def test_broken_reply(phone: Any, world: World):
    """A reply that cannot be read is found, with the reason."""
    phone.say("1")
    deliver(world, ok(b"hello"))
    assert "neither empty" in found(world)["reply_broken"]["detail"]["en"]


def test_long_reply(phone: Any, world: World):
    """A text over 2048 bytes is found."""
    phone.say("1")
    deliver(world, replying("好" * 700))
    assert set(found(world)) == {"reply_too_long"}


def test_several_articles(phone: Any, world: World):
    """A news reply to a message shows one article only."""
    article = "<item><Title>t</Title><Description>d</Description><PicUrl>p</PicUrl><Url>u</Url></item>"

    def answer(outgoing: Any) -> Answer:
        push = xml_fields(outgoing.inner)
        head = f"<ToUserName>{push['FromUserName']}</ToUserName><FromUserName>{push['ToUserName']}</FromUserName>"
        articles = f"<ArticleCount>2</ArticleCount><Articles>{article}{article}</Articles>"
        return ok(f"<xml>{head}<CreateTime>1</CreateTime><MsgType>news</MsgType>{articles}</xml>".encode())

    phone.say("1")
    deliver(world, answer)
    assert set(found(world)) == {"reply_articles"}


def test_plain_reply_in_safe_mode(world: World):
    """A plain reply where a sealed one is due is found; a sealed one is not."""
    world.set_callback(URL, token=TOKEN, encoding_aes_key=AES_KEY)
    phone = world.phone(world.create_followers(1)[0])
    phone.say("1")
    sealed = lambda outgoing: ok(envelope(text_reply(xml_fields(outgoing.inner)), world.account.appid))  # noqa: E731
    deliver(world, sealed)
    assert found(world) == {}
    phone.say("2")
    deliver(world, replying())
    assert set(found(world)) == {"reply_plain"}


def test_a_lost_answer_is_nobodys_fault(phone: Any, world: World):
    """What an injected fault breaks is not held against the server."""
    world.fault("push_lost_answer", times=3)
    phone.say("1")
    deliver(world, ok())
    assert found(world) == {}


# --- pay ----------------------------------------------------------------------------------------------------------


def notice(world: World, out_trade_no: str = "T1") -> None:
    """Queue the notice of a payment."""
    merchant = next(iter(world.state.pay.merchants.values()), None) or add_merchant(world)
    plain = {"out_trade_no": out_trade_no, "transaction_id": f"42{out_trade_no}", "trade_state": "SUCCESS"}
    about = (URL, world.account.appid, "o1", "v3")
    queue(world, merchant, "TRANSACTION.SUCCESS", "transaction", plain, *about)
    world.advance(10)


def carry(world: World, answer: Any) -> None:
    """Carry every notice that waits."""
    notices = Notices(world)
    for job in notices.take():
        while (outgoing := notices.next_request(job)) is not None:
            notices.answered(job, outgoing, answer(outgoing))


def test_forged_notice_accepted(world: World):
    """A server that takes a notice with a wrong signature has a hole; one that refuses it has none."""
    world.fault("pay_forged")
    notice(world)
    carry(world, lambda outgoing: Answer(401 if outgoing.step == "pay_forged" else 204))
    assert found(world) == {}
    notice(world, "T2")
    carry(world, lambda outgoing: Answer(204))
    assert found(world)["forged_notice_accepted"]["level"] == "error"


def test_lost_notice_without_a_query(desk: Desk, world: World):
    """When the notice does not arrive, somebody has to ask; who has asked hears nothing."""
    world.fault("pay_never")
    notice(world, "T1")
    notice(world, "T2")
    carry(world, lambda outgoing: Answer(204))
    desk.send("GET", "/v3/pay/transactions/out-trade-no/T1", {"mchid": "1"}, host="mch")
    assert found(world) == {}
    world.advance(301)
    assert found(world)["pay_not_queried"]["subject"] == "T2"
    assert found(world)["pay_not_queried"]["count"] == 1


HOSTILE = ["http://[", "http://[::1", "//", "\x00", "http://a:99999/", "http://{subject}/{0}", "\ud800"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_a_rule(desk: Desk, world: World, text: str):
    """Addresses, names and labels may be anything: an answer comes, and the findings can be shown."""
    body = json.dumps({"notify_url": text, "button": [{"name": text * 9, "sub_button": [text, {"name": text}]}, text]})
    for path in ("/v3/pay/transactions/jsapi", "/cgi-bin/menu/create", f"/{text}"):
        query = {"access_token": desk.token(), "redirect_uri": text}
        desk.send("POST", path, query, body.encode(), client=text, headers={"content-type": text})
    desk.send("POST", "/pay/unifiedorder", {}, b"<xml><notify_url>" + text.encode("utf-8", "replace"), host="mch")
    open_page(desk, world.create_followers(1)[0], redirect_uri=text)
    assert json.dumps(world.lint.findings())


@pytest.mark.parametrize(
    ("url", "troubles"),
    [
        ("https://shop.example.com/notify", []),
        ("http://127.0.0.1:8000/notify", []),
        ("http://shop.example.com/notify", ["is not https"]),
        ("https://shop.example.com/notify?x=1", ["has query parameters"]),
    ],
)
def test_notify_url(desk: Desk, world: World, url: str, troubles: list[str]):
    """What the real platform would refuse is found in both interfaces; a loopback address is only for trying out."""
    desk.send("POST", "/v3/pay/transactions/jsapi", body=json.dumps({"notify_url": url}).encode(), host="mch")
    desk.send("POST", "/pay/unifiedorder", body=f"<xml><notify_url>{url}</notify_url></xml>".encode(), host="mch")
    details = [finding["detail"]["en"] for finding in world.lint.findings()]
    assert [trouble for trouble in troubles if trouble in str(details)] == troubles
    assert sum(finding["count"] for finding in world.lint.findings()) == 2 * len(troubles)


# --- and nothing else ---------------------------------------------------------------------------------------------


async def test_an_ordinary_session_has_no_findings(developer: Any):
    """A service that uses the SDK as it is meant to be used, with pushes and a token that changes, hears nothing."""
    with Simulator(followers=20) as simulator:
        world = simulator.world
        template = world.add_template("t", TEMPLATE)
        developer.answer = lambda hit: text_reply(hit.fields)
        world.set_callback(developer.url, token=TOKEN)
        stores = MemoryTokenStore(), MemoryTokenStore()
        account = simulator.account
        for store in stores:
            async with Client(account.appid, account.secret, base_url=simulator.url, token_store=store) as client:
                await client.request("POST", "/cgi-bin/menu/create", json=MENU)
                openids = [openid async for openid in client.user.iter_followers()]
                tag = await client.tag.create(f"重要{len(world.account.tags)}")
                await client.tag.add_members(tag.tag_id, openids=openids)
                data = {"thing1": "您好"}
                for openid in openids[:3]:
                    await client.template.send(
                        openid, template_id=template, data=data, url="https://example.com/orders"
                    )
                phone = simulator.phone(openids[0])
                phone.say("你好")
                phone.tap("K")
                await client.request("POST", "/cgi-bin/message/custom/send", json=text_to(openids[0]))
                world.kill_token()
                await client.user.get(openids[0])
        assert simulator.wait_until_settled()
        assert len(simulator.deliveries()) >= 4
        assert world.lint.findings() == []


MENU = {
    "button": [
        {"type": "click", "name": "今日歌曲", "key": "K"},
        {"name": "菜单", "sub_button": [{"type": "view", "name": "搜索", "url": "https://example.com/"}]},
    ]
}


def text_to(openid: str) -> dict[str, object]:
    """Return a customer-service message."""
    return {"touser": openid, "msgtype": "text", "text": {"content": "收到"}}


def test_a_scaled_clock_is_no_excuse_and_no_trap():
    """Seconds of the dead-token rule are real ones, however fast the simulated clock goes."""
    world = World(Policy(), Clock.scaled(1000.0), seed=7)
    desk = Desk(world)
    token = desk.token()
    world.kill_token()
    for _ in range(6):
        desk.use(token)
    assert found(world) == {}
    world.policy = attrs.evolve(world.policy, lint_dead_token_seconds=0.0)
    desk.use(token)
    assert "dead_token_used" in found(world)
