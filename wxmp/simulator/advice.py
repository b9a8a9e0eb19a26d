"""What each finding of the lint means: its level, and title, detail and remedy in English and Chinese."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ADVICE", "Advice", "Level"]

Level = Literal["error", "warning", "hint"]


@attrs.frozen
class Advice:
    """The words for one kind of finding; in ``detail`` names in braces stand for what was seen."""

    level: Level
    title: str
    title_zh: str
    detail: str
    detail_zh: str
    remedy: str
    remedy_zh: str


ADVICE: Final[Mapping[str, Advice]] = MappingProxyType(
    {
        # --- pushes ---
        "push_slow": Advice(
            "warning",
            "A push was answered late",
            "推送应答过慢",
            "The answer to {subject} took {seconds} s; at {limit} s the connection is cut and the push comes again.",
            "对 {subject} 的应答用了 {seconds} 秒；到 {limit} 秒连接会被断开，推送会重发。",
            'Answer "success" at once and send the real answer later as a customer-service message.',
            "先立即回复 success，稍后再用客服消息发送真正的内容。",
        ),
        "push_timeout": Advice(
            "error",
            "A push was not answered in time",
            "推送未在时限内应答",
            "{subject}: no answer within {limit} s. After {deliveries} deliveries the user sees an error.",
            "{subject}：{limit} 秒内没有应答。平台共投递 {deliveries} 次，之后用户会看到出错提示。",
            'Move slow work out of the request: answer "success" first.',
            "把耗时的工作移出请求处理：先回复 success。",
        ),
        "push_unreachable": Advice(
            "error",
            "The developer's server could not be reached",
            "无法连接开发者服务器",
            "{subject}: {why}.",
            "{subject}：{why}。",
            "Check that the server runs, and that the address and the port are right.",
            "请检查服务器是否在运行、地址和端口是否正确。",
        ),
        "push_http_error": Advice(
            "error",
            "A push was answered with an HTTP error",
            "推送得到 HTTP 错误应答",
            "{subject}: {why}. The platform takes that as no answer and delivers again.",
            "{subject}：{why}。平台视为没有应答并会重发。",
            "Answer 200; look into your own log for the exception.",
            "应返回 200；请查看自己的日志找出异常。",
        ),
        "accepted_wrong_signature": Advice(
            "error",
            "A push with a wrong signature was accepted",
            "接受了签名错误的推送",
            "The server answered HTTP {status} to a forged copy of {subject}: anybody who knows the address can push.",
            "服务器对伪造的 {subject} 返回了 HTTP {status}：任何知道地址的人都能冒充微信推送。",
            "Compute the signature over token, timestamp and nonce (and Encrypt) and answer 403 when it differs.",
            "用 token、timestamp、nonce（以及 Encrypt）计算签名，不一致时返回 403。",
        ),
        "accepted_wrong_appid": Advice(
            "error",
            "A push for another account was accepted",
            "接受了属于其他账号的推送",
            "The cipher text of a copy of {subject} named another AppID, and the server answered HTTP {status}.",
            "{subject} 副本的密文里是另一个 AppID，服务器仍返回 HTTP {status}。",
            "Compare the AppID behind the decrypted message with your own.",
            "解密后请核对消息末尾的 AppID 是否为本账号。",
        ),
        "accepted_stale": Advice(
            "error",
            "An old push was accepted",
            "接受了过期的推送",
            "A copy of {subject} with an old timestamp was answered with HTTP {status}: recorded requests can be used.",
            "带有过期 timestamp 的 {subject} 副本得到 HTTP {status}：录下的请求可以被重放。",
            "Refuse timestamps that differ from your clock by more than about five minutes.",
            "拒绝与本机时钟相差超过约五分钟的 timestamp。",
        ),
        "accepted_replayed": Advice(
            "error",
            "A replayed push was accepted",
            "接受了被重放的推送",
            "The very same request of {subject} was sent again and answered with HTTP {status}.",
            "原样重发的 {subject} 请求再次得到 HTTP {status}。",
            "Remember the nonces of the last minutes and refuse one that comes a second time.",
            "记住最近几分钟用过的 nonce，再次出现时拒绝。",
        ),
        "accepted_forgery": Advice(
            "error",
            "A forged push was accepted",
            "接受了伪造的推送",
            "{subject}: {why}.",
            "{subject}：{why}。",
            "Verify every push before anything is done with it.",
            "处理推送之前必须先验证。",
        ),
        "not_idempotent": Advice(
            "error",
            "The same push was answered in two ways",
            "同一推送得到了不同的回复",
            "Push {push} ({subject}) came again, and the visible reply was another one: the work was done twice.",
            "推送 {push}（{subject}）重发后，可见的回复不同：同一件事做了两次。",
            "Recognise repeats by MsgId (events: FromUserName and CreateTime) and give the first answer again.",
            "用 MsgId（事件用 FromUserName 加 CreateTime）识别重复推送，并返回第一次的回复。",
        ),
        "reply_broken": Advice(
            "error",
            "A reply cannot be used",
            "回复无法使用",
            "{subject}: {why}.",
            "{subject}：{why}。",
            'Answer with an empty body, the bare word "success", or a reply in the account\'s own format.',
            "请回复空串、单词 success，或符合账号消息格式的回复。",
        ),
        "reply_plain": Advice(
            "error",
            "A plain reply in safe mode",
            "安全模式下使用了明文回复",
            "{subject} was answered with plain text, where the account's mode is safe: the user sees an error.",
            "账号为安全模式，但 {subject} 得到明文回复：用户会看到出错提示。",
            "Encrypt replies the way pushes are encrypted.",
            "请按推送的加密方式加密回复。",
        ),
        "reply_too_long": Advice(
            "error",
            "A text reply is too long",
            "文本回复过长",
            "{subject}: {why}.",
            "{subject}：{why}。",
            "Cut the text, or send it in parts as customer-service messages.",
            "请截短，或用客服消息分段发送。",
        ),
        "reply_articles": Advice(
            "warning",
            "A news reply with several articles",
            "图文回复含多篇文章",
            "{subject} was answered with {count} articles: only {limit} reach the user.",
            "{subject} 的回复有 {count} 篇文章：用户只能看到 {limit} 篇。",
            "Reply with one article.",
            "请只回复一篇文章。",
        ),
        # --- tokens ---
        "two_refreshers": Advice(
            "error",
            "Two programs fetch the token and take it from each other",
            "两个程序在互相顶掉 access_token",
            "{subject}: each fetch on the plain channel replaces the token of the other; {first}'s was replaced by "
            "{second} after {seconds} s.",
            "{subject}：普通接口每次获取都会使对方的令牌失效；{first} 的令牌 {seconds} 秒后被 {second} 顶掉。",
            "Let one place fetch the token and share it (a store such as Redis), or use the stable channel.",
            "由一处统一获取并共享（如 Redis），或改用稳定版接口 stable_token。",
        ),
        "token_too_often": Advice(
            "warning",
            "The token is fetched far more often than it lives",
            "获取 access_token 过于频繁",
            "{subject} fetched a token {count} times within {seconds} s although a living one was there.",
            "{subject} 在 {seconds} 秒内获取了 {count} 次令牌，而原令牌仍然有效。",
            "Keep the token and fetch the next one shortly before it ends.",
            "请缓存令牌，快到期时再获取。",
        ),
        "force_refresh_ignored": Advice(
            "warning",
            "A forced refresh was ignored",
            "强制刷新被忽略",
            "{subject}: {why}. The answer holds the current token.",
            "{subject}：{why}。应答里仍是当前令牌。",
            "Force a refresh only after a leak; otherwise call without force_refresh.",
            "只有令牌泄漏时才强制刷新，平时不要带 force_refresh。",
        ),
        "dead_token_used": Advice(
            "error",
            "A dead token is used again and again",
            "反复使用已失效的 access_token",
            "{subject} used the same dead token {count} times (last answer {errcode}).",
            "{subject} 用同一个失效令牌调用了 {count} 次（最后返回 {errcode}）。",
            "On 40001, 40014 and 42001 fetch or read the new token once, repeat the call once, then give up.",
            "遇到 40001、40014、42001 时取一次新令牌、重试一次，仍失败则报错。",
        ),
        "secret_wrong": Advice(
            "error",
            "The secret is wrong",
            "AppSecret 错误",
            "{subject} sent a wrong secret {count} times; the platform locks such callers out.",
            "{subject} 用错误的 AppSecret 请求了 {count} 次；平台会限制这样的调用方。",
            "Fix the secret; do not retry 40125.",
            "请修正 AppSecret；40125 不应重试。",
        ),
        "token_in_body": Advice(
            "error",
            "The access_token travels in the body",
            "access_token 放在了请求体里",
            "{subject}: the platform reads the token from the query only.",
            "{subject}：平台只从查询参数读取令牌。",
            "Put access_token into the query string.",
            "请把 access_token 放在 URL 查询参数中。",
        ),
        # --- limits ---
        "quota_nearly_gone": Advice(
            "warning",
            "A daily quota is nearly used up",
            "每日调用次数即将用完",
            "{subject}: {used} of {limit} calls of today are used.",
            "{subject}：今天 {limit} 次中已用 {used} 次。",
            "Call less often: batch endpoints, caching.",
            "请减少调用：使用批量接口或缓存。",
        ),
        "blind_retry": Advice(
            "error",
            "A used-up quota is retried blindly",
            "额度用尽后仍盲目重试",
            "{subject} was called {count} times more after {errcode}.",
            "{subject} 返回 {errcode} 之后又调用了 {count} 次。",
            "45009: stop until the next day (or clear the quota). 45011: wait for the next minute.",
            "45009：次日再试（或清零）；45011：等到下一分钟。",
        ),
        "busy_not_retried": Advice(
            "warning",
            "A busy answer (-1) was taken as final",
            "系统繁忙（-1）后没有重试",
            "{subject} was answered -1 (try again later) and not called again.",
            "{subject} 返回 -1（系统繁忙，请稍后再试）后没有重试。",
            "Wait a moment and repeat the call a few times.",
            "稍等片刻再重试几次。",
        ),
        # --- menus, texts, wire ---
        "menu_name_long": Advice(
            "warning",
            "A menu caption is longer than what is shown",
            "菜单标题超出显示长度",
            "{subject} is wider than the {limit} Chinese characters a phone shows; the rest becomes an ellipsis.",
            "“{subject}”超过手机能显示的 {limit} 个汉字，其余变成省略号。",
            "Shorten the caption.",
            "请缩短菜单标题。",
        ),
        "unicode_escapes": Advice(
            "warning",
            "Chinese is sent as \\uXXXX escapes",
            "中文以 \\uXXXX 转义发送",
            "{subject}: several endpoints refuse escapes (40033) or show them literally.",
            "{subject}：部分接口会拒绝转义（40033）或原样显示。",
            "Write JSON in UTF-8 without escapes (json.dumps(..., ensure_ascii=False)).",
            "JSON 请用 UTF-8 且不转义（json.dumps(..., ensure_ascii=False)）。",
        ),
        "content_type": Advice(
            "hint",
            "JSON is labelled as something else",
            "JSON 的 Content-Type 不对",
            "{subject}: the Content-Type of a JSON body is {value}.",
            "{subject}：JSON 请求体的 Content-Type 是 {value}。",
            "Send Content-Type: application/json.",
            "请使用 Content-Type: application/json。",
        ),
        "json_to_form": Advice(
            "error",
            "JSON was sent to an upload endpoint",
            "向上传接口发送了 JSON",
            "{subject} wants multipart/form-data with the file.",
            "{subject} 需要 multipart/form-data 形式的文件。",
            "Send the file as a form part named media.",
            "请以表单字段 media 上传文件。",
        ),
        "unknown_path": Advice(
            "warning",
            "An unknown path was called",
            "调用了未知的接口",
            "{subject}: misspelt, or an endpoint this simulator does not have.",
            "{subject}：拼写有误，或本模拟器没有此接口。",
            "Compare the path with the documentation.",
            "请对照文档检查路径。",
        ),
        "deprecated_endpoint": Advice(
            "hint",
            "An endpoint of the past was called",
            "调用了已废弃的接口",
            "{subject}: {value}.",
            "{subject}：{value_zh}。",
            "Use the endpoint that took its place.",
            "请改用替代接口。",
        ),
        # --- messages ---
        "template_no_url": Advice(
            "hint",
            "A template message without a link",
            "模板消息没有链接",
            "{subject}: the card cannot be tapped (Android) or opens a blank page (iOS).",
            "{subject}：卡片不能点击（安卓）或打开空白页（iOS）。",
            "Give url or miniprogram, or accept it.",
            "请填写 url 或 miniprogram，或确认不需要。",
        ),
        "window_closed": Advice(
            "warning",
            "A customer-service message outside the window",
            "在时限外发送客服消息",
            "{count} messages were refused with 45015: the user had done nothing lately that allows one.",
            "有 {count} 条消息返回 45015：用户近期没有可触发客服消息的行为。",
            "Send within the window of what the user did, else use a template or subscription message.",
            "请在用户互动后的时限内发送，否则使用模板消息或订阅通知。",
        ),
        "window_used_up": Advice(
            "warning",
            "More customer-service messages than allowed",
            "客服消息超出条数",
            "{count} messages were refused with 45047: the allowance of what the user did was used up.",
            "有 {count} 条消息返回 45047：该次互动的下发条数已用完。",
            "Put more into one message.",
            "请把内容合并到一条消息里。",
        ),
        # --- web pages ---
        "oauth_code_twice": Advice(
            "error",
            "An OAuth code was used twice",
            "网页授权 code 被重复使用",
            "{subject}: a code is good for one use; reloading the page or two workers use it again.",
            "{subject}：code 只能用一次；刷新页面或两个进程会重复使用。",
            "Exchange the code once, keep the result in the session, then redirect to an address without the code.",
            "只兑换一次并存入会话，然后跳转到不带 code 的地址。",
        ),
        "oauth_state_missing": Advice(
            "warning",
            "An OAuth page was opened without state",
            "网页授权缺少 state",
            "{subject}: without state anybody can slip a code of their own to your users.",
            "{subject}：没有 state，他人可以把自己的 code 塞给你的用户。",
            "Create a random state, bind it to the session and compare it on the way back.",
            "生成随机 state 绑定会话，回跳时核对。",
        ),
        # --- pay ---
        "forged_notice_accepted": Advice(
            "error",
            "Your server accepted a forged payment notice",
            "服务器接受了伪造的支付通知",
            "{subject}: {why}. Whoever knows the address can mark orders as paid.",
            "{subject}：{why}。任何知道地址的人都能把订单标记为已支付。",
            "Verify the signature over the raw body before anything else; answer 401 when it is wrong.",
            "先用原始报文验签；不通过时返回 401。",
        ),
        "pay_notify_url": Advice(
            "warning",
            "The notify_url would not be accepted",
            "notify_url 不符合要求",
            "{subject}: it {value}.",
            "{subject}：{value_zh}。",
            "Use an https address without query parameters.",
            "请使用不带参数的 https 地址。",
        ),
        "pay_not_queried": Advice(
            "error",
            "A paid order was never asked about",
            "已支付的订单从未查询",
            "Order {subject} is paid, its notice did not arrive, and no query was made: the shop does not know.",
            "订单 {subject} 已支付，但通知没有送达，也没有查单：商户并不知道。",
            "Query unpaid orders after a while; never rely on the notice alone.",
            "下单后应主动查单，不能只依赖通知。",
        ),
    }
)
