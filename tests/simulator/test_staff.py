"""Customer-service staff: accounts, invitations, sessions, the queue, the record, and the hand-over by a reply."""

from __future__ import annotations

import json

import pytest

from wxmp.simulator import Clock, Policy, World, WorldError, staff
from wxmp.simulator.formats import sample

ADD = "/customservice/kfaccount/add"
UPDATE = "/customservice/kfaccount/update"
DELETE = "/customservice/kfaccount/del"
INVITE = "/customservice/kfaccount/inviteworker"
AVATAR = "/customservice/kfaccount/uploadheadimg"
CREATE = "/customservice/kfsession/create"
CLOSE = "/customservice/kfsession/close"
LIST = "/cgi-bin/customservice/getkflist"
ONLINE = "/cgi-bin/customservice/getonlinekflist"
RECORDS = "/customservice/msgrecord/getmsglist"
ANNA = "anna@shop"
BEN = "ben@shop"


@pytest.fixture
def openid(world: World) -> str:
    return world.create_followers(1)[0]


def add(desk, name=ANNA, nickname="安娜"):
    return desk.post(ADD, {"kf_account": name, "nickname": nickname})["errcode"]


def serve(desk, *names: str) -> None:
    """Let agents be there who are bound and on line."""
    desk.account.kf_accounts = list(names)


def pushed(world, *names):
    return [push.fields for push in world.pushes() if push.name in names]


def multipart(data: bytes, name: str = "media") -> dict:
    body = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    ).encode()
    return {"body": body + data + b"\r\n--b--\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}


def upload(desk, data: bytes, kf_account=ANNA, **more):
    query = {"access_token": desk.token(), "kf_account": kf_account}
    return desk.send("POST", AVATAR, query, **multipart(data, **more)).json()["errcode"]


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_an_agent_is_added_renamed_and_deleted(desk):
    """What is added stands in the list, with its number as a text."""
    assert add(desk) == 0
    assert desk.post(UPDATE, {"kf_account": ANNA, "nickname": "小安"})["errcode"] == 0
    (agent,) = desk.get(LIST)["kf_list"]
    assert agent == {"kf_account": ANNA, "kf_headimgurl": "", "kf_id": "1001", "kf_nick": "小安"}
    assert desk.post(DELETE, {"kf_account": ANNA})["errcode"] == 0
    assert desk.get(LIST) == {"kf_list": []}
    assert desk.post(DELETE, {"kf_account": ANNA})["errcode"] == 65401


@pytest.mark.parametrize(
    ("name", "nickname", "code"),
    [
        ("anna", "a", 65404),
        ("an-na@shop", "a", 65404),
        ("x" * 11 + "@shop", "a", 65404),
        ("anna@" + "x" * 31, "a", 65404),
        ("anna@", "a", 65404),
        (ANNA, "", 65403),
        (ANNA, "x" * 17, 65403),
        ("x" * 10 + "@" + "y" * 30, "x" * 16, 0),
    ],
)
def test_names_are_checked(desk, name, nickname, code):
    """Ten letters, an at sign, the account's WeChat id; sixteen characters of nickname."""
    assert add(desk, name, nickname) == code


def test_an_agent_exists_once_and_a_hundred_are_the_most(desk):
    """The same name is 65406, the hundred and first agent 65405."""
    assert [add(desk), add(desk)] == [0, 65406]
    assert {add(desk, f"a{number}@shop") for number in range(99)} == {0}
    assert add(desk, BEN) == 65405


def test_without_the_feature_everything_is_refused(desk, openid):
    """An account that has not switched the customer service on: 65400."""
    desk.account.staff.enabled = False
    assert add(desk) == 65400
    codes = [desk.get(path)["errcode"] for path in (LIST, ONLINE, "/customservice/kfsession/getwaitcase")]
    codes.append(desk.post(CREATE, {"kf_account": ANNA, "openid": openid})["errcode"])
    codes.append(desk.post(RECORDS, {"starttime": 1, "endtime": 2, "msgid": 1, "number": 1})["errcode"])
    assert codes == [65400] * 5


def test_names_set_by_hand_are_agents_who_serve(desk):
    """The older field kf_accounts and the list are the same thing."""
    serve(desk, ANNA, BEN)
    assert [agent["kf_account"] for agent in desk.get(LIST)["kf_list"]] == [ANNA, BEN]
    assert [agent["kf_id"] for agent in desk.get(ONLINE)["kf_online_list"]] == [1001, 1002]
    desk.account.kf_accounts = [BEN]
    assert [agent["kf_account"] for agent in desk.get(LIST)["kf_list"]] == [BEN]


def test_an_added_agent_can_speak_for_the_account(desk, openid):
    """A customer-service message may name a known agent, and no other."""
    add(desk)
    desk.world.user_writes(openid, "hi")
    body = {"touser": openid, "msgtype": "text", "text": {"content": "x"}}
    path = "/cgi-bin/message/custom/send"
    assert desk.post(path, body | {"customservice": {"kf_account": ANNA}})["errcode"] == 0
    assert desk.post(path, body | {"customservice": {"kf_account": BEN}})["errcode"] == 61452


def test_an_avatar_is_a_jpeg_of_five_megabytes(desk):
    """A picture appears in the list; no JPEG is 40005, too large 40009, no file 41005, nobody's 65401."""
    add(desk)
    good = sample("image", "a")
    assert upload(desk, good) == 0
    assert desk.get(LIST)["kf_list"][0]["kf_headimgurl"].startswith("http://mmbiz.qpic.cn/")
    assert upload(desk, b"\x89PNG\r\n\x1a\n") == 40005
    assert upload(desk, good + b"x" * 5 * 1024 * 1024) == 40009
    assert upload(desk, good, name="other") == 41005
    assert upload(desk, good, kf_account=BEN) == 65401


# --- invitations ------------------------------------------------------------------------------------------------------


def invite(desk, name, wechat_id):
    return desk.post(INVITE, {"kf_account": name, "invite_wx": wechat_id})["errcode"]


def test_an_invited_person_says_yes_after_a_while(desk, openid):
    """The invitation waits, then the person is bound, on line and has an openid."""
    add(desk)
    person = desk.world.person_of(desk.account.users[openid]).wechat_id
    assert invite(desk, ANNA, person) == 0
    (agent,) = desk.get(LIST)["kf_list"]
    assert (agent["invite_wx"], agent["invite_status"]) == (person, "waiting")
    assert agent["invite_expire_time"] == int(desk.world.now()) + 7 * 86_400
    desk.world.advance(5)
    (agent,) = desk.get(LIST)["kf_list"]
    assert (agent["kf_wx"], agent["kf_openid"], "invite_wx" in agent) == (person, openid, False)
    (online,) = desk.get(ONLINE)["kf_online_list"]
    assert online == {"kf_account": ANNA, "status": 1, "kf_id": 1001, "accepted_case": 0, "kf_openid": openid}


def test_a_yes_that_comes_after_a_no_changes_nothing(desk, openid):
    """Who refused before the time of the automatic answer stays out."""
    add(desk)
    invite(desk, ANNA, desk.world.person_of(desk.account.users[openid]).wechat_id)
    staff.answer_invitation(desk.world, desk.account, ANNA, accept=False)
    desk.world.advance(10)
    (agent,) = desk.get(LIST)["kf_list"]
    assert (agent["invite_status"], "kf_wx" in agent) == ("rejected", False)


def test_an_invitation_can_be_refused_or_forgotten(make_desk):
    """Where nobody answers by itself: a refusal, a week of silence, and the next invitation each time."""
    desk = make_desk(kf_invite_delay=None)
    person = desk.world.person_of(desk.account.users[desk.world.create_followers(1)[0]]).wechat_id
    add(desk)
    assert invite(desk, ANNA, person) == 0
    staff.answer_invitation(desk.world, desk.account, ANNA, accept=False)
    assert desk.get(LIST)["kf_list"][0]["invite_status"] == "rejected"
    assert invite(desk, ANNA, person) == 0
    desk.world.advance(7 * 86_400)
    assert desk.get(LIST)["kf_list"][0]["invite_status"] == "expired"
    with pytest.raises(WorldError):
        staff.answer_invitation(desk.world, desk.account, ANNA)
    assert invite(desk, ANNA, person) == 0
    staff.answer_invitation(desk.world, desk.account, ANNA)
    assert desk.get(LIST)["kf_list"][0]["kf_wx"] == person


def test_invitations_are_checked(make_desk):
    """Each reason why somebody cannot be invited has its code."""
    desk = make_desk(kf_invite_delay=None, kf_bindings=1)
    openids = desk.world.create_followers(2)
    first, second = (desk.world.person_of(desk.account.users[openid]).wechat_id for openid in openids)
    add(desk)
    add(desk, BEN)
    assert invite(desk, "who@shop", first) == 65401
    assert invite(desk, ANNA, "nobody") == 65409
    assert invite(desk, ANNA, first) == 0
    assert invite(desk, ANNA, second) == 65411
    assert invite(desk, BEN, first) == 65408
    staff.answer_invitation(desk.world, desk.account, ANNA)
    assert invite(desk, ANNA, second) == 65412
    assert invite(desk, BEN, first) == 65407
    other = desk.world.add_account()
    desk.account = other
    add(desk)
    assert invite(desk, ANNA, first) == 65410


# --- sessions ---------------------------------------------------------------------------------------------------------


def create(desk, name, openid):
    return desk.post(CREATE, {"kf_account": name, "openid": openid})["errcode"]


def close(desk, name, openid):
    return desk.post(CLOSE, {"kf_account": name, "openid": openid})["errcode"]


def test_a_session_begins_is_seen_and_ends(desk, openid):
    """Both ends are pushed in the user's name; in between the session stands in both lists."""
    serve(desk, ANNA)
    assert create(desk, ANNA, openid) == 0
    now = int(desk.world.now())
    assert desk.get("/customservice/kfsession/getsession", openid=openid) == {"createtime": now, "kf_account": ANNA}
    found = desk.get("/customservice/kfsession/getsessionlist", kf_account=ANNA)
    assert found == {"sessionlist": [{"createtime": now, "openid": openid}]}
    assert desk.get(ONLINE)["kf_online_list"][0]["accepted_case"] == 1
    assert close(desk, ANNA, openid) == 0
    assert desk.get("/customservice/kfsession/getsession", openid=openid) == {"createtime": 0, "kf_account": ""}
    assert pushed(desk.world, "kf_create_session", "kf_close_session") == [
        {"MsgType": "event", "Event": "kf_create_session", "KfAccount": ANNA},
        {"MsgType": "event", "Event": "kf_close_session", "KfAccount": ANNA},
    ]
    assert {push.openid for push in desk.world.pushes()} == {openid}


def test_sessions_are_checked(desk, openid):
    """Unknown agent, nobody bound, off line, somebody else's user, no session, unknown user."""
    serve(desk, BEN)
    add(desk)
    assert create(desk, "who@shop", openid) == 65401
    assert create(desk, ANNA, openid) == 65402
    assert desk.get("/customservice/kfsession/getsessionlist", kf_account=ANNA)["errcode"] == 65402
    assert create(desk, BEN, "nobody") == 40003
    staff.set_online(desk.world, desk.account, BEN, online=False)
    assert create(desk, BEN, openid) == 65415
    assert close(desk, BEN, openid) == 65413
    serve(desk, BEN, "carl@shop")
    staff.set_online(desk.world, desk.account, BEN)
    assert [create(desk, BEN, openid) for _ in range(2)] == [0, 0]
    assert create(desk, "carl@shop", openid) == 65414
    assert close(desk, "carl@shop", openid) == 65414
    assert len(pushed(desk.world, "kf_create_session")) == 1


def test_a_session_is_handed_on(desk, openid):
    """Switching is pushed with both names, and the other agent serves from then on."""
    serve(desk, ANNA, BEN)
    create(desk, ANNA, openid)
    staff.switch_session(desk.world, desk.account, openid, BEN)
    assert pushed(desk.world, "kf_switch_session") == [
        {"MsgType": "event", "Event": "kf_switch_session", "FromKfAccount": ANNA, "ToKfAccount": BEN}
    ]
    assert desk.get("/customservice/kfsession/getsession", openid=openid)["kf_account"] == BEN
    for other, name in ((openid, BEN), (desk.world.create_stranger(), ANNA), ("nobody", ANNA)):
        with pytest.raises(WorldError):
            staff.switch_session(desk.world, desk.account, other, name)


def test_messages_in_a_session_go_to_the_agent_for_half_an_hour(desk, openid):
    """The developer's server hears nothing of them, but of events, and of everything after thirty minutes."""
    serve(desk, ANNA)
    phone = desk.world.phone(openid)
    create(desk, ANNA, openid)
    phone.say("only for anna")
    phone.report_location()
    assert [push.name for push in desk.world.pushes()] == ["kf_create_session", "LOCATION"]
    desk.world.advance(1_800)
    phone.say("for the server")
    assert [push.name for push in desk.world.pushes()][2:] == ["kf_close_session", "text"]


def test_a_second_session_has_its_own_half_hour(desk, openid):
    """The end of an earlier session's time does not end a later one."""
    serve(desk, ANNA)
    create(desk, ANNA, openid)
    desk.world.advance(1_000)
    close(desk, ANNA, openid)
    create(desk, ANNA, openid)
    desk.world.advance(1_000)
    assert desk.get("/customservice/kfsession/getsession", openid=openid)["kf_account"] == ANNA
    desk.world.advance(800)
    assert desk.get("/customservice/kfsession/getsession", openid=openid)["kf_account"] == ""


def test_a_deleted_agent_leaves_no_session_behind(desk, openid):
    """Deleting the agent ends the session."""
    serve(desk, ANNA)
    create(desk, ANNA, openid)
    desk.post(DELETE, {"kf_account": ANNA})
    assert desk.get("/customservice/kfsession/getsession", openid=openid)["kf_account"] == ""
    assert len(pushed(desk.world, "kf_close_session")) == 1


# --- the hand-over ----------------------------------------------------------------------------------------------------


def transfer(hit, agent: str = "") -> bytes:
    fields = {"ToUserName": hit.fields["FromUserName"], "FromUserName": hit.fields["ToUserName"], "CreateTime": "1"}
    fields["MsgType"] = "transfer_customer_service"
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return f"<xml>{inner}{f'<TransInfo><KfAccount>{agent}</KfAccount></TransInfo>' if agent else ''}</xml>".encode()


def test_a_transfer_reply_puts_the_user_into_the_queue(world, desk, openid, simulator, developer):
    """Handed over without a name: the user waits, still heard by the server, until an agent takes them."""
    simulator.set_callback(developer.url, token="devToken123", mode="plain")
    serve(desk, ANNA)
    developer.answer = lambda hit: transfer(hit) if hit.fields["MsgType"] == "text" else b"success"
    phone = world.phone(openid)
    phone.say("help")
    assert world.wait_for(lambda w: w.settled, timeout=5)
    waiting = desk.get("/customservice/kfsession/getwaitcase")
    assert waiting == {"count": 1, "waitcaselist": [{"latest_time": int(world.now()), "openid": openid}]}
    world.advance(60)
    phone.say("still here")
    assert world.wait_for(lambda w: w.settled, timeout=5)
    assert len(developer.hits) == 2
    (case,) = desk.get("/customservice/kfsession/getwaitcase")["waitcaselist"]
    assert case["latest_time"] == int(world.now())
    assert create(desk, ANNA, openid) == 0
    assert desk.get("/customservice/kfsession/getwaitcase")["count"] == 0


@pytest.mark.parametrize(
    ("agent", "online", "where"), [(ANNA, True, "session"), (ANNA, False, "queue"), ("who@shop", True, "nowhere")]
)
def test_a_transfer_to_a_named_agent(world, desk, openid, simulator, developer, agent, online, where):
    """An agent on line takes the user at once, one off line lets them wait, one who does not exist nothing."""
    simulator.set_callback(developer.url, token="devToken123", mode="plain")
    serve(desk, ANNA)
    desk.get(LIST)
    staff.set_online(world, desk.account, ANNA, online)
    developer.answer = lambda hit: transfer(hit, agent) if hit.fields["MsgType"] == "text" else b"success"
    world.phone(openid).say("help")
    assert world.wait_for(lambda w: w.settled, timeout=5)
    serving = desk.get("/customservice/kfsession/getsession", openid=openid)["kf_account"]
    waiting = desk.get("/customservice/kfsession/getwaitcase")["count"]
    assert (serving == ANNA, waiting) == (where == "session", int(where == "queue"))
    assert len(pushed(world, "kf_create_session")) == int(where == "session")


# --- the record -------------------------------------------------------------------------------------------------------


def records(desk, **changes):
    now = int(desk.world.now())
    return desk.post(RECORDS, {"starttime": now - 3_600, "endtime": now, "msgid": 1, "number": 100} | changes)


def test_what_is_said_in_a_session_is_recorded(desk, openid):
    """Both directions with their codes; what is no text has a placeholder; what was said before is not there."""
    serve(desk, ANNA)
    phone = desk.world.phone(openid)
    phone.say("before")
    create(desk, ANNA, openid)
    phone.say("hello")
    phone.send("image")
    staff.say(desk.world, desk.account, openid, "hi there")
    found = records(desk)
    assert [(one["opercode"], one["text"], one["worker"]) for one in found["recordlist"]] == [
        (2003, "hello", ANNA),
        (2003, "[图片]", ANNA),
        (2002, "hi there", ANNA),
    ]
    assert (found["number"], found["recordlist"][0]["openid"]) == (3, openid)
    line = desk.world.chat(openid)[-1]
    assert (line.source, line.content) == ("custom", "hi there")
    with pytest.raises(WorldError):
        staff.say(desk.world, desk.account, desk.world.create_stranger(), "x")


def test_records_are_read_in_pages(desk, openid):
    """The returned msgid continues where the page ended; the last page is short."""
    serve(desk, ANNA)
    create(desk, ANNA, openid)
    for number in range(5):
        desk.world.user_writes(openid, f"n{number}")
    texts, cursor, size = [], 1, 2
    while size == 2:
        page = records(desk, msgid=cursor, number=2)
        texts += [one["text"] for one in page["recordlist"]]
        cursor, size = page["msgid"], page["number"]
    assert texts == [f"n{number}" for number in range(5)]
    assert records(desk, msgid=cursor)["recordlist"] == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"starttime": "x"}, 65416),
        ({"number": 10_001}, 65416),
        ({"number": 0}, 65416),
        ({"starttime": 1_000_000, "endtime": 1_000_000 + 86_401}, 65417),
        ({"starttime": 1_000_000, "endtime": 999_999}, 65416),
    ],
)
def test_record_queries_are_checked(desk, changes, code):
    """Whole numbers, ten thousand a page, a day at most."""
    assert records(desk, **changes)["errcode"] == code


def test_sessions_survive_a_snapshot(desk, openid):
    """Agents, sessions and records are the same in another world, and the session ends there too."""
    serve(desk, ANNA)
    create(desk, ANNA, openid)
    desk.world.user_writes(openid, "hi")
    other = World(Policy(), Clock.frozen(), seed=7)
    other.restore(json.loads(json.dumps(desk.world.snapshot())))
    assert other.account.staff == desk.account.staff
    other.advance(1_800)
    assert pushed(other, "kf_close_session")
