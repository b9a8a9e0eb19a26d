"""Lint: what a developer's code does that works here today and will hurt on the real platform.

Each rule is a small function that looks at one request, one push or the state, and says nothing about what it cannot
see. The words stand in :mod:`wxmp.simulator.advice`.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import urlsplit

import attrs

from wxmp.simulator.advice import ADVICE
from wxmp.simulator.answers import Answer
from wxmp.simulator.hosts import is_loopback
from wxmp.simulator.journal import Exchange, fingerprint
from wxmp.simulator.routes import Call
from wxmp.simulator.state import Account, Attempt, Push
from wxmp.simulator.wire import Refusal, Reply, as_list, as_object, escaped_text, load_json, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wxmp.simulator.state import Token
    from wxmp.simulator.wire import JsonObject
    from wxmp.simulator.world import World  # noqa: TC004  (a cycle at run time; nothing resolves the hints)

__all__ = ["Finding", "Lint"]

Value = TypeVar("Value")

MOST_FINDINGS: Final = 500
MOST_SUBJECTS: Final = 20
MOST_REMEMBERED: Final = 2_000
LEVELS: Final = ("error", "warning", "hint")
TOKEN_PATHS: Final = frozenset({"/cgi-bin/token", "/cgi-bin/stable_token"})
DEAD: Final = (40001, 40014, 42001)
WRONG_SECRET: Final = frozenset({40001, 40125})
OTHERS: Final = "…"
SAME_TOKEN: Final = re.compile(r"the same token, ([0-9]+) s left")
TOKEN_KEY: Final = re.compile(rb'(?:^|&)access_token=|name="access_token"')
NOTIFY_URL: Final = re.compile(rb"<notify_url>(?:<!\[CDATA\[)?([^<\]]*)")
ORDER_PATHS: Final = ("/v3/pay/transactions/", "/v3/combine-transactions/", "/pay/unifiedorder")
QUERIED: Final = re.compile(r"/v3/pay/transactions/(?:out-trade-no|id)/([^/]+)")
QUERIED_V2: Final = re.compile(rb"<(?:out_trade_no|transaction_id)>(?:<!\[CDATA\[)?([^<\]]*)")
# Endpoints the platform has replaced or withdrawn, with what took their place.
GROUPS: Final = ("groups were replaced by tags", "分组接口已被标签接口取代")
ARTICLES: Final = ("permanent articles were replaced by drafts", "永久图文已被草稿箱取代")
FIGURES: Final = ("these figures are no longer maintained", "该统计接口已停止维护")
SHORT: Final = ("new short links ended in 2021; use shorten/gen", "2021 年起不再生成新短链，请用 shorten/gen")
GONE: Final = ("this interface was withdrawn", "该接口已下线")
DEPRECATED: Final[Mapping[str, tuple[str, str]]] = {
    **{
        f"/cgi-bin/groups/{name}": GROUPS
        for name in ("create", "get", "getid", "update", "members/update", "members/batchupdate", "delete")
    },
    "/cgi-bin/media/uploadnews": ARTICLES,
    "/cgi-bin/material/add_news": ARTICLES,
    "/cgi-bin/material/update_news": ARTICLES,
    "/cgi-bin/draft/switch": ("the draft box is on for everybody", "草稿箱已全量开启，无需切换"),
    **{
        f"/datacube/{name}": FIGURES
        for name in (
            *("getarticlesummary", "getarticletotal", "getuserread", "getuserreadhour"),
            *("getusershare", "getusersharehour"),
        )
    },
    "/cgi-bin/shorturl": SHORT,
    "/semantic/semproxy/search": GONE,
}
WITHDRAWN: Final = ("/bizwifi/", "/merchant/", "/scan/", "/shakearound/", "/semantic/", "/bizguide/")


@attrs.define
class Finding:
    """One thing that is wrong, however often it was seen.

    Attributes:
        code: The rule.
        subject: What it is about: a path, a caller, a push.
        count: How often it was seen.
        seq: The last exchange that showed it; ``first_seq`` the first one.
        at: Simulated time of the last sight; ``first_at`` of the first one.
        revision: Grows with every sight, over all findings.
    """

    code: str
    subject: str
    appid: str
    count: int
    seq: int
    at: float
    first_seq: int
    first_at: float
    values: dict[str, str]
    revision: int

    def show(self) -> JsonObject:
        """Return the finding with its words."""
        advice = ADVICE[self.code]
        values = {**self.values, "subject": self.subject, "count": self.values.get("count", str(self.count))}
        return {
            "code": self.code,
            "level": advice.level,
            "subject": self.subject,
            "appid": self.appid,
            "count": self.count,
            "seq": self.seq,
            "at": self.at,
            "first_seq": self.first_seq,
            "first_at": self.first_at,
            "title": {"en": advice.title, "zh": advice.title_zh},
            "detail": {"en": advice.detail.format_map(values), "zh": advice.detail_zh.format_map(values)},
            "remedy": {"en": advice.remedy, "zh": advice.remedy_zh},
        }


class Memory(Generic[Value]):
    """The last things remembered under a key; the oldest are forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], Value] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._kept)

    def get(self, *key: object) -> Value | None:
        """Return what is remembered."""
        return self._kept.get(key)

    def keep(self, value: Value, *key: object) -> Value:
        """Remember something."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_REMEMBERED:
            self._kept.popitem(last=False)
        return value

    def drop(self, *key: object) -> None:
        """Forget one thing."""
        self._kept.pop(key, None)

    def items(self) -> list[tuple[tuple[object, ...], Value]]:
        """Return everything, the oldest first."""
        return list(self._kept.items())

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


@attrs.define
class Repeats:
    """Something that was seen several times."""

    count: int = 0
    first_at: float = 0.0
    seq: int = 0


@attrs.frozen
class Look:
    """One request and its answer, as the rules see them."""

    lint: Lint
    world: World
    call: Call
    reply: Reply
    exchange: Exchange

    @property
    def path(self) -> str:
        """The path that was called."""
        return self.exchange.path

    @property
    def now(self) -> float:
        """Simulated time."""
        return self.exchange.at

    @property
    def faked(self) -> bool:
        """Whether an injected fault stands in the place of the answer."""
        return self.exchange.rule.startswith("fault:")

    def find(self, code: str, subject: str | None = None, **values: object) -> None:
        """Report something about this request."""
        about = self.path if subject is None else subject
        seq, appid = self.exchange.seq, self.exchange.appid
        self.lint.find(code, about, appid=appid, seq=seq, at=self.now, **values)


class Lint:
    """The findings of a world, and what the rules remember to make them.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._findings: dict[tuple[str, str, str], Finding] = {}
        self.revision: int = 0
        self.fetches: Memory[tuple[int, str, float]] = Memory()
        self.early: Memory[deque[float]] = Memory()
        self.repeats: Memory[Repeats] = Memory()
        self.busy: Memory[Repeats] = Memory()
        self.replies: Memory[str] = Memory()
        self.queried: Memory[bool] = Memory()
        world.journal.watcher = self.see_notice

    def clear(self) -> None:
        """Forget everything."""
        self._findings.clear()
        for memory in (self.fetches, self.early, self.repeats, self.busy, self.replies, self.queried):
            memory.clear()

    # --- findings -------------------------------------------------------------------------------------------------

    def find(self, code: str, subject: str, *, appid: str, seq: int, at: float, **values: object) -> None:
        """Report something: a new finding, or one more sight of an old one."""
        words = {name: str(value) for name, value in values.items()}
        finding = self._findings.get((code, appid, subject))
        if finding is None and self._crowded(code):
            subject = OTHERS
            finding = self._findings.get((code, appid, subject))
        self.revision += 1
        if finding is not None:
            finding.count += 1
            finding.seq, finding.at, finding.values, finding.revision = seq, at, words, self.revision
        elif len(self._findings) < MOST_FINDINGS:
            self._findings[code, appid, subject] = Finding(
                code, subject, appid, 1, seq, at, seq, at, words, self.revision
            )

    def _crowded(self, code: str) -> bool:
        return sum(known == code for known, _appid, _subject in self._findings) >= MOST_SUBJECTS

    def findings(self, since: int = 0) -> list[JsonObject]:
        """Return what was found, the worst first, then the newest; only what has changed after a revision."""
        with self.world.lock:
            self._look_back()
            found = [finding for finding in self._findings.values() if finding.revision > since]
            found.sort(key=lambda finding: (LEVELS.index(ADVICE[finding.code].level), -finding.revision))
            return [finding.show() for finding in found]

    def counts(self, appid: str | None = None) -> dict[str, int]:
        """Return how many findings there are of each level, all together or of one account."""
        with self.world.lock:
            self._look_back()
            found = [finding for finding in self._findings.values() if appid in {None, finding.appid}]
            levels = [ADVICE[finding.code].level for finding in found]
            return {level: levels.count(level) for level in LEVELS}

    # --- looking --------------------------------------------------------------------------------------------------

    def see(self, call: Call, reply: Reply, exchange: Exchange) -> None:
        """Look at a request and its answer."""
        look = Look(self, self.world, call, reply, exchange)
        body = call.request.body
        if body:
            for rule in BODY_RULES:
                rule(look, body)
        for rule_of_path in PATH_RULES.get(exchange.path, ()):
            rule_of_path(look)
        if exchange.errcode:
            for rule_of_code in CODE_RULES.get(exchange.errcode, ()):
                rule_of_code(look)
        quota_nearly_gone(look)
        retried(look)
        if exchange.path.startswith(("/v3/", "/pay/")):
            pay_request(look)
        elif exchange.path in DEPRECATED or exchange.errcode == self.world.policy.unknown_path_errcode:
            past_or_unknown(look)

    def see_attempt(self, account: Account, push: Push, step: str, answer: Answer, attempt: Attempt) -> None:
        """Look at a push and its answer."""
        about = Pushed(self, self.world, account, push, answer, attempt)
        if step != "push":
            if attempt.verdict == "accepted":
                accepted_forgery(about, step)
            return
        late(about)
        if attempt.verdict == "broken" and not attempt.fault:
            broken(about)
        elif attempt.reply is not None:
            several_articles(about)
            not_idempotent(about)

    def see_notice(self, exchange: Exchange) -> None:
        """Look at a notice of WeChat Pay: the journal shows each exchange to this function."""
        if exchange.mode in {"v2", "v3"} and exchange.rule.endswith(":accepted"):
            kind, _colon, why = exchange.why.removeprefix("accepted: ").partition(": ")
            seen = exchange.seq, exchange.at
            self.find("forged_notice_accepted", kind, appid=exchange.appid, seq=seen[0], at=seen[1], why=why)

    def _look_back(self) -> None:
        """Find what nobody did: a retry, a query."""
        now, policy = self.world.now(), self.world.policy
        for key, seen in self.busy.items():
            if now - seen.first_at < policy.lint_busy_seconds:
                continue
            self.busy.drop(*key)
            if seen.count == 1:
                appid, subject = str(key[0]), f"{key[2]} {key[3]}"
                self.find("busy_not_retried", subject, appid=appid, seq=seen.seq, at=seen.first_at)
        unpaid_for_all_we_know(self, now)


# --- rules about bodies -------------------------------------------------------------------------------------------


def token_in_body(look: Look, body: bytes) -> None:
    """The token is read from the query only."""
    if b"access_token" not in body or look.path.startswith("/sns/"):
        return
    fields = look.call.body or read_json(body)
    if "access_token" in fields or (not fields and TOKEN_KEY.search(body[:65536])):
        look.find("token_in_body")


def unicode_escapes(look: Look, body: bytes) -> None:
    """Escapes are refused here and shown literally there."""
    if b"\\u" in body and body.lstrip()[:1] == b"{" and escaped_text(body):
        look.find("unicode_escapes")


def content_type(look: Look, body: bytes) -> None:
    """JSON should say that it is JSON; without any headers nothing can be said."""
    request = look.call.request
    if not request.headers or look.exchange.host not in {"", "api"} or body.lstrip()[:1] != b"{":
        return
    kind = request.content_type
    if "json" in kind.lower():
        return
    if look.exchange.errcode == 41005:
        return
    look.find("content_type", value=kind.partition(";")[0] or "missing")


def json_to_form(look: Look, body: bytes) -> None:
    """An upload is a form."""
    if look.exchange.errcode == 41005 and not look.faked and body.lstrip()[:1] in {b"{", b"["}:
        look.find("json_to_form")


def read_json(body: bytes) -> JsonObject:
    """Read a body as a JSON object; empty when it is none."""
    try:
        return load_json(body)
    except Refusal:
        return {}


BODY_RULES: Final[tuple[Callable[[Look, bytes], None], ...]] = (
    token_in_body,
    unicode_escapes,
    content_type,
    json_to_form,
)


# --- rules about tokens -------------------------------------------------------------------------------------------


def plain_token(look: Look) -> None:
    """Two programs that take the token from each other, or one that cannot keep it."""
    account = look.call.account
    if look.exchange.errcode != 0 or account is None or account.plain.current is None:
        return
    lint, policy, caller = look.lint, look.world.policy, look.exchange.caller
    fresh = account.tokens[account.plain.current]
    known = lint.fetches.get(account.appid)
    lint.fetches.keep((fresh.serial, caller, look.now), account.appid)
    if known is None or not replaced(account.tokens.get(known[0]), fresh):
        return
    _serial, before, at = known
    age = look.now - at
    young = age < policy.token_life / 2
    if before != caller:
        pair = " / ".join(sorted((before, caller)))
        if age < policy.token_overlap or (young and len(lately(look, "two", pair)) > 1):
            look.find("two_refreshers", pair, first=before, second=caller, seconds=round(age))
    elif young:
        times = lately(look, "early", caller)
        if len(times) >= policy.lint_repeats:
            look.find("token_too_often", caller, count=len(times) + 1, seconds=round(look.now - times[0] + age))


def lately(look: Look, *key: object) -> deque[float]:
    """Note the time of something, and return its times within the life of a token."""
    whole = (look.exchange.appid, *key)
    times = look.lint.early.get(*whole) or look.lint.early.keep(deque(), *whole)
    times.append(look.now)
    while times[0] < look.now - look.world.policy.token_life:
        times.popleft()
    return times


def replaced(old: Token | None, fresh: Token) -> bool:
    """Tell whether the fetch itself ended the older token, which nobody else had touched."""
    return old is not None and old.replaced_by == fresh.serial


def stable_token(look: Look) -> None:
    """Asking for the same token again and again, and forcing in vain."""
    exchange = look.exchange
    if exchange.errcode != 0 or look.call.account is None:
        return
    if "forced refresh ignored" in exchange.why:
        look.find("force_refresh_ignored", exchange.caller, why=exchange.why.partition(": ")[2].partition(";")[0])
    same = SAME_TOKEN.search(exchange.why)
    if same is None or "forced" in exchange.why:
        return
    serial = look.call.account.stable.current
    seen = repeat(look.lint, look, "stable", exchange.caller, serial)
    if seen.count >= look.world.policy.lint_token_requests:
        look.find("token_too_often", exchange.caller, count=seen.count, seconds=round(look.now - seen.first_at))


def secret_wrong(look: Look) -> None:
    """A secret that does not get right by repeating."""
    exchange = look.exchange
    if exchange.errcode not in WRONG_SECRET or look.faked:
        return
    seen = repeat(look.lint, look, "secret", exchange.caller)
    if seen.count >= look.world.policy.lint_repeats:
        look.find("secret_wrong", exchange.caller, count=seen.count)


def dead_token(look: Look) -> None:
    """One dead token, used again although its end was known."""
    text = look.call.query("access_token")
    if not text or look.path in TOKEN_PATHS or look.path.startswith("/sns/"):
        return
    exchange, policy = look.exchange, look.world.policy
    seen = repeat(look.lint, look, "dead", exchange.caller, fingerprint(text))
    later = (look.now - seen.first_at) >= policy.lint_dead_token_seconds * max(look.world.clock.speed, 1.0)
    if seen.count > policy.lint_dead_token_uses or (later and seen.count > policy.lint_repeats):
        look.find("dead_token_used", exchange.caller, count=seen.count, errcode=exchange.errcode)


def repeat(lint: Lint, look: Look, *key: object) -> Repeats:
    """Count a sight of something under a key."""
    whole = (look.exchange.appid, *key)
    seen = lint.repeats.get(*whole)
    if seen is None:
        seen = lint.repeats.keep(Repeats(first_at=look.now, seq=look.exchange.seq), *whole)
    seen.count += 1
    return seen


# --- rules about limits -------------------------------------------------------------------------------------------


def quota_nearly_gone(look: Look) -> None:
    """Nine tenths of a day's calls are used."""
    used, limit = look.exchange.quota_used, look.exchange.quota_limit
    if used is not None and limit and used[1] >= limit * look.world.policy.lint_share:
        look.find("quota_nearly_gone", used=used[1], limit=limit)


def blind_retry(look: Look) -> None:
    """Calls go on although the answer was that there are none left."""
    exchange = look.exchange
    period = int(look.now // 60) if exchange.errcode == 45011 else look.world.day(look.now)
    seen = repeat(look.lint, look, "limit", exchange.caller, look.path, exchange.errcode, period)
    if seen.count > look.world.policy.lint_repeats:
        look.find("blind_retry", f"{exchange.caller} {look.path}", count=seen.count - 1, errcode=exchange.errcode)


def busy(look: Look) -> None:
    """Remember a busy answer, to see whether the call comes again."""
    key = call_key(look)
    if look.lint.busy.get(*key) is None:
        look.lint.busy.keep(Repeats(1, look.now, look.exchange.seq), *key)


def retried(look: Look) -> None:
    """Take note that a call came again after a busy answer."""
    if not look.lint.busy:
        return
    seen = look.lint.busy.get(*call_key(look))
    if seen is not None and seen.seq != look.exchange.seq:
        seen.count += 1


def call_key(look: Look) -> tuple[object, ...]:
    """Return what makes two requests the same call: everything but the token."""
    request, exchange = look.call.request, look.exchange
    rest = sorted((name, value) for name, value in request.query.items() if name != "access_token")
    body = hashlib.sha256(request.body).hexdigest()[:16] if request.body else ""
    return exchange.appid, exchange.caller, request.method, request.path, body, repr(rest)


# --- rules about what is sent -------------------------------------------------------------------------------------


def menu_names(look: Look) -> None:
    """Captions wider than a phone shows."""
    if look.exchange.errcode != 0:
        return
    policy = look.world.policy
    for button in as_list(look.call.body.get("button")) or ():
        top = as_object(button) or {}
        long_caption(look, top, policy.lint_menu_columns)
        for below in as_list(top.get("sub_button")) or ():
            long_caption(look, as_object(below) or {}, policy.lint_sub_menu_columns)


def long_caption(look: Look, button: JsonObject, columns: int) -> None:
    """Report one caption."""
    name = button.get("name")
    if isinstance(name, str) and width(name) > columns:
        look.find("menu_name_long", name, limit=columns // 2)


def width(text: str) -> int:
    """Return the columns a text takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def template_link(look: Look) -> None:
    """A card that leads nowhere."""
    body = look.call.body
    if look.exchange.errcode == 0 and not body.get("url") and not body.get("miniprogram"):
        look.find("template_no_url", str(body.get("template_id", look.path)))


def window_closed(look: Look) -> None:
    """A message outside the window."""
    if not look.faked:
        look.find("window_closed")


def window_used_up(look: Look) -> None:
    """A message too many."""
    if not look.faked:
        look.find("window_used_up")


def code_twice(look: Look) -> None:
    """A code of the OAuth page that was used before."""
    if not look.faked:
        look.find("oauth_code_twice", look.exchange.caller)


def state_missing(look: Look) -> None:
    """An OAuth page without state."""
    if not look.call.query("state") and look.exchange.status < 400:
        # The address without its query, which may hold anything.
        look.find("oauth_state_missing", look.call.query("redirect_uri").partition("?")[0] or look.path)


def past_or_unknown(look: Look) -> None:
    """An endpoint that was replaced, or one nobody knows."""
    words = DEPRECATED.get(look.path) or (GONE if look.path.startswith(WITHDRAWN) else None)
    if words is not None:
        look.find("deprecated_endpoint", value=words[0], value_zh=words[1])
    elif not look.faked and "no such endpoint" in look.exchange.why:
        look.find("unknown_path", f"{look.exchange.method} {look.path}")


def pay_request(look: Look) -> None:
    """The address for notices, and queries."""
    body, path = look.call.request.body, look.path
    asked = QUERIED.fullmatch(path)
    if asked is not None and look.exchange.method == "GET":
        look.lint.queried.keep(True, asked.group(1))
    elif path == "/pay/orderquery":
        for number in QUERIED_V2.findall(body):
            look.lint.queried.keep(True, number.decode("utf-8", errors="replace"))
    elif path.startswith(ORDER_PATHS) and body:
        url = notify_url(body)
        for words in url_troubles(url):
            look.find("pay_notify_url", url.partition("?")[0], value=words[0], value_zh=words[1])


def notify_url(body: bytes) -> str:
    """Return the address for notices in an order, JSON or XML."""
    if body.lstrip()[:1] == b"{":
        value = read_json(body).get("notify_url")
        return value if isinstance(value, str) else ""
    found = NOTIFY_URL.search(body)
    return found.group(1).decode("utf-8", errors="replace") if found else ""


def url_troubles(url: str) -> list[tuple[str, str]]:
    """Return what the real platform would not accept; an address on this machine is only for trying out."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return [("cannot be read", "无法解析")]
    troubles: list[tuple[str, str]] = []
    if parts.query:
        troubles.append(("has query parameters", "带有查询参数"))
    if url and parts.scheme != "https" and not is_loopback(host):
        troubles.append(("is not https", "不是 https"))
    return troubles


def unpaid_for_all_we_know(lint: Lint, now: float) -> None:
    """Orders that are paid, whose notice did not arrive, and that nobody has asked about."""
    world = lint.world
    for notice in world.state.pay.notices:
        if notice.state not in {"failed", "lost"} or notice.event_type != "TRANSACTION.SUCCESS":
            continue
        number, transaction = (str(notice.plain.get(name, "")) for name in ("out_trade_no", "transaction_id"))
        waited = now - notice.created_at >= world.policy.lint_query_seconds
        if not waited or lint.queried.get(number) or lint.queried.get(transaction):
            continue
        lint.queried.keep(True, number)  # said once
        lint.find("pay_not_queried", number, appid=notice.appid, seq=world.journal.seq, at=now)


PATH_RULES: Final[Mapping[str, Sequence[Callable[[Look], None]]]] = {
    "/cgi-bin/token": (plain_token, secret_wrong),
    "/cgi-bin/stable_token": (stable_token, secret_wrong),
    "/cgi-bin/menu/create": (menu_names,),
    "/cgi-bin/menu/addconditional": (menu_names,),
    "/cgi-bin/message/template/send": (template_link,),
    "/connect/oauth2/authorize": (state_missing,),
}
CODE_RULES: Final[Mapping[int, Sequence[Callable[[Look], None]]]] = {
    **dict.fromkeys(DEAD, (dead_token,)),
    -1: (busy,),
    40163: (code_twice,),
    45009: (blind_retry,),
    45011: (blind_retry,),
    45015: (window_closed,),
    45047: (window_used_up,),
}


# --- rules about pushes -------------------------------------------------------------------------------------------


@attrs.frozen
class Pushed:
    """One push and its answer, as the rules see them."""

    lint: Lint
    world: World
    account: Account
    push: Push
    answer: Answer
    attempt: Attempt

    def find(self, code: str, subject: str | None = None, **values: object) -> None:
        """Report something about this push."""
        about = self.attempt.name if subject is None else subject
        appid, seq = self.account.appid, self.world.journal.seq
        self.lint.find(code, about, appid=appid, seq=seq, at=self.attempt.at, **values)


def accepted_forgery(about: Pushed, step: str) -> None:
    """A forged copy was taken for a real push."""
    code = f"accepted_{step.removeprefix('push_')}"
    code = code if code in ADVICE else "accepted_forgery"
    about.find(code, status=about.attempt.status, why=about.attempt.why)


def late(about: Pushed) -> None:
    """An answer that came late, or not at all."""
    policy, answer = about.world.policy, about.answer
    limit = f"{policy.callback_seconds:g}"
    if answer.status is None and answer.failure.startswith("no answer"):
        about.find("push_timeout", limit=limit, deliveries=policy.callback_deliveries)
    elif answer.status is not None and answer.seconds >= min(policy.lint_slow_seconds, policy.callback_seconds * 0.8):
        about.find("push_slow", seconds=f"{answer.seconds:.1f}", limit=limit)


def broken(about: Pushed) -> None:
    """An answer the platform cannot use."""
    answer, why = about.answer, about.attempt.why
    if answer.status is None:
        if not answer.failure.startswith("no answer"):
            about.find("push_unreachable", why=why)
    elif answer.status != 200:
        about.find("push_http_error", why=why)
    elif why == "a plain reply in safe mode":
        about.find("reply_plain")
    elif why.startswith("the text has"):
        about.find("reply_too_long", why=why)
    else:
        about.find("reply_broken", why=why)


def several_articles(about: Pushed) -> None:
    """A news reply of which the user sees a part."""
    reply = about.attempt.reply or {}
    policy = about.world.policy
    limit = policy.callback_message_articles if about.push.kind == "message" else policy.callback_event_articles
    count = whole_number(reply.get("ArticleCount")) if reply.get("MsgType") == "news" else None
    if count is not None and count > limit:
        about.find("reply_articles", count=count, limit=limit)


def not_idempotent(about: Pushed) -> None:
    """Two different visible replies to one push; the time of a reply is no difference."""
    reply = {name: value for name, value in (about.attempt.reply or {}).items() if name != "CreateTime"}
    text = hashlib.sha256(json.dumps(reply, sort_keys=True).encode()).hexdigest()
    key = (about.account.appid, about.push.id)
    known = about.lint.replies.get(*key)
    if known is None:
        about.lint.replies.keep(text, *key)
    elif known != text:
        about.find("not_idempotent", push=about.push.id)
