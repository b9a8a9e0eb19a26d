"""Web page authorization (网页授权): who is looking at your page inside WeChat."""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import quote

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._redact import Secret
from wxmp._request import Credentials
from wxmp._wire import JsonObject, decode
from wxmp.api._answers import field_of, without_verdict
from wxmp.api._checks import check_address, check_openid, check_text, refusal
from wxmp.errors import DeadTokenError, ReplyError

__all__ = ["OAuthAPI", "OAuthUser", "UserToken"]

#: Most characters of a ``state``; letters and digits only.
STATE_CHARS: Final = 128
SCOPES: Final = ("snsapi_base", "snsapi_userinfo")
LANGUAGES: Final = ("zh_CN", "zh_TW", "en")

REDIRECT_REFUSED: Final = 10003
SCOPE_REFUSED: Final = 10005
STATE_REFUSED: Final = 10016
LANGUAGE_REFUSED: Final = 40035
TOKEN_MISSING: Final = 41001
REFRESH_TOKEN_MISSING: Final = 41003
CODE_MISSING: Final = 41008
#: A user token that is wrong or over, or does not belong to the openid.
NOT_GOOD: Final = frozenset({40001, 40003, 42001})

RENEW_ADVICE: Final = (
    "This is the user's token, not the account's: renew it with client.oauth.refresh_token, or send the user through "
    "the authorization page again."
)

_STATE: Final = re.compile(r"[A-Za-z0-9]*")

# The browser opens this one; the SDK builds the address and sends nothing.
AUTHORIZE: Final = Endpoint("GET", "/connect/oauth2/authorize", repeatable=True, auth="none")
GET_TOKEN: Final = Endpoint("GET", "/sns/oauth2/access_token", repeatable=False, auth="none", issues_tokens=True)
REFRESH_TOKEN: Final = Endpoint("GET", "/sns/oauth2/refresh_token", repeatable=True, auth="none", issues_tokens=True)
GET_USER: Final = Endpoint("GET", "/sns/userinfo", repeatable=True, auth="none")
CHECK_TOKEN: Final = Endpoint("GET", "/sns/auth", repeatable=True, auth="none", accepted_codes=NOT_GOOD)


@attrs.frozen
class UserToken:
    """What a user has allowed (网页授权access_token): theirs alone, and never to be mixed with the account's token.

    Keep both tokens on the server. ``reveal()`` gives their text, for your own store.
    """

    #: For :meth:`OAuthAPI.get_user`.
    access_token: Secret
    #: Seconds the access token lives, counted from the answer; 7200.
    expires_in: float
    #: For :meth:`OAuthAPI.refresh_token`; lives 30 days.
    refresh_token: Secret
    openid: str
    #: What was allowed: ``snsapi_base``, ``snsapi_userinfo``.
    scope: tuple[str, ...]
    #: Their id across all apps bound to one Open Platform account; with ``snsapi_userinfo`` only.
    unionid: str | None = None
    #: A made-up visitor of the preview mode (快照页模式的虚拟账号): do not create an account for them.
    is_snapshotuser: bool = False
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class OAuthUser:
    """The profile of a user who consented (用户信息)."""

    openid: str
    nickname: str | None = None
    #: 0 unknown, 1 male, 2 female; 0 for many users since 2021.
    sex: int | None = None
    province: str | None = None
    city: str | None = None
    country: str | None = None
    #: Address of the avatar. Its last part is the size: 0 (640x640), 46, 64, 96 or 132.
    headimgurl: str | None = None
    privilege: tuple[str, ...] = ()
    #: Their id across all apps bound to one Open Platform account.
    unionid: str | None = None
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class OAuthAPI:
    """Web page authorization (网页授权).

    Send the browser to :meth:`authorize_url`; it comes back to your page with a ``code``; :meth:`get_token` swaps that
    for the openid and a token of the user; with ``snsapi_userinfo``, :meth:`get_user` reads the profile.

    Verified service accounts only; the others get 48001. Each call can be made 50 000 times a minute.
    """

    _call: Caller
    _open_origin: str

    def authorize_url(
        self,
        redirect_uri: str,
        *,
        scope: Literal["snsapi_base", "snsapi_userinfo"] = "snsapi_base",
        state: str | None = None,
        force_popup: bool | None = None,
        force_snapshot: bool | None = None,
    ) -> str:
        """Return the address that asks the user (引导用户进入授权页面). Nothing is sent.

        It is for pages inside WeChat. The QR login of websites has another page, and the AppID of a website.

        Args:
            redirect_uri: Where the browser comes back to, with ``code`` and ``state``. Its host must be registered in
                the console (网页授权域名).
            scope: ``snsapi_base`` gives the openid without asking; ``snsapi_userinfo`` asks for the profile.
            state: Comes back as it is: letters and digits, at most 128. Put something in that only this browser's
                session knows and compare it on return; otherwise others can log the user in as themselves.
            force_popup: Ask even if the user consented before (``forcePopup``).
            force_snapshot: Open the page in preview mode (``forceSnapShot``).

        Raises:
            ArgumentError: ``redirect_uri`` is no web address (10003), ``scope`` is another one (10005), ``state`` has
                other characters or too many (10016).

        Source:
            GET https://open.weixin.qq.com/connect/oauth2/authorize - 网页授权 / 用户同意授权,获取code
        """
        if scope not in SCOPES:
            raise refusal(AUTHORIZE, "scope", SCOPE_REFUSED, "must be 'snsapi_base' or 'snsapi_userinfo'")
        # WeChat's own browsers want exactly this order, and the fragment.
        pairs = [
            ("appid", self._call.appid),
            ("redirect_uri", check_address(AUTHORIZE, "redirect_uri", redirect_uri, errcode=REDIRECT_REFUSED)),
            ("response_type", "code"),
            ("scope", scope),
        ]
        if state is not None:
            pairs.append(("state", _checked_state(state)))
        for name, value in (("forcePopup", force_popup), ("forceSnapShot", force_snapshot)):
            if value is not None:
                pairs.append((name, "true" if value else "false"))
        query = "&".join([f"{name}={quote(text, safe='')}" for name, text in pairs])
        return f"{self._open_origin}{AUTHORIZE.path}?{query}#wechat_redirect"

    async def get_token(self, code: str | Secret) -> UserToken:
        """Swap the code of a redirect for the user's openid and token (通过code换取网页授权access_token).

        A code works once. The call is therefore repeated only when it certainly never arrived; after another broken
        connection send the user through :meth:`authorize_url` again.

        Args:
            code: From the query of the redirect; 5 minutes old at most.

        Raises:
            ArgumentError: The code is unknown (40029), used (40163), too old (42003), or empty (41008; found before
                sending).
            AccountError: The AppSecret is wrong (40125, 40001, 41004), or the AppID (40013, 41002).

        Source:
            GET /sns/oauth2/access_token - 网页授权 / 通过code换取网页授权access_token
        """
        secret = _checked_secret(GET_TOKEN, "code", code, errcode=CODE_MISSING)
        reply = await self._call(
            GET_TOKEN,
            params={"appid": self._call.appid, "grant_type": "authorization_code"},
            credentials=Credentials(params={"secret": self._call.secret(), "code": secret}),
        )
        return _user_token(reply, GET_TOKEN)

    async def refresh_token(self, refresh_token: str | Secret) -> UserToken:
        """Renew a user's token (刷新access_token).

        Args:
            refresh_token: From the last answer.

        Returns:
            New tokens; store the ``refresh_token`` that comes with them.

        Raises:
            ArgumentError: The refresh token is unknown (40030, 40029), over 30 days old (42002), or empty (41003; found
                before sending).
            RecipientError: The user changed the password (42007). In all three cases the user must consent again.

        Source:
            GET /sns/oauth2/refresh_token - 网页授权 / 刷新access_token
        """
        secret = _checked_secret(REFRESH_TOKEN, "refresh_token", refresh_token, errcode=REFRESH_TOKEN_MISSING)
        reply = await self._call(
            REFRESH_TOKEN,
            params={"appid": self._call.appid, "grant_type": "refresh_token"},
            credentials=Credentials(params={"refresh_token": secret}),
        )
        return _user_token(reply, REFRESH_TOKEN)

    async def get_user(
        self,
        access_token: str | Secret,
        *,
        openid: str,
        lang: Literal["zh_CN", "zh_TW", "en"] | None = None,
    ) -> OAuthUser:
        """Read the profile of a user who consented (拉取用户信息).

        Args:
            access_token: The user's token, not the account's.
            openid: The user, as it came with the token.
            lang: Language of place names; the platform's default is ``zh_CN``.

        Raises:
            DeadTokenError: The user's token is wrong or over (40001, 42001): :meth:`refresh_token`.
            ArgumentError: The openid does not belong to the token (40003).
            NotAuthorizedError: The user allowed ``snsapi_base`` only (48001), or nothing (50001).

        Source:
            GET /sns/userinfo - 网页授权 / 拉取用户信息
        """
        if lang is not None and lang not in LANGUAGES:
            raise refusal(GET_USER, "lang", LANGUAGE_REFUSED, "must be 'zh_CN', 'zh_TW' or 'en'")
        secret = _checked_secret(GET_USER, "access_token", access_token, errcode=TOKEN_MISSING)
        params = {"openid": check_openid(GET_USER, openid), "lang": lang}
        try:
            reply = await self._call(GET_USER, params=params, credentials=Credentials(params={"access_token": secret}))
        except DeadTokenError as error:
            raise error.with_advice(RENEW_ADVICE) from None
        return decode(OAuthUser, without_verdict(reply), endpoint=GET_USER.name)

    async def check_token(self, access_token: str | Secret, *, openid: str) -> bool:
        """Tell whether a user's token is still good (检验授权凭证是否有效).

        Args:
            access_token: The user's token, not the account's.
            openid: The user, as it came with the token.

        Returns:
            False if the token is wrong (40001), over (42001), or does not belong to the openid (40003). Everything else
            that goes wrong is raised, for it says nothing about the token.

        Source:
            GET /sns/auth - 网页授权 / 检验授权凭证(access_token)是否有效
        """
        secret = _checked_secret(CHECK_TOKEN, "access_token", access_token, errcode=TOKEN_MISSING)
        reply = await self._call(
            CHECK_TOKEN,
            params={"openid": check_openid(CHECK_TOKEN, openid)},
            credentials=Credentials(params={"access_token": secret}),
        )
        return reply.get("errcode") not in NOT_GOOD


def _checked_state(state: object) -> str:
    if not isinstance(state, str) or len(state) > STATE_CHARS or _STATE.fullmatch(state) is None:
        problem = f"must be letters a-z, A-Z and digits, at most {STATE_CHARS}"
        raise refusal(AUTHORIZE, "state", STATE_REFUSED, problem)
    return state


def _checked_secret(endpoint: Endpoint, field: str, value: object, *, errcode: int) -> Secret:
    text = value.reveal() if isinstance(value, Secret) else value
    good = check_text(endpoint, field, text, errcode=errcode)
    if not good.isascii() or not good.isprintable() or " " in good:
        raise refusal(endpoint, field, errcode, "must be what the platform gave: ASCII letters and signs, no blanks")
    return Secret(good)


def _user_token(reply: JsonObject, endpoint: Endpoint) -> UserToken:
    """Read an issued token. By hand: the converter makes no secrets, and an error must not show one."""
    rest = without_verdict(reply)
    return UserToken(
        access_token=_issued(rest, "access_token", endpoint),
        expires_in=decode(float, field_of(reply, "expires_in", endpoint), endpoint=endpoint.name),
        refresh_token=_issued(rest, "refresh_token", endpoint),
        openid=decode(str, field_of(reply, "openid", endpoint), endpoint=endpoint.name),
        scope=tuple(part for part in decode(str, rest.pop("scope", ""), endpoint=endpoint.name).split(",") if part),
        unionid=decode(str, rest.pop("unionid", ""), endpoint=endpoint.name) or None,
        is_snapshotuser=decode(bool, rest.pop("is_snapshotuser", 0), endpoint=endpoint.name),
        extra={name: value for name, value in rest.items() if name not in ("expires_in", "openid")},
    )


def _issued(rest: JsonObject, name: str, endpoint: Endpoint) -> Secret:
    value = rest.pop(name, None)
    if not isinstance(value, str) or not value:
        raise ReplyError(f"the answer does not have the documented shape: no usable {name}", endpoint=endpoint.name)
    return Secret(value)
