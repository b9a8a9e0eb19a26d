"""The journal: what is kept of an exchange, in which form, and how much of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator.conftest import Desk
from tests.simulator.developer import AES_KEY, TOKEN, envelope, text_reply, xml_fields
from wxmp.simulator import Answer, Clock, Policy, World
from wxmp.simulator.callbacks import CallbackSettings
from wxmp.simulator.journal import Exchange, Journal, fingerprint, keep_body, mask_body, mask_query, show_exchange


def exchange(seq: int, body: str = "", **more: Any) -> Exchange:
    """Return a plain exchange."""
    fields: dict[str, Any] = {
        "method": "GET",
        "path": "/x",
        "query": {},
        "client": "",
        "client_ip": "",
        "appid": "",
        "status": 200,
        "errcode": 0,
        "why": "",
        "rid": "",
        "fault": "",
        "processed": True,
        "request_body": body,
        "response_body": "",
    }
    return Exchange(seq=seq, at=0.0, **(fields | more))


def fill(journal: Journal, count: int, body: str = "") -> None:
    """Add exchanges."""
    for _ in range(count):
        seq = journal.next_seq()
        journal.add(exchange(seq, body, rid=f"r{seq}"))


# --- bounds -------------------------------------------------------------------------------------------------------


def test_bounded_in_number():
    """The oldest exchanges go, and their rids with them."""
    journal = Journal(3)
    fill(journal, 5)
    assert [item.seq for item in journal] == [3, 4, 5]
    assert journal.by_rid("r2") is None
    assert journal.by_rid("r3") is journal[0]


def test_bounded_in_characters():
    """Large bodies push the oldest exchanges out, whatever their number."""
    journal = Journal(100, 1000)
    fill(journal, 10, "x" * 300)
    assert len(journal) == 3
    assert journal.characters == 900


def test_the_newest_stays_however_large():
    """One exchange over the bound is kept: somebody is just looking for it."""
    journal = Journal(100, 1000)
    fill(journal, 2, "x" * 5000)
    assert [item.seq for item in journal] == [2]


def test_clearing_counts_from_nothing():
    """After clearing, the characters are counted anew and the numbers go on."""
    journal = Journal(100, 1000)
    fill(journal, 2, "x" * 400)
    journal.clear()
    assert (journal.characters, len(journal), journal.first_seq, journal.next_seq()) == (0, 0, 3, 3)


def test_since_and_get():
    """Exchanges are found after a number and by their number, as long as they are kept."""
    journal = Journal(5)
    fill(journal, 8)
    assert [item.seq for item in journal.since(6)] == [7, 8]
    assert [item.seq for item in journal.since(0)] == [4, 5, 6, 7, 8]
    assert [item.seq for item in journal.since(0, 2)] == [4, 5]
    assert journal.since(99) == []
    assert journal.get(4) is journal[0]
    assert journal.get(3) is None


# --- bodies -------------------------------------------------------------------------------------------------------


def test_a_long_body_is_cut_and_says_so(make_desk):
    """A body over the limit is cut, with a flag; one below is whole, without."""
    desk = make_desk(journal_body=100)
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "x" * 200}})
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "y"}})
    long, short = desk.world.journal[-2], desk.world.journal[-1]
    assert (len(long.request_body), long.request_cut) == (100, True)
    assert (short.request_body, short.request_cut) == ('{"tag": {"name": "y"}}', False)


def test_useful_sizes_are_kept(desk: Desk):
    """A body of some kilobytes is kept whole by default."""
    body = {"tag": {"name": "好" * 3000}}
    desk.post("/cgi-bin/tags/create", body)
    assert json.loads(desk.world.journal[-1].request_body) == body


def test_files_are_kept_as_their_sizes():
    """Of a form the texts are kept, of its files the size."""
    form = (
        b'--b\r\nContent-Disposition: form-data; name="description"\r\n\r\nhello\r\n'
        b'--b\r\nContent-Disposition: form-data; name="media"; filename="a.jpg"\r\n\r\n\xff\xd8\xff\x00\x01'
        b"\r\n--b--\r\n"
    )
    text, cut = keep_body(form, 4096, "multipart/form-data; boundary=b")
    assert "hello" in text
    assert 'filename="a.jpg"' in text
    assert "<5 bytes>" in text
    assert "\ufffd" not in text
    assert not cut


@pytest.mark.parametrize(("body", "kind"), [(b"\xff\xd8\xff\xe0", "image/jpeg"), (b"a\0b", "application/json")])
def test_pictures_are_kept_as_their_sizes(body: bytes, kind: str):
    """What is no text is a number of bytes."""
    assert keep_body(body, 100, kind) == (f"<{len(body)} bytes>", False)


# --- masking ------------------------------------------------------------------------------------------------------

SECRET = "s3cret-value"


@pytest.mark.parametrize(
    "body",
    [
        f'{{"access_token": "{SECRET}"}}',
        f'{{"secret":"{SECRET}"}}',
        f'{{"EncodingAESKey": 1, "encoding_aes_key" : "{SECRET}"}}',
        f'{{"paySign": "{SECRET}"}}',
        f"<xml><sign><![CDATA[{SECRET}]]></sign></xml>",
        f"<xml><MsgSignature>{SECRET}</MsgSignature></xml>",
        f"grant_type=x&secret={SECRET}&y=1",
        f'{{"url": "https://api.weixin.qq.com/x?access_token={SECRET}&y=1"}}',
        f'--b\r\nContent-Disposition: form-data; name="access_token"\r\n\r\n{SECRET}\r\n--b--',
    ],
)
def test_secrets_are_masked_everywhere(body: str):
    """JSON, XML, forms and addresses inside texts: a fingerprint stands in place of every secret."""
    masked = mask_body(body.encode(), 4096)
    assert SECRET not in masked
    assert f"***{fingerprint(SECRET)}" in masked


def test_a_secret_at_the_limit_is_masked():
    """A secret that the limit cuts in two is masked before it is cut."""
    body = b'{"access_token": "' + SECRET.encode() * 20 + b'"}'
    for limit in range(len(body)):
        assert SECRET[:8] not in mask_body(body, limit)


def test_the_name_of_an_error_is_no_secret():
    """The pay errors have a field ``code`` too."""
    assert mask_body(b'{"code": "PARAM_ERROR"}', 100) == '{"code": "PARAM_ERROR"}'
    assert "***" in mask_body(b'{"code": "041xyz"}', 100)


def test_queries_are_masked():
    """Credentials in a query become fingerprints, the rest stays."""
    masked = mask_query({"access_token": SECRET, "type": "image", "paySign": SECRET})
    assert masked == {
        "access_token": f"***{fingerprint(SECRET)}",
        "type": "image",
        "paySign": f"***{fingerprint(SECRET)}",
    }


# --- reasons ------------------------------------------------------------------------------------------------------


def test_rules_are_short_and_stable(desk: Desk, world: World):
    """What decided has a name: of the rule, or of the fault."""
    token = desk.token()
    desk.use(token)
    world.kill_token()
    desk.use(token)
    desk.use("x")
    desk.get("/cgi-bin/no/such")
    world.fault("busy", "/cgi-bin/tags/get", times=1)
    desk.get("/cgi-bin/tags/get")
    desk.post("/cgi-bin/tags/create", {"tag": {"name": "x" * 99}})
    names = [item.rule for item in world.journal]
    wanted = ["ok", "token_replaced", "token_unknown", "path_unknown", "fault:busy", "errcode_45158"]
    assert [name for name in names if name in wanted][-6:] == wanted


def test_a_slow_answer_is_decided_by_its_own_rule(desk: Desk, world: World):
    """A fault that slows an answer down, or ends a token before, stands beside the rule and not in its place."""
    world.fault("latency", "/cgi-bin/getcallbackip", seconds=1)
    world.fault("token_killed", "/cgi-bin/getcallbackip", nth=2)
    token = desk.token()
    desk.use(token)
    desk.use(token)
    world.fault("quota", "/cgi-bin/getcallbackip")
    desk.use(token)
    assert [item.rule for item in world.journal][1:] == ["ok", "token_replaced", "fault:quota"]


def test_quota_before_and_after(desk: Desk, world: World):
    """A counted call shows the counter before and after it; one that is not counted shows none."""
    token = desk.token()
    desk.use(token)
    desk.use(token)
    desk.use("x")
    shown = [(item.quota_used, item.quota_limit) for item in world.journal][1:]
    limit = world.daily_limit(world.account, "/cgi-bin/getcallbackip")
    assert shown == [((0, 1), limit), ((1, 2), limit), (None, None)]


def test_caller_and_clock():
    """The label names the caller, else the address; the speed of the clock stands beside the time."""
    world = World(Policy(), Clock.scaled(60.0), seed=7)
    desk = Desk(world)
    desk.plain(client="worker-2")
    desk.plain(client_ip="10.0.0.9")
    assert [item.caller for item in world.journal] == ["worker-2", "10.0.0.9"]
    assert [item.speed for item in world.journal] == [60.0, 60.0]


# --- pushes -------------------------------------------------------------------------------------------------------


def push(world: World, answer: Any) -> Exchange:
    """Let a follower write, answer the push, and return what the journal says."""
    world.phone(world.create_followers(1)[0]).say("你好")
    for job in world.callbacks.take():
        while (outgoing := world.callbacks.next_request(job)) is not None:
            world.callbacks.answered(job, outgoing, Answer(200, answer(outgoing), "text/xml", 0.25))
    return world.journal[-1]


def test_a_sealed_push_is_kept_in_both_forms(world: World):
    """The journal holds the push and its reply, as they travelled and as they read."""
    world.set_callback("http://127.0.0.1:9/wx?a=1", token=TOKEN, encoding_aes_key=AES_KEY)
    found = push(world, lambda o: envelope(text_reply(xml_fields(o.inner), "收到"), world.account.appid))
    assert "你好" in found.request_body
    assert "你好" not in found.request_raw
    assert "<Encrypt>" in found.request_raw
    assert json.loads(found.response_body)["Content"] == "收到"
    assert "<Encrypt>" in found.response_raw
    assert (found.rule, found.caller, found.direction, found.mode) == ("push:shown", "platform", "out", "safe")
    assert found.host == "http://127.0.0.1:9"


def test_a_plain_push_has_one_form(world: World):
    """Where nothing is sealed there is no second form, except the reply as it was written."""
    world.set_callback("http://127.0.0.1:9/wx", token=TOKEN)
    found = push(world, lambda o: b"success")
    assert (found.request_raw, found.response_raw, found.response_body) == ("", "", "success")
    assert found.rule == "push:silent"


@pytest.mark.parametrize(("right", "rule"), [(True, "check:ok"), (False, "check:failed")])
def test_the_address_check_has_a_rule(world: World, right: bool, rule: str):
    """How the check of the address ended has a name of its own."""
    settings = CallbackSettings(url="http://127.0.0.1:9/wx", token=TOKEN, mode="plain")
    outgoing, echo = world.callbacks.check_request(settings)
    world.callbacks.checked(world.account, outgoing, Answer(200, echo if right else b"no"), echo)
    assert world.journal[-1].rule == rule


def test_no_key_in_the_journal(world: World):
    """Token and key of the callback, and every signature made with them, stay out."""
    world.set_callback("http://127.0.0.1:9/wx", token=TOKEN, encoding_aes_key=AES_KEY)
    signatures: list[str] = []

    def answer(outgoing: Any) -> bytes:
        signatures.extend((outgoing.query["signature"], outgoing.query["msg_signature"]))
        reply = envelope(text_reply(xml_fields(outgoing.inner)), world.account.appid)
        signatures.append(xml_fields(reply)["MsgSignature"])
        return reply

    text = json.dumps(show_exchange(push(world, answer), raw=True))
    assert not [secret for secret in (TOKEN, AES_KEY, *signatures) if secret in text]


# --- showing ------------------------------------------------------------------------------------------------------


def test_shown_bodies_can_be_cut():
    """A page gets the first characters and a flag; the encrypted forms only when it asks."""
    item = exchange(1, "x" * 500, request_raw="raw")
    assert show_exchange(item)["cut"] is False
    shown = show_exchange(item, body=400)
    assert (len(str(shown["request_body"])), shown["cut"]) == (400, True)
    assert "request_raw" not in shown
    assert show_exchange(item, raw=True)["request_raw"] == "raw"
    assert show_exchange(exchange(1, response_cut=True))["cut"] is True
