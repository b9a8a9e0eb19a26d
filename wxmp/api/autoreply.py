"""Automatic replies (自动回复规则): read the rules that were set in the console."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import attrs

from wxmp._caller import Caller, Endpoint
from wxmp._wire import JsonObject, JsonValue, decode, wire
from wxmp.api._answers import without_verdict

__all__ = [
    "AutoReply",
    "AutoReplyAPI",
    "AutoReplyArticle",
    "AutoReplyKeyword",
    "AutoReplyMatchMode",
    "AutoReplyMode",
    "AutoReplyRule",
    "AutoReplyRules",
    "AutoReplyType",
]

GET: Final = Endpoint("GET", "/cgi-bin/get_current_autoreply_info", repeatable=True)


class AutoReplyType(StrEnum):
    """The kind of a reply or of a keyword (自动回复的类型)."""

    TEXT = "text"
    IMG = "img"
    VOICE = "voice"
    VIDEO = "video"
    #: Articles; of keyword rules only.
    NEWS = "news"


class AutoReplyMode(StrEnum):
    """Which replies of a rule are sent (回复模式)."""

    REPLY_ALL = "reply_all"
    RANDOM_ONE = "random_one"


class AutoReplyMatchMode(StrEnum):
    """When a message matches a keyword (匹配模式)."""

    #: It has the keyword in it.
    CONTAIN = "contain"
    #: It is the keyword.
    EQUAL = "equal"


@attrs.frozen
class AutoReplyArticle:
    """One article of a reply (图文消息)."""

    title: str
    author: str = ""
    digest: str = ""
    #: Whether the cover is shown in the text.
    show_cover: bool = False
    cover_url: str = ""
    #: The article itself.
    content_url: str = ""
    #: Where "read more" leads.
    source_url: str = ""
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AutoReply:
    """One reply (自动回复)."""

    type: AutoReplyType | str
    #: The text, or a media id.
    content: str = ""
    #: The articles, for ``news``.
    news_info: tuple[AutoReplyArticle, ...] = attrs.field(default=(), metadata=wire("news_info.list"))
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AutoReplyKeyword:
    """A keyword of a rule (关键词)."""

    #: The platform knows ``text`` only.
    type: AutoReplyType | str
    match_mode: AutoReplyMatchMode | str
    #: The keyword itself.
    content: str
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AutoReplyRule:
    """What is sent when a message matches one of some keywords (关键词自动回复规则)."""

    rule_name: str = ""
    create_time: datetime | None = None
    reply_mode: AutoReplyMode | str = ""
    #: The keywords; one of them is enough.
    keyword_list_info: tuple[AutoReplyKeyword, ...] = ()
    #: The replies.
    reply_list_info: tuple[AutoReply, ...] = ()
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AutoReplyRules:
    """All automatic replies of the console (自动回复规则)."""

    #: Whether new followers are greeted.
    is_add_friend_reply_open: bool
    #: Whether messages that match no keyword get the default reply.
    is_autoreply_open: bool
    #: The greeting (关注后自动回复); ``None`` if there never was one.
    add_friend_autoreply_info: AutoReply | None = None
    #: The default reply (消息自动回复); ``None`` if there never was one.
    message_default_autoreply_info: AutoReply | None = None
    #: The rules for keywords (关键词自动回复).
    keyword_autoreply_info: tuple[AutoReplyRule, ...] = attrs.field(
        default=(), metadata=wire("keyword_autoreply_info.list")
    )
    #: Fields this version does not know.
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class AutoReplyAPI:
    """Automatic replies (自动回复规则): read the rules that were set in the console.

    They are changed in the console; there is no call for that.
    """

    _call: Caller

    async def get(self) -> AutoReplyRules:
        """Read the greeting, the default reply and the rules for keywords (获取自动回复规则).

        Source:
            GET /cgi-bin/get_current_autoreply_info - 自动回复 / 获取自动回复规则
        """
        reply = without_verdict(await self._call(GET))
        return decode(AutoReplyRules, _plain_rules(reply), endpoint=GET.name)


def _plain_rules(reply: JsonObject) -> JsonObject:
    """Take the lists out of their ``{"list": [...]}``, all the way down."""
    plain = _without_wrapper(reply, "keyword_autoreply_info")
    for name in ("add_friend_autoreply_info", "message_default_autoreply_info"):
        single = plain.get(name)
        if isinstance(single, dict):
            plain[name] = _without_wrapper(single, "news_info")
        if not single:
            # A reply that was never set is left out, or an object or text with nothing in it.
            plain[name] = None
    rules = plain.get("keyword_autoreply_info.list")
    if isinstance(rules, list):
        plain["keyword_autoreply_info.list"] = [_plain_rule(rule) for rule in rules]
    return plain


def _plain_rule(rule: JsonValue) -> JsonValue:
    replies = rule.get("reply_list_info") if isinstance(rule, dict) else None
    if not isinstance(rule, dict) or not isinstance(replies, list):
        return rule
    plain: list[JsonValue] = [
        _without_wrapper(reply, "news_info") if isinstance(reply, dict) else reply for reply in replies
    ]
    return {**rule, "reply_list_info": plain}


def _without_wrapper(owner: JsonObject, name: str) -> JsonObject:
    """Return ``owner`` with the list in ``name`` moved to ``name.list``; what else the wrapper holds stays there."""
    plain = dict(owner)
    wrapper = plain.pop(name, None)
    if isinstance(wrapper, dict):
        wrapper = dict(wrapper)
        plain[f"{name}.list"] = wrapper.pop("list", None)
        if wrapper:
            plain[name] = wrapper
    elif wrapper:
        plain[f"{name}.list"] = wrapper
    return plain
