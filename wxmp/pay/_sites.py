"""The two sites of WeChat Pay's gateway (主备域名), and when a call goes to the other one."""

from __future__ import annotations

from typing import Final

__all__ = ["BACKUP", "BAD_SITE", "MIN_ATTEMPT", "OFFICIAL_HOSTS", "PRODUCTION", "UNAVAILABLE", "backup_of"]

PRODUCTION: Final = "https://api.mch.weixin.qq.com"
#: The other site.
BACKUP: Final = "https://api2.mch.weixin.qq.com"
#: Hosts of WeChat Pay: a link in an answer may name any of them.
OFFICIAL_HOSTS: Final = frozenset(
    {
        *("api.mch.weixin.qq.com", "api2.mch.weixin.qq.com", "api.wechatpay.cn", "api2.wechatpay.cn"),
        *("apihk.mch.weixin.qq.com", "apius.mch.weixin.qq.com"),
    }
)
#: Seconds for which a site that failed is not the first choice.
BAD_SITE: Final = 45.0
#: What a site answers that is itself in trouble.
UNAVAILABLE: Final = (502, 503)
#: Seconds that a repeat gets at least: one with nothing left would only make the outcome unknown.
MIN_ATTEMPT: Final = 1.0


def backup_of(base_url: str, backup_url: str | None) -> str | None:
    """Return the second site; none where another first one stands beside the platform's own second.

    What is meant for a simulator, or for somebody's proxy, must never reach the platform.
    """
    return None if backup_url == BACKUP and base_url != PRODUCTION else backup_url
