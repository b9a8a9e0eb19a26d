"""What the platform makes of an answer: every rule, without a socket."""

from __future__ import annotations

import json

import pytest

from wxmp.simulator import Answer, Policy
from wxmp.simulator.answers import Bounds, BrokenReply, check_reply, read_reply, read_xml, review

USER, ACCOUNT = "oUser", "gh_account"
BASE = {"ToUserName": USER, "FromUserName": ACCOUNT, "CreateTime": "1790000000", "MsgType": "text", "Content": "x"}


def bounds(**changes):
    return Bounds(**({"user": USER, "account": ACCOUNT, "to_event": False, "shows": True} | changes))


def judge(fields, policy=None, **changes):
    return check_reply(fields, bounds(**changes), policy or Policy())


def look(body=b"", status=200, form="xml", policy=None, **changes):
    policy = policy or Policy()
    return review(
        Answer(status, body),
        policy,
        lambda raw: read_reply(raw, form),
        lambda reply: check_reply(reply, bounds(**changes), policy),
    )


def xml(fields):
    return ("<xml>" + "".join(f"<{k}>{v}</{k}>" for k, v in fields.items()) + "</xml>").encode()


def article(**changes):
    return {"Title": "t", "Description": "d", "PicUrl": "p", "Url": "u"} | changes


@pytest.mark.parametrize("body", [b"", b"success"])
def test_silence(body):
    """An empty body and the bare word success are fine: nothing is shown, nothing repeated."""
    found = look(body)
    assert (found.verdict, found.repeat) == ("silent", False)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"success\n", "neither empty"),
        (b" ", "neither empty"),
        (b"SUCCESS", "neither empty"),
        (b"Traceback (most recent call last)", "neither empty"),
        (b'{"errcode":0}', "JSON, where the account's format is XML"),
        (b"\xef\xbb\xbf" + xml(BASE), "byte order mark"),
        (b"<html><body>ok</body></html>", "root element"),
        (b"<xml><ToUserName>", "not well-formed"),
        (b"<xml></xml>", "ToUserName"),
        (b"<!DOCTYPE xml><xml></xml>", "DOCTYPE"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><xml><A>&a;</A></xml>', "DOCTYPE"),
        (b"<xml>\xff</xml>", "not well-formed"),
        (xml(BASE).decode().encode("utf-16"), "neither empty"),
        (b"<xml>" + b"<a>" * 40 + b"</a>" * 40 + b"</xml>", "too many elements"),
        (b"<xml>" + b"<a/>" * 11_000 + b"</xml>", "too many elements"),
        (b"x" * 70_000, "more than 65536 bytes"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_unreadable_answers_are_broken_and_not_asked_for_again(body, why):
    """What cannot be read gives the grey line, with the reason; by default it is not repeated."""
    found = look(body)
    assert (found.verdict, found.repeat) == ("broken", False)
    assert why in found.why


def test_policy_may_repeat_broken_bodies_and_forgive_blanks():
    """Both habits are fields of the policy, because no document settles them."""
    assert look(b"oops", policy=Policy(callback_repeats_broken_body=True)).repeat
    assert look(b"success\r\n", policy=Policy(callback_trims_answer=True)).verdict == "silent"


@pytest.mark.parametrize("status", [500, 404, 302, 204, 403])
def test_other_statuses(status):
    """Anything but 200 is a failed delivery and is repeated."""
    found = look(b"success", status)
    assert (found.verdict, found.repeat) == ("broken", True)
    assert str(status) in found.why


def test_no_answer():
    """No answer is a failed delivery and is repeated."""
    found = look(status=None)
    assert (found.verdict, found.repeat) == ("broken", True)


def test_text():
    """A good text is shown."""
    found = look(xml(BASE))
    assert (found.verdict, found.reply) == ("shown", BASE)


def test_json_reply():
    """In a JSON account the reply is JSON, its CreateTime a number or a text."""
    for created in (1790000000, "1790000000"):
        body = json.dumps(BASE | {"CreateTime": created}).encode()
        assert look(body, form="json").verdict == "shown"
    assert "XML, where" in look(xml(BASE), form="json").why
    assert "not JSON" in look(b"{", form="json").why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ToUserName": ACCOUNT, "FromUserName": USER}, "a reply swaps them"),
        ({"ToUserName": "oOther"}, "not that of the push"),
        ({"FromUserName": "wx1234"}, "not that of the push"),
        ({"CreateTime": None}, "CreateTime"),
        ({"CreateTime": "now"}, "CreateTime"),
        ({"CreateTime": True}, "CreateTime"),
        ({"MsgType": None}, "MsgType is missing"),
        ({"MsgType": "sticker"}, "MsgType is unknown"),
        ({"Content": ""}, "empty"),
        ({"Content": None}, "empty"),
        ({"Content": "字" * 683}, "over 2048 bytes"),
    ],
)
def test_rules_of_every_reply(changes, why):
    """Receiver, sender, time and kind are checked, and the text's length in bytes."""
    with pytest.raises(BrokenReply, match=why):
        judge(BASE | changes)


def test_text_of_just_2048_bytes():
    """2048 bytes are allowed, and "0" is a text."""
    assert judge(BASE | {"Content": "字" * 682 + "ab"}).verdict == "shown"
    assert judge(BASE | {"Content": "0"}).verdict == "shown"


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"MsgType": "image", "Image": {"MediaId": "m"}}, {"Image": {"MediaId": ""}}),
        ({"MsgType": "voice", "Voice": {"MediaId": "m"}}, {"Voice": ""}),
        ({"MsgType": "video", "Video": {"MediaId": "m"}}, {"Video": {"Title": "t"}}),
        ({"MsgType": "music", "Music": {"ThumbMediaId": "m"}}, {"Music": {"MusicUrl": "u"}}),
    ],
)
def test_media_replies(good, bad):
    """A media reply needs its media."""
    assert judge(BASE | good).verdict == "shown"
    with pytest.raises(BrokenReply, match=r"has no|missing"):
        judge(BASE | good | bad)


@pytest.mark.parametrize("shape", [{"item": article()}, {"item": [article()]}, [article()]])
def test_news(shape):
    """One article is shown, in each spelling of a list."""
    assert judge(BASE | {"MsgType": "news", "ArticleCount": "1", "Articles": shape}).verdict == "shown"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ArticleCount": "2"}, "ArticleCount"),
        ({"ArticleCount": None}, "ArticleCount"),
        ({"Articles": None}, "no articles"),
        ({"Articles": ""}, "no articles"),
        ({"Articles": {"item": {"Title": "t", "Description": "d", "Url": "u"}}}, "PicUrl"),
    ],
)
def test_broken_news(changes, why):
    """The count must be that of the articles, and each article complete."""
    with pytest.raises(BrokenReply, match=why):
        judge(BASE | {"MsgType": "news", "ArticleCount": 1, "Articles": {"item": article()}} | changes)


def test_article_limits():
    """One article answers a message, eight an event; more are dropped, or refused by policy."""

    def news(count):
        return BASE | {"MsgType": "news", "ArticleCount": count, "Articles": {"item": [article()] * count}}

    shown = judge(news(3))
    assert len(shown.reply["Articles"]["item"]) == 1
    assert "of which 1 reach the user" in shown.why
    assert len(judge(news(8), to_event=True).reply["Articles"]["item"]) == 8
    assert len(judge(news(9), to_event=True).reply["Articles"]["item"]) == 8
    with pytest.raises(BrokenReply, match="at most 1"):
        judge(news(2), Policy(callback_extra_articles="broken"))


def test_handing_over():
    """A message goes to an agent, to a named one, or to the AI; an event cannot be handed over."""
    transfer = BASE | {"MsgType": "transfer_customer_service"}
    assert judge(transfer).verdict == "handed_over"
    named = transfer | {"TransInfo": {"KfAccount": "a@b"}}
    assert judge(named, agents=["a@b"]).why == "handed to the named agent"
    assert "does not exist" in judge(named, agents=["c@d"]).why
    assert judge(BASE | {"MsgType": "transfer_biz_ai_ivr"}).verdict == "handed_over"
    assert judge(transfer, to_event=True).verdict == "not_shown"
    with pytest.raises(BrokenReply, match="KfAccount"):
        judge(transfer | {"TransInfo": ""})


def test_replies_that_reach_nobody():
    """A good reply to an event whose replies are ignored is not shown."""
    assert judge(BASE, to_event=True, shows=False).verdict == "not_shown"


def test_reader_keeps_text_and_collects_repeats():
    """Adjacent sections join, repeated elements make a list, blanks between elements do not matter."""
    body = b"<xml>\n <A><![CDATA[1]]]]><![CDATA[>]]></A>\n <B>1</B><B>2</B><B/><C><D> x </D></C></xml>"
    assert read_xml(body) == {"A": "1]]>", "B": ["1", "2", ""], "C": {"D": " x "}}
