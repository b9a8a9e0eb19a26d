"""Quotas: what goes out, what comes back, and that no reset is ever spent twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from wxmp.api.quota import APIQuota, DailyQuota, QuotaAPI, RateLimit
from wxmp.errors import (
    AccountError,
    ArgumentError,
    BadStatusError,
    NotAuthorizedError,
    NotFoundError,
    RateLimitError,
    ReplyError,
)

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

APPID = "wx0123456789abcdef"
APPSECRET = "appsecret-of-the-tests"
OK = {"errcode": 0, "errmsg": "ok"}
SEND = "/cgi-bin/message/custom/send"


@pytest.fixture
def quota(caller: Caller) -> QuotaAPI:
    """The family under test."""
    return QuotaAPI(caller)


async def test_clear_names_the_own_appid(platform: Platform, quota: QuotaAPI) -> None:
    """Clear sends the account's AppID with its token."""
    route = platform.answer("POST", "/cgi-bin/clear_quota", OK)
    await quota.clear()
    assert platform.body(route) == {"appid": APPID}
    assert platform.params(route) == {}


async def test_clear_with_secret_needs_no_token(platform: Platform, quota: QuotaAPI) -> None:
    """clear_with_secret sends AppID and AppSecret in the body and nothing in the query."""
    route = platform.answer("POST", "/cgi-bin/clear_quota/v2", OK)
    await quota.clear_with_secret()
    assert platform.body(route) == {"appid": APPID, "appsecret": APPSECRET}
    assert platform.query(route) == {}


async def test_get_reads_every_field(platform: Platform, quota: QuotaAPI) -> None:
    """Get returns the daily quota and both rate limits, and keeps what it does not know."""
    route = platform.answer(
        "POST",
        "/cgi-bin/openapi/quota/get",
        {
            **OK,
            "quota": {"daily_limit": 500000, "used": 12, "remain": 499988},
            "rate_limit": {"call_count": 1000, "refresh_second": 60},
            "component_rate_limit": {"call_count": 10, "refresh_second": 1, "new": True},
            "tomorrow": 1,
        },
    )
    found = await quota.get(SEND)
    assert platform.body(route) == {"cgi_path": SEND}
    assert found == APIQuota(
        DailyQuota(daily_limit=500000, used=12, remain=499988),
        RateLimit(call_count=1000, refresh_second=60),
        RateLimit(call_count=10, refresh_second=1, extra={"new": True}),
        extra={"tomorrow": 1},
    )


async def test_get_without_rate_limits(platform: Platform, quota: QuotaAPI) -> None:
    """A path without a short-period limit has none in the record."""
    platform.answer(
        "POST", "/cgi-bin/openapi/quota/get", {**OK, "quota": {"daily_limit": "1", "used": "1", "remain": "0"}}
    )
    found = await quota.get(SEND)
    assert (found.quota.remain, found.rate_limit, found.component_rate_limit, found.extra) == (0, None, None, {})


@pytest.mark.parametrize("reply", [OK, {**OK, "quota": {"used": 1, "remain": 1}}, {**OK, "quota": []}])
async def test_get_without_a_documented_field(platform: Platform, quota: QuotaAPI, reply: dict[str, object]) -> None:
    """An answer without the daily quota is a ReplyError that names what is missing."""
    platform.answer("POST", "/cgi-bin/openapi/quota/get", reply)
    with pytest.raises(ReplyError, match=r"quota|daily_limit") as caught:
        await quota.get(SEND)
    assert caught.value.endpoint == "POST /cgi-bin/openapi/quota/get"


async def test_clear_path_names_the_path(platform: Platform, quota: QuotaAPI) -> None:
    """clear_path sends the path to reset."""
    route = platform.answer("POST", "/cgi-bin/openapi/quota/clear", OK)
    await quota.clear_path(SEND)
    assert platform.body(route) == {"cgi_path": SEND}
    assert platform.params(route) == {}


@pytest.mark.parametrize(
    ("method", "path", "arguments"),
    [
        ("clear", "/cgi-bin/clear_quota", ()),
        ("clear_with_secret", "/cgi-bin/clear_quota/v2", ()),
        ("clear_path", "/cgi-bin/openapi/quota/clear", (SEND,)),
    ],
)
async def test_a_reset_is_not_repeated(
    platform: Platform, quota: QuotaAPI, method: str, path: str, arguments: tuple[str, ...]
) -> None:
    """A reset whose outcome is unknown is reported and never sent a second time."""
    route = platform.answer("POST", path, httpx.Response(502, text="<html>"))
    with pytest.raises(BadStatusError) as caught:
        await getattr(quota, method)(*arguments)
    assert caught.value.maybe_acted
    assert route.call_count == 1


@pytest.mark.parametrize("method", ["clear", "clear_with_secret"])
async def test_the_resets_of_the_month_are_used_up(platform: Platform, quota: QuotaAPI, method: str) -> None:
    """48006 is a limit of the month, and is not waited for."""
    path = "/cgi-bin/clear_quota" if method == "clear" else "/cgi-bin/clear_quota/v2"
    route = platform.answer("POST", path, {"errcode": 48006, "errmsg": "forbid to clear quota rid: 6a-1-2"})
    with pytest.raises(RateLimitError) as caught:
        await getattr(quota, method)()
    assert (caught.value.scope, caught.value.rid, route.call_count) == ("month", "6a-1-2", 1)


@pytest.mark.parametrize("code", [40001, 40013, 41002, 41004])
async def test_clear_with_a_wrong_secret(platform: Platform, quota: QuotaAPI, code: int) -> None:
    """A refused AppID or AppSecret is the account's error: no token is blamed, and the secret is not in the text."""
    route = platform.answer("POST", "/cgi-bin/clear_quota/v2", {"errcode": code, "errmsg": f"bad {APPSECRET}"})
    with pytest.raises(AccountError) as caught:
        await quota.clear_with_secret()
    assert caught.value.errcode == code
    assert APPSECRET not in str(caught.value) + repr(caught.value)
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("code", "error"), [(76021, NotFoundError), (76022, NotAuthorizedError), (76003, NotAuthorizedError)]
)
async def test_get_errors(platform: Platform, quota: QuotaAPI, code: int, error: type[Exception]) -> None:
    """A path that is unknown and one that is out of reach are different errors."""
    platform.answer("POST", "/cgi-bin/openapi/quota/get", {"errcode": code, "errmsg": "no"})
    with pytest.raises(error):
        await quota.get("/cgi-bin/nothing")


async def test_clear_path_used_up(platform: Platform, quota: QuotaAPI) -> None:
    """45009 on clear_path is a used-up quota, and is not waited for."""
    route = platform.answer("POST", "/cgi-bin/openapi/quota/clear", {"errcode": 45009, "errmsg": "no"})
    with pytest.raises(RateLimitError):
        await quota.clear_path(SEND)
    assert route.call_count == 1


@pytest.mark.parametrize("method", ["get", "clear_path"])
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", 76021),
        ("  ", 76021),
        ("cgi-bin/user/get", 76021),
        ("https://api.weixin.qq.com/cgi-bin/user/get", 76021),
        ("/cgi-bin/user/get?next_openid=", 76021),
        ("/sns/userinfo", 76022),
    ],
)
async def test_a_path_that_cannot_be_one(
    platform: Platform, quota: QuotaAPI, method: str, path: str, code: int
) -> None:
    """What is no path, or not one that can be read, is refused before sending, with the platform's code."""
    with pytest.raises(ArgumentError) as caught:
        await getattr(quota, method)(path)
    assert (caught.value.errcode, caught.value.field) == (code, "cgi_path")
    assert caught.value.endpoint.startswith("POST /cgi-bin/openapi/quota/")
