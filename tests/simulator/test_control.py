"""The control routes, and snapshot, restore, reset."""

from __future__ import annotations

import json

import attrs
import pytest

from tests.simulator.developer import AES_KEY, TOKEN
from wxmp.simulator import Clock, World, WorldError


@pytest.fixture
def control(http):
    """Call a control route and return its JSON."""

    def call(method: str, path: str, body=None, status: int = 200):
        answer = http.request(method, f"/_sim{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    return call


def test_state_shows_counts_and_fingerprints(control, desk):
    """The state counts token requests by channel and shows living tokens without their text."""
    token = desk.plain()["access_token"]
    state = control("GET", "/state")
    assert state["token_requests"] == {"total": 1, "plain": 1, "stable": 0}
    (shown,) = state["accounts"][desk.account.appid]["tokens"]
    assert (shown["channel"], shown["seconds_left"]) == ("plain", 7200)
    assert shown["fingerprint"] not in token
    assert state["accounts"][desk.account.appid]["quotas"]["/cgi-bin/token"] == {"used": 1, "limit": 2000}


def test_journal_since(control, desk):
    """The journal can be read on from where one stopped."""
    desk.plain()
    last = control("GET", "/journal")["last"]
    desk.use("x")
    (exchange,) = control("GET", f"/journal?since={last}")["exchanges"]
    assert exchange["errcode"] == 40014
    control("GET", "/journal?since=x", status=400)


def test_clock(control, world):
    """The clock can be advanced, scaled and frozen."""
    before = world.now()
    assert control("POST", "/clock", {"advance": 10})["now"] == before + 10
    assert control("POST", "/clock", {"scale": 60})["speed"] == 60
    assert control("POST", "/clock", {"freeze": True})["speed"] == 0
    control("POST", "/clock", {"advance": -1}, status=400)
    control("POST", "/clock", {"scale": "fast"}, status=400)


def test_faults(control, desk):
    """Rules can be added, listed with their hits, and removed one by one or all."""
    rule = control("POST", "/faults", {"effect": "busy", "path": "/cgi-bin/token", "times": 1})
    assert desk.plain()["errcode"] == -1
    assert control("GET", "/faults")["faults"][0]["hits"] == 1
    control("DELETE", f"/faults?id={rule['id']}")
    control("DELETE", f"/faults?id={rule['id']}", status=400)
    control("POST", "/faults", {"effect": "busy"})
    control("DELETE", "/faults")
    assert control("GET", "/faults")["faults"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"effect": "explode"},
        {"effect": "busy", "hits": 3},
        {"effect": "redirect"},
        {"effect": "busy", "first": "two"},
    ],
)
def test_wrong_faults_are_400(control, body):
    """A rule that cannot work is refused with a sentence."""
    assert control("POST", "/faults", body, status=400)["error"]


def test_tokens(control, desk):
    """Tokens can be killed, made dead on arrival, and fetched by an outsider from time to time."""
    token = desk.stable()["access_token"]
    control("POST", "/tokens/kill", {"channel": "stable"})
    assert desk.use(token) == 40001
    control("POST", "/tokens/kill", {"channel": "plain", "new": 1})
    assert desk.use(desk.plain()["access_token"]) == 40001
    control("POST", "/tokens/kill", {"channel": "plain", "every": 60})
    control("POST", "/clock", {"advance": 120})
    assert control("GET", "/state")["outsider_fetches"] == 3
    control("POST", "/tokens/kill", {"channel": "plain", "every": None})
    assert control("GET", "/state")["pending_events"] == 0
    for wrong in ({"channel": "x"}, {"how": "x"}, {"appid": "x"}, {"every": 0}):
        control("POST", "/tokens/kill", wrong, status=400)


def test_users_and_what_they_do(control, desk):
    """Users can be created and made to write, follow, unfollow, tap, scan and pay."""
    (openid,) = control("POST", "/users", {"count": 1})["openids"]
    (stranger,) = control("POST", "/users", {"count": 1, "following": False})["openids"]
    desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": "x", "key": "K"}]})
    scene = {"action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 5}}}
    ticket = desk.post("/cgi-bin/qrcode/create", scene)["ticket"]
    control("POST", f"/users/{openid}/write", {"text": "你好"})
    assert control("POST", f"/users/{openid}/tap", {"key": "K"})["button"]["name"] == "x"
    control("POST", f"/users/{openid}/scan", {"ticket": ticket})
    control("POST", f"/users/{openid}/pay")
    control("POST", f"/users/{openid}/unfollow")
    control("POST", f"/users/{stranger}/follow")
    events = [push["fields"].get("Event", "text") for push in control("GET", "/pushes")["pushes"]]
    assert events == ["text", "CLICK", "SCAN", "unsubscribe", "subscribe"]
    control("POST", f"/users/{openid}/dance", status=400)
    control("POST", "/users/o1/write", {"text": "x"}, status=400)
    control("POST", "/users", {"count": -1}, status=400)


def test_everything_a_user_can_send(control, world):
    """Every act of a phone has its route, with the message's own fields; ``new`` is somebody new."""
    openid = control("POST", "/users/new/follow")["openid"]
    control("POST", f"/users/{openid}/say", {"text": "你好", "menu_line": "1"})
    control("POST", f"/users/{openid}/image", {"MediaId": "m1"})
    for kind in ("voice", "video", "shortvideo", "location", "link", "report_location"):
        control("POST", f"/users/{openid}/{kind}")
    pushed = control("POST", "/push", {"fields": {"Event": "debug_demo", "debug_str": "x"}, "openid": openid})["push"]
    fields = [push.fields for push in world.pushes(openid)]
    assert [f.get("Event", f["MsgType"]) for f in fields] == [
        *("subscribe", "text", "image", "voice", "video", "shortvideo", "location", "link", "LOCATION", "debug_demo"),
    ]
    assert (fields[1]["bizmsgmenuid"], fields[2]["MediaId"], pushed) == ("1", "m1", 10)
    chat = control("GET", f"/chat?openid={openid}")["chat"]
    assert [line["kind"] for line in chat] == [f.get("Event", f["MsgType"]) for f in fields[:8]]
    control("POST", "/users/new/say", {"text": "x"}, status=400)
    control("POST", "/push", {"fields": "x"}, status=400)
    control("POST", "/push", {"fields": {}, "openid": openid}, status=400)
    control("GET", "/chat?openid=o1", status=400)


def test_callback_routes(control, world, developer):
    """The address is checked and set, attempts and chat can be waited for, and it can be switched off."""
    settings = {"url": developer.url, "token": TOKEN, "encoding_aes_key": AES_KEY, "format": "xml"}
    told = control("POST", "/callback", settings)
    assert told == {"ok": True, "enabled": True, "url": developer.url, "mode": "safe", "format": "xml"}
    openid = control("POST", "/users/new/follow")["openid"]
    found = control("GET", f"/deliveries?openid={openid}&wait=10")
    assert found["settled"]
    assert [(a["name"], a["verdict"]) for a in found["deliveries"]] == [("subscribe", "silent")]
    control("POST", f"/users/{openid}/say", {"text": "x"})
    assert len(control("GET", f"/chat?openid={openid}&wait=10")["chat"]) == 2
    assert [a["name"] for a in control("GET", "/deliveries?since=1")["deliveries"]] == ["text"]
    state = control("GET", "/state")["accounts"][world.account.appid]["callback"]
    assert (state["enabled"], state["pushes"], state["attempts"]) == (True, {"delivered": 2}, {"silent": 2})
    assert control("POST", "/callback", {"url": None})["enabled"] is False
    assert not world.account.callback_enabled
    developer.echo = lambda hit: b"no"
    error = control("POST", "/callback", settings, status=400)["error"]
    assert "the body is not the echostr" in error
    assert TOKEN not in error
    assert control("POST", "/callback", settings | {"verify": False})["enabled"]
    for wrong in (
        {"url": developer.url},
        {"url": developer.url, "token": "-"},
        settings | {"mode": "x"},
        settings | {"appid": "x"},
        settings | {"url": "http://example.com/"},
    ):
        control("POST", "/callback", wrong, status=400)
    control("GET", "/deliveries?since=x", status=400)
    control("GET", "/deliveries?wait=x", status=400)


def test_waiting_ends_with_its_seconds(control, world):
    """Waiting for deliveries that nobody carries out ends in time and says so."""
    world.set_callback("http://127.0.0.1:9/wx", token=TOKEN)
    world.policy = attrs.evolve(world.policy, callback_concurrency=0)
    control("POST", "/users/new/follow")
    assert not control("GET", "/deliveries?wait=0.1")["settled"]


def test_account_settings_do_not_go_round_the_check(control, desk):
    """The address may be changed or switched off among the settings, but not to anywhere, and not switched on."""
    appid = desk.account.appid
    control("POST", "/accounts", {"appid": appid, "callback_url": "http://example.com/"}, status=400)
    control("POST", "/accounts", {"appid": appid, "callback_enabled": True}, status=400)
    shown = control(
        "POST", "/accounts", {"appid": appid, "callback_url": "http://127.0.0.1/", "callback_enabled": False}
    )
    assert "callback_token" not in shown


def test_accounts(control, desk, world):
    """Accounts can be created (which tells the made-up secret once) and changed (which does not)."""
    made = control("POST", "/accounts", {"test": True, "ip_list": ["10.0.0.1"]})
    assert world.state.accounts[made["appid"]].secret == made["secret"]
    changed = control("POST", "/accounts", {"appid": desk.account.appid, "secret_frozen": True, "quotas": {"/x": 1}})
    assert "secret" not in changed
    assert desk.plain()["errcode"] == 40243
    control("POST", "/accounts", {"appid": desk.account.appid, "secret_frozen": "yes"}, status=400)
    control("POST", "/accounts", {"appid": desk.account.appid, "tokens": {}}, status=400)
    control("POST", "/accounts", {"kind": "x"}, status=400)


def test_risk_and_templates_and_sent(control, desk):
    """The administrator's answer, console templates and the list of deliveries are at hand too."""
    desk.account.risk_control = True
    assert desk.plain()["errcode"] == 89503
    control("POST", "/risk", {"address": "127.0.0.1", "decision": "allow"})
    assert "access_token" in desk.plain()
    control("POST", "/risk", {"address": "127.0.0.1", "decision": "maybe"}, status=400)
    (openid,) = control("POST", "/users", {"count": 1})["openids"]
    template_id = control("POST", "/templates", {"title": "t", "content": "{{thing1.DATA}}"})["template_id"]
    body = {"touser": openid, "template_id": template_id, "data": {"thing1": {"value": "好"}}}
    msgid = desk.post("/cgi-bin/message/template/send", body)["msgid"]
    assert control("GET", f"/sent?openid={openid}")["sent"][0]["msgid"] == msgid


def test_broken_text_can_be_read_back(control, world):
    """A lone surrogate, as broken phones send it, does not break the routes that show it."""
    (openid,) = world.create_followers(1)
    world.user_writes(openid, "\ud800")
    assert control("GET", "/pushes")["pushes"][0]["fields"]["Content"] == "\ud800"


def test_bad_bodies(http):
    """A body that is no JSON object is 400; an unknown route is 404, a wrong verb 405."""
    assert http.post("/_sim/clock", content=b"[").status_code == 400
    assert http.post("/_sim/clock", content=b"[]").status_code == 400
    assert http.get("/_sim/nope").status_code == 404
    assert http.get("/_sim/reset").status_code == 405


def test_reset(control, desk, world):
    """After a reset the world is as new: same AppID and secret, no tokens, no journal, no faults."""
    appid, secret, token = desk.account.appid, desk.account.secret, desk.plain()["access_token"]
    control("POST", "/faults", {"effect": "busy"})
    world.add_account()
    control("POST", "/reset")
    assert (world.account.appid, world.account.secret, len(world.state.accounts)) == (appid, secret, 1)
    assert (len(world.journal), world.faults.rules, world.state.token_requests) == (0, (), 0)
    assert desk.use(token) == 40014


def test_snapshot_and_restore_bring_everything_back(make_desk):
    """After a restore the world answers exactly as it would have without the detour, chance and events included."""
    desk = make_desk()
    world = desk.world
    openids = world.create_followers(3)
    desk.plain()
    desk.stable()
    tag = desk.post("/cgi-bin/tags/create", {"tag": {"name": "重要"}})["tag"]["id"]
    desk.post("/cgi-bin/tags/members/batchtagging", {"tagid": tag, "openid_list": openids[:2]})
    desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": "x", "key": "K"}]})
    desk.post(
        "/cgi-bin/menu/addconditional",
        {"button": [{"type": "click", "name": "y", "key": "K"}], "matchrule": {"tag_id": tag}},
    )
    template_id = world.add_template("t", "{{thing1.DATA}}")
    world.user_writes(openids[0], "你好")
    world.outsider(60.0)
    world.fault("busy", "/never")
    scene = {"action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 5}}}
    desk.post("/cgi-bin/qrcode/create", scene)
    desk.get("/cgi-bin/ticket/getticket", type="jsapi")
    send = {"touser": openids[0], "template_id": template_id, "data": {"thing1": {"value": "好"}}}
    desk.post("/cgi-bin/message/template/send", send)
    document = json.loads(json.dumps(world.snapshot()))

    def story():
        world.advance(100)
        answers = [
            desk.plain(),
            desk.stable(),
            desk.get("/cgi-bin/tags/get"),
            desk.get("/cgi-bin/menu/get"),
            desk.post("/cgi-bin/menu/trymatch", {"user_id": openids[0]}),
            desk.post("/cgi-bin/message/template/send", send),
            desk.post("/cgi-bin/qrcode/create", scene),
            desk.get("/cgi-bin/user/get", "nope"),
            [sent.status for sent in world.sent()],
            [rule.label for rule in world.faults.rules],
            world.now(),
        ]
        return json.dumps(answers)

    first = story()
    world.restore(document)
    desk.account = world.account
    assert world.snapshot() == document
    assert story() == first


def test_restore_refuses_what_is_no_snapshot(world):
    """A document of another kind changes nothing."""
    before = world.state
    for wrong in ({}, {"version": 1}, {"version": 1, "now": 0, "state": {"dice": 5}}, {"version": 2}):
        with pytest.raises(WorldError, match="snapshot"):
            world.restore(wrong)
    assert world.state is before


def test_snapshot_routes(control, desk):
    """Snapshot and restore work over HTTP."""
    token = desk.plain()["access_token"]
    document = control("GET", "/snapshot")
    desk.world.advance(8000)
    assert desk.use(token) == 42001
    control("POST", "/restore", document)
    assert desk.use(token) == 0
    control("POST", "/restore", {}, status=400)


def test_two_worlds_may_share_a_clock():
    """Worlds on one clock advance together."""
    clock = Clock.frozen()
    worlds = [World(clock=clock, seed=seed) for seed in (1, 2)]
    for world in worlds:
        world.outsider(10.0)
    clock.advance(25)
    assert [world.state.outsider_fetches for world in worlds] == [2, 2]
