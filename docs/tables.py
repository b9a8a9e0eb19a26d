"""Writes the pages of ``docs/`` and ``docs/zh/`` that repeat tables of the code: ``make docs-tables``.

What a call is named and titled is read from the code, and whether the simulator answers it from the simulator. Who may
call an endpoint, and whether it is still maintained, is a fact about the platform: ``tests/api/endpoints.toml``, by
which every call is tested. What the Chinese pages say in words of their own is ``docs/zh/words.toml``.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tomllib
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from wxmp import Client, errors  # noqa: E402
from wxmp._caller import Endpoint  # noqa: E402
from wxmp.errcodes import CODES, ErrCode  # noqa: E402
from wxmp.errors import api_error  # noqa: E402
from wxmp.pay._codes import CODES as PAY_CODES  # noqa: E402
from wxmp.simulator.families import ROUTES  # noqa: E402
from wxmp.simulator.fidelity import FIDELITY, HOSTS, as_markdown, family_of  # noqa: E402

FACTS: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    (ROOT / "tests/api/endpoints.toml").read_text(encoding="utf-8")
)

#: The Chinese for what the code says in English: families of the simulator, return codes.
WORDS: Final[dict[str, dict[str, Any]]] = tomllib.loads(
    (ROOT / "docs/zh/words.toml").read_text(encoding="utf-8")
)


@attrs.frozen
class Language:
    """What differs between the two kinds of pages."""

    chinese: bool
    #: Who may call an endpoint.
    accounts: dict[str, str]
    yes: str
    no: str
    by_key: str
    #: The tiers, and the platform's own words about an endpoint.
    tiers: dict[str, str]

    def say(self, english: str, chinese: str) -> str:
        """Return one of the two."""
        return chinese if self.chinese else english


ENGLISH: Final = Language(
    chinese=False,
    accounts={
        "all": "every account",
        "verified": "verified",
        "service": "verified service account",
        "comments": "verified, comments switched on",
        "publishing": "verified; any service account",
        "traffic": "traffic owner (流量主)",
    },
    yes="yes",
    no="no",
    by_key="by key",
    tiers={},
)
CHINESE: Final = Language(
    chinese=True,
    accounts={
        "all": "所有公众号",
        "verified": "已认证",
        "service": "已认证的服务号",
        "comments": "已认证，且开通了留言",
        "publishing": "已认证的订阅号；所有服务号",
        "traffic": "流量主",
    },
    yes="是",
    no="否",
    by_key="靠去重键",
    tiers={
        "core": "核心",
        "standard": "标准",
        "extended": "扩展",
        "deprecated": "已废弃",
        "unmaintained": "不再维护",
    },
)

_HEAD_EN: Final = """\
# Every endpoint

<!-- Written by `make docs-tables` from the code; do not edit by hand. -->

The platform has {current} current endpoints and answers {others} more that it calls deprecated or no longer maintained.
Each has a typed call here. A test makes every one of them with as little and with as much as it takes, and compares
what goes over the wire, and what is read from the answer, field by field with a list of what is documented
(`tests/api/test_every_endpoint.py`, `tests/api/endpoints.toml`).

- **call** is an attribute of the client: `await client.menu.create(...)`. In brackets what shares the endpoint: an
  iterator over all pages (`async for`), a stream (`async with`), or the bare address. The records of a family are in
  the module of its name, `from wxmp.api.menu import MenuButton`; those of articles in `wxmp.api.articles`.
- **who** may call it; others get 48001 (`NotAuthorizedError`). "Verified" is an account of either kind that is
  verified (已认证).
- **again**: whether a call is repeated by itself when nobody knows if it arrived. "By key": each call carries a
  de-duplication key, so that a repeat does nothing.
- **tier**: "core" is what nearly every account needs, "standard" what a complete SDK has, "extended" all the rest.
  "Unmaintained" and "deprecated" are the platform's words; the docstring names what took their place.
- **simulated**: whether the local simulator answers it; how truly says [simulator-coverage.md](simulator-coverage.md).

## What has no name here

Retired and very special endpoints (coupons, old stores, shake-around and so on) have no coroutine. `client.request`
calls them with token, retries and errors like every other:

```python
{example}```

`repeatable=True` belongs to calls that only read. An endpoint that takes files gets them as `files=[FilePart(...)]`.
"""

EXAMPLE: Final = """\
import asyncio

from wxmp import Client
from wxmp.simulator import Policy, Simulator


async def main(url: str, appid: str, secret: str) -> None:
    async with Client(appid, secret, base_url=url) as client:
        # The stores of before 2018 (门店, 查询门店列表).
        page = {"begin": 0, "limit": 20}
        reply = await client.request(
            "POST", "/cgi-bin/poi/getpoilist", json=page, repeatable=True
        )
        print(reply.get("business_list", []))


# The simulator has no stores. It is told to answer "ok" to what it does not know.
with Simulator(policy=Policy(strict_paths=False)) as simulator:
    asyncio.run(main(simulator.url, simulator.account.appid, simulator.account.secret))
    assert simulator.journal[-1].path == "/cgi-bin/poi/getpoilist"
"""

_TABLE_EN: Final = "| call | title | endpoint | who | again | tier | simulated |\n|---|---|---|---|---|---|---|\n"
_TABLE_ZH: Final = "| 调用 | 官方标题 | 接口 | 谁能用 | 自动重试 | 级别 | 模拟 |\n|---|---|---|---|---|---|---|\n"

#: Where no family's coroutine stands for an endpoint: the call, its official title.
BY_ITSELF: Final = {
    "client.token (plain)": ('`token()`, `token_channel="plain"`', "获取接口调用凭据"),
    "client.token (stable)": ("`token()`, `refresh_token()`", "获取稳定版接口调用凭据"),
}

#: Sends that are repeated because each carries a key of its own; a test holds this against what they do.
BY_KEY: Final = frozenset({"mass.send", "mass.send_all", "template.send"})

_SOURCE: Final = re.compile(r"^\s*((?:GET|POST) \S+) - (.+)$", re.MULTILINE)


def families() -> dict[str, type]:
    """Return the classes of the families under the names that the client gives them."""
    found = {}
    for name, value in vars(Client).items():
        if (
            isinstance(value, cached_property) and name != "broadcast"
        ):  # made of families, and none itself
            room = vars(importlib.import_module(f"wxmp.api.{name}"))
            (found[name],) = [
                item for key, item in room.items() if key.lower() == f"{name}api"
            ]
    return found


def calls(family: type) -> dict[str, tuple[str, str]]:
    """Return the source line and the official title of each method that calls an endpoint."""
    found = {}
    for name, method in vars(family).items():
        source = _SOURCE.search((inspect.getdoc(method) or "").partition("Source:")[2])
        if (
            inspect.isfunction(method)
            and not name.startswith("_")
            and source is not None
        ):
            found[name] = (source[1], source[2].rpartition(" / ")[2].strip())
    return found


def again(family: str, name: str, language: Language = ENGLISH) -> str:
    """Say whether a call is repeated, in a word."""
    if f"{family}.{name}" in BY_KEY:
        return language.by_key
    endpoint = vars(importlib.import_module(f"wxmp.api.{family}")).get(name.upper())
    return (
        language.no
        if isinstance(endpoint, Endpoint) and not endpoint.repeatable
        else language.yes
    )


def row(
    cell: str, title: str, fact: dict[str, Any], repeat: str, language: Language
) -> str:
    """Return one line of a table."""
    line = fact["line"]
    method, _, path = line.partition(" ")
    routes = {(route.method, route.path) for route in ROUTES}
    simulated = (
        language.yes if (method, path.partition("?")[0]) in routes else language.no
    )
    who = language.accounts[fact.get("accounts", "all")]
    tiers = [fact["tier"], *([fact["status"]] if "status" in fact else [])]
    tier = language.say(", ", "，").join(
        language.tiers.get(word, word) for word in tiers
    )
    return (
        f"| {cell} | {title} | `{line}` | {who} | {repeat} | {tier} | {simulated} |\n"
    )


def about(family: str, language: Language) -> str:
    """Return the heading of a family; the Chinese one is the title that stands in brackets."""
    text = (vars(Client)[family].__doc__ or "").rstrip(".")
    return text.rpartition("(")[2].rstrip(")") if language.chinese else text


def endpoints_page(language: Language = ENGLISH) -> str:
    """Return ``docs/endpoints.md``, or its twin."""
    current = sum("status" not in fact for fact in FACTS.values())
    head = language.say(_HEAD_EN, WORDS["pages"]["endpoints"])
    table = language.say(_TABLE_EN, _TABLE_ZH)
    parts = [head.format(current=current, others=len(FACTS) - current, example=EXAMPLE)]
    own = "".join(
        row(cell, title, FACTS[call], language.yes, language)
        for call, (cell, title) in BY_ITSELF.items()
    )
    parts.append(
        f"## {language.say('The token (调用凭据): ', '调用凭据：')}`client`\n\n{table}{own}"
    )
    for family, cls in families().items():
        found = calls(cls)
        rows = []
        for name, (line, title) in found.items():
            fact = FACTS.get(f"{family}.{name}")
            if fact is None:
                continue
            beside = [
                f"`{other}`"
                for other, (source, _) in found.items()
                if source == line and other != name
            ]
            cell = f"`{name}`" + (f" ({', '.join(beside)})" if beside else "")
            rows.append(row(cell, title, fact, again(family, name, language), language))
        parts.append(
            f"## {about(family, language)}{language.say(': ', '：')}`client.{family}`"
            f"\n\n{table}{''.join(rows)}"
        )
    return "\n".join(parts)


# ---- what the simulator simulates


def coverage_zh() -> str:
    """Return the Chinese twin of ``docs/simulator-coverage.md``."""
    parts = [WORDS["pages"]["simulated"]]
    for name, fidelity in FIDELITY.items():
        words = WORDS["simulated"][name]
        missing = f"未模拟：{words['missing']}。" if fidelity.missing else ""
        routes = [route for route in ROUTES if family_of(route) == name]
        parts.append(
            f"## {words['title']}\n\n"
            f"应答依据：{words['state']}。字段：**{fidelity.shape}**，规则：**{fidelity.rules}**。{missing}\n\n"
            "| 接口 | 域名 |\n|---|---|\n"
            + "".join(
                f"| `{route.method} {route.path}` | {HOSTS[route.host]} |\n"
                for route in routes
            )
        )
    return "\n".join(parts)


# ---- the return codes

#: First and last code of a group, and its title; the Chinese titles stand in WORDS.
GROUPS: Final = (
    (-1, 39999, "General"),
    (40000, 40999, "40xxx: refused values"),
    (41000, 41999, "41xxx: missing values"),
    (42000, 42999, "42xxx: expired"),
    (43000, 43999, "43xxx: not allowed this way"),
    (44000, 44999, "44xxx: empty"),
    (45000, 45999, "45xxx: limits"),
    (46000, 46999, "46xxx: does not exist"),
    (47000, 47999, "47xxx: format"),
    (48000, 48999, "48xxx: interface not granted"),
    (49000, 59999, "49xxx to 53xxx: identity, account, drafts"),
    (
        60000,
        62999,
        "60xxx to 62xxx: third-party platform (开放平台), statistics (数据统计)",
    ),
    (
        63000,
        69999,
        "63xxx to 65xxx: stores (门店), conditional menus (个性化菜单), staff (客服)",
    ),
    (70000, 75999, "70xxx to 73xxx: invoices (发票)"),
    (76000, 84999, "76xxx: rid and quota queries"),
    (
        85000,
        89999,
        "85xxx to 89xxx: scan rules (扫普通链接二维码), comments (留言), confirmation",
    ),
    (90000, 199999, "101xxx: recognition (OCR)"),
    (200000, 299999, "200xxx: subscription templates (订阅通知)"),
    (300000, 8999999, "886xxx: scan rules"),
    (9000000, 9001999, "9001xxx: shake around (摇一摇周边)"),
    (9002000, 9008999, "9002xxx to 9008xxx: Wi-Fi (微信连Wi-Fi)"),
    (9009000, 999999999, "Services with codes of their own"),
)

#: What the SDK does by itself, by the verdict of a code.
RETRIED: Final = {
    "ok": ("", ""),
    "renew": ("once, with a new token", "换新 token 后重发一次"),
    "wait": ("yes, after a pause", "是，等一会儿"),
    "busy": ("only where a repeat is harmless", "仅当重复无害"),
    "refuse": ("no, the limit is long", "否，限制期长"),
    "fix": ("no", "否"),
}

PAY_RETRIED: Final = {
    "same": ("yes, the identical request", "是，原样重发"),
    "slow": ("yes, after a longer pause", "是，多等一会儿"),
    "later": ("no; hours later", "否；几小时后再试"),
    "poll": ("no; query until it settles", "否；查询到有结果为止"),
    "never": ("no", "否"),
}


_ERRORS_EN: Final = """\
# Every error

<!-- The tables are written by `make docs-tables` from the code; do not edit by hand. -->

Everything the package raises on purpose is a `wxmp.WxmpError`, and every class can be imported from `wxmp`. The message
of an error says what happened and what to do about it; a return code (全局返回码) of the platform stands in
`error.errcode`, its request id in `error.rid`.

## The tree

```text
{tree}```

## How to handle them

```python
{example}```

- **Catch the class, not the number.** A class says what kind of reaction helps; the platform has several numbers for
  most reasons, and now and then a new one.
- **What can be repeated has been repeated** when an error arrives: the retry policy has waited for short limits, and a
  dead token was replaced. Around your own calls there is no need for a second loop.
- `error.maybe_acted` of a `TransportError` or `ReplyError` is True when nobody knows whether the platform carried the
  call out. Ask it before you send again.
- `RateLimitError.scope` says when a quota is filled again: `second`, `minute`, `day`, `month`, or `item` when it counts
  for one user or message. The short ones are waited for; the long ones never.
- **An unknown number** is a plain `APIError`, and is never repeated. `client.server.explain_rid(error.rid)` asks the
  platform what was wrong.

## Return codes (全局返回码)

Each number is an address: `errors.html#40001`. The word under "repeated" is the code's verdict, what the SDK does about
it by itself:

| verdict | what happens |
|---|---|
| `renew` | the access token is replaced, once for the whole fleet, and the call made again |
| `wait` | refused by a short limit: every call is repeated after a pause |
| `busy` | it may have been carried out: only calls for which a repeat is harmless are repeated |
| `refuse` | raised at once: the limit lasts for hours |
| `fix` | raised at once: somebody has to change something |

On the token endpoints and `sns/*`, 40001 and its like speak of the AppSecret or of the user's own token: there they are
an `AccountError`, and nothing is repeated.
"""

_HANDLING: Final = """\
import asyncio

from wxmp import (
    AccountError,
    APIError,
    Client,
    RateLimitError,
    RecipientError,
    TransportError,
)


async def main() -> None:
    async with Client.from_env() as wx:
        openid = (await wx.user.list()).openids[0]
        try:
            await wx.custom.send(openid, "您的订单已发货")
        except RecipientError:
            print("cannot be reached: not following, or silent for 48 hours")
        except RateLimitError as error:
            print("used up until the", error.scope, "is over")
        except AccountError as error:
            print("somebody has to act:", error.advice)
        except APIError as error:
            print(error.errcode, error.rid)
        except TransportError as error:
            print("no answer; it may have been sent:", error.maybe_acted)


asyncio.run(main())
"""


def tree() -> str:
    """Return the picture at the top of ``errors.py``."""
    return (
        inspect.cleandoc(
            (errors.__doc__ or "")
            .partition("::\n")[2]
            .partition("Every class takes")[0]
        ).strip()
        + "\n"
    )


def code_row(entry: ErrCode, language: Language) -> str:
    """Return the line of a return code; its number is an anchor."""
    meaning, advice = entry.meaning, entry.advice
    if language.chinese:
        meaning, advice = (*WORDS["errcodes"][str(entry.code)], "")[:2]
    kind = type(api_error(entry.code)).__name__
    scope = f" ({entry.scope})" if entry.scope else ""
    number = f'<a id="{entry.code}"></a>**{entry.code}**'
    advice = advice.replace("{ip}", language.say("the caller's address", "调用方的 IP"))
    retried = RETRIED[entry.verdict][language.chinese]
    return f"| {number} | {_cell(meaning)} | `{kind}`{scope} | `{entry.verdict}`{_aside(retried)} | {_cell(advice)} |\n"


def _aside(text: str) -> str:
    return f": {text}" if text else ""


def _cell(text: str) -> str:
    return re.sub(r"([|<*_])", r"\\\1", text)


def errors_page(language: Language = ENGLISH) -> str:
    """Return ``docs/errors.md``, or its twin."""
    parts = [
        language.say(_ERRORS_EN, WORDS["pages"]["errors"]).format(
            tree=tree(), example=_HANDLING
        )
    ]
    columns = language.say(
        "| code | meaning | class | repeated | what to do |",
        "| 返回码 | 含义 | 异常类 | 是否重发 | 怎么办 |",
    )
    for first, last, title in GROUPS:
        rows = [
            code_row(entry, language)
            for code, entry in sorted(CODES.items())
            if first <= code <= last and code
        ]
        heading = WORDS["groups"][str(first)] if language.chinese else title
        parts.append(
            f"### {heading}\n\n{columns}\n|---|---|---|---|---|\n{''.join(rows)}"
        )
    title = language.say("WeChat Pay (微信支付)", "微信支付")
    told = language.say(
        "Every code is a `PayAPIError`; `error.verdict` is the word in front of the colon, `error.maybe_acted` says"
        "\nwhether money may have moved.",
        "所有错误码都是 `PayAPIError`；冒号前的词是 `error.verdict`。钱是否可能已经动了，看 `error.maybe_acted`。",
    )
    columns = language.say(
        "| code | meaning | repeated | what to do |",
        "| 错误码 | 含义 | 是否重发 | 怎么办 |",
    )
    rows = []
    for entry in {id(entry): entry for entry in PAY_CODES.values()}.values():
        meaning, advice = entry.meaning, entry.advice
        if language.chinese:
            meaning, advice = (*WORDS["paycodes"][entry.code], "")[:2]
        number = f'<a id="{entry.code}"></a>`{entry.code}`'
        retried = PAY_RETRIED[entry.verdict][language.chinese]
        rows.append(
            f"| {number} | {_cell(meaning)} | `{entry.verdict}`: {retried} | {_cell(advice)} |\n"
        )
    parts.append(
        f"## {title}\n\n{told}\n\n{columns}\n|---|---|---|---|\n{''.join(rows)}"
    )
    return "\n".join(parts)


PAGES: Final = {
    "simulator-coverage.md": as_markdown,
    "endpoints.md": endpoints_page,
    "errors.md": errors_page,
    "zh/simulator-coverage.md": coverage_zh,
    "zh/endpoints.md": partial(endpoints_page, CHINESE),
    "zh/errors.md": partial(errors_page, CHINESE),
}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
