"""OAuth pages: redirect with a code, tokens, profiles."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest


class Visit:
    """Goes through the OAuth pages of one account."""

    def __init__(self, desk) -> None:
        self.desk, self.account = desk, desk.account

    def authorize(self, **changes):
        """Open the page."""
        query = {
            "appid": self.account.appid,
            "redirect_uri": "http://localhost:1/back?keep=1",
            "response_type": "code",
            "scope": "snsapi_base",
            "state": "S1",
        }
        return self.desk.send("GET", "/connect/oauth2/authorize", query | changes)

    def code(self, **changes) -> str:
        """Return the code the page gives."""
        location = dict(self.authorize(**changes).headers)["location"]
        return parse_qs(urlsplit(location).query)["code"][0]

    def swap(self, code: str, /, **changes):
        """Swap a code for a token."""
        query = {"appid": self.account.appid, "secret": self.account.secret, "code": code}
        query = query | {"grant_type": "authorization_code"} | changes
        return self.desk.send("GET", "/sns/oauth2/access_token", {key: value for key, value in query.items() if value})

    def sns(self, path: str, **query):
        """Call an sns endpoint."""
        return self.desk.send("GET", path, query).json()


@pytest.fixture
def visit(desk) -> Visit:
    return Visit(desk)


def test_base_scope_redirects_silently(visit, desk):
    """snsapi_base sends the browser straight back with code and state, and the query of the target stays."""
    desk.world.create_followers(1)
    reply = visit.authorize()
    target = urlsplit(dict(reply.headers)["location"])
    query = parse_qs(target.query)
    assert (reply.status, target.netloc, query["keep"], query["state"]) == (302, "localhost:1", ["1"], ["S1"])


def test_consent_page_offers_users_and_escapes(visit, desk):
    """snsapi_userinfo shows a page with a link per user; a tap, or auto=1, gives the code; nothing is injected."""
    openid = desk.world.create_followers(2)[1]
    reply = visit.authorize(scope="snsapi_userinfo", redirect_uri='http://localhost/"><script>')
    page = reply.body.decode()
    assert reply.status == 200
    assert openid in page
    assert "<script>" not in page
    got = visit.swap(visit.code(scope="snsapi_userinfo", user=openid, auto="1")).json()
    assert got["openid"] == openid


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"appid": "wx0"}, 10013),
        ({"redirect_uri": "javascript:alert(1)"}, 10003),
        ({"redirect_uri": "https://evil.example/"}, 10003),
        ({"scope": "all"}, 10005),
        ({"state": "a b"}, 10016),
        ({"state": "a" * 129}, 10016),
        ({"response_type": "token"}, 10004),
        ({"user": "o1"}, 10006),
    ],
)
def test_wrong_links_show_a_page_and_never_redirect(visit, changes, code):
    """A wrong parameter shows an error page to the user; the browser is not sent anywhere."""
    visit.account.oauth_domains = ["localhost"]
    reply = visit.authorize(**changes)
    assert (reply.status, reply.headers) == (200, ())
    assert str(code) in reply.body.decode()


def test_first_visitor_is_a_stranger(visit, desk):
    """On an account without users the visitor is a new person who does not follow."""
    got = visit.swap(visit.code()).json()
    assert desk.account.users[got["openid"]].following is False


def test_code_works_once_for_five_minutes(visit):
    """A second use is 40163, an unknown code 40029, an old one 42003."""
    code = visit.code()
    got = visit.swap(code)
    assert set(got.json()) == {"access_token", "expires_in", "refresh_token", "openid", "scope"}
    assert got.content_type == "text/plain"
    assert visit.swap(code).errcode == 40163
    assert visit.swap("nope").errcode == 40029
    late = visit.code()
    visit.desk.world.advance(301)
    assert visit.swap(late).errcode == 42003


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"appid": ""}, 41002),
        ({"secret": ""}, 41004),
        ({"code": ""}, 41008),
        ({"grant_type": "x"}, 40002),
        ({"appid": "wx0"}, 40013),
        ({"secret": "x"}, 40125),
    ],
)
def test_wrong_swaps_do_not_use_the_code_up(visit, changes, errcode):
    """A refused swap leaves the code usable."""
    code = visit.code()
    assert visit.swap(code, **changes).errcode == errcode
    assert visit.swap(code).errcode == 0


def test_refresh(visit, desk):
    """A refresh gives a new token for 30 days; then 42002; a changed password is 42007; an unknown one 40030."""
    got = visit.swap(visit.code()).json()
    query = {"appid": visit.account.appid, "grant_type": "refresh_token", "refresh_token": got["refresh_token"]}
    fresh = visit.sns("/sns/oauth2/refresh_token", **query)
    assert fresh["access_token"] != got["access_token"]
    assert visit.sns("/sns/oauth2/refresh_token", **query | {"refresh_token": ""})["errcode"] == 41003
    assert visit.sns("/sns/oauth2/refresh_token", **query | {"refresh_token": "x"})["errcode"] == 40030
    visit.account.refresh_tokens[got["refresh_token"]].revoked = True
    assert visit.sns("/sns/oauth2/refresh_token", **query)["errcode"] == 42007
    visit.account.refresh_tokens[got["refresh_token"]].revoked = False
    desk.world.advance(30 * 86_400)
    assert visit.sns("/sns/oauth2/refresh_token", **query)["errcode"] == 42002


def test_profile_needs_the_right_scope(visit):
    """The profile comes for snsapi_userinfo only; a base token is 48001; union ids need an open platform account."""
    base = visit.swap(visit.code()).json()
    ask = lambda got, **more: visit.sns(  # noqa: E731
        "/sns/userinfo", **{"access_token": got["access_token"], "openid": got["openid"]} | more
    )
    assert ask(base)["errcode"] == 48001
    visit.account.open_platform = True
    full = visit.swap(visit.code(scope="snsapi_userinfo", auto="1")).json()
    profile = ask(full)
    assert profile["nickname"]
    assert profile["unionid"] == full["unionid"]
    assert ask(full, openid="o1")["errcode"] == 40003


def test_checking_a_user_token(visit, desk):
    """sns/auth answers ok, 40003 for another openid, 42001 after two hours, 40001 for an access token of the API."""
    got = visit.swap(visit.code()).json()
    ask = lambda token, openid: visit.sns("/sns/auth", access_token=token, openid=openid)["errcode"]  # noqa: E731
    assert ask(got["access_token"], got["openid"]) == 0
    assert ask(got["access_token"], "o1") == 40003
    assert ask("", "o1") == 41001
    assert ask(desk.token(), got["openid"]) == 40001
    desk.world.advance(7200)
    assert ask(got["access_token"], got["openid"]) == 42001


def test_preview_mode_visitor(visit):
    """A visitor in preview mode is marked in the answer."""
    assert visit.swap(visit.code(snapshot="1")).json()["is_snapshotuser"] == 1


def open_page(visit, *, cookie: str = "", accept: str = "text/html", language: str = "zh-CN", **changes):
    """Open the page as a browser does."""
    query = {
        "appid": visit.account.appid,
        "redirect_uri": "http://localhost:1/back",
        "response_type": "code",
        "scope": "snsapi_userinfo",
        "state": "S1",
    }
    headers = {"accept": accept, "cookie": cookie, "accept-language": language}
    return visit.desk.send("GET", "/connect/oauth2/authorize", query | changes, headers=headers)


def test_phone_is_known_by_its_cookie(visit, desk):
    """The cookie of the control page's phone says who is looking: that person is asked, or sent back at once."""
    openid = desk.world.create_followers(3)[1]
    page = open_page(visit, cookie=f"a=b; sim_user={openid}").body.decode()
    assert f'data-openid="{openid}"' in page
    assert 'id="oauth-allow"' in page
    reply = open_page(visit, cookie=f"sim_user={openid}", scope="snsapi_base")
    code = parse_qs(urlsplit(dict(reply.headers)["location"]).query)["code"][0]
    assert desk.account.codes[code].openid == openid


@pytest.mark.parametrize("cookie", ["", "sim_user=", "sim_user=o-unknown", "sim_user"])
def test_browser_nobody_knows_is_asked_who_is_looking(visit, desk, cookie):
    """Without a known phone a browser chooses among all users and somebody new; a program gets the first user."""
    openids = desk.world.create_followers(2)
    for scope in ("snsapi_base", "snsapi_userinfo"):
        page = open_page(visit, cookie=cookie, scope=scope).body.decode()
        assert all(f"user={openid}" in page for openid in openids)
        assert "user=new" in page
        assert "oauth-allow" not in page
    assert open_page(visit, accept="*/*", scope="snsapi_base").status == 302


def test_somebody_new_is_a_stranger(visit, desk):
    """Whoever is new gets an openid and does not follow."""
    known = set(desk.world.create_followers(2))
    got = visit.swap(visit.code(user="new")).json()
    assert got["openid"] not in known
    assert desk.account.users[got["openid"]].following is False


def test_refusing_gives_no_code(visit, desk):
    """Who refuses sees a page; where the policy says so, the site hears of it, without a code."""
    openid = desk.world.create_followers(1)[0]
    reply = open_page(visit, user=openid, deny="1")
    assert (reply.status, reply.headers) == (200, ())
    desk.world.policy = attrs.evolve(desk.world.policy, oauth_refused="redirect")
    location = dict(open_page(visit, user=openid, deny="1").headers)["location"]
    assert parse_qs(urlsplit(location).query) == {"state": ["S1"]}
    assert not desk.account.codes


def test_page_runs_nothing_and_has_its_own_style_only(visit, desk):
    """The policy inside the page names its one style by hash and allows no script at all."""
    desk.world.create_followers(1)
    page = open_page(visit).body.decode()
    style = page.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert "style=" not in page
    assert "<script" not in page


def test_hostile_names_stay_text(visit, desk):
    """Nicknames and the account's name are escaped on both pages."""
    desk.account.name = '"><script>x</script>'
    for _ in range(2):
        desk.world.user('<img src=x onerror=x>"').follow()
    for changes in ({}, {"user": next(iter(desk.account.users))}):
        page = open_page(visit, **changes).body.decode()
        assert "<script" not in page
        assert "<img" not in page


@pytest.mark.parametrize(
    ("cookie", "language", "word"),
    [
        ("", "zh-CN,zh", "允许"),
        ("", "en-GB,en", "Allow"),
        ("sim_lang=zh", "en-GB", "允许"),
        ("sim_lang=en", "zh", "Allow"),
    ],
)
def test_two_languages(visit, desk, cookie, language, word):
    """The control page's language counts first, then the browser's."""
    desk.world.create_followers(1)
    assert word in open_page(visit, cookie=cookie, language=language).body.decode()
