"""Call quotas: read them and fill them again (openApi管理)."""

from __future__ import annotations

from typing import Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._request import Credentials
from wxmp._wire import JsonObject, decode
from wxmp.api._answers import without_verdict
from wxmp.api._checks import check_text, refusal

__all__ = ["APIQuota", "DailyQuota", "QuotaAPI", "RateLimit"]

CLEAR: Final = Endpoint("POST", "/cgi-bin/clear_quota", repeatable=False)
CLEAR_WITH_SECRET: Final = Endpoint(
    "POST", "/cgi-bin/clear_quota/v2", repeatable=False, auth="none", issues_tokens=True
)
GET: Final = Endpoint("POST", "/cgi-bin/openapi/quota/get", repeatable=True)
CLEAR_PATH: Final = Endpoint("POST", "/cgi-bin/openapi/quota/clear", repeatable=False)

#: No such path, and a path that this token may not ask about.
PATH_UNKNOWN: Final = 76021
PATH_REFUSED: Final = 76022


@attrs.frozen
class DailyQuota:
    """Calls of one day (每日调用额度)."""

    daily_limit: int
    #: The platform's count can be off by about 1 %.
    used: int
    remain: int
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class RateLimit:
    """Calls in a short period (调用频率限制)."""

    call_count: int
    #: The period, in seconds.
    refresh_second: int
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class APIQuota:
    """The limits of one path (API调用额度)."""

    quota: DailyQuota
    #: Absent if the path has no such limit.
    rate_limit: RateLimit | None = None
    #: The same for calls by a third-party platform.
    component_rate_limit: RateLimit | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class QuotaAPI:
    """Call quotas (openApi管理): read them, fill them again.

    The counters begin at zero again at midnight, Beijing time.
    """

    _call: Caller

    async def clear(self) -> None:
        """Set the daily counters of all paths of this account to zero (重置API调用次数).

        Each success spends one of the 10 resets of a month, which the console's button shares. So the call is never
        repeated when its outcome is unknown: look at :meth:`get` first. Only verified accounts have it.

        Raises:
            RateLimitError: The 10 resets are used up (48006).

        Source:
            POST /cgi-bin/clear_quota - openApi管理 / 重置API调用次数
        """
        await self._call(CLEAR, json={"appid": self._call.appid})

    async def clear_with_secret(self) -> None:
        """Set all daily counters to zero without an access_token (使用AppSecret重置API调用次数).

        For the case that the quota of the token endpoint itself is used up. It shares the 10 resets of a month with
        :meth:`clear`, and is not repeated either.

        Raises:
            AccountError: AppID or AppSecret is wrong (40013, 41002, 41004).
            RateLimitError: The 10 resets are used up (48006).

        Source:
            POST /cgi-bin/clear_quota/v2 - openApi管理 / 使用AppSecret重置API调用次数
        """
        # An official example has both values in the query, where every proxy logs them; the field table has the body.
        secret = Credentials(json={"appid": self._call.appid, "appsecret": self._call.secret()})
        await self._call(CLEAR_WITH_SECRET, credentials=secret)

    async def get(self, cgi_path: str) -> APIQuota:
        """Read the limits of one path and what is used up (查询API调用额度).

        Args:
            cgi_path: For example ``"/cgi-bin/message/custom/send"``: no host, no query.

        Raises:
            ArgumentError: It is no path, or one below ``/sns/``, which cannot be read (76021, 76022; found before
                sending).
            NotFoundError: No such path (76021).
            NotAuthorizedError: Not with this token (76003, 76022).

        Source:
            POST /cgi-bin/openapi/quota/get - openApi管理 / 查询API调用额度
        """
        _check_path(GET, cgi_path)
        reply = await self._call(GET, json={"cgi_path": cgi_path})
        return decode(APIQuota, without_verdict(reply), endpoint=GET.name)

    async def clear_path(self, cgi_path: str) -> None:
        """Set the daily counter of one path to zero (重置指定API调用次数).

        Each success spends one of the 50 resets of a month, so the call is not repeated when its outcome is unknown.
        The documentation is unclear about which paths of an Official Account can be reset.

        Args:
            cgi_path: For example ``"/cgi-bin/message/custom/send"``: no host, no query.

        Raises:
            ArgumentError: It is no path, or one below ``/sns/`` (76021, 76022; found before sending).
            NotFoundError: No such path (76021).
            NotAuthorizedError: Not with this token (76022).
            RateLimitError: The resets of this month are used up (45009).

        Source:
            POST /cgi-bin/openapi/quota/clear - openApi管理 / 重置指定API调用次数
        """
        _check_path(CLEAR_PATH, cgi_path)
        await self._call(CLEAR_PATH, json={"cgi_path": cgi_path})


def _check_path(endpoint: Endpoint, cgi_path: str) -> None:
    check_text(endpoint, "cgi_path", cgi_path, errcode=PATH_UNKNOWN)
    if not cgi_path.startswith("/") or any(sign in cgi_path for sign in "?#"):
        raise refusal(endpoint, "cgi_path", PATH_UNKNOWN, "must be a path that begins with '/', without host and query")
    if cgi_path.startswith("/sns/"):
        raise refusal(endpoint, "cgi_path", PATH_REFUSED, "paths below /sns/ cannot be inspected")
