"""OAuth pages (网页授权): the consent page, codes, user tokens, profiles."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from typing import Final, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from wxmp.simulator import people, tokens
from wxmp.simulator.menus import domain_of
from wxmp.simulator.routes import OK, Call, Route
from wxmp.simulator.state import Account, OAuthCode, OAuthGrant, User
from wxmp.simulator.wire import JsonObject, Refusal, Reply

__all__ = ["ROUTES"]

T = TypeVar("T")

SCOPES: Final = frozenset({"snsapi_base", "snsapi_userinfo"})
ENTRIES: Final = frozenset({"chat", "menu"})
MAX_CHOICES: Final = 50
NEW_USER: Final = "new"
COLOURS: Final = 6
# The control page sets these cookies before its phone opens a page: who holds the phone, where they came from (one of
# ENTRIES), and the language.
USER_COOKIE: Final = "sim_user"
ENTRY_COOKIE: Final = "sim_entry"
LANGUAGE_COOKIE: Final = "sim_lang"

STYLE: Final = """
:root{color-scheme:light dark;--bg:#f3f4f1;--card:#fff;--ink:#1b211e;--muted:#58625c;--line:#dfe3dc;--go:#0a6b4a;\
--on-go:#fff;--hover:#eff2ee}
@media(prefers-color-scheme:dark){:root{--bg:#101412;--card:#181d1a;--ink:#e6ebe7;--muted:#9daaa2;--line:#2a322d;\
--go:#58cf9b;--on-go:#06281b;--hover:#212824}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:20px;background:var(--bg);color:var(--ink);\
font:15px/1.5 system-ui,-apple-system,"PingFang SC","Microsoft YaHei",sans-serif}
main{width:min(360px,100%);padding:24px;border:1px solid var(--line);border-radius:16px;background:var(--card)}
header{text-align:center;margin-bottom:18px}
h1{font-size:18px;margin:10px 0 0;overflow-wrap:anywhere}
h2{font-size:15px;font-weight:600;margin:0 0 8px}
p{margin:0 0 12px;color:var(--muted);overflow-wrap:anywhere}
ul{list-style:none;margin:0 0 18px;padding:0}
.grants li{padding:4px 0 4px 20px;position:relative}
.grants li::before{content:"";position:absolute;left:4px;top:14px;width:6px;height:6px;\
border-radius:50%;background:var(--go)}
.face{display:inline-grid;place-items:center;width:40px;height:40px;flex:none;border-radius:10px;color:#fff;\
font-weight:600;font-style:normal;background:#3d6b58}
header .face{width:56px;height:56px;border-radius:14px;font-size:24px}
.c1{background:#2f6690}.c2{background:#7a4a83}.c3{background:#a04e2e}.c4{background:#4f6d1f}.c5{background:#94406a}
.person{display:flex;align-items:center;gap:12px;padding:8px 10px;border-radius:12px;color:inherit;text-decoration:none}
a.person:hover{background:var(--hover)}
.me{border:1px solid var(--line);margin-bottom:18px}
.person span{min-width:0}
.person b{overflow-wrap:anywhere;display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden}
.person small{color:var(--muted);overflow-wrap:anywhere}
.keys{display:grid;grid-template-columns:1fr 1fr;gap:10px}
.key{padding:11px;border-radius:10px;text-align:center;font-weight:600;text-decoration:none;color:inherit;\
border:1px solid var(--line)}
.key:hover{background:var(--hover)}
.go{background:var(--go);color:var(--on-go);border-color:var(--go)}
.go:hover{background:var(--go);filter:brightness(1.08)}
.other{display:block;margin-top:14px;text-align:center;color:var(--muted);font-size:13px}
:focus-visible{outline:2px solid var(--go);outline-offset:2px}
"""
STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE: Final = """<!DOCTYPE html>
<html lang="{lang}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'">
<title>{title}</title><style>{style}</style></head>
<body><main>{body}</main></body></html>
"""

# English and Chinese. The error pages of the platform are Chinese; both are shown there.
TEXTS: Final[dict[str, tuple[str, str]]] = {
    "title": ("Permission", "网页授权"),
    "asks": ("asks for your permission", "申请获取以下权限"),
    "profile": ("Your nickname and avatar", "你的昵称、头像"),
    "base": ("Your identity (openid)", "你的身份标识（openid）"),
    "allow": ("Allow", "允许"),
    "deny": ("Refuse", "拒绝"),
    "other": ("I am somebody else", "换一个人"),
    "who": ("Who are you?", "你是谁？"),
    "who_hint": (
        "This page was opened outside the phone, so the simulator cannot know.",
        "页面不是在模拟手机里打开的，所以不知道是谁。",
    ),
    "new": ("Somebody new", "新用户"),
    "new_hint": ("does not follow the account", "未关注公众号"),
    "follower": ("follower", "已关注"),
    "stranger": ("not a follower", "未关注"),
    "refused": ("You have refused", "你已拒绝授权"),
    "refused_hint": (
        "The website gets no code. A real phone leaves the page now.",
        "网站拿不到 code；真实手机会直接离开页面。",
    ),
    "wrong": ("This page cannot be opened", "无法打开"),
    "code": ("Error code", "错误码"),
}


def cookies(call: Call) -> dict[str, str]:
    """Read the request's cookies."""
    pairs = (part.partition("=") for part in call.request.headers.get("cookie", "").split(";"))
    return {name.strip(): unquote(value.strip()) for name, sign, value in pairs if sign}


def is_chinese(call: Call) -> bool:
    """Tell whether the visitor reads Chinese: the control page's language, else the browser's, else Chinese."""
    chosen = cookies(call).get(LANGUAGE_COOKIE)
    if chosen in {"zh", "en"}:
        return chosen == "zh"
    return call.request.headers.get("accept-language", "zh").lower().startswith("zh")


def say(call: Call, key: str) -> str:
    """Return a text in the visitor's language, escaped."""
    return html.escape(TEXTS[key][is_chinese(call)])


def page(call: Call, title: str, body: str, *, why: str) -> Reply:
    """Return a page for a person's eyes. ``title`` and ``body`` are HTML and must be escaped already."""
    lang = "zh-CN" if is_chinese(call) else "en"
    text = PAGE.format(lang=lang, title=title, body=body, style=STYLE, style_hash=STYLE_HASH)
    return Reply(text.encode("utf-8", errors="replace"), content_type="text/html; charset=utf-8", why=why)


def problem(call: Call, code: int, text: str) -> Reply:
    """Return the page a user sees when the link is wrong."""
    body = f"<header><h1>{say(call, 'wrong')}</h1></header><p>{html.escape(text)}</p><p>{say(call, 'code')} {code}</p>"
    return page(call, say(call, "wrong"), body, why=f"page error {code}: {text}")


def authorize(call: Call) -> Reply:
    """Show the consent page, or send the browser straight back with a code.

    Besides the platform's own parameters: ``user`` chooses who is sitting at the phone (``new``: somebody new),
    ``auto=1`` taps "allow", ``deny=1`` taps "refuse", ``snapshot=1`` makes the visitor a preview-mode one, and
    ``entry=chat`` or ``entry=menu`` says that a follower has come from there, and needs no consent page.
    """
    account = call.world.state.accounts.get(call.query("appid"))
    if account is None:
        return problem(call, 10013, "appid 参数错误")
    call.account = account
    target = call.query("redirect_uri")
    domain = domain_of(target)
    if not domain or (account.oauth_domains is not None and domain not in account.oauth_domains):
        return problem(call, 10003, "redirect_uri 域名与后台配置不一致")
    scope, state = call.query("scope"), call.query("state")
    if scope not in SCOPES or (account.kind != "service" or not (account.verified or account.test)):
        return problem(call, 10005, "scope 参数错误或没有 scope 权限")
    if call.query("response_type") != "code":
        return problem(call, 10004, "response_type 参数错误")
    policy = call.world.policy
    if not re.fullmatch(policy.oauth_state_pattern, state) or len(state) > policy.oauth_state_chars:
        return problem(call, 10016, "state 参数错误")
    wanted = call.query("user")
    if wanted and wanted != NEW_USER and wanted not in account.users:
        return problem(call, 10006, "没有这个用户")
    if call.query("deny") == "1":
        return refused(call, target, state)
    if must_choose(call, account, scope):
        return chooser(call, account)
    user = visitor(call, account)
    if scope == "snsapi_userinfo" and call.query("auto") != "1" and not silent(call, user):
        return consent(call, account, user)
    code = call.world.make_id("oauth code", 32)
    snapshot = call.query("snapshot") == "1" or call.query("forceSnapShot") == "true"
    account.codes[code] = OAuthCode(user.openid, scope, call.now, snapshot=snapshot)
    forget_oldest(account.codes, call.world.policy.oauth_kept)
    location = with_query(target, {"code": code, "state": state})
    return Reply(
        status=302, content_type="text/html", headers=(("location", location),), why=f"code for {user.openid[:8]}…"
    )


def silent(call: Call, user: User) -> bool:
    """Tell whether the consent page is left out: for a follower who comes from the chat or the menu."""
    entry = call.query("entry") or cookies(call).get(ENTRY_COOKIE, "")
    if entry not in ENTRIES or call.query("forcePopup") == "true":
        return False
    return user.following and call.world.policy.oauth_silent_for_followers


def named(call: Call, account: Account) -> User | None:
    """Return who the visitor is said to be: by the query, or by the cookie of the control page's phone."""
    return account.users.get(call.query("user") or cookies(call).get(USER_COOKIE, ""))


def must_choose(call: Call, account: Account, scope: str) -> bool:
    """Tell whether a person has to say who they are: nobody did, there are several, and somebody looks at the page."""
    if call.query("user") == NEW_USER or call.query("auto") == "1":
        return False
    if call.query("choose") == "1":
        return True
    if named(call, account) is not None or len(account.users) <= 1:
        return False
    return scope == "snsapi_userinfo" or "text/html" in call.request.headers.get("accept", "")


def visitor(call: Call, account: Account) -> User:
    """Return who visits the page: the one named, else the first user; a new stranger where there is none."""
    user = named(call, account)
    if user is None and call.query("user") != NEW_USER:
        user = next(iter(account.users.values()), None)
    return user if user is not None else account.users[call.world.create_stranger(appid=account.appid)]


def link(call: Call, **changes: str) -> str:
    """Return the address of this page with other parameters, for an attribute of the page."""
    kept = {name: value for name, value in call.request.query.items() if name not in {"choose", "deny", "auto"}}
    return html.escape(f"?{urlencode(kept | changes, quote_via=quote)}", quote=True)


def face(name: str) -> str:
    """Return a round picture made of a name."""
    colour = sum(map(ord, name)) % COLOURS
    return f'<i class="face c{colour}" aria-hidden="true">{html.escape(name.strip()[:1].upper() or "?")}</i>'


def person(call: Call, user: User) -> str:
    """Return a user as HTML."""
    name = call.world.person_of(user).nickname
    state = say(call, "follower" if user.following else "stranger")
    return (
        f"{face(name)}<span><b>{html.escape(name)}</b><small>{state} · {html.escape(user.openid[:10])}…</small></span>"
    )


def consent(call: Call, account: Account, user: User) -> Reply:
    """Return the page that asks for consent."""
    name = account.name or account.original_id
    body = (
        f"<header>{face(name)}<h1>{html.escape(name)}</h1></header>"
        f"<h2>{say(call, 'asks')}</h2>"
        f'<ul class="grants"><li>{say(call, "profile")}</li><li>{say(call, "base")}</li></ul>'
        f'<div class="person me" data-openid="{html.escape(user.openid, quote=True)}">{person(call, user)}</div>'
        f'<div class="keys"><a class="key" id="oauth-deny" role="button" href="{link(call, deny="1")}">'
        f"{say(call, 'deny')}</a>"
        f'<a class="key go" id="oauth-allow" role="button" href="{link(call, user=user.openid, auto="1")}">'
        f"{say(call, 'allow')}</a></div>"
        f'<a class="other" id="oauth-other" href="{link(call, choose="1")}">{say(call, "other")}</a>'
    )
    return page(call, say(call, "title"), body, why=f"the consent page is shown to {user.openid[:8]}…")


def chooser(call: Call, account: Account) -> Reply:
    """Return the page that asks who is looking, with a link for each user."""
    items = [
        f'<li><a class="person" data-openid="{html.escape(user.openid, quote=True)}" '
        f'href="{link(call, user=user.openid)}">{person(call, user)}</a></li>'
        for user in list(account.users.values())[:MAX_CHOICES]
    ]
    items.append(
        f'<li><a class="person" data-openid="{NEW_USER}" href="{link(call, user=NEW_USER)}">{face("+")}'
        f"<span><b>{say(call, 'new')}</b><small>{say(call, 'new_hint')}</small></span></a></li>"
    )
    name = html.escape(account.name or account.original_id)
    body = (
        f"<header><h1>{say(call, 'who')}</h1></header><p>{say(call, 'who_hint')} ({name})</p><ul>{''.join(items)}</ul>"
    )
    return page(call, say(call, "who"), body, why="the page asks who is looking")


def refused(call: Call, target: str, state: str) -> Reply:
    """Answer a visitor who has refused: a page, or where the policy says so the way back without a code."""
    if call.world.policy.oauth_refused == "redirect":
        location = with_query(target, {"state": state})
        return Reply(status=302, content_type="text/html", headers=(("location", location),), why="consent refused")
    body = f"<header><h1>{say(call, 'refused')}</h1></header><p>{say(call, 'refused_hint')}</p>"
    return page(call, say(call, "refused"), body, why="consent refused")


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
    forget_oldest(account.refresh_tokens, policy.oauth_kept)
    answer = grant(call, account, code.openid, code.scope, refresh)
    if code.snapshot:
        answer["is_snapshotuser"] = 1
    if code.scope == "snsapi_userinfo" and account.open_platform:
        answer["unionid"] = call.world.person_of(account.users[code.openid]).unionid
    return answer


def forget_oldest(kept: dict[str, T], most: int) -> None:
    """Keep a mapping within bounds: what came first goes first."""
    while len(kept) > most:
        del kept[next(iter(kept))]


def grant(call: Call, account: Account, openid: str, scope: str, refresh: str) -> JsonObject:
    """Mint a user token."""
    text = f"{60 + len(account.oauth_tokens) % 40}_{call.world.make_id('oauth token', 86)}"
    life = call.world.policy.oauth_token_life
    account.oauth_tokens[text] = OAuthGrant(openid, scope, call.now + life)
    forget_oldest(account.oauth_tokens, call.world.policy.oauth_kept)
    call.why = f"a user token for {openid[:8]}…, {scope}"
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
        call.why = f"user token of {found.openid[:8]}…, {found.scope}"
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
        "headimgurl": people.avatar(person),
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
