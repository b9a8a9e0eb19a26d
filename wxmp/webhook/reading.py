"""Bytes of a push to plain fields (接收消息): XML through expat and JSON, both bounded and with nothing executed.

The body of a push is read before anybody knows who sent it, so everything here is written against the sender: UTF-8
only, no DOCTYPE and with it no entities of one's own, no recursion, bounded depth, number and size of elements.

Source:
    接收普通消息, 接收事件推送 - 开发者中心 / 消息管理
"""

from __future__ import annotations

import json
import re
from typing import Final, Literal, NoReturn, TypeAlias
from xml.parsers import expat

from wxmp.errors import MalformedError

__all__ = [
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "MAX_TEXT",
    "Fields",
    "RawValue",
    "detect",
    "read_fields",
    "read_json",
    "read_sealed",
    "read_xml",
]

#: One value as it arrived: XML gives text, mappings and lists only, JSON gives all of these.
RawValue: TypeAlias = "str | int | float | bool | dict[str, RawValue] | list[RawValue] | None"
#: The fields of a push by the names on the wire.
Fields: TypeAlias = dict[str, RawValue]

#: Levels of elements (or of objects and arrays), the root included.
MAX_DEPTH: Final = 16
#: Elements, or values in JSON.
MAX_ELEMENTS: Final = 500
#: Characters of text in one element.
MAX_TEXT: Final = 65_536

#: Bytes of a tag, comment or instruction. Real pushes have no attributes at all; 100 000 of them fit into one tag.
_MAX_TOKEN: Final = 16_384
#: CDATA sections: a text of 2 048 bytes that consists of "]]>" needs 683.
_MAX_SECTIONS: Final = 2_048

#: Commas and opening brackets of a JSON body, those in texts included. It is looked at before anything is built.
_MAX_MARKS: Final = 20_000

_BOM: Final = b"\xef\xbb\xbf"
_BLANKS: Final = " \t\r\n"
_HALF_PAIR: Final = re.compile(r"[\ud800-\udfff]")

# One element of a flat message; or all that is left when something else comes. The excluded characters are those that
# XML gives a meaning (< & ]), changes (the carriage return) or forbids.
_PLAIN: Final = r"\]\x00-\x08\x0b-\x1f\ufffe\uffff"
_FLAT: Final = re.compile(
    r"<([A-Za-z_][A-Za-z0-9_.-]{0,63}+)>"
    rf"(?:<!\[CDATA\[([^{_PLAIN}]*+)\]\]>|([^<&{_PLAIN}]*+))"
    r"</\1>[ \t\n]*+"
    r"|(.+)",
    re.DOTALL,
)


def _usual(*names: str) -> re.Pattern[str]:
    """Return what fits a flat message of these elements in this order: a number bare, anything else in CDATA."""
    elements = [
        rf"<{name}>([0-9]{{1,20}}+)</{name}>[ \t\n]*+"
        if name in ("CreateTime", "MsgId")
        else rf"<{name}><!\[CDATA\[([^{_PLAIN}]*+)\]\]></{name}>[ \t\n]*+"
        for name in names
    ]
    return re.compile(rf"<xml>[ \t\n]*+{''.join(elements)}</xml>[ \t\n]*+")


# Nine of ten pushes are texts, and all texts look like this: read at once, they cost half.
_TEXT_NAMES: Final = ("ToUserName", "FromUserName", "CreateTime", "MsgType", "Content", "MsgId")
_TEXT: Final = _usual(*_TEXT_NAMES)

# The envelope as the platform writes it. Of these characters nothing means anything to XML.
_ENVELOPE: Final = re.compile(
    rb"[ \t\n]*<xml>[ \t\n]*"
    rb"(?:<ToUserName><!\[CDATA\[[A-Za-z0-9_-]{0,64}\]\]></ToUserName>[ \t\n]*)?"
    rb"<Encrypt><!\[CDATA\[([A-Za-z0-9+/=]*)\]\]></Encrypt>[ \t\n]*"
    rb"</xml>[ \t\n]*"
)


def read_sealed(body: bytes) -> tuple[Literal["xml", "json"], bytes | None]:
    """Read the envelope of an encrypted push: its format and the text of ``Encrypt``, None without exactly one.

    Raises:
        MalformedError: As ``read_xml`` and ``read_json``, but ``Encrypt`` may have any length.
    """
    canonical = _ENVELOPE.fullmatch(body)
    if canonical is not None:
        return "xml", canonical[1]
    form = detect(body)
    fields = read_xml(body, unbounded="Encrypt") if form == "xml" else read_json(body, unbounded="Encrypt")
    encrypt = fields.get("Encrypt")
    # Characters beyond ASCII are no base64; they only have to become bytes, so that something can be compared.
    return form, encrypt.encode("utf-8", "surrogatepass") if isinstance(encrypt, str) else None


def detect(body: bytes) -> Literal["xml", "json"]:
    """Say which format ``body`` has, by its first character: the content type of a push is not to be relied on.

    Raises:
        MalformedError: It begins like neither.
    """
    first = body[:1]
    if first != b"<" and first != b"{":
        first = body[:256].removeprefix(_BOM).lstrip()[:1]
    if first == b"<":
        return "xml"
    if first == b"{":
        return "json"
    raise MalformedError("the body is neither XML nor JSON")


def read_fields(body: bytes) -> tuple[Literal["xml", "json"], Fields]:
    """Read a push in whichever format it has.

    Raises:
        MalformedError: As ``detect``, ``read_xml`` and ``read_json``.
    """
    if body.startswith(b"<xml>") or detect(body) == "xml":
        return "xml", read_xml(body)
    return "json", read_json(body)


def read_xml(body: bytes, *, unbounded: str = "") -> Fields:
    """Read a push in XML: the children of ``<xml>`` by name.

    An element with children becomes a mapping, one that occurs several times under one parent a list, an empty one
    ``""``. Text beside a CDATA section is dropped and text inside kept byte for byte; bare text loses the blanks around
    it. Attributes, comments and instructions are ignored.

    Args:
        body: The whole document, UTF-8.
        unbounded: Name of an element below the root whose text may be longer than ``MAX_TEXT``.

    Raises:
        MalformedError: Not well-formed XML in UTF-8 with the root ``xml``, a DOCTYPE, or beyond a limit.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("the body is not UTF-8") from None
    fields = _read_flat(text)
    if fields is not None:
        return fields
    if "\0" in text:
        # UTF-16 of ASCII is valid UTF-8, and expat takes it for UTF-16 whatever encoding it was told.
        raise MalformedError("the body is not UTF-8")
    return _Reader(unbounded).read(body)


def _read_flat(text: str) -> Fields | None:
    """Read a message without nesting, four times as fast; None leaves it to expat, which decides all doubtful cases.

    Only what reads the same either way is taken: no markup but elements and whole CDATA sections, no attributes, no
    references, no character that XML forbids or changes, no name twice. A property test holds both readings together.
    """
    usual = _TEXT.fullmatch(text)
    if usual is not None and len(text) <= MAX_TEXT:
        return dict(zip(_TEXT_NAMES, usual.groups(), strict=True))
    end = len(text.rstrip(" \t\n")) - len("</xml>")
    if end > MAX_TEXT or not text.startswith("<xml>") or not text.startswith("</xml>", end):
        return None
    start = len("<xml>")
    while text[start] in " \t\n":
        start += 1
    found = _FLAT.findall(text, start, end)
    if not found or found[-1][3] or len(found) >= MAX_ELEMENTS:
        return None
    fields: Fields = {name: section or bare.strip(_BLANKS) for name, section, bare, _ in found}
    return fields if len(fields) == len(found) else None


class _Element:
    """An element that is still open."""

    __slots__ = ("children", "length", "limit", "name", "pieces", "section")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.children: Fields = {}
        self.pieces: list[str] = []
        self.length = 0
        self.section = False

    def value(self) -> RawValue:
        if self.children:
            return self.children
        text = "".join(self.pieces)
        return text if self.section else text.strip(_BLANKS)


class _Reader:
    """One expat pass over one document. The tree grows on an own stack, so depth is a limit and never a crash."""

    __slots__ = ("_elements", "_in_section", "_open", "_parser", "_result", "_sections", "_unbounded")

    def __init__(self, unbounded: str) -> None:
        self._unbounded = unbounded
        self._open: list[_Element] = []
        self._result: RawValue = None
        self._elements = 0
        self._sections = 0
        self._in_section = False
        parser = self._parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.buffer_size = _MAX_TOKEN
        parser.ordered_attributes = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartCdataSectionHandler = self._section_starts
        parser.EndCdataSectionHandler = self._section_ends

    def read(self, body: bytes) -> Fields:
        parser = self._parser
        try:
            if len(body) > _MAX_TOKEN:
                # In pieces: what stays unread after a piece is one tag, and that may not grow for ever.
                for start in range(0, len(body), _MAX_TOKEN):
                    piece = body[start : start + _MAX_TOKEN]
                    parser.Parse(piece, False)
                    if start + len(piece) - parser.CurrentByteIndex > _MAX_TOKEN:
                        raise MalformedError(f"a tag of more than {_MAX_TOKEN} bytes")
                body = b""
            # An exception out of a handler stops expat where it is: nothing behind a DOCTYPE is looked at.
            parser.Parse(body, True)
        except expat.ExpatError as error:
            raise MalformedError(f"not well-formed XML: {expat.ErrorString(error.code)}") from None
        # "<xml/>" and "<xml>text</xml>" are documents, but they name nothing.
        return self._result if isinstance(self._result, dict) else {}

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            raise MalformedError("the declared encoding is not UTF-8")

    def _doctype(self, name: str, system: str | None, public: str | None, internal: int) -> NoReturn:
        raise MalformedError("a DOCTYPE")

    def _start(self, name: str, attributes: list[str]) -> None:
        depth = len(self._open)
        self._elements += 1
        if depth >= MAX_DEPTH:
            raise MalformedError(f"more than {MAX_DEPTH} levels of elements")
        if self._elements > MAX_ELEMENTS:
            raise MalformedError(f"more than {MAX_ELEMENTS} elements")
        if depth == 0 and name != "xml":
            raise MalformedError("the root element is not xml")
        self._open.append(_Element(name, 0 if depth == 1 and name == self._unbounded else MAX_TEXT))

    def _end(self, name: str) -> None:
        element = self._open.pop()
        value = element.value()
        if not self._open:
            self._result = value
            return
        siblings = self._open[-1].children
        before = siblings.get(name)
        if before is None:
            siblings[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            siblings[name] = [before, value]

    def _characters(self, data: str) -> None:
        element = self._open[-1]
        if element.section and not self._in_section:
            return
        element.length += len(data)
        if element.limit and element.length > element.limit:
            raise MalformedError(f"more than {element.limit} characters in one element")
        element.pieces.append(data)

    def _section_starts(self) -> None:
        self._sections += 1
        if self._sections > _MAX_SECTIONS:
            raise MalformedError(f"more than {_MAX_SECTIONS} CDATA sections")
        self._in_section = True
        element = self._open[-1]
        if not element.section:
            element.section = True
            element.pieces.clear()

    def _section_ends(self) -> None:
        self._in_section = False


def read_json(body: bytes, *, unbounded: str = "") -> Fields:
    """Read a push in JSON: one object. Of a repeated name the first counts; a repeated ``Encrypt`` is refused.

    Raw control characters inside of texts are accepted, for the platform sends them. Half of a surrogate pair (a
    nickname cut inside of an emoji) becomes U+FFFD, so that every text can be encoded again.

    Args:
        body: The whole document, UTF-8.
        unbounded: Name in the outer object whose text may be longer than ``MAX_TEXT``.

    Raises:
        MalformedError: Not a JSON object in UTF-8, a number that is none, or beyond a limit.
    """
    body = body.removeprefix(_BOM)
    if body.count(b",") + body.count(b"[") + body.count(b"{") > _MAX_MARKS:
        raise MalformedError("too many values")
    try:
        tree: RawValue = _JSON.decode(body.decode("utf-8"))
    except MalformedError:
        raise
    except RecursionError:
        raise MalformedError(f"more than {MAX_DEPTH} levels of values") from None
    except ValueError:
        # The error would carry the whole text.
        raise MalformedError("not JSON in UTF-8") from None
    if not isinstance(tree, dict):
        raise MalformedError("the JSON is not an object")
    _check_tree(tree, unbounded)
    return _mended(tree) if b"\\u" in body else tree


def _mended(tree: Fields) -> Fields:
    """Return ``tree`` with halves of surrogate pairs replaced; only an escape can bring them in."""
    text = json.dumps(tree, ensure_ascii=False)
    if _HALF_PAIR.search(text) is None:
        return tree
    mended: Fields = _JSON.decode(_HALF_PAIR.sub("\N{REPLACEMENT CHARACTER}", text))
    return mended


def _check_tree(tree: Fields, unbounded: str) -> None:
    """Apply the limits to a tree, level by level."""
    count = 0
    level: list[dict[str, RawValue] | list[RawValue]] = [tree]
    for _ in range(MAX_DEPTH):
        deeper: list[dict[str, RawValue] | list[RawValue]] = []
        for holder in level:
            count += len(holder)
            if count > MAX_ELEMENTS:
                raise MalformedError(f"more than {MAX_ELEMENTS} values")
            for value in holder.values() if isinstance(holder, dict) else holder:
                if isinstance(value, (dict, list)):
                    deeper.append(value)
                elif isinstance(value, str) and len(value) > MAX_TEXT and value is not tree.get(unbounded):
                    raise MalformedError(f"more than {MAX_TEXT} characters in one value")
        if not deeper:
            return
        level = deeper
    raise MalformedError(f"more than {MAX_DEPTH} levels of values")


def _object(pairs: list[tuple[str, RawValue]]) -> Fields:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    fields = {}
    for name, value in pairs:
        if name == "Encrypt" and name in fields:
            raise MalformedError("Encrypt is given twice")
        fields.setdefault(name, value)
    return fields


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise MalformedError("a number beyond all limits")
    return value


def _no_number(text: str) -> NoReturn:
    raise MalformedError(f"{text} is not a number")


# Users' texts can hold raw control characters, hence not strict.
_JSON: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_no_number, strict=False)
