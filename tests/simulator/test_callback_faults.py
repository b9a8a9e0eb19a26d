"""Bad days on the way to the developer's server: doubled, late, overtaken, forged, replayed pushes, lost answers."""

from __future__ import annotations

import pytest

from tests.simulator.developer import AES_KEY, OTHER_KEY, TOKEN, decrypt, envelope, sha1, text_reply

APPID = "wx00000000000000aa"


@pytest.fixture
def phone(simulator, developer):
    """The phone of a follower of an account whose server is configured in safe mode."""
    simulator.set_callback(developer.url, token=TOKEN, encoding_aes_key=AES_KEY)
    (openid,) = simulator.world.create_followers(1)
    return simulator.phone(openid)


def honest(hit):
    """Answer as a server does that checks token, AppID and age, but remembers nothing."""
    query = hit.query
    if query["msg_signature"] != sha1(TOKEN, query["timestamp"], query["nonce"], hit.fields["Encrypt"]):
        return (403, b"refused\n")
    return b"success"


def contents(developer):
    return [hit.opened().get("Content") for hit in developer.hits]


def test_lost_answer(simulator, developer, phone):
    """The server did its work, but the platform never hears of it and delivers again."""
    rule = simulator.fault("push_lost_answer", times=2)
    developer.answer = lambda hit: envelope(text_reply(hit.opened()), simulator.account.appid)
    phone.say("x")
    assert simulator.wait_until_settled()
    assert [(a.number, a.verdict, a.fault) for a in simulator.deliveries()] == [
        (1, "broken", rule.label),
        (2, "broken", rule.label),
        (3, "shown", ""),
    ]
    assert [line.kind for line in phone.chat if line.source != "user"] == ["text"]


def test_twice(simulator, developer, phone):
    """The same push arrives twice, with proof of its own each time; the user sees one reply."""
    simulator.fault("push_twice", times=1)
    developer.answer = lambda hit: envelope(text_reply(hit.opened()), simulator.account.appid)
    phone.say("x")
    phone.say("y")
    assert simulator.wait_until_settled()
    assert sorted(contents(developer)) == ["x", "x", "y"]
    assert len({hit.query["nonce"] for hit in developer.hits}) == 3
    assert len([line for line in phone.chat if line.source == "reply"]) == 2
    assert [push.state for push in simulator.world.pushes()] == ["delivered"] * 2


def test_late(simulator, developer, phone):
    """A late push comes after its simulated seconds, and others of the user do not wait for it."""
    simulator.fault("push_late", event="text", times=1, seconds=60.0)
    phone.say("x")
    assert simulator.world.pushes()[0].state == "held"
    phone.say("y")
    assert simulator.wait_until_settled()
    simulator.advance(60)
    assert simulator.wait_until_settled()
    assert contents(developer) == ["y", "x"]
    first, second = (hit.opened() for hit in developer.hits)
    assert first["CreateTime"] == second["CreateTime"]


def test_reordered(simulator, developer, phone):
    """An unfollow overtakes a message."""
    simulator.fault("push_reordered", event="text", times=1)
    phone.say("x")
    phone.unfollow()
    assert simulator.wait_until_settled()
    assert [hit.opened()["MsgType"] for hit in developer.hits] == ["event", "text"]
    assert simulator.world.state.events == []


def test_reordered_with_nothing_behind(simulator, developer, phone):
    """With nothing to be overtaken by, the push comes after a few seconds all the same."""
    simulator.fault("push_reordered")
    phone.say("x")
    simulator.advance(5)
    assert simulator.wait_until_settled()
    assert contents(developer) == ["x"]


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ("push_wrong_signature", "a wrong signature"),
        ("push_wrong_appid", "another account's AppID"),
        ("push_stale", "an old timestamp"),
        ("push_replayed", "sent before"),
    ],
)
@pytest.mark.parametrize(("status", "verdict"), [(403, "refused"), (200, "accepted")])
def test_forged_pushes_come_beside_the_real_one(simulator, developer, phone, effect, words, status, verdict, caplog):
    """A forged copy is no delivery: refusing it is right, taking it is a hole that is told; the real push comes too."""
    rule = simulator.fault(effect, times=1)
    place = 1 if effect == "push_replayed" else 0
    developer.answer = lambda hit: (status if len(developer.hits) - 1 == place else 200, b"")
    phone.say("x")
    assert simulator.wait_until_settled()
    attempts = simulator.deliveries()
    forged = attempts.pop(place)
    assert (forged.number, forged.verdict, forged.fault, forged.reply) == (0, verdict, rule.label, None)
    assert words in forged.why
    assert [(a.number, a.verdict) for a in attempts] == [(1, "silent")]
    assert ("hole" in caplog.text) == (verdict == "accepted")
    assert [line.source for line in phone.chat] == ["user"]
    caplog.clear()


def test_what_is_wrong_with_the_forgeries(simulator, developer, phone):
    """Each forgery is right in everything but the one thing."""
    for effect in ("push_wrong_signature", "push_wrong_appid", "push_stale", "push_replayed"):
        simulator.fault(effect)
    phone.say("x")
    assert simulator.wait_until_settled()
    wrong_signature, wrong_appid, stale, real, replay = developer.hits

    def signed(hit):
        query = hit.query
        return query["msg_signature"] == sha1(TOKEN, query["timestamp"], query["nonce"], hit.fields["Encrypt"])

    def appid(hit):
        return decrypt(AES_KEY, hit.fields["Encrypt"])[1]

    own = simulator.account.appid
    assert [signed(hit) for hit in developer.hits] == [False, True, True, True, True]
    assert [appid(hit) == own for hit in developer.hits] == [True, False, True, True, True]
    assert len(appid(wrong_appid)) == len(own)
    assert int(real.query["timestamp"]) - int(stale.query["timestamp"]) >= 3599
    assert (replay.query, replay.body) == (real.query, real.body)
    assert wrong_signature.opened() == real.opened()


def test_wrong_appid_needs_a_cipher(simulator, developer, phone):
    """In plain mode there is no AppID to forge: the push comes alone."""
    simulator.set_callback(developer.url, token=TOKEN, mode="plain")
    simulator.fault("push_wrong_appid")
    phone.say("x")
    assert simulator.wait_until_settled()
    assert len(developer.hits) == 1


def test_previous_key(simulator, developer, phone):
    """After a change of keys a push may still come under the previous pair, and be answered under it."""
    simulator.fault("push_previous_key", times=1)
    simulator.set_callback(developer.url, token="newToken1", encoding_aes_key=OTHER_KEY)
    developer.answer = lambda hit: envelope(text_reply(hit.opened()), simulator.account.appid)
    phone.say("x")
    assert simulator.wait_until_settled()
    (attempt,) = simulator.deliveries()
    assert (attempt.verdict, attempt.fault) == ("shown", "#1 push_previous_key")
    assert honest(developer.hits[0]) == b"success"


def test_conditions(simulator, developer, phone):
    """Rules match by user, event, account and path, and count like all others."""
    (other,) = simulator.world.create_followers(1)
    rules = [
        simulator.fault("push_replayed", openid=other),
        simulator.fault("push_replayed", event="CLICK"),
        simulator.fault("push_replayed", appid=APPID),
        simulator.fault("push_replayed", "/elsewhere"),
        simulator.fault("push_replayed", "/w*", event="te*", nth=2),
    ]
    for text in "abc":
        phone.say(text)
    assert simulator.wait_until_settled()
    assert contents(developer) == ["a", "b", "b", "c"]
    assert [rule.hits for rule in rules] == [0, 0, 0, 0, 1]


def test_push_rules_leave_requests_alone(simulator, desk, phone):
    """A rule about pushes strikes no request of a client, and conditions of pushes are refused elsewhere."""
    rule = simulator.fault("push_lost_answer")
    assert "access_token" in desk.stable()
    assert rule.seen == 0
    with pytest.raises(ValueError, match="pushes only"):
        simulator.fault("busy", event="CLICK")


def test_once_for_every_push_even_with_retries(simulator, developer, phone):
    """A forged copy comes once per push, however often the push is delivered."""
    simulator.fault("push_wrong_signature")
    developer.answer = lambda hit: (500, b"")
    phone.say("x")
    assert simulator.wait_until_settled()
    assert [a.number for a in simulator.deliveries()] == [0, 1, 2, 3]


def test_switched_off_in_mid_flight(simulator, developer, phone):
    """When the address is switched off, a delivery on its way ends there."""
    developer.answer = lambda hit: (500, developer.hang(hit))
    phone.say("x")
    assert developer.arrived.wait(5)
    simulator.world.stop_callback()
    developer.release.set()
    assert simulator.wait_until_settled()
    assert len(developer.hits) == 1
    assert simulator.world.pushes()[0].state == "failed"


def test_bug_in_a_push_does_not_loop(simulator, developer, phone, caplog):
    """A push that cannot be written fails once and is told; the next one of the user goes its way."""
    simulator.set_callback(developer.url, token=TOKEN, mode="plain", format="json")
    phone.push({"Event": "debug_demo", "odd": {1, 2}})
    phone.say("x")
    assert simulator.wait_until_settled()
    assert [push.state for push in simulator.world.pushes()] == ["failed", "delivered"]
    assert len(developer.hits) == 1
    assert simulator.wait_for(lambda _: "a delivery broke off" in caplog.text)
