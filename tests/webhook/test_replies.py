"""Replies: what they look like on the wire, what they refuse, and what they become when they are late."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxmp.api.custom import (
    CustomAPI,
    CustomImage,
    CustomMessage,
    CustomMusic,
    CustomNews,
    CustomText,
    CustomVideo,
    CustomVoice,
)
from wxmp.errors import ArgumentError
from wxmp.webhook import replies as module
from wxmp.webhook.replies import (
    MAX_ARTICLES,
    MAX_TEXT_BYTES,
    Element,
    ImageReply,
    MusicReply,
    NewsArticle,
    NewsReply,
    Reply,
    TextReply,
    TransferBizAIIVR,
    TransferCustomerService,
    VideoReply,
    VoiceReply,
    as_reply,
    late_message,
    menu_link,
    render,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wxmp._caller import Caller
    from wxmp.webhook.messages import Push

Format = Literal["xml", "json"]

ACCOUNT = "gh_7f083739789a"
USER = "oia2TjuEGTNoeX76QEjQNrcURxG8"
NOW = 1_700_000_000

#: What XML 1.0 has no place for, written out by another rule than the one under test.
FORBIDDEN = [chr(code) for code in [*range(0x20), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)] if code not in (9, 10, 13)]


@attrs.frozen
class FakePush:
    """What a reply has to know of a push."""

    msg_type: str = "text"
    to_user_name: str = ACCOUNT
    from_user_name: str = USER
    create_time: int = 1


MESSAGE = cast("Push", FakePush())
EVENT = cast("Push", FakePush("event"))


def card(number: int = 1) -> NewsArticle:
    return NewsArticle(f"title {number}", f"text {number}", f"https://p/{number}.jpg?a=1&b=2", f"http://u/{number}")


def render_xml(reply: Reply, push: Push = MESSAGE) -> str:
    return render(reply, push, format="xml", created=NOW).decode("utf-8")


def read(node: ET.Element) -> Any:
    """An element as text or as list of pairs, so that doubled and foreign elements are seen."""
    return [(child.tag, read(child)) for child in node] if len(node) else node.text or ""


def below_the_head(text: str) -> list[tuple[str, Any]]:
    """The elements after the four common ones, which are as they must be."""
    root = ET.fromstring(text)
    assert root.tag == "xml"
    children = [(child.tag, read(child)) for child in root]
    head = [name for name, _ in children[:4]]
    assert head == ["ToUserName", "FromUserName", "CreateTime", "MsgType"]
    assert [value for _, value in children[:3]] == [USER, ACCOUNT, str(NOW)]
    return children[4:]


def cleaned(text: str) -> str:
    return "".join(character for character in text if character not in FORBIDDEN_SET)


FORBIDDEN_SET = frozenset(FORBIDDEN)


def as_xml_reads(text: str) -> str:
    """XML readers make every line ending a newline."""
    return cleaned(text).replace("\r\n", "\n").replace("\r", "\n")


#: Each kind, the elements below the head, and the same as a JSON object.
KINDS: list[tuple[Reply, str, list[tuple[str, Any]], dict[str, Any]]] = [
    (TextReply("你好"), "text", [("Content", "你好")], {"Content": "你好"}),
    (ImageReply("M1"), "image", [("Image", [("MediaId", "M1")])], {"Image": {"MediaId": "M1"}}),
    (VoiceReply("M2"), "voice", [("Voice", [("MediaId", "M2")])], {"Voice": {"MediaId": "M2"}}),
    (VideoReply("M3"), "video", [("Video", [("MediaId", "M3")])], {"Video": {"MediaId": "M3"}}),
    (
        VideoReply("M3", title="标题", description="d<1>", thumb_media_id="T"),
        "video",
        [("Video", [("MediaId", "M3"), ("Title", "标题"), ("Description", "d<1>")])],
        {"Video": {"MediaId": "M3", "Title": "标题", "Description": "d<1>"}},
    ),
    (MusicReply("T"), "music", [("Music", [("ThumbMediaId", "T")])], {"Music": {"ThumbMediaId": "T"}}),
    (
        MusicReply("T", title="t", description="d", music_url="http://m?a=1&b=2", hq_music_url="http://hq"),
        "music",
        [
            (
                "Music",
                [
                    ("Title", "t"),
                    ("Description", "d"),
                    ("MusicUrl", "http://m?a=1&b=2"),
                    ("HQMusicUrl", "http://hq"),
                    ("ThumbMediaId", "T"),
                ],
            )
        ],
        {
            "Music": {
                "Title": "t",
                "Description": "d",
                "MusicUrl": "http://m?a=1&b=2",
                "HQMusicUrl": "http://hq",
                "ThumbMediaId": "T",
            }
        },
    ),
    (
        NewsReply(card()),
        "news",
        [
            ("ArticleCount", "1"),
            (
                "Articles",
                [
                    (
                        "item",
                        [
                            ("Title", "title 1"),
                            ("Description", "text 1"),
                            ("PicUrl", "https://p/1.jpg?a=1&b=2"),
                            ("Url", "http://u/1"),
                        ],
                    )
                ],
            ),
        ],
        {
            "ArticleCount": 1,
            "Articles": [
                {
                    "Title": "title 1",
                    "Description": "text 1",
                    "PicUrl": "https://p/1.jpg?a=1&b=2",
                    "Url": "http://u/1",
                }
            ],
        },
    ),
    (TransferCustomerService(), "transfer_customer_service", [], {}),
    (
        TransferCustomerService("test1@test"),
        "transfer_customer_service",
        [("TransInfo", [("KfAccount", "test1@test")])],
        {"TransInfo": {"KfAccount": "test1@test"}},
    ),
    (TransferBizAIIVR(), "transfer_biz_ai_ivr", [], {}),
]
IDS = [f"{kind[1]}-{number}" for number, kind in enumerate(KINDS)]


def test_every_kind_is_tried() -> None:
    """The list above has each public kind of reply."""
    public = [getattr(module, name) for name in module.__all__]
    kinds = {item for item in public if isinstance(item, type) and issubclass(item, Reply) and item is not Reply}
    assert {type(kind[0]) for kind in KINDS} == kinds
    assert len(kinds) == 8


@pytest.mark.parametrize(("reply", "msg_type", "elements", "_json"), KINDS, ids=IDS)
def test_xml_says_what_the_record_says(
    reply: Reply, msg_type: str, elements: list[tuple[str, Any]], _json: dict[str, Any]
) -> None:
    """Another parser reads the values back, in order, and nothing else."""
    text = render_xml(reply)
    assert below_the_head(text) == elements
    assert ET.fromstring(text).findtext("MsgType") == msg_type


@pytest.mark.parametrize(("reply", "msg_type", "_elements", "fields"), KINDS, ids=IDS)
def test_json_has_the_same_structure(
    reply: Reply, msg_type: str, _elements: list[tuple[str, Any]], fields: dict[str, Any]
) -> None:
    """A JSON push gets the same elements as an object, with numbers as numbers."""
    body = render(reply, MESSAGE, format="json", created=NOW)
    head = {"ToUserName": USER, "FromUserName": ACCOUNT, "CreateTime": NOW, "MsgType": msg_type}
    assert json.loads(body) == head | fields


def test_text_reply_byte_for_byte() -> None:
    """The text reply looks as in the platform's own example, without blanks or byte order mark in front."""
    assert (
        render(TextReply("你好"), MESSAGE, format="xml", created=NOW)
        == (
            f"<xml><ToUserName><![CDATA[{USER}]]></ToUserName><FromUserName><![CDATA[{ACCOUNT}]]></FromUserName>"
            f"<CreateTime>{NOW}</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好]]></Content></xml>"
        ).encode()
    )


def test_json_keeps_chinese_readable() -> None:
    """Chinese goes out as UTF-8, not as escapes."""
    body = render(TextReply("你好"), MESSAGE, format="json", created=NOW)
    assert '"Content":"你好"'.encode() in body
    assert body.startswith(b"{")


@pytest.mark.parametrize("format", ["xml", "json"])
def test_create_time_is_whole(format: Format) -> None:
    """A clock that counts fractions does not reach the wire."""
    body = render(TextReply("x"), MESSAGE, format=format, created=cast("int", 1_700_000_000.9))
    assert b"1700000000.9" not in body
    assert b"1700000000" in body


def test_several_articles_for_an_event() -> None:
    """An event takes eight articles, and their number is told."""
    root = ET.fromstring(render_xml(NewsReply(card(number) for number in range(8)), EVENT))
    assert root.findtext("ArticleCount") == "8"
    assert [node.findtext("Title") for node in root.findall("Articles/item")] == [f"title {n}" for n in range(8)]


def test_zero_is_a_text() -> None:
    """A text of ``0`` is not taken for nothing."""
    assert below_the_head(render_xml(TextReply("0"))) == [("Content", "0")]
    assert as_reply("0") == TextReply("0")


@pytest.mark.parametrize("nothing", [None, "", "\x00\x0b"])
@pytest.mark.parametrize("format", ["xml", "json"])
def test_what_is_not_given_is_left_out(nothing: str | None, format: Format) -> None:
    """No empty element, and never the text None."""
    given: dict[str, Any] = {"title": nothing, "description": nothing}
    for reply in (
        VideoReply("M", **given),
        MusicReply("M", **given, music_url=nothing, hq_music_url=nothing),
        TransferCustomerService(nothing),
    ):
        body = render(reply, MESSAGE, format=format, created=NOW).decode()
        assert not re.search("None|null|Title|Description|Url|TransInfo|KfAccount", body)


def test_blank_agent_is_no_agent() -> None:
    """A name of blanks would make the message wait for an agent whom nobody is."""
    assert "TransInfo" not in render_xml(TransferCustomerService(" \t"))


# --- nothing that users write becomes markup


#: What breaks careless templates, mixed with everything else.
FRAGMENTS = [
    *("]]>", "]]", "]", ">", "<", "&", "&lt;", "&#0;", "<![CDATA[", "]]><Evil>1</Evil><![CDATA[", "</Content>", "{0}"),
    *("%s", "{content}", "\x00", "\x0b", "\x1f", "\x7f", "\x85", "\ud800", "\udfff", "\ufffe", "\uffff", "\ufeff"),
    *("😀", "\U0001fffe", "你好", "\r\n", "\r", "\n", "\t", " ", "\u2028", '"', "'", "\\", "0", "None"),
]
HOSTILE = st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(), max_size=5), max_size=25).map("".join)
SEEN = HOSTILE.map(lambda text: f"a{text}b")  # there is always something to see


@given(SEEN)
def test_text_comes_back_and_adds_no_element(content: str) -> None:
    """Whatever a text holds, a parser finds one Content with exactly this, without the forbidden characters."""
    assert below_the_head(render_xml(TextReply(content))) == [("Content", as_xml_reads(content))]


@given(SEEN)
def test_text_comes_back_from_json(content: str) -> None:
    """JSON drops the same characters as XML and nothing more."""
    body = render(TextReply(content), MESSAGE, format="json", created=NOW)
    assert json.loads(body)["Content"] == cleaned(content)


@given(SEEN, SEEN)
def test_nested_values_add_no_element(title: str, media_id: str) -> None:
    """The same holds inside other elements and inside articles."""
    video = below_the_head(render_xml(VideoReply(media_id, title=title)))
    assert video == [("Video", [("MediaId", as_xml_reads(media_id)), ("Title", as_xml_reads(title))])]
    url = f"http://x{media_id}"
    news = ET.fromstring(render_xml(NewsReply(NewsArticle(title, title, url, url))))
    assert [(child.tag, child.text) for child in news.findall("Articles/item/*")] == [
        ("Title", as_xml_reads(title)),
        ("Description", as_xml_reads(title)),
        ("PicUrl", as_xml_reads(url)),
        ("Url", as_xml_reads(url)),
    ]


@given(SEEN, SEEN)
def test_hostile_names_in_a_push_add_no_element(receiver: str, sender: str) -> None:
    """Names come from the push: in plain mode somebody else may have written them."""
    push = cast("Push", FakePush(from_user_name=receiver, to_user_name=sender))
    root = ET.fromstring(render_xml(TextReply("x"), push))
    assert [(child.tag, child.text) for child in root][:2] == [
        ("ToUserName", as_xml_reads(receiver)),
        ("FromUserName", as_xml_reads(sender)),
    ]
    assert len(root) == 5
    body = json.loads(render(TextReply("x"), push, format="json", created=NOW))
    assert (body["ToUserName"], body["FromUserName"]) == (cleaned(receiver), cleaned(sender))


@pytest.mark.parametrize("character", [*FORBIDDEN[:32], *map(chr, (0xDBFF, 0xDC00, 0xDFFF))])
def test_dropped_character_does_not_join_a_section_end(character: str) -> None:
    """Taking a forbidden character out of ``]]…>`` must not leave the end of the section."""
    content = f"a]]{character}><Evil/>"
    assert below_the_head(render_xml(TextReply(content))) == [("Content", "a]]><Evil/>")]


def test_every_forbidden_character_is_dropped() -> None:
    """None of the characters that XML 1.0 forbids is left, all others stay."""
    for character in FORBIDDEN:
        assert below_the_head(render_xml(TextReply(f"a{character}b"))) == [("Content", "ab")]
    for character in "\t\n\x7f\x85\xa0\u2028\ud7ff\ue000\ufeff\ufffd\U00010000\U0001fffe\U0010ffff":
        assert below_the_head(render_xml(TextReply(f"a{character}b"))) == [("Content", f"a{character}b")]


# --- limits


def problem_of(make: Callable[[], object]) -> ArgumentError:
    with pytest.raises(ArgumentError) as caught:
        make()
    return caught.value


@pytest.mark.parametrize(
    "content", ["a" * 2048, "好" * 682, "好" * 682 + "ab", "😀" * 512, "é" * 1024, "a" * 2048 + "\x00\ud800"]
)
def test_longest_text(content: str) -> None:
    """A text may have 2048 bytes in UTF-8; what is dropped does not count."""
    assert TextReply(content).content == content
    assert MAX_TEXT_BYTES == 2048


@pytest.mark.parametrize(
    ("content", "size"), [("a" * 2049, 2049), ("好" * 683, 2049), ("😀" * 512 + "a", 2049), ("é" * 1025, 2050)]
)
def test_text_too_long(content: str, size: int) -> None:
    """One byte more is refused with the size and the limit, before anything is sent."""
    error = problem_of(lambda: TextReply(content))
    assert (error.errcode, error.field) == (45002, "content")
    assert f"has {size} bytes" in str(error)
    assert "2048" in str(error)


@pytest.mark.parametrize("content", ["", " ", "\n\t", "\x00", "\ud800", " \x0b\uffff"])
def test_empty_text(content: str) -> None:
    """An empty text is an error on the platform; the message says what to do instead."""
    error = problem_of(lambda: TextReply(content))
    assert (error.errcode, error.field) == (44004, "content")
    assert "return None" in str(error)


@pytest.mark.parametrize("content", [None, 5, b"bytes", ["x"]])
def test_text_of_another_type(content: object) -> None:
    """The error names the type and not the value."""
    error = problem_of(lambda: TextReply(cast("str", content)))
    assert error.errcode == 44004
    assert type(content).__name__ in str(error)


@pytest.mark.parametrize("make", [ImageReply, VoiceReply, VideoReply, MusicReply])
@pytest.mark.parametrize(("media_id", "errcode"), [("", 41006), ("  ", 41006), ("\x00", 41006), (None, 40007)])
def test_material_is_needed(make: Callable[[Any], Reply], media_id: str | None, errcode: int) -> None:
    """Replies with material name it."""
    error = problem_of(lambda: make(media_id))
    field = "thumb_media_id" if make is MusicReply else "media_id"
    assert (error.errcode, error.field) == (errcode, field)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: VideoReply("M", title=cast("str", 5)), "title"),
        (lambda: VideoReply("M", description=cast("str", 5)), "description"),
        (lambda: VideoReply("M", thumb_media_id=cast("str", 5)), "thumb_media_id"),
        (lambda: MusicReply("M", title=cast("str", 5)), "title"),
        (lambda: MusicReply("M", description=cast("str", 5)), "description"),
        (lambda: MusicReply("M", music_url=cast("str", 5)), "music_url"),
        (lambda: MusicReply("M", hq_music_url=cast("str", 5)), "hq_music_url"),
        (lambda: TransferCustomerService(cast("str", 5)), "kf_account"),
    ],
)
def test_optional_texts_are_texts(make: Callable[[], Reply], field: str) -> None:
    """What is given must be a text."""
    error = problem_of(make)
    assert (error.errcode, error.field) == (40035, field)


@pytest.mark.parametrize("field", ["title", "description", "pic_url", "url"])
@pytest.mark.parametrize("value", ["", " ", "\x00", None])
def test_articles_are_complete(field: str, value: str | None) -> None:
    """All four parts of an article are needed."""
    error = problem_of(lambda: attrs.evolve(card(), **cast("Any", {field: value})))
    assert (error.errcode, error.field) == (40035, field)


@pytest.mark.parametrize("field", ["pic_url", "url"])
@pytest.mark.parametrize("value", ["javascript:alert(1)", "//x/y", "www.qq.com", "http://", "https:// x", " http://x"])
def test_addresses_are_of_the_web(field: str, value: str) -> None:
    """Addresses begin with http or https and go somewhere."""
    error = problem_of(lambda: attrs.evolve(card(), **cast("Any", {field: value})))
    assert (error.errcode, error.field) == (40048, field)
    assert "http://" in str(error)


def test_addresses_in_capitals() -> None:
    """The scheme may be written in capitals."""
    assert attrs.evolve(card(), url="HTTPS://x").url == "HTTPS://x"


@pytest.mark.parametrize("spelling", [card(), [card()], (card(),), iter([card()])])
def test_spellings_of_articles(spelling: Any) -> None:
    """One article, or any iterable of them, becomes a tuple."""
    assert NewsReply(spelling).articles == (card(),)


@pytest.mark.parametrize(
    ("articles", "errcode", "field"),
    [
        ([], 44003, "articles"),
        ([card()] * 9, 45008, "articles"),
        (None, 40035, "articles"),
        (5, 40035, "articles"),
        ("words", 40035, "articles[0]"),
        ([card(), {"title": "t"}], 40035, "articles[1]"),
    ],
)
def test_articles_that_cannot_be(articles: Any, errcode: int, field: str) -> None:
    """1 to 8 articles, all of them records."""
    error = problem_of(lambda: NewsReply(articles))
    assert (error.errcode, error.field) == (errcode, field)
    assert MAX_ARTICLES == 8


def test_failing_iterable_fails_as_itself() -> None:
    """An error inside the caller's generator is not mistaken for a wrong argument."""

    def articles() -> Any:
        yield card()
        raise TypeError("of the caller")

    with pytest.raises(TypeError, match="of the caller"):
        NewsReply(articles())


@pytest.mark.parametrize("msg_type", ["text", "image", "voice", "video", "shortvideo", "location", "link", "new kind"])
def test_message_gets_one_article(msg_type: str) -> None:
    """Several articles for a message are refused: the user would see the first."""
    push = cast("Push", FakePush(msg_type))
    assert render_xml(NewsReply(card()), push)
    error = problem_of(lambda: render_xml(NewsReply([card(1), card(2)]), push))
    assert (error.errcode, error.field) == (45008, "articles")


@pytest.mark.parametrize("reply", [TransferCustomerService(), TransferCustomerService("a@b"), TransferBizAIIVR()])
@pytest.mark.parametrize("msg_type", ["event", "Event", "EVENT"])
@pytest.mark.parametrize("format", ["xml", "json"])
def test_events_are_not_handed_over(reply: Reply, msg_type: str, format: Format) -> None:
    """Only messages can be transferred."""
    push = cast("Push", FakePush(msg_type))
    error = problem_of(lambda: render(reply, push, format=format, created=NOW))
    assert (error.errcode, error.field) == (40008, "reply")
    assert type(reply).__name__ in str(error)


@pytest.mark.parametrize("reply", [kind[0] for kind in KINDS if "transfer" not in kind[1]])
def test_all_else_answers_events(reply: Reply) -> None:
    """What shows the user something may answer an event."""
    assert below_the_head(render_xml(reply, EVENT)) == below_the_head(render_xml(reply, MESSAGE))


# --- lines to tap


def test_menu_link() -> None:
    """A tap sends the text and the id back; the label is shown."""
    assert menu_link("满意", "101", "满意") == (
        '<a href="weixin://bizmsgmenu?msgmenucontent=%E6%BB%A1%E6%84%8F&msgmenuid=101">满意</a>'
    )


def test_menu_link_takes_numbers() -> None:
    """Ids are often numbers."""
    assert menu_link("a", 0, "b") == menu_link("a", "0", "b")


@given(SEEN, SEEN, SEEN)
def test_menu_link_cannot_be_broken_out_of(text: str, menu_id: str, label: str) -> None:
    """What users wrote ends neither the address nor the link."""
    link = menu_link(text, menu_id, label)
    found = re.fullmatch(r'<a href="(weixin://bizmsgmenu\?[A-Za-z0-9%&=_.~-]*)">([^<>]*)</a>', link, re.DOTALL)
    assert found is not None
    query = parse_qs(urlsplit(found[1]).query, strict_parsing=True)
    assert query == {"msgmenucontent": [cleaned(text)], "msgmenuid": [cleaned(menu_id)]}
    shown = found[2].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown == cleaned(label)


@pytest.mark.parametrize(("position", "field"), [(0, "text"), (1, "menu_id"), (2, "label")])
@pytest.mark.parametrize("value", ["", " ", None])
def test_menu_link_is_complete(position: int, field: str, value: Any) -> None:
    """A line without text, id or label is refused."""
    words: list[Any] = ["text", "1", "label"]
    words[position] = value
    error = problem_of(lambda: menu_link(*words))
    assert (error.errcode, error.field) == (40035, field)


# --- what handlers return


@pytest.mark.parametrize("reply", [kind[0] for kind in KINDS], ids=IDS)
def test_reply_is_itself(reply: Reply) -> None:
    """A record is taken as it is."""
    assert as_reply(reply) is reply


def test_text_becomes_a_reply() -> None:
    """A handler may return a text."""
    assert as_reply("你好") == TextReply("你好")


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_is_success(nothing: str | None) -> None:
    """Nothing to show is no reply."""
    assert as_reply(nothing) is None


@pytest.mark.parametrize("value", [0, False, True, b"x", {"a": 1}, [TextReply("x")], TextReply, object(), card()])
def test_anything_else_is_an_error(value: object) -> None:
    """The error names the type of what came back, not its value."""
    error = problem_of(lambda: as_reply(value))
    assert (error.errcode, error.field) == (40008, "return value")
    assert type(value).__name__ in str(error)


def test_long_text_of_a_handler() -> None:
    """A returned text has the limits of a text reply."""
    assert problem_of(lambda: as_reply("a" * 2049)).errcode == 45002


def test_blank_text_of_a_handler() -> None:
    """Only an empty text means nothing to show; one of blanks is a mistake that is told."""
    assert problem_of(lambda: as_reply(" \n")).errcode == 44004


# --- late answers

LATE: list[tuple[Reply, CustomMessage | None]] = [
    (TextReply("0"), CustomText("0")),
    (TextReply("a\x00\ud800]]>"), CustomText("a]]>")),
    (ImageReply("M\x00"), CustomImage("M")),
    (VoiceReply("M\x00"), CustomVoice("M")),
    (VideoReply("M", title="t"), None),
    (VideoReply("M", thumb_media_id=""), None),
    (VideoReply("M", thumb_media_id="\x00"), None),
    (VideoReply("M\x00", thumb_media_id="T\x00"), CustomVideo("M", "T")),
    (
        VideoReply("M", title="t\ud800", description="", thumb_media_id="T"),
        CustomVideo("M", "T", title="t", description=None),
    ),
    (MusicReply("T", title="t"), None),
    (MusicReply("T\x00", music_url="http://m\ud800"), CustomMusic("http://m", "T")),
    (MusicReply("T", hq_music_url="http://h"), CustomMusic("http://h", "T", hqmusicurl="http://h")),
    (
        MusicReply("T", title="t", description="d", music_url="http://m", hq_music_url="http://h"),
        CustomMusic("http://m", "T", title="t", description="d", hqmusicurl="http://h"),
    ),
    (
        NewsReply(card()),
        CustomNews("title 1", "http://u/1", description="text 1", picurl="https://p/1.jpg?a=1&b=2"),
    ),
    (
        NewsReply(NewsArticle("t\ud800", "d\x00", "http://p\ud800", "http://u\x00")),
        CustomNews("t", "http://u", description="d", picurl="http://p"),
    ),
    (TransferCustomerService(), None),
    (TransferCustomerService("a@b"), None),
    (TransferBizAIIVR(), None),
]


@pytest.mark.parametrize(("reply", "message"), LATE)
def test_late_form(reply: Reply, message: CustomMessage | None) -> None:
    """Each kind becomes the customer-service message that shows the same, or nothing."""
    assert late_message(reply) == message


@pytest.mark.parametrize("reply", [reply for reply, message in LATE if message is not None])
async def test_late_form_can_be_sent(reply: Reply) -> None:
    """The family that sends it finds nothing missing, and its JSON is UTF-8."""
    sent: list[dict[str, Any]] = []

    async def call(_endpoint: object, *, json: dict[str, Any]) -> dict[str, Any]:
        sent.append(json)
        return {}

    message = late_message(reply)
    assert message is not None
    await CustomAPI(cast("Caller", call)).send(USER, message)
    (payload,) = sent
    assert payload["touser"] == USER
    assert json.dumps(payload, ensure_ascii=False).encode("utf-8")


def test_late_news_is_the_first_article(caplog: pytest.LogCaptureFixture) -> None:
    """Of several articles the first goes out late, and the log says so without their words."""
    caplog.set_level(logging.DEBUG)
    message = late_message(NewsReply([card(number) for number in range(3)]))
    assert message == CustomNews("title 0", "http://u/0", description="text 0", picurl="https://p/0.jpg?a=1&b=2")
    assert [(entry.name, entry.levelname) for entry in caplog.records] == [("wxmp.webhook", "WARNING")]
    assert "3 articles" in caplog.text
    assert "title" not in caplog.text


@given(SEEN)
def test_late_text_fits(content: str) -> None:
    """What fits into a reply fits into the customer-service message."""
    message = late_message(TextReply(content))
    assert isinstance(message, CustomText)
    assert 0 < len(message.content.encode("utf-8")) <= MAX_TEXT_BYTES


# --- records


@pytest.mark.parametrize("reply", [kind[0] for kind in KINDS], ids=IDS)
def test_records_are_frozen(reply: Reply) -> None:
    """No attribute changes, none is added; equal records hash alike and survive copies."""
    fields = [field.name for field in attrs.fields(cast("Any", type(reply)))]
    for name in [*fields, "something_else"]:
        with pytest.raises(AttributeError):
            setattr(reply, name, "x")
    assert not hasattr(reply, "__dict__")
    for twin in (copy.deepcopy(reply), pickle.loads(pickle.dumps(reply))):
        assert twin == reply
        assert hash(twin) == hash(reply)


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (TextReply("你好"), "TextReply(content='你好')"),
        (TransferBizAIIVR(), "TransferBizAIIVR()"),
        (TransferCustomerService("a@b"), "TransferCustomerService(kf_account='a@b')"),
        (
            VideoReply("M", title="t"),
            "VideoReply(media_id='M', title='t', description=None, thumb_media_id=None)",
        ),
        (
            NewsReply(NewsArticle("t", "d", "http://p", "http://u")),
            "NewsReply(articles=(NewsArticle(title='t', description='d', pic_url='http://p', url='http://u'),))",
        ),
    ],
)
def test_reprs(reply: Reply, shown: str) -> None:
    """A record shows how it was made."""
    assert repr(reply) == shown


def test_base_is_not_a_reply() -> None:
    """The base alone says nothing to the user."""
    with pytest.raises(TypeError, match="abstract"):
        Reply()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


@attrs.frozen
class NewKind(Reply):
    """A kind that the platform may invent."""

    msg_type: ClassVar[str] = "new_kind"
    word: str = "]]>"

    def elements(self) -> Mapping[str, Element]:
        return {"Word": self.word, "Number": 0, "Inner": {"Deep": {"Deeper": "x", "Gone": None}}, "Empty": {}}


def test_kinds_of_users() -> None:
    """A subclass of the user's is rendered and answers everything; late it has no form."""
    assert below_the_head(render_xml(NewKind(), EVENT)) == [
        ("Word", "]]>"),
        ("Number", "0"),
        ("Inner", [("Deep", [("Deeper", "x")])]),
    ]
    assert as_reply(NewKind()) == NewKind()
    assert late_message(NewKind()) is None


def test_names_are_sorted() -> None:
    """The public names are in order and exist."""
    assert module.__all__ == sorted(module.__all__, key=lambda name: (not name.isupper(), name))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_import_is_light() -> None:
    """Replies need neither the customer-service family nor an HTTP library until an answer is late."""
    code = (
        "import sys, wxmp.webhook.replies\n"
        "heavy = {'wxmp.api.custom', 'httpx', 'cattrs', 'redis', 'cryptography'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
