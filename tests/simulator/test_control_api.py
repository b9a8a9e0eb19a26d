"""The control routes that the page uses: what phones show, files, pictures, searching the journal, orders."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.simulator.pay.merchant import Shop
from wxmp.simulator import library, staff
from wxmp.simulator.control import files
from wxmp.simulator.jpeg import flat_jpeg
from wxmp.simulator.overview import describe_phones, phone_revisions
from wxmp.simulator.pay.ledger import add_merchant, default_merchant
from wxmp.simulator.state import OAuthGrant

if TYPE_CHECKING:
    import httpx

    from tests.simulator.conftest import Desk
    from wxmp.simulator import Simulator, World

PICTURE = flat_jpeg([[True, False], [False, True]])


@pytest.fixture
def control(http: httpx.Client):
    """Call a control route and return its JSON."""

    def call(method: str, path: str, body: Any = None, status: int = 200, **query: Any) -> Any:
        answer = http.request(method, f"/_sim{path}", json=body, params=query or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    return call


@pytest.fixture
def openid(world: World) -> str:
    """A follower."""
    (found,) = world.create_followers(1)
    return found


# --- state --------------------------------------------------------------------------------------------------------


def test_state_tells_the_page_what_it_shows(control: Any, desk: Desk, world: World):
    """Per account: name, kind, tokens with their life, merchants; for the world: faults and findings."""
    desk.plain(client="worker-1")
    desk.get("/nonsense")
    world.fault("busy", "/never")
    merchant = add_merchant(world)
    control("POST", "/accounts", {"appid": desk.account.appid, "name": "花店"})
    state = control("GET", "/state")
    shown = state["accounts"][desk.account.appid]
    assert (shown["name"], shown["kind"], shown["verified"], shown["test"]) == ("花店", "service", True, False)
    token = shown["tokens"][0]
    assert (token["minted_by"], token["life"], token["seconds_left"], token["current"]) == (
        "worker-1",
        7200,
        7200,
        True,
    )
    assert token["minted_at"] == world.now()
    assert shown["merchants"] == [merchant.mchid]
    assert (state["faults"], state["lint"]["warning"], state["appid"]) == (1, 1, desk.account.appid)
    assert (shown["faults"], shown["lint"]["warning"]) == (1, 1)
    other = control("POST", "/accounts", {"appid": "wx-other"})["appid"]
    control("POST", "/faults", {"effect": "busy", "appid": other})
    control("POST", "/faults/1", {"enabled": False})
    found = control("GET", "/state")["accounts"]
    assert [(found[appid]["faults"], found[appid]["lint"]["warning"]) for appid in (desk.account.appid, other)] == [
        (0, 1),
        (1, 0),
    ]
    assert state["base_url"].startswith("http://127.0.0.1:")


def test_state_tells_of_the_last_push(control: Any, world: World, openid: str):
    """The verdict on the last answer of the developer's server stands there."""
    assert control("GET", "/state")["accounts"][world.account.appid]["callback"]["last_verdict"] is None
    world.set_callback("http://127.0.0.1:9/wx", token="devToken123")
    world.user_writes(openid, "x")
    assert control("GET", "/deliveries?wait=10")["settled"]
    last = control("GET", "/state")["accounts"][world.account.appid]["callback"]["last_verdict"]
    assert (last["verdict"], last["name"]) == ("broken", "text")
    assert "connection failed" in last["why"]


# --- phones -------------------------------------------------------------------------------------------------------


def test_phones_the_latest_talk_first(control: Any, world: World):
    """The list shows who there is, what was said last and which windows are open."""
    first, second, third = world.create_followers(3)
    world.user_writes(second, "早上好")
    world.advance(10)
    world.user_writes(first, "你好" * 100)
    found = control("GET", "/phones")
    assert found["total"] == 3
    assert [phone["openid"] for phone in found["phones"]] == [first, second, third]
    assert [phone["last"] for phone in found["phones"]] == [("你好" * 100)[:80], "早上好", ""]
    shown = found["phones"][1]
    assert shown["windows"] == [{"trigger": "write", "left": 5, "seconds_left": 172790.0}]
    assert (shown["following"], shown["blacklisted"], shown["platform"], shown["typing"]) == (True, False, "2", False)


def test_phones_can_be_searched_and_limited(control: Any, world: World):
    """A name, an openid or a number of rows."""
    alice = control("POST", "/users/new/follow", {"name": "alice"})["openid"]
    world.create_followers(5)
    assert [phone["openid"] for phone in control("GET", "/phones", q="ALI")["phones"]] == [alice]
    assert [phone["name"] for phone in control("GET", "/phones", q=alice)["phones"]] == ["alice"]
    found = control("GET", "/phones", limit=2)
    assert (len(found["phones"]), found["total"]) == (2, 6)
    control("GET", "/phones", status=400, limit="x")


def test_a_large_account_shows_who_talks(world: World):
    """Of many thousand followers only those with a chat are listed and watched."""
    openids = world.create_followers(2_500)
    world.user_writes(openids[7], "x")
    shown, total = describe_phones(world, world.account)
    assert ([phone["openid"] for phone in shown], total) == ([openids[7]], 1)
    assert set(phone_revisions(world)[world.account.appid]) == {openids[7]}


def test_one_phone(control: Any, world: World, desk: Desk, openid: str):
    """A phone shows its chat with numbers, the menu, the codes to scan and the orders to pay."""
    desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": "x", "key": "K"}]})
    scene = {"expire_seconds": 60, "action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 5}}}
    ticket = desk.post("/cgi-bin/qrcode/create", scene)["ticket"]
    forever = {"action_name": "QR_LIMIT_STR_SCENE", "action_info": {"scene": {"scene_str": "s"}}}
    desk.post("/cgi-bin/qrcode/create", forever)
    for number in range(3):
        world.user_writes(openid, str(number))
    phone = control("GET", "/phone", openid=openid)
    assert [(line["index"], line["content"]) for line in phone["chat"]] == [(0, "0"), (1, "1"), (2, "2")]
    assert [button["key"] for button in phone["menu"]["button"]] == ["K"]
    assert phone["menu"]["stale_seconds"] == 0
    assert [(code["scene"], code["seconds_left"], code["expired"]) for code in phone["qr"]] == [
        ("s", None, False),
        (5, 60.0, False),
    ]
    assert phone["qr"][1]["ticket"] == ticket
    assert phone["orders"] == []
    world.advance(60)
    assert control("GET", "/phone", openid=openid)["qr"][1]["expired"]
    lines = control("GET", "/phone", openid=openid, lines=1)["chat"]
    assert [(line["index"], line["content"]) for line in lines] == [(2, "2")]
    control("GET", "/phone", status=400, openid="o1")
    control("GET", "/phone", status=400, openid=openid, appid="wx1")


def test_pictures_of_codes_can_be_fetched(control: Any, http: httpx.Client, desk: Desk, openid: str):
    """The address of a code's picture leads to the picture."""
    scene = {"action_name": "QR_SCENE", "action_info": {"scene": {"scene_id": 5}}}
    desk.post("/cgi-bin/qrcode/create", scene)
    url = control("GET", "/phone", openid=openid)["qr"][0]["image_url"]
    assert http.get(url).content.startswith(b"\xff\xd8")


def test_revision_changes_with_what_is_shown(world: World, desk: Desk, openid: str):
    """A line, a tag, a window, typing, a menu: each gives the phone another revision; time alone does not."""
    account = world.account

    def revision() -> int:
        return phone_revisions(world)[account.appid][openid]

    tag = desk.post("/cgi-bin/tags/create", {"tag": {"name": "a"}})["tag"]["id"]
    seen = [revision()]
    acts: list[Any] = [
        lambda: world.user_writes(openid, "x"),
        lambda: world.user_writes(openid, "x"),
        lambda: desk.post("/cgi-bin/message/custom/typing", {"touser": openid, "command": "Typing"}),
        lambda: desk.post("/cgi-bin/tags/members/batchtagging", {"tagid": tag, "openid_list": [openid]}),
        lambda: desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": "x", "key": "K"}]}),
        lambda: world.phone(openid).refresh_menu(),
        lambda: desk.post("/cgi-bin/tags/members/batchblacklist", {"openid_list": [openid]}),
        lambda: world.user_unfollows(openid),
    ]
    for act in acts:
        act()
        seen.append(revision())
    assert len(set(seen)) == len(seen)
    world.advance(1)
    assert revision() == seen[-1]


# --- acts ---------------------------------------------------------------------------------------------------------


def test_new_with_a_name(control: Any, world: World):
    """A name means the same person each time; without one somebody new appears."""
    alice = control("POST", "/users/new/follow", {"name": "alice"})["openid"]
    assert control("POST", "/users/new/say", {"name": "alice", "text": "你好"})["openid"] == alice
    assert [phone["name"] for phone in control("GET", "/phones")["phones"]] == ["alice"]
    assert control("POST", "/users/new/follow")["openid"] != alice
    assert world.user("alice").openid == alice


def test_menus_grow_old(control: Any, world: World, desk: Desk, openid: str):
    """An opened phone keeps its menu for five minutes, and says for how long it has been out of date."""

    def menu(key: str) -> None:
        desk.post("/cgi-bin/menu/create", {"button": [{"type": "click", "name": key, "key": key}]})

    def shown() -> tuple[list[str], float]:
        found = control("GET", "/phone", openid=openid)["menu"]
        return [button["key"] for button in found["button"]], found["stale_seconds"]

    menu("A")
    control("POST", f"/users/{openid}/open")
    menu("B")
    world.advance(100)
    assert shown() == (["A"], 100)
    control("POST", f"/users/{openid}/open")
    assert shown() == (["A"], 100)
    control("POST", f"/users/{openid}/tap", {"key": "A"})
    control("POST", f"/users/{openid}/tap", {"key": "B"}, status=400)
    control("POST", f"/users/{openid}/refresh_menu")
    assert shown() == (["B"], 0)
    menu("C")
    world.advance(301)
    control("POST", f"/users/{openid}/open")
    assert shown() == (["C"], 0)
    menu("D")
    control("POST", f"/users/{openid}/unfollow")
    assert shown() == ([], 0)
    control("POST", f"/users/{openid}/follow")
    assert shown() == (["D"], 0)


def test_opening_reports_the_place_where_asked_for(control: Any, world: World, openid: str):
    """Only an account that has switched it on hears where the phone is."""
    control("POST", f"/users/{openid}/open")
    assert world.pushes() == []
    control("POST", "/accounts", {"appid": world.account.appid, "reports_location": True})
    control("POST", f"/users/{openid}/open")
    assert [push.name for push in world.pushes()] == ["LOCATION"]


@pytest.mark.parametrize(
    ("kind", "data", "content_type"),
    [("image", PICTURE, "image/jpeg"), ("voice", b"#!AMR\n" + bytes(64), "audio/amr")],
)
def test_files_from_the_phone(
    control: Any, http: httpx.Client, desk: Desk, world: World, openid: str, kind: str, data: bytes, content_type: str
):
    """A file sent from the phone can be downloaded by the service with its token, and by the page without one."""
    sent = {"data": base64.b64encode(data).decode(), "filename": f"a.{kind}"}
    control("POST", f"/users/{openid}/{kind}", sent)
    media_id = str(world.pushes()[-1].fields["MediaId"])
    assert desk.send("GET", "/cgi-bin/media/get", {"access_token": desk.token(), "media_id": media_id}).body == data
    answer = http.get("/_sim/media", params={"media_id": media_id})
    assert (answer.content, answer.headers["content-type"]) == (data, content_type)
    control("GET", "/media", status=400, media_id="nope")
    control("POST", f"/users/{openid}/{kind}", {"data": "%%%"}, status=400)


def test_uploads_are_never_pages(http: httpx.Client, desk: Desk, world: World):
    """What looks like a page is served as bytes, in a sandbox, and nobody guesses."""
    found = files.media_type(b"<html><script>alert(1)</script>")
    assert found == "application/octet-stream"
    assert files.media_type(b"<svg xmlns='http://www.w3.org/2000/svg'>") == "application/octet-stream"
    (openid,) = world.create_followers(1)
    world.phone(openid).send_image(data=PICTURE)
    headers = http.get("/_sim/media", params={"media_id": str(world.pushes()[-1].fields["MediaId"])}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("sandbox;")


def test_oauth(control: Any, http: httpx.Client, world: World, openid: str):
    """The user opens an OAuth page and allows it: the way back carries a code that is theirs, and the state."""
    wanted = {"redirect_uri": "http://127.0.0.1:8000/back", "state": "s1", "scope": "snsapi_userinfo"}
    found = control("POST", f"/users/{openid}/oauth", wanted)
    assert found["location"].startswith("http://127.0.0.1:8000/back?code=")
    assert (found["openid"], found["state"]) == (openid, "s1")
    query = {"appid": world.account.appid, "secret": world.account.secret, "code": found["code"]}
    answer = http.get("/sns/oauth2/access_token", params=query | {"grant_type": "authorization_code"}).json()
    assert answer["openid"] == openid
    url = f"https://open.weixin.qq.com/connect/oauth2/authorize?appid={world.account.appid}&redirect_uri=http%3A%2F%2F127.0.0.1%2F&response_type=code&scope=snsapi_base&state=s2#wechat_redirect"
    assert control("POST", f"/users/{openid}/oauth", {"url": url})["state"] == "s2"
    assert control("POST", f"/users/{openid}/oauth", wanted | {"deny": True})["code"] is None
    assert "10003" in control("POST", f"/users/{openid}/oauth", {})["why"]
    control("POST", f"/users/{openid}/oauth", wanted | {"deny": "yes"}, status=400)


def test_subscription_popup(control: Any, world: World, openid: str):
    """The answers must be accept or reject."""
    for wrong in ({}, {"template_ids": {}}, {"template_ids": {"t": "maybe"}}, {"template_ids": "t"}):
        control("POST", f"/users/{openid}/subscribe_popup", wrong, status=400)
    control("POST", f"/users/{openid}/subscribe_popup", {"template_ids": {"unknown": "accept"}}, status=400)


def test_reading_and_commenting(control: Any, desk: Desk, world: World, openid: str):
    """A user reads an article and writes under it; the account finds the comment in its list."""
    made = library.Article("标题", "正文", need_open_comment=1)
    (article,) = library.publish_articles(world, world.account, [made], world.now(), msg_data_id=55)
    control("POST", f"/users/{openid}/read", {"article": article.key})
    number = control("POST", f"/users/{openid}/comment", {"article": article.key, "text": "写得好"})["comment"]
    listed = desk.post("/cgi-bin/comment/list", {"msg_data_id": 55, "index": 0, "begin": 0, "count": 9, "type": 0})
    assert [(item["user_comment_id"], item["content"]) for item in listed["comment"]] == [(number, "写得好")]
    assert len(library.reads_between(world.account, 0.0, world.now() + 1)) == 1


def test_articles_that_do_not_exist(control: Any, openid: str):
    """Reading or commenting on nothing is a wrong wish."""
    assert control("POST", f"/users/{openid}/read", {"article": "nope"}, status=400)["error"]
    assert control("POST", f"/users/{openid}/comment", {"article": "nope", "text": "好"}, status=400)["error"]


# --- journal ------------------------------------------------------------------------------------------------------


def test_journal_newest(control: Any, desk: Desk):
    """With a limit the newest exchanges come, oldest of them first."""
    for _ in range(5):
        desk.use("x")
    found = control("GET", "/journal", limit=2)
    assert ([exchange["seq"] for exchange in found["exchanges"]], found["last"]) == ([4, 5], 5)
    assert control("GET", "/journal", limit=0)["exchanges"] == []


def test_journal_by_direction_and_words(control: Any, world: World, desk: Desk, openid: str):
    """The journal can be narrowed to one direction and to words found anywhere in an exchange."""
    world.set_callback("http://127.0.0.1:9/wx", token="devToken123")
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "重要"}})
    world.user_writes(openid, "你好世界")
    assert control("GET", "/deliveries?wait=10")["settled"]
    assert {exchange["direction"] for exchange in control("GET", "/journal", direction="out")["exchanges"]} == {"out"}
    assert {exchange["path"] for exchange in control("GET", "/journal", q="重要 TAGS")["exchanges"]} == {
        "/cgi-bin/tags/create"
    }
    assert len(control("GET", "/journal", q="世界", direction="out")["exchanges"]) == 3
    assert control("GET", "/journal", q="世界", direction="in")["exchanges"] == []
    control("GET", "/journal", status=400, direction="up")


def test_one_exchange_whole(control: Any, desk: Desk):
    """A list may be brief; one exchange shows all that is kept."""
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "x" * 1000}})
    brief = control("GET", "/journal", brief=1)["exchanges"][-1]
    assert (len(brief["request_body"]), brief["cut"]) == (400, True)
    whole = control("GET", f"/journal/{brief['seq']}")
    assert json.loads(whole["request_body"])["tag"]["name"] == "x" * 1000
    assert {"request_raw", "response_raw", "rule", "caller", "speed", "quota_used"} <= set(whole)
    for wrong in ("99", "x", "-1", "٣"):
        control("GET", f"/journal/{wrong}", status=400)


def test_journal_files(http: httpx.Client, desk: Desk):
    """The archive and the script come as files."""
    desk.plain()
    archive = http.get("/_sim/journal.har")
    assert len(archive.json()["log"]["entries"]) == 1
    assert archive.headers["content-disposition"] == 'attachment; filename="journal.har"'
    script = http.get("/_sim/journal.sh?since=0")
    assert script.text.startswith("#!/bin/sh\n")
    assert str(http.base_url).rstrip("/") in script.text


def test_findings(control: Any, desk: Desk):
    """The findings come with their counts."""
    desk.get("/nonsense")
    found = control("GET", "/lint")
    assert [finding["code"] for finding in found["findings"]] == ["unknown_path"]
    assert found["counts"] == {"error": 0, "warning": 1, "hint": 0}


# --- faults, clock, scenario --------------------------------------------------------------------------------------


def test_effects_are_listed(control: Any):
    """Each effect says what it happens to, which fields it reads, and what it is in two languages."""
    effects = {effect["name"]: effect for effect in control("GET", "/faults")["effects"]}
    assert (effects["latency"]["kind"], effects["push_twice"]["kind"], effects["pay_forged"]["kind"]) == (
        *("request", "push", "pay"),
    )
    assert "seconds" in effects["latency"]["fields"]
    assert all(effect["en"] and effect["zh"] for effect in effects.values())


def test_faults_can_be_switched(control: Any, desk: Desk):
    """A rule switched off does nothing until it is switched on again."""
    rule = control("POST", "/faults", {"effect": "busy", "path": "/cgi-bin/tags/get"})
    assert desk.get("/cgi-bin/tags/get")["errcode"] == -1
    assert control("POST", f"/faults/{rule['id']}", {"enabled": False})["enabled"] is False
    assert "errcode" not in desk.get("/cgi-bin/tags/get")
    control("POST", f"/faults/{rule['id']}", {"enabled": True})
    assert desk.get("/cgi-bin/tags/get")["errcode"] == -1
    control("POST", f"/faults/{rule['id']}", {"enabled": "yes"}, status=400)
    control("POST", "/faults/99", {"enabled": True}, status=400)


def test_clock_can_be_set(control: Any, world: World):
    """The clock jumps to a time without firing anything; what is no time is refused."""
    assert control("POST", "/clock", {"set": 1_800_000_000})["now"] == 1_800_000_000
    assert world.now() == 1_800_000_000
    for wrong in ({"set": -1}, {"set": "now"}, {"set": 1e300}, {"advance": 1e300}):
        control("POST", "/clock", wrong, status=400)


def test_numbers_must_be_numbers(http: httpx.Client):
    """NaN and infinity are JSON to some, and no speed of a clock."""
    for wrong in (b'{"scale": NaN}', b'{"scale": Infinity}', b'{"scale": true}'):
        assert http.post("/_sim/clock", content=wrong).status_code == 400


SCENARIO = "users:\n  - name: alice\n  - name: bob\n    follow: false\n"


@pytest.mark.parametrize(
    "text", [SCENARIO, json.dumps({"users": [{"name": "alice"}, {"name": "bob", "follow": False}]})]
)
def test_scenario(control: Any, http: httpx.Client, world: World, text: str):
    """A scenario in YAML or JSON takes place, and says what its names have become."""
    answer = http.post("/_sim/scenario", content=text.encode())
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["users"]) == {"alice", "bob"}
    assert world.user("alice").openid == answer.json()["users"]["alice"]


def test_scenarios_read_no_environment(http: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    """What comes over the network cannot look into this machine's environment."""
    monkeypatch.setenv("WXMP_TEST_VARIABLE", "hidden-value")
    text = "accounts:\n  - name: a\n    secret: ${WXMP_TEST_VARIABLE}\n"
    answer = http.post("/_sim/scenario", content=text.encode())
    assert answer.status_code == 400
    assert "hidden-value" not in answer.text


@pytest.mark.parametrize("text", ["nonsense: 1", "[", "- 1", "x" * (1 << 20) + "x"])
def test_wrong_scenarios(http: httpx.Client, text: str):
    """What is no scenario is refused with a sentence."""
    answer = http.post("/_sim/scenario", content=text.encode())
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


# --- pay, mass sends ----------------------------------------------------------------------------------------------


def test_merchants(control: Any, world: World):
    """Merchants can be made, shown with and without keys, given money, and their certificate changed."""
    assert control("GET", "/merchants") == {"merchants": []}
    made = control("POST", "/merchants", {"mchid": "1900000001"})
    assert (made["mchid"], made["appid"]) == ("1900000001", world.account.appid)
    (shown,) = control("GET", "/merchants")["merchants"]
    assert "private_key" not in shown
    (whole,) = control("GET", "/merchants", keys=1)["merchants"]
    assert "PRIVATE KEY" in whole["private_key"]
    before = shown["balance"]
    assert control("POST", "/merchants/1900000001/fund", {"amount": 500})["balance"] == before + 500
    assert len(control("POST", "/merchants/1900000001/rotate")["certificates"]) == len(shown["certificates"]) + 1
    control("POST", "/merchants", {"mchid": "1900000001"}, status=400)
    control("POST", "/merchants/1/rotate", status=400)
    control("POST", "/merchants/1900000001/fund", {"amount": 0.5}, status=400)


def test_orders_without_any(control: Any, openid: str):
    """Where nothing was ordered there is nothing to pay."""
    assert control("GET", "/orders", openid=openid) == {"orders": []}
    control("POST", f"/users/{openid}/pay", {"out_trade_no": "nope"}, status=400)
    control("POST", f"/users/{openid}/pay", {"prepay_id": "nope", "how": "never"}, status=400)


def test_paying_an_order(control: Any, world: World, openid: str):
    """An order shows on the phone it is for, can be paid by its number, and is then gone from there."""
    shop = Shop(world, default_merchant(world))
    before = control("GET", "/phone", openid=openid)["revision"]
    shop.jsapi(openid, "order-0001", 250)
    assert control("GET", "/phone", openid=openid)["revision"] != before
    (order,) = control("GET", "/phone", openid=openid)["orders"]
    assert (order["out_trade_no"], order["total"], order["payable"]) == ("order-0001", 250, True)
    assert len(control("GET", "/orders", appid=world.account.appid)["orders"]) == 1
    assert control("GET", "/orders", appid="wx1")["orders"] == []
    cancelled = control("POST", f"/users/{openid}/pay", {"out_trade_no": "order-0001", "how": "cancel"})
    assert cancelled["err_msg"] == "get_brand_wcpay_request:cancel"
    paid = control("POST", f"/users/{openid}/pay", {"prepay_id": order["prepay_id"], "password": "123456"})
    assert (paid["openid"], paid["err_msg"]) == (openid, "get_brand_wcpay_request:ok")
    assert control("GET", "/phone", openid=openid)["orders"] == []
    assert control("GET", "/orders", openid=openid)["orders"][0]["state"] == "SUCCESS"


def test_what_a_console_does_to_orders(control: Any, world: World, openid: str):
    """Orders can be closed and refunded by hand; what cannot be done is a wrong wish."""
    shop = Shop(world, default_merchant(world))
    shop.notify_url = "http://127.0.0.1:9/pay"
    shop.jsapi(openid, "order-0001")
    assert control("POST", "/orders/order-0001/close")["state"] == "CLOSED"
    shop.jsapi(openid, "order-0002")
    control("POST", "/orders/order-0002/notify", status=400)
    control("POST", f"/users/{openid}/pay", {"out_trade_no": "order-0002"})
    world.advance(60)
    assert control("GET", "/notices", wait=5)["notices"][0]["verdict"] == "broken"
    assert control("POST", "/orders/order-0002/refund", {"mchid": shop.mchid})["refunds"][0]["amount"] == 100
    for wrong in ("/orders/nope/close", "/orders/order-0002/burn"):
        control("POST", wrong, status=400)


def test_paying_without_an_order(control: Any, world: World, openid: str):
    """A payment without an order opens the window it opens, as before."""
    control("POST", f"/users/{openid}/pay")
    assert [w["trigger"] for w in control("GET", "/phone", openid=openid)["windows"]] == ["pay"]


def test_broadcasts_that_do_not_wait(control: Any):
    """Only a mass send that waits can be decided."""
    for path in ("/broadcasts/1/approve", "/broadcasts/x/refuse", "/broadcasts/1/maybe"):
        control("POST", path, status=400)


def test_a_broadcast_that_waits(control: Any, desk: Desk, world: World, openid: str):
    """The administrator lets a protected mass send go."""
    assert control("POST", "/broadcasts", {"protected": True}) == {"protected": True}
    body = {"filter": {"is_to_all": True}, "msgtype": "text", "text": {"content": "大家好"}}
    msg_id = desk.post("/cgi-bin/message/mass/sendall", body)["msg_id"]
    found = control("GET", "/broadcasts")
    assert ([(item["msg_id"], item["state"]) for item in found["broadcasts"]], found["protected"]) == (
        [(msg_id, "approval")],
        True,
    )
    assert control("POST", f"/broadcasts/{msg_id}/approve")["broadcast"]["msg_id"] == msg_id
    world.advance(600)
    assert [line.content for line in world.chat(openid)] == ["大家好"]


# --- files of the page --------------------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    """A page with a few files, and a secret one beside it."""
    folder = tmp_path / "page"
    (folder / "art").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>x</title>", "utf-8")
    (folder / "app.js").write_text("export {};", "utf-8")
    (folder / "style.css").write_text("body {}", "utf-8")
    (folder / "icon.svg").write_text("<svg/>", "utf-8")
    (folder / "notes.py").write_text("secret", "utf-8")
    (folder / "art" / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "secret.txt").write_text("secret", "utf-8")
    monkeypatch.setattr(files, "PAGE", folder)
    return folder


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/_sim/", "text/html; charset=utf-8"),
        ("/_sim/page/app.js", "text/javascript; charset=utf-8"),
        ("/_sim/page/style.css", "text/css; charset=utf-8"),
        ("/_sim/page/icon.svg", "image/svg+xml"),
        ("/_sim/page/art/a.png", "image/png"),
    ],
)
def test_files_of_the_page(http: httpx.Client, page: Any, path: str, kind: str):
    """Each file has its content type, is asked about again each time, and may not be framed or guessed."""
    answer = http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()[:32]}"'
    again = http.get(path, headers={"if-none-match": f'"x", W/{answer.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])


def test_only_the_stand_in_is_for_other_pages(http: httpx.Client, page: Any):
    """A page of the developer may load the stand-in for the JS-SDK, and nothing else of this one."""
    (page / "jweixin.js").write_text("", "utf-8")
    policy = "cross-origin-resource-policy"
    assert http.get("/_sim/page/jweixin.js").headers[policy] == "cross-origin"
    assert http.get("/_sim/page/app.js").headers[policy] == "same-origin"


def test_content_security_policy(http: httpx.Client, page: Any):
    """Scripts, styles, pictures and connections are its own; frames are loopback; nobody frames it."""
    policy = dict(
        part.strip().partition(" ")[::2] for part in http.get("/_sim/").headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"].startswith("'self' data: blob: http://127.0.0.1:* ")
    assert not re.search(r"https?://(?!127\.0\.0\.1|localhost)|\*(?!;| |$)", policy["img-src"])
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    frames = policy["frame-src"].split()
    assert all(source == "'self'" or "://127.0.0.1:" in source or "://localhost:" in source for source in frames)
    assert "unsafe" not in str(policy)


@pytest.mark.parametrize(
    "name",
    [
        *("../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "..%5csecret.txt", "art/../../secret.txt"),
        *("/etc/hostname", "%2fetc%2fhostname", "notes.py", "nope.js", "app.js%00", "art", "art/", "", "./app.js"),
    ],
)
def test_no_way_out_of_the_folder(simulator: Simulator, page: Any, name: str):
    """Only files of the page can be named, however the path is written."""
    import socket

    with socket.create_connection(("127.0.0.1", simulator.port), timeout=5) as sock:
        sock.sendall(f"GET /_sim/page/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.split(b" ")[1] == b"404", answer
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2]


def test_the_real_page_is_there(http: httpx.Client):
    """The package brings its page, and every file it names can be fetched."""
    index = http.get("/_sim/")
    assert index.status_code == 200
    for name in files.page_files():
        assert http.get(f"/_sim/page/{name}").status_code == 200


def test_browsers_find_the_page(http: httpx.Client, world: World):
    """A browser at the root is led to the page; programs, and the platform's own names, are not."""
    answer = http.get("/", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/_sim/")
    assert http.get("/_sim").headers["location"] == "/_sim/"
    assert http.get("/favicon.ico").status_code == 204
    assert len(world.journal) == 0
    assert http.get("/", headers={"accept": "application/json"}).json()["errcode"] == 40066
    named = {"accept": "text/html", "host": "api.weixin.qq.com"}
    assert http.get("/", headers=named).json()["errcode"] == 40066
    assert http.post("/", headers={"accept": "text/html"}).json()["errcode"] == 40066


def test_qr_picture(http: httpx.Client):
    """Any text becomes a picture; none, or too much, is refused."""
    answer = http.get("/_sim/qr.png", params={"text": "https://example.com/?a=1&b=你好"})
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["content-type"] == "image/png"
    assert http.get("/_sim/qr.png").status_code == 400
    assert http.get("/_sim/qr.png", params={"text": "x" * 1001}).status_code == 400


# --- guard --------------------------------------------------------------------------------------------------------

PATHS = (
    "/",
    "/page/app.js",
    "/state",
    "/phones",
    "/journal",
    "/journal.sh",
    "/lint",
    "/live",
    "/media",
    "/qr.png",
    "/merchants",
)


@pytest.mark.parametrize("path", PATHS)
def test_pages_of_others_get_nothing(http: httpx.Client, path: str):
    """A foreign name and a foreign origin are refused on every route."""
    assert http.get(f"/_sim{path}", headers={"host": "evil.example"}).status_code == 421
    assert http.get(f"/_sim{path}", headers={"origin": "https://evil.example"}).status_code == 403
    assert http.get(f"/_sim{path}", headers={"origin": "null"}).status_code == 403


def test_whoever_watches_hears_of_every_change(control: Any, world: World):
    """A change made here wakes those who wait, also where the world itself says nothing."""
    heard: list[int] = []
    world.listen(lambda: heard.append(1))
    control("POST", "/clock", {"scale": 2})
    assert heard
    heard.clear()
    control("GET", "/state")
    assert not heard


# --- staff and automatic replies ----------------------------------------------------------------------------------


def test_staff_at_work(control: Any, desk: Desk, world: World, openid: str):
    """Somebody accepts an invitation, comes on line, takes a user over, writes, hands on, and ends it."""
    world.policy = attrs.evolve(world.policy, kf_invite_delay=None, kf_online_when_bound=False)
    person = world.person_of(desk.account.users[openid]).wechat_id
    for name in ("anna@shop", "ben@shop"):
        assert desk.post("/customservice/kfaccount/add", {"kf_account": name, "nickname": "n"})["errcode"] == 0
        body = {"kf_account": name, "invite_wx": person if name.startswith("anna") else "wxid_000002"}
        world.create_followers(1)
        assert desk.post("/customservice/kfaccount/inviteworker", body)["errcode"] == 0
    control("POST", "/staff/anna@shop/invitation", {})
    shown = control("POST", "/staff/ben@shop/invitation", {"accept": True})
    assert [(agent["wx"], agent["online"]) for agent in shown["agents"]] == [(person, False), ("wxid_000002", False)]
    session = {"kf_account": "anna@shop", "openid": openid}
    assert desk.post("/customservice/kfsession/create", session)["errcode"] == 65415
    control("POST", "/staff/anna@shop/online")
    control("POST", "/staff/ben@shop/online", {"online": True})
    assert desk.post("/customservice/kfsession/create", session)["errcode"] == 0
    shown = control("POST", f"/sessions/{openid}/say", {"text": "您好"})
    assert (shown["records"][-1]["text"], shown["records"][-1]["worker"]) == ("您好", "anna@shop")
    assert world.chat(openid)[-1].content == "您好"
    shown = control("POST", f"/sessions/{openid}/switch", {"kf_account": "ben@shop"})
    assert [one["kf_account"] for one in shown["sessions"]] == ["ben@shop"]
    assert control("POST", f"/sessions/{openid}/close", {})["sessions"] == []
    assert control("POST", "/staff/ben@shop/online", {"online": False})["agents"][1]["online"] is False
    assert [push.name for push in world.pushes()] == ["kf_create_session", "kf_switch_session", "kf_close_session"]


def test_staff_is_shown_and_switched_off(control: Any, desk: Desk, world: World, openid: str):
    """The queue and the end of the record are shown; without the customer service the interface answers 65400."""
    staff.hand_over(world, desk.account, openid, {"MsgType": "transfer_customer_service"}, {}, world.now())
    shown = control("GET", "/staff", records="0", appid=desk.account.appid)
    assert (shown["enabled"], shown["waiting"], shown["records"]) == (
        True,
        [{"openid": openid, "since": world.now()}],
        [],
    )
    assert control("POST", "/staff", {"enabled": False})["enabled"] is False
    assert desk.get("/cgi-bin/customservice/getkflist")["errcode"] == 65400


def test_an_invitation_can_be_refused_and_runs_out(control: Any, desk: Desk, world: World, openid: str):
    """A refused invitation binds nobody; one that nobody answered is over after its time."""
    world.policy = attrs.evolve(world.policy, kf_invite_delay=None)
    body = {"kf_account": "a@shop", "invite_wx": world.person_of(desk.account.users[openid]).wechat_id}
    desk.post("/customservice/kfaccount/add", body | {"nickname": "n"})
    desk.post("/customservice/kfaccount/inviteworker", body)
    (agent,) = control("POST", "/staff/a@shop/invitation", {"accept": False})["agents"]
    assert (agent["invitation"], agent["wx"]) == ("rejected", "")
    desk.post("/customservice/kfaccount/inviteworker", body)
    world.advance(8 * 86_400)
    assert control("GET", "/staff")["agents"][0]["invitation"] == "expired"
    control("POST", "/staff/a@shop/invitation", {}, status=400)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/staff/nobody@shop/online", {}),
        ("/staff/nobody@shop/invitation", {}),
        ("/staff", {"enabled": 1}),
        ("/sessions/{openid}/say", {"text": "x"}),
        ("/sessions/{openid}/say", {}),
        ("/sessions/{openid}/switch", {"kf_account": "a@shop"}),
        ("/sessions/{openid}/close", {}),
        ("/autoreply", {"rules": []}),
        ("/autoreply", {"rules": {}, "appid": "wxnobody"}),
    ],
)
def test_staff_that_cannot_be(control: Any, openid: str, path: str, body: Any):
    """Unknown agents, users in no session, rules that are none: a sentence says so."""
    assert control("POST", path.format(openid=openid), body, status=400)["error"]


def test_automatic_replies(control: Any, desk: Desk):
    """The rules of the console are what the interface shows."""
    rules = {"message_default_autoreply_info": {"type": "text", "content": "在的"}}
    assert control("POST", "/autoreply", {"rules": rules}) == {"rules": rules} == control("GET", "/autoreply")
    answer = desk.get("/cgi-bin/get_current_autoreply_info")
    assert (answer["is_autoreply_open"], answer["is_add_friend_reply_open"]) == (1, 0)
    assert answer["message_default_autoreply_info"]["content"] == "在的"


def test_passwords_and_permissions(control: Any, desk: Desk, world: World, openid: str):
    """A user changes the password, and withdraws what pages were allowed."""
    desk.account.refresh_tokens["r"] = OAuthGrant(openid, "snsapi_base", world.now() + 60)
    control("POST", f"/users/{openid}/change_password", {})
    assert desk.account.refresh_tokens["r"].revoked
    control("POST", f"/users/{openid}/revoke_authorization", {"info": "206"})
    assert world.pushes()[-1].fields["RevokeInfo"] == "206"
    assert desk.account.refresh_tokens == {}
