"""Subscription notices, the old one-time message, short keys, auto-reply rules."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from wxmp.simulator import Clock, Policy, World, WorldError
from wxmp.simulator.outreach import one_time_template

BIZSEND = "/cgi-bin/message/subscribe/bizsend"
ONE_TIME = "/cgi-bin/message/template/subscribe"
ADD = "/wxaapi/newtmpl/addtemplate"
GOOD = {"thing2": "白菜", "amount3": "¥10.50"}


@pytest.fixture
def openid(world: World) -> str:
    return world.create_followers(1)[0]


def add(desk, tid=1221, kids=(2, 3), scene="付款之后"):
    return desk.post(ADD, {"tid": str(tid), "kidList": list(kids), "sceneDesc": scene})


@pytest.fixture
def template_id(desk) -> str:
    return add(desk)["priTmplId"]


def send(desk, openid, template_id, values=None, **more):
    data = {name: {"value": value} for name, value in (values or GOOD).items()}
    return desk.post(BIZSEND, {"touser": openid, "template_id": template_id, "data": data} | more)


def accept(desk, openid, template_id):
    desk.world.phone(openid).answer_popup({template_id: "accept"})


def events(world, name):
    return [push.fields for push in world.pushes() if push.name == name]


# --- library and templates --------------------------------------------------------------------------------------------


def test_the_way_from_a_category_to_a_template(desk):
    """Categories lead to titles, titles to keywords, keywords to a private template with its content."""
    category = desk.get("/wxaapi/newtmpl/getcategory")["data"][0]["id"]
    query = {"ids": str(category), "start": "0", "limit": "30"}
    (title,) = desk.get("/wxaapi/newtmpl/getpubtemplatetitles", **query)["data"]
    keywords = desk.get("/wxaapi/newtmpl/getpubtemplatekeywords", tid=str(title["tid"]))
    assert keywords["count"] == len(keywords["data"]) == 6
    kids = [keyword["kid"] for keyword in keywords["data"][2:0:-1]]
    made = add(desk, title["tid"], kids)["priTmplId"]
    (own,) = desk.get("/wxaapi/newtmpl/gettemplate")["data"]
    assert own == {
        "priTmplId": made,
        "title": "订单支付成功通知",
        "content": "支付金额:{{amount3.DATA}}\n商品名称:{{thing2.DATA}}",
        "example": "支付金额:¥10.50\n商品名称:白菜一颗",
        "type": 2,
    }


def test_an_account_may_have_some_categories_only(desk):
    """Only those are listed, and titles of others are 200019."""
    desk.account.outreach.categories = [402]
    assert desk.get("/wxaapi/newtmpl/getcategory")["data"] == [{"id": 402, "name": "在线教育"}]
    query = {"start": "0", "limit": "30"}
    assert desk.get("/wxaapi/newtmpl/getpubtemplatetitles", ids="402", **query)["count"] == 1
    assert desk.get("/wxaapi/newtmpl/getpubtemplatetitles", ids="307", **query)["errcode"] == 200019


def test_titles_come_in_pages(desk):
    """The count is that of all, the data that of the page."""
    ids = ",".join(str(entry["id"]) for entry in desk.get("/wxaapi/newtmpl/getcategory")["data"])
    found = desk.get("/wxaapi/newtmpl/getpubtemplatetitles", ids=ids, start="1", limit="2")
    assert (found["count"], len(found["data"])) == (4, 2)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"start": "0", "limit": "1"}, 200018),
        ({"ids": "1", "start": "0", "limit": "1"}, 200019),
        ({"ids": "x", "start": "0", "limit": "1"}, 200019),
        ({"ids": "307", "start": "-1", "limit": "1"}, 200016),
        ({"ids": "307", "start": "0", "limit": "31"}, 200017),
        ({"ids": "307", "start": "0"}, 200017),
    ],
)
def test_title_queries_are_checked(desk, query, code):
    """Each parameter has a code of its own."""
    assert desk.get("/wxaapi/newtmpl/getpubtemplatetitles", **query)["errcode"] == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tid": 1}, 200014),
        ({"kids": [2]}, 200020),
        ({"kids": [1, 2, 3, 4, 5, 6]}, 200020),
        ({"kids": [2, 2]}, 200020),
        ({"kids": [2, 99]}, 200020),
        ({"scene": ""}, 200021),
        ({"scene": "字" * 16}, 200021),
    ],
)
def test_adding_a_template_is_checked(desk, changes, code):
    """Template, keywords and scene each have their rule."""
    assert add(desk, **changes)["errcode"] == code


def test_the_same_template_is_added_once(desk, template_id):
    """The same title and keywords are 200022; another order is another template."""
    assert add(desk)["errcode"] == 200022
    assert add(desk, kids=[3, 2])["errcode"] == 0


def test_slots_and_bans(desk, make_desk):
    """A full list is 200012, a banned account 200011."""
    small = make_desk(subscribe_templates=1)
    assert [add(small)["errcode"], add(small, kids=[3, 2])["errcode"]] == [0, 200012]
    desk.account.outreach.banned = True
    assert add(desk)["errcode"] == 200011


def test_a_deleted_template_is_gone(desk, openid, template_id):
    """With the template its consents go; deleting twice is 200014."""
    accept(desk, openid, template_id)
    assert desk.post("/wxaapi/newtmpl/deltemplate", {"priTmplId": template_id})["errcode"] == 0
    assert desk.post("/wxaapi/newtmpl/deltemplate", {"priTmplId": template_id})["errcode"] == 200014
    assert send(desk, openid, template_id)["errcode"] == 40037
    assert desk.account.outreach.consents == {openid: {}}


# --- consent ----------------------------------------------------------------------------------------------------------


def test_a_consent_pays_for_one_send(desk, openid, template_id):
    """Without consent 43101; one "accept" is one send, two are two."""
    assert send(desk, openid, template_id)["errcode"] == 43101
    accept(desk, openid, template_id)
    assert [send(desk, openid, template_id)["errcode"] for _ in range(2)] == [0, 43101]
    accept(desk, openid, template_id)
    accept(desk, openid, template_id)
    assert [send(desk, openid, template_id)["errcode"] for _ in range(3)] == [0, 0, 43101]


def test_consents_may_not_add_up(make_desk):
    """With the other policy two "accept" still pay for one send."""
    desk = make_desk(subscribe_accepts_add_up=False)
    openid, template_id = desk.world.create_followers(1)[0], add(desk)["priTmplId"]
    accept(desk, openid, template_id)
    accept(desk, openid, template_id)
    assert [send(desk, openid, template_id)["errcode"] for _ in range(2)] == [0, 43101]


def test_a_lasting_template_asks_once(desk, openid):
    """Of a long-term template one consent is good for any number."""
    template_id = add(desk, 3310, [1, 2])["priTmplId"]
    accept(desk, openid, template_id)
    values = {"thing1": "快线", "time2": "12:30"}
    assert {send(desk, openid, template_id, values)["errcode"] for _ in range(5)} == {0}


def test_a_rejection_pays_for_nothing(desk, openid, template_id):
    """A "reject" leaves 43101, and what was allowed before stays."""
    desk.world.phone(openid).answer_popup({template_id: "reject"})
    assert send(desk, openid, template_id)["errcode"] == 43101
    accept(desk, openid, template_id)
    desk.world.phone(openid).answer_popup({template_id: "reject"})
    assert send(desk, openid, template_id)["errcode"] == 0


def test_switching_off_ends_every_consent(desk, openid, template_id):
    """Off in the settings is 43101 and is pushed; on again brings nothing back and is not pushed."""
    phone = desk.world.phone(openid)
    accept(desk, openid, template_id)
    phone.change_subscription(template_id, False)
    assert send(desk, openid, template_id)["errcode"] == 43101
    phone.change_subscription(template_id, True)
    assert send(desk, openid, template_id)["errcode"] == 43101
    accept(desk, openid, template_id)
    assert send(desk, openid, template_id)["errcode"] == 0
    (event,) = events(desk.world, "subscribe_msg_change_event")
    expected = [{"TemplateId": template_id, "SubscribeStatusString": "reject"}]
    assert event["SubscribeMsgChangeEvent"]["List"] == expected


def test_the_popup_is_pushed_with_every_choice(desk, openid, template_id):
    """One event for the popup, with one entry a template."""
    other = add(desk, kids=[3, 2])["priTmplId"]
    desk.world.phone(openid).answer_popup({template_id: "accept", other: "reject"}, scene=2)
    (event,) = events(desk.world, "subscribe_msg_popup_event")
    assert event["SubscribeMsgPopupEvent"]["List"] == [
        {"TemplateId": template_id, "SubscribeStatusString": "accept", "PopupScene": 2},
        {"TemplateId": other, "SubscribeStatusString": "reject", "PopupScene": 2},
    ]


def test_an_impossible_popup_changes_nothing(desk, openid, template_id):
    """An unknown template, an odd choice, nothing at all: WorldError, and no consent of the others counts."""
    phone = desk.world.phone(openid)
    for choices in ({}, {"x": "accept"}, {template_id: "accept", "x": "accept"}, {template_id: "maybe"}):
        with pytest.raises(WorldError):
            phone.answer_popup(choices)
    with pytest.raises(WorldError):
        phone.change_subscription("x", True)
    assert send(desk, openid, template_id)["errcode"] == 43101


# --- sending ----------------------------------------------------------------------------------------------------------


def test_a_notice_stands_in_the_chat_and_is_reported(desk, openid, template_id):
    """The line appears at once, the event after a delay of seconds."""
    accept(desk, openid, template_id)
    send(desk, openid, template_id, page="https://example.com/")
    line = desk.world.chat(openid)[-1]
    assert (line.source, line.kind, line.content) == ("subscribe", "subscribe", "订单支付成功通知")
    assert events(desk.world, "subscribe_msg_sent_event") == []
    desk.world.advance(3)
    (event,) = events(desk.world, "subscribe_msg_sent_event")
    (entry,) = event["SubscribeMsgSentEvent"]["List"]
    (sent,) = desk.world.sent(openid)
    assert entry == {"TemplateId": template_id, "MsgID": sent.msgid, "ErrorCode": 0, "ErrorStatus": "success"}
    assert (sent.kind, sent.status) == ("subscribe", "success")


def test_somebody_who_does_not_follow_gets_it_as_a_service_notice(desk, template_id):
    """Following is not needed: the consent is."""
    stranger = desk.world.create_stranger()
    accept(desk, stranger, template_id)
    assert send(desk, stranger, template_id)["errcode"] == 0
    assert "service notices" in desk.world.chat(stranger)[-1].note


def test_switching_off_before_the_delivery_is_reported(desk, openid, template_id):
    """The call was accepted, and the event tells of the failure."""
    accept(desk, openid, template_id)
    send(desk, openid, template_id)
    desk.world.phone(openid).change_subscription(template_id, False)
    desk.world.advance(3)
    (event,) = events(desk.world, "subscribe_msg_sent_event")
    assert event["SubscribeMsgSentEvent"]["List"][0]["ErrorCode"] == 43101


def test_the_report_in_json_has_texts_and_a_bare_list(world, desk, openid, template_id, simulator, developer):
    """In JSON the wrapper is gone, one entry is no array, and numbers are texts."""
    simulator.set_callback(developer.url, token="devToken123", format="json")
    accept(desk, openid, template_id)
    send(desk, openid, template_id)
    world.advance(3)
    assert world.wait_for(lambda w: w.settled, timeout=5)
    popup, sent = (json.loads(hit.body) for hit in developer.hits)
    assert popup["List"] == {"TemplateId": template_id, "SubscribeStatusString": "accept", "PopupScene": "1"}
    assert (sent["List"]["ErrorCode"], sent["List"]["MsgID"].isdigit()) == ("0", True)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("thing", ["一", "字" * 20, "🎉ok 1"], ["字" * 21]),
        ("number", ["1", "2.5", 3, "1" * 32], ["x", "1" * 33, "1,5"]),
        ("letter", ["abcXYZ"], ["ab1", "é", "x" * 33]),
        ("symbol", ["!!", "#"], ["a", "!!!!!!"]),
        ("character_string", ["SF123-45", "x" * 32], ["中文", "x" * 33]),
        ("time", ["15:01", "2026年1月1日 12:00", "2026-01-01 12:00:05", "15:01~16:00"], ["soon", "25:00"]),
        ("date", ["2026年1月1日", "2026-01-01 12:00"], ["1.1.", "12:00"]),
        ("amount", ["¥10.50", "100元", "3"], ["¥", "x3", "12345678901"]),
        ("phone_number", ["+86-0766-66888866", "110"], ["call me", "1" * 18]),
        ("car_number", ["粤A8Z888挂", "B12345"], ["粤A8Z888888", "A B"]),
        ("name", ["李雷", "John Smith", "王" * 10], ["王" * 11, "x" * 21, "R2D2"]),
        ("phrase", ["即将开始"], ["配送已开始了", "ok"]),
        ("enum_string", ["线上", "线下"], ["空中"]),
    ],
)
def test_values_follow_the_rule_of_their_keyword(desk, openid, rule, good, bad):
    """Each kind of keyword takes its values and refuses others with 47003, naming the keyword."""
    for tid in (1221, 2034, 3310, 4477):
        keywords = desk.get("/wxaapi/newtmpl/getpubtemplatekeywords", tid=str(tid))["data"]
        wanted = next((keyword for keyword in keywords if keyword["rule"] == rule), None)
        if wanted is not None:
            break
    other = next(keyword for keyword in keywords if keyword is not wanted)
    template_id = add(desk, tid, [wanted["kid"], other["kid"]])["priTmplId"]
    name, filler = f"{rule}{wanted['kid']}", {f"{other['rule']}{other['kid']}": other["example"]}
    for value in [*good, wanted["example"]]:
        accept(desk, openid, template_id)
        assert send(desk, openid, template_id, filler | {name: value}).get("errcode") == 0, value
    for value in [*bad, ""]:
        refusal = send(desk, openid, template_id, filler | {name: value})
        assert refusal["errcode"] == 47003, value
        assert f"data.{name}.value" in refusal["errmsg"]


def test_missing_data_is_refused(desk, openid, template_id):
    """A keyword without a value, and no data at all: 47003; a refused send uses up no consent."""
    accept(desk, openid, template_id)
    assert send(desk, openid, template_id, {"thing2": "x"})["errcode"] == 47003
    assert desk.post(BIZSEND, {"touser": openid, "template_id": template_id})["errcode"] == 47003
    assert send(desk, openid, template_id)["errcode"] == 0


def test_other_refusals(desk, openid, template_id):
    """Unknown user, unknown template, a blocked word, an odd page, a foreign mini program, a template held back."""
    accept(desk, openid, template_id)
    assert send(desk, "nobody", template_id)["errcode"] == 40003
    assert send(desk, openid, "unknown")["errcode"] == 40037
    assert send(desk, openid, template_id, GOOD | {"thing2": "[[blocked]]"})["errcode"] == 45168
    assert send(desk, openid, template_id, page=5)["errcode"] == 41030
    desk.account.linked_miniprograms = ["wx1"]
    assert send(desk, openid, template_id, miniprogram={"appid": "wx2", "pagepath": "p"})["errcode"] == 40166
    desk.account.outreach.templates[template_id].restricted = True
    assert send(desk, openid, template_id)["errcode"] == 43116


def test_a_client_msg_id_is_sent_once(desk, openid, template_id):
    """The repetition is answered ok, and neither sent nor paid for; another id or ten minutes later is a new send."""
    accept(desk, openid, template_id)
    assert [send(desk, openid, template_id, client_msg_id="m1")["errcode"] for _ in range(2)] == [0, 0]
    assert send(desk, openid, template_id, client_msg_id="m2")["errcode"] == 43101
    assert len(desk.world.sent(openid)) == 1
    desk.world.advance(600)
    assert send(desk, openid, template_id, client_msg_id="m1")["errcode"] == 43101


def test_a_page_has_at_most_1024_characters(desk, openid, template_id):
    """One more is 41030."""
    accept(desk, openid, template_id)
    assert send(desk, openid, template_id, page="x" * 1_025)["errcode"] == 41030
    assert send(desk, openid, template_id, page="x" * 1_024)["errcode"] == 0


# --- the old one-time subscription ------------------------------------------------------------------------------------


def visit(desk, **changes):
    query = {
        "action": "get_confirm",
        "appid": desk.account.appid,
        "scene": "1000",
        "template_id": one_time_template(desk.account),
        "redirect_url": "http://localhost/back?a=1",
        "reserved": "r&1",
    }
    return desk.send("GET", "/mp/subscribemsg", {k: v for k, v in (query | changes).items() if v}, host="mp")


def one_time(desk, openid, **changes):
    body = {
        "touser": openid,
        "template_id": one_time_template(desk.account),
        "scene": "1000",
        "title": "你好",
        "data": {"content": {"value": "世界", "color": "#173177"}},
    }
    return desk.post(ONE_TIME, body | changes)["errcode"]


def test_the_consent_page_leads_back_with_the_answer(desk, openid):
    """The page offers both answers; each leads back with the documented parameters beside those of the address."""
    page = visit(desk)
    assert page.content_type.startswith("text/html")
    assert openid in page.body.decode()
    reply = visit(desk, user=openid, answer="confirm")
    assert reply.status == 302
    back = parse_qs(urlsplit(dict(reply.headers)["location"]).query)
    assert back == {
        "a": ["1"],
        "openid": [openid],
        "template_id": [one_time_template(desk.account)],
        "action": ["confirm"],
        "scene": ["1000"],
        "reserved": ["r&1"],
    }
    back = parse_qs(urlsplit(dict(visit(desk, user=openid, answer="cancel").headers)["location"]).query)
    assert (back["action"], "openid" in back) == (["cancel"], False)


def test_one_consent_is_one_message_of_its_scene(desk, openid):
    """Nothing without consent, one message with it, none of another scene: 43101."""
    assert one_time(desk, openid) == 43101
    visit(desk, user=openid, answer="cancel")
    assert one_time(desk, openid) == 43101
    visit(desk, user=openid, answer="confirm")
    assert one_time(desk, openid, scene="7") == 43101
    longest = {"content": {"value": "字" * 200}}
    assert [one_time(desk, openid, title="字" * 15, data=longest) for _ in range(2)] == [0, 43101]
    assert [(sent.kind, sent.status) for sent in desk.world.sent(openid)] == [("subscribe", "success")]
    assert desk.world.chat(openid)[-1].source == "subscribe"


@pytest.mark.parametrize(
    "changes",
    [
        {"appid": "wx"},
        {"action": "x"},
        {"scene": "10001"},
        {"scene": "x"},
        {"template_id": "x"},
        {"redirect_url": "javascript:alert(1)"},
        {"redirect_url": "http://[bad"},
        {"reserved": "x" * 129},
        {"user": "nobody"},
    ],
)
def test_a_wrong_link_shows_a_page_and_leads_nowhere(desk, openid, changes):
    """Whatever is wrong with the link: a page says so, also when an answer came with it."""
    reply = visit(desk, **({"user": openid, "answer": "confirm"} | changes))
    assert (reply.status, "无法打开" in reply.body.decode()) == (200, True)


def test_the_page_escapes_what_came_from_outside(desk):
    """A nickname with HTML in it stays text."""
    desk.world.user("<script>x</script>")
    assert b"<script>" not in visit(desk).body


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"template_id": "x"}, 40037),
        ({"title": ""}, 40062),
        ({"title": "字" * 16}, 40062),
        ({"data": {}}, 47003),
        ({"data": {"content": {"value": "字" * 201}}}, 47003),
        ({"touser": "nobody"}, 40003),
    ],
)
def test_the_one_time_message_is_checked(desk, openid, changes, code):
    """Template, title, content and receiver have their rules."""
    visit(desk, user=openid, answer="confirm")
    assert one_time(desk, openid, **changes) == code
    assert one_time(desk, openid) == 0


# --- short keys and auto-replies --------------------------------------------------------------------------------------


def test_a_short_key_gives_its_data_back_until_it_ends(desk):
    """Fifteen characters stand for the data as long as they live; another account does not know them."""
    made = desk.post("/cgi-bin/shorten/gen", {"long_data": "你好" * 10, "expire_seconds": 100})
    key = {"short_key": made["short_key"]}
    assert len(made["short_key"]) == 15
    assert made["short_key"].isalnum()
    began = int(desk.world.now())
    desk.world.advance(40)
    found = desk.post("/cgi-bin/shorten/fetch", key)
    assert (found["long_data"], found["create_time"], found["expire_seconds"]) == ("你好" * 10, began, 60)
    other = desk.world.add_account()
    other.outreach.short_keys.clear()
    desk.account, mine = other, desk.account
    assert desk.post("/cgi-bin/shorten/fetch", key)["errcode"] == 9410012
    desk.account = mine
    desk.world.advance(60)
    assert desk.post("/cgi-bin/shorten/fetch", key)["errcode"] == 9410012


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 47003),
        ({"long_data": "x" * 4097}, 9410010),
        ({"long_data": "x", "expire_seconds": 2_592_001}, 9410011),
        ({"long_data": "x", "expire_seconds": 0}, 9410011),
        ({"long_data": "x" * 4096}, 0),
    ],
)
def test_short_keys_are_checked(desk, body, code):
    """Four kilobytes for thirty days are the most."""
    assert desk.post("/cgi-bin/shorten/gen", body)["errcode"] == code


def test_the_oldest_short_keys_are_forgotten(make_desk):
    """A simulator keeps so many; the next one pushes the oldest out."""
    desk = make_desk(short_keys_kept=2)
    keys = [desk.post("/cgi-bin/shorten/gen", {"long_data": f"d{number}"})["short_key"] for number in range(3)]
    found = [desk.post("/cgi-bin/shorten/fetch", {"short_key": key}).get("long_data") for key in keys]
    assert found == [None, "d1", "d2"]


def test_auto_reply_rules_are_what_the_console_holds(desk):
    """Nothing set: both switches off. What is set comes back, and its switch is on."""
    path = "/cgi-bin/get_current_autoreply_info"
    assert desk.get(path) == {"is_add_friend_reply_open": 0, "is_autoreply_open": 0}
    desk.account.outreach.autoreply = {"add_friend_autoreply_info": {"type": "text", "content": "欢迎"}}
    assert desk.get(path) == {
        "is_add_friend_reply_open": 1,
        "is_autoreply_open": 0,
        "add_friend_autoreply_info": {"type": "text", "content": "欢迎"},
    }


def test_consents_survive_a_snapshot(desk, openid, template_id):
    """Templates, consents and keys are the same in another world."""
    accept(desk, openid, template_id)
    desk.post("/cgi-bin/shorten/gen", {"long_data": "x"})
    other = World(Policy(), Clock.frozen(), seed=7)
    other.restore(json.loads(json.dumps(desk.world.snapshot())))
    assert other.account.outreach == desk.account.outreach
    desk.world, desk.account = other, other.account
    assert [send(desk, openid, template_id)["errcode"] for _ in range(2)] == [0, 43101]
