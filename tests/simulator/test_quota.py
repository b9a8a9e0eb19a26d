"""Quotas, rids and the other endpoints of the base family."""

from __future__ import annotations

import re

import pytest


def test_plain_quota_of_the_day(desk):
    """2000 fetches a day, then 45009 until midnight in Shanghai."""
    desk.account.quotas["/cgi-bin/token"] = 3
    assert all("access_token" in desk.plain() for _ in range(3))
    assert desk.plain()["errcode"] == 45009
    desk.world.advance(12 * 3600 - 1)
    assert desk.plain()["errcode"] == 45009
    desk.world.advance(1)
    assert "access_token" in desk.plain()


def test_quota_table_of_ordinary_and_test_accounts(desk):
    """The limits are those of the official table: 2000 token fetches, 200 on a test account."""
    test_account = desk.world.add_account(test=True)
    assert desk.world.daily_limit(desk.account, "/cgi-bin/token") == 2000
    assert desk.world.daily_limit(test_account, "/cgi-bin/token") == 200
    assert desk.world.daily_limit(test_account, "/cgi-bin/user/get") == 100


def test_minute_quota_answers_45011(make_desk):
    """Too many calls in a minute answer 45011, and the next minute is free again."""
    desk = make_desk(minute_quotas={"/cgi-bin/stable_token": 2})
    assert [desk.stable().get("errcode") for _ in range(3)] == [None, None, 45011]
    desk.world.advance(60)
    assert "access_token" in desk.stable()


def test_refused_token_requests_do_not_spend_the_quota(desk):
    """A wrong secret is not counted against the day."""
    for _ in range(5):
        desk.plain(secret="wrong")
    desk.plain()
    assert desk.world.counter(desk.account, "/cgi-bin/token", desk.world.now()).used == 1


def test_quota_get_and_clear(desk):
    """quota/get shows limit, use and rest; clear_quota sets all counters to zero."""
    desk.get("/cgi-bin/user/get")
    desk.get("/cgi-bin/user/get")
    answer = desk.post("/cgi-bin/openapi/quota/get", {"cgi_path": "/cgi-bin/user/get"})
    assert answer["quota"] == {"daily_limit": 500, "used": 2, "remain": 498}
    assert desk.post("/cgi-bin/clear_quota", {"appid": desk.account.appid}) == {"errcode": 0, "errmsg": "ok"}
    answer = desk.post("/cgi-bin/openapi/quota/get", {"cgi_path": "/cgi-bin/user/get"})
    assert answer["quota"]["used"] == 0


def test_ten_resets_a_month_shared_by_both_ways(desk):
    """clear_quota and clear_quota/v2 share ten resets a calendar month; then 48006."""
    by_secret = {"appid": desk.account.appid, "appsecret": desk.account.secret}
    for _ in range(5):
        assert desk.post("/cgi-bin/clear_quota", {"appid": desk.account.appid})["errcode"] == 0
        assert desk.post("/cgi-bin/clear_quota/v2", by_secret, "")["errcode"] == 0
    assert desk.post("/cgi-bin/clear_quota/v2", by_secret, "")["errcode"] == 48006
    assert desk.post("/cgi-bin/clear_quota", {"appid": desk.account.appid})["errcode"] == 48006
    desk.world.advance(31 * 86_400)
    assert desk.post("/cgi-bin/clear_quota/v2", by_secret, "")["errcode"] == 0


def test_clear_by_secret_works_when_the_token_quota_is_gone(desk):
    """The variant with the secret needs no token; it takes its fields from body or query."""
    desk.account.quotas["/cgi-bin/token"] = 1
    desk.plain()
    assert desk.plain()["errcode"] == 45009
    query = {"appid": desk.account.appid, "appsecret": desk.account.secret}
    assert desk.send("POST", "/cgi-bin/clear_quota/v2", query, b"{}").errcode == 0
    assert "access_token" in desk.plain()


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, 41002),
        ({"appid": "me"}, 41004),
        ({"appid": "x", "appsecret": "y"}, 40013),
        ({"appid": "me", "appsecret": "y"}, 40125),
    ],
)
def test_clear_by_secret_refusals(desk, body, errcode):
    """Missing and wrong credentials have their own codes."""
    body = {key: desk.account.appid if value == "me" else value for key, value in body.items()}
    assert desk.post("/cgi-bin/clear_quota/v2", body, "")["errcode"] == errcode


def test_clear_one_path(desk):
    """quota/clear resets one path, fifty times a month."""
    desk.get("/cgi-bin/user/get")
    desk.get("/cgi-bin/tags/get")
    desk.post("/cgi-bin/openapi/quota/clear", {"cgi_path": "/cgi-bin/user/get"})
    now = desk.world.now()
    assert desk.world.counter(desk.account, "/cgi-bin/user/get", now).used == 0
    assert desk.world.counter(desk.account, "/cgi-bin/tags/get", now).used == 1


@pytest.mark.parametrize(
    ("path", "errcode"), [("/sns/userinfo", 76022), ("/cgi-bin/nope", 76021), ("cgi-bin/token", 76003)]
)
def test_paths_that_cannot_be_asked_about(desk, path, errcode):
    """OAuth paths, unknown paths and paths without a slash are refused."""
    assert desk.post("/cgi-bin/openapi/quota/get", {"cgi_path": path})["errcode"] == errcode


def test_rid_names_the_second_and_can_be_explained(desk):
    """Every error message ends with a rid of three hex words; rid/get tells what was recorded, without credentials."""
    desk.world.create_followers(1)
    message = desk.get("/cgi-bin/user/info", openid="nobody")["errmsg"]
    rid = re.search(r" rid: (([0-9a-f]{8})-[0-9a-f]{8}-[0-9a-f]{8})$", message)
    assert int(rid[2], 16) == int(desk.world.now())
    request = desk.post("/cgi-bin/openapi/rid/get", {"rid": rid[1]})["request"]
    assert request["invoke_time"] == int(desk.world.now())
    assert "openid=nobody" in request["request_url"]
    assert desk.token() not in request["request_url"]


def test_rid_refusals(desk):
    """Malformed, unknown, too old, and another account's rids have their own codes."""
    ask = lambda rid: desk.post("/cgi-bin/openapi/rid/get", {"rid": rid})["errcode"]  # noqa: E731
    now = f"{int(desk.world.now()):08x}"
    old = f"{int(desk.world.now()) - 8 * 86_400:08x}"
    assert [ask("nonsense"), ask(f"{now}-11111111-22222222"), ask(f"{old}-11111111-22222222")] == [76002, 76001, 76004]
    desk.get("/cgi-bin/user/info", openid="nobody")
    rid = desk.world.journal[-1].rid
    desk.account = desk.world.add_account()
    assert ask(rid) == 76003


def test_address_lists(desk):
    """Both address lists are arrays of texts."""
    for path in ("/cgi-bin/get_api_domain_ip", "/cgi-bin/getcallbackip"):
        assert all(isinstance(item, str) for item in desk.get(path)["ip_list"])


def test_callback_check(desk):
    """The diagnosis needs a configured address, a known action and a known operator."""
    good = {"action": "all", "check_operator": "DEFAULT"}
    assert desk.post("/cgi-bin/callback/check", good)["errcode"] == 40201
    desk.account.callback_url = "http://localhost/hook"
    assert set(desk.post("/cgi-bin/callback/check", good)) == {"dns", "ping"}
    assert desk.post("/cgi-bin/callback/check", good | {"action": "x"})["errcode"] == 40202
    assert desk.post("/cgi-bin/callback/check", good | {"check_operator": "x"})["errcode"] == 40203


def test_rights_of_account_kinds(desk):
    """48001 for what the kind of account does not have, 48004 for what is banned; test accounts may do all."""
    world = desk.world
    desk.account.ungranted.append("/cgi-bin/tags/get")
    assert desk.get("/cgi-bin/tags/get")["errcode"] == 48001
    desk.account.banned.append("/cgi-bin/tags/get")
    assert desk.get("/cgi-bin/tags/get")["errcode"] == 48004
    unverified = world.add_account(verified=False)
    desk.account = unverified
    assert desk.get("/cgi-bin/user/get")["errcode"] == 48001
    assert "ip_list" in desk.get("/cgi-bin/getcallbackip")
    unverified.verified, unverified.kind = True, "subscription"
    assert "total" in desk.get("/cgi-bin/user/get")
    assert desk.get("/cgi-bin/template/get_all_private_template")["errcode"] == 48001
    desk.account = world.add_account(test=True, verified=False)
    assert "template_list" in desk.get("/cgi-bin/template/get_all_private_template")


def test_tickets(desk):
    """Each kind has its own ticket for 7200 seconds; each call gives a new one, or the same by policy."""
    first = desk.get("/cgi-bin/ticket/getticket", type="jsapi")
    assert (first["errcode"], first["errmsg"], first["expires_in"]) == (0, "ok", 7200)
    assert desk.get("/cgi-bin/ticket/getticket", type="wx_card")["ticket"] != first["ticket"]
    assert desk.get("/cgi-bin/ticket/getticket", type="jsapi")["ticket"] != first["ticket"]
    assert desk.get("/cgi-bin/ticket/getticket", type="other")["errcode"] == 40097


def test_tickets_that_do_not_rotate(make_desk):
    """By policy a ticket is handed out again while it lives, with what is left of its life."""
    desk = make_desk(ticket_rotates=False)
    first = desk.get("/cgi-bin/ticket/getticket", type="jsapi")
    desk.world.advance(200)
    assert desk.get("/cgi-bin/ticket/getticket", type="jsapi") == first | {"expires_in": 7000}
