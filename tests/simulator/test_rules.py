"""Rules that a policy can turn: each is tried both ways, or against what it must not touch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.simulator.test_library import JPEG, add, upload
from wxmp.simulator import Answer, Policy, World, outreach, people, staff
from wxmp.simulator.answers import Bounds, BrokenReply, check_reply

if TYPE_CHECKING:
    from tests.simulator.conftest import Desk
    from wxmp.simulator.callbacks import Job

MINI = {"type": "miniprogram", "name": "m", "url": "https://a.example/", "appid": "wx1", "pagepath": "pages/x"}
CARD = {"title": "t", "appid": "wx1", "pagepath": "p", "thumb_media_id": "m"}
PAGE = {"redirect_uri": "https://a.example/", "response_type": "code", "scope": "snsapi_userinfo", "state": "s"}


@pytest.fixture
def ann(world: World) -> Any:
    """A follower's phone."""
    return world.phone(world.create_followers(1)[0])


def turn(world: World, **rules: Any) -> None:
    """Put other rules in force."""
    world.policy = attrs.evolve(world.policy, **rules)


# --- tokens and quotas ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "errcode"), [(True, 40164), (False, 40125)])
def test_what_is_looked_at_first(make_desk: Any, first: bool, errcode: int):
    """A wrong secret from an unlisted address: the policy says which of the two is told."""
    desk = make_desk(address_before_secret=first)
    desk.account.ip_list = ["203.0.113.1"]
    assert desk.plain(secret="wrong")["errcode"] == errcode
    desk.account.ip_list = None
    assert desk.plain(secret="wrong")["errcode"] == 40125


@pytest.mark.parametrize(("off", "most"), [(0.0, 0), (0.01, 10)])
def test_shown_counters_may_be_off(make_desk: Any, off: float, most: int):
    """A counter of a thousand is shown exactly, or up to one per cent beside it; what counts is the true one."""
    desk = make_desk(quota_shown_error=off)
    desk.world.counter(desk.account, "/cgi-bin/user/get", desk.world.now()).used = 1000
    seen = {
        desk.post("/cgi-bin/openapi/quota/get", {"cgi_path": "/cgi-bin/user/get"})["quota"]["used"] for _ in range(9)
    }
    assert all(abs(used - 1000) <= most for used in seen)
    assert (len(seen) > 1) is (most > 0)


def test_the_network_check_goes_by_what_is_known(desk: Desk, ann: Any):
    """It names the configured address, and a ping is lost after a delivery nobody answered."""
    body = {"action": "all", "check_operator": "UNICOM"}
    desk.world.set_callback("http://127.0.0.9:81/x", token="abc")
    answer = desk.post("/cgi-bin/callback/check", body)
    assert answer["dns"] == [{"ip": "127.0.0.9", "real_operator": "UNICOM"}]
    assert answer["ping"][0]["package_loss"] == "0%"
    ann.say("hi")
    deliver(desk.world, Answer(None, failure="timeout"))
    assert desk.post("/cgi-bin/callback/check", body)["ping"][0]["package_loss"] == "100%"


# --- users ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "shown"),
    [
        ({}, {"nickname": "", "language": "", "headimgurl": ""}),
        ({"user_profile": "absent", "user_language": "filled"}, {"language": "zh_CN"}),
        ({"user_profile": "filled"}, {"nickname": "王", "headimgurl": people.avatar}),
    ],
)
def test_what_is_told_of_a_follower(world: World, desk: Desk, rules: Any, shown: Any):
    """Today the profile is empty; the policy can leave it out, or fill it as before the end of 2021."""
    turn(world, **rules)
    phone = world.user("王")
    phone.follow()
    answer = desk.get("/cgi-bin/user/info", openid=phone.openid)
    person = world.person_of(desk.account.users[phone.openid])
    wanted = {name: value(person) if callable(value) else value for name, value in shown.items()}
    assert {name: answer[name] for name in wanted} == wanted
    assert ("nickname" in answer) is (rules.get("user_profile") != "absent")


@pytest.mark.parametrize(("stops", "errcode"), [(True, 43019), (False, 43101)])
def test_the_blacklist_and_notices(world: World, desk: Desk, ann: Any, stops: bool, errcode: int):
    """A user on the blacklist gets no subscription notices and no previews either."""
    turn(world, blacklist_stops_notices=stops)
    desk.account.users[ann.openid].blacklisted = True
    made = desk.post("/wxaapi/newtmpl/addtemplate", {"tid": "1221", "kidList": [2, 4], "sceneDesc": "x"})
    data = {"thing2": {"value": "菜"}, "time4": {"value": "12:00"}}
    body = {"touser": ann.openid, "template_id": made["priTmplId"], "data": data}
    assert desk.post("/cgi-bin/message/subscribe/bizsend", body)["errcode"] == errcode
    once = {"touser": ann.openid, "template_id": outreach.one_time_template(desk.account), "scene": "1", "title": "t"}
    once["data"] = {"content": {"value": "v"}}
    assert desk.post("/cgi-bin/message/template/subscribe", once)["errcode"] == errcode
    preview = {"touser": ann.openid, "msgtype": "text", "text": {"content": "x"}}
    assert desk.post("/cgi-bin/message/mass/preview", preview)["errcode"] == (43019 if stops else 0)


# --- menus ------------------------------------------------------------------------------------------------------------


def test_a_mini_program_is_told_by_its_page(desk: Desk, ann: Any):
    """The event names the page of the mini program, not the link for old clients; the menu's id is a number."""
    desk.post("/cgi-bin/menu/create", {"button": [MINI]})
    ann.tap("m")
    fields = desk.account.pushes[-1].fields
    assert (fields["Event"], fields["EventKey"]) == ("view_miniprogram", "pages/x")
    assert isinstance(fields["MenuId"], int)


@pytest.mark.parametrize("kinds", [("media_id", "view_limited"), (), ("article_id",)])
def test_which_taps_are_told(world: World, desk: Desk, ann: Any, kinds: tuple[str, ...]):
    """Of buttons that lead to materials and articles the policy says which are pushed; the chat shows every tap."""
    turn(world, menu_material_events=kinds, menu_checks_media=False)
    buttons = [
        {"type": "media_id", "name": "a", "media_id": "m"},
        {"type": "view_limited", "name": "b", "media_id": "m"},
        {"type": "article_id", "name": "c", "article_id": "x"},
    ]
    desk.post("/cgi-bin/menu/create", {"button": buttons})
    for name in "abc":
        ann.tap(name)
    assert tuple(push.name for push in world.pushes()) == kinds
    assert [line.kind for line in ann.chat] == ["media_id", "view_limited", "article_id"]


@pytest.mark.parametrize(("follow", "kinds"), [(True, ["image", "image", "location"]), (False, [])])
def test_what_follows_a_tap(world: World, desk: Desk, ann: Any, follow: bool, kinds: list[str]):
    """Chosen pictures and places come as messages of their own as well."""
    turn(world, menu_acts_follow=follow)
    buttons = [{"type": kind, "name": kind[:16], "key": kind} for kind in ("pic_weixin", "location_select")]
    desk.post("/cgi-bin/menu/create", {"button": buttons})
    ann.tap("pic_weixin", pictures=2)
    ann.tap("location_select")
    assert [push.name for push in world.pushes() if push.kind == "message"] == kinds


# --- messages ---------------------------------------------------------------------------------------------------------


def typing(desk: Desk, ann: Any) -> Any:
    return desk.post("/cgi-bin/message/custom/typing", {"touser": ann.openid, "command": "Typing"})["errcode"]


@pytest.mark.parametrize(("acts", "errcode"), [(("write", "menu", "follow", "scan"), 45080), (("pay",), 0)])
def test_what_counts_as_contact(world: World, desk: Desk, ann: Any, acts: tuple[str, ...], errcode: int):
    """A payment alone is no contact, so the typing hint is refused."""
    turn(world, typing_contact_acts=acts)
    ann.pay()
    assert typing(desk, ann) == errcode


def test_a_message_ends_the_typing_hint(world: World, desk: Desk, ann: Any):
    """A passive reply and what an agent writes end the hint like a message, and are contact themselves."""
    world.set_callback("http://127.0.0.1:9/", token="abc")
    user = desk.account.users[ann.openid]
    ann.say("hi")
    assert [typing(desk, ann), typing(desk, ann)] == [0, 45081]
    deliver(world, Answer(200, reply_to(ann, desk, "text", "<Content>x</Content>")))
    assert [typing(desk, ann), typing(desk, ann)] == [0, 45081]
    staff.add_agent(desk.account, "a@shop", "a", wx="wx_a", online=True)
    staff.open_session(world, desk.account, user, "a@shop", world.now())
    world.advance(10)
    staff.say(world, desk.account, ann.openid, "来了")
    assert user.last_contact_at == world.now()
    assert typing(desk, ann) == 0


@pytest.mark.parametrize(("kind", "windows"), [("service", ["pay"]), ("subscription", [])])
def test_who_may_write_after_a_payment(world: World, ann: Any, kind: Any, windows: list[str]):
    """A payment opens a window for service accounts only."""
    world.account.kind = kind
    ann.pay()
    assert [window.trigger for window in world.account.users[ann.openid].windows] == windows


def test_mini_programs_must_be_linked(world: World, desk: Desk, ann: Any):
    """Cards and template messages lead to linked mini programs only."""
    turn(world, custom_checks_media=False)
    ann.say("hi")
    card = {"touser": ann.openid, "msgtype": "miniprogrampage", "miniprogrampage": CARD}
    template = world.add_template("t", "{{thing1.DATA}}")
    message = {"touser": ann.openid, "template_id": template, "data": {"thing1": {"value": "v"}}}
    message |= {"miniprogram": {"appid": "wx1", "pagepath": "p"}}

    def ask() -> list[Any]:
        paths = (("/cgi-bin/message/custom/send", card), ("/cgi-bin/message/template/send", message))
        return [desk.post(path, body)["errcode"] for path, body in paths]

    assert ask() == [0, 0]
    desk.account.linked_miniprograms = ["wx2"]
    assert ask() == [45064, 40166]
    desk.account.linked_miniprograms = ["wx1"]
    assert ask() == [0, 0]


def test_a_template_message_that_is_held_back(world: World, desk: Desk, ann: Any):
    """It is accepted, never shown, reported as failed, and listed with what it said."""
    template = world.add_template("订单", "商品:{{thing1.DATA}}")
    body = {"touser": ann.openid, "template_id": template, "data": {"thing1": {"value": "[[blocked]]"}}}
    msgid = desk.post("/cgi-bin/message/template/send", body)["msgid"]
    other = desk.post("/cgi-bin/message/template/send", body | {"data": {"thing1": {"value": "菜"}}})["msgid"]
    world.advance(10)
    told = {push.fields["MsgID"]: push.fields["Status"] for push in world.pushes()}
    assert told == {msgid: "failed: system failed", other: "success"}
    assert len(ann.replies) == 1

    def listed(**changes: Any) -> Any:
        return desk.post(
            "/wxa/sec/queryblocktmplmsg", {"tmpl_msg_id": str(msgid), "largest_id": 0, "limit": 9} | changes
        )

    (found,) = listed()["msginfo"]
    assert (found["title"], found["content"], found["openid"]) == ("订单", "商品:[[blocked]]", ann.openid)
    assert listed(tmpl_msg_id=msgid)["msginfo"] == [found]
    assert listed(largest_id=int(found["id"]))["msginfo"] == []
    assert listed(tmpl_msg_id=other)["msginfo"] == []
    assert [listed(**{name: None})["errcode"] for name in ("tmpl_msg_id", "largest_id", "limit")] == [40097] * 3


# --- web pages --------------------------------------------------------------------------------------------------------


def visit(desk: Desk, openid: str, **more: str) -> int:
    """Open the page that asks for the profile; 302 means that nobody was asked."""
    query = PAGE | {"appid": desk.account.appid, "user": openid} | more
    return desk.send("GET", "/connect/oauth2/authorize", query, host="open").status


def test_followers_from_the_chat_are_not_asked(world: World, desk: Desk, ann: Any):
    """A follower who comes from the chat or the menu sees no consent page, unless the page insists."""
    stranger = world.create_stranger()
    assert [visit(desk, ann.openid, entry=entry) for entry in ("chat", "menu", "", "x")] == [302, 302, 200, 200]
    assert visit(desk, stranger, entry="chat") == 200
    assert visit(desk, ann.openid, entry="chat", forcePopup="true") == 200
    turn(world, oauth_silent_for_followers=False)
    assert visit(desk, ann.openid, entry="chat") == 200


def test_what_a_state_may_hold(make_desk: Any):
    """Letters and digits; the policy may know more."""
    for pattern, status in (("[a-zA-Z0-9]*", 200), ("[a-zA-Z0-9_]*", 302)):
        desk = make_desk(oauth_state_pattern=pattern)
        openid = desk.world.create_followers(1)[0]
        assert visit(desk, openid, auto="1", state="a_b") == status


def granted(desk: Desk, openid: str, **more: str) -> Any:
    """Let a user agree to a page, and swap the code for tokens."""
    query = PAGE | {"appid": desk.account.appid, "user": openid, "auto": "1"} | more
    reply = desk.send("GET", "/connect/oauth2/authorize", query, host="open")
    code = dict(reply.headers)["location"].partition("code=")[2].partition("&")[0]
    swap = {"appid": desk.account.appid, "secret": desk.account.secret, "grant_type": "authorization_code"}
    return desk.send("GET", "/sns/oauth2/access_token", swap | {"code": code}).json()


def use(desk: Desk, got: Any) -> list[Any]:
    """Use a user token, and renew it; return the errcodes."""
    renew = {"appid": desk.account.appid, "grant_type": "refresh_token", "refresh_token": got["refresh_token"]}
    asked = (
        ("/sns/auth", {"access_token": got["access_token"], "openid": got["openid"]}),
        ("/sns/oauth2/refresh_token", renew),
    )
    return [desk.send("GET", path, query).json().get("errcode", 0) for path, query in asked]


def test_a_changed_password_ends_user_tokens(world: World, desk: Desk, ann: Any):
    """The tokens of that user answer 42007; those of others stay good."""
    other = granted(desk, world.create_stranger())
    got = granted(desk, ann.openid)
    assert use(desk, got) == [0, 0]
    ann.change_password()
    assert use(desk, got) == [42007, 42007]
    assert use(desk, other) == [0, 0]


@pytest.mark.parametrize(("ends", "codes"), [(True, [40001, 40030]), (False, [0, 0])])
def test_a_withdrawn_permission(world: World, desk: Desk, ann: Any, ends: bool, codes: list[int]):
    """The account hears of it from the platform itself, with the user inside the event."""
    turn(world, oauth_revoke_ends_tokens=ends)
    desk.account.open_platform = True
    got = granted(desk, ann.openid)
    ann.revoke_authorization("206")
    push = world.pushes()[-1]
    assert push.fields["OpenID"] == ann.openid != push.openid
    assert (push.fields["AppID"], push.fields["RevokeInfo"]) == (desk.account.appid, "206")
    assert push.fields["UnionID"] == world.person_of(desk.account.users[ann.openid]).unionid
    assert use(desk, got) == codes


def test_a_page_can_ask_for_a_preview_visitor(desk: Desk, ann: Any):
    """``forceSnapShot`` makes the visitor a preview-mode one."""
    assert granted(desk, ann.openid, forceSnapShot="true")["is_snapshotuser"] == 1
    assert "is_snapshotuser" not in granted(desk, ann.openid)


# --- media, articles, staff, mass sends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "names"),
    [("thumb_media_id", {"thumb_media_id"}), ("media_id", {"media_id"}), ("both", {"media_id", "thumb_media_id"})],
)
def test_what_an_uploaded_thumbnail_is_called(make_desk: Any, rule: str, names: set[str]):
    """Its id comes under another name than those of other media."""
    desk = make_desk(thumb_answer=rule)
    assert set(upload(desk, "thumb", JPEG)) == {"type", "created_at", *names}
    assert set(upload(desk, "image", JPEG)) == {"type", "created_at", "media_id"}


def test_made_up_digests(desk: Desk):
    """A draft without a digest gets 54 characters of its text, and articles for a mass send get 64."""
    article = {"title": "t", "content": f"<p>{'字' * 99}</p>", "thumb_media_id": add(desk, "image", JPEG)["media_id"]}
    for path, size in (
        ("/cgi-bin/draft/add", 54),
        ("/cgi-bin/material/add_news", 54),
        ("/cgi-bin/media/uploadnews", 64),
    ):
        media_id = desk.post(path, {"articles": [article]})["media_id"]
        own = desk.account.library
        (kept,) = (own.drafts.get(media_id) or own.news[media_id]).articles
        assert kept.digest == "字" * size, path


@pytest.mark.parametrize(("allowed", "errcode", "left"), [(True, 0, []), (False, 43002, ["a@shop"])])
def test_the_older_way_to_delete_an_agent(make_desk: Any, allowed: bool, errcode: int, left: list[str]):
    """GET with the name in the query, as older pages and an SDK do it."""
    desk = make_desk(kf_delete_by_get=allowed)
    desk.account.kf_accounts = ["a@shop"]
    assert desk.get("/customservice/kfaccount/del", kf_account="a@shop")["errcode"] == errcode
    assert list(staff.agents(desk.account)) == left
    if allowed:
        assert desk.get("/customservice/kfaccount/del", kf_account="a@shop")["errcode"] == 65401


@pytest.mark.parametrize(("allowed", "answer"), [(True, (None, 0)), (False, (43002, None))])
def test_the_older_way_to_read_the_speed(make_desk: Any, allowed: bool, answer: tuple[Any, Any]):
    """GET, as an older text has it."""
    got = make_desk(mass_speed_by_get=allowed).get("/cgi-bin/message/mass/speed/get")
    assert (got.get("errcode"), got.get("speed")) == answer


# --- passive replies --------------------------------------------------------------------------------------------------


def deliver(world: World, answer: Answer) -> list[Any]:
    """Answer everything that waits the same way; return the requests that were made."""
    requests = []
    for job in world.callbacks.take():
        requests += answer_all(world, job, answer)
    return requests


def answer_all(world: World, job: Job, answer: Answer) -> list[Any]:
    """Answer every request of one delivery."""
    requests = []
    while (request := world.callbacks.next_request(job)) is not None:
        world.callbacks.answered(job, request, answer)
        requests.append(request)
    return requests


def reply_to(ann: Any, desk: Desk, kind: str, inner: str) -> bytes:
    """Write a passive reply."""
    names = f"<ToUserName>{ann.openid}</ToUserName><FromUserName>{desk.account.original_id}</FromUserName>"
    return f"<xml>{names}<CreateTime>1</CreateTime><MsgType>{kind}</MsgType>{inner}</xml>".encode()


def verdict(world: World, desk: Desk, ann: Any, kind: str, inner: str) -> str:
    """Answer a message of Ann's with a reply; return what became of it."""
    world.set_callback("http://127.0.0.1:9/", token="abc")
    ann.say("hi")
    deliver(world, Answer(200, reply_to(ann, desk, kind, inner)))
    return world.deliveries()[-1].verdict


@pytest.mark.parametrize(("checked", "expected"), [(True, "broken"), (False, "shown")])
@pytest.mark.parametrize(
    ("kind", "inner"),
    [
        ("image", "<Image><MediaId>nothing</MediaId></Image>"),
        ("voice", "<Voice><MediaId>nothing</MediaId></Voice>"),
        ("video", "<Video><MediaId>nothing</MediaId></Video>"),
        ("music", "<Music><ThumbMediaId>nothing</ThumbMediaId></Music>"),
    ],
)
def test_replies_need_files_that_exist(
    world: World, desk: Desk, ann: Any, checked: bool, expected: str, kind: str, inner: str
):
    """A reply with a media id the account does not have is broken, and the user sees the grey line."""
    turn(world, callback_checks_media=checked)
    assert verdict(world, desk, ann, kind, inner) == expected
    assert (ann.chat[-1].kind == "notice") is checked


def test_replies_with_files_of_all_sources(world: World, desk: Desk, ann: Any):
    """Uploaded, permanent, and what the user sent; not of another kind, not expired, not another account's."""
    picture, kept = upload(desk, "image", JPEG)["media_id"], add(desk, "image", JPEG)["media_id"]
    thumb = upload(desk, "thumb", JPEG)["thumb_media_id"]
    ann.send_image(data=JPEG)
    sent = str(world.pushes()[-1].fields["MediaId"])
    for media_id in (picture, kept, sent):
        assert verdict(world, desk, ann, "image", f"<Image><MediaId>{media_id}</MediaId></Image>") == "shown"
    for media_id in (thumb, picture):
        inner = f"<Music><ThumbMediaId>{media_id}</ThumbMediaId></Music>"
        assert verdict(world, desk, ann, "music", inner) == "shown"
    assert verdict(world, desk, ann, "voice", f"<Voice><MediaId>{picture}</MediaId></Voice>") == "broken"
    world.advance(4 * 86_400)
    assert verdict(world, desk, ann, "image", f"<Image><MediaId>{picture}</MediaId></Image>") == "broken"
    assert verdict(world, desk, ann, "image", f"<Image><MediaId>{kept}</MediaId></Image>") == "shown"


def test_a_mass_video_can_be_a_reply(world: World, desk: Desk, ann: Any):
    """A video made ready for mass sends has an id of its own."""
    desk.account.outreach.videos["made"] = {}
    assert verdict(world, desk, ann, "video", "<Video><MediaId>made</MediaId></Video>") == "shown"
    assert verdict(world, desk, ann, "image", "<Image><MediaId>made</MediaId></Image>") == "broken"


def test_the_kind_need_not_fit(world: World, desk: Desk, ann: Any):
    """Where the policy does not look at kinds, any file the account has will do."""
    turn(world, media_kind_must_fit=False)
    picture = upload(desk, "image", JPEG)["media_id"]
    assert verdict(world, desk, ann, "voice", f"<Voice><MediaId>{picture}</MediaId></Voice>") == "shown"


def test_bounds_without_files():
    """Whoever judges a reply alone need not know any file."""
    reply = {"ToUserName": "u", "FromUserName": "a", "CreateTime": 1, "MsgType": "image", "Image": {"MediaId": "m"}}
    bounds = Bounds(user="u", account="a", to_event=False, shows=True)
    assert check_reply(dict(reply), bounds, Policy()).verdict == "shown"
    with pytest.raises(BrokenReply, match="no image under this media id"):
        check_reply(dict(reply), attrs.evolve(bounds, media=lambda _media_id, _kinds: False), Policy())


@pytest.mark.parametrize(("repeats", "deliveries"), [(True, 3), (False, 1)])
def test_another_status_is_asked_again(world: World, ann: Any, repeats: bool, deliveries: int):
    """An answer with status 500 is repeated, or not."""
    turn(world, callback_repeats_bad_status=repeats)
    world.set_callback("http://127.0.0.1:9/", token="abc")
    ann.say("hi")
    assert len(deliver(world, Answer(500, b""))) == deliveries
    assert ann.chat[-1].kind == "notice"


@pytest.mark.parametrize(("fresh", "queries"), [(True, 3), (False, 1)])
def test_repeats_are_signed_anew(world: World, ann: Any, fresh: bool, queries: int):
    """A repeat has a nonce of its own and the same message, or is the same request again; both count as deliveries."""
    turn(world, callback_fresh_repeats=fresh)
    world.set_callback("http://127.0.0.1:9/", token="abc")
    ann.say("hi")
    sent = deliver(world, Answer(None, failure="timeout"))
    assert [request.number for request in sent] == [1, 2, 3]
    assert len({json.dumps(request.query) for request in sent}) == queries
    assert len({request.body for request in sent}) == 1
    assert world.pushes()[-1].attempts == 3
