"""Automatic replies on the simulated platform: what the console has set is what is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from wxmp import RateLimitError
from wxmp.api.autoreply import AutoReply, AutoReplyKeyword, AutoReplyMatchMode, AutoReplyMode, AutoReplyType

if TYPE_CHECKING:
    from wxmp.pytest_plugin import WxSim

PATH = "/cgi-bin/get_current_autoreply_info"


async def test_an_account_without_rules(wx_sim: WxSim) -> None:
    """Nothing is switched on, and nothing is set."""
    rules = await wx_sim.client().autoreply.get()
    assert (rules.is_add_friend_reply_open, rules.is_autoreply_open) == (False, False)
    assert rules.add_friend_autoreply_info is rules.message_default_autoreply_info is None
    assert rules.keyword_autoreply_info == ()
    assert rules.extra == {}
    assert wx_sim.findings == []


async def test_the_rules_of_the_console(wx_sim: WxSim) -> None:
    """Greeting, default reply and keyword rules are read as they were set; nothing documented is left over."""
    wx_sim.account.outreach.autoreply = {
        "is_autoreply_open": 0,
        "add_friend_autoreply_info": {"type": "text", "content": "欢迎"},
        "message_default_autoreply_info": {"type": "voice", "content": "MEDIA"},
        "keyword_autoreply_info": {
            "list": [
                {
                    "rule_name": "prices",
                    "create_time": 1_423_028_166,
                    "reply_mode": "random_one",
                    "keyword_list_info": [
                        {"type": "text", "match_mode": "contain", "content": "价格"},
                        {"type": "text", "match_mode": "equal", "content": "price"},
                    ],
                    "reply_list_info": [
                        {"type": "text", "content": "9.90"},
                        {
                            "type": "news",
                            "content": "MEDIA-2",
                            "news_info": {"list": [{"title": "Prices", "show_cover": 0, "source_url": ""}]},
                        },
                    ],
                }
            ]
        },
    }
    rules = await wx_sim.client().autoreply.get()
    assert (rules.is_add_friend_reply_open, rules.is_autoreply_open) == (True, False)
    assert rules.add_friend_autoreply_info == AutoReply(AutoReplyType.TEXT, "欢迎")
    assert rules.message_default_autoreply_info == AutoReply(AutoReplyType.VOICE, "MEDIA")
    (rule,) = rules.keyword_autoreply_info
    assert (rule.rule_name, rule.reply_mode) == ("prices", AutoReplyMode.RANDOM_ONE)
    assert rule.create_time == datetime(2015, 2, 4, 5, 36, 6, tzinfo=UTC)
    assert rule.keyword_list_info == (
        AutoReplyKeyword(AutoReplyType.TEXT, AutoReplyMatchMode.CONTAIN, "价格"),
        AutoReplyKeyword(AutoReplyType.TEXT, AutoReplyMatchMode.EQUAL, "price"),
    )
    text, news = rule.reply_list_info
    assert (text.content, news.type) == ("9.90", AutoReplyType.NEWS)
    (article,) = news.news_info
    assert (article.title, article.show_cover) == ("Prices", False)
    assert (rules.extra, rule.extra, news.extra) == ({}, {}, {})


async def test_bad_days(wx_sim: WxSim) -> None:
    """A busy platform is asked again; a used-up allowance is told at once."""
    client = wx_sim.client()
    wx_sim.faults.add("busy", path=PATH, times=2)
    await client.autoreply.get()
    assert wx_sim.calls(PATH) == 3
    wx_sim.faults.add("quota", path=PATH)
    with pytest.raises(RateLimitError):
        await client.autoreply.get()
    assert wx_sim.calls(PATH) == 4
