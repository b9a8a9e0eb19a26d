"""Web page authorization: the address, single-use codes, user tokens that never show, and what a dead one means."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.api.conftest import APPID, APPSECRET, TOKEN
from wxmp._caller import Endpoint
from wxmp._redact import Secret
from wxmp.api import oauth as module
from wxmp.api.oauth import OAuthAPI, OAuthUser, UserToken
from wxmp.config import PRODUCTION
from wxmp.errors import (
    AccountError,
    APIError,
    ArgumentError,
    BadStatusError,
    DeadTokenError,
    NotAuthorizedError,
    RecipientError,
    ReplyError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.conftest import Platform, StubTokens
    from wxmp._caller import Caller

GET_TOKEN = "/sns/oauth2/access_token"
REFRESH = "/sns/oauth2/refresh_token"
USER = "/sns/userinfo"
CHECK = "/sns/auth"
PAGE = "https://example.com/me?from=menu&x=1"
ACCESS = "USER-ACCESS-TOKEN"
RENEWAL = "USER-REFRESH-TOKEN"
CODE = "CODE-OF-THE-REDIRECT"
ISSUED = {
    "access_token": ACCESS,
    "expires_in": 7200,
    "refresh_token": RENEWAL,
    "openid": "oA",
    "scope": "snsapi_base",
}


@pytest.fixture
def oauth(caller: Caller) -> OAuthAPI:
    """The family under test."""
    return OAuthAPI(caller, PRODUCTION.open)


def test_endpoints() -> None:
    """Method, path, repeatability and credentials are those of the reference."""
    found = {(e.method, e.path, e.repeatable, e.auth) for e in vars(module).values() if isinstance(e, Endpoint)}
    assert found == {
        ("GET", "/connect/oauth2/authorize", True, "none"),
        ("GET", GET_TOKEN, False, "none"),
        ("GET", REFRESH, True, "none"),
        ("GET", USER, True, "none"),
        ("GET", CHECK, True, "none"),
    }


def test_authorize_url_in_full(oauth: OAuthAPI) -> None:
    """Order, encoding and fragment are exactly those that WeChat's browsers want."""
    url = oauth.authorize_url(PAGE, scope="snsapi_userinfo", state="abc123", force_popup=True, force_snapshot=False)
    assert url == (
        "https://open.weixin.qq.com/connect/oauth2/authorize"
        f"?appid={APPID}"
        "&redirect_uri=https%3A%2F%2Fexample.com%2Fme%3Ffrom%3Dmenu%26x%3D1"
        "&response_type=code&scope=snsapi_userinfo&state=abc123&forcePopup=true&forceSnapShot=false#wechat_redirect"
    )


def test_authorize_url_at_its_least(oauth: OAuthAPI) -> None:
    """The silent scope is the default, and what is not given is left out."""
    assert oauth.authorize_url("http://example.com/") == (
        "https://open.weixin.qq.com/connect/oauth2/authorize"
        f"?appid={APPID}&redirect_uri=http%3A%2F%2Fexample.com%2F&response_type=code&scope=snsapi_base#wechat_redirect"
    )


def test_authorize_url_below_another_host(caller: Caller) -> None:
    """The page may be served by a simulator, below a path."""
    url = OAuthAPI(caller, "http://127.0.0.1:8700/open").authorize_url(PAGE)
    assert url.startswith("http://127.0.0.1:8700/open/connect/oauth2/authorize?appid=")


@pytest.mark.parametrize(
    ("arguments", "errcode", "field"),
    [
        pytest.param({"redirect_uri": ""}, 10003, "redirect_uri", id="no address"),
        pytest.param({"redirect_uri": "/me"}, 10003, "redirect_uri", id="a path"),
        pytest.param({"redirect_uri": "javascript:alert(1)"}, 10003, "redirect_uri", id="a script"),
        pytest.param({"redirect_uri": "https%3A%2F%2Fexample.com"}, 10003, "redirect_uri", id="encoded before"),
        pytest.param({"redirect_uri": "https://[example.com"}, 10003, "redirect_uri", id="broken"),
        pytest.param({"redirect_uri": "https://example.com/a b"}, 10003, "redirect_uri", id="a blank"),
        pytest.param({"redirect_uri": "https://example.com/\ud800"}, 10003, "redirect_uri", id="half a character"),
        pytest.param({"redirect_uri": None}, 10003, "redirect_uri", id="None"),
        pytest.param({"scope": "snsapi_login"}, 10005, "scope", id="another scope"),
        pytest.param({"state": "a-b"}, 10016, "state", id="a sign"),
        pytest.param({"state": "a\n"}, 10016, "state", id="a line end"),
        pytest.param({"state": "态"}, 10016, "state", id="Chinese"),
        pytest.param({"state": "s" * 129}, 10016, "state", id="too long"),
    ],
)
def test_authorize_url_checks(oauth: OAuthAPI, arguments: dict[str, Any], errcode: int, field: str) -> None:
    """What would lead the user to an error page is refused."""
    with pytest.raises(ArgumentError) as caught:
        oauth.authorize_url(**{"redirect_uri": PAGE, **arguments})
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


def test_authorize_url_takes_the_longest_state(oauth: OAuthAPI) -> None:
    """128 characters pass."""
    assert "&state=" + "s" * 128 + "#" in oauth.authorize_url(PAGE, state="s" * 128)


@pytest.mark.parametrize("code", [CODE, Secret(CODE)], ids=["str", "secret"])
async def test_get_token_swaps_the_code(platform: Platform, oauth: OAuthAPI, code: str | Secret) -> None:
    """The account's AppID and AppSecret go along, its access token does not."""
    route = platform.answer("GET", GET_TOKEN, {**ISSUED, "unionid": "uA", "is_snapshotuser": 1, "new": 1})
    token = await oauth.get_token(code)
    assert platform.query(route) == {
        "appid": APPID,
        "secret": APPSECRET,
        "code": CODE,
        "grant_type": "authorization_code",
    }
    assert token == UserToken(
        access_token=Secret(ACCESS),
        expires_in=7200.0,
        refresh_token=Secret(RENEWAL),
        openid="oA",
        scope=("snsapi_base",),
        unionid="uA",
        is_snapshotuser=True,
        extra={"new": 1},
    )


async def test_get_token_of_a_real_visitor(platform: Platform, oauth: OAuthAPI) -> None:
    """What is absent is absent, and several scopes become several entries."""
    platform.answer("GET", GET_TOKEN, {**ISSUED, "scope": "snsapi_base,snsapi_userinfo"})
    token = await oauth.get_token(CODE)
    assert (token.unionid, token.is_snapshotuser, token.extra) == (None, False, {})
    assert token.scope == ("snsapi_base", "snsapi_userinfo")


async def test_user_token_shows_no_token(platform: Platform, oauth: OAuthAPI) -> None:
    """Neither repr nor str of the record holds a token."""
    platform.answer("GET", GET_TOKEN, ISSUED)
    token = await oauth.get_token(CODE)
    assert ACCESS not in f"{token} {token!r}"
    assert RENEWAL not in f"{token} {token!r}"
    assert token.access_token.reveal() == ACCESS


@pytest.mark.parametrize("missing", ["access_token", "refresh_token", "openid", "expires_in"])
async def test_get_token_with_a_field_missing(platform: Platform, oauth: OAuthAPI, missing: str) -> None:
    """A missing field is a ReplyError that names it and shows none of the others."""
    platform.answer("GET", GET_TOKEN, {name: value for name, value in ISSUED.items() if name != missing})
    with pytest.raises(ReplyError, match=missing) as caught:
        await oauth.get_token(CODE)
    shown = f"{caught.value} {caught.value!r} {caught.value.body}"
    assert ACCESS not in shown
    assert RENEWAL not in shown


async def test_get_token_is_not_repeated(platform: Platform, oauth: OAuthAPI) -> None:
    """A code works once: after an unknown outcome a repeat could only fail."""
    route = platform.answer("GET", GET_TOKEN, httpx.Response(502))
    with pytest.raises(BadStatusError):
        await oauth.get_token(CODE)
    assert route.call_count == 1


async def test_get_token_is_repeated_when_nothing_was_sent(platform: Platform, oauth: OAuthAPI) -> None:
    """Without a connection the code is still good."""
    route = platform.answer("GET", GET_TOKEN, httpx.ConnectError("refused"), ISSUED)
    assert (await oauth.get_token(CODE)).openid == "oA"
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("errcode", "error"),
    [
        (40029, ArgumentError),
        (40163, ArgumentError),
        (42003, ArgumentError),
        (40001, AccountError),
        (40125, AccountError),
        (40013, AccountError),
    ],
)
async def test_get_token_refused(
    platform: Platform, oauth: OAuthAPI, tokens: StubTokens, errcode: int, error: type[APIError]
) -> None:
    """A refusal is an error of its own class, and never touches the account's token."""
    platform.answer("GET", GET_TOKEN, {"errcode": errcode, "errmsg": f"invalid {CODE} {APPSECRET}"})
    with pytest.raises(error) as caught:
        await oauth.get_token(CODE)
    assert caught.value.errcode == errcode
    assert tokens.dead == []
    assert CODE not in str(caught.value)
    assert APPSECRET not in str(caught.value)


async def test_refresh_token_renews(platform: Platform, oauth: OAuthAPI) -> None:
    """The refresh token goes out with the AppID, without AppSecret."""
    route = platform.answer("GET", REFRESH, {**ISSUED, "refresh_token": "NEXT"})
    token = await oauth.refresh_token(Secret(RENEWAL))
    assert platform.query(route) == {"appid": APPID, "grant_type": "refresh_token", "refresh_token": RENEWAL}
    assert (token.access_token.reveal(), token.refresh_token.reveal()) == (ACCESS, "NEXT")


@pytest.mark.parametrize(
    ("errcode", "error"), [(40030, ArgumentError), (42002, ArgumentError), (42007, RecipientError)]
)
async def test_refresh_token_refused(platform: Platform, oauth: OAuthAPI, errcode: int, error: type[APIError]) -> None:
    """The three ways a refresh token ends each have their code."""
    platform.answer("GET", REFRESH, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await oauth.refresh_token(RENEWAL)
    assert caught.value.errcode == errcode


@pytest.mark.parametrize("access", [ACCESS, Secret(ACCESS)], ids=["str", "secret"])
async def test_get_user_reads_the_profile(platform: Platform, oauth: OAuthAPI, access: str | Secret) -> None:
    """Every documented field is read, with the user's token and not the account's."""
    route = platform.answer(
        "GET",
        USER,
        {
            "openid": "oA",
            "nickname": "小\u0001明",
            "sex": "1",
            "province": "广东",
            "city": "广州",
            "country": "中国",
            "headimgurl": "https://thirdwx.qlogo.cn/mmopen/vi_32/x/132",
            "privilege": ["chinaunicom"],
            "unionid": "uA",
            "language": "",
        },
    )
    assert await oauth.get_user(access, openid="oA", lang="zh_CN") == OAuthUser(
        "oA",
        "小\u0001明",
        1,
        "广东",
        "广州",
        "中国",
        "https://thirdwx.qlogo.cn/mmopen/vi_32/x/132",
        ("chinaunicom",),
        "uA",
        extra={"language": ""},
    )
    assert platform.query(route) == {"access_token": ACCESS, "openid": "oA", "lang": "zh_CN"}


async def test_get_user_with_little(platform: Platform, oauth: OAuthAPI) -> None:
    """A text/plain answer is read as UTF-8 JSON, and what is absent is None."""
    content = httpx.Response(
        200, content='{"openid":"oA","nickname":"小明"}'.encode(), headers={"Content-Type": "text/plain"}
    )
    route = platform.answer("GET", USER, content)
    assert await oauth.get_user(ACCESS, openid="oA") == OAuthUser("oA", "小明")
    assert platform.query(route) == {"access_token": ACCESS, "openid": "oA"}


@pytest.mark.parametrize("errcode", [40001, 42001])
async def test_get_user_with_a_dead_token(
    platform: Platform, oauth: OAuthAPI, tokens: StubTokens, errcode: int
) -> None:
    """A dead user token leaves the account's token alone, and the advice speaks of the user's."""
    route = platform.answer("GET", USER, {"errcode": errcode, "errmsg": f"{ACCESS} is over rid: 1-2-3"})
    with pytest.raises(DeadTokenError) as caught:
        await oauth.get_user(ACCESS, openid="oA")
    assert tokens.dead == []
    assert route.call_count == 1
    assert "oauth.refresh_token" in caught.value.advice
    assert (caught.value.errcode, caught.value.rid) == (errcode, "1-2-3")
    assert ACCESS not in str(caught.value)


@pytest.mark.parametrize(("errcode", "error"), [(40003, ArgumentError), (48001, NotAuthorizedError)])
async def test_get_user_refused(platform: Platform, oauth: OAuthAPI, errcode: int, error: type[APIError]) -> None:
    """Another refusal is an error of its own class."""
    platform.answer("GET", USER, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(error) as caught:
        await oauth.get_user(ACCESS, openid="oA")
    assert caught.value.errcode == errcode


async def test_get_user_without_openid(platform: Platform, oauth: OAuthAPI) -> None:
    """A profile of nobody is a ReplyError."""
    platform.answer("GET", USER, {"nickname": "小明"})
    with pytest.raises(ReplyError, match="openid"):
        await oauth.get_user(ACCESS, openid="oA")


async def test_get_user_checks_the_language(oauth: OAuthAPI) -> None:
    """Only the three languages of the platform are sent."""
    other: Any = "fr"
    with pytest.raises(ArgumentError) as caught:
        await oauth.get_user(ACCESS, openid="oA", lang=other)
    assert (caught.value.errcode, caught.value.field) == (40035, "lang")


async def test_check_token_that_is_good(platform: Platform, oauth: OAuthAPI) -> None:
    """Code 0 means good."""
    route = platform.answer("GET", CHECK, {"errcode": 0, "errmsg": "ok"})
    assert await oauth.check_token(ACCESS, openid="oA") is True
    assert platform.query(route) == {"access_token": ACCESS, "openid": "oA"}


@pytest.mark.parametrize("errcode", [40001, 40003, 42001])
async def test_check_token_that_is_not(platform: Platform, oauth: OAuthAPI, tokens: StubTokens, errcode: int) -> None:
    """These three speak of the token; the account's token has nothing to do with them."""
    platform.answer("GET", CHECK, {"errcode": errcode, "errmsg": "no"})
    assert await oauth.check_token(ACCESS, openid="oA") is False
    assert tokens.dead == []


async def test_check_token_that_failed(platform: Platform, oauth: OAuthAPI) -> None:
    """Any other code says nothing about the token and is raised."""
    platform.answer("GET", CHECK, {"errcode": 48001, "errmsg": "unauthorized"})
    with pytest.raises(NotAuthorizedError):
        await oauth.check_token(ACCESS, openid="oA")


@pytest.mark.parametrize(
    ("call", "errcode", "field"),
    [
        (lambda oauth: oauth.get_token(""), 41008, "code"),
        (lambda oauth: oauth.get_token(Secret("")), 41008, "code"),
        (lambda oauth: oauth.get_token(None), 41008, "code"),
        (lambda oauth: oauth.refresh_token(""), 41003, "refresh_token"),
        (lambda oauth: oauth.get_user("", openid="oA"), 41001, "access_token"),
        (lambda oauth: oauth.get_user(ACCESS, openid=""), 40003, "openid"),
        (lambda oauth: oauth.check_token("", openid="oA"), 41001, "access_token"),
        (lambda oauth: oauth.check_token(ACCESS, openid=""), 40003, "openid"),
    ],
)
async def test_empty_arguments(oauth: OAuthAPI, call: Callable[[OAuthAPI], Any], errcode: int, field: str) -> None:
    """What is empty is refused before sending."""
    with pytest.raises(ArgumentError) as caught:
        await call(oauth)
    assert (caught.value.errcode, caught.value.field) == (errcode, field)


async def test_nothing_secret_is_logged(platform: Platform, oauth: OAuthAPI, caplog: pytest.LogCaptureFixture) -> None:
    """A whole sign-in at level DEBUG, failures included, leaves no code, token or secret behind."""
    caplog.set_level(logging.DEBUG)
    platform.answer("GET", GET_TOKEN, httpx.ConnectError("refused"), ISSUED)
    platform.answer("GET", REFRESH, httpx.Response(502), ISSUED)
    platform.answer("GET", USER, {"errcode": 42001, "errmsg": f"{ACCESS} is over"})
    await oauth.get_token(CODE)
    await oauth.refresh_token(RENEWAL)
    with pytest.raises(DeadTokenError) as caught:
        await oauth.get_user(ACCESS, openid="oA")
    seen = "\n".join([caplog.text, *traceback.format_exception(caught.value)])
    assert caplog.records
    for secret in (CODE, ACCESS, RENEWAL, APPSECRET, TOKEN):
        assert secret not in seen
