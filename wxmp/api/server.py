"""The platform's addresses, a check of the callback address, and rid look-up (基础接口)."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, get_args

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, decode
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_text, refusal

__all__ = ["CallbackCheck", "CheckAction", "CheckOperator", "DNSResult", "PingResult", "RequestRecord", "ServerAPI"]

CHECK_CALLBACK: Final = Endpoint("POST", "/cgi-bin/callback/check", repeatable=True)
LIST_API_IPS: Final = Endpoint("GET", "/cgi-bin/get_api_domain_ip", repeatable=True)
LIST_CALLBACK_IPS: Final = Endpoint("GET", "/cgi-bin/getcallbackip", repeatable=True)
EXPLAIN_RID: Final = Endpoint("POST", "/cgi-bin/openapi/rid/get", repeatable=True)

#: What is checked: name resolution, reachability, or both.
CheckAction = Literal["dns", "ping", "all"]
#: The network the check starts from: China Telecom, China Unicom, Tencent, or the platform's choice.
CheckOperator = Literal["CHINANET", "UNICOM", "CAP", "DEFAULT"]


@attrs.frozen
class DNSResult:
    """One address that the host name of the callback URL resolves to (域名解析结果)."""

    ip: str
    #: The carrier of that address.
    real_operator: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class PingResult:
    """One address that was pinged, with a single packet (ping 结果)."""

    ip: str
    #: The carrier it was pinged from.
    from_operator: str | None = None
    #: ``"0%"`` or ``"100%"``.
    package_loss: str | None = None
    #: Time for the round trip as the platform writes it, with its unit: ``"23.079ms"``.
    time: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class CallbackCheck:
    """How the platform reaches the callback URL (网络检测结果)."""

    #: Where the host name leads.
    dns: tuple[DNSResult, ...] = ()
    #: Whether those addresses answer.
    ping: tuple[PingResult, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class RequestRecord:
    """What the platform recorded about one request (rid 信息).

    ``request_url`` and the bodies can hold an access_token or personal data. They are not part of the repr; do not log
    them.
    """

    #: When the call arrived.
    invoke_time: datetime
    #: How long it took, in milliseconds.
    cost_in_ms: int
    #: The query string.
    request_url: str = attrs.field(default="", repr=False)
    #: The body of a POST; empty for a GET.
    request_body: str = attrs.field(default="", repr=False)
    #: The answer.
    response_body: str = attrs.field(default="", repr=False)
    #: The caller's address.
    client_ip: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True, repr=False)


@attrs.frozen
class ServerAPI:
    """The platform's addresses, the callback check, rid look-up (基础接口)."""

    _call: Caller

    async def check_callback(
        self, *, action: CheckAction = "all", check_operator: CheckOperator = "DEFAULT"
    ) -> CallbackCheck:
        """Let the platform resolve and ping the host of the callback URL (网络通信检测).

        Args:
            action: ``"dns"``, ``"ping"`` or ``"all"``.
            check_operator: The network it starts from: ``"CHINANET"`` (电信), ``"UNICOM"`` (联通), ``"CAP"``
                (腾讯自建), or ``"DEFAULT"`` to let the platform choose.

        Returns:
            The addresses found; the part that was not asked for is empty.

        Raises:
            ArgumentError: No callback URL is configured (40201), or an argument is not one of its values (40202,
                40203; found before sending).

        Source:
            POST /cgi-bin/callback/check - 基础接口 / 网络通信检测
        """
        if action not in get_args(CheckAction):
            raise refusal(CHECK_CALLBACK, "action", 40202, _one_of(CheckAction))
        if check_operator not in get_args(CheckOperator):
            raise refusal(CHECK_CALLBACK, "check_operator", 40203, _one_of(CheckOperator))
        reply = await self._call(CHECK_CALLBACK, json={"action": action, "check_operator": check_operator})
        return decode(CallbackCheck, without_verdict(reply), endpoint=CHECK_CALLBACK.name)

    async def list_api_ips(self) -> tuple[str, ...]:
        """List the addresses behind the server API (获取微信API服务器IP).

        They are meant for a firewall on the way out. They change: ask daily, and call the API by its host name.

        Returns:
            Addresses and CIDR ranges.

        Source:
            GET /cgi-bin/get_api_domain_ip - 基础接口 / 获取微信API服务器IP
        """
        reply = await self._call(LIST_API_IPS)
        return decode(tuple[str, ...], field_of(reply, "ip_list", LIST_API_IPS), endpoint=LIST_API_IPS.name)

    async def list_callback_ips(self) -> tuple[str, ...]:
        """List the addresses that pushes come from (获取微信推送服务器IP).

        They change: ask daily. An allow list is no substitute for checking the signature of each push.

        Returns:
            Addresses and CIDR ranges.

        Source:
            GET /cgi-bin/getcallbackip - 基础接口 / 获取微信推送服务器IP
        """
        reply = await self._call(LIST_CALLBACK_IPS)
        return decode(tuple[str, ...], field_of(reply, "ip_list", LIST_CALLBACK_IPS), endpoint=LIST_CALLBACK_IPS.name)

    async def explain_rid(self, rid: str) -> RequestRecord:
        """Look up a failed request of this account (查询rid信息).

        Args:
            rid: The ``rid`` of an :class:`~wxmp.errors.APIError`. The platform keeps it for 7 days.

        Returns:
            What the platform recorded. It can hold tokens: treat it as a secret.

        Raises:
            ArgumentError: ``rid`` is empty or malformed (76002; empty is found before sending).
            NotFoundError: The rid is not known (76001).
            NotAuthorizedError: It belongs to another account (76003), or not with this token (76022).
            APIError: It is older than 7 days (76004).

        Source:
            POST /cgi-bin/openapi/rid/get - openApi管理 / 查询rid信息
        """
        check_text(EXPLAIN_RID, "rid", rid, errcode=76002)
        reply = await self._call(EXPLAIN_RID, json={"rid": rid})
        return decode(RequestRecord, field_of(reply, "request", EXPLAIN_RID), endpoint=EXPLAIN_RID.name)


def _one_of(choice: object) -> str:
    return f"must be one of {', '.join(get_args(choice))}"
