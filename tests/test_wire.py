"""Between the platform's JSON and records: lenient in, exact out."""

from __future__ import annotations

import ast
import datetime as dt
import enum
import json
import math
import os
import pickle
import subprocess
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wxmp._redact import Secret
from wxmp._wire import EXTRA_KEY, JsonObject, JsonValue, check_record, decode, dumps, encode, loads, wire
from wxmp.errors import ArgumentError, ReplyError


class Scene(enum.StrEnum):
    SEARCH = "ADD_SCENE_SEARCH"
    CARD = "ADD_SCENE_CARD"


class Sex(enum.IntEnum):
    UNKNOWN = 0
    MALE = 1


@attrs.frozen
class Leaf:
    name: str
    number: int = 0
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Branch:
    leaf: Leaf | None = None


@attrs.frozen
class Tree:
    name: str
    branches: tuple[Tree, ...] = ()


@attrs.frozen
class Everything:
    text: str = ""
    number: int = 7
    ratio: float = 0.5
    flag: bool = False
    instant: datetime | None = None
    must: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    text_or_none: str | None = None
    number_or_none: int | None = None
    ratio_or_none: float | None = None
    flag_or_none: bool | None = None
    scene: Scene | str = Scene.SEARCH
    scene_or_none: Scene | str | None = None
    sex: Sex | int = Sex.UNKNOWN
    tag_ids: tuple[int, ...] = attrs.field(default=(), metadata=wire("tagid_list"))
    leaf: Leaf | None = None
    own_leaf: Leaf = Leaf("own")
    leaves: tuple[Leaf, ...] = ()
    anything: JsonValue = None
    data: JsonObject = attrs.field(factory=dict)
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


@attrs.frozen
class Strict:
    text: str
    number: int
    instant: datetime
    leaves: tuple[Leaf, ...] = attrs.field(metadata=wire("leaf_list"))


@attrs.frozen
class Extraless:
    name: str = ""


INSTANT = datetime(2013, 10, 25, 9, 42, 37, tzinfo=UTC)
SECONDS = 1382694157
TOKEN = "FAKE-TOKEN"


# ---- leniency


@pytest.mark.parametrize(
    ("field", "sent", "expected"),
    [
        ("text", "text", "text"),
        ("text", 5, "5"),
        ("text", 0.5, "0.5"),
        ("text", None, ""),
        ("number", 5, 5),
        ("number", "5", 5),
        ("number", "-5", -5),
        ("number", 5.0, 5),
        ("number", True, 1),
        ("number", None, 7),
        ("number", "", 7),
        ("ratio", 1, 1.0),
        ("ratio", "1.25", 1.25),
        ("ratio", None, 0.5),
        ("flag", 1, True),
        ("flag", "1", True),
        ("flag", True, True),
        ("flag", "true", True),
        ("flag", 0, False),
        ("flag", "0", False),
        ("flag", "", False),
        ("flag", None, False),
        ("instant", SECONDS, INSTANT),
        ("instant", str(SECONDS), INSTANT),
        ("instant", 0, None),
        ("instant", "0", None),
        ("instant", "", None),
        ("instant", None, None),
        ("must", SECONDS, INSTANT),
        ("must", 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("must", None, datetime(2020, 1, 1, tzinfo=UTC)),
        ("text_or_none", None, None),
        ("text_or_none", "", ""),
        ("text_or_none", 5, "5"),
        ("number_or_none", None, None),
        ("number_or_none", "", None),
        ("number_or_none", "5", 5),
        ("number_or_none", 0, 0),
        ("ratio_or_none", None, None),
        ("ratio_or_none", "", None),
        ("ratio_or_none", "0.5", 0.5),
        ("flag_or_none", None, None),
        ("flag_or_none", 0, False),
        ("scene", "ADD_SCENE_CARD", Scene.CARD),
        ("scene", "ADD_SCENE_TOMORROW", "ADD_SCENE_TOMORROW"),
        ("scene_or_none", None, None),
        ("scene_or_none", "ADD_SCENE_CARD", Scene.CARD),
        ("scene_or_none", "ADD_SCENE_TOMORROW", "ADD_SCENE_TOMORROW"),
        ("sex", 1, Sex.MALE),
        ("sex", "1", Sex.MALE),
        ("sex", 9, 9),
        ("leaf", None, None),
        ("leaf", {"name": "a", "number": "3"}, Leaf("a", 3)),
        ("leaf", Leaf("made already"), Leaf("made already")),
        ("own_leaf", None, Leaf("own")),
        ("own_leaf", {"name": "a"}, Leaf("a")),
        ("leaves", None, ()),
        ("leaves", "", ()),
        ("leaves", [], ()),
        ("leaves", [{"name": "a"}, {"name": "b"}], (Leaf("a"), Leaf("b"))),
        ("anything", {"a": [1, None]}, {"a": [1, None]}),
        ("data", {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_reading_is_lenient(field: str, sent: object, expected: object) -> None:
    """Numbers as text, text as numbers, null and empty text are read as what they mean."""
    value = getattr(decode(Everything, {field: sent}), field)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("nothing", [None, ""])
def test_empty_records_are_absent(nothing: str | None) -> None:
    """Empty text in place of a record that may be absent is no record, and any other text is a fault."""
    assert decode(Branch, {"leaf": nothing}) == Branch()
    assert decode(Branch, {"leaf": {"name": "a"}}) == Branch(Leaf("a"))
    with pytest.raises(ReplyError, match=r"Branch\.leaf: expected an object, found text"):
        decode(Branch, {"leaf": "x"})


def test_wire_names() -> None:
    """An attribute with another name on the wire is read from that name, and from no other."""
    assert decode(Everything, {"tagid_list": [1, "2"]}).tag_ids == (1, 2)
    assert decode(Everything, {"tag_ids": [1]}).tag_ids == ()


def test_missing_fields_have_their_defaults() -> None:
    """An empty object is a record of defaults."""
    assert decode(Everything, {}) == Everything()


def test_instants_are_aware() -> None:
    """An instant is in UTC and says so."""
    instant = decode(Everything, {"instant": SECONDS}).instant
    assert instant is not None
    assert instant.tzinfo is UTC


def test_list_of_records() -> None:
    """A bare list is read as a tuple of records, and null as none."""
    assert decode(tuple[Leaf, ...], [{"name": "a"}]) == (Leaf("a"),)
    assert decode(tuple[Leaf, ...], None) == ()


def test_recursive_records() -> None:
    """A record can hold records of its own class."""
    payload = {"name": "a", "branches": [{"name": "b", "branches": []}, {"name": "c", "branches": [{"name": "d"}]}]}
    expected = Tree("a", (Tree("b"), Tree("c", (Tree("d"),))))
    assert decode(Tree, payload) == expected


# ---- unknown fields


def test_unknown_fields_are_kept() -> None:
    """What a record does not know is in extra, in the order it came."""
    record = decode(Leaf, {"z": 1, "name": "a", "b": [None]})
    assert list(record.extra.items()) == [("z", 1), ("b", [None])]


@pytest.mark.parametrize("sent", [1, {"a": 1}, {}, None, "x"])
@pytest.mark.parametrize("other", [{}, {"more": 2}])
def test_a_wire_field_named_extra_is_an_unknown_field(sent: object, other: dict[str, int]) -> None:
    """A new field that is called "extra" neither becomes the attribute nor gets lost beside others."""
    payload = {"name": "a", "extra": sent, **other}
    record = decode(Leaf, payload)
    assert record.extra == {"extra": sent, **other}
    assert encode(record) == {**payload, "number": 0}


def test_a_wire_field_with_the_inner_name_is_an_unknown_field() -> None:
    """Not even the key that the reader uses itself can be sent to it, and it goes out again as it came."""
    payload = {"name": "a", "number": 1, EXTRA_KEY: {"b": 1}, "c": 2}
    record = decode(Leaf, payload)
    assert record.extra == {EXTRA_KEY: {"b": 1}, "c": 2}
    assert encode(record) == payload


def test_the_inner_name_can_stand_in_source_code() -> None:
    """Before 26.2, cattrs puts the key between quotes as it is: a NUL, quote, backslash or line end breaks reading."""
    assert ast.literal_eval(f"'{EXTRA_KEY}'") == EXTRA_KEY
    assert not EXTRA_KEY.isidentifier()  # so no attribute and no field of the platform has this name


def test_unknown_fields_need_a_place() -> None:
    """A record without extra drops what it does not know, a field named extra included."""
    assert decode(Extraless, {"name": "a", "b": 1, "extra": {"c": 2}}) == Extraless("a")


def test_reading_does_not_change_the_answer() -> None:
    """The payload is the caller's: reading leaves it as it was."""
    payload = {"name": "a", "number": None, "b": 1}
    decode(Leaf, payload)
    assert payload == {"name": "a", "number": None, "b": 1}


def test_round_trip() -> None:
    """Reading and writing gives the same object again, unknown fields included."""
    payload = {
        "text": "订单",
        "number": 5,
        "ratio": 0.25,
        "flag": True,
        "instant": SECONDS,
        "must": SECONDS,
        "text_or_none": "x",
        "number_or_none": 0,
        "ratio_or_none": 1.5,
        "flag_or_none": False,
        "scene": "ADD_SCENE_CARD",
        "scene_or_none": "ADD_SCENE_TOMORROW",
        "sex": 1,
        "tagid_list": [1, 2],
        "leaf": {"name": "a", "number": 1, "new_inside": [1]},
        "own_leaf": {"name": "c", "number": 3},
        "leaves": [{"name": "b", "number": 2}],
        "anything": [{"a": None}],
        "data": {"k": {"value": "v"}},
        "brand_new": {"null": None},
    }
    assert json.loads(dumps(encode(decode(Everything, payload)))) == payload


@settings(deadline=None)  # the first example builds what later ones reuse
@given(
    st.dictionaries(
        st.sampled_from(["name", "number", "extra", EXTRA_KEY, "new"]) | st.text(max_size=3),
        st.integers(-9, 9) | st.text(max_size=3) | st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
    )
)
def test_round_trip_keeps_every_unknown_field(payload: dict[str, Any]) -> None:
    """Whatever unknown fields come, they go out again as they came."""
    payload = {**payload, "name": "a", "number": 1}
    assert encode(decode(Leaf, payload)) == payload


# ---- writing records


def test_absent_fields_are_not_written() -> None:
    """None is not sent; an empty value is."""
    written = encode(Everything())
    assert "leaf" not in written
    assert written["text"] == ""
    assert "extra" not in written


def test_extra_of_a_request_is_sent() -> None:
    """A caller can send a field that the record does not name, and wins over the record."""
    assert encode(Leaf("a", extra={"new": 1, "number": 9})) == {"name": "a", "number": 9, "new": 1}


def test_instants_are_written_as_seconds() -> None:
    """An aware datetime of any zone becomes whole seconds since 1970."""
    local = INSTANT.astimezone(dt.timezone(dt.timedelta(hours=8))).replace(microsecond=999_999)
    assert encode(Everything(instant=local))["instant"] == SECONDS


def test_a_naive_datetime_is_refused() -> None:
    """The time zone of the server is never guessed into a request."""
    with pytest.raises(ArgumentError, match="time zone"):
        encode(Everything(instant=datetime(2020, 1, 1)))  # noqa: DTZ001


# ---- what cannot be read


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "Strict.text: required field missing; Strict.number: required field missing"),
        ({"text": []}, "Strict.text: expected text, found a list"),
        ({"text": {}}, "Strict.text: expected text, found a dict"),
        ({"text": True}, "Strict.text: expected text, found a bool"),
        ({"number": "five"}, "Strict.number: expected a whole number, found text"),
        ({"number": 1.5}, "Strict.number: expected a whole number, found a float"),
        ({"number": None}, "Strict.number: expected a whole number, found null"),
        ({"number": "1_0"}, "Strict.number: expected a whole number, found text"),
        ({"number": "٣"}, "Strict.number: expected a whole number, found text"),
        ({"number": "9" * 5000}, "Strict.number: expected a whole number, found text"),
        ({"number": [1]}, "Strict.number: expected a whole number, found a list"),
        ({"instant": None}, "Strict.instant: expected seconds since 1970, found null"),
        ({"instant": 10**18}, "Strict.instant: expected seconds since 1970, found an int"),
        ({"instant": 10**40}, "Strict.instant: expected seconds since 1970, found an int"),
        ({"leaf_list": {}}, "Strict.leaves ('leaf_list'): expected a list, found a dict"),
        ({"leaf_list": "ab"}, "Strict.leaves ('leaf_list'): expected a list, found text"),
        ({"leaf_list": [{"name": "a"}, 5]}, "Strict.leaves ('leaf_list')[1]: expected an object, found an int"),
        (
            {"leaf_list": [{"name": "a"}, {"name": "a", "number": "x"}]},
            "Strict.leaves ('leaf_list')[1].number: expected a whole number, found text",
        ),
        ({"leaf_list": [{}]}, "Strict.leaves ('leaf_list')[0].name: required field missing"),
    ],
)
def test_the_error_names_the_field(payload: dict[str, Any], said: str) -> None:
    """What cannot be read is a ReplyError with the path to the field and what was found there."""
    fitting = {"text": "", "number": 1, "instant": 1, "leaf_list": []}
    with pytest.raises(ReplyError) as caught:
        decode(Strict, {**fitting, **payload} if payload else {}, endpoint="GET /x")
    assert str(caught.value).startswith("GET /x: the answer does not have the documented shape: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(("payload", "found"), [(None, "null"), ([], "a list"), ("x", "text"), (5, "an int")])
def test_an_answer_that_is_no_object(payload: object, found: str) -> None:
    """A record is made from an object and from nothing else."""
    with pytest.raises(ReplyError, match=f"Leaf: expected an object, found {found}"):
        decode(Leaf, payload)


def test_list_of_records_names_the_index() -> None:
    """In a bare list the path begins with the record and the index."""
    with pytest.raises(ReplyError, match=r"Leaf\[1\]\.name: required field missing"):
        decode(tuple[Leaf, ...], [{"name": "a"}, {}])


@pytest.mark.parametrize("sent", [math.nan, math.inf, "nan", "inf", "-Infinity", "1_0.5", "1e999", 10**400])
def test_a_ratio_is_a_finite_number(sent: object) -> None:
    """No spelling of infinity or NaN becomes a float."""
    with pytest.raises(ReplyError, match="expected a number"):
        decode(Everything, {"ratio": sent})


@pytest.mark.parametrize("sent", [2, "2", "yes", [], {}])
def test_a_flag_is_zero_or_one(sent: object) -> None:
    """A flag with a third value is not guessed."""
    with pytest.raises(ReplyError, match="expected 0 or 1"):
        decode(Everything, {"flag": sent})


def test_the_error_shows_no_value() -> None:
    """A value that does not fit can be a credential: it is in no text and no chained exception."""
    payload = {"number": TOKEN, "leaf": {"name": "a", "number": TOKEN}}
    with pytest.raises(ReplyError) as caught:
        decode(Everything, payload)
    assert caught.value.__context__ is None
    assert TOKEN not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert TOKEN.encode() not in pickle.dumps(caught.value)


def test_a_record_that_nobody_can_read_is_not_the_platforms_fault() -> None:
    """A mistake in a record of ours is not reported as a bad answer."""

    @attrs.frozen
    class Impossible:
        value: int | dict[str, int] | Leaf

    with pytest.raises(Exception) as caught:
        decode(Impossible, {"value": 1})
    assert not isinstance(caught.value, ReplyError)


def deep(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"name": "a"}
    for _ in range(levels):
        inner = {"name": "a", "branches": [inner]}
    return inner


def test_nesting_beyond_reason() -> None:
    """A record nested thousands of levels deep is a ReplyError and no crash."""
    with pytest.raises(ReplyError):
        decode(Tree, deep(20_000))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from([*[field.name for field in attrs.fields(Everything)], "tagid_list"])


@settings(deadline=None)  # the first example builds what later ones reuse
@given(st.dictionaries(field_names | st.text(max_size=3), json_values, max_size=8) | json_values)
def test_any_json_is_read_or_refused(payload: Any) -> None:
    """Whatever the platform sends, decode() returns a record or raises ReplyError."""
    for cls in (Everything, Strict, Leaf, Tree):
        with suppress(ReplyError):
            assert isinstance(decode(cls, payload), cls)


# ---- JSON text, in


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1}', {"a": 1}),
        (b' \r\n{"a":1}\n', {"a": 1}),
        (b"{}", {}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'{"a":"x\x00\x01\n\ty"}', {"a": "x\0\x01\n\ty"}),
        (b'{"a":"x\xff\xe8\xae"}', {"a": "x\ufffd\ufffd"}),
        ('{"a":"订单"}'.encode(), {"a": "订单"}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"errcode":0,"errcode":40001}', {"errcode": 40001}),
        (b'{"a":1.5e3}', {"a": 1500.0}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\\ud83d"}', {"a": "\ud83d"}),
        (b'{"a":' + b"9" * 4000 + b"}", {"a": int("9" * 4000)}),
    ],
)
def test_loads(body: bytes, expected: object) -> None:
    """JSON is read with all the liberties that the platform takes."""
    assert loads(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf",
        b"<html>502</html>",
        b'{"a":1',
        b'{"a":1}x',
        b'{"a":1}{"a":1}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":-1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        '{"a":1}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Everything else is a ReplyError that names the endpoint."""
    with pytest.raises(ReplyError, match=r"^GET /x: the answer is not JSON$"):
        loads(body, endpoint="GET /x")


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"true", b"[{}]"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """An answer is an object."""
    with pytest.raises(ReplyError, match="not an object"):
        loads(body)


@settings(deadline=None)  # the first example builds what later ones reuse
@given(st.binary() | st.text().map(str.encode) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Whatever arrives, loads() returns an object or raises ReplyError."""
    with suppress(ReplyError):
        assert isinstance(loads(body), dict)


def test_nothing_of_the_answer_stays_attached() -> None:
    """The error keeps a short masked excerpt, and no parser exception with the whole text behind it."""
    with pytest.raises(ReplyError) as caught:
        loads(b'{"access_token":"FAKE-TOKEN","expires_in"')
    assert caught.value.__context__ is None
    assert caught.value.body == '{"access_token":"***","expires_in"'


def test_mask_sees_the_whole_text() -> None:
    """A credential that crosses the end of the excerpt is masked as a whole."""
    with pytest.raises(ReplyError) as caught:
        loads(b"x" * 190 + b" FAKE-TOKEN-0123456789", mask=lambda text: text.replace("FAKE-TOKEN-0123456789", "***"))
    assert caught.value.body == "x" * 190 + " ***"


# ---- JSON text, out


def test_dumps_is_raw_utf8() -> None:
    """Chinese and emoji go out as they are, without blanks."""
    assert dumps({"name": "菜单😀", "n": [1, None]}) == '{"name":"菜单😀","n":[1,null]}'.encode()


class Unknown:
    def __repr__(self) -> str:
        return "FAKE-TOKEN"


def circle() -> dict[str, Any]:
    value: dict[str, Any] = {"a": 1}
    value["self"] = [value]
    return value


def nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("payload", "field", "said"),
    [
        ({"button": [{"name": "ok"}, {"name": "half \ud83d"}]}, "button[1].name", "surrogate"),
        ({"a": {"half \ud83d": 1}}, "a", "surrogate"),
        ({"a": {"b": math.nan}}, "a.b", "NaN"),
        ({"a": (1, math.inf)}, "a[1]", "infinity"),
        ({"a": Secret("FAKE-TOKEN")}, "a", "a Secret has no JSON form"),
        ({"a": Unknown()}, "a", "an Unknown has no JSON form"),
        ({"a": b"FAKE-TOKEN"}, "a", "a bytes has no JSON form"),
        ({"a": {1, 2}}, "a", "a set has no JSON form"),
        ({"a": datetime.now(UTC)}, "a", "a datetime has no JSON form"),
        ({"a": {(1, 2): 3}}, "a", "a name is a tuple"),
        ({"data": {"订单": Unknown()}}, "data.订单", "an Unknown has no JSON form"),
        ({"data": {"a b": Unknown()}}, "data.?", "an Unknown has no JSON form"),
        ({"a": 10**5000}, "a", "thousands of digits"),
        (Unknown(), "payload", "an Unknown has no JSON form"),
        (circle(), "payload", "contains itself"),
        (nested(), "payload", "nested too deeply"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_json_form_is_refused(payload: object, field: str, said: str) -> None:
    """The error names the place and the reason, and shows no value."""
    with pytest.raises(ArgumentError) as caught:
        dumps(payload, endpoint="POST /x")
    error = caught.value
    assert (error.errcode, error.endpoint, error.field) == (47001, "POST /x", field)
    assert said in error.errmsg
    assert error.__context__ is None
    assert "FAKE-TOKEN" not in "".join(traceback.format_exception(error))


python_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.builds(Unknown),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(deadline=None)  # the first example builds what later ones reuse
@given(python_values)
def test_any_payload_is_written_or_refused(payload: object) -> None:
    """Whatever the caller hands over, dumps() writes JSON or raises ArgumentError."""
    try:
        written = dumps(payload)
    except ArgumentError:
        return
    json.loads(written)


# ---- cost


USER = {
    "subscribe": 1,
    "openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M",
    "language": "zh_CN",
    "subscribe_time": 1382694957,
    "unionid": "o6_bmasdasdsad6_2sgVt7hMZOPfL",
    "remark": "",
    "groupid": 0,
    "tagid_list": [128, 2],
    "subscribe_scene": "ADD_SCENE_QR_CODE",
    "qr_scene": 98765,
    "qr_scene_str": "",
    "nickname": "",
    "sex": 0,
    "city": "",
    "province": "",
    "country": "",
    "headimgurl": "",
}

MEASURE = """
import json, sys, timeit
from wxmp._wire import decode
from wxmp.api.user import UserInfo
text = sys.argv[1]
user = json.loads(text)
decode(UserInfo, user)
best = lambda act: min(timeit.repeat(act, number=300, repeat=15)) / 300
print(json.dumps([best(lambda: decode(UserInfo, user)), best(lambda: json.loads(text))]))
"""


@attrs.frozen
class Written:
    """One attribute of each kind that records have."""

    text: str = ""
    number: int = 0
    ratio: float = 0.0
    switch: bool = False
    at: datetime | None = None
    scene: Scene | str | None = None
    sex: Sex | int = 0
    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    any: JsonValue = None
    extra: JsonObject = attrs.field(factory=dict, kw_only=True)


FITTING: list[dict[str, Any]] = [
    {},
    {"text": "x", "number": -1, "ratio": 1, "switch": 1, "at": datetime.now(UTC), "any": [1, {"a": None}]},
    {"scene": Scene.CARD, "sex": Sex.MALE, "leaf": Leaf("x"), "leaves": (Leaf("x"), Leaf("y")), "extra": {"a": 1}},
    {"scene": "new", "sex": 7, "leaves": [Leaf("x")]},
]


@pytest.mark.parametrize("values", FITTING)
def test_a_record_of_the_right_types_is_written(values: dict[str, Any]) -> None:
    """What the annotations allow is written: enums and what is new beside them, 0 and 1 for a switch, a list."""
    check_record(Written(**values))
    assert isinstance(encode(Written(**values)), dict)


UNFIT: list[tuple[str, object, str]] = [
    ("text", 5, "must be a text, not an int"),
    ("text", None, "must be a text, not a NoneType"),
    ("text", b"x", "must be a text, not a bytes"),
    ("number", True, "must be a whole number, not a bool"),
    ("number", 1.0, "must be a whole number, not a float"),
    ("ratio", "1", "must be a number, not a str"),
    ("switch", 2, "must be true or false, not an int"),
    ("switch", "no", "must be true or false, not a str"),
    ("at", 1_700_000_000, "must be a datetime or None, not an int"),
    ("scene", 1, "must be a text or None, not an int"),
    ("sex", "1", "must be a whole number, not a str"),
    ("leaf", {"name": "x"}, "must be a Leaf or None, not a dict"),
    ("leaves", "xy", "must be a list, each entry a Leaf, not a str"),
    ("leaves", (Leaf("x"), "y"), "must be a list, each entry a Leaf, not a tuple"),
    ("extra", [("a", 1)], "must be an object, not a list"),
]


@pytest.mark.parametrize(("name", "value", "said"), UNFIT)
def test_a_record_of_wrong_types_is_refused(name: str, value: object, said: str) -> None:
    """A value that its annotation does not allow is refused by its place and type, and not shown."""
    with pytest.raises(ArgumentError) as caught:
        encode(Written(**{name: value}))  # type: ignore[arg-type]
    assert (caught.value.field, caught.value.errmsg) == (f"Written.{name}", said)


def test_a_wrong_record_inside_of_a_record_is_refused() -> None:
    """The records inside of a record are looked at, too."""
    with pytest.raises(ArgumentError) as caught:
        encode(Written(leaves=(Leaf("x"), Leaf(5))))  # type: ignore[arg-type]
    assert caught.value.field == "Leaf.name"


def test_reading_a_user_is_cheap() -> None:
    """A record of 17 fields is read in less than 15 us, give or take the speed of the machine."""
    assert len(USER) == 17
    # A process of its own, without the tracing of a coverage run.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(USER)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    seconds, reference = json.loads(done.stdout)
    # json.loads of the same text takes 2 to 4 us on a machine of today: a slower or busier one is allowed more.
    assert seconds < max(15e-6, 6 * reference)


def test_cattrs_is_loaded_on_first_use() -> None:
    """Importing the module and reading JSON text loads no converter."""
    script = (
        "import sys; from wxmp._wire import decode, dumps, loads; dumps(loads(b'{}'));"
        "assert 'cattrs' not in sys.modules; decode(tuple[int, ...], [1]); assert 'cattrs' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
