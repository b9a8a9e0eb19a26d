"""Access tokens: both channels, their death, and the order of checks."""

from __future__ import annotations

import re

import pytest


def test_plain_answer_has_no_errcode_and_looks_like_the_real_one(desk):
    """A success carries the token and its life; the token is a number, an underscore and 130 characters or more."""
    answer = desk.plain()
    assert set(answer) == {"access_token", "expires_in"}
    assert answer["expires_in"] == 7200
    assert re.fullmatch(r"\d\d_[A-Za-z0-9_-]{130,}", answer["access_token"])


def test_plain_fetch_retires_the_one_before_after_the_overlap(desk):
    """Old and new both work for five minutes, then the old one answers 40001."""
    old, new = desk.plain()["access_token"], desk.plain()["access_token"]
    assert old != new
    assert (desk.use(old), desk.use(new)) == (0, 0)
    desk.world.advance(299.9)
    assert desk.use(old) == 0
    desk.world.advance(0.2)
    assert (desk.use(old), desk.use(new)) == (40001, 0)


def test_third_plain_fetch_kills_the_first_at_once(desk):
    """Only two generations of the plain channel live at the same time."""
    first, second, third = (desk.plain()["access_token"] for _ in range(3))
    assert [desk.use(token) for token in (first, second, third)] == [40001, 0, 0]


def test_dead_token_journal_names_the_successor_and_its_caller(desk):
    """The journal says which token replaced the dead one, when and for whom."""
    old = desk.plain(client="worker-1")["access_token"]
    desk.plain(client="worker-2")
    desk.world.advance(301)
    desk.use(old)
    assert desk.world.journal[-1].why == "40001: token #1 (plain) replaced by #2 at 12:00:00 by worker-2"


def test_token_expires_with_42001(desk):
    """After its life a token answers 42001, not 40001."""
    token = desk.plain()["access_token"]
    desk.world.advance(7199.9)
    assert desk.use(token) == 0
    desk.world.advance(0.1)
    assert desk.use(token) == 42001


def test_overlap_never_outlives_the_token(desk):
    """A token replaced in its last minutes dies at the end of its life."""
    old = desk.plain()["access_token"]
    desk.world.advance(7100)
    desk.plain()
    desk.world.advance(100)
    assert desk.use(old) == 42001


def test_stable_returns_the_same_token_with_what_is_left(desk):
    """Normal mode returns the same token and counts its life down."""
    first = desk.stable()
    desk.world.advance(1000)
    second = desk.stable()
    assert second == {"access_token": first["access_token"], "expires_in": 6200}


def test_stable_rotates_in_the_last_five_minutes(desk):
    """With five minutes left a normal call mints the next token, and both work until the end of the old one."""
    old = desk.stable()["access_token"]
    desk.world.advance(6899)
    assert desk.stable()["access_token"] == old
    desk.world.advance(1)
    new = desk.stable()
    assert new["access_token"] != old
    assert new["expires_in"] == 7200
    assert (desk.use(old), desk.use(new["access_token"])) == (0, 0)
    desk.world.advance(300)
    assert (desk.use(old), desk.use(new["access_token"])) == (42001, 0)


def test_stable_never_announces_less_than_300_seconds(desk):
    """However the calls fall, expires_in stays between 300 and 7200."""
    for _ in range(200):
        assert 300 <= desk.stable()["expires_in"] <= 7200
        desk.world.advance(97)


def test_forced_refresh_kills_at_once(desk):
    """A forced refresh mints a new token and the old one answers 40001 immediately."""
    old = desk.stable()["access_token"]
    new = desk.stable(force=True)["access_token"]
    assert (desk.use(old), desk.use(new)) == (40001, 0)


def test_forced_refresh_within_30_seconds_does_not_refresh(desk):
    """A forced call too soon after the last one returns the current token."""
    first = desk.stable(force=True)["access_token"]
    desk.world.advance(29.9)
    assert desk.stable(force=True)["access_token"] == first
    desk.world.advance(0.1)
    assert desk.stable(force=True)["access_token"] != first


def test_twenty_first_forced_refresh_of_the_day_does_not_refresh(desk):
    """Twenty forced refreshes a day; the next one returns the current token, and midnight gives new ones."""
    tokens = []
    for _ in range(20):
        tokens.append(desk.stable(force=True)["access_token"])
        desk.world.advance(30)
    assert len(set(tokens)) == 20
    assert desk.stable(force=True)["access_token"] == tokens[-1]
    desk.world.advance(12 * 3600)
    assert desk.stable(force=True)["access_token"] not in tokens


def test_over_forced_answers_45009_by_policy(make_desk):
    """The policy can turn the 21st forced refresh into an error."""
    desk = make_desk(stable_over_forced="45009", stable_forced_per_day=1)
    desk.stable(force=True)
    desk.world.advance(31)
    assert desk.stable(force=True)["errcode"] == 45009


def test_force_refresh_must_be_a_true_boolean(desk):
    """Anything but true is normal mode."""
    first = desk.stable()["access_token"]
    assert desk.stable(force_refresh="true")["access_token"] == first


def test_channels_do_not_touch_each_other(desk):
    """Fetching on one channel, even three times or by force, leaves the token of the other alone."""
    plain, stable = desk.plain()["access_token"], desk.stable()["access_token"]
    desk.stable(force=True)
    assert desk.use(plain) == 0
    stable = desk.stable()["access_token"]
    for _ in range(3):
        desk.plain()
    assert desk.use(stable) == 0


def test_missing_and_unknown_tokens(desk):
    """No token is 41001, one that was never issued is 40014."""
    assert desk.use("") == 41001
    assert desk.use("66_nothing") == 40014


def test_token_of_another_account_sees_only_its_own_account(desk):
    """A token decides the account; naming another AppID in the body is refused."""
    other = desk.world.add_account()
    answer = desk.post("/cgi-bin/clear_quota", {"appid": other.appid})
    assert answer["errcode"] == 40013


def test_user_token_is_no_access_token(desk):
    """A token of the OAuth pages answers 40001 on the API."""
    openid = desk.world.create_followers(1)[0]
    target = {"appid": desk.account.appid, "redirect_uri": "http://localhost/x", "response_type": "code"}
    reply = desk.send("GET", "/connect/oauth2/authorize", target | {"scope": "snsapi_base", "user": openid})
    code = dict(reply.headers)["location"].split("code=")[1].split("&")[0]
    query = {"appid": desk.account.appid, "secret": desk.account.secret, "code": code}
    got = desk.send("GET", "/sns/oauth2/access_token", query | {"grant_type": "authorization_code"}).json()
    assert desk.use(got["access_token"]) == 40001


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"grant_type": "password"}, 40002),
        ({"grant_type": ""}, 40002),
        ({"appid": ""}, 41002),
        ({"secret": ""}, 41004),
        ({"appid": "wx0000000000000000"}, 40013),
        ({"secret": "wrong"}, 40125),
    ],
)
def test_wrong_requests_for_a_token(desk, changes, errcode):
    """Each mistake has its own code, on both channels."""
    assert desk.plain(**changes)["errcode"] == errcode
    assert desk.stable(**changes)["errcode"] == errcode


def test_wrong_secret_code_is_a_policy(make_desk):
    """Older accounts answer 40001 for a wrong secret."""
    assert make_desk(wrong_secret_errcode=40001).plain(secret="x")["errcode"] == 40001


def test_ip_list_is_checked_before_the_secret_and_names_the_address(desk):
    """A caller off the list gets 40164 with its address twice, even when the secret is wrong too."""
    desk.account.ip_list = ["10.0.0.0/8", "192.0.2.7"]
    answer = desk.plain(secret="wrong", client_ip="203.0.113.9")
    assert answer["errcode"] == 40164
    assert "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: " in answer["errmsg"]
    assert desk.stable(client_ip="203.0.113.9")["errcode"] == 40164
    assert "access_token" in desk.plain(client_ip="10.1.2.3")
    assert "access_token" in desk.plain(client_ip="192.0.2.7")


def test_ip_list_is_for_token_endpoints_only(desk):
    """A token once issued works from anywhere."""
    token = desk.plain()["access_token"]
    desk.account.ip_list = []
    assert desk.use(token) == 0


@pytest.mark.parametrize(("flag", "errcode"), [("secret_frozen", 40243), ("frozen", 50007), ("token_forbidden", 50004)])
def test_states_of_an_account(desk, flag, errcode):
    """A frozen secret, a frozen account and a forbidden endpoint answer their codes; undoing it works again."""
    setattr(desk.account, flag, True)
    assert desk.plain()["errcode"] == desk.stable()["errcode"] == errcode
    setattr(desk.account, flag, False)
    assert "access_token" in desk.plain()


def test_risk_confirmation_until_the_administrator_allows(desk):
    """The first call from a new address asks the administrator, further ones wait, and consent opens the way."""
    desk.account.risk_control = True
    assert [desk.plain()["errcode"] for _ in range(3)] == [89503, 89501, 89501]
    desk.world.decide_risk("127.0.0.1", "allow")
    assert "access_token" in desk.plain()
    assert desk.plain(client_ip="192.0.2.1")["errcode"] == 89503


def test_risk_refusal_lasts_an_hour_then_a_day(desk):
    """A first refusal blocks for an hour (89507), the next one for a day (89506)."""
    desk.account.risk_control = True
    desk.plain()
    desk.world.decide_risk("127.0.0.1", "refuse")
    assert desk.plain()["errcode"] == 89507
    desk.world.advance(3600)
    assert desk.plain()["errcode"] == 89503
    desk.world.decide_risk("127.0.0.1", "refuse")
    desk.world.advance(3601)
    assert desk.plain()["errcode"] == 89506


def test_kill_forced_ends_the_current_token_at_once(desk):
    """Another system's forced refresh: the token in use answers 40001 and a normal call returns the other's."""
    for channel, fetch in (("plain", desk.plain), ("stable", desk.stable)):
        token = fetch()["access_token"]
        desk.world.kill_token(channel, "forced")
        assert desk.use(token) == 40001
        assert desk.use(fetch()["access_token"]) == 0


def test_kill_plain_leaves_the_overlap(desk):
    """Another system's plain fetch: the token in use lives out its five minutes."""
    token = desk.plain()["access_token"]
    desk.world.kill_token("plain", "plain")
    assert desk.use(token) == 0
    desk.world.advance(301)
    assert desk.use(token) == 40001


@pytest.mark.parametrize(("how", "errcode"), [("expired", 42001), ("unknown", 40014)])
def test_the_other_two_dead_token_codes_can_be_provoked(desk, how, errcode):
    """A token can be made to answer 42001 or 40014 at once; the next fetch gives a living one."""
    for channel, fetch in (("plain", desk.plain), ("stable", desk.stable)):
        token = fetch()["access_token"]
        desk.world.kill_token(channel, how)
        assert desk.use(token) == errcode
        assert desk.use(fetch()["access_token"]) == 0


def test_new_tokens_dead_on_arrival(desk):
    """The next n tokens, or all of them, are dead when they arrive."""
    desk.world.kill_new_tokens("stable", 2)
    assert [desk.use(desk.stable()["access_token"]) for _ in range(3)] == [40001, 40001, 0]
    desk.world.kill_new_tokens("plain")
    assert {desk.use(desk.plain()["access_token"]) for _ in range(5)} == {40001}
    desk.world.kill_new_tokens("plain", 0)
    assert desk.use(desk.plain()["access_token"]) == 0


def test_outsider_fetches_all_the_time_until_stopped(desk):
    """A second system that fetches every so often kills ours again and again; it is counted apart from our requests."""
    token = desk.plain()["access_token"]
    desk.world.outsider(60.0, channel="plain")
    desk.world.advance(125)
    assert desk.use(token) == 40001
    assert desk.world.state.outsider_fetches == 2
    assert desk.world.state.token_requests == 1
    desk.world.outsider(None, channel="plain")
    desk.world.advance(600)
    assert desk.world.state.outsider_fetches == 2


def test_true_life_can_differ_from_the_announced_one(make_desk):
    """A policy can let tokens die earlier than announced."""
    desk = make_desk(token_true_life=60.0)
    answer = desk.plain()
    desk.world.advance(61)
    assert (answer["expires_in"], desk.use(answer["access_token"])) == (7200, 42001)


def test_old_dead_tokens_are_forgotten(make_desk):
    """Only so many dead tokens are remembered; older ones become unknown."""
    desk = make_desk(dead_tokens_kept=3)
    first = desk.plain()["access_token"]
    for _ in range(3):
        desk.plain()
    assert desk.use(first) == 40014
    assert len(desk.account.tokens) == 3


def test_a_new_world_with_the_same_seed_gives_other_tokens(make_desk):
    """An application must not find its old token alive in a simulator started later with the same seed."""
    first, second = make_desk(), make_desk()
    second.world.advance(1)
    assert first.plain()["access_token"] != second.plain()["access_token"]


def test_the_same_story_gives_the_same_bytes(make_desk):
    """Equal seed, clock and requests give equal replies, byte for byte."""

    def story():
        desk = make_desk()
        desk.world.create_followers(3)
        return [desk.plain(), desk.stable(), desk.get("/cgi-bin/user/get"), desk.use("x"), desk.plain(secret="no")]

    assert story() == story()
