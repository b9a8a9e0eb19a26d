"""The console's automatic replies: the whole structure, and what is left out, new, or of another shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from wxmp.api.autoreply import (
    AutoReply,
    AutoReplyAPI,
    AutoReplyArticle,
    AutoReplyKeyword,
    AutoReplyMatchMode,
    AutoReplyMode,
    AutoReplyRule,
    AutoReplyRules,
    AutoReplyType,
)
from wxmp.errors import ReplyError

if TYPE_CHECKING:
    from tests.api.conftest import Platform
    from wxmp._caller import Caller

GET = "/cgi-bin/get_current_autoreply_info"
CLOSED: dict[str, Any] = {"is_add_friend_reply_open": 0, "is_autoreply_open": 0}


@pytest.fixture
def autoreply(caller: Caller) -> AutoReplyAPI:
    """The family under test."""
    return AutoReplyAPI(caller)


def rules(*entries: object) -> dict[str, Any]:
    """An answer with these keyword rules."""
    return {**CLOSED, "keyword_autoreply_info": {"list": list(entries)}}


def article(**more: object) -> dict[str, Any]:
    """An article with all its fields."""
    return {
        "title": "it's news",
        "author": "jim",
        "digest": "it's digest",
        "show_cover": 1,
        "cover_url": "http://mmbiz.qpic.cn/c/0",
        "content_url": "http://mp.weixin.qq.com/s?__biz=1",
        "source_url": "http://example.com/",
        **more,
    }


async def test_get_reads_everything(platform: Platform, autoreply: AutoReplyAPI) -> None:
    """Every documented field, down to the articles of a reply, has its attribute."""
    route = platform.answer(
        "GET",
        GET,
        {
            "is_add_friend_reply_open": 1,
            "is_autoreply_open": "1",
            "add_friend_autoreply_info": {"type": "text", "content": "Thanks for your attention!"},
            "message_default_autoreply_info": {"type": "img", "content": "MEDIA-1"},
            "keyword_autoreply_info": {
                "list": [
                    {
                        "rule_name": "autoreply-news",
                        "create_time": 1423028166,
                        "reply_mode": "reply_all",
                        "keyword_list_info": [{"type": "text", "match_mode": "contain", "content": "news测试"}],
                        "reply_list_info": [
                            {"type": "news", "content": "MEDIA-2", "news_info": {"list": [article()]}},
                            {"type": "voice", "content": "MEDIA-3"},
                        ],
                    },
                    {
                        "rule_name": "autoreply-voice",
                        "create_time": "1423027971",
                        "reply_mode": "random_one",
                        "keyword_list_info": [{"type": "text", "match_mode": "equal", "content": "voice测试"}],
                        "reply_list_info": [{"type": "video", "content": "http://v.qq.com/x"}],
                    },
                ]
            },
        },
    )
    assert await autoreply.get() == AutoReplyRules(
        is_add_friend_reply_open=True,
        is_autoreply_open=True,
        add_friend_autoreply_info=AutoReply(AutoReplyType.TEXT, "Thanks for your attention!"),
        message_default_autoreply_info=AutoReply(AutoReplyType.IMG, "MEDIA-1"),
        keyword_autoreply_info=(
            AutoReplyRule(
                "autoreply-news",
                datetime(2015, 2, 4, 5, 36, 6, tzinfo=UTC),
                AutoReplyMode.REPLY_ALL,
                (AutoReplyKeyword(AutoReplyType.TEXT, AutoReplyMatchMode.CONTAIN, "news测试"),),
                (
                    AutoReply(
                        AutoReplyType.NEWS,
                        "MEDIA-2",
                        (
                            AutoReplyArticle(
                                "it's news",
                                "jim",
                                "it's digest",
                                True,
                                "http://mmbiz.qpic.cn/c/0",
                                "http://mp.weixin.qq.com/s?__biz=1",
                                "http://example.com/",
                            ),
                        ),
                    ),
                    AutoReply(AutoReplyType.VOICE, "MEDIA-3"),
                ),
            ),
            AutoReplyRule(
                "autoreply-voice",
                datetime(2015, 2, 4, 5, 32, 51, tzinfo=UTC),
                AutoReplyMode.RANDOM_ONE,
                (AutoReplyKeyword(AutoReplyType.TEXT, AutoReplyMatchMode.EQUAL, "voice测试"),),
                (AutoReply(AutoReplyType.VIDEO, "http://v.qq.com/x"),),
            ),
        ),
    )
    assert platform.params(route) == {}


@pytest.mark.parametrize("empty", [{}, None, "", "absent"], ids=["object", "null", "text", "absent"])
async def test_get_of_nothing(platform: Platform, autoreply: AutoReplyAPI, empty: Any) -> None:
    """What was never set is None or an empty tuple, in each way the platform can leave it out."""
    names = ("add_friend_autoreply_info", "message_default_autoreply_info", "keyword_autoreply_info")
    platform.answer("GET", GET, CLOSED if empty == "absent" else {**CLOSED, **dict.fromkeys(names, empty)})
    assert await autoreply.get() == AutoReplyRules(is_add_friend_reply_open=False, is_autoreply_open=False)


async def test_get_of_empty_lists(platform: Platform, autoreply: AutoReplyAPI) -> None:
    """A rule without keywords and replies, and a reply without articles, are read as that."""
    platform.answer("GET", GET, rules({}, {"reply_list_info": [{"type": "news", "news_info": {"list": []}}]}))
    found = await autoreply.get()
    assert found.keyword_autoreply_info == (
        AutoReplyRule(),
        AutoReplyRule(reply_list_info=(AutoReply(AutoReplyType.NEWS),)),
    )


async def test_unknown_values_are_kept(platform: Platform, autoreply: AutoReplyAPI) -> None:
    """Kinds and modes this version does not know stay the texts they are."""
    platform.answer(
        "GET",
        GET,
        rules(
            {
                "reply_mode": "random_two",
                "keyword_list_info": [{"type": "emoji", "match_mode": "regex", "content": "x"}],
                "reply_list_info": [{"type": "hologram", "content": "H"}],
            }
        ),
    )
    (rule,) = (await autoreply.get()).keyword_autoreply_info
    (keyword,), (reply,) = rule.keyword_list_info, rule.reply_list_info
    values = [rule.reply_mode, keyword.type, keyword.match_mode, reply.type]
    assert values == ["random_two", "emoji", "regex", "hologram"]
    assert {type(value) for value in values} == {str}


async def test_unknown_fields_are_kept(platform: Platform, autoreply: AutoReplyAPI) -> None:
    """On every level, and beside the lists that lose their wrappers."""
    new = {"new": 1}
    platform.answer(
        "GET",
        GET,
        {
            **CLOSED,
            **new,
            "add_friend_autoreply_info": {"type": "text", "content": "hi", **new},
            "keyword_autoreply_info": {
                **new,
                "list": [
                    {
                        **new,
                        "keyword_list_info": [{"type": "text", "match_mode": "equal", "content": "x", **new}],
                        "reply_list_info": [{"type": "news", **new, "news_info": {"list": [article(**new)], **new}}],
                    }
                ],
            },
        },
    )
    found = await autoreply.get()
    greeting, (rule,) = found.add_friend_autoreply_info, found.keyword_autoreply_info
    (keyword,), (reply,) = rule.keyword_list_info, rule.reply_list_info
    assert greeting is not None
    assert [greeting.extra, rule.extra, keyword.extra] == [new] * 3
    assert [one.extra for one in reply.news_info] == [new]
    assert found.extra == {**new, "keyword_autoreply_info": new}
    assert reply.extra == {**new, "news_info": new}


async def test_a_list_without_wrapper_is_read_too(platform: Platform, autoreply: AutoReplyAPI) -> None:
    """A bare list is read like a wrapped one."""
    rule = {"rule_name": "r", "reply_list_info": [{"type": "news", "news_info": [article()]}]}
    platform.answer("GET", GET, {**CLOSED, "keyword_autoreply_info": [rule]})
    (found,) = (await autoreply.get()).keyword_autoreply_info
    assert found.rule_name == "r"
    assert found.reply_list_info[0].news_info[0].title == "it's news"


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        pytest.param({"is_autoreply_open": 1}, "is_add_friend_reply_open", id="no switch"),
        pytest.param({**CLOSED, "is_autoreply_open": "maybe"}, "is_autoreply_open", id="no yes and no no"),
        pytest.param({**CLOSED, "keyword_autoreply_info": {"list": "x"}}, "keyword_autoreply_info", id="no list"),
        pytest.param({**CLOSED, "keyword_autoreply_info": 7}, "keyword_autoreply_info", id="no object"),
        pytest.param(rules("x"), "keyword_autoreply_info", id="no rule"),
        pytest.param(rules({"reply_list_info": "x"}), "reply_list_info", id="no replies"),
        pytest.param(rules({"reply_list_info": ["x"]}), "reply_list_info", id="no reply"),
        pytest.param(rules({"reply_list_info": [{"type": "news", "news_info": 7}]}), "news_info", id="no articles"),
        pytest.param({**CLOSED, "add_friend_autoreply_info": {"content": "x"}}, "type", id="no kind"),
    ],
)
async def test_another_shape(platform: Platform, autoreply: AutoReplyAPI, answer: dict[str, Any], named: str) -> None:
    """What cannot be read is a ReplyError that names the field."""
    platform.answer("GET", GET, answer)
    with pytest.raises(ReplyError, match=named):
        await autoreply.get()


async def test_get_is_repeated(platform: Platform, autoreply: AutoReplyAPI) -> None:
    """A read is made once more after an unknown outcome."""
    route = platform.answer("GET", GET, httpx.Response(502, html="<html>bad gateway</html>"), CLOSED)
    await autoreply.get()
    assert route.call_count == 2
