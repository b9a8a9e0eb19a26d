"""Pushing to a developer's server over real sockets: the address check, the three modes, deliveries, answers."""

from __future__ import annotations

import json
import threading
import time

import attrs
import pytest

from tests.simulator.conftest import Desk
from tests.simulator.developer import (
    AES_KEY,
    OTHER_KEY,
    TOKEN,
    decrypt,
    encrypt,
    envelope,
    sha1,
    text_reply,
    xml_fields,
)
from wxmp.simulator import AddressCheckError, CallbackError, Clock, Policy, Simulator, World, WorldError

NOTICE = "该公众号提供的服务出现故障，请稍后再试"


@pytest.fixture
def hasty(world):
    """Half a second instead of five for the developer's server: for tests where it stays silent."""
    world.policy = attrs.evolve(world.policy, callback_seconds=0.5)


@pytest.fixture
def connect(simulator, developer):
    """Configure the developer's server."""

    def configure(**changes):
        settings = {"token": TOKEN, "encoding_aes_key": AES_KEY} | changes
        simulator.set_callback(settings.pop("url", developer.url), **settings)

    return configure


@pytest.fixture
def phone(simulator):
    """The phone of a follower."""
    (openid,) = simulator.world.create_followers(1)
    return simulator.phone(openid)


def lines(phone, *sources):
    """The chat in short."""
    return [(line.source, line.kind, line.content) for line in phone.chat if not sources or line.source in sources]


def check_signature(hit, token=TOKEN):
    query = hit.query
    assert query["signature"] == sha1(token, query["timestamp"], query["nonce"])
    if "msg_signature" in query:
        assert query["encrypt_type"] == "aes"
        encrypted = hit.fields["Encrypt"]
        assert query["msg_signature"] == sha1(token, query["timestamp"], query["nonce"], encrypted)


# --- the address check ------------------------------------------------------------------------------------------------


def test_address_check(simulator, developer, connect):
    """The platform asks with a signature of the token and real time; the echo puts the settings in force."""
    connect()
    (check,) = developer.checks
    check_signature(check)
    assert set(check.query) == {"signature", "timestamp", "nonce", "echostr"}
    assert abs(int(check.query["timestamp"]) - time.time()) < 60
    account = simulator.account
    assert (account.callback_enabled, account.callback_url) == (True, developer.url)
    assert (account.callback_mode, account.callback_format) == ("safe", "xml")
    assert simulator.journal[-1].why == "address check: ok"
    assert TOKEN not in repr(account)
    assert AES_KEY not in repr(account)


@pytest.mark.parametrize(
    ("echo", "why"),
    [
        (lambda hit: hit.query["echostr"].encode() + b"\n", "more than the echostr"),
        (lambda hit: b'"' + hit.query["echostr"].encode() + b'"', "not the echostr"),
        (lambda hit: b"", "not the echostr"),
        (lambda hit: (403, hit.query["echostr"].encode()), "status 403"),
        (lambda hit: (302, b"", ("location", "/elsewhere")), "status 302"),
        (lambda hit: (None, b""), "connection failed"),
        (lambda hit: time.sleep(5) or hit.query["echostr"].encode(), "no answer within 0.5 s"),
    ],
    ids=["newline", "quotes", "empty", "403", "redirect", "reset", "slow"],
)
def test_failed_address_checks_change_nothing(world, simulator, developer, connect, echo, why):
    """Anything but exactly the echo within the time is refused with its reason, and the old settings stay."""
    connect()
    if "0.5 s" in why:
        world.policy = attrs.evolve(world.policy, callback_seconds=0.5)
    developer.echo = echo
    with pytest.raises(AddressCheckError, match=why):
        connect(token="another1", mode="compatible")
    assert (simulator.account.callback_token, simulator.account.callback_mode) == (TOKEN, "safe")
    assert why in simulator.journal[-1].why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"token": "ab"}, "3 to 32"),
        ({"token": "with-dash"}, "3 to 32"),
        ({"encoding_aes_key": AES_KEY[:-1]}, "43"),
        ({"encoding_aes_key": None, "mode": "safe"}, "safe mode needs"),
        ({"encoding_aes_key": None, "mode": "compatible"}, "compatible mode needs"),
        ({"mode": "secret"}, "mode must be"),
        ({"format": "yaml"}, "format must be"),
        ({"url": "http://example.com/wx"}, "beyond this machine"),
        ({"url": "http://127.0.0.1.example.com/"}, "beyond this machine"),
        ({"url": "ftp://127.0.0.1/"}, "http or https"),
        ({"url": "http://[::1"}, "cannot be read"),
        ({"url": "http://user:pass@127.0.0.1/"}, "http or https"),
    ],
)
def test_settings_that_cannot_work(developer, connect, changes, why):
    """Impossible settings are refused before anything is asked of the address."""
    with pytest.raises(CallbackError, match=why):
        connect(**changes)
    assert developer.checks == []


def test_check_needs_a_running_simulator(world, developer):
    """Without a server nobody can ask; without the check the settings can be filled in all the same."""
    simulator = Simulator(world=world)
    with pytest.raises(RuntimeError, match="not started"):
        simulator.set_callback(developer.url, token=TOKEN)
    simulator.set_callback(developer.url, token=TOKEN, verify=False)
    assert (world.account.callback_enabled, world.account.callback_mode) == (True, "plain")


# --- what arrives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize("mode", ["plain", "compatible", "safe"])
def test_modes_and_formats(simulator, developer, connect, phone, mode, form):
    """A text arrives signed, in each mode and format, with the platform's fields and the world's time."""
    connect(mode=mode, format=form)
    phone.say("你好")
    assert simulator.wait_until_settled()
    (hit,) = developer.hits
    outer = xml_fields(hit.body) if form == "xml" else json.loads(hit.body)
    query = hit.query
    assert query["signature"] == sha1(TOKEN, query["timestamp"], query["nonce"])
    assert query["openid"] == phone.openid
    assert abs(int(query["timestamp"]) - time.time()) < 60
    if mode == "plain":
        assert set(query) == {"signature", "timestamp", "nonce", "openid"}
        inner = outer
    else:
        assert query["encrypt_type"] == "aes"
        assert query["msg_signature"] == sha1(TOKEN, query["timestamp"], query["nonce"], outer["Encrypt"])
        raw, appid = decrypt(AES_KEY, outer["Encrypt"])
        assert appid == simulator.account.appid
        inner = xml_fields(raw) if form == "xml" else json.loads(raw)
    if mode == "safe":
        assert set(outer) == {"ToUserName", "Encrypt"}
    if mode == "compatible":
        assert {name: value for name, value in outer.items() if name != "Encrypt"} == inner
    now = int(simulator.world.now())
    number = str if form == "xml" else int
    assert inner == {
        "ToUserName": simulator.account.original_id,
        "FromUserName": phone.openid,
        "CreateTime": number(now),
        "MsgType": "text",
        "Content": "你好",
        "MsgId": inner["MsgId"],
    }
    assert isinstance(inner["MsgId"], number)
    assert hit.headers["content-type"] == ("text/xml" if form == "xml" else "application/json")


def test_own_query_of_the_address_is_kept(simulator, developer, connect, phone):
    """An address with parameters of its own keeps them."""
    connect(url=f"{developer.url}?tenant=7")
    phone.say("x")
    assert simulator.wait_until_settled()
    assert developer.hits[0].query["tenant"] == "7"
    check_signature(developer.hits[0])


def test_world_time_in_the_query(simulator, developer, connect, phone):
    """By policy the timestamp of the query is the world's too."""
    simulator.world.policy = attrs.evolve(simulator.world.policy, callback_timestamp="world")
    connect()
    phone.say("x")
    assert simulator.wait_until_settled()
    assert developer.hits[0].query["timestamp"] == str(int(simulator.world.now()))


def test_same_seed_same_pushes(developer):
    """The same seed and the same acts give the same bytes, noise and nonces included."""
    policy = Policy(callback_timestamp="world")
    bodies = []
    for _ in range(2):
        developer.hits.clear()
        with Simulator(policy=policy, clock=Clock.frozen(), seed=5, followers=1) as simulator:
            simulator.set_callback(developer.url, token=TOKEN, encoding_aes_key=AES_KEY)
            phone = simulator.phone(next(iter(simulator.account.users)))
            phone.say("one")
            phone.say("two")
            assert simulator.wait_until_settled()
        bodies.append([(hit.body, hit.query) for hit in developer.hits])
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) == 2


# --- deliveries -------------------------------------------------------------------------------------------------------


def test_hanging_server_is_asked_three_times(hasty, simulator, developer, connect, phone):
    """Each delivery gets its seconds, the next follows at once with fresh proof, and the user sees the grey line."""
    connect()
    developer.answer = developer.hang
    phone.say("hello?")
    assert simulator.wait_until_settled()
    deadline = time.monotonic() + 20
    while len(developer.hits) < 3 and time.monotonic() < deadline:  # the developer may be the last to notice
        time.sleep(0.01)
    assert len(developer.hits) == 3
    opened = [hit.opened() for hit in developer.hits]
    assert opened[0] == opened[1] == opened[2]
    for name in ("nonce", "msg_signature"):
        assert len({hit.query[name] for hit in developer.hits}) == 3
    assert len({hit.body for hit in developer.hits}) == 3
    attempts = simulator.deliveries(phone.openid)
    assert [(a.number, a.verdict, a.status) for a in attempts] == [(n, "broken", None) for n in (1, 2, 3)]
    assert all(0.5 <= a.seconds < 5.0 for a in attempts)
    assert lines(phone, "system") == [("system", "notice", NOTICE)]
    assert phone.chat[-1].note == "no answer within 0.5 s (delivery 3)"
    assert simulator.world.pushes()[0].state == "failed"


def test_slow_body_counts_against_the_same_seconds(hasty, simulator, developer, connect, phone):
    """A head in time does not help when the body is late."""
    connect()
    developer.answer = lambda hit: (200, b"", ("content-length", "7"))  # seven bytes are promised and none comes
    phone.say("x")
    assert simulator.wait_until_settled()
    assert {a.verdict for a in simulator.deliveries()} == {"broken"}


def test_later_delivery_may_succeed(simulator, developer, connect, phone):
    """A server that answers the third time has answered; the user sees that reply and no grey line."""
    connect(mode="plain")
    answers = iter([(500, b"oops"), (None, b"")])
    developer.answer = lambda hit: next(answers, None) or text_reply(hit.fields, "third")
    phone.say("x")
    assert simulator.wait_until_settled()
    assert [a.verdict for a in simulator.deliveries()] == ["broken", "broken", "shown"]
    assert lines(phone, "reply", "system") == [("reply", "text", "third")]
    assert simulator.world.pushes()[0].state == "delivered"


def test_nobody_listens(simulator, developer, connect, phone):
    """A refused connection is a failed delivery: three of them, and the grey line."""
    connect()
    developer.server.shutdown()
    developer.server.server_close()
    phone.say("x")
    assert simulator.wait_until_settled()
    assert [a.why for a in simulator.deliveries()] == ["the connection failed (ConnectError)"] * 3
    assert lines(phone, "system") == [("system", "notice", NOTICE)]


def test_redirects_are_not_followed(simulator, developer, connect, phone):
    """A redirect is a failed delivery."""
    connect()
    developer.answer = lambda hit: (307, b"", ("location", developer.url))
    phone.say("x")
    assert simulator.wait_until_settled()
    assert [a.status for a in simulator.deliveries()] == [307] * 3


def test_events_show_no_grey_line_except_menu_clicks(simulator, developer, connect, phone, desk):
    """A failed event is silent for the user, a failed click is not."""
    menu = [{"type": "click", "name": "c", "key": "C"}, {"type": "view", "name": "v", "url": "https://a.example/"}]
    desk.post("/cgi-bin/menu/create", {"button": menu})
    connect()
    developer.answer = lambda hit: (500, b"")
    phone.tap("v")
    phone.unfollow()
    phone.follow()
    assert simulator.wait_until_settled()
    assert lines(phone, "system") == []
    phone.tap("C")
    assert simulator.wait_until_settled()
    assert lines(phone, "system") == [("system", "notice", NOTICE)]


def test_order_per_user_and_concurrency_between_users(simulator, developer, connect):
    """One user's pushes wait for each other; another user's do not."""
    connect()
    first, second = (simulator.phone(openid) for openid in simulator.world.create_followers(2))
    developer.answer = lambda hit: developer.hang(hit) if hit.opened()["Content"] == "slow" else b"success"
    first.say("slow")
    first.say("after")
    second.say("fast")
    assert simulator.wait_for(lambda world: len(world.deliveries(second.openid)) == 1)
    assert {hit.opened()["Content"] for hit in developer.hits} == {"slow", "fast"}
    developer.release.set()
    assert simulator.wait_until_settled()
    assert developer.hits[-1].opened()["Content"] == "after"


@pytest.mark.parametrize(("order", "together"), [("none", 2), ("account", 1), ("user", 1)])
def test_order_is_a_matter_of_policy(simulator, developer, connect, phone, order, together):
    """Pushes of one user may also be delivered at the same time."""
    simulator.world.policy = attrs.evolve(simulator.world.policy, callback_order=order)
    connect()
    inside, most, both = [], [0], threading.Barrier(2)

    def answer(hit):
        inside.append(hit)
        most[0] = max(most[0], len(inside))
        if together == 2:
            both.wait(5)
        inside.remove(hit)
        return b"success"

    developer.answer = answer
    phone.say("1")
    phone.say("2")
    assert simulator.wait_until_settled()
    assert most[0] == together


def test_number_at_once_is_bounded(simulator, developer, connect):
    """No more pushes are on their way at once than the policy allows, and all arrive."""
    simulator.world.policy = attrs.evolve(simulator.world.policy, callback_concurrency=3)
    connect()
    lock, now, most = threading.Lock(), [0], [0]
    three = threading.Barrier(3)

    def answer(hit):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        three.wait(4)
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return b"success"

    developer.answer = answer
    for openid in simulator.world.create_followers(12):
        simulator.phone(openid).say("x")
    assert simulator.wait_until_settled()
    assert (len(developer.hits), most[0]) == (12, 3)


def test_queue_is_bounded(world):
    """With nobody to carry them, pushes wait up to a number; later ones are dropped and say so."""
    world.policy = attrs.evolve(world.policy, callback_queue=2)
    world.set_callback("http://127.0.0.1:9/wx", token=TOKEN)
    (openid,) = world.create_followers(1)
    for text in "abc":
        world.user_writes(openid, text)
    assert [push.state for push in world.pushes()] == ["waiting", "waiting", "dropped"]
    assert not world.settled


def test_without_an_address_nothing_is_delivered(simulator, developer, connect, phone):
    """Pushes are kept for the record only, before the address is set and after it is switched off."""
    phone.say("before")
    connect()
    phone.say("during")
    assert simulator.wait_until_settled()
    simulator.world.stop_callback()
    phone.say("after")
    assert simulator.wait_until_settled()
    assert [push.state for push in simulator.world.pushes()] == ["kept", "delivered", "kept"]
    assert [hit.opened()["Content"] for hit in developer.hits] == ["during"]


def test_restarted_server_delivers_what_was_left(world, developer):
    """A delivery cut off by the end of the simulator begins again with the next start."""
    world.set_callback(developer.url, token=TOKEN, encoding_aes_key=AES_KEY)
    (openid,) = world.create_followers(1)
    developer.answer = developer.hang
    simulator = Simulator(world=world)
    with simulator:
        world.user_writes(openid, "x")
        assert developer.arrived.wait(5)
    assert world.pushes()[0].state == "waiting"
    developer.answer = lambda hit: b"success"
    with simulator:
        assert simulator.wait_until_settled()
    assert [a.verdict for a in world.deliveries()] == ["silent"]


def test_reset_forgets_deliveries(simulator, developer, connect, phone):
    """After a reset nothing is on its way, and an answer that still comes changes nothing."""
    connect()
    developer.answer = developer.hang
    phone.say("x")
    assert simulator.wait_for(lambda world: world.pushes()[0].state == "flying")
    simulator.reset()
    developer.release.set()
    assert simulator.world.settled
    assert simulator.deliveries() == []
    assert not simulator.account.callback_enabled


def test_snapshot_holds_settings_chat_and_queue(world, developer):
    """A snapshot brings the settings, the chats and the undelivered pushes back."""
    world.set_callback(developer.url, token=TOKEN, encoding_aes_key=AES_KEY, format="json")
    (openid,) = world.create_followers(1)
    world.user_writes(openid, "hello")
    document = json.loads(json.dumps(world.snapshot()))
    other = World(seed=99)
    other.restore(document)
    assert [line.content for line in other.chat(openid)] == ["hello"]
    assert not other.settled
    with Simulator(world=other) as simulator:
        assert simulator.wait_until_settled()
    assert json.loads(decrypt(AES_KEY, json.loads(developer.hits[0].body)["Encrypt"])[0])["Content"] == "hello"


def test_due_events_fire_by_themselves(developer):
    """The report after a template message comes without anybody asking for anything."""
    with Simulator(policy=Policy(template_delay=(0.1, 0.1)), followers=1) as simulator:
        simulator.set_callback(developer.url, token=TOKEN, mode="plain")
        (openid,) = simulator.account.users
        template_id = simulator.world.add_template("t", "{{thing1.DATA}}")
        body = {"touser": openid, "template_id": template_id, "data": {"thing1": {"value": "好"}}}
        msgid = Desk(simulator.world).post("/cgi-bin/message/template/send", body)["msgid"]
        assert simulator.wait_for(lambda world: bool(world.deliveries()))
        (hit,) = developer.hits
        assert (hit.fields["Event"], hit.fields["MsgID"]) == ("TEMPLATESENDJOBFINISH", str(msgid))
        assert hit.fields["Status"] == "success"


# --- answers ----------------------------------------------------------------------------------------------------------


def test_reply_in_safe_mode_is_shown(simulator, developer, connect, phone):
    """An encrypted reply is opened, checked, shown, and journalled decrypted."""
    connect()
    developer.answer = lambda hit: envelope(text_reply(hit.opened(), "收到"), simulator.account.appid)
    phone.say("在吗")
    assert simulator.wait_until_settled()
    assert lines(phone) == [("user", "text", "在吗"), ("reply", "text", "收到")]
    assert {line.push for line in phone.chat} == {simulator.world.pushes()[0].id}
    exchange = simulator.journal[-1]
    assert (exchange.direction, exchange.attempt, exchange.mode, exchange.status) == ("out", 1, "safe", 200)
    assert "在吗" in exchange.request_body
    assert "收到" in exchange.response_body
    assert exchange.why == "shown: a text reply"
    assert exchange.query["msg_signature"].startswith("***")


def reply_of(simulator, hit, **changes):
    return envelope(text_reply(hit.opened()), simulator.account.appid, **changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"token": "anotherToken"}, "MsgSignature"),
        ({"key": OTHER_KEY}, "cannot be decrypted"),
        ({"TimeStamp": "1790000001"}, "MsgSignature"),
        ({"Nonce": ""}, "no Nonce"),
        ({"MsgSignature": ""}, "no MsgSignature"),
        ({"MsgSignature": "你"}, "MsgSignature"),
    ],
)
def test_broken_envelopes(simulator, developer, connect, phone, changes, why):
    """A wrong key, signature or field makes the reply broken; the grey line says which."""
    connect()
    developer.answer = lambda hit: reply_of(simulator, hit, **changes)
    phone.say("x")
    assert simulator.wait_until_settled()
    assert lines(phone, "reply", "system") == [("system", "notice", NOTICE)]
    assert why in phone.chat[-1].note
    assert len(developer.hits) == 1


@pytest.mark.parametrize(
    ("mode", "sealed", "verdict"),
    [
        ("plain", False, "shown"),
        ("plain", True, "broken"),
        ("compatible", False, "shown"),
        ("compatible", True, "shown"),
        ("safe", False, "broken"),
        ("safe", True, "shown"),
    ],
)
def test_reply_form_and_mode(simulator, developer, connect, phone, mode, sealed, verdict):
    """Safe mode wants the envelope, plain mode the plain reply, compatible mode takes either."""
    connect(mode=mode)

    def answer(hit):
        plain = text_reply({"FromUserName": phone.openid, "ToUserName": simulator.account.original_id})
        return envelope(plain, simulator.account.appid) if sealed else plain

    developer.answer = answer
    phone.say("x")
    assert simulator.wait_until_settled()
    assert [a.verdict for a in simulator.deliveries()] == [verdict]


def test_encrypted_json_reply(simulator, developer, connect, phone):
    """In a JSON account the envelope and the reply are JSON, its TimeStamp a number."""
    connect(format="json")

    def answer(hit):
        push = json.loads(decrypt(AES_KEY, json.loads(hit.body)["Encrypt"])[0])
        reply = {
            "ToUserName": push["FromUserName"],
            "FromUserName": push["ToUserName"],
            "CreateTime": 1790000000,
            "MsgType": "text",
            "Content": "好",
        }
        sealed = encrypt(AES_KEY, json.dumps(reply).encode(), simulator.account.appid)
        signed = sha1(TOKEN, "1790000000", "n", sealed)
        return json.dumps({"Encrypt": sealed, "MsgSignature": signed, "TimeStamp": 1790000000, "Nonce": "n"}).encode()

    developer.answer = answer
    phone.say("x")
    assert simulator.wait_until_settled()
    assert lines(phone, "reply") == [("reply", "text", "好")]


def test_reply_to_an_event_that_takes_none(simulator, developer, connect, phone):
    """A reply to an unsubscribe reaches nobody; a reply to a subscribe is shown."""
    connect(mode="plain")
    developer.answer = lambda hit: text_reply(hit.fields, hit.fields["Event"])
    phone.unfollow()
    phone.follow()
    assert simulator.wait_until_settled()
    assert [a.verdict for a in simulator.deliveries()] == ["not_shown", "shown"]
    assert lines(phone, "reply") == [("reply", "text", "subscribe")]


def test_handing_over_is_recorded(simulator, developer, connect, phone):
    """A message handed to the agents leaves a line of the platform."""
    connect(mode="plain")
    developer.answer = lambda hit: text_reply(hit.fields, "", MsgType="transfer_customer_service")
    phone.say("help")
    assert simulator.wait_until_settled()
    assert phone.chat[-1].source == "system"
    assert phone.chat[-1].kind == "transfer_customer_service"


def test_key_change(simulator, developer, connect, phone):
    """After a change of token and key, replies under the previous pair are still taken, for a while."""
    connect()
    connect(token="newToken1", encoding_aes_key=OTHER_KEY)
    account = simulator.account
    assert (account.previous_callback_token, account.previous_encoding_aes_key) == (TOKEN, AES_KEY)

    def old_pair(hit):
        check_signature(hit, "newToken1")
        return envelope(text_reply(hit.opened(OTHER_KEY)), account.appid)

    developer.answer = old_pair
    phone.say("x")
    assert simulator.wait_until_settled()
    simulator.advance(simulator.world.policy.callback_key_overlap + 1)
    phone.say("y")
    assert simulator.wait_until_settled()
    assert [a.verdict for a in simulator.deliveries()] == ["shown", "broken"]


def test_custom_and_template_messages_are_in_the_chat(desk):
    """What is sent through the interfaces is in the chat too; a blocked template is not."""
    world = desk.world
    (openid,) = world.create_followers(1)
    phone = world.phone(openid)
    phone.say("hi")
    desk.post("/cgi-bin/message/custom/send", {"touser": openid, "msgtype": "text", "text": {"content": "客服"}})
    template_id = world.add_template("到货通知", "{{thing1.DATA}}")
    body = {"touser": openid, "template_id": template_id, "data": {"thing1": {"value": "好"}}}
    desk.post("/cgi-bin/message/template/send", body)
    world.account.users[openid].blocks_templates = True
    desk.post("/cgi-bin/message/template/send", body)
    assert lines(phone) == [
        ("user", "text", "hi"),
        ("custom", "text", "客服"),
        ("template", "template", "到货通知"),
    ]


def test_chat_and_deliveries_are_bounded(world, simulator, developer, connect, phone):
    """Chats and attempts forget their oldest entries."""
    world.policy = attrs.evolve(world.policy, chat_kept=3, deliveries_kept=2)
    connect()
    for number in range(4):
        phone.say(str(number))
    assert simulator.wait_until_settled()
    assert [line.content for line in phone.chat] == ["1", "2", "3"]
    assert [a.id for a in simulator.deliveries()] == [3, 4]
    assert [a.id for a in simulator.deliveries(since=3)] == [4]


def test_unknown_user_has_no_phone(world):
    """A phone belongs to somebody the account knows."""
    with pytest.raises(WorldError, match="no such user"):
        world.phone("oNobody")


def test_no_address_with_signatures_in_any_log(simulator, developer, connect, phone, caplog):
    """Even at the lowest level nothing of a push is logged: its address would be a bearer value."""
    with caplog.at_level("DEBUG"):
        connect()
        developer.answer = lambda hit: (500, b"")
        phone.say("hello there")
        assert simulator.wait_until_settled()
    assert caplog.records
    for secret in ("signature=", phone.openid, TOKEN, AES_KEY, "hello there", developer.hits[0].query["msg_signature"]):
        assert secret not in caplog.text


def test_huge_answers_are_cut(simulator, developer, connect, phone):
    """An answer beyond all measure is broken and not read to its end."""
    connect()
    developer.answer = lambda hit: b"x" * (8 << 20)
    phone.say("x")
    assert simulator.wait_until_settled()
    (attempt,) = simulator.deliveries()
    assert attempt.why == "the body has more than 65536 bytes"
