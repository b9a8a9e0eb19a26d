"""Bytes to fields: what the platform sends reads right, and nothing else does harm."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.moments import little_work
from wxmp.errors import MalformedError, WebhookError
from wxmp.webhook import reading
from wxmp.webhook.reading import MAX_DEPTH, MAX_ELEMENTS, MAX_TEXT, detect, read_json, read_sealed, read_xml


def xml(inner: str) -> bytes:
    return f"<xml>{inner}</xml>".encode()


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("<A>1</A>", "1"),
        ("<A> \n1\t</A>", "1"),
        ("<A><![CDATA[x]]></A>", "x"),
        ("<A><![CDATA[ x \n]]></A>", " x \n"),
        ("<A>\n  <![CDATA[ x ]]>\n</A>", " x "),
        ("<A>before<![CDATA[x]]>after</A>", "x"),
        ("<A><![CDATA[x]]> <![CDATA[y]]></A>", "xy"),
        ("<A><![CDATA[a]]]]><![CDATA[>b]]></A>", "a]]>b"),
        ("<A><![CDATA[<b>&amp;</b>]]></A>", "<b>&amp;</b>"),
        ("<A>a &lt;&amp;&gt; &#20320;&#x597D;</A>", "a <&> 你好"),
        ("<A></A>", ""),
        ("<A/>", ""),
        ("<A><![CDATA[]]></A>", ""),
        ("<A>   </A>", ""),
        ("<A>x<!-- > -->y</A>", "xy"),
        ("<A x='1' y=\"2\">v</A>", "v"),
        ("<A>　你　</A>", "　你　"),
        ("<A><![CDATA[a]b]]></A>", "a]b"),
        ("<A><![CDATA[👍🏽]]></A>", "👍🏽"),
    ],
)
def test_text_of_an_element(inner: str, expected: str) -> None:
    """Text inside of CDATA is kept byte for byte, text beside it dropped, bare text stripped."""
    assert read_xml(xml(inner)) == {"A": expected}


def test_nested_and_repeated_elements() -> None:
    """Children make a mapping, repeated ones a list; text between children is dropped."""
    body = xml("<A><item><K>1</K></item> noise <item><K>2</K></item><item/></A><B>1</B><B><C/></B>")
    assert read_xml(body) == {"A": {"item": [{"K": "1"}, {"K": "2"}, ""]}, "B": ["1", {"C": ""}]}


def test_order_is_kept() -> None:
    """Fields stand in the order of the document, with and without nesting."""
    assert list(read_xml(xml("<C>1</C><A>2</A><B>3</B>"))) == ["C", "A", "B"]
    assert list(read_xml(xml("<C>1</C><A><X>2</X></A><B>3</B>"))) == ["C", "A", "B"]


@pytest.mark.parametrize(
    "prefix",
    [
        b"\xef\xbb\xbf",
        b"\n ",
        b'<?xml version="1.0"?>',
        b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?>\n<!-- x -->',
        b"<?xml version='1.0' encoding='utf-8' standalone='yes'?>",
    ],
)
def test_what_may_precede_the_root(prefix: bytes) -> None:
    """A byte order mark, blanks, a declaration and comments."""
    if prefix.startswith(b"\n"):
        assert read_xml(prefix + xml("<A>1</A>")) == {"A": "1"}
    assert read_xml(prefix + xml("<A>1</A>") + b"\n") == {"A": "1"}


@pytest.mark.parametrize("body", [b"<xml/>", b"<xml></xml>", b"<xml>text</xml>", b"<xml> \n </xml>"])
def test_a_root_without_fields(body: bytes) -> None:
    """Well-formed, and nothing in it."""
    assert read_xml(body) == {}


LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
REFUSED = {
    "empty": b"",
    "blanks": b"  ",
    "text": b"hello",
    "another root": b"<html></html>",
    "root in capitals": b"<XML></XML>",
    "open": b"<xml><A>1</A>",
    "wrong order": b"<xml><A><B></A></B></xml>",
    "two roots": b"<xml/><xml/>",
    "text behind the root": b"<xml/>x",
    "duplicate attribute": b"<xml><A x='1' x='2'/></xml>",
    "bare ampersand": b"<xml><A>a & b</A></xml>",
    "unknown entity": b"<xml><A>&nbsp;</A></xml>",
    "end of CDATA in text": b"<xml><A>x]]>y</A></xml>",
    "open CDATA": b"<xml><A><![CDATA[x</A></xml>",
    "control character": b"<xml><A>\x01</A></xml>",
    "control character in CDATA": b"<xml><A><![CDATA[\x08]]></A></xml>",
    "NUL": b"<xml><A>\x00</A></xml>",
    "reference to NUL": b"<xml><A>&#0;</A></xml>",
    "reference to half a pair": b"<xml><A>&#xD800;</A></xml>",
    "U+FFFF": "<xml><A>\uffff</A></xml>".encode(),
    "half a surrogate pair": b"<xml><A>\xed\xa0\x80</A></xml>",
    "overlong": b"<xml><A>\xc0\xbc</A></xml>",
    "cut inside of a character": b"<xml><A>\xe4\xbd</A></xml>",
    "GBK": "<xml><A>你好</A></xml>".encode("gbk"),
    "GBK, declared": "<?xml version='1.0' encoding='gbk'?><xml><A>你好</A></xml>".encode("gbk"),
    "UTF-8, declared as GBK": "<?xml version='1.0' encoding='gbk'?><xml><A>你好</A></xml>".encode(),
    "declared as Latin": b"<?xml version='1.0' encoding='iso-8859-1'?><xml><A>1</A></xml>",
    "declared as UTF-7": b"<?xml version='1.0' encoding='utf-7'?><xml>+ADw-A/+AD4-</xml>",
    "UTF-16 with a mark": "<xml><A>1</A></xml>".encode("utf-16"),
    "UTF-16 LE": "<xml><A>1</A></xml>".encode("utf-16-le"),
    "UTF-16 BE": "<xml><A>1</A></xml>".encode("utf-16-be"),
    "UTF-32": "<xml><A>1</A></xml>".encode("utf-32"),
    "DOCTYPE": b"<!DOCTYPE xml><xml><A>1</A></xml>",
    "DOCTYPE, UTF-16": "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE xml><xml/>".encode("utf-16"),
    "DOCTYPE behind a comment": b"<!-- > --><!DOCTYPE xml><xml><A>1</A></xml>",
    "DOCTYPE in the root": b"<xml><!DOCTYPE xml><A>1</A></xml>",
    "entity": b'<!DOCTYPE xml [<!ENTITY a "1">]><xml><A>&a;</A></xml>',
    "external entity": b'<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><A>&a;</A></xml>',
    "external DTD": b'<!DOCTYPE xml SYSTEM "http://127.0.0.1:9/x.dtd"><xml><A>1</A></xml>',
    "parameter entity": b'<!DOCTYPE xml [<!ENTITY % a SYSTEM "file:///etc/passwd">%a;]><xml/>',
    "nested entities": f'<!DOCTYPE xml [<!ENTITY a0 "ha">{LAUGHS}]><xml><A>&a8;</A></xml>'.encode(),
    "one long entity often": f'<!DOCTYPE x [<!ENTITY a "{"a" * 50_000}">]><xml>{"&a;" * 50_000}</xml>'.encode(),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_xml_that_is_refused(body: bytes) -> None:
    """One kind of error, without content and without the parser's own error behind it."""
    with pytest.raises(MalformedError) as caught:
        read_xml(body)
    assert (caught.value.code, caught.value.status) == (-40002, 400)
    assert caught.value.__cause__ is None


HUGE = {
    "200 000 elements": b"<xml>" + b"<a/>" * 200_000 + b"</xml>",
    "200 000 levels": b"<xml>" + b"<a>" * 200_000,
    "200 000 attributes": b"<xml " + b" ".join(b'a%d=""' % n for n in range(100_000)) + b"></xml>",
    "attributes behind the root": b"<xml><A " + b" ".join(b'a%d=""' % n for n in range(100_000)) + b"/></xml>",
    "a name of 1 MB": b"<xml><" + b"a" * 1_000_000 + b"/></xml>",
    "a comment of 1 MB": b"<xml><!--" + b"a" * 1_000_000 + b"--></xml>",
    "an instruction of 1 MB": b"<?a " + b"a" * 1_000_000 + b"?><xml/>",
    "a text of 1 MB": b"<xml><A>" + b"a" * 1_000_000 + b"</A></xml>",
    "a section of 1 MB": b"<xml><A><![CDATA[" + b"a" * 1_000_000 + b"]]></A></xml>",
    "100 000 sections": b"<xml><A>" + b"<![CDATA[]]>" * 80_000 + b"</A></xml>",
    "200 000 references": b"<xml><A>" + b"&amp;" * 200_000 + b"</A></xml>",
    "an open tag": b"<xml><A " + b"a" * 1_000_000,
    "an open root": b"<" * 1_000_000,
    "blanks": b" " * 1_000_000,
    "closing brackets": b"<xml><A><![CDATA[" + b"]" * 1_000_000 + b"</xml>",
    "flat start, then noise": b"<xml><A>1</A>" + b"<A" * 500_000 + b"</xml>",
    "500 flat elements": b"<xml>" + b"".join(b"<a%d/>" % n for n in range(MAX_ELEMENTS)) + b"</xml>",
    "500 flat elements with text": b"<xml>" + b"".join(b"<a%d>1</a%d>" % (n, n) for n in range(500)) + b"</xml>",
    "17 levels": b"<xml>" + b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH + b"</xml>",
    "a text one too long": b"<xml><A>" + b"a" * (MAX_TEXT + 1) + b"</A></xml>",
}


@pytest.mark.parametrize("body", HUGE.values(), ids=HUGE)
def test_limits_stop_early(body: bytes) -> None:
    """Whatever is too much is refused, and long before all of it was looked at."""
    # 50 ms are promised; the rest is for slow machines. Nothing here takes 20 ms on ours.
    with little_work(0.25), pytest.raises(MalformedError):
        read_xml(body)


def test_handlers_see_no_more_than_the_limits_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted instead of timed: of 200 000 elements the parser reports a few hundred."""
    calls = 0
    original = reading._Reader._start

    def counting(self: reading._Reader, name: str, attributes: list[str]) -> None:
        nonlocal calls
        calls += 1
        original(self, name, attributes)

    monkeypatch.setattr(reading._Reader, "_start", counting)
    with pytest.raises(MalformedError):
        read_xml(HUGE["200 000 elements"])
    assert calls == MAX_ELEMENTS + 1


@pytest.mark.parametrize(
    "body",
    [
        b"<xml>" + b"<a>" * (MAX_DEPTH - 1) + b"</a>" * (MAX_DEPTH - 1) + b"</xml>",
        b"<xml>" + b"".join(b"<a%d/>" % n for n in range(MAX_ELEMENTS - 1)) + b"</xml>",
        b"<xml><A>" + b"a" * MAX_TEXT + b"</A></xml>",
        b"<xml><A><![CDATA[" + b"a" * MAX_TEXT + b"]]></A></xml>",
        b"<xml><A>" + b"<![CDATA[]]]]><![CDATA[>]]>" * 683 + b"</A></xml>",
    ],
)
def test_limits_themselves_are_allowed(body: bytes) -> None:
    """What just fits is read."""
    assert read_xml(body)


def test_deep_tree_does_not_need_the_stack() -> None:
    """A caller near the recursion limit can still read the deepest allowed document."""
    limit = sys.getrecursionlimit()
    body = b"<xml>" + b"<a>" * (MAX_DEPTH - 1) + b"</a>" * (MAX_DEPTH - 1) + b"</xml>"

    def at_depth(n: int) -> object:
        return at_depth(n - 1) if n else read_xml(body)

    depth = len_of_stack()
    assert at_depth(limit - depth - 30)


def len_of_stack() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_only_the_named_element_may_be_long() -> None:
    """The encrypted text is bounded by the body alone, and only directly below the root."""
    long = "a" * (MAX_TEXT + 1)
    assert read_xml(xml(f"<E>{long}</E>"), unbounded="E") == {"E": long}
    for inner in (f"<F>{long}</F>", f"<F><E>{long}</E></F>"):
        with pytest.raises(MalformedError):
            read_xml(xml(inner), unbounded="E")


# ---- two readings of flat messages

CHARACTERS = st.sampled_from(
    list("ab0<>&;]![/ \n\r\t\"'=#-_.:\x00\x01\x0b\x0c\x1f\x7f\x85\u3000\ufffd\ufffe\uffff你👍")
)
PIECES = st.one_of(
    st.sampled_from(
        ["<A>", "</A>", "<B1>", "</B1>", "<![CDATA[", "]]>", "<A/>", "&amp;", "<!--", "-->", "\n", "<你>",
         "</你>", "<A >", "<_a-b.c>", "</_a-b.c>", "<1>", "</1>", "<a:b>", "</a:b>", "</xml>", "<xml>", "<A>1</A>",
         "<B><![CDATA[2]]></B>"]
    ),
    st.text(CHARACTERS, max_size=4),
)  # fmt: skip
TEXTS = st.text(CHARACTERS, max_size=6)
ELEMENTS = st.builds(
    lambda name, before, text, after, section: (
        f"<{name}>{before}<![CDATA[{text}]]>{after}</{name}>" if section else f"<{name}>{text}</{name}>"
    ),
    st.sampled_from(["A", "B", "C", "MsgId", "_x", "a.b", "a-b", "x" * 64, "x" * 65]),
    st.sampled_from(["", "", " ", "\n", "x"]),
    TEXTS,
    st.sampled_from(["", "", " ", "x"]),
    st.booleans(),
)
INNER = st.lists(PIECES | ELEMENTS, max_size=6).map("".join) | st.lists(ELEMENTS, max_size=4).map("\n".join)


def by_expat(body: bytes, unbounded: str = "") -> object:
    try:
        return reading._Reader(unbounded).read(body)
    except MalformedError:
        return "refused"


@settings(max_examples=600, deadline=None)
@given(INNER)
@example("<A>\x85</A>")
@example("<A>\u2028</A>")
@example("<A>\x7f</A>")
@example("<A><![CDATA[<B>&amp;]]></A>")
@example("<A>a>b</A>")
@example("<A>1</A><A>2</A>")
def test_flat_reading_is_the_reading_of_expat(inner: str) -> None:
    """Whatever the short way takes, expat reads the same; the other way round it may decline anything."""
    text = f"<xml>{inner}</xml>"
    found = reading._read_flat(text)
    if found is not None:
        assert by_expat(text.encode("utf-8", "surrogatepass")) == found
        assert all(isinstance(value, str) for value in found.values())


CODES = [*range(0x180), 0x2028, 0xD7FF, 0xE000, 0xFEFF, 0xFFBF, 0xFFC0, 0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF]
SHAPES = ["<A>x{}y</A>", "<A><![CDATA[x{}y]]></A>", "<A>1</A>{}<B>2</B>", "<A{}>1</A{}>", "{}<A>1</A>", "<A>1</A>{}"]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_character_reads_the_same(shape: str) -> None:
    """Character by character, in every place of a flat message and around it."""
    for code in CODES:
        inner = shape.replace("{}", chr(code))
        for text in (f"<xml>{inner}</xml>", f"{chr(code)}<xml><A>1</A></xml>", f"<xml><A>1</A></xml>{chr(code)}"):
            found = reading._read_flat(text)
            assert found is None or by_expat(text.encode()) == found, hex(code)


USUAL = "<ToUserName>{}</ToUserName>\n<FromUserName>{}</FromUserName><CreateTime>{}</CreateTime>"
USUAL += "<MsgType>{}</MsgType> <Content>{}</Content>\n<MsgId>{}</MsgId>"
VALUES = st.one_of(TEXTS, TEXTS.map("<![CDATA[{}]]>".format), st.sampled_from(["1", "0" * 21, "１", "<![CDATA[1]]>"]))


@settings(max_examples=600, deadline=None)
@given(st.lists(VALUES, min_size=6, max_size=6), st.integers(0, 6), st.sampled_from(["", " ", "\n", "x", "<!-- -->"]))
def test_usual_texts_are_the_reading_of_expat(values: list[str], place: int, noise: str) -> None:
    """A text message in its usual order has a way of its own, which reads what expat reads."""
    for index in range(6):
        if not values[index].startswith("<![CDATA[") and index not in (2, 5) and index != place:
            values[index] = f"<![CDATA[{values[index]}]]>"  # one odd value at a time reaches further
    inner = USUAL.format(*values)
    text = f"<xml>{noise}{inner}</xml>" if place % 2 else f"<xml>{inner}{noise}</xml>"
    found = reading._read_flat(text)
    assert found is None or by_expat(text.encode("utf-8", "surrogatepass")) == found


@pytest.mark.parametrize("place", range(6))
def test_every_character_of_a_usual_text_reads_the_same(place: int) -> None:
    """Character by character, in every element."""
    for code in CODES:
        values = ["<![CDATA[a]]>", "<![CDATA[b]]>", "1", "<![CDATA[text]]>", "<![CDATA[c]]>", "2"]
        for odd in (f"<![CDATA[x{chr(code)}y]]>", f"1{chr(code)}"):
            values[place] = odd
            text = f"<xml>{USUAL.format(*values)}</xml>"
            found = reading._read_flat(text)
            assert found is None or by_expat(text.encode()) == found, hex(code)


def test_usual_texts_go_the_shortest_way() -> None:
    """The two comparisons above would hold for a way that takes nothing."""
    values = ["<![CDATA[a]]>", "<![CDATA[b]]>", "1", "<![CDATA[text]]>", "<![CDATA[ 你 <好> ]]>", "2"]
    text = f"<xml>{USUAL.format(*values)}</xml>\n"
    assert reading._TEXT.fullmatch(text)
    assert list(reading.read_xml(text.encode()).values()) == ["a", "b", "1", "text", " 你 <好> ", "2"]


def test_typical_messages_go_the_short_way() -> None:
    """The comparison above would hold for a short way that takes nothing."""
    assert reading._read_flat("<xml>\n <A><![CDATA[你 <&> 好]]></A>\n<B> 7 </B>\n</xml>\n") == {
        "A": "你 <&> 好",
        "B": "7",
    }
    assert reading._ENVELOPE.fullmatch(
        b"<xml>\n <ToUserName><![CDATA[gh_1]]></ToUserName>\n <Encrypt><![CDATA[aA+/=]]></Encrypt>\n</xml>\n"
    )


ENVELOPE_PIECES = st.sampled_from(
    ["<xml>", "</xml>", "<ToUserName><![CDATA[gh_1]]></ToUserName>", "<ToUserName>gh_1</ToUserName>",
     "<Encrypt><![CDATA[", "]]></Encrypt>", "<Encrypt>", "</Encrypt>", "aA+/=", "b" * 70, "\n", " ", "\r", "\t", "]",
     "<", "&amp;", "你", "<Encrypt/>", "\x00"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.lists(ENVELOPE_PIECES, max_size=12).map("".join)
    | st.lists(ENVELOPE_PIECES, max_size=6)
    .map("".join)
    .map(lambda inner: f"<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[{inner}]]></Encrypt></xml>")
)
@example("<xml><Encrypt><![CDATA[]]></Encrypt></xml>")
@example("<xml><Encrypt><![CDATA[aa]]></Encrypt><Encrypt><![CDATA[bb]]></Encrypt></xml>")
def test_short_reading_of_the_envelope_is_the_reading_of_expat(text: str) -> None:
    """The same for the envelope: expat finds the same one text in it."""
    body = text.encode()
    found = reading._ENVELOPE.fullmatch(body)
    if found is not None:
        fields = by_expat(body, "Encrypt")
        assert isinstance(fields, dict)
        assert fields["Encrypt"] == found[1].decode()
        assert set(fields) <= {"ToUserName", "Encrypt"}


@settings(deadline=None)
@given(st.binary(max_size=300) | INNER.map(lambda inner: f"<xml>{inner}</xml>".encode()) | st.text().map(str.encode))
def test_only_malformed_is_raised(body: bytes) -> None:
    """Random bytes and mangled markup never raise anything but the one error."""
    for read in (read_xml, read_json, read_sealed, detect):
        raised: list[Exception] = []
        try:
            read(body)  # type: ignore[operator]
        except WebhookError as error:
            raised.append(error)
        assert all(isinstance(error, MalformedError) for error in raised)


# ---- JSON


def test_json_types_are_kept() -> None:
    """Numbers beyond 2^53 stay whole, and nesting stays."""
    tree = {"MsgId": 2**63 + 1, "a": 1.5, "b": None, "c": True, "d": [1, {"e": ""}], "f": "你👍"}
    assert read_json(json.dumps(tree).encode()) == tree
    assert read_json(b"\xef\xbb\xbf \n" + json.dumps(tree, ensure_ascii=False).encode()) == tree


def test_json_control_characters_in_texts() -> None:
    """Users' texts reach us with raw control characters in them."""
    assert read_json(b'{"Content": "a\nb\tc\x01"}') == {"Content": "a\nb\tc\x01"}


def test_json_first_of_a_repeated_name_counts() -> None:
    """As everywhere: the first wins, in inner objects too."""
    assert read_json(b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 2}') == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize("body", [rb'{"a": "x\ud83d"}', rb'{"a": "x\ude00"}'])
def test_json_half_pairs_can_be_encoded(body: bytes) -> None:
    """A nickname cut inside of an emoji does not lose the message, and everything can be encoded again."""
    assert read_json(body) == {"a": "x\ufffd"}


def test_json_half_pairs_everywhere() -> None:
    """In names and in lists too; whole pairs stay."""
    body = rb'{"\ud800": ["\ud83d\ude00", {"b": "\udfff", "n": 1.5, "m": 9007199254740993}]}'
    assert read_json(body) == {"\ufffd": ["😀", {"b": "\ufffd", "n": 1.5, "m": 9007199254740993}]}


JSON_REFUSED = {
    "empty": b"",
    "list": b"[]",
    "text": b'"x"',
    "number": b"1",
    "open": b'{"a": 1',
    "tail": b"{} {}",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "a number beyond floats": b'{"a": 1e999}',
    "a number beyond floats, negative": b'{"a": [-1e999]}',
    "a number of 5 000 digits": b'{"a": ' + b"9" * 5_000 + b"}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a": 1}'.encode("utf-16-le"),
    "GBK": '{"a": "你好"}'.encode("gbk"),
    "half a pair as bytes": b'{"a": "\xed\xa0\x80"}',
    "Encrypt twice": b'{"Encrypt": "a", "Encrypt": "a"}',
    "200 000 levels": b'{"a":' + b"[" * 200_000,
    "200 000 objects": b'{"a":' * 200_000,
    "1 000 levels, closed": b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "17 levels": b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    "200 000 values": b'{"a":[' + b"1," * 200_000 + b"1]}",
    "501 values": b'{"a":[' + b"1," * MAX_ELEMENTS + b"1]}",
    "100 000 names": b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}",
    "a text of 1 MB": b'{"a": "' + b"x" * 1_000_000 + b'"}',
    "a text one too long": b'{"a": "' + b"x" * (MAX_TEXT + 1) + b'"}',
}


@pytest.mark.parametrize("body", JSON_REFUSED.values(), ids=JSON_REFUSED)
def test_json_that_is_refused(body: bytes) -> None:
    """One kind of error, quickly, and without the text in it (the parser's own error would hold it)."""
    with little_work(0.25), pytest.raises(MalformedError) as caught:
        read_json(body)
    assert caught.value.__cause__ is None
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("name", ["200 000 levels", "200 000 objects", "200 000 values", "100 000 names"])
def test_json_marks_are_counted_before_anything_is_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many values are refused without a look at them."""
    monkeypatch.setattr(reading, "_JSON", None)
    with pytest.raises(MalformedError):
        read_json(JSON_REFUSED[name])


def test_json_depth_that_fits() -> None:
    """Sixteen levels are read."""
    assert read_json(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}")


def test_json_only_the_named_text_may_be_long() -> None:
    """The encrypted text is bounded by the body alone."""
    long = "a" * (MAX_TEXT + 1)
    assert read_json(json.dumps({"E": long}).encode(), unbounded="E") == {"E": long}
    with pytest.raises(MalformedError):
        read_json(json.dumps({"F": {"E": long}}).encode(), unbounded="E")


# ---- which of the two


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<xml/>", "xml"),
        (b" \r\n<xml/>", "xml"),
        (b"\xef\xbb\xbf<xml/>", "xml"),
        (b"{}", "json"),
        (b"\xef\xbb\xbf\n{}", "json"),
    ],
)
def test_detect(body: bytes, expected: str) -> None:
    """The first character decides."""
    assert detect(body) == expected


@pytest.mark.parametrize("body", [b"", b"  ", b"a=b", b"[]", b"\xff\xfe<\x00", b"\xef\xbb\xbf"])
def test_detect_refuses(body: bytes) -> None:
    """Anything else is neither."""
    with pytest.raises(MalformedError):
        detect(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<xml><Encrypt>QUJD</Encrypt></xml>", ("xml", b"QUJD")),
        (b"<xml><ToUserName>x</ToUserName><Encrypt> <![CDATA[QUJD]]> </Encrypt></xml>", ("xml", b"QUJD")),
        (b"<xml><A><![CDATA[1]]></A><Encrypt><![CDATA[QUJD]]></Encrypt><B/></xml>", ("xml", b"QUJD")),
        (b'{"ToUserName": "x", "Encrypt": "QUJD"}', ("json", b"QUJD")),
        ("<xml><Encrypt>你</Encrypt></xml>".encode(), ("xml", "你".encode())),
        (b"<xml><A>1</A></xml>", ("xml", None)),
        (b"<xml><Encrypt>a</Encrypt><Encrypt>a</Encrypt></xml>", ("xml", None)),
        (b"<xml><Encrypt><a>a</a></Encrypt></xml>", ("xml", None)),
        (b"<xml><a><Encrypt>a</Encrypt></a></xml>", ("xml", None)),
        (b'{"Encrypt": 7}', ("json", None)),
        (b'{"Encrypt": null}', ("json", None)),
        (b"{}", ("json", None)),
    ],
)
def test_sealed_text(body: bytes, expected: object) -> None:
    """The one Encrypt below the root, in both formats; none when there is none or two."""
    assert read_sealed(body) == expected
