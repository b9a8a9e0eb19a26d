"""Customer-service messages, typing, template messages."""

from __future__ import annotations

import json

import pytest

from wxmp.simulator import Policy, World, WorldError
from wxmp.simulator.clock import Clock

SEND = "/cgi-bin/message/custom/send"
TYPING = "/cgi-bin/message/custom/typing"
TEMPLATE = "/cgi-bin/message/template/send"


@pytest.fixture
def openid(world: World) -> str:
    return world.create_followers(1)[0]


def say(desk, openid, **body):
    return desk.post(SEND, {"touser": openid, "msgtype": "text", "text": {"content": "你好"}} | body)["errcode"]


def test_nothing_may_be_sent_without_an_action_of_the_user(desk, openid):
    """A follower who has done nothing lately is 45015."""
    assert say(desk, openid) == 45015


def test_writing_opens_five_messages_for_48_hours(desk, openid):
    """Five messages, the sixth is 45047; after 48 hours 45015; writing again gives five new ones."""
    desk.world.user_writes(openid, "hi")
    assert [say(desk, openid) for _ in range(6)] == [0, 0, 0, 0, 0, 45047]
    desk.world.user_writes(openid, "again")
    assert say(desk, openid) == 0
    desk.world.advance(48 * 3600)
    assert say(desk, openid) == 45015


@pytest.mark.parametrize("trigger", ["follow", "menu", "scan", "menu line"])
def test_other_actions_open_three_messages_for_a_minute(desk, trigger):
    """Following, tapping a click button, scanning, tapping a menu message: three messages within a minute."""
    world = desk.world
    openid = world.create_stranger() if trigger == "follow" else world.create_followers(1)[0]
    if trigger == "follow":
        world.user_follows(openid)
    elif trigger == "menu":
        desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": "x", "key": "K"}]})
        world.user_taps_menu(openid, "K")
    elif trigger == "scan":
        body = {"action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "s"}}}
        world.user_scans(openid, desk.post("/cgi-bin/qrcode/create", body)["ticket"])
    else:
        world.user_writes(openid, "满意", menu_line="101")
    assert [say(desk, openid) for _ in range(4)] == [0, 0, 0, 45047]
    world.advance(61)
    assert say(desk, openid) == 45015


def test_a_tap_on_a_link_opens_nothing(desk, openid):
    """A view button opens no window."""
    desk.post("/cgi-bin/menu/create", {"button": [{"type": "view", "name": "x", "url": "https://a.example/"}]})
    desk.world.user_taps_menu(openid, "x")
    assert say(desk, openid) == 45015


def test_payment_has_no_limit(desk, openid):
    """After a payment any number may be sent for 48 hours."""
    desk.world.user_pays(openid)
    assert {say(desk, openid) for _ in range(50)} == {0}


def test_windows_do_not_add_up_unless_the_policy_says_so(desk, openid, make_desk):
    """Writing and then tapping allows five messages, not eight; with the other policy it is eight."""
    desk.world.user_writes(openid, "hi")
    desk.world.user_writes(openid, "line", menu_line="1")
    assert [say(desk, openid) for _ in range(6)] == [0, 0, 0, 0, 0, 45047]
    adding = make_desk(custom_windows_add_up=True)
    other = adding.world.create_followers(1)[0]
    adding.world.user_writes(other, "hi")
    adding.world.user_writes(other, "line", menu_line="1")
    assert [say(adding, other) for _ in range(9)] == [0] * 8 + [45047]


def test_preset_2021_allows_twenty():
    """The older rules allow twenty messages after the user wrote."""
    assert Policy.preset("2021").custom_allowances["write"].messages == 20
    assert Policy.preset("2023") == Policy()


def test_receivers_that_cannot_be_reached(desk, openid):
    """Stranger 43004, unfollowed 45015, blacklisted 43019, switched off 48002, unknown 40003."""
    world, user = desk.world, desk.account.users[openid]
    world.user_writes(openid, "hi")
    user.refuses_messages = True
    assert say(desk, openid) == 48002
    user.blacklisted = True
    assert say(desk, openid) == 43019
    user.blacklisted = user.refuses_messages = False
    world.user_unfollows(openid)
    assert say(desk, openid) == 45015
    assert say(desk, world.create_stranger()) == 43004
    assert say(desk, "o1") == 40003


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"msgtype": "poem"}, 40008),
        ({"text": {"content": ""}}, 44004),
        ({"text": {"content": "字" * 683}}, 45002),
        ({"text": "x"}, 47001),
        ({"msgtype": "image", "image": {}}, 41006),
        ({"msgtype": "music", "music": {"thumb_media_id": "m"}}, 40035),
        ({"msgtype": "news", "news": {"articles": [{}, {}]}}, 45008),
        ({"msgtype": "mpnews", "mpnews": {"media_id": "m"}}, 45050),
        ({"msgtype": "wxcard", "wxcard": {"card_id": "c"}}, 48008),
        ({"msgtype": "msgmenu", "msgmenu": {"list": [{"id": "1"}]}}, 40035),
    ],
)
def test_wrong_messages_spend_nothing(desk, openid, body, errcode):
    """Each wrong message has its code and leaves the allowance alone."""
    desk.world.user_writes(openid, "hi")
    assert say(desk, openid, **body) == errcode
    assert [say(desk, openid) for _ in range(6)].count(0) == 5


def test_unknown_customer_service_account(desk, openid):
    """A message that speaks for an unknown account is 61452 once the accounts are known."""
    desk.world.user_writes(openid, "hi")
    desk.account.kf_accounts = ["a@x"]
    assert say(desk, openid, customservice={"kf_account": "b@x"}) == 61452
    assert say(desk, openid, customservice={"kf_account": "a@x"}) == 0


def test_escapes_arrive_literally(desk, openid):
    r"""Text sent as \uXXXX escapes is delivered, but the user reads the escapes."""
    desk.world.user_writes(openid, "hi")
    raw = json.dumps({"touser": openid, "msgtype": "text", "text": {"content": "你"}}).encode()
    assert desk.send("POST", SEND, {"access_token": desk.token()}, raw).errcode == 0
    assert desk.world.sent(openid)[0].payload["text"] == {"content": "\\u4f60"}


def test_only_followers_write(desk):
    """A stranger cannot write to the account."""
    with pytest.raises(WorldError, match="follower"):
        desk.world.user_writes(desk.world.create_stranger(), "hi")


def test_typing(desk, openid):
    """Typing needs recent contact (45080), shows for 15 s (45081), ends with the next message; else 45072."""
    hint = lambda command: desk.post(TYPING, {"touser": openid, "command": command})["errcode"]  # noqa: E731
    assert hint("Typing") == 45080
    desk.world.user_writes(openid, "hi")
    assert [hint("Typing"), hint("Typing"), hint("CancelTyping"), hint("Typing"), hint("x")] == [0, 45081, 0, 0, 45072]
    say(desk, openid)
    assert hint("Typing") == 0
    desk.world.advance(15)
    assert hint("Typing") == 0
    desk.world.advance(31)
    assert hint("Typing") == 45080


@pytest.fixture
def template_id(world: World) -> str:
    return world.add_template("发货", "订单:{{character_string1.DATA}}\n商品:{{thing2.DATA}}")


def template(desk, openid, template_id, **body):
    data = {"character_string1": {"value": "A1"}, "thing2": {"value": "鞋"}}
    return desk.post(TEMPLATE, {"touser": openid, "template_id": template_id, "data": data} | body)


def test_template_message_is_accepted_and_reported_later(desk, openid, template_id):
    """Sending answers a growing msgid; up to three seconds later the report event follows."""
    world = desk.world
    first, second = (template(desk, openid, template_id)["msgid"] for _ in range(2))
    assert second > first > 2**53
    assert [sent.status for sent in world.sent(openid)] == ["sending", "sending"]
    assert world.pushes(openid) == []
    world.advance(3)
    assert [sent.status for sent in world.sent(openid)] == ["success", "success"]
    reports = sorted((push.fields["MsgID"], push.fields["Status"]) for push in world.pushes(openid))
    assert reports == [(first, "success"), (second, "success")]
    assert {push.fields["Event"] for push in world.pushes(openid)} == {"TEMPLATESENDJOBFINISH"}


def test_reports_of_failed_deliveries(desk, openid, template_id):
    """A user who blocks templates is reported without a blank, one who left meanwhile with one."""
    world = desk.world
    desk.account.users[openid].blocks_templates = True
    template(desk, openid, template_id)
    world.advance(3)
    desk.account.users[openid].blocks_templates = False
    template(desk, openid, template_id)
    world.user_unfollows(openid)
    world.advance(3)
    statuses = [push.fields["Status"] for push in world.pushes(openid) if "Status" in push.fields]
    assert statuses == ["failed:user block", "failed: system failed"]


def test_same_client_msg_id_is_sent_once_in_ten_minutes(desk, openid, template_id):
    """A repeat within ten minutes answers the first msgid and sends nothing; another user or a later time sends."""
    world = desk.world
    other = world.create_followers(1)[0]
    first = template(desk, openid, template_id, client_msg_id="c1")["msgid"]
    world.advance(599)
    assert template(desk, openid, template_id, client_msg_id="c1")["msgid"] == first
    assert template(desk, other, template_id, client_msg_id="c1")["msgid"] != first
    world.advance(1)
    assert template(desk, openid, template_id, client_msg_id="c1")["msgid"] != first
    assert len(world.sent(openid)) == 2


def test_template_refusals(desk, openid, template_id):
    """Stranger 43004, blacklisted 43019, unknown template 40037, unknown user 40003."""
    world = desk.world
    assert template(desk, world.create_stranger(), template_id)["errcode"] == 43004
    assert template(desk, openid, "nope")["errcode"] == 40037
    assert template(desk, "o1", template_id)["errcode"] == 40003
    desk.account.users[openid].blacklisted = True
    assert template(desk, openid, template_id)["errcode"] == 43019


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"character_string1": {"value": "A1"}}, "data.thing2.value"),
        ({"character_string1": {"value": "A1"}, "thing2": {"value": ""}}, "data.thing2.value"),
        ({"character_string1": {"value": "A1"}, "thing2": {"value": "字" * 21}}, "data.thing2.value"),
        ({"character_string1": {"value": "中文"}, "thing2": {"value": "x"}}, "data.character_string1.value"),
        ({"character_string1": "A1", "thing2": {"value": "x"}}, "data.character_string1.value"),
        (None, "data"),
    ],
)
def test_wrong_template_data_names_the_keyword(desk, openid, template_id, data, named):
    """Missing, empty and ill-formed values are 47003, and the message names the keyword."""
    answer = template(desk, openid, template_id, data=data)
    assert answer["errcode"] == 47003
    assert named in answer["errmsg"]


def test_own_templates(desk):
    """Add from the library, list, delete; unknown numbers are 40037 and the 26th is 45026."""
    add = lambda **body: desk.post("/cgi-bin/template/api_add_template", body)  # noqa: E731
    template_id = add(template_id_short="TM00015")["template_id"]
    (shown,) = desk.get("/cgi-bin/template/get_all_private_template")["template_list"]
    assert shown["template_id"] == template_id
    assert "{{orderMoneySum.DATA}}" in shown["content"]
    assert add(template_id_short="TM99999")["errcode"] == 40037
    for _ in range(24):
        add(template_id_short="TM00015")
    assert add(template_id_short="TM00015")["errcode"] == 45026
    delete = lambda: desk.post("/cgi-bin/template/del_private_template", {"template_id": template_id})  # noqa: E731
    assert (delete()["errcode"], delete()["errcode"]) == (0, 40037)


def test_category_templates_need_keywords(desk):
    """A category template takes chosen keywords in order; without them, or with strange ones, 40246."""
    add = lambda **body: desk.post("/cgi-bin/template/api_add_template", {"template_id_short": "43216"} | body)  # noqa: E731
    assert add()["errcode"] == 40246
    assert add(keyword_name_list=["天气"])["errcode"] == 40246
    add(keyword_name_list=["商品名称", "订单编号"])
    (shown,) = desk.get("/cgi-bin/template/get_all_private_template")["template_list"]
    assert shown["content"] == "商品名称:{{thing1.DATA}}\n订单编号:{{character_string2.DATA}}"


def test_industry(desk):
    """Industries are 1 to 41, changed once a month, and a change deletes the templates of the old ones."""
    change = lambda one, two: desk.post(  # noqa: E731
        "/cgi-bin/template/api_set_industry", {"industry_id1": one, "industry_id2": two}
    )["errcode"]
    desk.post("/cgi-bin/template/api_add_template", {"template_id_short": "TM00015"})
    assert (change("0", "2"), change("1", "42")) == (40102, 40102)
    assert change("2", "10") == 0
    shown = desk.get("/cgi-bin/template/get_industry")
    assert shown["secondary_industry"] == {"first_class": "餐饮", "second_class": "餐饮"}
    assert desk.account.templates == {}
    assert change("1", "2") == 43100
    desk.world.advance(30 * 86_400)
    assert change("1", "2") == 0


def test_blocked_messages(desk):
    """The list of blocked messages is empty and its page size is checked."""
    body = {"tmpl_msg_id": "1", "largest_id": 0, "limit": 10}
    assert desk.post("/wxa/sec/queryblocktmplmsg", body)["msginfo"] == []
    assert desk.post("/wxa/sec/queryblocktmplmsg", body | {"limit": 101})["errcode"] == 40097


def test_delays_are_seeded():
    """Equal seeds give equal delivery delays."""

    def delay(seed: int) -> float:
        world = World(clock=Clock.frozen(), seed=seed)
        return world.state.dice.between("template delay", 0.3, 3.0)

    assert delay(1) == delay(1) != delay(2)
