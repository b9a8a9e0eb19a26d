"""OAuth pages (网页授权): the consent page, codes, user tokens, profiles."""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from wxmp.simulator import tokens
from wxmp.simulator.menus import domain_of
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import Account, OAuthCode, OAuthGrant, User
from wxmp.simulator.wire import JsonObject, Refusal, Reply

__all__ = ["ROUTES"]

SCOPES: Final = frozenset({"snsapi_base", "snsapi_userinfo"})
STATE = re.compile(r"[a-zA-Z0-9]*\Z")
PAGE: Final = """<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title></head>
<body><h1>{title}</h1>{body}</body></html>
"""
MAX_CHOICES: Final = 20


def page(title: str, body: str, *, why: str) -> Reply:
    """Return a page for a person's eyes. ``body`` is HTML and must be escaped already."""
    text = PAGE.format(title=html.escape(title), body=body).encode()
    return Reply(text, content_type="text/html; charset=utf-8", why=why)


def problem(code: int, text: str) -> Reply:
    """Return the page a user sees when the link is wrong."""
    return page("无法打开", f"<p>{html.escape(text)}</p><p>错误码 {code}</p>", why=f"page error {code}: {text}")


def authorize(call: Call) -> Reply:
    """Show the consent page, or send the browser straight back with a code.

    Besides the platform's own parameters: ``user`` chooses who is sitting at the phone, ``auto=1`` taps "allow" and
    ``snapshot=1`` makes the visitor a preview-mode one.
    """
    account = call.world.state.accounts.get(call.query("appid"))
    if account is None:
        return problem(10013, "appid 参数错误")
    call.account = account
    target = call.query("redirect_uri")
    domain = domain_of(target)
    if not domain or (account.oauth_domains is not None and domain not in account.oauth_domains):
        return problem(10003, "redirect_uri 域名与后台配置不一致")
    scope, state = call.query("scope"), call.query("state")
    if scope not in SCOPES or (account.kind != "service" or not (account.verified or account.test)):
        return problem(10005, "scope 参数错误或没有 scope 权限")
    if call.query("response_type") != "code":
        return problem(10004, "response_type 参数错误")
    if not STATE.match(state) or len(state) > call.world.policy.oauth_state_chars:
        return problem(10016, "state 参数错误")
    user = visitor(call, account)
    if user is None:
        return problem(10006, "没有这个用户")
    if scope == "snsapi_userinfo" and call.query("auto") != "1":
        return consent(call, account, user)
    code = call.world.make_id("oauth code", 32)
    account.codes[code] = OAuthCode(user.openid, scope, call.now, snapshot=call.query("snapshot") == "1")
    location = with_query(target, {"code": code, "state": state})
    return Reply(
        status=302, content_type="text/html", headers=(("location", location),), why=f"code for {user.openid[:8]}…"
    )


def visitor(call: Call, account: Account) -> User | None:
    """Return who visits the page: the one asked for, else the first user, else a new stranger."""
    wanted = call.query("user")
    if wanted:
        return account.users.get(wanted)
    if not account.users:
        return account.users[call.world.create_stranger(appid=account.appid)]
    return next(iter(account.users.values()))


def consent(call: Call, account: Account, user: User) -> Reply:
    """Return the page that asks for consent, with a link for every user it can be given as."""
    others = [user, *(other for other in account.users.values() if other is not user)][:MAX_CHOICES]
    items: list[str] = []
    for choice in others:
        query = {**call.request.query, "user": choice.openid, "auto": "1"}
        link = html.escape(f"?{urlencode(query, quote_via=quote)}", quote=True)
        name = html.escape(f"{call.world.person_of(choice).nickname} ({choice.openid})")
        items.append(f'<li><a href="{link}">允许: {name}</a></li>')
    return page("申请获取你的头像、昵称", f"<ul>{''.join(items)}</ul>", why="the consent page is shown")


def with_query(url: str, more: dict[str, str]) -> str:
    """Return a URL with parameters added to those it has."""
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *more.items()])
    return urlunsplit(parts._replace(query=query))


def sns_account(call: Call) -> Account:
    """Return the account named in the query of an ``sns`` call."""
    appid = call.query("appid")
    if not appid:
        raise Refusal(41002, "appid is missing")
    account = call.world.state.accounts.get(appid)
    if account is None:
        raise Refusal(40013, "no such account in this world")
    call.account = account
    call.world.spend(account, call.request.path, call.now)
    return account


def access_token(call: Call) -> JsonObject:
    """Swap a code for a user token; a code works once."""
    if not call.query("appid"):
        raise Refusal(41002, "appid is missing")
    if not call.query("secret"):
        raise Refusal(41004, "secret is missing")
    if not call.query("code"):
        raise Refusal(41008, "code is missing")
    if call.query("grant_type") != "authorization_code":
        raise Refusal(40002, f"grant_type is {call.query('grant_type')!r}")
    account, policy = sns_account(call), call.world.policy
    tokens.check_secret(call.world, account, call.query("secret"))
    code = account.codes.get(call.query("code"))
    if code is None:
        raise Refusal(40029, "no such code")
    if code.used:
        raise Refusal(40163, "the code was used before")
    if call.now - code.issued_at > policy.oauth_code_life:
        raise Refusal(policy.oauth_expired_code_errcode, f"the code is older than {policy.oauth_code_life:.0f} s")
    code.used = True
    refresh = call.world.make_id("oauth refresh", 86)
    account.refresh_tokens[refresh] = OAuthGrant(code.openid, code.scope, call.now + policy.oauth_refresh_life)
    answer = grant(call, account, code.openid, code.scope, refresh)
    if code.snapshot:
        answer["is_snapshotuser"] = 1
    if code.scope == "snsapi_userinfo" and account.open_platform:
        answer["unionid"] = call.world.person_of(account.users[code.openid]).unionid
    return answer


def grant(call: Call, account: Account, openid: str, scope: str, refresh: str) -> JsonObject:
    """Mint a user token."""
    text = f"{60 + len(account.oauth_tokens) % 40}_{call.world.make_id('oauth token', 86)}"
    life = call.world.policy.oauth_token_life
    account.oauth_tokens[text] = OAuthGrant(openid, scope, call.now + life)
    return {"access_token": text, "expires_in": life, "refresh_token": refresh, "openid": openid, "scope": scope}


def refresh_token(call: Call) -> JsonObject:
    """Renew a user token."""
    if call.query("grant_type") != "refresh_token":
        raise Refusal(40002, f"grant_type is {call.query('grant_type')!r}")
    text = call.query("refresh_token")
    if not text:
        raise Refusal(41003, "refresh_token is missing")
    account = sns_account(call)
    found = account.refresh_tokens.get(text)
    if found is None:
        raise Refusal(40030, "no such refresh_token")
    if found.revoked:
        raise Refusal(42007, "the user changed the password")
    if call.now >= found.expires_at:
        raise Refusal(42002, "the refresh_token is over 30 days old")
    return grant(call, account, found.openid, found.scope, text)


def judge_user_token(call: Call) -> tuple[Account, OAuthGrant]:
    """Check a user token and the openid that comes with it."""
    text = call.query("access_token")
    if not text:
        raise Refusal(41001, "access_token is missing")
    for account in call.world.state.accounts.values():
        found = account.oauth_tokens.get(text)
        if found is None:
            continue
        call.account = account
        if found.revoked:
            raise Refusal(42007, "the user changed the password")
        if call.now >= found.expires_at:
            raise Refusal(42001, "the user token is over its life")
        if call.query("openid") != found.openid:
            raise Refusal(40003, "the openid is not the one of the token")
        return account, found
    why = "the access token of the account was used as user token" if call.world.find_token(text) else "no such token"
    raise Refusal(40001, why)


def user_info(call: Call) -> JsonObject:
    """Read the profile of a consenting user."""
    account, found = judge_user_token(call)
    if found.scope != "snsapi_userinfo":
        raise Refusal(48001, "the user gave snsapi_base only")
    call.world.spend(account, call.request.path, call.now)
    person = call.world.person_of(account.users[found.openid])
    answer: JsonObject = {
        "openid": found.openid,
        "nickname": person.nickname,
        "sex": 0,
        "language": "",
        "city": "",
        "province": "",
        "country": "",
        "headimgurl": f"https://thirdwx.qlogo.cn/mmopen/vi_32/simulated{person.number}/132",
        "privilege": [],
    }
    if account.open_platform:
        answer["unionid"] = person.unionid
    return answer


def check_token(call: Call) -> JsonObject:
    """Tell whether a user token is still good."""
    judge_user_token(call)
    return OK()


ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/connect/oauth2/authorize", authorize, auth="none", host="open", style="page"),
    Route("GET", "/sns/oauth2/access_token", access_token, auth="none", style="sns"),
    Route("GET", "/sns/oauth2/refresh_token", refresh_token, auth="none", style="sns"),
    Route("GET", "/sns/userinfo", user_info, auth="none", style="sns"),
    Route("GET", "/sns/auth", check_token, auth="none", style="sns"),
)
