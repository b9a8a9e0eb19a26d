"""What can go wrong: the table of all effects a fault may have, with the fields each one reads."""

from __future__ import annotations

from typing import Final, Literal, get_args

import attrs

__all__ = ["EFFECTS", "Effect", "EffectInfo", "EffectKind", "effect_info", "effects"]

Effect = Literal[
    "busy",
    "quota",
    "minute",
    "errcode",
    "status",
    "refused",
    "reset_before",
    "reset_after",
    "hang",
    "latency",
    "drip",
    "truncated",
    "empty",
    "not_json",
    "content_type",
    "bom",
    "control",
    "pay_answer_forged",
    "redirect",
    "huge",
    "clock_jump",
    "token_killed",
    "token_expired",
    "token_unknown",
    "secret_frozen",
    "ip_refused",
    "risk_pending",
    "push_twice",
    "push_late",
    "push_reordered",
    "push_lost_answer",
    "push_previous_key",
    "push_wrong_signature",
    "push_wrong_appid",
    "push_stale",
    "push_replayed",
    "pay_forged",
    "pay_twice",
    "pay_early",
    "pay_never",
    "pay_rotated_key",
]
EFFECTS: Final[frozenset[str]] = frozenset(get_args(Effect))
EffectKind = Literal["request", "push", "pay", "token"]


@attrs.frozen
class EffectInfo:
    """One effect, as a page or a help text shows it.

    Attributes:
        name: Its name in a rule.
        kind: What it happens to: ``"request"``: any request of a client. ``"token"``: requests that carry a token or
            ask for one. ``"push"``: pushes to the developer's server. ``"pay"``: payment notices.
        fields: The fields of a rule this effect reads; the conditions come on top.
        value: The field that ``effect=value`` of the request header fills; ``None`` where the header takes no value.
        en: One English sentence.
        zh: The same in Chinese.
    """

    name: Effect
    kind: EffectKind
    fields: tuple[str, ...]
    value: str | None
    en: str
    zh: str


def row(
    name: Effect, kind: EffectKind, en: str, zh: str, *fields: str, value: str | None = None
) -> tuple[str, EffectInfo]:
    """Make one row of the table."""
    return name, EffectInfo(name, kind, fields, value, en, zh)


TABLE: Final[dict[str, EffectInfo]] = dict(
    (
        row("busy", "request", "The platform is busy (-1).", "系统繁忙（-1）。", "errcode", "processed"),
        row(
            "quota",
            "request",
            "The calls of the day are used up (45009).",
            "当日调用次数用完（45009）。",
            "errcode",
            "processed",
        ),
        row(
            "minute",
            "request",
            "Too many calls in this minute (45011).",
            "一分钟内调用过多（45011）。",
            "errcode",
            "processed",
        ),
        row(
            "errcode", "request", "Any error code.", "返回任意错误码。", "errcode", "code", "processed", value="errcode"
        ),
        row(
            "status",
            "request",
            "An HTTP error with a proxy's HTML page.",
            "HTTP 错误，正文是代理的网页。",
            "status",
            "processed",
            value="status",
        ),
        row(
            "refused",
            "request",
            "The connection is refused (over a socket: reset); the platform has never heard of the request.",
            "连接被拒绝（经套接字时为重置），平台毫不知情，也不计数。",
        ),
        row("reset_before", "request", "The connection is reset; the platform did not act.", "处理之前连接被重置。"),
        row(
            "reset_after",
            "request",
            "The connection is reset after the platform has acted: the write took place.",
            "处理之后连接被重置：写入已经生效。",
            "processed",
        ),
        row("hang", "request", "No answer ever comes.", "永远不回应。", "processed"),
        row("latency", "request", "The answer comes later.", "响应变慢。", "seconds", "jitter", value="seconds"),
        row("drip", "request", "The answer comes byte by byte.", "响应逐字节到达。", "seconds", value="seconds"),
        row(
            "truncated",
            "request",
            "The answer breaks off in the middle.",
            "响应正文被截断。",
            "size",
            "processed",
            value="size",
        ),
        row("empty", "request", "The answer has no body.", "响应正文为空。", "processed"),
        row(
            "not_json", "request", "The answer is a web page with status 200.", "状态 200，但正文是网页。", "processed"
        ),
        row(
            "content_type",
            "request",
            "The answer has the wrong content type.",
            "响应的内容类型不对。",
            "content_type",
            "processed",
            value="content_type",
        ),
        row("bom", "request", "The answer begins with a byte order mark.", "响应以 BOM 开头。", "processed"),
        row(
            "control", "request", "The answer holds raw control characters.", "响应里有未转义的控制字符。", "processed"
        ),
        row(
            "pay_answer_forged",
            "request",
            "The answer of WeChat Pay carries a wrong signature, or a probe (code SIGNTEST).",
            "微信支付的应答签名错误，或为签名探测（code 填 SIGNTEST）。",
            "code",
            value="code",
        ),
        row(
            "redirect",
            "request",
            "The answer is a redirect.",
            "返回重定向。",
            "location",
            "status",
            "processed",
            value="location",
        ),
        row("huge", "request", "The answer is very long.", "响应极大。", "size", "processed", value="size"),
        row(
            "clock_jump",
            "request",
            "The platform's clock jumps before it acts, forward or back.",
            "处理之前平台的时钟跳变（可向前可向后）。",
            "seconds",
            value="seconds",
        ),
        row(
            "token_killed",
            "token",
            "Another system has just replaced the token of this request: 40001.",
            "别的系统刚换掉本次请求的 access_token：40001。",
            "channel",
        ),
        row(
            "token_expired",
            "token",
            "The token of this request has just expired: 42001.",
            "本次请求的 access_token 刚好过期：42001。",
            "channel",
        ),
        row(
            "token_unknown",
            "token",
            "The platform no longer knows the token of this request: 40014.",
            "平台不再认识本次请求的 access_token：40014。",
            "channel",
        ),
        row(
            "secret_frozen",
            "token",
            "The owner has frozen the secret: a request for a token answers 40243.",
            "AppSecret 已被冻结：取 token 返回 40243。",
            "errcode",
        ),
        row(
            "ip_refused",
            "token",
            "The caller is not on the IP list: a request for a token answers 40164.",
            "调用方不在 IP 白名单：取 token 返回 40164。",
            "errcode",
        ),
        row(
            "risk_pending",
            "token",
            "The administrator has to confirm first: a request for a token answers 89503.",
            "需要管理员确认：取 token 返回 89503。",
            "errcode",
        ),
        row("push_twice", "push", "The push comes twice at once.", "同一推送同时到达两次。"),
        row("push_late", "push", "The push comes late.", "推送迟到。", "seconds"),
        row(
            "push_reordered",
            "push",
            "The next push of the same user overtakes this one.",
            "推送被同一用户的下一条超过。",
            "seconds",
        ),
        row(
            "push_lost_answer",
            "push",
            "The server's answer is lost, so the push is repeated.",
            "服务器的应答丢失，于是重推。",
        ),
        row(
            "push_previous_key",
            "push",
            "The push is made with the Token and key from before the last change.",
            "推送仍用更换前的 Token 和密钥。",
        ),
        row(
            "push_wrong_signature",
            "push",
            "A forged copy with a wrong signature comes first.",
            "先来一份签名错误的伪造推送。",
        ),
        row(
            "push_wrong_appid",
            "push",
            "A forged copy with another AppID inside the cipher comes first.",
            "先来一份密文内 AppID 不符的推送。",
        ),
        row("push_stale", "push", "A copy with an old timestamp comes first.", "先来一份时间戳过旧的推送。", "seconds"),
        row("push_replayed", "push", "The very same request comes again afterwards.", "事后原样重放同一请求。"),
        row("pay_forged", "pay", "A notice with a wrong signature comes first.", "先来一条签名错误的支付通知。"),
        row("pay_twice", "pay", "The notice comes again although it was accepted.", "通知已被接受仍再来一次。"),
        row(
            "pay_early",
            "pay",
            "The notice comes before the answer that the payment waits for.",
            "通知先于接口的应答到达。",
        ),
        row("pay_never", "pay", "The notice never comes: the order must be queried.", "通知永不到达，只能主动查单。"),
        row(
            "pay_rotated_key",
            "pay",
            "The notice is signed with a platform key that the merchant has not seen yet.",
            "通知用商户尚未见过的新平台密钥签名。",
        ),
    )
)

# These change how the platform's own answer travels; several may strike one request, besides one of the others.
SLOWING: Final = frozenset({"latency", "drip"})
# These change the world before the request is judged; the answer then follows by itself.
PREPARING: Final = frozenset({"clock_jump", "token_killed", "token_expired", "token_unknown"})
# These spoil the platform's own answer, so the request was processed; the rest is not, unless the rule says so.
SPOILING: Final = frozenset(
    {"reset_after", "truncated", "empty", "not_json", "content_type", "bom", "control", "pay_answer_forged"}
)
# These happen to what the platform sends by itself; all others to requests that arrive.
PUSH_EFFECTS: Final = frozenset(name for name, info in TABLE.items() if info.kind == "push")
PAY_EFFECTS: Final = frozenset(name for name, info in TABLE.items() if info.kind == "pay")
ERRCODES: Final = {
    "busy": -1,
    "quota": 45009,
    "minute": 45011,
    "secret_frozen": 40243,
    "ip_refused": 40164,
    "risk_pending": 89503,
}


def effects() -> tuple[EffectInfo, ...]:
    """Return all effects, in the order in which a page should list them."""
    return tuple(TABLE.values())


def effect_info(name: str) -> EffectInfo | None:
    """Return one effect by its name, or ``None``."""
    return TABLE.get(name)
